// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/agent-config.h"
#include "config.h"
#include "run.h"
#include "util.h"

static char folder[64], path[128];
static struct popcorn_error error;

static void setup(void)
{
	strcpy(folder, "/tmp/popcorn-config-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/db0.conf", folder);
	error = (struct popcorn_error){ 0 };
}

static void teardown(void)
{
	remove(path);
	rmdir(folder);
}

static void put(const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

static struct config *good(const char *text)
{
	struct config *config = NULL;

	put(text);
	ck_assert_msg(config_load(path, &config, &error) == 0, "%s", error.text);
	return config;
}

/* @where: "line: key" as the message has it behind the path. */
static void bad(const char *text, const char *where, const char *what)
{
	struct config *config = NULL;
	char expected[256];

	put(text);
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(config_load(path, &config, &error), -EINVAL);
	ck_assert_ptr_null(config);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CONFIG);
	snprintf(expected, sizeof(expected), "%s:%s", path, where);
	ck_assert_msg(strncmp(error.text, expected, strlen(expected)) == 0, "'%s' is not '%s'",
		      error.text, expected);
	ck_assert_msg(strstr(error.text, what) != NULL, "'%s' is not in '%s'", what, error.text);
}

START_TEST(test_defaults)
{
	struct config *config;
	struct utsname name;
	char image[256];

	/* No file at all, and an empty one. */
	for (int i = 0; i < 2; i++) {
		if (i)
			put("");
		ck_assert_int_eq(config_load(path, &config, &error), 0);
		uname(&name);
		snprintf(image, sizeof(image), "/boot/vmlinuz-%s", name.release);
		ck_assert_str_eq(config->default_image, image);
		ck_assert_str_eq(config->default_cmdline, "");
		ck_assert_uint_eq(config->default_memory, 512 * MIB);
		ck_assert_uint_eq(config->primary_memory, 512 * MIB);
		ck_assert_uint_eq(config->boot_timeout_usec, 120 * USEC_PER_SEC);
		ck_assert_uint_eq(config->stop_timeout_usec, 90 * USEC_PER_SEC);
		ck_assert_uint_eq(config->heartbeat_ms, 10000);
		ck_assert_str_eq(config->modules, "/lib/modules");
		ck_assert_str_eq(config->default_root, DEFAULT_ROOT);
		ck_assert_str_eq(config->cache, "/var/cache/popcorn");
		ck_assert_str_eq(config->virtiofsd, "/usr/lib/qemu/virtiofsd");
		ck_assert(config->fast_boot);
		ck_assert(config->drop_caches);
		ck_assert(config->network.enabled && !config->network.nat);
		ck_assert_str_eq(config->network.bridge, "popcorn0");
		ck_assert_str_eq(config->network.uplink, "");
		ck_assert_str_eq(ADDRESS_TEXT(config->network.address), "10.77.0.1");
		ck_assert_uint_eq(config->network.prefix, 22);
		ck_assert_uint_eq(config->network.gateway, 0);
		ck_assert_uint_eq(config->network.mtu, 1500);
		ck_assert_int_eq(hwloc_bitmap_weight(config->primary_cpus), 1);
		ck_assert(hwloc_bitmap_isset(config->primary_cpus, 0));
		config_free(config);
	}
}
END_TEST

START_TEST(test_every_key)
{
	struct config *config =
		good("primary = { cpus = \"1-2\"; memory = \"1G\"; };\n"
		     "default = { image = \"/i\"; cmdline = \"quiet x=\\\"y\\\"\"; memory = "
		     "4194304; root = \"/r:ro\"; };\n"
		     "boot = { timeout = 1.5; };\n"
		     "stop: { timeout = 7 };\n"
		     "memory = { drop_caches = false; };\n"
		     "heartbeat = 2;\nbusybox = \"/b\";\nagent = \"/a\";\nmodules = \"/m\";\n"
		     "cache = \"/c\";\nvirtiofsd = \"/v\";\nfast_boot = false;\n"
		     "network = { enabled = false; address = \"10.9.0.1/16\"; bridge = \"b\"; "
		     "nat = true; uplink = \"e\"; gateway = \"10.9.9.9\"; mtu = 9000; };\n");

	ck_assert_int_eq(hwloc_bitmap_weight(config->primary_cpus), 3);
	ck_assert(hwloc_bitmap_isset(config->primary_cpus, 0));
	ck_assert_uint_eq(config->primary_memory, 1024 * MIB);
	ck_assert_str_eq(config->default_image, "/i");
	ck_assert_str_eq(config->default_cmdline, "quiet x=\"y\"");
	ck_assert_uint_eq(config->default_memory, 4 * MIB);
	ck_assert_uint_eq(config->boot_timeout_usec, 1500000);
	ck_assert_uint_eq(config->stop_timeout_usec, 7 * USEC_PER_SEC);
	ck_assert(!config->drop_caches);
	ck_assert_uint_eq(config->heartbeat_ms, 2000);
	ck_assert_str_eq(config->busybox, "/b");
	ck_assert_str_eq(config->agent, "/a");
	ck_assert_str_eq(config->modules, "/m");
	ck_assert_str_eq(config->default_root, "/r:ro");
	ck_assert_str_eq(config->cache, "/c");
	ck_assert_str_eq(config->virtiofsd, "/v");
	ck_assert(!config->fast_boot);
	ck_assert(!config->network.enabled && config->network.nat);
	ck_assert_str_eq(config->network.bridge, "b");
	ck_assert_str_eq(config->network.uplink, "e");
	ck_assert_str_eq(ADDRESS_TEXT(config->network.address), "10.9.0.1");
	ck_assert_uint_eq(config->network.prefix, 16);
	ck_assert_str_eq(ADDRESS_TEXT(config->network.gateway), "10.9.9.9");
	ck_assert_uint_eq(config->network.mtu, 9000);
	config_free(config);
}
END_TEST

START_TEST(test_refused)
{
	struct config *config = NULL;

	bad("\nheartbeet = 1;\n", "2: heartbeet: ", "unknown key");
	bad("primary = {\n cpus = \"0\";\n memroy = \"1G\";\n};\n",
	    "3: primary.memroy: ", "unknown key");
	bad("primary = { cpus = { x = 1; }; };", "1: primary.cpus: ", "list of CPUs");
	bad("primary = 3;", "1: primary: ", "group");
	bad("prim = { cpus = \"0\"; };", "1: prim: ", "unknown key");
	bad("network = { address = \"10.9.0.1\"; };",
	    "1: network.address: ", "size of the network");
	bad("network = { address = 1; };", "1: network.address: ", "size of the network");
	bad("network = { address = \"10.9.0.1/24\"; };", " network: ", "511 addresses");
	bad("network = { gateway = \"x\"; };", "1: network.gateway: ", "give an address");
	bad("network = { gateway = \"10.9.0.1\"; };", " network: ", "not in the range");
	bad("network = { bridge = \"a/b\"; };", " network: ", "names of interfaces");
	bad("network = { bridge = \"popcorn7\"; };", " network: ", "popcorn1, popcorn2");
	bad("network = { mtu = 10; };", "1: network.mtu: ", "576 to 65521");
	bad("network = { nat = 1; };", "1: network.nat: ", "true or false");
	bad("network = true;", "1: network: ", "group");
	bad("heartbeat = \"1\";", "1: heartbeat: ", "number of seconds");
	bad("heartbeat = 0;", "1: heartbeat: ", "0.1");
	bad("heartbeat = -3;", "1: heartbeat: ", "0.1");
	bad("boot = { timeout = 86401; };", "1: boot.timeout: ", "86400");
	bad("boot = { timeout = 1e300; };", "1: boot.timeout: ", "86400");
	bad("default = { memory = \"512X\"; };", "1: default.memory: ", "'512X'");
	bad("default = { memory = \"1M\"; };", "1: default.memory: ", "2 MiB");
	bad("default = { memory = -2097152; };", "1: default.memory: ", "not a size");
	bad("default = { memory = true; };", "1: default.memory: ", "give a size");
	bad("default = { image = \"vmlinuz\"; };", "1: default.image: ", "absolute");
	bad("default = { image = 1; };", "1: default.image: ", "absolute");
	bad("default = { cmdline = 1; };", "1: default.cmdline: ", "text");
	bad("memory = { drop_caches = 1; };", "1: memory.drop_caches: ", "true or false");
	bad("fast_boot = \"yes\";", "1: fast_boot: ", "true or false");
	bad("cache = \"cache\";", "1: cache: ", "absolute");
	bad("primary = { cpus = \"0-\"; };", "1: primary.cpus: ", "'0-'");
	bad("heartbeat = 1;\nbusybox = ;\n", "2: ", "syntax error");
	bad("heartbeat = 1; heartbeat = 2;", "1: ", "duplicate");
	bad("heartbeet = 1;", "1: heartbeet: ", "did you mean 'heartbeat'?");
	bad("\nprimary = { memroy = 1; };",
	    "2: primary.memroy: ", "did you mean 'primary.memory'?");
	bad("zzz = 1;", "1: zzz: ", "the manual page names all");

	remove(path);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(config_load(path, &config, &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error.text, "can't be read: Is a directory"));
	rmdir(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(config_load(path, &config, &error), -EINVAL);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CONFIG);
}
END_TEST

/* What libconfig would read as something else, or not get done with, or obey. */
START_TEST(test_strict_text)
{
	char *text = malloc(1 << 20), *p;

	/* Cut to 32 bits, they would be 1, 2 MiB and 2 MiB. */
	bad("\nheartbeat = 4294967297;", "2: ", "4294967297 is too large for a number");
	bad("default = { memory = 4297064448; };", "1: ", "with L behind it");
	bad("default = { memory = 0x100200000; };", "1: ", "0x100200000 is too large");
	bad("heartbeat = 99999999999999999999L;", "1: ", "is too large");
	bad("heartbeat = 0x1ffffffffffffffffL;", "1: ", "is too large");
	config_free(good("default = { memory = 4297064448L; };"));
	config_free(good("default = { memory = 0x100200000L; };"));
	config_free(good("heartbeat = 1.e1; /* 99999999999 */ # 4294967297\n"
			 "cache = \"/99999999999\"; // /* 99999999999\n"));

	bad("heartbeat = 1;\n/* heartbeat = 2;\n", "2: ", "comment");
	bad("heartbeat = 1; /*/ heartbeat = 2;\n", "1: ", "comment");
	bad("heartbeat = 1;\ncache = \"/c;\n\n", "2: ", "close it with \"");
	bad("cache = \"/c\\", "1: ", "close it with \"");
	bad("cache = \"/c\\x00d\";", "1: ", "\\x00");
	bad("@include \"/etc/passwd\"\n", "1: ", "@include");
	bad("cache = \"/c\\\\\"; \n \t@include \"/\"", "2: ", "@include");
	/* Not that any of these would open anything. */
	config_free(
		good("# @include \"/\"\n/*\n@include \"/\"\n*/cache = \"/\n@include \\\"/\\\"\";"));

	strcpy(text, "heartbeat = ");
	for (const char *c = "[({"; *c; c++) {
		memset(text + 12, *c, 500000);
		text[500012] = '\0';
		bad(text, "1: ", "nested deeper");
	}
	p = text;
	for (int i = 0; i < 60000; i++)
		p += sprintf(p, "k%d = 1;\n", i);
	bad(text, "65: ", "more keys in one group");
	memset(text, ' ', (1 << 20) - 1);
	text[(1 << 20) - 1] = '\0';
	config_free(good(text));
	bad("heartbeat = 1;\x01", "1: ", "syntax error");
	/* What is shown of a file can be shown anywhere. */
	bad("default = { memory = \"\xff\x1b[31m\xc2\x9b\"; };", "1: ",
	    "'?"
	    "?[31m?"
	    "?'");
	free(text);
}
END_TEST

START_TEST(test_installed_file)
{
	struct config *config;
	struct popcorn_error e = { 0 };
	_cleanup_free_ char *text = NULL, *uncommented = NULL;
	void *data;
	size_t size;

	/* The file that is installed: as it is, and with all keys uncommented, it is valid. */
	ck_assert_msg(config_load(getenv("POPCORND_CONF"), &config, &e) == 0, "%s", e.text);
	config_free(config);
	ck_assert_int_eq(read_file(getenv("POPCORND_CONF"), 65536, &data, &size), 0);
	text = data;
	uncommented = calloc(1, size + 1);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (line[0] == '#' && line[1] != ' ')
			strcat(strcat(uncommented, line + 1), "\n");
	}
	config = good(uncommented);
	ck_assert_str_eq(config->default_image, "/boot/vmlinuz-VERSION");
	ck_assert_uint_eq(config->stop_timeout_usec, 90 * USEC_PER_SEC);
	ck_assert_uint_eq(config->default_memory, 512 * MIB);
	config_free(config);
}
END_TEST

START_TEST(test_memory)
{
	static const struct {
		const char *text;
		uint64_t value;
	} ok[] = {
		{ "512M", 512 * MIB },	      { "512MiB", 512 * MIB }, { "1G", 1024 * MIB },
		{ "0x40000000", 1024 * MIB }, { "2097152", 2 * MIB },  { "2048K", 2 * MIB },
		{ "4096T", 1ULL << 52 },
	};
	static const char *const wrong[] = {
		"",
		"M",
		"-2M",
		"+2M",
		" 2M",
		"2 M",
		"2m",
		"2MB",
		"2MiBx",
		"0",
		"0G",
		"3M",
		"1",
		"4097T",
		"99999999999999999999",
		"18446744073709551616",
		"16777216T",
		"0x",
		"1.5G",
	};
	uint64_t value;

	for (size_t i = 0; i < ARRAY_SIZE(ok); i++) {
		ck_assert_msg(parse_memory(ok[i].text, &value, NULL) == 0, "%s", ok[i].text);
		ck_assert_uint_eq(value, ok[i].value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		value = 77;
		error = (struct popcorn_error){ 0 };
		ck_assert_msg(parse_memory(wrong[i], &value, &error) == -EINVAL, "%s", wrong[i]);
		ck_assert_int_eq(error.id, POPCORN_ERROR_MEMORY_INVALID);
		ck_assert_uint_eq(value, 77);
	}
}
END_TEST

START_TEST(test_cpus)
{
	static const struct {
		const char *text, *list;
	} ok[] = { { "2", "2" },	{ "2-3,7", "2-3,7" },	{ "7,2", "2,7" },
		   { "2,2", "2" },	{ "0-4095", "0-4095" }, { "3-3", "3" },
		   { "65535", "65535" } };
	static const char *const wrong[] = { "",      "a",     "-1",	    "1-",  "3-2",
					     "1,",    ",1",    "1,,2",	    "1 2", "0x2",
					     "1-2-3", "65536", "4294967297" };
	hwloc_bitmap_t set;

	for (size_t i = 0; i < ARRAY_SIZE(ok); i++) {
		char *list;

		ck_assert_msg(parse_cpus(ok[i].text, &set, NULL) == 0, "%s", ok[i].text);
		hwloc_bitmap_list_asprintf(&list, set);
		ck_assert_str_eq(list, ok[i].list);
		free(list);
		hwloc_bitmap_free(set);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		error = (struct popcorn_error){ 0 };
		ck_assert_msg(parse_cpus(wrong[i], &set, &error) == -EINVAL, "%s", wrong[i]);
		ck_assert_int_eq(error.id, POPCORN_ERROR_INVALID_ARGUMENT);
	}
}
END_TEST

/* @text in a kernel's definition is refused, for @what, at "line: key". */
static void bad_def(const char *text, const char *where, const char *what)
{
	struct config *config = good("");
	struct kernel_def *def = NULL;
	char expected[256];

	put(text);
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(kernel_def_load(config, folder, "db0", &def, &error), -EINVAL);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CONFIG);
	snprintf(expected, sizeof(expected), "%s:%s", path, where);
	ck_assert_msg(strncmp(error.text, expected, strlen(expected)) == 0, "'%s' is not '%s'",
		      error.text, expected);
	ck_assert_msg(strstr(error.text, what) != NULL, "'%s' is not in '%s'", what, error.text);
	config_free(config);
}

START_TEST(test_shares)
{
	struct config *config = good("");
	struct kernel_def *def = NULL, *copy = NULL;
	char text[4096], *p;

	put("shares = ( { tag = \"data\"; path = \"/srv\"; },\n"
	    "{ path = \"/x\"; readonly = true; tag = \"0\"; } );\nvsock = true;");
	ck_assert_msg(kernel_def_load(config, folder, "db0", &def, &error) == 0, "%s", error.text);
	ck_assert_int_eq(kernel_def_copy(def, &copy), 0);
	kernel_def_free(def);
	ck_assert_uint_eq(copy->n_shares, 2);
	ck_assert_str_eq(copy->shares[0].tag, "data");
	ck_assert_str_eq(copy->shares[0].path, "/srv");
	ck_assert(!copy->shares[0].read_only);
	ck_assert_str_eq(copy->shares[1].tag, "0");
	ck_assert_str_eq(copy->shares[1].path, "/x");
	ck_assert(copy->shares[1].read_only);
	ck_assert_int_eq(copy->vsock, WISH_YES);
	kernel_def_free(copy);

	put("shares = ();\nvsock = false;");
	ck_assert_msg(kernel_def_load(config, folder, "db0", &def, &error) == 0, "%s", error.text);
	ck_assert_uint_eq(def->n_shares, 0);
	ck_assert_int_eq(def->vsock, WISH_NO);
	kernel_def_free(def);
	config_free(config);

	bad_def("shares = 1;", "1: shares: ", "give a list");
	bad_def("shares = { tag = \"a\"; path = \"/a\"; };", "1: shares: ", "give a list");
	bad_def("shares = ( \"a\" );", "1: shares[0]: ", "group");
	bad_def("shares = ( { tag = \"a\"; } );", "1: shares[0]: ", "a tag and a path");
	bad_def("shares = ( { tag = \"a\"; path = \"a\"; } );", "1: shares[0].path: ", "absolute");
	bad_def("shares = ( { tag = \"a\"; paht = \"/a\"; } );", "1: shares[0].paht: ", "'path'");
	bad_def("shares = ( { tag = \"a\"; path = \"/a\"; readonly = 1; } );",
		"1: shares[0].readonly: ", "true or false");
	bad_def("shares = ( { tag = \"a\"; path = \"/a\"; },\n{ tag = \"a\"; path = \"/b\"; } );",
		"2: shares[1]: ", "two shares have the tag a");
	for (const char *const *tag =
		     (const char *const[]){ "", "-a", "a/b", "a:b", "a b", AGENT_ROOT_TAG,
					    "0123456789012345678901234567890123456", NULL };
	     *tag; tag++) {
		snprintf(text, sizeof(text), "shares = ( { tag = \"%s\"; path = \"/a\"; } );",
			 *tag);
		bad_def(text, "1: shares[0]: ", "tag");
	}
	bad_def("vsock = 1;", "1: vsock: ", "true or false");
	p = text + sprintf(text, "shares = ( ");
	for (int i = 0; i <= SHARES_MAX; i++)
		p += sprintf(p, "%s{ tag = \"t%d\"; path = \"/\"; }", i ? ", " : "", i);
	strcpy(p, " );");
	bad_def(text, "1: shares[13]: ", "at most 13");
}
END_TEST

START_TEST(test_names)
{
	static const char *const ok[] = { "a", "db0", "A.b-c_d", "0" };
	static const char *const wrong[] = { "", ".a", "-a", "_a", "a/b", "a b", "a\n", "ä", ".." };
	char name[301];

	for (size_t i = 0; i < ARRAY_SIZE(ok); i++)
		ck_assert_int_eq(kernel_name_check(ok[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		error = (struct popcorn_error){ 0 };
		ck_assert_int_eq(kernel_name_check(wrong[i], &error), -EINVAL);
		ck_assert_int_eq(error.id, POPCORN_ERROR_INVALID_NAME);
	}
	memset(name, 'x', 300);
	name[300] = '\0';
	ck_assert_int_eq(kernel_name_check(name, NULL), -EINVAL);
	name[64] = '\0';
	ck_assert_int_eq(kernel_name_check(name, NULL), -EINVAL);
	name[63] = '\0';
	ck_assert_int_eq(kernel_name_check(name, NULL), 0);
}
END_TEST

START_TEST(test_kernel_file)
{
	struct config *config;
	struct kernel_def *def = NULL, *copy = NULL;

	ck_assert_int_eq(config_load("/nonexistent", &config, &error), 0);
	ck_assert_int_eq(kernel_def_load(config, folder, "db0", &def, &error), -ENOENT);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NO_SUCH_KERNEL);
	ck_assert_ptr_nonnull(strstr(error.text, path));
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(kernel_def_load(config, folder, "../db0", &def, &error), -EINVAL);
	ck_assert_int_eq(error.id, POPCORN_ERROR_INVALID_NAME);
	error = (struct popcorn_error){ 0 };

	put("");
	ck_assert_int_eq(kernel_def_load(config, folder, "db0", &def, &error), 0);
	ck_assert_str_eq(def->image, config->default_image);
	ck_assert_uint_eq(def->cpu_count, 1);
	ck_assert_ptr_null(def->cpus);
	ck_assert_ptr_null(def->initrd);
	ck_assert(!def->restart);
	def = kernel_def_free(def);

	put("image = \"/i\"; initrd = \"/r\"; cmdline = \"c\"; cpus = \"2-3\"; memory = \"64M\";\n"
	    "restart = \"on-failure\"; boot_timeout = 3; network = \"kernels,primary\";");
	ck_assert_msg(kernel_def_load(config, folder, "db0", &def, &error) == 0, "%s", error.text);
	ck_assert_int_eq(kernel_def_copy(def, &copy), 0);
	def = kernel_def_free(def);
	ck_assert_str_eq(copy->image, "/i");
	ck_assert_str_eq(copy->initrd, "/r");
	ck_assert_str_eq(copy->cmdline, "c");
	ck_assert_int_eq(hwloc_bitmap_weight(copy->cpus), 2);
	ck_assert_uint_eq(copy->memory, 64 * MIB);
	ck_assert(copy->restart);
	ck_assert_uint_eq(copy->boot_timeout_usec, 3 * USEC_PER_SEC);
	ck_assert_uint_eq(copy->network, NETWORK_PRIMARY | NETWORK_KERNELS);
	copy = kernel_def_free(copy);

	put("network = false;");
	ck_assert_int_eq(kernel_def_load(config, folder, "db0", &def, &error), 0);
	ck_assert_uint_eq(def->network, NETWORK_NONE);
	def = kernel_def_free(def);
	put("network = true;");
	ck_assert_int_eq(kernel_def_load(config, folder, "db0", &def, &error), 0);
	ck_assert_uint_eq(def->network, NETWORK_DEFAULT);
	def = kernel_def_free(def);

	put("cpus = 4;");
	ck_assert_int_eq(kernel_def_load(config, folder, "db0", &def, &error), 0);
	ck_assert_uint_eq(def->cpu_count, 4);
	def = kernel_def_free(def);

	put("memory_nodes = \"1:64M,0:128M\"; memory = \"192M\";");
	ck_assert_msg(kernel_def_load(config, folder, "db0", &def, &error) == 0, "%s", error.text);
	ck_assert_int_eq(kernel_def_copy(def, &copy), 0);
	def = kernel_def_free(def);
	ck_assert_uint_eq(copy->memory, 192 * MIB);
	ck_assert_uint_eq(copy->n_memory_nodes, 2);
	ck_assert_uint_eq(copy->memory_nodes[0].node, 0);
	ck_assert_uint_eq(copy->memory_nodes[0].bytes, 128 * MIB);
	ck_assert_uint_eq(copy->memory_nodes[1].node, 1);
	ck_assert_uint_eq(copy->memory_nodes[1].bytes, 64 * MIB);
	copy = kernel_def_free(copy);
	put("memory_nodes = \"3:64M\";");
	ck_assert_int_eq(kernel_def_load(config, folder, "db0", &def, &error), 0);
	ck_assert_uint_eq(def->memory, 64 * MIB);
	def = kernel_def_free(def);
	put("memory = \"64M\"; memory_nodes = \"0:64M,1:64M\";");
	ck_assert_int_eq(kernel_def_load(config, folder, "db0", &def, &error), -EINVAL);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CONFIG);
	ck_assert_ptr_nonnull(strstr(error.text, "memory is 64 MiB"));

	static const char *const wrong[] = {
		"memory_nodes = 3;", "memory_nodes = \"\";",  "memory_nodes = \"0:64M,0:64M\";",
		"cpus = 0;",	     "cpus = 5000;",	      "cpus = 1.5;",
		"restart = true;",   "restart = \"always\";", "heartbeat = 3;",
		"image = \"x\";",    "boot_timeout = 0;",     "root = \"x\";",
		"root = \"/\";",     "root = \"//:ro\";",     "root = \"/a/..\";",
		"root = \"/../a\";", "root = \"/a/..:ro\";",  "root = \"/a\\nb\";",
		"root = 1;",	     "network = 1;",	      "network = \"all\";",
		"network = \"\";",
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		put(wrong[i]);
		error = (struct popcorn_error){ 0 };
		ck_assert_int_eq(kernel_def_load(config, folder, "db0", &def, &error), -EINVAL);
		ck_assert_int_eq(error.id, POPCORN_ERROR_CONFIG);
		ck_assert_ptr_nonnull(strstr(error.text, ".conf:1: "));
	}
	config_free(config);
}
END_TEST

/* Who gives an initrd and no root means the /init in it. */
START_TEST(test_root)
{
	static const struct {
		const char *text, *root;
		bool has;
	} cases[] = {
		{ "", DEFAULT_ROOT, false },
		{ "initrd = \"/r\";", "initramfs", false },
		{ "root = \"primary\";", "primary", true },
		{ "initrd = \"/r\"; root = \"primary\";", "primary", true },
		{ "root = \"/srv/a:ro\";", "/srv/a:ro", true },
		{ "root = \"/srv/..a\";", "/srv/..a", true },
		{ "root = \"initramfs\";", "initramfs", false },
	};
	struct kernel_def *def = NULL, *copy = NULL;
	struct config *config;

	ck_assert_int_eq(config_load("/nonexistent", &config, &error), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put(cases[i].text);
		ck_assert_msg(kernel_def_load(config, folder, "db0", &def, &error) == 0, "%s",
			      error.text);
		ck_assert_int_eq(kernel_def_settle(config, def), 0);
		ck_assert_int_eq(kernel_def_copy(def, &copy), 0);
		def = kernel_def_free(def);
		ck_assert_str_eq(copy->root, cases[i].root);
		ck_assert(kernel_def_has_root(copy) == cases[i].has);
		copy = kernel_def_free(copy);
	}
	config_free(config);
}
END_TEST

START_TEST(test_memory_nodes)
{
	static const char *const wrong[] = {
		"",
		",",
		"0",
		"0:",
		":64M",
		"0:64M,",
		",0:64M",
		"0:64M,,1:64M",
		"0:64M 1:64M",
		"x:64M",
		"-1:64M",
		"+1:64M",
		" 1:64M",
		"0:1M",
		"0:0",
		"0:64M;1:64M",
		"1024:64M",
		"99999999999999999999:64M",
		"0x1:64M",
		"0:64M:1",
	};
	const struct node_memory twice[] = { { 1, 64 * MIB }, { 1, 64 * MIB } };
	const struct node_memory odd[] = { { 1, MIB } };
	const struct node_memory far[] = { { 1024, 64 * MIB } };
	struct kernel_def def = { .memory = 5 };
	struct node_memory *nodes;
	char many[8192] = "";
	char *text;
	size_t n;

	ck_assert_int_eq(parse_memory_nodes("1:1G,1023:64M", &nodes, &n, &error), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(nodes[1].node, 1023);
	ck_assert_int_eq(kernel_def_set_memory_nodes(&def, nodes, n, &error), 0);
	ck_assert_uint_eq(def.memory, 1088 * MIB);
	ck_assert_int_eq(memory_nodes_to_text(nodes, n, &text), 0);
	ck_assert_str_eq(text, "1:1073741824,1023:67108864");
	free(text);
	free(nodes);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		error = (struct popcorn_error){ 0 };
		ck_assert_msg(parse_memory_nodes(wrong[i], &nodes, &n, &error) < 0, "%s", wrong[i]);
		ck_assert_int_eq(error.id, POPCORN_ERROR_MEMORY_INVALID);
	}
	/* More parts than there can be nodes. */
	for (int i = 0; i < 1025; i++)
		sprintf(many + strlen(many), "%s0:2M", i ? "," : "");
	ck_assert_int_lt(parse_memory_nodes(many, &nodes, &n, &error), 0);
	/* What is refused changes nothing. */
	ck_assert_int_lt(kernel_def_set_memory_nodes(&def, twice, 2, &error), 0);
	ck_assert_int_lt(kernel_def_set_memory_nodes(&def, odd, 1, &error), 0);
	ck_assert_int_lt(kernel_def_set_memory_nodes(&def, far, 1, &error), 0);
	ck_assert_uint_eq(def.memory, 1088 * MIB);
	ck_assert_int_eq(kernel_def_set_memory_nodes(&def, NULL, 0, &error), 0);
	ck_assert_ptr_null(def.memory_nodes);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("config");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_defaults);
	tcase_add_test(tc, test_every_key);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_strict_text);
	tcase_add_test(tc, test_installed_file);
	tcase_add_test(tc, test_memory);
	tcase_add_test(tc, test_cpus);
	tcase_add_test(tc, test_shares);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_kernel_file);
	tcase_add_test(tc, test_memory_nodes);
	tcase_add_test(tc, test_root);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
