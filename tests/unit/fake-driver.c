// SPDX-License-Identifier: GPL-2.0-or-later
/* The driver of the fake machine: the states and errors of uapi/popcorn.h, and no kernel. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake.h"
#include "util.h"

int fake_step(struct fake *fake, bool *ret_after);
void fake_lock(struct fake *fake);
void fake_die(struct fake *fake);
void fake_cpus_changed(struct fake *fake);

/*
 * Descriptors of kernels, of this process: one end of a socket pair each. Out-of-band data that is
 * waiting there is what poll() calls POLLPRI.
 */
#define HANDLES_MAX 256
static struct handle {
	bool used;
	int fd, peer;
	unsigned slot;
	uint32_t generation;
	bool changed;
} handles[HANDLES_MAX];
static pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER;

struct fake_device {
	struct driver driver;
	struct fake *fake;
};

static struct fake *fake_of(struct driver *driver)
{
	return ((struct fake_device *)driver)->fake;
}

static int new_handle(struct fake *fake, unsigned slot)
{
	int pair[2], fd = -EMFILE;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pthread_mutex_lock(&handles_lock);
	for (unsigned i = 0; i < HANDLES_MAX && fd < 0; i++) {
		/* The number was closed and is used again: what was known of it is past. */
		if (handles[i].used && handles[i].fd == pair[0]) {
			close(handles[i].peer);
			handles[i].used = false;
		}
	}
	for (unsigned i = 0; i < HANDLES_MAX && fd < 0; i++) {
		if (handles[i].used)
			continue;
		handles[i] = (struct handle){
			true, pair[0], pair[1], slot, fake->kernels[slot].generation, false
		};
		fd = pair[0];
	}
	pthread_mutex_unlock(&handles_lock);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static struct fake_kernel *kernel_of(struct fake *fake, int fd, struct handle **ret)
{
	for (unsigned i = 0; i < HANDLES_MAX; i++) {
		struct handle *h = &handles[i];

		if (!h->used || h->fd != fd)
			continue;
		if (ret)
			*ret = h;
		if (!fake->kernels[h->slot].used ||
		    fake->kernels[h->slot].generation != h->generation)
			return NULL;
		return &fake->kernels[h->slot];
	}
	ck_abort_msg("%d is not a kernel's descriptor", fd);
	return NULL;
}

static void set_state(struct fake *fake, struct fake_kernel *kernel, enum popcorn_state state,
		      enum popcorn_reason reason)
{
	kernel->state = state;
	kernel->reason = reason;
	for (unsigned i = 0; i < HANDLES_MAX; i++) {
		struct handle *h = &handles[i];

		if (h->used && &fake->kernels[h->slot] == kernel && !h->changed) {
			h->changed = true;
			send(h->peer, "x", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);
		}
	}
}

#define STEP(fake)                              \
	bool after_;                            \
	int step_ = fake_step((fake), &after_); \
	if (step_ < 0)                          \
		return step_;                   \
	fake_lock(fake)

#define DONE(fake, result)                           \
	do {                                         \
		int result_ = (result);              \
		if (after_)                          \
			fake_die(fake);              \
		pthread_mutex_unlock(&(fake)->lock); \
		return result_;                      \
	} while (0)

static int do_info(struct driver *driver, struct popcorn_info *ret)
{
	struct fake *fake = fake_of(driver);
	uint32_t n = 0;

	for (unsigned i = 0; i < FAKE_KERNELS_MAX; i++)
		n += fake->kernels[i].used;
	*ret = (struct popcorn_info){
		.size = sizeof(*ret),
		.abi_version = POPCORN_ABI_VERSION,
		.flags = fake->info_flags,
		.tsc_khz = 2000000,
		.low_size = 32768,
		.low_free = fake->low_free,
		.nr_kernels = n,
		.phys_bits = 46,
	};
	return 0;
}

static int do_create(struct driver *driver, const char *name, uint32_t *ret_id, int *ret_fd)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel = NULL;
	STEP(fake);

	if (fake->create_errno)
		DONE(fake, -fake->create_errno);
	for (unsigned i = 0; i < FAKE_KERNELS_MAX; i++) {
		if (fake->kernels[i].used && strcmp(fake->kernels[i].name, name) == 0)
			DONE(fake, -EEXIST);
		if (!fake->kernels[i].used && !kernel)
			kernel = &fake->kernels[i];
	}
	if (!kernel || !fake->low_free)
		DONE(fake, -ENOSPC);
	memset(kernel, 0, sizeof(*kernel));
	kernel->used = true;
	kernel->generation = ++fake->generations;
	kernel->state = POPCORN_STATE_RESERVED;
	strcpy(kernel->name, name);
	fake->low_free--;
	*ret_id = (uint32_t)(kernel - fake->kernels) + 1;
	*ret_fd = new_handle(fake, (unsigned)(kernel - fake->kernels));
	DONE(fake, 0);
}

static int do_open(struct driver *driver, uint32_t id, int *ret_fd)
{
	struct fake *fake = fake_of(driver);

	if (id == 0 || id > FAKE_KERNELS_MAX || !fake->kernels[id - 1].used)
		return -ENOENT;
	*ret_fd = new_handle(fake, id - 1);
	return 0;
}

static int do_list(struct driver *driver, uint32_t **ret_ids, size_t *ret_n)
{
	struct fake *fake = fake_of(driver);
	uint32_t *ids = calloc(FAKE_KERNELS_MAX, sizeof(*ids));
	size_t n = 0;

	for (unsigned i = 0; i < FAKE_KERNELS_MAX; i++)
		if (fake->kernels[i].used)
			ids[n++] = i + 1;
	*ret_ids = ids;
	*ret_n = n;
	return 0;
}

static int do_add_cpus(struct driver *driver, int fd, const uint32_t *cpus, size_t n,
		       uint32_t *ret_bad)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;

	*ret_bad = UINT32_MAX;
	STEP(fake);
	kernel = kernel_of(fake, fd, NULL);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (kernel->state != POPCORN_STATE_RESERVED)
		DONE(fake, -EBUSY);
	for (size_t i = 0; i < n; i++) {
		*ret_bad = cpus[i];
		if (cpus[i] == 0)
			DONE(fake, -EINVAL);
		if (cpus[i] >= fake->n_cpus)
			DONE(fake, -ENOENT);
		if (!fake->online[cpus[i]] || fake->lent[cpus[i]] || fake->refuse_cpu[cpus[i]])
			DONE(fake, -EBUSY);
	}
	*ret_bad = UINT32_MAX;
	for (size_t i = 0; i < n; i++) {
		fake->online[cpus[i]] = false;
		fake->lent[cpus[i]] = true;
		kernel->cpus[kernel->n_cpus++] = cpus[i];
	}
	fake_cpus_changed(fake);
	DONE(fake, 0);
}

static int do_add_memory(struct driver *driver, int fd, uint32_t kind, uint64_t start,
			 uint64_t length)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;
	uint64_t first = start / FAKE_BLOCK_SIZE, last = (start + length - 1) / FAKE_BLOCK_SIZE;
	STEP(fake);

	kernel = kernel_of(fake, fd, NULL);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (length == 0 || (start | length) % POPCORN_MEMORY_ALIGN || last >= fake->n_blocks)
		DONE(fake, -EINVAL);
	if (kernel->state != POPCORN_STATE_RESERVED)
		DONE(fake, -EBUSY);
	if (kind == POPCORN_MEMORY_CONTIG) {
		fake->contig_tries++;
		if (fake->contig_refusals) {
			if (fake->contig_refusals != UINT_MAX)
				fake->contig_refusals--;
			DONE(fake, -EBUSY);
		}
	}
	for (uint64_t i = first; i <= last; i++)
		if (fake->blocks[i].online != (kind == POPCORN_MEMORY_CONTIG))
			DONE(fake, -EBUSY);
	for (unsigned k = 0; k < FAKE_KERNELS_MAX; k++)
		for (uint32_t i = 0; fake->kernels[k].used && i < fake->kernels[k].n_ranges; i++) {
			const struct popcorn_range *range = &fake->kernels[k].ranges[i];

			if (range->start < start + length && start < range->start + range->length)
				DONE(fake, -EBUSY);
		}
	kernel->ranges[kernel->n_ranges++] =
		(struct popcorn_range){ start, length, kind, fake->blocks[first].node };
	DONE(fake, 0);
}

static int do_load(struct driver *driver, int fd, const struct popcorn_segment *segments, size_t n)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;
	STEP(fake);

	kernel = kernel_of(fake, fd, NULL);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (kernel->state != POPCORN_STATE_RESERVED && kernel->state != POPCORN_STATE_LOADING)
		DONE(fake, -EBUSY);
	if (fake->load_errno)
		DONE(fake, -fake->load_errno);
	for (size_t s = 0; s < n; s++) {
		bool inside = false;

		for (uint32_t i = 0; i < kernel->n_ranges; i++)
			inside = inside ||
				 (segments[s].mem >= kernel->ranges[i].start &&
				  segments[s].mem + segments[s].memsz <=
					  kernel->ranges[i].start + kernel->ranges[i].length);
		if (!inside)
			DONE(fake, -ERANGE);
		kernel->loaded[s].start = segments[s].mem;
		kernel->loaded[s].size = segments[s].memsz;
		memcpy(kernel->loaded[s].bytes, (const void *)(uintptr_t)segments[s].buf,
		       segments[s].bufsz < sizeof(kernel->loaded[s].bytes)
			       ? segments[s].bufsz
			       : sizeof(kernel->loaded[s].bytes));
	}
	kernel->times[POPCORN_TIME_LOADED] = 1;
	set_state(fake, kernel, POPCORN_STATE_LOADING, POPCORN_REASON_NONE);
	DONE(fake, 0);
}

static int do_start(struct driver *driver, int fd, uint64_t entry, uint64_t boot_params,
		    unsigned heartbeat_ms)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;
	STEP(fake);

	kernel = kernel_of(fake, fd, NULL);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (kernel->state != POPCORN_STATE_LOADING || kernel->n_cpus == 0)
		DONE(fake, -EBUSY);
	ck_assert_uint_ne(entry, 0);
	ck_assert_uint_ne(boot_params, 0);
	kernel->entry = entry;
	if (fake->start_errno) {
		if (fake->start_errno == ETIME)
			set_state(fake, kernel, POPCORN_STATE_FAILED, POPCORN_REASON_NO_START);
		DONE(fake, -fake->start_errno);
	}
	memcpy(kernel->script, fake->script, sizeof(kernel->script));
	kernel->n_script = fake->n_script;
	kernel->times[POPCORN_TIME_ENTERED] = 2;
	set_state(fake, kernel, POPCORN_STATE_BOOTING, POPCORN_REASON_NONE);
	DONE(fake, 0);
}

static int do_stop(struct driver *driver, int fd, uint32_t mode, uint32_t reason)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;
	STEP(fake);

	kernel = kernel_of(fake, fd, NULL);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (mode == POPCORN_STOP_ASK) {
		if (kernel->state != POPCORN_STATE_RUNNING)
			DONE(fake, -EBUSY);
		set_state(fake, kernel, POPCORN_STATE_STOPPING, reason);
		kernel->n_script = fake->ignores_stop ? 0 : 1;
		kernel->script[0] = POPCORN_STATE_STOPPED;
		DONE(fake, 0);
	}
	switch (kernel->state) {
	case POPCORN_STATE_RESERVED:
	case POPCORN_STATE_LOADING:
		DONE(fake, -EBUSY);
	case POPCORN_STATE_STOPPED:
	case POPCORN_STATE_CRASHED:
	case POPCORN_STATE_FAILED:
		DONE(fake, 0);
	case POPCORN_STATE_BOOTING:
	case POPCORN_STATE_RUNNING:
	case POPCORN_STATE_STOPPING:
		break;
	}
	kernel->n_script = 0;
	if (fake->stuck) {
		fake->stuck--;
		set_state(fake, kernel, POPCORN_STATE_FAILED, POPCORN_REASON_CPU_STUCK);
		DONE(fake, -EIO);
	}
	set_state(fake, kernel,
		  reason == POPCORN_REASON_BOOT_TIMEOUT ? POPCORN_STATE_FAILED
							: POPCORN_STATE_STOPPED,
		  reason);
	DONE(fake, 0);
}

static int do_release(struct driver *driver, int fd, uint32_t *ret_kept_cpus,
		      uint32_t *ret_kept_ranges)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;

	*ret_kept_cpus = *ret_kept_ranges = 0;
	STEP(fake);
	kernel = kernel_of(fake, fd, NULL);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (kernel->state == POPCORN_STATE_BOOTING || kernel->state == POPCORN_STATE_RUNNING ||
	    kernel->state == POPCORN_STATE_STOPPING)
		DONE(fake, -EBUSY);
	if (fake->stuck) {
		fake->stuck--;
		*ret_kept_cpus = 1;
		*ret_kept_ranges = kernel->n_ranges;
		set_state(fake, kernel, POPCORN_STATE_FAILED, POPCORN_REASON_CPU_STUCK);
		DONE(fake, -EIO);
	}
	for (uint32_t i = 0; i < kernel->n_cpus; i++) {
		fake->online[kernel->cpus[i]] = true;
		fake->lent[kernel->cpus[i]] = false;
	}
	kernel->used = false;
	fake->low_free++;
	fake_cpus_changed(fake);
	DONE(fake, 0);
}

static int do_status(struct driver *driver, int fd, struct popcorn_status *ret)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;
	struct handle *handle;
	uint32_t *cpus, *apicids;
	struct popcorn_range *ranges;
	char byte;
	STEP(fake);

	kernel = kernel_of(fake, fd, &handle);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (handle->changed) {
		recv(fd, &byte, 1, MSG_OOB | MSG_DONTWAIT);
		handle->changed = false;
	}
	cpus = calloc(kernel->n_cpus + 1, sizeof(*cpus));
	apicids = calloc(kernel->n_cpus + 1, sizeof(*apicids));
	ranges = calloc(kernel->n_ranges + 1, sizeof(*ranges));
	memcpy(cpus, kernel->cpus, kernel->n_cpus * sizeof(*cpus));
	memcpy(ranges, kernel->ranges, kernel->n_ranges * sizeof(*ranges));
	for (uint32_t i = 0; i < kernel->n_cpus; i++) {
		apicids[i] = cpus[i] * 2;
		if (fake->wrong_cpus)
			cpus[i]++;
	}
	*ret = (struct popcorn_status){
		.size = sizeof(*ret),
		.id = (uint32_t)(kernel - fake->kernels) + 1,
		.generation = kernel->generation,
		.state = kernel->state,
		.reason = kernel->reason,
		.nr_cpus = kernel->n_cpus,
		.nr_ranges = kernel->n_ranges,
		.low_start = 0x10000,
		.low_length = 32768,
		.cpus = (uintptr_t)cpus,
		.apicids = (uintptr_t)apicids,
		.ranges = (uintptr_t)ranges,
	};
	memcpy(ret->times, kernel->times, sizeof(ret->times));
	strcpy(ret->name, kernel->name);
	strcpy(ret->text, kernel->text);
	/* Its life goes on once somebody has seen how it was. */
	if (kernel->n_script && kernel->state != POPCORN_STATE_LOADING) {
		enum popcorn_state next = kernel->script[0];

		memmove(kernel->script, kernel->script + 1, sizeof(kernel->script) - sizeof(next));
		kernel->n_script--;
		if (next == POPCORN_STATE_BOOTING) /* the milestone in between */
			kernel->times[POPCORN_TIME_CHECKIN] = 3;
		if (next == POPCORN_STATE_CRASHED)
			strcpy(kernel->text, fake->end_text);
		set_state(fake, kernel, next, fake->end_reason);
	}
	DONE(fake, 0);
}

static int do_console(struct driver *driver, int fd, int flags, int *ret_fd)
{
	(void)driver, (void)fd, (void)flags, (void)ret_fd;
	return -ENODEV;
}

static int do_add_device(struct driver *driver, int fd, const struct popcorn_add_device *device,
			 uint32_t *ret_slot)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;
	unsigned slot = POPCORN_DEVICES_MAX;
	STEP(fake);

	kernel = kernel_of(fake, fd, NULL);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (kernel->state > POPCORN_STATE_RUNNING)
		DONE(fake, -EBUSY);
	if (device->device < 1 || device->device > 63 || device->nr_queues < 1 ||
	    device->nr_queues > POPCORN_QUEUES_MAX || device->queue_max < 2 ||
	    device->queue_max > POPCORN_QUEUE_SIZE_MAX ||
	    (device->queue_max & (device->queue_max - 1)) ||
	    device->config_length > POPCORN_CONFIG_MAX || !(device->features & 1ULL << 32) ||
	    !memchr(device->name, '\0', sizeof(device->name)) || !device->name[0])
		DONE(fake, -EINVAL);
	for (unsigned i = POPCORN_DEVICES_MAX; i-- > 0;) {
		if (!kernel->devices[i].size)
			slot = i;
		else if (strcmp(kernel->devices[i].name, device->name) == 0)
			DONE(fake, -EEXIST);
	}
	if (slot == POPCORN_DEVICES_MAX || fake->refuse_device == slot + 1)
		DONE(fake, -ENOSPC);
	kernel->devices[slot] = *device;
	kernel->devices[slot].size = sizeof(*device);
	*ret_slot = slot;
	DONE(fake, 0);
}

static int do_remove_device(struct driver *driver, int fd, uint32_t slot)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;
	STEP(fake);

	kernel = kernel_of(fake, fd, NULL);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (slot >= POPCORN_DEVICES_MAX || !kernel->devices[slot].size)
		DONE(fake, -ENOENT);
	kernel->devices[slot].size = 0;
	DONE(fake, 0);
}

static int do_open_device(struct driver *driver, int fd, uint32_t slot, int *ret_fd)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;
	STEP(fake);

	kernel = kernel_of(fake, fd, NULL);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (slot >= POPCORN_DEVICES_MAX || !kernel->devices[slot].size)
		DONE(fake, -ENOENT);
	if (kernel->served[slot] || kernel->state > POPCORN_STATE_STOPPING)
		DONE(fake, -EBUSY);
	*ret_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	DONE(fake, *ret_fd < 0 ? -errno : 0);
}

static int do_device_info(struct driver *driver, int fd, uint32_t slot,
			  struct popcorn_device_info *ret)
{
	struct fake *fake = fake_of(driver);
	struct fake_kernel *kernel;
	STEP(fake);

	kernel = kernel_of(fake, fd, NULL);
	if (!kernel)
		DONE(fake, -ENODEV);
	if (slot >= POPCORN_DEVICES_MAX || !kernel->devices[slot].size)
		DONE(fake, -ENOENT);
	*ret = (struct popcorn_device_info){
		.size = sizeof(*ret),
		.slot = slot,
		.device = kernel->devices[slot].device,
		.served = kernel->served[slot],
	};
	strcpy(ret->name, kernel->devices[slot].name);
	if (kernel->device_failed[slot]) {
		ret->state = POPCORN_DEVICE_FAILED;
		strcpy(ret->text, kernel->device_failed[slot]);
	}
	DONE(fake, 0);
}

static void do_free(struct driver *driver)
{
	free(driver);
}

static const struct driver_ops fake_ops = {
	.info = do_info,
	.create = do_create,
	.open = do_open,
	.list = do_list,
	.add_cpus = do_add_cpus,
	.add_memory = do_add_memory,
	.load = do_load,
	.start = do_start,
	.stop = do_stop,
	.release = do_release,
	.status = do_status,
	.console = do_console,
	.add_device = do_add_device,
	.remove_device = do_remove_device,
	.open_device = do_open_device,
	.device_info = do_device_info,
	.free = do_free,
};

struct driver *fake_driver(struct fake *fake)
{
	struct fake_device *device = calloc(1, sizeof(*device));

	device->driver.ops = &fake_ops;
	device->fake = fake;
	return &device->driver;
}

struct fake_kernel *fake_kernel(struct fake *fake, const char *name)
{
	for (unsigned i = 0; i < FAKE_KERNELS_MAX; i++)
		if (fake->kernels[i].used && strcmp(fake->kernels[i].name, name) == 0)
			return &fake->kernels[i];
	return NULL;
}
