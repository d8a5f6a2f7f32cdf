// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <termios.h>
#include <unistd.h>

#include "terminal.h"

/*
 * A devpts that is mounted nowhere. Its terminals need no other namespace that way, so what their programs mount
 * is seen by all.
 */
static int open_ptmx_of_our_own(void)
{
	int context, folder, fd = -1;

	context = fsopen("devpts", FSOPEN_CLOEXEC);
	if (context < 0)
		return -errno;
	folder = fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0
			 ? -1
			 : fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	if (folder >= 0)
		fd = openat(folder, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	if (folder >= 0)
		close(folder);
	close(context);
	return fd;
}

int terminal_open(int root, uint32_t size, bool utf8, struct terminal *ret)
{
	struct terminal terminal = { .slave = -1 };
	struct termios modes;
	int unlock = 0, r;

	terminal.master = openat(root, "dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal.master < 0)
		terminal.master = open_ptmx_of_our_own();
	if (terminal.master < 0)
		return terminal.master;
	/* By the descriptor: whatever name it has is one in another root folder. */
	if (ioctl(terminal.master, TIOCSPTLCK, &unlock) < 0 ||
	    (terminal.slave = ioctl(terminal.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) <
		    0 ||
	    tcgetattr(terminal.slave, &modes) < 0)
		goto fail;
	if (utf8)
		modes.c_iflag |= IUTF8;
	else
		modes.c_iflag &= ~(tcflag_t)IUTF8;
	if (tcsetattr(terminal.slave, TCSANOW, &modes) < 0 ||
	    fcntl(terminal.master, F_SETFL, O_NONBLOCK) < 0)
		goto fail;
	terminal_resize(&terminal, size);
	*ret = terminal;
	return 0;
fail:
	r = -errno;
	terminal_close(&terminal);
	return r;
}

void terminal_close(struct terminal *terminal)
{
	if (terminal->slave >= 0)
		close(terminal->slave);
	if (terminal->master >= 0)
		close(terminal->master);
	*terminal = (struct terminal){ -1, -1 };
}

void terminal_resize(const struct terminal *terminal, uint32_t size)
{
	const struct winsize winsize = { .ws_row = (unsigned short)(size >> 16),
					 .ws_col = (unsigned short)size };

	/* That can only fail where nobody is left to see it. */
	(void)ioctl(terminal->master, TIOCSWINSZ, &winsize);
}

size_t terminal_end_of_file(const struct terminal *terminal, bool in_line, uint8_t bytes[2])
{
	struct termios modes;
	size_t n = 0;

	if (tcgetattr(terminal->slave, &modes) < 0 || modes.c_cc[VEOF] == _POSIX_VDISABLE)
		return 0;
	/* In a line, it only ends the waiting for the rest of that. */
	if (in_line)
		bytes[n++] = modes.c_cc[VEOF];
	bytes[n++] = modes.c_cc[VEOF];
	return n;
}

int terminal_become_controlling(const struct terminal *terminal)
{
	if (ioctl(terminal->slave, TIOCSCTTY, 0) < 0)
		return -errno;
	for (int i = 0; i < 3; i++)
		if (dup2(terminal->slave, i) < 0)
			return -errno;
	return 0;
}
