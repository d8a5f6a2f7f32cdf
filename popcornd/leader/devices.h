/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The leader serves the devices of its kernel, or rather has them served: it does what the driver of each
 * wants (POPCORN_IOC_DEVICE_WANT) with the descriptors that popcornd gives it. docs/devices.md.
 */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

struct devices;

/* Also takes over what the leader before us left with systemd. @name is the kernel's and stays. */
int devices_new(const char *name, sd_event *event, sd_bus *bus, struct devices **ret);
/* The kernel has been started: asks popcornd for its devices, if that was not done. */
void devices_open(struct devices *devices);
/* The kernel has ended: nobody serves it any more, and nothing is left with systemd. */
void devices_close(struct devices *devices);
