/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * What must hold for every plan, found out again from the machine and the policy, by the plainest means
 * and without the planner's own: NULL, or what does not hold.
 */

#include <hwloc.h>
#include <stdlib.h>
#include <string.h>

#include "planner.h"
#include "util.h"

/* By index of CPU. */
struct facts {
	const struct plan_input *input;
	bool *kept;	  /* the primary keeps it for itself, whatever groups do */
	uint32_t *used;	  /* 0, or 1 + index of used */
	uint32_t *kernel; /* 0, or 1 + index of the plan's kernel */
};

static inline bool is_there(const struct machine *machine, uint32_t cpu)
{
	return machine->cpus[cpu].state != CPU_OFFLINE;
}

/* Or lent: then it is offline for the primary. */
static inline bool is_present(const struct facts *facts, uint32_t cpu)
{
	return is_there(facts->input->machine, cpu) || facts->used[cpu];
}

static inline bool selects(const struct policy_selector *selector,
			   const struct machine_device *device)
{
	switch (selector->kind) {
	case SELECT_ADDRESS:
		return strcmp(selector->value, device->address) == 0;
	case SELECT_CLASS:
		return strcmp(selector->value, device->class) == 0 ||
		       strcmp(selector->value, device->group) == 0;
	case SELECT_DRIVER:
		return device->driver && strcmp(selector->value, device->driver) == 0;
	case SELECT_NEAR:
		return false;
	}
	return false;
}

static inline void facts_done(struct facts *facts)
{
	free(facts->kept);
	free(facts->used);
	free(facts->kernel);
}

static inline uint32_t boot_cpu(const struct machine *machine)
{
	uint32_t best = UNKNOWN;

	for (uint32_t i = 0; i < machine->n_cpus; i++)
		if (is_there(machine, i) &&
		    (best == UNKNOWN || machine->cpus[i].os < machine->cpus[best].os))
			best = i;
	return best;
}

static inline size_t kept_cores(const struct facts *facts)
{
	const struct machine *machine = facts->input->machine;
	size_t n = 0;

	for (size_t i = 0; i < machine->n_domains[LEVEL_CORE]; i++)
		for (uint32_t j = 0; j < machine->n_cpus; j++)
			if (machine->cpus[j].in[LEVEL_CORE] == i && facts->kept[j]) {
				n++;
				break;
			}
	return n;
}

static inline void facts_init(struct facts *facts, const struct plan_input *input)
{
	const struct machine *machine = input->machine;
	const struct policy_primary *primary = &input->policy->primary;
	uint32_t boot = boot_cpu(machine);
	size_t n = machine->n_cpus;

	*facts = (struct facts){
		.input = input,
		.kept = calloc(n, sizeof(*facts->kept)),
		.used = calloc(n, sizeof(*facts->used)),
		.kernel = calloc(n, sizeof(*facts->kernel)),
	};
	if (!facts->kept || !facts->used || !facts->kernel)
		abort();
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t j = 0; j < input->n_used && !facts->used[i]; j++)
			if (hwloc_bitmap_isset(input->used[j].cpus, machine->cpus[i].os) &&
			    i != boot)
				facts->used[i] = j + 1;
		if (i != boot && (facts->used[i] || machine->cpus[i].state != CPU_USABLE))
			continue;
		facts->kept[i] =
			i == boot ||
			(primary->cpus && hwloc_bitmap_isset(primary->cpus, machine->cpus[i].os)) ||
			(input->primary_cpus &&
			 hwloc_bitmap_isset(input->primary_cpus, machine->cpus[i].os));
	}
	for (size_t i = 0; i < machine->n_domains[LEVEL_CORE] && kept_cores(facts) < primary->cores;
	     i++) {
		bool free_core = false;

		for (uint32_t j = 0; j < n; j++)
			if (machine->cpus[j].in[LEVEL_CORE] == i && is_there(machine, j))
				free_core = true;
		for (uint32_t j = 0; j < n; j++)
			if (machine->cpus[j].in[LEVEL_CORE] == i &&
			    (facts->used[j] || facts->kept[j] ||
			     machine->cpus[j].state == CPU_NOT_ALLOWED))
				free_core = false;
		for (uint32_t j = 0; free_core && j < n; j++)
			if (machine->cpus[j].in[LEVEL_CORE] == i && is_there(machine, j))
				facts->kept[j] = true;
	}
	for (size_t i = 0; i < primary->n_near; i++)
		for (size_t d = 0; d < machine->n_devices; d++) {
			const struct machine_device *device = &machine->devices[d];

			if (!selects(&primary->near[i], device) || device->n_cpus == n)
				continue;
			for (uint32_t j = 0; j < n; j++)
				if (j >= device->first_cpu &&
				    j < device->first_cpu + device->n_cpus && !facts->used[j] &&
				    machine->cpus[j].state == CPU_USABLE)
					facts->kept[j] = true;
		}
	for (int pass = 0; pass < 2; pass++) {
		unsigned level = pass ? LEVEL_CORE : primary->keep;
		bool *has = calloc(machine->n_domains[level] + 1, sizeof(*has));

		if (!has)
			abort();
		for (uint32_t j = 0; j < n; j++)
			if (facts->kept[j] && machine->cpus[j].in[level] != UNKNOWN)
				has[machine->cpus[j].in[level]] = true;
		for (uint32_t j = 0; j < n; j++)
			if (machine->cpus[j].in[level] != UNKNOWN &&
			    has[machine->cpus[j].in[level]] && !facts->used[j] &&
			    machine->cpus[j].state == CPU_USABLE)
				facts->kept[j] = true;
		free(has);
	}
}

static inline bool within(const struct machine *machine, const struct policy_group *group,
			  uint32_t cpu)
{
	const struct machine_cpu *c = &machine->cpus[cpu];
	uint32_t node = c->in[LEVEL_NODE], package = c->in[LEVEL_PACKAGE];

	if (group->within_cpus && !hwloc_bitmap_isset(group->within_cpus, c->os))
		return false;
	if (group->within_nodes &&
	    (node == UNKNOWN ||
	     !hwloc_bitmap_isset(group->within_nodes, machine->domains[LEVEL_NODE][node].os)))
		return false;
	if (group->within_packages &&
	    (package == UNKNOWN ||
	     !hwloc_bitmap_isset(group->within_packages,
				 machine->domains[LEVEL_PACKAGE][package].os)))
		return false;
	return !group->within_kind || (c->kind != UNKNOWN && strcmp(machine->kinds[c->kind].name,
								    group->within_kind) == 0);
}

/* Of what `per` makes a kernel: what the CPU is in. */
static inline uint32_t part_of(const struct machine *machine, enum policy_per per, uint32_t cpu)
{
	const struct machine_cpu *c = &machine->cpus[cpu];

	switch (per) {
	case PER_NOTHING:
		return 0;
	case PER_THREAD:
		return cpu;
	case PER_CORE:
		return c->in[LEVEL_CORE];
	case PER_L3:
		return c->in[LEVEL_L3];
	case PER_NODE:
		return c->in[LEVEL_NODE];
	case PER_PACKAGE:
		return c->in[LEVEL_PACKAGE];
	case PER_KIND:
		return c->kind;
	}
	return UNKNOWN;
}

static inline const char *check_plan_cpus(struct facts *facts, const struct plan *plan)
{
	const struct machine *machine = plan->machine;
	size_t n_primary = 0;

	for (uint32_t k = 0; k < plan->n_kernels; k++) {
		const struct plan_kernel *kernel = &plan->kernels[k];

		if (kernel->n_cpus == 0)
			return "a kernel without CPUs";
		for (size_t i = 0; i < kernel->n_cpus; i++) {
			uint32_t cpu = machine_find_cpu(machine, kernel->cpus[i]);

			if (cpu == UNKNOWN)
				return "a CPU that the machine does not have";
			if (i && kernel->cpus[i] <= kernel->cpus[i - 1])
				return "CPUs that do not ascend";
			if (machine->cpus[cpu].state != CPU_USABLE)
				return "a CPU that is offline or not allowed";
			if (facts->kept[cpu])
				return "a CPU that the primary keeps";
			if (facts->used[cpu])
				return "a CPU that is in use";
			if (facts->kernel[cpu])
				return "a CPU in two kernels";
			facts->kernel[cpu] = k + 1;
		}
	}
	for (uint32_t i = 0; i < machine->n_cpus; i++) {
		bool primary = false;

		for (size_t low = 0, high = plan->n_primary_cpus; low < high && !primary;) {
			size_t middle = low + (high - low) / 2;

			primary = plan->primary_cpus[middle] == machine->cpus[i].os;
			if (plan->primary_cpus[middle] < machine->cpus[i].os)
				low = middle + 1;
			else
				high = middle;
		}
		n_primary += primary;
		if (primary + (facts->kernel[i] > 0) + (facts->used[i] > 0) != is_present(facts, i))
			return "a CPU that is lost, or in two places";
	}
	if (n_primary != plan->n_primary_cpus)
		return "CPUs of the primary that are not there, or out of order";
	/* Siblings. */
	for (uint32_t i = 0; i < machine->n_cpus; i++) {
		uint32_t core = machine->cpus[i].in[LEVEL_CORE];

		if (!facts->kernel[i] ||
		    plan->kernels[facts->kernel[i] - 1].group->smt == SMT_APART)
			continue;
		if (core == UNKNOWN)
			return "a CPU of which nobody knows the siblings";
		for (uint32_t j = 0; j < machine->domains[LEVEL_CORE][core].n_cpus; j++) {
			uint32_t other = machine->domains[LEVEL_CORE][core].first_cpu + j;

			if (is_present(facts, other) && facts->kernel[other] != facts->kernel[i])
				return "SMT siblings apart, and nobody asked for it";
		}
	}
	return NULL;
}

static inline size_t count_units(const struct facts *facts, const struct policy_group *group,
				 uint32_t kernel)
{
	const struct machine *machine = facts->input->machine;
	size_t n = 0;
	uint32_t last = UNKNOWN;

	for (uint32_t i = 0; i < machine->n_cpus; i++)
		if (facts->kernel[i] == kernel + 1 &&
		    (group->smt == SMT_APART || machine->cpus[i].in[LEVEL_CORE] != last)) {
			last = machine->cpus[i].in[LEVEL_CORE];
			n++;
		}
	return n;
}

static inline const char *check_plan_division(const struct facts *facts, const struct plan *plan)
{
	const struct machine *machine = plan->machine;
	size_t n_groups = plan->policy->n_groups, k = 0;

	for (size_t g = 0; g < n_groups; g++) {
		const struct policy_group *group = &plan->policy->groups[g];
		size_t first = k, n, least = SIZE_MAX, most = 0;
		uint32_t place = 0;

		for (; k < plan->n_kernels && plan->kernels[k].group == group; k++) {
			const struct plan_kernel *kernel = &plan->kernels[k];
			uint32_t part = UNKNOWN, inside = UNKNOWN, start = UNKNOWN;
			size_t units = count_units(facts, group, (uint32_t)k);

			least = units < least ? units : least;
			most = units > most ? units : most;
			for (uint32_t i = 0; i < machine->n_cpus; i++) {
				if (facts->kernel[i] != k + 1)
					continue;
				if (start == UNKNOWN) {
					start = i;
					part = part_of(machine, group->per, i);
					inside = machine->cpus[i].in[group->inside];
				}
				if (group->cpus)
					continue;
				if (!within(machine, group, i))
					return "a CPU outside of what the group divides";
				if (part_of(machine, group->per, i) != part || part == UNKNOWN)
					return "a kernel of two domains";
				if (machine->cpus[i].in[group->inside] != inside ||
				    inside == UNKNOWN)
					return "a kernel that is not inside one domain";
			}
			if (group->cpus) {
				if (k - first >= group->n_cpus)
					return "more kernels than lists";
				if ((size_t)hwloc_bitmap_weight(group->cpus[k - first]) !=
				    kernel->n_cpus)
					return "another number of CPUs than listed";
				for (size_t i = 0; i < kernel->n_cpus; i++)
					if (!hwloc_bitmap_isset(group->cpus[k - first],
								kernel->cpus[i]))
						return "a CPU that is not listed";
				continue;
			}
			if (k > first && start <= place)
				return "kernels that do not stand as in the machine";
			place = start;
			if (group->cores && units != group->cores &&
			    (group->leftover != LEFTOVER_KERNEL || units > group->cores))
				return "a kernel of another size";
			if (group->per != PER_NOTHING && group->leftover != LEFTOVER_KERNEL)
				for (uint32_t i = 0; i < machine->n_cpus; i++)
					if (part_of(machine, group->per, i) == part &&
					    within(machine, group, i) && is_present(facts, i) &&
					    facts->kernel[i] != k + 1)
						return "a kernel of a part of a domain";
		}
		n = k - first;
		if (n == 0)
			return "a group without kernels";
		if (group->cpus ? n != group->n_cpus : group->count && n != group->count)
			return "another number of kernels";
		if (!group->cpus && group->per == PER_NOTHING && !group->cores &&
		    most - least > (group->leftover == LEFTOVER_SPREAD))
			return "kernels of different size";
		/* As many as fit, and all that is left goes into one: what remains makes none. */
		if (group->cpus || group->count || group->leftover != LEFTOVER_ERROR)
			continue;
		for (uint32_t i = 0; i < machine->n_cpus; i++)
			if (is_there(machine, i) && machine->cpus[i].state == CPU_USABLE &&
			    !facts->kept[i] && !facts->used[i] && !facts->kernel[i] &&
			    within(machine, group, i) &&
			    (group->smt == SMT_APART || machine->cpus[i].in[LEVEL_CORE] != UNKNOWN))
				return "CPUs left over, which was an error";
	}
	return k == plan->n_kernels ? NULL : "kernels that are not in the order of groups";
}

static inline uint64_t usable_of(const struct machine *machine, size_t node)
{
	return machine->nodes[node].takeable < machine->nodes[node].memory
		       ? machine->nodes[node].takeable
		       : machine->nodes[node].memory;
}

static inline uint64_t used_of(const struct plan_input *input, size_t node)
{
	uint64_t bytes = 0, usable = usable_of(input->machine, node);

	for (size_t i = 0; i < input->n_used; i++)
		for (size_t j = 0; j < input->used[i].n_memory; j++)
			if (input->used[i].memory[j].node == node)
				bytes += input->used[i].memory[j].bytes;
	return bytes < usable ? bytes : usable;
}

static inline const char *check_plan_memory(const struct facts *facts, const struct plan *plan)
{
	const struct machine *machine = plan->machine;
	const struct plan_input *input = facts->input;
	size_t n_nodes = machine->n_domains[LEVEL_NODE];
	uint64_t *sum = calloc(n_nodes, sizeof(*sum)), equal = 0, primary = 0;
	uint64_t wanted = input->primary_memory > input->policy->primary.memory
				  ? input->primary_memory
				  : input->policy->primary.memory;
	const char *what = NULL;

	if (!sum)
		abort();
	for (size_t k = 0; k < plan->n_kernels && !what; k++) {
		const struct plan_kernel *kernel = &plan->kernels[k];
		const struct policy_group *group = kernel->group;
		uint64_t bytes = 0;

		for (size_t i = 0; i < kernel->n_memory; i++) {
			const struct plan_memory *memory = &kernel->memory[i];
			bool local = false;

			if (memory->node >= n_nodes)
				what = "memory of a node that is not there";
			else if (i && memory->node <= kernel->memory[i - 1].node)
				what = "nodes that do not ascend";
			else if (memory->bytes == 0)
				what = "a part of nothing";
			else if (group->align ? memory->bytes % group->align
					      : memory->bytes % machine->block_size &&
							memory->bytes % (2 * MIB))
				what = "a part that is not aligned";
			if (what)
				break;
			sum[memory->node] += memory->bytes;
			bytes += memory->bytes;
			for (size_t j = 0; j < kernel->n_cpus && !local; j++) {
				uint32_t cpu = machine_find_cpu(machine, kernel->cpus[j]);

				local = machine->cpus[cpu].in[LEVEL_NODE] == memory->node;
			}
			if (group->memory_from == FROM_LOCAL && !local)
				what = "local memory that is not local";
			if (group->memory_from == FROM_INTERLEAVE &&
			    (memory->bytes != kernel->memory[0].bytes ||
			     (group->memory_nodes &&
			      !hwloc_bitmap_isset(group->memory_nodes,
						  machine->domains[LEVEL_NODE][memory->node].os))))
				what = "memory that is not interleaved over its nodes";
		}
		if (!what && group->memory_from == FROM_INTERLEAVE) {
			size_t n = 0;

			for (size_t i = 0; i < n_nodes; i++)
				n += group->memory_nodes
					     ? (size_t)hwloc_bitmap_isset(
						       group->memory_nodes,
						       machine->domains[LEVEL_NODE][i].os)
					     : usable_of(machine, i) > 0;
			if (n != kernel->n_memory)
				what = "not interleaved over all its nodes";
		}
		if (what)
			break;
		if (bytes != kernel->bytes)
			what = "parts that do not add up";
		else if (bytes < PLAN_MEMORY_MIN)
			what = "a kernel with too little memory";
		else if (group->memory == MEMORY_FIXED && bytes != group->memory_bytes)
			what = "another size than the fixed one";
		else if (group->memory == MEMORY_EQUAL && equal && bytes != equal)
			what = "equal memory that is not";
		if (group->memory == MEMORY_EQUAL)
			equal = bytes;
	}
	for (size_t i = 0; i < n_nodes && !what; i++) {
		if (sum[i] + used_of(input, i) > usable_of(machine, i))
			what = "more than the node has";
		else if (plan->primary_memory[i] + sum[i] + used_of(input, i) !=
			 machine->nodes[i].memory)
			what = "memory that is lost";
		primary += plan->primary_memory[i];
	}
	if (!what && primary < wanted)
		what = "less than the primary's minimum";
	free(sum);
	return what;
}

/* A CPU's part of its core, in 840ths. */
static inline uint64_t weight_of(const struct facts *facts, uint32_t cpu)
{
	const struct machine *machine = facts->input->machine;
	uint64_t threads = 0;

	if (machine->cpus[cpu].in[LEVEL_CORE] == UNKNOWN)
		return 840;
	for (uint32_t i = 0; i < machine->n_cpus; i++)
		threads += machine->cpus[i].in[LEVEL_CORE] == machine->cpus[cpu].in[LEVEL_CORE] &&
			   is_present(facts, i);
	return 840 / threads;
}

/* What a kernel is entitled to of a node, if it is proportional. */
static inline uint64_t share_of(const struct facts *facts, uint32_t kernel, size_t node)
{
	const struct machine *machine = facts->input->machine;
	uint64_t own = 0, all = 0;

	for (uint32_t i = 0; i < machine->n_cpus; i++) {
		if (machine->cpus[i].in[LEVEL_NODE] != node || !is_present(facts, i))
			continue;
		all += weight_of(facts, i);
		own += facts->kernel[i] == kernel + 1 ? weight_of(facts, i) : 0;
	}
	/* Less than 2^52 bytes and 2^26 840ths: more than a double has, but a MiB is near enough. */
	return all ? (uint64_t)((double)usable_of(machine, node) / (double)all * (double)own) : 0;
}

/*
 * Where nobody takes memory first, proportional shares are what they should be; and equal ones could not
 * be larger, where it is easy to see: all local on one node each, or all from anywhere.
 */
static inline const char *check_plan_shares(const struct facts *facts, const struct plan *plan)
{
	const struct machine *machine = plan->machine;
	const struct plan_input *input = facts->input;
	uint64_t block = machine->block_size, align = 0, room = 0, total = 0, n_equal = 0;
	bool alone = !input->primary_memory && !input->policy->primary.memory && !input->n_used;
	bool easy = alone, any = false, local = false, stuck = false;

	/* Counting by the plainest means takes too long there. */
	if (machine->n_cpus > 300 || !alone)
		return NULL;
	for (size_t g = 0; g < plan->policy->n_groups; g++) {
		const struct policy_group *group = &plan->policy->groups[g];

		alone &= group->memory != MEMORY_FIXED && group->memory_from == FROM_LOCAL;
		if (group->memory != MEMORY_EQUAL)
			continue;
		any |= group->memory_from == FROM_ANY;
		local |= group->memory_from == FROM_LOCAL;
		/* With one `align`, and the policy's own. */
		easy &= group->memory_from != FROM_INTERLEAVE && group->align &&
			(align == 0 || align == group->align);
		align = group->align;
	}
	for (uint32_t k = 0; k < plan->n_kernels; k++) {
		const struct plan_kernel *kernel = &plan->kernels[k];
		uint64_t step = kernel->group->align ? kernel->group->align : block;
		size_t n = 0;

		if (kernel->group->memory == MEMORY_EQUAL) {
			n_equal++;
			for (size_t i = 1; !any && i < kernel->n_cpus; i++)
				easy &= machine->cpus[machine_find_cpu(machine, kernel->cpus[i])]
						.in[LEVEL_NODE] ==
					machine->cpus[machine_find_cpu(machine, kernel->cpus[0])]
						.in[LEVEL_NODE];
		}
		if (kernel->group->memory != MEMORY_PROPORTIONAL || !alone)
			continue;
		for (size_t i = 0; i < machine->n_domains[LEVEL_NODE]; i++) {
			uint64_t share = share_of(facts, k, i), bytes = 0;

			for (; n < kernel->n_memory && kernel->memory[n].node <= i; n++)
				bytes = kernel->memory[n].node == i ? kernel->memory[n].bytes : 0;
			if (bytes > share + MIB)
				return "more than the proportional share";
			if (bytes + step + MIB <= share)
				return "less than the proportional share";
		}
	}
	if (!easy || !n_equal || any == local)
		return NULL;
	for (size_t i = 0; i < machine->n_domains[LEVEL_NODE]; i++) {
		uint64_t left = plan->primary_memory[i] -
				(machine->nodes[i].memory - usable_of(machine, i));
		uint64_t n = 0;

		for (uint32_t k = 0; k < plan->n_kernels; k++)
			n += plan->kernels[k].group->memory == MEMORY_EQUAL &&
			     plan->kernels[k].memory[0].node == i;
		stuck |= n && left / align < n;
		room += left / align;
		total += n;
	}
	if (local ? !stuck : room >= n_equal)
		return "equal shares that could be larger";
	return total == n_equal ? NULL : "equal kernels that are nowhere";
}

static inline const char *check_plan_devices(const struct facts *facts, const struct plan *plan)
{
	const struct machine *machine = plan->machine;

	for (size_t d = 0; d < machine->n_devices; d++) {
		const struct machine_device *device = &machine->devices[d];
		size_t n = 0;

		for (size_t k = 0; k < plan->n_kernels; k++) {
			const struct plan_kernel *kernel = &plan->kernels[k];
			bool asked = false;

			for (size_t i = 0; i < kernel->n_devices; i++) {
				if (kernel->devices[i] != d)
					continue;
				n++;
				for (size_t j = 0; j < kernel->group->n_devices; j++) {
					asked |= selects(&kernel->group->devices[j], device);
					if (kernel->group->devices[j].kind != SELECT_NEAR)
						continue;
					for (uint32_t cpu = 0; cpu < device->n_cpus; cpu++)
						asked |= facts->kernel[device->first_cpu + cpu] ==
							 k + 1;
				}
				if (!asked)
					return "a device that nobody asked for";
			}
		}
		if (n > 1)
			return "a device in two kernels";
		for (size_t j = 0; n && j < plan->policy->primary.n_near; j++)
			if (selects(&plan->policy->primary.near[j], device))
				return "a device that the primary keeps";
	}
	for (size_t k = 0; k < plan->n_kernels; k++)
		for (size_t i = 1; i < plan->kernels[k].n_devices; i++)
			if (plan->kernels[k].devices[i] <= plan->kernels[k].devices[i - 1])
				return "devices that do not ascend";
	return NULL;
}

static inline bool is_name(const char *name)
{
	size_t n =
		strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");

	return n >= 1 && n <= 63 && name[n] == '\0' && !strchr("_.-", name[0]);
}

static inline int compare_names_of(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static inline const char *check_plan_names(const struct plan_input *input, const struct plan *plan)
{
	const char **names = calloc(plan->n_kernels + input->n_used + 1, sizeof(*names));
	const char *what = NULL;
	size_t n = 0;

	if (!names)
		abort();
	for (size_t k = 0; k < plan->n_kernels; k++) {
		const struct plan_kernel *kernel = &plan->kernels[k];

		if (!is_name(kernel->name))
			what = "a name that is none";
		names[n++] = kernel->name;
		for (size_t i = 0; i < kernel->group->n_after; i++)
			for (size_t j = 0; j < plan->n_kernels; j++)
				if (strcmp(plan->kernels[j].group->name, kernel->group->after[i]) ==
					    0 &&
				    plan->kernels[j].start >= kernel->start)
					what = "a kernel that does not wait";
		if (kernel->group->n_after == 0 && kernel->start)
			what = "a kernel that waits for nobody";
		for (size_t i = 0; i < kernel->group->n_overrides; i++)
			if ((strcmp(kernel->group->overrides[i].name, kernel->name) == 0) !=
			    (kernel->override == &kernel->group->overrides[i].kernel))
				what = "another override";
	}
	for (size_t i = 0; i < input->n_used; i++)
		names[n++] = input->used[i].name;
	qsort(names, n, sizeof(*names), compare_names_of);
	for (size_t i = 1; i < n; i++)
		if (strcmp(names[i], names[i - 1]) == 0)
			what = "a name that is there twice";
	free(names);
	if (plan->n_kernels + input->n_used > input->machine->max_kernels)
		what = "too many kernels";
	return what;
}

static inline const char *plan_check(const struct plan_input *input, const struct plan *plan)
{
	struct facts facts;
	const char *what;

	facts_init(&facts, input);
	what = check_plan_cpus(&facts, plan);
	if (!what)
		what = check_plan_division(&facts, plan);
	if (!what)
		what = check_plan_memory(&facts, plan);
	if (!what)
		what = check_plan_shares(&facts, plan);
	if (!what)
		what = check_plan_devices(&facts, plan);
	if (!what)
		what = check_plan_names(input, plan);
	facts_done(&facts);
	return what;
}
