// SPDX-License-Identifier: GPL-2.0-or-later
/* A policy's text becomes a struct policy: one table of keys for each kind of group in it. */
#include <assert.h>
#include <errno.h>
#include <libconfig.h>
#include <limits.h>
#include <popcorn.h>
#include <string.h>

#include "keys.h"
#include "machine.h"
#include "policy-check.h"
#include "policy.h"
#include "text.h"
#include "util.h"

/* As long as the kernel's own on x86 (COMMAND_LINE_SIZE), less the NUL. */
#define CMDLINE_MAX 2047
#define DESCRIPTION_MAX 256
#define SELECTORS_MAX 256
/* Names of PCI classes and of drivers are shorter. */
#define SELECTOR_MAX 64

/* A text that can be shown anywhere, of at most @max bytes. */
static int read_text(const struct key_value *value, size_t max, char **target)
{
	const char *s = config_setting_get_string(value->setting);

	if (!s)
		return key_bad(value, "give a text in quotes");
	if (strlen(s) > max)
		return key_bad(value, "has %zu characters; give at most %zu", strlen(s), max);
	if (s[text_safe_length(s)])
		return key_bad(value,
			       "has a byte %#x at position %zu; write UTF-8 without "
			       "control characters",
			       (unsigned char)s[text_safe_length(s)], text_safe_length(s));
	return key_set_string(value, target, s);
}

static int read_description(const struct key_value *value, void *target)
{
	return read_text(value, DESCRIPTION_MAX, target);
}

static int read_cmdline(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);

	for (const char *p = s; p && *p; p++)
		if (*p < ' ' || *p > '~')
			return key_bad(value,
				       "has a byte %#x at position %zu; a command line is "
				       "printable ASCII",
				       (unsigned char)*p, (size_t)(p - s));
	return read_text(value, CMDLINE_MAX, target);
}

/* A path; the last part may have a '*' in it. */
static int read_image(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);
	const char *star = s ? strchr(s, '*') : NULL;

	if (!s || s[0] != '/' || s[1] == '\0' || s[strlen(s) - 1] == '/')
		return key_bad(value, "give an absolute path in quotes");
	if (star && (strchr(star + 1, '*') || strchr(star, '/')))
		return key_bad(value,
			       "one * may stand in the file's name, in place of a version; not "
			       "several, and not in a folder's name");
	return read_text(value, PATH_MAX - 1, target);
}

static int read_restart(const struct key_value *value, void *target)
{
	static const char *const texts[] = { "no", "on-failure" };
	unsigned choice;
	int r;

	r = key_choice(value, texts, ARRAY_SIZE(texts), &choice);
	if (r == 0)
		*(int *)target = (int)choice;
	return r;
}

/* One of the @n smallest levels. */
static int read_level_of(const struct key_value *value, size_t n, unsigned *ret)
{
	const char *texts[N_LEVELS];

	for (size_t i = 0; i < n; i++)
		texts[i] = level_to_string((enum machine_level)i);
	return key_choice(value, texts, n, ret);
}

static int read_level(const struct key_value *value, void *target)
{
	return read_level_of(value, N_LEVELS, target);
}

static int read_keep(const struct key_value *value, void *target)
{
	/* Not "machine": nothing would be left for anybody. */
	return read_level_of(value, LEVEL_MACHINE, target);
}

static int read_per(const struct key_value *value, void *target)
{
	static const char *const texts[] = {
		[PER_THREAD - 1] = "thread", [PER_CORE - 1] = "core",	    [PER_L3 - 1] = "l3",
		[PER_NODE - 1] = "node",     [PER_PACKAGE - 1] = "package", [PER_KIND - 1] = "kind",
	};
	unsigned choice;
	int r;

	r = key_choice(value, texts, ARRAY_SIZE(texts), &choice);
	if (r == 0)
		*(enum policy_per *)target = (enum policy_per)(choice + 1);
	return r;
}

static int read_leftover(const struct key_value *value, void *target)
{
	static const char *const texts[] = {
		[LEFTOVER_ERROR] = "error",
		[LEFTOVER_PRIMARY] = "primary",
		[LEFTOVER_KERNEL] = "kernel",
		[LEFTOVER_SPREAD] = "spread",
	};
	unsigned choice;
	int r;

	r = key_choice(value, texts, ARRAY_SIZE(texts), &choice);
	if (r == 0)
		*(enum policy_leftover *)target = (enum policy_leftover)choice;
	return r;
}

static int read_smt(const struct key_value *value, void *target)
{
	static const char *const texts[] = {
		[SMT_TOGETHER] = "together",
		[SMT_APART] = "apart",
	};
	unsigned choice;
	int r;

	r = key_choice(value, texts, ARRAY_SIZE(texts), &choice);
	if (r == 0)
		*(enum policy_smt *)target = (enum policy_smt)choice;
	return r;
}

static int read_memory_from(const struct key_value *value, void *target)
{
	static const char *const texts[] = {
		[FROM_LOCAL] = "local",
		[FROM_INTERLEAVE] = "interleave",
		[FROM_ANY] = "any",
	};
	unsigned choice;
	int r;

	r = key_choice(value, texts, ARRAY_SIZE(texts), &choice);
	if (r == 0)
		*(enum policy_memory_from *)target = (enum policy_memory_from)choice;
	return r;
}

/* struct policy_group: memory and memory_bytes */
static int read_share(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);
	struct policy_group *group = target;
	int r;

	if (s && (strcmp(s, "proportional") == 0 || strcmp(s, "equal") == 0)) {
		group->memory = *s == 'p' ? MEMORY_PROPORTIONAL : MEMORY_EQUAL;
		group->memory_bytes = 0;
		return 0;
	}
	if (s && (*s < '0' || *s > '9'))
		return key_bad(value,
			       "give \"proportional\", \"equal\" or a size, for example "
			       "\"512M\"; not '%.64s'",
			       s);
	r = key_memory(value, &group->memory_bytes);
	if (r == 0)
		group->memory = MEMORY_FIXED;
	return r;
}

static int read_cores(const struct key_value *value, void *target)
{
	return key_number(value, "a kernel has", 1, POPCORN_CPUS_MAX, target);
}

static int read_primary_cores(const struct key_value *value, void *target)
{
	return key_number(value, "the primary keeps", 1, POPCORN_CPUS_MAX, target);
}

static int read_count(const struct key_value *value, void *target)
{
	return key_number(value, "a machine has room for", 1, POPCORN_KERNELS_MAX, target);
}

/* Numbers of nodes or packages. */
static int read_numbers(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);
	hwloc_bitmap_t set;

	if (!s)
		return key_bad(value, "give a list of numbers in quotes, for example \"0-1,4\"");
	if (parse_cpus(s, &set, NULL) < 0)
		return key_bad(value,
			       "'%.64s' is not a list of numbers; give numbers and ranges, for "
			       "example \"0-1,4\"",
			       s);
	hwloc_bitmap_free(*(hwloc_bitmap_t *)target);
	*(hwloc_bitmap_t *)target = set;
	return 0;
}

static int read_kind(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);

	/* Which ones there are, only the machine knows. */
	if (!s || !*s || strlen(s) >= sizeof(((struct machine_kind *)NULL)->name))
		return key_bad(value, "give \"efficiency\", \"performance\", or a kind's name as "
				      "'popcornctl topology' shows it");
	return read_text(value, SELECTOR_MAX, target);
}

/*
 * How many texts the value has: a list or array of them, or the one that it is itself. @what is said of
 * what is none.
 */
static int count_texts(const struct key_value *value, const char *what, int max)
{
	bool many =
		config_setting_is_list(value->setting) || config_setting_is_array(value->setting);
	int n = many ? config_setting_length(value->setting) : 1;

	if (n > max)
		return key_bad(value, "has %d parts; give at most %d", n, max);
	for (int i = 0; i < n; i++) {
		struct key_value part = *value;

		if (many)
			part.setting = config_setting_get_elem(value->setting, (unsigned)i);
		if (config_setting_type(part.setting) != CONFIG_TYPE_STRING)
			return key_bad(&part, "give %s", what);
	}
	return n;
}

static struct key_value get_text(const struct key_value *value, int i, const char **ret)
{
	struct key_value part = *value;

	if (config_setting_type(value->setting) != CONFIG_TYPE_STRING)
		part.setting = config_setting_get_elem(value->setting, (unsigned)i);
	*ret = config_setting_get_string(part.setting);
	return part;
}

static void free_bitmaps(hwloc_bitmap_t *sets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hwloc_bitmap_free(sets[i]);
	free(sets);
}

/* struct policy_group: cpus, n_cpus */
static int read_cpu_lists(const struct key_value *value, void *target)
{
	struct policy_group *group = target;
	int n, r = 0;

	n = count_texts(value,
			"a list of CPUs in quotes, for example \"2-3\", or several, one for each "
			"kernel: ( \"2-3\", \"4-5\" ); how many cores a kernel gets is `cores`",
			POPCORN_KERNELS_MAX);
	if (n < 0)
		return n;
	if (n == 0)
		return key_bad(value, "is empty; give a list of CPUs for each kernel");
	free_bitmaps(group->cpus, group->n_cpus);
	group->n_cpus = 0;
	group->cpus = calloc((size_t)n, sizeof(*group->cpus));
	if (!group->cpus)
		return no_memory(value->error);
	for (int i = 0; i < n && r == 0; i++) {
		struct popcorn_error inner = { 0 };
		struct key_value part;
		const char *s;

		part = get_text(value, i, &s);
		if (parse_cpus(s, &group->cpus[i], &inner) < 0)
			r = key_bad(&part, "%s", inner.text);
		else
			group->n_cpus++;
	}
	return r;
}

static void free_strings(char **strings, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(strings[i]);
	free(strings);
}

/* struct policy_group: after, n_after. Whether there are such groups is known later. */
static int read_after(const struct key_value *value, void *target)
{
	struct policy_group *group = target;
	int n;

	n = count_texts(value, "the name of a group in quotes, or a list of them",
			POLICY_GROUPS_MAX);
	if (n < 0)
		return n;
	free_strings(group->after, group->n_after);
	group->n_after = 0;
	group->after = calloc((size_t)n + 1, sizeof(*group->after));
	if (!group->after)
		return no_memory(value->error);
	for (int i = 0; i < n; i++) {
		struct key_value part;
		const char *s;

		part = get_text(value, i, &s);
		if (strlen(s) > TEMPLATE_MAX)
			return key_bad(&part, "no group has the name '%.64s…'", s);
		group->after[i] = strdup(s);
		if (!group->after[i])
			return no_memory(value->error);
		group->n_after++;
	}
	return 0;
}

static const char *const device_groups[] = { "network", "storage", "display", "accelerator" };

/* "0000:03:00.0", "03:00.0", in small letters and with the domain. False: it is none. */
static bool parse_address(const char *s, char ret[SELECTOR_MAX + 1])
{
	unsigned parts[4] = { 0 }, digits[4] = { 0 }, n = 0, first;
	static const unsigned max[4] = { 0xffffffff, 0xff, 0x1f, 7 };

	for (; *s; s++) {
		char c = *s;

		if (c == ':' || c == '.') {
			/* One dot, and it comes last. */
			if (digits[n] == 0 || ++n > 3 ||
			    (c == '.') !=
				    (strchr(s + 1, '.') == NULL && strchr(s + 1, ':') == NULL))
				return false;
		} else if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')) {
			if (++digits[n] > 8)
				return false;
			parts[n] = parts[n] << 4 |
				   (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
		} else {
			return false;
		}
	}
	if (n < 2 || digits[n] == 0)
		return false;
	first = 3 - n;
	for (unsigned i = n + 1; i-- > 0;) {
		parts[i + first] = parts[i];
		if (parts[i] > max[i + first])
			return false;
	}
	if (first)
		parts[0] = 0;
	snprintf(ret, SELECTOR_MAX + 1, "%04x:%02x:%02x.%x", parts[0], parts[1], parts[2],
		 parts[3]);
	return true;
}

/* @lower: in small letters. False: other characters than names have, or too many. */
static bool parse_word(const char *s, bool lower, char ret[SELECTOR_MAX + 1])
{
	size_t n = strlen(s);

	if (n == 0 || n > SELECTOR_MAX)
		return false;
	for (size_t i = 0; i <= n; i++) {
		if (i < n && !name_char(s[i], i == 0))
			return false;
		ret[i] = lower && s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] | 0x20) : s[i];
	}
	return true;
}

static int read_selector(const struct key_value *value, const char *s, bool near_is_one,
			 struct policy_selector *ret)
{
	static const char *const words[] = { "near", "network", "storage", "display",
					     "accelerator" };
	char text[SELECTOR_MAX + 1];
	const char *nearest;

	ret->line = config_setting_source_line(value->setting);
	if (near_is_one && strcmp(s, "near") == 0) {
		ret->kind = SELECT_NEAR;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(device_groups); i++)
		if (strcmp(s, device_groups[i]) == 0) {
			ret->kind = SELECT_CLASS;
			return key_set_string(value, &ret->value, s);
		}
	if (strncmp(s, "class:", 6) == 0 && parse_word(s + 6, true, text)) {
		ret->kind = SELECT_CLASS;
		return key_set_string(value, &ret->value, text);
	}
	if (strncmp(s, "driver:", 7) == 0 && parse_word(s + 7, false, text)) {
		ret->kind = SELECT_DRIVER;
		return key_set_string(value, &ret->value, text);
	}
	if (parse_address(s, text)) {
		ret->kind = SELECT_ADDRESS;
		return key_set_string(value, &ret->value, text);
	}
	nearest = nearest_word(s, &words[!near_is_one], ARRAY_SIZE(words) - !near_is_one,
			       sizeof(words[0]));
	if (nearest)
		return key_bad(value, "'%.64s' names no device; did you mean \"%s\"?", s, nearest);
	return key_bad(value,
		       "'%.64s' names no device; give %sa group (\"network\", \"storage\", "
		       "\"display\", \"accelerator\"), \"class:NAME\", \"driver:NAME\" or an "
		       "address (\"0000:03:00.0\")",
		       s, near_is_one ? "\"near\", " : "");
}

static void free_selectors(struct policy_selector *selectors, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(selectors[i].value);
	free(selectors);
}

static int read_selectors(const struct key_value *value, bool near_is_one,
			  struct policy_selector **target, size_t *n_target)
{
	int n, r = 0;

	n = count_texts(value, "a list of devices, for example ( \"network\", \"driver:nvme\" )",
			SELECTORS_MAX);
	if (n < 0)
		return n;
	free_selectors(*target, *n_target);
	*n_target = 0;
	*target = calloc((size_t)n + 1, sizeof(**target));
	if (!*target)
		return no_memory(value->error);
	for (int i = 0; i < n && r == 0; i++) {
		struct key_value part;
		const char *s;

		part = get_text(value, i, &s);
		r = read_selector(&part, s, near_is_one, &(*target)[i]);
		if (r == 0)
			(*n_target)++;
	}
	return r;
}

/* struct policy_group: devices, n_devices */
static int read_devices(const struct key_value *value, void *target)
{
	struct policy_group *group = target;

	return read_selectors(value, true, &group->devices, &group->n_devices);
}

/* struct policy_primary: near, n_near */
static int read_near(const struct key_value *value, void *target)
{
	struct policy_primary *primary = target;

	return read_selectors(value, false, &primary->near, &primary->n_near);
}

static int read_name(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);
	int r;

	if (!s)
		return key_bad(value, "give a text in quotes, for example \"db{n}\"");
	r = policy_check_template(value, s);
	return r < 0 ? r : key_set_string(value, target, s);
}

static int read_kernel_name(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);
	struct popcorn_error inner = { 0 };

	if (!s)
		return key_bad(value, "give the name of a kernel of this group in quotes");
	if (kernel_name_check(s, &inner) < 0)
		return key_bad(value, "%s", inner.text);
	return key_set_string(value, target, s);
}

static const struct key override_keys[] = {
	{ "name", read_kernel_name, offsetof(struct policy_override, name) },
	{ "image", read_image, offsetof(struct policy_override, kernel.image) },
	{ "initrd", read_image, offsetof(struct policy_override, kernel.initrd) },
	{ "cmdline", read_cmdline, offsetof(struct policy_override, kernel.cmdline) },
	{ "root", key_root, offsetof(struct policy_override, kernel.root) },
	{ "restart", read_restart, offsetof(struct policy_override, kernel.restart) },
	{ "boot_timeout", key_time, offsetof(struct policy_override, kernel.boot_timeout_usec) },
	{ "network", key_network, offsetof(struct policy_override, kernel.network) },
};

static void kernel_done(struct policy_kernel *kernel)
{
	free(kernel->image);
	free(kernel->initrd);
	free(kernel->cmdline);
	free(kernel->root);
}

static void free_overrides(struct policy_override *overrides, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(overrides[i].name);
		kernel_done(&overrides[i].kernel);
	}
	free(overrides);
}

/* The elements of a list of groups, or an error. */
static int count_groups(const struct key_value *value, int max)
{
	int n;

	if (!config_setting_is_list(value->setting))
		return key_bad(value, "is a list of groups: write %s = ( { … }, { … } );",
			       config_setting_name(value->setting));
	n = config_setting_length(value->setting);
	if (n > max)
		return key_bad(value, "has %d parts; give at most %d", n, max);
	for (int i = 0; i < n; i++) {
		struct key_value part = *value;

		part.setting = config_setting_get_elem(value->setting, (unsigned)i);
		if (!config_setting_is_group(part.setting))
			return key_bad(&part, "is a list of groups: write %s = ( { … }, { … } );",
				       config_setting_name(value->setting));
	}
	return n;
}

/* struct policy_group: overrides, n_overrides */
static int read_overrides(const struct key_value *value, void *target)
{
	struct policy_group *group = target;
	int n, r;

	n = count_groups(value, POPCORN_KERNELS_MAX);
	if (n < 0)
		return n;
	group->overrides = calloc((size_t)n + 1, sizeof(*group->overrides));
	if (!group->overrides)
		return no_memory(value->error);
	for (int i = 0; i < n; i++) {
		struct policy_override *override = &group->overrides[i];
		struct key_value part = *value;

		part.setting = config_setting_get_elem(value->setting, (unsigned)i);
		override->line = config_setting_source_line(part.setting);
		override->kernel.restart = -1;
		group->n_overrides++;
		r = keys_read(&part, override_keys, ARRAY_SIZE(override_keys), override, NULL);
		if (r < 0)
			return r;
		if (!override->name)
			return key_bad(&part,
				       "does not say for which kernel; write name = \"…\" in "
				       "it");
		for (int j = 0; j < i; j++)
			if (strcmp(group->overrides[j].name, override->name) == 0)
				return key_bad(&part,
					       "kernel '%s' has one at line %u already; "
					       "write both together",
					       override->name, group->overrides[j].line);
	}
	return 0;
}

static const struct key group_keys[N_GROUP_KEYS] = {
	[GROUP_NAME] = { "name", read_name, offsetof(struct policy_group, name) },
	[GROUP_CPUS] = { "cpus", read_cpu_lists, 0 },
	[GROUP_PER] = { "per", read_per, offsetof(struct policy_group, per) },
	[GROUP_CORES] = { "cores", read_cores, offsetof(struct policy_group, cores) },
	[GROUP_COUNT] = { "count", read_count, offsetof(struct policy_group, count) },
	[GROUP_INSIDE] = { "inside", read_level, offsetof(struct policy_group, inside) },
	[GROUP_LEFTOVER] = { "leftover", read_leftover, offsetof(struct policy_group, leftover) },
	[GROUP_SMT] = { "smt", read_smt, offsetof(struct policy_group, smt) },
	[GROUP_WITHIN_CPUS] = { "within.cpus", key_cpus,
				offsetof(struct policy_group, within_cpus) },
	[GROUP_WITHIN_NODES] = { "within.nodes", read_numbers,
				 offsetof(struct policy_group, within_nodes) },
	[GROUP_WITHIN_PACKAGES] = { "within.packages", read_numbers,
				    offsetof(struct policy_group, within_packages) },
	[GROUP_WITHIN_KIND] = { "within.kind", read_kind,
				offsetof(struct policy_group, within_kind) },
	[GROUP_MEMORY] = { "memory", read_share, 0 },
	[GROUP_MEMORY_FROM] = { "memory_from", read_memory_from,
				offsetof(struct policy_group, memory_from) },
	[GROUP_MEMORY_NODES] = { "memory_nodes", read_numbers,
				 offsetof(struct policy_group, memory_nodes) },
	[GROUP_ALIGN] = { "align", key_memory, offsetof(struct policy_group, align) },
	[GROUP_DEVICES] = { "devices", read_devices, 0 },
	[GROUP_IMAGE] = { "image", read_image, offsetof(struct policy_group, kernel.image) },
	[GROUP_INITRD] = { "initrd", read_image, offsetof(struct policy_group, kernel.initrd) },
	[GROUP_CMDLINE] = { "cmdline", read_cmdline,
			    offsetof(struct policy_group, kernel.cmdline) },
	[GROUP_ROOT] = { "root", key_root, offsetof(struct policy_group, kernel.root) },
	[GROUP_RESTART] = { "restart", read_restart,
			    offsetof(struct policy_group, kernel.restart) },
	[GROUP_BOOT_TIMEOUT] = { "boot_timeout", key_time,
				 offsetof(struct policy_group, kernel.boot_timeout_usec) },
	[GROUP_NETWORK] = { "network", key_network, offsetof(struct policy_group, kernel.network) },
	[GROUP_OVERRIDE] = { "override", read_overrides, 0 },
	[GROUP_AFTER] = { "after", read_after, 0 },
};

static void group_init(struct policy_group *group)
{
	*group = (struct policy_group){ .inside = LEVEL_MACHINE, .kernel.restart = -1 };
}

static void group_done(struct policy_group *group)
{
	free(group->name);
	free_bitmaps(group->cpus, group->n_cpus);
	hwloc_bitmap_free(group->within_cpus);
	hwloc_bitmap_free(group->within_nodes);
	hwloc_bitmap_free(group->within_packages);
	free(group->within_kind);
	hwloc_bitmap_free(group->memory_nodes);
	free_selectors(group->devices, group->n_devices);
	kernel_done(&group->kernel);
	free_overrides(group->overrides, group->n_overrides);
	free_strings(group->after, group->n_after);
}

static const config_setting_t *find_default(const config_setting_t *root)
{
	return config_setting_get_member(root, "default");
}

/* Into nothing: each group reads it again for itself. */
static int read_default(const struct key_value *value, void *target)
{
	static const enum group_key own[] = { GROUP_NAME, GROUP_CPUS, GROUP_OVERRIDE };
	struct policy_group group;
	uint64_t seen = 0;
	int r;

	if (!config_setting_is_group(value->setting))
		return key_bad(value, "is a group: write default = { … };");
	group_init(&group);
	r = keys_read(value, group_keys, ARRAY_SIZE(group_keys), &group, &seen);
	group_done(&group);
	for (size_t i = 0; i < ARRAY_SIZE(own) && r == 0; i++)
		if (seen >> own[i] & 1)
			r = key_bad(value,
				    "'%s' can't be the same for all groups; write it in the "
				    "groups",
				    group_keys[own[i]].name);
	return r;
}

static int read_group(const struct key_value *value, const config_setting_t *root,
		      struct policy_group *group)
{
	struct policy_seen seen = { .keys = group_keys, .group = value };
	int r;

	group->line = config_setting_source_line(value->setting);
	seen.defaults = *value;
	seen.defaults.name = "default";
	seen.defaults.setting = find_default(root);
	if (seen.defaults.setting) {
		r = keys_read(&seen.defaults, group_keys, ARRAY_SIZE(group_keys), group,
			      &seen.by_default);
		if (r < 0)
			return r;
	}
	r = keys_read(value, group_keys, ARRAY_SIZE(group_keys), group, &seen.own);
	if (r < 0)
		return r;
	if (group->cpus) {
		/* How the others are divided is not for who has a list. */
		if (!(seen.own >> GROUP_PER & 1))
			group->per = PER_NOTHING;
		if (!(seen.own >> GROUP_CORES & 1))
			group->cores = 0;
		if (!(seen.own >> GROUP_COUNT & 1))
			group->count = 0;
		if (!(seen.own >> GROUP_INSIDE & 1))
			group->inside = LEVEL_MACHINE;
		if (!(seen.own >> GROUP_LEFTOVER & 1))
			group->leftover = LEFTOVER_ERROR;
		hwloc_bitmap_free(group->within_cpus);
		hwloc_bitmap_free(group->within_nodes);
		hwloc_bitmap_free(group->within_packages);
		group->within_cpus = group->within_nodes = group->within_packages = NULL;
		free(group->within_kind);
		group->within_kind = NULL;
	}
	return policy_check_group(&seen, group);
}

/* struct policy: groups, n_groups */
static int read_groups(const struct key_value *value, void *target)
{
	const config_setting_t *root = config_setting_parent(value->setting);
	struct key_value defaults = *value;
	struct policy *policy = target;
	size_t n_lists = 0;
	int n, r;

	/* It may stand behind the groups, which are not to be read with mistakes of it in them. */
	defaults.name = "default";
	defaults.setting = find_default(root);
	if (defaults.setting) {
		r = read_default(&defaults, NULL);
		if (r < 0)
			return r;
	}
	n = count_groups(value, POLICY_GROUPS_MAX);
	if (n < 0)
		return n;
	policy->groups = calloc((size_t)n + 1, sizeof(*policy->groups));
	if (!policy->groups)
		return no_memory(value->error);
	for (int i = 0; i < n; i++) {
		struct policy_group *group = &policy->groups[i];
		struct key_value part = *value;

		part.setting = config_setting_get_elem(value->setting, (unsigned)i);
		group_init(group);
		policy->n_groups++;
		r = read_group(&part, root, group);
		if (r < 0)
			return r;
		n_lists += group->n_cpus;
		if (n_lists > POPCORN_KERNELS_MAX)
			return key_bad(&part,
				       "%zu lists of CPUs up to here; a machine has room for %d "
				       "kernels",
				       n_lists, POPCORN_KERNELS_MAX);
	}
	return 0;
}

static const struct key primary_keys[] = {
	{ "cpus", key_cpus, offsetof(struct policy_primary, cpus) },
	{ "keep", read_keep, offsetof(struct policy_primary, keep) },
	{ "cores", read_primary_cores, offsetof(struct policy_primary, cores) },
	{ "near", read_near, 0 },
	{ "memory", key_memory, offsetof(struct policy_primary, memory) },
};

static int read_primary(const struct key_value *value, void *target)
{
	struct policy_primary *primary = target;

	if (!config_setting_is_group(value->setting))
		return key_bad(value, "is a group: write primary = { … };");
	primary->line = config_setting_source_line(value->setting);
	return keys_read(value, primary_keys, ARRAY_SIZE(primary_keys), primary, NULL);
}

static const struct key policy_keys[] = {
	{ "description", read_description, offsetof(struct policy, description) },
	{ "primary", read_primary, offsetof(struct policy, primary) },
	{ "default", read_default, 0 },
	{ "groups", read_groups, 0 },
};

/* The file's name without folders and ".conf". */
static char *policy_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	size_t len = strlen(base);

	if (len > 5 && strcmp(base + len - 5, ".conf") == 0)
		len -= 5;
	return strndup(base, len);
}

static void policy_freep(struct policy **policy)
{
	policy_free(*policy);
}

int policy_parse(const char *path, const char *text, size_t size, struct policy **ret,
		 struct popcorn_error *error)
{
	_cleanup_(policy_freep) struct policy *policy = NULL;
	struct key_value root = { path, "", NULL, error };
	_cleanup_free_ char *copy = NULL;
	config_t parsed;
	int r;

	static_assert(POLICY_SIZE_MAX == KEYS_SIZE_MAX, "");
	policy = calloc(1, sizeof(*policy));
	/* What is too large is refused before it is looked at. */
	copy = malloc(size <= POLICY_SIZE_MAX ? size + 1 : 1);
	if (!policy || !copy)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	if (size <= POLICY_SIZE_MAX) {
		memcpy(copy, text, size);
		copy[size] = '\0';
	}
	policy->path = strdup(path);
	policy->name = policy_name(path);
	if (!policy->path || !policy->name)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);

	r = keys_parse(path, copy, size, &parsed, error);
	if (r == 0) {
		root.setting = config_root_setting(&parsed);
		r = keys_read(&root, policy_keys, ARRAY_SIZE(policy_keys), policy, NULL);
	}
	if (r == 0)
		r = policy_check(&root, policy);
	config_destroy(&parsed);
	if (r < 0)
		return r;
	*ret = steal_ptr(policy);
	return 0;
}

struct policy *policy_free(struct policy *policy)
{
	if (!policy)
		return NULL;
	free(policy->path);
	free(policy->name);
	free(policy->description);
	hwloc_bitmap_free(policy->primary.cpus);
	free_selectors(policy->primary.near, policy->primary.n_near);
	for (size_t i = 0; i < policy->n_groups; i++)
		group_done(&policy->groups[i]);
	free(policy->groups);
	free(policy);
	return NULL;
}
