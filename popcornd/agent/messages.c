// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The service "popcorn.agent": what the primary asks the agent for by messages. The agent is the only one who can
 * end this kernel in order, so nothing here waits, and whatever goes wrong, it goes on without.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "config-build.h"
#include "top.h"

/* The device's name below /dev. */
#define DEVICE (POPCORN_MSG_DEVICE + sizeof("/dev/") - 1)

_Static_assert(AGENT_TOP_MAX <= POPCORN_MSG_CALL_MAX, "TOP fits into a reply");
_Static_assert(AGENT_STREAMS *AGENT_WINDOW < POPCORN_MSG_QUEUE_MAX, "streams never fill a queue");
_Static_assert(AGENT_EXEC_MAX <= POPCORN_MSG_SEND_MAX, "EXEC fits into a message");

int messages_open_endpoint(const struct messages *messages, struct popcorn_endpoint **ret)
{
	int fd, r;

	fd = openat(messages->dev, DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = popcorn_endpoint_from_fd(fd, ret);
	if (r < 0)
		close(fd);
	return r;
}

void messages_open(struct messages *messages, int proc)
{
	int r;

	*messages = (struct messages){ .proc = proc };
	messages->dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = messages->dev < 0 ? -errno : messages_open_endpoint(messages, &messages->endpoint);
	if (r == 0)
		r = popcorn_endpoint_bind(messages->endpoint, AGENT_SERVICE);
	if (r == 0)
		return;
	errno = -r;
	warn("no service " AGENT_SERVICE " in this kernel: %m");
	messages_close(messages);
}

void messages_close(struct messages *messages)
{
	messages->endpoint = popcorn_endpoint_close(messages->endpoint);
}

int messages_get_fd(const struct messages *messages)
{
	return messages->endpoint ? popcorn_endpoint_get_fd(messages->endpoint) : -1;
}

void messages_forget(struct messages *messages, pid_t pid)
{
	for (size_t i = 0; i < AGENT_SESSIONS_MAX; i++)
		if (messages->sessions[i] == pid)
			messages->sessions[i] = 0;
}

static uint32_t count_sessions(const struct messages *messages)
{
	uint32_t n = 0;

	for (size_t i = 0; i < AGENT_SESSIONS_MAX; i++)
		n += messages->sessions[i] > 0;
	return n;
}

static void refuse(struct messages *messages, const struct popcorn_msg_addr *caller, int err)
{
	const struct agent_number failed = agent_number(AGENT_FAILED, 0, (uint32_t)-err);

	/* One who has no room for it waits for it in vain, not we for him. */
	(void)popcorn_endpoint_send(messages->endpoint, caller, &failed, sizeof(failed),
				    POPCORN_MSG_SEND_BULK, 0);
}

static void start_session(struct messages *messages, const struct agent_message *message,
			  const struct popcorn_msg_addr *caller)
{
	pid_t *place = NULL, pid;

	for (size_t i = 0; i < AGENT_SESSIONS_MAX && !place; i++)
		if (!messages->sessions[i])
			place = &messages->sessions[i];
	if (!place || messages->ending) {
		refuse(messages, caller, messages->ending ? -ESHUTDOWN : -EBUSY);
		return;
	}
	pid = fork();
	if (pid == 0)
		session_run(messages, message, caller);
	if (pid < 0)
		refuse(messages, caller, -errno);
	else
		*place = pid;
}

static void reply(struct messages *messages, const struct popcorn_received *received, int status,
		  const void *data, size_t length)
{
	if (length > received->reply_max) {
		status = -EMSGSIZE;
		length = 0;
	}
	/* That the caller has not waited is his affair. */
	(void)popcorn_endpoint_reply(messages->endpoint, received->call, status, data, length);
}

static void reply_hello(struct messages *messages, const struct popcorn_received *received,
			int status)
{
	struct agent_hello hello = {
		.header = agent_header(AGENT_HELLO, 0),
		.sessions = count_sessions(messages),
		.sessions_max = AGENT_SESSIONS_MAX,
		.release = POPCORN_VERSION,
	};

	reply(messages, received, status, &hello, sizeof(hello));
}

static void reply_top(struct messages *messages, const struct popcorn_received *received)
{
	struct {
		struct agent_top top;
		struct agent_process processes[AGENT_PROCESSES_MAX];
	} answer;
	int r;

	r = top_read(messages->proc, &answer.top, answer.processes);
	reply(messages, received, r, &answer,
	      r < 0 ? 0 : sizeof(answer.top) + answer.top.listed * sizeof(answer.processes[0]));
}

bool messages_receive(struct messages *messages)
{
	/* As long as a message can be: one that did not fit would stay, and be in the way of all others. */
	static uint8_t buffer[POPCORN_MSG_SEND_MAX];
	struct popcorn_received received;
	struct agent_message message;
	ssize_t length;
	bool request;
	int r;

	length = popcorn_endpoint_receive(messages->endpoint, buffer, sizeof(buffer), 0, &received,
					  NULL);
	if (length == -EAGAIN || length == -EINTR)
		return false;
	if (length < 0) {
		errno = (int)-length;
		warn("receive messages: %m; no service " AGENT_SERVICE " any more");
		messages_close(messages);
		return false;
	}

	request = received.flags & POPCORN_MSG_IS_REQUEST;
	r = agent_parse(buffer, (size_t)length, &message);
	if (r == 0 && (received.from.kernel != 0 || received.uid != 0))
		r = -EACCES;
	if (r < 0) {
		/* Of whatever version the other one is, he learns ours. */
		if (request)
			reply_hello(messages, &received, r);
		else if (r != -EBADMSG)
			refuse(messages, &received.from, r);
		return false;
	}

	if (!request) {
		if (message.type == AGENT_EXEC)
			start_session(messages, &message, &received.from);
		return false;
	}
	switch (message.type) {
	case AGENT_HELLO:
		reply_hello(messages, &received, 0);
		return false;
	case AGENT_TOP:
		reply_top(messages, &received);
		return false;
	case AGENT_SHUTDOWN:
		reply(messages, &received, 0, NULL, 0);
		return true;
	default:
		reply(messages, &received, -EBADMSG, NULL, 0);
		return false;
	}
}
