/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * What the machine has, who has what of it, and the leases.
 *
 * A claim is the share of one kernel. It is chosen at once (resources_claim(), so that two boots
 * never choose the same CPU), taken step by step from the primary in a worker thread
 * (resources_take()), and given back in reverse order (resources_give_back()). Before a step that
 * a crash of popcornd could leave half done, the step is written into the claim's lease file
 * (/run/popcorn/leases/NAME, written aside and renamed): what stands there and not in the driver
 * is undone at the next start (resources_recover()).
 *
 *	claim ──▶ offline memory blocks (sysfs) ──▶ ADD_MEMORY ──▶ ADD_CPUS
 *	 ▲            └ EBUSY: next block; none left: CONTIG ranges
 *	 └── online blocks ◀── RELEASE (CPUs back, CONTIG freed)
 *
 * Locking: one mutex inside; every function may be called from any thread.
 */

#include <hwloc.h>
#include <stdint.h>

#include "config.h"
#include "driver.h"
#include "image.h"

/* What a blocking operation looks at between its steps. */
struct operation {
	int cancel_fd;	/* readable = give up, undo, return CANCELLED; or -1 */
	/* Any thread. @step: "reserve", "load", "start", "kernel", "agent"; @fraction 0..1 of all. */
	void (*progress)(void *userdata, const char *step, double fraction);
	void *userdata;
};

struct resources;
struct claim;

/* @sysfs "" or the root of a fake tree ("<root>/sys/devices/system/…"); @run "/run/popcorn". */
int resources_new(const struct config *config, struct driver *driver, const char *sysfs,
		  const char *run, struct resources **ret, struct popcorn_error *error);
struct resources *resources_free(struct resources *resources);

/*
 * Chooses CPUs and memory for @name: near each other, whole cores first, nothing that the primary
 * keeps. Every wish that can be refused without touching anything is refused here: CPU_UNKNOWN,
 * CPU_BOOT, CPU_OFFLINE, CPU_LENT, CPU_KEPT, NO_FREE_CPUS, MEMORY_INVALID, NO_FREE_MEMORY.
 */
int resources_claim(struct resources *resources, const char *name, const struct kernel_def *def,
		    struct claim **ret, struct popcorn_error *error);
/* Forgets a claim of which nothing was taken, or all was given back. */
struct claim *claim_free(struct claim *claim);

/* Blocking. CPU_BUSY, MEMORY_BUSY, NO_FREE_MEMORY, CANCELLED; on failure nothing stays taken. */
int resources_take(struct resources *resources, struct claim *claim, int kernel_fd,
		   const struct operation *operation, struct popcorn_error *error);
/* Blocking. After the driver's RELEASE: onlines the blocks, ends the lease. */
int resources_give_back(struct resources *resources, struct claim *claim, struct popcorn_error *error);

/*
 * At start: a claim for each kernel of the driver (from its status and its lease file), and an end
 * to each lease that no kernel of the driver has any more. @found is called once per kernel and
 * owns the claim.
 */
int resources_recover(struct resources *resources,
		      void (*found)(void *userdata, const char *name, uint32_t id, struct claim *claim),
		      void *userdata, struct popcorn_error *error);

/* Valid while the claim is. */
const uint32_t *claim_cpus(const struct claim *claim, size_t *ret_n);
/* Fills @ret for image_build(): arrays belong to the claim. After resources_take(). */
int claim_partition(const struct claim *claim, int kernel_fd, struct image_partition *ret,
		    struct popcorn_error *error);

/* CPUs that could be lent now, and bytes of memory likely to be had: for List and messages. */
unsigned resources_free_cpus(struct resources *resources);
uint64_t resources_free_memory(struct resources *resources);
