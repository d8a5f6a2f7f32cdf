/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* A terminal for the command of a session. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Both ends of one; -1: there is none. */
struct terminal {
	int master;
	int slave;
};

/*
 * Makes one where the programs of the root folder @root can find it by its name (/dev/pts); if that has no file system for
 * terminals, one that is in no folder: it works, but has no name. @size, @utf8: as in struct agent_exec.
 */
int terminal_open(int root, uint32_t size, bool utf8, struct terminal *ret);
/* Hangs up, if it was not closed elsewhere. */
void terminal_close(struct terminal *terminal);
/* Whoever is in its foreground gets SIGWINCH. */
void terminal_resize(const struct terminal *terminal, uint32_t size);
/* What its reader has to be sent after the bytes so far, so that he sees their end. */
size_t terminal_end_of_file(const struct terminal *terminal, bool in_line, uint8_t bytes[2]);
/* In a process without a terminal that leads its session: this one, also for the first three descriptors. */
int terminal_become_controlling(const struct terminal *terminal);
