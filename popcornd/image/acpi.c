// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ACPI tables of a secondary: RSDP, XSDT, FADT, DSDT, MADT, SRAT, SLIT and our own PCRN.
 * Sections are those of the ACPI specification 6.4.
 *
 * A kernel believes its ACPI tables: what they don't mention does not exist for it. So they describe
 * a machine without legacy hardware, with the partition's CPUs and nothing else.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <popcorn/head.h>

#include "image.h"
#include "internal.h"

#define OEM_ID "POPCRN"
#define OEM_TABLE_ID "POPCORN "
#define CREATOR_ID "PCRN"

#define TABLE_ALIGN 16
#define TABLES_MAX 8

/* 5.2.9 */
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_APIC_PHYSICAL (1u << 19)
#define FADT_HW_REDUCED (1u << 20)
#define FADT_BOOT_NO_VGA (1u << 2)
#define FADT_BOOT_NO_CMOS_RTC (1u << 5)
/* 4.8.3.3 */
#define PM_TIMER_LENGTH 4

/* 5.2.12 */
#define MADT_LOCAL_APIC 0
#define MADT_X2APIC 9
#define MADT_ENABLED (1u << 0)
#define LOCAL_APIC_ADDRESS 0xfee00000u
/* 5.2.12.2 and .12: ids up to 254 have the old structure, later ones the x2APIC's. */
#define LOCAL_APIC_ID_MAX 254u

/* 5.2.16 */
#define SRAT_LOCAL_APIC 0
#define SRAT_MEMORY 1
#define SRAT_X2APIC 2
#define SRAT_ENABLED (1u << 0)

/* 5.2.17 */
#define SLIT_LOCAL 10

/* The first kernel that takes a boot CPU without the BSP bit for a crash kernel's. */
static const unsigned bsp_check_version[2] = { 6, 9 };

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));

/* Generic address structure, 5.2.3.2. */
struct acpi_gas {
	uint8_t space;
	uint8_t width, offset;
	uint8_t access; /* 1 = byte, 3 = 4 bytes */
	uint64_t address;
} __attribute__((packed));
#define GAS_MEMORY 0
#define GAS_PORT 1

struct acpi_fadt {
	struct acpi_header header;
	uint32_t facs, dsdt;
	uint8_t reserved0, profile;
	uint16_t sci_int;
	/* Fixed hardware, which is absent when hardware-reduced. */
	uint8_t pm1[28];
	uint32_t pm_timer;
	uint8_t pm2[11];
	uint8_t pm_timer_length;
	uint8_t pm3[17];
	uint16_t boot_flags;
	uint8_t reserved1;
	uint32_t flags;
	struct acpi_gas reset_register;
	uint8_t reset_value;
	uint16_t arm_boot_flags;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct acpi_gas x_pm1[5], x_pm_timer, x_gpe[2];
	struct acpi_gas sleep_control, sleep_status;
	uint64_t hypervisor;
} __attribute__((packed));
_Static_assert(offsetof(struct acpi_fadt, pm_timer) == 76, "FADT");
_Static_assert(offsetof(struct acpi_fadt, pm_timer_length) == 91, "FADT");
_Static_assert(offsetof(struct acpi_fadt, boot_flags) == 109, "FADT");
_Static_assert(offsetof(struct acpi_fadt, flags) == 112, "FADT");
_Static_assert(offsetof(struct acpi_fadt, x_dsdt) == 140, "FADT");
_Static_assert(offsetof(struct acpi_fadt, x_pm_timer) == 208, "FADT");
_Static_assert(offsetof(struct acpi_fadt, sleep_control) == 244, "FADT");
_Static_assert(sizeof(struct acpi_fadt) == 276, "FADT");

struct madt_head {
	struct acpi_header header;
	uint32_t address, flags;
} __attribute__((packed));

struct madt_local_apic {
	uint8_t type, length, uid, id;
	uint32_t flags;
} __attribute__((packed));

struct madt_x2apic {
	uint8_t type, length;
	uint16_t reserved;
	uint32_t id, flags, uid;
} __attribute__((packed));

struct srat_head {
	struct acpi_header header;
	uint32_t reserved0; /* 1, says 5.2.16 */
	uint64_t reserved1;
} __attribute__((packed));

struct srat_local_apic {
	uint8_t type, length, domain_lo, id;
	uint32_t flags;
	uint8_t sapic, domain_hi[3];
	uint32_t clock_domain;
} __attribute__((packed));

struct srat_memory {
	uint8_t type, length;
	uint32_t domain;
	uint16_t reserved0;
	uint64_t base, size;
	uint32_t reserved1, flags;
	uint64_t reserved2;
} __attribute__((packed));
_Static_assert(sizeof(struct srat_memory) == 40, "SRAT");

struct srat_x2apic {
	uint8_t type, length;
	uint16_t reserved0;
	uint32_t domain, id, flags, clock_domain, reserved1;
} __attribute__((packed));

struct slit_head {
	struct acpi_header header;
	uint64_t localities;
} __attribute__((packed));

/*
 *	DefinitionBlock ("", "DSDT", 2, "POPCRN", "POPCORN ", 1)
 *	{
 *		Name (\_S5, Package () { 5, 5, 0, 0 })
 *	}
 *
 * The first element is SLP_TYP: power-off writes (5 << 2) | SLP_EN to the sleep control register.
 */
static const uint8_t dsdt_code[] = {
	0x08,			/* NameOp */
	'_',  'S',  '5',  '_',	/* NameSeg, in the root scope where the block starts */
	0x12, 0x08,		/* PackageOp, PkgLength: 8 bytes with itself */
	0x04,			/* NumElements */
	0x0a, 0x05, 0x0a, 0x05, /* BytePrefix 5, twice */
	0x00, 0x00,		/* ZeroOp, twice */
};

/* The table area while it is filled. A table that does not fit makes @full, and counts on. */
struct area {
	uint8_t *buf;
	size_t size, used;
	uint64_t base;
	bool full;
	uint64_t tables[TABLES_MAX]; /* what the XSDT lists */
	size_t n_tables;
};

static void *area_add(struct area *area, size_t size)
{
	void *p;

	if (area->full || size > area->size - area->used) {
		area->full = true;
		return NULL;
	}
	p = area->buf + area->used;
	area->used += size;
	return memset(p, 0, size);
}

static uint64_t area_address(const struct area *area, const void *p)
{
	return area->base + (uint64_t)((const uint8_t *)p - area->buf);
}

static uint8_t checksum(const void *data, size_t size)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (size--)
		sum += *p++;
	return (uint8_t)-sum;
}

/* Starts a table whose first @size bytes are returned, with the header filled in but for length. */
static void *table_begin(struct area *area, const char *signature, uint8_t revision, size_t size)
{
	size_t pad = -area->used & (TABLE_ALIGN - 1);
	struct acpi_header *header;

	if (pad)
		area_add(area, pad);
	header = area_add(area, size);
	if (!header)
		return NULL;
	memcpy(header->signature, signature, 4);
	header->revision = revision;
	memcpy(header->oem_id, OEM_ID, 6);
	memcpy(header->oem_table_id, OEM_TABLE_ID, 8);
	header->oem_revision = 1;
	memcpy(header->creator_id, CREATOR_ID, 4);
	header->creator_revision = 1;
	return header;
}

/* Ends the table that lies last in the area; what was added since is its body. */
static void table_end(struct area *area, void *table)
{
	struct acpi_header *header = table;

	header->length = (uint32_t)(area->buf + area->used - (uint8_t *)table);
	header->checksum = checksum(table, header->length);
}

static void table_list(struct area *area, const void *table)
{
	area->tables[area->n_tables++] = area_address(area, table);
}

static struct acpi_gas gas_byte(uint64_t address)
{
	return (struct acpi_gas){
		.space = GAS_MEMORY, .width = 8, .access = 1, .address = address
	};
}

uint16_t acpi_pm_timer(const void *bytes, size_t size)
{
	struct acpi_fadt fadt = { 0 };
	uint64_t port;

	if (size < offsetof(struct acpi_fadt, reset_register))
		return 0;
	memcpy(&fadt, bytes, size < sizeof(fadt) ? size : sizeof(fadt));
	if (memcmp(fadt.header.signature, "FACP", 4) != 0 || fadt.flags & FADT_HW_REDUCED ||
	    fadt.pm_timer_length != PM_TIMER_LENGTH)
		return 0;
	/* 5.2.9: the extended address is the one to use, if it is not zero. */
	port = fadt.pm_timer;
	if (fadt.x_pm_timer.address) {
		if (fadt.x_pm_timer.space != GAS_PORT)
			return 0;
		port = fadt.x_pm_timer.address;
	}
	return port <= UINT16_MAX - PM_TIMER_LENGTH + 1 ? (uint16_t)port : 0;
}

static void build_fadt(struct area *area, uint64_t head, uint16_t pm_timer)
{
	struct acpi_header *dsdt;
	struct acpi_fadt *fadt;
	uint8_t *code;

	dsdt = table_begin(area, "DSDT", 2, sizeof(*dsdt));
	code = area_add(area, sizeof(dsdt_code));
	if (!code)
		return;
	memcpy(code, dsdt_code, sizeof(dsdt_code));
	table_end(area, dsdt);

	fadt = table_begin(area, "FACP", 6, sizeof(*fadt));
	if (!fadt)
		return;
	/*
	 * HW_REDUCED: no PIT, no PIC, no SMI. APIC_PHYSICAL: with logical destinations
	 * the CPUs of two kernels share ids, and one kernel's IPI stops a CPU of the other. The
	 * boot flag for an i8042 is not set: there is none.
	 */
	fadt->flags = FADT_HW_REDUCED | FADT_APIC_PHYSICAL | FADT_RESET_REG_SUP;
	fadt->boot_flags = FADT_BOOT_NO_VGA | FADT_BOOT_NO_CMOS_RTC;
	fadt->x_dsdt = area_address(area, dsdt);
	/*
	 * The machine's PM timer, in spite of HW_REDUCED: a counter that is only read. A kernel without TSC
	 * deadline measures its APIC timer over 100 ms of the TSC, and a CPU that does not run for part of
	 * that time (a virtual one, or in SMM) measures nonsense, up to "too slow, disabled": a kernel without
	 * a timer. Linux corrects that by this counter, if its address is here (acpi_parse_fadt(),
	 * calibrate_by_pmtimer()).
	 */
	if (pm_timer)
		fadt->x_pm_timer = (struct acpi_gas){
			.space = GAS_PORT,
			.width = 8 * PM_TIMER_LENGTH,
			.access = 3,
			.address = pm_timer,
		};
	/*
	 * The "registers" are bytes of RAM, which popcorn_kexec watches. Sleep status is the same
	 * byte as sleep control: a kernel that goes to sleep waits for it to change, without an end
	 * and without a warning, until the primary parks the CPU.
	 */
	fadt->reset_register = gas_byte(head + offsetof(struct popcorn_head, reset));
	fadt->reset_value = POPCORN_RESET_VALUE;
	fadt->sleep_control = gas_byte(head + offsetof(struct popcorn_head, sleep));
	fadt->sleep_status = fadt->sleep_control;
	table_end(area, fadt);
	table_list(area, fadt);
}

struct madt_uids {
	unsigned local, x2apic;
};

static void madt_add(struct area *area, uint32_t id, struct madt_uids *uids)
{
	if (id <= LOCAL_APIC_ID_MAX) {
		struct madt_local_apic *entry = area_add(area, sizeof(*entry));

		if (entry)
			*entry = (struct madt_local_apic){
				.type = MADT_LOCAL_APIC,
				.length = sizeof(*entry),
				.uid = (uint8_t)uids->local++,
				.id = (uint8_t)id,
				.flags = MADT_ENABLED,
			};
	} else {
		struct madt_x2apic *entry = area_add(area, sizeof(*entry));

		/* Behind all that the old structure's 8 bits could name. */
		if (entry)
			*entry = (struct madt_x2apic){
				.type = MADT_X2APIC,
				.length = sizeof(*entry),
				.id = id,
				.flags = MADT_ENABLED,
				.uid = 256 + uids->x2apic++,
			};
	}
}

/*
 * From 6.9 on a kernel whose boot CPU lacks the BSP bit takes itself for a crash kernel and stays on
 * one CPU, unless the first enabled entry is another CPU's: then it leaves that one alone and
 * starts the others. Earlier kernels would send INIT to it: the machine's boot CPU.
 */
static bool kernel_checks_bsp(const struct bzimage *kernel)
{
	if (kernel->version[0] != bsp_check_version[0])
		return kernel->version[0] > bsp_check_version[0];
	return kernel->version[1] >= bsp_check_version[1];
}

static void build_madt(struct area *area, const struct image_partition *partition,
		       const struct bzimage *kernel)
{
	struct madt_uids uids = { 0, 0 };
	struct madt_head *madt;

	madt = table_begin(area, "APIC", 5, sizeof(*madt));
	if (!madt)
		return;
	madt->address = LOCAL_APIC_ADDRESS;
	if (kernel_checks_bsp(kernel))
		madt_add(area, partition->primary_boot_apicid, &uids);
	for (size_t i = 0; i < partition->n_cpus; i++)
		madt_add(area, partition->cpus[i].apicid, &uids);
	if (area->full)
		return;
	table_end(area, madt);
	table_list(area, madt);
}

/*
 * Proximity domains: the nodes that the partition uses, counted from 0 in the order of
 * @partition->nodes. The SLIT is a full matrix, so holes would cost the square.
 */
struct domains {
	size_t *index; /* domain -> row in partition->nodes */
	size_t count;
};

static int find_node(const struct image_partition *partition, unsigned node, size_t *ret)
{
	for (size_t i = 0; i < partition->n_nodes; i++)
		if (partition->nodes[i] == node) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

static int domains_init(struct domains *domains, const struct image_partition *partition)
{
	_cleanup_free_ bool *used = calloc(partition->n_nodes, sizeof(*used));
	size_t row;

	domains->index = calloc(partition->n_nodes, sizeof(*domains->index));
	if (!used || !domains->index)
		return -ENOMEM;
	for (size_t i = 0; i < partition->n_cpus; i++) {
		if (find_node(partition, partition->cpus[i].node, &row) < 0)
			return -EINVAL;
		used[row] = true;
	}
	for (size_t i = 0; i < partition->n_ranges; i++) {
		if (find_node(partition, partition->ranges[i].node, &row) < 0)
			return -EINVAL;
		used[row] = true;
	}
	for (row = 0; row < partition->n_nodes; row++)
		if (used[row])
			domains->index[domains->count++] = row;
	return 0;
}

static uint32_t domain_of(const struct domains *domains, const struct image_partition *partition,
			  unsigned node)
{
	uint32_t domain = 0;

	while (partition->nodes[domains->index[domain]] != node)
		domain++;
	return domain;
}

static void srat_add_memory(struct area *area, uint64_t base, uint64_t size, uint32_t domain)
{
	struct srat_memory *entry = area_add(area, sizeof(*entry));

	/* Not hot-pluggable: the kernel's KASLR would not use such memory. */
	if (entry)
		*entry = (struct srat_memory){
			.type = SRAT_MEMORY,
			.length = sizeof(*entry),
			.domain = domain,
			.base = base,
			.size = size,
			.flags = SRAT_ENABLED,
		};
}

static void srat_add_cpu(struct area *area, uint32_t id, uint32_t domain)
{
	if (id <= LOCAL_APIC_ID_MAX) {
		struct srat_local_apic *entry = area_add(area, sizeof(*entry));

		if (entry)
			*entry = (struct srat_local_apic){
				.type = SRAT_LOCAL_APIC,
				.length = sizeof(*entry),
				.domain_lo = (uint8_t)domain,
				.id = (uint8_t)id,
				.flags = SRAT_ENABLED,
				.domain_hi = { (uint8_t)(domain >> 8), (uint8_t)(domain >> 16),
					       (uint8_t)(domain >> 24) },
			};
	} else {
		struct srat_x2apic *entry = area_add(area, sizeof(*entry));

		if (entry)
			*entry = (struct srat_x2apic){
				.type = SRAT_X2APIC,
				.length = sizeof(*entry),
				.domain = domain,
				.id = id,
				.flags = SRAT_ENABLED,
			};
	}
}

static int compare_ranges(const void *a, const void *b)
{
	const struct image_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int build_srat(struct area *area, const struct image_partition *partition,
		      const struct domains *domains)
{
	_cleanup_free_ struct image_range *ranges = NULL;
	struct srat_head *srat;

	ranges = malloc(partition->n_ranges * sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	memcpy(ranges, partition->ranges, partition->n_ranges * sizeof(*ranges));
	qsort(ranges, partition->n_ranges, sizeof(*ranges), compare_ranges);

	srat = table_begin(area, "SRAT", 3, sizeof(*srat));
	if (!srat)
		return 0;
	srat->reserved0 = 1;
	for (size_t i = 0; i < partition->n_cpus; i++)
		srat_add_cpu(area, partition->cpus[i].apicid,
			     domain_of(domains, partition, partition->cpus[i].node));

	srat_add_memory(area, partition->low_start, partition->low_length,
			domain_of(domains, partition, partition->ranges[0].node));
	/*
	 * A kernel takes only so many entries (twice its number of nodes) and drops all if there
	 * are more. So an entry runs on over a hole to the next range of the same node, as
	 * firmware's do: where e820 has no RAM, the kernel sees none.
	 */
	for (size_t i = 0, next; i < partition->n_ranges; i = next) {
		for (next = i + 1; next < partition->n_ranges; next++)
			if (ranges[next].node != ranges[i].node)
				break;
		srat_add_memory(area, ranges[i].start,
				ranges[next - 1].start + ranges[next - 1].length - ranges[i].start,
				domain_of(domains, partition, ranges[i].node));
	}
	if (area->full)
		return 0;
	table_end(area, srat);
	table_list(area, srat);
	return 0;
}

/* A kernel drops a SLIT whose diagonal is not 10, or with 10 or less beside it. */
static bool distances_valid(const struct image_partition *partition)
{
	size_t n = partition->n_nodes;

	if (!partition->distances)
		return false;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			uint8_t distance = partition->distances[i * n + j];

			if (i == j ? distance != SLIT_LOCAL : distance <= SLIT_LOCAL)
				return false;
		}
	return true;
}

static void build_slit(struct area *area, const struct image_partition *partition,
		       const struct domains *domains)
{
	struct slit_head *slit;
	uint8_t *matrix;

	if (!distances_valid(partition))
		return;
	slit = table_begin(area, "SLIT", 1, sizeof(*slit));
	matrix = area_add(area, domains->count * domains->count);
	if (!matrix)
		return;
	slit->localities = domains->count;
	for (size_t i = 0; i < domains->count; i++)
		for (size_t j = 0; j < domains->count; j++)
			*matrix++ = partition->distances[domains->index[i] * partition->n_nodes +
							 domains->index[j]];
	table_end(area, slit);
	table_list(area, slit);
}

static void build_pcrn(struct area *area, const struct image_partition *partition, uint64_t head)
{
	struct popcorn_acpi_table *pcrn;

	pcrn = table_begin(area, POPCORN_ACPI_SIGNATURE, 1, sizeof(*pcrn));
	if (!pcrn)
		return;
	pcrn->version = POPCORN_HEAD_VERSION;
	pcrn->head = head;
	pcrn->id = partition->id;
	pcrn->generation = partition->generation;
	table_end(area, pcrn);
	table_list(area, pcrn);
}

static int build_numa(struct area *area, const struct image_partition *partition)
{
	struct domains domains = { NULL, 0 };
	int r;

	/* Without nodes no table: a kernel then puts all into one. */
	if (partition->n_nodes == 0)
		return 0;
	r = domains_init(&domains, partition);
	if (r == 0)
		r = build_srat(area, partition, &domains);
	if (r == 0)
		build_slit(area, partition, &domains);
	free(domains.index);
	return r;
}

int acpi_build(const struct image_partition *partition, const struct bzimage *kernel, uint64_t base,
	       void *buf, size_t size, uint64_t *ret_rsdp)
{
	struct area area = { .buf = buf, .size = size, .base = base };
	uint64_t head = partition->ranges[0].start;
	struct acpi_header *xsdt;
	struct acpi_rsdp *rsdp;
	uint64_t *list;
	int r;

	/* First, so that it has a fixed place; its pointer is known last. */
	rsdp = area_add(&area, sizeof(*rsdp));
	build_fadt(&area, head, partition->pm_timer);
	build_madt(&area, partition, kernel);
	r = build_numa(&area, partition);
	if (r < 0)
		return r;
	build_pcrn(&area, partition, head);

	xsdt = table_begin(&area, "XSDT", 1, sizeof(*xsdt));
	list = area_add(&area, area.n_tables * sizeof(*list));
	if (area.full)
		return -ENOSPC;
	memcpy(list, area.tables, area.n_tables * sizeof(*list));
	table_end(&area, xsdt);

	memcpy(rsdp->signature, "RSD PTR ", 8);
	memcpy(rsdp->oem_id, OEM_ID, 6);
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = area_address(&area, xsdt);
	/* The first checksum covers the 20 bytes of revision 0, the second all, so in this order. */
	rsdp->checksum = checksum(rsdp, 20);
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));

	*ret_rsdp = area_address(&area, rsdp);
	return (int)area.used;
}
