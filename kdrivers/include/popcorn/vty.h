/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What the two ends of a line between kernels (popcorn_vty.ko) say to each other: messages of type
 * POPCORN_MSG_TYPE_VTY, all at priority bulk, in order. docs/terminals.md says how it goes.
 */
#ifndef _POPCORN_VTY_H
#define _POPCORN_VTY_H

#include <linux/types.h>

/* How the sender's end is. @number: its room, the bytes that may be under way to it. */
#define POPCORN_VTY_STATE 1
/* Bytes behind the header, for @opening of the receiver. */
#define POPCORN_VTY_DATA 2
/* @number bytes that were sent to @opening of the sender have been taken. */
#define POPCORN_VTY_CREDIT 3

/* Of STATE. */
#define POPCORN_VTY_DTR 1 /* the receiver's carrier */
#define POPCORN_VTY_ASK 2 /* say yours */
/* It was not there since the last STATE: a hang-up, though it may be there again. */
#define POPCORN_VTY_DROPPED 4

/**
 * struct popcorn_vty_header - begins each message
 * @kind: POPCORN_VTY_*; one that is not known is ignored
 * @opening: which time an end is open: of the sender in STATE (0: it is not) and CREDIT, of the
 *           receiver in DATA
 * @number: see above; else 0
 * @flags: of STATE; those that are not known are ignored
 */
struct popcorn_vty_header {
	__u32 kind;
	__u32 opening;
	__u32 number;
	__u32 flags;
};

#endif /* _POPCORN_VTY_H */
