/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What popcornd tells the agent of a kernel: /popcorn/config in its initramfs. docs/guest.md has the lines. */

#include "config.h"

/*
 * @ret is malloc'ed. @more: lines to be added, of the network say; or NULL. -ENOMEM.
 */
int guest_config(const char *name, const struct kernel_def *def, const char *more, char **ret);
