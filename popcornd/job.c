// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "apply.h"
#include "job.h"
#include "log.h"
#include "util.h"

const char *job_type_to_string(enum job_type type)
{
	switch (type) {
	case JOB_BOOT:
		return "boot";
	case JOB_STOP:
		return "stop";
	case JOB_KILL:
		return "kill";
	case JOB_RELEASE:
		return "release";
	case JOB_APPLY:
		return "apply";
	}
	return "unknown";
}

const char *job_state_to_string(enum job_state state)
{
	switch (state) {
	case JOB_QUEUED:
		return "queued";
	case JOB_RUNNING:
		return "running";
	}
	return "unknown";
}

bool job_can_be_superseded(const struct job *job, enum job_type by)
{
	switch (job->type) {
	case JOB_BOOT:
		return by == JOB_STOP || by == JOB_KILL;
	case JOB_STOP:
		return by == JOB_KILL;
	case JOB_KILL:
	case JOB_RELEASE:
	case JOB_APPLY:
		return false;
	}
	return false;
}

static unsigned jobs_of(const struct manager *manager, uid_t uid)
{
	const struct job *job;
	unsigned n = 0;

	TAILQ_FOREACH(job, &manager->jobs, entry)
		if (!job->internal && job->uid == uid)
			n++;
	return n;
}

static int new_job(struct manager *manager, enum job_type type, const char *name, uid_t uid,
		   bool internal, struct job **ret, struct popcorn_error *error)
{
	struct job *job;

	if (manager->stopping)
		return popcorn_error_set(error, POPCORN_ERROR_FAILED,
					 "popcornd is shutting down; try again when it is back");
	if (!internal && manager->n_jobs >= JOBS_MAX)
		return popcorn_error_set(
			error, POPCORN_ERROR_LIMIT,
			"%u jobs are under way, which is the limit; try again when some have ended",
			manager->n_jobs);
	if (!internal && uid != 0 && jobs_of(manager, uid) >= JOBS_PER_USER_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_LIMIT,
					 "user %u has %u jobs under way, which is the limit; try "
					 "again when some have ended",
					 uid, JOBS_PER_USER_MAX);
	job = calloc(1, sizeof(*job));
	if (!job)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	pthread_mutex_init(&job->lock, NULL);
	job->manager = manager;
	job->type = type;
	job->uid = uid;
	job->internal = internal;
	job->work.fd = job->work.new_fd = job->launch_fd = -1;
	snprintf(job->work.name, sizeof(job->work.name), "%s", name);
	/* 0 stands for no job. */
	do
		manager->last_job_id++;
	while (manager->last_job_id == 0 || manager_find_job(manager, manager->last_job_id));
	job->id = manager->last_job_id;
	job->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (type == JOB_BOOT)
		job->launch_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (job->cancel_fd < 0 || (type == JOB_BOOT && job->launch_fd < 0) ||
	    asprintf(&job->path, BUS_JOB_PATH "/%u", job->id) < 0) {
		closep(&job->cancel_fd);
		closep(&job->launch_fd);
		free(job);
		return popcorn_error_set_errno(error, errno, "can't make a job");
	}
	job->config = manager->config;
	TAILQ_INSERT_TAIL(&manager->jobs, job, entry);
	if (!internal)
		manager->n_jobs++;
	*ret = job;
	return 0;
}

int job_new(struct kernel *kernel, enum job_type type, uid_t uid, bool internal, struct job **ret,
	    struct popcorn_error *error)
{
	struct job *job;
	int r;

	if (kernel->next_job)
		return popcorn_error_set(error, POPCORN_ERROR_BUSY,
					 "kernel %s has a %s job under way and a %s job waiting",
					 kernel->name, job_type_to_string(kernel->job->type),
					 job_type_to_string(kernel->next_job->type));
	r = new_job(kernel->manager, type, kernel->name, uid, internal, &job, error);
	if (r < 0)
		return r;
	job->kernel = kernel;
	if (kernel->job)
		kernel->next_job = job;
	else
		kernel->job = job;
	*ret = job;
	return 0;
}

int job_new_apply(struct manager *manager, const char *policy, uid_t uid, bool internal,
		  struct job **ret, struct popcorn_error *error)
{
	return new_job(manager, JOB_APPLY, policy, uid, internal, ret, error);
}

struct job *job_free(struct job *job)
{
	struct manager *manager = job->manager;

	TAILQ_REMOVE(&manager->jobs, job, entry);
	if (!job->internal)
		manager->n_jobs--;
	if (job->kernel && job->kernel->job == job)
		job->kernel->job = NULL;
	if (job->kernel && job->kernel->next_job == job)
		job->kernel->next_job = NULL;
	sd_bus_slot_unref(job->unit_slot);
	if (job->work.fd >= 0)
		close(job->work.fd);
	if (job->work.new_fd >= 0)
		close(job->work.new_fd);
	claim_free(job->work.new_claim);
	kernel_def_free(job->def);
	boot_files_free(job->files);
	if (manager->apply == job)
		manager->apply = NULL;
	apply_free(job->apply);
	close(job->cancel_fd);
	closep(&job->launch_fd);
	pthread_mutex_destroy(&job->lock);
	free(job->final_text);
	free(job->unit_job);
	free(job->path);
	free(job);
	return NULL;
}

/*
 * In the thread.
 */

static void on_progress(void *userdata, const char *step, double fraction)
{
	struct job *job = userdata;

	pthread_mutex_lock(&job->lock);
	if (strcmp(job->step, step) != 0) {
		snprintf(job->step, sizeof(job->step), "%s", step);
		if (job->n_steps < STEPS_MAX) {
			struct boot_step *s = &job->steps[job->n_steps++];

			snprintf(s->name, sizeof(s->name), "%s", step);
			s->usec = now_usec();
		}
	}
	job->fraction = fraction;
	pthread_mutex_unlock(&job->lock);
	task_notify(job->task);
}

/* Until its leader is there. -ECANCELED. */
static int wait_for_leader(void *userdata)
{
	struct job *job = userdata;
	struct pollfd fds[] = { { job->launch_fd, POLLIN, 0 }, { job->cancel_fd, POLLIN, 0 } };
	int r = poll(fds, ARRAY_SIZE(fds), 0);

	if (r == 0) {
		on_progress(job, "leader", PROGRESS_RESERVE);
		r = poll_until(fds, ARRAY_SIZE(fds), UINT64_MAX);
	}
	if (r < 0 || fds[1].revents)
		return -ECANCELED;
	/* Not before: the leader of the kernel's last life had a right to its last words. */
	if (job->early)
		saved_remove(job->work.run, job->work.name);
	return 0;
}

/* The doorbell has rung, and the time runs: whatever comes of this, the stop goes on. */
static int ask_agent(void *userdata, uint32_t id, uint32_t generation, uint64_t deadline)
{
	struct job *job = userdata;
	const struct log_fields fields = { .kernel = job->work.name, .job = job->id };
	int r = talk_shutdown(id, generation, deadline);

	if (r < 0)
		log_send(LOG_INFO, &fields,
			 "kernel %s was asked to shut down by the doorbell; no answer by message: "
			 "%s",
			 job->work.name, strerror(-r));
	else
		log_send(LOG_INFO, &fields,
			 "kernel %s was asked to shut down, and its agent has answered",
			 job->work.name);
	return r;
}

static void on_lacks(void *userdata, const char *what)
{
	const struct job *job = userdata;
	const struct log_fields fields = { .kernel = job->work.name, .job = job->id };

	log_send(LOG_NOTICE, &fields,
		 "kernel %s boots without %s, which is not built for its version", job->work.name,
		 what);
}

/* What the driver says of the kernel, before it is asked to forget it. */
static int remember_end(struct job *job, bool *ret_started)
{
	struct popcorn_status status;
	int r;

	r = job->work.driver->ops->status(job->work.driver, job->work.fd, &status);
	if (r < 0)
		return r;
	job->work.have_end = true;
	job->work.end_state = status.state;
	job->work.end_reason = status.reason;
	snprintf(job->work.end_text, sizeof(job->work.end_text), "%s", status.text);
	*ret_started = status.times[POPCORN_TIME_ENTERED] != 0;
	driver_status_done(&status);
	return 0;
}

static void save_console(struct job *job)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *data = NULL;
	const size_t room = 2 * SAVED_CONSOLE_MAX;
	size_t size = 0;

	data = malloc(room);
	if (!data ||
	    job->work.driver->ops->console(job->work.driver, job->work.fd, O_NONBLOCK, &fd) < 0)
		return;
	for (;;) {
		ssize_t n;

		if (size == room) {
			memmove(data, data + room - SAVED_CONSOLE_MAX, SAVED_CONSOLE_MAX);
			size = SAVED_CONSOLE_MAX;
		}
		n = read(fd, data + size, room - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		size += (size_t)n;
	}
	if (size > SAVED_CONSOLE_MAX)
		saved_write(job->work.run, job->work.name, SAVED_CONSOLE,
			    data + size - SAVED_CONSOLE_MAX, SAVED_CONSOLE_MAX);
	else
		saved_write(job->work.run, job->work.name, SAVED_CONSOLE, data, size);
}

static void save_log(struct job *job)
{
	_cleanup_free_ char *log = NULL;
	size_t size;

	if (read_kernel_log(job->work.driver, job->work.fd, &log, NULL) < 0)
		return;
	size = strlen(log);
	if (size > SAVED_LOG_MAX)
		saved_write(job->work.run, job->work.name, SAVED_LOG, log + size - SAVED_LOG_MAX,
			    SAVED_LOG_MAX);
	else
		saved_write(job->work.run, job->work.name, SAVED_LOG, log, size);
}

/* Of a kernel that has ended, or never started: everything, after saving what it said. */
static int give_back(struct job *job)
{
	struct popcorn_error *error = &job->work.error;
	bool started = false;
	int r;

	on_progress(job, "release", 0.9);
	r = job->work.fd >= 0 ? remember_end(job, &started) : -ENODEV;
	if (r == -ENODEV) {
		/* The driver gave back its part already. */
		r = !job->work.claim
			    ? 0
			    : resources_give_back(job->work.resources, job->work.claim, error);
		job->work.released = r >= 0;
		return r;
	}
	if (r < 0)
		return popcorn_error_set_errno(error, r, "the driver does not say how kernel %s is",
					       job->work.name);
	/* Best effort: a log that can't be saved must not keep CPUs and memory. */
	if (started) {
		save_console(job);
		save_log(job);
	}
	r = release_kernel(job->work.resources, job->work.driver, job->work.fd, job->work.claim,
			   error);
	job->work.released = r >= 0;
	return r;
}

static int run_boot(struct job *job, const struct operation *operation)
{
	struct popcorn_error *error = &job->work.error;
	_cleanup_free_ char *log = NULL;
	int r;

	if (job->work.fd >= 0 || job->work.claim) {
		/* The one before it, which ended: its memory was kept for a look at it. */
		r = give_back(job);
		if (r < 0)
			return r;
		/* Or the same name could not be claimed again; finish_boot() knows. */
		job->work.claim = claim_free(job->work.claim);
	}
	/* From here on, what is saved is of the new one. */
	if (!job->early)
		saved_remove(job->work.run, job->work.name);
	if (!job->work.new_claim) {
		r = resources_claim(job->work.resources, job->work.name, job->def,
				    &job->work.new_claim, error);
		if (r < 0)
			return r;
	}
	r = boot_kernel(job->config, job->work.resources, job->work.driver, job->work.name,
			job->def, steal_ptr(job->files), job->work.new_claim, operation,
			&job->work.new_fd, &log, error);
	/*
	 * A leader that finds no job would boot the kernel anew. So it is told of a failure after it has
	 * come, as if the job had begun only then. One who cancels stops the unit first.
	 */
	if (r < 0 && job->early && error->id != POPCORN_ERROR_CANCELLED)
		wait_for_leader(job);
	if (r < 0 && log)
		saved_write(job->work.run, job->work.name, SAVED_LOG, log, strlen(log));
	return r;
}

/* A kernel that another popcornd started: what boot_kernel() does after START. */
static int run_recovered_boot(struct job *job)
{
	const struct kernel_def *def = job->def;
	uint64_t timeout = def ? def->boot_timeout_usec : job->config->boot_timeout_usec;
	struct popcorn_error *error = &job->work.error, ignored = {};
	uint64_t deadline = now_usec() + timeout;
	enum popcorn_reason reason;
	int r;

	on_progress(job, "kernel", 0.5);
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = job->work.fd, .events = POLLPRI },
			{ .fd = job->cancel_fd, .events = POLLIN },
		};
		bool started;

		r = remember_end(job, &started);
		if (r < 0) {
			popcorn_error_set_errno(error, r,
						"the driver does not say how kernel %s is",
						job->work.name);
			reason = POPCORN_REASON_CANCELLED;
			break;
		}
		if (job->work.end_state == POPCORN_STATE_RUNNING)
			return 0;
		if (job->work.end_state != POPCORN_STATE_BOOTING) {
			popcorn_error_set(error, POPCORN_ERROR_CRASHED,
					  "kernel %s ended while it booted: %s", job->work.name,
					  job->work.end_text[0]
						  ? job->work.end_text
						  : reason_to_text(job->work.end_reason));
			give_back(job);
			return -popcorn_error_errno(error->id);
		}
		r = poll_until(fds, ARRAY_SIZE(fds), deadline);
		if (r < 0) {
			popcorn_error_set_errno(error, r, "can't wait for kernel %s",
						job->work.name);
			reason = POPCORN_REASON_CANCELLED;
			break;
		}
		if (r == 0) {
			popcorn_error_set(error, POPCORN_ERROR_BOOT_TIMEOUT,
					  "kernel %s did not report within %u s", job->work.name,
					  (unsigned)(timeout / USEC_PER_SEC));
			reason = POPCORN_REASON_BOOT_TIMEOUT;
			break;
		}
		if (fds[1].revents) {
			popcorn_error_set(error, POPCORN_ERROR_CANCELLED, NULL);
			reason = POPCORN_REASON_CANCELLED;
			break;
		}
	}
	/* The first cause is told, unless undoing it is what went wrong for good. */
	r = kill_kernel(job->work.driver, job->work.fd, reason, &ignored);
	if (r >= 0)
		r = give_back(job);
	if (r < 0 && ignored.id != POPCORN_ERROR_NONE)
		*error = ignored;
	return -popcorn_error_errno(error->id);
}

static int run_stop(struct job *job, const struct operation *operation)
{
	struct popcorn_error *error = &job->work.error;
	int r;

	on_progress(job, job_type_to_string(job->type), 0);
	if (job->work.fd < 0)
		r = 0; /* released already, but for some memory */
	else if (job->type == JOB_STOP)
		r = stop_kernel(job->work.driver, job->work.fd, job->timeout_usec, operation,
				error);
	else
		r = kill_kernel(job->work.driver, job->work.fd, POPCORN_REASON_KILLED, error);
	return r < 0 ? r : give_back(job);
}

static void job_run(void *userdata)
{
	struct job *job = userdata;
	const struct operation operation = {
		.cancel_fd = job->cancel_fd,
		.progress = on_progress,
		.wait_for_turn = job->type == JOB_BOOT ? wait_for_leader : NULL,
		.ask_agent = ask_agent,
		.lacks = on_lacks,
		.userdata = job,
		.network = job->manager->network,
	};
	int r = 0;

	switch (job->type) {
	case JOB_BOOT:
		r = job->recovered ? run_recovered_boot(job) : run_boot(job, &operation);
		break;
	case JOB_STOP:
	case JOB_KILL:
		r = run_stop(job, &operation);
		break;
	case JOB_RELEASE:
		r = give_back(job);
		break;
	case JOB_APPLY:
		break;
	}
	job->work.result = r < 0 ? r : 0;
}

/*
 * In the loop.
 */

static void job_notified(void *userdata)
{
	struct job *job = userdata;
	bool new_step;

	pthread_mutex_lock(&job->lock);
	new_step = strcmp(job->shown_step, job->step) != 0;
	memcpy(job->shown_step, job->step, sizeof(job->shown_step));
	job->shown_fraction = job->fraction;
	pthread_mutex_unlock(&job->lock);
	if (new_step && job->type == JOB_BOOT)
		kernel_follow(job->kernel);
	job_emit_changed(job);
	apply_child_changed(job->manager, job->parent);
}

static void failure_to_state(const struct job *job, enum popcorn_state *ret_state,
			     enum popcorn_reason *ret_reason)
{
	enum popcorn_reason seen = job->kernel->end_reason;
	enum popcorn_state state = POPCORN_STATE_FAILED;
	enum popcorn_reason reason = seen;

	if (job->work.have_end && reason == POPCORN_REASON_NONE && job->recovered)
		reason = job->work.end_reason;
	switch ((int)job->work.error.id) {
	case POPCORN_ERROR_CANCELLED:
		state = POPCORN_STATE_STOPPED;
		reason = POPCORN_REASON_CANCELLED;
		break;
	case POPCORN_ERROR_CRASHED:
		state = POPCORN_STATE_CRASHED;
		break;
	case POPCORN_ERROR_BOOT_TIMEOUT:
		reason = POPCORN_REASON_BOOT_TIMEOUT;
		break;
	case POPCORN_ERROR_CPU_STUCK:
		reason = POPCORN_REASON_CPU_STUCK;
		break;
	case POPCORN_ERROR_IMAGE_NOT_FOUND:
	case POPCORN_ERROR_IMAGE_INVALID:
	case POPCORN_ERROR_IMAGE_NOT_64BIT:
	case POPCORN_ERROR_IMAGE_TOO_OLD:
	case POPCORN_ERROR_INITRD_NOT_FOUND:
	case POPCORN_ERROR_INITRD_TOO_LARGE:
	case POPCORN_ERROR_CMDLINE_TOO_LONG:
	case POPCORN_ERROR_NO_MODULES:
	case POPCORN_ERROR_MEMORY_TOO_SMALL:
	case POPCORN_ERROR_LOCKED_DOWN:
		reason = POPCORN_REASON_IMAGE;
		break;
	case POPCORN_ERROR_CPU_UNKNOWN:
	case POPCORN_ERROR_CPU_BOOT:
	case POPCORN_ERROR_CPU_OFFLINE:
	case POPCORN_ERROR_CPU_LENT:
	case POPCORN_ERROR_CPU_KEPT:
	case POPCORN_ERROR_CPU_BUSY:
	case POPCORN_ERROR_NO_FREE_CPUS:
	case POPCORN_ERROR_MEMORY_INVALID:
	case POPCORN_ERROR_NO_FREE_MEMORY:
	case POPCORN_ERROR_MEMORY_BUSY:
	case POPCORN_ERROR_NO_LOW_MEMORY:
		reason = POPCORN_REASON_RESOURCES;
		break;
	}
	*ret_state = state;
	*ret_reason = reason;
}

/* From when each step began to how long it took; the driver knows the later ones exactly. */
static void show_steps(struct job *job)
{
	static const struct {
		const char *name;
		enum popcorn_time from, to;
	} exact[] = {
		{ "start", POPCORN_TIME_START, POPCORN_TIME_ENTERED },
		{ "kernel", POPCORN_TIME_ENTERED, POPCORN_TIME_CHECKIN },
		{ "agent", POPCORN_TIME_CHECKIN, POPCORN_TIME_RUNNING },
	};
	struct kernel *kernel = job->kernel;
	struct driver *driver = kernel->manager->driver;
	uint64_t now = now_usec();
	struct popcorn_status status;

	kernel->n_steps = 0;
	for (size_t i = 0; i < job->n_steps; i++) {
		uint64_t end = i + 1 < job->n_steps ? job->steps[i + 1].usec : now;

		if (strcmp(job->steps[i].name, "release") == 0)
			continue;
		kernel->steps[kernel->n_steps] = job->steps[i];
		kernel->steps[kernel->n_steps++].usec = end - job->steps[i].usec;
	}
	if (kernel->fd < 0 || driver->ops->status(driver, kernel->fd, &status) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(exact); i++) {
		uint64_t from = status.times[exact[i].from], to = status.times[exact[i].to];
		size_t n;

		if (from == 0 || to < from)
			continue;
		for (n = 0; n < kernel->n_steps; n++)
			if (strcmp(kernel->steps[n].name, exact[i].name) == 0)
				break;
		if (n == STEPS_MAX)
			break;
		if (n == kernel->n_steps)
			kernel->n_steps++;
		snprintf(kernel->steps[n].name, sizeof(kernel->steps[n].name), "%s", exact[i].name);
		kernel->steps[n].usec = (to - from) / 1000;
	}
	driver_status_done(&status);
}

static void finish_boot(struct job *job)
{
	struct kernel *kernel = job->kernel;
	enum popcorn_state state;
	enum popcorn_reason reason;

	/* The old one is gone from the driver; kernel_follow() may have attached to the new one. */
	if (job->work.released) {
		if (!job->recovered)
			kernel->claim = NULL;
		kernel_detach(kernel);
	}
	if (job->work.result >= 0) {
		if (!job->recovered) {
			if (kernel->fd < 0)
				kernel_set_fd(kernel, steal_fd(&job->work.new_fd));
			kernel->claim = steal_ptr(job->work.new_claim);
			show_steps(job);
			kernel_changed(kernel, "BootSteps");
		}
		kernel_settle(kernel);
		/* The same state as kernel_follow() showed may still be news for the record. */
		kernel_save(kernel);
		return;
	}
	if (!job->recovered && kernel->claim && job->work.error.id != POPCORN_ERROR_CPU_STUCK) {
		/* It did not get as far as to release the one before, which is what it was. */
		kernel_settle(kernel);
		return;
	}
	if (!job->recovered && !kernel->claim) {
		if (kernel_attach(kernel, 0) >= 0 ||
		    (job->work.new_claim && claim_holds(job->work.new_claim)))
			/* A CPU was not seen stopped, or memory would not come online: kept. */
			kernel->claim = steal_ptr(job->work.new_claim);
		else
			kernel_detach(kernel);
	}
	failure_to_state(job, &state, &reason);
	kernel_set_state(kernel, state, reason, job->work.error.text);
}

static void finish_end(struct job *job)
{
	struct kernel *kernel = job->kernel;
	enum popcorn_state state = kernel->state;
	enum popcorn_reason reason = kernel->reason;
	const char *text = NULL;

	if (job->work.result < 0) {
		if (job->work.error.id == POPCORN_ERROR_CANCELLED) {
			kernel_settle(kernel);
			return;
		}
		/* Not settled by the driver's word, which could be to try the same again at once. */
		reason = job->work.error.id == POPCORN_ERROR_CPU_STUCK ? POPCORN_REASON_CPU_STUCK
								       : kernel->end_reason;
		log_send(LOG_ERR, &(struct log_fields){ .id = LOG_ID_KEPT, .kernel = kernel->name },
			 "kernel %s keeps what it has: %s", kernel->name, job->work.error.text);
		kernel_set_state(kernel, POPCORN_STATE_FAILED, reason, job->work.error.text);
		return;
	}
	if (job->work.released)
		kernel_detach(kernel);
	if (job->forget)
		return;
	if (job->final_state != 0) {
		state = job->final_state;
		reason = job->final_reason;
		text = job->final_text;
	} else if (job->work.have_end) {
		state = job->work.end_state;
		reason = job->work.end_reason;
		text = job->work.end_text;
		/*
		 * It did as it was told, in whatever way: a reboot or power-off in answer to Stop
		 * must not start it again.
		 */
		if (job->type == JOB_STOP && state == POPCORN_STATE_STOPPED &&
		    reason != POPCORN_REASON_KILLED && reason != POPCORN_REASON_PRIMARY_DOWN) {
			reason = POPCORN_REASON_REQUESTED;
			text = NULL;
		}
	} else if (state_is_active(state)) {
		state = POPCORN_STATE_STOPPED;
	}
	kernel_set_state(kernel, state, reason, text);
	/* What it had is gone, also when the state stays. */
	kernel_save(kernel);
	kernel_changed(kernel, "Cpus");
}

/* Its thread has ended, or there was none. */
static void job_finish(struct job *job)
{
	struct manager *manager = job->manager;
	struct kernel *kernel = job->kernel;
	const uint32_t parent = job->parent, id = job->id;
	const char *result = "done";
	struct popcorn_error error;
	struct job *next;

	if (job->work.fd >= 0)
		close(steal_fd(&job->work.fd));
	if (kernel->next_job == job) {
		/* It never got its turn: the kernel is as the job before it leaves it. */
		kernel->next_job = next = NULL;
	} else {
		/* From here on the kernel is free for the next job, which finish_*() may start. */
		next = kernel->next_job;
		kernel->next_job = NULL;
		kernel->job = NULL;
		if (job->type == JOB_BOOT)
			finish_boot(job);
		else
			finish_end(job);
		kernel->end_reason = POPCORN_REASON_NONE;
	}

	if (job->work.result < 0) {
		bool cancelled = job->work.error.id == POPCORN_ERROR_CANCELLED;

		result = cancelled ? "cancelled" : "failed";
		log_send(cancelled ? LOG_INFO : LOG_ERR,
			 &(struct log_fields){ .id = cancelled ? NULL : LOG_ID_JOB,
					       .kernel = kernel->name,
					       .error = popcorn_error_name(job->work.error.id),
					       .job = job->id },
			 "%s of kernel %s %s: %s", job_type_to_string(job->type), kernel->name,
			 cancelled ? "was cancelled" : "failed", job->work.error.text);
	}
	job->kernel = NULL;
	if (job->forget && job->work.result >= 0) {
		kernel_forget(kernel);
		kernel = NULL;
	} else {
		kernel_changed(kernel, "Job");
	}
	job_emit_removed(job, result, &job->work.error);
	error = job->work.error;
	if (job->work.result >= 0)
		error.id = POPCORN_ERROR_NONE;
	job_free(job);

	if (next && kernel) {
		/* Settling may have found work of its own; what was asked for comes after it. */
		if (kernel->job)
			kernel->next_job = next;
		else {
			kernel->job = next;
			kernel_changed(kernel, "Job");
			job_start(next);
		}
	}
	if (parent)
		apply_child_ended(manager, parent, id,
				  error.id == POPCORN_ERROR_NONE ? NULL : &error);
	manager_job_gone(manager);
}

static void job_done(void *userdata)
{
	struct job *job = userdata;

	job->task = NULL;
	if (job->work.result < 0 && job->work.error.id == POPCORN_ERROR_CANCELLED &&
	    job->unit_error.id != POPCORN_ERROR_NONE)
		job->work.error = job->unit_error;
	/* What the driver told before the thread ended is older than the thread's result. */
	events_drain(job->manager->events);
	job_finish(job);
}

static void wake(int fd)
{
	const uint64_t one = 1;

	/* Can't fail: the counter of an eventfd does not overflow from ones. */
	if (write(fd, &one, sizeof(one)) < 0)
		abort();
}

void job_fail(struct job *job, const struct popcorn_error *error)
{
	if (job->type == JOB_BOOT && !job->launched)
		/* Or systemd's automatic restart of the unit would boot what was told to have failed. */
		unit_stop(job->manager, job->kernel->unit, 0, NULL);
	if (job->task) {
		job->unit_error = *error;
		job->cancelled = true;
		wake(job->cancel_fd);
		return;
	}
	job->work.result = -popcorn_error_errno(error->id);
	job->work.error = *error;
	job_finish(job);
}

static void start(struct job *job)
{
	struct manager *manager = job->manager;
	struct kernel *kernel = job->kernel;
	struct popcorn_error error = {};
	int r;

	job->state = JOB_RUNNING;
	job_emit_changed(job);
	kernel_changed(kernel, "Job");
	r = manager->driver || (job->type != JOB_BOOT && !kernel_holds_resources(kernel))
		    ? 0
		    : manager_need_driver(manager, &error);
	if (r < 0) {
		job_fail(job, &error);
		return;
	}
	if (job->type != JOB_BOOT && !kernel_holds_resources(kernel)) {
		/* Nothing to give back: superseded jobs have done it, or it never had anything. */
		job_finish(job);
		return;
	}

	job->work.driver = manager->driver;
	job->work.resources = manager->resources;
	job->work.run = manager->options->run;
	job->work.claim = kernel->claim;
	if (kernel->fd >= 0) {
		/*
		 * A descriptor of its own: a state change is told once per descriptor, and the loop
		 * reads the status of its one whenever it likes.
		 */
		r = manager->driver->ops->open(manager->driver, kernel->id, &job->work.fd);
		if (r == -ENOENT)
			/* Released behind our back; any call on the old one says so. */
			job->work.fd = fcntl(kernel->fd, F_DUPFD_CLOEXEC, 0);
		else if (r < 0) {
			popcorn_error_set_errno(&error, r, "can't open kernel %s", kernel->name);
			job_fail(job, &error);
			return;
		}
	}
	switch (job->type) {
	case JOB_BOOT:
		if (job->recovered) {
			if (kernel->def)
				kernel_def_copy(kernel->def, &job->def);
		} else {
			job->old_generation = kernel->fd >= 0 ? kernel->generation : 0;
			kernel->end_reason = POPCORN_REASON_NONE;
		}
		break;
	case JOB_STOP:
	case JOB_KILL:
		if (job->timeout_usec == 0)
			job->timeout_usec = job->config->stop_timeout_usec;
		if (state_is_active(kernel->state))
			kernel_set_state(kernel, POPCORN_STATE_STOPPING, POPCORN_REASON_REQUESTED,
					 NULL);
		break;
	case JOB_RELEASE:
	case JOB_APPLY:
		break;
	}
	r = task_start(manager->event, job_run, job_notified, job_done, job, &job->task);
	if (r < 0) {
		popcorn_error_set_errno(&error, r, "can't start a thread");
		job_fail(job, &error);
	}
}

void job_launched(struct job *job)
{
	if (job->launched)
		return;
	job->launched = true;
	if (job->launch_fd >= 0)
		wake(job->launch_fd);
}

void job_start(struct job *job)
{
	job_launched(job);
	start(job);
}

void job_start_early(struct job *job)
{
	job->early = true;
	start(job);
}

static void cancel_now(struct manager *manager, uint32_t id)
{
	struct job *job = manager_find_job(manager, id);

	if (job)
		wake(job->cancel_fd);
}

int job_cancel(struct job *job, struct popcorn_error *error)
{
	struct popcorn_error cancelled = {};

	if (job->cancelled)
		return 0;
	switch (job->type) {
	case JOB_BOOT:
		if (job->state == JOB_QUEUED) {
			popcorn_error_set(&cancelled, POPCORN_ERROR_CANCELLED, NULL);
			job_fail(job, &cancelled);
			return 0;
		}
		job->cancelled = true;
		/*
		 * The unit first: a leader that sees its kernel end while systemd has no stop job for
		 * the unit yet would leave the unit failed, or be started again.
		 */
		if (job->manager->options->no_units)
			cancel_now(job->manager, job->id);
		else
			unit_stop(job->manager, job->kernel->unit, job->id, cancel_now);
		return 0;
	case JOB_STOP:
		if (job->state == JOB_QUEUED || strcmp(job->shown_step, "release") == 0)
			break;
		job->cancelled = true;
		cancel_now(job->manager, job->id);
		return 0;
	case JOB_APPLY:
		return apply_job_cancel(job, error);
	case JOB_KILL:
	case JOB_RELEASE:
		break;
	}
	return popcorn_error_set(error, POPCORN_ERROR_WRONG_STATE,
				 "a %s job can't be cancelled at this point; it ends soon",
				 job_type_to_string(job->type));
}
