// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who gets how much memory of which node: the primary's minimum, fixed sizes, proportional shares,
 * equal ones. docs/policies.md has the rules.
 *
 * All shares are one function of what the groups say, solve() in plan-share.c, so that a suggestion
 * can be tried before it is made.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "plan-memory.h"
#include "util.h"

/* Preparation. */

static uint64_t cpu_weight(const struct memory *mem, uint32_t cpu)
{
	const struct planner *p = mem->p;
	uint32_t core = p->machine->cpus[cpu].in[LEVEL_CORE], threads = 0;

	if (core == UNKNOWN)
		return CORE_WEIGHT;
	for (uint32_t i = 0; i < p->machine->domains[LEVEL_CORE][core].n_cpus; i++)
		threads += p->owner[p->machine->domains[LEVEL_CORE][core].first_cpu + i] !=
			   OWNER_OFFLINE;
	return threads && threads <= CORE_WEIGHT ? CORE_WEIGHT / threads : 1;
}

static int compare_locals(const void *a, const void *b)
{
	const struct local *x = a, *y = b;

	return x->node < y->node ? -1 : x->node > y->node;
}

static int find_locals(struct memory *mem)
{
	const struct planner *p = mem->p;
	const struct plan *plan = p->plan;
	size_t n = 0;

	mem->locals = calloc(p->machine->n_cpus + 1, sizeof(*mem->locals));
	mem->first_local = calloc(mem->n_kernels + 1, sizeof(*mem->first_local));
	mem->kernel_weight = calloc(mem->n_kernels + 1, sizeof(*mem->kernel_weight));
	mem->weight = calloc(mem->n_nodes, sizeof(*mem->weight));
	if (!mem->locals || !mem->first_local || !mem->kernel_weight || !mem->weight)
		return -ENOMEM;
	for (size_t i = 0; i < mem->n_kernels; i++) {
		const uint32_t *places = plan->places + (plan->kernels[i].cpus - plan->cpus);

		mem->first_local[i] = n;
		for (size_t j = 0; j < plan->kernels[i].n_cpus; j++) {
			uint32_t node = node_of(p, places[j]);
			uint64_t weight = cpu_weight(mem, places[j]);

			mem->kernel_weight[i] += weight;
			if (node == UNKNOWN)
				continue;
			/* In the order of the machine, the CPUs of a node are neighbours. */
			if (n == mem->first_local[i] || mem->locals[n - 1].node != node)
				mem->locals[n++] = (struct local){ node, 0 };
			mem->locals[n - 1].weight += weight;
		}
		qsort(&mem->locals[mem->first_local[i]], n - mem->first_local[i],
		      sizeof(*mem->locals), compare_locals);
	}
	mem->first_local[mem->n_kernels] = n;
	for (uint32_t cpu = 0; cpu < p->machine->n_cpus; cpu++) {
		uint64_t weight = cpu_weight(mem, cpu);

		if (p->owner[cpu] == OWNER_OFFLINE)
			continue;
		mem->weight_all += weight;
		if (node_of(p, cpu) != UNKNOWN)
			mem->weight[node_of(p, cpu)] += weight;
	}
	return 0;
}

/* Where the primary is at home. */
static uint32_t primary_node(const struct planner *p)
{
	uint32_t node = node_of(p, p->boot);

	for (uint32_t cpu = 0; node == UNKNOWN && cpu < p->machine->n_cpus; cpu++)
		if (p->owner[cpu] == OWNER_PRIMARY)
			node = node_of(p, cpu);
	return node == UNKNOWN ? 0 : node;
}

/* Takes what the primary needs off @node; what can't be taken counts too. */
static void reserve_on(struct memory *mem, uint32_t node, uint64_t *need)
{
	const struct machine_node *all = &mem->p->machine->nodes[node];
	uint64_t fixed = all->memory - mem->usable[node];
	uint64_t free_bytes = mem->usable[node] - mem->used[node];

	*need -= fixed < *need ? fixed : *need;
	mem->reserved[node] = free_bytes < *need ? free_bytes : *need;
	*need -= mem->reserved[node];
}

static int reserve(struct memory *mem)
{
	struct planner *p = mem->p;
	uint64_t wanted = p->policy->primary.memory > p->input->primary_memory
				  ? p->policy->primary.memory
				  : p->input->primary_memory;
	uint64_t need = wanted;
	const uint32_t *order = nearest(mem, mem->home);
	_cleanup_free_ bool *own = calloc(mem->n_nodes, sizeof(*own));
	struct plan_problem *problem;

	if (!order || !own)
		return -ENOMEM;
	for (uint32_t cpu = 0; cpu < p->machine->n_cpus; cpu++)
		if (p->owner[cpu] == OWNER_PRIMARY && node_of(p, cpu) != UNKNOWN)
			own[node_of(p, cpu)] = true;
	for (int pass = 1; pass >= 0; pass--)
		for (size_t i = 0; i < mem->n_nodes; i++)
			if (own[order[i]] == pass)
				reserve_on(mem, order[i], &need);
	if (need == 0)
		return 0;
	problem = problem_new(p, PROBLEM_NO_MEMORY, GROUP_PRIMARY);
	text_set(p, &problem->resource, "memory");
	text_set(p, &problem->asked, "the primary is to keep %s", SIZE_TEXT(wanted));
	text_set(p, &problem->available, "all that no other kernel has is %s",
		 SIZE_TEXT(wanted - need));
	text_set(p, &problem->suggestion,
		 "let it keep less, and something for the kernels: memory of primary here, "
		 "primary.memory in popcornd.conf");
	return 0;
}

static int prepare(struct memory *mem)
{
	struct planner *p = mem->p;
	const struct machine *m = p->machine;

	mem->n_nodes = m->n_domains[LEVEL_NODE];
	mem->n_kernels = p->plan->n_kernels;
	mem->home = primary_node(p);
	mem->usable = calloc(mem->n_nodes, sizeof(*mem->usable));
	mem->used = calloc(mem->n_nodes, sizeof(*mem->used));
	mem->reserved = calloc(mem->n_nodes, sizeof(*mem->reserved));
	mem->order = calloc(mem->n_nodes, sizeof(*mem->order));
	if (!mem->usable || !mem->used || !mem->reserved || !mem->order)
		return -ENOMEM;
	for (size_t i = 0; i < mem->n_nodes; i++) {
		mem->usable[i] = m->nodes[i].takeable < m->nodes[i].memory ? m->nodes[i].takeable
									   : m->nodes[i].memory;
		mem->usable_all += mem->usable[i];
	}
	for (size_t i = 0; i < p->input->n_used; i++)
		for (size_t j = 0; j < p->input->used[i].n_memory; j++) {
			const struct plan_memory *memory = &p->input->used[i].memory[j];
			uint64_t room;

			if (memory->node >= mem->n_nodes)
				continue;
			/* Who has more than there is has all of it. */
			room = mem->usable[memory->node] - mem->used[memory->node];
			mem->used[memory->node] += memory->bytes < room ? memory->bytes : room;
		}
	return find_locals(mem);
}

/* What groups say. */

static size_t fill_nodes(struct memory *mem, const struct policy_group *group, uint32_t *nodes)
{
	size_t n = 0;

	for (uint32_t i = 0; i < mem->n_nodes; i++)
		if (group->memory_nodes
			    ? hwloc_bitmap_isset(group->memory_nodes,
						 mem->p->machine->domains[LEVEL_NODE][i].os)
			    : mem->usable[i] > 0)
			nodes[n++] = i;
	return n;
}

static void check_memory_nodes(struct memory *mem, uint32_t index, struct setting *setting)
{
	struct planner *p = mem->p;
	const struct policy_group *group = &p->policy->groups[index];
	hwloc_bitmap_t known = hwloc_bitmap_alloc(), unknown = hwloc_bitmap_alloc();
	_cleanup_free_ char *bad = NULL, *all = NULL, *good = NULL;
	struct plan_problem *problem;
	bool failed = !known || !unknown;

	for (size_t i = 0; !failed && i < mem->n_nodes; i++)
		failed = hwloc_bitmap_set(known, p->machine->domains[LEVEL_NODE][i].os) < 0;
	failed = failed || hwloc_bitmap_andnot(unknown, group->memory_nodes, known) < 0 ||
		 hwloc_bitmap_list_asprintf(&bad, unknown) < 0 ||
		 hwloc_bitmap_list_asprintf(&all, known) < 0 ||
		 hwloc_bitmap_and(known, known, group->memory_nodes) < 0 ||
		 hwloc_bitmap_list_asprintf(&good, known) < 0;
	hwloc_bitmap_free(known);
	hwloc_bitmap_free(unknown);
	if (failed) {
		p->no_memory = true;
		return;
	}
	if (!*bad)
		return;
	setting->skip = true;
	problem = problem_new(p, PROBLEM_CPU_UNKNOWN, index);
	text_set(p, &problem->resource, "nodes %s", bad);
	text_set(p, &problem->asked, "the group's memory is to come from them too");
	text_set(p, &problem->available, "the machine has nodes %s", all);
	text_set(p, &problem->suggestion, "leave %s out of memory_nodes", bad);
	if (*good)
		suggest(p, problem, "memory_nodes", "%s", good);
}

static void check_align(struct memory *mem, uint32_t index, struct setting *setting)
{
	struct planner *p = mem->p;
	uint64_t unit = setting->align, better;
	struct plan_problem *problem;

	if (setting->from == FROM_INTERLEAVE && setting->n_nodes)
		unit *= setting->n_nodes;
	if (setting->bytes % unit == 0)
		return;
	setting->skip = true;
	better = setting->bytes - setting->bytes % unit + unit;
	problem = problem_new(p, PROBLEM_MEMORY_ALIGN, index);
	text_set(p, &problem->resource, "memory");
	text_set(p, &problem->asked, "%s for each kernel", SIZE_TEXT(setting->bytes));
	if (unit == setting->align)
		text_set(p, &problem->available, "sizes are multiples of %s%s", SIZE_TEXT(unit),
			 p->policy->groups[index].align ? "" : ", the machine's memory blocks");
	else
		text_set(p, &problem->available,
			 "sizes are multiples of %s: %s of each of %zu nodes", SIZE_TEXT(unit),
			 SIZE_TEXT(setting->align), setting->n_nodes);
	text_set(p, &problem->suggestion, "ask for %s%s", SIZE_TEXT(better),
		 setting->align > ALIGN_MIN ? ", or write a smaller align" : "");
	suggest(p, problem, "memory", "%s", SIZE_KEY(better));
}

static int read_settings(struct memory *mem, struct setting *settings)
{
	const struct policy *policy = mem->p->policy;
	size_t n_lists = 1;
	uint32_t *nodes;

	for (size_t i = 0; i < policy->n_groups; i++)
		n_lists += policy->groups[i].memory_nodes != NULL;
	mem->nodes = calloc(n_lists * mem->n_nodes, sizeof(*mem->nodes));
	if (!mem->nodes)
		return -ENOMEM;
	/* The first list is that of all who name none. */
	nodes = mem->nodes + mem->n_nodes;
	for (uint32_t i = 0; i < policy->n_groups; i++) {
		const struct policy_group *group = &policy->groups[i];
		struct setting *setting = &settings[i];

		*setting = (struct setting){
			.memory = group->memory,
			.from = group->memory_from,
			.bytes = group->memory_bytes,
			.align = group->align ? group->align : mem->p->machine->block_size,
			.nodes = mem->nodes,
			.free_align = group->align == 0,
		};
		if (setting->align == 0)
			setting->align = ALIGN_MIN;
		if (setting->from == FROM_INTERLEAVE) {
			if (group->memory_nodes) {
				setting->nodes = nodes;
				nodes += mem->n_nodes;
				check_memory_nodes(mem, i, setting);
			}
			setting->n_nodes = fill_nodes(mem, group, (uint32_t *)setting->nodes);
		}
		if (setting->memory == MEMORY_FIXED && !setting->skip)
			check_align(mem, i, setting);
	}
	return mem->p->no_memory ? -ENOMEM : 0;
}

/* Problems. */

/* Whether the group has no problem any more; of equal ones, none of them. */
static bool helps(struct memory *mem, const struct setting *settings, uint32_t index)
{
	struct solution s;
	int r = solve(mem, settings, &s);
	bool good = r == 0 && s.failures[index].kind == FAILURE_NONE;

	if (r < 0)
		mem->p->no_memory = true;
	for (size_t i = 0; good && i < mem->p->policy->n_groups; i++)
		if (settings[index].memory == MEMORY_EQUAL && settings[i].memory == MEMORY_EQUAL)
			good = s.failures[i].kind == FAILURE_NONE;
	solution_done(mem, &s);
	return good;
}

static bool try_from(struct memory *mem, struct setting *settings, uint32_t index,
		     struct plan_problem *problem)
{
	struct setting saved = settings[index];
	bool good;

	if (saved.from != FROM_LOCAL || mem->p->policy->groups[index].memory_nodes)
		return false;
	settings[index].from = FROM_ANY;
	good = helps(mem, settings, index);
	settings[index] = saved;
	if (!good)
		return false;
	text_set(mem->p, &problem->suggestion,
		 "write memory_from = \"any\": other nodes have enough left");
	suggest(mem->p, problem, "memory_from", "any");
	return true;
}

static bool try_align(struct memory *mem, struct setting *settings, uint32_t index,
		      struct plan_problem *problem)
{
	struct setting saved = settings[index];
	bool good;

	if (saved.align <= ALIGN_MIN || saved.memory == MEMORY_FIXED)
		return false;
	settings[index].align = ALIGN_MIN;
	settings[index].free_align = false;
	good = helps(mem, settings, index);
	settings[index] = saved;
	if (!good)
		return false;
	text_set(mem->p, &problem->suggestion,
		 "write align = \"%s\": shares are rounded down to %s now", SIZE_KEY(ALIGN_MIN),
		 SIZE_TEXT(saved.align));
	suggest(mem->p, problem, "align", "%s", SIZE_KEY(ALIGN_MIN));
	return true;
}

/* The largest size that all kernels of the group can have. */
static bool try_size(struct memory *mem, struct setting *settings, uint32_t index,
		     struct plan_problem *problem)
{
	struct setting saved = settings[index];
	uint64_t unit = saved.align, low, high;

	if (saved.memory != MEMORY_FIXED)
		return false;
	if (saved.from == FROM_INTERLEAVE && saved.n_nodes)
		unit *= saved.n_nodes;
	low = (PLAN_MEMORY_MIN + unit - 1) / unit;
	/* More than all of the machine is tried only once. */
	high = (saved.bytes < mem->usable_all ? saved.bytes : mem->usable_all) / unit;
	settings[index].bytes = low * unit;
	if (low > high || !helps(mem, settings, index)) {
		settings[index] = saved;
		return false;
	}
	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2;

		settings[index].bytes = middle * unit;
		if (helps(mem, settings, index))
			low = middle;
		else
			high = middle - 1;
	}
	settings[index] = saved;
	text_set(mem->p, &problem->suggestion, "ask for %s: as much fits", SIZE_TEXT(low * unit));
	suggest(mem->p, problem, "memory", "%s", SIZE_KEY(low * unit));
	return true;
}

static void set_suggestion(struct memory *mem, struct setting *settings, uint32_t index,
			   const struct failure *failure, struct plan_problem *problem)
{
	struct setting *setting = &settings[index];
	uint64_t unit = setting->align;

	if (setting->memory == MEMORY_FIXED && failure->kind == FAILURE_SMALL) {
		if (setting->from == FROM_INTERLEAVE && setting->n_nodes)
			unit *= setting->n_nodes;
		unit *= (PLAN_MEMORY_MIN + unit - 1) / unit;
		setting->bytes = unit;
		text_set(mem->p, &problem->suggestion, "ask for %s at least", SIZE_TEXT(unit));
		if (mem->tries < TRIES_MAX && helps(mem, settings, index))
			suggest(mem->p, problem, "memory", "%s", SIZE_KEY(unit));
		setting->bytes = failure->asked;
		mem->tries++;
		return;
	}
	if (mem->tries++ < TRIES_MAX &&
	    (try_align(mem, settings, index, problem) || try_from(mem, settings, index, problem) ||
	     try_size(mem, settings, index, problem)))
		return;
	text_set(mem->p, &problem->suggestion,
		 setting->memory == MEMORY_FIXED
			 ? "ask for less, make fewer kernels, or let the primary keep less"
			 : "make fewer and larger kernels, or let the primary keep less");
}

/* Who else has memory of @node, or (UNKNOWN) of any. */
static void set_owners(struct memory *mem, uint32_t node, struct plan_problem *problem)
{
	uint64_t reserved = 0, used = 0;
	char text[128] = "";
	size_t n = 0;

	for (size_t i = 0; i < mem->n_nodes; i++)
		if (node == UNKNOWN || node == i) {
			reserved += mem->reserved[i];
			used += mem->used[i];
		}
	if (reserved)
		n = (size_t)snprintf(text, sizeof(text), "the primary keeps %s of it",
				     SIZE_TEXT(reserved));
	if (used)
		snprintf(text + n, sizeof(text) - n, "%sother kernels have %s", n ? ", " : "",
			 SIZE_TEXT(used));
	if (*text)
		text_set(mem->p, &problem->owner, "%s", text);
}

static void problem_memory(struct memory *mem, struct setting *settings, uint32_t index,
			   const struct failure *failure)
{
	struct planner *p = mem->p;
	struct plan_problem *problem = problem_new(p, PROBLEM_NO_MEMORY, index);
	const char *name = p->plan->kernels[failure->kernel].name;
	bool equal = settings[index].memory == MEMORY_EQUAL;

	if (failure->node == UNKNOWN)
		text_set(p, &problem->resource, "memory");
	else
		text_set(p, &problem->resource, "memory of node %" PRIu32,
			 p->machine->domains[LEVEL_NODE][failure->node].os);
	set_owners(mem, failure->node, problem);
	switch (failure->kind) {
	case FAILURE_NONE:
		break;
	case FAILURE_NODE:
		text_set(p, &problem->asked, "%s of it for kernel %s%s", SIZE_TEXT(failure->asked),
			 name ? name : "", equal ? ", which is the least that would do" : "");
		text_set(p, &problem->available, "%s %s left of %s", SIZE_TEXT(failure->available),
			 failure->available ? "are" : "is",
			 SIZE_TEXT(p->machine->nodes[failure->node].memory));
		break;
	case FAILURE_TOTAL:
		text_set(p, &problem->asked, "%s for %s%s%s", SIZE_TEXT(failure->asked),
			 equal ? "all kernels of equal memory" : "kernel ",
			 equal	? ""
			 : name ? name
				: "",
			 equal ? ", which is the least that would do" : "");
		text_set(p, &problem->available, "%s are left on all nodes together",
			 SIZE_TEXT(failure->available));
		break;
	case FAILURE_NO_NODE:
		text_set(p, &problem->asked, "memory for kernel %s from %s", name ? name : "",
			 settings[index].from == FROM_INTERLEAVE ? "several nodes"
								 : "the nodes of its CPUs");
		text_set(p, &problem->available, "none of these has memory to give");
		break;
	case FAILURE_SMALL:
		text_set(p, &problem->asked, "memory for kernel %s; none boots with less than %s",
			 name ? name : "", SIZE_TEXT(PLAN_MEMORY_MIN));
		text_set(p, &problem->available, "its share is %s", SIZE_TEXT(failure->available));
		break;
	}
	set_suggestion(mem, settings, index, failure, problem);
}

/* The plan. */

static int compare_memory(const void *a, const void *b)
{
	const struct plan_memory *x = a, *y = b;

	return x->node < y->node ? -1 : x->node > y->node;
}

static int fill_plan(struct memory *mem, struct solution *s)
{
	struct planner *p = mem->p;
	struct plan *plan = p->plan;
	size_t n = 0;

	for (size_t i = 0; i < mem->n_kernels; i++)
		n += s->parts[i].n;
	plan->memory = calloc(n + 1, sizeof(*plan->memory));
	plan->primary_memory = calloc(mem->n_nodes, sizeof(*plan->primary_memory));
	if (!plan->memory || !plan->primary_memory)
		return -ENOMEM;
	for (size_t i = 0; i < mem->n_nodes; i++)
		plan->primary_memory[i] = p->machine->nodes[i].memory - mem->used[i];
	n = 0;
	for (size_t i = 0; i < mem->n_kernels; i++) {
		struct part *part = &s->parts[i];
		struct plan_kernel *kernel = &plan->kernels[i];

		if (part->n)
			qsort(part->nodes, part->n, sizeof(*part->nodes), compare_memory);
		kernel->memory = &plan->memory[n];
		kernel->bytes = part->bytes;
		for (size_t j = 0; j < part->n; j++) {
			plan->primary_memory[part->nodes[j].node] -= part->nodes[j].bytes;
			if (kernel->n_memory && plan->memory[n - 1].node == part->nodes[j].node) {
				plan->memory[n - 1].bytes += part->nodes[j].bytes;
				continue;
			}
			plan->memory[n++] = part->nodes[j];
			kernel->n_memory++;
		}
	}
	return 0;
}

/* Nodes by Linux's numbers, for texts. */
static void nodes_note(struct memory *mem, const bool *which, const char *format)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	char list[128];

	if (!set) {
		mem->p->no_memory = true;
		return;
	}
	for (size_t i = 0; i < mem->n_nodes; i++)
		if (which[i] &&
		    hwloc_bitmap_set(set, mem->p->machine->domains[LEVEL_NODE][i].os) < 0)
			mem->p->no_memory = true;
	if (!hwloc_bitmap_iszero(set)) {
		hwloc_bitmap_list_snprintf(list, sizeof(list), set);
		note(mem->p, NOTE_WARNING, NULL, "memory of node%s %s: %s",
		     hwloc_bitmap_weight(set) == 1 ? "" : "s", list, format);
	}
	hwloc_bitmap_free(set);
}

static int note_memory(struct memory *mem, const struct solution *s)
{
	struct planner *p = mem->p;
	uint64_t block = p->machine->block_size;
	_cleanup_free_ bool *spilled = calloc(mem->n_nodes, sizeof(*spilled));

	if (!spilled)
		return -ENOMEM;
	for (size_t i = 0; i < mem->n_nodes; i++)
		spilled[i] = mem->reserved[i] > 0;
	for (uint32_t cpu = 0; cpu < p->machine->n_cpus; cpu++)
		if (p->owner[cpu] == OWNER_PRIMARY && node_of(p, cpu) != UNKNOWN)
			spilled[node_of(p, cpu)] = false;
	nodes_note(mem, spilled,
		   "the primary keeps some of it, as its own nodes have less than its minimum");
	nodes_note(
		mem, s->scarce,
		"less is left than the kernels' part by cores, because of the primary's minimum, "
		"fixed sizes or other kernels; each gets less in proportion");
	for (uint32_t i = 0; i < p->policy->n_groups; i++) {
		size_t remote = 0, pieces = 0, first_remote = 0, first_piece = 0;

		if (s->lost[i])
			note(p, NOTE_WARNING, NULL,
			     "memory of group '%s' is rounded down to multiples of %s; %s in all "
			     "are "
			     "left to the primary",
			     p->policy->groups[i].name, SIZE_TEXT(s->settings[i].align),
			     SIZE_TEXT(s->lost[i]));
		for (size_t j = p->first_kernel[i]; j < p->first_kernel[i + 1]; j++) {
			const struct plan_kernel *kernel = &p->plan->kernels[j];
			bool is_piece = false, is_remote = false;
			size_t n = 0;

			for (size_t k = 0; k < kernel->n_memory; k++)
				is_piece |= block && kernel->memory[k].bytes % block != 0;
			for (size_t k = mem->first_local[j]; k < mem->first_local[j + 1]; k++) {
				while (n < kernel->n_memory &&
				       kernel->memory[n].node < mem->locals[k].node)
					n++;
				is_remote |= n == kernel->n_memory ||
					     kernel->memory[n].node != mem->locals[k].node;
			}
			if (is_piece && pieces++ == 0)
				first_piece = j;
			if (is_remote && s->settings[i].from != FROM_INTERLEAVE && remote++ == 0)
				first_remote = j;
		}
		if (remote)
			note(p, NOTE_WARNING, p->plan->kernels[first_remote].name,
			     "it has CPUs on a node of which it gets no memory (%zu such kernel%s "
			     "in "
			     "group '%s')",
			     remote, remote == 1 ? "" : "s", p->policy->groups[i].name);
		if (pieces)
			note(p, NOTE_WARNING, p->plan->kernels[first_piece].name,
			     "its memory is no whole number of blocks of %s; the rest has to be "
			     "found "
			     "in one piece, which may fail (%zu such kernel%s in group '%s')",
			     SIZE_TEXT(block), pieces, pieces == 1 ? "" : "s",
			     p->policy->groups[i].name);
	}
	return 0;
}

static void memory_done(struct memory *mem)
{
	for (size_t i = 0; mem->order && i < mem->n_nodes; i++)
		free(mem->order[i]);
	free(mem->locals);
	free(mem->first_local);
	free(mem->usable);
	free(mem->used);
	free(mem->reserved);
	free(mem->weight);
	free(mem->kernel_weight);
	free(mem->order);
	free(mem->nodes);
}

int plan_memory(struct planner *p)
{
	_cleanup_(memory_done) struct memory mem = { .p = p };
	_cleanup_free_ struct setting *settings =
		calloc(p->policy->n_groups + 1, sizeof(*settings));
	size_t n_problems = p->n_problems;
	struct solution s;
	int r;

	if (!settings)
		return -ENOMEM;
	r = prepare(&mem);
	if (r == 0)
		r = reserve(&mem);
	if (r == 0)
		r = read_settings(&mem, settings);
	if (r < 0)
		return r;
	r = solve(&mem, settings, &s);
	for (uint32_t i = 0; r == 0 && i < p->policy->n_groups; i++)
		if (s.failures[i].kind != FAILURE_NONE)
			problem_memory(&mem, settings, i, &s.failures[i]);
	if (r == 0 && p->n_problems == n_problems) {
		r = fill_plan(&mem, &s);
		if (r == 0)
			r = note_memory(&mem, &s);
	}
	solution_done(&mem, &s);
	return r;
}
