// SPDX-License-Identifier: GPL-2.0-or-later
/* The Apply job: does what apply.c says, by ordinary jobs on kernels. */
#include <errno.h>
#include <string.h>

#include "apply.h"
#include "job.h"
#include "log.h"
#include "util.h"

/* The stop that somebody else has begun is as good as ours: its end is waited for. */
static bool adopt(struct job *job, struct apply_item *item, struct kernel *kernel)
{
	struct job *other = kernel->job;

	if (!other || job_can_be_superseded(other, JOB_STOP))
		return false;
	other->parent = job->id;
	item->job = other->id;
	return true;
}

static bool is_ours(const struct job *job, const struct kernel *kernel)
{
	return kernel && strcmp(kernel->policy, job->work.name) == 0;
}

static int begin(struct apply_item *item, struct job *child)
{
	/* First: it may end at once. */
	item->job = child->id;
	manager_begin(child);
	return 0;
}

/* 1: there is nothing to do. */
static int do_stop(struct job *job, struct apply_item *item, struct popcorn_error *error)
{
	const struct origin origin = { .parent = job->id };
	struct kernel *kernel = manager_find_kernel(job->manager, item->name);
	struct job *child;
	int r;

	/* Whoever booted the name anew wants it. */
	if (!is_ours(job, kernel))
		return 1;
	if (adopt(job, item, kernel))
		return 0;
	if (!kernel->job && !state_is_active(kernel->state) && !kernel_holds_resources(kernel))
		return 1;
	r = manager_stop_for(job->manager, &origin, kernel, job->uid, &child, error);
	if (r < 0)
		return r;
	return begin(item, child);
}

static int do_boot(struct job *job, struct apply_item *item, const struct kernel_def *def,
		   uint64_t digest, struct popcorn_error *error)
{
	const struct origin origin = {
		.parent = job->id,
		.policy = job->work.name,
		.policy_digest = digest,
	};
	struct job *child;
	int r;

	r = apply_file_write(job->manager->options->run, job->work.name, job->apply);
	if (r < 0)
		return popcorn_error_set_errno(error, r, "can't write %s/apply",
					       job->manager->options->run);
	r = manager_boot_for(job->manager, &origin, item->name, def, job->uid, &child, error);
	if (r < 0)
		return r;
	return begin(item, child);
}

static int do_release(struct job *job, struct apply_item *item, struct popcorn_error *error)
{
	const struct origin origin = { .parent = job->id };
	struct kernel *kernel = manager_find_kernel(job->manager, item->name);
	struct job *child;
	int r;

	if (!is_ours(job, kernel))
		return 1;
	r = manager_release_for(job->manager, &origin, kernel, job->uid, &child, error);
	if (r < 0)
		return r;
	return begin(item, child);
}

static void show_progress(struct job *job)
{
	double fraction, each;
	size_t n;
	const struct apply_item *items = apply_items(job->apply, &n);

	apply_progress(job->apply, job->shown_step, &fraction, &each);
	for (size_t i = 0; i < n; i++) {
		const struct job *child =
			items[i].job ? manager_find_job(job->manager, items[i].job) : NULL;

		if (child && items[i].state <= APPLY_BOOTING)
			fraction += each * child->shown_fraction;
	}
	job->shown_fraction = fraction < 1 ? fraction : 1;
	job_emit_changed(job);
}

static void finish(struct job *job)
{
	struct manager *manager = job->manager;
	struct popcorn_error error = {};
	const char *result = "done";

	if (apply_result(job->apply, &error) < 0) {
		bool cancelled = error.id == POPCORN_ERROR_CANCELLED;

		result = cancelled ? "cancelled" : "failed";
		log_send(cancelled ? LOG_INFO : LOG_ERR,
			 &(struct log_fields){ .id = cancelled ? NULL : LOG_ID_JOB,
					       .error = popcorn_error_name(error.id),
					       .job = job->id },
			 "apply of policy %s %s: %s", job->work.name,
			 cancelled ? "was cancelled" : "failed", error.text);
	}
	apply_file_remove(manager->options->run);
	/* Whoever hears of the end may apply again. */
	manager->apply = NULL;
	job_emit_removed(job, result, &error);
	job_free(job);
	manager_job_gone(manager);
}

static void run(struct job *job)
{
	enum apply_command command;
	struct apply_item *item;

	/* A child that ended at once: whoever began it goes on. */
	if (job->applying)
		return;
	job->applying = true;
	while ((command = apply_next(job->apply, &item)) < APPLY_WAIT) {
		struct popcorn_error error = {};
		int r = 0;

		switch (command) {
		case APPLY_DO_STOP:
			r = do_stop(job, item, &error);
			break;
		case APPLY_DO_BOOT:
			r = do_boot(job, item, item->def, job->policy_digest, &error);
			break;
		case APPLY_DO_RELEASE:
			r = do_release(job, item, &error);
			break;
		case APPLY_DO_RESTORE:
			r = do_boot(job, item, item->old, item->old_digest, &error);
			break;
		case APPLY_WAIT:
		case APPLY_END:
			break;
		}
		if (r < 0)
			popcorn_error_set_errno(&error, r, "%s", item->name);
		if (r != 0)
			apply_ended(job->apply, item, r < 0 ? &error : NULL);
	}
	job->applying = false;
	if (command == APPLY_END)
		finish(job);
	else
		show_progress(job);
}

/* Takes @apply. */
static int new_job(struct manager *manager, const char *policy, uint64_t digest,
		   struct apply *apply, uid_t uid, bool internal, struct job **ret,
		   struct popcorn_error *error)
{
	struct job *job;
	int r;

	r = job_new_apply(manager, policy, uid, internal, &job, error);
	if (r < 0) {
		apply_free(apply);
		return r;
	}
	job->apply = apply;
	job->policy_digest = digest;
	job->state = JOB_RUNNING;
	manager->apply = job;
	job_emit_new(job);
	*ret = job;
	return 0;
}

int apply_job_new(struct manager *manager, const char *policy, uint64_t digest, struct apply *apply,
		  uid_t uid, struct job **ret, struct popcorn_error *error)
{
	if (manager->apply) {
		apply_free(apply);
		return popcorn_error_set(
			error, POPCORN_ERROR_BUSY,
			"policy %s is being applied (job %u); there is one apply at "
			"a time; try again when it has ended",
			manager->apply->work.name, manager->apply->id);
	}
	return new_job(manager, policy, digest, apply, uid, false, ret, error);
}

void apply_begin(struct job *job)
{
	run(job);
}

int apply_job_cancel(struct job *job, struct popcorn_error *error)
{
	if (apply_cancel(job->apply) < 0)
		return popcorn_error_set(error, POPCORN_ERROR_WRONG_STATE,
					 "the apply of %s is being undone already; it ends soon",
					 job->work.name);
	job->cancelled = true;
	run(job);
	return 0;
}

void apply_child_ended(struct manager *manager, uint32_t parent, uint32_t id,
		       const struct popcorn_error *error)
{
	struct job *job = manager_find_job(manager, parent);
	struct apply_item *item;

	/* On SIGTERM nothing more is begun: the next popcornd does what the file says. */
	if (!job || !job->apply || manager->stopping)
		return;
	/* None: it is being undone, and something else works on it now. */
	item = apply_find_job(job->apply, id);
	if (!item)
		return;
	apply_ended(job->apply, item, error);
	run(job);
}

void apply_child_changed(struct manager *manager, uint32_t parent)
{
	struct job *job = parent ? manager_find_job(manager, parent) : NULL;

	if (job && job->apply)
		show_progress(job);
}

/* The kernels of the file that are still there and still the policy's. */
static struct apply *undo_of(struct manager *manager, const struct apply_file *file)
{
	struct apply_item *items = calloc(file->n_started + 1, sizeof(*items));
	struct apply *apply;
	size_t n = 0;

	if (!items)
		return NULL;
	for (size_t i = 0; i < file->n_started; i++) {
		const struct kernel *kernel = manager_find_kernel(manager, file->started[i]);

		if (kernel && strcmp(kernel->policy, file->policy) == 0)
			strcpy(items[n++].name, file->started[i]);
	}
	if (n == 0) {
		free(items);
		return NULL;
	}
	if (apply_new(items, n, 0, true, &apply) < 0)
		return NULL;
	apply_undo_only(apply);
	return apply;
}

void apply_recover(struct manager *manager)
{
	_cleanup_(apply_file_done) struct apply_file file = {};
	struct popcorn_error error = {};
	struct apply *apply;
	struct job *job;
	int r;

	r = apply_file_read(manager->options->run, &file);
	if (r == -ENOENT)
		return;
	if (r < 0) {
		log_warning(
			"what %s/apply says of an apply that was interrupted can't be read: %s; "
			"its kernels stay as they are",
			manager->options->run, strerror(-r));
		apply_file_remove(manager->options->run);
		return;
	}
	if (!file.atomic) {
		log_send(LOG_WARNING, &(struct log_fields){ .id = LOG_ID_RECOVERED },
			 "popcornd ended while policy %s was applied; what had been started stays; "
			 "'popcornctl apply %s' does the rest",
			 file.policy, file.policy);
		apply_file_remove(manager->options->run);
		return;
	}
	log_send(
		LOG_WARNING, &(struct log_fields){ .id = LOG_ID_RECOVERED },
		"popcornd ended while policy %s was applied, all or nothing; what had been started "
		"is stopped again",
		file.policy);
	apply = undo_of(manager, &file);
	if (!apply) {
		apply_file_remove(manager->options->run);
		return;
	}
	r = new_job(manager, file.policy, 0, apply, 0, true, &job, &error);
	if (r < 0) {
		log_error("policy %s: %s", file.policy, error.text);
		return;
	}
	run(job);
}
