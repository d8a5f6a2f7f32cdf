/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * /etc/popcorn/popcornd.conf and /etc/popcorn/kernels/NAME.conf (libconfig).
 *
 * A missing popcornd.conf means the defaults. An unknown key, a wrong type or a value out of range
 * is an error that names file:line and key (POPCORN_ERROR_CONFIG): nothing is guessed.
 */

#include <hwloc.h>
#include <popcorn.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "keys.h"
#include "network-plan.h"

struct config {
	hwloc_bitmap_t primary_cpus; /* primary.cpus: CPUs never lent; CPU 0 is always in it */
	uint64_t primary_memory;     /* primary.memory: bytes of RAM that always stay online */
	char *default_image;	     /* default.image; "/boot/vmlinuz-<running release>" */
	char *default_cmdline;	     /* default.cmdline; "" */
	uint64_t default_memory;     /* default.memory, bytes */
	char *default_root; /* default.root; primary, or initramfs if there is no virtiofsd */
	uint64_t boot_timeout_usec; /* boot.timeout, given in seconds */
	uint64_t stop_timeout_usec; /* stop.timeout, given in seconds */
	unsigned heartbeat_ms;	    /* heartbeat, given in seconds */
	char *busybox;		    /* shell of a kernel without initrd; static */
	char *agent;		    /* popcorn-agent */
	char *modules;		    /* "/lib/modules": VERSION/updates/… below it */
	char *cache;		    /* what is unpacked once: "/var/cache/popcorn" */
	char *virtiofsd;	    /* serves shares */
	bool fast_boot;		    /* fast_boot: kernels are entered without their decompressor */
	bool drop_caches;	    /* memory.drop_caches: before memory is tried a second time */
	struct network_config network; /* network.* */
};

/* primary.memory, if popcornd.conf does not say it. */
#define DEFAULT_PRIMARY_MEMORY (UINT64_C(512) << 20)

/* What Linux has at most (CONFIG_NODES_SHIFT is 10). */
#define NODES_MAX 1024

/* So many bytes of the memory of one of Linux's nodes. */
struct node_memory {
	unsigned node;
	uint64_t bytes;
};

/* A tag is what virtio_fs's configuration has room for. */
#define SHARE_TAG_MAX 36
/* With a network, a socket device and a root, that is all that the driver has slots for. */
#define SHARES_MAX (POPCORN_DEVICES_MAX - 3)

/* A folder of the primary that a kernel can mount by its tag, with all real file systems in it. */
struct kernel_share {
	char *tag;  /* of the characters of a kernel's name */
	char *path; /* absolute */
	bool read_only;
};

/* What is not said is done if it can be. */
enum device_wish {
	WISH_NOT_SAID,
	WISH_NO,
	WISH_YES,
};

/* One kernel's definition: from its file, from D-Bus options, or both (options win). */
struct kernel_def {
	char *image;	     /* absolute path of a bzImage */
	char *initrd;	     /* absolute path, or NULL: popcornd makes one with a shell */
	char *cmdline;	     /* what the user adds, or NULL */
	char *root;	     /* as root_check(); NULL until kernel_def_settle() */
	hwloc_bitmap_t cpus; /* the very CPUs, or NULL */
	unsigned cpu_count;  /* how many, if cpus is NULL */
	uint64_t memory;     /* bytes */
	/*
	 * So much of each of these nodes, not more nor from elsewhere; NULL = from where it is
	 * best. Ascending by node, the sum is memory: kernel_def_set_memory_nodes().
	 */
	struct node_memory *memory_nodes;
	size_t n_memory_nodes;
	bool restart; /* "on-failure" instead of "no" */
	/* Devices: see devices.h. */
	unsigned network; /* NETWORK_*, as it was asked for */
	struct kernel_share *shares;
	size_t n_shares;
	enum device_wish vsock;
	uint64_t boot_timeout_usec;
};

/* @path NULL = the installed one. */
int config_load(const char *path, struct config **ret, struct popcorn_error *error);
struct config *config_free(struct config *config);

/* Defaults of @config; @directory NULL = installed. -ENOENT with NO_SUCH_KERNEL: no such file. */
int kernel_def_load(const struct config *config, const char *directory, const char *name,
		    struct kernel_def **ret, struct popcorn_error *error);
int kernel_def_new(const struct config *config, struct kernel_def **ret);
/*
 * Of a kernel for which nobody says where its root is: who gives an initrd means the /init in it, and who
 * gives none (NULL) gets default.root.
 */
const char *kernel_default_root(const struct config *config, const char *initrd);
/* That root, when all was said that somebody says. -ENOMEM. */
int kernel_def_settle(const struct config *config, struct kernel_def *def);
/* Whether it has a root outside of its initramfs; and whether that stays as it is, whatever the kernel writes. */
bool kernel_def_has_root(const struct kernel_def *def);
bool kernel_def_keeps_root(const struct kernel_def *def);
struct kernel_def *kernel_def_free(struct kernel_def *def);
int kernel_def_copy(const struct kernel_def *def, struct kernel_def **ret);
/*
 * Memory by node: sorted, memory becomes the sum. @nodes is copied; @n 0 = from anywhere again, and
 * memory stays. MEMORY_INVALID: a node twice or that none can be, a part that is not n x 2 MiB.
 */
int kernel_def_set_memory_nodes(struct kernel_def *def, const struct node_memory *nodes, size_t n,
				struct popcorn_error *error);

/*
 * One more share. INVALID_ARGUMENT: a tag that is none or is there already, a path that is not
 * absolute, one too many. Whether there is such a folder is devices_check()'s.
 */
int kernel_def_add_share(struct kernel_def *def, const char *tag, const char *path, bool read_only,
			 struct popcorn_error *error);
void kernel_def_clear_shares(struct kernel_def *def);

/* "0:512M,1:512M" (never empty), each as parse_memory(); MEMORY_INVALID. @ret is malloc'ed. */
int parse_memory_nodes(const char *s, struct node_memory **ret, size_t *ret_n,
		       struct popcorn_error *error);
/* The same text again, in bytes: "0:536870912,1:536870912". @ret is malloc'ed; -ENOMEM. */
int memory_nodes_to_text(const struct node_memory *nodes, size_t n, char **ret);
