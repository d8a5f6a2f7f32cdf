/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Who serves the devices of a kernel: its leader asks for their descriptors, and for a virtiofsd for
 * each share, in a unit popcorn-files-NAME:TAG:NUMBER.service (no name and no tag has a colon).
 * docs/devices.md.
 */

#include <systemd/sd-bus.h>

#include "kernel.h"

/* So many virtiofsds for one share within that time; what dies more often has a reason. */
#define SERVER_STARTS_MAX 5
#define SERVER_STARTS_USEC (60 * USEC_PER_SEC)

/* Of the Manager interface; for uid 0. */
int method_open_devices(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_open_server(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* The kernel has ended: so do its servers, those that have not by themselves. */
void servers_stop(struct manager *manager, const char *kernel);
/* At start: those of kernels that have ended while there was no popcornd. */
void servers_recover(struct manager *manager);
