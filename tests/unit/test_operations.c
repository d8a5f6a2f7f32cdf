// SPDX-License-Identifier: GPL-2.0-or-later
/* Boot and stop on the fake machine: as it should go, and with every step going wrong. */
#include <check.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"
#include "operations.h"
#include "run.h"
#include "util.h"
#include "vmlinux-sample.h"

#define MEMORY (3 * FAKE_BLOCK_SIZE + 32 * MIB)

static struct fake *fake;
static struct driver *driver;
static struct config config;
static struct kernel_def def;
static struct resources *resources;
static struct popcorn_error error;
static char run[PATH_MAX + 8], image[PATH_MAX + 32], initrd[PATH_MAX + 32];
static char steps[256];

static void progress(void *userdata, const char *step, double fraction)
{
	static double last;
	const char *end = strrchr(steps, ' ');

	(void)userdata;
	/* A stop is another job than the boot before it. */
	if (!*steps || strcmp(step, "asked") == 0)
		last = 0;
	ck_assert(fraction >= last && fraction <= 1);
	last = fraction;
	end = end ? end + 1 : steps;
	if (strcmp(end, step) != 0 && strlen(steps) + strlen(step) + 2 < sizeof(steps))
		strcat(strcat(steps, *steps ? " " : ""), step);
}

static unsigned n_lacks;

static void lacks(void *userdata, const char *what)
{
	(void)userdata;
	ck_assert_str_eq(what, "popcorn_vty.ko");
	n_lacks++;
}

static struct operation operation = { .cancel_fd = -1, .progress = progress, .lacks = lacks };

static void make(void)
{
	fake = fake_new(4, 1, 8, 1);
	fake_write_boot_files(fake);
	driver = fake_driver(fake);
	config = (struct config){
		.primary_cpus = hwloc_bitmap_alloc(),
		.primary_memory = 2 * FAKE_BLOCK_SIZE,
		.heartbeat_ms = 1000,
	};
	hwloc_bitmap_set(config.primary_cpus, 0);
	ck_assert_int_gt(asprintf(&config.agent, "%s/agent", fake->root), 0);
	ck_assert_int_gt(asprintf(&config.busybox, "%s/busybox", fake->root), 0);
	ck_assert_int_gt(asprintf(&config.modules, "%s/lib/modules", fake->root), 0);
	snprintf(run, sizeof(run), "%s/run", fake->root);
	snprintf(image, sizeof(image), "%s/boot/vmlinuz", fake->root);
	snprintf(initrd, sizeof(initrd), "%s/boot/initrd", fake->root);
	def = (struct kernel_def){
		.image = image,
		.initrd = initrd,
		.cpu_count = 2,
		.memory = MEMORY,
		.boot_timeout_usec = 2 * USEC_PER_SEC,
	};
	operation.cancel_fd = -1;
	error = (struct popcorn_error){ 0 };
	steps[0] = '\0';
	ck_assert_msg(resources_new(&config, driver, fake->root, run, &resources, &error) == 0,
		      "%s", error.text);
}

static void unmake(void)
{
	resources = resources_free(resources);
	driver = driver_free(driver);
	hwloc_bitmap_free(config.primary_cpus);
	free(config.agent);
	free(config.busybox);
	free(config.modules);
	fake_free(fake);
}

/* For the next boot(). */
static struct boot_files *checked;

static int boot(struct claim **ret_claim, int *ret_fd)
{
	int r;

	error = (struct popcorn_error){ 0 };
	*ret_claim = NULL;
	*ret_fd = -1;
	steps[0] = '\0';
	r = resources_claim(resources, "db0", &def, ret_claim, &error);
	if (r < 0)
		return r;
	r = boot_kernel(&config, resources, driver, "db0", &def, steal_ptr(checked), *ret_claim,
			&operation, ret_fd, NULL, &error);
	if (r < 0)
		ck_assert_int_eq(*ret_fd, -1);
	return r;
}

static void end(struct claim *claim, int fd)
{
	error = (struct popcorn_error){ 0 };
	ck_assert_int_ge(stop_kernel(driver, fd, USEC_PER_SEC, &operation, &error), 0);
	ck_assert_msg(release_kernel(resources, driver, fd, claim, &error) == 0, "%s", error.text);
	claim_free(claim);
	close(fd);
	fake_check_whole(fake);
}

/* A boot that is refused or undone, and leaves nothing. */
static void fails(enum popcorn_error_id id, const char *text)
{
	struct claim *claim;
	int fd, r = boot(&claim, &fd);

	/* FAILED has no errno of its own: the cause's is returned. */
	ck_assert(id == POPCORN_ERROR_FAILED ? r < 0 : r == -popcorn_error_errno(id));
	ck_assert_msg(error.id == id, "%s", error.text);
	ck_assert_msg(strstr(error.text, text) != NULL, "'%s' is not in '%s'", text, error.text);
	ck_assert(!claim || !claim_holds(claim));
	claim_free(claim);
	fake_check_whole(fake);
}

/* Devices are there before the kernel starts, and one that is refused undoes all. */
START_TEST(test_devices)
{
	struct kernel_share share = { (char *)"data", run, false };
	char missing[PATH_MAX + 16];
	struct fake_kernel *kernel;
	struct claim *claim;
	int fd;

	fake->script[0] = POPCORN_STATE_RUNNING;
	fake->n_script = 1;
	fake->vhost_features = ~0ULL;
	config.virtiofsd = image;
	def.shares = &share;
	def.n_shares = 1;
	ck_assert_msg(boot_check(&config, &def, NULL, &error) == 0, "%s", error.text);
	ck_assert_msg(boot(&claim, &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "db0");
	ck_assert_str_eq(kernel->devices[0].name, "fs0");
	ck_assert_str_eq(kernel->devices[1].name, "vsock");
	end(claim, fd);

	fake->n_script = 1;
	fake->refuse_device = 2;
	fails(POPCORN_ERROR_FAILED, "device vsock");
	fake->refuse_device = 0;

	snprintf(missing, sizeof(missing), "%s/missing", run);
	share.path = missing;
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(boot_check(&config, &def, NULL, &error), -EINVAL);
	ck_assert_int_eq(error.id, POPCORN_ERROR_INVALID_ARGUMENT);
}
END_TEST

START_TEST(test_boot)
{
	struct fake_kernel *kernel;
	struct claim *claim;
	int fd;

	fake->script[0] = POPCORN_STATE_BOOTING;
	fake->script[1] = POPCORN_STATE_RUNNING;
	fake->n_script = 2;
	ck_assert_int_eq(boot_check(&config, &def, NULL, &error), 0);
	ck_assert_msg(boot(&claim, &fd) == 0, "%s", error.text);
	ck_assert_str_eq(steps, "reserve load start kernel agent");
	kernel = fake_kernel(fake, "db0");
	ck_assert_int_eq(kernel->state, POPCORN_STATE_RUNNING);
	ck_assert_uint_eq(kernel->n_cpus, 2);
	ck_assert_uint_eq(fake_taken(fake), MEMORY);
	ck_assert_uint_eq(fake_n_leases(fake), 1);
	ck_assert(claim_holds(claim));
	end(claim, fd);
}
END_TEST

/* What was looked at is what is booted, whatever has become of it since. */
START_TEST(test_checked_files)
{
	struct claim *claim;
	int fd;

	ck_assert_int_eq(boot_check(&config, &def, &checked, &error), 0);
	ck_assert_int_eq(unlink(image), 0);
	ck_assert_int_eq(unlink(config.agent), 0);
	ck_assert_msg(boot(&claim, &fd) == 0, "%s", error.text);
	end(claim, fd);
	fails(POPCORN_ERROR_IMAGE_NOT_FOUND, "vmlinuz");
}
END_TEST

static int refuse_turn(void *userdata)
{
	/* All that can be undone has been done. */
	ck_assert_str_eq(steps, "reserve load");
	ck_assert_uint_eq(fake_taken(fake), MEMORY);
	return -ECANCELED;
}

START_TEST(test_turn)
{
	operation.wait_for_turn = refuse_turn;
	fails(POPCORN_ERROR_CANCELLED, "");
	ck_assert_str_eq(steps, "reserve load");
	operation.wait_for_turn = NULL;
}
END_TEST

START_TEST(test_shell)
{
	struct claim *claim;
	int fd;

	def.initrd = NULL;
	ck_assert_int_eq(boot_check(&config, &def, NULL, &error), 0);
	ck_assert_msg(boot(&claim, &fd) == 0, "%s", error.text);
	end(claim, fd);
}
END_TEST

static unsigned asks;
static int ask_result;

static int ask_agent(void *userdata, uint32_t id, uint32_t generation, uint64_t deadline)
{
	const struct fake_kernel *kernel = fake_kernel(fake, "db0");

	(void)userdata;
	asks++;
	/* What it does now is none of its own; it may have done it already. */
	ck_assert_int_eq(kernel->state,
			 fake->ignores_stop ? POPCORN_STATE_STOPPING : POPCORN_STATE_STOPPED);
	ck_assert_uint_eq(id, 1);
	ck_assert_uint_eq(generation, kernel->generation);
	ck_assert_uint_le(deadline, now_usec() + 50000);
	return ask_result;
}

START_TEST(test_stop_asks_the_agent)
{
	static const int results[] = { 0, -ETIMEDOUT, -ENOENT };

	operation.ask_agent = ask_agent;
	fake->ignores_stop = true;
	for (unsigned i = 0; i < ARRAY_SIZE(results); i++) {
		struct claim *claim;
		int fd;

		ck_assert_int_eq(boot(&claim, &fd), 0);
		steps[0] = '\0';
		asks = 0;
		ask_result = results[i];
		/* Whatever it answers, the time runs. */
		ck_assert_int_eq(stop_kernel(driver, fd, 50000, &operation, &error), 1);
		ck_assert_uint_eq(asks, 1);
		ck_assert_str_eq(steps, results[i] == 0 ? "asked answered" : "asked");
		end(claim, fd);
	}
	/* One that has ended when it is asked is not waited for. */
	struct claim *claim;
	int fd;

	fake->ignores_stop = false;
	ask_result = -EPIPE;
	ck_assert_int_eq(boot(&claim, &fd), 0);
	steps[0] = '\0';
	ck_assert_int_eq(stop_kernel(driver, fd, 50000, &operation, &error), 0);
	ck_assert_str_eq(steps, "asked");
	end(claim, fd);
	operation.ask_agent = NULL;
}
END_TEST

START_TEST(test_stop)
{
	struct claim *claim;
	uint64_t before;
	int fd;

	ck_assert_int_eq(boot(&claim, &fd), 0);
	ck_assert_int_eq(stop_kernel(driver, fd, USEC_PER_SEC, &operation, &error), 0);
	ck_assert_int_eq(stop_kernel(driver, fd, USEC_PER_SEC, &operation, &error), 0);
	ck_assert_int_eq(kill_kernel(driver, fd, POPCORN_REASON_KILLED, &error), 0);
	end(claim, fd);

	/* One that does not listen is killed after the time it was given. */
	fake->ignores_stop = true;
	ck_assert_int_eq(boot(&claim, &fd), 0);
	ck_assert_int_eq(release_kernel(resources, driver, fd, claim, &error), -EBUSY);
	ck_assert_int_eq(error.id, POPCORN_ERROR_WRONG_STATE);
	before = now_usec();
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(stop_kernel(driver, fd, 50000, &operation, &error), 1);
	ck_assert_uint_ge(now_usec() - before, 50000);
	end(claim, fd);

	/* A stop that is cancelled leaves it as it is. */
	ck_assert_int_eq(boot(&claim, &fd), 0);
	operation.cancel_fd = eventfd(1, 0);
	ck_assert_int_eq(stop_kernel(driver, fd, USEC_PER_SEC, &operation, &error), -ECANCELED);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CANCELLED);
	ck_assert_int_eq(fake_kernel(fake, "db0")->state, POPCORN_STATE_STOPPING);
	close(operation.cancel_fd);
	operation.cancel_fd = -1;
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(kill_kernel(driver, fd, POPCORN_REASON_KILLED, &error), 0);
	end(claim, fd);

	/* Somebody else released it. */
	ck_assert_int_eq(boot(&claim, &fd), 0);
	ck_assert_int_eq(kill_kernel(driver, fd, POPCORN_REASON_KILLED, &error), 0);
	ck_assert_int_eq(driver->ops->release(driver, fd, &(uint32_t){ 0 }, &(uint32_t){ 0 }), 0);
	ck_assert_int_eq(stop_kernel(driver, fd, 1, &operation, &error), -ENOENT);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NO_SUCH_KERNEL);
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(kill_kernel(driver, fd, POPCORN_REASON_KILLED, &error), -ENOENT);
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(release_kernel(resources, driver, fd, claim, &error), 0);
	claim_free(claim);
	close(fd);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_dies_while_booting)
{
	fake->script[0] = POPCORN_STATE_CRASHED;
	fake->end_reason = POPCORN_REASON_PANIC;
	strcpy(fake->end_text, "Unable to mount root fs");
	fails(POPCORN_ERROR_CRASHED,
	      "before it reported: the kernel panicked: Unable to mount root fs");

	fake->script[0] = POPCORN_STATE_BOOTING;
	fake->script[1] = POPCORN_STATE_STOPPED;
	fake->n_script = 2;
	fake->end_reason = POPCORN_REASON_POWEROFF;
	fails(POPCORN_ERROR_CRASHED, "before its user space was up: the kernel powered itself off");
}
END_TEST

START_TEST(test_timeout)
{
	fake->n_script = 0;
	def.boot_timeout_usec = 50000;
	fails(POPCORN_ERROR_BOOT_TIMEOUT, "did not report");
	fake->script[0] = POPCORN_STATE_BOOTING;
	fake->n_script = 1;
	fails(POPCORN_ERROR_BOOT_TIMEOUT, "user space was not up");
	fake->start_errno = ETIME;
	fails(POPCORN_ERROR_BOOT_TIMEOUT, "start-up code");
}
END_TEST

/* Cancelled at each step, as told by the progress. */
static const char *cancel_at;
static void cancelling(void *userdata, const char *step, double fraction)
{
	(void)userdata, (void)fraction;
	if (strcmp(step, cancel_at) == 0)
		eventfd_write(operation.cancel_fd, 1);
}

START_TEST(test_cancel)
{
	static const char *const at[] = { "reserve", "load", "start", "kernel" };

	fake->n_script = 0;
	operation.progress = cancelling;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		operation.cancel_fd = eventfd(0, 0);
		cancel_at = at[i];
		fails(POPCORN_ERROR_CANCELLED, "cancelled");
		close(operation.cancel_fd);
	}
	operation.progress = progress;
}
END_TEST

START_TEST(test_refused_by_driver)
{
	struct fake_kernel *other = &fake->kernels[3];

	fake->info_flags = POPCORN_INFO_LOCKDOWN;
	fails(POPCORN_ERROR_LOCKED_DOWN, "lockdown");
	fake->info_flags = 0;
	fake->load_errno = EPERM;
	fails(POPCORN_ERROR_LOCKED_DOWN, "lockdown");
	fake->load_errno = EFAULT;
	fails(POPCORN_ERROR_FAILED, "load the image");
	fake->load_errno = 0;
	fake->low_free = 0;
	fails(POPCORN_ERROR_NO_LOW_MEMORY, "640 KiB");
	fake->low_free = 5;
	fake->create_errno = ENOSPC;
	fails(POPCORN_ERROR_LIMIT, "limit");
	fake->create_errno = EPERM;
	fails(POPCORN_ERROR_NOT_AUTHORIZED, "CAP_SYS_BOOT");
	fake->create_errno = EINVAL;
	fails(POPCORN_ERROR_INVALID_NAME, "name");
	fake->create_errno = 0;
	fake->wrong_cpus = true;
	fails(POPCORN_ERROR_FAILED, "does not have for 'db0'");
	fake->wrong_cpus = false;
	other->used = true;
	strcpy(other->name, "db0");
	ck_assert_ptr_nonnull(fake_kernel(fake, "db0"));
	{
		struct claim *claim;
		int fd;

		ck_assert_int_eq(boot(&claim, &fd), -EEXIST);
		ck_assert_int_eq(error.id, POPCORN_ERROR_NAME_TAKEN);
		claim_free(claim);
	}
	other->used = false;
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_stuck)
{
	struct claim *claim;
	struct fake_kernel *kernel;
	int fd;

	/* It does not report, and its CPU does not stop: all stays away until RELEASE succeeds. */
	fake->n_script = 0;
	fake->stuck = 2;
	def.boot_timeout_usec = 20000;
	ck_assert_int_eq(boot(&claim, &fd), -EIO);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CPU_STUCK);
	ck_assert_msg(strstr(error.text, "did not report") != NULL, "%s", error.text);
	ck_assert(claim_holds(claim));
	ck_assert_uint_eq(fake_taken(fake), MEMORY);
	ck_assert_uint_eq(fake_n_leases(fake), 1);
	kernel = fake_kernel(fake, "db0");
	ck_assert_int_eq(kernel->state, POPCORN_STATE_FAILED);

	ck_assert_int_eq(driver->ops->open(driver, (uint32_t)(kernel - fake->kernels) + 1, &fd), 0);
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(release_kernel(resources, driver, fd, claim, &error), -EIO);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CPU_STUCK);
	ck_assert_uint_eq(fake_taken(fake), MEMORY);
	end(claim, fd);
}
END_TEST

static void check_refused(enum popcorn_error_id id, const char *text)
{
	struct popcorn_error e = { 0 };

	ck_assert_int_eq(boot_check(&config, &def, NULL, &e), -popcorn_error_errno(id));
	ck_assert_msg(e.id == id && strstr(e.text, text), "'%s' is not in '%s'", text, e.text);
	/* The boot itself looks again: files may change in between. */
	fails(id, "");
}

START_TEST(test_bad_files)
{
	char path[PATH_MAX + 64], long_line[3000];
	uint8_t dynamic[256];
	Elf64_Ehdr *elf = (void *)dynamic;
	Elf64_Phdr *segment = (void *)(dynamic + sizeof(*elf));

	def.image = NULL;
	check_refused(POPCORN_ERROR_IMAGE_NOT_FOUND, "no image");
	def.image = "vmlinuz";
	check_refused(POPCORN_ERROR_IMAGE_NOT_FOUND, "absolute");
	def.image = "/nonexistent/vmlinuz";
	check_refused(POPCORN_ERROR_IMAGE_NOT_FOUND, "No such file");
	def.image = fake->root;
	check_refused(POPCORN_ERROR_IMAGE_NOT_FOUND, "folder");
	def.image = "/dev/zero";
	check_refused(POPCORN_ERROR_IMAGE_NOT_FOUND, "not a regular file");
	snprintf(path, sizeof(path), "%s/fifo", fake->root);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	def.image = path;
	check_refused(POPCORN_ERROR_IMAGE_NOT_FOUND, "not a regular file");
	def.image = config.agent;
	check_refused(POPCORN_ERROR_IMAGE_INVALID, "bzImage");
	def.image = image;

	def.initrd = "initrd";
	check_refused(POPCORN_ERROR_INITRD_NOT_FOUND, "absolute");
	def.initrd = "/nonexistent";
	check_refused(POPCORN_ERROR_INITRD_NOT_FOUND, "No such file");
	def.initrd = fake->root;
	check_refused(POPCORN_ERROR_INITRD_NOT_FOUND, "folder");
	def.initrd = path;
	check_refused(POPCORN_ERROR_INITRD_NOT_FOUND, "regular");
	def.initrd = initrd;
	ck_assert_int_eq(truncate(initrd, (off_t)MEMORY), 0);
	check_refused(POPCORN_ERROR_INITRD_TOO_LARGE, "MiB");
	ck_assert_int_eq(truncate(initrd, 100), 0);

	def.memory = 32 * MIB;
	check_refused(POPCORN_ERROR_MEMORY_TOO_SMALL, "needs");
	/* By node none is large enough, though all together are. */
	struct node_memory parts[] = { { 0, 32 * MIB }, { 1, 32 * MIB } };

	def.memory = 64 * MIB;
	def.memory_nodes = parts;
	def.n_memory_nodes = 2;
	error = (struct popcorn_error){ 0 };
	ck_assert_int_lt(boot_check(&config, &def, NULL, &error), 0);
	ck_assert_int_eq(error.id, POPCORN_ERROR_MEMORY_TOO_SMALL);
	ck_assert_ptr_nonnull(
		strstr(error.text, "32 MiB of memory were asked for of any one node"));
	def.memory_nodes = NULL;
	def.n_memory_nodes = 0;
	def.memory = MEMORY;

	memset(long_line, 'x', sizeof(long_line));
	long_line[sizeof(long_line) - 1] = '\0';
	def.cmdline = long_line;
	check_refused(POPCORN_ERROR_CMDLINE_TOO_LONG, "");
	def.cmdline = NULL;

	/* The shell must be static. */
	def.initrd = NULL;
	memset(dynamic, 0, sizeof(dynamic));
	memcpy(elf->e_ident, ELFMAG, SELFMAG);
	elf->e_ident[EI_CLASS] = ELFCLASS64;
	elf->e_machine = EM_X86_64;
	elf->e_phentsize = sizeof(*segment);
	elf->e_phoff = sizeof(*elf);
	elf->e_phnum = 1;
	segment->p_type = PT_INTERP;
	fake_write_file(fake, "/busybox", dynamic, sizeof(dynamic));
	check_refused(POPCORN_ERROR_INITRD_NOT_FOUND, "static");
	elf->e_phnum = 60000;
	fake_write_file(fake, "/busybox", dynamic, sizeof(dynamic));
	check_refused(POPCORN_ERROR_INITRD_NOT_FOUND, "static");
	fake_write_file(fake, "/busybox", dynamic, 10);
	check_refused(POPCORN_ERROR_INITRD_NOT_FOUND, "static");
	unlink(config.busybox);
	check_refused(POPCORN_ERROR_INITRD_NOT_FOUND, "busybox-static");
	def.initrd = initrd;

	unlink(config.agent);
	check_refused(POPCORN_ERROR_FAILED, "install popcorn");
}
END_TEST

START_TEST(test_modules)
{
	uint8_t packed[4096];
	char path[PATH_MAX + 128];
	size_t size = 0;

	snprintf(path, sizeof(path),
		 "%s/lib/modules/" FAKE_RELEASE "/updates/popcorn/popcorn_guest.ko", fake->root);
	ck_assert_int_eq(unlink(path), 0);
	check_refused(POPCORN_ERROR_NO_MODULES, "linux-headers-" FAKE_RELEASE);

	/* dkms compresses where the distribution does. */
	ck_assert_int_eq(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL,
						 (const uint8_t *)"module", 6, packed, &size,
						 sizeof(packed)),
			 LZMA_OK);
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/updates/dkms/popcorn_guest.ko.xz",
			packed, size);
	ck_assert_msg(boot_check(&config, &def, NULL, &error) == 0, "%s", error.text);
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/updates/dkms/popcorn_guest.ko.xz",
			packed, size - 5);
	check_refused(POPCORN_ERROR_NO_MODULES, "popcorn_guest.ko.xz");
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/updates/dkms/popcorn_guest.ko.xz", "x",
			1);
	check_refused(POPCORN_ERROR_NO_MODULES, "popcorn_guest.ko.xz");
}
END_TEST

/* A kernel without lines to others boots, and it is said. */
START_TEST(test_no_terminals)
{
	char path[PATH_MAX + 128];
	struct claim *claim;
	int fd;

	fake->script[0] = POPCORN_STATE_RUNNING;
	fake->n_script = 1;
	n_lacks = 0;
	ck_assert_msg(boot(&claim, &fd) == 0, "%s", error.text);
	ck_assert_uint_eq(n_lacks, 0);
	end(claim, fd);
	snprintf(path, sizeof(path),
		 "%s/lib/modules/" FAKE_RELEASE "/updates/popcorn/popcorn_vty.ko", fake->root);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_msg(boot(&claim, &fd) == 0, "%s", error.text);
	ck_assert_uint_eq(n_lacks, 1);
	end(claim, fd);

	/* One that is there but damaged is another matter. */
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/updates/dkms/popcorn_vty.ko.xz", "x",
			1);
	check_refused(POPCORN_ERROR_NO_MODULES, "popcorn_vty.ko.xz");
}
END_TEST

/* Only a kernel that has devices needs their drivers, and says which. */
START_TEST(test_drivers)
{
	static const char dep[] = "kernel/fs/overlayfs/overlay.ko:\n"
				  "kernel/fs/fuse/virtiofs.ko: kernel/fs/fuse/fuse.ko\n";
	char path[PATH_MAX + 128];
	struct claim *claim;
	int fd;

	snprintf(path, sizeof(path),
		 "%s/lib/modules/" FAKE_RELEASE "/updates/popcorn/popcorn_virtio.ko", fake->root);
	ck_assert_int_eq(unlink(path), 0);
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/modules.builtin", "", 0);
	config.virtiofsd = image;
	def.initrd = NULL;
	def.root = fake->root;
	check_refused(POPCORN_ERROR_NO_MODULES, "its driver virtiofs for its root");
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/modules.dep", dep, strlen(dep));
	check_refused(POPCORN_ERROR_NO_MODULES, "fuse.ko");
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/kernel/fs/fuse/fuse.ko", "f", 1);
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/kernel/fs/fuse/virtiofs.ko", "v", 1);
	check_refused(POPCORN_ERROR_NO_MODULES, "popcorn_virtio.ko");
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/updates/popcorn/popcorn_virtio.ko",
			"p", 1);
	ck_assert_msg(boot_check(&config, &def, NULL, &error) == 0, "%s", error.text);
	def.root = "primary";
	check_refused(POPCORN_ERROR_NO_MODULES, "overlay.ko");
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/kernel/fs/overlayfs/overlay.ko", "o",
			1);
	/* A shell is not needed then. */
	unlink(config.busybox);
	ck_assert_msg(boot(&claim, &fd) == 0, "%s", error.text);
	end(claim, fd);
}
END_TEST

/* After a boot or an end that went wrong half way: what is left can be given back. */
static void clean_up(struct claim *claim)
{
	struct fake_kernel *kernel = fake_kernel(fake, "db0");
	int fd = -1;

	fake->step_at = 0;
	error = (struct popcorn_error){ 0 };
	if (kernel) {
		ck_assert_int_eq(
			driver->ops->open(driver, (uint32_t)(kernel - fake->kernels) + 1, &fd), 0);
		ck_assert_int_eq(kill_kernel(driver, fd, POPCORN_REASON_KILLED, &error), 0);
		ck_assert_msg(release_kernel(resources, driver, fd, claim, &error) == 0, "%s",
			      error.text);
		close(fd);
	} else {
		ck_assert_msg(resources_give_back(resources, claim, &error) == 0, "%s", error.text);
	}
}

/* The nth step fails, for every n until there is none, with each of these. */
START_TEST(test_fail_nth)
{
	static const int errnos[] = { EIO, EBUSY, ENOMEM, EINTR, ENODEV, ENOSPC };
	unsigned n = 0;

	for (;;) {
		struct claim *claim;
		int fd, r;

		n++;
		fake->step = 0;
		fake->step_at = n;
		fake->mode = FAKE_FAIL;
		fake->fail_errno = errnos[_i];
		r = boot(&claim, &fd);
		if (r < 0) {
			ck_assert_int_ne(error.id, POPCORN_ERROR_NONE);
			ck_assert_uint_gt(strlen(error.text), 0);
		} else {
			ck_assert_int_eq(fake_kernel(fake, "db0")->state, POPCORN_STATE_RUNNING);
			ck_assert_uint_eq(fake_taken(fake), MEMORY);
			r = stop_kernel(driver, fd, 50000, &operation, &error);
			if (r >= 0)
				r = release_kernel(resources, driver, fd, claim, &error);
			close(fd);
		}
		if (r < 0 && (claim_holds(claim) || fake_kernel(fake, "db0")))
			clean_up(claim);
		ck_assert(!claim_holds(claim));
		claim_free(claim);
		fake_check_whole(fake);
		if (fake->step < n)
			break;
	}
	ck_assert_uint_gt(n, 20);
	ck_assert_uint_eq(resources_free_cpus(resources), 3);
	ck_assert_uint_eq(resources_free_memory(resources), 6 * FAKE_BLOCK_SIZE);
}
END_TEST

static void recover_one(void *userdata, const char *name, uint32_t id, struct claim *claim)
{
	struct popcorn_error e = { 0 };
	int fd;

	(void)userdata;
	ck_assert_str_eq(name, "db0");
	ck_assert(claim_holds(claim));
	ck_assert_int_eq(driver->ops->open(driver, id, &fd), 0);
	ck_assert_int_ge(stop_kernel(driver, fd, 50000, &operation, &e), 0);
	ck_assert_msg(release_kernel(resources, driver, fd, claim, &e) == 0, "%s", e.text);
	claim_free(claim);
	close(fd);
}

/* popcornd dies before (0) or right after (1) the nth step; the next one finds the machine so. */
START_TEST(test_crash_nth)
{
	unsigned n = 0;

	for (;;) {
		int status;
		pid_t pid;

		n++;
		fake->step = 0;
		fake->step_at = n;
		fake->mode = _i ? FAKE_CRASH_AFTER : FAKE_CRASH_BEFORE;
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			struct claim *claim;
			int fd;

			if (boot(&claim, &fd) < 0 ||
			    stop_kernel(driver, fd, USEC_PER_SEC, &operation, &error) < 0 ||
			    release_kernel(resources, driver, fd, claim, &error) < 0)
				_exit(1);
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFEXITED(status));
		fake->step_at = 0;
		if (WEXITSTATUS(status) == 0)
			break;
		ck_assert_int_eq(WEXITSTATUS(status), FAKE_CRASHED);

		resources_free(resources);
		error = (struct popcorn_error){ 0 };
		ck_assert_int_eq(
			resources_new(&config, driver, fake->root, run, &resources, &error), 0);
		ck_assert_msg(resources_recover(resources, recover_one, NULL, &error) == 0, "%s",
			      error.text);
		fake_check_whole(fake);
		ck_assert_uint_eq(resources_free_cpus(resources), 3);
	}
	ck_assert_uint_gt(n, 20);
	fake_check_whole(fake);
}
END_TEST

/* An image with something in it, and the module for it. */
static size_t write_packed_kernel(const uint8_t *payload, size_t size)
{
	uint8_t data[VML_FILE_ROOM];

	size = vml_bzimage(data, payload, size);
	fake_write_file(fake, "/boot/vmlinuz", data, size);
	fake_write_file(fake, "/lib/modules/" SAMPLE_RELEASE "/updates/popcorn_msg.ko", "module",
			6);
	fake_write_file(fake, "/lib/modules/" SAMPLE_RELEASE "/updates/popcorn_guest.ko", "module",
			6);
	fake_write_file(fake, "/lib/modules/" SAMPLE_RELEASE "/updates/popcorn_vty.ko", "module",
			6);
	return size;
}

/* Whether a boot enters it directly, or its decompressor. */
static bool boots_directly(const struct vml_sample *sample)
{
	const struct fake_kernel *kernel;
	struct claim *claim;
	uint64_t offset;
	size_t i = 0;
	int fd;

	ck_assert_msg(boot(&claim, &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "db0");
	while (kernel->entry - kernel->loaded[i].start >= kernel->loaded[i].size)
		i++;
	offset = kernel->entry - kernel->loaded[i].start;
	if (offset == VML_ENTRY)
		ck_assert_mem_eq(kernel->loaded[i].bytes, sample->data + VML_SEGMENTS, 16);
	else
		ck_assert_uint_eq(offset, 0x200);
	end(claim, fd);
	return offset == VML_ENTRY;
}

START_TEST(test_fast_boot)
{
	static const uint8_t lz4[16] = { 0x02, 0x21, 0x4c, 0x18 };
	char cache[PATH_MAX + 32], kept[PATH_MAX + 300] = "";
	struct vml_sample sample;
	uint8_t packed[VML_ROOM];
	struct dirent *found;
	struct stat st, again;
	size_t size;
	DIR *dir;

	snprintf(cache, sizeof(cache), "%s/cache", fake->root);
	config.cache = cache;
	vml_init(&sample);
	vml_add_relocs(&sample, 3);
	size = vml_pack(VML_XZ, sample.data, sample.size, packed, sizeof(packed));
	write_packed_kernel(packed, size);

	/* Not wanted. */
	ck_assert(!boots_directly(&sample));
	ck_assert_int_eq(access(cache, F_OK), -1);

	/* Looking is not enough. */
	config.fast_boot = true;
	ck_assert_int_eq(boot_check(&config, &def, NULL, &error), 0);
	ck_assert_int_eq(access(cache, F_OK), -1);
	ck_assert(boots_directly(&sample));
	dir = opendir(cache);
	ck_assert_ptr_nonnull(dir);
	while ((found = readdir(dir)))
		if (found->d_name[0] != '.')
			snprintf(kept, sizeof(kept), "%s/%s", cache, found->d_name);
	closedir(dir);
	ck_assert_int_eq(stat(kept, &st), 0);

	/* From there; it does not change, though the kernel was moved. */
	ck_assert(boots_directly(&sample));
	ck_assert_int_eq(stat(kept, &again), 0);
	ck_assert_uint_eq(st.st_ino, again.st_ino);
	ck_assert(boots_directly(&sample));

	/* What is there is of no use: made again. */
	ck_assert_int_eq(truncate(kept, 5000), 0);
	ck_assert(boots_directly(&sample));
	ck_assert_int_eq(stat(kept, &again), 0);
	ck_assert_int_eq(st.st_size, again.st_size);

	/* No place to keep it. */
	config.cache = config.agent;
	ck_assert(boots_directly(&sample));
	config.cache = cache;

	/* Something that we can't unpack unpacks itself, whatever is kept of what was there before. */
	write_packed_kernel(lz4, sizeof(lz4));
	ck_assert(!boots_directly(&sample));

	/* What is damaged would not. */
	memset(packed + size / 2, 0, size / 4);
	write_packed_kernel(packed, size);
	fails(POPCORN_ERROR_IMAGE_INVALID, "damaged");
	config.fast_boot = false;
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("operations");
	TCase *tc = tcase_create("operations");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, make, unmake);
	tcase_add_test(tc, test_boot);
	tcase_add_test(tc, test_devices);
	tcase_add_test(tc, test_checked_files);
	tcase_add_test(tc, test_turn);
	tcase_add_test(tc, test_shell);
	tcase_add_test(tc, test_stop);
	tcase_add_test(tc, test_stop_asks_the_agent);
	tcase_add_test(tc, test_dies_while_booting);
	tcase_add_test(tc, test_timeout);
	tcase_add_test(tc, test_cancel);
	tcase_add_test(tc, test_refused_by_driver);
	tcase_add_test(tc, test_stuck);
	tcase_add_test(tc, test_bad_files);
	tcase_add_test(tc, test_modules);
	tcase_add_test(tc, test_no_terminals);
	tcase_add_test(tc, test_drivers);
	tcase_add_test(tc, test_fast_boot);
	tcase_add_loop_test(tc, test_fail_nth, 0, 6);
	tcase_add_loop_test(tc, test_crash_nth, 0, 2);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
