// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For tests only: messages of all kinds between all kernels that have this module, each numbered and
 * with contents that follow from its number.
 *
 * /sys/kernel/debug/popcorn_msgtest/run takes
 *	traffic COUNT [US]	COUNT messages (0: until "stop") of each stream to each kernel that is
 *			there, and to each that comes; a pause of US after each 64
 *	stop		ends that
 *	ping ID COUNT BYTES	round trips, one after the other; returns when done
 *	flood ID PRIORITY COUNT MS BYTES	COUNT messages to the gate of a kernel, each with a timeout of MS
 *	gate PRIORITY OPEN	0: who handles what is sent to the gate of this kernel waits until 1
 *	unknown ID	messages that nobody there handles: a type without a handler, a request, and a
 *			large one for a handler that does not sleep
 *	raw ID TYPE A B C D BYTES	one message of a type, of four words and BYTES bytes that make no sense
 *	join NAME, leave NAME	a group
 *	cast NAME PRIORITY COUNT BYTES	COUNT messages to a group
 *	sends ID COUNT BYTES	as cast, but one after the other to kernels 1 to ID
 *	ipi COUNT	what a bare interrupt costs: to another CPU of this kernel, and its answer in memory
 *	groups		opens groups until there are no more, and closes them
 * and .../report says what was sent and received, and what was wrong.
 */
#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/sort.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <popcorn/msg.h>

#define PEERS 16
#define TYPE_PING 100
#define TYPE_GATE 101 /* flood: sleeps while the gate is closed */
#define TYPE_CAST 102
#define TYPE_NOBODY 200
#define GROUPS 4

/* What a stream is of. All messages of one go at one priority and have one type. */
static const struct kind {
	u16 type, flags;
	u32 priority;
	u32 bytes; /* at most */
} kinds[] = {
	{ 16, 0, POPCORN_MSG_CONTROL, 400 },
	{ 17, POPCORN_MSG_SLEEPS, POPCORN_MSG_CONTROL, POPCORN_MSG_LARGE_MAX },
	{ 18, 0, POPCORN_MSG_BULK, POPCORN_MSG_MAX },
	{ 19, POPCORN_MSG_SLEEPS, POPCORN_MSG_BULK, POPCORN_MSG_LARGE_MAX },
};
#define STREAMS ARRAY_SIZE(kinds)

enum { OP_READY, OP_DATA, OP_DONE, OP_ECHO };

struct payload {
	u32 op;
	u32 generation; /* of the sender */
	u64 number;	/* OP_DONE: how many there were */
	u64 words[];
};

struct stream {
	struct work_struct work;
	u32 id, n;
	/* Sender */
	u64 sent, calls, finished, ended;
	/* Receiver */
	u32 generation;
	u64 expected, received;
};

static struct stream streams[PEERS][STREAMS];
static struct popcorn_msg_type types[STREAMS];
static struct workqueue_struct *wq;
static atomic_t running, errors;
static bool stop = true;
static u64 count;
static unsigned int pause_us;
static char first_error[128], ping_report[128], flood_report[128], cast_report[128];
static DEFINE_MUTEX(run_lock);
static struct dentry *folder;

static __printf(1, 2) void wrong(const char *format, ...)
{
	va_list list;

	if (atomic_inc_return(&errors) > 1)
		return;
	va_start(list, format);
	vscnprintf(first_error, sizeof(first_error), format, list);
	va_end(list);
	pr_err("popcorn_msgtest: %s\n", first_error);
}

/* Some have no byte at all: of those the number is known only from where they come. */
static bool is_empty(u64 number)
{
	return number % 16 == 15;
}

/* Most are short, some are long, some have no words at all, a few are large, the first of those as
 * large as can be. */
static u32 words_of(u64 number, u32 bytes)
{
	u32 most = (min_t(u32, bytes, POPCORN_MSG_MAX) - sizeof(struct payload)) / sizeof(u64);
	u32 large = (bytes - sizeof(struct payload)) / sizeof(u64);
	u32 random = (u32)(number * 0x9e3779b97f4a7c15ULL >> 40);

	if (number == 1)
		return large;
	if (number % 2048 == 1001)
		return random % (large + 1);
	return number % 8 ? random % min(most, 12U) : random % (most + 1);
}

static u64 word_of(u64 number, u32 i, u32 stream, u32 generation)
{
	return (number + 1) * 0x100000001b3ULL + i * 0x9e3779b97f4a7c15ULL + stream +
	       ((u64)generation << 32);
}

static void receive_data(struct stream *stream, const struct popcorn_msg *msg,
			 const struct payload *payload)
{
	u32 words = words_of(payload->number, kinds[stream->n].bytes), i;

	if (payload->number != stream->expected || is_empty(payload->number))
		wrong("from %u.%u stream %u: number %llu instead of %llu", msg->from.id,
		      msg->from.generation, stream->n, payload->number, stream->expected);
	stream->expected = payload->number + 1;
	stream->received++;
	if (msg->length != struct_size(payload, words, words)) {
		wrong("from %u.%u stream %u: %u bytes instead of %u words", msg->from.id,
		      msg->from.generation, stream->n, msg->length, words);
		return;
	}
	for (i = 0; i < words; i++)
		if (payload->words[i] !=
		    word_of(payload->number, i, stream->n, msg->from.generation)) {
			wrong("from %u.%u stream %u: message %llu is damaged at %u", msg->from.id,
			      msg->from.generation, stream->n, payload->number, i);
			return;
		}
}

static int receive(const struct popcorn_msg *msg, const void *data, void *cookie)
{
	const struct payload *payload = data;
	u32 n = (struct popcorn_msg_type *)cookie - types;
	struct stream *stream;

	if (msg->from.id < PEERS && !msg->length) {
		stream = &streams[msg->from.id][n];
		if (!is_empty(stream->expected))
			wrong("from %u.%u stream %u: an empty message instead of %llu",
			      msg->from.id, msg->from.generation, n, stream->expected);
		stream->expected++;
		stream->received++;
		return 0;
	}
	if (msg->from.id >= PEERS || msg->length < sizeof(*payload) ||
	    payload->generation != msg->from.generation) {
		wrong("from %u.%u stream %u: %u bytes of generation %u", msg->from.id,
		      msg->from.generation, n, msg->length, payload->generation);
		return -EINVAL;
	}
	stream = &streams[msg->from.id][n];
	if (payload->op == OP_READY) {
		stream->generation = msg->from.generation;
		stream->expected = 0;
	} else if (stream->generation != msg->from.generation) {
		wrong("stream %u: message of life %u.%u after one of %u", n, msg->from.id,
		      msg->from.generation, stream->generation);
		return -EINVAL;
	}
	if (payload->op == OP_DATA)
		receive_data(stream, msg, payload);
	if (payload->op == OP_DONE && payload->number != stream->expected)
		wrong("from %u.%u stream %u: %llu messages instead of %llu", msg->from.id,
		      msg->from.generation, n, stream->expected, payload->number);
	return msg->call ? popcorn_msg_reply(msg, payload, min(msg->length, msg->room)) : 0;
}

static int ping(const struct popcorn_msg *msg, const void *data, void *cookie)
{
	return popcorn_msg_reply(msg, data, min(msg->length, msg->room));
}
static const struct popcorn_msg_type ping_type = { .type = TYPE_PING, .handler = ping };

/* The gate */

static struct gate {
	bool closed;
	u64 received;
	u64 sent[PEERS], expected[PEERS]; /* numbers go on from flood to flood */
	u32 generation[PEERS];
} gates[POPCORN_MSG_BULK + 1];
static atomic_t at_gate;
static DECLARE_WAIT_QUEUE_HEAD(gate_wait);

static u32 gate_words(u32 bytes)
{
	return bytes < sizeof(struct payload) ? 0 : (bytes - sizeof(struct payload)) / sizeof(u64);
}

static void fill(struct payload *payload, u64 number, u32 words, u32 stream)
{
	u32 i;

	*payload =
		(struct payload){ .generation = popcorn_msg_self().generation, .number = number };
	for (i = 0; i < words; i++)
		payload->words[i] = word_of(number, i, stream, payload->generation);
}

static bool is_filled(const struct popcorn_msg *msg, const struct payload *payload, u32 stream)
{
	u32 words, i;

	if (msg->length < sizeof(*payload) || payload->generation != msg->from.generation)
		return false;
	words = gate_words(msg->length);
	for (i = 0; i < words; i++)
		if (payload->words[i] != word_of(payload->number, i, stream, payload->generation))
			return false;
	return true;
}

static int gate(const struct popcorn_msg *msg, const void *data, void *cookie)
{
	const struct payload *payload = data;
	struct gate *gate = &gates[msg->priority];

	atomic_inc(&at_gate);
	wait_event(gate_wait, !READ_ONCE(gate->closed));
	atomic_dec(&at_gate);
	if (msg->from.id >= PEERS || !is_filled(msg, payload, TYPE_GATE)) {
		wrong("gate: a message from %u is damaged", msg->from.id);
		return 0;
	}
	if (gate->generation[msg->from.id] != msg->from.generation) {
		gate->generation[msg->from.id] = msg->from.generation;
		gate->expected[msg->from.id] = payload->number;
	}
	if (payload->number != gate->expected[msg->from.id])
		wrong("gate: number %llu from %u instead of %llu", payload->number, msg->from.id,
		      gate->expected[msg->from.id]);
	gate->expected[msg->from.id] = payload->number + 1;
	WRITE_ONCE(gate->received, gate->received + 1);
	return 0;
}
static const struct popcorn_msg_type gate_type = { TYPE_GATE, POPCORN_MSG_SLEEPS, gate, NULL };

static int run_flood(u32 id, u32 priority, u32 n, u32 ms, u32 bytes)
{
	struct payload *payload;
	struct gate *gate;
	u64 begin = ktime_get_ns();
	int err = 0;
	u32 i;

	if (id >= PEERS || priority > POPCORN_MSG_BULK || bytes > POPCORN_MSG_LARGE_MAX)
		return -EINVAL;
	gate = &gates[priority];
	payload = kvzalloc(max_t(u32, bytes, sizeof(*payload)), GFP_KERNEL);
	if (!payload)
		return -ENOMEM;
	for (i = 0; i < n && !err; i++) {
		fill(payload, gate->sent[id], gate_words(bytes), TYPE_GATE);
		err = popcorn_msg_send((struct popcorn_msg_peer){ .id = id }, priority, TYPE_GATE,
				       payload, struct_size(payload, words, gate_words(bytes)),
				       msecs_to_jiffies(ms));
		if (!err)
			gate->sent[id]++;
	}
	snprintf(flood_report, sizeof(flood_report), "flood %u sent %u error %d ns %llu", id,
		 err ? i - 1 : i, err, ktime_get_ns() - begin);
	kvfree(payload);
	return err;
}

static int run_gate(u32 priority, u32 open)
{
	if (priority > POPCORN_MSG_BULK)
		return -EINVAL;
	WRITE_ONCE(gates[priority].closed, !open);
	wake_up_all(&gate_wait);
	return 0;
}

/* Groups */

static struct group {
	char name[POPCORN_MSG_GROUP_NAME];
	struct popcorn_msg_group *group;
	u64 received;
	u64 expected[PEERS];
	u32 generation[PEERS];
} test_groups[GROUPS];

static int cast(const struct popcorn_msg *msg, const void *data, void *cookie)
{
	const struct payload *payload = data;
	struct group *group;

	if (msg->from.id >= PEERS || !is_filled(msg, payload, TYPE_CAST)) {
		wrong("cast: a message from %u is damaged", msg->from.id);
		return 0;
	}
	/* Not to a group: of "sends". */
	if (!msg->group[0])
		return 0;
	for (group = test_groups; group < test_groups + GROUPS; group++)
		if (!strcmp(group->name, msg->group))
			break;
	if (group == test_groups + GROUPS) {
		wrong("cast: from %u to group '%s', which nobody here knows", msg->from.id,
		      msg->group);
		return 0;
	}
	if (payload->number && (group->generation[msg->from.id] != msg->from.generation ||
				payload->number != group->expected[msg->from.id]))
		wrong("cast: number %llu from %u instead of %llu", payload->number, msg->from.id,
		      group->expected[msg->from.id]);
	group->generation[msg->from.id] = msg->from.generation;
	group->expected[msg->from.id] = payload->number + 1;
	WRITE_ONCE(group->received, group->received + 1);
	return 0;
}
static const struct popcorn_msg_type cast_type = { TYPE_CAST, 0, cast, NULL };

static struct group *test_group(const char *name)
{
	struct group *group;

	for (group = test_groups; group < test_groups + GROUPS; group++)
		if (!strcmp(group->name, name))
			return group;
	for (group = test_groups; group < test_groups + GROUPS; group++)
		if (!group->group) {
			group->group = popcorn_msg_group_open(name);
			if (IS_ERR(group->group)) {
				group->group = NULL;
				return NULL;
			}
			strscpy(group->name, name, sizeof(group->name));
			return group;
		}
	return NULL;
}

static int run_join(const char *name, bool join)
{
	struct group *group = test_group(name);

	if (!group)
		return -EINVAL;
	if (join)
		popcorn_msg_group_join(group->group);
	else
		popcorn_msg_group_leave(group->group);
	return 0;
}

/* To a group, or without one to kernels 1 to @last. Numbers begin at 0 each time. */
static int run_cast(const char *name, u32 last, u32 priority, u32 n, u32 bytes)
{
	struct group *group = name ? test_group(name) : NULL;
	struct payload *payload;
	u64 sent = 0, begin;
	int ret = 0;
	u32 i, id, length;

	if ((name && !group) || bytes > POPCORN_MSG_MAX)
		return -EINVAL;
	payload = kzalloc(POPCORN_MSG_MAX, GFP_KERNEL);
	if (!payload)
		return -ENOMEM;
	length = struct_size(payload, words, gate_words(bytes));
	begin = ktime_get_ns();
	for (i = 0; i < n && ret >= 0; i++) {
		fill(payload, i, gate_words(bytes), TYPE_CAST);
		if (group) {
			ret = popcorn_msg_group_send(group->group, priority, TYPE_CAST, payload,
						     length, 10 * HZ);
			sent += max(ret, 0);
			continue;
		}
		for (id = 1; id <= last && ret >= 0; id++, sent++)
			ret = popcorn_msg_send((struct popcorn_msg_peer){ .id = id }, priority,
					       TYPE_CAST, payload, length, 10 * HZ);
	}
	snprintf(cast_report, sizeof(cast_report), "cast sent %llu error %d ns %llu", sent,
		 min(ret, 0), ktime_get_ns() - begin);
	kfree(payload);
	return min(ret, 0);
}

/* As many as there may be, and not one more; names that are none are refused. */
static int run_groups(void)
{
	struct popcorn_msg_group **groups;
	char name[POPCORN_MSG_GROUP_NAME];
	int n, err = -ENOMEM;

	groups = kcalloc(POPCORN_MSG_GROUPS + 1, sizeof(*groups), GFP_KERNEL);
	if (!groups)
		return -ENOMEM;
	for (n = 0; n <= POPCORN_MSG_GROUPS; n++) {
		snprintf(name, sizeof(name), "many-%d", n);
		groups[n] = popcorn_msg_group_open(name);
		if (IS_ERR(groups[n]))
			break;
		popcorn_msg_group_join(groups[n]);
	}
	if (n > POPCORN_MSG_GROUPS || PTR_ERR(groups[n]) != -ENOSPC)
		wrong("groups: %d could be opened", n);
	else if (PTR_ERR(popcorn_msg_group_open("")) != -EINVAL ||
		 PTR_ERR(popcorn_msg_group_open("two words")) != -EINVAL ||
		 PTR_ERR(popcorn_msg_group_open("sixteen-letters!")) != -EINVAL)
		wrong("groups: a name that is none was taken");
	else
		err = 0;
	snprintf(cast_report, sizeof(cast_report), "groups %d", n);
	while (n--) {
		popcorn_msg_group_leave(groups[n]);
		popcorn_msg_group_close(groups[n]);
	}
	kfree(groups);
	return err;
}

/* What nobody there handles. */
static int run_unknown(u32 id)
{
	const struct popcorn_msg_peer to = { .id = id };
	void *large = kvzalloc(POPCORN_MSG_LARGE_MAX, GFP_KERNEL);
	int err = large ? 0 : -ENOMEM;

	if (!err)
		err = popcorn_msg_send(to, POPCORN_MSG_CONTROL, TYPE_NOBODY, large, 64, HZ);
	/* A large one, to one that does not sleep. */
	if (!err)
		err = popcorn_msg_send(to, POPCORN_MSG_CONTROL, TYPE_PING, large,
				       POPCORN_MSG_LARGE_MAX, 10 * HZ);
	if (!err)
		err = popcorn_msg_call(to, POPCORN_MSG_CONTROL, TYPE_NOBODY, large, 64, large, 64,
				       10 * HZ);
	kvfree(large);
	if (err != -EOPNOTSUPP)
		wrong("unknown: a request that nobody handles ended with %d", err);
	return err == -EOPNOTSUPP ? 0 : -EIO;
}

/* Sends one payload as a request; its answer is the same. */
static int ask(struct popcorn_msg_peer to, const struct kind *kind, struct payload *payload,
	       u32 length)
{
	struct payload *answer = kmalloc(length, GFP_KERNEL);
	int ret;

	if (!answer)
		return -ENOMEM;
	ret = popcorn_msg_call(to, kind->priority, kind->type, payload, length, answer, length,
			       60 * HZ);
	if (ret >= 0 && (ret != length || memcmp(answer, payload, length)))
		wrong("to %u.%u type %u: the answer is damaged", to.id, to.generation, kind->type);
	kfree(answer);
	return ret;
}

static int send_stream(struct stream *stream, struct popcorn_msg_peer to, struct payload *payload)
{
	const struct kind *kind = &kinds[stream->n];
	u32 generation = popcorn_msg_self().generation, words, i, length;
	u64 number;
	int err;

	for (;;) {
		*payload = (struct payload){ .op = OP_READY, .generation = generation };
		err = ask(to, kind, payload, sizeof(*payload));
		/* It has not loaded this module yet. */
		if (err != -EOPNOTSUPP || READ_ONCE(stop))
			break;
		msleep(100);
	}
	if (err < 0)
		return err;
	for (number = 0; (!count || number < count) && !READ_ONCE(stop); number++) {
		words = words_of(number, kind->bytes);
		length = is_empty(number) ? 0 : struct_size(payload, words, words);
		*payload = (struct payload){ .op = OP_DATA,
					     .generation = generation,
					     .number = number };
		for (i = 0; i < words; i++)
			payload->words[i] = word_of(number, i, stream->n, generation);
		err = popcorn_msg_send(to, kind->priority, kind->type, payload, length, 60 * HZ);
		if (err)
			return err;
		stream->sent++;
		if (number % 64)
			continue;
		payload->op = OP_ECHO;
		err = ask(to, kind, payload, length);
		if (err < 0)
			return err;
		stream->calls++;
		if (pause_us)
			usleep_range(pause_us, 2 * pause_us);
	}
	*payload = (struct payload){ .op = OP_DONE, .generation = generation, .number = number };
	return ask(to, kind, payload, sizeof(*payload));
}

static bool find(u32 id, struct popcorn_msg_peer *ret)
{
	*ret = (struct popcorn_msg_peer){};
	while (popcorn_msg_next(ret))
		if (ret->id == id)
			return true;
	return false;
}

static void stream_work(struct work_struct *work)
{
	struct stream *stream = container_of(work, struct stream, work);
	struct payload *payload = kvmalloc(POPCORN_MSG_LARGE_MAX, GFP_KERNEL);
	struct popcorn_msg_peer to;
	int err = -ENOMEM;

	if (!find(stream->id, &to))
		err = -ENOTCONN;
	else if (payload)
		err = send_stream(stream, to, payload);
	kvfree(payload);
	if (err >= 0)
		stream->finished++;
	else if (err == -EPIPE || err == -ENOTCONN || err == -ESHUTDOWN)
		stream->ended++;
	else
		wrong("to %u stream %u: error %d", stream->id, stream->n, err);
	atomic_dec(&running);
}

static void start(u32 id)
{
	u32 n;

	if (id >= PEERS)
		return;
	for (n = 0; n < STREAMS; n++) {
		atomic_inc(&running);
		if (!queue_work(wq, &streams[id][n].work))
			atomic_dec(&running);
	}
}

static int notify(struct notifier_block *block, unsigned long what, void *data)
{
	const struct popcorn_msg_peer *peer = data;

	if (what == POPCORN_MSG_JOINED && !READ_ONCE(stop))
		start(peer->id);
	return NOTIFY_OK;
}
static struct notifier_block block = { .notifier_call = notify };

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static int run_ping(u32 id, u32 n, u32 bytes)
{
	u64 *times, begin;
	u8 *data;
	int err = 0;
	u32 i;

	if (!n || n > 1000000 || bytes > POPCORN_MSG_MAX)
		return -EINVAL;
	times = kvmalloc_array(n, sizeof(*times), GFP_KERNEL);
	data = kzalloc(POPCORN_MSG_MAX, GFP_KERNEL);
	for (i = 0; times && data && i < n && err >= 0; i++) {
		begin = ktime_get_ns();
		err = popcorn_msg_call((struct popcorn_msg_peer){ .id = id }, POPCORN_MSG_CONTROL,
				       TYPE_PING, data, bytes, data, bytes, 10 * HZ);
		times[i] = ktime_get_ns() - begin;
	}
	if (times && data && err >= 0) {
		sort(times, n, sizeof(*times), compare, NULL);
		snprintf(ping_report, sizeof(ping_report),
			 "ping %u bytes %u min %llu p50 %llu p99 %llu ns", id, bytes, times[0],
			 times[n / 2], times[n - 1 - n / 100]);
	}
	kvfree(times);
	kfree(data);
	return err < 0 ? err : 0;
}

static void nothing(void *unused)
{
}

static int run_ipi(u32 n)
{
	u64 *times, begin;
	int err = 0, other;
	u32 i;

	if (!n || n > 1000000)
		return -EINVAL;
	times = kvmalloc_array(n, sizeof(*times), GFP_KERNEL);
	if (!times)
		return -ENOMEM;
	migrate_disable();
	other = cpumask_any_but(cpu_online_mask, smp_processor_id());
	for (i = 0; i < n && !err; i++) {
		begin = ktime_get_ns();
		err = other < nr_cpu_ids ? smp_call_function_single(other, nothing, NULL, true)
					 : -ENXIO;
		times[i] = ktime_get_ns() - begin;
	}
	migrate_enable();
	if (!err) {
		sort(times, n, sizeof(*times), compare, NULL);
		snprintf(ping_report, sizeof(ping_report), "ipi min %llu p50 %llu p99 %llu ns",
			 times[0], times[n / 2], times[n - 1 - n / 100]);
	}
	kvfree(times);
	return err;
}

static int run_raw(u32 id, u32 type, const u32 words[4], u32 bytes)
{
	struct popcorn_msg_peer to = { .id = id };
	u32 length = 4 * sizeof(*words) + bytes;
	u8 *message;
	int err;

	if (bytes > POPCORN_MSG_MAX - 4 * sizeof(*words))
		return -EMSGSIZE;
	message = kmalloc(length, GFP_KERNEL);
	if (!message)
		return -ENOMEM;
	memcpy(message, words, 4 * sizeof(*words));
	memset(message + 4 * sizeof(*words), 'X', bytes);
	err = popcorn_msg_send(to, POPCORN_MSG_BULK, type, message, length, HZ);
	kfree(message);
	return err;
}

static ssize_t run_write(struct file *file, const char __user *from, size_t size, loff_t *pos)
{
	struct popcorn_msg_peer peer = {};
	unsigned long long number;
	char text[64] = "", name[64];
	u32 a, b, c = 0, d, e, words[4];
	int err = 0;

	if (size >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, size))
		return -EFAULT;
	/* Beside all else, and ended by a signal. */
	if (sscanf(text, "flood %u %u %u %u %u", &a, &b, &c, &d, &e) == 5)
		return run_flood(a, b, c, d, e) ?: size;
	mutex_lock(&run_lock);
	if (sscanf(text, "traffic %llu %u", &number, &c) >= 1) {
		count = number;
		pause_us = c;
		WRITE_ONCE(stop, false);
		while (popcorn_msg_next(&peer))
			start(peer.id);
	} else if (!strncmp(text, "stop", 4)) {
		WRITE_ONCE(stop, true);
	} else if (sscanf(text, "ping %u %u %u", &a, &b, &c) == 3) {
		err = run_ping(a, b, c);
	} else if (sscanf(text, "ipi %u", &a) == 1) {
		err = run_ipi(a);
	} else if (sscanf(text, "gate %u %u", &a, &b) == 2) {
		err = run_gate(a, b);
	} else if (sscanf(text, "unknown %u", &a) == 1) {
		err = run_unknown(a);
	} else if (sscanf(text, "raw %u %u %u %u %u %u %u", &a, &b, &words[0], &words[1], &words[2],
			  &words[3], &c) == 7) {
		err = run_raw(a, b, words, c);
	} else if (sscanf(text, "join %63s", name) == 1) {
		err = run_join(name, true);
	} else if (sscanf(text, "leave %63s", name) == 1) {
		err = run_join(name, false);
	} else if (sscanf(text, "cast %63s %u %u %u", name, &a, &b, &c) == 4) {
		err = run_cast(name, 0, a, b, c);
	} else if (sscanf(text, "sends %u %u %u", &a, &b, &c) == 3) {
		err = run_cast(NULL, a, POPCORN_MSG_BULK, b, c);
	} else if (!strncmp(text, "groups", 6)) {
		err = run_groups();
	} else {
		err = -EINVAL;
	}
	mutex_unlock(&run_lock);
	return err ?: size;
}

static const struct file_operations run_fops = {
	.owner = THIS_MODULE,
	.write = run_write,
};

static int report_show(struct seq_file *file, void *unused)
{
	u64 sent = 0, calls = 0, received = 0, finished = 0, ended = 0;
	struct stream *stream;
	struct group *group;

	for (stream = &streams[0][0]; stream < &streams[PEERS][0]; stream++) {
		sent += stream->sent;
		calls += stream->calls;
		received += stream->received;
		finished += stream->finished;
		ended += stream->ended;
	}
	seq_printf(file,
		   "running %d errors %d sent %llu calls %llu received %llu finished %llu ended "
		   "%llu\n",
		   atomic_read(&running), atomic_read(&errors), sent, calls, received, finished,
		   ended);
	if (first_error[0])
		seq_printf(file, "first error: %s\n", first_error);
	if (ping_report[0])
		seq_printf(file, "%s\n", ping_report);
	if (flood_report[0])
		seq_printf(file, "%s\n", flood_report);
	if (cast_report[0])
		seq_printf(file, "%s\n", cast_report);
	seq_printf(file, "gate waiting %d control %llu bulk %llu\n", atomic_read(&at_gate),
		   gates[POPCORN_MSG_CONTROL].received, gates[POPCORN_MSG_BULK].received);
	for (group = test_groups; group < test_groups + GROUPS; group++)
		if (group->group)
			seq_printf(file, "group %s %llu\n", group->name, group->received);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(report);

static const struct popcorn_msg_type *const others[] = { &ping_type, &gate_type, &cast_type };

static int __init msgtest_init(void)
{
	u32 id, n, i;
	int err;

	/* As many as there are streams: each has a thread of its own. */
	wq = alloc_workqueue("popcorn_msgtest", WQ_UNBOUND, PEERS * STREAMS);
	if (!wq)
		return -ENOMEM;
	for (id = 0; id < PEERS; id++)
		for (n = 0; n < STREAMS; n++) {
			streams[id][n].id = id;
			streams[id][n].n = n;
			INIT_WORK(&streams[id][n].work, stream_work);
		}
	for (n = 0; n < STREAMS; n++) {
		types[n] = (struct popcorn_msg_type){ kinds[n].type, kinds[n].flags, receive,
						      &types[n] };
		err = popcorn_msg_register(&types[n]);
		if (err)
			goto unregister;
	}
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		err = popcorn_msg_register(others[i]);
		if (err)
			goto unregister_others;
	}
	popcorn_msg_notifier_register(&block);
	folder = debugfs_create_dir("popcorn_msgtest", NULL);
	debugfs_create_file("run", 0200, folder, NULL, &run_fops);
	debugfs_create_file("report", 0400, folder, NULL, &report_fops);
	return 0;

unregister_others:
	while (i--)
		popcorn_msg_unregister(others[i]);
unregister:
	while (n--)
		popcorn_msg_unregister(&types[n]);
	destroy_workqueue(wq);
	return err;
}
module_init(msgtest_init);

static void __exit msgtest_exit(void)
{
	struct group *group;
	u32 n;

	debugfs_remove_recursive(folder);
	WRITE_ONCE(stop, true);
	popcorn_msg_notifier_unregister(&block);
	destroy_workqueue(wq);
	for (n = 0; n < POPCORN_MSG_BULK + 1; n++)
		run_gate(n, 1);
	for (n = 0; n < ARRAY_SIZE(others); n++)
		popcorn_msg_unregister(others[n]);
	for (n = 0; n < STREAMS; n++)
		popcorn_msg_unregister(&types[n]);
	/* Who has joined one has left it. */
	for (group = test_groups; group < test_groups + GROUPS; group++)
		if (group->group)
			popcorn_msg_group_close(group->group);
}
module_exit(msgtest_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Traffic between kernels, for tests");
