// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "util.h"

uint64_t now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

int poll_until(struct pollfd *fds, size_t n, uint64_t deadline_usec)
{
	for (;;) {
		uint64_t now = now_usec();
		int timeout = -1, r;

		if (deadline_usec != UINT64_MAX) {
			/* Rounded up: a poll that returns just before the deadline would spin. */
			uint64_t left =
				deadline_usec > now ? (deadline_usec - now + 999) / 1000 : 0;

			timeout = left > INT_MAX ? INT_MAX : (int)left;
		}
		r = poll(fds, n, timeout);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			return r;
		if (r == 0 && timeout != INT_MAX)
			return 0;
	}
}

int read_file(const char *path, size_t max, void **ret, size_t *ret_size)
{
	return read_file_stat(path, max, ret, ret_size, NULL);
}

int read_file_stat(const char *path, size_t max, void **ret, size_t *ret_size,
		   struct stat *ret_stat)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ uint8_t *data = NULL;
	size_t size = 0, room;
	struct stat st;

	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -ENODEV;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;

	/* Files in /proc and /sys say 0 or a page; a file may grow while it is read. */
	room = (size_t)st.st_size + 1;
	data = malloc(room + 1);
	if (!data)
		return -ENOMEM;
	for (;;) {
		ssize_t n;

		if (size == room) {
			uint8_t *p;

			if (size > max)
				return -EFBIG;
			room *= 2;
			if (room > max + 1)
				room = max + 1;
			p = realloc(data, room + 1);
			if (!p)
				return -ENOMEM;
			data = p;
		}
		n = read(fd, data + size, room - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
	}
	if (size > max)
		return -EFBIG;
	data[size] = '\0';

	if (ret_stat)
		*ret_stat = st;
	*ret_size = size;
	*ret = steal_ptr(data);
	return 0;
}

int make_folders(const char *path, unsigned mode)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1;; p++) {
		bool end = !*p;

		if (*p != '/' && !end)
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		if (end)
			return 0;
		*p = '/';
	}
}

int replace_file(const char *path, unsigned mode, const void *data, size_t size)
{
	const char *slash = strrchr(path, '/'), *p = data;
	_cleanup_free_ char *aside = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	if (!slash)
		return -EINVAL;
	if (asprintf(&aside, "%.*s/.%s", (int)(slash - path), path, slash + 1) < 0) {
		aside = NULL;
		return -ENOMEM;
	}
	fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = -errno;
			unlink(aside);
			return r;
		}
		p += n;
		size -= (size_t)n;
	}
	if (rename(aside, path) < 0) {
		r = -errno;
		unlink(aside);
		return r;
	}
	return 0;
}

void text_add(char *text, size_t size, const char *format, ...)
{
	size_t used = strlen(text);
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text + used, size - used, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= size - used)
		strcpy(text + size - sizeof("…"), "…");
}

const char *size_to_text(uint64_t size, char buf[SIZE_TEXT_MAX])
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	while (size && size % 1024 == 0 && unit + 1 < ARRAY_SIZE(units)) {
		size /= 1024;
		unit++;
	}
	snprintf(buf, SIZE_TEXT_MAX, "%" PRIu64 " %s", size, units[unit]);
	return buf;
}
