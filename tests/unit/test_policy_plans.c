// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the policies that we ship, and the examples of popcorn-policy(5), come to on real and
 * invented machines: an example that can't be planned helps nobody.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "planner.h"
#include "policy.h"
#include "run.h"
#include "topology.h"
#include "util.h"

/* The one of the manual page: 2 packages, each a node of 8 cores with two threads, two L3 caches, 16 GiB. */
#define MANUAL_MACHINE "package:2 [numa(memory=16GiB)] l3:2 core:4 pu:2"

static struct popcorn_error error;

/* "hybrid", "io": of tests/topologies; what begins with a digit likewise; else synthetic. */
static struct machine *load_machine(const char *name)
{
	struct topology *topology = NULL;
	struct machine *machine = NULL;
	char path[4096];
	int r;

	if (strcmp(name, "hybrid") == 0)
		name = "20em64t-hybrid-1p6c2t+2ca4co1t";
	else if (strcmp(name, "io") == 0)
		name = "32em64t-2n8c+dax+nvme+mic+dimms";
	error = (struct popcorn_error){ 0 };
	if (*name >= '0' && *name <= '9') {
		snprintf(path, sizeof(path), "%s/%s.xml", getenv("POPCORN_TOPOLOGIES"), name);
		r = topology_load_xml(path, &topology, &error);
	} else {
		r = topology_load_synthetic(name, &topology, &error);
	}
	ck_assert_msg(r == 0, "%s: %s", name, error.text);
	r = machine_new(topology, NULL, &machine, &error);
	ck_assert_msg(r == 0, "%s: %s", name, error.text);
	topology_free(topology);
	return machine;
}

/* The plan, or NULL and the first problem. */
static struct plan *make_plan(const struct machine *machine, const struct policy *policy,
			      enum plan_problem_id *ret_id, char text[1024])
{
	const struct plan_input input = { .machine = machine,
					  .policy = policy,
					  .primary_memory = 512 * MIB };
	struct plan_problem *problems = NULL;
	struct plan *plan = NULL;
	size_t n = 0;
	int r;

	r = plan_make(&input, &plan, &problems, &n);
	if (r == 0)
		return plan;
	ck_assert_int_eq(r, -EDOM);
	ck_assert_uint_ge(n, 1);
	*ret_id = problems[0].id;
	snprintf(text, 1024, "%s: line %u: %s: asked: %s; there is: %s; %s",
		 plan_problem_to_string(problems[0].id), problems[0].line, problems[0].resource,
		 problems[0].asked, problems[0].available, problems[0].suggestion);
	plan_problems_free(problems, n);
	return NULL;
}

struct expectation {
	const char *policy;
	size_t n_kernels; /* 0: there is no plan, because of */
	enum plan_problem_id id;
	const char *first; /* name of the first kernel */
	size_t n_cpus;	   /* of it */
};

static void check_shipped(const char *name, const struct expectation *table, size_t n)
{
	const char *const folders[] = { getenv("POPCORN_POLICIES"), NULL };
	struct machine *machine = load_machine(name);

	for (size_t i = 0; i < n; i++) {
		const struct expectation *e = &table[i];
		enum plan_problem_id id = 0;
		struct policy *policy;
		struct plan *plan;
		char why[1024];

		error = (struct popcorn_error){ 0 };
		ck_assert_msg(policy_load(folders, e->policy, &policy, &error) == 0, "%s",
			      error.text);
		plan = make_plan(machine, policy, &id, why);
		if (!plan) {
			ck_assert_msg(e->n_kernels == 0 && e->id == id, "%s on %s: %s", e->policy,
				      name, why);
		} else {
			ck_assert_msg(plan->n_kernels == e->n_kernels,
				      "%s on %s: %zu kernels, not %zu", e->policy, name,
				      plan->n_kernels, e->n_kernels);
			ck_assert_str_eq(plan->kernels[0].name, e->first);
			ck_assert_msg(plan->kernels[0].n_cpus == e->n_cpus,
				      "%s on %s: %s has %zu CPUs, not %zu", e->policy, name,
				      e->first, plan->kernels[0].n_cpus, e->n_cpus);
		}
		plan_free(plan);
		policy_free(policy);
	}
	machine_free(machine);
}

START_TEST(test_shipped_manual_machine)
{
	static const struct expectation table[] = {
		{ "per-core", 15, 0, "cpu2", 2 },
		{ "per-l3", 3, 0, "l3-0", 8 },
		{ "per-node", 1, 0, "node1", 16 },
		{ "per-package", 1, 0, "package1", 16 },
		{ "clusters", 3, 0, "cluster0", 8 },
		{ "equal-memory", 4, 0, "equal0", 6 },
		{ "compute-io", 0, PROBLEM_DEVICE_UNKNOWN, NULL, 0 },
		{ "isolate-rt", 1, 0, "rt", 8 },
		{ "efficiency-cores", 0, PROBLEM_NO_LEVEL, NULL, 0 },
		{ "fault-domains", 1, 0, "domain0", 16 },
	};

	check_shipped(MANUAL_MACHINE, table, ARRAY_SIZE(table));
}
END_TEST

/* The kind of machine that Popcorn was first built for: 4 packages, 8 nodes of 6 cores. */
START_TEST(test_shipped_48_cores)
{
	static const struct expectation table[] = {
		{ "per-core", 47, 0, "cpu1", 1 },
		{ "per-l3", 7, 0, "l3-0", 6 },
		{ "per-node", 7, 0, "node1", 6 },
		{ "per-package", 3, 0, "package1", 12 },
		{ "clusters", 8, 0, "cluster0", 4 },
		{ "equal-memory", 4, 0, "equal0", 11 },
		{ "isolate-rt", 1, 0, "rt", 4 },
		{ "efficiency-cores", 0, PROBLEM_NO_LEVEL, NULL, 0 },
		{ "fault-domains", 3, 0, "domain0", 12 },
	};

	check_shipped("48amd64-4pa2n6c-sparse", table, ARRAY_SIZE(table));
}
END_TEST

START_TEST(test_shipped_hybrid)
{
	static const struct expectation table[] = {
		{ "per-core", 13, 0, "cpu2", 2 },
		{ "per-l3", 0, PROBLEM_NO_CPUS, NULL,
		  0 }, /* there is one, and the primary has it */
		{ "per-node", 0, PROBLEM_NO_CPUS, NULL, 0 },
		{ "per-package", 0, PROBLEM_NO_CPUS, NULL, 0 },
		{ "efficiency-cores", 1, 0, "efficiency", 8 },
		{ "fault-domains", 0, PROBLEM_NO_CPUS, NULL, 0 },
	};
	const char *const folders[] = { getenv("POPCORN_POLICIES"), NULL };
	struct machine *machine = load_machine("hybrid");
	enum plan_problem_id id;
	struct policy *policy;
	struct plan *plan;
	char why[1024];

	check_shipped("hybrid", table, ARRAY_SIZE(table));
	/* Exactly the efficiency cores. */
	ck_assert_int_eq(policy_load(folders, "efficiency-cores", &policy, &error), 0);
	plan = make_plan(machine, policy, &id, why);
	ck_assert_ptr_nonnull(plan);
	for (size_t i = 0; i < 8; i++)
		ck_assert_uint_eq(plan->kernels[0].cpus[i], 12 + i);
	plan_free(plan);
	policy_free(policy);
	machine_free(machine);
}
END_TEST

/* Ethernet and disks at the first node. */
START_TEST(test_shipped_devices)
{
	static const struct expectation table[] = {
		{ "compute-io", 1, 0, "compute0", 8 },
	};

	check_shipped("io", table, ARRAY_SIZE(table));
}
END_TEST

static size_t indentation(const char *line)
{
	return strspn(line, " ");
}

/*
 * An example of the manual page as a policy: a whole one as it is; a group ("{ … }") as the only one;
 * other keys before a group that is as small as can be. malloc'ed.
 */
static char *complete(const char *example)
{
	char *text;

	if (example[indentation(example)] == '{')
		ck_assert_int_gt(asprintf(&text, "groups = (\n%s);\n", example), 0);
	else
		ck_assert_int_gt(asprintf(&text, "%s%s", example,
					  strstr(example, "groups =")
						  ? ""
						  : "groups = ( { name = \"x\"; count = 1; } );\n"),
				 0);
	return text;
}

/* Calls @check for every literal block, with the machine that a comment before it names. */
static size_t for_each_example(void (*check)(const char *example, const char *machine,
					     unsigned line))
{
	char machine[256] = MANUAL_MACHINE;
	_cleanup_free_ char *page = NULL, *example = NULL;
	size_t size, margin = 0, before = 0, n_examples = 0;
	unsigned n_lines = 0, first = 0;
	bool begins = false;
	void *data;

	ck_assert_ptr_nonnull(getenv("POPCORN_POLICY_MANUAL"));
	ck_assert_int_eq(read_file(getenv("POPCORN_POLICY_MANUAL"), 1 << 20, &data, &size), 0);
	page = data;
	example = calloc(1, size + 2);
	ck_assert_ptr_nonnull(example);
	for (char *line = page, *end; *line; line = end) {
		bool blank;

		n_lines++;
		end = strchr(line, '\n') + 1;
		blank = indentation(line) == (size_t)(end - line) - 1;
		if (begins && !blank) {
			margin = indentation(line);
			first = n_lines;
			ck_assert_uint_gt(margin, before);
			begins = false;
		}
		if (margin && (blank || indentation(line) >= margin)) {
			strncat(example, line, (size_t)(end - line));
			continue;
		}
		if (margin) {
			check(example, machine, first);
			n_examples++;
			margin = 0;
			*example = '\0';
			strcpy(machine, MANUAL_MACHINE);
		}
		sscanf(line, " .. machine: %255[^\n]", machine);
		if (end - line >= 3 && strncmp(end - 3, "::\n", 3) == 0) {
			begins = true;
			before = indentation(line);
		}
	}
	return n_examples;
}

static void plan_example(const char *example, const char *name, unsigned line)
{
	_cleanup_free_ char *text = complete(example);
	struct machine *machine = load_machine(name);
	struct policy *policy = NULL;
	enum plan_problem_id id;
	struct plan *plan;
	char why[1024];

	ck_assert_msg(policy_parse("example", text, strlen(text), &policy, &error) == 0,
		      "line %u: %s\n%s", line, error.text, text);
	plan = make_plan(machine, policy, &id, why);
	ck_assert_msg(plan != NULL, "line %u: %s\n%s", line, why, text);
	ck_assert_uint_ge(plan->n_kernels, 1);
	plan_free(plan);
	policy_free(policy);
	machine_free(machine);
}

START_TEST(test_manual)
{
	/* One for each key (34) and for within, a whole one, and those of combined groups. */
	ck_assert_uint_ge(for_each_example(plan_example), 44);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("policy-plans");
	TCase *tc = tcase_create("plans");

	tcase_add_test(tc, test_shipped_manual_machine);
	tcase_add_test(tc, test_shipped_48_cores);
	tcase_add_test(tc, test_shipped_hybrid);
	tcase_add_test(tc, test_shipped_devices);
	tcase_add_test(tc, test_manual);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
