// SPDX-License-Identifier: GPL-2.0-or-later
/* What can be said of a finished plan: figures, reasons, and what is different from what runs. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "planner.h"
#include "util.h"

void plan_notes_free(struct plan_note *notes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(notes[i].kernel);
		free(notes[i].text);
	}
	free(notes);
}

/* Figures. */

static const uint32_t *places_of(const struct plan *plan, const struct plan_kernel *kernel)
{
	return plan->places + (kernel->cpus - plan->cpus);
}

/* How many domains of @level the kernel has CPUs of, and of how many somebody else has some too. */
static unsigned count_domains(const struct plan *plan, const struct plan_kernel *kernel,
			      enum machine_level level, unsigned *ret_split)
{
	const struct machine *m = plan->machine;
	const uint32_t *places = places_of(plan, kernel);
	unsigned n = 0, split = 0;

	for (size_t i = 0; i < kernel->n_cpus;) {
		uint32_t index = m->cpus[places[i]].in[level];
		const struct machine_domain *domain;
		size_t own = 0, all = 0;

		if (index == UNKNOWN) {
			i++;
			continue;
		}
		/* The CPUs of a domain are neighbours, also among those of a kernel. */
		for (; i < kernel->n_cpus && m->cpus[places[i]].in[level] == index; i++)
			own++;
		n++;
		domain = &m->domains[level][index];
		for (uint32_t cpu = 0; ret_split && cpu < domain->n_cpus; cpu++)
			all += m->cpus[domain->first_cpu + cpu].state != CPU_OFFLINE;
		split += all > own;
	}
	if (ret_split)
		*ret_split = split;
	return n;
}

void plan_kernel_view(const struct plan *plan, const struct plan_kernel *kernel,
		      struct plan_view *ret)
{
	const struct machine *m = plan->machine;
	const uint32_t *places = places_of(plan, kernel);
	struct plan_view view = { 0 };
	size_t n_placed = 0; /* CPUs of which the node is known */
	double sum = 0;

	view.cores = count_domains(plan, kernel, LEVEL_CORE, &view.split_cores);
	view.l3s = count_domains(plan, kernel, LEVEL_L3, &view.split_l3s);
	view.nodes = count_domains(plan, kernel, LEVEL_NODE, NULL);
	view.packages = count_domains(plan, kernel, LEVEL_PACKAGE, NULL);
	for (size_t i = 0; i < kernel->n_cpus;) {
		uint32_t node = m->cpus[places[i]].in[LEVEL_NODE];
		size_t n = 0;

		for (; i < kernel->n_cpus && m->cpus[places[i]].in[LEVEL_NODE] == node; i++)
			n++;
		for (size_t j = 0; node != UNKNOWN && j < kernel->n_memory; j++) {
			unsigned distance = machine_distance(m, node, kernel->memory[j].node);

			if (distance > view.distance_max)
				view.distance_max = distance;
			sum += (double)distance * (double)n * (double)kernel->memory[j].bytes;
			if (node == kernel->memory[j].node)
				view.local_bytes += kernel->memory[j].bytes;
		}
		n_placed += node != UNKNOWN ? n : 0;
	}
	if (n_placed && kernel->bytes)
		view.distance_mean_x10 =
			(unsigned)(10 * sum / ((double)n_placed * (double)kernel->bytes) + 0.5);
	*ret = view;
}

/* Reasons. */

struct notes {
	struct plan_note *notes;
	size_t n, room;
	bool no_memory;
};

__attribute__((format(printf, 4, 5))) static void say(struct notes *notes, enum plan_note_kind kind,
						      const char *kernel, const char *format, ...)
{
	struct plan_note *one;
	va_list ap;
	int r;

	if (notes->n == notes->room) {
		size_t room = notes->room ? 2 * notes->room : 16;

		one = realloc(notes->notes, room * sizeof(*one));
		if (!one) {
			notes->no_memory = true;
			return;
		}
		notes->notes = one;
		notes->room = room;
	}
	one = &notes->notes[notes->n++];
	*one = (struct plan_note){ .kind = kind, .kernel = kernel ? strdup(kernel) : NULL };
	va_start(ap, format);
	r = vasprintf(&one->text, format, ap);
	va_end(ap);
	if (r < 0)
		one->text = NULL;
	if (r < 0 || (kernel && !one->kernel))
		notes->no_memory = true;
}

/* "0-3,7" of ascending numbers; at a length that nobody reads it ends in "…". */
#define NUMBERS_TEXT_MAX 160
static const char *numbers_text(const uint32_t *numbers, size_t n, char buf[NUMBERS_TEXT_MAX])
{
	size_t length = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n;) {
		size_t end = i + 1;

		while (end < n && numbers[end] == numbers[end - 1] + 1)
			end++;
		if (length > NUMBERS_TEXT_MAX - 32) {
			snprintf(buf + length, NUMBERS_TEXT_MAX - length, ",…");
			break;
		}
		length += (size_t)snprintf(buf + length, NUMBERS_TEXT_MAX - length, "%s%" PRIu32,
					   i ? "," : "", numbers[i]);
		if (end - i > 1)
			length += (size_t)snprintf(buf + length, NUMBERS_TEXT_MAX - length,
						   "-%" PRIu32, numbers[end - 1]);
		i = end;
	}
	return buf;
}

#define NUMBERS_TEXT(numbers, n) numbers_text((numbers), (n), (char[NUMBERS_TEXT_MAX]){ 0 })

static void explain_primary(const struct plan *plan, struct notes *notes)
{
	const struct machine *m = plan->machine;
	uint64_t bytes = 0;

	for (size_t i = 0; i < m->n_domains[LEVEL_NODE]; i++)
		bytes += plan->primary_memory[i];
	say(notes, NOTE_INFO, NULL,
	    "the primary has CPU%s %s: the boot CPU, what it keeps and what is left",
	    plan->n_primary_cpus == 1 ? "" : "s",
	    NUMBERS_TEXT(plan->primary_cpus, plan->n_primary_cpus));
	say(notes, NOTE_INFO, NULL,
	    "the primary has %s of memory, which is what no other kernel gets", SIZE_TEXT(bytes));
}

static const char *per_text(enum policy_per per)
{
	switch (per) {
	case PER_NOTHING:
		return NULL;
	case PER_THREAD:
		return "thread";
	case PER_CORE:
		return "core";
	case PER_L3:
		return "L3 cache";
	case PER_NODE:
		return "node";
	case PER_PACKAGE:
		return "package";
	case PER_KIND:
		return "kind of cores";
	}
	return NULL;
}

static void explain_cpus(const struct plan_kernel *kernel, struct notes *notes)
{
	const struct policy_group *group = kernel->group;
	const char *cpus = NUMBERS_TEXT(kernel->cpus, kernel->n_cpus);
	const char *s = kernel->n_cpus == 1 ? "" : "s";

	if (group->cpus)
		say(notes, NOTE_INFO, kernel->name, "CPU%s %s: as they are listed in the policy", s,
		    cpus);
	else if (group->per != PER_NOTHING)
		say(notes, NOTE_INFO, kernel->name, "CPU%s %s: those of one %s%s", s, cpus,
		    per_text(group->per),
		    group->leftover == LEFTOVER_KERNEL ? ", or what is free of it" : "");
	else if (group->cores)
		say(notes, NOTE_INFO, kernel->name, "CPU%s %s: %u %s%s near each other", s, cpus,
		    group->cores, group->smt == SMT_APART ? "thread" : "core",
		    group->cores == 1 ? "" : "s");
	else
		say(notes, NOTE_INFO, kernel->name,
		    "CPU%s %s: one of %u parts of all that was free", s, cpus,
		    group->count ? group->count : 1);
}

static void explain_place(const struct plan *plan, const struct plan_kernel *kernel,
			  struct notes *notes)
{
	struct plan_view view;

	plan_kernel_view(plan, kernel, &view);
	say(notes, NOTE_INFO, kernel->name,
	    "it has CPUs of %u core%s, %u L3 cache%s, %u node%s and %u package%s", view.cores,
	    view.cores == 1 ? "" : "s", view.l3s, view.l3s == 1 ? "" : "s", view.nodes,
	    view.nodes == 1 ? "" : "s", view.packages, view.packages == 1 ? "" : "s");
	if (view.split_cores)
		say(notes, NOTE_WARNING, kernel->name,
		    "it shares %u core%s with other kernels, as the policy asks for",
		    view.split_cores, view.split_cores == 1 ? "" : "s");
	if (view.split_l3s)
		say(notes, NOTE_INFO, kernel->name, "it shares %u L3 cache%s with other kernels",
		    view.split_l3s, view.split_l3s == 1 ? "" : "s");
	if (kernel->n_memory)
		say(notes, NOTE_INFO, kernel->name,
		    "its memory is at distance %u.%u on the average and %u at most (10 is local); "
		    "%s "
		    "of it are local",
		    view.distance_mean_x10 / 10, view.distance_mean_x10 % 10, view.distance_max,
		    SIZE_TEXT(view.local_bytes));
}

static const char *why_memory(const struct policy_group *group)
{
	switch (group->memory) {
	case MEMORY_PROPORTIONAL:
		return "in proportion to its cores";
	case MEMORY_EQUAL:
		return "the same as all kernels of equal memory";
	case MEMORY_FIXED:
		return "as much as the policy says";
	}
	return NULL;
}

static void explain_memory(const struct plan *plan, const struct plan_kernel *kernel,
			   struct notes *notes)
{
	char text[256] = "";
	size_t length = 0;

	for (size_t i = 0; i < kernel->n_memory; i++) {
		if (length > sizeof(text) - 96) {
			snprintf(text + length, sizeof(text) - length, ", …");
			break;
		}
		length += (size_t)snprintf(
			text + length, sizeof(text) - length, "%s%s of node %" PRIu32,
			i ? ", " : "", SIZE_TEXT(kernel->memory[i].bytes),
			plan->machine->domains[LEVEL_NODE][kernel->memory[i].node].os);
	}
	say(notes, NOTE_INFO, kernel->name, "%s of memory, %s: %s", SIZE_TEXT(kernel->bytes),
	    why_memory(kernel->group), text);
}

static void explain_kernel(const struct plan *plan, const struct plan_kernel *kernel,
			   struct notes *notes)
{
	explain_cpus(kernel, notes);
	explain_memory(plan, kernel, notes);
	explain_place(plan, kernel, notes);
	for (size_t i = 0; i < kernel->n_devices; i++) {
		const struct machine_device *device = &plan->machine->devices[kernel->devices[i]];
		const uint32_t *places = places_of(plan, kernel);
		size_t near = 0;

		for (size_t j = 0; j < kernel->n_cpus; j++)
			near += places[j] >= device->first_cpu &&
				places[j] - device->first_cpu < device->n_cpus;
		say(notes, NOTE_INFO, kernel->name,
		    "device %s (%s): asked for by the group, and near to %zu of its %zu CPUs",
		    device->address, device->class, near, kernel->n_cpus);
	}
	if (kernel->start)
		say(notes, NOTE_INFO, kernel->name,
		    "it starts when the groups that it comes after run: in round %u",
		    kernel->start + 1);
}

static void copy_notes(const struct plan *plan, const size_t *next, size_t i, struct notes *notes)
{
	for (; i != SIZE_MAX; i = next[i])
		say(notes, plan->notes[i].kind, plan->notes[i].kernel, "%s", plan->notes[i].text);
}

/* Sorted by name, to find the kernel of a note. */
static int compare_by_name(const void *a, const void *b)
{
	return strcmp((*(const struct plan_kernel *const *)a)->name,
		      (*(const struct plan_kernel *const *)b)->name);
}

int plan_explain(const struct plan *plan, struct plan_note **ret, size_t *ret_n)
{
	/* Chains of the plan's own notes: of each kernel, and the last one of the plan as a whole. */
	_cleanup_free_ size_t *first = calloc(plan->n_kernels + 1, sizeof(*first));
	_cleanup_free_ size_t *next = calloc(plan->n_notes + 1, sizeof(*next));
	_cleanup_free_ const struct plan_kernel **by_name =
		calloc(plan->n_kernels + 1, sizeof(*by_name));
	struct notes notes = { 0 };

	if (!first || !next || !by_name)
		return -ENOMEM;
	for (size_t i = 0; i <= plan->n_kernels; i++)
		first[i] = SIZE_MAX;
	for (size_t i = 0; i < plan->n_kernels; i++)
		by_name[i] = &plan->kernels[i];
	qsort(by_name, plan->n_kernels, sizeof(*by_name), compare_by_name);
	for (size_t i = plan->n_notes; i-- > 0;) {
		const struct plan_kernel key = { .name = plan->notes[i].kernel }, *wanted = &key;
		const struct plan_kernel **found =
			key.name ? bsearch(&wanted, by_name, plan->n_kernels, sizeof(*by_name),
					   compare_by_name)
				 : NULL;
		size_t index = found ? (size_t)(*found - plan->kernels) : plan->n_kernels;

		next[i] = first[index];
		first[index] = i;
	}
	copy_notes(plan, next, first[plan->n_kernels], &notes);
	explain_primary(plan, &notes);
	for (size_t i = 0; i < plan->n_kernels; i++) {
		explain_kernel(plan, &plan->kernels[i], &notes);
		copy_notes(plan, next, first[i], &notes);
	}
	if (notes.no_memory) {
		plan_notes_free(notes.notes, notes.n);
		return -ENOMEM;
	}
	*ret = notes.notes;
	*ret_n = notes.n;
	return 0;
}

/* Differences. */

static int compare_used(const void *a, const void *b)
{
	return strcmp((*(const struct plan_used *const *)a)->name,
		      (*(const struct plan_used *const *)b)->name);
}

static uint64_t memory_on(const struct plan_memory *memory, size_t n, uint32_t node)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		if (memory[i].node == node)
			bytes += memory[i].bytes;
	return bytes;
}

/* Why the running kernel is not the planned one; "" if it is. NULL: no memory. */
static char *difference(const struct plan *plan, const struct plan_kernel *kernel,
			const struct plan_used *running)
{
	hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
	_cleanup_free_ char *now = NULL, *then = NULL;
	char *text = NULL;
	bool failed = !cpus;
	int r = 0;

	for (size_t i = 0; !failed && i < kernel->n_cpus; i++)
		failed = hwloc_bitmap_set(cpus, kernel->cpus[i]) < 0;
	if (!failed && !hwloc_bitmap_isequal(cpus, running->cpus)) {
		failed = hwloc_bitmap_list_asprintf(&then, cpus) < 0 ||
			 hwloc_bitmap_list_asprintf(&now, running->cpus) < 0;
		r = failed ? -1 : asprintf(&text, "CPUs %s instead of %s", then, now);
		hwloc_bitmap_free(cpus);
		return r < 0 ? NULL : text;
	}
	hwloc_bitmap_free(cpus);
	if (failed)
		return NULL;
	for (uint32_t node = 0; node < plan->machine->n_domains[LEVEL_NODE]; node++) {
		uint64_t planned = memory_on(kernel->memory, kernel->n_memory, node);
		uint64_t there = memory_on(running->memory, running->n_memory, node);

		if (planned == there)
			continue;
		r = asprintf(&text, "%s instead of %s of memory of node %" PRIu32,
			     SIZE_TEXT(planned), SIZE_TEXT(there),
			     plan->machine->domains[LEVEL_NODE][node].os);
		return r < 0 ? NULL : text;
	}
	return strdup("");
}

static int compare_diffs(const void *a, const void *b)
{
	static const int order[] = {
		[PLAN_STOP] = 0,
		[PLAN_REPLACE] = 1,
		[PLAN_START] = 2,
		[PLAN_KEEP] = 3,
	};
	const struct plan_diff *x = a, *y = b;

	if (x->change != y->change)
		return order[x->change] - order[y->change];
	return strcmp(x->name, y->name);
}

void plan_diff_free(struct plan_diff *diff, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(diff[i].why);
	free(diff);
}

int plan_compare(const struct plan *plan, const struct plan_used *running, size_t n_running,
		 struct plan_diff **ret, size_t *ret_n)
{
	_cleanup_free_ const struct plan_used **by_name = calloc(n_running + 1, sizeof(*by_name));
	_cleanup_free_ bool *planned = calloc(n_running + 1, sizeof(*planned));
	struct plan_diff *diff = calloc(plan->n_kernels + n_running + 1, sizeof(*diff));
	bool failed = !by_name || !planned || !diff;
	size_t n = 0;

	for (size_t i = 0; !failed && i < n_running; i++)
		by_name[i] = &running[i];
	if (!failed)
		qsort(by_name, n_running, sizeof(*by_name), compare_used);
	for (size_t i = 0; !failed && i < plan->n_kernels; i++) {
		const struct plan_kernel *kernel = &plan->kernels[i];
		const struct plan_used key = { .name = kernel->name }, *wanted = &key;
		const struct plan_used **found =
			bsearch(&wanted, by_name, n_running, sizeof(*by_name), compare_used);
		struct plan_diff *one = &diff[n++];

		*one = (struct plan_diff){ PLAN_START, kernel->name, kernel, NULL };
		one->why = found ? difference(plan, kernel, *found) : strdup("");
		failed = !one->why;
		if (!found || failed)
			continue;
		planned[*found - running] = true;
		one->change = *one->why ? PLAN_REPLACE : PLAN_KEEP;
	}
	for (size_t i = 0; !failed && i < n_running; i++) {
		if (planned[i])
			continue;
		diff[n] = (struct plan_diff){ PLAN_STOP, running[i].name, NULL, strdup("") };
		failed = !diff[n++].why;
	}
	if (failed) {
		plan_diff_free(diff, diff ? n : 0);
		return -ENOMEM;
	}
	qsort(diff, n, sizeof(*diff), compare_diffs);
	*ret = diff;
	*ret_n = n;
	return 0;
}
