/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The messages of vhost-user that we use; QEMU's docs/interop/vhost-user.rst has all. There is no header of the
 * kernel's for them. Little is in the machine's byte order.
 */

#include <stdint.h>

#define VHOST_USER_GET_FEATURES 1
#define VHOST_USER_SET_FEATURES 2
#define VHOST_USER_SET_OWNER 3
#define VHOST_USER_SET_MEM_TABLE 5
#define VHOST_USER_SET_VRING_NUM 8
#define VHOST_USER_SET_VRING_ADDR 9
#define VHOST_USER_SET_VRING_BASE 10
#define VHOST_USER_SET_VRING_KICK 12
#define VHOST_USER_SET_VRING_CALL 13
#define VHOST_USER_SET_VRING_ERR 14
#define VHOST_USER_GET_PROTOCOL_FEATURES 15
#define VHOST_USER_SET_PROTOCOL_FEATURES 16
#define VHOST_USER_SET_VRING_ENABLE 18
#define VHOST_USER_GET_MAX_MEM_SLOTS 36
#define VHOST_USER_ADD_MEM_REG 37

#define VHOST_USER_F_PROTOCOL_FEATURES (UINT64_C(1) << 30)
#define VHOST_USER_PROTOCOL_F_REPLY_ACK (UINT64_C(1) << 3)
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS (UINT64_C(1) << 15)

/* vhost_user_header.flags */
#define VHOST_USER_VERSION_MASK 3U
#define VHOST_USER_VERSION 1U
#define VHOST_USER_REPLY (1U << 2)
#define VHOST_USER_NEED_REPLY (1U << 3)

/* In one SET_MEM_TABLE; more need CONFIGURE_MEM_SLOTS. */
#define VHOST_USER_REGIONS 8

struct vhost_user_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of what follows */
} __attribute__((packed));

struct vhost_user_region {
	uint64_t guest_address;
	uint64_t size;
	uint64_t user_address; /* in the front end's own memory */
	uint64_t offset;       /* in the descriptor that comes with it */
};

struct vhost_user_memory {
	uint32_t n;
	uint32_t padding;
	struct vhost_user_region regions[VHOST_USER_REGIONS];
};

struct vhost_user_add_region {
	uint64_t padding;
	struct vhost_user_region region;
};

struct vhost_user_state {
	uint32_t index;
	uint32_t num;
};

struct vhost_user_address {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};
