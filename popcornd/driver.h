/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * popcorn_kexec.ko behind an operations table, so that everything above it runs in unit tests on a
 * fake (tests/unit/fake-driver.c). Each operation is one ioctl of uapi/popcorn.h with the same
 * meaning; negative errno as there. Thread-safe: the ioctls are.
 */

#include <popcorn.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct driver;

struct driver_ops {
	int (*info)(struct driver *driver, struct popcorn_info *ret);
	int (*create)(struct driver *driver, const char *name, uint32_t *ret_id, int *ret_fd);
	int (*open)(struct driver *driver, uint32_t id, int *ret_fd);
	/* @ret is malloc'ed. */
	int (*list)(struct driver *driver, uint32_t **ret_ids, size_t *ret_n);
	int (*add_cpus)(struct driver *driver, int fd, const uint32_t *cpus, size_t n,
			uint32_t *ret_bad);
	int (*add_memory)(struct driver *driver, int fd, uint32_t kind, uint64_t start,
			  uint64_t length);
	int (*load)(struct driver *driver, int fd, const struct popcorn_segment *segments,
		    size_t n);
	int (*start)(struct driver *driver, int fd, uint64_t entry, uint64_t boot_params,
		     unsigned heartbeat_ms);
	int (*stop)(struct driver *driver, int fd, uint32_t mode, uint32_t reason);
	int (*release)(struct driver *driver, int fd, uint32_t *ret_kept_cpus,
		       uint32_t *ret_kept_ranges);
	/* Arrays are malloc'ed and belong to the caller: driver_status_done(). */
	int (*status)(struct driver *driver, int fd, struct popcorn_status *ret);
	int (*console)(struct driver *driver, int fd, int flags, int *ret_fd);
	/* @device's size and slot are set here. */
	int (*add_device)(struct driver *driver, int fd, const struct popcorn_add_device *device,
			  uint32_t *ret_slot);
	int (*remove_device)(struct driver *driver, int fd, uint32_t slot);
	int (*open_device)(struct driver *driver, int fd, uint32_t slot, int *ret_fd);
	/* Texts are terminated. */
	int (*device_info)(struct driver *driver, int fd, uint32_t slot,
			   struct popcorn_device_info *ret);
	void (*free)(struct driver *driver);
};

struct driver {
	const struct driver_ops *ops;
};

/* Opens @path (NULL = POPCORN_DEVICE) and checks the ABI: NO_DRIVER, DRIVER_ABI. */
int driver_open(const char *path, struct driver **ret, struct popcorn_error *error);
struct driver *driver_free(struct driver *driver);

/* Frees what the status' cpus, apicids and ranges point to. */
void driver_status_done(struct popcorn_status *status);

const char *state_to_string(enum popcorn_state state);	  /* "running" */
int state_from_string(const char *s);			  /* -EINVAL */
const char *device_type_to_string(uint32_t virtio_id);	  /* "net", "fs", "vsock", "other" */
const char *device_state_to_string(uint32_t state);	  /* "started" */
const char *reason_to_string(enum popcorn_reason reason); /* "panic" */
const char *reason_to_text(enum popcorn_reason reason);	  /* "the kernel panicked" */
