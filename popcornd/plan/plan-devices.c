// SPDX-License-Identifier: GPL-2.0-or-later
/* Who gets which devices. */
#include <errno.h>
#include <string.h>

#include "plan-internal.h"
#include "util.h"

/* Owners of devices: nobody, the primary, or a kernel. */
#define DEVICE_FREE UINT32_MAX
#define DEVICE_PRIMARY (UINT32_MAX - 1)

struct devices {
	struct planner *p;
	uint32_t *owner; /* of each device */
	size_t *n_of;	 /* of each kernel */
	uint32_t *near;	 /* scratch, of each kernel: CPUs that a device is near to; all 0 */
};

bool device_matches(const struct machine_device *device, const struct policy_selector *selector)
{
	switch (selector->kind) {
	case SELECT_ADDRESS:
		return strcmp(device->address, selector->value) == 0;
	case SELECT_CLASS:
		return strcmp(device->class, selector->value) == 0 ||
		       strcmp(device->group, selector->value) == 0;
	case SELECT_DRIVER:
		return device->driver && strcmp(device->driver, selector->value) == 0;
	case SELECT_NEAR:
		break;
	}
	return false;
}

/* Bridges, serial bus controllers and the like are only given to who names them. */
static bool is_for_near(const struct machine_device *device)
{
	return strcmp(device->group, "other") != 0;
}

static bool wants_near(const struct policy_group *group)
{
	for (size_t i = 0; i < group->n_devices; i++)
		if (group->devices[i].kind == SELECT_NEAR)
			return true;
	return false;
}

/* The CPUs that @device is near to, by kernel; false: add them, true: take them away again. */
static void count_near(struct devices *d, const struct machine_device *device, bool undo)
{
	const struct planner *p = d->p;

	for (uint32_t cpu = device->first_cpu; cpu < device->first_cpu + device->n_cpus; cpu++)
		if (p->kernel_of[cpu] != UNKNOWN)
			d->near[p->kernel_of[cpu]] += undo ? UINT32_MAX : 1;
}

static uint32_t node_of_kernel(const struct planner *p, size_t kernel)
{
	return node_of(p, p->plan->places[p->plan->kernels[kernel].cpus - p->plan->cpus]);
}

static unsigned distance_to(const struct planner *p, const struct machine_device *device,
			    size_t kernel)
{
	uint32_t to = node_of_kernel(p, kernel);
	uint32_t from = device->n_cpus ? node_of(p, device->first_cpu) : UNKNOWN;

	return from == UNKNOWN || to == UNKNOWN ? 0 : machine_distance(p->machine, from, to);
}

/*
 * Of the group's kernels the one with most CPUs near the device, then the nearest, then the one with
 * the fewest devices, then the first.
 */
static uint32_t nearest_kernel(struct devices *d, const struct machine_device *device,
			       uint32_t group)
{
	const struct planner *p = d->p;
	size_t best = p->first_kernel[group];

	count_near(d, device, false);
	for (size_t i = best + 1; i < p->first_kernel[group + 1]; i++) {
		unsigned far_best, far;

		if (d->near[i] != d->near[best]) {
			if (d->near[i] > d->near[best])
				best = i;
			continue;
		}
		far_best = distance_to(p, device, best);
		far = distance_to(p, device, i);
		if (far < far_best || (far == far_best && d->n_of[i] < d->n_of[best]))
			best = i;
	}
	count_near(d, device, true);
	return (uint32_t)best;
}

static void give(struct devices *d, size_t device, uint32_t kernel)
{
	d->owner[device] = kernel;
	d->n_of[kernel]++;
}

static const char *selector_text(const struct policy_selector *selector, char buf[96])
{
	static const char *const prefixes[] = {
		[SELECT_ADDRESS] = "",
		[SELECT_CLASS] = "class ",
		[SELECT_DRIVER] = "driver ",
		[SELECT_NEAR] = "",
	};

	snprintf(buf, 96, "%s%.64s", prefixes[selector->kind], selector->value);
	return buf;
}

#define SELECTOR_TEXT(selector) selector_text((selector), (char[96]){ 0 })

static void problem_unknown(struct devices *d, uint32_t group,
			    const struct policy_selector *selector)
{
	struct planner *p = d->p;
	struct plan_problem *problem = problem_new(p, PROBLEM_DEVICE_UNKNOWN, group);
	bool drivers = false;

	for (size_t i = 0; i < p->machine->n_devices; i++)
		drivers |= p->machine->devices[i].driver != NULL;
	problem->line = selector->line;
	text_set(p, &problem->resource, "device %s", SELECTOR_TEXT(selector));
	text_set(p, &problem->asked, "the group is to have it");
	if (selector->kind == SELECT_DRIVER && !drivers) {
		text_set(p, &problem->available,
			 "of this description nobody knows which drivers the devices have");
		text_set(p, &problem->suggestion, "name devices by class or address");
		return;
	}
	text_set(p, &problem->available, "none of the %zu devices of the machine is one",
		 p->machine->n_devices);
	text_set(p, &problem->suggestion,
		 "leave it out of devices; 'popcornctl topology' shows which there are");
}

static void problem_taken(struct devices *d, uint32_t group, const struct policy_selector *selector,
			  size_t device)
{
	struct planner *p = d->p;
	struct plan_problem *problem = problem_new(p, PROBLEM_DEVICE_TAKEN, group);
	uint32_t owner = d->owner[device];

	problem->line = selector->line;
	text_set(p, &problem->resource, "device %s", p->machine->devices[device].address);
	if (owner == DEVICE_PRIMARY)
		text_set(p, &problem->owner, "the primary");
	else
		text_set(p, &problem->owner, "group %s", p->plan->kernels[owner].group->name);
	text_set(p, &problem->asked, "the group is to have %s", SELECTOR_TEXT(selector));
	text_set(p, &problem->available, "%s has %s", problem->owner ? problem->owner : "another",
		 selector->kind == SELECT_ADDRESS ? "it" : "all of them");
	text_set(p, &problem->suggestion, "name it in one of the two only");
}

static void select_devices(struct devices *d, uint32_t group,
			   const struct policy_selector *selector)
{
	struct planner *p = d->p;
	const struct machine *m = p->machine;
	size_t taken = SIZE_MAX;
	bool found = false, got = false;

	for (size_t i = 0; i < m->n_devices; i++) {
		if (!device_matches(&m->devices[i], selector))
			continue;
		found = true;
		if (d->owner[i] == DEVICE_FREE) {
			give(d, i, nearest_kernel(d, &m->devices[i], group));
			got = true;
		} else if (d->owner[i] != DEVICE_PRIMARY &&
			   p->plan->kernels[d->owner[i]].group == &p->policy->groups[group]) {
			/* By another selector of its own. */
			got = true;
		} else if (taken == SIZE_MAX) {
			taken = i;
		}
	}
	if (!found)
		problem_unknown(d, group, selector);
	else if (!got)
		problem_taken(d, group, selector, taken);
}

static void select_near(struct devices *d)
{
	struct planner *p = d->p;
	const struct machine *m = p->machine;

	for (size_t i = 0; i < m->n_devices; i++) {
		size_t best = SIZE_MAX;

		if (d->owner[i] != DEVICE_FREE || !is_for_near(&m->devices[i]))
			continue;
		count_near(d, &m->devices[i], false);
		for (uint32_t group = 0; group < p->policy->n_groups; group++) {
			if (!wants_near(&p->policy->groups[group]))
				continue;
			for (size_t j = p->first_kernel[group]; j < p->first_kernel[group + 1]; j++)
				if (d->near[j] &&
				    (best == SIZE_MAX || d->near[j] > d->near[best] ||
				     (d->near[j] == d->near[best] && d->n_of[j] < d->n_of[best])))
					best = j;
		}
		count_near(d, &m->devices[i], true);
		if (best != SIZE_MAX)
			give(d, i, (uint32_t)best);
	}
}

static int fill_plan(struct devices *d)
{
	struct plan *plan = d->p->plan;
	size_t n = 0;

	plan->devices = calloc(d->p->machine->n_devices + 1, sizeof(*plan->devices));
	if (!plan->devices)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n_kernels; i++) {
		plan->kernels[i].devices = &plan->devices[n];
		n += d->n_of[i];
	}
	for (uint32_t i = 0; i < d->p->machine->n_devices; i++) {
		struct plan_kernel *kernel;

		if (d->owner[i] == DEVICE_FREE || d->owner[i] == DEVICE_PRIMARY)
			continue;
		kernel = &plan->kernels[d->owner[i]];
		plan->devices[kernel->devices - plan->devices + (ptrdiff_t)kernel->n_devices++] = i;
	}
	return 0;
}

int plan_devices(struct planner *p)
{
	static const enum policy_select order[] = { SELECT_ADDRESS, SELECT_DRIVER, SELECT_CLASS };
	const struct machine *m = p->machine;
	_cleanup_free_ uint32_t *owner = calloc(m->n_devices + 1, sizeof(*owner));
	_cleanup_free_ size_t *n_of = calloc(p->plan->n_kernels + 1, sizeof(*n_of));
	_cleanup_free_ uint32_t *near = calloc(p->plan->n_kernels + 1, sizeof(*near));
	struct devices d = { p, owner, n_of, near };

	if (!owner || !n_of || !near)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_devices; i++) {
		owner[i] = DEVICE_FREE;
		for (size_t j = 0; j < p->policy->primary.n_near; j++)
			if (device_matches(&m->devices[i], &p->policy->primary.near[j]))
				owner[i] = DEVICE_PRIMARY;
	}
	for (size_t kind = 0; kind < ARRAY_SIZE(order); kind++)
		for (uint32_t group = 0; group < p->policy->n_groups; group++)
			for (size_t i = 0; i < p->policy->groups[group].n_devices; i++)
				if (p->policy->groups[group].devices[i].kind == order[kind])
					select_devices(&d, group,
						       &p->policy->groups[group].devices[i]);
	select_near(&d);
	return fill_plan(&d);
}
