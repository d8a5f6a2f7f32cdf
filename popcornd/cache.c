// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include "cache.h"
#include "util.h"

#define MAGIC "PCRNCCH"
#define VERSION 1
#define PREFIX "kernel-"
#define NEW "new"
/* Where the contents begin: on a page, to be mapped. */
#define DATA_OFFSET 4096
/* PREFIX and 16 hexadecimal digits. */
#define NAME_SIZE (sizeof(PREFIX) + 16)

struct header {
	char magic[8];
	uint64_t version;
	struct cache_key key;
	uint64_t size;
	uint64_t checksum; /* of the contents */
};

_Static_assert(sizeof(struct header) <= DATA_OFFSET, "the header has a page");

/*
 * Against bits that fall and files that were cut off by a power failure, not against people: who
 * can write here is root. Fletcher's, in words; it runs over tens of megabytes at each boot.
 */
static uint64_t checksum(const void *data, size_t size)
{
	uint64_t a = size, b = 0, word = 0;
	const uint8_t *p = data, *end = p + size;

#pragma GCC unroll 8
	for (; (size_t)(end - p) >= sizeof(word); p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		a += word;
		b += a;
	}
	word = 0;
	memcpy(&word, p, (size_t)(end - p));
	a += word;
	b += a;
	/* Both sums in one number. */
	a ^= (b << 32 | b >> 32) * 0x9e3779b97f4a7c15;
	return a ^ a >> 32;
}

void cache_key_init(struct cache_key *key, const struct stat *st, const void *data, size_t size)
{
	*key = (struct cache_key){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = size,
		.mtime = { (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec },
		.ctime = { (uint64_t)st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec },
		.checksum = checksum(data, size),
	};
}

static void file_name(const struct cache_key *key, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, PREFIX "%016" PRIx64, checksum(key, sizeof(*key)));
}

static int open_directory(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* All of it, or an error. */
static int read_all(int fd, void *buf, size_t size)
{
	uint8_t *p = buf;

	while (size) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int write_all(int fd, const void *buf, size_t size)
{
	const uint8_t *p = buf;

	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int cache_load(const char *directory, const struct cache_key *key, void **ret, size_t *ret_size)
{
	_cleanup_close_ int folder = -1, fd = -1;
	char name[NAME_SIZE];
	struct header header;
	struct stat st;
	void *data;

	folder = open_directory(directory);
	if (folder < 0)
		return -ENOENT;
	file_name(key, name);
	fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -ENOENT;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return -ENOENT;
	if (read_all(fd, &header, sizeof(header)) < 0)
		return -ENOENT;
	if (memcmp(header.magic, MAGIC, sizeof(header.magic)) != 0 || header.version != VERSION ||
	    memcmp(&header.key, key, sizeof(*key)) != 0 || header.size == 0 ||
	    header.size > CACHE_BYTES_MAX || (uint64_t)st.st_size != DATA_OFFSET + header.size)
		return -ENOENT;

	/*
	 * Each page copied here and now, also those that are only read. To copy a page that is mapped
	 * already, when it is first written to, the kernel has to interrupt every CPU where another
	 * thread of ours runs: of several boots at once each would do so thousands of times.
	 */
	data = mmap(NULL, header.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, fd,
		    DATA_OFFSET);
	if (data == MAP_FAILED)
		return -ENOMEM;
	if (checksum(data, header.size) != header.checksum) {
		munmap(data, header.size);
		return -ENOENT;
	}
	/* When it was last used. That this fails only makes it go earlier. */
	(void)futimens(fd, NULL);
	*ret_size = header.size;
	*ret = data;
	return 0;
}

struct entry {
	char name[NAME_SIZE];
	uint64_t size;
	struct timespec used;
};

static int compare_entries(const void *a, const void *b)
{
	const struct timespec *x = &((const struct entry *)a)->used;
	const struct timespec *y = &((const struct entry *)b)->used;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? 1 : -1;
	return (x->tv_nsec < y->tv_nsec) - (x->tv_nsec > y->tv_nsec);
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* Leaves room for a file of @size bytes that is about to be added. */
static int evict(int folder, uint64_t size)
{
	_cleanup_(closedirp) DIR *dir = NULL;
	_cleanup_free_ struct entry *entries = NULL;
	const struct dirent *found;
	size_t n = 0;
	int fd;

	fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while ((found = readdir(dir))) {
		struct entry entry, *more;
		struct stat st;

		if (strncmp(found->d_name, PREFIX, strlen(PREFIX)) != 0 ||
		    strlen(found->d_name) >= sizeof(entry.name) ||
		    fstatat(folder, found->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		strcpy(entry.name, found->d_name);
		entry.size = (uint64_t)st.st_size;
		entry.used = st.st_mtim;
		more = reallocarray(entries, n + 1, sizeof(*entries));
		if (!more)
			return -ENOMEM;
		entries = more;
		entries[n++] = entry;
	}
	if (n)
		qsort(entries, n, sizeof(*entries), compare_entries);
	for (size_t i = 0; i < n; i++) {
		size += entries[i].size;
		if (i + 1 < CACHE_FILES_MAX && size <= CACHE_BYTES_MAX)
			continue;
		unlinkat(folder, entries[i].name, 0);
		size -= entries[i].size;
	}
	return 0;
}

int cache_store(const char *directory, const struct cache_key *key, const void *data, size_t size)
{
	_cleanup_close_ int folder = -1, fd = -1;
	struct header header = {
		.magic = MAGIC,
		.version = VERSION,
		.key = *key,
		.size = size,
	};
	char name[NAME_SIZE];
	struct statvfs vfs;
	int r;

	if (size > CACHE_BYTES_MAX - DATA_OFFSET)
		return -EFBIG;
	header.checksum = checksum(data, size);
	r = make_folders(directory, 0755);
	if (r < 0)
		return r;
	folder = open_directory(directory);
	if (folder < 0)
		return folder;
	file_name(key, name);
	/* What is there under this name was of no use. */
	unlinkat(folder, name, 0);
	r = evict(folder, DATA_OFFSET + size);
	if (r < 0)
		return r;
	if (fstatvfs(folder, &vfs) == 0 && (uint64_t)vfs.f_bavail * vfs.f_frsize / 2 < size)
		return -ENOSPC;

	/* Left by one who was killed: only one at a time writes here. */
	unlinkat(folder, NEW, 0);
	fd = openat(folder, NEW, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	/*
	 * Not fsync(): a boot waits for this, and what a power failure leaves of it has the wrong
	 * checksum.
	 */
	r = write_all(fd, &header, sizeof(header));
	if (r == 0 && lseek(fd, DATA_OFFSET, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		r = write_all(fd, data, size);
	if (r == 0 && renameat(folder, NEW, folder, name) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(folder, NEW, 0);
	return r;
}
