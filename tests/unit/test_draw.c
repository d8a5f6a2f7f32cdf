// SPDX-License-Identifier: GPL-2.0-or-later
/* What lstopo gets to draw. That it draws is tested by tests/cli/topology.sh. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"
#include "run.h"
#include "topology.h"

#define KERNELS 20

static struct popcorn_error error;
static struct topology *topology;
static hwloc_topology_t drawn;
static struct drawing_kernel kernels[KERNELS];
static struct drawing_memory memory[KERNELS];
static char names[KERNELS][16];

static void load(const char *description)
{
	ck_assert_int_eq(topology_load_synthetic(description, &topology, &error), 0);
}

/* Kernel @i has CPUs @first to @last, and 1 GiB of node @node. */
static void give(size_t i, unsigned first, unsigned last, unsigned node)
{
	hwloc_bitmap_t cpus = hwloc_bitmap_alloc();

	hwloc_bitmap_set_range(cpus, first, (int)last);
	snprintf(names[i], sizeof(names[i]), "k%zu", i);
	memory[i] = (struct drawing_memory){ node, UINT64_C(1) << 30 };
	kernels[i] = (struct drawing_kernel){
		.name = names[i],
		.cpus = cpus,
		.memory = &memory[i],
		.n_memory = 1,
	};
}

static void draw(size_t n)
{
	char *xml = NULL;

	ck_assert_msg(drawing_xml(topology, kernels, n, &xml, &error) == 0, "%s", error.text);
	ck_assert_int_eq(hwloc_topology_init(&drawn), 0);
	hwloc_topology_set_io_types_filter(drawn, HWLOC_TYPE_FILTER_KEEP_ALL);
	ck_assert_int_eq(hwloc_topology_set_xmlbuffer(drawn, xml, (int)strlen(xml) + 1), 0);
	ck_assert_int_eq(hwloc_topology_load(drawn), 0);
	free(xml);
}

static void teardown(void)
{
	if (drawn)
		hwloc_topology_destroy(drawn);
	drawn = NULL;
	for (size_t i = 0; i < KERNELS; i++) {
		hwloc_bitmap_free((hwloc_bitmap_t)(uintptr_t)kernels[i].cpus);
		kernels[i] = (struct drawing_kernel){ 0 };
	}
	topology = topology_free(topology);
	error = (struct popcorn_error){ 0 };
}

static const char *style(hwloc_obj_t object)
{
	const char *text = hwloc_obj_get_info_by_name(object, "lstopoStyle");

	return text ? text : "";
}

static hwloc_obj_t object_at(hwloc_obj_type_t type, unsigned i)
{
	hwloc_obj_t object = hwloc_get_obj_by_type(drawn, type, i);

	ck_assert_ptr_nonnull(object);
	return object;
}

START_TEST(test_partitions)
{
	load("package:2 node:1(memory=4GiB) l3:2 core:2 pu:2");
	give(0, 4, 7, 0);  /* all of L3 1 */
	give(1, 8, 10, 1); /* a core and a half */
	draw(2);
	/* CPUs have the names of their owners; what has only one owner has its colour. */
	ck_assert_str_eq(object_at(HWLOC_OBJ_PU, 0)->subtype, "primary");
	ck_assert_str_eq(style(object_at(HWLOC_OBJ_PU, 0)), "");
	ck_assert_str_eq(object_at(HWLOC_OBJ_PU, 4)->subtype, "k0");
	ck_assert_str_eq(object_at(HWLOC_OBJ_PU, 10)->subtype, "k1");
	ck_assert_str_eq(object_at(HWLOC_OBJ_PU, 11)->subtype, "primary");
	ck_assert_str_eq(style(object_at(HWLOC_OBJ_L3CACHE, 1)), "Background=#56b4e9;Text=#000000");
	ck_assert_str_eq(style(object_at(HWLOC_OBJ_CORE, 3)), "Background=#56b4e9;Text=#000000");
	ck_assert_str_eq(style(object_at(HWLOC_OBJ_CORE, 4)), "Background=#e69f00;Text=#000000");
	ck_assert_str_eq(style(object_at(HWLOC_OBJ_PU, 10)), "Background=#e69f00;Text=#000000");
	/* Half of it is the primary's. */
	ck_assert_str_eq(style(object_at(HWLOC_OBJ_CORE, 5)), "");
	ck_assert_str_eq(style(object_at(HWLOC_OBJ_L3CACHE, 2)), "");
	ck_assert_str_eq(object_at(HWLOC_OBJ_NUMANODE, 0)->subtype, "Memory of k0; node");
	ck_assert_str_eq(style(object_at(HWLOC_OBJ_NUMANODE, 0)),
			 "Background=#56b4e9;Text=#000000");
	ck_assert_str_eq(object_at(HWLOC_OBJ_NUMANODE, 1)->subtype, "Memory of k1; node");
}
END_TEST

START_TEST(test_shared_node)
{
	load("node:2 core:4 pu:1");
	give(0, 1, 1, 0);
	give(1, 2, 2, 0);
	draw(2);
	ck_assert_str_eq(object_at(HWLOC_OBJ_NUMANODE, 0)->subtype, "Memory of 2 kernels; node");
	ck_assert_str_eq(style(object_at(HWLOC_OBJ_NUMANODE, 0)), "");
	ck_assert_str_eq(object_at(HWLOC_OBJ_NUMANODE, 1)->subtype, "Memory of primary; node");
}
END_TEST

START_TEST(test_many)
{
	load("core:20 pu:1");
	for (size_t i = 0; i < KERNELS; i++)
		give(i, (unsigned)i, (unsigned)i, 0);
	draw(KERNELS);
	/* Kernels beside each other are never alike, not even where the colours begin anew. */
	for (unsigned i = 1; i < KERNELS; i++) {
		ck_assert_str_ne(style(object_at(HWLOC_OBJ_CORE, i)), "");
		ck_assert_str_ne(style(object_at(HWLOC_OBJ_CORE, i)),
				 style(object_at(HWLOC_OBJ_CORE, i - 1)));
	}
	for (unsigned i = 0; i < 14; i++)
		for (unsigned j = 0; j < i; j++)
			ck_assert_str_ne(style(object_at(HWLOC_OBJ_CORE, i)),
					 style(object_at(HWLOC_OBJ_CORE, j)));
}
END_TEST

START_TEST(test_devices)
{
	static const char *const addresses[] = { "0000:82:00.0", "0000:99:00.0" };
	hwloc_obj_t device;
	char path[4096];

	snprintf(path, sizeof(path), "%s/32em64t-2n8c+dax+nvme+mic+dimms.xml",
		 getenv("POPCORN_TOPOLOGIES"));
	ck_assert_int_eq(topology_load_xml(path, &topology, &error), 0);
	give(0, 8, 15, 1);
	kernels[0].devices = addresses;
	kernels[0].n_devices = 2; /* the second is not there: it is in the legend only */
	draw(1);
	device = hwloc_get_pcidev_by_busidstring(drawn, addresses[0]);
	ck_assert_ptr_nonnull(device);
	ck_assert_str_eq(device->subtype, "k0: PCI");
	ck_assert_str_eq(style(device), "Background=#56b4e9;Text=#000000");
	ck_assert_str_eq(device->io_first_child->name, "ib0");
	ck_assert_str_eq(style(device->io_first_child), "Background=#56b4e9;Text=#000000");
	device = hwloc_get_pcidev_by_busidstring(drawn, "0000:02:00.0");
	ck_assert_str_eq(style(device), "");
}
END_TEST

START_TEST(test_machine_alone)
{
	load("node:2 core:4 pu:1");
	draw(0);
	ck_assert_ptr_null(object_at(HWLOC_OBJ_PU, 0)->subtype);
	ck_assert_ptr_null(object_at(HWLOC_OBJ_NUMANODE, 0)->subtype);
}
END_TEST

/* CPUs that are in no description (offline since boot) can't be drawn, and do no harm. */
START_TEST(test_unknown_cpus)
{
	load("node:1 core:2 pu:1");
	give(0, 1, 4095, 7);
	draw(1);
	ck_assert_str_eq(object_at(HWLOC_OBJ_PU, 1)->subtype, "k0");
	ck_assert_str_eq(object_at(HWLOC_OBJ_NUMANODE, 0)->subtype, "Memory of primary; node");
}
END_TEST

START_TEST(test_formats)
{
	ck_assert_str_eq(drawing_format("a.svg"), "svg");
	ck_assert_str_eq(drawing_format("/b.c/a.PNG"), "png");
	ck_assert_str_eq(drawing_format("a.b.pdf"), "pdf");
	ck_assert_str_eq(drawing_format(".txt"), "txt");
	ck_assert_ptr_null(drawing_format("svg"));
	ck_assert_ptr_null(drawing_format("a.xml"));
	ck_assert_ptr_null(drawing_format(""));
	load("pu:1");
	ck_assert_int_eq(draw_topology(topology, NULL, 0, "/nowhere/a.jpg", &error), -EINVAL);
	ck_assert_int_eq(error.id, POPCORN_ERROR_INVALID_ARGUMENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("draw");
	TCase *tc = tcase_create("draw");

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, test_partitions);
	tcase_add_test(tc, test_shared_node);
	tcase_add_test(tc, test_many);
	tcase_add_test(tc, test_devices);
	tcase_add_test(tc, test_machine_alone);
	tcase_add_test(tc, test_unknown_cpus);
	tcase_add_test(tc, test_formats);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
