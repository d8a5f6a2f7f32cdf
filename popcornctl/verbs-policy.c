// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * policy: the files that say how machines are divided. No popcornd is needed: anybody can read them.
 * Only those of another machine come from its popcornd.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "config-build.h"
#include "error.h"
#include "output.h"
#include "policy.h"
#include "popcornctl.h"
#include "util.h"

#define BUS_NAME "org.popcornlinux.Popcorn1"
#define BUS_PATH "/org/popcornlinux/Popcorn1"

#define FOLDERS_MAX 16

const char *const *policy_folders(void)
{
	static const char *folders[FOLDERS_MAX + 1];
	const char *path = getenv("POPCORN_POLICY_PATH");
	char *rest, *folder;
	size_t n = 0;

	if (folders[0])
		return folders;
	/* Kept until the end: the folders are parts of it. */
	rest = xstrdup(path && *path ? path
				     : POPCORN_CONFDIR "/policies:" POPCORN_DATADIR "/policies");
	while (n < FOLDERS_MAX && (folder = strsep(&rest, ":")))
		if (*folder)
			folders[n++] = folder;
	return folders;
}

/* Asks popcornd on another machine. */
static int call(struct popcorn *popcorn, const char *method, const char *name,
		sd_bus_message **ret_reply, struct popcorn_error *error)
{
	_cleanup_(sd_bus_error_free) sd_bus_error bus_error = SD_BUS_ERROR_NULL;

	if (sd_bus_call_method(popcorn_get_bus(popcorn), BUS_NAME, BUS_PATH, BUS_NAME ".Manager",
			       method, &bus_error, ret_reply, name ? "s" : "", name) >= 0)
		return 0;
	/* Other names than ours are of the bus: there is no popcornd. */
	if (!bus_error.name ||
	    strncmp(bus_error.name, POPCORN_ERROR_PREFIX, strlen(POPCORN_ERROR_PREFIX)) != 0)
		return popcorn_error_set(error, POPCORN_ERROR_NO_DAEMON, NULL);
	return popcorn_error_set(error, popcorn_error_from_name(bus_error.name), "%s",
				 bus_error.message);
}

static int not_understood(struct popcorn_error *error)
{
	return popcorn_error_set(error, POPCORN_ERROR_FAILED,
				 "popcornd's answer was not understood; install matching versions");
}

/* policy_find() here, or there if there is a connection. */
static int find(struct popcorn *popcorn, const char *name, char **ret_path, char **ret_text,
		size_t *ret_size, struct popcorn_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	const char *path, *text;
	int r;

	if (!popcorn)
		return policy_find(policy_folders(), name, ret_path, ret_text, ret_size, error);
	r = call(popcorn, "GetPolicy", name, &reply, error);
	if (r < 0)
		return r;
	if (sd_bus_message_read(reply, "ss", &path, &text) < 0)
		return not_understood(error);
	*ret_path = xstrdup(path);
	*ret_text = xstrdup(text);
	*ret_size = strlen(text);
	return 0;
}

static struct json *entry_json(const char *name, const char *path, const char *description,
			       bool valid)
{
	struct json *row = json_new_object();

	json_set(row, "name", json_new_string(name));
	json_set(row, "path", json_new_string(path));
	json_set(row, "valid", json_new_bool(valid));
	json_set(row, valid ? "description" : "error", json_new_string(description));
	return row;
}

static int list_there(struct popcorn *popcorn, struct json *rows, struct popcorn_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	const char *name, *path, *description;
	int r, valid;

	r = call(popcorn, "ListPolicies", NULL, &reply, error);
	if (r < 0)
		return r;
	r = sd_bus_message_enter_container(reply, 'a', "(sssb)");
	while (r >= 0 &&
	       (r = sd_bus_message_read(reply, "(sssb)", &name, &path, &description, &valid)) > 0)
		json_append(rows, entry_json(name, path, description, valid));
	return r < 0 ? not_understood(error) : 0;
}

static int list_here(struct json *rows, struct popcorn_error *error)
{
	struct policy_entry *entries;
	size_t n;
	int r;

	r = policy_list(policy_folders(), &entries, &n, error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		json_append(rows, json_set(entry_json(entries[i].name, entries[i].path,
						      entries[i].description, entries[i].valid),
					   "overrides", json_new_bool(entries[i].overrides)));
	policy_entries_free(entries, n);
	return 0;
}

static bool is_true(const struct json *row, const char *key)
{
	const struct json *value = json_get(row, key);

	return value && value->boolean;
}

static bool is_below(const struct json *row, const char *folder)
{
	return strncmp(json_get_string(row, "path"), folder, strlen(folder)) == 0;
}

static char *text_kind(const struct json *row)
{
	return xstrdup(!is_true(row, "valid")			     ? "broken"
		       : is_true(row, "overrides")		     ? "changed"
		       : is_below(row, POPCORN_CONFDIR "/policies/") ? "own"
		       : is_below(row, POPCORN_DATADIR "/policies/") ? "shipped"
								     : "");
}

static const char *color_kind(const struct json *row)
{
	return is_true(row, "valid") ? NULL : "red";
}

static char *text_description(const struct json *row)
{
	return xstrdup(json_get_string(row, is_true(row, "valid") ? "description" : "error"));
}

static int command_list(struct popcorn *popcorn, const struct arguments *arguments, char **names,
			size_t n)
{
	static const struct column columns[] = {
		{ .header = "NAME", .key = "name" },
		{ .header = "KIND", .text = text_kind, .color = color_kind },
		{ .header = "DESCRIPTION", .text = text_description, .may_shrink = true },
	};
	_cleanup_(json_freep) struct json *rows = json_new_array();
	struct popcorn_error error = { 0 };

	if ((popcorn ? list_there(popcorn, rows, &error) : list_here(rows, &error)) < 0)
		return complain_error("policy list", &error);
	if (arguments->json != JSON_OFF) {
		json_print(rows, arguments->json, stdout);
		return EXIT_DONE;
	}
	if (rows->n)
		table_print(rows, columns, sizeof(columns) / sizeof(columns[0]), arguments->legend);
	if (!arguments->legend || arguments->quiet)
		return EXIT_DONE;
	if (rows->n)
		printf("\n%zu %s.\n", rows->n, rows->n == 1 ? "policy" : "policies");
	else
		puts("No policies.");
	return EXIT_DONE;
}

static int command_show(struct popcorn *popcorn, const struct arguments *arguments, char **names,
			size_t n)
{
	_cleanup_free_ char *what = xasprintf("policy show %s", names[0]);
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct popcorn_error error = { 0 };
	size_t size;

	if (find(popcorn, names[0], &path, &text, &size, &error) < 0)
		return complain_error(what, &error);
	if (arguments->json != JSON_OFF) {
		_cleanup_(json_freep) struct json *json = json_new_object();
		struct policy *policy = NULL;

		json_set(json, "name", json_new_string(names[0]));
		json_set(json, "path", json_new_string(path));
		json_set(json, "valid",
			 json_new_bool(policy_parse(path, text, size, &policy, &error) == 0));
		if (policy)
			json_set(json, "description",
				 json_new_string(policy->description ? policy->description : ""));
		else
			json_set(json, "error", json_new_string(error.text));
		json_set(json, "text", json_new_bytes(text, size));
		policy_free(policy);
		json_print(json, arguments->json, stdout);
		return EXIT_DONE;
	}
	if (arguments->legend && !arguments->quiet)
		printf("# %s\n", path);
	if (isatty(STDOUT_FILENO))
		print_safe(text, size, stdout);
	else
		fwrite(text, 1, size, stdout);
	if (size && text[size - 1] != '\n')
		putchar('\n');
	return EXIT_DONE;
}

/* Says of a policy whether it is right. */
static int verify(struct popcorn *popcorn, const struct arguments *arguments, const char *name,
		  struct json *results)
{
	_cleanup_free_ char *what = xasprintf("policy verify %s", name);
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct popcorn_error error = { 0 };
	struct policy *policy = NULL;
	struct json *result;
	size_t size;
	int r;

	r = find(popcorn, name, &path, &text, &size, &error);
	if (r == 0)
		r = policy_parse(path, text, size, &policy, &error);
	policy_free(policy);
	if (arguments->json != JSON_OFF) {
		result = json_new_object();
		json_set(result, "name", json_new_string(name));
		json_set(result, "path", path ? json_new_string(path) : json_new_null());
		json_set(result, "valid", json_new_bool(r == 0));
		json_set(result, "error", r == 0 ? json_new_null() : json_new_string(error.text));
		json_append(results, result);
	} else if (r == 0 && !arguments->quiet) {
		printf("%s: no mistakes.\n", path);
	}
	return r == 0 ? EXIT_DONE : complain_error(what, &error);
}

/* Without names, all of them. */
static int command_verify(struct popcorn *popcorn, const struct arguments *arguments, char **names,
			  size_t n)
{
	_cleanup_(json_freep) struct json *results = json_new_array(), *all = json_new_array();
	struct popcorn_error error = { 0 };
	int code, first = EXIT_DONE;

	if (n == 0) {
		if ((popcorn ? list_there(popcorn, all, &error) : list_here(all, &error)) < 0)
			return complain_error("policy verify", &error);
		n = all->n;
	}
	for (size_t i = 0; i < n; i++) {
		code = verify(popcorn, arguments,
			      all->n ? json_get_string(all->items[i], "name") : names[i], results);
		if (first == EXIT_DONE)
			first = code;
	}
	if (arguments->json != JSON_OFF)
		json_print(results, arguments->json, stdout);
	return first;
}

static const struct command {
	const char *name;
	size_t min, max;
	int (*run)(struct popcorn *popcorn, const struct arguments *arguments, char **names,
		   size_t n);
} commands[] = {
	{ "list", 0, 0, command_list },
	{ "show", 1, 1, command_show },
	{ "verify", 0, SIZE_MAX, command_verify },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* What is wrong with the command line is said before anybody is connected to. */
static int check(const struct arguments *arguments, const struct command **ret, bool say)
{
	const char *name = arguments->n_names ? arguments->names[0] : "list";
	_cleanup_free_ char *what = xasprintf("policy %s", name);
	const struct command *command = find_command(name);
	size_t n = arguments->n_names ? arguments->n_names - 1 : 0;

	if (command && n >= command->min && n <= command->max) {
		*ret = command;
		return 0;
	}
	if (!say)
		return -EINVAL;
	if (!command)
		complain("policy", "there is no command '%s'; see 'popcornctl policy --help'",
			 name);
	else if (n < command->min)
		complain(what, "the name of a policy is missing; see 'popcornctl policy --help'");
	else
		complain(what, "'%s' is too much; see 'popcornctl policy --help'",
			 arguments->names[1 + command->max]);
	return -EINVAL;
}

bool policy_is_local(const struct arguments *arguments)
{
	const struct command *command;

	return !arguments->host || check(arguments, &command, false) < 0;
}

int verb_policy(struct popcorn *popcorn, const struct arguments *arguments)
{
	const struct command *command;

	if (check(arguments, &command, true) < 0)
		return EXIT_USAGE;
	return command->run(popcorn, arguments, arguments->names + 1,
			    arguments->n_names ? arguments->n_names - 1 : 0);
}
