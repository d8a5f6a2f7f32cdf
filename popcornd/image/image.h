/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The boot image: bzImage + initrd + command line + partition -> segments.
 *
 * Pure functions on memory: no I/O, no globals, no root. Every byte of a bzImage and of an initrd
 * is hostile. How the data flows:
 *
 *	bytes of a bzImage ── bzimage_parse() ──▶ struct bzimage (what the setup header says)
 *	partition (CPUs, ranges, low memory)  ─┐
 *	struct bzimage, initrd, cmdline ───────┴─ image_build() ──▶ struct image: segments + entry
 *
 * The segments go to POPCORN_IOC_LOAD as they are. Layout of a partition's first range:
 *
 *	head (POPCORN_HEAD_SIZE; ACPI tables in its table area) | boot_params, command line |
 *	kernel (aligned, init_size) | … | initrd (page aligned, as high as fits)
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct vmlinux; /* vmlinux.h */

/* Whether a kernel with this command line is moved (KASLR), by image_build() or by whoever is first. */
bool image_may_move(const struct vmlinux *vmlinux, const char *cmdline);

/* What the setup header of a bzImage says (Documentation/x86/boot.rst). Points into the file. */
struct bzimage {
	const uint8_t *data;
	size_t size;
	uint16_t protocol;    /* boot protocol version, 0x020c or later */
	uint32_t setup_size;  /* bytes before the protected-mode part */
	uint32_t kernel_size; /* bytes of the protected-mode part */
	uint32_t init_size;   /* bytes the kernel needs while it unpacks itself */
	uint32_t alignment;   /* kernel_alignment */
	uint64_t pref_address;
	uint32_t cmdline_size; /* longest command line it takes, without the NUL */
	uint16_t xloadflags;
	char release[128];   /* "6.1.0-56-amd64": the first word of the version string */
	unsigned version[2]; /* {6, 1} */
	/*
	 * Set by who has unpacked it, else NULL: it is entered without its decompressor. Of use
	 * for one image_build() only, which moves it to its place; must outlive the image.
	 */
	struct vmlinux *vmlinux;
};

/*
 * Errors: ImageInvalid (not a bzImage, truncated, nonsense in the header), ImageNot64Bit (no
 * 64-bit entry point), ImageTooOld (boot protocol before 2.12).
 */
int bzimage_parse(const void *data, size_t size, struct bzimage *ret, struct popcorn_error *error);

struct image_range {
	uint64_t start, length; /* bytes; physical */
	unsigned node;		/* proximity domain */
};

struct image_cpu {
	uint32_t apicid;
	unsigned node;
};

/* All that the image must know of the kernel that it is for. The caller owns what is pointed to. */
struct image_partition {
	uint32_t id, generation;
	const struct image_cpu *cpus; /* boot CPU first */
	size_t n_cpus;
	const struct image_range *ranges; /* the first one carries the head */
	size_t n_ranges;
	uint64_t low_start, low_length; /* RAM below 640 KiB */
	uint32_t primary_boot_apicid;	/* the machine's boot CPU */
	uint32_t tsc_khz;
	uint16_t pm_timer;	  /* port of the machine's ACPI PM timer, or 0: none */
	bool is_tested;		  /* the primary is the same kernel */
	uint64_t random[2];	  /* from getrandom(): where bzimage.vmlinux will lie (KASLR) */
	const uint8_t *distances; /* n_nodes x n_nodes SLIT values, or NULL */
	const unsigned *nodes;	  /* node numbers the rows stand for */
	size_t n_nodes;
};

struct image_segment {
	uint64_t mem, memsz; /* physical, page aligned */
	const void *buf;     /* bufsz bytes; owned by the image or by the caller of image_build() */
	size_t bufsz;
	const char *what; /* "kernel", "initrd", "boot_params", "acpi" */
};

#define IMAGE_SEGMENTS_MAX 8

struct image {
	struct image_segment segments[IMAGE_SEGMENTS_MAX];
	size_t n_segments;
	uint64_t entry, boot_params;
	char *cmdline; /* the whole command line, as given to the kernel */
	void *owned[IMAGE_SEGMENTS_MAX];
};

/*
 * @cmdline is what the user asked for, may be ""; what popcorn needs is put around it (what must
 * win comes last). @kernel's and @initrd's bytes must outlive @ret, which is freed with image_done().
 * Errors: CmdlineTooLong, InitrdTooLarge, MemoryTooSmall; LimitReached (ACPI tables); for a command
 * line or partition that makes no sense InvalidArgument, MemoryInvalid, NoLowMemory, CpuIsBootCpu.
 */
int image_build(const struct bzimage *kernel, const void *initrd, size_t initrd_size,
		const char *cmdline, const struct image_partition *partition, struct image *ret,
		struct popcorn_error *error);
void image_done(struct image *image);

/* Writes what popcornd puts into @ret (malloc'ed, NUL-terminated): the whole command line. */
int image_cmdline(const char *user, const struct bzimage *kernel,
		  const struct image_partition *partition, char **ret, struct popcorn_error *error);

/*
 * ACPI tables into @buf, which will lie at physical address @base; returns bytes used or -ENOSPC.
 * @ret_rsdp is the physical address for boot_params.acpi_rsdp_addr.
 */
int acpi_build(const struct image_partition *partition, const struct bzimage *kernel, uint64_t base,
	       void *buf, size_t size, uint64_t *ret_rsdp);

/* The PM timer's port in the bytes of a machine's FADT; 0: there is none, or nothing that makes sense. */
uint16_t acpi_pm_timer(const void *fadt, size_t size);

/*
 * The initramfs that popcornd adds: newc cpio archives. An initrd given by the user keeps its place
 * at the front (a kernel unpacks concatenated archives in order; ours comes last so that its files
 * win), padded to 4 bytes. A parent directory that is a symbolic link in the user's initrd (/lib,
 * /bin) would be replaced by a directory: keep to paths of our own. Errors: InvalidArgument (a path
 * or mode that an archive can't carry), LimitReached (a file of 4 GiB or more).
 */
struct initramfs_file {
	const char *path; /* without leading slash; parents are made */
	uint32_t mode;	  /* with type bits: S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR */
	const void *data; /* contents, or target of a link */
	size_t size;
	unsigned major, minor; /* S_IFCHR */
};
int initramfs_build(const void *initrd, size_t initrd_size, const struct initramfs_file *files,
		    size_t n_files, void **ret, size_t *ret_size, struct popcorn_error *error);
