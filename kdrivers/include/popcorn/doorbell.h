/* SPDX-License-Identifier: GPL-2.0-only */
/* Doorbells: an interrupt that other kernels send, and that is published whenever it moves. */
#ifndef _POPCORN_DOORBELL_H
#define _POPCORN_DOORBELL_H

#include <linux/interrupt.h>
#include <linux/types.h>
#include <asm/sync_bitops.h>
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

/*
 * Sets bits of a word that two kernels write; what it was before. A literal lock prefix: see head.h for why not
 * atomic_or(). Also a full barrier, if the bits are set already too: what they announce comes first.
 *
 * Context: any.
 */
static inline u32 popcorn_bits_set(u32 *word, u32 bits)
{
	u32 old = READ_ONCE(*word), seen;

	while ((seen = sync_cmpxchg(word, old, old | bits)) != old)
		old = seen;
	return old;
}

int popcorn_doorbell_request(struct popcorn_doorbell *doorbell, const char *name,
			     irq_handler_t handler, void *cookie);
void popcorn_doorbell_free(struct popcorn_doorbell *doorbell);
bool popcorn_doorbell_ring(u64 bell);

#endif /* _POPCORN_DOORBELL_H */
