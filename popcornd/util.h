/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Small things that every file of popcornd uses. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIB (UINT64_C(1) << 20)
#define USEC_PER_SEC UINT64_C(1000000)

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void unlockp(pthread_mutex_t **lock)
{
	if (*lock)
		pthread_mutex_unlock(*lock);
}

/* The lock of what @p points to, until the end of the block. */
#define LOCK(p)                                               \
	_cleanup_(unlockp) pthread_mutex_t *locked_ =         \
		(pthread_mutex_lock(&(p)->lock), &(p)->lock); \
	(void)locked_

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)

/* Ownership leaves the variable, so that its cleanup does nothing. */
#define steal_ptr(p)                         \
	__extension__({                      \
		__typeof__(p) _stolen = (p); \
		(p) = NULL;                  \
		_stolen;                     \
	})

static inline int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* CLOCK_MONOTONIC: for deadlines. */
uint64_t now_usec(void);

/*
 * Waits until one of @fds (negative ones are ignored) has one of its events, at most until
 * @deadline_usec (of now_usec(); UINT64_MAX = for ever). Returns what poll() returns, 0 = deadline.
 */
struct pollfd;
int poll_until(struct pollfd *fds, size_t n, uint64_t deadline_usec);

/*
 * A whole regular file. -EISDIR, -ENODEV (not a regular file: a FIFO is not waited for, a device
 * not touched), -EFBIG (more than @max bytes), or what open() and read() say. A NUL follows the
 * bytes and is not counted.
 */
int read_file(const char *path, size_t max, void **ret, size_t *ret_size);
/* And what fstat() said of it before it was read; @ret_stat may be NULL. */
struct stat;
int read_file_stat(const char *path, size_t max, void **ret, size_t *ret_size,
		   struct stat *ret_stat);

/*
 * All of @data as the file @path, which readers find as it was or as it is to be: aside, as ".NAME" in
 * the same folder, and renamed.
 */
int replace_file(const char *path, unsigned mode, const void *data, size_t size);

/* Adds to @text; what does not fit into @size bytes ends in "…". */
void text_add(char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Makes each folder of @path that is missing. */
int make_folders(const char *path, unsigned mode);

/* "512 MiB", "3 GiB", "4 KiB": the largest unit that needs no fraction. */
#define SIZE_TEXT_MAX 32
const char *size_to_text(uint64_t size, char buf[SIZE_TEXT_MAX]);
#define SIZE_TEXT(size) size_to_text((size), (char[SIZE_TEXT_MAX]){ 0 })
