// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include <libpopcorn-msg.h>

#include "agent/protocol.h"
#include "config-build.h"
#include "kernel.h"
#include "log.h"
#include "talk.h"
#include "task.h"
#include "util.h"

/* An agent only forks and replies: one that takes longer than that is not going to answer. */
#define ANSWER_USEC (2 * USEC_PER_SEC)
/* Threads at a time that say hello: all kernels may be there when popcornd starts. */
#define GREETINGS_MAX 8

struct talk {
	struct manager *manager;
	struct popcorn_endpoint
		*endpoint; /* for who can be reached; NULL while nobody runs, or without a device */
	sd_event_source *source;
	unsigned n_greetings;
};

/* One HELLO, and its thread; it may outlive the kernel that it is for. */
struct greeting {
	struct manager *manager;
	char name[POPCORN_NAME_MAX];
	uint32_t id, generation;
	struct task *task;
	int result;
	unsigned version; /* of the agent; 0: it did not say */
	struct agent_hello hello;
};

const char *talk_messages_to_string(enum talk_messages messages)
{
	switch (messages) {
	case TALK_UNKNOWN:
		return "";
	case TALK_NO:
		return "no";
	case TALK_YES:
		return "yes";
	case TALK_OTHER_VERSION:
		return "other-version";
	}
	return "";
}

static void endpoint_closep(struct popcorn_endpoint **endpoint)
{
	popcorn_endpoint_close(*endpoint);
}

static uint32_t left_ms(uint64_t deadline)
{
	uint64_t now = now_usec();

	return deadline > now ? (uint32_t)((deadline - now + 999) / 1000) : 0;
}

/* In a thread. Bytes of the reply, and its status. */
static int call_agent(uint32_t id, uint32_t generation, enum agent_type type, uint64_t deadline,
		      void *reply, size_t room, int *ret_status)
{
	_cleanup_(endpoint_closep) struct popcorn_endpoint *endpoint = NULL;
	const struct agent_header request = agent_header(type, 0);
	const uint64_t latest = now_usec() + ANSWER_USEC;
	struct popcorn_msg_addr agent;
	int r;

	if (deadline > latest)
		deadline = latest;
	r = popcorn_endpoint_open(&endpoint);
	if (r < 0)
		return r;
	r = popcorn_endpoint_lookup(endpoint, id, AGENT_SERVICE, left_ms(deadline), &agent);
	if (r < 0)
		return r;
	/* Ids are given out again. */
	if (agent.generation != generation)
		return -EPIPE;
	return (int)popcorn_endpoint_call(endpoint, &agent, &request, sizeof(request), reply, room,
					  left_ms(deadline), ret_status);
}

int talk_shutdown(uint32_t id, uint32_t generation, uint64_t deadline)
{
	int status = 0;
	/* Of another version it would say so, with its hello. */
	uint8_t reply[sizeof(struct agent_hello)];
	int r = call_agent(id, generation, AGENT_SHUTDOWN, deadline, reply, sizeof(reply), &status);

	return r < 0 ? r : status;
}

/*
 * Who is there.
 */

static void set_state(struct kernel *kernel, enum talk_messages messages, const char *release)
{
	static const char *const properties[] = { "Messages", "AgentVersion", NULL };
	struct talk_state *state = &kernel->talk;

	if (state->messages == messages && strcmp(state->release, release) == 0)
		return;
	state->messages = messages;
	snprintf(state->release, sizeof(state->release), "%s", release);
	if (kernel->announced)
		kernel_emit_changed(kernel, properties);
}

static void greeting_run(void *userdata)
{
	struct greeting *greeting = userdata;
	struct agent_header header;
	uint8_t reply[sizeof(greeting->hello)];
	int status = 0, r;

	r = call_agent(greeting->id, greeting->generation, AGENT_HELLO, UINT64_MAX, reply,
		       sizeof(reply), &status);
	if (r >= (int)sizeof(header)) {
		memcpy(&header, reply, sizeof(header));
		greeting->version = header.version;
	}
	if (r >= 0 && status < 0)
		r = status;
	greeting->result = r < 0 ? r : agent_parse_hello(reply, (size_t)r, &greeting->hello);
}

/* What another kernel says is not believed to be text. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static void take_answer(struct kernel *kernel, struct greeting *greeting)
{
	struct log_fields fields = { .id = LOG_ID_AGENT, .kernel = kernel->name };
	char *release = greeting->hello.release;

	switch (greeting->result) {
	case 0:
		make_printable(release);
		set_state(kernel, TALK_YES, release);
		if (strcmp(release, POPCORN_VERSION) == 0)
			return;
		fields.agent = release;
		log_send(LOG_WARNING, &fields,
			 "the agent of kernel %s is of Popcorn %s, popcornd of " POPCORN_VERSION
			 ": it was booted by another one",
			 kernel->name, release);
		return;
	case -EPROTO:
		set_state(kernel, TALK_OTHER_VERSION, "");
		log_send(LOG_WARNING, &fields,
			 "the agent of kernel %s speaks version %u of the messages between them, "
			 "popcornd version %u: it is asked to shut down by the doorbell alone",
			 kernel->name, greeting->version, AGENT_VERSION);
		return;
	}
	set_state(kernel, TALK_NO, "");
	log_send(LOG_WARNING, &fields,
		 "the agent of kernel %s does not answer messages: %s; it is asked to shut down by "
		 "the doorbell alone",
		 kernel->name, strerror(-greeting->result));
}

static bool is_there(const struct kernel *kernel)
{
	return kernel->state == POPCORN_STATE_RUNNING || kernel->state == POPCORN_STATE_STOPPING;
}

static void greeting_done(void *userdata)
{
	struct greeting *greeting = userdata;
	struct manager *manager = greeting->manager;
	struct kernel *kernel = manager_find_kernel(manager, greeting->name);

	manager->talk->n_greetings--;
	/* The one that was asked, or one that came after it? */
	if (kernel && is_there(kernel) && kernel->talk.greeted == greeting->generation)
		take_answer(kernel, greeting);
	free(greeting);
	talk_look(manager);
}

static void greet(struct talk *talk, struct kernel *kernel)
{
	struct greeting *greeting = calloc(1, sizeof(*greeting));

	kernel->talk.greeted = kernel->generation;
	if (!greeting)
		return; /* it stays unknown */
	greeting->manager = talk->manager;
	greeting->id = kernel->id;
	greeting->generation = kernel->generation;
	snprintf(greeting->name, sizeof(greeting->name), "%s", kernel->name);
	if (task_start(talk->manager->event, greeting_run, NULL, greeting_done, greeting,
		       &greeting->task) < 0) {
		free(greeting);
		return;
	}
	talk->n_greetings++;
}

static int on_members(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct talk *talk = userdata;

	talk_look(talk->manager);
	return 0;
}

static void talk_close(struct talk *talk)
{
	talk->source = sd_event_source_disable_unref(talk->source);
	talk->endpoint = popcorn_endpoint_close(talk->endpoint);
}

static void talk_open(struct talk *talk)
{
	if (popcorn_endpoint_open(&talk->endpoint) < 0)
		return;
	if (sd_event_add_io(talk->manager->event, &talk->source,
			    popcorn_endpoint_get_fd(talk->endpoint), EPOLLPRI, on_members,
			    talk) < 0)
		talk_close(talk);
}

static bool can_be_reached(const struct kernel *kernel, const struct popcorn_msg_addr *members,
			   size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (members[i].kernel == kernel->id && members[i].generation == kernel->generation)
			return true;
	return false;
}

static bool anybody_is_there(const struct manager *manager)
{
	const struct kernel *kernel;

	TAILQ_FOREACH(kernel, &manager->kernels, entry)
		if (is_there(kernel))
			return true;
	return false;
}

void talk_look(struct manager *manager)
{
	struct popcorn_msg_addr members[POPCORN_KERNELS_MAX + 1];
	struct talk *talk = manager->talk;
	struct kernel *kernel;
	ssize_t n = 0;

	if (!talk) {
		talk = calloc(1, sizeof(*talk));
		if (!talk)
			return; /* the next change looks again */
		talk->manager = manager;
		manager->talk = talk;
	}
	/* Who holds the device while no kernel needs it keeps the module from being replaced. */
	if (!anybody_is_there(manager))
		talk_close(talk);
	else if (!talk->endpoint)
		talk_open(talk);
	if (talk->endpoint)
		n = popcorn_endpoint_members(talk->endpoint, members, ARRAY_SIZE(members));
	if (n < 0) {
		/* This kernel is about to end. What is not read would be told of again and again. */
		talk_close(talk);
		n = 0;
	}
	if (n > (ssize_t)ARRAY_SIZE(members))
		n = ARRAY_SIZE(members);

	TAILQ_FOREACH(kernel, &manager->kernels, entry) {
		if (!is_there(kernel)) {
			kernel->talk.greeted = 0;
			set_state(kernel, TALK_UNKNOWN, "");
		} else if (!can_be_reached(kernel, members, (size_t)n)) {
			kernel->talk.greeted = 0;
			set_state(kernel, TALK_NO, "");
		} else if (kernel->talk.greeted != kernel->generation &&
			   talk->n_greetings < GREETINGS_MAX) {
			set_state(kernel, TALK_UNKNOWN, "");
			greet(talk, kernel);
		}
	}
}

bool talk_has_threads(const struct talk *talk)
{
	return talk && talk->n_greetings > 0;
}

struct talk *talk_free(struct talk *talk)
{
	if (talk) {
		talk_close(talk);
		free(talk);
	}
	return NULL;
}
