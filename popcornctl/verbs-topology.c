// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * topology: where CPUs, memory and devices lie in a machine, and which kernel has them. Tables are
 * drawn from the same JSON for this machine (popcornd's) and for one that is described in a file.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "description.h"
#include "draw.h"
#include "json-jansson.h"
#include "output.h"
#include "util.h"

/* Names of kernels that share a cache or a node; more are counted. */
#define NAMES_MAX 3
/* A row of distances longer than this is for --json. */
#define DISTANCES_MAX 16

/* Which part of the JSON is one of these levels, from the outside in where they have the same CPUs. */
static const struct level {
	const char *array, *key, *title;
} levels[] = {
	{ "packages", "package", "Package" },
	{ "nodes", "node", "Node" },
	{ "l3s", "l3", "L3" },
	{ "cores", "core", "Core" },
};
#define NR_LEVELS (sizeof(levels) / sizeof(levels[0]))
#define LEVEL_OF_NODES 1
#define LEVEL_OF_CORES 3

/* A row of the table before it is one: what it covers of the machine's array of CPUs. */
struct span {
	size_t level; /* NR_LEVELS: a CPU */
	size_t first, n;
	const struct json *object;
	struct json *row, *children;
	size_t others; /* devices that are not listed */
};

struct tree {
	const struct json *machine, *cpus;
	struct span *spans; /* [0] is the machine */
	size_t n;
	size_t *places; /* in cpus, by Linux's number */
	size_t n_places;
};

static uint64_t number(const struct json *value)
{
	return value && value->kind == JSON_KIND_NUMBER ? strtoull(value->text, NULL, 10) : 0;
}

static bool is_number(const struct json *value)
{
	return value && value->kind == JSON_KIND_NUMBER;
}

static const struct json *array_of(const struct json *object, const char *key)
{
	static const struct json empty = { .kind = JSON_KIND_ARRAY };
	const struct json *value = json_get(object, key);

	return value && value->kind == JSON_KIND_ARRAY ? value : &empty;
}

/* The text of what is the same in all of them, or of a few; "" if there is none. */
static char *join_kernels(const struct tree *tree, size_t first, size_t n)
{
	const char *names[NAMES_MAX] = { 0 };
	size_t known = 0, more = 0;
	char *text = NULL;
	size_t size;
	FILE *f;

	for (size_t i = first; i < first + n; i++) {
		const char *name = json_get_string(tree->cpus->items[i], "kernel");
		size_t j = 0;

		while (j < known && strcmp(names[j], name) != 0)
			j++;
		if (!*name || j < known)
			continue;
		/* CPUs of a kernel lie together: one that comes again later is counted again. */
		if (known < NAMES_MAX)
			names[known++] = name;
		else
			more++;
	}
	f = open_memstream(&text, &size);
	if (!f)
		return xstrdup("?");
	for (size_t i = 0; i < known; i++)
		fprintf(f, "%s%s", i ? ", " : "", names[i]);
	if (more)
		fputs(", …", f);
	return fclose(f) ? xstrdup("?") : text;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = number(*(struct json *const *)a), y = number(*(struct json *const *)b);

	return x < y ? -1 : x > y;
}

static struct json *sorted_cpus(const struct tree *tree, size_t first, size_t n)
{
	struct json *cpus = json_new_array();

	for (size_t i = first; i < first + n; i++)
		json_append(cpus, json_new_u64(json_get_u64(tree->cpus->items[i], "cpu")));
	if (n)
		qsort(cpus->items, n, sizeof(*cpus->items), compare_numbers);
	return cpus;
}

/* A string that all CPUs of the span have under @key, or "". */
static const char *common(const struct tree *tree, size_t first, size_t n, const char *key)
{
	const char *value = n ? json_get_string(tree->cpus->items[first], key) : "";

	for (size_t i = first; i < first + n; i++)
		if (strcmp(json_get_string(tree->cpus->items[i], key), value) != 0)
			return "";
	return value;
}

static char *describe_distances(const struct json *node)
{
	const struct json *distances = array_of(node, "distances");
	char *text = NULL;
	size_t size;
	FILE *f;

	if (distances->n < 2 || distances->n > DISTANCES_MAX)
		return xstrdup("");
	f = open_memstream(&text, &size);
	if (!f)
		return xstrdup("?");
	fputs("distances", f);
	for (size_t i = 0; i < distances->n; i++)
		fprintf(f, " %" PRIu64, number(distances->items[i]));
	return fclose(f) ? xstrdup("?") : text;
}

static char *describe_span(const struct tree *tree, const struct span *span)
{
	const char *state = common(tree, span->first, span->n, "state");

	if (*state && strcmp(state, "usable") != 0)
		return xstrdup(strcmp(state, "not-allowed") == 0 ? "not allowed" : state);
	if (span->level == LEVEL_OF_NODES)
		return span->n ? describe_distances(span->object) : xstrdup("memory only");
	return xstrdup("");
}

static char *title_of(const struct span *span)
{
	const struct json *number_of;

	if (span->level == NR_LEVELS)
		return xasprintf("CPU %" PRIu64, json_get_u64(span->object, "cpu"));
	/* What Linux or the firmware calls it; hwloc's count where they don't. */
	number_of = json_get(span->object, "os");
	if (!is_number(number_of))
		number_of = json_get(span->object, levels[span->level].key);
	return xasprintf("%s %" PRIu64, levels[span->level].title, number(number_of));
}

static void add_row(const struct tree *tree, struct span *span, struct span *parent)
{
	_cleanup_free_ char *title = title_of(span), *note = describe_span(tree, span);
	_cleanup_free_ char *kernels = join_kernels(tree, span->first, span->n);
	struct json *row = json_new_object();

	json_set(row, "object", json_new_string(title));
	json_set(row, "cpus", sorted_cpus(tree, span->first, span->n));
	if (span->level == LEVEL_OF_NODES) {
		json_set(row, "memory", json_new_u64(json_get_u64(span->object, "memory")));
		json_set(row, "takeable", json_new_u64(json_get_u64(span->object, "takeable")));
	}
	if (span->level >= LEVEL_OF_CORES)
		json_set(row, "kind", json_new_string(common(tree, span->first, span->n, "kind")));
	json_set(row, "kernel", json_new_string(kernels));
	json_set(row, "note", json_new_string(note));
	span->children = json_new_array();
	json_set(row, "children", span->children);
	span->row = row;
	json_append(parent->children, row);
}

static void add_span(struct tree *tree, size_t level, size_t first, size_t n,
		     const struct json *object)
{
	tree->spans = xrealloc(tree->spans, tree->n + 1, sizeof(*tree->spans));
	tree->spans[tree->n++] = (struct span){ level, first, n, object, NULL, NULL, 0 };
}

/* Outer ones first. */
static int compare_spans(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	if (!x->n != !y->n) /* memory only: at the end */
		return x->n ? -1 : 1;
	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return x->level < y->level ? -1 : x->level > y->level;
}

/* Where the CPUs of a list begin in the machine's array: they are one run of it. */
static size_t find_first(const struct tree *tree, const struct json *cpus)
{
	uint64_t os = cpus->n ? number(cpus->items[0]) : 0;
	size_t place = os < tree->n_places ? tree->places[os] : 0;

	return cpus->n && place + cpus->n <= tree->cpus->n ? place : 0;
}

static void collect(struct tree *tree)
{
	for (size_t i = 0; i < tree->cpus->n; i++) {
		uint64_t os = json_get_u64(tree->cpus->items[i], "cpu");

		/* popcornd's JSON has no larger ones. */
		if (os >= TOPOLOGY_CPUS_MAX)
			continue;
		if (os >= tree->n_places) {
			tree->places = xrealloc(tree->places, os + 1, sizeof(*tree->places));
			while (tree->n_places <= os)
				tree->places[tree->n_places++] = SIZE_MAX / 2;
		}
		tree->places[os] = i;
	}
	add_span(tree, 0, 0, tree->cpus->n, tree->machine);
	for (size_t level = 0; level < NR_LEVELS; level++) {
		const struct json *objects = array_of(tree->machine, levels[level].array);

		for (size_t i = 0; i < objects->n; i++) {
			const struct json *cpus = array_of(objects->items[i], "cpus");

			if (cpus->n || level == LEVEL_OF_NODES)
				add_span(tree, level, find_first(tree, cpus), cpus->n,
					 objects->items[i]);
		}
	}
	/* A core's only thread is the core. */
	for (size_t i = 0; i < tree->cpus->n; i++) {
		const struct json *cpu = tree->cpus->items[i];
		const struct json *core = json_get(cpu, "core");
		const struct json *cores = array_of(tree->machine, "cores");
		uint64_t index = number(core);

		if (is_number(core) && index < cores->n &&
		    array_of(cores->items[index], "cpus")->n == 1)
			continue;
		add_span(tree, NR_LEVELS, i, 1, cpu);
	}
	qsort(tree->spans + 1, tree->n - 1, sizeof(*tree->spans), compare_spans);
}

static bool contains(const struct span *outer, const struct span *inner)
{
	return outer->first <= inner->first && inner->first + inner->n <= outer->first + outer->n;
}

static void nest(struct tree *tree)
{
	size_t *open = xrealloc(NULL, tree->n, sizeof(*open));
	size_t depth = 1;

	open[0] = 0;
	for (size_t i = 1; i < tree->n; i++) {
		struct span *span = &tree->spans[i];

		while (depth > 1 && (!span->n || !contains(&tree->spans[open[depth - 1]], span)))
			depth--;
		add_row(tree, span, &tree->spans[open[depth - 1]]);
		open[depth++] = i;
	}
	free(open);
}

/* The smallest span that has all CPUs that the device is near to; not a core. */
static struct span *place_of_device(const struct tree *tree, const struct json *cpus)
{
	const struct span wanted = { .first = find_first(tree, cpus), .n = cpus->n };
	struct span *best = &tree->spans[0];

	for (size_t i = 1; wanted.n && i < tree->n; i++) {
		struct span *span = &tree->spans[i];

		if (span->level < LEVEL_OF_CORES && span->n && contains(span, &wanted) &&
		    span->n < best->n)
			best = span;
	}
	return best;
}

static void add_device(struct tree *tree, const struct json *device)
{
	struct span *span = place_of_device(tree, array_of(device, "cpus"));
	const char *driver = json_get_string(device, "driver");
	const char *names = json_get_string(device, "names");
	const char *model = json_get_string(device, "model");
	_cleanup_free_ char *title = NULL, *note = NULL;
	struct json *row;

	if (strcmp(json_get_string(device, "group"), "other") == 0) {
		span->others++;
		return;
	}
	title = xasprintf("PCI %s", json_get_string(device, "address"));
	note = xasprintf("%s%s%s%s%s%s%s", json_get_string(device, "class"), *names ? " " : "",
			 names, *driver ? ", driver " : "", driver, *model ? ", " : "", model);
	row = json_new_object();
	json_set(row, "object", json_new_string(title));
	json_set(row, "note", json_new_string(note));
	json_append(span->children, row);
}

static void add_devices(struct tree *tree)
{
	const struct json *devices = array_of(tree->machine, "devices");

	for (size_t i = 0; i < devices->n; i++)
		add_device(tree, devices->items[i]);
	for (size_t i = 0; i < tree->n; i++) {
		struct span *span = &tree->spans[i];
		_cleanup_free_ char *title = NULL;
		struct json *row;

		if (!span->others)
			continue;
		title = xasprintf("%zu other device%s", span->others, span->others == 1 ? "" : "s");
		row = json_new_object();
		json_set(row, "object", json_new_string(title));
		json_set(row, "note", json_new_string("--json lists them"));
		json_append(span->children, row);
	}
}

static uint64_t sum_nodes(const struct json *machine, const char *key)
{
	const struct json *nodes = array_of(machine, "nodes");
	uint64_t sum = 0;

	for (size_t i = 0; i < nodes->n; i++)
		sum += json_get_u64(nodes->items[i], key);
	return sum;
}

/* The rows for tree_print(). */
static struct json *make_rows(const struct json *machine)
{
	struct tree tree = { .machine = machine, .cpus = array_of(machine, "cpus") };
	struct json *rows = json_new_array(), *row = json_new_object();

	collect(&tree);
	json_set(row, "object", json_new_string(json_get_string(machine, "name")));
	json_set(row, "cpus", sorted_cpus(&tree, 0, tree.cpus->n));
	json_set(row, "memory", json_new_u64(sum_nodes(machine, "memory")));
	json_set(row, "takeable", json_new_u64(sum_nodes(machine, "takeable")));
	tree.spans[0].children = json_new_array();
	json_set(row, "children", tree.spans[0].children);
	json_append(rows, row);
	nest(&tree);
	add_devices(&tree);
	free(tree.spans);
	free(tree.places);
	return rows;
}

static char *text_cpus(const struct json *row)
{
	return format_cpus(json_get(row, "cpus"));
}

static char *text_size(const struct json *row, const char *key)
{
	return json_get(row, key) ? format_size(json_get_u64(row, key)) : xstrdup("");
}

static char *text_memory(const struct json *row)
{
	return text_size(row, "memory");
}

static char *text_takeable(const struct json *row)
{
	return text_size(row, "takeable");
}

static const char *color_note(const struct json *row)
{
	const char *note = json_get_string(row, "note");

	return strcmp(note, "offline") == 0 || strcmp(note, "not allowed") == 0 ? "yellow" : NULL;
}

static bool any_kernel(const struct json *machine)
{
	const struct json *cpus = array_of(machine, "cpus");

	for (size_t i = 0; i < cpus->n; i++)
		if (*json_get_string(cpus->items[i], "kernel"))
			return true;
	return false;
}

static void print_count(size_t n, const char *what, bool last)
{
	printf("%zu %s%s%s", n, what, n == 1 ? "" : "s", last ? ".\n" : ", ");
}

static void print_tree(const struct arguments *arguments, const struct json *machine)
{
	static const struct column object = { .header = "OBJECT", .key = "object" };
	static const struct column cpus = { .header = "CPUS",
					    .text = text_cpus,
					    .may_shrink = true };
	static const struct column memory = { .header = "MEMORY",
					      .text = text_memory,
					      .right = true };
	static const struct column takeable = { .header = "TAKEABLE",
						.text = text_takeable,
						.right = true };
	static const struct column kind = { .header = "KIND", .key = "kind" };
	static const struct column kernel = { .header = "KERNEL", .key = "kernel" };
	static const struct column note = {
		.header = "NOTE", .key = "note", .color = color_note, .may_shrink = true
	};
	_cleanup_(json_freep) struct json *rows = make_rows(machine);
	const struct json *warnings = array_of(machine, "warnings");
	struct column columns[7];
	size_t n = 0;

	columns[n++] = object;
	columns[n++] = cpus;
	columns[n++] = memory;
	columns[n++] = takeable;
	if (array_of(machine, "kinds")->n > 1)
		columns[n++] = kind;
	if (any_kernel(machine))
		columns[n++] = kernel;
	columns[n++] = note;
	tree_print(rows, columns, n, arguments->legend);
	if (!arguments->legend || arguments->quiet)
		return;
	putchar('\n');
	print_count(array_of(machine, "cpus")->n, "CPU", false);
	print_count(array_of(machine, "cores")->n, "core", false);
	print_count(array_of(machine, "nodes")->n, "NUMA node", false);
	print_count(array_of(machine, "packages")->n, "package", true);
	for (size_t i = 0; i < warnings->n; i++) {
		fputs("Warning: ", stdout);
		print_safe(warnings->items[i]->text, strlen(warnings->items[i]->text), stdout);
		puts(".");
	}
}

/* "kernel" of each CPU: a name, or the primary for what it can use. */
static void name_kernels(struct json *machine, struct popcorn_kernel **kernels, size_t n)
{
	const struct json *cpus = array_of(machine, "cpus");

	for (size_t i = 0; i < cpus->n; i++) {
		struct json *cpu = cpus->items[i];
		const char *name = "";

		if (json_get(cpu, "kernel")) /* popcornd knows it itself */
			continue;
		for (size_t j = 0; j < n; j++) {
			const uint32_t *its;
			size_t n_its = popcorn_kernel_get_cpus(kernels[j], &its);

			for (size_t k = 0; k < n_its; k++)
				if (its[k] == json_get_u64(cpu, "cpu"))
					name = popcorn_kernel_get_name(kernels[j]);
		}
		if (!*name && strcmp(json_get_string(cpu, "state"), "usable") == 0)
			name = "primary";
		json_set(cpu, "kernel", *name ? json_new_string(name) : json_new_null());
	}
}

struct picture {
	struct drawing_kernel *kernels;
	size_t n;
};

static void picture_done(struct picture *picture)
{
	for (size_t i = 0; i < picture->n; i++) {
		hwloc_bitmap_free((hwloc_bitmap_t)(uintptr_t)picture->kernels[i].cpus);
		free((void *)(uintptr_t)picture->kernels[i].memory);
	}
	free(picture->kernels);
}

static void add_kernel(struct picture *picture, const struct popcorn_kernel *kernel)
{
	hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
	struct drawing_memory *memory = NULL;
	uint64_t start, length;
	size_t n, n_memory = 0;
	const uint32_t *its;
	uint32_t node;

	n = popcorn_kernel_get_cpus(kernel, &its);
	for (size_t i = 0; cpus && i < n; i++)
		if (its[i] < TOPOLOGY_CPUS_MAX)
			hwloc_bitmap_set(cpus, its[i]);
	for (size_t i = 0; popcorn_kernel_get_memory_range(kernel, i, &start, &length, &node) > 0;
	     i++) {
		size_t j = 0;

		while (j < n_memory && memory[j].node != node)
			j++;
		if (j == n_memory) {
			memory = xrealloc(memory, ++n_memory, sizeof(*memory));
			memory[j] = (struct drawing_memory){ .node = node };
		}
		memory[j].bytes += length;
	}
	if (!cpus || (n == 0 && n_memory == 0)) { /* it has ended */
		hwloc_bitmap_free(cpus);
		free(memory);
		return;
	}
	picture->kernels = xrealloc(picture->kernels, picture->n + 1, sizeof(*picture->kernels));
	picture->kernels[picture->n++] = (struct drawing_kernel){
		.name = popcorn_kernel_get_name(kernel),
		.cpus = cpus,
		.memory = memory,
		.n_memory = n_memory,
	};
}

static int draw(const struct arguments *arguments, const struct topology *topology,
		struct popcorn_kernel **kernels, size_t n)
{
	_cleanup_(picture_done) struct picture picture = { 0 };
	struct popcorn_error error = { 0 };

	for (size_t i = 0; i < n; i++)
		add_kernel(&picture, kernels[i]);
	if (draw_topology(topology, picture.kernels, picture.n, arguments->draw, &error) < 0)
		return complain_error("topology", &error);
	return EXIT_DONE;
}

static int show(const struct arguments *arguments, const struct json *machine)
{
	if (arguments->json)
		json_print(machine, arguments->json, stdout);
	else
		print_tree(arguments, machine);
	return EXIT_DONE;
}

static int show_description(const struct arguments *arguments)
{
	_cleanup_(topology_freep) struct topology *topology = NULL;
	_cleanup_(json_freep) struct json *json = NULL;
	_cleanup_(machine_freep) struct machine *machine = NULL;
	struct popcorn_error error = { 0 };
	json_t *value;

	if (load_description(arguments, &topology, &machine, &error) < 0)
		return complain_error("topology", &error);
	value = machine_to_json(machine);
	json = json_from_jansson(value);
	json_decref(value);
	return arguments->draw ? draw(arguments, topology, NULL, 0) : show(arguments, json);
}

static int complain_connection(struct popcorn *popcorn)
{
	const char *name = popcorn_last_error_name(popcorn);

	if (popcorn_error_from_name(name) != POPCORN_ERROR_NO_DAEMON)
		return complain_last(popcorn, "topology");
	complain("topology",
		 "%s; a machine that is described in a file needs none: --xml FILE, --synthetic "
		 "DESCRIPTION (%s)",
		 popcorn_last_error_text(popcorn), short_error(name));
	return popcorn_error_exit_code(POPCORN_ERROR_NO_DAEMON);
}

static int show_live(const struct arguments *arguments, struct popcorn *popcorn)
{
	_cleanup_(kernels_freep) struct popcorn_kernel **kernels = NULL;
	_cleanup_(topology_freep) struct topology *topology = NULL;
	_cleanup_(json_freep) struct json *json = NULL;
	_cleanup_free_ char *text = NULL;
	struct popcorn_error error = { 0 };
	size_t n;

	if (popcorn_list_kernels(popcorn, &kernels, &n) < 0)
		return complain_connection(popcorn);
	if (popcorn_get_topology(popcorn, arguments->draw ? "xml" : "json", &text) < 0)
		return complain_last(popcorn, "topology");
	if (arguments->draw) {
		if (topology_parse_xml("this machine", text, strlen(text), &topology, &error) < 0)
			return complain_error("topology", &error);
		return draw(arguments, topology, kernels, n);
	}
	json = parse_answer("topology", text);
	if (!json)
		return EXIT_FAILED;
	name_kernels(json, kernels, n);
	return show(arguments, json);
}

bool topology_is_local(const struct arguments *arguments)
{
	/* It connects itself, because it has more to say when nobody is there. */
	return true;
}

int verb_topology(struct popcorn *none, const struct arguments *arguments)
{
	struct popcorn *popcorn;
	int code;

	code = check_description(arguments, "topology");
	if (code != EXIT_DONE)
		return code;
	if (is_described(arguments))
		return show_description(arguments);
	popcorn = popcorn_new();
	if (!popcorn) {
		complain(NULL, "out of memory");
		return EXIT_FAILED;
	}
	if (popcorn_connect(popcorn, arguments->host, POPCORN_CONNECT_INTERACTIVE) < 0)
		code = complain_connection(popcorn);
	else
		code = show_live(arguments, popcorn);
	popcorn_unref(popcorn);
	return code;
}
