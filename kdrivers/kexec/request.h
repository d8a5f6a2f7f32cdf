/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a secondary asks of a device: read from the table in its head, once, and checked. Nothing else of the
 * driver looks at what it wrote there. Compiled into popcorn_kexec.ko, and into tests in user space.
 */
#ifndef _POPCORN_REQUEST_H
#define _POPCORN_REQUEST_H

#ifndef __KERNEL__
#include <stdbool.h>
#include <stddef.h>
#endif
#include <popcorn/virtio.h>

/* A copy that nobody changes. */
struct popcorn_request {
	__u32 number, of, command;
	__u64 features;
	struct popcorn_virtio_queue queue[POPCORN_VIRTIO_QUEUES];
};

/* What the device offers, and what the kernel has. */
struct popcorn_request_limits {
	__u64 features;
	__u32 nr_queues, queue_max;
	/* Whether all of [start, start + length) lies in one range of the kernel's memory, and not in its head. */
	bool (*owns)(void *data, __u64 start, __u64 length);
	void *data;
};

/* Bytes of the parts of a queue: virtio 1.2, 2.7, with room for the two event fields. */
#define POPCORN_DESC_BYTES(size) (16 * (__u64)(size))
#define POPCORN_AVAIL_BYTES(size) (6 + 2 * (__u64)(size))
#define POPCORN_USED_BYTES(size) (6 + 8 * (__u64)(size))

bool popcorn_request_read(const struct popcorn_virtio_slot *slot, __u32 seen,
			  struct popcorn_request *request);
const char *popcorn_request_check(const struct popcorn_request *request,
				  const struct popcorn_request_limits *limits, __u32 *ret_queue);

#endif /* _POPCORN_REQUEST_H */
