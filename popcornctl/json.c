// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "json.h"
#include "util.h"

static struct json *json_new(enum json_kind kind)
{
	struct json *json = xrealloc(NULL, 1, sizeof(*json));

	*json = (struct json){ .kind = kind };
	return json;
}

struct json *json_new_null(void)
{
	return json_new(JSON_KIND_NULL);
}

struct json *json_new_bool(bool value)
{
	struct json *json = json_new(JSON_KIND_BOOL);

	json->boolean = value;
	return json;
}

struct json *json_new_u64(uint64_t value)
{
	struct json *json = json_new(JSON_KIND_NUMBER);

	json->text = xasprintf("%" PRIu64, value);
	return json;
}

struct json *json_new_i64(int64_t value)
{
	struct json *json = json_new(JSON_KIND_NUMBER);

	json->text = xasprintf("%" PRId64, value);
	return json;
}

struct json *json_new_double(double value)
{
	struct json *json;

	if (!isfinite(value)) /* JSON has no word for these */
		return json_new_null();
	json = json_new(JSON_KIND_NUMBER);
	json->text = xasprintf("%.6g", value);
	return json;
}

struct json *json_new_string(const char *value)
{
	return json_new_bytes(value, strlen(value));
}

struct json *json_new_bytes(const char *bytes, size_t n)
{
	static const char replacement[] = "\xef\xbf\xbd";
	struct json *json = json_new(JSON_KIND_STRING);
	/* The replacement is the longest that one byte becomes. */
	char *out = json->text = xrealloc(NULL, n + 1, sizeof(replacement));

	while (n) {
		size_t length = utf8_length(bytes, n);

		/* NUL is left out: the text is kept as a C string. */
		if (!length)
			out = stpcpy(out, replacement);
		else if (*bytes)
			out = mempcpy(out, bytes, length);
		length = length ? length : 1;
		bytes += length;
		n -= length;
	}
	*out = '\0';
	return json;
}

struct json *json_new_array(void)
{
	return json_new(JSON_KIND_ARRAY);
}

struct json *json_new_object(void)
{
	return json_new(JSON_KIND_OBJECT);
}

struct json *json_append(struct json *array, struct json *value)
{
	array->items = xrealloc(array->items, array->n + 1, sizeof(*array->items));
	array->items[array->n++] = value;
	return array;
}

struct json *json_set(struct json *object, const char *key, struct json *value)
{
	object->keys = xrealloc(object->keys, object->n + 1, sizeof(*object->keys));
	object->keys[object->n] = xstrdup(key);
	return json_append(object, value);
}

struct json *json_free(struct json *json)
{
	if (!json)
		return NULL;
	for (size_t i = 0; i < json->n; i++) {
		if (json->keys)
			free(json->keys[i]);
		json_free(json->items[i]);
	}
	free(json->keys);
	free(json->items);
	free(json->text);
	free(json);
	return NULL;
}

static void print_string(const char *s, FILE *f)
{
	fputc('"', f);
	for (; *s; s++) {
		unsigned char c = *s;

		switch (c) {
		case '"':
		case '\\':
			fputc('\\', f);
			fputc(c, f);
			break;
		case '\n':
			fputs("\\n", f);
			break;
		case '\r':
			fputs("\\r", f);
			break;
		case '\t':
			fputs("\\t", f);
			break;
		default:
			if (c < 0x20 || c == 0x7f)
				fprintf(f, "\\u%04x", c);
			else
				fputc(c, f);
		}
	}
	fputc('"', f);
}

static bool is_flat(const struct json *json)
{
	for (size_t i = 0; i < json->n; i++)
		if (json->items[i]->kind >= JSON_KIND_ARRAY)
			return false;
	return true;
}

static void new_line(unsigned depth, FILE *f)
{
	fprintf(f, "\n%*s", (int)(2 * depth), "");
}

static void print(const struct json *json, enum json_style style, unsigned depth, FILE *f)
{
	bool object = json->kind == JSON_KIND_OBJECT;
	/* Pretty: lists of plain values stay on one line, for they are read as one. */
	bool lines = style == JSON_PRETTY && json->n && (object || !is_flat(json));

	switch (json->kind) {
	case JSON_KIND_NULL:
		fputs("null", f);
		return;
	case JSON_KIND_BOOL:
		fputs(json->boolean ? "true" : "false", f);
		return;
	case JSON_KIND_NUMBER:
		fputs(json->text, f);
		return;
	case JSON_KIND_STRING:
		print_string(json->text, f);
		return;
	case JSON_KIND_ARRAY:
	case JSON_KIND_OBJECT:
		break;
	}
	fputc(object ? '{' : '[', f);
	for (size_t i = 0; i < json->n; i++) {
		if (i)
			fputs(style == JSON_PRETTY && !lines ? ", " : ",", f);
		if (lines)
			new_line(depth + 1, f);
		if (object) {
			print_string(json->keys[i], f);
			fputs(style == JSON_PRETTY ? ": " : ":", f);
		}
		print(json->items[i], style, depth + 1, f);
	}
	if (lines)
		new_line(depth, f);
	fputc(object ? '}' : ']', f);
}

void json_print(const struct json *json, enum json_style style, FILE *f)
{
	print(json, style, 0, f);
	fputc('\n', f);
}
