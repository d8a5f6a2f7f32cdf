// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console: an hvc terminal on the two rings of the head. The output ring is a flight recorder,
 * it never fills; the input ring is filled by the primary.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitops.h>
#include <linux/err.h>
#include <linux/minmax.h>
#include <linux/printk.h>
#include <linux/processor.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "guest.h"
#include "hvc.h"

/* "PCRN", for hvc's table of terminals; also what its notifiers get as data. */
#define CONSOLE_VTERM 0x5043524e

static struct hvc_struct *console_hvc;
static u8 *out_ring, *in_ring;

/*
 * Serialises writers: hvc's own lock covers what comes through the tty, the console lock what comes
 * from printk, and they do not exclude each other. Not a spinlock, because its holder may be the
 * very code that died, or sit on a CPU that was stopped, and then the text matters more than its
 * order: see claim().
 */
static unsigned long out_busy;
static u64 out_head; /* our copy: what is in shared memory is never read back */
static u64 in_tail;

static void write_chunk(const char *buf, size_t count)
{
	size_t at = out_head & (POPCORN_CONSOLE_OUT_SIZE - 1);
	size_t part = min_t(size_t, count, POPCORN_CONSOLE_OUT_SIZE - at);

	memcpy(out_ring + at, buf, part);
	memcpy(out_ring, buf + part, count - part);
	out_head += count;
	/* Release: who sees the index sees the bytes. */
	virt_store_release(&guest_head->out_head, out_head);
	/*
	 * A reader that is about to sleep sets out_wanted and then looks at out_head once more; we
	 * store out_head and then look at out_wanted. Release and acquire would let each side's
	 * load pass its own store, and both would miss the other: the reader sleeps with output in
	 * the ring. With a full barrier on both sides one of the two sees the other's store.
	 * The plain load first, so that writing nobody waits for leaves the line alone.
	 */
	virt_mb();
	if (READ_ONCE(guest_head->out_wanted) && xchg(&guest_head->out_wanted, 0))
		bell_ring(POPCORN_BELL_OUTPUT);
}

/*
 * A live writer is done after one small copy. So in an oops or a panic, waiting any longer is no
 * use; false then, and the text may be garbled, but it is there.
 */
static bool claim(void)
{
	int tries;

	for (tries = 0; !oops_in_progress || tries < 100000; tries++) {
		if (!test_and_set_bit_lock(0, &out_busy))
			return true;
		cpu_relax();
	}
	return false;
}

/* Any context. Interrupts off, or a handler that prints would wait for the one it interrupted. */
void console_write(const char *buf, size_t count)
{
	unsigned long flags;
	size_t part;
	bool claimed;

	while (count) {
		part = min_t(size_t, count, POPCORN_CONSOLE_CHUNK);
		local_irq_save(flags);
		claimed = claim();
		write_chunk(buf, part);
		if (claimed)
			clear_bit_unlock(0, &out_busy);
		local_irq_restore(flags);
		buf += part;
		count -= part;
	}
}

/* Whether @text is among the last 64 KiB written. The writers are stopped, or it does not matter.
 */
bool console_holds(const char *text)
{
	u64 end = out_head, start = end - min_t(u64, end, SZ_64K);
	size_t length = strlen(text), i;

	for (; start + length <= end; start++) {
		for (i = 0; i < length; i++)
			if (out_ring[(start + i) & (POPCORN_CONSOLE_OUT_SIZE - 1)] != (u8)text[i])
				break;
		if (i == length)
			return true;
	}
	return false;
}

static popcorn_hvc_ret_t put_chars(u32 vterm, const popcorn_hvc_char_t *buf,
				   popcorn_hvc_count_t count)
{
	console_write((const char *)buf, count);
	return count;
}

/* Under hvc's lock: one reader at a time. */
static popcorn_hvc_ret_t get_chars(u32 vterm, popcorn_hvc_char_t *buf, popcorn_hvc_count_t count)
{
	u64 ready = virt_load_acquire(&guest_head->in_head) - in_tail;
	size_t at = in_tail & (POPCORN_CONSOLE_IN_SIZE - 1), part;

	if (ready > POPCORN_CONSOLE_IN_SIZE) {
		pr_err_once("the primary wrote nonsense into the input ring; input is dropped\n");
		in_tail += ready;
		count = 0;
	} else {
		count = min_t(u64, count, ready);
		if (!count)
			return 0;
		part = min_t(size_t, count, POPCORN_CONSOLE_IN_SIZE - at);
		memcpy(buf, in_ring + at, part);
		memcpy(buf + part, in_ring, count - part);
		in_tail += count;
	}
	/* Release: the bytes are out of the ring before the primary may write over them. */
	virt_store_release(&guest_head->in_tail, in_tail);
	/* The same race, and the same cure, as in write_chunk(). */
	virt_mb();
	if (READ_ONCE(guest_head->in_wanted) && xchg(&guest_head->in_wanted, 0))
		bell_ring(POPCORN_BELL_SPACE);
	return count;
}

/*
 * First open of the terminal: input comes with the doorbell, so khvcd need not poll, and an idle
 * kernel stays idle. hvc_struct is declared by us: what surrounds the field is compared with what
 * we gave to hvc_alloc(), and with another layout the field is left alone; khvcd then polls.
 */
static int notifier_add(struct hvc_struct *hvc, int data)
{
	if (hvc->vtermno == CONSOLE_VTERM && hvc->ops && hvc->ops->notifier_add == notifier_add &&
	    hvc->data == CONSOLE_VTERM)
		hvc->irq_requested = 1;
	else
		pr_warn_once("this kernel's hvc differs: console input is polled\n");
	return 0;
}

static void notifier_del(struct hvc_struct *hvc, int data)
{
	if (hvc->vtermno == CONSOLE_VTERM && hvc->data == CONSOLE_VTERM)
		hvc->irq_requested = 0;
}

static const struct hv_ops console_ops = {
	.get_chars = get_chars,
	.put_chars = put_chars,
	.notifier_add = notifier_add,
	.notifier_del = notifier_del,
	.notifier_hangup = notifier_del,
};

/* From the doorbell's handler. Input that comes while nobody has the terminal open waits there. */
void console_input(void)
{
	struct hvc_struct *hvc = READ_ONCE(console_hvc);

	if (hvc && hvc_poll(hvc))
		hvc_kick();
}

/*
 * With console=hvc0 on the command line hvc_alloc() also registers the console, and printk then
 * hands it the log from its first line on.
 */
int console_init(void)
{
	struct hvc_struct *hvc;

	out_ring = (u8 *)guest_head + POPCORN_HEAD_CONSOLE_OUT;
	in_ring = (u8 *)guest_head + POPCORN_HEAD_CONSOLE_IN;
	hvc = hvc_alloc(CONSOLE_VTERM, CONSOLE_VTERM, &console_ops, POPCORN_CONSOLE_CHUNK);
	if (IS_ERR(hvc))
		return PTR_ERR(hvc);
	WRITE_ONCE(console_hvc, hvc);
	/* Input that came before there was a terminal. */
	console_input();
	return 0;
}
