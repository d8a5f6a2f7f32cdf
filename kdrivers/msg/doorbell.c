// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells: interrupts of this kernel that others send as a plain IPI to one vector of one CPU.
 *
 * Each is allocated in a child of x86_vector_domain, not in that domain itself: the vector domain
 * moves an interrupt without a word when its CPU goes offline or its affinity changes, and whoever
 * rings at the old place is not heard. A child is asked to do it, and can publish the new place.
 *
 * Who rings at the old place just now is still heard there until the first interrupt has come to the
 * new one; who comes too late is not. So everybody who shares a doorbell looks once per heartbeat.
 */
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/module.h>
#include <asm/apic.h>
#include <asm/hw_irq.h>
#include <asm/irqdomain.h>
#include <asm/smp.h>
#include <popcorn/compat.h>
#include <popcorn/doorbell.h>

static bool vector_valid(u32 vector)
{
	return vector >= POPCORN_VECTOR_MIN && vector <= POPCORN_VECTOR_MAX &&
	       vector != POPCORN_VECTOR_SYSCALL;
}

static void publish(struct irq_data *data)
{
	struct popcorn_doorbell *doorbell = data->domain->host_data;
	unsigned int cpu = cpumask_first(irq_data_get_effective_affinity_mask(data));
	const struct irq_cfg *cfg = irqd_cfg(data);
	u64 bell = 0;

	/* Not cfg->dest_apicid: with flat logical destinations that is a mask. */
	if (cfg && cpu < nr_cpu_ids && vector_valid(cfg->vector))
		bell = POPCORN_BELL(per_cpu(x86_cpu_to_apicid, cpu), cfg->vector);
	doorbell->publish(doorbell, bell);
}

static int bell_set_affinity(struct irq_data *data, const struct cpumask *mask, bool force)
{
	int ret = irq_chip_set_affinity_parent(data, mask, force);

	if (ret >= 0)
		publish(data);
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

	/* irq_domain_set_info() below is for one. */
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
		publish(data);
	return 0;
}

static void bell_deactivate(struct irq_domain *domain, struct irq_data *data)
{
	struct popcorn_doorbell *doorbell = domain->host_data;

	doorbell->publish(doorbell, 0);
}

static const struct irq_domain_ops bell_domain_ops = {
	.alloc = bell_alloc,
	.free = irq_domain_free_irqs_common,
	.activate = bell_activate,
	.deactivate = bell_deactivate,
};

/**
 * popcorn_doorbell_request - a doorbell of this kernel
 * @doorbell: its publish() is set; is called before this returns
 * @name: in /proc/interrupts; another one for each doorbell
 * @handler: any number of rings may have merged into one call, and one that finds nothing to do is
 *           no error
 * @cookie: for the handler; not NULL
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM; -ENOSPC no vector is free; what request_irq() says.
 */
int popcorn_doorbell_request(struct popcorn_doorbell *doorbell, const char *name,
			     irq_handler_t handler, void *cookie)
{
	struct irq_alloc_info info = { .mask = cpu_online_mask };
	int err;

	doorbell->fwnode = irq_domain_alloc_named_fwnode(name);
	if (!doorbell->fwnode)
		return -ENOMEM;
	doorbell->domain = irq_domain_create_hierarchy(x86_vector_domain, 0, 1, doorbell->fwnode,
						       &bell_domain_ops, doorbell);
	if (!doorbell->domain) {
		err = -ENOMEM;
		goto no_domain;
	}
	doorbell->irq = irq_domain_alloc_irqs(doorbell->domain, 1, NUMA_NO_NODE, &info);
	if (doorbell->irq <= 0) {
		err = doorbell->irq ?: -ENOSPC;
		goto no_irq;
	}
	doorbell->cookie = cookie;
	err = request_irq(doorbell->irq, handler, 0, name, cookie);
	if (err)
		goto no_handler;
	return 0;

no_handler:
	irq_dispose_mapping(doorbell->irq);
no_irq:
	irq_domain_remove(doorbell->domain);
no_domain:
	irq_domain_free_fwnode(doorbell->fwnode);
	return err;
}
EXPORT_SYMBOL_GPL(popcorn_doorbell_request);

/**
 * popcorn_doorbell_free - no doorbell any more
 * @doorbell: of popcorn_doorbell_request()
 *
 * Context: may sleep. Afterwards the handler neither runs nor is called, and 0 is published.
 */
void popcorn_doorbell_free(struct popcorn_doorbell *doorbell)
{
	free_irq(doorbell->irq, doorbell->cookie);
	irq_dispose_mapping(doorbell->irq);
	irq_domain_remove(doorbell->domain);
	irq_domain_free_fwnode(doorbell->fwnode);
}
EXPORT_SYMBOL_GPL(popcorn_doorbell_free);

/**
 * popcorn_doorbell_ring - send the interrupt that another kernel has published
 * @bell: as it was read, once. That its APIC id belongs to that kernel is for the caller to know
 *
 * Context: any.
 * Return: false: it is no bell, or none yet, and nothing was sent.
 */
bool popcorn_doorbell_ring(u64 bell)
{
	if (!vector_valid(POPCORN_BELL_VECTOR(bell)))
		return false;
	popcorn_send_ipi(POPCORN_BELL_APICID(bell), POPCORN_BELL_VECTOR(bell));
	return true;
}
EXPORT_SYMBOL_GPL(popcorn_doorbell_ring);
