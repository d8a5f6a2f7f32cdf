// SPDX-License-Identifier: GPL-2.0-or-later
/* libpopcorn against fake-popcornd --demo, which tests/cli/with-popcornd starts. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <libpopcorn.h>

#include "run.h"

#define ERROR "org.popcornlinux.Popcorn1.Error."

static struct popcorn *popcorn;

static void setup(void)
{
	popcorn = popcorn_new();
	ck_assert_ptr_nonnull(popcorn);
	ck_assert_int_eq(popcorn_connect(popcorn, NULL, 0), 0);
}

static void teardown(void)
{
	popcorn = popcorn_unref(popcorn);
}

/* Asks again while a job that nobody followed is under way, for 10 s at most. */
static int when_free(int (*verb)(struct popcorn *, const char *, struct popcorn_job **),
		     const char *name, struct popcorn_job **ret)
{
	int r;

	for (int i = 0; (r = verb(popcorn, name, ret)) == -EBUSY && i < 1000; i++)
		poll(NULL, 0, 10);
	return r;
}

/* A test that boots leaves nothing behind: the next one finds the same kernels. */
static void put_away(const char *name)
{
	struct popcorn_job *job;

	if (when_free(popcorn_kill, name, &job) >= 0) {
		ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), 0);
		popcorn_job_free(job);
	}
	ck_assert_int_eq(when_free(popcorn_release, name, &job), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), 0);
	popcorn_job_free(job);
}

START_TEST(test_null)
{
	ck_assert_ptr_null(popcorn_unref(NULL));
	ck_assert_ptr_null(popcorn_ref(NULL));
	ck_assert_ptr_null(popcorn_kernel_free(NULL));
	ck_assert_ptr_null(popcorn_kernels_free(NULL));
	ck_assert_ptr_null(popcorn_job_free(NULL));
	ck_assert_ptr_null(popcorn_boot_options_free(NULL));
	ck_assert_ptr_null(popcorn_strerror(NULL));
	ck_assert_ptr_null(popcorn_strerror(""));
	ck_assert_ptr_null(popcorn_strerror(ERROR "Unheard"));
	ck_assert_str_eq(popcorn_strerror(ERROR "NoSuchJob"), "no such job; it may have finished");
	ck_assert_ptr_nonnull(popcorn_strerror(ERROR "Failed"));
}
END_TEST

START_TEST(test_not_connected)
{
	struct popcorn *p = popcorn_new();
	struct popcorn_kernel **kernels = (void *)1;
	struct popcorn_job *job = (void *)1;
	uint64_t usec = 5;

	ck_assert_str_eq(popcorn_last_error_name(p), "");
	ck_assert_int_eq(popcorn_list_kernels(p, &kernels, NULL), -ENOTCONN);
	ck_assert_ptr_eq(kernels, (void *)1);
	ck_assert_int_eq(popcorn_boot(p, "x", NULL, &job), -ENOTCONN);
	ck_assert_int_eq(popcorn_job_open(p, 1, &job), -ENOTCONN);
	ck_assert_ptr_eq(job, (void *)1);
	ck_assert_int_eq(popcorn_subscribe(p, NULL, NULL), -ENOTCONN);
	ck_assert_int_eq(popcorn_get_fd(p), -ENOTCONN);
	ck_assert_int_eq(popcorn_get_events(p), -ENOTCONN);
	ck_assert_int_eq(popcorn_get_timeout(p, &usec), -ENOTCONN);
	ck_assert_uint_eq(usec, 5);
	ck_assert_int_eq(popcorn_process(p), -ENOTCONN);
	ck_assert_int_eq(popcorn_wait(p, 0), -ENOTCONN);
	ck_assert_ptr_null(popcorn_get_bus(p));
	ck_assert_str_eq(popcorn_last_error_name(p), ERROR "NoDaemon");
	ck_assert_int_eq(popcorn_connect(p, NULL, 1U << 31), -EINVAL);
	ck_assert_str_eq(popcorn_last_error_name(p), ERROR "InvalidArgument");
	popcorn_unref(p);
}
END_TEST

START_TEST(test_connect_twice)
{
	ck_assert_int_eq(popcorn_connect(popcorn, NULL, 0), -EISCONN);
	ck_assert_ptr_nonnull(popcorn_get_bus(popcorn));
	ck_assert_int_ge(popcorn_get_fd(popcorn), 0);
}
END_TEST

START_TEST(test_list)
{
	struct popcorn_kernel **kernels;
	const uint32_t *cpus;
	size_t n;

	ck_assert_int_eq(popcorn_list_kernels(popcorn, &kernels, &n), 0);
	ck_assert_uint_eq(n, 3);
	ck_assert_ptr_null(kernels[3]);
	ck_assert_str_eq(popcorn_kernel_get_name(kernels[0]), "db0");
	ck_assert_str_eq(popcorn_kernel_get_name(kernels[1]), "web.1");
	ck_assert_uint_eq(popcorn_kernel_get_id(kernels[1]), 2);
	ck_assert_uint_eq(popcorn_kernel_get_cpus(kernels[0], &cpus), 2);
	ck_assert_uint_eq(cpus[0], 2);
	ck_assert_uint_eq(cpus[1], 3);
	ck_assert_uint_eq(popcorn_kernel_get_cpus(kernels[1], NULL), 1);
	ck_assert_str_eq(popcorn_kernel_get_state(kernels[2]), "crashed");
	ck_assert_str_eq(popcorn_kernel_get_reason(kernels[2]), "panic");
	popcorn_kernels_free(kernels);
	ck_assert_int_eq(popcorn_list_kernels(popcorn, &kernels, NULL), 0);
	popcorn_kernels_free(kernels);
}
END_TEST

START_TEST(test_get)
{
	const char *step, *state, *reason, *text, *device, *type;
	struct popcorn_kernel *kernel;
	uint64_t start, length, usec;
	uint32_t node;

	ck_assert_int_eq(popcorn_get_kernel(popcorn, "web.1", &kernel), 0);
	ck_assert_str_eq(popcorn_kernel_get_path(kernel),
			 "/org/popcornlinux/Popcorn1/kernel/web_2e1");
	ck_assert_uint_eq(popcorn_kernel_get_memory(kernel), 1536ULL << 20);
	ck_assert_int_eq(popcorn_kernel_get_memory_range(kernel, 0, &start, &length, &node), 1);
	ck_assert_uint_eq(start, 0x100000000ULL);
	ck_assert_uint_eq(length, 1536ULL << 20);
	ck_assert_int_eq(popcorn_kernel_get_memory_range(kernel, 1, &start, &length, &node), 0);
	ck_assert_str_eq(popcorn_kernel_get_image(kernel), "/boot/vmlinuz");
	ck_assert_str_eq(popcorn_kernel_get_initrd(kernel), "");
	ck_assert_str_eq(popcorn_kernel_get_command_line(kernel), "");
	ck_assert_str_eq(popcorn_kernel_get_version(kernel), "6.12.117+deb12-amd64");
	ck_assert_uint_ge(popcorn_kernel_get_uptime(kernel), 7505000000);
	ck_assert_uint_gt(popcorn_kernel_get_boot_time(kernel), 0);
	ck_assert_str_eq(popcorn_kernel_get_restart(kernel), "no");
	ck_assert_str_eq(popcorn_kernel_get_unit(kernel), "popcorn@web.1.service");
	ck_assert_int_eq(popcorn_kernel_get_device(kernel, 1, &device, &type, &state, &text), 1);
	ck_assert_str_eq(device, "fs0");
	ck_assert_str_eq(type, "fs");
	ck_assert_str_eq(state, "failed");
	ck_assert_str_eq(text, "queue 1: bad size");
	ck_assert_int_eq(popcorn_kernel_get_device(kernel, 2, &device, &type, &state, &text), 0);
	ck_assert_uint_eq(popcorn_kernel_get_job(kernel), 0);
	ck_assert_int_eq(popcorn_kernel_get_boot_step(kernel, 4, &step, &usec), 1);
	ck_assert_str_eq(step, "agent");
	ck_assert_uint_eq(usec, 500000);
	ck_assert_int_eq(popcorn_kernel_get_boot_step(kernel, 5, &step, &usec), 0);
	ck_assert_int_eq(popcorn_kernel_get_history(kernel, 1, &usec, &state, &reason, &text), 1);
	ck_assert_str_eq(state, "running");
	ck_assert_str_eq(reason, "checked-in");
	ck_assert_str_eq(text, "the kernel reported that it runs");
	ck_assert_int_eq(
		popcorn_kernel_get_history(kernel, SIZE_MAX, &usec, &state, &reason, &text), 0);
	popcorn_kernel_free(kernel);

	kernel = (void *)1;
	ck_assert_int_eq(popcorn_get_kernel(popcorn, "nobody", &kernel), -ENOENT);
	ck_assert_ptr_eq(kernel, (void *)1);
	ck_assert_str_eq(popcorn_last_error_name(popcorn), ERROR "NoSuchKernel");
	ck_assert_ptr_nonnull(strstr(popcorn_last_error_text(popcorn), "popcornctl list"));
}
END_TEST

START_TEST(test_free)
{
	uint64_t memory;
	uint32_t cpus;

	ck_assert_int_eq(popcorn_get_free(popcorn, &cpus, &memory), 0);
	ck_assert_uint_eq(cpus, 3);
	ck_assert_uint_eq(memory, 1536ULL << 20);
}
END_TEST

START_TEST(test_options)
{
	struct popcorn_boot_options *options = popcorn_boot_options_new();
	struct popcorn_kernel *kernel;
	struct popcorn_job *job;
	uint64_t start, length;
	uint32_t node;

	ck_assert_int_eq(popcorn_boot_options_set_cpus(options, ""), -EINVAL);
	ck_assert_int_eq(popcorn_boot_options_set_cpus(options, NULL), -EINVAL);
	ck_assert_int_eq(popcorn_boot_options_set_cpu_count(options, 0), -EINVAL);
	ck_assert_int_eq(popcorn_boot_options_set_kernel(options, "vmlinuz"), -EINVAL);
	ck_assert_int_eq(popcorn_boot_options_set_initrd(options, NULL), -EINVAL);
	ck_assert_int_eq(popcorn_boot_options_set_restart(options, "always"), -EINVAL);
	ck_assert_int_eq(popcorn_boot_options_set_timeout(options, 0), -EINVAL);
	ck_assert_int_eq(popcorn_boot_options_set_command_line(options, NULL), -EINVAL);

	/* The last of the two counts. */
	ck_assert_int_eq(popcorn_boot_options_set_cpu_count(options, 3), 0);
	ck_assert_int_eq(popcorn_boot_options_set_cpus(options, "8-9"), 0);
	ck_assert_int_eq(popcorn_boot_options_set_memory(options, 2ULL << 20), 0);
	ck_assert_int_eq(popcorn_boot_options_set_kernel(options, "/k"), 0);
	ck_assert_int_eq(popcorn_boot_options_set_initrd(options, "/i"), 0);
	ck_assert_int_eq(popcorn_boot_options_set_command_line(options, "a b"), 0);
	ck_assert_int_eq(popcorn_boot_options_set_restart(options, "on-failure"), 0);
	ck_assert_int_eq(popcorn_boot_options_set_timeout(options, 5), 0);
	ck_assert_int_eq(popcorn_boot(popcorn, "opt", options, &job), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), 0);
	popcorn_job_free(job);
	ck_assert_int_eq(popcorn_get_kernel(popcorn, "opt", &kernel), 0);
	ck_assert_uint_eq(popcorn_kernel_get_cpus(kernel, NULL), 2);
	ck_assert_uint_eq(popcorn_kernel_get_memory(kernel), 2ULL << 20);
	ck_assert_str_eq(popcorn_kernel_get_image(kernel), "/k");
	ck_assert_str_eq(popcorn_kernel_get_initrd(kernel), "/i");
	ck_assert_str_eq(popcorn_kernel_get_command_line(kernel), "a b");
	ck_assert_str_eq(popcorn_kernel_get_restart(kernel), "on-failure");
	popcorn_kernel_free(kernel);
	popcorn_boot_options_free(options);
	put_away("opt");

	options = popcorn_boot_options_new();
	ck_assert_int_eq(popcorn_boot_options_add_memory_node(options, 3, 2ULL << 20), 0);
	ck_assert_int_eq(popcorn_boot_options_add_memory_node(options, 1, 4ULL << 20), 0);
	ck_assert_int_eq(popcorn_boot(popcorn, "opt", options, &job), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), 0);
	popcorn_job_free(job);
	ck_assert_int_eq(popcorn_get_kernel(popcorn, "opt", &kernel), 0);
	ck_assert_int_eq(popcorn_kernel_get_memory_range(kernel, 1, &start, &length, &node), 1);
	ck_assert_uint_eq(length, 4ULL << 20);
	ck_assert_uint_eq(node, 1);
	ck_assert_uint_eq(popcorn_kernel_get_memory(kernel), 6ULL << 20);
	popcorn_kernel_free(kernel);
	popcorn_boot_options_free(options);
	put_away("opt");
}
END_TEST

static int collect_steps(struct popcorn_job *job, void *userdata)
{
	char *steps = userdata;
	const char *step = popcorn_job_get_step(job);
	size_t n = strlen(steps);

	/* Progress may change more often than the step. */
	if (!strstr(steps, step))
		snprintf(steps + n, 256 - n, "%s ", step);
	ck_assert_double_ge(popcorn_job_get_progress(job), 0);
	ck_assert_double_le(popcorn_job_get_progress(job), 1);
	return 0;
}

START_TEST(test_boot)
{
	struct popcorn_job *job, *same;
	char steps[256] = "";

	ck_assert_int_eq(popcorn_boot(popcorn, "a", NULL, &job), 0);
	ck_assert_uint_gt(popcorn_job_get_id(job), 0);
	ck_assert_str_eq(popcorn_job_get_name(job), "a");
	ck_assert_str_eq(popcorn_job_get_type(job), "boot");
	ck_assert_str_eq(popcorn_job_get_result(job), "");
	ck_assert_int_eq(popcorn_job_open(popcorn, popcorn_job_get_id(job), &same), 0);
	ck_assert_str_eq(popcorn_job_get_name(same), "a");
	ck_assert_int_eq(popcorn_job_wait(job, -1, collect_steps, steps), 0);
	ck_assert_str_eq(steps, "reserve load start kernel agent ");
	ck_assert_str_eq(popcorn_job_get_result(job), "done");
	/* Whoever else followed it knows as well, and waiting again is answered at once. */
	ck_assert_int_eq(popcorn_job_wait(same, -1, NULL, NULL), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), 0);
	ck_assert_int_eq(popcorn_job_cancel(job), -ENOENT);
	ck_assert_str_eq(popcorn_last_error_name(popcorn), ERROR "NoSuchJob");
	popcorn_job_free(same);
	popcorn_job_free(job);

	ck_assert_int_eq(popcorn_boot(popcorn, "a", NULL, &job), -EEXIST);
	ck_assert_int_eq(popcorn_boot(popcorn, NULL, NULL, &job), -EINVAL);
	ck_assert_str_eq(popcorn_last_error_name(popcorn), ERROR "InvalidName");
	put_away("a");
}
END_TEST

START_TEST(test_not_followed)
{
	struct popcorn_job *job, *other;

	/* Freed while under way, with the connection's own reference gone first. */
	ck_assert_int_eq(popcorn_boot(popcorn, "b", NULL, &job), 0);
	ck_assert_int_eq(popcorn_boot(popcorn, "c", NULL, &other), 0);
	popcorn_job_free(job);
	ck_assert_int_eq(popcorn_job_wait(other, -1, NULL, NULL), 0);
	popcorn_job_free(other);
	put_away("b");
	ck_assert_int_eq(popcorn_stop(popcorn, "c", 0, &job), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), 0);
	popcorn_unref(popcorn);
	popcorn = NULL;
	ck_assert_str_eq(popcorn_job_get_type(job), "stop");
	popcorn_job_free(job);
	setup();
	put_away("c");
	ck_assert_int_eq(popcorn_boot(popcorn, "e-NoFreeCpus", NULL, NULL), -ENOSPC);
}
END_TEST

START_TEST(test_job_fails)
{
	struct popcorn_job *job;

	ck_assert_int_eq(popcorn_boot(popcorn, "j-MemoryBusy", NULL, &job), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), -EBUSY);
	ck_assert_str_eq(popcorn_last_error_name(popcorn), ERROR "MemoryBusy");
	ck_assert_str_eq(popcorn_job_get_result(job), "failed");
	popcorn_job_free(job);
}
END_TEST

static int on_wake(struct popcorn_job *job, void *userdata)
{
	int *fd = userdata;
	struct pollfd p = { .fd = *fd, .events = POLLIN };
	uint64_t value;

	if (poll(&p, 1, 0) <= 0)
		return 0;
	ck_assert_int_eq(read(*fd, &value, sizeof(value)), sizeof(value));
	return value == 2 ? 7 : popcorn_job_cancel(job);
}

START_TEST(test_wake_and_cancel)
{
	struct popcorn_job *job;
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t value = 2;

	ck_assert_int_eq(popcorn_boot(popcorn, "slow1", NULL, &job), 0);
	/* What the callback returns ends the wait, not the job. */
	ck_assert_int_eq(write(fd, &value, sizeof(value)), sizeof(value));
	ck_assert_int_eq(popcorn_job_wait(job, fd, on_wake, &fd), 7);
	ck_assert_str_eq(popcorn_job_get_result(job), "");
	value = 1;
	ck_assert_int_eq(write(fd, &value, sizeof(value)), sizeof(value));
	ck_assert_int_eq(popcorn_job_wait(job, fd, on_wake, &fd), -ECANCELED);
	ck_assert_str_eq(popcorn_job_get_result(job), "cancelled");
	ck_assert_str_eq(popcorn_last_error_name(popcorn), ERROR "Cancelled");
	popcorn_job_free(job);
	close(fd);
}
END_TEST

START_TEST(test_cancel_too_late)
{
	struct popcorn_job *job;

	ck_assert_int_eq(popcorn_boot(popcorn, "late1", NULL, &job), 0);
	ck_assert_int_eq(popcorn_job_cancel(job), -EBUSY);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), 0);
	popcorn_job_free(job);
	put_away("late1");
}
END_TEST

START_TEST(test_console)
{
	char buffer[512];
	int fd = -5;
	ssize_t n;

	ck_assert_int_eq(popcorn_open_console(popcorn, "nobody", 0, &fd), -ENOENT);
	ck_assert_int_eq(fd, -5);
	ck_assert_int_eq(popcorn_open_console(popcorn, "db0", 4, &fd), -EINVAL);
	ck_assert_int_eq(popcorn_open_console(popcorn, "db0", POPCORN_CONSOLE_INPUT, &fd), 0);
	n = read(fd, buffer, sizeof(buffer) - 1);
	ck_assert_int_gt(n, 0);
	buffer[n] = '\0';
	ck_assert_ptr_nonnull(strstr(buffer, "Linux version"));
	ck_assert_int_eq(write(fd, "hi", 2), 2);
	ck_assert_int_eq(read(fd, buffer, 2), 2);
	ck_assert_int_eq(memcmp(buffer, "HI", 2), 0);
	close(fd);
	ck_assert_int_eq(popcorn_open_kernel_log(popcorn, "old", &fd), 0);
	ck_assert_int_gt(read(fd, buffer, sizeof(buffer)), 0);
	close(fd);
}
END_TEST

static void on_event(const struct popcorn_event *event, void *userdata)
{
	unsigned *seen = userdata;

	if (strcmp(popcorn_event_get_name(event), "ev"))
		return;
	ck_assert_uint_gt(popcorn_event_get_time(event), 0);
	*seen |= 1U << popcorn_event_get_type(event);
	switch (popcorn_event_get_type(event)) {
	case POPCORN_EVENT_STATE_CHANGED:
		ck_assert_str_ne(popcorn_event_get_state(event),
				 popcorn_event_get_old_state(event));
		ck_assert_str_ne(popcorn_event_get_reason(event), "");
		break;
	case POPCORN_EVENT_JOB_NEW:
		ck_assert_str_ne(popcorn_event_get_job_type(event), "");
		ck_assert_uint_gt(popcorn_event_get_job(event), 0);
		break;
	case POPCORN_EVENT_JOB_REMOVED:
		ck_assert_str_eq(popcorn_event_get_result(event), "done");
		ck_assert_str_eq(popcorn_event_get_error(event), "");
		break;
	case POPCORN_EVENT_KERNEL_NEW:
	case POPCORN_EVENT_KERNEL_REMOVED:
		ck_assert_str_eq(popcorn_event_get_text(event), "");
		break;
	case POPCORN_EVENT_DAEMON_APPEARED:
	case POPCORN_EVENT_DAEMON_DISAPPEARED:
		ck_abort_msg("these have no name");
	}
}

START_TEST(test_events)
{
	const unsigned all = 1U << POPCORN_EVENT_KERNEL_NEW | 1U << POPCORN_EVENT_KERNEL_REMOVED |
			     1U << POPCORN_EVENT_STATE_CHANGED | 1U << POPCORN_EVENT_JOB_NEW |
			     1U << POPCORN_EVENT_JOB_REMOVED;
	struct popcorn_job *job;
	unsigned seen = 0;
	int r;

	ck_assert_int_eq(popcorn_subscribe(popcorn, on_event, &seen), 0);
	ck_assert_int_eq(popcorn_boot(popcorn, "ev", NULL, &job), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), 0);
	popcorn_job_free(job);
	put_away("ev");
	while (seen != all) {
		r = popcorn_process(popcorn);
		ck_assert_int_ge(r, 0);
		if (r == 0)
			ck_assert_int_eq(popcorn_wait(popcorn, 5000000), 1);
	}
	/* Nothing comes after the end of the subscription. */
	ck_assert_int_eq(popcorn_subscribe(popcorn, NULL, NULL), 0);
	seen = 0;
	ck_assert_int_eq(popcorn_boot(popcorn, "ev", NULL, &job), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), 0);
	popcorn_job_free(job);
	ck_assert_uint_eq(seen, 0);
	put_away("ev");
}
END_TEST

/* The last one: popcornd is gone after it. */
START_TEST(test_daemon_dies)
{
	struct popcorn_kernel **kernels;
	struct popcorn_job *job;

	ck_assert_int_eq(popcorn_boot(popcorn, "gone", NULL, &job), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), -ECONNREFUSED);
	ck_assert_str_eq(popcorn_last_error_name(popcorn), ERROR "NoDaemon");
	ck_assert_ptr_nonnull(strstr(popcorn_last_error_text(popcorn), "popcornctl status gone"));
	popcorn_job_free(job);
	ck_assert_int_eq(popcorn_list_kernels(popcorn, &kernels, NULL), -ECONNREFUSED);
	ck_assert_str_eq(popcorn_last_error_text(popcorn),
			 "popcornd can't be reached: systemctl status popcornd");
}
END_TEST

static void on_policy(const char *name, const char *path, const char *description, int valid,
		      void *userdata)
{
	char *all = userdata;

	snprintf(all + strlen(all), 256 - strlen(all), "%s %s %s %d;", name, path, description,
		 valid);
}

START_TEST(test_policies)
{
	char *json = NULL, *path = NULL, *text = NULL, *xml = NULL;
	struct popcorn_kernel *kernel;
	struct popcorn_job *job;
	char all[256] = "";

	ck_assert_int_eq(popcorn_list_policies(popcorn, on_policy, all), 0);
	ck_assert_str_eq(all, "bad /p/bad.conf line 1 0;two /p/two.conf two kernels 1;");
	ck_assert_int_eq(popcorn_get_policy(popcorn, "two", &path, &text), 0);
	ck_assert_str_eq(path, "/p/two.conf");
	ck_assert_str_eq(text, "groups = ();\n");
	free(text);
	text = NULL;
	ck_assert_int_eq(popcorn_get_policy(popcorn, "two", NULL, &text), 0);
	ck_assert_int_eq(popcorn_get_policy(popcorn, "none", NULL, &text), -ENOENT);
	ck_assert_int_eq(popcorn_get_policy(popcorn, NULL, NULL, &text), -ENOENT);
	ck_assert_int_eq(popcorn_get_topology(popcorn, "xml", &xml), 0);
	ck_assert_str_eq(xml, "<topology/>");
	ck_assert_int_eq(popcorn_get_topology(popcorn, "svg", &xml), -EINVAL);
	ck_assert_int_eq(popcorn_get_topology(popcorn, NULL, &xml), -EINVAL);

	ck_assert_int_eq(popcorn_plan(popcorn, "two", NULL, 0, &json), 0);
	ck_assert_ptr_nonnull(strstr(json, "\"name\":\"two1\""));
	ck_assert_ptr_null(strstr(json, "changes"));
	free(json);
	json = NULL;
	ck_assert_int_eq(popcorn_plan(popcorn, "two", "# mine\n",
				      POPCORN_PLAN_DIFF | POPCORN_PLAN_EXPLAIN, &json),
			 0);
	ck_assert_ptr_nonnull(strstr(json, "# mine"));
	ck_assert_ptr_nonnull(strstr(json, "\"change\":\"start\""));
	ck_assert_ptr_nonnull(strstr(json, "info"));
	ck_assert_int_eq(popcorn_plan(popcorn, "two", NULL, 4, &json), -EINVAL);
	ck_assert_int_eq(popcorn_plan(popcorn, "two", "\xff", 0, &json), -EINVAL);
	ck_assert_int_eq(popcorn_plan(popcorn, "\xff", NULL, 0, &json), -ENOENT);
	ck_assert_int_eq(popcorn_plan(popcorn, NULL, NULL, 0, &json), -ENOENT);
	ck_assert_int_eq(popcorn_plan(popcorn, "e-NoSuchPolicy", NULL, 0, &json), -ENOENT);

	ck_assert_int_eq(popcorn_apply(popcorn, "two", NULL, 4, &job), -EINVAL);
	ck_assert_int_eq(popcorn_apply(popcorn, "impossible", NULL, 0, &job), -EDOM);
	ck_assert_int_eq(popcorn_apply(popcorn, "stops", NULL, 0, &job), -EBUSY);
	ck_assert_str_eq(popcorn_last_error_name(popcorn),
			 "org.popcornlinux.Popcorn1.Error.WouldStop");
	ck_assert_int_eq(popcorn_apply(popcorn, "atomic", NULL, 0, &job), -EINVAL);
	ck_assert_int_eq(popcorn_apply(popcorn, "atomic", NULL, POPCORN_APPLY_ATOMIC, &job), 0);
	ck_assert_str_eq(popcorn_job_get_type(job), "apply");
	ck_assert_str_eq(popcorn_job_get_name(job), "atomic");
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), 0);
	popcorn_job_free(job);
	ck_assert_int_eq(popcorn_get_kernel(popcorn, "atomic1", &kernel), 0);
	ck_assert_str_eq(popcorn_kernel_get_policy(kernel), "atomic");
	popcorn_kernel_free(kernel);
	put_away("atomic0");
	put_away("atomic1");
	ck_assert_int_eq(popcorn_apply(popcorn, "slow", NULL, 0, &job), 0);
	ck_assert_int_eq(popcorn_job_cancel(job), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), -ECANCELED);
	popcorn_job_free(job);
	ck_assert_int_eq(popcorn_apply(popcorn, "j-BootTimeout", NULL, 0, &job), 0);
	ck_assert_int_eq(popcorn_job_wait(job, -1, NULL, NULL), -ETIME);
	popcorn_job_free(job);
	put_away("j-BootTimeout0");
	free(json);
	free(path);
	free(text);
	free(xml);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libpopcorn");
	TCase *alone = tcase_create("alone"), *with = tcase_create("with popcornd");

	tcase_add_test(alone, test_null);
	tcase_add_test(alone, test_not_connected);
	tcase_add_checked_fixture(with, setup, teardown);
	tcase_add_test(with, test_connect_twice);
	tcase_add_test(with, test_list);
	tcase_add_test(with, test_get);
	tcase_add_test(with, test_free);
	tcase_add_test(with, test_options);
	tcase_add_test(with, test_boot);
	tcase_add_test(with, test_not_followed);
	tcase_add_test(with, test_job_fails);
	tcase_add_test(with, test_wake_and_cancel);
	tcase_add_test(with, test_cancel_too_late);
	tcase_add_test(with, test_console);
	tcase_add_test(with, test_events);
	tcase_add_test(with, test_policies);
	tcase_add_test(with, test_daemon_dies);
	suite_add_tcase(suite, alone);
	suite_add_tcase(suite, with);
	return run_suite(suite);
}
