// SPDX-License-Identifier: GPL-2.0-or-later
/* One table of keys per kind of file; one walk that refuses whatever is not in the table. */
#include <errno.h>
#include <inttypes.h>
#include <libconfig.h>
#include <limits.h>
#include <popcorn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/utsname.h>

#include "config-build.h"
#include "config.h"
#include "util.h"

#define CONFIG_SIZE_MAX (1U << 20)
#define CONFIG_DEPTH_MAX 2 /* group.key: no table below has more */

/* Far more than any kernel's NR_CPUS: a typing error must not make a bitmap of gigabytes. */
#define CPU_INDEX_MAX 65535
/* Physical addresses have 52 bits. */
#define MEMORY_MAX (UINT64_C(1) << 52)
/* A day: more is a typing error. */
#define TIMEOUT_MAX_SEC 86400

#define DEFAULT_PRIMARY_MEMORY (512 * MIB)
/* Enough for a distribution's kernel with its initrd unpacked. */
#define DEFAULT_MEMORY (512 * MIB)
#define DEFAULT_BOOT_TIMEOUT (120 * USEC_PER_SEC)
#define DEFAULT_STOP_TIMEOUT (90 * USEC_PER_SEC)
#define DEFAULT_HEARTBEAT_MS 10000

enum kind {
	KIND_CPUS,	 /* hwloc_bitmap_t: "0-1" */
	KIND_CPU_WISH,	 /* struct kernel_def: a number of CPUs, or a list of them */
	KIND_MEMORY,	 /* uint64_t, bytes */
	KIND_SECONDS,	 /* uint64_t, microseconds */
	KIND_SECONDS_MS, /* unsigned, milliseconds */
	KIND_STRING,	 /* char * */
	KIND_PATH,	 /* char *, absolute */
	KIND_BOOL,	 /* bool */
	KIND_RESTART,	 /* bool: "no", "on-failure" */
};

struct key {
	const char *name;
	enum kind kind;
	size_t offset;
};

static const struct key config_keys[] = {
	{ "primary.cpus", KIND_CPUS, offsetof(struct config, primary_cpus) },
	{ "primary.memory", KIND_MEMORY, offsetof(struct config, primary_memory) },
	{ "default.image", KIND_PATH, offsetof(struct config, default_image) },
	{ "default.cmdline", KIND_STRING, offsetof(struct config, default_cmdline) },
	{ "default.memory", KIND_MEMORY, offsetof(struct config, default_memory) },
	{ "boot.timeout", KIND_SECONDS, offsetof(struct config, boot_timeout_usec) },
	{ "stop.timeout", KIND_SECONDS, offsetof(struct config, stop_timeout_usec) },
	{ "memory.drop_caches", KIND_BOOL, offsetof(struct config, drop_caches) },
	{ "heartbeat", KIND_SECONDS_MS, offsetof(struct config, heartbeat_ms) },
	{ "busybox", KIND_PATH, offsetof(struct config, busybox) },
	{ "agent", KIND_PATH, offsetof(struct config, agent) },
	{ "modules", KIND_PATH, offsetof(struct config, modules) },
	{ "cache", KIND_PATH, offsetof(struct config, cache) },
	{ "fast_boot", KIND_BOOL, offsetof(struct config, fast_boot) },
};

static const struct key kernel_keys[] = {
	{ "image", KIND_PATH, offsetof(struct kernel_def, image) },
	{ "initrd", KIND_PATH, offsetof(struct kernel_def, initrd) },
	{ "cmdline", KIND_STRING, offsetof(struct kernel_def, cmdline) },
	{ "cpus", KIND_CPU_WISH, 0 },
	{ "memory", KIND_MEMORY, offsetof(struct kernel_def, memory) },
	{ "restart", KIND_RESTART, offsetof(struct kernel_def, restart) },
	{ "boot_timeout", KIND_SECONDS, offsetof(struct kernel_def, boot_timeout_usec) },
};

struct parser {
	const char *path;
	const struct key *keys;
	size_t n_keys;
	void *target;
	struct popcorn_error *error;
};

__attribute__((format(printf, 4, 5))) static int bad(const struct parser *parser,
						     const config_setting_t *setting,
						     const char *key, const char *format, ...)
{
	char text[768];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return popcorn_error_set(parser->error, POPCORN_ERROR_CONFIG, "%s:%u: %s: %s", parser->path,
				 config_setting_source_line(setting), key, text);
}

int parse_memory(const char *s, uint64_t *ret, struct popcorn_error *error)
{
	static const char units[] = "KMGT";
	unsigned long long value;
	const char *unit;
	unsigned shift = 0;
	char *end;

	errno = 0;
	value = strtoull(s, &end, 0);
	if (s[0] < '0' || s[0] > '9' || end == s || errno)
		goto malformed;
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
		if (strcmp(end, "iB") == 0)
			end += 2;
	}
	if (*end)
		goto malformed;
	if (value > MEMORY_MAX >> shift)
		return popcorn_error_set(
			error, POPCORN_ERROR_MEMORY_INVALID,
			"'%.64s' is more memory than any machine of this kind can have", s);
	value <<= shift;
	if (!memory_is_valid(value))
		return popcorn_error_set(
			error, POPCORN_ERROR_MEMORY_INVALID,
			"'%.64s' is not a multiple of 2 MiB, or is zero; give for example 512M", s);
	*ret = value;
	return 0;

malformed:
	return popcorn_error_set(
		error, POPCORN_ERROR_MEMORY_INVALID,
		"'%.64s' is not a size of memory; give a number with K, M, G or T behind it, for "
		"example 512M",
		s);
}

static bool parse_cpu(const char **s, unsigned *ret)
{
	const char *p = *s;
	unsigned value = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		value = value * 10 + (unsigned)(*p - '0');
		if (value > CPU_INDEX_MAX)
			return false;
	}
	*s = p;
	*ret = value;
	return true;
}

static void bitmap_freep(hwloc_bitmap_t *set)
{
	hwloc_bitmap_free(*set);
}

int parse_cpus(const char *s, hwloc_bitmap_t *ret, struct popcorn_error *error)
{
	_cleanup_(bitmap_freep) hwloc_bitmap_t set = hwloc_bitmap_alloc();
	const char *p = s;

	if (!set)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	for (;;) {
		unsigned first, last;

		if (!parse_cpu(&p, &first))
			goto malformed;
		last = first;
		if (*p == '-') {
			p++;
			if (!parse_cpu(&p, &last) || last < first)
				goto malformed;
		}
		if (hwloc_bitmap_set_range(set, first, (int)last) < 0)
			return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
		if (!*p)
			break;
		if (*p++ != ',')
			goto malformed;
	}
	*ret = steal_ptr(set);
	return 0;

malformed:
	return popcorn_error_set(
		error, POPCORN_ERROR_INVALID_ARGUMENT,
		"'%.64s' is not a list of CPUs; give numbers and ranges, for example 2-3,7", s);
}

static int set_string(char **target, const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		return -ENOMEM;
	free(*target);
	*target = copy;
	return 0;
}

static int get_seconds(const struct parser *parser, const config_setting_t *setting,
		       const char *key, double *ret)
{
	double value;

	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		value = (double)config_setting_get_int64(setting);
		break;
	case CONFIG_TYPE_FLOAT:
		value = config_setting_get_float(setting);
		break;
	default:
		return bad(parser, setting, key, "give a number of seconds");
	}
	/* The negation also catches what is not a number at all. */
	if (!(value >= 0.1 && value <= TIMEOUT_MAX_SEC))
		return bad(parser, setting, key, "give a number of seconds from 0.1 to %d",
			   TIMEOUT_MAX_SEC);
	*ret = value;
	return 0;
}

static int get_memory(const struct parser *parser, const config_setting_t *setting, const char *key,
		      uint64_t *ret)
{
	struct popcorn_error inner = { 0 };
	char number[32];
	const char *s = number;

	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		snprintf(number, sizeof(number), "%lld", config_setting_get_int64(setting));
		break;
	case CONFIG_TYPE_STRING:
		s = config_setting_get_string(setting);
		break;
	default:
		return bad(parser, setting, key, "give a size, for example \"512M\"");
	}
	if (parse_memory(s, ret, &inner) < 0)
		return bad(parser, setting, key, "%s", inner.text);
	return 0;
}

static int get_cpus(const struct parser *parser, const config_setting_t *setting, const char *key,
		    hwloc_bitmap_t *target)
{
	struct popcorn_error inner = { 0 };
	hwloc_bitmap_t set;

	if (config_setting_type(setting) != CONFIG_TYPE_STRING)
		return bad(parser, setting, key, "give a list of CPUs, for example \"2-3,7\"");
	if (parse_cpus(config_setting_get_string(setting), &set, &inner) < 0)
		return bad(parser, setting, key, "%s", inner.text);
	hwloc_bitmap_free(*target);
	*target = set;
	return 0;
}

static int get_cpu_wish(const struct parser *parser, const config_setting_t *setting,
			const char *key, struct kernel_def *def)
{
	int type = config_setting_type(setting);
	long long count;

	if (type == CONFIG_TYPE_STRING)
		return get_cpus(parser, setting, key, &def->cpus);
	if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
		return bad(parser, setting, key, "give how many CPUs (2) or which ones (\"2-3\")");
	count = config_setting_get_int64(setting);
	if (count < 1 || count > POPCORN_CPUS_MAX)
		return bad(parser, setting, key, "a kernel has 1 to %d CPUs, not %lld",
			   POPCORN_CPUS_MAX, count);
	def->cpu_count = (unsigned)count;
	return 0;
}

static int set_key(const struct parser *parser, const config_setting_t *setting,
		   const struct key *key)
{
	void *target = (char *)parser->target + key->offset;
	const char *s = config_setting_get_string(setting);
	double seconds;
	int r;

	switch (key->kind) {
	case KIND_CPUS:
		return get_cpus(parser, setting, key->name, target);
	case KIND_CPU_WISH:
		return get_cpu_wish(parser, setting, key->name, parser->target);
	case KIND_MEMORY:
		return get_memory(parser, setting, key->name, target);
	case KIND_SECONDS:
		r = get_seconds(parser, setting, key->name, &seconds);
		if (r == 0)
			*(uint64_t *)target = (uint64_t)(seconds * (double)USEC_PER_SEC);
		return r;
	case KIND_SECONDS_MS:
		r = get_seconds(parser, setting, key->name, &seconds);
		if (r == 0)
			*(unsigned *)target = (unsigned)(seconds * 1000);
		return r;
	case KIND_STRING:
		if (!s)
			return bad(parser, setting, key->name, "give a text in quotes");
		break;
	case KIND_PATH:
		if (!s || s[0] != '/' || strlen(s) >= PATH_MAX)
			return bad(parser, setting, key->name, "give an absolute path in quotes");
		break;
	case KIND_BOOL:
		if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
			return bad(parser, setting, key->name, "give true or false");
		*(bool *)target = config_setting_get_bool(setting);
		return 0;
	case KIND_RESTART:
		if (!s || (strcmp(s, "no") != 0 && strcmp(s, "on-failure") != 0))
			return bad(parser, setting, key->name, "give \"no\" or \"on-failure\"");
		*(bool *)target = strcmp(s, "no") != 0;
		return 0;
	}
	if (set_string(target, s) < 0)
		return popcorn_error_set(parser->error, POPCORN_ERROR_NO_MEMORY, NULL);
	return 0;
}

/* How @name is known: as a key, or as the group that keys are in. */
static const struct key *find_key(const struct parser *parser, const char *name, bool *ret_group)
{
	size_t len = strlen(name);

	*ret_group = false;
	for (size_t i = 0; i < parser->n_keys; i++) {
		const struct key *key = &parser->keys[i];

		if (strcmp(key->name, name) == 0)
			return key;
		if (strncmp(key->name, name, len) == 0 && key->name[len] == '.')
			*ret_group = true;
	}
	return NULL;
}

static int walk(const struct parser *parser, const config_setting_t *group, const char *prefix,
		int depth)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
		const char *own = config_setting_name(setting);
		const struct key *key;
		char name[128];
		bool is_group;
		int r;

		if (!own || (size_t)snprintf(name, sizeof(name), "%s%s%s", prefix,
					     *prefix ? "." : "", own) >= sizeof(name))
			return bad(parser, setting, own ? own : prefix, "unknown key");
		key = find_key(parser, name, &is_group);
		if (key)
			r = set_key(parser, setting, key);
		else if (!is_group || depth >= CONFIG_DEPTH_MAX)
			r = bad(parser, setting, name, "unknown key; the manual page names all");
		else if (!config_setting_is_group(setting))
			r = bad(parser, setting, name, "is a group: write %s = { … };", name);
		else
			r = walk(parser, setting, name, depth + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

/* -ENOENT without an error: there is no such file. */
static int load(const char *path, const struct key *keys, size_t n_keys, void *target,
		struct popcorn_error *error)
{
	const struct parser parser = { path, keys, n_keys, target, error };
	_cleanup_free_ char *text = NULL;
	config_t parsed;
	void *data;
	size_t size;
	int r;

	/* Not config_read_file(): it would end the process when @path is a folder. */
	r = read_file(path, CONFIG_SIZE_MAX, &data, &size);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return popcorn_error_set(error, POPCORN_ERROR_CONFIG, "%s: can't be read: %s", path,
					 strerror(-r));
	text = data;
	if (strlen(text) != size)
		return popcorn_error_set(error, POPCORN_ERROR_CONFIG, "%s: is not a text file",
					 path);

	config_init(&parsed);
	if (config_read_string(&parsed, text) == CONFIG_TRUE)
		r = walk(&parser, config_root_setting(&parsed), "", 1);
	else
		r = popcorn_error_set(error, POPCORN_ERROR_CONFIG, "%s:%d: %s", path,
				      config_error_line(&parsed), config_error_text(&parsed));
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
		.fast_boot = true,
		.drop_caches = true,
	};
	if (asprintf(&config->default_image, "/boot/vmlinuz-%s", name.release) < 0)
		config->default_image = NULL;
	if (!config->primary_cpus || !config->default_image || !config->default_cmdline ||
	    !config->busybox || !config->agent || !config->modules || !config->cache)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);

	r = load(path ? path : POPCORN_CONFDIR "/popcornd.conf", config_keys,
		 ARRAY_SIZE(config_keys), config, error);
	if (r < 0 && r != -ENOENT)
		return r;
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
	free(config->busybox);
	free(config->agent);
	free(config->modules);
	free(config->cache);
	free(config);
	return NULL;
}

static bool name_char(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (!first && (c == '_' || c == '.' || c == '-'));
}

int kernel_name_check(const char *name, struct popcorn_error *error)
{
	size_t len = strlen(name);
	bool ok = len > 0 && len < POPCORN_NAME_MAX;

	for (size_t i = 0; ok && i < len; i++)
		ok = name_char(name[i], i == 0);
	if (ok)
		return 0;
	/* Shown only as far as it is printable: it may be anything. */
	return popcorn_error_set(
		error, POPCORN_ERROR_INVALID_NAME,
		"a name of %zu characters was given that is not one for a kernel: 1 to %d of "
		"A-Z a-z 0-9 _ . -, beginning with a letter or digit",
		len, POPCORN_NAME_MAX - 1);
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
	r = load(path, kernel_keys, ARRAY_SIZE(kernel_keys), def, error);
	if (r == -ENOENT)
		return popcorn_error_set(error, POPCORN_ERROR_NO_SUCH_KERNEL,
					 "kernel '%s' has no definition: %s is not there", name,
					 path);
	if (r < 0)
		return r;
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
	hwloc_bitmap_free(def->cpus);
	free(def);
	return NULL;
}

int kernel_def_copy(const struct kernel_def *def, struct kernel_def **ret)
{
	_cleanup_(kernel_def_freep) struct kernel_def *copy = malloc(sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	*copy = *def;
	copy->image = def->image ? strdup(def->image) : NULL;
	copy->initrd = def->initrd ? strdup(def->initrd) : NULL;
	copy->cmdline = def->cmdline ? strdup(def->cmdline) : NULL;
	copy->cpus = def->cpus ? hwloc_bitmap_dup(def->cpus) : NULL;
	if (!copy->image != !def->image || !copy->initrd != !def->initrd ||
	    !copy->cmdline != !def->cmdline || !copy->cpus != !def->cpus)
		return -ENOMEM;
	*ret = steal_ptr(copy);
	return 0;
}
