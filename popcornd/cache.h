/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * /var/cache/popcorn: unpacked kernels, which take seconds to make and are needed at each boot. All
 * of it may be deleted at any time. A file that is not whole, not ours or made of another image is
 * as good as none.
 *
 *	DIRECTORY/kernel-HASH	header, contents
 *	DIRECTORY/new		one that is being written
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Kernels that are kept; the one not used for longest goes first. */
#define CACHE_FILES_MAX 4
#define CACHE_BYTES_MAX ((uint64_t)256 << 20)

/*
 * The very file that the contents were made of: what the file system says of it, against those who
 * would make another one look like it, and a checksum of what was read, against a change meanwhile.
 */
struct cache_key {
	uint64_t dev, ino, size;
	uint64_t mtime[2], ctime[2]; /* seconds, nanoseconds */
	uint64_t checksum;
};

void cache_key_init(struct cache_key *key, const struct stat *st, const void *data, size_t size);

/* @ret is to be munmapped, and is the caller's own. -ENOENT: there is none that can be used. */
int cache_load(const char *directory, const struct cache_key *key, void **ret, size_t *ret_size);

/*
 * Makes the directory if it is not there. -EFBIG: larger than the cache; -ENOSPC: the file system
 * would be left with less than as much again. A failure changes nothing but the time of the next boot.
 */
int cache_store(const char *directory, const struct cache_key *key, const void *data, size_t size);
