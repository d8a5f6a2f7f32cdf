// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "util.h"

static pid_t agent;

static void run_agent(pid_t parent, int notify_fd)
{
	char number[16];

	/* Never longer than us; the parent may have died before that was said. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
		_exit(EXIT_FAILURE);
	snprintf(number, sizeof(number), "%d", notify_fd);
	execlp("pkttyagent", "pkttyagent", "--notify-fd", number, "--fallback", NULL);
	_exit(EXIT_FAILURE);
}

void agent_open(void)
{
	_cleanup_close_ int wait_fd = -1;
	pid_t parent = getpid();
	int fds[2];

	if (agent > 0 || geteuid() == 0 || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) ||
	    pipe(fds) < 0)
		return;
	wait_fd = fds[0];
	fflush(NULL);
	agent = fork();
	if (agent == 0) {
		close(fds[0]);
		run_agent(parent, fds[1]);
	}
	close(fds[1]);
	/* It closes its end when it is registered, or cannot be. */
	if (agent > 0)
		while (poll(&(struct pollfd){ .fd = wait_fd, .events = POLLIN }, 1, -1) < 0 &&
		       errno == EINTR)
			;
}

void agent_close(void)
{
	if (agent <= 0)
		return;
	/* It restores the terminal if it was asking something. */
	kill(agent, SIGTERM);
	kill(agent, SIGCONT);
	while (waitpid(agent, NULL, 0) < 0 && errno == EINTR)
		;
	agent = 0;
}
