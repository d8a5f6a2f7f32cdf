// SPDX-License-Identifier: GPL-2.0-or-later
/* What clients see of popcornd, and what is left when it is killed. */
#include <check.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpopcorn-msg.h>

#include "config-build.h"
#include "house.h"
#include "protocol.h"
#include "run.h"
#include "util.h"

static void make(void)
{
	house_make(4, 8, 1);
}

static void unmake(void)
{
	house_unmake();
}

START_TEST(test_life)
{
	boot("db0");
	/* What is between may be over before it is seen. */
	ck_assert_msg(strncmp(states, "reserved ", 9) == 0, "%s", states);
	ck_assert_str_eq(strrchr(states, ' ') + 1, "running");
	is("db0", "State", "running");
	is("db0", "Reason", "checked-in");
	is("db0", "Unit", "popcorn@db0.service");
	is("db0", "Restart", "no");
	refused(call("Boot", "sa{sv}", "db0", 0), ERROR("NameTaken"));
	refused(call("Release", "s", "db0"), ERROR("WrongState"));
	ends(call("Stop", "st", "db0", (uint64_t)0), "done", "");
	is("db0", "State", "stopped");
	is("db0", "Reason", "requested");
	fake_check_whole(fake);
	refused(call("Stop", "st", "db0", (uint64_t)0), ERROR("WrongState"));
	/* The name is free again. */
	boot("db0");
	ends(call("Kill", "s", "db0"), "done", "");
	is("db0", "Reason", "killed");
	ends(call("Release", "s", "db0"), "done", "");
	is("db0", "State", "");
	refused(call("Release", "s", "db0"), ERROR("NoSuchKernel"));
	fake_check_whole(fake);
	end_daemon(SIGTERM);
	start_daemon();
}
END_TEST

START_TEST(test_refused)
{
	char name[301];
	_cleanup_free_ char *all = NULL;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	refused(call("Boot", "sa{sv}", "", 0), ERROR("InvalidName"));
	refused(call("Boot", "sa{sv}", "a/b", 0), ERROR("InvalidName"));
	refused(call("Boot", "sa{sv}", "..", 0), ERROR("InvalidName"));
	refused(call("Boot", "sa{sv}", name, 0), ERROR("InvalidName"));
	refused(call("Stop", "st", "a/b", (uint64_t)0), ERROR("InvalidName"));
	refused(call("Boot", "sa{sv}", "a", 1, "Colour", "s", "red"), ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "a", 1, "CpuCount", "s", "2"), ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "a", 1, "CpuCount", "u", 0), ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "a", 1, "CpuCount", "u", 64), ERROR("NoFreeCpus"));
	refused(call("Boot", "sa{sv}", "a", 1, "Cpus", "s", "two"), ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "a", 1, "Cpus", "s", "0"), ERROR("CpuIsBootCpu"));
	refused(call("Boot", "sa{sv}", "a", 1, "Cpus", "s", "99"), ERROR("CpuUnknown"));
	refused(call("Boot", "sa{sv}", "a", 1, "Memory", "t", UINT64_C(1)), ERROR("MemoryInvalid"));
	refused(call("Boot", "sa{sv}", "a", 1, "Memory", "t", UINT64_C(1) << 46),
		ERROR("NoFreeMemory"));
	refused(call("Boot", "sa{sv}", "a", 1, "MemoryNodes", "a(ut)", 0), ERROR("MemoryInvalid"));
	refused(call("Boot", "sa{sv}", "a", 1, "MemoryNodes", "a(ut)", 1, 0, UINT64_C(1)),
		ERROR("MemoryInvalid"));
	refused(call("Boot", "sa{sv}", "a", 1, "MemoryNodes", "a(ut)", 2, 0, 128 * MIB, 0,
		     128 * MIB),
		ERROR("MemoryInvalid"));
	refused(call("Boot", "sa{sv}", "a", 1, "MemoryNodes", "a(ut)", 1, 7, 128 * MIB),
		ERROR("NoFreeMemory"));
	refused(call("Boot", "sa{sv}", "a", 1, "MemoryNodes", "s", "0:128M"),
		ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "a", 2, "MemoryNodes", "a(ut)", 1, 0, 128 * MIB, "Memory",
		     "t", 256 * MIB),
		ERROR("MemoryInvalid"));
	refused(call("Boot", "sa{sv}", "a", 1, "Kernel", "s", "vmlinuz"), ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "a", 1, "Kernel", "s", "/nothing"), ERROR("ImageNotFound"));
	refused(call("Boot", "sa{sv}", "a", 1, "Initrd", "s", "/nothing"), ERROR("InitrdNotFound"));
	refused(call("Boot", "sa{sv}", "a", 1, "CommandLine", "s", "two\nlines"),
		ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "a", 1, "Restart", "s", "always"), ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "a", 1, "Network", "s", "all"), ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "a", 1, "Network", "s", ""), ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "a", 1, "Network", "s", "outside"), ERROR("NetworkFailed"));
	refused(call("Boot", "sa{sv}", "a", 1, "Timeout", "t", UINT64_MAX),
		ERROR("InvalidArgument"));
	refused(call("Launch", "s", "none"), ERROR("NoSuchKernel"));
	refused(call("GetKernel", "s", "none"), ERROR("NoSuchKernel"));
	refused(call("GetJob", "u", 77), ERROR("NoSuchJob"));
	refused(call("OpenConsole", "sb", "none", false), ERROR("NoSuchKernel"));
	all = list();
	ck_assert_str_eq(all, "");
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_memory_nodes)
{
	static const char conf[] = "memory_nodes = \"0:256M\";\n";
	const char line[] = "MEMORY_NODES=0:134217728\n";

	ends(call("Boot", "sa{sv}", "db0", 2, "MemoryNodes", "a(ut)", 1, 0, 128 * MIB, "Memory",
		  "t", 128 * MIB),
	     "done", "");
	has_line("/run/kernels/db0", line);
	end_daemon(SIGKILL);
	start_daemon();
	/* And it is still so when it is started again. */
	ends(call("Kill", "s", "db0"), "done", "");
	has_line("/run/kernels/db0", line);
	/* Of the file's definition Memory alone takes the nodes away. */
	fake_write_file(fake, "/kernels/db1.conf", conf, strlen(conf));
	boot("db1");
	has_line("/run/kernels/db1", "MEMORY_NODES=0:268435456\n");
	ends(call("Kill", "s", "db1"), "done", "");
	ends(call("Boot", "sa{sv}", "db1", 1, "Memory", "t", 128 * MIB), "done", "");
	ck_assert_uint_eq(fake_taken(fake), 128 * MIB);
	ends(call("Kill", "s", "db1"), "done", "");
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_failing_boot)
{
	fake->load_errno = EIO;
	ends(call("Boot", "sa{sv}", "db0", 0), "failed", ERROR("Failed"));
	is("db0", "State", "failed");
	fake_check_whole(fake);
	fake->load_errno = 0;
	fake->start_errno = ETIME;
	ends(call("Boot", "sa{sv}", "db0", 0), "failed", ERROR("BootTimeout"));
	is("db0", "State", "failed");
	is("db0", "Reason", "boot-timeout");
	fake_check_whole(fake);
	fake->start_errno = 0;
	fake->script[0] = POPCORN_STATE_CRASHED;
	fake->n_script = 1;
	fake->end_reason = POPCORN_REASON_PANIC;
	ends(call("Boot", "sa{sv}", "db0", 0), "failed", ERROR("Crashed"));
	is("db0", "State", "crashed");
	fake_check_whole(fake);
	ends(call("Release", "s", "db0"), "done", "");
}
END_TEST

/* A boot that stays in "booting". */
static const char *boot_slowly(const char *name)
{
	static char job[64];

	fake->n_script = 0;
	snprintf(job, sizeof(job), "%s", call("Boot", "sa{sv}", name, 0));
	reaches(name, "booting");
	return job;
}

START_TEST(test_cancel)
{
	const char *job = boot_slowly("db0");

	ck_assert_int_ge(sd_bus_call_method(bus, BUS_NAME, job, JOB, "Cancel", NULL, NULL, NULL),
			 0);
	ends(job, "cancelled", ERROR("Cancelled"));
	is("db0", "State", "stopped");
	is("db0", "Reason", "cancelled");
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_stop_supersedes_boot)
{
	const char *job = boot_slowly("db0");
	char stop[64];

	snprintf(stop, sizeof(stop), "%s", call("Stop", "st", "db0", (uint64_t)0));
	ends(job, "cancelled", ERROR("Cancelled"));
	ends(stop, "done", "");
	is("db0", "State", "stopped");
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_kill_supersedes_stop)
{
	char stop[64], kill[64];

	boot("db0");
	fake->ignores_stop = true;
	snprintf(stop, sizeof(stop), "%s", call("Stop", "st", "db0", 3600 * USEC_PER_SEC));
	reaches("db0", "stopping");
	refused(call("Stop", "st", "db0", (uint64_t)0), ERROR("Busy"));
	snprintf(kill, sizeof(kill), "%s", call("Kill", "s", "db0"));
	ends(stop, "cancelled", ERROR("Cancelled"));
	ends(kill, "done", "");
	is("db0", "State", "stopped");
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_stop_times_out)
{
	boot("db0");
	fake->ignores_stop = true;
	ends(call("Stop", "st", "db0", UINT64_C(100000)), "done", "");
	is("db0", "State", "stopped");
	fake_check_whole(fake);
}
END_TEST

/* An agent of kernel 1, and how it is. One that hears of a shutdown ends with HEARD. */
enum agent_kind { ANSWERS, OTHER_VERSION, OTHER_RELEASE, SILENT };
#define HEARD 7

__attribute__((noreturn)) static void run_agent(enum agent_kind kind, int ready)
{
	struct agent_hello hello = { .header = agent_header(AGENT_HELLO, 0),
				     .release = POPCORN_VERSION };
	struct popcorn_endpoint *endpoint;
	struct popcorn_received received;
	struct agent_header header;
	int status = 0;

	setenv("POPCORN_FAKE_KERNEL", "1", 1);
	if (popcorn_endpoint_open(&endpoint) < 0 ||
	    popcorn_endpoint_bind(endpoint, AGENT_SERVICE) < 0 || write(ready, "", 1) != 1)
		_exit(1);
	if (kind == OTHER_VERSION) {
		hello.header.version++;
		status = -EPROTO;
	} else if (kind == OTHER_RELEASE) {
		strcpy(hello.release, "0.0\n9");
	}
	for (;;) {
		struct pollfd fd = { .fd = popcorn_endpoint_get_fd(endpoint), .events = POLLIN };
		bool end;

		poll(&fd, 1, -1);
		if (popcorn_endpoint_receive(endpoint, &header, sizeof(header), 0, &received,
					     NULL) != sizeof(header))
			_exit(2);
		if (kind == SILENT)
			continue;
		end = header.type == AGENT_SHUTDOWN && status == 0;
		popcorn_endpoint_reply(endpoint, received.call, status, &hello,
				       end ? 0 : sizeof(hello));
		if (end)
			_exit(HEARD);
	}
}

static pid_t start_agent(enum agent_kind kind)
{
	char byte;
	int fds[2];
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_agent(kind, fds[1]);
	}
	close(fds[1]);
	ck_assert_int_eq(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

/* Whether it has heard that it is to shut down. */
static bool end_agent(pid_t pid)
{
	char name[PATH_MAX + 32];
	int status;

	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	snprintf(name, sizeof(name), "%s/msg/1." AGENT_SERVICE, fake->root);
	ck_assert_int_eq(unlink(name), 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == HEARD;
}

static bool shows(const void *key_and_value)
{
	const char *const *a = key_and_value;
	_cleanup_free_ char *value = property("db0", a[0]);

	return strcmp(value, a[1]) == 0;
}

static void comes(const char *key, const char *value)
{
	process(shows, (const char *[]){ key, value });
}

static const char *const answers[] = {
	[ANSWERS] = "yes",
	[OTHER_VERSION] = "other-version",
	[OTHER_RELEASE] = "yes",
	[SILENT] = "no",
};

START_TEST(test_agent)
{
	const char *release = _i == ANSWERS ? POPCORN_VERSION : _i == OTHER_RELEASE ? "0.0?9" : "";
	char folder[PATH_MAX + 8];
	pid_t agent;

	/* Without a device nobody is asked, and all goes on. */
	boot("db0");
	is("db0", "Messages", "no");
	ends(call("Kill", "s", "db0"), "done", "");
	is("db0", "Messages", "");

	end_daemon(SIGKILL);
	snprintf(folder, sizeof(folder), "%s/msg", fake->root);
	ck_assert_int_eq(mkdir(folder, 0700), 0);
	setenv("POPCORN_FAKE_MSG", folder, 1);
	/* The life that the messages that pretend know. */
	fake->generations = 0;
	start_daemon();
	ends(call("Release", "s", "db0"), "done", "");
	agent = start_agent((enum agent_kind)_i);
	boot("db0");
	comes("Messages", answers[_i]);
	is("db0", "AgentVersion", release);
	/* Another popcornd asks again. */
	end_daemon(SIGKILL);
	start_daemon();
	comes("Messages", answers[_i]);
	is("db0", "AgentVersion", release);

	/* Neither one that does not answer nor one that answers and does nothing is waited for. */
	fake->ignores_stop = true;
	ends(call("Stop", "st", "db0", UINT64_C(300000)), "done", "");
	is("db0", "State", "stopped");
	is("db0", "Reason", "requested");
	is("db0", "Messages", "");
	is("db0", "AgentVersion", "");
	ck_assert_int_eq(end_agent(agent), _i == ANSWERS || _i == OTHER_RELEASE);
	fake_check_whole(fake);
	unsetenv("POPCORN_FAKE_MSG");
}
END_TEST

START_TEST(test_stuck)
{
	boot("db0");
	fake->stuck = 2;
	ends(call("Kill", "s", "db0"), "failed", ERROR("CpuStuck"));
	is("db0", "State", "failed");
	is("db0", "Reason", "cpu-stuck");
	ends(call("Release", "s", "db0"), "failed", ERROR("CpuStuck"));
	/* Still there after a restart, and then it comes back. */
	end_daemon(SIGKILL);
	start_daemon();
	is("db0", "State", "failed");
	ends(call("Release", "s", "db0"), "done", "");
	is("db0", "State", "");
	fake_check_whole(fake);
}
END_TEST

/* Makes the kernel go into a state by itself; the driver tells at the next look. */
static void goes(const char *name, enum popcorn_state state, enum popcorn_reason reason)
{
	struct fake_kernel *kernel = fake_kernel(fake, name);

	fake->end_reason = reason;
	strcpy(fake->end_text, "sysrq triggered crash");
	kernel->script[0] = state;
	kernel->n_script = 1;
	/* Which reads its status; the log itself can't be had of a fake. */
	sd_bus_call_method(bus, BUS_NAME, BUS_PATH, MANAGER, "OpenKernelLog", NULL, NULL, "s",
			   name);
}

START_TEST(test_crash)
{
	boot("db0");
	goes("db0", POPCORN_STATE_CRASHED, POPCORN_REASON_PANIC);
	reaches("db0", "crashed");
	is("db0", "Reason", "panic");
	is("db0", "ReasonText", "sysrq triggered crash");
	ck_assert_uint_gt(fake_taken(fake), 0);
	end_daemon(SIGKILL);
	start_daemon();
	is("db0", "State", "crashed");
	is("db0", "ReasonText", "sysrq triggered crash");
	/* Booting it again gives back the old memory first. */
	boot("db0");
	is("db0", "State", "running");
	goes("db0", POPCORN_STATE_CRASHED, POPCORN_REASON_PANIC);
	reaches("db0", "crashed");
	ends(call("Stop", "st", "db0", (uint64_t)0), "done", "");
	is("db0", "State", "crashed");
	fake_check_whole(fake);
	ends(call("Release", "s", "db0"), "done", "");
}
END_TEST

START_TEST(test_power_off)
{
	boot("db0");
	states[0] = '\0';
	goes("db0", POPCORN_STATE_STOPPED, POPCORN_REASON_POWEROFF);
	reaches("db0", "stopped");
	is("db0", "Reason", "poweroff");
	process(has_state, (const char *[]){ "db0", "stopped" });
	ck_assert_str_eq(states, "stopping stopped");
	fake_check_whole(fake);
}
END_TEST

/* The kernel's property Devices, as "NAME TYPE STATE[: TEXT]". */
static void has_devices(const char *name, const char *expected)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	const char *device, *type, *state, *text;
	_cleanup_free_ char *got = NULL;
	char path[128];
	size_t size;
	FILE *f = open_memstream(&got, &size);
	const char *separator = "";

	snprintf(path, sizeof(path), BUS_PATH "/kernel/%s", name);
	ck_assert_int_ge(sd_bus_get_property(bus, BUS_NAME, path, KERNEL, "Devices", NULL, &reply,
					     "a(ssss)"),
			 0);
	ck_assert_int_ge(sd_bus_message_enter_container(reply, 'a', "(ssss)"), 0);
	while (sd_bus_message_read(reply, "(ssss)", &device, &type, &state, &text) > 0) {
		fprintf(f, "%s%s %s %s%s%s", separator, device, type, state, *text ? ": " : "",
			text);
		separator = ", ";
	}
	fclose(f);
	ck_assert_str_eq(got, expected);
}

/* What OpenDevices gives, as "SLOT TYPE NAME CID DESCRIPTORS", or the error's name. */
static void opens(const char *name, const char *expected)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	char all[512] = "";
	uint32_t generation, slot, cid;
	const char *type, *device;
	int fd;

	if (sd_bus_call_method(bus, BUS_NAME, BUS_PATH, MANAGER, "OpenDevices", &error, &reply, "s",
			       name) < 0) {
		ck_assert_str_eq(error.name, expected);
		return;
	}
	ck_assert_int_ge(sd_bus_message_read(reply, "u", &generation), 0);
	ck_assert_uint_ne(generation, 0);
	ck_assert_int_ge(sd_bus_message_enter_container(reply, 'a', "(ussuah)"), 0);
	while (sd_bus_message_enter_container(reply, 'r', "ussuah") > 0) {
		unsigned n = 0;

		ck_assert_int_ge(sd_bus_message_read(reply, "ussu", &slot, &type, &device, &cid),
				 0);
		ck_assert_int_ge(sd_bus_message_enter_container(reply, 'a', "h"), 0);
		for (; sd_bus_message_read(reply, "h", &fd) > 0; n++)
			ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
		sd_bus_message_exit_container(reply);
		sd_bus_message_exit_container(reply);
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%u %s %s %u %u",
			 *all ? ", " : "", slot, type, device, cid, n);
	}
	ck_assert_str_eq(all, expected);
}

static void open_server_refused(const char *name, const char *device, const char *expected)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

	ck_assert_int_lt(sd_bus_call_method(bus, BUS_NAME, BUS_PATH, MANAGER, "OpenServer", &error,
					    NULL, "ss", name, device),
			 0);
	ck_assert_str_eq(error.name, expected);
}

/* The devices of a kernel, as its leader gets them: also from a popcornd that did not start it. */
START_TEST(test_devices)
{
	write_config("virtiofsd = \"/dev/null\";\n");
	end_daemon(SIGTERM);
	start_daemon();
	fake->vhost_features = ~0ULL;
	opens("none", ERROR("NoSuchKernel"));
	refused(call("Boot", "sa{sv}", "db0", 1, "Shares", "a(ssb)", 1, "data", "/nonexistent", 0),
		ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "db0", 1, "Shares", "a(ssb)", 2, "data", "/", 0, "data", "/",
		     0),
		ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "db0", 1, "Shares", "a(ssb)", 1, "da:ta", "/", 0),
		ERROR("InvalidArgument"));
	refused(call("Boot", "sa{sv}", "db0", 1, "Vsock", "s", "yes"), ERROR("InvalidArgument"));
	ends(call("Boot", "sa{sv}", "db0", 2, "Shares", "a(ssb)", 2, "data", "/", 0, "ro", "/usr",
		  1, "Network", "s", "none"),
	     "done", "");
	opens("db0", "0 fs fs0 0 1, 1 fs fs1 0 1, 2 vsock vsock 1000001 2");
	fake_kernel(fake, "db0")->device_failed[1] = "queue 1: bad size";
	has_devices("db0", "fs0 fs stopped, fs1 fs failed: queue 1: bad size, vsock vsock stopped");
	open_server_refused("db0", "vsock", ERROR("InvalidArgument"));
	open_server_refused("db0", "fs2", ERROR("InvalidArgument"));
	/* There is no systemd in this house. */
	open_server_refused("db0", "fs0", ERROR("UnitFailed"));
	end_daemon(SIGKILL);
	start_daemon();
	opens("db0", "0 fs fs0 0 1, 1 fs fs1 0 1, 2 vsock vsock 1000001 2");
	open_server_refused("db0", "fs1", ERROR("UnitFailed"));
	open_server_refused("db0", "fs2", ERROR("InvalidArgument"));
	fake_kernel(fake, "db0")->served[1] = true;
	opens("db0", ERROR("Busy"));
	ends(call("Stop", "st", "db0", (uint64_t)0), "done", "");
	opens("db0", ERROR("WrongState"));
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_launch)
{
	static const char conf[] = "cpus = 1; memory = \"128M\"; restart = \"on-failure\";\n"
				   "cmdline = \"a=\\\"b\\\\c\\\"\";\n";

	fake_write_file(fake, "/kernels/db0.conf", conf, strlen(conf));
	ends(call("Launch", "s", "db0"), "done", "");
	is("db0", "State", "running");
	is("db0", "Restart", "on-failure");
	is("db0", "CommandLine", "a=\"b\\c\"");
	/* A leader that was restarted. */
	ck_assert_str_eq(call("Launch", "s", "db0"), "/");
	end_daemon(SIGKILL);
	start_daemon();
	is("db0", "CommandLine", "a=\"b\\c\"");
	is("db0", "Restart", "on-failure");
	goes("db0", POPCORN_STATE_CRASHED, POPCORN_REASON_PANIC);
	reaches("db0", "crashed");
	ends(call("Launch", "s", "db0"), "done", "");
	ends(call("Stop", "st", "db0", (uint64_t)0), "done", "");
	fake_check_whole(fake);
	fake_write_file(fake, "/kernels/bad.conf", "colour = 1;\n", 12);
	refused(call("Launch", "s", "bad"), ERROR("ConfigInvalid"));
}
END_TEST

START_TEST(test_killed_while_running)
{
	_cleanup_free_ char *before = NULL, *after = NULL;

	boot("db0");
	boot("my-db.1");
	before = list();
	end_daemon(SIGKILL);
	start_daemon();
	after = list();
	ck_assert_str_eq(before, after);
	end_daemon(SIGTERM);
	start_daemon();
	free(after);
	after = list();
	ck_assert_str_eq(before, after);
	ends(call("Stop", "st", "db0", (uint64_t)0), "done", "");
	ends(call("Kill", "s", "my-db.1"), "done", "");
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_killed_while_booting)
{
	boot_slowly("db0");
	end_daemon(SIGKILL);
	/* The next one waits on for it. */
	fake_kernel(fake, "db0")->script[0] = POPCORN_STATE_RUNNING;
	fake_kernel(fake, "db0")->n_script = 1;
	start_daemon();
	reaches("db0", "running");
	ends(call("Kill", "s", "db0"), "done", "");
	fake_check_whole(fake);

	boot_slowly("db1");
	end_daemon(SIGKILL);
	start_daemon();
	is("db1", "State", "booting");
	ends(call("Kill", "s", "db1"), "done", "");
	is("db1", "State", "stopped");
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_killed_while_stopping)
{
	boot("db0");
	fake->ignores_stop = true;
	call("Stop", "st", "db0", 3600 * USEC_PER_SEC);
	reaches("db0", "stopping");
	end_daemon(SIGKILL);
	fake_kernel(fake, "db0")->script[0] = POPCORN_STATE_STOPPED;
	fake_kernel(fake, "db0")->n_script = 1;
	start_daemon();
	reaches("db0", "stopped");
	fake_check_whole(fake);
}
END_TEST

/* The daemon dies at each step that it takes at the driver and at the machine. */
START_TEST(test_killed_at_each_step)
{
	for (unsigned step = 1;; step++) {
		end_daemon(SIGTERM);
		start_daemon();
		fake->step = 0;
		fake->step_at = step;
		fake->mode = FAKE_CRASH_AFTER;
		call("Boot", "sa{sv}", "db0", 0);
		/* After its job it takes no more steps. */
		while (!*ended_job && is_alive())
			sd_bus_process(bus, NULL);
		fake->step_at = 0;
		if (*ended_job) {
			/* There are no more steps. */
			ends(call("Kill", "s", "db0"), "done", "");
			fake_check_whole(fake);
			ck_assert_uint_gt(step, 10);
			break;
		}
		bury_daemon();
		start_daemon();
		for (;;) {
			_cleanup_free_ char *state = property("db0", "State");

			if (strcmp(state, "running") == 0) {
				ends(call("Kill", "s", "db0"), "done", "");
				break;
			}
			if (strcmp(state, "stopped") == 0 || strcmp(state, "failed") == 0 ||
			    strcmp(state, "") == 0)
				break;
			sd_bus_process(bus, NULL);
		}
		fake_check_whole(fake);
	}
}
END_TEST

START_TEST(test_terminated_while_booting)
{
	boot_slowly("db0");
	end_daemon(SIGTERM);
	ck_assert_ptr_nonnull(fake_kernel(fake, "db0"));
	start_daemon();
	is("db0", "State", "booting");
	ends(call("Kill", "s", "db0"), "done", "");
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_lost)
{
	boot("db0");
	end_daemon(SIGKILL);
	/* As after a reload of the driver, which gives everything back. */
	fake->step_at = 0;
	for (uint32_t i = 0; i < fake_kernel(fake, "db0")->n_cpus; i++) {
		uint32_t cpu = fake_kernel(fake, "db0")->cpus[i];

		fake->online[cpu] = true;
		fake->lent[cpu] = false;
	}
	fake_kernel(fake, "db0")->used = false;
	fake->low_free++;
	fake_refresh(fake);
	start_daemon();
	is("db0", "State", "failed");
	ends(call("Release", "s", "db0"), "done", "");
}
END_TEST

START_TEST(test_no_driver)
{
	uint32_t flags = fake->info_flags;
	_cleanup_free_ char *all = NULL;

	end_daemon(SIGTERM);
	fake->info_flags = UINT32_MAX;
	start_daemon();
	all = list();
	ck_assert_str_eq(all, "");
	refused(call("Boot", "sa{sv}", "db0", 0), ERROR("NoDriver"));
	fake->info_flags = flags;
	boot("db0");
	ends(call("Kill", "s", "db0"), "done", "");
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_damaged_records)
{
	static const char good[] = "STATE=crashed\nREASON=panic\nTEXT=a\\x0ab\nNEW_KEY=1\n";
	static const struct {
		const char *name, *text;
	} bad[] = {
		{ "empty", "" },
		{ "cut", "STATE=runn" },
		{ "state", "STATE=sleeping\n" },
		{ "escape", "STATE=failed\nTEXT=\\xZZ\n" },
		{ "nul", "STATE=failed\nTEXT=\\x00\n" },
		{ "key", "STATE\n" },
		{ "number", "STATE=failed\nMEMORY=12x\n" },
		{ "history", "STATE=failed\nHISTORY=1 running\n" },
		{ "step", "STATE=failed\nSTEP=a-name-that-is-too-long 1\n" },
	};
	_cleanup_free_ char *all = NULL;

	end_daemon(SIGTERM);
	fake_write_file(fake, "/run/kernels/good", good, strlen(good));
	fake_write_file(fake, "/run/kernels/.aside", "x", 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char path[64];

		snprintf(path, sizeof(path), "/run/kernels/%s", bad[i].name);
		fake_write_file(fake, path, bad[i].text, strlen(bad[i].text));
	}
	start_daemon();
	all = list();
	ck_assert_str_eq(all, "good 0 crashed panic 0 0 " BUS_PATH "/kernel/good\n");
	is("good", "ReasonText", "a\nb");
}
END_TEST

START_TEST(test_records_are_bounded)
{
	_cleanup_free_ char *all = NULL;
	unsigned n = 0;

	fake->load_errno = EIO;
	for (unsigned i = 0; i < 70; i++) {
		char name[16];

		snprintf(name, sizeof(name), "k%u", i);
		ends(call("Boot", "sa{sv}", name, 0), "failed", ERROR("Failed"));
	}
	all = list();
	for (const char *p = all; (p = strchr(p, '\n')); p++)
		n++;
	ck_assert_uint_eq(n, 64);
	is("k0", "State", "");
	is("k69", "State", "failed");
}
END_TEST

START_TEST(test_reload)
{
	write_config("colour = 1;\n");
	ck_assert_int_eq(kill(daemon_pid, SIGHUP), 0);
	boot("db0");
	write_config("stop = { timeout = 1; };\n");
	ck_assert_int_eq(kill(daemon_pid, SIGHUP), 0);
	ends(call("Kill", "s", "db0"), "done", "");
	fake_check_whole(fake);
}
END_TEST

/*
 * Introspection.
 */

struct attribute {
	char text[160];
};

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct attribute *)a)->text, ((const struct attribute *)b)->text);
}

/* One tag per line, attributes sorted, no comments, no text, <a></a> as <a/>. */
static char *normalize(const char *xml)
{
	size_t size;
	char *text;
	FILE *f = open_memstream(&text, &size);

	for (const char *p = xml; (p = strchr(p, '<'));) {
		struct attribute attributes[8];
		const char *end;
		size_t n = 0;
		char name[64];
		bool empty;

		if (strncmp(p, "<!--", 4) == 0) {
			p = strstr(p, "-->");
			ck_assert_ptr_nonnull(p);
			continue;
		}
		end = strchr(p, '>');
		ck_assert_ptr_nonnull(end);
		empty = end[-1] == '/';
		ck_assert_int_eq(sscanf(p, "<%63[^ />]", name) == 1 || p[1] == '/', 1);
		if (p[1] == '/')
			snprintf(name, sizeof(name), "%.*s", (int)(end - p - 1), p + 1);
		fprintf(f, "%s", name);
		for (p += strcspn(p, " >"); p < end && *p == ' ';) {
			size_t length;

			p += strspn(p, " ");
			if (p >= end || *p == '/')
				break;
			length = strcspn(p, "=") + 2;
			length += strcspn(p + length, "\"") + 1;
			ck_assert_uint_lt(n, ARRAY_SIZE(attributes));
			snprintf(attributes[n++].text, sizeof(attributes[0].text), " %.*s",
				 (int)length, p);
			p += length;
		}
		qsort(attributes, n, sizeof(attributes[0]), compare);
		for (size_t i = 0; i < n; i++)
			fputs(attributes[i].text, f);
		fputc('\n', f);
		if (empty)
			fprintf(f, "/%s\n", name);
		p = end;
	}
	fclose(f);
	return text;
}

static char *interface_of(const char *xml, const char *interface)
{
	_cleanup_free_ char *start = NULL;
	_cleanup_free_ char *all = normalize(xml);
	char *p, *end;

	ck_assert_int_gt(asprintf(&start, "interface name=\"%s\"\n", interface), 0);
	p = strstr(all, start);
	ck_assert_msg(p != NULL, "no %s in %s", interface, all);
	end = strstr(p, "\n/interface");
	ck_assert_ptr_nonnull(end);
	return strndup(p, (size_t)(end - p));
}

static void same_interface(const char *path, const char *interface)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_free_ char *is = NULL, *should = NULL;
	_cleanup_free_ void *file = NULL;
	const char *xml;
	size_t size;

	ck_assert_int_ge(sd_bus_call_method(bus, BUS_NAME, path,
					    "org.freedesktop.DBus.Introspectable", "Introspect",
					    NULL, &reply, NULL),
			 0);
	ck_assert_int_gt(sd_bus_message_read(reply, "s", &xml), 0);
	ck_assert_int_eq(read_file(getenv("POPCORN_XML"), 1 << 20, &file, &size), 0);
	is = interface_of(xml, interface);
	should = interface_of(file, interface);
	ck_assert_str_eq(is, should);
}

START_TEST(test_introspection)
{
	const char *job = boot_slowly("db0");

	same_interface(BUS_PATH, MANAGER);
	same_interface(BUS_PATH "/kernel/db0", KERNEL);
	same_interface(job, JOB);
}
END_TEST

START_TEST(test_object_manager)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	const char *path;
	unsigned n = 0;

	boot("a.b");
	ck_assert_int_ge(sd_bus_call_method(bus, BUS_NAME, BUS_PATH,
					    "org.freedesktop.DBus.ObjectManager",
					    "GetManagedObjects", NULL, &reply, NULL),
			 0);
	ck_assert_int_ge(sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}"), 0);
	while (sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}") > 0) {
		ck_assert_int_gt(sd_bus_message_read(reply, "o", &path), 0);
		n += strcmp(path, BUS_PATH "/kernel/a_2eb") == 0;
		ck_assert_int_ge(sd_bus_message_skip(reply, "a{sa{sv}}"), 0);
		ck_assert_int_ge(sd_bus_message_exit_container(reply), 0);
	}
	ck_assert_uint_eq(n, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon");
	TCase *tcase = tcase_create("popcornd");

	tcase_add_checked_fixture(tcase, make, unmake);
	tcase_set_timeout(tcase, 240);
	tcase_add_test(tcase, test_life);
	tcase_add_test(tcase, test_refused);
	tcase_add_test(tcase, test_memory_nodes);
	tcase_add_test(tcase, test_failing_boot);
	tcase_add_test(tcase, test_cancel);
	tcase_add_test(tcase, test_stop_supersedes_boot);
	tcase_add_test(tcase, test_kill_supersedes_stop);
	tcase_add_test(tcase, test_stop_times_out);
	tcase_add_loop_test(tcase, test_agent, 0, ARRAY_SIZE(answers));
	tcase_add_test(tcase, test_stuck);
	tcase_add_test(tcase, test_crash);
	tcase_add_test(tcase, test_power_off);
	tcase_add_test(tcase, test_launch);
	tcase_add_test(tcase, test_devices);
	tcase_add_test(tcase, test_killed_while_running);
	tcase_add_test(tcase, test_killed_while_booting);
	tcase_add_test(tcase, test_killed_while_stopping);
	tcase_add_test(tcase, test_killed_at_each_step);
	tcase_add_test(tcase, test_terminated_while_booting);
	tcase_add_test(tcase, test_lost);
	tcase_add_test(tcase, test_no_driver);
	tcase_add_test(tcase, test_damaged_records);
	tcase_add_test(tcase, test_records_are_bounded);
	tcase_add_test(tcase, test_reload);
	tcase_add_test(tcase, test_introspection);
	tcase_add_test(tcase, test_object_manager);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
