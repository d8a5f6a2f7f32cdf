// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sending, and calls. A sender is in an RCU read section while it uses a peer's ring, with
 * preemption off, because messages behind its ticket wait until it is done.
 */
#include <linux/bitmap.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "msg.h"
#include "trace.h"

/* Context: preemption is off. */
static void count_sent(struct tx *tx, const struct popcorn_message *message)
{
	/* A large message is one, with its last chunk. */
	if (!(message->flags & FLAG_CHUNK) ||
	    CHUNK_OFFSET(message->cookie) + message->length == CHUNK_TOTAL(message->cookie))
		this_cpu_inc(tx->count->messages);
	this_cpu_add(tx->count->bytes, message->length);
}

/* Context: RCU read section, preemption off; the pair is up, or says hello. */
static int ring_send(struct peer *peer, u32 lane, const struct popcorn_message *message,
		     const void *payload)
{
	struct tx *tx = &peer->tx[lane];
	int err = popcorn_ring_send(&tx->writer, message, payload);

	if (err) {
		if (err == -EBADMSG)
			peer_fail(peer, "it says that it has read what was not sent");
		return err == -EBADMSG ? -EPIPE : err;
	}
	trace_popcorn_msg_send(peer->id, peer->generation, lane, message);
	if (popcorn_bell_mark(&peer->mailbox->bell[lane], self.id)) {
		this_cpu_inc(tx->count->rings);
		peer_ring(peer);
	}
	count_sent(tx, message);
	return 0;
}

/* Whether it can be reached in that life. Context: RCU read section, for as long as it matters. */
static int check_up(const struct peer *peer, u32 generation)
{
	if (READ_ONCE(self.left))
		return -ESHUTDOWN;
	if (!peer)
		return generation ? -EPIPE : -ENOTCONN;
	if (smp_load_acquire(&peer->state) != PEER_UP)
		return generation ? -EPIPE : -ENOTCONN;
	return generation && generation != READ_ONCE(peer->generation) ? -EPIPE : 0;
}

int tx_try(struct popcorn_msg_peer to, u32 lane, const struct popcorn_message *message,
	   const void *payload)
{
	struct peer *peer = peer_of(to.id);
	int err;

	rcu_read_lock();
	preempt_disable();
	err = check_up(peer, to.generation);
	if (!err)
		err = ring_send(peer, lane, message, payload);
	preempt_enable();
	rcu_read_unlock();
	return err;
}

/* The first message. Context: member_work; nobody else uses the ring yet. */
int tx_hello(struct peer *peer, const struct hello *hello)
{
	const struct popcorn_message message = { .length = sizeof(*hello), .type = TYPE_HELLO };
	int err;

	preempt_disable();
	err = ring_send(peer, POPCORN_LANE_CONTROL, &message, hello);
	preempt_enable();
	return err;
}

/* A message of the layer itself, if there is room. Context: any. */
void tx_primary(u16 type, const void *payload, u32 length)
{
	const struct popcorn_msg_peer primary = { 0, POPCORN_PRIMARY_GENERATION };
	const struct popcorn_message message = { .length = length, .type = type };

	tx_try(primary, POPCORN_LANE_CONTROL, &message, payload);
}

/* The peer may have taken messages: those who wait for that look again. Context: the reader. */
void tx_credit(struct peer *peer, u32 lane)
{
	struct tx *tx = &peer->tx[lane];

	if (wq_has_sleeper(&tx->credit))
		wake_up_all(&tx->credit);
	if (lane == POPCORN_LANE_CONTROL)
		group_credit(peer);
}

/* true: sleep, somebody will wake us. */
bool tx_wants_credit(struct peer *peer, u32 generation, u32 lane, u32 length)
{
	bool wait;

	rcu_read_lock();
	preempt_disable();
	wait = !check_up(peer, generation) &&
	       popcorn_ring_want_credit(&peer->tx[lane].writer, length);
	if (wait)
		this_cpu_inc(peer->tx[lane].count->waits);
	preempt_enable();
	rcu_read_unlock();
	return wait;
}

/* As popcorn_msg_send(); *timeout is what is left of it. */
int tx_wait(struct popcorn_msg_peer to, u32 lane, const struct popcorn_message *message,
	    const void *payload, long *timeout)
{
	struct peer *peer = peer_of(to.id);
	DEFINE_WAIT(wait);
	int err;

	/* In the life in which it was first reached, or not at all. */
	if (peer && !to.generation)
		to.generation = READ_ONCE(peer->generation);
	for (;;) {
		err = tx_try(to, lane, message, payload);
		if (err != -EAGAIN)
			return err;
		if (!*timeout)
			return -ETIMEDOUT;
		if (signal_pending(current))
			return -EINTR;
		/* On the queue before the wish: who grants it wakes the queue. */
		prepare_to_wait(&peer->tx[lane].credit, &wait, TASK_INTERRUPTIBLE);
		if (tx_wants_credit(peer, to.generation, lane, message->length) &&
		    !signal_pending(current))
			*timeout = schedule_timeout(*timeout);
		finish_wait(&peer->tx[lane].credit, &wait);
	}
}

/* Large messages */

static bool take_stream(struct tx *tx, u32 streams, u32 *ret)
{
	u32 i;

	for (i = 0; i < streams; i++)
		if (!test_and_set_bit_lock(i, &tx->streams)) {
			*ret = i;
			return true;
		}
	return false;
}

static int get_stream(struct popcorn_msg_peer to, struct peer *peer, u32 lane, long *timeout,
		      u32 *ret)
{
	struct tx *tx = &peer->tx[lane];
	const u32 streams = READ_ONCE(peer->streams);
	bool taken = take_stream(tx, streams, ret);
	int err = 0;
	long left;

	if (taken)
		return 0;
	if (!*timeout)
		return -ETIMEDOUT;
	left = wait_event_interruptible_timeout(tx->stream_wait,
						(taken = take_stream(tx, streams, ret)) ||
							(err = check_up(peer, to.generation)),
						*timeout);
	if (taken)
		*timeout = left;
	return taken ? 0 : err ?: left ? -EINTR : -ETIMEDOUT;
}

static void put_stream(struct tx *tx, u32 stream)
{
	clear_bit_unlock(stream, &tx->streams);
	smp_mb__after_atomic();
	/* Pairs with the queue's: stream, then sleepers. */
	if (wq_has_sleeper(&tx->stream_wait))
		wake_up(&tx->stream_wait);
}

static int send_large(struct popcorn_msg_peer to, u32 lane, u16 type, const void *payload,
		      u32 length, long timeout)
{
	struct popcorn_message message = { .type = type, .flags = FLAG_CHUNK };
	struct peer *peer = peer_of(to.id);
	u32 stream, offset;
	int err = check_up(peer, to.generation);

	if (err)
		return err;
	/* All of it in one life. */
	if (!to.generation)
		to.generation = READ_ONCE(peer->generation);
	if (!to.generation)
		return -ENOTCONN;
	err = get_stream(to, peer, lane, &timeout, &stream);
	if (err)
		return err;
	message.id = stream;
	for (offset = 0; offset < length && !err; offset += message.length) {
		message.length = min_t(u32, length - offset, POPCORN_MSG_MAX);
		message.cookie = CHUNK(offset, length);
		err = tx_wait(to, lane, &message, payload + offset, &timeout);
	}
	put_stream(&peer->tx[lane], stream);
	return err;
}

int tx_check(u32 priority, u16 type, u32 length, u32 most)
{
	if ((priority != POPCORN_MSG_CONTROL && priority != POPCORN_MSG_BULK) ||
	    type < POPCORN_MSG_TYPE_FIRST || type >= POPCORN_MSG_TYPES)
		return -EINVAL;
	return length > most ? -EMSGSIZE : 0;
}

/**
 * popcorn_msg_send - send a message
 * @to: whom
 * @priority: POPCORN_MSG_CONTROL or POPCORN_MSG_BULK
 * @type: who handles it there
 * @payload: @length bytes of kernel memory that can't fault
 * @length: at most POPCORN_MSG_LARGE_MAX; more than POPCORN_MSG_MAX only to a handler that sleeps.
 *          One that does not never sees it, and the receiver counts it as unknown
 * @timeout: jiffies to wait for room, all in all; MAX_SCHEDULE_TIMEOUT for ever
 *
 * 0 means that it is in the receiver's memory, not that it was handled. Any other value means that it
 * is not handled, also if parts of a large message are there.
 *
 * Context: process.
 * Return: 0; -EINVAL; -EMSGSIZE; -ENOTCONN: nobody of that id can be reached; -EPIPE: that life is
 * over, or has failed; -ESHUTDOWN: this kernel is ending; -ETIMEDOUT: no room; -EINTR: a signal.
 */
int popcorn_msg_send(struct popcorn_msg_peer to, u32 priority, u16 type, const void *payload,
		     u32 length, long timeout)
{
	const struct popcorn_message message = { .length = length, .type = type };
	int err = tx_check(priority, type, length, POPCORN_MSG_LARGE_MAX);

	might_sleep();
	if (!err && length > POPCORN_MSG_MAX)
		return send_large(to, priority, type, payload, length, timeout);
	return err ?: tx_wait(to, priority, &message, payload, &timeout);
}
EXPORT_SYMBOL_GPL(popcorn_msg_send);

/**
 * popcorn_msg_send_async - send a message now, or not at all
 *
 * As popcorn_msg_send(), but does not wait, and no more than POPCORN_MSG_MAX.
 *
 * Context: any but NMI.
 * Return: as popcorn_msg_send(), with -EAGAIN when there is no room, and no -ETIMEDOUT or -EINTR.
 */
int popcorn_msg_send_async(struct popcorn_msg_peer to, u32 priority, u16 type, const void *payload,
			   u32 length)
{
	const struct popcorn_message message = { .length = length, .type = type };
	int err = tx_check(priority, type, length, POPCORN_MSG_MAX);

	return err ?: tx_try(to, priority, &message, payload);
}
EXPORT_SYMBOL_GPL(popcorn_msg_send_async);

/*
 * Calls. Each has one of a fixed number of records, and sets aside room for the longest reply in our
 * own reply ring before it asks. Of that ring at most half is set aside, and at most a quarter and one
 * message have been read but not been given back (popcorn_ring_next()): a reply always finds room.
 * Records and room are kept until the reply has come, also when the caller has given up.
 */

#define CALL_INDEX(id) ((u32)(id)&0xffff)

void peer_calls_free(struct peer *peer)
{
	bitmap_free(peer->call_map);
	kvfree(peer->calls);
	free_percpu(peer->call_times);
}

int peer_calls_init(struct peer *peer)
{
	u32 i;

	peer->nr_calls = lane_slots(POPCORN_LANE_REPLY) / 2;
	atomic_set(&peer->reply_room, peer->nr_calls);
	init_waitqueue_head(&peer->call_wait);
	peer->calls = kvcalloc(peer->nr_calls, sizeof(*peer->calls), GFP_KERNEL);
	peer->call_map = bitmap_zalloc(peer->nr_calls, GFP_KERNEL);
	peer->call_times = alloc_percpu(struct call_times);
	if (!peer->calls || !peer->call_map || !peer->call_times) {
		peer_calls_free(peer);
		return -ENOMEM;
	}
	for (i = 0; i < peer->nr_calls; i++) {
		spin_lock_init(&peer->calls[i].lock);
		init_completion(&peer->calls[i].done);
	}
	return 0;
}

static bool take_room(struct peer *peer, u32 slots)
{
	int room = atomic_read(&peer->reply_room);

	while (room >= (int)slots)
		if (atomic_try_cmpxchg(&peer->reply_room, &room, room - (int)slots))
			return true;
	return false;
}

/*
 * A free record. There is one: each of those in use has set aside a slot at least. CPUs begin in
 * different words, so that they share none as long as few calls are under way.
 */
static u32 take_index(struct peer *peer)
{
	u32 n = peer->nr_calls, start = raw_smp_processor_id() * BITS_PER_LONG % n, i;

	do {
		i = find_next_zero_bit(peer->call_map, n, start);
		if (i >= n)
			i = find_first_zero_bit(peer->call_map, n);
	} while (i >= n || test_and_set_bit_lock(i, peer->call_map));
	return i;
}

static struct call *try_call(struct peer *peer, u32 slots)
{
	struct call *call;
	u32 i;

	if (!take_room(peer, slots))
		return NULL;
	i = take_index(peer);
	call = &peer->calls[i];
	call->slots = slots;
	call->id = (u64)i | ((u64)atomic64_inc_return(&peer->call_number) << 16);
	return call;
}

static void put_call(struct peer *peer, struct call *call)
{
	u32 slots = call->slots;

	/* First the record, then the room: see take_index(). */
	clear_bit_unlock(call - peer->calls, peer->call_map);
	smp_mb__after_atomic();
	atomic_add(slots, &peer->reply_room);
	/* Pairs with the queue's: room, then sleepers. */
	if (wq_has_sleeper(&peer->call_wait))
		wake_up_all(&peer->call_wait);
}

static int get_call(struct popcorn_msg_peer to, struct peer *peer, u32 slots, long *timeout,
		    struct call **ret)
{
	struct call *call = try_call(peer, slots);
	DEFINE_WAIT(wait);
	int err = 0;

	while (!call) {
		if (!*timeout)
			return -ETIMEDOUT;
		if (signal_pending(current))
			return -EINTR;
		prepare_to_wait(&peer->call_wait, &wait, TASK_INTERRUPTIBLE);
		call = try_call(peer, slots);
		err = check_up(peer, to.generation);
		if (!call && !err && !signal_pending(current))
			*timeout = schedule_timeout(*timeout);
		finish_wait(&peer->call_wait, &wait);
		if (err) {
			if (call)
				put_call(peer, call);
			return err;
		}
	}
	*ret = call;
	return 0;
}

/*
 * A reply. What it belongs to is found by its id, which only this kernel gives out, and of which the
 * index is bounded: of a peer that makes them up, none fits. Context: the reader.
 */
void call_reply(struct peer *peer, struct rx *rx, const struct popcorn_message *message,
		bool *ret_used)
{
	const s64 status = (s64)message->cookie;
	struct call *call;
	unsigned long flags;
	bool orphan = false;

	*ret_used = false;
	if (CALL_INDEX(message->id) >= peer->nr_calls)
		return;
	call = &peer->calls[CALL_INDEX(message->id)];
	spin_lock_irqsave(&call->lock, flags);
	if (call->id != message->id) {
		/* Of an earlier call, or of none. */
	} else if (call->state == CALL_WAITS) {
		if (status < 0) {
			call->result = status >= -MAX_ERRNO ? (int)status : -EPROTO;
		} else if (message->length > call->room) {
			call->result = -EMSGSIZE;
		} else {
			popcorn_ring_copy(&rx->reader, message, call->reply);
			call->result = message->length;
		}
		call->state = CALL_DONE;
		complete(&call->done);
		*ret_used = true;
	} else if (call->state == CALL_ORPHAN) {
		call->state = CALL_FREE;
		orphan = true;
	}
	spin_unlock_irqrestore(&call->lock, flags);
	if (orphan)
		put_call(peer, call);
}

/* That life is over: nobody waits for it any more. Context: member_work; no reader, no sender. */
void peer_calls_fail(struct peer *peer)
{
	struct call *call;
	bool orphan;
	u32 i;

	for (i = 0; i < peer->nr_calls; i++) {
		call = &peer->calls[i];
		spin_lock_irq(&call->lock);
		orphan = call->state == CALL_ORPHAN;
		if (orphan)
			call->state = CALL_FREE;
		if (call->state == CALL_WAITS) {
			call->state = CALL_DONE;
			call->result = -EPIPE;
			complete(&call->done);
		}
		spin_unlock_irq(&call->lock);
		if (orphan)
			put_call(peer, call);
	}
	wake_up_all(&peer->call_wait);
	for (i = 0; i < POPCORN_LANES; i++) {
		wake_up_all(&peer->tx[i].credit);
		wake_up_all(&peer->tx[i].stream_wait);
	}
}

/* The caller does not wait any more. What came meanwhile counts. */
static int end_call(struct peer *peer, struct call *call, int err)
{
	bool orphan = false;

	spin_lock_irq(&call->lock);
	if (call->state == CALL_DONE) {
		call->state = CALL_FREE;
		err = call->result;
	} else {
		/* Its reply may come later, into the room that stays set aside. */
		call->state = CALL_ORPHAN;
		call->reply = NULL;
		orphan = true;
	}
	spin_unlock_irq(&call->lock);
	if (!orphan)
		put_call(peer, call);
	return err;
}

static void count_call(struct peer *peer, u64 begin)
{
	u64 ns = ktime_get_ns() - begin;

	this_cpu_inc(
		peer->call_times->calls[min(ns ? ilog2(ns) : 0, POPCORN_MSG_CALL_CLASSES - 1)]);
}

/**
 * popcorn_msg_call - send a request and wait for its reply
 * @to: whom
 * @priority: of the request; replies come before everything else
 * @type: who handles it there
 * @request: @length bytes of kernel memory that can't fault
 * @length: at most POPCORN_MSG_MAX
 * @reply: @room bytes for the reply; may be @request
 * @room: at most POPCORN_MSG_MAX
 * @timeout: jiffies, for all of it; MAX_SCHEDULE_TIMEOUT for ever
 *
 * After a signal or a timeout the request may still be handled.
 *
 * Context: process. Any number at a time.
 * Return: bytes of the reply; as popcorn_msg_send(); -EMSGSIZE also for a reply that is too long;
 * -EOPNOTSUPP: nobody handles that type there; whatever negative errno the handler gives.
 */
int popcorn_msg_call(struct popcorn_msg_peer to, u32 priority, u16 type, const void *request,
		     u32 length, void *reply, u32 room, long timeout)
{
	struct popcorn_message message = {
		.length = length, .type = type, .flags = FLAG_REQUEST, .cookie = room
	};
	int err = tx_check(priority, type, length, POPCORN_MSG_MAX);
	struct peer *peer = peer_of(to.id);
	u64 begin = ktime_get_ns();
	struct call *call;
	long left;

	might_sleep();
	if (err)
		return err;
	if (room > POPCORN_MSG_MAX)
		return -EMSGSIZE;
	err = check_up(peer, to.generation);
	if (err)
		return err;
	if (!to.generation)
		to.generation = READ_ONCE(peer->generation);
	err = get_call(to, peer, popcorn_message_slots(room), &timeout, &call);
	if (err)
		return err;

	reinit_completion(&call->done);
	spin_lock_irq(&call->lock);
	call->reply = reply;
	call->room = room;
	call->state = CALL_WAITS;
	spin_unlock_irq(&call->lock);
	message.id = call->id;
	err = tx_wait(to, priority, &message, request, &timeout);
	if (err) {
		/* Not sent: no reply will come. But its end may have been seen to already. */
		spin_lock_irq(&call->lock);
		call->state = CALL_FREE;
		spin_unlock_irq(&call->lock);
		put_call(peer, call);
		return err;
	}
	rx_look(rx_is_done, &call->done);
	left = wait_for_completion_interruptible_timeout(&call->done, timeout);
	err = end_call(peer, call, left > 0 ? 0 : left ? -EINTR : -ETIMEDOUT);
	if (err >= 0)
		count_call(peer, begin);
	return err;
}
EXPORT_SYMBOL_GPL(popcorn_msg_call);

/* With @status 0, or a negative errno and no payload. */
int tx_reply(const struct popcorn_msg *msg, int status, const void *payload, u32 length)
{
	const struct popcorn_message message = {
		.length = length,
		.type = msg->type,
		.flags = FLAG_REPLY,
		.id = msg->call,
		.cookie = (u64)(s64)status,
	};
	int err = tx_try(msg->from, POPCORN_LANE_REPLY, &message, payload);
	struct peer *peer;

	if (err == -EAGAIN) {
		/* It has set aside less than it said. */
		rcu_read_lock();
		peer = peer_of(msg->from.id);
		if (!check_up(peer, msg->from.generation))
			peer_fail(peer, "it has no room for replies that it asked for");
		rcu_read_unlock();
		err = -EPIPE;
	}
	return err;
}

/**
 * popcorn_msg_reply - reply to a request
 * @msg: what its handler was given, or a copy
 * @payload: @length bytes of kernel memory that can't fault
 * @length: at most @msg->room
 *
 * Never waits: the caller has set aside the room.
 *
 * Context: any but NMI; once for each request.
 * Return: 0; -EINVAL: it is no request; -EMSGSIZE; -EPIPE: the caller's life is over; -ESHUTDOWN: this
 * kernel is ending.
 */
int popcorn_msg_reply(const struct popcorn_msg *msg, const void *payload, u32 length)
{
	if (!msg->call)
		return -EINVAL;
	if (length > msg->room)
		return -EMSGSIZE;
	return tx_reply(msg, 0, payload, length);
}
EXPORT_SYMBOL_GPL(popcorn_msg_reply);
