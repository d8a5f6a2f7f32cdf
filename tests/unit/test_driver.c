// SPDX-License-Identifier: GPL-2.0-or-later
/* What driver.c asks of the kernel: its ioctls go to a function of ours (-Wl,--wrap=ioctl). */
#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "driver.h"
#include "run.h"
#include "util.h"

static struct popcorn_error error;
static int answer;	    /* errno of the next calls */
static unsigned long asked; /* the last request */
static uint32_t abi = POPCORN_ABI_VERSION;
static uint32_t n_cpus, grow; /* of the status; by how much it grows at each call */
static unsigned n_calls;

static void fill_status(struct popcorn_status *s)
{
	uint32_t *cpus = (void *)(uintptr_t)s->cpus, *apicids = (void *)(uintptr_t)s->apicids;
	struct popcorn_range *ranges = (void *)(uintptr_t)s->ranges;
	uint32_t room = s->nr_cpus;

	/* An array that is not there must not be counted on. */
	ck_assert(room == 0 || (cpus && apicids));
	ck_assert(s->nr_ranges == 0 || ranges);
	n_cpus += grow;
	for (uint32_t i = 0; i < n_cpus && i < room; i++) {
		cpus[i] = i + 1;
		apicids[i] = 2 * i;
	}
	for (uint32_t i = 0; i < 2 && i < s->nr_ranges; i++)
		ranges[i].start = i + 1;
	s->nr_cpus = n_cpus;
	s->nr_ranges = 2;
	s->state = POPCORN_STATE_RUNNING;
	memset(s->text, 'x', sizeof(s->text)); /* without an end */
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	asked = request;
	n_calls++;
	/* Each structure begins with its size, which is the one that the number was made from. */
	ck_assert_uint_eq(*(uint32_t *)arg, _IOC_SIZE(request));
	if (request == POPCORN_IOC_ADD_CPUS) {
		struct popcorn_cpus *cpus = arg;

		ck_assert_uint_eq(cpus->count, 2);
		ck_assert_uint_eq(((uint32_t *)(uintptr_t)cpus->cpus)[1], 7);
		cpus->bad_cpu = 7;
	} else if (request == POPCORN_IOC_RELEASE) {
		((struct popcorn_release *)arg)->kept_cpus = 3;
		((struct popcorn_release *)arg)->kept_ranges = 4;
	}
	if (answer) {
		errno = answer;
		return -1;
	}
	if (request == POPCORN_IOC_INFO) {
		((struct popcorn_info *)arg)->abi_version = abi;
	} else if (request == POPCORN_IOC_CREATE) {
		ck_assert_str_eq(((struct popcorn_create *)arg)->name, "db0");
		((struct popcorn_create *)arg)->id = 5;
		((struct popcorn_create *)arg)->fd = 55;
	} else if (request == POPCORN_IOC_OPEN) {
		ck_assert_uint_eq(((struct popcorn_open *)arg)->id, 5);
		((struct popcorn_open *)arg)->fd = 56;
	} else if (request == POPCORN_IOC_LIST) {
		struct popcorn_list *list = arg;

		ck_assert_uint_eq(list->count, POPCORN_KERNELS_MAX);
		((uint32_t *)(uintptr_t)list->ids)[0] = 5;
		list->count = 1;
	} else if (request == POPCORN_IOC_STATUS) {
		fill_status(arg);
	} else if (request == POPCORN_IOC_CONSOLE) {
		((struct popcorn_console *)arg)->fd = 57;
	} else if (request == POPCORN_IOC_ADD_DEVICE) {
		ck_assert_str_eq(((struct popcorn_add_device *)arg)->name, "net0");
		ck_assert_uint_eq(((struct popcorn_add_device *)arg)->slot, 0);
		((struct popcorn_add_device *)arg)->slot = 3;
	} else if (request == POPCORN_IOC_OPEN_DEVICE || request == POPCORN_IOC_REMOVE_DEVICE) {
		ck_assert_uint_eq(((struct popcorn_device_slot *)arg)->slot, 3);
		((struct popcorn_device_slot *)arg)->fd = 58;
	} else if (request == POPCORN_IOC_DEVICE_INFO) {
		struct popcorn_device_info *info = arg;

		/* Without an end. */
		memset(info->name, 'n', sizeof(info->name));
		memset(info->text, 't', sizeof(info->text));
	}
	return 0;
}

static struct driver *open_driver(void)
{
	struct driver *driver = NULL;

	answer = 0;
	ck_assert_int_eq(driver_open("/dev/null", &driver, &error), 0);
	return driver;
}

START_TEST(test_open)
{
	struct driver *driver = NULL;

	ck_assert_int_eq(driver_open("/nonexistent", &driver, &error), -ENODEV);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NO_DRIVER);
	ck_assert_ptr_nonnull(strstr(error.text, "modprobe"));

	error = (struct popcorn_error){ 0 };
	answer = ENOTTY;
	ck_assert_int_eq(driver_open("/dev/null", &driver, &error), -EPROTO);
	ck_assert_int_eq(error.id, POPCORN_ERROR_DRIVER_ABI);

	error = (struct popcorn_error){ 0 };
	answer = 0;
	abi = POPCORN_ABI_VERSION + 1;
	ck_assert_int_eq(driver_open("/dev/null", &driver, &error), -EPROTO);
	ck_assert_int_eq(error.id, POPCORN_ERROR_DRIVER_ABI);
	ck_assert_ptr_nonnull(strstr(error.text, "version 2"));

	error = (struct popcorn_error){ 0 };
	answer = EIO;
	ck_assert_int_eq(driver_open("/dev/null", &driver, &error), -EIO);
	ck_assert_int_eq(error.id, POPCORN_ERROR_FAILED);
	ck_assert_ptr_null(driver);

	abi = POPCORN_ABI_VERSION;
	driver = open_driver();
	ck_assert_ptr_null(driver_free(driver));
	ck_assert_ptr_null(driver_free(NULL));
}
END_TEST

START_TEST(test_calls)
{
	struct driver *driver = open_driver();
	const struct popcorn_segment segment = { 0 };
	/* What was in it before is not what is asked. */
	const struct popcorn_add_device device = { .slot = 9, .name = "net0" };
	struct popcorn_device_info device_info;
	const uint32_t cpus[] = { 3, 7 };
	uint32_t id = 0, bad = 0, kept_cpus, kept_ranges, *ids = NULL;
	char name[POPCORN_NAME_MAX + 1];
	struct popcorn_info info;
	size_t n;
	int fd = -1;

	ck_assert_int_eq(driver->ops->info(driver, &info), 0);
	ck_assert_int_eq(driver->ops->create(driver, "db0", &id, &fd), 0);
	ck_assert(id == 5 && fd == 55);
	memset(name, 'x', sizeof(name));
	name[POPCORN_NAME_MAX] = '\0';
	n_calls = 0;
	ck_assert_int_eq(driver->ops->create(driver, name, &id, &fd), -EINVAL);
	ck_assert_uint_eq(n_calls, 0);
	ck_assert_int_eq(driver->ops->open(driver, 5, &fd), 0);
	ck_assert_int_eq(fd, 56);
	ck_assert_int_eq(driver->ops->list(driver, &ids, &n), 0);
	ck_assert(n == 1 && ids[0] == 5);
	free(ids);
	ck_assert_int_eq(driver->ops->add_memory(driver, 1, POPCORN_MEMORY_CONTIG, 1, 2), 0);
	ck_assert_uint_eq(asked, POPCORN_IOC_ADD_MEMORY);
	ck_assert_int_eq(driver->ops->load(driver, 1, &segment, 1), 0);
	ck_assert_uint_eq(asked, POPCORN_IOC_LOAD);
	ck_assert_int_eq(driver->ops->load(driver, 1, &segment, POPCORN_SEGMENTS_MAX + 1), -EINVAL);
	ck_assert_int_eq(driver->ops->start(driver, 1, 2, 3, 4), 0);
	ck_assert_uint_eq(asked, POPCORN_IOC_START);
	ck_assert_int_eq(driver->ops->stop(driver, 1, POPCORN_STOP_KILL, POPCORN_REASON_KILLED), 0);
	ck_assert_uint_eq(asked, POPCORN_IOC_STOP);
	ck_assert_int_eq(driver->ops->console(driver, 1, 0, &fd), 0);
	ck_assert_int_eq(fd, 57);

	ck_assert_int_eq(driver->ops->add_device(driver, 1, &device, &id), 0);
	ck_assert_uint_eq(id, 3);
	ck_assert_int_eq(driver->ops->open_device(driver, 1, 3, &fd), 0);
	ck_assert_int_eq(fd, 58);
	ck_assert_int_eq(driver->ops->remove_device(driver, 1, 3), 0);
	ck_assert_uint_eq(asked, POPCORN_IOC_REMOVE_DEVICE);
	ck_assert_int_eq(driver->ops->device_info(driver, 1, 3, &device_info), 0);
	ck_assert_uint_eq(strlen(device_info.name), POPCORN_DEVICE_NAME_MAX - 1);
	ck_assert_uint_eq(strlen(device_info.text), sizeof(device_info.text) - 1);
	fd = 57;

	/* Outputs of a failure, and outputs that stay as they were. */
	answer = EBUSY;
	id = 9;
	ck_assert_int_eq(driver->ops->create(driver, "db0", &id, &fd), -EBUSY);
	ck_assert(id == 9 && fd == 57);
	ck_assert_int_eq(driver->ops->add_device(driver, 1, &device, &id), -EBUSY);
	ck_assert_int_eq(driver->ops->open_device(driver, 1, 3, &fd), -EBUSY);
	ck_assert_int_eq(driver->ops->device_info(driver, 1, 3, &device_info), -EBUSY);
	ck_assert(id == 9 && fd == 57);
	ck_assert_int_eq(driver->ops->add_cpus(driver, 1, cpus, 2, &bad), -EBUSY);
	ck_assert_uint_eq(bad, 7);
	ck_assert_int_eq(driver->ops->release(driver, 1, &kept_cpus, &kept_ranges), -EBUSY);
	ck_assert(kept_cpus == 3 && kept_ranges == 4);
	driver_free(driver);
}
END_TEST

START_TEST(test_status)
{
	struct driver *driver = open_driver();
	struct popcorn_status status = { 0 };

	n_cpus = 300;
	ck_assert_int_eq(driver->ops->status(driver, 1, &status), 0);
	ck_assert_uint_eq(status.nr_cpus, 300);
	ck_assert_uint_eq(((uint32_t *)(uintptr_t)status.cpus)[299], 300);
	ck_assert_uint_eq(((uint32_t *)(uintptr_t)status.apicids)[299], 598);
	ck_assert_uint_eq(((struct popcorn_range *)(uintptr_t)status.ranges)[1].start, 2);
	ck_assert_uint_eq(strlen(status.text), sizeof(status.text) - 1);
	driver_status_done(&status);
	ck_assert(status.cpus == 0 && status.nr_cpus == 0);

	/* One that grows for ever ends at the limit. */
	grow = 100;
	ck_assert_int_eq(driver->ops->status(driver, 1, &status), -EPROTO);
	grow = 0;
	n_cpus = 0;
	ck_assert_int_eq(driver->ops->status(driver, 1, &status), 0);
	ck_assert_uint_eq(status.nr_ranges, 2);
	driver_status_done(&status);
	answer = ENODEV;
	ck_assert_int_eq(driver->ops->status(driver, 1, &status), -ENODEV);
	driver_free(driver);
}
END_TEST

START_TEST(test_tables)
{
#define X(sym, nr, name)                                              \
	ck_assert_str_eq(state_to_string(POPCORN_STATE_##sym), name); \
	ck_assert_int_eq(state_from_string(name), nr);
	POPCORN_STATES(X)
#undef X
#define X(sym, nr, name, text)                                          \
	ck_assert_str_eq(reason_to_string(POPCORN_REASON_##sym), name); \
	ck_assert_str_eq(reason_to_text(POPCORN_REASON_##sym), text);
	POPCORN_REASONS(X)
#undef X
	ck_assert_int_eq(state_from_string("nonsense"), -EINVAL);
	/* What a newer driver may say. */
	ck_assert_str_eq(state_to_string(99), "unknown");
	ck_assert_str_eq(reason_to_string(99), "unknown");
	ck_assert_uint_gt(strlen(reason_to_text(99)), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("driver");
	TCase *tc = tcase_create("driver");

	tcase_add_test(tc, test_open);
	tcase_add_test(tc, test_calls);
	tcase_add_test(tc, test_status);
	tcase_add_test(tc, test_tables);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
