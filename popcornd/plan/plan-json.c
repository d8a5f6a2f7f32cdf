// SPDX-License-Identifier: GPL-2.0-or-later
/* Plans and problems as JSON: docs/policies.md has the keys. */
#include <jansson.h>

#include "planner.h"

static json_t *string_or_null(const char *s)
{
	return s ? json_string(s) : json_null();
}

static json_t *numbers_to_json(const uint32_t *numbers, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_integer(numbers[i]));
	return array;
}

static json_t *memory_to_json(const struct plan *plan, uint32_t node, uint64_t bytes)
{
	json_t *object = json_object();

	json_object_set_new(object, "node",
			    json_integer(plan->machine->domains[LEVEL_NODE][node].os));
	json_object_set_new(object, "bytes", json_integer((json_int_t)bytes));
	return object;
}

static json_t *primary_to_json(const struct plan *plan)
{
	json_t *object = json_object(), *memory = json_array();

	json_object_set_new(object, "cpus",
			    numbers_to_json(plan->primary_cpus, plan->n_primary_cpus));
	for (uint32_t i = 0; i < plan->machine->n_domains[LEVEL_NODE]; i++)
		json_array_append_new(memory, memory_to_json(plan, i, plan->primary_memory[i]));
	json_object_set_new(object, "memory", memory);
	return object;
}

static json_t *view_to_json(const struct plan *plan, const struct plan_kernel *kernel)
{
	json_t *object = json_object();
	struct plan_view view;

	plan_kernel_view(plan, kernel, &view);
	json_object_set_new(object, "cores", json_integer(view.cores));
	json_object_set_new(object, "split_cores", json_integer(view.split_cores));
	json_object_set_new(object, "l3s", json_integer(view.l3s));
	json_object_set_new(object, "split_l3s", json_integer(view.split_l3s));
	json_object_set_new(object, "nodes", json_integer(view.nodes));
	json_object_set_new(object, "packages", json_integer(view.packages));
	json_object_set_new(object, "distance_max", json_integer(view.distance_max));
	json_object_set_new(object, "distance_mean", json_real(view.distance_mean_x10 / 10.0));
	json_object_set_new(object, "local_bytes", json_integer((json_int_t)view.local_bytes));
	return object;
}

/* What the kernel's override says, else what its group does. */
#define SAID(kernel, key)                                                        \
	((kernel)->override && (kernel)->override->key ? (kernel)->override->key \
						       : (kernel)->group->kernel.key)

static json_t *kernel_to_json(const struct plan *plan, const struct plan_kernel *kernel)
{
	json_t *object = json_object(), *memory = json_array(), *devices = json_array();
	unsigned network = SAID(kernel, network);
	int restart = kernel->group->kernel.restart;

	if (kernel->override && kernel->override->restart >= 0)
		restart = kernel->override->restart;
	json_object_set_new(object, "name", json_string(kernel->name));
	json_object_set_new(object, "group", json_string(kernel->group->name));
	json_object_set_new(object, "cpus", numbers_to_json(kernel->cpus, kernel->n_cpus));
	json_object_set_new(object, "memory", json_integer((json_int_t)kernel->bytes));
	for (size_t i = 0; i < kernel->n_memory; i++)
		json_array_append_new(memory, memory_to_json(plan, kernel->memory[i].node,
							     kernel->memory[i].bytes));
	json_object_set_new(object, "memory_nodes", memory);
	for (size_t i = 0; i < kernel->n_devices; i++)
		json_array_append_new(
			devices, json_string(plan->machine->devices[kernel->devices[i]].address));
	json_object_set_new(object, "devices", devices);
	json_object_set_new(object, "start", json_integer(kernel->start));
	json_object_set_new(object, "image", string_or_null(SAID(kernel, image)));
	json_object_set_new(object, "initrd", string_or_null(SAID(kernel, initrd)));
	json_object_set_new(object, "cmdline", string_or_null(SAID(kernel, cmdline)));
	json_object_set_new(object, "root", string_or_null(SAID(kernel, root)));
	json_object_set_new(object, "restart",
			    restart < 0 ? json_null() : json_string(restart ? "on-failure" : "no"));
	json_object_set_new(object, "network",
			    network ? json_string(PEERS_TEXT(network)) : json_null());
	json_object_set_new(object, "view", view_to_json(plan, kernel));
	return object;
}

static json_t *notes_to_json(const struct plan_note *notes, size_t n, bool all)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *object;

		if (notes[i].kind == NOTE_INFO && !all)
			continue;
		object = json_object();
		json_object_set_new(object, "kind",
				    json_string(notes[i].kind == NOTE_INFO ? "info" : "warning"));
		json_object_set_new(object, "kernel", string_or_null(notes[i].kernel));
		json_object_set_new(object, "text", json_string(notes[i].text));
		json_array_append_new(array, object);
	}
	return array;
}

json_t *plan_to_json(const struct plan *plan, bool explain)
{
	json_t *object = json_object(), *kernels = json_array();
	struct plan_note *notes = NULL;
	char *boot_args = NULL;
	size_t n = 0;
	int r;

	json_object_set_new(object, "policy", json_string(plan->policy->name));
	json_object_set_new(object, "machine", json_string(plan->machine->name));
	json_object_set_new(object, "primary", primary_to_json(plan));
	for (size_t i = 0; i < plan->n_kernels; i++)
		json_array_append_new(kernels, kernel_to_json(plan, &plan->kernels[i]));
	json_object_set_new(object, "kernels", kernels);
	r = plan_boot_args(plan, &boot_args);
	if (r < 0) {
		json_decref(object);
		return NULL;
	}
	json_object_set_new(object, "boot_args", json_string(boot_args));
	json_object_set_new(object, "boot_args_sure", json_boolean(r == 0));
	free(boot_args);
	if (!explain) {
		json_object_set_new(object, "notes",
				    notes_to_json(plan->notes, plan->n_notes, false));
		return object;
	}
	if (plan_explain(plan, &notes, &n) < 0) {
		json_decref(object);
		return NULL;
	}
	json_object_set_new(object, "notes", notes_to_json(notes, n, true));
	plan_notes_free(notes, n);
	return object;
}

json_t *plan_problems_to_json(const struct policy *policy, const struct plan_problem *problems,
			      size_t n)
{
	json_t *object = json_object(), *array = json_array();

	json_object_set_new(object, "policy", json_string(policy->name));
	for (size_t i = 0; i < n; i++) {
		const struct plan_problem *problem = &problems[i];
		json_t *one = json_object();

		json_object_set_new(one, "id", json_string(plan_problem_to_string(problem->id)));
		json_object_set_new(one, "line", json_integer(problem->line));
		json_object_set_new(one, "group", string_or_null(problem->group));
		json_object_set_new(one, "resource", string_or_null(problem->resource));
		json_object_set_new(one, "owner", string_or_null(problem->owner));
		json_object_set_new(one, "asked", string_or_null(problem->asked));
		json_object_set_new(one, "available", string_or_null(problem->available));
		json_object_set_new(one, "suggestion", string_or_null(problem->suggestion));
		json_object_set_new(one, "suggest_key", string_or_null(problem->suggest_key));
		json_object_set_new(one, "suggest_value", string_or_null(problem->suggest_value));
		json_array_append_new(array, one);
	}
	json_object_set_new(object, "problems", array);
	return object;
}
