/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * User-space ABI of popcorn_guest.ko: /dev/popcorn-guest, in a secondary kernel. For popcorn-agent.
 *
 * The conventions and the meanings of errno are those of popcorn.h. Opening needs CAP_SYS_BOOT.
 *
 * read() waits until the primary has asked for something and gives one struct popcorn_guest_event;
 * -EINVAL if the buffer is smaller than that, -EAGAIN with O_NONBLOCK. poll() gives POLLIN when
 * read() would not wait. Each descriptor is given each request, also one from before it was opened;
 * requests of one kind that were not read yet merge.
 */
#ifndef _UAPI_POPCORN_GUEST_H
#define _UAPI_POPCORN_GUEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define POPCORN_GUEST_ABI_VERSION 1

#define POPCORN_GUEST_DEVICE "/dev/popcorn-guest"

/* What the primary asks for: values of popcorn_guest_event.type. */
#define POPCORN_GUEST_EVENT_SHUTDOWN 1 /* shut down in order, then power off */

/**
 * struct popcorn_guest_event - what read() gives
 * @type:	POPCORN_GUEST_EVENT_*
 * @reserved:	zero
 */
struct popcorn_guest_event {
	__u32 type;
	__u32 reserved;
};

/**
 * struct popcorn_guest_info - who we are (POPCORN_GUEST_IOC_INFO)
 * @size:	sizeof(struct popcorn_guest_info) of the caller
 * @abi_version: out: POPCORN_GUEST_ABI_VERSION of the driver. Never changes place
 * @id:		out: id of this kernel
 * @generation:	out: a number that no earlier kernel of this boot of the primary had
 * @nr_cpus:	out: how many CPUs the primary gave to this kernel
 * @reserved:	zero
 * @name:	out: name of this kernel, NUL-terminated
 */
struct popcorn_guest_info {
	__u32 size;
	__u32 abi_version;
	__u32 id;
	__u32 generation;
	__u32 nr_cpus;
	__u32 reserved;
	char name[64];
};

/**
 * struct popcorn_guest_ready - user space is up (POPCORN_GUEST_IOC_READY)
 * @size:	sizeof(struct popcorn_guest_ready) of the caller
 * @flags:	zero
 *
 * The primary then calls this kernel "running". Done again, it changes nothing.
 */
struct popcorn_guest_ready {
	__u32 size;
	__u32 flags;
};

#define POPCORN_GUEST_IOC_MAGIC 0xb7
#define POPCORN_GUEST_IOC_INFO _IOWR(POPCORN_GUEST_IOC_MAGIC, 0x80, struct popcorn_guest_info)
#define POPCORN_GUEST_IOC_READY _IOWR(POPCORN_GUEST_IOC_MAGIC, 0x81, struct popcorn_guest_ready)

#endif /* _UAPI_POPCORN_GUEST_H */
