// SPDX-License-Identifier: GPL-2.0-only
/*
 * One end of a line. The handler of messages and the terminal only write down what is to be, under the
 * lock; the works do it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/printk.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/tty_flip.h>

#include "vty.h"

/* Between two tries, so that the module can be unloaded however the other kernel is. */
#define SEND_TIMEOUT HZ

static void send_soon(struct line *line)
{
	queue_work(vty_wq, &line->send_work);
}

/* The other end can't take what was written for it. Under the lock. */
static void forget_theirs(struct line *line)
{
	line->theirs = 0;
	line->unacked = 0;
	if (line->opening)
		kfifo_reset(&line->out);
}

static void take_state(struct line *line, const struct popcorn_vty_header *said)
{
	bool dtr = said->flags & POPCORN_VTY_DTR, dropped;
	unsigned long flags;

	spin_lock_irqsave(&line->lock, flags);
	dropped = line->carrier && (!dtr || (said->flags & POPCORN_VTY_DROPPED));
	if (line->theirs != said->opening)
		forget_theirs(line);
	line->theirs = said->opening;
	line->room = min(said->number, LINE_ROOM_MAX);
	line->carrier = dtr;
	line->tell |= (said->flags & POPCORN_VTY_ASK) != 0;
	spin_unlock_irqrestore(&line->lock, flags);
	if (dropped)
		tty_port_tty_hangup(&line->port, true);
	if (dtr)
		wake_up_interruptible(&line->port.open_wait);
	send_soon(line);
}

static void take_data(struct line *line, u32 opening, const u8 *bytes, u32 count)
{
	unsigned long flags;
	u32 taken = count;

	spin_lock_irqsave(&line->lock, flags);
	if (line->opening && line->opening == opening) {
		taken = kfifo_in(&line->in, bytes, count);
		line->overrun += count - taken;
	}
	spin_unlock_irqrestore(&line->lock, flags);
	if (taken < count)
		pr_warn_once("kernel %u sent more to vty%u than it may; bytes were dropped\n",
			     line->id, line->id);
	queue_work(vty_wq, &line->receive_work);
}

static void take_credit(struct line *line, u32 opening, u32 number)
{
	unsigned long flags;

	spin_lock_irqsave(&line->lock, flags);
	if (line->theirs && line->theirs == opening)
		line->unacked -= min(number, line->unacked);
	spin_unlock_irqrestore(&line->lock, flags);
	send_soon(line);
}

/* The handler: hard interrupt, or a thread. */
int line_handle(const struct popcorn_msg *msg, const void *payload, void *unused)
{
	struct line *line = line_of(msg->from.id);
	struct popcorn_vty_header said;

	if (!line || READ_ONCE(line->peer.generation) != msg->from.generation)
		return 0;
	if (msg->call)
		return -EOPNOTSUPP;
	if (msg->length < sizeof(said))
		return 0;
	memcpy(&said, payload, sizeof(said));
	switch (said.kind) {
	case POPCORN_VTY_STATE:
		take_state(line, &said);
		break;
	case POPCORN_VTY_DATA:
		take_data(line, said.opening, (const u8 *)payload + sizeof(said),
			  msg->length - sizeof(said));
		break;
	case POPCORN_VTY_CREDIT:
		take_credit(line, said.opening, said.number);
		break;
	}
	return 0;
}

/*
 * What is to be said next, in line->data; its length, or 0. Under the lock. State before data: the other end must
 * know of an opening before it is sent anything that is of it.
 */
static u32 next_message(struct line *line)
{
	struct popcorn_vty_header *header = &line->data.header;
	u32 count;

	if (!line->peer.generation)
		return 0;
	/* For whom it was has gone. */
	if (line->held && (!line->theirs || line->held_for != line->theirs))
		line->held = 0;
	if (line->held)
		return sizeof(*header) + line->held;
	if (line->tell) {
		*header = (struct popcorn_vty_header){
			.kind = POPCORN_VTY_STATE,
			.opening = line->opening,
			.number = line->opening ? LINE_ROOM : 0,
			.flags = (line->dtr ? POPCORN_VTY_DTR : 0) |
				 (line->ask ? POPCORN_VTY_ASK : 0) |
				 (line->dropped ? POPCORN_VTY_DROPPED : 0),
		};
		line->tell = line->ask = line->dropped = false;
		return sizeof(*header);
	}
	if (!line->opening)
		return 0;
	/* A message for every quarter, not for every read; the rest when all is read. */
	if (line->credit && (line->credit >= LINE_ROOM / 4 || kfifo_is_empty(&line->in))) {
		*header = (struct popcorn_vty_header){
			.kind = POPCORN_VTY_CREDIT,
			.opening = line->opening,
			.number = line->credit,
		};
		line->credit = 0;
		return sizeof(*header);
	}
	if (!line->theirs || line->stopped || line->unacked >= line->room)
		return 0;
	count = min_t(u32, line->room - line->unacked, LINE_DATA_MAX);
	count = kfifo_out(&line->out, line->data.bytes, count);
	if (!count)
		return 0;
	*header = (struct popcorn_vty_header){ .kind = POPCORN_VTY_DATA, .opening = line->theirs };
	line->unacked += count;
	line->held = count;
	line->held_for = line->theirs;
	return sizeof(*header) + count;
}

/* It could not be said: it is said again, if it still has to be. Under the lock. */
static void put_back(struct line *line, const struct popcorn_vty_header *header)
{
	switch (header->kind) {
	case POPCORN_VTY_STATE:
		line->tell = true;
		line->ask |= (header->flags & POPCORN_VTY_ASK) != 0;
		line->dropped |= (header->flags & POPCORN_VTY_DROPPED) != 0;
		break;
	case POPCORN_VTY_CREDIT:
		if (header->opening == line->opening)
			line->credit += header->number;
		break;
	}
}

/* Says all that there is to say. */
void line_send(struct work_struct *work)
{
	struct line *line = container_of(work, struct line, send_work);
	struct popcorn_msg_peer to;
	u32 length;
	int err;

	for (;;) {
		spin_lock_irq(&line->lock);
		to = line->peer;
		length = next_message(line);
		spin_unlock_irq(&line->lock);
		/* There may be room by now, or nobody any more whom it would be for. */
		tty_port_tty_wakeup(&line->port);
		if (!length)
			return;
		err = popcorn_msg_send(to, POPCORN_MSG_BULK, POPCORN_MSG_TYPE_VTY, &line->data,
				       length, SEND_TIMEOUT);
		spin_lock_irq(&line->lock);
		if (!err)
			line->held = 0;
		else
			put_back(line, &line->data.header);
		spin_unlock_irq(&line->lock);
		if (err == -ETIMEDOUT) {
			send_soon(line);
			return;
		}
		if (err) {
			/* As the listeners are told, but for one who went while the module was loaded. */
			line_down(line, to.generation);
			return;
		}
	}
}

/* Bytes that have come in this opening, and are not taken out yet; 0: none, or nobody wants them. */
static u32 peek(struct line *line, const struct tty_struct *tty, u32 *ret_opening)
{
	u32 count = 0;

	spin_lock_irq(&line->lock);
	/* A terminal that was hung up is not the port's any more, and not what these bytes are for. */
	if (line->opening && !line->throttled && READ_ONCE(line->port.tty) == tty) {
		*ret_opening = line->opening;
		count = kfifo_out_peek(&line->in, line->piece, LINE_PIECE);
	}
	spin_unlock_irq(&line->lock);
	return count;
}

static void consume(struct line *line, u32 opening, u32 count)
{
	spin_lock_irq(&line->lock);
	if (line->opening == opening && count) {
		/* Once more, to take it out: nobody else does. */
		count = kfifo_out(&line->in, line->piece, count);
		line->credit += count;
	}
	spin_unlock_irq(&line->lock);
}

/*
 * Hands what has come to the line discipline, which takes what it has room for, and throttles us when it has none; it
 * says when it goes on. If it does neither, a reader made room while it looked: it is asked once more, and must take
 * something then. One that still does not (N_NULL, say) wants nothing at all.
 *
 * Not by way of the port's own buffer: that has no event for what is taken out of it, and can be flushed behind our
 * back, with the credit for what was in it.
 */
void line_receive(struct work_struct *work)
{
	struct line *line = container_of(work, struct line, receive_work);
	struct tty_struct *tty = tty_port_tty_get(&line->port);
	struct tty_ldisc *ldisc;
	u32 count, opening, taken, idle = 0, all = 0;

	if (!tty)
		return;
	ldisc = tty_ldisc_ref_wait(tty);
	if (ldisc) {
		/* Alone: others may paste into it. */
		tty_buffer_lock_exclusive(&line->port);
		while (idle < 2 && all < LINE_ROOM) {
			count = peek(line, tty, &opening);
			if (!count)
				break;
			taken = tty_ldisc_receive_buf(ldisc, line->piece, NULL, count);
			consume(line, opening, taken);
			idle = taken ? 0 : idle + 1;
			all += taken;
		}
		/* Who hangs it up waits for us: another kernel that never ends to send must not keep them. */
		if (all >= LINE_ROOM)
			queue_work(vty_wq, &line->receive_work);
		tty_buffer_unlock_exclusive(&line->port);
		tty_ldisc_deref(ldisc);
	}
	tty_kref_put(tty);
	send_soon(line);
}

/* The other kernel can be reached. Its end is as it says when it is asked, which it is at once. */
void line_up(struct line *line, struct popcorn_msg_peer peer)
{
	spin_lock_irq(&line->lock);
	if (line->peer.generation != peer.generation) {
		forget_theirs(line);
		line->carrier = false;
		line->peer = peer;
		line->tell = line->ask = true;
	}
	spin_unlock_irq(&line->lock);
	send_soon(line);
}

/* It can't any more; generation 0: whichever it was. */
void line_down(struct line *line, u32 generation)
{
	bool was;

	spin_lock_irq(&line->lock);
	was = line->peer.generation && (!generation || line->peer.generation == generation);
	if (was) {
		forget_theirs(line);
		line->carrier = false;
		line->peer.generation = 0;
	}
	spin_unlock_irq(&line->lock);
	if (!was)
		return;
	tty_port_tty_hangup(&line->port, false);
	wake_up_interruptible(&line->port.open_wait);
	send_soon(line);
	queue_work(vty_wq, &line->device_work);
}

/* Context: process. -ENODEV: the other kernel has gone; -ENOMEM. */
int line_open(struct line *line)
{
	struct kfifo in, out;
	int err;

	err = kfifo_alloc(&in, LINE_ROOM, GFP_KERNEL);
	if (err)
		return err;
	err = kfifo_alloc(&out, LINE_OUT, GFP_KERNEL);
	if (err)
		goto free_in;
	spin_lock_irq(&line->lock);
	err = line->peer.generation ? 0 : -ENODEV;
	if (!err) {
		line->in = in;
		line->out = out;
		/* 0 is none. */
		line->opening = ++line->openings ?: ++line->openings;
		line->stopped = line->throttled = false;
		line->credit = 0;
		line->tell = true;
	}
	spin_unlock_irq(&line->lock);
	if (!err) {
		send_soon(line);
		return 0;
	}
	kfifo_free(&out);
free_in:
	kfifo_free(&in);
	return err;
}

/* Context: process. It was open. */
void line_close(struct line *line)
{
	struct kfifo in, out;

	spin_lock_irq(&line->lock);
	in = line->in;
	out = line->out;
	/* What is under way to their opening stays that, whoever opens this end next. */
	line->opening = 0;
	line->credit = 0;
	line->tell = true;
	spin_unlock_irq(&line->lock);
	kfifo_free(&in);
	kfifo_free(&out);
	send_soon(line);
}

void line_set_dtr(struct line *line, bool on)
{
	unsigned long flags;

	spin_lock_irqsave(&line->lock, flags);
	line->tell |= line->dtr != on;
	line->dropped |= line->dtr && !on;
	line->dtr = on;
	spin_unlock_irqrestore(&line->lock, flags);
	send_soon(line);
}

void line_set_stopped(struct line *line, bool stopped)
{
	unsigned long flags;

	spin_lock_irqsave(&line->lock, flags);
	line->stopped = stopped;
	spin_unlock_irqrestore(&line->lock, flags);
	if (!stopped)
		send_soon(line);
}

void line_set_throttled(struct line *line, bool throttled)
{
	unsigned long flags;

	spin_lock_irqsave(&line->lock, flags);
	line->throttled = throttled;
	spin_unlock_irqrestore(&line->lock, flags);
	if (!throttled)
		queue_work(vty_wq, &line->receive_work);
}

bool line_has_carrier(struct line *line)
{
	return READ_ONCE(line->carrier);
}

/* How many were taken. All of them where nobody is: they are gone. */
u32 line_write(struct line *line, const u8 *bytes, u32 count)
{
	unsigned long flags;

	spin_lock_irqsave(&line->lock, flags);
	if (!line->opening)
		count = 0;
	else if (line->theirs)
		count = kfifo_in(&line->out, bytes, count);
	spin_unlock_irqrestore(&line->lock, flags);
	send_soon(line);
	return count;
}

u32 line_write_room(struct line *line)
{
	unsigned long flags;
	u32 room;

	spin_lock_irqsave(&line->lock, flags);
	room = line->opening ? kfifo_avail(&line->out) : 0;
	spin_unlock_irqrestore(&line->lock, flags);
	return room;
}

/* What was written, and is not in the terminal at the other end. */
u32 line_unsent(struct line *line)
{
	unsigned long flags;
	u32 count;

	spin_lock_irqsave(&line->lock, flags);
	count = line->opening ? kfifo_len(&line->out) + line->unacked : 0;
	spin_unlock_irqrestore(&line->lock, flags);
	return count;
}

/* What was written and not sent yet is not wanted any more. */
void line_discard(struct line *line)
{
	unsigned long flags;

	spin_lock_irqsave(&line->lock, flags);
	if (line->opening)
		kfifo_reset(&line->out);
	spin_unlock_irqrestore(&line->lock, flags);
	send_soon(line);
}

/* For people; all on one line. */
void line_show(struct line *line, struct seq_file *to)
{
	spin_lock_irq(&line->lock);
	seq_printf(to,
		   "%u.%u: opening %u dtr %u in %u out %u unacked %u overrun %llu; theirs %u room "
		   "%u carrier %u\n",
		   line->id, line->peer.generation, line->opening, line->dtr,
		   line->opening ? kfifo_len(&line->in) : 0,
		   line->opening ? kfifo_len(&line->out) : 0, line->unacked, line->overrun,
		   line->theirs, line->room, line->carrier);
	spin_unlock_irq(&line->lock);
}
