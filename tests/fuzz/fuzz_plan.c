// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whatever the machine and the policy: a plan that keeps all promises (tests/unit/plan-check.h), or
 * problems; the same twice; and all that is made of either can be shown.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "../unit/plan-check.h"
#include "../unit/plan-random.h"
#include "fuzz.h"
#include "planner.h"

static char *to_text(json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);

	CHECK(text);
	json_decref(json);
	return text;
}

static char *show_plan(const struct plan_input *input, struct plan *plan)
{
	const char *what = plan_check(input, plan);
	struct plan_diff *diff;
	char *text, *args;
	size_t n;

	if (what)
		fprintf(stderr, "%s\n", what);
	CHECK(!what);
	CHECK(plan_compare(plan, input->used, input->n_used, &diff, &n) == 0);
	CHECK(n == plan->n_kernels + input->n_used);
	plan_diff_free(diff, n);
	CHECK(plan_boot_args(plan, &args) >= 0);
	free(args);
	text = to_text(plan_to_json(plan, true));
	plan_free(plan);
	return text;
}

static char *show_problems(const struct plan_input *input, struct plan_problem *problems, size_t n)
{
	char *text;

	CHECK(n >= 1 && n <= PLAN_PROBLEMS_MAX);
	for (size_t i = 0; i < n; i++)
		CHECK(problems[i].group && problems[i].resource && problems[i].suggestion &&
		      !problems[i].suggest_key == !problems[i].suggest_value);
	text = to_text(plan_problems_to_json(input->policy, problems, n));
	plan_problems_free(problems, n);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream stream = { .data = data, .size = size };
	struct machine *machine = random_machine(&stream);
	struct policy *policy = random_policy(&stream, machine);
	struct random_used used;
	char *texts[2];

	random_use(&stream, machine, &used);
	struct plan_input input = {
		.machine = machine,
		.policy = policy,
		.used = used.used,
		.n_used = used.n,
		.primary_memory = chance(&stream, 2) ? 512 * MIB : 0,
	};
	for (int i = 0; i < 2; i++) {
		struct plan_problem *problems;
		struct plan *plan;
		size_t n;
		int r = plan_make(&input, &plan, &problems, &n);

		CHECK(r == 0 || r == -EDOM);
		texts[i] = r == 0 ? show_plan(&input, plan) : show_problems(&input, problems, n);
	}
	CHECK(strcmp(texts[0], texts[1]) == 0);
	free(texts[0]);
	free(texts[1]);
	random_use_done(&used);
	policy_free(policy);
	machine_free(machine);
	return 0;
}
