// SPDX-License-Identifier: GPL-2.0-or-later
/* Every table field by field, and as iasl reads it. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <popcorn.h>
#include <popcorn/head.h>

#include "image-sample.h"
#include "run.h"

#define BASE 0x123440010000ull
#define HEAD 0x123440000000ull
#define AREA (POPCORN_HEAD_TABLES_END - POPCORN_HEAD_TABLES)

static uint8_t area[AREA];
static struct bzimage kernel;
static struct image_partition partition;
static struct image_range ranges[POPCORN_RANGES_MAX];
static struct image_cpu cpus[POPCORN_CPUS_MAX];
static uint64_t rsdp;
static int used;

static void setup(void)
{
	memset(area, 0xaa, sizeof(area));
	kernel = (struct bzimage){ .version = { 6, 1 } };
	partition = sample_partition();
	ranges[0] = (struct image_range){ HEAD, 0x8000000, 0 };
	ranges[1] = (struct image_range){ HEAD + 0x10000000, 0x8000000, 0 };
	cpus[0] = (struct image_cpu){ 3, 0 };
	cpus[1] = (struct image_cpu){ 1, 0 };
	partition.ranges = ranges;
	partition.cpus = cpus;
}

static void build(void)
{
	used = acpi_build(&partition, &kernel, BASE, area, sizeof(area), &rsdp);
	ck_assert_int_gt(used, 0);
	ck_assert_int_le(used, AREA);
}

static uint64_t get(const uint8_t *p, size_t bytes)
{
	uint64_t value = 0;

	memcpy(&value, p, bytes);
	return value;
}

static bool sums_to_zero(const uint8_t *p, size_t size)
{
	uint8_t sum = 0;

	while (size--)
		sum += *p++;
	return sum == 0;
}

static const uint8_t *at(uint64_t address)
{
	ck_assert(address >= BASE && address < BASE + (uint64_t)used);
	return area + (address - BASE);
}

/* A table with its header checked. */
static const uint8_t *table_at(uint64_t address, const char *signature, unsigned revision)
{
	const uint8_t *t = at(address);
	uint32_t length = (uint32_t)get(t + 4, 4);

	ck_assert_uint_eq(address % 16, 0);
	ck_assert_mem_eq(t, signature, 4);
	ck_assert_uint_ge(length, 36);
	ck_assert_uint_le(length, BASE + (uint64_t)used - address);
	ck_assert_uint_eq(t[8], revision);
	ck_assert(sums_to_zero(t, length));
	ck_assert_mem_eq(t + 10, "POPCRN", 6);
	ck_assert_mem_eq(t + 16, "POPCORN ", 8);
	ck_assert_uint_eq(get(t + 24, 4), 1);
	ck_assert_mem_eq(t + 28, "PCRN", 4);
	ck_assert_uint_eq(get(t + 32, 4), 1);
	return t;
}

static uint32_t length_of(const uint8_t *table)
{
	return (uint32_t)get(table + 4, 4);
}

static const uint8_t *xsdt(void)
{
	const uint8_t *r = at(rsdp);

	ck_assert_mem_eq(r, "RSD PTR ", 8);
	ck_assert(sums_to_zero(r, 20));
	ck_assert(sums_to_zero(r, 36));
	ck_assert_mem_eq(r + 9, "POPCRN", 6);
	ck_assert_uint_eq(r[15], 2);
	ck_assert_uint_eq(get(r + 16, 4), 0); /* no RSDT */
	ck_assert_uint_eq(get(r + 20, 4), 36);
	return table_at(get(r + 24, 8), "XSDT", 1);
}

/* From the XSDT, or NULL. */
static const uint8_t *find(const char *signature, unsigned revision)
{
	const uint8_t *x = xsdt();

	for (uint32_t i = 36; i < length_of(x); i += 8)
		if (memcmp(at(get(x + i, 8)), signature, 4) == 0)
			return table_at(get(x + i, 8), signature, revision);
	return NULL;
}

static const uint8_t *dsdt(void)
{
	return table_at(get(find("FACP", 6) + 140, 8), "DSDT", 2);
}

/* What `iasl -d` says about a table. */
static char *disassemble(const uint8_t *table)
{
	static char text[1 << 20];
	char dir[] = "/tmp/popcorn-iasl-XXXXXX", path[64], command[128];
	size_t n;
	FILE *f;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/table", dir);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(table, 1, length_of(table), f), length_of(table));
	ck_assert_int_eq(fclose(f), 0);
	/* Without iasl this fails: it belongs to what the tests need. */
	snprintf(command, sizeof(command), "cd %s && iasl -d table >log 2>&1 && cat log table.dsl",
		 dir);
	f = popen(command, "re");
	ck_assert_ptr_nonnull(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	ck_assert_msg(pclose(f) == 0, "iasl failed (is acpica-tools installed?): %s", text);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
	ck_assert_msg(!strstr(text, "rror"), "%s", text);
	ck_assert_msg(!strstr(text, "arning"), "%s", text);
	ck_assert_msg(!strstr(text, "nvalid"), "%s", text);
	return text;
}

static void says(const char *text, const char *line)
{
	ck_assert_msg(strstr(text, line), "'%s' is not in:\n%s", line, text);
}

START_TEST(test_order)
{
	const uint8_t *x;

	partition.n_nodes = 1;
	partition.nodes = (const unsigned[]){ 0 };
	partition.distances = (const uint8_t[]){ 10 };
	build();
	x = xsdt();
	ck_assert_uint_eq(rsdp, BASE);
	ck_assert_uint_eq(length_of(x), 36 + 5 * 8);
	ck_assert_mem_eq(at(get(x + 36, 8)), "FACP", 4);
	ck_assert_mem_eq(at(get(x + 44, 8)), "APIC", 4);
	ck_assert_mem_eq(at(get(x + 52, 8)), "SRAT", 4);
	ck_assert_mem_eq(at(get(x + 60, 8)), "SLIT", 4);
	ck_assert_mem_eq(at(get(x + 68, 8)), "PCRN", 4);
	/* What is not used is not written. */
	ck_assert_uint_eq(area[used], 0xaa);
}
END_TEST

static void gas_is(const uint8_t *gas, uint64_t address)
{
	ck_assert_uint_eq(gas[0], 0); /* system memory */
	ck_assert_uint_eq(gas[1], 8); /* bits */
	ck_assert_uint_eq(gas[2], 0);
	ck_assert_uint_eq(gas[3], 1); /* by bytes */
	ck_assert_uint_eq(get(gas + 4, 8), address);
}

START_TEST(test_fadt)
{
	const uint8_t *t;
	char *text;

	build();
	t = find("FACP", 6);
	ck_assert_uint_eq(length_of(t), 276);
	ck_assert_uint_eq(get(t + 112, 4), 1u << 20 | 1u << 19 | 1u << 10);
	ck_assert_uint_eq(get(t + 109, 2), 1u << 2 | 1u << 5);
	gas_is(t + 116, HEAD + offsetof(struct popcorn_head, reset));
	ck_assert_uint_eq(t[128], POPCORN_RESET_VALUE);
	ck_assert_uint_eq(get(t + 40, 4), 0); /* the 32-bit DSDT pointer */
	gas_is(t + 244, HEAD + offsetof(struct popcorn_head, sleep));
	gas_is(t + 256, HEAD + offsetof(struct popcorn_head, sleep));
	/* Hardware-reduced: none of the fixed hardware is there. */
	for (size_t i = 44; i < 109; i++)
		ck_assert_uint_eq(t[i], 0);
	for (size_t i = 148; i < 244; i++)
		ck_assert_uint_eq(t[i], 0);
	text = disassemble(t);
	says(text, "Hardware Reduced (V5) : 1");
	says(text, "Use APIC Physical Destination Mode (V4) : 1");
	says(text, "Reset Register Supported (V2) : 1");
	says(text, "VGA Not Present (V4) : 1");
	says(text, "CMOS RTC Not Present (V5) : 1");
	says(text, "8042 Present on ports 60/64 (V2) : 0");
	says(text, "Value to cause reset : 01");
}
END_TEST

START_TEST(test_pm_timer)
{
	const uint8_t *t;
	uint8_t gas[12] = { 1, 32, 0, 3 };
	char *text;

	partition.pm_timer = 0x608;
	build();
	t = find("FACP", 6);
	gas[4] = 0x08;
	gas[5] = 0x06;
	ck_assert_mem_eq(t + 208, gas, sizeof(gas));
	for (size_t i = 148; i < 244; i++)
		ck_assert(t[i] == 0 || (i >= 208 && i < 220));
	text = disassemble(t);
	says(text, "Space ID : 01 [SystemIO]");
	says(text, "Encoded Access Width : 03 [DWord Access:32]");
	says(text, "Address : 0000000000000608");
}
END_TEST

START_TEST(test_read_pm_timer)
{
	uint8_t fadt[276] = "FACP";
	const uint8_t gas[12] = { 1, 32, 0, 3, 0x08, 0x18 };

	ck_assert_uint_eq(acpi_pm_timer(fadt, sizeof(fadt)), 0);
	fadt[76] = 0x08;
	fadt[77] = 0x06;
	ck_assert_uint_eq(acpi_pm_timer(fadt, sizeof(fadt)), 0);
	fadt[91] = 4;
	ck_assert_uint_eq(acpi_pm_timer(fadt, sizeof(fadt)), 0x608);
	/* Of ACPI 1.0, and one that ends early. */
	ck_assert_uint_eq(acpi_pm_timer(fadt, 116), 0x608);
	ck_assert_uint_eq(acpi_pm_timer(fadt, 115), 0);
	ck_assert_uint_eq(acpi_pm_timer(fadt, 0), 0);
	/* The extended address goes before. */
	memcpy(fadt + 208, gas, sizeof(gas));
	ck_assert_uint_eq(acpi_pm_timer(fadt, sizeof(fadt)), 0x1808);
	ck_assert_uint_eq(acpi_pm_timer(fadt, 211), 0x608);
	/* In memory; a port that there can't be. */
	fadt[208] = 0;
	ck_assert_uint_eq(acpi_pm_timer(fadt, sizeof(fadt)), 0);
	fadt[208] = 1;
	fadt[214] = 1;
	ck_assert_uint_eq(acpi_pm_timer(fadt, sizeof(fadt)), 0);
	memcpy(fadt + 212, "\xfd\xff\0\0", 4);
	ck_assert_uint_eq(acpi_pm_timer(fadt, sizeof(fadt)), 0);
	fadt[212] = 0xfc;
	ck_assert_uint_eq(acpi_pm_timer(fadt, sizeof(fadt)), 0xfffc);
	/* Hardware-reduced; another table. */
	fadt[114] = 1u << 4;
	ck_assert_uint_eq(acpi_pm_timer(fadt, sizeof(fadt)), 0);
	fadt[114] = 0;
	fadt[0] = 'X';
	ck_assert_uint_eq(acpi_pm_timer(fadt, sizeof(fadt)), 0);
}
END_TEST

START_TEST(test_dsdt)
{
	build();
	ck_assert_uint_eq(length_of(dsdt()), 36 + 14);
	says(disassemble(dsdt()), "Name (_S5, Package (0x04)  // _S5_: S5 System State\n"
				  "    {\n"
				  "        0x05, \n"
				  "        0x05, \n"
				  "        Zero, \n"
				  "        Zero\n"
				  "    })\n");
}
END_TEST

static void local_apic_is(const uint8_t *e, unsigned uid, unsigned id)
{
	ck_assert_uint_eq(e[0], 0);
	ck_assert_uint_eq(e[1], 8);
	ck_assert_uint_eq(e[2], uid);
	ck_assert_uint_eq(e[3], id);
	ck_assert_uint_eq(get(e + 4, 4), 1);
}

static void x2apic_is(const uint8_t *e, uint32_t uid, uint32_t id)
{
	ck_assert_uint_eq(e[0], 9);
	ck_assert_uint_eq(e[1], 16);
	ck_assert_uint_eq(get(e + 2, 2), 0);
	ck_assert_uint_eq(get(e + 4, 4), id);
	ck_assert_uint_eq(get(e + 8, 4), 1);
	ck_assert_uint_eq(get(e + 12, 4), uid);
}

START_TEST(test_madt)
{
	const uint8_t *t;
	char *text;

	build();
	t = find("APIC", 5);
	ck_assert_uint_eq(length_of(t), 44 + 2 * 8);
	ck_assert_uint_eq(get(t + 36, 4), 0xfee00000);
	ck_assert_uint_eq(get(t + 40, 4), 0); /* no PIC */
	local_apic_is(t + 44, 0, 3);	      /* the boot CPU comes first */
	local_apic_is(t + 52, 1, 1);
	text = disassemble(t);
	says(text, "Local Apic ID : 03");
	says(text, "Local Apic ID : 01");
	says(text, "PC-AT Compatibility : 0");
}
END_TEST

/* The machine's boot CPU must be there from 6.9 on, and never before. */
START_TEST(test_madt_boot_cpu)
{
	static const struct {
		unsigned version[2];
		bool listed;
	} table[] = {
		{ { 4, 19 }, false }, { { 5, 10 }, false }, { { 6, 0 }, false },
		{ { 6, 1 }, false },  { { 6, 8 }, false },  { { 6, 9 }, true },
		{ { 6, 12 }, true },  { { 6, 100 }, true }, { { 7, 0 }, true },
		{ { 10, 1 }, true },
	};

	partition.primary_boot_apicid = 7;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const uint8_t *t;

		kernel.version[0] = table[i].version[0];
		kernel.version[1] = table[i].version[1];
		build();
		t = find("APIC", 5);
		ck_assert_uint_eq(length_of(t), 44 + (table[i].listed ? 3 : 2) * 8);
		if (table[i].listed)
			local_apic_is(t + 44, 0, 7);
		local_apic_is(t + length_of(t) - 16, table[i].listed, 3);
		local_apic_is(t + length_of(t) - 8, 1 + table[i].listed, 1);
	}
}
END_TEST

/* Ids up to 254 have entries of type 0, later ones of type 9; the order stays. */
START_TEST(test_madt_x2apic)
{
	const uint8_t *t;
	char *text;

	cpus[0].apicid = 300;
	cpus[1].apicid = 254;
	cpus[2] = (struct image_cpu){ 255, 0 };
	cpus[3] = (struct image_cpu){ 0x12345678, 0 };
	partition.n_cpus = 4;
	build();
	t = find("APIC", 5);
	ck_assert_uint_eq(length_of(t), 44 + 8 + 3 * 16);
	x2apic_is(t + 44, 256, 300);
	local_apic_is(t + 60, 0, 254);
	x2apic_is(t + 68, 257, 255);
	x2apic_is(t + 84, 258, 0x12345678);
	text = disassemble(t);
	says(text, "Processor x2Apic ID : 0000012C");
	says(text, "Processor x2Apic ID : 12345678");

	kernel.version[1] = 12;
	partition.primary_boot_apicid = 1000;
	build();
	x2apic_is(find("APIC", 5) + 44, 256, 1000);
}
END_TEST

static void memory_is(const uint8_t *e, uint32_t domain, uint64_t base, uint64_t size)
{
	ck_assert_uint_eq(e[0], 1);
	ck_assert_uint_eq(e[1], 40);
	ck_assert_uint_eq(get(e + 2, 4), domain);
	ck_assert_uint_eq(get(e + 6, 2), 0);
	ck_assert_uint_eq(get(e + 8, 8), base);
	ck_assert_uint_eq(get(e + 16, 8), size);
	ck_assert_uint_eq(get(e + 24, 4), 0);
	ck_assert_uint_eq(get(e + 28, 4), 1); /* enabled, not hot-pluggable */
	ck_assert_uint_eq(get(e + 32, 8), 0);
}

/* Nodes 4, 9 and 2 exist, 4 is not used: 9 and 2 become domains 0 and 1. */
START_TEST(test_numa)
{
	static const unsigned nodes[] = { 4, 9, 2 };
	static const uint8_t distances[] = { 10, 21, 31, 21, 10, 41, 31, 42, 10 };
	const uint8_t *t;
	char *text;

	partition.nodes = nodes;
	partition.n_nodes = 3;
	partition.distances = distances;
	cpus[0] = (struct image_cpu){ 3, 9 };
	cpus[1] = (struct image_cpu){ 1000, 2 };
	ranges[0].node = 2;
	/* Unsorted; two of node 9 with a hole between them, which one entry covers. */
	ranges[1] = (struct image_range){ HEAD + 0x30000000, 0x8000000, 9 };
	ranges[2] = (struct image_range){ HEAD + 0x20000000, 0x8000000, 9 };
	ranges[3] = (struct image_range){ HEAD + 0x40000000, 0x8000000, 2 };
	partition.n_ranges = 4;
	build();

	t = find("SRAT", 3);
	ck_assert_uint_eq(length_of(t), 48 + 16 + 24 + 4 * 40);
	ck_assert_uint_eq(get(t + 36, 4), 1);
	ck_assert_uint_eq(t[48], 0); /* local APIC */
	ck_assert_uint_eq(t[49], 16);
	ck_assert_uint_eq(t[50], 0); /* domain, low byte */
	ck_assert_uint_eq(t[51], 3);
	ck_assert_uint_eq(get(t + 52, 4), 1);
	ck_assert_uint_eq(get(t + 56, 8), 0);
	ck_assert_uint_eq(t[64], 2); /* x2APIC */
	ck_assert_uint_eq(t[65], 24);
	ck_assert_uint_eq(get(t + 68, 4), 1);
	ck_assert_uint_eq(get(t + 72, 4), 1000);
	ck_assert_uint_eq(get(t + 76, 4), 1);
	memory_is(t + 88, 1, 0x20000, 0x8000);
	memory_is(t + 128, 1, HEAD, 0x8000000);
	memory_is(t + 168, 0, HEAD + 0x20000000, 0x18000000);
	memory_is(t + 208, 1, HEAD + 0x40000000, 0x8000000);
	text = disassemble(t);
	says(text, "[Processor Local APIC/SAPIC Affinity]");
	says(text, "[Processor Local x2APIC Affinity]");
	says(text, "Hot Pluggable : 0");

	t = find("SLIT", 1);
	ck_assert_uint_eq(length_of(t), 44 + 4);
	ck_assert_uint_eq(get(t + 36, 8), 2);
	ck_assert_mem_eq(t + 44, ((const uint8_t[]){ 10, 41, 42, 10 }), 4);
	says(disassemble(t), "Locality   0 : 0A 29");
}
END_TEST

START_TEST(test_no_nodes)
{
	build();
	ck_assert_ptr_null(find("SRAT", 3));
	ck_assert_ptr_null(find("SLIT", 1));
	ck_assert_uint_eq(length_of(xsdt()), 36 + 3 * 8);
}
END_TEST

/* A kernel refuses a SLIT like this, so none is written; the SRAT stays. */
START_TEST(test_bad_distances)
{
	static const unsigned nodes[] = { 0, 1 };
	static const uint8_t bad[][4] = { { 10, 10, 20, 10 },
					  { 10, 20, 0, 10 },
					  { 11, 20, 20, 10 } };

	partition.nodes = nodes;
	partition.n_nodes = 2;
	for (size_t i = 0; i < 4; i++) {
		partition.distances = i < 3 ? bad[i] : NULL;
		build();
		ck_assert_ptr_nonnull(find("SRAT", 3));
		ck_assert_ptr_null(find("SLIT", 1));
	}
}
END_TEST

START_TEST(test_unknown_node)
{
	static const unsigned nodes[] = { 0, 1 };

	partition.nodes = nodes;
	partition.n_nodes = 2;
	cpus[1].node = 2;
	ck_assert_int_eq(acpi_build(&partition, &kernel, BASE, area, AREA, &rsdp), -EINVAL);
	cpus[1].node = 0;
	ranges[1].node = 7;
	ck_assert_int_eq(acpi_build(&partition, &kernel, BASE, area, AREA, &rsdp), -EINVAL);
}
END_TEST

START_TEST(test_pcrn)
{
	const struct popcorn_acpi_table *t;

	build();
	t = (const void *)find("PCRN", 1);
	ck_assert_uint_eq(length_of((const void *)t), 56);
	ck_assert_uint_eq(t->version, POPCORN_HEAD_VERSION);
	ck_assert_uint_eq(t->head, HEAD);
	ck_assert_uint_eq(t->id, 5);
	ck_assert_uint_eq(t->generation, 77);
	/* Not a table that iasl knows: it dumps the header, and checks the sum. */
	says(disassemble((const void *)t), "Signature : \"PCRN\"");
}
END_TEST

/* The most CPUs on many nodes: fits, and stays out of what follows the area. */
START_TEST(test_4096_cpus)
{
	static unsigned nodes[64];
	static uint8_t distances[64 * 64];
	const uint8_t *t;

	for (unsigned i = 0; i < 64; i++) {
		nodes[i] = i;
		for (unsigned j = 0; j < 64; j++)
			distances[i * 64 + j] = i == j ? 10 : 20;
	}
	for (unsigned i = 0; i < POPCORN_CPUS_MAX; i++)
		cpus[i] = (struct image_cpu){ i + 1, i / 64 };
	for (unsigned i = 0; i < POPCORN_RANGES_MAX; i++)
		ranges[i] = (struct image_range){ HEAD + i * 0x10000000ull, 0x8000000, i / 64 };
	partition.nodes = nodes;
	partition.n_nodes = 64;
	partition.distances = distances;
	partition.n_cpus = POPCORN_CPUS_MAX;
	partition.n_ranges = POPCORN_RANGES_MAX;
	build();
	t = find("APIC", 5);
	ck_assert_uint_eq(length_of(t), 44 + 254 * 8 + (4096 - 254) * 16);
	t = find("SRAT", 3);
	ck_assert_uint_eq(length_of(t), 48 + 254 * 16 + (4096 - 254) * 24 + 65 * 40);

	/* Ranges of two nodes in turn need an entry each: too much with so many CPUs. */
	for (unsigned i = 0; i < POPCORN_RANGES_MAX; i++)
		ranges[i].node = i % 2;
	ck_assert_int_eq(acpi_build(&partition, &kernel, BASE, area, AREA, &rsdp), -ENOSPC);
	partition.n_cpus = 64;
	build();
}
END_TEST

/* Whatever the room, nothing is written behind it. */
START_TEST(test_no_room)
{
	static const unsigned nodes[] = { 0 };
	static const uint8_t distances[] = { 10 };
	int need;

	partition.nodes = nodes;
	partition.n_nodes = 1;
	partition.distances = distances;
	build();
	need = used;
	for (int size = 0; size < need; size++) {
		uint64_t before = 1;
		uint8_t *exact = malloc((size_t)size + 1);

		exact[size] = 0x77;
		ck_assert_int_eq(
			acpi_build(&partition, &kernel, BASE, exact, (size_t)size, &before),
			-ENOSPC);
		ck_assert_uint_eq(before, 1);
		ck_assert_uint_eq(exact[size], 0x77);
		free(exact);
	}
	ck_assert_int_eq(acpi_build(&partition, &kernel, BASE, area, (size_t)need, &rsdp), need);
}
END_TEST

/* What image_build() makes of it. */
START_TEST(test_named_errors)
{
	static uint8_t file[SAMPLE_SIZE];
	static const unsigned nodes[] = { 0, 1 };
	struct popcorn_error error = { 0 };
	struct image image;

	sample_bzimage(file);
	ck_assert_int_eq(bzimage_parse(file, SAMPLE_SIZE, &kernel, NULL), 0);
	partition.nodes = nodes;
	partition.n_nodes = 2;
	cpus[1].node = 2;
	ck_assert_int_eq(image_build(&kernel, NULL, 0, "", &partition, &image, &error), -EINVAL);
	ck_assert_int_eq(error.id, POPCORN_ERROR_INVALID_ARGUMENT);

	for (unsigned i = 0; i < POPCORN_CPUS_MAX; i++)
		cpus[i] = (struct image_cpu){ i + 1000, 0 };
	for (unsigned i = 0; i < POPCORN_RANGES_MAX; i++)
		ranges[i] = (struct image_range){ HEAD + i * 0x10000000ull, 0x8000000, i % 2 };
	partition.n_cpus = POPCORN_CPUS_MAX;
	partition.n_ranges = POPCORN_RANGES_MAX;
	memset(&error, 0, sizeof(error));
	ck_assert_int_eq(image_build(&kernel, NULL, 0, "", &partition, &image, &error), -ENOSPC);
	ck_assert_int_eq(error.id, POPCORN_ERROR_LIMIT);
	ck_assert_ptr_nonnull(strstr(error.text, "4096 CPUs, 4096 memory ranges and 2 NUMA nodes"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("acpi");
	TCase *tc = tcase_create("acpi");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_order);
	tcase_add_test(tc, test_fadt);
	tcase_add_test(tc, test_pm_timer);
	tcase_add_test(tc, test_read_pm_timer);
	tcase_add_test(tc, test_dsdt);
	tcase_add_test(tc, test_madt);
	tcase_add_test(tc, test_madt_boot_cpu);
	tcase_add_test(tc, test_madt_x2apic);
	tcase_add_test(tc, test_numa);
	tcase_add_test(tc, test_no_nodes);
	tcase_add_test(tc, test_bad_distances);
	tcase_add_test(tc, test_unknown_node);
	tcase_add_test(tc, test_pcrn);
	tcase_add_test(tc, test_4096_cpus);
	tcase_add_test(tc, test_no_room);
	tcase_add_test(tc, test_named_errors);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
