// SPDX-License-Identifier: LGPL-2.1-or-later
/* Policies, plans, and making a machine like a plan. */
#include <errno.h>
#include <string.h>

#include "internal.h"

static int append_flag(sd_bus_message *m, const char *name, bool value)
{
	return value ? sd_bus_message_append(m, "{sv}", name, "b", 1) : 0;
}

/* A call of @method about @policy with its options: up to two flags, and the text. */
static int new_policy_call(struct popcorn *popcorn, const char *method, const char *policy,
			   const char *text, const char *first, bool has_first, const char *second,
			   bool has_second, sd_bus_message **ret)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	int r;

	if (!policy)
		return popcorn_fail(popcorn, POPCORN_ERROR_NO_SUCH_POLICY, NULL);
	r = popcorn_new_call(popcorn, method, policy, POPCORN_ERROR_NO_SUCH_POLICY, &m);
	if (r < 0)
		return r;
	r = sd_bus_message_open_container(m, 'a', "{sv}");
	if (r >= 0 && text) {
		r = sd_bus_message_append(m, "{sv}", "Text", "s", text);
		if (r == -EINVAL)
			return popcorn_fail(popcorn, POPCORN_ERROR_CONFIG,
					    "%s: is not a text file (not UTF-8)", policy);
	}
	if (r >= 0)
		r = append_flag(m, first, has_first);
	if (r >= 0)
		r = append_flag(m, second, has_second);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r < 0)
		return popcorn_fail_bus(popcorn, NULL, r);
	*ret = m;
	m = NULL;
	return 0;
}

/* Sends what answers with texts: one, or @ret_first before it. */
static int call_for_text(struct popcorn *popcorn, sd_bus_message *m, char **ret_first, char **ret)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_free_ char *first = NULL;
	const char *a = NULL, *b;
	char *text;
	int r;

	r = popcorn_call_message(popcorn, m, &reply);
	if (r < 0)
		return r;
	if (ret_first)
		r = sd_bus_message_read(reply, "s", &a);
	if (r >= 0)
		r = sd_bus_message_read(reply, "s", &b);
	if (r < 0)
		return popcorn_parse_failed(popcorn, r);
	first = a ? strdup(a) : NULL;
	text = strdup(b);
	if (!text || (a && !first)) {
		free(text);
		return popcorn_fail(popcorn, POPCORN_ERROR_NO_MEMORY, NULL);
	}
	if (ret_first) {
		*ret_first = first;
		first = NULL;
	}
	*ret = text;
	return 0;
}

int popcorn_plan(struct popcorn *popcorn, const char *policy, const char *text, unsigned flags,
		 char **ret_json)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	int r;

	if (flags & ~(POPCORN_PLAN_EXPLAIN | POPCORN_PLAN_DIFF))
		return popcorn_fail(popcorn, POPCORN_ERROR_INVALID_ARGUMENT,
				    "unknown flags for a plan: %#x", flags);
	r = new_policy_call(popcorn, "Plan", policy, text, "Explain", flags & POPCORN_PLAN_EXPLAIN,
			    "Diff", flags & POPCORN_PLAN_DIFF, &m);
	return r < 0 ? r : call_for_text(popcorn, m, NULL, ret_json);
}

int popcorn_apply(struct popcorn *popcorn, const char *policy, const char *text, unsigned flags,
		  struct popcorn_job **ret_job)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	int r;

	if (flags & ~(POPCORN_APPLY_ATOMIC | POPCORN_APPLY_PRUNE))
		return popcorn_fail(popcorn, POPCORN_ERROR_INVALID_ARGUMENT,
				    "unknown flags for an apply: %#x", flags);
	r = new_policy_call(popcorn, "Apply", policy, text, "Atomic", flags & POPCORN_APPLY_ATOMIC,
			    "Prune", flags & POPCORN_APPLY_PRUNE, &m);
	return r < 0 ? r : popcorn_start_job(popcorn, m, policy, "apply", ret_job);
}

int popcorn_get_topology(struct popcorn *popcorn, const char *format, char **ret)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	int r;

	r = popcorn_new_call(popcorn, "GetTopology", format ? format : "",
			     POPCORN_ERROR_INVALID_ARGUMENT, &m);
	return r < 0 ? r : call_for_text(popcorn, m, NULL, ret);
}

int popcorn_get_policy(struct popcorn *popcorn, const char *name, char **ret_path, char **ret_text)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	_cleanup_free_ char *path = NULL;
	int r;

	if (!name)
		return popcorn_fail(popcorn, POPCORN_ERROR_NO_SUCH_POLICY, NULL);
	r = popcorn_new_call(popcorn, "GetPolicy", name, POPCORN_ERROR_NO_SUCH_POLICY, &m);
	if (r >= 0)
		r = call_for_text(popcorn, m, &path, ret_text);
	if (r >= 0 && ret_path) {
		*ret_path = path;
		path = NULL;
	}
	return r;
}

int popcorn_list_policies(struct popcorn *popcorn, popcorn_policy_callback callback, void *userdata)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	const char *name, *path, *description;
	int r, valid;

	r = popcorn_call(popcorn, BUS_PATH, INTERFACE_MANAGER, "ListPolicies", &reply, "");
	if (r < 0)
		return r;
	r = sd_bus_message_enter_container(reply, 'a', "(sssb)");
	while (r >= 0 &&
	       (r = sd_bus_message_read(reply, "(sssb)", &name, &path, &description, &valid)) > 0)
		callback(name, path, description, valid, userdata);
	return r < 0 ? popcorn_parse_failed(popcorn, r) : 0;
}
