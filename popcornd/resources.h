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
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "driver.h"
#include "image.h"

#define PROGRESS_RESERVE 0.4

struct network;

/* What a blocking operation looks at between its steps. */
struct operation {
	int cancel_fd; /* readable = give up, undo, return CANCELLED; or -1 */
	/*
	 * May be NULL. Called in the thread of the operation. @step: "reserve", "load", "leader", "start",
	 * "kernel", "agent"; of a stop "asked", "answered"; @fraction 0..1 of all, of which "reserve" is
	 * PROGRESS_RESERVE.
	 */
	void (*progress)(void *userdata, const char *step, double fraction);
	/*
	 * May be NULL. Called once a kernel is ready to be started, or can't be: blocks until it may
	 * be, or until that may be told. -ECANCELED.
	 */
	int (*wait_for_turn)(void *userdata);
	/*
	 * May be NULL. Called once a kernel was asked to shut down: asks its agent as well, and blocks until that
	 * has answered, or will not; no longer than to @deadline (of now_usec()). 0: it has heard.
	 */
	int (*ask_agent)(void *userdata, uint32_t id, uint32_t generation, uint64_t deadline);
	/* May be NULL. Called if a kernel has to boot without @what, a file that it does not need. */
	void (*lacks)(void *userdata, const char *what);
	void *userdata;
	struct network *network; /* that kernels are on, or NULL */
};

struct resources;
struct claim;

/* @sysfs "" or the root of a fake tree ("<root>/sys/devices/system/…"); @run "/run/popcorn". */
int resources_new(const struct config *config, struct driver *driver, const char *sysfs,
		  const char *run, struct resources **ret, struct popcorn_error *error);
struct resources *resources_free(struct resources *resources);
/* From now on. @config must live as long as any operation that began before the next change. */
void resources_set_config(struct resources *resources, const struct config *config);

/*
 * Chooses CPUs and memory for @name: near each other, whole cores first, nothing that the primary
 * keeps. Every wish that can be refused without touching anything is refused here: CPU_UNKNOWN,
 * CPU_BOOT, CPU_OFFLINE, CPU_LENT, CPU_KEPT, NO_FREE_CPUS, MEMORY_INVALID, NO_FREE_MEMORY.
 */
int resources_claim(struct resources *resources, const char *name, const struct kernel_def *def,
		    struct claim **ret, struct popcorn_error *error);
/*
 * Forgets a claim of which nothing was taken, or all was given back. Of one that still holds
 * something (claim_holds()) the lease file stays, for resources_recover().
 */
struct claim *claim_free(struct claim *claim);
/* Whether something of the primary's is, or may be, away. */
bool claim_holds(const struct claim *claim);

/*
 * The first memory range will have @need bytes, and @wish bytes if that is not harder: the kernel is
 * to lie in it, and if possible its initrd too.
 */
void claim_need_first(struct claim *claim, uint64_t need, uint64_t wish);

/*
 * Blocking. CPU_BUSY, MEMORY_BUSY, NO_FREE_MEMORY, LIMIT, CANCELLED. What the driver was given can
 * only come back by its RELEASE: on failure the claim holds what was taken until then, and the
 * caller does RELEASE and resources_give_back() as after a success (release_kernel()).
 */
int resources_take(struct resources *resources, struct claim *claim, int kernel_fd,
		   const struct operation *operation, struct popcorn_error *error);
/*
 * Blocking. After the driver's RELEASE: onlines the blocks, ends the lease. On failure (a block
 * would not come online) the claim holds what is left, and this may be tried again.
 */
int resources_give_back(struct resources *resources, struct claim *claim,
			struct popcorn_error *error);

/*
 * At start: a claim for each kernel of the driver (from its status and its lease file), and an end
 * to each lease that no kernel of the driver has any more. @found is called once per kernel and
 * owns the claim.
 */
int resources_recover(struct resources *resources,
		      void (*found)(void *userdata, const char *name, uint32_t id,
				    struct claim *claim),
		      void *userdata, struct popcorn_error *error);

/* Valid while the claim is. */
const uint32_t *claim_cpus(const struct claim *claim, size_t *ret_n);
/* Fills @ret for image_build(): arrays belong to the claim. After resources_take(). */
int claim_partition(struct claim *claim, int kernel_fd, struct image_partition *ret,
		    struct popcorn_error *error);

/* Bytes asked for, or that a recovered kernel has. */
uint64_t claim_memory(const struct claim *claim);

/* CPUs that could be lent now, and bytes of memory likely to be had: for List and messages. */
unsigned resources_free_cpus(struct resources *resources);
uint64_t resources_free_memory(struct resources *resources);
