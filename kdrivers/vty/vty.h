/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * popcorn_vty.ko: what its parts share. docs/terminals.md has the picture.
 *
 *	main.c	the module; kernels that come and go
 *	line.c	one end of a line: what it says to the other one, and hears
 *	tty.c	the driver of /dev/vtyN
 *
 * line->lock is a leaf, and taken in the handler of messages. The two works of a line run beside everything,
 * and beside each other; each is one at a time.
 */
#ifndef _POPCORN_VTY_INTERNAL_H
#define _POPCORN_VTY_INTERNAL_H

#include <linux/kfifo.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>
#include <linux/tty_port.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <popcorn/msg.h>
#include <popcorn/vty.h>

/* What waits here to be read, and to be sent. Powers of two; the first is what other ends may send. */
#define LINE_ROOM 32768U
#define LINE_OUT 8192U
/* Whatever another end says of itself. */
#define LINE_ROOM_MAX (1U << 20)
/* Handed to the line discipline at once: it holds 4 KiB. */
#define LINE_PIECE 1024U

#define LINE_DATA_MAX (POPCORN_MSG_MAX - sizeof(struct popcorn_vty_header))

/* Allocated when a kernel of that id is seen for the first time, and kept. */
struct line {
	struct tty_port port;
	u32 id;
	struct work_struct send_work, receive_work, device_work;
	u32 device; /* generation that the device is there for, or 0; device_work's */

	spinlock_t lock;	      /* what follows */
	struct popcorn_msg_peer peer; /* generation 0: it can't be reached */
	/* This end */
	u32 opening, openings; /* the present one, or 0; the last number */
	bool dtr;
	bool tell, ask;	 /* the other end has to hear of us, and to tell */
	bool dropped;	 /* dtr was not there since it last heard */
	bool stopped;	 /* by Ctrl-S, say */
	bool throttled;	 /* the line discipline wants nothing */
	struct kfifo in; /* while it is open, as out */
	struct kfifo out;
	u32 unacked; /* bytes under way to their opening */
	u32 credit;  /* what was taken and not told yet */
	u64 overrun; /* bytes that came without room */
	/* The other end, as it says */
	u32 theirs; /* its opening, or 0 */
	u32 room;
	bool carrier;

	/* Of the works */
	u32 held; /* bytes in data that could not be sent yet, for theirs == held_for */
	u32 held_for;
	struct {
		struct popcorn_vty_header header;
		u8 bytes[LINE_DATA_MAX];
	} data;
	u8 piece[LINE_PIECE];
};

/* main.c */
extern struct workqueue_struct *vty_wq;
struct line *line_of(u32 id);

/* line.c */
int line_handle(const struct popcorn_msg *msg, const void *payload, void *unused);
void line_send(struct work_struct *work);
void line_receive(struct work_struct *work);
void line_up(struct line *line, struct popcorn_msg_peer peer);
void line_down(struct line *line, u32 generation);
int line_open(struct line *line);
void line_close(struct line *line);
void line_set_dtr(struct line *line, bool on);
void line_set_stopped(struct line *line, bool stopped);
void line_set_throttled(struct line *line, bool throttled);
bool line_has_carrier(struct line *line);
u32 line_write(struct line *line, const u8 *bytes, u32 count);
u32 line_write_room(struct line *line);
u32 line_unsent(struct line *line);
void line_discard(struct line *line);
void line_show(struct line *line, struct seq_file *to);

/* tty.c */
extern const struct tty_port_operations vty_port_ops;
int vty_device_add(struct line *line);
void vty_device_remove(struct line *line);
int vty_init(void);
void vty_exit(void);

#endif /* _POPCORN_VTY_INTERNAL_H */
