// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The front end of vhost-user, as far as a server of files needs it. Every message that sets something asks for an
 * acknowledgement (REPLY_ACK), so that each step is known to be done before the next. Addresses of queues are
 * the kernel's own here, too: we say that our addresses are the same.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server.h"
#include "vhost-user.h"

#define MSEC_PER_SEC 1000
#define NSEC_PER_MSEC 1000000

struct front_end {
	int fd;
	int64_t deadline; /* ms, CLOCK_MONOTONIC */
	uint64_t protocol;
	char *why;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * MSEC_PER_SEC + ts.tv_nsec / NSEC_PER_MSEC;
}

static int failed(struct front_end *front, int r, const char *what)
{
	snprintf(front->why, SERVER_WHY_MAX, "the server of files: %s: %s", what, strerror(-r));
	return r;
}

/* Until it can be read or written, or time is up: -ETIMEDOUT. */
static int wait_for(const struct front_end *front, short events)
{
	for (;;) {
		struct pollfd fd = { front->fd, events, 0 };
		int64_t left = front->deadline - now_ms();
		int r;

		if (left <= 0)
			return -ETIMEDOUT;
		r = poll(&fd, 1, (int)left);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			return 0;
	}
}

static int send_all(const struct front_end *front, const void *bytes, size_t size, const int *fds,
		    size_t n_fds)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(VHOST_USER_REGIONS * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)bytes, size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		struct cmsghdr *cmsg;

		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&message);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	while (iov.iov_len > 0) {
		ssize_t n = sendmsg(front->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			r = wait_for(front, POLLOUT);
			if (r < 0)
				return r;
			continue;
		}
		if (n < 0)
			return -errno;
		/* Descriptors went with the first byte. */
		message.msg_control = NULL;
		message.msg_controllen = 0;
		iov.iov_base = (char *)iov.iov_base + n;
		iov.iov_len -= (size_t)n;
	}
	return 0;
}

/* Exactly @size bytes. Descriptors that come with them are nothing that we asked for: the kernel drops them. */
static int receive(const struct front_end *front, void *bytes, size_t size)
{
	char *p = bytes;

	while (size > 0) {
		ssize_t n = recv(front->fd, p, size, MSG_DONTWAIT);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			r = wait_for(front, POLLIN);
			if (r < 0)
				return r;
			continue;
		}
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ECONNRESET;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* The one answer that there is: a number, to the very message that was sent. */
static int receive_number(const struct front_end *front, uint32_t request, uint64_t *ret)
{
	struct vhost_user_header header;
	int r;

	r = receive(front, &header, sizeof(header));
	if (r < 0)
		return r;
	if (header.request != request || header.size != sizeof(*ret) ||
	    (header.flags & (VHOST_USER_VERSION_MASK | VHOST_USER_REPLY)) !=
		    (VHOST_USER_VERSION | VHOST_USER_REPLY))
		return -EBADMSG;
	return receive(front, ret, sizeof(*ret));
}

static int send_message(const struct front_end *front, uint32_t request, bool acknowledged,
			const void *payload, size_t size, const int *fds, size_t n_fds)
{
	struct {
		struct vhost_user_header header;
		char payload[sizeof(struct vhost_user_memory)];
	} message = {
		.header = {
			.request = request,
			.flags = VHOST_USER_VERSION | (acknowledged ? VHOST_USER_NEED_REPLY : 0),
			.size = (uint32_t)size,
		},
	};

	memcpy(message.payload, payload, size);
	return send_all(front, &message, sizeof(message.header) + size, fds, n_fds);
}

static int ask(struct front_end *front, uint32_t request, const char *name, uint64_t *ret)
{
	int r = send_message(front, request, false, "", 0, NULL, 0);

	if (r >= 0)
		r = receive_number(front, request, ret);
	return r < 0 ? failed(front, r, name) : 0;
}

/* Sends, and waits until it was done. */
static int tell(struct front_end *front, uint32_t request, const char *name, const void *payload,
		size_t size, const int *fds, size_t n_fds)
{
	uint64_t result;
	int r = send_message(front, request, true, payload, size, fds, n_fds);

	if (r >= 0)
		r = receive_number(front, request, &result);
	if (r >= 0 && result != 0)
		r = -EREMOTEIO;
	return r < 0 ? failed(front, r, name) : 0;
}

static int tell_number(struct front_end *front, uint32_t request, const char *name, uint64_t number)
{
	return tell(front, request, name, &number, sizeof(number), NULL, 0);
}

static int negotiate(struct front_end *front, uint64_t accepted)
{
	const uint64_t needed = accepted | VHOST_USER_F_PROTOCOL_FEATURES;
	uint64_t offered, protocol;
	int r;

	r = receive_number(front, VHOST_USER_GET_FEATURES, &offered);
	if (r < 0)
		return failed(front, r, "GET_FEATURES");
	if ((offered & needed) != needed)
		return failed(front, -EOPNOTSUPP, "lacks features");
	r = ask(front, VHOST_USER_GET_PROTOCOL_FEATURES, "GET_PROTOCOL_FEATURES", &protocol);
	if (r < 0)
		return r;
	if (!(protocol & VHOST_USER_PROTOCOL_F_REPLY_ACK))
		return failed(front, -EOPNOTSUPP, "can't acknowledge");
	front->protocol = protocol & (VHOST_USER_PROTOCOL_F_REPLY_ACK |
				      VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
	/* Whether this one is acknowledged depends on when it takes effect: the next one shows that it was. */
	r = send_message(front, VHOST_USER_SET_PROTOCOL_FEATURES, false, &front->protocol,
			 sizeof(front->protocol), NULL, 0);
	if (r < 0)
		return failed(front, r, "SET_PROTOCOL_FEATURES");
	r = tell(front, VHOST_USER_SET_OWNER, "SET_OWNER", "", 0, NULL, 0);
	if (r >= 0)
		r = tell_number(front, VHOST_USER_SET_FEATURES, "SET_FEATURES", needed);
	return r;
}

static struct vhost_user_region region_of(const struct region *region)
{
	return (struct vhost_user_region){
		.guest_address = region->start,
		.size = region->length,
		.user_address = region->start,
	};
}

/* One region at a time, which allows for more of them. */
static int add_regions(struct front_end *front, const struct guest_memory *memory)
{
	uint64_t slots;
	int r;

	r = ask(front, VHOST_USER_GET_MAX_MEM_SLOTS, "GET_MAX_MEM_SLOTS", &slots);
	if (r >= 0 && memory->n > slots)
		r = failed(front, -E2BIG, "memory in too many pieces");
	for (size_t i = 0; i < memory->n && r >= 0; i++) {
		struct vhost_user_add_region add = { .region = region_of(&memory->regions[i]) };

		r = tell(front, VHOST_USER_ADD_MEM_REG, "ADD_MEM_REG", &add, sizeof(add),
			 &memory->regions[i].fd, 1);
	}
	return r;
}

static int set_memory(struct front_end *front, const struct guest_memory *memory)
{
	struct vhost_user_memory table = { .n = (uint32_t)memory->n };
	int fds[VHOST_USER_REGIONS];

	if (memory->n > VHOST_USER_REGIONS) {
		if (!(front->protocol & VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
			return failed(front, -E2BIG, "memory in too many pieces");
		return add_regions(front, memory);
	}
	for (size_t i = 0; i < memory->n; i++) {
		table.regions[i] = region_of(&memory->regions[i]);
		fds[i] = memory->regions[i].fd;
	}
	return tell(front, VHOST_USER_SET_MEM_TABLE, "SET_MEM_TABLE", &table,
		    offsetof(struct vhost_user_memory, regions[memory->n]), fds, memory->n);
}

static int set_queue(struct front_end *front, const struct guest_memory *memory, uint32_t index,
		     const struct server_queue *queue)
{
	const struct popcorn_queue *ring = &queue->ring;
	struct vhost_user_state state = { index, ring->size };
	const struct vhost_user_address address = {
		.index = index,
		.desc = ring->desc,
		.used = ring->used,
		.avail = ring->avail,
	};
	const struct {
		uint32_t request;
		const char *name;
		int fd;
	} files[] = {
		{ VHOST_USER_SET_VRING_CALL, "SET_VRING_CALL", queue->call },
		{ VHOST_USER_SET_VRING_ERR, "SET_VRING_ERR", queue->error },
		/* The last one: it starts the queue. */
		{ VHOST_USER_SET_VRING_KICK, "SET_VRING_KICK", queue->kick },
	};
	const uint64_t number = index;
	uint16_t used;
	int r;

	r = queue_used_index(memory, ring, &used);
	if (r < 0)
		return failed(front, r, "a queue is elsewhere");
	r = tell(front, VHOST_USER_SET_VRING_NUM, "SET_VRING_NUM", &state, sizeof(state), NULL, 0);
	state.num = used;
	if (r >= 0)
		r = tell(front, VHOST_USER_SET_VRING_BASE, "SET_VRING_BASE", &state, sizeof(state),
			 NULL, 0);
	if (r >= 0)
		r = tell(front, VHOST_USER_SET_VRING_ADDR, "SET_VRING_ADDR", &address,
			 sizeof(address), NULL, 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && r >= 0; i++)
		r = tell(front, files[i].request, files[i].name, &number, sizeof(number),
			 &files[i].fd, 1);
	state.num = 1;
	if (r >= 0)
		r = tell(front, VHOST_USER_SET_VRING_ENABLE, "SET_VRING_ENABLE", &state,
			 sizeof(state), NULL, 0);
	return r;
}

int vhost_user_greet(int fd)
{
	/* It is the first message: there is room for it, or it fails. */
	const struct front_end front = { .fd = fd };

	return send_message(&front, VHOST_USER_GET_FEATURES, false, "", 0, NULL, 0);
}

int vhost_user_start(int fd, const struct server_setup *setup, int timeout_ms,
		     char why[SERVER_WHY_MAX])
{
	struct front_end front = { .fd = fd, .deadline = now_ms() + timeout_ms, .why = why };
	int r;

	r = negotiate(&front, setup->features);
	if (r >= 0)
		r = set_memory(&front, setup->memory);
	for (uint32_t i = 0; i < setup->nr_queues && r >= 0; i++)
		if (setup->queues[i].ring.size)
			r = set_queue(&front, setup->memory, i, &setup->queues[i]);
	return r;
}
