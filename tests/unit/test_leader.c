// SPDX-License-Identifier: GPL-2.0-or-later
/* What the leader makes of a console: cleaned for the journal, and never printed twice. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leader.h"
#include "run.h"

static void cleaned(const char *in, const char *expected)
{
	/* Also when it comes in pieces of any size. */
	for (size_t piece = 1; piece <= strlen(in); piece++) {
		struct cleaner cleaner = { 0 };
		char out[256] = "";
		size_t n = 0;

		for (size_t at = 0; at < strlen(in); at += piece) {
			size_t left = strlen(in) - at;

			n += clean(&cleaner, in + at, left < piece ? left : piece, out + n);
		}
		out[n] = '\0';
		ck_assert_str_eq(out, expected);
	}
}

START_TEST(test_clean)
{
	cleaned("hello\r\n", "hello\n");
	cleaned("a\tb\xc3\xa9\n", "a\tb\xc3\xa9\n");
	cleaned("\033[1;31mred\033[0m\n", "red\n");
	cleaned("\033]0;title\007text\n", "text\n");
	cleaned("\033]0;title\033\\text\n", "text\n");
	cleaned("\033(Bx\033cy\n", "xy\n");
	cleaned("\b\001\177x\n", "x\n");
	/* Cut off in the middle: the next line is whole again. */
	cleaned("\033[12\nPanic\n", "\nPanic\n");
	cleaned("\033]never ends\nPanic\n", "\nPanic\n");
}
END_TEST

START_TEST(test_printed)
{
	static struct printed printed;
	char *bytes = malloc(1 << 20);
	size_t size = 0;

	ck_assert_uint_eq(printed_find(&printed, "abc", 3), 0);
	for (unsigned line = 0; size < (1 << 20) - 64; line++)
		size += (size_t)snprintf(bytes + size, 64, "[%8u] a line of the console\n", line);

	/* After each piece, the rest of the console begins where it ended. */
	for (size_t at = 0, piece = 1; at + piece < size; at += piece, piece = piece * 2 + 1) {
		printed_add(&printed, bytes + at, piece);
		ck_assert_uint_eq(printed_find(&printed, bytes, size), at + piece);
	}
	/* A ring that has lost all that was printed; one that is shorter; nonsense in the file. */
	memset(bytes, 'x', size);
	ck_assert_uint_eq(printed_find(&printed, bytes, size), 0);
	ck_assert_uint_eq(printed_find(&printed, bytes, 10), 0);
	printed.slots[0].size = printed.slots[1].size = UINT32_MAX;
	printed.current = 12345;
	ck_assert_uint_eq(printed_find(&printed, bytes, size), 0);
	printed_add(&printed, "abc", 3);
	ck_assert_uint_eq(printed_find(&printed, "abcxxyy", 7), 3);
	free(bytes);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("leader");
	TCase *tcase = tcase_create("console");

	tcase_add_test(tcase, test_clean);
	tcase_add_test(tcase, test_printed);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
