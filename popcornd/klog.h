/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The log of a secondary (its printk ring), read out of its memory by the primary: works before the
 * console's driver is there, and after a crash. The kernel may be running meanwhile.
 *
 * Pure functions on memory. Nothing in that memory is believed: whatever it holds, reading ends
 * after a bounded time and touches nothing but the ranges, and lines are printable ASCII.
 */

#include <stddef.h>
#include <stdint.h>

/* A mapped piece of the kernel's physical memory. */
struct klog_range {
	uint64_t start, length; /* physical, whole pages */
	const void *data;
};

/* Called for each line, without newline. A negative value ends the reading and is returned. */
typedef int (*klog_line_fn)(void *userdata, const char *line, size_t length);

/*
 * Gives the lines of the log in order, oldest first, as `dmesg` writes them:
 * "[    0.123456] text". @generation tells this kernel's log from those that earlier kernels left in
 * the same memory (it is on the command line, which the kernel logs); 0 = take any.
 *
 * Returns how many records there were; -ENODATA if there is no log (the kernel died before it
 * printed, or the memory was never used); -ENOMEM; or what @line returned.
 */
int klog_read(const struct klog_range *ranges, size_t n_ranges, uint32_t generation,
	      klog_line_fn line, void *userdata);
