// SPDX-License-Identifier: GPL-2.0-or-later
/* What an Apply does when: every order, every failure, no D-Bus. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply.h"
#include "run.h"
#include "util.h"

#define ITEMS_MAX 32

static struct apply_item *items;
static size_t n_items;
static struct apply *apply;
static char done[4096]; /* what was begun, in order */
static struct apply_item *busy[ITEMS_MAX];
static size_t n_busy;
static enum apply_command busy_with[ITEMS_MAX];

static void setup(void)
{
	items = calloc(ITEMS_MAX, sizeof(*items));
	n_items = 0;
	n_busy = 0;
	apply = NULL;
	done[0] = '\0';
}

static void teardown(void)
{
	if (!apply)
		apply_items_free(items, n_items);
	apply = apply_free(apply);
}

static struct kernel_def *def(void)
{
	return calloc(1, sizeof(struct kernel_def));
}

static void start(const char *name, unsigned level, unsigned group)
{
	struct apply_item *item = &items[n_items++];

	strcpy(item->name, name);
	item->level = level;
	item->group = group;
	item->def = def();
}

static void replace(const char *name, unsigned level, unsigned group)
{
	start(name, level, group);
	items[n_items - 1].stop = true;
	items[n_items - 1].old = def();
}

static void stop(const char *name)
{
	struct apply_item *item = &items[n_items++];

	strcpy(item->name, name);
	item->stop = true;
	item->old = def();
}

static void begin(unsigned n_groups, bool atomic)
{
	ck_assert_int_eq(apply_new(items, n_items, n_groups, atomic, &apply), 0);
}

/* Everything that can be begun now. The last command. */
static enum apply_command go(void)
{
	for (;;) {
		static const char marks[] = { '-', '+', '~', '*' };
		struct apply_item *item = NULL;
		enum apply_command command = apply_next(apply, &item);

		if (command == APPLY_WAIT || command == APPLY_END)
			return command;
		ck_assert_ptr_nonnull(item);
		ck_assert_uint_lt(n_busy, ITEMS_MAX);
		busy_with[n_busy] = command;
		busy[n_busy++] = item;
		snprintf(done + strlen(done), sizeof(done) - strlen(done), "%s%c%s",
			 *done ? " " : "", marks[command], item->name);
	}
}

/* @name's has ended; @text NULL = well. */
static void ends(const char *name, const char *text)
{
	for (size_t i = n_busy; i-- > 0;) {
		struct popcorn_error error = { .id = POPCORN_ERROR_BOOT_TIMEOUT };

		if (strcmp(busy[i]->name, name) != 0)
			continue;
		if (text)
			strcpy(error.text, text);
		apply_ended(apply, busy[i], text ? &error : NULL);
		n_busy--;
		memmove(&busy[i], &busy[i + 1], (n_busy - i) * sizeof(busy[0]));
		memmove(&busy_with[i], &busy_with[i + 1], (n_busy - i) * sizeof(busy_with[0]));
		return;
	}
	ck_abort_msg("%s is not under way", name);
}

/* All goes well from here on. */
static void finish(void)
{
	while (go() == APPLY_WAIT) {
		ck_assert_uint_gt(n_busy, 0);
		ends(busy[0]->name, NULL);
	}
	ck_assert_uint_eq(n_busy, 0);
}

static void did(const char *expected)
{
	ck_assert_str_eq(done, expected);
	done[0] = '\0';
}

static void result(enum popcorn_error_id id, const char *text)
{
	struct popcorn_error error = { 0 };
	int r = apply_result(apply, &error);

	ck_assert_int_eq(r, -popcorn_error_errno(id));
	ck_assert_int_eq(error.id, id);
	ck_assert_msg(strstr(error.text, text) != NULL, "'%s' is not in '%s'", text, error.text);
}

static void progress(const char *step, double fraction)
{
	char is[APPLY_STEP_MAX];
	double f, each;

	apply_progress(apply, is, &f, &each);
	ck_assert_str_eq(is, step);
	ck_assert_double_eq_tol(f, fraction, 0.001);
}

START_TEST(test_nothing)
{
	begin(0, true);
	ck_assert_int_eq(go(), APPLY_END);
	result(POPCORN_ERROR_NONE, "");
}
END_TEST

START_TEST(test_order)
{
	start("b1", 1, 1);
	stop("x");
	replace("r0", 0, 0);
	replace("r1", 1, 1);
	start("a", 0, 0);
	begin(2, false);
	/* What depends on others is stopped before them, and started after them. */
	ck_assert_int_eq(go(), APPLY_WAIT);
	did("-x");
	progress("stop 1 of 3", 0);
	ends("x", NULL);
	ck_assert_int_eq(go(), APPLY_WAIT);
	did("-r1");
	progress("stop 2 of 3", 1 / 7.0);
	ends("r1", NULL);
	ck_assert_int_eq(go(), APPLY_WAIT);
	did("-r0");
	ends("r0", NULL);
	ck_assert_int_eq(go(), APPLY_WAIT);
	did("+r0 +a");
	progress("start 2 of 4", 3 / 7.0);
	ends("a", NULL);
	/* The level is not complete. */
	ck_assert_int_eq(go(), APPLY_WAIT);
	did("");
	ends("r0", NULL);
	ck_assert_int_eq(go(), APPLY_WAIT);
	did("+b1 +r1");
	ends("r1", NULL);
	ends("b1", NULL);
	ck_assert_int_eq(go(), APPLY_END);
	progress("", 1);
	result(POPCORN_ERROR_NONE, "");
}
END_TEST

START_TEST(test_parallel)
{
	char name[8];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "k%d", i);
		start(name, 0, 0);
	}
	begin(1, false);
	ck_assert_int_eq(go(), APPLY_WAIT);
	ck_assert_uint_eq(n_busy, APPLY_PARALLEL_MAX);
	ends("k3", NULL);
	ck_assert_int_eq(go(), APPLY_WAIT);
	ck_assert_uint_eq(n_busy, APPLY_PARALLEL_MAX);
	finish();
	result(POPCORN_ERROR_NONE, "");
}
END_TEST

START_TEST(test_failures_not_atomic)
{
	start("a", 0, 0);
	start("b", 0, 1);
	start("c", 1, 2); /* after a's group */
	start("d", 2, 3); /* after c's */
	start("e", 1, 4); /* after b's */
	start("f", 2, 5); /* after e's */
	begin(6, false);
	apply_set_after(apply, 2, 0);
	apply_set_after(apply, 3, 2);
	apply_set_after(apply, 4, 1);
	apply_set_after(apply, 5, 4);
	go();
	did("+a +b");
	ends("a", "no answer");
	ends("b", NULL);
	go();
	did("+e");
	ends("e", NULL);
	go();
	did("+f");
	ends("f", "a panic");
	ck_assert_int_eq(go(), APPLY_END);
	result(POPCORN_ERROR_BOOT_TIMEOUT,
	       "a could not be started: no answer; f could not be started: a panic; not begun, "
	       "because it starts after these: c and others; of 6 kernels to start 2 run now");
}
END_TEST

/* A group of which all runs already, between one that fails and one that depends on both. */
START_TEST(test_failure_far_back)
{
	start("a", 0, 0);
	start("c", 2, 2);
	begin(3, false);
	apply_set_after(apply, 1, 0);
	apply_set_after(apply, 2, 1);
	go();
	ends("a", "x");
	ck_assert_int_eq(go(), APPLY_END);
	did("+a");
	result(POPCORN_ERROR_BOOT_TIMEOUT, "not begun, because it starts after these: c");
}
END_TEST

START_TEST(test_stop_fails)
{
	stop("x");
	replace("r", 0, 0);
	start("a", 0, 0);
	begin(1, false);
	go();
	ends("x", "stuck");
	go();
	ends("r", "stuck too");
	finish();
	/* What could not be stopped is not booted; the others are. */
	did("-x -r +a");
	result(POPCORN_ERROR_BOOT_TIMEOUT,
	       "x could not be stopped: stuck; r could not be stopped: stuck too; of 2 kernels to "
	       "start 1 run now");
}
END_TEST

START_TEST(test_atomic)
{
	start("a", 0, 0);
	start("b", 1, 1);
	start("c", 1, 1);
	start("d", 1, 1);
	start("e", 2, 2);
	begin(3, true);
	go();
	ends("a", NULL);
	go();
	did("+a +b +c +d");
	ends("c", NULL);
	ends("b", "a panic");
	/* Those of the last level first, also the one that is still booting. */
	ck_assert_int_eq(go(), APPLY_WAIT);
	did("-c -d");
	progress("undo 2 of 3", 4 / 5.0);
	ends("c", NULL);
	go();
	did("~c");
	ends("c", NULL);
	ends("d", NULL);
	go();
	did("~d");
	ends("d", NULL);
	go();
	did("-a");
	finish();
	did("~a");
	result(POPCORN_ERROR_BOOT_TIMEOUT,
	       "b could not be started: a panic; so what was started was stopped again");
}
END_TEST

START_TEST(test_atomic_restores)
{
	stop("x");
	replace("r", 0, 0);
	replace("s", 0, 0);
	start("a", 1, 1);
	begin(2, true);
	go();
	ends("x", NULL);
	go();
	ends("r", NULL);
	ends("s", NULL);
	go();
	did("-x -r -s +r +s");
	ends("s", NULL);
	ends("r", "no");
	finish();
	/* s is new: it goes; then all three are as they were. a was never begun. */
	did("-s *x *r *s");
	result(POPCORN_ERROR_BOOT_TIMEOUT, "r could not be started: no; so what was started was "
					   "stopped again, and what had been "
					   "stopped was started again as it was");
}
END_TEST

START_TEST(test_atomic_stop_fails)
{
	stop("x");
	replace("r", 0, 0);
	begin(1, true);
	go();
	ends("x", NULL);
	go();
	ends("r", "stuck");
	finish();
	did("-x -r *x");
	result(POPCORN_ERROR_BOOT_TIMEOUT, "r could not be stopped: stuck; so");
}
END_TEST

START_TEST(test_undo_fails)
{
	replace("r", 0, 0);
	start("a", 0, 0);
	start("b", 0, 0);
	begin(1, true);
	go();
	ends("r", NULL);
	go();
	did("-r +r +a +b");
	ends("r", NULL);
	ends("a", NULL);
	ends("b", "no");
	go();
	did("-r -a");
	ends("a", "stuck");
	ends("r", NULL);
	go();
	did("*r");
	ends("r", "no memory");
	ck_assert_int_eq(go(), APPLY_END);
	result(POPCORN_ERROR_BOOT_TIMEOUT,
	       "b could not be started: no, and not everything could be put back: a could not be "
	       "stopped again: stuck; r could not be started again as it was: no memory");
}
END_TEST

START_TEST(test_cancel)
{
	start("a", 0, 0);
	start("b", 1, 0);
	begin(1, false);
	go();
	ck_assert_int_eq(apply_cancel(apply), 0);
	/* What is under way goes on. */
	ck_assert_int_eq(go(), APPLY_WAIT);
	ends("a", NULL);
	ck_assert_int_eq(go(), APPLY_END);
	did("+a");
	result(POPCORN_ERROR_CANCELLED, "of 2 kernels to start 1 run now, and 1 were not begun");
	ck_assert_int_lt(apply_cancel(apply), 0);
}
END_TEST

START_TEST(test_cancel_atomic)
{
	replace("r", 0, 0);
	start("a", 0, 0);
	begin(1, true);
	go();
	/* What is being stopped is waited for, and started again. */
	ck_assert_int_eq(apply_cancel(apply), 0);
	ck_assert_int_eq(go(), APPLY_WAIT);
	ends("r", NULL);
	finish();
	did("-r *r");
	result(POPCORN_ERROR_CANCELLED, "");
	ck_assert_int_lt(apply_cancel(apply), 0);
}
END_TEST

START_TEST(test_cancel_atomic_while_booting)
{
	start("a", 0, 0);
	start("b", 0, 0);
	begin(1, true);
	go();
	ends("a", NULL);
	ck_assert_int_eq(apply_cancel(apply), 0);
	/* b boots: its stop ends that. */
	go();
	did("+a +b -a -b");
	/* The end of b's boot is not told any more: the caller knows that another job works on it. */
	ends("a", NULL);
	ends("b", NULL);
	finish();
	did("~a ~b");
	result(POPCORN_ERROR_CANCELLED, "");
}
END_TEST

/* Each of the steps fails, one after the other, of both kinds: it always ends, and says why. */
START_TEST(test_each_step_fails)
{
	for (int atomic = 0; atomic < 2; atomic++) {
		for (unsigned fail = 1;; fail++) {
			unsigned step = 0;
			enum apply_command command = APPLY_WAIT;
			bool was_last = true;
			struct popcorn_error error = { 0 };

			stop("x");
			replace("r", 0, 0);
			replace("s", 1, 1);
			start("a", 0, 0);
			start("b", 2, 2);
			begin(3, atomic);
			apply_set_after(apply, 1, 0);
			apply_set_after(apply, 2, 1);
			while (go() == APPLY_WAIT) {
				command = busy_with[0];
				was_last = ++step != fail;
				ends(busy[0]->name, was_last ? NULL : "no");
				if (!was_last)
					break;
			}
			if (!was_last) {
				finish();
				ck_assert_int_lt(apply_result(apply, &error), 0);
				ck_assert_msg(strstr(error.text, "no") != NULL, "%s", error.text);
				ck_assert_int_ne(command, APPLY_WAIT);
			}
			teardown();
			if (was_last) {
				ck_assert_uint_eq(fail, 3 + 4 + 1);
				setup();
				break;
			}
			setup();
		}
	}
}
END_TEST

START_TEST(test_many_failures)
{
	char name[16];

	for (int i = 0; i < ITEMS_MAX; i++) {
		snprintf(name, sizeof(name), "kernel-%d", i);
		start(name, 0, 0);
	}
	begin(1, false);
	while (go() == APPLY_WAIT)
		ends(busy[0]->name,
		     "its image can't be read, or so it seems, whatever the reason is");
	result(POPCORN_ERROR_BOOT_TIMEOUT, "…; of 32 kernels to start 0 run now");
}
END_TEST

START_TEST(test_undo_only)
{
	start("a", 0, 0);
	start("b", 0, 0);
	begin(1, true);
	apply_undo_only(apply);
	finish();
	did("-a -b ~a ~b");
	result(POPCORN_ERROR_NONE, "");
}
END_TEST

START_TEST(test_find_job)
{
	start("a", 0, 0);
	start("b", 0, 0);
	begin(1, false);
	go();
	busy[1]->job = 7;
	ck_assert_ptr_eq(apply_find_job(apply, 7), busy[1]);
	ck_assert_ptr_null(apply_find_job(apply, 0));
	ends("b", NULL);
	ck_assert_ptr_null(apply_find_job(apply, 7));
}
END_TEST

START_TEST(test_file)
{
	static const char *const bad[] = {
		"",
		"POLICY=p\nATOMIC=1\nSTARTED=a\n", /* cut */
		"ATOMIC=1\nEND=1\n",
		"POLICY=../p\nEND=1\n",
		"POLICY=p\nSTARTED=\nEND=1\n",
		"POLICY=p\nEND=1\nSTARTED=a\n",
		"nonsense\nEND=1\n",
	};
	char run[] = "/tmp/popcorn-test-XXXXXX", path[64];
	struct apply_file file;

	ck_assert_ptr_nonnull(mkdtemp(run));
	snprintf(path, sizeof(path), "%s/apply", run);
	ck_assert_int_eq(apply_file_read(run, &file), -ENOENT);
	start("a", 0, 0);
	start("b", 1, 0);
	begin(1, true);
	go();
	ck_assert_int_eq(apply_file_write(run, "per-node", apply), 0);
	ck_assert_int_eq(apply_file_read(run, &file), 0);
	ck_assert_str_eq(file.policy, "per-node");
	ck_assert(file.atomic);
	ck_assert_uint_eq(file.n_started, 1);
	ck_assert_str_eq(file.started[0], "a");
	apply_file_done(&file);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		FILE *f = fopen(path, "we");

		fputs(bad[i], f);
		ck_assert_int_eq(fclose(f), 0);
		ck_assert_int_eq(apply_file_read(run, &file), -EBADMSG);
	}
	apply_file_remove(run);
	ck_assert_int_eq(apply_file_read(run, &file), -ENOENT);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(apply_file_read(run, &file), -EBADMSG);
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(rmdir(run), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("apply");
	TCase *tc = tcase_create("apply");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_nothing);
	tcase_add_test(tc, test_order);
	tcase_add_test(tc, test_parallel);
	tcase_add_test(tc, test_failures_not_atomic);
	tcase_add_test(tc, test_failure_far_back);
	tcase_add_test(tc, test_stop_fails);
	tcase_add_test(tc, test_atomic);
	tcase_add_test(tc, test_atomic_restores);
	tcase_add_test(tc, test_atomic_stop_fails);
	tcase_add_test(tc, test_undo_fails);
	tcase_add_test(tc, test_cancel);
	tcase_add_test(tc, test_cancel_atomic);
	tcase_add_test(tc, test_cancel_atomic_while_booting);
	tcase_add_test(tc, test_each_step_fails);
	tcase_add_test(tc, test_many_failures);
	tcase_add_test(tc, test_undo_only);
	tcase_add_test(tc, test_find_job);
	tcase_add_test(tc, test_file);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
