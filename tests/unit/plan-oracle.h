/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Whether what a problem says is true: looked up in the machine and the policy again, by counting. And
 * policies with one key changed, to see whether a suggestion does what it says.
 */

#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "plan-check.h"

/* The numbers of "CPUs 2-3,7", "nodes 5", "CPU 3, …": those that are shown. */
static inline hwloc_bitmap_t numbers_of(const char *text)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	const char *p = text + strcspn(text, "0123456789");

	while (*p >= '0' && *p <= '9') {
		char *end;
		unsigned long first = strtoul(p, &end, 10), last = first;

		if (*end == '-' && end[1] >= '0' && end[1] <= '9')
			last = strtoul(end + 1, &end, 10);
		hwloc_bitmap_set_range(set, (unsigned)first, (int)last);
		p = *end == ',' ? end + 1 : end;
	}
	return set;
}

static inline const struct policy_group *group_named(const struct policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->n_groups; i++)
		if (strcmp(policy->groups[i].name, name) == 0)
			return &policy->groups[i];
	return NULL;
}

static inline bool listed(const struct policy_group *group, uint32_t os)
{
	for (size_t i = 0; i < group->n_cpus; i++)
		if (hwloc_bitmap_isset(group->cpus[i], os))
			return true;
	return false;
}

static inline unsigned times_listed(const struct policy *policy, uint32_t os)
{
	unsigned n = 0;

	for (size_t i = 0; i < policy->n_groups; i++)
		for (size_t j = 0; j < policy->groups[i].n_cpus; j++)
			n += hwloc_bitmap_isset(policy->groups[i].cpus[j], os);
	return n;
}

/*
 * The policy without the groups from @n on that divide; lists stay, since they come first. What it gives
 * whom is then what the group at @n finds. False: that is no plan.
 */
static inline bool facts_before(const struct plan_input *input, size_t n, struct facts *facts)
{
	struct policy policy = *input->policy;
	struct plan_input before = *input;
	struct plan_problem *problems;
	struct machine machine = *input->machine;
	struct plan *plan = NULL;
	size_t n_problems, kept = 0;
	int r;

	policy.groups = calloc(policy.n_groups + 1, sizeof(*policy.groups));
	if (!policy.groups)
		abort();
	for (size_t i = 0; i < input->policy->n_groups; i++) {
		struct policy_group *group = &policy.groups[kept];
		char name[32];

		if (i >= n && !input->policy->groups[i].cpus)
			continue;
		/* CPUs only: nothing else is to be in the way. */
		*group = input->policy->groups[i];
		snprintf(name, sizeof(name), "%c%zu-{n}", 'a', kept);
		group->name = strdup(name);
		group->memory = MEMORY_PROPORTIONAL;
		group->memory_from = FROM_ANY;
		group->memory_nodes = NULL;
		group->align = 2 * MIB;
		group->n_overrides = group->n_devices = group->n_after = 0;
		kept++;
	}
	policy.n_groups = kept;
	policy.primary.memory = 0;
	before.primary_memory = 0;
	before.policy = &policy;
	/* Memory without end. */
	machine.max_kernels = UINT32_MAX;
	machine.nodes = calloc(machine.n_domains[LEVEL_NODE], sizeof(*machine.nodes));
	for (size_t i = 0; i < machine.n_domains[LEVEL_NODE]; i++)
		machine.nodes[i] = (struct machine_node){ UINT64_C(1) << 45, UINT64_C(1) << 45 };
	before.machine = &machine;
	facts_init(facts, &before);
	facts->input = input;
	r = plan_make(&before, &plan, &problems, &n_problems);
	if (r == 0) {
		for (uint32_t k = 0; k < plan->n_kernels; k++)
			for (size_t i = 0; i < plan->kernels[k].n_cpus; i++)
				facts->kernel[machine_find_cpu(&machine,
							       plan->kernels[k].cpus[i])] = k + 1;
		plan_free(plan);
	} else {
		plan_problems_free(problems, n_problems);
	}
	for (size_t i = 0; i < kept; i++)
		free(policy.groups[i].name);
	free(policy.groups);
	free(machine.nodes);
	return r == 0;
}

static inline bool is_free(const struct facts *facts, uint32_t cpu)
{
	return facts->input->machine->cpus[cpu].state == CPU_USABLE && !facts->kept[cpu] &&
	       !facts->used[cpu] && !facts->kernel[cpu];
}

/* Whether the CPU is one that the group could be given: its siblings too. */
static inline bool can_have(const struct facts *facts, const struct policy_group *group,
			    uint32_t cpu)
{
	const struct machine *machine = facts->input->machine;
	uint32_t core = machine->cpus[cpu].in[LEVEL_CORE];

	if (!is_free(facts, cpu) || !within(machine, group, cpu))
		return false;
	if (group->smt == SMT_APART)
		return true;
	if (core == UNKNOWN)
		return false;
	for (uint32_t i = 0; i < machine->n_cpus; i++)
		if (machine->cpus[i].in[LEVEL_CORE] == core && is_present(facts, i) &&
		    (!is_free(facts, i) || !within(machine, group, i)))
			return false;
	return true;
}

/* Units in domain @domain of the level; counted by their first CPU. */
static inline size_t units_in(const struct facts *facts, const struct policy_group *group,
			      unsigned level, uint32_t domain)
{
	const struct machine *machine = facts->input->machine;
	size_t n = 0;
	uint32_t last = UNKNOWN;

	for (uint32_t i = 0; i < machine->n_cpus; i++) {
		if (machine->cpus[i].in[level] != domain || !can_have(facts, group, i))
			continue;
		if (group->smt == SMT_APART || machine->cpus[i].in[LEVEL_CORE] != last)
			n++;
		last = machine->cpus[i].in[LEVEL_CORE];
	}
	return n;
}

/* How many kernels of @size units can lie inside. */
static inline size_t kernels_of(const struct facts *facts, const struct policy_group *group,
				size_t size)
{
	size_t n = 0;

	for (uint32_t i = 0; i < facts->input->machine->n_domains[group->inside]; i++)
		n += units_in(facts, group, group->inside, i) / size;
	return n;
}

/* How many domains of `per` are wholly free (or, with leftover = "kernel", in part). */
static inline size_t domains_of(const struct facts *facts, const struct policy_group *group)
{
	const struct machine *machine = facts->input->machine;
	size_t n = 0;

	for (uint32_t part = 0; part < machine->n_cpus + 64; part++) {
		bool some = false, all = true;

		for (uint32_t i = 0; i < machine->n_cpus; i++) {
			if (part_of(machine, group->per, i) != part || !is_present(facts, i) ||
			    !within(machine, group, i))
				continue;
			if (can_have(facts, group, i))
				some = true;
			else
				all = false;
		}
		n += some && (all || group->leftover == LEFTOVER_KERNEL);
	}
	return n;
}

static inline const char *check_no_cpus(const struct plan_input *input,
					const struct policy_group *group, unsigned *skipped)
{
	size_t wanted = group->count ? group->count : 1, n;
	struct facts facts;

	if (group->cpus)
		return hwloc_bitmap_iszero(group->cpus[0]) ? NULL : "a list with CPUs";
	if (!facts_before(input, (size_t)(group - input->policy->groups), &facts)) {
		facts_done(&facts);
		++*skipped;
		return NULL;
	}
	if (group->per != PER_NOTHING) {
		n = domains_of(&facts, group);
	} else {
		n = kernels_of(&facts, group, group->cores ? group->cores : 1);
		/* Smaller ones: one of what is left of each domain. */
		for (uint32_t i = 0; group->cores && group->leftover == LEFTOVER_KERNEL &&
				     i < input->machine->n_domains[group->inside];
		     i++)
			n += units_in(&facts, group, group->inside, i) % group->cores > 0;
	}
	facts_done(&facts);
	return n >= wanted ? "there are enough CPUs" : NULL;
}

static inline const char *check_leftover(const struct plan_input *input,
					 const struct policy_group *group,
					 const struct plan_problem *problem, unsigned *skipped)
{
	const struct machine *machine = input->machine;
	hwloc_bitmap_t left = numbers_of(problem->resource);
	bool only_count = group->per == PER_NOTHING && !group->cores;
	const char *what = NULL;
	struct facts facts;
	size_t units = 0, makes = 0, pieces = 0;

	if (group->leftover != LEFTOVER_ERROR && group->leftover != LEFTOVER_SPREAD)
		what = "the policy lets CPUs be left over";
	if (group->count && !only_count)
		what = "so many kernels were asked for, and nothing of the rest";
	if (!facts_before(input, (size_t)(group - input->policy->groups), &facts)) {
		++*skipped;
		goto out;
	}
	for (int os = hwloc_bitmap_first(left); os >= 0 && !what;
	     os = hwloc_bitmap_next(left, os)) {
		uint32_t cpu = machine_find_cpu(machine, (uint32_t)os);

		if (cpu == UNKNOWN || !is_free(&facts, cpu) || !within(machine, group, cpu))
			what = "CPUs that nobody could have left over";
		/* A domain that is wholly free is a kernel. */
		if (!what && group->per != PER_NOTHING) {
			uint32_t part = part_of(machine, group->per, cpu);
			bool all = part != UNKNOWN;

			for (uint32_t i = 0; i < machine->n_cpus; i++)
				if (part_of(machine, group->per, i) == part &&
				    is_present(&facts, i) && within(machine, group, i) &&
				    !can_have(&facts, group, i))
					all = false;
			if (all)
				what = "a domain that is whole";
		}
	}
	for (uint32_t i = 0; i < machine->n_cpus; i++)
		pieces += is_free(&facts, i) && within(machine, group, i) &&
			  (machine->cpus[i].in[group->inside] == UNKNOWN ||
			   (!can_have(&facts, group, i) &&
			    machine->cpus[i].in[LEVEL_CORE] != UNKNOWN));
	for (uint32_t i = 0; i < machine->n_domains[group->inside]; i++) {
		size_t n = units_in(&facts, group, group->inside, i);

		units += n;
		makes += group->cores ? n / group->cores * group->cores : 0;
	}
	if (!what && group->per == PER_NOTHING && group->cores && !pieces && makes == units)
		what = "all CPUs make whole kernels";
	/* With `count` alone, if it goes into all domains without a rest. */
	if (!what && only_count && group->count && !pieces && units % group->count == 0) {
		size_t size = units / group->count;
		bool whole = size > 0;

		for (uint32_t i = 0; whole && i < machine->n_domains[group->inside]; i++)
			whole = units_in(&facts, group, group->inside, i) % size == 0;
		if (whole)
			what = "it can be divided evenly";
	}
	if (!what && only_count && group->leftover == LEFTOVER_SPREAD && !pieces &&
	    group->inside == LEVEL_MACHINE && units >= group->count)
		what = "it can be spread";
out:
	facts_done(&facts);
	hwloc_bitmap_free(left);
	return what;
}

static inline const char *check_cpus_problem(const struct plan_input *input,
					     const struct policy_group *group,
					     const struct plan_problem *problem)
{
	const struct machine *machine = input->machine;
	hwloc_bitmap_t set = numbers_of(problem->resource);
	bool kept = problem->id == PROBLEM_CPU_KEPT, taken = problem->id == PROBLEM_CPU_TAKEN;
	bool offline = problem->id == PROBLEM_CPU_UNUSABLE;
	const char *what = hwloc_bitmap_iszero(set) ? "no CPU is named" : NULL;
	struct facts facts;

	facts_init(&facts, input);
	for (int os = hwloc_bitmap_first(set); os >= 0 && !what; os = hwloc_bitmap_next(set, os)) {
		uint32_t cpu = machine_find_cpu(machine, (uint32_t)os);

		if (!group) {
			if (!input->policy->primary.cpus ||
			    !hwloc_bitmap_isset(input->policy->primary.cpus, (unsigned)os))
				what = "the primary does not ask for it";
			else if (taken ? cpu == UNKNOWN || !facts.used[cpu] : cpu != UNKNOWN)
				what = "nobody has it, or it is there";
			continue;
		}
		if (!listed(group, (uint32_t)os) &&
		    !(offline && group->within_cpus &&
		      hwloc_bitmap_isset(group->within_cpus, (unsigned)os)))
			what = "the group does not ask for it";
		else if (cpu == UNKNOWN)
			what = "it is not there at all";
		else if (kept && !facts.kept[cpu])
			what = "the primary does not keep it";
		else if (taken && !facts.used[cpu] && times_listed(input->policy, (uint32_t)os) < 2)
			what = "nobody else wants it";
		else if (offline && machine->cpus[cpu].state == CPU_USABLE)
			what = "it is usable";
	}
	facts_done(&facts);
	hwloc_bitmap_free(set);
	return what;
}

static inline const char *check_unknown(const struct plan_input *input,
					const struct policy_group *group,
					const struct plan_problem *problem)
{
	const struct machine *machine = input->machine;
	hwloc_bitmap_t set = numbers_of(problem->resource);
	bool nodes = strncmp(problem->resource, "nodes ", 6) == 0;
	bool packages = strncmp(problem->resource, "packages ", 9) == 0;
	enum machine_level level = nodes ? LEVEL_NODE : LEVEL_PACKAGE;
	const char *what = NULL;

	if (strncmp(problem->resource, "cores of the kind", 17) == 0) {
		for (size_t i = 0; i < machine->n_kinds; i++)
			if (strcmp(machine->kinds[i].name, group->within_kind) == 0)
				what = "there are such cores";
		goto out;
	}
	if (!nodes && !packages && !group) {
		what = check_cpus_problem(input, NULL, problem);
		goto out;
	}
	if (hwloc_bitmap_iszero(set))
		what = "nothing is named";
	for (int os = hwloc_bitmap_first(set); os >= 0 && !what; os = hwloc_bitmap_next(set, os)) {
		bool asked = false;

		if (nodes)
			asked = (group->within_nodes &&
				 hwloc_bitmap_isset(group->within_nodes, (unsigned)os)) ||
				(group->memory_nodes &&
				 hwloc_bitmap_isset(group->memory_nodes, (unsigned)os));
		else if (packages)
			asked = hwloc_bitmap_isset(group->within_packages, (unsigned)os);
		else
			asked = listed(group, (uint32_t)os) ||
				(group->within_cpus &&
				 hwloc_bitmap_isset(group->within_cpus, (unsigned)os));
		if (!asked)
			what = "nobody asks for it";
		for (size_t i = 0; (nodes || packages) && i < machine->n_domains[level]; i++)
			if (machine->domains[level][i].os == (uint32_t)os)
				what = "it is there";
		if (!nodes && !packages && machine_find_cpu(machine, (uint32_t)os) != UNKNOWN)
			what = "the CPU is there";
	}
out:
	hwloc_bitmap_free(set);
	return what;
}

static inline const char *check_split(const struct plan_input *input,
				      const struct policy_group *group,
				      const struct plan_problem *problem)
{
	const struct machine *machine = input->machine;
	hwloc_bitmap_t set = numbers_of(problem->resource);
	const char *what = NULL;
	struct facts facts;

	facts_init(&facts, input);
	if (group->smt == SMT_APART)
		what = "the policy lets siblings be apart";
	for (int os = hwloc_bitmap_first(set); os >= 0 && !what; os = hwloc_bitmap_next(set, os)) {
		uint32_t cpu = machine_find_cpu(machine, (uint32_t)os);
		uint32_t core = cpu == UNKNOWN ? UNKNOWN : machine->cpus[cpu].in[LEVEL_CORE];
		bool apart = core == UNKNOWN;

		for (uint32_t i = 0; i < machine->n_cpus && core != UNKNOWN; i++) {
			if (machine->cpus[i].in[LEVEL_CORE] != core || !is_present(&facts, i))
				continue;
			if (group->within_cpus)
				apart |= !hwloc_bitmap_isset(group->within_cpus,
							     machine->cpus[i].os);
			/* In no list with it, or not to be had. */
			for (size_t j = 0; j < group->n_cpus; j++)
				if (hwloc_bitmap_isset(group->cpus[j], (unsigned)os))
					apart |= !hwloc_bitmap_isset(group->cpus[j],
								     machine->cpus[i].os) ||
						 machine->cpus[i].state != CPU_USABLE ||
						 facts.kept[i] || facts.used[i] ||
						 times_listed(input->policy, machine->cpus[i].os) >
							 1;
		}
		if (!apart)
			what = "siblings that are together";
	}
	facts_done(&facts);
	hwloc_bitmap_free(set);
	return what;
}

static inline const char *check_level(const struct plan_input *input,
				      const struct policy_group *group,
				      const struct plan_problem *problem)
{
	const struct machine *machine = input->machine;
	const char *resource = problem->resource;

	if (strncmp(resource, "cores of the kind", 17) == 0 || strcmp(resource, "kind") == 0)
		return machine->n_kinds > 1 ? "there are kinds" : NULL;
	for (unsigned level = 0; level < N_LEVELS; level++) {
		const char *name = level_to_string((enum machine_level)level);
		char word[32];

		if (strcmp(resource, name) == 0)
			return machine->n_domains[level] ? "there are such domains" : NULL;
		snprintf(word, sizeof(word), "{%s}", name);
		if (strncmp(resource, word, strlen(word)) != 0)
			continue;
		if (!strstr(group->name, word))
			return "it is not in the name";
		for (uint32_t i = 0; i < machine->n_cpus; i++)
			if (machine->cpus[i].in[level] == UNKNOWN && is_there(machine, i))
				return NULL;
		return "all CPUs are in one";
	}
	if (strncmp(resource, "{kind}", 6) != 0)
		return "what is it about?";
	for (uint32_t i = 0; i < machine->n_cpus; i++)
		if (machine->cpus[i].kind == UNKNOWN)
			return NULL;
	return "all CPUs are of a kind";
}

/*
 * A copy of the group with another value of a key, as its text in a policy file would be read. False:
 * it is no such key, or no such value.
 */
static inline bool group_set(struct policy_group *group, struct policy_primary *primary,
			     const char *key, const char *value)
{
	static const char *const levels[] = { "core", "l3", "node", "package", "machine" };
	static const char *const leftovers[] = { "error", "primary", "kernel", "spread" };
	static const char *const pers[] = { "", "thread", "core", "l3", "node", "package", "kind" };
	hwloc_bitmap_t set = NULL;
	uint64_t bytes;
	unsigned i;

	if (primary) {
		if (strcmp(key, "cores") == 0)
			return (primary->cores = (unsigned)strtoul(value, NULL, 10)) > 0;
		for (i = 0; strcmp(key, "keep") == 0 && i < 4; i++)
			if (strcmp(value, levels[i]) == 0) {
				primary->keep = i;
				return true;
			}
		return false;
	}
	if (strcmp(key, "count") == 0)
		return (group->count = (unsigned)strtoul(value, NULL, 10)) > 0;
	if (strcmp(key, "cores") == 0)
		return (group->cores = (unsigned)strtoul(value, NULL, 10)) > 0;
	if (strcmp(key, "smt") == 0 && strcmp(value, "apart") == 0) {
		group->smt = SMT_APART;
		return true;
	}
	for (i = 0; strcmp(key, "leftover") == 0 && i < 4; i++)
		if (strcmp(value, leftovers[i]) == 0) {
			group->leftover = (enum policy_leftover)i;
			return true;
		}
	for (i = 1; strcmp(key, "per") == 0 && i < 7; i++)
		if (strcmp(value, pers[i]) == 0) {
			group->per = (enum policy_per)i;
			return true;
		}
	for (i = 0; strcmp(key, "inside") == 0 && i < 5; i++)
		if (strcmp(value, levels[i]) == 0) {
			group->inside = i;
			return true;
		}
	if (strcmp(key, "memory_from") == 0 && strcmp(value, "any") == 0) {
		group->memory_from = FROM_ANY;
		return group->memory_nodes == NULL;
	}
	if (strcmp(key, "memory") == 0 && parse_memory(value, &bytes, NULL) == 0) {
		group->memory = MEMORY_FIXED;
		group->memory_bytes = bytes;
		return true;
	}
	if (strcmp(key, "align") == 0 && parse_memory(value, &bytes, NULL) == 0) {
		group->align = bytes;
		return true;
	}
	/* For group_unset(). */
	if (strcmp(key, "name") == 0) {
		group->name = strdup(value);
		return true;
	}
	if (strcmp(key, "within.kind") == 0) {
		group->within_kind = strdup(value);
		return true;
	}
	if (parse_cpus(value, &set, NULL) < 0)
		return false;
	if (strcmp(key, "within.cpus") == 0)
		group->within_cpus = set;
	else if (strcmp(key, "within.nodes") == 0)
		group->within_nodes = set;
	else if (strcmp(key, "within.packages") == 0)
		group->within_packages = set;
	else if (strcmp(key, "memory_nodes") == 0)
		group->memory_nodes = set;
	else
		return false;
	return true;
}

/* Lets go of what group_set() allocated. */
static inline void group_unset(struct policy_group *group, const struct policy_group *original)
{
	if (group->name != original->name)
		free(group->name);
	if (group->within_kind != original->within_kind)
		free(group->within_kind);
	if (group->within_cpus != original->within_cpus)
		hwloc_bitmap_free(group->within_cpus);
	if (group->within_nodes != original->within_nodes)
		hwloc_bitmap_free(group->within_nodes);
	if (group->within_packages != original->within_packages)
		hwloc_bitmap_free(group->within_packages);
	if (group->memory_nodes != original->memory_nodes)
		hwloc_bitmap_free(group->memory_nodes);
}

/* Whether memory could have been had after all, where that is easy to count. */
static inline const char *check_memory(const struct plan_input *input,
				       const struct policy_group *group, unsigned *skipped)
{
	const struct machine *machine = input->machine;
	size_t n_nodes = machine->n_domains[LEVEL_NODE];
	uint64_t align, all = 0, *left;
	const char *what = NULL;
	struct facts facts;

	for (size_t i = 0; i < n_nodes; i++)
		all += machine->nodes[i].memory - used_of(input, i);
	if (!group)
		return all >= input->primary_memory && all >= input->policy->primary.memory
			       ? "there is enough for the primary"
			       : NULL;
	if (group->memory == MEMORY_FIXED && group->memory_bytes < PLAN_MEMORY_MIN)
		return NULL;
	/* Counted again where there is nobody else to count: one group, fixed, from its own nodes. */
	if (group->memory != MEMORY_FIXED || input->policy->n_groups != 1 ||
	    group->memory_from == FROM_INTERLEAVE || input->primary_memory ||
	    input->policy->primary.memory) {
		++*skipped;
		return NULL;
	}
	if (!facts_before(input, 1, &facts)) {
		facts_done(&facts);
		++*skipped;
		return NULL;
	}
	align = group->align ? group->align : machine->block_size;
	left = calloc(n_nodes, sizeof(*left));
	if (!left)
		abort();
	for (size_t i = 0; i < n_nodes; i++)
		left[i] = usable_of(machine, i) - used_of(input, i);
	for (uint32_t kernel = 1;; kernel++) {
		size_t *weight = calloc(n_nodes, sizeof(*weight));
		size_t *given = calloc(n_nodes, sizeof(*given));
		uint64_t units = group->memory_bytes / align, missing = 0;
		bool some = false, local = false;

		for (uint32_t i = 0; i < machine->n_cpus; i++) {
			uint32_t node = machine->cpus[i].in[LEVEL_NODE], threads = 0;

			if (facts.kernel[i] != kernel)
				continue;
			some = true;
			if (node == UNKNOWN || !usable_of(machine, node))
				continue;
			for (uint32_t j = 0; j < machine->n_cpus; j++)
				threads += machine->cpus[j].in[LEVEL_CORE] ==
						   machine->cpus[i].in[LEVEL_CORE] &&
					   is_present(&facts, j);
			weight[node] +=
				machine->cpus[i].in[LEVEL_CORE] == UNKNOWN ? 840 : 840 / threads;
			local = true;
		}
		/* D'Hondt, one by one. */
		for (uint64_t u = 0; local && u < units; u++) {
			size_t best = 0;

			for (size_t i = 1; i < n_nodes; i++)
				if (weight[i] * (given[best] + 1) > weight[best] * (given[i] + 1))
					best = i;
			given[best]++;
		}
		if (some && !local)
			missing = units;
		for (size_t i = 0; i < n_nodes; i++) {
			uint64_t fits = left[i] / align;

			missing += given[i] > fits ? given[i] - fits : 0;
			left[i] -= (given[i] < fits ? given[i] : fits) * align;
		}
		for (size_t i = 0; group->memory_from == FROM_ANY && i < n_nodes; i++) {
			uint64_t more = left[i] / align < missing ? left[i] / align : missing;

			missing -= more;
			left[i] -= more * align;
		}
		free(weight);
		free(given);
		if (missing)
			break;
		if (!some) {
			what = "all kernels can have it";
			break;
		}
	}
	free(left);
	facts_done(&facts);
	return what;
}

static inline const char *check_device(const struct plan_input *input,
				       const struct policy_group *group,
				       const struct plan_problem *problem)
{
	const struct machine *machine = input->machine;
	const struct policy_selector *selectors =
		group ? group->devices : input->policy->primary.near;
	size_t n = group ? group->n_devices : input->policy->primary.n_near;
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		bool matches = false;

		for (size_t d = 0; d < machine->n_devices; d++) {
			bool others = false;

			if (!selects(&selectors[i], &machine->devices[d]))
				continue;
			matches = true;
			for (size_t j = 0; j < input->policy->primary.n_near; j++)
				others |= selects(&input->policy->primary.near[j],
						  &machine->devices[d]);
			for (size_t g = 0; g < input->policy->n_groups; g++)
				for (size_t j = 0; j < input->policy->groups[g].n_devices; j++)
					others |= &input->policy->groups[g] != group &&
						  selects(&input->policy->groups[g].devices[j],
							  &machine->devices[d]);
			if (problem->id == PROBLEM_DEVICE_TAKEN && others &&
			    strstr(problem->resource, machine->devices[d].address))
				found = true;
		}
		if (problem->id == PROBLEM_DEVICE_UNKNOWN && !matches &&
		    selectors[i].kind != SELECT_NEAR &&
		    strstr(problem->resource, selectors[i].value))
			found = true;
	}
	return found ? NULL : "the device can be had";
}

static inline const char *check_too_many(const struct plan_input *input)
{
	const char *what = NULL;
	struct facts facts;
	uint32_t n = 0;

	if (facts_before(input, input->policy->n_groups, &facts)) {
		for (size_t i = 0; i < input->machine->n_cpus; i++)
			n = facts.kernel[i] > n ? facts.kernel[i] : n;
		if (n + input->n_used <= input->machine->max_kernels)
			what = "there is room for all";
	}
	facts_done(&facts);
	return what;
}

static inline const char *problem_check(const struct plan_input *input,
					const struct plan_problem *problem, unsigned *skipped)
{
	bool primary = strcmp(problem->group, "primary") == 0;
	const struct policy_group *group =
		primary ? NULL : group_named(input->policy, problem->group);
	uint64_t align;

	if (!primary && !group)
		return "of a group that is not there";
	if (!problem->resource || !problem->asked || !problem->suggestion)
		return "does not say enough";
	switch (problem->id) {
	case PROBLEM_CPU_UNKNOWN:
		return check_unknown(input, group, problem);
	case PROBLEM_CPU_UNUSABLE:
	case PROBLEM_CPU_KEPT:
	case PROBLEM_CPU_TAKEN:
		return check_cpus_problem(input, group, problem);
	case PROBLEM_NO_CPUS:
		if (!primary)
			return check_no_cpus(input, group, skipped);
		++*skipped;
		return input->policy->primary.cores ? NULL : "no cores were asked for";
	case PROBLEM_SMT_SPLIT:
		return check_split(input, group, problem);
	case PROBLEM_LEFTOVER:
		return check_leftover(input, group, problem, skipped);
	case PROBLEM_NO_LEVEL:
		return check_level(input, group, problem);
	case PROBLEM_NO_MEMORY:
		return check_memory(input, group, skipped);
	case PROBLEM_MEMORY_ALIGN:
		align = group->align ? group->align : input->machine->block_size;
		return group->memory != MEMORY_FIXED ? "no fixed size"
		       : group->memory_from != FROM_INTERLEAVE && group->memory_bytes % align == 0
			       ? "it is a multiple"
			       : NULL;
	case PROBLEM_DEVICE_UNKNOWN:
	case PROBLEM_DEVICE_TAKEN:
		return check_device(input, group, problem);
	case PROBLEM_NAME_TWICE:
		if (strncmp(problem->resource, "the override", 12) == 0)
			return group->n_overrides ? NULL : "there is no override";
		++*skipped;
		return NULL;
	case PROBLEM_TOO_MANY:
		return check_too_many(input);
	}
	return "an unknown problem";
}
