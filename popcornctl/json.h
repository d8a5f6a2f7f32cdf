/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * JSON values. What popcornctl shows is built as such values; tables and key=value lines are drawn
 * from the same ones, so that no way of printing knows more than another. Not jansson's, which the
 * planner uses and whose names these are none of.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "text.h"

enum json_style {
	JSON_OFF,
	JSON_SHORT, /* one line */
	JSON_PRETTY
};

enum json_kind {
	JSON_KIND_NULL,
	JSON_KIND_BOOL,
	JSON_KIND_NUMBER,
	JSON_KIND_STRING,
	JSON_KIND_ARRAY,
	JSON_KIND_OBJECT
};

struct json {
	enum json_kind kind;
	bool boolean;
	char *text; /* of a string, or of a number as it is printed */
	struct json **items;
	char **keys; /* of an object, beside items */
	size_t n;
};

/* None of these fails; running out of memory ends the program. */
struct json *json_new_null(void);
struct json *json_new_bool(bool value);
struct json *json_new_u64(uint64_t value);
struct json *json_new_i64(int64_t value);
struct json *json_new_double(double value);
struct json *json_new_string(const char *value);
/* Bytes from outside: what is not UTF-8 becomes U+FFFD. */
struct json *json_new_bytes(const char *bytes, size_t n);
struct json *json_new_array(void);
struct json *json_new_object(void);
/* The value goes over to the container. Returns the container. */
struct json *json_append(struct json *array, struct json *value);
struct json *json_set(struct json *object, const char *key, struct json *value);
struct json *json_free(struct json *json);

void json_print(const struct json *json, enum json_style style, FILE *f);

static inline void json_freep(struct json **json)
{
	json_free(*json);
}
