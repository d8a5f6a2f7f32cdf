// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Boots one secondary by raw ioctls, without popcornd: for the driver's own tests, and to see a
 * kernel's first words. Runs as root in a test machine. Gives everything back at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <popcorn.h>

#include "error.h"
#include "image.h"
#include "klog.h"
#include "vmlinux.h"

#define MEMORY_DIR "/sys/devices/system/memory"
#define NODE_DIR "/sys/devices/system/node"
#define LIST_MAX 4096
#define MODULES_MAX 16
#define AUTO_BLOCKS 4
#define NODES_MAX 64
#define OFFLINE_TRIES 5

static const char agent_script[] = "#!/bin/busybox sh\n"
				   "/bin/busybox --install -s /bin\n"
				   "mount -t proc proc /proc\n"
				   "mount -t sysfs sys /sys\n"
				   "mount -t devtmpfs dev /dev\n"
				   "for m in /popcorn/modules/*; do insmod $m; done\n"
				   "uname -a\n"
				   "nproc\n"
				   "[ -f /popcorn/run ] && . /popcorn/run\n"
				   "[ -c /dev/hvc0 ] && exec setsid sh </dev/hvc0 >/dev/hvc0 2>&1\n"
				   "exec sh\n";

struct options {
	const char *name, *kernel, *initrd, *agent, *busybox, *append, *run;
	const char *modules[MODULES_MAX];
	size_t n_modules;
	uint32_t cpus[LIST_MAX];
	size_t n_cpus;
	uint32_t blocks[LIST_MAX];
	size_t n_blocks;
	unsigned timeout;
	bool interactive, until_running, log, direct;
};

struct trial {
	int device, fd, console;
	uint64_t block_size;
	uint32_t offline[LIST_MAX]; /* blocks that we took */
	size_t n_offline;
	struct popcorn_info info;
	struct popcorn_status status;
	uint32_t cpus[LIST_MAX], apicids[LIST_MAX];
	struct popcorn_range ranges[LIST_MAX];
	unsigned nodes[NODES_MAX];
	size_t n_nodes;
	uint8_t distances[NODES_MAX * NODES_MAX];
	unsigned cpu_nodes[LIST_MAX]; /* by CPU index */
};

static int fail(const char *what, int r)
{
	fprintf(stderr, "popcorn-boot: %s: %s\n", what, strerror(-r));
	return r;
}

static int parse_list(const char *s, uint32_t *list, size_t *ret_n)
{
	size_t n = 0;

	while (*s) {
		char *end;
		unsigned long first = strtoul(s, &end, 0), last = first;

		if (end == s)
			return -EINVAL;
		if (*end == '-')
			last = strtoul(end + 1, &end, 0);
		for (; first <= last; first++) {
			if (n == LIST_MAX)
				return -E2BIG;
			list[n++] = (uint32_t)first;
		}
		if (*end == ',')
			end++;
		else if (*end)
			return -EINVAL;
		s = end;
	}
	*ret_n = n;
	return n ? 0 : -EINVAL;
}

static int read_file(const char *path, void **ret, size_t *ret_size)
{
	struct stat st;
	size_t done = 0;
	char *data;
	int fd, r = 0;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = fail(path, -errno);
		if (fd >= 0)
			close(fd);
		return r;
	}
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		abort();
	while (done < (size_t)st.st_size) {
		ssize_t n = read(fd, data + done, (size_t)st.st_size - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	close(fd);
	data[done] = '\0';
	*ret = data;
	*ret_size = done;
	return r;
}

static int set_block(uint32_t block, const char *state)
{
	char path[128];
	ssize_t n;
	int fd, r;

	snprintf(path, sizeof(path), MEMORY_DIR "/memory%u/state", block);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, state, strlen(state));
	r = n < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int take_block(struct trial *t, uint32_t block)
{
	int r = -EBUSY;

	/* Offlining migrates pages; one that is in use just now may be free at the next try. */
	for (int i = 0; i < OFFLINE_TRIES && r == -EBUSY; i++)
		r = set_block(block, "offline");
	if (r == 0)
		t->offline[t->n_offline++] = block;
	return r;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int take_memory(struct trial *t, const struct options *o)
{
	void *text;
	size_t size;
	int r;

	r = read_file(MEMORY_DIR "/block_size_bytes", &text, &size);
	if (r < 0)
		return r;
	t->block_size = strtoull(text, NULL, 16);
	free(text);

	for (size_t i = 0; i < o->n_blocks; i++) {
		r = take_block(t, o->blocks[i]);
		if (r < 0) {
			fprintf(stderr, "popcorn-boot: memory block %u: ", o->blocks[i]);
			return fail("offline", r);
		}
	}
	/* Not told which: the highest ones that will go. */
	for (uint32_t block = LIST_MAX;
	     block-- > 1 && o->n_blocks == 0 && t->n_offline < AUTO_BLOCKS;)
		take_block(t, block);
	if (t->n_offline == 0)
		return fail("no memory block will go offline", -EBUSY);
	qsort(t->offline, t->n_offline, sizeof(t->offline[0]), compare_u32);

	for (size_t i = 0, next; i < t->n_offline; i = next) {
		struct popcorn_memory memory = {
			.size = sizeof(memory),
			.kind = POPCORN_MEMORY_OFFLINE,
			.start = t->offline[i] * t->block_size,
		};

		for (next = i + 1; next < t->n_offline; next++)
			if (t->offline[next] != t->offline[i] + (next - i))
				break;
		memory.length = (next - i) * t->block_size;
		if (ioctl(t->fd, POPCORN_IOC_ADD_MEMORY, &memory) < 0)
			return fail("ADD_MEMORY", -errno);
		printf("popcorn-boot: memory %#" PRIx64 "+%#" PRIx64 " node %u\n",
		       (uint64_t)memory.start, (uint64_t)memory.length, memory.node);
	}
	return 0;
}

static int take_cpus(struct trial *t, const struct options *o)
{
	struct popcorn_cpus cpus = {
		.size = sizeof(cpus),
		.count = (uint32_t)o->n_cpus,
		.cpus = (uintptr_t)o->cpus,
	};

	if (ioctl(t->fd, POPCORN_IOC_ADD_CPUS, &cpus) < 0) {
		int r = -errno;

		fprintf(stderr, "popcorn-boot: CPU %d: ", (int)cpus.bad_cpu);
		return fail("ADD_CPUS", r);
	}
	return 0;
}

/* NUMA, as this kernel sees it. Before the CPUs are taken: an offline CPU is on no node. */
static void read_nodes(struct trial *t)
{
	char path[128], *p;
	void *text;
	size_t size;

	for (unsigned node = 0; node < NODES_MAX; node++) {
		snprintf(path, sizeof(path), NODE_DIR "/node%u", node);
		if (access(path, F_OK) < 0)
			continue;
		t->nodes[t->n_nodes++] = node;
		for (unsigned cpu = 0; cpu < LIST_MAX; cpu++) {
			snprintf(path, sizeof(path), NODE_DIR "/node%u/cpu%u", node, cpu);
			if (access(path, F_OK) == 0)
				t->cpu_nodes[cpu] = node;
		}
	}
	for (size_t i = 0; i < t->n_nodes; i++) {
		snprintf(path, sizeof(path), NODE_DIR "/node%u/distance", t->nodes[i]);
		if (read_file(path, &text, &size) < 0) {
			t->n_nodes = 0;
			return;
		}
		p = text;
		for (size_t j = 0; j < t->n_nodes; j++)
			t->distances[i * t->n_nodes + j] = (uint8_t)strtoul(p, &p, 10);
		free(text);
	}
}

static int get_status(struct trial *t)
{
	t->status = (struct popcorn_status){
		.size = sizeof(t->status),
		.nr_cpus = LIST_MAX,
		.nr_ranges = LIST_MAX,
		.cpus = (uintptr_t)t->cpus,
		.apicids = (uintptr_t)t->apicids,
		.ranges = (uintptr_t)t->ranges,
	};
	return ioctl(t->fd, POPCORN_IOC_STATUS, &t->status) < 0 ? fail("STATUS", -errno) : 0;
}

static int build_initramfs(const struct options *o, void **ret, size_t *ret_size)
{
	struct initramfs_file files[MODULES_MAX + 8];
	char names[MODULES_MAX][300];
	struct popcorn_error error = { 0 };
	void *initrd = NULL, *data;
	size_t n = 0, initrd_size = 0, size;
	int r;

	if (o->initrd && (r = read_file(o->initrd, &initrd, &initrd_size)) < 0)
		return r;
	files[n++] = (struct initramfs_file){ "dev/console", S_IFCHR | 0600, NULL, 0, 5, 1 };
	files[n++] = (struct initramfs_file){ "proc", S_IFDIR | 0755, NULL, 0, 0, 0 };
	files[n++] = (struct initramfs_file){ "sys", S_IFDIR | 0755, NULL, 0, 0, 0 };
	if (o->busybox) {
		r = read_file(o->busybox, &data, &size);
		if (r < 0)
			return r;
		files[n++] =
			(struct initramfs_file){ "bin/busybox", S_IFREG | 0755, data, size, 0, 0 };
	}
	if (o->agent) {
		r = read_file(o->agent, &data, &size);
		if (r < 0)
			return r;
	} else {
		data = (void *)agent_script;
		size = sizeof(agent_script) - 1;
	}
	files[n++] = (struct initramfs_file){ "popcorn-agent", S_IFREG | 0755, data, size, 0, 0 };
	if (o->run)
		files[n++] = (struct initramfs_file){
			"popcorn/run", S_IFREG | 0644, o->run, strlen(o->run), 0, 0
		};
	for (size_t i = 0; i < o->n_modules; i++) {
		const char *base = strrchr(o->modules[i], '/');

		r = read_file(o->modules[i], &data, &size);
		if (r < 0)
			return r;
		/* The number keeps the order in which they were given. */
		snprintf(names[i], sizeof(names[i]), "popcorn/modules/%02zu-%s", i,
			 base ? base + 1 : o->modules[i]);
		files[n++] = (struct initramfs_file){ names[i], S_IFREG | 0644, data, size, 0, 0 };
	}
	r = initramfs_build(initrd, initrd_size, files, n, ret, ret_size, &error);
	if (r < 0)
		fprintf(stderr, "popcorn-boot: %s\n", error.text);
	return r;
}

static int load(struct trial *t, const struct options *o, struct image *image)
{
	struct popcorn_segment segments[IMAGE_SEGMENTS_MAX];
	struct popcorn_load arg = { .size = sizeof(arg), .segments = (uintptr_t)segments };
	struct image_partition partition = { 0 };
	struct image_cpu cpus[LIST_MAX];
	static struct image_range ranges[LIST_MAX];
	struct popcorn_error error = { 0 };
	void *kernel, *initrd = NULL;
	size_t kernel_size, initrd_size = 0;
	struct bzimage bzimage;
	int r;

	r = read_file(o->kernel, &kernel, &kernel_size);
	if (r < 0)
		return r;
	r = build_initramfs(o, &initrd, &initrd_size);
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->status.nr_cpus; i++)
		cpus[i] = (struct image_cpu){ t->apicids[i], t->cpu_nodes[t->cpus[i]] };
	for (size_t i = 0; i < t->status.nr_ranges; i++)
		ranges[i] = (struct image_range){ t->ranges[i].start, t->ranges[i].length,
						  t->ranges[i].node };
	partition = (struct image_partition){
		.id = t->status.id,
		.generation = t->status.generation,
		.cpus = cpus,
		.n_cpus = t->status.nr_cpus,
		.ranges = ranges,
		.n_ranges = t->status.nr_ranges,
		.low_start = t->status.low_start,
		.low_length = t->status.low_length,
		.primary_boot_apicid = t->info.boot_apicid,
		.tsc_khz = t->info.tsc_khz,
		.distances = t->distances,
		.nodes = t->nodes,
		.n_nodes = t->n_nodes,
	};
	r = bzimage_parse(kernel, kernel_size, &bzimage, &error);
	if (r == 0 && o->direct) {
		static struct vmlinux vmlinux;
		void *blob;
		size_t size;

		r = vmlinux_build(&bzimage, &blob, &size);
		if (r == 0)
			r = vmlinux_open(&bzimage, blob, size, &vmlinux);
		if (r < 0)
			return fail("unpacking the kernel", r);
		if (getrandom(partition.random, sizeof(partition.random), 0) < 0)
			return fail("getrandom", -errno);
		bzimage.vmlinux = &vmlinux;
	}
	if (r == 0)
		r = image_build(&bzimage, initrd, initrd_size, o->append, &partition, image,
				&error);
	if (r < 0) {
		fprintf(stderr, "popcorn-boot: %s\n", error.text);
		return r;
	}
	printf("popcorn-boot: kernel %s, command line: %s\n", bzimage.release, image->cmdline);
	for (size_t i = 0; i < image->n_segments; i++) {
		const struct image_segment *s = &image->segments[i];

		printf("popcorn-boot: %-12s %#" PRIx64 "+%#" PRIx64 "\n", s->what, s->mem,
		       s->memsz);
		segments[i] = (struct popcorn_segment){
			.buf = (uintptr_t)s->buf,
			.bufsz = s->bufsz,
			.mem = s->mem,
			.memsz = s->memsz,
		};
	}
	arg.nr_segments = (uint32_t)image->n_segments;
	if (ioctl(t->fd, POPCORN_IOC_LOAD, &arg) < 0)
		return fail("LOAD", -errno);
	return 0;
}

static const char *state_name(uint32_t state)
{
	switch (state) {
#define X(sym, nr, name) \
	case nr:         \
		return name;
		POPCORN_STATES(X)
#undef X
	}
	return "?";
}

static const char *reason_name(uint32_t reason)
{
	switch (reason) {
#define X(sym, nr, name, text) \
	case nr:               \
		return text;
		POPCORN_REASONS(X)
#undef X
	}
	return "?";
}

static bool copy(int from, int to)
{
	char buf[4096];
	ssize_t n = read(from, buf, sizeof(buf));

	for (ssize_t done = 0, w; done < n; done += w) {
		w = write(to, buf + done, (size_t)(n - done));
		if (w < 0)
			return false;
	}
	return n > 0;
}

static void print_times(const struct trial *t)
{
	const uint64_t *times = (const uint64_t *)t->status.times;
	double start = (double)times[POPCORN_TIME_START];

	printf("popcorn-boot: START to entry %.1f ms, to check-in %.1f ms\n",
	       ((double)times[POPCORN_TIME_ENTERED] - start) / 1e6,
	       ((double)times[POPCORN_TIME_CHECKIN] - start) / 1e6);
}

/* Returns 0 if the kernel ran and ended as it should. */
static int watch(struct trial *t, const struct options *o)
{
	struct itimerspec after = { .it_value.tv_sec = o->timeout };
	bool ran = false;
	sigset_t signals;
	struct pollfd p[5] = {
		{ .fd = t->fd, .events = POLLPRI },
		{ .fd = t->console, .events = POLLIN },
		{ .fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC), .events = POLLIN },
		{ .events = POLLIN },
		{ .fd = o->interactive ? STDIN_FILENO : -1, .events = POLLIN },
	};

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	p[3].fd = signalfd(-1, &signals, SFD_CLOEXEC);
	timerfd_settime(p[2].fd, 0, &after, NULL);

	for (;;) {
		if (poll(p, 5, -1) < 0)
			return fail("poll", -errno);
		if (p[1].revents && !copy(t->console, STDOUT_FILENO))
			p[1].fd = -1;
		if (p[4].revents && !copy(STDIN_FILENO, t->console))
			p[4].fd = -1;
		if (p[0].revents) {
			if (get_status(t) < 0)
				return -EIO;
			printf("popcorn-boot: %s: %s\n", state_name(t->status.state),
			       reason_name(t->status.reason));
			fflush(stdout);
			if (t->status.state == POPCORN_STATE_RUNNING)
				ran = true;
			if (ran && o->until_running) {
				print_times(t);
				return 0;
			}
			if (t->status.state >= POPCORN_STATE_STOPPED)
				break;
		}
		if (p[2].revents || p[3].revents) {
			printf("popcorn-boot: %s\n", p[2].revents ? "time is up" : "interrupted");
			return -ETIME;
		}
	}
	while (p[1].fd >= 0 && copy(t->console, STDOUT_FILENO))
		;
	if (t->status.times[POPCORN_TIME_CHECKIN])
		print_times(t);
	if (t->status.text[0])
		printf("popcorn-boot: last words: %.*s\n", (int)sizeof(t->status.text),
		       t->status.text);
	return ran && t->status.state == POPCORN_STATE_STOPPED ? 0 : -EIO;
}

static int print_line(void *userdata, const char *line, size_t length)
{
	printf("log: %.*s\n", (int)length, line);
	return 0;
}

/* What the kernel logged, from its memory: for one that never had a console. */
static void print_log(struct trial *t)
{
	static struct klog_range ranges[LIST_MAX];
	size_t n = 0;
	int r;

	for (size_t i = 0; i < t->status.nr_ranges; i++) {
		void *p = mmap(NULL, t->ranges[i].length, PROT_READ, MAP_SHARED, t->fd,
			       (off_t)t->ranges[i].start);

		if (p == MAP_FAILED)
			fail("mmap", -errno);
		else
			ranges[n++] =
				(struct klog_range){ t->ranges[i].start, t->ranges[i].length, p };
	}
	r = klog_read(ranges, n, t->status.generation, print_line, NULL);
	if (r < 0)
		fail("the kernel's log", r);
	while (n--)
		munmap((void *)ranges[n].data, ranges[n].length);
}

static int boot(struct trial *t, const struct options *o)
{
	struct popcorn_create create = { .size = sizeof(create) };
	struct popcorn_console console = { .size = sizeof(console) };
	struct popcorn_start start = { .size = sizeof(start) };
	struct popcorn_stop kill_it = {
		.size = sizeof(kill_it),
		.mode = POPCORN_STOP_KILL,
		.reason = POPCORN_REASON_KILLED,
	};
	struct image image = { 0 };
	int r, ended;

	t->device = open(POPCORN_DEVICE, O_RDWR | O_CLOEXEC);
	if (t->device < 0)
		return fail(POPCORN_DEVICE, -errno);
	t->info.size = sizeof(t->info);
	if (ioctl(t->device, POPCORN_IOC_INFO, &t->info) < 0)
		return fail("INFO", -errno);
	snprintf(create.name, sizeof(create.name), "%s", o->name);
	if (ioctl(t->device, POPCORN_IOC_CREATE, &create) < 0)
		return fail("CREATE", -errno);
	t->fd = create.fd;

	read_nodes(t);
	r = take_cpus(t, o);
	if (r == 0)
		r = take_memory(t, o);
	if (r == 0)
		r = get_status(t);
	if (r == 0)
		r = load(t, o, &image);
	if (r < 0)
		goto end;

	if (ioctl(t->fd, POPCORN_IOC_CONSOLE, &console) < 0) {
		r = fail("CONSOLE", -errno);
		goto end;
	}
	t->console = console.fd;
	start.entry = image.entry;
	start.boot_params = image.boot_params;
	if (ioctl(t->fd, POPCORN_IOC_START, &start) < 0) {
		r = fail("START", -errno);
		goto end;
	}
	r = watch(t, o);
	ended = ioctl(t->fd, POPCORN_IOC_STOP, &kill_it);
	if (ended < 0 && r == 0)
		r = fail("STOP", -errno);
	if (r < 0 || o->log)
		print_log(t);
end:
	image_done(&image);
	return r;
}

/* In reverse order of boot(); goes on whatever fails. */
static int give_back(struct trial *t)
{
	struct popcorn_release release = { .size = sizeof(release) };
	int r = 0;

	if (t->console >= 0)
		close(t->console);
	if (t->fd >= 0) {
		if (ioctl(t->fd, POPCORN_IOC_RELEASE, &release) < 0) {
			r = fail("RELEASE", -errno);
			printf("popcorn-boot: kept: %u CPUs, %u ranges\n", release.kept_cpus,
			       release.kept_ranges);
			return r;
		}
		close(t->fd);
	}
	for (size_t i = 0; i < t->n_offline; i++) {
		int s = set_block(t->offline[i], "online_movable");

		if (s < 0)
			r = fail("online_movable", s);
	}
	if (t->device >= 0)
		close(t->device);
	return r;
}

static const struct option long_options[] = {
	{ "name", required_argument, NULL, 'n' },
	{ "cpus", required_argument, NULL, 'c' },
	{ "blocks", required_argument, NULL, 'b' },
	{ "kernel", required_argument, NULL, 'k' },
	{ "initrd", required_argument, NULL, 'i' },
	{ "module", required_argument, NULL, 'm' },
	{ "agent", required_argument, NULL, 'a' },
	{ "busybox", required_argument, NULL, 'B' },
	{ "append", required_argument, NULL, 'A' },
	{ "run", required_argument, NULL, 'r' },
	{ "timeout", required_argument, NULL, 't' },
	{ "interactive", no_argument, NULL, 'I' },
	{ "until-running", no_argument, NULL, 'u' },
	{ "log", no_argument, NULL, 'l' },
	{ "direct", no_argument, NULL, 'd' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static const char usage[] =
	"usage: popcorn-boot [OPTIONS]\n"
	"  --cpus LIST        CPUs to take, the boot CPU first (default 1)\n"
	"  --blocks LIST      memory blocks to take (default: the 4 highest that will go)\n"
	"  --kernel FILE      bzImage (default /boot/vmlinuz-$(uname -r))\n"
	"  --initrd FILE      initrd to put ours behind\n"
	"  --module FILE      module to insert in the secondary; may be repeated, in order\n"
	"  --agent FILE       /popcorn-agent of the secondary (default: a shell script)\n"
	"  --busybox FILE     /bin/busybox of the secondary (default /bin/busybox)\n"
	"  --append STRING    more command line\n"
	"  --run COMMANDS     for the default agent: shell commands to run\n"
	"  --timeout S        kill it after so many seconds (default 60)\n"
	"  --until-running    kill it as soon as it runs\n"
	"  --interactive      standard input goes to its console\n"
	"  --log              print the kernel's log at the end (done anyway if it failed)\n"
	"  --direct           unpack the kernel here, and enter it without its decompressor\n"
	"  --name NAME        (default trial)\n";

int main(int argc, char *argv[])
{
	static struct options o = { .name = "trial", .busybox = "/bin/busybox", .timeout = 60 };
	static struct trial t = { .device = -1, .fd = -1, .console = -1 };
	static char kernel[300];
	struct utsname uts;
	int c, r = 0, s;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'n':
			o.name = optarg;
			break;
		case 'c':
			r = parse_list(optarg, o.cpus, &o.n_cpus);
			break;
		case 'b':
			r = parse_list(optarg, o.blocks, &o.n_blocks);
			break;
		case 'k':
			o.kernel = optarg;
			break;
		case 'i':
			o.initrd = optarg;
			break;
		case 'm':
			if (o.n_modules == MODULES_MAX)
				r = -E2BIG;
			else
				o.modules[o.n_modules++] = optarg;
			break;
		case 'a':
			o.agent = optarg;
			break;
		case 'B':
			o.busybox = optarg;
			break;
		case 'A':
			o.append = optarg;
			break;
		case 'r':
			o.run = optarg;
			break;
		case 't':
			o.timeout = (unsigned)atoi(optarg);
			break;
		case 'I':
			o.interactive = true;
			break;
		case 'u':
			o.until_running = true;
			break;
		case 'l':
			o.log = true;
			break;
		case 'd':
			o.direct = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			r = -EINVAL;
		}
		if (r < 0) {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (o.n_cpus == 0) {
		o.cpus[0] = 1;
		o.n_cpus = 1;
	}
	if (!o.kernel) {
		uname(&uts);
		snprintf(kernel, sizeof(kernel), "/boot/vmlinuz-%s", uts.release);
		o.kernel = kernel;
	}

	r = boot(&t, &o);
	s = give_back(&t);
	return r < 0 || s < 0 ? 1 : 0;
}
