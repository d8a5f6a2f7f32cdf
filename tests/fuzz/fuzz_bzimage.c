// SPDX-License-Identifier: GPL-2.0-or-later
/* A hostile bzImage: parse it, and build an image from what was accepted. */
#include <string.h>

#include <popcorn/head.h>

#include "fuzz.h"
#include "image.h"

static const struct image_cpu cpus[] = { { 1, 0 }, { 300, 0 } };
static const struct image_range low[] = { { 0x200000, 0x7e00000, 0 } };
static const struct image_range high[] = { { 0x140000000, 0x8000000, 0 },
					   { 0x100000000, 0x200000, 0 } };

static void build(const struct bzimage *kernel, const struct image_range *ranges, size_t n)
{
	const struct image_partition partition = {
		.id = 1,
		.generation = 1,
		.cpus = cpus,
		.n_cpus = 2,
		.ranges = ranges,
		.n_ranges = n,
		.low_start = 0x20000,
		.low_length = 0x8000,
		.tsc_khz = 1000000,
	};
	struct popcorn_error error = { 0 };
	struct image image;
	int r;

	r = image_build(kernel, "initrd", 6, "quiet", &partition, &image, &error);
	CHECK((r < 0) == (error.id != POPCORN_ERROR_NONE));
	if (r < 0)
		return;
	for (size_t i = 0; i < image.n_segments; i++) {
		const struct image_segment *s = &image.segments[i];
		volatile uint8_t sum = 0;

		CHECK(s->mem >= ranges[0].start + POPCORN_HEAD_TABLES);
		CHECK(s->mem + s->memsz <= ranges[0].start + ranges[0].length);
		CHECK(s->bufsz <= s->memsz);
		for (size_t j = 0; j < s->bufsz; j++)
			sum += ((const uint8_t *)s->buf)[j];
	}
	CHECK(image.entry >= ranges[0].start + POPCORN_HEAD_SIZE);
	image_done(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct popcorn_error error = { 0 };
	struct bzimage kernel;
	int r;

	r = bzimage_parse(data, size, &kernel, &error);
	CHECK((r < 0) == (error.id != POPCORN_ERROR_NONE));
	if (r < 0)
		return 0;
	CHECK((uint64_t)kernel.setup_size + kernel.kernel_size <= size);
	CHECK(strnlen(kernel.release, sizeof(kernel.release)) < sizeof(kernel.release));
	CHECK(!strpbrk(kernel.release, "/ \n\\'\"$;"));
	build(&kernel, low, 1);
	build(&kernel, high, 2);
	return 0;
}
