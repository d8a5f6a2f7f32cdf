/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What resources.c and take.c share: the insides of resources and claims. */

#include <pthread.h>

#include "lease.h"
#include "memory.h"
#include "resources.h"
#include "topology.h"
#include "util.h"

struct resources {
	const struct config *config;
	struct driver *driver;
	char *root; /* of /sys and /proc: "" but for tests */
	char *leases;
	uint64_t block_size;
	uint16_t pm_timer; /* see struct image_partition */

	pthread_mutex_t lock; /* for all that follows */
	char *run;
	struct topology *topology;
	struct claim *claims;
	hwloc_bitmap_t busy_cpus;
	hwloc_bitmap_t busy_blocks;
};

/* A claim's part of one node. */
struct claim_node {
	uint64_t want; /* so much, not more; 0 in all = from anywhere */
	uint64_t offlined, contig;
};

struct claim {
	struct resources *resources;
	struct claim *next; /* resources->lock */
	char name[POPCORN_NAME_MAX];
	uint64_t memory;
	uint64_t need, wish; /* how long the first range must and should be */
	uint32_t *cpus;
	unsigned *cpu_nodes;
	size_t n_cpus;
	uint64_t offlined, contig;  /* bytes that are taken; written under resources->lock */
	struct claim_node *by_node; /* the same by Linux's number of the node; likewise */
	size_t n_by_node;
	bool is_by_node;      /* how much of which node was asked for: want */
	struct block *blocks; /* as in the lease */
	size_t n_blocks, blocks_room;
	bool leased; /* there may be a lease file */
	bool given;  /* the driver has got something */

	/* What claim_partition() hands out. */
	struct image_cpu *image_cpus;
	struct image_range *image_ranges;
	unsigned *nodes;
	uint8_t *distances;
};

static inline void bitmap_freep(hwloc_bitmap_t *set)
{
	hwloc_bitmap_free(*set);
}

#define _cleanup_bitmap_ _cleanup_(bitmap_freep)

/* "2-3,7" or "2-3,7, …", for texts. */
#define LIST_TEXT_MAX 160
const char *list_text(hwloc_const_bitmap_t set, char buf[LIST_TEXT_MAX]);
#define LIST_TEXT(set) list_text((set), (char[LIST_TEXT_MAX]){ 0 })

/* Bytes were taken or given back; with the lock. */
void claim_count(struct claim *claim, unsigned node, int64_t offlined, int64_t contig);
/* Writes the lease as the claim is now. */
int claim_write_lease(struct claim *claim);
/* The @i-th block is not the claim's any more. */
void claim_forget_block(struct claim *claim, size_t i);
/* Whether a claim has, or is about to take, the block. */
bool is_block_busy(struct resources *r, uint64_t index);
