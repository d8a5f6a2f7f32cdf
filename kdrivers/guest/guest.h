/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * popcorn_guest.ko: what its parts share.
 *
 *	main.c		finds and checks the head, starts the parts, checks in
 *	bell.c		doorbells, both ways
 *	console.c	hvc console on the rings of the head
 *	beat.c		heartbeat of each CPU
 *	end.c		reboot, power-off, halt, panic, emergency restart
 *	device.c	/dev/popcorn-guest
 */
#ifndef _POPCORN_GUEST_H
#define _POPCORN_GUEST_H

#include <linux/types.h>
#include <popcorn/head.h>
#include <uapi/popcorn.h>

/* Mapped before anything else runs, and for ever: the module can't be unloaded. */
extern struct popcorn_head *guest_head;

/* bell.c */
int bell_init(void);
void bell_exit(void);
void bell_ring(u32 reasons);
void bell_repeat(void);

/* console.c */
int console_init(void);
void console_input(void);
void console_write(const char *buf, size_t count);
bool console_holds(const char *text);

/* beat.c */
int beat_init(void);
void beat_exit(void);

/* end.c */
int end_init(void);
void end_exit(void);

/* device.c */
int device_init(void);
void device_exit(void);
void device_shutdown_asked(void);

/* main.c */
void guest_state_set(u32 state);

#endif /* _POPCORN_GUEST_H */
