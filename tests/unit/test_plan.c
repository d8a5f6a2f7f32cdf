// SPDX-License-Identifier: GPL-2.0-or-later
/* Named cases, and properties over random machines and policies; see plan-check.h, plan-oracle.h. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "plan-check.h"
#include "plan-oracle.h"
#include "plan-random.h"
#include "planner.h"
#include "run.h"
#include "topology.h"
#include "util.h"

#define GIB (UINT64_C(1) << 30)
/* What popcornd.conf says if it says nothing. */
#define PRIMARY_MEMORY (512 * MIB)

static struct popcorn_error error;

static struct machine *make(struct topology *topology)
{
	struct machine *machine = NULL;

	ck_assert_msg(machine_new(topology, NULL, &machine, &error) == 0, "%s", error.text);
	topology_free(topology);
	return machine;
}

static struct machine *from_file(const char *name)
{
	struct topology *topology = NULL;
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s.xml", getenv("POPCORN_TOPOLOGIES"), name);
	ck_assert_msg(topology_load_xml(path, &topology, &error) == 0, "%s", error.text);
	return make(topology);
}

static struct machine *from_synthetic(const char *description)
{
	struct topology *topology = NULL;

	ck_assert_msg(topology_load_synthetic(description, &topology, &error) == 0, "%s",
		      error.text);
	return make(topology);
}

static struct policy *parse(const char *text)
{
	struct policy *policy = NULL;

	ck_assert_msg(policy_parse("/p.conf", text, strlen(text), &policy, &error) == 0, "%s",
		      error.text);
	return policy;
}

/* A result, and all that it points to. */
struct result {
	struct machine *machine;
	struct policy *policy;
	struct plan_input input;
	struct plan *plan;
	struct plan_problem *problems;
	size_t n;
};

static void run_plan(struct result *r)
{
	int k;

	r->input.machine = r->machine;
	r->input.policy = r->policy;
	r->plan = NULL;
	r->problems = NULL;
	r->n = 0;
	k = plan_make(&r->input, &r->plan, &r->problems, &r->n);
	if (k == 0) {
		const char *what = plan_check(&r->input, r->plan);

		ck_assert_msg(!what, "%s", what);
		return;
	}
	ck_assert_int_eq(k, -EDOM);
	ck_assert_ptr_null(r->plan);
	ck_assert_uint_ge(r->n, 1);
	for (size_t i = 0; i < r->n; i++) {
		unsigned skipped = 0;
		const char *what = problem_check(&r->input, &r->problems[i], &skipped);

		ck_assert_msg(!what, "%s of %s (%s): %s", plan_problem_to_string(r->problems[i].id),
			      r->problems[i].group, r->problems[i].resource, what);
	}
}

static struct result plan_on(struct machine *machine, const char *text)
{
	struct result r = { .machine = machine, .policy = parse(text) };

	r.input.primary_memory = PRIMARY_MEMORY;
	run_plan(&r);
	return r;
}

static void done(struct result *r)
{
	plan_free(r->plan);
	plan_problems_free(r->problems, r->n);
	policy_free(r->policy);
	machine_free(r->machine);
	*r = (struct result){ 0 };
}

static void must_plan(const struct result *r)
{
	ck_assert_msg(r->plan != NULL, "%s of %s: %s: %s; %s; %s",
		      r->problems ? plan_problem_to_string(r->problems[0].id) : "",
		      r->problems ? r->problems[0].group : "",
		      r->problems ? r->problems[0].resource : "",
		      r->problems ? r->problems[0].asked : "",
		      r->problems ? r->problems[0].available : "",
		      r->problems ? r->problems[0].suggestion : "");
}

/* The only problem is this one, with this suggestion (NULL: none that is one key). */
static void must_fail(const struct result *r, enum plan_problem_id id, const char *resource,
		      const char *key, const char *value)
{
	ck_assert_ptr_null(r->plan);
	ck_assert_msg(r->n == 1 && r->problems[0].id == id, "%zu problems, the first %s: %s", r->n,
		      plan_problem_to_string(r->problems[0].id), r->problems[0].resource);
	ck_assert_str_eq(r->problems[0].resource, resource);
	ck_assert_pstr_eq(r->problems[0].suggest_key, key);
	ck_assert_pstr_eq(r->problems[0].suggest_value, value);
}

static const char *cpus_of(const struct plan *plan, const char *name)
{
	static char text[256];
	const struct plan_kernel *kernel = plan_find(plan, name);
	hwloc_bitmap_t set = hwloc_bitmap_alloc();

	ck_assert_msg(kernel != NULL, "no kernel %s", name);
	for (size_t i = 0; i < kernel->n_cpus; i++)
		hwloc_bitmap_set(set, kernel->cpus[i]);
	hwloc_bitmap_list_snprintf(text, sizeof(text), set);
	hwloc_bitmap_free(set);
	return text;
}

/* "node:MiB node:MiB", nodes by Linux's numbers. */
static const char *memory_of(const struct plan *plan, const char *name)
{
	static char text[256];
	const struct plan_kernel *kernel = plan_find(plan, name);
	size_t n = 0;

	ck_assert_msg(kernel != NULL, "no kernel %s", name);
	text[0] = '\0';
	for (size_t i = 0; i < kernel->n_memory; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%" PRIu32 ":%" PRIu64,
				      i ? " " : "",
				      plan->machine->domains[LEVEL_NODE][kernel->memory[i].node].os,
				      kernel->memory[i].bytes / MIB);
	return text;
}

static bool has_note(const struct plan *plan, const char *part)
{
	for (size_t i = 0; i < plan->n_notes; i++)
		if (strstr(plan->notes[i].text, part))
			return true;
	return false;
}

static char *dump(const struct plan *plan)
{
	json_t *json = plan_to_json(plan, true);
	char *text = json_dumps(json, 0);

	ck_assert_ptr_nonnull(text);
	json_decref(json);
	return text;
}

/* The shipped policy NAME. */
static char *shipped(const char *name)
{
	char path[4096];
	void *text;
	size_t size;

	snprintf(path, sizeof(path), "%s/%s.conf", getenv("POPCORN_POLICIES"), name);
	ck_assert_int_eq(read_file(path, POLICY_SIZE_MAX, &text, &size), 0);
	return text;
}

static struct result plan_shipped(struct machine *machine, const char *name)
{
	char *text = shipped(name);
	struct result r = plan_on(machine, text);

	free(text);
	return r;
}

/* 2 packages, each a node with 16 GiB, 2 L3 caches and 8 cores with two threads. */
#define EXAMPLE "package:2 [numa(memory=16GiB)] l3:2 core:4 pu:2"

START_TEST(test_48_cores)
{
	struct result r = plan_shipped(from_file("48amd64-4pa2n6c-sparse"), "per-core");
	char name[16];

	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 47);
	ck_assert_uint_eq(r.plan->n_primary_cpus, 1);
	ck_assert_uint_eq(r.plan->primary_cpus[0], 0);
	for (size_t i = 0; i < 47; i++) {
		const struct plan_kernel *kernel = &r.plan->kernels[i];
		uint32_t cpu = machine_find_cpu(r.machine, kernel->cpus[0]);

		ck_assert_uint_eq(kernel->n_cpus, 1);
		ck_assert_uint_eq(kernel->n_memory, 1);
		ck_assert_uint_eq(kernel->memory[0].node, r.machine->cpus[cpu].in[LEVEL_NODE]);
		snprintf(name, sizeof(name), "cpu%" PRIu32, kernel->cpus[0]);
		ck_assert_str_eq(kernel->name, name);
	}
	done(&r);

	r = plan_shipped(from_file("48amd64-4pa2n6c-sparse"), "per-node");
	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 7);
	ck_assert_uint_eq(r.plan->n_primary_cpus, 6);
	for (size_t i = 0; i < 7; i++) {
		const struct plan_kernel *kernel = &r.plan->kernels[i];

		ck_assert_uint_eq(kernel->n_cpus, 6);
		ck_assert_uint_eq(kernel->n_memory, 1);
		ck_assert_uint_eq(kernel->memory[0].node, i + 1);
		ck_assert_uint_eq(kernel->bytes, r.machine->nodes[i + 1].takeable);
	}
	/* Nodes by their numbers, which are far apart on this machine. */
	ck_assert_str_eq(r.plan->kernels[2].name, "node33");
	done(&r);
}
END_TEST

START_TEST(test_hybrid)
{
	struct result r =
		plan_shipped(from_file("20em64t-hybrid-1p6c2t+2ca4co1t"), "efficiency-cores");

	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 1);
	ck_assert_str_eq(cpus_of(r.plan, "efficiency"), "12-19");
	ck_assert_uint_eq(r.plan->n_primary_cpus, 12);
	done(&r);
	r = plan_on(from_file("20em64t-hybrid-1p6c2t+2ca4co1t"),
		    "groups = ( { name = \"{kind}\"; per = \"kind\"; leftover = \"kernel\"; } );");
	must_plan(&r);
	ck_assert_str_eq(cpus_of(r.plan, "performance"), "2-11");
	ck_assert_str_eq(cpus_of(r.plan, "efficiency"), "12-19");
	/* 5 of 14 cores, 8 of 14: cores count, not threads. */
	ck_assert_uint_lt(plan_find(r.plan, "performance")->bytes,
			  plan_find(r.plan, "efficiency")->bytes);
	done(&r);
	r = plan_shipped(from_file("48amd64-4pa2n6c-sparse"), "efficiency-cores");
	must_fail(&r, PROBLEM_NO_LEVEL, "cores of the kind \"efficiency\"", NULL, NULL);
	done(&r);
}
END_TEST

START_TEST(test_lying_firmware)
{
	struct result r = plan_shipped(from_file("8em64t-2s2ca2c-buggynuma"), "per-core");

	/* What is odd about the machine is said with every plan for it. */
	if (r.plan)
		for (size_t i = 0; i < r.machine->n_warnings; i++)
			ck_assert(has_note(r.plan, r.machine->warnings[i]));
	ck_assert_uint_ge(r.machine->n_warnings, 1);
	must_plan(&r);
	done(&r);
}
END_TEST

START_TEST(test_small_machines)
{
	struct result r = plan_on(from_synthetic("numa:1(memory=4GiB) core:1 pu:1"),
				  "groups = ( { name = \"a\"; per = \"core\"; } );");

	must_fail(&r, PROBLEM_NO_CPUS, "cores", NULL, NULL);
	ck_assert_str_eq(r.problems[0].owner, "the primary keeps 1 CPUs");
	done(&r);
	/* Without groups there is nothing to want, and all stays where it is. */
	r = (struct result){ .machine = from_synthetic("numa:1(memory=4GiB) core:4 pu:1"),
			     .policy = parse("groups = ( { name = \"a\"; cores = 1; } );") };
	r.policy->n_groups = 0;
	run_plan(&r);
	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 0);
	ck_assert_uint_eq(r.plan->n_primary_cpus, 4);
	ck_assert(has_note(r.plan, "no groups"));
	r.policy->n_groups = 1;
	done(&r);
}
END_TEST

START_TEST(test_division)
{
	struct result r = plan_on(from_synthetic(EXAMPLE),
				  "groups = ( { name = \"a\"; cores = 3; inside = \"l3\"; } );");

	/* 3 free cores in the first L3, 4 in the others: one each, and one core left in three. */
	must_fail(&r, PROBLEM_LEFTOVER, "CPUs 14-15,22-23,30-31", "leftover", "primary");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; cores = 3; inside = \"l3\";"
		    " leftover = \"kernel\"; } );");
	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 7);
	ck_assert_str_eq(cpus_of(r.plan, "a2"), "14-15");
	done(&r);
	/* Near each other before side by side: no kernel of 2 over a border that it can avoid. */
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; cores = 2; count = 7; } );");
	must_plan(&r);
	for (size_t i = 0; i < r.plan->n_kernels; i++) {
		struct plan_view view;

		plan_kernel_view(r.plan, &r.plan->kernels[i], &view);
		ck_assert_uint_eq(view.l3s, 1);
		ck_assert_uint_eq(view.cores, 2);
		ck_assert_uint_eq(view.split_cores, 0);
		ck_assert_uint_eq(view.distance_max, 10);
		ck_assert_uint_eq(view.distance_mean_x10, 100);
		ck_assert_uint_eq(view.local_bytes, r.plan->kernels[i].bytes);
	}
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; cores = 2; count = 8; inside = \"l3\"; } );");
	must_fail(&r, PROBLEM_NO_CPUS, "cores", "count", "7");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; cores = 9; count = 1; inside = \"node\"; } );");
	must_fail(&r, PROBLEM_NO_CPUS, "cores", "cores", "8");
	done(&r);
	/* 15 cores by 4. */
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a\"; count = 4; } );");
	must_fail(&r, PROBLEM_LEFTOVER, "CPUs 14-15,22-23,30-31", "leftover", "spread");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; count = 4; leftover = \"spread\"; } );");
	must_plan(&r);
	ck_assert_str_eq(cpus_of(r.plan, "a0"), "2-7");
	ck_assert_str_eq(cpus_of(r.plan, "a3"), "24-31");
	ck_assert_uint_eq(r.plan->n_primary_cpus, 2);
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a\"; count = 16; } );");
	must_fail(&r, PROBLEM_NO_CPUS, "cores", "count", "15");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"t{cpu}\"; per = \"thread\";"
					     " smt = \"apart\"; } );");
	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 30);
	done(&r);
	/* A part of a node is somebody's. */
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"n{node}\"; per = \"node\"; } );");
	must_fail(&r, PROBLEM_LEFTOVER, "CPUs 2-15", "leftover", "primary");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"n{node}\"; per = \"node\";"
					     " leftover = \"primary\"; } );");
	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 1);
	ck_assert(has_note(r.plan, "no whole kernel of group 'n{node}' can be made of CPUs 2-15"));
	done(&r);
	r = plan_on(from_synthetic("numa:2(memory=4GiB) core:4 pu:1"),
		    "groups = ( { name = \"a\"; per = \"l3\"; } );");
	must_fail(&r, PROBLEM_NO_LEVEL, "l3", "per", "node");
	done(&r);
	r = plan_on(from_synthetic("numa:2(memory=4GiB) core:4 pu:1"),
		    "primary = { keep = \"l3\"; }; groups = ( { name = \"a\"; cores = 1; } );");
	must_fail(&r, PROBLEM_NO_LEVEL, "l3", "keep", "node");
	done(&r);
}
END_TEST

START_TEST(test_lists)
{
	struct result r = plan_on(from_synthetic(EXAMPLE),
				  "groups = ( { name = \"rest\"; count = 1; },"
				  " { name = \"l\"; cpus = ( \"16-19\", \"2-3\" ); } );");

	must_plan(&r);
	ck_assert_str_eq(cpus_of(r.plan, "l0"), "16-19");
	ck_assert_str_eq(cpus_of(r.plan, "l1"), "2-3");
	ck_assert_str_eq(cpus_of(r.plan, "rest"), "4-15,20-31");
	ck_assert_str_eq(r.plan->kernels[0].name, "rest");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"l\"; cpus = \"2\"; } );");
	must_fail(&r, PROBLEM_SMT_SPLIT, "CPU 2", "smt", "apart");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"l\"; cpus = ( \"2\", \"3\" ); smt = \"apart\"; } );");
	must_plan(&r);
	ck_assert_str_eq(cpus_of(r.plan, "l1"), "3");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"l\"; cpus = ( \"2\", \"3\" ); } );");
	ck_assert_uint_eq(r.n, 2);
	ck_assert_int_eq(r.problems[1].id, PROBLEM_SMT_SPLIT);
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"l\"; cpus = \"0-3\"; } );");
	must_fail(&r, PROBLEM_CPU_KEPT, "CPUs 0-1", NULL, NULL);
	ck_assert_str_eq(r.problems[0].owner, "the primary");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"l\"; cpus = \"30-33\"; } );");
	must_fail(&r, PROBLEM_CPU_UNKNOWN, "CPUs 32-33", NULL, NULL);
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a\"; cpus = \"2-5\"; },"
					     " { name = \"b\"; cpus = \"4-7\"; } );");
	ck_assert_int_eq(r.problems[0].id, PROBLEM_CPU_TAKEN);
	ck_assert_str_eq(r.problems[0].resource, "CPUs 4-5");
	ck_assert_str_eq(r.problems[0].owner, "group a");
	ck_assert_str_eq(r.problems[0].group, "b");
	done(&r);
}
END_TEST

START_TEST(test_within)
{
	struct result r = plan_on(
		from_synthetic(EXAMPLE),
		"groups = ( { name = \"a\"; per = \"core\"; within = { cpus = \"2-6\"; }; } );");

	must_fail(&r, PROBLEM_SMT_SPLIT, "CPU 6", "within.cpus", "2-7");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a\"; per = \"node\"; within = "
					     "{ cpus = \"2-7,20-21\"; }; } );");
	must_plan(&r);
	ck_assert_str_eq(cpus_of(r.plan, "a0"), "2-7");
	ck_assert_str_eq(cpus_of(r.plan, "a1"), "20-21");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; count = 1; within = { nodes = \"1-2\"; }; } );");
	must_fail(&r, PROBLEM_CPU_UNKNOWN, "nodes 2", "within.nodes", "1");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; count = 1; within = { packages = \"7\"; }; } );");
	ck_assert_int_eq(r.problems[0].id, PROBLEM_CPU_UNKNOWN);
	ck_assert_ptr_null(r.problems[0].suggest_key);
	done(&r);
	r = plan_on(from_file("20em64t-hybrid-1p6c2t+2ca4co1t"),
		    "groups = ( { name = \"a\"; count = 1; within = { kind = \"slow\"; }; } );");
	must_fail(&r, PROBLEM_CPU_UNKNOWN, "cores of the kind \"slow\"", "within.kind",
		  "efficiency");
	done(&r);
}
END_TEST

START_TEST(test_primary)
{
	struct result r =
		plan_on(from_synthetic(EXAMPLE), "primary = { cpus = \"17\"; keep = \"l3\"; };"
						 "groups = ( { name = \"a\"; per = \"l3\"; } );");
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	struct plan_memory memory = { 1, 4 * GIB };
	struct plan_used used = { "other", set, &memory, 1 };

	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 2);
	ck_assert_str_eq(cpus_of(r.plan, "a0"), "8-15");
	ck_assert_str_eq(cpus_of(r.plan, "a1"), "24-31");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "primary = { cores = 3; };"
					     "groups = ( { name = \"a\"; count = 1; } );");
	must_plan(&r);
	ck_assert_str_eq(cpus_of(r.plan, "a"), "6-31");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "primary = { cores = 17; };"
					     "groups = ( { name = \"a\"; count = 1; } );");
	ck_assert_int_eq(r.problems[0].id, PROBLEM_NO_CPUS);
	ck_assert_str_eq(r.problems[0].group, "primary");
	ck_assert_str_eq(r.problems[0].suggest_value, "16");
	done(&r);

	/* Kernels of others, and what popcornd.conf keeps. */
	hwloc_bitmap_set_range(set, 16, 17);
	r = (struct result){ .machine = from_synthetic(EXAMPLE),
			     .policy = parse("groups = ( { name = \"a\"; per = \"core\"; } );"),
			     .input = { .used = &used, .n_used = 1 } };
	run_plan(&r);
	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 14);
	/* Of 16 GiB, 7 kernels get 1/8 each in proportion, of 12 GiB that are left. */
	ck_assert_uint_eq(r.plan->kernels[13].bytes, (12 * GIB) / 7 / (128 * MIB) * (128 * MIB));
	ck_assert(has_note(r.plan, "less is left than the kernels' part"));
	done(&r);
	r = (struct result){ .machine = from_synthetic(EXAMPLE),
			     .policy = parse("groups = ( { name = \"a\"; cpus = \"16-19\"; } );"),
			     .input = { .used = &used, .n_used = 1, .primary_cpus = set } };
	run_plan(&r);
	ck_assert_int_eq(r.problems[0].id, PROBLEM_CPU_TAKEN);
	ck_assert_str_eq(r.problems[0].owner, "kernel other");
	done(&r);
	r = (struct result){ .machine = from_synthetic(EXAMPLE),
			     .policy = parse("groups = ( { name = \"a\"; cpus = \"16-19\"; } );"),
			     .input = { .primary_cpus = set } };
	run_plan(&r);
	must_fail(&r, PROBLEM_CPU_KEPT, "CPUs 16-17", NULL, NULL);
	done(&r);
	r = (struct result){ .machine = from_synthetic(EXAMPLE),
			     .policy = parse("primary = { cpus = \"16-20\"; };"
					     "groups = ( { name = \"other\"; cores = 1; } );"),
			     .input = { .used = &used, .n_used = 1 } };
	run_plan(&r);
	must_fail(&r, PROBLEM_CPU_TAKEN, "CPUs 16-17", NULL, NULL);
	ck_assert_str_eq(r.problems[0].group, "primary");
	done(&r);
	hwloc_bitmap_free(set);
}
END_TEST

START_TEST(test_memory)
{
	/* Node 0 can give 127 blocks of 128 MiB: one stays with the boot CPU. */
	struct result r =
		plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a\"; per = \"core\"; } );");

	must_plan(&r);
	ck_assert_str_eq(memory_of(r.plan, "a0"), "0:1920"); /* 127 / 8 blocks, down */
	ck_assert_str_eq(memory_of(r.plan, "a14"), "1:2048");
	ck_assert(has_note(r.plan, "is rounded down to multiples of 128 MiB; 784 MiB in all"));
	done(&r);
	/* Over two nodes: 3 and 8 cores of 11. */
	r = plan_on(from_synthetic(EXAMPLE),
		    "primary = { cores = 5; }; groups = ( { name = \"a\"; count = 1;"
		    " memory = \"1408M\"; } );");
	must_plan(&r);
	ck_assert_str_eq(memory_of(r.plan, "a"), "0:384 1:1024");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; count = 1; cores = 2; memory = \"1000M\"; } );");
	must_fail(&r, PROBLEM_MEMORY_ALIGN, "memory", "memory", "1G");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a\"; count = 1; cores = 2;"
					     " memory = \"1000M\"; align = \"2M\"; } );");
	must_plan(&r);
	ck_assert_str_eq(memory_of(r.plan, "a"), "0:1000");
	ck_assert(has_note(r.plan, "no whole number of blocks"));
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; count = 1; cores = 2; memory = \"20G\"; } );");
	must_fail(&r, PROBLEM_NO_MEMORY, "memory of node 0", "memory_from", "any");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a\"; count = 1; cores = 2;"
					     " memory = \"20G\"; memory_from = \"any\"; } );");
	must_plan(&r);
	/* 16 GiB, less the block at the boot CPU, less what is missing to 512 MiB. */
	ck_assert_str_eq(memory_of(r.plan, "a"), "0:15872 1:4608");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a\"; count = 1; cores = 2;"
					     " memory = \"40G\"; memory_from = \"any\"; } );");
	must_fail(&r, PROBLEM_NO_MEMORY, "memory", "memory", "32256M");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; count = 1; cores = 2; memory = \"20G\";"
		    " memory_from = \"interleave\"; } );");
	must_plan(&r);
	ck_assert_str_eq(memory_of(r.plan, "a"), "0:10240 1:10240");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; count = 1; cores = 2; memory = \"20G\";"
		    " memory_from = \"interleave\"; memory_nodes = \"1\"; } );");
	must_fail(&r, PROBLEM_NO_MEMORY, "memory of node 1", "memory", "16G");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; count = 1; cores = 2; memory = \"4G\";"
		    " memory_from = \"interleave\"; memory_nodes = \"1,5\"; } );");
	must_fail(&r, PROBLEM_CPU_UNKNOWN, "nodes 5", "memory_nodes", "1");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; count = 1; cores = 2; memory = \"32M\"; align = "
		    "\"2M\"; } );");
	must_fail(&r, PROBLEM_NO_MEMORY, "memory", "memory", "64M");
	done(&r);
	/* The primary's minimum spills over to the other node. */
	r = plan_on(from_synthetic(EXAMPLE), "primary = { memory = \"20G\"; };"
					     "groups = ( { name = \"a\"; per = \"core\"; within = "
					     "{ nodes = \"1\"; }; } );");
	must_plan(&r);
	ck_assert_uint_eq(r.plan->kernels[0].bytes, 12 * GIB / 8);
	ck_assert(has_note(r.plan, "memory of node 1: the primary keeps some of it"));
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "primary = { memory = \"33G\"; };"
					     "groups = ( { name = \"a\"; per = \"core\"; } );");
	ck_assert_int_eq(r.problems[0].id, PROBLEM_NO_MEMORY);
	ck_assert_str_eq(r.problems[0].group, "primary");
	done(&r);
}
END_TEST

START_TEST(test_equal_memory)
{
	/* The poorest decides: 7 kernels have 124 blocks of node 0, 8 have 128 of node 1. */
	struct result r =
		plan_on(from_synthetic(EXAMPLE),
			"groups = ( { name = \"a\"; per = \"core\"; memory = \"equal\"; } );");

	must_plan(&r);
	for (size_t i = 0; i < 15; i++)
		ck_assert_uint_eq(r.plan->kernels[i].bytes, 2 * GIB);
	done(&r);
	/* Aligns of 128 MiB and 384 MiB: a common multiple. b: 16 GiB / 8 = 2 GiB at most. */
	r = plan_on(from_synthetic(EXAMPLE),
		    "default = { memory = \"equal\"; };"
		    "groups = ( { name = \"a\"; count = 1; within = { nodes = \"0\"; }; },"
		    " { name = \"b\"; per = \"core\"; within = { nodes = \"1\"; }; align = "
		    "\"384M\"; } );");
	must_plan(&r);
	for (size_t i = 0; i < r.plan->n_kernels; i++)
		ck_assert_uint_eq(r.plan->kernels[i].bytes, 5 * 384 * MIB);
	done(&r);
	/* One from its own node only, one from both, one from wherever: 15.5 + 16 GiB. */
	r = plan_on(from_synthetic(EXAMPLE),
		    "default = { memory = \"equal\"; count = 1; cores = 2; };"
		    "groups = ( { name = \"a\"; }, { name = \"b\"; memory_from = \"interleave\"; },"
		    " { name = \"c\"; memory_from = \"any\"; } );");
	must_plan(&r);
	/* Node 0 has 15872 MiB left for a and half of b; b's size is a multiple of 2 x 128 MiB. */
	ck_assert_str_eq(memory_of(r.plan, "a"), "0:10496");
	ck_assert_str_eq(memory_of(r.plan, "b"), "0:5248 1:5248");
	ck_assert_str_eq(memory_of(r.plan, "c"), "0:128 1:10368");
	done(&r);
}
END_TEST

START_TEST(test_odd_memory)
{
	struct result r = { 0 };
	struct plan_kernel *kernel;

	/* A machine of which nobody knows where CPU 3 is, with a node that has memory only. */
	r.machine = zeroed(1, sizeof(*r.machine));
	r.machine->name = print("odd");
	r.machine->block_size = 128 * MIB;
	r.machine->max_kernels = 8;
	r.machine->n_cpus = 4;
	r.machine->cpus = zeroed(4, sizeof(*r.machine->cpus));
	for (int level = 0; level < N_LEVELS; level++)
		r.machine->domains[level] = zeroed(8, sizeof(**r.machine->domains));
	for (uint32_t i = 0; i < 4; i++)
		r.machine->cpus[i] = (struct machine_cpu){
			.os = 10 * i,
			.apicid = i,
			.in = { UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN },
			.kind = UNKNOWN,
		};
	for (uint32_t i = 0; i < 3; i++)
		put_domain(r.machine, LEVEL_CORE, i, i, 1);
	put_domain(r.machine, LEVEL_NODE, 4, 0, 1);
	put_domain(r.machine, LEVEL_NODE, 9, 0, 0);
	put_domain(r.machine, LEVEL_MACHINE, UNKNOWN, 0, 4);
	r.machine->nodes = zeroed(2, sizeof(*r.machine->nodes));
	for (size_t i = 0; i < 2; i++)
		r.machine->nodes[i] = (struct machine_node){ GIB, GIB };
	finish_machine(r.machine);
	/* CPUs 10 and 20 are on no node. */
	r.policy = parse("groups = ( { name = \"a\"; per = \"core\"; } );");
	run_plan(&r);
	must_fail(&r, PROBLEM_NO_MEMORY, "memory of node 4", "memory_from", "any");
	plan_problems_free(r.problems, r.n);
	policy_free(r.policy);
	r.policy = parse("groups = ( { name = \"a\"; per = \"core\"; memory_from = \"any\"; } );");
	run_plan(&r);
	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 2);
	ck_assert(has_note(r.plan, "nobody knows to which cores CPU 30 belong"));
	/* A quarter of 2 GiB each. */
	ck_assert_uint_eq(r.plan->kernels[0].bytes, 512 * MIB);
	plan_free(r.plan);
	policy_free(r.policy);
	r.policy = parse("groups = ( { name = \"a\"; cpus = \"30\"; } );");
	run_plan(&r);
	ck_assert_int_eq(r.problems[0].id, PROBLEM_SMT_SPLIT);
	plan_problems_free(r.problems, r.n);
	policy_free(r.policy);
	r.policy =
		parse("groups = ( { name = \"a\"; cpus = \"30\"; smt = \"apart\"; memory = \"1G\";"
		      " memory_from = \"any\"; } );");
	run_plan(&r);
	must_plan(&r);
	kernel = &r.plan->kernels[0];
	ck_assert_uint_eq(kernel->cpus[0], 30);
	ck_assert_uint_eq(kernel->bytes, GIB);
	plan_free(r.plan);
	policy_free(r.policy);
	/* Offline, and forbidden. */
	r.machine->cpus[1].state = CPU_OFFLINE;
	r.machine->cpus[2].state = CPU_NOT_ALLOWED;
	r.policy = parse("groups = ( { name = \"a\"; cpus = ( \"10\", \"20\" ); } );");
	run_plan(&r);
	ck_assert_uint_eq(r.n, 2);
	ck_assert_int_eq(r.problems[0].id, PROBLEM_CPU_UNUSABLE);
	ck_assert_str_eq(r.problems[0].available, "CPU 10: offline");
	ck_assert_int_eq(r.problems[1].id, PROBLEM_CPU_UNUSABLE);
	ck_assert_ptr_nonnull(strstr(r.problems[1].owner, "control group"));
	done(&r);
	/* Blocks larger than what a kernel can have. */
	r = plan_on(from_synthetic("numa:2(memory=40GiB) core:32 pu:1"),
		    "groups = ( { name = \"a\"; per = \"core\"; } );");
	must_plan(&r);
	ck_assert_uint_eq(r.machine->block_size, 2 * GIB);
	ck_assert_str_eq(memory_of(r.plan, "a0"), "0:1216"); /* (20 - 1) x 2 GiB / 32 */
	ck_assert_str_eq(memory_of(r.plan, "a62"), "1:1280");
	done(&r);
}
END_TEST

START_TEST(test_names)
{
	struct result r = plan_on(from_synthetic(EXAMPLE),
				  "groups = ( { name = \"c{core}\"; per = \"core\"; } );");

	/* hwloc numbers a synthetic machine's cores through. */
	must_plan(&r);
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"c{node}\"; per = \"core\"; } );");
	ck_assert_int_eq(r.problems[0].id, PROBLEM_NAME_TWICE);
	ck_assert_str_eq(r.problems[0].resource, "the name 'c0'");
	done(&r);
	r = plan_on(from_synthetic("numa:2(memory=4GiB) core:4 pu:1"),
		    "groups = ( { name = \"x{l3}y\"; per = \"core\"; } );");
	must_fail(&r, PROBLEM_NO_LEVEL, "{l3} in the name", "name", "x{n}y");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"{kind}\"; count = 1; } );");
	must_fail(&r, PROBLEM_NO_LEVEL, "{kind} in the name", "name", "{n}");
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE),
		    "groups = ( { name = \"a\"; count = 2; cores = 1; override = ( { name = \"a1\";"
		    " restart = \"on-failure\"; }, { name = \"a2\"; cmdline = \"x\"; } ); } );");
	must_fail(&r, PROBLEM_NAME_TWICE, "the override for 'a2'", NULL, NULL);
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a1\"; count = 1; cores = 1; },"
					     " { name = \"a\"; count = 2; cores = 1; } );");
	ck_assert_int_eq(r.problems[0].id, PROBLEM_NAME_TWICE);
	done(&r);
	r = (struct result){
		.machine = from_synthetic(EXAMPLE),
		.policy = parse(
			"groups = ( { name = \"a\"; cores = 1; leftover = \"primary\"; } );")
	};
	r.machine->max_kernels = 6;
	run_plan(&r);
	must_fail(&r, PROBLEM_TOO_MANY, "kernels", "count", "6");
	done(&r);
}
END_TEST

static void add_device(struct machine *machine, const char *address, const char *class,
		       const char *group, const char *driver, uint32_t first, uint32_t n)
{
	machine->devices =
		realloc(machine->devices, (machine->n_devices + 1) * sizeof(*machine->devices));
	machine->devices[machine->n_devices++] = (struct machine_device){
		.address = print("%s", address),
		.class = print("%s", class),
		.group = print("%s", group),
		.driver = driver ? print("%s", driver) : NULL,
		.names = print("%s", ""),
		.model = print("%s", ""),
		.first_cpu = first,
		.n_cpus = n,
	};
}

static struct machine *with_devices(void)
{
	struct machine *machine = from_synthetic(EXAMPLE);

	add_device(machine, "0000:00:00.0", "host", "other", NULL, 0, 32);
	add_device(machine, "0000:01:00.0", "ethernet", "network", "igb", 0, 16);
	add_device(machine, "0000:02:00.0", "ethernet", "network", "igb", 16, 16);
	add_device(machine, "0000:03:00.0", "nvmexp", "storage", "nvme", 16, 16);
	add_device(machine, "0000:04:00.0", "nvmexp", "storage", "nvme", 0, 32);
	return machine;
}

/* "1,2": the buses of its devices. */
static const char *devices_of(const struct plan *plan, const char *name)
{
	static char text[64];
	const struct plan_kernel *kernel = plan_find(plan, name);
	size_t n = 0;

	ck_assert_ptr_nonnull(kernel);
	text[0] = '\0';
	for (size_t i = 0; i < kernel->n_devices; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%c", i ? "," : "",
				      plan->machine->devices[kernel->devices[i]].address[6]);
	return text;
}

START_TEST(test_devices)
{
	struct result r = plan_on(
		with_devices(),
		"default = { per = \"node\"; leftover = \"kernel\"; };"
		"groups = ( { name = \"a\"; devices = ( \"network\", \"driver:nvme\" ); } );");

	must_plan(&r);
	ck_assert_str_eq(devices_of(r.plan, "a0"), "1");
	ck_assert_str_eq(devices_of(r.plan, "a1"), "2,3,4");
	done(&r);
	/* By address before by class; near is what nobody names, and never a bridge. */
	r = plan_on(with_devices(),
		    "default = { count = 1; cores = 2; };"
		    "groups = ( { name = \"a\"; devices = ( \"network\" ); },"
		    " { name = \"b\"; within = { nodes = \"1\"; }; devices = \"near\"; },"
		    " { name = \"c\"; devices = \"01:00.0\"; } );");
	must_plan(&r);
	ck_assert_str_eq(devices_of(r.plan, "a"), "2");
	ck_assert_str_eq(devices_of(r.plan, "b"), "3,4");
	ck_assert_str_eq(devices_of(r.plan, "c"), "1");
	done(&r);
	r = plan_on(with_devices(), "default = { count = 1; cores = 2; devices = \"03:00.0\"; };"
				    "groups = ( { name = \"a\"; }, { name = \"b\"; } );");
	must_fail(&r, PROBLEM_DEVICE_TAKEN, "device 0000:03:00.0", NULL, NULL);
	ck_assert_str_eq(r.problems[0].owner, "group a");
	done(&r);
	r = plan_on(with_devices(), "primary = { near = \"network\"; };"
				    "groups = ( { name = \"a\"; count = 1; devices = "
				    "\"network\"; } );");
	/* Both nodes are near to some. */
	ck_assert_int_eq(r.problems[0].id, PROBLEM_NO_CPUS);
	done(&r);
	r = plan_on(with_devices(), "primary = { near = \"01:00.0\"; };"
				    "groups = ( { name = \"a\"; count = 1; devices = "
				    "\"01:00.0\"; } );");
	must_fail(&r, PROBLEM_DEVICE_TAKEN, "device 0000:01:00.0", NULL, NULL);
	ck_assert_str_eq(r.problems[0].owner, "the primary");
	done(&r);
	r = plan_on(with_devices(), "groups = ( { name = \"a\"; count = 1; devices = "
				    "\"05:00.0\"; } );");
	must_fail(&r, PROBLEM_DEVICE_UNKNOWN, "device 0000:05:00.0", NULL, NULL);
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a\"; count = 1; devices = "
					     "\"driver:nvme\"; } );");
	must_fail(&r, PROBLEM_DEVICE_UNKNOWN, "device driver nvme", NULL, NULL);
	done(&r);
	r = plan_shipped(with_devices(), "compute-io");
	ck_assert_int_eq(r.problems[0].id, PROBLEM_NO_CPUS);
	done(&r);
	r.machine = from_synthetic(EXAMPLE);
	add_device(r.machine, "0000:01:00.0", "ethernet", "network", "igb", 16, 16);
	add_device(r.machine, "0000:03:00.0", "nvmexp", "storage", "nvme", 16, 8);
	r = plan_shipped(r.machine, "compute-io");
	/* The devices' node, and the boot CPU's. */
	ck_assert_int_eq(r.problems[0].id, PROBLEM_NO_CPUS);
	done(&r);
	r.machine = from_synthetic("numa:3(memory=16GiB) core:4 pu:2");
	add_device(r.machine, "0000:01:00.0", "ethernet", "network", "igb", 8, 8);
	add_device(r.machine, "0000:03:00.0", "nvmexp", "storage", "nvme", 8, 8);
	r = plan_shipped(r.machine, "compute-io");
	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 1);
	ck_assert_str_eq(cpus_of(r.plan, "compute0"), "16-23");
	done(&r);
	/* A device that is near to all CPUs keeps none of them. */
	r = plan_on(with_devices(), "primary = { near = \"04:00.0\"; };"
				    "groups = ( { name = \"a\"; count = 1; } );");
	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_primary_cpus, 2);
	done(&r);
}
END_TEST

START_TEST(test_order_and_override)
{
	struct result r = plan_on(
		from_synthetic(EXAMPLE),
		"default = { count = 1; cores = 1; cmdline = \"a\"; };"
		"groups = ( { name = \"front\"; after = ( \"app{n}\", \"db\" ); },"
		" { name = \"app{n}\"; count = 2; after = \"db\"; override = ( { name = \"app1\";"
		" cmdline = \"b\"; restart = \"on-failure\"; } ); }, { name = \"db\"; } );");
	json_t *all, *json;

	must_plan(&r);
	ck_assert_uint_eq(plan_find(r.plan, "front")->start, 2);
	ck_assert_uint_eq(plan_find(r.plan, "app0")->start, 1);
	ck_assert_uint_eq(plan_find(r.plan, "db")->start, 0);
	all = plan_to_json(r.plan, false);
	json = json_object_get(all, "kernels");
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(json, 1), "cmdline")),
			 "a");
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(json, 2), "cmdline")),
			 "b");
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(json, 2), "restart")),
			 "on-failure");
	ck_assert(json_is_null(json_object_get(json_array_get(json, 1), "restart")));
	json_decref(all);
	done(&r);
}
END_TEST

START_TEST(test_json)
{
	static const char *const plan_keys[] = { "policy",  "machine",	 "primary",
						 "kernels", "boot_args", "boot_args_sure",
						 "notes" };
	static const char *const kernel_keys[] = { "name",	   "group",   "cpus",  "memory",
						   "memory_nodes", "devices", "start", "image",
						   "initrd",	   "cmdline", "root",  "restart",
						   "network",	   "view" };
	static const char *const view_keys[] = { "cores",	 "split_cores",	  "l3s",
						 "split_l3s",	 "nodes",	  "packages",
						 "distance_max", "distance_mean", "local_bytes" };
	static const char *const problem_keys[] = { "id",	    "line",	  "group",
						    "resource",	    "owner",	  "asked",
						    "available",    "suggestion", "suggest_key",
						    "suggest_value" };
	struct result r =
		plan_on(from_synthetic(EXAMPLE),
			"groups = ( { name = \"a\"; cores = 5; leftover = \"primary\"; } );");
	json_t *json, *kernel, *problem;
	size_t infos = 0;

	must_plan(&r);
	json = plan_to_json(r.plan, true);
	ck_assert_uint_eq(json_object_size(json), ARRAY_SIZE(plan_keys));
	for (size_t i = 0; i < ARRAY_SIZE(plan_keys); i++)
		ck_assert_ptr_nonnull(json_object_get(json, plan_keys[i]));
	kernel = json_array_get(json_object_get(json, "kernels"), 1);
	ck_assert_uint_eq(json_object_size(kernel), ARRAY_SIZE(kernel_keys));
	for (size_t i = 0; i < ARRAY_SIZE(kernel_keys); i++)
		ck_assert_ptr_nonnull(json_object_get(kernel, kernel_keys[i]));
	for (size_t i = 0; i < ARRAY_SIZE(view_keys); i++)
		ck_assert_ptr_nonnull(
			json_object_get(json_object_get(kernel, "view"), view_keys[i]));
	/* Every kernel is explained. */
	for (size_t i = 0; i < json_array_size(json_object_get(json, "notes")); i++)
		infos += strcmp(json_string_value(json_object_get(
					json_array_get(json_object_get(json, "notes"), i), "kind")),
				"info") == 0;
	ck_assert_uint_ge(infos, 3 * r.plan->n_kernels);
	json_decref(json);
	json = plan_to_json(r.plan, false);
	for (size_t i = 0; i < json_array_size(json_object_get(json, "notes")); i++)
		ck_assert_str_eq(
			json_string_value(json_object_get(
				json_array_get(json_object_get(json, "notes"), i), "kind")),
			"warning");
	json_decref(json);
	done(&r);
	r = plan_on(from_synthetic(EXAMPLE), "groups = ( { name = \"a\"; cores = 4; } );");
	ck_assert_ptr_null(r.plan);
	json = plan_problems_to_json(r.policy, r.problems, r.n);
	problem = json_array_get(json_object_get(json, "problems"), 0);
	ck_assert_uint_eq(json_object_size(problem), ARRAY_SIZE(problem_keys));
	for (size_t i = 0; i < ARRAY_SIZE(problem_keys); i++)
		ck_assert_ptr_nonnull(json_object_get(problem, problem_keys[i]));
	ck_assert_str_eq(json_string_value(json_object_get(problem, "id")), "Leftover");
	ck_assert_int_eq(json_integer_value(json_object_get(problem, "line")), 1);
	json_decref(json);
	done(&r);
	for (int id = 0; id <= PROBLEM_TOO_MANY; id++)
		ck_assert_ptr_nonnull(plan_problem_to_string((enum plan_problem_id)id));
}
END_TEST

START_TEST(test_compare)
{
	struct result r =
		plan_on(from_synthetic(EXAMPLE),
			"groups = ( { name = \"a\"; count = 4; cores = 2; memory = \"1G\"; } );");
	struct plan_used running[4] = { 0 };
	hwloc_bitmap_t sets[4];
	struct plan_memory memory = { 0, GIB }, other = { 1, GIB };
	struct plan_diff *diff;
	size_t n;

	must_plan(&r);
	for (size_t i = 0; i < 4; i++)
		sets[i] = hwloc_bitmap_alloc();
	hwloc_bitmap_set_range(sets[0], 8, 11);	 /* a0, as planned */
	hwloc_bitmap_set_range(sets[1], 12, 13); /* a1 with one core */
	hwloc_bitmap_set_range(sets[3], 20, 23); /* a3, with memory of elsewhere */
	running[0] = (struct plan_used){ "a3", sets[3], &memory, 1 };
	running[1] = (struct plan_used){ "z", sets[2], NULL, 0 };
	running[2] = (struct plan_used){ "a0", sets[0], &memory, 1 };
	running[3] = (struct plan_used){ "a1", sets[1], &other, 1 };
	hwloc_bitmap_zero(sets[0]);
	for (size_t i = 0; i < plan_find(r.plan, "a0")->n_cpus; i++)
		hwloc_bitmap_set(sets[0], plan_find(r.plan, "a0")->cpus[i]);
	hwloc_bitmap_zero(sets[3]);
	for (size_t i = 0; i < plan_find(r.plan, "a3")->n_cpus; i++)
		hwloc_bitmap_set(sets[3], plan_find(r.plan, "a3")->cpus[i]);
	memory.node = plan_find(r.plan, "a0")->memory[0].node;
	ck_assert_int_eq(plan_compare(r.plan, running, 4, &diff, &n), 0);
	ck_assert_uint_eq(n, 5);
	ck_assert_int_eq(diff[0].change, PLAN_STOP);
	ck_assert_str_eq(diff[0].name, "z");
	ck_assert_ptr_null(diff[0].kernel);
	ck_assert_int_eq(diff[1].change, PLAN_REPLACE);
	ck_assert_str_eq(diff[1].name, "a1");
	ck_assert_ptr_nonnull(strstr(diff[1].why, "instead of 12-13"));
	ck_assert_int_eq(diff[2].change, PLAN_REPLACE);
	ck_assert_str_eq(diff[2].why, "0 bytes instead of 1 GiB of memory of node 0");
	ck_assert_int_eq(diff[3].change, PLAN_START);
	ck_assert_str_eq(diff[3].name, "a2");
	ck_assert_int_eq(diff[4].change, PLAN_KEEP);
	ck_assert_str_eq(diff[4].why, "");
	ck_assert_ptr_eq(diff[4].kernel, plan_find(r.plan, "a0"));
	plan_diff_free(diff, n);
	for (size_t i = 0; i < 4; i++)
		hwloc_bitmap_free(sets[i]);
	done(&r);
}
END_TEST

static void boot_args(const char *description, const char *policy, int want, const char *text)
{
	struct result r = plan_on(from_synthetic(description), policy);
	char *args;

	must_plan(&r);
	ck_assert_int_eq(plan_boot_args(r.plan, &args), want);
	ck_assert_str_eq(args, text);
	free(args);
	done(&r);
}

START_TEST(test_boot_args)
{
	/* One node of 16 GiB, 4 of them planned: all else but a block may be the kernel's. */
	boot_args("numa:1(memory=16GiB) core:4 pu:1",
		  "groups = ( { name = \"a\"; count = 1; memory = \"4G\"; } );", 0,
		  "kernelcore=12288M");
	/* The second node as a whole: no more than what lies below 4 GiB, 1 GiB at least. */
	boot_args("numa:2(memory=16GiB) core:4 pu:1",
		  "primary = { keep = \"node\"; }; groups = ( { name = \"a\"; per = \"node\"; } );",
		  0, "kernelcore=1024M");
	/* Of both nodes 8 GiB: half of each stays. */
	boot_args("numa:2(memory=16GiB) core:4 pu:1",
		  "groups = ( { name = \"a\"; count = 1; memory = \"16G\";"
		  " memory_from = \"interleave\"; } );",
		  0, "kernelcore=16384M");
	/* More than what is above 4 GiB: not all of it can be made movable. */
	boot_args("numa:1(memory=16GiB) core:4 pu:1",
		  "groups = ( { name = \"a\"; count = 1; memory = \"15G\"; } );", 1,
		  "kernelcore=256M");
	/* Without memory above 4 GiB the border is where it is wanted. */
	boot_args("numa:1(memory=2GiB) core:4 pu:1",
		  "groups = ( { name = \"a\"; count = 1; memory = \"1G\"; } );", 0,
		  "kernelcore=1024M");
}
END_TEST

/* Properties. */

/* Shown when a property does not hold. */
static uint64_t current_seed;

static bool same_problem(const struct plan_problem *a, const struct plan_problem *b)
{
	return a->id == b->id && strcmp(a->group, b->group) == 0 &&
	       strcmp(a->resource, b->resource) == 0;
}

/* Whether the suggestion removes what it is for. */
static void try_suggestion(const struct plan_input *input, const struct plan_problem *problem)
{
	struct policy policy = *input->policy;
	struct plan_input changed = *input;
	struct plan_problem *problems;
	struct plan *plan;
	bool primary = strcmp(problem->group, "primary") == 0;
	size_t n, index = 0;
	int r;

	policy.groups = calloc(policy.n_groups + 1, sizeof(*policy.groups));
	memcpy(policy.groups, input->policy->groups, policy.n_groups * sizeof(*policy.groups));
	if (!primary)
		index = (size_t)(group_named(input->policy, problem->group) -
				 input->policy->groups);
	ck_assert_msg(group_set(&policy.groups[index], primary ? &policy.primary : NULL,
				problem->suggest_key, problem->suggest_value),
		      "'%s = %s' is no key", problem->suggest_key, problem->suggest_value);
	changed.policy = &policy;
	r = plan_make(&changed, &plan, &problems, &n);
	if (r == 0)
		plan_free(plan);
	for (size_t i = 0; r < 0 && i < n; i++)
		/* A changed name is the group's, too. */
		ck_assert_msg(!same_problem(&problems[i], problem) ||
				      strcmp(problem->suggest_key, "name") == 0,
			      "seed %" PRIu64 ": %s of %s (%s): %s = %s does not help",
			      current_seed, plan_problem_to_string(problem->id), problem->group,
			      problem->resource, problem->suggest_key, problem->suggest_value);
	if (r < 0)
		plan_problems_free(problems, n);
	group_unset(&policy.groups[index], &input->policy->groups[index]);
	free(policy.groups);
}

/* What plan_make() says, as a text. */
static char *say(const struct plan_input *input)
{
	struct plan_problem *problems = NULL;
	struct plan *plan = NULL;
	char *text;
	size_t n;
	json_t *json;

	if (plan_make(input, &plan, &problems, &n) == 0) {
		text = dump(plan);
		plan_free(plan);
		return text;
	}
	json = plan_problems_to_json(input->policy, problems, n);
	text = json_dumps(json, 0);
	json_decref(json);
	plan_problems_free(problems, n);
	return text;
}

/* The same again, on a heap with another history, full of other garbage. */
static void check_repeatable(const struct plan_input *input)
{
	char *first, *second, *holes[64];

	mallopt(M_PERTURB, 0x55);
	first = say(input);
	for (size_t i = 0; i < ARRAY_SIZE(holes); i++)
		holes[i] = malloc(16 + 977 * i % 4096);
	for (size_t i = 0; i < ARRAY_SIZE(holes); i += 2)
		free(holes[i]);
	mallopt(M_PERTURB, 0xaa);
	second = say(input);
	for (size_t i = 1; i < ARRAY_SIZE(holes); i += 2)
		free(holes[i]);
	ck_assert_msg(strcmp(first, second) == 0, "seed %" PRIu64 ": not the same twice: %s\n%s",
		      current_seed, first, second);
	free(first);
	free(second);
}

struct tally {
	unsigned plans, refused, problems, skipped, suggestions, ids[PROBLEM_TOO_MANY + 1];
};

static void one_case(struct plan_input *input, struct tally *tally)
{
	struct plan_problem *problems = NULL;
	struct plan *plan = NULL;
	const char *what;
	size_t n = 0;
	int r;

	r = plan_make(input, &plan, &problems, &n);
	ck_assert(r == 0 || r == -EDOM);
	if (r == 0) {
		what = plan_check(input, plan);
		ck_assert_msg(!what, "seed %" PRIu64 ": %s", current_seed, what);
		plan_free(plan);
		tally->plans++;
		check_repeatable(input);
		return;
	}
	ck_assert(n >= 1 && n <= PLAN_PROBLEMS_MAX);
	tally->refused++;
	for (size_t i = 0; i < n; i++) {
		what = problem_check(input, &problems[i], &tally->skipped);
		ck_assert_msg(!what, "seed %" PRIu64 ": %s of %s (%s; %s; %s): %s", current_seed,
			      plan_problem_to_string(problems[i].id), problems[i].group,
			      problems[i].resource, problems[i].asked, problems[i].available, what);
		tally->problems++;
		tally->ids[problems[i].id]++;
		if (problems[i].suggest_key) {
			tally->suggestions++;
			try_suggestion(input, &problems[i]);
		}
	}
	plan_problems_free(problems, n);
	check_repeatable(input);
}

static void show(const char *what, const struct tally *tally)
{
	printf("%s: %u plans, %u refused, %u problems (%u not judged), %u suggestions tried:", what,
	       tally->plans, tally->refused, tally->problems, tally->skipped, tally->suggestions);
	for (int i = 0; i <= PROBLEM_TOO_MANY; i++)
		printf(" %s %u", plan_problem_to_string((enum plan_problem_id)i), tally->ids[i]);
	printf("\n");
}

/* POPCORN_SEED=N: only this case. */
static bool is_wanted(uint64_t seed)
{
	const char *only = getenv("POPCORN_SEED");

	return !only || strtoull(only, NULL, 10) == seed;
}

START_TEST(test_random)
{
	struct tally tally = { 0 };
	unsigned cases = 60000;

	for (uint64_t seed = 1; seed <= cases; seed++) {
		struct stream stream = { .state = seed * UINT64_C(0x9e3779b97f4a7c15) };
		struct machine *machine = random_machine(&stream);
		struct policy *policy = random_policy(&stream, machine);
		struct plan_input input = { .machine = machine, .policy = policy };
		struct random_used used;

		if (is_wanted(seed)) {
			random_use(&stream, machine, &used);
			input.used = used.used;
			input.n_used = used.n;
			input.primary_memory = chance(&stream, 2) ? PRIMARY_MEMORY : 0;
			current_seed = seed;
			one_case(&input, &tally);
			random_use_done(&used);
		}
		policy_free(policy);
		machine_free(machine);
	}
	show("random machines", &tally);
	if (getenv("POPCORN_SEED"))
		return;
	/* That it was worth doing. */
	ck_assert_uint_gt(tally.plans, cases / 12);
	ck_assert_uint_gt(tally.suggestions, cases / 10);
	ck_assert_uint_lt(tally.skipped, tally.problems / 2);
	for (int i = 0; i <= PROBLEM_TOO_MANY; i++)
		ck_assert_msg(tally.ids[i] > 0, "never seen: %s",
			      plan_problem_to_string((enum plan_problem_id)i));
}
END_TEST

/* Machines as hwloc describes them; policies as a file says them. */
static const char *const descriptions[] = {
	"numa:1(memory=4GiB) core:1 pu:1",
	"numa:1(memory=2GiB) core:4 pu:2",
	"numa:2(memory=4GiB) core:4 pu:1",
	EXAMPLE,
	"package:4 [numa(memory=32GiB)] l3:3 core:4 pu:2",
	"package:2 numa:4(memory=8GiB) l3:1 core:6 pu:4",
	"numa:64(memory=16GiB) core:64 pu:1",
	"numa:64(memory=16GiB) l3:4 core:8 pu:2",
	"package:8 [numa(memory=512GiB)] l3:8 core:32 pu:2",
};
static const char *const files[] = {
	"16amd64-8n2c",
	"16em64t-4s2c2t-offlines",
	"20em64t-hybrid-1p6c2t+2ca4co1t",
	"32em64t-2n8c+dax+nvme+mic+dimms",
	"48amd64-4pa2n6c-sparse",
	"8em64t-2s2ca2c-buggynuma",
	"96em64t-4no4pa3ca2co",
};

START_TEST(test_shipped)
{
	static const char *const names[] = { "per-core",     "per-l3",	   "per-node",
					     "per-package",  "clusters",   "equal-memory",
					     "compute-io",   "isolate-rt", "efficiency-cores",
					     "fault-domains" };
	unsigned n_plans[ARRAY_SIZE(names)] = { 0 };
	struct tally tally = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(descriptions) + ARRAY_SIZE(files); i++) {
		struct machine *machine =
			i < ARRAY_SIZE(files) ? from_file(files[i])
					      : from_synthetic(descriptions[i - ARRAY_SIZE(files)]);

		for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
			char *text = shipped(names[j]);
			struct policy *policy = parse(text);
			struct plan_input input = { .machine = machine,
						    .policy = policy,
						    .primary_memory = PRIMARY_MEMORY };
			unsigned before = tally.plans;

			one_case(&input, &tally);
			n_plans[j] += tally.plans - before;
			policy_free(policy);
			free(text);
		}
		machine_free(machine);
	}
	show("shipped policies", &tally);
	/* Each is of use somewhere; compute-io: test_devices. */
	for (size_t j = 0; j < ARRAY_SIZE(names); j++)
		ck_assert_msg(n_plans[j] > 0 || strcmp(names[j], "compute-io") == 0,
			      "no machine for %s", names[j]);
}
END_TEST

/* A policy as a file that says it. */

static void put_set(FILE *f, const char *key, hwloc_const_bitmap_t set)
{
	char *list;

	if (!set)
		return;
	hwloc_bitmap_list_asprintf(&list, set);
	fprintf(f, "%s = \"%s\"; ", key, list);
	free(list);
}

static void put_selectors(FILE *f, const char *key, const struct policy_selector *selectors,
			  size_t n)
{
	static const char *const groups = " network storage display accelerator ";

	if (n == 0)
		return;
	fprintf(f, "%s = (", key);
	for (size_t i = 0; i < n; i++) {
		const char *value = selectors[i].value;

		fprintf(f, "%s\"%s%s\"", i ? ", " : " ",
			selectors[i].kind == SELECT_DRIVER			      ? "driver:"
			: selectors[i].kind == SELECT_CLASS && !strstr(groups, value) ? "class:"
										      : "",
			value ? value : "near");
	}
	fprintf(f, " ); ");
}

static void put_group(FILE *f, const struct policy_group *group)
{
	static const char *const levels[] = { "core", "l3", "node", "package", "machine" };
	static const char *const leftovers[] = { "error", "primary", "kernel", "spread" };
	static const char *const pers[] = { "", "thread", "core", "l3", "node", "package", "kind" };
	static const char *const froms[] = { "local", "interleave", "any" };

	fprintf(f, "{ name = \"%s\"; ", group->name);
	if (group->cpus) {
		fprintf(f, "cpus = (");
		for (size_t i = 0; i < group->n_cpus; i++) {
			char *list;

			hwloc_bitmap_list_asprintf(&list, group->cpus[i]);
			fprintf(f, "%s\"%s\"", i ? ", " : " ", list);
			free(list);
		}
		fprintf(f, " ); ");
	}
	if (group->per != PER_NOTHING)
		fprintf(f, "per = \"%s\"; ", pers[group->per]);
	if (group->cores)
		fprintf(f, "cores = %u; ", group->cores);
	if (group->count)
		fprintf(f, "count = %u; ", group->count);
	if (group->inside != LEVEL_MACHINE)
		fprintf(f, "inside = \"%s\"; ", levels[group->inside]);
	if (group->leftover != LEFTOVER_ERROR)
		fprintf(f, "leftover = \"%s\"; ", leftovers[group->leftover]);
	if (group->smt == SMT_APART)
		fprintf(f, "smt = \"apart\"; ");
	if (group->within_cpus || group->within_nodes || group->within_packages ||
	    group->within_kind) {
		fprintf(f, "within = { ");
		put_set(f, "cpus", group->within_cpus);
		put_set(f, "nodes", group->within_nodes);
		put_set(f, "packages", group->within_packages);
		if (group->within_kind)
			fprintf(f, "kind = \"%s\"; ", group->within_kind);
		fprintf(f, "}; ");
	}
	if (group->memory == MEMORY_EQUAL)
		fprintf(f, "memory = \"equal\"; ");
	if (group->memory == MEMORY_FIXED)
		fprintf(f, "memory = \"%" PRIu64 "M\"; ", group->memory_bytes / MIB);
	if (group->memory_from != FROM_LOCAL)
		fprintf(f, "memory_from = \"%s\"; ", froms[group->memory_from]);
	put_set(f, "memory_nodes", group->memory_nodes);
	if (group->align)
		fprintf(f, "align = \"%" PRIu64 "M\"; ", group->align / MIB);
	put_selectors(f, "devices", group->devices, group->n_devices);
	for (size_t i = 0; i < group->n_after; i++)
		fprintf(f, "%s\"%s\"%s", i ? ", " : "after = ( ", group->after[i],
			i + 1 == group->n_after ? " ); " : "");
	for (size_t i = 0; i < group->n_overrides; i++)
		fprintf(f, "override = ( { name = \"%s\"; cmdline = \"%s\"; } ); ",
			group->overrides[i].name, group->overrides[i].kernel.cmdline);
	fprintf(f, "}");
}

static char *policy_text(const struct policy *policy)
{
	static const char *const levels[] = { "core", "l3", "node", "package" };
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	fprintf(f, "primary = { keep = \"%s\"; ", levels[policy->primary.keep]);
	put_set(f, "cpus", policy->primary.cpus);
	if (policy->primary.cores)
		fprintf(f, "cores = %u; ", policy->primary.cores);
	if (policy->primary.memory)
		fprintf(f, "memory = \"%" PRIu64 "M\"; ", policy->primary.memory / MIB);
	put_selectors(f, "near", policy->primary.near, policy->primary.n_near);
	fprintf(f, "};\ngroups = (\n");
	for (size_t i = 0; i < policy->n_groups; i++) {
		put_group(f, &policy->groups[i]);
		fprintf(f, "%s\n", i + 1 < policy->n_groups ? "," : "");
	}
	fprintf(f, ");\n");
	fclose(f);
	return text;
}

/* The same policy, made of structs and read from a file, makes the same plan. */
static void check_text(const struct plan_input *input, unsigned *n_parsed)
{
	char *text = policy_text(input->policy);
	struct policy *policy = NULL;
	struct plan_input other = *input;

	error.id = POPCORN_ERROR_NONE;
	if (policy_parse("/random.conf", text, strlen(text), &policy, &error) == 0) {
		char *one, *two;

		/* Lines are another matter. */
		policy->primary.line = input->policy->primary.line;
		ck_assert_uint_eq(policy->n_groups, input->policy->n_groups);
		for (size_t i = 0; i < policy->n_groups; i++) {
			struct policy_group *group = &policy->groups[i];
			const struct policy_group *made = &input->policy->groups[i];

			group->line = made->line;
			for (size_t j = 0; j < group->n_devices; j++)
				group->devices[j].line = made->devices[j].line;
			for (size_t j = 0; j < group->n_overrides; j++)
				group->overrides[j].line = made->overrides[j].line;
		}
		for (size_t j = 0; j < policy->primary.n_near; j++)
			policy->primary.near[j].line = input->policy->primary.near[j].line;
		other.policy = policy;
		one = say(input);
		two = say(&other);
		ck_assert_msg(strcmp(one, two) == 0, "%s\n%s\n%s", text, one, two);
		free(one);
		free(two);
		policy_free(policy);
		++*n_parsed;
	}
	free(text);
}

static void random_on(struct machine *machine, uint64_t first, unsigned cases, struct tally *tally,
		      unsigned *n_parsed)
{
	for (uint64_t seed = first; seed < first + cases; seed++) {
		struct stream stream = { .state = seed * UINT64_C(0x9e3779b97f4a7c15) };
		struct policy *policy = random_policy(&stream, machine);
		struct plan_input input = { .machine = machine,
					    .policy = policy,
					    .primary_memory = PRIMARY_MEMORY };
		struct random_used used;

		random_use(&stream, machine, &used);
		input.used = used.used;
		input.n_used = used.n;
		if (is_wanted(seed)) {
			current_seed = seed;
			one_case(&input, tally);
			check_text(&input, n_parsed);
		}
		random_use_done(&used);
		policy_free(policy);
	}
}

START_TEST(test_random_on_real)
{
	struct tally tally = { 0 };
	unsigned parsed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct machine *machine = from_file(files[i]);

		random_on(machine, 100000 + 1000 * i, 600, &tally, &parsed);
		machine_free(machine);
	}
	show("real machines", &tally);
	if (getenv("POPCORN_SEED"))
		return;
	ck_assert_uint_gt(tally.plans, 200);
	ck_assert_uint_gt(parsed, 7 * 600 / 2);
}
END_TEST

START_TEST(test_random_on_synthetic)
{
	struct tally tally = { 0 };
	unsigned parsed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(descriptions); i++) {
		struct machine *machine = from_synthetic(descriptions[i]);

		/* Fewer of the large ones, for which the plain counting of the checks takes long. */
		random_on(machine, 200000 + 1000 * i, machine->n_cpus > 1000 ? 40 : 600, &tally,
			  &parsed);
		machine_free(machine);
	}
	show("synthetic machines", &tally);
	if (getenv("POPCORN_SEED"))
		return;
	ck_assert_uint_gt(tally.plans, 200);
	ck_assert_uint_gt(parsed, 500);
}
END_TEST

START_TEST(test_large)
{
	struct machine *machine = from_synthetic("numa:64(memory=16GiB) core:64 pu:1");
	struct result r = { .machine = machine,
			    .policy = parse("groups = ( { name = \"c\"; per = \"core\"; } );"),
			    .input = { .primary_memory = PRIMARY_MEMORY } };

	run_plan(&r);
	must_fail(&r, PROBLEM_TOO_MANY, "kernels", "count", "511");
	plan_problems_free(r.problems, r.n);
	machine->max_kernels = 4096;
	run_plan(&r);
	must_plan(&r);
	ck_assert_uint_eq(r.plan->n_kernels, 4095);
	done(&r);
}
END_TEST

/* At every allocation in turn that fails there is -ENOMEM and nothing else. */
static unsigned fail_at, n_allocations;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	if (fail_at && ++n_allocations == fail_at)
		return NULL;
	return __real_calloc(n, size);
}

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size)
{
	if (fail_at && ++n_allocations == fail_at)
		return NULL;
	return __real_realloc(p, size);
}

int __real_vasprintf(char **ret, const char *format, va_list ap);
int __wrap_vasprintf(char **ret, const char *format, va_list ap);
__attribute__((format(printf, 2, 0))) int __wrap_vasprintf(char **ret, const char *format,
							   va_list ap)
{
	if (fail_at && ++n_allocations == fail_at)
		return -1;
	return __real_vasprintf(ret, format, ap);
}

START_TEST(test_no_memory)
{
	static const char *const texts[] = {
		"primary = { memory = \"4G\"; cpus = \"17\"; }; groups = ( { name = \"l\";"
		" cpus = ( \"2-5\", \"30-31\" ); memory = \"1G\"; }, { name = \"e\"; count = 2;"
		" memory = \"equal\"; leftover = \"spread\"; memory_from = \"any\"; },"
		" { name = \"never\"; cpus = \"6-7\"; after = \"l\"; } );",
		"groups = ( { name = \"a\"; cpus = ( \"0\", \"2\", \"99\" ); },"
		" { name = \"b\"; cores = 3; }, { name = \"c\"; per = \"kind\"; },"
		" { name = \"d\"; count = 1; within = { cpus = \"2,70\"; nodes = \"9\"; }; } );",
		"groups = ( { name = \"a\"; cores = 1; memory = \"60G\"; devices = \"near\"; },"
		" { name = \"b\"; cpus = \"2-3\"; memory = \"130M\"; devices = \"01:00.0\"; } );",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct machine *machine = with_devices();
		struct policy *policy = parse(texts[i]);
		struct plan_input input = { .machine = machine, .policy = policy };
		struct plan_problem *problems = NULL;
		struct plan *plan = NULL;
		unsigned at = 0;
		size_t n;
		int r;

		do {
			fail_at = ++at;
			n_allocations = 0;
			r = plan_make(&input, &plan, &problems, &n);
			fail_at = 0;
			ck_assert_msg(r == -ENOMEM || n_allocations < at,
				      "allocation %u of %zu: %d", at, i, r);
		} while (r == -ENOMEM && at < 100000);
		ck_assert_int_eq(r, i == 0 ? 0 : -EDOM);
		ck_assert_uint_gt(at, 20);
		plan_free(plan);
		if (r < 0)
			plan_problems_free(problems, n);
		policy_free(policy);
		machine_free(machine);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan");
	TCase *tc = tcase_create("named"), *random = tcase_create("random");

	tcase_add_test(tc, test_48_cores);
	tcase_add_test(tc, test_hybrid);
	tcase_add_test(tc, test_lying_firmware);
	tcase_add_test(tc, test_small_machines);
	tcase_add_test(tc, test_division);
	tcase_add_test(tc, test_lists);
	tcase_add_test(tc, test_within);
	tcase_add_test(tc, test_primary);
	tcase_add_test(tc, test_memory);
	tcase_add_test(tc, test_equal_memory);
	tcase_add_test(tc, test_odd_memory);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_devices);
	tcase_add_test(tc, test_order_and_override);
	tcase_add_test(tc, test_json);
	tcase_add_test(tc, test_compare);
	tcase_add_test(tc, test_boot_args);
	tcase_add_test(tc, test_no_memory);
	suite_add_tcase(suite, tc);
	tcase_set_timeout(random, 300);
	tcase_add_test(random, test_random);
	tcase_add_test(random, test_shipped);
	tcase_add_test(random, test_random_on_real);
	tcase_add_test(random, test_random_on_synthetic);
	tcase_add_test(random, test_large);
	suite_add_tcase(suite, random);
	return run_suite(suite);
}
