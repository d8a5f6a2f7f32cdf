// SPDX-License-Identifier: LGPL-2.1-or-later
/* Events: what popcornd signals. */
#include <string.h>
#include <time.h>

#include "internal.h"

/* Lives on the stack during one callback; its strings belong to the message. */
struct popcorn_event {
	enum popcorn_event_type type;
	uint64_t time;
	uint32_t job;
	const char *name, *old_state, *state, *reason, *text, *job_type, *result, *error;
};

static uint64_t now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int deliver(struct popcorn *popcorn, struct popcorn_event *event)
{
	if (!event->time)
		event->time = now_usec();
	if (popcorn->event_callback)
		popcorn->event_callback(event, popcorn->event_userdata);
	return 0;
}

static int on_kernel(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct popcorn_event event = {
		.type = sd_bus_message_is_signal(m, INTERFACE_MANAGER, "KernelNew") > 0
				? POPCORN_EVENT_KERNEL_NEW
				: POPCORN_EVENT_KERNEL_REMOVED,
	};

	if (sd_bus_message_read(m, "s", &event.name) < 0)
		return 0;
	return deliver(userdata, &event);
}

static int on_state_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct popcorn_event event = { .type = POPCORN_EVENT_STATE_CHANGED };

	if (sd_bus_message_read(m, "sosssst", &event.name, NULL, &event.old_state, &event.state,
				&event.reason, &event.text, &event.time) < 0)
		return 0;
	return deliver(userdata, &event);
}

static int on_job_new(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct popcorn_event event = { .type = POPCORN_EVENT_JOB_NEW };

	if (sd_bus_message_read(m, "uoss", &event.job, NULL, &event.name, &event.job_type) < 0)
		return 0;
	return deliver(userdata, &event);
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct popcorn_event event = { .type = POPCORN_EVENT_JOB_REMOVED };

	if (sd_bus_message_read(m, "uossss", &event.job, NULL, &event.name, &event.result,
				&event.error, &event.text) < 0)
		return 0;
	return deliver(userdata, &event);
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct popcorn_event event = { 0 };
	const char *owner;

	if (sd_bus_message_read(m, "sss", NULL, NULL, &owner) < 0)
		return 0;
	event.type = *owner ? POPCORN_EVENT_DAEMON_APPEARED : POPCORN_EVENT_DAEMON_DISAPPEARED;
	return deliver(userdata, &event);
}

static void unsubscribe(struct popcorn *popcorn)
{
	for (size_t i = 0; i < sizeof(popcorn->event_slots) / sizeof(popcorn->event_slots[0]); i++)
		popcorn->event_slots[i] = sd_bus_slot_unref(popcorn->event_slots[i]);
	popcorn->event_callback = NULL;
}

int popcorn_subscribe(struct popcorn *popcorn, popcorn_event_callback callback, void *userdata)
{
	static const struct {
		const char *member;
		sd_bus_message_handler_t handler;
	} signals[] = {
		{ "KernelNew", on_kernel },	      { "KernelRemoved", on_kernel },
		{ "StateChanged", on_state_changed }, { "JobNew", on_job_new },
		{ "JobRemoved", on_job_removed },
	};
	const size_t n = sizeof(signals) / sizeof(signals[0]);
	int r;

	r = popcorn_check_connected(popcorn);
	if (r < 0)
		return r;
	if (!callback) {
		unsubscribe(popcorn);
		return 0;
	}
	if (popcorn->event_callback) {
		popcorn->event_callback = callback;
		popcorn->event_userdata = userdata;
		return 0;
	}
	for (size_t i = 0; i < n && r >= 0; i++)
		r = sd_bus_match_signal(popcorn->bus, &popcorn->event_slots[i], BUS_NAME, BUS_PATH,
					INTERFACE_MANAGER, signals[i].member, signals[i].handler,
					popcorn);
	if (r >= 0)
		r = sd_bus_add_match(popcorn->bus, &popcorn->event_slots[n],
				     "type='signal',sender='org.freedesktop.DBus',"
				     "interface='org.freedesktop.DBus',"
				     "member='NameOwnerChanged',arg0='" BUS_NAME "'",
				     on_owner_changed, popcorn);
	if (r < 0) {
		unsubscribe(popcorn);
		return popcorn_fail_bus(popcorn, NULL, r);
	}
	popcorn->event_callback = callback;
	popcorn->event_userdata = userdata;
	return 0;
}

enum popcorn_event_type popcorn_event_get_type(const struct popcorn_event *event)
{
	return event->type;
}

uint64_t popcorn_event_get_time(const struct popcorn_event *event)
{
	return event->time;
}

const char *popcorn_event_get_name(const struct popcorn_event *event)
{
	return string_or_empty(event->name);
}

const char *popcorn_event_get_old_state(const struct popcorn_event *event)
{
	return string_or_empty(event->old_state);
}

const char *popcorn_event_get_state(const struct popcorn_event *event)
{
	return string_or_empty(event->state);
}

const char *popcorn_event_get_reason(const struct popcorn_event *event)
{
	return string_or_empty(event->reason);
}

const char *popcorn_event_get_text(const struct popcorn_event *event)
{
	return string_or_empty(event->text);
}

uint32_t popcorn_event_get_job(const struct popcorn_event *event)
{
	return event->job;
}

const char *popcorn_event_get_job_type(const struct popcorn_event *event)
{
	return string_or_empty(event->job_type);
}

const char *popcorn_event_get_result(const struct popcorn_event *event)
{
	return string_or_empty(event->result);
}

const char *popcorn_event_get_error(const struct popcorn_event *event)
{
	return string_or_empty(event->error);
}
