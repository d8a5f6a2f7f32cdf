// SPDX-License-Identifier: GPL-2.0-or-later
/* exec, shell: a command in another kernel, as if it were here. See docs/agent-protocol.md. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "messages.h"
#include "output.h"
#include "protocol.h"
#include "terminal.h"
#include "util.h"

/* As env(1), nohup(1) and their like: what is not the command's own status. */
enum {
	EXIT_NO_EXEC = 125,   /* popcornctl could not do it */
	EXIT_NOT_RUN = 126,   /* the command is there and can't be run */
	EXIT_NOT_FOUND = 127, /* there is no such command */
	EXIT_BY_SIGNAL = 128  /* and the signal's number */
};

/* No send waits for the command (AGENT_WINDOW): a kernel that takes nothing for so long is not coming back. */
#define SEND_MS 10000
/* Until it is known whether the command runs: there is nobody yet whose end would be told. */
#define START_MS 10000
/* Of each stream, for --json. */
#define JSON_OUTPUT_MAX (16U << 20)

struct output {
	int fd;
	bool gone; /* its reader here, or --json has had enough */
	uint8_t *buffer;
	size_t size, n, done;
	uint32_t credit; /* what was used up and not told yet */
	uint32_t window; /* what may still come */
	bool truncated;
};

struct exec {
	struct popcorn_endpoint *endpoint;
	const char *name, *what;
	const struct arguments *arguments;
	char **command;	  /* and its arguments; none: a login */
	bool login;	  /* by root's shell there */
	bool on_terminal; /* there */
	bool raw;	  /* and our own is only its glass and its keys */
	struct popcorn_msg_addr agent, session;
	bool started, ended, left;
	uint32_t pid, status;
	int failed; /* errno of FAILED, or of our own; below zero */
	bool refused;
	bool input_open;
	uint32_t input_window;
	struct output outputs[AGENT_STREAMS]; /* [0] is not used */
	int signal_fd, gone;
	struct presses interrupts; /* of a command that does not obey */
	struct presses escape;
};

static void send_message(struct exec *exec, const void *data, size_t length, unsigned flags)
{
	int r = popcorn_endpoint_send(exec->endpoint, &exec->session, data, length, flags, SEND_MS);

	/* That it has gone is told by our hold on it, after what it said last. */
	if (r < 0 && r != -EPIPE && !exec->failed)
		exec->failed = r;
}

static void send_number(struct exec *exec, enum agent_type type, enum agent_stream stream,
			uint32_t number)
{
	const struct agent_number message = agent_number(type, stream, number);

	send_message(exec, &message, sizeof(message), 0);
}

/* 0: nobody knows. */
static uint32_t own_size(void)
{
	struct winsize size;

	for (int i = 0; i < 3; i++)
		if (ioctl(i, TIOCGWINSZ, &size) == 0)
			return agent_size(size.ws_row, size.ws_col);
	return 0;
}

static void make_raw(struct exec *exec)
{
	int r;

	if (!exec->raw)
		return;
	r = terminal_make_raw();
	if (r < 0)
		exec->failed = r;
}

static void send_close(struct exec *exec, enum agent_stream stream)
{
	const struct agent_header message = agent_header(AGENT_CLOSE, stream);

	/* Behind the data of the stream. */
	send_message(exec, &message, sizeof(message), POPCORN_MSG_SEND_BULK);
}

struct hold {
	struct popcorn_endpoint *endpoint;
	struct popcorn_msg_addr session;
	int end;
};

/* Calls the session, which never replies: this returns when it has gone. */
static void *hold(void *argument)
{
	const struct agent_header request = agent_header(AGENT_HOLD, 0);
	struct hold *hold = argument;
	ssize_t r;

	do
		r = popcorn_endpoint_call(hold->endpoint, &hold->session, &request, sizeof(request),
					  NULL, 0, POPCORN_MSG_FOREVER, NULL);
	while (r == -EINTR);
	close(hold->end);
	free(hold);
	return NULL;
}

static void start_hold(struct exec *exec)
{
	struct hold *argument = xrealloc(NULL, 1, sizeof(*argument));
	pthread_t thread;
	int fds[2], r;

	*argument = (struct hold){ .endpoint = exec->endpoint, .session = exec->session };
	if (pipe2(fds, O_CLOEXEC) < 0) {
		free(argument);
		exec->failed = -errno;
		return;
	}
	exec->gone = fds[0];
	argument->end = fds[1];
	/* Signals are blocked, here and there. */
	r = pthread_create(&thread, NULL, hold, argument);
	if (r) {
		close(fds[1]);
		free(argument);
		exec->failed = -r;
	}
}

static void drop_output(struct exec *exec, enum agent_stream stream)
{
	struct output *output = &exec->outputs[stream];

	output->gone = true;
	output->n = output->done = 0;
	send_close(exec, stream);
}

static void take_data(struct exec *exec, const struct agent_message *message)
{
	struct output *output = &exec->outputs[message->stream];

	if (message->stream == AGENT_STDIN ||
	    message->length + AGENT_MESSAGE_COST > output->window) {
		exec->failed = -EBADMSG;
		return;
	}
	output->window -= (uint32_t)message->length + AGENT_MESSAGE_COST;
	output->credit += AGENT_MESSAGE_COST;
	if (output->gone)
		return;
	if (exec->arguments->json && output->n + message->length > JSON_OUTPUT_MAX) {
		output->truncated = true;
		output->gone = true;
		send_close(exec, message->stream);
		return;
	}
	if (output->done) {
		output->n -= output->done;
		memmove(output->buffer, output->buffer + output->done, output->n);
		output->done = 0;
	}
	if (output->n + message->length > output->size) {
		output->size = 2 * (output->n + message->length);
		output->buffer = xrealloc(output->buffer, output->size, 1);
	}
	memcpy(output->buffer + output->n, message->data, message->length);
	output->n += message->length;
	/* What is collected is used up. */
	if (exec->arguments->json)
		output->credit += (uint32_t)message->length;
}

static void give_credit(struct exec *exec, enum agent_stream stream)
{
	struct output *output = &exec->outputs[stream];

	/* A message for every quarter; the rest when all is shown. */
	if (output->gone || !output->credit ||
	    (output->n > output->done && !exec->arguments->json &&
	     output->credit < AGENT_WINDOW / 4))
		return;
	send_number(exec, AGENT_CREDIT, stream, output->credit);
	output->window += output->credit;
	output->credit = 0;
}

static void take_session_message(struct exec *exec, const struct agent_message *message)
{
	switch (message->type) {
	case AGENT_DATA:
		take_data(exec, message);
		break;
	case AGENT_CREDIT:
		if (message->stream != AGENT_STDIN ||
		    message->number > AGENT_WINDOW - exec->input_window)
			exec->failed = -EBADMSG;
		else
			exec->input_window += message->number;
		break;
	case AGENT_CLOSE:
		/* Of output: no more comes, which EXITED says as well. */
		if (message->stream == AGENT_STDIN)
			exec->input_open = false;
		break;
	case AGENT_FAILED:
		exec->failed = message->number && message->number < 4096 ? -(int)message->number
									 : -EBADMSG;
		exec->refused = !exec->started;
		break;
	case AGENT_EXITED:
		exec->status = message->number;
		exec->ended = true;
		break;
	case AGENT_HOLD: /* is kept; ends with us */
		break;
	default:
		exec->failed = -EBADMSG;
	}
}

static bool same(const struct popcorn_msg_addr *a, const struct popcorn_msg_addr *b)
{
	return a->kernel == b->kernel && a->generation == b->generation &&
	       a->endpoint == b->endpoint;
}

/* False: there was none. */
static bool take_message(struct exec *exec)
{
	/* As long as a message can be: one of a stranger that did not fit would stay. */
	static uint8_t buffer[POPCORN_MSG_SEND_MAX];
	struct popcorn_received received;
	struct agent_message message;
	ssize_t length;
	bool from_agent;
	int r;

	length = popcorn_endpoint_receive(exec->endpoint, buffer, sizeof(buffer), 0, &received,
					  NULL);
	if (length < 0) {
		if (length != -EAGAIN && length != -EINTR)
			exec->failed = (int)length;
		return length == -EINTR;
	}
	from_agent = same(&received.from, &exec->agent);
	if (received.uid != 0 || received.from.kernel != exec->agent.kernel ||
	    received.from.generation != exec->agent.generation ||
	    (exec->started && !same(&received.from, &exec->session) && !from_agent))
		return true;
	r = agent_parse(buffer, (size_t)length, &message);
	if (r < 0) {
		exec->failed = r;
		return true;
	}
	if (exec->started) {
		if (!from_agent)
			take_session_message(exec, &message);
	} else if (message.type == AGENT_STARTED && !from_agent) {
		exec->started = true;
		exec->session = received.from;
		exec->pid = message.number;
		start_hold(exec);
		make_raw(exec);
	} else if (message.type == AGENT_FAILED) {
		take_session_message(exec, &message);
	}
	return true;
}

static void send_input(struct exec *exec)
{
	static struct {
		struct agent_header header;
		uint8_t data[AGENT_DATA_MAX];
	} message;
	ssize_t n = read(STDIN_FILENO, message.data, agent_room(exec->input_window));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		/* Also when it can't be read: the command can do nothing about that. */
		exec->input_open = false;
		send_close(exec, AGENT_STDIN);
		return;
	}
	for (ssize_t i = 0; exec->raw && i < n; i++)
		if (escape_pressed(&exec->escape, (char)message.data[i])) {
			exec->left = true;
			return;
		}
	message.header = agent_header(AGENT_DATA, AGENT_STDIN);
	send_message(exec, &message, sizeof(message.header) + (size_t)n, POPCORN_MSG_SEND_BULK);
	exec->input_window -= (uint32_t)n + AGENT_MESSAGE_COST;
}

/*
 * No more than a pipe takes at once when it says that it takes anything: we must never wait in a write, see
 * show_output() of the console.
 */
static void show_output(struct exec *exec, enum agent_stream stream)
{
	struct output *output = &exec->outputs[stream];
	size_t size = output->n - output->done;
	ssize_t n =
		write(output->fd, output->buffer + output->done, size < PIPE_BUF ? size : PIPE_BUF);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		/* As for the command itself here: its next write finds nobody. */
		if (errno != EPIPE)
			complain(exec->what, "writing the output: %s", strerror(errno));
		drop_output(exec, stream);
		return;
	}
	output->done += (size_t)n;
	output->credit += (uint32_t)n;
	if (output->done == output->n)
		output->n = output->done = 0;
}

/* What the terminal of a command has keys for, it hears by that: what we get is meant for us. True: leave. */
static bool take_own_signal(struct exec *exec, uint32_t number)
{
	switch (number) {
	case SIGTSTP:
		/* Whoever has the terminal meanwhile has it as it was. */
		terminal_restore();
		raise(SIGSTOP);
		return false;
	case SIGCONT:
		/* It may have another size by now. */
		if (exec->started)
			make_raw(exec);
		break;
	case SIGWINCH:
		break;
	default:
		return true;
	}
	if (exec->started && !exec->ended)
		send_number(exec, AGENT_WINSIZE, 0, own_size());
	return false;
}

/* True: leave. */
static bool forward_signal(struct exec *exec)
{
	struct signalfd_siginfo signal;
	bool often;

	if (read(exec->signal_fd, &signal, sizeof(signal)) != sizeof(signal))
		return false;
	if (exec->on_terminal)
		return take_own_signal(exec, signal.ssi_signo);
	if (exec->ended)
		return signal.ssi_signo != SIGWINCH;
	if (exec->started)
		send_number(exec, AGENT_SIGNAL, 0, signal.ssi_signo);
	if (signal.ssi_signo != SIGINT)
		return !exec->started && signal.ssi_signo != SIGWINCH;
	often = presses_count(&exec->interrupts);
	return often || !exec->started;
}

static bool has_output(const struct exec *exec)
{
	for (int i = AGENT_STDOUT; i < AGENT_STREAMS; i++)
		if (!exec->arguments->json && exec->outputs[i].n > exec->outputs[i].done)
			return true;
	return false;
}

static void run(struct exec *exec)
{
	enum { INPUT, OUTPUT, ERRORS, MESSAGES, SIGNAL, GONE, NR };
	int r;

	while (!exec->failed && !exec->left && (!exec->ended || has_output(exec))) {
		bool input = exec->started && exec->input_open && agent_room(exec->input_window) &&
			     !exec->ended;
		struct pollfd fds[NR] = {
			[INPUT] = { .fd = input ? STDIN_FILENO : -1, .events = POLLIN },
			[MESSAGES] = { .fd = popcorn_endpoint_get_fd(exec->endpoint),
				       .events = POLLIN },
			[SIGNAL] = { .fd = exec->signal_fd, .events = POLLIN },
			[GONE] = { .fd = exec->gone, .events = POLLIN },
		};

		for (int i = AGENT_STDOUT; i < AGENT_STREAMS; i++) {
			const struct output *output = &exec->outputs[i];

			/* Always there: a reader of ours who went away is noticed at once. */
			fds[i].fd = exec->started && !output->gone && !exec->arguments->json
					    ? output->fd
					    : -1;
			fds[i].events = output->n > output->done ? POLLOUT : 0;
		}
		if (exec->ended)
			fds[MESSAGES].fd = fds[GONE].fd = -1;
		r = poll(fds, NR, exec->started ? -1 : START_MS);
		if (r <= 0) {
			exec->failed = r == 0 ? -ETIMEDOUT : errno == EINTR ? 0 : -errno;
			continue;
		}
		if (fds[SIGNAL].revents && forward_signal(exec))
			exec->left = true;
		if (fds[MESSAGES].revents)
			take_message(exec);
		if (fds[GONE].revents && !exec->ended) {
			/* What it said last may still wait. */
			while (!exec->ended && !exec->failed && take_message(exec))
				;
			if (!exec->ended && !exec->failed)
				exec->failed = -EPIPE;
		}
		if (fds[INPUT].revents && exec->input_open && !exec->ended)
			send_input(exec);
		for (int i = AGENT_STDOUT; i < AGENT_STREAMS; i++) {
			struct output *output = &exec->outputs[i];

			if (output->gone)
				continue;
			if (fds[i].revents & (POLLERR | POLLHUP | POLLNVAL))
				drop_output(exec, i);
			else if (fds[i].revents & POLLOUT)
				show_output(exec, i);
			if (!exec->ended)
				give_credit(exec, i);
		}
	}
}

/* Why there is no session, or not any more; the exit status for it. */
static int explain(struct popcorn *popcorn, const struct exec *exec)
{
	const char *program = exec->login ? "its shell" : exec->command[0];
	const char *quote = exec->login ? "" : "'";
	_cleanup_(kernel_freep) struct popcorn_kernel *kernel = NULL;
	const char *state = "gone";
	char text[160];

	if (exec->refused) {
		switch (exec->failed) {
		case -ENOENT:
			if (exec->login)
				complain(exec->what, "%s has no shell", exec->name);
			else
				complain(exec->what, "%s has no command '%s'", exec->name, program);
			return EXIT_NOT_FOUND;
		case -ENOTTY:
			complain(exec->what,
				 "%s can't make a terminal; 'popcornctl log %s --kernel' shows why",
				 exec->name, exec->name);
			return EXIT_NO_EXEC;
		case -EBUSY:
			complain(exec->what,
				 "%s runs as many commands as it may (%u); let one of them end",
				 exec->name, AGENT_SESSIONS_MAX);
			return EXIT_NO_EXEC;
		case -EACCES:
		case -EPERM:
		case -ENOEXEC:
		case -EISDIR:
		case -ENOTDIR:
		case -ELOOP:
		case -ETXTBSY:
			complain(exec->what, "%s can't run %s%s%s: %s", exec->name, quote, program,
				 quote, strerror(-exec->failed));
			return EXIT_NOT_RUN;
		}
		complain(exec->what, "%s could not start the command: %s", exec->name,
			 strerror(-exec->failed));
		return EXIT_NO_EXEC;
	}
	if (!exec->started && exec->failed == -ETIMEDOUT) {
		complain(exec->what, "%s did not say within %d s whether it runs", exec->name,
			 START_MS / 1000);
		return EXIT_NO_EXEC;
	}
	if (exec->failed != -EPIPE) {
		complain(exec->what, "%s",
			 describe_silence(exec->failed, exec->name, text, sizeof(text)));
		return EXIT_NO_EXEC;
	}
	if (popcorn_get_kernel(popcorn, exec->name, &kernel) >= 0)
		state = popcorn_kernel_get_state(kernel);
	complain(exec->what, "the session ended before the command did; %s is %s%s", exec->name,
		 state, strcmp(state, "running") == 0 ? ", its agent was ended there" : "");
	return EXIT_NO_EXEC;
}

static struct json *result_json(const struct exec *exec)
{
	struct json *json = json_new_object(), *command = json_new_array();
	int status = (int)exec->status;

	for (char **word = exec->command; *word; word++)
		json_append(command, json_new_bytes(*word, strlen(*word)));
	json_set(json, "name", json_new_string(exec->name));
	json_set(json, "command", command);
	json_set(json, "pid", json_new_u64(exec->pid));
	json_set(json, "status",
		 WIFEXITED(status) ? json_new_i64(WEXITSTATUS(status)) : json_new_null());
	json_set(json, "signal",
		 WIFSIGNALED(status) ? json_new_i64(WTERMSIG(status)) : json_new_null());
	for (int i = AGENT_STDOUT; i < AGENT_STREAMS; i++)
		json_set(json, i == AGENT_STDOUT ? "stdout" : "stderr",
			 json_new_bytes((const char *)exec->outputs[i].buffer, exec->outputs[i].n));
	json_set(json, "truncated",
		 json_new_bool(exec->outputs[AGENT_STDOUT].truncated ||
			       exec->outputs[AGENT_STDERR].truncated));
	return json;
}

/* What the command gets of our environment: how text and a terminal are. */
static char **make_environment(void)
{
	static const char *const names[] = {
		"TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE", "TZ"
	};
	char **environment = xrealloc(NULL, sizeof(names) / sizeof(names[0]) + 1, sizeof(char *));
	size_t n = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value)
			environment[n++] = xasprintf("%s=%s", names[i], value);
	}
	environment[n] = NULL;
	return environment;
}

static void free_environment(char ***environment)
{
	for (char **variable = *environment; *variable; variable++)
		free(*variable);
	free(*environment);
}

/* Finds the agent and asks who it is: an old one, or one that does not obey us, says so. */
static int reach_agent(struct exec *exec, uint32_t id)
{
	const struct agent_header request = agent_header(AGENT_HELLO, 0);
	uint8_t reply[POPCORN_MSG_CALL_MAX];
	struct agent_hello hello;
	int status = 0, r;
	ssize_t length;
	char text[160];

	r = popcorn_endpoint_lookup(exec->endpoint, id, AGENT_SERVICE, ANSWER_MS, &exec->agent);
	if (r == 0) {
		length = popcorn_endpoint_call(exec->endpoint, &exec->agent, &request,
					       sizeof(request), reply, sizeof(reply), ANSWER_MS,
					       &status);
		r = length < 0 ? (int)length : status;
		if (r == 0)
			r = agent_parse_hello(reply, (size_t)length, &hello);
	}
	if (r == 0)
		return EXIT_DONE;
	complain_named(exec->what,
		       r == -EACCES || r == -EPERM ? POPCORN_ERROR_NOT_AUTHORIZED
		       : r == -EPROTO		   ? POPCORN_ERROR_NOT_SUPPORTED
						   : POPCORN_ERROR_FAILED,
		       "%s", describe_silence(r, exec->name, text, sizeof(text)));
	return EXIT_NO_EXEC;
}

static uint32_t exec_flags(const struct exec *exec)
{
	uint32_t flags = exec->login ? AGENT_EXEC_LOGIN : 0;
	struct termios modes;

	if (!exec->on_terminal)
		return flags;
	flags |= AGENT_EXEC_TERMINAL;
	if (tcgetattr(STDIN_FILENO, &modes) == 0 && modes.c_iflag & IUTF8)
		flags |= AGENT_EXEC_UTF8;
	return flags;
}

static int send_exec(struct exec *exec)
{
	_cleanup_(free_environment) char **environment = make_environment();
	_cleanup_free_ uint8_t *message = xrealloc(NULL, AGENT_EXEC_MAX, 1);
	const struct agent_command command = {
		.arguments = exec->command,
		.environment = environment,
		.flags = exec_flags(exec),
		.size = exec->on_terminal ? own_size() : 0,
	};
	int length, r;
	char text[160];

	length = agent_build_exec(&command, message);
	if (length < 0) {
		complain(exec->what, "the command is too long; %u KiB and %u words can be sent",
			 AGENT_EXEC_MAX >> 10, AGENT_ARGUMENTS_MAX);
		return EXIT_NO_EXEC;
	}
	r = popcorn_endpoint_send(exec->endpoint, &exec->agent, message, (size_t)length,
				  POPCORN_MSG_SEND_BULK, SEND_MS);
	if (r == 0)
		return EXIT_DONE;
	complain(exec->what, "%s", describe_silence(r, exec->name, text, sizeof(text)));
	return EXIT_NO_EXEC;
}

static int open_forwarded_signals(bool on_terminal)
{
	static const int forwarded[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,
					 SIGUSR1, SIGUSR2, SIGWINCH };
	sigset_t signals;

	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(&signals, forwarded[i]);
	if (on_terminal) {
		sigaddset(&signals, SIGTSTP);
		sigaddset(&signals, SIGCONT);
	}
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &signals, SFD_CLOEXEC);
}

static int conclude(struct popcorn *popcorn, const struct exec *exec)
{
	int status = (int)exec->status;

	if (exec->left) {
		if (exec->started && !exec->arguments->quiet)
			fprintf(stderr, "\nLeft the %s; it is ended.\n",
				*exec->command ? "command" : "shell");
		return EXIT_INTERRUPTED;
	}
	if (exec->failed) {
		/* Its cursor is wherever the command had it. */
		if (exec->raw && exec->started)
			fputc('\n', stderr);
		return explain(popcorn, exec);
	}
	if (exec->arguments->json) {
		_cleanup_(json_freep) struct json *json = result_json(exec);

		json_print(json, exec->arguments->json, stdout);
	}
	return WIFSIGNALED(status) ? EXIT_BY_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_there(struct popcorn *popcorn, const struct arguments *arguments, struct exec *exec)
{
	_cleanup_(peers_done) struct peers peers = { 0 };
	int status;

	exec->arguments = arguments;
	exec->name = arguments->names[0];
	exec->input_open = true;
	exec->input_window = AGENT_WINDOW;
	exec->gone = -1;
	exec->raw = exec->on_terminal && isatty(STDIN_FILENO);
	for (int i = AGENT_STDOUT; i < AGENT_STREAMS; i++)
		exec->outputs[i] = (struct output){ .fd = i, .window = AGENT_WINDOW };
	/* A terminal has one output. */
	exec->outputs[AGENT_STDERR].gone = exec->on_terminal;
	exec->signal_fd = open_forwarded_signals(exec->on_terminal);
	if (find_peers(popcorn, exec->what, exec->name, true, &peers) ||
	    open_endpoint(exec->what, &exec->endpoint))
		return EXIT_NO_EXEC;
	/* It ends with the process: a thread may wait in it until then. */
	if (exec->signal_fd < 0 || reach_agent(exec, peers.items[0].id))
		return EXIT_NO_EXEC;
	if (exec->raw && !*exec->command && !arguments->quiet)
		fprintf(stderr, "Connected to %s. " ESCAPE_HELP "\n", exec->name);
	if (send_exec(exec))
		return EXIT_NO_EXEC;
	run(exec);
	terminal_restore();

	status = conclude(popcorn, exec);
	for (int i = AGENT_STDOUT; i < AGENT_STREAMS; i++)
		free(exec->outputs[i].buffer);
	return status;
}

int verb_exec(struct popcorn *popcorn, const struct arguments *arguments)
{
	_cleanup_free_ char *what = xasprintf("exec %s", arguments->names[0]);
	struct exec exec = {
		.what = what,
		.command = arguments->names + 1,
		.on_terminal = arguments->tty,
	};

	return run_there(popcorn, arguments, &exec);
}

/* The words as one line for a shell, as ssh(1) makes it. NULL: there is nothing in it. */
static char *join_words(char **words)
{
	char *line = xstrdup("");

	for (char **word = words; *word; word++) {
		char *longer = xasprintf("%s%s%s", line, word > words ? " " : "", *word);

		free(line);
		line = longer;
	}
	if (*line)
		return line;
	free(line);
	return NULL;
}

int verb_shell(struct popcorn *popcorn, const struct arguments *arguments)
{
	_cleanup_free_ char *what = xasprintf("shell %s", arguments->names[0]);
	_cleanup_free_ char *line = join_words(arguments->names + 1);
	char *command[] = { line, NULL };
	struct exec exec = {
		.what = what,
		.command = command,
		.login = true,
		/* Output that goes elsewhere is as the command writes it; that of a login is for people. */
		.on_terminal = arguments->tty ||
			       (isatty(STDIN_FILENO) && (!line || isatty(STDOUT_FILENO))),
	};

	return run_there(popcorn, arguments, &exec);
}
