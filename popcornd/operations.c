// SPDX-License-Identifier: GPL-2.0-or-later
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <popcorn/head.h>

#include "cache.h"
#include "devices.h"
#include "guest.h"
#include "klog.h"
#include "modules.h"
#include "network.h"
#include "operations.h"
#include "util.h"
#include "vmlinux.h"

/* Limits of what is read into memory: each well beyond what exists. */
#define IMAGE_FILE_MAX (512 * MIB)
#define INITRD_FILE_MAX (4096 * MIB - 1)
#define PROGRAM_FILE_MAX (64 * MIB)

/* Enough for liblzma and stdio. */
#define PREPARATION_STACK_SIZE (256 * 1024)

/* Beside the kernel in the first range: the command line and boot_params, page tables, slack. */
#define FIRST_RANGE_SLACK (4 * MIB)

#define PROGRESS_LOAD 0.45
#define PROGRESS_START 0.55
#define PROGRESS_KERNEL 0.6
#define PROGRESS_AGENT 0.9

#define PROGRESS_ASKED 0.1
#define PROGRESS_ANSWERED 0.2

/* What is loaded in every secondary before its init runs, in order. */
static const char *const guest_modules[] = { "popcorn_msg", "popcorn_guest" };

/* /dev/vtyN. A kernel without it has no lines to others, and is sound. */
#define TERMINALS_MODULE "popcorn_vty"

/* Makes devices of what is in the head; loaded last, when the drivers for them are there. */
#define DEVICES_MODULE "popcorn_virtio"
#define NETWORK_DRIVER "virtio_net"
#define VSOCK_DRIVER "vmw_vsock_virtio_transport"

/* Files of a boot. */

static int read_input(const char *what, const char *path, uint64_t max, enum popcorn_error_id id,
		      const char *hint, void **ret, size_t *ret_size, struct stat *ret_stat,
		      struct popcorn_error *error)
{
	int r;

	if (path[0] != '/')
		return popcorn_error_set(error, id, "the %s '%s' is not an absolute path", what,
					 path);
	r = read_file_stat(path, max, ret, ret_size, ret_stat);
	switch (r) {
	case 0:
		return 0;
	case -ENOMEM:
		return no_memory(error);
	case -EISDIR:
		return popcorn_error_set(error, id, "the %s %s is a folder; %s", what, path, hint);
	case -ENODEV:
		return popcorn_error_set(error, id, "the %s %s is not a regular file; %s", what,
					 path, hint);
	case -EFBIG:
		return popcorn_error_set(error, id, "the %s %s is larger than %s; %s", what, path,
					 SIZE_TEXT(max), hint);
	}
	return popcorn_error_set(error, id, "the %s %s can't be read: %s; %s", what, path,
				 strerror(-r), hint);
}

/* One file, or none: its path and contents. */
struct input {
	void *data;
	size_t size;
};

static void input_done(struct input *input)
{
	free(input->data);
}

/* A program that needs no libraries: nothing of that kind is in our initramfs. */
static bool is_static_program(const struct input *program)
{
	const uint8_t *data = program->data;
	Elf64_Ehdr header;

	if (program->size < sizeof(header))
		return false;
	memcpy(&header, data, sizeof(header));
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
	    header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64 ||
	    header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > program->size ||
	    header.e_phnum > (program->size - header.e_phoff) / sizeof(Elf64_Phdr))
		return false;
	for (size_t i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr segment;

		memcpy(&segment, data + header.e_phoff + i * sizeof(segment), sizeof(segment));
		if (segment.p_type == PT_INTERP)
			return false;
	}
	return true;
}

/* All that a boot needs from the disk. */
struct boot_files {
	struct input image, agent, busybox;
	struct modules modules;
	bool has_terminals;	/* TERMINALS_MODULE is among them */
	bool has_network;	/* NETWORK_DRIVER is */
	struct input initramfs; /* made of the last three and the initrd */
	struct stat image_stat;
	struct bzimage kernel;
	struct vmlinux vmlinux; /* what kernel.vmlinux points to, if it does */
	uint64_t random[2];	/* for image_partition */
};

struct boot_files *boot_files_free(struct boot_files *files)
{
	if (!files)
		return NULL;
	vmlinux_done(&files->vmlinux);
	input_done(&files->image);
	modules_done(&files->modules);
	input_done(&files->agent);
	input_done(&files->busybox);
	input_done(&files->initramfs);
	free(files);
	return NULL;
}

static void boot_files_freep(struct boot_files **files)
{
	boot_files_free(*files);
}

static const char image_hint[] = "give the vmlinuz file of a kernel, as in /boot";
static const char initrd_hint[] = "give the initrd.img file of that kernel, as in /boot, or none";

static int read_image(const struct kernel_def *def, struct boot_files **ret,
		      struct popcorn_error *error)
{
	_cleanup_(boot_files_freep) struct boot_files *files = NULL;
	int r;

	if (!def->image)
		return popcorn_error_set(error, POPCORN_ERROR_IMAGE_NOT_FOUND,
					 "no image was given; %s", image_hint);
	files = calloc(1, sizeof(*files));
	if (!files)
		return no_memory(error);
	r = read_input("kernel image", def->image, IMAGE_FILE_MAX, POPCORN_ERROR_IMAGE_NOT_FOUND,
		       image_hint, &files->image.data, &files->image.size, &files->image_stat,
		       error);
	if (r == 0)
		r = bzimage_parse(files->image.data, files->image.size, &files->kernel, error);
	if (r == 0)
		*ret = steal_ptr(files);
	return r;
}

static int find_unpacked(const struct config *config, const struct cache_key *key,
			 const struct bzimage *kernel, struct vmlinux *ret)
{
	size_t size;
	void *blob;
	int r;

	r = cache_load(config->cache, key, &blob, &size);
	if (r < 0)
		return r;
	r = vmlinux_open(kernel, blob, size, ret);
	if (r < 0)
		munmap(blob, size);
	return r;
}

/* What the cache has, or a new one that is put there. -EOPNOTSUPP and others of vmlinux_build(). */
static int unpack_kernel(const struct config *config, const struct cache_key *key,
			 const struct bzimage *kernel, struct vmlinux *ret)
{
	/* Of several boots of one kernel the first does the work, the others find it in the cache. */
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
	_cleanup_(unlockp) pthread_mutex_t *locked = NULL;
	size_t size;
	void *blob;
	int r;

	/* Most often it is there. To map and to check it, nobody has to wait for anybody. */
	if (find_unpacked(config, key, kernel, ret) == 0)
		return 0;
	locked = &one_at_a_time;
	pthread_mutex_lock(locked);
	if (find_unpacked(config, key, kernel, ret) == 0)
		return 0;
	r = vmlinux_build(kernel, &blob, &size);
	if (r < 0)
		return r;
	/* Without it the next boot takes longer, and nothing else. */
	(void)cache_store(config->cache, key, blob, size);
	r = vmlinux_open(kernel, blob, size, ret);
	if (r < 0)
		munmap(blob, size);
	return r;
}

/*
 * Sees to it that the kernel is entered without its decompressor, if it can be. If not, it unpacks
 * itself. Only what is damaged is an error: it would be one there too, and nobody would see it.
 */
static int prepare_kernel(const struct config *config, const char *cmdline,
			  struct boot_files *files, struct popcorn_error *error)
{
	struct cache_key key;
	int r;

	if (!config->fast_boot ||
	    getrandom(files->random, sizeof(files->random), 0) != sizeof(files->random))
		return 0;
	cache_key_init(&key, &files->image_stat, files->image.data, files->image.size);
	r = unpack_kernel(config, &key, &files->kernel, &files->vmlinux);
	if (r == -EBADMSG)
		return popcorn_error_set(
			error, POPCORN_ERROR_IMAGE_INVALID,
			"kernel %s can't be unpacked: the image is damaged; install it again",
			files->kernel.release);
	if (r < 0)
		return 0;
	/* image_build() would do it; but until there is a place for the kernel there is time. */
	if (image_may_move(&files->vmlinux, cmdline))
		vmlinux_relocate(
			&files->vmlinux,
			vmlinux_choose_offset(&files->vmlinux, &files->kernel, files->random[1]));
	files->kernel.vmlinux = &files->vmlinux;
	return 0;
}

/* prepare_kernel() in a thread of its own, which nobody outlives: see preparation_join(). */
struct preparation {
	const struct config *config;
	const char *cmdline;
	struct boot_files *files;
	pthread_t thread;
	bool running;
	int result;
	struct popcorn_error error;
};

static void *preparation_run(void *userdata)
{
	struct preparation *preparation = userdata;

	preparation->result = prepare_kernel(preparation->config, preparation->cmdline,
					     preparation->files, &preparation->error);
	return NULL;
}

static void preparation_start(struct preparation *preparation)
{
	pthread_attr_t attr;

	if (pthread_attr_init(&attr) == 0) {
		pthread_attr_setstacksize(&attr, PREPARATION_STACK_SIZE);
		preparation->running = pthread_create(&preparation->thread, &attr, preparation_run,
						      preparation) == 0;
		pthread_attr_destroy(&attr);
	}
	if (!preparation->running)
		preparation_run(preparation);
}

static void preparation_join(struct preparation *preparation)
{
	if (preparation->running)
		pthread_join(preparation->thread, NULL);
	preparation->running = false;
}

/* Bytes of the first memory range without the initrd: image_layout() puts the kernel behind it. */
static uint64_t kernel_needs(const struct bzimage *kernel)
{
	return POPCORN_HEAD_SIZE + FIRST_RANGE_SLACK + kernel->alignment + kernel->init_size;
}

/* popcorn's, and, if the kernel is to have devices, their drivers. */
static int read_modules(const struct config *config, const struct kernel_def *def,
			struct boot_files *files, struct popcorn_error *error)
{
	const char *release = files->kernel.release;
	struct modules *modules = &files->modules;
	const struct {
		bool wanted;
		const char *name, *what_for;
		bool needed;
	} drivers[] = {
		{ kernel_def_has_root(def), "virtiofs", "its root", true },
		{ kernel_def_keeps_root(def), "overlay", "its root", true },
		{ def->n_shares > 0, "virtiofs", "its shares", true },
		{ def->vsock == WISH_YES, VSOCK_DRIVER, "vsock", true },
		{ devices_has_network(config, def), NETWORK_DRIVER, "its network",
		  def->network != NETWORK_DEFAULT },
	};
	bool devices = false;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(guest_modules) && r == 0; i++)
		r = modules_add_ours(modules, config->modules, release, guest_modules[i], true,
				     error);
	if (r == 0) {
		r = modules_add_ours(modules, config->modules, release, TERMINALS_MODULE, false,
				     error);
		files->has_terminals = r == 0;
		if (r > 0)
			r = 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(drivers) && r == 0; i++) {
		if (!drivers[i].wanted)
			continue;
		r = modules_add_driver(modules, config->modules, release, drivers[i].name,
				       drivers[i].what_for, drivers[i].needed, error);
		/* Not there, and not asked for by anybody. */
		if (r > 0) {
			r = 0;
			continue;
		}
		devices = true;
		files->has_network |= strcmp(drivers[i].name, NETWORK_DRIVER) == 0;
	}
	/* A kernel with nothing but a socket device that nobody asked for is not to boot longer for it. */
	if (r == 0 && devices && def->vsock == WISH_NOT_SAID)
		r = modules_add_driver(modules, config->modules, release, VSOCK_DRIVER, "vsock",
				       false, error);
	if (r >= 0 && devices)
		r = modules_add_ours(modules, config->modules, release, DEVICES_MODULE, true,
				     error);
	return r;
}

/* What the initramfs is made of, but for the user's initrd; without one a shell is among it. */
static int read_parts(const struct config *config, const struct kernel_def *def,
		      struct boot_files *files, struct popcorn_error *error)
{
	static const char hint[] = "install busybox-static, or give an initrd";
	int r;

	r = read_modules(config, def, files, error);
	if (r < 0)
		return r;
	r = read_input("first program of a kernel", config->agent, PROGRAM_FILE_MAX,
		       POPCORN_ERROR_FAILED, "install popcorn again", &files->agent.data,
		       &files->agent.size, NULL, error);
	/* With a root of its own it starts nothing of its initramfs but the agent. */
	if (r < 0 || def->initrd || kernel_def_has_root(def))
		return r;
	r = read_input("shell of a kernel without initrd", config->busybox, PROGRAM_FILE_MAX,
		       POPCORN_ERROR_INITRD_NOT_FOUND, hint, &files->busybox.data,
		       &files->busybox.size, NULL, error);
	if (r == 0 && !is_static_program(&files->busybox))
		r = popcorn_error_set(
			error, POPCORN_ERROR_INITRD_NOT_FOUND,
			"no initrd was given, and the shell %s is not a static program; %s",
			config->busybox, hint);
	return r;
}

/* At most, beside modules. */
#define INITRAMFS_FILES 16

/* The text of /popcorn/modules, and the paths of the files, one behind the other, each with its NUL. */
static int list_modules(const struct modules *modules, char **ret_list, char **ret_paths)
{
	char *list = NULL, *paths = NULL;
	size_t list_size, paths_size;
	FILE *f = open_memstream(&list, &list_size), *g = open_memstream(&paths, &paths_size);
	int r = 0;

	for (size_t i = 0; f && g && i < modules->n; i++) {
		fprintf(f, "%s\n", modules->list[i].name);
		fprintf(g, "popcorn/%s%c", modules->list[i].name, 0);
	}
	if (!f || fclose(f) != 0)
		r = -ENOMEM;
	if (!g || fclose(g) != 0)
		r = -ENOMEM;
	if (r < 0) {
		free(list);
		free(paths);
		return r;
	}
	*ret_list = list;
	*ret_paths = paths;
	return 0;
}

/* The user's initrd and our part; if there is no initrd also what a shell needs. */
static int build_initramfs(const char *name, const struct kernel_def *def,
			   const char *network_lines, struct boot_files *parts,
			   struct popcorn_error *error)
{
	_cleanup_(input_done) struct input initrd = { 0 };
	_cleanup_free_ struct initramfs_file *files = NULL;
	_cleanup_free_ char *text = NULL, *list = NULL, *paths = NULL;
	const struct modules *modules = &parts->modules;
	const char *path;
	size_t n = 0;
	int r;

	if (def->initrd) {
		r = read_input("initrd", def->initrd, INITRD_FILE_MAX,
			       POPCORN_ERROR_INITRD_NOT_FOUND, initrd_hint, &initrd.data,
			       &initrd.size, NULL, error);
		if (r < 0)
			return r;
	}
	files = calloc(INITRAMFS_FILES + modules->n, sizeof(*files));
	if (!files || guest_config(name, def, network_lines, &text) < 0 ||
	    list_modules(modules, &list, &paths) < 0)
		return no_memory(error);
	files[n++] = (struct initramfs_file){
		"popcorn-agent", S_IFREG | 0755, parts->agent.data, parts->agent.size, 0, 0
	};
	files[n++] =
		(struct initramfs_file){ "popcorn/name", S_IFREG | 0644, name, strlen(name), 0, 0 };
	files[n++] = (struct initramfs_file){
		"popcorn/modules", S_IFREG | 0644, list, strlen(list), 0, 0
	};
	files[n++] = (struct initramfs_file){
		"popcorn/config", S_IFREG | 0644, text, strlen(text), 0, 0
	};
	path = paths;
	for (size_t i = 0; i < modules->n; i++, path += strlen(path) + 1)
		files[n++] = (struct initramfs_file){
			path, S_IFREG | 0644, modules->list[i].data, modules->list[i].size, 0, 0
		};
	if (!def->initrd) {
		static const char *const folders[] = { "dev", "proc", "root", "run", "sys", "tmp" };

		for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
			files[n++] = (struct initramfs_file){ folders[i], S_IFDIR | 0755,
							      NULL,	  0,
							      0,	  0 };
		/* The kernel opens it for the first process, before anybody can make it. */
		files[n++] =
			(struct initramfs_file){ "dev/console", S_IFCHR | 0600, NULL, 0, 5, 1 };
	}
	if (parts->busybox.data) {
		files[n++] = (struct initramfs_file){ "bin/busybox",
						      S_IFREG | 0755,
						      parts->busybox.data,
						      parts->busybox.size,
						      0,
						      0 };
		files[n++] =
			(struct initramfs_file){ "bin/sh", S_IFLNK | 0777, "busybox", 7, 0, 0 };
	}
	return initramfs_build(initrd.data, initrd.size, files, n, &parts->initramfs.data,
			       &parts->initramfs.size, error);
}

static int check_initrd(const struct config *config, const struct kernel_def *def,
			const struct bzimage *kernel, struct popcorn_error *error)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (!def->initrd)
		return 0;
	if (def->initrd[0] != '/')
		return popcorn_error_set(error, POPCORN_ERROR_INITRD_NOT_FOUND,
					 "the initrd '%s' is not an absolute path", def->initrd);
	fd = open(def->initrd, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return popcorn_error_set(error, POPCORN_ERROR_INITRD_NOT_FOUND,
					 "the initrd %s can't be read: %s; %s", def->initrd,
					 strerror(errno), initrd_hint);
	if (!S_ISREG(st.st_mode))
		return popcorn_error_set(error, POPCORN_ERROR_INITRD_NOT_FOUND,
					 "the initrd %s is %s; %s", def->initrd,
					 S_ISDIR(st.st_mode) ? "a folder" : "not a regular file",
					 initrd_hint);
	if ((uint64_t)st.st_size > INITRD_FILE_MAX ||
	    (uint64_t)st.st_size + kernel_needs(kernel) > def->memory)
		return popcorn_error_set(error, POPCORN_ERROR_INITRD_TOO_LARGE,
					 "the initrd %s has %" PRIu64
					 " MiB, kernel %s needs %" PRIu64 " MiB to unpack "
					 "itself, and %s of memory were asked for; ask for more",
					 def->initrd, ((uint64_t)st.st_size + MIB - 1) / MIB,
					 kernel->release, (kernel_needs(kernel) + MIB - 1) / MIB,
					 SIZE_TEXT(def->memory));
	return 0;
}

/* What of its memory can be in one piece at best: the kernel must be. */
static uint64_t largest_part(const struct kernel_def *def)
{
	uint64_t largest = def->memory_nodes ? 0 : def->memory;

	for (size_t i = 0; i < def->n_memory_nodes; i++)
		if (def->memory_nodes[i].bytes > largest)
			largest = def->memory_nodes[i].bytes;
	return largest;
}

int boot_check(const struct config *config, const struct kernel_def *def, struct boot_files **ret,
	       struct popcorn_error *error)
{
	/* The longest numbers that image_cmdline() can have to put in. */
	const struct image_partition partition = {
		.id = UINT32_MAX,
		.generation = UINT32_MAX,
		.tsc_khz = UINT32_MAX,
		.primary_boot_apicid = UINT32_MAX,
		.is_tested = true,
	};
	_cleanup_(boot_files_freep) struct boot_files *files = NULL;
	_cleanup_free_ char *cmdline = NULL;
	int r;

	r = network_check(&config->network, def->network, error);
	if (r < 0)
		return r;
	r = read_image(def, &files, error);
	if (r < 0)
		return r;
	r = image_cmdline(def->cmdline ? def->cmdline : "", &files->kernel, &partition, &cmdline,
			  error);
	if (r < 0)
		return r;
	if (kernel_needs(&files->kernel) > largest_part(def))
		return popcorn_error_set(
			error, POPCORN_ERROR_MEMORY_TOO_SMALL,
			"kernel %s needs %" PRIu64
			" MiB to unpack itself, and %s of memory were asked "
			"for%s; ask for more",
			files->kernel.release, (kernel_needs(&files->kernel) + MIB - 1) / MIB,
			SIZE_TEXT(largest_part(def)), def->memory_nodes ? " of any one node" : "");
	r = check_initrd(config, def, &files->kernel, error);
	if (r < 0)
		return r;
	r = devices_check(config, def, error);
	if (r < 0)
		return r;
	r = read_parts(config, def, files, error);
	if (r == 0 && ret)
		*ret = steal_ptr(files);
	return r;
}

/* Booting. */

static bool is_running_kernel(const struct bzimage *kernel)
{
	struct utsname name;

	return uname(&name) == 0 && strcmp(name.release, kernel->release) == 0;
}

static void report(const struct operation *operation, const char *step, double fraction)
{
	if (operation->progress)
		operation->progress(operation->userdata, step, fraction);
}

static bool is_cancelled(const struct operation *operation)
{
	struct pollfd fd = { operation->cancel_fd, POLLIN, 0 };

	return poll(&fd, 1, 0) > 0;
}

static int create_kernel(struct driver *driver, const char *name, uint32_t *ret_id, int *ret_fd,
			 struct popcorn_error *error)
{
	struct popcorn_info info;
	int r;

	r = driver->ops->info(driver, &info);
	if (r < 0)
		return popcorn_error_set_errno(error, r, "the driver does not answer");
	/* LOAD would refuse: say so before anything is taken. */
	if (info.flags & POPCORN_INFO_LOCKDOWN)
		return popcorn_error_set(error, POPCORN_ERROR_LOCKED_DOWN,
					 "the primary is in lockdown mode "
					 "(/sys/kernel/security/lockdown), which forbids "
					 "to load another kernel, as it does for kexec; boot it "
					 "without Secure Boot or "
					 "lockdown=");
	r = driver->ops->create(driver, name, ret_id, ret_fd);
	switch (r) {
	case -EEXIST:
		return popcorn_error_set(error, POPCORN_ERROR_NAME_TAKEN,
					 "the driver has a kernel named '%s'; choose another name, "
					 "or stop and release "
					 "it",
					 name);
	case -EINVAL:
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_NAME, NULL);
	case -EPERM:
		return popcorn_error_set(
			error, POPCORN_ERROR_NOT_AUTHORIZED,
			"the driver refuses a new kernel to popcornd: it lacks CAP_SYS_BOOT");
	case -ENOSPC:
		if (info.low_free == 0)
			return popcorn_error_set(error, POPCORN_ERROR_NO_LOW_MEMORY,
						 "no memory below 640 KiB is left, of which every "
						 "kernel needs %" PRIu32 " KiB to start; %" PRIu32
						 " kernels have it; stop and release one",
						 info.low_size / 1024, info.nr_kernels);
		return popcorn_error_set(error, POPCORN_ERROR_LIMIT,
					 "there are %" PRIu32
					 " kernels, %d is the limit; stop and release one",
					 info.nr_kernels, POPCORN_KERNELS_MAX);
	}
	return r < 0 ? popcorn_error_set_errno(error, r, "the driver refuses a new kernel") : 0;
}

static int load_image(struct driver *driver, int fd, const struct image *image,
		      struct popcorn_error *error)
{
	struct popcorn_segment segments[IMAGE_SEGMENTS_MAX];
	int r;

	for (size_t i = 0; i < image->n_segments; i++)
		segments[i] = (struct popcorn_segment){
			.buf = (uintptr_t)image->segments[i].buf,
			.bufsz = image->segments[i].bufsz,
			.mem = image->segments[i].mem,
			.memsz = image->segments[i].memsz,
		};
	r = driver->ops->load(driver, fd, segments, image->n_segments);
	if (r == -EPERM)
		return popcorn_error_set(error, POPCORN_ERROR_LOCKED_DOWN,
					 "the driver may not load a kernel: the primary is in "
					 "lockdown mode, or popcornd "
					 "lacks CAP_SYS_BOOT");
	if (r < 0)
		return popcorn_error_set_errno(error, r, "the driver could not load the image");
	return 0;
}

static int start_image(struct driver *driver, int fd, const struct image *image,
		       unsigned heartbeat_ms, const char *name, struct popcorn_error *error)
{
	int r = driver->ops->start(driver, fd, image->entry, image->boot_params, heartbeat_ms);

	if (r == -ETIME)
		return popcorn_error_set(error, POPCORN_ERROR_BOOT_TIMEOUT,
					 "the boot CPU of '%s' was started and did not reach the "
					 "start-up code; ask for "
					 "another CPU, and see 'dmesg'",
					 name);
	if (r < 0)
		return popcorn_error_set_errno(error, r, "the driver could not start '%s'", name);
	return 0;
}

static void statusp(struct popcorn_status *status)
{
	driver_status_done(status);
}

static int get_status(struct driver *driver, int fd, struct popcorn_status *ret,
		      struct popcorn_error *error)
{
	int r = driver->ops->status(driver, fd, ret);

	if (r == -ENODEV)
		return popcorn_error_set(error, POPCORN_ERROR_NO_SUCH_KERNEL,
					 "the kernel was released meanwhile");
	if (r < 0)
		return popcorn_error_set_errno(error, r,
					       "the driver does not say how the kernel is");
	return 0;
}

/* Until its state may have changed: 1; the deadline: 0; cancelled: -ECANCELED. */
static int wait_change(int fd, int cancel_fd, uint64_t deadline)
{
	struct pollfd fds[] = { { fd, POLLPRI, 0 }, { cancel_fd, POLLIN, 0 } };
	int r = poll_until(fds, ARRAY_SIZE(fds), deadline);

	if (r <= 0)
		return r;
	return fds[1].revents ? -ECANCELED : 1;
}

static int died_while_booting(const char *name, const struct popcorn_status *status,
			      struct popcorn_error *error)
{
	return popcorn_error_set(error, POPCORN_ERROR_CRASHED,
				 "'%s' is %s %s: %s%s%s; 'popcornctl log %s' shows its log", name,
				 state_to_string(status->state),
				 status->times[POPCORN_TIME_CHECKIN]
					 ? "after it had reported and before its user space "
					   "was up"
					 : "before it reported",
				 reason_to_text(status->reason), *status->text ? ": " : "",
				 status->text, name);
}

static int wait_running(struct driver *driver, int fd, const char *name,
			const struct kernel_def *def, const struct operation *operation,
			struct popcorn_error *error)
{
	uint64_t deadline = now_usec() + def->boot_timeout_usec;
	bool checked_in = false, late = false;

	report(operation, "kernel", PROGRESS_KERNEL);
	for (;;) {
		_cleanup_(statusp) struct popcorn_status status = { 0 };
		int r = get_status(driver, fd, &status, error);

		if (r < 0)
			return r;
		switch ((enum popcorn_state)status.state) {
		case POPCORN_STATE_RUNNING:
			if (!checked_in)
				report(operation, "agent", PROGRESS_AGENT);
			report(operation, "agent", 1);
			return 0;
		case POPCORN_STATE_BOOTING:
			break;
		case POPCORN_STATE_RESERVED:
		case POPCORN_STATE_LOADING:
		case POPCORN_STATE_STOPPING:
		case POPCORN_STATE_STOPPED:
		case POPCORN_STATE_CRASHED:
		case POPCORN_STATE_FAILED:
			return died_while_booting(name, &status, error);
		}
		if (status.times[POPCORN_TIME_CHECKIN] && !checked_in) {
			checked_in = true;
			report(operation, "agent", PROGRESS_AGENT);
		}
		if (late)
			return popcorn_error_set(error, POPCORN_ERROR_BOOT_TIMEOUT,
						 "'%s' was started, and %s within %" PRIu64
						 " seconds; everything was put "
						 "back; 'popcornctl log %s' shows how far it came",
						 name,
						 checked_in
							 ? "reported, but its user space was not up"
							 : "did not report",
						 def->boot_timeout_usec / USEC_PER_SEC, name);
		r = wait_change(fd, operation->cancel_fd, deadline);
		if (r == -ECANCELED)
			return popcorn_error_set(error, POPCORN_ERROR_CANCELLED, NULL);
		if (r < 0)
			return popcorn_error_set_errno(error, r, "can't wait for '%s'", name);
		/* One more look: how far it came, which is no change of state, or even all the way. */
		late = r == 0;
	}
}

/* The reverse of all that boot_kernel() did, and what the kernel said if it came so far. */
static int undo_boot(struct resources *resources, struct driver *driver, int fd,
		     struct claim *claim, bool started, enum popcorn_reason reason, char **ret_log,
		     struct popcorn_error *error)
{
	int r;

	if (started) {
		r = kill_kernel(driver, fd, reason, error);
		if (ret_log && read_kernel_log(driver, fd, ret_log, NULL) < 0)
			*ret_log = NULL;
		/* What it may still write must not come back. */
		if (r < 0)
			return r;
	}
	return release_kernel(resources, driver, fd, claim, error);
}

/* What its device is to be like, and what its agent is told. @ret_lines NULL: it gets no network. */
static int plan_network(const struct kernel_def *def, const struct boot_files *files,
			const struct operation *operation, uint32_t id, struct device_net *ret_net,
			char **ret_lines, struct popcorn_error *error)
{
	unsigned mtu;

	if (!operation->network || !files->has_network)
		return 0;
	network_mac(id, ret_net->mac);
	if (network_get_agent_lines(operation->network, id, def->network, &mtu, ret_lines) < 0)
		return no_memory(error);
	ret_net->mtu = (uint16_t)mtu;
	return 0;
}

int boot_kernel(const struct config *config, struct resources *resources, struct driver *driver,
		const char *name, const struct kernel_def *def, struct boot_files *checked,
		struct claim *claim, const struct operation *operation, int *ret_fd, char **ret_log,
		struct popcorn_error *error)
{
	struct popcorn_error cause = { 0 }, undo = { 0 };
	_cleanup_(image_done) struct image image = { 0 };
	_cleanup_(boot_files_freep) struct boot_files *files = checked;
	/* Behind what it uses, so that it is joined before that goes. */
	_cleanup_(preparation_join) struct preparation preparation = {
		.config = config,
		.cmdline = def->cmdline ? def->cmdline : "",
	};
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *network_lines = NULL;
	struct image_partition partition;
	enum popcorn_reason reason = POPCORN_REASON_KILLED;
	struct device_net net;
	bool started = false;
	uint32_t id;
	int r;

	if (ret_log)
		*ret_log = NULL;
	report(operation, "reserve", 0);
	if (!files) {
		r = read_image(def, &files, error);
		if (r < 0)
			return r;
		r = read_parts(config, def, files, error);
		if (r < 0)
			return r;
	}
	if (!files->has_terminals && operation->lacks)
		operation->lacks(operation->userdata, TERMINALS_MODULE ".ko");
	preparation.files = files;
	preparation_start(&preparation);
	r = create_kernel(driver, name, &id, &fd, error);
	if (r < 0)
		return r;

	/* From here on there is something to undo. */
	r = plan_network(def, files, operation, id, &net, &network_lines, &cause);
	if (r < 0)
		goto fail;
	r = build_initramfs(name, def, network_lines, files, &cause);
	if (r < 0)
		goto fail;
	claim_need_first(claim, kernel_needs(&files->kernel),
			 kernel_needs(&files->kernel) + files->initramfs.size);
	r = resources_take(resources, claim, fd, operation, &cause);
	if (r < 0)
		goto fail;

	report(operation, "load", PROGRESS_LOAD);
	r = claim_partition(claim, fd, &partition, &cause);
	if (r < 0)
		goto fail;
	preparation_join(&preparation);
	r = preparation.result;
	if (r < 0) {
		cause = preparation.error;
		goto fail;
	}
	partition.is_tested = is_running_kernel(&files->kernel);
	memcpy(partition.random, files->random, sizeof(partition.random));
	r = image_build(&files->kernel, files->initramfs.data, files->initramfs.size,
			preparation.cmdline, &partition, &image, &cause);
	if (r < 0)
		goto fail;
	r = load_image(driver, fd, &image, &cause);
	if (r < 0)
		goto fail;
	/* Released with the kernel. */
	r = devices_add(def, network_lines ? &net : NULL, driver, fd, id, &cause);
	if (r < 0)
		goto fail;
	if ((operation->wait_for_turn && operation->wait_for_turn(operation->userdata) < 0) ||
	    is_cancelled(operation)) {
		r = popcorn_error_set(&cause, POPCORN_ERROR_CANCELLED, NULL);
		goto fail;
	}

	report(operation, "start", PROGRESS_START);
	/* Also if START fails: the driver knows best whether there is anything to park. */
	started = true;
	r = start_image(driver, fd, &image, config->heartbeat_ms, name, &cause);
	if (r < 0)
		goto fail;
	/* It has them now: tens of megabytes that nobody needs while it boots. */
	image_done(&image);
	files = boot_files_free(files);

	r = wait_running(driver, fd, name, def, operation, &cause);
	if (r < 0) {
		reason = cause.id == POPCORN_ERROR_BOOT_TIMEOUT ? POPCORN_REASON_BOOT_TIMEOUT
			 : cause.id == POPCORN_ERROR_CANCELLED	? POPCORN_REASON_CANCELLED
								: POPCORN_REASON_KILLED;
		goto fail;
	}
	*ret_fd = steal_fd(&fd);
	return 0;

fail:
	if (undo_boot(resources, driver, fd, claim, started, reason, ret_log, &undo) < 0) {
		/* What is not as it was weighs more than why: say both. */
		return popcorn_error_set(error, undo.id,
					 "%.480s; before that, '%s' could not be booted: "
					 "%.400s",
					 undo.text, name, cause.text);
	}
	if (error && error->id == POPCORN_ERROR_NONE)
		*error = cause;
	return r;
}

/* Ending. */

int kill_kernel(struct driver *driver, int fd, enum popcorn_reason reason,
		struct popcorn_error *error)
{
	int r = driver->ops->stop(driver, fd, POPCORN_STOP_KILL, reason);

	switch (r) {
	case 0:
	case -EBUSY: /* it was never started: there is nothing to park */
		return 0;
	case -EIO:
		return popcorn_error_set(error, POPCORN_ERROR_CPU_STUCK,
					 "a CPU of the kernel was not seen stopped; it and the "
					 "memory it may write are "
					 "kept from the primary; 'popcornctl release' tries again");
	case -ENODEV:
		return popcorn_error_set(error, POPCORN_ERROR_NO_SUCH_KERNEL,
					 "the kernel was released meanwhile");
	}
	return popcorn_error_set_errno(error, r, "the kernel can't be stopped");
}

int stop_kernel(struct driver *driver, int fd, uint64_t timeout_usec,
		const struct operation *operation, struct popcorn_error *error)
{
	uint64_t now = now_usec();
	uint64_t deadline = timeout_usec < UINT64_MAX - now ? now + timeout_usec : UINT64_MAX;
	bool asked = false;
	int r;

	for (;;) {
		_cleanup_(statusp) struct popcorn_status status = { 0 };

		r = get_status(driver, fd, &status, error);
		if (r < 0)
			return r;
		switch ((enum popcorn_state)status.state) {
		case POPCORN_STATE_RESERVED:
		case POPCORN_STATE_LOADING:
		case POPCORN_STATE_STOPPED:
		case POPCORN_STATE_CRASHED:
		case POPCORN_STATE_FAILED:
			return 0;
		case POPCORN_STATE_BOOTING:
			/* Nobody is there yet who could be asked. */
			goto kill;
		case POPCORN_STATE_RUNNING:
			r = driver->ops->stop(driver, fd, POPCORN_STOP_ASK,
					      POPCORN_REASON_REQUESTED);
			/* -EBUSY: it left "running" just now; look again. */
			if (r < 0 && r != -EBUSY)
				return popcorn_error_set_errno(
					error, r, "the kernel can't be asked to shut down");
			continue;
		case POPCORN_STATE_STOPPING:
			if (asked)
				break;
			/*
			 * Only now that its end can't be taken for one of its own; also after a restart of
			 * popcornd, which does not know what the last one did.
			 */
			asked = true;
			report(operation, "asked", PROGRESS_ASKED);
			if (operation->ask_agent && !is_cancelled(operation) &&
			    operation->ask_agent(operation->userdata, status.id, status.generation,
						 deadline) == 0)
				report(operation, "answered", PROGRESS_ANSWERED);
			/* It may have ended meanwhile, which is told once. */
			continue;
		}
		r = wait_change(fd, operation->cancel_fd, deadline);
		if (r == -ECANCELED)
			return popcorn_error_set(
				error, POPCORN_ERROR_CANCELLED,
				"the stop was cancelled; the kernel was asked to shut down and may "
				"still do so");
		if (r < 0)
			return popcorn_error_set_errno(error, r, "can't wait for the kernel");
		if (r == 0)
			goto kill;
	}

kill:
	r = kill_kernel(driver, fd, POPCORN_REASON_REQUESTED, error);
	return r < 0 ? r : 1;
}

int release_kernel(struct resources *resources, struct driver *driver, int fd, struct claim *claim,
		   struct popcorn_error *error)
{
	uint32_t cpus = 0, ranges = 0;
	int r = driver->ops->release(driver, fd, &cpus, &ranges);

	switch (r) {
	case 0:
	case -ENODEV: /* released before, but not yet given back */
		/* Only now is nobody left who could write to the memory. */
		return resources_give_back(resources, claim, error);
	case -EIO:
		return popcorn_error_set(error, POPCORN_ERROR_CPU_STUCK,
					 "%" PRIu32 " CPUs and %" PRIu32
					 " memory ranges of the kernel are kept: a CPU was "
					 "not seen stopped and may still write there; 'popcornctl "
					 "release' tries again, "
					 "a reboot of the machine always helps",
					 cpus, ranges);
	case -EBUSY:
		return popcorn_error_set(error, POPCORN_ERROR_WRONG_STATE,
					 "the kernel runs; stop it before it is released");
	}
	return popcorn_error_set_errno(error, r, "the driver can't release the kernel");
}

/* The kernel's log. */

struct mappings {
	struct klog_range *ranges;
	size_t n;
};

static void mappings_done(struct mappings *mappings)
{
	for (size_t i = 0; i < mappings->n; i++)
		munmap((void *)(uintptr_t)mappings->ranges[i].data, mappings->ranges[i].length);
	free(mappings->ranges);
}

struct log {
	char *data;
	size_t size, room;
};

/* Keeps the newest: what a kernel said last is why it died. */
static int add_line(void *userdata, const char *line, size_t length)
{
	struct log *log = userdata;

	if (length > KERNEL_LOG_MAX / 2 - 1)
		length = KERNEL_LOG_MAX / 2 - 1;
	if (log->size + length + 1 > log->room) {
		size_t drop = log->size > KERNEL_LOG_MAX / 2 ? log->size - KERNEL_LOG_MAX / 2 : 0;
		const char *end = memchr(log->data + drop, '\n', log->size - drop);

		/* Only whole lines go. */
		drop = end ? (size_t)(end - log->data) + 1 : log->size;
		memmove(log->data, log->data + drop, log->size - drop);
		log->size -= drop;
	}
	memcpy(log->data + log->size, line, length);
	log->size += length;
	log->data[log->size++] = '\n';
	return 0;
}

int read_kernel_log(struct driver *driver, int fd, char **ret, struct popcorn_error *error)
{
	_cleanup_(statusp) struct popcorn_status status = { 0 };
	_cleanup_(mappings_done) struct mappings mappings = { 0 };
	_cleanup_free_ char *data = NULL;
	const struct popcorn_range *ranges;
	struct log log = { 0 };
	int r;

	r = get_status(driver, fd, &status, error);
	if (r < 0)
		return r;
	ranges = (const void *)(uintptr_t)status.ranges;
	mappings.ranges = calloc(status.nr_ranges + 1, sizeof(*mappings.ranges));
	data = malloc(KERNEL_LOG_MAX + 1);
	if (!mappings.ranges || !data)
		return no_memory(error);
	for (uint32_t i = 0; i < status.nr_ranges; i++) {
		void *p = mmap(NULL, ranges[i].length, PROT_READ, MAP_SHARED, fd,
			       (off_t)ranges[i].start);

		if (p == MAP_FAILED)
			return popcorn_error_set_errno(error, errno,
						       "the kernel's memory can't be read");
		mappings.ranges[mappings.n++] =
			(struct klog_range){ ranges[i].start, ranges[i].length, p };
	}
	log = (struct log){ data, 0, KERNEL_LOG_MAX };
	r = klog_read(mappings.ranges, mappings.n, status.generation, add_line, &log);
	if (r == -ENODATA)
		return popcorn_error_set_errno(error, r, "the kernel has not logged anything");
	if (r < 0)
		return popcorn_error_set_errno(error, r, "the kernel's log can't be read");
	data[log.size] = '\0';
	*ret = steal_ptr(data);
	return 0;
}
