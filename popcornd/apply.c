// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "apply.h"
#include "util.h"

/* A line for each of 512 kernels is a tenth of it. */
#define FILE_MAX (512U * 1024)

enum phase { PHASE_STOP, PHASE_START, PHASE_UNDO, PHASE_RESTORE, PHASE_END };

struct apply {
	struct apply_item *items;
	size_t n_items;
	unsigned n_groups;
	bool *after; /* n_groups x n_groups: row starts after column */
	bool atomic, cancelled;
	enum phase phase;
	unsigned top_level;
	/* The failures, in words, and the first one's id. */
	enum popcorn_error_id first_id;
	char text[sizeof(((struct popcorn_error *)0)->text) / 2];
	char undo_text[sizeof(((struct popcorn_error *)0)->text) / 4];
	unsigned n_failed, n_undo_failed;
};

void apply_items_free(struct apply_item *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		kernel_def_free(items[i].def);
		kernel_def_free(items[i].old);
	}
	free(items);
}

int apply_new(struct apply_item *items, size_t n, unsigned n_groups, bool atomic,
	      struct apply **ret)
{
	struct apply *apply = calloc(1, sizeof(*apply));

	if (apply)
		apply->after = calloc((size_t)n_groups * n_groups + 1, sizeof(*apply->after));
	if (!apply || !apply->after) {
		free(apply);
		apply_items_free(items, n);
		return -ENOMEM;
	}
	apply->items = items;
	apply->n_items = n;
	apply->n_groups = n_groups;
	apply->atomic = atomic;
	for (size_t i = 0; i < n; i++)
		if (items[i].level > apply->top_level)
			apply->top_level = items[i].level;
	*ret = apply;
	return 0;
}

struct apply *apply_free(struct apply *apply)
{
	if (!apply)
		return NULL;
	apply_items_free(apply->items, apply->n_items);
	free(apply->after);
	free(apply);
	return NULL;
}

void apply_set_after(struct apply *apply, unsigned group, unsigned before)
{
	apply->after[(size_t)group * apply->n_groups + before] = true;
}

void apply_undo_only(struct apply *apply)
{
	for (size_t i = 0; i < apply->n_items; i++) {
		apply->items[i].state = APPLY_RUNNING;
		apply->items[i].started = true;
	}
	apply->phase = PHASE_UNDO;
}

bool apply_is_atomic(const struct apply *apply)
{
	return apply->atomic;
}

struct apply_item *apply_items(struct apply *apply, size_t *ret_n)
{
	*ret_n = apply->n_items;
	return apply->items;
}

struct apply_item *apply_find_job(struct apply *apply, uint32_t job)
{
	for (size_t i = 0; i < apply->n_items; i++)
		if (job && apply->items[i].job == job)
			return &apply->items[i];
	return NULL;
}

/* What is under way. */
static bool is_busy(enum apply_state state)
{
	switch (state) {
	case APPLY_STOPPING:
	case APPLY_BOOTING:
	case APPLY_UNDOING:
	case APPLY_RELEASING:
	case APPLY_RESTORING:
		return true;
	case APPLY_WAITING:
	case APPLY_STOPPED:
	case APPLY_RUNNING:
	case APPLY_FAILED:
	case APPLY_SKIPPED:
	case APPLY_UNDONE:
	case APPLY_RESTORED:
		break;
	}
	return false;
}

/* Whether a group that @group starts after, however far back, has one that does not run. */
static bool has_failed_before(const struct apply *apply, unsigned group, bool *seen)
{
	for (unsigned before = 0; before < apply->n_groups; before++) {
		if (!apply->after[(size_t)group * apply->n_groups + before] || seen[before])
			continue;
		seen[before] = true;
		for (size_t i = 0; i < apply->n_items; i++)
			if (apply->items[i].group == before && apply->items[i].def &&
			    (apply->items[i].state == APPLY_FAILED ||
			     apply->items[i].state == APPLY_SKIPPED))
				return true;
		if (has_failed_before(apply, before, seen))
			return true;
	}
	return false;
}

static bool is_blocked(const struct apply *apply, unsigned group)
{
	_cleanup_free_ bool *seen = calloc(apply->n_groups + 1, sizeof(*seen));

	/* Without the memory to find out, it is not begun. */
	return !seen || has_failed_before(apply, group, seen);
}

/* Whether there is something to do to @item in this phase, and how early. */
static bool is_candidate(const struct apply *apply, const struct apply_item *item,
			 unsigned *ret_rank)
{
	switch (apply->phase) {
	case PHASE_STOP:
		/* What is only stopped goes first, then what is replaced, the last started first. */
		*ret_rank = item->def ? 1 + apply->top_level - item->level : 0;
		return item->stop && item->state == APPLY_WAITING;
	case PHASE_START:
		*ret_rank = item->level;
		return item->def && (item->state == APPLY_STOPPED ||
				     (item->state == APPLY_WAITING && !item->stop));
	case PHASE_UNDO:
		*ret_rank = apply->top_level - item->level;
		return item->started &&
		       (item->state == APPLY_BOOTING || item->state == APPLY_RUNNING);
	case PHASE_RESTORE:
		*ret_rank = item->level;
		return item->stopped && item->old && !is_busy(item->state) &&
		       item->state != APPLY_RESTORED && item->state != APPLY_FAILED;
	case PHASE_END:
		break;
	}
	return false;
}

/* Items that are under way in this phase: their rank is that at which they were chosen. */
static unsigned busy_rank(const struct apply *apply, const struct apply_item *item)
{
	switch (apply->phase) {
	case PHASE_STOP:
		return item->def ? 1 + apply->top_level - item->level : 0;
	case PHASE_UNDO:
		return apply->top_level - item->level;
	case PHASE_START:
	case PHASE_RESTORE:
	case PHASE_END:
		break;
	}
	return item->level;
}

static enum phase next_phase(const struct apply *apply)
{
	switch (apply->phase) {
	case PHASE_STOP:
		return PHASE_START;
	case PHASE_UNDO:
		return PHASE_RESTORE;
	case PHASE_START:
	case PHASE_RESTORE:
	case PHASE_END:
		break;
	}
	return PHASE_END;
}

/* The one to do next, or NULL; *@ret_wait: not now. */
static struct apply_item *choose(struct apply *apply, bool *ret_wait)
{
	unsigned n_busy = 0, first_busy = UINT_MAX, best_rank = UINT_MAX;
	struct apply_item *best = NULL;

	for (size_t i = 0; i < apply->n_items; i++) {
		struct apply_item *item = &apply->items[i];
		/* A boot that is to be undone is not waited for. */
		bool busy = is_busy(item->state) &&
			    !(apply->phase == PHASE_UNDO && item->state == APPLY_BOOTING);
		unsigned rank;

		if (busy) {
			rank = busy_rank(apply, item);
			n_busy++;
			if (rank < first_busy)
				first_busy = rank;
		} else if (is_candidate(apply, item, &rank) && rank < best_rank) {
			best = item;
			best_rank = rank;
		}
	}
	*ret_wait = n_busy > 0;
	if (!best || n_busy >= APPLY_PARALLEL_MAX || first_busy < best_rank)
		return NULL;
	return best;
}

enum apply_command apply_next(struct apply *apply, struct apply_item **ret_item)
{
	for (;;) {
		struct apply_item *item;
		bool wait;

		/* After its stop, and beside all others, what is undone is forgotten. */
		for (size_t i = 0; i < apply->n_items; i++) {
			item = &apply->items[i];
			if (item->state != APPLY_UNDONE || !item->started || item->old)
				continue;
			item->started = false;
			item->state = APPLY_RELEASING;
			*ret_item = item;
			return APPLY_DO_RELEASE;
		}
		item = choose(apply, &wait);
		if (apply->cancelled && !apply->atomic)
			item = NULL; /* only what is under way */
		if (!item) {
			if (wait)
				return APPLY_WAIT;
			if (apply->phase == PHASE_END || (apply->cancelled && !apply->atomic)) {
				apply->phase = PHASE_END;
				return APPLY_END;
			}
			apply->phase = next_phase(apply);
			continue;
		}
		*ret_item = item;
		switch (apply->phase) {
		case PHASE_STOP:
			item->state = APPLY_STOPPING;
			return APPLY_DO_STOP;
		case PHASE_START:
			if (is_blocked(apply, item->group)) {
				item->state = APPLY_SKIPPED;
				continue;
			}
			item->state = APPLY_BOOTING;
			item->started = true;
			return APPLY_DO_BOOT;
		case PHASE_UNDO:
			item->state = APPLY_UNDOING;
			return APPLY_DO_STOP;
		case PHASE_RESTORE:
			item->state = APPLY_RESTORING;
			return APPLY_DO_RESTORE;
		case PHASE_END:
			break;
		}
	}
}

/* The @n-th of several, which begins with 1. */
static void add_failure(char *text, size_t size, unsigned n, const struct apply_item *item,
			const char *what, const struct popcorn_error *error)
{
	text_add(text, size, "%s%s could not be %s: %s", n > 1 ? "; " : "", item->name, what,
		 error->text);
}

static void begin_undo(struct apply *apply)
{
	if (apply->phase == PHASE_STOP || apply->phase == PHASE_START)
		apply->phase = PHASE_UNDO;
}

static void failed(struct apply *apply, struct apply_item *item, const char *what,
		   const struct popcorn_error *error)
{
	if (apply->first_id == POPCORN_ERROR_NONE)
		apply->first_id = error->id;
	apply->n_failed++;
	add_failure(apply->text, sizeof(apply->text), apply->n_failed, item, what, error);
	item->state = APPLY_FAILED;
	if (apply->atomic)
		begin_undo(apply);
}

static void undone(struct apply *apply, struct apply_item *item, const char *what,
		   const struct popcorn_error *error, enum apply_state state)
{
	if (error) {
		apply->n_undo_failed++;
		add_failure(apply->undo_text, sizeof(apply->undo_text), apply->n_undo_failed, item,
			    what, error);
	}
	item->state = error ? APPLY_FAILED : state;
}

void apply_ended(struct apply *apply, struct apply_item *item, const struct popcorn_error *error)
{
	item->job = 0;
	switch (item->state) {
	case APPLY_STOPPING:
		if (error) {
			failed(apply, item, "stopped", error);
			return;
		}
		item->stopped = true;
		item->state = APPLY_STOPPED;
		return;
	case APPLY_BOOTING:
		if (error) {
			failed(apply, item, "started", error);
			/* Its boot has put everything back; what it replaced is missing. */
			if (apply->atomic && item->stopped && item->old)
				item->state = APPLY_UNDONE;
			item->started = false;
		} else {
			item->state = APPLY_RUNNING;
		}
		return;
	case APPLY_UNDOING:
		undone(apply, item, "stopped again", error, APPLY_UNDONE);
		return;
	case APPLY_RELEASING:
		undone(apply, item, "released", error, APPLY_UNDONE);
		return;
	case APPLY_RESTORING:
		undone(apply, item, "started again as it was", error, APPLY_RESTORED);
		return;
	case APPLY_WAITING:
	case APPLY_STOPPED:
	case APPLY_RUNNING:
	case APPLY_FAILED:
	case APPLY_SKIPPED:
	case APPLY_UNDONE:
	case APPLY_RESTORED:
		return;
	}
}

int apply_cancel(struct apply *apply)
{
	if (apply->phase != PHASE_STOP && apply->phase != PHASE_START)
		return -EBUSY;
	apply->cancelled = true;
	if (apply->atomic)
		begin_undo(apply);
	return 0;
}

/* Of all that has to do with this phase: how many, and how many of them have begun. */
static void count(const struct apply *apply, enum phase phase, unsigned *ret_begun,
		  unsigned *ret_all)
{
	unsigned begun = 0, all = 0;

	for (size_t i = 0; i < apply->n_items; i++) {
		const struct apply_item *item = &apply->items[i];

		switch (phase) {
		case PHASE_STOP:
			all += item->stop;
			begun += item->stop && item->state != APPLY_WAITING;
			break;
		case PHASE_START:
			all += item->def != NULL;
			begun += item->def && item->state != APPLY_WAITING &&
				 item->state != APPLY_STOPPING && item->state != APPLY_STOPPED;
			break;
		case PHASE_UNDO:
			all += item->started || item->state == APPLY_UNDONE ||
			       item->state == APPLY_RELEASING;
			begun += item->state == APPLY_UNDOING || item->state == APPLY_UNDONE ||
				 item->state == APPLY_RELEASING;
			break;
		case PHASE_RESTORE:
			all += item->stopped && item->old;
			begun += item->state == APPLY_RESTORING || item->state == APPLY_RESTORED;
			break;
		case PHASE_END:
			break;
		}
	}
	*ret_begun = begun;
	*ret_all = all;
}

void apply_progress(const struct apply *apply, char step[APPLY_STEP_MAX], double *ret_fraction,
		    double *ret_each)
{
	static const char *const names[] = { "stop", "start", "undo", "restore", "" };
	unsigned begun, all, stops, starts, done = 0;

	count(apply, apply->phase, &begun, &all);
	if (all)
		snprintf(step, APPLY_STEP_MAX, "%s %u of %u", names[apply->phase],
			 begun ? begun : 1, all);
	else
		*step = '\0';
	count(apply, PHASE_STOP, &begun, &stops);
	count(apply, PHASE_START, &begun, &starts);
	for (size_t i = 0; i < apply->n_items; i++) {
		const struct apply_item *item = &apply->items[i];

		/* A state behind these two is behind the stop. */
		if (item->stop)
			done += item->state != APPLY_WAITING && item->state != APPLY_STOPPING;
		/* And one behind these behind the start. */
		if (item->def)
			done += item->state > APPLY_BOOTING;
	}
	*ret_each = stops + starts ? 1.0 / (stops + starts) : 0;
	*ret_fraction = stops + starts ? done * *ret_each : 1;
	if (*ret_fraction > 1)
		*ret_fraction = 1;
}

int apply_result(const struct apply *apply, struct popcorn_error *error)
{
	unsigned running = 0, skipped = 0, all = 0, left = 0, restored = 0;
	char first[POPCORN_NAME_MAX] = "", more[256] = "", numbers[64] = "";
	/* That of a kernel was cancelled does not make this one so. */
	bool other =
		apply->first_id == POPCORN_ERROR_NONE || apply->first_id == POPCORN_ERROR_CANCELLED;
	enum popcorn_error_id id = apply->cancelled ? POPCORN_ERROR_CANCELLED
				   : other	    ? POPCORN_ERROR_FAILED
						    : apply->first_id;

	if (!apply->cancelled && apply->n_failed == 0 && apply->n_undo_failed == 0)
		return 0;
	for (size_t i = 0; i < apply->n_items; i++) {
		const struct apply_item *item = &apply->items[i];

		restored += item->state == APPLY_RESTORED;
		all += item->def != NULL;
		running += item->def && item->state == APPLY_RUNNING;
		left += item->def && (item->state == APPLY_WAITING || item->state == APPLY_STOPPED);
		if (item->state == APPLY_SKIPPED && skipped++ == 0)
			strcpy(first, item->name);
	}
	if (apply->n_undo_failed)
		return popcorn_error_set(error, id, "%s%snot everything could be put back: %s",
					 apply->cancelled ? "it was cancelled" : apply->text,
					 apply->cancelled || *apply->text ? ", and " : "",
					 apply->undo_text);
	if (apply->atomic && apply->cancelled)
		return popcorn_error_set(error, id, NULL);
	if (apply->atomic)
		return popcorn_error_set(error, id, "%s; so what was started was stopped again%s",
					 apply->text,
					 restored ? ", and what had been stopped was started "
						    "again as it was"
						  : "");
	if (skipped)
		snprintf(more, sizeof(more), "; not begun, because it starts after these: %s%s",
			 first, skipped > 1 ? " and others" : "");
	if (all)
		snprintf(numbers, sizeof(numbers), "; of %u kernels to start %u run now", all,
			 running);
	if (apply->cancelled)
		return popcorn_error_set(error, id, "it was cancelled%s, and %u were not begun%s%s",
					 numbers, left, *apply->text ? "; " : "", apply->text);
	return popcorn_error_set(error, id, "%s%s%s", apply->text, more, numbers);
}

/*
 * The file.
 */

int apply_file_write(const char *run, const char *policy, const struct apply *apply)
{
	_cleanup_free_ char *path = NULL, *aside = NULL;
	FILE *f;
	int r = 0;

	if (asprintf(&path, "%s/apply", run) < 0 || asprintf(&aside, "%s/.apply", run) < 0)
		return -ENOMEM;
	f = fopen(aside, "we");
	if (!f)
		return -errno;
	fprintf(f, "POLICY=%s\nATOMIC=%d\n", policy, apply->atomic);
	for (size_t i = 0; i < apply->n_items; i++)
		if (apply->items[i].started)
			fprintf(f, "STARTED=%s\n", apply->items[i].name);
	/* That it is whole: a file that was cut would undo only a part. */
	fputs("END=1\n", f);
	if (ferror(f))
		r = -EIO;
	if (fclose(f) != 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(aside, path) < 0)
		r = -errno;
	return r;
}

void apply_file_remove(const char *run)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/apply", run) >= 0)
		unlink(path);
}

static int read_line(char *line, struct apply_file *file, size_t *room, bool *end)
{
	char *value = strchr(line, '=');

	if (!value || *end)
		return -EBADMSG;
	*value++ = '\0';
	if (strcmp(line, "END") == 0) {
		*end = true;
		return 0;
	}
	if (strcmp(line, "ATOMIC") == 0) {
		file->atomic = strcmp(value, "1") == 0;
		return 0;
	}
	/* What a later version says beside it. */
	if (strcmp(line, "POLICY") != 0 && strcmp(line, "STARTED") != 0)
		return 0;
	/* Both are checked as the names of kernels are. */
	if (kernel_name_check(value, NULL) < 0)
		return -EBADMSG;
	if (strcmp(line, "POLICY") == 0) {
		strcpy(file->policy, value);
		return 0;
	}
	if (file->n_started == *room) {
		size_t more = *room ? 2 * *room : 16;
		char(*names)[POPCORN_NAME_MAX] =
			realloc(file->started, more * sizeof(*file->started));

		if (!names)
			return -ENOMEM;
		file->started = names;
		*room = more;
	}
	strcpy(file->started[file->n_started++], value);
	return 0;
}

int apply_file_read(const char *run, struct apply_file *ret)
{
	_cleanup_(apply_file_done) struct apply_file file = { 0 };
	_cleanup_free_ char *path = NULL, *text = NULL;
	size_t size, room = 0;
	char *save = NULL;
	bool end = false;
	void *data;
	int r;

	if (asprintf(&path, "%s/apply", run) < 0)
		return -ENOMEM;
	r = read_file(path, FILE_MAX, &data, &size);
	if (r < 0)
		return r == -ENOENT || r == -ENOMEM ? r : -EBADMSG;
	text = data;
	if (strlen(text) != size)
		return -EBADMSG;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		r = read_line(line, &file, &room, &end);
		if (r < 0)
			return r;
	}
	if (!end || !*file.policy)
		return -EBADMSG;
	*ret = file;
	file = (struct apply_file){ 0 };
	return 0;
}

void apply_file_done(struct apply_file *file)
{
	free(file->started);
	file->started = NULL;
	file->n_started = 0;
}
