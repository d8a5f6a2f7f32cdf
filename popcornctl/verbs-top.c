// SPDX-License-Identifier: GPL-2.0-or-later
/* top: how all kernels are, the primary among them. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "messages.h"
#include "output.h"
#include "top.h"
#include "util.h"

/* Between the first two looks: CPU time is known only as the difference of two. */
#define FIRST_USEC 500000
#define INTERVAL_USEC 2000000
#define LISTED 10 /* processes in JSON */

struct sample {
	struct agent_top top;
	struct agent_process processes[AGENT_PROCESSES_MAX];
	int err; /* 0: there is one */
};

/* A kernel as it was last seen. */
struct seen {
	uint32_t id;
	bool found; /* in this round */
	struct popcorn_msg_addr addr;
	struct sample now, before;
};

struct top {
	struct popcorn_endpoint *endpoint;
	int proc;
	struct seen *seen;
	size_t n;
	size_t lines; /* on the terminal, to be drawn over */
	bool silent;  /* a kernel that runs did not answer */
};

static struct seen *find_seen(struct top *top, uint32_t id)
{
	for (size_t i = 0; i < top->n; i++)
		if (top->seen[i].id == id)
			return &top->seen[i];
	top->seen = xrealloc(top->seen, top->n + 1, sizeof(*top->seen));
	top->seen[top->n] = (struct seen){ .id = id, .now.err = -ENOTCONN };
	return &top->seen[top->n++];
}

/* Ids are given to others; what is known of one that has gone would be taken for theirs. */
static void forget_gone(struct top *top)
{
	size_t kept = 0;

	for (size_t i = 0; i < top->n; i++)
		if (top->seen[i].found)
			top->seen[kept++] = top->seen[i];
	top->n = kept;
	for (size_t i = 0; i < top->n; i++)
		top->seen[i].found = false;
}

static int ask(struct top *top, struct seen *seen, struct sample *ret)
{
	const struct agent_header request = agent_header(AGENT_TOP, 0);
	_Alignas(struct agent_top) uint8_t reply[POPCORN_MSG_CALL_MAX];
	int status = 0, r;
	ssize_t length;

	if (!seen->addr.endpoint) {
		r = popcorn_endpoint_lookup(top->endpoint, seen->id, AGENT_SERVICE, ANSWER_MS,
					    &seen->addr);
		if (r < 0)
			return r;
	}
	length = popcorn_endpoint_call(top->endpoint, &seen->addr, &request, sizeof(request), reply,
				       sizeof(reply), ANSWER_MS, &status);
	if (length < 0)
		/* Another life of the kernel has another agent. */
		seen->addr = (struct popcorn_msg_addr){ 0 };
	if (length < 0 || status < 0)
		return length < 0 ? (int)length : status;
	return agent_parse_top(reply, (size_t)length, &ret->top, ret->processes);
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? (double)part * 100 / (double)whole : 0;
}

/* To one digit behind the point: more would not be true. */
static struct json *percent_json(double value)
{
	return json_new_double((double)(int64_t)(value * 10 + 0.5) / 10);
}

/* Of one process since the last look; of one that was not listed then, since its start. */
static uint64_t used_usec(const struct agent_process *process, const struct sample *before)
{
	for (uint32_t i = 0; !before->err && i < before->top.listed; i++) {
		const struct agent_process *old = &before->processes[i];

		if (old->pid == process->pid && old->usec <= process->usec)
			return process->usec - old->usec;
	}
	return process->usec;
}

struct used {
	const struct agent_process *process;
	uint64_t usec;
};

static int compare_used(const void *a, const void *b)
{
	uint64_t x = ((const struct used *)a)->usec, y = ((const struct used *)b)->usec;

	return x > y ? -1 : x < y;
}

static struct json *processes_json(const struct seen *seen, uint64_t elapsed)
{
	const struct agent_top *top = &seen->now.top;
	struct json *list = json_new_array();
	struct used used[AGENT_PROCESSES_MAX];

	for (uint32_t i = 0; i < top->listed; i++)
		used[i] = (struct used){ &seen->now.processes[i],
					 used_usec(&seen->now.processes[i], &seen->before) };
	qsort(used, top->listed, sizeof(used[0]), compare_used);
	for (uint32_t i = 0; i < top->listed && i < LISTED; i++) {
		const struct agent_process *process = used[i].process;
		struct json *json = json_new_object();
		char state =
			process->state >= 'A' && process->state <= 'z' ? (char)process->state : '?';

		json_set(json, "pid", json_new_u64(process->pid));
		json_set(json, "name",
			 json_new_bytes(process->name,
					strnlen(process->name, sizeof(process->name))));
		json_set(json, "state", json_new_bytes(&state, 1));
		json_set(json, "cpu_percent", percent_json(percent(used[i].usec, elapsed)));
		json_set(json, "cpu_usec", json_new_u64(process->usec));
		json_set(json, "memory", json_new_u64(process->resident));
		json_append(list, json);
	}
	return list;
}

/* A counter that went back is another kernel's, or a lie. */
static uint64_t difference(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static void set_sample(struct json *row, const struct seen *seen)
{
	const struct agent_top *now = &seen->now.top;
	static const struct agent_top none;
	const struct agent_top *before = seen->before.err ? &none : &seen->before.top;
	uint64_t busy = difference(now->busy_usec, before->busy_usec);
	uint64_t idle = difference(now->idle_usec, before->idle_usec);
	struct json *load = json_new_array();

	for (int i = 0; i < 3; i++)
		json_append(load, json_new_double((double)now->load[i] / 100));
	json_set(row, "cpus", json_new_u64(now->cpus));
	json_set(row, "load", load);
	json_set(row, "cpu_percent", percent_json(percent(busy, busy + idle)));
	json_set(row, "memory_total", json_new_u64(now->memory_total));
	json_set(row, "memory_used", json_new_u64(now->memory_total - now->memory_available));
	json_set(row, "processes", json_new_u64(now->processes));
	json_set(row, "running", json_new_u64(now->running));
	json_set(row, "uptime_usec", json_new_u64(now->uptime_usec));
	json_set(row, "busiest",
		 processes_json(seen, difference(now->uptime_usec, before->uptime_usec)));
}

static struct json *new_row(const char *name, uint32_t id, const char *state)
{
	struct json *row = json_new_object();

	json_set(row, "name", json_new_string(name));
	json_set(row, "id", json_new_u64(id));
	json_set(row, "state", json_new_string(state));
	return row;
}

static void look(struct top *top, uint32_t id, struct json *row)
{
	struct seen *seen = find_seen(top, id);
	char text[160];

	seen->found = true;
	seen->before = seen->now;
	if (id)
		seen->now.err = ask(top, seen, &seen->now);
	else
		seen->now.err = top_read(top->proc, &seen->now.top, seen->now.processes);
	/* An id that another kernel has now: nothing was seen of it before. */
	if (seen->now.err == 0 && seen->now.top.uptime_usec < seen->before.top.uptime_usec)
		seen->before.err = -ENOTCONN;
	if (seen->now.err == 0) {
		set_sample(row, seen);
		return;
	}
	top->silent = true;
	json_set(row, "error",
		 json_new_string(describe_silence(seen->now.err, json_get_string(row, "name"), text,
						  sizeof(text))));
}

static int look_at_all(struct popcorn *popcorn, struct top *top, struct json *rows)
{
	_cleanup_(kernels_freep) struct popcorn_kernel **kernels = NULL;
	struct json *row;
	size_t n;

	if (popcorn_list_kernels(popcorn, &kernels, &n) < 0)
		return complain_last(popcorn, "top");
	top->silent = false;
	row = new_row("primary", 0, "running");
	look(top, 0, row);
	json_append(rows, row);
	for (size_t i = 0; i < n; i++) {
		const char *state = popcorn_kernel_get_state(kernels[i]);
		uint32_t id = popcorn_kernel_get_id(kernels[i]);

		row = new_row(popcorn_kernel_get_name(kernels[i]), id, state);
		if (id && strcmp(state, "running") == 0)
			look(top, id, row);
		json_append(rows, row);
	}
	forget_gone(top);
	return EXIT_DONE;
}

/* ---- how it looks ------------------------------------------------------------------------ */

static const char *color_state(const struct json *row)
{
	const char *color = state_color(json_get_string(row, "state"));

	return *color ? color : NULL;
}

static char *text_id(const struct json *row)
{
	return xstrdup(json_get_string(row, "id"));
}

static char *text_load(const struct json *row)
{
	const struct json *load = json_get(row, "load");

	return load ? xasprintf("%.2f", strtod(load->items[0]->text, NULL)) : xstrdup("");
}

static char *text_cpu(const struct json *row)
{
	const struct json *value = json_get(row, "cpu_percent");

	return value ? xasprintf("%.1f", strtod(value->text, NULL)) : xstrdup("");
}

static char *text_memory(const struct json *row)
{
	_cleanup_free_ char *used = NULL, *total = NULL;

	if (!json_get(row, "memory_total"))
		return xstrdup("");
	used = format_size(json_get_u64(row, "memory_used") >> 20 << 20);
	total = format_size(json_get_u64(row, "memory_total") >> 20 << 20);
	return xasprintf("%s/%s", used, total);
}

/* What it does most, if it does anything. */
static char *text_busiest(const struct json *row)
{
	const struct json *list = json_get(row, "busiest");
	const struct json *error = json_get(row, "error");
	_cleanup_free_ char *name = NULL;
	size_t size;
	double cpu;
	FILE *f;

	if (error)
		return xasprintf("(%s)", error->text);
	if (!list || !list->n)
		return xstrdup("");
	cpu = strtod(json_get(list->items[0], "cpu_percent")->text, NULL);
	if (cpu < 0.1)
		return xstrdup("");
	/* A process is called what it likes. */
	f = open_memstream(&name, &size);
	if (!f)
		return xstrdup("");
	print_safe(json_get_string(list->items[0], "name"),
		   strlen(json_get_string(list->items[0], "name")), f);
	if (fclose(f))
		return xstrdup("");
	return xasprintf("%s %.1f%%", name, cpu);
}

static const struct column columns[] = {
	{ .header = "NAME", .key = "name" },
	{ .header = "ID", .text = text_id, .right = true },
	{ .header = "STATE", .key = "state", .color = color_state },
	{ .header = "CPUS", .key = "cpus", .right = true },
	{ .header = "LOAD", .text = text_load, .right = true },
	{ .header = "CPU%", .text = text_cpu, .right = true },
	{ .header = "MEMORY", .text = text_memory, .right = true },
	{ .header = "PROCESSES", .key = "processes", .right = true },
	{ .header = "BUSIEST", .text = text_busiest, .may_shrink = true },
};

static void show(struct top *top, const struct json *rows, const struct arguments *arguments,
		 bool in_place)
{
	if (arguments->json) {
		/* One line for each look, as `events`; one look is printed as was asked. */
		json_print(rows, arguments->once ? arguments->json : JSON_SHORT, stdout);
		return;
	}
	if (in_place && top->lines)
		printf("\033[%zuA\033[J", top->lines);
	table_print(rows, columns, sizeof(columns) / sizeof(columns[0]), arguments->legend);
	top->lines = rows->n + (arguments->legend ? 1 : 0);
	if (!in_place && !arguments->once)
		putchar('\n');
}

static int run_top(struct popcorn *popcorn, struct top *top, const struct arguments *arguments)
{
	_cleanup_close_ int signal_fd = open_signals();
	uint64_t interval = arguments->has_interval ? arguments->interval_usec : INTERVAL_USEC;
	bool in_place = isatty(STDOUT_FILENO) && !arguments->once;

	for (bool first = true;; first = false) {
		_cleanup_(json_freep) struct json *rows = json_new_array();
		uint64_t wait = first ? FIRST_USEC : interval;
		int code = look_at_all(popcorn, top, rows);

		if (code)
			return code;
		if (!first) {
			show(top, rows, arguments, in_place);
			if (arguments->once)
				return top->silent ? EXIT_FAILED : EXIT_DONE;
			if (fflush(stdout))
				return EXIT_DONE; /* said by main() */
		}
		if (wait_or_signal(signal_fd, wait) < 0)
			return EXIT_DONE;
	}
}

int verb_top(struct popcorn *popcorn, const struct arguments *arguments)
{
	_cleanup_(endpoint_closep) struct popcorn_endpoint *endpoint = NULL;
	_cleanup_close_ int proc = -1;
	struct top top = { 0 };
	int code;

	code = open_endpoint("top", &endpoint);
	if (code)
		return code;
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return complain_named("top", POPCORN_ERROR_FAILED, "/proc: %s", strerror(errno));
	top.endpoint = endpoint;
	top.proc = proc;
	code = run_top(popcorn, &top, arguments);
	free(top.seen);
	return code;
}
