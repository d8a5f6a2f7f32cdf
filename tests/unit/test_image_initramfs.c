// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image.h"
#include "run.h"

static struct popcorn_error error;

static void setup(void)
{
	memset(&error, 0, sizeof(error));
}

/* Byte by byte: one file, its parent, the trailer. */
START_TEST(test_bytes)
{
	static const char expected[] = "070701"
				       "00000001"
				       "000041ED"
				       "00000000"
				       "00000000"
				       "00000002"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000002"
				       "00000000"
				       "d\0"
				       "070701"
				       "00000002"
				       "00008180"
				       "00000000"
				       "00000000"
				       "00000001"
				       "00000000"
				       "00000005"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000004"
				       "00000000"
				       "d/f\0\0\0"
				       "hello\0\0\0"
				       "070701"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000001"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "0000000B"
				       "00000000"
				       "TRAILER!!!\0\0\0\0";
	const struct initramfs_file file = { "d/f", S_IFREG | 0600, "hello", 5, 7, 9 };
	void *data;
	size_t size;

	ck_assert_int_eq(initramfs_build(NULL, 0, &file, 1, &data, &size, &error), 0);
	ck_assert_uint_eq(size, sizeof(expected) - 1);
	ck_assert_mem_eq(data, expected, size);
	free(data);
}
END_TEST

static const struct initramfs_file files[] = {
	{ "popcorn/modules", S_IFDIR | 0700, NULL, 0, 0, 0 },
	{ "popcorn/modules/a.ko", S_IFREG | 0644, "abcdefg", 7, 0, 0 },
	{ "popcorn/modules/b/c.ko", S_IFREG | 0644, "", 0, 0, 0 },
	{ "popcorn/link", S_IFLNK | 0777, "modules/a.ko", 12, 0, 0 },
	{ "dev/console", S_IFCHR | 0600, NULL, 0, 5, 1 },
	{ "popcorn-agent", S_IFREG | 0755, "#!/bin/sh\n", 10, 0, 0 },
};
#define N_FILES (sizeof(files) / sizeof(files[0]))

static void run_cpio(const void *data, size_t size, const char *options, char *out, size_t room)
{
	char archive[] = "/tmp/popcorn-cpio-XXXXXX", command[256];
	int fd = mkstemp(archive);
	size_t n;
	FILE *p;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
	close(fd);
	snprintf(command, sizeof(command), "cpio --quiet %s <%s 2>&1", options, archive);
	p = popen(command, "re");
	ck_assert_ptr_nonnull(p);
	n = fread(out, 1, room - 1, p);
	out[n] = '\0';
	ck_assert_int_eq(pclose(p), 0);
	unlink(archive);
}

START_TEST(test_cpio_reads_it)
{
	char out[4096];
	void *data;
	size_t size;

	ck_assert_int_eq(initramfs_build(NULL, 0, files, N_FILES, &data, &size, &error), 0);
	run_cpio(data, size, "-t", out, sizeof(out));
	/* Each directory once, and before what is in it. */
	ck_assert_str_eq(out, "popcorn\n"
			      "popcorn/modules\n"
			      "popcorn/modules/a.ko\n"
			      "popcorn/modules/b\n"
			      "popcorn/modules/b/c.ko\n"
			      "popcorn/link\n"
			      "dev\n"
			      "dev/console\n"
			      "popcorn-agent\n");
	run_cpio(data, size, "-tv -n", out, sizeof(out));
	ck_assert_ptr_nonnull(strstr(out, "drwx------   2 0        0"));
	ck_assert_ptr_nonnull(strstr(out, "popcorn/link -> modules/a.ko"));
	ck_assert_ptr_nonnull(strstr(out, "crw-------   1 0        0          5,   1"));
	ck_assert_ptr_nonnull(strstr(out, "-rwxr-xr-x   1 0        0              10 Jan  1  1970 "
					  "popcorn-agent"));
	run_cpio(data, size, "-i --to-stdout popcorn/modules/a.ko", out, sizeof(out));
	ck_assert_str_eq(out, "abcdefg");
	free(data);
}
END_TEST

START_TEST(test_same_every_time)
{
	void *one, *two;
	size_t size_one, size_two;

	ck_assert_int_eq(initramfs_build("ab", 2, files, N_FILES, &one, &size_one, &error), 0);
	ck_assert_int_eq(initramfs_build("ab", 2, files, N_FILES, &two, &size_two, &error), 0);
	ck_assert_uint_eq(size_one, size_two);
	ck_assert_mem_eq(one, two, size_one);
	free(one);
	free(two);
}
END_TEST

/* The user's comes first, unchanged; zeros up to a multiple of 4; then ours. */
START_TEST(test_users_initrd)
{
	char initrd[9];
	uint8_t *data;
	size_t size;

	memset(initrd, 0xfe, sizeof(initrd));
	for (size_t n = 0; n <= sizeof(initrd); n++) {
		size_t start = (n + 3) / 4 * 4;

		ck_assert_int_eq(
			initramfs_build(initrd, n, files, N_FILES, (void **)&data, &size, &error),
			0);
		ck_assert_mem_eq(data, initrd, n);
		for (size_t i = n; i < start; i++)
			ck_assert_uint_eq(data[i], 0);
		ck_assert_mem_eq(data + start, "070701", 6);
		ck_assert_uint_eq(size % 4, 0);
		free(data);
	}
}
END_TEST

START_TEST(test_no_files)
{
	void *data;
	size_t size;

	ck_assert_int_eq(initramfs_build(NULL, 0, NULL, 0, &data, &size, &error), 0);
	ck_assert_uint_eq(size, 124);
	free(data);
}
END_TEST

static void refuse(const struct initramfs_file *file, enum popcorn_error_id id)
{
	void *data = (void *)1;
	size_t size = 99;

	memset(&error, 0, sizeof(error));
	ck_assert_int_eq(initramfs_build(NULL, 0, file, 1, &data, &size, &error),
			 -popcorn_error_errno(id));
	ck_assert_int_eq(error.id, id);
	ck_assert_ptr_eq(data, (void *)1);
	ck_assert_uint_eq(size, 99);
}

START_TEST(test_bad_paths)
{
	static char name[NAME_MAX + 2], path[PATH_MAX + 2];
	const char *const bad[] = { NULL, "",	    "/a",    "a/",	   "a//b",	   ".",
				    "..", "a/../b", "a/./b", "TRAILER!!!", "TRAILER!!!/a", name,
				    path };

	memset(name, 'n', NAME_MAX + 1);
	for (size_t i = 0; i < PATH_MAX; i++)
		path[i] = i % 2 ? '/' : 'a';
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct initramfs_file file = { bad[i], S_IFREG | 0644, NULL, 0, 0, 0 };

		refuse(&file, POPCORN_ERROR_INVALID_ARGUMENT);
	}
}
END_TEST

START_TEST(test_bad_modes)
{
	refuse(&(struct initramfs_file){ "a", 0644, NULL, 0, 0, 0 },
	       POPCORN_ERROR_INVALID_ARGUMENT);
	refuse(&(struct initramfs_file){ "a", S_IFIFO | 0644, NULL, 0, 0, 0 },
	       POPCORN_ERROR_INVALID_ARGUMENT);
	refuse(&(struct initramfs_file){ "a", S_IFDIR | 0755, "x", 1, 0, 0 },
	       POPCORN_ERROR_INVALID_ARGUMENT);
	refuse(&(struct initramfs_file){ "a", S_IFCHR | 0600, "x", 1, 5, 1 },
	       POPCORN_ERROR_INVALID_ARGUMENT);
	refuse(&(struct initramfs_file){ "a", S_IFLNK | 0777, "", 0, 0, 0 },
	       POPCORN_ERROR_INVALID_ARGUMENT);
	refuse(&(struct initramfs_file){ "a", S_IFLNK | 0777, "x", PATH_MAX, 0, 0 },
	       POPCORN_ERROR_INVALID_ARGUMENT);
	refuse(&(struct initramfs_file){ "a", S_IFREG | 0644, "x", 1ull << 32, 0, 0 },
	       POPCORN_ERROR_LIMIT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("initramfs");
	TCase *tc = tcase_create("initramfs");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_bytes);
	tcase_add_test(tc, test_cpio_reads_it);
	tcase_add_test(tc, test_same_every_time);
	tcase_add_test(tc, test_users_initrd);
	tcase_add_test(tc, test_no_files);
	tcase_add_test(tc, test_bad_paths);
	tcase_add_test(tc, test_bad_modes);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
