// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How long a plan takes: one kernel per core on machines of 64 to 4096 CPUs (64 on each node), beside what
 * hwloc needs to make the same topology, by turns. Instructions are counted by callgrind, if it is there:
 * they show the growth without the noise of other work. The memory is that of a process that does
 * nothing else than load, plan and print.
 */
#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "planner.h"
#include "topology.h"
#include "util.h"

#define ROUNDS 101
/* hwloc is asked in every fifth round: it takes long. */
#define LOADS ((ROUNDS + 4) / 5)
#define CPUS_PER_NODE 64

static const unsigned sizes[] = { 64, 128, 256, 512, 1024, 2048, 4096 };
static const char policy_text[] = "groups = ( { name = \"cpu{cpu}\"; per = \"core\"; } );";

struct figure {
	double p50, p99, hwloc; /* µs */
	uint64_t instructions;
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench-plan: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double percentile(double *values, size_t n, double p)
{
	qsort(values, n, sizeof(*values), compare);
	return values[(size_t)((double)(n - 1) * p / 100 + 0.5)];
}

static void describe(unsigned n_cpus, char buf[64])
{
	snprintf(buf, 64, "numa:%u(memory=16GiB) core:%u pu:1", n_cpus / CPUS_PER_NODE,
		 CPUS_PER_NODE);
}

static struct machine *load(unsigned n_cpus)
{
	struct popcorn_error error = { 0 };
	struct topology *topology;
	struct machine *machine;
	char text[64];

	describe(n_cpus, text);
	must(topology_load_synthetic(text, &topology, &error) == 0, error.text);
	must(machine_new(topology, NULL, &machine, &error) == 0, error.text);
	topology_free(topology);
	/* More than there is room for in this version: the planner's own limits are what is asked. */
	machine->max_kernels = n_cpus;
	return machine;
}

static struct policy *parse(void)
{
	struct popcorn_error error = { 0 };
	struct policy *policy;

	must(policy_parse("per-core.conf", policy_text, strlen(policy_text), &policy, &error) == 0,
	     error.text);
	return policy;
}

static struct plan *make(const struct machine *machine, const struct policy *policy)
{
	const struct plan_input input = {
		.machine = machine,
		.policy = policy,
		.primary_memory = 512 * MIB,
	};
	struct plan_problem *problems;
	struct plan *plan = NULL;
	size_t n;

	must(plan_make(&input, &plan, &problems, &n) == 0, "there is no plan");
	must(plan->n_kernels == machine->n_cpus - 1, "the plan is not one kernel per core");
	return plan;
}

/* hwloc alone, as lstopo would load it. */
static double time_hwloc(unsigned n_cpus)
{
	hwloc_topology_t topology;
	char text[64];
	double start = now();

	describe(n_cpus, text);
	must(hwloc_topology_init(&topology) == 0 &&
		     hwloc_topology_set_synthetic(topology, text) == 0 &&
		     hwloc_topology_load(topology) == 0,
	     "hwloc does not load it");
	hwloc_topology_destroy(topology);
	return now() - start;
}

static struct figure measure(unsigned n_cpus)
{
	struct machine *machine = load(n_cpus);
	struct policy *policy = parse();
	double plans[ROUNDS], loads[LOADS];
	struct figure figure = { 0 };

	for (size_t i = 0; i < ROUNDS; i++) {
		double start = now();
		struct plan *plan = make(machine, policy);

		plans[i] = now() - start;
		plan_free(plan);
		if (i % 5 == 0)
			loads[i / 5] = time_hwloc(n_cpus);
	}
	figure.p50 = percentile(plans, ROUNDS, 50);
	figure.p99 = percentile(plans, ROUNDS, 99);
	figure.hwloc = percentile(loads, LOADS, 50);
	policy_free(policy);
	machine_free(machine);
	return figure;
}

/* All that `popcornctl plan --synthetic … --json` does, once. */
static void once(unsigned n_cpus)
{
	struct machine *machine = load(n_cpus);
	struct policy *policy = parse();
	struct plan *plan = make(machine, policy);
	json_t *json = plan_to_json(plan, false);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	must(text != NULL, "there is no JSON");
	free(text);
	json_decref(json);
	plan_free(plan);
	policy_free(policy);
	machine_free(machine);
}

/* Of a child that does it once; KiB. */
static long measure_memory(unsigned n_cpus)
{
	struct rusage usage;
	int status;
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (pid == 0) {
		once(n_cpus);
		_exit(0);
	}
	must(wait4(pid, &status, 0, &usage) == pid && status == 0, "the child failed");
	return usage.ru_maxrss;
}

static uint64_t count_instructions(const char *self, unsigned n_cpus)
{
	char command[4096], line[256];
	uint64_t n = 0;
	FILE *f;

	snprintf(command, sizeof(command),
		 "valgrind --tool=callgrind --callgrind-out-file=/dev/null "
		 "--toggle-collect=plan_make '%s' %u 2>&1",
		 self, n_cpus);
	f = popen(command, "r");
	must(f != NULL, "popen");
	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, "Collected : ");

		if (at)
			n = strtoull(at + strlen("Collected : "), NULL, 10);
	}
	pclose(f);
	return n;
}

int main(int argc, char *argv[])
{
	struct figure figures[ARRAY_SIZE(sizes)];
	double growth, bound, last;
	long before, memory;
	char self[2048];
	ssize_t length;

	if (argc > 1) {
		once((unsigned)strtoul(argv[1], NULL, 10));
		return 0;
	}
	length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	must(length > 0, "/proc/self/exe");
	self[length] = '\0';
	/* Before anything else has made this process larger than it has to be. */
	before = measure_memory(sizes[0]);
	memory = measure_memory(sizes[ARRAY_SIZE(sizes) - 1]);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		figures[i] = measure(sizes[i]);
		figures[i].instructions = count_instructions(self, sizes[i]);
	}

	printf("%6s %6s %12s %12s %16s %10s %15s %18s\n", "CPUs", "nodes", "p50, ms", "p99, ms",
	       "hwloc p50, ms", "plan/hwloc", "instructions", "per CPU x log2");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		printf("%6u %6u %12.3f %12.3f %16.3f %10.2f %15" PRIu64 " %18.1f\n", sizes[i],
		       sizes[i] / CPUS_PER_NODE, figures[i].p50 / 1e3, figures[i].p99 / 1e3,
		       figures[i].hwloc / 1e3, figures[i].p50 / figures[i].hwloc,
		       figures[i].instructions,
		       (double)figures[i].instructions / (sizes[i] * log2(sizes[i])));
	last = figures[ARRAY_SIZE(sizes) - 1].p50;
	growth = last / figures[0].p50;
	bound = sizes[ARRAY_SIZE(sizes) - 1] * log2(sizes[ARRAY_SIZE(sizes) - 1]) /
		(sizes[0] * log2(sizes[0]));
	printf("from %u to %u CPUs: time x %.0f, instructions x %.0f; n log n is x %.0f\n",
	       sizes[0], sizes[ARRAY_SIZE(sizes) - 1], growth,
	       figures[0].instructions ? (double)figures[ARRAY_SIZE(sizes) - 1].instructions /
						 (double)figures[0].instructions
				       : 0.0,
	       bound);
	printf("peak of a process that loads, plans and prints: %.1f MiB (with %u CPUs %.1f MiB)\n",
	       (double)memory / 1024, sizes[0], (double)before / 1024);

	printf("JSON {\"peak_kib\": %ld, \"growth_time\": %.1f, \"n_log_n\": %.1f, \"sizes\": [",
	       memory, growth, bound);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		printf("%s{\"cpus\": %u, \"p50_us\": %.1f, \"p99_us\": %.1f, \"hwloc_p50_us\": "
		       "%.1f, "
		       "\"ratio_to_hwloc\": %.3f, \"instructions\": %" PRIu64 "}",
		       i ? ", " : "", sizes[i], figures[i].p50, figures[i].p99, figures[i].hwloc,
		       figures[i].p50 / figures[i].hwloc, figures[i].instructions);
	printf("]}\n");
	return 0;
}
