/* SPDX-License-Identifier: GPL-2.0-only */
/* popcorn_guest.ko, for other modules of a secondary: the head, and the doorbells that lead past it. */
#ifndef _POPCORN_GUEST_API_H
#define _POPCORN_GUEST_API_H

#include <linux/types.h>
#include <popcorn/head.h>

/* What popcorn_guest.ko passes on. */
#define POPCORN_GUEST_BELLS (POPCORN_BELL_CALL | POPCORN_BELL_DEVICES)

struct popcorn_guest_listener {
	/*
	 * The primary has rung, for any of POPCORN_GUEST_BELLS.
	 *
	 * Context: interrupt (a thread with PREEMPT_RT), RCU read side; one at a time.
	 */
	void (*bell)(u32 reasons);
};

struct popcorn_head *popcorn_guest_head(void);
void popcorn_guest_ring(u32 reasons);
int popcorn_guest_listen(const struct popcorn_guest_listener *listener);
void popcorn_guest_unlisten(const struct popcorn_guest_listener *listener);

#endif /* _POPCORN_GUEST_API_H */
