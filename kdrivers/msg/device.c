// SPDX-License-Identifier: GPL-2.0-only
/* /dev/popcorn-msg: the ABI of uapi/popcorn-msg.h. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <popcorn/args.h>

#include "msg.h"
#include "user.h"
#include "window.h"

/* What an ioctl works on. */
struct user_op_call {
	struct file *file;
	struct endpoint *endpoint;
};

/* Of what may wait: the caller's timeout, and whether it may at all. */
static long wait_time(const struct user_op_call *call, u32 ms)
{
	return call->file->f_flags & O_NONBLOCK ? 0 : user_timeout(ms);
}

static int op_info(struct user_op_call *call, void *arg)
{
	const struct popcorn_msg_peer me = popcorn_msg_self();
	struct popcorn_msg_info *info = arg;

	info->abi_version = POPCORN_MSG_ABI_VERSION;
	info->self = (struct popcorn_msg_addr){ me.id, me.generation, call->endpoint->number };
	return 0;
}

static int check_name(const struct popcorn_msg_name *name)
{
	if (name->reserved || !name_valid(name->name))
		return -EINVAL;
	return name_allowed(name->name) ? 0 : -EPERM;
}

static int op_bind(struct user_op_call *call, void *arg)
{
	const struct popcorn_msg_name *name = arg;

	return check_name(name) ?: endpoint_bind(call->endpoint, name->name);
}

static int op_join(struct user_op_call *call, void *arg)
{
	const struct popcorn_msg_name *name = arg;

	return check_name(name) ?: endpoint_join(call->endpoint, name->name);
}

static int op_leave(struct user_op_call *call, void *arg)
{
	const struct popcorn_msg_name *name = arg;

	return check_name(name) ?: endpoint_leave(call->endpoint, name->name);
}

static int op_lookup(struct user_op_call *call, void *arg)
{
	return user_lookup(call->endpoint, arg);
}

static int op_send(struct user_op_call *call, void *arg)
{
	struct popcorn_msg_send_args *args = arg;
	const bool group = args->flags & POPCORN_MSG_SEND_GROUP;

	if (args->flags & ~(POPCORN_MSG_SEND_BULK | POPCORN_MSG_SEND_GROUP) || args->reserved ||
	    args->receivers)
		return -EINVAL;
	if (group) {
		if (memchr_inv(&args->to, 0, sizeof(args->to)) || !name_valid(args->group))
			return -EINVAL;
		if (!name_allowed(args->group))
			return -EPERM;
		return user_send_group(call->endpoint, args, wait_time(call, args->timeout_ms));
	}
	if (memchr_inv(args->group, 0, sizeof(args->group)))
		return -EINVAL;
	return user_send(call->endpoint, args, wait_time(call, args->timeout_ms));
}

static int op_receive(struct user_op_call *call, void *arg)
{
	struct popcorn_msg_receive *args = arg;

	return endpoint_receive(call->endpoint, args, wait_time(call, args->timeout_ms));
}

static int op_call(struct user_op_call *call, void *arg)
{
	return user_call(call->endpoint, arg);
}

static int op_reply(struct user_op_call *call, void *arg)
{
	const struct popcorn_msg_reply_args *args = arg;

	return args->reserved ? -EINVAL : user_reply(call->endpoint, args);
}

static int op_members(struct user_op_call *call, void *arg)
{
	struct popcorn_msg_addr __user *members;
	struct popcorn_msg_members *args = arg;
	struct popcorn_msg_peer peer = {};
	struct popcorn_msg_addr addr;
	u32 n = 0;

	members = u64_to_user_ptr(args->members);
	/* Before they are looked at: what changes meanwhile is told again. */
	atomic_set(&call->endpoint->members_seen, members_sequence());
	for (; user_next(&peer); n++) {
		addr = (struct popcorn_msg_addr){ peer.id, peer.generation, 0 };
		if (n < args->count && copy_to_user(&members[n], &addr, sizeof(addr)))
			return -EFAULT;
	}
	args->count = n;
	return 0;
}

static int op_ping(struct user_op_call *call, void *arg)
{
	return user_ping(call->endpoint, arg);
}

static int op_stats(struct user_op_call *call, void *arg)
{
	return user_stats(arg);
}

static int op_window_create(struct user_op_call *call, void *arg)
{
	return window_create(call->endpoint, call->file, arg);
}

static int op_window_open(struct user_op_call *call, void *arg)
{
	return window_open(call->endpoint, call->file, arg);
}

static int op_window_close(struct user_op_call *call, void *arg)
{
	return window_close(call->endpoint, arg);
}

/* The one table of ioctls. */
static const struct user_op {
	unsigned int cmd;
	u32 size, min_size;
	u32 flags;
#define OP_FAILS_OUT BIT(0) /* the structure is written back on failure too */
	int (*fn)(struct user_op_call *call, void *arg);
} user_ops[] = {
/* The last field of the first published version: what a caller at least has to give. */
#define OP(_cmd, _type, _last, _flags, _fn)                                               \
	{                                                                                 \
		_cmd, sizeof(struct _type), offsetofend(struct _type, _last), _flags, _fn \
	}
	OP(POPCORN_MSG_IOC_INFO, popcorn_msg_info, self, 0, op_info),
	OP(POPCORN_MSG_IOC_BIND, popcorn_msg_name, name, 0, op_bind),
	OP(POPCORN_MSG_IOC_JOIN, popcorn_msg_name, name, 0, op_join),
	OP(POPCORN_MSG_IOC_LEAVE, popcorn_msg_name, name, 0, op_leave),
	OP(POPCORN_MSG_IOC_LOOKUP, popcorn_msg_lookup, name, 0, op_lookup),
	OP(POPCORN_MSG_IOC_SEND, popcorn_msg_send_args, reserved, 0, op_send),
	OP(POPCORN_MSG_IOC_RECEIVE, popcorn_msg_receive, group, OP_FAILS_OUT, op_receive),
	OP(POPCORN_MSG_IOC_CALL, popcorn_msg_call_args, status, 0, op_call),
	OP(POPCORN_MSG_IOC_REPLY, popcorn_msg_reply_args, reserved, 0, op_reply),
	OP(POPCORN_MSG_IOC_MEMBERS, popcorn_msg_members, members, 0, op_members),
	OP(POPCORN_MSG_IOC_PING, popcorn_msg_ping, ns, 0, op_ping),
	OP(POPCORN_MSG_IOC_STATS, popcorn_msg_counters, latency, 0, op_stats),
	OP(POPCORN_MSG_IOC_WINDOW_CREATE, popcorn_msg_window, offset, 0, op_window_create),
	OP(POPCORN_MSG_IOC_WINDOW_OPEN, popcorn_msg_window, offset, 0, op_window_open),
	OP(POPCORN_MSG_IOC_WINDOW_CLOSE, popcorn_msg_window, offset, 0, op_window_close),
#undef OP
};

static const struct user_op *find_op(unsigned int cmd)
{
	const struct user_op *op;

	/* A caller of another version has another size in the number; the structure says it too. */
	for (op = user_ops; op < user_ops + ARRAY_SIZE(user_ops); op++)
		if ((op->cmd & ~IOCSIZE_MASK) == (cmd & ~IOCSIZE_MASK))
			return op;
	return NULL;
}

static long user_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	struct user_op_call call = { file, file->private_data };
	const struct user_op *op = find_op(cmd);
	union {
		struct popcorn_msg_info info;
		struct popcorn_msg_name name;
		struct popcorn_msg_lookup lookup;
		struct popcorn_msg_send_args send;
		struct popcorn_msg_receive receive;
		struct popcorn_msg_call_args call;
		struct popcorn_msg_reply_args reply;
		struct popcorn_msg_members members;
		struct popcorn_msg_ping ping;
		struct popcorn_msg_counters counters;
		struct popcorn_msg_window window;
	} arg;
	void __user *argp = (void __user *)user;
	u32 size;
	bool out;
	int err;

	if (!op)
		return -ENOTTY;
	out = _IOC_DIR(op->cmd) & _IOC_READ;
	err = popcorn_args_read(&arg, op->size, op->min_size, out, argp, &size);
	if (err)
		return err;
	err = op->fn(&call, &arg);
	if (out && (!err || (op->flags & OP_FAILS_OUT)) && copy_to_user(argp, &arg, size))
		err = err ?: -EFAULT;
	return err;
}

static __poll_t user_poll(struct file *file, poll_table *table)
{
	struct endpoint *endpoint = file->private_data;
	__poll_t mask = EPOLLOUT | EPOLLWRNORM;

	poll_wait(file, &endpoint->wait, table);
	members_poll(file, table);
	if (!list_empty_careful(&endpoint->queue))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (atomic_read(&endpoint->members_seen) != members_sequence())
		mask |= EPOLLPRI;
	return mask;
}

static int user_mmap(struct file *file, struct vm_area_struct *vma)
{
	return window_mmap(file->private_data, vma);
}

static int user_open(struct inode *inode, struct file *file)
{
	struct endpoint *endpoint = endpoint_open();

	if (IS_ERR(endpoint))
		return PTR_ERR(endpoint);
	file->private_data = endpoint;
	return stream_open(inode, file);
}

static int user_release(struct inode *inode, struct file *file)
{
	endpoint_close(file->private_data);
	return 0;
}

static const struct file_operations user_fops = {
	.owner = THIS_MODULE,
	.open = user_open,
	.release = user_release,
	.unlocked_ioctl = user_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = user_poll,
	.mmap = user_mmap,
	.llseek = noop_llseek,
};

static struct miscdevice user_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "popcorn-msg",
	.fops = &user_fops,
	.mode = 0660,
};

/* For debugfs: what is there now; all of it is 0 when no process has the device open. */
void user_show(struct seq_file *file)
{
	seq_printf(file,
		   "endpoints %d messages %d bytes %ld requests %d calls %d windows %d bytes %ld "
		   "openings %d revoking %d\n",
		   atomic_read(&user_count.endpoints), atomic_read(&user_count.messages),
		   atomic_long_read(&user_count.bytes), atomic_read(&user_count.requests),
		   atomic_read(&user_count.calls), atomic_read(&user_count.windows),
		   atomic_long_read(&user_count.window_bytes), atomic_read(&user_count.openings),
		   atomic_read(&user_count.revoking));
}

int user_init(void)
{
	int err = windows_init();

	if (err)
		return err;
	err = endpoints_init();
	if (err)
		goto no_endpoints;
	/* Last: from here on there are callers. */
	err = misc_register(&user_device);
	if (err)
		goto no_device;
	return 0;

no_device:
	endpoints_exit();
no_endpoints:
	windows_exit();
	return err;
}

/* Every descriptor holds the module: there is none left. */
void user_exit(void)
{
	misc_deregister(&user_device);
	windows_exit();
	endpoints_exit();
}
