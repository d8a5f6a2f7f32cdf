// SPDX-License-Identifier: GPL-2.0-or-later
/* struct boot_params ("zero page") and the memory map in it: Documentation/x86/boot.rst. */
#include <asm/bootparam.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <popcorn/head.h>

#include "image.h"
#include "internal.h"

#define E820_RAM 1
#define E820_RESERVED 2

#define LOADER_UNDEFINED 0xff /* type_of_loader of those who have no number */

_Static_assert(sizeof(struct boot_params) == PAGE, "boot_params is one page");
_Static_assert(offsetof(struct boot_params, hdr) == BOOT_HEADER_START, "header's place");
_Static_assert(offsetof(struct boot_params, edd_mbr_sig_buffer) == BOOT_HEADER_MAX_END,
	       "what follows the header");

static int compare_entries(const void *a, const void *b)
{
	const struct boot_e820_entry *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

int e820_build(const struct image_partition *partition, struct boot_e820_entry **ret,
	       size_t *ret_count, struct popcorn_error *error)
{
	_cleanup_free_ struct boot_e820_entry *e = NULL;
	size_t n = 0, last = 0;

	/* The first range gives two entries, the low memory one. */
	e = calloc(partition->n_ranges + 2, sizeof(*e));
	if (!e)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);

	e[n++] = (struct boot_e820_entry){ partition->low_start, partition->low_length, E820_RAM };
	for (size_t i = 0; i < partition->n_ranges; i++) {
		const struct image_range *range = &partition->ranges[i];
		uint64_t head = i == 0 ? POPCORN_HEAD_SIZE : 0;

		if (head)
			e[n++] = (struct boot_e820_entry){ range->start, head, E820_RESERVED };
		if (range->length > head)
			e[n++] = (struct boot_e820_entry){ range->start + head,
							   range->length - head, E820_RAM };
	}
	qsort(e, n, sizeof(*e), compare_entries);

	for (size_t i = 1; i < n; i++) {
		if (e[i].addr < e[last].addr + e[last].size)
			return popcorn_error_set(
				error, POPCORN_ERROR_INVALID_ARGUMENT,
				"two memory ranges of the kernel overlap at %#" PRIx64,
				(uint64_t)e[i].addr);
		if (e[i].addr == e[last].addr + e[last].size && e[i].type == e[last].type)
			e[last].size += e[i].size;
		else
			e[++last] = e[i];
	}

	*ret_count = last + 1;
	*ret = e;
	e = NULL;
	return 0;
}

/*
 * The blob: boot_params, one page | command line with its NUL | on an 8-byte boundary, the entries
 * for which boot_params has no room, as a struct setup_data.
 */
static size_t setup_data_offset(size_t cmdline_length)
{
	return round_up(sizeof(struct boot_params) + cmdline_length + 1, 8);
}

size_t bootparams_size(size_t n_e820, size_t cmdline_length)
{
	size_t size = setup_data_offset(cmdline_length);

	if (n_e820 > E820_MAX_ENTRIES_ZEROPAGE)
		size += sizeof(struct setup_data) +
			(n_e820 - E820_MAX_ENTRIES_ZEROPAGE) * sizeof(struct boot_e820_entry);
	return round_up(size, PAGE);
}

void bootparams_build(const struct bzimage *kernel, const struct image_layout *layout,
		      const struct boot_e820_entry *e820, size_t n_e820, const char *cmdline,
		      uint64_t rsdp, void *buf)
{
	size_t header_end = BOOT_HEADER_JUMP_BASE + kernel->data[BOOT_HEADER_JUMP_BASE - 1];
	uint64_t cmdline_at = layout->params + sizeof(struct boot_params);
	struct boot_params *bp = buf;
	size_t in_page = n_e820;

	/*
	 * All but the header starts as zero: the kernel believes whatever it finds there, from
	 * screen to EFI. bzimage_parse() has seen to it that the header is within the file, but it
	 * may claim to be longer than its place here.
	 */
	memset(buf, 0, layout->params_size);
	if (header_end > BOOT_HEADER_MAX_END)
		header_end = BOOT_HEADER_MAX_END;
	if (header_end > kernel->size)
		header_end = kernel->size;
	memcpy((uint8_t *)buf + BOOT_HEADER_START, kernel->data + BOOT_HEADER_START,
	       header_end - BOOT_HEADER_START);

	bp->hdr.type_of_loader = LOADER_UNDEFINED;
	bp->hdr.ext_loader_ver = 0;
	bp->hdr.ext_loader_type = 0;
	/* There is no real-mode code that could use a heap, and nothing to keep quiet about. */
	bp->hdr.loadflags = LOADED_HIGH;
	/* By this the kernel knows that it may choose the addresses of other things by chance too. */
	if (layout->kaslr)
		bp->hdr.loadflags |= KASLR_FLAG;
	bp->hdr.heap_end_ptr = 0;
	bp->hdr.code32_start = (uint32_t)layout->kernel;
	bp->hdr.setup_data = 0;

	bp->hdr.cmd_line_ptr = (uint32_t)cmdline_at;
	bp->ext_cmd_line_ptr = (uint32_t)(cmdline_at >> 32);
	memcpy((uint8_t *)buf + sizeof(*bp), cmdline, strlen(cmdline) + 1);

	bp->hdr.ramdisk_image = (uint32_t)layout->initrd;
	bp->ext_ramdisk_image = (uint32_t)(layout->initrd >> 32);
	bp->hdr.ramdisk_size = (uint32_t)layout->initrd_size;
	bp->ext_ramdisk_size = (uint32_t)(layout->initrd_size >> 32);

	bp->acpi_rsdp_addr = rsdp;

	if (in_page > E820_MAX_ENTRIES_ZEROPAGE) {
		size_t offset = setup_data_offset(strlen(cmdline));
		size_t more = (n_e820 - E820_MAX_ENTRIES_ZEROPAGE) * sizeof(*e820);
		struct setup_data data = { .type = SETUP_E820_EXT, .len = (uint32_t)more };

		in_page = E820_MAX_ENTRIES_ZEROPAGE;
		memcpy((uint8_t *)buf + offset, &data, sizeof(data));
		memcpy((uint8_t *)buf + offset + sizeof(data), e820 + in_page, more);
		bp->hdr.setup_data = layout->params + offset;
	}
	bp->e820_entries = (uint8_t)in_page;
	memcpy(bp->e820_table, e820, in_page * sizeof(*e820));
}
