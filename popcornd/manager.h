/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The daemon: one event loop, the kernels, the jobs, the bus, the driver. Blocking work is done in
 * tasks (task.h); everything declared here is called from the loop only.
 *
 *	driver events ──▶ events.c ──▶ manager_event() ──▶ kernel_settle()
 *	D-Bus ──▶ *-dbus.c ──▶ authorize() ──▶ manager_boot() … ──▶ job.c ──▶ operations.h (thread)
 *	systemd ◀── StartUnit, StopUnit ── unit.c
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "config.h"
#include "driver.h"
#include "network.h"
#include "operations.h"
#include "resources.h"

#define BUS_NAME "org.popcornlinux.Popcorn1"
#define BUS_PATH "/org/popcornlinux/Popcorn1"
#define BUS_KERNEL_PATH BUS_PATH "/kernel"
#define BUS_JOB_PATH BUS_PATH "/job"
#define MANAGER_INTERFACE BUS_NAME ".Manager"
#define KERNEL_INTERFACE BUS_NAME ".Kernel"
#define JOB_INTERFACE BUS_NAME ".Job"

/*
 * What clients can make grow. A job is a thread and the memory of a boot image; a record without
 * a kernel is up to 512 KiB of saved logs in /run; a waiting request is a message and, if it looks
 * at images, a thread.
 */
#define JOBS_MAX 64
#define JOBS_PER_USER_MAX 16
#define RECORDS_MAX 64
#define REQUESTS_MAX 64
#define REQUESTS_PER_USER_MAX 16

/* What is kept of a console and of a kernel log after the kernel's memory is gone. */
#define SAVED_CONSOLE_MAX (256U * 1024)
#define SAVED_LOG_MAX (256U * 1024)

struct manager_options {
	bool session_bus;	  /* instead of the system bus */
	bool no_units;		  /* boot without systemd: no leader, no console in the journal */
	const char *config_path;  /* NULL = installed */
	const char *kernels_dir;  /* NULL = installed */
	const char *policies_dir; /* NULL = the installed ones */
	const char *sysfs;	  /* "" */
	const char *run;	  /* "/run/popcorn" */
	/* driver_open(), or a test's */
	int (*open_driver)(struct driver **ret, struct popcorn_error *error);
	/* A test's, or NULL: the system itself */
	const struct network_ops *network_ops;
	void *network_system;
};

/* The configuration, and those before it that threads may still look at. */
struct config_list {
	struct config *config;
	struct config_list *older;
};

struct kernel;
struct job;
struct request;
struct events;
struct talk;

TAILQ_HEAD(kernel_list, kernel);
TAILQ_HEAD(job_list, job);
LIST_HEAD(request_list, request);

struct manager {
	const struct manager_options *options;
	sd_event *event;
	sd_bus *bus;
	struct config_list *configs;
	const struct config *config; /* the newest one */
	/* Both NULL until the driver is there. */
	struct driver *driver;
	struct resources *resources;
	struct events *events;
	struct talk *talk; /* NULL until a kernel's state has changed */
	struct network *network;
	struct network_watch *network_watch; /* NULL: nobody watches its rules */
	struct kernel_list kernels;	     /* oldest first */
	struct job_list jobs;
	struct request_list requests;
	unsigned n_jobs, n_requests;
	uint32_t last_job_id;
	unsigned last_server; /* the number of the last server of files */
	struct job *apply;    /* the one Apply that is under way, or NULL */
	bool stopping;	      /* SIGTERM: no new jobs; ends when the last job that must end has */
};

/* Everything up to a served bus name; the driver may come later. */
int manager_new(const struct manager_options *options, struct manager **ret,
		struct popcorn_error *error);
struct manager *manager_free(struct manager *manager);
int manager_run(struct manager *manager);
/* Threads still work: what they use must not be freed. */
bool manager_has_threads(const struct manager *manager);

/* The driver and the resources, if need be after another try. NO_DRIVER, DRIVER_ABI. */
int manager_need_driver(struct manager *manager, struct popcorn_error *error);

struct kernel *manager_find_kernel(struct manager *manager, const char *name);
struct job *manager_find_job(struct manager *manager, uint32_t id);

/* A state change in the driver; @state 0 = the kernel was released there. */
struct driver_event {
	uint32_t id, generation;
	const char *name;
	uint32_t state, reason;
};

void manager_event(struct manager *manager, const struct driver_event *event);
/* Events were lost, or nobody knows: asks the driver about every kernel. */
void manager_resync(struct manager *manager);

/*
 * The verbs, after authorization. @uid is who pays for the job. Boot's @def is copied, the @files
 * that its check has read are taken. The kernel is not started before its leader launches it.
 */
int manager_check_name_free(struct manager *manager, const char *name, struct popcorn_error *error);
int manager_boot(struct manager *manager, const char *name, const struct kernel_def *def,
		 struct boot_files **files, uid_t uid, struct job **ret,
		 struct popcorn_error *error);
/* Jobs that an Apply makes, or else a policy; they don't count for the user. */
struct origin {
	uint32_t parent;    /* job, or 0 */
	const char *policy; /* of the kernel from then on */
	uint64_t policy_digest;
};
int manager_boot_for(struct manager *manager, const struct origin *origin, const char *name,
		     const struct kernel_def *def, uid_t uid, struct job **ret,
		     struct popcorn_error *error);
int manager_stop_for(struct manager *manager, const struct origin *origin, struct kernel *kernel,
		     uid_t uid, struct job **ret, struct popcorn_error *error);
int manager_release_for(struct manager *manager, const struct origin *origin, struct kernel *kernel,
			uid_t uid, struct job **ret, struct popcorn_error *error);
/*
 * For the leader of @name's unit. 0: *ret is the job that boots it, NULL if it runs already.
 * 1: it is to be booted as *ret_def says, which the caller checks (boot_check()) and gives to
 * manager_launch_as().
 */
int manager_launch(struct manager *manager, const char *name, struct job **ret,
		   struct kernel_def **ret_def, bool *ret_from_file, struct popcorn_error *error);
int manager_launch_as(struct manager *manager, const char *name, const struct kernel_def *def,
		      bool from_file, struct boot_files **files, struct job **ret,
		      struct popcorn_error *error);
int manager_stop(struct manager *manager, struct kernel *kernel, uint64_t timeout_usec, uid_t uid,
		 struct job **ret, struct popcorn_error *error);
int manager_kill(struct manager *manager, struct kernel *kernel, uid_t uid, struct job **ret,
		 struct popcorn_error *error);
int manager_release(struct manager *manager, struct kernel *kernel, uid_t uid, struct job **ret,
		    struct popcorn_error *error);
/* Starts what the three above and manager_boot() made; the job may be gone afterwards. */
void manager_begin(struct job *job);
/* Called when a job has ended and is gone: goes on with SIGTERM. */
void manager_job_gone(struct manager *manager);

/* policy-dbus.c */
int method_plan(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_apply(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_get_topology(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_list_policies(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_get_policy(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* manager-dbus.c */
int manager_bus_init(struct manager *manager);
/* Replies @error, or a plain errno if it has no name. Always 1 or a failure of the bus. */
int bus_reply_error(sd_bus_message *message, const struct popcorn_error *error, int r);
/* With the manager as userdata, on either interface. */
int bus_method_stop(sd_bus_message *message, void *userdata, sd_bus_error *error);
int bus_method_kill(sd_bus_message *message, void *userdata, sd_bus_error *error);
int bus_method_release(sd_bus_message *message, void *userdata, sd_bus_error *error);
/*
 * Options, a{sv}: @read gets each, and reads its value. INVALID_ARGUMENT: of a wrong type
 * (bus_check_option()), or in a way that @what says ("is empty").
 */
typedef int (*bus_option_function)(sd_bus_message *message, const char *option, void *userdata,
				   struct popcorn_error *error);
int bus_read_options(sd_bus_message *message, bus_option_function read, void *userdata,
		     struct popcorn_error *error);
int bus_check_option(sd_bus_message *message, const char *option, const char *type,
		     struct popcorn_error *error);
int bus_invalid_option(const char *option, const char *what, struct popcorn_error *error);
/* As UTF-8: bytes that are none are shown as '?'. */
int bus_append_text(sd_bus_message *message, const char *text);
/* For an enumerator of paths: one more of @n, with a NULL behind; NULL if there are none. -ENOMEM: all are freed. */
int bus_add_path(char ***paths, size_t *n, const char *path);

/*
 * polkit.c: the one choke point of everything that changes something.
 *
 * @then is called when the caller may: at once for root, later for others. It replies and returns
 * >= 0, or returns < 0 with @error set, which is then replied. @name is the kernel's, given to
 * polkit as detail "kernel".
 */
#define ACTION_BOOT "org.popcornlinux.popcorn1.boot"
#define ACTION_STOP "org.popcornlinux.popcorn1.stop"
#define ACTION_CONSOLE "org.popcornlinux.popcorn1.console"
#define ACTION_APPLY "org.popcornlinux.popcorn1.apply" /* @name is the policy's, detail "policy" */

typedef int (*authorized_function)(struct manager *manager, sd_bus_message *message, uid_t uid,
				   struct popcorn_error *error);
int authorize(struct manager *manager, sd_bus_message *message, const char *action,
	      const char *name, authorized_function then);
/* Is the caller root (or, on a session bus, this very user)? */
int sender_is_root(sd_bus_message *message, uid_t *ret_uid);

/*
 * A method call that is answered later: it waits for polkit or for a thread. Counted, so that
 * nobody can pile up any number of them. LIMIT.
 */
struct request {
	LIST_ENTRY(request) entry;
	struct manager *manager;
	sd_bus_message *message;
	uid_t uid;
	sd_bus_slot *slot;
	const char *action; /* ACTION_* */
	authorized_function then;
};
int request_new(struct manager *manager, sd_bus_message *message, uid_t uid, struct request **ret,
		struct popcorn_error *error);
struct request *request_free(struct request *request);

/* events.c. -ENODEV: the driver's netlink family is not there. */
int events_new(struct manager *manager, struct events **ret);
struct events *events_free(struct events *events);
/* Handles what has arrived already. */
void events_drain(struct events *events);

/* unit.c: the unit of a boot job. */
int unit_start(struct job *job);
/* @then (may be NULL) is called with the job's id when systemd has taken the request or refused. */
void unit_stop(struct manager *manager, const char *unit, uint32_t job_id,
	       void (*then)(struct manager *manager, uint32_t job_id));
int unit_init(struct manager *manager);

/* network-watch.c: rules that somebody throws away are made again. -EIO: no right to look. */
struct network_watch;
int network_watch_new(sd_event *event, struct network *network, struct network_watch **ret);
struct network_watch *network_watch_free(struct network_watch *watch);
