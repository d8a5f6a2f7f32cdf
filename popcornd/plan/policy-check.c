// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <popcorn.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "policy-check.h"
#include "util.h"

static bool said(const struct policy_seen *seen, enum group_key key)
{
	return (seen->own | seen->by_default) >> key & 1;
}

/* Where @key is said: in the group, else in default. @buf is for its name. */
static struct key_value locate(const struct policy_seen *seen, enum group_key key, char buf[64])
{
	bool own = seen->own >> key & 1;
	struct key_value value = own ? *seen->group : seen->defaults;
	const char *name = seen->keys[key].name, *dot = strchr(name, '.');

	snprintf(buf, 64, "%s.%s", value.name, name);
	value.name = buf;
	if (dot) {
		char outer[32];

		snprintf(outer, sizeof(outer), "%.*s", (int)(dot - name), name);
		value.setting = config_setting_get_member(value.setting, outer);
		name = dot + 1;
	}
	value.setting = config_setting_get_member(value.setting, name);
	return value;
}

#define bad_key(seen, key, ...)                                          \
	__extension__({                                                  \
		char _buf[64];                                           \
		const struct key_value _value = locate(seen, key, _buf); \
		key_bad(&_value, __VA_ARGS__);                           \
	})

/* For what a group may have from default, and never saw itself. */
static const char *from_default(const struct policy_seen *seen, enum group_key key)
{
	return seen->own >> key & 1 ? "" : " (which is said in default)";
}

static const struct {
	const char *text;
	unsigned longest; /* what stands for it */
} placeholders[] = {
	/* Numbers: as many digits as the largest that parse_cpus() takes. */
	{ "{n}", 5 },	    { "{core}", 5 }, { "{l3}", 5 },    { "{node}", 5 },
	{ "{package}", 5 }, { "{cpu}", 5 },  { "{kind}", 15 },
};

int policy_check_template(const struct key_value *value, const char *template)
{
	size_t length = 0;

	if (!*template || strlen(template) > TEMPLATE_MAX)
		return key_bad(value,
			       "is the name of kernels: 1 to %d characters, for example "
			       "\"db{n}\"",
			       POPCORN_NAME_MAX - 1);
	for (const char *p = template; *p;) {
		size_t i = 0, n;

		if (*p != '{') {
			if (!name_char(*p, p == template))
				return key_bad(value,
					       "'%.*s' can't be in the name of a kernel; give "
					       "letters, digits, _ . - and {n} or the like, "
					       "beginning with none of _ . -",
					       /* Not half a letter. */
					       (unsigned char)*p < 0x80 ? 1 : (int)strlen(p), p);
			length++;
			p++;
			continue;
		}
		n = strcspn(p, "}");
		n += p[n] == '}';
		while (i < ARRAY_SIZE(placeholders) && (strlen(placeholders[i].text) != n ||
							strncmp(placeholders[i].text, p, n) != 0))
			i++;
		if (i == ARRAY_SIZE(placeholders))
			return key_bad(value,
				       "'%.*s' stands for nothing; there are {n}, {cpu}, "
				       "{core}, {l3}, {node}, {package} and {kind}",
				       (int)n, p);
		length += placeholders[i].longest;
		p += n;
	}
	if (length >= POPCORN_NAME_MAX)
		return key_bad(value,
			       "the name of a kernel could have %zu characters; at most %d go",
			       length, POPCORN_NAME_MAX - 1);
	return 0;
}

/* Keys that say how to divide. */
static const enum group_key division[] = {
	GROUP_PER,	    GROUP_CORES,	   GROUP_COUNT,
	GROUP_INSIDE,	    GROUP_LEFTOVER,	   GROUP_WITHIN_CPUS,
	GROUP_WITHIN_NODES, GROUP_WITHIN_PACKAGES, GROUP_WITHIN_KIND,
};

static int check_division(const struct policy_seen *seen, const struct policy_group *group)
{
	if (group->cpus) {
		for (size_t i = 0; i < ARRAY_SIZE(division); i++)
			if (seen->own >> division[i] & 1)
				return bad_key(
					seen, division[i],
					"`cpus` says already which CPUs group '%s' gets; leave "
					"one of the two out",
					group->name);
		return 0;
	}
	if (group->per == PER_NOTHING && !group->cores && !group->count)
		return key_bad(seen->group,
			       "group '%s' does not say how it is to be divided; write "
			       "for example per = \"node\", cores = 4, count = 2 or "
			       "cpus = \"2-3\"",
			       group->name);
	if (group->per != PER_NOTHING && said(seen, GROUP_CORES))
		return bad_key(
			seen, seen->own >> GROUP_CORES & 1 ? GROUP_CORES : GROUP_PER,
			"`per` and `cores`%s both say how large a kernel is; for kernels of "
			"some cores that don't reach over a node write cores and inside = "
			"\"node\"",
			from_default(seen, seen->own >> GROUP_CORES & 1 ? GROUP_PER : GROUP_CORES));
	if (group->per != PER_NOTHING && said(seen, GROUP_INSIDE))
		return bad_key(seen, seen->own >> GROUP_INSIDE & 1 ? GROUP_INSIDE : GROUP_PER,
			       "`per` says already what a kernel lies in; leave inside out");
	if (group->per == PER_THREAD && group->smt != SMT_APART)
		return bad_key(seen, GROUP_PER,
			       "the threads of a core would go to different kernels; if that is "
			       "wanted, write smt = \"apart\" too");
	if (group->per == PER_CORE && group->smt == SMT_APART)
		return bad_key(seen, GROUP_SMT,
			       "per = \"core\" keeps the threads of a core together; write per = "
			       "\"thread\", or leave smt out");
	if (group->inside == LEVEL_CORE && group->cores > 1 && group->smt == SMT_TOGETHER)
		return bad_key(seen, GROUP_INSIDE, "%u cores do not lie in one core", group->cores);
	return 0;
}

static int check_leftover(const struct policy_seen *seen, const struct policy_group *group)
{
	bool only_count = group->count && group->per == PER_NOTHING && !group->cores;

	/* No default: in a switch over an enum, so that a new one is thought of here. */
	switch (group->leftover) {
	case LEFTOVER_ERROR:
	case LEFTOVER_PRIMARY:
		return 0;
	case LEFTOVER_KERNEL:
		if (!only_count)
			return 0;
		return bad_key(
			seen, GROUP_LEFTOVER,
			"`count` says how many kernels there are, so that no further one can "
			"be made; write \"spread\", \"primary\" or \"error\"");
	case LEFTOVER_SPREAD:
		if (only_count)
			return 0;
		return bad_key(seen, GROUP_LEFTOVER,
			       "`%s` says how large a kernel is, so that nothing can be spread; "
			       "\"spread\" goes with count alone",
			       group->per != PER_NOTHING ? "per" : "cores");
	}
	return 0;
}

/* What @value is: a '*' in an initrd stands for what it stands for in the image. */
static int check_initrd(const struct key_value *value, const char *image, const char *initrd)
{
	if (!initrd || !strchr(initrd, '*') || (image && strchr(image, '*')))
		return 0;
	return key_bad(value,
		       "* stands for what it stands for in image, %s; write image = "
		       "\"/boot/vmlinuz-*…\" too",
		       image ? "which has none" : "which is not said");
}

static int check_kernels(const struct policy_seen *seen, const struct policy_group *group)
{
	const char *image = group->kernel.image, *initrd = group->kernel.initrd;
	char buf[64];
	struct key_value value;
	int r = 0;

	if (initrd) {
		value = locate(seen, GROUP_INITRD, buf);
		r = check_initrd(&value, image, initrd);
	}
	for (size_t i = 0; i < group->n_overrides && r == 0; i++) {
		const struct policy_override *override = &group->overrides[i];

		value = locate(seen, GROUP_OVERRIDE, buf);
		value.setting = config_setting_get_elem(value.setting, (unsigned)i);
		r = check_initrd(&value, override->kernel.image ? override->kernel.image : image,
				 override->kernel.initrd ? override->kernel.initrd : initrd);
	}
	return r;
}

int policy_check_group(const struct policy_seen *seen, const struct policy_group *group)
{
	int r;

	if (!group->name)
		return key_bad(seen->group,
			       "a group has no name; write name = \"db{n}\" or the like "
			       "in it");
	r = check_division(seen, group);
	if (r == 0)
		r = check_leftover(seen, group);
	if (r < 0)
		return r;
	if (group->memory_nodes && group->memory_from != FROM_INTERLEAVE)
		return bad_key(seen, GROUP_MEMORY_NODES,
			       "goes with memory_from = \"interleave\" only; write that too, or "
			       "leave memory_nodes out");
	return check_kernels(seen, group);
}

bool policy_group_is_one(const struct policy_group *group)
{
	return group->cpus ? group->n_cpus == 1 : group->count == 1;
}

/* What tells its kernels' names from another group's. */
static bool same_names(const struct policy_group *a, const struct policy_group *b)
{
	const struct policy_group *groups[] = { a, b };
	char names[2][TEMPLATE_MAX + 4];

	for (int i = 0; i < 2; i++)
		snprintf(names[i], sizeof(names[i]), "%s%s", groups[i]->name,
			 strchr(groups[i]->name, '{') || policy_group_is_one(groups[i]) ? ""
											: "{n}");
	return strcmp(a->name, b->name) == 0 || strcmp(names[0], names[1]) == 0;
}

/* For a depth-first search, in which a group that is met again on the way is a cycle. */
struct search {
	const struct policy *policy;
	const struct policy_group **by_name; /* sorted */
	enum { WHITE, GREY, BLACK } * color; /* of policy->groups */
	const struct policy_group **way;
	size_t n_way;
	struct key_value groups;
};

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(const struct policy_group *const *)a)->name,
		      (*(const struct policy_group *const *)b)->name);
}

/* Where the group's `after` stands. */
static struct key_value locate_after(const struct search *search, const struct policy_group *group)
{
	struct key_value value = search->groups;
	const config_setting_t *root = config_setting_parent(search->groups.setting);
	const config_setting_t *own =
		config_setting_get_elem(value.setting, (unsigned)(group - search->policy->groups));

	value.name = "groups.after";
	value.setting = config_setting_get_member(own, "after");
	if (!value.setting) {
		value.name = "default.after";
		value.setting = config_setting_get_member(
			config_setting_get_member(root, "default"), "after");
	}
	return value;
}

static int bad_cycle(const struct search *search, const struct policy_group *again)
{
	const struct key_value value = locate_after(search, search->way[search->n_way - 1]);
	char text[512] = "";
	size_t length = 0, i = 0;

	while (search->way[i] != again)
		i++;
	/* A very long one is shown by its beginning. */
	for (; i < search->n_way && length < sizeof(text) - 2 * TEMPLATE_MAX; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s -> ",
					   search->way[i]->name);
	return key_bad(&value,
		       "each of these groups would wait for the next: %s%s%s; take one "
		       "`after` out",
		       text, i < search->n_way ? "… -> " : "", again->name);
}

/* Not deeper than there are groups. */
static int visit(struct search *search, const struct policy_group *group)
{
	size_t index = (size_t)(group - search->policy->groups);
	int r;

	if (search->color[index] == BLACK)
		return 0;
	if (search->color[index] == GREY)
		return bad_cycle(search, group);
	search->color[index] = GREY;
	search->way[search->n_way++] = group;
	for (size_t i = 0; i < group->n_after; i++) {
		const struct policy_group key = { .name = group->after[i] }, *wanted = &key;
		const struct policy_group **found =
			bsearch(&wanted, search->by_name, search->policy->n_groups,
				sizeof(*search->by_name), compare_names);

		if (!found) {
			const struct key_value value = locate_after(search, group);
			const char *nearest = nearest_word(
				group->after[i], &search->policy->groups[0].name,
				search->policy->n_groups, sizeof(search->policy->groups[0]));

			return key_bad(&value, "no group has the name '%.64s'%s%s%s",
				       group->after[i], nearest ? "; did you mean '" : "",
				       nearest ? nearest : "",
				       nearest ? "'?"
					       : "; give the `name` of one as it is written "
						 "there");
		}
		r = visit(search, *found);
		if (r < 0)
			return r;
	}
	search->n_way--;
	search->color[index] = BLACK;
	return 0;
}

static int check_after(const struct key_value *groups, const struct policy *policy)
{
	_cleanup_free_ const struct policy_group **by_name =
		calloc(policy->n_groups, sizeof(*by_name));
	_cleanup_free_ const struct policy_group **way = calloc(policy->n_groups, sizeof(*way));
	struct search search = { policy, by_name, NULL, way, 0, *groups };
	_cleanup_free_ void *color = calloc(policy->n_groups, sizeof(*search.color));
	int r = 0;

	if (!by_name || !way || !color)
		return popcorn_error_set(groups->error, POPCORN_ERROR_NO_MEMORY, NULL);
	search.color = color;
	for (size_t i = 0; i < policy->n_groups; i++)
		by_name[i] = &policy->groups[i];
	qsort(by_name, policy->n_groups, sizeof(*by_name), compare_names);
	for (size_t i = 0; i < policy->n_groups && r == 0; i++)
		r = visit(&search, &policy->groups[i]);
	return r;
}

int policy_check(const struct key_value *root, const struct policy *policy)
{
	struct key_value groups = *root;

	groups.name = "groups";
	groups.setting = config_setting_get_member(root->setting, "groups");
	if (!policy->n_groups) {
		if (!groups.setting)
			return popcorn_error_set(
				root->error, POPCORN_ERROR_CONFIG,
				"%s:1: groups: is missing; write groups = ( { name = "
				"\"…\"; … } );",
				root->path);
		return key_bad(&groups, "is empty; write groups = ( { name = \"…\"; … } );");
	}
	for (size_t i = 0; i < policy->n_groups; i++)
		for (size_t j = 0; j < i; j++) {
			struct key_value value = groups;

			if (!same_names(&policy->groups[i], &policy->groups[j]))
				continue;
			value.setting = config_setting_get_elem(groups.setting, (unsigned)i);
			return key_bad(&value,
				       "the kernels of group '%s' would have the names of "
				       "those of group '%s' at line %u; rename one",
				       policy->groups[i].name, policy->groups[j].name,
				       policy->groups[j].line);
		}
	return check_after(&groups, policy);
}
