/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* popcorn-leader: the one process of popcorn@NAME.service. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Exit codes; popcorn@.service says what systemd makes of them (RestartForceExitStatus=,
 * RestartPreventExitStatus=).
 */
#define EXIT_ENDED 0	  /* stopped by somebody, or it powered itself off */
#define EXIT_AGAIN 1	  /* crashed or failed, and its definition says restart = "on-failure" */
#define EXIT_NOT_AGAIN 78 /* failed, and starting it again is not wanted or of no use */
#define EXIT_REBOOT 133	  /* it asked for a reboot, which is a boot */

/*
 * console.c: what a kernel writes, cleaned, to the standard output, which is the journal.
 */

/* What survives the leader, in its runtime folder: the end of what was printed already. */
#define PRINTED_MAGIC 0x4e524350U /* "PCRN" */
#define PRINTED_MAX 4096U

struct printed {
	uint32_t magic;
	uint32_t current; /* 0 or 1: which slot is whole */
	struct {
		uint32_t size;
		char bytes[PRINTED_MAX];
	} slots[2];
};

struct cleaner {
	enum { TEXT, ESCAPE, CONTROL_SEQUENCE, STRING, STRING_ESCAPE } state;
};

/*
 * Takes out what a terminal would obey: escape sequences, carriage returns and other control
 * characters. @out has room for @n bytes and may be @in; returns how many there are.
 */
size_t clean(struct cleaner *cleaner, const char *in, size_t n, char *out);

/* Remembers that @bytes were printed after what was printed before. */
void printed_add(struct printed *printed, const char *bytes, size_t n);
/* Where in a console's @bytes the part begins that was not printed; 0 if nothing of it was. */
size_t printed_find(const struct printed *printed, const char *bytes, size_t n);
