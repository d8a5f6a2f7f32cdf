/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What the files of the image library tell each other, and nobody else. */

#include <stdbool.h>
#include <stdlib.h>

#include "image.h"

#define PAGE 4096u
#define MIB ((uint64_t)0x100000)
#define LOW_END ((uint64_t)0xa0000) /* the end of conventional memory, 640 KiB */
/*
 * A kernel keeps out of the first 64 KiB, where firmwares were seen to write; its real-mode code has
 * 7 pages (Linux 6.1, 6.12). Without room for it: "Real mode trampoline was not allocated".
 */
#define LOW_START 0x10000u
#define REAL_MODE_SIZE 0x7000u
#define PHYS_END ((uint64_t)1 << 52) /* an x86-64 physical address has at most 52 bits */

/* Offsets in a bzImage and in struct boot_params alike. */
#define BOOT_HEADER_START 0x1f1
#define BOOT_HEADER_JUMP_BASE 0x202 /* the header ends here + the byte at 0x201 */
#define BOOT_HEADER_MIN_END 0x264   /* behind init_size, the last field that we need */
#define BOOT_HEADER_MAX_END 0x290   /* what follows in struct boot_params is not header */

/* The 64-bit entry point, from the start of the protected-mode part. */
#define IMAGE_ENTRY_OFFSET 0x200

#define _cleanup_free_ __attribute__((__cleanup__(free_ptr)))

static inline void free_ptr(void *p)
{
	free(*(void **)p);
}

static inline uint64_t round_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

static inline uint64_t round_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

/* Where everything lies, as physical addresses. */
struct image_layout {
	uint64_t head, tables;
	uint64_t params, params_size; /* boot_params, command line, further e820 entries */
	uint64_t kernel;
	uint64_t initrd, initrd_size; /* 0, 0 without one */
	bool kaslr;		      /* the kernel's address was chosen by chance */
};

struct boot_e820_entry;

/*
 * The memory map that the kernel is told: sorted, merged, malloc'ed. Errors: InvalidArgument for
 * ranges that overlap.
 */
int e820_build(const struct image_partition *partition, struct boot_e820_entry **ret,
	       size_t *ret_count, struct popcorn_error *error);

/* Bytes that bootparams_build() will need; a multiple of the page size. */
size_t bootparams_size(size_t n_e820, size_t cmdline_length);

/* Writes @layout->params_size bytes at @buf, which will lie at @layout->params. */
void bootparams_build(const struct bzimage *kernel, const struct image_layout *layout,
		      const struct boot_e820_entry *e820, size_t n_e820, const char *cmdline,
		      uint64_t rsdp, void *buf);

/* The layout for a partition that was checked. Errors: MemoryTooSmall, InitrdTooLarge. */
int image_layout(const struct bzimage *kernel, size_t initrd_size, size_t params_size,
		 const struct image_partition *partition, struct image_layout *ret,
		 struct popcorn_error *error);
