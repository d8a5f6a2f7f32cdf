/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The planner: (machine, policy, what is in use) → a plan, or what is wrong with the wish. Pure: no
 * I/O, no globals; the same input gives the same plan, byte for byte. O(n log n) in CPUs + kernels.
 *
 * Order, because it decides who gets what:
 *	1 the primary: its boot CPU, `cpus`, `cores`, `near`, grown to whole `keep` domains
 *	2 kernels of other policies and of nobody (in_use): what they have is gone
 *	3 explicit `cpus` lists, in the order of the file
 *	4 the other groups, in the order of the file: each divides what those before it left
 *	5 memory: fixed first, then proportional and equal from what is left
 *	6 devices: by address, then by driver, by class, then "near"
 * CPUs that no kernel gets stay with the primary, and the plan says which and why.
 *
 * Nothing is rounded, dropped or made smaller in silence. What a policy lets the planner round
 * (memory to whole blocks, leftover = "primary") is a note of the plan; what it does not is a problem.
 */

#include <hwloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine.h"
#include "policy.h"

/* Less boots no distribution's kernel; a share that comes out smaller is a problem. */
#define PLAN_MEMORY_MIN (UINT64_C(64) << 20)
/* The ABI's (POPCORN_KERNELS_MAX). */
#define PLAN_KERNELS_MAX 511

/* Somebody's who is not part of the plan. Linux's numbers. */
struct plan_used {
	const char *name;
	hwloc_const_bitmap_t cpus;
	const struct plan_memory {
		uint32_t node; /* of plans: index of machine->nodes; of used: the same */
		uint64_t bytes;
	} * memory;
	size_t n_memory;
};

struct plan_input {
	const struct machine *machine;
	const struct policy *policy;
	uint64_t primary_memory;	   /* popcornd.conf's primary.memory */
	hwloc_const_bitmap_t primary_cpus; /* popcornd.conf's primary.cpus, or NULL */
	const struct plan_used *used;
	size_t n_used;
};

struct plan_kernel {
	char *name;
	const struct policy_group *group;
	const struct policy_kernel *override; /* or NULL */
	const uint32_t *cpus;		      /* Linux's numbers, ascending; a part of plan->cpus */
	size_t n_cpus;
	const struct plan_memory *memory; /* ascending by node; a part of plan->memory */
	size_t n_memory;
	uint64_t bytes;		 /* of all nodes */
	const uint32_t *devices; /* indices of machine->devices, ascending */
	size_t n_devices;
	unsigned start; /* kernels of 0 start first, of 1 when all those run, … */
};

enum plan_note_kind {
	NOTE_INFO, /* for --explain */
	NOTE_WARNING, /* always shown: something was rounded, split, left over, or the firmware is odd */
};

struct plan_note {
	enum plan_note_kind kind;
	char *kernel; /* or NULL: of the plan as a whole, of the primary */
	char *text;
};

struct plan {
	const struct machine *machine; /* outlives the plan */
	const struct policy *policy;   /* likewise */
	struct plan_kernel *
		kernels; /* in the order of groups; in each by place in the machine, or as its lists */
	size_t n_kernels;
	uint32_t *primary_cpus; /* Linux's numbers, ascending: kept or left over */
	size_t n_primary_cpus;
	uint64_t *primary_memory; /* by node: what stays, bytes of machine->nodes[].memory */
	struct plan_note
		*notes; /* what the planner knew on the way (rounding, leftovers, warnings) */
	size_t n_notes;

	/* What the pointers above point into. */
	uint32_t *cpus;
	uint32_t *places; /* beside cpus: indices of machine->cpus, ascending in each kernel */
	struct plan_memory *memory;
	uint32_t *devices;
};

enum plan_problem_id {
	PROBLEM_CPU_UNKNOWN,	/* a CPU, node, package, kind that the machine does not have */
	PROBLEM_CPU_UNUSABLE,	/* it is offline or not allowed */
	PROBLEM_CPU_KEPT,	/* the primary keeps it */
	PROBLEM_CPU_TAKEN,	/* two want it: another kernel, or another group */
	PROBLEM_NO_CPUS,	/* not enough are free */
	PROBLEM_SMT_SPLIT,	/* siblings would be apart, and nobody asked for that */
	PROBLEM_LEFTOVER,	/* CPUs do not make a whole kernel, and leftover = "error" */
	PROBLEM_NO_LEVEL,	/* the machine has no L3 cache, no core kinds, … */
	PROBLEM_NO_MEMORY,	/* more than there is, or a share below PLAN_MEMORY_MIN */
	PROBLEM_MEMORY_ALIGN,	/* a fixed size that is no multiple of `align` */
	PROBLEM_DEVICE_UNKNOWN, /* or drivers are not known here */
	PROBLEM_DEVICE_TAKEN,
	PROBLEM_NAME_TWICE, /* or not a name for a kernel, or an override for none */
	PROBLEM_TOO_MANY,   /* more kernels than machine->max_kernels */
};

/* Each text is a whole sentence, or NULL where there is nothing to say. */
struct plan_problem {
	enum plan_problem_id id;
	unsigned line;	/* in the policy's file; 0 = of the policy as a whole */
	char *group;	/* the group's name, "primary", or NULL */
	char *resource; /* "CPU 3", "memory of node 1", "device 0000:03:00.0" */
	char *owner;	/* who has it: "the primary", "kernel web0", "group db" */
	char *asked, *available;
	char *suggestion; /* the nearest policy that would work, in words */
	/* The same for programs, where it is one key: setting it so in this group removes this problem. */
	char *suggest_key, *suggest_value;
};

/*
 * 0: *@ret is the plan. -EDOM: the wish can't be met: *@ret_problems says why (at least one, at most
 * PLAN_PROBLEMS_MAX). -ENOMEM.
 */
#define PLAN_PROBLEMS_MAX 64
int plan_make(const struct plan_input *input, struct plan **ret, struct plan_problem **ret_problems,
	      size_t *ret_n_problems);
struct plan *plan_free(struct plan *plan);
void plan_problems_free(struct plan_problem *problems, size_t n);
const char *plan_problem_to_string(enum plan_problem_id id); /* "CpuTaken" */

/* Looks one up by name; NULL. */
const struct plan_kernel *plan_find(const struct plan *plan, const char *name);

/* explain.c: what can be said of a finished plan, so that planning itself does not pay for it. */
struct plan_view {
	unsigned cores, split_cores; /* split: a sibling is somebody else's */
	unsigned l3s, split_l3s, nodes, packages;
	unsigned distance_max, distance_mean_x10; /* from its CPUs to its memory; SLIT units */
	uint64_t local_bytes;
};
void plan_kernel_view(const struct plan *plan, const struct plan_kernel *kernel,
		      struct plan_view *ret);
/* Why it is as it is: one NOTE_INFO per choice and the plan's own notes, in the order of kernels. */
int plan_explain(const struct plan *plan, struct plan_note **ret, size_t *ret_n);
void plan_notes_free(struct plan_note *notes, size_t n);

/*
 * The primary's kernel command line that makes the plan's memory movable, "kernelcore=…M"; "" if the
 * plan takes none. plan-boot.c says what Linux makes of it. 1: it is the best there is, but some of
 * the memory that is planned stays where the kernel may put things that never move.
 */
int plan_boot_args(const struct plan *plan, char **ret);

/* What is different between what runs and what is planned. */
enum plan_change { PLAN_KEEP, PLAN_START, PLAN_STOP, PLAN_REPLACE };
struct plan_diff {
	enum plan_change change;
	const char *name;
	const struct plan_kernel *kernel; /* NULL for PLAN_STOP */
	char *why;			  /* "CPUs 2-3 instead of 2", … ; "" */
};
/* @running: the kernels that this policy started before. Sorted: stop, replace, start, keep; by name. */
int plan_compare(const struct plan *plan, const struct plan_used *running, size_t n_running,
		 struct plan_diff **ret, size_t *ret_n);
void plan_diff_free(struct plan_diff *diff, size_t n);

/* For --json and D-Bus; docs/policies.md has the keys. */
struct json_t *plan_to_json(const struct plan *plan, bool explain);
struct json_t *plan_problems_to_json(const struct policy *policy,
				     const struct plan_problem *problems, size_t n);
