// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a process does that sends, calls or replies. A message is handed over by a request of the
 * layer that the other kernel answers in its handler: so the process knows what has become of it,
 * and may wait for room, or for another process, without holding anything of the layer. Requests and
 * replies of processes are only sent: who waits for a reply need not be told more than that the
 * request was refused, and who replies nothing.
 */
#include <linux/cred.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/signal.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "msg.h"
#include "user.h"

/* What a kernel that lives needs at most to answer in an interrupt, on an emulated machine too. */
#define ANSWER_TIMEOUT (10 * HZ)
/*
 * A caller that has heard nothing for so long asks whether its request is there: that it was refused
 * may not have been said, if there was no room to say it. Once, when it is.
 */
#define ASK_AFTER HZ

/*
 * Whoever uses peers on behalf of a process: descriptors stay open when popcorn_kexec.ko goes, and
 * the primary's peers with it.
 */
DEFINE_STATIC_SRCU(users);

/* Until user_leave() of what it returns peers stay; -ESHUTDOWN: there are none. May sleep. */
int user_enter(void)
{
	const int index = srcu_read_lock(&users);
	const bool joined = smp_load_acquire(&self.joined);

	if (!joined)
		srcu_read_unlock(&users, index);
	else
		__release(&users); /* Sparse knows no lock that is taken on a condition. */
	return joined ? index : -ESHUTDOWN;
}

void user_leave(int index)
{
	__acquire(&users);
	srcu_read_unlock(&users, index);
}

/* Nobody uses a peer any more, after self.joined was set to false. */
void user_quiesce(void)
{
	synchronize_srcu(&users);
}

bool user_next(struct popcorn_msg_peer *peer)
{
	const int index = user_enter();
	bool found;

	if (index < 0)
		return false;
	found = popcorn_msg_next(peer);
	user_leave(index);
	return found;
}

/* As rx_look(). */
void user_look(bool (*is_there)(const void *what), const void *what)
{
	const int index = user_enter();

	if (index < 0)
		return;
	rx_look(is_there, what);
	user_leave(index);
}

static atomic64_t message_number;

/* Fills in which life of the kernel is meant. */
int user_resolve(struct popcorn_msg_addr *to)
{
	const int index = user_enter();
	u32 generation = 0;
	struct peer *peer;
	int err = 0;

	if (index < 0)
		return index;
	if (to->kernel == self.id) {
		generation = self.generation;
	} else {
		peer = peer_of(to->kernel);
		if (peer && smp_load_acquire(&peer->state) == PEER_UP)
			generation = READ_ONCE(peer->generation);
	}
	if (to->generation && to->generation != generation)
		err = -EPIPE;
	else if (!generation)
		err = -ENOTCONN;
	else
		to->generation = generation;
	user_leave(index);
	return err;
}

/* @length: of what may follow its header. */
struct packet *packet_new(u8 kind, const struct endpoint *from, u64 to, u32 length)
{
	struct packet *packet = kmalloc(struct_size(packet, data, length), GFP_KERNEL_ACCOUNT);

	if (!packet)
		return NULL;
	*packet = (struct packet){
		.kind = kind,
		.uid = from_kuid(&init_user_ns, current_euid()),
		.to = to,
		.from = from->number,
	};
	return packet;
}

/* Only what a system call may return: a peer may say anything. */
static int plain(int ret)
{
	return ret < -EHWPOISON ? -EPROTO : ret;
}

/* To this kernel itself, without the layer. */
static int take_here(const struct popcorn_msg_addr *to, u32 priority, const struct packet *packet,
		     u32 length, void *reply, u32 room)
{
	const struct popcorn_msg msg = {
		.from = { self.id, self.generation },
		.type = TYPE_USER,
		.priority = priority,
		.length = length,
		.room = room,
	};

	return to->generation == self.generation
		       ? packet_take(&msg, packet, length - sizeof(*packet), reply)
		       : -EPIPE;
}

/*
 * Hands a packet to the kernel that it is for. @length: of all of it. Bytes of the reply, or a
 * negative errno. A signal ends it, and then it may have been taken or not.
 */
int hand_over(const struct popcorn_msg_addr *to, u32 priority, const struct packet *packet,
	      u32 length, void *reply, u32 room, long timeout)
{
	const struct popcorn_msg_peer peer = { to->kernel, to->generation };
	const int index = user_enter();
	int ret;

	if (index < 0)
		return index;
	if (to->kernel == self.id)
		ret = take_here(to, priority, packet, length, reply, room);
	else
		ret = plain(popcorn_msg_call(peer, priority, TYPE_USER, packet, length, reply, room,
					     timeout));
	user_leave(index);
	return ret;
}

/*
 * Sends a packet, without an answer of the kernel that it is for. 0, or a negative errno, and then it
 * was not taken. @timeout: for room in the ring; at most ANSWER_TIMEOUT, because user_quiesce() waits.
 */
static int send_packet(const struct popcorn_msg_addr *to, u32 priority, const struct packet *packet,
		       u32 length, long timeout)
{
	const struct popcorn_message message = { .length = length, .type = TYPE_USER };
	const struct popcorn_msg_peer peer = { to->kernel, to->generation };
	const int index = user_enter();
	int err;

	if (index < 0)
		return index;
	if (to->kernel == self.id)
		err = take_here(to, priority, packet, length, NULL, 0);
	else
		err = tx_wait(peer, priority, &message, packet, &timeout);
	user_leave(index);
	return err;
}

/* All but those that kill; until sigprocmask(SIG_SETMASK, ret_old, NULL). */
static void block_signals(sigset_t *ret_old)
{
	sigset_t mask;

	siginitsetinv(&mask, sigmask(SIGKILL));
	sigprocmask(SIG_BLOCK, &mask, ret_old);
}

/*
 * As hand_over(), but what has become of it is known whatever signals come, unless they kill: it is
 * only the answer of a handler that is waited for. What still interrupts it is the freezer, before
 * the machine sleeps.
 */
static int hand_surely(const struct popcorn_msg_addr *to, u32 priority, const struct packet *packet,
		       u32 length)
{
	sigset_t old;
	int ret;

	block_signals(&old);
	ret = hand_over(to, priority, packet, length, NULL, 0, ANSWER_TIMEOUT);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return ret;
}

/* As send_packet(), whatever signals come, unless they kill. */
static int send_surely(const struct popcorn_msg_addr *to, u32 priority, const struct packet *packet,
		       u32 length)
{
	sigset_t old;
	int err = send_packet(to, priority, packet, length, 0);

	/* It seldom has to wait. */
	if (err != -ETIMEDOUT)
		return err;
	block_signals(&old);
	err = send_packet(to, priority, packet, length, ANSWER_TIMEOUT);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return err;
}

/* An endpoint has said that it has no room: 0 when it is to be tried again. */
static int wait_for_room(const struct popcorn_msg_addr *to, u32 sequence, long *timeout)
{
	if (!*timeout)
		return -EAGAIN;
	*timeout = room_wait(to, sequence, *timeout);
	if (*timeout < 0)
		return -EINTR;
	return *timeout ? 0 : -ETIMEDOUT;
}

/* As hand_surely(), and waits for room at the endpoint. *timeout: what is left of it. */
static int hand_waiting(const struct popcorn_msg_addr *to, u32 priority,
			const struct packet *packet, u32 length, long *timeout)
{
	u32 sequence;
	int err;

	for (;;) {
		if (signal_pending(current))
			return -EINTR;
		/* First: room that is made after the endpoint has said no changes it. */
		sequence = room_sequence(to);
		err = hand_surely(to, priority, packet, length);
		if (err != -EAGAIN)
			return err;
		err = wait_for_room(to, sequence, timeout);
		if (err)
			return err;
	}
}

/* Says something that nobody answers, now or not at all. Generation 0: whoever has that id. */
void user_tell(const struct popcorn_msg_addr *to, u32 priority, const struct packet *packet,
	       u32 length)
{
	const struct popcorn_msg_peer peer = { to->kernel, to->generation };
	struct popcorn_msg msg = { .from = { self.id, self.generation } };
	const int index = user_enter();

	if (index < 0)
		return;
	if (to->kernel == self.id)
		packet_take(&msg, packet, length - sizeof(*packet), NULL);
	else
		popcorn_msg_send_async(peer, priority, TYPE_USER, packet, length);
	user_leave(index);
}

/* A process that may not wait is told so in other words than one that has waited. */
static int no_wait(int err, long timeout)
{
	return err == -ETIMEDOUT && !timeout ? -EAGAIN : err;
}

int user_lookup(struct endpoint *endpoint, struct popcorn_msg_lookup *args)
{
	struct packet *packet;
	u64 number;
	int ret;

	if (!name_valid(args->name))
		return -EINVAL;
	ret = user_resolve(&args->addr);
	if (ret)
		return ret;
	packet = packet_new(PACKET_LOOKUP, endpoint, 0, sizeof(args->name));
	if (!packet)
		return -ENOMEM;
	memcpy(packet->data, args->name, sizeof(args->name));
	ret = hand_over(&args->addr, POPCORN_MSG_CONTROL, packet,
			sizeof(*packet) + sizeof(args->name), &number, sizeof(number),
			user_timeout(args->timeout_ms));
	kfree(packet);
	if (ret >= 0 && ret != sizeof(number))
		ret = -EPROTO;
	if (ret < 0)
		return no_wait(ret, args->timeout_ms);
	args->addr.endpoint = number;
	return 0;
}

/* Sending */

/* The pieces after the first one. All but the last are only sent: the last one's answer is for all. */
static int send_pieces(const struct popcorn_msg_addr *to, u32 priority, struct packet *packet,
		       const char __user *buf)
{
	const unsigned long end = jiffies + ANSWER_TIMEOUT;
	u32 length;
	int err;

	for (packet->offset = PACKET_DATA_MAX; packet->offset < packet->total;
	     packet->offset += length) {
		length = min_t(u32, packet->total - packet->offset, PACKET_DATA_MAX);
		if (copy_from_user(packet->data, buf + packet->offset, length))
			return -EFAULT;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (packet->offset + length == packet->total)
			err = hand_surely(to, priority, packet, sizeof(*packet) + length);
		else
			err = send_packet(to, priority, packet, sizeof(*packet) + length,
					  ANSWER_TIMEOUT);
		if (!err && time_after(jiffies, end) && packet->offset + length < packet->total)
			err = -ETIMEDOUT;
		if (err)
			return err;
		cond_resched();
	}
	return 0;
}

/* The receiver has set aside room for it; nothing more is waited for but the ring. */
static int send_rest(const struct popcorn_msg_addr *to, u32 priority, struct packet *packet,
		     const char __user *buf)
{
	sigset_t old;
	int err;

	block_signals(&old);
	err = send_pieces(to, priority, packet, buf);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (err) {
		packet->kind = PACKET_ABORT;
		user_tell(to, priority, packet, sizeof(*packet));
	}
	return err;
}

static u32 priority_of(const struct popcorn_msg_send_args *args)
{
	return args->flags & POPCORN_MSG_SEND_BULK ? POPCORN_MSG_BULK : POPCORN_MSG_CONTROL;
}

int user_send(struct endpoint *endpoint, struct popcorn_msg_send_args *args, long timeout)
{
	const u32 priority = priority_of(args);
	const char __user *buf = u64_to_user_ptr(args->buf);
	const u32 first = min_t(u32, args->length, PACKET_DATA_MAX);
	struct packet *packet;
	int err;

	if (args->length > POPCORN_MSG_SEND_MAX)
		return -EMSGSIZE;
	err = user_resolve(&args->to);
	if (err)
		return err;
	packet = packet_new(PACKET_SEND, endpoint, args->to.endpoint, first);
	if (!packet)
		return -ENOMEM;
	packet->number = atomic64_inc_return(&message_number);
	packet->total = args->length;
	if (copy_from_user(packet->data, buf, first))
		err = -EFAULT;
	if (!err)
		err = hand_waiting(&args->to, priority, packet, sizeof(*packet) + first, &timeout);
	if (!err && first < args->length)
		err = send_rest(&args->to, priority, packet, buf);
	kfree(packet);
	return err;
}

/*
 * To every kernel that can be reached, and to this one. First to all without waiting, then to those
 * whose rings are full: so none waits for another one.
 */
int user_send_group(struct endpoint *endpoint, struct popcorn_msg_send_args *args, long timeout)
{
	const u32 priority = priority_of(args);
	const u32 length = sizeof(struct packet) + sizeof(args->group) + args->length;
	const struct popcorn_message message = { .length = length, .type = TYPE_USER };
	struct popcorn_msg_addr here = { .kernel = self.id };
	struct popcorn_msg_peer peer = {};
	struct packet *packet;
	unsigned long *full;
	int err = 0, index;
	u32 id;

	if (args->length > POPCORN_MSG_CALL_MAX)
		return -EMSGSIZE;
	packet = packet_new(PACKET_GROUP, endpoint, 0, sizeof(args->group) + args->length);
	full = bitmap_zalloc(POPCORN_MEMBERS_MAX, GFP_KERNEL);
	if (!packet || !full) {
		err = -ENOMEM;
		goto end;
	}
	memcpy(packet->data, args->group, sizeof(args->group));
	if (copy_from_user(packet->data + sizeof(args->group), u64_to_user_ptr(args->buf),
			   args->length)) {
		err = -EFAULT;
		goto end;
	}
	index = user_enter();
	if (index < 0) {
		err = index;
		goto end;
	}
	while (popcorn_msg_next(&peer)) {
		err = popcorn_msg_send_async(peer, priority, TYPE_USER, packet, length);
		args->receivers += !err;
		if (err == -EAGAIN)
			__set_bit(peer.id, full);
	}
	err = 0;
	here.generation = self.generation;
	user_tell(&here, priority, packet, length);
	for_each_set_bit(id, full, POPCORN_MEMBERS_MAX) {
		peer = (struct popcorn_msg_peer){ id, 0 };
		if (!tx_wait(peer, priority, &message, packet, &timeout))
			args->receivers++;
		if (signal_pending(current))
			break;
	}
	user_leave(index);
end:
	bitmap_free(full);
	kfree(packet);
	return err;
}

/* Calls */

/* Less of *timeout, by @elapsed. */
static void use_up(long *timeout, unsigned long elapsed)
{
	if (*timeout != MAX_SCHEDULE_TIMEOUT)
		*timeout -= min_t(unsigned long, *timeout, elapsed);
}

/* Is the request there? 0: it is, or what has become of it was sent. -EAGAIN: not known. */
static int ask(const struct user_call *call, struct packet *packet, long *timeout)
{
	const unsigned long begin = jiffies;
	int err;

	packet->kind = PACKET_ASK;
	err = hand_over(&call->to, POPCORN_MSG_CONTROL, packet, sizeof(*packet), NULL, 0,
			min_t(long, *timeout, ANSWER_TIMEOUT));
	packet->kind = PACKET_REQUEST;
	use_up(timeout, jiffies - begin);
	return err;
}

/* Until the request that was sent is answered. */
static int wait_for_reply(struct user_call *call, struct packet *packet, long *timeout)
{
	bool asks = call->to.kernel != self.id;
	long most, left;
	int err;

	user_look(rx_is_done, &call->done);
	for (;;) {
		most = asks ? min_t(long, *timeout, ASK_AFTER) : *timeout;
		left = wait_for_completion_interruptible_timeout(&call->done, most);
		if (left < 0)
			return -EINTR;
		use_up(timeout, most - left);
		if (left)
			return 0;
		if (!*timeout)
			return -ETIMEDOUT;
		err = ask(call, packet, timeout);
		if (err && err != -EAGAIN)
			return err;
		asks = err;
	}
}

/*
 * Sends the request, waits for the reply; again, when there is room for it, if it was refused, and by
 * another number, so that what is said of the first one can't be taken for it.
 */
static int call_and_wait(struct user_call *call, struct packet *packet, u32 length, long timeout)
{
	unsigned long begin;
	u32 sequence;
	int ret;

	for (;;) {
		if (signal_pending(current))
			return -EINTR;
		/* First: room that is made after the endpoint has said no changes it. */
		sequence = room_sequence(&call->to);
		call_begin(call);
		packet->number = call->number;
		begin = jiffies;
		ret = send_packet(&call->to, POPCORN_MSG_CONTROL, packet, length,
				  min_t(long, timeout, ANSWER_TIMEOUT));
		use_up(&timeout, jiffies - begin);
		if (!ret)
			ret = wait_for_reply(call, packet, &timeout);
		ret = call_end(call, ret);
		if (ret != -EAGAIN)
			return ret;
		ret = timeout ? wait_for_room(&call->to, sequence, &timeout) : -ETIMEDOUT;
		if (ret)
			return ret;
	}
}

/* call->reply has call->room bytes. */
static int do_call(struct endpoint *endpoint, struct user_call *call,
		   const struct popcorn_msg_call_args *args)
{
	struct packet *packet =
		packet_new(PACKET_REQUEST, endpoint, call->to.endpoint, args->length);
	int ret = -EFAULT;

	if (!packet)
		return -ENOMEM;
	packet->total = call->room;
	if (!copy_from_user(packet->data, u64_to_user_ptr(args->buf), args->length))
		ret = call_and_wait(call, packet, sizeof(*packet) + args->length,
				    user_timeout(args->timeout_ms));
	kfree(packet);
	return ret;
}

int user_call(struct endpoint *endpoint, struct popcorn_msg_call_args *args)
{
	struct user_call *call;
	int ret;

	if (args->length > POPCORN_MSG_CALL_MAX || args->room > POPCORN_MSG_CALL_MAX)
		return -EMSGSIZE;
	if (!args->timeout_ms)
		return -EAGAIN;
	ret = user_resolve(&args->to);
	if (ret)
		return ret;
	call = kzalloc(sizeof(*call) + args->room, GFP_KERNEL_ACCOUNT);
	if (!call)
		return -ENOMEM;
	call->to = args->to;
	call->reply = call + 1;
	call->room = args->room;
	ret = do_call(endpoint, call, args);
	if (ret >= 0) {
		args->reply_length = ret;
		args->status = call->status;
		ret = copy_to_user(u64_to_user_ptr(args->reply), call->reply, ret) ? -EFAULT : 0;
	}
	kfree(call);
	return ret;
}

int user_reply(struct endpoint *endpoint, const struct popcorn_msg_reply_args *args)
{
	struct message *request;
	struct packet *packet;
	int err;

	if (args->length > POPCORN_MSG_CALL_MAX)
		return -EMSGSIZE;
	packet = packet_new(PACKET_REPLY, endpoint, 0, args->length);
	if (!packet)
		return -ENOMEM;
	if (copy_from_user(packet->data, u64_to_user_ptr(args->buf), args->length)) {
		kfree(packet);
		return -EFAULT;
	}
	request = endpoint_take_request(endpoint, args->call);
	if (!request) {
		kfree(packet);
		return -ENOENT;
	}
	packet->number = request->number;
	packet->status = args->status;
	err = args->length > request->room ? -EMSGSIZE
					   : send_surely(&request->from, POPCORN_MSG_CONTROL,
							 packet, sizeof(*packet) + args->length);
	kfree(packet);
	/* The caller has given up: as if it had done so a moment later. */
	if (err == -ENOENT)
		err = 0;
	endpoint_put_request(endpoint, request,
			     err != -EMSGSIZE && err != -EINTR && err != -ETIMEDOUT);
	return err == -ENOTCONN ? -EPIPE : err;
}

/* Nobody will reply to it. Context: a work. */
int user_reply_closed(const struct message *request, u64 endpoint)
{
	const struct packet packet = {
		.kind = PACKET_REPLY,
		.flags = PACKET_CLOSED,
		.from = endpoint,
		.number = request->number,
	};

	return send_packet(&request->from, POPCORN_MSG_CONTROL, &packet, sizeof(packet),
			   ANSWER_TIMEOUT);
}

int user_ping(struct endpoint *endpoint, struct popcorn_msg_ping *args)
{
	struct packet *packet;
	void *reply;
	u64 begin;
	int ret;

	if (args->to.endpoint || args->reserved)
		return -EINVAL;
	if (args->length > POPCORN_MSG_CALL_MAX)
		return -EMSGSIZE;
	ret = user_resolve(&args->to);
	if (ret)
		return ret;
	packet = packet_new(PACKET_PING, endpoint, 0, args->length);
	reply = kmalloc(args->length, GFP_KERNEL_ACCOUNT);
	if (!packet || !reply) {
		ret = -ENOMEM;
		goto end;
	}
	memset(packet->data, 0, args->length);
	begin = ktime_get_ns();
	ret = hand_over(&args->to, POPCORN_MSG_CONTROL, packet, sizeof(*packet) + args->length,
			reply, args->length, user_timeout(args->timeout_ms));
	args->ns = ktime_get_ns() - begin;
	if (ret >= 0)
		ret = ret == args->length ? 0 : -EPROTO;
	ret = no_wait(ret, args->timeout_ms);
end:
	kfree(reply);
	kfree(packet);
	return ret;
}

int user_stats(struct popcorn_msg_counters *args)
{
	const u32 size = args->size, kernel = args->kernel, priority = args->priority;
	const int index = user_enter();
	struct popcorn_msg_stats stats;
	struct peer *peer;
	int err;

	if (index < 0)
		return index;
	peer = peer_of(kernel);
	err = peer ? popcorn_msg_stats(kernel, priority, &stats) : -ENOENT;
	if (err)
		goto leave;
	*args = (struct popcorn_msg_counters){
		.size = size,
		.kernel = kernel,
		.priority = priority,
		.generation =
			smp_load_acquire(&peer->state) == PEER_UP ? READ_ONCE(peer->generation) : 0,
		.sent = stats.sent,
		.sent_bytes = stats.sent_bytes,
		.received = stats.received,
		.received_bytes = stats.received_bytes,
		.interrupts = stats.rings,
		.credit_waits = stats.credit_waits,
		.unknown = stats.unknown,
		.late = stats.late,
		.stalls = stats.stalls,
		.queue_max = stats.high_water,
		.slots = stats.slots,
		.credits = stats.credits,
		.reader_interrupts = READ_ONCE(rx_count.interrupts),
		.reader_polls = READ_ONCE(rx_count.polled),
	};
	BUILD_BUG_ON(sizeof(args->latency) != sizeof(stats.calls));
	memcpy(args->latency, stats.calls, sizeof(args->latency));
leave:
	user_leave(index);
	return err;
}
