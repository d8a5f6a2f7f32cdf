// SPDX-License-Identifier: GPL-2.0-or-later
/* How a group divides what those before it have left. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "plan-internal.h"
#include "util.h"

/* What is divided: a core, or with smt "apart" a thread. Its CPUs are the free ones of a run. */
struct unit {
	uint32_t first, n_cpus;
	uint32_t domain;  /* scratch: what it is in, by the division's key */
	uint32_t cluster; /* 0, or 1 + its draft */
};

/* One group that divides. */
struct division {
	struct planner *p;
	const struct policy_group *group;
	uint32_t index;
	bool apart;
	struct unit *units; /* wholly free, in the order of the machine */
	size_t n_units;
	unsigned n_kernels;
	uint32_t *scratch; /* of each unit */
};

/* How many cores, or whatever a group's units are, "1 core", "3 threads". */
static const char *units_text(bool apart, size_t n, char buf[32])
{
	snprintf(buf, 32, "%zu %s%s", n, apart ? "thread" : "core", n == 1 ? "" : "s");
	return buf;
}

#define UNITS_TEXT(apart, n) units_text((apart), (n), (char[32]){ 0 })

static bool is_within(const struct planner *p, const struct policy_group *group, uint32_t index)
{
	const struct machine *m = p->machine;
	const struct machine_cpu *cpu = &m->cpus[index];

	if (group->within_cpus && !hwloc_bitmap_isset(group->within_cpus, cpu->os))
		return false;
	if (group->within_nodes &&
	    (cpu->in[LEVEL_NODE] == UNKNOWN ||
	     !hwloc_bitmap_isset(group->within_nodes,
				 m->domains[LEVEL_NODE][cpu->in[LEVEL_NODE]].os)))
		return false;
	if (group->within_packages &&
	    (cpu->in[LEVEL_PACKAGE] == UNKNOWN ||
	     !hwloc_bitmap_isset(group->within_packages,
				 m->domains[LEVEL_PACKAGE][cpu->in[LEVEL_PACKAGE]].os)))
		return false;
	return !group->within_kind ||
	       (cpu->kind != UNKNOWN && strcmp(m->kinds[cpu->kind].name, group->within_kind) == 0);
}

static void problem_unknown(struct planner *p, uint32_t index, const char *what, const char *key,
			    hwloc_const_bitmap_t asked, hwloc_const_bitmap_t there)
{
	_cleanup_bitmap_ hwloc_bitmap_t unknown = bitmap_new(p), rest = bitmap_new(p);
	_cleanup_free_ char *list = NULL, *all = NULL, *left = NULL;
	struct plan_problem *problem;

	if (!unknown || !rest || hwloc_bitmap_andnot(unknown, asked, there) < 0 ||
	    hwloc_bitmap_and(rest, asked, there) < 0 ||
	    hwloc_bitmap_list_asprintf(&list, unknown) < 0 ||
	    hwloc_bitmap_list_asprintf(&all, there) < 0 ||
	    hwloc_bitmap_list_asprintf(&left, rest) < 0) {
		p->no_memory = true;
		return;
	}
	if (hwloc_bitmap_iszero(unknown))
		return;
	problem = problem_new(p, PROBLEM_CPU_UNKNOWN, index);
	text_set(p, &problem->resource, "%s %s", what, list);
	text_set(p, &problem->asked, "the group divides what is within it");
	text_set(p, &problem->available, "the machine has %s %s", what, all);
	text_set(p, &problem->suggestion, "leave %s out of %s", list, key);
	if (*left)
		suggest(p, problem, key, "%s", left);
}

static hwloc_bitmap_t domain_numbers(struct planner *p, enum machine_level level)
{
	hwloc_bitmap_t set = bitmap_new(p);

	for (size_t i = 0; set && i < p->machine->n_domains[level]; i++)
		if (p->machine->domains[level][i].os != UNKNOWN &&
		    hwloc_bitmap_set(set, p->machine->domains[level][i].os) < 0)
			p->no_memory = true;
	return set;
}

static void check_kind(struct planner *p, uint32_t index, const char *kind)
{
	const struct machine *m = p->machine;
	struct plan_problem *problem;
	char names[256] = "";

	for (size_t i = 0; i < m->n_kinds; i++) {
		size_t n = strlen(names);

		if (strcmp(m->kinds[i].name, kind) == 0)
			return;
		snprintf(names + n, sizeof(names) - n, "%s%s", n ? ", " : "", m->kinds[i].name);
	}
	problem = problem_new(p, m->n_kinds > 1 ? PROBLEM_CPU_UNKNOWN : PROBLEM_NO_LEVEL, index);
	text_set(p, &problem->resource, "cores of the kind \"%s\"", kind);
	text_set(p, &problem->asked, "the group divides what is within it");
	if (m->n_kinds > 1) {
		text_set(p, &problem->available, "the machine has these kinds: %s", names);
		text_set(p, &problem->suggestion, "name one of these");
		suggest(p, problem, "within.kind", "%s", m->kinds[0].name);
	} else {
		text_set(p, &problem->available, "all cores of the machine are alike");
		text_set(p, &problem->suggestion, "leave within.kind out");
	}
}

/* CPUs of within.cpus that can't be divided as they stand there. */
static void check_within_cpus(struct planner *p, uint32_t index)
{
	const struct policy_group *group = &p->policy->groups[index];
	const struct machine *m = p->machine;
	_cleanup_bitmap_ hwloc_bitmap_t offline = bitmap_new(p), cut = bitmap_new(p);
	_cleanup_bitmap_ hwloc_bitmap_t better = hwloc_bitmap_dup(group->within_cpus);
	_cleanup_free_ char *list = NULL;
	struct plan_problem *problem;

	if (!offline || !cut || !better) {
		p->no_memory = true;
		return;
	}
	problem_unknown(p, index, "CPUs", "within.cpus", group->within_cpus, p->known);
	for (uint32_t cpu = 0; cpu < m->n_cpus; cpu++) {
		uint32_t core = m->cpus[cpu].in[LEVEL_CORE];

		if (!hwloc_bitmap_isset(group->within_cpus, m->cpus[cpu].os))
			continue;
		if (p->owner[cpu] == OWNER_OFFLINE) {
			bitmap_add(p, offline, cpu);
			hwloc_bitmap_clr(better, m->cpus[cpu].os);
		}
		if (p->owner[cpu] != OWNER_FREE || core == UNKNOWN || group->smt == SMT_APART)
			continue;
		for (uint32_t i = m->domains[LEVEL_CORE][core].first_cpu;
		     i <
		     m->domains[LEVEL_CORE][core].first_cpu + m->domains[LEVEL_CORE][core].n_cpus;
		     i++)
			if (p->owner[i] == OWNER_FREE &&
			    !hwloc_bitmap_isset(group->within_cpus, m->cpus[i].os)) {
				bitmap_add(p, cut, cpu);
				bitmap_add(p, better, i);
			}
	}
	if (hwloc_bitmap_list_asprintf(&list, better) < 0) {
		p->no_memory = true;
		return;
	}
	if (!hwloc_bitmap_iszero(offline)) {
		problem = problem_new(p, PROBLEM_CPU_UNUSABLE, index);
		text_set(p, &problem->resource, "%s", CPUS_TEXT(offline));
		text_set(p, &problem->asked, "the group divides %s", CPUS_TEXT(group->within_cpus));
		text_set(p, &problem->available, "%s: offline", CPUS_TEXT(offline));
		text_set(p, &problem->suggestion, "bring %s online, or leave %s out of within.cpus",
			 CPUS_TEXT(offline), hwloc_bitmap_weight(offline) == 1 ? "it" : "them");
		if (*list)
			suggest(p, problem, "within.cpus", "%s", list);
	}
	if (!hwloc_bitmap_iszero(cut)) {
		problem = problem_new(p, PROBLEM_SMT_SPLIT, index);
		text_set(p, &problem->resource, "%s", CPUS_TEXT(cut));
		text_set(p, &problem->asked, "the group divides %s", CPUS_TEXT(group->within_cpus));
		text_set(p, &problem->available,
			 "%s a part of a core each, whose other threads are not among them",
			 hwloc_bitmap_weight(cut) == 1 ? "it is" : "they are");
		text_set(p, &problem->suggestion,
			 "write whole cores, or smt = \"apart\" if two kernels may share a core");
		suggest(p, problem, "within.cpus", "%s", list);
	}
}

static void check_within(struct planner *p, uint32_t index)
{
	const struct policy_group *group = &p->policy->groups[index];

	if (group->within_cpus)
		check_within_cpus(p, index);
	if (group->within_nodes) {
		_cleanup_bitmap_ hwloc_bitmap_t there = domain_numbers(p, LEVEL_NODE);

		if (there)
			problem_unknown(p, index, "nodes", "within.nodes", group->within_nodes,
					there);
	}
	if (group->within_packages) {
		_cleanup_bitmap_ hwloc_bitmap_t there = domain_numbers(p, LEVEL_PACKAGE);

		if (there)
			problem_unknown(p, index, "packages", "within.packages",
					group->within_packages, there);
	}
	if (group->within_kind)
		check_kind(p, index, group->within_kind);
}

static void problem_level(struct planner *p, uint32_t index, const char *what, const char *key,
			  const char *value)
{
	struct plan_problem *problem = problem_new(p, PROBLEM_NO_LEVEL, index);

	text_set(p, &problem->resource, "%s", what);
	text_set(p, &problem->asked, "%s = \"%s\"", key, what);
	if (strcmp(what, "kind") == 0)
		text_set(p, &problem->available, "all cores of the machine are alike");
	else
		text_set(p, &problem->available, "nothing on this machine is known to be one");
	text_set(p, &problem->suggestion, "write %s = \"%s\"", key, value);
	suggest(p, problem, key, "%s", value);
}

/* Of which level `per` makes kernels; N_LEVELS: of none. */
static enum machine_level level_of_per(enum policy_per per)
{
	switch (per) {
	case PER_CORE:
		return LEVEL_CORE;
	case PER_L3:
		return LEVEL_L3;
	case PER_NODE:
		return LEVEL_NODE;
	case PER_PACKAGE:
		return LEVEL_PACKAGE;
	case PER_NOTHING:
	case PER_THREAD:
	case PER_KIND:
		break;
	}
	return (enum machine_level)N_LEVELS;
}

static uint32_t key_of_per(const struct planner *p, enum policy_per per, uint32_t cpu)
{
	enum machine_level level = level_of_per(per);

	if (level < (enum machine_level)N_LEVELS)
		return p->machine->cpus[cpu].in[level];
	return per == PER_KIND ? p->machine->cpus[cpu].kind : cpu;
}

static int find_units(struct division *d)
{
	struct planner *p = d->p;
	const struct machine *m = p->machine;

	d->units = calloc(m->n_cpus, sizeof(*d->units));
	d->scratch = calloc(m->n_cpus, sizeof(*d->scratch));
	if (!d->units || !d->scratch)
		return -ENOMEM;
	for (uint32_t cpu = 0; d->apart && cpu < m->n_cpus; cpu++)
		if (p->owner[cpu] == OWNER_FREE && is_within(p, d->group, cpu))
			d->units[d->n_units++] = (struct unit){ cpu, 1, 0, 0 };
	for (size_t i = 0; !d->apart && i < m->n_domains[LEVEL_CORE]; i++) {
		const struct machine_domain *core = &m->domains[LEVEL_CORE][i];
		bool within = core_is(p, core, OWNER_FREE);

		for (uint32_t j = 0; within && j < core->n_cpus; j++)
			within = p->owner[core->first_cpu + j] == OWNER_OFFLINE ||
				 is_within(p, d->group, core->first_cpu + j);
		if (within)
			d->units[d->n_units++] =
				(struct unit){ core->first_cpu, core->n_cpus, 0, 0 };
	}
	return 0;
}

static void give(struct division *d, struct unit *unit, size_t draft)
{
	struct planner *p = d->p;

	if (draft == SIZE_MAX)
		return;
	unit->cluster = (uint32_t)draft + 1;
	for (uint32_t cpu = unit->first; cpu < unit->first + unit->n_cpus; cpu++)
		if (p->owner[cpu] == OWNER_FREE) {
			p->owner[cpu] = owner_of_draft(p, draft);
			if (cpu < p->drafts[draft].order)
				p->drafts[draft].order = cpu;
		}
}

static size_t new_kernel(struct division *d)
{
	d->n_kernels++;
	return draft_new(d->p, d->index, UINT32_MAX);
}

static bool is_full(const struct division *d)
{
	return d->group->count && d->n_kernels >= d->group->count;
}

/* A kernel of each domain that is wholly free; then, if need be, of those that are not. */
static int divide_per(struct division *d)
{
	struct planner *p = d->p;
	const struct machine *m = p->machine;
	enum machine_level level = level_of_per(d->group->per);
	size_t n_keys = level < (enum machine_level)N_LEVELS ? m->n_domains[level]
			: d->group->per == PER_KIND	     ? m->n_kinds
							     : m->n_cpus;
	_cleanup_free_ uint32_t *total = calloc(n_keys, sizeof(*total));
	_cleanup_free_ uint32_t *free_ones = calloc(n_keys, sizeof(*free_ones));
	_cleanup_free_ uint32_t *kernel = calloc(n_keys, sizeof(*kernel));

	if (!total || !free_ones || !kernel)
		return -ENOMEM;
	for (uint32_t cpu = 0; cpu < m->n_cpus; cpu++) {
		uint32_t key = key_of_per(p, d->group->per, cpu);

		if (key != UNKNOWN && p->owner[cpu] != OWNER_OFFLINE && is_within(p, d->group, cpu))
			total[key]++;
	}
	for (size_t i = 0; i < d->n_units; i++) {
		struct unit *unit = &d->units[i];

		unit->domain = key_of_per(p, d->group->per, unit->first);
		for (uint32_t cpu = unit->first;
		     unit->domain != UNKNOWN && cpu < unit->first + unit->n_cpus; cpu++)
			free_ones[unit->domain] += p->owner[cpu] == OWNER_FREE;
	}
	for (int part = 0; part <= (d->group->leftover == LEFTOVER_KERNEL); part++)
		for (size_t i = 0; i < d->n_units; i++) {
			struct unit *unit = &d->units[i];
			uint32_t key = unit->domain;

			if (key == UNKNOWN || (total[key] != free_ones[key]) != part)
				continue;
			if (!kernel[key] && is_full(d))
				continue;
			if (!kernel[key])
				kernel[key] = (uint32_t)new_kernel(d) + 1;
			if (p->no_memory)
				return -ENOMEM;
			give(d, unit, kernel[key] - 1);
		}
	return 0;
}

/* The levels from small to large, as they are on this machine. */
static size_t sort_levels(const struct machine *m, enum machine_level levels[N_LEVELS])
{
	size_t n = 0;

	for (int level = 0; level < N_LEVELS; level++) {
		size_t i;

		if (m->n_domains[level] == 0)
			continue;
		for (i = n++; i > 0 && m->n_domains[levels[i - 1]] < m->n_domains[level]; i--)
			levels[i] = levels[i - 1];
		levels[i] = (enum machine_level)level;
	}
	return n;
}

/*
 * Kernels of @size units each, at most @max, none of which reaches over a domain of @level or of
 * `inside`. Units that are not given yet and lie in one of both are neighbours here.
 */
static void cluster(struct division *d, enum machine_level level, size_t size, size_t max)
{
	const struct machine *m = d->p->machine;
	uint32_t here = 0, inside = 0;
	size_t n = 0;

	for (size_t i = 0; i < d->n_units && d->n_kernels < max; i++) {
		const struct machine_cpu *cpu = &m->cpus[d->units[i].first];
		size_t draft;

		if (d->units[i].cluster || cpu->in[level] == UNKNOWN ||
		    cpu->in[d->group->inside] == UNKNOWN)
			continue;
		if (n && (cpu->in[level] != here || cpu->in[d->group->inside] != inside))
			n = 0;
		here = cpu->in[level];
		inside = cpu->in[d->group->inside];
		d->scratch[n++] = (uint32_t)i;
		if (n < size)
			continue;
		draft = new_kernel(d);
		for (size_t j = 0; j < n; j++)
			give(d, &d->units[d->scratch[j]], draft);
		n = 0;
	}
}

/*
 * Near each other first: what fits in the small domains, then what is left in larger ones. Taking
 * whole kernels out of small domains never makes fewer of them fit in a large one.
 */
static void cluster_all(struct division *d, size_t size, size_t max)
{
	enum machine_level levels[N_LEVELS];
	size_t n = sort_levels(d->p->machine, levels);

	for (size_t i = 0; i < n; i++)
		cluster(d, levels[i], size, max);
	cluster(d, (enum machine_level)d->group->inside, size, max);
}

/* Free units of each domain of `inside`: *@ret[domain]. */
static int count_inside(const struct division *d, size_t **ret)
{
	const struct machine *m = d->p->machine;
	size_t *counts = calloc(m->n_domains[d->group->inside] + 1, sizeof(*counts));

	if (!counts)
		return -ENOMEM;
	for (size_t i = 0; i < d->n_units; i++) {
		uint32_t domain = m->cpus[d->units[i].first].in[d->group->inside];

		if (domain != UNKNOWN)
			counts[domain]++;
	}
	*ret = counts;
	return 0;
}

/* How many kernels of @size units there is room for. */
static size_t count_kernels(const struct division *d, const size_t *counts, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < d->p->machine->n_domains[d->group->inside]; i++)
		n += counts[i] / size;
	return n;
}

/* The largest size of which there is room for @n; 0: none. */
static size_t largest_size(const struct division *d, const size_t *counts, size_t n)
{
	size_t low = 0, high = d->n_units;

	while (low < high) {
		size_t middle = low + (high - low + 1) / 2;

		if (count_kernels(d, counts, middle) >= n)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static void divide_cores(struct division *d)
{
	const struct machine *m = d->p->machine;
	size_t max = d->group->count ? d->group->count : SIZE_MAX;
	uint32_t here = UNKNOWN;
	size_t draft = SIZE_MAX;

	cluster_all(d, d->group->cores, max);
	if (d->group->leftover != LEFTOVER_KERNEL)
		return;
	for (size_t i = 0; i < d->n_units; i++) {
		uint32_t domain = m->cpus[d->units[i].first].in[d->group->inside];

		if (d->units[i].cluster || domain == UNKNOWN)
			continue;
		if (domain != here || draft == SIZE_MAX) {
			if (is_full(d))
				return;
			draft = new_kernel(d);
		}
		here = domain;
		give(d, &d->units[i], draft);
	}
}

/*
 * Kernels that differ by one unit at most. Their number in each domain of `inside` is first the
 * least that can take all its units, then more, from the first domain on, until there are `count`.
 * False: there is no such division.
 */
static bool divide_spread(struct division *d, const size_t *counts)
{
	const struct machine *m = d->p->machine;
	size_t n_domains = m->n_domains[d->group->inside], all = 0, least = 0, most = 0, more;
	size_t size, unit = 0;

	for (size_t i = 0; i < n_domains; i++)
		all += counts[i];
	size = all / d->group->count;
	if (size == 0)
		return false;
	for (size_t i = 0; i < n_domains; i++) {
		size_t low = (counts[i] + size) / (size + 1), high = counts[i] / size;

		if (low > high)
			return false;
		least += low;
		most += high;
	}
	if (least > d->group->count || most < d->group->count)
		return false;
	more = d->group->count - least;
	/* Domains of a level are runs, and so are the units in each. */
	while (unit < d->n_units) {
		uint32_t domain = m->cpus[d->units[unit].first].in[d->group->inside];
		size_t n, low, high, first = unit;

		if (domain == UNKNOWN) {
			unit++;
			continue;
		}
		low = (counts[domain] + size) / (size + 1);
		high = counts[domain] / size;
		n = high - low < more ? high - low : more;
		more -= n;
		n += low;
		for (size_t kernel = 0; kernel < n; kernel++) {
			size_t end = first + counts[domain] * (kernel + 1) / n;
			size_t draft = new_kernel(d);

			for (; unit < end; unit++)
				give(d, &d->units[unit], draft);
		}
	}
	return true;
}

/* What it was about, for texts: "3 kernels of 4 cores", "a kernel on every node". */
static void set_asked(struct division *d, struct plan_problem *problem)
{
	static const char *const what[] = {
		[PER_NOTHING] = "",	      [PER_THREAD] = "thread", [PER_CORE] = "core",
		[PER_L3] = "L3 cache",	      [PER_NODE] = "node",     [PER_PACKAGE] = "package",
		[PER_KIND] = "kind of cores",
	};
	const struct policy_group *group = d->group;
	char inside[48] = "", count[48] = "kernels";

	if (group->inside != LEVEL_MACHINE)
		snprintf(inside, sizeof(inside), ", each inside one %s",
			 level_to_string((enum machine_level)group->inside));
	if (group->count)
		snprintf(count, sizeof(count), "%u kernel%s", group->count,
			 group->count == 1 ? "" : "s");
	if (group->per != PER_NOTHING)
		text_set(d->p, &problem->asked, "%s, one on each %s", count, what[group->per]);
	else if (group->cores)
		text_set(d->p, &problem->asked, "%s of %s%s", count,
			 UNITS_TEXT(d->apart, group->cores), inside);
	else
		text_set(d->p, &problem->asked, "%s%s", group->count ? count : "a kernel", inside);
}

/* Who has the CPUs that the group could divide otherwise. */
static void set_owners(struct division *d, struct plan_problem *problem)
{
	struct planner *p = d->p;
	const struct machine *m = p->machine;
	size_t primary = 0, used = 0, others = 0, length = 0;
	char text[128] = "";

	for (uint32_t cpu = 0; cpu < m->n_cpus; cpu++) {
		uint32_t owner = p->owner[cpu];

		if (!is_within(p, d->group, cpu))
			continue;
		primary += owner == OWNER_PRIMARY || owner == OWNER_NOT_ALLOWED;
		used += owner >= OWNER_USED && !owner_is_draft(p, owner);
		others += owner_is_draft(p, owner) && group_of_draft(p, owner) != d->group;
	}
	if (primary)
		length +=
			(size_t)snprintf(text, sizeof(text), "the primary keeps %zu CPUs", primary);
	if (used)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
					   "%sother kernels have %zu", length ? ", " : "", used);
	if (others)
		snprintf(text + length, sizeof(text) - length, "%sother groups get %zu",
			 length ? ", " : "", others);
	if (*text)
		text_set(p, &problem->owner, "%s", text);
}

static void problem_no_cpus(struct division *d, const size_t *counts)
{
	struct planner *p = d->p;
	const struct policy_group *group = d->group;
	struct plan_problem *problem = problem_new(p, PROBLEM_NO_CPUS, d->index);
	size_t size = 0;

	text_set(p, &problem->resource, d->apart ? "threads" : "cores");
	set_asked(d, problem);
	set_owners(d, problem);
	if (d->n_units == 0) {
		text_set(p, &problem->available, "no %s is free", d->apart ? "thread" : "core");
		text_set(p, &problem->suggestion,
			 "let the primary or other groups have less, or divide something else");
		return;
	}
	text_set(p, &problem->available, "%s %s free, of which %u such kernel%s can be made",
		 UNITS_TEXT(d->apart, d->n_units), d->n_units == 1 ? "is" : "are", d->n_kernels,
		 d->n_kernels == 1 ? "" : "s");
	if (group->per == PER_NOTHING && group->cores)
		size = largest_size(d, counts, group->count ? group->count : 1);
	if (d->n_kernels && group->count && (group->per != PER_NOTHING || group->cores)) {
		text_set(p, &problem->suggestion, "ask for %u kernel%s", d->n_kernels,
			 d->n_kernels == 1 ? "" : "s");
		suggest(p, problem, "count", "%u", d->n_kernels);
	} else if (size) {
		text_set(p, &problem->suggestion, "ask for kernels of %s",
			 UNITS_TEXT(d->apart, size));
		suggest(p, problem, "cores", "%zu", size);
	} else if (group->per == PER_NOTHING && !group->cores &&
		   (size = count_kernels(d, counts, 1)) > 0) {
		text_set(p, &problem->suggestion, "ask for %zu kernel%s", size,
			 size == 1 ? "" : "s");
		suggest(p, problem, "count", "%zu", size);
	} else if (group->per != PER_NOTHING && group->leftover == LEFTOVER_PRIMARY &&
		   group->count <= 1) {
		text_set(p, &problem->suggestion,
			 "write leftover = \"kernel\": no domain is wholly free, but a part of "
			 "one is");
		if (d->units[0].domain != UNKNOWN)
			suggest(p, problem, "leftover", "kernel");
	} else {
		text_set(p, &problem->suggestion,
			 "ask for smaller kernels, or let the primary or other groups have less");
	}
}

/* CPUs that could have been given and make no whole kernel. */
static void look_for_leftovers(struct division *d, bool is_error)
{
	struct planner *p = d->p;
	const struct machine *m = p->machine;
	const struct policy_group *group = d->group;
	bool only_count = group->per == PER_NOTHING && !group->cores;
	_cleanup_bitmap_ hwloc_bitmap_t left = bitmap_new(p);
	struct plan_problem *problem;

	for (uint32_t cpu = 0; left && cpu < m->n_cpus; cpu++)
		if (p->owner[cpu] == OWNER_FREE && is_within(p, group, cpu) &&
		    (d->apart || m->cpus[cpu].in[LEVEL_CORE] != UNKNOWN)) {
			p->left_by[cpu] = d->index + 1;
			bitmap_add(p, left, cpu);
		}
	if (!left || !is_error || hwloc_bitmap_iszero(left))
		return;
	problem = problem_new(p, PROBLEM_LEFTOVER, d->index);
	text_set(p, &problem->resource, "%s", CPUS_TEXT(left));
	set_asked(d, problem);
	set_owners(d, problem);
	text_set(p, &problem->available, "%s %s no whole kernel of the group", CPUS_TEXT(left),
		 hwloc_bitmap_weight(left) == 1 ? "makes" : "make");
	if (only_count && group->leftover == LEFTOVER_ERROR && group->inside == LEVEL_MACHINE) {
		text_set(p, &problem->suggestion,
			 "write leftover = \"spread\" for kernels that differ by one %s, or "
			 "\"primary\" to leave %s to the primary",
			 d->apart ? "thread" : "core", CPUS_TEXT(left));
		suggest(p, problem, "leftover", "spread");
	} else if (!only_count && d->n_kernels == 0 && d->n_units) {
		text_set(p, &problem->suggestion,
			 "write leftover = \"kernel\" for smaller kernels; \"primary\" would leave "
			 "nothing for the group");
		suggest(p, problem, "leftover", "kernel");
	} else {
		text_set(p, &problem->suggestion,
			 "write leftover = \"primary\" to leave %s to the primary%s",
			 CPUS_TEXT(left), only_count ? "" : ", or \"kernel\" for smaller kernels");
		suggest(p, problem, "leftover", "primary");
	}
}

static int divide(struct division *d)
{
	struct planner *p = d->p;
	const struct policy_group *group = d->group;
	bool only_count = group->per == PER_NOTHING && !group->cores && group->count;
	bool is_whole = true;
	_cleanup_free_ size_t *counts = NULL;
	unsigned wanted = group->count ? group->count : 1;
	int r;

	r = find_units(d);
	if (r == 0)
		r = count_inside(d, &counts);
	if (r < 0)
		return r;
	if (group->per != PER_NOTHING) {
		r = divide_per(d);
	} else if (group->cores) {
		divide_cores(d);
	} else if (group->leftover == LEFTOVER_SPREAD && count_kernels(d, counts, 1) >= wanted) {
		is_whole = divide_spread(d, counts);
		if (!is_whole)
			d->n_kernels = wanted; /* the problem is another one */
	} else {
		size_t size = largest_size(d, counts, wanted);

		if (size)
			cluster_all(d, size, wanted);
	}
	if (r < 0)
		return r;
	/* With an exact number of kernels that say how large they are, nobody asked for the rest. */
	if (!group->count || (only_count && d->n_kernels >= wanted))
		look_for_leftovers(d, group->leftover == LEFTOVER_ERROR || !is_whole);
	if (d->n_kernels < wanted &&
	    (group->count || group->leftover != LEFTOVER_ERROR || d->n_units == 0))
		problem_no_cpus(d, counts);
	return p->no_memory ? -ENOMEM : 0;
}

int plan_group(struct planner *p, uint32_t index)
{
	struct division d = {
		.p = p,
		.group = &p->policy->groups[index],
		.index = index,
		.apart = p->policy->groups[index].smt == SMT_APART,
	};
	enum machine_level level = level_of_per(d.group->per);
	size_t n_problems = p->n_problems;
	int r;

	check_within(p, index);
	if (level < (enum machine_level)N_LEVELS && p->machine->n_domains[level] == 0)
		problem_level(p, index, level_to_string(level), "per", "node");
	if (d.group->per == PER_KIND && p->machine->n_kinds < 2)
		problem_level(p, index, "kind", "per", "node");
	if (d.group->per == PER_NOTHING && p->machine->n_domains[d.group->inside] == 0)
		problem_level(p, index, level_to_string((enum machine_level)d.group->inside),
			      "inside", "machine");
	if (d.group->per == PER_THREAD && !d.apart) {
		struct plan_problem *problem = problem_new(p, PROBLEM_SMT_SPLIT, index);

		text_set(p, &problem->resource, "threads");
		text_set(p, &problem->asked, "a kernel for each thread");
		text_set(p, &problem->available, "smt = \"together\" keeps the threads of a core");
		text_set(p, &problem->suggestion, "write smt = \"apart\"");
		suggest(p, problem, "smt", "apart");
	}
	if (p->no_memory)
		return -ENOMEM;
	if (p->n_problems > n_problems)
		return 0;
	r = divide(&d);
	free(d.units);
	free(d.scratch);
	return r;
}
