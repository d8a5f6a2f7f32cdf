// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>
#include <time.h>

#include "job.h"
#include "util.h"

#define GETTER(name)                                                                 \
	static int name(sd_bus *bus, const char *path, const char *interface,        \
			const char *property, sd_bus_message *reply, void *userdata, \
			sd_bus_error *error)

/* A getter's userdata is what find() found: the kernel. */

GETTER(get_name)
{
	return sd_bus_message_append(reply, "s", ((struct kernel *)userdata)->name);
}

GETTER(get_id)
{
	return sd_bus_message_append(reply, "u", ((struct kernel *)userdata)->id);
}

GETTER(get_state)
{
	return sd_bus_message_append(reply, "s",
				     state_to_string(((struct kernel *)userdata)->state));
}

GETTER(get_reason)
{
	return sd_bus_message_append(reply, "s",
				     reason_to_string(((struct kernel *)userdata)->reason));
}

GETTER(get_reason_text)
{
	return bus_append_text(reply, ((struct kernel *)userdata)->text);
}

GETTER(get_cpus)
{
	struct kernel *kernel = userdata;

	return sd_bus_message_append_array(reply, 'u', kernel->cpus,
					   kernel->n_cpus * sizeof(*kernel->cpus));
}

GETTER(get_memory_ranges)
{
	struct kernel *kernel = userdata;
	int r;

	r = sd_bus_message_open_container(reply, 'a', "(ttu)");
	for (size_t i = 0; i < kernel->n_ranges && r >= 0; i++)
		r = sd_bus_message_append(reply, "(ttu)", (uint64_t)kernel->ranges[i].start,
					  (uint64_t)kernel->ranges[i].length,
					  kernel->ranges[i].node);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

GETTER(get_memory)
{
	return sd_bus_message_append(reply, "t", ((struct kernel *)userdata)->memory);
}

GETTER(get_image)
{
	struct kernel *kernel = userdata;

	return bus_append_text(reply, kernel->def ? kernel->def->image : "");
}

GETTER(get_initrd)
{
	struct kernel *kernel = userdata;

	return bus_append_text(reply, kernel->def ? kernel->def->initrd : "");
}

GETTER(get_root)
{
	struct kernel *kernel = userdata;

	return bus_append_text(reply, kernel->def ? kernel->def->root : "");
}

GETTER(get_command_line)
{
	struct kernel *kernel = userdata;

	return bus_append_text(reply, kernel->def ? kernel->def->cmdline : "");
}

GETTER(get_kernel_version)
{
	return bus_append_text(reply, ((struct kernel *)userdata)->release);
}

GETTER(get_uptime)
{
	struct kernel *kernel = userdata;
	struct timespec ts;
	uint64_t now, uptime = 0;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	now = (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
	switch (kernel->state) {
	case POPCORN_STATE_BOOTING:
	case POPCORN_STATE_RUNNING:
	case POPCORN_STATE_STOPPING:
		if (kernel->entered_usec && now > kernel->entered_usec)
			uptime = now - kernel->entered_usec;
		break;
	case POPCORN_STATE_RESERVED:
	case POPCORN_STATE_LOADING:
	case POPCORN_STATE_STOPPED:
	case POPCORN_STATE_CRASHED:
	case POPCORN_STATE_FAILED:
		break;
	}
	return sd_bus_message_append(reply, "t", uptime);
}

GETTER(get_boot_time)
{
	return sd_bus_message_append(reply, "t", ((struct kernel *)userdata)->boot_time);
}

GETTER(get_restart)
{
	struct kernel *kernel = userdata;

	return sd_bus_message_append(reply, "s",
				     kernel->def && kernel->def->restart ? "on-failure" : "no");
}

GETTER(get_network)
{
	struct kernel *kernel = userdata;

	return sd_bus_message_append(
		reply, "s", PEERS_TEXT(kernel->def ? kernel->def->network : NETWORK_DEFAULT));
}

GETTER(get_address)
{
	struct kernel *kernel = userdata;
	char address[ADDRESS_TEXT_MAX];

	network_get_address(kernel->manager->network, kernel->name, address);
	return sd_bus_message_append(reply, "s", address);
}

GETTER(get_devices)
{
	struct kernel *kernel = userdata;
	struct driver *driver = kernel->manager->driver;
	struct popcorn_device_info info;
	int r;

	r = sd_bus_message_open_container(reply, 'a', "(ssss)");
	for (uint32_t slot = 0; slot < POPCORN_DEVICES_MAX && kernel->fd >= 0 && r >= 0; slot++) {
		/* One that went away meanwhile is not there either. */
		if (driver->ops->device_info(driver, kernel->fd, slot, &info) < 0)
			continue;
		r = sd_bus_message_open_container(reply, 'r', "ssss");
		if (r >= 0)
			r = bus_append_text(reply, info.name);
		if (r >= 0)
			r = sd_bus_message_append(reply, "ss", device_type_to_string(info.device),
						  device_state_to_string(info.state));
		/* Some of it may be what a server has said. */
		if (r >= 0)
			r = bus_append_text(reply, info.text);
		if (r >= 0)
			r = sd_bus_message_close_container(reply);
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

GETTER(get_unit)
{
	return sd_bus_message_append(reply, "s", ((struct kernel *)userdata)->unit);
}

GETTER(get_policy)
{
	return sd_bus_message_append(reply, "s", ((struct kernel *)userdata)->policy);
}

GETTER(get_messages)
{
	struct kernel *kernel = userdata;

	return sd_bus_message_append(reply, "s", talk_messages_to_string(kernel->talk.messages));
}

GETTER(get_agent_version)
{
	return sd_bus_message_append(reply, "s", ((struct kernel *)userdata)->talk.release);
}

GETTER(get_boot_steps)
{
	struct kernel *kernel = userdata;
	int r;

	r = sd_bus_message_open_container(reply, 'a', "(st)");
	for (size_t i = 0; i < kernel->n_steps && r >= 0; i++)
		r = sd_bus_message_append(reply, "(st)", kernel->steps[i].name,
					  kernel->steps[i].usec);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

GETTER(get_history)
{
	struct kernel *kernel = userdata;
	int r;

	r = sd_bus_message_open_container(reply, 'a', "(tsss)");
	for (size_t i = 0; i < kernel->n_history && r >= 0; i++) {
		const struct history_entry *entry = &kernel->history[i];

		r = sd_bus_message_open_container(reply, 'r', "tsss");
		if (r >= 0)
			r = sd_bus_message_append(reply, "tss", entry->time,
						  state_to_string(entry->state),
						  reason_to_string(entry->reason));
		if (r >= 0)
			r = bus_append_text(reply, entry->text);
		if (r >= 0)
			r = sd_bus_message_close_container(reply);
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

GETTER(get_job)
{
	struct kernel *kernel = userdata;

	return sd_bus_message_append(reply, "o", kernel->job ? kernel->job->path : "/");
}

/* Methods take the manager: the kernel may be gone by the time that polkit has answered. */
#define METHOD(name)                                                                        \
	static int kernel_##name(sd_bus_message *message, void *userdata, sd_bus_error *e)  \
	{                                                                                   \
		return bus_method_##name(message, ((struct kernel *)userdata)->manager, e); \
	}

METHOD(stop)
METHOD(kill)
METHOD(release)

#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define CONST SD_BUS_VTABLE_PROPERTY_CONST

static const sd_bus_vtable kernel_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Stop", SD_BUS_ARGS("t", timeout), SD_BUS_RESULT("o", job),
				kernel_stop, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Kill", SD_BUS_NO_ARGS, SD_BUS_RESULT("o", job), kernel_kill,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_NO_ARGS, SD_BUS_RESULT("o", job), kernel_release,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Name", "s", get_name, 0, CONST),
	SD_BUS_PROPERTY("Id", "u", get_id, 0, CHANGES),
	SD_BUS_PROPERTY("State", "s", get_state, 0, CHANGES),
	SD_BUS_PROPERTY("Reason", "s", get_reason, 0, CHANGES),
	SD_BUS_PROPERTY("ReasonText", "s", get_reason_text, 0, CHANGES),
	SD_BUS_PROPERTY("Cpus", "au", get_cpus, 0, CHANGES),
	SD_BUS_PROPERTY("MemoryRanges", "a(ttu)", get_memory_ranges, 0, CHANGES),
	SD_BUS_PROPERTY("Memory", "t", get_memory, 0, CHANGES),
	SD_BUS_PROPERTY("Image", "s", get_image, 0, CHANGES),
	SD_BUS_PROPERTY("Initrd", "s", get_initrd, 0, CHANGES),
	SD_BUS_PROPERTY("Root", "s", get_root, 0, CHANGES),
	SD_BUS_PROPERTY("CommandLine", "s", get_command_line, 0, CHANGES),
	SD_BUS_PROPERTY("Version", "s", get_kernel_version, 0, CHANGES),
	SD_BUS_PROPERTY("Uptime", "t", get_uptime, 0, 0),
	SD_BUS_PROPERTY("BootTime", "t", get_boot_time, 0, CHANGES),
	SD_BUS_PROPERTY("Restart", "s", get_restart, 0, CHANGES),
	SD_BUS_PROPERTY("Network", "s", get_network, 0, CHANGES),
	SD_BUS_PROPERTY("Address", "s", get_address, 0, CHANGES),
	SD_BUS_PROPERTY("Devices", "a(ssss)", get_devices, 0, 0),
	SD_BUS_PROPERTY("Unit", "s", get_unit, 0, CONST),
	SD_BUS_PROPERTY("Policy", "s", get_policy, 0, CHANGES),
	SD_BUS_PROPERTY("Messages", "s", get_messages, 0, CHANGES),
	SD_BUS_PROPERTY("AgentVersion", "s", get_agent_version, 0, CHANGES),
	SD_BUS_PROPERTY("BootSteps", "a(st)", get_boot_steps, 0, CHANGES),
	SD_BUS_PROPERTY("History", "a(tsss)", get_history, 0, CHANGES),
	SD_BUS_PROPERTY("Job", "o", get_job, 0, CHANGES),
	SD_BUS_VTABLE_END
};

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret,
		sd_bus_error *error)
{
	_cleanup_free_ char *name = NULL;
	struct kernel *kernel;

	if (sd_bus_path_decode(path, BUS_KERNEL_PATH, &name) <= 0)
		return 0;
	kernel = manager_find_kernel(userdata, name);
	/* Only the canonical escaping of a name is the kernel's path. */
	if (!kernel || strcmp(kernel->path, path) != 0)
		return 0;
	*ret = kernel;
	return 1;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret,
		     sd_bus_error *error)
{
	struct manager *manager = userdata;
	struct kernel *kernel;
	char **paths = NULL;
	size_t n = 0;

	TAILQ_FOREACH(kernel, &manager->kernels, entry)
		if (bus_add_path(&paths, &n, kernel->path) < 0)
			return -ENOMEM;
	*ret = paths;
	return 1;
}

int kernel_bus_init(struct manager *manager)
{
	int r;

	r = sd_bus_add_fallback_vtable(manager->bus, NULL, BUS_KERNEL_PATH, KERNEL_INTERFACE,
				       kernel_vtable, find, manager);
	return r < 0 ? r
		     : sd_bus_add_node_enumerator(manager->bus, NULL, BUS_KERNEL_PATH, enumerate,
						  manager);
}

int kernel_emit_changed(struct kernel *kernel, const char *const *properties)
{
	return sd_bus_emit_properties_changed_strv(kernel->manager->bus, kernel->path,
						   KERNEL_INTERFACE, (char **)properties);
}
