// SPDX-License-Identifier: GPL-2.0-or-later
/* A hostile policy, as it comes by D-Bus: parsed, and what was taken makes sense. */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "keys.h"
#include "machine.h"
#include "policy.h"
#include "text.h"

#define PATH "/p/fuzz.conf"

/* For keys that nobody has to give. */
static void check_text(const char *s)
{
	CHECK(!s || !s[text_safe_length(s)]);
}

static void check_set(hwloc_const_bitmap_t set)
{
	CHECK(!set || (!hwloc_bitmap_iszero(set) && hwloc_bitmap_last(set) >= 0 &&
		       hwloc_bitmap_last(set) <= 65535));
}

static void check_kernel(const struct policy_kernel *kernel)
{
	const char *paths[] = { kernel->image, kernel->initrd };

	for (int i = 0; i < 2; i++) {
		CHECK(!paths[i] || paths[i][0] == '/');
		check_text(paths[i]);
	}
	for (const char *p = kernel->cmdline; p && *p; p++)
		CHECK(*p >= ' ' && *p <= '~');
	CHECK(!kernel->cmdline || strlen(kernel->cmdline) < 2048);
	CHECK(!kernel->root || strcmp(kernel->root, "initramfs") == 0);
	CHECK(kernel->restart >= -1 && kernel->restart <= 1);
	CHECK(kernel->boot_timeout_usec <= UINT64_C(86400000000));
}

static void check_selectors(const struct policy_selector *selectors, size_t n, bool near_is_one)
{
	for (size_t i = 0; i < n; i++) {
		CHECK(!selectors[i].value == (selectors[i].kind == SELECT_NEAR));
		CHECK(near_is_one || selectors[i].kind != SELECT_NEAR);
		check_text(selectors[i].value);
	}
}

static void check_group(const struct policy *policy, const struct policy_group *group)
{
	char name[256];

	CHECK(group->name && *group->name);
	/* With any number in place of what is in braces it names a kernel. */
	snprintf(name, sizeof(name), "%s", group->name);
	for (char *p; (p = strchr(name, '{'));) {
		char *end = strchr(p, '}');

		CHECK(end);
		*p = '7';
		memmove(p + 1, end + 1, strlen(end));
	}
	CHECK(kernel_name_check(name, NULL) == 0);

	for (size_t i = 0; i < group->n_cpus; i++) {
		CHECK(group->cpus[i]);
		check_set(group->cpus[i]);
	}
	if (group->cpus) {
		CHECK(group->n_cpus >= 1 && group->n_cpus <= 512);
		CHECK(group->per == PER_NOTHING && !group->cores && !group->count);
		CHECK(group->inside == LEVEL_MACHINE && group->leftover == LEFTOVER_ERROR);
		CHECK(!group->within_cpus && !group->within_nodes && !group->within_packages &&
		      !group->within_kind);
	} else {
		CHECK(group->per != PER_NOTHING || group->cores || group->count);
	}
	CHECK(group->per == PER_NOTHING || (!group->cores && group->inside == LEVEL_MACHINE));
	CHECK(group->per != PER_THREAD || group->smt == SMT_APART);
	CHECK(group->leftover != LEFTOVER_SPREAD || (group->count && !group->cores && !group->per));
	CHECK(group->leftover != LEFTOVER_KERNEL || group->cores || group->per);
	CHECK(group->cores <= 4096 && group->count <= 512 && group->inside <= LEVEL_MACHINE);
	check_set(group->within_cpus);
	check_set(group->within_nodes);
	check_set(group->within_packages);
	check_text(group->within_kind);
	CHECK((group->memory == MEMORY_FIXED) == (group->memory_bytes != 0));
	CHECK(group->memory_bytes % (2 << 20) == 0 && group->align % (2 << 20) == 0);
	CHECK(!group->memory_nodes || group->memory_from == FROM_INTERLEAVE);
	check_set(group->memory_nodes);
	check_selectors(group->devices, group->n_devices, true);
	check_kernel(&group->kernel);
	for (size_t i = 0; i < group->n_overrides; i++) {
		CHECK(kernel_name_check(group->overrides[i].name, NULL) == 0);
		check_kernel(&group->overrides[i].kernel);
	}
	for (size_t i = 0; i < group->n_after; i++) {
		size_t j = 0;

		CHECK(strcmp(group->after[i], group->name) != 0);
		while (j < policy->n_groups && strcmp(policy->groups[j].name, group->after[i]))
			j++;
		CHECK(j < policy->n_groups);
	}
}

/* Groups that wait for nobody, or only for such, can be started: all of them, if there is no cycle. */
static void check_order(const struct policy *policy)
{
	bool *started = calloc(policy->n_groups, sizeof(*started));
	size_t n = 0, before;

	CHECK(started);
	do {
		before = n;
		for (size_t i = 0; i < policy->n_groups; i++) {
			const struct policy_group *group = &policy->groups[i];
			bool ready = !started[i];

			for (size_t j = 0; j < group->n_after && ready; j++)
				for (size_t k = 0; k < policy->n_groups; k++)
					if (strcmp(policy->groups[k].name, group->after[j]) == 0)
						ready = started[k];
			if (ready) {
				started[i] = true;
				n++;
			}
		}
	} while (n > before);
	CHECK(n == policy->n_groups);
	free(started);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct popcorn_error error = { 0 };
	struct policy *policy = NULL;
	int r;

	r = policy_parse(PATH, (const char *)data, size, &policy, &error);
	CHECK((r < 0) == (error.id != POPCORN_ERROR_NONE) && r <= 0);
	CHECK((r < 0) == !policy);
	if (r < 0) {
		CHECK(error.id == POPCORN_ERROR_CONFIG && r == -EINVAL);
		CHECK(strncmp(error.text, PATH ":", strlen(PATH ":")) == 0);
		CHECK(!error.text[text_safe_length(error.text)]);
		return 0;
	}
	CHECK(strcmp(policy->path, PATH) == 0 && strcmp(policy->name, "fuzz") == 0);
	check_text(policy->description);
	check_set(policy->primary.cpus);
	check_selectors(policy->primary.near, policy->primary.n_near, false);
	CHECK(policy->primary.keep < LEVEL_MACHINE && policy->primary.cores <= 4096);
	CHECK(policy->n_groups >= 1 && policy->n_groups <= POLICY_GROUPS_MAX);
	for (size_t i = 0; i < policy->n_groups; i++)
		check_group(policy, &policy->groups[i]);
	check_order(policy);
	policy_free(policy);
	return 0;
}
