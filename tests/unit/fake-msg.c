// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libpopcorn-msg without a driver: endpoints of pretended kernels are processes of this one, and sockets in the folder
 * POPCORN_FAKE_MSG carry their messages. For tests of what is built upon it; as far as they need it.
 *
 * POPCORN_FAKE_KERNEL is the id of the kernel that a process belongs to (0), POPCORN_FAKE_UID who it is (0).
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <libpopcorn-msg.h>

#define GENERATION 1
#define KERNELS 2 /* that take part */

enum kind { MESSAGE, REQUEST, REPLY };

struct packet {
	enum kind kind;
	struct popcorn_msg_addr from;
	uint32_t uid;
	int32_t status;
	uint64_t call;
	uint32_t length;
	uint8_t data[POPCORN_MSG_SEND_MAX];
};
#define PACKET_HEADER offsetof(struct packet, data)

struct waiting {
	struct packet *packet;
	struct waiting *next;
};

struct call {
	uint64_t id;
	int fd; /* an eventfd: the reply is there */
	struct packet *reply;
	struct call *next;
};

struct request {
	uint64_t id, call; /* ours, and theirs */
	struct popcorn_msg_addr from;
	struct request *next;
};

struct popcorn_endpoint {
	struct popcorn_msg_addr addr;
	int fd; /* an eventfd that counts what waits */
	int socket, listener;
	pthread_mutex_t lock;
	struct waiting *first, **last;
	struct call *calls;
	struct request *requests;
	uint64_t next_id;
};

static uint32_t number_of(const char *variable)
{
	const char *value = getenv(variable);

	return value ? (uint32_t)strtoul(value, NULL, 10) : 0;
}

static struct sockaddr_un name_of(char kind, const struct popcorn_msg_addr *addr)
{
	const char *folder = getenv("POPCORN_FAKE_MSG");
	struct sockaddr_un name = { .sun_family = AF_UNIX };

	snprintf(name.sun_path, sizeof(name.sun_path), "%.60s/%c.%u.%llu", folder ? folder : ".",
		 kind, addr->kernel, (unsigned long long)addr->endpoint);
	return name;
}

static void add_packet(struct popcorn_endpoint *endpoint, struct packet *packet)
{
	struct waiting *waiting = calloc(1, sizeof(*waiting));

	waiting->packet = packet;
	*endpoint->last = waiting;
	endpoint->last = &waiting->next;
	(void)!write(endpoint->fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static void add_reply(struct popcorn_endpoint *endpoint, struct packet *packet)
{
	for (struct call *call = endpoint->calls; call; call = call->next) {
		if (call->id != packet->call || call->reply)
			continue;
		call->reply = packet;
		(void)!write(call->fd, &(uint64_t){ 1 }, sizeof(uint64_t));
		return;
	}
	free(packet); /* late */
}

/* Takes a packet off the socket; the lock is held, so that none is between the socket and our list. */
static bool take_packet(struct popcorn_endpoint *endpoint)
{
	struct packet *packet = malloc(sizeof(*packet));
	ssize_t n = recv(endpoint->socket, packet, sizeof(*packet), MSG_DONTWAIT);

	if (n < (ssize_t)PACKET_HEADER) {
		free(packet);
		return false;
	}
	packet = realloc(packet, (size_t)n);
	if (packet->kind == REPLY)
		add_reply(endpoint, packet);
	else
		add_packet(endpoint, packet);
	return true;
}

static void take_packets(struct popcorn_endpoint *endpoint)
{
	pthread_mutex_lock(&endpoint->lock);
	while (take_packet(endpoint))
		;
	pthread_mutex_unlock(&endpoint->lock);
}

/* The queue of a socket is short. */
static void *read_socket(void *argument)
{
	struct popcorn_endpoint *endpoint = argument;
	struct pollfd fd = { .fd = endpoint->socket, .events = POLLIN };

	while (poll(&fd, 1, -1) > 0 || errno == EINTR)
		take_packets(endpoint);
	return NULL;
}

int popcorn_endpoint_open(struct popcorn_endpoint **ret)
{
	static unsigned count;
	struct popcorn_endpoint *endpoint = calloc(1, sizeof(*endpoint));
	struct sockaddr_un name;
	pthread_t thread;

	if (!getenv("POPCORN_FAKE_MSG")) {
		free(endpoint);
		return -ENOENT;
	}
	endpoint->addr = (struct popcorn_msg_addr){
		.kernel = number_of("POPCORN_FAKE_KERNEL"),
		.generation = GENERATION,
		.endpoint = (uint64_t)getpid() << 16 | ++count,
	};
	endpoint->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	endpoint->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	endpoint->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_mutex_init(&endpoint->lock, NULL);
	endpoint->last = &endpoint->first;
	name = name_of('m', &endpoint->addr);
	if (bind(endpoint->socket, (struct sockaddr *)&name, sizeof(name)) < 0)
		return -errno;
	name = name_of('l', &endpoint->addr);
	if (bind(endpoint->listener, (struct sockaddr *)&name, sizeof(name)) < 0 ||
	    listen(endpoint->listener, 100) < 0)
		return -errno;
	if (pthread_create(&thread, NULL, read_socket, endpoint))
		return -EAGAIN;
	*ret = endpoint;
	return 0;
}

int popcorn_endpoint_from_fd(int fd, struct popcorn_endpoint **ret)
{
	int r = popcorn_endpoint_open(ret);

	if (r == 0)
		close(fd);
	return r;
}

struct popcorn_endpoint *popcorn_endpoint_close(struct popcorn_endpoint *endpoint)
{
	/* Its thread may be anywhere in it: it ends with the process. */
	if (endpoint)
		shutdown(endpoint->listener, SHUT_RDWR);
	return NULL;
}

int popcorn_endpoint_get_fd(const struct popcorn_endpoint *endpoint)
{
	return endpoint->fd;
}

int popcorn_endpoint_bind(struct popcorn_endpoint *endpoint, const char *service)
{
	char path[PATH_MAX], number[32];

	snprintf(path, sizeof(path), "%s/%u.%s", getenv("POPCORN_FAKE_MSG"), endpoint->addr.kernel,
		 service);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)endpoint->addr.endpoint);
	return symlink(number, path) < 0 ? -errno : 0;
}

int popcorn_endpoint_lookup(struct popcorn_endpoint *endpoint, uint32_t kernel, const char *service,
			    uint32_t timeout_ms, struct popcorn_msg_addr *ret)
{
	char path[PATH_MAX], number[32];
	ssize_t n;

	if (kernel >= KERNELS)
		return -ENOTCONN;
	snprintf(path, sizeof(path), "%s/%u.%s", getenv("POPCORN_FAKE_MSG"), kernel, service);
	n = readlink(path, number, sizeof(number) - 1);
	if (n < 0)
		return -errno;
	number[n] = '\0';
	*ret = (struct popcorn_msg_addr){ .kernel = kernel,
					  .generation = GENERATION,
					  .endpoint = strtoull(number, NULL, 10) };
	return 0;
}

static int send_packet(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *to,
		       enum kind kind, uint64_t call, int status, const void *data, size_t length,
		       bool wait)
{
	struct packet *packet = malloc(PACKET_HEADER + length);
	struct sockaddr_un name = name_of('m', to);
	int r = 0;

	memset(packet, 0, PACKET_HEADER);
	packet->kind = kind;
	packet->from = endpoint->addr;
	packet->uid = number_of("POPCORN_FAKE_UID");
	packet->status = status;
	packet->call = call;
	packet->length = (uint32_t)length;
	if (length)
		memcpy(packet->data, data, length);
	if (sendto(endpoint->socket, packet, PACKET_HEADER + length, wait ? 0 : MSG_DONTWAIT,
		   (struct sockaddr *)&name, sizeof(name)) < 0)
		r = errno == ECONNREFUSED || errno == ENOENT ? -EPIPE : -errno;
	free(packet);
	return r;
}

int popcorn_endpoint_send(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *to,
			  const void *data, size_t length, unsigned flags, uint32_t timeout_ms)
{
	return send_packet(endpoint, to, MESSAGE, 0, 0, data, length, timeout_ms > 0);
}

ssize_t popcorn_endpoint_receive(struct popcorn_endpoint *endpoint, void *buf, size_t room,
				 uint32_t timeout_ms, struct popcorn_received *ret,
				 size_t *ret_length)
{
	struct waiting *waiting;
	struct packet *packet;
	uint64_t one;
	ssize_t length;

	if (read(endpoint->fd, &one, sizeof(one)) != sizeof(one))
		return -EAGAIN;
	pthread_mutex_lock(&endpoint->lock);
	waiting = endpoint->first;
	endpoint->first = waiting->next;
	if (!endpoint->first)
		endpoint->last = &endpoint->first;
	packet = waiting->packet;
	free(waiting);
	*ret = (struct popcorn_received){
		.from = packet->from,
		.uid = packet->uid,
	};
	if (packet->kind == REQUEST) {
		struct request *request = calloc(1, sizeof(*request));

		*request = (struct request){ .id = ++endpoint->next_id,
					     .call = packet->call,
					     .from = packet->from,
					     .next = endpoint->requests };
		endpoint->requests = request;
		ret->flags = POPCORN_MSG_IS_REQUEST;
		ret->call = request->id;
		ret->reply_max = POPCORN_MSG_CALL_MAX;
	}
	pthread_mutex_unlock(&endpoint->lock);
	length = packet->length;
	if ((size_t)length > room)
		abort(); /* no test of ours should come here */
	memcpy(buf, packet->data, (size_t)length);
	free(packet);
	return length;
}

/* A connection to @to, which ends with it. */
static int watch(const struct popcorn_msg_addr *to)
{
	struct sockaddr_un name = name_of('l', to);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0)
		return fd;
	close(fd);
	return -EPIPE;
}

ssize_t popcorn_endpoint_members(struct popcorn_endpoint *endpoint, struct popcorn_msg_addr *ret,
				 size_t room)
{
	size_t n = 0;

	for (uint32_t kernel = 0; kernel < KERNELS && n < room; kernel++)
		if (kernel != endpoint->addr.kernel)
			ret[n++] = (struct popcorn_msg_addr){ .kernel = kernel,
							      .generation = GENERATION };
	return (ssize_t)n;
}

ssize_t popcorn_endpoint_call(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *to,
			      const void *request, size_t length, void *reply, size_t room,
			      uint32_t timeout_ms, int *ret_status)
{
	struct call call = { .fd = eventfd(0, EFD_CLOEXEC) };
	struct pollfd fds[] = { { .fd = watch(to) }, { .fd = call.fd, .events = POLLIN } };
	ssize_t r;

	pthread_mutex_lock(&endpoint->lock);
	call.id = ++endpoint->next_id;
	call.next = endpoint->calls;
	endpoint->calls = &call;
	pthread_mutex_unlock(&endpoint->lock);
	r = fds[0].fd < 0 ? -EPIPE
			  : send_packet(endpoint, to, REQUEST, call.id, 0, request, length, true);
	if (r == 0) {
		int n = poll(fds, 2, timeout_ms > INT_MAX ? -1 : (int)timeout_ms);

		r = n < 0 ? -errno : n == 0 ? -ETIMEDOUT : -EPIPE;
		/* What it sent before it ended is there when that is told, the reply as well. */
		take_packets(endpoint);
		if (call.reply)
			r = 0;
	}
	pthread_mutex_lock(&endpoint->lock);
	for (struct call **p = &endpoint->calls; *p; p = &(*p)->next)
		if (*p == &call) {
			*p = call.next;
			break;
		}
	pthread_mutex_unlock(&endpoint->lock);
	if (r == 0) {
		r = call.reply->length <= room ? (ssize_t)call.reply->length : -EMSGSIZE;
		if (r > 0)
			memcpy(reply, call.reply->data, (size_t)r);
		if (ret_status)
			*ret_status = call.reply->status;
	}
	free(call.reply);
	close(call.fd);
	if (fds[0].fd >= 0)
		close(fds[0].fd);
	return r;
}

int popcorn_endpoint_reply(struct popcorn_endpoint *endpoint, uint64_t call, int status,
			   const void *data, size_t length)
{
	struct request *request, **p;
	int r;

	pthread_mutex_lock(&endpoint->lock);
	for (p = &endpoint->requests; *p && (*p)->id != call; p = &(*p)->next)
		;
	request = *p;
	if (request)
		*p = request->next;
	pthread_mutex_unlock(&endpoint->lock);
	if (!request)
		return -ENOENT;
	r = send_packet(endpoint, &request->from, REPLY, request->call, status, data, length, true);
	free(request);
	return r;
}

int popcorn_endpoint_ping(struct popcorn_endpoint *endpoint, uint32_t kernel, size_t length,
			  uint32_t timeout_ms, uint64_t *ret_ns)
{
	static uint64_t ns = 10000;

	if (kernel >= KERNELS)
		return -ENOTCONN;
	ns += 100;
	*ret_ns = ns;
	return 0;
}

int popcorn_endpoint_counters(struct popcorn_endpoint *endpoint, uint32_t kernel, uint32_t priority,
			      struct popcorn_msg_counters *ret)
{
	if (kernel >= KERNELS)
		return -ENOENT;
	*ret = (struct popcorn_msg_counters){
		.size = sizeof(*ret),
		.kernel = kernel,
		.priority = priority,
		.generation = GENERATION,
		.sent = 1000 + priority,
		.sent_bytes = 64000,
		.received = 1000,
		.received_bytes = 1 << 20,
		.slots = 256,
		.credits = 250,
		.queue_max = 7,
		.reader_interrupts = 5,
		.reader_polls = 6,
	};
	if (priority == 1) {
		ret->latency[13] = 980;
		ret->latency[14] = 15;
		ret->latency[20] = 5;
	}
	return 0;
}
