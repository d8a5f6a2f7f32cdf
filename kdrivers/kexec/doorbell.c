// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells. One interrupt of this kernel is the bell for all secondaries; its place, one APIC id
 * and one vector, is published in the head of each.
 *
 * It is allocated in a child of x86_vector_domain: the vector domain moves an interrupt without a
 * word when its CPU goes offline or its affinity changes, and whoever rings at the old place is
 * not heard. A child is asked to do it, and can publish the new place.
 */
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/rculist.h>
#include <asm/apic.h>
#include <asm/hw_irq.h>
#include <asm/irqdomain.h>
#include <asm/smp.h>
#include <asm/sync_bitops.h>
#include <popcorn/compat.h>

#include "kexec.h"

/* 0xff is the spurious vector: it gets no EOI, and a CPU that takes it hears nothing any more. */
#define VECTOR_END 0xff

static struct fwnode_handle *bell_fwnode;
static struct irq_domain *bell_domain;
static int bell_irq;

/* Kernels whose heads are looked at; and the bell that they were told. Raw: taken by irq chips. */
static DEFINE_RAW_SPINLOCK(bell_lock);
static LIST_HEAD(bell_kernels);
static u64 bell;

static void publish(u64 value)
{
	struct popcorn_kernel *kernel;
	unsigned long flags;

	raw_spin_lock_irqsave(&bell_lock, flags);
	bell = value;
	list_for_each_entry(kernel, &bell_kernels, bell)
		WRITE_ONCE(kernel->head->primary_bell, value);
	raw_spin_unlock_irqrestore(&bell_lock, flags);
}

static void publish_irq(struct irq_data *data)
{
	unsigned int cpu = cpumask_first(irq_data_get_effective_affinity_mask(data));
	const struct irq_cfg *cfg = irqd_cfg(data);
	u64 value = 0;

	/* Not cfg->dest_apicid: with flat logical destinations that is a mask. */
	if (cfg && cpu < nr_cpu_ids && cfg->vector >= FIRST_EXTERNAL_VECTOR &&
	    cfg->vector < VECTOR_END)
		value = POPCORN_BELL(per_cpu(x86_cpu_to_apicid, cpu), cfg->vector);
	publish(value);
}

/*
 * Who rings at the old place just now is still heard there until the first interrupt has come to
 * the new one; who comes too late is found by the watch.
 */
static int bell_set_affinity(struct irq_data *data, const struct cpumask *mask, bool force)
{
	int ret = irq_chip_set_affinity_parent(data, mask, force);

	if (ret >= 0)
		publish_irq(data);
	return ret;
}

/* Nobody can mask another CPU's IPI; for the core it is enough that it can ask. */
static void bell_mask(struct irq_data *data)
{
}

static struct irq_chip bell_chip = {
	.name = "popcorn",
	.irq_ack = irq_chip_ack_parent,
	.irq_mask = bell_mask,
	.irq_unmask = bell_mask,
	.irq_set_affinity = bell_set_affinity,
	.irq_retrigger = irq_chip_retrigger_hierarchy,
};

static int bell_alloc(struct irq_domain *domain, unsigned int virq, unsigned int n, void *arg)
{
	int err;

	if (n != 1)
		return -EINVAL;
	err = irq_domain_alloc_irqs_parent(domain, virq, n, arg);
	if (err)
		return err;
	irq_domain_set_info(domain, virq, 0, &bell_chip, NULL, handle_edge_irq, NULL, "edge");
	return 0;
}

/* The parent was activated before: there is a vector. */
static int bell_activate(struct irq_domain *domain, struct irq_data *data, bool reserve)
{
	if (!reserve)
		publish_irq(data);
	return 0;
}

static void bell_deactivate(struct irq_domain *domain, struct irq_data *data)
{
	publish(0);
}

static const struct irq_domain_ops bell_domain_ops = {
	.alloc = bell_alloc,
	.free = irq_domain_free_irqs_common,
	.activate = bell_activate,
	.deactivate = bell_deactivate,
};

/*
 * Takes the reasons of one kernel and passes them on: readers are woken here, everything else is
 * for the work, which may sleep. Any number of rings may have merged into one.
 *
 * Context: any but NMI; kernel->head is there (RCU, or kernel->lock and a state that has it).
 */
void popcorn_bell_take(struct popcorn_kernel *kernel)
{
	u32 reasons;

	if (!READ_ONCE(kernel->head->to_primary))
		return;
	/* A full barrier: the reasons are taken before what they announce is read. */
	reasons = xchg(&kernel->head->to_primary, 0);
	if (reasons & (POPCORN_BELL_OUTPUT | POPCORN_BELL_SPACE))
		wake_up_interruptible(&kernel->console_wait);
	if (reasons & POPCORN_BELL_STATE) {
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
		popcorn_bell_take(kernel);
	rcu_read_unlock();
	return IRQ_HANDLED;
}

/*
 * Rings at a running kernel. What it published is believed only if it is a bell of its own. One
 * that is not ready finds the reasons when it gets ready; the watch repeats.
 *
 * Context: kernel->lock or mem_lock is held, the head is there, the CPUs do not change.
 */
void popcorn_ring(struct popcorn_kernel *kernel, u32 reasons)
{
	struct popcorn_head *head = kernel->head;
	u32 old = READ_ONCE(head->to_guest), seen;
	u64 guest;

	/* See head.h for why not atomic_or(). Also orders what is announced before the ring. */
	while ((seen = sync_cmpxchg(&head->to_guest, old, old | reasons)) != old)
		old = seen;
	guest = READ_ONCE(head->guest_bell);
	if (POPCORN_BELL_VECTOR(guest) < FIRST_EXTERNAL_VECTOR ||
	    POPCORN_BELL_VECTOR(guest) >= VECTOR_END ||
	    !popcorn_owns_apicid(kernel, POPCORN_BELL_APICID(guest)))
		return;
	popcorn_send_ipi(POPCORN_BELL_APICID(guest), POPCORN_BELL_VECTOR(guest));
}

/* Context: kernel->lock is held, the head is there. */
void popcorn_bell_add(struct popcorn_kernel *kernel)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&bell_lock, flags);
	WRITE_ONCE(kernel->head->primary_bell, bell);
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
	struct irq_alloc_info info = { .mask = cpu_online_mask };
	int err;

	bell_fwnode = irq_domain_alloc_named_fwnode("popcorn");
	if (!bell_fwnode)
		return -ENOMEM;
	bell_domain = irq_domain_create_hierarchy(x86_vector_domain, 0, 1, bell_fwnode,
						  &bell_domain_ops, NULL);
	if (!bell_domain) {
		err = -ENOMEM;
		goto no_domain;
	}
	bell_irq = irq_domain_alloc_irqs(bell_domain, 1, NUMA_NO_NODE, &info);
	if (bell_irq <= 0) {
		err = bell_irq ?: -ENOSPC;
		goto no_irq;
	}
	err = request_irq(bell_irq, bell_interrupt, 0, "popcorn", &bell_kernels);
	if (err)
		goto no_handler;
	return 0;
no_handler:
	irq_dispose_mapping(bell_irq);
no_irq:
	irq_domain_remove(bell_domain);
no_domain:
	irq_domain_free_fwnode(bell_fwnode);
	return err;
}

void popcorn_doorbell_exit(void)
{
	free_irq(bell_irq, &bell_kernels);
	irq_dispose_mapping(bell_irq);
	irq_domain_remove(bell_domain);
	irq_domain_free_fwnode(bell_fwnode);
}
