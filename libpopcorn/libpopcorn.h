/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef _LIBPOPCORN_H
#define _LIBPOPCORN_H
/*
 * libpopcorn: start, stop and watch the kernels of a machine, through popcornd. See libpopcorn(3).
 *
 * Conventions, the same for every function:
 *
 *  - An int return is 0 or positive on success, a negative errno on failure. Outputs come last
 *    (ret_x) and are written only on success.
 *  - After a failure, popcorn_last_error_name() and _text() of the connection tell the named error
 *    (org.popcornlinux.Popcorn1.Error.*, see popcornd(8)) and what to tell the user.
 *  - Objects are opaque. What a getter returns belongs to the object and lives as long as it does.
 *    Strings are UTF-8, never NULL unless said so, "" when not known. Times are in microseconds,
 *    sizes in bytes. Every free and unref function takes NULL and returns NULL.
 *  - Nothing is thread-safe: use one connection per thread. Getters of kernels (struct
 *    popcorn_kernel) may be used from any thread.
 *  - Long work is a job: the call that starts it returns as soon as popcornd has accepted it.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef __GNUC__
#define _popcorn_public_
#else
#define _popcorn_public_ __attribute__((visibility("default")))
#endif

struct sd_bus;
struct popcorn;
struct popcorn_kernel;
struct popcorn_boot_options;
struct popcorn_job;
struct popcorn_event;

/* ---- the connection ---------------------------------------------------------------------- */

/* popcornd may ask the user for a password (polkit) and wait for it. */
#define POPCORN_CONNECT_INTERACTIVE (1U << 0)

/** popcorn_new - make a connection object that is not connected yet; NULL: out of memory. */
_popcorn_public_ struct popcorn *popcorn_new(void);
/** popcorn_ref - take another reference; returns @popcorn. */
_popcorn_public_ struct popcorn *popcorn_ref(struct popcorn *popcorn);
/** popcorn_unref - drop a reference; the last one closes the connection. */
_popcorn_public_ struct popcorn *popcorn_unref(struct popcorn *popcorn);

/**
 * popcorn_connect - connect to the system bus of this machine or, by ssh, of another
 * @host: NULL, or "[user@]host"
 * @flags: POPCORN_CONNECT_*
 *
 * popcornd itself is first spoken to, and started if need be, by the first call that needs it.
 * -EISCONN: connected already. -EINVAL: unknown flag. -ECONNREFUSED: no bus.
 */
_popcorn_public_ int popcorn_connect(struct popcorn *popcorn, const char *host, unsigned flags);

/** popcorn_last_error_name - D-Bus name of what failed last on this connection; "" before. */
_popcorn_public_ const char *popcorn_last_error_name(const struct popcorn *popcorn);
/** popcorn_last_error_text - what to tell the user: what was asked, what is so, what to do. */
_popcorn_public_ const char *popcorn_last_error_text(const struct popcorn *popcorn);
/** popcorn_strerror - the general text of a named error; NULL if the name is not known. */
_popcorn_public_ const char *popcorn_strerror(const char *error_name);

/**
 * popcorn_get_bus - the sd-bus connection below, for what this library has no call for
 *
 * Borrowed; NULL when not connected. Properties may be read and matches added; the description of
 * the interfaces is installed as org.popcornlinux.Popcorn1.xml. Do not close or flush it away.
 */
_popcorn_public_ struct sd_bus *popcorn_get_bus(struct popcorn *popcorn);

/*
 * For event loops: poll popcorn_get_fd() for popcorn_get_events() until popcorn_get_timeout(),
 * then call popcorn_process() until it returns 0. Each needs a connection (-ENOTCONN).
 */
_popcorn_public_ int popcorn_get_fd(struct popcorn *popcorn);
/** popcorn_get_events - POLLIN and POLLOUT as poll(2) wants them. */
_popcorn_public_ int popcorn_get_events(struct popcorn *popcorn);
/** popcorn_get_timeout - when to call popcorn_process() at the latest: CLOCK_MONOTONIC, or
 *  UINT64_MAX for never. */
_popcorn_public_ int popcorn_get_timeout(struct popcorn *popcorn, uint64_t *ret_usec);
/** popcorn_process - handle one message; 1: call again, 0: nothing more to do now.
 *  -ECONNRESET: the connection is gone. */
_popcorn_public_ int popcorn_process(struct popcorn *popcorn);
/** popcorn_wait - wait until popcorn_process() has something to do, or @timeout_usec is over
 *  (UINT64_MAX: never). 1: there is something, 0: time is over. -EINTR: a signal. */
_popcorn_public_ int popcorn_wait(struct popcorn *popcorn, uint64_t timeout_usec);

/* ---- popcornd and the machine ------------------------------------------------------------ */

/** popcorn_get_free - what could be lent to a kernel now: CPUs, and bytes of memory. */
_popcorn_public_ int popcorn_get_free(struct popcorn *popcorn, uint32_t *ret_cpus,
				      uint64_t *ret_memory);

/* ---- kernels ------------------------------------------------------------------------------ */

/**
 * popcorn_list_kernels - all kernels, by id, those without an id last
 * @ret: array of *@ret_n kernels, then NULL; to be freed by popcorn_kernels_free()
 * @ret_n: may be NULL
 *
 * A kernel object is a picture of that moment; it does not change.
 */
_popcorn_public_ int popcorn_list_kernels(struct popcorn *popcorn, struct popcorn_kernel ***ret,
					  size_t *ret_n);
_popcorn_public_ struct popcorn_kernel **popcorn_kernels_free(struct popcorn_kernel **kernels);
/** popcorn_get_kernel - one kernel; -ENOENT: no kernel has this name. */
_popcorn_public_ int popcorn_get_kernel(struct popcorn *popcorn, const char *name,
					struct popcorn_kernel **ret);
_popcorn_public_ struct popcorn_kernel *popcorn_kernel_free(struct popcorn_kernel *kernel);

_popcorn_public_ const char *popcorn_kernel_get_name(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_path - its object on the bus. */
_popcorn_public_ const char *popcorn_kernel_get_path(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_id - 1 and more; 0: the driver does not have it (yet, or any more). */
_popcorn_public_ uint32_t popcorn_kernel_get_id(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_state - "reserved", "loading", "booting", "running", "stopping", "stopped",
 *  "crashed" or "failed"; a later version may have more. */
_popcorn_public_ const char *popcorn_kernel_get_state(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_reason - why it is in this state, as a word ("panic"). */
_popcorn_public_ const char *popcorn_kernel_get_reason(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_reason_text - the same in words, with the kernel's last words. */
_popcorn_public_ const char *popcorn_kernel_get_reason_text(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_cpus - the primary's numbers of its CPUs; returns how many.
 *  @ret may be NULL. */
_popcorn_public_ size_t popcorn_kernel_get_cpus(const struct popcorn_kernel *kernel,
						const uint32_t **ret);
_popcorn_public_ uint64_t popcorn_kernel_get_memory(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_memory_range - 1: range @index was written, 0: there are not so many. */
_popcorn_public_ int popcorn_kernel_get_memory_range(const struct popcorn_kernel *kernel,
						     size_t index, uint64_t *ret_start,
						     uint64_t *ret_length, uint32_t *ret_node);
_popcorn_public_ const char *popcorn_kernel_get_image(const struct popcorn_kernel *kernel);
_popcorn_public_ const char *popcorn_kernel_get_initrd(const struct popcorn_kernel *kernel);
_popcorn_public_ const char *popcorn_kernel_get_command_line(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_version - `uname -r`, as the kernel itself said it. */
_popcorn_public_ const char *popcorn_kernel_get_version(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_uptime - how long it runs; 0: it does not run. */
_popcorn_public_ uint64_t popcorn_kernel_get_uptime(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_boot_time - when it was started, CLOCK_REALTIME; 0: not yet. */
_popcorn_public_ uint64_t popcorn_kernel_get_boot_time(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_root - "initramfs", "primary", or a folder, with ":ro" if nothing is written there. */
_popcorn_public_ const char *popcorn_kernel_get_root(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_restart - "no" or "on-failure". */
_popcorn_public_ const char *popcorn_kernel_get_restart(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_network - with whom it may speak, as it was asked for: "default", "none", or a list. */
_popcorn_public_ const char *popcorn_kernel_get_network(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_address - its address in the network between kernels, or "". */
_popcorn_public_ const char *popcorn_kernel_get_address(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_device - 1: device @index, of the type "net", "fs", "vsock" or "other", and whether it is "stopped" (no
 *  driver has started it), "started", or "failed" and why (else ""); 0: there are not so many. */
_popcorn_public_ int popcorn_kernel_get_device(const struct popcorn_kernel *kernel, size_t index,
					       const char **ret_name, const char **ret_type,
					       const char **ret_state, const char **ret_text);
/** popcorn_kernel_get_unit - its systemd unit. */
_popcorn_public_ const char *popcorn_kernel_get_unit(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_policy - the policy that started it, or "". */
_popcorn_public_ const char *popcorn_kernel_get_policy(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_messages - "yes", "no", "other-version"; "" does not run, or has not answered yet. */
_popcorn_public_ const char *popcorn_kernel_get_messages(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_agent_version - of Popcorn, as its agent says; or "". */
_popcorn_public_ const char *popcorn_kernel_get_agent_version(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_job - number of the job that is under way for it; 0: none. */
_popcorn_public_ uint32_t popcorn_kernel_get_job(const struct popcorn_kernel *kernel);
/** popcorn_kernel_get_boot_step - 1: step @index of its boot and how long it took, 0: no more. */
_popcorn_public_ int popcorn_kernel_get_boot_step(const struct popcorn_kernel *kernel, size_t index,
						  const char **ret_step, uint64_t *ret_usec);
/** popcorn_kernel_get_history - 1: change @index of its state, oldest first (time is
 *  CLOCK_REALTIME), 0: no more. */
_popcorn_public_ int popcorn_kernel_get_history(const struct popcorn_kernel *kernel, size_t index,
						uint64_t *ret_usec, const char **ret_state,
						const char **ret_reason, const char **ret_text);

/* ---- boot, stop, kill, release ------------------------------------------------------------ */

/** popcorn_boot_options_new - what is not set comes from /etc/popcorn/kernels/NAME.conf, then from
 *  popcornd.conf. NULL: out of memory. The setters copy; -ENOMEM, -EINVAL. */
_popcorn_public_ struct popcorn_boot_options *popcorn_boot_options_new(void);
_popcorn_public_ struct popcorn_boot_options *
popcorn_boot_options_free(struct popcorn_boot_options *options);
/** popcorn_boot_options_set_cpus - the very CPUs, "2-3,7"; the last of this and _cpu_count wins. */
_popcorn_public_ int popcorn_boot_options_set_cpus(struct popcorn_boot_options *options,
						   const char *list);
/** popcorn_boot_options_set_cpu_count - how many CPUs; popcornd chooses which. */
_popcorn_public_ int popcorn_boot_options_set_cpu_count(struct popcorn_boot_options *options,
							uint32_t count);
_popcorn_public_ int popcorn_boot_options_set_memory(struct popcorn_boot_options *options,
						     uint64_t bytes);
/** popcorn_boot_options_add_memory_node - so many bytes of the memory of Linux's node @node; once
 *  for each node. The kernel then gets none from elsewhere, and set_memory is not needed. */
_popcorn_public_ int popcorn_boot_options_add_memory_node(struct popcorn_boot_options *options,
							  uint32_t node, uint64_t bytes);
/** popcorn_boot_options_add_share - a folder of popcornd's machine that the kernel can mount as
 *  "mount -t virtiofs TAG FOLDER"; those of the kernel's file are not used then. */
_popcorn_public_ int popcorn_boot_options_add_share(struct popcorn_boot_options *options,
						    const char *tag, const char *path,
						    int read_only);
/** popcorn_boot_options_set_vsock - whether the kernel has vsock(7) to the primary. */
_popcorn_public_ int popcorn_boot_options_set_vsock(struct popcorn_boot_options *options,
						    int vsock);
/** popcorn_boot_options_set_kernel - absolute path of a bzImage on popcornd's machine. */
_popcorn_public_ int popcorn_boot_options_set_kernel(struct popcorn_boot_options *options,
						     const char *path);
_popcorn_public_ int popcorn_boot_options_set_initrd(struct popcorn_boot_options *options,
						     const char *path);
/** popcorn_boot_options_set_command_line - what is added to the kernel's command line. */
_popcorn_public_ int popcorn_boot_options_set_command_line(struct popcorn_boot_options *options,
							   const char *command_line);
/** popcorn_boot_options_set_root - "initramfs", "primary", or an absolute folder, with ":ro" or without. */
_popcorn_public_ int popcorn_boot_options_set_root(struct popcorn_boot_options *options,
						   const char *root);
/** popcorn_boot_options_set_restart - "no" or "on-failure". */
_popcorn_public_ int popcorn_boot_options_set_restart(struct popcorn_boot_options *options,
						      const char *restart);
/** popcorn_boot_options_set_network - "primary,kernels,outside" or a part of it, "none", "default". */
_popcorn_public_ int popcorn_boot_options_set_network(struct popcorn_boot_options *options,
						      const char *network);
/** popcorn_boot_options_set_timeout - how long the kernel may take until it reports. */
_popcorn_public_ int popcorn_boot_options_set_timeout(struct popcorn_boot_options *options,
						      uint64_t usec);

/**
 * popcorn_boot - start a kernel
 * @options: or NULL
 * @ret_job: the job that does it; NULL if it is not to be followed. To be freed by
 *           popcorn_job_free(), which does not end the job.
 */
_popcorn_public_ int popcorn_boot(struct popcorn *popcorn, const char *name,
				  const struct popcorn_boot_options *options,
				  struct popcorn_job **ret_job);
/** popcorn_stop - ask a kernel to shut down; when @timeout_usec (0: as configured) is over, kill
 *  it. All that it had goes back. */
_popcorn_public_ int popcorn_stop(struct popcorn *popcorn, const char *name, uint64_t timeout_usec,
				  struct popcorn_job **ret_job);
/** popcorn_kill - stop a kernel's CPUs now. */
_popcorn_public_ int popcorn_kill(struct popcorn *popcorn, const char *name,
				  struct popcorn_job **ret_job);
/** popcorn_release - forget a kernel that has ended, and give back what it still holds. */
_popcorn_public_ int popcorn_release(struct popcorn *popcorn, const char *name,
				     struct popcorn_job **ret_job);

/* ---- policies and plans -------------------------------------------------------------------- */

/* With why each choice was made. */
#define POPCORN_PLAN_EXPLAIN (1U << 0)
/* With what popcorn_apply() would start, stop and replace. */
#define POPCORN_PLAN_DIFF (1U << 1)

/**
 * popcorn_plan - what a policy would make of the machine; nothing is taken
 * @policy: its name; if @text is given, only a name for messages
 * @text: the policy itself, or NULL
 * @flags: POPCORN_PLAN_*
 * @ret_json: a JSON object, to be freed by free(): docs/policies.md has its keys. A wish that can't
 *            be met is no error of this call: the object has "problems" then.
 *
 * -ENOENT: no policy has this name. -EINVAL: it has an error; popcorn_last_error_text() says where.
 */
_popcorn_public_ int popcorn_plan(struct popcorn *popcorn, const char *policy, const char *text,
				  unsigned flags, char **ret_json);

/* All or nothing: if something fails, or it is cancelled, all is as it was. */
#define POPCORN_APPLY_ATOMIC (1U << 0)
/* What this policy started and does not want any more, or otherwise, may be stopped or replaced. */
#define POPCORN_APPLY_PRUNE (1U << 1)

/**
 * popcorn_apply - make the kernels that run be those of a plan
 * @ret_job: as of popcorn_boot(); its type is "apply", its name the policy's
 *
 * @policy and @text are as of popcorn_plan(). Nothing was done if the call fails. -EDOM: the policy
 * asks for what the machine does not have. -EBUSY: kernels would have to be stopped, without
 * POPCORN_APPLY_PRUNE (the error's name is …WouldStop), or another one is being applied (…Busy).
 */
_popcorn_public_ int popcorn_apply(struct popcorn *popcorn, const char *policy, const char *text,
				   unsigned flags, struct popcorn_job **ret_job);

/** popcorn_get_topology - the machine as popcornd plans for it; @format: "json" or "xml" (hwloc's).
 *  @ret: to be freed by free(). */
_popcorn_public_ int popcorn_get_topology(struct popcorn *popcorn, const char *format, char **ret);

/** popcorn_policy_callback - gets each policy; @description: what its file says, or what is wrong
 *  with it if it is not @valid. All live during the call. */
typedef void (*popcorn_policy_callback)(const char *name, const char *path, const char *description,
					int valid, void *userdata);
/** popcorn_list_policies - all policies that popcornd has, by name. */
_popcorn_public_ int popcorn_list_policies(struct popcorn *popcorn,
					   popcorn_policy_callback callback, void *userdata);
/** popcorn_get_policy - where a policy is, and its text; both to be freed by free(). @ret_path may
 *  be NULL. -ENOENT: no policy has this name. */
_popcorn_public_ int popcorn_get_policy(struct popcorn *popcorn, const char *name, char **ret_path,
					char **ret_text);

/* ---- jobs ---------------------------------------------------------------------------------- */

/** popcorn_job_open - a job by its number; -ENOENT: there is none, it may have finished. */
_popcorn_public_ int popcorn_job_open(struct popcorn *popcorn, uint32_t id,
				      struct popcorn_job **ret);
_popcorn_public_ struct popcorn_job *popcorn_job_free(struct popcorn_job *job);
_popcorn_public_ uint32_t popcorn_job_get_id(const struct popcorn_job *job);
/** popcorn_job_get_name - of the kernel that it works for, or of the policy. */
_popcorn_public_ const char *popcorn_job_get_name(const struct popcorn_job *job);
/** popcorn_job_get_type - "boot", "stop", "kill", "release", "apply". */
_popcorn_public_ const char *popcorn_job_get_type(const struct popcorn_job *job);
/** popcorn_job_get_step - what it does now: of a boot "reserve", "load", "leader" (only if it
 *  has to wait for the unit), "start", "kernel", "agent"; "" if not known. Valid until messages are processed again. */
_popcorn_public_ const char *popcorn_job_get_step(const struct popcorn_job *job);
/** popcorn_job_get_progress - 0 to 1. */
_popcorn_public_ double popcorn_job_get_progress(const struct popcorn_job *job);
/** popcorn_job_get_result - "done", "failed" or "cancelled"; "" while it is under way. */
_popcorn_public_ const char *popcorn_job_get_result(const struct popcorn_job *job);

/**
 * popcorn_job_cancel - tell a job to give up and undo what it did
 *
 * Returns as soon as popcornd knows; the job ends, as "cancelled", when all is undone.
 * -EBUSY: it can't be cancelled any more. -ENOENT: it has finished.
 */
_popcorn_public_ int popcorn_job_cancel(struct popcorn_job *job);

/**
 * popcorn_job_callback - called by popcorn_job_wait() when step or progress changed, and whenever
 * the wake-up descriptor is readable, which it must then drain
 *
 * It may call popcorn_job_cancel(). Returns 0 to go on; anything else ends the wait and is
 * returned by it, while the job goes on.
 */
typedef int (*popcorn_job_callback)(struct popcorn_job *job, void *userdata);

/**
 * popcorn_job_wait - wait for the end of a job
 * @wake_fd: a descriptor that calls @callback when readable, or -1
 * @callback: or NULL
 *
 * 0: done. -ECANCELED: cancelled, everything was put back. -ECONNREFUSED: popcornd went away; it
 * finishes or undoes the job when it is back. Else the error of the job.
 */
_popcorn_public_ int popcorn_job_wait(struct popcorn_job *job, int wake_fd,
				      popcorn_job_callback callback, void *userdata);

/* ---- console and log ----------------------------------------------------------------------- */

/* Input can be written. */
#define POPCORN_CONSOLE_INPUT (1U << 0)
/* The user is not asked for a password, even if the connection was made so: -EACCES instead. */
#define POPCORN_CONSOLE_DONT_ASK (1U << 1)

/**
 * popcorn_open_console - a kernel's console
 * @flags: POPCORN_CONSOLE_*
 * @ret_fd: close-on-exec, to be closed by the caller. read() starts at the oldest byte that is
 *          kept and gives 0 when the kernel ended; poll() works.
 *
 * Descriptors do not travel over ssh: -EOPNOTSUPP on a connection to another host.
 */
_popcorn_public_ int popcorn_open_console(struct popcorn *popcorn, const char *name, unsigned flags,
					  int *ret_fd);
/** popcorn_open_kernel_log - a kernel's own log (dmesg), read out of its memory just now; works
 *  for a dead one too. A file that ends. */
_popcorn_public_ int popcorn_open_kernel_log(struct popcorn *popcorn, const char *name,
					     int *ret_fd);

/* ---- events --------------------------------------------------------------------------------- */

enum popcorn_event_type {
	POPCORN_EVENT_KERNEL_NEW = 1,	 /* name */
	POPCORN_EVENT_KERNEL_REMOVED,	 /* name */
	POPCORN_EVENT_STATE_CHANGED,	 /* name, old state, state, reason, text */
	POPCORN_EVENT_JOB_NEW,		 /* name, job, job type */
	POPCORN_EVENT_JOB_REMOVED,	 /* name, job, result, error, text */
	POPCORN_EVENT_DAEMON_APPEARED,	 /* popcornd is (back) on the bus */
	POPCORN_EVENT_DAEMON_DISAPPEARED /* popcornd went away; the kernels go on */
};

/** popcorn_event_callback - gets each event; the event lives during the call. Events of types that
 *  are not known are to be ignored. */
typedef void (*popcorn_event_callback)(const struct popcorn_event *event, void *userdata);

/**
 * popcorn_subscribe - get all events from now on, in popcorn_process()
 * @callback: NULL ends the subscription
 */
_popcorn_public_ int popcorn_subscribe(struct popcorn *popcorn, popcorn_event_callback callback,
				       void *userdata);

_popcorn_public_ enum popcorn_event_type popcorn_event_get_type(const struct popcorn_event *event);
/** popcorn_event_get_time - CLOCK_REALTIME: of the change; of its arrival where none was sent. */
_popcorn_public_ uint64_t popcorn_event_get_time(const struct popcorn_event *event);
_popcorn_public_ const char *popcorn_event_get_name(const struct popcorn_event *event);
_popcorn_public_ const char *popcorn_event_get_old_state(const struct popcorn_event *event);
_popcorn_public_ const char *popcorn_event_get_state(const struct popcorn_event *event);
_popcorn_public_ const char *popcorn_event_get_reason(const struct popcorn_event *event);
_popcorn_public_ const char *popcorn_event_get_text(const struct popcorn_event *event);
_popcorn_public_ uint32_t popcorn_event_get_job(const struct popcorn_event *event);
_popcorn_public_ const char *popcorn_event_get_job_type(const struct popcorn_event *event);
_popcorn_public_ const char *popcorn_event_get_result(const struct popcorn_event *event);
/** popcorn_event_get_error - D-Bus name of the job's error, or "". */
_popcorn_public_ const char *popcorn_event_get_error(const struct popcorn_event *event);

#ifdef __cplusplus
}
#endif

#endif
