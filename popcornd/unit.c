// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The units popcorn@NAME.service: asking systemd to start and stop them, and noticing when one that
 * should launch a queued boot does not.
 */
#include <errno.h>
#include <string.h>

#include "job.h"
#include "log.h"
#include "util.h"

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_UNIT_PATH SYSTEMD_PATH "/unit"
#define SYSTEMD_MANAGER SYSTEMD_NAME ".Manager"

/* Callbacks get the job's id: the job may be gone when they are called. */
static void *id_to_pointer(uint32_t id)
{
	return (void *)(uintptr_t)id;
}

/* The job, while it waits for its leader. */
static struct job *waiting_job(struct manager *manager, void *userdata)
{
	struct job *job = manager_find_job(manager, (uint32_t)(uintptr_t)userdata);

	return job && !job->launched && !job->cancelled ? job : NULL;
}

static struct manager *the_manager; /* of callbacks whose userdata is an id */

static void fail(struct job *job, enum popcorn_error_id id, const char *why)
{
	struct popcorn_error error = {};

	popcorn_error_set(&error, id,
			  "systemd could not start %s: %s; 'systemctl status %s' says more",
			  job->kernel->unit, why, job->kernel->unit);
	job_fail(job, &error);
}

static int on_started(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	struct job *job = waiting_job(the_manager, userdata);
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	const char *path;

	if (!job)
		return 0;
	if (e) {
		fail(job, POPCORN_ERROR_UNIT, e->message ?: e->name);
		return 0;
	}
	if (sd_bus_message_read(reply, "o", &path) < 0) {
		fail(job, POPCORN_ERROR_UNIT, "its answer is not understood");
		return 0;
	}
	free(job->unit_job);
	job->unit_job = strdup(path);
	if (!job->unit_job)
		fail(job, POPCORN_ERROR_NO_MEMORY, "out of memory");
	return 0;
}

int unit_start(struct job *job)
{
	sd_bus *bus = job->manager->bus;

	/*
	 * What somebody asks for by name is not what the limit on automatic restarts is about. No
	 * reply is wanted: a unit that has not failed can't be reset.
	 */
	sd_bus_call_method_async(bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
				 "ResetFailedUnit", NULL, NULL, "s", job->kernel->unit);
	return sd_bus_call_method_async(bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
					"StartUnit", on_started, id_to_pointer(job->id), "ss",
					job->kernel->unit, "replace");
}

static int on_active_state(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	struct job *job = waiting_job(the_manager, userdata);
	const char *state;

	if (!job || !job->unit_slot)
		return 0;
	if (sd_bus_message_is_method_error(reply, NULL) ||
	    sd_bus_message_read(reply, "v", "s", &state) < 0) {
		fail(job, POPCORN_ERROR_UNIT, "it does not say how the unit is");
		return 0;
	}
	/* Otherwise the next change of its properties asks again. */
	if (strcmp(state, "inactive") == 0 || strcmp(state, "failed") == 0) {
		job->unit_slot = sd_bus_slot_unref(job->unit_slot);
		if (unit_start(job) < 0)
			fail(job, POPCORN_ERROR_UNIT, "systemd can't be reached");
	}
	return 0;
}

static int ask_active_state(struct job *job)
{
	_cleanup_free_ char *path = NULL;

	if (sd_bus_path_encode(SYSTEMD_UNIT_PATH, job->kernel->unit, &path) < 0)
		return -ENOMEM;
	return sd_bus_call_method_async(job->manager->bus, NULL, SYSTEMD_NAME, path,
					"org.freedesktop.DBus.Properties", "Get", on_active_state,
					id_to_pointer(job->id), "ss", SYSTEMD_NAME ".Unit",
					"ActiveState");
}

static int on_unit_changed(sd_bus_message *signal, void *userdata, sd_bus_error *unused)
{
	struct job *job = waiting_job(the_manager, userdata);

	if (job)
		ask_active_state(job);
	return 0;
}

/*
 * The unit was active already, so nothing was started: the leader of the kernel's last life is
 * about to end. The unit is started again when it has.
 */
static int wait_until_inactive(struct job *job)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (job->unit_slot)
		return 0;
	if (sd_bus_path_encode(SYSTEMD_UNIT_PATH, job->kernel->unit, &path) < 0)
		return -ENOMEM;
	r = sd_bus_match_signal_async(job->manager->bus, &job->unit_slot, SYSTEMD_NAME, path,
				      "org.freedesktop.DBus.Properties", "PropertiesChanged",
				      on_unit_changed, NULL, id_to_pointer(job->id));
	if (r < 0)
		return r;
	/* After the match was asked for: a change between the two is seen by one of them. */
	return ask_active_state(job);
}

static int on_job_removed(sd_bus_message *signal, void *userdata, sd_bus_error *unused)
{
	struct manager *manager = userdata;
	const char *path, *unit, *result;
	struct job *job, *found = NULL;
	uint32_t id;

	if (sd_bus_message_read(signal, "uoss", &id, &path, &unit, &result) < 0)
		return 0;
	TAILQ_FOREACH(job, &manager->jobs, entry)
		if (job->unit_job && strcmp(job->unit_job, path) == 0)
			found = job;
	if (!found || found->launched || found->cancelled)
		return 0;
	/*
	 * That may have been the end of the kernel's last life: a leader that was still starting, to
	 * whose job ours was joined. The second time it is about ours.
	 */
	if (strcmp(result, "failed") == 0 && !found->unit_again) {
		found->unit_again = true;
		if (unit_start(found) < 0)
			fail(found, POPCORN_ERROR_UNIT, "systemd can't be reached");
		return 0;
	}
	if (strcmp(result, "done") != 0)
		fail(found,
		     strcmp(result, "canceled") == 0 ? POPCORN_ERROR_CANCELLED : POPCORN_ERROR_UNIT,
		     result);
	else if (wait_until_inactive(found) < 0)
		fail(found, POPCORN_ERROR_UNIT, "it does not say how the unit is");
	return 0;
}

struct stop_call {
	struct manager *manager;
	uint32_t job_id;
	void (*then)(struct manager *manager, uint32_t job_id);
};

static int on_stopped(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	struct stop_call *call = userdata;

	call->then(call->manager, call->job_id);
	free(call);
	return 0;
}

void unit_stop(struct manager *manager, const char *unit, uint32_t job_id,
	       void (*then)(struct manager *manager, uint32_t job_id))
{
	struct stop_call *call = NULL;
	int r = 0;

	if (manager->options->no_units) {
		if (then)
			then(manager, job_id);
		return;
	}
	if (then) {
		call = malloc(sizeof(*call));
		if (call)
			*call = (struct stop_call){ manager, job_id, then };
		else
			r = -ENOMEM;
	}
	if (r >= 0)
		r = sd_bus_call_method_async(manager->bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH,
					     SYSTEMD_MANAGER, "StopUnit", call ? on_stopped : NULL,
					     call, "ss", unit, "replace");
	if (r < 0) {
		free(call);
		if (then)
			then(manager, job_id);
	}
}

int unit_init(struct manager *manager)
{
	int r;

	the_manager = manager;
	if (manager->options->no_units)
		return 0;
	r = sd_bus_match_signal_async(manager->bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH,
				      SYSTEMD_MANAGER, "JobRemoved", on_job_removed, NULL, manager);
	if (r < 0)
		return r;
	/* Without it systemd sends no signals. An error is told when a unit is to be started. */
	return sd_bus_call_method_async(manager->bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH,
					SYSTEMD_MANAGER, "Subscribe", NULL, NULL, "");
}
