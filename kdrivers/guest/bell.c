// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells. Ours is an interrupt vector of one CPU of this kernel, published in the head; the
 * primary sends a plain IPI to it. Its own is published the same way.
 *
 * The vector is allocated in a child of x86_vector_domain, not in that domain itself: only so are
 * we told when the kernel moves it (a CPU going offline, an affinity written to /proc/irq) and can
 * publish its new place.
 */
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/hw_irq.h>
#include <asm/irqdomain.h>
#include <asm/smp.h>
#include <popcorn/compat.h>

#include "guest.h"

static struct fwnode_handle *bell_fwnode;
static struct irq_domain *bell_domain;
static int bell_irq;

static void publish(struct irq_data *data)
{
	const struct irq_cfg *cfg = irqd_cfg(data);
	unsigned int cpu = cpumask_first(irq_data_get_effective_affinity_mask(data));
	u64 bell = 0;

	/* Not cfg->dest_apicid: that is a mask in flat logical mode, and the bell is physical. */
	if (cfg && cpu < nr_cpu_ids && cfg->vector >= FIRST_EXTERNAL_VECTOR && cfg->vector < 0xff)
		bell = POPCORN_BELL(per_cpu(x86_cpu_to_apicid, cpu), cfg->vector);
	WRITE_ONCE(guest_head->guest_bell, bell);
}

static int bell_set_affinity(struct irq_data *data, const struct cpumask *mask, bool force)
{
	int ret = irq_chip_set_affinity_parent(data, mask, force);

	/*
	 * The old vector stays valid until the first interrupt has come by the new one, so a
	 * primary that still rings there is heard; one that read the old place and rings much later
	 * is heard with the next heartbeat.
	 */
	if (ret >= 0)
		publish(data);
	return ret;
}

/* An IPI can't be masked; the core needs these when it moves the interrupt. */
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

static int bell_domain_alloc(struct irq_domain *domain, unsigned int virq, unsigned int nr_irqs,
			     void *arg)
{
	int err;

	/* irq_domain_set_info() below is for one. */
	if (nr_irqs != 1)
		return -EINVAL;
	err = irq_domain_alloc_irqs_parent(domain, virq, nr_irqs, arg);
	if (err)
		return err;
	irq_domain_set_info(domain, virq, 0, &bell_chip, NULL, handle_edge_irq, NULL, "edge");
	return 0;
}

/* The parent is activated first: the vector is there. */
static int bell_domain_activate(struct irq_domain *domain, struct irq_data *data, bool reserve)
{
	if (!reserve)
		publish(data);
	return 0;
}

static void bell_domain_deactivate(struct irq_domain *domain, struct irq_data *data)
{
	WRITE_ONCE(guest_head->guest_bell, 0);
}

static const struct irq_domain_ops bell_domain_ops = {
	.alloc = bell_domain_alloc,
	.free = irq_domain_free_irqs_common,
	.activate = bell_domain_activate,
	.deactivate = bell_domain_deactivate,
};

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

static void send(u64 bell)
{
	u32 vector = POPCORN_BELL_VECTOR(bell);

	/* 0xff gets no EOI and would deafen the CPU; below 0x20 are exceptions. 0: not ready. */
	if (vector < FIRST_EXTERNAL_VECTOR || vector >= 0xff)
		return;
	popcorn_send_ipi(POPCORN_BELL_APICID(bell), vector);
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
	send(READ_ONCE(guest_head->primary_bell));
}

/*
 * With each heartbeat: a ring that got lost because the other end moved its bell at that moment is
 * made good, for either side. Costs two reads when there is nothing to do.
 */
void bell_repeat(void)
{
	if (READ_ONCE(guest_head->to_primary))
		send(READ_ONCE(guest_head->primary_bell));
	if (READ_ONCE(guest_head->to_guest))
		send(READ_ONCE(guest_head->guest_bell));
}

int bell_init(void)
{
	/* No wish: the vector domain takes any CPU, at the time of request_irq(). */
	struct irq_alloc_info info = {};
	int err;

	bell_fwnode = irq_domain_alloc_named_fwnode("popcorn");
	if (!bell_fwnode)
		return -ENOMEM;
	bell_domain = irq_domain_create_hierarchy(x86_vector_domain, 0, 1, bell_fwnode,
						  &bell_domain_ops, NULL);
	if (!bell_domain) {
		err = -ENOMEM;
		goto no_fwnode;
	}
	bell_irq = irq_domain_alloc_irqs(bell_domain, 1, NUMA_NO_NODE, &info);
	if (bell_irq <= 0) {
		err = bell_irq ?: -ENOSPC;
		goto no_domain;
	}
	err = request_irq(bell_irq, bell_interrupt, 0, "popcorn", NULL);
	if (err)
		goto no_irq;
	return 0;

no_irq:
	irq_dispose_mapping(bell_irq);
no_domain:
	irq_domain_remove(bell_domain);
no_fwnode:
	irq_domain_free_fwnode(bell_fwnode);
	return err;
}

void bell_exit(void)
{
	free_irq(bell_irq, NULL);
	irq_dispose_mapping(bell_irq);
	irq_domain_remove(bell_domain);
	irq_domain_free_fwnode(bell_fwnode);
}
