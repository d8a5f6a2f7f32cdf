// SPDX-License-Identifier: GPL-2.0-or-later
/* events: what happens, as it happens. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "output.h"
#include "popcornctl.h"
#include "util.h"

static struct json *event_json(const struct popcorn_event *event)
{
	static const char *const names[] = {
		[POPCORN_EVENT_KERNEL_NEW] = "kernel-new",
		[POPCORN_EVENT_KERNEL_REMOVED] = "kernel-removed",
		[POPCORN_EVENT_STATE_CHANGED] = "state-changed",
		[POPCORN_EVENT_JOB_NEW] = "job-new",
		[POPCORN_EVENT_JOB_REMOVED] = "job-removed",
		[POPCORN_EVENT_DAEMON_APPEARED] = "daemon-appeared",
		[POPCORN_EVENT_DAEMON_DISAPPEARED] = "daemon-disappeared",
	};
	enum popcorn_event_type type = popcorn_event_get_type(event);
	struct json *json;

	if ((size_t)type >= sizeof(names) / sizeof(names[0]) || !names[type])
		return NULL;
	json = json_new_object();
	json_set(json, "time", json_new_u64(popcorn_event_get_time(event)));
	json_set(json, "event", json_new_string(names[type]));
	if (type < POPCORN_EVENT_DAEMON_APPEARED)
		json_set(json, "name", json_new_string(popcorn_event_get_name(event)));
	if (type == POPCORN_EVENT_STATE_CHANGED) {
		json_set(json, "old", json_new_string(popcorn_event_get_old_state(event)));
		json_set(json, "new", json_new_string(popcorn_event_get_state(event)));
		json_set(json, "reason", json_new_string(popcorn_event_get_reason(event)));
		json_set(json, "text", json_new_string(popcorn_event_get_text(event)));
	}
	if (type == POPCORN_EVENT_JOB_NEW || type == POPCORN_EVENT_JOB_REMOVED)
		json_set(json, "job", json_new_u64(popcorn_event_get_job(event)));
	if (type == POPCORN_EVENT_JOB_NEW)
		json_set(json, "type", json_new_string(popcorn_event_get_job_type(event)));
	if (type == POPCORN_EVENT_JOB_REMOVED) {
		json_set(json, "result", json_new_string(popcorn_event_get_result(event)));
		json_set(json, "error",
			 json_new_string(short_error(popcorn_event_get_error(event))));
		json_set(json, "text", json_new_string(popcorn_event_get_text(event)));
	}
	return json;
}

static void print_line(const struct popcorn_event *event)
{
	_cleanup_free_ char *time = format_time(popcorn_event_get_time(event), TIME_CLOCK);
	const char *name = popcorn_event_get_name(event), *text = popcorn_event_get_text(event);
	const char *state = popcorn_event_get_state(event), *color = state_color(state);
	const char *reason = popcorn_event_get_reason(event);
	bool colors = use_color(1);

	printf("%s.%03u ", time, (unsigned)(popcorn_event_get_time(event) / 1000 % 1000));
	switch (popcorn_event_get_type(event)) {
	case POPCORN_EVENT_KERNEL_NEW:
		printf("%s: new", name);
		break;
	case POPCORN_EVENT_KERNEL_REMOVED:
		printf("%s: gone", name);
		break;
	case POPCORN_EVENT_STATE_CHANGED:
		printf("%s: ", name);
		if (*popcorn_event_get_old_state(event))
			printf("%s %s ", popcorn_event_get_old_state(event),
			       is_utf8() ? "→" : "->");
		printf("%s%s%s", color_on(colors, color), state, color_off(colors, color));
		if (*reason && strcmp(reason, "none"))
			printf(" (%s)", reason);
		break;
	case POPCORN_EVENT_JOB_NEW:
		printf("%s: job %" PRIu32 " begins: %s", name, popcorn_event_get_job(event),
		       popcorn_event_get_job_type(event));
		break;
	case POPCORN_EVENT_JOB_REMOVED:
		printf("%s: job %" PRIu32 " ended: %s", name, popcorn_event_get_job(event),
		       popcorn_event_get_result(event));
		break;
	case POPCORN_EVENT_DAEMON_APPEARED:
		fputs("popcornd is there", stdout);
		break;
	case POPCORN_EVENT_DAEMON_DISAPPEARED:
		fputs("popcornd went away; the kernels go on", stdout);
		break;
	}
	if (*text) {
		fputs(": ", stdout);
		print_safe(text, strlen(text), stdout);
	}
	putchar('\n');
}

static void on_event(const struct popcorn_event *event, void *userdata)
{
	const struct arguments *arguments = userdata;
	_cleanup_(json_freep) struct json *json = event_json(event);

	if (!json) /* of a newer library */
		return;
	if (arguments->json)
		json_print(json, JSON_SHORT, stdout);
	else
		print_line(event);
	/* Line by line, also into a pipe: somebody waits at the other end. */
	fflush(stdout);
}

/* Until there is a message. -EPIPE: whoever reads us has gone. */
static int wait_for_message(struct popcorn *popcorn)
{
	struct pollfd fds[] = { { .fd = popcorn_get_fd(popcorn) }, { .fd = STDOUT_FILENO } };
	uint64_t until = UINT64_MAX, now;
	int events = popcorn_get_events(popcorn), r = popcorn_get_timeout(popcorn, &until);
	struct timespec timeout;

	if (fds[0].fd < 0 || events < 0 || r < 0)
		return -ECONNRESET;
	fds[0].events = events;
	now = clock_usec(CLOCK_MONOTONIC);
	until = until > now ? until - now : 0;
	timeout = (struct timespec){ .tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000 };
	if (ppoll(fds, 2, &timeout, NULL) < 0)
		return -errno;
	return fds[1].revents ? -EPIPE : 0;
}

int verb_events(struct popcorn *popcorn, const struct arguments *arguments)
{
	int r;

	if (popcorn_subscribe(popcorn, on_event, (void *)arguments) < 0)
		return complain_last(popcorn, "events");
	while (!ferror(stdout)) {
		r = popcorn_process(popcorn);
		if (r < 0)
			return complain_last(popcorn, "events");
		if (r > 0)
			continue;
		r = wait_for_message(popcorn);
		if (r == -EPIPE)
			break;
		if (r < 0 && r != -EINTR) {
			complain("events", "%s", strerror(-r));
			return EXIT_FAILED;
		}
	}
	return EXIT_DONE;
}
