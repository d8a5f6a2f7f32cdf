// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who gets how much memory of which node: the primary's minimum, fixed sizes, proportional shares,
 * equal ones. docs/policies.md has the rules.
 *
 * All of it is one function of the groups' settings, solve(), so that a suggestion can be tried
 * before it is made.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "plan-internal.h"
#include "util.h"

__extension__ typedef unsigned __int128 u128;

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

static uint64_t round_down(uint64_t n, uint64_t to)
{
	return n - n % to;
}

static uint64_t scale(uint64_t n, uint64_t part, uint64_t of)
{
	return of ? (uint64_t)((u128)n * part / of) : 0;
}

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

static int compare_distance(const void *a, const void *b, void *userdata)
{
	const uint32_t *from = userdata, x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	/* The distances of one node lie in front of its number. */
	if (from[x] != from[y])
		return from[x] < from[y] ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* All nodes, the nearest to @home first; NULL: no memory. */
static const uint32_t *nearest(struct memory *mem, uint32_t home)
{
	_cleanup_free_ uint32_t *distance = NULL;

	if (mem->order[home])
		return mem->order[home];
	distance = calloc(mem->n_nodes, sizeof(*distance));
	mem->order[home] = calloc(mem->n_nodes, sizeof(*mem->order[home]));
	if (!distance || !mem->order[home]) {
		mem->p->no_memory = true;
		return NULL;
	}
	for (uint32_t i = 0; i < mem->n_nodes; i++) {
		distance[i] = machine_distance(mem->p->machine, home, i);
		mem->order[home][i] = i;
	}
	qsort_r(mem->order[home], mem->n_nodes, sizeof(*mem->order[home]), compare_distance,
		distance);
	return mem->order[home];
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

/* Parts. */

/* A node may come several times; sorted and merged at the end. */
static void part_add(struct memory *mem, struct part *part, uint32_t node, uint64_t bytes)
{
	if (bytes == 0)
		return;
	part->bytes += bytes;
	if (part->n == part->room) {
		size_t room = part->room ? 2 * part->room : 2;
		struct plan_memory *more = realloc(part->nodes, room * sizeof(*more));

		if (!more) {
			mem->p->no_memory = true;
			return;
		}
		part->nodes = more;
		part->room = room;
	}
	part->nodes[part->n++] = (struct plan_memory){ node, bytes };
}

static uint32_t group_of(const struct memory *mem, size_t kernel)
{
	return (uint32_t)(mem->p->plan->kernels[kernel].group - mem->p->policy->groups);
}

static void fail(struct memory *mem, struct solution *s, enum failure_kind kind, size_t kernel,
		 uint32_t node, uint64_t asked, uint64_t available)
{
	struct failure *failure = &s->failures[group_of(mem, kernel)];

	if (failure->kind == FAILURE_NONE)
		*failure = (struct failure){ kind, kernel, node, asked, available };
}

/* The node with most of the kernel's cores. */
static uint32_t home_of(const struct memory *mem, size_t kernel)
{
	uint32_t home = UNKNOWN;
	uint64_t most = 0;

	for (size_t i = mem->first_local[kernel]; i < mem->first_local[kernel + 1]; i++)
		if (mem->locals[i].weight > most) {
			most = mem->locals[i].weight;
			home = mem->locals[i].node;
		}
	return home == UNKNOWN ? mem->home : home;
}

/*
 * @bytes, a multiple of @align, by the cores on each local node that has memory at all: *@shares,
 * beside the kernel's locals. Whole quotas first, then one @align after the other to the node that
 * has most cores for what it has got (D'Hondt): of all methods one of those by which no node's
 * share becomes smaller when the whole grows, so that the largest whole can be found by bisection.
 * False: no node has memory.
 */
static bool share_locally(const struct memory *mem, size_t kernel, uint64_t bytes, uint64_t align,
			  uint64_t *shares)
{
	const struct local *locals = &mem->locals[mem->first_local[kernel]];
	size_t n = mem->first_local[kernel + 1] - mem->first_local[kernel];
	uint64_t weight = 0, units = bytes / align, given = 0;

	for (size_t i = 0; i < n; i++)
		if (mem->usable[locals[i].node])
			weight += locals[i].weight;
	if (weight == 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		shares[i] =
			mem->usable[locals[i].node] ? scale(units, locals[i].weight, weight) : 0;
		given += shares[i];
	}
	for (; given < units; given++) {
		size_t best = n;

		for (size_t i = 0; i < n; i++)
			if (mem->usable[locals[i].node] &&
			    (best == n || (u128)locals[i].weight * (shares[best] + 1) >
						  (u128)locals[best].weight * (shares[i] + 1)))
				best = i;
		shares[best]++;
	}
	for (size_t i = 0; i < n; i++)
		shares[i] *= align;
	return true;
}

/* From where there is some, the kernel's own nodes first; returns what could not be had. */
static uint64_t take_anywhere(struct memory *mem, size_t kernel, uint64_t bytes, uint64_t align,
			      uint64_t *left, struct part *part)
{
	const uint32_t *order;

	for (size_t i = mem->first_local[kernel]; i < mem->first_local[kernel + 1] && bytes; i++) {
		uint32_t node = mem->locals[i].node;
		uint64_t some = round_down(left[node] < bytes ? left[node] : bytes, align);

		left[node] -= some;
		bytes -= some;
		if (part)
			part_add(mem, part, node, some);
	}
	order = bytes ? nearest(mem, home_of(mem, kernel)) : NULL;
	for (size_t i = 0; order && i < mem->n_nodes && bytes; i++) {
		uint64_t some = round_down(left[order[i]] < bytes ? left[order[i]] : bytes, align);

		left[order[i]] -= some;
		bytes -= some;
		if (part)
			part_add(mem, part, order[i], some);
	}
	return bytes;
}

/* Of its share of each local node as much as there is; returns what is missing. */
static uint64_t take_local_share(struct memory *mem, struct solution *s, size_t kernel,
				 uint64_t bytes, uint64_t align, uint64_t *left, struct part *part)
{
	size_t first = mem->first_local[kernel], n = mem->first_local[kernel + 1] - first;
	uint64_t *shares = s->scratch;

	if (!share_locally(mem, kernel, bytes, align, shares))
		return bytes;
	for (size_t i = 0; i < n; i++) {
		uint32_t node = mem->locals[first + i].node;
		uint64_t some = shares[i] < left[node] ? shares[i] : round_down(left[node], align);

		left[node] -= some;
		bytes -= some;
		if (part)
			part_add(mem, part, node, some);
	}
	return bytes;
}

/*
 * A size that is not to be changed, of nodes that are not to be changed. False: it can't be had, and
 * *@failure says why; nothing is taken then.
 */
static bool take_exactly(struct memory *mem, struct solution *s, size_t kernel, uint64_t bytes,
			 uint64_t *left, struct part *part, struct failure *failure)
{
	const struct setting *setting = &s->settings[group_of(mem, kernel)];
	size_t first = mem->first_local[kernel], n = mem->first_local[kernel + 1] - first;
	uint64_t *shares = s->scratch;

	if (setting->from == FROM_INTERLEAVE) {
		n = setting->n_nodes;
		if (n == 0) {
			*failure = (struct failure){ FAILURE_NO_NODE, kernel, UNKNOWN, bytes, 0 };
			return false;
		}
		for (size_t i = 0; i < n; i++)
			shares[i] = bytes / n;
	} else if (!share_locally(mem, kernel, bytes, setting->align, shares)) {
		*failure = (struct failure){ FAILURE_NO_NODE, kernel, UNKNOWN, bytes, 0 };
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t node = setting->from == FROM_INTERLEAVE ? setting->nodes[i]
								 : mem->locals[first + i].node;

		if (shares[i] > left[node]) {
			*failure = (struct failure){ FAILURE_NODE, kernel, node, shares[i],
						     left[node] };
			return false;
		}
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t node = setting->from == FROM_INTERLEAVE ? setting->nodes[i]
								 : mem->locals[first + i].node;

		left[node] -= shares[i];
		if (part)
			part_add(mem, part, node, shares[i]);
	}
	return true;
}

/* Fixed sizes: those that say from where, then those that take what is there. */
static void solve_fixed(struct memory *mem, struct solution *s)
{
	for (int any = 0; any <= 1; any++)
		for (size_t i = 0; i < mem->n_kernels; i++) {
			const struct setting *setting = &s->settings[group_of(mem, i)];
			struct failure failure;
			uint64_t missing;

			if (setting->skip || setting->memory != MEMORY_FIXED ||
			    (setting->from == FROM_ANY) != any)
				continue;
			if (setting->bytes < PLAN_MEMORY_MIN) {
				fail(mem, s, FAILURE_SMALL, i, UNKNOWN, setting->bytes,
				     setting->bytes);
				continue;
			}
			if (any) {
				missing = take_local_share(mem, s, i, setting->bytes,
							   setting->align, s->left, &s->parts[i]);
				missing = take_anywhere(mem, i, missing, setting->align, s->left,
							&s->parts[i]);
				if (missing)
					fail(mem, s, FAILURE_TOTAL, i, UNKNOWN, setting->bytes,
					     setting->bytes - missing);
			} else if (!take_exactly(mem, s, i, setting->bytes, s->left, &s->parts[i],
						 &failure)) {
				fail(mem, s, failure.kind, i, failure.node, failure.asked,
				     failure.available);
			}
		}
}

static bool is_proportional(const struct memory *mem, const struct solution *s, size_t kernel)
{
	const struct setting *setting = &s->settings[group_of(mem, kernel)];

	return !setting->skip && setting->memory == MEMORY_PROPORTIONAL;
}

/* What an interleaving kernel may have of each of its nodes: as much as of the poorest. */
static uint64_t interleaved_share(const struct memory *mem, const struct setting *setting,
				  size_t kernel)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < setting->n_nodes; i++) {
		uint64_t share = scale(mem->usable[setting->nodes[i]], mem->kernel_weight[kernel],
				       mem->weight_all);

		least = share < least ? share : least;
	}
	return setting->n_nodes ? least : 0;
}

/*
 * What all kernels that say so have of a node in proportion is @sum, and there is @start. The
 * shares are rounded down, unless that takes more than half of them and `align` is not the
 * policy's own: then it is to be the finest.
 */
static void take_proportional(struct memory *mem, struct solution *s, size_t kernel,
			      const uint64_t *sum, const uint64_t *start)
{
	uint32_t group = group_of(mem, kernel);
	const struct setting *setting = &s->settings[group];
	bool interleave = setting->from == FROM_INTERLEAVE;
	const struct local *locals = &mem->locals[mem->first_local[kernel]];
	size_t n = interleave ? setting->n_nodes
			      : mem->first_local[kernel + 1] - mem->first_local[kernel];
	uint64_t *shares = s->scratch, all = 0, rounded = 0, align = setting->align;
	uint64_t same = interleave ? interleaved_share(mem, setting, kernel) : 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t node = interleave ? setting->nodes[i] : locals[i].node;

		shares[i] = interleave
				    ? same
				    : scale(mem->usable[node], locals[i].weight, mem->weight[node]);
		if (sum[node] > start[node])
			shares[i] = scale(shares[i], start[node], sum[node]);
	}
	/* The same of each: as much as of the poorest. */
	for (size_t i = 1; interleave && i < n; i++)
		shares[0] = shares[i] < shares[0] ? shares[i] : shares[0];
	for (size_t i = 0; i < n; i++) {
		shares[i] = interleave ? shares[0] : shares[i];
		all += shares[i];
		rounded += round_down(shares[i], align);
	}
	if (setting->free_align && rounded < all / 2 && align > ALIGN_MIN)
		align = ALIGN_MIN;
	s->aligns[kernel] = align;
	for (size_t i = 0; i < n; i++) {
		uint32_t node = interleave ? setting->nodes[i] : locals[i].node;
		uint64_t some = round_down(shares[i], align);

		s->lost[group] += shares[i] - some;
		s->left[node] -= some;
		part_add(mem, &s->parts[kernel], node, some);
	}
}

/*
 * A kernel's part of what a node has; where more was taken off before than leaves that to all, each
 * gets less, in the same proportion.
 */
static int solve_proportional(struct memory *mem, struct solution *s)
{
	_cleanup_free_ uint64_t *sum = calloc(mem->n_nodes, sizeof(*sum));
	_cleanup_free_ uint64_t *start = calloc(mem->n_nodes, sizeof(*start));

	if (!sum || !start)
		return -ENOMEM;
	memcpy(start, s->left, mem->n_nodes * sizeof(*start));
	for (size_t i = 0; i < mem->n_kernels; i++) {
		const struct setting *setting = &s->settings[group_of(mem, i)];

		if (!is_proportional(mem, s, i))
			continue;
		if (setting->from == FROM_INTERLEAVE) {
			uint64_t share = interleaved_share(mem, setting, i);

			for (size_t j = 0; j < setting->n_nodes; j++)
				sum[setting->nodes[j]] += share;
			continue;
		}
		for (size_t j = mem->first_local[i]; j < mem->first_local[i + 1]; j++) {
			const struct local *local = &mem->locals[j];

			sum[local->node] += scale(mem->usable[local->node], local->weight,
						  mem->weight[local->node]);
		}
	}
	for (size_t i = 0; i < mem->n_nodes; i++)
		s->scarce[i] = sum[i] > start[i];
	for (size_t i = 0; i < mem->n_kernels; i++)
		if (is_proportional(mem, s, i))
			take_proportional(mem, s, i, sum, start);
	/* Those that may have memory of elsewhere make up for what their own nodes lack. */
	for (size_t i = 0; i < mem->n_kernels; i++) {
		const struct setting *setting = &s->settings[group_of(mem, i)];
		uint64_t weight = mem->kernel_weight[i], wanted = 0;

		if (!is_proportional(mem, s, i) || setting->from != FROM_ANY)
			continue;
		for (size_t j = mem->first_local[i]; j < mem->first_local[i + 1]; j++) {
			const struct local *local = &mem->locals[j];

			if (!mem->usable[local->node])
				continue;
			weight -= local->weight;
			wanted += scale(mem->usable[local->node], local->weight,
					mem->weight[local->node]);
		}
		/* A core without memory of its own: as much as a core has on the average. */
		wanted += scale(mem->usable_all, weight, mem->weight_all);
		wanted = round_down(wanted, s->aligns[i]);
		if (wanted > s->parts[i].bytes)
			take_anywhere(mem, i, wanted - s->parts[i].bytes, s->aligns[i], s->left,
				      &s->parts[i]);
	}
	for (size_t i = 0; i < mem->n_kernels; i++)
		if (is_proportional(mem, s, i) && s->parts[i].bytes < PLAN_MEMORY_MIN)
			fail(mem, s, FAILURE_SMALL, i, home_of(mem, i), PLAN_MEMORY_MIN,
			     s->parts[i].bytes);
	return 0;
}

/* Equal shares. */

/* The next smaller `align` than @below of an equal kernel that takes memory from anywhere; 0. */
static uint64_t next_align(const struct memory *mem, const struct solution *s, uint64_t below)
{
	uint64_t next = 0;

	for (size_t i = 0; i < mem->p->policy->n_groups; i++) {
		const struct setting *setting = &s->settings[i];

		if (!setting->skip && setting->memory == MEMORY_EQUAL &&
		    setting->from == FROM_ANY && setting->align < below && setting->align > next)
			next = setting->align;
	}
	return next;
}

static bool is_equal(const struct memory *mem, const struct solution *s, size_t kernel)
{
	const struct setting *setting = &s->settings[group_of(mem, kernel)];

	return !setting->skip && setting->memory == MEMORY_EQUAL;
}

/*
 * Whether all equal kernels can have @bytes; @parts NULL: only looked at. First those that say from
 * where, then those that take memory from anywhere, the coarsest `align` first: where one divides
 * the next, what a coarse one takes from where never changes how many finer ones fit.
 */
static bool try_equal(struct memory *mem, struct solution *s, uint64_t bytes, uint64_t *left,
		      struct part *parts, struct failure *failure)
{
	for (size_t i = 0; i < mem->n_kernels; i++)
		if (is_equal(mem, s, i) && s->settings[group_of(mem, i)].from != FROM_ANY &&
		    !take_exactly(mem, s, i, bytes, left, parts ? &parts[i] : NULL, failure))
			return false;
	for (uint64_t align = next_align(mem, s, UINT64_MAX); align;
	     align = next_align(mem, s, align)) {
		uint64_t room = 0, wanted = 0;
		size_t last = 0;

		for (size_t i = 0; i < mem->n_nodes; i++)
			room += round_down(left[i], align);
		for (size_t i = 0; i < mem->n_kernels; i++)
			if (is_equal(mem, s, i) && s->settings[group_of(mem, i)].from == FROM_ANY &&
			    s->settings[group_of(mem, i)].align == align) {
				wanted += bytes;
				last = i;
			}
		if (wanted > room) {
			*failure = (struct failure){ FAILURE_TOTAL, last, UNKNOWN, wanted, room };
			return false;
		}
		for (int pass = 0; pass <= 1; pass++)
			for (size_t i = 0; i < mem->n_kernels; i++) {
				struct part *part = parts ? &parts[i] : NULL;

				if (!is_equal(mem, s, i) ||
				    s->settings[group_of(mem, i)].from != FROM_ANY ||
				    s->settings[group_of(mem, i)].align != align)
					continue;
				/* The first pass: everybody's own nodes, before others look there. */
				if (pass == 0) {
					s->missing[i] = take_local_share(mem, s, i, bytes, align,
									 left, part);
				} else if (take_anywhere(mem, i, s->missing[i], align, left,
							 part)) {
					/* Only where no `align` divides the other. */
					*failure = (struct failure){ FAILURE_TOTAL, i, UNKNOWN,
								     wanted, room };
					return false;
				}
			}
	}
	return true;
}

/* What each equal kernel's size is a multiple of; 0: of nothing that a machine has. */
static uint64_t equal_unit(const struct memory *mem, const struct solution *s)
{
	uint64_t unit = 1;

	for (size_t i = 0; i < mem->p->policy->n_groups; i++) {
		const struct setting *setting = &s->settings[i];
		uint64_t own = setting->align, a, b;

		if (setting->skip || setting->memory != MEMORY_EQUAL ||
		    mem->p->first_kernel[i] == mem->p->first_kernel[i + 1])
			continue;
		if (setting->from == FROM_INTERLEAVE && setting->n_nodes)
			own *= setting->n_nodes;
		for (a = unit, b = own; b;) {
			uint64_t rest = a % b;

			a = b;
			b = rest;
		}
		if ((u128)(unit / a) * own > mem->usable_all)
			return 0;
		unit = unit / a * own;
	}
	return unit;
}

/* The largest size that all equal kernels can have, in units of *@ret_unit; 0: none. */
static uint64_t largest_equal(struct memory *mem, struct solution *s, uint64_t *ret_unit)
{
	struct failure failure;
	uint64_t unit = equal_unit(mem, s), low = 0, high = 0;

	*ret_unit = unit;
	for (size_t i = 0; unit && i < mem->n_nodes; i++)
		high += s->left[i];
	high = unit ? high / unit : 0;
	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2;

		memcpy(s->trial, s->left, mem->n_nodes * sizeof(*s->trial));
		if (try_equal(mem, s, middle * unit, s->trial, NULL, &failure))
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static void solve_equal(struct memory *mem, struct solution *s)
{
	struct failure failure;
	uint64_t unit, n, least;
	size_t first = SIZE_MAX;
	bool refined = false;

	for (size_t i = 0; i < mem->n_kernels; i++) {
		struct setting *setting = &s->settings[group_of(mem, i)];

		if (!is_equal(mem, s, i))
			continue;
		if ((setting->from == FROM_INTERLEAVE && setting->n_nodes == 0) ||
		    (setting->from == FROM_LOCAL &&
		     !share_locally(mem, i, 0, setting->align, s->scratch))) {
			fail(mem, s, FAILURE_NO_NODE, i, UNKNOWN, PLAN_MEMORY_MIN, 0);
			setting->skip = true;
		}
	}
	for (size_t i = 0; i < mem->n_kernels && first == SIZE_MAX; i++)
		first = is_equal(mem, s, i) ? i : first;
	if (first == SIZE_MAX)
		return;
	n = largest_equal(mem, s, &unit);
	/* As with proportional shares: whole blocks only where they do not take all of it. */
	for (size_t i = 0; n * unit < PLAN_MEMORY_MIN && i < mem->p->policy->n_groups; i++)
		if (s->settings[i].memory == MEMORY_EQUAL && s->settings[i].free_align &&
		    s->settings[i].align > ALIGN_MIN) {
			s->settings[i].align = ALIGN_MIN;
			refined = true;
		}
	if (refined)
		n = largest_equal(mem, s, &unit);
	if (unit == 0) {
		fail(mem, s, FAILURE_SMALL, first, UNKNOWN, PLAN_MEMORY_MIN, 0);
		return;
	}
	least = (PLAN_MEMORY_MIN + unit - 1) / unit;
	if (n >= least) {
		try_equal(mem, s, n * unit, s->left, s->parts, &failure);
		return;
	}
	/* Who is in the way of the least that would do. */
	memcpy(s->trial, s->left, mem->n_nodes * sizeof(*s->trial));
	if (try_equal(mem, s, least * unit, s->trial, NULL, &failure))
		failure = (struct failure){ FAILURE_SMALL, first, UNKNOWN, least * unit, n * unit };
	fail(mem, s, failure.kind, failure.kernel, failure.node, failure.asked, failure.available);
}

/* All of it. */

static void solution_done(struct memory *mem, struct solution *s)
{
	for (size_t i = 0; s->parts && i < mem->n_kernels; i++)
		free(s->parts[i].nodes);
	free(s->settings);
	free(s->failures);
	free(s->lost);
	free(s->parts);
	free(s->left);
	free(s->missing);
	free(s->aligns);
	free(s->scratch);
	free(s->trial);
	free(s->scarce);
}

static int solve(struct memory *mem, const struct setting *settings, struct solution *s)
{
	size_t n_groups = mem->p->policy->n_groups;
	int r;

	*s = (struct solution){
		.settings = calloc(n_groups + 1, sizeof(*s->settings)),
		.failures = calloc(n_groups + 1, sizeof(*s->failures)),
		.lost = calloc(n_groups + 1, sizeof(*s->lost)),
		.parts = calloc(mem->n_kernels + 1, sizeof(*s->parts)),
		.left = calloc(mem->n_nodes, sizeof(*s->left)),
		.missing = calloc(mem->n_kernels + 1, sizeof(*s->missing)),
		.aligns = calloc(mem->n_kernels + 1, sizeof(*s->aligns)),
		.scratch = calloc(mem->n_nodes, sizeof(*s->scratch)),
		.trial = calloc(mem->n_nodes, sizeof(*s->trial)),
		.scarce = calloc(mem->n_nodes, sizeof(*s->scarce)),
	};
	if (!s->settings || !s->failures || !s->lost || !s->parts || !s->left || !s->missing ||
	    !s->aligns || !s->scratch || !s->trial || !s->scarce)
		return -ENOMEM;
	memcpy(s->settings, settings, n_groups * sizeof(*settings));
	for (size_t i = 0; i < mem->n_nodes; i++)
		s->left[i] = mem->usable[i] - mem->used[i] - mem->reserved[i];
	solve_fixed(mem, s);
	r = solve_proportional(mem, s);
	if (r < 0)
		return r;
	solve_equal(mem, s);
	return mem->p->no_memory ? -ENOMEM : 0;
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
