// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/virtio_ids.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent/agent-config.h"
#include "config-build.h"
#include "devices.h"
#include "log.h"
#include "network.h"
#include "servers.h"
#include "util.h"
#include "vhost.h"

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER SYSTEMD_NAME ".Manager"

#define UNIT_PREFIX "popcorn-files-"
/* A number that a popcornd before us has used may be taken; it gave the first ones. */
#define UNIT_TRIES 16

/* As systemd has it for services, which is more than anybody has files open. */
#define FILES_MAX 524288
#define TASKS_MAX 128

static struct kernel *served_kernel(struct manager *manager, const char *name,
				    struct popcorn_error *error)
{
	struct kernel *kernel = manager_find_kernel(manager, name);

	if (!kernel) {
		popcorn_error_set(error, POPCORN_ERROR_NO_SUCH_KERNEL, "no kernel is named %s",
				  name);
		return NULL;
	}
	if (kernel->fd < 0 || !state_is_active(kernel->state)) {
		popcorn_error_set(error, POPCORN_ERROR_WRONG_STATE,
				  "kernel %s is %s and has no devices", name,
				  state_to_string(kernel->state));
		return NULL;
	}
	return kernel;
}

/* The caller is root, and the kernel is there to be served. */
static int check(sd_bus_message *message, struct manager *manager, struct kernel **ret,
		 struct popcorn_error *error)
{
	const char *name;
	uid_t uid;
	int r;

	r = sd_bus_message_read(message, "s", &name);
	if (r >= 0)
		r = kernel_name_check(name, error);
	if (r < 0)
		return r;
	if (sender_is_root(message, &uid) <= 0)
		return popcorn_error_set(error, POPCORN_ERROR_NOT_AUTHORIZED,
					 "only the leader of a kernel's unit serves its devices");
	*ret = served_kernel(manager, name, error);
	return *ret ? 0 : -popcorn_error_errno(error->id);
}

/*
 * OpenDevices.
 */

/* The descriptors of one device, the device's own first. */
struct descriptors {
	int fds[3];
	size_t n;
};

static void descriptors_done(struct descriptors *descriptors)
{
	while (descriptors->n > 0)
		close(descriptors->fds[--descriptors->n]);
}

static int add_vhost(const char *path, struct descriptors *descriptors, struct popcorn_error *error)
{
	int fd = vhost_open(path, NULL);

	if (fd < 0)
		return popcorn_error_set_errno(error, fd, "can't open %s", path);
	descriptors->fds[descriptors->n++] = fd;
	return 0;
}

static int append_device(sd_bus_message *reply, const struct popcorn_device_info *info,
			 uint32_t cid, const struct descriptors *descriptors)
{
	int r;

	r = sd_bus_message_open_container(reply, 'r', "ussuah");
	if (r >= 0)
		r = sd_bus_message_append(reply, "ussu", info->slot,
					  device_type_to_string(info->device), info->name, cid);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "h");
	for (size_t i = 0; i < descriptors->n && r >= 0; i++)
		r = sd_bus_message_append(reply, "h", descriptors->fds[i]);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* Nothing if there is no device in the slot, or none that a leader serves. */
static int open_device(struct kernel *kernel, uint32_t slot, sd_bus_message *reply,
		       struct popcorn_error *error)
{
	_cleanup_(descriptors_done) struct descriptors descriptors = { .n = 0 };
	struct driver *driver = kernel->manager->driver;
	struct popcorn_device_info info;
	uint32_t cid = 0;
	int r;

	r = driver->ops->device_info(driver, kernel->fd, slot, &info);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return popcorn_error_set_errno(error, r,
					       "the driver does not say what is in slot %u", slot);
	r = driver->ops->open_device(driver, kernel->fd, slot, &descriptors.fds[0]);
	if (r == -EBUSY)
		return popcorn_error_set(error, POPCORN_ERROR_BUSY,
					 "device %s of kernel %s is served already", info.name,
					 kernel->name);
	if (r < 0)
		return popcorn_error_set_errno(error, r, "can't open device %s of kernel %s",
					       info.name, kernel->name);
	descriptors.n = 1;
	switch (info.device) {
	case VIRTIO_ID_NET:
		r = add_vhost(VHOST_NET_PATH, &descriptors, error);
		if (r >= 0)
			r = network_attach(kernel->manager->network, kernel->name, kernel->id,
					   kernel->def ? kernel->def->network : NETWORK_DEFAULT,
					   &descriptors.fds[2], error);
		if (r >= 0)
			descriptors.n = 3;
		break;
	case VIRTIO_ID_VSOCK:
		cid = POPCORN_CID_BASE + kernel->id;
		r = add_vhost(VHOST_VSOCK_PATH, &descriptors, error);
		break;
	case VIRTIO_ID_FS:
		break;
	default:
		return 0; /* made by another program, which serves it */
	}
	return r < 0 ? r : append_device(reply, &info, cid, &descriptors);
}

int method_open_devices(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	struct popcorn_error error = {};
	struct kernel *kernel;
	int r;

	r = check(message, userdata, &kernel, &error);
	if (r >= 0)
		r = sd_bus_message_new_method_return(message, &reply);
	if (r >= 0)
		r = sd_bus_message_append(reply, "u", kernel->generation);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(ussuah)");
	for (uint32_t slot = 0; slot < POPCORN_DEVICES_MAX && r >= 0; slot++)
		r = open_device(kernel, slot, reply, &error);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? bus_reply_error(message, &error, r) : sd_bus_send(NULL, reply, NULL);
}

/*
 * OpenServer: a virtiofsd, and a connection to it.
 */

/*
 * A listening socket and its first connection, which nobody else can have: the folder that it is in
 * for a moment is popcornd's alone.
 */
static int make_sockets(const char *run, int *ret_listening, int *ret_connected)
{
	_cleanup_close_ int folder = -1, listening = -1, connected = -1;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_free_ char *path = NULL;
	/* For that moment only, and there is one thread for this. */
	static const char name[] = "socket";
	int r;

	if (asprintf(&path, "%s/files", run) < 0)
		return -ENOMEM;
	r = make_folders(path, 0700);
	if (r < 0)
		return r;
	folder = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (folder < 0 || listening < 0 || connected < 0)
		return -errno;
	/* By way of the descriptor, because a path has hardly any room in an address. */
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", folder, name);
	unlinkat(folder, name, 0);
	if (bind(listening, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	r = listen(listening, 1) < 0 ||
			    connect(connected, (struct sockaddr *)&address, sizeof(address)) < 0
		    ? -errno
		    : 0;
	unlinkat(folder, name, 0);
	if (r < 0)
		return r;
	*ret_listening = steal_fd(&listening);
	*ret_connected = steal_fd(&connected);
	return 0;
}

struct server_request {
	struct request *request;
	char *kernel;
	struct device_share share;
	char tag[SHARE_TAG_MAX + 1]; /* the share's */
	int listening, connected;
	unsigned tries;
	char unit[256];
};

static void server_request_free(struct server_request *server)
{
	if (server->request)
		request_free(server->request);
	closep(&server->listening);
	closep(&server->connected);
	free(server->kernel);
	free(server);
}

static int append_strings(sd_bus_message *m, const char *name, bool allow,
			  const char *const *values)
{
	int r;

	r = sd_bus_message_open_container(m, 'r', "sv");
	if (r >= 0)
		r = sd_bus_message_append(m, "s", name);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "(bas)");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'r', "bas");
	if (r >= 0)
		r = sd_bus_message_append(m, "b", allow);
	if (r >= 0)
		r = sd_bus_message_append_strv(m, (char **)values);
	for (int i = 0; i < 3 && r >= 0; i++)
		r = sd_bus_message_close_container(m);
	return r;
}

/*
 * What may be done in the unit. Nothing that systemd does by mounts (ProtectSystem= and the like):
 * they would be shared. No RestrictSUIDSGID=: the files of another system have such bits. What needs
 * the rights is virtiofsd's making of its own sandbox, from which on it has those of a file server only.
 */
static int append_sandbox(sd_bus_message *m)
{
	static const char *const families[] = { "AF_UNIX", NULL };
	static const char *const calls[] = { "@system-service", "@mount", "seccomp", NULL };
	static const unsigned capabilities[] = {
		CAP_CHOWN,
		CAP_DAC_OVERRIDE,
		CAP_FOWNER,
		CAP_FSETID,
		CAP_SETGID,
		CAP_SETUID,
		CAP_MKNOD,
		CAP_SETFCAP,
		/* Only until it has its sandbox. */
		CAP_SETPCAP,
		CAP_SYS_ADMIN,
	};
	uint64_t bounds = 0;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
		bounds |= UINT64_C(1) << capabilities[i];
	r = sd_bus_message_append(
		m, "(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)", "CapabilityBoundingSet", "t",
		bounds, "NoNewPrivileges", "b", true, "DevicePolicy", "s", "closed",
		"PrivateNetwork", "b", true, "LockPersonality", "b", true, "MemoryDenyWriteExecute",
		"b", true, "ProtectClock", "b", true, "ProtectHostname", "b", true,
		"RestrictRealtime", "b", true, "RestrictNamespaces", "t",
		(uint64_t)(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET), "SystemCallArchitectures",
		"as", 1, "native", "KeyringMode", "s", "private");
	if (r >= 0)
		r = append_strings(m, "RestrictAddressFamilies", true, families);
	return r < 0 ? r : append_strings(m, "SystemCallFilter", true, calls);
}

static const char *share_mode(const struct server_request *server)
{
	if (!server->share.read_only)
		return "rw";
	return strcmp(server->share.tag, AGENT_ROOT_TAG) == 0 ? "lower" : "ro";
}

/* When the kernel's leader closes the connection virtiofsd ends, and with it the unit. */
static int append_properties(const struct server_request *server, sd_bus_message *m)
{
	const struct manager *manager = server->request->manager;
	_cleanup_free_ char *tree = NULL, *description = NULL, *leader = NULL;
	const char *program = POPCORN_LIBEXECDIR "/popcorn-files";
	int r;

	if (asprintf(&tree, "%s/files", manager->options->run) < 0 ||
	    asprintf(&description, "Popcorn: Files %s of Kernel %s", server->share.tag,
		     server->kernel) < 0 ||
	    asprintf(&leader, "popcorn@%s.service", server->kernel) < 0)
		return -ENOMEM;
	r = sd_bus_message_append(
		m, "(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)", "Description", "s",
		description, "Slice", "s", "popcorn.slice", "CollectMode", "s",
		"inactive-or-failed",
		/* At shutdown the kernel still needs its files. */
		"Before", "as", 1, leader, "Type", "s", "exec", "ExecStart", "a(sasb)", 1, program,
		5, program, tree, server->share.path, share_mode(server),
		manager->config->virtiofsd, false, "StandardInputFileDescriptor", "h",
		server->listening, "SyslogIdentifier", "s", "virtiofsd", "OOMScoreAdjust", "i",
		-500, "LimitNOFILE", "t", (uint64_t)FILES_MAX, "LimitCORE", "t", (uint64_t)0,
		"TasksMax", "t", (uint64_t)TASKS_MAX, "TimeoutStopUSec", "t", 5 * USEC_PER_SEC);
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)", "UMask", "u", 0);
	return r < 0 ? r : append_sandbox(m);
}

static int start_unit(struct server_request *server);

static int on_unit_started(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	struct server_request *server = userdata;
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	sd_bus_message *message = server->request->message;
	struct popcorn_error error = {};
	int r = 0;

	if (e && sd_bus_error_has_name(e, SYSTEMD_NAME ".UnitExists") &&
	    ++server->tries < UNIT_TRIES) {
		server->request->slot = sd_bus_slot_unref(server->request->slot);
		r = start_unit(server);
		if (r >= 0)
			return 0;
		popcorn_error_set_errno(&error, r, "systemd can't be reached");
	} else if (e) {
		r = popcorn_error_set(&error, POPCORN_ERROR_UNIT, "systemd could not start %s: %s",
				      server->unit, e->message ?: e->name);
	}
	if (r < 0) {
		bus_reply_error(message, &error, r);
	} else {
		log_info("%s serves %s to kernel %s as %s%s", server->unit, server->share.path,
			 server->kernel, server->share.tag,
			 server->share.read_only ? ", for reading only" : "");
		sd_bus_reply_method_return(message, "h", server->connected);
	}
	server_request_free(server);
	return 0;
}

static int start_unit(struct server_request *server)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	struct manager *manager = server->request->manager;
	int r;

	snprintf(server->unit, sizeof(server->unit), UNIT_PREFIX "%s:%s:%u.service", server->kernel,
		 server->share.tag, ++manager->last_server);
	r = sd_bus_message_new_method_call(manager->bus, &m, SYSTEMD_NAME, SYSTEMD_PATH,
					   SYSTEMD_MANAGER, "StartTransientUnit");
	if (r >= 0)
		r = sd_bus_message_append(m, "ss", server->unit, "fail");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = append_properties(server, m);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = sd_bus_message_append(m, "a(sa(sv))", 0);
	if (r >= 0)
		r = sd_bus_call_async(manager->bus, &server->request->slot, m, on_unit_started,
				      server, 0);
	return r;
}

/* One more start of the share's server. LIMIT: there were too many. */
static int count_start(struct kernel *kernel, const char *device, const struct device_share *share,
		       struct popcorn_error *error)
{
	uint64_t now = now_usec();
	struct server_starts *starts = NULL, *oldest = &kernel->server_starts[0];

	for (size_t i = 0; i < ARRAY_SIZE(kernel->server_starts) && !starts; i++) {
		if (strcmp(kernel->server_starts[i].device, device) == 0)
			starts = &kernel->server_starts[i];
		else if (!kernel->server_starts[i].device[0])
			oldest = &kernel->server_starts[i];
	}
	/* There are no more shares than there is room: a free one is found. */
	if (!starts) {
		starts = oldest;
		snprintf(starts->device, sizeof(starts->device), "%s", device);
	}
	if (starts->n == SERVER_STARTS_MAX && now - starts->times[0] < SERVER_STARTS_USEC)
		return popcorn_error_set(
			error, POPCORN_ERROR_LIMIT,
			"the server of files %s of kernel %s was started %d times "
			"within %u s and is not again; 'journalctl -t virtiofsd' may "
			"say why it ends",
			share->tag, kernel->name, SERVER_STARTS_MAX,
			(unsigned)(SERVER_STARTS_USEC / USEC_PER_SEC));
	if (starts->n == SERVER_STARTS_MAX)
		memmove(&starts->times[0], &starts->times[1],
			--starts->n * sizeof(starts->times[0]));
	starts->times[starts->n++] = now;
	return 0;
}

int method_open_server(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	struct server_request *server = NULL;
	struct manager *manager = userdata;
	struct popcorn_error error = {};
	struct device_share share;
	struct kernel *kernel;
	const char *device;
	int r;

	r = check(message, manager, &kernel, &error);
	if (r >= 0)
		r = sd_bus_message_read(message, "s", &device);
	if (r < 0)
		return bus_reply_error(message, &error, r);
	if (!kernel->def || devices_find_share(kernel->def, device, &share) < 0) {
		r = popcorn_error_set(&error, POPCORN_ERROR_INVALID_ARGUMENT,
				      "kernel %s has no files as device %.32s", kernel->name,
				      device);
		return bus_reply_error(message, &error, r);
	}
	if (manager->options->no_units) {
		r = popcorn_error_set(&error, POPCORN_ERROR_UNIT,
				      "popcornd was started without systemd, which serves files");
		return bus_reply_error(message, &error, r);
	}
	r = count_start(kernel, device, &share, &error);
	if (r < 0)
		return bus_reply_error(message, &error, r);

	server = calloc(1, sizeof(*server));
	if (!server) {
		r = popcorn_error_set(&error, POPCORN_ERROR_NO_MEMORY, NULL);
		return bus_reply_error(message, &error, r);
	}
	server->listening = server->connected = -1;
	server->share = share;
	server->kernel = strdup(kernel->name);
	r = server->kernel ? request_new(manager, message, 0, &server->request, &error) : -ENOMEM;
	/* The tag is the definition's, which another boot may replace. */
	if (r >= 0) {
		server->share.tag = server->tag;
		snprintf(server->tag, sizeof(server->tag), "%s", share.tag);
		r = make_sockets(manager->options->run, &server->listening, &server->connected);
		if (r >= 0)
			r = start_unit(server);
		if (r < 0)
			popcorn_error_set_errno(&error, r, "can't start a server of files");
	}
	if (r >= 0)
		return 1;
	server_request_free(server);
	return bus_reply_error(message, &error, r);
}

/*
 * Their end.
 */

/* "popcorn-files-NAME:TAG:NUMBER.service": is NAME that of a kernel that is there? */
static bool is_served(struct manager *manager, const char *unit)
{
	const char *name = unit + strlen(UNIT_PREFIX), *end = strchr(name, ':');
	char copy[POPCORN_NAME_MAX];
	struct kernel *kernel;

	if (!end || (size_t)(end - name) >= sizeof(copy))
		return false;
	memcpy(copy, name, (size_t)(end - name));
	copy[end - name] = '\0';
	kernel = manager_find_kernel(manager, copy);
	return kernel && state_is_active(kernel->state);
}

static int on_units_listed(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	struct manager *manager = userdata;
	const char *unit;
	int r;

	if (sd_bus_message_is_method_error(reply, NULL))
		return 0;
	r = sd_bus_message_enter_container(reply, 'a', "(ssssssouso)");
	while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'r', "ssssssouso")) > 0) {
		r = sd_bus_message_read(reply, "s", &unit);
		if (r >= 0)
			r = sd_bus_message_skip(reply, "sssssouso");
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
		if (r >= 0 && strncmp(unit, UNIT_PREFIX, strlen(UNIT_PREFIX)) == 0 &&
		    !is_served(manager, unit))
			unit_stop(manager, unit, 0, NULL);
	}
	return 0;
}

static void stop_unserved(struct manager *manager, const char *pattern)
{
	const char *patterns[] = { pattern, NULL };
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r;

	if (manager->options->no_units)
		return;
	r = sd_bus_message_new_method_call(manager->bus, &m, SYSTEMD_NAME, SYSTEMD_PATH,
					   SYSTEMD_MANAGER, "ListUnitsByPatterns");
	if (r >= 0)
		r = sd_bus_message_append(m, "as", 0);
	if (r >= 0)
		r = sd_bus_message_append_strv(m, (char **)patterns);
	if (r >= 0)
		r = sd_bus_call_async(manager->bus, NULL, m, on_units_listed, manager, 0);
	if (r < 0)
		log_warning("servers of files can't be looked for: %s", strerror(-r));
}

void servers_stop(struct manager *manager, const char *kernel)
{
	char pattern[POPCORN_NAME_MAX + 32];

	snprintf(pattern, sizeof(pattern), UNIT_PREFIX "%s:*.service", kernel);
	stop_unserved(manager, pattern);
}

void servers_recover(struct manager *manager)
{
	stop_unserved(manager, UNIT_PREFIX "*.service");
}
