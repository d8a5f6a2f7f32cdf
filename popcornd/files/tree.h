/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * What a share is made of: its folder, and what is mounted below it as far as it is a real file
 * system. The rest of the primary (/proc, /sys, /dev, /run …) is not files, and nobody else's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct tree_mount {
	uint64_t id; /* mount id, as statx() says it */
	char *path;  /* where it is mounted */
};

/* A type of file system with files of its own, kept somewhere: "ext4", "nfs4", "overlay". */
bool tree_is_real(const char *type);

/*
 * Those of @mountinfo (proc(5)) that are to be part of a share of @folder, an absolute path without
 * symbolic links: what is mounted below it, parents first, of one path only the last one. @ret is
 * malloc'ed, tree_free(). -EBADMSG, -ENOMEM.
 */
int tree_find(FILE *mountinfo, const char *folder, struct tree_mount **ret, size_t *ret_n);
void tree_free(struct tree_mount *mounts, size_t n);
