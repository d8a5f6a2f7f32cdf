// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel object: one secondary and all that it owns. It lives until RELEASE, whoever closes
 * what; its descriptors only refer to it.
 */
#include <linux/anon_inodes.h>
#include <linux/ctype.h>
#include <linux/file.h>
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/ktime.h>
#include <linux/uaccess.h>
#include <popcorn/msg.h>

#include "kexec.h"

static DEFINE_MUTEX(kernels_lock);
static DEFINE_IDR(kernels); /* every kernel that was not released, each with a reference */
static u32 nr_kernels, last_generation;

void popcorn_get(struct popcorn_kernel *kernel)
{
	kref_get(&kernel->ref);
}

static void kernel_free(struct kref *ref)
{
	struct popcorn_kernel *kernel = container_of(ref, struct popcorn_kernel, ref);

	popcorn_inode_free(kernel->inode);
	kvfree(kernel->cpus);
	mutex_destroy(&kernel->lock);
	mutex_destroy(&kernel->input_lock);
	mutex_destroy(&kernel->devices_lock);
	kfree(kernel);
}

/* Context: may sleep. */
void popcorn_put(struct popcorn_kernel *kernel)
{
	kref_put(&kernel->ref, kernel_free);
}

u32 popcorn_nr_kernels(void)
{
	return READ_ONCE(nr_kernels);
}

/* The kernel with the lowest id above *@id, with a reference, or NULL. Advances *@id. */
struct popcorn_kernel *popcorn_next(u32 *id)
{
	struct popcorn_kernel *kernel;
	int next = *id + 1;

	guard(mutex)(&kernels_lock);
	kernel = idr_get_next(&kernels, &next);
	if (kernel) {
		popcorn_get(kernel);
		*id = next;
	}
	return kernel;
}

/* 0 with kernel->lock held, -EINTR, or -ENODEV if the kernel was released. */
int popcorn_lock(struct popcorn_kernel *kernel)
{
	if (mutex_lock_interruptible(&kernel->lock))
		return -EINTR;
	if (kernel->released) {
		mutex_unlock(&kernel->lock);
		return -ENODEV;
	}
	return 0;
}

/* Whether its CPUs may be running. */
bool popcorn_alive(const struct popcorn_kernel *kernel)
{
	u32 state = READ_ONCE(kernel->state);

	return state == POPCORN_STATE_BOOTING || state == POPCORN_STATE_RUNNING ||
	       state == POPCORN_STATE_STOPPING;
}

/*
 * The one place where a state changes, so that no change goes unheard: history, descriptors that
 * are polled, console readers that wait for the end, netlink.
 *
 * Context: kernel->lock is held. State 0 is that of a released kernel.
 */
void popcorn_set_state(struct popcorn_kernel *kernel, u32 state, u32 reason)
{
	u32 old = kernel->state;
	u64 now = ktime_get_boottime_ns();

	lockdep_assert_held(&kernel->lock);
	if (old == state && kernel->reason == reason)
		return;
	if (state == POPCORN_STATE_RUNNING)
		kernel->times[POPCORN_TIME_RUNNING] = now;
	if (state == POPCORN_STATE_STOPPED || state == POPCORN_STATE_CRASHED ||
	    state == POPCORN_STATE_FAILED)
		if (!kernel->times[POPCORN_TIME_ENDED])
			kernel->times[POPCORN_TIME_ENDED] = now;
	WRITE_ONCE(kernel->state, state);
	kernel->reason = reason;
	atomic_inc(&kernel->seq);
	wake_up_interruptible_all(&kernel->wait);
	wake_up_interruptible_all(&kernel->console_wait);
	popcorn_event(kernel, old, state, reason, now);
}

/*
 * Parks all CPUs and only then says that the kernel ended. -EIO: one was not seen stopped.
 *
 * Context: kernel->lock is held.
 */
int popcorn_end(struct popcorn_kernel *kernel, u32 state, u32 reason)
{
	int err;

	/*
	 * First nobody sends it a message or rings at it any more, then its CPUs are taken: an interrupt for a CPU
	 * that waits for a start-up interrupt is lost on a real one, but wakes QEMU's now and then,
	 * which then executes the firmware until it falls.
	 */
	popcorn_msg_end(kernel->id, kernel->generation, false);
	popcorn_devices_end(kernel);
	popcorn_bell_quiet(kernel);
	err = popcorn_cpus_park(kernel);
	if (err) {
		popcorn_set_state(kernel, POPCORN_STATE_FAILED, POPCORN_REASON_CPU_STUCK);
		return err;
	}
	popcorn_msg_end(kernel->id, kernel->generation, true);
	popcorn_set_state(kernel, state, reason);
	return 0;
}

/* Descriptors */

struct kernel_file {
	struct popcorn_kernel *kernel;
	atomic_t seen; /* kernel->seq when STATUS was last asked for */
};

static long kernel_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct kernel_file *kf = file->private_data;
	struct popcorn_call call = { .kernel = kf->kernel, .seen = &kf->seen };

	return popcorn_ioctl(&call, cmd, arg);
}

static __poll_t kernel_poll(struct file *file, poll_table *wait)
{
	struct kernel_file *kf = file->private_data;
	__poll_t events = 0;

	poll_wait(file, &kf->kernel->wait, wait);
	if (atomic_read(&kf->seen) != atomic_read(&kf->kernel->seq))
		events |= EPOLLPRI;
	if (READ_ONCE(kf->kernel->released))
		events |= EPOLLHUP;
	return events;
}

static int kernel_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct kernel_file *kf = file->private_data;

	return popcorn_mmap(kf->kernel, vma);
}

static int kernel_close(struct inode *inode, struct file *file)
{
	struct kernel_file *kf = file->private_data;

	popcorn_put(kf->kernel);
	kfree(kf);
	return 0;
}

static const struct file_operations kernel_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = kernel_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = kernel_poll,
	.mmap = kernel_mmap,
	.release = kernel_close,
	.llseek = noop_llseek,
};

/* Takes over @file: it is installed when the answer was delivered. Returns its number to be. */
int popcorn_new_fd(struct popcorn_call *call, struct file *file)
{
	int fd = popcorn_fault() ? -EMFILE : get_unused_fd_flags(O_CLOEXEC);

	if (fd < 0) {
		fput(file);
		return fd;
	}
	call->new_file = file;
	call->new_fd = fd;
	return fd;
}

static int kernel_new_fd(struct popcorn_call *call, struct popcorn_kernel *kernel)
{
	struct kernel_file *kf = popcorn_fault() ? NULL : kzalloc(sizeof(*kf), GFP_KERNEL);
	struct file *file;

	if (!kf)
		return -ENOMEM;
	kf->kernel = kernel;
	atomic_set(&kf->seen, atomic_read(&kernel->seq));
	file = anon_inode_getfile("[popcorn]", &kernel_fops, kf, O_RDWR);
	if (IS_ERR(file)) {
		kfree(kf);
		return PTR_ERR(file);
	}
	/* The inode is shared by everything anonymous; mappings of this kernel must be found. */
	file->f_mapping = kernel->inode->i_mapping;
	popcorn_get(kernel);
	return popcorn_new_fd(call, file);
}

/* CREATE, OPEN, LIST */

static bool name_valid(const char *name)
{
	size_t i, len = strnlen(name, POPCORN_NAME_MAX);

	if (!len || len == POPCORN_NAME_MAX || !isascii(name[0]) || !isalnum(name[0]))
		return false;
	for (i = 1; i < len; i++)
		if (!isascii(name[i]) || (!isalnum(name[i]) && !strchr("_.-", name[i])))
			return false;
	return true;
}

/* Gives @kernel its name and id, unless somebody has them. Takes a reference. */
static int kernel_insert(struct popcorn_kernel *kernel)
{
	struct popcorn_kernel *other;
	int id;

	guard(mutex)(&kernels_lock);
	idr_for_each_entry(&kernels, other, id)
		if (!strcmp(other->name, kernel->name))
			return -EEXIST;
	id = popcorn_fault() ? -ENOMEM
			     : idr_alloc(&kernels, kernel, 1, POPCORN_KERNELS_MAX + 1, GFP_KERNEL);
	if (id < 0)
		return id;
	kernel->id = id;
	kernel->generation = ++last_generation;
	WRITE_ONCE(nr_kernels, nr_kernels + 1);
	/* A kernel keeps this module: there would be nobody to stop it. */
	__module_get(THIS_MODULE);
	popcorn_get(kernel);
	return 0;
}

int popcorn_create(struct popcorn_call *call, void *arg)
{
	struct popcorn_create *create = arg;
	struct popcorn_kernel *kernel;
	int err;

	if (create->flags || !name_valid(create->name))
		return -EINVAL;

	kernel = popcorn_fault() ? NULL : kzalloc(sizeof(*kernel), GFP_KERNEL);
	if (!kernel)
		return -ENOMEM;
	kref_init(&kernel->ref);
	strscpy(kernel->name, create->name, sizeof(kernel->name));
	mutex_init(&kernel->lock);
	mutex_init(&kernel->input_lock);
	mutex_init(&kernel->devices_lock);
	init_rwsem(&kernel->mem_lock);
	INIT_LIST_HEAD(&kernel->ranges);
	INIT_LIST_HEAD(&kernel->bell);
	init_waitqueue_head(&kernel->wait);
	init_waitqueue_head(&kernel->console_wait);
	INIT_WORK(&kernel->work, popcorn_work);
	INIT_DELAYED_WORK(&kernel->watch, popcorn_watch);
	kernel->times[POPCORN_TIME_CREATED] = ktime_get_boottime_ns();

	kernel->inode = popcorn_inode_new();
	if (IS_ERR(kernel->inode)) {
		err = PTR_ERR(kernel->inode);
		kernel->inode = NULL;
		goto put;
	}
	err = popcorn_low_get(&kernel->low_start, &kernel->low_length, &kernel->low);
	if (err)
		goto put;
	/* It can be opened as soon as it has an id: it must have its state then. */
	mutex_lock(&kernel->lock);
	err = kernel_insert(kernel);
	if (!err)
		popcorn_set_state(kernel, POPCORN_STATE_RESERVED, POPCORN_REASON_NONE);
	mutex_unlock(&kernel->lock);
	if (err) {
		popcorn_low_put(kernel->low_start);
		goto put;
	}

	call->created = kernel;
	err = kernel_new_fd(call, kernel);
	if (err < 0)
		return err;
	create->id = kernel->id;
	create->fd = err;
	return 0;
put:
	popcorn_put(kernel);
	return err;
}

int popcorn_open(struct popcorn_call *call, void *arg)
{
	struct popcorn_open *open = arg;
	struct popcorn_kernel *kernel;
	int fd;

	if (open->reserved)
		return -EINVAL;
	scoped_guard(mutex, &kernels_lock) {
		kernel = idr_find(&kernels, open->id);
		if (kernel)
			popcorn_get(kernel);
	}
	if (!kernel)
		return -ENOENT;
	fd = kernel_new_fd(call, kernel);
	popcorn_put(kernel);
	if (fd < 0)
		return fd;
	open->fd = fd;
	return 0;
}

int popcorn_list(struct popcorn_call *call, void *arg)
{
	struct popcorn_list *list = arg;
	u32 room = min_t(u32, list->count, POPCORN_KERNELS_MAX), n = 0;
	u32 *ids __free(popcorn_kvfree) = NULL;
	struct popcorn_kernel *kernel;
	int id;

	ids = kvcalloc(POPCORN_KERNELS_MAX, sizeof(*ids), GFP_KERNEL);
	if (!ids)
		return -ENOMEM;
	scoped_guard(mutex, &kernels_lock)
		idr_for_each_entry(&kernels, kernel, id)
			ids[n++] = id;
	if (room && copy_to_user(u64_to_user_ptr(list->ids), ids, min(room, n) * sizeof(*ids)))
		return -EFAULT;
	list->count = n;
	return 0;
}

/* STOP, RELEASE, STATUS */

int popcorn_stop(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_stop *stop = arg;
	u32 state = POPCORN_STATE_STOPPED;
	int err;

	if (stop->reserved || (stop->mode != POPCORN_STOP_ASK && stop->mode != POPCORN_STOP_KILL))
		return -EINVAL;
	switch (stop->reason) {
	case POPCORN_REASON_REQUESTED:
	case POPCORN_REASON_KILLED:
	case POPCORN_REASON_CANCELLED:
		break;
	case POPCORN_REASON_BOOT_TIMEOUT:
		state = POPCORN_STATE_FAILED;
		break;
	default:
		return -EINVAL;
	}

	err = popcorn_lock(kernel);
	if (err)
		return err;
	if (stop->mode == POPCORN_STOP_ASK) {
		if (kernel->state == POPCORN_STATE_RUNNING) {
			popcorn_set_state(kernel, POPCORN_STATE_STOPPING, stop->reason);
			popcorn_ring(kernel, POPCORN_BELL_SHUTDOWN);
		} else {
			err = -EBUSY;
		}
	} else if (popcorn_alive(kernel)) {
		err = popcorn_end(kernel, state, stop->reason);
	} else if (kernel->state == POPCORN_STATE_RESERVED ||
		   kernel->state == POPCORN_STATE_LOADING) {
		err = -EBUSY;
	}
	mutex_unlock(&kernel->lock);
	return err;
}

/* Context: kernel->lock is held; no CPU of it runs, and no other kernel writes to its memory. */
static int release_locked(struct popcorn_kernel *kernel, u32 *ret_cpus)
{
	/*
	 * First those go who look at the memory (the doorbell's handler, console readers, user
	 * space), then the memory goes.
	 */
	popcorn_bell_remove(kernel);
	popcorn_devices_release(kernel);
	down_write(&kernel->mem_lock);
	kernel->gone = true;
	kernel->head = NULL;
	up_write(&kernel->mem_lock);
	unmap_mapping_range(kernel->inode->i_mapping, 0, 0, 1);
	wake_up_interruptible_all(&kernel->console_wait);

	*ret_cpus = popcorn_cpus_return(kernel);
	popcorn_ranges_return(kernel);
	if (*ret_cpus) {
		popcorn_set_state(kernel, POPCORN_STATE_FAILED, POPCORN_REASON_CPU_STUCK);
		return -EIO;
	}

	popcorn_low_put(kernel->low_start);
	scoped_guard(mutex, &kernels_lock) {
		idr_remove(&kernels, kernel->id);
		WRITE_ONCE(nr_kernels, nr_kernels - 1);
	}
	WRITE_ONCE(kernel->released, true);
	popcorn_set_state(kernel, 0, POPCORN_REASON_NONE);
	/* A watch that waits would let go of the kernel, and of this module, only when it is due. */
	if (cancel_delayed_work(&kernel->watch))
		popcorn_put(kernel);
	/* The table's reference and its hold on the module; the caller has a reference too. */
	popcorn_put(kernel);
	module_put(THIS_MODULE);
	return 0;
}

/*
 * Waits until nobody can write to the kernel's memory any more: neither its own CPUs nor another
 * kernel that has a message for it. -EIO: somebody may, so that nothing at all is given back.
 *
 * Context: kernel->lock is held, but not while others are waited for: meanwhile others may ask how the
 * kernel is. kernel->releasing keeps it from being loaded and started.
 */
static int let_go(struct popcorn_kernel *kernel)
{
	int err = popcorn_cpus_park(kernel);

	if (err) {
		popcorn_set_state(kernel, POPCORN_STATE_FAILED, POPCORN_REASON_CPU_STUCK);
		return err;
	}
	popcorn_msg_end(kernel->id, kernel->generation, true);
	kernel->releasing++;
	mutex_unlock(&kernel->lock);
	err = popcorn_msg_release(kernel->id, kernel->generation);
	/* Nobody holds it for ever: LOAD, which might, is refused. */
	mutex_lock(&kernel->lock);
	kernel->releasing--;
	return err == -EBUSY ? -EIO : err;
}

int popcorn_release(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_release *release = arg;
	int err;

	if (release->reserved)
		return -EINVAL;
	release->kept_cpus = 0;
	release->kept_ranges = 0;
	err = popcorn_lock(kernel);
	if (err)
		return err;
	err = popcorn_alive(kernel) ? -EBUSY : let_go(kernel);
	if (err == -EIO) {
		release->kept_cpus = kernel->nr_cpus;
		release->kept_ranges = kernel->nr_ranges;
	} else if (!err) {
		/* Another RELEASE may have been faster. */
		err = kernel->released ? -ENODEV : release_locked(kernel, &release->kept_cpus);
	}
	mutex_unlock(&kernel->lock);
	return err;
}

/* A kernel whose maker was not told of it. Somebody else may have found and used it already. */
void popcorn_discard(struct popcorn_kernel *kernel)
{
	u32 cpus;

	mutex_lock(&kernel->lock);
	if (!kernel->released && kernel->state == POPCORN_STATE_RESERVED && !kernel->nr_cpus &&
	    !kernel->nr_ranges)
		release_locked(kernel, &cpus);
	mutex_unlock(&kernel->lock);
}

int popcorn_status(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_range *ranges __free(popcorn_kvfree) = NULL;
	u32 *cpus __free(popcorn_kvfree) = NULL;
	struct popcorn_status *status = arg;
	u32 room_cpus = min_t(u32, status->nr_cpus, POPCORN_CPUS_MAX);
	u32 room_ranges = min_t(u32, status->nr_ranges, POPCORN_RANGES_MAX);
	u32 i, n_cpus, n_ranges, *apicids;
	struct popcorn_mem *mem;
	int err;

	/* Collected here and handed over without the lock: see kexec.h. */
	cpus = kvcalloc(2 * room_cpus + 1, sizeof(*cpus), GFP_KERNEL);
	ranges = kvcalloc(room_ranges + 1, sizeof(*ranges), GFP_KERNEL);
	if (!cpus || !ranges)
		return -ENOMEM;
	apicids = cpus + room_cpus;

	err = popcorn_lock(kernel);
	if (err)
		return err;
	n_cpus = min(room_cpus, kernel->nr_cpus);
	for (i = 0; i < n_cpus; i++) {
		cpus[i] = kernel->cpus[i].cpu;
		apicids[i] = kernel->cpus[i].apicid;
	}
	n_ranges = 0;
	list_for_each_entry(mem, &kernel->ranges, list) {
		if (n_ranges == room_ranges)
			break;
		ranges[n_ranges++] = (struct popcorn_range){
			.start = mem->start,
			.length = mem->length,
			.kind = mem->kind,
			.node = mem->node,
		};
	}
	status->id = kernel->id;
	status->generation = kernel->generation;
	status->state = kernel->state;
	status->reason = kernel->reason;
	status->nr_cpus = kernel->nr_cpus;
	status->nr_ranges = kernel->nr_ranges;
	status->low_length = kernel->low_length;
	status->low_start = kernel->low_start;
	status->head = kernel->head_phys;
	memcpy(status->times, kernel->times, sizeof(status->times));
	memcpy(status->name, kernel->name, sizeof(status->name));
	memcpy(status->release, kernel->release, sizeof(status->release));
	memcpy(status->text, kernel->text, sizeof(status->text));
	atomic_set(call->seen, atomic_read(&kernel->seq));
	mutex_unlock(&kernel->lock);

	if ((status->cpus &&
	     copy_to_user(u64_to_user_ptr(status->cpus), cpus, n_cpus * sizeof(*cpus))) ||
	    (status->apicids &&
	     copy_to_user(u64_to_user_ptr(status->apicids), apicids, n_cpus * sizeof(*cpus))) ||
	    (status->ranges &&
	     copy_to_user(u64_to_user_ptr(status->ranges), ranges, n_ranges * sizeof(*ranges))))
		return -EFAULT;
	return 0;
}
