// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Drives /dev/popcorn directly, rightly and wrongly. Runs as root in a test machine with two CPUs
 * to spare; says "ok N - …" or "not ok N - …", and fails if anything was not ok.
 *
 * What it boots is no Linux but a few instructions (payload.S) that do as a list of operations says:
 * so a hostile or a dying kernel costs milliseconds, and does exactly what it should.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <popcorn.h>
#include <popcorn/head.h>
#include <popcorn/virtio.h>

#include "../tap.h"

extern const char payload[], payload_end[];

#define MB (1024 * 1024ULL)
#define PARAMETER "/sys/module/popcorn_kexec/parameters/fault_step"
#define MEMORY "/sys/devices/system/memory"
#define FAULTS_MAX 200
#define CONTIG_SIZE (16 * MB)
#define THREADS 8

static int device;
static uint32_t spare[2] = { 1, 2 };
static uint64_t block_start, block_size, contig_start;
static struct popcorn_info info;

/* What was seen */

/* 0 or negative errno, as in the kernel. */
static int call(int fd, unsigned long command, void *arg)
{
	return ioctl(fd, command, arg) < 0 ? -errno : 0;
}

static const char *error_name(int r)
{
	return r < 0 ? strerrorname_np(-r) : "success";
}

static void expect_at(int r, int wanted, const char *what)
{
	if (r == wanted)
		check(true, "%s: %s", what, error_name(r));
	else
		check(false, "%s: %s instead of %s", what, error_name(r), error_name(wanted));
}
#define expect(wanted, expression, what) expect_at(expression, wanted, what)

/* Kernels */

static int create(const char *name, int *ret_fd)
{
	struct popcorn_create c = { .size = sizeof(c) };
	int r;

	snprintf(c.name, sizeof(c.name), "%s", name);
	r = call(device, POPCORN_IOC_CREATE, &c);
	if (!r)
		*ret_fd = c.fd;
	return r;
}

static int add_cpus(int fd, const uint32_t *cpus, uint32_t n, uint32_t *ret_bad)
{
	struct popcorn_cpus c = { .size = sizeof(c), .count = n, .cpus = (uintptr_t)cpus };
	int r = call(fd, POPCORN_IOC_ADD_CPUS, &c);

	if (ret_bad)
		*ret_bad = c.bad_cpu;
	return r;
}

static int add_memory(int fd, uint32_t kind, uint64_t start, uint64_t length)
{
	struct popcorn_memory m = {
		.size = sizeof(m), .kind = kind, .start = start, .length = length
	};

	return call(fd, POPCORN_IOC_ADD_MEMORY, &m);
}

static int load(int fd, const struct popcorn_segment *segments, uint32_t n)
{
	struct popcorn_load l = { .size = sizeof(l),
				  .nr_segments = n,
				  .segments = (uintptr_t)segments };

	return call(fd, POPCORN_IOC_LOAD, &l);
}

static int start(int fd, uint64_t entry, uint64_t boot_params, uint32_t heartbeat_ms)
{
	struct popcorn_start s = { .size = sizeof(s),
				   .heartbeat_ms = heartbeat_ms,
				   .entry = entry,
				   .boot_params = boot_params };

	return call(fd, POPCORN_IOC_START, &s);
}

static int stop(int fd, uint32_t mode, uint32_t reason)
{
	struct popcorn_stop s = { .size = sizeof(s), .mode = mode, .reason = reason };

	return call(fd, POPCORN_IOC_STOP, &s);
}

static int kill_kernel(int fd)
{
	return stop(fd, POPCORN_STOP_KILL, POPCORN_REASON_KILLED);
}

static int release(int fd)
{
	struct popcorn_release r = { .size = sizeof(r) };

	return call(fd, POPCORN_IOC_RELEASE, &r);
}

static struct popcorn_status status(int fd)
{
	struct popcorn_status s = { .size = sizeof(s) };

	if (call(fd, POPCORN_IOC_STATUS, &s))
		s.state = 0;
	return s;
}

static int console(int fd, uint32_t flags)
{
	struct popcorn_console c = { .size = sizeof(c), .flags = flags };
	int r = call(fd, POPCORN_IOC_CONSOLE, &c);

	return r ? r : c.fd;
}

/* Waits for a state, by poll(). */
static bool reach(int fd, uint32_t state, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };
	struct timespec t;
	int64_t end;

	clock_gettime(CLOCK_MONOTONIC, &t);
	end = t.tv_sec * 1000 + t.tv_nsec / 1000000 + timeout_ms;
	while (status(fd).state != state) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		timeout_ms = (int)(end - (t.tv_sec * 1000 + t.tv_nsec / 1000000));
		if (timeout_ms <= 0)
			return false;
		poll(&p, 1, timeout_ms);
	}
	return true;
}

/* The machine */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

static bool read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static int set_block(uint64_t start, const char *state)
{
	char path[100];

	snprintf(path, sizeof(path), MEMORY "/memory%llu/state",
		 (unsigned long long)(start / block_size));
	return write_file(path, state);
}

static int set_cpu(uint32_t cpu, const char *online)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	return write_file(path, online);
}

static void online_cpus(char *text, size_t size)
{
	read_file("/sys/devices/system/cpu/online", text, size);
}

/*
 * Takes a CONTIG range, where one could be had before or elsewhere: the primary may have come to use
 * that place in the meantime, in a way that does not let itself be moved.
 */
static int take_contig(int fd)
{
	int r = -EBUSY;
	uint64_t at;

	if (contig_start)
		r = add_memory(fd, POPCORN_MEMORY_CONTIG, contig_start, CONTIG_SIZE);
	for (at = 64 * MB; r == -EBUSY && at < block_start; at += CONTIG_SIZE) {
		r = add_memory(fd, POPCORN_MEMORY_CONTIG, at, CONTIG_SIZE);
		if (!r)
			contig_start = at;
	}
	return r;
}

/* A block that goes offline for us; and a place where CONTIG works. */
static bool find_memory(void)
{
	char text[64];
	int fd, i;

	if (!read_file(MEMORY "/block_size_bytes", text, sizeof(text)))
		return false;
	block_size = strtoull(text, NULL, 16);
	for (i = 300; i > 0 && !block_start; i--)
		if (!set_block((uint64_t)i * block_size, "offline"))
			block_start = (uint64_t)i * block_size;
	if (!block_start || create("finder", &fd))
		return false;
	take_contig(fd);
	release(fd);
	close(fd);
	return contig_start;
}

/* What the payload does */

enum { OP_HALT, OP_WRITE8, OP_WRITE32, OP_WRITE64, OP_WAIT, OP_WAIT_NONZERO, OP_BEAT };
struct op {
	uint64_t what, address, value;
};
#define HEAD(field) (block_start + offsetof(struct popcorn_head, field))
#define BEATS (block_start + POPCORN_HEAD_BEATS)
#define KERNEL (block_start + POPCORN_HEAD_SIZE)
#define OPS (KERNEL + 4096)
#define TICKS(ms) ((uint64_t)info.tsc_khz * (ms))

/* All of what precedes the check-in of a well-behaved kernel. */
#define CHECK_IN                                                          \
	{ OP_WRITE32, HEAD(guest_version), POPCORN_HEAD_VERSION },        \
		{ OP_WRITE64, HEAD(release), 0x0074736574 /* "test" */ }, \
	{                                                                 \
		OP_WRITE32, HEAD(guest_state), POPCORN_GUEST_CHECKIN      \
	}
#define READY                                                      \
	{                                                          \
		OP_WRITE32, HEAD(guest_state), POPCORN_GUEST_READY \
	}
#define BEAT                               \
	{                                  \
		OP_BEAT, BEATS, TICKS(100) \
	}

static int load_ops(int fd, const struct op *ops, size_t size)
{
	struct popcorn_segment segments[] = {
		{ (uintptr_t)payload, (uint64_t)(payload_end - payload), KERNEL, 4096 },
		{ (uintptr_t)ops, size, OPS, 4096 },
	};

	return load(fd, segments, 2);
}

/* A kernel of both spare CPUs that does @ops. */
static bool boot(int *ret_fd, uint32_t heartbeat_ms, const struct op *ops, size_t size)
{
	int fd, r;

	r = create("payload", &fd);
	if (!r)
		r = add_cpus(fd, spare, 2, NULL);
	if (!r)
		r = add_memory(fd, POPCORN_MEMORY_OFFLINE, block_start, block_size);
	if (!r)
		r = load_ops(fd, ops, size);
	if (!r)
		r = start(fd, KERNEL, OPS, heartbeat_ms);
	*ret_fd = fd;
	return !r || check(false, "boot the payload: %s", error_name(r));
}
#define BOOT(fd, heartbeat, ...)                                \
	boot(fd, heartbeat, (const struct op[]){ __VA_ARGS__ }, \
	     sizeof((const struct op[]){ __VA_ARGS__ }))

/* Malformed arguments */

static void test_device(void)
{
	struct popcorn_info old = { .size = sizeof(old) };
	struct {
		struct popcorn_info i;
		uint64_t tail;
	} newer = { .i.size = sizeof(newer) };
	struct popcorn_create c = { .size = sizeof(c), .name = "a" };
	struct popcorn_open o = { .size = sizeof(o), .id = 400 };
	struct popcorn_list l = { .size = sizeof(l) };
	static const char *const bad[] = { "", ".a", "-a", "_a", "a/b", "a b", "a\n", "\xc3\xa4" };
	char *read_only;
	size_t i;
	int fd, fd2;

	info.size = sizeof(info);
	expect(0, call(device, POPCORN_IOC_INFO, &info), "INFO");
	check(info.abi_version == POPCORN_ABI_VERSION && info.nr_kernels == 0 &&
		      info.low_free > 1 && info.tsc_khz > 0 && info.phys_bits >= 36,
	      "INFO: abi %u, %u low pieces, %u kHz, %u bits", info.abi_version, info.low_free,
	      info.tsc_khz, info.phys_bits);
	old.size = sizeof(old) - 1;
	expect(-EINVAL, call(device, POPCORN_IOC_INFO, &old), "INFO, too small");
	old.size = 0;
	expect(-EINVAL, call(device, POPCORN_IOC_INFO, &old), "INFO, size 0");
	old.size = ~0U;
	expect(-EINVAL, call(device, POPCORN_IOC_INFO, &old), "INFO, enormous");
	old = (struct popcorn_info){ .size = sizeof(old), .reserved = 1 };
	expect(-EINVAL, call(device, POPCORN_IOC_INFO, &old), "INFO, reserved not zero");
	expect(0, call(device, POPCORN_IOC_INFO, &newer), "INFO, newer, tail zero");
	check(newer.i.abi_version == POPCORN_ABI_VERSION, "and it is filled in");
	newer.tail = 1;
	expect(-E2BIG, call(device, POPCORN_IOC_INFO, &newer), "INFO, newer, tail not zero");
	expect(-EFAULT, call(device, POPCORN_IOC_INFO, NULL), "INFO at NULL");
	expect(-EFAULT, call(device, POPCORN_IOC_INFO, (void *)0xffff888000000000UL),
	       "INFO at a kernel address");
	read_only = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(read_only, &c, sizeof(c));
	mprotect(read_only, 4096, PROT_READ);
	expect(-EFAULT, call(device, POPCORN_IOC_CREATE, read_only), "CREATE, answer unwritable");
	old = (struct popcorn_info){ .size = sizeof(old) };
	call(device, POPCORN_IOC_INFO, &old);
	check(old.nr_kernels == 0 && old.low_free == info.low_free, "and there is no kernel");
	munmap(read_only, 4096);
	expect(-ENOTTY, call(device, _IO(POPCORN_IOC_MAGIC, 0x1f), NULL), "unknown ioctl");
	expect(-ENOTTY, call(device, _IOWR(POPCORN_IOC_MAGIC, 0x1f, struct popcorn_info), &old),
	       "unknown number");
	expect(-ENOTTY, call(device, _IOWR(0x55, 0x00, struct popcorn_info), &old), "other magic");
	expect(-ENOTTY, call(device, POPCORN_IOC_STATUS, &old), "a kernel's ioctl on the device");
	expect(-ENOENT, call(device, POPCORN_IOC_OPEN, &o), "OPEN, unknown id");
	o.id = 0;
	expect(-ENOENT, call(device, POPCORN_IOC_OPEN, &o), "OPEN, the primary");
	o.id = ~0U;
	expect(-ENOENT, call(device, POPCORN_IOC_OPEN, &o), "OPEN, enormous id");
	o.reserved = 1;
	expect(-EINVAL, call(device, POPCORN_IOC_OPEN, &o), "OPEN, reserved not zero");

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		expect(-EINVAL, create(bad[i], &fd), "CREATE, bad name");
	memset(c.name, 'a', sizeof(c.name));
	expect(-EINVAL, call(device, POPCORN_IOC_CREATE, &c), "CREATE, name without end");
	c.name[sizeof(c.name) - 1] = '\0';
	c.flags = 1;
	expect(-EINVAL, call(device, POPCORN_IOC_CREATE, &c), "CREATE, flags");
	c.flags = 0;
	expect(0, call(device, POPCORN_IOC_CREATE, &c), "CREATE, the longest name");
	fd = c.fd;
	check(fcntl(fd, F_GETFD) == FD_CLOEXEC, "its descriptor is close-on-exec");
	expect(-EEXIST, call(device, POPCORN_IOC_CREATE, &c), "CREATE, name taken");
	l.count = 1;
	l.ids = 8;
	expect(-EFAULT, call(device, POPCORN_IOC_LIST, &l), "LIST, bad pointer");
	l.count = 0;
	expect(0, call(device, POPCORN_IOC_LIST, &l), "LIST, no room");
	check(l.count == 1, "one kernel");
	o = (struct popcorn_open){ .size = sizeof(o), .id = c.id };
	expect(0, call(device, POPCORN_IOC_OPEN, &o), "OPEN");
	fd2 = o.fd;
	close(fd);
	check(status(fd2).state == POPCORN_STATE_RESERVED, "closing a descriptor ends nothing");
	check(!strcmp(status(fd2).name, c.name), "and it has its name");
	expect(0, release(fd2), "RELEASE");
	expect(-ENODEV, release(fd2), "RELEASE again");
	close(fd2);
}

static void test_low_memory(void)
{
	int fds[100], n = 0, r = 0;
	char name[16];

	while (n < 100 && !r) {
		snprintf(name, sizeof(name), "k%d", n);
		r = create(name, &fds[n]);
		n += !r;
	}
	check(r == -ENOSPC && n == (int)info.low_free, "%d kernels, then %s", n, error_name(r));
	while (n--) {
		release(fds[n]);
		close(fds[n]);
	}
	expect(0, create("k", &fds[0]), "CREATE after all were released");
	release(fds[0]);
	close(fds[0]);
}

static void test_cpus(void)
{
	uint32_t list[3], bad;
	char before[64], after[64];
	int fd, fd2;

	online_cpus(before, sizeof(before));
	create("cpus", &fd);
	expect(-EINVAL, add_cpus(fd, spare, 0, NULL), "ADD_CPUS, none");
	expect(-EINVAL, add_cpus(fd, spare, POPCORN_CPUS_MAX + 1, NULL), "ADD_CPUS, too many");
	expect(-EFAULT, add_cpus(fd, (uint32_t *)8, 1, NULL), "ADD_CPUS, bad pointer");
	list[0] = 0;
	expect(-EINVAL, add_cpus(fd, list, 1, &bad), "ADD_CPUS, CPU 0");
	check(bad == 0, "and it is named");
	list[0] = spare[0];
	list[1] = 100000;
	expect(-ENOENT, add_cpus(fd, list, 2, &bad), "ADD_CPUS, unknown CPU");
	check(bad == 100000, "and it is named");
	list[1] = spare[0];
	expect(-EINVAL, add_cpus(fd, list, 2, &bad), "ADD_CPUS, twice the same");
	check(bad == spare[0], "and it is named");
	set_cpu(spare[1], "0");
	list[1] = spare[1];
	expect(-EBUSY, add_cpus(fd, list, 2, &bad), "ADD_CPUS, offline CPU");
	check(bad == spare[1], "and it is named");
	set_cpu(spare[1], "1");
	online_cpus(after, sizeof(after));
	check(!strcmp(before, after), "all CPUs are online: %.*s", (int)strcspn(after, "\n"),
	      after);

	expect(0, add_cpus(fd, spare, 1, NULL), "ADD_CPUS");
	create("other", &fd2);
	expect(-EBUSY, add_cpus(fd2, spare, 1, &bad), "ADD_CPUS, lent CPU");
	check(bad == spare[0], "and it is named");
	check(set_cpu(spare[0], "1") < 0, "nobody can bring a lent CPU online");
	expect(0, add_cpus(fd, spare + 1, 1, NULL), "ADD_CPUS, one more");
	check(status(fd).nr_cpus == 2, "it has two");
	expect(0, release(fd), "RELEASE");
	expect(0, release(fd2), "RELEASE");
	online_cpus(after, sizeof(after));
	check(!strcmp(before, after), "all CPUs are online: %.*s", (int)strcspn(after, "\n"),
	      after);
	close(fd);
	close(fd2);
}

static void test_memory(void)
{
	const uint32_t offline = POPCORN_MEMORY_OFFLINE, contig = POPCORN_MEMORY_CONTIG;
	struct popcorn_memory m = { .size = sizeof(m),
				    .kind = offline,
				    .start = block_start,
				    .length = block_size,
				    .reserved = 1 };
	int fd, fd2, i;

	create("memory", &fd);
	expect(-EINVAL, call(fd, POPCORN_IOC_ADD_MEMORY, &m), "ADD_MEMORY, reserved not zero");
	expect(-EINVAL, add_memory(fd, 0, block_start, block_size), "ADD_MEMORY, kind 0");
	expect(-EINVAL, add_memory(fd, 3, block_start, block_size), "ADD_MEMORY, kind 3");
	expect(-EINVAL, add_memory(fd, offline, block_start, 0), "ADD_MEMORY, nothing");
	expect(-EINVAL, add_memory(fd, offline, block_start + 4096, block_size),
	       "ADD_MEMORY, unaligned");
	expect(-EINVAL, add_memory(fd, offline, block_start, 4097), "ADD_MEMORY, unaligned length");
	expect(-EINVAL, add_memory(fd, offline, block_start, 2 * MB), "ADD_MEMORY, only a head");
	expect(-EINVAL, add_memory(fd, offline, block_start, 0ULL - 2 * MB),
	       "ADD_MEMORY, beyond all memory");
	expect(-EINVAL, add_memory(fd, offline, 0ULL - 4 * MB, 8 * MB), "ADD_MEMORY, overflow");
	expect(-EINVAL, add_memory(fd, offline, 0xfee00000, 4 * MB), "ADD_MEMORY, the APIC");
	expect(-EINVAL, add_memory(fd, contig, 0xfee00000, 4 * MB), "CONTIG, the APIC");
	expect(-EINVAL, add_memory(fd, offline, 1ULL << 45, 4 * MB), "ADD_MEMORY, no RAM");
	expect(-EBUSY, add_memory(fd, offline, contig_start, CONTIG_SIZE),
	       "ADD_MEMORY, online memory as offline");
	expect(-EBUSY, add_memory(fd, contig, block_start, 4 * MB), "CONTIG, offline memory");
	expect(-EBUSY, add_memory(fd, offline, block_start - 4 * MB, 8 * MB),
	       "ADD_MEMORY, partly online");
	check(status(fd).nr_ranges == 0 && status(fd).head == 0, "and it has no memory");

	expect(0, add_memory(fd, offline, block_start, block_size), "ADD_MEMORY, offline block");
	check(status(fd).head == block_start, "which carries the head");
	check(set_block(block_start, "online") < 0, "nobody can bring a lent block online");
	expect(-EBUSY, add_memory(fd, offline, block_start, block_size), "ADD_MEMORY, again");
	create("other", &fd2);
	expect(-EBUSY, add_memory(fd2, offline, block_start + 4 * MB, 4 * MB),
	       "ADD_MEMORY, another kernel's");
	release(fd2);
	close(fd2);
	expect(0, take_contig(fd), "ADD_MEMORY, CONTIG");
	expect(-EBUSY, add_memory(fd, contig, contig_start, CONTIG_SIZE), "CONTIG, again");
	check(status(fd).nr_ranges == 2, "it has two ranges");
	expect(0, release(fd), "RELEASE");
	close(fd);
	expect(0, set_block(block_start, "online"), "the block goes online");
	for (i = 0; i < 20 && set_block(block_start, "offline"); i++)
		;
	check(i < 20, "and offline again");
}

static void test_load(void)
{
	struct popcorn_segment s[POPCORN_SEGMENTS_MAX + 1] = {};
	char buf[8192] = "x";
	int fd, i;

	create("load", &fd);
	s[0] = (struct popcorn_segment){ (uintptr_t)buf, sizeof(buf), KERNEL, sizeof(buf) };
	expect(-ERANGE, load(fd, s, 1), "LOAD without memory");
	expect(-EBUSY, start(fd, KERNEL, KERNEL, 0), "START in reserved");
	expect(-EBUSY, kill_kernel(fd), "KILL in reserved");
	expect(-EBUSY, stop(fd, POPCORN_STOP_ASK, POPCORN_REASON_REQUESTED), "ASK in reserved");
	add_memory(fd, POPCORN_MEMORY_OFFLINE, block_start, block_size);
	expect(-EINVAL, load(fd, s, 0), "LOAD, no segment");
	expect(-EINVAL, load(fd, s, POPCORN_SEGMENTS_MAX + 1), "LOAD, too many segments");
	expect(-EFAULT, load(fd, (void *)8, 1), "LOAD, bad pointer");
#define TRY(wanted, what, field, value)                                                      \
	s[0] = (struct popcorn_segment){ (uintptr_t)buf, sizeof(buf), KERNEL, sizeof(buf) }; \
	s[0].field = value;                                                                  \
	expect(wanted, load(fd, s, 1), "LOAD, " what)
	TRY(-EINVAL, "unaligned address", mem, KERNEL + 1);
	TRY(-EINVAL, "unaligned size", memsz, sizeof(buf) + 1);
	TRY(-EINVAL, "no size", memsz, 0);
	TRY(-EINVAL, "smaller than its bytes", memsz, 4096);
	TRY(-ERANGE, "below the memory", mem, block_start - 4096);
	TRY(-ERANGE, "over the end", mem, block_start + block_size - 4096);
	TRY(-ERANGE, "overflow", memsz, 0ULL - 4096);
	TRY(-ERANGE, "the head", mem, block_start);
	TRY(-ERANGE, "the heartbeats", mem, block_start + POPCORN_HEAD_BEATS);
	TRY(-ERANGE, "the page tables", mem, block_start + POPCORN_HEAD_PGTABLES);
	TRY(-ERANGE, "into the page tables", mem, block_start + POPCORN_HEAD_PGTABLES - 4096);
	TRY(-ERANGE, "the console", mem, block_start + POPCORN_HEAD_CONSOLE_OUT);
	TRY(-ERANGE, "primary's memory", mem, 16 * MB);
	check(status(fd).state == POPCORN_STATE_RESERVED, "still reserved");
	TRY(0, "the tables", mem, block_start + POPCORN_HEAD_TABLES);
	TRY(-EFAULT, "bytes that are not there", buf, 4096);
	check(status(fd).state == POPCORN_STATE_LOADING, "now loading");
	expect(-EBUSY, start(fd, KERNEL, KERNEL, 0), "START after a LOAD that failed");
	for (i = 0; i < 2; i++)
		s[i] = (struct popcorn_segment){ (uintptr_t)buf, 4096, KERNEL + i * 4096, 8192 };
	expect(-ERANGE, load(fd, s, 2), "LOAD, overlapping segments");
	s[1].mem += 4096;
	expect(0, load(fd, s, 2), "LOAD, two segments");
	expect(-EBUSY, start(fd, KERNEL, KERNEL, 0), "START without a CPU");
	expect(-EBUSY, add_cpus(fd, spare, 1, NULL), "ADD_CPUS in loading");
	expect(-EBUSY, add_memory(fd, POPCORN_MEMORY_CONTIG, contig_start, CONTIG_SIZE),
	       "ADD_MEMORY in loading");
	expect(-EBUSY, kill_kernel(fd), "KILL in loading");
	expect(0, release(fd), "RELEASE in loading");
	close(fd);
}

static sigjmp_buf fault_return;

static void on_fault(int signal)
{
	siglongjmp(fault_return, signal);
}

/* 0, or the signal that reading gave. */
static int touch(volatile const char *at)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER }, old_bus,
			 old_segv;
	int signal;

	sigaction(SIGBUS, &action, &old_bus);
	sigaction(SIGSEGV, &action, &old_segv);
	signal = sigsetjmp(fault_return, 1);
	if (!signal)
		(void)*at;
	sigaction(SIGBUS, &old_bus, NULL);
	sigaction(SIGSEGV, &old_segv, NULL);
	return signal;
}

static void *map(int fd, uint64_t at, size_t size, int protection, int flags)
{
	return mmap(NULL, size, protection, flags, fd, (off_t)at);
}

/* A whole life, with everything in wrong order in every state; memory, poll, console. */
static void test_life(void)
{
	struct popcorn_segment s = { (uintptr_t)payload, 64, KERNEL, 4096 };
	struct pollfd p = { .events = POLLPRI };
	volatile uint64_t *beats;
	uint64_t before;
	char text[64] = "", *late;
	int fd, fd2, con, late_fd;
	struct popcorn_open o = { .size = sizeof(o) };

	if (!BOOT(&fd, 0, { OP_WRITE64, block_start + POPCORN_HEAD_CONSOLE_OUT, 0x0a6f6c6c6568 },
		  { OP_WRITE64, HEAD(out_head), 6 }, CHECK_IN, READY, BEAT))
		return;
	check(reach(fd, POPCORN_STATE_RUNNING, 5000), "it runs");
	o.id = status(fd).id;
	call(device, POPCORN_IOC_OPEN, &o);
	fd2 = o.fd;
	check(!strcmp(status(fd).release, "test"), "release is \"%s\"", status(fd).release);
	check(status(fd).reason == POPCORN_REASON_CHECKED_IN, "reason");
	expect(-EBUSY, add_cpus(fd, spare, 1, NULL), "ADD_CPUS in running");
	expect(-EBUSY, add_memory(fd, POPCORN_MEMORY_CONTIG, contig_start, CONTIG_SIZE),
	       "ADD_MEMORY in running");
	expect(-EBUSY, load(fd, &s, 1), "LOAD in running");
	expect(-EBUSY, start(fd, KERNEL, OPS, 0), "START in running");
	expect(-EBUSY, release(fd), "RELEASE in running");
	expect(-EINVAL, stop(fd, 0, POPCORN_REASON_KILLED), "STOP, mode 0");
	expect(-EINVAL, stop(fd, POPCORN_STOP_KILL, POPCORN_REASON_PANIC), "STOP, a false reason");
	check(syscall(SYS_delete_module, "popcorn_kexec", O_NONBLOCK) < 0, "the driver stays");

	check(map(fd, block_start - 4096, 4096, PROT_READ, MAP_SHARED) == MAP_FAILED,
	      "mmap below the memory");
	check(map(fd, block_start + block_size, 4096, PROT_READ, MAP_SHARED) == MAP_FAILED,
	      "mmap behind the memory");
	check(map(fd, block_start + block_size - 4096, 8192, PROT_READ, MAP_SHARED) == MAP_FAILED,
	      "mmap over the end");
	check(map(fd, 0, 4096, PROT_READ, MAP_SHARED) == MAP_FAILED, "mmap of page 0");
	check(map(fd, block_start, 4096, PROT_READ, MAP_PRIVATE) == MAP_FAILED, "private mmap");
	check(map(fd, block_start, 4096, PROT_READ | PROT_EXEC, MAP_SHARED) != MAP_FAILED ||
		      errno == EPERM || errno == EACCES,
	      "mmap for execution gives no crash");
	beats = map(fd, BEATS, 4096, PROT_READ, MAP_SHARED);
	check(beats != MAP_FAILED, "mmap of the heartbeats");
	before = *beats;
	usleep(400000);
	check(*beats > before, "they beat");
	late = map(fd, block_start + 8 * MB, 4096, PROT_READ, MAP_SHARED);

	con = console(fd, O_NONBLOCK);
	check(con >= 0 && read(con, text, sizeof(text)) == 6 && !memcmp(text, "hello\n", 6),
	      "console says \"%.5s\"", text);
	check(read(con, text, sizeof(text)) < 0 && errno == EAGAIN, "and no more");
	check(write(con, "input", 5) == 5, "console takes input");
	expect(-EINVAL, console(fd, 2), "CONSOLE, flags");
	late_fd = console(fd, POPCORN_CONSOLE_READ_ONLY);
	check(write(late_fd, "x", 1) < 0 && errno == EBADF, "a console only for reading");
	close(late_fd);

	p.fd = fd2;
	status(fd2);
	check(poll(&p, 1, 0) == 0, "no news");
	expect(0, stop(fd, POPCORN_STOP_ASK, POPCORN_REASON_REQUESTED), "ASK in running");
	check(poll(&p, 1, 1000) == 1 && (p.revents & POLLPRI), "another descriptor has news");
	check(status(fd2).state == POPCORN_STATE_STOPPING, "stopping");
	check(poll(&p, 1, 0) == 0, "once");
	expect(-EBUSY, stop(fd, POPCORN_STOP_ASK, POPCORN_REASON_REQUESTED), "ASK in stopping");
	expect(0, kill_kernel(fd), "KILL in stopping");
	check(status(fd).state == POPCORN_STATE_STOPPED, "stopped");
	before = *beats;
	usleep(400000);
	check(*beats == before, "its heart does not beat any more");
	expect(0, kill_kernel(fd), "KILL in stopped");
	expect(-EBUSY, stop(fd, POPCORN_STOP_ASK, POPCORN_REASON_REQUESTED), "ASK in stopped");
	expect(-EBUSY, start(fd, KERNEL, OPS, 0), "START in stopped");
	check(read(con, text, sizeof(text)) == 0, "console ended");
	check(write(con, "x", 1) < 0 && errno == EPIPE, "and takes nothing");

	expect(0, release(fd), "RELEASE");
	check(touch((char *)beats) == SIGBUS, "its memory is gone");
	check(touch(late) == SIGBUS, "also where it had not been looked at");
	check(map(fd, block_start, 4096, PROT_READ, MAP_SHARED) == MAP_FAILED && errno == ENODEV,
	      "and is not to be had");
	check(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP), "POLLHUP");
	check(read(con, text, sizeof(text)) == 0, "console reads 0");
	expect(-ENODEV,
	       call(fd2, POPCORN_IOC_STATUS,
		    &(struct popcorn_status){ .size = sizeof(struct popcorn_status) }),
	       "STATUS after RELEASE");
	expect(-ENODEV, add_cpus(fd2, spare, 1, NULL), "ADD_CPUS after RELEASE");
	expect(-ENODEV, start(fd2, KERNEL, OPS, 0), "START after RELEASE");
	expect(-ENODEV, console(fd2, 0), "CONSOLE after RELEASE");
	munmap((void *)beats, 4096);
	munmap(late, 4096);
	close(con);
	close(fd);
	close(fd2);
}

/* Boots @ops and looks what becomes of it. */
static void end_as(const char *what, uint32_t state, uint32_t reason, int timeout_ms,
		   const struct op *ops, size_t size)
{
	struct popcorn_status s;
	int fd;

	if (!boot(&fd, 2000, ops, size))
		return;
	check(reach(fd, state, timeout_ms), "%s: state %u", what, state);
	s = status(fd);
	check(s.reason == reason, "%s: reason %u, \"%s\"", what, s.reason, s.text);
	if (s.state != state)
		kill_kernel(fd);
	expect(0, release(fd), "RELEASE");
	close(fd);
}
#define END(what, state, reason, timeout, ...)                                \
	end_as(what, POPCORN_STATE_##state, POPCORN_REASON_##reason, timeout, \
	       (const struct op[]){ __VA_ARGS__ }, sizeof((const struct op[]){ __VA_ARGS__ }))

static void test_ends(void)
{
	END("power-off by ACPI", STOPPED, POWEROFF, 5000, { OP_WRITE8, HEAD(sleep), 0x34 });
	END("reset by ACPI", CRASHED, RESET, 5000, { OP_WRITE8, HEAD(reset), 1 });
	END("another version", CRASHED, ABI, 5000,
	    { OP_WRITE32, HEAD(guest_version), POPCORN_HEAD_VERSION + 1 },
	    { OP_WRITE32, HEAD(guest_state), POPCORN_GUEST_CHECKIN });
	END("a state that is none", CRASHED, HOSTILE, 5000, CHECK_IN,
	    { OP_WRITE32, HEAD(guest_state), 77 });
	END("back to an earlier state", CRASHED, HOSTILE, 5000, CHECK_IN, READY,
	    { OP_WAIT, 0, TICKS(1500) }, { OP_WRITE32, HEAD(guest_state), POPCORN_GUEST_CHECKIN },
	    BEAT);
	END("a reason that is none", CRASHED, HOSTILE, 5000, CHECK_IN,
	    { OP_WRITE32, HEAD(guest_reason), POPCORN_REASON_CHECKED_IN },
	    { OP_WRITE32, HEAD(guest_state), POPCORN_GUEST_ENDED });
	END("power-off", STOPPED, POWEROFF, 5000, CHECK_IN, READY,
	    { OP_WRITE32, HEAD(guest_reason), POPCORN_REASON_POWEROFF },
	    { OP_WRITE32, HEAD(guest_state), POPCORN_GUEST_ENDED });
	END("panic", CRASHED, PANIC, 5000, CHECK_IN, READY,
	    { OP_WRITE64, HEAD(text), 0x0a07656f77 /* "woe\a\n" */ },
	    { OP_WRITE32, HEAD(guest_reason), POPCORN_REASON_PANIC },
	    { OP_WRITE32, HEAD(guest_state), POPCORN_GUEST_ENDED });
	END("silence after the check-in", CRASHED, HEARTBEAT, 8000, CHECK_IN, READY);
	END("a CPU that stops beating", CRASHED, HEARTBEAT, 8000, CHECK_IN, READY,
	    { OP_WRITE64, BEATS + 8, 1 }, BEAT);
	END("all CPUs said to be offline", CRASHED, HEARTBEAT, 8000, CHECK_IN, READY,
	    { OP_WRITE64, BEATS, POPCORN_BEAT_OFF }, { OP_WRITE64, BEATS + 8, POPCORN_BEAT_OFF });
}

/* Indices that no kernel in its right mind would write. */
static void test_hostile_rings(void)
{
	static const uint64_t heads[] = { 1, 0xfffff, 0x100000, 0x100001, 1ULL << 63, ~0ULL };
	char *buf = malloc(4 * MB);
	size_t i;
	int fd, con;

	for (i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
		ssize_t n, sum = 0;

		if (!BOOT(&fd, 0, { OP_WRITE64, HEAD(out_head), heads[i] },
			  { OP_WRITE64, HEAD(in_tail), heads[i] },
			  { OP_WRITE64, HEAD(guest_bell), heads[i] | 0x30 }, CHECK_IN, READY, BEAT))
			break;
		reach(fd, POPCORN_STATE_RUNNING, 5000);
		con = console(fd, O_NONBLOCK);
		while ((n = read(con, buf, 4 * MB)) > 0)
			sum += n;
		check(sum <= POPCORN_CONSOLE_OUT_SIZE, "out_head %#llx: %zd bytes",
		      (unsigned long long)heads[i], sum);
		n = write(con, buf, 65536);
		check(n <= POPCORN_CONSOLE_IN_SIZE, "in_tail %#llx: %zd bytes",
		      (unsigned long long)heads[i], n);
		expect(0, kill_kernel(fd), "KILL");
		expect(0, release(fd), "RELEASE");
		close(con);
		close(fd);
	}
	free(buf);
}

/* Devices. The payload only beats: what a driver writes into the table is written from here, by mmap. */

#define FEATURES (1ULL << VIRTIO_F_VERSION_1 | 1ULL << 5)
#define RAM (KERNEL + 8 * MB)
#define SIZE 64
#define BAD_DEVICES (POPCORN_DEVICES_MAX - 1)

static struct popcorn_head *head;
static struct popcorn_virtio_table *table;

static struct popcorn_add_device a_device(const char *name)
{
	struct popcorn_add_device a = {
		.size = sizeof(a),
		.device = 4,
		.nr_queues = 2,
		.queue_max = SIZE,
		.config_length = 8,
		.features = FEATURES,
		.config = "config",
	};

	snprintf(a.name, sizeof(a.name), "%s", name);
	return a;
}

static int add_device(int fd, const char *name)
{
	struct popcorn_add_device a = a_device(name);
	int r = call(fd, POPCORN_IOC_ADD_DEVICE, &a);

	return r ? r : (int)a.slot;
}

static int device_slot(int fd, unsigned long command, uint32_t slot)
{
	struct popcorn_device_slot s = { .size = sizeof(s), .slot = slot };
	int r = call(fd, command, &s);

	return r || command == POPCORN_IOC_REMOVE_DEVICE ? r : s.fd;
}

static int open_device(int fd, uint32_t slot)
{
	return device_slot(fd, POPCORN_IOC_OPEN_DEVICE, slot);
}

static int remove_device(int fd, uint32_t slot)
{
	return device_slot(fd, POPCORN_IOC_REMOVE_DEVICE, slot);
}

static struct popcorn_device_info device_info(int fd, uint32_t slot)
{
	struct popcorn_device_info i = { .size = sizeof(i), .slot = slot };

	if (call(fd, POPCORN_IOC_DEVICE_INFO, &i))
		i.state = ~0U;
	return i;
}

static int want(int fd, struct popcorn_device_want *ret_want, struct popcorn_queue *queues)
{
	*ret_want = (struct popcorn_device_want){ .size = sizeof(*ret_want),
						  .nr_queues = queues ? POPCORN_QUEUES_MAX : 0,
						  .queues = (uintptr_t)queues };
	return call(fd, POPCORN_IOC_DEVICE_WANT, ret_want);
}

static int done(int fd, uint32_t number, uint32_t state, const char *text)
{
	struct popcorn_device_done d = { .size = sizeof(d), .number = number, .state = state };

	snprintf(d.text, sizeof(d.text), "%s", text);
	return call(fd, POPCORN_IOC_DEVICE_DONE, &d);
}

static int set_queue(int fd, uint32_t queue, int kick, int call_fd)
{
	struct popcorn_device_queue q = {
		.size = sizeof(q), .queue = queue, .kick = kick, .call = call_fd
	};

	return call(fd, POPCORN_IOC_DEVICE_QUEUE, &q);
}

static int set_config(int fd, uint32_t length, const char *text)
{
	struct popcorn_device_config c = { .size = sizeof(c), .length = length };

	snprintf((char *)c.config, sizeof(c.config), "%s", text);
	return call(fd, POPCORN_IOC_DEVICE_CONFIG, &c);
}

static int memory_fd(int fd, uint32_t index, struct popcorn_device_memory *m)
{
	*m = (struct popcorn_device_memory){ .size = sizeof(*m), .index = index };
	return call(fd, POPCORN_IOC_DEVICE_MEMORY, m);
}

/* What poll() says of a descriptor within that time. */
static int events(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1 ? p.revents : 0;
}

/* Takes what an eventfd has counted; 0 if nothing came. */
static uint64_t counted(int fd, int timeout_ms)
{
	uint64_t n = 0;

	if (!(events(fd, timeout_ms) & POLLIN) || read(fd, &n, sizeof(n)) != sizeof(n))
		return 0;
	return n;
}

/* The driver's side of a slot */

static void queues_write(uint32_t slot)
{
	struct popcorn_virtio_queue *q;
	int i;

	for (i = 0; i < 2; i++) {
		q = &table->slot[slot].queue[i];
		*q = (struct popcorn_virtio_queue){ .desc = RAM + i * 8192ULL,
						    .avail = RAM + i * 8192ULL + 4096,
						    .used = RAM + i * 8192ULL + 4096 + 1024,
						    .size = SIZE };
	}
	table->slot[slot].accepted = FEATURES;
}

/* The watch finds it, at the latest. */
static void ring_primary(uint32_t reasons)
{
	__atomic_fetch_or(&head->to_primary, reasons, __ATOMIC_SEQ_CST);
}

static uint32_t request(uint32_t slot, uint32_t command)
{
	struct popcorn_virtio_slot *s = &table->slot[slot];

	s->of = s->instance;
	s->command = command;
	__atomic_store_n(&s->request, s->request + 1, __ATOMIC_RELEASE);
	ring_primary(POPCORN_BELL_REQUEST);
	return s->request;
}

static bool is_done(uint32_t slot, uint32_t number)
{
	int i;

	for (i = 0; i < 50 && *(volatile uint32_t *)&table->slot[slot].done != number; i++)
		usleep(100000);
	return table->slot[slot].done == number;
}

/* Without the capability */
static void test_rights(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {};
	struct popcorn_info i = { .size = sizeof(i) };
	struct popcorn_device_memory m;
	struct popcorn_device_want w;
	int fd, fd2, dev, result = 0;
	pid_t pid;

	create("rights", &fd);
	add_memory(fd, POPCORN_MEMORY_OFFLINE, block_start, block_size);
	add_device(fd, "rights");
	dev = open_device(fd, 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (syscall(SYS_capset, &header, none))
			_exit(99);
		result += create("none", &fd2) != -EPERM;
		result += add_cpus(fd, spare, 1, NULL) != -EPERM;
		result += add_memory(fd, POPCORN_MEMORY_OFFLINE, block_start, block_size) != -EPERM;
		result += load(fd, NULL, 1) != -EPERM;
		result += start(fd, 0, 0, 0) != -EPERM;
		result += kill_kernel(fd) != -EPERM;
		result += release(fd) != -EPERM;
		result += add_device(fd, "none") != -EPERM;
		result += open_device(fd, 0) != -EPERM;
		result += remove_device(fd, 0) != -EPERM;
		/* Whoever was given the device may serve it. */
		result += device_info(fd, 0).served != 1;
		result += want(dev, &w, NULL) != 0;
		result += memory_fd(dev, 0, &m) != 0;
		result += map(m.fd, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED) == MAP_FAILED;
		result += call(device, POPCORN_IOC_INFO, &i) != 0;
		result += status(fd).state != POPCORN_STATE_RESERVED;
		result += map(fd, block_start, 4096, PROT_READ | PROT_WRITE, MAP_SHARED) !=
			  MAP_FAILED;
		result += map(fd, block_start, 4096, PROT_READ, MAP_SHARED) == MAP_FAILED;
		_exit(result);
	}
	waitpid(pid, &result, 0);
	check(WIFEXITED(result) && WEXITSTATUS(result) == 0,
	      "without CAP_SYS_BOOT one may look, and no more (%d)", WEXITSTATUS(result));
	close(dev);
	release(fd);
	close(fd);
}

/* Several at once */

static int shared_fd;
static volatile bool enough;
static pthread_barrier_t barrier;

static void *racer(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	struct op ops[] = { CHECK_IN, READY, BEAT };
	int fd;

	pthread_barrier_wait(&barrier);
	while (!enough) {
		switch (rand_r(&seed) % 12) {
		case 0:
			add_cpus(shared_fd, spare + rand_r(&seed) % 2, 1, NULL);
			break;
		case 1:
			add_memory(shared_fd, POPCORN_MEMORY_OFFLINE, block_start, block_size);
			break;
		case 2:
			add_memory(shared_fd, POPCORN_MEMORY_CONTIG, contig_start, CONTIG_SIZE);
			break;
		case 3:
		case 4:
			load_ops(shared_fd, ops, sizeof(ops));
			break;
		case 5:
		case 6:
			start(shared_fd, KERNEL, OPS, 0);
			break;
		case 7:
			kill_kernel(shared_fd);
			break;
		case 8:
			stop(shared_fd, POPCORN_STOP_ASK, POPCORN_REASON_REQUESTED);
			break;
		case 9:
			/* All of them hang on to the same object, whatever it is by then. */
			if (rand_r(&seed) % 8 == 0 && !release(shared_fd) && !create("race", &fd)) {
				dup3(fd, shared_fd, O_CLOEXEC);
				close(fd);
			}
			break;
		case 10:
			fd = console(shared_fd, O_NONBLOCK);
			if (fd >= 0) {
				char buf[100];

				if (read(fd, buf, sizeof(buf)) > 0 && write(fd, buf, 10) > 0)
					seed++;
				close(fd);
			}
			break;
		case 11: {
			char *at = map(shared_fd, block_start, 8192, PROT_READ, MAP_SHARED);

			status(shared_fd);
			if (at != MAP_FAILED)
				munmap(at, 8192);
			break;
		}
		}
	}
	return NULL;
}

static volatile int creators;

static void *creator(void *arg)
{
	int fd;

	(void)arg;
	pthread_barrier_wait(&barrier);
	if (!create("only", &fd)) {
		__sync_fetch_and_add(&creators, 1);
		shared_fd = fd;
	}
	return NULL;
}

static void threads(void *(*function)(void *))
{
	pthread_t all[THREADS];
	uintptr_t i;

	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (i = 0; i < THREADS; i++)
		pthread_create(&all[i], NULL, function, (void *)(i + 1));
	pthread_barrier_wait(&barrier);
	if (function == racer)
		sleep(4);
	enough = true;
	for (i = 0; i < THREADS; i++)
		pthread_join(all[i], NULL);
	pthread_barrier_destroy(&barrier);
}

static void release_all(void)
{
	struct popcorn_list l = { .size = sizeof(l) };
	uint32_t ids[64];
	uint32_t i;

	l.count = 64;
	l.ids = (uintptr_t)ids;
	if (call(device, POPCORN_IOC_LIST, &l))
		return;
	for (i = 0; i < l.count; i++) {
		struct popcorn_open o = { .size = sizeof(o), .id = ids[i] };

		if (call(device, POPCORN_IOC_OPEN, &o))
			continue;
		kill_kernel(o.fd);
		release(o.fd);
		close(o.fd);
	}
}

/* As it was before any kernel. */
static bool whole(const char *cpus)
{
	struct popcorn_info now = { .size = sizeof(now) };
	char text[64];

	online_cpus(text, sizeof(text));
	return !call(device, POPCORN_IOC_INFO, &now) && now.nr_kernels == 0 &&
	       now.low_free == info.low_free && !strcmp(cpus, text);
}

static void test_threads(void)
{
	char cpus[64];

	online_cpus(cpus, sizeof(cpus));
	threads(creator);
	check(creators == 1, "one of %d creators of the same name won", THREADS);
	release(shared_fd);
	close(shared_fd);
	enough = false;
	create("race", &shared_fd);
	threads(racer);
	release_all();
	close(shared_fd);
	check(whole(cpus), "after %d threads did what they liked, all is as before", THREADS);
}

/* All that was asked for before has been seen: requests are looked at in the order of slots. */
static bool looked(void)
{
	return is_done(POPCORN_DEVICES_MAX - 1,
		       request(POPCORN_DEVICES_MAX - 1, POPCORN_VIRTIO_STOP));
}

static void test_device_args(int fd)
{
	struct popcorn_add_device a;
	struct popcorn_device_info info_args = { .size = sizeof(info_args), .reserved = 1 };
	struct popcorn_device_slot s = { .size = sizeof(s), .fd = 1 };
	char name[8];
	int i;

#define TRY_DEVICE(what, field, value) \
	a = a_device("bad");           \
	a.field = value;               \
	expect(-EINVAL, call(fd, POPCORN_IOC_ADD_DEVICE, &a), "ADD_DEVICE, " what)
	TRY_DEVICE("no device", device, 0);
	TRY_DEVICE("device 64", device, 64);
	TRY_DEVICE("no queue", nr_queues, 0);
	TRY_DEVICE("too many queues", nr_queues, POPCORN_QUEUES_MAX + 1);
	TRY_DEVICE("one entry", queue_max, 1);
	TRY_DEVICE("no power of two", queue_max, 48);
	TRY_DEVICE("too many entries", queue_max, 2 * POPCORN_QUEUE_SIZE_MAX);
	TRY_DEVICE("too long a configuration", config_length, POPCORN_CONFIG_MAX + 1);
	TRY_DEVICE("without VERSION_1", features, 1ULL << 5);
	TRY_DEVICE("ACCESS_PLATFORM", features, FEATURES | 1ULL << VIRTIO_F_ACCESS_PLATFORM);
	TRY_DEVICE("RING_PACKED", features, FEATURES | 1ULL << VIRTIO_F_RING_PACKED);
	TRY_DEVICE("no name", name[0], '\0');
	TRY_DEVICE("a name that can't be printed", name[1], '\n');
	a = a_device("bad");
	memset(a.name, 'a', sizeof(a.name));
	expect(-EINVAL, call(fd, POPCORN_IOC_ADD_DEVICE, &a), "ADD_DEVICE, a name without end");
	a = a_device("bad");
	a.size = offsetof(struct popcorn_add_device, config);
	expect(-EINVAL, call(fd, POPCORN_IOC_ADD_DEVICE, &a), "ADD_DEVICE, too small");

	expect(-ENOENT, open_device(fd, 0), "OPEN_DEVICE, none");
	expect(-ENOENT, open_device(fd, POPCORN_DEVICES_MAX), "OPEN_DEVICE, no such slot");
	expect(-ENOENT, open_device(fd, ~0U), "OPEN_DEVICE, enormous slot");
	expect(-ENOENT, remove_device(fd, 0), "REMOVE_DEVICE, none");
	expect(-EINVAL, call(fd, POPCORN_IOC_OPEN_DEVICE, &s), "OPEN_DEVICE, fd not zero");
	expect(-EINVAL, call(fd, POPCORN_IOC_REMOVE_DEVICE, &s), "REMOVE_DEVICE, fd not zero");
	expect(-EINVAL, call(fd, POPCORN_IOC_DEVICE_INFO, &info_args), "INFO, reserved not zero");
	check(device_info(fd, 0).state == ~0U, "DEVICE_INFO, none");

	expect(0, add_device(fd, "first"), "ADD_DEVICE");
	expect(-EEXIST, add_device(fd, "first"), "ADD_DEVICE, name taken");
	for (i = 1; i < POPCORN_DEVICES_MAX; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		if (add_device(fd, name) != i)
			check(false, "ADD_DEVICE, number %d", i);
	}
	expect(-ENOSPC, add_device(fd, "more"), "ADD_DEVICE, all slots taken");
	expect(0, remove_device(fd, 3), "REMOVE_DEVICE");
	check(add_device(fd, "again") == 3, "its slot is free");
}

/* On a device's descriptor, before the kernel runs. */
static void test_device_fd(int fd, int dev)
{
	struct popcorn_device_want w;
	struct popcorn_device_memory m;
	struct popcorn_device_done d = { .size = sizeof(d), .number = 1, .reserved = 1 };
	int event = eventfd(0, EFD_NONBLOCK), event2 = eventfd(0, EFD_NONBLOCK), fd2 = dup(event);
	uint64_t one = 1;
	char *at;

	check(fcntl(dev, F_GETFD) == FD_CLOEXEC, "its descriptor is close-on-exec");
	expect(-EBUSY, open_device(fd, 0), "OPEN_DEVICE, served already");
	check(device_info(fd, 0).served == 1 && !strcmp(device_info(fd, 0).name, "first"), "INFO");
	expect(-ENOTTY, call(dev, POPCORN_IOC_STATUS, &m), "a kernel's ioctl on a device");
	expect(-ENOTTY, call(fd, POPCORN_IOC_DEVICE_WANT, &w), "a device's ioctl on a kernel");
	expect(-ENOTTY, call(device, POPCORN_IOC_DEVICE_WANT, &w), "and on /dev/popcorn");

	check(events(dev, 0) & POLLIN, "there is a wish from the start");
	expect(0, want(dev, &w, NULL), "WANT");
	check(w.state == POPCORN_DEVICE_STOPPED && w.nr_queues == 2, "stop, 2 queues");
	expect(-ESTALE, done(dev, w.number + 1, w.state, ""), "DONE, another number");
	expect(-EINVAL, done(dev, w.number, POPCORN_DEVICE_STARTED, ""), "DONE, another state");
	expect(-EINVAL, done(dev, w.number, 3, ""), "DONE, no state");
	expect(-EINVAL, done(dev, w.number, w.state, "text"), "DONE, a text without need");
	expect(-EINVAL, done(dev, w.number, POPCORN_DEVICE_FAILED, ""), "FAILED without a text");
	expect(-EINVAL, done(dev, w.number, POPCORN_DEVICE_FAILED, "a\tb"),
	       "FAILED, not printable");
	expect(-EINVAL, call(dev, POPCORN_IOC_DEVICE_DONE, &d), "DONE, reserved not zero");
	check(events(dev, 0) & POLLIN, "the wish is still to be answered");
	expect(0, done(dev, w.number, w.state, ""), "DONE");
	check(!events(dev, 0), "and now it is not");

	expect(-EINVAL, set_queue(dev, 2, -1, -1), "QUEUE, no such queue");
	expect(-EBADF, set_queue(dev, 0, 1000, -1), "QUEUE, kick is no descriptor");
	expect(-EBADF, set_queue(dev, 0, -1, -2), "QUEUE, call is no descriptor");
	expect(-EINVAL, set_queue(dev, 0, device, -1), "QUEUE, kick is no eventfd");
	expect(0, set_queue(dev, 0, event, event2), "QUEUE");
	check(counted(event, 0) == 1, "a new kick is signalled");
	expect(-EINVAL, set_queue(dev, 0, event, device), "QUEUE, call is no eventfd");
	check(!counted(event, 0), "and nothing has happened");
	check(write(event2, &one, 8) == 8 && !counted(event2, 0), "who calls needs no reader");
	expect(0, set_queue(dev, 0, fd2, -1), "QUEUE, replaced");
	check(write(event2, &one, 8) == 8 && counted(event2, 0) == 1, "the old call is let go");
	expect(0, set_queue(dev, 0, -1, -1), "QUEUE, taken away");

	expect(-EINVAL, set_config(dev, 7, "x"), "CONFIG, too short");
	expect(-EINVAL, set_config(dev, POPCORN_CONFIG_MAX + 1, "x"), "CONFIG, too long");
	expect(0, set_config(dev, 8, "second"), "CONFIG");

	expect(0, memory_fd(dev, 0, &m), "MEMORY");
	check(m.start == KERNEL && m.length == block_size - POPCORN_HEAD_SIZE,
	      "it is the range without the head");
	check(map(m.fd, 0, 4096, PROT_READ, MAP_PRIVATE) == MAP_FAILED && errno == EINVAL,
	      "private");
	check(map(m.fd, m.length, 4096, PROT_READ, MAP_SHARED) == MAP_FAILED && errno == ERANGE,
	      "behind it");
	check(map(m.fd, m.length - 4096, 8192, PROT_READ, MAP_SHARED) == MAP_FAILED &&
		      errno == ERANGE,
	      "over its end");
	check(map(m.fd, 1ULL << 52, 4096, PROT_READ, MAP_SHARED) == MAP_FAILED, "far behind it");
	at = map(m.fd, 4096, 4096, PROT_READ | PROT_WRITE, MAP_SHARED);
	check(at != MAP_FAILED && !touch(at), "it can be mapped");
	check(mremap(at, 4096, m.length, MREMAP_MAYMOVE) == MAP_FAILED, "but not made larger");
	munmap(at, 4096);
	expect(-ENOTTY, call(m.fd, POPCORN_IOC_DEVICE_WANT, &w), "an ioctl on it");
	close(m.fd);
	m = (struct popcorn_device_memory){ .size = sizeof(m), .reserved = 1 };
	expect(-EINVAL, call(dev, POPCORN_IOC_DEVICE_MEMORY, &m), "MEMORY, reserved not zero");
	expect(-ENOENT, memory_fd(dev, 1, &m), "MEMORY, no more");
	expect(-ENOENT, memory_fd(dev, ~0U, &m), "MEMORY, enormous index");
	close(event);
	close(event2);
	close(fd2);
}

/* As a driver should. */
static void test_device_life(int fd, int dev)
{
	struct popcorn_virtio_slot *slot = &table->slot[0];
	struct popcorn_queue queues[POPCORN_QUEUES_MAX] = {};
	int kick = eventfd(0, EFD_NONBLOCK), call_fd = eventfd(0, EFD_NONBLOCK), dev2;
	struct popcorn_device_want w;
	uint32_t number, generation;
	uint64_t one = 1;

	check(table->magic == POPCORN_VIRTIO_MAGIC && table->version == POPCORN_VIRTIO_VERSION &&
		      table->size == sizeof(*table) && table->nr_slots == POPCORN_VIRTIO_SLOTS &&
		      table->slot_size == sizeof(*slot),
	      "the table is there");
	check(slot->instance && slot->device == 4 && slot->nr_queues == 2 &&
		      slot->queue_max == SIZE && slot->features == FEATURES &&
		      slot->config_length == 8 && !memcmp(slot->config, "second\0\0", 8) &&
		      !(slot->config_generation & 1) && slot[1].instance != slot->instance,
	      "with the device");
	generation = slot->config_generation;
	expect(0, set_config(dev, 8, "third"), "CONFIG");
	check(!memcmp(slot->config, "third\0\0\0", 8) && slot->config_generation == generation + 2,
	      "is seen");
	check(head->to_guest & POPCORN_BELL_DEVICES, "and announced");

	check(is_done(0, request(0, POPCORN_VIRTIO_STOP)), "STOP of what is stopped");
	expect(0, set_queue(dev, 1, kick, call_fd), "QUEUE");
	counted(kick, 0);
	queues_write(0);
	number = request(0, POPCORN_VIRTIO_START);
	check(events(dev, 5000) & POLLIN, "START is a wish");
	expect(0, want(dev, &w, queues), "WANT");
	check(w.state == POPCORN_DEVICE_STARTED && w.features == FEATURES && w.nr_queues == 2 &&
		      queues[1].desc == RAM + 8192 && queues[1].size == SIZE,
	      "with features and queues");
	w.queues = 8;
	expect(-EFAULT, call(dev, POPCORN_IOC_DEVICE_WANT, &w), "WANT, bad pointer");
	check(device_info(fd, 0).state == POPCORN_DEVICE_STOPPED && slot->done != number,
	      "not yet started");
	slot->called = 0;
	expect(0, done(dev, w.number, POPCORN_DEVICE_STARTED, ""), "DONE");
	check(device_info(fd, 0).state == POPCORN_DEVICE_STARTED && slot->done == number,
	      "started");
	check(counted(kick, 0) == 1 && slot->called == 3, "both sides look once");

	slot->called = 0;
	head->to_guest = 0;
	check(write(call_fd, &one, 8) == 8 && slot->called == 2 &&
		      head->to_guest & POPCORN_BELL_CALL,
	      "a call");
	slot->kicked = 0xffff;
	ring_primary(POPCORN_BELL_KICK);
	check(counted(kick, 5000) == 1 && !slot->kicked, "a kick");
	check(device_info(fd, 0).kicks == 1 && device_info(fd, 0).calls >= 2, "are counted");

	close(dev);
	check(device_info(fd, 0).served == 0 && device_info(fd, 0).state == POPCORN_DEVICE_STARTED,
	      "its server is gone");
	slot->called = 0;
	check(write(call_fd, &one, 8) == 8 && slot->called == 0 && counted(call_fd, 0) == 1,
	      "and does not call any more");
	dev2 = open_device(fd, 0);
	check(dev2 >= 0 && events(dev2, 0) & POLLIN && !want(dev2, &w, queues) &&
		      w.state == POPCORN_DEVICE_STARTED && queues[0].size == SIZE,
	      "another one takes it over");
	expect(0, done(dev2, w.number, w.state, ""), "DONE");

	number = request(0, POPCORN_VIRTIO_STOP);
	check(events(dev2, 5000) & POLLIN && slot->done != number, "STOP is waited for");
	queues_write(0);
	number = request(0, POPCORN_VIRTIO_START);
	check(looked(), "it was looked at");
	expect(0, want(dev2, &w, queues), "WANT");
	check(w.state == POPCORN_DEVICE_STOPPED, "a START that comes too early is not seen");
	expect(0, done(dev2, w.number, w.state, ""), "DONE");
	check(slot->done == number - 1 && events(dev2, 0) & POLLIN && !want(dev2, &w, queues) &&
		      w.state == POPCORN_DEVICE_STARTED,
	      "before STOP was answered");
	expect(0, done(dev2, w.number, POPCORN_DEVICE_FAILED, "woe"), "FAILED");
	check(!strcmp(device_info(fd, 0).text, "woe") && slot->flags == POPCORN_VIRTIO_FAILED &&
		      device_info(fd, 0).state == POPCORN_DEVICE_FAILED && !events(dev2, 0),
	      "is known");
	slot->of = slot->instance + 100;
	slot->command = POPCORN_VIRTIO_STOP;
	slot->request++;
	ring_primary(POPCORN_BELL_REQUEST);
	check(looked(), "it was looked at");
	check(slot->flags == POPCORN_VIRTIO_FAILED, "a request for another instance does nothing");
	check(is_done(0, request(0, POPCORN_VIRTIO_GIVE_UP)) && !slot->flags &&
		      !device_info(fd, 0).text[0],
	      "until it is reset");
	close(dev2);
	close(kick);
	close(call_fd);
}

/* As a driver should not: each in a slot of its own, all looked at together. */
static void test_device_hostile(int fd)
{
	static const struct {
		const char *text;
		size_t offset;
		uint64_t value;
	} bad[] = {
#define Q(field) offsetof(struct popcorn_virtio_slot, queue[1].field)
#define BAD_QUEUE(field, value, text) { "queue 1: " text, Q(field), value }
		BAD_QUEUE(size, 2 * SIZE, "bad size"),
		BAD_QUEUE(size, 3, "bad size"),
		BAD_QUEUE(size, 1U << 31, "bad size"),
		BAD_QUEUE(desc, 8, "not aligned"),
		BAD_QUEUE(avail, 1, "not aligned"),
		BAD_QUEUE(used, 2, "not aligned"),
		BAD_QUEUE(desc, 0, "not in the kernel's memory"),
		BAD_QUEUE(used, 0x1000000, "not in the kernel's memory"),
		BAD_QUEUE(avail, 0ULL - 4096, "not in the kernel's memory"),
		{ "queue 2: does not exist", offsetof(struct popcorn_virtio_slot, queue[2].size),
		  4 },
		{ "features that were not offered", offsetof(struct popcorn_virtio_slot, accepted),
		  FEATURES | 1ULL << 6 },
		{ "a driver of before virtio 1.0", offsetof(struct popcorn_virtio_slot, accepted),
		  1ULL << 5 },
		{ "queue 1: not in the kernel's memory", 0, 0 }, /* its head: see below */
		{ "queue 1: not in the kernel's memory", 0, 0 }, /* over the end of the range */
		{ "command 77 does not exist", 0, 0 },
	};
	struct popcorn_device_want w;
	uint32_t slot;
	int dev;

	_Static_assert(sizeof(bad) / sizeof(*bad) == BAD_DEVICES, "one for each slot");
	for (slot = 1; slot <= BAD_DEVICES; slot++) {
		queues_write(slot);
		if (bad[slot - 1].offset == Q(size) ||
		    bad[slot - 1].offset == offsetof(struct popcorn_virtio_slot, queue[2].size))
			*(uint32_t *)((char *)&table->slot[slot] + bad[slot - 1].offset) =
				(uint32_t)bad[slot - 1].value;
		else if (bad[slot - 1].offset)
			*(uint64_t *)((char *)&table->slot[slot] + bad[slot - 1].offset) =
				bad[slot - 1].value;
	}
	table->slot[13].queue[1].used = block_start + POPCORN_HEAD_CONSOLE_OUT;
	table->slot[14].queue[1].desc = block_start + block_size - SIZE * 16ULL + 16;
	for (slot = 1; slot <= BAD_DEVICES; slot++)
		request(slot, slot == BAD_DEVICES ? 77 : POPCORN_VIRTIO_START);
	for (slot = 0; slot < 50 && table->slot[BAD_DEVICES].flags != POPCORN_VIRTIO_FAILED; slot++)
		usleep(100000);
	for (slot = 1; slot <= BAD_DEVICES; slot++)
		check(table->slot[slot].flags == POPCORN_VIRTIO_FAILED &&
			      !strcmp(device_info(fd, slot).text, bad[slot - 1].text),
		      "slot %u fails: %s", slot, device_info(fd, slot).text);

	/* Not started by asking again, but after a reset; started twice it is stopped. */
	dev = open_device(fd, 1);
	want(dev, &w, NULL);
	expect(0, done(dev, w.number, w.state, ""), "DONE of the wish that was there");
	queues_write(1);
	request(1, POPCORN_VIRTIO_START);
	check(looked(), "it was looked at");
	check(table->slot[1].flags == POPCORN_VIRTIO_FAILED, "a failed device stays so");
	check(is_done(1, request(1, POPCORN_VIRTIO_STOP)), "it is reset");
	request(1, POPCORN_VIRTIO_START);
	for (slot = 0; slot < 2; slot++) {
		check(events(dev, 5000) & POLLIN, "a wish");
		expect(0, want(dev, &w, NULL), "WANT");
		check(w.state == (slot ? POPCORN_DEVICE_STOPPED : POPCORN_DEVICE_STARTED),
		      "state %u", w.state);
		expect(0, done(dev, w.number, w.state, ""), "DONE");
		if (!slot)
			request(1, POPCORN_VIRTIO_START);
	}
	check(!strcmp(device_info(fd, 1).text, "was started twice"), "%s", device_info(fd, 1).text);
	close(dev);
}

static void *scribbler(void *arg)
{
	struct popcorn_virtio_slot *slot = arg;
	unsigned int seed = 1;
	int i;

	while (!enough) {
		for (i = 0; i < 2; i++) {
			slot->queue[i].desc = rand_r(&seed) % 2 ? RAM : 0x1000;
			slot->queue[i].size = rand_r(&seed) % 2 ? SIZE : 77;
		}
		slot->of = slot->instance;
		slot->command = (uint32_t)rand_r(&seed) % 4;
		slot->request++;
		ring_primary(POPCORN_BELL_REQUEST | POPCORN_BELL_KICK);
		slot->kicked = (uint32_t)rand_r(&seed);
		slot->done = (uint32_t)rand_r(&seed);
	}
	return NULL;
}

/* The table changes while it is read: what the server gets was checked all the same. */
static void test_device_scribble(int fd)
{
	struct popcorn_queue q[POPCORN_QUEUES_MAX];
	int dev = open_device(fd, 2), i, n = 0, bad = 0;
	struct popcorn_device_want w;
	pthread_t thread;

	queues_write(2);
	enough = false;
	pthread_create(&thread, NULL, scribbler, &table->slot[2]);
	for (i = 0; i < 6; i++) {
		events(dev, 1000);
		if (want(dev, &w, q))
			bad++;
		if (w.state == POPCORN_DEVICE_STARTED) {
			n++;
			bad += (q[0].size && (q[0].size != SIZE || q[0].desc != RAM)) ||
			       (q[1].size && (q[1].size != SIZE || q[1].desc != RAM));
		}
		done(dev, w.number, w.state, "");
	}
	enough = true;
	pthread_join(thread, NULL);
	enough = false;
	check(!bad, "a table that changes all the time: %d STARTs, none of them wrong", n);
	close(dev);
}

static void test_devices(void)
{
	struct popcorn_device_memory m;
	struct popcorn_device_want w;
	int fd, dev, dev2, i;
	char *late, *at;

	if (create("devices", &fd) || add_cpus(fd, spare, 2, NULL) ||
	    add_memory(fd, POPCORN_MEMORY_OFFLINE, block_start, block_size) ||
	    load_ops(fd, (const struct op[]){ CHECK_IN, READY, BEAT },
		     sizeof((const struct op[]){ CHECK_IN, READY, BEAT }))) {
		check(false, "prepare a kernel for devices");
		return;
	}
	test_device_args(fd);
	dev = open_device(fd, 0);
	test_device_fd(fd, dev);
	expect(0, start(fd, KERNEL, OPS, 0), "START");
	check(reach(fd, POPCORN_STATE_RUNNING, 5000), "it runs");
	head = map(fd, block_start, POPCORN_HEAD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (!check(head != MAP_FAILED, "its head is mapped"))
		return;
	table = (void *)((char *)head + POPCORN_HEAD_DEVICES);
	test_device_life(fd, dev);
	test_device_hostile(fd);
	test_device_scribble(fd);

	/* Taken away from its server. */
	dev = open_device(fd, 0);
	table->slot[0].kicked = 1;
	expect(0, remove_device(fd, 0), "REMOVE_DEVICE");
	check(events(dev, 0) & POLLHUP, "POLLHUP");
	expect(-ENODEV, want(dev, &w, NULL), "WANT of a device that was removed");
	expect(-ENODEV, done(dev, 1, 0, ""), "DONE");
	expect(-ENODEV, set_queue(dev, 0, -1, -1), "QUEUE");
	expect(-ENODEV, set_config(dev, 8, ""), "CONFIG");
	expect(-ENODEV, memory_fd(dev, 0, &m), "MEMORY");
	check(table->slot[0].instance && table->slot[0].flags & POPCORN_VIRTIO_REMOVED,
	      "the driver is told");
	expect(-ENOENT, remove_device(fd, 0), "REMOVE_DEVICE, again");
	expect(-ENOSPC, add_device(fd, "first"), "its slot is not free yet");
	close(dev);
	check(!table->slot[0].instance, "now the device is gone");
	expect(0, add_device(fd, "first"), "and its slot is free");
	check(table->slot[0].instance && !table->slot[0].flags && !table->slot[0].kicked,
	      "for another one");

	/* The kernel ends, and is released, with all of it open. */
	dev = open_device(fd, 0);
	dev2 = open_device(fd, 1);
	memory_fd(dev, 0, &m);
	at = map(m.fd, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED);
	check(!touch(at), "its memory is mapped");
	late = map(m.fd, MB, 4096, PROT_READ, MAP_SHARED);
	expect(0, kill_kernel(fd), "KILL");
	check(events(dev, 0) & POLLHUP && events(dev2, 0) & POLLHUP, "POLLHUP");
	expect(-ENODEV, want(dev, &w, NULL), "WANT after the end");
	close(dev2);
	expect(-EBUSY, open_device(fd, 1), "OPEN_DEVICE after the end");
	expect(-EBUSY, add_device(fd, "late"), "ADD_DEVICE after the end");
	check(device_info(fd, 1).state != ~0U, "INFO after the end");
	check(!touch(at), "its memory is still there");
	expect(0, release(fd), "RELEASE");
	check(touch(at) == SIGBUS && touch(late) == SIGBUS, "and now it is gone");
	check(map(m.fd, 0, 4096, PROT_READ, MAP_SHARED) == MAP_FAILED && errno == ENODEV,
	      "for good");
	for (i = 0; i < 2; i++)
		expect(-ENODEV, i ? add_device(fd, "x") : open_device(fd, 0), "after RELEASE");
	check(syscall(SYS_delete_module, "popcorn_kexec", O_NONBLOCK) < 0, "the driver stays");
	munmap(at, 4096);
	munmap(late, 4096);
	munmap(head, POPCORN_HEAD_SIZE);
	close(m.fd);
	close(dev);
	close(fd);
}

/* Faults: the nth step fails */

static int faulty_life(const char **ret_where)
{
	const struct op ops[] = { CHECK_IN, READY, BEAT };
	int fd = -1, dev = -1, event = eventfd(0, EFD_CLOEXEC), con, r;
	struct popcorn_device_memory m;

#define STEP(what)                  \
	do {                        \
		*ret_where = #what; \
		r = what;           \
		if (r < 0)          \
			goto end;   \
	} while (0)
	STEP(create("faulty", &fd));
	STEP(add_cpus(fd, spare, 2, NULL));
	STEP(add_memory(fd, POPCORN_MEMORY_OFFLINE, block_start, block_size));
	STEP(add_memory(fd, POPCORN_MEMORY_CONTIG, contig_start, CONTIG_SIZE));
	STEP(load_ops(fd, ops, sizeof(ops)));
	STEP(add_device(fd, "faulty"));
	STEP(start(fd, KERNEL, OPS, 0));
	STEP(console(fd, 0));
	con = r;
	close(con);
	STEP(open_device(fd, 0));
	dev = r;
	STEP(set_queue(dev, 0, event, event));
	STEP(memory_fd(dev, 0, &m));
	close(m.fd);
	close(dev);
	dev = -1;
	STEP(kill_kernel(fd));
	STEP(release(fd));
#undef STEP
	close(event);
	close(fd);
	return 0;
end:
	close(event);
	if (dev >= 0)
		close(dev);
	if (fd >= 0) {
		kill_kernel(fd);
		/* What could not be stopped or given back is kept, and can be tried again. */
		if (release(fd))
			release(fd);
		close(fd);
	}
	return r;
}

static void test_faults(void)
{
	char cpus[64], text[16];
	const char *where;
	int n, r;

	online_cpus(cpus, sizeof(cpus));
	for (n = 1; n < FAULTS_MAX; n++) {
		snprintf(text, sizeof(text), "%d", n);
		if (write_file(PARAMETER, text)) {
			check(false, "set " PARAMETER);
			return;
		}
		r = faulty_life(&where);
		read_file(PARAMETER, text, sizeof(text));
		if (r)
			check(whole(cpus), "fault %d: %s: %s, all is as before", n, where,
			      error_name(r));
		else
			check(whole(cpus), "fault %d: none was seen, all is as before", n);
		if (atoi(text) > 0)
			break;
	}
	write_file(PARAMETER, "0");
	check(n > 15 && n < FAULTS_MAX, "%d steps that can fail", n - 1);
	set_block(block_start, "online");
	check(!set_block(block_start, "offline") || !set_block(block_start, "offline"),
	      "the memory block can still be used");
}

int main(int argc, char *argv[])
{
	if (argc == 3) {
		spare[0] = (uint32_t)atoi(argv[1]);
		spare[1] = (uint32_t)atoi(argv[2]);
	}
	device = open(POPCORN_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0) {
		perror(POPCORN_DEVICE);
		return 2;
	}
	test_device();
	test_low_memory();
	test_cpus();
	if (!check(find_memory(), "memory block %#llx, evacuable %#llx",
		   (unsigned long long)block_start, (unsigned long long)contig_start))
		return 1;
	test_memory();
	test_load();
	test_rights();
	test_life();
	test_ends();
	test_hostile_rings();
	test_devices();
	test_threads();
	test_faults();
	release_all();
	set_block(block_start, "online");
	printf("1..%d\n", tests);
	if (failed)
		printf("# %d failed\n", failed);
	return failed ? 1 : 0;
}
