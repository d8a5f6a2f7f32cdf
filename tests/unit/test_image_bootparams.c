// SPDX-License-Identifier: GPL-2.0-or-later
/* boot_params, the memory map, and where everything lies. */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include <popcorn.h>
#include <popcorn/head.h>

#include "image-sample.h"
#include "run.h"

#define MIB ((uint64_t)0x100000)
#define E820_RAM 1
#define E820_RESERVED 2

static uint8_t file[SAMPLE_SIZE];
static struct bzimage kernel;
static struct image_partition partition;
static struct image image;
static struct popcorn_error error;

static void setup(void)
{
	sample_bzimage(file);
	ck_assert_int_eq(bzimage_parse(file, SAMPLE_SIZE, &kernel, NULL), 0);
	partition = sample_partition();
	memset(&image, 0, sizeof(image));
	memset(&error, 0, sizeof(error));
}

static void teardown(void)
{
	image_done(&image);
}

static void build(const void *initrd, size_t initrd_size)
{
	ck_assert_msg(
		image_build(&kernel, initrd, initrd_size, "user", &partition, &image, &error) == 0,
		"%s", error.text);
}

static void refuse_initrd(size_t initrd_size, enum popcorn_error_id id, const char *text)
{
	static const struct image untouched;

	memset(&error, 0, sizeof(error));
	ck_assert_int_eq(
		image_build(&kernel, file, initrd_size, "user", &partition, &image, &error),
		-popcorn_error_errno(id));
	ck_assert_int_eq(error.id, id);
	ck_assert_msg(strstr(error.text, text), "'%s' is not in '%s'", text, error.text);
	ck_assert_mem_eq(&image, &untouched, sizeof(image));
}

static void refuse(enum popcorn_error_id id, const char *text)
{
	refuse_initrd(0, id, text);
}

static const struct image_segment *segment(const char *what)
{
	for (size_t i = 0; i < image.n_segments; i++)
		if (strcmp(image.segments[i].what, what) == 0)
			return &image.segments[i];
	return NULL;
}

static const struct boot_params *params(void)
{
	return segment("boot_params")->buf;
}

static const struct boot_e820_entry *e820(size_t i)
{
	return (const struct boot_e820_entry *)((const uint8_t *)params() + 0x2d0) + i;
}

static void entry_is(size_t i, uint64_t addr, uint64_t size, uint32_t type)
{
	ck_assert_uint_eq(e820(i)->addr, addr);
	ck_assert_uint_eq(e820(i)->size, size);
	ck_assert_uint_eq(e820(i)->type, type);
}

START_TEST(test_fields)
{
	uint8_t expected[4096] = { 0 };
	struct boot_params *e = (struct boot_params *)expected;
	const uint64_t at = 0x40000000 + POPCORN_HEAD_SIZE;

	build("initrd", 6);
	/* The header as the file has it, up to its end by the jump, then what a loader fills in. */
	memcpy(expected + 0x1f1, file + 0x1f1, SAMPLE_HEADER_END - 0x1f1);
	e->hdr.type_of_loader = 0xff;
	e->hdr.loadflags = 0x01;
	e->hdr.code32_start = 0x40400000;
	e->hdr.ramdisk_image = 0x47fff000;
	e->hdr.ramdisk_size = 6;
	e->hdr.cmd_line_ptr = (uint32_t)at + 4096;
	e->hdr.setup_data = 0;
	e->acpi_rsdp_addr = 0x40000000 + POPCORN_HEAD_TABLES;
	e->e820_entries = 4;
	e->e820_table[0] = (struct boot_e820_entry){ 0x20000, 0x8000, E820_RAM };
	e->e820_table[1] = (struct boot_e820_entry){ 0x40000000, 0x200000, E820_RESERVED };
	e->e820_table[2] = (struct boot_e820_entry){ 0x40200000, 0x7e00000, E820_RAM };
	e->e820_table[3] = (struct boot_e820_entry){ 0x50000000, 0x8000000, E820_RAM };
	for (size_t i = 0; i < sizeof(expected); i++)
		ck_assert_msg(((const uint8_t *)params())[i] == expected[i],
			      "byte %#zx is %#x, not %#x", i, ((const uint8_t *)params())[i],
			      expected[i]);
	ck_assert_str_eq((const char *)params() + 4096, image.cmdline);
	ck_assert_uint_eq(image.boot_params, at);
	ck_assert_uint_eq(segment("boot_params")->mem, at);
	ck_assert_uint_eq(segment("boot_params")->bufsz, 8192);
}
END_TEST

START_TEST(test_segments)
{
	build("initrd", 6);
	ck_assert_uint_eq(image.n_segments, 4);
	ck_assert_uint_eq(segment("acpi")->mem, 0x40000000 + POPCORN_HEAD_TABLES);
	ck_assert_uint_eq(segment("kernel")->mem, 0x40400000);
	ck_assert_ptr_eq(segment("kernel")->buf, file + SAMPLE_SETUP);
	ck_assert_uint_eq(segment("kernel")->bufsz, SAMPLE_KERNEL);
	ck_assert_uint_eq(segment("kernel")->memsz, SAMPLE_KERNEL);
	ck_assert_uint_eq(image.entry, 0x40400200);
	ck_assert_uint_eq(segment("initrd")->bufsz, 6);
	ck_assert_uint_eq(segment("initrd")->memsz, 4096);
	image_done(&image);
	build(NULL, 0);
	ck_assert_uint_eq(image.n_segments, 3);
	ck_assert_uint_eq(params()->hdr.ramdisk_size, 0);
	ck_assert_uint_eq(params()->hdr.ramdisk_image, 0);
}
END_TEST

START_TEST(test_above_4g)
{
	static const struct image_range high[] = { { 0x12340000000, 0x10000000, 0 } };

	partition.ranges = high;
	partition.n_ranges = 1;
	build("initrd", 6);
	ck_assert_uint_eq(params()->ext_cmd_line_ptr, 0x123);
	ck_assert_uint_eq(params()->hdr.cmd_line_ptr, 0x40201000);
	ck_assert_uint_eq(params()->ext_ramdisk_image, 0x123);
	ck_assert_uint_eq(params()->hdr.ramdisk_image, 0x4ffff000);
	ck_assert_uint_eq(params()->ext_ramdisk_size, 0);
	ck_assert_uint_eq(params()->acpi_rsdp_addr, 0x12340010000);
	ck_assert_uint_eq(image.entry, 0x12340400200);

	image_done(&image);
	kernel.xloadflags &= ~XLF_CAN_BE_LOADED_ABOVE_4G;
	refuse(POPCORN_ERROR_MEMORY_TOO_SMALL, "below 4 GiB");
}
END_TEST

/* A kernel without the flag, and a range across the boundary: all must lie below it. */
START_TEST(test_across_4g)
{
	static const struct image_range across[] = { { 0xf8000000, 0x10000000, 0 } };

	partition.ranges = across;
	partition.n_ranges = 1;
	kernel.xloadflags &= ~XLF_CAN_BE_LOADED_ABOVE_4G;
	build("initrd", 6);
	ck_assert_uint_eq(segment("initrd")->mem, 0xfffff000);
	ck_assert_uint_eq(params()->ext_ramdisk_image, 0);
}
END_TEST

/* Below its preferred address a kernel would move itself, over what else is there. */
START_TEST(test_preferred_address)
{
	static const struct image_range low[] = { { 0x200000, 0x8000000, 0 } };

	partition.ranges = low;
	partition.n_ranges = 1;
	build(NULL, 0);
	ck_assert_uint_eq(segment("kernel")->mem, 0x1000000);
	image_done(&image);
	kernel.pref_address = ~0ull;
	refuse(POPCORN_ERROR_MEMORY_TOO_SMALL, "first memory range has 128 MiB");
	kernel.pref_address = 1ull << 51;
	refuse(POPCORN_ERROR_MEMORY_TOO_SMALL, "first memory range");
}
END_TEST

START_TEST(test_e820_merged)
{
	/* Unsorted; two are adjacent, one is adjacent to the first range's RAM. */
	static const struct image_range ranges[] = {
		{ 0x40000000, 0x4000000, 0 }, { 0x60200000, 0x200000, 0 },
		{ 0x44000000, 0x4000000, 0 }, { 0x60000000, 0x200000, 0 },
		{ 0x3fe00000, 0x200000, 0 },
	};

	partition.ranges = ranges;
	partition.n_ranges = 5;
	build(NULL, 0);
	ck_assert_uint_eq(params()->e820_entries, 5);
	entry_is(0, 0x20000, 0x8000, E820_RAM);
	entry_is(1, 0x3fe00000, 0x200000, E820_RAM);
	entry_is(2, 0x40000000, 0x200000, E820_RESERVED);
	entry_is(3, 0x40200000, 0x7e00000, E820_RAM);
	entry_is(4, 0x60000000, 0x400000, E820_RAM);
}
END_TEST

/* More entries than boot_params has room for: the rest hangs on a struct setup_data. */
START_TEST(test_e820_extended)
{
	static struct image_range ranges[POPCORN_RANGES_MAX];
	const struct setup_data *data;
	struct boot_e820_entry last;
	uint64_t at;

	for (size_t i = 0; i < POPCORN_RANGES_MAX; i++)
		ranges[i] = (struct image_range){ 0x100000000 + i * 0x10000000, 0x8000000, 0 };
	partition.ranges = ranges;

	partition.n_ranges = 126; /* with low memory and head: 128 */
	build("x", 1);
	ck_assert_uint_eq(params()->e820_entries, 128);
	ck_assert_uint_eq(params()->hdr.setup_data, 0);
	ck_assert_uint_eq(segment("boot_params")->bufsz, 8192);
	image_done(&image);

	for (partition.n_ranges = 127; partition.n_ranges <= POPCORN_RANGES_MAX;
	     partition.n_ranges += POPCORN_RANGES_MAX - 127) {
		build("x", 1);
		ck_assert_uint_eq(params()->e820_entries, 128);
		entry_is(127, ranges[125].start, 0x8000000, E820_RAM);
		at = params()->hdr.setup_data;
		ck_assert_uint_eq(at % 8, 0);
		ck_assert_uint_ge(at, params()->hdr.cmd_line_ptr + strlen(image.cmdline) + 1);
		data = (const void *)((const uint8_t *)params() + (at - image.boot_params));
		ck_assert_uint_eq(data->next, 0);
		ck_assert_uint_eq(data->type, SETUP_E820_EXT);
		ck_assert_uint_eq(data->len, (partition.n_ranges - 126) * 20);
		ck_assert_uint_le(at + sizeof(*data) + data->len,
				  image.boot_params + segment("boot_params")->bufsz);
		memcpy(&last, data->data + data->len - 20, 20);
		ck_assert_uint_eq(last.addr, ranges[partition.n_ranges - 1].start);
		ck_assert_uint_eq(last.size, 0x8000000);
		ck_assert_uint_eq(last.type, E820_RAM);
		/* The kernel maps no more than 256 KiB of it at once. */
		ck_assert_uint_le(data->len, 256 * 1024);
		image_done(&image);
	}
}
END_TEST

START_TEST(test_header_longer_than_its_place)
{
	sample_header(file)->jump = 0xeb | 0xff << 8;
	build(NULL, 0);
	/* What follows belongs to the loader: it stays zero. */
	for (size_t i = 0x290; i < 0x2d0; i++)
		ck_assert_uint_eq(((const uint8_t *)params())[i], 0);
	ck_assert_uint_eq(((const uint8_t *)params())[0x28f], 0xee);
}
END_TEST

START_TEST(test_bad_partitions)
{
	struct image_range ranges[2];
	struct image_cpu cpus[2] = { { 3, 0 }, { 4, 0 } };
#define RESET()                                                                         \
	(partition = sample_partition(), memcpy(ranges, sample_ranges, sizeof(ranges)), \
	 partition.ranges = ranges, partition.cpus = cpus)
	RESET();
	ranges[1].start = 0x44000000;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "overlap at 0x44000000");
	ranges[1].start = 0x40000000;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "overlap at 0x40000000");
	RESET();
	ranges[0].length = 0;
	refuse(POPCORN_ERROR_MEMORY_INVALID, "2 MiB");
	RESET();
	ranges[1].start += 0x1000;
	refuse(POPCORN_ERROR_MEMORY_INVALID, "0x50001000");
	RESET();
	ranges[1].length += 0x100000;
	refuse(POPCORN_ERROR_MEMORY_INVALID, "2 MiB");
	RESET();
	ranges[1].start = 0;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "1 MiB");
	RESET();
	ranges[1].start = (1ull << 52) - 0x200000;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "4 PiB");
	ranges[1].start = 0 - 0x200000ull;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "4 PiB");
	ranges[1] = (struct image_range){ 0x50000000, 0 - 0x200000ull, 0 };
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "4 PiB");
	RESET();
	partition.n_ranges = 0;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "not 0");
	partition.n_ranges = POPCORN_RANGES_MAX + 1;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "not 4097");
	RESET();
	partition.n_cpus = 0;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "CPUs, not 0");
	partition.n_cpus = POPCORN_CPUS_MAX + 1;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "CPUs, not 4097");
	RESET();
	cpus[1].apicid = 3;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "twice");
	cpus[1].apicid = UINT32_MAX;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "broadcast");
	cpus[1].apicid = 0;
	refuse(POPCORN_ERROR_CPU_BOOT, "APIC id 0 booted");
	cpus[1].apicid = 4;
	RESET();
	partition.low_length = 0;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "low memory");
	RESET();
	partition.low_start = 0x9c000;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "low memory");
	partition.low_start = 0x20800;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "whole pages");
	partition.low_start = 0;
	refuse(POPCORN_ERROR_INVALID_ARGUMENT, "whole pages");
	/* A kernel does not touch the first 64 KiB. */
	partition.low_start = 0x2000;
	refuse(POPCORN_ERROR_NO_LOW_MEMORY, "0x7000 of it above 0x10000");
	partition.low_length = 0x14000;
	refuse(POPCORN_ERROR_NO_LOW_MEMORY, "0x7000");
	partition.low_length = 0x15000;
	build(NULL, 0);
	image_done(&image);
	partition.low_start = 0x98000;
	partition.low_length = 0x6000;
	refuse(POPCORN_ERROR_NO_LOW_MEMORY, "0x7000");
}
END_TEST

START_TEST(test_memory_too_small)
{
	struct image_range range = { 0x40000000, 0, 0 };
	/* Head, boot_params up to the next 2 MiB, and the room for unpacking. */
	uint64_t need = 0x400000 + SAMPLE_INIT;

	partition.ranges = &range;
	partition.n_ranges = 1;
	for (range.length = 0x200000; range.length < need; range.length += 0x200000)
		refuse(POPCORN_ERROR_MEMORY_TOO_SMALL, "needs 23 MiB in one piece");
	build(NULL, 0);
	/* And so it is said: as much as asked for is enough. */
	ck_assert_uint_eq((need + MIB - 1) / MIB, 23);
}
END_TEST

START_TEST(test_initrd_too_large)
{
	struct image_range ranges[3] = { { 0x40000000, 0x2000000, 0 },
					 { 0x50000000, 0x1000000, 0 },
					 { 0x60000000, 0x800000, 0 } };
	uint64_t room = 0x2000000 - 0x400000 - SAMPLE_INIT;

	partition.ranges = ranges;
	partition.n_ranges = 1;
	build(file, room);
	ck_assert_uint_eq(segment("initrd")->mem, 0x40400000 + SAMPLE_INIT);
	image_done(&image);
	refuse_initrd(room + 1, POPCORN_ERROR_INITRD_TOO_LARGE, "has 9 MiB");
	/* Another range takes it. */
	partition.n_ranges = 3;
	build(file, room + 1);
	ck_assert_uint_eq(segment("initrd")->mem, (0x51000000 - room - 1) & ~0xfffull);
	image_done(&image);
	build(file, 0x1000000);
	ck_assert_uint_eq(segment("initrd")->mem, 0x50000000);
	image_done(&image);
	refuse_initrd(0x1000001, POPCORN_ERROR_INITRD_TOO_LARGE,
		      "17 MiB, the largest piece of memory that kernel " SAMPLE_RELEASE
		      " leaves free has 16 MiB");
	refuse_initrd(SIZE_MAX, POPCORN_ERROR_INITRD_TOO_LARGE, "initrd");
}
END_TEST

static uint64_t random_bits(unsigned bits)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bits; i += 15)
		value = value << 15 | (uint64_t)(rand() & 0x7fff);
	return value & ((1ull << bits) - 1);
}

static bool within_one_range(uint64_t start, uint64_t size)
{
	for (size_t i = 0; i < partition.n_ranges; i++)
		if (start >= partition.ranges[i].start &&
		    start + size <= partition.ranges[i].start + partition.ranges[i].length)
			return true;
	return false;
}

/* Whatever the partition: what is loaded lies in it, in the right part, and nothing overlaps. */
START_TEST(test_random_layouts)
{
	unsigned built = 0, refused = 0;

	srand(1);
	for (unsigned round = 0; round < 20000; round++) {
		struct image_range ranges[6];
		uint64_t at = 0x200000 + (random_bits(round % 3 ? 10 : 20) << 21);
		size_t initrd_size;
		int r;

		partition.n_ranges = 1 + random_bits(8) % 6;
		for (size_t i = 0; i < partition.n_ranges; i++) {
			ranges[i] = (struct image_range){ at, (1 + random_bits(5)) << 21, 0 };
			at += ranges[i].length + (random_bits(3) << 21);
		}
		/* Any of them may be the first one given. */
		for (size_t i = 0, j = random_bits(8) % partition.n_ranges; i < 1; i++) {
			struct image_range swap = ranges[i];

			ranges[i] = ranges[j];
			ranges[j] = swap;
		}
		partition.ranges = ranges;
		kernel.init_size = SAMPLE_KERNEL + (uint32_t)random_bits(25);
		kernel.alignment = 0x200000u << random_bits(8) % 4;
		kernel.pref_address = random_bits(1) ? 0x1000000 : random_bits(27) & ~0x1fffffull;
		kernel.xloadflags =
			XLF_KERNEL_64 | (random_bits(2) ? XLF_CAN_BE_LOADED_ABOVE_4G : 0);
		initrd_size = random_bits(1) ? random_bits(25) : random_bits(8);
		memset(&error, 0, sizeof(error));
		/* The initrd's bytes are not looked at. */
		r = image_build(&kernel, file, initrd_size, "", &partition, &image, &error);
		if (r < 0) {
			ck_assert(error.id == POPCORN_ERROR_MEMORY_TOO_SMALL ||
				  error.id == POPCORN_ERROR_INITRD_TOO_LARGE);
			refused++;
			continue;
		}
		built++;
		for (size_t i = 0; i < image.n_segments; i++) {
			const struct image_segment *s = &image.segments[i];
			bool is_kernel = strcmp(s->what, "kernel") == 0;
			uint64_t size = is_kernel ? kernel.init_size : s->memsz;
			uint64_t head = ranges[0].start;

			ck_assert_uint_eq(s->mem % 4096, 0);
			ck_assert_uint_eq(s->memsz % 4096, 0);
			ck_assert_uint_ge(s->memsz, s->bufsz);
			ck_assert_uint_lt(s->memsz - s->bufsz, 4096);
			ck_assert(within_one_range(s->mem, size));
			if (!(kernel.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G))
				ck_assert_uint_le(s->mem + size, 1ull << 32);
			if (strcmp(s->what, "acpi") == 0) {
				ck_assert_uint_ge(s->mem, head + POPCORN_HEAD_TABLES);
				ck_assert_uint_le(s->mem + s->memsz,
						  head + POPCORN_HEAD_TABLES_END);
			} else {
				ck_assert(s->mem >= head + POPCORN_HEAD_SIZE ||
					  s->mem + size <= head);
			}
			if (is_kernel) {
				ck_assert_uint_eq(s->mem % kernel.alignment, 0);
				ck_assert_uint_ge(s->mem, kernel.pref_address);
			}
			for (size_t j = 0; j < image.n_segments; j++) {
				const struct image_segment *o = &image.segments[j];

				if (i != j)
					ck_assert(s->mem + size <= o->mem ||
						  s->mem >= o->mem + o->memsz);
			}
		}
		image_done(&image);
	}
	/* The random numbers must not have left one side out. */
	ck_assert_uint_gt(built, 2000);
	ck_assert_uint_gt(refused, 2000);
}
END_TEST

START_TEST(test_done_twice)
{
	build(NULL, 0);
	image_done(&image);
	image_done(&image);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bootparams");
	TCase *tc = tcase_create("bootparams");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_fields);
	tcase_add_test(tc, test_segments);
	tcase_add_test(tc, test_above_4g);
	tcase_add_test(tc, test_across_4g);
	tcase_add_test(tc, test_preferred_address);
	tcase_add_test(tc, test_e820_merged);
	tcase_add_test(tc, test_e820_extended);
	tcase_add_test(tc, test_header_longer_than_its_place);
	tcase_add_test(tc, test_bad_partitions);
	tcase_add_test(tc, test_memory_too_small);
	tcase_add_test(tc, test_initrd_too_large);
	tcase_add_test(tc, test_random_layouts);
	tcase_add_test(tc, test_done_twice);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
