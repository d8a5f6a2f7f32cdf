// SPDX-License-Identifier: GPL-2.0-or-later
/* The facts of each machine in tests/topologies were read off lstopo by a person. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine-check.h"
#include "machine.h"
#include "run.h"
#include "topology.h"
#include "util.h"

#define GIB (UINT64_C(1) << 30)

static struct popcorn_error error;

static void setup(void)
{
	error = (struct popcorn_error){ 0 };
}

static struct machine *make(struct topology *topology)
{
	struct machine *machine = NULL;
	const char *what;

	ck_assert_msg(machine_new(topology, NULL, &machine, &error) == 0, "%s", error.text);
	topology_free(topology);
	what = machine_check(machine);
	ck_assert_msg(!what, "%s: %s", machine->name, what);
	return machine;
}

static struct machine *from_file(const char *name)
{
	struct topology *topology = NULL;
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s.xml", getenv("POPCORN_TOPOLOGIES"), name);
	ck_assert_msg(topology_load_xml(path, &topology, &error) == 0, "%s", error.text);
	return make(topology);
}

static struct machine *from_synthetic(const char *description)
{
	struct topology *topology = NULL;

	ck_assert_msg(topology_load_synthetic(description, &topology, &error) == 0, "%s",
		      error.text);
	return make(topology);
}

/* A whole file around @objects, which hang below the machine. */
static struct topology *from_objects(const char *sets, const char *objects, const char *behind)
{
	struct topology *topology = NULL;
	char text[16384];

	ck_assert_uint_lt(snprintf(text, sizeof(text),
				   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
				   "<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n"
				   "<topology version=\"2.0\">\n"
				   "  <object type=\"Machine\" os_index=\"0\" %s gp_index=\"1\">\n"
				   "%s  </object>\n%s</topology>\n",
				   sets, objects, behind),
			  sizeof(text));
	ck_assert_msg(topology_parse_xml("made.xml", text, strlen(text), &topology, &error) == 0,
		      "%s", error.text);
	return topology;
}

static void refused(struct topology *topology, const char *why)
{
	struct machine *machine = NULL;

	ck_assert_msg(machine_new(topology, NULL, &machine, &error) == -EINVAL, "%s", why);
	ck_assert_ptr_null(machine);
	ck_assert_int_eq(error.id, POPCORN_ERROR_TOPOLOGY);
	ck_assert_ptr_nonnull(strstr(error.text, "made.xml: "));
	ck_assert_msg(strstr(error.text, why) != NULL, "%s", error.text);
	topology_free(topology);
}

static void has_warning(const struct machine *machine, const char *text)
{
	for (size_t i = 0; i < machine->n_warnings; i++)
		if (strstr(machine->warnings[i], text))
			return;
	ck_abort_msg("no warning says '%s'", text);
}

static void counts(const struct machine *machine, size_t cpus, size_t cores, size_t l3s,
		   size_t nodes, size_t packages)
{
	ck_assert_uint_eq(machine->n_cpus, cpus);
	ck_assert_uint_eq(machine->n_domains[LEVEL_CORE], cores);
	ck_assert_uint_eq(machine->n_domains[LEVEL_L3], l3s);
	ck_assert_uint_eq(machine->n_domains[LEVEL_NODE], nodes);
	ck_assert_uint_eq(machine->n_domains[LEVEL_PACKAGE], packages);
	ck_assert_uint_eq(machine->n_domains[LEVEL_MACHINE], 1);
}

/* Linux's numbers of the CPUs of a domain, in the machine's order. */
static void domain_is(const struct machine *machine, enum machine_level level, uint32_t index,
		      uint32_t os, const char *cpus)
{
	const struct machine_domain *domain = &machine->domains[level][index];
	char text[1024] = "";

	ck_assert_uint_eq(domain->os, os);
	for (uint32_t i = 0; i < domain->n_cpus; i++)
		sprintf(text + strlen(text), "%s%" PRIu32, i ? " " : "",
			machine->cpus[domain->first_cpu + i].os);
	ck_assert_str_eq(text, cpus);
}

START_TEST(test_48amd64)
{
	static const uint32_t nodes[] = { 0, 1, 2, 33, 34, 45, 72, 73 };
	struct machine *machine = from_file("48amd64-4pa2n6c-sparse");

	counts(machine, 48, 48, 8, 8, 4);
	ck_assert_str_eq(machine->name, "48amd64-4pa2n6c-sparse.xml");
	ck_assert(!machine->live);
	for (uint32_t i = 0; i < 8; i++) {
		ck_assert_uint_eq(machine->domains[LEVEL_NODE][i].os, nodes[i]);
		ck_assert_uint_eq(machine_find_node(machine, nodes[i]), i);
		ck_assert_uint_eq(machine->nodes[i].memory,
				  i == 0 ? UINT64_C(8587735040) : (i % 2 ? 16 : 8) * GIB);
		/* 96 GiB: blocks of 2 GiB. Node 0 has three whole ones, one of them the primary's. */
		ck_assert_uint_eq(machine->nodes[i].takeable,
				  i == 0 ? 4 * GIB : (i % 2 ? 16 : 8) * GIB);
	}
	ck_assert_uint_eq(machine->block_size, 2 * GIB);
	ck_assert_uint_eq(machine_find_node(machine, 3), UNKNOWN);
	domain_is(machine, LEVEL_NODE, 7, 73, "42 43 44 45 46 47");
	domain_is(machine, LEVEL_PACKAGE, 1, 1, "12 13 14 15 16 17 18 19 20 21 22 23");
	domain_is(machine, LEVEL_L3, 3, UNKNOWN, "18 19 20 21 22 23");
	/* Its distances: row of node 0, and of node 73. */
	for (uint32_t i = 0; i < 8; i++) {
		static const unsigned first[] = { 10, 16, 16, 22, 16, 22, 16, 22 };
		static const unsigned last[] = { 22, 16, 16, 22, 22, 16, 16, 10 };

		ck_assert_uint_eq(machine_distance(machine, 0, i), first[i]);
		ck_assert_uint_eq(machine_distance(machine, 7, i), last[i]);
	}
	ck_assert_uint_eq(machine->n_kinds, 1);
	ck_assert_str_eq(machine->kinds[0].name, "kind0");
	ck_assert_uint_eq(machine->n_warnings, 0);
	ck_assert_uint_eq(machine->max_kernels, 511);
	machine_free(machine);
}
END_TEST

START_TEST(test_16amd64)
{
	struct machine *machine = from_file("16amd64-8n2c");

	counts(machine, 16, 16, 0, 8, 8);
	domain_is(machine, LEVEL_NODE, 5, 5, "10 11");
	domain_is(machine, LEVEL_PACKAGE, 7, 7, "14 15");
	for (size_t i = 0; i < 16; i++) {
		ck_assert_uint_eq(machine->cpus[i].in[LEVEL_L3], UNKNOWN);
		ck_assert_uint_eq(machine->cpus[i].kind, UNKNOWN);
		ck_assert_int_eq(machine->cpus[i].state, CPU_USABLE);
		ck_assert_uint_eq(machine->cpus[i].apicid, UNKNOWN);
	}
	/* 64 GiB less 2 MiB, and the PCI hole: the memory ends above 64 GiB. */
	ck_assert_uint_eq(machine->block_size, 2 * GIB);
	ck_assert_uint_eq(machine_distance(machine, 0, 7), 20);
	ck_assert_uint_eq(machine->n_warnings, 0);
	machine_free(machine);
}
END_TEST

START_TEST(test_96em64t)
{
	struct machine *machine = from_file("96em64t-4no4pa3ca2co");

	counts(machine, 96, 96, 16, 4, 16);
	domain_is(machine, LEVEL_PACKAGE, 0, 1, "0 4 8 12 16 20");
	domain_is(machine, LEVEL_PACKAGE, 1, 0, "1 5 9 13 17 21");
	domain_is(machine, LEVEL_NODE, 0, 0,
		  "0 4 8 12 16 20 1 5 9 13 17 21 2 6 10 14 18 22 3 7 11 15 19 23");
	domain_is(machine, LEVEL_L3, 1, UNKNOWN, "1 5 9 13 17 21");
	ck_assert_uint_eq(machine_find_cpu(machine, 4), 1);
	ck_assert_uint_eq(machine_find_cpu(machine, 95), 95);
	ck_assert_uint_eq(machine_find_cpu(machine, 96), UNKNOWN);
	ck_assert_uint_eq(machine_distance(machine, 3, 0), 26);
	/* Several packages in a node are no lie where there are several nodes. */
	ck_assert_uint_eq(machine->n_warnings, 0);
	machine_free(machine);
}
END_TEST

START_TEST(test_hybrid)
{
	struct machine *machine = from_file("20em64t-hybrid-1p6c2t+2ca4co1t");

	counts(machine, 20, 14, 1, 1, 1);
	ck_assert_uint_eq(machine->n_kinds, 2);
	ck_assert_str_eq(machine->kinds[0].name, "efficiency");
	ck_assert_int_eq(machine->kinds[0].rank, 0);
	ck_assert_str_eq(machine->kinds[1].name, "performance");
	ck_assert_int_eq(machine->kinds[1].rank, 1);
	for (size_t i = 0; i < 20; i++) {
		ck_assert_uint_eq(machine->cpus[i].os, i);
		ck_assert_uint_eq(machine->cpus[i].kind, i < 12);
	}
	domain_is(machine, LEVEL_CORE, 5, 20, "10 11");
	ck_assert_uint_eq(machine->domains[LEVEL_CORE][6].n_cpus, 1);
	ck_assert_uint_eq(machine->block_size, 128 * MIB);
	ck_assert_uint_eq(machine->n_warnings, 0);
	machine_free(machine);
}
END_TEST

START_TEST(test_offlines)
{
	struct machine *machine = from_file("16em64t-4s2c2t-offlines");
	static const uint32_t away[] = { 2, 5, 13, 14 };

	counts(machine, 16, 7, 4, 1, 4);
	domain_is(machine, LEVEL_PACKAGE, 0, 0, "0 8 4 12");
	domain_is(machine, LEVEL_PACKAGE, 1, 1, "1 9");
	domain_is(machine, LEVEL_PACKAGE, 2, 3, "3 11 7 15");
	domain_is(machine, LEVEL_PACKAGE, 3, 2, "6 10");
	domain_is(machine, LEVEL_NODE, 0, 0, "0 8 4 12 1 9 3 11 7 15 6 10");
	for (size_t i = 0; i < 16; i++)
		ck_assert_int_eq(machine->cpus[i].state, i < 12 ? CPU_USABLE : CPU_OFFLINE);
	for (size_t i = 0; i < 4; i++) {
		ck_assert_uint_eq(machine->cpus[12 + i].os, away[i]);
		for (int level = 0; level < LEVEL_MACHINE; level++)
			ck_assert_uint_eq(machine->cpus[12 + i].in[level], UNKNOWN);
		ck_assert_uint_eq(machine->cpus[12 + i].in[LEVEL_MACHINE], 0);
	}
	has_warning(machine, "CPUs 2,5,13-14 were offline");
	has_warning(machine, "all 4 packages are in one NUMA node");
	machine_free(machine);
}
END_TEST

START_TEST(test_buggynuma)
{
	struct machine *machine = from_file("8em64t-2s2ca2c-buggynuma");

	counts(machine, 8, 8, 0, 1, 2);
	domain_is(machine, LEVEL_PACKAGE, 0, 0, "0 2 4 6");
	domain_is(machine, LEVEL_PACKAGE, 1, 1, "1 3 5 7");
	ck_assert_uint_eq(machine->n_warnings, 1);
	has_warning(machine, "all 2 packages are in one NUMA node");
	ck_assert_ptr_null(machine->distances);
	machine_free(machine);
}
END_TEST

static const struct machine_device *find_device(const struct machine *machine, const char *address)
{
	for (size_t i = 0; i < machine->n_devices; i++)
		if (strcmp(machine->devices[i].address, address) == 0)
			return &machine->devices[i];
	ck_abort_msg("no device %s", address);
	return NULL;
}

START_TEST(test_devices)
{
	static const struct {
		const char *address, *class, *group, *names;
		uint32_t first;
	} known[] = {
		{ "0000:00:02.0", "nvmexp", "storage", "nvme0n1", 0 },
		{ "0000:00:1f.2", "sata", "storage", "sda", 0 },
		{ "0000:02:00.0", "ethernet", "network", "eth0", 0 },
		{ "0000:02:00.3", "ethernet", "network", "eth1", 0 },
		{ "0000:05:00.0", "vga", "display", "", 0 },
		{ "0000:82:00.0", "network", "network", "ib0,mlx4_0", 8 },
		{ "0000:83:00.0", "co-processor", "accelerator", "", 8 },
		{ "0000:00:04.0", "systemperipheral", "other", "dma0chan0", 0 },
	};
	struct machine *machine = from_file("32em64t-2n8c+dax+nvme+mic+dimms");
	size_t grouped = 0;

	counts(machine, 16, 16, 2, 2, 2);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		const struct machine_device *device = find_device(machine, known[i].address);

		ck_assert_str_eq(device->class, known[i].class);
		ck_assert_str_eq(device->group, known[i].group);
		ck_assert_str_eq(device->names, known[i].names);
		ck_assert_uint_eq(device->first_cpu, known[i].first);
		ck_assert_uint_eq(device->n_cpus, 8);
		ck_assert_ptr_null(device->driver);
	}
	for (size_t i = 0; i < machine->n_devices; i++)
		grouped += strcmp(machine->devices[i].group, "other") != 0;
	ck_assert_uint_eq(grouped, 7);
	ck_assert_uint_eq(machine->block_size, 128 * MIB);
	machine_free(machine);
}
END_TEST

START_TEST(test_synthetic)
{
	struct machine *machine = from_synthetic("package:2 node:2(memory=16GiB) l3:1 core:3 pu:2");

	counts(machine, 24, 12, 4, 4, 2);
	domain_is(machine, LEVEL_CORE, 11, 11, "22 23");
	domain_is(machine, LEVEL_NODE, 1, 1, "6 7 8 9 10 11");
	ck_assert_uint_eq(machine->nodes[0].memory, 16 * GIB);
	/* 64 GiB: whole blocks of 2 GiB; one stays with the primary on the boot CPU's node. */
	ck_assert_uint_eq(machine->block_size, 2 * GIB);
	ck_assert_uint_eq(machine->nodes[0].takeable, 14 * GIB);
	ck_assert_uint_eq(machine->nodes[3].takeable, 16 * GIB);
	ck_assert_uint_eq(machine_distance(machine, 0, 0), 10);
	ck_assert_uint_eq(machine_distance(machine, 0, 3), 20);
	machine_free(machine);

	/* Without cores each CPU counts as one. */
	machine = from_synthetic("pu:4");
	counts(machine, 4, 4, 0, 1, 0);
	ck_assert_uint_eq(machine->domains[LEVEL_CORE][3].os, UNKNOWN);
	domain_is(machine, LEVEL_CORE, 3, UNKNOWN, "3");
	machine_free(machine);
	machine = from_synthetic("node:1 pu:1");
	counts(machine, 1, 1, 0, 1, 0);
	machine_free(machine);
}
END_TEST

START_TEST(test_large)
{
	struct machine *machine =
		from_synthetic("package:16 node:4(memory=64GiB) l3:4 core:8 pu:2");

	counts(machine, 4096, 2048, 256, 64, 16);
	ck_assert_uint_eq(machine->block_size, 2 * GIB);
	for (uint32_t i = 0; i < 4096; i++) {
		ck_assert_uint_eq(machine->cpus[i].in[LEVEL_CORE], i / 2);
		ck_assert_uint_eq(machine->cpus[i].in[LEVEL_L3], i / 16);
		ck_assert_uint_eq(machine->cpus[i].in[LEVEL_NODE], i / 64);
		ck_assert_uint_eq(machine->cpus[i].in[LEVEL_PACKAGE], i / 256);
	}
	machine_free(machine);
}
END_TEST

#define SETS4                                                                            \
	"cpuset=\"0xf\" complete_cpuset=\"0xf\" allowed_cpuset=\"0xf\" nodeset=\"0x3\" " \
	"complete_nodeset=\"0x3\" allowed_nodeset=\"0x3\""
#define PU(n, set)                                                                         \
	"<object type=\"PU\" os_index=\"" n "\" cpuset=\"" set "\" complete_cpuset=\"" set \
	"\" gp_index=\"1" n "\"/>\n"
#define NODE(n, set, cpus, memory)                                                                 \
	"<object type=\"NUMANode\" os_index=\"" n "\" cpuset=\"" cpus "\" complete_cpuset=\"" cpus \
	"\" nodeset=\"" set "\" complete_nodeset=\"" set "\" gp_index=\"2" n                       \
	"\" local_memory=\"" memory "\"/>\n"
#define PACKAGE(n, cpus, nodes, inner)                                                            \
	"<object type=\"Package\" os_index=\"" n "\" cpuset=\"" cpus "\" complete_cpuset=\"" cpus \
	"\" nodeset=\"" nodes "\" complete_nodeset=\"" nodes "\" gp_index=\"3" n "\">\n" inner    \
	"</object>\n"
#define TWO_NODES                                                                    \
	PACKAGE("0", "0x3", "0x1",                                                   \
		NODE("0", "0x1", "0x3", "8589934592") PU("0", "0x1") PU("1", "0x2")) \
	PACKAGE("1", "0xc", "0x2",                                                   \
		NODE("1", "0x2", "0xc", "8589934592") PU("2", "0x4") PU("3", "0x8"))
#define DISTANCES(length, values)                                                     \
	"<distances2 type=\"NUMANode\" nbobjs=\"2\" kind=\"5\" name=\"NUMALatency\" " \
	"indexing=\"os\">\n<indexes length=\"4\">0 1 </indexes>\n"                    \
	"<u64values length=\"" length "\">" values " </u64values>\n</distances2>\n"

START_TEST(test_distances)
{
	struct machine *machine;

	machine = make(from_objects(SETS4, TWO_NODES, DISTANCES("12", "10 21 21 10")));
	ck_assert_uint_eq(machine->n_warnings, 0);
	ck_assert_uint_eq(machine_distance(machine, 0, 1), 21);
	machine_free(machine);

	machine = make(from_objects(SETS4, TWO_NODES, DISTANCES("12", "10 21 31 10")));
	ck_assert_uint_eq(machine->n_warnings, 1);
	has_warning(machine, "not symmetric: from node 0 to node 1");
	ck_assert_uint_eq(machine_distance(machine, 0, 1), 21);
	ck_assert_uint_eq(machine_distance(machine, 1, 0), 31);
	machine_free(machine);

	/* The other node as near as the own one. */
	machine = make(from_objects(SETS4, TWO_NODES, DISTANCES("12", "10 10 10 10")));
	has_warning(machine, "for 2 pairs of NUMA nodes");
	ck_assert_uint_eq(machine_distance(machine, 0, 1), 20);
	machine_free(machine);

	machine = make(from_objects(SETS4, TWO_NODES, DISTANCES("12", "99 21 21 10")));
	has_warning(machine, "the distance of 1 NUMA nodes to themselves is not 10");
	ck_assert_ptr_null(machine->distances);
	machine_free(machine);

	machine = make(from_objects(SETS4, TWO_NODES, DISTANCES("14", "10 999 300 10")));
	ck_assert_uint_eq(machine_distance(machine, 1, 0), 254);
	machine_free(machine);
}
END_TEST

START_TEST(test_odd_nodes)
{
	struct machine *machine;

	/* Memory without CPUs. */
	machine = make(from_objects(SETS4,
				    NODE("1", "0x2", "0x0", "4294967296") PACKAGE(
					    "0", "0xf", "0x1",
					    NODE("0", "0x1", "0xf", "8589934592") PU("0", "0x1")
						    PU("1", "0x2") PU("2", "0x4") PU("3", "0x8")),
				    ""));
	counts(machine, 4, 4, 0, 2, 1);
	ck_assert_uint_eq(machine->domains[LEVEL_NODE][machine_find_node(machine, 1)].n_cpus, 0);
	ck_assert_uint_eq(machine->nodes[machine_find_node(machine, 1)].memory, 4 * GIB);
	ck_assert_uint_eq(machine->nodes[machine_find_node(machine, 1)].takeable, 4 * GIB);
	ck_assert_uint_eq(machine->domains[LEVEL_NODE][machine_find_node(machine, 0)].n_cpus, 4);
	machine_free(machine);

	/* CPUs without memory, and a node without any. */
	machine = make(from_objects(
		SETS4,
		PACKAGE("0", "0x3", "0x1",
			NODE("0", "0x1", "0x3", "8589934592") PU("0", "0x1") PU("1", "0x2"))
			PACKAGE("1", "0xc", "0x2",
				NODE("1", "0x2", "0xc", "0") PU("2", "0x4") PU("3", "0x8")),
		""));
	has_warning(machine, "NUMA node 1 has no memory");
	ck_assert_uint_eq(machine->nodes[1].takeable, 0);
	machine_free(machine);

	/* Two kinds of memory beside the same CPUs: they count to the first. */
	machine = make(from_objects(SETS4,
				    NODE("0", "0x1", "0xf", "8589934592")
					    NODE("1", "0x2", "0xf", "4294967296") PU("0", "0x1")
						    PU("1", "0x2") PU("2", "0x4") PU("3", "0x8"),
				    ""));
	ck_assert_uint_eq(machine->domains[LEVEL_NODE][0].n_cpus, 4);
	ck_assert_uint_eq(machine->domains[LEVEL_NODE][1].n_cpus, 0);
	machine_free(machine);
}
END_TEST

START_TEST(test_overlap)
{
	struct machine *machine;

	/* One node beside all CPUs, one beside a part of them. */
	machine =
		make(from_objects(SETS4,
				  NODE("0", "0x1", "0xf", "8589934592")
					  PACKAGE("0", "0x3", "0x1", PU("0", "0x1") PU("1", "0x2"))
						  PACKAGE("1", "0xc", "0x3",
							  NODE("1", "0x2", "0xc", "8589934592")
								  PU("2", "0x4") PU("3", "0x8")),
				  ""));
	domain_is(machine, LEVEL_NODE, machine_find_node(machine, 0), 0, "0 1");
	domain_is(machine, LEVEL_NODE, machine_find_node(machine, 1), 1, "2 3");
	has_warning(machine, "NUMA node 0 has CPUs that another node has too");
	machine_free(machine);

	/* Far memory beside two nodes that have all CPUs: no contradiction, memory only. */
	machine = make(from_objects("cpuset=\"0xf\" complete_cpuset=\"0xf\" "
				    "allowed_cpuset=\"0xf\" nodeset=\"0x7\" "
				    "complete_nodeset=\"0x7\" allowed_nodeset=\"0x7\"",
				    NODE("2", "0x4", "0xf", "8589934592") TWO_NODES, ""));
	ck_assert_uint_eq(machine->n_warnings, 0);
	domain_is(machine, LEVEL_NODE, machine_find_node(machine, 2), 2, "");
	domain_is(machine, LEVEL_NODE, machine_find_node(machine, 1), 1, "2 3");
	machine_free(machine);
}
END_TEST

START_TEST(test_no_node)
{
	struct machine *machine = make(from_objects(
		SETS4,
		PACKAGE("0", "0x3", "0x1",
			NODE("0", "0x1", "0x3", "8589934592") PU("0", "0x1") PU("1", "0x2"))
			PACKAGE("1", "0xc", "0x0", PU("2", "0x4") PU("3", "0x8")),
		""));

	has_warning(machine, "CPUs 2-3 are in no NUMA node");
	ck_assert_uint_eq(machine->cpus[2].in[LEVEL_NODE], UNKNOWN);
	ck_assert_uint_eq(machine->cpus[2].in[LEVEL_PACKAGE], 1);
	machine_free(machine);
}
END_TEST

START_TEST(test_contradictions)
{
	refused(from_objects(SETS4,
			     NODE("0", "0x1", "0xf", "0") PU("0", "0x1") PU("1", "0x2")
				     PU("2", "0x4") PU("3", "0x8"),
			     ""),
		"no memory that could be divided");
	error = (struct popcorn_error){ 0 };
	/* More than 52 bits of address. */
	refused(from_objects(SETS4,
			     NODE("0", "0x1", "0xf", "4503599627370496")
				     NODE("1", "0x2", "0xf", "4503599627370496") PU("0", "0x1")
					     PU("1", "0x2") PU("2", "0x4") PU("3", "0x8"),
			     ""),
		"more memory than a physical address");
	error = (struct popcorn_error){ 0 };
	refused(from_objects(SETS4,
			     PACKAGE("0", "0x7", "0x1",
				     NODE("0", "0x1", "0x7", "8589934592") PU("0", "0x1") PACKAGE(
					     "1", "0x2", "0x3",
					     NODE("1", "0x2", "0x2", "8589934592") PU("1", "0x2"))
					     PU("2", "0x4")) PU("3", "0x8"),
			     ""),
		"contradicts itself");
}
END_TEST

START_TEST(test_facts)
{
	static const uint64_t memory[] = { 6 * GIB, 7 * GIB },
			      takeable[] = { 3 * GIB + 1, 4 * GIB };
	struct machine_facts facts = {
		.block_size = GIB,
		.max_kernels = 7,
		.takeable = takeable,
		.memory = memory,
		.n_nodes = 2,
		.usable = hwloc_bitmap_alloc(),
	};
	struct topology *topology = NULL;
	struct machine *machine = NULL;

	ck_assert_int_eq(topology_load_synthetic("node:3 core:2 pu:1", &topology, &error), 0);
	hwloc_bitmap_set_range((hwloc_bitmap_t)(uintptr_t)facts.usable, 0, 3);
	ck_assert_int_eq(machine_new(topology, &facts, &machine, &error), 0);
	ck_assert_uint_eq(machine->block_size, GIB);
	ck_assert_uint_eq(machine->max_kernels, 7);
	ck_assert_uint_eq(machine->nodes[0].takeable, 3 * GIB);
	ck_assert_uint_eq(machine->nodes[1].memory, 7 * GIB);
	/* Of which popcornd knows nothing. */
	ck_assert_uint_eq(machine->nodes[2].memory, 0);
	ck_assert_int_eq(machine->cpus[3].state, CPU_USABLE);
	ck_assert_int_eq(machine->cpus[4].state, CPU_OFFLINE);
	ck_assert_uint_eq(machine->cpus[4].in[LEVEL_NODE], 2);
	hwloc_bitmap_free((hwloc_bitmap_t)(uintptr_t)facts.usable);
	machine_free(machine);
	topology_free(topology);
}
END_TEST

START_TEST(test_json)
{
	struct machine *machine = from_file("16em64t-4s2c2t-offlines");
	json_t *object = machine_to_json(machine), *cpu;
	char *text, *again;

	ck_assert_uint_eq(json_array_size(json_object_get(object, "cpus")), 16);
	ck_assert_uint_eq(json_array_size(json_object_get(object, "packages")), 4);
	ck_assert_uint_eq(json_array_size(json_object_get(object, "warnings")), 2);
	cpu = json_array_get(json_object_get(object, "cpus"), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(cpu, "cpu")), 8);
	ck_assert_int_eq(json_integer_value(json_object_get(cpu, "core")), 0);
	ck_assert(json_is_null(json_object_get(cpu, "apicid")));
	cpu = json_array_get(json_object_get(object, "cpus"), 15);
	ck_assert_str_eq(json_string_value(json_object_get(cpu, "state")), "offline");
	ck_assert(json_is_null(json_object_get(cpu, "node")));
	/* The same machine, the same text. */
	text = json_dumps(object, 0);
	json_decref(object);
	machine_free(machine);
	machine = from_file("16em64t-4s2c2t-offlines");
	object = machine_to_json(machine);
	again = json_dumps(object, 0);
	ck_assert_str_eq(text, again);
	json_decref(object);
	machine_free(machine);
	free(text);
	free(again);
}
END_TEST

START_TEST(test_levels)
{
	static const char *const names[] = { "core", "l3", "node", "package", "machine" };

	for (int i = 0; i < N_LEVELS; i++)
		ck_assert_str_eq(level_to_string((enum machine_level)i), names[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine");
	TCase *tc = tcase_create("machine");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_48amd64);
	tcase_add_test(tc, test_16amd64);
	tcase_add_test(tc, test_96em64t);
	tcase_add_test(tc, test_hybrid);
	tcase_add_test(tc, test_offlines);
	tcase_add_test(tc, test_buggynuma);
	tcase_add_test(tc, test_devices);
	tcase_add_test(tc, test_synthetic);
	tcase_add_test(tc, test_large);
	tcase_add_test(tc, test_distances);
	tcase_add_test(tc, test_odd_nodes);
	tcase_add_test(tc, test_overlap);
	tcase_add_test(tc, test_no_node);
	tcase_add_test(tc, test_contradictions);
	tcase_add_test(tc, test_facts);
	tcase_add_test(tc, test_json);
	tcase_add_test(tc, test_levels);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
