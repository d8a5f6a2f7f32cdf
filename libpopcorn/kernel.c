// SPDX-License-Identifier: LGPL-2.1-or-later
/* Pictures of kernels, read from their properties. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "internal.h"

struct popcorn_kernel {
	char *path;
	char *name, *state, *reason, *reason_text, *image, *initrd, *root, *command_line, *version;
	char *restart, *network, *address, *unit, *job, *policy, *messages, *agent_version;
	uint32_t id;
	uint64_t memory, uptime, boot_time;
	uint32_t *cpus;
	size_t n_cpus;
	struct range {
		uint64_t start, length;
		uint32_t node;
	} * ranges;
	size_t n_ranges;
	struct step {
		char *name;
		uint64_t usec;
	} * steps;
	size_t n_steps;
	struct device {
		char *name, *type, *state, *text;
	} * devices;
	size_t n_devices;
	struct change {
		uint64_t usec;
		char *state, *reason, *text;
	} * history;
	size_t n_history;
};

/* Doubles an array when its length is a power of two, so that nothing but the length is kept. */
static void *grow(void *array, size_t n, size_t size)
{
	return n & (n - 1) ? array : reallocarray(array, n ? 2 * n : 1, size);
}

static int read_string(sd_bus_message *m, void *field)
{
	const char *s;
	int r = sd_bus_message_read_basic(m, *sd_bus_message_get_signature(m, false), &s);

	return r < 0 ? r : string_set(field, s);
}

static int read_u32(sd_bus_message *m, void *field)
{
	return sd_bus_message_read_basic(m, 'u', field);
}

static int read_u64(sd_bus_message *m, void *field)
{
	return sd_bus_message_read_basic(m, 't', field);
}

static int read_cpus(sd_bus_message *m, void *field)
{
	struct popcorn_kernel *kernel = field;
	const void *cpus;
	size_t size;
	int r;

	r = sd_bus_message_read_array(m, 'u', &cpus, &size);
	if (r < 0)
		return r;
	free(kernel->cpus);
	kernel->n_cpus = 0;
	kernel->cpus = malloc(size + 1);
	if (!kernel->cpus)
		return -ENOMEM;
	if (size)
		memcpy(kernel->cpus, cpus, size);
	kernel->n_cpus = size / sizeof(uint32_t);
	return 0;
}

static int read_ranges(sd_bus_message *m, void *field)
{
	struct popcorn_kernel *kernel = field;
	struct range range;
	int r;

	r = sd_bus_message_enter_container(m, 'a', "(ttu)");
	if (r < 0)
		return r;
	while ((r = sd_bus_message_read(m, "(ttu)", &range.start, &range.length, &range.node)) >
	       0) {
		struct range *ranges = grow(kernel->ranges, kernel->n_ranges, sizeof(range));

		if (!ranges)
			return -ENOMEM;
		kernel->ranges = ranges;
		kernel->ranges[kernel->n_ranges++] = range;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_steps(sd_bus_message *m, void *field)
{
	struct popcorn_kernel *kernel = field;
	const char *name;
	uint64_t usec;
	int r;

	r = sd_bus_message_enter_container(m, 'a', "(st)");
	if (r < 0)
		return r;
	while ((r = sd_bus_message_read(m, "(st)", &name, &usec)) > 0) {
		struct step *steps = grow(kernel->steps, kernel->n_steps, sizeof(*steps));

		if (!steps)
			return -ENOMEM;
		kernel->steps = steps;
		steps += kernel->n_steps++;
		*steps = (struct step){ .usec = usec };
		r = string_set(&steps->name, name);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_devices(sd_bus_message *m, void *field)
{
	struct popcorn_kernel *kernel = field;
	const char *name, *type, *state, *text;
	int r;

	r = sd_bus_message_enter_container(m, 'a', "(ssss)");
	if (r < 0)
		return r;
	while ((r = sd_bus_message_read(m, "(ssss)", &name, &type, &state, &text)) > 0) {
		struct device *device = grow(kernel->devices, kernel->n_devices, sizeof(*device));

		if (!device)
			return -ENOMEM;
		kernel->devices = device;
		device += kernel->n_devices++;
		*device = (struct device){};
		if (string_set(&device->name, name) < 0 || string_set(&device->type, type) < 0 ||
		    string_set(&device->state, state) < 0 || string_set(&device->text, text) < 0)
			return -ENOMEM;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_history(sd_bus_message *m, void *field)
{
	struct popcorn_kernel *kernel = field;
	const char *state, *reason, *text;
	uint64_t usec;
	int r;

	r = sd_bus_message_enter_container(m, 'a', "(tsss)");
	if (r < 0)
		return r;
	while ((r = sd_bus_message_read(m, "(tsss)", &usec, &state, &reason, &text)) > 0) {
		struct change *change = grow(kernel->history, kernel->n_history, sizeof(*change));

		if (!change)
			return -ENOMEM;
		kernel->history = change;
		change += kernel->n_history++;
		*change = (struct change){ .usec = usec };
		if (string_set(&change->state, state) < 0 ||
		    string_set(&change->reason, reason) < 0 || string_set(&change->text, text) < 0)
			return -ENOMEM;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static const struct property {
	const char *name;
	const char *type;
	int (*read)(sd_bus_message *m, void *field);
	size_t offset;
} properties[] = {
#define FIELD(field) offsetof(struct popcorn_kernel, field)
	{ "Name", "s", read_string, FIELD(name) },
	{ "Id", "u", read_u32, FIELD(id) },
	{ "State", "s", read_string, FIELD(state) },
	{ "Reason", "s", read_string, FIELD(reason) },
	{ "ReasonText", "s", read_string, FIELD(reason_text) },
	{ "Cpus", "au", read_cpus, 0 },
	{ "MemoryRanges", "a(ttu)", read_ranges, 0 },
	{ "Memory", "t", read_u64, FIELD(memory) },
	{ "Image", "s", read_string, FIELD(image) },
	{ "Initrd", "s", read_string, FIELD(initrd) },
	{ "Root", "s", read_string, FIELD(root) },
	{ "CommandLine", "s", read_string, FIELD(command_line) },
	{ "Version", "s", read_string, FIELD(version) },
	{ "Uptime", "t", read_u64, FIELD(uptime) },
	{ "BootTime", "t", read_u64, FIELD(boot_time) },
	{ "Restart", "s", read_string, FIELD(restart) },
	{ "Network", "s", read_string, FIELD(network) },
	{ "Address", "s", read_string, FIELD(address) },
	{ "Devices", "a(ssss)", read_devices, 0 },
	{ "Unit", "s", read_string, FIELD(unit) },
	{ "Policy", "s", read_string, FIELD(policy) },
	{ "Messages", "s", read_string, FIELD(messages) },
	{ "AgentVersion", "s", read_string, FIELD(agent_version) },
	{ "BootSteps", "a(st)", read_steps, 0 },
	{ "History", "a(tsss)", read_history, 0 },
	{ "Job", "o", read_string, FIELD(job) },
#undef FIELD
};

/* Reads an a{sv}. What is unknown or of another type is passed over: popcornd may be newer. */
static int kernel_read(struct popcorn_kernel *kernel, sd_bus_message *m)
{
	int r;

	r = sd_bus_message_enter_container(m, 'a', "{sv}");
	if (r < 0)
		return r;
	while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		const struct property *property = NULL;
		const char *name, *contents;
		char type;

		r = sd_bus_message_read(m, "s", &name);
		if (r < 0)
			return r;
		r = sd_bus_message_peek_type(m, &type, &contents);
		if (r < 0)
			return r;
		for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
			if (strcmp(properties[i].name, name) == 0 &&
			    strcmp(properties[i].type, contents) == 0)
				property = &properties[i];
		if (property) {
			r = sd_bus_message_enter_container(m, 'v', contents);
			if (r < 0)
				return r;
			r = property->read(m, (char *)kernel + property->offset);
			if (r < 0)
				return r;
			r = sd_bus_message_exit_container(m);
		} else {
			r = sd_bus_message_skip(m, "v");
		}
		if (r < 0)
			return r;
		r = sd_bus_message_exit_container(m);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

struct popcorn_kernel *popcorn_kernel_free(struct popcorn_kernel *kernel)
{
	if (!kernel)
		return NULL;
	for (size_t i = 0; i < kernel->n_steps; i++)
		free(kernel->steps[i].name);
	for (size_t i = 0; i < kernel->n_devices; i++) {
		free(kernel->devices[i].name);
		free(kernel->devices[i].type);
		free(kernel->devices[i].state);
		free(kernel->devices[i].text);
	}
	for (size_t i = 0; i < kernel->n_history; i++) {
		free(kernel->history[i].state);
		free(kernel->history[i].reason);
		free(kernel->history[i].text);
	}
	free(kernel->path);
	free(kernel->name);
	free(kernel->state);
	free(kernel->reason);
	free(kernel->reason_text);
	free(kernel->image);
	free(kernel->initrd);
	free(kernel->root);
	free(kernel->command_line);
	free(kernel->version);
	free(kernel->restart);
	free(kernel->network);
	free(kernel->address);
	free(kernel->unit);
	free(kernel->policy);
	free(kernel->messages);
	free(kernel->agent_version);
	free(kernel->job);
	free(kernel->cpus);
	free(kernel->ranges);
	free(kernel->steps);
	free(kernel->devices);
	free(kernel->history);
	free(kernel);
	return NULL;
}

static void kernel_freep(struct popcorn_kernel **kernel)
{
	popcorn_kernel_free(*kernel);
}

struct popcorn_kernel **popcorn_kernels_free(struct popcorn_kernel **kernels)
{
	for (size_t i = 0; kernels && kernels[i]; i++)
		popcorn_kernel_free(kernels[i]);
	free(kernels);
	return NULL;
}

static int kernel_new(const char *path, struct popcorn_kernel **ret)
{
	_cleanup_(kernel_freep) struct popcorn_kernel *kernel = calloc(1, sizeof(*kernel));

	if (!kernel || string_set(&kernel->path, path) < 0)
		return -ENOMEM;
	*ret = kernel;
	kernel = NULL;
	return 0;
}

int popcorn_get_kernel(struct popcorn *popcorn, const char *name, struct popcorn_kernel **ret)
{
	_cleanup_message_ sd_bus_message *where = NULL, *reply = NULL;
	_cleanup_(kernel_freep) struct popcorn_kernel *kernel = NULL;
	const char *path;
	int r;

	r = popcorn_call(popcorn, BUS_PATH, INTERFACE_MANAGER, "GetKernel", &where, "s", name);
	if (r < 0)
		return r;
	r = sd_bus_message_read(where, "o", &path);
	if (r < 0)
		return popcorn_parse_failed(popcorn, r);
	r = popcorn_call(popcorn, path, "org.freedesktop.DBus.Properties", "GetAll", &reply, "s",
			 INTERFACE_KERNEL);
	if (r == -ENXIO) /* released between the two calls */
		return popcorn_fail(popcorn, POPCORN_ERROR_NO_SUCH_KERNEL, NULL);
	if (r < 0)
		return r;
	r = kernel_new(path, &kernel);
	if (r >= 0)
		r = kernel_read(kernel, reply);
	if (r < 0)
		return popcorn_parse_failed(popcorn, r);
	*ret = kernel;
	kernel = NULL;
	return 0;
}

static int compare_kernels(const void *a, const void *b)
{
	const struct popcorn_kernel *x = *(struct popcorn_kernel *const *)a;
	const struct popcorn_kernel *y = *(struct popcorn_kernel *const *)b;

	if (x->id != y->id) {
		if (!x->id || !y->id)
			return x->id ? -1 : 1;
		return x->id < y->id ? -1 : 1;
	}
	return strcmp(string_or_empty(x->name), string_or_empty(y->name));
}

static int read_interfaces(sd_bus_message *m, const char *path, struct popcorn_kernel **ret)
{
	_cleanup_(kernel_freep) struct popcorn_kernel *kernel = NULL;
	int r;

	r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
	if (r < 0)
		return r;
	while ((r = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
		const char *interface;

		r = sd_bus_message_read(m, "s", &interface);
		if (r < 0)
			return r;
		if (strcmp(interface, INTERFACE_KERNEL) == 0 && !kernel) {
			r = kernel_new(path, &kernel);
			if (r >= 0)
				r = kernel_read(kernel, m);
		} else {
			r = sd_bus_message_skip(m, "a{sv}");
		}
		if (r < 0)
			return r;
		r = sd_bus_message_exit_container(m);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	r = sd_bus_message_exit_container(m);
	if (r < 0)
		return r;
	*ret = kernel;
	kernel = NULL;
	return 0;
}

static void kernelsp_free(struct popcorn_kernel ***kernels)
{
	popcorn_kernels_free(*kernels);
}

int popcorn_list_kernels(struct popcorn *popcorn, struct popcorn_kernel ***ret, size_t *ret_n)
{
	_cleanup_(kernelsp_free) struct popcorn_kernel **kernels = calloc(1, sizeof(*kernels));
	_cleanup_message_ sd_bus_message *reply = NULL;
	size_t n = 0;
	int r;

	if (!kernels)
		return popcorn_fail_errno(popcorn, -ENOMEM, "");
	r = popcorn_call(popcorn, BUS_PATH, "org.freedesktop.DBus.ObjectManager",
			 "GetManagedObjects", &reply, NULL);
	if (r < 0)
		return r;
	r = sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}");
	while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}")) > 0) {
		struct popcorn_kernel *kernel = NULL, **larger;
		const char *path;

		r = sd_bus_message_read(reply, "o", &path);
		if (r >= 0)
			r = read_interfaces(reply, path, &kernel);
		if (r >= 0 && kernel) {
			larger = reallocarray(kernels, n + 2, sizeof(*kernels));
			if (!larger) {
				popcorn_kernel_free(kernel);
				r = -ENOMEM;
				break;
			}
			kernels = larger;
			kernels[n++] = kernel;
			kernels[n] = NULL;
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
	}
	if (r < 0)
		return popcorn_parse_failed(popcorn, r);
	qsort(kernels, n, sizeof(*kernels), compare_kernels);
	if (ret_n)
		*ret_n = n;
	*ret = kernels;
	kernels = NULL;
	return 0;
}

const char *popcorn_kernel_get_name(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->name);
}

const char *popcorn_kernel_get_path(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->path);
}

uint32_t popcorn_kernel_get_id(const struct popcorn_kernel *kernel)
{
	return kernel->id;
}

const char *popcorn_kernel_get_state(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->state);
}

const char *popcorn_kernel_get_reason(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->reason);
}

const char *popcorn_kernel_get_reason_text(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->reason_text);
}

size_t popcorn_kernel_get_cpus(const struct popcorn_kernel *kernel, const uint32_t **ret)
{
	if (ret)
		*ret = kernel->cpus;
	return kernel->n_cpus;
}

uint64_t popcorn_kernel_get_memory(const struct popcorn_kernel *kernel)
{
	return kernel->memory;
}

int popcorn_kernel_get_memory_range(const struct popcorn_kernel *kernel, size_t index,
				    uint64_t *ret_start, uint64_t *ret_length, uint32_t *ret_node)
{
	if (index >= kernel->n_ranges)
		return 0;
	*ret_start = kernel->ranges[index].start;
	*ret_length = kernel->ranges[index].length;
	*ret_node = kernel->ranges[index].node;
	return 1;
}

const char *popcorn_kernel_get_image(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->image);
}

const char *popcorn_kernel_get_initrd(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->initrd);
}

const char *popcorn_kernel_get_root(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->root);
}

const char *popcorn_kernel_get_command_line(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->command_line);
}

const char *popcorn_kernel_get_version(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->version);
}

uint64_t popcorn_kernel_get_uptime(const struct popcorn_kernel *kernel)
{
	return kernel->uptime;
}

uint64_t popcorn_kernel_get_boot_time(const struct popcorn_kernel *kernel)
{
	return kernel->boot_time;
}

const char *popcorn_kernel_get_restart(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->restart);
}

const char *popcorn_kernel_get_network(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->network);
}

const char *popcorn_kernel_get_address(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->address);
}

int popcorn_kernel_get_device(const struct popcorn_kernel *kernel, size_t index,
			      const char **ret_name, const char **ret_type, const char **ret_state,
			      const char **ret_text)
{
	if (index >= kernel->n_devices)
		return 0;
	*ret_name = kernel->devices[index].name;
	*ret_type = kernel->devices[index].type;
	*ret_state = kernel->devices[index].state;
	*ret_text = kernel->devices[index].text;
	return 1;
}

const char *popcorn_kernel_get_policy(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->policy);
}

const char *popcorn_kernel_get_messages(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->messages);
}

const char *popcorn_kernel_get_agent_version(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->agent_version);
}

const char *popcorn_kernel_get_unit(const struct popcorn_kernel *kernel)
{
	return string_or_empty(kernel->unit);
}

uint32_t popcorn_kernel_get_job(const struct popcorn_kernel *kernel)
{
	const char *slash = kernel->job ? strrchr(kernel->job, '/') : NULL;

	return slash ? strtoul(slash + 1, NULL, 10) : 0;
}

int popcorn_kernel_get_boot_step(const struct popcorn_kernel *kernel, size_t index,
				 const char **ret_step, uint64_t *ret_usec)
{
	if (index >= kernel->n_steps)
		return 0;
	*ret_step = kernel->steps[index].name;
	*ret_usec = kernel->steps[index].usec;
	return 1;
}

int popcorn_kernel_get_history(const struct popcorn_kernel *kernel, size_t index,
			       uint64_t *ret_usec, const char **ret_state, const char **ret_reason,
			       const char **ret_text)
{
	if (index >= kernel->n_history)
		return 0;
	*ret_usec = kernel->history[index].usec;
	*ret_state = kernel->history[index].state;
	*ret_reason = kernel->history[index].reason;
	*ret_text = kernel->history[index].text;
	return 1;
}
