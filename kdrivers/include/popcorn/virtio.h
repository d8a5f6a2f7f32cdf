/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The devices of a secondary: a table in its head (popcorn/head.h), at POPCORN_HEAD_DEVICES, between
 * popcorn_kexec.ko on the primary and popcorn_virtio.ko in the secondary. What a virtio device is, its
 * features, its queues and what its configuration means is the virtio specification's (1.2); this is only
 * its transport, as virtio-mmio or virtio-pci are others. docs/devices.md says how it is used.
 *
 * The queues themselves lie in the secondary's own memory, wherever its virtio core puts them. Devices
 * use guest-physical addresses, which here are the machine's (no VIRTIO_F_ACCESS_PLATFORM).
 *
 * Whoever reads a field that the other side writes treats it as hostile: reads it once, and bounds it.
 * Each side has cache lines of its own. @kicked and @called are written by both: see head.h on doorbells
 * for how, and why not with atomic_or().
 */
#ifndef _POPCORN_VIRTIO_H
#define _POPCORN_VIRTIO_H

#include <linux/types.h>

#define POPCORN_VIRTIO_MAGIC 0x545249564e524350ULL /* "PCRNVIRT" */
/* Another version: the secondary says so in its log, and has no devices. */
#define POPCORN_VIRTIO_VERSION 1

#define POPCORN_VIRTIO_SLOTS 16
#define POPCORN_VIRTIO_QUEUES 16
#define POPCORN_VIRTIO_QUEUE_MAX 1024 /* entries, a power of two */
#define POPCORN_VIRTIO_CONFIG 128     /* bytes of a device's configuration */

/* popcorn_virtio_slot.flags */
#define POPCORN_VIRTIO_FAILED (1U << 0) /* needs a reset: VIRTIO_CONFIG_S_NEEDS_RESET */
#define POPCORN_VIRTIO_REMOVED \
	(1U << 1) /* is being taken away: its driver lets go of it, see below */

/* popcorn_virtio_slot.command */
#define POPCORN_VIRTIO_STOP 0	 /* the device is reset: it touches no queue once that is done */
#define POPCORN_VIRTIO_START 1	 /* DRIVER_OK: features and queues below are valid */
#define POPCORN_VIRTIO_GIVE_UP 2 /* FAILED: the driver does not want it; as STOP */

/*
 * A request is answered when @done is its number. One for an instance that is not there (any more) is not, and is
 * not looked at. A STOP has to be waited for, before any memory of the queues is used for something else, also
 * when the device is being taken away: until its server is out, @instance stays what it is. START
 * need not be waited for: kicks are not lost.
 */

/* One queue; written by the secondary before START. */
struct popcorn_virtio_queue {
	__u64 desc, avail, used; /* physical addresses, in its own memory */
	__u32 size;		 /* entries, a power of two; 0: not used */
	__u32 reserved;
};

struct popcorn_virtio_slot {
	/* Line 0-1: written by the primary. */
	__u32 instance; /* which device is here, 0: none; stored last. Every device has another one */
	__u32 device;	/* virtio device id: VIRTIO_ID_NET … */
	__u32 nr_queues; /* 1..POPCORN_VIRTIO_QUEUES */
	__u32 queue_max; /* entries of each, at most */
	__u64 features;	 /* offered */
	__u32 config_length;
	__u32 config_generation; /* odd: being written; as in virtio 1.2, 4.2.2 */
	__u32 flags;		 /* POPCORN_VIRTIO_FAILED, POPCORN_VIRTIO_REMOVED */
	__u32 done;		 /* the last @request that was carried out */
	__u8 reserved0[88];

	/* Line 2-3: written by the primary. */
	__u8 config[POPCORN_VIRTIO_CONFIG];

	/* Line 4-5: written by the secondary. */
	__u32 request; /* counts up with each command; stored last */
	__u32 of;      /* the instance that it is for */
	__u32 command; /* POPCORN_VIRTIO_START … */
	__u32 reserved1;
	__u64 accepted; /* features, a subset of those offered */
	__u8 reserved2[104];

	/* Line 6: bits of queues with something to do, set by the secondary, taken by the primary. */
	__u32 kicked;
	__u8 reserved3[60];

	/* Line 7: bits of queues that were used, set by the primary, taken by the secondary. */
	__u32 called;
	__u8 reserved4[60];

	/* Line 8-15 */
	struct popcorn_virtio_queue queue[POPCORN_VIRTIO_QUEUES];
};

struct popcorn_virtio_table {
	__u64 magic; /* all written by the primary before START, constant afterwards */
	__u32 version;
	__u32 size;
	__u32 nr_slots;
	__u32 slot_size;
	__u8 reserved[104];

	struct popcorn_virtio_slot slot[POPCORN_VIRTIO_SLOTS];
};

_Static_assert(sizeof(struct popcorn_virtio_queue) == 32, "layout");
_Static_assert(__builtin_offsetof(struct popcorn_virtio_slot, config) == 128, "layout");
_Static_assert(__builtin_offsetof(struct popcorn_virtio_slot, request) == 256, "layout");
_Static_assert(__builtin_offsetof(struct popcorn_virtio_slot, kicked) == 384, "layout");
_Static_assert(__builtin_offsetof(struct popcorn_virtio_slot, called) == 448, "layout");
_Static_assert(__builtin_offsetof(struct popcorn_virtio_slot, queue) == 512, "layout");
_Static_assert(sizeof(struct popcorn_virtio_slot) == 1024, "layout");
_Static_assert(sizeof(struct popcorn_virtio_table) == 128 + 16 * 1024, "layout");

#endif /* _POPCORN_VIRTIO_H */
