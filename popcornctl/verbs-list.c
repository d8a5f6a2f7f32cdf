// SPDX-License-Identifier: GPL-2.0-or-later
/* list, status: what the kernels are. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "output.h"
#include "popcornctl.h"
#include "util.h"

/* Lines of the console, changes of state, and ranges of memory that `status` shows. */
#define STATUS_LINES 10
#define STATUS_HISTORY 10
#define STATUS_RANGES 4

static bool has_ended(const struct json *kernel)
{
	const char *state = json_get_string(kernel, "state");

	return strcmp(state, "stopped") == 0 || strcmp(state, "crashed") == 0 ||
	       strcmp(state, "failed") == 0;
}

static char *text_state(const struct json *row)
{
	const char *state = json_get_string(row, "state"), *reason = json_get_string(row, "reason");

	/* Of a kernel that has ended the reason is what matters. */
	if (has_ended(row) && *reason && strcmp(reason, "none"))
		return xasprintf("%s (%s)", state, reason);
	return xstrdup(state);
}

static const char *column_color(const struct json *row)
{
	const char *color = state_color(json_get_string(row, "state"));

	return *color ? color : NULL;
}

static char *text_id(const struct json *row)
{
	uint64_t id = json_get_u64(row, "id");

	return id ? xasprintf("%" PRIu64, id) : xstrdup("");
}

static char *text_cpus(const struct json *row)
{
	return format_cpus(json_get(row, "cpus"));
}

static char *text_memory(const struct json *row)
{
	uint64_t memory = json_get_u64(row, "memory");

	return memory ? format_size(memory) : xstrdup("");
}

static char *text_uptime(const struct json *row)
{
	uint64_t uptime = json_get_u64(row, "uptime_usec");

	return uptime ? format_span(uptime) : xstrdup("");
}

static const struct column columns[] = {
	{ .header = "NAME", .key = "name" },
	{ .header = "ID", .text = text_id, .right = true },
	{ .header = "STATE", .text = text_state, .color = column_color },
	{ .header = "CPUS", .text = text_cpus, .may_shrink = true },
	{ .header = "MEMORY", .text = text_memory, .right = true },
	{ .header = "VERSION", .key = "version", .may_shrink = true },
	{ .header = "ADDRESS", .key = "address" },
	{ .header = "UPTIME", .text = text_uptime },
};

static void print_legend(struct popcorn *popcorn, size_t n)
{
	_cleanup_free_ char *size = NULL;
	uint64_t memory;
	uint32_t cpus;

	if (n)
		printf("\n%zu kernel%s", n, n == 1 ? "" : "s");
	else
		printf("No kernels");
	if (popcorn_get_free(popcorn, &cpus, &memory) < 0) {
		puts(".");
		return;
	}
	size = format_size(memory);
	printf("; %" PRIu32 " CPU%s and %s of memory free to lend.\n", cpus, cpus == 1 ? "" : "s",
	       size);
}

int verb_list(struct popcorn *popcorn, const struct arguments *arguments)
{
	_cleanup_(kernels_freep) struct popcorn_kernel **kernels = NULL;
	_cleanup_(json_freep) struct json *rows = json_new_array();
	size_t n;

	if (popcorn_list_kernels(popcorn, &kernels, &n) < 0)
		return complain_last(popcorn, "list");
	for (size_t i = 0; i < n; i++)
		json_append(rows, kernel_json(kernels[i]));
	if (arguments->json) {
		json_print(rows, arguments->json, stdout);
		return EXIT_DONE;
	}
	if (n)
		table_print(rows, columns, sizeof(columns) / sizeof(columns[0]), arguments->legend);
	if (arguments->legend && !arguments->quiet)
		print_legend(popcorn, n);
	return EXIT_DONE;
}

static void print_field(const char *label, const char *value)
{
	if (!*value)
		return;
	printf("%12s: ", label);
	print_safe(value, strlen(value), stdout);
	putchar('\n');
}

static char *describe_memory(const struct json *kernel)
{
	const struct json *ranges = json_get(kernel, "memory_ranges");
	_cleanup_free_ char *total = format_size(json_get_u64(kernel, "memory"));
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return xstrdup("?");
	if (ranges->n != 1 && json_get_u64(kernel, "memory"))
		fprintf(f, "%s%s", total, ranges->n ? ": " : "");
	for (size_t i = 0; i < ranges->n && i < STATUS_RANGES; i++) {
		const struct json *range = ranges->items[i];
		_cleanup_free_ char *length = format_size(json_get_u64(range, "length"));

		fprintf(f, "%s%s at 0x%" PRIx64 " (node %" PRIu64 ")", i ? ", " : "", length,
			json_get_u64(range, "start"), json_get_u64(range, "node"));
	}
	if (ranges->n > STATUS_RANGES)
		fprintf(f, " and %zu more", ranges->n - STATUS_RANGES);
	return fclose(f) ? xstrdup("?") : text;
}

/* NULL: it does not run, or has not answered yet. */
static char *describe_agent(const struct json *kernel)
{
	const char *messages = json_get_string(kernel, "messages");

	if (strcmp(messages, "yes") == 0)
		return xasprintf("Popcorn %s, takes messages",
				 json_get_string(kernel, "agent_version"));
	if (strcmp(messages, "no") == 0)
		return xstrdup("takes no messages");
	if (strcmp(messages, "other-version") == 0)
		return xstrdup("speaks another version of the messages");
	return NULL;
}

static char *describe_steps(const struct json *kernel)
{
	const struct json *steps = json_get(kernel, "boot_steps");
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	uint64_t sum = 0;

	if (!f)
		return xstrdup("?");
	for (size_t i = 0; i < steps->n; i++) {
		uint64_t usec = json_get_u64(steps->items[i], "usec");
		_cleanup_free_ char *span = format_span(usec);

		fprintf(f, "%s%s %s", i ? ", " : "", json_get_string(steps->items[i], "step"),
			span);
		sum += usec;
	}
	if (steps->n) {
		_cleanup_free_ char *span = format_span(sum);

		fprintf(f, "; together %s", span);
	}
	return fclose(f) ? xstrdup("?") : text;
}

static void print_history(const struct json *kernel)
{
	const struct json *history = json_get(kernel, "history");
	size_t first = history->n > STATUS_HISTORY ? history->n - STATUS_HISTORY : 0;

	for (size_t i = first; i < history->n; i++) {
		const struct json *change = history->items[i];
		const char *reason = json_get_string(change, "reason");
		const char *text = json_get_string(change, "text");
		_cleanup_free_ char *time = format_time(json_get_u64(change, "time"), TIME_DATE);

		printf("%12s%s %s  %s", i == first ? "History" : "", i == first ? ":" : " ", time,
		       json_get_string(change, "state"));
		if (*reason && strcmp(reason, "none"))
			printf(" (%s)", reason);
		if (*text) {
			fputs(": ", stdout);
			print_safe(text, strlen(text), stdout);
		}
		putchar('\n');
	}
}

static void print_devices(const struct json *kernel)
{
	const struct json *devices = json_get(kernel, "devices");

	for (size_t i = 0; i < devices->n; i++) {
		const struct json *device = devices->items[i];
		const char *name = json_get_string(device, "name");
		const char *text = json_get_string(device, "text");

		printf("%12s%s ", i == 0 ? "Devices" : "", i == 0 ? ":" : " ");
		print_safe(name, strlen(name), stdout);
		printf(" (%s) %s", json_get_string(device, "type"),
		       json_get_string(device, "state"));
		if (*text) {
			fputs(": ", stdout);
			print_safe(text, strlen(text), stdout);
		}
		putchar('\n');
	}
}

static void print_status(const struct json *kernel, const struct tail *console)
{
	const struct json *history = json_get(kernel, "history");
	const char *state = json_get_string(kernel, "state"), *color = state_color(state);
	const char *reason = json_get_string(kernel, "reason");
	const char *words = json_get_string(kernel, "reason_text");
	_cleanup_free_ char *cpus = format_cpus(json_get(kernel, "cpus"));
	_cleanup_free_ char *memory = describe_memory(kernel), *steps = describe_steps(kernel);
	_cleanup_free_ char *id = text_id(kernel), *agent = describe_agent(kernel);
	bool colors = use_color(STDOUT_FILENO);
	uint64_t job = json_get_u64(kernel, "job");

	printf("%s%s%s %s: %s%s%s", color_on(colors, color), is_utf8() ? "●" : "*",
	       color_off(colors, color), json_get_string(kernel, "name"), color_on(colors, color),
	       state, color_off(colors, color));
	if (*reason && strcmp(reason, "none"))
		printf(" (%s)", reason);
	if (history->n) {
		uint64_t since = json_get_u64(history->items[history->n - 1], "time");
		uint64_t now = clock_usec(CLOCK_REALTIME);
		_cleanup_free_ char *time = format_time(since, TIME_FULL);
		_cleanup_free_ char *span = format_span(now > since ? now - since : 0);

		printf(" since %s; %s ago", time, span);
	}
	putchar('\n');
	print_field("Why", words);
	if (job)
		printf("%12s: %" PRIu64 "\n", "Job", job);
	print_field("ID", id);
	print_field("Version", json_get_string(kernel, "version"));
	if (agent)
		print_field("Agent", agent);
	print_field("CPUs", cpus);
	print_field("Memory", memory);
	print_field("Image", json_get_string(kernel, "image"));
	print_field("Initrd", json_get_string(kernel, "initrd"));
	print_field("Root", json_get_string(kernel, "root"));
	print_field("Command line", json_get_string(kernel, "command_line"));
	if (*json_get_string(kernel, "policy"))
		print_field("Policy", json_get_string(kernel, "policy"));
	print_field("Unit", json_get_string(kernel, "unit"));
	print_field("Restart", json_get_string(kernel, "restart"));
	print_field("Network", json_get_string(kernel, "network"));
	if (*json_get_string(kernel, "address"))
		print_field("Address", json_get_string(kernel, "address"));
	print_devices(kernel);
	print_field("Boot", steps);
	print_history(kernel);
	if (console->n) {
		puts("");
		print_safe(console->text, console->n, stdout);
		if (console->text[console->n - 1] != '\n')
			putchar('\n');
	}
}

static struct json *lines_json(const struct tail *console)
{
	struct json *lines = json_new_array();
	const char *p = console->text, *end = p + console->n;

	while (p < end) {
		const char *stop = memchr(p, '\n', end - p);
		size_t n = (stop ? stop : end) - p;

		json_append(lines, json_new_bytes(p, n && p[n - 1] == '\r' ? n - 1 : n));
		p += n + 1;
	}
	return lines;
}

/*
 * Shows a kernel with the end of its console. That may be out of reach (another machine, no right,
 * no console yet): then the rest is shown all the same.
 */
static void show_one(struct popcorn *popcorn, const struct arguments *arguments,
		     const struct popcorn_kernel *kernel, struct json *all, bool first)
{
	struct json *json = kernel_json(kernel);
	struct tail console = { .max = arguments->has_lines ? arguments->lines : STATUS_LINES };
	_cleanup_close_ int fd = -1;

	if (console.max && !arguments->host &&
	    popcorn_open_console(popcorn, popcorn_kernel_get_name(kernel), POPCORN_CONSOLE_DONT_ASK,
				 &fd) >= 0)
		read_available(fd, &console);
	if (arguments->json) {
		json_set(json, "console", lines_json(&console));
		json_append(all, json);
	} else {
		if (!first)
			putchar('\n');
		print_status(json, &console);
		json_free(json);
	}
	tail_done(&console);
}

int verb_status(struct popcorn *popcorn, const struct arguments *arguments)
{
	_cleanup_(json_freep) struct json *all = json_new_array();
	int code = EXIT_DONE;
	bool shown = false;

	if (!arguments->n_names) {
		_cleanup_(kernels_freep) struct popcorn_kernel **kernels = NULL;
		size_t n;

		if (popcorn_list_kernels(popcorn, &kernels, &n) < 0)
			return complain_last(popcorn, "status");
		for (size_t i = 0; i < n; i++)
			show_one(popcorn, arguments, kernels[i], all, i == 0);
		if (!n && !arguments->json && !arguments->quiet)
			puts("No kernels.");
	}
	for (size_t i = 0; i < arguments->n_names; i++) {
		_cleanup_(kernel_freep) struct popcorn_kernel *kernel = NULL;

		if (popcorn_get_kernel(popcorn, arguments->names[i], &kernel) < 0) {
			_cleanup_free_ char *what = xasprintf("status %s", arguments->names[i]);
			int r = complain_last(popcorn, what);

			code = code ? code : r;
			continue;
		}
		show_one(popcorn, arguments, kernel, all, !shown);
		shown = true;
	}
	if (arguments->json)
		json_print(all, arguments->json, stdout);
	return code;
}
