// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is left to do for files without a server: a request that nobody answers would be waited for
 * until the kernel ends. All that is read here, the other kernel can write at any time: it is copied, then
 * checked, then used.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "guest-memory.h"

/* Descriptors that are looked at for one request: no longer chain can be in a queue. */
#define CHAIN_MAX POPCORN_QUEUE_SIZE_MAX

struct request {
	uint64_t unique;
	bool has_header;
	struct fuse_out_header *answer; /* NULL: none is wanted */
};

/* One buffer of a request: the first that can be read begins it, the first that can be written is for the answer. */
static void add_buffer(const struct guest_memory *memory, const struct vring_desc *desc,
		       struct request *request)
{
	if (desc->flags & VRING_DESC_F_WRITE) {
		if (!request->answer && desc->len >= sizeof(*request->answer))
			request->answer =
				guest_memory_at(memory, desc->addr, sizeof(*request->answer));
	} else if (!request->has_header && desc->len >= sizeof(struct fuse_in_header)) {
		const struct fuse_in_header *header =
			guest_memory_at(memory, desc->addr, sizeof(*header));

		if (header) {
			memcpy(&request->unique, &header->unique, sizeof(request->unique));
			request->has_header = true;
		}
	}
}

static int read_chain(const struct guest_memory *memory, uint64_t table_at, uint32_t size,
		      uint32_t head, bool is_indirect, struct request *request)
{
	const struct vring_desc *table =
		guest_memory_at(memory, table_at, (uint64_t)size * sizeof(*table));
	uint32_t i = head;

	if (!table)
		return -EFAULT;
	for (unsigned n = 0; n < CHAIN_MAX; n++) {
		struct vring_desc desc;

		if (i >= size)
			return -EBADMSG;
		memcpy(&desc, &table[i], sizeof(desc));
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			if (is_indirect || desc.len % sizeof(desc) || desc.len == 0)
				return -EBADMSG;
			return read_chain(memory, desc.addr, desc.len / sizeof(desc), 0, true,
					  request);
		}
		add_buffer(memory, &desc, request);
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 0;
		i = desc.next;
	}
	return -EBADMSG;
}

int queue_refuse(const struct guest_memory *memory, const struct popcorn_queue *queue,
		 bool event_index)
{
	struct vring_avail *avail = queue_avail(memory, queue);
	struct vring_used *used = queue_used(memory, queue);
	int n = 0;

	if (!avail || !used)
		return -EFAULT;
	for (;;) {
		uint16_t next = used->idx, head;
		struct request request = { 0 };
		uint32_t length = 0;
		int r;

		/* Kicks are wanted from here on; whether there is more is looked at afterwards. */
		if (event_index) {
			memcpy(&used->ring[queue->size], &next, sizeof(next));
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
		}
		/* No more than the queue can have at a time, or it would never end. */
		if (__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) == next ||
		    n == POPCORN_QUEUE_SIZE_MAX)
			return n;
		head = __atomic_load_n(&avail->ring[next % queue->size], __ATOMIC_RELAXED);
		r = read_chain(memory, queue->desc, queue->size, head, false, &request);
		if (r < 0)
			return r;
		if (request.answer) {
			const struct fuse_out_header answer = {
				.len = sizeof(answer),
				.error = -EIO,
				.unique = request.unique,
			};

			memcpy(request.answer, &answer, sizeof(answer));
			length = sizeof(answer);
		}
		used->ring[next % queue->size] = (struct vring_used_elem){ head, length };
		__atomic_store_n(&used->idx, (uint16_t)(next + 1), __ATOMIC_RELEASE);
		n++;
	}
}
