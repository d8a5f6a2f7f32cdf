// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>

#include "facts.h"
#include "operations.h"
#include "planning.h"
#include "util.h"

void planning_input_done(struct planning_input *input)
{
	for (size_t i = 0; i < input->n_kernels; i++)
		kernel_def_free(input->kernels[i].def);
	free(input->kernels);
	free(input->policy);
	free(input->text);
	*input = (struct planning_input){ 0 };
}

struct planning *planning_free(struct planning *planning)
{
	if (!planning)
		return NULL;
	for (size_t i = 0; i < planning->n_changes; i++) {
		free(planning->changes[i].why);
		kernel_def_free(planning->changes[i].def);
	}
	free(planning->changes);
	if (planning->plan)
		plan_free(planning->plan);
	plan_problems_free(planning->problems, planning->n_problems);
	if (planning->policy)
		policy_free(planning->policy);
	if (planning->machine)
		machine_free(planning->machine);
	free(planning);
	return NULL;
}

static void planning_freep(struct planning **planning)
{
	planning_free(*planning);
}

/* FNV-1a, 64 bits: to see whether a text is another one; nobody gains by one that is taken for it. */
static uint64_t digest(const char *text, size_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static int load_policy(const struct planning_input *input, struct planning *planning,
		       struct popcorn_error *error)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	size_t size;
	int r;

	if (input->text) {
		planning->digest = digest(input->text, input->text_size);
		return policy_parse(input->policy, input->text, input->text_size, &planning->policy,
				    error);
	}
	r = policy_find(input->folders, input->policy, &path, &text, &size, error);
	if (r < 0)
		return r;
	planning->digest = digest(text, size);
	return policy_parse(path, text, size, &planning->policy, error);
}

static const struct planning_kernel *find_kernel(const struct planning_input *input,
						 const char *name)
{
	for (size_t i = 0; i < input->n_kernels; i++)
		if (strcmp(input->kernels[i].name, name) == 0)
			return &input->kernels[i];
	return NULL;
}

static bool is_ours(const struct planning_input *input, const struct planning_kernel *kernel)
{
	return kernel && strcmp(kernel->policy, input->policy) == 0;
}

/* What others have, and what kernels of this policy have that run; memory by index of the node. */
struct used {
	struct share *shares;
	size_t n_shares;
	struct plan_memory *memory;
	struct plan_used *others, *running;
	size_t n_others, n_running;
};

static void used_done(struct used *used)
{
	shares_free(used->shares, used->n_shares);
	free(used->memory);
	free(used->others);
	free(used->running);
}

static int find_used(const struct planning_input *input, const struct machine *machine,
		     struct used *ret)
{
	_cleanup_(used_done) struct used used = { 0 };
	size_t n_memory = 0;
	int r;

	r = resources_shares(input->resources, &used.shares, &used.n_shares);
	if (r < 0)
		return r;
	for (size_t i = 0; i < used.n_shares; i++)
		n_memory += used.shares[i].n_memory;
	used.memory = calloc(n_memory + 1, sizeof(*used.memory));
	used.others = calloc(used.n_shares + 1, sizeof(*used.others));
	used.running = calloc(used.n_shares + 1, sizeof(*used.running));
	if (!used.memory || !used.others || !used.running)
		return -ENOMEM;
	n_memory = 0;
	for (size_t i = 0; i < used.n_shares; i++) {
		const struct share *share = &used.shares[i];
		const struct planning_kernel *kernel = find_kernel(input, share->name);
		bool ours = is_ours(input, kernel);
		struct plan_used entry = {
			.name = share->name,
			.cpus = share->cpus,
			.memory = &used.memory[n_memory],
		};

		for (size_t j = 0; j < share->n_memory; j++) {
			uint32_t node = machine_find_node(machine, share->memory[j].node);
			uint64_t bytes = share->memory[j].bytes, size = machine->block_size;

			if (node == UNKNOWN)
				continue;
			/* A block of which somebody has a piece is nobody else's as a whole. */
			if (!ours)
				bytes = (bytes + size - 1) / size * size;
			used.memory[n_memory++] = (struct plan_memory){ node, bytes };
			entry.n_memory++;
		}
		if (!ours)
			used.others[used.n_others++] = entry;
		else if (kernel->active)
			used.running[used.n_running++] = entry;
	}
	*ret = used;
	used = (struct used){ 0 };
	return 0;
}

/*
 * What a kernel is booted as.
 */

static const char *either(const char *mine, const char *of_group)
{
	return mine ? mine : of_group;
}

/* What the policy says of this kernel; borrowed from it. */
static struct policy_kernel settings_of(const struct plan_kernel *kernel)
{
	const struct policy_kernel *group = &kernel->group->kernel, *own = kernel->override;
	struct policy_kernel settings = *group;

	if (!own)
		return settings;
	settings.image = (char *)either(own->image, group->image);
	settings.initrd = (char *)either(own->initrd, group->initrd);
	settings.cmdline = (char *)either(own->cmdline, group->cmdline);
	settings.root = (char *)either(own->root, group->root);
	settings.restart = own->restart >= 0 ? own->restart : group->restart;
	if (own->network)
		settings.network = own->network;
	if (own->boot_timeout_usec)
		settings.boot_timeout_usec = own->boot_timeout_usec;
	return settings;
}

/* popcornd.conf's, and what the policy adds. */
static int join_cmdline(const struct config *config, const struct policy_kernel *settings,
			char **ret)
{
	const char *base = config->default_cmdline ?: "", *more = settings->cmdline ?: "";

	return asprintf(ret, "%s%s%s", base, *base && *more ? " " : "", more) < 0 ? -ENOMEM : 0;
}

static int set_memory(const struct planning *planning, const struct plan_kernel *kernel,
		      struct kernel_def *def, struct popcorn_error *error)
{
	_cleanup_free_ struct node_memory *nodes = calloc(kernel->n_memory + 1, sizeof(*nodes));

	if (!nodes)
		return no_memory(error);
	for (size_t i = 0; i < kernel->n_memory; i++)
		nodes[i] = (struct node_memory){
			planning->machine->domains[LEVEL_NODE][kernel->memory[i].node].os,
			kernel->memory[i].bytes,
		};
	return kernel_def_set_memory_nodes(def, nodes, kernel->n_memory, error);
}

static void kernel_def_freep(struct kernel_def **def)
{
	kernel_def_free(*def);
}

static int make_def(const struct planning *planning, const struct config *config,
		    const struct plan_kernel *kernel, struct kernel_def **ret,
		    struct popcorn_error *error)
{
	struct policy_kernel settings = settings_of(kernel);
	_cleanup_(kernel_def_freep) struct kernel_def *def = NULL;
	_cleanup_free_ char *image = NULL, *initrd = NULL, *cmdline = NULL;
	int r;

	if (kernel_def_new(config, &def) < 0)
		return no_memory(error);
	r = policy_image_find(settings.image ?: def->image, settings.initrd, &image, &initrd,
			      error);
	if (r < 0)
		return r;
	def->cpus = hwloc_bitmap_alloc();
	if (!def->cpus || join_cmdline(config, &settings, &cmdline) < 0)
		return no_memory(error);
	free(def->image);
	def->image = steal_ptr(image);
	def->initrd = steal_ptr(initrd);
	free(def->cmdline);
	def->cmdline = steal_ptr(cmdline);
	if (settings.root && !(def->root = strdup(settings.root)))
		return no_memory(error);
	if (kernel_def_settle(config, def) < 0)
		return no_memory(error);
	def->restart = settings.restart > 0;
	def->network = settings.network;
	if (settings.boot_timeout_usec)
		def->boot_timeout_usec = settings.boot_timeout_usec;
	for (size_t i = 0; i < kernel->n_cpus; i++)
		if (hwloc_bitmap_set(def->cpus, kernel->cpus[i]) < 0)
			return no_memory(error);
	r = set_memory(planning, kernel, def, error);
	if (r < 0)
		return r;
	*ret = steal_ptr(def);
	return 0;
}

/*
 * What has to change.
 */

/* A pattern stands for what was the newest file when the kernel was booted. */
static bool is_same_file(const char *wanted, const char *is)
{
	if (!wanted || !is)
		return !wanted == !is;
	return strcmp(wanted, is) == 0 || fnmatch(wanted, is, FNM_PATHNAME) == 0;
}

/* Why a kernel that has what it is to have has to be booted anew, or NULL. -ENOMEM. */
static int find_difference(const struct config *config, const struct plan_kernel *kernel,
			   const struct kernel_def *old, char **ret)
{
	struct policy_kernel settings = settings_of(kernel);
	const char *image = settings.image ?: config->default_image;
	const char *root = settings.root ?: kernel_default_root(config, settings.initrd);
	_cleanup_free_ char *cmdline = NULL;
	int r = 0;

	*ret = NULL;
	if (!old)
		return 0;
	if (join_cmdline(config, &settings, &cmdline) < 0)
		return -ENOMEM;
	if (!is_same_file(image, old->image))
		r = asprintf(ret, "image %s instead of %s", image, old->image);
	else if (!is_same_file(settings.initrd, old->initrd))
		r = asprintf(ret, "initrd %s instead of %s", settings.initrd ?: "of popcornd",
			     old->initrd ?: "popcornd's own");
	else if (strcmp(root, old->root ?: ROOT_INITRAMFS) != 0)
		r = asprintf(ret, "root %s instead of %s", root, old->root ?: ROOT_INITRAMFS);
	else if (strcmp(cmdline, old->cmdline ?: "") != 0)
		r = asprintf(ret, "command line '%s' instead of '%s'", cmdline, old->cmdline ?: "");
	else if (settings.network != old->network)
		r = asprintf(ret, "network %s instead of %s", PEERS_TEXT(settings.network),
			     PEERS_TEXT(old->network));
	if (r < 0)
		*ret = NULL;
	return r < 0 ? -ENOMEM : 0;
}

/*
 * A share of what could be taken is a little more or less each time that it is looked at. Of the
 * same policy that is no reason to stop a kernel, if its memory is of the same nodes.
 */
static bool is_same_share(const struct planning *planning, const struct planning_kernel *is,
			  const struct plan_used *has, const struct plan_kernel *wanted)
{
	if (is->policy_digest != planning->digest || wanted->group->memory == MEMORY_FIXED ||
	    (size_t)hwloc_bitmap_weight(has->cpus) != wanted->n_cpus ||
	    has->n_memory != wanted->n_memory)
		return false;
	for (size_t i = 0; i < wanted->n_cpus; i++)
		if (!hwloc_bitmap_isset(has->cpus, wanted->cpus[i]))
			return false;
	for (size_t i = 0; i < wanted->n_memory; i++)
		if (has->memory[i].node != wanted->memory[i].node)
			return false;
	return true;
}

static const struct plan_used *find_running(const struct used *used, const char *name)
{
	for (size_t i = 0; i < used->n_running; i++)
		if (strcmp(used->running[i].name, name) == 0)
			return &used->running[i];
	return NULL;
}

static int add_change(struct planning *planning, const struct planning_input *input,
		      const struct used *used, const struct plan_diff *diff)
{
	struct planning_change *change = &planning->changes[planning->n_changes];
	const struct planning_kernel *kernel = find_kernel(input, diff->name);
	const struct plan_used *has = find_running(used, diff->name);
	int r;

	*change = (struct planning_change){ .change = diff->change, .kernel = diff->kernel };
	snprintf(change->name, sizeof(change->name), "%s", diff->name);
	change->why = strdup(diff->why ?: "");
	if (!change->why)
		return -ENOMEM;
	planning->n_changes++;
	if (kernel && has && change->change == PLAN_REPLACE &&
	    is_same_share(planning, kernel, has, diff->kernel)) {
		change->change = PLAN_KEEP;
		*change->why = '\0';
	}
	if (diff->kernel) {
		struct policy_kernel settings = settings_of(diff->kernel);

		change->restart = settings.restart > 0;
		change->boot_timeout_usec =
			settings.boot_timeout_usec ?: input->config->boot_timeout_usec;
	}
	if (kernel && change->change == PLAN_KEEP) {
		char *why;

		r = find_difference(input->config, diff->kernel, kernel->def, &why);
		if (r < 0)
			return r;
		if (why) {
			change->change = PLAN_REPLACE;
			free(change->why);
			change->why = why;
		}
	}
	return 0;
}

/* Kernels of this policy that are over, but still hold what they had. */
static int add_remains(struct planning *planning, const struct planning_input *input,
		       const struct used *used)
{
	for (size_t i = 0; i < used->n_shares; i++) {
		const struct planning_kernel *kernel = find_kernel(input, used->shares[i].name);
		struct planning_change *change = NULL;

		if (!is_ours(input, kernel) || kernel->active)
			continue;
		for (size_t j = 0; j < planning->n_changes && !change; j++)
			if (strcmp(planning->changes[j].name, kernel->name) == 0)
				change = &planning->changes[j];
		if (!change) {
			change = &planning->changes[planning->n_changes];
			*change = (struct planning_change){ .change = PLAN_STOP };
			strcpy(change->name, kernel->name);
			if (asprintf(&change->why, "it is %s and still holds CPUs and memory",
				     kernel->state) < 0)
				return -ENOMEM;
			planning->n_changes++;
		}
		change->remains = true;
	}
	return 0;
}

static int compare_changes(const void *a, const void *b)
{
	static const int order[] = {
		[PLAN_STOP] = 0, [PLAN_REPLACE] = 1, [PLAN_START] = 2, [PLAN_KEEP] = 3
	};
	const struct planning_change *x = a, *y = b;

	if (x->change != y->change)
		return order[x->change] - order[y->change];
	return strcmp(x->name, y->name);
}

static int find_changes(struct planning *planning, const struct planning_input *input,
			const struct used *used)
{
	struct plan_diff *diff;
	size_t n;
	int r;

	r = plan_compare(planning->plan, used->running, used->n_running, &diff, &n);
	if (r < 0)
		return r;
	planning->changes = calloc(n + used->n_shares + 1, sizeof(*planning->changes));
	r = planning->changes ? 0 : -ENOMEM;
	for (size_t i = 0; i < n && r == 0; i++)
		r = add_change(planning, input, used, &diff[i]);
	if (r == 0)
		r = add_remains(planning, input, used);
	if (r == 0 && planning->n_changes)
		qsort(planning->changes, planning->n_changes, sizeof(*planning->changes),
		      compare_changes);
	plan_diff_free(diff, n);
	return r;
}

int planning_make(const struct planning_input *input, struct planning **ret,
		  struct popcorn_error *error)
{
	_cleanup_(planning_freep) struct planning *planning = calloc(1, sizeof(*planning));
	_cleanup_(used_done) struct used used = { 0 };
	struct plan_input plan_input;
	int r;

	if (!planning)
		return no_memory(error);
	r = load_policy(input, planning, error);
	if (r == 0)
		r = resources_machine(input->resources, &planning->machine, error);
	if (r < 0)
		return r;
	if (find_used(input, planning->machine, &used) < 0)
		return no_memory(error);
	plan_input = (struct plan_input){
		.machine = planning->machine,
		.policy = planning->policy,
		.primary_memory = input->config->primary_memory,
		.primary_cpus = input->config->primary_cpus,
		.used = used.others,
		.n_used = used.n_others,
	};
	r = plan_make(&plan_input, &planning->plan, &planning->problems, &planning->n_problems);
	if (r == 0)
		r = find_changes(planning, input, &used);
	if (r < 0 && r != -EDOM)
		return popcorn_error_set_errno(error, r, "can't make a plan");
	*ret = steal_ptr(planning);
	return 0;
}

/*
 * For Apply.
 */

static int refuse_problems(const struct planning *planning, struct popcorn_error *error)
{
	char text[sizeof(error->text)] = "";

	for (size_t i = 0; i < planning->n_problems; i++) {
		const struct plan_problem *p = &planning->problems[i];
		const char *parts[] = { p->asked, p->available, p->suggestion };
		unsigned n = 0;

		text_add(text, sizeof(text), "%s%s", i ? "; " : "", planning->policy->path);
		if (p->line)
			text_add(text, sizeof(text), ":%u", p->line);
		if (p->group)
			text_add(text, sizeof(text), ": %s", p->group);
		for (size_t j = 0; j < ARRAY_SIZE(parts); j++)
			if (parts[j])
				text_add(text, sizeof(text), "%s%s", n++ ? "; " : ": ", parts[j]);
	}
	return popcorn_error_set(error, POPCORN_ERROR_PLAN_IMPOSSIBLE, "%s", text);
}

static int refuse_stops(const struct planning *planning, struct popcorn_error *error)
{
	char text[sizeof(error->text) / 2] = "";
	unsigned n = 0;

	for (size_t i = 0; i < planning->n_changes; i++) {
		const struct planning_change *change = &planning->changes[i];

		if (change->change != PLAN_REPLACE &&
		    (change->change != PLAN_STOP || change->remains))
			continue;
		text_add(text, sizeof(text), "%s%s%s%s%s%s", n++ ? ", " : "", change->name,
			 change->change == PLAN_STOP ? " (is not in the plan"
						     : " (would be replaced",
			 *change->why ? ": " : "", change->why, ")");
	}
	if (n == 0)
		return 0;
	return popcorn_error_set(error, POPCORN_ERROR_WOULD_STOP,
				 "kernels that run would have to be stopped for this: %s; allow it "
				 "(popcornctl apply --yes), or change the policy",
				 text);
}

static int check_device(const struct planning *planning, struct popcorn_error *error)
{
	for (size_t i = 0; i < planning->plan->n_kernels; i++) {
		const struct plan_kernel *kernel = &planning->plan->kernels[i];

		if (kernel->n_devices)
			return popcorn_error_set(
				error, POPCORN_ERROR_NOT_SUPPORTED,
				"the plan gives device %s to kernel %s, which this version can't; "
				"take 'devices' out of the group",
				planning->machine->devices[kernel->devices[0]].address,
				kernel->name);
	}
	return 0;
}

static int check_name(const struct planning_input *input, const struct planning_change *change,
		      struct popcorn_error *error)
{
	const struct planning_kernel *kernel = find_kernel(input, change->name);

	if (change->change != PLAN_START || !kernel || is_ours(input, kernel) || !kernel->active)
		return 0;
	return popcorn_error_set(
		error, POPCORN_ERROR_NAME_TAKEN,
		"the plan has a kernel named %s, and another one of that name is %s "
		"(%s%s); stop it, or name the group otherwise",
		change->name, kernel->state, *kernel->policy ? "of policy " : "of no policy",
		kernel->policy);
}

static bool is_same_text(const char *a, const char *b)
{
	return strcmp(a ?: "", b ?: "") == 0;
}

/* Whether what was found out about @checked is true of @def, too. */
static bool is_checked_by(const struct kernel_def *def, const struct kernel_def *checked)
{
	uint64_t most = 0, least = 0;

	if (!is_same_text(def->image, checked->image) ||
	    !is_same_text(def->initrd, checked->initrd) ||
	    !is_same_text(def->cmdline, checked->cmdline) || def->network != checked->network ||
	    !is_same_text(def->root, checked->root) || def->memory < checked->memory)
		return false;
	for (size_t i = 0; i < def->n_memory_nodes; i++)
		if (def->memory_nodes[i].bytes > most)
			most = def->memory_nodes[i].bytes;
	for (size_t i = 0; i < checked->n_memory_nodes; i++)
		if (checked->memory_nodes[i].bytes > least)
			least = checked->memory_nodes[i].bytes;
	return most >= least;
}

static int check_boots(const struct planning *planning, const struct config *config,
		       struct popcorn_error *error)
{
	_cleanup_free_ const struct kernel_def **checked =
		calloc(planning->n_changes + 1, sizeof(*checked));
	size_t n = 0;

	if (!checked)
		return no_memory(error);
	for (size_t i = 0; i < planning->n_changes; i++) {
		const struct planning_change *change = &planning->changes[i];
		struct popcorn_error inner = { 0 };
		bool known = false;

		if (change->change != PLAN_START && change->change != PLAN_REPLACE)
			continue;
		for (size_t j = 0; j < n && !known; j++)
			known = is_checked_by(change->def, checked[j]);
		if (known)
			continue;
		if (boot_check(config, change->def, NULL, &inner) < 0)
			return popcorn_error_set(error, inner.id, "kernel %s: %s", change->name,
						 inner.text);
		checked[n++] = change->def;
	}
	return 0;
}

int planning_prepare(struct planning *planning, const struct planning_input *input, bool prune,
		     struct popcorn_error *error)
{
	int r;

	if (!planning->plan)
		return refuse_problems(planning, error);
	r = check_device(planning, error);
	for (size_t i = 0; i < planning->n_changes && r == 0; i++) {
		struct planning_change *change = &planning->changes[i];

		r = check_name(input, change, error);
		if (r == 0 && (change->change == PLAN_START || change->change == PLAN_REPLACE))
			r = make_def(planning, input->config, change->kernel, &change->def, error);
	}
	if (r == 0)
		r = check_boots(planning, input->config, error);
	if (r == 0 && !prune)
		r = refuse_stops(planning, error);
	return r;
}

static const char *change_to_string(enum plan_change change)
{
	switch (change) {
	case PLAN_KEEP:
		return "keep";
	case PLAN_START:
		return "start";
	case PLAN_STOP:
		return "stop";
	case PLAN_REPLACE:
		return "replace";
	}
	return "";
}

int planning_to_json(const struct planning *planning, bool explain, bool diff, char **ret)
{
	json_t *json, *changes;
	int r = 0;

	json = planning->plan ? plan_to_json(planning->plan, explain)
			      : plan_problems_to_json(planning->policy, planning->problems,
						      planning->n_problems);
	if (!json)
		return -ENOMEM;
	if (diff && planning->plan) {
		changes = json_array();
		for (size_t i = 0; i < planning->n_changes && r == 0; i++) {
			const struct planning_change *change = &planning->changes[i];

			r = json_array_append_new(
				changes,
				json_pack("{s:s, s:s, s:s, s:b}", "change",
					  change_to_string(change->change), "name", change->name,
					  "why", change->why, "running",
					  !change->remains && change->change != PLAN_START));
		}
		if (json_object_set_new(json, "changes", changes) < 0)
			r = -1;
	}
	*ret = r == 0 ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return *ret ? 0 : -ENOMEM;
}
