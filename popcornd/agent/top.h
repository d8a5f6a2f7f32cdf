/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* How this kernel is; popcornctl looks at the primary with it as well. */

#include "protocol.h"

/* From a descriptor of /proc. 0, or what went wrong with it; single processes may end meanwhile. */
int top_read(int proc, struct agent_top *ret, struct agent_process processes[AGENT_PROCESSES_MAX]);
