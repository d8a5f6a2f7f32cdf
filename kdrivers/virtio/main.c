// SPDX-License-Identifier: GPL-2.0-only
/*
 * popcorn_virtio.ko: the virtio devices that the primary gives this kernel. They are in a table in the kernel's
 * head (popcorn/virtio.h); the drivers are the kernel's own.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/rcupdate.h>
#include <linux/workqueue.h>
#include <popcorn/guest.h>

#include "virtio.h"

DECLARE_WAIT_QUEUE_HEAD(table_wait);

static struct popcorn_virtio_table *table;
static u32 nr_slots;
static struct platform_device *parent;
/* Of our own: it waits for servers. */
static struct workqueue_struct *queue;
static bool leaving;

/* Written by the work alone, and by the module's end. */
static struct popcorn_vdev __rcu *vdevs[POPCORN_VIRTIO_SLOTS];
/* Instances that could not be registered, and have been complained of. */
static u32 refused[POPCORN_VIRTIO_SLOTS];

static struct popcorn_vdev *vdev_at(u32 index)
{
	return rcu_dereference_protected(vdevs[index], true);
}

/* The doorbell does not look at it any more. */
static void forget(u32 index)
{
	RCU_INIT_POINTER(vdevs[index], NULL);
	synchronize_rcu();
}

static void add(u32 index, u32 instance)
{
	struct popcorn_vdev *vdev;
	int err;

	vdev = vdev_new(&parent->dev, &table->slot[index], index, instance);
	if (IS_ERR(vdev)) {
		pr_err("device in slot %u: error %ld\n", index, PTR_ERR(vdev));
		refused[index] = instance;
		return;
	}
	/* It is asked and called while it is being registered. */
	rcu_assign_pointer(vdevs[index], vdev);
	err = register_virtio_device(&vdev->virtio);
	if (err) {
		pr_err("device in slot %u can't be registered: error %d\n", index, err);
		refused[index] = instance;
		forget(index);
		put_device(&vdev->virtio.dev);
	}
}

static void remove(struct popcorn_vdev *vdev)
{
	/* It is called until its driver is gone, which may wait for that. */
	get_device(&vdev->virtio.dev);
	unregister_virtio_device(&vdev->virtio);
	forget(vdev->index);
	put_device(&vdev->virtio.dev);
}

/* What is in the table, and what is registered here, become the same. */
static void look(struct work_struct *work)
{
	struct popcorn_vdev *vdev;
	u32 i, instance, flags;

	for (i = 0; i < nr_slots; i++) {
		instance = virt_load_acquire(&table->slot[i].instance);
		flags = READ_ONCE(table->slot[i].flags);
		if (flags & POPCORN_VIRTIO_REMOVED)
			instance = 0;
		vdev = vdev_at(i);
		if (vdev && vdev->instance != instance) {
			/* Nobody waits for an answer of a server that does not serve any more. */
			virtio_break_device(&vdev->virtio);
			remove(vdev);
			vdev = NULL;
		}
		if (!vdev && instance && instance != refused[i])
			add(i, instance);
	}
}

static DECLARE_WORK(work, look);

static void bell(u32 reasons)
{
	struct popcorn_vdev *vdev;
	u32 i;

	for (i = 0; i < nr_slots; i++) {
		vdev = rcu_dereference(vdevs[i]);
		if (!vdev)
			continue;
		if (reasons & POPCORN_BELL_CALL)
			vdev_calls(vdev);
		if (reasons & POPCORN_BELL_DEVICES)
			vdev_changed(vdev);
	}
	if (reasons & POPCORN_BELL_DEVICES) {
		wake_up_all(&table_wait);
		if (!READ_ONCE(leaving))
			queue_work(queue, &work);
	}
}

static const struct popcorn_guest_listener listener = { .bell = bell };

static int check_table(void)
{
	if (table->magic != POPCORN_VIRTIO_MAGIC) {
		pr_info("the primary gives no devices\n");
		return -ENODEV;
	}
	if (table->version != POPCORN_VIRTIO_VERSION || table->size != sizeof(*table) ||
	    table->slot_size != sizeof(table->slot[0]) || !table->nr_slots ||
	    table->nr_slots > POPCORN_VIRTIO_SLOTS) {
		pr_err("the primary's table of devices is version %u (%u bytes), this module knows "
		       "version %u (%zu bytes)\n",
		       table->version, table->size, POPCORN_VIRTIO_VERSION, sizeof(*table));
		return -EPROTO;
	}
	nr_slots = table->nr_slots;
	return 0;
}

static int __init virtio_init(void)
{
	int err;

	table = (void *)((u8 *)popcorn_guest_head() + POPCORN_HEAD_DEVICES);
	err = check_table();
	if (err)
		return err;
	/* In the order of the table, one after the other. */
	queue = alloc_ordered_workqueue("popcorn_virtio", 0);
	if (!queue)
		return -ENOMEM;
	parent = platform_device_register_simple("popcorn_virtio", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(parent)) {
		err = PTR_ERR(parent);
		goto no_parent;
	}
	err = popcorn_guest_listen(&listener);
	if (err)
		goto no_bell;
	/* Whoever loads the module finds the devices there. */
	queue_work(queue, &work);
	flush_work(&work);
	return 0;

no_bell:
	platform_device_unregister(parent);
no_parent:
	destroy_workqueue(queue);
	return err;
}
module_init(virtio_init);

static void __exit virtio_exit(void)
{
	struct popcorn_vdev *vdev;
	u32 i;

	/* The bell goes on: servers have to say that they have stopped. But no more devices are added. */
	WRITE_ONCE(leaving, true);
	synchronize_rcu();
	cancel_work_sync(&work);
	for (i = 0; i < POPCORN_VIRTIO_SLOTS; i++) {
		vdev = vdev_at(i);
		if (vdev)
			remove(vdev);
	}
	popcorn_guest_unlisten(&listener);
	platform_device_unregister(parent);
	destroy_workqueue(queue);
}
module_exit(virtio_exit);

MODULE_DESCRIPTION("Popcorn: virtio devices of a secondary kernel");
MODULE_LICENSE("GPL");
