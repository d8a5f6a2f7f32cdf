/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Which virtio devices a kernel has, and how they look to its drivers: made from its definition,
 * before START. Who serves them is servers.c's and the leader's; docs/devices.md.
 *
 *	net0		if it is given what a network device is to be
 *	fs0, fs1 …	def->root, if it is a folder of the primary (tag "popcorn-root"), and the shares
 *	vsock		def->vsock
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "driver.h"

/* The address of a kernel in vsock(7) is this and its id: above what people give by hand. */
#define POPCORN_CID_BASE 1000000U

#define NET_DEVICE "net0"
#define VSOCK_DEVICE "vsock"

/* A network device, as popcorn's network wants it. */
struct device_net {
	uint8_t mac[6];
	uint16_t mtu;
};

/* Where a share's files are. */
struct device_share {
	const char *tag; /* borrowed */
	char path[PATH_MAX];
	bool read_only;
};

/* Share @index of the kernel, which is device fs@index; the root is the first. -ENOENT. */
int devices_share(const struct kernel_def *def, size_t index, struct device_share *ret);
/* The share of the device with this name. -ENOENT: none. */
int devices_find_share(const struct kernel_def *def, const char *device, struct device_share *ret);

/*
 * What can be refused by looking: folders that are not there (INVALID_ARGUMENT), servers that this
 * machine does not have (NOT_SUPPORTED).
 */
int devices_check(const struct config *config, const struct kernel_def *def,
		  struct popcorn_error *error);
/* Whether it gets a network: it was asked for, or nothing was said and the machine has what it takes. */
bool devices_has_network(const struct config *config, const struct kernel_def *def);

/* Gives kernel @fd, of this id, its devices; all, or none and an error. @net NULL: no network. */
int devices_add(const struct kernel_def *def, const struct device_net *net, struct driver *driver,
		int fd, uint32_t id, struct popcorn_error *error);
