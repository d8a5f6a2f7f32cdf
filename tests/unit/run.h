/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
#include <check.h>

/* For `return run_suite(suite);` at the end of main(). CK_FORK=no in the environment for gdb, CK_VERBOSITY=verbose. */
static inline int run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
