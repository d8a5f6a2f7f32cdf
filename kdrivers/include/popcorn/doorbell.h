/* SPDX-License-Identifier: GPL-2.0-only */
/* Doorbells: an interrupt that other kernels send, and that is published whenever it moves. */
#ifndef _POPCORN_DOORBELL_H
#define _POPCORN_DOORBELL_H

#include <linux/interrupt.h>
#include <linux/types.h>
#include <popcorn/head.h>

struct fwnode_handle;
struct irq_domain;

/* Zeroed but for @publish; the rest belongs to doorbell.c. */
struct popcorn_doorbell {
	/*
	 * Tells the other kernels where to ring, 0: nowhere.
	 *
	 * Context: interrupts are off and raw spinlocks of the interrupt core are held.
	 */
	void (*publish)(struct popcorn_doorbell *doorbell, u64 bell);

	struct fwnode_handle *fwnode;
	struct irq_domain *domain;
	void *cookie;
	int irq;
};

int popcorn_doorbell_request(struct popcorn_doorbell *doorbell, const char *name,
			     irq_handler_t handler, void *cookie);
void popcorn_doorbell_free(struct popcorn_doorbell *doorbell);
bool popcorn_doorbell_ring(u64 bell);

#endif /* _POPCORN_DOORBELL_H */
