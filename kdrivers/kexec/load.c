// SPDX-License-Identifier: GPL-2.0-only
/* The boot image: segments into the kernel's memory, and its start. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/sched/signal.h>
#include <linux/security.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/ktime.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <popcorn/directory.h>
#include <popcorn/msg.h>

#include "kexec.h"

/* Silence of a CPU after which a kernel is dead, when START does not say: ten beats. */
#define HEARTBEAT_MS 10000
/* One late beat is no death. */
#define HEARTBEAT_MS_MIN (2 * POPCORN_BEAT_MS)
/* struct boot_params is one page. */
#define BOOT_PARAMS_SIZE PAGE_SIZE
/* How much is copied between two looks for a signal. */
#define COPY_CHUNK SZ_1M

static bool overlaps(u64 a, u64 a_size, u64 b, u64 b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* Context: kernel->lock is held. The segments are the kernel's copy, nobody changes them. */
static int segments_check(struct popcorn_kernel *kernel, const struct popcorn_segment *segments,
			  u32 n)
{
	const u64 head = kernel->head_phys;
	u32 i, j;

	for (i = 0; i < n; i++) {
		const struct popcorn_segment *s = &segments[i];

		if (!s->memsz || !PAGE_ALIGNED(s->mem) || !PAGE_ALIGNED(s->memsz) ||
		    s->bufsz > s->memsz)
			return -EINVAL;
		if (!popcorn_find_range(kernel, s->mem, s->memsz))
			return -ERANGE;
		/* No overflow from here on: it lies in a range. */
		if (overlaps(s->mem, s->memsz, head, POPCORN_HEAD_SIZE) &&
		    (s->mem < head + POPCORN_HEAD_TABLES ||
		     s->mem + s->memsz > head + POPCORN_HEAD_TABLES_END))
			return -ERANGE;
		for (j = 0; j < i; j++)
			if (overlaps(s->mem, s->memsz, segments[j].mem, segments[j].memsz))
				return -ERANGE;
	}
	return 0;
}

static int segment_copy(struct popcorn_kernel *kernel, const struct popcorn_segment *s)
{
	struct popcorn_mem *mem = popcorn_find_range(kernel, s->mem, s->memsz);
	struct iovec iov = { u64_to_user_ptr(s->buf), s->bufsz };
	u8 *to = mem->virt + (s->mem - mem->start);
	struct iov_iter from;
	u64 done, n;

	if (!access_ok(iov.iov_base, iov.iov_len))
		return -EFAULT;
	iov_iter_init(&from, ITER_SOURCE, &iov, 1, iov.iov_len);
	/* Past the caches: tens of megabytes that this CPU will not look at again. */
	for (done = 0; done < s->bufsz; done += n) {
		n = min_t(u64, s->bufsz - done, COPY_CHUNK);
		if (copy_from_iter_nocache(to + done, n, &from) != n)
			return -EFAULT;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	n = PAGE_ALIGN(done) - done;
	memset(to + done, 0, n);
	/* By words: to a CPU in software a byte is as much work as a word. */
	for (done += n; done < s->memsz; done += n) {
		n = min_t(u64, s->memsz - done, COPY_CHUNK);
		memset64((u64 *)(to + done), 0, n / sizeof(u64));
		cond_resched();
	}
	/* What went past the caches is in no order with what follows, such as START. */
	wmb();
	return 0;
}

/*
 * Copies under kernel->lock, from user memory: no CPU of a kernel that is being loaded runs, so
 * nobody has to wait for the lock to stop one.
 */
int popcorn_load(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_segment *segments __free(kfree) = NULL;
	struct popcorn_load *load = arg;
	u32 i, n = load->nr_segments;
	int err;

	if (!n || n > POPCORN_SEGMENTS_MAX)
		return -EINVAL;
	err = security_locked_down(LOCKDOWN_KEXEC);
	if (err)
		return -EPERM;
	if (!popcorn_fault())
		segments = kcalloc(n, sizeof(*segments), GFP_KERNEL);
	if (!segments)
		return -ENOMEM;
	if (copy_from_user(segments, u64_to_user_ptr(load->segments), n * sizeof(*segments)))
		return -EFAULT;

	err = popcorn_lock(kernel);
	if (err)
		return err;
	err = -EBUSY;
	if (kernel->releasing ||
	    (kernel->state != POPCORN_STATE_RESERVED && kernel->state != POPCORN_STATE_LOADING))
		goto unlock;
	err = segments_check(kernel, segments, n);
	if (err)
		goto unlock;

	kernel->loaded = false;
	popcorn_set_state(kernel, POPCORN_STATE_LOADING, POPCORN_REASON_NONE);
	for (i = 0; i < n && !err; i++) {
		err = popcorn_fault() ? -EFAULT : segment_copy(kernel, &segments[i]);
		kernel->segments[i] = segments[i];
		kernel->segments[i].buf = 0;
	}
	if (err)
		goto unlock;
	kernel->nr_segments = n;
	kernel->loaded = true;
	kernel->times[POPCORN_TIME_LOADED] = ktime_get_boottime_ns();
unlock:
	mutex_unlock(&kernel->lock);
	return err;
}

static bool in_segment(const struct popcorn_kernel *kernel, u64 start, u64 size)
{
	const struct popcorn_segment *s;
	u32 i;

	for (i = 0; i < kernel->nr_segments; i++) {
		s = &kernel->segments[i];
		if (start >= s->mem && start - s->mem < s->memsz &&
		    size <= s->memsz - (start - s->mem))
			return true;
	}
	return false;
}

/* What the secondary finds when it looks for the first time. */
static void head_write(struct popcorn_kernel *kernel)
{
	struct popcorn_head *head = kernel->head;

	/* User space may have mapped it, and written into it. */
	memset(head, 0, POPCORN_HEAD_TABLES);
	head->magic = POPCORN_HEAD_MAGIC;
	head->version = POPCORN_HEAD_VERSION;
	head->size = sizeof(*head);
	head->id = kernel->id;
	head->generation = kernel->generation;
	head->nr_cpus = kernel->nr_cpus;
	head->beat_ms = POPCORN_BEAT_MS;
	head->head = kernel->head_phys;
	head->low_start = kernel->low_start;
	head->low_length = kernel->low_length;
	head->boot_apicid = per_cpu(x86_cpu_to_apicid, 0);
	strscpy(head->name, kernel->name, sizeof(head->name));
}

/*
 * Enters the kernel into the directory of the message layer, with all that it owns, and tells it where
 * that is. Without, it has no messages, but runs.
 */
static void announce(struct popcorn_kernel *kernel)
{
	struct popcorn_directory_range *ranges __free(popcorn_kvfree) = NULL;
	u32 *apicids __free(popcorn_kvfree) = NULL;
	struct popcorn_msg_life life = {
		.id = kernel->id,
		.generation = kernel->generation,
		.nr_apicids = kernel->nr_cpus,
	};
	struct popcorn_mem *mem;
	u64 directory = 0;
	int err = -ENOMEM;
	u32 i;

	ranges = kvmalloc_array(kernel->nr_ranges + 1, sizeof(*ranges), GFP_KERNEL);
	apicids = kvmalloc_array(kernel->nr_cpus, sizeof(*apicids), GFP_KERNEL);
	if (ranges && apicids) {
		list_for_each_entry(mem, &kernel->ranges, list)
			ranges[life.nr_ranges++] =
				(struct popcorn_directory_range){ mem->start, mem->length };
		ranges[life.nr_ranges++] =
			(struct popcorn_directory_range){ kernel->low_start, kernel->low_length };
		for (i = 0; i < kernel->nr_cpus; i++)
			apicids[i] = kernel->cpus[i].apicid;
		life.ranges = ranges;
		life.apicids = apicids;
		err = popcorn_msg_start(&life, &directory);
	}
	if (err)
		pr_warn("kernel %s has no messages: error %d\n", kernel->name, err);
	kernel->head->directory = directory;
}

/* Context: start_gate and kernel->lock are held. */
static int start_locked(struct popcorn_kernel *kernel, const struct popcorn_start *start)
{
	u64 cr3;
	u32 i;
	int err;

	if (shutting_down || kernel->releasing || kernel->state != POPCORN_STATE_LOADING ||
	    !kernel->loaded || !kernel->nr_cpus)
		return -EBUSY;
	if (!in_segment(kernel, start->entry, 1) ||
	    !in_segment(kernel, start->boot_params, BOOT_PARAMS_SIZE))
		return -ERANGE;
	err = popcorn_pgtable(kernel, &cr3);
	if (err)
		return err;
	if (popcorn_fault())
		return -ENOMEM;

	kernel->heartbeat_ms = start->heartbeat_ms ?: HEARTBEAT_MS;
	kernel->times[POPCORN_TIME_START] = ktime_get_boottime_ns();
	head_write(kernel);
	announce(kernel);
	popcorn_devices_start(kernel);
	popcorn_bell_add(kernel);
	/*
	 * From here on any of its CPUs may run something else than this kernel: the boot CPU
	 * starts the others as it likes.
	 */
	for (i = 0; i < kernel->nr_cpus; i++)
		kernel->cpus[i].started = true;
	err = popcorn_cpu_start(kernel, cr3, start->entry, start->boot_params);
	if (err) {
		popcorn_end(kernel, POPCORN_STATE_FAILED, POPCORN_REASON_NO_START);
		return err;
	}
	kernel->times[POPCORN_TIME_ENTERED] = ktime_get_boottime_ns();
	popcorn_set_state(kernel, POPCORN_STATE_BOOTING, POPCORN_REASON_NONE);
	popcorn_watch_start(kernel);
	return 0;
}

int popcorn_start(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_start *start = arg;
	int err;

	if (start->heartbeat_ms && start->heartbeat_ms < HEARTBEAT_MS_MIN)
		return -EINVAL;
	if (down_read_interruptible(&start_gate))
		return -EINTR;
	err = popcorn_lock(kernel);
	if (!err) {
		err = start_locked(kernel, start);
		mutex_unlock(&kernel->lock);
	}
	up_read(&start_gate);
	return err;
}
