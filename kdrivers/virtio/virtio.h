/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * popcorn_virtio.ko: what its parts share.
 *
 *	main.c		the table, which devices there are, doorbells
 *	device.c	one device, as the kernel's virtio core wants it
 */
#ifndef _POPCORN_VIRTIO_DRIVER_H
#define _POPCORN_VIRTIO_DRIVER_H

#include <linux/virtio.h>
#include <linux/wait.h>
#include <popcorn/virtio.h>

struct popcorn_vdev {
	struct virtio_device virtio;
	struct popcorn_virtio_slot *slot;

	/* As it was when the device was found: the primary can't change it later. */
	u32 index, instance, nr_queues, queue_max, config_length;
	u64 features;

	u8 status;
	/* The server may be at the queues: START was asked for, or STOP not answered. */
	bool started;
	/* From the doorbell: what was passed on. */
	u32 seen_flags, seen_generation;
	struct virtqueue *queue[POPCORN_VIRTIO_QUEUES];
};

/* main.c: the primary has changed its part of the table. */
extern wait_queue_head_t table_wait;

/* device.c */
struct popcorn_vdev *vdev_new(struct device *parent, struct popcorn_virtio_slot *slot, u32 index,
			      u32 instance);
void vdev_calls(struct popcorn_vdev *vdev);
void vdev_changed(struct popcorn_vdev *vdev);

#endif /* _POPCORN_VIRTIO_DRIVER_H */
