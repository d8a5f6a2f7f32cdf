/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What programs in a test machine say they have seen, a line each, as TAP has it. */
#ifndef POPCORN_TESTS_TAP_H
#define POPCORN_TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tests, failed;

static bool check(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool check(bool good, const char *format, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++tests);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	failed += !good;
	return good;
}

#endif
