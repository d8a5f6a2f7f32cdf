// SPDX-License-Identifier: GPL-2.0-or-later
/* Whatever a server of files answers: it is believed only if each answer is exactly the one that was asked for. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "server.h"
#include "vhost-user.h"

/* More than all answers are; a socket takes it without a reader. */
#define REPLIES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t map[4096];
	struct region region = { .fd = STDIN_FILENO, .length = sizeof(map), .map = map };
	const struct guest_memory memory = { &region, 1 };
	const struct server_queue queue = {
		{ 0, 1024, 2048, 8, 0 }, STDIN_FILENO, STDIN_FILENO, STDIN_FILENO
	};
	const struct server_setup setup = { &memory, 1ULL << 32, &queue, 1 };
	const size_t answers = 12, each = sizeof(struct vhost_user_header) + sizeof(uint64_t);
	char why[SERVER_WHY_MAX] = "";
	int pair[2], r;

	if (size > REPLIES_MAX)
		return 0;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	CHECK(send(pair[1], data, size, MSG_NOSIGNAL) == (ssize_t)size);
	shutdown(pair[1], SHUT_WR);
	CHECK(vhost_user_greet(pair[0]) == 0);
	/* The end is there already: nothing is waited for. */
	r = vhost_user_start(pair[0], &setup, 10000, why);
	CHECK(r <= 0);
	CHECK(r == 0 || *why);
	CHECK(memchr(why, '\0', sizeof(why)));
	for (size_t i = 0; i < answers && r == 0; i++) {
		struct vhost_user_header header;

		CHECK(size >= (i + 1) * each);
		memcpy(&header, data + i * each, sizeof(header));
		CHECK(header.size == sizeof(uint64_t) && (header.flags & VHOST_USER_REPLY));
	}
	close(pair[0]);
	close(pair[1]);
	return 0;
}
