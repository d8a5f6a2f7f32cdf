/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What the parts of the agent share. */

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <libpopcorn-msg.h>

#include "protocol.h"

static inline void close_fdp(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_close_ __attribute__((cleanup(close_fdp)))

static inline void free_pointer(void *pointer)
{
	free(*(void **)pointer);
}
#define _cleanup_free_ __attribute__((cleanup(free_pointer)))

static inline void close_dirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}
#define _cleanup_closedir_ __attribute__((cleanup(close_dirp)))

/* What stands behind the last '/'. */
static inline const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A line in the kernel's log. */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* And the end of the kernel: it panics. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* CLOCK_MONOTONIC. */
static inline int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until then, for poll(2); 0: it is past. */
static inline int remaining_ms(int64_t end)
{
	int64_t left = end - now_ms();

	return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

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
