/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Reading and writing the small files of /sys and /proc below a root: "" on a machine, a folder in
 * tests. The last arguments are a printf format of the path, which begins with a slash.
 */

#include <hwloc.h>
#include <stddef.h>
#include <stdint.h>

/* The first line, without the newline, into @ret; -EOVERFLOW if it does not fit. */
int sysfs_read(const char *root, char *ret, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* The first bytes of a file, @size of them or as many as there are: their number. */
ssize_t sysfs_read_bytes(const char *root, void *ret, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* A number in the given base. -EINVAL: something else is there. */
int sysfs_read_number(const char *root, int base, uint64_t *ret, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* A list like "0-3,7" of any length. @ret belongs to the caller. */
int sysfs_read_list(const char *root, hwloc_bitmap_t *ret, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* One write(): what the kernel answers to it is the result. */
int sysfs_write(const char *root, const char *value, const char *path);

/*
 * The same, in a thread of its own, for files whose write can take for ever inside the kernel but
 * gives up at a signal (offlining memory does). -ETIME at the deadline, -ECANCELED when @cancel_fd
 * (or -1) is readable; then the write was interrupted and undone by the kernel. If it succeeded
 * all the same in that moment, 0.
 */
int sysfs_write_interruptible(const char *root, const char *value, const char *path,
			      uint64_t deadline_usec, int cancel_fd);
