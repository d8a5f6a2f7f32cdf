// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Gives a secondary a virtio device and serves it, by /dev/popcorn alone: a source of random numbers (virtio 1.2,
 * 5.4), all of which say "popcorn ", so that whoever reads them sees that they are ours.
 *
 *	popcorn-device add KERNEL NAME		prints the slot
 *	popcorn-device remove KERNEL SLOT
 *	popcorn-device info KERNEL SLOT		state, whether it is served, kicks, calls, why it failed
 *	popcorn-device config KERNEL SLOT	changes the configuration, as its server
 *	popcorn-device serve KERNEL SLOT [HOW]	until the device is gone; says what it does
 *
 * HOW: "slow": never answers a STOP; "fail": fails the device at the first buffer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <popcorn.h>

#define RANGES_MAX 64
#define QUEUE_MAX 64

static struct {
	uint64_t start, length;
	uint8_t *at;
} ranges[RANGES_MAX];
static unsigned int nr_ranges;

static struct popcorn_queue queue;
static uint16_t next;
static unsigned long long served;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "popcorn-device: %s: %s\n", what, strerrorname_np(errno));
	exit(1);
}

static void say(const char *what, unsigned long long number)
{
	printf("%s %llu\n", what, number);
	fflush(stdout);
}

static int open_kernel(const char *id)
{
	struct popcorn_open o = { .size = sizeof(o), .id = (uint32_t)atoi(id) };
	int device = open(POPCORN_DEVICE, O_RDWR | O_CLOEXEC);

	if (device < 0 || ioctl(device, POPCORN_IOC_OPEN, &o))
		die("open the kernel");
	close(device);
	return o.fd;
}

static int open_device(int kernel, const char *slot)
{
	struct popcorn_device_slot o = { .size = sizeof(o), .slot = (uint32_t)atoi(slot) };

	if (ioctl(kernel, POPCORN_IOC_OPEN_DEVICE, &o))
		die("OPEN_DEVICE");
	return o.fd;
}

static void map_memory(int device)
{
	struct popcorn_device_memory m = { .size = sizeof(m) };
	void *at;

	while (nr_ranges < RANGES_MAX && !ioctl(device, POPCORN_IOC_DEVICE_MEMORY, &m)) {
		at = mmap(NULL, m.length, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
		if (at == MAP_FAILED)
			die("mmap");
		close(m.fd);
		ranges[nr_ranges].start = m.start;
		ranges[nr_ranges].length = m.length;
		ranges[nr_ranges++].at = at;
		m = (struct popcorn_device_memory){ .size = sizeof(m), .index = nr_ranges };
	}
	if (errno != ENOENT)
		die("DEVICE_MEMORY");
	say("ranges", nr_ranges);
}

/* Where a piece of the kernel's memory is here. */
static void *at(uint64_t address, uint64_t length)
{
	unsigned int i;

	for (i = 0; i < nr_ranges; i++)
		if (address >= ranges[i].start && address - ranges[i].start < ranges[i].length &&
		    length <= ranges[i].length - (address - ranges[i].start))
			return ranges[i].at + (address - ranges[i].start);
	errno = ERANGE;
	die("an address of the driver");
}

/* Fills all buffers that are there; how many. */
static unsigned int work(void)
{
	struct vring_desc *desc = at(queue.desc, queue.size * sizeof(*desc));
	struct vring_avail *avail = at(queue.avail, 4 + 2 * queue.size);
	struct vring_used *used = at(queue.used, 4 + 8 * queue.size);
	unsigned int n = 0;
	uint16_t head;
	uint32_t i;

	for (; next != __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE); next++, n++) {
		struct vring_desc d;
		uint8_t *to;

		head = avail->ring[next % queue.size];
		d = desc[head % queue.size];
		to = at(d.addr, d.len);
		for (i = 0; i < d.len; i++)
			to[i] = (uint8_t) "popcorn "[i % 8];
		used->ring[next % queue.size] = (struct vring_used_elem){ head, d.len };
		__atomic_store_n(&used->idx, (uint16_t)(next + 1), __ATOMIC_RELEASE);
	}
	served += n;
	return n;
}

static void answer(int device, uint32_t number, uint32_t state, const char *text)
{
	struct popcorn_device_done d = { .size = sizeof(d), .number = number, .state = state };

	strcpy(d.text, text);
	if (ioctl(device, POPCORN_IOC_DEVICE_DONE, &d) && errno != ESTALE && errno != ENODEV)
		die("DEVICE_DONE");
}

/* Finds out what is wanted and does it; its number. */
static uint32_t obey(int device, bool slow, bool *ret_started)
{
	struct popcorn_device_want w = { .size = sizeof(w),
					 .nr_queues = 1,
					 .queues = (uintptr_t)&queue };

	if (ioctl(device, POPCORN_IOC_DEVICE_WANT, &w)) {
		if (errno == ENODEV)
			return 0;
		die("DEVICE_WANT");
	}
	*ret_started = w.state == POPCORN_DEVICE_STARTED;
	if (*ret_started) {
		/* As vhost does: what is used was served, by whomever. */
		next = ((struct vring_used *)at(queue.used, 4 + 8 * queue.size))->idx;
		say("started", w.number);
	} else {
		say("stopped", served);
		if (slow)
			pause();
	}
	answer(device, w.number, w.state, "");
	return w.number;
}

static int serve(int device, const char *how)
{
	struct popcorn_device_queue q = { .size = sizeof(q) };
	struct pollfd fds[2] = { { .fd = device, .events = POLLIN } };
	uint32_t number = 0;
	bool started = false;
	uint64_t count;

	map_memory(device);
	q.kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q.call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q.kick < 0 || q.call < 0 || ioctl(device, POPCORN_IOC_DEVICE_QUEUE, &q))
		die("DEVICE_QUEUE");
	fds[1] = (struct pollfd){ .fd = q.kick, .events = POLLIN };
	say("serves", 0);
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			die("poll");
		if (fds[0].revents & POLLHUP)
			break;
		if (fds[0].revents & POLLIN)
			number = obey(device, !strcmp(how, "slow"), &started);
		if (!(fds[1].revents & POLLIN) || read(q.kick, &count, sizeof(count)) < 0)
			continue;
		if (started && !strcmp(how, "fail")) {
			started = false;
			answer(device, number, POPCORN_DEVICE_FAILED, "it was told to");
			say("failed", 0);
		}
		count = 1;
		if (started && work() && write(q.call, &count, sizeof(count)) < 0)
			die("call");
	}
	say("hung up", served);
	return 0;
}

int main(int argc, char *argv[])
{
	struct popcorn_device_slot s = { .size = sizeof(s) };
	const char *verb = argc > 3 ? argv[1] : "";
	int kernel = argc > 3 ? open_kernel(argv[2]) : -1;

	if (!strcmp(verb, "add")) {
		struct popcorn_add_device a = {
			.size = sizeof(a),
			.device = VIRTIO_ID_RNG,
			.nr_queues = 1,
			.queue_max = QUEUE_MAX,
			.config_length = 8,
			.features = 1ULL << VIRTIO_F_VERSION_1,
		};

		snprintf(a.name, sizeof(a.name), "%s", argv[3]);
		if (ioctl(kernel, POPCORN_IOC_ADD_DEVICE, &a))
			die("ADD_DEVICE");
		printf("%u\n", a.slot);
	} else if (!strcmp(verb, "remove")) {
		s.slot = (uint32_t)atoi(argv[3]);
		if (ioctl(kernel, POPCORN_IOC_REMOVE_DEVICE, &s))
			die("REMOVE_DEVICE");
	} else if (!strcmp(verb, "info")) {
		struct popcorn_device_info i = { .size = sizeof(i),
						 .slot = (uint32_t)atoi(argv[3]) };

		if (ioctl(kernel, POPCORN_IOC_DEVICE_INFO, &i))
			die("DEVICE_INFO");
		printf("%s state %u served %u kicks %llu calls %llu %s\n", i.name, i.state,
		       i.served, (unsigned long long)i.kicks, (unsigned long long)i.calls, i.text);
	} else if (!strcmp(verb, "config")) {
		struct popcorn_device_config c = { .size = sizeof(c), .length = 8 };

		memcpy(c.config, "changed", 8);
		if (ioctl(open_device(kernel, argv[3]), POPCORN_IOC_DEVICE_CONFIG, &c))
			die("DEVICE_CONFIG");
	} else if (!strcmp(verb, "serve")) {
		return serve(open_device(kernel, argv[3]), argc > 4 ? argv[4] : "");
	} else {
		fprintf(stderr, "Usage: popcorn-device add|remove|info|config|serve KERNEL SLOT\n");
		return 2;
	}
	return 0;
}
