/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * A machine that is not there: a folder that looks like /sys and /proc, and a driver behind
 * driver.h. What is written into the folder changes the machine, because sysfs_write() and
 * lease_write() are replaced at link time (-Wl,--wrap).
 *
 * Its state is in shared memory: a child that boots a kernel and dies at any step leaves the
 * machine to the parent as a popcornd that was killed leaves it to the next one.
 */

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver.h"

#define FAKE_CPUS_MAX 4096
#define FAKE_BLOCKS_MAX 256
#define FAKE_KERNELS_MAX 8
#define FAKE_BLOCK_SIZE (128ULL << 20)
#define FAKE_PM_TIMER 0x608
#define FAKE_STATES_MAX 8

struct fake_block {
	bool online;
	char zone; /* 'M'ovable, 'N'ormal, '3' DMA32, 'x' none */
	char made; /* the zone at the last fake_refresh() */
	unsigned node;
	int refuse;	   /* errno of the next tries to take it offline */
	unsigned refusals; /* how many; UINT_MAX = for ever */
	int refuse_online;
	bool hang; /* going offline takes until it is interrupted */
};

struct fake_kernel {
	bool used;
	char name[POPCORN_NAME_MAX];
	uint32_t generation;
	enum popcorn_state state;
	enum popcorn_reason reason;
	uint32_t cpus[FAKE_CPUS_MAX];
	uint32_t n_cpus;
	struct popcorn_range ranges[FAKE_BLOCKS_MAX];
	uint32_t n_ranges;
	uint64_t times[POPCORN_TIME_NR];
	char text[64];
	/* What was loaded: where, and how it begins. And where it was entered. */
	struct {
		uint64_t start, size;
		uint8_t bytes[16];
	} loaded[POPCORN_SEGMENTS_MAX];
	uint64_t entry;
	/* As they were added; a slot is free if its size is 0. */
	struct popcorn_add_device devices[POPCORN_DEVICES_MAX];
	bool served[POPCORN_DEVICES_MAX];
	const char *device_failed[POPCORN_DEVICES_MAX]; /* NULL: it has not */
	/* What it does from START on, one state at each look. */
	enum popcorn_state script[FAKE_STATES_MAX];
	unsigned n_script;
};

/* How a step goes wrong. */
enum fake_mode {
	FAKE_FAIL,	   /* the call fails with fail_errno and does nothing */
	FAKE_CRASH_BEFORE, /* the process dies before it */
	FAKE_CRASH_AFTER,  /* the process dies right after it */
};

#define FAKE_CRASHED 99 /* exit status */

struct fake {
	char root[PATH_MAX]; /* for resources_new(); <root>/run for its leases */
	unsigned n_cpus, threads_per_core, n_nodes;
	bool online[FAKE_CPUS_MAX], made[FAKE_CPUS_MAX], lent[FAKE_CPUS_MAX],
		refuse_cpu[FAKE_CPUS_MAX];
	struct fake_block blocks[FAKE_BLOCKS_MAX];
	unsigned n_blocks;
	struct fake_kernel kernels[FAKE_KERNELS_MAX];
	uint32_t generations;
	uint32_t info_flags, low_free;
	unsigned contig_refusals; /* UINT_MAX = for ever */
	unsigned contig_tries, offline_tries;

	unsigned step, step_at; /* at which step it goes wrong; 0 = never */
	enum fake_mode mode;
	int fail_errno;

	/* The next kernel's life after START, and how its end goes. */
	enum popcorn_state script[FAKE_STATES_MAX];
	unsigned n_script;
	enum popcorn_reason end_reason;
	char end_text[64];
	bool ignores_stop; /* stays "stopping" when it is asked */
	unsigned stuck;	   /* how many KILLs and RELEASEs find a CPU that does not stop */
	int start_errno, load_errno, create_errno;
	unsigned refuse_device;	 /* ADD_DEVICE fails at this one, counted from 1 */
	uint64_t vhost_features; /* what vhost-net and vhost-vsock can; 0 = this machine has none */
	bool wrong_cpus;	 /* STATUS tells of other CPUs than were added */

	pthread_mutex_t lock;
};

/* One node or more with the same number of CPUs and blocks each, all online, zone Normal. */
struct fake *fake_new(unsigned cpus, unsigned threads_per_core, unsigned blocks, unsigned nodes);
void fake_free(struct fake *fake);
/* Writes the folder again after the state was changed by hand: that is how it is to be again. */
void fake_refresh(struct fake *fake);
struct driver *fake_driver(struct fake *fake);
struct fake_kernel *fake_kernel(struct fake *fake, const char *name);

/* Fails the test unless all CPUs and blocks are as they were made and nothing is left. */
void fake_check_whole(struct fake *fake);
unsigned fake_n_leases(const struct fake *fake);
/* Bytes that are with kernels. */
uint64_t fake_taken(const struct fake *fake);

/* A file in the fake's folder, with missing folders above it. */
void fake_write_file(struct fake *fake, const char *path, const void *data, size_t size);
/* An image that bzimage_parse() takes, the modules for it, an agent and a busybox. */
#define FAKE_RELEASE "6.1.0-fake"
void fake_write_boot_files(struct fake *fake);
