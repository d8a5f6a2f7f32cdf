/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Pictures of a machine in which one sees who has what. lstopo (package hwloc) draws; what is added
 * to hwloc's description for that are colours (info attribute lstopoStyle, see lstopo(1)) and names
 * (subtypes, which lstopo shows in place of the type).
 */

#include <hwloc.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct topology;

struct drawing_memory {
	uint32_t node; /* Linux's number */
	uint64_t bytes;
};

/* One kernel's partition. CPUs, nodes and devices by Linux's numbers and addresses. */
struct drawing_kernel {
	const char *name;
	hwloc_const_bitmap_t cpus;
	const struct drawing_memory *memory;
	size_t n_memory;
	const char *const *devices; /* "0000:02:00.0" */
	size_t n_devices;
};

/*
 * "svg", "png", "pdf" or "txt" by the end of the file's name; NULL: another one. For whoever wants
 * to complain about it early.
 */
const char *drawing_format(const char *file);

/*
 * Draws @topology into @file, with the partitions of @kernels; what none of them has is the
 * primary's. @n_kernels 0: only the machine. INVALID_ARGUMENT: the format; NOT_SUPPORTED: lstopo is
 * missing, or can't write this format; FAILED: what lstopo said.
 */
int draw_topology(const struct topology *topology, const struct drawing_kernel *kernels,
		  size_t n_kernels, const char *file, struct popcorn_error *error);

/* What lstopo gets to read, malloc'ed; for tests. */
int drawing_xml(const struct topology *topology, const struct drawing_kernel *kernels,
		size_t n_kernels, char **ret, struct popcorn_error *error);
