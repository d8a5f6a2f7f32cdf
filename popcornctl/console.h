/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Reading a console's descriptor. */

#include <stdbool.h>
#include <stddef.h>

/*
 * The last lines of a text that is fed in pieces of any size; nothing more is kept. A line that is
 * not ended yet counts as one.
 */
struct tail {
	size_t max; /* lines; SIZE_MAX: all */
	char *text;
	size_t n, size;
	size_t newlines;
};

void tail_feed(struct tail *tail, const char *bytes, size_t n);
void tail_done(struct tail *tail);

/* Reads what is there now, without waiting for more. 1: end of the console, 0: not, or -errno. */
int read_available(int fd, struct tail *tail);
