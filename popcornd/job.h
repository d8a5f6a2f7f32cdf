/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * A long operation on one kernel: an object on the bus and a thread. One at a time per kernel;
 * another one that supersedes it (a stop while it boots, a kill while it stops) cancels the first
 * and waits as the kernel's next_job.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "kernel.h"
#include "task.h"

enum job_type {
	JOB_BOOT,
	JOB_STOP,
	JOB_KILL,
	JOB_RELEASE,
	JOB_APPLY, /* of a policy: no kernel, no thread; its children are jobs of the others */
};

enum job_state {
	JOB_QUEUED,
	JOB_RUNNING,
};

struct job {
	TAILQ_ENTRY(job) entry;
	struct manager *manager;
	struct kernel *kernel; /* NULL: JOB_APPLY */
	uint32_t id;
	uint32_t parent; /* the Apply that made it, or that waits for it; or 0 */
	char *path;
	enum job_type type;
	enum job_state state;
	uid_t uid;
	bool internal; /* not asked for by a client, or by way of its parent: outside the limits */
	const struct config *config;

	/* Apply */
	struct apply *apply;
	uint64_t policy_digest;
	bool applying; /* further up on the stack */

	/* Boot */
	struct kernel_def *def;
	struct boot_files
		*files; /* what the check of @def has read; the thread's once there is one */
	bool recovered; /* the kernel was started before popcornd was: only wait */
	bool launched;	/* its leader is there */
	/* The thread began before that: it goes as far as to the start of the kernel, and waits. */
	bool early;
	int launch_fd; /* eventfd: the thread is told so */
	/* systemd did not start the unit: the end of the thread is told as this. */
	struct popcorn_error unit_error;
	uint32_t old_generation; /* of the ended kernel that is released first, or 0 */
	char *unit_job;		 /* systemd's job that starts the unit */
	bool unit_again;	 /* it was asked for a second time */
	sd_bus_slot *unit_slot;
	/* Stop */
	uint64_t timeout_usec;
	/* Release */
	bool forget;			/* afterwards there is no such kernel */
	enum popcorn_state final_state; /* otherwise it is shown as this; 0 = as the driver says */
	enum popcorn_reason final_reason;
	char *final_text;

	/* Written by the thread, read by the loop after it ended. */
	struct {
		struct driver *driver;
		struct resources *resources;
		const char *run;
		char name[POPCORN_NAME_MAX];
		int fd;
		struct claim *claim;
		int result;
		struct popcorn_error error;
		bool released; /* what the kernel had at the start is given back */
		bool have_end; /* end_* is what the driver said last */
		enum popcorn_state end_state;
		enum popcorn_reason end_reason;
		char end_text[POPCORN_TEXT_MAX];
		int new_fd; /* of the kernel that was booted */
		struct claim *new_claim;
	} work;

	/* Shared with the thread. */
	struct task *task;
	int cancel_fd;
	bool cancelled;
	pthread_mutex_t lock;
	char step[16];			   /* lock */
	double fraction;		   /* lock */
	struct boot_step steps[STEPS_MAX]; /* lock; usec is when it began (now_usec()) */
	size_t n_steps;			   /* lock */

	/* As shown. */
	char shown_step[32];
	double shown_fraction;
};

const char *job_type_to_string(enum job_type type);
const char *job_state_to_string(enum job_state state);

/* Becomes the kernel's job, or its next one. LIMIT, BUSY. */
int job_new(struct kernel *kernel, enum job_type type, uid_t uid, bool internal, struct job **ret,
	    struct popcorn_error *error);
/* Of no kernel. LIMIT. */
int job_new_apply(struct manager *manager, const char *policy, uid_t uid, bool internal,
		  struct job **ret, struct popcorn_error *error);
/* The thread. On failure the job has ended and is gone. */
void job_start(struct job *job);
/*
 * The same of a boot whose leader is still to come: all that can be undone is done meanwhile. Not of
 * a kernel that still has something from its last life, whose leader may not have ended yet.
 */
void job_start_early(struct job *job);
/* The leader is there: the thread, if it is there, may go on. */
void job_launched(struct job *job);
/* There will be no leader, or no thread. Ends the job, now or when its thread has undone its work. */
void job_fail(struct job *job, const struct popcorn_error *error);
/* WRONG_STATE: it can't be. */
int job_cancel(struct job *job, struct popcorn_error *error);
bool job_can_be_superseded(const struct job *job, enum job_type by);
/* At exit. */
struct job *job_free(struct job *job);

/* apply-job.c */
struct apply_item;
/*
 * Takes @items (of which there may be none) for the policy of this name, of whose text @digest is
 * made. Begun by apply_begin(), which may end it. BUSY, LIMIT.
 */
struct apply;
int apply_job_new(struct manager *manager, const char *policy, uint64_t digest, struct apply *apply,
		  uid_t uid, struct job **ret, struct popcorn_error *error);
void apply_begin(struct job *job);
int apply_job_cancel(struct job *job, struct popcorn_error *error);
/* A job has ended, or got on, that has @parent. @error NULL = well. */
void apply_child_ended(struct manager *manager, uint32_t parent, uint32_t id,
		       const struct popcorn_error *error);
void apply_child_changed(struct manager *manager, uint32_t parent);
/* At start: what another popcornd left half done. */
void apply_recover(struct manager *manager);

/* job-dbus.c */
int job_bus_init(struct manager *manager);
void job_emit_new(struct job *job);
void job_emit_removed(struct job *job, const char *result, const struct popcorn_error *error);
void job_emit_changed(struct job *job);
