/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What the files of libpopcorn share; nothing of this is exported. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <systemd/sd-bus.h>

#include "error.h"
#include "libpopcorn.h"

#define BUS_NAME "org.popcornlinux.Popcorn1"
#define BUS_PATH "/org/popcornlinux/Popcorn1"
#define BUS_PATH_KERNEL BUS_PATH "/kernel"
#define BUS_PATH_JOB BUS_PATH "/job"
#define INTERFACE_MANAGER BUS_NAME ".Manager"
#define INTERFACE_KERNEL BUS_NAME ".Kernel"
#define INTERFACE_JOB BUS_NAME ".Job"

#define _cleanup_(function) __attribute__((cleanup(function)))
#define _cleanup_message_ _cleanup_(sd_bus_message_unrefp)

struct popcorn {
	unsigned refs;
	sd_bus *bus;
	char *host;
	bool interactive;

	char error_name[256];
	struct popcorn_error error;

	/* Jobs that somebody holds: not references, each leaves the list when it is freed. */
	struct popcorn_job *jobs;
	bool watches_jobs;

	popcorn_event_callback event_callback;
	void *event_userdata;
	sd_bus_slot *event_slots[6];
};

struct popcorn_job {
	struct popcorn *popcorn;
	struct popcorn_job *next, **link;
	sd_bus_slot *query;
	uint32_t id;
	char *path, *name, *type, *step;
	double progress;
	bool changed;
	char *result, *error, *text;
	bool lost;
};

/* Forgets the last error, sets a named one, and returns its -errno. */
int popcorn_fail(struct popcorn *popcorn, enum popcorn_error_id id, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for an errno of this process. */
int popcorn_fail_errno(struct popcorn *popcorn, int r, const char *what);
/*
 * The same for what came over the bus: a named error, or what the bus itself had to say.
 * -ENXIO: there is no such object; the caller knows what to call it.
 */
int popcorn_fail_bus(struct popcorn *popcorn, const sd_bus_error *error, int r);
int popcorn_fail_named(struct popcorn *popcorn, const char *name, const char *text);

int popcorn_check_connected(struct popcorn *popcorn);

/* Sends a built message, waits for the answer, records the error. @ret may be NULL. */
int popcorn_call_message(struct popcorn *popcorn, sd_bus_message *message, sd_bus_message **ret);
int popcorn_call(struct popcorn *popcorn, const char *path, const char *interface,
		 const char *member, sd_bus_message **ret, const char *types, ...);
int popcorn_parse_failed(struct popcorn *popcorn, int r);
/*
 * A call of the Manager with a text as first argument. One that D-Bus itself could not carry would end
 * the connection: it is refused as @invalid.
 */
int popcorn_new_call(struct popcorn *popcorn, const char *method, const char *name,
		     enum popcorn_error_id invalid, sd_bus_message **ret);
/* Sends a call whose answer is a job. */
int popcorn_start_job(struct popcorn *popcorn, sd_bus_message *message, const char *name,
		      const char *type, struct popcorn_job **ret_job);

/* Must come before the call that makes the job: else its end could be missed. */
int popcorn_watch_jobs(struct popcorn *popcorn);
int popcorn_job_new(struct popcorn *popcorn, const char *path, const char *name, const char *type,
		    struct popcorn_job **ret);

/* Replaces *@where by a copy; NULL counts as "". */
int string_set(char **where, const char *value);

static inline const char *string_or_empty(const char *s)
{
	return s ? s : "";
}

static inline void freep(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ _cleanup_(freep)
