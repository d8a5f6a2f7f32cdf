// SPDX-License-Identifier: GPL-2.0-or-later
/* The files of /sys and /proc, and what is made of them: util.c, sysfs.c, memory.c, lease.c. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "lease.h"
#include "memory.h"
#include "run.h"
#include "sysfs.h"
#include "util.h"

static char root[64];

static void setup(void)
{
	strcpy(root, "/tmp/popcorn-memory-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", root);
	ck_assert_int_eq(system(command), 0);
}

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s%s", root, name);
	return path;
}

static void put(const char *name, const void *data, size_t size)
{
	char folder[256];
	FILE *f;

	strcpy(folder, path_of(name));
	*strrchr(folder, '/') = '\0';
	ck_assert_int_eq(make_folders(folder, 0755), 0);
	f = fopen(path_of(name), "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
	fclose(f);
}

static void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

START_TEST(test_read_file)
{
	char large[5000];
	void *data = NULL;
	size_t size;

	memset(large, 'x', sizeof(large));
	put("/f", large, sizeof(large));
	ck_assert_int_eq(read_file(path_of("/f"), 5000, &data, &size), 0);
	ck_assert_uint_eq(size, 5000);
	ck_assert_int_eq(((char *)data)[5000], '\0');
	free(data);
	ck_assert_int_eq(read_file(path_of("/f"), 4999, &data, &size), -EFBIG);
	ck_assert_int_eq(read_file(path_of("/g"), 4999, &data, &size), -ENOENT);
	ck_assert_int_eq(read_file(root, 4999, &data, &size), -EISDIR);
	ck_assert_int_eq(read_file("/dev/zero", 4999, &data, &size), -ENODEV);
	ck_assert_int_eq(mkfifo(path_of("/fifo"), 0600), 0);
	ck_assert_int_eq(read_file(path_of("/fifo"), 4999, &data, &size), -ENODEV);
	put("/empty", "", 0);
	ck_assert_int_eq(read_file(path_of("/empty"), 10, &data, &size), 0);
	ck_assert_uint_eq(size, 0);
	free(data);
	/* Files whose size is not known before. */
	ck_assert_int_eq(read_file("/proc/self/maps", 1 << 20, &data, &size), 0);
	ck_assert_uint_gt(size, 100);
	free(data);
	ck_assert_int_eq(read_file("/proc/self/maps", 100, &data, &size), -EFBIG);
}
END_TEST

START_TEST(test_small_things)
{
	struct pollfd none = { -1, POLLIN, 0 };
	uint64_t before = now_usec();
	int fd;

	ck_assert_str_eq(SIZE_TEXT(0), "0 bytes");
	ck_assert_str_eq(SIZE_TEXT(1023), "1023 bytes");
	ck_assert_str_eq(SIZE_TEXT(512 * MIB), "512 MiB");
	ck_assert_str_eq(SIZE_TEXT(3 * 1024 * MIB), "3 GiB");
	ck_assert_str_eq(SIZE_TEXT(1536 * MIB), "1536 MiB");
	ck_assert_str_eq(SIZE_TEXT(UINT64_MAX), "18446744073709551615 bytes");

	ck_assert_int_eq(poll_until(&none, 1, before + 20000), 0);
	ck_assert_uint_ge(now_usec(), before + 20000);
	ck_assert_int_eq(poll_until(&none, 1, 0), 0);
	fd = eventfd(1, 0);
	none.fd = fd;
	ck_assert_int_eq(poll_until(&none, 1, UINT64_MAX), 1);
	close(fd);
	ck_assert_int_eq(make_folders(path_of("/a/b/c"), 0700), 0);
	ck_assert_int_eq(make_folders(path_of("/a/b/c"), 0700), 0);
	put_text("/a/file", "");
	ck_assert_int_eq(make_folders(path_of("/a/file/d"), 0700), -ENOTDIR);
}
END_TEST

START_TEST(test_sysfs)
{
	hwloc_bitmap_t set;
	char line[8];
	uint64_t n;

	put_text("/x/line", "online\nrest");
	ck_assert_int_eq(sysfs_read(root, line, sizeof(line), "/%s/line", "x"), 0);
	ck_assert_str_eq(line, "online");
	ck_assert_int_eq(sysfs_read(root, line, 7, "/x/line"), 0);
	ck_assert_int_eq(sysfs_read(root, line, 6, "/x/line"), -EOVERFLOW);
	ck_assert_int_eq(sysfs_read(root, line, 6, "/x/none"), -ENOENT);
	put_text("/x/hex", "8000000\n");
	ck_assert_int_eq(sysfs_read_number(root, 16, &n, "/x/hex"), 0);
	ck_assert_uint_eq(n, 128 * MIB);
	ck_assert_int_eq(sysfs_read_number(root, 10, &n, "/x/line"), -EINVAL);
	put_text("/x/minus", "-3\n");
	ck_assert_int_eq(sysfs_read_number(root, 10, &n, "/x/minus"), -EINVAL);
	put_text("/x/list", "0-3,7\n");
	ck_assert_int_eq(sysfs_read_list(root, &set, "/x/list"), 0);
	ck_assert_int_eq(hwloc_bitmap_weight(set), 5);
	hwloc_bitmap_free(set);
	put_text("/x/list", "nonsense\n");
	ck_assert_int_eq(sysfs_read_list(root, &set, "/x/list"), -EINVAL);
	put_text("/x/empty", "\n");
	ck_assert_int_eq(sysfs_read_list(root, &set, "/x/empty"), 0);
	ck_assert(hwloc_bitmap_iszero(set));
	hwloc_bitmap_free(set);

	ck_assert_int_eq(sysfs_write(root, "abc", "/x/line"), 0);
	ck_assert_int_eq(sysfs_read(root, line, sizeof(line), "/x/line"), 0);
	ck_assert_int_eq(memcmp(line, "abc", 3), 0);
	ck_assert_int_eq(sysfs_write(root, "abc", "/x/none"), -ENOENT);
	ck_assert_int_eq(sysfs_write("", "abc", "/dev/full"), -ENOSPC);
}
END_TEST

START_TEST(test_interruptible)
{
	int cancel_fd = eventfd(0, EFD_CLOEXEC);
	uint64_t before;
	sigset_t all;

	put_text("/line", "");
	ck_assert_int_eq(sysfs_write_interruptible(root, "x", "/line", UINT64_MAX, -1), 0);
	ck_assert_int_eq(sysfs_write_interruptible(root, "x", "/none", UINT64_MAX, -1), -ENOENT);
	ck_assert_int_eq(sysfs_write_interruptible("", "x", "/dev/full", UINT64_MAX, cancel_fd),
			 -ENOSPC);

	/* A FIFO that nobody reads: opening it waits inside the kernel until a signal comes. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	ck_assert_int_eq(mkfifo(path_of("/fifo"), 0600), 0);
	before = now_usec();
	ck_assert_int_eq(sysfs_write_interruptible(root, "x", "/fifo", before + 30000, -1), -ETIME);
	ck_assert_uint_ge(now_usec(), before + 30000);
	ck_assert_int_eq(sysfs_write_interruptible(root, "x", "/fifo", 0, -1), -ETIME);
	eventfd_write(cancel_fd, 1);
	ck_assert_int_eq(sysfs_write_interruptible(root, "x", "/fifo", UINT64_MAX, cancel_fd),
			 -ECANCELED);
	close(cancel_fd);
}
END_TEST

START_TEST(test_blocks)
{
	struct block *blocks;
	uint64_t size;
	bool online;
	size_t n;

	ck_assert_int_eq(blocks_read(root, &blocks, &n), -ENOENT);
#define MEM "/sys/devices/system/memory"
	put_text(MEM "/block_size_bytes", "8000000\n");
	ck_assert_int_eq(block_size_read(root, &size), 0);
	ck_assert_uint_eq(size, 128 * MIB);
	put_text(MEM "/block_size_bytes", "7000000\n");
	ck_assert_int_eq(block_size_read(root, &size), -EINVAL);
	put_text(MEM "/block_size_bytes", "0\n");
	ck_assert_int_eq(block_size_read(root, &size), -EINVAL);

	put_text(MEM "/memory0/state", "online\n");
	put_text(MEM "/memory0/valid_zones", "Normal\n");
	put_text(MEM "/memory100/state", "online\n");
	put_text(MEM "/memory100/valid_zones", "Movable\n");
	put_text(MEM "/memory9/state", "offline\n");
	put_text(MEM "/memory9/valid_zones", "Normal Movable\n");
	put_text(MEM "/memory10/state", "going-offline\n");
	put_text(MEM "/memory10/valid_zones", "none\n");
	put_text(MEM "/memory11/state", "online\n");
	put_text(MEM "/memory11/valid_zones", "DMA\n");
	put_text(MEM "/memoryx/state", "online\n");
	put_text(MEM "/memory12/gone", "");
	/* Without folders of nodes all are on node 0. */
	ck_assert_int_eq(blocks_read(root, &blocks, &n), 0);
	ck_assert_uint_eq(n, 5);
	free(blocks);
	put_text("/sys/devices/system/node/node3/memory100", "");
	put_text("/sys/devices/system/node/node3/memory77", "");
	put_text("/sys/devices/system/node/nodes/memory9", "");
	ck_assert_int_eq(blocks_read(root, &blocks, &n), 0);
	ck_assert_uint_eq(n, 5);
	ck_assert_uint_eq(blocks[0].index, 0);
	ck_assert_uint_eq(blocks[1].index, 9);
	ck_assert_uint_eq(blocks[4].index, 100);
	ck_assert_uint_eq(blocks[4].node, 3);
	ck_assert_int_eq(block_rank(&blocks[0]), ZONE_RANK_NONE); /* block 0 */
	ck_assert_int_eq(block_rank(&blocks[1]), ZONE_RANK_NONE); /* offline */
	ck_assert_int_eq(block_rank(&blocks[2]), ZONE_RANK_NONE); /* several zones */
	ck_assert_int_eq(block_rank(&blocks[3]), ZONE_RANK_NONE); /* DMA */
	ck_assert_int_eq(block_rank(&blocks[4]), ZONE_RANK_MOVABLE);
	free(blocks);

	ck_assert_int_eq(block_state(root, 9, &online), 0);
	ck_assert(!online);
	ck_assert_int_eq(block_state(root, 10, &online), 0);
	ck_assert(online);
	ck_assert_int_eq(block_state(root, 1000, &online), -ENOENT);

	/* Into the zone that it came from. */
	static const struct {
		const char *zone, *how;
	} ways[] = { { "Movable", "online_movable" },
		     { "Normal", "online_kernel" },
		     { "DMA32", "online_kernel" },
		     { "", "online\n" } };
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct block block = { .index = 9 };
		char state[32];

		strcpy(block.zone, ways[i].zone);
		put_text(MEM "/memory9/state", "offline\n");
		ck_assert_int_eq(block_online(root, &block), 0);
		ck_assert_int_eq(sysfs_read(root, state, sizeof(state), MEM "/memory9/state"), 0);
		ck_assert_int_eq(strncmp(state, ways[i].how, strcspn(ways[i].how, "\n")), 0);
	}
	ck_assert_int_eq(block_online(root, &(struct block){ .index = 1000 }), -ENOENT);
}
END_TEST

START_TEST(test_page_map)
{
	const size_t pages = UNIT_SIZE / PAGE_SIZE_BYTES;
	uint64_t flags[2 * UNIT_SIZE / PAGE_SIZE_BYTES];
	struct page_counts counts;
	int fd;

	ck_assert_int_lt(page_map_open(root), 0);
	for (size_t i = 0; i < 2 * pages; i++)
		flags[i] = 1ULL << (i < pages ? KPF_BUDDY : KPF_LRU);
	flags[3] = 1ULL << KPF_SLAB;
	flags[4] = 0;
	flags[pages] = 1ULL << 32; /* reserved */
	flags[pages + 1] = (1ULL << KPF_LRU) | (1ULL << KPF_DIRTY);
	flags[pages + 2] = 1ULL << KPF_NOPAGE;
	put("/proc/kpageflags", flags, sizeof(flags));
	fd = page_map_open(root);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(page_map_count(fd, 0, UNIT_SIZE, &counts), 0);
	ck_assert(counts.fixed == 1 && counts.unknown == 1);
	ck_assert_int_eq(page_map_count(fd, UNIT_SIZE, UNIT_SIZE, &counts), 0);
	ck_assert(counts.fixed == 2 && counts.unknown == 0);
	ck_assert_int_eq(page_map_count(fd, 0, 2 * UNIT_SIZE, &counts), 0);
	ck_assert(counts.fixed == 3 && counts.unknown == 1);
	ck_assert_int_eq(page_map_count(fd, 2 * UNIT_SIZE, UNIT_SIZE, &counts), -ENODATA);
	close(fd);
}
END_TEST

START_TEST(test_available)
{
	ck_assert_uint_eq(memory_available(root), UINT64_MAX);
	put_text("/proc/meminfo", "MemTotal: 5 kB\nMemAvailable:    2048 kB\nBuffers: 1 kB\n");
	ck_assert_uint_eq(memory_available(root), 2 * MIB);
	put_text("/proc/meminfo", "MemTotal: 5 kB\n");
	ck_assert_uint_eq(memory_available(root), UINT64_MAX);
}
END_TEST

START_TEST(test_lease)
{
	struct block blocks[] = { { .index = 12, .node = 3, .zone = "Movable" },
				  { .index = 1ULL << 40, .zone = "" } };
	struct lease lease = { .memory = 1ULL << 50, .blocks = blocks, .n_blocks = 2 }, read;
	struct popcorn_error error = { 0 };

	ck_assert_int_eq(lease_read(root, "db0", &read, &error), -ENOENT);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NONE);
	ck_assert_int_eq(lease_write(root, "db0", &lease, "2-3", "3:1,4:2"), 0);
	ck_assert_int_eq(lease_read(root, "db0", &read, &error), 0);
	ck_assert_uint_eq(read.memory, lease.memory);
	ck_assert_uint_eq(read.n_blocks, 2);
	ck_assert_uint_eq(read.blocks[0].index, 12);
	ck_assert_uint_eq(read.blocks[0].node, 3);
	ck_assert_str_eq(read.blocks[0].zone, "Movable");
	ck_assert_uint_eq(read.blocks[1].index, 1ULL << 40);
	lease_done(&read);
	lease.n_blocks = 0;
	ck_assert_int_eq(lease_write(root, "db0", &lease, "", NULL), 0);
	ck_assert_int_eq(lease_read(root, "db0", &read, &error), 0);
	ck_assert_uint_eq(read.n_blocks, 0);
	lease_done(&read);
	ck_assert_int_eq(lease_write("/nonexistent", "db0", &lease, "", NULL), -ENOENT);
	/* The old one stays if the new one can't be written: here its place is taken. */
	ck_assert_int_eq(make_folders(path_of("/.db0/x"), 0700), 0);
	ck_assert_int_eq(lease_write(root, "db0", &lease, "", NULL), -EISDIR);
	ck_assert_int_eq(lease_read(root, "db0", &read, &error), 0);
	lease_done(&read);
	ck_assert_int_eq(lease_remove(root, "db0"), 0);
	ck_assert_int_eq(lease_remove(root, "db0"), 0);
	ck_assert_int_eq(lease_read(root, "db0", &read, &error), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory");
	TCase *tc = tcase_create("memory");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_read_file);
	tcase_add_test(tc, test_small_things);
	tcase_add_test(tc, test_sysfs);
	tcase_add_test(tc, test_interruptible);
	tcase_add_test(tc, test_blocks);
	tcase_add_test(tc, test_page_map);
	tcase_add_test(tc, test_available);
	tcase_add_test(tc, test_lease);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
