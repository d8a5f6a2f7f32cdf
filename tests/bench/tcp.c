// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench-tcp serve PORT: serves what the others ask for, until it is killed.
 * bench-tcp send ADDRESS PORT MEBIBYTES, bench-tcp receive …: a stream there, or from there; MiB/s.
 * bench-tcp trip ADDRESS PORT COUNT: one byte there, one back: "min p50 p99" in ns.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "times.h"

#define MEBIBYTE (1UL << 20)
#define TRIPS_MAX 1000000UL

/* What a connection begins with; both ends have one byte order. */
struct request {
	uint64_t kind; /* of enum kind */
	uint64_t count;
};

enum kind { SEND, RECEIVE, TRIP };

static int put(int fd, uint64_t bytes)
{
	static char data[128 * 1024];

	while (bytes) {
		ssize_t n = write(fd, data, bytes < sizeof(data) ? bytes : sizeof(data));

		if (n <= 0)
			return -1;
		bytes -= (uint64_t)n;
	}
	return 0;
}

static int take(int fd, uint64_t bytes)
{
	static char data[128 * 1024];

	while (bytes) {
		ssize_t n = read(fd, data, bytes < sizeof(data) ? bytes : sizeof(data));

		if (n <= 0)
			return -1;
		bytes -= (uint64_t)n;
	}
	return 0;
}

/* One connection. A byte at the end of a stream says that all of it has arrived. */
static int answer(int fd)
{
	struct request request;

	if (recv(fd, &request, sizeof(request), MSG_WAITALL) != sizeof(request))
		return -1;
	switch (request.kind) {
	case SEND:
		return take(fd, request.count) ?: put(fd, 1);
	case RECEIVE:
		return put(fd, request.count);
	case TRIP:
		while (request.count--)
			if (take(fd, 1) || put(fd, 1))
				return -1;
		return 0;
	}
	return -1;
}

static int serve(struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)address, sizeof(*address)) < 0 || listen(fd, 8) < 0)
		return -1;
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		if (peer < 0)
			return -1;
		setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (answer(peer))
			fputs("tcp: a connection ended early\n", stderr);
		close(peer);
	}
}

static int trip(int fd, uint64_t count)
{
	uint64_t *times = calloc(count, sizeof(*times));

	if (!times)
		return -1;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t begin = now_ns();

		if (put(fd, 1) || take(fd, 1)) {
			free(times);
			return -1;
		}
		times[i] = now_ns() - begin;
	}
	print_times(times, count);
	free(times);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct request request = { 0 };
	int fd, one = 1;
	uint64_t begin;

	if (argc == 3 && !strcmp(argv[1], "serve")) {
		address.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
		serve(&address);
		perror("tcp");
		return EXIT_FAILURE;
	}
	if (argc != 5 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1)
		return EXIT_FAILURE;
	address.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
	request.count = strtoul(argv[4], NULL, 10);
	request.kind = !strcmp(argv[1], "send")	     ? SEND
		       : !strcmp(argv[1], "receive") ? RECEIVE
						     : TRIP;
	if (!request.count || request.count > TRIPS_MAX)
		return EXIT_FAILURE;
	if (request.kind != TRIP)
		request.count *= MEBIBYTE;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
	    write(fd, &request, sizeof(request)) != sizeof(request)) {
		perror("tcp");
		return EXIT_FAILURE;
	}
	begin = now_ns();
	if (request.kind == TRIP)
		return trip(fd, request.count) ? EXIT_FAILURE : EXIT_SUCCESS;
	if (request.kind == SEND ? put(fd, request.count) || take(fd, 1) : take(fd, request.count))
		return EXIT_FAILURE;
	printf("%.1f\n", (double)request.count / MEBIBYTE / ((double)(now_ns() - begin) / 1e9));
	return EXIT_SUCCESS;
}
