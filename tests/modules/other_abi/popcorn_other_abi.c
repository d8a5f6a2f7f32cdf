// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For tests only: a /dev/popcorn that speaks a later version of the ABI.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include <popcorn.h>

static long other_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct popcorn_info __user *info = (void __user *)arg;

	/* A later version keeps INFO's number and the place of its version. */
	if (_IOC_TYPE(cmd) != POPCORN_IOC_MAGIC || _IOC_NR(cmd) != _IOC_NR(POPCORN_IOC_INFO))
		return -ENOTTY;
	return put_user(POPCORN_ABI_VERSION + 41, &info->abi_version);
}

static const struct file_operations other_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = other_ioctl,
};

static struct miscdevice other_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "popcorn",
	.fops = &other_fops,
	.mode = 0600,
};
module_misc_device(other_device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A driver of another ABI version, for tests");
