/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The long operations on a kernel, as plain blocking functions: a Job runs each in a thread of its
 * own, unit tests call them directly. No D-Bus here. Each one is all or nothing.
 */

#include "config.h"
#include "driver.h"
#include "resources.h"

/* What was read for a boot: some 10 MiB. */
struct boot_files;
struct boot_files *boot_files_free(struct boot_files *files);

/*
 * Everything about a boot that can be refused by looking, before anything is taken or a unit
 * started: image and initrd exist and are sound, modules for its version are there, the command
 * line fits, the network is one that there is. The errors of image.h, NETWORK, NO_MODULES, IMAGE_NOT_FOUND, INITRD_NOT_FOUND. @ret (may be
 * NULL) is for boot_kernel(), which then boots exactly what was looked at.
 */
int boot_check(const struct config *config, const struct kernel_def *def, struct boot_files **ret,
	       struct popcorn_error *error);

/*
 * create ▶ take ▶ build image ▶ LOAD ▶ devices ▶ START ▶ wait for "running". On failure everything is undone
 * in reverse order, except that a kernel whose CPU was not seen stopped stays "failed" in the
 * driver, with error CPU_STUCK; then, and if memory did not come back online, claim_holds().
 * @ret_fd is the kernel's descriptor. BOOT_TIMEOUT, CRASHED (it died while booting),
 * CANCELLED, LOCKED_DOWN, NO_LOW_MEMORY, NAME_TAKEN and all of resources_take() and boot_check().
 * A kernel that dies while booting leaves its kernel log in @ret_log (malloc'ed; may be NULL).
 * @checked is what boot_check() read, and is freed; NULL: it is read now.
 */
int boot_kernel(const struct config *config, struct resources *resources, struct driver *driver,
		const char *name, const struct kernel_def *def, struct boot_files *checked,
		struct claim *claim, const struct operation *operation, int *ret_fd, char **ret_log,
		struct popcorn_error *error);

/*
 * Asks, waits up to @timeout_usec for the end, then kills. Does not release. 0 = it shut down
 * itself (or had ended already), 1 = it had to be killed. CPU_STUCK, CANCELLED (goes on running).
 */
int stop_kernel(struct driver *driver, int fd, uint64_t timeout_usec,
		const struct operation *operation, struct popcorn_error *error);
int kill_kernel(struct driver *driver, int fd, enum popcorn_reason reason,
		struct popcorn_error *error);

/* Driver's RELEASE, then resources_give_back(). CPU_STUCK if the driver keeps something. */
int release_kernel(struct resources *resources, struct driver *driver, int fd, struct claim *claim,
		   struct popcorn_error *error);

/*
 * The kernel's own log, read out of its memory (klog.h), oldest line first; at most
 * KERNEL_LOG_MAX bytes. Works on a living, a crashed and a half-booted kernel.
 */
#define KERNEL_LOG_MAX (1U << 20)
int read_kernel_log(struct driver *driver, int fd, char **ret, struct popcorn_error *error);
