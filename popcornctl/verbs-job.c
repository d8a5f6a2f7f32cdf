// SPDX-License-Identifier: GPL-2.0-or-later
/* boot, stop, kill, release, cancel: jobs, followed to their end. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "output.h"
#include "popcornctl.h"
#include "util.h"

/* How often the elapsed time on a terminal is drawn anew. */
#define REDRAW_MS 100

struct progress {
	const struct arguments *arguments;
	const char *doing; /* "Booting" */
	const char *name;
	bool line; /* a terminal: one line, drawn over */
	bool drawn;
	bool cancel_on_signal;
	bool cancelling;
	bool given_up;
	uint64_t start;
	char *step; /* the one that was shown last */
	int epoll_fd, signal_fd, timer_fd;
};

static const struct verb_words {
	const char *type, *doing, *done;
} words[] = {
	{ "boot", "Booting", "runs" },	       { "stop", "Stopping", "stopped" },
	{ "kill", "Killing", "was killed" },   { "release", "Releasing", "was released" },
	{ "apply", "Applying", "is applied" },
};

static const struct verb_words *find_words(const char *type)
{
	static const struct verb_words other = { "", "Working on", "is done" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].type, type) == 0)
			return &words[i];
	return &other;
}

static void erase_line(struct progress *progress)
{
	if (progress->drawn)
		fputs("\r\033[K", stderr);
	progress->drawn = false;
}

/* What is on the terminal now. */
static struct progress *current;

void job_note(const char *format, ...)
{
	va_list ap;

	if (!current || current->arguments->quiet || current->arguments->json)
		return;
	erase_line(current);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void draw(struct progress *progress, const char *step)
{
	bool quiet = progress->arguments->quiet || progress->arguments->json;

	if (quiet)
		return;
	if (progress->line) {
		uint64_t ms = (clock_usec(CLOCK_MONOTONIC) - progress->start) / 1000;

		fprintf(stderr, "\r%s %s: %s%s%" PRIu64 ".%" PRIu64 " s\033[K",
			progress->cancelling ? "Undoing" : progress->doing, progress->name, step,
			*step ? ", " : "", ms / 1000, ms / 100 % 10);
		fflush(stderr);
		progress->drawn = true;
	} else if (*step && strcmp(step, progress->step)) {
		fprintf(stderr, "%s %s: %s\n", progress->doing, progress->name, step);
	}
	free(progress->step);
	progress->step = xstrdup(step);
}

static void on_interrupt(struct progress *progress, struct popcorn_job *job)
{
	bool quiet = progress->arguments->quiet;

	if (!progress->cancel_on_signal || progress->cancelling) {
		/* The second time, or nothing that could be undone: popcornd goes on without us. */
		progress->given_up = true;
		erase_line(progress);
		if (!quiet)
			fprintf(stderr, "Not waiting any more; job %" PRIu32 " goes on.\n",
				popcorn_job_get_id(job));
		return;
	}
	erase_line(progress);
	if (popcorn_job_cancel(job) < 0) {
		if (!quiet)
			fprintf(stderr, "It can't be cancelled any more; waiting for its end.\n");
	} else if (!quiet) {
		fprintf(stderr, "Cancelled; waiting until everything is put back (Ctrl-C again: "
				"don't wait).\n");
	}
	progress->cancelling = true;
}

static int on_progress(struct popcorn_job *job, void *userdata)
{
	struct progress *progress = userdata;
	struct signalfd_siginfo signal;
	uint64_t ticks;

	/* Both descriptors are non-blocking; what is not there is not there. */
	if (read(progress->timer_fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
		return -errno;
	if (read(progress->signal_fd, &signal, sizeof(signal)) == sizeof(signal))
		on_interrupt(progress, job);
	if (progress->given_up)
		return -EINTR;
	draw(progress, popcorn_job_get_step(job));
	return 0;
}

static int progress_open(struct progress *progress)
{
	const struct timespec tick = { .tv_nsec = REDRAW_MS * 1000000L };
	const struct itimerspec timer = { .it_interval = tick, .it_value = tick };
	struct epoll_event event = { .events = EPOLLIN };
	const char *term = getenv("TERM");
	sigset_t signals;

	progress->line = isatty(STDERR_FILENO) && term && strcmp(term, "dumb");
	progress->start = clock_usec(CLOCK_MONOTONIC);
	progress->step = xstrdup("");

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	progress->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	progress->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	progress->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (progress->signal_fd < 0 || progress->timer_fd < 0 || progress->epoll_fd < 0)
		return -errno;
	if (epoll_ctl(progress->epoll_fd, EPOLL_CTL_ADD, progress->signal_fd, &event) < 0 ||
	    epoll_ctl(progress->epoll_fd, EPOLL_CTL_ADD, progress->timer_fd, &event) < 0)
		return -errno;
	if (progress->line && timerfd_settime(progress->timer_fd, 0, &timer, NULL) < 0)
		return -errno;
	return 0;
}

static void progress_close(struct progress *progress)
{
	erase_line(progress);
	free(progress->step);
	if (progress->signal_fd >= 0)
		close(progress->signal_fd);
	if (progress->timer_fd >= 0)
		close(progress->timer_fd);
	if (progress->epoll_fd >= 0)
		close(progress->epoll_fd);
}

static struct json *result_json(const char *type, const char *name, uint32_t job,
				const char *result)
{
	struct json *json = json_new_object();

	json_set(json, "type", json_new_string(type));
	json_set(json, "name", json_new_string(name));
	if (job)
		json_set(json, "job", json_new_u64(job));
	json_set(json, "result", json_new_string(result));
	return json;
}

/* Says what failed, adds it to the results, returns the exit code. */
static int report_failure(struct popcorn *popcorn, const char *type, const char *name, uint32_t job,
			  bool cancelled, struct json *results)
{
	_cleanup_free_ char *what = xasprintf("%s %s", type, name);
	struct json *json = result_json(type, name, job, cancelled ? "cancelled" : "failed");

	json_set(json, "error", json_new_string(short_error(popcorn_last_error_name(popcorn))));
	json_set(json, "text", json_new_string(popcorn_last_error_text(popcorn)));
	json_append(results, json);
	return complain_last(popcorn, what);
}

int job_failed_to_start(struct popcorn *popcorn, const char *type, const char *name,
			struct json *results)
{
	return report_failure(popcorn, type, name, 0, false, results);
}

static void say_done(const struct arguments *arguments, const char *type, const char *name,
		     const struct popcorn_kernel *kernel, uint64_t usec)
{
	_cleanup_free_ char *span = format_span(usec);

	if (kernel && strcmp(type, "boot") == 0) {
		_cleanup_(json_freep) struct json *json = kernel_json(kernel);
		_cleanup_free_ char *cpus = format_cpus(json_get(json, "cpus"));
		_cleanup_free_ char *memory = format_size(json_get_u64(json, "memory"));
		const char *version = json_get_string(json, "version");

		printf("%s runs", name);
		if (*version)
			printf(" %s", version);
		printf(" on CPU%s %s with %s; it took %s.\n",
		       json_get(json, "cpus")->n == 1 ? "" : "s", cpus, memory, span);
		return;
	}
	if (kernel && strcmp(type, "stop") == 0 &&
	    strcmp(popcorn_kernel_get_reason(kernel), "killed") == 0) {
		printf("%s did not shut down in time and was killed; it took %s.\n", name, span);
		return;
	}
	printf("%s %s; it took %s.\n", name, find_words(type)->done, span);
}

/* Waits for one job, shows how it goes, says how it ended. Returns an exit code. */
int job_follow(struct popcorn *popcorn, const struct arguments *arguments, struct popcorn_job *job,
	       bool cancel_on_signal, uint64_t start, struct json *results)
{
	const char *type = popcorn_job_get_type(job), *name = popcorn_job_get_name(job);
	struct progress progress = {
		.arguments = arguments,
		.doing = find_words(type)->doing,
		.name = name,
		.cancel_on_signal = cancel_on_signal,
		.epoll_fd = -1,
		.signal_fd = -1,
		.timer_fd = -1,
	};
	_cleanup_(kernel_freep) struct popcorn_kernel *kernel = NULL;
	uint32_t id = popcorn_job_get_id(job);
	struct json *json;
	int r;

	r = progress_open(&progress);
	if (r < 0) {
		complain(name, "following the job: %s", strerror(-r));
		progress_close(&progress);
		return EXIT_FAILED;
	}
	progress.start = start;
	draw(&progress, popcorn_job_get_step(job));
	current = &progress;
	r = popcorn_job_wait(job, progress.epoll_fd, on_progress, &progress);
	current = NULL;
	progress_close(&progress);
	if (progress.given_up) {
		json_append(results, result_json(type, name, id, "running"));
		return EXIT_INTERRUPTED;
	}
	if (r < 0)
		return report_failure(popcorn, type, name, id, r == -ECANCELED, results);

	json = result_json(type, name, id, "done");
	/* What became of it; without an answer to that the job is done all the same. */
	if (strcmp(type, "release") && strcmp(type, "apply") &&
	    popcorn_get_kernel(popcorn, name, &kernel) >= 0)
		json_set(json, "kernel", kernel_json(kernel));
	json_append(results, json);
	if (!arguments->json && !arguments->quiet)
		say_done(arguments, type, name, kernel, clock_usec(CLOCK_MONOTONIC) - start);
	return EXIT_DONE;
}

void job_say_queued(const struct arguments *arguments, struct popcorn_job *job,
		    struct json *results)
{
	const char *type = popcorn_job_get_type(job), *name = popcorn_job_get_name(job);

	json_append(results, result_json(type, name, popcorn_job_get_id(job), "queued"));
	if (!arguments->json && !arguments->quiet)
		printf("Job %" PRIu32 ": %s %s.\n", popcorn_job_get_id(job), type, name);
}

int verb_boot(struct popcorn *popcorn, const struct arguments *arguments)
{
	_cleanup_(job_freep) struct popcorn_job *job = NULL;
	_cleanup_(json_freep) struct json *results = json_new_array();
	uint64_t start = clock_usec(CLOCK_MONOTONIC);
	const char *name = arguments->names[0];
	int code = EXIT_DONE;

	if (popcorn_boot(popcorn, name, arguments->boot, &job) < 0)
		code = report_failure(popcorn, "boot", name, 0, false, results);
	else if (arguments->wait)
		code = job_follow(popcorn, arguments, job, true, start, results);
	else
		job_say_queued(arguments, job, results);
	if (arguments->json)
		json_print(results->items[0], arguments->json, stdout);
	return code;
}

typedef int (*start_function)(struct popcorn *popcorn, const char *name,
			      const struct arguments *arguments, struct popcorn_job **ret);

/* Starts the jobs for all names, then waits for each: they go on side by side. */
static int for_each_name(struct popcorn *popcorn, const struct arguments *arguments,
			 const char *type, start_function start_job)
{
	_cleanup_(json_freep) struct json *results = json_new_array();
	_cleanup_free_ struct popcorn_job **jobs =
		xrealloc(NULL, arguments->n_names, sizeof(*jobs));
	uint64_t start = clock_usec(CLOCK_MONOTONIC);
	int code = EXIT_DONE;

	for (size_t i = 0; i < arguments->n_names; i++) {
		int r = EXIT_DONE;

		jobs[i] = NULL;
		if (start_job(popcorn, arguments->names[i], arguments, &jobs[i]) < 0)
			r = report_failure(popcorn, type, arguments->names[i], 0, false, results);
		else if (!arguments->wait)
			job_say_queued(arguments, jobs[i], results);
		code = code ? code : r;
	}
	for (size_t i = 0; i < arguments->n_names; i++) {
		if (jobs[i] && arguments->wait && code != EXIT_INTERRUPTED) {
			int r = job_follow(popcorn, arguments, jobs[i], false, start, results);

			code = code && r != EXIT_INTERRUPTED ? code : r;
		}
		popcorn_job_free(jobs[i]);
	}
	if (arguments->json)
		json_print(results, arguments->json, stdout);
	return code;
}

static int start_stop(struct popcorn *popcorn, const char *name, const struct arguments *arguments,
		      struct popcorn_job **ret)
{
	return popcorn_stop(popcorn, name, arguments->timeout_usec, ret);
}

static int start_kill(struct popcorn *popcorn, const char *name, const struct arguments *arguments,
		      struct popcorn_job **ret)
{
	return popcorn_kill(popcorn, name, ret);
}

static int start_release(struct popcorn *popcorn, const char *name,
			 const struct arguments *arguments, struct popcorn_job **ret)
{
	return popcorn_release(popcorn, name, ret);
}

int verb_stop(struct popcorn *popcorn, const struct arguments *arguments)
{
	return for_each_name(popcorn, arguments, "stop", start_stop);
}

int verb_kill(struct popcorn *popcorn, const struct arguments *arguments)
{
	return for_each_name(popcorn, arguments, "kill", start_kill);
}

int verb_release(struct popcorn *popcorn, const struct arguments *arguments)
{
	return for_each_name(popcorn, arguments, "release", start_release);
}

int verb_cancel(struct popcorn *popcorn, const struct arguments *arguments)
{
	_cleanup_free_ char *what = xasprintf("cancel %s", arguments->names[0]);
	_cleanup_(json_freep) struct json *results = json_new_array();
	_cleanup_(job_freep) struct popcorn_job *job = NULL;
	uint64_t start = clock_usec(CLOCK_MONOTONIC);
	uint32_t id = strtoul(arguments->names[0], NULL, 10);
	_cleanup_free_ char *name = NULL, *type = NULL;
	struct progress progress = { .arguments = arguments, .doing = "Undoing" };
	struct json *json;
	int r;

	if (popcorn_job_open(popcorn, id, &job) < 0 || popcorn_job_cancel(job) < 0)
		return complain_last(popcorn, what);
	name = xstrdup(popcorn_job_get_name(job));
	type = xstrdup(popcorn_job_get_type(job));
	if (!arguments->wait) {
		job_say_queued(arguments, job, results);
		return EXIT_DONE;
	}
	progress.name = name;
	progress.cancelling = true;
	progress.signal_fd = progress.timer_fd = progress.epoll_fd = -1;
	r = progress_open(&progress);
	if (r < 0) {
		complain(what, "following the job: %s", strerror(-r));
		progress_close(&progress);
		return EXIT_FAILED;
	}
	progress.start = start;
	r = popcorn_job_wait(job, progress.epoll_fd, on_progress, &progress);
	progress_close(&progress);
	if (progress.given_up)
		return EXIT_INTERRUPTED;
	json = result_json(type, name, id, popcorn_job_get_result(job));
	if (arguments->json)
		json_print(json, arguments->json, stdout);
	json_free(json);
	if (r == -ECANCELED) {
		if (!arguments->json && !arguments->quiet)
			printf("Job %" PRIu32 " (%s %s) is cancelled.\n", id, type, name);
		return EXIT_DONE;
	}
	if (r < 0)
		return complain_last(popcorn, what);
	complain(what, "the job was done before it could be cancelled");
	return EXIT_FAILED;
}
