// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

static const struct {
	const char *name;
	int errno_;
	int exit_code;
	const char *text;
} table[POPCORN_ERROR_MAX] = {
	[POPCORN_ERROR_NONE] = { "", 0, 0, "" },
#define POPCORN_ERROR(id, name, errno_, exit_, text) \
	[POPCORN_ERROR_##id] = { POPCORN_ERROR_PREFIX name, errno_, exit_, text },
#include "errors.def"
#undef POPCORN_ERROR
};

int popcorn_error_set(struct popcorn_error *error, enum popcorn_error_id id, const char *format,
		      ...)
{
	if (error && error->id == POPCORN_ERROR_NONE) {
		error->id = id;
		if (format && *format) {
			va_list ap;

			va_start(ap, format);
			vsnprintf(error->text, sizeof(error->text), format, ap);
			va_end(ap);
		} else {
			snprintf(error->text, sizeof(error->text), "%s", table[id].text);
		}
	}
	return -table[id].errno_;
}

int popcorn_error_set_errno(struct popcorn_error *error, int errno_, const char *format, ...)
{
	if (errno_ < 0)
		errno_ = -errno_;
	if (error && error->id == POPCORN_ERROR_NONE) {
		va_list ap;
		size_t len;

		error->id = errno_ == ENOMEM ? POPCORN_ERROR_NO_MEMORY : POPCORN_ERROR_FAILED;
		va_start(ap, format);
		vsnprintf(error->text, sizeof(error->text), format, ap);
		va_end(ap);
		len = strlen(error->text);
		snprintf(error->text + len, sizeof(error->text) - len, ": %s", strerror(errno_));
	}
	return -errno_;
}

const char *popcorn_error_name(enum popcorn_error_id id)
{
	return table[id].name;
}

int popcorn_error_errno(enum popcorn_error_id id)
{
	return table[id].errno_;
}

int popcorn_error_exit_code(enum popcorn_error_id id)
{
	return table[id].exit_code;
}

const char *popcorn_error_text(enum popcorn_error_id id)
{
	return table[id].text;
}

enum popcorn_error_id popcorn_error_from_name(const char *name)
{
	for (int id = POPCORN_ERROR_NONE + 1; id < POPCORN_ERROR_MAX; id++)
		if (strcmp(table[id].name, name) == 0)
			return id;
	return POPCORN_ERROR_FAILED;
}
