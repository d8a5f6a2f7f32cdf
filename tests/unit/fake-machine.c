// SPDX-License-Identifier: GPL-2.0-or-later
/* The folder of the fake machine, and what writing into it does. */
#include <asm/bootparam.h>
#include <check.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake.h"
#include "lease.h"
#include "sysfs.h"
#include "util.h"

/* There is one machine at a time; the replaced functions have no other way to find it. */
static struct fake *the_fake;

#define SYS "/sys/devices/system"

void fake_write_file(struct fake *fake, const char *path, const void *data, size_t size)
{
	char whole[PATH_MAX + 256];
	FILE *f;

	snprintf(whole, sizeof(whole), "%s%s", fake->root, path);
	f = fopen(whole, "we");
	if (!f) {
		char *slash = strrchr(whole, '/');

		*slash = '\0';
		ck_assert_int_eq(make_folders(whole, 0755), 0);
		*slash = '/';
		f = fopen(whole, "we");
	}
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

__attribute__((format(printf, 3, 4))) static void write_text(struct fake *fake, const char *path,
							     const char *format, ...)
{
	static _Thread_local char text[65536];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	fake_write_file(fake, path, text, strlen(text));
}

static unsigned cpu_node(const struct fake *fake, unsigned cpu)
{
	return cpu / (fake->n_cpus / fake->n_nodes);
}

static char *mask_text(hwloc_const_bitmap_t set, unsigned cpus)
{
	unsigned words = (cpus + 31) / 32;
	char *text = malloc(words * 9 + 2), *p = text;

	for (unsigned w = words; w-- > 0;) {
		unsigned long word = 0;

		for (unsigned bit = 0; bit < 32; bit++)
			word |= (unsigned long)hwloc_bitmap_isset(set, w * 32 + bit) << bit;
		p += sprintf(p, "%08lx%s", word, w ? "," : "\n");
	}
	return text;
}

static void write_mask(struct fake *fake, const char *path, hwloc_const_bitmap_t set)
{
	char *text = mask_text(set, fake->n_cpus);

	fake_write_file(fake, path, text, strlen(text));
	free(text);
}

static hwloc_bitmap_t online_cpus(const struct fake *fake)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();

	for (unsigned cpu = 0; cpu < fake->n_cpus; cpu++)
		if (fake->online[cpu])
			hwloc_bitmap_set(set, cpu);
	return set;
}

/* What Linux hides of a CPU that is offline is hidden here too. */
static void write_cpu(struct fake *fake, unsigned cpu, hwloc_const_bitmap_t online)
{
	hwloc_bitmap_t core = hwloc_bitmap_alloc(), package = hwloc_bitmap_alloc();
	unsigned first = cpu - cpu % fake->threads_per_core;
	unsigned per_node = fake->n_cpus / fake->n_nodes;
	char path[128], gone[PATH_MAX + 128];

	snprintf(path, sizeof(path), SYS "/cpu/cpu%u/online", cpu);
	write_text(fake, path, "%d\n", fake->online[cpu]);
	if (!fake->online[cpu]) {
		static const char *const files[] = { "core_id", "physical_package_id", "core_cpus",
						     "package_cpus" };

		for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
			snprintf(gone, sizeof(gone), "%s" SYS "/cpu/cpu%u/topology/%s", fake->root,
				 cpu, files[i]);
			unlink(gone);
		}
		snprintf(gone, sizeof(gone), "%s" SYS "/cpu/cpu%u/topology", fake->root, cpu);
		rmdir(gone);
	} else {
		hwloc_bitmap_set_range(core, first, (int)(first + fake->threads_per_core - 1));
		hwloc_bitmap_and(core, core, online);
		hwloc_bitmap_set_range(package, cpu_node(fake, cpu) * per_node,
				       (int)((cpu_node(fake, cpu) + 1) * per_node - 1));
		hwloc_bitmap_and(package, package, online);
		snprintf(path, sizeof(path), SYS "/cpu/cpu%u/topology/core_id", cpu);
		write_text(fake, path, "%u\n", cpu % per_node / fake->threads_per_core);
		snprintf(path, sizeof(path), SYS "/cpu/cpu%u/topology/physical_package_id", cpu);
		write_text(fake, path, "%u\n", cpu_node(fake, cpu));
		snprintf(path, sizeof(path), SYS "/cpu/cpu%u/topology/core_cpus", cpu);
		write_mask(fake, path, core);
		snprintf(path, sizeof(path), SYS "/cpu/cpu%u/topology/package_cpus", cpu);
		write_mask(fake, path, package);
	}
	hwloc_bitmap_free(core);
	hwloc_bitmap_free(package);
}

static void write_cpus(struct fake *fake)
{
	hwloc_bitmap_t online = online_cpus(fake);
	char *list;

	for (unsigned cpu = 0; cpu < fake->n_cpus; cpu++)
		write_cpu(fake, cpu, online);
	hwloc_bitmap_list_asprintf(&list, online);
	write_text(fake, SYS "/cpu/online", "%s\n", list);
	write_text(fake, SYS "/cpu/present", "0-%u\n", fake->n_cpus - 1);
	write_text(fake, SYS "/cpu/possible", "0-%u\n", fake->n_cpus - 1);
	free(list);

	for (unsigned node = 0; node < fake->n_nodes; node++) {
		unsigned per_node = fake->n_cpus / fake->n_nodes;
		hwloc_bitmap_t set = hwloc_bitmap_alloc();
		char path[128], row[256] = "";

		hwloc_bitmap_set_range(set, node * per_node, (int)((node + 1) * per_node - 1));
		hwloc_bitmap_and(set, set, online);
		snprintf(path, sizeof(path), SYS "/node/node%u/cpumap", node);
		write_mask(fake, path, set);
		hwloc_bitmap_free(set);
		for (unsigned to = 0; to < fake->n_nodes; to++)
			sprintf(row + strlen(row), "%u ", to == node ? 10 : 20 + (to ^ node));
		snprintf(path, sizeof(path), SYS "/node/node%u/distance", node);
		write_text(fake, path, "%s\n", row);
		snprintf(path, sizeof(path), SYS "/node/node%u/meminfo", node);
		write_text(fake, path, "Node %u MemTotal:       %llu kB\n", node,
			   fake->n_blocks / fake->n_nodes * FAKE_BLOCK_SIZE / 1024);
	}
	write_text(fake, SYS "/node/online", fake->n_nodes > 1 ? "0-%u\n" : "%u\n",
		   fake->n_nodes - 1);
	hwloc_bitmap_free(online);
}

static const char *zone_name(char zone)
{
	return zone == 'M' ? "Movable" : zone == 'N' ? "Normal" : zone == '3' ? "DMA32" : "none";
}

static void write_block(struct fake *fake, unsigned i)
{
	const struct fake_block *block = &fake->blocks[i];
	char path[128];

	snprintf(path, sizeof(path), SYS "/memory/memory%u/state", i);
	write_text(fake, path, "%s\n", block->online ? "online" : "offline");
	snprintf(path, sizeof(path), SYS "/memory/memory%u/valid_zones", i);
	write_text(fake, path, "%s\n", block->online ? zone_name(block->zone) : "Normal Movable");
	snprintf(path, sizeof(path), SYS "/node/node%u/memory%u", block->node, i);
	write_text(fake, path, "%s", "");
}

static void write_meminfo(struct fake *fake)
{
	unsigned online = 0;

	for (unsigned i = 0; i < fake->n_blocks; i++)
		online += fake->blocks[i].online;
	write_text(fake, "/proc/meminfo",
		   "MemTotal: %llu kB\nMemFree: 1 kB\nMemAvailable:   %llu kB\n",
		   online * FAKE_BLOCK_SIZE / 1024, online * FAKE_BLOCK_SIZE / 1024);
}

void fake_refresh(struct fake *fake)
{
	memcpy(fake->made, fake->online, sizeof(fake->made));
	write_cpus(fake);
	for (unsigned i = 0; i < fake->n_blocks; i++) {
		fake->blocks[i].made = fake->blocks[i].online ? fake->blocks[i].zone : '-';
		write_block(fake, i);
	}
	write_meminfo(fake);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

struct fake *fake_new(unsigned cpus, unsigned threads_per_core, unsigned blocks, unsigned nodes)
{
	struct fake *fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint8_t fadt[116] = "FACP";
	pthread_mutexattr_t attr;

	ck_assert_ptr_ne(fake, MAP_FAILED);
	ck_assert_uint_le(cpus, FAKE_CPUS_MAX);
	ck_assert_uint_le(blocks, FAKE_BLOCKS_MAX);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&fake->lock, &attr);
	/* Thousands of small files, written again and again: better not on a disk. */
	snprintf(fake->root, sizeof(fake->root), "%s/popcorn-test-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(fake->root));
	fake->n_cpus = cpus;
	fake->threads_per_core = threads_per_core;
	fake->n_nodes = nodes;
	fake->n_blocks = blocks;
	fake->low_free = FAKE_KERNELS_MAX;
	for (unsigned i = 0; i < cpus; i++)
		fake->online[i] = true;
	for (unsigned i = 0; i < blocks; i++)
		fake->blocks[i] = (struct fake_block){
			.online = true,
			.zone = i == 0 ? 'x' : 'N',
			.node = i / (blocks / nodes),
		};
	fake->script[0] = POPCORN_STATE_RUNNING;
	fake->n_script = 1;
	fake->fail_errno = EIO;
	write_text(fake, SYS "/memory/block_size_bytes", "%llx\n", FAKE_BLOCK_SIZE);
	write_text(fake, SYS "/memory/auto_online_blocks", "offline\n");
	write_text(fake, "/proc/sys/vm/compact_memory", "%s", "");
	write_text(fake, "/proc/sys/vm/drop_caches", "%s", "");
	write_text(fake, "/run/x", "%s", "");
	fadt[76] = FAKE_PM_TIMER & 0xff;
	fadt[77] = FAKE_PM_TIMER >> 8;
	fadt[91] = 4;
	fake_write_file(fake, "/sys/firmware/acpi/tables/FACP", fadt, sizeof(fadt));
	fake_refresh(fake);
	the_fake = fake;
	return fake;
}

void fake_free(struct fake *fake)
{
	nftw(fake->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	the_fake = NULL;
	munmap(fake, sizeof(*fake));
}

/* Of this process: whoever comes after it finds the machine as it was at that moment. */
static bool dying;

/* Not any more while this process dies, so that no thread leaves something half done. */
void fake_lock(struct fake *fake);
void fake_lock(struct fake *fake)
{
	pthread_mutex_lock(&fake->lock);
	while (dying) {
		pthread_mutex_unlock(&fake->lock);
		pause();
		pthread_mutex_lock(&fake->lock);
	}
}

/* With the lock. */
void fake_die(struct fake *fake);
void fake_die(struct fake *fake)
{
	dying = true;
	pthread_mutex_unlock(&fake->lock);
	_exit(FAKE_CRASHED);
}

/* Counts a step that can go wrong. 0 = go on; *@ret_after: die when it is done. */
int fake_step(struct fake *fake, bool *ret_after);
int fake_step(struct fake *fake, bool *ret_after)
{
	bool now;

	*ret_after = false;
	fake_lock(fake);
	now = ++fake->step == fake->step_at;
	if (now && fake->mode == FAKE_CRASH_BEFORE)
		fake_die(fake);
	pthread_mutex_unlock(&fake->lock);
	if (!now)
		return 0;
	switch (fake->mode) {
	case FAKE_FAIL:
		return -fake->fail_errno;
	case FAKE_CRASH_BEFORE:
		break;
	case FAKE_CRASH_AFTER:
		*ret_after = true;
		break;
	}
	return 0;
}

/* The kernels' ranges, seen from a block. */
static bool in_kernel(const struct fake *fake, unsigned block)
{
	uint64_t start = block * FAKE_BLOCK_SIZE, end = start + FAKE_BLOCK_SIZE;

	for (unsigned k = 0; k < FAKE_KERNELS_MAX; k++)
		for (uint32_t i = 0; fake->kernels[k].used && i < fake->kernels[k].n_ranges; i++) {
			const struct popcorn_range *range = &fake->kernels[k].ranges[i];

			if (range->start < end && start < range->start + range->length)
				return true;
		}
	return false;
}

static int set_block(struct fake *fake, unsigned i, const char *value)
{
	struct fake_block *block = &fake->blocks[i];

	if (strcmp(value, "offline") == 0) {
		fake->offline_tries++;
		if (!block->online)
			return -EINVAL;
		if (in_kernel(fake, i))
			return -EBUSY;
		if (block->refusals) {
			if (block->refusals != UINT_MAX)
				block->refusals--;
			return -block->refuse;
		}
		block->online = false;
	} else {
		char kind = strcmp(value, "online_movable") == 0  ? 'M'
			    : strcmp(value, "online_kernel") == 0 ? 'K'
								  : 'o';

		if (block->online)
			return 0;
		if (block->refuse_online)
			return -block->refuse_online;
		/* The driver's veto. */
		if (in_kernel(fake, i))
			return -EBUSY;
		if (kind == 'M')
			block->zone = 'M';
		else if (kind == 'K' && block->zone == 'M')
			block->zone = 'N';
		block->online = true;
	}
	write_block(fake, i);
	write_meminfo(fake);
	return 0;
}

int __wrap_sysfs_write(const char *root, const char *value, const char *path);
int __wrap_sysfs_write(const char *root, const char *value, const char *path)
{
	static const char prefix[] = SYS "/memory/memory";
	struct fake *fake = the_fake;
	unsigned block;
	bool after;
	int r;

	ck_assert_str_eq(root, fake->root);
	if (strncmp(path, "/proc/sys/vm/", 13) == 0)
		return 0;
	ck_assert_msg(strncmp(path, prefix, strlen(prefix)) == 0, "unexpected write to %s", path);
	block = (unsigned)strtoul(path + strlen(prefix), NULL, 10);
	ck_assert_uint_lt(block, fake->n_blocks);
	r = fake_step(fake, &after);
	if (r < 0)
		return r;
	fake_lock(fake);
	r = set_block(fake, block, value);
	if (after)
		fake_die(fake);
	pthread_mutex_unlock(&fake->lock);
	return r;
}

int __wrap_sysfs_write_interruptible(const char *root, const char *value, const char *path,
				     uint64_t deadline_usec, int cancel_fd);
int __wrap_sysfs_write_interruptible(const char *root, const char *value, const char *path,
				     uint64_t deadline_usec, int cancel_fd)
{
	unsigned block = (unsigned)strtoul(path + strlen(SYS "/memory/memory"), NULL, 10);

	ck_assert_uint_gt(deadline_usec, now_usec());
	if (the_fake->blocks[block].hang)
		return cancel_fd >= 0 ? -ECANCELED : -ETIME;
	return __wrap_sysfs_write(root, value, path);
}

int __real_lease_write(const char *folder, const char *name, const struct lease *lease,
		       const char *cpus, const char *memory_nodes);
int __wrap_vhost_open(const char *path, uint64_t *ret_features);
int __wrap_vhost_open(const char *path, uint64_t *ret_features)
{
	if (!the_fake || !the_fake->vhost_features)
		return -ENOENT;
	if (ret_features)
		*ret_features = the_fake->vhost_features;
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

int __wrap_lease_write(const char *folder, const char *name, const struct lease *lease,
		       const char *cpus, const char *memory_nodes);
int __wrap_lease_write(const char *folder, const char *name, const struct lease *lease,
		       const char *cpus, const char *memory_nodes)
{
	bool after;
	int r = fake_step(the_fake, &after);

	if (r < 0)
		return r;
	r = __real_lease_write(folder, name, lease, cpus, memory_nodes);
	if (after) {
		fake_lock(the_fake);
		fake_die(the_fake);
	}
	return r;
}

/* By the driver, when CPUs come and go. With the lock. */
void fake_cpus_changed(struct fake *fake);
void fake_cpus_changed(struct fake *fake)
{
	/* All of them is slow, and nobody looks in the large machines. */
	if (fake->n_cpus <= 64)
		write_cpus(fake);
}

uint64_t fake_taken(const struct fake *fake)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < FAKE_KERNELS_MAX; k++)
		for (uint32_t i = 0; fake->kernels[k].used && i < fake->kernels[k].n_ranges; i++)
			sum += fake->kernels[k].ranges[i].length;
	return sum;
}

unsigned fake_n_leases(const struct fake *fake)
{
	char path[PATH_MAX + 16];
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/run/leases", fake->root);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return n;
}

void fake_check_whole(struct fake *fake)
{
	for (unsigned i = 0; i < fake->n_cpus; i++)
		ck_assert_msg(fake->online[i] == fake->made[i] && !fake->lent[i],
			      "CPU %u is not back", i);
	for (unsigned i = 0; i < fake->n_blocks; i++) {
		char now = fake->blocks[i].online ? fake->blocks[i].zone : '-';

		ck_assert_msg(now == fake->blocks[i].made, "block %u is %c and was %c", i, now,
			      fake->blocks[i].made);
	}
	for (unsigned k = 0; k < FAKE_KERNELS_MAX; k++)
		ck_assert_msg(!fake->kernels[k].used, "kernel %s is there", fake->kernels[k].name);
	ck_assert_uint_eq(fake_n_leases(fake), 0);
}

void fake_write_boot_files(struct fake *fake)
{
	static uint8_t image[4096 + 65536];
	const char version[] = FAKE_RELEASE " (nobody@nowhere) #1 SMP";
	struct setup_header hdr = {
		.setup_sects = 7,
		.syssize = 65536 / 16,
		.boot_flag = 0xaa55,
		.jump = 0x66eb,
		.header = 0x53726448,
		.version = 0x020f,
		.kernel_version = 0x400 - 0x200,
		.loadflags = 1,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
		.cmdline_size = 2047,
		.pref_address = 0x1000000,
		.init_size = 40 << 20,
	};
	Elf64_Ehdr busybox = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64 },
		.e_machine = EM_X86_64,
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phoff = sizeof(Elf64_Ehdr),
	};

	memset(image, 0, sizeof(image));
	memcpy(image + 0x1f1, &hdr, sizeof(hdr));
	memcpy(image + 0x400, version, sizeof(version));
	fake_write_file(fake, "/boot/vmlinuz", image, sizeof(image));
	fake_write_file(fake, "/boot/initrd", "070701 not really", 17);
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/updates/popcorn/popcorn_msg.ko",
			"module", 6);
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/updates/popcorn/popcorn_guest.ko",
			"module", 6);
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/updates/popcorn/popcorn_vty.ko",
			"module", 6);
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/updates/popcorn/popcorn_virtio.ko",
			"module", 6);
	fake_write_file(fake, "/lib/modules/" FAKE_RELEASE "/modules.builtin",
			"kernel/fs/fuse/virtiofs.ko\n", 27);
	fake_write_file(fake, "/agent", "agent", 5);
	fake_write_file(fake, "/busybox", &busybox, sizeof(busybox));
}
