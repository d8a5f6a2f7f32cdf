// SPDX-License-Identifier: GPL-2.0-only
/* Requests of drivers: see request.h. */
#ifdef __KERNEL__
#include <asm/barrier.h>
#include <uapi/linux/virtio_config.h>

/* In full, whatever this kernel believes about its own CPUs. */
#define load_acquire(p) virt_load_acquire(p)
#define load_once(p) READ_ONCE(*(p))
#define read_barrier() virt_rmb()
#else
#include <linux/virtio_config.h>

#define load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define load_once(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define read_barrier() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#endif

#include "request.h"

/*
 * False: there is no other request than @seen, or it changed while it was read. Whoever changed it rings
 * after that, so that it is looked at again.
 */
bool popcorn_request_read(const struct popcorn_virtio_slot *slot, __u32 seen,
			  struct popcorn_request *request)
{
	__u32 i;

	/* Pairs with the driver's release: what belongs to the request was written before. */
	request->number = load_acquire(&slot->request);
	if (request->number == seen)
		return false;
	request->of = load_once(&slot->of);
	request->command = load_once(&slot->command);
	request->features = load_once(&slot->accepted);
	for (i = 0; i < POPCORN_VIRTIO_QUEUES; i++) {
		request->queue[i].desc = load_once(&slot->queue[i].desc);
		request->queue[i].avail = load_once(&slot->queue[i].avail);
		request->queue[i].used = load_once(&slot->queue[i].used);
		request->queue[i].size = load_once(&slot->queue[i].size);
		request->queue[i].reserved = 0;
	}
	read_barrier();
	return load_once(&slot->request) == request->number;
}

static const char *queue_check(const struct popcorn_virtio_queue *queue,
			       const struct popcorn_request_limits *limits)
{
	if (queue->size > limits->queue_max || queue->size & (queue->size - 1))
		return "bad size";
	if (queue->desc % 16 || queue->avail % 2 || queue->used % 4)
		return "not aligned";
	if (!limits->owns(limits->data, queue->desc, POPCORN_DESC_BYTES(queue->size)) ||
	    !limits->owns(limits->data, queue->avail, POPCORN_AVAIL_BYTES(queue->size)) ||
	    !limits->owns(limits->data, queue->used, POPCORN_USED_BYTES(queue->size)))
		return "not in the kernel's memory";
	return NULL;
}

/*
 * NULL: a START that can be carried out. Else what is wrong with it, and at which queue: one that there is not
 * if it is none of them.
 */
const char *popcorn_request_check(const struct popcorn_request *request,
				  const struct popcorn_request_limits *limits, __u32 *ret_queue)
{
	const char *why;
	__u32 i;

	*ret_queue = POPCORN_VIRTIO_QUEUES;
	if (request->features & ~limits->features)
		return "features that were not offered";
	if (!(request->features & 1ULL << VIRTIO_F_VERSION_1))
		return "a driver of before virtio 1.0";
	for (i = 0; i < POPCORN_VIRTIO_QUEUES; i++) {
		if (!request->queue[i].size)
			continue;
		why = i < limits->nr_queues ? queue_check(&request->queue[i], limits)
					    : "does not exist";
		if (why) {
			*ret_queue = i;
			return why;
		}
	}
	return NULL;
}
