// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The first byte says what the rest is: an unpacked kernel with its relocations (0), a compressed one
 * (1), or a blob from the cache (2). Whatever comes of it is moved, and must stay within its memory.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fuzz.h"
#include "vmlinux.h"

#define KERNEL 0x400	   /* where the protected-mode part begins */
#define PAYLOAD 0x240	   /* and in it the payload */
#define INIT_SIZE 0x400000 /* enough for a sample, and little enough to be touched */

static void use(const struct bzimage *kernel, void *blob, size_t size)
{
	struct vmlinux v;
	uint64_t offset;

	if (vmlinux_open(kernel, blob, size, &v) < 0) {
		munmap(blob, size);
		return;
	}
	CHECK(v.data >= (uint8_t *)v.blob &&
	      v.data + v.data_size <= (uint8_t *)v.blob + v.blob_size);
	CHECK(v.data_size <= v.memory_size && v.memory_size <= INIT_SIZE);
	CHECK(v.entry < v.data_size);
	offset = vmlinux_choose_offset(&v, kernel, size * 0x9e3779b97f4a7c15);
	CHECK(offset % kernel->alignment == 0);
	CHECK(kernel->pref_address + offset + v.memory_size <= (uint64_t)1 << 30);
	vmlinux_relocate(&v, offset);
	vmlinux_done(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[KERNEL + PAYLOAD + 65536];
	struct bzimage kernel = {
		.data = file,
		.setup_size = KERNEL,
		.kernel_size = sizeof(file) - KERNEL,
		.init_size = INIT_SIZE,
		.alignment = 0x200000,
		.pref_address = 0x1000000,
	};
	uint32_t field;
	size_t blob_size;
	void *blob;
	int r;

	if (size < 2 || size - 1 > 65536)
		return 0;
	switch (*data++) {
	case 0:
		size--;
		r = vmlinux_layout(&kernel, data, size, &blob, &blob_size);
		CHECK(r == 0 || r == -EOPNOTSUPP);
		/* What it makes is good. */
		if (r == 0) {
			struct vmlinux v;

			CHECK(vmlinux_open(&kernel, blob, blob_size, &v) == 0);
			use(&kernel, blob, blob_size);
		}
		break;
	case 1:
		size--;
		field = PAYLOAD;
		memcpy(file + 0x248, &field, sizeof(field));
		field = (uint32_t)size;
		memcpy(file + 0x24c, &field, sizeof(field));
		memcpy(file + KERNEL + PAYLOAD, data, size);
		kernel.kernel_size = PAYLOAD + (uint32_t)size;
		r = vmlinux_build(&kernel, &blob, &blob_size);
		CHECK(r == 0 || r == -EOPNOTSUPP || r == -EBADMSG);
		if (r == 0)
			use(&kernel, blob, blob_size);
		break;
	case 2:
		size--;
		blob = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(blob != MAP_FAILED);
		memcpy(blob, data, size);
		use(&kernel, blob, size);
		break;
	}
	return 0;
}
