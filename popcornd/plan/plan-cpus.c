// SPDX-License-Identifier: GPL-2.0-or-later
/* Who gets which CPUs: the primary, others, explicit lists, groups that divide what is left. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "plan-internal.h"
#include "util.h"

hwloc_bitmap_t bitmap_new(struct planner *p)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();

	if (!set)
		p->no_memory = true;
	return set;
}

void bitmap_add(struct planner *p, hwloc_bitmap_t set, uint32_t cpu)
{
	if (!set || hwloc_bitmap_set(set, p->machine->cpus[cpu].os) < 0)
		p->no_memory = true;
}

size_t draft_new(struct planner *p, uint32_t group, uint32_t order)
{
	if (p->n_drafts == p->drafts_room) {
		size_t room = p->drafts_room ? 2 * p->drafts_room : 64;
		struct draft *more = realloc(p->drafts, room * sizeof(*more));

		if (!more) {
			p->no_memory = true;
			return SIZE_MAX;
		}
		p->drafts = more;
		p->drafts_room = room;
	}
	p->drafts[p->n_drafts] = (struct draft){ group, order };
	return p->n_drafts++;
}

bool core_is(const struct planner *p, const struct machine_domain *core, uint32_t owner)
{
	bool some = false;

	for (uint32_t cpu = core->first_cpu; cpu < core->first_cpu + core->n_cpus; cpu++) {
		if (p->owner[cpu] == OWNER_OFFLINE)
			continue;
		if (p->owner[cpu] != owner)
			return false;
		some = true;
	}
	return some;
}

/* The primary. */

static void grow(struct planner *p, enum machine_level level)
{
	const struct machine *m = p->machine;
	_cleanup_bitmap_ hwloc_bitmap_t gone = bitmap_new(p);

	for (size_t i = 0; gone && i < m->n_domains[level]; i++) {
		const struct machine_domain *domain = &m->domains[level][i];
		bool has_some = false;

		for (uint32_t cpu = domain->first_cpu; cpu < domain->first_cpu + domain->n_cpus;
		     cpu++)
			has_some |= p->owner[cpu] == OWNER_PRIMARY;
		for (uint32_t cpu = domain->first_cpu;
		     has_some && cpu < domain->first_cpu + domain->n_cpus; cpu++) {
			if (p->owner[cpu] == OWNER_FREE)
				p->owner[cpu] = OWNER_PRIMARY;
			else if (p->owner[cpu] >= OWNER_USED)
				bitmap_add(p, gone, cpu);
		}
	}
	if (gone && !hwloc_bitmap_iszero(gone))
		note(p, NOTE_WARNING, NULL,
		     "other kernels have %s, which the primary would keep to have its %s whole",
		     CPUS_TEXT(gone), level_to_string(level));
}

static void keep_listed(struct planner *p, hwloc_const_bitmap_t list)
{
	const struct machine *m = p->machine;
	_cleanup_bitmap_ hwloc_bitmap_t unknown = bitmap_new(p);
	_cleanup_bitmap_ hwloc_bitmap_t taken = bitmap_new(p);
	uint32_t owner = OWNER_FREE;

	if (!unknown || !taken || hwloc_bitmap_andnot(unknown, list, p->known) < 0) {
		p->no_memory = true;
		return;
	}
	if (!hwloc_bitmap_iszero(unknown)) {
		struct plan_problem *problem = problem_new(p, PROBLEM_CPU_UNKNOWN, GROUP_PRIMARY);

		text_set(p, &problem->resource, "%s", CPUS_TEXT(unknown));
		text_set(p, &problem->asked, "the primary is to keep %s", CPUS_TEXT(list));
		text_set(p, &problem->available, "the machine has %s", CPUS_TEXT(p->known));
		text_set(p, &problem->suggestion, "leave %s out of primary.cpus",
			 CPUS_TEXT(unknown));
	}
	for (uint32_t cpu = 0; cpu < m->n_cpus; cpu++) {
		if (!hwloc_bitmap_isset(list, m->cpus[cpu].os))
			continue;
		if (p->owner[cpu] == OWNER_FREE)
			p->owner[cpu] = OWNER_PRIMARY;
		else if (p->owner[cpu] >= OWNER_USED) {
			if (owner == OWNER_FREE)
				owner = p->owner[cpu];
			if (owner == p->owner[cpu])
				bitmap_add(p, taken, cpu);
		}
	}
	if (!hwloc_bitmap_iszero(taken)) {
		struct plan_problem *problem = problem_new(p, PROBLEM_CPU_TAKEN, GROUP_PRIMARY);

		text_set(p, &problem->resource, "%s", CPUS_TEXT(taken));
		text_set(p, &problem->owner, "%s", OWNER_TEXT(p, owner));
		text_set(p, &problem->asked, "the primary is to keep %s", CPUS_TEXT(list));
		text_set(p, &problem->available, "%s has %s", OWNER_TEXT(p, owner),
			 CPUS_TEXT(taken));
		text_set(p, &problem->suggestion, "stop %s, or leave %s out of primary.cpus",
			 OWNER_TEXT(p, owner), CPUS_TEXT(taken));
	}
}

static bool core_has(const struct planner *p, const struct machine_domain *core, uint32_t owner)
{
	for (uint32_t cpu = core->first_cpu; cpu < core->first_cpu + core->n_cpus; cpu++)
		if (p->owner[cpu] == owner)
			return true;
	return false;
}

static void keep_cores(struct planner *p, unsigned wanted)
{
	const struct machine *m = p->machine;
	size_t n = 0;

	for (size_t i = 0; i < m->n_domains[LEVEL_CORE]; i++)
		n += core_has(p, &m->domains[LEVEL_CORE][i], OWNER_PRIMARY);
	for (size_t i = 0; i < m->n_domains[LEVEL_CORE] && n < wanted; i++) {
		const struct machine_domain *core = &m->domains[LEVEL_CORE][i];

		if (!core_is(p, core, OWNER_FREE))
			continue;
		for (uint32_t cpu = core->first_cpu; cpu < core->first_cpu + core->n_cpus; cpu++)
			if (p->owner[cpu] == OWNER_FREE)
				p->owner[cpu] = OWNER_PRIMARY;
		n++;
	}
	if (n < wanted) {
		struct plan_problem *problem = problem_new(p, PROBLEM_NO_CPUS, GROUP_PRIMARY);

		text_set(p, &problem->resource, "cores");
		text_set(p, &problem->asked, "the primary is to keep %u cores", wanted);
		text_set(p, &problem->available, "it can have %zu", n);
		text_set(p, &problem->suggestion, "let it keep %zu, or fewer", n);
		if (n)
			suggest(p, problem, "cores", "%zu", n);
	}
}

/* The CPUs that a device of primary.near is near to. */
static void keep_near(struct planner *p, const struct policy_selector *selector)
{
	const struct machine *m = p->machine;
	bool found = false;

	for (size_t i = 0; i < m->n_devices; i++) {
		const struct machine_device *device = &m->devices[i];

		if (!device_matches(device, selector))
			continue;
		found = true;
		if (device->n_cpus == 0 || device->n_cpus >= m->n_cpus) {
			note(p, NOTE_INFO, NULL,
			     "device %s is equally near to all CPUs: the primary keeps none for it",
			     device->address);
			continue;
		}
		for (uint32_t cpu = device->first_cpu; cpu < device->first_cpu + device->n_cpus;
		     cpu++)
			if (p->owner[cpu] == OWNER_FREE)
				p->owner[cpu] = OWNER_PRIMARY;
	}
	if (!found) {
		struct plan_problem *problem =
			problem_new(p, PROBLEM_DEVICE_UNKNOWN, GROUP_PRIMARY);

		problem->line = selector->line;
		text_set(p, &problem->resource, "device \"%s\"",
			 selector->value ? selector->value : "near");
		text_set(p, &problem->asked, "the primary is to keep the CPUs near to it");
		text_set(p, &problem->available,
			 "none of the %zu devices that are known of the machine is one",
			 m->n_devices);
		text_set(p, &problem->suggestion,
			 "leave it out of primary.near; 'popcornctl topology' shows the devices");
	}
}

static void plan_primary(struct planner *p)
{
	const struct policy_primary *primary = &p->policy->primary;
	const struct machine *m = p->machine;

	if (m->cpus[p->boot].state != CPU_OFFLINE)
		p->owner[p->boot] = OWNER_PRIMARY;
	/* One that is not there can't be lent either. */
	for (uint32_t cpu = 0; p->input->primary_cpus && cpu < m->n_cpus; cpu++)
		if (p->owner[cpu] == OWNER_FREE &&
		    hwloc_bitmap_isset(p->input->primary_cpus, m->cpus[cpu].os))
			p->owner[cpu] = OWNER_PRIMARY;
	if (primary->cpus)
		keep_listed(p, primary->cpus);
	keep_cores(p, primary->cores);
	for (size_t i = 0; i < primary->n_near; i++)
		keep_near(p, &primary->near[i]);
	if (m->n_domains[primary->keep] == 0) {
		struct plan_problem *problem = problem_new(p, PROBLEM_NO_LEVEL, GROUP_PRIMARY);

		text_set(p, &problem->resource, "%s",
			 level_to_string((enum machine_level)primary->keep));
		text_set(p, &problem->asked, "the primary is to keep whole ones");
		text_set(p, &problem->available, "nothing on this machine is known to be one");
		text_set(p, &problem->suggestion, "let it keep whole nodes");
		suggest(p, problem, "keep", "node");
	}
	grow(p, (enum machine_level)primary->keep);
	/* Of a CPU that is in no such domain, and of a domain that is odd: at least the core. */
	grow(p, LEVEL_CORE);
}

/* The first one from @os on that the machine has; or -1. A set may be infinite, a machine is not. */
static int next_known(const struct planner *p, hwloc_const_bitmap_t set, int previous)
{
	int os = hwloc_bitmap_next(set, previous);

	while (os >= 0 && !hwloc_bitmap_isset(p->known, (unsigned)os))
		os = os > hwloc_bitmap_last(p->known) ? -1 : hwloc_bitmap_next(set, os);
	return os;
}

static void plan_used(struct planner *p)
{
	for (size_t i = 0; i < p->input->n_used; i++) {
		hwloc_const_bitmap_t cpus = p->input->used[i].cpus;

		for (int os = next_known(p, cpus, -1); os >= 0; os = next_known(p, cpus, os)) {
			uint32_t *owner = &p->owner[machine_find_cpu(p->machine, (uint32_t)os)];

			if (*owner < OWNER_USED)
				*owner = (uint32_t)(OWNER_USED + i);
		}
	}
}

/* Explicit lists. */

/* One problem for all CPUs of @list that have @owner; @draft: the list's own. */
static void problem_owner(struct planner *p, uint32_t group, hwloc_const_bitmap_t list,
			  uint32_t owner, size_t which)
{
	const struct machine *m = p->machine;
	_cleanup_bitmap_ hwloc_bitmap_t cpus = bitmap_new(p);
	struct plan_problem *problem;

	for (uint32_t cpu = 0; cpus && cpu < m->n_cpus; cpu++)
		if (p->owner[cpu] == owner && hwloc_bitmap_isset(list, m->cpus[cpu].os))
			bitmap_add(p, cpus, cpu);
	if (!cpus)
		return;
	problem = problem_new(p,
			      owner == OWNER_PRIMARY  ? PROBLEM_CPU_KEPT
			      : owner < OWNER_PRIMARY ? PROBLEM_CPU_UNUSABLE
						      : PROBLEM_CPU_TAKEN,
			      group);
	text_set(p, &problem->resource, "%s", CPUS_TEXT(cpus));
	text_set(p, &problem->asked, "list %zu asks for %s", which + 1, CPUS_TEXT(list));
	if (owner == OWNER_OFFLINE) {
		text_set(p, &problem->available, "%s: offline", CPUS_TEXT(cpus));
		text_set(p, &problem->suggestion, "bring %s online, or leave %s out of the list",
			 CPUS_TEXT(cpus), hwloc_bitmap_weight(cpus) == 1 ? "it" : "them");
		return;
	}
	text_set(p, &problem->owner, "%s", OWNER_TEXT(p, owner));
	text_set(p, &problem->available, "%s has %s", OWNER_TEXT(p, owner), CPUS_TEXT(cpus));
	if (owner >= OWNER_USED && !owner_is_draft(p, owner))
		text_set(p, &problem->suggestion, "stop %s, or leave %s out of the list",
			 OWNER_TEXT(p, owner), CPUS_TEXT(cpus));
	else
		text_set(p, &problem->suggestion, "leave %s out of one of the two",
			 CPUS_TEXT(cpus));
}

static void plan_list(struct planner *p, uint32_t index, size_t which)
{
	const struct policy_group *group = &p->policy->groups[index];
	const struct machine *m = p->machine;
	hwloc_const_bitmap_t list = group->cpus[which];
	_cleanup_bitmap_ hwloc_bitmap_t unknown = bitmap_new(p);
	size_t draft = draft_new(p, index, (uint32_t)which), n_seen = 0, n = 0;
	uint32_t own = owner_of_draft(p, draft), seen[PLAN_PROBLEMS_MAX];

	if (!unknown || draft == SIZE_MAX || hwloc_bitmap_andnot(unknown, list, p->known) < 0) {
		p->no_memory = true;
		return;
	}
	if (!hwloc_bitmap_iszero(unknown)) {
		struct plan_problem *problem = problem_new(p, PROBLEM_CPU_UNKNOWN, index);

		text_set(p, &problem->resource, "%s", CPUS_TEXT(unknown));
		text_set(p, &problem->asked, "list %zu asks for %s", which + 1, CPUS_TEXT(list));
		text_set(p, &problem->available, "the machine has %s", CPUS_TEXT(p->known));
		text_set(p, &problem->suggestion, "leave %s out of the list", CPUS_TEXT(unknown));
	}
	for (int os = next_known(p, list, -1); os >= 0; os = next_known(p, list, os)) {
		uint32_t cpu = machine_find_cpu(m, (uint32_t)os), owner = p->owner[cpu];
		size_t i = 0;

		n++;
		if (owner == OWNER_FREE) {
			p->owner[cpu] = own;
			continue;
		}
		while (i < n_seen && seen[i] != owner)
			i++;
		if (i < n_seen || n_seen == ARRAY_SIZE(seen))
			continue;
		seen[n_seen++] = owner;
		problem_owner(p, index, list, owner, which);
	}
	if (n == 0 && hwloc_bitmap_iszero(unknown)) {
		struct plan_problem *problem = problem_new(p, PROBLEM_NO_CPUS, index);

		text_set(p, &problem->resource, "CPUs");
		text_set(p, &problem->asked, "list %zu asks for none", which + 1);
		text_set(p, &problem->suggestion, "write at least one CPU in it");
	}
}

/* When all lists have theirs: two lists of one group may not share a core either. */
static void check_list_siblings(struct planner *p, uint32_t index, size_t which, uint32_t own)
{
	const struct policy_group *group = &p->policy->groups[index];
	const struct machine *m = p->machine;
	_cleanup_bitmap_ hwloc_bitmap_t here = bitmap_new(p), there = bitmap_new(p);
	struct plan_problem *problem;
	uint32_t other = OWNER_FREE;
	bool homeless = false;

	if (!here || !there)
		return;
	for (int os = next_known(p, group->cpus[which], -1); os >= 0;
	     os = next_known(p, group->cpus[which], os)) {
		uint32_t cpu = machine_find_cpu(m, (uint32_t)os), core;

		if (p->owner[cpu] != own)
			continue;
		core = m->cpus[cpu].in[LEVEL_CORE];
		if (core == UNKNOWN) {
			homeless = true;
			bitmap_add(p, here, cpu);
			continue;
		}
		for (uint32_t i = m->domains[LEVEL_CORE][core].first_cpu;
		     i <
		     m->domains[LEVEL_CORE][core].first_cpu + m->domains[LEVEL_CORE][core].n_cpus;
		     i++) {
			if (p->owner[i] == own || p->owner[i] == OWNER_OFFLINE)
				continue;
			other = p->owner[i];
			bitmap_add(p, here, cpu);
			bitmap_add(p, there, i);
		}
	}
	if (hwloc_bitmap_iszero(here))
		return;
	problem = problem_new(p, PROBLEM_SMT_SPLIT, index);
	text_set(p, &problem->resource, "%s", CPUS_TEXT(here));
	text_set(p, &problem->asked, "list %zu asks for %s", which + 1,
		 CPUS_TEXT(group->cpus[which]));
	if (hwloc_bitmap_iszero(there)) {
		text_set(p, &problem->available, "nobody knows with which CPUs %s %s a core",
			 CPUS_TEXT(here), hwloc_bitmap_weight(here) == 1 ? "shares" : "share");
		text_set(p, &problem->suggestion, "write smt = \"apart\" if that does not matter");
	} else {
		text_set(p, &problem->owner, "%s",
			 other == OWNER_FREE ? "the primary" : OWNER_TEXT(p, other));
		text_set(p, &problem->available,
			 "%s %s to the same cores, and would not go with it%s", CPUS_TEXT(there),
			 hwloc_bitmap_weight(there) == 1 ? "belongs" : "belong",
			 homeless ? "; of others nobody knows the core" : "");
		text_set(p, &problem->suggestion,
			 "put %s into the same list, or write smt = \"apart\" if two kernels may "
			 "share a core",
			 CPUS_TEXT(there));
	}
	suggest(p, problem, "smt", "apart");
}

static void plan_lists(struct planner *p)
{
	size_t draft = 0;

	for (uint32_t i = 0; i < p->policy->n_groups; i++)
		for (size_t j = 0; j < p->policy->groups[i].n_cpus && !p->no_memory; j++)
			plan_list(p, i, j);
	for (uint32_t i = 0; i < p->policy->n_groups; i++)
		for (size_t j = 0; j < p->policy->groups[i].n_cpus && !p->no_memory; j++, draft++)
			if (p->policy->groups[i].smt == SMT_TOGETHER)
				check_list_siblings(p, i, j, owner_of_draft(p, draft));
}

/* What nobody got, and why. */
static void note_leftovers(struct planner *p)
{
	const struct machine *m = p->machine;

	_cleanup_bitmap_ hwloc_bitmap_t left = bitmap_new(p), hidden = bitmap_new(p);
	bool *some = calloc(p->policy->n_groups + 1, sizeof(*some));

	if (!left || !hidden || !some) {
		free(some);
		p->no_memory = true;
		return;
	}
	for (uint32_t cpu = 0; cpu < m->n_cpus; cpu++)
		if (p->owner[cpu] == OWNER_FREE)
			some[p->left_by[cpu]] = true;
	for (uint32_t group = 0; group <= p->policy->n_groups; group++) {
		if (!some[group])
			continue;
		hwloc_bitmap_zero(left);
		for (uint32_t cpu = 0; cpu < m->n_cpus; cpu++)
			if (p->owner[cpu] == OWNER_FREE && p->left_by[cpu] == group)
				bitmap_add(p,
					   group == 0 && m->cpus[cpu].in[LEVEL_CORE] == UNKNOWN
						   ? hidden
						   : left,
					   cpu);
		if (group)
			note(p, NOTE_WARNING, NULL,
			     "no whole kernel of group '%s' can be made of %s: left to the primary",
			     p->policy->groups[group - 1].name, CPUS_TEXT(left));
		else if (!hwloc_bitmap_iszero(left))
			note(p, NOTE_WARNING, NULL, "no group asks for %s: left to the primary",
			     CPUS_TEXT(left));
	}
	free(some);
	if (!hwloc_bitmap_iszero(hidden))
		note(p, NOTE_WARNING, NULL,
		     "nobody knows to which cores %s belong: left to the primary, unless a group "
		     "with smt = \"apart\" asks for them",
		     CPUS_TEXT(hidden));
}

int plan_cpus(struct planner *p)
{
	const struct machine *m = p->machine;
	int r = 0;

	for (uint32_t cpu = 0; cpu < m->n_cpus; cpu++) {
		switch (m->cpus[cpu].state) {
		case CPU_USABLE:
			p->owner[cpu] = OWNER_FREE;
			break;
		case CPU_OFFLINE:
			p->owner[cpu] = OWNER_OFFLINE;
			break;
		case CPU_NOT_ALLOWED:
			p->owner[cpu] = OWNER_NOT_ALLOWED;
			break;
		}
		bitmap_add(p, p->known, cpu);
	}
	plan_used(p);
	plan_primary(p);
	plan_lists(p);
	for (uint32_t i = 0; i < p->policy->n_groups && r == 0; i++)
		if (!p->policy->groups[i].cpus)
			r = plan_group(p, i);
	if (r == 0 && !p->n_problems)
		note_leftovers(p);
	return p->no_memory ? -ENOMEM : r;
}
