// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a hostile driver writes into the table of devices before it says START: nothing of it is taken that is not
 * in the kernel's memory, behind its head, with every byte of it; and all is taken that is.
 *
 * Input: the features (8 bytes), then for each queue desc, avail, used and size (8 bytes each).
 */
#include <string.h>

#include <linux/virtio_config.h>

#include "../../kdrivers/kexec/request.h"
#include "fuzz.h"

#define HEAD 0x40000000ULL
#define HEAD_SIZE 0x200000ULL
#define FEATURES (1ULL << VIRTIO_F_VERSION_1 | 0x2f)
#define QUEUES 3
#define QUEUE_MAX 256

static const struct {
	uint64_t start, length;
} ranges[] = { { HEAD, 0x4000000 },
	       { 0x100000000000ULL, 0x200000 },
	       { 0 - 0x200000ULL, 0x100000 } };

/* In wide numbers, so that nothing overflows. */
static bool owns(void *data, __u64 start, __u64 length)
{
	unsigned __int128 end = (unsigned __int128)start + length;
	size_t i;

	(void)data;
	for (i = 0; i < sizeof(ranges) / sizeof(*ranges); i++)
		if (start >= ranges[i].start + (ranges[i].start == HEAD ? HEAD_SIZE : 0) &&
		    end <= (unsigned __int128)ranges[i].start + ranges[i].length)
			return true;
	return false;
}

static bool good(const struct popcorn_virtio_queue *q)
{
	return q->size <= QUEUE_MAX && __builtin_popcount(q->size) == 1 && !(q->desc & 15) &&
	       !(q->avail & 1) && !(q->used & 3) && owns(NULL, q->desc, 16ULL * q->size) &&
	       owns(NULL, q->avail, 6 + 2ULL * q->size) && owns(NULL, q->used, 6 + 8ULL * q->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct popcorn_request_limits limits = {
		.features = FEATURES, .nr_queues = QUEUES, .queue_max = QUEUE_MAX, .owns = owns
	};
	struct popcorn_virtio_slot slot = { .request = 8,
					    .of = 3,
					    .command = POPCORN_VIRTIO_START };
	struct popcorn_request request;
	uint64_t words[1 + 4 * POPCORN_VIRTIO_QUEUES] = { 0 };
	const char *why;
	bool fine;
	__u32 i, queue;

	memcpy(words, data, size < sizeof(words) ? size : sizeof(words));
	slot.accepted = words[0];
	for (i = 0; i < POPCORN_VIRTIO_QUEUES; i++)
		slot.queue[i] = (struct popcorn_virtio_queue){ .desc = words[1 + 4 * i],
							       .avail = words[2 + 4 * i],
							       .used = words[3 + 4 * i],
							       .size = (__u32)words[4 + 4 * i] };

	CHECK(!popcorn_request_read(&slot, 8, &request));
	CHECK(popcorn_request_read(&slot, 7, &request));
	CHECK(request.number == 8 && request.of == 3 && request.command == POPCORN_VIRTIO_START);
	CHECK(request.features == slot.accepted);
	CHECK(!memcmp(request.queue, slot.queue, sizeof(slot.queue)));

	fine = !(slot.accepted & ~FEATURES) && slot.accepted & 1ULL << VIRTIO_F_VERSION_1;
	why = popcorn_request_check(&request, &limits, &queue);
	if (!fine)
		CHECK(why && queue == POPCORN_VIRTIO_QUEUES);
	for (i = 0; fine && i < POPCORN_VIRTIO_QUEUES; i++)
		if (slot.queue[i].size && (i >= QUEUES || !good(&slot.queue[i])))
			fine = false;
	CHECK(fine == !why);
	if (why && queue < POPCORN_VIRTIO_QUEUES)
		CHECK(slot.queue[queue].size && (queue >= QUEUES || !good(&slot.queue[queue])));
	return 0;
}
