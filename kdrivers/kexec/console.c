// SPDX-License-Identifier: GPL-2.0-only
/*
 * Console descriptors: the two byte rings in the head. Indices only grow; the ones that the other
 * kernel writes are hostile: wrong ones give wrong bytes, never an access outside of the ring.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "kexec.h"

#define OUT_SIZE POPCORN_CONSOLE_OUT_SIZE
#define IN_SIZE POPCORN_CONSOLE_IN_SIZE
/* Bytes that the writer has not started to overwrite: see head.h. */
#define OUT_KEPT (OUT_SIZE - POPCORN_CONSOLE_CHUNK)

struct console_file {
	struct popcorn_kernel *kernel;
	struct mutex lock; /* readers of this descriptor; outside of all others */
	u64 pos;	   /* next byte of the output ring */
	u8 buf[PAGE_SIZE]; /* no user memory is touched while mem_lock is held */
};

static u8 *ring_at(struct popcorn_kernel *kernel, u64 base)
{
	return (u8 *)kernel->head + base;
}

/* The oldest byte that can still be read when @head bytes were written. */
static u64 oldest(u64 head)
{
	return head > OUT_KEPT ? head - OUT_KEPT : 0;
}

/* Whether more may come. A kernel that was not started yet has all before it. */
static bool may_write(const struct popcorn_kernel *kernel)
{
	u32 state = READ_ONCE(kernel->state);

	return popcorn_alive(kernel) || state == POPCORN_STATE_RESERVED ||
	       state == POPCORN_STATE_LOADING;
}

/*
 * Up to @n bytes from the ring into @file->buf; how many. 0: nothing is there, and the kernel was
 * told to ring when there is; *ret_end: nor will there be.
 */
static size_t console_take(struct console_file *file, size_t n, bool *ret_end)
{
	struct popcorn_kernel *kernel = file->kernel;
	u64 head, pos, low, first;
	const u8 *ring;
	/* Before the indices: a kernel that ended has written its last byte before. */
	bool end = !may_write(kernel);

	guard(rwsem_read)(&kernel->mem_lock);
	*ret_end = end || kernel->gone;
	if (kernel->gone || !kernel->head)
		return 0;
	ring = ring_at(kernel, POPCORN_HEAD_CONSOLE_OUT);
	head = smp_load_acquire(&kernel->head->out_head);
	if (head == file->pos && !end) {
		WRITE_ONCE(kernel->head->out_wanted, 1);
		smp_mb(); /* pairs with the writer's: bytes, then out_wanted */
		head = smp_load_acquire(&kernel->head->out_head);
	}
	pos = file->pos;
	if (head - pos > OUT_KEPT) /* fell behind; also an index that went back */
		pos = oldest(head);
	n = min_t(u64, min_t(size_t, n, sizeof(file->buf)), head - pos);
	first = min_t(u64, n, OUT_SIZE - (pos & (OUT_SIZE - 1)));
	memcpy(file->buf, ring + (pos & (OUT_SIZE - 1)), first);
	memcpy(file->buf + first, ring, n - first);

	/* What was overwritten while it was copied is dropped. */
	smp_rmb();
	low = oldest(READ_ONCE(kernel->head->out_head));
	if (low > pos && low - pos <= n) {
		n -= low - pos;
		memmove(file->buf, file->buf + (low - pos), n);
		pos = low;
	} else if (low > pos + n) {
		n = 0;
		pos = low;
	}
	file->pos = pos + n;
	/* All of it was overtaken: there is more, ask again. */
	if (!n && low == pos && head != pos)
		*ret_end = false;
	return n;
}

/* Until the other side has done something; @wait is on its queue. -EAGAIN, -EINTR */
static int console_pause(struct file *filp, wait_queue_entry_t *wait)
{
	if (filp->f_flags & O_NONBLOCK)
		return -EAGAIN;
	if (signal_pending(current))
		return -EINTR;
	wait_woken(wait, TASK_INTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);
	return 0;
}

static ssize_t console_read(struct file *filp, char __user *to, size_t count, loff_t *ppos)
{
	struct console_file *file = filp->private_data;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	ssize_t done = 0;
	bool end;
	size_t n;

	if (!count)
		return 0;
	if (mutex_lock_interruptible(&file->lock))
		return -EINTR;
	/* On the queue before the first look: no wake-up is missed. */
	add_wait_queue(&file->kernel->console_wait, &wait);
	for (;;) {
		n = console_take(file, count - done, &end);
		if (n) {
			if (copy_to_user(to + done, file->buf, n)) {
				/* They can be read again. */
				file->pos -= n;
				done = done ?: -EFAULT;
				break;
			}
			done += n;
			if (done == count)
				break;
			continue;
		}
		if (done || end)
			break;
		done = console_pause(filp, &wait);
		if (done)
			break;
	}
	remove_wait_queue(&file->kernel->console_wait, &wait);
	mutex_unlock(&file->lock);
	return done;
}

/* Room in the input ring; nonsense from the other side is a full ring. Context: mem_lock. */
static u64 input_room(struct popcorn_kernel *kernel)
{
	u64 used = kernel->head->in_head - READ_ONCE(kernel->head->in_tail);

	return used > IN_SIZE ? 0 : IN_SIZE - used;
}

/* Puts up to @n bytes into the input ring; how many, or -EPIPE if nobody will ever read them. */
static ssize_t console_put(struct popcorn_kernel *kernel, const u8 *buf, size_t n)
{
	struct popcorn_head *head;
	u64 at, first;
	u8 *ring;

	guard(mutex)(&kernel->input_lock);
	guard(rwsem_read)(&kernel->mem_lock);
	head = kernel->head;
	if (kernel->gone || !popcorn_alive(kernel) || !head)
		return -EPIPE;
	if (!input_room(kernel)) {
		WRITE_ONCE(head->in_wanted, 1);
		smp_mb(); /* pairs with the reader's: in_tail, then in_wanted */
	}
	n = min_t(u64, n, input_room(kernel));
	if (!n)
		return 0;
	ring = ring_at(kernel, POPCORN_HEAD_CONSOLE_IN);
	at = head->in_head & (IN_SIZE - 1);
	first = min_t(u64, n, IN_SIZE - at);
	memcpy(ring + at, buf, first);
	memcpy(ring, buf + first, n - first);
	smp_store_release(&head->in_head, head->in_head + n);
	popcorn_ring(kernel, POPCORN_BELL_INPUT);
	return n;
}

static ssize_t console_write(struct file *filp, const char __user *from, size_t count, loff_t *ppos)
{
	struct console_file *file = filp->private_data;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	u8 *buf __free(kfree) = NULL;
	ssize_t done = 0, n;

	if (!count)
		return 0;
	/* Short for more than a page: callers go on where it ended. */
	count = min_t(size_t, count, PAGE_SIZE);
	buf = memdup_user(from, count);
	if (IS_ERR(buf))
		return PTR_ERR(buf);

	add_wait_queue(&file->kernel->console_wait, &wait);
	for (;;) {
		n = console_put(file->kernel, buf + done, count - done);
		if (n > 0)
			done += n;
		if (done)
			break;
		if (n < 0) {
			done = n;
			break;
		}
		done = console_pause(filp, &wait);
		if (done)
			break;
	}
	remove_wait_queue(&file->kernel->console_wait, &wait);
	return done;
}

static __poll_t console_poll(struct file *filp, poll_table *wait)
{
	struct console_file *file = filp->private_data;
	struct popcorn_kernel *kernel = file->kernel;
	__poll_t events = 0;

	poll_wait(filp, &kernel->console_wait, wait);
	if (!may_write(kernel))
		events |= EPOLLIN | EPOLLRDNORM | EPOLLHUP;
	guard(rwsem_read)(&kernel->mem_lock);
	if (kernel->gone)
		return events | EPOLLIN | EPOLLRDNORM | EPOLLHUP;
	if (!kernel->head)
		return events;
	WRITE_ONCE(kernel->head->out_wanted, 1);
	if (!input_room(kernel))
		WRITE_ONCE(kernel->head->in_wanted, 1);
	smp_mb(); /* as in console_take() and console_put() */
	if (smp_load_acquire(&kernel->head->out_head) != READ_ONCE(file->pos))
		events |= EPOLLIN | EPOLLRDNORM;
	if (popcorn_alive(kernel) && input_room(kernel))
		events |= EPOLLOUT | EPOLLWRNORM;
	return events;
}

static int console_close(struct inode *inode, struct file *filp)
{
	struct console_file *file = filp->private_data;

	popcorn_put(file->kernel);
	mutex_destroy(&file->lock);
	kfree(file);
	return 0;
}

static const struct file_operations console_fops = {
	.owner = THIS_MODULE,
	.read = console_read,
	.write = console_write,
	.poll = console_poll,
	.release = console_close,
	.llseek = noop_llseek,
};

int popcorn_console(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_console *console = arg;
	struct console_file *file;
	struct file *filp;
	int fd;

	if (console->reserved || (console->flags & ~(O_NONBLOCK | POPCORN_CONSOLE_READ_ONLY)))
		return -EINVAL;
	if (READ_ONCE(kernel->released))
		return -ENODEV;
	file = popcorn_fault() ? NULL : kzalloc(sizeof(*file), GFP_KERNEL);
	if (!file)
		return -ENOMEM;
	file->kernel = kernel;
	mutex_init(&file->lock);
	filp = anon_inode_getfile(
		"[popcorn-console]", &console_fops, file,
		(console->flags & O_NONBLOCK) |
			(console->flags & POPCORN_CONSOLE_READ_ONLY ? O_RDONLY : O_RDWR));
	if (IS_ERR(filp)) {
		kfree(file);
		return PTR_ERR(filp);
	}
	popcorn_get(kernel);
	fd = popcorn_new_fd(call, filp);
	if (fd < 0)
		return fd;
	console->fd = fd;
	return 0;
}
