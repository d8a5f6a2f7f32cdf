/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What is wrong with a policy whose keys are each right. For policy.c only. */

#include <stdint.h>

#include "keys.h"
#include "policy.h"

/* As they are in policy.c's table. */
enum group_key {
	GROUP_NAME,
	GROUP_CPUS,
	GROUP_PER,
	GROUP_CORES,
	GROUP_COUNT,
	GROUP_INSIDE,
	GROUP_LEFTOVER,
	GROUP_SMT,
	GROUP_WITHIN_CPUS,
	GROUP_WITHIN_NODES,
	GROUP_WITHIN_PACKAGES,
	GROUP_WITHIN_KIND,
	GROUP_MEMORY,
	GROUP_MEMORY_FROM,
	GROUP_MEMORY_NODES,
	GROUP_ALIGN,
	GROUP_DEVICES,
	GROUP_IMAGE,
	GROUP_INITRD,
	GROUP_CMDLINE,
	GROUP_ROOT,
	GROUP_RESTART,
	GROUP_BOOT_TIMEOUT,
	GROUP_NETWORK,
	GROUP_OVERRIDE,
	GROUP_AFTER,
};
#define N_GROUP_KEYS 26

/* Longer ones name nothing: a kernel's name has 63 characters. */
#define TEMPLATE_MAX 128

/* Which keys a group has, and where they stand. */
struct policy_seen {
	const struct key *keys;
	const struct key_value *group;
	struct key_value defaults; /* setting NULL: there are none */
	uint64_t own, by_default;  /* a bit for each enum group_key */
};

/* Whether kernels can be named so. */
int policy_check_template(const struct key_value *value, const char *template);
/* Keys that do not go together, or say nothing. */
int policy_check_group(const struct policy_seen *seen, const struct policy_group *group);
/* Groups of one name, `after`. */
int policy_check(const struct key_value *root, const struct policy *policy);
