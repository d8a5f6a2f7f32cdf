// SPDX-License-Identifier: LGPL-2.1-or-later
/* Calls that change something, and the descriptors of console and log. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "internal.h"

struct popcorn_boot_options {
	char *cpus, *kernel, *initrd, *command_line, *root, *restart, *network;
	uint32_t cpu_count;
	uint64_t memory, timeout;
	struct memory_node {
		uint32_t node;
		uint64_t bytes;
	} * memory_nodes;
	size_t n_memory_nodes;
	struct share {
		char *tag, *path;
		bool read_only;
	} * shares;
	size_t n_shares;
	bool has_memory, has_timeout, has_vsock, vsock;
};

struct popcorn_boot_options *popcorn_boot_options_new(void)
{
	return calloc(1, sizeof(struct popcorn_boot_options));
}

struct popcorn_boot_options *popcorn_boot_options_free(struct popcorn_boot_options *options)
{
	if (!options)
		return NULL;
	free(options->cpus);
	free(options->kernel);
	free(options->initrd);
	free(options->root);
	free(options->command_line);
	free(options->restart);
	free(options->network);
	free(options->memory_nodes);
	for (size_t i = 0; i < options->n_shares; i++) {
		free(options->shares[i].tag);
		free(options->shares[i].path);
	}
	free(options->shares);
	free(options);
	return NULL;
}

int popcorn_boot_options_set_cpus(struct popcorn_boot_options *options, const char *list)
{
	int r;

	if (!list || !*list)
		return -EINVAL;
	r = string_set(&options->cpus, list);
	if (r < 0)
		return r;
	options->cpu_count = 0;
	return 0;
}

int popcorn_boot_options_set_cpu_count(struct popcorn_boot_options *options, uint32_t count)
{
	if (!count)
		return -EINVAL;
	free(options->cpus);
	options->cpus = NULL;
	options->cpu_count = count;
	return 0;
}

int popcorn_boot_options_set_memory(struct popcorn_boot_options *options, uint64_t bytes)
{
	/* Zero is sent as well: popcornd is the one place that says what is wrong with a size. */
	options->memory = bytes;
	options->has_memory = true;
	return 0;
}

int popcorn_boot_options_add_memory_node(struct popcorn_boot_options *options, uint32_t node,
					 uint64_t bytes)
{
	struct memory_node *more =
		realloc(options->memory_nodes, (options->n_memory_nodes + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	more[options->n_memory_nodes++] = (struct memory_node){ node, bytes };
	options->memory_nodes = more;
	return 0;
}

int popcorn_boot_options_set_kernel(struct popcorn_boot_options *options, const char *path)
{
	return path && path[0] == '/' ? string_set(&options->kernel, path) : -EINVAL;
}

int popcorn_boot_options_set_initrd(struct popcorn_boot_options *options, const char *path)
{
	return path && path[0] == '/' ? string_set(&options->initrd, path) : -EINVAL;
}

int popcorn_boot_options_set_command_line(struct popcorn_boot_options *options,
					  const char *command_line)
{
	return command_line ? string_set(&options->command_line, command_line) : -EINVAL;
}

int popcorn_boot_options_set_root(struct popcorn_boot_options *options, const char *root)
{
	if (!root ||
	    (root[0] != '/' && strcmp(root, "initramfs") != 0 && strcmp(root, "primary") != 0))
		return -EINVAL;
	return string_set(&options->root, root);
}

int popcorn_boot_options_set_restart(struct popcorn_boot_options *options, const char *restart)
{
	if (!restart || (strcmp(restart, "no") && strcmp(restart, "on-failure")))
		return -EINVAL;
	return string_set(&options->restart, restart);
}

int popcorn_boot_options_set_network(struct popcorn_boot_options *options, const char *network)
{
	/* popcornd is the one place that says what is wrong with it. */
	return network && *network ? string_set(&options->network, network) : -EINVAL;
}

int popcorn_boot_options_set_timeout(struct popcorn_boot_options *options, uint64_t usec)
{
	if (!usec)
		return -EINVAL;
	options->timeout = usec;
	options->has_timeout = true;
	return 0;
}

int popcorn_boot_options_add_share(struct popcorn_boot_options *options, const char *tag,
				   const char *path, int read_only)
{
	struct share *more, share = { .read_only = read_only };

	if (!tag || !*tag || !path || path[0] != '/')
		return -EINVAL;
	more = realloc(options->shares, (options->n_shares + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	options->shares = more;
	share.tag = strdup(tag);
	share.path = strdup(path);
	if (!share.tag || !share.path) {
		free(share.tag);
		free(share.path);
		return -ENOMEM;
	}
	options->shares[options->n_shares++] = share;
	return 0;
}

int popcorn_boot_options_set_vsock(struct popcorn_boot_options *options, int vsock)
{
	options->vsock = vsock;
	options->has_vsock = true;
	return 0;
}

/* An option that is a list; @type with its 'a'. */
static int open_list(sd_bus_message *m, const char *option, const char *type)
{
	int r;

	r = sd_bus_message_open_container(m, 'e', "sv");
	if (r >= 0)
		r = sd_bus_message_append(m, "s", option);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', type);
	return r < 0 ? r : sd_bus_message_open_container(m, 'a', type + 1);
}

static int close_list(sd_bus_message *m)
{
	int r = 0;

	for (int i = 0; i < 3 && r >= 0; i++)
		r = sd_bus_message_close_container(m);
	return r;
}

static int append_shares(sd_bus_message *m, const struct popcorn_boot_options *options)
{
	int r = open_list(m, "Shares", "a(ssb)");

	for (size_t i = 0; i < options->n_shares && r >= 0; i++)
		r = sd_bus_message_append(m, "(ssb)", options->shares[i].tag,
					  options->shares[i].path, options->shares[i].read_only);
	return r < 0 ? r : close_list(m);
}

static int append_memory_nodes(sd_bus_message *m, const struct popcorn_boot_options *options)
{
	int r = open_list(m, "MemoryNodes", "a(ut)");

	for (size_t i = 0; i < options->n_memory_nodes && r >= 0; i++)
		r = sd_bus_message_append(m, "(ut)", options->memory_nodes[i].node,
					  options->memory_nodes[i].bytes);
	return r < 0 ? r : close_list(m);
}

static int append_options(sd_bus_message *m, const struct popcorn_boot_options *options)
{
	int r;

	r = sd_bus_message_open_container(m, 'a', "{sv}");
	if (r >= 0 && options) {
		const struct {
			const char *name, *value;
		} strings[] = {
			{ "Cpus", options->cpus },	 { "Kernel", options->kernel },
			{ "Initrd", options->initrd },	 { "CommandLine", options->command_line },
			{ "Restart", options->restart }, { "Root", options->root },
			{ "Network", options->network },
		};

		for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]) && r >= 0; i++)
			if (strings[i].value)
				r = sd_bus_message_append(m, "{sv}", strings[i].name, "s",
							  strings[i].value);
		if (r >= 0 && options->cpu_count)
			r = sd_bus_message_append(m, "{sv}", "CpuCount", "u", options->cpu_count);
		if (r >= 0 && options->has_memory)
			r = sd_bus_message_append(m, "{sv}", "Memory", "t", options->memory);
		if (r >= 0 && options->n_memory_nodes)
			r = append_memory_nodes(m, options);
		if (r >= 0 && options->n_shares)
			r = append_shares(m, options);
		if (r >= 0 && options->has_vsock)
			r = sd_bus_message_append(m, "{sv}", "Vsock", "b", options->vsock);
		if (r >= 0 && options->has_timeout)
			r = sd_bus_message_append(m, "{sv}", "Timeout", "t", options->timeout);
	}
	return r < 0 ? r : sd_bus_message_close_container(m);
}

int popcorn_start_job(struct popcorn *popcorn, sd_bus_message *message, const char *name,
		      const char *type, struct popcorn_job **ret_job)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	const char *path;
	int r;

	if (ret_job) {
		r = popcorn_watch_jobs(popcorn);
		if (r < 0)
			return r;
	}
	r = popcorn_call_message(popcorn, message, &reply);
	if (r < 0)
		return r;
	r = sd_bus_message_read(reply, "o", &path);
	if (r < 0)
		return popcorn_parse_failed(popcorn, r);
	return ret_job ? popcorn_job_new(popcorn, path, name, type, ret_job) : 0;
}

int popcorn_new_call(struct popcorn *popcorn, const char *method, const char *name,
		     enum popcorn_error_id invalid, sd_bus_message **ret)
{
	_cleanup_message_ sd_bus_message *message = NULL;
	int r;

	r = popcorn_check_connected(popcorn);
	if (r < 0)
		return r;
	r = sd_bus_message_new_method_call(popcorn->bus, &message, BUS_NAME, BUS_PATH,
					   INTERFACE_MANAGER, method);
	if (r < 0)
		return popcorn_fail_bus(popcorn, NULL, r);
	r = sd_bus_message_append(message, "s", name);
	if (r == -EINVAL)
		return popcorn_fail(popcorn, invalid, NULL);
	if (r < 0)
		return popcorn_fail_bus(popcorn, NULL, r);
	*ret = message;
	message = NULL;
	return 0;
}

/* About a kernel. */
static int new_call(struct popcorn *popcorn, const char *method, const char *name,
		    sd_bus_message **ret)
{
	if (!name)
		return popcorn_fail(popcorn, POPCORN_ERROR_INVALID_NAME, NULL);
	return popcorn_new_call(popcorn, method, name, POPCORN_ERROR_INVALID_NAME, ret);
}

int popcorn_boot(struct popcorn *popcorn, const char *name,
		 const struct popcorn_boot_options *options, struct popcorn_job **ret_job)
{
	_cleanup_message_ sd_bus_message *message = NULL;
	int r;

	r = new_call(popcorn, "Boot", name, &message);
	if (r < 0)
		return r;
	r = append_options(message, options);
	if (r == -EINVAL)
		return popcorn_fail(popcorn, POPCORN_ERROR_INVALID_ARGUMENT,
				    "an option of the boot is not UTF-8");
	if (r < 0)
		return popcorn_fail_bus(popcorn, NULL, r);
	return popcorn_start_job(popcorn, message, name, "boot", ret_job);
}

int popcorn_stop(struct popcorn *popcorn, const char *name, uint64_t timeout_usec,
		 struct popcorn_job **ret_job)
{
	_cleanup_message_ sd_bus_message *message = NULL;
	int r;

	r = new_call(popcorn, "Stop", name, &message);
	if (r < 0)
		return r;
	r = sd_bus_message_append(message, "t", timeout_usec);
	if (r < 0)
		return popcorn_fail_bus(popcorn, NULL, r);
	return popcorn_start_job(popcorn, message, name, "stop", ret_job);
}

int popcorn_kill(struct popcorn *popcorn, const char *name, struct popcorn_job **ret_job)
{
	_cleanup_message_ sd_bus_message *message = NULL;
	int r;

	r = new_call(popcorn, "Kill", name, &message);
	return r < 0 ? r : popcorn_start_job(popcorn, message, name, "kill", ret_job);
}

int popcorn_release(struct popcorn *popcorn, const char *name, struct popcorn_job **ret_job)
{
	_cleanup_message_ sd_bus_message *message = NULL;
	int r;

	r = new_call(popcorn, "Release", name, &message);
	return r < 0 ? r : popcorn_start_job(popcorn, message, name, "release", ret_job);
}

/* Calls what answers with a descriptor, and keeps it beyond the message. */
static int call_for_fd(struct popcorn *popcorn, sd_bus_message *message, int *ret_fd)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	int fd, r;

	/* Asked before the call, which would otherwise open something for nothing. */
	if (sd_bus_can_send(popcorn->bus, SD_BUS_TYPE_UNIX_FD) <= 0) {
		popcorn_fail(popcorn, POPCORN_ERROR_FAILED,
			     "a console can't be reached from another machine; run popcornctl "
			     "there: ssh -t %s popcornctl ...",
			     string_or_empty(popcorn->host));
		return -EOPNOTSUPP;
	}
	r = popcorn_call_message(popcorn, message, &reply);
	if (r < 0)
		return r;
	r = sd_bus_message_read(reply, "h", &fd);
	if (r < 0)
		return popcorn_parse_failed(popcorn, r);
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return popcorn_fail_errno(popcorn, -errno, "keeping a descriptor");
	*ret_fd = fd;
	return 0;
}

int popcorn_open_console(struct popcorn *popcorn, const char *name, unsigned flags, int *ret_fd)
{
	_cleanup_message_ sd_bus_message *message = NULL;
	int r;

	if (flags & ~(POPCORN_CONSOLE_INPUT | POPCORN_CONSOLE_DONT_ASK))
		return popcorn_fail(popcorn, POPCORN_ERROR_INVALID_ARGUMENT,
				    "unknown flags for a console: %#x", flags);
	r = new_call(popcorn, "OpenConsole", name, &message);
	if (r < 0)
		return r;
	r = sd_bus_message_append(message, "b", (flags & POPCORN_CONSOLE_INPUT) != 0);
	if (r >= 0 && (flags & POPCORN_CONSOLE_DONT_ASK))
		r = sd_bus_message_set_allow_interactive_authorization(message, false);
	if (r < 0)
		return popcorn_fail_bus(popcorn, NULL, r);
	return call_for_fd(popcorn, message, ret_fd);
}

int popcorn_open_kernel_log(struct popcorn *popcorn, const char *name, int *ret_fd)
{
	_cleanup_message_ sd_bus_message *message = NULL;
	int r;

	r = new_call(popcorn, "OpenKernelLog", name, &message);
	return r < 0 ? r : call_for_fd(popcorn, message, ret_fd);
}
