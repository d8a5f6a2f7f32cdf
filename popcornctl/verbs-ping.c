// SPDX-License-Identifier: GPL-2.0-or-later
/* ping, stats: the message layer itself, without the user space of other kernels. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "messages.h"
#include "output.h"
#include "util.h"

/* Of so many round trips the percentiles are made; of more, of the last ones. */
#define SAMPLES_MAX (1U << 20)
#define INTERVAL_USEC 100000

struct target {
	const struct peer *peer;
	uint64_t sent, received;
	uint64_t min, max, sum;
	uint64_t *samples;
	int silence; /* the last one, or 0 */
};

static void add_sample(struct target *target, uint64_t ns)
{
	/* The room grows with powers of two. */
	if (target->received < SAMPLES_MAX && !(target->received & (target->received - 1)))
		target->samples =
			xrealloc(target->samples, target->received ? 2 * target->received : 1,
				 sizeof(*target->samples));
	target->samples[target->received % SAMPLES_MAX] = ns;
	target->min = !target->received || ns < target->min ? ns : target->min;
	target->max = ns > target->max ? ns : target->max;
	target->sum += ns;
	target->received++;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static struct json *target_json(struct target *target, uint32_t size)
{
	size_t n = target->received < SAMPLES_MAX ? target->received : SAMPLES_MAX;
	struct json *json = json_new_object();
	char text[160];

	json_set(json, "name", json_new_string(target->peer->name));
	json_set(json, "id", json_new_u64(target->peer->id));
	json_set(json, "size", json_new_u64(size));
	json_set(json, "sent", json_new_u64(target->sent));
	json_set(json, "received", json_new_u64(target->received));
	json_set(json, "lost", json_new_u64(target->sent - target->received));
	if (n) {
		qsort(target->samples, n, sizeof(*target->samples), compare);
		json_set(json, "min_ns", json_new_u64(target->min));
		json_set(json, "avg_ns", json_new_u64(target->sum / target->received));
		json_set(json, "p50_ns", json_new_u64(target->samples[(n - 1) / 2]));
		json_set(json, "p99_ns", json_new_u64(target->samples[(n - 1) * 99 / 100]));
		json_set(json, "max_ns", json_new_u64(target->max));
	}
	if (target->silence)
		json_set(json, "error",
			 json_new_string(describe_silence(target->silence, target->peer->name, text,
							  sizeof(text))));
	return json;
}

static char *format_ns(const struct json *row, const char *key)
{
	const struct json *value = json_get(row, key);
	uint64_t ns;

	if (!value)
		return xstrdup("");
	ns = json_get_u64(row, key);
	if (ns < 1000)
		return xasprintf("%" PRIu64 " ns", ns);
	if (ns < 1000000)
		return xasprintf("%" PRIu64 ".%" PRIu64 " us", ns / 1000, ns / 100 % 10);
	return xasprintf("%" PRIu64 ".%" PRIu64 " ms", ns / 1000000, ns / 100000 % 10);
}

static char *text_min(const struct json *row)
{
	return format_ns(row, "min_ns");
}

static char *text_avg(const struct json *row)
{
	return format_ns(row, "avg_ns");
}

static char *text_p50(const struct json *row)
{
	return format_ns(row, "p50_ns");
}

static char *text_p99(const struct json *row)
{
	return format_ns(row, "p99_ns");
}

static char *text_max(const struct json *row)
{
	return format_ns(row, "max_ns");
}

static char *text_lost(const struct json *row)
{
	uint64_t sent = json_get_u64(row, "sent"), lost = json_get_u64(row, "lost");

	/* Rounded up: a single loss is not none. */
	return xasprintf("%" PRIu64 "%%", sent ? (lost * 100 + sent - 1) / sent : 0);
}

static const char *color_lost(const struct json *row)
{
	return json_get_u64(row, "lost") ? "red" : NULL;
}

static const struct column ping_columns[] = {
	{ .header = "NAME", .key = "name" },
	{ .header = "ID", .key = "id", .right = true },
	{ .header = "SENT", .key = "sent", .right = true },
	{ .header = "LOST", .text = text_lost, .color = color_lost, .right = true },
	{ .header = "MIN", .text = text_min, .right = true },
	{ .header = "AVG", .text = text_avg, .right = true },
	{ .header = "P50", .text = text_p50, .right = true },
	{ .header = "P99", .text = text_p99, .right = true },
	{ .header = "MAX", .text = text_max, .right = true },
};

/* Says who lost something, and why; 1 if anybody never answered, as ping(8). */
static int judge(const struct target *targets, size_t n)
{
	int code = EXIT_DONE;

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *what = xasprintf("ping %s", targets[i].peer->name);
		char text[160];

		if (targets[i].silence)
			complain(what, "%s",
				 describe_silence(targets[i].silence, targets[i].peer->name, text,
						  sizeof(text)));
		if (!targets[i].received && targets[i].sent)
			code = EXIT_FAILED;
	}
	return code;
}

static void ping_all(struct popcorn_endpoint *endpoint, struct target *targets, size_t n,
		     const struct arguments *arguments)
{
	uint64_t interval = arguments->has_interval ? arguments->interval_usec : INTERVAL_USEC;
	_cleanup_close_ int signal_fd = open_signals();

	for (uint64_t round = 0; !arguments->count || round < arguments->count; round++) {
		/* Also without an interval a signal is heard. */
		if (wait_or_signal(signal_fd, round ? interval : 0) < 0)
			return;
		for (size_t i = 0; i < n; i++) {
			uint64_t ns;
			int r;

			r = popcorn_endpoint_ping(endpoint, targets[i].peer->id,
						  arguments->message_size, ANSWER_MS, &ns);
			targets[i].sent++;
			if (r == 0)
				add_sample(&targets[i], ns);
			else
				targets[i].silence = r;
		}
	}
}

int verb_ping(struct popcorn *popcorn, const struct arguments *arguments)
{
	const char *name = arguments->n_names ? arguments->names[0] : NULL;
	_cleanup_free_ char *what = xasprintf("ping%s%s", name ? " " : "", name ? name : "");
	_cleanup_(endpoint_closep) struct popcorn_endpoint *endpoint = NULL;
	_cleanup_(json_freep) struct json *rows = json_new_array();
	_cleanup_(peers_done) struct peers peers = { 0 };
	_cleanup_free_ struct target *targets = NULL;
	int code;

	code = find_peers(popcorn, what, name, true, &peers);
	if (code)
		return code;
	if (!peers.n && !arguments->json) {
		if (!arguments->quiet)
			puts("No kernel is running.");
		return EXIT_DONE;
	}
	code = open_endpoint(what, &endpoint);
	if (code)
		return code;
	targets = xrealloc(NULL, peers.n, sizeof(*targets));
	for (size_t i = 0; i < peers.n; i++)
		targets[i] = (struct target){ .peer = &peers.items[i] };
	if (peers.n)
		ping_all(endpoint, targets, peers.n, arguments);
	for (size_t i = 0; i < peers.n; i++) {
		json_append(rows, target_json(&targets[i], arguments->message_size));
		free(targets[i].samples);
	}
	if (arguments->json)
		json_print(rows, arguments->json, stdout);
	else
		table_print(rows, ping_columns, sizeof(ping_columns) / sizeof(ping_columns[0]),
			    arguments->legend);
	return judge(targets, peers.n);
}

/* ---- stats ------------------------------------------------------------------------------- */

static const char *const priorities[] = { "reply", "control", "bulk" };
#define NR_PRIORITIES (sizeof(priorities) / sizeof(priorities[0]))

/* The upper bound of the class that @percent of all calls lie below; 0: there were none. */
static uint64_t latency_below(const struct popcorn_msg_counters *counters, unsigned percent)
{
	uint64_t all = 0, seen = 0;

	for (unsigned i = 0; i < POPCORN_MSG_LATENCIES; i++)
		all += counters->latency[i];
	for (unsigned i = 0; i < POPCORN_MSG_LATENCIES && all; i++) {
		seen += counters->latency[i];
		if (seen >= all - all * (100 - percent) / 100)
			return 1ULL << (i + 1);
	}
	return 0;
}

static struct json *latency_json(const struct popcorn_msg_counters *counters)
{
	struct json *list = json_new_array();

	for (unsigned i = 0; i < POPCORN_MSG_LATENCIES; i++) {
		struct json *class;

		if (!counters->latency[i])
			continue;
		class = json_new_object();
		json_set(class, "from_ns", json_new_u64(1ULL << i));
		/* The last class has no end. */
		json_set(class, "below_ns",
			 i + 1 < POPCORN_MSG_LATENCIES ? json_new_u64(1ULL << (i + 1))
						       : json_new_null());
		json_set(class, "calls", json_new_u64(counters->latency[i]));
		json_append(list, class);
	}
	return list;
}

static struct json *counters_json(const struct peer *peer,
				  const struct popcorn_msg_counters *counters)
{
	uint64_t p50 = latency_below(counters, 50), p99 = latency_below(counters, 99);
	struct json *json = json_new_object();

	json_set(json, "name", json_new_string(peer->name));
	json_set(json, "id", json_new_u64(peer->id));
	json_set(json, "priority", json_new_string(priorities[counters->priority]));
	json_set(json, "reachable", json_new_bool(counters->generation != 0));
	json_set(json, "sent", json_new_u64(counters->sent));
	json_set(json, "sent_bytes", json_new_u64(counters->sent_bytes));
	json_set(json, "received", json_new_u64(counters->received));
	json_set(json, "received_bytes", json_new_u64(counters->received_bytes));
	json_set(json, "interrupts", json_new_u64(counters->interrupts));
	json_set(json, "credit_waits", json_new_u64(counters->credit_waits));
	json_set(json, "unknown", json_new_u64(counters->unknown));
	json_set(json, "late", json_new_u64(counters->late));
	json_set(json, "stalls", json_new_u64(counters->stalls));
	json_set(json, "queue_max", json_new_u64(counters->queue_max));
	json_set(json, "slots", json_new_u64(counters->slots));
	json_set(json, "credits", json_new_u64(counters->credits));
	if (p50) {
		json_set(json, "p50_below_ns", json_new_u64(p50));
		json_set(json, "p99_below_ns", json_new_u64(p99));
	}
	json_set(json, "latency", latency_json(counters));
	return json;
}

static char *format_bytes(const struct json *row, const char *key)
{
	return format_size(json_get_u64(row, key));
}

static char *text_sent_bytes(const struct json *row)
{
	return format_bytes(row, "sent_bytes");
}

static char *text_received_bytes(const struct json *row)
{
	return format_bytes(row, "received_bytes");
}

static char *text_credits(const struct json *row)
{
	return xasprintf("%" PRIu64 "/%" PRIu64, json_get_u64(row, "credits"),
			 json_get_u64(row, "slots"));
}

static char *text_p50_below(const struct json *row)
{
	return format_ns(row, "p50_below_ns");
}

static char *text_p99_below(const struct json *row)
{
	return format_ns(row, "p99_below_ns");
}

static const char *color_waits(const struct json *row)
{
	return json_get_u64(row, "credit_waits") || json_get_u64(row, "stalls") ? "yellow" : NULL;
}

static const struct column stats_columns[] = {
	{ .header = "NAME", .key = "name" },
	{ .header = "PRIORITY", .key = "priority" },
	{ .header = "SENT", .key = "sent", .right = true },
	{ .header = "BYTES", .text = text_sent_bytes, .right = true },
	{ .header = "RECEIVED", .key = "received", .right = true },
	{ .header = "BYTES", .text = text_received_bytes, .right = true },
	{ .header = "IRQS", .key = "interrupts", .right = true },
	{ .header = "WAITS", .key = "credit_waits", .color = color_waits, .right = true },
	{ .header = "CREDITS", .text = text_credits, .right = true },
	{ .header = "QUEUE", .key = "queue_max", .right = true },
	{ .header = "P50<", .text = text_p50_below, .right = true },
	{ .header = "P99<", .text = text_p99_below, .right = true },
};

/* Bars of this many characters at most. */
#define BAR 40

static void print_latency(const struct json *row)
{
	const struct json *classes = json_get(row, "latency");
	uint64_t most = 0;

	for (size_t i = 0; i < classes->n; i++)
		if (json_get_u64(classes->items[i], "calls") > most)
			most = json_get_u64(classes->items[i], "calls");
	if (!most)
		return;
	printf("\nCalls to %s (%s) by how long they took:\n", json_get_string(row, "name"),
	       json_get_string(row, "priority"));
	for (size_t i = 0; i < classes->n; i++) {
		const struct json *class = classes->items[i];
		_cleanup_free_ char *from = format_ns(class, "from_ns");
		uint64_t calls = json_get_u64(class, "calls");
		/* Whoever is there at all is seen. */
		unsigned length = (unsigned)((double)calls / (double)most * (BAR - 1)) + 1;

		printf("%12s  %10" PRIu64 "  ", from, calls);
		for (unsigned j = 0; j < length; j++)
			fputs(is_utf8() ? "▇" : "#", stdout);
		putchar('\n');
	}
}

/* All peers that were ever seen. @reader: of this kernel as a whole, by any of them. */
static int read_stats(struct popcorn_endpoint *endpoint, const char *what,
		      const struct peers *peers, struct json *rows,
		      struct popcorn_msg_counters *reader)
{
	*reader = (struct popcorn_msg_counters){ 0 };
	for (size_t i = 0; i < peers->n; i++) {
		for (uint32_t priority = 0; priority < NR_PRIORITIES; priority++) {
			struct popcorn_msg_counters counters;
			int r;

			r = popcorn_endpoint_counters(endpoint, peers->items[i].id, priority,
						      &counters);
			if (r == -ENOENT || r == -ENOTCONN)
				continue;
			if (r < 0)
				return complain_named(what, POPCORN_ERROR_FAILED,
						      "the counters of %s: %s",
						      peers->items[i].name, strerror(-r));
			counters.priority = priority;
			*reader = counters;
			json_append(rows, counters_json(&peers->items[i], &counters));
		}
	}
	return EXIT_DONE;
}

static int show_stats(struct popcorn *popcorn, struct popcorn_endpoint *endpoint, const char *what,
		      const struct arguments *arguments)
{
	const char *name = arguments->n_names ? arguments->names[0] : NULL;
	_cleanup_(json_freep) struct json *rows = json_new_array();
	_cleanup_(peers_done) struct peers peers = { 0 };
	struct popcorn_msg_counters reader;
	int code;

	/* Anew each time: kernels come and go. */
	code = find_peers(popcorn, what, name, false, &peers);
	if (!code)
		code = read_stats(endpoint, what, &peers, rows, &reader);
	if (code)
		return code;
	if (arguments->json) {
		json_print(rows, arguments->watch_usec ? JSON_SHORT : arguments->json, stdout);
		return EXIT_DONE;
	}
	if (!rows->n) {
		if (!arguments->quiet)
			printf("No messages yet%s%s.\n", name ? " with " : "", name ? name : "");
		return EXIT_DONE;
	}
	table_print(rows, stats_columns, sizeof(stats_columns) / sizeof(stats_columns[0]),
		    arguments->legend);
	if (!arguments->legend || arguments->quiet)
		return EXIT_DONE;
	printf("\nThe primary found messages by %" PRIu64 " interrupts and, without one, %" PRIu64
	       " times by looking.\n",
	       (uint64_t)reader.reader_interrupts, (uint64_t)reader.reader_polls);
	for (size_t i = 0; name && i < rows->n; i++)
		print_latency(rows->items[i]);
	return EXIT_DONE;
}

int verb_stats(struct popcorn *popcorn, const struct arguments *arguments)
{
	const char *name = arguments->n_names ? arguments->names[0] : NULL;
	_cleanup_free_ char *what = xasprintf("stats%s%s", name ? " " : "", name ? name : "");
	_cleanup_(endpoint_closep) struct popcorn_endpoint *endpoint = NULL;
	_cleanup_close_ int signal_fd = -1;
	int code;

	code = open_endpoint(what, &endpoint);
	if (code || !arguments->watch_usec)
		return code ? code : show_stats(popcorn, endpoint, what, arguments);
	signal_fd = open_signals();
	do {
		if (isatty(STDOUT_FILENO) && !arguments->json)
			fputs("\033[H\033[2J", stdout);
		code = show_stats(popcorn, endpoint, what, arguments);
		/* One by one, also into a pipe. */
		if (fflush(stdout))
			break;
	} while (!code && wait_or_signal(signal_fd, arguments->watch_usec) == 0);
	return code;
}
