/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * popcorn_msg.ko: messages between kernels, for other modules of this kernel.
 *
 * A message goes from one kernel to another, by a priority: what one thread sends to one kernel at
 * one priority arrives in that order, once, or not at all because that kernel ended. It is also
 * handled in that order, but that a handler that sleeps may be behind one that does not. Control is
 * handled before bulk and never waits for it.
 */
#ifndef _POPCORN_MSG_H
#define _POPCORN_MSG_H

#include <linux/notifier.h>
#include <linux/types.h>

/* Bytes of one message; by popcorn_msg_send(), to a handler that sleeps: of a large one. */
#define POPCORN_MSG_MAX 3816
#define POPCORN_MSG_LARGE_MAX (1U << 20)

#define POPCORN_MSG_CONTROL 1
#define POPCORN_MSG_BULK 2

/* Types below are the layer's own, those from TYPES on are nobody's. */
#define POPCORN_MSG_TYPE_FIRST 16
#define POPCORN_MSG_TYPES 256
/* Taken: messages between processes, /dev/popcorn-msg. */
#define POPCORN_MSG_TYPE_PROCESSES (POPCORN_MSG_TYPES - 1)
/* Taken: terminals, popcorn_vty.ko. */
#define POPCORN_MSG_TYPE_VTY (POPCORN_MSG_TYPES - 2)

/* Bytes of a group's name, with the NUL; groups that a kernel can have open. */
#define POPCORN_MSG_GROUP_NAME 16
#define POPCORN_MSG_GROUPS 64

/*
 * One life of one kernel. A message to {3, 17} never reaches the kernel that has id 3 after a
 * restart; generation 0 means whoever has that id when the call is made.
 */
struct popcorn_msg_peer {
	u32 id;
	u32 generation;
};

/* What came with a message. */
struct popcorn_msg {
	struct popcorn_msg_peer from;
	u16 type;
	u16 priority;
	u32 length;			    /* of the payload */
	char group[POPCORN_MSG_GROUP_NAME]; /* that it was sent to; empty: to this kernel alone */
	/* Of a request; @call is 0 if this is none. */
	u64 call;
	u32 room; /* bytes that a reply may have */
};

/*
 * @payload is a private copy that is gone when the handler returns. A request has to be replied to
 * once, now or later (with a copy of @msg); a handler that returns a negative errno has done so with
 * that. One message is handled at a time, unless POPCORN_MSG_SLEEPS: then one of each sender and
 * priority, and @msg->length may be POPCORN_MSG_LARGE_MAX instead of POPCORN_MSG_MAX.
 *
 * Context: hard interrupt, or a thread that can't be preempted; on PREEMPT_RT a thread. Does not
 * sleep. With POPCORN_MSG_SLEEPS: a workqueue; may sleep, send and call.
 */
typedef int (*popcorn_msg_handler)(const struct popcorn_msg *msg, const void *payload, void *data);

/* popcorn_msg_type.flags */
#define POPCORN_MSG_SLEEPS (1U << 0) /* the handler may: see above */

struct popcorn_msg_type {
	u16 type; /* POPCORN_MSG_TYPE_FIRST..POPCORN_MSG_TYPES - 1 */
	u16 flags;
	popcorn_msg_handler handler;
	void *data;
};

int popcorn_msg_register(const struct popcorn_msg_type *type);
void popcorn_msg_unregister(const struct popcorn_msg_type *type);

int popcorn_msg_send(struct popcorn_msg_peer to, u32 priority, u16 type, const void *payload,
		     u32 length, long timeout);
int popcorn_msg_send_async(struct popcorn_msg_peer to, u32 priority, u16 type, const void *payload,
			   u32 length);
int popcorn_msg_call(struct popcorn_msg_peer to, u32 priority, u16 type, const void *request,
		     u32 length, void *reply, u32 room, long timeout);
int popcorn_msg_reply(const struct popcorn_msg *msg, const void *payload, u32 length);

/* Groups: to all kernels that have joined one, by its name. */
struct popcorn_msg_group;
struct popcorn_msg_group *popcorn_msg_group_open(const char *name);
void popcorn_msg_group_close(struct popcorn_msg_group *group);
void popcorn_msg_group_join(struct popcorn_msg_group *group);
void popcorn_msg_group_leave(struct popcorn_msg_group *group);
int popcorn_msg_group_send(struct popcorn_msg_group *group, u32 priority, u16 type,
			   const void *payload, u32 length, long timeout);

/* Members. */
#define POPCORN_MSG_JOINED 1 /* messages can be sent and may come; data: struct popcorn_msg_peer */
#define POPCORN_MSG_GONE 2   /* no handler is called for it any more, but one that sleeps may run */

struct popcorn_msg_peer popcorn_msg_self(void);
bool popcorn_msg_next(struct popcorn_msg_peer *peer);
int popcorn_msg_notifier_register(struct notifier_block *block);
int popcorn_msg_notifier_unregister(struct notifier_block *block);

#define POPCORN_MSG_CALL_CLASSES 32

/* Statistics of one peer and priority. Counters since this kernel's start, over all its lives. */
struct popcorn_msg_stats {
	u64 sent, sent_bytes, received, received_bytes;
	u64 credit_waits; /* how often a sender had to wait */
	u64 rings;	  /* interrupts that were sent */
	u64 unknown;	  /* messages that nobody here handles */
	u64 stalls;	  /* how often a handler that sleeps was too far behind */
	u64 late;	  /* replies that nobody waited for any more */
	u32 high_water;	  /* most messages that were found waiting at once */
	u32 slots;	  /* of the ring that they wait in */
	u32 credits;	  /* slots that can be sent now; 0 if it can't be reached */
	/*
	 * Of priority 0 only: calls that succeeded, at whatever priority, by the time they took: [n] of
	 * 2^n up to 2^(n+1) - 1 ns, the last one and more.
	 */
	u64 calls[POPCORN_MSG_CALL_CLASSES];
};
int popcorn_msg_stats(u32 id, u32 priority, struct popcorn_msg_stats *ret);

/* For popcorn_kexec.ko: this kernel is the primary. */
struct popcorn_msg_life {
	u32 id, generation;
	u32 nr_ranges, nr_apicids;
	const struct popcorn_directory_range *ranges;
	const u32 *apicids;
};
int popcorn_msg_primary_init(void);
void popcorn_msg_primary_exit(void);
int popcorn_msg_start(const struct popcorn_msg_life *life, u64 *ret_directory);
void popcorn_msg_end(u32 id, u32 generation, bool stopped);
int popcorn_msg_release(u32 id, u32 generation);

/* For popcorn_guest.ko: this kernel is a secondary. */
void popcorn_msg_join(u64 directory, u32 id, u32 generation);

/* For both, once per heartbeat. */
void popcorn_msg_beat(void);

#endif /* _POPCORN_MSG_H */
