// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The primary's kernel command line that makes a plan's memory movable.
 *
 * What Linux 6.1 does (Documentation/admin-guide/kernel-parameters.txt: kernelcore, movablecore,
 * movable_node; find_zone_movable_pfns_for_nodes(), then in mm/page_alloc.c, since 6.4 in
 * mm/mm_init.c):
 *
 * - kernelcore=R spreads R bytes that are for the kernel's own use too evenly over all nodes, at the
 *   low end of each; what is above them is ZONE_MOVABLE. A node that has less than its share is
 *   the kernel's as a whole, and the others get more. There is no way to say how much of which node.
 * - Memory below 4 GiB (ZONE_DMA32) is never in ZONE_MOVABLE if there is any above, and counts for R.
 *   Nodes are walked in the order of their numbers and that memory is on the first: as long as R is
 *   not more than it, *all* memory above 4 GiB becomes movable, on all nodes.
 * - movablecore=M is kernelcore=(all memory - M), where "all" is what the firmware's map says, which
 *   nobody knows who sees a machine by hwloc. So kernelcore is what we write.
 * - movable_node makes Linux ignore both, and makes movable only what the firmware's SRAT marks as
 *   hot-pluggable: on most machines nothing. So it must not be given.
 * - The array of struct page of a node (1/64 of its memory) and other things of early boot lie at the
 *   high end of the node, in ZONE_MOVABLE, and never move. The memory of a node that hwloc
 *   (Linux: MemTotal) shows is without them.
 * - A memory block with two zones does not go offline: the one with the border in it is lost.
 *
 * What we do: find the largest R with which, by these rules, each node still has as many
 * whole movable blocks as the plan takes from it.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "planner.h"
#include "util.h"

/* What is below 4 GiB beside devices' addresses: no description says how much. At least and at most: */
#define LOW_LEAST (UINT64_C(1) << 30)
#define LOW_MOST (UINT64_C(3) << 30)
/* On machines without memory above 4 GiB: ZONE_DMA. */
#define LOW_DMA (16 * MIB)
/* A kernel with less for itself does not get far. */
#define CORE_MIN (256 * MIB)
/* What R is a multiple of. */
#define CORE_STEP (64 * MIB)
/* MAX_ORDER_NR_PAGES of 6.1 on x86: where ZONE_MOVABLE may begin. */
#define ZONE_ALIGN (4 * MIB)

struct node {
	uint32_t os;
	uint64_t memory, planned;
	uint64_t core; /* scratch: what is not movable, at the low end */
};

static int compare_nodes(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	return x->os < y->os ? -1 : x->os > y->os;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What Linux would do with kernelcore=@core if there were @low bytes below its movable zone. */
static void spread(struct node *nodes, size_t n, uint64_t low, uint64_t core)
{
	size_t usable = 0;

	for (size_t i = 0; i < n; i++) {
		nodes[i].core = 0;
		usable += nodes[i].memory > 0;
	}
	do {
		uint64_t share = core / usable, below = low;

		for (size_t i = 0; i < n; i++) {
			uint64_t here = min(below, nodes[i].memory), rest, some;

			below -= here;
			if (core < share)
				share = core / usable;
			rest = share;
			if (nodes[i].core < here) {
				some = here - nodes[i].core;
				rest -= min(some, rest);
				core -= min(some, core);
				nodes[i].core = here;
			}
			some = min(nodes[i].memory - nodes[i].core, rest);
			nodes[i].core += some;
			core -= min(some, core);
		}
		usable--;
		/* Pages there, bytes here: less than a page for each node is not worth a round. */
	} while (usable && core > usable * 4096);
}

/* Whether each node has as many movable blocks as are planned. */
static bool suffices(struct node *nodes, size_t n, uint64_t block, uint64_t low, uint64_t core)
{
	spread(nodes, n, low, core);
	for (size_t i = 0; i < n; i++) {
		uint64_t border = (nodes[i].core + ZONE_ALIGN - 1) / ZONE_ALIGN * ZONE_ALIGN;
		uint64_t fixed = (border + block - 1) / block, all = nodes[i].memory / block;

		if ((nodes[i].planned + block - 1) / block > (all > fixed ? all - fixed : 0))
			return false;
	}
	return true;
}

int plan_boot_args(const struct plan *plan, char **ret)
{
	const struct machine *m = plan->machine;
	size_t n = m->n_domains[LEVEL_NODE];
	_cleanup_free_ struct node *nodes = calloc(n, sizeof(*nodes));
	uint64_t all = 0, planned = 0, low, high, lows[2] = { LOW_LEAST, LOW_MOST };
	char *text;
	bool good;

	if (!nodes)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		nodes[i] = (struct node){ m->domains[LEVEL_NODE][i].os, m->nodes[i].memory, 0, 0 };
		all += nodes[i].memory;
	}
	for (size_t i = 0; i < plan->n_kernels; i++)
		for (size_t j = 0; j < plan->kernels[i].n_memory; j++) {
			nodes[plan->kernels[i].memory[j].node].planned +=
				plan->kernels[i].memory[j].bytes;
			planned += plan->kernels[i].memory[j].bytes;
		}
	if (planned == 0) {
		text = strdup("");
		if (!text)
			return -ENOMEM;
		*ret = text;
		return 0;
	}
	qsort(nodes, n, sizeof(*nodes), compare_nodes);
	if (all <= LOW_MOST)
		lows[0] = lows[1] = LOW_DMA;

	low = CORE_MIN / CORE_STEP;
	/* From all memory on, Linux makes no movable zone. */
	high = all > CORE_MIN ? (all - 1) / CORE_STEP : low;
	good = suffices(nodes, n, m->block_size, lows[0], low * CORE_STEP) &&
	       suffices(nodes, n, m->block_size, lows[1], low * CORE_STEP);
	while (good && low < high) {
		uint64_t middle = low + (high - low + 1) / 2;

		if (suffices(nodes, n, m->block_size, lows[0], middle * CORE_STEP) &&
		    suffices(nodes, n, m->block_size, lows[1], middle * CORE_STEP))
			low = middle;
		else
			high = middle - 1;
	}
	if (asprintf(&text, "kernelcore=%" PRIu64 "M", low * CORE_STEP / MIB) < 0)
		return -ENOMEM;
	*ret = text;
	return good ? 0 : 1;
}
