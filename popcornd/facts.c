// SPDX-License-Identifier: GPL-2.0-or-later
/* What a planner has to know of this machine and of who has what of it. */
#include <errno.h>
#include <string.h>

#include "claim.h"
#include "facts.h"
#include "machine.h"
#include "sysfs.h"

/* Blocks that lie offline because a claim has them: they are takeable by whom has them. */
static int read_lent(struct resources *r, hwloc_bitmap_t *ret_blocks, hwloc_bitmap_t *ret_cpus)
{
	_cleanup_bitmap_ hwloc_bitmap_t blocks = NULL, cpus = NULL;
	LOCK(r);

	blocks = hwloc_bitmap_dup(r->busy_blocks);
	cpus = hwloc_bitmap_dup(r->busy_cpus);
	if (!blocks || !cpus)
		return -ENOMEM;
	*ret_blocks = steal_ptr(blocks);
	*ret_cpus = steal_ptr(cpus);
	return 0;
}

/*
 * Whether a block of memory has nothing in it that can't be moved. In units, because the first page
 * that can't be is enough, and a terabyte has 2 GiB of flags.
 */
static bool is_movable(int page_map, uint64_t start, uint64_t length)
{
	for (uint64_t at = start; page_map >= 0 && at < start + length; at += UNIT_SIZE) {
		struct page_counts counts;

		if (page_map_count(page_map, at, UNIT_SIZE, &counts) < 0)
			break; /* nobody knows; trying will show */
		if (counts.fixed)
			return false;
	}
	return true;
}

struct sums {
	uint64_t *memory, *takeable;
	size_t n;
};

static void sums_done(struct sums *sums)
{
	free(sums->memory);
	free(sums->takeable);
}

static int sum_blocks(const struct resources *r, hwloc_const_bitmap_t lent, struct sums *ret)
{
	_cleanup_(sums_done) struct sums sums = { 0 };
	_cleanup_free_ struct block *blocks = NULL;
	_cleanup_close_ int page_map = -1;
	size_t n_blocks;
	int k;

	k = blocks_read(r->root, &blocks, &n_blocks);
	if (k < 0)
		return k;
	for (size_t i = 0; i < n_blocks; i++)
		if (blocks[i].node >= sums.n)
			sums.n = blocks[i].node + 1;
	sums.memory = calloc(sums.n + 1, sizeof(*sums.memory));
	sums.takeable = calloc(sums.n + 1, sizeof(*sums.takeable));
	if (!sums.memory || !sums.takeable)
		return -ENOMEM;
	page_map = page_map_open(r->root);
	for (size_t i = 0; i < n_blocks; i++) {
		const struct block *block = &blocks[i];

		sums.memory[block->node] += r->block_size;
		if (hwloc_bitmap_isset(lent, (unsigned)block->index) ||
		    (block_rank(block) != ZONE_RANK_NONE &&
		     is_movable(page_map, block->index * r->block_size, r->block_size)))
			sums.takeable[block->node] += r->block_size;
	}
	*ret = sums;
	sums = (struct sums){ 0 };
	return 0;
}

static void topology_freep(struct topology **topology)
{
	topology_free(*topology);
}

int resources_machine(struct resources *resources, struct machine **ret,
		      struct popcorn_error *error)
{
	_cleanup_bitmap_ hwloc_bitmap_t online = NULL, lent_blocks = NULL, lent_cpus = NULL;
	_cleanup_(topology_freep) struct topology *topology = NULL;
	_cleanup_(sums_done) struct sums sums = { 0 };
	struct machine_facts facts;
	struct popcorn_info info;
	uint32_t kernels;
	int k;

	k = topology_load_live(resources->root, resources->run, &topology, error);
	if (k < 0)
		return k;
	/* First what is lent, then what is online: what comes back in between is at least one of them. */
	if (read_lent(resources, &lent_blocks, &lent_cpus) < 0)
		return no_memory(error);
	k = sysfs_read_list(resources->root, &online, "/sys/devices/system/cpu/online");
	if (k < 0)
		return popcorn_error_set_errno(error, k, "can't read which CPUs are online");
	if (hwloc_bitmap_or(online, online, lent_cpus) < 0)
		return no_memory(error);
	k = sum_blocks(resources, lent_blocks, &sums);
	if (k < 0)
		return popcorn_error_set_errno(error, k, "can't read which memory there is");
	k = resources->driver->ops->info(resources->driver, &info);
	if (k < 0)
		return popcorn_error_set_errno(
			error, k, "the driver does not say how many kernels there can be");
	kernels = info.nr_kernels + info.low_free;
	facts = (struct machine_facts){
		.block_size = resources->block_size,
		.max_kernels = kernels < POPCORN_KERNELS_MAX ? kernels : POPCORN_KERNELS_MAX,
		.takeable = sums.takeable,
		.memory = sums.memory,
		.n_nodes = sums.n,
		.usable = online,
	};
	return machine_new(topology, &facts, ret, error);
}

int resources_topology_xml(struct resources *resources, char **ret, struct popcorn_error *error)
{
	_cleanup_(topology_freep) struct topology *topology = NULL;
	int k = topology_load_live(resources->root, resources->run, &topology, error);

	return k < 0 ? k : topology_export_xml(topology, ret, error);
}

void shares_free(struct share *shares, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		hwloc_bitmap_free(shares[i].cpus);
		free(shares[i].memory);
	}
	free(shares);
}

/* What of each node it has, or is going to have. With the lock. */
static int read_share(const struct claim *claim, struct share *ret)
{
	uint64_t rest = claim->memory;
	size_t n = 0;

	strcpy(ret->name, claim->name);
	ret->cpus = hwloc_bitmap_alloc();
	ret->memory = calloc(claim->n_by_node + 1, sizeof(*ret->memory));
	if (!ret->cpus || !ret->memory)
		return -ENOMEM;
	for (size_t i = 0; i < claim->n_cpus; i++)
		if (hwloc_bitmap_set(ret->cpus, claim->cpus[i]) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < claim->n_by_node; i++) {
		const struct claim_node *node = &claim->by_node[i];
		uint64_t has = node->offlined + node->contig;

		if (node->want > has)
			has = node->want;
		rest -= has < rest ? has : rest;
		/* What is yet to be taken from anywhere comes from where its CPUs are, if it can. */
		if (has || (claim->n_cpus && claim->cpu_nodes[0] == i))
			ret->memory[n++] = (struct node_memory){ (unsigned)i, has };
	}
	for (size_t i = 0; i < n && claim->n_cpus; i++)
		if (ret->memory[i].node == claim->cpu_nodes[0])
			ret->memory[i].bytes += rest;
	/* Nothing is no part. */
	ret->n_memory = 0;
	for (size_t i = 0; i < n; i++)
		if (ret->memory[i].bytes)
			ret->memory[ret->n_memory++] = ret->memory[i];
	return 0;
}

int resources_shares(struct resources *resources, struct share **ret, size_t *ret_n)
{
	struct share *shares;
	size_t n = 0, i = 0;
	LOCK(resources);

	for (const struct claim *c = resources->claims; c; c = c->next)
		n++;
	shares = calloc(n + 1, sizeof(*shares));
	if (!shares)
		return -ENOMEM;
	for (const struct claim *c = resources->claims; c; c = c->next, i++) {
		if (read_share(c, &shares[i]) < 0) {
			shares_free(shares, n);
			return -ENOMEM;
		}
	}
	*ret_n = n;
	*ret = shares;
	return 0;
}
