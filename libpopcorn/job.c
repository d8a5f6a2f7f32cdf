// SPDX-License-Identifier: LGPL-2.1-or-later
/* Jobs: following them to their end. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "internal.h"

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *path, *name, *result, *error_name, *text;
	struct popcorn *popcorn = userdata;
	uint32_t id;

	if (sd_bus_message_read(m, "uosss", &id, &path, &name, &result, &error_name) < 0 ||
	    sd_bus_message_read(m, "s", &text) < 0)
		return 0;
	/* Several may follow the same job, each by an object of its own. */
	for (struct popcorn_job *job = popcorn->jobs; job; job = job->next) {
		if (strcmp(job->path, path) || job->result)
			continue;
		/* The result comes last: it says that the others are there. */
		if (string_set(&job->error, error_name) < 0 || string_set(&job->text, text) < 0 ||
		    string_set(&job->result, result) < 0)
			job->lost = true;
	}
	return 0;
}

/* Reads an a{sv} of a job's properties. */
static int read_properties(struct popcorn_job *job, sd_bus_message *m)
{
	int r;

	r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		const char *name, *value;
		double progress;

		r = sd_bus_message_read(m, "s", &name);
		if (r < 0)
			break;
		if (strcmp(name, "Step") == 0) {
			r = sd_bus_message_read(m, "v", "s", &value);
			if (r >= 0 && strcmp(value, job->step)) {
				r = string_set(&job->step, value);
				job->changed = true;
			}
		} else if (strcmp(name, "Progress") == 0) {
			r = sd_bus_message_read(m, "v", "d", &progress);
			/* Written so that NaN falls out as well. */
			if (r >= 0 && progress >= 0 && progress <= 1 && progress != job->progress) {
				job->progress = progress;
				job->changed = true;
			}
		} else if (strcmp(name, "Type") == 0 || strcmp(name, "Name") == 0) {
			char **where = name[0] == 'T' ? &job->type : &job->name;

			/* Neither changes, and callers hold on to them. */
			r = sd_bus_message_read(m, "v", "s", &value);
			if (r >= 0 && !**where)
				r = string_set(where, value);
		} else {
			r = sd_bus_message_skip(m, "v");
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int on_properties_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct popcorn *popcorn = userdata;
	const char *path = sd_bus_message_get_path(m), *interface;

	for (struct popcorn_job *job = popcorn->jobs; job; job = job->next)
		if (strcmp(job->path, path) == 0 && sd_bus_message_rewind(m, true) >= 0 &&
		    sd_bus_message_read(m, "s", &interface) >= 0 &&
		    strcmp(interface, INTERFACE_JOB) == 0)
			read_properties(job, m);
	return 0;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *name, *old_owner, *new_owner;
	struct popcorn *popcorn = userdata;

	if (sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner) < 0 || !*old_owner)
		return 0;
	for (struct popcorn_job *job = popcorn->jobs; job; job = job->next)
		job->lost = true;
	return 0;
}

/*
 * A match that fails to be added takes the connection down by default, which is what is wanted: a
 * wait without it might never end. Nothing is waited for here: the bus handles what we send in
 * order, so the matches are there before the call that makes the job.
 */
int popcorn_watch_jobs(struct popcorn *popcorn)
{
	int r;

	if (popcorn->watches_jobs)
		return 0;
	r = popcorn_check_connected(popcorn);
	if (r < 0)
		return r;
	r = sd_bus_match_signal_async(popcorn->bus, NULL, BUS_NAME, BUS_PATH, INTERFACE_MANAGER,
				      "JobRemoved", on_job_removed, NULL, popcorn);
	if (r >= 0)
		r = sd_bus_add_match_async(
			popcorn->bus, NULL,
			"type='signal',sender='" BUS_NAME
			"',interface='org.freedesktop.DBus.Properties',"
			"member='PropertiesChanged',path_namespace='" BUS_PATH_JOB "'",
			on_properties_changed, NULL, popcorn);
	if (r >= 0)
		r = sd_bus_add_match_async(popcorn->bus, NULL,
					   "type='signal',sender='org.freedesktop.DBus',"
					   "interface='org.freedesktop.DBus',"
					   "member='NameOwnerChanged',arg0='" BUS_NAME "'",
					   on_owner_changed, NULL, popcorn);
	if (r < 0)
		return popcorn_fail_bus(popcorn, NULL, r);
	popcorn->watches_jobs = true;
	return 0;
}

static void job_freep(struct popcorn_job **job)
{
	popcorn_job_free(*job);
}

int popcorn_job_new(struct popcorn *popcorn, const char *path, const char *name, const char *type,
		    struct popcorn_job **ret)
{
	_cleanup_(job_freep) struct popcorn_job *job = calloc(1, sizeof(*job));
	const char *slash = strrchr(path, '/');

	if (!job || string_set(&job->path, path) < 0 || string_set(&job->name, name) < 0 ||
	    string_set(&job->type, type) < 0 || string_set(&job->step, "") < 0)
		return popcorn_fail_errno(popcorn, -ENOMEM, "");
	job->id = slash ? strtoul(slash + 1, NULL, 10) : 0;
	job->popcorn = popcorn_ref(popcorn);
	job->next = popcorn->jobs;
	job->link = &popcorn->jobs;
	if (job->next)
		job->next->link = &job->next;
	popcorn->jobs = job;
	*ret = job;
	job = NULL;
	return 0;
}

struct popcorn_job *popcorn_job_free(struct popcorn_job *job)
{
	if (!job)
		return NULL;
	if (job->link) {
		*job->link = job->next;
		if (job->next)
			job->next->link = job->link;
	}
	sd_bus_slot_unref(job->query);
	popcorn_unref(job->popcorn);
	free(job->path);
	free(job->name);
	free(job->type);
	free(job->step);
	free(job->result);
	free(job->error);
	free(job->text);
	free(job);
	return NULL;
}

int popcorn_job_open(struct popcorn *popcorn, uint32_t id, struct popcorn_job **ret)
{
	_cleanup_message_ sd_bus_message *where = NULL, *reply = NULL;
	_cleanup_(job_freep) struct popcorn_job *job = NULL;
	const char *path;
	int r;

	r = popcorn_watch_jobs(popcorn);
	if (r < 0)
		return r;
	r = popcorn_call(popcorn, BUS_PATH, INTERFACE_MANAGER, "GetJob", &where, "u", id);
	if (r < 0)
		return r;
	r = sd_bus_message_read(where, "o", &path);
	if (r < 0)
		return popcorn_parse_failed(popcorn, r);
	r = popcorn_job_new(popcorn, path, "", "", &job);
	if (r < 0)
		return r;
	job->id = id;
	r = popcorn_call(popcorn, path, "org.freedesktop.DBus.Properties", "GetAll", &reply, "s",
			 INTERFACE_JOB);
	if (r == -ENXIO) /* it ended between the two calls */
		return popcorn_fail(popcorn, POPCORN_ERROR_NO_SUCH_JOB, NULL);
	if (r < 0)
		return r;
	r = read_properties(job, reply);
	if (r < 0)
		return popcorn_parse_failed(popcorn, r);
	*ret = job;
	job = NULL;
	return 0;
}

uint32_t popcorn_job_get_id(const struct popcorn_job *job)
{
	return job->id;
}

const char *popcorn_job_get_name(const struct popcorn_job *job)
{
	return job->name;
}

const char *popcorn_job_get_type(const struct popcorn_job *job)
{
	return job->type;
}

const char *popcorn_job_get_step(const struct popcorn_job *job)
{
	return job->step;
}

double popcorn_job_get_progress(const struct popcorn_job *job)
{
	return job->progress;
}

const char *popcorn_job_get_result(const struct popcorn_job *job)
{
	return string_or_empty(job->result);
}

int popcorn_job_cancel(struct popcorn_job *job)
{
	int r;

	r = popcorn_call(job->popcorn, job->path, INTERFACE_JOB, "Cancel", NULL, NULL);
	if (r == -ENXIO)
		return popcorn_fail(job->popcorn, POPCORN_ERROR_NO_SUCH_JOB, NULL);
	return r;
}

/* Where the job is now; what it says may well be that it has gone, which its end says better. */
static int on_query(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct popcorn_job *job = userdata;

	if (!sd_bus_message_is_method_error(m, NULL))
		read_properties(job, m);
	job->query = sd_bus_slot_unref(job->query);
	return 0;
}

static int wait_for_something(struct popcorn *popcorn, int wake_fd, bool *ret_woken)
{
	struct pollfd fds[2] = { { .fd = sd_bus_get_fd(popcorn->bus) },
				 { .fd = wake_fd, .events = POLLIN } };
	struct timespec now, timeout, *wait = NULL;
	uint64_t until;
	int events, r;

	events = sd_bus_get_events(popcorn->bus);
	if (fds[0].fd < 0 || events < 0)
		return fds[0].fd < 0 ? fds[0].fd : events;
	fds[0].events = events;
	r = sd_bus_get_timeout(popcorn->bus, &until);
	if (r < 0)
		return r;
	if (until != UINT64_MAX) {
		uint64_t usec;

		clock_gettime(CLOCK_MONOTONIC, &now);
		usec = (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
		usec = until > usec ? until - usec : 0;
		timeout = (struct timespec){ .tv_sec = usec / 1000000,
					     .tv_nsec = usec % 1000000 * 1000 };
		wait = &timeout;
	}
	r = ppoll(fds, 2, wait, NULL);
	if (r < 0 && errno != EINTR)
		return -errno;
	*ret_woken = r > 0 && fds[1].revents;
	return 0;
}

int popcorn_job_wait(struct popcorn_job *job, int wake_fd, popcorn_job_callback callback,
		     void *userdata)
{
	struct popcorn *popcorn = job->popcorn;
	bool woken = false;
	int r;

	r = popcorn_check_connected(popcorn);
	if (r < 0)
		return r;
	if (!job->query && !job->result)
		/* If it can't be sent, the wait only knows less on its way. */
		sd_bus_call_method_async(popcorn->bus, &job->query, BUS_NAME, job->path,
					 "org.freedesktop.DBus.Properties", "GetAll", on_query, job,
					 "s", INTERFACE_JOB);
	for (;;) {
		if (callback && (job->changed || woken)) {
			job->changed = woken = false;
			r = callback(job, userdata);
			if (r != 0)
				return r;
		}
		if (job->result || job->lost)
			break;
		r = popcorn_process(popcorn);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		r = wait_for_something(popcorn, wake_fd, &woken);
		if (r < 0)
			return popcorn_fail_errno(popcorn, r, "waiting for the job");
	}
	if (!job->result)
		return popcorn_fail(popcorn, POPCORN_ERROR_NO_DAEMON,
				    "popcornd went away while the job was under way; 'popcornctl "
				    "status %s' shows what became of it",
				    job->name);
	if (strcmp(job->result, "done") == 0)
		return 0;
	if (strcmp(job->result, "cancelled") == 0) {
		popcorn_fail_named(popcorn,
				   *job->error ? job->error : POPCORN_ERROR_PREFIX "Cancelled",
				   job->text);
		return -ECANCELED;
	}
	return popcorn_fail_named(popcorn, job->error, job->text);
}
