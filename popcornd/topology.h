/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Which CPUs are near which: hwloc's view of the machine. CPUs that were offline when it was
 * loaded are not in it (Linux hides where they are): topology_covers() tells when to load again.
 */

#include <hwloc.h>
#include <stdbool.h>
#include <stdint.h>

struct topology;

/* @root "" = this machine. -ENOMEM, -EIO. */
int topology_load(const char *root, struct topology **ret);
struct topology *topology_free(struct topology *topology);

bool topology_covers(const struct topology *topology, hwloc_const_bitmap_t cpus);

/*
 * Chooses @n of @free, which topology covers: whole cores first, as near each other as can be, on
 * nodes with @memory bytes of @node_memory[node] (@n_nodes entries) if there are such.
 * -ENOSPC: there are not so many.
 */
int topology_choose(const struct topology *topology, hwloc_const_bitmap_t free, unsigned n,
		    const uint64_t *node_memory, size_t n_nodes, uint64_t memory,
		    hwloc_bitmap_t *ret);

/* 0 if it is not known. */
unsigned topology_node(const struct topology *topology, unsigned cpu);
/* As in a SLIT: 10 = the same node. */
uint8_t topology_distance(const struct topology *topology, unsigned from, unsigned to);
