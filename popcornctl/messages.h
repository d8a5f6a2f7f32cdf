/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What verbs that speak to kernels by messages share. Functions that return an exit code have said what is wrong. */

#include <libpopcorn-msg.h>

#include "error.h"
#include "popcornctl.h"

/* How long a kernel has for an answer. An idle one needs microseconds; a busy one is not waited for longer. */
#define ANSWER_MS 1000

static inline void endpoint_closep(struct popcorn_endpoint **endpoint)
{
	popcorn_endpoint_close(*endpoint);
}

/* complain() with the name of an error at the end; returns its exit code. */
int complain_named(const char *what, enum popcorn_error_id id, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Opens an endpoint of the primary. */
int open_endpoint(const char *what, struct popcorn_endpoint **ret);

/* A kernel that takes part, by name. */
struct peer {
	char *name;
	uint32_t id;
};

struct peers {
	struct peer *items;
	size_t n;
};

/* The kernel of that name; it must be running, if @running. Without a name: all that run, or all. */
int find_peers(struct popcorn *popcorn, const char *what, const char *name, bool running,
	       struct peers *ret);
void peers_done(struct peers *peers);

/* In words, why kernel @name did not answer. Static, or in @buf. */
const char *describe_silence(int err, const char *name, char *buf, size_t size);

/*
 * Waits, with SIGINT and SIGTERM blocked before and taken from @signal_fd. 0: time is up; -EINTR: a signal; -EPIPE:
 * nobody reads standard output any more.
 */
int open_signals(void);
int wait_or_signal(int signal_fd, uint64_t usec);
