/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * What a decompressor would unpack: an ELF file with four segments, as Linux has them, and a table of
 * relocations behind it. And the bzImage that it is packed in.
 */
#include <elf.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "image-sample.h"

#define VML_MAP 0xffffffff80000000ull
#define VML_BASE 0x1000000ull
/* Where the segments are, from the kernel's start; the last one ends in zeros, some in the file. */
#define VML_TEXT 0x0
#define VML_TEXT_SIZE 0x1800
#define VML_DATA 0x2000
#define VML_DATA_SIZE 0x800
#define VML_PERCPU 0x3000
#define VML_PERCPU_SIZE 0x100
#define VML_INIT 0x4000
#define VML_INIT_SIZE 0x3000
#define VML_INIT_USED 0x900
#define VML_MEMORY 0x9000
#define VML_ENTRY 0x40
/* In the file. */
#define VML_SEGMENTS 0x1000
#define VML_SECTIONS 0x8000
#define VML_ELF_SIZE (VML_SECTIONS + 4 * sizeof(Elf64_Shdr))
#define VML_ROOM 0x9000

enum vml_format { VML_XZ, VML_GZIP, VML_ZSTD };

struct vml_sample {
	uint8_t data[VML_ROOM];
	size_t size;
};

/* What is relocated, from the kernel's start: 64 bits, 32 bits negative, 32 bits. */
static const uint32_t vml_relocs[3][3] = {
	{ VML_TEXT + 0x10, VML_DATA + 0x7f8 },
	{ VML_PERCPU + 0x20 },
	{ VML_TEXT + 0x101, VML_INIT + 4, VML_INIT + 0x8f0 },
};

static inline Elf64_Ehdr *vml_header(struct vml_sample *s)
{
	return (Elf64_Ehdr *)s->data;
}

static inline Elf64_Phdr *vml_segment(struct vml_sample *s, size_t i)
{
	return (Elf64_Phdr *)(s->data + sizeof(Elf64_Ehdr)) + i;
}

static inline Elf64_Shdr *vml_section(struct vml_sample *s, size_t i)
{
	return (Elf64_Shdr *)(s->data + VML_SECTIONS) + i;
}

static inline void vml_add(struct vml_sample *s, uint32_t word)
{
	memcpy(s->data + s->size, &word, sizeof(word));
	s->size += sizeof(word);
}

/* @groups 3, 2 (without negative ones) or 0. */
static inline void vml_add_relocs(struct vml_sample *s, int groups)
{
	for (int kind = 0; kind < 3 && groups; kind++) {
		if (kind == 1 && groups == 2)
			continue;
		vml_add(s, 0);
		for (int i = 0; i < 3; i++)
			if (vml_relocs[kind][i])
				vml_add(s, (uint32_t)(VML_MAP + VML_BASE + vml_relocs[kind][i]));
	}
}

/* The memory as it is to be, VML_MEMORY bytes. */
static inline void vml_memory(uint8_t *memory)
{
	static const struct {
		uint32_t start, size;
	} used[] = {
		{ VML_TEXT, VML_TEXT_SIZE },
		{ VML_DATA, VML_DATA_SIZE },
		{ VML_PERCPU, VML_PERCPU_SIZE },
		{ VML_INIT, VML_INIT_USED },
	};

	memset(memory, 0, VML_MEMORY);
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < used[i].size; j++)
			memory[used[i].start + j] = (uint8_t)((used[i].start + j) * 11 % 251 + 1);
}

/* Without relocations. */
static inline void vml_init(struct vml_sample *s)
{
	static const struct {
		uint32_t at, size, memory;
	} segments[] = {
		{ VML_TEXT, VML_TEXT_SIZE, VML_TEXT_SIZE },
		{ VML_DATA, VML_DATA_SIZE, VML_DATA_SIZE },
		{ VML_PERCPU, VML_PERCPU_SIZE, VML_PERCPU_SIZE },
		{ VML_INIT, VML_INIT_SIZE, VML_MEMORY - VML_INIT },
	};
	static const Elf64_Shdr sections[] = {
		{ .sh_type = SHT_NULL, .sh_offset = ~0ull, .sh_size = 1 },
		{ .sh_type = SHT_PROGBITS, .sh_offset = VML_SEGMENTS, .sh_size = VML_TEXT_SIZE },
		{ .sh_type = SHT_NOBITS, .sh_offset = VML_SEGMENTS, .sh_size = 1ull << 40 },
		{ .sh_type = SHT_STRTAB, .sh_offset = VML_SEGMENTS - 1, .sh_size = 1 },
	};
	uint8_t memory[VML_MEMORY];

	memset(s, 0, sizeof(*s));
	vml_memory(memory);
	*vml_header(s) = (Elf64_Ehdr){
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = VML_BASE + VML_ENTRY,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_shoff = VML_SECTIONS,
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 5,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 4,
	};
	for (size_t i = 0; i < 4; i++) {
		*vml_segment(s, i) = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_flags = PF_R | (i == 0 || i == 3 ? PF_X : 0) | (i ? PF_W : 0),
			.p_offset = VML_SEGMENTS + segments[i].at,
			/* Linux links the percpu segment at 0. */
			.p_vaddr = i == 2 ? 0 : VML_MAP + VML_BASE + segments[i].at,
			.p_paddr = VML_BASE + segments[i].at,
			.p_filesz = segments[i].size,
			.p_memsz = segments[i].memory,
			.p_align = 0x200000,
		};
		memcpy(s->data + VML_SEGMENTS + segments[i].at, memory + segments[i].at,
		       segments[i].size);
	}
	*vml_segment(s, 4) =
		(Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = VML_SEGMENTS, .p_filesz = 4 };
	memcpy(s->data + VML_SECTIONS, sections, sizeof(sections));
	s->size = VML_ELF_SIZE;
}

/* Returns bytes used of @room, with the trailer that Linux' build puts behind them. */
static inline size_t vml_pack(enum vml_format format, const void *in, size_t in_size, uint8_t *out,
			      size_t room)
{
	uint32_t trailer = (uint32_t)in_size;
	size_t size = 0;

	switch (format) {
	case VML_XZ: {
		lzma_options_lzma lzma;
		lzma_filter filters[] = { { LZMA_FILTER_X86, NULL },
					  { LZMA_FILTER_LZMA2, &lzma },
					  { LZMA_VLI_UNKNOWN, NULL } };

		if (lzma_lzma_preset(&lzma, 6) ||
		    lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, in, in_size, out,
					      &size, room - 4) != LZMA_OK)
			abort();
		break;
	}
	case VML_GZIP: {
		z_stream z = { .next_in = (void *)in, .avail_in = (uInt)in_size };

		z.next_out = out;
		z.avail_out = (uInt)room;
		if (deflateInit2(&z, 9, Z_DEFLATED, MAX_WBITS + 16, 9, Z_DEFAULT_STRATEGY) !=
			    Z_OK ||
		    deflate(&z, Z_FINISH) != Z_STREAM_END)
			abort();
		size = z.total_out;
		deflateEnd(&z);
		return size;
	}
	case VML_ZSTD:
		size = ZSTD_compress(out, room - 4, in, in_size, 19);
		if (ZSTD_isError(size))
			abort();
		break;
	}
	memcpy(out + size, &trailer, sizeof(trailer));
	return size + sizeof(trailer);
}

/* Where the payload is in the file, and how large a file this makes. */
#define VML_PAYLOAD 0x300
#define VML_FILE_ROOM (SAMPLE_SETUP + VML_PAYLOAD + VML_ROOM + 0x1000)

/* A bzImage around a payload; returns its size, a multiple of 16 as they are. */
static inline size_t vml_bzimage(uint8_t file[VML_FILE_ROOM], const void *payload, size_t size)
{
	struct setup_header *hdr = sample_header(file);
	size_t kernel = (VML_PAYLOAD + size + 15) & ~(size_t)15;

	sample_bzimage(file);
	memset(file + SAMPLE_SETUP, 0, VML_FILE_ROOM - SAMPLE_SETUP);
	hdr->syssize = (uint32_t)(kernel / 16);
	hdr->payload_offset = VML_PAYLOAD;
	hdr->payload_length = (uint32_t)size;
	memcpy(file + SAMPLE_SETUP + VML_PAYLOAD, payload, size);
	return SAMPLE_SETUP + kernel;
}
