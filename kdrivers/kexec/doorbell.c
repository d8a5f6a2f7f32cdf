// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells. One interrupt of this kernel is the bell for all secondaries; its place, one APIC id
 * and one vector, is published in the head of each.
 */
#include <linux/interrupt.h>
#include <linux/rculist.h>
#include <popcorn/doorbell.h>

#include "kexec.h"

/* Kernels whose heads are looked at; and the bell that they were told. Raw: taken by irq chips. */
static DEFINE_RAW_SPINLOCK(bell_lock);
static LIST_HEAD(bell_kernels);
static u64 bell;

static void publish(struct popcorn_doorbell *doorbell, u64 value)
{
	struct popcorn_kernel *kernel;
	unsigned long flags;

	raw_spin_lock_irqsave(&bell_lock, flags);
	bell = value;
	list_for_each_entry(kernel, &bell_kernels, bell)
		WRITE_ONCE(kernel->head->primary_bell, value);
	raw_spin_unlock_irqrestore(&bell_lock, flags);
}

static struct popcorn_doorbell doorbell = { .publish = publish };

/*
 * Takes the reasons of one kernel and passes them on: readers are woken here, everything else is
 * for the work, which may sleep. Any number of rings may have merged into one.
 *
 * Context: any but NMI; kernel->head is there (RCU, or kernel->lock and a state that has it).
 */
void popcorn_reasons_take(struct popcorn_kernel *kernel)
{
	u32 reasons;

	if (!READ_ONCE(kernel->head->to_primary))
		return;
	/* A full barrier: the reasons are taken before what they announce is read. */
	reasons = xchg(&kernel->head->to_primary, 0);
	if (reasons & POPCORN_BELL_KICK)
		popcorn_devices_kick(kernel);
	if (reasons & (POPCORN_BELL_OUTPUT | POPCORN_BELL_SPACE))
		wake_up_interruptible(&kernel->console_wait);
	if (reasons & (POPCORN_BELL_STATE | POPCORN_BELL_REQUEST)) {
		popcorn_get(kernel);
		if (!queue_work(popcorn_wq, &kernel->work))
			popcorn_put(kernel); /* never the last one: the work has its own */
	}
}

static irqreturn_t bell_interrupt(int irq, void *cookie)
{
	struct popcorn_kernel *kernel;

	rcu_read_lock();
	list_for_each_entry_rcu(kernel, &bell_kernels, bell)
		popcorn_reasons_take(kernel);
	rcu_read_unlock();
	return IRQ_HANDLED;
}

/*
 * Rings at a running kernel. What it published is believed only if it is a bell of its own. One
 * that is not ready finds the reasons when it gets ready; the watch repeats.
 *
 * Context: any but NMI, as long as somebody keeps the kernel object. Does nothing when the kernel has ended.
 */
void popcorn_ring(struct popcorn_kernel *kernel, u32 reasons)
{
	u64 guest;

	rcu_read_lock();
	if (READ_ONCE(kernel->rings)) {
		popcorn_bits_set(&kernel->head->to_guest, reasons);
		guest = READ_ONCE(kernel->head->guest_bell);
		/* The bell rarely moves, and a kernel may have thousands of CPUs to look through. */
		if (guest && (guest == READ_ONCE(kernel->own_bell) ||
			      popcorn_owns_apicid(kernel, POPCORN_BELL_APICID(guest)))) {
			WRITE_ONCE(kernel->own_bell, guest);
			popcorn_doorbell_ring(guest);
		}
	}
	rcu_read_unlock();
}

/*
 * After it nobody rings at the kernel any more. Context: kernel->lock is held. May sleep.
 */
void popcorn_bell_quiet(struct popcorn_kernel *kernel)
{
	if (!kernel->rings)
		return;
	WRITE_ONCE(kernel->rings, false);
	synchronize_rcu();
}

/* Context: kernel->lock is held, the head is there. */
void popcorn_bell_add(struct popcorn_kernel *kernel)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&bell_lock, flags);
	WRITE_ONCE(kernel->head->primary_bell, bell);
	WRITE_ONCE(kernel->rings, true);
	list_add_tail_rcu(&kernel->bell, &bell_kernels);
	raw_spin_unlock_irqrestore(&bell_lock, flags);
}

/* After it the head is not looked at any more. Context: kernel->lock is held. May sleep. */
void popcorn_bell_remove(struct popcorn_kernel *kernel)
{
	unsigned long flags;

	if (list_empty(&kernel->bell))
		return;
	raw_spin_lock_irqsave(&bell_lock, flags);
	list_del_rcu(&kernel->bell);
	raw_spin_unlock_irqrestore(&bell_lock, flags);
	synchronize_rcu();
	INIT_LIST_HEAD(&kernel->bell);
}

int popcorn_doorbell_init(void)
{
	return popcorn_doorbell_request(&doorbell, "popcorn", bell_interrupt, &bell_kernels);
}

void popcorn_doorbell_exit(void)
{
	popcorn_doorbell_free(&doorbell);
}
