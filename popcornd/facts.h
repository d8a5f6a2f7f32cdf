/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What a planner has to know of this machine and of who has what of it. */

#include <hwloc.h>

#include "resources.h"

struct machine;

/*
 * This machine, with what is lent counted as takeable: it is, by whom has it. Blocking: of each block of
 * memory it is looked whether a page in it can't be moved.
 */
int resources_machine(struct resources *resources, struct machine **ret,
		      struct popcorn_error *error);
/* The same as hwloc's XML, without what hwloc does not know. @ret is malloc'ed. */
int resources_topology_xml(struct resources *resources, char **ret, struct popcorn_error *error);

/* What one kernel has, or has claimed. */
struct share {
	char name[POPCORN_NAME_MAX];
	hwloc_bitmap_t cpus;
	struct node_memory *memory; /* ascending by node */
	size_t n_memory;
};

/* All of them. -ENOMEM. */
int resources_shares(struct resources *resources, struct share **ret, size_t *ret_n);
void shares_free(struct share *shares, size_t n);
