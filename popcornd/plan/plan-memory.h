/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Memory that is being planned. For plan-memory.c and plan-share.c only. */

#include "plan-internal.h"
#include "util.h"

/* The parts of a core that a thread is: divisible by every number of threads up to 8. */
#define CORE_WEIGHT 840
/* The finest that the driver takes (POPCORN_MEMORY_ALIGN). */
#define ALIGN_MIN (2 * MIB)
/* Groups with a problem for which suggestions are tried: each try is a plan of all memory. */
#define TRIES_MAX 8

/* A node that a kernel has CPUs on, and how many: cores x CORE_WEIGHT. */
struct local {
	uint32_t node;
	uint64_t weight;
};

/* What a group says, or could say. */
struct setting {
	enum policy_memory memory;
	enum policy_memory_from from;
	uint64_t bytes, align;
	const uint32_t *nodes; /* FROM_INTERLEAVE */
	size_t n_nodes;
	bool free_align; /* the policy does not say it */
	bool skip;	 /* it has a problem already */
};

enum failure_kind {
	FAILURE_NONE,
	FAILURE_NODE,	 /* too much is asked of the node */
	FAILURE_TOTAL,	 /* not as much is left anywhere */
	FAILURE_NO_NODE, /* none of the nodes has memory to give */
	FAILURE_SMALL,	 /* a share below PLAN_MEMORY_MIN */
};

/* The first of a group. */
struct failure {
	enum failure_kind kind;
	size_t kernel;
	uint32_t node; /* or UNKNOWN */
	uint64_t asked, available;
};

struct part {
	struct plan_memory *nodes;
	size_t n, room;
	uint64_t bytes;
};

struct solution {
	struct setting *settings;   /* of each group */
	struct failure *failures;   /* likewise */
	uint64_t *lost;		    /* likewise: by rounding of proportional shares */
	struct part *parts;	    /* of each kernel */
	uint64_t *left;		    /* of each node */
	uint64_t *missing, *aligns; /* of each kernel */
	uint64_t *scratch, *trial;  /* of each node */
	bool *scarce;		    /* likewise: less than the proportional shares was left */
};

struct memory {
	struct planner *p;
	size_t n_nodes, n_kernels;
	struct local *locals;
	size_t *first_local;	   /* of each kernel, and one more: in locals */
	uint64_t *usable;	   /* of each node: what all kernels together could get of it */
	uint64_t *used, *reserved; /* what others have of that, what the primary needs of it */
	uint64_t *weight;	   /* of each node's CPUs */
	uint64_t *kernel_weight;
	uint64_t weight_all, usable_all;
	uint32_t **order; /* of each node that it was asked of: all nodes, the nearest first */
	uint32_t *nodes;  /* of all groups that interleave */
	uint32_t home;	  /* the primary's node */
	unsigned tries;
};

/*
 * plan-share.c: who gets what if the groups say @settings. @s is to be given to solution_done(), after an
 * error too. -ENOMEM.
 */
int solve(struct memory *mem, const struct setting *settings, struct solution *s);
void solution_done(struct memory *mem, struct solution *s);
/* All nodes, the nearest to @home first; NULL: no memory, which is remembered. */
const uint32_t *nearest(struct memory *mem, uint32_t home);
