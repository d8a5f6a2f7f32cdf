// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The leader of a kernel: the process by which systemd, the journal and machined know it. It asks
 * popcornd to launch the kernel, prints its console, has its devices served (devices.c), and ends when
 * the kernel does. It holds
 * nothing of the kernel: a leader that is killed is started again and goes on where the other was,
 * and popcornd may come and go.
 *
 * All that it decides is decided by the kernel's state as popcornd tells it:
 *
 *	Launch ──▶ reserved … booting (console) ──▶ running: READY=1 ──▶ stopped | crashed | failed
 *	                                                                  └▶ rest of the console, exit
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "bus.h"
#include "devices.h"
#include "error.h"
#include "leader.h"

#define KERNEL_INTERFACE BUS_NAME ".Kernel"

/* More than the ring of a console holds: only a kernel that writes faster than we read gets there. */
#define CATCH_UP_MAX (4U << 20)

struct leader {
	const char *name;
	char *path;
	sd_event *event;
	sd_bus *bus;

	int console_fd;
	sd_event_source *console_source;
	bool console_asked;
	struct cleaner cleaner;
	struct printed *printed;
	struct devices *devices;
	bool found_place; /* what the leader before us printed has been passed by */

	unsigned tries;
	bool resumed;  /* systemd restarted us while the kernel went on */
	bool launched; /* popcornd answered: the kernel is ours */
	bool synced;   /* its properties were read; what changes after that is told by signals */
	bool ready, registered, stopping, ended;
	char restart[16];
	int exit_code;
};

static void leave(struct leader *leader, int exit_code)
{
	leader->exit_code = exit_code;
	/* An orderly end before READY would be a failure for systemd, and a reason to start us again. */
	if (exit_code == EXIT_ENDED && !leader->ready)
		sd_notify(false, "READY=1");
	sd_event_exit(leader->event, 0);
}

/*
 * The console.
 */

static void print(struct leader *leader, const char *bytes, size_t n)
{
	char buf[4096];

	while (n > 0) {
		size_t part = n < sizeof(buf) ? n : sizeof(buf), size;

		size = clean(&leader->cleaner, bytes, part, buf);
		fwrite(buf, 1, size, stdout);
		bytes += part;
		n -= part;
	}
	fflush(stdout);
}

/*
 * Reads what there is; the first time from the oldest byte kept, of which the leader before us (or
 * we, from the descriptor before this one) may have printed a part. 1 = there may be more,
 * 0 = end of file, -EAGAIN = all was read.
 */
static int pump(struct leader *leader, int fd)
{
	char *bytes = NULL;
	size_t n = 0, room = 0, from = 0;
	int r = 1;

	for (;;) {
		ssize_t size;

		if (n == room) {
			char *more;

			/* Once its place is found, no more is held than is printed at once. */
			if (n >= (leader->found_place ? 1 : CATCH_UP_MAX))
				break;
			room = room ? 2 * room : 65536;
			more = realloc(bytes, room);
			if (!more) {
				r = -ENOMEM;
				break;
			}
			bytes = more;
		}
		size = read(fd, bytes + n, room - n);
		if (size < 0 && errno == EINTR)
			continue;
		if (size <= 0) {
			r = size == 0 ? 0 : -errno;
			break;
		}
		n += (size_t)size;
	}
	if (n > 0) {
		if (!leader->found_place)
			from = printed_find(leader->printed, bytes, n);
		leader->found_place = true;
		print(leader, bytes + from, n - from);
		printed_add(leader->printed, bytes + from, n - from);
	}
	free(bytes);
	return r;
}

static void close_console(struct leader *leader)
{
	leader->console_source = sd_event_source_disable_unref(leader->console_source);
	if (leader->console_fd >= 0)
		close(leader->console_fd);
	leader->console_fd = -1;
}

static int on_console(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct leader *leader = userdata;
	int r = pump(leader, fd);

	/* End, or not a console any more; popcornd says what became of the kernel. */
	if (r <= 0 && r != -EAGAIN)
		close_console(leader);
	return 0;
}

/* An own descriptor of what a reply brought; the reply closes its one. */
static int reply_fd(sd_bus_message *reply)
{
	int fd;

	if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "h", &fd) < 0)
		return -ENOENT;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
		close(fd);
		return -EIO;
	}
	return fd;
}

static int on_console_opened(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	struct leader *leader = userdata;
	int fd = reply_fd(reply);

	leader->console_asked = false;
	/* Too early: the next change of state asks again. */
	if (fd < 0 || leader->ended || leader->console_fd >= 0) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	leader->console_fd = fd;
	leader->found_place = false;
	/* A saved console is a file, which has no events and all of its bytes. */
	if (sd_event_add_io(leader->event, &leader->console_source, fd, EPOLLIN, on_console,
			    leader) < 0) {
		while (pump(leader, fd) > 0)
			;
		close_console(leader);
	}
	return 0;
}

static void open_console(struct leader *leader)
{
	if (leader->console_fd >= 0 || leader->console_asked)
		return;
	leader->console_asked = leader_call(leader->bus, NULL, "OpenConsole", on_console_opened,
					    leader, "sb", leader->name, false) >= 0;
}

/* The last lines: what was saved when the kernel's memory was given back. */
static int on_last_console(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	struct leader *leader = userdata;
	int fd = reply_fd(reply);

	if (fd >= 0) {
		leader->found_place = false;
		while (pump(leader, fd) > 0)
			;
		close(fd);
	}
	leave(leader, leader->exit_code);
	return 0;
}

/*
 * The kernel.
 */

static int ignore_reply(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	return 0;
}

/* machinectl lists it, and ends it by ending our unit. Not there = nothing is missed. */
static void register_machine(struct leader *leader)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;

	if (leader->registered)
		return;
	leader->registered = true;
	if (sd_bus_message_new_method_call(
		    leader->bus, &m, "org.freedesktop.machine1", "/org/freedesktop/machine1",
		    "org.freedesktop.machine1.Manager", "RegisterMachine") < 0 ||
	    sd_bus_message_append(m, "s", leader->name) < 0 ||
	    sd_bus_message_append_array(m, 'y', NULL, 0) < 0 ||
	    sd_bus_message_append(m, "ssus", "popcorn", "vm", (uint32_t)getpid(), "") < 0)
		return;
	sd_bus_call_async(leader->bus, NULL, m, ignore_reply, NULL, 0);
}

static bool is_one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

/* Reasons that are the same the next time, or were somebody's wish. */
static const char *const hopeless[] = { "image",     "cancelled",    "abi",
					"cpu-stuck", "primary-down", NULL };

static int exit_code(const struct leader *leader, const char *state, const char *reason)
{
	if (leader->stopping)
		return EXIT_ENDED;
	if (strcmp(state, "stopped") == 0) {
		if (strcmp(reason, "reboot") == 0)
			return EXIT_REBOOT;
		return leader->ready || strcmp(reason, "cancelled") != 0 ? EXIT_ENDED
									 : EXIT_NOT_AGAIN;
	}
	if (strcmp(leader->restart, "on-failure") != 0 || is_one_of(reason, hopeless))
		return EXIT_NOT_AGAIN;
	return EXIT_AGAIN;
}

static void end(struct leader *leader, const char *state, const char *reason, const char *text)
{
	if (leader->ended)
		return;
	leader->ended = true;
	leader->exit_code = exit_code(leader, state, reason);
	if (leader->console_fd >= 0) {
		while (pump(leader, leader->console_fd) > 0)
			;
		close_console(leader);
	}
	devices_close(leader->devices);
	sd_notifyf(false, "STATUS=Kernel %s is %s: %s", leader->name, state, text);
	if (leader_call(leader->bus, NULL, "OpenConsole", on_last_console, leader, "sb",
			leader->name, false) < 0)
		leave(leader, leader->exit_code);
}

static int launch(struct leader *leader);

static void apply(struct leader *leader, const char *state, const char *reason, const char *text)
{
	static const char *const ends[] = { "stopped", "crashed", "failed", NULL };
	static const char *const preparing[] = { "reserved", "loading", NULL };

	if (leader->ended)
		return;
	if (is_one_of(state, ends)) {
		end(leader, state, reason, text);
		return;
	}
	sd_notifyf(false, "STATUS=Kernel %s is %s: %s", leader->name, state, text);
	if (is_one_of(state, preparing)) {
		/* The leader before us had another boot to wait for, perhaps; this one waits for us. */
		if (leader->resumed)
			launch(leader);
		leader->resumed = false;
		return;
	}
	leader->resumed = false;
	open_console(leader);
	devices_open(leader->devices);
	if (strcmp(state, "running") == 0 && !leader->ready) {
		leader->ready = true;
		sd_notify(false, "READY=1");
	}
	register_machine(leader);
}

static int on_properties(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	struct leader *leader = userdata;
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	const char *state = "", *reason = "", *text = "";
	int r;

	if (error) {
		/* popcornd is gone again: when it is back, it is asked again. */
		if (!sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_OBJECT))
			return 0;
		fprintf(stderr, "popcornd does not know kernel %s any more\n", leader->name);
		end(leader, "failed", "none", "forgotten");
		return 0;
	}
	r = sd_bus_message_enter_container(reply, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
		const char *key, *value;

		r = sd_bus_message_read(reply, "s", &key);
		if (r < 0)
			break;
		if (strcmp(key, "State") != 0 && strcmp(key, "Reason") != 0 &&
		    strcmp(key, "ReasonText") != 0 && strcmp(key, "Restart") != 0) {
			r = sd_bus_message_skip(reply, "v");
		} else {
			r = sd_bus_message_read(reply, "v", "s", &value);
			if (r < 0)
				break;
			if (strcmp(key, "State") == 0)
				state = value;
			else if (strcmp(key, "Reason") == 0)
				reason = value;
			else if (strcmp(key, "ReasonText") == 0)
				text = value;
			else
				snprintf(leader->restart, sizeof(leader->restart), "%s", value);
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
	}
	if (r < 0) {
		fprintf(stderr, "popcornd's answer is not understood: %s\n", strerror(-r));
		return 0;
	}
	leader->synced = true;
	apply(leader, state, reason, text);
	return 0;
}

static int ask_properties(struct leader *leader)
{
	return sd_bus_call_method_async(leader->bus, NULL, BUS_NAME, leader->path,
					"org.freedesktop.DBus.Properties", "GetAll", on_properties,
					leader, "s", KERNEL_INTERFACE);
}

static int on_launched(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	struct leader *leader = userdata;

	if (leader->ended)
		return 0;
	if (error && leader_is_unanswered(error) && ++leader->tries < TRIES_MAX)
		return launch(leader);
	if (error) {
		fprintf(stderr, "kernel %s can't be launched: %s\n", leader->name, error->message);
		sd_notifyf(false, "STATUS=%s", error->message);
		leave(leader, leader->stopping		    ? EXIT_ENDED
			      : leader_is_unanswered(error) ? EXIT_AGAIN
							    : EXIT_NOT_AGAIN);
		return 0;
	}
	leader->tries = 0;
	leader->launched = true;
	/* From here on another leader would be our continuation, and not the first one's. */
	leader->printed->magic = PRINTED_MAGIC;
	/* Signals that came before are about its last life; what it is now is asked. */
	return ask_properties(leader);
}

static int launch(struct leader *leader)
{
	return leader_call(leader->bus, NULL, "Launch", on_launched, leader, "s", leader->name);
}

static int on_state_changed(sd_bus_message *signal, void *userdata, sd_bus_error *unused)
{
	const char *name, *path, *old, *state, *reason, *text;
	struct leader *leader = userdata;

	if (!leader->synced)
		return 0;
	if (sd_bus_message_read(signal, "sossss", &name, &path, &old, &state, &reason, &text) < 0)
		return 0;
	/* By the signal and not by asking: the kernel's next life may have begun already. */
	apply(leader, state, reason, text);
	return 0;
}

static int on_owner_changed(sd_bus_message *signal, void *userdata, sd_bus_error *unused)
{
	const char *name, *old, *new;
	struct leader *leader = userdata;

	if (sd_bus_message_read(signal, "sss", &name, &old, &new) < 0 || !*new)
		return 0;
	/* What its next life told of the kernel while there was none, was not heard. */
	return leader->launched && !leader->ended ? ask_properties(leader) : 0;
}

/*
 * A leader before us was killed after it had launched the kernel. If the kernel has ended since, or
 * does so now, then that is for systemd to know: launching it would boot what somebody stopped.
 */
static int on_resumed(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	struct leader *leader = userdata;

	if (error && sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_OBJECT))
		return launch(leader);
	if (error && ++leader->tries < TRIES_MAX)
		return sd_bus_call_method_async(leader->bus, NULL, BUS_NAME, leader->path,
						"org.freedesktop.DBus.Properties", "GetAll",
						on_resumed, leader, "s", KERNEL_INTERFACE);
	if (error) {
		fprintf(stderr, "popcornd can't be reached: %s\n", error->message);
		leave(leader, EXIT_AGAIN);
		return 0;
	}
	leader->tries = 0;
	return on_properties(reply, leader, NULL);
}

static int ask_stop(struct leader *leader);

static int on_stop_asked(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	struct leader *leader = userdata;

	if (!error || leader->ended)
		return 0;
	if (leader_is_unanswered(error) && ++leader->tries < TRIES_MAX)
		return ask_stop(leader);
	switch ((int)popcorn_error_from_name(error->name)) {
	case POPCORN_ERROR_NO_SUCH_KERNEL:
		leave(leader, EXIT_ENDED);
		return 0;
	case POPCORN_ERROR_BUSY:
		/* Whatever it is ends the kernel, too. */
		return 0;
	case POPCORN_ERROR_WRONG_STATE:
		leader->launched = true;
		return ask_properties(leader);
	}
	fprintf(stderr, "kernel %s can't be stopped: %s\n", leader->name, error->message);
	leave(leader, EXIT_NOT_AGAIN);
	return 0;
}

static int ask_stop(struct leader *leader)
{
	return leader_call(leader->bus, NULL, "Stop", on_stop_asked, leader, "st", leader->name,
			   UINT64_C(0));
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info,
			void *userdata)
{
	struct leader *leader = userdata;

	if (leader->stopping || leader->ended)
		return 0;
	leader->stopping = true;
	leader->tries = 0;
	sd_notifyf(false, "STOPPING=1\nSTATUS=Asking kernel %s to shut down.", leader->name);
	return ask_stop(leader);
}

/* In memory that outlives us, if there is a runtime folder; in our own otherwise. */
static int map_printed(struct leader *leader)
{
	const char *folder = getenv("RUNTIME_DIRECTORY");
	void *p = MAP_FAILED;
	char path[512];
	int fd = -1;

	if (folder && (size_t)snprintf(path, sizeof(path), "%s/printed", folder) < sizeof(path))
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		if (ftruncate(fd, sizeof(*leader->printed)) >= 0)
			p = mmap(NULL, sizeof(*leader->printed), PROT_READ | PROT_WRITE, MAP_SHARED,
				 fd, 0);
		close(fd);
	}
	if (p == MAP_FAILED) {
		p = calloc(1, sizeof(*leader->printed));
		if (!p)
			return -ENOMEM;
	}
	leader->printed = p;
	leader->resumed = leader->printed->magic == PRINTED_MAGIC;
	if (!leader->resumed)
		memset(p, 0, sizeof(*leader->printed));
	return 0;
}

static int run(struct leader *leader)
{
	static const int signals[] = { SIGTERM, SIGINT };
	char match[512];
	sigset_t mask;
	int r;

	r = map_printed(leader);
	if (r < 0)
		return r;
	sigemptyset(&mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&mask, signals[i]);
	sigprocmask(SIG_BLOCK, &mask, NULL);

	r = sd_event_default(&leader->event);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]) && r >= 0; i++)
		r = sd_event_add_signal(leader->event, NULL, signals[i], on_terminate, leader);
	if (r >= 0)
		r = sd_bus_open_system(&leader->bus);
	if (r >= 0)
		r = sd_bus_set_exit_on_disconnect(leader->bus, true);
	if (r >= 0)
		r = sd_bus_attach_event(leader->bus, leader->event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = sd_bus_path_encode(BUS_PATH "/kernel", leader->name, &leader->path);
	if (r >= 0)
		r = devices_new(leader->name, leader->event, leader->bus, &leader->devices);
	if (r < 0)
		return r;

	/* Before the call, whose effects they tell. */
	snprintf(match, sizeof(match),
		 "type='signal',sender='" BUS_NAME "',path='" BUS_PATH
		 "',interface='" MANAGER_INTERFACE "',member='StateChanged',arg0='%s'",
		 leader->name);
	r = sd_bus_add_match_async(leader->bus, NULL, match, on_state_changed, NULL, leader);
	if (r >= 0)
		r = sd_bus_add_match_async(leader->bus, NULL,
					   "type='signal',sender='org.freedesktop.DBus',"
					   "path='/org/freedesktop/DBus',member='NameOwnerChanged',"
					   "arg0='" BUS_NAME "'",
					   on_owner_changed, NULL, leader);
	if (r < 0)
		return r;
	leader->launched = leader->resumed;
	if (leader->resumed) {
		/* The same as a reply to GetAll at any other time, but for what it means. */
		r = sd_bus_call_method_async(leader->bus, NULL, BUS_NAME, leader->path,
					     "org.freedesktop.DBus.Properties", "GetAll",
					     on_resumed, leader, "s", KERNEL_INTERFACE);
	} else {
		r = launch(leader);
	}
	return r < 0 ? r : sd_event_loop(leader->event);
}

int main(int argc, char **argv)
{
	struct leader leader = { .console_fd = -1, .exit_code = EXIT_AGAIN };
	int r;

	if (argc != 2 || strchr(argv[1], '\'')) {
		fprintf(stderr, "Usage: %s NAME\n\nStarted by systemd as popcorn@NAME.service.\n",
			argv[0]);
		return EXIT_NOT_AGAIN;
	}
	leader.name = argv[1];
	setvbuf(stdout, NULL, _IOFBF, 65536);
	r = run(&leader);
	if (r != 0) {
		fprintf(stderr, "kernel %s has lost its leader: %s\n", leader.name,
			r < 0 ? strerror(-r) : "the bus went away");
		return EXIT_AGAIN;
	}
	/* The kernel ended and systemd is told now: the next leader is not our continuation. */
	leader.printed->magic = 0;
	return leader.exit_code;
}
