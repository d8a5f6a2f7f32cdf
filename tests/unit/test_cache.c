// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cache.h"
#include "run.h"
#include "util.h"

static char top[64], folder[80];
static uint8_t data[20001];

static void setup(void)
{
	strcpy(top, "/tmp/popcorn-cache-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(folder, sizeof(folder), "%s/a/b", top);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i % 253);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	ck_assert_int_eq(system(command), 0);
}

static struct cache_key key_of(unsigned n)
{
	struct stat st = { .st_dev = 8, .st_ino = n, .st_mtim = { 1, 2 }, .st_ctim = { 3, 4 } };
	struct cache_key key;

	cache_key_init(&key, &st, "image", 5);
	return key;
}

static void store(unsigned n)
{
	struct cache_key key = key_of(n);

	ck_assert_int_eq(cache_store(folder, &key, data, sizeof(data)), 0);
}

static bool has(unsigned n)
{
	struct cache_key key = key_of(n);
	void *p = NULL;
	size_t size;
	int r = cache_load(folder, &key, &p, &size);

	if (r < 0) {
		ck_assert_int_eq(r, -ENOENT);
		ck_assert_ptr_null(p);
		return false;
	}
	ck_assert_uint_eq(size, sizeof(data));
	ck_assert_mem_eq(p, data, size);
	/* It is the caller's own. */
	memset(p, 0, size);
	munmap(p, size);
	return true;
}

/* The only file, or the one with the newest time. */
static const char *file(void)
{
	static char path[400];
	struct timespec newest = { 0 };
	struct dirent *found;
	DIR *dir = opendir(folder);

	ck_assert_ptr_nonnull(dir);
	while ((found = readdir(dir))) {
		char one[sizeof(path)];
		struct stat st;

		snprintf(one, sizeof(one), "%s/%s", folder, found->d_name);
		ck_assert_int_eq(lstat(one, &st), 0);
		if (found->d_name[0] == '.' || st.st_mtim.tv_sec < newest.tv_sec ||
		    (st.st_mtim.tv_sec == newest.tv_sec && st.st_mtim.tv_nsec < newest.tv_nsec))
			continue;
		newest = st.st_mtim;
		strcpy(path, one);
	}
	closedir(dir);
	return path;
}

static size_t count(void)
{
	struct dirent *found;
	DIR *dir = opendir(folder);
	size_t n = 0;

	while ((found = readdir(dir)))
		n += found->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* Last used so many seconds ago. */
static void age(unsigned n, time_t seconds)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { 0 } };

	ck_assert(has(n));
	clock_gettime(CLOCK_REALTIME, &times[1]);
	times[1].tv_sec -= seconds;
	ck_assert_int_eq(utimensat(AT_FDCWD, file(), times, 0), 0);
}

START_TEST(test_hit_and_miss)
{
	ck_assert(!has(1));
	store(1);
	ck_assert(has(1));
	ck_assert(has(1));
	ck_assert(!has(2));
	store(2);
	ck_assert(has(1) && has(2));
	ck_assert_uint_eq(count(), 2);
	/* Again: still one. */
	store(2);
	ck_assert_uint_eq(count(), 2);
	ck_assert(has(2));
}
END_TEST

START_TEST(test_key)
{
	const struct stat st = {
		.st_dev = 1, .st_ino = 2, .st_mtim = { 3, 4 }, .st_ctim = { 5, 6 }
	};
	struct cache_key key, other;
	struct stat changed;

	cache_key_init(&key, &st, "abc", 3);
	for (int i = 0; i < 9; i++) {
		changed = st;
		changed.st_dev += i == 0;
		changed.st_ino += i == 1;
		changed.st_mtim.tv_sec += i == 2;
		changed.st_mtim.tv_nsec += i == 3;
		changed.st_ctim.tv_sec += i == 4;
		changed.st_ctim.tv_nsec += i == 5;
		cache_key_init(&other, &changed,
			       i == 6	? "abd"
			       : i == 7 ? "acb"
					: "abc",
			       i == 8 ? 2 : 3);
		ck_assert_mem_ne(&key, &other, sizeof(key));
	}
	cache_key_init(&other, &st, "abc", 3);
	ck_assert_mem_eq(&key, &other, sizeof(key));
}
END_TEST

START_TEST(test_damaged)
{
	struct stat st;

	store(1);
	ck_assert_int_eq(stat(file(), &st), 0);
	/* The header, whose page is not full, and the contents. */
	for (off_t at = 0; at < st.st_size; at += at < 95 ? 1 : at < 4096 ? 4001 : 1111) {
		int fd = open(file(), O_RDWR);
		uint8_t byte;

		ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
		byte ^= 0x40;
		ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
		close(fd);
		ck_assert_msg(!has(1), "byte %d", (int)at);
		store(1);
		ck_assert(has(1));
	}
	for (off_t size = 0; size < st.st_size; size += 501) {
		ck_assert_int_eq(truncate(file(), size), 0);
		ck_assert(!has(1));
		store(1);
	}
	ck_assert_int_eq(truncate(file(), st.st_size + 1), 0);
	ck_assert(!has(1));
	store(1);
	ck_assert(has(1));
}
END_TEST

START_TEST(test_not_ours)
{
	char path[400], copy[128];

	store(1);
	strcpy(path, file());
	ck_assert_int_eq(chmod(path, 0620), 0);
	ck_assert(!has(1));
	ck_assert_int_eq(chmod(path, 0602), 0);
	ck_assert(!has(1));
	ck_assert_int_eq(chmod(path, 0600), 0);
	ck_assert(has(1));
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(path, 1, 1), 0);
		ck_assert(!has(1));
		ck_assert_int_eq(chown(path, 0, 0), 0);
	}
	snprintf(copy, sizeof(copy), "%s/copy", top);
	ck_assert_int_eq(rename(path, copy), 0);
	ck_assert_int_eq(symlink(copy, path), 0);
	ck_assert(!has(1));
	/* What is in the way goes; where a link leads to stays. */
	store(1);
	ck_assert(has(1));
	ck_assert_int_eq(access(copy, F_OK), 0);
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert(!has(1));
	store(1);
	ck_assert(has(1));
	/* Under the name of another key. */
	store(2);
	unlink(path);
	ck_assert_int_eq(rename(file(), path), 0);
	ck_assert(!has(1));
	ck_assert(!has(2));
}
END_TEST

START_TEST(test_interrupted)
{
	char path[200];
	int fd;

	store(1);
	snprintf(path, sizeof(path), "%s/new", folder);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_eq(write(fd, data, 100), 100);
	close(fd);
	store(2);
	ck_assert(has(1) && has(2));
	ck_assert_uint_eq(count(), 2);
}
END_TEST

START_TEST(test_evict)
{
	char path[200];

	/* The order in which they are used is not that in which they came. */
	for (unsigned i = 1; i <= CACHE_FILES_MAX; i++)
		store(i);
	for (unsigned i = 1; i <= CACHE_FILES_MAX; i++)
		age(i, i == 1 ? 10 : 1000 * (time_t)i);
	snprintf(path, sizeof(path), "%s/notes", folder);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	store(9);
	ck_assert_uint_eq(count(), CACHE_FILES_MAX + 1);
	ck_assert(has(1) && has(9) && !has(CACHE_FILES_MAX));
	for (unsigned i = 2; i < CACHE_FILES_MAX; i++)
		ck_assert(has(i));
	ck_assert_int_eq(access(path, F_OK), 0);
	/* Many more at once. */
	for (unsigned i = 20; i < 40; i++)
		store(i);
	ck_assert_uint_eq(count(), CACHE_FILES_MAX + 1);
	ck_assert(has(39));
}
END_TEST

START_TEST(test_size)
{
	struct cache_key key = key_of(3);
	char path[200];

	store(1);
	age(1, 5000);
	/* One that leaves no room for another. */
	snprintf(path, sizeof(path), "%s/kernel-0123456789abcdef", folder);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	ck_assert_int_eq(truncate(path, (off_t)CACHE_BYTES_MAX - 30000), 0);
	store(2);
	ck_assert(has(2) && !has(1));
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(truncate(path, (off_t)CACHE_BYTES_MAX), 0);
	store(4);
	ck_assert(has(2) && has(4));
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(cache_store(folder, &key, data, CACHE_BYTES_MAX), -EFBIG);
	ck_assert(has(2) && has(4));
}
END_TEST

START_TEST(test_no_folder)
{
	struct cache_key key = key_of(1);
	char path[128];

	/* A file is where it should be. */
	snprintf(path, sizeof(path), "%s/a", top);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	ck_assert_int_lt(cache_store(folder, &key, data, sizeof(data)), 0);
	ck_assert(!has(1));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cache");
	TCase *tc = tcase_create("cache");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_hit_and_miss);
	tcase_add_test(tc, test_key);
	tcase_add_test(tc, test_damaged);
	tcase_add_test(tc, test_not_ours);
	tcase_add_test(tc, test_interrupted);
	tcase_add_test(tc, test_evict);
	tcase_add_test(tc, test_size);
	tcase_add_test(tc, test_no_folder);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
