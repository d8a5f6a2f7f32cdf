// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "config-build.h"
#include "job.h"
#include "log.h"
#include "servers.h"
#include "util.h"

int bus_reply_error(sd_bus_message *message, const struct popcorn_error *error, int r)
{
	if (error->id == POPCORN_ERROR_NONE)
		return sd_bus_reply_method_errnof(message, r, "the request failed: %s",
						  strerror(-r));
	return sd_bus_reply_method_errorf(message, popcorn_error_name(error->id), "%s",
					  error->text);
}

int bus_append_text(sd_bus_message *message, const char *text)
{
	_cleanup_free_ char *copy = NULL;
	int r;

	r = sd_bus_message_append_basic(message, 's', text ?: "");
	if (r != -EINVAL)
		return r;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return sd_bus_message_append_basic(message, 's', copy);
}

int bus_add_path(char ***paths, size_t *n, const char *path)
{
	char **more = realloc(*paths, (*n + 2) * sizeof(*more)), *copy = strdup(path);

	if (more)
		*paths = more;
	if (!more || !copy) {
		free(copy);
		while (*n > 0)
			free((*paths)[--*n]);
		free(*paths);
		return -ENOMEM;
	}
	more[(*n)++] = copy;
	more[*n] = NULL;
	return 0;
}

static int reply_job(sd_bus_message *message, struct job *job)
{
	return sd_bus_reply_method_return(message, "o", job ? job->path : "/");
}

/* The reply, then the work: the caller knows his job before it can end. */
static int reply_and_begin(sd_bus_message *message, struct job *job)
{
	int r = reply_job(message, job);

	/* Also when the caller has left: he asked for it. */
	manager_begin(job);
	return r;
}

/*
 * The kernel that a message is about: of the Kernel interface its path says, of the Manager
 * interface the first argument. Checked, and valid while the message is.
 */
static int message_name(sd_bus_message *message, const char **ret, char **ret_owned,
			struct popcorn_error *error)
{
	int r;

	*ret_owned = NULL;
	if (strcmp(sd_bus_message_get_interface(message) ?: "", KERNEL_INTERFACE) == 0) {
		r = sd_bus_path_decode(sd_bus_message_get_path(message), BUS_KERNEL_PATH,
				       ret_owned);
		*ret = *ret_owned;
		if (r == 0)
			r = -ENOENT;
	} else {
		r = sd_bus_message_read(message, "s", ret);
	}
	if (r < 0)
		return popcorn_error_set_errno(error, r, "can't read the name of a kernel");
	return kernel_name_check(*ret, error);
}

static int no_such_kernel(const char *name, struct popcorn_error *error)
{
	return popcorn_error_set(error, POPCORN_ERROR_NO_SUCH_KERNEL,
				 "no kernel is named %s; 'popcornctl list' shows all", name);
}

static int message_kernel(struct manager *manager, sd_bus_message *message, struct kernel **ret,
			  struct popcorn_error *error)
{
	_cleanup_free_ char *owned = NULL;
	struct kernel *kernel;
	const char *name;
	int r;

	r = message_name(message, &name, &owned, error);
	if (r < 0)
		return r;
	kernel = manager_find_kernel(manager, name);
	if (!kernel)
		return no_such_kernel(name, error);
	*ret = kernel;
	return 0;
}

/* Refuses at once what is not about a kernel that could be; the rest is up to polkit. */
static int authorize_named(struct manager *manager, sd_bus_message *message, const char *action,
			   bool must_exist, authorized_function then)
{
	_cleanup_free_ char *owned = NULL;
	struct popcorn_error error = {};
	const char *name;
	int r;

	r = message_name(message, &name, &owned, &error);
	if (r >= 0 && must_exist && !manager_find_kernel(manager, name))
		r = no_such_kernel(name, &error);
	if (r < 0)
		return bus_reply_error(message, &error, r);
	return authorize(manager, message, action, name, then);
}

/*
 * Boot and Launch: what can be refused by looking needs files to be read, which is done in a thread.
 */

struct boot_request {
	struct request *request;
	struct task *task;
	char *name;
	struct kernel_def *def;
	const struct config *config;
	bool launch, from_file;
	struct boot_files *files;
	struct popcorn_error error;
	int result;
};

static void boot_request_free(struct boot_request *boot)
{
	if (boot->request)
		request_free(boot->request);
	kernel_def_free(boot->def);
	boot_files_free(boot->files);
	free(boot->name);
	free(boot);
}

static void boot_request_run(void *userdata)
{
	struct boot_request *boot = userdata;

	boot->result = boot_check(boot->config, boot->def, &boot->files, &boot->error);
}

static void boot_request_done(void *userdata)
{
	struct boot_request *boot = userdata;
	struct manager *manager = boot->request->manager;
	sd_bus_message *message = boot->request->message;
	struct job *job;
	int r = boot->result;

	boot->task = NULL;
	if (r >= 0 && boot->launch)
		r = manager_launch_as(manager, boot->name, boot->def, boot->from_file, &boot->files,
				      &job, &boot->error);
	else if (r >= 0)
		r = manager_boot(manager, boot->name, boot->def, &boot->files, boot->request->uid,
				 &job, &boot->error);
	if (r < 0)
		bus_reply_error(message, &boot->error, r);
	else if (boot->launch)
		reply_job(message, job);
	else
		reply_and_begin(message, job);
	boot_request_free(boot);
	manager_job_gone(manager);
}

int bus_invalid_option(const char *option, const char *what, struct popcorn_error *error)
{
	return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT, "option %.64s %s", option,
				 what);
}

int bus_check_option(sd_bus_message *message, const char *option, const char *type,
		     struct popcorn_error *error)
{
	const char *contents;
	int r = sd_bus_message_peek_type(message, NULL, &contents);

	if (r < 0)
		return r;
	if (strcmp(contents, type) != 0)
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
					 "option %s has type %.64s, which should be %s", option,
					 contents, type);
	return 0;
}

int bus_read_options(sd_bus_message *message, bus_option_function read, void *userdata,
		     struct popcorn_error *error)
{
	int r;

	r = sd_bus_message_enter_container(message, 'a', "{sv}");
	if (r < 0)
		return r;
	while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
		const char *option;

		r = sd_bus_message_read(message, "s", &option);
		if (r >= 0)
			r = read(message, option, userdata, error);
		if (r >= 0)
			r = sd_bus_message_exit_container(message);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int set_string(char **p, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*p);
	*p = copy;
	return 0;
}

static bool has_control_characters(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

static int read_memory_nodes(sd_bus_message *message, struct kernel_def *def,
			     struct popcorn_error *error)
{
	_cleanup_free_ struct node_memory *nodes = calloc(NODES_MAX, sizeof(*nodes));
	size_t n = 0;
	int r;

	if (!nodes)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	r = sd_bus_message_enter_container(message, 'v', "a(ut)");
	if (r >= 0)
		r = sd_bus_message_enter_container(message, 'a', "(ut)");
	while (r >= 0) {
		uint32_t node;
		uint64_t bytes;

		r = sd_bus_message_read(message, "(ut)", &node, &bytes);
		if (r <= 0)
			break;
		if (n == NODES_MAX)
			return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
						 "option MemoryNodes has more than %d nodes",
						 NODES_MAX);
		nodes[n++] = (struct node_memory){ node, bytes };
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(message);
	if (r >= 0)
		r = sd_bus_message_exit_container(message);
	if (r >= 0 && n == 0)
		return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
					 "option MemoryNodes is empty; leave it out, or give the "
					 "memory of each node");
	return r < 0 ? r : kernel_def_set_memory_nodes(def, nodes, n, error);
}

static int read_shares(sd_bus_message *message, struct kernel_def *def, struct popcorn_error *error)
{
	int r;

	/* Whatever the file says. */
	kernel_def_clear_shares(def);
	r = sd_bus_message_enter_container(message, 'v', "a(ssb)");
	if (r >= 0)
		r = sd_bus_message_enter_container(message, 'a', "(ssb)");
	while (r >= 0) {
		const char *tag, *path;
		int read_only;

		r = sd_bus_message_read(message, "(ssb)", &tag, &path, &read_only);
		if (r <= 0)
			break;
		r = kernel_def_add_share(def, tag, path, read_only, error);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(message);
	return r < 0 ? r : sd_bus_message_exit_container(message);
}

struct boot_options {
	struct kernel_def *def;
	uint64_t memory; /* what option Memory said */
	bool by_node;	 /* there was MemoryNodes */
	bool initrd;	 /* there was Initrd */
	bool root;	 /* there was Root */
};

static int read_option(sd_bus_message *message, const char *option, void *userdata,
		       struct popcorn_error *error)
{
	struct boot_options *options = userdata;
	struct kernel_def *def = options->def;
	static const struct {
		const char *name, *type;
	} types[] = {
		{ "Cpus", "s" },    { "CpuCount", "u" },    { "Memory", "t" },
		{ "Kernel", "s" },  { "Initrd", "s" },	    { "CommandLine", "s" },
		{ "Restart", "s" }, { "Timeout", "t" },	    { "MemoryNodes", "a(ut)" },
		{ "Vsock", "b" },   { "Shares", "a(ssb)" }, { "Root", "s" },
		{ "Network", "s" },
	};
	const char *type = NULL, *s = NULL;
	uint64_t t = 0;
	uint32_t u = 0;
	int b = 0, r;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i].name, option) == 0)
			type = types[i].type;
	if (!type)
		return bus_invalid_option(option, "is not one that Boot knows", error);
	r = bus_check_option(message, option, type, error);
	if (r < 0)
		return r;
	if (strcmp(option, "Shares") == 0)
		return read_shares(message, def, error);
	if (*type == 'a') {
		options->by_node = true;
		return read_memory_nodes(message, def, error);
	}
	r = sd_bus_message_read(message, "v", type,
				*type == 's'   ? (void *)&s
				: *type == 't' ? (void *)&t
				: *type == 'b' ? (void *)&b
					       : (void *)&u);
	if (r < 0)
		return r;
	if (strcmp(option, "Vsock") == 0) {
		def->vsock = b ? WISH_YES : WISH_NO;
		return 0;
	}

	if (strcmp(option, "Cpus") == 0) {
		hwloc_bitmap_t cpus;

		r = parse_cpus(s, &cpus, error);
		if (r < 0)
			return r;
		hwloc_bitmap_free(def->cpus);
		def->cpus = cpus;
		return 0;
	}
	if (strcmp(option, "CpuCount") == 0) {
		if (u == 0)
			return bus_invalid_option(option, "is 0; a kernel needs a CPU", error);
		hwloc_bitmap_free(def->cpus);
		def->cpus = NULL;
		def->cpu_count = u;
		return 0;
	}
	if (strcmp(option, "Memory") == 0) {
		/* Before it is compared with what an image needs. */
		if (!memory_is_valid(t))
			return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
						 "%" PRIu64
						 " bytes of memory were asked for; ask for a "
						 "multiple of %llu MiB",
						 t, POPCORN_MEMORY_ALIGN >> 20);
		options->memory = t;
		return 0;
	}
	if (strcmp(option, "Timeout") == 0) {
		/* 0 = as configured; and no sum of times overflows. */
		if (t > INT64_MAX / 2)
			return bus_invalid_option(option, "is longer than any machine runs", error);
		if (t != 0)
			def->boot_timeout_usec = t;
		return 0;
	}
	if (strcmp(option, "Kernel") == 0) {
		if (*s != '/')
			return bus_invalid_option(option, "is not an absolute path", error);
		return set_string(&def->image, s);
	}
	if (strcmp(option, "Root") == 0) {
		options->root = true;
		r = root_check(s, error);
		return r < 0 ? r : set_string(&def->root, s);
	}
	if (strcmp(option, "Initrd") == 0) {
		options->initrd = true;
		if (*s == '\0') {
			/* None, whatever the file says: popcornd makes one. */
			free(def->initrd);
			def->initrd = NULL;
			return 0;
		}
		if (*s != '/')
			return bus_invalid_option(option, "is not an absolute path", error);
		return set_string(&def->initrd, s);
	}
	if (strcmp(option, "CommandLine") == 0) {
		if (has_control_characters(s))
			return bus_invalid_option(option, "has a control character in it", error);
		return set_string(&def->cmdline, s);
	}
	if (strcmp(option, "Network") == 0)
		return network_parse_peers(s, &def->network, error);
	if (strcmp(s, "no") != 0 && strcmp(s, "on-failure") != 0)
		return bus_invalid_option(option, "is neither \"no\" nor \"on-failure\"", error);
	def->restart = strcmp(s, "on-failure") == 0;
	return 0;
}

static int read_options(sd_bus_message *message, struct kernel_def *def,
			struct popcorn_error *error)
{
	struct boot_options options = { .def = def };
	int r;

	r = bus_read_options(message, read_option, &options, error);
	if (r < 0)
		return r;
	/* Whoever gives an initrd means its /init, also if a file says another root for another one. */
	if (options.initrd && !options.root && def->initrd) {
		free(def->root);
		def->root = NULL;
	}
	if (!options.memory)
		return 0;
	if (options.by_node && options.memory != def->memory)
		return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
					 "option Memory says %s, and the parts of MemoryNodes are "
					 "%s together; leave Memory out",
					 SIZE_TEXT(options.memory), SIZE_TEXT(def->memory));
	if (!options.by_node) /* whatever the file says of nodes was of another size */
		kernel_def_set_memory_nodes(def, NULL, 0, error);
	def->memory = options.memory;
	return 0;
}

static int boot_authorized(struct manager *manager, sd_bus_message *message, uid_t uid,
			   struct popcorn_error *error)
{
	_cleanup_free_ char *owned = NULL;
	struct boot_request *boot;
	const char *name;
	int r;

	boot = calloc(1, sizeof(*boot));
	if (!boot)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	r = message_name(message, &name, &owned, error);
	/* Again with the result: by then another caller may have had the same wish. */
	if (r >= 0)
		r = manager_check_name_free(manager, name, error);
	if (r >= 0)
		r = set_string(&boot->name, name);
	if (r < 0)
		goto fail;
	r = kernel_def_load(manager->config, manager->options->kernels_dir, name, &boot->def,
			    error);
	if (r == -ENOENT && error->id == POPCORN_ERROR_NO_SUCH_KERNEL) {
		error->id = POPCORN_ERROR_NONE;
		r = kernel_def_new(manager->config, &boot->def);
	}
	if (r >= 0)
		r = read_options(message, boot->def, error);
	if (r >= 0 && kernel_def_settle(manager->config, boot->def) < 0)
		r = popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	if (r >= 0)
		r = manager_need_driver(manager, error);
	if (r >= 0)
		r = request_new(manager, message, uid, &boot->request, error);
	if (r < 0)
		goto fail;
	boot->config = manager->config;
	r = task_start(manager->event, boot_request_run, NULL, boot_request_done, boot,
		       &boot->task);
	if (r < 0) {
		popcorn_error_set_errno(error, r, "can't start a thread");
		goto fail;
	}
	return 1;
fail:
	boot_request_free(boot);
	return r;
}

static int method_boot(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	return authorize_named(userdata, message, ACTION_BOOT, false, boot_authorized);
}

static int method_launch(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	struct manager *manager = userdata;
	_cleanup_free_ char *owned = NULL;
	struct boot_request *boot = NULL;
	struct popcorn_error error = {};
	struct job *job = NULL;
	const char *name;
	uid_t uid;
	int r;

	r = message_name(message, &name, &owned, &error);
	if (r >= 0 && sender_is_root(message, &uid) <= 0)
		r = popcorn_error_set(&error, POPCORN_ERROR_NOT_AUTHORIZED,
				      "only the leader of a kernel's unit launches it; "
				      "'systemctl start popcorn@%s' or 'popcornctl boot %s'",
				      name, name);
	if (r < 0)
		return bus_reply_error(message, &error, r);

	boot = calloc(1, sizeof(*boot));
	if (!boot || set_string(&boot->name, name) < 0) {
		r = popcorn_error_set(&error, POPCORN_ERROR_NO_MEMORY, NULL);
		goto fail;
	}
	boot->launch = true;
	boot->config = manager->config;
	r = manager_launch(manager, name, &job, &boot->def, &boot->from_file, &error);
	if (r < 0)
		goto fail;
	if (r == 0) {
		boot_request_free(boot);
		return reply_job(message, job);
	}
	r = request_new(manager, message, uid, &boot->request, &error);
	if (r >= 0) {
		r = task_start(manager->event, boot_request_run, NULL, boot_request_done, boot,
			       &boot->task);
		if (r < 0)
			popcorn_error_set_errno(&error, r, "can't start a thread");
	}
	if (r >= 0)
		return 1;
fail:
	if (boot)
		boot_request_free(boot);
	return bus_reply_error(message, &error, r);
}

static int stop_authorized(struct manager *manager, sd_bus_message *message, uid_t uid,
			   struct popcorn_error *error)
{
	struct kernel *kernel;
	struct job *job;
	uint64_t timeout;
	int r;

	r = message_kernel(manager, message, &kernel, error);
	if (r >= 0)
		r = sd_bus_message_read(message, "t", &timeout);
	if (r >= 0 && timeout > INT64_MAX / 2)
		r = popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
				      "the timeout is longer than any machine runs");
	if (r >= 0)
		r = manager_stop(manager, kernel, timeout, uid, &job, error);
	return r < 0 ? r : reply_and_begin(message, job);
}

static int kill_authorized(struct manager *manager, sd_bus_message *message, uid_t uid,
			   struct popcorn_error *error)
{
	struct kernel *kernel;
	struct job *job;
	int r;

	r = message_kernel(manager, message, &kernel, error);
	if (r >= 0)
		r = manager_kill(manager, kernel, uid, &job, error);
	return r < 0 ? r : reply_and_begin(message, job);
}

static int release_authorized(struct manager *manager, sd_bus_message *message, uid_t uid,
			      struct popcorn_error *error)
{
	struct kernel *kernel;
	struct job *job;
	int r;

	r = message_kernel(manager, message, &kernel, error);
	if (r >= 0)
		r = manager_release(manager, kernel, uid, &job, error);
	return r < 0 ? r : reply_and_begin(message, job);
}

int bus_method_stop(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	return authorize_named(userdata, message, ACTION_STOP, true, stop_authorized);
}

int bus_method_kill(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	return authorize_named(userdata, message, ACTION_STOP, true, kill_authorized);
}

int bus_method_release(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	return authorize_named(userdata, message, ACTION_STOP, true, release_authorized);
}

static int method_list(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	struct manager *manager = userdata;
	struct kernel *kernel;
	int r;

	r = sd_bus_message_new_method_return(message, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(sussuto)");
	TAILQ_FOREACH(kernel, &manager->kernels, entry)
		if (r >= 0)
			r = sd_bus_message_append(
				reply, "(sussuto)", kernel->name, kernel->id,
				state_to_string(kernel->state), reason_to_string(kernel->reason),
				(uint32_t)kernel->n_cpus, kernel->memory, kernel->path);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_get_kernel(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	struct popcorn_error error = {};
	struct kernel *kernel;
	int r;

	r = message_kernel(userdata, message, &kernel, &error);
	if (r < 0)
		return bus_reply_error(message, &error, r);
	return sd_bus_reply_method_return(message, "o", kernel->path);
}

static int method_get_job(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	struct popcorn_error error = {};
	struct job *job;
	uint32_t id;
	int r;

	r = sd_bus_message_read(message, "u", &id);
	if (r < 0)
		return r;
	job = manager_find_job(userdata, id);
	if (!job) {
		r = popcorn_error_set(&error, POPCORN_ERROR_NO_SUCH_JOB,
				      "there is no job %u; it may have ended", id);
		return bus_reply_error(message, &error, r);
	}
	return sd_bus_reply_method_return(message, "o", job->path);
}

static int reply_saved(struct manager *manager, sd_bus_message *message, struct kernel *kernel,
		       enum saved what, const char *text, struct popcorn_error *error)
{
	_cleanup_close_ int fd = saved_open(manager->options->run, kernel->name, what);

	if (fd < 0)
		return popcorn_error_set(error, POPCORN_ERROR_WRONG_STATE,
					 "kernel %s is %s and has %s", kernel->name,
					 state_to_string(kernel->state), text);
	return sd_bus_reply_method_return(message, "h", fd);
}

static int console_authorized(struct manager *manager, sd_bus_message *message, uid_t uid,
			      struct popcorn_error *error)
{
	_cleanup_close_ int fd = -1;
	struct kernel *kernel;
	int writable, r;

	r = message_kernel(manager, message, &kernel, error);
	if (r >= 0)
		r = sd_bus_message_read(message, "b", &writable);
	if (r < 0)
		return r;
	if (kernel->fd >= 0 && kernel->state != POPCORN_STATE_RESERVED &&
	    kernel->state != POPCORN_STATE_LOADING) {
		r = manager->driver->ops->console(manager->driver, kernel->fd,
						  writable ? 0 : POPCORN_CONSOLE_READ_ONLY, &fd);
		if (r >= 0)
			return sd_bus_reply_method_return(message, "h", fd);
		if (r != -ENODEV)
			return popcorn_error_set_errno(
				error, r, "can't open the console of kernel %s", kernel->name);
	}
	return reply_saved(manager, message, kernel, SAVED_CONSOLE, "no console", error);
}

static int method_open_console(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	return authorize_named(userdata, message, ACTION_CONSOLE, true, console_authorized);
}

/* The kernel log is read out of its memory, page by page: in a thread. */
struct log_request {
	struct request *request;
	struct task *task;
	struct driver *driver;
	char *name;
	int fd;
	char *log;
	struct popcorn_error error;
	int result;
};

static void log_request_free(struct log_request *log)
{
	if (log->request)
		request_free(log->request);
	closep(&log->fd);
	free(log->log);
	free(log->name);
	free(log);
}

static void log_request_run(void *userdata)
{
	struct log_request *log = userdata;

	log->result = read_kernel_log(log->driver, log->fd, &log->log, &log->error);
}

static int reply_text(sd_bus_message *message, const char *text)
{
	_cleanup_close_ int fd = memfd_create("kernel-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t size = strlen(text);

	if (fd < 0)
		return -errno;
	while (size > 0) {
		ssize_t n = write(fd, text, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		size -= (size_t)n;
	}
	if (lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	return sd_bus_reply_method_return(message, "h", fd);
}

static void log_request_done(void *userdata)
{
	struct log_request *log = userdata;
	struct manager *manager = log->request->manager;
	sd_bus_message *message = log->request->message;
	struct kernel *kernel = manager_find_kernel(manager, log->name);
	int r = log->result;

	if (r >= 0)
		r = reply_text(message, log->log);
	else if (r == -ENODEV && kernel) {
		/* Released while it was read: it was saved before. */
		log->error.id = POPCORN_ERROR_NONE;
		r = reply_saved(manager, message, kernel, SAVED_LOG, "no log", &log->error);
	}
	if (r < 0)
		bus_reply_error(message, &log->error, r);
	log_request_free(log);
	manager_job_gone(manager);
}

static int log_authorized(struct manager *manager, sd_bus_message *message, uid_t uid,
			  struct popcorn_error *error)
{
	struct log_request *log;
	struct kernel *kernel;
	int r;

	r = message_kernel(manager, message, &kernel, error);
	if (r < 0)
		return r;
	if (kernel->fd < 0 || kernel->state == POPCORN_STATE_RESERVED ||
	    kernel->state == POPCORN_STATE_LOADING)
		return reply_saved(manager, message, kernel, SAVED_LOG, "no log", error);

	log = calloc(1, sizeof(*log));
	if (!log)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	log->driver = manager->driver;
	log->fd = -1;
	log->name = strdup(kernel->name);
	r = log->name ? manager->driver->ops->open(manager->driver, kernel->id, &log->fd) : -ENOMEM;
	if (r < 0)
		popcorn_error_set_errno(error, r, "can't open kernel %s", kernel->name);
	if (r >= 0)
		r = request_new(manager, message, uid, &log->request, error);
	if (r >= 0) {
		r = task_start(manager->event, log_request_run, NULL, log_request_done, log,
			       &log->task);
		if (r < 0)
			popcorn_error_set_errno(error, r, "can't start a thread");
	}
	if (r < 0) {
		log_request_free(log);
		return r;
	}
	return 1;
}

static int method_open_kernel_log(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	return authorize_named(userdata, message, ACTION_CONSOLE, true, log_authorized);
}

static int get_version(sd_bus *bus, const char *path, const char *interface, const char *property,
		       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	return sd_bus_message_append(reply, "s", POPCORN_VERSION);
}

static int get_driver_abi(sd_bus *bus, const char *path, const char *interface,
			  const char *property, sd_bus_message *reply, void *userdata,
			  sd_bus_error *error)
{
	struct manager *manager = userdata;
	struct popcorn_info info = {};

	if (manager_need_driver(manager, NULL) >= 0)
		manager->driver->ops->info(manager->driver, &info);
	return sd_bus_message_append(reply, "u", info.abi_version);
}

static int get_free_cpus(sd_bus *bus, const char *path, const char *interface, const char *property,
			 sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct manager *manager = userdata;
	uint32_t n = 0;

	if (manager_need_driver(manager, NULL) >= 0)
		n = resources_free_cpus(manager->resources);
	return sd_bus_message_append(reply, "u", n);
}

static int get_free_memory(sd_bus *bus, const char *path, const char *interface,
			   const char *property, sd_bus_message *reply, void *userdata,
			   sd_bus_error *error)
{
	struct manager *manager = userdata;
	uint64_t n = 0;

	if (manager_need_driver(manager, NULL) >= 0)
		n = resources_free_memory(manager->resources);
	return sd_bus_message_append(reply, "t", n);
}

/* Everybody may call everything: authorize() and sender_is_root() decide. In the XML's order. */
static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Boot", SD_BUS_ARGS("s", name, "a{sv}", options),
				SD_BUS_RESULT("o", job), method_boot, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Launch", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", job),
				method_launch, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("OpenDevices", SD_BUS_ARGS("s", name),
				SD_BUS_RESULT("u", generation, "a(ussuah)", devices),
				method_open_devices, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("OpenServer", SD_BUS_ARGS("s", name, "s", device),
				SD_BUS_RESULT("h", connection), method_open_server,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Stop", SD_BUS_ARGS("s", name, "t", timeout),
				SD_BUS_RESULT("o", job), bus_method_stop,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Kill", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", job),
				bus_method_kill, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", job),
				bus_method_release, SD_BUS_VTABLE_UNPRIVILEGED),
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
	SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("DriverAbi", "u", get_driver_abi, 0, 0),
	SD_BUS_PROPERTY("FreeCpus", "u", get_free_cpus, 0, 0),
	SD_BUS_PROPERTY("FreeMemory", "t", get_free_memory, 0, 0),
	SD_BUS_VTABLE_END
};

int manager_bus_init(struct manager *manager)
{
	int r;

	r = sd_bus_add_object_vtable(manager->bus, NULL, BUS_PATH, MANAGER_INTERFACE,
				     manager_vtable, manager);
	if (r >= 0)
		r = sd_bus_add_object_manager(manager->bus, NULL, BUS_PATH);
	if (r >= 0)
		r = kernel_bus_init(manager);
	if (r >= 0)
		r = job_bus_init(manager);
	return r;
}
