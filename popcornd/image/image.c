// SPDX-License-Identifier: GPL-2.0-or-later
/* Puts the parts of a boot image together: where each lies, and the segments for the driver. */
#include <asm/bootparam.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <popcorn.h>
#include <popcorn/head.h>

#include "image.h"
#include "internal.h"
#include "vmlinux.h"

/* With four levels of page tables; a kernel that was entered with them does not add a fifth. */
#define LIMIT_4_LEVELS ((uint64_t)1 << 46)

/* What a kernel can reach before it has read boot_params: see XLF_CAN_BE_LOADED_ABOVE_4G. */
#define LIMIT_4G ((uint64_t)1 << 32)

/* Sizes in texts are rounded up: who asks for what the text says must not fail again. */
static uint64_t mib(uint64_t bytes)
{
	return (bytes + MIB - 1) / MIB;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int check_cpus(const struct image_partition *partition, struct popcorn_error *error)
{
	_cleanup_free_ uint32_t *ids = NULL;

	if (partition->n_cpus == 0 || partition->n_cpus > POPCORN_CPUS_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
					 "a kernel has 1 to %d CPUs, not %zu", POPCORN_CPUS_MAX,
					 partition->n_cpus);
	ids = malloc(partition->n_cpus * sizeof(*ids));
	if (!ids)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	for (size_t i = 0; i < partition->n_cpus; i++) {
		ids[i] = partition->cpus[i].apicid;
		/* It would be sent INIT by the secondary, and the primary would be gone. */
		if (ids[i] == partition->primary_boot_apicid)
			return popcorn_error_set(error, POPCORN_ERROR_CPU_BOOT,
						 "the CPU with APIC id %" PRIu32
						 " booted the machine and stays with "
						 "the primary",
						 ids[i]);
		if (ids[i] == UINT32_MAX)
			return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
						 "%#" PRIx32 " is the broadcast address, not a CPU",
						 ids[i]);
	}
	qsort(ids, partition->n_cpus, sizeof(*ids), compare_ids);
	for (size_t i = 1; i < partition->n_cpus; i++)
		if (ids[i] == ids[i - 1])
			return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
						 "the CPU with APIC id %" PRIu32 " is listed twice",
						 ids[i]);
	return 0;
}

static int check_partition(const struct image_partition *partition, struct popcorn_error *error)
{
	uint64_t low;

	if (partition->n_ranges == 0 || partition->n_ranges > POPCORN_RANGES_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
					 "a kernel has 1 to %d memory ranges, not %zu",
					 POPCORN_RANGES_MAX, partition->n_ranges);
	for (size_t i = 0; i < partition->n_ranges; i++) {
		const struct image_range *range = &partition->ranges[i];

		if (range->length == 0 || (range->start | range->length) % POPCORN_MEMORY_ALIGN)
			return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
						 "the memory range of %#" PRIx64
						 " bytes at %#" PRIx64 " does not "
						 "begin and end on a multiple of 2 MiB",
						 range->length, range->start);
		if (range->start < MIB || range->start >= PHYS_END ||
		    range->length > PHYS_END - range->start)
			return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
						 "the memory range of %#" PRIx64
						 " bytes at %#" PRIx64 " is not "
						 "between 1 MiB and 4 PiB",
						 range->length, range->start);
	}
	if (partition->low_start < PAGE || partition->low_length == 0 ||
	    partition->low_start >= LOW_END ||
	    partition->low_length > LOW_END - partition->low_start ||
	    (partition->low_start | partition->low_length) % PAGE)
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
					 "the %#" PRIx64 " bytes of low memory at %#" PRIx64
					 " are not whole pages "
					 "between 4 KiB and 640 KiB",
					 partition->low_length, partition->low_start);
	low = partition->low_start < LOW_START ? LOW_START : partition->low_start;
	if (partition->low_start + partition->low_length < low + REAL_MODE_SIZE)
		return popcorn_error_set(error, POPCORN_ERROR_NO_LOW_MEMORY,
					 "the kernel's low memory is %#" PRIx64
					 " bytes at %#" PRIx64 ", but Linux needs "
					 "%#x of it above %#x, to start its CPUs in",
					 partition->low_length, partition->low_start,
					 REAL_MODE_SIZE, LOW_START);
	return check_cpus(partition, error);
}

/* The highest place for @size bytes in [@start, @end), or 0. */
static uint64_t place_high(uint64_t start, uint64_t end, uint64_t limit, uint64_t size)
{
	if (end > limit)
		end = limit;
	if (end <= start || size > end - start)
		return 0;
	return round_down(end - size, PAGE) >= start ? round_down(end - size, PAGE) : 0;
}

int image_layout(const struct bzimage *kernel, size_t initrd_size, size_t params_size,
		 const struct image_partition *partition, struct image_layout *ret,
		 struct popcorn_error *error)
{
	const struct image_range *first = &partition->ranges[0];
	uint64_t end = first->start + first->length, limit = PHYS_END, kernel_end, largest = 0;
	struct image_layout l = {
		.head = first->start,
		.tables = first->start + POPCORN_HEAD_TABLES,
		.params = first->start + POPCORN_HEAD_SIZE,
		.params_size = params_size,
	};

	if (!(kernel->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G))
		limit = LIMIT_4G;
	if (end > limit)
		end = limit;

	l.kernel = round_up(l.params + params_size, kernel->alignment);
	/*
	 * A kernel that finds itself below its preferred address moves up to it, over whatever is
	 * there: put it there at once.
	 */
	if (l.kernel < kernel->pref_address)
		l.kernel = kernel->pref_address < PHYS_END
				   ? round_up(kernel->pref_address, kernel->alignment)
				   : PHYS_END;
	if (l.kernel + kernel->init_size > end) {
		if (limit == LIMIT_4G && first->start + first->length > LIMIT_4G)
			return popcorn_error_set(error, POPCORN_ERROR_MEMORY_TOO_SMALL,
						 "kernel %s can only be loaded below 4 GiB, and "
						 "the first memory range "
						 "is %" PRIu64 " MiB at %#" PRIx64
						 "; give it lower memory",
						 kernel->release, mib(first->length), first->start);
		return popcorn_error_set(
			error, POPCORN_ERROR_MEMORY_TOO_SMALL,
			"kernel %s needs %" PRIu64 " MiB in one piece to unpack itself, the first "
			"memory range has %" PRIu64 " MiB; ask for more memory",
			kernel->release, mib(l.kernel - l.head + kernel->init_size),
			mib(first->length));
	}
	kernel_end = l.kernel + kernel->init_size;

	if (initrd_size) {
		l.initrd_size = initrd_size;
		l.initrd = place_high(kernel_end, end, limit, initrd_size);
		largest = end - kernel_end;
		/* Memory often comes in blocks of 128 MiB: a large initrd may need one of its own. */
		for (size_t i = 1; i < partition->n_ranges && !l.initrd; i++) {
			const struct image_range *range = &partition->ranges[i];

			l.initrd = place_high(range->start, range->start + range->length, limit,
					      initrd_size);
			if (range->start + range->length <= limit && range->length > largest)
				largest = range->length;
		}
		if (!l.initrd)
			return popcorn_error_set(
				error, POPCORN_ERROR_INITRD_TOO_LARGE,
				"the initrd, with popcorn's files, has %" PRIu64
				" MiB, the largest "
				"piece of memory that kernel %s leaves free has %" PRIu64
				" MiB; ask "
				"for more memory",
				mib(initrd_size), kernel->release, largest / MIB);
	}

	*ret = l;
	return 0;
}

/* As the decompressor looks for it: neither quotes nor "--" mean anything. */
static bool has_word(const char *line, const char *word)
{
	size_t length = strlen(word);

	for (const char *p = line; *p;) {
		size_t n = strcspn(p, " \t\n");

		if (n == length && memcmp(p, word, n) == 0)
			return true;
		p += n;
		p += strspn(p, " \t\n");
	}
	return false;
}

bool image_may_move(const struct vmlinux *vmlinux, const char *cmdline)
{
	return vmlinux->can_move && !has_word(cmdline, "nokaslr");
}

/*
 * Whether the kernel can be entered without its decompressor, which also is what switches to five
 * levels of page tables.
 */
static bool enters_directly(const struct bzimage *kernel, const struct image_partition *partition)
{
	for (size_t i = 0; i < partition->n_ranges; i++)
		if (partition->ranges[i].start + partition->ranges[i].length > LIMIT_4_LEVELS)
			return false;
	return kernel->vmlinux != NULL;
}

/*
 * KASLR, which otherwise is the decompressor's work: where the kernel lies, and at which virtual
 * address it runs; each is one of all those that would do.
 */
static void randomize(const struct bzimage *kernel, const struct image_partition *partition,
		      struct image_layout *layout)
{
	const struct image_range *first = &partition->ranges[0];
	uint64_t end = first->start + first->length;

	if (!(kernel->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) && end > LIMIT_4G)
		end = LIMIT_4G;
	if (layout->initrd > layout->kernel && layout->initrd < end)
		end = layout->initrd;
	layout->kernel += partition->random[0] %
			  ((end - layout->kernel - kernel->init_size) / kernel->alignment + 1) *
			  kernel->alignment;
	layout->kaslr = true;
	if (!kernel->vmlinux->moved)
		vmlinux_relocate(kernel->vmlinux, vmlinux_choose_offset(kernel->vmlinux, kernel,
									partition->random[1]));
}

static void add_segment(struct image *image, uint64_t mem, const void *buf, size_t size,
			const char *what)
{
	image->segments[image->n_segments++] = (struct image_segment){
		.mem = mem,
		.memsz = round_up(size, PAGE),
		.buf = buf,
		.bufsz = size,
		.what = what,
	};
}

int image_build(const struct bzimage *kernel, const void *initrd, size_t initrd_size,
		const char *cmdline, const struct image_partition *partition, struct image *ret,
		struct popcorn_error *error)
{
	_cleanup_free_ struct boot_e820_entry *e820 = NULL;
	_cleanup_free_ void *params = NULL, *tables = NULL;
	_cleanup_free_ char *whole = NULL;
	const size_t tables_size = POPCORN_HEAD_TABLES_END - POPCORN_HEAD_TABLES;
	struct image_layout layout;
	struct image image = { 0 };
	size_t n_e820;
	uint64_t rsdp;
	bool direct;
	int r, used;

	r = check_partition(partition, error);
	if (r < 0)
		return r;
	r = image_cmdline(cmdline, kernel, partition, &whole, error);
	if (r < 0)
		return r;
	r = e820_build(partition, &e820, &n_e820, error);
	if (r < 0)
		return r;
	r = image_layout(kernel, initrd ? initrd_size : 0, bootparams_size(n_e820, strlen(whole)),
			 partition, &layout, error);
	if (r < 0)
		return r;
	direct = enters_directly(kernel, partition);

	params = malloc(layout.params_size);
	tables = malloc(tables_size);
	if (!params || !tables)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);

	used = acpi_build(partition, kernel, layout.tables, tables, tables_size, &rsdp);
	if (used == -ENOSPC)
		return popcorn_error_set(error, POPCORN_ERROR_LIMIT,
					 "the ACPI tables for %zu CPUs, %zu memory ranges and %zu "
					 "NUMA nodes need more "
					 "than %zu KiB; give the kernel memory in fewer pieces",
					 partition->n_cpus, partition->n_ranges, partition->n_nodes,
					 tables_size / 1024);
	if (used < 0)
		return popcorn_error_set(
			error, POPCORN_ERROR_INVALID_ARGUMENT,
			"a CPU or memory range is on a NUMA node that the machine does not have");
	/* From here on nothing fails: what is moved can't be moved again. */
	if (direct && image_may_move(kernel->vmlinux, whole))
		randomize(kernel, partition, &layout);
	bootparams_build(kernel, &layout, e820, n_e820, whole, rsdp, params);

	add_segment(&image, layout.tables, tables, (size_t)used, "acpi");
	add_segment(&image, layout.params, params, layout.params_size, "boot_params");
	if (direct) {
		add_segment(&image, layout.kernel, kernel->vmlinux->data,
			    kernel->vmlinux->data_size, "kernel");
		/* The driver fills it with zeros, and maps all of it for the kernel's first steps. */
		image.segments[image.n_segments - 1].memsz =
			round_up(kernel->vmlinux->memory_size, PAGE);
	} else {
		add_segment(&image, layout.kernel, kernel->data + kernel->setup_size,
			    kernel->kernel_size, "kernel");
	}
	if (layout.initrd_size)
		add_segment(&image, layout.initrd, initrd, initrd_size, "initrd");
	image.entry = layout.kernel + (direct ? kernel->vmlinux->entry : IMAGE_ENTRY_OFFSET);
	image.boot_params = layout.params;
	image.owned[0] = params;
	image.owned[1] = tables;
	image.cmdline = whole;
	params = tables = whole = NULL;

	*ret = image;
	return 0;
}

void image_done(struct image *image)
{
	for (size_t i = 0; i < IMAGE_SEGMENTS_MAX; i++)
		free(image->owned[i]);
	free(image->cmdline);
	memset(image, 0, sizeof(*image));
}
