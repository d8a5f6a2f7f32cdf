// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receiving. One reader at a time, whoever it is: the doorbell's handler, the thread, or a caller who
 * waits for a reply anyway. RX_BUSY says that there is one.
 *
 * While there is one, the bells are disarmed, and nobody sends an interrupt. The handler takes
 * replies and control messages, up to a budget, right there: their handlers are short. What is left,
 * and bulk, it hands to the thread, which goes on without interrupts until nothing is left, and then
 * looks a little longer if messages have come close to each other lately.
 *
 * Going to sleep: first RX_BUSY is cleared, then the bells are armed, then the marks are looked at
 * once more (popcorn_bell_arm()). A mark that comes after that look finds the bell armed, and the
 * interrupt finds RX_BUSY clear. A mark that is found disarms the bells and takes RX_BUSY again. If
 * somebody else has taken it in between, he has yet to go to sleep in the same way, so he arms them
 * after we have disarmed them, and looks after he has armed them. tests/models/reader.pml checks all that.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>

#include "msg.h"
#include "trace.h"

/* Messages that one interrupt handles; more are the thread's. */
#define IRQ_BUDGET 64
/* Messages that the thread handles before it looks for others who want the CPU. */
#define THREAD_BUDGET 256
/* Messages of one sender in a row while others wait. */
#define QUOTA 16
/* How long it looks at first, when looking begins to pay. */
#define POLL_FIRST_NS 10000
/* Messages that wait for a handler that sleeps, of one sender and lane. */
#define QUEUE_MAX 256
/* Messages that a work handles before it lets go: who flushes it does not wait for ever. */
#define WORK_BUDGET 64

enum { RX_BUSY, RX_WAKE };
static unsigned long rx_flags;
static struct task_struct *rx_thread;
static struct workqueue_struct *rx_wq;
/* What the one reader needs. */
static u8 rx_payload[POPCORN_MESSAGE_MAX] __aligned(64);
static u32 rx_first[POPCORN_LANES];
static u64 armed_at;
static u64 poll_ns; /* how long it pays to look; 0: not at all */
struct popcorn_msg_rx_count rx_count;

static DEFINE_MUTEX(types_lock);
static const struct popcorn_msg_type __rcu *types[POPCORN_MSG_TYPES];

struct queued {
	struct list_head list;
	struct popcorn_msg msg;
	/* Of a chunk. @total 0: it is none. */
	u32 stream, offset, total;
	u8 payload[];
};

/*
 * Handlers run with preemption off, or who preempts them would keep all other messages waiting. Not
 * on RT, where they may take locks that sleep.
 */
static void reader_begin(void) __acquires(RCU)
{
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_disable();
	rcu_read_lock();
}

static void reader_end(void) __releases(RCU)
{
	rcu_read_unlock();
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_enable();
}

static void disarm(void)
{
	u32 lane;

	for (lane = 0; lane < POPCORN_LANES; lane++)
		popcorn_bell_disarm(&self.mailbox->bell[lane]);
}

static bool is_marked(u32 lane)
{
	const struct popcorn_bell *bell = &self.mailbox->bell[lane];
	u32 id, used = READ_ONCE(self.used);

	for (id = 0; id < used; id++)
		if (READ_ONCE(bell->pending[id]))
			return true;
	return false;
}

/* Sleeping handlers: the message is copied, and handled by a work of its sender and lane. */

/*
 * Puts a large message together. Returns all of it with its last chunk, for the caller to free.
 *
 * rx_drop() may have been here since the chunk left the queue. Then the peer's rings are not looked at,
 * or they are those of another life: nothing is begun that nobody would free.
 */
static void *assemble(struct rx *rx, const struct queued *queued)
{
	struct stream *stream = &rx->streams[queued->stream];
	void *memory = NULL, *complete = NULL;

	/* Not under the lock: it may take a while, and rx_drop() is waited for. */
	if (!queued->offset)
		memory = kvmalloc(queued->total, GFP_KERNEL);
	mutex_lock(&rx->large_lock);
	if (!READ_ONCE(rx->peer->rx_ready) || queued->msg.from.generation != rx->peer->generation)
		goto unlock;
	if (!queued->offset) {
		/* What was there is of a sender that gave up, or nothing. */
		swap(stream->memory, memory);
		if (!stream->memory)
			peer_fail(rx->peer, "there is no memory for its large message");
	}
	if (!stream->memory)
		goto unlock;
	memcpy(stream->memory + queued->offset, queued->payload, queued->msg.length);
	if (queued->offset + queued->msg.length == queued->total)
		complete = xchg(&stream->memory, NULL);
unlock:
	mutex_unlock(&rx->large_lock);
	kvfree(memory);
	return complete;
}

static void handle_queued(struct rx *rx, struct queued *queued)
{
	const struct popcorn_msg_type *type;
	struct popcorn_msg_type copy;
	void *large = NULL;
	int ret;

	if (queued->total) {
		large = assemble(rx, queued);
		if (!large)
			return;
		queued->msg.length = queued->total;
	}
	rcu_read_lock();
	type = rcu_dereference(types[queued->msg.type]);
	if (type)
		copy = *type;
	rcu_read_unlock();
	/* Whoever unregisters waits for this work: see rx_flush(). */
	ret = type ? copy.handler(&queued->msg, large ?: queued->payload, copy.data) : -EOPNOTSUPP;
	if (ret < 0 && queued->msg.call)
		tx_reply(&queued->msg, ret, NULL, 0);
	kvfree(large);
}

static void rx_work(struct work_struct *work)
{
	struct rx *rx = container_of(work, struct rx, work);
	struct queued *queued;
	bool again;
	int n;

	for (n = 0; n < WORK_BUDGET; n++) {
		if (!READ_ONCE(rx->spare)) {
			queued = kmalloc(struct_size(queued, payload, POPCORN_MESSAGE_MAX),
					 GFP_KERNEL);
			if (queued && cmpxchg(&rx->spare, NULL, queued))
				kfree(queued);
		}
		spin_lock_irq(&rx->lock);
		queued = list_first_entry_or_null(&rx->queue, struct queued, list);
		if (queued) {
			list_del(&queued->list);
			rx->queued--;
		}
		again = rx->stalled && rx->queued <= QUEUE_MAX / 2;
		if (again)
			rx->stalled = false;
		spin_unlock_irq(&rx->lock);
		if (again) {
			/* The reader has left it alone, and has taken its mark. */
			WRITE_ONCE(self.mailbox->bell[rx - rx->peer->rx].pending[rx->peer->id], 1);
			rx_kick();
		}
		if (!queued)
			return;
		handle_queued(rx, queued);
		kfree(queued);
		cond_resched();
	}
	queue_work(rx_wq, &rx->work);
}

/* true: it has been taken. false: later. */
static bool enqueue(struct rx *rx, const struct popcorn_msg *msg,
		    const struct popcorn_message *message)
{
	struct queued *queued = NULL;
	unsigned long flags;

	spin_lock_irqsave(&rx->lock, flags);
	if (rx->queued < QUEUE_MAX) {
		queued = kmalloc(struct_size(queued, payload, message->length),
				 GFP_ATOMIC | __GFP_NOWARN)
				 ?: xchg(&rx->spare, NULL);
	}
	if (queued) {
		queued->msg = *msg;
		queued->total = 0;
		if (message->flags & FLAG_CHUNK) {
			queued->stream = message->id;
			queued->offset = CHUNK_OFFSET(message->cookie);
			queued->total = CHUNK_TOTAL(message->cookie);
		}
		popcorn_ring_copy(&rx->reader, message, queued->payload);
		list_add_tail(&queued->list, &rx->queue);
		rx->queued++;
	} else {
		rx->stalled = true;
		rx->stalls++;
	}
	spin_unlock_irqrestore(&rx->lock, flags);
	queue_work(rx_wq, &rx->work);
	return queued;
}

/* Of a life that is over. What a handler has begun with, it ends; its replies go nowhere. */
void rx_drop(struct peer *peer)
{
	struct queued *queued, *next;
	struct rx *rx;
	LIST_HEAD(dropped);
	u32 i;

	for (rx = peer->rx; rx < peer->rx + POPCORN_LANES; rx++) {
		spin_lock_irq(&rx->lock);
		list_splice_tail_init(&rx->queue, &dropped);
		rx->queued = 0;
		rx->stalled = false;
		spin_unlock_irq(&rx->lock);
		mutex_lock(&rx->large_lock);
		for (i = 0; i < STREAMS_MAX; i++) {
			kvfree(rx->streams[i].memory);
			rx->streams[i].memory = NULL;
		}
		mutex_unlock(&rx->large_lock);
	}
	list_for_each_entry_safe(queued, next, &dropped, list)
		kfree(queued);
}

void rx_lane_init(struct peer *peer, u32 lane)
{
	struct rx *rx = &peer->rx[lane];

	spin_lock_init(&rx->lock);
	mutex_init(&rx->large_lock);
	INIT_LIST_HEAD(&rx->queue);
	INIT_WORK(&rx->work, rx_work);
	rx->peer = peer;
}

/* For a new life: nothing has come. Their memory went with the last one. */
void rx_streams_init(struct rx *rx)
{
	struct stream *stream;

	for (stream = rx->streams; stream < rx->streams + STREAMS_MAX; stream++) {
		stream->next = 0;
		stream->total = 0;
	}
}

/* One message */

static bool take_hello(struct peer *peer, const struct popcorn_message *message,
		       const void *payload)
{
	const struct hello *hello = payload;
	u32 low, high;

	if (message->length < sizeof(*hello) || hello->id != peer->id ||
	    hello->generation != peer->generation || !hello->streams) {
		peer_fail(peer, "its hello is damaged");
		return false;
	}
	low = max(hello->protocol_min, protocol_min());
	high = min(hello->protocol_max, protocol_max());
	if (low > high) {
		pr_err("kernel %u speaks protocols %u to %u, this one %u to %u\n", peer->id,
		       hello->protocol_min, hello->protocol_max, protocol_min(), protocol_max());
		/* It is to hear ours all the same, and say so as well. */
		WRITE_ONCE(peer->refused, true);
		peer_fail(peer, "it speaks no protocol that this kernel knows");
		return false;
	}
	peer->protocol = high;
	peer->streams = min_t(u32, hello->streams, STREAMS_MAX);
	smp_store_release(&peer->hello, true);
	member_look();
	return true;
}

static void take_failed(struct peer *peer, const struct popcorn_message *message, void *payload)
{
	struct failed *failed = payload;
	size_t i;

	if (self.id || message->length != sizeof(*failed)) {
		peer_fail(peer, "it reports a failure that makes no sense");
		return;
	}
	failed->why[sizeof(failed->why) - 1] = '\0';
	for (i = 0; failed->why[i]; i++)
		if (failed->why[i] < ' ' || failed->why[i] > '~')
			failed->why[i] = '?';
	pr_err("kernel %u says that kernel %u.%u has failed: %s\n", peer->id, failed->id,
	       failed->generation, failed->why);
}

static bool is_sound(const struct rx *rx, const struct popcorn_message *message)
{
	const u32 offset = CHUNK_OFFSET(message->cookie), total = CHUNK_TOTAL(message->cookie);
	const struct stream *stream;

	if (message->id >= large_streams() || total <= POPCORN_MSG_MAX ||
	    total > POPCORN_MSG_LARGE_MAX || offset >= total ||
	    message->length != min_t(u32, total - offset, POPCORN_MSG_MAX))
		return false;
	if (!offset)
		return true;
	stream = &rx->streams[message->id];
	return offset == stream->next && total == stream->total && message->type == stream->type;
}

/* false: later. Whether a message is refused is decided once, when it begins. */
static bool take_chunk(struct rx *rx, const struct popcorn_msg *msg,
		       const struct popcorn_msg_type *type, const struct popcorn_message *message)
{
	const u32 offset = CHUNK_OFFSET(message->cookie);
	struct stream *stream = &rx->streams[message->id];
	bool refused = offset ? stream->refused : !type || !(type->flags & POPCORN_MSG_SLEEPS);

	if (!refused && !enqueue(rx, msg, message))
		return false;
	if (refused && !offset)
		rx->unknown++;
	stream->next = offset + message->length;
	stream->total = CHUNK_TOTAL(message->cookie);
	stream->type = message->type;
	stream->refused = refused;
	rx->payload += message->length;
	if (stream->next == stream->total)
		rx->messages++;
	return true;
}

static bool flags_are_sound(u32 lane, const struct popcorn_message *message)
{
	switch (message->flags) {
	case 0:
		return lane != POPCORN_LANE_REPLY;
	case FLAG_REPLY:
		return lane == POPCORN_LANE_REPLY;
	case FLAG_REQUEST:
	case FLAG_CHUNK:
	case FLAG_GROUP:
		return lane != POPCORN_LANE_REPLY && message->type >= POPCORN_MSG_TYPE_FIRST;
	default:
		return false;
	}
}

/* What kernels say among themselves, after their hellos. */
static bool take_layer(struct peer *peer, u32 lane, const struct popcorn_message *message,
		       void *payload)
{
	if (lane != POPCORN_LANE_CONTROL)
		goto nonsense;
	if (message->type == TYPE_FAILED) {
		take_failed(peer, message, payload);
		return true;
	}
	if (message->type == TYPE_GROUP && group_told(peer, payload, message->length))
		return true;
nonsense:
	peer_fail(peer, "it sends messages of the layer that make no sense");
	return false;
}

/* Takes the message that was peeked at. false: it stays, and others behind it. */
static bool deliver(struct peer *peer, struct rx *rx, u32 lane,
		    const struct popcorn_message *message)
{
	const struct popcorn_msg_type *type;
	struct popcorn_msg msg = {
		.from = { peer->id, peer->generation },
		.type = message->type,
		.priority = lane,
		.length = message->length,
	};
	bool wake, used, in = true;
	int ret = 0;

	if (!flags_are_sound(lane, message)) {
		peer_fail(peer, "it sends messages that make no sense");
		return false;
	}
	if (!READ_ONCE(peer->rx_open)) {
		/* Before we say that it is up, only its hello is for us. */
		if (lane != POPCORN_LANE_CONTROL || message->type != TYPE_HELLO ||
		    READ_ONCE(peer->hello))
			return false;
		popcorn_ring_copy(&rx->reader, message, rx_payload);
		popcorn_ring_next(&rx->reader, message);
		return take_hello(peer, message, rx_payload);
	}

	type = message->type < POPCORN_MSG_TYPES ? rcu_dereference(types[message->type]) : NULL;
	if (message->flags & FLAG_CHUNK) {
		if (!is_sound(rx, message)) {
			peer_fail(peer, "it sends large messages that make no sense");
			return false;
		}
		if (!take_chunk(rx, &msg, type, message))
			return false;
		wake = popcorn_ring_next(&rx->reader, message);
		goto credit;
	}
	rx->messages++;
	rx->payload += message->length;
	if (lane == POPCORN_LANE_REPLY) {
		call_reply(peer, rx, message, &used);
		if (!used)
			rx->late++;
		wake = popcorn_ring_next(&rx->reader, message);
		goto credit;
	}
	if (message->flags & FLAG_REQUEST) {
		if (!message->id || message->cookie > POPCORN_MESSAGE_MAX) {
			peer_fail(peer, "it sends requests that make no sense");
			return false;
		}
		msg.call = message->id;
		msg.room = message->cookie;
	}
	if (message->flags & FLAG_GROUP && !group_take(message, msg.group, &in)) {
		peer_fail(peer, "it sends to groups that make no sense");
		return false;
	}
	/* It had not heard yet that we left: as if nobody handled it. */
	if (!in)
		type = NULL;
	if (type && type->flags & POPCORN_MSG_SLEEPS) {
		if (!enqueue(rx, &msg, message)) {
			rx->messages--;
			rx->payload -= message->length;
			return false;
		}
		wake = popcorn_ring_next(&rx->reader, message);
		goto credit;
	}
	popcorn_ring_copy(&rx->reader, message, rx_payload);
	/* Before it is handled: the sender may go on meanwhile. */
	wake = popcorn_ring_next(&rx->reader, message);
	if (type) {
		ret = type->handler(&msg, rx_payload, type->data);
	} else if (message->type < POPCORN_MSG_TYPE_FIRST) {
		if (!take_layer(peer, lane, message, rx_payload))
			return false;
	} else {
		rx->unknown++;
		ret = -EOPNOTSUPP;
	}
	if (ret < 0 && msg.call)
		tx_reply(&msg, ret, NULL, 0);
credit:
	if (wake && popcorn_bell_mark(&peer->mailbox->bell[lane], self.id))
		peer_ring(peer);
	return true;
}

/* Up to @quota messages of one sender; how many. *ret_more: there are more. */
static u32 drain(struct peer *peer, u32 lane, u32 quota, bool *ret_more)
{
	struct rx *rx = &peer->rx[lane];
	struct popcorn_message message;
	int ret = 0;
	u32 n;

	for (n = 0; n < quota; n++) {
		ret = popcorn_ring_peek(&rx->reader, &message);
		if (ret)
			break;
		trace_popcorn_msg_receive(peer->id, peer->generation, lane, &message);
		if (!deliver(peer, rx, lane, &message))
			break;
	}
	if (n > rx->high_water)
		rx->high_water = n;
	if (popcorn_ring_publish(&rx->reader) &&
	    popcorn_bell_mark(&peer->mailbox->bell[lane], self.id))
		peer_ring(peer);
	if (ret == -EBADMSG)
		peer_fail(peer, "there is garbage in its ring");
	if (n == quota)
		*ret_more = true;
	return n;
}

/* One visit to all who have marked themselves on one lane. */
static u32 visit(u32 lane, u32 quota, bool *ret_more)
{
	struct popcorn_bell *bell = &self.mailbox->bell[lane];
	u32 used = READ_ONCE(self.used), i, id, n = 0;
	struct peer *peer;
	bool more;

	/* Another one is first each time. */
	if (++rx_first[lane] >= used)
		rx_first[lane] = 0;
	for (i = 0, id = rx_first[lane]; i < used; i++, id = id + 1 < used ? id + 1 : 0) {
		if (!READ_ONCE(bell->pending[id]) || !popcorn_bell_take(bell, id))
			continue;
		peer = peer_of(id);
		if (!peer || !smp_load_acquire(&peer->rx_ready) || READ_ONCE(peer->failed))
			continue;
		/* The mark may also mean that it has taken messages of ours. */
		tx_credit(peer, lane);
		more = false;
		n += drain(peer, lane, quota, &more);
		if (more) {
			WRITE_ONCE(bell->pending[id], 1);
			*ret_more = true;
		}
	}
	return n;
}

/* Lanes below @lanes, until nothing is left or @budget is used up. true: there is more. */
static bool run(u32 lanes, u32 budget)
{
	u32 lane, n, total = 0;
	bool more;

	reader_begin();
	do {
		more = false;
		for (lane = 0, n = 0; lane < lanes; lane++)
			n += visit(lane, lane == POPCORN_LANE_BULK ? QUOTA : 2 * QUOTA, &more);
		total += n;
	} while (more && total < budget);
	reader_end();
	return more;
}

/* The reader is done. false: there is something new, and the caller is the reader again. */
static bool sleep_or_go_on(void)
{
	u32 lane, used = READ_ONCE(self.used);

	armed_at = local_clock();
	clear_bit_unlock(RX_BUSY, &rx_flags);
	/* Each has the barrier between what is above it and the look at the marks. */
	for (lane = 0; lane < POPCORN_LANES; lane++)
		if (!popcorn_bell_arm(&self.mailbox->bell[lane], used))
			break;
	if (lane == POPCORN_LANES)
		return true;
	disarm();
	/* A full barrier: see above. */
	return test_and_set_bit(RX_BUSY, &rx_flags);
}

/* The caller is the reader, and the thread is it from here on. */
static void hand_over(void)
{
	set_bit(RX_WAKE, &rx_flags);
	wake_up_process(rx_thread);
}

static bool become_reader(void)
{
	if (test_and_set_bit(RX_BUSY, &rx_flags))
		return false;
	disarm();
	return true;
}

/* Somebody of this kernel has stored a mark. Context: any but NMI. */
void rx_kick(void)
{
	if (become_reader())
		hand_over();
}

/* Does looking pay? It would have, if the message came soon after we had stopped. */
static bool worth_polling(void)
{
	u64 limit = READ_ONCE(poll_us) * 1000ULL, gap = local_clock() - armed_at;

	if ((s64)gap < 0)
		gap = 0;
	if (gap < limit)
		poll_ns = min(poll_ns ? 2 * poll_ns : POLL_FIRST_NS, limit);
	else
		poll_ns = poll_ns / 2 < POLL_FIRST_NS ? 0 : poll_ns / 2;
	return poll_ns;
}

irqreturn_t rx_interrupt(int irq, void *cookie)
{
	bool more;

	if (!smp_load_acquire(&self.joined))
		return IRQ_HANDLED;
	if (READ_ONCE(self.mailbox->news))
		member_look();
	if (!become_reader())
		return IRQ_HANDLED;
	rx_count.interrupts++;
	more = run(POPCORN_LANE_BULK, IRQ_BUDGET);
	more = worth_polling() || more || is_marked(POPCORN_LANE_BULK) || !sleep_or_go_on();
	trace_popcorn_msg_interrupt(more);
	if (more)
		hand_over();
	return IRQ_HANDLED;
}

/* Whoever looks, rather than sleeps, does it only for as long as nobody else has use for the CPU. */
static bool cpu_is_wanted(void)
{
	return need_resched() || !single_task_running();
}

/* Looks for as long as it pays, or until somebody else wants the CPU. true: there is something. */
static bool poll(void)
{
	u64 end = local_clock() + poll_ns;
	u32 lane;

	if (!poll_ns)
		return false;
	rx_count.polls++;
	while (local_clock() < end && !cpu_is_wanted()) {
		for (lane = 0; lane < POPCORN_LANES; lane++)
			if (is_marked(lane)) {
				rx_count.polled++;
				return true;
			}
		cpu_relax();
	}
	poll_ns = poll_ns / 2 < POLL_FIRST_NS ? 0 : poll_ns / 2;
	return false;
}

static int thread(void *unused)
{
	while (!kthread_should_stop()) {
		set_current_state(TASK_IDLE);
		if (!test_and_clear_bit(RX_WAKE, &rx_flags)) {
			if (!kthread_should_stop())
				schedule();
			continue;
		}
		__set_current_state(TASK_RUNNING);
		rx_count.threads++;
		do {
			do {
				while (run(POPCORN_LANES, THREAD_BUDGET))
					cond_resched();
			} while (poll());
		} while (!sleep_or_go_on());
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

/*
 * Reads messages while somebody waits for one: for as long as poll_us says, unless somebody else
 * wants the CPU, or until @is_there(@what). So what comes soon costs neither interrupt nor wake-up. Not on RT, where
 * preemption can't be off meanwhile. Context: process.
 */
void rx_look(bool (*is_there)(const void *what), const void *what)
{
	u64 end = local_clock() + READ_ONCE(poll_us) * 1000ULL;
	bool reader = false;
	u32 lane;

	if (IS_ENABLED(CONFIG_PREEMPT_RT) || !READ_ONCE(poll_us))
		return;
	/* The reader must not lose its CPU: everybody would wait for it. */
	preempt_disable();
	while (!is_there(what) && !cpu_is_wanted() && local_clock() < end) {
		/* Who was it may have gone to sleep. */
		if (!reader && !test_bit(RX_BUSY, &rx_flags))
			reader = become_reader();
		for (lane = 0; reader && lane < POPCORN_LANES; lane++)
			if (is_marked(lane)) {
				run(POPCORN_LANES, QUOTA);
				break;
			}
		cpu_relax();
	}
	if (reader && !sleep_or_go_on())
		hand_over();
	preempt_enable();
}

/* For rx_look(): the completion of a call, whose reply is there. */
bool rx_is_done(const void *what)
{
	const struct completion *done = what;

	return READ_ONCE(done->done);
}

/* From member_work: what has waited in the rings until the listeners knew is handled now. */
void rx_open(struct peer *peer)
{
	u32 lane;

	WRITE_ONCE(peer->rx_open, true);
	/* Between it and the marks: the reader takes a mark, then looks whether it is open. */
	smp_mb();
	for (lane = 0; lane < POPCORN_LANES; lane++)
		WRITE_ONCE(self.mailbox->bell[lane].pending[peer->id], 1);
	rx_kick();
}

/* A ring got lost, or not: if there are marks, nobody reads, and no interrupt has come. */
void rx_beat(void)
{
	u32 lane;

	if (test_bit(RX_BUSY, &rx_flags))
		return;
	for (lane = 0; lane < POPCORN_LANES; lane++)
		if (is_marked(lane)) {
			rx_kick();
			return;
		}
}

/* Handlers */

/**
 * popcorn_msg_register - handle messages of a type
 * @type: stays there until popcorn_msg_unregister()
 *
 * Context: process.
 * Return: 0; -EINVAL a type that is not for others, no handler, unknown flags; -EBUSY somebody else
 * handles it.
 */
int popcorn_msg_register(const struct popcorn_msg_type *type)
{
	int err = 0;

	if (type->type < POPCORN_MSG_TYPE_FIRST || type->type >= POPCORN_MSG_TYPES ||
	    !type->handler || type->flags & ~POPCORN_MSG_SLEEPS)
		return -EINVAL;
	mutex_lock(&types_lock);
	if (rcu_access_pointer(types[type->type]))
		err = -EBUSY;
	else
		rcu_assign_pointer(types[type->type], type);
	mutex_unlock(&types_lock);
	return err;
}
EXPORT_SYMBOL_GPL(popcorn_msg_register);

/* Handlers that sleep, and had begun before, have ended. */
void rx_flush(void)
{
	struct peer *peer;
	u32 id, lane;

	for (id = 0; id < READ_ONCE(self.used); id++) {
		peer = peer_of(id);
		for (lane = 0; peer && lane < POPCORN_LANES; lane++)
			flush_work(&peer->rx[lane].work);
	}
}

/**
 * popcorn_msg_unregister - handle them no more
 * @type: of popcorn_msg_register()
 *
 * Context: process; not from a handler. When it returns the handler does not run, nor will it.
 */
void popcorn_msg_unregister(const struct popcorn_msg_type *type)
{
	mutex_lock(&types_lock);
	RCU_INIT_POINTER(types[type->type], NULL);
	mutex_unlock(&types_lock);
	synchronize_rcu();
	rx_flush();
}
EXPORT_SYMBOL_GPL(popcorn_msg_unregister);

int rx_init(void)
{
	struct task_struct *task;

	rx_wq = alloc_workqueue("popcorn_msg_rx", WQ_UNBOUND, 0);
	if (!rx_wq)
		return -ENOMEM;
	task = kthread_run(thread, NULL, "popcorn_msg");
	if (IS_ERR(task)) {
		destroy_workqueue(rx_wq);
		return PTR_ERR(task);
	}
	/* Before ordinary work, but never instead of it: it may look for messages that do not come. */
	set_user_nice(task, MIN_NICE);
	rx_thread = task;
	return 0;
}

/* No interrupt comes any more. */
void rx_exit(void)
{
	kthread_stop(rx_thread);
	destroy_workqueue(rx_wq);
	rx_flags = 0;
}
