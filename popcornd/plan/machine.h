/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The machine as the planner sees it: plain data, made once from hwloc's view (topology.h) and never
 * changed. Indices, not pointers, so that it can be copied, compared and built by hand in tests.
 *
 *	hwloc (live, XML, synthetic) ──▶ struct topology ──▶ machine_new() ──▶ struct machine
 *	memory blocks, the driver's limits (popcornd only) ─────────┘
 *
 * CPUs lie in hwloc's logical order: neighbours in the array are neighbours in the machine, and the
 * CPUs of every domain (core, L3, node, package) are one run of the array. CPUs of which nobody
 * knows where they are (offline since boot) stand at the end, in no domain but the machine.
 *
 * This is the one place that maps Linux's CPU numbers to APIC ids.
 */

#include <hwloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct json_t;
struct topology;

#define UNKNOWN UINT32_MAX

/* From small to large. A domain need not lie in one of the next level (a node may span packages). */
enum machine_level {
	LEVEL_CORE,
	LEVEL_L3,
	LEVEL_NODE, /* a NUMA node; of those that are local to a CPU, the first */
	LEVEL_PACKAGE,
	LEVEL_MACHINE, /* one domain: everything */
};
#define N_LEVELS 5

enum cpu_state {
	CPU_USABLE,
	CPU_OFFLINE,
	CPU_NOT_ALLOWED, /* hwloc: forbidden to us, by a cgroup for example */
};

struct machine_cpu {
	uint32_t os;	       /* Linux's number */
	uint32_t apicid;       /* or UNKNOWN */
	uint32_t in[N_LEVELS]; /* index of its domain of each level, or UNKNOWN */
	uint32_t kind;	       /* index in kinds, or UNKNOWN */
	enum cpu_state state;
};

struct machine_domain {
	uint32_t os;	    /* the number that Linux or the firmware gave it, or UNKNOWN */
	uint32_t first_cpu; /* index in cpus */
	uint32_t n_cpus;    /* 0: a node that has memory only */
};

/* Beside domains[LEVEL_NODE], same index. */
struct machine_node {
	uint64_t memory;   /* all of it, bytes */
	uint64_t takeable; /* a multiple of block_size: what a kernel could get of it at best */
};

struct machine_kind {
	int rank; /* hwloc's: 0 = the most power-efficient; -1 = not known */
	char name
		[16]; /* "efficiency" the lowest, "performance" the highest of several, "kind<N>" */
};

struct machine_device {
	char *address; /* PCI: "0000:02:00.0" */
	char *class; /* hwloc's name of the PCI class, in small letters: "ethernet", "nvmexp" … */
	char *group; /* "network", "storage", "display", "accelerator", "other": by base class */
	char *driver;		    /* NULL: no driver, or the description does not say */
	char *names;		    /* what Linux calls it: "eth0", "nvme0n1,nvme0n2"; "" */
	char *model;		    /* vendor and device in words; "" */
	uint32_t first_cpu, n_cpus; /* the CPUs that it is near to, as a run of cpus */
};

struct machine {
	char *name; /* "this machine", the XML file's name, or the synthetic description */
	bool live;
	struct machine_cpu *cpus;
	size_t n_cpus;
	struct machine_domain *domains[N_LEVELS];
	size_t n_domains[N_LEVELS];
	struct machine_node *nodes; /* n_domains[LEVEL_NODE]; at least one */
	uint16_t *distances; /* n_nodes x n_nodes as in a SLIT (10 = local), or NULL: not known */
	struct machine_kind *kinds;
	size_t n_kinds;			/* 0 or 1: all cores are alike */
	struct machine_device *devices; /* sorted by address */
	size_t n_devices;
	uint64_t block_size; /* of memory blocks; of a description: as Linux would choose */
	uint32_t
		max_kernels; /* how many the machine has room for; of a description: the ABI's limit */
	char **warnings; /* what is odd about the description: firmware that lies, and the like */
	size_t n_warnings;
	uint32_t *by_os; /* indices of cpus, ascending by os */
};

/* What popcornd knows of the machine that it runs on, and no description says. */
struct machine_facts {
	uint64_t block_size;
	uint32_t max_kernels;
	const uint64_t *takeable; /* bytes, by Linux's number of the node */
	const uint64_t *memory;	  /* likewise: hwloc does not see what is lent */
	size_t n_nodes;
	/* Online, or lent to a kernel; all others are offline. NULL: as hwloc says. */
	hwloc_const_bitmap_t usable;
};

/*
 * @topology stays the caller's. @facts NULL: a description (XML, synthetic), in which each node's
 * takeable memory is its whole blocks, less one on the boot CPU's node, where the primary's own things lie.
 * TOPOLOGY: nothing that could be divided (no CPU, no memory), or the description contradicts itself
 * in a way that a plan would be wrong.
 */
int machine_new(const struct topology *topology, const struct machine_facts *facts,
		struct machine **ret, struct popcorn_error *error);
struct machine *machine_free(struct machine *machine);

/* Index of the CPU that Linux calls @os, or UNKNOWN. O(log n) */
uint32_t machine_find_cpu(const struct machine *machine, uint32_t os);
/* Index of the node that Linux calls @os, or UNKNOWN. */
uint32_t machine_find_node(const struct machine *machine, uint32_t os);
/* Indices of nodes; 10 = the same, 20 if not known. */
unsigned machine_distance(const struct machine *machine, uint32_t from, uint32_t to);
/* "core", "l3", "node", "package", "machine". */
const char *level_to_string(enum machine_level level);

/* Everything above, for `popcornctl topology --json` and GetTopology; see docs/policies.md. */
struct json_t *machine_to_json(const struct machine *machine);
