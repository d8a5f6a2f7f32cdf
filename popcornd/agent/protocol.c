// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "protocol.h"

static bool has_number(uint16_t type)
{
	return type == AGENT_STARTED || type == AGENT_FAILED || type == AGENT_EXITED ||
	       type == AGENT_CREDIT || type == AGENT_SIGNAL || type == AGENT_WINSIZE;
}

static bool has_stream(uint16_t type)
{
	return type == AGENT_DATA || type == AGENT_CREDIT || type == AGENT_CLOSE;
}

int agent_parse(const void *data, size_t length, struct agent_message *ret)
{
	struct agent_header header;
	struct agent_number number = { .number = 0 };

	if (length < sizeof(header))
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	if (header.version != AGENT_VERSION)
		return -EPROTO;
	if (!header.type || header.type >= AGENT_TYPES)
		return -EBADMSG;
	if (has_stream(header.type) ? header.stream >= AGENT_STREAMS : header.stream != 0)
		return -EBADMSG;

	if (has_number(header.type)) {
		if (length != sizeof(number))
			return -EBADMSG;
		memcpy(&number, data, sizeof(number));
		if (number.reserved)
			return -EBADMSG;
		length = sizeof(header);
	} else if (header.type == AGENT_EXEC) {
		if (length < sizeof(struct agent_exec) || length > AGENT_EXEC_MAX)
			return -EBADMSG;
	} else if (header.type == AGENT_DATA) {
		/* Nothing to say is not said: a stream ends by a CLOSE. */
		if (length == sizeof(header) || length - sizeof(header) > AGENT_DATA_MAX)
			return -EBADMSG;
	} else if (length != sizeof(header)) {
		return -EBADMSG;
	}
	*ret = (struct agent_message){
		.type = header.type,
		.stream = header.stream,
		.number = number.number,
		.data = (const uint8_t *)data + sizeof(header),
		.length = length - sizeof(header),
	};
	return 0;
}

/* Points @n strings out of @text, which ends with a NUL. Behind them, or NULL: there are not so many. */
static char *split(char *text, const char *end, char **strings, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (text >= end)
			return NULL;
		strings[i] = text;
		text += strlen(text) + 1;
	}
	strings[n] = NULL;
	return text;
}

static bool exec_is_valid(const struct agent_exec *exec)
{
	uint32_t least = exec->flags & AGENT_EXEC_LOGIN ? 0 : 1;
	uint32_t most = exec->flags & AGENT_EXEC_LOGIN ? 1 : AGENT_ARGUMENTS_MAX;

	if (exec->flags & ~(uint32_t)AGENT_EXEC_FLAGS)
		return false;
	if (!(exec->flags & AGENT_EXEC_TERMINAL) && (exec->flags & AGENT_EXEC_UTF8 || exec->size))
		return false;
	return exec->arguments >= least && exec->arguments <= most &&
	       exec->environment <= AGENT_ENVIRONMENT_MAX;
}

int agent_parse_exec(const struct agent_message *message, struct agent_command *ret)
{
	const size_t fixed = sizeof(struct agent_exec) - sizeof(struct agent_header);
	struct agent_exec exec;
	size_t length;
	char **list, *text, *end;

	if (message->type != AGENT_EXEC || message->length < fixed)
		return -EBADMSG;
	memcpy((uint8_t *)&exec + sizeof(exec.header), message->data, fixed);
	if (!exec_is_valid(&exec))
		return -EBADMSG;
	length = message->length - fixed;
	if (length && message->data[message->length - 1] != '\0')
		return -EBADMSG;

	list = malloc((exec.arguments + exec.environment + 2) * sizeof(*list) + length);
	if (!list)
		return -ENOMEM;
	*ret = (struct agent_command){ .arguments = list,
				       .environment = list + exec.arguments + 1,
				       .flags = exec.flags,
				       .size = exec.size,
				       .memory = list };
	text = memcpy(ret->environment + exec.environment + 1, message->data + fixed, length);
	end = text + length;
	text = split(text, end, ret->arguments, exec.arguments);
	if (text)
		text = split(text, end, ret->environment, exec.environment);
	/* No name of a program, a variable without a value, or more than was counted. */
	if (text != end || (exec.arguments && !*ret->arguments[0]))
		goto bad;
	for (char **variable = ret->environment; *variable; variable++)
		if (**variable == '=' || !strchr(*variable, '='))
			goto bad;
	return 0;
bad:
	agent_command_done(ret);
	return -EBADMSG;
}

void agent_command_done(struct agent_command *command)
{
	free(command->memory);
	*command = (struct agent_command){ 0 };
}

/* A reply's header; replies have no type of their own. */
static int check_reply(const void *data, size_t length, enum agent_type type, size_t size)
{
	struct agent_header header;

	if (length < sizeof(header))
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	if (header.version != AGENT_VERSION)
		return -EPROTO;
	return header.type != type || header.stream || length < size ? -EBADMSG : 0;
}

int agent_parse_hello(const void *data, size_t length, struct agent_hello *ret)
{
	int r = check_reply(data, length, AGENT_HELLO, sizeof(*ret));

	if (r < 0)
		return r;
	if (length != sizeof(*ret))
		return -EBADMSG;
	memcpy(ret, data, sizeof(*ret));
	ret->release[sizeof(ret->release) - 1] = '\0';
	return 0;
}

int agent_parse_top(const void *data, size_t length, struct agent_top *ret,
		    struct agent_process processes[AGENT_PROCESSES_MAX])
{
	int r = check_reply(data, length, AGENT_TOP, sizeof(*ret));
	struct agent_top top;

	if (r < 0)
		return r;
	memcpy(&top, data, sizeof(top));
	if (top.listed > AGENT_PROCESSES_MAX || top.reserved ||
	    length != sizeof(top) + top.listed * sizeof(*processes))
		return -EBADMSG;
	if (top.memory_available > top.memory_total)
		top.memory_available = top.memory_total;
	memcpy(processes, (const uint8_t *)data + sizeof(top), top.listed * sizeof(*processes));
	for (uint32_t i = 0; i < top.listed; i++)
		processes[i].name[sizeof(processes[i].name) - 1] = '\0';
	*ret = top;
	return 0;
}

struct agent_header agent_header(enum agent_type type, enum agent_stream stream)
{
	return (struct agent_header){ .version = AGENT_VERSION, .type = type, .stream = stream };
}

struct agent_number agent_number(enum agent_type type, enum agent_stream stream, uint32_t number)
{
	return (struct agent_number){ .header = agent_header(type, stream), .number = number };
}

static bool append(uint8_t *buf, size_t *used, const void *data, size_t length)
{
	if (length > AGENT_EXEC_MAX - *used)
		return false;
	memcpy(buf + *used, data, length);
	*used += length;
	return true;
}

int agent_build_exec(const struct agent_command *command, uint8_t buf[AGENT_EXEC_MAX])
{
	struct agent_exec exec = { .header = agent_header(AGENT_EXEC, 0),
				   .flags = command->flags,
				   .size = command->size };
	char **arguments = command->arguments, **environment = command->environment;
	size_t used = sizeof(exec);

	for (; arguments[exec.arguments]; exec.arguments++)
		if (exec.arguments >= AGENT_ARGUMENTS_MAX ||
		    !append(buf, &used, arguments[exec.arguments],
			    strlen(arguments[exec.arguments]) + 1))
			return -E2BIG;
	for (; environment[exec.environment]; exec.environment++)
		if (exec.environment >= AGENT_ENVIRONMENT_MAX ||
		    !append(buf, &used, environment[exec.environment],
			    strlen(environment[exec.environment]) + 1))
			return -E2BIG;
	memcpy(buf, &exec, sizeof(exec));
	return (int)used;
}

bool agent_signal_is_valid(uint32_t number)
{
	/* 32 and 33 are the C library's own. */
	return number >= 1 && number <= 64 && number != 32 && number != 33;
}
