// SPDX-License-Identifier: GPL-2.0-or-later
/* What the primary and the agents say to each other, and what either makes of nonsense. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "login.h"
#include "protocol.h"
#include "run.h"
#include "top.h"

static uint8_t buf[AGENT_EXEC_MAX + 1];

static int parse(const void *data, size_t length, struct agent_message *message)
{
	/* No byte behind it may matter: valgrind sees one that is looked at. */
	void *copy = malloc(length ? length : 1);
	int r;

	memcpy(copy, data, length);
	r = agent_parse(copy, length, message);
	free(copy);
	return r;
}

START_TEST(lengths)
{
	struct agent_message message;

	for (int type = 0; type <= AGENT_TYPES; type++) {
		struct agent_header header = agent_header(type, 0);
		bool number = type == AGENT_STARTED || type == AGENT_FAILED ||
			      type == AGENT_EXITED || type == AGENT_CREDIT ||
			      type == AGENT_SIGNAL || type == AGENT_WINSIZE;
		size_t exact = number ? sizeof(struct agent_number) : sizeof(header);

		memset(buf, 0, sizeof(buf));
		memcpy(buf, &header, sizeof(header));
		for (size_t length = 0; length < 64; length++) {
			bool good = type == AGENT_EXEC	 ? length >= sizeof(struct agent_exec)
				    : type == AGENT_DATA ? length > sizeof(header)
							 : length == exact;

			if (!type || type == AGENT_TYPES)
				good = false;
			ck_assert_int_eq(parse(buf, length, &message), good ? 0 : -EBADMSG);
			if (good)
				ck_assert_int_eq(message.type, type);
		}
	}
}
END_TEST

START_TEST(limits)
{
	struct agent_header data = agent_header(AGENT_DATA, AGENT_STDERR);
	struct agent_message message;

	memcpy(buf, &data, sizeof(data));
	ck_assert_int_eq(parse(buf, sizeof(data) + AGENT_DATA_MAX, &message), 0);
	ck_assert_int_eq(message.stream, AGENT_STDERR);
	ck_assert_uint_eq(message.length, AGENT_DATA_MAX);
	ck_assert_int_eq(parse(buf, sizeof(data) + AGENT_DATA_MAX + 1, &message), -EBADMSG);
	data = agent_header(AGENT_EXEC, 0);
	memcpy(buf, &data, sizeof(data));
	ck_assert_int_eq(parse(buf, AGENT_EXEC_MAX, &message), 0);
	ck_assert_int_eq(parse(buf, AGENT_EXEC_MAX + 1, &message), -EBADMSG);
}
END_TEST

START_TEST(fields)
{
	struct agent_number number = agent_number(AGENT_CREDIT, AGENT_STDOUT, 12345);
	struct agent_message message;

	ck_assert_int_eq(parse(&number, sizeof(number), &message), 0);
	ck_assert_int_eq(message.type, AGENT_CREDIT);
	ck_assert_int_eq(message.stream, AGENT_STDOUT);
	ck_assert_uint_eq(message.number, 12345);
	number.reserved = 1;
	ck_assert_int_eq(parse(&number, sizeof(number), &message), -EBADMSG);
	number = agent_number(AGENT_CREDIT, AGENT_STREAMS, 1);
	ck_assert_int_eq(parse(&number, sizeof(number), &message), -EBADMSG);
	/* A stream where there is none. */
	number = agent_number(AGENT_SIGNAL, AGENT_STDOUT, 15);
	ck_assert_int_eq(parse(&number, sizeof(number), &message), -EBADMSG);
	number = agent_number(AGENT_SIGNAL, 0, 15);
	number.header.version++;
	ck_assert_int_eq(parse(&number, sizeof(number), &message), -EPROTO);
	/* Whatever else is in a message of another version: that is what is said. */
	ck_assert_int_eq(parse(&number, sizeof(number.header), &message), -EPROTO);
}
END_TEST

START_TEST(signals)
{
	static const uint32_t good[] = { 1, 2, 9, 15, 19, 28, 34, 64 };
	static const uint32_t bad[] = { 0, 32, 33, 65, 128, UINT32_MAX };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert(agent_signal_is_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert(!agent_signal_is_valid(bad[i]));
}
END_TEST

START_TEST(commands)
{
	char *arguments[] = { "sh", "-c", "", "a b\n\xff", NULL };
	char *environment[] = { "TERM=vt220", "EMPTY=", NULL };
	char *none[] = { NULL };
	struct agent_command command = { .arguments = arguments, .environment = environment };
	struct agent_message message;
	int length;

	length = agent_build_exec(&command, buf);
	ck_assert_int_gt(length, 0);
	ck_assert_int_eq(agent_parse(buf, (size_t)length, &message), 0);
	ck_assert_int_eq(agent_parse_exec(&message, &command), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_str_eq(command.arguments[i], arguments[i]);
	ck_assert_ptr_null(command.arguments[4]);
	for (int i = 0; i < 2; i++)
		ck_assert_str_eq(command.environment[i], environment[i]);
	ck_assert_ptr_null(command.environment[2]);
	ck_assert_uint_eq(command.flags, 0);
	agent_command_done(&command);

	command = (struct agent_command){ .arguments = arguments, .environment = none };
	length = agent_build_exec(&command, buf);
	ck_assert_int_eq(agent_parse(buf, (size_t)length, &message), 0);
	ck_assert_int_eq(agent_parse_exec(&message, &command), 0);
	ck_assert_ptr_null(command.environment[0]);
	agent_command_done(&command);

	/* A login: nothing but how the terminal is. */
	command = (struct agent_command){ .arguments = none,
					  .environment = none,
					  .flags = AGENT_EXEC_FLAGS,
					  .size = agent_size(24, 80) };
	length = agent_build_exec(&command, buf);
	ck_assert_int_eq(length, sizeof(struct agent_exec));
	ck_assert_int_eq(agent_parse(buf, (size_t)length, &message), 0);
	ck_assert_int_eq(agent_parse_exec(&message, &command), 0);
	ck_assert_ptr_null(command.arguments[0]);
	ck_assert_ptr_null(command.environment[0]);
	ck_assert_uint_eq(command.flags, AGENT_EXEC_FLAGS);
	ck_assert_uint_eq(command.size, 24 << 16 | 80);
	agent_command_done(&command);
}
END_TEST

static int parse_exec_flags(uint32_t flags, uint32_t size, uint32_t arguments, uint32_t environment,
			    const char *text, size_t length)
{
	const struct agent_exec exec = { .header = agent_header(AGENT_EXEC, 0),
					 .arguments = arguments,
					 .environment = environment,
					 .flags = flags,
					 .size = size };
	struct agent_command command;
	struct agent_message message;
	uint8_t *copy = malloc(sizeof(exec) + length);
	int r;

	memcpy(copy, &exec, sizeof(exec));
	memcpy(copy + sizeof(exec), text, length);
	ck_assert_int_eq(agent_parse(copy, sizeof(exec) + length, &message), 0);
	r = agent_parse_exec(&message, &command);
	if (r == 0)
		agent_command_done(&command);
	free(copy);
	return r;
}

/* An EXEC with these counts and this text. */
static int parse_exec(uint32_t arguments, uint32_t environment, const char *text, size_t length)
{
	return parse_exec_flags(0, 0, arguments, environment, text, length);
}

START_TEST(bad_commands)
{
	ck_assert_int_eq(parse_exec(1, 1, "ls\0A=b", 7), 0);
	ck_assert_int_eq(parse_exec(0, 0, "", 0), -EBADMSG);
	ck_assert_int_eq(parse_exec(1, 0, "", 0), -EBADMSG);
	ck_assert_int_eq(parse_exec(0, 1, "A=b", 4), -EBADMSG);
	ck_assert_int_eq(parse_exec(1, 0, "ls", 2), -EBADMSG);	      /* no end */
	ck_assert_int_eq(parse_exec(1, 0, "ls\0-l", 6), -EBADMSG);    /* more than was said */
	ck_assert_int_eq(parse_exec(3, 0, "ls\0-l", 6), -EBADMSG);    /* less */
	ck_assert_int_eq(parse_exec(1, 2, "ls\0A=b", 7), -EBADMSG);   /* less */
	ck_assert_int_eq(parse_exec(1, 0, "\0", 1), -EBADMSG);	      /* no name */
	ck_assert_int_eq(parse_exec(1, 1, "ls\0Ab\0", 6), -EBADMSG);  /* no value */
	ck_assert_int_eq(parse_exec(1, 1, "ls\0=ab\0", 7), -EBADMSG); /* no name */
	ck_assert_int_eq(parse_exec(UINT32_MAX, 0, "ls", 3), -EBADMSG);
	ck_assert_int_eq(parse_exec(1, UINT32_MAX, "ls", 3), -EBADMSG);
	ck_assert_int_eq(parse_exec(AGENT_ARGUMENTS_MAX + 1, 0, "ls", 3), -EBADMSG);
}
END_TEST

START_TEST(exec_flags)
{
	const uint32_t terminal = AGENT_EXEC_TERMINAL, login = AGENT_EXEC_LOGIN;

	ck_assert_int_eq(parse_exec_flags(terminal, 1, 1, 0, "ls", 3), 0);
	ck_assert_int_eq(parse_exec_flags(terminal | AGENT_EXEC_UTF8, 0, 1, 0, "ls", 3), 0);
	ck_assert_int_eq(parse_exec_flags(login, 0, 1, 1, "ls\0A=b", 7), 0);
	ck_assert_int_eq(parse_exec_flags(login, 0, 0, 1, "A=b", 4), 0);
	ck_assert_int_eq(parse_exec_flags(login, 0, 0, 0, "", 0), 0);
	/* A terminal's, without one. */
	ck_assert_int_eq(parse_exec_flags(0, 1, 1, 0, "ls", 3), -EBADMSG);
	ck_assert_int_eq(parse_exec_flags(AGENT_EXEC_UTF8, 0, 1, 0, "ls", 3), -EBADMSG);
	/* Two lines for the shell; something behind nothing. */
	ck_assert_int_eq(parse_exec_flags(login, 0, 2, 0, "ls\0-l", 6), -EBADMSG);
	ck_assert_int_eq(parse_exec_flags(login, 0, 0, 0, "", 1), -EBADMSG);
	ck_assert_int_eq(parse_exec_flags(terminal, 0, 0, 0, "", 0), -EBADMSG);
	for (uint32_t flag = AGENT_EXEC_FLAGS + 1; flag; flag <<= 1)
		ck_assert_int_eq(parse_exec_flags(flag, 0, 1, 0, "ls", 3), -EBADMSG);
}
END_TEST

static void check_login(const char *passwd, const char *name, const char *home, const char *shell)
{
	FILE *f = fmemopen((char *)passwd, strlen(passwd), "r");
	struct login login;

	ck_assert_ptr_nonnull(f);
	login_read(f, &login);
	fclose(f);
	ck_assert_str_eq(login.name, name);
	ck_assert_str_eq(login.home, home);
	ck_assert_str_eq(login.shell, shell);
}

START_TEST(logins)
{
	static char text[1000];
	struct login login;

	login_read(NULL, &login);
	ck_assert_str_eq(login.shell, "/bin/sh");
	check_login("\n", "root", "/root", "/bin/sh");
	check_login("root:x:0:0:root:/root:/bin/bash\n", "root", "/root", "/bin/bash");
	check_login("daemon:x:1:1::/:/x\ntoor:x:0:0::/r:/bin/zsh\nroot:x:0:0::/root:/bin/ash\n",
		    "toor", "/r", "/bin/zsh");
	/* The last line, without an end. */
	check_login("root:x:0:0:root:/root:/bin/ash", "root", "/root", "/bin/ash");
	check_login("root:x:0:0:root::\n", "root", "/root", "/bin/sh");
	check_login("root:x:0:0:root:here:bin/sh\n", "root", "/root", "/bin/sh");
	check_login("root:x:0:0\nroot:x:00:0:::\n:::\n", "root", "/root", "/bin/sh");
	/* Too long to be true. */
	snprintf(text, sizeof(text), "%0100d:x:0:0::/%0300d:/%0300d\n", 1, 2, 3);
	check_login(text, "root", "/root", "/bin/sh");
}
END_TEST

START_TEST(long_commands)
{
	static char word[AGENT_EXEC_MAX];
	static char *many[AGENT_ARGUMENTS_MAX + 2];
	char *none[] = { NULL };
	char *arguments[] = { word, NULL };
	struct agent_command command = { .arguments = arguments, .environment = none };

	memset(word, 'x', sizeof(word) - 1);
	ck_assert_int_eq(agent_build_exec(&command, buf), -E2BIG);
	word[AGENT_EXEC_MAX - sizeof(struct agent_exec) - 1] = '\0';
	ck_assert_int_eq(agent_build_exec(&command, buf), AGENT_EXEC_MAX);
	for (size_t i = 0; i < AGENT_ARGUMENTS_MAX; i++)
		many[i] = "x";
	command.arguments = many;
	ck_assert_int_gt(agent_build_exec(&command, buf), 0);
	many[AGENT_ARGUMENTS_MAX] = "x";
	ck_assert_int_eq(agent_build_exec(&command, buf), -E2BIG);
	arguments[0] = "x";
	many[AGENT_ENVIRONMENT_MAX + 1] = NULL;
	command = (struct agent_command){ .arguments = arguments, .environment = many };
	ck_assert_int_eq(agent_build_exec(&command, buf), -E2BIG);
}
END_TEST

START_TEST(replies)
{
	static struct agent_process processes[AGENT_PROCESSES_MAX];
	struct {
		struct agent_top top;
		struct agent_process processes[AGENT_PROCESSES_MAX];
	} answer = { .top = { .header = agent_header(AGENT_TOP, 0),
			      .listed = 2,
			      .memory_total = 100,
			      .memory_available = 200 } };
	struct agent_hello hello = { .header = agent_header(AGENT_HELLO, 0) };
	size_t length = sizeof(answer.top) + 2 * sizeof(processes[0]);
	struct agent_top top;

	memset(hello.release, 'x', sizeof(hello.release));
	ck_assert_int_eq(agent_parse_hello(&hello, sizeof(hello), &hello), 0);
	ck_assert_uint_eq(strlen(hello.release), sizeof(hello.release) - 1);
	ck_assert_int_eq(agent_parse_hello(&hello, sizeof(hello) - 1, &hello), -EBADMSG);
	ck_assert_int_eq(agent_parse_hello(&hello, 0, &hello), -EBADMSG);
	hello.header.version = 7;
	ck_assert_int_eq(agent_parse_hello(&hello, sizeof(hello), &hello), -EPROTO);

	memset(answer.processes[1].name, 'y', sizeof(answer.processes[1].name));
	ck_assert_int_eq(agent_parse_top(&answer, length, &top, processes), 0);
	ck_assert_uint_eq(top.memory_available, 100);
	ck_assert_uint_eq(strlen(processes[1].name), sizeof(processes[1].name) - 1);
	ck_assert_int_eq(agent_parse_top(&answer, length - 1, &top, processes), -EBADMSG);
	ck_assert_int_eq(agent_parse_top(&answer, sizeof(answer), &top, processes), -EBADMSG);
	ck_assert_int_eq(agent_parse_top(&answer, sizeof(top) - 1, &top, processes), -EBADMSG);
	answer.top.listed = AGENT_PROCESSES_MAX + 1;
	ck_assert_int_eq(agent_parse_top(&answer, sizeof(answer), &top, processes), -EBADMSG);
	answer.top.listed = UINT32_MAX;
	ck_assert_int_eq(agent_parse_top(&answer, sizeof(answer), &top, processes), -EBADMSG);
}
END_TEST

/* ---- top --------------------------------------------------------------------------------- */

static char folder[] = "/tmp/test-agent-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void write_process(int pid, const char *name, unsigned long flags, unsigned ticks)
{
	char path[64], text[512];

	snprintf(path, sizeof(path), "%s/%d", folder, pid);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%d/stat", pid);
	snprintf(text, sizeof(text),
		 "%d (%s) S 1 1 1 0 -1 %lu 9 9 9 9 %u 0 9 9 20 0 1 0 77 4096000 25 99 1 1\n", pid,
		 name, flags, ticks);
	write_file(path, text);
}

START_TEST(reads_proc)
{
	static struct agent_process processes[AGENT_PROCESSES_MAX];
	uint64_t tick = 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
	struct agent_top top;
	char command[64];
	int proc;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	proc = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(top_read(proc, &top, processes), -ENOENT);
	write_file("stat", "cpu  10 20 30 400 50 6 7 800 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
			   "cpu1 1 1 1 1 1 1 1 1 1 1\nintr 1 2 3\nprocs_running 3\n");
	write_file("meminfo", "MemTotal:  1000 kB\nMemFree: 7 kB\nMemAvailable: 400 kB\n");
	write_file("loadavg", "0.05 1.50 12.34 3/99 1234\n");
	write_file("uptime", "77.08 100.00\n");
	write_process(1, "init", 0, 5);
	write_process(2, "kthreadd", 0x00200000, 0);
	write_process(33, "a) S (b c", 0, 500);
	/* More than can be told: the busiest are. */
	for (int i = 0; i < 100; i++)
		write_process(1000 + i, "many", 0, 10 + (unsigned)i);
	ck_assert_int_eq(top_read(proc, &top, processes), 0);
	ck_assert_uint_eq(top.cpus, 2);
	ck_assert_uint_eq(top.busy_usec, (10 + 20 + 30 + 6 + 7) * tick);
	ck_assert_uint_eq(top.idle_usec, 450 * tick);
	ck_assert_uint_eq(top.memory_total, 1000 << 10);
	ck_assert_uint_eq(top.memory_available, 400 << 10);
	ck_assert_uint_eq(top.load[0], 5);
	ck_assert_uint_eq(top.load[1], 150);
	ck_assert_uint_eq(top.load[2], 1234);
	ck_assert_uint_eq(top.uptime_usec, 77080000);
	ck_assert_uint_eq(top.running, 3);
	ck_assert_uint_eq(top.processes, 102);
	ck_assert_uint_eq(top.listed, AGENT_PROCESSES_MAX);
	ck_assert_str_eq(processes[0].name, "a) S (b c");
	ck_assert_uint_eq(processes[0].usec, 500 * tick);
	ck_assert_uint_eq(processes[0].resident, 25 * (uint64_t)sysconf(_SC_PAGESIZE));
	ck_assert_uint_eq(processes[0].state, 'S');
	for (uint32_t i = 1; i < top.listed; i++)
		ck_assert_uint_eq(processes[i].usec, (110 - i) * tick);
	close(proc);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent");
	TCase *tcase = tcase_create("agent");

	tcase_add_test(tcase, lengths);
	tcase_add_test(tcase, limits);
	tcase_add_test(tcase, fields);
	tcase_add_test(tcase, signals);
	tcase_add_test(tcase, commands);
	tcase_add_test(tcase, bad_commands);
	tcase_add_test(tcase, exec_flags);
	tcase_add_test(tcase, logins);
	tcase_add_test(tcase, long_commands);
	tcase_add_test(tcase, replies);
	tcase_add_test(tcase, reads_proc);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
