/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * A kernel without its decompressor. What a bzImage carries compressed is unpacked by popcornd, once,
 * and laid out as it is to lie in memory; each boot moves a copy to an address of its own (KASLR) and
 * enters it where the decompressor would have.
 *
 *	bzImage ── vmlinux_build() ──▶ blob (to be kept) ── vmlinux_open() ──▶ struct vmlinux
 *	struct vmlinux ── vmlinux_relocate(), by image_build() if not before ──▶ the segment "kernel"
 *
 * Pure functions on memory, as all of the image library. A bzImage, what is in it, and a blob are
 * hostile: nothing is read or written outside of the memory that holds them.
 */

#include <stdbool.h>
#include <stdint.h>

#include "image.h"

/*
 * The kinds of relocations of x86-64 that CONFIG_RELOCATABLE leaves to be done: an address in 64
 * bits; 32 bits that are relative to something that does not move; an address in 32 bits.
 */
enum vmlinux_reloc {
	VMLINUX_RELOC_64,
	VMLINUX_RELOC_32_NEGATIVE,
	VMLINUX_RELOC_32,
	VMLINUX_RELOC_MAX,
};

struct vmlinux {
	void *blob; /* owned; mapped */
	size_t blob_size;
	uint8_t *data; /* what lies in memory from the kernel's start; the rest is zero */
	uint64_t data_size;
	uint64_t memory_size; /* to the end of .bss, .brk and what may be behind it */
	uint64_t entry;	      /* offset of the 64-bit entry point */
	const uint32_t *relocs[VMLINUX_RELOC_MAX]; /* offsets of what is to be relocated */
	size_t n_relocs[VMLINUX_RELOC_MAX];
	bool can_move; /* there is a table of relocations; it may be empty */
	bool moved;    /* relocated: image_build() leaves it as it is */
};

/*
 * The compressed kernel in a bzImage, unpacked: an ELF file, and the decompressor's relocation table
 * behind it. @ret is to be munmapped. -EOPNOTSUPP: not known how (LZ4, LZO, bzip2, LZMA, no payload,
 * larger than any kernel); -EBADMSG: damaged; -ENOMEM.
 */
int vmlinux_unpack(const struct bzimage *kernel, void **ret, size_t *ret_size);

/*
 * Lays out what vmlinux_unpack() gave; @ret is to be munmapped. -EOPNOTSUPP: not what the kernel's
 * own decompressor is known to leave behind; -ENOMEM.
 */
int vmlinux_layout(const struct bzimage *kernel, const void *unpacked, size_t size, void **ret,
		   size_t *ret_size);

/* Both of them. */
int vmlinux_build(const struct bzimage *kernel, void **ret, size_t *ret_size);

/*
 * Takes a blob apart that was made for @kernel, perhaps by somebody else. Owns it from then on.
 * -EBADMSG: it makes no sense, and still belongs to the caller.
 */
int vmlinux_open(const struct bzimage *kernel, void *blob, size_t size, struct vmlinux *ret);
void vmlinux_done(struct vmlinux *vmlinux);

/* How far from where it was linked it will run: any place that KASLR could choose. */
uint64_t vmlinux_choose_offset(const struct vmlinux *vmlinux, const struct bzimage *kernel,
			       uint64_t random);

/* Moves it there, once: the data is changed. */
void vmlinux_relocate(struct vmlinux *vmlinux, uint64_t offset);
