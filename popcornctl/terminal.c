// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "terminal.h"
#include "util.h"

#define ESCAPE_BYTE 0x1d /* Ctrl-] */
#define PRESSES_USEC 1000000

/* Global, for the handler of deadly signals and for exit(). */
static struct termios saved_termios;
static volatile sig_atomic_t termios_saved;

void terminal_restore(void)
{
	if (termios_saved)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_termios);
	termios_saved = 0;
}

/* A terminal left raw is of no use to anybody, whatever this program died of. */
static void on_deadly_signal(int signal)
{
	terminal_restore();
	raise(signal); /* SA_RESETHAND: this time it kills */
}

static bool is_deadly(int signal)
{
	static const int harmless[] = { SIGCHLD, SIGURG,  SIGWINCH, SIGCONT, SIGKILL,
					SIGSTOP, SIGTSTP, SIGTTIN,  SIGTTOU };

	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (signal == harmless[i])
			return false;
	return true;
}

static void catch_deadly_signals(void)
{
	const struct sigaction action = { .sa_handler = on_deadly_signal,
					  .sa_flags = SA_RESETHAND | SA_NODEFER };
	static bool done;
	struct sigaction old;

	if (done)
		return;
	done = true;
	for (int i = 1; i <= SIGRTMAX; i++)
		if (is_deadly(i) && sigaction(i, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(i, &action, NULL);
	atexit(terminal_restore);
}

int terminal_make_raw(void)
{
	struct termios raw;

	if (!termios_saved && tcgetattr(STDIN_FILENO, &saved_termios) < 0)
		return -errno;
	catch_deadly_signals();
	termios_saved = 1;
	raw = saved_termios;
	cfmakeraw(&raw);
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0 ? -errno : 0;
}

bool presses_count(struct presses *presses)
{
	uint64_t now = clock_usec(CLOCK_MONOTONIC);

	memmove(presses->at, presses->at + 1, sizeof(presses->at) - sizeof(presses->at[0]));
	presses->at[PRESSES - 1] = now;
	return presses->at[0] && now - presses->at[0] <= PRESSES_USEC;
}

bool escape_pressed(struct presses *presses, char c)
{
	if (c == ESCAPE_BYTE)
		return presses_count(presses);
	*presses = (struct presses){ 0 };
	return false;
}
