// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Processes that send each other messages between kernels, rightly and wrongly: for
 * tests/scenarios/messages-user.sh and messages-windows.sh. Static, because it also runs where
 * there are no libraries.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpopcorn-msg.h>

#include "../bench/times.h"
#include "../tap.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define SECOND 1000
#define LONG (60 * SECOND)

static uint8_t buffer[POPCORN_MSG_SEND_MAX];

/* What was seen */

static bool is(intmax_t seen, intmax_t expected, const char *what)
{
	if (seen == expected)
		return check(true, "%s: %jd", what, seen);
	return check(false, "%s: %jd, expected %jd", what, seen, expected);
}

static void die(const char *what, int r) __attribute__((noreturn));
static void die(const char *what, int r)
{
	printf("not ok - %s: %s\n", what, strerror(-r));
	exit(EXIT_FAILURE);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void pause_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

/* Messages that say what they should be. Short ones have no room for that. */
struct head {
	uint64_t sequence;
	uint32_t length;
	uint32_t sum;
};

static uint32_t sum_of(const uint8_t *data, size_t length)
{
	uint32_t sum = 2166136261u;

	/* Not each byte: the machine is emulated. The ends of pieces are not multiples of this. */
	for (size_t i = 0; i<length; i += length> 4096 ? 7 : 1)
		sum = (sum ^ data[i]) * 16777619u;
	return sum;
}

static void fill(uint8_t *data, size_t length, uint64_t sequence)
{
	struct head head = { .sequence = sequence, .length = (uint32_t)length };

	for (size_t i = 0; i < length; i++)
		data[i] = (uint8_t)(i * 31 + (i >> 8) + sequence);
	if (length < sizeof(head))
		return;
	head.sum = sum_of(data + sizeof(head), length - sizeof(head));
	memcpy(data, &head, sizeof(head));
}

static bool sound(const uint8_t *data, size_t length, uint64_t *ret_sequence)
{
	struct head head;

	if (length < sizeof(head)) {
		for (size_t i = 1; i < length; i++)
			if ((uint8_t)(data[i] - data[0]) != (uint8_t)(i * 31))
				return false;
		return true;
	}
	memcpy(&head, data, sizeof(head));
	*ret_sequence = head.sequence;
	return head.length == length &&
	       head.sum == sum_of(data + sizeof(head), length - sizeof(head));
}

/* The server: does what requests say. */

enum op {
	OP_ECHO,
	OP_SLEEP,  /* ms, then reply */
	OP_NEVER,  /* no reply */
	OP_REPORT, /* reply: struct report; counted from now on again */
	OP_PAUSE,  /* reply; receive nothing for so many ms */
	OP_EXIT,   /* no reply, because it is gone */
	OP_STATUS, /* reply with that status */
	OP_SEND,   /* send a message of so many bytes to the caller, then reply */
	OP_JOIN,   /* "group" */
	OP_LEAVE,
	OP_WINDOW, /* opens that window of the caller; reply: what it says first; see below */
};

struct request {
	uint32_t op;
	uint32_t argument;
};

struct report {
	uint64_t received, bytes, errors, groups, lost;
	uint32_t uid, unused;
};

#define SENDERS 64
static struct {
	struct popcorn_msg_addr addr;
	uint64_t sequence;
} senders[SENDERS];

/* What one sender sends comes in order. */
static bool in_order(const struct popcorn_msg_addr *from, uint64_t sequence)
{
	for (size_t i = 0; i < SENDERS; i++) {
		bool same = !memcmp(&senders[i].addr, from, sizeof(*from));
		bool good = !same || sequence > senders[i].sequence;

		if (!same && senders[i].addr.endpoint)
			continue;
		senders[i].addr = *from;
		senders[i].sequence = sequence;
		return good;
	}
	memset(senders, 0, sizeof(senders));
	return true;
}

static void take(const struct popcorn_received *received, size_t length, struct report *report)
{
	uint64_t sequence = 0;

	report->received++;
	report->bytes += length;
	report->uid = received->uid;
	report->lost += received->lost;
	report->groups += received->flags & POPCORN_MSG_IS_GROUP ? 1 : 0;
	if (!sound(buffer, length, &sequence) ||
	    (length >= sizeof(struct head) && !in_order(&received->from, sequence)))
		report->errors++;
}

static struct popcorn_window window;

static int serve_window(struct popcorn_endpoint *endpoint, const struct popcorn_received *received,
			uint32_t number, uint64_t *ret)
{
	int r;

	if (window.memory)
		popcorn_window_close(endpoint, &window);
	r = popcorn_window_open(endpoint, &received->from, number, &window);
	if (r < 0)
		return r;
	*ret = ((volatile uint64_t *)window.memory)[0];
	((volatile uint64_t *)window.memory)[window.bytes / 8 - 1] = *ret + 1;
	return 0;
}

static void serve_request(struct popcorn_endpoint *endpoint,
			  const struct popcorn_received *received, size_t length,
			  struct report *report)
{
	struct request request = { .op = OP_ECHO };
	uint64_t value = 0;
	int status = 0;

	if (length >= sizeof(request))
		memcpy(&request, buffer, sizeof(request));
	switch (request.op) {
	case OP_SLEEP:
		pause_ms(request.argument);
		break;
	case OP_NEVER:
		return;
	case OP_REPORT:
		report->uid = received->uid;
		popcorn_endpoint_reply(endpoint, received->call, 0, report, sizeof(*report));
		memset(report, 0, sizeof(*report));
		return;
	case OP_PAUSE:
		popcorn_endpoint_reply(endpoint, received->call, 0, NULL, 0);
		pause_ms(request.argument);
		return;
	case OP_EXIT:
		exit(EXIT_SUCCESS);
	case OP_STATUS:
		status = (int)request.argument;
		break;
	case OP_SEND:
		fill(buffer, request.argument, 1);
		status = popcorn_endpoint_send(endpoint, &received->from, buffer, request.argument,
					       0, LONG);
		length = 0;
		break;
	case OP_JOIN:
		status = popcorn_endpoint_join(endpoint, "group");
		break;
	case OP_LEAVE:
		status = popcorn_endpoint_leave(endpoint, "group");
		break;
	case OP_WINDOW:
		status = serve_window(endpoint, received, request.argument, &value);
		memcpy(buffer, &value, sizeof(value));
		break;
	}
	popcorn_endpoint_reply(endpoint, received->call, status, buffer,
			       length < received->reply_max ? length : received->reply_max);
}

static struct popcorn_endpoint *open_endpoint(void)
{
	struct popcorn_endpoint *endpoint;
	int r = popcorn_endpoint_open(&endpoint);

	if (r < 0)
		die("open", r);
	return endpoint;
}

static int serve(const char *name)
{
	struct popcorn_endpoint *endpoint = open_endpoint();
	struct popcorn_received received;
	struct report report = { 0 };
	ssize_t n;
	int r = popcorn_endpoint_bind(endpoint, name);

	if (r < 0)
		die("bind", r);
	printf("serving %s\n", name);
	fflush(stdout);
	for (;;) {
		n = popcorn_endpoint_receive(endpoint, buffer, sizeof(buffer), POPCORN_MSG_FOREVER,
					     &received, NULL);
		if (n < 0 && n != -EINTR)
			die("receive", (int)n);
		if (n < 0)
			continue;
		if (received.flags & POPCORN_MSG_IS_REQUEST)
			serve_request(endpoint, &received, (size_t)n, &report);
		else
			take(&received, (size_t)n, &report);
	}
}

/* The client */

static struct popcorn_msg_addr find(struct popcorn_endpoint *endpoint, uint32_t kernel,
				    const char *name)
{
	struct popcorn_msg_addr addr;
	uint64_t end = now_ms() + 30 * SECOND;
	int r;

	/* It may be starting. */
	while ((r = popcorn_endpoint_lookup(endpoint, kernel, name, 5 * SECOND, &addr)) ==
		       -ENOENT &&
	       now_ms() < end)
		pause_ms(20);
	if (r < 0)
		die(name, r);
	return addr;
}

static ssize_t ask(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *to,
		   uint32_t op, uint32_t argument, void *reply, size_t room, uint32_t timeout,
		   int *status)
{
	const struct request request = { .op = op, .argument = argument };

	return popcorn_endpoint_call(endpoint, to, &request, sizeof(request), reply, room, timeout,
				     status);
}

static struct report get_report(struct popcorn_endpoint *endpoint,
				const struct popcorn_msg_addr *to)
{
	struct report report = { 0 };
	ssize_t n = ask(endpoint, to, OP_REPORT, 0, &report, sizeof(report), LONG, NULL);

	if (n != sizeof(report))
		die("report", (int)n);
	return report;
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	alarms = alarms + 1;
}

static void alarm_ms(unsigned ms)
{
	const struct itimerval timer = { .it_value = { ms / 1000, (long)(ms % 1000) * 1000 } };

	setitimer(ITIMER_REAL, &timer, NULL);
}

static void test_names(struct popcorn_endpoint *endpoint, uint32_t kernel)
{
	static const char *const bad[] = { "", ".a", "-a", "a b", "a/b", "\xc3\xa4" };
	struct popcorn_endpoint *other = open_endpoint();
	struct popcorn_msg_addr addr, self;

	is(popcorn_endpoint_get_addr(endpoint, &self), 0, "own address");
	is(popcorn_endpoint_lookup(endpoint, kernel, "test.nobody", LONG, &addr), -ENOENT,
	   "look up a name that nobody has");
	is(popcorn_endpoint_lookup(endpoint, 300, "test", LONG, &addr), -ENOTCONN,
	   "look up in a kernel that is not there");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		is(popcorn_endpoint_bind(other, bad[i]), -EINVAL, "bind a name that is none");
	is(popcorn_endpoint_bind(other, "01234567890123456789012345678901"), -EINVAL,
	   "bind a name that is too long");
	is(popcorn_endpoint_bind(other, "0123456789012345678901234567890"), 0,
	   "bind the longest name");
	is(popcorn_endpoint_bind(other, "test.second"), -EBUSY, "bind twice");
	is(popcorn_endpoint_bind(endpoint, "0123456789012345678901234567890"), -EEXIST,
	   "bind what another one has");
	is(popcorn_endpoint_lookup(endpoint, self.kernel, "0123456789012345678901234567890", LONG,
				   &addr),
	   0, "look it up");
	popcorn_endpoint_close(other);
	is(popcorn_endpoint_lookup(endpoint, self.kernel, "0123456789012345678901234567890", LONG,
				   &addr),
	   -ENOENT, "look it up after it was closed");
	is(popcorn_endpoint_send(endpoint, &addr, "", 0, 0, LONG), -EPIPE,
	   "send to what was closed");
	is(ask(endpoint, &addr, OP_ECHO, 0, NULL, 0, LONG, NULL), -EPIPE, "call what was closed");
	addr.generation += 7;
	is(popcorn_endpoint_send(endpoint, &addr, "", 0, 0, LONG), -EPIPE, "send to another life");
}

static void test_calls(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *server)
{
	static const uint32_t sizes[] = { 0, 1, 7, 100, 1000, POPCORN_MSG_CALL_MAX };
	uint8_t request[POPCORN_MSG_CALL_MAX] = { 0 }, reply[POPCORN_MSG_CALL_MAX];
	int status;
	ssize_t n;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (size_t j = sizeof(struct request); j < sizes[i]; j++)
			request[j] = (uint8_t)(j * 3 + i);
		memset(reply, 0xee, sizeof(reply));
		n = popcorn_endpoint_call(endpoint, server, request, sizes[i], reply, sizeof(reply),
					  LONG, &status);
		check(n == (ssize_t)sizes[i] && !status && !memcmp(request, reply, sizes[i]),
		      "echo of %u bytes: %zd", sizes[i], n);
	}
	is(popcorn_endpoint_call(endpoint, server, request, sizeof(request) + 1, reply, 0, LONG,
				 NULL),
	   -EMSGSIZE, "a request that is too long");
	is(ask(endpoint, server, OP_STATUS, (uint32_t)-77, reply, 8, LONG, &status), 8,
	   "a reply with a status");
	is(status, -77, "its status");
	is(popcorn_endpoint_call(endpoint, server, request, 1000, reply, 10, LONG, NULL), 10,
	   "a reply no longer than the room");
	is(ask(endpoint, server, OP_ECHO, 0, NULL, 0, 0, NULL), -EAGAIN,
	   "a call that may not wait");
	is(ask(endpoint, server, OP_NEVER, 0, NULL, 0, 200, NULL), -ETIMEDOUT,
	   "a call that nobody replies to");
	alarm_ms(200);
	is(ask(endpoint, server, OP_NEVER, 0, NULL, 0, LONG, NULL), -EINTR, "a call and a signal");
	is(ask(endpoint, server, OP_SLEEP, 3000, NULL, 0, 100, NULL), -ETIMEDOUT,
	   "a call whose reply comes too late");
	is(ask(endpoint, server, OP_ECHO, 0, NULL, 0, LONG, NULL), 0, "the next one");
}

static void test_sizes(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *server)
{
	static const uint32_t sizes[] = { 0,	1,    15,   16,	   3000,   3767,	  3768,
					  3769, 7536, 7537, 65536, 262144, (1 << 20) - 1, 1 << 20 };
	static uint64_t sequence;
	struct report report;
	uint64_t bytes = 0;

	for (unsigned flags = 0; flags <= POPCORN_MSG_SEND_BULK; flags++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			fill(buffer, sizes[i], ++sequence);
			bytes += sizes[i];
			int r = popcorn_endpoint_send(endpoint, server, buffer, sizes[i], flags,
						      LONG);

			check(!r, "send %u bytes%s: %d", sizes[i], flags ? " as bulk" : "", r);
		}
	report = get_report(endpoint, server);
	is((intmax_t)report.received, 2 * ARRAY_SIZE(sizes), "messages of all sizes that came");
	is((intmax_t)report.bytes, (intmax_t)bytes, "their bytes");
	is((intmax_t)report.errors, 0, "damaged or out of order");
	is(report.uid, getuid(), "the uid that the receiver sees");
	is(popcorn_endpoint_send(endpoint, server, buffer, POPCORN_MSG_SEND_MAX + 1, 0, LONG),
	   -EMSGSIZE, "more than the limit");
}

static void send_many(uint32_t kernel, uint32_t count, uint32_t size)
{
	struct popcorn_endpoint *endpoint = open_endpoint();
	struct popcorn_msg_addr server = find(endpoint, kernel, "test");

	for (uint32_t i = 1; i <= count; i++) {
		int r;

		fill(buffer, size, i);
		r = popcorn_endpoint_send(endpoint, &server, buffer, size,
					  size & 1 ? POPCORN_MSG_SEND_BULK : 0, LONG);
		if (r < 0)
			die("send", r);
	}
	exit(EXIT_SUCCESS);
}

static void test_many(struct popcorn_endpoint *endpoint, uint32_t kernel,
		      const struct popcorn_msg_addr *server)
{
	static const uint32_t size[] = { 64, 1001, 20000, 50001 }, count[] = { 1000, 500, 50, 20 };
	struct report report;
	int status, bad = 0;
	uint32_t sum = 0;

	fflush(stdout);
	for (size_t i = 0; i < ARRAY_SIZE(size); i++) {
		if (!fork())
			send_many(kernel, count[i], size[i]);
		sum += count[i];
	}
	for (size_t i = 0; i < ARRAY_SIZE(size); i++)
		if (wait(&status) > 0)
			bad += status != 0;
	is(bad, 0, "four processes send at once: that failed");
	report = get_report(endpoint, server);
	is((intmax_t)report.received, sum, "messages that came");
	is((intmax_t)report.errors, 0, "damaged or out of order");
}

/* Who does not receive costs those who send to him, and nobody else. */
static void test_full(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *server,
		      const struct popcorn_msg_addr *other)
{
	static const uint32_t sizes[] = { 100000, 10 };
	uint64_t begin;
	uint32_t sent, total = 0;
	int r = 0;

	is(ask(endpoint, server, OP_PAUSE, 8000, NULL, 0, LONG, NULL), 0, "the server pauses");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (sent = 0; sent < 20000; sent++) {
			fill(buffer, sizes[i], 1000 + 100 * i + sent);
			r = popcorn_endpoint_send(endpoint, server, buffer, sizes[i], 0, 0);
			if (r < 0)
				break;
		}
		is(r, -EAGAIN, "its queue is full");
		total += sent;
		check(sent > 2 && (uint64_t)sent * sizes[i] <= POPCORN_MSG_QUEUE_MAX,
		      "it held %u messages of %u bytes", sent, sizes[i]);
	}
	begin = now_ms();
	is(ask(endpoint, other, OP_ECHO, 0, NULL, 0, LONG, NULL), 0,
	   "meanwhile another endpoint of that kernel answers");
	is(popcorn_endpoint_send(endpoint, other, buffer, 10, 0, 0), 0, "and receives");
	check(now_ms() - begin < 2500, "at once: %ju ms", (uintmax_t)(now_ms() - begin));
	begin = now_ms();
	is(popcorn_endpoint_send(endpoint, server, buffer, 10000, 0, 300), -ETIMEDOUT,
	   "a send that waits 300 ms");
	check(now_ms() - begin >= 200 && now_ms() - begin < 3000, "it took %ju ms",
	      (uintmax_t)(now_ms() - begin));
	alarm_ms(200);
	is(popcorn_endpoint_send(endpoint, server, buffer, 10000, 0, LONG), -EINTR,
	   "a send that waits, and a signal");
	fill(buffer, 500000, 100000);
	is(popcorn_endpoint_send(endpoint, server, buffer, 500000, 0, LONG), 0,
	   "a send that waits until there is room");
	total++;
	struct report report = get_report(endpoint, server);

	is((intmax_t)report.received, total, "exactly what was said to be sent has come");
	is((intmax_t)report.errors, 0, "damaged or out of order");
	get_report(endpoint, other);
}

static void test_receive(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *server)
{
	struct pollfd fd = { .fd = popcorn_endpoint_get_fd(endpoint), .events = POLLIN | POLLOUT };
	struct popcorn_received received;
	uint64_t begin, sequence = 0;
	size_t length = 0;
	int status = -1, flags;

	is(popcorn_endpoint_receive(endpoint, buffer, 10, 0, NULL, NULL), -EAGAIN,
	   "receive when there is nothing");
	begin = now_ms();
	is(popcorn_endpoint_receive(endpoint, buffer, 10, 100, NULL, NULL), -ETIMEDOUT,
	   "receive for 100 ms");
	/* Ticks of an emulated machine come late, and then many at once. */
	check(now_ms() - begin >= 30, "it took %ju ms", (uintmax_t)(now_ms() - begin));
	alarm_ms(100);
	is(popcorn_endpoint_receive(endpoint, buffer, 10, POPCORN_MSG_FOREVER, NULL, NULL), -EINTR,
	   "receive, and a signal");
	is(poll(&fd, 1, 0) == 1 ? fd.revents : -1, POLLOUT, "poll: nothing to receive");
	is(ask(endpoint, server, OP_SEND, 70000, NULL, 0, LONG, &status), 0, "ask for a message");
	is(status, 0, "it was sent");
	is(poll(&fd, 1, LONG) == 1 ? fd.revents : -1, POLLIN | POLLOUT, "poll: it can be received");
	is(popcorn_endpoint_receive(endpoint, buffer, 69999, 0, NULL, &length), -EMSGSIZE,
	   "receive it with too little room");
	is((intmax_t)length, 70000, "how long it is");
	is(popcorn_endpoint_receive(endpoint, buffer, 70000, 0, &received, NULL), 70000,
	   "receive it");
	check(sound(buffer, 70000, &sequence), "it is sound");
	check(!memcmp(&received.from, server, sizeof(*server)) && !received.flags,
	      "and says who sent it");
	flags = fcntl(fd.fd, F_GETFL);
	fcntl(fd.fd, F_SETFL, flags | O_NONBLOCK);
	is(popcorn_endpoint_receive(endpoint, buffer, 10, LONG, NULL, NULL), -EAGAIN, "O_NONBLOCK");
	fcntl(fd.fd, F_SETFL, flags);
}

static void test_groups(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *server)
{
	struct popcorn_endpoint *other = open_endpoint();
	struct popcorn_received received;
	char name[16];
	int status = -1, r;

	is(popcorn_endpoint_leave(endpoint, "group"), -ENOENT, "leave a group without being in it");
	is(popcorn_endpoint_join(endpoint, "group"), 0, "join a group");
	is(popcorn_endpoint_join(endpoint, "group"), -EEXIST, "join it again");
	is(popcorn_endpoint_join(other, "group"), 0, "another one joins");
	for (int i = 1; i < POPCORN_MSG_GROUPS_MAX; i++) {
		snprintf(name, sizeof(name), "g%d", i);
		if (popcorn_endpoint_join(other, name) < 0)
			check(false, "join %s", name);
	}
	is(popcorn_endpoint_join(other, "one-too-many"), -ENOSPC, "join too many");
	ask(endpoint, server, OP_JOIN, 0, NULL, 0, LONG, &status);
	is(status, 0, "the server joins");
	fill(buffer, 3000, 200000);
	r = popcorn_endpoint_send_group(endpoint, "group", buffer, 3000, LONG);
	check(r >= 1, "send to the group: %d kernels", r);
	is(popcorn_endpoint_receive(endpoint, buffer, 4000, 0, NULL, NULL), -EAGAIN,
	   "the sender does not get it");
	is(popcorn_endpoint_receive(other, buffer, 4000, LONG, &received, NULL), 3000,
	   "another one here does");
	check(received.flags == POPCORN_MSG_IS_GROUP && !strcmp(received.group, "group"),
	      "and sees by which group");
	/* It went by the same ring before the request. */
	is((intmax_t)get_report(endpoint, server).groups, 1, "the server does");
	ask(endpoint, server, OP_LEAVE, 0, NULL, 0, LONG, &status);
	is(status, 0, "the server leaves");
	popcorn_endpoint_send_group(endpoint, "group", buffer, 3000, LONG);
	is((intmax_t)get_report(endpoint, server).received, 0, "and gets nothing more");
	is(popcorn_endpoint_send_group(endpoint, "group", buffer, POPCORN_MSG_CALL_MAX + 1, LONG),
	   -EMSGSIZE, "too long for a group");
	is(popcorn_endpoint_leave(endpoint, "group"), 0, "leave it");
	popcorn_endpoint_close(other);
}

/* A queue that is full loses what comes by a group, and says how much. */
static void test_lost(struct popcorn_endpoint *endpoint)
{
	struct popcorn_endpoint *other = open_endpoint();
	struct popcorn_received received = { 0 };
	uint32_t came = 0, lost = 0;
	int errors = 0;

	is(popcorn_endpoint_join(other, "local"), 0, "join");
	for (int i = 0; i < 1000; i++) {
		fill(buffer, POPCORN_MSG_CALL_MAX, (uint64_t)i + 1);
		errors += popcorn_endpoint_send_group(endpoint, "local", buffer,
						      POPCORN_MSG_CALL_MAX, 0) < 0;
	}
	is(errors, 0, "send 1000 to a group whose member does not receive: errors");
	while (popcorn_endpoint_receive(other, buffer, sizeof(buffer), 0, &received, NULL) > 0) {
		came++;
		lost += received.lost;
	}
	check(came > 500 && came + lost == 1000, "%u came and %u were lost", came, lost);
	popcorn_endpoint_close(other);
}

/* Bad input */

union any {
	uint32_t size;
	struct popcorn_msg_info info;
	struct popcorn_msg_name name;
	struct popcorn_msg_lookup lookup;
	struct popcorn_msg_send_args send;
	struct popcorn_msg_receive receive;
	struct popcorn_msg_call_args call;
	struct popcorn_msg_reply_args reply;
	struct popcorn_msg_members members;
	struct popcorn_msg_ping ping;
	struct popcorn_msg_counters counters;
	struct popcorn_msg_window window;
	uint8_t bytes[8192];
};

static int try(int fd, unsigned long request, void *args)
{
	return ioctl(fd, request, args) < 0 ? -errno : 0;
}

static void test_sizes_of_ioctls(int fd)
{
	static const struct {
		const char *name;
		unsigned long request;
		uint32_t size;
	} all[] = {
#define IOCTL(name, type) { #name, POPCORN_MSG_IOC_##name, sizeof(struct type) }
		IOCTL(INFO, popcorn_msg_info),
		IOCTL(BIND, popcorn_msg_name),
		IOCTL(JOIN, popcorn_msg_name),
		IOCTL(LEAVE, popcorn_msg_name),
		IOCTL(LOOKUP, popcorn_msg_lookup),
		IOCTL(SEND, popcorn_msg_send_args),
		IOCTL(RECEIVE, popcorn_msg_receive),
		IOCTL(CALL, popcorn_msg_call_args),
		IOCTL(REPLY, popcorn_msg_reply_args),
		IOCTL(MEMBERS, popcorn_msg_members),
		IOCTL(PING, popcorn_msg_ping),
		IOCTL(STATS, popcorn_msg_counters),
		IOCTL(WINDOW_CREATE, popcorn_msg_window),
		IOCTL(WINDOW_OPEN, popcorn_msg_window),
		IOCTL(WINDOW_CLOSE, popcorn_msg_window),
	};
	static union any any;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		int bad = 0;

		memset(&any, 0, sizeof(any));
		for (any.size = 0; any.size < all[i].size; any.size++)
			bad += try(fd, all[i].request, &any) != -EINVAL;
		any.size = 4097;
		bad += try(fd, all[i].request, &any) != -EINVAL;
		/* Of a later version, which asks for what is not known here. */
		any.size = all[i].size + 8;
		any.bytes[all[i].size] = 1;
		bad += try(fd, all[i].request, &any) != -E2BIG;
		bad += try(fd, all[i].request, NULL) != -EFAULT;
		bad += try(fd, all[i].request, (void *)-4096) != -EFAULT;
		check(!bad, "%s: sizes and pointers that are wrong: %d are taken", all[i].name,
		      bad);
	}
	any.size = sizeof(any.info) + 8;
	memset(any.bytes + 4, 0, sizeof(any) - 4);
	is(try(fd, POPCORN_MSG_IOC_INFO, &any), 0, "INFO of a later version");
	is(try(fd, _IO(POPCORN_MSG_IOC_TYPE, 15), &any), -ENOTTY, "an ioctl that there is not");
	is(try(fd, _IO('p', 0), &any), -ENOTTY, "and one of another device");
}

static void test_bad_fields(int fd, const struct popcorn_msg_addr *server)
{
	union any any;
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

#define BAD(ioc, expected, what, type, ...)                                                 \
	do {                                                                                \
		memset(&any, 0, sizeof(any));                                               \
		any.type = (__typeof__(any.type)){ .size = sizeof(any.type), __VA_ARGS__ }; \
		is(try(fd, POPCORN_MSG_IOC_##ioc, &any), expected, #ioc ": " what);         \
	} while (0)
	BAD(BIND, -EINVAL, "reserved", name, .reserved = 1, .name = "x");
	BAD(BIND, -EINVAL, "bytes behind the name", name, .name = "x\0y");
	BAD(LOOKUP, -EINVAL, "no name", lookup, .timeout_ms = 1);
	BAD(SEND, -EINVAL, "unknown flag", send, .flags = 4, .to = *server);
	BAD(SEND, -EINVAL, "reserved", send, .reserved = 4, .to = *server);
	BAD(SEND, -EINVAL, "group without its flag", send, .group = "g", .to = *server);
	BAD(SEND, -EINVAL, "group and address", send, .flags = POPCORN_MSG_SEND_GROUP, .group = "g",
	    .to = *server);
	BAD(SEND, -EMSGSIZE, "too long", send, .length = POPCORN_MSG_SEND_MAX + 1, .to = *server);
	BAD(SEND, -EFAULT, "buffer", send, .length = 10, .to = *server);
	BAD(SEND, -EFAULT, "buffer that ends early", send, .length = 9000, .buf = (uintptr_t)page,
	    .to = *server, .timeout_ms = LONG);
	BAD(CALL, -EFAULT, "buffer", call, .length = 10, .to = *server, .timeout_ms = LONG);
	BAD(CALL, -EMSGSIZE, "too long", call, .length = POPCORN_MSG_CALL_MAX + 1, .to = *server,
	    .timeout_ms = LONG);
	BAD(CALL, -EMSGSIZE, "too much room", call, .room = POPCORN_MSG_CALL_MAX + 1, .to = *server,
	    .timeout_ms = LONG);
	BAD(CALL, -EFAULT, "reply into read-only memory", call, .length = 16, .room = 16,
	    .buf = (uintptr_t)page, .reply = (uintptr_t)page, .to = *server, .timeout_ms = LONG);
	BAD(REPLY, -ENOENT, "no such request", reply, .call = 1);
	BAD(REPLY, -EINVAL, "reserved", reply, .reserved = 1);
	BAD(REPLY, -EMSGSIZE, "too long", reply, .length = POPCORN_MSG_CALL_MAX + 1);
	BAD(PING, -EINVAL, "an endpoint", ping, .to = *server, .timeout_ms = LONG);
	BAD(PING, -EMSGSIZE, "too long", ping, .length = POPCORN_MSG_CALL_MAX + 1);
	BAD(STATS, -ENOENT, "nobody", counters, .kernel = 400);
	BAD(WINDOW_CREATE, -EINVAL, "flags", window, .flags = 1, .bytes = 4096, .peer = *server);
	BAD(WINDOW_CREATE, -EINVAL, "no bytes", window, .peer = *server);
	BAD(WINDOW_CREATE, -EINVAL, "half a page", window, .bytes = 2048, .peer = *server);
	BAD(WINDOW_CREATE, -EINVAL, "too much", window, .bytes = POPCORN_MSG_WINDOW_MAX + 4096,
	    .peer = *server);
	BAD(WINDOW_OPEN, -EINVAL, "bytes", window, .bytes = 4096, .peer = *server);
	BAD(WINDOW_CLOSE, -ENOENT, "none", window, .offset = 4096);
	is(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -errno : 0, -EINVAL,
	   "mmap of nothing");
	munmap(page, 4096);
}

static void test_members(struct popcorn_endpoint *endpoint, uint32_t kernel, uint32_t self)
{
	struct popcorn_msg_addr members[8];
	struct popcorn_msg_counters counters;
	ssize_t n = popcorn_endpoint_members(endpoint, members, ARRAY_SIZE(members));
	uint64_t ns = 0;

	check(n >= 1, "members: %zd", n);
	is(popcorn_endpoint_members(endpoint, NULL, 0), n, "only how many");
	for (uint32_t i = 0; i <= POPCORN_MSG_CALL_MAX; i += POPCORN_MSG_CALL_MAX / 2) {
		int r = popcorn_endpoint_ping(endpoint, kernel, i, LONG, &ns);

		check(!r && ns, "ping with %u bytes: %d, %ju ns", i, r, (uintmax_t)ns);
	}
	is(popcorn_endpoint_ping(endpoint, 300, 0, LONG, &ns), -ENOTCONN, "ping nobody");
	if (kernel == self)
		return;
	for (uint32_t i = 0; i < 3; i++) {
		int r = popcorn_endpoint_counters(endpoint, kernel, i, &counters);

		check(!r && counters.sent && (i == 2 || counters.received) && counters.slots,
		      "counters of priority %u: %d, sent %ju received %ju", i, r,
		      (uintmax_t)counters.sent, (uintmax_t)counters.received);
	}
	is(popcorn_endpoint_counters(endpoint, kernel, 3, &counters), -EINVAL, "no such priority");
}

/* Requests wait in an endpoint of this process, which replies in all orders, wrongly too. */
static void test_replies(struct popcorn_endpoint *endpoint)
{
	struct popcorn_endpoint *replier = open_endpoint();
	struct popcorn_msg_addr addr;
	struct popcorn_received got[3];
	int bad = 0, status;

	popcorn_endpoint_get_addr(replier, &addr);
	fflush(stdout);
	for (uint32_t i = 0; i < 3; i++)
		if (!fork()) {
			uint32_t reply = 0;
			ssize_t n;

			/* It is closed when no process has it any more. */
			popcorn_endpoint_close(replier);
			n = ask(endpoint, &addr, 100, i, &reply, sizeof(reply), LONG, NULL);

			_exit(i == 2 ? n != -EPIPE : n != sizeof(reply) || reply != i + 7);
		}
	for (uint32_t i = 0; i < 3; i++)
		bad += popcorn_endpoint_receive(replier, buffer + 8 * i, 8, LONG, &got[i], NULL) !=
		       8;
	is(bad, 0, "three requests come: errors");
	for (int i = 2; i >= 0; i--) {
		struct request request;
		uint32_t reply;

		memcpy(&request, buffer + 8 * i, sizeof(request));
		reply = request.argument + 7;
		if (request.argument == 2)
			continue;
		is(popcorn_endpoint_reply(endpoint, got[i].call, 0, &reply, 4), -ENOENT,
		   "reply by another endpoint");
		is(popcorn_endpoint_reply(replier, got[i].call, 0, buffer, 5), -EMSGSIZE,
		   "reply with too much");
		is(popcorn_endpoint_reply(replier, got[i].call, 0, NULL, 4), -EFAULT,
		   "reply with nothing");
		is(popcorn_endpoint_reply(replier, got[i].call, 0, &reply, 4), 0, "reply");
		is(popcorn_endpoint_reply(replier, got[i].call, 0, &reply, 4), -ENOENT,
		   "reply twice");
	}
	popcorn_endpoint_close(replier);
	for (int i = 0; i < 3; i++)
		if (wait(&status) > 0)
			bad += status != 0;
	is(bad, 0, "the callers got their replies, the last one -EPIPE: errors");
}

static int test(uint32_t kernel)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct popcorn_endpoint *endpoint = open_endpoint();
	struct popcorn_msg_addr self = { 0 }, server, other;

	sigaction(SIGALRM, &action, NULL);
	popcorn_endpoint_get_addr(endpoint, &self);
	server = find(endpoint, kernel, "test");
	other = find(endpoint, kernel, "test.other");
	test_names(endpoint, kernel);
	test_calls(endpoint, &server);
	test_sizes(endpoint, &server);
	test_many(endpoint, kernel, &server);
	test_full(endpoint, &server, &other);
	test_receive(endpoint, &server);
	test_replies(endpoint);
	test_groups(endpoint, &server);
	test_lost(endpoint);
	test_sizes_of_ioctls(popcorn_endpoint_get_fd(endpoint));
	test_bad_fields(popcorn_endpoint_get_fd(endpoint), &server);
	test_members(endpoint, kernel, self.kernel);
	is(ask(endpoint, &other, OP_EXIT, 0, NULL, 0, LONG, NULL), -EPIPE,
	   "a call whose replier exits");
	popcorn_endpoint_close(endpoint);
	printf("%d tests, %d failed\n", tests, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* For ever, until it is killed or fails: prints the first error. */
static int flood(uint32_t kernel, const char *what)
{
	struct popcorn_endpoint *endpoint = open_endpoint();
	struct popcorn_msg_addr server = find(endpoint, kernel, "test");
	uint8_t reply[1000];
	ssize_t n;

	printf("begins\n");
	fflush(stdout);
	for (uint64_t i = 1;; i++) {
		if (!strcmp(what, "call")) {
			n = ask(endpoint, &server, OP_SLEEP, 1, reply, sizeof(reply), LONG, NULL);
		} else if (!strcmp(what, "never")) {
			n = ask(endpoint, &server, OP_NEVER, 0, reply, sizeof(reply), LONG, NULL);
		} else {
			size_t size = strtoul(what, NULL, 0);

			fill(buffer, size, i);
			n = popcorn_endpoint_send(endpoint, &server, buffer, size, 0, LONG);
		}
		if (n < 0)
			break;
	}
	printf("%s: %s\n", what, strerrorname_np((int)-n));
	return EXIT_SUCCESS;
}

/* What one who may do less than root sees. */
static int rights(uint32_t kernel)
{
	struct popcorn_endpoint *endpoint;
	struct popcorn_msg_addr server;
	int r = popcorn_endpoint_open(&endpoint);

	if (r < 0) {
		printf("%s\n", strerrorname_np(-r));
		return EXIT_SUCCESS;
	}
	server = find(endpoint, kernel, "test");
	is(popcorn_endpoint_bind(endpoint, "popcorn.agent"), geteuid() ? -EPERM : 0,
	   "bind a reserved name");
	is(popcorn_endpoint_join(endpoint, "popcorn.all"), geteuid() ? -EPERM : 0,
	   "join a reserved group");
	r = popcorn_endpoint_send_group(endpoint, "popcorn.all", "", 0, LONG);
	check(geteuid() ? r == -EPERM : r >= 0, "send to a reserved group: %d", r);
	is(popcorn_endpoint_send(endpoint, &server, "", 0, 0, LONG), 0, "send");
	is(get_report(endpoint, &server).uid, geteuid(), "the uid that the server sees");
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Finds the server, and calls it when told to: then it may be gone. */
static int late(uint32_t kernel)
{
	struct popcorn_endpoint *endpoint = open_endpoint();
	struct popcorn_msg_addr server = find(endpoint, kernel, "test");
	ssize_t n;

	printf("found\n");
	if (getchar() == EOF)
		return EXIT_FAILURE;
	n = ask(endpoint, &server, OP_ECHO, 0, NULL, 0, LONG, NULL);
	printf("called: %s\n", n < 0 ? strerrorname_np((int)-n) : "answered");
	return EXIT_SUCCESS;
}

/* Windows */

static sigjmp_buf fault_jump;

static void on_fault(int sig)
{
	siglongjmp(fault_jump, sig);
}

/* The signal that reading gives, or 0. */
static int read_fault(const volatile uint64_t *p)
{
	int sig = sigsetjmp(fault_jump, 1);

	if (!sig)
		(void)*p;
	return sig;
}

/*
 * Makes windows of all sizes that the server of a kernel opens. The server has the last one mapped
 * when this ends.
 */
static int windows(uint32_t kernel)
{
	static const size_t sizes[] = { 4096, 3 * 4096, 1 << 20, 5 << 20, 16 << 20 };
	struct popcorn_endpoint *endpoint = open_endpoint(), *stranger = open_endpoint();
	struct popcorn_msg_addr server = find(endpoint, kernel, "test"), me;
	struct popcorn_window mine = { 0 }, none;
	struct sigaction action = { .sa_handler = on_fault };
	uint64_t value;
	int status, r;
	ssize_t n;

	sigaction(SIGBUS, &action, NULL);
	popcorn_endpoint_get_addr(endpoint, &me);
	is(popcorn_window_create(endpoint, &me, 4096, &none), -EINVAL, "a window to oneself");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		volatile uint64_t *memory;
		size_t last = sizes[i] / 8 - 1;
		bool zero = true;

		r = popcorn_window_create(endpoint, &server, sizes[i], &mine);
		if (!check(!r, "make a window of %zu bytes: %d", sizes[i], r))
			break;
		memory = mine.memory;
		for (size_t j = 0; j <= last; j += 64)
			zero &= !memory[j];
		check(zero, "it is zero");
		memory[0] = 0x1234500 + i;
		n = ask(endpoint, &server, OP_WINDOW, mine.number, &value, sizeof(value), LONG,
			&status);
		is(n, sizeof(value), "the other side opens it");
		is(status, 0, "its status");
		check(value == 0x1234500 + i, "it sees what is there: %jx", (uintmax_t)value);
		check(memory[last] == 0x1234501 + i, "and writes what is seen here: %jx",
		      (uintmax_t)memory[last]);
		if (i + 1 == ARRAY_SIZE(sizes))
			break;
		is(popcorn_window_close(endpoint, &mine), 0, "close it");
	}
	is(popcorn_window_open(stranger, &server, 12345, &none), -ENOENT, "open what there is not");
	is(ask(endpoint, &server, OP_WINDOW, mine.number + 100, &value, sizeof(value), LONG,
	       &status),
	   sizeof(value), "the other side opens what there is not");
	is(status, -ENOENT, "its status");
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/*
 * Two sides of a window that count: "own KERNEL" makes it for service "test.count" there, "count"
 * serves that. Both print what they see until something ends it.
 */
static int own(uint32_t kernel, const char *then)
{
	struct popcorn_endpoint *endpoint = open_endpoint();
	struct popcorn_msg_addr peer = find(endpoint, kernel, "test.count");
	struct sigaction action = { .sa_handler = on_fault };
	struct popcorn_window mine;
	volatile uint64_t *memory;
	uint64_t last = 0, end;
	int r, status;

	sigaction(SIGBUS, &action, NULL);
	r = popcorn_window_create(endpoint, &peer, 2 << 20, &mine);
	if (r < 0)
		die("create", r);
	memory = mine.memory;
	r = (int)ask(endpoint, &peer, OP_WINDOW, mine.number, NULL, 0, LONG, &status);
	if (r < 0 || status < 0)
		die("the other side", r < 0 ? r : status);
	/* Its own counter is in another page. */
	end = now_ms() + 30 * SECOND;
	for (int n = 0; n < 1000 && now_ms() < end;) {
		memory[0]++;
		if (memory[65536] != last) {
			last = memory[65536];
			n++;
		}
	}
	printf("own: counted, sees %ju\n", (uintmax_t)last);
	fflush(stdout);
	if (!strcmp(then, "close")) {
		is(popcorn_window_close(endpoint, &mine), 0, "close");
	} else if (!strcmp(then, "stay")) {
		for (;;)
			pause();
	} else if (!strcmp(then, "again")) {
		struct popcorn_msg_window args = { .size = sizeof(args), .offset = mine.offset };

		is(try(popcorn_endpoint_get_fd(endpoint), POPCORN_MSG_IOC_WINDOW_CLOSE, &args), 0,
		   "close what is mapped here");
		is(read_fault(memory), SIGBUS, "access to it");
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int count(void)
{
	struct popcorn_endpoint *endpoint = open_endpoint();
	struct sigaction action = { .sa_handler = on_fault };
	struct popcorn_received received;
	struct request request;
	volatile uint64_t *memory;
	int r, sig;

	sigaction(SIGBUS, &action, NULL);
	r = popcorn_endpoint_bind(endpoint, "test.count");
	if (r < 0)
		die("bind", r);
	for (;;) {
		ssize_t n = popcorn_endpoint_receive(endpoint, &request, sizeof(request),
						     POPCORN_MSG_FOREVER, &received, NULL);

		if (n != sizeof(request))
			die("receive", (int)n);
		r = popcorn_window_open(endpoint, &received.from, request.argument, &window);
		popcorn_endpoint_reply(endpoint, received.call, r, NULL, 0);
		if (r < 0) {
			printf("count: %s\n", strerrorname_np(-r));
			continue;
		}
		memory = window.memory;
		sig = sigsetjmp(fault_jump, 1);
		if (!sig) {
			printf("count: begins\n");
			fflush(stdout);
			for (;;)
				memory[65536] = memory[0];
		}
		printf("count: ended by %s\n", sigabbrev_np(sig));
		fflush(stdout);
		popcorn_window_close(endpoint, &window);
	}
}

/* Opens a window that was granted to somebody else. */
static int steal(uint32_t kernel, uint32_t from, uint32_t to)
{
	struct popcorn_endpoint *endpoint = open_endpoint();
	const struct popcorn_msg_addr peer = { .kernel = kernel };
	struct popcorn_window stolen;

	for (uint32_t i = from; i <= to; i++) {
		int r = popcorn_window_open(endpoint, &peer, i, &stolen);

		printf("window %u: %s\n", i, r < 0 ? strerrorname_np(-r) : "opened");
	}
	return EXIT_SUCCESS;
}

/* Whom a kernel plays that is not to be believed: tests/modules/imposter. */
static int imposter(uint32_t kernel)
{
	static const struct {
		const char *name;
		uint32_t timeout;
		int result;
	} services[] = {
		{ "test.refuses", LONG, -ENOBUFS }, { "test.odd", LONG, -EPROTO },
		{ "test.busy", 500, -ETIMEDOUT },   { "test.closed", LONG, -EPIPE },
		{ "test.long", LONG, -EPROTO },	    { "test.stranger", LONG, 0 },
		{ "test.twice", LONG, 0 },	    { "test.forgets", LONG, 0 },
		{ "test.denies", LONG, -EPERM },
	};
	const struct popcorn_msg_addr peer = { .kernel = kernel };
	struct popcorn_endpoint *endpoint = open_endpoint();
	struct popcorn_window offered;
	uint32_t i;

	for (i = 0; i < ARRAY_SIZE(services); i++) {
		struct popcorn_msg_addr addr = find(endpoint, kernel, services[i].name);
		int status = 0;
		uint8_t reply[8];
		ssize_t n = popcorn_endpoint_call(endpoint, &addr, "", 0, reply, sizeof(reply),
						  services[i].timeout, &status);

		is(n, services[i].result, services[i].name);
		is(status, services[i].result ? 0 : 7, "its status");
	}
	/* Until there are no more. */
	for (i = 0; i < 100; i++) {
		int r = popcorn_window_open(endpoint, &peer, i, &offered);

		if (r == -ENOENT)
			break;
		check(r == -EPROTO, "window %u that is none: %d", i, r);
	}
	check(i > 10 && i < 100, "%u windows were offered", i);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Round trips of 64 bytes: "min p50 p99" in ns. */
static int trip(uint32_t kernel, size_t trips)
{
	struct popcorn_endpoint *endpoint = open_endpoint();
	struct popcorn_msg_addr server = find(endpoint, kernel, "test");
	uint64_t *times = calloc(trips, sizeof(*times));
	uint8_t message[64] = "";

	if (!times || !trips)
		return EXIT_FAILURE;
	for (size_t i = 0; i < trips; i++) {
		uint64_t begin = now_ns();
		ssize_t n = popcorn_endpoint_call(endpoint, &server, message, sizeof(message),
						  message, sizeof(message), LONG, NULL);

		if (n != sizeof(message))
			die("call", (int)n);
		times[i] = now_ns() - begin;
	}
	print_times(times, trips);
	free(times);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	uint32_t kernel = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 0;

	/* Scenarios read what has been said so far. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(verb, "serve") && argc == 3)
		return serve(argv[2]);
	if (!strcmp(verb, "test") && argc == 3)
		return test(kernel);
	if (!strcmp(verb, "flood") && argc == 4)
		return flood(kernel, argv[3]);
	if (!strcmp(verb, "late") && argc == 3)
		return late(kernel);
	if (!strcmp(verb, "rights") && argc == 3)
		return rights(kernel);
	if (!strcmp(verb, "windows") && argc == 3)
		return windows(kernel);
	if (!strcmp(verb, "own") && argc == 4)
		return own(kernel, argv[3]);
	if (!strcmp(verb, "count"))
		return count();
	if (!strcmp(verb, "steal") && argc == 5)
		return steal(kernel, (uint32_t)strtoul(argv[3], NULL, 0),
			     (uint32_t)strtoul(argv[4], NULL, 0));
	if (!strcmp(verb, "imposter") && argc == 3)
		return imposter(kernel);
	if (!strcmp(verb, "trip") && argc == 4)
		return trip(kernel, strtoul(argv[3], NULL, 0));
	fprintf(stderr,
		"Usage: msguser serve NAME | test KERNEL | flood KERNEL SIZE|call|never | late "
		"KERNEL | "
		"rights KERNEL | windows KERNEL | own KERNEL close|stay|again|exit | count | "
		"steal KERNEL FROM TO | imposter KERNEL | trip KERNEL COUNT\n");
	return 2;
}
