// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "popcornctl.h"
#include "util.h"

static void out_of_memory(void)
{
	fputs("popcornctl: out of memory\n", stderr);
	exit(EXIT_FAILED);
}

void *xrealloc(void *p, size_t n, size_t size)
{
	p = reallocarray(p, n ? n : 1, size);
	if (!p)
		out_of_memory();
	return p;
}

char *xstrdup(const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		out_of_memory();
	return copy;
}

char *xasprintf(const char *format, ...)
{
	va_list ap;
	char *s;
	int r;

	va_start(ap, format);
	r = vasprintf(&s, format, ap);
	va_end(ap);
	if (r < 0)
		out_of_memory();
	return s;
}

void complain(const char *what, const char *format, ...)
{
	va_list ap;

	/* What was asked for comes first in the terminal as well. */
	fflush(stdout);
	fprintf(stderr, "popcornctl: %s%s", what ? what : "", what ? ": " : "");
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int complain_last(struct popcorn *popcorn, const char *what)
{
	const char *name = popcorn_last_error_name(popcorn);

	/* The name goes with it: it is what the manual and a search know. */
	complain(what, "%s (%s)", popcorn_last_error_text(popcorn), short_error(name));
	return popcorn_error_exit_code(popcorn_error_from_name(name));
}

int complain_error(const char *what, const struct popcorn_error *error)
{
	complain(what, "%s (%s)", error->text, short_error(popcorn_error_name(error->id)));
	return popcorn_error_exit_code(error->id);
}

const char *short_error(const char *name)
{
	size_t n = strlen(POPCORN_ERROR_PREFIX);

	return strncmp(name, POPCORN_ERROR_PREFIX, n) == 0 ? name + n : name;
}

bool use_color(int fd)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fd) && !(no_color && *no_color) && term && strcmp(term, "dumb");
}

uint64_t clock_usec(int clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
