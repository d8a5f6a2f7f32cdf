/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The kernel's memory, as those see it who serve its devices. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <popcorn.h>

struct region {
	int fd;		/* offset 0 is @start */
	uint64_t start; /* physical */
	uint64_t length;
	uint8_t *map; /* in our own memory */
};

struct guest_memory {
	struct region *regions;
	size_t n;
};

/* Of the kernel that a device is of. What is written there may change at any time, and is hostile. */
int guest_memory_open(int device_fd, struct guest_memory *ret);
void guest_memory_close(struct guest_memory *memory);

/* Where @length bytes at @address are, or NULL if they are not all in one region. */
void *guest_memory_at(const struct guest_memory *memory, uint64_t address, uint64_t length);

/* The three parts of a queue, or NULL if it is not in use or the part is elsewhere. */
struct vring_desc *queue_table(const struct guest_memory *memory,
			       const struct popcorn_queue *queue);
struct vring_avail *queue_avail(const struct guest_memory *memory,
				const struct popcorn_queue *queue);
struct vring_used *queue_used(const struct guest_memory *memory, const struct popcorn_queue *queue);

/* How far the server of a split queue got: where the next one goes on. -EFAULT */
int queue_used_index(const struct guest_memory *memory, const struct popcorn_queue *queue,
		     uint16_t *ret);

/*
 * refuse.c: answers all that waits in a queue of virtio-fs with EIO, where nobody else serves it. @event_index: of
 * VIRTIO_RING_F_EVENT_IDX. How many were answered: the driver is to be called. -EFAULT, -EBADMSG: the queue is
 * nonsense.
 */
int queue_refuse(const struct guest_memory *memory, const struct popcorn_queue *queue,
		 bool event_index);

/*
 * Puts @bytes into the next buffer of a queue that nobody else serves, and which waits for such. 1: done, the
 * driver is to be called; 0: it has no buffer there. -EFAULT, -EBADMSG: what is there is no buffer.
 */
int queue_push(const struct guest_memory *memory, const struct popcorn_queue *queue,
	       const void *bytes, uint32_t length);
