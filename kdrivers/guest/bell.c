// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells. Ours is an interrupt vector of one CPU of this kernel, published in the head; the
 * primary sends a plain IPI to it. Its own is published the same way.
 */
#include <linux/export.h>
#include <linux/interrupt.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <popcorn/doorbell.h>
#include <popcorn/guest.h>

#include "guest.h"

static void publish(struct popcorn_doorbell *doorbell, u64 bell)
{
	WRITE_ONCE(guest_head->guest_bell, bell);
}

static struct popcorn_doorbell doorbell = { .publish = publish };

static const struct popcorn_guest_listener __rcu *listener;

/* What is not for this module. Without anybody who listens it is lost: who comes later looks by himself. */
static void pass_on(u32 reasons)
{
	const struct popcorn_guest_listener *to;

	rcu_read_lock();
	to = rcu_dereference(listener);
	if (to)
		to->bell(reasons);
	rcu_read_unlock();
}

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
	if (reasons & POPCORN_GUEST_BELLS)
		pass_on(reasons & POPCORN_GUEST_BELLS);
	return IRQ_HANDLED;
}

/*
 * Rings at the primary. Any context, NMI too. A primary that has no bell yet finds the reasons when
 * it publishes one.
 */
void bell_ring(u32 reasons)
{
	popcorn_bits_set(&guest_head->to_primary, reasons);
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

/* For other modules: popcorn/guest.h */

static DEFINE_MUTEX(listener_lock);

/**
 * popcorn_guest_head - the head of this kernel's memory
 *
 * Return: mapped, checked, and there as long as the kernel runs.
 */
struct popcorn_head *popcorn_guest_head(void)
{
	return guest_head;
}
EXPORT_SYMBOL_GPL(popcorn_guest_head);

/**
 * popcorn_guest_ring - ring at the primary
 * @reasons: POPCORN_BELL_*, those to the primary
 *
 * A full barrier: what is announced comes first. A ring that got lost is made good by the heartbeat.
 *
 * Context: any.
 */
void popcorn_guest_ring(u32 reasons)
{
	bell_ring(reasons);
}
EXPORT_SYMBOL_GPL(popcorn_guest_ring);

/**
 * popcorn_guest_listen - be told when the primary rings
 * @new: stays where it is until popcorn_guest_unlisten()
 *
 * What was rung before is for the caller to find.
 *
 * Context: may sleep.
 * Return: 0; -EBUSY: somebody else listens.
 */
int popcorn_guest_listen(const struct popcorn_guest_listener *new)
{
	int err = 0;

	mutex_lock(&listener_lock);
	if (rcu_access_pointer(listener))
		err = -EBUSY;
	else
		rcu_assign_pointer(listener, new);
	mutex_unlock(&listener_lock);
	return err;
}
EXPORT_SYMBOL_GPL(popcorn_guest_listen);

/**
 * popcorn_guest_unlisten - not any more
 * @old: of popcorn_guest_listen()
 *
 * Context: may sleep. Afterwards it neither runs nor is called.
 */
void popcorn_guest_unlisten(const struct popcorn_guest_listener *old)
{
	mutex_lock(&listener_lock);
	if (rcu_access_pointer(listener) == old)
		RCU_INIT_POINTER(listener, NULL);
	mutex_unlock(&listener_lock);
	synchronize_rcu();
}
EXPORT_SYMBOL_GPL(popcorn_guest_unlisten);
