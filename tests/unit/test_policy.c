// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine.h"
#include "policy.h"
#include "run.h"
#include "util.h"

static struct popcorn_error error;

static void setup(void)
{
	error = (struct popcorn_error){ 0 };
}

static struct policy *good(const char *text)
{
	struct policy *policy = NULL;

	error = (struct popcorn_error){ 0 };
	ck_assert_msg(policy_parse("dir/test.conf", text, strlen(text), &policy, &error) == 0,
		      "%s: %s", text, error.text);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NONE);
	return policy;
}

static void bad_text(const char *text, size_t size, const char *where, const char *what)
{
	struct policy *policy = NULL;
	char expected[256];

	error = (struct popcorn_error){ 0 };
	ck_assert_msg(policy_parse("dir/test.conf", text, size, &policy, &error) == -EINVAL,
		      "'%.500s' was taken", text);
	ck_assert_ptr_null(policy);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CONFIG);
	snprintf(expected, sizeof(expected), "dir/test.conf:%s", where);
	ck_assert_msg(strncmp(error.text, expected, strlen(expected)) == 0, "'%s' is not '%s'",
		      error.text, expected);
	ck_assert_msg(strstr(error.text, what) != NULL, "'%s' is not in '%s'", what, error.text);
}

/* @where: "line: key: " as the message has it behind the path. */
static void bad(const char *text, const char *where, const char *what)
{
	bad_text(text, strlen(text), where, what);
}

/* One group, beginning at line 1: its keys; what is wrong is said of "groups.KEY". */
static void bad_group(const char *keys, const char *where, const char *what)
{
	_cleanup_free_ char *text = NULL;

	ck_assert_int_gt(asprintf(&text, "groups = ( { name = \"a\"; %s } );", keys), 0);
	bad(text, where, what);
}

static struct policy *good_group(const char *keys)
{
	_cleanup_free_ char *text = NULL;

	ck_assert_int_gt(asprintf(&text, "groups = ( { name = \"a\"; %s } );", keys), 0);
	return good(text);
}

static void ck_assert_set(hwloc_const_bitmap_t set, const char *list)
{
	_cleanup_free_ char *is = NULL;

	ck_assert_ptr_nonnull(set);
	hwloc_bitmap_list_asprintf(&is, set);
	ck_assert_str_eq(is, list);
}

START_TEST(test_defaults)
{
	struct policy *policy = good("groups = ( { name = \"a\"; count = 1; } );");
	const struct policy_group *group = &policy->groups[0];

	ck_assert_str_eq(policy->path, "dir/test.conf");
	ck_assert_str_eq(policy->name, "test");
	ck_assert_ptr_null(policy->description);
	ck_assert_uint_eq(policy->n_groups, 1);
	ck_assert_ptr_null(policy->primary.cpus);
	ck_assert_uint_eq(policy->primary.keep, LEVEL_CORE);
	ck_assert_uint_eq(policy->primary.cores, 0);
	ck_assert_uint_eq(policy->primary.memory, 0);
	ck_assert_uint_eq(policy->primary.n_near, 0);
	ck_assert_uint_eq(group->line, 1);
	ck_assert_str_eq(group->name, "a");
	ck_assert_ptr_null(group->cpus);
	ck_assert_int_eq(group->per, PER_NOTHING);
	ck_assert_uint_eq(group->cores, 0);
	ck_assert_uint_eq(group->count, 1);
	ck_assert_uint_eq(group->inside, LEVEL_MACHINE);
	ck_assert_int_eq(group->leftover, LEFTOVER_ERROR);
	ck_assert_int_eq(group->smt, SMT_TOGETHER);
	ck_assert_ptr_null(group->within_cpus);
	ck_assert_ptr_null(group->within_nodes);
	ck_assert_ptr_null(group->within_packages);
	ck_assert_ptr_null(group->within_kind);
	ck_assert_int_eq(group->memory, MEMORY_PROPORTIONAL);
	ck_assert_int_eq(group->memory_from, FROM_LOCAL);
	ck_assert_ptr_null(group->memory_nodes);
	ck_assert_uint_eq(group->align, 0);
	ck_assert_uint_eq(group->n_devices, 0);
	ck_assert_ptr_null(group->kernel.image);
	ck_assert_ptr_null(group->kernel.initrd);
	ck_assert_ptr_null(group->kernel.cmdline);
	ck_assert_ptr_null(group->kernel.root);
	ck_assert_int_eq(group->kernel.restart, -1);
	ck_assert_uint_eq(group->kernel.boot_timeout_usec, 0);
	ck_assert_uint_eq(group->n_overrides, 0);
	ck_assert_uint_eq(group->n_after, 0);
	policy_free(policy);
}
END_TEST

START_TEST(test_every_key)
{
	struct policy *policy = good(
		"description = \"what it is f\xc3\xbcr\";\n"
		"primary = { cpus = \"0-1\"; keep = \"node\"; cores = 2; memory = \"2G\";\n"
		"            near = ( \"network\", \"class:NVMExp\", \"0000:AB:1f.7\" ); };\n"
		"groups = (\n"
		"  { name = \"a{node}-{n}\"; per = \"l3\"; count = 3; leftover = \"primary\";\n"
		"    smt = \"apart\";\n"
		"    within = { cpus = \"2-9\"; nodes = \"0,2\"; packages = \"1\"; kind = "
		"\"kind1\"; };\n"
		"    memory = \"equal\"; memory_from = \"interleave\"; memory_nodes = \"1-2\";\n"
		"    align = \"128M\";\n"
		"    devices = ( \"03:00.0\", \"class:ethernet\", \"driver:nvme\", \"near\", "
		"\"storage\" );\n"
		"    image = \"/i\"; initrd = \"/r\"; cmdline = \"quiet x=\\\"y z\\\"\";\n"
		"    root = \"/srv/root:ro\"; restart = \"on-failure\"; boot_timeout = 1.5;"
		" network = \"kernels\";\n"
		"    override = ( { name = \"a0-1\"; image = \"/j\"; initrd = \"/s\"; cmdline = "
		"\"d\";\n"
		"                   root = \"primary\"; restart = \"no\"; boot_timeout = 9;"
		" network = false; },\n"
		"                 { name = \"a0-2\"; } );\n"
		"    after = ( \"b\", \"c\" ); },\n"
		"  { name = \"b\"; cpus = \"10\"; memory = \"512M\"; memory_from = \"any\"; after "
		"= \"c\" },\n"
		"  { name = \"c\"; cpus = [ \"11-12\", \"13\" ]; memory = 67108864; smt = "
		"\"apart\"; },\n"
		"  { name = \"d\"; cores = 4; inside = \"package\"; leftover = \"kernel\";\n"
		"    memory = \"proportional\"; memory_from = \"local\"; smt = \"together\"; },\n"
		"  { name = \"e\"; count = 4; leftover = \"spread\"; }\n"
		");\n");
	const struct policy_group *g = policy->groups;
	const struct policy_primary *primary = &policy->primary;

	ck_assert_str_eq(policy->description, "what it is f\xc3\xbcr");
	ck_assert_uint_eq(primary->line, 2);
	ck_assert_set(primary->cpus, "0-1");
	ck_assert_uint_eq(primary->keep, LEVEL_NODE);
	ck_assert_uint_eq(primary->cores, 2);
	ck_assert_uint_eq(primary->memory, 2048 * MIB);
	ck_assert_uint_eq(primary->n_near, 3);
	ck_assert_int_eq(primary->near[0].kind, SELECT_CLASS);
	ck_assert_str_eq(primary->near[0].value, "network");
	ck_assert_int_eq(primary->near[1].kind, SELECT_CLASS);
	ck_assert_str_eq(primary->near[1].value, "nvmexp");
	ck_assert_int_eq(primary->near[2].kind, SELECT_ADDRESS);
	ck_assert_str_eq(primary->near[2].value, "0000:ab:1f.7");
	ck_assert_uint_eq(primary->near[2].line, 3);

	ck_assert_uint_eq(policy->n_groups, 5);
	ck_assert_uint_eq(g->line, 5);
	ck_assert_str_eq(g->name, "a{node}-{n}");
	ck_assert_int_eq(g->per, PER_L3);
	ck_assert_uint_eq(g->count, 3);
	ck_assert_int_eq(g->leftover, LEFTOVER_PRIMARY);
	ck_assert_int_eq(g->smt, SMT_APART);
	ck_assert_set(g->within_cpus, "2-9");
	ck_assert_set(g->within_nodes, "0,2");
	ck_assert_set(g->within_packages, "1");
	ck_assert_str_eq(g->within_kind, "kind1");
	ck_assert_int_eq(g->memory, MEMORY_EQUAL);
	ck_assert_int_eq(g->memory_from, FROM_INTERLEAVE);
	ck_assert_set(g->memory_nodes, "1-2");
	ck_assert_uint_eq(g->align, 128 * MIB);
	ck_assert_uint_eq(g->n_devices, 5);
	ck_assert_int_eq(g->devices[0].kind, SELECT_ADDRESS);
	ck_assert_str_eq(g->devices[0].value, "0000:03:00.0");
	ck_assert_int_eq(g->devices[1].kind, SELECT_CLASS);
	ck_assert_str_eq(g->devices[1].value, "ethernet");
	ck_assert_int_eq(g->devices[2].kind, SELECT_DRIVER);
	ck_assert_str_eq(g->devices[2].value, "nvme");
	ck_assert_int_eq(g->devices[3].kind, SELECT_NEAR);
	ck_assert_ptr_null(g->devices[3].value);
	ck_assert_int_eq(g->devices[4].kind, SELECT_CLASS);
	ck_assert_str_eq(g->devices[4].value, "storage");
	ck_assert_str_eq(g->kernel.image, "/i");
	ck_assert_str_eq(g->kernel.initrd, "/r");
	ck_assert_str_eq(g->kernel.cmdline, "quiet x=\"y z\"");
	ck_assert_str_eq(g->kernel.root, "/srv/root:ro");
	ck_assert_int_eq(g->kernel.restart, 1);
	ck_assert_uint_eq(g->kernel.boot_timeout_usec, 1500000);
	ck_assert_uint_eq(g->n_overrides, 2);
	ck_assert_uint_eq(g->overrides[0].line, 13);
	ck_assert_str_eq(g->overrides[0].name, "a0-1");
	ck_assert_str_eq(g->overrides[0].kernel.image, "/j");
	ck_assert_str_eq(g->overrides[0].kernel.initrd, "/s");
	ck_assert_str_eq(g->overrides[0].kernel.cmdline, "d");
	ck_assert_str_eq(g->overrides[0].kernel.root, "primary");
	ck_assert_int_eq(g->overrides[0].kernel.restart, 0);
	ck_assert_uint_eq(g->overrides[0].kernel.boot_timeout_usec, 9000000);
	ck_assert_uint_eq(g->kernel.network, NETWORK_KERNELS);
	ck_assert_uint_eq(g->overrides[0].kernel.network, NETWORK_NONE);
	ck_assert_uint_eq(g->overrides[1].kernel.network, NETWORK_DEFAULT);
	ck_assert_str_eq(g->overrides[1].name, "a0-2");
	ck_assert_ptr_null(g->overrides[1].kernel.image);
	ck_assert_int_eq(g->overrides[1].kernel.restart, -1);
	ck_assert_uint_eq(g->n_after, 2);
	ck_assert_str_eq(g->after[0], "b");
	ck_assert_str_eq(g->after[1], "c");

	ck_assert_uint_eq(g[1].n_cpus, 1);
	ck_assert_set(g[1].cpus[0], "10");
	ck_assert_int_eq(g[1].memory, MEMORY_FIXED);
	ck_assert_uint_eq(g[1].memory_bytes, 512 * MIB);
	ck_assert_int_eq(g[1].memory_from, FROM_ANY);
	ck_assert_uint_eq(g[1].n_after, 1);
	ck_assert_uint_eq(g[2].n_cpus, 2);
	ck_assert_set(g[2].cpus[0], "11-12");
	ck_assert_set(g[2].cpus[1], "13");
	ck_assert_uint_eq(g[2].memory_bytes, 64 * MIB);
	ck_assert_uint_eq(g[3].cores, 4);
	ck_assert_uint_eq(g[3].inside, LEVEL_PACKAGE);
	ck_assert_int_eq(g[3].leftover, LEFTOVER_KERNEL);
	ck_assert_int_eq(g[3].memory, MEMORY_PROPORTIONAL);
	ck_assert_int_eq(g[4].leftover, LEFTOVER_SPREAD);

	ck_assert(!policy_group_is_one(&g[0]));
	ck_assert(policy_group_is_one(&g[1]));
	ck_assert(!policy_group_is_one(&g[2]));
	policy_free(policy);
}
END_TEST

/* Every text of a choice is the enum's value that it says. */
START_TEST(test_choices)
{
	static const struct {
		const char *text;
		enum policy_per per;
	} pers[] = { { "core", PER_CORE }, { "l3", PER_L3 },	       { "node", PER_NODE },
		     { "kind", PER_KIND }, { "package", PER_PACKAGE }, { "thread", PER_THREAD } };
	static const struct {
		const char *text;
		unsigned level;
	} levels[] = { { "core", LEVEL_CORE },
		       { "l3", LEVEL_L3 },
		       { "node", LEVEL_NODE },
		       { "package", LEVEL_PACKAGE },
		       { "machine", LEVEL_MACHINE } };
	struct policy *policy;
	char keys[128];

	for (size_t i = 0; i < ARRAY_SIZE(pers); i++) {
		snprintf(keys, sizeof(keys), "per = \"%s\"; %s", pers[i].text,
			 pers[i].per == PER_THREAD ? "smt = \"apart\";" : "");
		policy = good_group(keys);
		ck_assert_int_eq(policy->groups[0].per, pers[i].per);
		policy_free(policy);
	}
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		snprintf(keys, sizeof(keys), "cores = 1; inside = \"%s\";", levels[i].text);
		policy = good_group(keys);
		ck_assert_uint_eq(policy->groups[0].inside, levels[i].level);
		policy_free(policy);
		if (levels[i].level == LEVEL_MACHINE)
			continue;
		snprintf(keys, sizeof(keys),
			 "primary = { keep = \"%s\"; }; groups = ( { name = \"a\"; count = 1; } );",
			 levels[i].text);
		policy = good(keys);
		ck_assert_uint_eq(policy->primary.keep, levels[i].level);
		policy_free(policy);
	}
}
END_TEST

START_TEST(test_default_group)
{
	/* Behind the groups, too; the group's own goes before; lists replace each other. */
	struct policy *policy = good(
		"groups = ( { name = \"a\"; },\n"
		"           { name = \"b\"; cores = 8; image = \"/b\"; devices = ( \"near\" ); },\n"
		"           { name = \"c\"; cpus = \"7\"; memory = \"1G\"; devices = (); },\n"
		"           { name = \"z\"; cores = 1; after = (); } );\n"
		"default = { cores = 2; inside = \"l3\"; leftover = \"kernel\"; image = \"/d\";\n"
		"            within = { nodes = \"1\"; kind = \"performance\"; }; after = \"z\";\n"
		"            devices = ( \"network\", \"storage\" ); memory = \"equal\"; };\n");
	const struct policy_group *g = policy->groups;

	ck_assert_uint_eq(g[0].cores, 2);
	ck_assert_uint_eq(g[0].inside, LEVEL_L3);
	ck_assert_int_eq(g[0].leftover, LEFTOVER_KERNEL);
	ck_assert_set(g[0].within_nodes, "1");
	ck_assert_str_eq(g[0].within_kind, "performance");
	ck_assert_str_eq(g[0].kernel.image, "/d");
	ck_assert_uint_eq(g[0].n_devices, 2);
	ck_assert_int_eq(g[0].memory, MEMORY_EQUAL);
	ck_assert_uint_eq(g[0].n_after, 1);
	ck_assert_uint_eq(g[1].cores, 8);
	ck_assert_str_eq(g[1].kernel.image, "/b");
	ck_assert_uint_eq(g[1].n_devices, 1);
	ck_assert_int_eq(g[1].devices[0].kind, SELECT_NEAR);
	/* A list of CPUs is divided already. */
	ck_assert_uint_eq(g[2].cores, 0);
	ck_assert_uint_eq(g[2].inside, LEVEL_MACHINE);
	ck_assert_int_eq(g[2].leftover, LEFTOVER_ERROR);
	ck_assert_ptr_null(g[2].within_nodes);
	ck_assert_ptr_null(g[2].within_kind);
	ck_assert_str_eq(g[2].kernel.image, "/d");
	ck_assert_uint_eq(g[2].n_devices, 0);
	ck_assert_int_eq(g[2].memory, MEMORY_FIXED);
	ck_assert_uint_eq(g[2].memory_bytes, 1024 * MIB);
	ck_assert_uint_eq(g[3].n_after, 0);
	policy_free(policy);

	bad("default = { name = \"x\"; }; groups = ( { count = 1; } );",
	    "1: default: ", "'name' can't");
	bad("groups = ( { name = \"a\"; } );\ndefault = { cpus = \"1\"; };",
	    "2: default: ", "'cpus' can't");
	bad("default = { override = (); }; groups = ( { name = \"a\"; count = 1; } );",
	    "1: default: ", "'override' can't");
	bad("default = 1;", "1: default: ", "write default = { … };");
	bad("default = { coers = 1; };", "1: default.coers: ", "did you mean 'cores'?");
	bad("groups = ( { name = \"a\"; count = 1; } );\ndefault = { cores = 0; };",
	    "2: default.cores: ", "1 to 4096");
	/* What comes from default is told from what the group says. */
	bad("default = {\ncores = 2; };\ngroups = ( { name = \"a\";\nper = \"node\"; } );",
	    "4: groups.per: ", "`cores` (which is said in default)");
	bad("default = {\nleftover = \"spread\"; };\ngroups = ( { name = \"a\";\nper = \"node\"; } "
	    ");",
	    "2: default.leftover: ", "`per` says how large");
	bad("default = { after = \"z\"; };\ngroups = ( { name = \"z\"; count = 1; } );",
	    "1: default.after: ", "z -> z");
}
END_TEST

START_TEST(test_unknown_and_types)
{
	bad("", "1: groups: ", "write groups = (");
	bad("description = \"nothing else\";", "1: groups: ", "is missing");
	bad("\ngroups = ();", "2: groups: ", "is empty");
	bad("groups = { name = \"a\"; };", "1: groups: ", "write groups = ( { … }, { … } );");
	bad("groups = (\n{ name = \"a\"; count = 1; },\n\"b\" );",
	    "3: groups: ", "is a list of groups");
	bad("groups = [ 1 ];", "1: groups: ", "is a list of groups");
	bad("group = ( { name = \"a\"; } );", "1: group: ", "did you mean 'groups'?");
	bad("\n\nprimary = { kep = \"node\"; };", "3: primary.kep: ", "did you mean 'keep'?");
	bad("primary = 3;", "1: primary: ", "write primary = { … };");
	bad("primary = { near = \"near\"; };", "1: primary.near: ", "names no device");
	bad("primary = { keep = \"machine\"; };",
	    "1: primary.keep: ", "give \"core\", \"l3\", \"node\" or \"package\", not 'machine'");
	bad("primary = { cores = 0; };", "1: primary.cores: ", "1 to 4096, not 0");
	bad("primary = { memory = \"1M\"; };", "1: primary.memory: ", "2 MiB");
	bad("primary = { cpus = 1; };", "1: primary.cpus: ", "list of CPUs");
	bad("groups = ( { name = \"a\";\n  coers = 4; } );",
	    "2: groups.coers: ", "did you mean 'cores'?");
	bad("groups = ( { name = \"a\";\n  frobnicate = 4; } );",
	    "2: groups.frobnicate: ", "the manual page names all");
	bad_group("within = { knid = 1; };",
		  "1: groups.within.knid: ", "did you mean 'within.kind'?");
	bad_group("within = \"1\";", "1: groups.within: ", "write within = { … };");
	bad_group("cores = { x = 1; };", "1: groups.cores: ", "give a number");
	bad_group("cores = \"2\";", "1: groups.cores: ", "give a number");
	bad_group("cores = 1.5;", "1: groups.cores: ", "give a number");
	bad_group("cores = 0;", "1: groups.cores: ", "1 to 4096, not 0");
	bad_group("cores = -1;", "1: groups.cores: ", "not -1");
	bad_group("cores = 4097;", "1: groups.cores: ", "not 4097");
	bad_group("cores = 4294967297;", "1: ", "4294967297 is too large for a number");
	bad_group("cores = 4294967297L;", "1: groups.cores: ", "not 4294967297");
	bad_group("count = 0;", "1: groups.count: ", "1 to 511, not 0");
	bad_group("count = 512;", "1: groups.count: ", "1 to 511, not 512");
	bad_group("per = \"nodes\";", "1: groups.per: ",
		  "give \"thread\", \"core\", \"l3\", \"node\", \"package\" or \"kind\", not "
		  "'nodes'");
	bad_group("per = 1;", "1: groups.per: ", "give \"thread\"");
	bad_group("inside = \"socket\";", "1: groups.inside: ", "\"package\" or \"machine\"");
	bad_group("leftover = \"drop\";", "1: groups.leftover: ", "\"kernel\" or \"spread\"");
	bad_group("smt = true;", "1: groups.smt: ", "give \"together\" or \"apart\"");
	bad_group("cpus = 4;", "1: groups.cpus: ", "how many cores a kernel gets is `cores`");
	bad_group("cpus = ();", "1: groups.cpus: ", "is empty");
	bad_group("cpus = ( \"1\",\n 2 );", "2: groups.cpus: ", "a list of CPUs in quotes");
	bad_group("cpus = ( \"1\",\n \"2-\" );", "2: groups.cpus: ", "'2-' is not a list of CPUs");
	bad_group("cpus = \"65536\";", "1: groups.cpus: ", "'65536' is not a list of CPUs");
	bad_group("within = { nodes = \"a\"; };", "1: groups.within.nodes: ", "list of numbers");
	bad_group("within = { packages = 1; };", "1: groups.within.packages: ", "in quotes");
	bad_group("within = { kind = \"\"; };", "1: groups.within.kind: ", "\"efficiency\"");
	bad_group("within = { kind = \"a-kind-of-16-let\"; };",
		  "1: groups.within.kind: ", "\"efficiency\"");
	bad_group("memory = \"lots\";",
		  "1: groups.memory: ", "\"proportional\", \"equal\" or a size");
	bad_group("memory = \"3M\";", "1: groups.memory: ", "2 MiB");
	bad_group("memory = -2097152;", "1: groups.memory: ", "not a size");
	bad_group("memory = 1.5;", "1: groups.memory: ", "give a size");
	bad_group("memory_from = \"remote\";",
		  "1: groups.memory_from: ", "\"interleave\" or \"any\"");
	bad_group("memory_nodes = \"x\";", "1: groups.memory_nodes: ", "list of numbers");
	bad_group("align = \"1M\";", "1: groups.align: ", "2 MiB");
	bad_group("image = \"vmlinuz\";", "1: groups.image: ", "absolute path");
	bad_group("image = \"/boot/\";", "1: groups.image: ", "absolute path");
	bad_group("image = 1;", "1: groups.image: ", "absolute path");
	bad_group("image = \"/boot/*/vmlinuz\";", "1: groups.image: ", "one *");
	bad_group("image = \"/boot/vmlinuz-*-*\";", "1: groups.image: ", "one *");
	bad_group("image = \"/boot/\\x1b\";", "1: groups.image: ", "byte 0x1b at position 6");
	bad_group("cmdline = 1;", "1: groups.cmdline: ", "text in quotes");
	bad_group("cmdline = \"a\\nb\";", "1: groups.cmdline: ", "byte 0xa at position 1");
	bad_group("cmdline = \"\xc3\xbc\";", "1: groups.cmdline: ", "printable ASCII");
	bad_group("cmdline = \"a\\x00b\";", "1: ", "\\x00");
	bad_group("root = \"virtiofs\";", "1: groups.root: ", "absolute path of a folder");
	bad_group("restart = true;", "1: groups.restart: ", "give \"no\" or \"on-failure\"");
	bad_group("network = \"all\";", "1: groups.network: ", "primary,kernels,outside");
	bad_group("network = 1;", "1: groups.network: ", "with whom it may speak");
	bad_group("boot_timeout = 0;", "1: groups.boot_timeout: ", "0.1 to 86400");
	bad_group("after = 1;", "1: groups.after: ", "the name of a group");
	bad_group("after = { x = 1; };", "1: groups.after: ", "the name of a group");
	bad("description = \"\xff\"; ", "1: description: ", "byte 0xff at position 0");
	bad("description = 7; ", "1: description: ", "text in quotes");
}
END_TEST

START_TEST(test_names)
{
	static const char *const ok[] = { "a",	    "0",	 "{n}",
					  "db{n}",  "{core}",	 "a-{l3}.{node}_{package}",
					  "{cpu}x", "{kind}-{n}" };
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(ok); i++) {
		snprintf(text, sizeof(text), "groups = ( { name = \"%s\"; count = 2; } );", ok[i]);
		policy_free(good(text));
	}
	bad("groups = (\n{ count = 1; } );", "2: groups: ", "write name = \"db{n}\"");
	bad("groups = ( { name = 1; } );", "1: groups.name: ", "text in quotes");
	bad("groups = ( { name = \"\"; } );", "1: groups.name: ", "1 to 63 characters");
	bad("groups = ( { name = \"-a\"; } );", "1: groups.name: ", "'-' can't be");
	bad("groups = ( { name = \"a b\"; } );", "1: groups.name: ", "' ' can't be");
	bad("groups = ( { name = \"../a\"; } );", "1: groups.name: ", "'.' can't be");
	bad("groups = ( { name = \"a/b\"; } );", "1: groups.name: ", "'/' can't be");
	bad("groups = ( { name = \"a\xc3\xbc"
	    "b\"; } );",
	    "1: groups.name: ",
	    "'\xc3\xbc"
	    "b' can't be");
	bad("groups = ( { name = \"a}\"; } );", "1: groups.name: ", "'}' can't be");
	bad("groups = ( { name = \"a{\"; } );", "1: groups.name: ", "'{' stands for nothing");
	bad("groups = ( { name = \"a{x}\"; } );", "1: groups.name: ", "'{x}' stands for nothing");
	bad("groups = ( { name = \"a{}\"; } );", "1: groups.name: ", "'{}' stands for nothing");
	/* Whatever stands for {n} and {kind}, it is a kernel's name. */
	snprintf(text, sizeof(text), "groups = ( { name = \"%058d{n}\"; count = 1; } );", 0);
	policy_free(good(text));
	snprintf(text, sizeof(text), "groups = ( { name = \"%059d{n}\"; count = 1; } );", 0);
	bad(text, "1: groups.name: ", "could have 64 characters; at most 63");
	snprintf(text, sizeof(text), "groups = ( { name = \"%049d{kind}\"; count = 1; } );", 0);
	bad(text, "1: groups.name: ", "could have 64 characters");
	snprintf(text, sizeof(text), "groups = ( { name = \"%0129d\"; count = 1; } );", 0);
	bad(text, "1: groups.name: ", "1 to 63 characters");

	bad("groups = ( { name = \"a\"; count = 1; },\n { name = \"b\"; count = 1; },\n"
	    "{ name = \"a\"; cpus = \"1\"; } );",
	    "3: groups: ", "those of group 'a' at line 1");
	/* "a" makes a0, a1 … */
	bad("groups = ( { name = \"a\"; count = 2; }, { name = \"a{n}\"; count = 2; } );",
	    "1: groups: ", "'a{n}' would have the names");
	policy_free(good(
		"groups = ( { name = \"a\"; count = 1; }, { name = \"a{n}\"; count = 2; } );"));

	bad_group("count = 2; override = ( { name = \"a0\"; },\n { name = \"a0\"; } );",
		  "2: groups.override: ", "kernel 'a0' has one at line 1");
	bad_group("count = 2; override = ( { image = \"/a\"; } );",
		  "1: groups.override: ", "write name =");
	bad_group("count = 2; override = ( { name = \"a/0\"; } );",
		  "1: groups.override.name: ", "not one for a kernel");
	bad_group("count = 2; override = ( { name = 0; } );",
		  "1: groups.override.name: ", "in quotes");
	bad_group("count = 2; override = ( { name = \"a0\"; cores = 1; } );",
		  "1: groups.override.cores: ", "unknown key");
	bad_group("count = 2; override = { name = \"a0\"; };",
		  "1: groups.override: ", "write override = ( { … }, { … } );");
}
END_TEST

START_TEST(test_after)
{
	policy_free(good(
		"groups = ( { name = \"a\"; count = 1; after = ( \"b\", \"c{n}\", \"b\" ); },\n"
		" { name = \"b\"; count = 1; after = \"c{n}\" },\n"
		" { name = \"c{n}\"; count = 2; } );"));
	bad("groups = ( { name = \"a\"; count = 1; after = \"b\"; },\n"
	    " { name = \"b\"; count = 1;\n after = \"a\"; } );",
	    "3: groups.after: ", "for the next: a -> b -> a; take");
	/* Only those that are in the cycle are named. */
	bad("groups = ( { name = \"x\"; count = 1; after = \"a\"; },\n"
	    " { name = \"a\"; count = 1; after = (\"y\", \"b\"); },\n"
	    " { name = \"y\"; count = 1; },\n"
	    " { name = \"b\"; count = 1; after = \"c\"; },\n"
	    " { name = \"c\"; count = 1; after = \"a\"; } );",
	    "5: groups.after: ", "for the next: a -> b -> c -> a; take");
	bad_group("count = 1; after = \"a\";", "1: groups.after: ", "for the next: a -> a; take");
	bad_group("count = 1; after = (\"q\");", "1: groups.after: ", "no group has the name 'q'");
	bad("groups = ( { name = \"storage\"; count = 1; },\n"
	    "{ name = \"web\"; count = 1; after = \"stroage\"; } );",
	    "2: groups.after: ", "did you mean 'storage'?");

	/* A cycle through as many groups as there can be. */
	char *text = malloc(1 << 20), *p = text;

	ck_assert_ptr_nonnull(text);
	p += sprintf(p, "groups = (");
	for (int i = 0; i < POLICY_GROUPS_MAX; i++)
		p += sprintf(p, "%s\n{ name = \"g%d\"; cpus = \"%d\"; after = \"g%d\"; }",
			     i ? "," : "", i, i + 1, (i + 1) % POLICY_GROUPS_MAX);
	strcpy(p, ");");
	bad(text, "512: groups.after: ", "g0 -> g1 -> g2 -> ");
	ck_assert_ptr_nonnull(strstr(error.text, "-> … -> g0; take one `after` out"));
	/* One more is too many. */
	strcpy(p, ", { name = \"one-more\"; } );");
	bad(text, "1: groups: ", "has 512 parts; give at most 511");
	free(text);
}
END_TEST

START_TEST(test_combinations)
{
	bad_group("", "1: groups: ", "does not say how it is to be divided");
	bad_group("memory = \"equal\";", "1: groups: ", "does not say how it is to be divided");
	bad_group("cpus = \"1\";\nper = \"core\";", "2: groups.per: ", "`cpus` says already");
	bad_group("cpus = \"1\";\ncores = 1;", "2: groups.cores: ", "`cpus` says already");
	bad_group("cpus = \"1\";\ncount = 1;", "2: groups.count: ", "`cpus` says already");
	bad_group("cpus = \"1\";\ninside = \"l3\";", "2: groups.inside: ", "`cpus` says already");
	bad_group("cpus = \"1\";\nleftover = \"primary\";",
		  "2: groups.leftover: ", "`cpus` says already");
	bad_group("cpus = \"1\";\nwithin = { cpus = \"1\"; };",
		  "2: groups.within.cpus: ", "`cpus` says already");
	bad_group("cpus = \"1\";\nwithin = { nodes = \"1\"; };",
		  "2: groups.within.nodes: ", "`cpus` says already");
	bad_group("cpus = \"1\";\nwithin = { packages = \"1\"; };",
		  "2: groups.within.packages: ", "`cpus` says already");
	bad_group("cpus = \"1\";\nwithin = {\nkind = \"performance\"; };",
		  "3: groups.within.kind: ", "`cpus` says already");
	bad_group("per = \"node\";\ncores = 2;",
		  "2: groups.cores: ", "`per` and `cores` both say how large");
	bad_group("per = \"node\";\ninside = \"package\";",
		  "2: groups.inside: ", "leave inside out");
	bad_group("smt = \"together\";\nper = \"thread\";",
		  "2: groups.per: ", "write smt = \"apart\"");
	bad_group("per = \"thread\";", "1: groups.per: ", "write smt = \"apart\"");
	bad_group("per = \"core\";\nsmt = \"apart\";", "2: groups.smt: ", "per = \"thread\"");
	bad_group("cores = 2; inside = \"core\";",
		  "1: groups.inside: ", "2 cores do not lie in one");
	policy_free(good_group("cores = 2; inside = \"core\"; smt = \"apart\";"));
	bad_group("per = \"node\";\nleftover = \"spread\";",
		  "2: groups.leftover: ", "`per` says how");
	bad_group("cores = 2;\nleftover = \"spread\";", "2: groups.leftover: ", "`cores` says how");
	bad_group("cores = 2; count = 2;\nleftover = \"spread\";",
		  "2: groups.leftover: ", "`cores` says how");
	bad_group("count = 2;\nleftover = \"kernel\";", "2: groups.leftover: ", "\"spread\"");
	bad_group("count = 2;\nmemory_nodes = \"1\";",
		  "2: groups.memory_nodes: ", "memory_from = \"interleave\"");
	bad_group("count = 2; memory_from = \"any\"; memory_nodes = \"1\";",
		  "1: groups.memory_nodes: ", "memory_from = \"interleave\"");

	/* A '*' in initrd needs one in the image that goes with it. */
	policy_free(good_group("count = 2; image = \"/boot/vmlinuz-*-rt-amd64\";"
			       "initrd = \"/boot/initrd.img-*-rt-amd64\";"));
	bad_group("count = 2;\ninitrd = \"/i-*\";",
		  "2: groups.initrd: ", "image, which is not said");
	bad_group("count = 2; image = \"/i\";\ninitrd = \"/i-*\";",
		  "2: groups.initrd: ", "image, which has none");
	bad_group("count = 2; image = \"/v-*\"; initrd = \"/i-*\";\n"
		  "override = (\n{ name = \"a1\"; image = \"/v\"; } );",
		  "3: groups.override: ", "image, which has none");
	policy_free(
		good_group("count = 2; image = \"/v-*\"; initrd = \"/i-*\";\n"
			   "override = ( { name = \"a1\"; image = \"/v\"; initrd = \"/i\"; } );"));
}
END_TEST

START_TEST(test_devices)
{
	static const struct {
		const char *text, *value;
	} ok[] = {
		{ "0:0:0.0", "0000:00:00.0" },
		{ "ab:cd:1e.6", "00ab:cd:1e.6" },
		{ "10000:01:00.0", "10000:01:00.0" },
		{ "ffffffff:ff:1f.7", "ffffffff:ff:1f.7" },
	};
	static const char *const wrong[] = {
		"",	     "near ",	 "Network",	      "class:",
		"class:a b", "driver:",	 "driver:/",	      "03:00",
		"03:00.8",   "03:20.0",	 "100:00.0",	      "0000:03:00:0",
		"03.00.0",   "3:.0",	 "0000:03:00.0x",     "1:0000:03:00.0",
		"03:00.",    ":03:00.0", "123456789:03:00.0",
	};
	char keys[128];

	for (size_t i = 0; i < ARRAY_SIZE(ok); i++) {
		struct policy *policy;

		snprintf(keys, sizeof(keys), "count = 1; devices = \"%s\";", ok[i].text);
		policy = good_group(keys);
		ck_assert_int_eq(policy->groups[0].devices[0].kind, SELECT_ADDRESS);
		ck_assert_str_eq(policy->groups[0].devices[0].value, ok[i].value);
		policy_free(policy);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(keys, sizeof(keys), "count = 1; devices = ( \"near\",\n\"%s\" );",
			 wrong[i]);
		bad_group(keys, "2: groups.devices: ", "names no device");
	}
	bad_group("count = 1; devices = 1;", "1: groups.devices: ", "a list of devices");
	bad_group("count = 1; devices = ( \"netwrok\" );",
		  "1: groups.devices: ", "did you mean \"network\"?");
}
END_TEST

START_TEST(test_hostile)
{
	size_t size = 10 << 20;
	char *text = malloc(size + 1), *p;

	ck_assert_ptr_nonnull(text);
	/* Refused before it is read: it is not even text. */
	memset(text, 0, size);
	bad_text(text, size, " has 10485760 bytes", "more than 1048576 are not read");
	bad_text("groups\0= ();", 12, " is not a text", "");
	bad_text("\0", 1, " is not a text", "");
	bad("groups = ( { name = \"a\";\n count = ; } );", "2: ", "syntax error");
	bad("groups = ( { name = \"a\n\" ", "2: ", "syntax error");
	/* Of these, libconfig would leak the text. */
	bad("groups = ( { name\n\"a\" } );", "2: ", "no text can stand here");
	bad("description = 1 \"a\";", "1: ", "no text can stand here");
	bad("description = \"x\", \"a\";", "1: ", "no text can stand here");
	bad("description = \"x\"; \"a\"", "1: ", "no text can stand here");
	bad("\"a\"", "1: ", "no text can stand here");
	bad("groups = ( ( 1 ) \"a\" );", "1: ", "no text can stand here");
	bad("groups = ( { \"a\" } );", "1: ", "no text can stand here");
	bad("description = \"a\" 1", "1: ", "syntax error");
	policy_free(good("description = \"a\" /* and */ \"b\"; groups = ( { name: \"a\", cpus: "
			 "[ \"1\", \"2\" ] } )"));
	bad("groups = ( { name = \"a ", "1: ", "close it with \"");
	bad("}}}}", "1: ", "syntax error");
	bad("\xef\xbb\xbfgroups = ();", "1: ", "syntax error");
	bad("@include \"/etc/passwd\"", "1: ", "@include is not for this file");
	bad("groups = ( { name = \"a\"; count = 1; } );\n  @include \"/\"", "2: ", "@include");
	policy_free(good("/*\n@include \"/\"\n*/ groups = ( { name = \"a\"; count = 1; } );"));

	for (const char *c = "[({"; *c; c++) {
		p = text + sprintf(text, "groups = ");
		memset(p, *c, 900000);
		p[900000] = '\0';
		bad(text, "1: ", "nested deeper");
	}
	p = text;
	for (int i = 0; i < 80000; i++)
		p += sprintf(p, "k%d = 1;\n", i);
	bad(text, "65: ", "more keys in one group");

	/* Lists that would each be a bitmap of 8 KiB. */
	p = text + sprintf(text, "groups = (");
	for (int i = 0; i < 3; i++) {
		p += sprintf(p, "%s\n{ name = \"a%d\"; cpus = ( \"1\"", i ? "," : "", i);
		for (int j = 1; j < 300; j++)
			p += sprintf(p, ", \"65535\"");
		p += sprintf(p, " ); }");
	}
	strcpy(p, ");");
	bad(text, "3: groups: ", "600 lists of CPUs up to here");
	p = text + sprintf(text, "groups = ( { name = \"a\"; cpus = ( \"1\"");
	for (int j = 1; j < 512; j++)
		p += sprintf(p, ", \"65535\"");
	strcpy(p, " ); } );");
	bad(text, "1: groups.cpus: ", "has 512 parts; give at most 511");
	p = text + sprintf(text, "groups = ( { name = \"a\"; count = 1; devices = ( \"near\"");
	for (int j = 1; j < 257; j++)
		p += sprintf(p, ", \"near\"");
	strcpy(p, " ); } );");
	bad(text, "1: groups.devices: ", "has 257 parts; give at most 256");
	p = text + sprintf(text, "default = { after = \"");
	memset(p, 'a', 900000);
	strcpy(p + 900000, "\"; }; groups = ( { name = \"a\"; count = 1; } );");
	bad(text, "1: default.after: ", "no group has the name 'aaa");
	p = text + sprintf(text, "groups = ( { name = \"a\"; count = 1; cmdline = \"");
	memset(p, 'a', 2048);
	strcpy(p + 2048, "\"; } );");
	bad(text, "1: groups.cmdline: ", "has 2048 characters; give at most 2047");
	/* Text from the file is shown in a way that a terminal and D-Bus can take. */
	bad_group("per = \"\x1b]0;x\xff\xc2\x9b\";", "1: groups.per: ",
		  "not '?]0;x?"
		  "?"
		  "?'");
	free(text);
}
END_TEST

static char folder[2][64];

static void folders_setup(void)
{
	setup();
	for (int i = 0; i < 2; i++) {
		strcpy(folder[i], "/tmp/popcorn-policy-XXXXXX");
		ck_assert_ptr_nonnull(mkdtemp(folder[i]));
	}
}

static void folders_teardown(void)
{
	char command[192];

	snprintf(command, sizeof(command), "rm -r %s %s", folder[0], folder[1]);
	ck_assert_int_eq(system(command), 0);
}

static const char *put(int i, const char *name, const char *text)
{
	static char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder[i], name);
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
	return path;
}

#define GOOD "description = \"D\"; groups = ( { name = \"a\"; count = 1; } );"

static void not_found(const char *const *folders, const char *name, int r, const char *what)
{
	char *path = NULL, *text = NULL;
	size_t size;

	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(policy_find(folders, name, &path, &text, &size, &error), r);
	ck_assert_int_eq(error.id,
			 r == -ENOENT ? POPCORN_ERROR_NO_SUCH_POLICY : POPCORN_ERROR_CONFIG);
	ck_assert_msg(strstr(error.text, what) != NULL, "'%s' is not in '%s'", what, error.text);
	ck_assert_ptr_null(path);
	ck_assert_ptr_null(text);
}

START_TEST(test_find)
{
	const char *const folders[] = { folder[0], "/nonexistent", folder[1], NULL };
	struct policy *policy = NULL;
	char *path = NULL, *text = NULL, name[128];
	size_t size;

	put(1, "one.conf", GOOD);
	put(0, "one.conf", "groups = ();");
	put(1, "two.conf", GOOD);
	ck_assert_int_eq(policy_find(folders, "one", &path, &text, &size, &error), 0);
	ck_assert_str_eq(text, "groups = ();");
	ck_assert_uint_eq(size, 12);
	snprintf(name, sizeof(name), "%s/one.conf", folder[0]);
	ck_assert_str_eq(path, name);
	free(path);
	free(text);
	/* A file is a file, wherever it lies. */
	snprintf(name, sizeof(name), "%s/one.conf", folder[1]);
	ck_assert_int_eq(policy_find(folders, name, &path, NULL, NULL, &error), 0);
	ck_assert_str_eq(path, name);
	free(path);

	ck_assert_msg(policy_load(folders, "two", &policy, &error) == 0, "%s", error.text);
	ck_assert_str_eq(policy->name, "two");
	snprintf(name, sizeof(name), "%s/two.conf", folder[1]);
	ck_assert_str_eq(policy->path, name);
	policy = policy_free(policy);
	/* The one that overrides counts, broken or not. */
	ck_assert_int_eq(policy_load(folders, "one", &policy, &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error.text, "one.conf:1: groups: is empty"));

	path = NULL;
	not_found(folders, "three", -ENOENT, "there is no policy 'three'");
	not_found(folders, "", -ENOENT, "no policy has a name like this");
	not_found(folders, "..", -ENOENT, "no policy has a name like this");
	not_found(folders, "a\nb", -ENOENT, "no policy has a name like this");
	not_found(folders, "one.conf", -ENOENT, "./one.conf");
	not_found(folders, "/nonexistent/x", -ENOENT, "there is no file /nonexistent/x");
	not_found(folders, "/tmp", -EINVAL, "/tmp: can't be read: Is a directory");
	not_found(folders, "/dev/zero", -EINVAL, "/dev/zero: can't be read: ");
	snprintf(name, sizeof(name), "%s/fifo.conf", folder[0]);
	ck_assert_int_eq(mkfifo(name, 0600), 0);
	not_found(folders, name, -EINVAL, "can't be read: ");
	not_found(folders, "fifo", -EINVAL, "can't be read: ");
	snprintf(name, sizeof(name), "%s/two.conf", folder[0]);
	ck_assert_int_eq(mkdir(name, 0755), 0);
	not_found(folders, "two", -EINVAL, "can't be read: Is a directory");
	/* Not a byte of it is read. */
	snprintf(name, sizeof(name), "%s/large.conf", folder[0]);
	put(0, "large.conf", "");
	ck_assert_int_eq(truncate(name, 10 << 20), 0);
	not_found(folders, "large", -EINVAL, "can't be read: File too large");
	ck_assert_int_eq(truncate(name, 1 << 20), 0);
	ck_assert_int_eq(policy_load(folders, "large", &policy, &error), -EINVAL);
}
END_TEST

START_TEST(test_list)
{
	const char *const folders[] = { folder[0], "/nonexistent", folder[1], NULL };
	const char *const file[] = { "/dev/null", NULL };
	struct policy_entry *entries = NULL;
	char name[128];
	size_t n = 99;

	ck_assert_int_eq(policy_list(folders, &entries, &n, &error), 0);
	ck_assert_uint_eq(n, 0);
	policy_entries_free(entries, n);

	put(1, "b.conf", GOOD);
	put(1, "a.conf", "groups = ( { name = \"a\"; count = 1; } );");
	put(0, "b.conf", "groups = (\n");
	put(0, "c.conf", GOOD);
	put(0, "c.conf.dpkg-new", GOOD);
	put(0, ".conf", GOOD);
	put(0, ".hidden.conf", GOOD);
	put(0, "bad name.conf", GOOD);
	put(0, "README", GOOD);
	snprintf(name, sizeof(name), "%s/d.conf", folder[0]);
	ck_assert_int_eq(mkdir(name, 0755), 0);
	ck_assert_msg(policy_list(folders, &entries, &n, &error) == 0, "%s", error.text);
	ck_assert_uint_eq(n, 4);
	ck_assert_str_eq(entries[0].name, "a");
	ck_assert_str_eq(entries[0].description, "");
	ck_assert(entries[0].valid && !entries[0].overrides);
	ck_assert_str_eq(entries[1].name, "b");
	ck_assert(!entries[1].valid && entries[1].overrides);
	ck_assert_ptr_nonnull(strstr(entries[1].description, "b.conf:2: syntax error"));
	ck_assert_str_eq(entries[2].name, "c");
	ck_assert_str_eq(entries[2].description, "D");
	ck_assert(entries[2].valid && !entries[2].overrides);
	snprintf(name, sizeof(name), "%s/c.conf", folder[0]);
	ck_assert_str_eq(entries[2].path, name);
	ck_assert_str_eq(entries[3].name, "d");
	ck_assert(!entries[3].valid);
	policy_entries_free(entries, n);

	ck_assert_int_eq(policy_list(file, &entries, &n, &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error.text, "/dev/null: can't be read: Not a directory"));
}
END_TEST

START_TEST(test_image)
{
	/* In the order of their versions. */
	static const char *const versions[] = { "5.10.0-30", "6.1.0-9",	     "6.1.0-56",
						"6.12~rc6",  "6.12.8+deb13", "6.12.117+deb12" };
	char pattern[128], initrd[128], expected[128];
	char *image = NULL, *ramdisk = NULL;

	snprintf(pattern, sizeof(pattern), "%s/vmlinuz-*-rt-amd64", folder[0]);
	snprintf(initrd, sizeof(initrd), "%s/initrd.img-*-rt-amd64", folder[1]);
	put(0, "vmlinuz-9.9-amd64", "");
	put(0, "vmlinuz--rt-amd64", "");
	put(0, "vmlinuz-9.9-rt-amd64.dpkg-new", "");
	put(0, "vmlinuz-9.9-rt-amd64~", "");
	snprintf(expected, sizeof(expected), "%s/vmlinuz-9.8-rt-amd64", folder[0]);
	ck_assert_int_eq(mkdir(expected, 0755), 0);
	ck_assert_int_eq(policy_image_find(pattern, NULL, &image, &ramdisk, &error), -ENOENT);
	ck_assert_int_eq(error.id, POPCORN_ERROR_IMAGE_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(error.text, pattern));
	for (int backwards = 0; backwards < 2; backwards++) {
		for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
			size_t at = backwards ? ARRAY_SIZE(versions) - 1 - i : i;
			char name[64];

			snprintf(name, sizeof(name), "vmlinuz-%s-rt-amd64", versions[at]);
			put(0, name, "");
			if (backwards)
				at = ARRAY_SIZE(versions) - 1;
			ck_assert_int_eq(policy_image_find(pattern, initrd, &image, &ramdisk, NULL),
					 0);
			snprintf(expected, sizeof(expected), "%s/vmlinuz-%s-rt-amd64", folder[0],
				 versions[at]);
			ck_assert_str_eq(image, expected);
			snprintf(expected, sizeof(expected), "%s/initrd.img-%s-rt-amd64", folder[1],
				 versions[at]);
			ck_assert_str_eq(ramdisk, expected);
			free(image);
			free(ramdisk);
		}
		/* Again, made in the other order. */
		for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
			snprintf(expected, sizeof(expected), "%s/vmlinuz-%s-rt-amd64", folder[0],
				 versions[i]);
			if (!backwards && i + 1 < ARRAY_SIZE(versions))
				ck_assert_int_eq(unlink(expected), 0);
		}
	}
	/* Nothing to find: whether it is there, its reader says. */
	ck_assert_int_eq(policy_image_find("/boot/x", NULL, &image, &ramdisk, NULL), 0);
	ck_assert_str_eq(image, "/boot/x");
	ck_assert_ptr_null(ramdisk);
	free(image);
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(policy_image_find("/nonexistent/x*", NULL, &image, &ramdisk, &error),
			 -ENOENT);
	ck_assert_int_eq(error.id, POPCORN_ERROR_IMAGE_NOT_FOUND);
}
END_TEST

/* The policies that are installed: ours to the last byte, and each says what it is for. */
START_TEST(test_shipped)
{
	static const char *const names[] = {
		"clusters",   "compute-io", "efficiency-cores", "equal-memory", "fault-domains",
		"isolate-rt", "per-core",   "per-l3",		"per-node",	"per-package",
	};
	const char *const folders[] = { getenv("POPCORN_POLICIES"), NULL };
	struct policy_entry *entries;
	size_t n;

	ck_assert_ptr_nonnull(folders[0]);
	ck_assert_int_eq(policy_list(folders, &entries, &n, &error), 0);
	ck_assert_uint_eq(n, ARRAY_SIZE(names));
	for (size_t i = 0; i < n; i++) {
		struct policy *policy;
		char *path, *text;
		size_t size;

		ck_assert_str_eq(entries[i].name, names[i]);
		ck_assert_msg(entries[i].valid, "%s", entries[i].description);
		ck_assert_uint_gt(strlen(entries[i].description), 10);
		ck_assert_int_eq(policy_find(folders, names[i], &path, &text, &size, &error), 0);
		ck_assert_msg(strncmp(text, "# SPDX", 6) == 0, "%s", path);
		ck_assert_msg(strstr(text, "\n# For: ") != NULL, "%s", path);
		ck_assert_int_eq(policy_parse(path, text, size, &policy, &error), 0);
		/* Whatever the machine, a kernel can tell which group it is of. */
		ck_assert_uint_ge(policy->n_groups, 1);
		policy_free(policy);
		free(path);
		free(text);
	}
	policy_entries_free(entries, n);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("policy");
	TCase *tc = tcase_create("parse"), *files = tcase_create("files");
	TCase *ours = tcase_create("ours");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_defaults);
	tcase_add_test(tc, test_every_key);
	tcase_add_test(tc, test_choices);
	tcase_add_test(tc, test_default_group);
	tcase_add_test(tc, test_unknown_and_types);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_after);
	tcase_add_test(tc, test_combinations);
	tcase_add_test(tc, test_devices);
	tcase_add_test(tc, test_hostile);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(files, folders_setup, folders_teardown);
	tcase_add_test(files, test_find);
	tcase_add_test(files, test_list);
	tcase_add_test(files, test_image);
	suite_add_tcase(suite, files);
	tcase_add_checked_fixture(ours, setup, NULL);
	tcase_add_test(ours, test_shipped);
	suite_add_tcase(suite, ours);
	return run_suite(suite);
}
