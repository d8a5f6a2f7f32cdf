// SPDX-License-Identifier: GPL-2.0-or-later
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config-build.h"
#include "daemon.h"
#include "log.h"
#include "manager.h"

static const char *device;

static int open_device(struct driver **ret, struct popcorn_error *error)
{
	return driver_open(device, ret, error);
}

static void usage(const char *program)
{
	printf("Usage: %s [OPTION...]\n\n"
	       "The daemon that starts kernels beside this one. It is started by systemd or "
	       "D-Bus.\n\n"
	       "  --config=FILE     instead of " POPCORN_CONFDIR "/popcornd.conf\n"
	       "  --kernels=FOLDER  of kernel definitions, instead of " POPCORN_CONFDIR "/kernels\n"
	       "  --policies=FOLDER instead of the folders of policies\n"
	       "  --bus=BUS         system (default) or session\n"
	       "  --no-units        boot without popcorn@NAME.service\n"
	       "  --device=FILE     instead of " POPCORN_DEVICE "\n"
	       "  --sysfs=FOLDER    a folder with sys/ and proc/ in it, instead of the root\n"
	       "  --run=FOLDER      instead of /run/popcorn\n"
	       "  --version\n"
	       "  --help\n",
	       program);
}

int popcornd_main(int argc, char **argv,
		  int (*open_driver)(struct driver **ret, struct popcorn_error *error))
{
	enum { CONFIG = 256, KERNELS, POLICIES, BUS, NO_UNITS, DEVICE, SYSFS, RUN, VERSION, HELP };
	static const struct option options[] = {
		{ "config", required_argument, NULL, CONFIG },
		{ "kernels", required_argument, NULL, KERNELS },
		{ "policies", required_argument, NULL, POLICIES },
		{ "bus", required_argument, NULL, BUS },
		{ "no-units", no_argument, NULL, NO_UNITS },
		{ "device", required_argument, NULL, DEVICE },
		{ "sysfs", required_argument, NULL, SYSFS },
		{ "run", required_argument, NULL, RUN },
		{ "version", no_argument, NULL, VERSION },
		{ "help", no_argument, NULL, HELP },
		{},
	};
	struct manager_options manager_options = {
		.sysfs = "",
		.run = "/run/popcorn",
		.open_driver = open_driver ? open_driver : open_device,
	};
	struct popcorn_error error = {};
	struct manager *manager;
	int c, r;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
		switch (c) {
		case CONFIG:
			manager_options.config_path = optarg;
			break;
		case KERNELS:
			manager_options.kernels_dir = optarg;
			break;
		case POLICIES:
			manager_options.policies_dir = optarg;
			break;
		case BUS:
			if (strcmp(optarg, "system") != 0 && strcmp(optarg, "session") != 0) {
				fprintf(stderr, "%s: no such bus: %s\n", argv[0], optarg);
				return 2;
			}
			manager_options.session_bus = strcmp(optarg, "session") == 0;
			break;
		case NO_UNITS:
			manager_options.no_units = true;
			break;
		case DEVICE:
			device = optarg;
			break;
		case SYSFS:
			manager_options.sysfs = optarg;
			break;
		case RUN:
			manager_options.run = optarg;
			break;
		case VERSION:
			puts("popcornd " POPCORN_VERSION);
			return 0;
		case HELP:
			usage(argv[0]);
			return 0;
		default:
			return 2;
		}
	if (optind < argc) {
		fprintf(stderr, "%s: takes no arguments: %s\n", argv[0], argv[optind]);
		return 2;
	}

	/*
	 * A boot image is tens of megabytes for a second, then never again: one heap for all threads,
	 * and big blocks always from and back to the kernel.
	 */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	mallopt(M_TRIM_THRESHOLD, 128 * 1024);

	r = manager_new(&manager_options, &manager, &error);
	if (r < 0) {
		log_send(LOG_ERR,
			 &(struct log_fields){
				 .id = error.id == POPCORN_ERROR_CONFIG ? LOG_ID_CONFIG : NULL,
				 .error = popcorn_error_name(error.id) },
			 "can't start: %s", error.text);
		return 1;
	}
	r = manager_run(manager);
	if (manager_has_threads(manager)) {
		/*
		 * They wait for a kernel, which goes on without popcornd and is taken up by the next
		 * one. What they use can't be freed under them.
		 */
		sd_bus_flush(manager->bus);
		_exit(r < 0);
	}
	manager_free(manager);
	return r < 0;
}
