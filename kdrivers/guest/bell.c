// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells. Ours is an interrupt vector of one CPU of this kernel, published in the head; the
 * primary sends a plain IPI to it. Its own is published the same way.
 */
#include <linux/interrupt.h>
#include <asm/sync_bitops.h>
#include <popcorn/doorbell.h>

#include "guest.h"

static void publish(struct popcorn_doorbell *doorbell, u64 bell)
{
	WRITE_ONCE(guest_head->guest_bell, bell);
}

static struct popcorn_doorbell doorbell = { .publish = publish };

/*
 * Edges merge: one call stands for any number of rings, and one that finds no reason is no error.
 * The reasons are taken (a full barrier) before what they announce is read: a ring after that
 * brings the next interrupt.
 */
static irqreturn_t bell_interrupt(int irq, void *cookie)
{
	u32 reasons = xchg(&guest_head->to_guest, 0);

	if (reasons & POPCORN_BELL_INPUT)
		console_input();
	if (reasons & POPCORN_BELL_SHUTDOWN)
		device_shutdown_asked();
	return IRQ_HANDLED;
}

/*
 * Rings at the primary. Any context, NMI too. A primary that has no bell yet finds the reasons when
 * it publishes one.
 */
void bell_ring(u32 reasons)
{
	u32 *word = &guest_head->to_primary;
	u32 old = READ_ONCE(*word), seen;

	/* A literal lock prefix: see head.h. Also a full barrier: what is announced comes first. */
	while ((seen = sync_cmpxchg(word, old, old | reasons)) != old)
		old = seen;
	popcorn_doorbell_ring(READ_ONCE(guest_head->primary_bell));
}

/*
 * With each heartbeat: a ring that got lost because the other end moved its bell at that moment is
 * made good, for either side. Costs two reads when there is nothing to do.
 */
void bell_repeat(void)
{
	if (READ_ONCE(guest_head->to_primary))
		popcorn_doorbell_ring(READ_ONCE(guest_head->primary_bell));
	if (READ_ONCE(guest_head->to_guest))
		popcorn_doorbell_ring(READ_ONCE(guest_head->guest_bell));
}

int bell_init(void)
{
	return popcorn_doorbell_request(&doorbell, "popcorn", bell_interrupt, &doorbell);
}

void bell_exit(void)
{
	popcorn_doorbell_free(&doorbell);
}
