/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The kernel's own servers of virtio devices, as far as popcornd has to do with them. */

#include <stdint.h>

#define VHOST_NET_PATH "/dev/vhost-net"
#define VHOST_VSOCK_PATH "/dev/vhost-vsock"

/*
 * A server nobody owns yet, close-on-exec; opening it loads its module. @ret_features (may be
 * NULL) is what it can. -ENOENT, -ENODEV: this kernel has none.
 */
int vhost_open(const char *path, uint64_t *ret_features);
