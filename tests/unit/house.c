// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"
#include "house.h"
#include "util.h"

#define DEADLINE (60 * USEC_PER_SEC)

struct fake *fake;
pid_t daemon_pid;
static pid_t bus_pid;
static char bus_address[PATH_MAX + 32];
sd_bus *bus;
static char awaited_job[64]; /* "" = any */

char ended_job[64], ended_result[32], ended_error[64], ended_text[1024], states[512];

/*
 * The house.
 */

static int open_fake_driver(struct driver **ret, struct popcorn_error *error)
{
	if (fake->info_flags == UINT32_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_NO_DRIVER, NULL);
	*ret = fake_driver(fake);
	return 0;
}

static pid_t child(void)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

void write_config(const char *more)
{
	_cleanup_free_ char *conf = NULL;

	ck_assert_int_gt(asprintf(&conf,
				  "primary = { memory = \"256M\"; };\n"
				  "default = { image = \"%s/boot/vmlinuz\"; memory = \"128M\"; "
				  "root = \"initramfs\"; };\n"
				  "agent = \"%s/agent\"; busybox = \"%s/busybox\";\n"
				  "modules = \"%s/lib/modules\";\n%s",
				  fake->root, fake->root, fake->root, fake->root, more),
			 0);
	fake_write_file(fake, "/popcornd.conf", conf, strlen(conf));
}

static void start_bus(void)
{
	static const char conf[] =
		"<busconfig><type>session</type><listen>unix:path=%s/bus</listen>"
		"<policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>"
		"<allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>";
	char text[PATH_MAX + sizeof(conf)], path[PATH_MAX + 16], option[PATH_MAX + 32], byte;
	int fds[2];

	snprintf(text, sizeof(text), conf, fake->root);
	fake_write_file(fake, "/bus.conf", text, strlen(text));
	snprintf(path, sizeof(path), "%s/bus.conf", fake->root);
	snprintf(option, sizeof(option), "--config-file=%s", path);
	snprintf(bus_address, sizeof(bus_address), "unix:path=%s/bus", fake->root);
	ck_assert_int_eq(pipe(fds), 0);
	bus_pid = child();
	if (bus_pid == 0) {
		char print[32];

		snprintf(print, sizeof(print), "--print-address=%d", fds[1]);
		execlp("dbus-daemon", "dbus-daemon", option, "--nofork", "--nopidfile", print,
		       NULL);
		_exit(127);
	}
	close(fds[1]);
	/* It is there when it has said so. */
	ck_assert_msg(read(fds[0], &byte, 1) == 1, "dbus-daemon can't be started");
	close(fds[0]);
	setenv("DBUS_SESSION_BUS_ADDRESS", bus_address, 1);
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
	const char *path, *name, *result, *error, *text;
	uint32_t id;

	ck_assert_int_gt(
		sd_bus_message_read(m, "uossss", &id, &path, &name, &result, &error, &text), 0);
	/* Jobs of an Apply end as well; they are not what anybody waits for. */
	if (*awaited_job && strcmp(awaited_job, path) != 0)
		return 0;
	snprintf(ended_text, sizeof(ended_text), "%s", text);
	snprintf(ended_job, sizeof(ended_job), "%s", path);
	snprintf(ended_result, sizeof(ended_result), "%s", result);
	snprintf(ended_error, sizeof(ended_error), "%s", error);
	return 0;
}

static int on_state_changed(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
	const char *name, *path, *old, *new;

	ck_assert_int_gt(sd_bus_message_read(m, "soss", &name, &path, &old, &new), 0);
	if (strlen(states) + strlen(new) + 2 < sizeof(states))
		strcat(strcat(states, *states ? " " : ""), new);
	return 0;
}

void process(bool (*until)(const void *), const void *arg)
{
	uint64_t deadline = now_usec() + DEADLINE;

	for (;;) {
		int r = sd_bus_process(bus, NULL);

		ck_assert_int_ge(r, 0);
		if (until(arg))
			return;
		ck_assert_msg(now_usec() < deadline, "nothing happens; states were: %s", states);
		if (r == 0)
			sd_bus_wait(bus, 100000);
	}
}

static bool has_name(const void *arg)
{
	return sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
				  "org.freedesktop.DBus", "GetNameOwner", NULL, NULL, "s",
				  BUS_NAME) >= 0;
}

static bool has_no_name(const void *arg)
{
	return !has_name(arg);
}

void start_daemon(void)
{
	daemon_pid = child();
	if (daemon_pid == 0) {
		char config[PATH_MAX + 32], kernels[PATH_MAX + 32], sysfs[PATH_MAX + 32];
		char run[PATH_MAX + 32], policies[PATH_MAX + 32];
		char *argv[] = { "popcornd", "--bus=session", "--no-units", config, kernels,
				 policies,   sysfs,	      run,	    NULL };

		snprintf(config, sizeof(config), "--config=%s/popcornd.conf", fake->root);
		snprintf(kernels, sizeof(kernels), "--kernels=%s/kernels", fake->root);
		snprintf(policies, sizeof(policies), "--policies=%s/policies", fake->root);
		snprintf(sysfs, sizeof(sysfs), "--sysfs=%s", fake->root);
		snprintf(run, sizeof(run), "--run=%s/run", fake->root);
		optind = 0;
		exit(popcornd_main(ARRAY_SIZE(argv) - 1, argv, open_fake_driver));
	}
	process(has_name, NULL);
}

/* The bus notices later than we do. What the dead one said is handled: the next has the same job ids. */
static void until_gone(void)
{
	process(has_no_name, NULL);
	while (sd_bus_process(bus, NULL) > 0)
		;
}

void end_daemon(int signal)
{
	int status;

	ck_assert_int_eq(kill(daemon_pid, signal), 0);
	ck_assert_int_eq(waitpid(daemon_pid, &status, 0), daemon_pid);
	if (signal == SIGTERM)
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
	until_gone();
}

static void connect_bus(void)
{
	ck_assert_int_ge(sd_bus_new(&bus), 0);
	ck_assert_int_ge(sd_bus_set_address(bus, bus_address), 0);
	ck_assert_int_ge(sd_bus_set_bus_client(bus, true), 0);
	ck_assert_int_ge(sd_bus_start(bus), 0);
	ck_assert_int_ge(sd_bus_match_signal(bus, NULL, NULL, BUS_PATH, MANAGER, "JobRemoved",
					     on_job_removed, NULL),
			 0);
	ck_assert_int_ge(sd_bus_match_signal(bus, NULL, NULL, BUS_PATH, MANAGER, "StateChanged",
					     on_state_changed, NULL),
			 0);
}

void house_make(unsigned cpus, unsigned blocks, unsigned nodes)
{
	fake = fake_new(cpus, 1, blocks, nodes);
	fake_write_boot_files(fake);
	write_config("");
	fake->script[0] = POPCORN_STATE_BOOTING;
	fake->script[1] = POPCORN_STATE_RUNNING;
	fake->n_script = 2;
	start_bus();
	connect_bus();
	start_daemon();
}

void house_unmake(void)
{
	end_daemon(SIGKILL);
	sd_bus_flush_close_unref(bus);
	kill(bus_pid, SIGTERM);
	waitpid(bus_pid, NULL, 0);
	fake_free(fake);
}

/*
 * What clients do.
 */

/* A call of the Manager that makes a job; NULL and its error's name into ended_error if refused. */
const char *call(const char *method, const char *types, ...)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL, *m = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	static char path[64];
	const char *p;
	va_list ap;
	int r;

	/* The next daemon begins with the same ids. */
	ended_job[0] = awaited_job[0] = '\0';
	ck_assert_int_ge(
		sd_bus_message_new_method_call(bus, &m, BUS_NAME, BUS_PATH, MANAGER, method), 0);
	va_start(ap, types);
	ck_assert_int_ge(sd_bus_message_appendv(m, types, ap), 0);
	va_end(ap);
	r = sd_bus_call(bus, m, 0, &error, &reply);
	if (r < 0) {
		snprintf(ended_error, sizeof(ended_error), "%s", error.name);
		snprintf(ended_text, sizeof(ended_text), "%s", error.message);
		ck_assert_int_gt(strlen(error.message), 10);
		sd_bus_error_free(&error);
		return NULL;
	}
	ck_assert_int_gt(sd_bus_message_read(reply, "o", &p), 0);
	snprintf(path, sizeof(path), "%s", p);
	/* It may have ended before its children's ends are seen: only its own counts. */
	snprintf(awaited_job, sizeof(awaited_job), "%s", strcmp(method, "Apply") == 0 ? p : "");
	return path;
}

static bool job_ended(const void *job)
{
	return strcmp(ended_job, job) == 0;
}

void ends(const char *job, const char *result, const char *error)
{
	ck_assert_msg(job != NULL, "refused: %s: %s", ended_error, ended_text);
	process(job_ended, job);
	ck_assert_msg(strcmp(ended_result, result) == 0, "%s: %s: %s", ended_result, ended_error,
		      ended_text);
	ck_assert_msg(strcmp(ended_error, error) == 0, "%s: %s", ended_error, ended_text);
}

void refused(const char *job, const char *error)
{
	ck_assert_msg(job == NULL, "not refused: %s", error);
	ck_assert_msg(strcmp(ended_error, error) == 0, "%s: %s", ended_error, ended_text);
}

char *property(const char *name, const char *property)
{
	_cleanup_free_ char *path = NULL;
	char *value;

	ck_assert_int_ge(sd_bus_path_encode(BUS_PATH "/kernel", name, &path), 0);
	if (sd_bus_get_property_string(bus, BUS_NAME, path, KERNEL, property, NULL, &value) < 0)
		value = strdup("");
	return value;
}

void is(const char *name, const char *key, const char *expected)
{
	_cleanup_free_ char *value = property(name, key);

	ck_assert_str_eq(value, expected);
}

bool has_state(const void *name_and_state)
{
	const char *const *a = name_and_state;
	_cleanup_free_ char *value = property(a[0], "State");

	return strcmp(value, a[1]) == 0;
}

void reaches(const char *name, const char *state)
{
	process(has_state, (const char *[]){ name, state });
}

/* All of List, as text. */
char *list(void)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	const char *name, *state, *reason, *path;
	uint32_t id, cpus;
	uint64_t memory;
	size_t size;
	char *text;
	FILE *f = open_memstream(&text, &size);

	ck_assert_int_ge(
		sd_bus_call_method(bus, BUS_NAME, BUS_PATH, MANAGER, "List", NULL, &reply, NULL),
		0);
	ck_assert_int_ge(sd_bus_message_enter_container(reply, 'a', "(sussuto)"), 0);
	while (sd_bus_message_read(reply, "(sussuto)", &name, &id, &state, &reason, &cpus, &memory,
				   &path) > 0)
		fprintf(f, "%s %u %s %s %u %llu %s\n", name, id, state, reason, cpus,
			(unsigned long long)memory, path);
	fclose(f);
	return text;
}

void boot(const char *name)
{
	ends(call("Boot", "sa{sv}", name, 0), "done", "");
}

/* Does it answer? A process that has died may not have been noticed by anybody yet. */
bool is_alive(void)
{
	return sd_bus_call_method(bus, BUS_NAME, BUS_PATH, "org.freedesktop.DBus.Peer", "Ping",
				  NULL, NULL, NULL) >= 0;
}

/* One thread of the daemon died of a step while another one was in the driver that is not there. */
static void renew_lock(void)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&fake->lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

void has_line(const char *file, const char *line)
{
	_cleanup_free_ void *text = NULL;
	char path[PATH_MAX + 64];
	size_t size;

	snprintf(path, sizeof(path), "%s%s", fake->root, file);
	ck_assert_int_eq(read_file(path, 1 << 20, &text, &size), 0);
	ck_assert_msg(strstr(text, line) != NULL, "no %s in %s", line, (char *)text);
}

void bury_daemon(void)
{
	ck_assert_int_eq(waitpid(daemon_pid, NULL, 0), daemon_pid);
	until_gone();
	renew_lock();
}
