// SPDX-License-Identifier: GPL-2.0-or-later
/* The input is the memory of a hostile kernel, in two pieces. */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "klog.h"

#define START 0x40000000ull /* as in klog-sample.h */
#define PAGE 4096u

static int count_bytes(void *userdata, const char *line, size_t length)
{
	size_t *bytes = userdata;

	for (size_t i = 0; i < length; i++)
		CHECK((line[i] >= ' ' && line[i] <= '~') || line[i] == '\t');
	*bytes += length;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* The lower half where it belongs, the upper one behind it or somewhere else. */
	size_t half = size / 2 / PAGE * PAGE;
	struct klog_range ranges[2] = {
		{ START + half, size - half, data + half },
		{ START, half, data },
	};
	size_t bytes = 0;
	int r;

	for (uint32_t generation = 0; generation < 2; generation++) {
		r = klog_read(ranges, half ? 2 : 1, generation, count_bytes, &bytes);
		CHECK(r > 0 || r == -ENODATA || r == -ENOMEM);
	}
	/*
	 * The texts together are no longer than the memory; each byte of them may be a line, with a
	 * prefix, or become four characters. And all of it twice.
	 */
	CHECK(bytes <= 2 * (size * 32 + 64));
	return 0;
}
