/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The root of this kernel, if it is not its initramfs: a share of the primary, with or without memory above
 * it. docs/guest.md says what is in it, and why.
 */

#include "agent-config.h"

/* Mounts it, where nobody else looks, and makes it a system of its own. @interface: its own, or "". */
void root_mount(const struct agent_config *config, const char *interface);

/* For a kernel whose root is its initramfs, and has no other system in it: its names, and those of others. */
void root_name(const struct agent_config *config);

/* Makes it the root, empties the initramfs, and becomes the init of @config. */
void root_start_init(const struct agent_config *config, char *argv[]) __attribute__((noreturn));
