/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The password of somebody who is not root is asked for on the terminal by polkit's pkttyagent,
 * where no other agent is. Without it, or without a terminal, popcornd simply says no.
 */

void agent_open(void);
void agent_close(void);
