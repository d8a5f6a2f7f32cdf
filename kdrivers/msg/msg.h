/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * popcorn_msg.ko: what its parts share. docs/messages.md has the picture.
 *
 *	main.c		the module, its parameters
 *	doorbell.c	interrupts that other kernels send; also used by popcorn_kexec and popcorn_guest
 *	directory.c	the primary's part: lives, and who has let go of the dead
 *	member.c	joining, pairs coming up and going down
 *	receive.c	the one reader; handlers
 *	send.c		send, call, reply
 *	group.c		multicast groups
 *	stats.c		debugfs
 *	user.h		messages between processes: /dev/popcorn-msg
 *	ring.c		the ring; shared with tests in user space
 *
 * Locks, outermost first:
 *
 *	primary_lock	 directory.c: the primary's part of the directory. Taken under the locks of
 *			 popcorn_kexec, which are not known here. Nothing sleeps for another kernel
 *			 under it
 *	member_work	 not a lock, but the only one who changes peer->state, and what is reached
 *			 through it. One at a time: the workqueue is ordered
 *	group_mutex	 group.c: which groups this kernel is in, and who was told; also in member_work
 *	rx->large_lock	 large messages that are put together
 *	rx->lock	 messages that wait for a handler that sleeps
 *	call->lock	 one call. Leaf
 *	group_lock	 group.c: which groups others are in. Leaf
 *
 * Whoever uses a peer's rings or mailbox does so in an RCU read section in which it has seen the
 * state that has them; member_work takes them away after a grace period. So the hot paths share no
 * lock, no reference count, and no word that is written but the tickets of the ring itself.
 *
 * The reader is one at a time: who has set RX_BUSY. Interrupt, thread and callers who wait for a
 * reply try to be it; who fails leaves the work to the one who is.
 */
#ifndef _POPCORN_MSG_INTERNAL_H
#define _POPCORN_MSG_INTERNAL_H

#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/completion.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <popcorn/directory.h>
#include <popcorn/doorbell.h>
#include <popcorn/msg.h>

/* Types of the layer itself. */
#define TYPE_HELLO 0  /* the first message of a pair, once each way */
#define TYPE_FAILED 1 /* to the primary: somebody talks nonsense to me */
#define TYPE_GROUP 2  /* what is in a slot of my table of groups */

/* Message flags: one, or none. Everything else is nonsense. */
#define FLAG_REQUEST 1 /* cookie: room for the reply */
#define FLAG_REPLY 2   /* cookie: 0 or a negative errno */
#define FLAG_CHUNK 4   /* part of a large message; id: stream, cookie: CHUNK() */
#define FLAG_GROUP 8   /* to a group; id and cookie: its name */

/*
 * A large message goes as chunks, all but the last POPCORN_MSG_MAX long, one after the other in a
 * stream of its sender and lane. A chunk at offset 0 begins anew: a sender that gives up says nothing.
 */
#define CHUNK(offset, total) ((u64)(total) << 32 | (offset))
#define CHUNK_OFFSET(cookie) ((u32)(cookie))
#define CHUNK_TOTAL(cookie) ((u32)((cookie) >> 32))
#define STREAMS_MAX 16

struct hello {
	u32 protocol_min, protocol_max;
	u32 id, generation;
	u64 features;
	u32 streams; /* that may be sent in, of each lane; 1 or more */
	u32 reserved;
};

struct failed {
	u32 id, generation;
	char why[112];
};

struct group_name {
	union {
		char text[POPCORN_MSG_GROUP_NAME];
		u64 words[2];
	};
};

struct group_slot {
	u32 slot;
	u32 reserved;
	struct group_name name; /* zero: I am in no group by it */
};

/* Sent, counted by the CPU that sends. */
struct tx_count {
	u64 messages, bytes, waits, rings;
};

/* Calls that succeeded, by the time that took; counted by the CPU that called. */
struct call_times {
	u64 calls[POPCORN_MSG_CALL_CLASSES];
};

/* What we send to one peer on one lane. */
struct tx {
	struct popcorn_writer writer;
	void *map;
	wait_queue_head_t credit;
	unsigned long streams; /* that large messages are under way in */
	wait_queue_head_t stream_wait;
	struct tx_count __percpu *count;
} ____cacheline_aligned_in_smp;

/* What has come in a stream. All of it is checked by the reader, the work only puts it together. */
struct stream {
	/* The reader's */
	u32 next, total;
	u16 type;
	bool refused;
	/* The work's */
	void *memory;
};

/* What we receive from one peer on one lane. All but the queue belongs to the reader. */
struct rx {
	struct popcorn_reader reader;
	void *memory;
	u32 bytes;
	u32 high_water;
	u64 messages, payload, unknown, late;
	struct stream streams[STREAMS_MAX];
	struct mutex large_lock; /* streams[].memory */

	spinlock_t lock; /* what follows */
	struct list_head queue;
	u32 queued;
	bool stalled; /* the ring is left alone until the queue is shorter */
	u64 stalls;
	void *spare; /* for the next one, if there is no memory in an interrupt */
	struct work_struct work;
	struct peer *peer;
} ____cacheline_aligned_in_smp;

/* A call that waits for its reply, or whose caller has given up but whose reply may still come. */
struct call {
	spinlock_t lock;
	enum { CALL_FREE, CALL_WAITS, CALL_DONE, CALL_ORPHAN } state;
	u64 id; /* lowest 16 bits: its index */
	void *reply;
	u32 room, slots;
	int result; /* bytes, or negative errno */
	struct completion done;
};

enum peer_state {
	PEER_NONE,    /* has nothing of ours, and we nothing of it */
	PEER_JOINING, /* our rings for it are there */
	PEER_UP,      /* both have said hello */
	PEER_DOWN,    /* nothing is sent or received; it may still write to our rings */
};

/* Allocated when somebody of that id is seen for the first time, and kept. */
struct peer {
	u32 id;
	u32 generation;	       /* of its present life; 0: none */
	enum peer_state state; /* stored with release; rings and mailbox are seen after it */
	bool rx_ready;	       /* the reader looks at its rings */
	bool rx_open;	       /* for more than a hello */
	bool hello;	       /* it has come, and was good */
	bool refused;	       /* it has come, of a protocol that we don't know */
	bool tx_ready;	       /* writers are there; ours was sent */
	u32 protocol;
	u32 streams;
	const char *failed; /* why; stored once, by anybody */
	u64 bell;	    /* the last one that was found to be its own */
	struct popcorn_mailbox *mailbox;
	struct popcorn_directory_range *ranges;
	u32 *apicids; /* sorted */
	u32 nr_ranges, nr_apicids;

	struct tx tx[POPCORN_LANES];
	struct rx rx[POPCORN_LANES];

	struct group_name groups[POPCORN_MSG_GROUPS]; /* as it says; group.c, as what follows */
	u32 told[POPCORN_MSG_GROUPS];		      /* version of our slot that it has heard of */
	bool untold;

	struct call *calls;
	u32 nr_calls;
	unsigned long *call_map;
	struct call_times __percpu *call_times;
	atomic_t reply_room; /* slots of the reply ring that nobody has set aside */
	atomic64_t call_number;
	wait_queue_head_t call_wait;
};

/* This kernel. Set up once, by member_work or popcorn_msg_primary_init(). */
struct self {
	u32 id, generation;
	bool joined;
	bool left;
	struct popcorn_directory *directory;
	struct popcorn_directory_entry *entry; /* ours */
	struct popcorn_mailbox *mailbox;
	struct popcorn_doorbell doorbell;
	u32 used; /* ids of peers lie below */
};
extern struct self self;

/* main.c */
extern unsigned int poll_us;
extern unsigned int protocol;
u32 lane_slots(u32 lane);
u32 large_streams(void);

/* directory.c */
void directory_acknowledged(void);

/* member.c */
extern struct workqueue_struct *member_wq;
extern struct peer *peers[POPCORN_MEMBERS_MAX];
void member_look(void);
void peer_ring(struct peer *peer);
void peer_news(struct peer *peer);
void peer_fail(struct peer *peer, const char *why);
void news_to_all(void);
bool peer_owns(u32 id, u32 generation, u64 start, u64 bytes);
int member_join_primary(struct popcorn_directory *directory);
void member_exit_primary(void);
int member_init(void);
void member_exit(void);

/* What this kernel speaks. */
static inline u32 protocol_min(void)
{
	return READ_ONCE(protocol) ?: POPCORN_PROTOCOL_MIN;
}

static inline u32 protocol_max(void)
{
	return READ_ONCE(protocol) ?: POPCORN_PROTOCOL_MAX;
}

static inline struct peer *peer_of(u32 id)
{
	return id < POPCORN_MEMBERS_MAX ? smp_load_acquire(&peers[id]) : NULL;
}

/* receive.c */
extern struct popcorn_msg_rx_count {
	u64 interrupts, polls, polled, threads;
} rx_count;
irqreturn_t rx_interrupt(int irq, void *cookie);
void rx_open(struct peer *peer);
void rx_kick(void);
void rx_beat(void);
void rx_look(bool (*is_there)(const void *what), const void *what);
bool rx_is_done(const void *what);
void rx_lane_init(struct peer *peer, u32 lane);
void rx_streams_init(struct rx *rx);
void rx_drop(struct peer *peer);
void rx_flush(void);
int rx_init(void);
void rx_exit(void);

/* send.c */
int peer_calls_init(struct peer *peer);
void peer_calls_fail(struct peer *peer);
void peer_calls_free(struct peer *peer);
void tx_credit(struct peer *peer, u32 lane);
int tx_hello(struct peer *peer, const struct hello *hello);
int tx_check(u32 priority, u16 type, u32 length, u32 most);
int tx_try(struct popcorn_msg_peer to, u32 lane, const struct popcorn_message *message,
	   const void *payload);
bool tx_wants_credit(struct peer *peer, u32 generation, u32 lane, u32 length);
int tx_wait(struct popcorn_msg_peer to, u32 lane, const struct popcorn_message *message,
	    const void *payload, long *timeout);
void tx_primary(u16 type, const void *payload, u32 length);
int tx_reply(const struct popcorn_msg *msg, int status, const void *payload, u32 length);
void call_reply(struct peer *peer, struct rx *rx, const struct popcorn_message *message,
		bool *ret_used);

/* group.c */
bool group_told(struct peer *peer, const struct group_slot *said, u32 length);
bool group_take(const struct popcorn_message *message, char *ret_name, bool *ret_in);
void group_credit(const struct peer *peer);
void group_peer_up(struct peer *peer);
void group_peer_down(struct peer *peer);

/* stats.c */
void stats_init(void);
void stats_exit(void);

/* user.c, device.c, window.c */
struct seq_file;
void user_quiesce(void);
void user_show(struct seq_file *file);
int user_init(void);
void user_exit(void);
void windows_peer_stopped(u32 id);

#endif /* _POPCORN_MSG_INTERNAL_H */
