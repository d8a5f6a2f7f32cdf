// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * plan, apply: what a policy makes of a machine. All is printed from one JSON, which popcornd makes of
 * the machine that it runs on, and the planner's library here of one that is described.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "description.h"
#include "draw.h"
#include "error.h"
#include "json-jansson.h"
#include "output.h"
#include "planner.h"
#include "popcornctl.h"
#include "util.h"

/* What was asked for, by whatever way it is answered. */
struct wish {
	char *name;  /* of the policy */
	char *shown; /* in "FILE:LINE" */
	char *text;  /* of a file, or NULL */
	size_t size;
};

static void wish_done(struct wish *wish)
{
	free(wish->name);
	free(wish->shown);
	free(wish->text);
}

/* POLICY is a file if it has a '/'; then its text is what popcornd gets. */
static int read_wish(const struct arguments *arguments, const char *what, struct wish *ret)
{
	const char *policy = arguments->names[0], *base = strrchr(policy, '/');
	_cleanup_(wish_done) struct wish wish = { 0 };
	struct popcorn_error error = { 0 };
	size_t length;

	if (!base) {
		if (policy_name_check(policy, &error) < 0)
			return complain_error(what, &error);
		wish.name = xstrdup(policy);
		wish.shown = xasprintf("%s.conf", policy);
	} else {
		if (policy_find(NULL, policy, &wish.shown, &wish.text, &wish.size, &error) < 0)
			return complain_error(what, &error);
		wish.name = xstrdup(base + 1);
		length = strlen(wish.name);
		if (length > 5 && strcmp(wish.name + length - 5, ".conf") == 0)
			wish.name[length - 5] = '\0';
		/* What started a kernel is remembered by this name. */
		if (policy_name_check(wish.name, NULL) < 0) {
			complain(what,
				 "'%s' is not a name for a policy: 1 to 63 of A-Z a-z 0-9 _ . -, "
				 "beginning with a letter or digit; give the file another one "
				 "(InvalidArgument)",
				 wish.name);
			return EXIT_USAGE;
		}
	}
	*ret = wish;
	wish = (struct wish){ 0 };
	return EXIT_DONE;
}

/*
 * Of a machine that is described.
 */

static void policy_freep(struct policy **policy)
{
	policy_free(*policy);
}

static int plan_here(const struct arguments *arguments, const char *what, const struct wish *wish,
		     struct topology **ret_topology, struct json **ret)
{
	_cleanup_(topology_freep) struct topology *topology = NULL;
	_cleanup_(machine_freep) struct machine *machine = NULL;
	_cleanup_(policy_freep) struct policy *policy = NULL;
	struct popcorn_error error = { 0 };
	struct plan_problem *problems = NULL;
	struct plan_input input;
	json_t *value = NULL;
	struct plan *plan;
	size_t n = 0;
	int r;

	r = load_description(arguments, &topology, &machine, &error);
	if (r == 0)
		r = wish->text ? policy_parse(wish->shown, wish->text, wish->size, &policy, &error)
			       : policy_load(policy_folders(), wish->name, &policy, &error);
	if (r < 0)
		return complain_error(what, &error);
	/* What popcornd.conf says there nobody knows here. */
	input = (struct plan_input){
		.machine = machine,
		.policy = policy,
		.primary_memory = DEFAULT_PRIMARY_MEMORY,
	};
	r = plan_make(&input, &plan, &problems, &n);
	if (r == 0) {
		value = plan_to_json(plan, arguments->explain);
		plan_free(plan);
	} else if (r == -EDOM) {
		value = plan_problems_to_json(policy, problems, n);
		plan_problems_free(problems, n);
	}
	if (!value) {
		complain(what, "out of memory");
		return EXIT_FAILED;
	}
	*ret = json_from_jansson(value);
	json_decref(value);
	*ret_topology = topology;
	topology = NULL;
	return EXIT_DONE;
}

/* Of popcornd's machine. */
static int plan_there(struct popcorn *popcorn, const char *what, const struct wish *wish,
		      unsigned flags, struct json **ret)
{
	_cleanup_free_ char *text = NULL;

	if (popcorn_plan(popcorn, wish->name, wish->text, flags, &text) < 0)
		return complain_last(popcorn, what);
	*ret = parse_answer(what, text);
	return *ret ? EXIT_DONE : EXIT_FAILED;
}

/*
 * Printing.
 */

static const struct json *array_of(const struct json *object, const char *key)
{
	static const struct json none = { .kind = JSON_KIND_ARRAY };
	const struct json *array = json_get(object, key);

	return array && array->kind == JSON_KIND_ARRAY ? array : &none;
}

static bool is_null(const struct json *object, const char *key)
{
	const struct json *value = json_get(object, key);

	return !value || value->kind == JSON_KIND_NULL;
}

static char *text_cpus(const struct json *row)
{
	return format_cpus(array_of(row, "cpus"));
}

/* "512M@0 256M@1"; of one node only the size is wanted to be seen, but where it is as well. */
static char *text_memory(const struct json *row)
{
	const struct json *nodes = array_of(row, "memory_nodes");
	char *text = xstrdup("");

	for (size_t i = 0; i < nodes->n; i++) {
		uint64_t bytes = json_get_u64(nodes->items[i], "bytes");
		_cleanup_free_ char *size = format_size(bytes), *before = text;

		if (bytes == 0) {
			before = NULL;
			continue;
		}
		text = xasprintf("%s%s%s@%" PRIu64, before, *before ? " " : "", size,
				 json_get_u64(nodes->items[i], "node"));
	}
	return text;
}

/* From its CPUs to its memory. */
static char *text_distance(const struct json *row)
{
	const struct json *view = json_get(row, "view"), *mean;

	if (!view || view->kind != JSON_KIND_OBJECT)
		return xstrdup("");
	mean = json_get(view, "distance_mean");
	if (!mean || mean->kind != JSON_KIND_NUMBER)
		return xstrdup("");
	if (strtod(mean->text, NULL) == (double)json_get_u64(view, "distance_max"))
		return xstrdup(mean->text);
	return xasprintf("%s (to %" PRIu64 ")", mean->text, json_get_u64(view, "distance_max"));
}

/* What it shares with others, which a policy may have meant or not. */
static char *text_split(const struct json *row)
{
	const struct json *view = json_get(row, "view");
	uint64_t cores, l3s;

	if (!view || view->kind != JSON_KIND_OBJECT)
		return xstrdup("");
	cores = json_get_u64(view, "split_cores");
	l3s = json_get_u64(view, "split_l3s");
	if (cores && l3s)
		return xasprintf("%" PRIu64 " core%s, %" PRIu64 " L3", cores, cores == 1 ? "" : "s",
				 l3s);
	if (cores)
		return xasprintf("%" PRIu64 " core%s", cores, cores == 1 ? "" : "s");
	return l3s ? xasprintf("%" PRIu64 " L3", l3s) : xstrdup("");
}

static char *text_start(const struct json *row)
{
	return is_null(row, "start") ? xstrdup("")
				     : xasprintf("%" PRIu64, json_get_u64(row, "start"));
}

static char *text_change(const struct json *row)
{
	return xstrdup(json_get_string(row, "change"));
}

static const char *color_change(const struct json *row)
{
	const char *change = json_get_string(row, "change");

	return strcmp(change, "stop") == 0 || strcmp(change, "replace") == 0 ? "yellow" : NULL;
}

static struct json *copy_of(const struct json *value)
{
	struct json *copy;

	switch (value->kind) {
	case JSON_KIND_NULL:
		return json_new_null();
	case JSON_KIND_BOOL:
		return json_new_bool(value->boolean);
	case JSON_KIND_STRING:
		return json_new_string(value->text);
	case JSON_KIND_NUMBER:
		copy = json_new_u64(0);
		free(copy->text);
		copy->text = xstrdup(value->text);
		return copy;
	case JSON_KIND_ARRAY:
		copy = json_new_array();
		for (size_t i = 0; i < value->n; i++)
			json_append(copy, copy_of(value->items[i]));
		return copy;
	case JSON_KIND_OBJECT:
		break;
	}
	copy = json_new_object();
	for (size_t i = 0; i < value->n; i++)
		json_set(copy, value->keys[i], copy_of(value->items[i]));
	return copy;
}

static const struct json *find_change(const struct json *plan, const char *name)
{
	const struct json *changes = array_of(plan, "changes");

	for (size_t i = 0; i < changes->n; i++)
		if (strcmp(json_get_string(changes->items[i], "name"), name) == 0)
			return changes->items[i];
	return NULL;
}

static bool has_kernel(const struct json *plan, const char *name)
{
	const struct json *kernels = array_of(plan, "kernels");

	for (size_t i = 0; i < kernels->n; i++)
		if (strcmp(json_get_string(kernels->items[i], "name"), name) == 0)
			return true;
	return false;
}

/* The planned kernels, those that would be stopped, and last what the primary keeps. */
static struct json *make_rows(const struct json *plan)
{
	const struct json *kernels = array_of(plan, "kernels"),
			  *changes = array_of(plan, "changes");
	const struct json *primary = json_get(plan, "primary");
	struct json *rows = json_new_array(), *row;

	for (size_t i = 0; i < kernels->n; i++) {
		const char *name = json_get_string(kernels->items[i], "name");
		const struct json *change = find_change(plan, name);

		row = copy_of(kernels->items[i]);
		if (change)
			json_set(row, "change", json_new_string(json_get_string(change, "change")));
		json_append(rows, row);
	}
	for (size_t i = 0; i < changes->n; i++) {
		const char *name = json_get_string(changes->items[i], "name");

		if (has_kernel(plan, name))
			continue;
		row = json_new_object();
		json_set(row, "name", json_new_string(name));
		json_set(row, "change",
			 json_new_string(json_get_string(changes->items[i], "change")));
		json_append(rows, row);
	}
	if (primary && primary->kind == JSON_KIND_OBJECT) {
		row = json_new_object();
		json_set(row, "name", json_new_string("(primary)"));
		json_set(row, "cpus", copy_of(array_of(primary, "cpus")));
		json_set(row, "memory_nodes", copy_of(array_of(primary, "memory")));
		json_append(rows, row);
	}
	return rows;
}

static void print_table(const struct arguments *arguments, const struct json *plan)
{
	const struct column columns[] = {
		{ .header = "KERNEL", .key = "name" },
		{ .header = "CPUS", .text = text_cpus },
		{ .header = "MEMORY@NODE", .text = text_memory },
		{ .header = "DISTANCE", .text = text_distance },
		{ .header = "SHARES", .text = text_split },
		{ .header = "START", .text = text_start, .right = true },
		{ .header = "CHANGE", .text = text_change, .color = color_change },
	};
	_cleanup_(json_freep) struct json *rows = make_rows(plan);
	size_t n = sizeof(columns) / sizeof(columns[0]);

	table_print(rows, columns, json_get(plan, "changes") ? n : n - 1, arguments->legend);
}

static void print_notes(const struct json *plan, bool explain)
{
	const struct json *notes = array_of(plan, "notes"), *changes = array_of(plan, "changes");
	bool first = true;

	for (size_t i = 0; i < notes->n; i++) {
		bool warning = strcmp(json_get_string(notes->items[i], "kind"), "warning") == 0;
		const char *text = json_get_string(notes->items[i], "text");

		if (!warning && !explain)
			continue;
		if (first)
			putchar('\n');
		first = false;
		if (warning)
			printf("%sWarning:%s ", color_on(use_color(STDOUT_FILENO), "yellow"),
			       color_off(use_color(STDOUT_FILENO), "yellow"));
		if (!is_null(notes->items[i], "kernel"))
			printf("%s: ", json_get_string(notes->items[i], "kernel"));
		print_safe(text, strlen(text), stdout);
		putchar('\n');
	}
	for (size_t i = 0; i < changes->n; i++) {
		const char *why = json_get_string(changes->items[i], "why");

		if (!*why)
			continue;
		if (first)
			putchar('\n');
		first = false;
		printf("%s %s: ", json_get_string(changes->items[i], "change"),
		       json_get_string(changes->items[i], "name"));
		print_safe(why, strlen(why), stdout);
		putchar('\n');
	}
}

/* A sentence for each, as a compiler would say it. */
static int print_problems(const char *what, const struct wish *wish, const struct json *plan)
{
	static const char *const parts[] = { "asked", "available", "suggestion" };
	const struct json *problems = array_of(plan, "problems");

	for (size_t i = 0; i < problems->n; i++) {
		const struct json *problem = problems->items[i];
		uint64_t line = json_get_u64(problem, "line");
		_cleanup_free_ char *where =
			line ? xasprintf("%s:%" PRIu64, wish->shown, line) : xstrdup(wish->shown);
		_cleanup_free_ char *text = xstrdup("");

		for (size_t j = 0; j < sizeof(parts) / sizeof(parts[0]); j++) {
			_cleanup_free_ char *before = text;

			if (is_null(problem, parts[j])) {
				text = xstrdup(before);
				continue;
			}
			text = xasprintf("%s%s%s", before, *before ? "; " : "",
					 json_get_string(problem, parts[j]));
		}
		complain(what, "%s: %s%s%s (%s)", where,
			 is_null(problem, "group") ? "" : json_get_string(problem, "group"),
			 is_null(problem, "group") ? "" : ": ", text,
			 json_get_string(problem, "id"));
	}
	return EXIT_FAILED;
}

/*
 * A picture of it.
 */

struct picture {
	struct drawing_kernel *kernels;
	size_t n;
};

static void picture_done(struct picture *picture)
{
	for (size_t i = 0; i < picture->n; i++) {
		hwloc_bitmap_free((hwloc_bitmap_t)(uintptr_t)picture->kernels[i].cpus);
		free((void *)(uintptr_t)picture->kernels[i].memory);
		free((void *)(uintptr_t)picture->kernels[i].devices);
	}
	free(picture->kernels);
}

static void add_kernel(struct picture *picture, const struct json *kernel)
{
	const struct json *cpus = array_of(kernel, "cpus"),
			  *memory = array_of(kernel, "memory_nodes");
	const struct json *devices = array_of(kernel, "devices");
	struct drawing_memory *nodes = xrealloc(NULL, memory->n + 1, sizeof(*nodes));
	const char **addresses = xrealloc(NULL, devices->n + 1, sizeof(*addresses));
	hwloc_bitmap_t set = hwloc_bitmap_alloc();

	for (size_t i = 0; set && i < cpus->n; i++) {
		unsigned long cpu = strtoul(cpus->items[i]->text, NULL, 10);

		if (cpu < TOPOLOGY_CPUS_MAX)
			hwloc_bitmap_set(set, (unsigned)cpu);
	}
	for (size_t i = 0; i < memory->n; i++)
		nodes[i] = (struct drawing_memory){
			(uint32_t)json_get_u64(memory->items[i], "node"),
			json_get_u64(memory->items[i], "bytes"),
		};
	for (size_t i = 0; i < devices->n; i++)
		addresses[i] = devices->items[i]->text;
	picture->kernels = xrealloc(picture->kernels, picture->n + 1, sizeof(*picture->kernels));
	picture->kernels[picture->n++] = (struct drawing_kernel){
		.name = json_get_string(kernel, "name"),
		.cpus = set,
		.memory = nodes,
		.n_memory = memory->n,
		.devices = addresses,
		.n_devices = devices->n,
	};
}

static int draw_plan(const struct arguments *arguments, struct popcorn *popcorn, const char *what,
		     const struct topology *topology, const struct json *plan)
{
	_cleanup_(topology_freep) struct topology *own = NULL;
	_cleanup_(picture_done) struct picture picture = { 0 };
	const struct json *kernels = array_of(plan, "kernels");
	_cleanup_free_ char *xml = NULL;
	struct popcorn_error error = { 0 };

	if (!topology) {
		if (popcorn_get_topology(popcorn, "xml", &xml) < 0)
			return complain_last(popcorn, what);
		if (topology_parse_xml("this machine", xml, strlen(xml), &own, &error) < 0)
			return complain_error(what, &error);
		topology = own;
	}
	for (size_t i = 0; i < kernels->n; i++)
		add_kernel(&picture, kernels->items[i]);
	if (draw_topology(topology, picture.kernels, picture.n, arguments->draw, &error) < 0)
		return complain_error(what, &error);
	return EXIT_DONE;
}

/*
 * The verbs.
 */

bool plan_is_local(const struct arguments *arguments)
{
	return is_described(arguments);
}

static int print_boot_args(const char *what, const struct json *plan)
{
	const struct json *sure = json_get(plan, "boot_args_sure");
	const char *text = json_get_string(plan, "boot_args");

	printf("%s\n", text);
	if (sure && sure->kind == JSON_KIND_BOOL && !sure->boolean)
		fprintf(stderr,
			"popcornctl: %s: with that most of the plan's memory can be taken, but not "
			"surely all of it\n",
			what);
	return EXIT_DONE;
}

int verb_plan(struct popcorn *popcorn, const struct arguments *arguments)
{
	_cleanup_free_ char *what = xasprintf("plan %s", arguments->names[0]);
	_cleanup_(topology_freep) struct topology *topology = NULL;
	_cleanup_(wish_done) struct wish wish = { 0 };
	_cleanup_(json_freep) struct json *plan = NULL;
	int code;

	code = check_description(arguments, "plan");
	if (code == EXIT_DONE && arguments->diff && is_described(arguments)) {
		complain("plan", "--diff: nothing runs on a machine that is only described "
				 "(InvalidArgument)");
		code = EXIT_USAGE;
	}
	if (code == EXIT_DONE)
		code = read_wish(arguments, what, &wish);
	if (code != EXIT_DONE)
		return code;
	code = is_described(arguments)
		       ? plan_here(arguments, what, &wish, &topology, &plan)
		       : plan_there(popcorn, what, &wish,
				    (arguments->explain ? POPCORN_PLAN_EXPLAIN : 0) |
					    (arguments->diff ? POPCORN_PLAN_DIFF : 0),
				    &plan);
	if (code != EXIT_DONE)
		return code;
	if (arguments->json)
		json_print(plan, arguments->json, stdout);
	if (json_get(plan, "problems"))
		return arguments->json ? EXIT_FAILED : print_problems(what, &wish, plan);
	/* Who wants the picture does not need the table. */
	if (arguments->draw)
		return draw_plan(arguments, popcorn, what, topology, plan);
	if (arguments->json)
		return EXIT_DONE;
	if (arguments->boot_args)
		return print_boot_args(what, plan);
	print_table(arguments, plan);
	if (!arguments->quiet)
		print_notes(plan, arguments->explain);
	return EXIT_DONE;
}

/* What an apply tells of its kernels while it goes on. */
static void on_event(const struct popcorn_event *event, void *userdata)
{
	const struct json *plan = userdata;
	const char *name, *state;

	if (popcorn_event_get_type(event) != POPCORN_EVENT_STATE_CHANGED)
		return;
	name = popcorn_event_get_name(event);
	state = popcorn_event_get_state(event);
	if (!find_change(plan, name) || (strcmp(state, "running") && strcmp(state, "stopped") &&
					 strcmp(state, "crashed") && strcmp(state, "failed")))
		return;
	if (strcmp(state, "running") == 0)
		job_note("%s runs", name);
	else if (strcmp(state, "stopped") == 0)
		job_note("%s is stopped", name);
	else
		job_note("%s %s: %s", name, state, popcorn_event_get_text(event));
}

/* Names of those that run and would not any more, or otherwise; NULL: none. */
static char *list_ends(const struct json *plan)
{
	const struct json *changes = array_of(plan, "changes");
	char *text = NULL;

	for (size_t i = 0; i < changes->n; i++) {
		const char *change = json_get_string(changes->items[i], "change");
		const struct json *runs = json_get(changes->items[i], "running");
		_cleanup_free_ char *before = text;

		if ((strcmp(change, "stop") && strcmp(change, "replace")) ||
		    (runs && runs->kind == JSON_KIND_BOOL && !runs->boolean)) {
			before = NULL;
			continue;
		}
		text = xasprintf("%s%s%s %s", before ? before : "", before ? ", " : "", change,
				 json_get_string(changes->items[i], "name"));
	}
	return text;
}

/* EXIT_DONE: go on. */
static int confirm(const struct arguments *arguments, const char *what, const char *ends)
{
	char answer[16] = "";

	if (!ends || arguments->yes)
		return EXIT_DONE;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		complain(what,
			 "kernels that run would have to end: %s; give --yes if that is meant "
			 "(WouldStop)",
			 ends);
		return EXIT_FAILED;
	}
	fprintf(stderr, "Kernels that run will end: %s. Go on? [y/N] ", ends);
	if (!fgets(answer, sizeof(answer), stdin) || (answer[0] != 'y' && answer[0] != 'Y')) {
		fprintf(stderr, "Nothing was done.\n");
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

static int apply_it(struct popcorn *popcorn, const struct arguments *arguments, const char *what,
		    const struct wish *wish, struct json *plan, bool prune)
{
	_cleanup_(json_freep) struct json *results = json_new_array();
	_cleanup_(job_freep) struct popcorn_job *job = NULL;
	uint64_t start = clock_usec(CLOCK_MONOTONIC);
	unsigned flags =
		(arguments->atomic ? POPCORN_APPLY_ATOMIC : 0) | (prune ? POPCORN_APPLY_PRUNE : 0);
	int code = EXIT_DONE;

	popcorn_subscribe(popcorn, on_event, plan);
	if (popcorn_apply(popcorn, wish->name, wish->text, flags, &job) < 0)
		code = job_failed_to_start(popcorn, "apply", wish->name, results);
	else if (arguments->wait)
		code = job_follow(popcorn, arguments, job, true, start, results);
	else
		job_say_queued(arguments, job, results);
	popcorn_subscribe(popcorn, NULL, NULL);
	if (arguments->json) {
		json_set(results->items[0], "changes", copy_of(array_of(plan, "changes")));
		json_print(results->items[0], arguments->json, stdout);
	}
	return code;
}

int verb_apply(struct popcorn *popcorn, const struct arguments *arguments)
{
	_cleanup_free_ char *what = xasprintf("apply %s", arguments->names[0]), *ends = NULL;
	_cleanup_(wish_done) struct wish wish = { 0 };
	_cleanup_(json_freep) struct json *plan = NULL;
	int code;

	code = read_wish(arguments, what, &wish);
	if (code == EXIT_DONE)
		code = plan_there(popcorn, what, &wish, POPCORN_PLAN_DIFF, &plan);
	if (code != EXIT_DONE)
		return code;
	if (json_get(plan, "problems")) {
		if (arguments->json)
			json_print(plan, arguments->json, stdout);
		return arguments->json ? EXIT_FAILED : print_problems(what, &wish, plan);
	}
	if (!arguments->json && !arguments->quiet) {
		print_table(arguments, plan);
		print_notes(plan, false);
		putchar('\n');
		fflush(stdout);
	}
	ends = list_ends(plan);
	code = confirm(arguments, what, ends);
	return code == EXIT_DONE ? apply_it(popcorn, arguments, what, &wish, plan, ends != NULL)
				 : code;
}
