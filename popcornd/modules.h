/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The modules that a kernel gets in its initramfs: popcorn's, and the drivers of its own distribution that
 * its devices need. They come from the folder of the release that is booted, which need not be the
 * primary's, and are unpacked here, because not every kernel can do that itself.
 */

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

struct module {
	char *name; /* of the file in the initramfs: "virtio_net.ko" */
	void *data;
	size_t size;
};

/* In the order in which they are to be loaded. */
struct modules {
	struct module *list;
	size_t n;
};

void modules_done(struct modules *modules);

/*
 * Adds popcorn's module @name: the first one in the folders where dkms and others put what does not come with the
 * kernel. NO_MODULES: there is none, or it can't be read. 1: there is none, and it is not @needed.
 */
int modules_add_ours(struct modules *modules, const char *folder, const char *release,
		     const char *name, bool needed, struct popcorn_error *error);

/*
 * Adds the distribution's driver @name and, before it, what it depends on, by modules.dep; what is built into
 * the kernel (modules.builtin) or was added before is left out. NO_MODULES says what it is @what_for. 1:
 * there is no such driver, and it is not @needed.
 */
int modules_add_driver(struct modules *modules, const char *folder, const char *release,
		       const char *name, const char *what_for, bool needed,
		       struct popcorn_error *error);
