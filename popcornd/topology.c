// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "topology.h"
#include "util.h"

/* ACPI 6.4, 5.2.17. */
#define DISTANCE_LOCAL 10
#define DISTANCE_REMOTE 20
#define DISTANCE_MAX 254

struct topology {
	hwloc_topology_t hwloc;
	struct hwloc_distances_s *distances; /* or NULL */
};

static void topology_freep(struct topology **topology)
{
	topology_free(*topology);
}

static int set_filters(hwloc_topology_t hwloc)
{
	static const hwloc_obj_type_t kept[] = { HWLOC_OBJ_PACKAGE, HWLOC_OBJ_L3CACHE,
						 HWLOC_OBJ_CORE };

	if (hwloc_topology_set_all_types_filter(hwloc, HWLOC_TYPE_FILTER_KEEP_NONE) < 0)
		return -EIO;
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (hwloc_topology_set_type_filter(hwloc, kept[i], HWLOC_TYPE_FILTER_KEEP_ALL) < 0)
			return -EIO;
	/*
	 * INCLUDE_DISALLOWED: what this process may use does not matter. DONT_CHANGE_BINDING: hwloc
	 * would move this thread from CPU to CPU to ask each one.
	 */
	if (hwloc_topology_set_flags(hwloc, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED |
						    HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING) < 0)
		return -EIO;
	return 0;
}

int topology_load(const char *root, struct topology **ret)
{
	_cleanup_(topology_freep) struct topology *topology = calloc(1, sizeof(*topology));
	unsigned n = 1;
	int r;

	if (!topology)
		return -ENOMEM;
	/* hwloc has no other way to look at a copy of /sys; only tests have one. */
	if (*root)
		setenv("HWLOC_FSROOT", root, 1);
	r = hwloc_topology_init(&topology->hwloc) < 0 ? -ENOMEM : 0;
	if (r == 0)
		r = set_filters(topology->hwloc);
	if (r == 0 && hwloc_topology_load(topology->hwloc) < 0)
		r = -EIO;
	if (*root)
		unsetenv("HWLOC_FSROOT");
	if (r < 0)
		return r;
	if (hwloc_distances_get_by_name(topology->hwloc, "NUMALatency", &n, &topology->distances,
					0) < 0 ||
	    n == 0)
		topology->distances = NULL;
	*ret = steal_ptr(topology);
	return 0;
}

struct topology *topology_free(struct topology *topology)
{
	if (!topology)
		return NULL;
	if (topology->distances)
		hwloc_distances_release(topology->hwloc, topology->distances);
	if (topology->hwloc)
		hwloc_topology_destroy(topology->hwloc);
	free(topology);
	return NULL;
}

bool topology_covers(const struct topology *topology, hwloc_const_bitmap_t cpus)
{
	return hwloc_bitmap_isincluded(cpus, hwloc_topology_get_topology_cpuset(topology->hwloc));
}

unsigned topology_node(const struct topology *topology, unsigned cpu)
{
	hwloc_obj_t node = NULL;

	while ((node = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE, node)))
		if (hwloc_bitmap_isset(node->cpuset, cpu))
			return node->os_index;
	return 0;
}

uint8_t topology_distance(const struct topology *topology, unsigned from, unsigned to)
{
	struct hwloc_distances_s *d = topology->distances;
	unsigned row, column;
	hwloc_uint64_t value;

	if (from == to)
		return DISTANCE_LOCAL;
	if (!d)
		return DISTANCE_REMOTE;
	for (row = 0; row < d->nbobjs && d->objs[row]->os_index != from; row++)
		;
	for (column = 0; column < d->nbobjs && d->objs[column]->os_index != to; column++)
		;
	if (row == d->nbobjs || column == d->nbobjs)
		return DISTANCE_REMOTE;
	value = d->values[row * d->nbobjs + column];
	/* A SLIT that says that another node is as near as the own one is refused by Linux. */
	if (value <= DISTANCE_LOCAL || value > DISTANCE_MAX)
		return DISTANCE_REMOTE;
	return (uint8_t)value;
}

/* A possible choice, and what is good about it. */
struct choice {
	hwloc_bitmap_t cpus;
	unsigned shared; /* cores of which a part stays with somebody else */
	unsigned left;	 /* free CPUs that stay in the domain */
};

/* Adds CPUs of @from to @choice until it has @n. */
static int add_some(hwloc_bitmap_t choice, hwloc_const_bitmap_t from, unsigned n)
{
	int missing = (int)n - hwloc_bitmap_weight(choice);

	for (int cpu = hwloc_bitmap_first(from); cpu >= 0 && missing > 0;
	     cpu = hwloc_bitmap_next(from, cpu)) {
		if (hwloc_bitmap_isset(choice, (unsigned)cpu))
			continue;
		if (hwloc_bitmap_set(choice, (unsigned)cpu) < 0)
			return -ENOMEM;
		missing--;
	}
	return 0;
}

static void bitmap_freep(hwloc_bitmap_t *set)
{
	hwloc_bitmap_free(*set);
}

/*
 * @n of @free, in one domain. Three rounds over its cores, from the highest down, because the
 * primary's own work tends to be on the lowest: whole cores as long as they fit; the rest of cores
 * that are divided already; last a piece of a whole core, which is then divided.
 */
static int choose_in(hwloc_topology_t hwloc, hwloc_const_bitmap_t free, unsigned n,
		     struct choice *ret)
{
	_cleanup_(bitmap_freep) hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
	_cleanup_(bitmap_freep) hwloc_bitmap_t part = hwloc_bitmap_alloc();
	/* Without cores in the topology each CPU counts as one. */
	hwloc_obj_type_t type =
		hwloc_get_nbobjs_by_type(hwloc, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
	unsigned shared = 0;

	if (!cpus || !part)
		return -ENOMEM;
	for (int round = 0; round < 3; round++) {
		for (int i = hwloc_get_nbobjs_by_type(hwloc, type) - 1; i >= 0; i--) {
			hwloc_obj_t core = hwloc_get_obj_by_type(hwloc, type, (unsigned)i);
			int missing = (int)n - hwloc_bitmap_weight(cpus);
			bool whole;

			if (missing == 0)
				break;
			if (!hwloc_bitmap_intersects(core->cpuset, free) ||
			    hwloc_bitmap_intersects(core->cpuset, cpus))
				continue;
			whole = hwloc_bitmap_isincluded(core->cpuset, free);
			if (whole != (round != 1) ||
			    (round == 0 && hwloc_bitmap_weight(core->cpuset) > missing))
				continue;
			if (hwloc_bitmap_and(part, core->cpuset, free) < 0 ||
			    add_some(cpus, part, n) < 0)
				return -ENOMEM;
			shared += round > 0;
		}
	}
	/* The other part of a divided core may be in no core that hwloc knows. */
	if (add_some(cpus, free, n) < 0)
		return -ENOMEM;
	ret->left = (unsigned)hwloc_bitmap_weight(free) - n;
	ret->shared = shared;
	ret->cpus = steal_ptr(cpus);
	return 0;
}

static bool has_memory(hwloc_const_nodeset_t nodes, const uint64_t *node_memory, size_t n_nodes,
		       uint64_t memory)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n_nodes; i++)
		if (hwloc_bitmap_isset(nodes, (unsigned)i))
			sum += node_memory[i];
	return sum >= memory;
}

int topology_choose(const struct topology *topology, hwloc_const_bitmap_t free, unsigned n,
		    const uint64_t *node_memory, size_t n_nodes, uint64_t memory,
		    hwloc_bitmap_t *ret)
{
	static const hwloc_obj_type_t levels[] = { HWLOC_OBJ_L3CACHE, HWLOC_OBJ_NUMANODE,
						   HWLOC_OBJ_PACKAGE, HWLOC_OBJ_MACHINE };
	_cleanup_(bitmap_freep) hwloc_bitmap_t here = hwloc_bitmap_alloc();
	_cleanup_(bitmap_freep) hwloc_bitmap_t best = NULL;
	unsigned best_shared = 0, best_left = 0;
	hwloc_topology_t hwloc = topology->hwloc;

	if (!here)
		return -ENOMEM;
	if (hwloc_bitmap_weight(free) < (int)n)
		return -ENOSPC;
	/*
	 * Whole cores matter most, then how near the CPUs are to each other and to enough memory;
	 * of equals the domain is taken that has the least left over, so that the large ones stay
	 * whole for whoever needs them. Levels go from near to far: a farther one replaces a nearer
	 * one only for the sake of whole cores.
	 */
	for (size_t level = 0; level < ARRAY_SIZE(levels); level++) {
		bool from_this_level = false;
		hwloc_obj_t domain = NULL;

		while ((domain = hwloc_get_next_obj_by_type(hwloc, levels[level], domain))) {
			struct choice choice;
			int r;

			if (levels[level] != HWLOC_OBJ_MACHINE &&
			    !has_memory(domain->nodeset, node_memory, n_nodes, memory))
				continue;
			if (hwloc_bitmap_and(here, domain->cpuset, free) < 0)
				return -ENOMEM;
			if (hwloc_bitmap_weight(here) < (int)n)
				continue;
			r = choose_in(hwloc, here, n, &choice);
			if (r < 0)
				return r;
			if (!best || choice.shared < best_shared ||
			    (from_this_level && choice.shared == best_shared &&
			     choice.left <= best_left)) {
				hwloc_bitmap_free(best);
				best = choice.cpus;
				best_shared = choice.shared;
				best_left = choice.left;
				from_this_level = true;
			} else {
				hwloc_bitmap_free(choice.cpus);
			}
		}
	}
	if (!best)
		return -ENOSPC;
	*ret = steal_ptr(best);
	return 0;
}
