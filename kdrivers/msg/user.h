/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Messages between processes: what the parts of /dev/popcorn-msg share. The ABI is in
 * uapi/popcorn-msg.h, the picture in docs/messages.md ("Processes").
 *
 *	device.c	the device: ioctls, poll, mmap
 *	user.c		sending, calling, replying: what a process waits in
 *	endpoint.c	endpoints, and what other kernels (or this one) send to them
 *	window.c	memory that two kernels share
 *
 * Locks, outermost first:
 *
 *	endpoint->receive	one RECEIVE at a time; user memory is written under it
 *	names_lock		services and groups change
 *	windows_lock		all windows of this kernel; see window.c
 *	window->lock		whether a page may be mapped; taken by page faults
 *	table_lock		endpoints come and go
 *	endpoint->lock		what waits in an endpoint. From interrupts
 *	calls_lock		calls that wait for their reply. From interrupts
 *
 * None of them is held while another kernel is waited for.
 */
#ifndef _POPCORN_MSG_USER_H
#define _POPCORN_MSG_USER_H

#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <popcorn/directory.h>
#include <popcorn/msg.h>
#include <uapi/popcorn-msg.h>

/* Of everything that the drivers say to each other here. */
#define TYPE_USER POPCORN_MSG_TYPE_PROCESSES

/*
 * What is said. Some are requests of the layer, replied to in the handler: so the sender knows what
 * has become of it, and nothing that the layer has little of is held while a process takes its time.
 * The others are only sent; of a message in pieces, those in the middle.
 */
enum packet_kind {
	PACKET_LOOKUP = 1, /* name[]. Reply: __u64 endpoint */
	PACKET_SEND,	   /* a piece of a message */
	PACKET_ABORT,	   /* the rest of message @number does not come. Sent */
	PACKET_ROOM,	   /* there is room in endpoint @from again. Sent */
	PACKET_REQUEST,	   /* @number: of the call; @total: room for its reply. Sent */
	PACKET_REPLY,	   /* @number: of the call; @status. Sent */
	PACKET_GROUP,	   /* name[], then the message. Sent */
	PACKET_PING,	   /* Reply: the same bytes */
	PACKET_WINDOW,	   /* @number: of the window; @offset: first range. Reply: window_ranges */
	PACKET_REVOKE,	   /* @number: of the window. Reply: it is not mapped any more */
	PACKET_REFUSED, /* @number: of the call, whose request is not there: @status says why. Sent */
	PACKET_ASK,	/* @number: of the call. Reply: it is there, or REPLY or REFUSED was sent */
};

#define PACKET_CLOSED (1U << 0) /* REPLY: by nobody, the endpoint was closed */

struct packet {
	__u8 kind;
	__u8 flags; /* PACKET_CLOSED, or 0 */
	__u16 reserved;
	__u32 uid;
	__u64 to, from; /* endpoints */
	__u64 number;	/* SEND: of the message, the sender's */
	__u32 offset;	/* SEND: of the piece */
	__u32 total;	/* SEND: bytes of the message */
	__s32 status;
	__u32 reserved1;
	__u8 data[];
};
#define PACKET_DATA_MAX (POPCORN_MSG_MAX - sizeof(struct packet))

static_assert(POPCORN_MSG_CALL_MAX + POPCORN_MSG_NAME_MAX <= PACKET_DATA_MAX);

/* Endpoints of a kernel. */
#define ENDPOINTS_MAX 4096
/* What a message counts for beyond its bytes. */
#define MESSAGE_OVERHEAD 256

/* A part of a message. */
struct chunk {
	struct chunk *next;
	refcount_t users; /* what came by a group is kept once for all endpoints */
	u32 length;
	u8 data[];
};
static_assert(sizeof(struct chunk) + PACKET_DATA_MAX <= 4096);

/* A message, from its first piece on; one with a request until it was replied to. */
struct message {
	struct list_head list; /* of endpoint->queue, partial or requests */
	struct popcorn_msg_addr from;
	u64 number; /* the sender's: of a message in pieces; of a call */
	u64 call;   /* ours: what the receiver replies to */
	u32 uid, flags;
	u32 room;      /* for the reply */
	bool replying; /* it is being replied to */
	u32 total, have;
	unsigned long touched; /* jiffies of the last piece */
	struct chunk *first, **last;
	char group[POPCORN_MSG_NAME_MAX];
};

struct membership {
	struct hlist_node node; /* by name */
	struct endpoint *endpoint;
	struct rcu_head rcu;
	char name[POPCORN_MSG_NAME_MAX];
};

/* An open descriptor. It lives until that is closed, and its callers know; found by RCU. */
struct endpoint {
	u64 number;
	struct hlist_node node;		/* by number */
	struct hlist_node service_node; /* by service */
	char service[POPCORN_MSG_NAME_MAX];
	struct membership *groups[POPCORN_MSG_GROUPS_MAX]; /* names_lock */

	spinlock_t lock; /* what follows */
	bool closed;
	struct list_head queue;	   /* complete */
	struct list_head partial;  /* being received */
	struct list_head requests; /* received, not replied to */
	u32 used;		   /* bytes of queue and partial, with overhead */
	u32 nr_requests;	   /* of queue and requests */
	u32 lost;
	/* Kernels in which somebody waits for room here. */
	DECLARE_BITMAP(wanting, POPCORN_MEMBERS_MAX);

	wait_queue_head_t wait; /* for messages */
	u64 arrived;		/* local_clock() of the last one */
	bool looks;		/* for one before sleeping */
	struct timer_list timer;
	struct mutex receive;
	atomic_t members_seen;

	struct list_head windows; /* windows_lock */
	u32 nr_windows;

	struct work_struct close;
	struct rcu_head rcu;
};

/* A process that waits for a reply. */
struct user_call {
	struct hlist_node node;
	u64 number;
	struct popcorn_msg_addr to;
	void *reply;
	u32 room;
	int result; /* bytes, or negative errno */
	s32 status;
	struct completion done;
};

/* endpoint.c */
extern struct workqueue_struct *user_wq;
bool name_valid(const char *name);
bool name_allowed(const char *name);
struct endpoint *endpoint_open(void);
void endpoint_close(struct endpoint *endpoint);
int endpoint_bind(struct endpoint *endpoint, const char *name);
int endpoint_join(struct endpoint *endpoint, const char *name);
int endpoint_leave(struct endpoint *endpoint, const char *name);
int endpoint_receive(struct endpoint *endpoint, struct popcorn_msg_receive *args, long timeout);
struct message *endpoint_take_request(struct endpoint *endpoint, u64 call);
void endpoint_put_request(struct endpoint *endpoint, struct message *request, bool replied);
int packet_take(const struct popcorn_msg *msg, const struct packet *packet, u32 length,
		void *reply);
void call_begin(struct user_call *call);
int call_end(struct user_call *call, int err);
u32 room_sequence(const struct popcorn_msg_addr *to);
long room_wait(const struct popcorn_msg_addr *to, u32 sequence, long timeout);
u32 members_sequence(void);
void members_poll(struct file *file, poll_table *table);
int endpoints_init(void);
void endpoints_exit(void);

/* user.c */
int user_enter(void);
void user_leave(int index);
void user_look(bool (*is_there)(const void *what), const void *what);
bool user_next(struct popcorn_msg_peer *peer);
int user_resolve(struct popcorn_msg_addr *to);
struct packet *packet_new(u8 kind, const struct endpoint *from, u64 to, u32 length);
int hand_over(const struct popcorn_msg_addr *to, u32 priority, const struct packet *packet,
	      u32 length, void *reply, u32 room, long timeout);
void user_tell(const struct popcorn_msg_addr *to, u32 priority, const struct packet *packet,
	       u32 length);
int user_reply_closed(const struct message *request, u64 endpoint);
int user_lookup(struct endpoint *endpoint, struct popcorn_msg_lookup *args);
int user_send(struct endpoint *endpoint, struct popcorn_msg_send_args *args, long timeout);
int user_send_group(struct endpoint *endpoint, struct popcorn_msg_send_args *args, long timeout);
int user_call(struct endpoint *endpoint, struct popcorn_msg_call_args *args);
int user_reply(struct endpoint *endpoint, const struct popcorn_msg_reply_args *args);
int user_ping(struct endpoint *endpoint, struct popcorn_msg_ping *args);
int user_stats(struct popcorn_msg_counters *args);

static inline long user_timeout(u32 ms)
{
	if (ms == POPCORN_MSG_FOREVER)
		return MAX_SCHEDULE_TIMEOUT;
	/* A part of the present jiffy is over already. */
	return ms ? (long)msecs_to_jiffies(ms) + 1 : 0;
}

/* For debugfs, and for tests that nothing is left. */
extern struct user_count {
	atomic_t endpoints, messages, calls, requests, windows, openings, revoking;
	atomic_long_t bytes, window_bytes;
} user_count;

#endif /* _POPCORN_MSG_USER_H */
