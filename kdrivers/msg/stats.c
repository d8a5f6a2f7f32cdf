// SPDX-License-Identifier: GPL-2.0-only
/* Statistics: for other modules, and in debugfs for developers. */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "msg.h"

static struct dentry *folder;

static const char *const lane_names[] = { "reply", "control", "bulk" };

static void collect(struct peer *peer, u32 lane, struct popcorn_msg_stats *ret)
{
	const struct rx *rx = &peer->rx[lane];
	const struct tx_count *count;
	int cpu, i;

	*ret = (struct popcorn_msg_stats){
		.received = READ_ONCE(rx->messages),
		.received_bytes = READ_ONCE(rx->payload),
		.unknown = READ_ONCE(rx->unknown),
		.stalls = READ_ONCE(rx->stalls),
		.late = READ_ONCE(rx->late),
		.high_water = READ_ONCE(rx->high_water),
		.slots = lane_slots(lane),
	};
	for_each_possible_cpu(cpu) {
		count = per_cpu_ptr(peer->tx[lane].count, cpu);
		ret->sent += count->messages;
		ret->sent_bytes += count->bytes;
		ret->credit_waits += count->waits;
		ret->rings += count->rings;
		if (lane != POPCORN_LANE_REPLY)
			continue;
		for (i = 0; i < POPCORN_MSG_CALL_CLASSES; i++)
			ret->calls[i] += per_cpu_ptr(peer->call_times, cpu)->calls[i];
	}
	/* Only in such a state is the ring there. */
	rcu_read_lock();
	if (smp_load_acquire(&peer->state) == PEER_UP)
		ret->credits = popcorn_ring_credit(&peer->tx[lane].writer);
	rcu_read_unlock();
}

/**
 * popcorn_msg_stats - what went to and came from a peer
 * @id: of the peer
 * @priority: POPCORN_MSG_CONTROL, POPCORN_MSG_BULK, or 0 for replies
 * @ret: is filled
 *
 * Context: any. Numbers that change meanwhile are from about now.
 * Return: 0; -EINVAL; -ENOENT: nobody of that id was ever there.
 */
int popcorn_msg_stats(u32 id, u32 priority, struct popcorn_msg_stats *ret)
{
	struct peer *peer = peer_of(id);

	if (priority >= POPCORN_LANES)
		return -EINVAL;
	if (!peer)
		return -ENOENT;
	collect(peer, priority, ret);
	return 0;
}
EXPORT_SYMBOL_GPL(popcorn_msg_stats);

static void show_calls(struct seq_file *file, const struct popcorn_msg_stats *s)
{
	int i;

	seq_puts(file, "  calls by log2 ns");
	for (i = 0; i < POPCORN_MSG_CALL_CLASSES; i++)
		if (s->calls[i])
			seq_printf(file, " %d:%llu", i, s->calls[i]);
	seq_putc(file, '\n');
}

static int peers_show(struct seq_file *file, void *unused)
{
	static const char *const states[] = { "none", "joining", "up", "down" };
	struct popcorn_msg_stats s;
	struct peer *peer;
	u32 id, lane;

	if (!smp_load_acquire(&self.joined)) {
		seq_puts(file, "not joined\n");
		return 0;
	}
	seq_printf(file, "self %u.%u interrupts %llu threads %llu polls %llu polled %llu\n",
		   self.id, self.generation, rx_count.interrupts, rx_count.threads, rx_count.polls,
		   rx_count.polled);
	for (id = 0; id < READ_ONCE(self.used); id++) {
		peer = peer_of(id);
		if (!peer)
			continue;
		seq_printf(file, "peer %u.%u %s%s%s\n", id, READ_ONCE(peer->generation),
			   states[READ_ONCE(peer->state)],
			   READ_ONCE(peer->failed) ? " failed: " : "",
			   READ_ONCE(peer->failed) ?: "");
		for (lane = 0; lane < POPCORN_LANES; lane++) {
			collect(peer, lane, &s);
			seq_printf(file,
				   "  %s sent %llu bytes %llu rings %llu waits %llu received %llu "
				   "bytes %llu high %u of %u unknown %llu stalls %llu late %llu "
				   "credits %u\n",
				   lane_names[lane], s.sent, s.sent_bytes, s.rings, s.credit_waits,
				   s.received, s.received_bytes, s.high_water, s.slots, s.unknown,
				   s.stalls, s.late, s.credits);
			if (lane == POPCORN_LANE_REPLY)
				show_calls(file, &s);
		}
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(peers);

static int processes_show(struct seq_file *file, void *unused)
{
	user_show(file);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(processes);

void stats_init(void)
{
	folder = debugfs_create_dir("popcorn_msg", NULL);
	debugfs_create_file("peers", 0400, folder, NULL, &peers_fops);
	debugfs_create_file("processes", 0400, folder, NULL, &processes_fops);
}

void stats_exit(void)
{
	debugfs_remove_recursive(folder);
}
