// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One command for one caller, in a process of its own: pipes or a terminal on one side, messages on the other. It ends
 * when the command has, or when the caller is gone, and leaves nothing of the command's process group behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "login.h"
#include "terminal.h"

/*
 * How long a send may take. It never waits for the caller to read (AGENT_WINDOW), only for the layer of
 * the caller's kernel: one that takes that long is not coming back.
 */
#define SEND_MS 10000
/* What is left of a process group has this long after SIGHUP before it gets SIGKILL. */
#define HANGUP_MS 2000
/* How often it is looked whether anything is left: there is no event for that. */
#define LOOK_MS 20

struct stream {
	int fd;		 /* our end of the pipe or terminal; -1: closed */
	uint32_t window; /* stdin: what was taken and not yet credited; else: what may be sent */
};

struct session {
	struct popcorn_endpoint *endpoint;
	struct popcorn_msg_addr caller;
	struct stream streams[AGENT_STREAMS];
	uint8_t input[AGENT_WINDOW]; /* of the caller, not yet written to the pipe */
	size_t n_input, input_done;
	uint8_t last_input; /* the byte that came last */
	bool input_ended;
	bool on_terminal;
	struct terminal
		terminal; /* the slave as long as the command runs: it is never without one */
	int gone;	  /* a pipe that is at its end when the caller is */
	int command_fd;
	pid_t command;
	int status; /* of the command, when it has ended */
	bool ended;
	int failed;	 /* why the session ends before the command, or 0 */
	int64_t kill_at; /* ms; 0: nothing is being ended yet */
	bool killed;
};

/* In the forked process only; too much for a stack. */
static struct session session;

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void send_message(struct session *s, const void *data, size_t length)
{
	int r = popcorn_endpoint_send(s->endpoint, &s->caller, data, length, POPCORN_MSG_SEND_BULK,
				      SEND_MS);

	if (r < 0 && !s->failed)
		s->failed = r;
}

static void send_number(struct session *s, enum agent_type type, enum agent_stream stream,
			uint32_t number)
{
	const struct agent_number message = agent_number(type, stream, number);

	send_message(s, &message, sizeof(message));
}

static void send_close(struct session *s, enum agent_stream stream)
{
	const struct agent_header message = agent_header(AGENT_CLOSE, stream);

	send_message(s, &message, sizeof(message));
}

/* Calls the caller, who never replies: this returns when he is gone. */
static void *hold(void *argument)
{
	const struct agent_header request = agent_header(AGENT_HOLD, 0);
	int *end = argument;
	ssize_t r;

	do
		r = popcorn_endpoint_call(session.endpoint, &session.caller, &request,
					  sizeof(request), NULL, 0, POPCORN_MSG_FOREVER, NULL);
	while (r == -EINTR);
	close(*end);
	return NULL;
}

static int start_hold(struct session *s)
{
	static int fds[2];
	sigset_t all, old;
	pthread_t thread;
	int r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	s->gone = fds[0];
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&thread, NULL, hold, &fds[1]);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

/* Root's shell: with a line for it, or for whoever has logged in. Returns only if there is none. */
static int run_shell(const char *shell, char *line)
{
	char name[sizeof(((struct login *)NULL)->shell) + 1];
	char *arguments[] = { name, line ? "-c" : NULL, line, NULL };

	name[0] = '-';
	strcpy(name + 1, base_name(shell));
	if (line)
		arguments[0]++;
	setenv("SHELL", shell, 1);
	execv(shell, arguments);
	return -errno;
}

/* In the root folder of the command. Returns only if it can't be run. */
static int run_program(const struct agent_command *command)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	bool by_shell = command->flags & AGENT_EXEC_LOGIN;
	struct login login;
	FILE *passwd = NULL;
	int r;

	if (by_shell)
		passwd = fopen("/etc/passwd", "re");
	login_read(passwd, &login);
	if (passwd)
		fclose(passwd);
	if (chdir(login.home) < 0 && chdir("/") < 0)
		return -errno;

	clearenv();
	putenv(path);
	setenv("HOME", login.home, 1);
	setenv("SHELL", login.shell, 1);
	setenv("USER", login.name, 1);
	setenv("LOGNAME", login.name, 1);
	for (char **variable = command->environment; *variable; variable++)
		putenv(*variable);
	if (by_shell) {
		r = run_shell(login.shell, command->arguments[0]);
		return strcmp(login.shell, "/bin/sh") == 0
			       ? r
			       : run_shell("/bin/sh", command->arguments[0]);
	}
	execvp(command->arguments[0], command->arguments);
	return -errno;
}

/* As a process has them that inherits nothing of us. */
static void reset_signals(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the forked child. Returns only if the command can't be run. */
static int run_command(const struct session *s, const struct messages *messages,
		       const struct agent_command *command, pid_t parent)
{
	int root, r;

	/* Not longer than the session, however that ends. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		return -ESRCH;
	setsid();
	r = s->on_terminal ? terminal_become_controlling(&s->terminal) : 0;
	if (r < 0)
		return r;
	reset_signals();
	umask(022);

	if (messages->other_root) {
		root = openat(messages->proc, "1/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (root < 0 || fchdir(root) < 0 || chroot(".") < 0)
			return -errno;
	}
	return run_program(command);
}

static int start_terminal(struct session *s, const struct messages *messages,
			  const struct agent_command *command)
{
	const char *path = messages->other_root ? "1/root" : "self/root";
	int root, r;

	root = openat(messages->proc, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = root < 0 ? -errno
		     : terminal_open(root, command->size, command->flags & AGENT_EXEC_UTF8,
				     &s->terminal);
	close_fd(&root);
	if (r < 0) {
		errno = -r;
		warn("a terminal for a session: %m");
		return -ENOTTY;
	}
	s->on_terminal = true;
	for (int i = AGENT_STDIN; i <= AGENT_STDOUT; i++) {
		s->streams[i].fd = fcntl(s->terminal.master, F_DUPFD_CLOEXEC, 3);
		if (s->streams[i].fd < 0)
			return -errno;
	}
	return 0;
}

/* The pipes of the command: ours go into the streams, its own to @ends. */
static int start_pipes(struct session *s, int ends[AGENT_STREAMS])
{
	for (int i = 0; i < AGENT_STREAMS; i++) {
		int ours = i == AGENT_STDIN ? 1 : 0, fds[2];

		if (pipe2(fds, O_CLOEXEC) < 0)
			return -errno;
		ends[i] = fds[!ours];
		s->streams[i].fd = fds[ours];
		if (fcntl(fds[ours], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	}
	return 0;
}

/* The command with its pipes or its terminal; 0 when it runs, or why it does not. */
static int start_command(struct session *s, const struct messages *messages,
			 const struct agent_command *command)
{
	int ends[AGENT_STREAMS] = { -1, -1, -1 }, report[2], r;
	pid_t parent = getpid();
	ssize_t length;

	r = command->flags & AGENT_EXEC_TERMINAL ? start_terminal(s, messages, command)
						 : start_pipes(s, ends);
	if (r < 0)
		return r;
	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	s->command = fork();
	if (s->command < 0)
		return -errno;
	if (s->command == 0) {
		/* No pipe is 0..2: the session keeps those open, see become_session(). */
		for (int i = 0; i < AGENT_STREAMS && !s->on_terminal; i++)
			dup2(ends[i], i);
		r = run_command(s, messages, command, parent);
		(void)!write(report[1], &r, sizeof(r));
		_exit(127);
	}
	close(report[1]);
	for (int i = 0; i < AGENT_STREAMS; i++)
		close_fd(&ends[i]);
	do
		length = read(report[0], &r, sizeof(r));
	while (length < 0 && errno == EINTR);
	close(report[0]);
	if (length == sizeof(r))
		return r;
	s->command_fd = (int)syscall(SYS_pidfd_open, s->command, 0);
	return s->command_fd < 0 ? -errno : 0;
}

/* Nobody is at our end of the pipes or of the terminal any more. */
static void hang_up(struct session *s)
{
	for (int i = 0; i < AGENT_STREAMS; i++)
		close_fd(&s->streams[i].fd);
	terminal_close(&s->terminal);
}

/* What was written to the command makes room for what comes. */
static void move_input(struct session *s)
{
	s->n_input -= s->input_done;
	memmove(s->input, s->input + s->input_done, s->n_input);
	s->input_done = 0;
}

static void take_data(struct session *s, const struct agent_message *message)
{
	struct stream *input = &s->streams[AGENT_STDIN];

	if (message->stream != AGENT_STDIN || s->input_ended ||
	    message->length + AGENT_MESSAGE_COST > AGENT_WINDOW - input->window) {
		s->failed = -EBADMSG;
		return;
	}
	/* It was on its way when the command closed its end. */
	if (input->fd < 0)
		return;
	if (message->length > sizeof(s->input) - s->n_input)
		move_input(s);
	memcpy(s->input + s->n_input, message->data, message->length);
	s->n_input += message->length;
	s->last_input = message->data[message->length - 1];
	input->window += (uint32_t)message->length + AGENT_MESSAGE_COST;
}

static void take_credit(struct session *s, const struct agent_message *message)
{
	struct stream *output = &s->streams[message->stream];

	if (message->stream == AGENT_STDIN || message->number > AGENT_WINDOW - output->window)
		s->failed = -EBADMSG;
	else
		output->window += message->number;
}

static void end_input(struct session *s)
{
	bool in_line = s->last_input && s->last_input != '\n' && s->last_input != '\r';

	/* A terminal can't be closed for reading alone. There is room: data costs more than its bytes. */
	if (s->on_terminal && !s->input_ended && s->streams[AGENT_STDIN].fd >= 0) {
		move_input(s);
		s->n_input += terminal_end_of_file(&s->terminal, in_line, s->input + s->n_input);
	}
	s->input_ended = true;
}

static void take_close(struct session *s, const struct agent_message *message)
{
	if (message->stream == AGENT_STDIN)
		end_input(s);
	else if (s->on_terminal && message->stream == AGENT_STDOUT)
		hang_up(s);
	else
		close_fd(&s->streams[message->stream].fd);
}

static void take_signal(struct session *s, uint32_t number)
{
	if (!agent_signal_is_valid(number))
		s->failed = -EBADMSG;
	else if (!s->ended)
		kill(-s->command, (int)number);
}

static void take_size(struct session *s, uint32_t size)
{
	if (!s->on_terminal)
		s->failed = -EBADMSG;
	else
		terminal_resize(&s->terminal, size);
}

static void take_message(struct session *s)
{
	/* As long as a message can be: one of a stranger that did not fit would stay. */
	static uint8_t buffer[POPCORN_MSG_SEND_MAX];
	struct popcorn_received received;
	struct agent_message message;
	ssize_t length;
	int r;

	length = popcorn_endpoint_receive(s->endpoint, buffer, sizeof(buffer), 0, &received, NULL);
	if (length == -EAGAIN || length == -EINTR)
		return;
	if (length < 0) {
		s->failed = (int)length;
		return;
	}
	if (received.from.kernel != s->caller.kernel ||
	    received.from.generation != s->caller.generation ||
	    received.from.endpoint != s->caller.endpoint || received.uid != 0)
		return;
	r = agent_parse(buffer, (size_t)length, &message);
	if (r < 0) {
		s->failed = r;
		return;
	}
	switch (message.type) {
	case AGENT_DATA:
		take_data(s, &message);
		break;
	case AGENT_CREDIT:
		take_credit(s, &message);
		break;
	case AGENT_CLOSE:
		take_close(s, &message);
		break;
	case AGENT_SIGNAL:
		take_signal(s, message.number);
		break;
	case AGENT_WINSIZE:
		take_size(s, message.number);
		break;
	case AGENT_HOLD: /* is kept; ends with us */
		break;
	default:
		s->failed = -EBADMSG;
	}
}

static void write_input(struct session *s, short revents)
{
	struct stream *input = &s->streams[AGENT_STDIN];
	ssize_t n = 0;

	/* A write of nothing does not say that nobody reads. */
	if (s->n_input)
		n = write(input->fd, s->input + s->input_done, s->n_input - s->input_done);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || (!s->n_input && revents & POLLERR)) {
		close_fd(&input->fd);
		send_close(s, AGENT_STDIN);
		return;
	}
	s->input_done += (size_t)n;
	if (s->input_done == s->n_input)
		s->input_done = s->n_input = 0;
	/* Who sends no more needs none. */
	if (s->input_ended)
		return;
	/* A message for every quarter, not for every write. */
	n = (ssize_t)(input->window - (s->n_input - s->input_done));
	if (!s->n_input || n >= AGENT_WINDOW / 4) {
		send_number(s, AGENT_CREDIT, AGENT_STDIN, (uint32_t)n);
		input->window -= (uint32_t)n;
	}
}

/* True: there was something. */
static bool read_output(struct session *s, enum agent_stream stream)
{
	static struct {
		struct agent_header header;
		uint8_t data[AGENT_DATA_MAX];
	} message;
	struct stream *output = &s->streams[stream];
	ssize_t n = read(output->fd, message.data, agent_room(output->window));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		close_fd(&output->fd);
		send_close(s, stream);
		return false;
	}
	message.header = agent_header(AGENT_DATA, stream);
	send_message(s, &message, sizeof(message.header) + (size_t)n);
	output->window -= (uint32_t)n + AGENT_MESSAGE_COST;
	return true;
}

/*
 * Ends what is left of the command's process group; true when nothing is. The group's number is its own as long
 * as anybody is in it; after that it would have to be given out again within LOOK_MS to be mistaken.
 */
static bool group_has_ended(struct session *s)
{
	if (!s->kill_at) {
		s->kill_at = now_ms() + HANGUP_MS;
		kill(-s->command, SIGHUP);
		/* What is stopped could not even end. */
		kill(-s->command, SIGCONT);
	} else if (!s->killed && now_ms() >= s->kill_at) {
		s->killed = true;
		kill(-s->command, SIGKILL);
	}
	return s->ended && kill(-s->command, 0) < 0;
}

static void reap(struct session *s)
{
	if (waitpid(s->command, &s->status, WNOHANG) != s->command)
		return;
	s->ended = true;
	close_fd(&s->command_fd);
	/* What it said last on a terminal is still to be read; who is left there hears nothing any more. */
	if (s->on_terminal) {
		close_fd(&s->streams[AGENT_STDIN].fd);
		close_fd(&s->terminal.slave);
	}
}

static void run(struct session *s)
{
	enum { MESSAGES = AGENT_STREAMS, GONE, COMMAND, NR };

	for (;;) {
		struct pollfd fds[NR] = {
			[MESSAGES] = { .fd = popcorn_endpoint_get_fd(s->endpoint),
				       .events = POLLIN },
			[GONE] = { .fd = s->gone, .events = POLLIN },
			[COMMAND] = { .fd = s->command_fd, .events = POLLIN },
		};
		bool more = false;

		if (s->input_ended && !s->n_input)
			close_fd(&s->streams[AGENT_STDIN].fd);
		for (int i = 0; i < AGENT_STREAMS; i++) {
			struct stream *stream = &s->streams[i];
			bool input = i == AGENT_STDIN;

			/* Input that has no reader any more is noticed without anything to write. */
			fds[i].fd = input || agent_room(stream->window) ? stream->fd : -1;
			fds[i].events = input ? (s->n_input ? POLLOUT : 0) : POLLIN;
		}
		if (s->failed) {
			/* The caller takes nothing any more, so the command must not wait for that. */
			hang_up(s);
			fds[MESSAGES].fd = fds[GONE].fd = -1;
			for (int i = 0; i < AGENT_STREAMS; i++)
				fds[i].fd = -1;
		}
		if (poll(fds, NR, s->ended || s->failed ? LOOK_MS : -1) < 0 && errno != EINTR)
			s->failed = -errno;
		if (fds[GONE].revents)
			s->failed = -EPIPE;
		if (fds[COMMAND].revents)
			reap(s);
		if (fds[MESSAGES].revents && !s->failed)
			take_message(s);
		if (fds[AGENT_STDIN].revents && s->streams[AGENT_STDIN].fd >= 0 && !s->failed)
			write_input(s, fds[AGENT_STDIN].revents);
		for (int i = AGENT_STDOUT; i < AGENT_STREAMS; i++)
			if (fds[i].revents && s->streams[i].fd >= 0 && !s->failed)
				more |= read_output(s, i);
		if (!(s->ended || s->failed) || !group_has_ended(s))
			continue;
		if (s->failed)
			return;
		/* Nobody writes any more but daemons: what is in the pipes now is the rest. */
		for (int i = AGENT_STDOUT; i < AGENT_STREAMS; i++) {
			struct pollfd rest = { .fd = s->streams[i].fd, .events = POLLIN };

			more |= poll(&rest, 1, 0) > 0 && rest.revents & POLLIN;
		}
		if (!more)
			return;
	}
}

/* What is the agent's is put down. */
static void become_session(const struct messages *messages)
{
	int fd;

	/* systemd is to end us as it ends all others. */
	if (messages->own_name)
		messages->own_name[0] = 'p';
	prctl(PR_SET_NAME, "popcorn-session");
	setsid();
	reset_signals();
	signal(SIGPIPE, SIG_IGN);
	close(messages_get_fd(messages));
	/* So that no descriptor that is made from now on is one of the first three. */
	do
		fd = openat(messages->dev, "null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd < 3);
	close_fd(&fd);
}

void session_run(const struct messages *messages, const struct agent_message *exec,
		 const struct popcorn_msg_addr *caller)
{
	struct session *s = &session;
	struct agent_command command;
	int r;

	become_session(messages);
	s->caller = *caller;
	s->terminal = (struct terminal){ -1, -1 };
	for (int i = 0; i < AGENT_STREAMS; i++)
		s->streams[i] =
			(struct stream){ .fd = -1, .window = i == AGENT_STDIN ? 0 : AGENT_WINDOW };
	r = messages_open_endpoint(messages, &s->endpoint);
	if (r < 0) {
		errno = -r;
		warn("a session has no endpoint: %m");
		_exit(EXIT_FAILURE);
	}
	r = agent_parse_exec(exec, &command);
	/* Before there is a thread. */
	if (r == 0)
		r = start_command(s, messages, &command);
	if (r == 0) {
		send_number(s, AGENT_STARTED, 0, (uint32_t)s->command);
		r = start_hold(s);
		if (r < 0)
			s->failed = r;
		run(s);
		r = s->failed;
	}
	/* To nobody, if he is gone. */
	if (r < 0)
		send_number(s, AGENT_FAILED, 0, (uint32_t)-r);
	else
		send_number(s, AGENT_EXITED, 0, (uint32_t)s->status);
	_exit(EXIT_SUCCESS);
}
