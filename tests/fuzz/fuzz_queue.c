// SPDX-License-Identifier: GPL-2.0-or-later
/* Whatever a kernel has in its queues: nothing outside of its memory is touched, and it takes no longer than it may. */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "guest-memory.h"

/* The data is the kernel's memory. On the heap, and no larger: the sanitizer sees a byte too much. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct popcorn_queue queue = { 0x1000, 0x1080, 0x10c0, 8, 0 };
	struct region region = { .start = 0x1000, .length = size };
	const struct guest_memory memory = { &region, 1 };
	const uint32_t event = 0;
	uint16_t used;
	int r;

	if (size > 65536)
		return 0;
	region.map = malloc(size ? size : 1);
	CHECK(region.map);
	if (size)
		memcpy(region.map, data, size);
	if (queue_used_index(&memory, &queue, &used) == 0) {
		r = queue_refuse(&memory, &queue, true);
		CHECK(r >= -EBADMSG && r <= POPCORN_QUEUE_SIZE_MAX);
		r = queue_push(&memory, &queue, &event, sizeof(event));
		CHECK(r == 0 || r == 1 || r == -EFAULT || r == -EBADMSG);
	} else {
		CHECK(queue_refuse(&memory, &queue, true) == -EFAULT);
		CHECK(queue_push(&memory, &queue, &event, sizeof(event)) == -EFAULT);
	}
	free(region.map);
	return 0;
}
