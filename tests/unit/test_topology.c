// SPDX-License-Identifier: GPL-2.0-or-later
/* Loading: this machine (a fake one), XML, synthetic; and everything that should be refused. */
#include <check.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"
#include "machine-check.h"
#include "machine.h"
#include "run.h"
#include "topology.h"
#include "util.h"

static struct popcorn_error error;
static struct fake *fake;
static char path[PATH_MAX + 16], run[PATH_MAX + 8];

static void setup(void)
{
	error = (struct popcorn_error){ 0 };
	fake = fake_new(16, 2, 16, 4);
	snprintf(path, sizeof(path), "%s/machine.xml", fake->root);
	snprintf(run, sizeof(run), "%s/run", fake->root);
}

static void teardown(void)
{
	fake_free(fake);
}

static void put(const void *text, size_t size)
{
	fake_write_file(fake, "/machine.xml", text, size);
}

static char *file_text(const char *name, size_t *ret_size)
{
	void *text = NULL;

	ck_assert_int_eq(read_file(name, TOPOLOGY_XML_MAX, &text, ret_size), 0);
	return text;
}

static char *sample(const char *name, size_t *ret_size)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s/%s.xml", getenv("POPCORN_TOPOLOGIES"), name);
	return file_text(whole, ret_size);
}

/* The file's name is in the error, and @why. */
static void refused(const char *why)
{
	struct topology *topology = NULL;

	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(topology_load_xml(path, &topology, &error), -EINVAL);
	ck_assert_ptr_null(topology);
	ck_assert_int_eq(error.id, POPCORN_ERROR_TOPOLOGY);
	ck_assert_msg(strncmp(error.text, path, strlen(path)) == 0, "%s", error.text);
	ck_assert_msg(strstr(error.text, why) != NULL, "%s", error.text);
}

static struct topology *live(void)
{
	struct topology *topology = NULL;

	ck_assert_msg(topology_load_live(fake->root, run, &topology, &error) == 0, "%s",
		      error.text);
	return topology;
}

static void set_online(unsigned first, unsigned last, bool online)
{
	for (unsigned cpu = first; cpu <= last; cpu++)
		fake->online[cpu] = online;
	fake_refresh(fake);
}

static int n_cpus(const struct topology *topology)
{
	return hwloc_bitmap_weight(hwloc_topology_get_topology_cpuset(topology_hwloc(topology)));
}

START_TEST(test_not_files)
{
	refused("can't be read: No such file");
	ck_assert_int_eq(mkdir(path, 0755), 0);
	refused("can't be read: Is a directory");
	rmdir(path);
	/* Nobody writes into it: it must not be waited for. */
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	refused("not a regular file");
	unlink(path);
	ck_assert_int_eq(symlink("/dev/zero", path), 0);
	refused("not a regular file");
}
END_TEST

START_TEST(test_too_large)
{
	put("<topology", 9);
	ck_assert_int_eq(truncate(path, (off_t)TOPOLOGY_XML_MAX + 1), 0);
	refused("more than 64 MiB");
}
END_TEST

START_TEST(test_garbage)
{
	static char garbage[10 << 20];

	put("", 0);
	refused("not a description of a machine");
	srandom(1);
	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (char)random();
	put(garbage, sizeof(garbage));
	refused("not a description of a machine");
	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (char)('!' + random() % 90);
	memcpy(garbage, "<topology version=\"2.0\">", 24);
	put(garbage, sizeof(garbage));
	refused("hwloc can't read it");
	memset(garbage, '<', sizeof(garbage));
	memcpy(garbage, "<topology version=\"2.0\">", 24);
	put(garbage, sizeof(garbage));
	refused("hwloc can't read it");
	put("<?xml version=\"1.0\"?><html></html>", 34);
	refused("not a description of a machine");
}
END_TEST

START_TEST(test_versions)
{
	static const char newer[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
				    "<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n"
				    "<topology version=\"3.0\">\n</topology>\n";

	put(newer, sizeof(newer) - 1);
	refused("version 3.0 of hwloc's XML, and hwloc 2 reads up to 2.x");
	ck_assert_ptr_nonnull(strstr(error.text, "--export-xml-flags v2"));
}
END_TEST

/* Cut off anywhere: an error, or (behind the last object) the machine; never anything else. */
START_TEST(test_truncated)
{
	size_t size, good = 0;
	char *text = sample("8em64t-2s2ca2c-buggynuma", &size);

	for (size_t cut = 0; cut < size; cut += 397) {
		struct topology *topology = NULL;

		error = (struct popcorn_error){ 0 };
		if (topology_parse_xml("cut.xml", text, cut, &topology, &error) == 0) {
			ck_assert_int_eq(n_cpus(topology), 8);
			good++;
			topology_free(topology);
		} else {
			ck_assert_int_eq(error.id, POPCORN_ERROR_TOPOLOGY);
			ck_assert_ptr_nonnull(strstr(error.text, "cut.xml: "));
		}
	}
	ck_assert_uint_le(good, 1);
	free(text);
}
END_TEST

/* What the child process is for: hwloc 2.9 crashes on each, or would never end. */
START_TEST(test_hostile)
{
	static const struct {
		const char *old, *new;
	} changes[] = {
		{ "nbobjs=\"8\"", "nbobjs=\"65536\"" },
		{ "nbobjs=\"8\"", "nbobjs=\"4294967295\"" },
		{ "nbobjs=\"8\"", "nbobjs=\"-1\"" },
		{ "nbobjs=\"8\"", "nbobjs=\"0\"" },
		{ "type=\"NUMANode\" nbobjs", "type=\"Nothing\" nbobjs" },
		{ "complete_cpuset=\"0x0000ffff\"", "complete_cpuset=\"0xf...f\"" },
		{ "cpuset=\"0x0000ffff\"", "cpuset=\"0xf...f\"" },
		{ "nodeset=\"0x000000ff\"", "nodeset=\"0xf...f\"" },
		{ "type=\"Machine\"", "type=\"PU\"" },
		{ "type=\"Machine\"", "type=\"NUMANode\"" },
		{ "type=\"Package\"", "type=\"Bridge\"" },
		{ "type=\"PU\"", "type=\"Machine\"" },
		{ "type=\"Core\"", "type=\"Misc\"" },
		{ "cache_size=\"1048576\"", "cache_size=\"99999999999999999999999\"" },
		{ "os_index=\"0\"", "os_index=\"99999999999\"" },
		{ "type=\"PU\" os_index=", "type=\"PU\" os_inbex=" },
		{ "type=\"PU\" os_index=\"0", "type=\"PU\" os_index=\"4294967295" },
		{ "type=\"NUMANode\" os_index=\"0", "type=\"NUMANode\" os_index=\"4294967294" },
		{ "length=\"30\"", "length=\"300000000\"" },
		{ "local_memory=\"8587984896\"", "local_memory=\"18446744073709551615\"" },
	};
	size_t size;
	char *text = sample("16amd64-8n2c", &size);

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct topology *topology = NULL;
		struct machine *machine = NULL;
		char *at = strstr(text, changes[i].old), *changed;
		const char *what;
		int r;

		ck_assert_msg(at != NULL, "%s", changes[i].old);
		ck_assert_int_gt(asprintf(&changed, "%.*s%s%s", (int)(at - text), text,
					  changes[i].new, at + strlen(changes[i].old)),
				 0);
		error = (struct popcorn_error){ 0 };
		r = topology_parse_xml("hostile.xml", changed, strlen(changed), &topology, &error);
		if (r == 0)
			r = machine_new(topology, NULL, &machine, &error);
		if (r < 0) {
			ck_assert_msg(error.id == POPCORN_ERROR_TOPOLOGY, "%s: %s", changes[i].new,
				      error.text);
			ck_assert_ptr_nonnull(strstr(error.text, "hostile.xml: "));
		} else {
			what = machine_check(machine);
			ck_assert_msg(!what, "%s: %s", changes[i].new, what);
		}
		machine_free(machine);
		topology_free(topology);
		free(changed);
	}
	free(text);
}
END_TEST

START_TEST(test_nul)
{
	size_t size;
	char *text = sample("8em64t-2s2ca2c-buggynuma", &size);

	text[size / 2] = '\0';
	put(text, size);
	refused("not a description of a machine");
	free(text);
}
END_TEST

START_TEST(test_synthetic_refused)
{
	static const char *const bad[] = {
		"",
		"x",
		"node:2 core",
		"node:0",
		"node:-1 pu:2",
		"core:100000000",
		"node:1024 core:1024 pu:1024",
		"4294967296",
		"2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2",
		"pu:2 core:2",
		"node:2(memory=",
		"0x100000 pu:2",
		"[numa",
		"../../etc/passwd",
	};
	struct topology *topology = NULL;
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		error = (struct popcorn_error){ 0 };
		ck_assert_msg(topology_load_synthetic(bad[i], &topology, &error) == -EINVAL,
			      "'%s' was taken", bad[i]);
		ck_assert_int_eq(error.id, POPCORN_ERROR_TOPOLOGY);
		ck_assert_ptr_nonnull(strstr(error.text, bad[i]));
		ck_assert_ptr_null(topology);
	}
	text = malloc(1 << 20);
	memset(text, '(', 1 << 20);
	text[(1 << 20) - 1] = '\0';
	ck_assert_int_eq(topology_load_synthetic(text, &topology, &error), -EINVAL);
	free(text);
}
END_TEST

START_TEST(test_synthetic_large)
{
	struct topology *topology = NULL;

	ck_assert_int_eq(topology_load_synthetic("node:64 core:64 pu:2", &topology, &error), 0);
	ck_assert_int_eq(n_cpus(topology), 8192);
	ck_assert_str_eq(topology_name(topology), "node:64 core:64 pu:2");
	topology_free(topology);
	ck_assert_int_eq(topology_load_synthetic("node:64 core:64 pu:3", &topology, &error),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(error.text, "more than 8192 CPUs"));
}
END_TEST

/* root's daemon sees the machine that is there, whatever its environment says. */
START_TEST(test_environment)
{
	struct topology *topology;
	size_t size;

	setenv("HWLOC_SYNTHETIC", "node:1 pu:1", 1);
	setenv("HWLOC_XMLFILE", "/nowhere.xml", 1);
	setenv("HWLOC_COMPONENTS", "synthetic,stop", 1);
	setenv("HWLOC_PLUGINS_PATH", "/nowhere", 1);
	setenv("HWLOC_XML_VERBOSE", "1", 1);
	topology = live();
	ck_assert_int_eq(n_cpus(topology), 16);
	ck_assert_ptr_null(getenv("HWLOC_COMPONENTS"));
	ck_assert_ptr_null(getenv("HWLOC_PLUGINS_PATH"));
	topology_warnings(topology, &size);
	ck_assert_uint_eq(size, 0);
	topology_free(topology);
}
END_TEST

START_TEST(test_live)
{
	static const char cpuinfo[] = "processor\t: 0\nmodel name\t: Fake\napicid\t\t: 0\n"
				      "initial apicid\t: 77\n\n"
				      "processor\t: 1\napicid\t\t: 1\n\n"
				      "processor\t: 2\napicid\t\t: 64\n\nprocessor\t: 99\n"
				      "apicid\t\t: 5\n";
	struct topology *topology, *again = NULL;
	struct machine *machine = NULL;
	char *xml = NULL;

	fake_write_file(fake, "/proc/cpuinfo", cpuinfo, sizeof(cpuinfo) - 1);
	topology = live();
	ck_assert(topology_is_live(topology));
	ck_assert_str_eq(topology_name(topology), "this machine");
	ck_assert_int_eq(machine_new(topology, NULL, &machine, &error), 0);
	ck_assert_ptr_null(machine_check(machine));
	ck_assert(machine->live);
	ck_assert_uint_eq(machine->n_cpus, 16);
	ck_assert_uint_eq(machine->n_domains[LEVEL_NODE], 4);
	ck_assert_uint_eq(machine->n_domains[LEVEL_PACKAGE], 4);
	ck_assert_uint_eq(machine->n_domains[LEVEL_CORE], 8);
	ck_assert_uint_eq(machine->cpus[0].apicid, 0);
	ck_assert_uint_eq(machine->cpus[2].apicid, 64);
	ck_assert_uint_eq(machine->cpus[3].apicid, UNKNOWN);
	ck_assert_uint_eq(machine_distance(machine, 1, 2), 23);
	machine_free(machine);

	/* What is exported carries it all. */
	ck_assert_int_eq(topology_export_xml(topology, &xml, &error), 0);
	topology_free(topology);
	ck_assert_int_eq(topology_parse_xml("live", xml, strlen(xml), &again, &error), 0);
	ck_assert(!topology_is_live(again));
	ck_assert_int_eq(machine_new(again, NULL, &machine, &error), 0);
	ck_assert_uint_eq(machine->cpus[2].apicid, 64);
	ck_assert_uint_eq(machine->n_domains[LEVEL_NODE], 4);
	ck_assert_uint_eq(machine_distance(machine, 1, 2), 23);
	machine_free(machine);
	topology_free(again);
	free(xml);
}
END_TEST

static void add_device(const char *address, unsigned class, const char *driver, const char *cpus)
{
	char name[256], value[256], target[PATH_MAX + 256];
	unsigned char config[64] = { 0x86, 0x80, 0x33, 0x15 };

	config[9] = 0;
	config[10] = (unsigned char)class;
	config[11] = (unsigned char)(class >> 8);
	snprintf(name, sizeof(name), "/sys/bus/pci/devices/%s/config", address);
	fake_write_file(fake, name, config, sizeof(config));
	snprintf(name, sizeof(name), "/sys/bus/pci/devices/%s/class", address);
	snprintf(value, sizeof(value), "0x%04x00\n", class);
	fake_write_file(fake, name, value, strlen(value));
	snprintf(name, sizeof(name), "/sys/bus/pci/devices/%s/vendor", address);
	fake_write_file(fake, name, "0x8086\n", 7);
	snprintf(name, sizeof(name), "/sys/bus/pci/devices/%s/device", address);
	fake_write_file(fake, name, "0x1533\n", 7);
	snprintf(name, sizeof(name), "/sys/bus/pci/devices/%s/local_cpus", address);
	snprintf(value, sizeof(value), "%s\n", cpus);
	fake_write_file(fake, name, value, strlen(value));
	snprintf(target, sizeof(target), "%s/sys/bus/pci/devices/%s/driver", fake->root, address);
	unlink(target);
	if (driver) {
		snprintf(value, sizeof(value), "../../../../bus/pci/drivers/%s", driver);
		ck_assert_int_eq(symlink(value, target), 0);
	}
}

START_TEST(test_live_devices)
{
	char gone[PATH_MAX + 64], elsewhere[PATH_MAX + 64];
	struct machine *machine = NULL;
	struct topology *topology;

	add_device("0000:03:00.0", 0x0200, "igb", "0000000f");
	add_device("0000:04:00.0", 0x0108, NULL, "000000f0");
	topology = live();
	ck_assert_int_eq(machine_new(topology, NULL, &machine, &error), 0);
	ck_assert_uint_eq(machine->n_devices, 2);
	ck_assert_str_eq(machine->devices[0].address, "0000:03:00.0");
	ck_assert_str_eq(machine->devices[0].driver, "igb");
	ck_assert_str_eq(machine->devices[0].group, "network");
	ck_assert_uint_eq(machine->devices[0].first_cpu, 0);
	ck_assert_uint_eq(machine->devices[0].n_cpus, 4);
	ck_assert_ptr_null(machine->devices[1].driver);
	ck_assert_str_eq(machine->devices[1].group, "storage");
	ck_assert_uint_eq(machine->devices[1].first_cpu, 4);
	machine_free(machine);
	topology_free(topology);

	/* A driver that changes while CPUs are away is the new one. */
	set_online(12, 15, false);
	add_device("0000:03:00.0", 0x0200, "vfio-pci", "0000000f");
	topology = live();
	ck_assert_int_eq(n_cpus(topology), 16);
	ck_assert_int_eq(machine_new(topology, NULL, &machine, &error), 0);
	ck_assert_str_eq(machine->devices[0].driver, "vfio-pci");
	machine_free(machine);
	topology_free(topology);

	/* So is a device (a new virtual function, say), and one that is gone is gone. */
	add_device("0000:05:10.0", 0x0200, "igbvf", "00000030");
	snprintf(gone, sizeof(gone), "%s/sys/bus/pci/devices/0000:04:00.0", fake->root);
	snprintf(elsewhere, sizeof(elsewhere), "%s/gone", fake->root);
	ck_assert_int_eq(rename(gone, elsewhere), 0);
	topology = live();
	ck_assert_int_eq(machine_new(topology, NULL, &machine, &error), 0);
	ck_assert_ptr_null(machine_check(machine));
	ck_assert_uint_eq(machine->n_cpus, 16);
	ck_assert_uint_eq(machine->n_devices, 2);
	ck_assert_str_eq(machine->devices[0].address, "0000:03:00.0");
	ck_assert_str_eq(machine->devices[1].address, "0000:05:10.0");
	ck_assert_str_eq(machine->devices[1].driver, "igbvf");
	ck_assert_uint_eq(machine->devices[1].first_cpu, 4);
	ck_assert_uint_eq(machine->devices[1].n_cpus, 4);
	machine_free(machine);
	topology_free(topology);
}
END_TEST

/* Offline ever since: they are there, and nobody knows where. */
START_TEST(test_live_offline)
{
	struct machine *machine = NULL;
	struct topology *topology;

	set_online(13, 14, false);
	topology = live();
	ck_assert_int_eq(machine_new(topology, NULL, &machine, &error), 0);
	ck_assert_ptr_null(machine_check(machine));
	ck_assert_uint_eq(machine->n_cpus, 16);
	ck_assert_uint_eq(machine->cpus[14].os, 13);
	ck_assert_uint_eq(machine->cpus[15].os, 14);
	for (size_t i = 0; i < 16; i++)
		ck_assert_int_eq(machine->cpus[i].state, i < 14 ? CPU_USABLE : CPU_OFFLINE);
	ck_assert_uint_eq(machine->cpus[13].os, 15);
	ck_assert_uint_eq(machine->cpus[13].in[LEVEL_NODE], 3);
	ck_assert_uint_eq(machine->cpus[14].in[LEVEL_NODE], UNKNOWN);
	machine_free(machine);
	topology_free(topology);
}
END_TEST

/* hwloc leaves out what contradicts itself, and would only say so on standard error. */
START_TEST(test_dropped)
{
	struct topology *topology;
	char out[PATH_MAX + 32];
	const char *const *warnings;
	struct stat st;
	size_t n;

	/* CPUs 2-5 are in node 0 or 1 already. */
	fake_write_file(fake, "/sys/devices/system/node/node2/cpumap", "0000003c\n", 9);
	snprintf(out, sizeof(out), "%s/stderr", fake->root);
	ck_assert_ptr_nonnull(freopen(out, "w", stderr));
	topology = live();
	fflush(stderr);
	ck_assert_int_eq(stat(out, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	warnings = topology_warnings(topology, &n);
	ck_assert_uint_eq(n, 1);
	ck_assert_ptr_nonnull(strstr(warnings[0], "Linux knows node 2"));
	topology_free(topology);
}
END_TEST

START_TEST(test_saved)
{
	struct topology *topology;
	char saved[PATH_MAX + 32];
	struct stat before, after;

	snprintf(saved, sizeof(saved), "%s/topology.xml", run);
	topology_free(live());
	ck_assert_int_eq(stat(saved, &before), 0);

	/* Away: seen where they were. */
	set_online(9, 15, false);
	topology = live();
	ck_assert_int_eq(n_cpus(topology), 16);
	ck_assert_uint_eq(topology_node(topology, 9), 2);
	ck_assert_uint_eq(topology_node(topology, 15), 3);
	ck_assert_uint_eq(topology_distance(topology, 1, 3), 22);
	topology_free(topology);
	ck_assert_int_eq(stat(saved, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	/* Nor is it written again as long as nothing is new. */
	set_online(9, 15, true);
	topology_free(live());
	ck_assert_int_eq(stat(saved, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	set_online(9, 15, false);

	/* Without the file: only what is there; and that is written, and replaced by more. */
	ck_assert_int_eq(unlink(saved), 0);
	topology = live();
	ck_assert_int_eq(n_cpus(topology), 9);
	ck_assert_uint_eq(topology_node(topology, 15), 0);
	topology_free(topology);
	set_online(9, 15, true);
	topology_free(live());
	set_online(9, 15, false);
	topology = live();
	ck_assert_int_eq(n_cpus(topology), 16);
	topology_free(topology);
}
END_TEST

START_TEST(test_saved_crossed)
{
	struct topology *topology;
	hwloc_bitmap_t cpus = hwloc_bitmap_alloc();

	/* 12-15 were never seen while 4-7 were there, and the other way round. */
	set_online(12, 15, false);
	topology_free(live());
	set_online(12, 15, true);
	set_online(4, 7, false);
	topology = live();
	hwloc_bitmap_set_range(cpus, 8, 15);
	hwloc_bitmap_set_range(cpus, 0, 3);
	ck_assert(topology_covers(topology, cpus));
	ck_assert_uint_eq(topology_node(topology, 5), 1);
	ck_assert_uint_eq(topology_node(topology, 13), 3);
	topology_free(topology);
	hwloc_bitmap_free(cpus);
}
END_TEST

START_TEST(test_saved_broken)
{
	glob_t found = { 0 };
	struct topology *topology;
	char name[PATH_MAX + 32];
	size_t size, n;
	char *text;

	fake_write_file(fake, "/run/topology.xml", "<topology version=\"2.0\"><obj", 28);
	topology = live();
	ck_assert_int_eq(n_cpus(topology), 16);
	topology_free(topology);
	snprintf(name, sizeof(name), "%s/topology.xml", run);
	text = file_text(name, &size);
	ck_assert_ptr_nonnull(strstr(text, "</topology>"));
	free(text);

	/* A folder is in the way: all goes on, with a warning. */
	ck_assert_int_eq(unlink(name), 0);
	ck_assert_int_eq(mkdir(name, 0755), 0);
	topology = live();
	ck_assert_int_eq(n_cpus(topology), 16);
	ck_assert_ptr_nonnull(strstr(topology_warnings(topology, &n)[0], "can't write"));
	ck_assert_uint_eq(n, 1);
	topology_free(topology);
	snprintf(name, sizeof(name), "%s/topology.xml.*", run);
	ck_assert_int_eq(glob(name, 0, NULL, &found), GLOB_NOMATCH);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("topology");
	TCase *tc = tcase_create("topology");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_not_files);
	tcase_add_test(tc, test_too_large);
	tcase_add_test(tc, test_garbage);
	tcase_add_test(tc, test_versions);
	tcase_add_test(tc, test_truncated);
	tcase_add_test(tc, test_hostile);
	tcase_add_test(tc, test_nul);
	tcase_add_test(tc, test_synthetic_refused);
	tcase_add_test(tc, test_synthetic_large);
	tcase_add_test(tc, test_environment);
	tcase_add_test(tc, test_live);
	tcase_add_test(tc, test_live_devices);
	tcase_add_test(tc, test_live_offline);
	tcase_add_test(tc, test_dropped);
	tcase_add_test(tc, test_saved);
	tcase_add_test(tc, test_saved_crossed);
	tcase_add_test(tc, test_saved_broken);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
