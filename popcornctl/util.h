/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <libpopcorn.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

static inline void freep(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ _cleanup_(freep)

static inline void closep(int *fd)
{
	extern int close(int);

	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_close_ _cleanup_(closep)

static inline void kernel_freep(struct popcorn_kernel **kernel)
{
	popcorn_kernel_free(*kernel);
}

static inline void kernels_freep(struct popcorn_kernel ***kernels)
{
	popcorn_kernels_free(*kernels);
}

static inline void job_freep(struct popcorn_job **job)
{
	popcorn_job_free(*job);
}

/* A command has nothing better to do without memory than to say so and end. */
void *xrealloc(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "popcornctl: WHAT: TEXT" on standard error. */
void complain(const char *what, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with the connection's last error; returns its exit code. */
int complain_last(struct popcorn *popcorn, const char *what);
/* The same with an error of the planner's library. */
struct popcorn_error;
int complain_error(const char *what, const struct popcorn_error *error);
/* The part of a D-Bus error's name that people use. */
const char *short_error(const char *name);

bool use_color(int fd);
uint64_t clock_usec(int clock);
