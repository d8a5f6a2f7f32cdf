// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices of a kernel: the table in its head, whose other side is popcorn_virtio.ko, and the descriptors
 * of those who serve them. docs/devices.md has the picture, uapi/popcorn.h the ABI.
 *
 * Kick and call pass no process and take no lock that is held for long: the doorbell's handler signals eventfds
 * that it finds under RCU; a signalled eventfd calls us, sets a bit and rings. All else is slow, and under
 * kernel->devices_lock.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/ctype.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/virtio_config.h>
#include <popcorn/compat.h>
#include <popcorn/doorbell.h>
#include <popcorn/virtio.h>

#include "kexec.h"
#include "request.h"

/* One header is of the ABI, the other of the table. */
static_assert(POPCORN_DEVICES_MAX == POPCORN_VIRTIO_SLOTS);
static_assert(POPCORN_QUEUES_MAX == POPCORN_VIRTIO_QUEUES);
static_assert(POPCORN_QUEUE_SIZE_MAX == POPCORN_VIRTIO_QUEUE_MAX);
static_assert(POPCORN_CONFIG_MAX == POPCORN_VIRTIO_CONFIG);
static_assert(sizeof(struct popcorn_queue) == sizeof(struct popcorn_virtio_queue));
static_assert(POPCORN_HEAD_DEVICES + sizeof(struct popcorn_virtio_table) <= POPCORN_HEAD_TABLES);

/* virtio_config.h has no name for the highest device id; six bits of them are more than there are. */
#define DEVICE_ID_MAX 63

#define FEATURES_NEVER (BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) | BIT_ULL(VIRTIO_F_RING_PACKED))

/* An eventfd that calls the driver. It stays on the eventfd's wait queue, of which it has a reference. */
struct call {
	wait_queue_entry_t wait;
	poll_table table;
	struct eventfd_ctx *ctx;
	struct popcorn_device *device;
	u32 queue;
};

struct device_queue {
	struct eventfd_ctx __rcu *kick;
	struct call *call;
};

struct popcorn_device {
	struct kref ref; /* the kernel's table; the descriptor */
	struct rcu_head rcu;
	/* Whoever has a descriptor keeps it, so does the table. */
	struct popcorn_kernel *kernel;

	/* Constant. */
	u32 slot, instance, id, nr_queues, queue_max, config_length;
	u64 features;
	char name[POPCORN_DEVICE_NAME_MAX];

	/* The rest: devices_lock, but for what says otherwise. */
	u8 config[POPCORN_CONFIG_MAX];
	bool gone;    /* the kernel has ended, or the device was removed; read without lock too */
	bool removed; /* and is still in its slot, because somebody has the descriptor */
	bool served;

	u32 seen;     /* request that was looked at last */
	u32 done;     /* request that was carried out last */
	u32 wish;     /* number of the wish; never 0 */
	u32 answered; /* by this descriptor: number of a wish; read without lock too */
	u32 wanted;   /* POPCORN_DEVICE_STOPPED or _STARTED */
	u32 request;  /* that the wish comes from */
	u32 state;    /* what the server said */
	bool running; /* a server may touch queues: it was told to start, and has not said that it stopped */
	bool failed; /* until it is reset */
	bool has_next;
	struct popcorn_request start; /* what it was started with */
	struct popcorn_request next;  /* to be started, when STOP was answered */
	char text[64];		      /* why it failed */

	wait_queue_head_t wait; /* wish, gone */
	atomic64_t kicks, calls;
	struct device_queue queue[POPCORN_QUEUES_MAX];
};

static void device_free(struct kref *ref)
{
	struct popcorn_device *device = container_of(ref, struct popcorn_device, ref);

	/* The doorbell's handler may still look at it. */
	kfree_rcu(device, rcu);
}

static void device_put(struct popcorn_device *device)
{
	kref_put(&device->ref, device_free);
}

static struct popcorn_device *device_at(struct popcorn_kernel *kernel, u32 slot)
{
	return rcu_dereference_protected(kernel->devices[slot],
					 lockdep_is_held(&kernel->devices_lock));
}

/* Also those that were removed. Context: devices_lock is held. */
static void for_devices(struct popcorn_kernel *kernel,
			void (*function)(struct popcorn_device *device))
{
	struct popcorn_device *device;
	u32 i;

	for (i = 0; i < POPCORN_DEVICES_MAX; i++) {
		device = device_at(kernel, i);
		if (device)
			function(device);
	}
}

/* What the ABI calls a device: not one that was removed and waits for its server to close. */
static struct popcorn_device *device_find(struct popcorn_kernel *kernel, u32 slot)
{
	struct popcorn_device *device;

	if (slot >= POPCORN_DEVICES_MAX)
		return NULL;
	device = device_at(kernel, slot);
	return device && !device->removed ? device : NULL;
}

/* The table */

static struct popcorn_virtio_table *table_of(struct popcorn_kernel *kernel)
{
	return (void *)((u8 *)kernel->head + POPCORN_HEAD_DEVICES);
}

/* Where the device is in the table, or NULL if there is none: not yet, or not any more. */
static struct popcorn_virtio_slot *slot_of(struct popcorn_device *device)
{
	lockdep_assert_held(&device->kernel->devices_lock);
	return device->kernel->has_table ? &table_of(device->kernel)->slot[device->slot] : NULL;
}

static void config_write(struct popcorn_device *device, struct popcorn_virtio_slot *slot)
{
	u32 generation = READ_ONCE(slot->config_generation) | 1;

	/* Short, because the driver waits for an even one. */
	preempt_disable();
	WRITE_ONCE(slot->config_generation, generation);
	virt_wmb();
	memcpy(slot->config, device->config, sizeof(slot->config));
	virt_store_release(&slot->config_generation, generation + 1);
	preempt_enable();
}

/* What a driver has to know of the device now. */
static void slot_update(struct popcorn_device *device)
{
	struct popcorn_virtio_slot *slot = slot_of(device);

	if (!slot)
		return;
	WRITE_ONCE(slot->flags, (device->failed ? POPCORN_VIRTIO_FAILED : 0) |
					(device->removed ? POPCORN_VIRTIO_REMOVED : 0));
	virt_store_release(&slot->done, device->done);
	popcorn_ring(device->kernel, POPCORN_BELL_DEVICES);
}

/* Puts the device where it was not before. */
static void slot_fill(struct popcorn_device *device)
{
	struct popcorn_virtio_slot *slot = slot_of(device);

	if (!slot)
		return;
	/* What the driver of another device that was here has left behind is not meant for this one. */
	xchg(&slot->kicked, 0);
	xchg(&slot->called, 0);
	device->seen = READ_ONCE(slot->request);
	device->done = device->seen;
	slot->device = device->id;
	slot->nr_queues = device->nr_queues;
	slot->queue_max = device->queue_max;
	slot->features = device->features;
	slot->config_length = device->config_length;
	config_write(device, slot);
	WRITE_ONCE(slot->flags, 0);
	WRITE_ONCE(slot->done, device->done);
	/* Last: it announces all of the above. */
	virt_store_release(&slot->instance, device->instance);
	popcorn_ring(device->kernel, POPCORN_BELL_DEVICES);
}

/* Takes the device out of the table, and out of the kernel. */
static void slot_clear(struct popcorn_device *device)
{
	struct popcorn_virtio_slot *slot = slot_of(device);

	if (slot) {
		virt_store_release(&slot->instance, 0);
		popcorn_ring(device->kernel, POPCORN_BELL_DEVICES);
	}
	RCU_INIT_POINTER(device->kernel->devices[device->slot], NULL);
	device_put(device);
}

/* Context: kernel->lock is held, the kernel is about to be started, its head was written. */
void popcorn_devices_start(struct popcorn_kernel *kernel)
{
	struct popcorn_virtio_table *table = table_of(kernel);

	guard(mutex)(&kernel->devices_lock);
	table->magic = POPCORN_VIRTIO_MAGIC;
	table->version = POPCORN_VIRTIO_VERSION;
	table->size = sizeof(*table);
	table->nr_slots = POPCORN_VIRTIO_SLOTS;
	table->slot_size = sizeof(table->slot[0]);
	kernel->has_table = true;
	for_devices(kernel, slot_fill);
}

/* POLLHUP, and -ENODEV from now on. */
static void device_hang_up(struct popcorn_device *device)
{
	WRITE_ONCE(device->gone, true);
	wake_up_interruptible_all(&device->wait);
}

/*
 * The kernel ends: nobody calls its drivers or looks at its requests any more. Context: kernel->lock is held.
 * May sleep.
 */
void popcorn_devices_end(struct popcorn_kernel *kernel)
{
	guard(mutex)(&kernel->devices_lock);
	kernel->has_table = false;
	for_devices(kernel, device_hang_up);
}

/* The kernel is released. Context: kernel->lock is held; the doorbell's handler is past. May sleep. */
void popcorn_devices_release(struct popcorn_kernel *kernel)
{
	popcorn_devices_end(kernel);
	guard(mutex)(&kernel->devices_lock);
	for_devices(kernel, slot_clear);
}

/* Kick and call */

/*
 * From the doorbell: signals the eventfds of all queues with something to do. A queue without one loses nothing: it
 * is signalled when it gets one.
 *
 * Context: any but NMI; kernel->head is there (RCU, or kernel->lock and a state that has it).
 */
void popcorn_devices_kick(struct popcorn_kernel *kernel)
{
	struct popcorn_virtio_table *table = table_of(kernel);
	struct popcorn_device *device;
	struct eventfd_ctx *kick;
	unsigned long bits;
	u32 i, queue;

	rcu_read_lock();
	for (i = 0; i < POPCORN_DEVICES_MAX; i++) {
		device = rcu_dereference(kernel->devices[i]);
		if (!device || !READ_ONCE(table->slot[i].kicked))
			continue;
		/* A full barrier: the bits are taken before the queues are looked at. */
		bits = xchg(&table->slot[i].kicked, 0);
		for_each_set_bit(queue, &bits, POPCORN_QUEUES_MAX) {
			kick = rcu_dereference(device->queue[queue].kick);
			if (kick) {
				popcorn_eventfd_signal(kick);
				atomic64_inc(&device->kicks);
			}
		}
	}
	rcu_read_unlock();
}

/* Context: any but NMI; somebody has the descriptor, so that the slot is this device's. */
static void call_driver(struct popcorn_device *device, u32 queues)
{
	struct popcorn_kernel *kernel = device->kernel;
	u32 *called;

	rcu_read_lock();
	if (READ_ONCE(kernel->rings)) {
		called = &table_of(kernel)->slot[device->slot].called;
		/* If they were all set, then whoever set the last one rings. */
		if (~popcorn_bits_set(called, queues) & queues) {
			atomic64_inc(&device->calls);
			popcorn_ring(kernel, POPCORN_BELL_CALL);
		}
	}
	rcu_read_unlock();
}

/*
 * Somebody has signalled the eventfd. Its own end (EPOLLHUP) is none of ours: whoever has a reference of it, such
 * as vhost, still signals it, and we have one too.
 *
 * Context: the eventfd's lock is held, interrupts are off (without PREEMPT_RT).
 */
static int call_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct call *call = container_of(wait, struct call, wait);
	u64 count;

	if (key_to_poll(key) & EPOLLIN) {
		/* It never gets full, and nobody else has to read it. */
		eventfd_ctx_do_read(call->ctx, &count);
		call_driver(call->device, BIT(call->queue));
	}
	return 0;
}

static void call_attach(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	struct call *call = container_of(table, struct call, table);

	add_wait_queue(head, &call->wait);
}

static void call_free(struct call *call)
{
	u64 count;

	if (!call)
		return;
	/* Afterwards call_wake() does not run any more. */
	eventfd_ctx_remove_wait_queue(call->ctx, &call->wait, &count);
	eventfd_ctx_put(call->ctx);
	kfree(call);
}

/* NULL for -1. */
static struct call *call_new(struct popcorn_device *device, u32 queue, int fd)
{
	struct file *file;
	struct call *call;

	if (fd == -1)
		return NULL;
	file = eventfd_fget(fd);
	if (IS_ERR(file))
		return ERR_CAST(file);
	call = popcorn_fault() ? NULL : kzalloc(sizeof(*call), GFP_KERNEL);
	if (!call) {
		fput(file);
		return ERR_PTR(-ENOMEM);
	}
	call->ctx = eventfd_ctx_fileget(file);
	call->device = device;
	call->queue = queue;
	init_waitqueue_func_entry(&call->wait, call_wake);
	init_poll_funcptr(&call->table, call_attach);
	/* It may have been signalled before anybody listened. */
	if (vfs_poll(file, &call->table) & EPOLLIN)
		call_driver(device, BIT(queue));
	fput(file);
	return call;
}

static struct eventfd_ctx *kick_new(int fd)
{
	if (fd == -1)
		return NULL;
	return popcorn_fault() ? ERR_PTR(-ENOMEM) : eventfd_ctx_fdget(fd);
}

/* Afterwards the handler has no kick in its hands that was in a queue before. May sleep. */
static void kick_put(struct eventfd_ctx *kick)
{
	if (!kick)
		return;
	synchronize_rcu();
	eventfd_ctx_put(kick);
}

/* Context: the descriptor is being closed, nobody uses it any more. */
static void queues_free(struct popcorn_device *device)
{
	struct eventfd_ctx *kicks[POPCORN_QUEUES_MAX] = {};
	struct device_queue *queue;
	u32 i;

	scoped_guard(mutex, &device->kernel->devices_lock) {
		for (i = 0; i < POPCORN_QUEUES_MAX; i++) {
			queue = &device->queue[i];
			kicks[i] = rcu_replace_pointer(queue->kick, NULL, true);
			call_free(queue->call);
			queue->call = NULL;
		}
	}
	/* One for all of them. */
	synchronize_rcu();
	for (i = 0; i < POPCORN_QUEUES_MAX; i++)
		if (kicks[i])
			eventfd_ctx_put(kicks[i]);
}

/* Context: devices_lock is held. */
static void queue_kick(struct popcorn_device *device, u32 queue)
{
	struct eventfd_ctx *kick = rcu_dereference_protected(
		device->queue[queue].kick, lockdep_is_held(&device->kernel->devices_lock));

	if (kick)
		popcorn_eventfd_signal(kick);
}

/* What happened while nobody looked: both sides look once. Context: devices_lock is held. */
static void queues_wake(struct popcorn_device *device)
{
	u32 i;

	for (i = 0; i < device->nr_queues; i++)
		queue_kick(device, i);
	call_driver(device, (1U << device->nr_queues) - 1);
}

/* Wishes. Context of all of them: devices_lock is held. */

static void wish(struct popcorn_device *device, u32 wanted, u32 request)
{
	device->wish = device->wish + 1 ?: 1;
	device->wanted = wanted;
	device->request = request;
	wake_up_interruptible_all(&device->wait);
}

/* The device does no more until it is reset. If a server may be at its queues, it is told to stop. */
static void fail(struct popcorn_device *device, const char *text)
{
	device->failed = true;
	device->has_next = false;
	strscpy(device->text, text, sizeof(device->text));
	if (device->wanted == POPCORN_DEVICE_STARTED)
		wish(device, POPCORN_DEVICE_STOPPED, device->request);
	pr_notice_ratelimited("kernel %s: device %s failed: %s\n", device->kernel->name,
			      device->name, device->text);
}

static void stop(struct popcorn_device *device, u32 request)
{
	device->has_next = false;
	device->failed = false;
	device->text[0] = '\0';
	if (device->wanted == POPCORN_DEVICE_STARTED)
		wish(device, POPCORN_DEVICE_STOPPED, request);
	device->request = request;
	if (device->running)
		return; /* done is what the server says */
	device->state = POPCORN_DEVICE_STOPPED;
	device->done = request;
}

static bool owns(void *data, u64 start, u64 length)
{
	struct popcorn_kernel *kernel = data;

	/* The head is at the beginning of a range. */
	return popcorn_find_range(kernel, start, length) &&
	       (start < kernel->head_phys || start - kernel->head_phys >= POPCORN_HEAD_SIZE);
}

/* Context: the kernel's ranges do not change either. */
static void start(struct popcorn_device *device, const struct popcorn_request *request)
{
	struct popcorn_request_limits limits = {
		.features = device->features,
		.nr_queues = device->nr_queues,
		.queue_max = device->queue_max,
		.owns = owns,
		.data = device->kernel,
	};
	const char *why;
	char text[64];
	u32 queue;

	if (device->failed)
		return;
	if (device->wanted == POPCORN_DEVICE_STARTED || device->has_next) {
		fail(device, "was started twice");
		return;
	}
	why = popcorn_request_check(request, &limits, &queue);
	if (why) {
		if (queue < POPCORN_QUEUES_MAX) {
			scnprintf(text, sizeof(text), "queue %u: %s", queue, why);
			why = text;
		}
		fail(device, why);
	} else if (device->running) {
		/* The driver has not waited for the STOP: the server has to be out of its queues first. */
		device->next = *request;
		device->has_next = true;
	} else {
		device->start = *request;
		wish(device, POPCORN_DEVICE_STARTED, request->number);
	}
}

static void look(struct popcorn_device *device)
{
	struct popcorn_virtio_slot *slot = slot_of(device);
	struct popcorn_request request;
	char text[64];

	if (!slot || device->removed || !popcorn_request_read(slot, device->seen, &request))
		return;
	device->seen = request.number;
	/* One that another device was asked for, which is gone. */
	if (request.of != device->instance)
		return;
	switch (request.command) {
	case POPCORN_VIRTIO_STOP:
	case POPCORN_VIRTIO_GIVE_UP:
		stop(device, request.number);
		break;
	case POPCORN_VIRTIO_START:
		start(device, &request);
		break;
	default:
		scnprintf(text, sizeof(text), "command %u does not exist", request.command);
		fail(device, text);
	}
	slot_update(device);
}

/* Drivers may have asked for something. Context: kernel->lock is held, the kernel is alive. */
void popcorn_devices_look(struct popcorn_kernel *kernel)
{
	guard(mutex)(&kernel->devices_lock);
	for_devices(kernel, look);
}

/* The descriptor */

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct popcorn_device *device = file->private_data;
	struct popcorn_call call = { .kernel = device->kernel, .device = device };

	return popcorn_ioctl(&call, cmd, arg);
}

static __poll_t device_poll(struct file *file, poll_table *wait)
{
	struct popcorn_device *device = file->private_data;

	poll_wait(file, &device->wait, wait);
	if (READ_ONCE(device->gone))
		return EPOLLHUP;
	return READ_ONCE(device->answered) != READ_ONCE(device->wish) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int device_close(struct inode *inode, struct file *file)
{
	struct popcorn_device *device = file->private_data;
	struct popcorn_kernel *kernel = device->kernel;

	/* First: who gets the device, or the slot, after this one is called by nobody but its own server. */
	queues_free(device);
	mutex_lock(&kernel->devices_lock);
	device->served = false;
	if (device->removed && device_at(kernel, device->slot) == device)
		slot_clear(device);
	mutex_unlock(&kernel->devices_lock);
	device_put(device);
	popcorn_put(kernel);
	return 0;
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = device_poll,
	.release = device_close,
	.llseek = noop_llseek,
};

/* 0 with devices_lock held, -EINTR, or -ENODEV if the device is gone. */
static int lock_device(struct popcorn_device *device)
{
	if (mutex_lock_interruptible(&device->kernel->devices_lock))
		return -EINTR;
	if (device->gone) {
		mutex_unlock(&device->kernel->devices_lock);
		return -ENODEV;
	}
	return 0;
}

static void unlock_device(struct popcorn_device *device)
{
	mutex_unlock(&device->kernel->devices_lock);
}

int popcorn_device_want(struct popcorn_call *call, void *arg)
{
	struct popcorn_queue queues[POPCORN_QUEUES_MAX] = {};
	struct popcorn_device *device = call->device;
	struct popcorn_device_want *want = arg;
	u32 i, room = want->nr_queues;
	int err;

	err = lock_device(device);
	if (err)
		return err;
	want->number = device->wish;
	want->state = device->wanted;
	want->nr_queues = device->nr_queues;
	want->features = 0;
	if (device->wanted == POPCORN_DEVICE_STARTED) {
		want->features = device->start.features;
		for (i = 0; i < device->nr_queues; i++)
			if (device->start.queue[i].size)
				memcpy(&queues[i], &device->start.queue[i], sizeof(queues[i]));
		/* It knows where they are: from now on it may be at them. */
		device->running = true;
	}
	unlock_device(device);
	room = min(room, device->nr_queues);
	if (room && copy_to_user(u64_to_user_ptr(want->queues), queues, room * sizeof(*queues)))
		return -EFAULT;
	return 0;
}

static bool printable(const char *text, size_t size)
{
	size_t i, length = strnlen(text, size);

	if (!length || length == size)
		return false;
	for (i = 0; i < length; i++)
		if (!isascii(text[i]) || !isprint(text[i]))
			return false;
	return true;
}

/* Context: devices_lock is held. */
static void done(struct popcorn_device *device, u32 state, const char *text)
{
	device->answered = device->wish;
	device->done = device->request;
	device->state = state;
	device->running = state == POPCORN_DEVICE_STARTED;
	if (state == POPCORN_DEVICE_FAILED) {
		/* Answered: who takes the device over now is not asked to start it. */
		device->wanted = POPCORN_DEVICE_STOPPED;
		fail(device, text);
	}
	slot_update(device);
	if (state == POPCORN_DEVICE_STARTED)
		queues_wake(device);
	if (device->has_next) {
		device->has_next = false;
		device->start = device->next;
		wish(device, POPCORN_DEVICE_STARTED, device->start.number);
	}
}

int popcorn_device_done(struct popcorn_call *call, void *arg)
{
	struct popcorn_device *device = call->device;
	struct popcorn_device_done *args = arg;
	int err;

	if (args->reserved)
		return -EINVAL;
	if (args->state == POPCORN_DEVICE_FAILED ? !printable(args->text, sizeof(args->text))
						 : args->text[0] != '\0')
		return -EINVAL;
	err = lock_device(device);
	if (err)
		return err;
	if (args->number != device->wish)
		err = -ESTALE;
	else if (args->state != device->wanted && args->state != POPCORN_DEVICE_FAILED)
		err = -EINVAL;
	else
		done(device, args->state, args->text);
	unlock_device(device);
	return err;
}

int popcorn_device_queue(struct popcorn_call *call, void *arg)
{
	struct popcorn_device *device = call->device;
	struct popcorn_device_queue *args = arg;
	struct device_queue *queue;
	struct eventfd_ctx *kick;
	struct call *new;
	int err;

	if (args->queue >= device->nr_queues)
		return -EINVAL;
	kick = kick_new(args->kick);
	if (IS_ERR(kick))
		return PTR_ERR(kick);
	new = call_new(device, args->queue, args->call);
	if (IS_ERR(new)) {
		if (kick)
			eventfd_ctx_put(kick);
		return PTR_ERR(new);
	}
	err = lock_device(device);
	if (!err) {
		queue = &device->queue[args->queue];
		kick = rcu_replace_pointer(queue->kick, kick,
					   lockdep_is_held(&device->kernel->devices_lock));
		swap(queue->call, new);
		/* Once it is there, or a kick in between would have gone to the old one alone. */
		queue_kick(device, args->queue);
		unlock_device(device);
	}
	/* What was there before; or, after an error, what was not put there. */
	call_free(new);
	kick_put(kick);
	return err;
}

int popcorn_device_config(struct popcorn_call *call, void *arg)
{
	struct popcorn_device *device = call->device;
	struct popcorn_device_config *args = arg;
	struct popcorn_virtio_slot *slot;
	int err;

	if (args->length != device->config_length)
		return -EINVAL;
	err = lock_device(device);
	if (err)
		return err;
	memcpy(device->config, args->config, args->length);
	slot = slot_of(device);
	if (slot) {
		config_write(device, slot);
		popcorn_ring(device->kernel, POPCORN_BELL_DEVICES);
	}
	unlock_device(device);
	return 0;
}

int popcorn_device_memory(struct popcorn_call *call, void *arg)
{
	struct popcorn_device_memory *args = arg;
	struct popcorn_device *device = call->device;
	int fd;

	if (args->reserved)
		return -EINVAL;
	if (READ_ONCE(device->gone))
		return -ENODEV;
	fd = popcorn_memory_fd(call, args->index, &args->start, &args->length);
	if (fd < 0)
		return fd;
	args->fd = fd;
	return 0;
}

/* On the kernel */

static bool config_valid(const struct popcorn_add_device *add)
{
	return add->device && add->device <= DEVICE_ID_MAX && add->nr_queues &&
	       add->nr_queues <= POPCORN_QUEUES_MAX && add->queue_max >= 2 &&
	       add->queue_max <= POPCORN_QUEUE_SIZE_MAX &&
	       !(add->queue_max & (add->queue_max - 1)) &&
	       add->config_length <= POPCORN_CONFIG_MAX &&
	       (add->features & BIT_ULL(VIRTIO_F_VERSION_1)) && !(add->features & FEATURES_NEVER) &&
	       printable(add->name, sizeof(add->name));
}

/* Into a free slot. Context: kernel->lock and devices_lock are held. */
static int device_insert(struct popcorn_kernel *kernel, struct popcorn_device *device)
{
	u32 i, slot = POPCORN_DEVICES_MAX;
	struct popcorn_device *other;

	for (i = 0; i < POPCORN_DEVICES_MAX; i++) {
		other = device_find(kernel, i);
		if (other && !strcmp(other->name, device->name))
			return -EEXIST;
		if (!device_at(kernel, i) && slot == POPCORN_DEVICES_MAX)
			slot = i;
	}
	if (slot == POPCORN_DEVICES_MAX)
		return -ENOSPC;
	device->slot = slot;
	device->instance = ++kernel->last_instance ?: ++kernel->last_instance;
	/* In this order: whoever sees it in the table may kick. */
	rcu_assign_pointer(kernel->devices[slot], device);
	slot_fill(device);
	return 0;
}

/* Whether it makes sense to give it devices. */
static bool takes_devices(const struct popcorn_kernel *kernel)
{
	return kernel->state == POPCORN_STATE_RESERVED || kernel->state == POPCORN_STATE_LOADING ||
	       kernel->state == POPCORN_STATE_BOOTING || kernel->state == POPCORN_STATE_RUNNING;
}

int popcorn_add_device(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_add_device *add = arg;
	struct popcorn_device *device;
	int err;

	if (!config_valid(add))
		return -EINVAL;
	if (security_locked_down(LOCKDOWN_KEXEC))
		return -EPERM;
	device = popcorn_fault() ? NULL : kzalloc(sizeof(*device), GFP_KERNEL);
	if (!device)
		return -ENOMEM;
	kref_init(&device->ref);
	init_waitqueue_head(&device->wait);
	device->kernel = kernel;
	device->id = add->device;
	device->nr_queues = add->nr_queues;
	device->queue_max = add->queue_max;
	device->config_length = add->config_length;
	device->features = add->features;
	device->wish = 1;
	strscpy(device->name, add->name, sizeof(device->name));
	memcpy(device->config, add->config, add->config_length);

	err = popcorn_lock(kernel);
	if (!err) {
		mutex_lock(&kernel->devices_lock);
		err = takes_devices(kernel) ? device_insert(kernel, device) : -EBUSY;
		mutex_unlock(&kernel->devices_lock);
		mutex_unlock(&kernel->lock);
	}
	if (err) {
		kfree(device);
		return err;
	}
	add->slot = device->slot;
	return 0;
}

int popcorn_remove_device(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_device_slot *args = arg;
	struct popcorn_device *device;
	int err;

	if (args->fd || args->reserved)
		return -EINVAL;
	err = popcorn_lock(kernel);
	if (err)
		return err;
	mutex_lock(&kernel->devices_lock);
	device = device_find(kernel, args->slot);
	if (!device) {
		err = -ENOENT;
	} else if (device->served) {
		device->removed = true;
		slot_update(device);
		device_hang_up(device);
	} else {
		slot_clear(device);
	}
	mutex_unlock(&kernel->devices_lock);
	mutex_unlock(&kernel->lock);
	return err;
}

/* Context: kernel->lock and devices_lock are held. */
static int open_locked(struct popcorn_kernel *kernel, u32 slot, struct file **ret_file)
{
	struct popcorn_device *device = device_find(kernel, slot);
	struct file *file;

	if (!device)
		return -ENOENT;
	if (device->served || device->gone)
		return -EBUSY;
	file = popcorn_fault()
		       ? ERR_PTR(-ENOMEM)
		       : anon_inode_getfile("[popcorn-device]", &device_fops, device, O_RDWR);
	if (IS_ERR(file))
		return PTR_ERR(file);
	device->served = true;
	/* It is to hear of the wish, whatever its predecessor did about it. */
	device->answered = 0;
	kref_get(&device->ref);
	popcorn_get(kernel);
	*ret_file = file;
	return 0;
}

int popcorn_open_device(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_device_slot *args = arg;
	struct file *file;
	int err, fd;

	if (args->fd || args->reserved)
		return -EINVAL;
	if (security_locked_down(LOCKDOWN_KEXEC))
		return -EPERM;
	err = popcorn_lock(kernel);
	if (err)
		return err;
	mutex_lock(&kernel->devices_lock);
	err = open_locked(kernel, args->slot, &file);
	mutex_unlock(&kernel->devices_lock);
	mutex_unlock(&kernel->lock);
	if (err)
		return err;
	fd = popcorn_new_fd(call, file);
	if (fd < 0)
		return fd;
	args->fd = fd;
	return 0;
}

int popcorn_device_info(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_device_info *info = arg;
	struct popcorn_device *device;
	int err = 0;

	if (info->reserved)
		return -EINVAL;
	/* Not kernel->lock: it may be held for as long as a kernel takes to end, and whoever asks shall not wait. */
	if (mutex_lock_interruptible(&kernel->devices_lock))
		return -EINTR;
	device = device_find(kernel, info->slot);
	if (READ_ONCE(kernel->released)) {
		err = -ENODEV;
	} else if (device) {
		info->device = device->id;
		info->state = device->failed ? POPCORN_DEVICE_FAILED : device->state;
		info->served = device->served;
		info->kicks = atomic64_read(&device->kicks);
		info->calls = atomic64_read(&device->calls);
		memcpy(info->name, device->name, sizeof(info->name));
		memcpy(info->text, device->text, sizeof(info->text));
	} else {
		err = -ENOENT;
	}
	mutex_unlock(&kernel->devices_lock);
	return err;
}
