// SPDX-License-Identifier: GPL-2.0-only
/*
 * popcorn_kexec.ko: starts other kernels on CPUs and memory taken from this one, and keeps the
 * truth about them. The ABI is in uapi/popcorn.h.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/cc_platform.h>
#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/security.h>
#include <linux/suspend.h>
#include <linux/uaccess.h>
#include <asm/apic.h>
#include <asm/smp.h>
#include <asm/tsc.h>
#include <popcorn/args.h>
#include <popcorn/msg.h>

#include "kexec.h"

struct workqueue_struct *popcorn_wq;
DECLARE_RWSEM(start_gate);
bool shutting_down;

static int fault_step;
module_param(fault_step, int, 0600);
MODULE_PARM_DESC(fault_step, "let the nth step that can fail do so, once (for tests)");

/*
 * Every step of an operation that can fail asks here first, so that a test can let each of them
 * fail, one after the other, until none is left.
 */
bool popcorn_fault(void)
{
	int old = READ_ONCE(fault_step), seen;

	while (unlikely(old > 0)) {
		seen = cmpxchg(&fault_step, old, old - 1);
		if (seen == old)
			return old == 1;
		old = seen;
	}
	return false;
}

static int popcorn_info(struct popcorn_call *call, void *arg)
{
	struct popcorn_info *info = arg;

	if (info->reserved)
		return -EINVAL;
	info->abi_version = POPCORN_ABI_VERSION;
	info->flags = (x2apic_mode ? POPCORN_INFO_X2APIC : 0) |
		      (security_locked_down(LOCKDOWN_KEXEC) ? POPCORN_INFO_LOCKDOWN : 0);
	info->nr_kernels = popcorn_nr_kernels();
	info->tsc_khz = tsc_khz;
	info->boot_apicid = per_cpu(x86_cpu_to_apicid, 0);
	info->low_size = popcorn_low_size();
	info->low_free = popcorn_low_free();
	info->phys_bits = boot_cpu_data.x86_phys_bits;
	return 0;
}

/* The one table of ioctls. */
static const struct popcorn_op {
	unsigned int cmd;
	u32 size, min_size;
	u32 flags;
#define OP_DRIVER BIT(0)    /* on /dev/popcorn, else on a kernel */
#define OP_DEVICE BIT(1)    /* on a device, likewise */
#define OP_CHANGES BIT(2)   /* needs CAP_SYS_BOOT */
#define OP_FAILS_OUT BIT(3) /* the structure is written back on failure too */
	int (*fn)(struct popcorn_call *call, void *arg);
} popcorn_ops[] = {
/* The last field of the first published version: what a caller at least has to give. */
#define OP(_cmd, _type, _last, _flags, _fn)                                               \
	{                                                                                 \
		_cmd, sizeof(struct _type), offsetofend(struct _type, _last), _flags, _fn \
	}
	OP(POPCORN_IOC_INFO, popcorn_info, reserved, OP_DRIVER, popcorn_info),
	OP(POPCORN_IOC_CREATE, popcorn_create, fd, OP_DRIVER | OP_CHANGES, popcorn_create),
	OP(POPCORN_IOC_OPEN, popcorn_open, reserved, OP_DRIVER, popcorn_open),
	OP(POPCORN_IOC_LIST, popcorn_list, ids, OP_DRIVER, popcorn_list),
	OP(POPCORN_IOC_ADD_CPUS, popcorn_cpus, reserved, OP_CHANGES | OP_FAILS_OUT,
	   popcorn_add_cpus),
	OP(POPCORN_IOC_ADD_MEMORY, popcorn_memory, reserved, OP_CHANGES, popcorn_add_memory),
	OP(POPCORN_IOC_LOAD, popcorn_load, segments, OP_CHANGES, popcorn_load),
	OP(POPCORN_IOC_START, popcorn_start, boot_params, OP_CHANGES, popcorn_start),
	OP(POPCORN_IOC_STOP, popcorn_stop, reserved, OP_CHANGES, popcorn_stop),
	OP(POPCORN_IOC_RELEASE, popcorn_release, reserved, OP_CHANGES | OP_FAILS_OUT,
	   popcorn_release),
	OP(POPCORN_IOC_STATUS, popcorn_status, text, 0, popcorn_status),
	OP(POPCORN_IOC_CONSOLE, popcorn_console, reserved, 0, popcorn_console),
	OP(POPCORN_IOC_ADD_DEVICE, popcorn_add_device, config, OP_CHANGES, popcorn_add_device),
	OP(POPCORN_IOC_REMOVE_DEVICE, popcorn_device_slot, reserved, OP_CHANGES,
	   popcorn_remove_device),
	OP(POPCORN_IOC_OPEN_DEVICE, popcorn_device_slot, reserved, OP_CHANGES, popcorn_open_device),
	OP(POPCORN_IOC_DEVICE_INFO, popcorn_device_info, text, 0, popcorn_device_info),
	OP(POPCORN_IOC_DEVICE_WANT, popcorn_device_want, queues, OP_DEVICE, popcorn_device_want),
	OP(POPCORN_IOC_DEVICE_DONE, popcorn_device_done, text, OP_DEVICE, popcorn_device_done),
	OP(POPCORN_IOC_DEVICE_QUEUE, popcorn_device_queue, call, OP_DEVICE, popcorn_device_queue),
	OP(POPCORN_IOC_DEVICE_CONFIG, popcorn_device_config, config, OP_DEVICE,
	   popcorn_device_config),
	OP(POPCORN_IOC_DEVICE_MEMORY, popcorn_device_memory, length, OP_DEVICE,
	   popcorn_device_memory),
#undef OP
};

static const struct popcorn_op *find_op(const struct popcorn_call *call, unsigned int cmd)
{
	u32 on = call->device ? OP_DEVICE : call->kernel ? 0 : OP_DRIVER;
	const struct popcorn_op *op;

	/* A caller of another version has another size in the number; the structure says it too. */
	for (op = popcorn_ops; op < popcorn_ops + ARRAY_SIZE(popcorn_ops); op++)
		if ((op->cmd & ~IOCSIZE_MASK) == (cmd & ~IOCSIZE_MASK) &&
		    (op->flags & (OP_DRIVER | OP_DEVICE)) == on)
			return op;
	return NULL;
}

long popcorn_ioctl(struct popcorn_call *call, unsigned int cmd, unsigned long user)
{
	const struct popcorn_op *op = find_op(call, cmd);
	union {
		struct popcorn_info info;
		struct popcorn_create create;
		struct popcorn_open open;
		struct popcorn_list list;
		struct popcorn_cpus cpus;
		struct popcorn_memory memory;
		struct popcorn_load load;
		struct popcorn_start start;
		struct popcorn_stop stop;
		struct popcorn_release release;
		struct popcorn_status status;
		struct popcorn_console console;
		struct popcorn_add_device add_device;
		struct popcorn_device_slot device_slot;
		struct popcorn_device_info device_info;
		struct popcorn_device_want device_want;
		struct popcorn_device_done device_done;
		struct popcorn_device_queue device_queue;
		struct popcorn_device_config device_config;
		struct popcorn_device_memory device_memory;
	} arg;
	void __user *argp = (void __user *)user;
	u32 size;
	int err;

	if (!op)
		return -ENOTTY;
	if ((op->flags & OP_CHANGES) && !capable(CAP_SYS_BOOT))
		return -EPERM;
	err = popcorn_args_read(&arg, op->size, op->min_size, true, argp, &size);
	if (err)
		return err;
	err = op->fn(call, &arg);
	if ((!err || (op->flags & OP_FAILS_OUT)) && copy_to_user(argp, &arg, size))
		err = err ?: -EFAULT;

	if (call->new_file) {
		if (err) {
			put_unused_fd(call->new_fd);
			fput(call->new_file);
		} else {
			fd_install(call->new_fd, call->new_file);
		}
	}
	if (call->created) {
		if (err)
			popcorn_discard(call->created);
		popcorn_put(call->created);
	}
	return err;
}

static long popcorn_device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct popcorn_call call = {};

	return popcorn_ioctl(&call, cmd, arg);
}

static const struct file_operations popcorn_device_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = popcorn_device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice popcorn_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "popcorn",
	.fops = &popcorn_device_fops,
	.mode = 0600,
};

/*
 * Reboot, halt, power-off and kexec of the primary come by here: what the other kernels run from
 * is about to be overwritten or switched off, and a CPU that goes on would write into the next
 * kernel's memory. After the gate has been passed once no START can be under way or begin, so that
 * kernels in "reserved" and "loading" need not be waited for.
 */
static int popcorn_reboot(struct notifier_block *nb, unsigned long action, void *data)
{
	struct popcorn_kernel *kernel;
	u32 id = 0;

	down_write(&start_gate);
	shutting_down = true;
	up_write(&start_gate);

	while ((kernel = popcorn_next(&id))) {
		if (popcorn_alive(kernel)) {
			mutex_lock(&kernel->lock);
			if (!popcorn_alive(kernel))
				; /* it ended by itself in between */
			else if (popcorn_end(kernel, POPCORN_STATE_STOPPED,
					     POPCORN_REASON_PRIMARY_DOWN))
				pr_emerg("kernel %s could not be stopped\n", kernel->name);
			else
				pr_notice("kernel %s is parked: the primary is going down\n",
					  kernel->name);
			mutex_unlock(&kernel->lock);
		}
		popcorn_put(kernel);
	}
	return NOTIFY_DONE;
}

/* Before other notifiers switch off what they think is only theirs. */
static struct notifier_block popcorn_reboot_nb = {
	.notifier_call = popcorn_reboot,
	.priority = INT_MAX,
};

/* Sleep switches off CPUs and loses memory that this kernel knows nothing about. */
static int popcorn_sleep(struct notifier_block *nb, unsigned long action, void *data)
{
	switch (action) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		return popcorn_nr_kernels() ? NOTIFY_BAD : NOTIFY_DONE;
	}
	return NOTIFY_DONE;
}

static struct notifier_block popcorn_sleep_nb = {
	.notifier_call = popcorn_sleep,
};

static int __init popcorn_init(void)
{
	int err;

	/* A CPU that starts without the encryption bits in its page tables reads only noise. */
	if (cc_platform_has(CC_ATTR_MEM_ENCRYPT)) {
		pr_err("memory encryption is active: other kernels can't be started\n");
		return -EOPNOTSUPP;
	}
	if (!boot_cpu_has(X86_FEATURE_APIC)) {
		pr_err("no local APIC: other kernels can't be started\n");
		return -ENODEV;
	}

	popcorn_wq = alloc_workqueue("popcorn", WQ_UNBOUND, 0);
	if (!popcorn_wq)
		return -ENOMEM;
	err = popcorn_low_init();
	if (err)
		goto no_low;
	err = popcorn_cpu_init();
	if (err)
		goto no_low;
	err = popcorn_memory_init();
	if (err)
		goto no_memory;
	err = popcorn_doorbell_init();
	if (err)
		goto no_doorbell;
	err = popcorn_netlink_init();
	if (err)
		goto no_netlink;
	err = register_reboot_notifier(&popcorn_reboot_nb);
	if (err)
		goto no_reboot;
	err = register_pm_notifier(&popcorn_sleep_nb);
	if (err)
		goto no_sleep;
	/* Kernels can do without. */
	err = popcorn_msg_primary_init();
	if (err)
		pr_warn("no messages between kernels: error %d\n", err);
	/* Last: from here on there are callers. */
	err = misc_register(&popcorn_device);
	if (err)
		goto no_device;
	return 0;

no_device:
	popcorn_msg_primary_exit();
	unregister_pm_notifier(&popcorn_sleep_nb);
no_sleep:
	unregister_reboot_notifier(&popcorn_reboot_nb);
no_reboot:
	popcorn_netlink_exit();
no_netlink:
	popcorn_doorbell_exit();
no_doorbell:
	popcorn_memory_exit();
no_memory:
	popcorn_cpu_exit();
no_low:
	destroy_workqueue(popcorn_wq);
	return err;
}
module_init(popcorn_init);

/* Every kernel and every descriptor holds the module: there is none left. */
static void __exit popcorn_exit(void)
{
	misc_deregister(&popcorn_device);
	unregister_pm_notifier(&popcorn_sleep_nb);
	unregister_reboot_notifier(&popcorn_reboot_nb);
	/* Work of a released kernel may still be about to drop the last reference. */
	destroy_workqueue(popcorn_wq);
	popcorn_msg_primary_exit();
	popcorn_netlink_exit();
	popcorn_doorbell_exit();
	popcorn_memory_exit();
	popcorn_cpu_exit();
}
module_exit(popcorn_exit);

MODULE_DESCRIPTION("Popcorn: starts kernels beside this one");
MODULE_LICENSE("GPL");
