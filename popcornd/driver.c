// SPDX-License-Identifier: GPL-2.0-or-later
/* The operations of driver.h as ioctls on /dev/popcorn and on the descriptors of kernels. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/ioctl.h>

#include "driver.h"
#include "util.h"

/*
 * Arrays of a status grow between the call that tells their size and the one that fills them only
 * while another thread adds to the kernel, which ends at the limits of the ABI.
 */
#define STATUS_TRIES 64

struct device {
	struct driver driver;
	int fd;
};

static int device_fd(struct driver *driver)
{
	return ((struct device *)driver)->fd;
}

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static int device_info(struct driver *driver, struct popcorn_info *ret)
{
	struct popcorn_info info = { .size = sizeof(info) };
	int r = call(device_fd(driver), POPCORN_IOC_INFO, &info);

	if (r < 0)
		return r;
	*ret = info;
	return 0;
}

static int device_create(struct driver *driver, const char *name, uint32_t *ret_id, int *ret_fd)
{
	struct popcorn_create create = { .size = sizeof(create) };
	int r;

	if (strlen(name) >= sizeof(create.name))
		return -EINVAL;
	strcpy(create.name, name);
	r = call(device_fd(driver), POPCORN_IOC_CREATE, &create);
	if (r < 0)
		return r;
	*ret_id = create.id;
	*ret_fd = create.fd;
	return 0;
}

static int device_open(struct driver *driver, uint32_t id, int *ret_fd)
{
	struct popcorn_open arg = { .size = sizeof(arg), .id = id };
	int r = call(device_fd(driver), POPCORN_IOC_OPEN, &arg);

	if (r < 0)
		return r;
	*ret_fd = arg.fd;
	return 0;
}

static int device_list(struct driver *driver, uint32_t **ret_ids, size_t *ret_n)
{
	struct popcorn_list list = { .size = sizeof(list), .count = POPCORN_KERNELS_MAX };
	_cleanup_free_ uint32_t *ids = calloc(POPCORN_KERNELS_MAX, sizeof(*ids));
	int r;

	if (!ids)
		return -ENOMEM;
	list.ids = (uintptr_t)ids;
	r = call(device_fd(driver), POPCORN_IOC_LIST, &list);
	if (r < 0)
		return r;
	*ret_n = list.count < POPCORN_KERNELS_MAX ? list.count : POPCORN_KERNELS_MAX;
	*ret_ids = steal_ptr(ids);
	return 0;
}

static int device_add_cpus(struct driver *driver, int fd, const uint32_t *cpus, size_t n,
			   uint32_t *ret_bad)
{
	struct popcorn_cpus arg = {
		.size = sizeof(arg),
		.count = (uint32_t)n,
		.cpus = (uintptr_t)cpus,
		.bad_cpu = UINT32_MAX,
	};
	int r;

	if (n > POPCORN_CPUS_MAX)
		return -EINVAL;
	r = call(fd, POPCORN_IOC_ADD_CPUS, &arg);
	/* An output of the failure too. */
	*ret_bad = arg.bad_cpu;
	return r;
}

static int device_add_memory(struct driver *driver, int fd, uint32_t kind, uint64_t start,
			     uint64_t length)
{
	struct popcorn_memory arg = {
		.size = sizeof(arg),
		.kind = kind,
		.start = start,
		.length = length,
	};

	return call(fd, POPCORN_IOC_ADD_MEMORY, &arg);
}

static int device_load(struct driver *driver, int fd, const struct popcorn_segment *segments,
		       size_t n)
{
	struct popcorn_load arg = {
		.size = sizeof(arg),
		.nr_segments = (uint32_t)n,
		.segments = (uintptr_t)segments,
	};

	return n > POPCORN_SEGMENTS_MAX ? -EINVAL : call(fd, POPCORN_IOC_LOAD, &arg);
}

static int device_start(struct driver *driver, int fd, uint64_t entry, uint64_t boot_params,
			unsigned heartbeat_ms)
{
	struct popcorn_start arg = {
		.size = sizeof(arg),
		.heartbeat_ms = heartbeat_ms,
		.entry = entry,
		.boot_params = boot_params,
	};

	return call(fd, POPCORN_IOC_START, &arg);
}

static int device_stop(struct driver *driver, int fd, uint32_t mode, uint32_t reason)
{
	struct popcorn_stop arg = { .size = sizeof(arg), .mode = mode, .reason = reason };

	return call(fd, POPCORN_IOC_STOP, &arg);
}

static int device_release(struct driver *driver, int fd, uint32_t *ret_kept_cpus,
			  uint32_t *ret_kept_ranges)
{
	struct popcorn_release arg = { .size = sizeof(arg) };
	int r = call(fd, POPCORN_IOC_RELEASE, &arg);

	/* Outputs of the failure too. */
	*ret_kept_cpus = arg.kept_cpus;
	*ret_kept_ranges = arg.kept_ranges;
	return r;
}

static int device_status(struct driver *driver, int fd, struct popcorn_status *ret)
{
	uint32_t cpus = 0, ranges = 0;

	for (int i = 0; i < STATUS_TRIES; i++) {
		_cleanup_free_ uint32_t *cpu_list = NULL, *apicids = NULL;
		_cleanup_free_ struct popcorn_range *range_list = NULL;
		struct popcorn_status status = {
			.size = sizeof(status),
			.nr_cpus = cpus,
			.nr_ranges = ranges,
		};
		int r;

		cpu_list = calloc(cpus + 1, sizeof(*cpu_list));
		apicids = calloc(cpus + 1, sizeof(*apicids));
		range_list = calloc(ranges + 1, sizeof(*range_list));
		if (!cpu_list || !apicids || !range_list)
			return -ENOMEM;
		if (cpus) {
			status.cpus = (uintptr_t)cpu_list;
			status.apicids = (uintptr_t)apicids;
		}
		if (ranges)
			status.ranges = (uintptr_t)range_list;
		r = call(fd, POPCORN_IOC_STATUS, &status);
		if (r < 0)
			return r;
		if (status.nr_cpus > POPCORN_CPUS_MAX || status.nr_ranges > POPCORN_RANGES_MAX)
			return -EPROTO;
		if (status.nr_cpus > cpus || status.nr_ranges > ranges) {
			cpus = status.nr_cpus;
			ranges = status.nr_ranges;
			continue;
		}
		status.name[sizeof(status.name) - 1] = '\0';
		status.release[sizeof(status.release) - 1] = '\0';
		status.text[sizeof(status.text) - 1] = '\0';
		status.cpus = (uintptr_t)steal_ptr(cpu_list);
		status.apicids = (uintptr_t)steal_ptr(apicids);
		status.ranges = (uintptr_t)steal_ptr(range_list);
		*ret = status;
		return 0;
	}
	return -EAGAIN;
}

static int device_console(struct driver *driver, int fd, int flags, int *ret_fd)
{
	struct popcorn_console arg = { .size = sizeof(arg), .flags = (uint32_t)flags };
	int r = call(fd, POPCORN_IOC_CONSOLE, &arg);

	if (r < 0)
		return r;
	*ret_fd = arg.fd;
	return 0;
}

static int device_add_device(struct driver *driver, int fd, const struct popcorn_add_device *device,
			     uint32_t *ret_slot)
{
	struct popcorn_add_device arg = *device;
	int r;

	arg.size = sizeof(arg);
	arg.slot = 0;
	r = call(fd, POPCORN_IOC_ADD_DEVICE, &arg);
	if (r < 0)
		return r;
	*ret_slot = arg.slot;
	return 0;
}

static int device_remove_device(struct driver *driver, int fd, uint32_t slot)
{
	struct popcorn_device_slot arg = { .size = sizeof(arg), .slot = slot };

	return call(fd, POPCORN_IOC_REMOVE_DEVICE, &arg);
}

static int device_open_device(struct driver *driver, int fd, uint32_t slot, int *ret_fd)
{
	struct popcorn_device_slot arg = { .size = sizeof(arg), .slot = slot };
	int r = call(fd, POPCORN_IOC_OPEN_DEVICE, &arg);

	if (r < 0)
		return r;
	*ret_fd = arg.fd;
	return 0;
}

static int device_device_info(struct driver *driver, int fd, uint32_t slot,
			      struct popcorn_device_info *ret)
{
	struct popcorn_device_info info = { .size = sizeof(info), .slot = slot };
	int r = call(fd, POPCORN_IOC_DEVICE_INFO, &info);

	if (r < 0)
		return r;
	info.name[sizeof(info.name) - 1] = '\0';
	info.text[sizeof(info.text) - 1] = '\0';
	*ret = info;
	return 0;
}

static void device_free(struct driver *driver)
{
	close(device_fd(driver));
	free(driver);
}

static const struct driver_ops device_ops = {
	.info = device_info,
	.create = device_create,
	.open = device_open,
	.list = device_list,
	.add_cpus = device_add_cpus,
	.add_memory = device_add_memory,
	.load = device_load,
	.start = device_start,
	.stop = device_stop,
	.release = device_release,
	.status = device_status,
	.console = device_console,
	.add_device = device_add_device,
	.remove_device = device_remove_device,
	.open_device = device_open_device,
	.device_info = device_device_info,
	.free = device_free,
};

int driver_open(const char *path, struct driver **ret, struct popcorn_error *error)
{
	_cleanup_free_ struct device *device = NULL;
	struct popcorn_info info;
	int r;

	if (!path)
		path = POPCORN_DEVICE;
	device = calloc(1, sizeof(*device));
	if (!device)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	device->driver.ops = &device_ops;
	device->fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (device->fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		return popcorn_error_set(
			error, POPCORN_ERROR_NO_DRIVER,
			"%s is not there: the driver is not loaded; 'modprobe popcorn_kexec'",
			path);
	if (device->fd < 0)
		return popcorn_error_set_errno(error, errno, "can't open %s", path);

	r = device_info(&device->driver, &info);
	if (r == -ENOTTY || r == -EINVAL)
		/* Whatever it is, it is not a popcorn driver, or one without this call. */
		r = popcorn_error_set(error, POPCORN_ERROR_DRIVER_ABI,
				      "%s does not answer as the popcorn driver does (%s); install "
				      "the driver and "
				      "popcornd of one version",
				      path, strerror(-r));
	else if (r < 0)
		r = popcorn_error_set_errno(error, r, "%s does not say what it is", path);
	else if (info.abi_version != POPCORN_ABI_VERSION)
		r = popcorn_error_set(
			error, POPCORN_ERROR_DRIVER_ABI,
			"the loaded driver speaks version %u, popcornd speaks version %u; install "
			"both "
			"of one version, then 'modprobe -r popcorn_kexec; modprobe popcorn_kexec'",
			info.abi_version, POPCORN_ABI_VERSION);
	if (r < 0) {
		close(device->fd);
		return r;
	}
	*ret = &steal_ptr(device)->driver;
	return 0;
}

struct driver *driver_free(struct driver *driver)
{
	if (driver)
		driver->ops->free(driver);
	return NULL;
}

void driver_status_done(struct popcorn_status *status)
{
	free((void *)(uintptr_t)status->cpus);
	free((void *)(uintptr_t)status->apicids);
	free((void *)(uintptr_t)status->ranges);
	status->cpus = status->apicids = status->ranges = 0;
	status->nr_cpus = status->nr_ranges = 0;
}

const char *state_to_string(enum popcorn_state state)
{
	switch (state) {
#define X(sym, nr, name)          \
	case POPCORN_STATE_##sym: \
		return name;
		POPCORN_STATES(X)
#undef X
	}
	return "unknown";
}

const char *device_type_to_string(uint32_t virtio_id)
{
	switch (virtio_id) {
	case VIRTIO_ID_NET:
		return "net";
	case VIRTIO_ID_FS:
		return "fs";
	case VIRTIO_ID_VSOCK:
		return "vsock";
	}
	return "other";
}

const char *device_state_to_string(uint32_t state)
{
	switch (state) {
	case POPCORN_DEVICE_STOPPED:
		return "stopped";
	case POPCORN_DEVICE_STARTED:
		return "started";
	case POPCORN_DEVICE_FAILED:
		return "failed";
	}
	return "unknown";
}

int state_from_string(const char *s)
{
#define X(sym, nr, name)          \
	if (strcmp(s, name) == 0) \
		return nr;
	POPCORN_STATES(X)
#undef X
	return -EINVAL;
}

const char *reason_to_string(enum popcorn_reason reason)
{
	switch (reason) {
#define X(sym, nr, name, text)     \
	case POPCORN_REASON_##sym: \
		return name;
		POPCORN_REASONS(X)
#undef X
	}
	return "unknown";
}

const char *reason_to_text(enum popcorn_reason reason)
{
	switch (reason) {
#define X(sym, nr, name, text)     \
	case POPCORN_REASON_##sym: \
		return text;
		POPCORN_REASONS(X)
#undef X
	}
	return "a reason that this version does not know";
}
