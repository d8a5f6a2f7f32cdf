/* SPDX-License-Identifier: GPL-2.0-only */
/* Windows: memory that two kernels share. See window.c. */
#ifndef _POPCORN_MSG_WINDOW_H
#define _POPCORN_MSG_WINDOW_H

#include <linux/fs.h>
#include <linux/mm_types.h>
#include <popcorn/directory.h>
#include <popcorn/msg.h>
#include <uapi/popcorn-msg.h>

struct endpoint;
struct packet;

/* Of packet_take(): the reply comes later. */
#define WINDOW_LATER 0x10000

/* Ranges in one reply. */
#define RANGES_MAX 128
/* The reply to PACKET_WINDOW: ranges from the one on that was asked for. */
struct window_ranges {
	__u64 bytes;	 /* of the window */
	__u32 nr_ranges; /* of the window */
	__u32 count;	 /* here */
	struct popcorn_directory_range range[];
};
#define REPLY_MAX \
	(sizeof(struct window_ranges) + RANGES_MAX * sizeof(struct popcorn_directory_range))
static_assert(REPLY_MAX <= POPCORN_MSG_MAX);

int window_create(struct endpoint *endpoint, struct file *file, struct popcorn_msg_window *args);
int window_open(struct endpoint *endpoint, struct file *file, struct popcorn_msg_window *args);
int window_close(struct endpoint *endpoint, const struct popcorn_msg_window *args);
int window_mmap(struct endpoint *endpoint, struct vm_area_struct *vma);
int window_take_open(const struct popcorn_msg *msg, const struct packet *packet, void *reply);
int window_take_revoke(const struct popcorn_msg *msg, const struct packet *packet);
void windows_close(struct endpoint *endpoint);
void windows_peer_gone(const struct popcorn_msg_peer *peer);
int windows_init(void);
void windows_exit(void);

#endif /* _POPCORN_MSG_WINDOW_H */
