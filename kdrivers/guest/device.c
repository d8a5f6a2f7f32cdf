// SPDX-License-Identifier: GPL-2.0-only
/* /dev/popcorn-guest: where popcorn-agent meets the primary. ABI in uapi/popcorn_guest.h. */
#include <linux/atomic.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <uapi/popcorn_guest.h>

#include "guest.h"

static DECLARE_WAIT_QUEUE_HEAD(waiters);
static atomic_t shutdown_requests;
static DEFINE_MUTEX(ready_lock);

struct reader {
	atomic_t seen; /* how many requests this descriptor was given */
};

/* From the doorbell's handler. */
void device_shutdown_asked(void)
{
	atomic_inc(&shutdown_requests);
	wake_up_interruptible(&waiters);
}

static bool pending(struct reader *reader)
{
	return atomic_read(&reader->seen) != atomic_read(&shutdown_requests);
}

static int device_open(struct inode *inode, struct file *file)
{
	struct reader *reader;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	reader = kzalloc(sizeof(*reader), GFP_KERNEL);
	if (!reader)
		return -ENOMEM;
	file->private_data = reader;
	return nonseekable_open(inode, file);
}

static int device_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t device_read(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	const struct popcorn_guest_event event = { .type = POPCORN_GUEST_EVENT_SHUTDOWN };
	struct reader *reader = file->private_data;
	int seen, now, err;

	if (count < sizeof(event))
		return -EINVAL;
	do {
		if (!pending(reader) && file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(waiters, pending(reader));
		if (err)
			return err;
		seen = atomic_read(&reader->seen);
		now = atomic_read(&shutdown_requests);
		/* Lost: another thread was given the request. */
	} while (seen == now || atomic_cmpxchg(&reader->seen, seen, now) != seen);
	return copy_to_user(buf, &event, sizeof(event)) ? -EFAULT : sizeof(event);
}

static __poll_t device_poll(struct file *file, poll_table *wait)
{
	poll_wait(file, &waiters, wait);
	return pending(file->private_data) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int ioctl_info(void *arg)
{
	struct popcorn_guest_info *info = arg;

	if (info->reserved)
		return -EINVAL;
	info->abi_version = POPCORN_GUEST_ABI_VERSION;
	info->id = guest_head->id;
	info->generation = guest_head->generation;
	info->nr_cpus = guest_head->nr_cpus;
	strscpy(info->name, guest_head->name, sizeof(info->name));
	return 0;
}

static int ioctl_ready(void *arg)
{
	struct popcorn_guest_ready *ready = arg;

	if (ready->flags)
		return -EINVAL;
	/* The state only ever grows: two callers, and one that comes late, must not turn it back.
	 */
	mutex_lock(&ready_lock);
	if (guest_head->guest_state < POPCORN_GUEST_READY)
		guest_state_set(POPCORN_GUEST_READY);
	mutex_unlock(&ready_lock);
	return 0;
}

union argument {
	u32 size;
	struct popcorn_guest_info info;
	struct popcorn_guest_ready ready;
};

static const struct {
	unsigned int command;
	u32 size;
	u32 min_size;
	int (*execute)(void *arg);
} commands[] = {
	{ POPCORN_GUEST_IOC_INFO, sizeof(struct popcorn_guest_info),
	  sizeof(struct popcorn_guest_info), ioctl_info },
	{ POPCORN_GUEST_IOC_READY, sizeof(struct popcorn_guest_ready),
	  sizeof(struct popcorn_guest_ready), ioctl_ready },
};

static long device_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	union argument kernel = {};
	u32 size;
	int i, err;

	/* By number, not by the size coded into it: that grows with the structure. */
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (_IOC_TYPE(command) == POPCORN_GUEST_IOC_MAGIC &&
		    _IOC_NR(command) == _IOC_NR(commands[i].command))
			break;
	if (i == ARRAY_SIZE(commands))
		return -ENOTTY;
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < commands[i].min_size)
		return -EINVAL;
	err = copy_struct_from_user(&kernel, commands[i].size, user, size);
	if (err)
		return err;
	err = commands[i].execute(&kernel);
	if (err)
		return err;
	/* @size stays the caller's. */
	kernel.size = size;
	return copy_to_user(user, &kernel, min(size, commands[i].size)) ? -EFAULT : 0;
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.read = device_read,
	.poll = device_poll,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "popcorn-guest",
	.fops = &device_fops,
	.mode = 0600,
};

int device_init(void)
{
	return misc_register(&device);
}

void device_exit(void)
{
	misc_deregister(&device);
}
