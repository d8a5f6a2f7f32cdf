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
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <popcorn.h>
#include <popcorn/head.h>

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

/* Without the capability */
static void test_rights(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {};
	struct popcorn_info i = { .size = sizeof(i) };
	int fd, fd2, result = 0;
	pid_t pid;

	create("rights", &fd);
	add_memory(fd, POPCORN_MEMORY_OFFLINE, block_start, block_size);
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

/* Faults: the nth step fails */

static int faulty_life(const char **ret_where)
{
	const struct op ops[] = { CHECK_IN, READY, BEAT };
	int fd = -1, con, r;

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
	STEP(start(fd, KERNEL, OPS, 0));
	STEP(console(fd, 0));
	con = r;
	close(con);
	STEP(kill_kernel(fd));
	STEP(release(fd));
#undef STEP
	close(fd);
	return 0;
end:
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
	test_threads();
	test_faults();
	release_all();
	set_block(block_start, "online");
	printf("1..%d\n", tests);
	if (failed)
		printf("# %d failed\n", failed);
	return failed ? 1 : 0;
}
