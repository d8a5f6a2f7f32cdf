// SPDX-License-Identifier: GPL-2.0-only
/*
 * Endpoints: what processes of this kernel receive by.
 *
 * What comes from other kernels is taken in the handler of the layer, in an interrupt. An endpoint
 * that has no room says so at once, and remembers the kernel: when its process has made room, that
 * kernel is told, and whoever waits there tries again. So who does not receive costs only those
 * who send to it, and no message waits in the layer because of it.
 */
#include <linux/capability.h>
#include <linux/hashtable.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/rculist.h>
#include <linux/sched/clock.h>
#include <linux/slab.h>
#include <linux/stringhash.h>
#include <linux/uaccess.h>

#include "msg.h"
#include "user.h"
#include "window.h"

/*
 * A message whose next piece has not come for so long is dropped. A sender that lives does not
 * wait between two pieces; one that was killed says so, unless there was no room to say it.
 */
#define PARTIAL_TIMEOUT (5 * HZ)
/*
 * Who receives looks for a message before sleeping when the last one has come within so many times
 * poll_us. More than once: it would have come sooner if both sides had looked.
 */
#define LOOK_REACH 4
/* Who waits for room looks by himself so often: that there is some may not have been said. */
#define ROOM_RETRY HZ

struct workqueue_struct *user_wq;
struct user_count user_count;

/* Readers are in an RCU read section. */
static DEFINE_SPINLOCK(table_lock);
static DEFINE_HASHTABLE(endpoints, 8);
static DEFINE_MUTEX(names_lock);
static DEFINE_HASHTABLE(services, 6);
static DEFINE_HASHTABLE(groups, 6);
static atomic64_t endpoint_number, request_number;

static DEFINE_SPINLOCK(calls_lock);
static DEFINE_HASHTABLE(calls, 8);
static u64 call_number;

/* Who waits for room in an endpoint, by a hash of its address. */
static struct room {
	wait_queue_head_t wait;
	atomic_t sequence; /* changes when there may be room */
} rooms[64];

static atomic_t members_changed;
static DECLARE_WAIT_QUEUE_HEAD(members_wait);

/* Names */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* @name has POPCORN_MSG_NAME_MAX bytes. */
bool name_valid(const char *name)
{
	size_t i, length = strnlen(name, POPCORN_MSG_NAME_MAX);

	if (!length || length == POPCORN_MSG_NAME_MAX || !is_alnum(name[0]))
		return false;
	for (i = 1; i < length; i++)
		if (!is_alnum(name[i]) && name[i] != '_' && name[i] != '.' && name[i] != '-')
			return false;
	return !memchr_inv(name + length, 0, POPCORN_MSG_NAME_MAX - length);
}

bool name_allowed(const char *name)
{
	return strncmp(name, "popcorn.", strlen("popcorn.")) || capable(CAP_SYS_ADMIN);
}

static u32 name_hash(const char *name)
{
	return full_name_hash(NULL, name, strlen(name));
}

/* Messages */

static void chunks_free(struct chunk *chunk)
{
	struct chunk *next;

	for (; chunk; chunk = next) {
		next = chunk->next;
		if (refcount_dec_and_test(&chunk->users))
			kfree(chunk);
	}
}

static void message_free(struct message *message)
{
	chunks_free(message->first);
	kfree(message);
	atomic_dec(&user_count.messages);
}

/* Context: any. */
static struct chunk *chunk_new(const void *data, u32 length)
{
	struct chunk *chunk = kmalloc(struct_size(chunk, data, length), GFP_ATOMIC | __GFP_NOWARN);

	if (!chunk)
		return NULL;
	chunk->next = NULL;
	refcount_set(&chunk->users, 1);
	chunk->length = length;
	memcpy(chunk->data, data, length);
	return chunk;
}

static void message_append(struct message *message, struct chunk *chunk)
{
	*message->last = chunk;
	message->last = &chunk->next;
	message->have += chunk->length;
	message->touched = jiffies;
}

/* Context: endpoint->lock. */
static void account(struct endpoint *endpoint, u32 total)
{
	endpoint->used += total + MESSAGE_OVERHEAD;
	atomic_long_add(total + MESSAGE_OVERHEAD, &user_count.bytes);
}

static void unaccount(struct endpoint *endpoint, u32 total)
{
	endpoint->used -= total + MESSAGE_OVERHEAD;
	atomic_long_sub(total + MESSAGE_OVERHEAD, &user_count.bytes);
}

/*
 * Accounts for a message that begins, and makes it. All of them together take no more than a
 * sixteenth of this kernel's memory. Context: endpoint->lock.
 */
static int message_new(struct endpoint *endpoint, const struct popcorn_msg *msg,
		       const struct packet *packet, u32 total, u32 flags, struct message **ret)
{
	const bool request = flags & POPCORN_MSG_IS_REQUEST;
	const u32 cost = total + MESSAGE_OVERHEAD;
	struct message *message;

	/* An empty endpoint has room for two of the longest. */
	if (endpoint->used + cost > POPCORN_MSG_QUEUE_MAX + 2 * MESSAGE_OVERHEAD ||
	    (request && endpoint->nr_requests >= POPCORN_MSG_REQUESTS_MAX))
		return -EAGAIN;
	if (atomic_long_read(&user_count.bytes) + cost > (totalram_pages() << PAGE_SHIFT) / 16)
		return -ENOBUFS;
	message = kzalloc(sizeof(*message), GFP_ATOMIC | __GFP_NOWARN);
	if (!message)
		return -ENOBUFS;
	message->from =
		(struct popcorn_msg_addr){ msg->from.id, msg->from.generation, packet->from };
	message->number = packet->number;
	message->uid = packet->uid;
	message->flags = flags;
	message->total = total;
	message->last = &message->first;
	atomic_inc(&user_count.messages);
	account(endpoint, total);
	endpoint->nr_requests += request;
	*ret = message;
	return 0;
}

/* Context: endpoint->lock. */
static void message_drop(struct endpoint *endpoint, struct message *message)
{
	list_del(&message->list);
	unaccount(endpoint, message->total);
	message_free(message);
}

/* Who waits for room */

static struct room *room_of(u32 kernel, u64 endpoint)
{
	return &rooms[hash_64(endpoint ^ ((u64)kernel << 32), ilog2(ARRAY_SIZE(rooms)))];
}

static void room_wake(struct room *room)
{
	atomic_inc(&room->sequence);
	wake_up_all(&room->wait);
}

/* To be asked for before trying to send. */
u32 room_sequence(const struct popcorn_msg_addr *to)
{
	return atomic_read_acquire(&room_of(to->kernel, to->endpoint)->sequence);
}

/* Until there may be room. What is left of @timeout, or -EINTR. */
long room_wait(const struct popcorn_msg_addr *to, u32 sequence, long timeout)
{
	struct room *room = room_of(to->kernel, to->endpoint);
	const long most = min_t(long, timeout, ROOM_RETRY);
	long left;

	left = wait_event_interruptible_timeout(
		room->wait, (u32)atomic_read(&room->sequence) != sequence, most);
	if (left < 0)
		return -EINTR;
	return timeout == MAX_SCHEDULE_TIMEOUT ? timeout : timeout - (most - left);
}

/* There is room, or the endpoint is gone: those in @wanting try again. Context: process. */
static void tell_room(struct endpoint *endpoint, const unsigned long *wanting)
{
	struct packet packet = { .kind = PACKET_ROOM, .from = endpoint->number };
	struct popcorn_msg_addr to = {};

	for_each_set_bit(to.kernel, wanting, POPCORN_MEMBERS_MAX)
		user_tell(&to, POPCORN_MSG_CONTROL, &packet, sizeof(packet));
}

/* true: @ret is who has to be told that there is room. Context: endpoint->lock. */
static bool has_room(struct endpoint *endpoint, unsigned long *ret)
{
	if (bitmap_empty(endpoint->wanting, POPCORN_MEMBERS_MAX) ||
	    endpoint->used > POPCORN_MSG_QUEUE_MAX / 2 ||
	    endpoint->nr_requests >= POPCORN_MSG_REQUESTS_MAX)
		return false;
	bitmap_copy(ret, endpoint->wanting, POPCORN_MEMBERS_MAX);
	bitmap_zero(endpoint->wanting, POPCORN_MEMBERS_MAX);
	return true;
}

/* What comes. Context: any but NMI; from other kernels in the handler, an interrupt. */

static struct endpoint *find(u64 number)
{
	struct endpoint *endpoint;

	hash_for_each_possible_rcu(endpoints, endpoint, node, number)
		if (endpoint->number == number)
			return endpoint;
	return NULL;
}

static struct message *find_partial(struct endpoint *endpoint, const struct popcorn_msg *msg,
				    const struct packet *packet)
{
	struct message *message;

	list_for_each_entry(message, &endpoint->partial, list)
		if (message->from.kernel == msg->from.id &&
		    message->from.generation == msg->from.generation &&
		    message->from.endpoint == packet->from && message->number == packet->number)
			return message;
	return NULL;
}

static void complete_message(struct endpoint *endpoint, struct message *message)
{
	list_add_tail(&message->list, &endpoint->queue);
	WRITE_ONCE(endpoint->arrived, local_clock());
	wake_up_interruptible_poll(&endpoint->wait, EPOLLIN | EPOLLRDNORM);
}

/* Where a piece belongs: to a message that begins, or to one that has begun. */
static int place_piece(struct endpoint *endpoint, const struct popcorn_msg *msg,
		       const struct packet *packet, struct message **ret)
{
	int err;

	*ret = find_partial(endpoint, msg, packet);
	if (packet->offset) {
		/* It was dropped meanwhile, or its last piece was not taken. */
		if (!*ret)
			return -ETIMEDOUT;
		return (*ret)->have == packet->offset && (*ret)->total == packet->total ? 0
											: -EPROTO;
	}
	if (*ret)
		return -EPROTO;
	err = message_new(endpoint, msg, packet, packet->total, 0, ret);
	if (!err)
		list_add_tail(&(*ret)->list, &endpoint->partial);
	return err;
}

static int take_piece(struct endpoint *endpoint, const struct popcorn_msg *msg,
		      const struct packet *packet, u32 length)
{
	struct message *message;
	struct chunk *chunk;
	int err;

	/* All but the last one are of the same length: so a message has not too many of them. */
	if (packet->total > POPCORN_MSG_SEND_MAX || packet->offset > packet->total ||
	    length != min_t(u32, packet->total - packet->offset, PACKET_DATA_MAX) ||
	    (!length && packet->total))
		return -EPROTO;
	err = place_piece(endpoint, msg, packet, &message);
	if (err)
		return err;
	chunk = length ? chunk_new(packet->data, length) : NULL;
	if (length && !chunk) {
		message_drop(endpoint, message);
		return -ENOBUFS;
	}
	if (chunk)
		message_append(message, chunk);
	if (message->have == message->total) {
		list_del(&message->list);
		complete_message(endpoint, message);
	} else if (!timer_pending(&endpoint->timer)) {
		mod_timer(&endpoint->timer, jiffies + PARTIAL_TIMEOUT);
	}
	return 0;
}

static int take_request(struct endpoint *endpoint, const struct popcorn_msg *msg,
			const struct packet *packet, u32 length)
{
	struct message *message;
	struct chunk *chunk;
	int err;

	if (length > POPCORN_MSG_CALL_MAX || packet->total > POPCORN_MSG_CALL_MAX)
		return -EPROTO;
	err = message_new(endpoint, msg, packet, length, POPCORN_MSG_IS_REQUEST, &message);
	if (err)
		return err;
	message->room = packet->total;
	message->call = atomic64_inc_return(&request_number);
	chunk = chunk_new(packet->data, length);
	if (!chunk) {
		endpoint->nr_requests--;
		unaccount(endpoint, length);
		message_free(message);
		return -ENOBUFS;
	}
	message_append(message, chunk);
	atomic_inc(&user_count.requests);
	complete_message(endpoint, message);
	return 0;
}

static bool is_request_of(const struct message *message, const struct popcorn_msg *msg,
			  const struct packet *packet)
{
	return message->flags & POPCORN_MSG_IS_REQUEST && message->number == packet->number &&
	       message->from.kernel == msg->from.id &&
	       message->from.generation == msg->from.generation &&
	       message->from.endpoint == packet->from;
}

/* 0: that request is here, and a reply to it has not been sent yet. */
static int take_ask(struct endpoint *endpoint, const struct popcorn_msg *msg,
		    const struct packet *packet)
{
	struct message *message;

	list_for_each_entry(message, &endpoint->queue, list)
		if (is_request_of(message, msg, packet))
			return 0;
	list_for_each_entry(message, &endpoint->requests, list)
		if (is_request_of(message, msg, packet))
			return 0;
	return -ENOENT;
}

static int take_abort(struct endpoint *endpoint, const struct popcorn_msg *msg,
		      const struct packet *packet)
{
	struct message *message = find_partial(endpoint, msg, packet);

	if (message)
		message_drop(endpoint, message);
	return 0;
}

static int take_for_endpoint(const struct popcorn_msg *msg, const struct packet *packet, u32 length)
{
	struct endpoint *endpoint;
	unsigned long flags;
	int ret;

	rcu_read_lock();
	endpoint = find(packet->to);
	if (!endpoint) {
		rcu_read_unlock();
		return -EPIPE;
	}
	spin_lock_irqsave(&endpoint->lock, flags);
	if (endpoint->closed)
		ret = -EPIPE;
	else if (packet->kind == PACKET_SEND)
		ret = take_piece(endpoint, msg, packet, length);
	else if (packet->kind == PACKET_REQUEST)
		ret = take_request(endpoint, msg, packet, length);
	else if (packet->kind == PACKET_ASK)
		ret = take_ask(endpoint, msg, packet);
	else
		ret = take_abort(endpoint, msg, packet);
	if (ret == -EAGAIN)
		__set_bit(msg->from.id, endpoint->wanting);
	spin_unlock_irqrestore(&endpoint->lock, flags);
	rcu_read_unlock();
	return ret;
}

/*
 * Its caller hears that a request is not there, because of @err: now, or not at all (-EAGAIN), and
 * then it asks. Behind a reply, if there was one: what this kernel sends is taken in that order.
 */
static int refuse(const struct popcorn_msg *msg, const struct packet *packet, int err)
{
	const struct packet refused = {
		.kind = PACKET_REFUSED,
		.from = packet->to,
		.number = packet->number,
		.status = err,
	};

	return popcorn_msg_send_async(msg->from, POPCORN_MSG_CONTROL, TYPE_USER, &refused,
				      sizeof(refused));
}

static int take_group(const struct popcorn_msg *msg, const struct packet *packet, u32 length)
{
	const bool ours = msg->from.id == self.id;
	char name[POPCORN_MSG_NAME_MAX];
	struct membership *membership;
	struct endpoint *endpoint;
	struct message *message;
	struct chunk *chunk = NULL;
	unsigned long flags;

	if (length < sizeof(name) || length > sizeof(name) + POPCORN_MSG_CALL_MAX)
		return -EPROTO;
	memcpy(name, packet->data, sizeof(name));
	if (!name_valid(name))
		return -EPROTO;
	length -= sizeof(name);
	rcu_read_lock();
	hash_for_each_possible_rcu(groups, membership, node, name_hash(name)) {
		endpoint = membership->endpoint;
		if (strcmp(membership->name, name) || (ours && endpoint->number == packet->from))
			continue;
		if (!chunk)
			chunk = chunk_new(packet->data + sizeof(name), length);
		spin_lock_irqsave(&endpoint->lock, flags);
		if (endpoint->closed) {
			/* As if it had left. */
		} else if (!chunk || message_new(endpoint, msg, packet, length,
						 POPCORN_MSG_IS_GROUP, &message)) {
			endpoint->lost++;
		} else {
			strscpy(message->group, name, sizeof(message->group));
			refcount_inc(&chunk->users);
			/* It is alone in each of them. */
			message->first = chunk;
			message->have = length;
			complete_message(endpoint, message);
		}
		spin_unlock_irqrestore(&endpoint->lock, flags);
	}
	rcu_read_unlock();
	chunks_free(chunk);
	return 0;
}

static int take_lookup(const struct packet *packet, u32 length, u32 room, void *reply)
{
	char name[POPCORN_MSG_NAME_MAX];
	struct endpoint *endpoint;
	u64 number = 0;

	if (length != sizeof(name) || room < sizeof(number))
		return -EPROTO;
	memcpy(name, packet->data, sizeof(name));
	if (!name_valid(name))
		return -EPROTO;
	rcu_read_lock();
	hash_for_each_possible_rcu(services, endpoint, service_node, name_hash(name))
		if (!strcmp(endpoint->service, name))
			number = endpoint->number;
	rcu_read_unlock();
	if (!number)
		return -ENOENT;
	memcpy(reply, &number, sizeof(number));
	return sizeof(number);
}

/* Only who was asked replies. Context: calls_lock. */
static struct user_call *find_call(const struct popcorn_msg *msg, u64 number)
{
	struct user_call *call;

	hash_for_each_possible(calls, call, node, number)
		if (call->number == number)
			return call->to.kernel == msg->from.id &&
					       call->to.generation == msg->from.generation
				       ? call
				       : NULL;
	return NULL;
}

static void call_done(struct user_call *call, int result)
{
	hash_del(&call->node);
	INIT_HLIST_NODE(&call->node);
	call->result = result;
	complete(&call->done);
}

/* What a kernel may say. */
static int refusal(s32 status)
{
	return status == -EAGAIN || status == -EPIPE || status == -ENOBUFS ? status : -EPROTO;
}

static int take_reply(const struct popcorn_msg *msg, const struct packet *packet, u32 length)
{
	struct user_call *call;
	unsigned long flags;
	int ret = 0;

	spin_lock_irqsave(&calls_lock, flags);
	call = find_call(msg, packet->number);
	if (!call || packet->from != call->to.endpoint) {
		ret = -ENOENT;
	} else if (packet->kind == PACKET_REFUSED) {
		call_done(call, refusal(packet->status));
	} else if (packet->flags & PACKET_CLOSED) {
		call_done(call, -EPIPE);
	} else if (length > call->room) {
		call_done(call, -EPROTO);
	} else {
		memcpy(call->reply, packet->data, length);
		call->status = packet->status;
		call_done(call, length);
	}
	spin_unlock_irqrestore(&calls_lock, flags);
	return ret;
}

/* Whether it is said like that, as a request of the layer or not. */
static bool is_said(const struct packet *packet, bool request)
{
	switch (packet->kind) {
	case PACKET_SEND:
		return true;
	case PACKET_ABORT:
	case PACKET_ROOM:
	case PACKET_REQUEST:
	case PACKET_REPLY:
	case PACKET_GROUP:
	case PACKET_REFUSED:
		return !request;
	default:
		return request;
	}
}

/*
 * What another kernel says, or this one. @length: of what follows the packet's header; the packet
 * is a private copy. Bytes of @reply, for which there are @msg->room; a negative errno; or
 * WINDOW_LATER.
 */
int packet_take(const struct popcorn_msg *msg, const struct packet *packet, u32 length, void *reply)
{
	const bool ours = msg->from.id == self.id;
	int err;

	if (packet->flags & ~PACKET_CLOSED || packet->reserved || packet->reserved1 ||
	    (!ours && !is_said(packet, msg->call)))
		return -EPROTO;
	switch (packet->kind) {
	case PACKET_LOOKUP:
		return take_lookup(packet, length, msg->room, reply);
	case PACKET_SEND:
	case PACKET_ABORT:
		return take_for_endpoint(msg, packet, length);
	case PACKET_REQUEST:
		err = take_for_endpoint(msg, packet, length);
		return err && !ours ? refuse(msg, packet, err) : err;
	case PACKET_ASK:
		err = take_for_endpoint(msg, packet, length);
		return err ? refuse(msg, packet, err == -EPIPE ? err : -EAGAIN) : 0;
	case PACKET_ROOM:
		room_wake(room_of(msg->from.id, packet->from));
		return 0;
	case PACKET_REPLY:
	case PACKET_REFUSED:
		return take_reply(msg, packet, length);
	case PACKET_GROUP:
		return take_group(msg, packet, length);
	case PACKET_PING:
		if (length > msg->room)
			return -EPROTO;
		memcpy(reply, packet->data, length);
		return length;
	case PACKET_WINDOW:
		return window_take_open(msg, packet, reply);
	case PACKET_REVOKE:
		return window_take_revoke(msg, packet);
	default:
		return -EOPNOTSUPP;
	}
}

static int user_message(const struct popcorn_msg *msg, const void *payload, void *data)
{
	/* One message is handled at a time. */
	static u8 reply[POPCORN_MSG_MAX] __aligned(8);
	const struct packet *packet = payload;
	int ret;

	if (msg->length < sizeof(*packet))
		return -EPROTO;
	ret = packet_take(msg, packet, msg->length - sizeof(*packet), reply);
	if (ret >= 0 && ret != WINDOW_LATER && msg->call)
		popcorn_msg_reply(msg, reply, ret);
	return min(ret, 0);
}

static const struct popcorn_msg_type user_type = { .type = TYPE_USER, .handler = user_message };

/* Calls */

void call_begin(struct user_call *call)
{
	init_completion(&call->done);
	spin_lock_irq(&calls_lock);
	call->number = ++call_number;
	hash_add(calls, &call->node, call->number);
	spin_unlock_irq(&calls_lock);
	atomic_inc(&user_count.calls);
}

/* Nothing is written to call->reply any more. What came meanwhile counts, not @err. */
int call_end(struct user_call *call, int err)
{
	spin_lock_irq(&calls_lock);
	if (hlist_unhashed(&call->node))
		err = call->result;
	else
		hash_del(&call->node);
	spin_unlock_irq(&calls_lock);
	atomic_dec(&user_count.calls);
	return err;
}

/* Receiving */

static struct message *first_message(struct endpoint *endpoint)
{
	struct message *message;

	spin_lock_irq(&endpoint->lock);
	message = list_first_entry_or_null(&endpoint->queue, struct message, list);
	spin_unlock_irq(&endpoint->lock);
	return message;
}

static int copy_message(const struct message *message, void __user *buf)
{
	const struct chunk *chunk;

	for (chunk = message->first; chunk; chunk = chunk->next) {
		if (copy_to_user(buf, chunk->data, chunk->length))
			return -EFAULT;
		buf += chunk->length;
	}
	return 0;
}

/* Out of the queue: into the user's hands, or, if it wants a reply, to those that were received. */
static void take_out(struct endpoint *endpoint, struct message *message,
		     struct popcorn_msg_receive *args)
{
	const bool request = message->flags & POPCORN_MSG_IS_REQUEST;
	DECLARE_BITMAP(wanting, POPCORN_MEMBERS_MAX);
	struct chunk *chunks = message->first;
	bool room;

	spin_lock_irq(&endpoint->lock);
	if (request)
		list_move_tail(&message->list, &endpoint->requests);
	else
		list_del(&message->list);
	unaccount(endpoint, message->total);
	args->lost = endpoint->lost;
	endpoint->lost = 0;
	room = has_room(endpoint, wanting);
	message->first = NULL;
	spin_unlock_irq(&endpoint->lock);
	chunks_free(chunks);
	if (!request)
		message_free(message);
	if (room)
		tell_room(endpoint, wanting);
}

/* Context: endpoint->receive: nobody else takes messages out. */
static int receive_first(struct endpoint *endpoint, struct popcorn_msg_receive *args)
{
	struct message *message = first_message(endpoint);
	int err;

	if (!message)
		return -EAGAIN;
	args->length = message->total;
	if (message->total > args->room)
		return -EMSGSIZE;
	err = copy_message(message, u64_to_user_ptr(args->buf));
	if (err)
		return err;
	args->from = message->from;
	args->uid = message->uid;
	args->flags = message->flags;
	args->call = message->call;
	args->reply_max = message->room;
	memcpy(args->group, message->group, sizeof(args->group));
	take_out(endpoint, message, args);
	return 0;
}

static bool has_message(const void *what)
{
	const struct endpoint *endpoint = what;

	return !list_empty(&endpoint->queue);
}

/*
 * Looks for a message, then sleeps until there may be one; what is left of @timeout, or -EINTR. How
 * long it looks does not matter beside a jiffy.
 */
static long wait_for_message(struct endpoint *endpoint, long timeout)
{
	const u64 begin = local_clock();

	if (READ_ONCE(endpoint->looks))
		user_look(has_message, endpoint);
	timeout =
		wait_event_interruptible_timeout(endpoint->wait, first_message(endpoint), timeout);
	/* Clocks of CPUs may differ a little. */
	if (timeout > 0)
		WRITE_ONCE(endpoint->looks,
			   (s64)(READ_ONCE(endpoint->arrived) - begin) <
				   (s64)(LOOK_REACH * READ_ONCE(poll_us) * 1000ULL));
	return timeout < 0 ? -EINTR : timeout;
}

int endpoint_receive(struct endpoint *endpoint, struct popcorn_msg_receive *args, long timeout)
{
	const bool waits = timeout;
	int err;

	for (;;) {
		if (mutex_lock_interruptible(&endpoint->receive))
			return -EINTR;
		err = receive_first(endpoint, args);
		mutex_unlock(&endpoint->receive);
		if (err != -EAGAIN)
			return err;
		if (!timeout)
			return waits ? -ETIMEDOUT : -EAGAIN;
		timeout = wait_for_message(endpoint, timeout);
		if (timeout < 0)
			return timeout;
	}
}

/*
 * Requests that were received: marked while they are replied to, so that only one does so, and found
 * by a caller that asks until the reply has been sent.
 */

struct message *endpoint_take_request(struct endpoint *endpoint, u64 call)
{
	struct message *message, *found = NULL;

	spin_lock_irq(&endpoint->lock);
	list_for_each_entry(message, &endpoint->requests, list)
		if (message->call == call && !message->replying) {
			message->replying = true;
			found = message;
			break;
		}
	spin_unlock_irq(&endpoint->lock);
	return found;
}

void endpoint_put_request(struct endpoint *endpoint, struct message *request, bool replied)
{
	DECLARE_BITMAP(wanting, POPCORN_MEMBERS_MAX);
	bool room = false;

	spin_lock_irq(&endpoint->lock);
	request->replying = false;
	if (replied) {
		list_del(&request->list);
		endpoint->nr_requests--;
		room = has_room(endpoint, wanting);
	}
	spin_unlock_irq(&endpoint->lock);
	if (!replied)
		return;
	atomic_dec(&user_count.requests);
	message_free(request);
	if (room)
		tell_room(endpoint, wanting);
}

/* Names of an endpoint */

int endpoint_bind(struct endpoint *endpoint, const char *name)
{
	const u32 hash = name_hash(name);
	struct endpoint *other;
	int err = 0;

	mutex_lock(&names_lock);
	if (endpoint->service[0])
		err = -EBUSY;
	hash_for_each_possible(services, other, service_node, hash)
		if (!err && !strcmp(other->service, name))
			err = -EEXIST;
	if (!err) {
		strscpy(endpoint->service, name, sizeof(endpoint->service));
		hash_add_rcu(services, &endpoint->service_node, hash);
	}
	mutex_unlock(&names_lock);
	return err;
}

static struct membership **find_group(struct endpoint *endpoint, const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(endpoint->groups); i++)
		if (name ? endpoint->groups[i] && !strcmp(endpoint->groups[i]->name, name)
			 : !endpoint->groups[i])
			return &endpoint->groups[i];
	return NULL;
}

int endpoint_join(struct endpoint *endpoint, const char *name)
{
	struct membership *membership = kzalloc(sizeof(*membership), GFP_KERNEL), **place;
	int err = 0;

	if (!membership)
		return -ENOMEM;
	membership->endpoint = endpoint;
	strscpy(membership->name, name, sizeof(membership->name));
	mutex_lock(&names_lock);
	place = find_group(endpoint, NULL);
	if (find_group(endpoint, name)) {
		err = -EEXIST;
	} else if (!place) {
		err = -ENOSPC;
	} else {
		*place = membership;
		hash_add_rcu(groups, &membership->node, name_hash(name));
	}
	mutex_unlock(&names_lock);
	if (err)
		kfree(membership);
	return err;
}

/* Context: names_lock. */
static void leave(struct membership **place)
{
	hash_del_rcu(&(*place)->node);
	kfree_rcu(*place, rcu);
	*place = NULL;
}

int endpoint_leave(struct endpoint *endpoint, const char *name)
{
	struct membership **place;

	mutex_lock(&names_lock);
	place = find_group(endpoint, name);
	if (place)
		leave(place);
	mutex_unlock(&names_lock);
	return place ? 0 : -ENOENT;
}

/* Coming and going */

/* Messages in pieces that go on no more. */
static void partial_expire(struct timer_list *timer)
{
	struct endpoint *endpoint = container_of(timer, struct endpoint, timer);
	struct message *message, *next;
	unsigned long flags;

	spin_lock_irqsave(&endpoint->lock, flags);
	list_for_each_entry_safe(message, next, &endpoint->partial, list)
		if (time_after_eq(jiffies, message->touched + PARTIAL_TIMEOUT))
			message_drop(endpoint, message);
	if (!endpoint->closed && !list_empty(&endpoint->partial))
		mod_timer(&endpoint->timer, jiffies + PARTIAL_TIMEOUT);
	spin_unlock_irqrestore(&endpoint->lock, flags);
}

/* Its callers are told, from a work: a process that was killed can't wait. */
static void close_work(struct work_struct *work)
{
	struct endpoint *endpoint = container_of(work, struct endpoint, close);
	struct popcorn_msg_addr silent = {};
	struct message *message, *next;

	list_for_each_entry_safe(message, next, &endpoint->requests, list) {
		/* One timeout for each kernel that does not answer any more. */
		if (!silent.generation || message->from.kernel != silent.kernel ||
		    message->from.generation != silent.generation) {
			if (user_reply_closed(message, endpoint->number) == -ETIMEDOUT)
				silent = message->from;
		}
		list_del(&message->list);
		message_free(message);
		atomic_dec(&user_count.requests);
	}
	atomic_dec(&user_count.endpoints);
	kfree_rcu(endpoint, rcu);
}

struct endpoint *endpoint_open(void)
{
	struct endpoint *endpoint;

	if (atomic_inc_return(&user_count.endpoints) > ENDPOINTS_MAX) {
		atomic_dec(&user_count.endpoints);
		return ERR_PTR(-ENFILE);
	}
	endpoint = kzalloc(sizeof(*endpoint), GFP_KERNEL_ACCOUNT);
	if (!endpoint) {
		atomic_dec(&user_count.endpoints);
		return ERR_PTR(-ENOMEM);
	}
	endpoint->number = atomic64_inc_return(&endpoint_number);
	spin_lock_init(&endpoint->lock);
	INIT_LIST_HEAD(&endpoint->queue);
	INIT_LIST_HEAD(&endpoint->partial);
	INIT_LIST_HEAD(&endpoint->requests);
	INIT_LIST_HEAD(&endpoint->windows);
	init_waitqueue_head(&endpoint->wait);
	timer_setup(&endpoint->timer, partial_expire, 0);
	mutex_init(&endpoint->receive);
	INIT_WORK(&endpoint->close, close_work);
	atomic_set(&endpoint->members_seen, members_sequence());
	spin_lock(&table_lock);
	hash_add_rcu(endpoints, &endpoint->node, endpoint->number);
	spin_unlock(&table_lock);
	return endpoint;
}

/* Of the last reference to the descriptor: no system call is in it. */
void endpoint_close(struct endpoint *endpoint)
{
	DECLARE_BITMAP(wanting, POPCORN_MEMBERS_MAX);
	struct message *message, *next;
	LIST_HEAD(dropped);
	size_t i;

	windows_close(endpoint);
	mutex_lock(&names_lock);
	if (endpoint->service[0])
		hash_del_rcu(&endpoint->service_node);
	for (i = 0; i < ARRAY_SIZE(endpoint->groups); i++)
		if (endpoint->groups[i])
			leave(&endpoint->groups[i]);
	mutex_unlock(&names_lock);
	spin_lock(&table_lock);
	hash_del_rcu(&endpoint->node);
	spin_unlock(&table_lock);

	spin_lock_irq(&endpoint->lock);
	endpoint->closed = true;
	list_splice_init(&endpoint->partial, &dropped);
	list_for_each_entry_safe(message, next, &endpoint->queue, list)
		list_move_tail(&message->list, message->flags & POPCORN_MSG_IS_REQUEST
						       ? &endpoint->requests
						       : &dropped);
	atomic_long_sub(endpoint->used, &user_count.bytes);
	bitmap_copy(wanting, endpoint->wanting, POPCORN_MEMBERS_MAX);
	spin_unlock_irq(&endpoint->lock);
	del_timer_sync(&endpoint->timer);

	list_for_each_entry_safe(message, next, &dropped, list)
		message_free(message);
	/* Whoever waits for room tries again, and finds nobody. */
	tell_room(endpoint, wanting);
	queue_work(user_wq, &endpoint->close);
}

/* Members */

u32 members_sequence(void)
{
	return atomic_read_acquire(&members_changed);
}

void members_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &members_wait, table);
}

static void drop_partials(const struct popcorn_msg_peer *peer)
{
	struct message *message, *next;
	struct endpoint *endpoint;
	int bucket;

	rcu_read_lock();
	hash_for_each_rcu(endpoints, bucket, endpoint, node) {
		spin_lock_irq(&endpoint->lock);
		list_for_each_entry_safe(message, next, &endpoint->partial, list)
			if (message->from.kernel == peer->id &&
			    message->from.generation == peer->generation)
				message_drop(endpoint, message);
		spin_unlock_irq(&endpoint->lock);
	}
	rcu_read_unlock();
}

static void fail_calls(const struct popcorn_msg_peer *peer)
{
	struct user_call *call;
	struct hlist_node *next;
	int bucket;

	spin_lock_irq(&calls_lock);
	hash_for_each_safe(calls, bucket, next, call, node) {
		if (call->to.kernel == peer->id && call->to.generation == peer->generation)
			call_done(call, -EPIPE);
	}
	spin_unlock_irq(&calls_lock);
}

static int members_notify(struct notifier_block *block, unsigned long what, void *data)
{
	const struct popcorn_msg_peer *peer = data;
	size_t i;

	if (what == POPCORN_MSG_GONE) {
		windows_peer_gone(peer);
		drop_partials(peer);
		fail_calls(peer);
		for (i = 0; i < ARRAY_SIZE(rooms); i++)
			room_wake(&rooms[i]);
	}
	atomic_inc(&members_changed);
	wake_up_interruptible_poll(&members_wait, EPOLLPRI);
	return NOTIFY_DONE;
}

static struct notifier_block members_block = { .notifier_call = members_notify };

int endpoints_init(void)
{
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(rooms); i++)
		init_waitqueue_head(&rooms[i].wait);
	user_wq = alloc_workqueue("popcorn_msg_user", WQ_UNBOUND, 0);
	if (!user_wq)
		return -ENOMEM;
	err = popcorn_msg_notifier_register(&members_block);
	if (err)
		goto no_notifier;
	err = popcorn_msg_register(&user_type);
	if (err)
		goto no_type;
	return 0;

no_type:
	popcorn_msg_notifier_unregister(&members_block);
no_notifier:
	destroy_workqueue(user_wq);
	return err;
}

/* No descriptor is open. */
void endpoints_exit(void)
{
	popcorn_msg_unregister(&user_type);
	popcorn_msg_notifier_unregister(&members_block);
	destroy_workqueue(user_wq);
}
