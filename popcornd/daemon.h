/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* popcornd but for its driver, for which a test brings a fake. NULL = the real one. */

#include "driver.h"

int popcornd_main(int argc, char **argv,
		  int (*open_driver)(struct driver **ret, struct popcorn_error *error));
