/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Who root is, by the /etc/passwd of a root folder that is not ours. */

#include <stdio.h>

struct login {
	char name[64];
	char home[256];
	char shell[256];
};

/* The first line with uid 0. What it does not say, or nobody could use, is as without any: root, /root, /bin/sh. */
void login_read(FILE *passwd, struct login *ret);
