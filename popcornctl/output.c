// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>
#include <langinfo.h>
#include <libsmartcols.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "output.h"
#include "util.h"

const struct json *json_get(const struct json *object, const char *key)
{
	for (size_t i = 0; i < object->n; i++)
		if (strcmp(object->keys[i], key) == 0)
			return object->items[i];
	return NULL;
}

const char *json_get_string(const struct json *object, const char *key)
{
	const struct json *value = json_get(object, key);

	return value && value->text ? value->text : "";
}

uint64_t json_get_u64(const struct json *object, const char *key)
{
	const struct json *value = json_get(object, key);

	return value && value->kind == JSON_KIND_NUMBER ? strtoull(value->text, NULL, 10) : 0;
}

bool is_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

char *format_size(uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	unsigned unit = 0;
	uint64_t rest = 0;

	/* One digit behind the point is shown if it is not 0, so that 1536M is not called 2G. */
	while (bytes >= 1024) {
		rest = bytes % 1024;
		bytes /= 1024;
		unit++;
	}
	if (!unit)
		return xasprintf("%" PRIu64 "B", bytes);
	if (rest * 10 / 1024)
		return xasprintf("%" PRIu64 ".%" PRIu64 "%c", bytes, rest * 10 / 1024, units[unit]);
	return xasprintf("%" PRIu64 "%c", bytes, units[unit]);
}

char *format_span(uint64_t usec)
{
	uint64_t s = usec / 1000000;

	if (usec < 1000)
		return xasprintf("%" PRIu64 " us", usec);
	if (s < 1)
		return xasprintf("%" PRIu64 " ms", usec / 1000);
	if (s < 10)
		return xasprintf("%" PRIu64 ".%" PRIu64 " s", s, usec / 100000 % 10);
	if (s < 60)
		return xasprintf("%" PRIu64 " s", s);
	if (s < 3600)
		return xasprintf("%" PRIu64 "min %" PRIu64 "s", s / 60, s % 60);
	if (s < 86400)
		return xasprintf("%" PRIu64 "h %" PRIu64 "min", s / 3600, s / 60 % 60);
	return xasprintf("%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
}

char *format_cpus(const struct json *cpus)
{
	char *list = NULL;
	size_t size;
	FILE *f = open_memstream(&list, &size);

	/* Their order says which one boots; a range must be in this order to be joined. */
	for (size_t i = 0; f && cpus && i < cpus->n; i++) {
		uint64_t first = strtoull(cpus->items[i]->text, NULL, 10), last = first;

		while (i + 1 < cpus->n &&
		       strtoull(cpus->items[i + 1]->text, NULL, 10) == last + 1) {
			last++;
			i++;
		}
		fprintf(f, "%s%" PRIu64, ftell(f) ? "," : "", first);
		if (last > first)
			fprintf(f, "-%" PRIu64, last);
	}
	if (!f || fclose(f))
		return xstrdup("?");
	return list;
}

char *format_time(uint64_t usec, enum time_style style)
{
	time_t seconds = usec / 1000000;
	char text[64];
	size_t n = 0;
	struct tm tm;

	if (!localtime_r(&seconds, &tm))
		return xstrdup("?");
	switch (style) {
	case TIME_CLOCK:
		n = strftime(text, sizeof(text), "%H:%M:%S", &tm);
		break;
	case TIME_DATE:
		n = strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
		break;
	case TIME_FULL:
		n = strftime(text, sizeof(text), "%a %Y-%m-%d %H:%M:%S %Z", &tm);
		break;
	}
	return xstrdup(n ? text : "?");
}

const char *state_color(const char *state)
{
	static const struct {
		const char *state, *color;
	} colors[] = {
		{ "running", "green" },	  { "crashed", "red" },	   { "failed", "red" },
		{ "reserved", "yellow" }, { "loading", "yellow" }, { "booting", "yellow" },
		{ "stopping", "yellow" },
	};

	for (size_t i = 0; i < sizeof(colors) / sizeof(colors[0]); i++)
		if (strcmp(colors[i].state, state) == 0)
			return colors[i].color;
	return "";
}

const char *color_on(bool wanted, const char *color)
{
	if (!wanted)
		return "";
	if (strcmp(color, "green") == 0)
		return "\033[32m";
	if (strcmp(color, "yellow") == 0)
		return "\033[33m";
	if (strcmp(color, "red") == 0)
		return "\033[31m";
	return "";
}

const char *color_off(bool wanted, const char *color)
{
	return *color_on(wanted, color) ? "\033[0m" : "";
}

void print_safe(const char *s, size_t n, FILE *f)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = s[i];

		if (c == '\033' && i + 1 < n && s[i + 1] == '[') {
			/* CSI: parameters, then one final byte. */
			for (i += 2; i < n && (unsigned char)s[i] < 0x40; i++)
				;
		} else if (c == '\033' && i + 1 < n && s[i + 1] == ']') {
			/* OSC: up to BEL or ESC \. */
			for (i += 2; i < n && s[i] != '\a' && s[i] != '\033'; i++)
				;
			if (i + 1 < n && s[i] == '\033')
				i++;
		} else if (c == '\n' || c == '\t') {
			fputc(c, f);
		} else if (c == '\r') {
			if (i + 1 < n && s[i + 1] != '\n')
				fputc('\n', f);
		} else if (c < 0x20 || c == 0x7f) {
			fputc('?', f);
		} else if (c == 0xc2 && i + 1 < n && (unsigned char)s[i + 1] < 0xa0) {
			/* The control characters of Latin-1, as UTF-8: some terminals obey them. */
			fputc('?', f);
			i++;
		} else {
			size_t length = utf8_length(s + i, n - i);

			if (!length)
				fputs(is_utf8() ? "\xef\xbf\xbd" : "?", f);
			else
				fwrite(s + i, 1, length, f);
			i += length ? length - 1 : 0;
		}
	}
}

static int add_rows(struct libscols_table *table, struct libscols_line *parent,
		    const struct json *rows, const struct column *columns, size_t n, bool tree);

static int add_row(struct libscols_table *table, struct libscols_line *parent,
		   const struct json *row, const struct column *columns, size_t n, bool tree)
{
	struct libscols_line *line = scols_table_new_line(table, parent);
	int r = line ? 0 : -1;

	for (size_t i = 0; i < n && r == 0; i++) {
		char *text = columns[i].text ? columns[i].text(row)
					     : xstrdup(json_get_string(row, columns[i].key));

		if (!*text && !tree) {
			free(text);
			text = xstrdup("-");
		}
		r = scols_line_refer_data(line, i, text);
		if (r == 0 && columns[i].color)
			scols_cell_set_color(scols_line_get_cell(line, i), columns[i].color(row));
	}
	return r < 0 ? r : add_rows(table, line, json_get(row, "children"), columns, n, tree);
}

static int add_rows(struct libscols_table *table, struct libscols_line *parent,
		    const struct json *rows, const struct column *columns, size_t n, bool tree)
{
	int r = 0;

	for (size_t i = 0; rows && i < rows->n && r == 0; i++)
		r = add_row(table, parent, rows->items[i], columns, n, tree);
	return r;
}

static void print(const struct json *rows, const struct column *columns, size_t n, bool header,
		  bool tree)
{
	struct libscols_table *table = scols_new_table();
	bool color = use_color(STDOUT_FILENO);
	int r = table ? 0 : -1;

	if (table) {
		scols_table_enable_noheadings(table, !header);
		scols_table_enable_colors(table, color);
		if (!is_utf8())
			scols_table_enable_ascii(table, true);
		/* What is not a terminal has no width: nothing is cut there. */
		if (!isatty(STDOUT_FILENO))
			scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
	}
	for (size_t i = 0; i < n && r == 0; i++)
		r = scols_table_new_column(table, columns[i].header, 0,
					   (columns[i].right ? SCOLS_FL_RIGHT : 0) |
						   (columns[i].may_shrink ? SCOLS_FL_TRUNC : 0) |
						   (tree && i == 0 ? SCOLS_FL_TREE : 0))
			    ? 0
			    : -1;
	if (r == 0)
		r = add_rows(table, NULL, rows, columns, n, tree);
	if (r == 0)
		r = scols_print_table(table);
	scols_unref_table(table);
	if (r != 0)
		complain(NULL, "the table could not be printed");
}

void table_print(const struct json *rows, const struct column *columns, size_t n, bool header)
{
	print(rows, columns, n, header, false);
}

void tree_print(const struct json *rows, const struct column *columns, size_t n, bool header)
{
	print(rows, columns, n, header, true);
}

struct json *kernel_json(const struct popcorn_kernel *kernel)
{
	struct json *json = json_new_object(), *cpus = json_new_array(), *ranges = json_new_array();
	struct json *steps = json_new_array(), *history = json_new_array();
	struct json *devices = json_new_array();
	const char *step, *state, *reason, *text, *name, *type;
	uint64_t start, length, usec;
	const uint32_t *cpu;
	uint32_t node;
	size_t n;

	n = popcorn_kernel_get_cpus(kernel, &cpu);
	for (size_t i = 0; i < n; i++)
		json_append(cpus, json_new_u64(cpu[i]));
	for (size_t i = 0; popcorn_kernel_get_memory_range(kernel, i, &start, &length, &node) > 0;
	     i++) {
		struct json *range = json_new_object();

		json_set(range, "start", json_new_u64(start));
		json_set(range, "length", json_new_u64(length));
		json_set(range, "node", json_new_u64(node));
		json_append(ranges, range);
	}
	for (size_t i = 0; popcorn_kernel_get_boot_step(kernel, i, &step, &usec) > 0; i++) {
		struct json *object = json_new_object();

		json_set(object, "step", json_new_string(step));
		json_set(object, "usec", json_new_u64(usec));
		json_append(steps, object);
	}
	for (size_t i = 0; popcorn_kernel_get_device(kernel, i, &name, &type, &state, &text) > 0;
	     i++) {
		struct json *device = json_new_object();

		json_set(device, "name", json_new_string(name));
		json_set(device, "type", json_new_string(type));
		json_set(device, "state", json_new_string(state));
		json_set(device, "text", json_new_string(text));
		json_append(devices, device);
	}
	for (size_t i = 0; popcorn_kernel_get_history(kernel, i, &usec, &state, &reason, &text) > 0;
	     i++) {
		struct json *change = json_new_object();

		json_set(change, "time", json_new_u64(usec));
		json_set(change, "state", json_new_string(state));
		json_set(change, "reason", json_new_string(reason));
		json_set(change, "text", json_new_string(text));
		json_append(history, change);
	}

	json_set(json, "name", json_new_string(popcorn_kernel_get_name(kernel)));
	json_set(json, "id", json_new_u64(popcorn_kernel_get_id(kernel)));
	json_set(json, "state", json_new_string(popcorn_kernel_get_state(kernel)));
	json_set(json, "reason", json_new_string(popcorn_kernel_get_reason(kernel)));
	json_set(json, "reason_text", json_new_string(popcorn_kernel_get_reason_text(kernel)));
	json_set(json, "cpus", cpus);
	json_set(json, "memory", json_new_u64(popcorn_kernel_get_memory(kernel)));
	json_set(json, "memory_ranges", ranges);
	json_set(json, "image", json_new_string(popcorn_kernel_get_image(kernel)));
	json_set(json, "initrd", json_new_string(popcorn_kernel_get_initrd(kernel)));
	json_set(json, "root", json_new_string(popcorn_kernel_get_root(kernel)));
	json_set(json, "command_line", json_new_string(popcorn_kernel_get_command_line(kernel)));
	json_set(json, "version", json_new_string(popcorn_kernel_get_version(kernel)));
	json_set(json, "uptime_usec", json_new_u64(popcorn_kernel_get_uptime(kernel)));
	json_set(json, "boot_time", json_new_u64(popcorn_kernel_get_boot_time(kernel)));
	json_set(json, "restart", json_new_string(popcorn_kernel_get_restart(kernel)));
	json_set(json, "network", json_new_string(popcorn_kernel_get_network(kernel)));
	json_set(json, "address", json_new_string(popcorn_kernel_get_address(kernel)));
	json_set(json, "devices", devices);
	json_set(json, "policy", json_new_string(popcorn_kernel_get_policy(kernel)));
	json_set(json, "messages", json_new_string(popcorn_kernel_get_messages(kernel)));
	json_set(json, "agent_version", json_new_string(popcorn_kernel_get_agent_version(kernel)));
	json_set(json, "unit", json_new_string(popcorn_kernel_get_unit(kernel)));
	json_set(json, "job", json_new_u64(popcorn_kernel_get_job(kernel)));
	json_set(json, "boot_steps", steps);
	json_set(json, "history", history);
	return json;
}
