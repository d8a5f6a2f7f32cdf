/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * How a plan becomes running kernels: a machine of states that is told what has ended and says what
 * is to be done next. Pure; apply-job.c does what it says, with ordinary jobs.
 *
 *	stop ──▶ start, level by level ──▶ end
 *	  └─────────┴─▶ undo, in reverse ──▶ restore ──▶ end      atomic: a failure, or cancelled
 *
 * All stops come before all starts: what one of the new ones gets, another of the old ones may have.
 * What depends on others (a higher level) is stopped before them. Undo stops and releases what was
 * started; restore then starts again, as they were, those that had been stopped: what fails of that
 * is told and left.
 */

#include <popcorn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "error.h"

/*
 * How many jobs of one Apply go on side by side. A boot holds its image and initrd (some 60 MiB)
 * until it is started, and the primary keeps 512 MiB at least by default. Of taking memory and CPUs
 * Linux does one at a time anyway: what many at once would save is the kernels' own booting.
 */
#define APPLY_PARALLEL_MAX 8

enum apply_state {
	APPLY_WAITING,
	APPLY_STOPPING, /* what is there */
	APPLY_STOPPED,	/* it is gone; the new one, if one is to be, is not begun */
	APPLY_BOOTING,
	APPLY_RUNNING,
	APPLY_FAILED,
	APPLY_SKIPPED, /* what it starts after has failed */
	APPLY_UNDOING,
	APPLY_RELEASING,
	APPLY_UNDONE,
	APPLY_RESTORING,
	APPLY_RESTORED,
};

/* One kernel that something is done to. */
struct apply_item {
	char name[POPCORN_NAME_MAX];
	bool stop;		/* there is one of this name that has to go first */
	struct kernel_def *def; /* the new one, or NULL: none */
	struct kernel_def *old; /* the one that runs, or NULL: it is not to be restored */
	unsigned level;		/* of its start: 0 before 1 … */
	unsigned group;		/* index for apply_set_after() */

	enum apply_state state;
	bool started, stopped; /* was begun; has ended */
	/* The caller's: what works on it, and the text of which policy the old one was started by. */
	uint32_t job;
	uint64_t old_digest;
};

enum apply_command {
	APPLY_DO_STOP,
	APPLY_DO_BOOT, /* def */
	APPLY_DO_RELEASE,
	APPLY_DO_RESTORE, /* boot old */
	APPLY_WAIT,	  /* for apply_ended() */
	APPLY_END,
};

struct apply;

/* @items is the apply's afterwards, also on failure. -ENOMEM. */
int apply_new(struct apply_item *items, size_t n, unsigned n_groups, bool atomic,
	      struct apply **ret);
struct apply *apply_free(struct apply *apply);
void apply_items_free(struct apply_item *items, size_t n);
/* Group @group starts after group @before. No cycles. */
void apply_set_after(struct apply *apply, unsigned group, unsigned before);
/* Only the undoing of items that another popcornd had started. */
void apply_undo_only(struct apply *apply);

/*
 * What to do now: of *@ret_item, which from then on counts as being done until apply_ended(), which
 * may be called at once. To be called until it says WAIT or END.
 */
enum apply_command apply_next(struct apply *apply, struct apply_item **ret_item);
/* What apply_next() said of @item has ended. @error NULL = well. */
void apply_ended(struct apply *apply, struct apply_item *item, const struct popcorn_error *error);
/* Atomic: undo. Otherwise nothing more is begun. -EBUSY: it is being undone already. */
int apply_cancel(struct apply *apply);

bool apply_is_atomic(const struct apply *apply);
struct apply_item *apply_items(struct apply *apply, size_t *ret_n);
/* The item that the caller's job @job works on; NULL. */
struct apply_item *apply_find_job(struct apply *apply, uint32_t job);

/* "start 3 of 7"; @ret_fraction 0..1, without what is under way. */
#define APPLY_STEP_MAX 32
void apply_progress(const struct apply *apply, char step[APPLY_STEP_MAX], double *ret_fraction,
		    double *ret_each);
/*
 * After APPLY_END: 0 = done; else @error is what failed, in words that name each failure, with the
 * id of the first one (CANCELLED if it was cancelled), and -errno is returned.
 */
int apply_result(const struct apply *apply, struct popcorn_error *error);

/*
 * <run>/apply: what a popcornd that is killed in the middle leaves to the next one. Written before
 * a kernel is begun, aside and renamed.
 */
struct apply_file {
	char policy[POPCORN_NAME_MAX];
	bool atomic;
	char (*started)[POPCORN_NAME_MAX];
	size_t n_started;
};
int apply_file_write(const char *run, const char *policy, const struct apply *apply);
void apply_file_remove(const char *run);
/* -ENOENT: there is none. -EBADMSG: it is damaged. */
int apply_file_read(const char *run, struct apply_file *ret);
void apply_file_done(struct apply_file *file);
