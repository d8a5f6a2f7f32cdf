// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * popcorn-agent's service and its sessions as a process of this kernel, with the messages of fake-msg.c: what it
 * runs it runs here. Prints "ready". One argument: a folder of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

void warn(const char *format, ...)
{
	va_list ap;

	fputs("agent: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int main(int argc, char *argv[])
{
	struct messages messages = { .dev = -1 };
	char path[4096];
	sigset_t set;
	int fd;

	if (argc != 2)
		return 2;
	/* Before there is a thread of an endpoint, that would get it. */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* The "device". */
	snprintf(path, sizeof(path), "%s/popcorn-msg", argv[1]);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	messages.dev = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	messages.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || messages.dev < 0 || messages.proc < 0 ||
	    messages_open_endpoint(&messages, &messages.endpoint) < 0 ||
	    popcorn_endpoint_bind(messages.endpoint, AGENT_SERVICE) < 0) {
		perror(argv[1]);
		return 1;
	}
	close(fd);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = messages_get_fd(&messages), .events = POLLIN },
			{ .fd = fd, .events = POLLIN },
		};
		struct signalfd_siginfo signal;
		pid_t pid;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return 1;
		while (read(fd, &signal, sizeof(signal)) > 0)
			;
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			messages_forget(&messages, pid);
		if (fds[0].revents && messages_receive(&messages)) {
			puts("shutdown");
			return 0;
		}
	}
}
