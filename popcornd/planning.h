/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * A plan for the machine that popcornd runs on, and what is different from what runs: for Plan, and
 * for Apply, which also needs what the kernels are to be booted as. Blocking; no D-Bus. What the
 * event loop knows of the kernels is in the input.
 */

#include "config.h"
#include "planner.h"
#include "resources.h"

struct planning_kernel {
	char name[POPCORN_NAME_MAX];
	char policy[POPCORN_NAME_MAX]; /* that started it, or "" */
	uint64_t policy_digest;	       /* of that policy's text */
	const char *state;	       /* for messages */
	bool active;		       /* it is not over */
	struct kernel_def *def;	       /* how it was asked for, or NULL */
};

struct planning_input {
	const struct config *config;
	struct resources *resources;
	const char *const *folders; /* of policies, or NULL */
	char *policy;		    /* a checked name */
	char *text;		    /* the policy, or NULL: the file of that name */
	size_t text_size;
	struct planning_kernel *kernels;
	size_t n_kernels;
};

struct planning_change {
	enum plan_change change;
	char name[POPCORN_NAME_MAX];
	char *why;			  /* or "" */
	const struct plan_kernel *kernel; /* NULL for PLAN_STOP */
	bool remains; /* it has ended, and what it still holds has to go first */
	/* What a kernel that stays gets without being booted anew. */
	bool restart;
	uint64_t boot_timeout_usec;
	struct kernel_def *def; /* planning_prepare(): of PLAN_START and PLAN_REPLACE */
};

struct planning {
	struct machine *machine;
	struct policy *policy;
	uint64_t digest; /* of the policy's text */
	/* The plan, or what is wrong with the wish. */
	struct plan *plan;
	struct plan_problem *problems;
	size_t n_problems;
	/* Sorted: stop, replace, start, keep; by name. */
	struct planning_change *changes;
	size_t n_changes;
};

void planning_input_done(struct planning_input *input);

/* A wish that can't be met is no error: there are problems then instead of a plan. */
int planning_make(const struct planning_input *input, struct planning **ret,
		  struct popcorn_error *error);
struct planning *planning_free(struct planning *planning);

/*
 * For Apply: everything that can be refused by looking. PLAN_IMPOSSIBLE, NOT_SUPPORTED (devices),
 * NAME_TAKEN, WOULD_STOP (unless @prune), the errors of boot_check(). And how the kernels are booted.
 */
int planning_prepare(struct planning *planning, const struct planning_input *input, bool prune,
		     struct popcorn_error *error);

/* As docs/policies.md says, in bytes of JSON; malloc'ed. -ENOMEM. */
int planning_to_json(const struct planning *planning, bool explain, bool diff, char **ret);
