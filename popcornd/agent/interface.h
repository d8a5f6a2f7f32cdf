/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The interface of this kernel, before its init runs. */

#include <net/if.h>

#include "agent-config.h"

/*
 * Finds the interface with the MAC of @network, for which its driver may need a moment, and gives it its address and
 * route. @ret_name is what it is called. -ETIMEDOUT: there is no such interface; or what the kernel said.
 */
int interface_start(const struct agent_network *network, char ret_name[IF_NAMESIZE]);
