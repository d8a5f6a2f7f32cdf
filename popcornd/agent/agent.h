/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What the parts of the agent share. */

#include <stdbool.h>
#include <sys/types.h>

#include <libpopcorn-msg.h>

#include "protocol.h"

/* A line in the kernel's log. */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * struct messages - the service "popcorn.agent"
 * @endpoint:	NULL: not there; nobody asks anything then
 * @dev:	/dev as it was first: a session opens the device there, wherever /dev is by then
 * @proc:	/proc likewise
 * @other_root:	commands run in the root of PID 1, which is not ours
 * @own_name:	argv[0], which begins with '@' in a process that systemd is to leave alone
 * @ending:	the kernel is shutting down: no more sessions
 * @sessions:	their processes, or 0
 */
struct messages {
	struct popcorn_endpoint *endpoint;
	int dev;
	int proc;
	bool other_root;
	bool ending;
	char *own_name;
	pid_t sessions[AGENT_SESSIONS_MAX];
};

/* Never fails a boot: whatever is in the way is said, and then the kernel goes on without. */
void messages_open(struct messages *messages, int proc);
/* The service ends; sessions go on. */
void messages_close(struct messages *messages);
/* For poll(2); -1: none. */
int messages_get_fd(const struct messages *messages);
/* Takes one message. True: the primary wants the kernel to shut down. Never waits. */
bool messages_receive(struct messages *messages);
/* A child has ended. */
void messages_forget(struct messages *messages, pid_t pid);

/* Opens a new endpoint on the device. */
int messages_open_endpoint(const struct messages *messages, struct popcorn_endpoint **ret);

/* Runs the command of an EXEC for its sender; in a process of its own, which ends with it. */
void session_run(const struct messages *messages, const struct agent_message *exec,
		 const struct popcorn_msg_addr *caller) __attribute__((noreturn));
