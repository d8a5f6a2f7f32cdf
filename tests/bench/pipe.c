// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Round trips of 64 bytes between two processes, by pipes or (udp) by UDP: "min p50 p99" in ns. By pipes on CPUs 0 and 1
 * (apart): as two kernels are, which never share a CPU.
 */
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "times.h"

#define TRIPS 10000
#define MESSAGE 64

/* Two sockets that are connected to each other. */
static int udp_pair(int fds[2])
{
	struct sockaddr_in addr[2];
	socklen_t length = sizeof(addr[0]);

	for (int i = 0; i < 2; i++) {
		addr[i] = (struct sockaddr_in){ .sin_family = AF_INET,
						.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		fds[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (fds[i] < 0 || bind(fds[i], (struct sockaddr *)&addr[i], length) < 0 ||
		    getsockname(fds[i], (struct sockaddr *)&addr[i], &length) < 0)
			return -1;
	}
	for (int i = 0; i < 2; i++)
		if (connect(fds[i], (struct sockaddr *)&addr[!i], length) < 0)
			return -1;
	return 0;
}

static int bind_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	bool apart = strcmp(how, "apart") == 0;
	static uint64_t times[TRIPS];
	char message[MESSAGE] = "";
	int to[2], from[2];

	if (apart && bind_to(0) < 0)
		return EXIT_FAILURE;
	if (strcmp(how, "udp") == 0) {
		int fds[2];

		if (udp_pair(fds) < 0)
			return EXIT_FAILURE;
		to[1] = from[0] = fds[0];
		to[0] = from[1] = fds[1];
	} else if (pipe(to) < 0 || pipe(from) < 0) {
		return EXIT_FAILURE;
	}
	switch (fork()) {
	case -1:
		return EXIT_FAILURE;
	case 0:
		/* A pipe ends when nobody can write to it; datagrams by an empty one. */
		close(to[1]);
		if (apart && bind_to(1) < 0)
			_exit(EXIT_FAILURE);
		while (read(to[0], message, sizeof(message)) == sizeof(message))
			if (write(from[1], message, sizeof(message)) != sizeof(message))
				break;
		_exit(EXIT_SUCCESS);
	}
	for (size_t i = 0; i < TRIPS; i++) {
		uint64_t begin = now_ns();

		if (write(to[1], message, sizeof(message)) != sizeof(message) ||
		    read(from[0], message, sizeof(message)) != sizeof(message))
			return EXIT_FAILURE;
		times[i] = now_ns() - begin;
	}
	if (write(to[1], message, 0) < 0)
		return EXIT_FAILURE;
	print_times(times, TRIPS);
	return EXIT_SUCCESS;
}
