// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench-udp BYTES: datagrams that one process sends as fast as it can and another one receives, over the
 * loopback interface. Says how many arrived in a second, those that were dropped not counted.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 2

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	static char data[65507];
	size_t bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	socklen_t size = sizeof(address);
	int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
	const struct timeval limit = { .tv_sec = 1 };
	unsigned long n = 0;
	double begin;
	pid_t sender;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (!bytes || bytes > sizeof(data) || in < 0 || out < 0 ||
	    setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    bind(in, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    getsockname(in, (struct sockaddr *)&address, &size) < 0 ||
	    connect(out, (struct sockaddr *)&address, sizeof(address)) < 0) {
		perror("udp");
		return 1;
	}
	sender = fork();
	if (sender < 0)
		return 1;
	if (sender == 0)
		for (;;)
			if (send(out, data, bytes, 0) < 0)
				usleep(10);
	begin = now();
	while (now() - begin < SECONDS)
		if (recv(in, data, sizeof(data), 0) == (ssize_t)bytes)
			n++;
	printf("%.0f\n", (double)n / (now() - begin));
	kill(sender, SIGKILL);
	waitpid(sender, NULL, 0);
	return 0;
}
