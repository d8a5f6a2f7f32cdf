// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <errno.h>
#include <string.h>

#include "error.h"
#include "run.h"
#include "text.h"

START_TEST(test_table)
{
	for (int id = POPCORN_ERROR_NONE + 1; id < POPCORN_ERROR_MAX; id++) {
		const char *name = popcorn_error_name(id);

		ck_assert_int_eq(strncmp(name, POPCORN_ERROR_PREFIX, strlen(POPCORN_ERROR_PREFIX)),
				 0);
		/* A D-Bus error name's last part: no dot, not empty. */
		ck_assert_ptr_null(strchr(name + strlen(POPCORN_ERROR_PREFIX), '.'));
		ck_assert_uint_gt(strlen(name), strlen(POPCORN_ERROR_PREFIX));
		ck_assert_uint_lt(strlen(name), 256);
		ck_assert_int_gt(popcorn_error_errno(id), 0);
		ck_assert_int_ge(popcorn_error_exit_code(id), 1);
		ck_assert_int_le(popcorn_error_exit_code(id), 3);
		ck_assert_uint_gt(strlen(popcorn_error_text(id)), 0);
		ck_assert_uint_lt(strlen(popcorn_error_text(id)),
				  sizeof(((struct popcorn_error *)0)->text));
		ck_assert_int_eq(popcorn_error_from_name(name), id);
		for (int other = id + 1; other < POPCORN_ERROR_MAX; other++)
			ck_assert_str_ne(name, popcorn_error_name(other));
	}
	ck_assert_str_eq(popcorn_error_name(POPCORN_ERROR_NONE), "");
	ck_assert_int_eq(popcorn_error_errno(POPCORN_ERROR_NONE), 0);
	ck_assert_int_eq(popcorn_error_exit_code(POPCORN_ERROR_NONE), 0);
	ck_assert_int_eq(popcorn_error_from_name("org.example.Other"), POPCORN_ERROR_FAILED);
}
END_TEST

START_TEST(test_set)
{
	struct popcorn_error error = { 0 };
	char large[4096];

	ck_assert_int_eq(popcorn_error_set(&error, POPCORN_ERROR_CPU_LENT, "CPU %d", 3), -EBUSY);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CPU_LENT);
	ck_assert_str_eq(error.text, "CPU 3");

	/* The first cause wins; the return value is still the later one's. */
	ck_assert_int_eq(popcorn_error_set(&error, POPCORN_ERROR_CPU_BOOT, NULL), -EINVAL);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CPU_LENT);
	ck_assert_int_eq(popcorn_error_set_errno(&error, ENOENT, "x"), -ENOENT);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CPU_LENT);

	error = (struct popcorn_error){ 0 };
	popcorn_error_set(&error, POPCORN_ERROR_CPU_BOOT, NULL);
	ck_assert_str_eq(error.text, popcorn_error_text(POPCORN_ERROR_CPU_BOOT));

	error = (struct popcorn_error){ 0 };
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	popcorn_error_set(&error, POPCORN_ERROR_FAILED, "%s", large);
	ck_assert_uint_eq(strlen(error.text), sizeof(error.text) - 1);

	ck_assert_int_eq(popcorn_error_set(NULL, POPCORN_ERROR_CPU_LENT, "x"), -EBUSY);
	ck_assert_int_eq(popcorn_error_set_errno(NULL, EPERM, "x"), -EPERM);
}
END_TEST

START_TEST(test_set_errno)
{
	struct popcorn_error error = { 0 };
	char large[4096];

	ck_assert_int_eq(popcorn_error_set_errno(&error, -ENOENT, "can't read %s", "it"), -ENOENT);
	ck_assert_int_eq(error.id, POPCORN_ERROR_FAILED);
	ck_assert_str_eq(error.text, "can't read it: No such file or directory");

	error = (struct popcorn_error){ 0 };
	popcorn_error_set_errno(&error, ENOMEM, "it");
	ck_assert_int_eq(error.id, POPCORN_ERROR_NO_MEMORY);

	error = (struct popcorn_error){ 0 };
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	popcorn_error_set_errno(&error, EIO, "%s", large);
	ck_assert_uint_eq(strlen(error.text), sizeof(error.text) - 1);
}
END_TEST

START_TEST(test_safe_text)
{
	static const struct {
		const char *text, *safe;
	} table[] = {
		{ "", "" },
		{ "plain \xc3\xa4 \xe2\x80\xa6 \xf0\x9f\x8d\xbf",
		  "plain \xc3\xa4 \xe2\x80\xa6 \xf0\x9f\x8d\xbf" },
		{ "a\nb\x1b[0m\x7f", "a?b?[0m?" },
		{ "\xff\xc3", "?"
			      "?" }, /* no sequence; one that is cut off */
		{ "\xc2\x9bm", "?"
			       "?m" },	    /* a control character of Latin-1 */
		{ "\xc2\xa0", "\xc2\xa0" }, /* the first that is none */
		{ "\xed\xa0\x80", "?"
				  "?"
				  "?" }, /* a surrogate */
	};
	char text[64];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		strcpy(text, table[i].text);
		text_make_safe(text);
		ck_assert_str_eq(text, table[i].safe);
		ck_assert_int_eq(text_safe_length(table[i].text) == strlen(table[i].text),
				 strcmp(table[i].text, table[i].safe) == 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("error");
	TCase *tc = tcase_create("error");

	tcase_add_test(tc, test_table);
	tcase_add_test(tc, test_set);
	tcase_add_test(tc, test_set_errno);
	tcase_add_test(tc, test_safe_text);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
