// SPDX-License-Identifier: GPL-2.0-or-later
/* Kernels without their decompressor: unpacking, laying out, relocating, and the image they make. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "run.h"
#include "vmlinux-sample.h"
#include "vmlinux.h"

static struct vml_sample sample;
static uint8_t file[VML_FILE_ROOM], memory[VML_MEMORY];
static struct bzimage kernel;
static struct popcorn_error error;

static void setup(void)
{
	vml_init(&sample);
	vml_add_relocs(&sample, 3);
	vml_memory(memory);
	error = (struct popcorn_error){ 0 };
	sample_bzimage(file);
	ck_assert_int_eq(bzimage_parse(file, SAMPLE_SIZE, &kernel, &error), 0);
}

/* The bzImage with @size bytes of payload. */
static void put(const void *payload, size_t size)
{
	size_t file_size = vml_bzimage(file, payload, size);

	ck_assert_msg(bzimage_parse(file, file_size, &kernel, &error) == 0, "%s", error.text);
}

static size_t pack(enum vml_format format, uint8_t packed[VML_ROOM])
{
	size_t size = vml_pack(format, sample.data, sample.size, packed, VML_ROOM);

	put(packed, size);
	return size;
}

static void unpack_fails(int expected)
{
	void *p = NULL;
	size_t size = 0;

	ck_assert_int_eq(vmlinux_unpack(&kernel, &p, &size), expected);
	ck_assert_ptr_null(p);
	ck_assert_uint_eq(size, 0);
}

START_TEST(test_unpack)
{
	for (int format = VML_XZ; format <= VML_ZSTD; format++) {
		uint8_t packed[VML_ROOM];
		size_t size;
		void *p;

		pack((enum vml_format)format, packed);
		ck_assert_int_eq(vmlinux_unpack(&kernel, &p, &size), 0);
		ck_assert_uint_eq(size, sample.size);
		ck_assert_mem_eq(p, sample.data, size);
		munmap(p, size);
	}
}
END_TEST

START_TEST(test_unknown_format)
{
	/* LZ4, LZO, bzip2, LZMA, none. */
	static const uint8_t magics[][8] = { { 0x02, 0x21, 0x4c, 0x18 },
					     { 0x89, 'L', 'Z', 'O' },
					     "BZh91AY",
					     { 0x5d, 0, 0, 0x80 },
					     { 0 } };
	uint8_t packed[VML_ROOM];
	size_t size;

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		pack(VML_XZ, packed);
		memcpy(file + SAMPLE_SETUP + VML_PAYLOAD, magics[i], sizeof(magics[i]));
		unpack_fails(-EOPNOTSUPP);
	}
	/* The header says that it is elsewhere, or nowhere. */
	size = pack(VML_XZ, packed);
	for (uint32_t length = 0; length <= 10; length++) {
		sample_header(file)->payload_length = length;
		unpack_fails(-EOPNOTSUPP);
	}
	sample_header(file)->payload_length = (uint32_t)size + 16;
	unpack_fails(-EOPNOTSUPP);
	sample_header(file)->payload_length = UINT32_MAX;
	unpack_fails(-EOPNOTSUPP);
	sample_header(file)->payload_length = (uint32_t)size;
	sample_header(file)->payload_offset = UINT32_MAX;
	unpack_fails(-EOPNOTSUPP);
	sample_header(file)->payload_offset = kernel.kernel_size;
	unpack_fails(-EOPNOTSUPP);
}
END_TEST

START_TEST(test_unpacked_size)
{
	static const uint32_t none[] = { 0, sizeof(Elf64_Ehdr) - 1, SAMPLE_INIT + 1, UINT32_MAX };
	uint8_t packed[VML_ROOM];

	for (int format = VML_XZ; format <= VML_ZSTD; format++) {
		size_t size = pack((enum vml_format)format, packed);
		uint8_t *trailer = file + SAMPLE_SETUP + VML_PAYLOAD + size - 4;
		uint32_t real = (uint32_t)sample.size;

		for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
			memcpy(trailer, &none[i], 4);
			unpack_fails(-EOPNOTSUPP);
		}
		/* A little too much or too little: the data says otherwise. */
		for (int by = -1; by <= 1; by += 2) {
			real = (uint32_t)sample.size + (uint32_t)by;
			memcpy(trailer, &real, 4);
			unpack_fails(-EBADMSG);
		}
	}
}
END_TEST

START_TEST(test_damaged)
{
	uint8_t packed[VML_ROOM];

	for (int format = VML_XZ; format <= VML_ZSTD; format++) {
		size_t size = pack((enum vml_format)format, packed);
		uint8_t *payload = file + SAMPLE_SETUP + VML_PAYLOAD;

		/* Zeros from somewhere on, but for the size. */
		for (size_t cut = 8; cut < size - 8; cut += 97) {
			memcpy(payload, packed, size);
			memset(payload + cut, 0, size - 4 - cut);
			unpack_fails(-EBADMSG);
		}
		if (format == VML_ZSTD)
			continue;
		/* These two have checksums. */
		for (size_t at = 12; at < size - 12; at += 31) {
			void *p = NULL;
			size_t n;
			int r;

			memcpy(payload, packed, size);
			payload[at] ^= 0x10;
			r = vmlinux_unpack(&kernel, &p, &n);
			ck_assert(r == -EBADMSG || r == -EOPNOTSUPP);
		}
	}
}
END_TEST

/* Lays the sample out and opens it. */
static void open_sample(struct vmlinux *ret)
{
	void *blob;
	size_t size;

	ck_assert_int_eq(vmlinux_layout(&kernel, sample.data, sample.size, &blob, &size), 0);
	ck_assert_int_eq(vmlinux_open(&kernel, blob, size, ret), 0);
}

static void layout_fails(void)
{
	/* To the byte, so that a sanitizer sees what is read behind it. */
	uint8_t *copy = malloc(sample.size ? sample.size : 1);
	void *blob = NULL;
	size_t size;

	memcpy(copy, sample.data, sample.size);
	ck_assert_int_eq(vmlinux_layout(&kernel, copy, sample.size, &blob, &size), -EOPNOTSUPP);
	ck_assert_ptr_null(blob);
	free(copy);
	setup();
}

START_TEST(test_layout)
{
	struct vmlinux v;

	open_sample(&v);
	ck_assert_uint_eq(v.memory_size, VML_MEMORY);
	ck_assert_uint_eq(v.data_size, VML_INIT + VML_INIT_USED);
	ck_assert_uint_eq(v.entry, VML_ENTRY);
	ck_assert(v.can_move);
	ck_assert_mem_eq(v.data, memory, v.data_size);
	for (int kind = 0; kind < 3; kind++) {
		static const size_t counts[] = { 2, 1, 3 };

		ck_assert_uint_eq(v.n_relocs[kind], counts[kind]);
		ck_assert_mem_eq(v.relocs[kind], vml_relocs[kind],
				 v.n_relocs[kind] * sizeof(uint32_t));
	}
	vmlinux_done(&v);
	ck_assert_ptr_null(v.blob);

	/* Without section headers the table begins behind the last segment. */
	sample.size = VML_SEGMENTS + VML_INIT + VML_INIT_SIZE;
	vml_header(&sample)->e_shnum = 0;
	vml_header(&sample)->e_shoff = 0;
	vml_add_relocs(&sample, 3);
	open_sample(&v);
	ck_assert_uint_eq(v.n_relocs[VMLINUX_RELOC_32], 3);
	vmlinux_done(&v);
}
END_TEST

static uint64_t word(const struct vmlinux *v, uint32_t at, size_t width)
{
	uint64_t value = 0;

	memcpy(&value, (v ? v->data : memory) + at, width);
	return value;
}

START_TEST(test_relocate)
{
	static const uint64_t offsets[] = { 0, 0x200000, 0x2b400000 };

	for (int groups = 0; groups <= 3; groups++) {
		if (groups == 1)
			continue;
		for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
			const uint64_t by = offsets[i];
			uint8_t rest[VML_MEMORY];
			struct vmlinux v;

			vml_init(&sample);
			vml_add_relocs(&sample, groups);
			open_sample(&v);
			ck_assert_int_eq(v.can_move, groups != 0);
			vmlinux_relocate(&v, by);
			memcpy(rest, memory, sizeof(rest));
			for (int kind = 0; kind < 3 && groups; kind++) {
				if (kind == VMLINUX_RELOC_32_NEGATIVE && groups == 2)
					continue;
				for (int j = 0; j < 3 && vml_relocs[kind][j]; j++) {
					const uint32_t at = vml_relocs[kind][j];
					const size_t width = kind == VMLINUX_RELOC_64 ? 8 : 4;
					uint64_t now = word(NULL, at, width);

					now += kind == VMLINUX_RELOC_32_NEGATIVE ? -by : by;
					memcpy(rest + at, &now, width);
					if (width == 4)
						now = (uint32_t)now;
					ck_assert_uint_eq(word(&v, at, width), now);
				}
			}
			/* And nothing else. */
			ck_assert_mem_eq(v.data, rest, v.data_size);
			vmlinux_done(&v);
		}
	}
}
END_TEST

START_TEST(test_reloc_in_zeros)
{
	struct vmlinux v;
	/* It is zero, and in what the file has as zeros. */
	const uint32_t at = VML_INIT + VML_INIT_USED + 0x100;

	vml_init(&sample);
	vml_add(&sample, 0);
	vml_add(&sample, (uint32_t)(VML_MAP + VML_BASE + at));
	vml_add(&sample, 0);
	open_sample(&v);
	ck_assert_uint_eq(v.data_size, at + 8);
	vmlinux_relocate(&v, 0x600000);
	ck_assert_uint_eq(word(&v, at, 8), 0x600000);
	vmlinux_done(&v);
}
END_TEST

/* One relocation of the kind, at @at from the kernel's start. */
static void one_reloc(int kind, uint64_t at)
{
	vml_init(&sample);
	for (int i = 0; i < 3; i++) {
		vml_add(&sample, 0);
		if (i == kind)
			vml_add(&sample, (uint32_t)(VML_MAP + VML_BASE + at));
	}
}

START_TEST(test_hostile_tables)
{
	struct vmlinux v;

	for (int kind = 0; kind < 3; kind++) {
		const uint32_t width = kind == VMLINUX_RELOC_64 ? 8 : 4;

		one_reloc(kind, VML_MEMORY - width);
		open_sample(&v);
		vmlinux_relocate(&v, 0x3fe00000);
		ck_assert_uint_eq(v.data_size, VML_MEMORY);
		vmlinux_done(&v);
		one_reloc(kind, 0);
		open_sample(&v);
		vmlinux_done(&v);

		one_reloc(kind, VML_MEMORY - width + 1);
		layout_fails();
		one_reloc(kind, VML_MEMORY);
		layout_fails();
		one_reloc(kind, (uint64_t)-1);
		layout_fails();
		/* The lowest and the highest address, and one that is no kernel's. */
		one_reloc(kind, -VML_BASE);
		layout_fails();
		one_reloc(kind, 0x7fffffff - VML_BASE);
		layout_fails();
		one_reloc(kind, 0x80000000ull - VML_BASE + 1);
		layout_fails();
	}
	/* No zero in front, one group, four groups, a piece of a word. */
	vml_init(&sample);
	vml_add(&sample, (uint32_t)(VML_MAP + VML_BASE));
	vml_add_relocs(&sample, 3);
	layout_fails();
	vml_init(&sample);
	vml_add(&sample, 0);
	layout_fails();
	vml_add(&sample, 0);
	layout_fails();
	for (int i = 1; i < 4; i++) {
		sample.size += (size_t)i;
		layout_fails();
	}
}
END_TEST

START_TEST(test_hostile_elf)
{
	static const uint64_t far[] = { VML_ROOM, 1ull << 31, 1ull << 40, ~0ull - 7, ~0ull };
	Elf64_Ehdr *h = vml_header(&sample);
	Elf64_Phdr *p = vml_segment(&sample, 1);

	for (size_t size = 0; size < sizeof(*h) + 5 * sizeof(*p); size++) {
		sample.size = size;
		layout_fails();
	}
	for (size_t i = 0; i < 6; i++) {
		h->e_ident[i] ^= 0xff;
		layout_fails();
	}
	h->e_machine = EM_386;
	layout_fails();
	h->e_type = ET_DYN;
	layout_fails();
	h->e_phentsize--;
	layout_fails();
	h->e_shentsize = 0;
	layout_fails();
	h->e_phnum = 0;
	layout_fails();
	h->e_phnum = 0xffff;
	layout_fails();
	h->e_shnum = 0xffff;
	layout_fails();
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		h->e_phoff = far[i];
		layout_fails();
		h->e_shoff = far[i];
		layout_fails();
		h->e_entry = far[i];
		layout_fails();
		p->p_offset = far[i];
		layout_fails();
		p->p_filesz = far[i];
		layout_fails();
		p->p_memsz = far[i];
		layout_fails();
		p->p_paddr = far[i];
		layout_fails();
		vml_segment(&sample, 4)->p_offset = far[i];
		layout_fails();
		vml_section(&sample, 1)->sh_offset = far[i];
		layout_fails();
		vml_section(&sample, 1)->sh_size = far[i];
		layout_fails();
	}
	p->p_filesz = p->p_memsz + 1;
	layout_fails();
	p->p_paddr = VML_BASE - 1;
	layout_fails();
	/* Over the segment before, by a byte, and in another order. */
	p->p_paddr = VML_BASE + VML_TEXT_SIZE - 1;
	layout_fails();
	p->p_paddr = VML_BASE + VML_INIT;
	layout_fails();
	h->e_entry = VML_BASE + VML_DATA; /* not to be executed */
	layout_fails();
	h->e_entry = VML_BASE + VML_INIT + VML_INIT_SIZE; /* not in the file */
	layout_fails();
	vml_segment(&sample, 0)->p_vaddr += 0x1000;
	layout_fails();
	/* Entered where there are only zeros. */
	vml_init(&sample);
	vml_header(&sample)->e_entry = VML_BASE + VML_INIT + VML_INIT_USED + 8;
	layout_fails();

	/* More than the image asked for, or linked for what it does not say. */
	kernel.init_size = VML_MEMORY - 1;
	layout_fails();
	kernel.pref_address += 0x200000;
	layout_fails();
	kernel.pref_address -= 0x1000;
	layout_fails();
	kernel.pref_address = 1ull << 30;
	layout_fails();
	kernel.pref_address = ~0ull;
	layout_fails();
}
END_TEST

START_TEST(test_hostile_blob)
{
	/* Fields of the header: see struct blob_header. */
	enum { VERSION = 8, CAN_MOVE = 12, DATA = 16, MEMORY = 24, ENTRY = 32, RELOCS = 40 };
	static const uint64_t values[] = { 0,	       1,	   7,	       0x1001,
					   VML_MEMORY, 1ull << 30, 1ull << 31, ~0ull };
	struct vmlinux v, before;
	uint8_t *blob;
	size_t size;
	void *good;

	ck_assert_int_eq(vmlinux_layout(&kernel, sample.data, sample.size, &good, &size), 0);
	blob = malloc(size);
	memset(&v, 0x5a, sizeof(v));
	before = v;
	for (size_t n = 0; n < size; n += n < 5000 ? 1 : 333) {
		uint8_t *cut = malloc(n ? n : 1);

		memcpy(cut, good, n);
		ck_assert_int_eq(vmlinux_open(&kernel, cut, n, &v), -EBADMSG);
		free(cut);
	}
	for (size_t at = 0; at < CAN_MOVE + 4; at++) {
		memcpy(blob, good, size);
		blob[at] ^= 0x80;
		ck_assert_int_eq(vmlinux_open(&kernel, blob, size, &v), -EBADMSG);
	}
	/* Whatever a field says: refused, or within bounds. */
	for (size_t at = DATA; at <= RELOCS + 16; at += 8) {
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			memcpy(blob, good, size);
			if (memcmp(blob + at, &values[i], 8) == 0)
				continue;
			memcpy(blob + at, &values[i], 8);
			if (vmlinux_open(&kernel, blob, size, &v) == 0) {
				ck_assert(at == ENTRY || at == MEMORY);
				vmlinux_relocate(&v, 0x200000);
				v = before;
			}
		}
	}
	memcpy(blob, good, size);
	memset(blob + size - 4, 0xff, 4);
	ck_assert_int_eq(vmlinux_open(&kernel, blob, size, &v), -EBADMSG);
	memcpy(blob, good, size);
	blob[CAN_MOVE] = 0;
	ck_assert_int_eq(vmlinux_open(&kernel, blob, size, &v), -EBADMSG);
	/* Of another kernel. */
	kernel.init_size = VML_MEMORY - 1;
	ck_assert_int_eq(vmlinux_open(&kernel, good, size, &v), -EBADMSG);
	kernel.init_size = SAMPLE_INIT;
	kernel.pref_address = ~0ull;
	ck_assert_int_eq(vmlinux_open(&kernel, good, size, &v), -EBADMSG);
	ck_assert_mem_eq(&v, &before, sizeof(v));
	free(blob);
	munmap(good, size);
}
END_TEST

START_TEST(test_offset)
{
	struct vmlinux v;
	const uint64_t last = ((1ull << 30) - VML_BASE - VML_MEMORY) / 0x200000 * 0x200000;
	uint64_t seen = 0;

	open_sample(&v);
	ck_assert_uint_eq(vmlinux_choose_offset(&v, &kernel, 0), 0);
	ck_assert_uint_eq(vmlinux_choose_offset(&v, &kernel, 1), 0x200000);
	for (uint64_t random = 0; random < 2000; random++) {
		uint64_t offset = vmlinux_choose_offset(&v, &kernel, random * 0x9e3779b97f4a7c15);

		ck_assert_uint_eq(offset % 0x200000, 0);
		ck_assert_uint_le(VML_BASE + offset + VML_MEMORY, 1ull << 30);
		if (offset > seen)
			seen = offset;
	}
	ck_assert_uint_eq(vmlinux_choose_offset(&v, &kernel, last / 0x200000), last);
	ck_assert_uint_eq(vmlinux_choose_offset(&v, &kernel, last / 0x200000 + 1), 0);
	ck_assert_uint_gt(seen, last / 4 * 3);
	vmlinux_done(&v);
}
END_TEST

static const struct image_segment *find(const struct image *image, const char *what)
{
	for (size_t i = 0; i < image->n_segments; i++)
		if (strcmp(image->segments[i].what, what) == 0)
			return &image->segments[i];
	ck_abort_msg("no segment %s", what);
}

static const struct boot_params *build(const struct image_partition *partition, const char *cmdline,
				       struct vmlinux *v, struct image *ret)
{
	static const uint8_t initrd[0x3000];

	open_sample(v);
	kernel.vmlinux = v;
	ck_assert_msg(
		image_build(&kernel, initrd, sizeof(initrd), cmdline, partition, ret, &error) == 0,
		"%s", error.text);
	return find(ret, "boot_params")->buf;
}

START_TEST(test_image)
{
	struct image_partition partition = sample_partition();
	uint64_t lowest = ~0ull, highest = 0;

	for (uint64_t i = 0; i < 200; i++) {
		const struct image_segment *s, *initrd;
		const struct boot_params *bp;
		struct vmlinux v, still;
		struct image image;
		uint64_t offset;

		partition.random[0] = i * 0x9e3779b97f4a7c15;
		partition.random[1] = i;
		bp = build(&partition, "", &v, &image);
		s = find(&image, "kernel");
		initrd = find(&image, "initrd");
		ck_assert_ptr_eq(s->buf, v.data);
		ck_assert_uint_eq(s->bufsz, v.data_size);
		ck_assert_uint_eq(s->memsz, VML_MEMORY);
		ck_assert_uint_eq(s->mem % 0x200000, 0);
		ck_assert_uint_ge(s->mem, 0x40200000);
		ck_assert_uint_le(s->mem + SAMPLE_INIT, initrd->mem);
		ck_assert_uint_le(initrd->mem + initrd->memsz, 0x48000000);
		ck_assert_uint_eq(image.entry, s->mem + VML_ENTRY);
		ck_assert_uint_eq(bp->hdr.loadflags, LOADED_HIGH | KASLR_FLAG);
		ck_assert_uint_eq(bp->hdr.code32_start, s->mem);
		lowest = s->mem < lowest ? s->mem : lowest;
		highest = s->mem > highest ? s->mem : highest;

		/* It was moved by as much as was chosen. */
		open_sample(&still);
		offset = vmlinux_choose_offset(&still, &kernel, i);
		vmlinux_relocate(&still, offset);
		ck_assert_mem_eq(v.data, still.data, v.data_size);
		vmlinux_done(&still);
		image_done(&image);
		vmlinux_done(&v);
	}
	/* From behind the head to just below the initrd. */
	ck_assert_uint_eq(lowest, 0x40400000);
	ck_assert_uint_ge(highest, 0x48000000 - SAMPLE_INIT - 0x800000);
}
END_TEST

START_TEST(test_image_stays)
{
	/* Before, between and behind others, and what only looks like it. */
	static const struct {
		const char *cmdline;
		bool stays;
	} lines[] = {
		{ "nokaslr", true },	{ "a nokaslr b", true }, { "a=b  nokaslr", true },
		{ "nokaslr=1", false }, { "xnokaslr", false },	 { "nokasl", false },
		{ "kaslr", false },	{ "-- nokaslr", true },
	};
	struct image_partition partition = sample_partition();
	const struct boot_params *bp;
	struct image image;
	struct vmlinux v;

	partition.random[0] = partition.random[1] = 5;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		bp = build(&partition, lines[i].cmdline, &v, &image);
		ck_assert_uint_eq(bp->hdr.loadflags,
				  LOADED_HIGH | (lines[i].stays ? 0 : KASLR_FLAG));
		ck_assert_int_eq(memcmp(v.data, memory, v.data_size) == 0, lines[i].stays);
		ck_assert_int_eq(find(&image, "kernel")->mem == 0x40400000, lines[i].stays);
		ck_assert_uint_eq(image.entry, find(&image, "kernel")->mem + VML_ENTRY);
		image_done(&image);
		vmlinux_done(&v);
	}
	/* Without a table it can't move. */
	vml_init(&sample);
	bp = build(&partition, "", &v, &image);
	ck_assert_uint_eq(bp->hdr.loadflags, LOADED_HIGH);
	ck_assert_uint_eq(find(&image, "kernel")->mem, 0x40400000);
	image_done(&image);
	vmlinux_done(&v);
}
END_TEST

START_TEST(test_image_unpacks_itself)
{
	/* Five levels of page tables are needed beyond 64 TiB. */
	static const struct image_range high[] = { { 0x40000000, 0x8000000, 0 },
						   { 1ull << 46, 0x200000, 0 } };
	static const struct image_range below[] = { { 0x40000000, 0x8000000, 0 },
						    { (1ull << 46) - 0x200000, 0x200000, 0 } };
	struct image_partition partition = sample_partition();
	const struct boot_params *bp;
	struct image image;
	struct vmlinux v;

	partition.random[0] = partition.random[1] = 5;
	partition.ranges = high;
	bp = build(&partition, "", &v, &image);
	ck_assert_uint_eq(bp->hdr.loadflags, LOADED_HIGH);
	ck_assert_ptr_eq(find(&image, "kernel")->buf, file + SAMPLE_SETUP);
	ck_assert_uint_eq(image.entry, find(&image, "kernel")->mem + 0x200);
	ck_assert_mem_eq(v.data, memory, v.data_size);
	image_done(&image);
	vmlinux_done(&v);

	partition.ranges = below;
	bp = build(&partition, "", &v, &image);
	ck_assert_uint_eq(bp->hdr.loadflags, LOADED_HIGH | KASLR_FLAG);
	image_done(&image);
	vmlinux_done(&v);
}
END_TEST

START_TEST(test_image_4g)
{
	/* A kernel that is not to be above 4 GiB, in a range that goes beyond. */
	static const struct image_range across[] = { { 0xf8000000, 0x10000000, 0 } };
	struct image_partition partition = sample_partition();
	struct image image;
	struct vmlinux v;

	partition.ranges = across;
	partition.n_ranges = 1;
	for (uint64_t i = 0; i < 100; i++) {
		partition.random[0] = i;
		kernel.xloadflags &= (uint16_t)~XLF_CAN_BE_LOADED_ABOVE_4G;
		build(&partition, "", &v, &image);
		ck_assert_uint_le(find(&image, "kernel")->mem + SAMPLE_INIT, 1ull << 32);
		image_done(&image);
		vmlinux_done(&v);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vmlinux");
	TCase *tc = tcase_create("vmlinux");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_unpack);
	tcase_add_test(tc, test_unknown_format);
	tcase_add_test(tc, test_unpacked_size);
	tcase_add_test(tc, test_damaged);
	tcase_add_test(tc, test_layout);
	tcase_add_test(tc, test_relocate);
	tcase_add_test(tc, test_reloc_in_zeros);
	tcase_add_test(tc, test_hostile_tables);
	tcase_add_test(tc, test_hostile_elf);
	tcase_add_test(tc, test_hostile_blob);
	tcase_add_test(tc, test_offset);
	tcase_add_test(tc, test_image);
	tcase_add_test(tc, test_image_stays);
	tcase_add_test(tc, test_image_unpacks_itself);
	tcase_add_test(tc, test_image_4g);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
