// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whatever another kernel sends: what the parsers take is what the protocol says, lies within what was received,
 * and, built again, is the same message.
 */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "protocol.h"

static void check_exec(const struct agent_message *message, const uint8_t *data, size_t size)
{
	static uint8_t again[AGENT_EXEC_MAX];
	struct agent_command command;
	int r;

	r = agent_parse_exec(message, &command);
	CHECK(r == 0 || r == -EBADMSG);
	if (r < 0)
		return;
	CHECK(command.arguments[0] ? *command.arguments[0] != '\0'
				   : (command.flags & AGENT_EXEC_LOGIN) != 0);
	r = agent_build_exec(&command, again);
	CHECK(r == (int)size && memcmp(again, data, size) == 0);
	agent_command_done(&command);
	CHECK(!command.memory);
}

static void check_message(const uint8_t *data, size_t size)
{
	struct agent_message message;
	int r = agent_parse(data, size, &message);

	CHECK(r == 0 || r == -EBADMSG || r == -EPROTO);
	if (r < 0)
		return;
	CHECK(message.type > 0 && message.type < AGENT_TYPES);
	CHECK(message.stream < AGENT_STREAMS);
	CHECK(message.data >= data && message.data + message.length <= data + size);
	CHECK(message.type != AGENT_DATA ||
	      (message.length > 0 && message.length <= AGENT_DATA_MAX));
	if (message.type == AGENT_EXEC)
		check_exec(&message, data, size);
}

static void check_replies(const uint8_t *data, size_t size)
{
	static struct agent_process processes[AGENT_PROCESSES_MAX];
	struct agent_hello hello;
	struct agent_top top;
	int r;

	r = agent_parse_hello(data, size, &hello);
	CHECK(r == 0 || r == -EBADMSG || r == -EPROTO);
	CHECK(r < 0 || strnlen(hello.release, sizeof(hello.release)) < sizeof(hello.release));
	r = agent_parse_top(data, size, &top, processes);
	CHECK(r == 0 || r == -EBADMSG || r == -EPROTO);
	if (r < 0)
		return;
	CHECK(top.listed <= AGENT_PROCESSES_MAX && top.memory_available <= top.memory_total);
	for (uint32_t i = 0; i < top.listed; i++)
		CHECK(strnlen(processes[i].name, sizeof(processes[i].name)) <
		      sizeof(processes[i].name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* On the heap, and no larger than it is: the sanitizer sees a byte too much. */
	uint8_t *copy = malloc(size ? size : 1);

	CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	check_message(copy, size);
	check_replies(copy, size);
	free(copy);
	return 0;
}
