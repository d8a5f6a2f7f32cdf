/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Descriptors that systemd keeps from one leader to the next (FDSTORE): what a server of files needs to go on.
 * Each has a name, "fs0.GENERATION.WISH.WHAT": of the device, the kernel's generation, the wish that it
 * carries out, and "socket", or "kick0" and the like.
 */

#include <stddef.h>
#include <stdint.h>

/* Those that a leader before us left, from the environment. */
struct store {
	char **names;
	int *fds;
	size_t n;
};

int store_open(struct store *ret);
/* Takes one out; -1 if there is none. */
int store_take(struct store *store, const char *name);
/* Of whatever wish of the device. */
int store_take_last(struct store *store, const char *device, uint32_t generation, const char *what);
/* Closes those of the device that are left, and has systemd do so; or ("") all. */
void store_drop(struct store *store, const char *device);
/* That, and the end. */
void store_clear(struct store *store);

#define STORE_NAME_MAX 128
const char *store_name(char buf[STORE_NAME_MAX], const char *device, uint32_t generation,
		       uint32_t wish, const char *what, uint32_t index);
/* Of ours: keeps it from now on, or no longer. Nothing without systemd. */
void store_put(const char *name, int fd);
void store_remove(const char *name);
