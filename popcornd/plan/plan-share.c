// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory for all kernels, if their groups say so: fixed sizes, proportional shares, equal ones. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "plan-memory.h"
#include "util.h"

__extension__ typedef unsigned __int128 u128;

static uint64_t round_down(uint64_t n, uint64_t to)
{
	return n - n % to;
}

static uint64_t scale(uint64_t n, uint64_t part, uint64_t of)
{
	return of ? (uint64_t)((u128)n * part / of) : 0;
}

static int compare_distance(const void *a, const void *b, void *userdata)
{
	const uint32_t *from = userdata, x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	/* The distances of one node lie in front of its number. */
	if (from[x] != from[y])
		return from[x] < from[y] ? -1 : 1;
	return x < y ? -1 : x > y;
}

const uint32_t *nearest(struct memory *mem, uint32_t home)
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

void solution_done(struct memory *mem, struct solution *s)
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

int solve(struct memory *mem, const struct setting *settings, struct solution *s)
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
