// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <string.h>

#include "bus.h"
#include "error.h"

int leader_call(sd_bus *bus, sd_bus_slot **ret_slot, const char *method,
		sd_bus_message_handler_t callback, void *userdata, const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = sd_bus_call_method_asyncv(bus, ret_slot, BUS_NAME, BUS_PATH, MANAGER_INTERFACE, method,
				      callback, userdata, types, ap);
	va_end(ap);
	return r;
}

bool leader_is_unanswered(const sd_bus_error *error)
{
	return strncmp(error->name, POPCORN_ERROR_PREFIX, strlen(POPCORN_ERROR_PREFIX)) != 0;
}
