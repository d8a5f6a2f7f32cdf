// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>

#include "sysfs.h"
#include "util.h"

/* A list of 4096 CPUs, every other one, has some 20 KiB; the kernel's limit is far from this. */
#define LIST_SIZE_MAX (1U << 20)

/*
 * Interrupts a write(): it needs a handler, because an ignored signal interrupts nothing. SIGURG,
 * because its default is to be ignored: one that comes late does no harm.
 */
#define INTERRUPT_SIGNAL SIGURG
/* Between two tries to interrupt: the thread may not have been in write() yet. */
#define INTERRUPT_AGAIN_USEC (USEC_PER_SEC / 10)

static int make_path(char path[PATH_MAX], const char *root, const char *format, va_list ap)
{
	size_t len = strlen(root);
	int n;

	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(path, root, len);
	n = vsnprintf(path + len, PATH_MAX - len, format, ap);
	return n < 0 || (size_t)n >= PATH_MAX - len ? -ENAMETOOLONG : 0;
}

/* By one read(), by which such a file gives all that fits. */
static ssize_t read_bytes(const char *path, void *ret, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size);

	return n < 0 ? -errno : n;
}

static int read_line(const char *path, char *ret, size_t size)
{
	ssize_t n = read_bytes(path, ret, size);

	if (n < 0)
		return (int)n;
	for (ssize_t i = 0; i < n; i++) {
		if (ret[i] == '\n' || ret[i] == '\0') {
			ret[i] = '\0';
			return 0;
		}
	}
	if ((size_t)n == size)
		return -EOVERFLOW;
	ret[n] = '\0';
	return 0;
}

ssize_t sysfs_read_bytes(const char *root, void *ret, size_t size, const char *format, ...)
{
	char path[PATH_MAX];
	va_list ap;
	int r;

	va_start(ap, format);
	r = make_path(path, root, format, ap);
	va_end(ap);
	return r < 0 ? r : read_bytes(path, ret, size);
}

int sysfs_read(const char *root, char *ret, size_t size, const char *format, ...)
{
	char path[PATH_MAX];
	va_list ap;
	int r;

	va_start(ap, format);
	r = make_path(path, root, format, ap);
	va_end(ap);
	return r < 0 ? r : read_line(path, ret, size);
}

int sysfs_read_number(const char *root, int base, uint64_t *ret, const char *format, ...)
{
	char path[PATH_MAX], buf[64], *end;
	unsigned long long value;
	va_list ap;
	int r;

	va_start(ap, format);
	r = make_path(path, root, format, ap);
	va_end(ap);
	if (r < 0)
		return r;
	r = read_line(path, buf, sizeof(buf));
	if (r < 0)
		return r;
	errno = 0;
	value = strtoull(buf, &end, base);
	if (errno || end == buf || *end || buf[0] == '-')
		return -EINVAL;
	*ret = value;
	return 0;
}

int sysfs_read_list(const char *root, hwloc_bitmap_t *ret, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	hwloc_bitmap_t set;
	size_t size;
	va_list ap;
	void *data;
	int r;

	va_start(ap, format);
	r = make_path(path, root, format, ap);
	va_end(ap);
	if (r < 0)
		return r;
	r = read_file(path, LIST_SIZE_MAX, &data, &size);
	if (r < 0)
		return r;
	text = data;
	/* hwloc 2.9 loses a last number that has a newline behind it. */
	text[strcspn(text, "\n")] = '\0';
	set = hwloc_bitmap_alloc();
	if (!set)
		return -ENOMEM;
	if (hwloc_bitmap_list_sscanf(set, text) < 0) {
		hwloc_bitmap_free(set);
		return -EINVAL;
	}
	*ret = set;
	return 0;
}

int sysfs_write(const char *root, const char *value, const char *path)
{
	_cleanup_close_ int fd = -1;
	char whole[PATH_MAX];
	ssize_t n;

	if ((size_t)snprintf(whole, sizeof(whole), "%s%s", root, path) >= sizeof(whole))
		return -ENAMETOOLONG;
	fd = open(whole, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, value, strlen(value));
	if (n < 0)
		return -errno;
	return (size_t)n == strlen(value) ? 0 : -EIO;
}

struct writer {
	const char *root, *value, *path;
	int done_fd;
	int result;
};

static void interrupt_handler(int nr)
{
	(void)nr;
}

static pthread_once_t handler_once = PTHREAD_ONCE_INIT;

static void install_handler(void)
{
	/* No SA_RESTART: the write shall return. */
	const struct sigaction action = { .sa_handler = interrupt_handler };

	sigaction(INTERRUPT_SIGNAL, &action, NULL);
}

static void *writer_thread(void *arg)
{
	struct writer *writer = arg;
	sigset_t set;

	/* The thread that made this one may block all signals. */
	sigemptyset(&set);
	sigaddset(&set, INTERRUPT_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);

	writer->result = sysfs_write(writer->root, writer->value, writer->path);
	eventfd_write(writer->done_fd, 1);
	return NULL;
}

int sysfs_write_interruptible(const char *root, const char *value, const char *path,
			      uint64_t deadline_usec, int cancel_fd)
{
	_cleanup_close_ int done_fd = eventfd(0, EFD_CLOEXEC);
	struct writer writer = { root, value, path, done_fd, 0 };
	struct pollfd fds[] = { { done_fd, POLLIN, 0 }, { cancel_fd, POLLIN, 0 } };
	int r, why = 0;
	pthread_t thread;

	if (done_fd < 0)
		return -errno;
	pthread_once(&handler_once, install_handler);
	r = pthread_create(&thread, NULL, writer_thread, &writer);
	if (r != 0)
		return -r;

	r = poll_until(fds, 2, deadline_usec);
	if (r == 0)
		why = -ETIME;
	else if (r < 0)
		why = r;
	else if (!fds[0].revents)
		why = -ECANCELED;
	while (why) {
		pthread_kill(thread, INTERRUPT_SIGNAL);
		if (poll_until(fds, 1, now_usec() + INTERRUPT_AGAIN_USEC) != 0)
			break;
	}
	pthread_join(thread, NULL);
	return writer.result == 0 ? 0 : why ? why : writer.result;
}
