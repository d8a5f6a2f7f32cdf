// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "console.h"
#include "util.h"

/*
 * A console that is written to faster than we read would never be read to its end. This is more
 * than any console keeps: what comes after it is newer than the question.
 */
#define READ_MAX (4U << 20)

static void drop_lines(struct tail *tail)
{
	size_t ended = tail->newlines + (tail->n && tail->text[tail->n - 1] != '\n');
	char *p = tail->text;

	if (ended <= tail->max)
		return;
	for (size_t drop = ended - tail->max; drop; drop--) {
		char *stop = memchr(p, '\n', tail->text + tail->n - p);

		if (!stop) { /* max is 0: the open line goes as well */
			p = tail->text + tail->n;
			break;
		}
		p = stop + 1;
		tail->newlines--;
	}
	tail->n -= p - tail->text;
	memmove(tail->text, p, tail->n);
}

void tail_feed(struct tail *tail, const char *bytes, size_t n)
{
	if (tail->n + n > tail->size) {
		tail->size = 2 * (tail->n + n);
		tail->text = xrealloc(tail->text, tail->size, 1);
	}
	if (n)
		memcpy(tail->text + tail->n, bytes, n);
	for (size_t i = 0; i < n; i++)
		tail->newlines += bytes[i] == '\n';
	tail->n += n;
	drop_lines(tail);
}

void tail_done(struct tail *tail)
{
	free(tail->text);
	*tail = (struct tail){ .max = tail->max };
}

int read_available(int fd, struct tail *tail)
{
	size_t total = 0;
	char buffer[16384];

	while (total < READ_MAX) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;
		int r;

		r = poll(&p, 1, 0);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return 0;
		n = read(fd, buffer, sizeof(buffer));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0)
			return 1;
		tail_feed(tail, buffer, n);
		total += n;
	}
	return 0;
}
