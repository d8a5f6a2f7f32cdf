// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The Manager's methods about policies and the machine. All read files, and most of them the flags of
 * all memory: each in a thread, counted as a request. A caller's policy is a name or a text, never a
 * path: popcornd would read a file that the caller can't.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "apply.h"
#include "facts.h"
#include "job.h"
#include "log.h"
#include "planning.h"
#include "util.h"

enum query_kind {
	QUERY_PLAN,
	QUERY_APPLY,
	QUERY_TOPOLOGY,
	QUERY_LIST,
	QUERY_GET,
};

struct query {
	enum query_kind kind;
	struct request *request;
	struct task *task;
	const char *folders[2];
	const char *const *policies;
	/* Options. */
	bool explain, diff, atomic, prune, xml;
	struct planning_input input;
	/* Written by the thread. */
	int result;
	struct popcorn_error error;
	struct planning *planning;
	char *text, *path;
	struct policy_entry *entries;
	size_t n_entries;
};

static struct query *query_free(struct query *query)
{
	if (query->request)
		request_free(query->request);
	planning_free(query->planning);
	planning_input_done(&query->input);
	policy_entries_free(query->entries, query->n_entries);
	free(query->text);
	free(query->path);
	free(query);
	return NULL;
}

static void query_freep(struct query **query)
{
	if (*query)
		query_free(*query);
}

/*
 * In the thread.
 */

static int run_topology(struct query *query)
{
	struct machine *machine;
	json_t *json;
	int r;

	if (query->xml)
		return resources_topology_xml(query->input.resources, &query->text, &query->error);
	r = resources_machine(query->input.resources, &machine, &query->error);
	if (r < 0)
		return r;
	json = machine_to_json(machine);
	machine_free(machine);
	query->text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return query->text ? 0 : popcorn_error_set(&query->error, POPCORN_ERROR_NO_MEMORY, NULL);
}

static void query_run(void *userdata)
{
	struct query *query = userdata;
	struct popcorn_error *error = &query->error;
	size_t size;
	int r = 0;

	switch (query->kind) {
	case QUERY_PLAN:
		r = planning_make(&query->input, &query->planning, error);
		if (r == 0 && planning_to_json(query->planning, query->explain, query->diff,
					       &query->text) < 0)
			r = popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
		break;
	case QUERY_APPLY:
		r = planning_make(&query->input, &query->planning, error);
		if (r == 0)
			r = planning_prepare(query->planning, &query->input, query->prune, error);
		break;
	case QUERY_TOPOLOGY:
		r = run_topology(query);
		break;
	case QUERY_LIST:
		r = policy_list(query->policies, &query->entries, &query->n_entries, error);
		break;
	case QUERY_GET:
		r = policy_find(query->policies, query->input.policy, &query->path, &query->text,
				&size, error);
		break;
	}
	query->result = r;
}

/*
 * In the loop, before.
 */

/* What the thread has to know of the kernels. */
static int copy_kernels(struct manager *manager, struct planning_input *input)
{
	struct kernel *kernel;
	size_t n = 0;

	TAILQ_FOREACH(kernel, &manager->kernels, entry)
		n++;
	input->kernels = calloc(n + 1, sizeof(*input->kernels));
	if (!input->kernels)
		return -ENOMEM;
	TAILQ_FOREACH(kernel, &manager->kernels, entry) {
		struct planning_kernel *copy = &input->kernels[input->n_kernels++];

		strcpy(copy->name, kernel->name);
		strcpy(copy->policy, kernel->policy);
		copy->policy_digest = kernel->policy_digest;
		copy->state = state_to_string(kernel->state);
		copy->active = state_is_active(kernel->state) || kernel->job;
		if (kernel->def && kernel_def_copy(kernel->def, &copy->def) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int read_option(sd_bus_message *message, const char *option, void *userdata,
		       struct popcorn_error *error)
{
	struct query *query = userdata;
	const struct {
		const char *name, *type;
		enum query_kind kind;
		bool *target;
	} options[] = {
		{ "Text", "s", QUERY_PLAN, NULL },
		{ "Text", "s", QUERY_APPLY, NULL },
		{ "Explain", "b", QUERY_PLAN, &query->explain },
		{ "Diff", "b", QUERY_PLAN, &query->diff },
		{ "Atomic", "b", QUERY_APPLY, &query->atomic },
		{ "Prune", "b", QUERY_APPLY, &query->prune },
	};
	const char *text;
	int r, value;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (options[i].kind != query->kind || strcmp(options[i].name, option) != 0)
			continue;
		r = bus_check_option(message, option, options[i].type, error);
		if (r < 0)
			return r;
		if (options[i].target) {
			r = sd_bus_message_read(message, "v", "b", &value);
			*options[i].target = r >= 0 && value;
			return r;
		}
		r = sd_bus_message_read(message, "v", "s", &text);
		if (r < 0)
			return r;
		query->input.text_size = strlen(text);
		if (query->input.text_size > POLICY_SIZE_MAX)
			return popcorn_error_set(
				error, POPCORN_ERROR_CONFIG,
				"%s: has %zu bytes, which is too much for a policy "
				"(at most %u)",
				query->input.policy, query->input.text_size, POLICY_SIZE_MAX);
		free(query->input.text);
		query->input.text = strdup(text);
		return query->input.text ? 0
					 : popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	}
	return bus_invalid_option(option, "is not one that this method knows", error);
}

static int read_policy(sd_bus_message *message, struct query *query, struct popcorn_error *error)
{
	const char *name;
	int r;

	r = sd_bus_message_read(message, "s", &name);
	if (r >= 0)
		r = policy_name_check(name, error);
	if (r < 0)
		return r;
	query->input.policy = strdup(name);
	return query->input.policy ? 0 : popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
}

static int new_query(struct manager *manager, enum query_kind kind, struct query **ret,
		     struct popcorn_error *error)
{
	struct query *query = calloc(1, sizeof(*query));

	if (!query)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	query->kind = kind;
	query->folders[0] = manager->options->policies_dir;
	query->policies = query->folders[0] ? query->folders : NULL;
	query->input.folders = query->policies;
	query->input.config = manager->config;
	*ret = query;
	return 0;
}

static void query_done(void *userdata);

/* Takes @query; the reply comes later. */
static int start_query(struct query *query, struct manager *manager, sd_bus_message *message,
		       uid_t uid, struct popcorn_error *error)
{
	int r = 0;

	if (query->kind != QUERY_LIST && query->kind != QUERY_GET) {
		r = manager_need_driver(manager, error);
		query->input.resources = manager->resources;
		if (r >= 0 && copy_kernels(manager, &query->input) < 0)
			r = popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	}
	if (r >= 0)
		r = request_new(manager, message, uid, &query->request, error);
	if (r >= 0) {
		r = task_start(manager->event, query_run, NULL, query_done, query, &query->task);
		if (r < 0)
			popcorn_error_set_errno(error, r, "can't start a thread");
	}
	if (r < 0) {
		query_free(query);
		return r;
	}
	return 1;
}

/*
 * In the loop, after.
 */

static int reply_list(sd_bus_message *message, const struct query *query)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r;

	r = sd_bus_message_new_method_return(message, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(sssb)");
	for (size_t i = 0; i < query->n_entries && r >= 0; i++) {
		const struct policy_entry *entry = &query->entries[i];

		r = sd_bus_message_open_container(reply, 'r', "sssb");
		if (r >= 0)
			r = sd_bus_message_append(reply, "s", entry->name);
		if (r >= 0)
			r = bus_append_text(reply, entry->path);
		if (r >= 0)
			r = bus_append_text(reply, entry->description);
		if (r >= 0)
			r = sd_bus_message_append(reply, "b", entry->valid);
		if (r >= 0)
			r = sd_bus_message_close_container(reply);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int reply_texts(sd_bus_message *message, const char *path, const char *text)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r;

	r = sd_bus_message_new_method_return(message, &reply);
	if (r >= 0 && path)
		r = bus_append_text(reply, path);
	if (r >= 0)
		r = bus_append_text(reply, text);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* One that a policy started and that stays, but is to be watched over otherwise. */
static void keep(struct kernel *kernel, const struct planning_change *change, uint64_t digest)
{
	/* From now on it is this text's. */
	kernel->policy_digest = digest;
	if (kernel->def) {
		kernel->def->restart = change->restart;
		kernel->def->boot_timeout_usec = change->boot_timeout_usec;
	}
	kernel_save(kernel);
	kernel_changed(kernel, "Restart");
}

/* While it was planned, somebody may have been faster. */
static int check_unchanged(struct manager *manager, const struct query *query,
			   struct popcorn_error *error)
{
	for (size_t i = 0; i < query->planning->n_changes; i++) {
		const struct planning_change *change = &query->planning->changes[i];
		const struct kernel *kernel = manager_find_kernel(manager, change->name);
		bool ours = kernel && strcmp(kernel->policy, query->input.policy) == 0;
		bool active = kernel && (state_is_active(kernel->state) || kernel->job);
		bool wanted = change->change == PLAN_KEEP || change->change == PLAN_REPLACE ||
			      (change->change == PLAN_STOP && !change->remains);

		if (ours && kernel->job)
			return popcorn_error_set(
				error, POPCORN_ERROR_BUSY,
				"kernel %s, which the policy started, has a %s job under way; try "
				"again when it has ended",
				kernel->name, job_type_to_string(kernel->job->type));
		if ((wanted && !(ours && active)) || (!wanted && active))
			return popcorn_error_set(error, POPCORN_ERROR_BUSY,
						 "kernel %s was started or stopped while the plan "
						 "was made; try again",
						 change->name);
	}
	return 0;
}

static int make_items(struct manager *manager, struct query *query, struct apply_item **ret,
		      size_t *ret_n)
{
	struct planning *planning = query->planning;
	struct apply_item *items = calloc(planning->n_changes + 1, sizeof(*items));
	size_t n = 0;

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < planning->n_changes; i++) {
		struct planning_change *change = &planning->changes[i];
		const struct kernel *kernel = manager_find_kernel(manager, change->name);
		struct apply_item *item = &items[n];

		if (change->change == PLAN_KEEP)
			continue;
		n++;
		strcpy(item->name, change->name);
		item->stop = change->change != PLAN_START || change->remains;
		if (change->kernel) {
			item->def = steal_ptr(change->def);
			item->level = change->kernel->start;
			item->group = (unsigned)(change->kernel->group - planning->policy->groups);
		}
		/* What had ended by itself is not started again. */
		if (item->stop && !change->remains && kernel->def) {
			item->old_digest = kernel->policy_digest;
			if (kernel_def_copy(kernel->def, &item->old) < 0) {
				apply_items_free(items, n);
				return -ENOMEM;
			}
		}
	}
	*ret_n = n;
	*ret = items;
	return 0;
}

static unsigned find_group(const struct policy *policy, const char *name)
{
	unsigned i = 0;

	while (i < policy->n_groups && strcmp(policy->groups[i].name, name) != 0)
		i++;
	return i;
}

static int begin_apply(struct manager *manager, struct query *query, struct popcorn_error *error)
{
	const struct policy *policy = query->planning->policy;
	sd_bus_message *message = query->request->message;
	struct apply_item *items;
	struct apply *apply;
	struct job *job;
	size_t n;
	int r;

	r = check_unchanged(manager, query, error);
	if (r < 0)
		return r;
	if (make_items(manager, query, &items, &n) < 0 ||
	    apply_new(items, n, (unsigned)policy->n_groups, query->atomic, &apply) < 0)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	for (unsigned i = 0; i < policy->n_groups; i++)
		for (size_t j = 0; j < policy->groups[i].n_after; j++) {
			unsigned before = find_group(policy, policy->groups[i].after[j]);

			if (before < policy->n_groups)
				apply_set_after(apply, i, before);
		}
	r = apply_job_new(manager, query->input.policy, query->planning->digest, apply,
			  query->request->uid, &job, error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < query->planning->n_changes; i++)
		if (query->planning->changes[i].change == PLAN_KEEP)
			keep(manager_find_kernel(manager, query->planning->changes[i].name),
			     &query->planning->changes[i], query->planning->digest);
	r = sd_bus_reply_method_return(message, "o", job->path);
	/* Also when the caller has left: he asked for it. */
	apply_begin(job);
	return r < 0 ? r : 0;
}

static void query_done(void *userdata)
{
	struct query *query = userdata;
	struct manager *manager = query->request->manager;
	sd_bus_message *message = query->request->message;
	int r = query->result;

	query->task = NULL;
	if (r >= 0)
		switch (query->kind) {
		case QUERY_PLAN:
		case QUERY_TOPOLOGY:
			r = reply_texts(message, NULL, query->text);
			break;
		case QUERY_APPLY:
			r = begin_apply(manager, query, &query->error);
			break;
		case QUERY_LIST:
			r = reply_list(message, query);
			break;
		case QUERY_GET:
			r = reply_texts(message, query->path, query->text);
			break;
		}
	if (r < 0)
		bus_reply_error(message, &query->error, r);
	query_free(query);
	manager_job_gone(manager);
}

/*
 * The methods.
 */

/* Reading is free, but not without limit. */
static int start_reading(struct query *query, struct manager *manager, sd_bus_message *message,
			 struct popcorn_error *error)
{
	uid_t uid;
	int r = sender_is_root(message, &uid);

	if (r < 0) {
		query_free(query);
		return popcorn_error_set(error, POPCORN_ERROR_NOT_AUTHORIZED,
					 "the bus does not say who the caller is");
	}
	return start_query(query, manager, message, uid, error);
}

int method_plan(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	_cleanup_(query_freep) struct query *query = NULL;
	struct popcorn_error error = {};
	int r;

	r = new_query(userdata, QUERY_PLAN, &query, &error);
	if (r >= 0)
		r = read_policy(message, query, &error);
	if (r >= 0)
		r = bus_read_options(message, read_option, query, &error);
	if (r >= 0)
		r = start_reading(steal_ptr(query), userdata, message, &error);
	return r < 0 ? bus_reply_error(message, &error, r) : 1;
}

static int apply_authorized(struct manager *manager, sd_bus_message *message, uid_t uid,
			    struct popcorn_error *error)
{
	_cleanup_(query_freep) struct query *query = NULL;
	int r;

	r = new_query(manager, QUERY_APPLY, &query, error);
	if (r >= 0)
		r = read_policy(message, query, error);
	if (r >= 0)
		r = bus_read_options(message, read_option, query, error);
	return r < 0 ? r : start_query(steal_ptr(query), manager, message, uid, error);
}

int method_apply(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	struct popcorn_error error = {};
	const char *name;
	int r;

	r = sd_bus_message_read(message, "s", &name);
	if (r >= 0)
		r = policy_name_check(name, &error);
	if (r < 0)
		return bus_reply_error(message, &error, r);
	return authorize(userdata, message, ACTION_APPLY, name, apply_authorized);
}

int method_get_topology(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	_cleanup_(query_freep) struct query *query = NULL;
	struct popcorn_error error = {};
	const char *format;
	int r;

	r = sd_bus_message_read(message, "s", &format);
	if (r >= 0 && strcmp(format, "xml") != 0 && strcmp(format, "json") != 0)
		r = popcorn_error_set(&error, POPCORN_ERROR_INVALID_ARGUMENT,
				      "there is no format '%.16s'; ask for \"xml\" or \"json\"",
				      format);
	if (r >= 0)
		r = new_query(userdata, QUERY_TOPOLOGY, &query, &error);
	if (r >= 0) {
		query->xml = strcmp(format, "xml") == 0;
		r = start_reading(steal_ptr(query), userdata, message, &error);
	}
	return r < 0 ? bus_reply_error(message, &error, r) : 1;
}

int method_list_policies(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	struct popcorn_error error = {};
	struct query *query;
	int r;

	r = new_query(userdata, QUERY_LIST, &query, &error);
	if (r >= 0)
		r = start_reading(query, userdata, message, &error);
	return r < 0 ? bus_reply_error(message, &error, r) : 1;
}

int method_get_policy(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	_cleanup_(query_freep) struct query *query = NULL;
	struct popcorn_error error = {};
	int r;

	r = new_query(userdata, QUERY_GET, &query, &error);
	if (r >= 0)
		r = read_policy(message, query, &error);
	if (r >= 0)
		r = start_reading(steal_ptr(query), userdata, message, &error);
	return r < 0 ? bus_reply_error(message, &error, r) : 1;
}
