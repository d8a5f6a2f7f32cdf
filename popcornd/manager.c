// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "job.h"
#include "log.h"
#include "talk.h"
#include "servers.h"
#include "util.h"

static int load_config(struct manager *manager, struct popcorn_error *error)
{
	struct config_list *list;
	int r;

	list = calloc(1, sizeof(*list));
	if (!list)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	r = config_load(manager->options->config_path, &list->config, error);
	if (r < 0) {
		free(list);
		return r;
	}
	list->older = manager->configs;
	manager->configs = list;
	manager->config = list->config;
	return 0;
}

static void free_configs(struct config_list *list)
{
	while (list) {
		struct config_list *older = list->older;

		config_free(list->config);
		free(list);
		list = older;
	}
}

struct kernel *manager_find_kernel(struct manager *manager, const char *name)
{
	struct kernel *kernel;

	TAILQ_FOREACH(kernel, &manager->kernels, entry)
		if (strcmp(kernel->name, name) == 0)
			return kernel;
	return NULL;
}

struct job *manager_find_job(struct manager *manager, uint32_t id)
{
	struct job *job;

	TAILQ_FOREACH(job, &manager->jobs, entry)
		if (job->id == id)
			return job;
	return NULL;
}

/*
 * The driver.
 */

/* resources_recover() holds its lock while it tells; what is to be done about it is done later. */
static void on_found(void *userdata, const char *name, uint32_t id, struct claim *claim)
{
	struct manager *manager = userdata;
	struct kernel *kernel = manager_find_kernel(manager, name);

	if (!kernel && kernel_new(manager, name, &kernel) < 0) {
		/* Its claim stays alive with the kernel; the next start finds both again. */
		log_error("out of memory: kernel %s is not shown", name);
		return;
	}
	claim_free(kernel->claim);
	kernel->claim = claim;
	if (kernel_attach(kernel, id) >= 0)
		kernel->id = id;
}

/* Kernels went on without popcornd, and so did what connects them. */
static void recover_network(struct manager *manager)
{
	struct popcorn_error error = {};
	struct kernel *kernel;
	int r = 0;

	TAILQ_FOREACH(kernel, &manager->kernels, entry)
		if (kernel->fd >= 0 && kernel->def && state_is_active(kernel->state) && r >= 0)
			r = network_adopt(manager->network, kernel->name, kernel->id,
					  kernel->def->network);
	if (r < 0)
		popcorn_error_set(&error, POPCORN_ERROR_NO_MEMORY, NULL);
	else
		r = network_settle(manager->network, &error);
	if (r < 0)
		log_error("the network between kernels is not as it should be: %s", error.text);
}

static void recover(struct manager *manager)
{
	struct kernel *kernel, *next;

	for (kernel = TAILQ_FIRST(&manager->kernels); kernel; kernel = next) {
		next = TAILQ_NEXT(kernel, entry);
		kernel_announce(kernel);
		kernel_recover(kernel);
	}
	/* Those whose state is the same are asked as well. */
	talk_look(manager);
	recover_network(manager);
}

int manager_need_driver(struct manager *manager, struct popcorn_error *error)
{
	int r;

	if (manager->resources) {
		if (!manager->events && events_new(manager, &manager->events) >= 0)
			manager_resync(manager);
		return 0;
	}
	if (!manager->driver) {
		r = manager->options->open_driver(&manager->driver, error);
		if (r < 0)
			return r;
	}
	r = resources_new(manager->config, manager->driver, manager->options->sysfs,
			  manager->options->run, &manager->resources, error);
	if (r < 0) {
		manager->driver = driver_free(manager->driver);
		return r;
	}
	/* Before asking what there is: what changes in between is told by an event then. */
	events_new(manager, &manager->events);
	r = resources_recover(manager->resources, on_found, manager, error);
	if (r < 0) {
		/* Kernels may hold claims of it already, so it stays; what it found is used. */
		log_send(LOG_ERR, &(struct log_fields){ .id = LOG_ID_RECOVERED },
			 "not everything that an earlier popcornd left could be put back: %s",
			 error ? error->text : strerror(-r));
		if (error)
			error->id = POPCORN_ERROR_NONE;
	}
	recover(manager);
	apply_recover(manager);
	servers_recover(manager);
	return 0;
}

void manager_event(struct manager *manager, const struct driver_event *event)
{
	struct kernel *kernel = manager_find_kernel(manager, event->name);

	if (!kernel)
		return; /* made by another program than popcornd */
	if (kernel->job &&
	    (event->state == POPCORN_STATE_CRASHED || event->state == POPCORN_STATE_FAILED ||
	     event->state == POPCORN_STATE_STOPPED) &&
	    event->generation != kernel->job->old_generation)
		/* It may be released by the time it is asked. */
		kernel->end_reason = event->reason;
	kernel_settle(kernel);
}

void manager_resync(struct manager *manager)
{
	struct kernel *kernel, *next;

	for (kernel = TAILQ_FIRST(&manager->kernels); kernel; kernel = next) {
		next = TAILQ_NEXT(kernel, entry);
		kernel_settle(kernel);
	}
}

/*
 * The verbs.
 */

/* Keeps the number of kernels that are only remembered within RECORDS_MAX. */
static void forget_oldest(struct manager *manager)
{
	struct kernel *kernel, *oldest = NULL;
	unsigned n = 0;

	TAILQ_FOREACH(kernel, &manager->kernels, entry) {
		if (state_is_active(kernel->state) || kernel_holds_resources(kernel) || kernel->job)
			continue;
		if (!oldest)
			oldest = kernel;
		n++;
	}
	if (n > RECORDS_MAX) {
		log_info(
			"forgetting kernel %s: %u ended kernels are remembered, which is the limit",
			oldest->name, RECORDS_MAX);
		kernel_forget(oldest);
	}
}

int manager_check_name_free(struct manager *manager, const char *name, struct popcorn_error *error)
{
	struct kernel *kernel = manager_find_kernel(manager, name);

	if (!kernel)
		return 0;
	if (kernel->job && kernel->job->type != JOB_BOOT && !state_is_active(kernel->state))
		return popcorn_error_set(
			error, POPCORN_ERROR_BUSY,
			"kernel %s has a %s job under way; try again when it has ended", name,
			job_type_to_string(kernel->job->type));
	if (kernel->job || state_is_active(kernel->state))
		return popcorn_error_set(error, POPCORN_ERROR_NAME_TAKEN,
					 "kernel %s is %s; choose another name, or stop it first",
					 name, state_to_string(kernel->state));
	return 0;
}

/* A queued boot job. What the kernel had is released by the job, so only then nothing is claimed. */
static int new_boot(struct manager *manager, const char *name, const struct kernel_def *def,
		    bool from_file, const struct origin *origin, uid_t uid, struct job **ret,
		    struct popcorn_error *error)
{
	struct kernel *kernel = manager_find_kernel(manager, name);
	struct kernel_def *copy = NULL;
	bool is_new = !kernel;
	struct job *job;
	int r;

	r = manager_need_driver(manager, error);
	if (r < 0)
		return r;
	if (is_new) {
		r = kernel_new(manager, name, &kernel);
		if (r < 0)
			return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	}
	r = job_new(kernel, JOB_BOOT, uid, origin && origin->parent, &job, error);
	if (r < 0) {
		if (is_new)
			kernel_free(kernel);
		return r;
	}
	job->parent = origin ? origin->parent : 0;
	if (kernel_def_copy(def, &job->def) < 0 || kernel_def_copy(def, &copy) < 0) {
		r = popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
		goto undo;
	}
	if (!kernel_holds_resources(kernel) && kernel->job == job) {
		r = resources_claim(manager->resources, name, def, &job->work.new_claim, error);
		if (r < 0)
			goto undo;
	}

	kernel_set_def(kernel, steal_ptr(copy), from_file);
	snprintf(kernel->policy, sizeof(kernel->policy), "%s", origin ? origin->policy : "");
	kernel->policy_digest = origin ? origin->policy_digest : 0;
	if (job->work.new_claim)
		kernel_show_claim(kernel, job->work.new_claim);
	kernel_announce(kernel);
	job_emit_new(job);
	if (kernel->job == job)
		kernel_set_state(kernel, POPCORN_STATE_RESERVED, POPCORN_REASON_REQUESTED, NULL);
	forget_oldest(manager);
	*ret = job;
	return 0;
undo:
	kernel_def_free(copy);
	job_free(job);
	if (is_new)
		kernel_free(kernel);
	return r;
}

int manager_boot_for(struct manager *manager, const struct origin *origin, const char *name,
		     const struct kernel_def *def, uid_t uid, struct job **ret,
		     struct popcorn_error *error)
{
	int r = manager_check_name_free(manager, name, error);

	return r < 0 ? r : new_boot(manager, name, def, false, origin, uid, ret, error);
}

int manager_boot(struct manager *manager, const char *name, const struct kernel_def *def,
		 struct boot_files **files, uid_t uid, struct job **ret,
		 struct popcorn_error *error)
{
	struct job *job;
	int r;

	r = manager_boot_for(manager, NULL, name, def, uid, &job, error);
	if (r < 0)
		return r;
	job->files = steal_ptr(*files);
	/* The caller replies with the job; what fails from here on is told by the job. */
	*ret = job;
	return 0;
}

/* The job that boots a kernel which has one, started; NULL if it runs. -ENOENT: it does neither. */
static int launch_known(struct manager *manager, const char *name, struct job **ret)
{
	struct kernel *kernel = manager_find_kernel(manager, name);
	struct job *job = kernel ? kernel->next_job ?: kernel->job : NULL;
	uint32_t id;

	if (job && job->type == JOB_BOOT) {
		id = job->id;
		if (job->state == JOB_QUEUED && kernel->job == job)
			job_start(job);
		else
			job_launched(job);
		/* It may have failed at once; what became of the kernel says why. */
		*ret = manager_find_job(manager, id);
		return 0;
	}
	if (kernel && state_is_active(kernel->state)) {
		*ret = NULL;
		return 0;
	}
	return -ENOENT;
}

int manager_launch(struct manager *manager, const char *name, struct job **ret,
		   struct kernel_def **ret_def, bool *ret_from_file, struct popcorn_error *error)
{
	struct popcorn_error no_file = {};
	struct kernel_def *def = NULL;
	struct kernel *kernel;
	bool again;
	int r;

	r = manager_need_driver(manager, error);
	if (r < 0)
		return r;
	if (launch_known(manager, name, ret) >= 0)
		return 0;

	/*
	 * A kernel that ended by itself is started again as it was; otherwise its file says what it
	 * is now. One without a file is booted as it was for as long as it is remembered.
	 */
	kernel = manager_find_kernel(manager, name);
	again = kernel && kernel->def && !kernel->def_from_file &&
		(kernel->state != POPCORN_STATE_STOPPED || kernel->reason == POPCORN_REASON_REBOOT);
	if (!again) {
		r = kernel_def_load(manager->config, manager->options->kernels_dir, name, &def,
				    &no_file);
		if (r >= 0) {
			if (kernel_def_settle(manager->config, def) < 0) {
				kernel_def_free(def);
				return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
			}
			*ret_def = def;
			*ret_from_file = true;
			return 1;
		}
		if (no_file.id != POPCORN_ERROR_NO_SUCH_KERNEL || !kernel || !kernel->def) {
			*error = no_file;
			return r;
		}
	}
	r = kernel_def_copy(kernel->def, &def);
	if (r < 0)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	*ret_def = def;
	*ret_from_file = false;
	return 1;
}

int manager_launch_as(struct manager *manager, const char *name, const struct kernel_def *def,
		      bool from_file, struct boot_files **files, struct job **ret,
		      struct popcorn_error *error)
{
	char policy[POPCORN_NAME_MAX] = "";
	struct origin origin = { .policy = policy };
	struct kernel *kernel;
	struct job *job;
	uint32_t id;
	int r;

	/* While the definition was checked, somebody may have been faster. */
	if (launch_known(manager, name, ret) >= 0)
		return 0;
	/* Started again as it was, it still is the policy's. */
	kernel = manager_find_kernel(manager, name);
	if (kernel && !from_file && *kernel->policy) {
		strcpy(policy, kernel->policy);
		origin.policy_digest = kernel->policy_digest;
	}
	r = new_boot(manager, name, def, from_file, *policy ? &origin : NULL, 0, &job, error);
	if (r < 0)
		return r;
	id = job->id;
	job->files = steal_ptr(*files);
	job_launched(job);
	if (job->kernel->job == job)
		job_start(job);
	*ret = manager_find_job(manager, id);
	return 0;
}

static int new_end(struct kernel *kernel, enum job_type type, uint64_t timeout_usec,
		   const struct origin *origin, uid_t uid, struct job **ret,
		   struct popcorn_error *error)
{
	struct manager *manager = kernel->manager;
	struct job *job, *before = kernel->job;
	int r;

	if (before && !job_can_be_superseded(before, type))
		return popcorn_error_set(
			error, POPCORN_ERROR_BUSY,
			"kernel %s has a %s job under way; try again when it has ended",
			kernel->name, job_type_to_string(before->type));
	if (!before && !state_is_active(kernel->state) && !kernel_holds_resources(kernel))
		return popcorn_error_set(error, POPCORN_ERROR_WRONG_STATE,
					 "kernel %s is %s already; nothing is to be done",
					 kernel->name, state_to_string(kernel->state));
	if (kernel_holds_resources(kernel)) {
		r = manager_need_driver(manager, error);
		if (r < 0)
			return r;
	}
	r = job_new(kernel, type, uid, origin != NULL, &job, error);
	if (r < 0)
		return r;
	job->parent = origin ? origin->parent : 0;
	job->timeout_usec = timeout_usec;
	job_emit_new(job);
	kernel_changed(kernel, "Job");
	*ret = job;
	return 0;
}

/* After the reply went out, so that the caller knows the job before he hears of its end. */
static void begin_end(struct job *job)
{
	struct kernel *kernel = job->kernel;

	if (kernel->job == job)
		job_start(job);
	else
		/* If it can't be cancelled any more, it ends soon. */
		job_cancel(kernel->job, NULL);
}

int manager_stop(struct manager *manager, struct kernel *kernel, uint64_t timeout_usec, uid_t uid,
		 struct job **ret, struct popcorn_error *error)
{
	return new_end(kernel, JOB_STOP, timeout_usec, NULL, uid, ret, error);
}

int manager_stop_for(struct manager *manager, const struct origin *origin, struct kernel *kernel,
		     uid_t uid, struct job **ret, struct popcorn_error *error)
{
	return new_end(kernel, JOB_STOP, 0, origin, uid, ret, error);
}

int manager_kill(struct manager *manager, struct kernel *kernel, uid_t uid, struct job **ret,
		 struct popcorn_error *error)
{
	return new_end(kernel, JOB_KILL, 0, NULL, uid, ret, error);
}

int manager_release(struct manager *manager, struct kernel *kernel, uid_t uid, struct job **ret,
		    struct popcorn_error *error)
{
	return manager_release_for(manager, NULL, kernel, uid, ret, error);
}

int manager_release_for(struct manager *manager, const struct origin *origin, struct kernel *kernel,
			uid_t uid, struct job **ret, struct popcorn_error *error)
{
	struct job *job;
	int r;

	if (kernel->job)
		return popcorn_error_set(
			error, POPCORN_ERROR_BUSY,
			"kernel %s has a %s job under way; try again when it has ended",
			kernel->name, job_type_to_string(kernel->job->type));
	if (state_is_active(kernel->state))
		return popcorn_error_set(error, POPCORN_ERROR_WRONG_STATE,
					 "kernel %s is %s; stop or kill it first", kernel->name,
					 state_to_string(kernel->state));
	r = job_new(kernel, JOB_RELEASE, uid, origin != NULL, &job, error);
	if (r < 0)
		return r;
	job->parent = origin ? origin->parent : 0;
	job->forget = true;
	job_emit_new(job);
	*ret = job;
	return 0;
}

void manager_begin(struct job *job)
{
	struct popcorn_error error = {};

	if (job->type != JOB_BOOT) {
		begin_end(job);
		return;
	}
	if (job->kernel->job != job)
		return;
	if (job->manager->options->no_units) {
		job_start(job);
		return;
	}
	if (unit_start(job) < 0) {
		popcorn_error_set(&error, POPCORN_ERROR_UNIT, "systemd can't be asked to start %s",
				  job->kernel->unit);
		job_fail(job, &error);
		return;
	}
	/* Starting a unit takes as long as reserving and loading, which nobody has to wait for. */
	if (!kernel_holds_resources(job->kernel))
		job_start_early(job);
}

/*
 * Running and ending.
 */

/* Must this job have ended before popcornd may? The others are taken up by the next popcornd. */
static bool must_end(const struct job *job)
{
	if (!job->task)
		return false;
	switch (job->type) {
	case JOB_BOOT:
		return strcmp(job->shown_step, "start") != 0 &&
		       strcmp(job->shown_step, "kernel") != 0 &&
		       strcmp(job->shown_step, "agent") != 0;
	case JOB_STOP:
		return strcmp(job->shown_step, "release") == 0;
	case JOB_KILL:
	case JOB_RELEASE:
		return true;
	case JOB_APPLY:
		return false; /* the next popcornd goes on from its file */
	}
	return true;
}

void manager_job_gone(struct manager *manager)
{
	struct job *job;

	/* Boot images came and went: give the pages back that they needed. */
	if (TAILQ_EMPTY(&manager->jobs) && manager->n_requests == 0) {
		malloc_trim(0);
		free_configs(manager->configs->older);
		manager->configs->older = NULL;
	}
	forget_oldest(manager);
	if (!manager->stopping)
		return;
	TAILQ_FOREACH(job, &manager->jobs, entry)
		if (must_end(job))
			return;
	sd_event_exit(manager->event, 0);
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info,
			void *userdata)
{
	struct manager *manager = userdata;
	const uint64_t one = 1;
	struct job *job;

	manager->stopping = true;
	sd_notify(false, "STOPPING=1\nSTATUS=Kernels keep running.");
	/* A boot that has not started its kernel yet is undone; it could only be undone later. */
	TAILQ_FOREACH(job, &manager->jobs, entry)
		if (job->type == JOB_BOOT && must_end(job) && !job->cancelled) {
			job->cancelled = true;
			if (write(job->cancel_fd, &one, sizeof(one)) < 0)
				log_warning("job %u can't be cancelled: %m", job->id);
		}
	manager_job_gone(manager);
	return 0;
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct manager *manager = userdata;
	struct popcorn_error error = {};
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)ts.tv_sec * 1000000 + (unsigned long long)ts.tv_nsec / 1000);
	if (load_config(manager, &error) < 0) {
		log_send(LOG_ERR,
			 &(struct log_fields){ .id = LOG_ID_CONFIG,
					       .error = popcorn_error_name(error.id) },
			 "the configuration stays as it was: %s", error.text);
		sd_notify(
			false,
			"READY=1\nSTATUS=The configuration has an error; the one before is used.");
		return 0;
	}
	if (manager->resources)
		resources_set_config(manager->resources, manager->config);
	if (network_reload(manager->network, &manager->config->network) < 0)
		log_error("out of memory: the configuration of the network stays as it was");
	log_info("the configuration was read again");
	sd_notify(false, "READY=1\nSTATUS=");
	return 0;
}

int manager_new(const struct manager_options *options, struct manager **ret,
		struct popcorn_error *error)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct popcorn_error no_driver = {};
	struct manager *manager;
	sigset_t mask;
	int r;

	manager = calloc(1, sizeof(*manager));
	if (!manager)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	manager->options = options;
	TAILQ_INIT(&manager->kernels);
	TAILQ_INIT(&manager->jobs);
	LIST_INIT(&manager->requests);

	r = load_config(manager, error);
	if (r < 0)
		goto fail;
	r = network_new(&manager->config->network, options->run, options->network_ops,
			options->network_system, &manager->network, error);
	if (r < 0)
		goto fail;
	r = sd_event_default(&manager->event);
	if (r < 0)
		goto fail_errno;
	/* Blocked before the first thread, which inherits it. */
	sigemptyset(&mask);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&mask, signals[i]);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(signals) && r >= 0; i++)
		r = sd_event_add_signal(manager->event, NULL, signals[i],
					signals[i] == SIGHUP ? on_reload : on_terminate, manager);
	if (r >= 0)
		r = sd_event_set_watchdog(manager->event, true);
	if (r < 0)
		goto fail_errno;

	/* Without it, as without root, there is no network either. */
	if (network_watch_new(manager->event, manager->network, &manager->network_watch) < 0)
		log_info("nobody watches the rules of the network between kernels");
	r = record_load_all(manager);
	if (r < 0) {
		popcorn_error_set_errno(error, r, "can't read the records in %s/kernels",
					options->run);
		goto fail;
	}
	r = options->session_bus ? sd_bus_open_user(&manager->bus)
				 : sd_bus_open_system(&manager->bus);
	if (r >= 0)
		r = sd_bus_attach_event(manager->bus, manager->event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = manager_bus_init(manager);
	if (r >= 0)
		r = unit_init(manager);
	if (r < 0) {
		popcorn_error_set_errno(error, r, "can't serve on the bus");
		goto fail;
	}

	/* Before the name is taken: whoever finds the name finds the kernels. */
	if (manager_need_driver(manager, &no_driver) < 0) {
		log_send(LOG_WARNING,
			 &(struct log_fields){ .id = LOG_ID_DRIVER,
					       .error = popcorn_error_name(no_driver.id) },
			 "going on without the driver: %s", no_driver.text);
		/* A driver of another version may well have kernels. */
		if (no_driver.id == POPCORN_ERROR_NO_DRIVER)
			recover(manager);
	}
	r = sd_bus_request_name(manager->bus, BUS_NAME, 0);
	if (r < 0) {
		popcorn_error_set_errno(error, r, "can't have the name " BUS_NAME " on the bus");
		goto fail;
	}
	*ret = manager;
	return 0;
fail_errno:
	popcorn_error_set_errno(error, r, "can't make the event loop");
fail:
	manager_free(manager);
	return r;
}

struct manager *manager_free(struct manager *manager)
{
	struct kernel *kernel;
	struct job *job;

	while (!LIST_EMPTY(&manager->requests))
		request_free(LIST_FIRST(&manager->requests));
	while ((job = TAILQ_FIRST(&manager->jobs)))
		job_free(job);
	while ((kernel = TAILQ_FIRST(&manager->kernels)))
		kernel_free(kernel);
	events_free(manager->events);
	talk_free(manager->talk);
	network_watch_free(manager->network_watch);
	network_free(manager->network);
	resources_free(manager->resources);
	driver_free(manager->driver);
	free_configs(manager->configs);
	sd_bus_flush_close_unref(manager->bus);
	sd_event_unref(manager->event);
	free(manager);
	return NULL;
}

int manager_run(struct manager *manager)
{
	sd_notify(false, "READY=1");
	return sd_event_loop(manager->event);
}

bool manager_has_threads(const struct manager *manager)
{
	const struct job *job;

	TAILQ_FOREACH(job, &manager->jobs, entry)
		if (job->task)
			return true;
	return manager->n_requests > 0 || talk_has_threads(manager->talk);
}
