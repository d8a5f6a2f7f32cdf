/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* A plan that is being made. For planner.c and plan-*.c only. */

#include "planner.h"

/* Who has a CPU: one of these, or OWNER_USED + index in input->used, or a draft behind those. */
enum {
	OWNER_FREE,
	OWNER_OFFLINE,
	OWNER_NOT_ALLOWED, /* the primary's: another part of it */
	OWNER_PRIMARY,
	OWNER_USED,
};

/* In place of a group's index. */
#define GROUP_PRIMARY UINT32_MAX

/* A kernel that is to be. Its CPUs are those that have it as owner. */
struct draft {
	uint32_t group;
	uint32_t order; /* in the group: of its list, or its first CPU */
};

struct planner {
	const struct plan_input *input;
	const struct machine *machine;
	const struct policy *policy;
	struct plan *plan; /* notes gather in it; kernels when all of them are known */
	struct plan_problem *problems;
	size_t n_problems;
	struct plan_problem spare; /* for what is more than PLAN_PROBLEMS_MAX */
	bool no_memory;		   /* somewhere; looked at between the steps */

	uint32_t boot;	      /* index of the CPU that booted the machine */
	hwloc_bitmap_t known; /* all CPUs, by Linux's number */
	uint32_t *owner;      /* of each CPU */
	uint32_t *left_by;    /* 0, or 1 + index of the group that left it over */
	struct draft *drafts;
	size_t n_drafts, drafts_room;

	uint32_t *kernel_of;  /* when kernels are known: of each CPU, or UNKNOWN */
	size_t *first_kernel; /* of each group, and one more */
};

static inline uint32_t owner_of_draft(const struct planner *p, size_t draft)
{
	return (uint32_t)(OWNER_USED + p->input->n_used + draft);
}

static inline bool owner_is_draft(const struct planner *p, uint32_t owner)
{
	return owner >= OWNER_USED + p->input->n_used;
}

static inline const struct policy_group *group_of_draft(const struct planner *p, uint32_t owner)
{
	return &p->policy->groups[p->drafts[owner - OWNER_USED - p->input->n_used].group];
}

static inline uint32_t node_of(const struct planner *p, uint32_t cpu)
{
	return p->machine->cpus[cpu].in[LEVEL_NODE];
}

/*
 * Texts: a failure to allocate is remembered in no_memory, so that who says something need not
 * look. A problem that finds no room is written to the spare one and forgotten.
 */
struct plan_problem *problem_new(struct planner *p, enum plan_problem_id id, uint32_t group);
void text_set(struct planner *p, char **target, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void suggest(struct planner *p, struct plan_problem *problem, const char *key, const char *format,
	     ...) __attribute__((format(printf, 4, 5)));
void note(struct planner *p, enum plan_note_kind kind, const char *kernel, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* "CPU 3", "CPUs 2-3,7": of Linux's numbers, and no longer than anybody reads. */
#define CPUS_TEXT_MAX 160
const char *cpus_text(hwloc_const_bitmap_t set, char buf[CPUS_TEXT_MAX]);
#define CPUS_TEXT(set) cpus_text((set), (char[CPUS_TEXT_MAX]){ 0 })
/* "512M": as policy files have it. */
const char *size_key(uint64_t bytes, char buf[32]);
#define SIZE_KEY(bytes) size_key((bytes), (char[32]){ 0 })
/* "the primary", "kernel web0", "group db" */
#define OWNER_TEXT_MAX 192
const char *owner_text(const struct planner *p, uint32_t owner, char buf[OWNER_TEXT_MAX]);
#define OWNER_TEXT(p, owner) owner_text((p), (owner), (char[OWNER_TEXT_MAX]){ 0 })

static inline void bitmap_freep(hwloc_bitmap_t *set)
{
	hwloc_bitmap_free(*set);
}

#define _cleanup_bitmap_ __attribute__((cleanup(bitmap_freep)))

/* plan-cpus.c: sets of Linux's numbers; a failure is remembered in no_memory. */
hwloc_bitmap_t bitmap_new(struct planner *p);
void bitmap_add(struct planner *p, hwloc_bitmap_t set, uint32_t cpu);
/* SIZE_MAX: no memory. */
size_t draft_new(struct planner *p, uint32_t group, uint32_t order);
/* All of the core is @owner's, but for what is offline. */
bool core_is(const struct planner *p, const struct machine_domain *core, uint32_t owner);
/* plan-divide.c: a group without lists. */
int plan_group(struct planner *p, uint32_t index);

/* The steps; each returns 0 or -ENOMEM, and finds problems or none. */
int plan_cpus(struct planner *p);    /* owner, drafts */
int plan_memory(struct planner *p);  /* kernels[].memory, primary_memory */
int plan_devices(struct planner *p); /* kernels[].devices */
bool device_matches(const struct machine_device *device, const struct policy_selector *selector);
