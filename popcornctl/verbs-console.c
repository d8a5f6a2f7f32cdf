// SPDX-License-Identifier: GPL-2.0-or-later
/* console, log: what a kernel says, and what it is told. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent.h"
#include "console.h"
#include "output.h"
#include "popcornctl.h"
#include "terminal.h"
#include "util.h"

/* Room for a paste while the kernel reads slowly. */
#define INPUT_SIZE 65536
#define OUTPUT_SIZE 16384

struct console {
	int fd, signal_fd;
	bool tty;
	bool input_open;
	char input[INPUT_SIZE];
	size_t n_input;
	char output[OUTPUT_SIZE];
	size_t n_output;
	bool ended;
	struct presses escape;
};

/* 1: leave. */
static int take_input(struct console *console)
{
	char *where = console->input + console->n_input;
	ssize_t n = read(STDIN_FILENO, where, sizeof(console->input) - console->n_input);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		console->input_open = false;
	for (ssize_t i = 0; console->tty && i < n; i++)
		if (escape_pressed(&console->escape, where[i]))
			return 1;
	console->n_input += n;
	return 0;
}

static int send_input(struct console *console)
{
	ssize_t n = write(console->fd, console->input, console->n_input);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	console->n_input -= n;
	memmove(console->input, console->input + n, console->n_input);
	return 0;
}

enum console_end {
	CONSOLE_ENDED = 1, /* the kernel did */
	CONSOLE_LEFT,	   /* the user did */
	CONSOLE_SIGNAL
};

static int receive_output(struct console *console)
{
	ssize_t n = read(console->fd, console->output, sizeof(console->output));

	if (n == 0 || (n < 0 && (errno == ECONNRESET || errno == ENODEV)))
		console->ended = true;
	else if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	else
		console->n_output = n;
	return 0;
}

/*
 * No more than a pipe takes at once when it says that it takes anything. Standard output belongs to
 * others too and stays blocking, but we must never wait in a write: we would be deaf to signals and
 * to the escape sequence.
 */
static int show_output(struct console *console)
{
	size_t size = console->n_output < PIPE_BUF ? console->n_output : PIPE_BUF;
	ssize_t n = write(STDOUT_FILENO, console->output, size);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	console->n_output -= n;
	memmove(console->output, console->output + n, console->n_output);
	return 0;
}

static int run_console(struct console *console)
{
	enum { CONSOLE, INPUT, OUTPUT, SIGNAL, NR };
	int r = 0;

	while (r >= 0 && !(console->ended && !console->n_output)) {
		bool room = console->n_input < sizeof(console->input);
		short wanted = (console->n_output || console->ended ? 0 : POLLIN) |
			       (console->n_input ? POLLOUT : 0);
		struct pollfd fds[NR] = {
			/* Left out when nothing is wanted: of its end it would tell again and again. */
			[CONSOLE] = { .fd = wanted ? console->fd : -1, .events = wanted },
			[INPUT] = { .fd = console->input_open && room ? STDIN_FILENO : -1,
				    .events = POLLIN },
			/* Always there: a reader of ours who went away is noticed at once. */
			[OUTPUT] = { .fd = STDOUT_FILENO,
				     .events = console->n_output ? POLLOUT : 0 },
			[SIGNAL] = { .fd = console->signal_fd, .events = POLLIN },
		};

		if (poll(fds, NR, -1) < 0) {
			r = errno == EINTR ? 0 : -errno;
			continue;
		}
		if (fds[SIGNAL].revents)
			return CONSOLE_SIGNAL;
		if (fds[INPUT].revents) {
			r = take_input(console);
			if (r > 0)
				return CONSOLE_LEFT;
		}
		if (r >= 0 && (fds[CONSOLE].revents & (POLLOUT | POLLHUP | POLLERR)) &&
		    console->n_input) {
			r = send_input(console);
			/*
			 * It has ended, maybe between our poll and our write: what it said last is
			 * still to be read. A console that was saved can't be written to (EBADF).
			 */
			if (r == -EPIPE || r == -ENODEV || r == -EBADF) {
				console->input_open = false;
				console->n_input = 0;
				r = 0;
			}
		}
		if (r >= 0 && (wanted & POLLIN) && (fds[CONSOLE].revents & ~POLLOUT))
			r = receive_output(console);
		if (r >= 0 && (fds[OUTPUT].revents & (POLLERR | POLLHUP | POLLNVAL)))
			r = -EPIPE;
		else if (r >= 0 && (fds[OUTPUT].revents & POLLOUT))
			r = show_output(console);
	}
	return r < 0 ? r : CONSOLE_ENDED;
}

int verb_console(struct popcorn *popcorn, const struct arguments *arguments)
{
	struct console *console = xrealloc(NULL, 1, sizeof(*console));
	_cleanup_free_ void *memory = console;
	const char *name = arguments->names[0];
	_cleanup_free_ char *what = xasprintf("console %s", name);
	_cleanup_(kernel_freep) struct popcorn_kernel *kernel = NULL;
	_cleanup_close_ int fd = -1, signal_fd = -1;
	sigset_t signals;
	int r;

	*console = (struct console){ .tty = isatty(STDIN_FILENO), .input_open = true };
	if (popcorn_open_console(popcorn, name, POPCORN_CONSOLE_INPUT, &fd) < 0)
		return complain_last(popcorn, what);
	/* It has nothing to do on this terminal any more. */
	agent_close();

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGQUIT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (signal_fd < 0) {
		complain(what, "%s", strerror(errno));
		return EXIT_FAILED;
	}
	console->fd = fd;
	console->signal_fd = signal_fd;
	/* Ours alone: popcornd opened it for this call. A full input ring must not stop the output.
	 */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);

	if (!arguments->quiet && console->tty)
		fprintf(stderr, "Connected to %s. " ESCAPE_HELP "\n", name);
	if (console->tty) {
		r = terminal_make_raw();
		if (r < 0) {
			complain(what, "the terminal can't be set up: %s", strerror(-r));
			return EXIT_FAILED;
		}
	}
	r = run_console(console);
	terminal_restore();

	switch (r) {
	case CONSOLE_ENDED:
		if (!arguments->quiet && console->tty) {
			const char *state = "ended";

			if (popcorn_get_kernel(popcorn, name, &kernel) >= 0)
				state = popcorn_kernel_get_state(kernel);
			fprintf(stderr, "\n%s: %s. The console is closed.\n", name, state);
		}
		return EXIT_DONE;
	case CONSOLE_LEFT:
		if (!arguments->quiet)
			fprintf(stderr, "\nLeft the console; %s goes on.\n", name);
		return EXIT_DONE;
	case CONSOLE_SIGNAL:
		return EXIT_INTERRUPTED;
	}
	if (r == -EPIPE) /* whoever read our output has read enough */
		return EXIT_DONE;
	complain(what, "%s", strerror(-r));
	return EXIT_FAILED;
}

static void print_lines(const struct arguments *arguments, const struct tail *tail, bool safe)
{
	if (!tail->n)
		return;
	if (safe)
		print_safe(tail->text, tail->n, stdout);
	else
		fwrite(tail->text, 1, tail->n, stdout);
	if (tail->text[tail->n - 1] != '\n' && !arguments->follow)
		putchar('\n');
	fflush(stdout);
}

static struct json *line_json(const char *name, const char *line, size_t n)
{
	struct json *json = json_new_object();

	json_set(json, "name", json_new_string(name));
	json_set(json, "line", json_new_bytes(line, n && line[n - 1] == '\r' ? n - 1 : n));
	return json;
}

/* Prints the whole lines in @tail as one object each; with @all the open one as well. */
static void print_json_lines(const char *name, struct tail *tail, bool all)
{
	char *p = tail->text, *end = p + tail->n;

	while (p < end) {
		char *stop = memchr(p, '\n', end - p);
		struct json *json;

		if (!stop && !all)
			break;
		json = line_json(name, p, (stop ? stop : end) - p);
		json_print(json, JSON_SHORT, stdout);
		json_free(json);
		p = stop ? stop + 1 : end;
	}
	tail->n = end - p;
	memmove(tail->text, p, tail->n);
	tail->newlines = 0;
	fflush(stdout);
}

static int follow_console(const struct arguments *arguments, int fd, struct tail *tail, bool safe)
{
	const char *name = arguments->names[0];

	/* From here on everything is shown, not the last lines. */
	tail->max = SIZE_MAX;
	for (;;) {
		struct pollfd p[] = { { .fd = fd, .events = POLLIN },
				      /* For the end of whoever reads us. */
				      { .fd = STDOUT_FILENO } };
		int r;

		if (arguments->json) {
			print_json_lines(name, tail, false);
		} else {
			print_lines(arguments, tail, safe);
			tail->n = tail->newlines = 0;
		}
		if (ferror(stdout))
			return -EPIPE;
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents)
			return -EPIPE;
		r = read_available(fd, tail);
		if (r < 0)
			return r;
		if (r > 0) {
			if (arguments->json)
				print_json_lines(name, tail, true);
			else
				print_lines(arguments, tail, safe);
			return 0;
		}
	}
}

/* A file that ends: all of it. */
static int read_file(int fd, struct tail *tail)
{
	char buffer[16384];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		tail_feed(tail, buffer, n);
	}
	return 1;
}

int verb_log(struct popcorn *popcorn, const struct arguments *arguments)
{
	const char *name = arguments->names[0];
	_cleanup_free_ char *what = xasprintf("log %s", name);
	struct tail tail = { .max = arguments->has_lines ? arguments->lines : SIZE_MAX };
	bool safe = isatty(STDOUT_FILENO);
	_cleanup_close_ int fd = -1;
	int r;

	if (arguments->kernel_log)
		r = popcorn_open_kernel_log(popcorn, name, &fd);
	else
		r = popcorn_open_console(popcorn, name, 0, &fd);
	if (r < 0)
		return complain_last(popcorn, what);
	r = arguments->kernel_log ? read_file(fd, &tail) : read_available(fd, &tail);
	if (r >= 0 && arguments->follow && r == 0) {
		r = follow_console(arguments, fd, &tail, safe);
	} else if (r >= 0 && arguments->json && arguments->follow) {
		print_json_lines(name, &tail, true);
	} else if (r >= 0 && arguments->json) {
		struct json *json = json_new_object(), *lines = json_new_array();
		const char *p = tail.text, *end = p + tail.n;

		while (p < end) {
			const char *stop = memchr(p, '\n', end - p);
			size_t n = (stop ? stop : end) - p;

			json_append(lines, json_new_bytes(p, n && p[n - 1] == '\r' ? n - 1 : n));
			p += n + 1;
		}
		json_set(json, "name", json_new_string(name));
		json_set(json, "lines", lines);
		json_print(json, arguments->json, stdout);
		json_free(json);
	} else if (r >= 0) {
		print_lines(arguments, &tail, safe);
	}
	tail_done(&tail);
	if (r < 0 && r != -EPIPE) {
		complain(what, "%s", strerror(-r));
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}
