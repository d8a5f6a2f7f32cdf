// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A popcornd without a machine, for tests of libpopcorn and popcornctl: it speaks
 * org.popcornlinux.Popcorn1.xml on the bus that DBUS_SYSTEM_BUS_ADDRESS names, and its kernels are
 * only told of. What it does is chosen by the name of the kernel:
 *
 *	e-NAME		the call fails with the error NAME ("e-NoFreeCpus")
 *	j-NAME		the job fails with the error NAME
 *	slow…		the boot stays in its step "kernel" until it is cancelled
 *	late…		the same, but it can't be cancelled: it is done when that is tried
 *	gone…		popcornd dies in the middle of the boot
 *	anything else	works
 *
 * Of policies "e-NAME" as above, "j-NAME": the job of its Apply fails; "slow": it goes on until it is
 * cancelled; "impossible": the plan has problems; "stops…": kernels would be stopped; "devices"; all
 * others make two kernels of their name.
 *
 * --demo: begins with three kernels. Prints "ready" when it has its name on the bus.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "policy.h"

#define NAME "org.popcornlinux.Popcorn1"
#define ROOT "/org/popcornlinux/Popcorn1"
#define MANAGER NAME ".Manager"

#define MAX_KERNELS 16
#define MAX_CPUS 64
#define MAX_NODES 8
#define MAX_HISTORY 64
#define MAX_CONSOLES 8
#define STEP_USEC 3000
#define MEMORY_START 0x100000000ULL
#define DEFAULT_BYTES (384ULL << 20)

static const char *const steps[] = { "reserve", "load", "start", "kernel", "agent" };
#define NR_STEPS (sizeof(steps) / sizeof(steps[0]))

struct job {
	struct kernel *kernel; /* NULL: an apply */
	char name[64];
	uint32_t id;
	const char *type;
	unsigned step;
	bool undoing, late;
	sd_event_source *timer;
};

struct kernel {
	bool used;
	char name[64];
	uint32_t id;
	const char *state, *reason, *text;
	uint32_t cpus[MAX_CPUS];
	size_t n_cpus;
	uint64_t memory, boot_time, timeout;
	struct {
		uint32_t node;
		uint64_t bytes;
	} nodes[MAX_NODES];
	size_t n_nodes;
	char *image, *initrd, *command_line, *root, *restart, *network;
	const char *version;
	char policy[64];
	size_t n_steps;
	struct {
		uint64_t time;
		const char *state, *reason, *text;
	} history[MAX_HISTORY];
	size_t n_history;
	struct job *job;
	int consoles[MAX_CONSOLES];
	sd_event_source *console_sources[MAX_CONSOLES];
};

static struct kernel kernels[MAX_KERNELS];
static sd_bus *bus;
static sd_event *event;
static uint32_t last_job;
static struct job *apply_job;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static char *copy(const char *s)
{
	char *c = strdup(s);

	if (!c)
		abort();
	return c;
}

static const char *kernel_path(const struct kernel *kernel)
{
	static char *path;

	free(path);
	path = NULL;
	if (sd_bus_path_encode(ROOT "/kernel", kernel->name, &path) < 0)
		abort();
	return path;
}

static const char *job_path(const struct job *job)
{
	static char path[64];

	snprintf(path, sizeof(path), ROOT "/job/%" PRIu32, job->id);
	return path;
}

static struct kernel *find(const char *name)
{
	for (int i = 0; i < MAX_KERNELS; i++)
		if (kernels[i].used && strcmp(kernels[i].name, name) == 0)
			return &kernels[i];
	return NULL;
}

static void close_consoles(struct kernel *kernel)
{
	for (int i = 0; i < MAX_CONSOLES; i++) {
		kernel->console_sources[i] =
			sd_event_source_disable_unref(kernel->console_sources[i]);
		if (kernel->consoles[i] >= 0)
			close(kernel->consoles[i]);
		kernel->consoles[i] = -1;
	}
}

static void set_state(struct kernel *kernel, const char *state, const char *reason,
		      const char *text)
{
	const char *old = kernel->state ? kernel->state : "";
	uint64_t time = now();

	kernel->state = state;
	kernel->reason = reason;
	kernel->text = text;
	if (kernel->n_history < MAX_HISTORY) {
		kernel->history[kernel->n_history].time = time;
		kernel->history[kernel->n_history].state = state;
		kernel->history[kernel->n_history].reason = reason;
		kernel->history[kernel->n_history].text = text;
		kernel->n_history++;
	}
	sd_bus_emit_signal(bus, ROOT, MANAGER, "StateChanged", "sosssst", kernel->name,
			   kernel_path(kernel), old, state, reason, text, time);
	if (strcmp(state, "stopped") == 0 || strcmp(state, "crashed") == 0)
		close_consoles(kernel);
}

static struct kernel *new_kernel(const char *name)
{
	for (int i = 0; i < MAX_KERNELS; i++) {
		struct kernel *kernel = &kernels[i];

		if (kernel->used)
			continue;
		memset(kernel, 0, sizeof(*kernel));
		kernel->used = true;
		snprintf(kernel->name, sizeof(kernel->name), "%s", name);
		kernel->id = i + 1;
		kernel->memory = DEFAULT_BYTES;
		kernel->n_cpus = 1;
		kernel->cpus[0] = i + 1;
		kernel->image = copy("/boot/vmlinuz");
		kernel->initrd = copy("");
		kernel->command_line = copy("");
		kernel->root = copy("initramfs");
		kernel->restart = copy("no");
		kernel->network = copy("default");
		kernel->version = "";
		for (int j = 0; j < MAX_CONSOLES; j++)
			kernel->consoles[j] = -1;
		sd_bus_emit_signal(bus, ROOT, MANAGER, "KernelNew", "so", kernel->name,
				   kernel_path(kernel));
		set_state(kernel, "reserved", "requested", "");
		return kernel;
	}
	return NULL;
}

static void free_kernel(struct kernel *kernel)
{
	sd_bus_emit_signal(bus, ROOT, MANAGER, "KernelRemoved", "so", kernel->name,
			   kernel_path(kernel));
	close_consoles(kernel);
	free(kernel->image);
	free(kernel->initrd);
	free(kernel->command_line);
	free(kernel->root);
	free(kernel->restart);
	free(kernel->network);
	kernel->used = false;
}

static void end_job(struct job *job, const char *result, enum popcorn_error_id id)
{
	struct kernel *kernel = job->kernel;

	if (kernel)
		kernel->job = NULL;
	else
		apply_job = NULL;
	sd_bus_emit_signal(bus, ROOT, MANAGER, "JobRemoved", "uossss", job->id, job_path(job),
			   job->name, result, popcorn_error_name(id), popcorn_error_text(id));
	if (kernel && ((strcmp(job->type, "boot") == 0 && strcmp(result, "done")) ||
		       (strcmp(job->type, "release") == 0 && strcmp(result, "done") == 0)))
		free_kernel(kernel);
	sd_event_source_disable_unref(job->timer);
	free(job);
}

static int rearm(struct job *job)
{
	sd_event_source_set_time_relative(job->timer, STEP_USEC);
	return sd_event_source_set_enabled(job->timer, SD_EVENT_ONESHOT);
}

#define APPLY_KERNELS 2

static int apply_step(struct job *job)
{
	struct kernel *kernel;
	char name[128];

	if (job->undoing) {
		for (int i = 0; i < MAX_KERNELS; i++)
			if (kernels[i].used && strcmp(kernels[i].policy, job->name) == 0)
				free_kernel(&kernels[i]);
		end_job(job, "cancelled", POPCORN_ERROR_CANCELLED);
		return 0;
	}
	if (strncmp(job->name, "j-", 2) == 0 && job->step == 1) {
		snprintf(name, sizeof(name), POPCORN_ERROR_PREFIX "%s", job->name + 2);
		end_job(job, "failed", popcorn_error_from_name(name));
		return 0;
	}
	if (strcmp(job->name, "slow") == 0 && job->step == 1)
		return 0;
	if (job->step == APPLY_KERNELS) {
		end_job(job, "done", POPCORN_ERROR_NONE);
		return 0;
	}
	snprintf(name, sizeof(name), "%s%u", job->name, job->step++);
	kernel = find(name);
	if (!kernel)
		kernel = new_kernel(name);
	if (kernel) {
		snprintf(kernel->policy, sizeof(kernel->policy), "%s", job->name);
		kernel->version = "6.1.0-56-amd64";
		kernel->boot_time = now();
		set_state(kernel, "running", "checked-in", "the kernel reported that it runs");
	}
	sd_bus_emit_properties_changed(bus, job_path(job), NAME ".Job", "Step", "Progress", NULL);
	return rearm(job);
}

static int on_step(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct job *job = userdata;
	struct kernel *kernel = job->kernel;

	if (!kernel)
		return apply_step(job);
	if (job->undoing) {
		end_job(job, "cancelled", POPCORN_ERROR_CANCELLED);
		return 0;
	}
	if (strncmp(kernel->name, "j-", 2) == 0 && job->step == 1) {
		char name[128];

		snprintf(name, sizeof(name), POPCORN_ERROR_PREFIX "%s", kernel->name + 2);
		end_job(job, "failed", popcorn_error_from_name(name));
		return 0;
	}
	if (strcmp(job->type, "boot")) {
		if (strcmp(job->type, "stop") == 0)
			/* As if it had not listened. */
			set_state(kernel, "stopped",
				  kernel->timeout == 1000 ? "killed" : "requested", "");
		else if (strcmp(job->type, "kill") == 0)
			set_state(kernel, "stopped", "killed", "");
		if (strcmp(job->type, "release"))
			kernel->n_cpus = kernel->memory = 0;
		end_job(job, "done", POPCORN_ERROR_NONE);
		return 0;
	}
	if (strncmp(kernel->name, "gone", 4) == 0 && job->step == 2)
		return sd_event_exit(event, 0);
	if ((strncmp(kernel->name, "slow", 4) == 0 ||
	     (strncmp(kernel->name, "late", 4) == 0 && !job->late)) &&
	    job->step == 4)
		return 0;
	if (job->step == NR_STEPS) {
		kernel->version = "6.1.0-56-amd64";
		kernel->boot_time = now();
		kernel->n_steps = NR_STEPS;
		set_state(kernel, "running", "checked-in", "the kernel reported that it runs");
		end_job(job, "done", POPCORN_ERROR_NONE);
		return 0;
	}
	if (job->step == 1)
		set_state(kernel, "loading", "requested", "");
	if (job->step == 3)
		set_state(kernel, "booting", "requested", "");
	job->step++;
	sd_bus_emit_properties_changed(bus, job_path(job), NAME ".Job", "Step", "Progress", NULL);
	return rearm(job);
}

static int new_job(struct kernel *kernel, const char *name, const char *type, struct job **ret)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->kernel = kernel;
	snprintf(job->name, sizeof(job->name), "%s", kernel ? kernel->name : name);
	job->type = type;
	job->id = ++last_job;
	if (kernel)
		kernel->job = job;
	else
		apply_job = job;
	sd_bus_emit_signal(bus, ROOT, MANAGER, "JobNew", "uoss", job->id, job_path(job), job->name,
			   type);
	*ret = job;
	return sd_event_add_time_relative(event, &job->timer, CLOCK_MONOTONIC, STEP_USEC, 1,
					  on_step, job);
}

static int fail(sd_bus_error *error, enum popcorn_error_id id)
{
	return sd_bus_error_set(error, popcorn_error_name(id), popcorn_error_text(id));
}

static bool is_wish(const char *name, sd_bus_error *error)
{
	char full[128];

	if (strncmp(name, "e-", 2))
		return false;
	snprintf(full, sizeof(full), POPCORN_ERROR_PREFIX "%s", name + 2);
	fail(error, popcorn_error_from_name(full));
	return true;
}

static void parse_cpus(struct kernel *kernel, const char *list)
{
	kernel->n_cpus = 0;
	while (*list) {
		char *end;
		unsigned first = strtoul(list, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; first <= last && kernel->n_cpus < MAX_CPUS; first++)
			kernel->cpus[kernel->n_cpus++] = first;
		list = *end ? end + 1 : end;
	}
}

static int read_memory_nodes(sd_bus_message *m, struct kernel *kernel)
{
	int r;

	kernel->n_nodes = 0;
	r = sd_bus_message_enter_container(m, 'v', "a(ut)");
	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "(ut)");
	while (r >= 0 && kernel->n_nodes < MAX_NODES) {
		r = sd_bus_message_read(m, "(ut)", &kernel->nodes[kernel->n_nodes].node,
					&kernel->nodes[kernel->n_nodes].bytes);
		if (r <= 0)
			break;
		kernel->n_nodes++;
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	kernel->memory = 0;
	for (size_t i = 0; i < kernel->n_nodes; i++)
		kernel->memory += kernel->nodes[i].bytes;
	return r;
}

/* Devices have no property: what was asked for is shown behind the command line. */
static int note_device(struct kernel *kernel, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static int note_device(struct kernel *kernel, const char *format, ...)
{
	char *note, *all;
	va_list ap;
	int r;

	va_start(ap, format);
	r = vasprintf(&note, format, ap);
	va_end(ap);
	if (r < 0)
		return -ENOMEM;
	r = asprintf(&all, "%s <%s>", kernel->command_line ? kernel->command_line : "", note);
	free(note);
	if (r < 0)
		return -ENOMEM;
	free(kernel->command_line);
	kernel->command_line = all;
	return 0;
}

static int read_shares(sd_bus_message *m, struct kernel *kernel)
{
	int r;

	r = sd_bus_message_enter_container(m, 'v', "a(ssb)");
	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "(ssb)");
	while (r >= 0) {
		const char *tag, *path;
		int read_only;

		r = sd_bus_message_read(m, "(ssb)", &tag, &path, &read_only);
		if (r <= 0)
			break;
		r = note_device(kernel, "%s %s %s", tag, path, read_only ? "ro" : "rw");
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_options(sd_bus_message *m, struct kernel *kernel)
{
	int r;

	r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		const char *option, *value;
		uint32_t count;
		char **where = NULL;

		r = sd_bus_message_read(m, "s", &option);
		if (r < 0)
			return r;
		if (strcmp(option, "Kernel") == 0)
			where = &kernel->image;
		else if (strcmp(option, "Initrd") == 0)
			where = &kernel->initrd;
		else if (strcmp(option, "CommandLine") == 0)
			where = &kernel->command_line;
		else if (strcmp(option, "Root") == 0)
			where = &kernel->root;
		else if (strcmp(option, "Restart") == 0)
			where = &kernel->restart;
		else if (strcmp(option, "Network") == 0)
			where = &kernel->network;
		if (where) {
			r = sd_bus_message_read(m, "v", "s", &value);
			if (r >= 0) {
				free(*where);
				*where = copy(value);
			}
		} else if (strcmp(option, "Cpus") == 0) {
			r = sd_bus_message_read(m, "v", "s", &value);
			if (r >= 0)
				parse_cpus(kernel, value);
		} else if (strcmp(option, "CpuCount") == 0) {
			r = sd_bus_message_read(m, "v", "u", &count);
			for (kernel->n_cpus = 0; r >= 0 && kernel->n_cpus < count; kernel->n_cpus++)
				kernel->cpus[kernel->n_cpus] = kernel->n_cpus + 1;
		} else if (strcmp(option, "Memory") == 0) {
			r = sd_bus_message_read(m, "v", "t", &kernel->memory);
		} else if (strcmp(option, "MemoryNodes") == 0) {
			r = read_memory_nodes(m, kernel);
		} else if (strcmp(option, "Timeout") == 0) {
			r = sd_bus_message_read(m, "v", "t", &kernel->timeout);
		} else if (strcmp(option, "Shares") == 0) {
			r = read_shares(m, kernel);
		} else if (strcmp(option, "Vsock") == 0) {
			int vsock;

			r = sd_bus_message_read(m, "v", "b", &vsock);
			if (r >= 0)
				r = note_device(kernel, "%svsock", vsock ? "" : "no ");
		} else {
			return -EINVAL;
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r;
}

static int method_boot(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct kernel *kernel;
	struct job *job;
	const char *name;
	int r;

	r = sd_bus_message_read(m, "s", &name);
	if (r < 0)
		return r;
	if (is_wish(name, error))
		return -EIO;
	if (!*name || strchr(name, '/') || strlen(name) > 63)
		return fail(error, POPCORN_ERROR_INVALID_NAME);
	if (find(name))
		return fail(error, POPCORN_ERROR_NAME_TAKEN);
	kernel = new_kernel(name);
	if (!kernel)
		return fail(error, POPCORN_ERROR_LIMIT);
	r = read_options(m, kernel);
	if (r < 0)
		return r;
	if (!kernel->memory) {
		free_kernel(kernel);
		return fail(error, POPCORN_ERROR_MEMORY_INVALID);
	}
	r = new_job(kernel, NULL, "boot", &job);
	return r < 0 ? r : sd_bus_reply_method_return(m, "o", job_path(job));
}

static int change(sd_bus_message *m, const char *type, sd_bus_error *error)
{
	struct kernel *kernel;
	struct job *job;
	const char *name;
	int r;

	r = sd_bus_message_read(m, "s", &name);
	if (r < 0)
		return r;
	if (is_wish(name, error))
		return -EIO;
	kernel = find(name);
	if (!kernel)
		return fail(error, POPCORN_ERROR_NO_SUCH_KERNEL);
	if (kernel->job)
		return fail(error, POPCORN_ERROR_BUSY);
	if ((strcmp(kernel->state, "running") == 0) == (strcmp(type, "release") == 0))
		return fail(error, POPCORN_ERROR_WRONG_STATE);
	if (strcmp(type, "stop") == 0) {
		r = sd_bus_message_read(m, "t", &kernel->timeout);
		if (r < 0)
			return r;
	}
	if (strcmp(type, "release"))
		set_state(kernel, "stopping", "requested", "");
	r = new_job(kernel, NULL, type, &job);
	return r < 0 ? r : sd_bus_reply_method_return(m, "o", job_path(job));
}

static int method_stop(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return change(m, "stop", error);
}

static int method_kill(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return change(m, "kill", error);
}

static int method_release(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return change(m, "release", error);
}

/* The first line of a text, as far as it can stand in JSON. */
static void first_line(const char *text, char *line, size_t size)
{
	size_t n = 0;

	for (; n + 1 < size && text[n] >= ' ' && text[n] < 0x7f; n++)
		line[n] = text[n] == '"' || text[n] == '\\' ? '\'' : text[n];
	line[n] = '\0';
}

struct policy_options {
	const char *text;
	int explain, diff, atomic, prune;
};

static int read_policy_options(sd_bus_message *m, struct policy_options *options)
{
	const struct {
		const char *name;
		int *value;
	} flags[] = {
		{ "Explain", &options->explain },
		{ "Diff", &options->diff },
		{ "Atomic", &options->atomic },
		{ "Prune", &options->prune },
	};
	int r;

	r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		const char *option;

		r = sd_bus_message_read(m, "s", &option);
		if (r < 0)
			return r;
		if (strcmp(option, "Text") == 0)
			r = sd_bus_message_read(m, "v", "s", &options->text);
		for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
			if (strcmp(option, flags[i].name) == 0)
				r = sd_bus_message_read(m, "v", "b", flags[i].value);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r;
}

static int method_plan(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct policy_options options = { 0 };
	char *text = NULL, line[256] = "";
	const char *name;
	size_t size;
	FILE *f;
	int r;

	r = sd_bus_message_read(m, "s", &name);
	if (r >= 0)
		r = read_policy_options(m, &options);
	if (r < 0)
		return r;
	if (is_wish(name, error))
		return -EIO;
	f = open_memstream(&text, &size);
	if (!f)
		return -ENOMEM;
	if (strcmp(name, "impossible") == 0) {
		fprintf(f,
			"{\"policy\":\"%s\",\"problems\":[{\"id\":\"CpuTaken\",\"line\":3,"
			"\"group\":\"db\",\"resource\":\"CPU 3\",\"owner\":\"kernel web0\","
			"\"asked\":\"CPU 3 is asked for\",\"available\":\"kernel web0 has it\","
			"\"suggestion\":\"take CPU 4\",\"suggest_key\":\"cpus\","
			"\"suggest_value\":\"4\"},{\"id\":\"NoMemory\",\"line\":0,\"group\":null,"
			"\"resource\":null,\"owner\":null,\"asked\":\"all is asked for\","
			"\"available\":null,\"suggestion\":null,\"suggest_key\":null,"
			"\"suggest_value\":null}]}",
			name);
	} else {
		fprintf(f,
			"{\"policy\":\"%s\",\"machine\":\"this machine\","
			"\"primary\":{\"cpus\":[0,1],\"memory\":[{\"node\":0,\"bytes\":2147483648},"
			"{\"node\":1,\"bytes\":0}]},\"kernels\":[",
			name);
		for (unsigned i = 0; i < APPLY_KERNELS; i++)
			fprintf(f,
				"%s{\"name\":\"%s%u\",\"group\":\"%s\",\"cpus\":[%u,%u],"
				"\"memory\":805306368,\"memory_nodes\":[{\"node\":0,\"bytes\":"
				"536870912},{\"node\":1,\"bytes\":268435456}],\"devices\":[%s],"
				"\"start\":%u,\"image\":null,\"initrd\":null,\"cmdline\":null,"
				"\"root\":null,\"restart\":null,\"network\":null,\"view\":{"
				"\"cores\":2,"
				"\"split_cores\":%u,\"l3s\":1,\"split_l3s\":1,\"nodes\":2,"
				"\"packages\":1,\"distance_max\":21,\"distance_mean\":13.7,"
				"\"local_bytes\":536870912}}",
				i ? "," : "", name, i, name, 2 + 2 * i, 3 + 2 * i,
				strcmp(name, "devices") == 0 ? "\"0000:03:00.0\"" : "", i, i);
		fprintf(f,
			"],\"boot_args\":\"kernelcore=2G\",\"boot_args_sure\":false,\"notes\":[");
		if (options.text)
			first_line(options.text, line, sizeof(line));
		fprintf(f, "{\"kind\":\"warning\",\"kernel\":null,\"text\":\"%s\"}",
			options.text ? line : "the firmware lies");
		if (options.explain)
			fprintf(f,
				",{\"kind\":\"info\",\"kernel\":\"%s0\",\"text\":\"it was "
				"there\"}",
				name);
		fprintf(f, "]");
		if (options.diff) {
			fprintf(f, ",\"changes\":[");
			if (strncmp(name, "stops", 5) == 0)
				fprintf(f, "{\"change\":\"stop\",\"name\":\"old\",\"why\":\"it "
					   "is not planned\",\"running\":true},");
			for (unsigned i = 0; i < APPLY_KERNELS; i++) {
				char kernel[128];

				snprintf(kernel, sizeof(kernel), "%s%u", name, i);
				fprintf(f,
					"%s{\"change\":\"%s\",\"name\":\"%s\",\"why\":\"\","
					"\"running\":%s}",
					i ? "," : "", find(kernel) ? "keep" : "start", kernel,
					find(kernel) ? "true" : "false");
			}
			fprintf(f, "]");
		}
		fprintf(f, "}");
	}
	if (fclose(f) != 0)
		return -ENOMEM;
	r = sd_bus_reply_method_return(m, "s", text);
	free(text);
	return r;
}

static int method_apply(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct policy_options options = { 0 };
	struct job *job;
	const char *name;
	int r;

	r = sd_bus_message_read(m, "s", &name);
	if (r >= 0)
		r = read_policy_options(m, &options);
	if (r < 0)
		return r;
	if (is_wish(name, error))
		return -EIO;
	if (strcmp(name, "impossible") == 0)
		return fail(error, POPCORN_ERROR_PLAN_IMPOSSIBLE);
	if (strcmp(name, "devices") == 0)
		return fail(error, POPCORN_ERROR_NOT_SUPPORTED);
	if (strncmp(name, "stops", 5) == 0 && !options.prune)
		return fail(error, POPCORN_ERROR_WOULD_STOP);
	/* So that a test sees what was sent. */
	if (strcmp(name, "atomic") == 0 && !options.atomic)
		return fail(error, POPCORN_ERROR_INVALID_ARGUMENT);
	if (apply_job)
		return fail(error, POPCORN_ERROR_BUSY);
	r = new_job(NULL, name, "apply", &job);
	return r < 0 ? r : sd_bus_reply_method_return(m, "o", job_path(job));
}

static int method_not_here(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return fail(error, POPCORN_ERROR_NOT_AUTHORIZED);
}

static int method_list(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	sd_bus_message *reply = NULL;
	int r;

	r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(sussuto)");
	for (int i = 0; i < MAX_KERNELS && r >= 0; i++)
		if (kernels[i].used)
			r = sd_bus_message_append(reply, "(sussuto)", kernels[i].name,
						  kernels[i].id, kernels[i].state,
						  kernels[i].reason, (uint32_t)kernels[i].n_cpus,
						  kernels[i].memory, kernel_path(&kernels[i]));
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	if (r >= 0)
		r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r;
}

static int method_get_kernel(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct kernel *kernel;
	const char *name;
	int r;

	r = sd_bus_message_read(m, "s", &name);
	if (r < 0)
		return r;
	if (is_wish(name, error))
		return -EIO;
	kernel = find(name);
	return kernel ? sd_bus_reply_method_return(m, "o", kernel_path(kernel))
		      : fail(error, POPCORN_ERROR_NO_SUCH_KERNEL);
}

static int method_get_job(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	uint32_t id;
	int r;

	r = sd_bus_message_read(m, "u", &id);
	if (r < 0)
		return r;
	if (apply_job && apply_job->id == id)
		return sd_bus_reply_method_return(m, "o", job_path(apply_job));
	for (int i = 0; i < MAX_KERNELS; i++)
		if (kernels[i].used && kernels[i].job && kernels[i].job->id == id)
			return sd_bus_reply_method_return(m, "o", job_path(kernels[i].job));
	return fail(error, POPCORN_ERROR_NO_SUCH_JOB);
}

/* What is typed comes back in capitals; "poweroff" does that, "panic" as well. */
static int on_console(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct kernel *kernel = userdata;
	char buffer[4096];
	ssize_t n = read(fd, buffer, sizeof(buffer) - 1);

	if (n <= 0) {
		/* The reader closed his end, or only has nothing more to say. */
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return 0;
	}
	buffer[n] = '\0';
	for (ssize_t i = 0; i < n; i++)
		if (buffer[i] >= 'a' && buffer[i] <= 'z')
			buffer[i] -= 'a' - 'A';
	if (write(fd, buffer, n) < 0)
		return 0;
	if (strstr(buffer, "POWEROFF"))
		set_state(kernel, "stopped", "poweroff", "the kernel powered itself off");
	else if (strstr(buffer, "PANIC"))
		set_state(kernel, "crashed", "panic", "Kernel panic - not syncing: sysrq");
	return 0;
}

static int method_open_console(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	/* With what a kernel that means harm could write to a terminal. */
	static const char backlog[] = "[    0.000000] Linux version 6.1.0-56-amd64\r\n"
				      "[    0.500000] \033]0;mine\a\033[31mred\033[0m\r\n"
				      "[    0.900000] bytes: \xff\xfe\r\n"
				      "login: ";
	struct kernel *kernel;
	const char *name;
	int fds[2], r, writable;

	r = sd_bus_message_read(m, "sb", &name, &writable);
	if (r < 0)
		return r;
	if (is_wish(name, error))
		return -EIO;
	kernel = find(name);
	if (!kernel)
		return fail(error, POPCORN_ERROR_NO_SUCH_KERNEL);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	/* Blocking, as popcornd opens it. */
	fcntl(fds[1], F_SETFL, 0);
	if (write(fds[0], backlog, sizeof(backlog) - 1) < 0)
		return -errno;
	r = sd_bus_reply_method_return(m, "h", fds[1]);
	close(fds[1]);
	for (int i = 0; i < MAX_CONSOLES && strcmp(kernel->state, "running") == 0; i++) {
		if (kernel->consoles[i] >= 0 &&
		    sd_event_source_get_enabled(kernel->console_sources[i], NULL) > 0)
			continue;
		sd_event_source_disable_unref(kernel->console_sources[i]);
		kernel->console_sources[i] = NULL;
		if (kernel->consoles[i] >= 0)
			close(kernel->consoles[i]);
		kernel->consoles[i] = fds[0];
		sd_event_add_io(event, &kernel->console_sources[i], fds[0], EPOLLIN, on_console,
				kernel);
		return r;
	}
	close(fds[0]);
	return r;
}

static int method_open_kernel_log(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	static const char log[] = "[    0.000000] Linux version 6.1.0-56-amd64\n"
				  "[    0.100000] popcorn: table found\n"
				  "[    1.000000] Kernel panic - not syncing: sysrq\n";
	const char *name;
	int fd, r;

	r = sd_bus_message_read(m, "s", &name);
	if (r < 0)
		return r;
	if (is_wish(name, error))
		return -EIO;
	if (!find(name))
		return fail(error, POPCORN_ERROR_NO_SUCH_KERNEL);
	fd = memfd_create("log", MFD_CLOEXEC);
	if (fd < 0 || write(fd, log, sizeof(log) - 1) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	r = sd_bus_reply_method_return(m, "h", fd);
	close(fd);
	return r;
}

/* The file FAKE_TOPOLOGY.xml or .json, as a test has made it; without one, little. */
static int method_get_topology(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *folder = getenv("FAKE_TOPOLOGY"), *format;
	char path[4096], *text = NULL;
	size_t size = 0;
	FILE *f;
	int r;

	r = sd_bus_message_read(m, "s", &format);
	if (r < 0)
		return r;
	if (!folder && strcmp(format, "json") == 0)
		return sd_bus_reply_method_return(m, "s", "{\"name\":\"this machine\"}");
	if (!folder && strcmp(format, "xml") == 0)
		return sd_bus_reply_method_return(m, "s", "<topology/>");
	snprintf(path, sizeof(path), "%s.%s", folder ? folder : "", format);
	f = fopen(path, "re");
	if (!f || getdelim(&text, &size, '\0', f) < 0)
		r = sd_bus_reply_method_errorf(m, POPCORN_ERROR_PREFIX "InvalidArgument",
					       "there is no format '%s'", format);
	else
		r = sd_bus_reply_method_return(m, "s", text);
	if (f)
		fclose(f);
	free(text);
	return r;
}

/* The policies of the folder FAKE_POLICIES, as a test has made it; without one, two. */
static const char *const *policy_folders(void)
{
	static const char *folders[2];

	folders[0] = getenv("FAKE_POLICIES") ? getenv("FAKE_POLICIES") : "/nonexistent";
	return folders;
}

static int method_list_policies(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	sd_bus_message *reply = NULL;
	struct policy_entry *entries;
	size_t n;
	int r;

	if (!getenv("FAKE_POLICIES"))
		return sd_bus_reply_method_return(m, "a(sssb)", 2, "bad", "/p/bad.conf", "line 1",
						  0, "two", "/p/two.conf", "two kernels", 1);
	if (policy_list(policy_folders(), &entries, &n, NULL) < 0)
		return fail(error, POPCORN_ERROR_CONFIG);
	r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(sssb)");
	for (size_t i = 0; i < n && r >= 0; i++)
		r = sd_bus_message_append(reply, "(sssb)", entries[i].name, entries[i].path,
					  entries[i].description, entries[i].valid);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	if (r >= 0)
		r = sd_bus_send(bus, reply, NULL);
	sd_bus_message_unref(reply);
	policy_entries_free(entries, n);
	return r;
}

static int method_get_policy(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	char *path, *text;
	const char *name;
	size_t size;
	int r;

	r = sd_bus_message_read(m, "s", &name);
	if (r < 0)
		return r;
	if (!getenv("FAKE_POLICIES") && strcmp(name, "two") == 0)
		return sd_bus_reply_method_return(m, "ss", "/p/two.conf", "groups = ();\n");
	if (policy_name_check(name, NULL) < 0 ||
	    policy_find(policy_folders(), name, &path, &text, &size, NULL) < 0)
		return fail(error, POPCORN_ERROR_NO_SUCH_POLICY);
	r = sd_bus_reply_method_return(m, "ss", path, text);
	free(path);
	free(text);
	return r;
}

static int get_manager(sd_bus *b, const char *path, const char *interface, const char *property,
		       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	if (strcmp(property, "Version") == 0)
		return sd_bus_message_append(reply, "s", "0.1.0");
	if (strcmp(property, "DriverAbi") == 0)
		return sd_bus_message_append(reply, "u", 1);
	if (strcmp(property, "FreeCpus") == 0)
		return sd_bus_message_append(reply, "u", 3);
	return sd_bus_message_append(reply, "t", (uint64_t)1536 << 20);
}

static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Boot", SD_BUS_ARGS("s", name, "a{sv}", options),
				SD_BUS_RESULT("o", job), method_boot, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Launch", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", job),
				method_not_here, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("OpenDevices", SD_BUS_ARGS("s", name),
				SD_BUS_RESULT("u", generation, "a(ussuah)", devices),
				method_not_here, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("OpenServer", SD_BUS_ARGS("s", name, "s", device),
				SD_BUS_RESULT("h", connection), method_not_here,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Stop", SD_BUS_ARGS("s", name, "t", timeout),
				SD_BUS_RESULT("o", job), method_stop, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Kill", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", job),
				method_kill, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", job),
				method_release, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("List", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(sussuto)", kernels),
				method_list, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetKernel", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", kernel),
				method_get_kernel, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetJob", SD_BUS_ARGS("u", id), SD_BUS_RESULT("o", job),
				method_get_job, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("OpenConsole", SD_BUS_ARGS("s", name, "b", writable),
				SD_BUS_RESULT("h", console), method_open_console,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("OpenKernelLog", SD_BUS_ARGS("s", name), SD_BUS_RESULT("h", log),
				method_open_kernel_log, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Plan", SD_BUS_ARGS("s", policy, "a{sv}", options),
				SD_BUS_RESULT("s", plan), method_plan, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Apply", SD_BUS_ARGS("s", policy, "a{sv}", options),
				SD_BUS_RESULT("o", job), method_apply, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetTopology", SD_BUS_ARGS("s", format),
				SD_BUS_RESULT("s", topology), method_get_topology,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ListPolicies", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(sssb)", policies),
				method_list_policies, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetPolicy", SD_BUS_ARGS("s", name),
				SD_BUS_RESULT("s", path, "s", text), method_get_policy,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_SIGNAL_WITH_ARGS("KernelNew", SD_BUS_ARGS("s", name, "o", kernel), 0),
	SD_BUS_SIGNAL_WITH_ARGS("KernelRemoved", SD_BUS_ARGS("s", name, "o", kernel), 0),
	SD_BUS_SIGNAL_WITH_ARGS("StateChanged",
				SD_BUS_ARGS("s", name, "o", kernel, "s", old, "s", new, "s", reason,
					    "s", text, "t", time),
				0),
	SD_BUS_SIGNAL_WITH_ARGS("JobNew", SD_BUS_ARGS("u", id, "o", job, "s", name, "s", type), 0),
	SD_BUS_SIGNAL_WITH_ARGS(
		"JobRemoved",
		SD_BUS_ARGS("u", id, "o", job, "s", name, "s", result, "s", error, "s", text), 0),
	SD_BUS_PROPERTY("Version", "s", get_manager, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("DriverAbi", "u", get_manager, 0, 0),
	SD_BUS_PROPERTY("FreeCpus", "u", get_manager, 0, 0),
	SD_BUS_PROPERTY("FreeMemory", "t", get_manager, 0, 0),
	SD_BUS_VTABLE_END,
};

static int get_kernel(sd_bus *b, const char *path, const char *interface, const char *property,
		      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct kernel *kernel = userdata;
	char unit[128], address[32] = "";
	int r;

	snprintf(unit, sizeof(unit), "popcorn@%s.service", kernel->name);
	if (strcmp(kernel->state, "running") == 0 && strcmp(kernel->network, "none") != 0)
		snprintf(address, sizeof(address), "10.77.0.%u", kernel->id + 1);
	const struct {
		const char *property, *value;
	} strings[] = {
		{ "Name", kernel->name },
		{ "State", kernel->state },
		{ "Reason", kernel->reason },
		{ "ReasonText", kernel->text },
		{ "Image", kernel->image },
		{ "Initrd", kernel->initrd },
		{ "Root", kernel->root },
		{ "CommandLine", kernel->command_line },
		{ "Version", kernel->version },
		{ "Restart", kernel->restart },
		{ "Network", kernel->network },
		{ "Address", address },
		{ "Unit", unit },
		{ "Policy", kernel->policy },
		{ "Messages", strcmp(kernel->state, "running") ? "" : "yes" },
		{ "AgentVersion", strcmp(kernel->state, "running") ? "" : "0.1.0" },
	};

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		if (strcmp(strings[i].property, property) == 0)
			return sd_bus_message_append(reply, "s", strings[i].value);
	if (strcmp(property, "Id") == 0)
		return sd_bus_message_append(reply, "u", kernel->id);
	if (strcmp(property, "Cpus") == 0)
		return sd_bus_message_append_array(reply, 'u', kernel->cpus,
						   kernel->n_cpus * sizeof(uint32_t));
	if (strcmp(property, "Memory") == 0)
		return sd_bus_message_append(reply, "t", kernel->memory);
	if (strcmp(property, "MemoryRanges") == 0 && kernel->n_nodes) {
		uint64_t start = MEMORY_START;

		r = sd_bus_message_open_container(reply, 'a', "(ttu)");
		for (size_t i = 0; i < kernel->n_nodes && r >= 0; i++) {
			r = sd_bus_message_append(reply, "(ttu)", start, kernel->nodes[i].bytes,
						  kernel->nodes[i].node);
			start += kernel->nodes[i].bytes;
		}
		return r < 0 ? r : sd_bus_message_close_container(reply);
	}
	if (strcmp(property, "MemoryRanges") == 0)
		return kernel->memory ? sd_bus_message_append(reply, "a(ttu)", 1, MEMORY_START,
							      kernel->memory, 0)
				      : sd_bus_message_append(reply, "a(ttu)", 0);
	if (strcmp(property, "Uptime") == 0)
		return sd_bus_message_append(reply, "t",
					     strcmp(kernel->state, "running")
						     ? (uint64_t)0
						     : now() - kernel->boot_time + 1);
	if (strcmp(property, "BootTime") == 0)
		return sd_bus_message_append(reply, "t", kernel->boot_time);
	if (strcmp(property, "Job") == 0)
		return sd_bus_message_append(reply, "o", kernel->job ? job_path(kernel->job) : "/");
	if (strcmp(property, "BootSteps") == 0) {
		r = sd_bus_message_open_container(reply, 'a', "(st)");
		for (size_t i = 0; i < kernel->n_steps && r >= 0; i++)
			r = sd_bus_message_append(reply, "(st)", steps[i],
						  (uint64_t)(i + 1) * 100000);
		return r < 0 ? r : sd_bus_message_close_container(reply);
	}
	if (strcmp(property, "Devices") == 0)
		return strcmp(kernel->state, "running")
			       ? sd_bus_message_append(reply, "a(ssss)", 0)
			       : sd_bus_message_append(reply, "a(ssss)", 2, "net0", "net",
						       "started", "", "fs0", "fs", "failed",
						       "queue 1: bad size");
	r = sd_bus_message_open_container(reply, 'a', "(tsss)");
	for (size_t i = 0; i < kernel->n_history && r >= 0; i++)
		r = sd_bus_message_append(reply, "(tsss)", kernel->history[i].time,
					  kernel->history[i].state, kernel->history[i].reason,
					  kernel->history[i].text);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int find_kernel(sd_bus *b, const char *path, const char *interface, void *userdata,
		       void **ret, sd_bus_error *error)
{
	char *name = NULL;
	int r;

	r = sd_bus_path_decode(path, ROOT "/kernel", &name);
	if (r <= 0)
		return r;
	*ret = find(name);
	free(name);
	return *ret != NULL;
}

static int enumerate(sd_bus *b, const char *path, void *userdata, char ***ret, sd_bus_error *error)
{
	char **nodes = calloc(2 * MAX_KERNELS + 2, sizeof(*nodes));
	size_t n = 0;

	if (!nodes)
		return -ENOMEM;
	for (int i = 0; i < MAX_KERNELS; i++) {
		if (kernels[i].used)
			nodes[n++] = copy(kernel_path(&kernels[i]));
		if (kernels[i].used && kernels[i].job)
			nodes[n++] = copy(job_path(kernels[i].job));
	}
	if (apply_job)
		nodes[n++] = copy(job_path(apply_job));
	*ret = nodes;
	return 0;
}

static const sd_bus_vtable kernel_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Stop", SD_BUS_ARGS("t", timeout), SD_BUS_RESULT("o", job),
				method_not_here, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Kill", SD_BUS_NO_ARGS, SD_BUS_RESULT("o", job), method_not_here,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_NO_ARGS, SD_BUS_RESULT("o", job), method_not_here,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Name", "s", get_kernel, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Id", "u", get_kernel, 0, 0),
	SD_BUS_PROPERTY("State", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Reason", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("ReasonText", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Cpus", "au", get_kernel, 0, 0),
	SD_BUS_PROPERTY("MemoryRanges", "a(ttu)", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Memory", "t", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Image", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Initrd", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Root", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("CommandLine", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Version", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Uptime", "t", get_kernel, 0, 0),
	SD_BUS_PROPERTY("BootTime", "t", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Restart", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Network", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Address", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Devices", "a(ssss)", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Unit", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Policy", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Messages", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("AgentVersion", "s", get_kernel, 0, 0),
	SD_BUS_PROPERTY("BootSteps", "a(st)", get_kernel, 0, 0),
	SD_BUS_PROPERTY("History", "a(tsss)", get_kernel, 0, 0),
	SD_BUS_PROPERTY("Job", "o", get_kernel, 0, 0),
	SD_BUS_VTABLE_END,
};

static int method_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct job *job = userdata;

	if (job->kernel && strncmp(job->kernel->name, "late", 4) == 0) {
		job->late = true;
		rearm(job);
		return fail(error, POPCORN_ERROR_WRONG_STATE);
	}
	job->undoing = true;
	rearm(job);
	return sd_bus_reply_method_return(m, NULL);
}

static int get_job(sd_bus *b, const char *path, const char *interface, const char *property,
		   sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct job *job = userdata;

	if (strcmp(property, "Id") == 0)
		return sd_bus_message_append(reply, "u", job->id);
	if (strcmp(property, "Name") == 0)
		return sd_bus_message_append(reply, "s", job->name);
	if (strcmp(property, "Kernel") == 0)
		return sd_bus_message_append(reply, "o",
					     job->kernel ? kernel_path(job->kernel) : "/");
	if (strcmp(property, "Type") == 0)
		return sd_bus_message_append(reply, "s", job->type);
	if (strcmp(property, "State") == 0)
		return sd_bus_message_append(reply, "s", "running");
	if (!job->kernel && strcmp(property, "Step") == 0) {
		char step[32] = "";

		if (job->step)
			snprintf(step, sizeof(step), "start %u of %d", job->step, APPLY_KERNELS);
		return sd_bus_message_append(reply, "s", step);
	}
	if (!job->kernel)
		return sd_bus_message_append(reply, "d", (double)job->step / APPLY_KERNELS);
	if (strcmp(property, "Step") == 0)
		return sd_bus_message_append(reply, "s", job->step ? steps[job->step - 1] : "");
	return sd_bus_message_append(reply, "d", (double)job->step / NR_STEPS);
}

static int find_job(sd_bus *b, const char *path, const char *interface, void *userdata, void **ret,
		    sd_bus_error *error)
{
	if (apply_job && strcmp(job_path(apply_job), path) == 0) {
		*ret = apply_job;
		return 1;
	}
	for (int i = 0; i < MAX_KERNELS; i++) {
		if (!kernels[i].used || !kernels[i].job ||
		    strcmp(job_path(kernels[i].job), path) != 0)
			continue;
		*ret = kernels[i].job;
		return 1;
	}
	return 0;
}

static const sd_bus_vtable job_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Cancel", "", "", method_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Id", "u", get_job, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Name", "s", get_job, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Kernel", "o", get_job, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Type", "s", get_job, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("State", "s", get_job, 0, 0),
	SD_BUS_PROPERTY("Step", "s", get_job, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Progress", "d", get_job, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};

static void demo(void)
{
	static const struct {
		const char *name, *cpus, *version;
		uint64_t memory, uptime;
	} wanted[] = {
		{ "db0", "2-3", "6.1.0-56-amd64", 512ULL << 20, 3725000000 },
		{ "web.1", "5", "6.12.117+deb12-amd64", 1536ULL << 20, 7505000000 },
		{ "old", "7", "6.1.0-56-rt-amd64", 384ULL << 20, 0 },
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct kernel *kernel = new_kernel(wanted[i].name);

		parse_cpus(kernel, wanted[i].cpus);
		kernel->memory = wanted[i].memory;
		kernel->version = wanted[i].version;
		kernel->boot_time = now() - wanted[i].uptime;
		kernel->n_steps = NR_STEPS;
		set_state(kernel, "running", "checked-in", "the kernel reported that it runs");
		if (!wanted[i].uptime)
			set_state(kernel, "crashed", "panic", "Kernel panic - not syncing: sysrq");
	}
}

int main(int argc, char **argv)
{
	int r;

	/* A console whose reader went away is no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_default(&event);
	if (r >= 0)
		r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = sd_bus_attach_event(bus, event, 0);
	if (r >= 0)
		r = sd_bus_add_object_vtable(bus, NULL, ROOT, MANAGER, manager_vtable, NULL);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(bus, NULL, ROOT "/kernel", NAME ".Kernel",
					       kernel_vtable, find_kernel, NULL);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(bus, NULL, ROOT "/job", NAME ".Job", job_vtable,
					       find_job, NULL);
	if (r >= 0)
		r = sd_bus_add_node_enumerator(bus, NULL, ROOT, enumerate, NULL);
	if (r >= 0)
		r = sd_bus_add_object_manager(bus, NULL, ROOT);
	if (r >= 0)
		r = sd_bus_request_name(bus, NAME, 0);
	if (r >= 0 && argc > 1 && strcmp(argv[1], "--demo") == 0)
		demo();
	if (r >= 0) {
		puts("ready");
		fflush(stdout);
		r = sd_event_loop(event);
	}
	if (r < 0)
		fprintf(stderr, "fake-popcornd: %s\n", strerror(-r));
	for (int i = 0; i < MAX_KERNELS; i++) {
		if (!kernels[i].used)
			continue;
		if (kernels[i].job) {
			sd_event_source_disable_unref(kernels[i].job->timer);
			free(kernels[i].job);
		}
		free_kernel(&kernels[i]);
	}
	sd_bus_flush_close_unref(bus);
	sd_event_unref(event);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
