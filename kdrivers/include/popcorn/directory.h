/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Who is there, and where its messages go: the directory in the primary's memory, and one mailbox in
 * the memory of each kernel. docs/messages.md says how they are used.
 *
 * Whoever reads a field that another kernel writes reads it once, bounds it, and uses it as an
 * address only after it was seen to lie in memory that the primary says the other one owns. No word
 * is read, modified and written by two kernels. Multi-byte fields are little endian.
 */
#ifndef _POPCORN_DIRECTORY_H
#define _POPCORN_DIRECTORY_H

#include <linux/types.h>
#include <popcorn/ring.h>

#define POPCORN_DIRECTORY_MAGIC 0x595249444e524350ULL /* "PCRNDIRY" */
#define POPCORN_MAILBOX_MAGIC 0x58424c4d4e524350ULL   /* "PCRNMLBX" */
/* Of both layouts. A kernel that finds another one does not join, and says so. */
#define POPCORN_DIRECTORY_VERSION 1

/* Ids 0 (the primary) to 511: as many as a bell has marks. */
#define POPCORN_MEMBERS_MAX POPCORN_BELL_SENDERS

/*
 * What is said in messages, rather than where they lie: two kernels speak the highest version that
 * both know, or refuse each other by name.
 */
#define POPCORN_PROTOCOL_MIN 2
#define POPCORN_PROTOCOL_MAX 2

/*
 * One ring for each sender and lane, drained in this order. Replies have a lane of their own whose
 * room the caller sets aside before it asks: so a reply never waits, and two kernels that are full
 * of each other's requests still answer.
 */
#define POPCORN_LANE_REPLY 0
#define POPCORN_LANE_CONTROL 1
#define POPCORN_LANE_BULK 2
#define POPCORN_LANES 3

/* Phases of a life, in the order in which they come. */
#define POPCORN_LIFE_NONE 0
#define POPCORN_LIFE_ALIVE 1
#define POPCORN_LIFE_ENDED 2 /* nobody waits for it any more; some CPU of it may still write */
#define POPCORN_LIFE_GONE 3  /* all of its CPUs were seen stopped */
#define POPCORN_LIFE(generation, phase) (((__u64)(generation) << 32) | (phase))
#define POPCORN_LIFE_GENERATION(life) ((__u32)((life) >> 32))
#define POPCORN_LIFE_PHASE(life) ((__u32)(life))
/* The primary lives as long as anybody does. */
#define POPCORN_PRIMARY_GENERATION 1

/* What a kernel says of itself. */
#define POPCORN_MEMBER_NONE 0
#define POPCORN_MEMBER_JOINING 1 /* reads the directory: from now on it acknowledges */
#define POPCORN_MEMBER_JOINED 2	 /* its mailbox is there */
#define POPCORN_MEMBER_LEFT 3	 /* is about to end; takes and sends no more messages */

/* A range of memory; an array of them, then one of APIC ids (__u32), is what @resources leads to. */
struct popcorn_directory_range {
	__u64 start;
	__u64 length;
};

struct popcorn_directory_entry {
	/*
	 * Written by the primary, @life last. It also clears the owner's part, before START. The
	 * resources stay until everybody has acknowledged that this life is gone.
	 */
	__u64 life;	 /* POPCORN_LIFE() */
	__u64 resources; /* physical address, page aligned; 0 for the primary, who owns the rest */
	__u32 nr_ranges;
	__u32 nr_apicids;
	__u8 reserved0[104];

	/* Written by the owner when it joins, @state last; constant afterwards but for @state. */
	__u64 mailbox;	  /* physical address of struct popcorn_mailbox, page aligned */
	__u64 features;	  /* none yet */
	__u32 generation; /* its own */
	__u32 protocol_min;
	__u32 protocol_max;
	__u32 state; /* POPCORN_MEMBER_* */
	__u8 reserved1[96];

	/* Written by the owner at any time. */
	__u64 bell;	    /* POPCORN_BELL() for messages; see head.h */
	__u64 acknowledged; /* popcorn_directory.sequence up to which it has let go of the dead */
	__u8 reserved2[112];
};

struct popcorn_directory {
	/* Written by the primary before the first START, constant afterwards. */
	__u64 magic;
	__u32 version;
	__u32 size; /* of all of it */
	__u32 entry_size;
	__u32 nr_entries;
	__u8 reserved0[104];

	/* Written by the primary at any time. */
	__u64 sequence; /* grows with each start and each end, after the entry has changed */
	__u32 used;	/* ids in use lie below; never shrinks */
	__u8 reserved1[116];

	struct popcorn_directory_entry entry[POPCORN_MEMBERS_MAX];
};

/* A ring in the mailbox owner's memory, for one sender and lane. Written by the owner. */
struct popcorn_mailbox_ring {
	__u64 address; /* physical, page aligned */
	__u32 bytes;
	__u32 generation; /* of the sender that it was formatted for; last. 0: none */
	__u8 reserved[16];
};

struct popcorn_mailbox {
	/* Written by the owner before it joins, constant afterwards. */
	__u64 magic;
	__u32 version;
	__u32 size;
	__u32 id;
	__u32 generation;
	__u8 reserved0[104];

	/*
	 * 1: somebody has something to say about the directory or its own mailbox. Peers store 1
	 * after what there is to see, and always ring; the owner stores 0 before it looks.
	 */
	__u32 news;
	__u8 reserved1[124];

	struct popcorn_bell bell[POPCORN_LANES];
	struct popcorn_mailbox_ring ring[POPCORN_MEMBERS_MAX][POPCORN_LANES];
};

#define POPCORN_DIRECTORY_ASSERT(cond) _Static_assert(cond, #cond)
POPCORN_DIRECTORY_ASSERT(sizeof(struct popcorn_directory_range) == 16);
POPCORN_DIRECTORY_ASSERT(sizeof(struct popcorn_directory_entry) == 384);
POPCORN_DIRECTORY_ASSERT(__builtin_offsetof(struct popcorn_directory_entry, mailbox) == 128);
POPCORN_DIRECTORY_ASSERT(__builtin_offsetof(struct popcorn_directory_entry, bell) == 256);
POPCORN_DIRECTORY_ASSERT(__builtin_offsetof(struct popcorn_directory, sequence) == 128);
POPCORN_DIRECTORY_ASSERT(__builtin_offsetof(struct popcorn_directory, entry) == 256);
POPCORN_DIRECTORY_ASSERT(sizeof(struct popcorn_mailbox_ring) == 32);
POPCORN_DIRECTORY_ASSERT(__builtin_offsetof(struct popcorn_mailbox, news) == 128);
POPCORN_DIRECTORY_ASSERT(__builtin_offsetof(struct popcorn_mailbox, bell) == 256);
POPCORN_DIRECTORY_ASSERT(sizeof(struct popcorn_mailbox) == 256 + 3 * (128 + 4096) + 512 * 3 * 32);

#endif /* _POPCORN_DIRECTORY_H */
