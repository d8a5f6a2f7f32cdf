/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Memory blocks (/sys/devices/system/memory, Documentation/admin-guide/mm/memory-hotplug.rst), and
 * what can be guessed about the pages in them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How willingly memory goes: the order in which it is tried. */
enum zone_rank {
	ZONE_RANK_MOVABLE, /* made for it */
	ZONE_RANK_NORMAL,
	ZONE_RANK_DMA32, /* scarce for devices of the primary */
	ZONE_RANK_NONE,	 /* not to be taken: block 0, the DMA zone, more than one zone, offline */
};

struct block {
	uint64_t index; /* memory<index>; physical address = index * block size */
	unsigned node;
	bool online;
	char zone[16]; /* where it comes back to: "Movable", "Normal", … or "" */
};

int block_size_read(const char *root, uint64_t *ret);
/* All of them, by ascending index. */
int blocks_read(const char *root, struct block **ret, size_t *ret_n);
enum zone_rank block_rank(const struct block *block);

/* -ENOENT: no such block. */
int block_state(const char *root, uint64_t index, bool *ret_online);
/*
 * 0 = it is offline. -EBUSY, -EAGAIN, -ENOMEM: not now; -EINVAL: never; -ETIME, -ECANCELED as
 * sysfs_write_interruptible().
 */
int block_offline(const char *root, uint64_t index, uint64_t deadline_usec, int cancel_fd);
/* Into the zone it came from. 0 also if it was online. */
int block_online(const char *root, const struct block *block);

/*
 * What /proc/kpageflags says. It is a guess about the next moment, good enough not to try what
 * can't succeed: each try that fails costs time and lines in the kernel's log.
 */
#define PAGE_SIZE_BYTES 4096
#define UNIT_SIZE 0x200000 /* what is looked at in one piece */

struct page_counts {
	unsigned fixed;	  /* pages that no one can move: slab, page tables, reserved, holes */
	unsigned unknown; /* the kernel's own, or just about to be free */
};

int page_map_open(const char *root); /* -1: it can't be read */
int page_map_count(int fd, uint64_t start, uint64_t length, struct page_counts *ret);

/* Bytes that the primary could give without swapping: MemAvailable. UINT64_MAX if it does not say. */
uint64_t memory_available(const char *root);
/* Makes memory easier to take: merges free pages; with @drop_caches gives up clean caches. */
void memory_prepare(const char *root, bool drop_caches);
/* Asks all processes' pages to go from @node to the other ones. */
void memory_leave_node(unsigned node);
