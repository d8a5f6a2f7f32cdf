// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel's own servers, as <linux/vhost.h> has it. They work in our address space: addresses of
 * queues are those where the kernel's memory is mapped here.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "server.h"

/* Receiving and sending, of both devices. What else there is is not the server's. */
#define VHOST_QUEUES 2

static int failed(char why[SERVER_WHY_MAX], const char *what)
{
	int r = -errno;

	snprintf(why, SERVER_WHY_MAX, "%s: %s", what, strerror(errno));
	return r;
}

static int set_memory(int fd, const struct guest_memory *memory, char why[SERVER_WHY_MAX])
{
	struct vhost_memory *table =
		calloc(1, sizeof(*table) + memory->n * sizeof(table->regions[0]));
	int r = 0;

	if (!table) {
		errno = ENOMEM;
		return failed(why, "VHOST_SET_MEM_TABLE");
	}
	table->nregions = (uint32_t)memory->n;
	for (size_t i = 0; i < memory->n; i++)
		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = memory->regions[i].start,
			.memory_size = memory->regions[i].length,
			.userspace_addr = (uintptr_t)memory->regions[i].map,
		};
	if (ioctl(fd, VHOST_SET_MEM_TABLE, table) < 0)
		r = failed(why, "VHOST_SET_MEM_TABLE");
	free(table);
	return r;
}

static int set_queue(int fd, const struct guest_memory *memory, unsigned index,
		     const struct server_queue *queue, char why[SERVER_WHY_MAX])
{
	const struct popcorn_queue *ring = &queue->ring;
	struct vhost_vring_state state = { .index = index, .num = ring->size };
	struct vhost_vring_addr address = {
		.index = index,
		.desc_user_addr = (uintptr_t)queue_table(memory, ring),
		.avail_user_addr = (uintptr_t)queue_avail(memory, ring),
		.used_user_addr = (uintptr_t)queue_used(memory, ring),
	};
	struct vhost_vring_file file = { .index = index };
	const struct {
		unsigned long request;
		int fd;
		const char *name;
	} files[] = {
		{ VHOST_SET_VRING_KICK, queue->kick, "VHOST_SET_VRING_KICK" },
		{ VHOST_SET_VRING_CALL, queue->call, "VHOST_SET_VRING_CALL" },
		{ VHOST_SET_VRING_ERR, queue->error, "VHOST_SET_VRING_ERR" },
	};
	uint16_t used;

	if (!address.desc_user_addr || !address.avail_user_addr || !address.used_user_addr ||
	    queue_used_index(memory, ring, &used) < 0) {
		errno = EFAULT;
		return failed(why, "a queue is not in the kernel's memory");
	}
	if (ioctl(fd, VHOST_SET_VRING_NUM, &state) < 0)
		return failed(why, "VHOST_SET_VRING_NUM");
	state.num = used;
	if (ioctl(fd, VHOST_SET_VRING_BASE, &state) < 0)
		return failed(why, "VHOST_SET_VRING_BASE");
	if (ioctl(fd, VHOST_SET_VRING_ADDR, &address) < 0)
		return failed(why, "VHOST_SET_VRING_ADDR");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		file.fd = files[i].fd;
		if (ioctl(fd, files[i].request, &file) < 0)
			return failed(why, files[i].name);
	}
	return 0;
}

static int set_up(int fd, const struct server_setup *setup, char why[SERVER_WHY_MAX])
{
	uint64_t features;
	int r;

	if (setup->nr_queues < VHOST_QUEUES) {
		errno = EINVAL;
		return failed(why, "there are not enough queues");
	}
	/* It has us for its owner since an earlier start. */
	if (ioctl(fd, VHOST_SET_OWNER) < 0 && errno != EBUSY)
		return failed(why, "VHOST_SET_OWNER");
	if (ioctl(fd, VHOST_GET_FEATURES, &features) < 0)
		return failed(why, "VHOST_GET_FEATURES");
	/* The rest is between the driver and the tap, or of the device's configuration. */
	features &= setup->features;
	if (ioctl(fd, VHOST_SET_FEATURES, &features) < 0)
		return failed(why, "VHOST_SET_FEATURES");
	r = set_memory(fd, setup->memory, why);
	for (unsigned i = 0; i < VHOST_QUEUES && r >= 0; i++)
		r = set_queue(fd, setup->memory, i, &setup->queues[i], why);
	return r;
}

int vhost_net_start(int vhost_fd, int tap_fd, const struct server_setup *setup,
		    char why[SERVER_WHY_MAX])
{
	static const struct {
		uint64_t feature;
		unsigned offload;
	} offloads[] = {
		{ BIT(VIRTIO_NET_F_GUEST_CSUM), TUN_F_CSUM },
		{ BIT(VIRTIO_NET_F_GUEST_TSO4), TUN_F_TSO4 },
		{ BIT(VIRTIO_NET_F_GUEST_TSO6), TUN_F_TSO6 },
		{ BIT(VIRTIO_NET_F_GUEST_ECN), TUN_F_TSO_ECN },
	};
	int header = sizeof(struct virtio_net_hdr_mrg_rxbuf), r;
	unsigned long offload = 0;

	/* What the driver can take as it is, the tap need not make up for. */
	for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++)
		if (setup->features & offloads[i].feature)
			offload |= offloads[i].offload;
	if (!(offload & TUN_F_CSUM))
		offload = 0;
	if (ioctl(tap_fd, TUNSETVNETHDRSZ, &header) < 0)
		return failed(why, "TUNSETVNETHDRSZ");
	if (ioctl(tap_fd, TUNSETOFFLOAD, offload) < 0)
		return failed(why, "TUNSETOFFLOAD");
	r = set_up(vhost_fd, setup, why);
	for (unsigned i = 0; i < VHOST_QUEUES && r >= 0; i++) {
		struct vhost_vring_file backend = { .index = i, .fd = tap_fd };

		if (ioctl(vhost_fd, VHOST_NET_SET_BACKEND, &backend) < 0)
			r = failed(why, "VHOST_NET_SET_BACKEND");
	}
	if (r < 0)
		vhost_net_stop(vhost_fd);
	return r;
}

void vhost_net_stop(int vhost_fd)
{
	/* Each returns when the server is out of the queue; there is none that could refuse. */
	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		ioctl(vhost_fd, VHOST_NET_SET_BACKEND,
		      &(struct vhost_vring_file){ .index = i, .fd = -1 });
}

int vhost_vsock_start(int vhost_fd, uint64_t cid, const struct server_setup *setup,
		      char why[SERVER_WHY_MAX])
{
	int r = set_up(vhost_fd, setup, why);

	if (r >= 0 && ioctl(vhost_fd, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0)
		r = failed(why, "VHOST_VSOCK_SET_GUEST_CID");
	if (r >= 0 && ioctl(vhost_fd, VHOST_VSOCK_SET_RUNNING, &(int){ 1 }) < 0)
		r = failed(why, "VHOST_VSOCK_SET_RUNNING");
	if (r < 0)
		vhost_vsock_stop(vhost_fd);
	return r;
}

void vhost_vsock_stop(int vhost_fd)
{
	ioctl(vhost_fd, VHOST_VSOCK_SET_RUNNING, &(int){ 0 });
}
