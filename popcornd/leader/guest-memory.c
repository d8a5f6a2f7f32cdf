// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest-memory.h"

static int add_region(int device_fd, struct guest_memory *memory)
{
	struct popcorn_device_memory arg = {
		.size = sizeof(arg),
		.index = (uint32_t)memory->n,
	};
	struct region *more;
	void *map;

	if (ioctl(device_fd, POPCORN_IOC_DEVICE_MEMORY, &arg) < 0)
		return -errno;
	more = realloc(memory->regions, (memory->n + 1) * sizeof(*more));
	if (!more) {
		close(arg.fd);
		return -ENOMEM;
	}
	memory->regions = more;
	map = mmap(NULL, arg.length, PROT_READ | PROT_WRITE, MAP_SHARED, arg.fd, 0);
	if (map == MAP_FAILED) {
		int r = -errno;

		close(arg.fd);
		return r;
	}
	more[memory->n++] = (struct region){ arg.fd, arg.start, arg.length, map };
	return 0;
}

int guest_memory_open(int device_fd, struct guest_memory *ret)
{
	struct guest_memory memory = { .n = 0 };
	int r;

	do
		r = add_region(device_fd, &memory);
	while (r >= 0 && memory.n < POPCORN_RANGES_MAX);
	/* There are no more. */
	if (r < 0 && (r != -ENOENT || memory.n == 0)) {
		guest_memory_close(&memory);
		return r;
	}
	*ret = memory;
	return 0;
}

void guest_memory_close(struct guest_memory *memory)
{
	for (size_t i = 0; i < memory->n; i++) {
		munmap(memory->regions[i].map, memory->regions[i].length);
		close(memory->regions[i].fd);
	}
	free(memory->regions);
	*memory = (struct guest_memory){ .n = 0 };
}

void *guest_memory_at(const struct guest_memory *memory, uint64_t address, uint64_t length)
{
	for (size_t i = 0; i < memory->n; i++) {
		const struct region *region = &memory->regions[i];

		if (address >= region->start && address - region->start < region->length &&
		    length <= region->length - (address - region->start))
			return region->map + (address - region->start);
	}
	return NULL;
}

/* The kernel's driver here has checked size and place of queues, but not for us: so do we. */
struct vring_desc *queue_table(const struct guest_memory *memory, const struct popcorn_queue *queue)
{
	if (queue->size == 0)
		return NULL;
	return guest_memory_at(memory, queue->desc,
			       (uint64_t)queue->size * sizeof(struct vring_desc));
}

struct vring_used *queue_used(const struct guest_memory *memory, const struct popcorn_queue *queue)
{
	if (queue->size == 0)
		return NULL;
	return guest_memory_at(memory, queue->used,
			       sizeof(struct vring_used) +
				       (uint64_t)queue->size * sizeof(struct vring_used_elem) +
				       sizeof(uint16_t));
}

struct vring_avail *queue_avail(const struct guest_memory *memory,
				const struct popcorn_queue *queue)
{
	if (queue->size == 0)
		return NULL;
	return guest_memory_at(memory, queue->avail,
			       sizeof(struct vring_avail) +
				       (uint64_t)queue->size * sizeof(uint16_t) + sizeof(uint16_t));
}

int queue_used_index(const struct guest_memory *memory, const struct popcorn_queue *queue,
		     uint16_t *ret)
{
	const struct vring_used *used = queue_used(memory, queue);

	if (!used)
		return -EFAULT;
	*ret = __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE);
	return 0;
}

int queue_push(const struct guest_memory *memory, const struct popcorn_queue *queue,
	       const void *bytes, uint32_t length)
{
	struct vring_avail *avail = queue_avail(memory, queue);
	struct vring_desc *table = queue_table(memory, queue);
	struct vring_used *used = queue_used(memory, queue);
	struct vring_desc desc;
	uint16_t head, next;
	void *to;

	if (!avail || !table || !used)
		return -EFAULT;
	next = used->idx;
	if (__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) == next)
		return 0;
	head = __atomic_load_n(&avail->ring[next % queue->size], __ATOMIC_RELAXED);
	if (head >= queue->size)
		return -EBADMSG;
	/* A copy: what was checked is what is used. */
	memcpy(&desc, &table[head], sizeof(desc));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!(desc.flags & VRING_DESC_F_WRITE) || (desc.flags & VRING_DESC_F_INDIRECT) ||
	    desc.len < length)
		return -EBADMSG;
	to = guest_memory_at(memory, desc.addr, length);
	if (!to)
		return -EFAULT;
	memcpy(to, bytes, length);
	used->ring[next % queue->size] = (struct vring_used_elem){ head, length };
	__atomic_store_n(&used->idx, (uint16_t)(next + 1), __ATOMIC_RELEASE);
	return 1;
}
