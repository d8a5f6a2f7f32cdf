// SPDX-License-Identifier: GPL-2.0-or-later
/* The steps of a plan, in their order; names; what all steps use to say something. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <popcorn.h>
#include <stdarg.h>
#include <string.h>

#include "keys.h"
#include "plan-internal.h"
#include "util.h"

static_assert(PLAN_KERNELS_MAX == POPCORN_KERNELS_MAX, "as the driver's");

const char *plan_problem_to_string(enum plan_problem_id id)
{
	switch (id) {
	case PROBLEM_CPU_UNKNOWN:
		return "CpuUnknown";
	case PROBLEM_CPU_UNUSABLE:
		return "CpuUnusable";
	case PROBLEM_CPU_KEPT:
		return "CpuKept";
	case PROBLEM_CPU_TAKEN:
		return "CpuTaken";
	case PROBLEM_NO_CPUS:
		return "NoCpus";
	case PROBLEM_SMT_SPLIT:
		return "SmtSplit";
	case PROBLEM_LEFTOVER:
		return "Leftover";
	case PROBLEM_NO_LEVEL:
		return "NoLevel";
	case PROBLEM_NO_MEMORY:
		return "NoMemory";
	case PROBLEM_MEMORY_ALIGN:
		return "MemoryAlign";
	case PROBLEM_DEVICE_UNKNOWN:
		return "DeviceUnknown";
	case PROBLEM_DEVICE_TAKEN:
		return "DeviceTaken";
	case PROBLEM_NAME_TWICE:
		return "NameTwice";
	case PROBLEM_TOO_MANY:
		return "TooMany";
	}
	return NULL;
}

/* Texts. */

__attribute__((format(printf, 3, 0))) static void text_vset(struct planner *p, char **target,
							    const char *format, va_list ap)
{
	free(*target);
	if (vasprintf(target, format, ap) < 0) {
		*target = NULL;
		p->no_memory = true;
	}
}

void text_set(struct planner *p, char **target, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	text_vset(p, target, format, ap);
	va_end(ap);
}

void suggest(struct planner *p, struct plan_problem *problem, const char *key, const char *format,
	     ...)
{
	va_list ap;

	text_set(p, &problem->suggest_key, "%s", key);
	va_start(ap, format);
	text_vset(p, &problem->suggest_value, format, ap);
	va_end(ap);
}

void note(struct planner *p, enum plan_note_kind kind, const char *kernel, const char *format, ...)
{
	struct plan *plan = p->plan;
	struct plan_note *more;
	va_list ap;

	/* Grows by doubling: room is there for the next power of two. */
	if ((plan->n_notes & (plan->n_notes - 1)) == 0) {
		more = realloc(plan->notes,
			       (plan->n_notes ? 2 * plan->n_notes : 1) * sizeof(*more));
		if (!more) {
			p->no_memory = true;
			return;
		}
		plan->notes = more;
	}
	more = &plan->notes[plan->n_notes++];
	*more = (struct plan_note){ .kind = kind };
	if (kernel)
		text_set(p, &more->kernel, "%s", kernel);
	va_start(ap, format);
	text_vset(p, &more->text, format, ap);
	va_end(ap);
}

static void problem_done(struct plan_problem *problem)
{
	free(problem->group);
	free(problem->resource);
	free(problem->owner);
	free(problem->asked);
	free(problem->available);
	free(problem->suggestion);
	free(problem->suggest_key);
	free(problem->suggest_value);
}

struct plan_problem *problem_new(struct planner *p, enum plan_problem_id id, uint32_t group)
{
	struct plan_problem *problem = &p->spare;

	if (!p->problems)
		p->problems = calloc(PLAN_PROBLEMS_MAX, sizeof(*p->problems));
	if (!p->problems)
		p->no_memory = true;
	else if (p->n_problems < PLAN_PROBLEMS_MAX)
		problem = &p->problems[p->n_problems++];
	problem_done(problem);
	*problem = (struct plan_problem){ .id = id };
	problem->line =
		group == GROUP_PRIMARY ? p->policy->primary.line : p->policy->groups[group].line;
	text_set(p, &problem->group, "%s",
		 group == GROUP_PRIMARY ? "primary" : p->policy->groups[group].name);
	return problem;
}

void plan_problems_free(struct plan_problem *problems, size_t n)
{
	for (size_t i = 0; i < n; i++)
		problem_done(&problems[i]);
	free(problems);
}

const char *cpus_text(hwloc_const_bitmap_t set, char buf[CPUS_TEXT_MAX])
{
	char list[CPUS_TEXT_MAX - 16];
	int n = hwloc_bitmap_list_snprintf(list, sizeof(list), set);
	const char *more = "";

	if (n >= (int)sizeof(list)) {
		char *comma = strrchr(list, ',');

		if (comma)
			*comma = '\0';
		more = ", …";
	}
	snprintf(buf, CPUS_TEXT_MAX, "%s%s%s",
		 n == 0				 ? "no CPU"
		 : hwloc_bitmap_weight(set) == 1 ? "CPU "
						 : "CPUs ",
		 list, more);
	return buf;
}

const char *size_key(uint64_t bytes, char buf[32])
{
	static const char *const units[] = { "", "K", "M", "G", "T" };
	size_t unit = 0;

	while (unit + 1 < ARRAY_SIZE(units) && bytes && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, 32, "%" PRIu64 "%s", bytes, units[unit]);
	return buf;
}

const char *owner_text(const struct planner *p, uint32_t owner, char buf[OWNER_TEXT_MAX])
{
	if (owner_is_draft(p, owner))
		snprintf(buf, OWNER_TEXT_MAX, "group %s", group_of_draft(p, owner)->name);
	else if (owner >= OWNER_USED)
		snprintf(buf, OWNER_TEXT_MAX, "kernel %s", p->input->used[owner - OWNER_USED].name);
	else
		snprintf(buf, OWNER_TEXT_MAX, "%s",
			 owner == OWNER_NOT_ALLOWED ? "another control group of the primary"
						    : "the primary");
	return buf;
}

/* From owners to kernels. */

static int compare_drafts(const void *a, const void *b, void *userdata)
{
	const struct planner *p = userdata;
	const struct draft *x = &p->drafts[*(const uint32_t *)a];
	const struct draft *y = &p->drafts[*(const uint32_t *)b];

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static int make_kernels(struct planner *p)
{
	const struct machine *m = p->machine;
	struct plan *plan = p->plan;
	_cleanup_free_ uint32_t *order = calloc(p->n_drafts + 1, sizeof(*order));
	_cleanup_free_ uint32_t *place = calloc(p->n_drafts + 1, sizeof(*place));
	size_t n = 0;

	plan->kernels = calloc(p->n_drafts + 1, sizeof(*plan->kernels));
	plan->cpus = calloc(m->n_cpus, sizeof(*plan->cpus));
	plan->places = calloc(m->n_cpus, sizeof(*plan->places));
	plan->primary_cpus = calloc(m->n_cpus, sizeof(*plan->primary_cpus));
	p->kernel_of = calloc(m->n_cpus, sizeof(*p->kernel_of));
	p->first_kernel = calloc(p->policy->n_groups + 1, sizeof(*p->first_kernel));
	if (!order || !place || !plan->kernels || !plan->cpus || !plan->places ||
	    !plan->primary_cpus || !p->kernel_of || !p->first_kernel)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_drafts; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, p->n_drafts, sizeof(*order), compare_drafts, p);
	for (size_t i = 0; i < p->n_drafts; i++) {
		place[order[i]] = (uint32_t)i;
		plan->kernels[i].group = &p->policy->groups[p->drafts[order[i]].group];
		p->first_kernel[p->drafts[order[i]].group + 1]++;
	}
	for (size_t i = 0; i < p->policy->n_groups; i++)
		p->first_kernel[i + 1] += p->first_kernel[i];
	plan->n_kernels = p->n_drafts;

	for (size_t i = 0; i < m->n_cpus; i++) {
		p->kernel_of[i] = UNKNOWN;
		if (!owner_is_draft(p, p->owner[i]))
			continue;
		p->kernel_of[i] = place[p->owner[i] - owner_of_draft(p, 0)];
		plan->kernels[p->kernel_of[i]].n_cpus++;
	}
	for (size_t i = 0; i < plan->n_kernels; i++) {
		plan->kernels[i].cpus = &plan->cpus[n];
		n += plan->kernels[i].n_cpus;
		plan->kernels[i].n_cpus = 0;
	}
	for (uint32_t cpu = 0; cpu < m->n_cpus; cpu++)
		if (p->kernel_of[cpu] != UNKNOWN) {
			struct plan_kernel *kernel = &plan->kernels[p->kernel_of[cpu]];

			plan->places[kernel->cpus - plan->cpus + (ptrdiff_t)kernel->n_cpus++] = cpu;
		}
	for (size_t i = 0; i < plan->n_kernels; i++)
		plan->kernels[i].n_cpus = 0;
	for (size_t i = 0; i < m->n_cpus; i++) {
		uint32_t cpu = m->by_os[i];

		if (p->kernel_of[cpu] != UNKNOWN) {
			struct plan_kernel *kernel = &plan->kernels[p->kernel_of[cpu]];

			plan->cpus[kernel->cpus - plan->cpus + (ptrdiff_t)kernel->n_cpus++] =
				m->cpus[cpu].os;
		} else if (p->owner[cpu] < OWNER_USED && p->owner[cpu] != OWNER_OFFLINE) {
			plan->primary_cpus[plan->n_primary_cpus++] = m->cpus[cpu].os;
		}
	}
	return 0;
}

/* Names. */

/* What stands for "{core}" and the like; false: the kernel's first CPU is in none. */
static bool expand(const struct planner *p, const struct plan_kernel *kernel, const char *word,
		   size_t length, size_t n, char *buf, size_t size)
{
	const struct machine *m = p->machine;
	uint32_t first = p->plan->places[kernel->cpus - p->plan->cpus];
	const struct machine_cpu *cpu = &m->cpus[first];

	if (length == 1 && *word == 'n') {
		snprintf(buf, size, "%zu", n);
		return true;
	}
	if (length == 3 && strncmp(word, "cpu", 3) == 0) {
		snprintf(buf, size, "%" PRIu32, kernel->cpus[0]);
		return true;
	}
	if (length == 4 && strncmp(word, "kind", 4) == 0) {
		if (cpu->kind == UNKNOWN)
			return false;
		snprintf(buf, size, "%s", m->kinds[cpu->kind].name);
		return true;
	}
	for (int level = 0; level < LEVEL_MACHINE; level++) {
		const char *name = level_to_string((enum machine_level)level);
		uint32_t domain = cpu->in[level], os;

		if (strlen(name) != length || strncmp(word, name, length) != 0)
			continue;
		if (domain == UNKNOWN)
			return false;
		os = m->domains[level][domain].os;
		snprintf(buf, size, "%" PRIu32, os == UNKNOWN ? domain : os);
		return true;
	}
	/* The parser knows no other word: shown as it is, and then not a name. */
	snprintf(buf, size, "{%.*s}", (int)(length < 16 ? length : 16), word);
	return true;
}

static void problem_placeholder(struct planner *p, uint32_t group, const char *word, size_t length)
{
	const char *template = p->policy->groups[group].name;
	struct plan_problem *problem = problem_new(p, PROBLEM_NO_LEVEL, group);
	size_t before = (size_t)(word - 1 - template);

	text_set(p, &problem->resource, "{%.*s} in the name", (int)length, word);
	text_set(p, &problem->asked, "kernels are to be called '%s'", template);
	text_set(p, &problem->available, "nobody knows in which %.*s some of them lie", (int)length,
		 word);
	text_set(p, &problem->suggestion, "number them by {n} instead");
	suggest(p, problem, "name", "%.*s{n}%s", (int)before, template, word + length + 1);
}

static int name_kernel(struct planner *p, uint32_t group, size_t n, struct plan_kernel *kernel)
{
	const char *template = p->policy->groups[group].name, *s;
	char name[256];
	size_t length = 0;
	bool varies = false;

	for (s = template; *s && length < sizeof(name) - 1; s++) {
		const char *end = *s == '{' ? strchr(s, '}') : NULL;

		if (!end) {
			name[length++] = *s;
			continue;
		}
		varies = true;
		if (!expand(p, kernel, s + 1, (size_t)(end - s) - 1, n, name + length,
			    sizeof(name) - length)) {
			problem_placeholder(p, group, s + 1, (size_t)(end - s) - 1);
			return 1;
		}
		length += strlen(name + length);
		s = end;
	}
	name[length] = '\0';
	text_set(p, &kernel->name, "%s", name);
	if (!varies && !policy_group_is_one(kernel->group))
		text_set(p, &kernel->name, "%s%zu", name, n);
	return 0;
}

static int compare_kernels(const void *a, const void *b)
{
	const struct plan_kernel *x = *(const struct plan_kernel *const *)a;
	const struct plan_kernel *y = *(const struct plan_kernel *const *)b;
	int r = strcmp(x->name, y->name);

	return r ? r : x < y ? -1 : x > y;
}

static int compare_used(const void *a, const void *b)
{
	return strcmp((*(const struct plan_used *const *)a)->name,
		      (*(const struct plan_used *const *)b)->name);
}

static uint32_t group_index(const struct planner *p, const struct plan_kernel *kernel)
{
	return (uint32_t)(kernel->group - p->policy->groups);
}

static void problem_name(struct planner *p, const struct plan_kernel *kernel, const char *owner)
{
	uint32_t group = group_index(p, kernel);
	struct plan_problem *problem = problem_new(p, PROBLEM_NAME_TWICE, group);

	text_set(p, &problem->resource, "the name '%s'", kernel->name);
	text_set(p, &problem->owner, "%s", owner);
	text_set(p, &problem->asked, "kernels are to be called '%s'", kernel->group->name);
	text_set(p, &problem->available, "%s is called '%s' too", owner, kernel->name);
	text_set(p, &problem->suggestion,
		 "put {n} or {cpu} into the name, or another word, so that no two are the same");
}

static int check_names(struct planner *p)
{
	struct plan *plan = p->plan;
	_cleanup_free_ const struct plan_kernel **sorted =
		calloc(plan->n_kernels + 1, sizeof(*sorted));
	_cleanup_free_ const struct plan_used **used = calloc(p->input->n_used + 1, sizeof(*used));

	if (!sorted || !used)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n_kernels; i++)
		sorted[i] = &plan->kernels[i];
	for (size_t i = 0; i < p->input->n_used; i++)
		used[i] = &p->input->used[i];
	qsort(sorted, plan->n_kernels, sizeof(*sorted), compare_kernels);
	qsort(used, p->input->n_used, sizeof(*used), compare_used);
	for (size_t i = 0; i < plan->n_kernels; i++) {
		const struct plan_used key = { .name = sorted[i]->name }, *wanted = &key;

		if (i > 0 && strcmp(sorted[i]->name, sorted[i - 1]->name) == 0) {
			char owner[OWNER_TEXT_MAX];

			snprintf(owner, sizeof(owner), "another kernel of group %s",
				 sorted[i - 1]->group->name);
			problem_name(p, sorted[i], owner);
		} else if (bsearch(&wanted, used, p->input->n_used, sizeof(*used), compare_used)) {
			problem_name(p, sorted[i], "a kernel that is not of this policy");
		}
		if (kernel_name_check(sorted[i]->name, NULL) < 0) {
			struct plan_problem *problem =
				problem_new(p, PROBLEM_NAME_TWICE, group_index(p, sorted[i]));

			text_set(p, &problem->resource, "the name '%s'", sorted[i]->name);
			text_set(p, &problem->asked, "kernels are to be called '%s'",
				 sorted[i]->group->name);
			text_set(p, &problem->available,
				 "a name is 1 to %d of A-Z a-z 0-9 _ . -, beginning with a letter "
				 "or digit",
				 POPCORN_NAME_MAX - 1);
			text_set(p, &problem->suggestion, "name the group otherwise");
		}
	}
	/* Overrides. */
	for (uint32_t i = 0; i < p->policy->n_groups; i++)
		for (size_t j = 0; j < p->policy->groups[i].n_overrides; j++) {
			const struct policy_override *override = &p->policy->groups[i].overrides[j];
			size_t low = 0, high = plan->n_kernels, first = p->first_kernel[i];
			struct plan_problem *problem;
			bool found = false;

			while (low < high) {
				size_t middle = low + (high - low) / 2;

				if (strcmp(sorted[middle]->name, override->name) < 0)
					low = middle + 1;
				else
					high = middle;
			}
			for (; low < plan->n_kernels &&
			       strcmp(sorted[low]->name, override->name) == 0;
			     low++)
				if (group_index(p, sorted[low]) == i) {
					plan->kernels[sorted[low] - plan->kernels].override =
						&override->kernel;
					found = true;
				}
			if (found)
				continue;
			problem = problem_new(p, PROBLEM_NAME_TWICE, i);
			problem->line = override->line;
			text_set(p, &problem->resource, "the override for '%s'", override->name);
			text_set(p, &problem->asked, "something is to be different for '%s'",
				 override->name);
			text_set(p, &problem->available, "the group makes %zu kernel%s: %s%s%s",
				 p->first_kernel[i + 1] - first,
				 p->first_kernel[i + 1] - first == 1 ? "" : "s",
				 plan->kernels[first].name,
				 p->first_kernel[i + 1] - first > 1 ? " … " : "",
				 p->first_kernel[i + 1] - first > 1
					 ? plan->kernels[p->first_kernel[i + 1] - 1].name
					 : "");
			text_set(p, &problem->suggestion,
				 "name one of these, or take the override out");
		}
	return 0;
}

static int plan_names(struct planner *p)
{
	size_t n_problems = p->n_problems;

	for (uint32_t i = 0; i < p->policy->n_groups; i++) {
		size_t first = p->first_kernel[i];

		for (size_t j = first; j < p->first_kernel[i + 1] && !p->no_memory; j++)
			if (name_kernel(p, i, j - first, &p->plan->kernels[j]))
				break;
	}
	if (p->no_memory)
		return -ENOMEM;
	return p->n_problems > n_problems ? 0 : check_names(p);
}

static void check_number(struct planner *p)
{
	size_t n = p->plan->n_kernels + p->input->n_used, max = p->machine->max_kernels, group;
	struct plan_problem *problem;

	if (n <= max || p->plan->n_kernels == 0)
		return;
	/* Fewer of the last group that divides: of one before it, this one would make more. */
	for (group = p->policy->n_groups; group > 0 && p->policy->groups[group - 1].cpus; group--)
		;
	problem = problem_new(p, PROBLEM_TOO_MANY,
			      group ? (uint32_t)group - 1 : (uint32_t)p->policy->n_groups - 1);
	text_set(p, &problem->resource, "kernels");
	if (p->input->n_used)
		text_set(p, &problem->owner, "%zu run that are not of this policy",
			 p->input->n_used);
	text_set(p, &problem->asked, "the policy makes %zu kernels", p->plan->n_kernels);
	text_set(p, &problem->available, "there is room for %zu", max);
	text_set(p, &problem->suggestion,
		 "make fewer and larger kernels: write cores or count, or a larger domain in per");
	if (group && p->first_kernel[group] - p->first_kernel[group - 1] > n - max)
		suggest(p, problem, "count", "%zu",
			p->first_kernel[group] - p->first_kernel[group - 1] - (n - max));
}

/* The order of starting. */

static int compare_group_names(const void *a, const void *b)
{
	return strcmp((*(const struct policy_group *const *)a)->name,
		      (*(const struct policy_group *const *)b)->name);
}

/*
 * A group starts after the last of those that it waits for. In a cycle, which the parser refuses,
 * nobody waits.
 */
static int plan_start(struct planner *p)
{
	const struct policy *policy = p->policy;
	size_t n = policy->n_groups, n_ready = 0, n_edges = 0, edge = 0;
	_cleanup_free_ const struct policy_group **by_name = calloc(n + 1, sizeof(*by_name));
	_cleanup_free_ unsigned *start = calloc(n + 1, sizeof(*start));
	_cleanup_free_ size_t *waits = calloc(n + 1, sizeof(*waits));
	_cleanup_free_ size_t *ready = calloc(n + 1, sizeof(*ready));
	_cleanup_free_ size_t *first = calloc(n + 1, sizeof(*first));
	_cleanup_free_ size_t(*edges)[2] = NULL; /* next of the same group, who waits */

	for (size_t i = 0; i < n; i++)
		n_edges += policy->groups[i].n_after;
	edges = calloc(n_edges + 1, sizeof(*edges));
	if (!by_name || !start || !waits || !ready || !first || !edges)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		by_name[i] = &policy->groups[i];
	qsort(by_name, n, sizeof(*by_name), compare_group_names);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < policy->groups[i].n_after; j++) {
			const struct policy_group key = { .name = policy->groups[i].after[j] };
			const struct policy_group *wanted = &key, **found;
			size_t index;

			found = bsearch(&wanted, by_name, n, sizeof(*by_name), compare_group_names);
			if (!found)
				continue;
			index = (size_t)(*found - policy->groups);
			edges[++edge][0] = first[index];
			edges[edge][1] = i;
			first[index] = edge;
			waits[i]++;
		}
	for (size_t i = 0; i < n; i++)
		if (!waits[i])
			ready[n_ready++] = i;
	for (size_t i = 0; i < n_ready; i++)
		for (size_t e = first[ready[i]]; e; e = edges[e][0]) {
			size_t waiter = edges[e][1];

			if (start[waiter] < start[ready[i]] + 1)
				start[waiter] = start[ready[i]] + 1;
			if (--waits[waiter] == 0)
				ready[n_ready++] = waiter;
		}
	for (size_t i = 0; i < p->plan->n_kernels; i++)
		p->plan->kernels[i].start = start[group_index(p, &p->plan->kernels[i])];
	return 0;
}

/* All of it. */

struct plan *plan_free(struct plan *plan)
{
	if (!plan)
		return NULL;
	for (size_t i = 0; i < plan->n_kernels; i++)
		free(plan->kernels[i].name);
	free(plan->kernels);
	free(plan->primary_cpus);
	free(plan->primary_memory);
	plan_notes_free(plan->notes, plan->n_notes);
	free(plan->cpus);
	free(plan->places);
	free(plan->memory);
	free(plan->devices);
	free(plan);
	return NULL;
}

static void planner_done(struct planner *p)
{
	plan_free(p->plan);
	plan_problems_free(p->problems, p->n_problems);
	problem_done(&p->spare);
	hwloc_bitmap_free(p->known);
	free(p->owner);
	free(p->left_by);
	free(p->drafts);
	free(p->kernel_of);
	free(p->first_kernel);
}

/* The CPU that the machine was booted with: Linux calls it 0. */
static uint32_t find_boot_cpu(const struct machine *m)
{
	for (size_t i = 0; i < m->n_cpus; i++)
		if (m->cpus[m->by_os[i]].state != CPU_OFFLINE)
			return m->by_os[i];
	return m->by_os[0];
}

static int run(struct planner *p)
{
	int r;

	for (size_t i = 0; i < p->machine->n_warnings; i++)
		note(p, NOTE_WARNING, NULL, "%s", p->machine->warnings[i]);
	if (p->policy->n_groups == 0)
		note(p, NOTE_WARNING, NULL,
		     "the policy has no groups: everything stays with the primary");
	r = plan_cpus(p);
	if (r < 0 || p->n_problems)
		return r;
	r = make_kernels(p);
	if (r < 0)
		return r;
	check_number(p);
	r = plan_names(p);
	if (r == 0)
		r = plan_memory(p);
	if (r == 0)
		r = plan_devices(p);
	if (r == 0)
		r = plan_start(p);
	return r;
}

int plan_make(const struct plan_input *input, struct plan **ret, struct plan_problem **ret_problems,
	      size_t *ret_n_problems)
{
	_cleanup_(planner_done) struct planner p = {
		.input = input,
		.machine = input->machine,
		.policy = input->policy,
		.plan = calloc(1, sizeof(*p.plan)),
		.known = hwloc_bitmap_alloc(),
		.owner = calloc(input->machine->n_cpus + 1, sizeof(*p.owner)),
		.left_by = calloc(input->machine->n_cpus + 1, sizeof(*p.left_by)),
	};
	int r;

	if (!p.plan || !p.known || !p.owner || !p.left_by)
		return -ENOMEM;
	p.plan->machine = p.machine;
	p.plan->policy = p.policy;
	p.boot = find_boot_cpu(p.machine);
	r = run(&p);
	if (r < 0 || p.no_memory)
		return -ENOMEM;
	if (p.n_problems) {
		*ret_problems = steal_ptr(p.problems);
		*ret_n_problems = p.n_problems;
		p.n_problems = 0;
		return -EDOM;
	}
	*ret = steal_ptr(p.plan);
	return 0;
}

const struct plan_kernel *plan_find(const struct plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->n_kernels; i++)
		if (strcmp(plan->kernels[i].name, name) == 0)
			return &plan->kernels[i];
	return NULL;
}
