// SPDX-License-Identifier: GPL-2.0-only
/* One device: a virtio transport, as virtio-mmio is one, whose registers are a slot of the table. */
#include <linux/bitops.h>
#include <linux/iopoll.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <popcorn/compat.h>
#include <popcorn/doorbell.h>
#include <popcorn/guest.h>

#include "virtio.h"

/* As virtio over PCI: parts of a queue do not share lines. */
#define QUEUE_ALIGN SMP_CACHE_BYTES
/*
 * How long a STOP may take. A server that takes longer is dead, or as good as that: its successor may be
 * half a minute in coming (docs/devices.md), but a kernel that shuts down shall not wait for ever.
 */
#define STOP_TIMEOUT (30 * HZ)
/* The primary writes 128 bytes at a time; longer than this it was interrupted, and tells of the change later. */
#define CONFIG_TIMEOUT_US 1000

static struct popcorn_vdev *to_vdev(struct virtio_device *virtio)
{
	return container_of(virtio, struct popcorn_vdev, virtio);
}

/* Requests */

static u32 request(struct popcorn_vdev *vdev, u32 command)
{
	struct popcorn_virtio_slot *slot = vdev->slot;
	/* Our own word: goes on where an earlier load of this module has ended. */
	u32 number = READ_ONCE(slot->request) + 1;

	WRITE_ONCE(slot->of, vdev->instance);
	WRITE_ONCE(slot->command, command);
	/* Last: whoever sees it, sees what belongs to it. */
	virt_store_release(&slot->request, number);
	popcorn_guest_ring(POPCORN_BELL_REQUEST);
	return number;
}

static bool is_answered(struct popcorn_vdev *vdev, u32 number)
{
	return virt_load_acquire(&vdev->slot->done) == number ||
	       virt_load_acquire(&vdev->slot->instance) != vdev->instance;
}

/* Returns when nobody touches the queues any more; or after a time, and remembers that somebody may. */
static void stop(struct popcorn_vdev *vdev, u32 command)
{
	u32 number = request(vdev, command);

	if (wait_event_timeout(table_wait, is_answered(vdev, number), STOP_TIMEOUT))
		vdev->started = false;
	else
		dev_err(&vdev->virtio.dev, "the primary did not stop the device within %u s%s\n",
			STOP_TIMEOUT / HZ,
			vdev->started ? ": the memory of its queues is kept" : "");
}

static void start(struct popcorn_vdev *vdev)
{
	struct popcorn_virtio_slot *slot = vdev->slot;
	struct popcorn_virtio_queue *to;
	struct virtqueue *from;
	u32 i;

	for (i = 0; i < POPCORN_VIRTIO_QUEUES; i++) {
		from = vdev->queue[i];
		to = &slot->queue[i];
		WRITE_ONCE(to->size, from ? virtqueue_get_vring_size(from) : 0);
		WRITE_ONCE(to->desc, from ? virtqueue_get_desc_addr(from) : 0);
		WRITE_ONCE(to->avail, from ? virtqueue_get_avail_addr(from) : 0);
		WRITE_ONCE(to->used, from ? virtqueue_get_used_addr(from) : 0);
	}
	WRITE_ONCE(slot->accepted, vdev->virtio.features);
	/* Of queues that are no more, after a reset: nobody calls again while a call is not taken. */
	xchg(&slot->called, 0);
	vdev->started = true;
	request(vdev, POPCORN_VIRTIO_START);
}

/* From the doorbell */

/* Context: interrupt, RCU. */
void vdev_calls(struct popcorn_vdev *vdev)
{
	unsigned long bits;
	struct virtqueue *vq;
	u32 i;

	if (!READ_ONCE(vdev->slot->called))
		return;
	/* A full barrier: the bits are taken before the queues are looked at. */
	bits = xchg(&vdev->slot->called, 0);
	for_each_set_bit(i, &bits, POPCORN_VIRTIO_QUEUES) {
		vq = READ_ONCE(vdev->queue[i]);
		if (vq)
			vring_interrupt(0, vq);
	}
}

/* Context: interrupt, RCU; one at a time. */
void vdev_changed(struct popcorn_vdev *vdev)
{
	u32 generation = READ_ONCE(vdev->slot->config_generation);
	u32 flags = READ_ONCE(vdev->slot->flags);
	bool changed = generation != vdev->seen_generation ||
		       (flags & ~vdev->seen_flags & POPCORN_VIRTIO_FAILED);

	vdev->seen_generation = generation;
	vdev->seen_flags = flags;
	if (changed)
		virtio_config_changed(&vdev->virtio);
}

/* For the virtio core */

static u32 config_generation(struct virtio_device *virtio)
{
	struct popcorn_vdev *vdev = to_vdev(virtio);
	u32 generation;

	read_poll_timeout_atomic(READ_ONCE, generation, !(generation & 1), 1, CONFIG_TIMEOUT_US,
				 false, vdev->slot->config_generation);
	virt_rmb();
	return generation;
}

static void config_get(struct virtio_device *virtio, unsigned int offset, void *to,
		       unsigned int length)
{
	struct popcorn_vdev *vdev = to_vdev(virtio);

	if (offset > vdev->config_length || length > vdev->config_length - offset) {
		dev_err_once(&virtio->dev, "its driver reads %u bytes at %u, it has %u\n", length,
			     offset, vdev->config_length);
		memset(to, 0, length);
		return;
	}
	memcpy(to, vdev->slot->config + offset, length);
	/* Before the generation is looked at again. */
	virt_rmb();
}

static void config_set(struct virtio_device *virtio, unsigned int offset, const void *from,
		       unsigned int length)
{
	/* Virtio 1.2 has a few fields of this kind, none of them in a device that is served here. */
	dev_err_once(&virtio->dev, "its driver writes to its configuration, which is ignored\n");
}

static u8 get_status(struct virtio_device *virtio)
{
	struct popcorn_vdev *vdev = to_vdev(virtio);

	if (vdev->status && READ_ONCE(vdev->slot->flags) & POPCORN_VIRTIO_FAILED)
		return vdev->status | VIRTIO_CONFIG_S_NEEDS_RESET;
	return vdev->status;
}

static void set_status(struct virtio_device *virtio, u8 status)
{
	struct popcorn_vdev *vdev = to_vdev(virtio);
	u8 new = status & ~vdev->status;

	/* Zero is reset(). */
	WARN_ON_ONCE(!status);
	vdev->status = status & ~VIRTIO_CONFIG_S_NEEDS_RESET;
	if (new &VIRTIO_CONFIG_S_FAILED)
		stop(vdev, POPCORN_VIRTIO_GIVE_UP);
	else if (new &VIRTIO_CONFIG_S_DRIVER_OK)
		start(vdev);
}

static void reset(struct virtio_device *virtio)
{
	struct popcorn_vdev *vdev = to_vdev(virtio);

	vdev->status = 0;
	stop(vdev, POPCORN_VIRTIO_STOP);
}

/* All callbacks that were under way are done: the doorbell calls them inside of RCU. */
static void synchronize_cbs(struct virtio_device *virtio)
{
	synchronize_rcu();
}

static bool notify(struct virtqueue *vq)
{
	struct popcorn_vdev *vdev = to_vdev(vq->vdev);
	u32 bit = BIT(vq->index);

	/* If it was set already, then whoever has set it rings. */
	if (!(popcorn_bits_set(&vdev->slot->kicked, bit) & bit))
		popcorn_guest_ring(POPCORN_BELL_KICK);
	return true;
}

static void del_vqs(struct virtio_device *virtio)
{
	struct popcorn_vdev *vdev = to_vdev(virtio);
	struct virtqueue *vq, *next;
	u32 i;

	for (i = 0; i < POPCORN_VIRTIO_QUEUES; i++)
		WRITE_ONCE(vdev->queue[i], NULL);
	synchronize_rcu();
	list_for_each_entry_safe(vq, next, &virtio->vqs, list) {
		if (!vdev->started) {
			vring_del_virtqueue(vq);
			continue;
		}
		/* A server may still write there: better lost than used for something else. */
		spin_lock(&virtio->vqs_list_lock);
		list_del_init(&vq->list);
		spin_unlock(&virtio->vqs_list_lock);
	}
}

static int find_vqs(struct virtio_device *virtio, unsigned int n, struct virtqueue *vqs[],
		    POPCORN_VQS_TOLD, struct irq_affinity *affinity)
{
	struct popcorn_vdev *vdev = to_vdev(virtio);
	unsigned int i, index = 0;
	struct virtqueue *vq;

	for (i = 0; i < n; i++) {
		vqs[i] = NULL;
		if (!popcorn_vq_name(i))
			continue;
		vq = NULL;
		if (index < vdev->nr_queues)
			/*
			 * Weak barriers: those between CPUs, which virtio has in full, whatever this kernel
			 * believes about how many there are.
			 */
			vq = vring_create_virtqueue(index, vdev->queue_max, QUEUE_ALIGN, virtio,
						    true, true, popcorn_vq_ctx(i), notify,
						    popcorn_vq_callback(i), popcorn_vq_name(i));
		if (!vq) {
			del_vqs(virtio);
			return index < vdev->nr_queues ? -ENOMEM : -ENOENT;
		}
		vq->num_max = vdev->queue_max;
		vqs[i] = vq;
		WRITE_ONCE(vdev->queue[index], vq);
		index++;
	}
	return 0;
}

static u64 get_features(struct virtio_device *virtio)
{
	return to_vdev(virtio)->features;
}

static int finalize_features(struct virtio_device *virtio)
{
	vring_transport_features(virtio);
	/* The core may have it, we have not: addresses are physical. */
	__virtio_clear_bit(virtio, VIRTIO_F_ACCESS_PLATFORM);
	__virtio_clear_bit(virtio, VIRTIO_F_RING_PACKED);
	return virtio_has_feature(virtio, VIRTIO_F_VERSION_1) ? 0 : -EINVAL;
}

static const char *bus_name(struct virtio_device *virtio)
{
	return dev_name(virtio->dev.parent);
}

static const struct virtio_config_ops config_ops = {
	.get = config_get,
	.set = config_set,
	.generation = config_generation,
	.get_status = get_status,
	.set_status = set_status,
	.reset = reset,
	.find_vqs = find_vqs,
	.del_vqs = del_vqs,
	.synchronize_cbs = synchronize_cbs,
	.get_features = get_features,
	.finalize_features = finalize_features,
	.bus_name = bus_name,
};

static void vdev_release(struct device *device)
{
	kfree(to_vdev(dev_to_virtio(device)));
}

/*
 * The device that the primary has put there, to be registered: put_device() frees it from then on, kfree() before.
 * -EPROTO: there is nonsense.
 */
struct popcorn_vdev *vdev_new(struct device *parent, struct popcorn_virtio_slot *slot, u32 index,
			      u32 instance)
{
	struct popcorn_vdev *vdev = kzalloc(sizeof(*vdev), GFP_KERNEL);

	if (!vdev)
		return ERR_PTR(-ENOMEM);
	vdev->slot = slot;
	vdev->index = index;
	vdev->instance = instance;
	vdev->nr_queues = READ_ONCE(slot->nr_queues);
	vdev->queue_max = READ_ONCE(slot->queue_max);
	vdev->config_length = READ_ONCE(slot->config_length);
	vdev->features = READ_ONCE(slot->features);
	vdev->seen_generation = READ_ONCE(slot->config_generation);
	vdev->virtio.id.device = READ_ONCE(slot->device);
	vdev->virtio.id.vendor = VIRTIO_DEV_ANY_ID;
	vdev->virtio.config = &config_ops;
	vdev->virtio.dev.parent = parent;
	vdev->virtio.dev.release = vdev_release;
	if (!vdev->virtio.id.device || !vdev->nr_queues ||
	    vdev->nr_queues > POPCORN_VIRTIO_QUEUES || vdev->queue_max < 2 ||
	    vdev->queue_max > POPCORN_VIRTIO_QUEUE_MAX || vdev->queue_max & (vdev->queue_max - 1) ||
	    vdev->config_length > POPCORN_VIRTIO_CONFIG) {
		kfree(vdev);
		return ERR_PTR(-EPROTO);
	}
	return vdev;
}
