// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The setup header of a bzImage (Documentation/x86/boot.rst). Nothing in the file is trusted: every
 * offset and size is compared with the file's before it is used.
 */
#include <asm/bootparam.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "image.h"
#include "internal.h"

#define SECTOR 512
#define HDR_MAGIC "HdrS"
#define BOOT_FLAG 0xaa55
#define PROTOCOL_MIN 0x020c /* 2.12: xloadflags, and 64-bit addresses for all that we pass */

/* CONFIG_PHYSICAL_ALIGN of an x86-64 kernel is 2 MiB to 16 MiB; the rest is room for the future. */
#define ALIGNMENT_MIN 0x200000u
#define ALIGNMENT_MAX 0x40000000u
/*
 * An unpacked kernel must fit into the 1 GiB of kernel text mapping; unpacking in place needs the
 * packed one and some slack beside it.
 */
#define INIT_SIZE_MAX 0x80000000u

static bool release_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("._+~-", c));
}

static const char *parse_number(const char *s, unsigned *ret)
{
	unsigned value = 0;
	const char *p = s;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (value > (INT_MAX - 9) / 10)
			return NULL;
		value = value * 10 + (unsigned)(*p - '0');
	}
	if (p == s)
		return NULL;
	*ret = value;
	return p;
}

/* "6.1.0-56-amd64 (debian-kernel@…) #1 SMP …": the first word is what `uname -r` will say. */
static int parse_release(struct bzimage *image, const struct setup_header *hdr,
			 struct popcorn_error *error)
{
	size_t start = (size_t)hdr->kernel_version + SECTOR, len = 0;
	const char *p;

	if (hdr->kernel_version == 0 || start >= image->setup_size)
		return popcorn_error_set(
			error, POPCORN_ERROR_IMAGE_INVALID,
			"the image does not say its version: the string's offset %#zx is outside "
			"the %" PRIu32 " bytes of set-up code; use the distribution's vmlinuz file",
			start, image->setup_size);

	p = (const char *)image->data + start;
	while (start + len < image->setup_size && release_char(p[len]))
		len++;
	if (len == 0 || len >= sizeof(image->release) || start + len >= image->setup_size ||
	    (p[len] != ' ' && p[len] != '\0'))
		return popcorn_error_set(
			error, POPCORN_ERROR_IMAGE_INVALID,
			"the image's version string is not a kernel release of 1 to %zu of "
			"A-Z a-z 0-9 . _ + ~ -; use the distribution's vmlinuz file",
			sizeof(image->release) - 1);
	memcpy(image->release, p, len);
	image->release[len] = '\0';

	p = parse_number(image->release, &image->version[0]);
	if (!p || *p != '.' || !parse_number(p + 1, &image->version[1]))
		return popcorn_error_set(
			error, POPCORN_ERROR_IMAGE_INVALID,
			"the image's release '%s' does not begin with a version number; use the "
			"distribution's vmlinuz file",
			image->release);
	return 0;
}

int bzimage_parse(const void *data, size_t size, struct bzimage *ret, struct popcorn_error *error)
{
	struct bzimage image = { .data = data, .size = size };
	struct setup_header hdr;
	size_t hdr_end;
	uint64_t need;
	int r;

	if (size < BOOT_HEADER_MIN_END)
		return popcorn_error_set(
			error, POPCORN_ERROR_IMAGE_INVALID,
			"the file has %zu bytes, a bzImage's header alone ends at %d; is this a "
			"kernel image, and was it copied whole?",
			size, BOOT_HEADER_MIN_END);

	/* The fields are unaligned in the file: work on a copy, zero where the file is shorter. */
	memset(&hdr, 0, sizeof(hdr));
	memcpy(&hdr, image.data + BOOT_HEADER_START,
	       size - BOOT_HEADER_START < sizeof(hdr) ? size - BOOT_HEADER_START : sizeof(hdr));

	if (hdr.boot_flag != BOOT_FLAG || memcmp(&hdr.header, HDR_MAGIC, 4) != 0)
		return popcorn_error_set(
			error, POPCORN_ERROR_IMAGE_INVALID,
			"the file is not a bzImage: no 'HdrS' at 0x202; give the vmlinuz file in "
			"/boot, not a vmlinux or a compressed file");
	image.protocol = hdr.version;
	if (image.protocol < PROTOCOL_MIN)
		return popcorn_error_set(error, POPCORN_ERROR_IMAGE_TOO_OLD,
					 "the image speaks boot protocol %u.%02u, 2.12 is needed; "
					 "use Linux 3.8 or later",
					 image.protocol >> 8, image.protocol & 0xff);
	image.xloadflags = hdr.xloadflags;
	if (!(image.xloadflags & XLF_KERNEL_64))
		return popcorn_error_set(
			error, POPCORN_ERROR_IMAGE_NOT_64BIT,
			"the image has no 64-bit entry point (xloadflags %#x); use an amd64 kernel",
			image.xloadflags);

	/* The jump over the header says where it ends; what lies behind is code. */
	hdr_end = BOOT_HEADER_JUMP_BASE + (hdr.jump >> 8);
	if (hdr_end < BOOT_HEADER_MIN_END)
		return popcorn_error_set(
			error, POPCORN_ERROR_IMAGE_INVALID,
			"the image's header ends at %#zx, but protocol %u.%02u needs %#x", hdr_end,
			image.protocol >> 8, image.protocol & 0xff, BOOT_HEADER_MIN_END);

	/* 0 means 4, since the days of floppy disks. */
	image.setup_size = ((hdr.setup_sects ? hdr.setup_sects : 4) + 1u) * SECTOR;
	need = image.setup_size + (uint64_t)hdr.syssize * 16;
	if (need > size)
		return popcorn_error_set(error, POPCORN_ERROR_IMAGE_INVALID,
					 "the image is truncated: its header says %" PRIu64
					 " bytes, the file has %zu; "
					 "copy it again",
					 need, size);
	if (hdr.syssize > UINT32_MAX / 16 || hdr.syssize * 16 <= IMAGE_ENTRY_OFFSET)
		return popcorn_error_set(error, POPCORN_ERROR_IMAGE_INVALID,
					 "the image's header gives %" PRIu64
					 " bytes to the kernel itself, which "
					 "can't be",
					 (uint64_t)hdr.syssize * 16);
	image.kernel_size = hdr.syssize * 16;

	image.alignment = hdr.kernel_alignment;
	if (image.alignment < ALIGNMENT_MIN || image.alignment > ALIGNMENT_MAX ||
	    (image.alignment & (image.alignment - 1)))
		return popcorn_error_set(error, POPCORN_ERROR_IMAGE_INVALID,
					 "the image wants to be aligned to %#" PRIx32
					 ", which is not a power of two "
					 "from %#x to %#x",
					 image.alignment, ALIGNMENT_MIN, ALIGNMENT_MAX);
	if (!hdr.relocatable_kernel)
		return popcorn_error_set(error, POPCORN_ERROR_IMAGE_INVALID,
					 "the image runs at one fixed address only "
					 "(CONFIG_RELOCATABLE is off); use a "
					 "distribution's kernel");
	image.init_size = hdr.init_size;
	if (image.init_size < image.kernel_size || image.init_size > INIT_SIZE_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_IMAGE_INVALID,
					 "the image claims to need %" PRIu32
					 " bytes to unpack its %" PRIu32 ", which can't be",
					 image.init_size, image.kernel_size);
	image.pref_address = hdr.pref_address;
	image.cmdline_size = hdr.cmdline_size;

	r = parse_release(&image, &hdr, error);
	if (r < 0)
		return r;

	*ret = image;
	return 0;
}
