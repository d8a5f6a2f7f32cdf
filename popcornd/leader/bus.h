/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Calls of popcornd's Manager. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#define BUS_NAME "org.popcornlinux.Popcorn1"
#define BUS_PATH "/org/popcornlinux/Popcorn1"
#define MANAGER_INTERFACE BUS_NAME ".Manager"

/* A popcornd that dies of our call each time is not asked for ever. */
#define TRIES_MAX 5

/* @ret_slot may be NULL: then the callback is called whatever happens. */
int leader_call(sd_bus *bus, sd_bus_slot **ret_slot, const char *method,
		sd_bus_message_handler_t callback, void *userdata, const char *types, ...);
/* The bus has no answer, as opposed to popcornd's being no: it died, or is just starting. */
bool leader_is_unanswered(const sd_bus_error *error);
