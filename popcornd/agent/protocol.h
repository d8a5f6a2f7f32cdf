/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * What the primary and the agents say to each other, by messages between endpoints. How a session
 * goes, and who may: docs/agent-protocol.md.
 *
 * Structures lie in a message as they do here; both sides are programs of one machine. Whatever was
 * received is looked at by agent_parse() and its like before anything else, and then bounded.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_SERVICE "popcorn.agent"
#define AGENT_VERSION 2

/* Bytes of an EXEC, with its header; of the data of one DATA. */
#define AGENT_EXEC_MAX (128U << 10)
#define AGENT_DATA_MAX (32U << 10)
/*
 * What of a stream may be under way: sent, and not yet acknowledged by a CREDIT. A message costs its bytes, which
 * are acknowledged when they have been used up, and AGENT_MESSAGE_COST, which is when it has been received: as the
 * driver counts what waits in an endpoint. All streams together are less than that may be (POPCORN_MSG_QUEUE_MAX), so
 * that no send waits for its receiver, not even of single bytes.
 */
#define AGENT_WINDOW (256U << 10)
#define AGENT_MESSAGE_COST 256U
#define AGENT_ARGUMENTS_MAX 4096U
#define AGENT_ENVIRONMENT_MAX 64U
/* Sessions of one kernel at a time. */
#define AGENT_SESSIONS_MAX 16U
#define AGENT_PROCESSES_MAX 64U

enum agent_type {
	/* Requests (CALL) to the agent; the status of the reply is 0 or an errno below zero. */
	AGENT_HELLO = 1, /* reply: struct agent_hello */
	AGENT_TOP,	 /* reply: struct agent_top, then its processes */
	AGENT_SHUTDOWN,	 /* no data in the reply */

	/* To the agent: begins a session. struct agent_exec, then strings. */
	AGENT_EXEC,

	/* From the endpoint of the session, which is of its own, to that of the caller. */
	AGENT_STARTED, /* number: the pid */
	AGENT_FAILED,  /* number: an errno; no session, or not any more */
	AGENT_EXITED,  /* number: what wait(2) says of the command; the last message */

	/* Both ways. */
	AGENT_DATA,   /* of a stream: bytes behind the header */
	AGENT_CREDIT, /* of a stream: so much of its window is free again */
	AGENT_CLOSE,  /* of a stream: its writer sends no more, or its reader wants no more */
	AGENT_HOLD, /* a request that is never replied to: its caller learns that the other has gone */

	/* To the session. */
	AGENT_SIGNAL,  /* number: for the command's process group */
	AGENT_WINSIZE, /* number: agent_size() of its terminal from now on */

	AGENT_TYPES
};

enum agent_stream { AGENT_STDIN, AGENT_STDOUT, AGENT_STDERR, AGENT_STREAMS };

/**
 * struct agent_header - begins every message
 * @version: AGENT_VERSION; never changes place
 * @type:    enum agent_type
 * @stream:  enum agent_stream, of DATA, CREDIT and CLOSE; else zero
 */
struct agent_header {
	uint16_t version;
	uint16_t type;
	uint32_t stream;
};

/* STARTED, FAILED, EXITED, CREDIT, SIGNAL, WINSIZE. */
struct agent_number {
	struct agent_header header;
	uint32_t number;
	uint32_t reserved; /* zero */
};

/* How the command of an EXEC runs. */
enum {
	AGENT_EXEC_TERMINAL = 1 << 0, /* on a terminal of its own; stderr is not used */
	AGENT_EXEC_UTF8 = 1 << 1,     /* of that: its line editing knows UTF-8 */
	AGENT_EXEC_LOGIN = 1 << 2,    /* by root's shell; without arguments: that, as at a login */
	AGENT_EXEC_FLAGS = AGENT_EXEC_TERMINAL | AGENT_EXEC_UTF8 | AGENT_EXEC_LOGIN
};

/**
 * struct agent_exec - a command
 * @arguments:	 how many strings it has, the program first: 1..AGENT_ARGUMENTS_MAX; with
 *		 AGENT_EXEC_LOGIN one line for the shell, or none
 * @environment: how many "NAME=VALUE" come after them: 0..AGENT_ENVIRONMENT_MAX
 * @flags:	 AGENT_EXEC_*
 * @size:	 agent_size() of the terminal; zero: not known, or there is none
 *
 * Behind it the strings, each with its NUL, and nothing else.
 */
struct agent_exec {
	struct agent_header header;
	uint32_t arguments;
	uint32_t environment;
	uint32_t flags;
	uint32_t size;
};

/**
 * struct agent_hello - who the agent is
 * @sessions: under way; of AGENT_SESSIONS_MAX
 * @release:  of Popcorn, NUL-terminated
 */
struct agent_hello {
	struct agent_header header;
	uint32_t sessions;
	uint32_t sessions_max;
	char release[32];
};

/**
 * struct agent_process - one that is among those that used most CPU
 * @usec:     of CPU time since it started
 * @resident: bytes
 * @pid:      its id
 * @state:    as in /proc/PID/stat
 * @name:     NUL-terminated, as the process likes
 */
struct agent_process {
	uint64_t usec;
	uint64_t resident;
	uint32_t pid;
	uint32_t state;
	char name[16];
};

/**
 * struct agent_top - how a kernel is
 * @cpus:	   online
 * @listed:	   struct agent_process that follow, most CPU time first: 0..AGENT_PROCESSES_MAX
 * @uptime_usec:   since the kernel's start
 * @busy_usec:	   of all CPUs together since then; what a hypervisor took is not busy
 * @idle_usec:	   of all CPUs together, idle or waiting for a device
 * @memory_total:  bytes
 * @memory_available: bytes that a program could get without swapping
 * @processes:	   all of them, without threads
 * @running:	   threads that run or want to
 * @load:	   of 1, 5 and 15 minutes, in hundredths
 */
struct agent_top {
	struct agent_header header;
	uint32_t cpus;
	uint32_t listed;
	uint64_t uptime_usec;
	uint64_t busy_usec;
	uint64_t idle_usec;
	uint64_t memory_total;
	uint64_t memory_available;
	uint32_t processes;
	uint32_t running;
	uint32_t load[3];
	uint32_t reserved; /* zero */
};

#define AGENT_TOP_MAX \
	(sizeof(struct agent_top) + AGENT_PROCESSES_MAX * sizeof(struct agent_process))

/* A message that was looked at. @data lies in what was received. */
struct agent_message {
	enum agent_type type;
	enum agent_stream stream;
	uint32_t number;
	const uint8_t *data;
	size_t length;
};

/* A command that was looked at: both lists end with NULL and are one allocation, of their own. */
struct agent_command {
	char **arguments;
	char **environment;
	uint32_t flags;
	uint32_t size;
	void *memory;
};

/*
 * 0, or -EBADMSG: not a message as described above, or -EPROTO: of another version. Any type is
 * taken; who may send it, and when, is for the caller to know.
 */
int agent_parse(const void *data, size_t length, struct agent_message *ret);
/* Of an EXEC that agent_parse() took; @ret is for agent_command_done(). -EBADMSG, -ENOMEM. */
int agent_parse_exec(const struct agent_message *message, struct agent_command *ret);
void agent_command_done(struct agent_command *command);
/* The replies. Names are terminated, and numbers bounded, where they are not. */
int agent_parse_hello(const void *data, size_t length, struct agent_hello *ret);
int agent_parse_top(const void *data, size_t length, struct agent_top *ret,
		    struct agent_process processes[AGENT_PROCESSES_MAX]);

/* How many bytes of a stream can be sent now. */
static inline uint32_t agent_room(uint32_t window)
{
	if (window <= AGENT_MESSAGE_COST)
		return 0;
	window -= AGENT_MESSAGE_COST;
	return window < AGENT_DATA_MAX ? window : AGENT_DATA_MAX;
}

/* The size of a terminal as one number. */
static inline uint32_t agent_size(uint16_t rows, uint16_t columns)
{
	return (uint32_t)rows << 16 | columns;
}

struct agent_header agent_header(enum agent_type type, enum agent_stream stream);
struct agent_number agent_number(enum agent_type type, enum agent_stream stream, uint32_t number);
/* Writes an EXEC to @buf. Its length, or -E2BIG. */
int agent_build_exec(const struct agent_command *command, uint8_t buf[AGENT_EXEC_MAX]);
/* A signal that may be sent to a command: not one that the kernel alone makes, and there is one. */
bool agent_signal_is_valid(uint32_t number);
