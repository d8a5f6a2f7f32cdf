/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What the command line asked for, and the verbs that do it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpopcorn.h>

#include "json.h"

/* Exit codes beside those of errors.def; see popcornctl(1). */
enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_INTERRUPTED = 130, /* as a shell says of a command that SIGINT ended */
};

struct arguments {
	char **names;
	size_t n_names;

	enum json_style json;
	const char *host;
	bool legend;
	bool quiet;

	/* boot, stop */
	struct popcorn_boot_options *boot;
	uint64_t timeout_usec;
	bool wait;

	/* log, status */
	bool follow;
	bool kernel_log;
	size_t lines; /* SIZE_MAX: all */
	bool has_lines;

	/* show */
	const char **properties;
	size_t n_properties;

	/* plan, apply */
	bool explain;
	bool diff;
	bool boot_args;
	bool atomic;
	bool yes;

	/* topology, plan */
	const char *xml;
	const char *synthetic;
	const char *draw;

	/* ping, stats, top */
	uint32_t count; /* 0: until interrupted */
	uint32_t message_size;
	uint64_t interval_usec;
	bool has_interval;
	uint64_t watch_usec; /* 0: once */
	bool once;

	/* exec, shell */
	bool tty;
};

/* Verbs return an exit code, and have said what is wrong. */
int verb_list(struct popcorn *popcorn, const struct arguments *arguments);
int verb_status(struct popcorn *popcorn, const struct arguments *arguments);
int verb_show(struct popcorn *popcorn, const struct arguments *arguments);
int verb_boot(struct popcorn *popcorn, const struct arguments *arguments);
int verb_stop(struct popcorn *popcorn, const struct arguments *arguments);
int verb_kill(struct popcorn *popcorn, const struct arguments *arguments);
int verb_release(struct popcorn *popcorn, const struct arguments *arguments);
int verb_cancel(struct popcorn *popcorn, const struct arguments *arguments);
int verb_console(struct popcorn *popcorn, const struct arguments *arguments);
int verb_log(struct popcorn *popcorn, const struct arguments *arguments);
int verb_events(struct popcorn *popcorn, const struct arguments *arguments);
int verb_ping(struct popcorn *popcorn, const struct arguments *arguments);
int verb_stats(struct popcorn *popcorn, const struct arguments *arguments);
int verb_exec(struct popcorn *popcorn, const struct arguments *arguments);
int verb_shell(struct popcorn *popcorn, const struct arguments *arguments);
int verb_top(struct popcorn *popcorn, const struct arguments *arguments);
int verb_topology(struct popcorn *popcorn, const struct arguments *arguments);
bool topology_is_local(const struct arguments *arguments);
int verb_plan(struct popcorn *popcorn, const struct arguments *arguments);
bool plan_is_local(const struct arguments *arguments);
int verb_apply(struct popcorn *popcorn, const struct arguments *arguments);
int verb_policy(struct popcorn *popcorn, const struct arguments *arguments);
bool policy_is_local(const struct arguments *arguments);

/*
 * verbs-job.c, for what follows a job as well. Each adds an object to @results; those that return
 * something return an exit code.
 */
int job_follow(struct popcorn *popcorn, const struct arguments *arguments, struct popcorn_job *job,
	       bool cancel_on_signal, uint64_t start, struct json *results);
void job_say_queued(const struct arguments *arguments, struct popcorn_job *job,
		    struct json *results);
int job_failed_to_start(struct popcorn *popcorn, const char *type, const char *name,
			struct json *results);
/* A line between what is drawn of the job that is followed now; none if it is to be quiet. */
void job_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Where policies are looked for, NULL-ended: POPCORN_POLICY_PATH, or those that are installed. */
const char *const *policy_folders(void);
