/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * A ring of messages from one kernel to another: many writers (the CPUs of the sending kernel), one
 * reader. It lies in the receiver's memory; docs/messages.md has the picture and the reasons.
 *
 * One implementation (kdrivers/msg/ring.c) for the kernel and for user space, where it is tested,
 * raced, fuzzed and measured. Nothing here sleeps, allocates or takes a lock.
 *
 * Errors, the same everywhere: -EAGAIN not now (no message; no credit), -EMSGSIZE too long,
 * -EBADMSG the peer wrote nonsense: the ring is dead, and says so at every later call.
 */
#ifndef _POPCORN_RING_H
#define _POPCORN_RING_H

#include <linux/types.h>

#ifdef __KERNEL__
#include <linux/atomic.h>
typedef atomic64_t popcorn_counter_t; /* never seen by another kernel */
#else
#include <stdbool.h>
#include <stddef.h>
typedef _Atomic(__u64) popcorn_counter_t;
#endif

#define POPCORN_RING_MAGIC 0x474e49524e524350ULL /* "PCRNRING" */
/* Another version is refused by popcorn_writer_init(): -EPROTONOSUPPORT. */
#define POPCORN_RING_VERSION 1

/* Two cache lines, which the adjacent-line prefetcher brings together. */
#define POPCORN_SLOT_SIZE 128
#define POPCORN_SLOT_BYTES (POPCORN_SLOT_SIZE - 8)
/* Fewer slots than this could not hold the longest message; more than this is a typing error. */
#define POPCORN_RING_SLOTS_MIN 64
#define POPCORN_RING_SLOTS_MAX (1U << 20)
/* Of one message: half of the smallest ring, so that it always becomes sendable again. */
#define POPCORN_MESSAGE_SLOTS_MAX 32
#define POPCORN_MESSAGE_MAX \
	(POPCORN_MESSAGE_SLOTS_MAX * POPCORN_SLOT_BYTES - sizeof(struct popcorn_message))

#define POPCORN_SEQ_MORE (1ULL << 63) /* a later slot of a message */

/* What a message says of itself. Written by the sender, first in its first slot. */
struct popcorn_message {
	__u32 length; /* of the payload, bytes; 0..POPCORN_MESSAGE_MAX */
	__u16 type;   /* who handles it */
	__u16 flags;  /* the layer above's; the ring does not look at them */
	__u64 id;     /* likewise: matches requests and replies */
	__u64 cookie; /* likewise */
};

struct popcorn_slot {
	__u64 seq; /* see docs/messages.md; the sender stores it last, with release */
	__u8 bytes[POPCORN_SLOT_BYTES];
};

/* In the receiver's memory, aligned to POPCORN_SLOT_SIZE. */
struct popcorn_ring {
	/* Written by the receiver when it formats the ring, constant afterwards. */
	__u64 magic;
	__u32 version;
	__u32 slots;	  /* power of two */
	__u32 generation; /* of the sender: a ring is for one life of it */
	__u32 reserved0;
	__u8 reserved1[104];
	/* Written by the receiver: slots ever taken out. */
	__u64 tail;
	__u8 reserved2[120];
	/* Written by the sender: 1 = it waits for credit, and wants a doorbell when tail moves. */
	__u32 want_credit;
	__u8 reserved3[124];
	struct popcorn_slot slot[];
};

#define POPCORN_RING_BYTES(slots) (sizeof(struct popcorn_ring) + (size_t)(slots)*POPCORN_SLOT_SIZE)

/* The sender's side, in its own memory. */
struct popcorn_writer {
	struct popcorn_ring *ring;
	__u32 mask;
	bool dead;		/* tail was nonsense */
	popcorn_counter_t head; /* slots ever given out as tickets */
	popcorn_counter_t tail; /* the newest tail that was seen and believed */
};

/* The receiver's side, in its own memory. */
struct popcorn_reader {
	struct popcorn_ring *ring;
	__u32 mask;
	bool dead;
	__u64 next;	 /* slots ever taken out */
	__u64 published; /* what tail says */
};

/**
 * popcorn_ring_format - make an empty ring
 * @memory: POPCORN_RING_BYTES(@slots) bytes of the receiver's, aligned to POPCORN_SLOT_SIZE
 * @slots: power of two, POPCORN_RING_SLOTS_MIN..MAX
 * @generation: of the sender that it is for
 * @reader: is initialized for it
 *
 * Before the sender hears of it. 0 or -EINVAL.
 */
int popcorn_ring_format(void *memory, __u32 slots, __u32 generation, struct popcorn_reader *reader);

/**
 * popcorn_writer_init - begin to send
 * @memory: as the receiver announced it, @bytes long
 * @generation: the sender's own
 *
 * 0; -EPROTONOSUPPORT another version; -ESTALE for another life of this kernel; -EBADMSG nonsense.
 */
int popcorn_writer_init(struct popcorn_writer *writer, void *memory, size_t bytes,
			__u32 generation);

/**
 * popcorn_ring_send - send one message, or nothing
 * @message: its length says how much of @payload
 * @payload: in memory that can't fault: other writers' messages wait behind this one
 *
 * Context: any; the caller keeps this CPU from being taken away (preemption, in user space: as well
 * as it can), because nothing behind the message is seen before it is complete. Any number of
 * CPUs at once. -EAGAIN: no credit; see popcorn_ring_want_credit(). After 0 the caller marks the
 * receiver pending and rings its bell if it is armed.
 */
int popcorn_ring_send(struct popcorn_writer *writer, const struct popcorn_message *message,
		      const void *payload);

/**
 * popcorn_ring_want_credit - before a sender sleeps for want of credit
 * @length: of the message that it wants to send
 *
 * true: sleep; the receiver will ring. false: there is credit now. Calling it again is harmless.
 */
bool popcorn_ring_want_credit(struct popcorn_writer *writer, __u32 length);

/**
 * popcorn_ring_credit - slots that can be sent now
 *
 * For statistics: others may send meanwhile.
 */
__u32 popcorn_ring_credit(struct popcorn_writer *writer);

/**
 * popcorn_ring_peek - the next message, which stays in the ring
 * @message: private copy of its header, checked
 *
 * One reader at a time. 0, -EAGAIN, -EBADMSG.
 */
int popcorn_ring_peek(struct popcorn_reader *reader, struct popcorn_message *message);

/**
 * popcorn_ring_copy - payload of the message that was peeked at
 * @to: @message->length bytes
 */
void popcorn_ring_copy(const struct popcorn_reader *reader, const struct popcorn_message *message,
		       void *to);

/**
 * popcorn_ring_next - done with the message that was peeked at
 *
 * Its slots are given back by popcorn_ring_publish(), or here when many have piled up. true: the sender
 * waits for credit, and the caller rings its bell.
 */
bool popcorn_ring_next(struct popcorn_reader *reader, const struct popcorn_message *message);

/** popcorn_ring_publish - give all credits back: at the end of a round, before the reader sleeps.
 *  true: as popcorn_ring_next(). */
bool popcorn_ring_publish(struct popcorn_reader *reader);

/* Slots that a message of @length takes. */
static inline __u32 popcorn_message_slots(__u32 length)
{
	return (__u32)((sizeof(struct popcorn_message) + length + POPCORN_SLOT_BYTES - 1) /
		       POPCORN_SLOT_BYTES);
}

/*
 * The bell of a receiver, in its own memory: who has something for it, and whether it wants to be
 * rung. Aligned to POPCORN_SLOT_SIZE; one for each lane of popcorn/directory.h.
 */
#define POPCORN_BELL_SENDERS 512
struct popcorn_bell {
	/* Written by the receiver. 1: it sleeps, or is about to, and wants an interrupt. */
	__u32 armed;
	__u8 reserved[124];
	/* [n] is written by kernel n (1) and by the receiver (0), without read-modify-write. */
	__u64 pending[POPCORN_BELL_SENDERS];
};

/**
 * popcorn_bell_mark - after popcorn_ring_send(): tell the receiver
 * @sender: this kernel's id
 *
 * true: the caller sends the interrupt. Not for a mark that is there already: who set it did, and the receiver has not
 * taken it yet.
 */
bool popcorn_bell_mark(struct popcorn_bell *bell, __u32 sender);
/** popcorn_bell_take - by the receiver, before it drains that sender's ring: was there something? */
bool popcorn_bell_take(struct popcorn_bell *bell, __u32 sender);
/** popcorn_bell_arm - the receiver has found nothing and wants to sleep. false: look again first.
 *  @senders: how many ids are in use, from 0 on. */
bool popcorn_bell_arm(struct popcorn_bell *bell, __u32 senders);
/** popcorn_bell_disarm - the receiver is awake: no interrupts, please. */
void popcorn_bell_disarm(struct popcorn_bell *bell);

#define POPCORN_RING_ASSERT(cond) _Static_assert(cond, #cond)
POPCORN_RING_ASSERT(sizeof(struct popcorn_message) == 24);
POPCORN_RING_ASSERT(sizeof(struct popcorn_slot) == POPCORN_SLOT_SIZE);
POPCORN_RING_ASSERT(sizeof(struct popcorn_ring) == 3 * POPCORN_SLOT_SIZE);
POPCORN_RING_ASSERT(__builtin_offsetof(struct popcorn_ring, tail) == 128);
POPCORN_RING_ASSERT(__builtin_offsetof(struct popcorn_ring, want_credit) == 256);
POPCORN_RING_ASSERT(POPCORN_MESSAGE_MAX == 3816);
POPCORN_RING_ASSERT(2 * POPCORN_MESSAGE_SLOTS_MAX <= POPCORN_RING_SLOTS_MIN);
POPCORN_RING_ASSERT(sizeof(struct popcorn_bell) == 128 + 8 * POPCORN_BELL_SENDERS);

#endif /* _POPCORN_RING_H */
