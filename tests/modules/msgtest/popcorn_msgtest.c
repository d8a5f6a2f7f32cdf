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
#include <linux/sort.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <popcorn/msg.h>

#define PEERS 16
#define TYPE_PING 100

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
static char first_error[128], ping_report[128];
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

static ssize_t run_write(struct file *file, const char __user *from, size_t size, loff_t *pos)
{
	struct popcorn_msg_peer peer = {};
	unsigned long long number;
	char text[64] = "";
	u32 a, b, c = 0;
	int err = 0;

	if (size >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, size))
		return -EFAULT;
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
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(report);

static int __init msgtest_init(void)
{
	u32 id, n;
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
	err = popcorn_msg_register(&ping_type);
	if (err)
		goto unregister;
	popcorn_msg_notifier_register(&block);
	folder = debugfs_create_dir("popcorn_msgtest", NULL);
	debugfs_create_file("run", 0200, folder, NULL, &run_fops);
	debugfs_create_file("report", 0400, folder, NULL, &report_fops);
	return 0;

unregister:
	while (n--)
		popcorn_msg_unregister(&types[n]);
	destroy_workqueue(wq);
	return err;
}
module_init(msgtest_init);

static void __exit msgtest_exit(void)
{
	u32 n;

	debugfs_remove_recursive(folder);
	WRITE_ONCE(stop, true);
	popcorn_msg_notifier_unregister(&block);
	destroy_workqueue(wq);
	popcorn_msg_unregister(&ping_type);
	for (n = 0; n < STREAMS; n++)
		popcorn_msg_unregister(&types[n]);
}
module_exit(msgtest_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Traffic between kernels, for tests");
