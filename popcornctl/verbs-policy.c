// SPDX-License-Identifier: GPL-2.0-or-later
/* policy: the files that say how machines are divided. No popcornd is needed: anybody can read them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config-build.h"
#include "error.h"
#include "output.h"
#include "policy.h"
#include "popcornctl.h"
#include "util.h"

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

static bool is_below(const struct json *row, const char *folder)
{
	return strncmp(json_get_string(row, "path"), folder, strlen(folder)) == 0;
}

static char *text_kind(const struct json *row)
{
	return xstrdup(!json_get(row, "valid")->boolean		     ? "broken"
		       : json_get(row, "overrides")->boolean	     ? "changed"
		       : is_below(row, POPCORN_CONFDIR "/policies/") ? "own"
		       : is_below(row, POPCORN_DATADIR "/policies/") ? "shipped"
								     : "");
}

static const char *color_kind(const struct json *row)
{
	return json_get(row, "valid")->boolean ? NULL : "red";
}

static int policy_list_all(const struct arguments *arguments, struct json **ret)
{
	struct json *rows = json_new_array();
	struct popcorn_error error = { 0 };
	struct policy_entry *entries;
	size_t n;

	if (policy_list(policy_folders(), &entries, &n, &error) < 0) {
		json_free(rows);
		return complain_error("policy list", &error);
	}
	for (size_t i = 0; i < n; i++) {
		struct json *row = json_new_object();

		json_set(row, "name", json_new_string(entries[i].name));
		json_set(row, "path", json_new_string(entries[i].path));
		json_set(row, "valid", json_new_bool(entries[i].valid));
		json_set(row, "overrides", json_new_bool(entries[i].overrides));
		json_set(row, entries[i].valid ? "description" : "error",
			 json_new_string(entries[i].description));
		json_append(rows, row);
	}
	policy_entries_free(entries, n);
	*ret = rows;
	return EXIT_DONE;
}

static char *text_description(const struct json *row)
{
	return xstrdup(
		json_get_string(row, json_get(row, "valid")->boolean ? "description" : "error"));
}

static int command_list(const struct arguments *arguments, char **names, size_t n)
{
	static const struct column columns[] = {
		{ .header = "NAME", .key = "name" },
		{ .header = "KIND", .text = text_kind, .color = color_kind },
		{ .header = "DESCRIPTION", .text = text_description, .may_shrink = true },
	};
	_cleanup_(json_freep) struct json *rows = NULL;
	int code;

	code = policy_list_all(arguments, &rows);
	if (code != EXIT_DONE)
		return code;
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

static int command_show(const struct arguments *arguments, char **names, size_t n)
{
	_cleanup_free_ char *what = xasprintf("policy show %s", names[0]);
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct popcorn_error error = { 0 };
	size_t size;

	if (policy_find(policy_folders(), names[0], &path, &text, &size, &error) < 0)
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
static int verify(const struct arguments *arguments, const char *name, struct json *results)
{
	_cleanup_free_ char *what = xasprintf("policy verify %s", name);
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct popcorn_error error = { 0 };
	struct policy *policy = NULL;
	struct json *result;
	size_t size;
	int r;

	r = policy_find(policy_folders(), name, &path, &text, &size, &error);
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
static int command_verify(const struct arguments *arguments, char **names, size_t n)
{
	_cleanup_(json_freep) struct json *results = json_new_array(), *all = NULL;
	int code, first = EXIT_DONE;

	if (n == 0) {
		code = policy_list_all(arguments, &all);
		if (code != EXIT_DONE)
			return code;
		n = all->n;
	}
	for (size_t i = 0; i < n; i++) {
		code = verify(arguments, all ? json_get_string(all->items[i], "name") : names[i],
			      results);
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
	int (*run)(const struct arguments *arguments, char **names, size_t n);
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

bool policy_is_local(const struct arguments *arguments)
{
	return true;
}

int verb_policy(struct popcorn *popcorn, const struct arguments *arguments)
{
	const char *name = arguments->n_names ? arguments->names[0] : "list";
	const struct command *command = find_command(name);
	size_t n = arguments->n_names ? arguments->n_names - 1 : 0;

	if (!command) {
		complain("policy", "there is no command '%s'; see 'popcornctl policy --help'",
			 name);
		return EXIT_USAGE;
	}
	if (n < command->min || n > command->max) {
		_cleanup_free_ char *what = xasprintf("policy %s", name);

		if (n < command->min)
			complain(what, "the name of a policy is missing; see 'popcornctl policy "
				       "--help'");
		else
			complain(what, "'%s' is too much; see 'popcornctl policy --help'",
				 arguments->names[1 + command->max]);
		return EXIT_USAGE;
	}
	if (arguments->host) {
		_cleanup_free_ char *what = xasprintf("policy %s", name);

		complain(what,
			 "policies of another machine can't be read in this version; run "
			 "popcornctl there: ssh %s popcornctl policy %s (NotSupported)",
			 arguments->host, name);
		return EXIT_FAILED;
	}
	return command->run(arguments, arguments->names + 1, n);
}
