// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "job.h"
#include "kernel.h"
#include "log.h"
#include "servers.h"
#include "util.h"

#define HISTORY_TEXT_MAX 256
#define NSEC_PER_USEC UINT64_C(1000)

static uint64_t clock_usec(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}

bool state_is_active(enum popcorn_state state)
{
	switch (state) {
	case POPCORN_STATE_RESERVED:
	case POPCORN_STATE_LOADING:
	case POPCORN_STATE_BOOTING:
	case POPCORN_STATE_RUNNING:
	case POPCORN_STATE_STOPPING:
		return true;
	case POPCORN_STATE_STOPPED:
	case POPCORN_STATE_CRASHED:
	case POPCORN_STATE_FAILED:
		return false;
	}
	return false;
}

bool kernel_holds_resources(const struct kernel *kernel)
{
	return kernel->fd >= 0 || kernel->claim;
}

int kernel_new(struct manager *manager, const char *name, struct kernel **ret)
{
	struct kernel *kernel;

	kernel = calloc(1, sizeof(*kernel));
	if (!kernel)
		return -ENOMEM;
	kernel->manager = manager;
	kernel->created = clock_usec(CLOCK_REALTIME);
	kernel->fd = -1;
	kernel->state = POPCORN_STATE_STOPPED;
	kernel->name = strdup(name);
	if (!kernel->name || asprintf(&kernel->unit, "popcorn@%s.service", name) < 0 ||
	    sd_bus_path_encode(BUS_KERNEL_PATH, name, &kernel->path) < 0) {
		free(kernel->name);
		free(kernel->unit);
		free(kernel);
		return -ENOMEM;
	}
	TAILQ_INSERT_TAIL(&manager->kernels, kernel, entry);
	*ret = kernel;
	return 0;
}

struct kernel *kernel_free(struct kernel *kernel)
{
	TAILQ_REMOVE(&kernel->manager->kernels, kernel, entry);
	for (size_t i = 0; i < kernel->n_history; i++)
		free(kernel->history[i].text);
	kernel_set_fd(kernel, -1);
	claim_free(kernel->claim);
	kernel_def_free(kernel->def);
	free(kernel->cpus);
	free(kernel->ranges);
	free(kernel->text);
	free(kernel->name);
	free(kernel->unit);
	free(kernel->path);
	free(kernel);
	return NULL;
}

void kernel_announce(struct kernel *kernel)
{
	sd_bus *bus = kernel->manager->bus;

	if (kernel->announced)
		return;
	kernel->announced = true;
	sd_bus_emit_object_added(bus, kernel->path);
	sd_bus_emit_signal(bus, BUS_PATH, MANAGER_INTERFACE, "KernelNew", "so", kernel->name,
			   kernel->path);
}

void kernel_forget(struct kernel *kernel)
{
	sd_bus *bus = kernel->manager->bus;

	record_remove(kernel);
	if (kernel->announced) {
		/* While it can still be found: sd-bus asks for its interfaces. */
		sd_bus_emit_object_removed(bus, kernel->path);
		sd_bus_emit_signal(bus, BUS_PATH, MANAGER_INTERFACE, "KernelRemoved", "so",
				   kernel->name, kernel->path);
	}
	kernel_free(kernel);
}

void kernel_set_def(struct kernel *kernel, struct kernel_def *def, bool from_file)
{
	kernel_def_free(kernel->def);
	kernel->def = def;
	kernel->def_from_file = from_file;
}

void kernel_save(const struct kernel *kernel)
{
	int r = record_write(kernel);

	if (r < 0)
		log_warning("can't write the record of kernel %s, which would be lost if popcornd "
			    "ended now: %s",
			    kernel->name, strerror(-r));
}

void kernel_changed(struct kernel *kernel, const char *property)
{
	const char *properties[] = { property, NULL };

	if (kernel->announced)
		kernel_emit_changed(kernel, properties);
}

static void add_history(struct kernel *kernel, uint64_t time)
{
	struct history_entry *entry;

	if (kernel->n_history == HISTORY_MAX) {
		free(kernel->history[0].text);
		memmove(&kernel->history[0], &kernel->history[1],
			(HISTORY_MAX - 1) * sizeof(kernel->history[0]));
		kernel->n_history--;
	}
	entry = &kernel->history[kernel->n_history++];
	entry->time = time;
	entry->state = kernel->state;
	entry->reason = kernel->reason;
	/* NULL is shown as an empty text: the history may lose words, not steps. */
	entry->text = strndup(kernel->text ?: "", HISTORY_TEXT_MAX);
}

/* When it has ended, however that came. */
static void end_network(struct kernel *kernel)
{
	struct popcorn_error error = {};

	if (network_detach(kernel->manager->network, kernel->name, &error) < 0)
		log_error("kernel %s: not all of its network could be removed: %s", kernel->name,
			  error.text);
}

void kernel_set_state(struct kernel *kernel, enum popcorn_state state, enum popcorn_reason reason,
		      const char *text)
{
	static const char *const properties[] = { "State",   "Reason",	 "ReasonText",	 "History",
						  "Id",	     "Cpus",	 "MemoryRanges", "Memory",
						  "Version", "BootTime", "Policy",	 "Network",
						  "Address", NULL };
	enum popcorn_state old = kernel->state;
	bool crashed = state == POPCORN_STATE_CRASHED;
	uint64_t now = clock_usec(CLOCK_REALTIME);
	char *copy;

	if (!text || !*text)
		text = reason_to_text(reason);
	if (kernel->n_history > 0 && kernel->state == state && kernel->reason == reason)
		return;
	copy = strdup(text);
	free(kernel->text);
	kernel->text = copy;
	kernel->state = state;
	kernel->reason = reason;
	add_history(kernel, now);
	if (!state_is_active(state)) {
		end_network(kernel);
		servers_stop(kernel->manager, kernel->name);
	}
	/* Before anybody hears of it: what was said must be so after a crash of popcornd, too. */
	kernel_save(kernel);
	log_send(crashed || state == POPCORN_STATE_FAILED ? LOG_ERR : LOG_INFO,
		 &(struct log_fields){ .id = crashed ? LOG_ID_CRASHED : LOG_ID_STATE,
				       .kernel = kernel->name,
				       .state = state_to_string(state),
				       .reason = reason_to_string(reason),
				       .job = kernel->job ? kernel->job->id : 0 },
		 "kernel %s is %s: %s", kernel->name, state_to_string(state), text);
	talk_look(kernel->manager);
	if (!kernel->announced)
		return;
	kernel_emit_changed(kernel, properties);

	_cleanup_(sd_bus_message_unrefp) sd_bus_message *signal = NULL;

	if (sd_bus_message_new_signal(kernel->manager->bus, &signal, BUS_PATH, MANAGER_INTERFACE,
				      "StateChanged") < 0 ||
	    sd_bus_message_append(signal, "sosss", kernel->name, kernel->path, state_to_string(old),
				  state_to_string(state), reason_to_string(reason)) < 0 ||
	    bus_append_text(signal, text) < 0 || sd_bus_message_append(signal, "t", now) < 0)
		return;
	sd_bus_send(NULL, signal, NULL);
}

void kernel_show_claim(struct kernel *kernel, const struct claim *claim)
{
	size_t n;
	const uint32_t *cpus = claim_cpus(claim, &n);
	uint32_t *copy = malloc((n + 1) * sizeof(*copy));

	if (!copy)
		return; /* shown when the driver knows them */
	memcpy(copy, cpus, n * sizeof(*copy));
	free(kernel->cpus);
	kernel->cpus = copy;
	kernel->n_cpus = n;
	kernel->memory = kernel->def ? kernel->def->memory : 0;
}

static int on_poll(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct kernel *kernel = userdata;

	/* After RELEASE it would say so again and again. */
	if (revents & (EPOLLHUP | EPOLLERR))
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	kernel_settle(kernel);
	return 0;
}

void kernel_set_fd(struct kernel *kernel, int fd)
{
	kernel->source = sd_event_source_disable_unref(kernel->source);
	if (kernel->fd >= 0)
		close(kernel->fd);
	kernel->fd = fd;
	if (fd < 0 || kernel->manager->events)
		return;
	/* The second way by which the driver tells of changes, and the only one in a network namespace. */
	if (sd_event_add_io(kernel->manager->event, &kernel->source, fd, EPOLLPRI, on_poll,
			    kernel) < 0)
		log_warning("kernel %s can't be watched: its end is noticed when it is asked for",
			    kernel->name);
}

/* Is the open descriptor that of the kernel with our name? */
static bool is_named(struct driver *driver, int fd, const char *name)
{
	struct popcorn_status status;
	bool same;

	if (driver->ops->status(driver, fd, &status) < 0)
		return false;
	same = strcmp(status.name, name) == 0;
	driver_status_done(&status);
	return same;
}

int kernel_attach(struct kernel *kernel, uint32_t id)
{
	struct driver *driver = kernel->manager->driver;
	_cleanup_free_ uint32_t *ids = NULL;
	size_t n = 1;
	int r;

	if (!driver)
		return -ENODEV;
	if (id == 0) {
		r = driver->ops->list(driver, &ids, &n);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < n; i++) {
		int fd;

		/* Ids are reused: only the name says that it is ours. */
		if (driver->ops->open(driver, ids ? ids[i] : id, &fd) < 0)
			continue;
		if (is_named(driver, fd, kernel->name)) {
			kernel_set_fd(kernel, fd);
			return 0;
		}
		close(fd);
	}
	return -ENOENT;
}

void kernel_detach(struct kernel *kernel)
{
	kernel_set_fd(kernel, -1);
	kernel->claim = claim_free(kernel->claim);
	kernel->id = 0;
	free(kernel->cpus);
	kernel->cpus = NULL;
	kernel->n_cpus = 0;
	free(kernel->ranges);
	kernel->ranges = NULL;
	kernel->n_ranges = 0;
	kernel->memory = 0;
}

int kernel_read(struct kernel *kernel, enum popcorn_state *ret_state,
		enum popcorn_reason *ret_reason, char **ret_text)
{
	struct driver *driver = kernel->manager->driver;
	struct popcorn_status status;
	char *text = NULL;
	int r;

	if (kernel->fd < 0 || !driver)
		return -ENODEV;
	r = driver->ops->status(driver, kernel->fd, &status);
	if (r < 0)
		return r;
	if (status.text[0]) {
		text = strdup(status.text);
		if (!text) {
			driver_status_done(&status);
			return -ENOMEM;
		}
	}
	if (kernel->generation != status.generation) {
		kernel->generation = status.generation;
		kernel->boot_time = 0;
		kernel->release[0] = '\0';
		/* How often its servers were begun again: those of this life. */
		memset(kernel->server_starts, 0, sizeof(kernel->server_starts));
	}
	kernel->id = status.id;
	/* While it is being put together, what was claimed says more. */
	if (status.state != POPCORN_STATE_RESERVED) {
		free(kernel->cpus);
		kernel->cpus = (uint32_t *)(uintptr_t)status.cpus;
		kernel->n_cpus = status.nr_cpus;
		status.cpus = 0;
		free(kernel->ranges);
		kernel->ranges = (struct popcorn_range *)(uintptr_t)status.ranges;
		kernel->n_ranges = status.nr_ranges;
		status.ranges = 0;
		kernel->memory = 0;
		for (size_t i = 0; i < kernel->n_ranges; i++)
			kernel->memory += kernel->ranges[i].length;
	}
	snprintf(kernel->release, sizeof(kernel->release), "%s", status.release);
	if (status.times[POPCORN_TIME_ENTERED]) {
		kernel->entered_usec = status.times[POPCORN_TIME_ENTERED] / NSEC_PER_USEC;
		/* Once: two clocks differ a little each time they are compared. */
		if (kernel->boot_time == 0)
			kernel->boot_time = clock_usec(CLOCK_REALTIME) -
					    (clock_usec(CLOCK_BOOTTIME) - kernel->entered_usec);
	}
	*ret_state = status.state;
	*ret_reason = status.reason;
	*ret_text = text;
	driver_status_done(&status);
	return 0;
}

/* What a running kernel's reason should read like, whatever the driver says about how it got there. */
static enum popcorn_reason active_reason(enum popcorn_state state, enum popcorn_reason reason)
{
	if (state == POPCORN_STATE_RUNNING)
		return POPCORN_REASON_CHECKED_IN;
	return reason == POPCORN_REASON_NONE ? POPCORN_REASON_REQUESTED : reason;
}

void kernel_follow(struct kernel *kernel)
{
	const struct job *job = kernel->job;
	enum popcorn_reason reason;
	enum popcorn_state state;
	_cleanup_free_ char *text = NULL;
	int r;

	r = kernel_read(kernel, &state, &reason, &text);
	if (r == -ENODEV && job->type == JOB_BOOT) {
		/* Not made yet, or the one before it was just released. */
		r = kernel_attach(kernel, 0);
		if (r >= 0)
			r = kernel_read(kernel, &state, &reason, &text);
	}
	if (r < 0)
		return;
	/* The one before the one that the job boots. */
	if (job->type == JOB_BOOT && !job->recovered && kernel->generation == job->old_generation)
		return;
	switch (state) {
	case POPCORN_STATE_RESERVED:
	case POPCORN_STATE_LOADING:
	case POPCORN_STATE_BOOTING:
	case POPCORN_STATE_RUNNING:
		if (job->type == JOB_BOOT)
			kernel_set_state(kernel, state, active_reason(state, reason), text);
		break;
	case POPCORN_STATE_STOPPING:
		kernel_set_state(kernel, state, active_reason(state, reason), text);
		break;
	case POPCORN_STATE_STOPPED:
	case POPCORN_STATE_CRASHED:
	case POPCORN_STATE_FAILED:
		/* Told when the job has put everything back. */
		kernel->end_reason = reason;
		break;
	}
}

static void start_internal(struct kernel *kernel, enum job_type type,
			   enum popcorn_state final_state, enum popcorn_reason final_reason,
			   const char *final_text)
{
	struct popcorn_error error = {};
	struct job *job;
	int r;

	r = job_new(kernel, type, 0, true, &job, &error);
	if (r < 0) {
		log_error("kernel %s: %s; 'popcornctl release %s' tries again", kernel->name,
			  error.text, kernel->name);
		return;
	}
	job->final_state = final_state;
	job->final_reason = final_reason;
	job->final_text = final_text ? strdup(final_text) : NULL;
	job->recovered = type == JOB_BOOT;
	job->launched = true;
	job_emit_new(job);
	job_start(job);
}

void kernel_settle(struct kernel *kernel)
{
	enum popcorn_reason reason;
	enum popcorn_state state;
	_cleanup_free_ char *text = NULL;
	int r;

	if (kernel->job) {
		kernel_follow(kernel);
		return;
	}
	if (kernel->fd < 0)
		return;
	r = kernel_read(kernel, &state, &reason, &text);
	if (r == -ENODEV) {
		/* Somebody used the driver past us. What is left is to give the memory back. */
		start_internal(kernel, JOB_RELEASE, POPCORN_STATE_FAILED, POPCORN_REASON_REQUESTED,
			       "it was released by another program than popcornd");
		return;
	}
	if (r < 0) {
		log_error("kernel %s: the driver does not say how it is: %s", kernel->name,
			  strerror(-r));
		return;
	}
	switch (state) {
	case POPCORN_STATE_RESERVED:
	case POPCORN_STATE_LOADING:
		start_internal(
			kernel, JOB_RELEASE, POPCORN_STATE_FAILED, POPCORN_REASON_CANCELLED,
			"popcornd ended while it prepared the kernel; everything was put back");
		break;
	case POPCORN_STATE_BOOTING:
		kernel_set_state(kernel, state, active_reason(state, reason), NULL);
		start_internal(kernel, JOB_BOOT, 0, 0, NULL);
		break;
	case POPCORN_STATE_RUNNING:
	case POPCORN_STATE_STOPPING:
		kernel_set_state(kernel, state, active_reason(state, reason), text);
		break;
	case POPCORN_STATE_STOPPED:
		kernel_set_state(kernel, POPCORN_STATE_STOPPING, reason, text);
		start_internal(kernel, JOB_RELEASE, 0, 0, NULL);
		break;
	case POPCORN_STATE_CRASHED:
	case POPCORN_STATE_FAILED:
		kernel_set_state(kernel, state, reason, text);
		break;
	}
}

void kernel_recover(struct kernel *kernel)
{
	enum popcorn_state recorded = kernel->state;
	enum popcorn_reason reason;
	enum popcorn_state state;
	_cleanup_free_ char *text = NULL;

	if (kernel->fd >= 0 && kernel_read(kernel, &state, &reason, &text) >= 0 &&
	    state == POPCORN_STATE_STOPPING && !kernel->job) {
		/* Nobody watches the time any more that it was given to shut down. */
		kernel_set_state(kernel, state, active_reason(state, reason), text);
		start_internal(kernel, JOB_STOP, 0, 0, NULL);
		return;
	}
	if (kernel->fd >= 0) {
		kernel_settle(kernel);
		return;
	}
	switch (recorded) {
	case POPCORN_STATE_RESERVED:
	case POPCORN_STATE_LOADING:
		/* Also when the driver had nothing of it yet. */
		kernel_set_state(
			kernel, POPCORN_STATE_FAILED, POPCORN_REASON_CANCELLED,
			"popcornd ended while it prepared the kernel; everything was put back");
		break;
	case POPCORN_STATE_STOPPING:
		/* Released, and popcornd ended before it could say so. */
		kernel_set_state(kernel, POPCORN_STATE_STOPPED, kernel->reason, NULL);
		break;
	case POPCORN_STATE_BOOTING:
	case POPCORN_STATE_RUNNING:
		kernel_set_state(kernel, POPCORN_STATE_FAILED, POPCORN_REASON_NONE,
				 "the driver does not know this kernel any more: the driver was "
				 "unloaded, or somebody released the kernel without popcornd");
		break;
	case POPCORN_STATE_STOPPED:
	case POPCORN_STATE_CRASHED:
	case POPCORN_STATE_FAILED:
		break;
	}
}
