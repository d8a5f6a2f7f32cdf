// SPDX-License-Identifier: GPL-2.0-or-later
/* One table of keys per kind of file; keys.c refuses whatever is not in it. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <popcorn.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/agent-config.h"
#include "config-build.h"
#include "config.h"
#include "util.h"

/* Enough for a distribution's kernel with its initrd unpacked. */
#define DEFAULT_MEMORY (512 * MIB)
#define DEFAULT_BOOT_TIMEOUT (120 * USEC_PER_SEC)
#define DEFAULT_STOP_TIMEOUT (90 * USEC_PER_SEC)
#define DEFAULT_HEARTBEAT_MS 10000

/* struct config's heartbeat_ms */
static int read_heartbeat(const struct key_value *value, void *target)
{
	uint64_t usec;
	int r;

	r = key_time(value, &usec);
	if (r == 0)
		*(unsigned *)target = (unsigned)(usec / 1000);
	return r;
}

/* struct kernel_def: a number of CPUs, or a list of them */
static int read_cpu_wish(const struct key_value *value, void *target)
{
	int type = config_setting_type(value->setting);
	struct kernel_def *def = target;
	long long count;

	if (type == CONFIG_TYPE_STRING)
		return key_cpus(value, &def->cpus);
	if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
		return key_bad(value, "give how many CPUs (2) or which ones (\"2-3\")");
	count = config_setting_get_int64(value->setting);
	if (count < 1 || count > POPCORN_CPUS_MAX)
		return key_bad(value, "a kernel has 1 to %d CPUs, not %lld", POPCORN_CPUS_MAX,
			       count);
	def->cpu_count = (unsigned)count;
	return 0;
}

/* bool: "no", "on-failure" */
static int read_restart(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);

	if (!s || (strcmp(s, "no") != 0 && strcmp(s, "on-failure") != 0))
		return key_bad(value, "give \"no\" or \"on-failure\"");
	*(bool *)target = strcmp(s, "no") != 0;
	return 0;
}

/* struct network_config: address and prefix */
static int read_address(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);
	struct network_config *network = target;

	if (!s || network_parse_address(s, &network->address, &network->prefix) < 0)
		return key_bad(value, "give the primary's address and the size of the network, for "
				      "example \"10.77.0.1/22\"");
	return 0;
}

/* uint32_t */
static int read_gateway(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);

	if (s && !*s) {
		*(uint32_t *)target = 0;
		return 0;
	}
	if (!s || network_parse_address(s, target, NULL) < 0)
		return key_bad(value, "give an address, for example \"10.77.0.1\"");
	return 0;
}

/* unsigned */
static int read_mtu(const struct key_value *value, void *target)
{
	return key_number(value, "a frame holds", NETWORK_MTU_MIN, NETWORK_MTU_MAX, target);
}

int parse_memory_nodes(const char *s, struct node_memory **ret, size_t *ret_n,
		       struct popcorn_error *error)
{
	_cleanup_free_ struct node_memory *nodes = NULL;
	_cleanup_free_ char *copy = strdup(s);
	size_t n = 0;
	char *save = NULL;

	nodes = calloc(NODES_MAX, sizeof(*nodes));
	if (!copy || !nodes)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	/* strtok_r() takes ",," for one comma. */
	if (!*s || *s == ',' || s[strlen(s) - 1] == ',' || strstr(s, ",,"))
		goto malformed;
	for (char *part = strtok_r(copy, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		char *end;
		unsigned long node;
		int r;

		errno = 0;
		node = strtoul(part, &end, 10);
		if (*part < '0' || *part > '9' || errno || *end != ':')
			goto malformed;
		if (n == NODES_MAX || node >= NODES_MAX)
			return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
						 "'%.64s' has a node that no machine has: Linux "
						 "knows nodes 0 to %d",
						 s, NODES_MAX - 1);
		nodes[n].node = (unsigned)node;
		r = parse_memory(end + 1, &nodes[n++].bytes, error);
		if (r < 0)
			return r;
	}
	*ret_n = n;
	*ret = steal_ptr(nodes);
	return 0;

malformed:
	return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
				 "'%.64s' is not memory by node; give NODE:SIZE for each node, for "
				 "example 0:512M,1:512M",
				 s);
}

int memory_nodes_to_text(const struct node_memory *nodes, size_t n, char **ret)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s%u:%" PRIu64, i ? "," : "", nodes[i].node, nodes[i].bytes);
	if (fclose(f) != 0) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}

static int compare_nodes(const void *a, const void *b)
{
	const struct node_memory *x = a, *y = b;

	return x->node < y->node ? -1 : x->node > y->node;
}

int kernel_def_set_memory_nodes(struct kernel_def *def, const struct node_memory *nodes, size_t n,
				struct popcorn_error *error)
{
	_cleanup_free_ struct node_memory *sorted = NULL;
	uint64_t sum = 0;

	if (n == 0) {
		free(def->memory_nodes);
		def->memory_nodes = NULL;
		def->n_memory_nodes = 0;
		return 0;
	}
	if (n > NODES_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
					 "memory of %zu nodes was asked for; Linux has at most %d",
					 n, NODES_MAX);
	sorted = calloc(n, sizeof(*sorted));
	if (!sorted)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	memcpy(sorted, nodes, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_nodes);
	for (size_t i = 0; i < n; i++) {
		if (sorted[i].node >= NODES_MAX)
			return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
						 "memory of node %u was asked for; Linux knows "
						 "nodes 0 to %d",
						 sorted[i].node, NODES_MAX - 1);
		if (i && sorted[i].node == sorted[i - 1].node)
			return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
						 "memory of node %u was asked for twice; give each "
						 "node once",
						 sorted[i].node);
		if (!memory_is_valid(sorted[i].bytes) || sorted[i].bytes > MEMORY_MAX)
			return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
						 "%" PRIu64
						 " bytes of node %u were asked for; ask for a "
						 "multiple of 2 MiB of each node",
						 sorted[i].bytes, sorted[i].node);
		sum += sorted[i].bytes;
	}
	free(def->memory_nodes);
	def->memory_nodes = steal_ptr(sorted);
	def->n_memory_nodes = n;
	def->memory = sum;
	return 0;
}

static int read_memory_nodes(const struct key_value *value, void *target)
{
	_cleanup_free_ struct node_memory *nodes = NULL;
	struct kernel_def *def = target;
	struct popcorn_error inner = { 0 };
	uint64_t memory = def->memory;
	size_t n;

	if (config_setting_type(value->setting) != CONFIG_TYPE_STRING)
		return key_bad(value,
			       "give the memory of each node, for example \"0:512M,1:512M\"");
	if (parse_memory_nodes(config_setting_get_string(value->setting), &nodes, &n, &inner) < 0 ||
	    kernel_def_set_memory_nodes(def, nodes, n, &inner) < 0)
		return key_bad(value, "%s", inner.text);
	/* The sum can wait; whether the file says memory too is known when all of it was read. */
	def->memory = memory;
	return 0;
}

void kernel_def_clear_shares(struct kernel_def *def)
{
	for (size_t i = 0; i < def->n_shares; i++) {
		free(def->shares[i].tag);
		free(def->shares[i].path);
	}
	free(def->shares);
	def->shares = NULL;
	def->n_shares = 0;
}

int kernel_def_add_share(struct kernel_def *def, const char *tag, const char *path, bool read_only,
			 struct popcorn_error *error)
{
	_cleanup_free_ char *new_tag = NULL, *new_path = NULL;
	size_t length = strlen(tag);
	struct kernel_share *more;

	/* It becomes part of the name of a unit. */
	for (size_t i = 0; i < length; i++)
		if (!name_char(tag[i], i == 0))
			length = 0;
	if (length == 0 || length > SHARE_TAG_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
					 "not a tag for a share: 1 to %d of A-Z a-z 0-9 _ . -, "
					 "beginning with a letter or digit",
					 SHARE_TAG_MAX);
	if (strcmp(tag, AGENT_ROOT_TAG) == 0)
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
					 "the tag " AGENT_ROOT_TAG
					 " is that of a kernel's root; give the share another one");
	for (size_t i = 0; i < def->n_shares; i++)
		if (strcmp(def->shares[i].tag, tag) == 0)
			return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
						 "two shares have the tag %s; give each its own",
						 tag);
	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
					 "the path of share %s is not absolute; give that of a "
					 "folder of the primary",
					 tag);
	if (def->n_shares == SHARES_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
					 "a kernel has at most %d shares", SHARES_MAX);
	new_tag = strdup(tag);
	new_path = strdup(path);
	more = realloc(def->shares, (def->n_shares + 1) * sizeof(*more));
	if (more)
		def->shares = more;
	if (!new_tag || !new_path || !more)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	def->shares[def->n_shares++] =
		(struct kernel_share){ steal_ptr(new_tag), steal_ptr(new_path), read_only };
	return 0;
}

/* One of a list of shares. */
static const struct key share_keys[] = {
	{ "tag", key_string, offsetof(struct kernel_share, tag) },
	{ "path", key_path, offsetof(struct kernel_share, path) },
	{ "readonly", key_bool, offsetof(struct kernel_share, read_only) },
};

static int read_share(const struct key_value *value, struct kernel_def *def)
{
	struct kernel_share share = { 0 };
	struct popcorn_error inner = { 0 };
	int r;

	if (!config_setting_is_group(value->setting))
		return key_bad(value,
			       "give a group for each: { tag = \"data\"; path = \"/srv\"; }");
	r = keys_read(value, share_keys, ARRAY_SIZE(share_keys), &share, NULL);
	if (r == 0 && (!share.tag || !share.path))
		r = key_bad(value, "give it a tag and a path");
	if (r == 0 && kernel_def_add_share(def, share.tag, share.path, share.read_only, &inner) < 0)
		r = key_bad(value, "%s", inner.text);
	free(share.tag);
	free(share.path);
	return r;
}

/* struct kernel_def */
static int read_shares(const struct key_value *value, void *target)
{
	int r = 0;

	if (!config_setting_is_list(value->setting))
		return key_bad(value, "give a list: ( { tag = \"data\"; path = \"/srv\"; } )");
	kernel_def_clear_shares(target);
	for (int i = 0; i < config_setting_length(value->setting) && r == 0; i++) {
		char name[32];
		struct key_value part = { value->path, name,
					  config_setting_get_elem(value->setting, (unsigned)i),
					  value->error };

		snprintf(name, sizeof(name), "%.16s[%d]", value->name, i);
		r = read_share(&part, target);
	}
	return r;
}

/* enum device_wish */
static int read_wish(const struct key_value *value, void *target)
{
	bool yes;
	int r = key_bool(value, &yes);

	if (r == 0)
		*(enum device_wish *)target = yes ? WISH_YES : WISH_NO;
	return r;
}

static const struct key config_keys[] = {
	{ "primary.cpus", key_cpus, offsetof(struct config, primary_cpus) },
	{ "primary.memory", key_memory, offsetof(struct config, primary_memory) },
	{ "default.image", key_path, offsetof(struct config, default_image) },
	{ "default.cmdline", key_string, offsetof(struct config, default_cmdline) },
	{ "default.memory", key_memory, offsetof(struct config, default_memory) },
	{ "default.root", key_root, offsetof(struct config, default_root) },
	{ "boot.timeout", key_time, offsetof(struct config, boot_timeout_usec) },
	{ "stop.timeout", key_time, offsetof(struct config, stop_timeout_usec) },
	{ "memory.drop_caches", key_bool, offsetof(struct config, drop_caches) },
	{ "heartbeat", read_heartbeat, offsetof(struct config, heartbeat_ms) },
	{ "busybox", key_path, offsetof(struct config, busybox) },
	{ "agent", key_path, offsetof(struct config, agent) },
	{ "modules", key_path, offsetof(struct config, modules) },
	{ "cache", key_path, offsetof(struct config, cache) },
	{ "virtiofsd", key_path, offsetof(struct config, virtiofsd) },
	{ "fast_boot", key_bool, offsetof(struct config, fast_boot) },
	{ "network.enabled", key_bool, offsetof(struct config, network.enabled) },
	{ "network.bridge", key_string, offsetof(struct config, network.bridge) },
	{ "network.address", read_address, offsetof(struct config, network) },
	{ "network.gateway", read_gateway, offsetof(struct config, network.gateway) },
	{ "network.nat", key_bool, offsetof(struct config, network.nat) },
	{ "network.uplink", key_string, offsetof(struct config, network.uplink) },
	{ "network.mtu", read_mtu, offsetof(struct config, network.mtu) },
};

static const struct key kernel_keys[] = {
	{ "image", key_path, offsetof(struct kernel_def, image) },
	{ "initrd", key_path, offsetof(struct kernel_def, initrd) },
	{ "cmdline", key_string, offsetof(struct kernel_def, cmdline) },
	{ "root", key_root, offsetof(struct kernel_def, root) },
	{ "cpus", read_cpu_wish, 0 },
	{ "memory", key_memory, offsetof(struct kernel_def, memory) },
	{ "memory_nodes", read_memory_nodes, 0 },
	{ "restart", read_restart, offsetof(struct kernel_def, restart) },
	{ "boot_timeout", key_time, offsetof(struct kernel_def, boot_timeout_usec) },
	{ "shares", read_shares, 0 },
	{ "vsock", read_wish, offsetof(struct kernel_def, vsock) },
	{ "network", key_network, offsetof(struct kernel_def, network) },
};

/* -ENOENT without an error: there is no such file. */
static int load(const char *path, const struct key *keys, size_t n_keys, void *target,
		struct popcorn_error *error)
{
	struct key_value root = { path, "", NULL, error };
	_cleanup_free_ char *text = NULL;
	config_t parsed;
	size_t size;
	int r;

	r = keys_load(path, &text, &size, error);
	if (r < 0)
		return r;
	r = keys_parse(path, text, size, &parsed, error);
	if (r == 0) {
		root.setting = config_root_setting(&parsed);
		r = keys_read(&root, keys, n_keys, target, NULL);
	}
	config_destroy(&parsed);
	return r;
}

static void config_freep(struct config **config)
{
	config_free(*config);
}

int config_load(const char *path, struct config **ret, struct popcorn_error *error)
{
	_cleanup_(config_freep) struct config *config = calloc(1, sizeof(*config));
	struct utsname name;
	const char *fault;
	int r;

	if (!config)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	uname(&name);
	*config = (struct config){
		.primary_cpus = hwloc_bitmap_alloc(),
		.primary_memory = DEFAULT_PRIMARY_MEMORY,
		.default_cmdline = strdup(""),
		.default_memory = DEFAULT_MEMORY,
		.boot_timeout_usec = DEFAULT_BOOT_TIMEOUT,
		.stop_timeout_usec = DEFAULT_STOP_TIMEOUT,
		.heartbeat_ms = DEFAULT_HEARTBEAT_MS,
		.busybox = strdup("/bin/busybox"),
		.agent = strdup(POPCORN_LIBEXECDIR "/popcorn-agent"),
		.modules = strdup("/lib/modules"),
		.cache = strdup("/var/cache/popcorn"),
		/* Where Debian's qemu-system-common has it. */
		.virtiofsd = strdup("/usr/lib/qemu/virtiofsd"),
		.fast_boot = true,
		.drop_caches = true,
	};
	if (asprintf(&config->default_image, "/boot/vmlinuz-%s", name.release) < 0)
		config->default_image = NULL;
	if (network_config_init(&config->network) < 0 || !config->primary_cpus ||
	    !config->default_image || !config->default_cmdline || !config->busybox ||
	    !config->agent || !config->modules || !config->cache || !config->virtiofsd)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);

	if (!path)
		path = POPCORN_CONFDIR "/popcornd.conf";
	r = load(path, config_keys, ARRAY_SIZE(config_keys), config, error);
	if (r < 0 && r != -ENOENT)
		return r;
	fault = network_config_fault(&config->network);
	if (fault)
		return popcorn_error_set(error, POPCORN_ERROR_CONFIG, "%s: network: %s", path,
					 fault);
	if (!config->default_root) {
		/* Where nothing can serve files, kernels are those that need none. */
		config->default_root = strdup(
			access(config->virtiofsd, X_OK) == 0 ? ROOT_PRIMARY : ROOT_INITRAMFS);
		if (!config->default_root)
			return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	}
	if (hwloc_bitmap_set(config->primary_cpus, 0) < 0)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	*ret = steal_ptr(config);
	return 0;
}

struct config *config_free(struct config *config)
{
	if (!config)
		return NULL;
	hwloc_bitmap_free(config->primary_cpus);
	free(config->default_image);
	free(config->default_cmdline);
	free(config->default_root);
	free(config->busybox);
	free(config->agent);
	free(config->modules);
	free(config->cache);
	free(config->virtiofsd);
	network_config_done(&config->network);
	free(config);
	return NULL;
}

static void kernel_def_freep(struct kernel_def **def)
{
	kernel_def_free(*def);
}

int kernel_def_new(const struct config *config, struct kernel_def **ret)
{
	_cleanup_(kernel_def_freep) struct kernel_def *def = calloc(1, sizeof(*def));

	if (!def)
		return -ENOMEM;
	def->image = strdup(config->default_image);
	def->cmdline = strdup(config->default_cmdline);
	if (!def->image || !def->cmdline)
		return -ENOMEM;
	def->cpu_count = 1;
	def->memory = config->default_memory;
	def->boot_timeout_usec = config->boot_timeout_usec;
	*ret = steal_ptr(def);
	return 0;
}

const char *kernel_default_root(const struct config *config, const char *initrd)
{
	return initrd ? ROOT_INITRAMFS : config->default_root;
}

int kernel_def_settle(const struct config *config, struct kernel_def *def)
{
	if (!def->root)
		def->root = strdup(kernel_default_root(config, def->initrd));
	return def->root ? 0 : -ENOMEM;
}

bool kernel_def_has_root(const struct kernel_def *def)
{
	return def->root && strcmp(def->root, ROOT_INITRAMFS) != 0;
}

bool kernel_def_keeps_root(const struct kernel_def *def)
{
	size_t end = strlen(ROOT_READ_ONLY), length = def->root ? strlen(def->root) : 0;

	return length && (strcmp(def->root, ROOT_PRIMARY) == 0 ||
			  (length > end && strcmp(def->root + length - end, ROOT_READ_ONLY) == 0));
}

/* A file may say the sum too, but not another one. */
static int sum_nodes(struct kernel_def *def, const char *path, struct popcorn_error *error)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < def->n_memory_nodes; i++)
		sum += def->memory_nodes[i].bytes;
	if (def->memory && def->memory != sum)
		return popcorn_error_set(error, POPCORN_ERROR_CONFIG,
					 "%s: memory is %s, and the parts of memory_nodes are %s "
					 "together; leave memory out",
					 path, SIZE_TEXT(def->memory), SIZE_TEXT(sum));
	def->memory = sum;
	return 0;
}

int kernel_def_load(const struct config *config, const char *directory, const char *name,
		    struct kernel_def **ret, struct popcorn_error *error)
{
	_cleanup_(kernel_def_freep) struct kernel_def *def = NULL;
	_cleanup_free_ char *path = NULL;
	int r;

	/* Before it becomes part of a path. */
	r = kernel_name_check(name, error);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/%s.conf", directory ? directory : POPCORN_CONFDIR "/kernels",
		     name) < 0) {
		path = NULL;
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	}
	r = kernel_def_new(config, &def);
	if (r < 0)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	/* Not said; no file can say 0. */
	def->memory = 0;
	r = load(path, kernel_keys, ARRAY_SIZE(kernel_keys), def, error);
	if (r == -ENOENT)
		return popcorn_error_set(error, POPCORN_ERROR_NO_SUCH_KERNEL,
					 "kernel '%s' has no definition: %s is not there", name,
					 path);
	if (r == 0 && def->memory_nodes)
		r = sum_nodes(def, path, error);
	if (r < 0)
		return r;
	if (!def->memory)
		def->memory = config->default_memory;
	*ret = steal_ptr(def);
	return 0;
}

struct kernel_def *kernel_def_free(struct kernel_def *def)
{
	if (!def)
		return NULL;
	free(def->image);
	free(def->initrd);
	free(def->cmdline);
	free(def->root);
	hwloc_bitmap_free(def->cpus);
	free(def->memory_nodes);
	kernel_def_clear_shares(def);
	free(def);
	return NULL;
}

int kernel_def_copy(const struct kernel_def *def, struct kernel_def **ret)
{
	_cleanup_(kernel_def_freep) struct kernel_def *copy = malloc(sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	*copy = *def;
	copy->shares = NULL;
	copy->n_shares = 0;
	copy->image = def->image ? strdup(def->image) : NULL;
	copy->initrd = def->initrd ? strdup(def->initrd) : NULL;
	copy->cmdline = def->cmdline ? strdup(def->cmdline) : NULL;
	copy->root = def->root ? strdup(def->root) : NULL;
	copy->cpus = def->cpus ? hwloc_bitmap_dup(def->cpus) : NULL;
	copy->memory_nodes =
		def->memory_nodes ? calloc(def->n_memory_nodes, sizeof(*copy->memory_nodes)) : NULL;
	if (copy->memory_nodes)
		memcpy(copy->memory_nodes, def->memory_nodes,
		       def->n_memory_nodes * sizeof(*copy->memory_nodes));
	if (!copy->memory_nodes != !def->memory_nodes || !copy->image != !def->image ||
	    !copy->initrd != !def->initrd || !copy->cmdline != !def->cmdline ||
	    !copy->root != !def->root || !copy->cpus != !def->cpus)
		return -ENOMEM;
	for (size_t i = 0; i < def->n_shares; i++)
		if (kernel_def_add_share(copy, def->shares[i].tag, def->shares[i].path,
					 def->shares[i].read_only, NULL) < 0)
			return -ENOMEM;
	*ret = steal_ptr(copy);
	return 0;
}
