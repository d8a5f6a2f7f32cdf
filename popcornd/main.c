// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon.h"

int main(int argc, char **argv)
{
	return popcornd_main(argc, argv, NULL);
}
