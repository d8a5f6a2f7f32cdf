// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A caller who does not keep to the protocol, and one who may nothing: the agent goes on, and what such a session
 * ran is ended. The agent is fake-agent (FAKE_AGENT), with messages that only pretend.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpopcorn-msg.h>

#include "protocol.h"
#include "run.h"

#define KERNEL 1
#define PATIENCE_MS 20000

static char folder[] = "/tmp/test-agent-XXXXXX";
static struct popcorn_endpoint *endpoint;
static struct popcorn_msg_addr agent, session;
static pid_t agent_pid;
static FILE *agent_out;
static uint8_t buf[POPCORN_MSG_SEND_MAX];

static void setup(void)
{
	char line[32] = "";
	int fds[2];

	strcpy(folder + sizeof(folder) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	setenv("POPCORN_FAKE_MSG", folder, 1);
	unsetenv("POPCORN_FAKE_UID");
	ck_assert_int_eq(pipe(fds), 0);
	agent_pid = fork();
	if (agent_pid == 0) {
		setenv("POPCORN_FAKE_KERNEL", "1", 1);
		dup2(fds[1], 1);
		execl(getenv("FAKE_AGENT"), "fake-agent", folder, NULL);
		_exit(127);
	}
	close(fds[1]);
	agent_out = fdopen(fds[0], "r");
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), agent_out));
	ck_assert_str_eq(line, "ready\n");
	ck_assert_int_eq(popcorn_endpoint_open(&endpoint), 0);
	ck_assert_int_eq(popcorn_endpoint_lookup(endpoint, KERNEL, AGENT_SERVICE, 0, &agent), 0);
}

static void teardown(void)
{
	char command[64];

	kill(agent_pid, SIGKILL);
	waitpid(agent_pid, NULL, 0);
	fclose(agent_out);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static void send_to(const struct popcorn_msg_addr *to, const void *data, size_t length)
{
	ck_assert_int_eq(popcorn_endpoint_send(endpoint, to, data, length, 0, PATIENCE_MS), 0);
}

/* The next message but HOLD, of a session that has begun or not. */
static struct agent_message next_message(void)
{
	struct agent_message message = { 0 };
	struct popcorn_received received;

	do {
		struct pollfd fd = { .fd = popcorn_endpoint_get_fd(endpoint), .events = POLLIN };
		ssize_t length;

		ck_assert_int_eq(poll(&fd, 1, PATIENCE_MS), 1);
		length = popcorn_endpoint_receive(endpoint, buf, sizeof(buf), 0, &received, NULL);
		ck_assert_int_ge(length, 0);
		ck_assert_int_eq(agent_parse(buf, (size_t)length, &message), 0);
	} while (message.type == AGENT_HOLD);
	if (message.type == AGENT_STARTED)
		session = received.from;
	return message;
}

static int request(enum agent_type type, void *reply, size_t room, ssize_t *ret_length)
{
	const struct agent_header header = agent_header(type, 0);
	int status = 1;

	*ret_length = popcorn_endpoint_call(endpoint, &agent, &header, sizeof(header), reply, room,
					    PATIENCE_MS, &status);
	ck_assert_int_ge(*ret_length, 0);
	return status;
}

static void is_alive(void)
{
	struct agent_hello hello;
	ssize_t length;

	ck_assert_int_eq(request(AGENT_HELLO, buf, POPCORN_MSG_CALL_MAX, &length), 0);
	ck_assert_int_eq(agent_parse_hello(buf, (size_t)length, &hello), 0);
	ck_assert_uint_eq(hello.sessions_max, AGENT_SESSIONS_MAX);
}

static pid_t start_as(char *arguments[], uint32_t flags)
{
	char *none[] = { NULL };
	const struct agent_command command = { .arguments = arguments,
					       .environment = none,
					       .flags = flags };
	struct agent_message message;
	int length = agent_build_exec(&command, buf);

	ck_assert_int_gt(length, 0);
	send_to(&agent, buf, (size_t)length);
	message = next_message();
	ck_assert_int_eq(message.type, AGENT_STARTED);
	return (pid_t)message.number;
}

static pid_t start(char *arguments[])
{
	return start_as(arguments, 0);
}

static void is_gone(pid_t pid)
{
	for (int i = 0; i < PATIENCE_MS / 10; i++) {
		if (kill(pid, 0) < 0)
			return;
		poll(NULL, 0, 10);
	}
	ck_abort_msg("%d is still there", pid);
}

START_TEST(requests)
{
	static struct agent_process processes[AGENT_PROCESSES_MAX];
	struct agent_top top;
	ssize_t length;

	is_alive();
	ck_assert_int_eq(request(AGENT_TOP, buf, POPCORN_MSG_CALL_MAX, &length), 0);
	ck_assert_int_eq(agent_parse_top(buf, (size_t)length, &top, processes), 0);
	ck_assert_uint_gt(top.cpus, 0);
	ck_assert_uint_gt(top.listed, 0);
	/* What is no request is refused as one. */
	ck_assert_int_eq(request(AGENT_CLOSE, buf, POPCORN_MSG_CALL_MAX, &length), -EBADMSG);
	is_alive();
}
END_TEST

START_TEST(shutdown_request)
{
	char line[32] = "";
	ssize_t length;

	ck_assert_int_eq(request(AGENT_SHUTDOWN, NULL, 0, &length), 0);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), agent_out));
	ck_assert_str_eq(line, "shutdown\n");
}
END_TEST

START_TEST(not_root)
{
	static const enum agent_type types[] = { AGENT_HELLO, AGENT_TOP, AGENT_SHUTDOWN };
	char *arguments[] = { "true", NULL };
	char *none[] = { NULL };
	const struct agent_command command = { .arguments = arguments, .environment = none };
	struct agent_message message;
	ssize_t length;
	int n;

	setenv("POPCORN_FAKE_UID", "1000", 1);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		ck_assert_int_eq(request(types[i], buf, POPCORN_MSG_CALL_MAX, &length), -EACCES);
	n = agent_build_exec(&command, buf);
	send_to(&agent, buf, (size_t)n);
	message = next_message();
	ck_assert_int_eq(message.type, AGENT_FAILED);
	ck_assert_uint_eq(message.number, EACCES);
	unsetenv("POPCORN_FAKE_UID");
	is_alive();
}
END_TEST

START_TEST(nonsense)
{
	struct agent_header header = agent_header(AGENT_EXEC, 0);
	struct agent_message message;

	/* Nothing, and types that have no place here: nobody answers. */
	memset(buf, 0, sizeof(buf));
	send_to(&agent, buf, 0);
	for (int type = 0; type <= AGENT_TYPES; type++) {
		header = agent_header(type, 0);
		send_to(&agent, &header, sizeof(header));
	}
	is_alive();
	/* An EXEC of which only the length is right. */
	memset(buf, 0xff, 1000);
	header = agent_header(AGENT_EXEC, 0);
	memcpy(buf, &header, sizeof(header));
	send_to(&agent, buf, 1000);
	message = next_message();
	ck_assert_int_eq(message.type, AGENT_FAILED);
	ck_assert_uint_eq(message.number, EBADMSG);
	/* Another version, whatever it says, learns ours. */
	memset(buf, 0, sizeof(buf));
	send_to(&agent, buf, 200000);
	message = next_message();
	ck_assert_int_eq(message.type, AGENT_FAILED);
	ck_assert_uint_eq(message.number, EPROTO);
	is_alive();
}
END_TEST

static const char *const breaches[] = { "window", "credit",  "stdin credit", "signal",
					"type",	  "version", "stdout",	     "size" };

START_TEST(breach)
{
	char *arguments[] = { "sleep", "1000", NULL };
	pid_t pid = start(arguments);
	struct agent_message message;
	struct agent_header header = agent_header(AGENT_DATA, AGENT_STDIN);
	struct agent_number number = agent_number(AGENT_CREDIT, AGENT_STDOUT, 1);

	switch (_i) {
	case 0: /* more than there is room for: what fills the pipe was used up, so that much more */
		memset(buf, 0, sizeof(buf));
		memcpy(buf, &header, sizeof(header));
		for (unsigned i = 0; i < AGENT_WINDOW / AGENT_DATA_MAX + 4; i++)
			if (popcorn_endpoint_send(endpoint, &session, buf,
						  sizeof(header) + AGENT_DATA_MAX, 0,
						  PATIENCE_MS) < 0)
				break;
		break;
	case 1:
		send_to(&session, &number, sizeof(number));
		break;
	case 2:
		number = agent_number(AGENT_CREDIT, AGENT_STDIN, 1);
		send_to(&session, &number, sizeof(number));
		break;
	case 3:
		number = agent_number(AGENT_SIGNAL, 0, 12345);
		send_to(&session, &number, sizeof(number));
		break;
	case 4:
		header = agent_header(AGENT_EXITED, 0);
		send_to(&session, &header, sizeof(header));
		break;
	case 5:
		header.version = 0;
		send_to(&session, &header, sizeof(header));
		break;
	case 6:
		number.header = agent_header(AGENT_DATA, AGENT_STDOUT);
		send_to(&session, &number, sizeof(number));
		break;
	case 7: /* of a terminal that is not there */
		number = agent_number(AGENT_WINSIZE, 0, agent_size(24, 80));
		send_to(&session, &number, sizeof(number));
		break;
	}
	do
		message = next_message();
	while (message.type == AGENT_CREDIT);
	ck_assert_msg(message.type == AGENT_FAILED, "%s: type %d", breaches[_i], message.type);
	ck_assert_uint_eq(message.number, _i == 5 ? EPROTO : EBADMSG);
	is_gone(pid);
	is_alive();
}
END_TEST

/* Collects what a command on a terminal writes, and how it ends. */
static uint32_t finish(char *text, size_t room)
{
	struct agent_message message;
	size_t used = 0;

	for (;;) {
		message = next_message();
		if (message.type == AGENT_EXITED)
			break;
		if (message.type != AGENT_DATA)
			continue;
		ck_assert_int_eq(message.stream, AGENT_STDOUT);
		ck_assert_uint_lt(used + message.length, room);
		memcpy(text + used, message.data, message.length);
		used += message.length;
	}
	text[used] = '\0';
	return message.number;
}

START_TEST(terminal)
{
	char *arguments[] = { "sh", "-c",
			      "trap 'stty size; exit 3' WINCH; tty -s <&2 && echo ready; while :; "
			      "do sleep 0.1; done",
			      NULL };
	const struct agent_number number = agent_number(AGENT_WINSIZE, 0, agent_size(50, 132));
	const struct agent_number credit = agent_number(AGENT_CREDIT, AGENT_STDERR, 1);
	struct agent_message message;
	char text[256];
	pid_t pid;

	start_as(arguments, AGENT_EXEC_TERMINAL);
	message = next_message();
	ck_assert_int_eq(message.type, AGENT_DATA);
	ck_assert_uint_eq(message.length, strlen("ready\r\n"));
	send_to(&session, &number, sizeof(number));
	ck_assert_uint_eq(finish(text, sizeof(text)), 3 << 8);
	ck_assert_str_eq(text, "50 132\r\n");

	/* It has one output. */
	pid = start_as(arguments, AGENT_EXEC_TERMINAL);
	send_to(&session, &credit, sizeof(credit));
	do
		message = next_message();
	while (message.type == AGENT_DATA);
	ck_assert_int_eq(message.type, AGENT_FAILED);
	ck_assert_uint_eq(message.number, EBADMSG);
	is_gone(pid);
}
END_TEST

/* The end of what is typed, in a line and behind it. */
START_TEST(terminal_input)
{
	static const struct {
		const char *typed, *shown;
	} inputs[] = { { "", "" }, { "a\n", "a\r\n" }, { "a\nb", "a\r\nb" } };
	char *arguments[] = { "sh", "-c", "stty -echo; echo ready; cat", NULL };
	const struct agent_header close = agent_header(AGENT_CLOSE, AGENT_STDIN);
	struct {
		struct agent_header header;
		char text[8];
	} data = { .header = agent_header(AGENT_DATA, AGENT_STDIN) };
	char text[256];

	start_as(arguments, AGENT_EXEC_TERMINAL);
	ck_assert_int_eq(next_message().type, AGENT_DATA);
	strcpy(data.text, inputs[_i].typed);
	if (*data.text)
		send_to(&session, &data, sizeof(data.header) + strlen(data.text));
	send_to(&session, &close, sizeof(close));
	ck_assert_uint_eq(finish(text, sizeof(text)), 0);
	ck_assert_str_eq(text, inputs[_i].shown);
}
END_TEST

/* Nobody reads what it writes: that is the end of a terminal. */
START_TEST(hangup)
{
	char *arguments[] = { "sh", "-c",
			      "trap 'exit 4' HUP; echo ready; while :; do sleep 0.1; done", NULL };
	const struct agent_header close = agent_header(AGENT_CLOSE, AGENT_STDOUT);
	char text[16];

	start_as(arguments, AGENT_EXEC_TERMINAL);
	ck_assert_int_eq(next_message().type, AGENT_DATA);
	send_to(&session, &close, sizeof(close));
	ck_assert_uint_eq(finish(text, sizeof(text)), 4 << 8);
}
END_TEST

/* What others send to a session is nothing to it. */
START_TEST(stranger)
{
	char *arguments[] = { "cat", NULL };
	struct agent_number number = agent_number(AGENT_SIGNAL, 0, SIGKILL);
	struct agent_header header = agent_header(AGENT_CLOSE, AGENT_STDIN);
	struct popcorn_endpoint *mine = endpoint;
	struct agent_message message;
	pid_t pid = start(arguments);

	ck_assert_int_eq(popcorn_endpoint_open(&endpoint), 0);
	send_to(&session, &number, sizeof(number));
	send_to(&session, buf, 100000);
	endpoint = mine;
	setenv("POPCORN_FAKE_UID", "1000", 1);
	send_to(&session, &number, sizeof(number));
	unsetenv("POPCORN_FAKE_UID");
	ck_assert_int_eq(kill(pid, 0), 0);
	send_to(&session, &header, sizeof(header));
	do
		message = next_message();
	while (message.type == AGENT_CLOSE);
	ck_assert_int_eq(message.type, AGENT_EXITED);
	ck_assert_uint_eq(message.number, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent service");
	TCase *tcase = tcase_create("agent service");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, requests);
	tcase_add_test(tcase, shutdown_request);
	tcase_add_test(tcase, not_root);
	tcase_add_test(tcase, nonsense);
	tcase_add_loop_test(tcase, breach, 0, 8);
	tcase_add_test(tcase, terminal);
	tcase_add_loop_test(tcase, terminal_input, 0, 3);
	tcase_add_test(tcase, hangup);
	tcase_add_test(tcase, stranger);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
