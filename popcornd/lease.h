/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The lease files: what popcornd took, or was about to take, for a kernel. Text, so that it can be
 * read when all else fails; a new one replaces the old one at once, so that none is ever half.
 */

#include <stdint.h>

#include "error.h"
#include "memory.h"

struct lease {
	uint64_t memory;      /* bytes asked for */
	struct block *blocks; /* offline, or about to be, or about to be online again */
	size_t n_blocks;
};

/* @cpus and @memory_nodes ("0:536870912,…", or NULL) are for the human reader. */
int lease_write(const char *folder, const char *name, const struct lease *lease, const char *cpus,
		const char *memory_nodes);
/* -ENOENT without an error: there is none. */
int lease_read(const char *folder, const char *name, struct lease *ret,
	       struct popcorn_error *error);
void lease_done(struct lease *lease);
int lease_remove(const char *folder, const char *name);
