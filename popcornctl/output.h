/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* How things look: tables, sizes, times, states, and text that came from a kernel. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <libpopcorn.h>

#include "json.h"

struct column {
	const char *header;
	const char *key;		       /* of the row object */
	char *(*text)(const struct json *row); /* malloc'ed; NULL: the value of key as it is */
	const char *(*color)(const struct json *row); /* or NULL */
	bool right;
	bool may_shrink; /* is cut if the terminal is too narrow */
};

/* Draws an array of objects. */
void table_print(const struct json *rows, const struct column *columns, size_t n, bool header);

/* The same as a tree: rows have their own in "children", and the first column shows the branches. */
void tree_print(const struct json *rows, const struct column *columns, size_t n, bool header);

/* All that is known of a kernel, as `status` and `list` show it. */
struct json *kernel_json(const struct popcorn_kernel *kernel);

const struct json *json_get(const struct json *object, const char *key);
const char *json_get_string(const struct json *object, const char *key); /* "" if not there */
uint64_t json_get_u64(const struct json *object, const char *key);

enum time_style {
	TIME_CLOCK, /* 06:02:58 */
	TIME_DATE,  /* 2026-11-21 06:02:58 */
	TIME_FULL,  /* with day and zone */
};

/* malloc'ed */
char *format_size(uint64_t bytes);
char *format_span(uint64_t usec);
char *format_cpus(const struct json *cpus); /* array of numbers, to "2-3,7" */
char *format_time(uint64_t usec, enum time_style style);

/* SGR names for use_color(); "" for a state that is nothing special. */
const char *state_color(const char *state);
/* Escape sequences that switch to a colour ("red", "") and back, or "" when not wanted. */
const char *color_on(bool wanted, const char *color);
const char *color_off(bool wanted, const char *color);

/*
 * Text from another kernel, for a terminal: escape sequences are dropped, other control characters
 * become '?', so that a kernel can't write to the terminal what it wants.
 */
void print_safe(const char *s, size_t n, FILE *f);
bool is_utf8(void);
