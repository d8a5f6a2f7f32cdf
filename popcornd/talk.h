/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * What popcornd and the agents say to each other by messages: docs/agent-protocol.md. All of it may fail and nothing
 * depends on it: a kernel without messages is started, watched and stopped as well.
 *
 *	loop: a kernel runs, or others can be reached ──▶ talk_look() ──▶ a task for each: HELLO ──▶ kernel->talk
 *	thread of a stop, after the doorbell: talk_shutdown()
 */

#include <stdbool.h>
#include <stdint.h>

#define TALK_RELEASE_MAX 32

/* Does a kernel take messages? */
enum talk_messages {
	TALK_UNKNOWN,	    /* it does not run, or has not answered yet */
	TALK_NO,	    /* it can't be reached, or its agent does not answer */
	TALK_YES,	    /* its agent has answered */
	TALK_OTHER_VERSION, /* it has answered in another version */
};

/* Of one kernel; zero when it does not run. */
struct talk_state {
	enum talk_messages messages;
	char release[TALK_RELEASE_MAX]; /* of Popcorn, as the agent says it, printable; or "" */
	uint32_t greeted;		/* generation whose agent was asked who it is, or 0 */
};

const char *talk_messages_to_string(enum talk_messages messages);

struct manager;
struct talk;
/* Shows who can be reached, and greets who could not be before. Cheap; also when nothing has changed. */
void talk_look(struct manager *manager);
/* Threads still wait for an answer. */
bool talk_has_threads(const struct talk *talk);
/* At exit. */
struct talk *talk_free(struct talk *talk);

/*
 * Any thread. Asks the agent to shut its kernel down, and waits until it says that it has heard, but not longer than
 * to @deadline (of now_usec()), or for an agent that does not answer. 0, or why there is no answer.
 */
int talk_shutdown(uint32_t id, uint32_t generation, uint64_t deadline);
