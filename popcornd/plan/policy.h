/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Policy files (libconfig): how a machine is to be divided. popcorn-policy(5) is the reference for
 * people; this is what is left of a file after parsing: every key checked, every default filled in.
 *
 *	description = "…";
 *	primary  = { cpus = "0-1"; keep = "node"; near = ("network"); memory = "2G"; };
 *	default  = { image = "/boot/…"; … };               keys of a group, for all groups
 *	groups   = ( { name = "db{n}"; …; override = ( { name = "db2"; cmdline = "…"; } ); }, … );
 *
 * Pure: text in, struct or error (file:line: key: …, POPCORN_ERROR_CONFIG) out. Only the functions of
 * policy-files.c look at the disk: policy_find(), policy_load(), policy_list(), policy_image_find().
 */

#include <hwloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "network-plan.h"

/* Larger files are refused before they are parsed. Far more than 512 kernels can need. */
#define POLICY_SIZE_MAX (1U << 20)
#define POLICY_GROUPS_MAX 511
/* As many CPUs as parse_cpus() knows. */

/* What a group makes a kernel of. Not together with `cores` or `inside`. */
enum policy_per {
	PER_NOTHING, /* `cores` and `count`, or `cpus`, say it all */
	PER_THREAD,  /* needs smt = "apart" */
	PER_CORE,
	PER_L3,
	PER_NODE,
	PER_PACKAGE,
	PER_KIND, /* one kernel of all performance cores, one of all efficiency cores, … */
};

/* CPUs that do not make a whole kernel (a domain of which a part is not free, a remainder). */
enum policy_leftover {
	LEFTOVER_ERROR,	  /* that is a problem: nothing is given away in silence */
	LEFTOVER_PRIMARY, /* they stay with the primary */
	LEFTOVER_KERNEL, /* a smaller kernel is made of them (not with count and without per, cores) */
	LEFTOVER_SPREAD, /* kernels may differ by one core (only count without per and cores) */
};

enum policy_smt {
	SMT_TOGETHER, /* what is divided are cores, with all their threads */
	SMT_APART, /* what is divided are threads: the siblings of a core may go to two kernels */
};

enum policy_memory {
	MEMORY_PROPORTIONAL, /* each node's memory by cores; the primary's cores count too */
	MEMORY_EQUAL,	     /* the same for all kernels that say so: as much as fits */
	MEMORY_FIXED,	     /* memory_bytes */
};

enum policy_memory_from {
	FROM_LOCAL,	 /* the nodes of its CPUs, by cores on each */
	FROM_INTERLEAVE, /* memory_nodes (all nodes with memory if NULL), the same of each */
	FROM_ANY,	 /* local first, then the nearest that have some */
};

enum policy_select {
	SELECT_ADDRESS, /* "0000:03:00.0", also if the file says "03:00.0" */
	/* "ethernet" of "class:ethernet"; or a group: "network", "storage", "display", "accelerator" */
	SELECT_CLASS,
	SELECT_DRIVER, /* "nvme" of "driver:nvme"; only where the drivers are known */
	SELECT_NEAR,   /* "near": what is near its CPUs and nobody else's wish */
};

struct policy_selector {
	enum policy_select kind;
	char *value; /* NULL for SELECT_NEAR */
	unsigned line;
};

/* What may differ from kernel to kernel of a group. NULL and 0: not said. */
struct policy_kernel {
	char *image, *initrd; /* absolute; with one '*' in the last part: see policy_image_find() */
	char *cmdline;	      /* added to what popcornd.conf says */
	char *root;	      /* as root_check() */
	int restart;	      /* -1 not said, 0 "no", 1 "on-failure" */
	uint64_t boot_timeout_usec;
	unsigned network; /* NETWORK_*; NETWORK_DEFAULT is 0, and not said */
};

struct policy_override {
	char *name; /* of a kernel of the group */
	struct policy_kernel kernel;
	unsigned line;
};

struct policy_group {
	unsigned line; /* where it begins in the file: for messages */
	/*
	 * The kernels' name with {n} (0, 1, … in the group), {core}, {l3}, {node}, {package}, {cpu} (its
	 * first), {kind}. Without one of these, a group that may make several kernels gets {n} at the end;
	 * one with `count` = 1 or one list of CPUs does not.
	 */
	char *name;

	/* Which CPUs; either `cpus` alone, or the others. */
	hwloc_bitmap_t
		*cpus; /* explicit lists, one kernel for each; taken before anything is divided */
	size_t n_cpus;
	enum policy_per per;
	unsigned cores; /* in each kernel; threads with smt "apart"; 0 = not said */
	unsigned count; /* how many kernels, exactly; 0 = as many as fit */
	unsigned
		inside; /* enum machine_level: each kernel lies in one of these; default LEVEL_MACHINE */
	enum policy_leftover leftover;
	enum policy_smt smt;
	/* What it divides; NULL = all that is free. */
	hwloc_bitmap_t within_cpus, within_nodes, within_packages; /* Linux's numbers */
	char *within_kind; /* "efficiency", "performance", "kind1" */

	enum policy_memory memory;
	uint64_t memory_bytes; /* MEMORY_FIXED */
	enum policy_memory_from memory_from;
	hwloc_bitmap_t memory_nodes; /* FROM_INTERLEAVE; or NULL */
	uint64_t
		align; /* of each node's part; 0 = the machine's block size, or 2 MiB of small shares */

	struct policy_selector *devices;
	size_t n_devices;

	struct policy_kernel kernel;
	struct policy_override *overrides;
	size_t n_overrides;
	char **after; /* names of groups that run before this one starts */
	size_t n_after;
};

struct policy_primary {
	unsigned line;
	hwloc_bitmap_t cpus; /* kept beside the boot CPU; or NULL */
	unsigned keep;	     /* enum machine_level: keeps the whole domains of the CPUs it has */
	unsigned cores;	     /* keeps so many cores, from the first on; 0 = not said */
	uint64_t memory;     /* keeps at least; 0 = what popcornd.conf says */
	/* Its CPUs are also the `keep` domains that these devices are near to. */
	struct policy_selector *near;
	size_t n_near;
};

struct policy {
	char *path; /* for messages */
	char *name; /* file name without .conf */
	char *description;
	struct policy_primary primary;
	struct policy_group *groups;
	size_t n_groups;
};

/* @text need not be ended by NUL. Checks all that needs no machine: a cycle of `after` too. */
int policy_parse(const char *path, const char *text, size_t size, struct policy **ret,
		 struct popcorn_error *error);
struct policy *policy_free(struct policy *policy);

/* It makes one kernel and never several; a group that may, has {n} added to a name without any {…}. */
bool policy_group_is_one(const struct policy_group *group);

/*
 * Reads @name: with a '/' in it a file, else NAME.conf of the first folder of @folders (NULL-ended;
 * NULL = /etc/popcorn/policies, then /usr/share/popcorn/policies) that has it.
 * @ret_text (malloc'ed) may be NULL. NO_SUCH_POLICY; CONFIG: not a regular file, too large.
 */
int policy_find(const char *const *folders, const char *name, char **ret_path, char **ret_text,
		size_t *ret_size, struct popcorn_error *error);
/*
 * What is no name of a policy but may be a file: who reads policies for others looks at this first, so
 * that he does not read for them what they can't. NO_SUCH_POLICY.
 */
int policy_name_check(const char *name, struct popcorn_error *error);
/* policy_find() and policy_parse(). */
int policy_load(const char *const *folders, const char *name, struct policy **ret,
		struct popcorn_error *error);

struct policy_entry {
	char *name, *path;
	char *description; /* what the file says, or why it can't be parsed */
	bool valid;
	bool overrides; /* hides one of a later folder */
};
/* All of all folders, sorted by name. */
int policy_list(const char *const *folders, struct policy_entry **ret, size_t *ret_n,
		struct popcorn_error *error);
void policy_entries_free(struct policy_entry *entries, size_t n);

/*
 * The newest file that @image stands for, by version as dpkg sorts them, if there is a '*' in it; in
 * @initrd (may be NULL) '*' stands for the same. For who boots a kernel; plans keep the pattern, so that
 * an update of the image does not make a plan another one. IMAGE_NOT_FOUND.
 */
int policy_image_find(const char *image, const char *initrd, char **ret_image, char **ret_initrd,
		      struct popcorn_error *error);
