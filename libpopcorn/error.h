/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Named errors, shared by popcornd, popcornctl, the leader and libpopcorn (linked statically; not
 * part of libpopcorn's ABI). The one table is errors.def.
 *
 * Functions that can fail for a reason that a user should read take a struct popcorn_error * as
 * last argument (may be NULL), return a negative errno, and fill it in.
 */

#include <stdbool.h>
#include <stddef.h>

#define POPCORN_ERROR_PREFIX "org.popcornlinux.Popcorn1.Error."

enum popcorn_error_id {
	POPCORN_ERROR_NONE,
#define POPCORN_ERROR(id, name, errno_, exit_, text) POPCORN_ERROR_##id,
#include "errors.def"
#undef POPCORN_ERROR
	POPCORN_ERROR_MAX
};

struct popcorn_error {
	enum popcorn_error_id id;
	char text[1024];
};

/*
 * Sets @error (unless it is set already: the first cause wins) and returns the table's -errno.
 * A NULL or empty @format takes the table's text.
 */
int popcorn_error_set(struct popcorn_error *error, enum popcorn_error_id id, const char *format,
		      ...) __attribute__((format(printf, 3, 4)));
/* For failures that have no name of their own: FAILED, or NO_MEMORY for -ENOMEM; ": strerror" is added. */
int popcorn_error_set_errno(struct popcorn_error *error, int errno_, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static inline int no_memory(struct popcorn_error *error)
{
	return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
}

const char *popcorn_error_name(enum popcorn_error_id id); /* whole D-Bus name; "" for NONE */
int popcorn_error_errno(enum popcorn_error_id id);	  /* positive; 0 for NONE */
int popcorn_error_exit_code(enum popcorn_error_id id);	  /* 0 for NONE */
const char *popcorn_error_text(enum popcorn_error_id id);
enum popcorn_error_id popcorn_error_from_name(const char *name); /* FAILED for an unknown one */
