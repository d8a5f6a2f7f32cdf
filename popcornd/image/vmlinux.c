// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a bzImage's decompressor does before it jumps to the kernel (arch/x86/boot/compressed), as far
 * as the kernel relies on it: unpack, lay out, relocate. What it does beyond that is not needed by a
 * kernel in a partition of ours: the firmware's memory map has been replaced by image_build(), a
 * kernel that is entered with four levels of page tables stays with them, and encrypted guests (SEV,
 * TDX) can't be primaries.
 */
#include <elf.h>
#include <errno.h>
#include <lzma.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#include "internal.h"
#include "vmlinux.h"

/* Where these are in a bzImage; bzimage_parse() has seen that the header is longer. */
#define PAYLOAD_OFFSET 0x248 /* from the protected-mode part */
#define PAYLOAD_LENGTH 0x24c

/*
 * Distributions' kernels are 55 to 70 MiB. More than this is an attempt to use up memory, or a kernel
 * so large that the time to unpack it is not what matters.
 */
#define UNPACKED_MAX ((uint64_t)256 << 20)
/* Kernels are packed with a dictionary of 32 MiB, newer ones 128 MiB; it is allocated as a whole. */
#define LZMA_MEMORY_MAX ((uint64_t)160 << 20)

/* Where the kernel's text is mapped, and how much of it with CONFIG_RANDOMIZE_BASE: x86-64's ABI. */
#define KERNEL_MAP ((uint64_t)0xffffffff80000000)
#define KERNEL_MAP_SIZE ((uint64_t)1 << 30)

#define BLOB_MAGIC "PCRNVML"
#define BLOB_VERSION 1

struct blob_header {
	char magic[8];
	uint32_t version;
	uint32_t can_move;
	uint64_t data_size, memory_size, entry;
	uint64_t n_relocs[VMLINUX_RELOC_MAX];
};

/* Behind the header: the data from the next page, then the relocations. */
#define BLOB_DATA PAGE

_Static_assert(sizeof(struct blob_header) <= BLOB_DATA, "the header has a page");

/* How many bytes each kind of relocation changes. */
static const size_t reloc_width[VMLINUX_RELOC_MAX] = {
	[VMLINUX_RELOC_64] = 8,
	[VMLINUX_RELOC_32_NEGATIVE] = 4,
	[VMLINUX_RELOC_32] = 4,
};

/*
 * Not malloc(): the memory has to go back to the system when the boot is over, and an allocator
 * keeps some. It is zero.
 */
static void *map_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Unpacking. All of the output is wanted, neither more nor less. */

static int unpack_xz(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret code;

	if (lzma_stream_decoder(&stream, LZMA_MEMORY_MAX, 0) != LZMA_OK)
		return -ENOMEM;
	stream.next_in = in;
	stream.avail_in = in_size;
	stream.next_out = out;
	stream.avail_out = out_size;
	/* Without progress it does not say LZMA_OK twice. */
	do
		code = lzma_code(&stream, LZMA_FINISH);
	while (code == LZMA_OK);
	out_size = stream.avail_out;
	lzma_end(&stream);
	switch (code) {
	case LZMA_STREAM_END:
		return out_size ? -EBADMSG : 0;
	case LZMA_MEM_ERROR:
		return -ENOMEM;
	case LZMA_MEMLIMIT_ERROR:
	case LZMA_OPTIONS_ERROR:
		return -EOPNOTSUPP;
	default:
		return -EBADMSG;
	}
}

static int unpack_gzip(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
	z_stream stream = { .next_in = (uint8_t *)in, .avail_in = (uInt)in_size };
	int code;

	/* 16: with the header of gzip. */
	if (inflateInit2(&stream, MAX_WBITS + 16) != Z_OK)
		return -ENOMEM;
	stream.next_out = out;
	stream.avail_out = (uInt)out_size;
	code = inflate(&stream, Z_FINISH);
	out_size = stream.avail_out;
	inflateEnd(&stream);
	if (code == Z_MEM_ERROR)
		return -ENOMEM;
	return code == Z_STREAM_END && out_size == 0 ? 0 : -EBADMSG;
}

static int unpack_zstd(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
	size_t n = ZSTD_decompress(out, out_size, in, in_size);

	if (ZSTD_isError(n))
		return -EBADMSG;
	return n == out_size ? 0 : -EBADMSG;
}

static const struct format {
	uint8_t magic[6];
	size_t magic_size;
	/* Bytes behind the compressed data; gzip has the size in its own trailer. */
	size_t trailer;
	int (*unpack)(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size);
} formats[] = {
	{ { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, 4, unpack_xz },
	{ { 0x1f, 0x8b, 0x08 }, 3, 0, unpack_gzip },
	{ { 0x28, 0xb5, 0x2f, 0xfd }, 4, 4, unpack_zstd },
};

int vmlinux_unpack(const struct bzimage *kernel, void **ret, size_t *ret_size)
{
	const struct format *format = NULL;
	const uint8_t *payload;
	uint32_t offset, size, unpacked_size;
	void *unpacked;
	int r;

	memcpy(&offset, kernel->data + PAYLOAD_OFFSET, sizeof(offset));
	memcpy(&size, kernel->data + PAYLOAD_LENGTH, sizeof(size));
	/* Before protocol 2.08 there was no such field; a kernel may also not be compressed at all. */
	if (offset > kernel->kernel_size || size > kernel->kernel_size - offset)
		return -EOPNOTSUPP;
	payload = kernel->data + kernel->setup_size + offset;

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]) && !format; i++)
		if (size > sizeof(formats[i].magic) + formats[i].trailer &&
		    memcmp(payload, formats[i].magic, formats[i].magic_size) == 0)
			format = &formats[i];
	if (!format)
		return -EOPNOTSUPP;

	/*
	 * In all three the last four bytes are how much it will be. A kernel that has more would
	 * overrun init_size when it unpacks itself.
	 */
	memcpy(&unpacked_size, payload + size - sizeof(unpacked_size), sizeof(unpacked_size));
	if (unpacked_size < sizeof(Elf64_Ehdr) || unpacked_size > UNPACKED_MAX ||
	    unpacked_size > kernel->init_size)
		return -EOPNOTSUPP;
	unpacked = map_memory(unpacked_size);
	if (!unpacked)
		return -ENOMEM;
	r = format->unpack(payload, size - format->trailer, unpacked, unpacked_size);
	if (r < 0) {
		munmap(unpacked, unpacked_size);
		return r;
	}
	*ret = unpacked;
	*ret_size = unpacked_size;
	return 0;
}

/* Laying out. */

/* The ELF file, and the table behind it: see CONFIG_X86_NEED_RELOCS. */
struct unpacked {
	const uint8_t *data;
	size_t size;
	Elf64_Ehdr header;
	uint64_t elf_size; /* where the ELF file ends */
	uint64_t base;	   /* physical address it is linked for, LOAD_PHYSICAL_ADDR */
	uint64_t memory_size, entry;
	const uint8_t *relocs[VMLINUX_RELOC_MAX];
	size_t n_relocs[VMLINUX_RELOC_MAX];
	bool can_move;
};

static Elf64_Phdr segment(const struct unpacked *u, size_t i)
{
	Elf64_Phdr phdr;

	memcpy(&phdr, u->data + u->header.e_phoff + i * sizeof(phdr), sizeof(phdr));
	return phdr;
}

static bool inside(uint64_t start, uint64_t size, uint64_t limit)
{
	return start <= limit && size <= limit - start;
}

/* Grows @u->elf_size to the end of what lies at [@start, @start + @size). False: not in the file. */
static bool reach(struct unpacked *u, uint64_t start, uint64_t size)
{
	if (!inside(start, size, u->size))
		return false;
	if (start + size > u->elf_size)
		u->elf_size = start + size;
	return true;
}

static bool read_header(struct unpacked *u)
{
	const Elf64_Ehdr *h = &u->header;

	if (u->size < sizeof(u->header))
		return false;
	memcpy(&u->header, u->data, sizeof(u->header));
	if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64 ||
	    h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64 ||
	    h->e_type != ET_EXEC || h->e_phentsize != sizeof(Elf64_Phdr) ||
	    (h->e_shnum && h->e_shentsize != sizeof(Elf64_Shdr)))
		return false;
	return reach(u, 0, sizeof(u->header)) &&
	       reach(u, h->e_phoff, (uint64_t)h->e_phnum * sizeof(Elf64_Phdr)) &&
	       (!h->e_shnum || reach(u, h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr)));
}

/* What is loaded, and where it all ends. */
static bool read_segments(struct unpacked *u, const struct bzimage *kernel)
{
	bool entry = false;
	uint64_t end = 0;

	u->base = kernel->pref_address;
	if (u->base >= KERNEL_MAP_SIZE || u->base % kernel->alignment)
		return false;
	for (size_t i = 0; i < u->header.e_phnum; i++) {
		const Elf64_Phdr p = segment(u, i);

		if (!reach(u, p.p_offset, p.p_filesz))
			return false;
		if (p.p_type != PT_LOAD)
			continue;
		/* In order, and one beside the other. */
		if (p.p_filesz > p.p_memsz || p.p_paddr < u->base || p.p_paddr < end ||
		    !inside(p.p_paddr, p.p_memsz, KERNEL_MAP_SIZE) ||
		    !inside(p.p_paddr - u->base, p.p_memsz, kernel->init_size))
			return false;
		end = p.p_paddr + p.p_memsz;
		if (u->header.e_entry >= p.p_paddr && u->header.e_entry - p.p_paddr < p.p_filesz &&
		    (p.p_flags & PF_X))
			/* Its address tells that addresses are what relocations take them for. */
			entry = p.p_vaddr == KERNEL_MAP + p.p_paddr;
	}
	for (size_t i = 0; i < u->header.e_shnum; i++) {
		Elf64_Shdr s;

		memcpy(&s, u->data + u->header.e_shoff + i * sizeof(s), sizeof(s));
		if (s.sh_type != SHT_NOBITS && s.sh_type != SHT_NULL &&
		    !reach(u, s.sh_offset, s.sh_size))
			return false;
	}
	if (!entry)
		return false;
	u->memory_size = end - u->base;
	u->entry = u->header.e_entry - u->base;
	return true;
}

/*
 * Groups of 32-bit addresses, each with a zero before it: 64-bit relocations, those with the sign
 * turned (not since Linux 6.15), 32-bit ones. Or nothing at all.
 */
static bool read_relocs(struct unpacked *u)
{
	const uint8_t *table = u->data + u->elf_size;
	size_t n = (u->size - u->elf_size) / sizeof(uint32_t), groups = 0;
	size_t start[VMLINUX_RELOC_MAX], count[VMLINUX_RELOC_MAX];

	if ((u->size - u->elf_size) % sizeof(uint32_t))
		return false;
	if (n == 0)
		return true;
	for (size_t i = 0; i < n; i++) {
		uint32_t address;

		memcpy(&address, table + i * sizeof(address), sizeof(address));
		if (address == 0) {
			if (groups == VMLINUX_RELOC_MAX)
				return false;
			start[groups] = i + 1;
			count[groups++] = 0;
		} else if (groups == 0) {
			return false;
		} else {
			count[groups - 1]++;
		}
	}
	if (groups < VMLINUX_RELOC_MAX - 1)
		return false;
	for (size_t i = 0; i < groups; i++) {
		enum vmlinux_reloc kind = i == 0	    ? VMLINUX_RELOC_64
					  : i == groups - 1 ? VMLINUX_RELOC_32
							    : VMLINUX_RELOC_32_NEGATIVE;

		u->relocs[kind] = table + start[i] * sizeof(uint32_t);
		u->n_relocs[kind] = count[i];
	}
	u->can_move = true;
	return true;
}

/* The offset, from the kernel's start, of what the relocation of @kind at @i changes. */
static bool reloc_offset(const struct unpacked *u, enum vmlinux_reloc kind, size_t i, uint32_t *ret)
{
	uint64_t offset;
	int32_t address;

	memcpy(&address, u->relocs[kind] + i * sizeof(address), sizeof(address));
	/* Sign-extended it is an address in the kernel's map; what is before it wraps to far beyond. */
	offset = (uint64_t)(int64_t)address - KERNEL_MAP - u->base;
	if (!inside(offset, reloc_width[kind], u->memory_size))
		return false;
	*ret = (uint32_t)offset;
	return true;
}

int vmlinux_layout(const struct bzimage *kernel, const void *unpacked, size_t size, void **ret,
		   size_t *ret_size)
{
	struct unpacked u = { .data = unpacked, .size = size };
	size_t n_relocs = 0, room, blob_size, done;
	uint64_t data_size = 0, touched = 0;
	struct blob_header header = { .magic = BLOB_MAGIC, .version = BLOB_VERSION };
	uint32_t *relocs, at;
	uint8_t *blob, *data;

	if (!read_header(&u) || !read_segments(&u, kernel) || !read_relocs(&u))
		return -EOPNOTSUPP;
	for (int kind = 0; kind < VMLINUX_RELOC_MAX; kind++) {
		for (size_t i = 0; i < u.n_relocs[kind]; i++) {
			if (!reloc_offset(&u, kind, i, &at))
				return -EOPNOTSUPP;
			if (at + reloc_width[kind] > touched)
				touched = at + reloc_width[kind];
		}
		n_relocs += u.n_relocs[kind];
		header.n_relocs[kind] = u.n_relocs[kind];
	}

	/* Room for all of it; what stays zero at the end costs nothing and is given back. */
	room = BLOB_DATA + round_up(u.memory_size, PAGE) +
	       round_up(n_relocs * sizeof(*relocs), PAGE);
	blob = map_memory(room);
	if (!blob)
		return -ENOMEM;
	data = blob + BLOB_DATA;
	for (size_t i = 0; i < u.header.e_phnum; i++) {
		const Elf64_Phdr p = segment(&u, i);
		uint64_t length = p.p_filesz;

		if (p.p_type != PT_LOAD)
			continue;
		/*
		 * .bss may be in the file, as zeros: Linux has something behind it. Nothing may be
		 * where it goes, so that leaving them out is the same.
		 */
		while (length && u.data[p.p_offset + length - 1] == 0)
			length--;
		memcpy(data + (p.p_paddr - u.base), u.data + p.p_offset, length);
		if (length && p.p_paddr - u.base + length > data_size)
			data_size = p.p_paddr - u.base + length;
	}
	if (touched > data_size)
		data_size = touched;
	data_size = round_up(data_size, sizeof(uint64_t));
	/* And one that begins with nothing but zeros is no kernel. */
	if (data_size > u.memory_size || u.entry >= data_size) {
		munmap(blob, room);
		return -EOPNOTSUPP;
	}

	header.can_move = u.can_move;
	header.data_size = data_size;
	header.memory_size = u.memory_size;
	header.entry = u.entry;
	memcpy(blob, &header, sizeof(header));
	relocs = (uint32_t *)(data + data_size);
	done = 0;
	for (int kind = 0; kind < VMLINUX_RELOC_MAX; kind++)
		for (size_t i = 0; i < u.n_relocs[kind]; i++)
			if (reloc_offset(&u, kind, i, &at))
				relocs[done++] = at;

	blob_size = BLOB_DATA + data_size + n_relocs * sizeof(*relocs);
	if (round_up(blob_size, PAGE) < room)
		munmap(blob + round_up(blob_size, PAGE), room - round_up(blob_size, PAGE));
	*ret = blob;
	*ret_size = blob_size;
	return 0;
}

int vmlinux_build(const struct bzimage *kernel, void **ret, size_t *ret_size)
{
	size_t size;
	void *unpacked;
	int r;

	r = vmlinux_unpack(kernel, &unpacked, &size);
	if (r < 0)
		return r;
	r = vmlinux_layout(kernel, unpacked, size, ret, ret_size);
	munmap(unpacked, size);
	return r;
}

/* Using it. */

int vmlinux_open(const struct bzimage *kernel, void *blob, size_t size, struct vmlinux *ret)
{
	struct vmlinux v = { .blob = blob, .blob_size = size };
	struct blob_header header;
	const uint32_t *relocs;
	size_t left;

	if (size < BLOB_DATA)
		return -EBADMSG;
	memcpy(&header, blob, sizeof(header));
	if (memcmp(header.magic, BLOB_MAGIC, sizeof(header.magic)) != 0 ||
	    header.version != BLOB_VERSION || header.can_move > 1)
		return -EBADMSG;
	if (header.data_size > size - BLOB_DATA || header.data_size % sizeof(uint64_t) ||
	    header.data_size > header.memory_size || header.entry >= header.data_size ||
	    kernel->pref_address >= KERNEL_MAP_SIZE ||
	    !inside(kernel->pref_address, header.memory_size, KERNEL_MAP_SIZE) ||
	    header.memory_size > kernel->init_size)
		return -EBADMSG;

	v.data = (uint8_t *)blob + BLOB_DATA;
	v.data_size = header.data_size;
	v.memory_size = header.memory_size;
	v.entry = header.entry;
	v.can_move = header.can_move;
	relocs = (const uint32_t *)(v.data + v.data_size);
	left = (size - BLOB_DATA - v.data_size) / sizeof(*relocs);
	for (int kind = 0; kind < VMLINUX_RELOC_MAX; kind++) {
		v.relocs[kind] = relocs;
		v.n_relocs[kind] = header.n_relocs[kind];
		if (header.n_relocs[kind] > left || (header.n_relocs[kind] && !v.can_move))
			return -EBADMSG;
		for (size_t i = 0; i < v.n_relocs[kind]; i++)
			if (!inside(relocs[i], reloc_width[kind], v.data_size))
				return -EBADMSG;
		relocs += v.n_relocs[kind];
		left -= v.n_relocs[kind];
	}
	if (left || (size - BLOB_DATA - v.data_size) % sizeof(*relocs))
		return -EBADMSG;
	*ret = v;
	return 0;
}

void vmlinux_done(struct vmlinux *vmlinux)
{
	if (vmlinux->blob)
		munmap(vmlinux->blob, vmlinux->blob_size);
	memset(vmlinux, 0, sizeof(*vmlinux));
}

uint64_t vmlinux_choose_offset(const struct vmlinux *vmlinux, const struct bzimage *kernel,
			       uint64_t random)
{
	uint64_t room = KERNEL_MAP_SIZE - kernel->pref_address - vmlinux->memory_size;

	return random % (room / kernel->alignment + 1) * kernel->alignment;
}

void vmlinux_relocate(struct vmlinux *vmlinux, uint64_t offset)
{
	vmlinux->moved = true;
	for (int kind = 0; kind < VMLINUX_RELOC_MAX; kind++) {
		for (size_t i = 0; i < vmlinux->n_relocs[kind]; i++) {
			uint8_t *p = vmlinux->data + vmlinux->relocs[kind][i];
			uint64_t value = 0;

			/* Little-endian: the lower half of a sum is the sum of the lower halves. */
			memcpy(&value, p, reloc_width[kind]);
			value += kind == VMLINUX_RELOC_32_NEGATIVE ? -offset : offset;
			memcpy(p, &value, reloc_width[kind]);
		}
	}
}
