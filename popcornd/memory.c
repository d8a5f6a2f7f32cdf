// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/kernel-page-flags.h>
#include <numa.h>
#include <string.h>

#include "memory.h"
#include "sysfs.h"
#include "util.h"

#define MEMORY_DIR "/sys/devices/system/memory"
#define NODE_DIR "/sys/devices/system/node"

/* In kpageflags, but only in the kernel's private header. */
#define KPF_RESERVED_BIT 32

#define FLAG(nr) (UINT64_C(1) << (nr))

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

int block_size_read(const char *root, uint64_t *ret)
{
	uint64_t size;
	int r = sysfs_read_number(root, 16, &size, MEMORY_DIR "/block_size_bytes");

	if (r < 0)
		return r;
	/* A power of two of 128 MiB or more on x86-64; what follows divides by it. */
	if (size < UNIT_SIZE || (size & (size - 1)))
		return -EINVAL;
	*ret = size;
	return 0;
}

/* "memory12" with prefix "memory" -> 12 */
static bool parse_name(const char *name, const char *prefix, uint64_t *ret)
{
	size_t len = strlen(prefix);
	unsigned long long value;
	char *end;

	if (strncmp(name, prefix, len) != 0 || !isdigit((unsigned char)name[len]))
		return false;
	errno = 0;
	value = strtoull(name + len, &end, 10);
	if (errno || *end)
		return false;
	*ret = value;
	return true;
}

static DIR *open_folder(const char *root, const char *folder)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s%s", root, folder) >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	return opendir(path);
}

static int compare_blocks(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return x->index < y->index ? -1 : x->index > y->index;
}

static int read_block(const char *root, uint64_t index, struct block *ret)
{
	struct block block = { .index = index };
	char zones[64];
	int r;

	r = block_state(root, index, &block.online);
	if (r < 0)
		return r;
	/* For an online block the zone that it is in; "none" if it is in more than one. */
	r = sysfs_read(root, zones, sizeof(zones), MEMORY_DIR "/memory%" PRIu64 "/valid_zones",
		       index);
	if (r == 0 && block.online && strlen(zones) < sizeof(block.zone))
		strcpy(block.zone, zones);
	*ret = block;
	return 0;
}

/* Which blocks are on @node: nodeN/memoryM. */
static int set_node(const char *root, unsigned node, struct block *blocks, size_t n)
{
	_cleanup_(closedirp) DIR *dir = NULL;
	char folder[64];
	struct dirent *entry;

	snprintf(folder, sizeof(folder), NODE_DIR "/node%u", node);
	dir = open_folder(root, folder);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((errno = 0, entry = readdir(dir))) {
		struct block key = { 0 }, *block;

		if (!parse_name(entry->d_name, "memory", &key.index))
			continue;
		block = bsearch(&key, blocks, n, sizeof(*blocks), compare_blocks);
		if (block)
			block->node = node;
	}
	return -errno;
}

static int set_nodes(const char *root, struct block *blocks, size_t n)
{
	_cleanup_(closedirp) DIR *dir = open_folder(root, NODE_DIR);
	struct dirent *entry;

	if (!dir) /* a kernel without NUMA */
		return errno == ENOENT ? 0 : -errno;
	while ((errno = 0, entry = readdir(dir))) {
		uint64_t node;
		int r;

		if (!parse_name(entry->d_name, "node", &node) || node > INT_MAX)
			continue;
		r = set_node(root, (unsigned)node, blocks, n);
		if (r < 0)
			return r;
	}
	return -errno;
}

int blocks_read(const char *root, struct block **ret, size_t *ret_n)
{
	_cleanup_(closedirp) DIR *dir = open_folder(root, MEMORY_DIR);
	_cleanup_free_ struct block *blocks = NULL;
	size_t n = 0, room = 0;
	struct dirent *entry;
	int r;

	if (!dir)
		return -errno;
	while ((errno = 0, entry = readdir(dir))) {
		uint64_t index;

		if (!parse_name(entry->d_name, "memory", &index))
			continue;
		if (n == room) {
			struct block *more;

			room = room ? 2 * room : 64;
			more = realloc(blocks, room * sizeof(*blocks));
			if (!more)
				return -ENOMEM;
			blocks = more;
		}
		r = read_block(root, index, &blocks[n]);
		if (r == -ENOENT || r == -ENODEV) /* unplugged just now */
			continue;
		if (r < 0)
			return r;
		n++;
	}
	if (errno)
		return -errno;
	if (n)
		qsort(blocks, n, sizeof(*blocks), compare_blocks);
	r = set_nodes(root, blocks, n);
	if (r < 0)
		return r;
	*ret_n = n;
	*ret = steal_ptr(blocks);
	return 0;
}

enum zone_rank block_rank(const struct block *block)
{
	if (block->index == 0 || !block->online)
		return ZONE_RANK_NONE;
	if (strcmp(block->zone, "Movable") == 0)
		return ZONE_RANK_MOVABLE;
	if (strcmp(block->zone, "Normal") == 0)
		return ZONE_RANK_NORMAL;
	if (strcmp(block->zone, "DMA32") == 0)
		return ZONE_RANK_DMA32;
	return ZONE_RANK_NONE;
}

int block_state(const char *root, uint64_t index, bool *ret_online)
{
	char state[32];
	int r = sysfs_read(root, state, sizeof(state), MEMORY_DIR "/memory%" PRIu64 "/state",
			   index);

	if (r < 0)
		return r;
	/* "going-offline" is not offline yet. */
	*ret_online = strcmp(state, "offline") != 0;
	return 0;
}

int block_offline(const char *root, uint64_t index, uint64_t deadline_usec, int cancel_fd)
{
	char path[96];
	bool online;
	int r;

	snprintf(path, sizeof(path), MEMORY_DIR "/memory%" PRIu64 "/state", index);
	r = sysfs_write_interruptible(root, "offline", path, deadline_usec, cancel_fd);
	if (r == 0)
		return 0;
	/* What counts is how it is, not what the call said. */
	if (block_state(root, index, &online) == 0 && !online)
		return 0;
	return r;
}

int block_online(const char *root, const struct block *block)
{
	const char *how = strcmp(block->zone, "Movable") == 0 ? "online_movable"
			  : *block->zone		      ? "online_kernel"
							      : "online";
	char path[96];
	bool online;
	int r;

	r = block_state(root, block->index, &online);
	if (r < 0)
		return r;
	if (online)
		return 0;
	snprintf(path, sizeof(path), MEMORY_DIR "/memory%" PRIu64 "/state", block->index);
	r = sysfs_write(root, how, path);
	/* The zones around it may have changed meanwhile: then where the kernel wants it. */
	if (r == -EINVAL)
		r = sysfs_write(root, "online", path);
	if (r < 0 && block_state(root, block->index, &online) == 0 && online)
		r = 0;
	return r;
}

int page_map_open(const char *root)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/proc/kpageflags", root) >= sizeof(path))
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC);
}

int page_map_count(int fd, uint64_t start, uint64_t length, struct page_counts *ret)
{
	const uint64_t fixed =
		FLAG(KPF_SLAB) | FLAG(KPF_PGTABLE) | FLAG(KPF_RESERVED_BIT) | FLAG(KPF_NOPAGE);
	const uint64_t movable = FLAG(KPF_LRU) | FLAG(KPF_BUDDY) | FLAG(KPF_MMAP) | FLAG(KPF_ANON) |
				 FLAG(KPF_HUGE) | FLAG(KPF_THP) | FLAG(KPF_OFFLINE) |
				 FLAG(KPF_HWPOISON);
	uint64_t flags[UNIT_SIZE / PAGE_SIZE_BYTES];
	struct page_counts counts = { 0, 0 };

	for (uint64_t done = 0; done < length; done += UNIT_SIZE) {
		off_t offset = (off_t)((start + done) / PAGE_SIZE_BYTES * sizeof(flags[0]));
		ssize_t n = pread(fd, flags, sizeof(flags), offset);

		if (n < 0)
			return -errno;
		if ((size_t)n != sizeof(flags)) /* behind the last page */
			return -ENODATA;
		for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
			if (flags[i] & fixed)
				counts.fixed++;
			else if (!(flags[i] & movable))
				counts.unknown++;
		}
	}
	*ret = counts;
	return 0;
}

uint64_t memory_available(const char *root)
{
	static const char key[] = "\nMemAvailable:";
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	const char *line;
	size_t size;
	void *data;

	if ((size_t)snprintf(path, sizeof(path), "%s/proc/meminfo", root) >= sizeof(path) ||
	    read_file(path, 1U << 16, &data, &size) < 0)
		return UINT64_MAX;
	text = data;
	line = strstr(text, key);
	return line ? strtoull(line + sizeof(key) - 1, NULL, 10) * 1024 : UINT64_MAX;
}

void memory_prepare(const char *root, bool drop_caches)
{
	/* Both only help: whether they did shows when memory is tried again. */
	if (drop_caches)
		sysfs_write(root, "3", "/proc/sys/vm/drop_caches");
	sysfs_write(root, "1", "/proc/sys/vm/compact_memory");
}

void memory_leave_node(unsigned node)
{
	_cleanup_(closedirp) DIR *dir = NULL;
	struct bitmask *from, *to;
	struct dirent *entry;

	if (numa_available() < 0 || numa_num_configured_nodes() < 2 ||
	    node > (unsigned)numa_max_node())
		return;
	dir = opendir("/proc");
	if (!dir)
		return;
	from = numa_allocate_nodemask();
	to = numa_allocate_nodemask();
	copy_bitmask_to_bitmask(numa_all_nodes_ptr, to);
	numa_bitmask_setbit(from, node);
	numa_bitmask_clearbit(to, node);
	while ((entry = readdir(dir))) {
		uint64_t pid;

		/* Kernel threads and processes that end meanwhile refuse; that is all the same. */
		if (parse_name(entry->d_name, "", &pid) && pid <= INT_MAX)
			numa_migrate_pages((int)pid, from, to);
	}
	numa_bitmask_free(from);
	numa_bitmask_free(to);
}
