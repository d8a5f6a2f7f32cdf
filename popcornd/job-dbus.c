// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "job.h"
#include "util.h"

#define GETTER(name)                                                                 \
	static int name(sd_bus *bus, const char *path, const char *interface,        \
			const char *property, sd_bus_message *reply, void *userdata, \
			sd_bus_error *error)

GETTER(get_id)
{
	return sd_bus_message_append(reply, "u", ((struct job *)userdata)->id);
}

GETTER(get_name)
{
	return sd_bus_message_append(reply, "s", ((struct job *)userdata)->work.name);
}

GETTER(get_kernel)
{
	struct job *job = userdata;

	return sd_bus_message_append(reply, "o", job->kernel ? job->kernel->path : "/");
}

GETTER(get_type)
{
	return sd_bus_message_append(reply, "s",
				     job_type_to_string(((struct job *)userdata)->type));
}

GETTER(get_state)
{
	return sd_bus_message_append(reply, "s",
				     job_state_to_string(((struct job *)userdata)->state));
}

GETTER(get_step)
{
	return sd_bus_message_append(reply, "s", ((struct job *)userdata)->shown_step);
}

GETTER(get_progress)
{
	return sd_bus_message_append(reply, "d", ((struct job *)userdata)->shown_fraction);
}

static struct job *path_to_job(struct manager *manager, const char *path)
{
	struct job *job;

	TAILQ_FOREACH(job, &manager->jobs, entry)
		if (strcmp(job->path, path) == 0)
			return job;
	return NULL;
}

static int cancel_authorized(struct manager *manager, sd_bus_message *message, uid_t uid,
			     struct popcorn_error *error)
{
	struct job *job = path_to_job(manager, sd_bus_message_get_path(message));
	int r;

	if (!job)
		return popcorn_error_set(error, POPCORN_ERROR_NO_SUCH_JOB,
					 "the job has ended in the meantime");
	sd_bus_message_ref(message);
	r = job_cancel(job, error);
	if (r >= 0)
		r = sd_bus_reply_method_return(message, NULL);
	sd_bus_message_unref(message);
	return r;
}

/* Whoever may do it may cancel it. */
static const char *action_of(const struct job *job)
{
	switch (job->type) {
	case JOB_BOOT:
		return ACTION_BOOT;
	case JOB_APPLY:
		return ACTION_APPLY;
	case JOB_STOP:
	case JOB_KILL:
	case JOB_RELEASE:
		break;
	}
	return ACTION_STOP;
}

static int method_cancel(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	struct job *job = userdata;

	return authorize(job->manager, message, action_of(job), job->work.name, cancel_authorized);
}

#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define CONST SD_BUS_VTABLE_PROPERTY_CONST

static const sd_bus_vtable job_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Cancel", NULL, NULL, method_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Id", "u", get_id, 0, CONST),
	SD_BUS_PROPERTY("Name", "s", get_name, 0, CONST),
	SD_BUS_PROPERTY("Kernel", "o", get_kernel, 0, CONST),
	SD_BUS_PROPERTY("Type", "s", get_type, 0, CONST),
	SD_BUS_PROPERTY("State", "s", get_state, 0, CHANGES),
	SD_BUS_PROPERTY("Step", "s", get_step, 0, CHANGES),
	SD_BUS_PROPERTY("Progress", "d", get_progress, 0, CHANGES),
	SD_BUS_VTABLE_END
};

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret,
		sd_bus_error *error)
{
	struct job *job = path_to_job(userdata, path);

	if (!job)
		return 0;
	*ret = job;
	return 1;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret,
		     sd_bus_error *error)
{
	struct manager *manager = userdata;
	struct job *job;
	char **paths = NULL;
	size_t n = 0;

	TAILQ_FOREACH(job, &manager->jobs, entry)
		if (bus_add_path(&paths, &n, job->path) < 0)
			return -ENOMEM;
	*ret = paths;
	return 1;
}

int job_bus_init(struct manager *manager)
{
	int r;

	r = sd_bus_add_fallback_vtable(manager->bus, NULL, BUS_JOB_PATH, JOB_INTERFACE, job_vtable,
				       find, manager);
	return r < 0 ? r
		     : sd_bus_add_node_enumerator(manager->bus, NULL, BUS_JOB_PATH, enumerate,
						  manager);
}

void job_emit_new(struct job *job)
{
	sd_bus_emit_object_added(job->manager->bus, job->path);
	sd_bus_emit_signal(job->manager->bus, BUS_PATH, MANAGER_INTERFACE, "JobNew", "uoss",
			   job->id, job->path, job->work.name, job_type_to_string(job->type));
}

void job_emit_removed(struct job *job, const char *result, const struct popcorn_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *signal = NULL;
	sd_bus *bus = job->manager->bus;

	sd_bus_emit_object_removed(bus, job->path);
	if (sd_bus_message_new_signal(bus, &signal, BUS_PATH, MANAGER_INTERFACE, "JobRemoved") <
		    0 ||
	    sd_bus_message_append(signal, "uosss", job->id, job->path, job->work.name, result,
				  popcorn_error_name(error->id)) < 0 ||
	    bus_append_text(signal, error->text) < 0)
		return;
	sd_bus_send(NULL, signal, NULL);
}

void job_emit_changed(struct job *job)
{
	sd_bus_emit_properties_changed(job->manager->bus, job->path, JOB_INTERFACE, "State", "Step",
				       "Progress", NULL);
}
