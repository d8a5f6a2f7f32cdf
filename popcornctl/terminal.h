/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The terminal that popcornctl was started on, while a kernel has it; and how its user gets out. */

#include <stdbool.h>
#include <stdint.h>

/*
 * Standard input, raw until terminal_restore() or until this process ends, by whatever it can hear of. Blocked
 * signals are the caller's. 0 or a negative errno; again, when something else has changed the terminal meanwhile.
 */
int terminal_make_raw(void);
void terminal_restore(void);

#define ESCAPE_HELP "Press Ctrl-] three times within 1s to leave."
#define PRESSES 3

/* When something was pressed, the oldest first. */
struct presses {
	uint64_t at[PRESSES];
};

/* It was pressed now: true, if that often within a second. */
bool presses_count(struct presses *presses);
/* @c was typed: true, if the escape sequence is complete. */
bool escape_pressed(struct presses *presses, char c);
