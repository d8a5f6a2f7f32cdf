// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "sysfs.h"
#include "topology.h"
#include "util.h"

/* ACPI 6.4, 5.2.17. */
#define DISTANCE_LOCAL 10
#define DISTANCE_REMOTE 20
#define DISTANCE_MAX 254

/* The XML format that hwloc 2 reads and writes. */
#define XML_MAJOR (HWLOC_API_VERSION >> 16)

/* 4096 CPUs with some 1.5 KiB each. */
#define CPUINFO_MAX (64U << 20)

/* What the child that tries a description may use of memory and time; 64 MiB of XML need 1 GiB. */
#define TRIAL_MEMORY (UINT64_C(3) << 30)
#ifndef TRIAL_SECONDS /* the fuzzer has less patience */
#define TRIAL_SECONDS 30
#endif

/* AddressSanitizer's shadow is larger than any limit. gcc and clang have their ways to tell. */
#if defined(__SANITIZE_ADDRESS__)
#define WITH_SANITIZER true
#elif defined(__has_feature)
#define WITH_SANITIZER __has_feature(address_sanitizer)
#else
#define WITH_SANITIZER false
#endif

#define SYNTHETIC_LENGTH_MAX 4096
/* hwloc's time grows with the square where a level is wide. Twice what a driver can lend. */
#define SYNTHETIC_CPUS_MAX 8192

struct topology {
	char *name;
	bool live;
	hwloc_topology_t hwloc;
	struct hwloc_distances_s *distances; /* or NULL */
	char **warnings;
	size_t n_warnings;
	struct topology *older; /* knows CPUs that this one does not; or NULL */
	struct topology *now;	/* of a later time, when fewer CPUs were online; or NULL */
};

static void topology_freep(struct topology **topology)
{
	topology_free(*topology);
}

extern char **environ;

/* Looks before every load, and changes only what is not so yet: that is once, before there are threads. */
static void clear_environment(void)
{
	/*
	 * HIDE_ERRORS: what it would print goes to nobody; machine_new() looks for itself what is
	 * odd. LIBXML: one parser on all machines, whether hwloc's plugins are installed or not.
	 */
	static const char *const ours[] = { "HWLOC_HIDE_ERRORS=2", "HWLOC_LIBXML=0" };
	bool found[ARRAY_SIZE(ours)] = { 0 };
	char name[256];
	char **p = environ;

	while (p && *p) {
		size_t len = strcspn(*p, "=");
		bool keep = strncmp(*p, "HWLOC_", 6) != 0 || len >= sizeof(name);

		for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
			if (strcmp(*p, ours[i]) == 0)
				keep = found[i] = true;
		if (keep) {
			p++;
			continue;
		}
		memcpy(name, *p, len);
		name[len] = '\0';
		unsetenv(name);
		p = environ;
	}
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (!found[i])
			putenv((char *)(uintptr_t)ours[i]);
}

__attribute__((format(printf, 2, 3))) static int add_warning(struct topology *topology,
							     const char *format, ...)
{
	char **warnings = realloc(topology->warnings,
				  (topology->n_warnings + 1) * sizeof(*topology->warnings));
	va_list ap;
	char *text;
	int r;

	if (!warnings)
		return -ENOMEM;
	topology->warnings = warnings;
	va_start(ap, format);
	r = vasprintf(&text, format, ap);
	va_end(ap);
	if (r < 0)
		return -ENOMEM;
	topology->warnings[topology->n_warnings++] = text;
	return 0;
}

static int set_filters(hwloc_topology_t hwloc)
{
	static const hwloc_obj_type_t ignored[] = { HWLOC_OBJ_L1ICACHE, HWLOC_OBJ_L2ICACHE,
						    HWLOC_OBJ_L3ICACHE, HWLOC_OBJ_MISC,
						    HWLOC_OBJ_MEMCACHE };

	if (hwloc_topology_set_all_types_filter(hwloc, HWLOC_TYPE_FILTER_KEEP_ALL) < 0)
		return -EIO;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (hwloc_topology_set_type_filter(hwloc, ignored[i], HWLOC_TYPE_FILTER_KEEP_NONE) <
		    0)
			return -EIO;
	if (hwloc_topology_set_type_filter(hwloc, HWLOC_OBJ_GROUP,
					   HWLOC_TYPE_FILTER_KEEP_STRUCTURE) < 0)
		return -EIO;
	/*
	 * INCLUDE_DISALLOWED: what this process may use does not matter. DONT_CHANGE_BINDING: hwloc
	 * would move this thread from CPU to CPU to ask each one.
	 */
	if (hwloc_topology_set_flags(hwloc, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED |
						    HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING) < 0)
		return -EIO;
	return 0;
}

static int topology_new(const char *name, struct topology **ret)
{
	_cleanup_(topology_freep) struct topology *topology = calloc(1, sizeof(*topology));
	int r;

	if (!topology)
		return -ENOMEM;
	topology->name = strdup(name);
	if (!topology->name || hwloc_topology_init(&topology->hwloc) < 0)
		return -ENOMEM;
	r = set_filters(topology->hwloc);
	if (r < 0)
		return r;
	*ret = steal_ptr(topology);
	return 0;
}

static int finish_load(struct topology *topology)
{
	unsigned n = 1;

	if (hwloc_topology_load(topology->hwloc) < 0)
		return -EIO;
	if (hwloc_distances_get_by_name(topology->hwloc, "NUMALatency", &n, &topology->distances,
					0) < 0 ||
	    n == 0)
		topology->distances = NULL;
	return 0;
}

/* "apicid" of each "processor" of /proc/cpuinfo; not there on other architectures and in tests. */
static int add_apicids(struct topology *topology, const char *root)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	hwloc_obj_t pu = NULL;
	size_t size;
	void *data;
	int r;

	if (asprintf(&path, "%s/proc/cpuinfo", root) < 0)
		return -ENOMEM;
	r = read_file(path, CPUINFO_MAX, &data, &size);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return 0;
	text = data;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned number;

		if (sscanf(line, "processor : %u", &number) == 1)
			pu = hwloc_get_pu_obj_by_os_index(topology->hwloc, number);
		else if (pu && sscanf(line, "apicid : %u", &number) == 1) {
			char value[16];

			snprintf(value, sizeof(value), "%u", number);
			if (hwloc_obj_add_info(pu, TOPOLOGY_INFO_APICID, value) < 0)
				return -ENOMEM;
			pu = NULL;
		}
	}
	return 0;
}

static int add_drivers(struct topology *topology, const char *root)
{
	hwloc_obj_t device = NULL;

	while ((device = hwloc_get_next_pcidev(topology->hwloc, device))) {
		const struct hwloc_pcidev_attr_s *pci = &device->attr->pcidev;
		char path[PATH_MAX], target[PATH_MAX], *slash;
		ssize_t n;

		if ((size_t)snprintf(path, sizeof(path),
				     "%s/sys/bus/pci/devices/%04x:%02x:%02x.%x/driver", root,
				     (unsigned)pci->domain, pci->bus, pci->dev,
				     pci->func) >= sizeof(path))
			return -ENAMETOOLONG;
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0) /* no driver */
			continue;
		target[n] = '\0';
		slash = strrchr(target, '/');
		if (hwloc_obj_add_info(device, TOPOLOGY_INFO_DRIVER, slash ? slash + 1 : target) <
		    0)
			return -ENOMEM;
	}
	return 0;
}

/*
 * hwloc drops what contradicts itself (with a long text to stderr, which nobody would see): a node
 * that Linux knows and hwloc does not is the sign of that.
 */
static int look_for_dropped(struct topology *topology, const char *root)
{
	hwloc_bitmap_t nodes;
	int r;

	r = sysfs_read_list(root, &nodes, "/sys/devices/system/node/online");
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	for (int node = hwloc_bitmap_first(nodes); r == 0 && node >= 0;
	     node = hwloc_bitmap_next(nodes, node))
		if (!hwloc_get_numanode_obj_by_os_index(topology->hwloc, (unsigned)node))
			r = add_warning(
				topology,
				"Linux knows node %d, but what the firmware says of it "
				"contradicts the rest of the machine, so that hwloc left it "
				"out; its CPUs and memory are not used",
				node);
	hwloc_bitmap_free(nodes);
	return r;
}

/* Without the drivers, which may change while CPUs are away. */
static int load_bare(const char *root, struct topology **ret)
{
	_cleanup_(topology_freep) struct topology *topology = NULL;
	int r;

	/* Before FSROOT is set, which it would clear. */
	clear_environment();
	/* hwloc has no other way to look at a copy of /sys; only tests have one. */
	if (*root)
		setenv("HWLOC_FSROOT", root, 1);
	r = topology_new("this machine", &topology);
	if (r == 0)
		r = finish_load(topology);
	if (*root)
		unsetenv("HWLOC_FSROOT");
	if (r == 0)
		r = add_apicids(topology, root);
	if (r == 0)
		r = look_for_dropped(topology, root);
	if (r < 0)
		return r;
	topology->live = true;
	*ret = steal_ptr(topology);
	return 0;
}

int topology_load(const char *root, struct topology **ret)
{
	_cleanup_(topology_freep) struct topology *topology = NULL;
	int r;

	r = load_bare(root, &topology);
	if (r == 0)
		r = add_drivers(topology, root);
	if (r < 0)
		return r;
	*ret = steal_ptr(topology);
	return 0;
}

/* The format's version is checked here, because hwloc says "invalid" to everything. */
static int check_head(const char *name, const char *text, size_t size, struct popcorn_error *error)
{
	const char *head, *version, *end;
	unsigned major, minor;

	if (memchr(text, '\0', size) || !(head = strstr(text, "<topology")))
		return popcorn_error_set(
			error, POPCORN_ERROR_TOPOLOGY,
			"%s: is not a description of a machine in hwloc's XML; make one there with "
			"'lstopo FILE.xml'",
			name);
	end = strchr(head, '>');
	version = strstr(head, "version=\"");
	if (end && version && version < end &&
	    sscanf(version, "version=\"%u.%u\"", &major, &minor) == 2 && major > XML_MAJOR)
		return popcorn_error_set(
			error, POPCORN_ERROR_TOPOLOGY,
			"%s: is in version %u.%u of hwloc's XML, and hwloc %u reads up to %u.x; "
			"make it again with 'lstopo --export-xml-flags v%u FILE.xml'",
			name, major, minor, XML_MAJOR, XML_MAJOR, XML_MAJOR);
	return 0;
}

/*
 * Threads and nodes need a number, and not just any: hwloc takes 2^32 - 1 where there is none, and a
 * set with that has 512 MiB.
 */
static bool has_numbers(const char *text)
{
	static const char *const types[] = { "type=\"PU\"", "type=\"NUMANode\"" };
	static const char number[] = " os_index=\"";
	const char *end;

	for (const char *p = text; (p = strstr(p, "<object ")); p = end) {
		const char *at;
		bool wants = false;

		end = strchr(p, '>');
		if (!end)
			return true; /* cut off: hwloc says so */
		for (size_t i = 0; i < ARRAY_SIZE(types); i++)
			wants |= memmem(p, (size_t)(end - p), types[i], strlen(types[i])) != NULL;
		at = memmem(p, (size_t)(end - p), number, sizeof(number) - 1);
		if (wants &&
		    (!at || strtoull(at + sizeof(number) - 1, NULL, 10) >= TOPOLOGY_CPUS_MAX))
			return false;
	}
	return true;
}

static int bad_xml(const char *name, struct popcorn_error *error)
{
	return popcorn_error_set(error, POPCORN_ERROR_TOPOLOGY,
				 "%s: hwloc can't read it: it is damaged, cut off, or was changed "
				 "by hand; make it again with 'lstopo FILE.xml'",
				 name);
}

/* What hwloc does not check before it is used. */
static int check_tree(const struct topology *topology)
{
	hwloc_obj_t root = hwloc_get_root_obj(topology->hwloc);

	/* "0xf...f" is endless: every walk over it would be. */
	if (hwloc_bitmap_weight(root->cpuset) < 0 ||
	    hwloc_bitmap_weight(root->complete_cpuset) < 0 ||
	    hwloc_bitmap_weight(root->nodeset) < 0 ||
	    hwloc_bitmap_last(root->complete_cpuset) >= TOPOLOGY_CPUS_MAX ||
	    hwloc_bitmap_last(root->cpuset) >= TOPOLOGY_CPUS_MAX)
		return -EINVAL;
	return 0;
}

static int xml_here(const char *name, const char *text, size_t size, struct topology **ret,
		    struct popcorn_error *error)
{
	_cleanup_(topology_freep) struct topology *topology = NULL;
	_cleanup_free_ char *copy = NULL;
	int r;

	if (size > TOPOLOGY_XML_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_TOPOLOGY,
					 "%s: has more than %u MiB; no machine needs that many",
					 name, TOPOLOGY_XML_MAX >> 20);
	copy = malloc(size + 1);
	if (!copy)
		return no_memory(error);
	memcpy(copy, text, size);
	copy[size] = '\0';
	r = check_head(name, copy, size, error);
	if (r < 0)
		return r;
	clear_environment();
	r = topology_new(name, &topology);
	if (r < 0)
		return popcorn_error_set_errno(error, r, "hwloc can't be used");
	if (!has_numbers(copy) ||
	    hwloc_topology_set_xmlbuffer(topology->hwloc, copy, (int)size + 1) < 0 ||
	    finish_load(topology) < 0 || check_tree(topology) < 0)
		return bad_xml(name, error);
	*ret = steal_ptr(topology);
	return 0;
}

/*
 * hwloc 2.9 adds a NUMA node where a description has none, and copies its levels over each other with
 * memcpy() for that. So it is added here, of the same size.
 */
static char *with_node(const char *description)
{
	bool has = strcasestr(description, "node") || strcasestr(description, "numa");
	/* "2 2", without types, gets nodes in another way. */
	bool typed = strchr(description, ':') || !strpbrk(description, " \t");
	char *text;

	if (has || !typed || !*description)
		return strdup(description);
	return asprintf(&text, "[numa(memory=1GiB)] %s", description) < 0 ? NULL : text;
}

static int synthetic_here(const char *description, struct topology **ret,
			  struct popcorn_error *error)
{
	_cleanup_(topology_freep) struct topology *topology = NULL;
	_cleanup_free_ char *text = with_node(description);
	int r;

	if (!text)
		return no_memory(error);
	clear_environment();
	r = topology_new(description, &topology);
	if (r < 0)
		return popcorn_error_set_errno(error, r, "hwloc can't be used");
	if (hwloc_topology_set_synthetic(topology->hwloc, text) < 0 || finish_load(topology) < 0 ||
	    check_tree(topology) < 0)
		return popcorn_error_set(
			error, POPCORN_ERROR_TOPOLOGY,
			"'%.200s' is not a description of a machine; give levels with their "
			"number, the last of them pu, for example 'package:2 node:2(memory=16GiB) "
			"core:4 pu:2'",
			description);
	*ret = steal_ptr(topology);
	return 0;
}

/* Exit codes of the child. Sanitizers (1, 77) and the loader (127) have others. */
#define TRIAL_GOOD 0
#define TRIAL_REFUSED 3

static void limit(int resource, rlim_t value)
{
	const struct rlimit limits = { value, value };

	setrlimit(resource, &limits);
}

/* In the child. @text NULL: @name is a synthetic description. */
static int try_here(const char *name, const char *text, size_t size, struct popcorn_error *error)
{
	struct topology *topology = NULL;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int r;

	if (fd >= 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_CPU, TRIAL_SECONDS);
	if (!WITH_SANITIZER)
		limit(RLIMIT_AS, TRIAL_MEMORY);
	r = text ? xml_here(name, text, size, &topology, error)
		 : synthetic_here(name, &topology, error);
	topology_free(topology);
	return r < 0 ? TRIAL_REFUSED : TRIAL_GOOD;
}

static int read_trial(const char *name, int status, const struct popcorn_error *why,
		      struct popcorn_error *error)
{
	int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (WIFEXITED(status) && WEXITSTATUS(status) == TRIAL_GOOD)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == TRIAL_REFUSED && why->id)
		return popcorn_error_set(error, why->id, "%s", why->text);
	return popcorn_error_set(
		error, POPCORN_ERROR_TOPOLOGY,
		"%.200s: can't be used: hwloc %s when it read it; make it again "
		"with 'lstopo FILE.xml'",
		name, signal == SIGXCPU || signal == SIGKILL ? "took too long" : "crashed");
}

/* Lets a child try it, which may crash, or use up its memory or time. */
static int try_in_child(const char *name, const char *text, size_t size,
			struct popcorn_error *error)
{
	struct popcorn_error *why;
	int status, r = 0;
	pid_t pid;

	why = mmap(NULL, sizeof(*why), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (why == MAP_FAILED)
		return no_memory(error);
	pid = fork();
	if (pid == 0)
		_exit(try_here(name, text, size, why));
	if (pid < 0)
		r = popcorn_error_set_errno(error, errno, "can't start a process");
	while (r == 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			r = popcorn_error_set_errno(error, errno, "can't wait for a process");
	if (r == 0)
		r = read_trial(name, status, why, error);
	munmap(why, sizeof(*why));
	return r;
}

int topology_parse_xml(const char *name, const char *text, size_t size, struct topology **ret,
		       struct popcorn_error *error)
{
	int r = try_in_child(name, text, size, error);

	return r < 0 ? r : xml_here(name, text, size, ret, error);
}

/* The file's own name, without its folders, is what a plan calls the machine. */
int topology_load_xml(const char *path, struct topology **ret, struct popcorn_error *error)
{
	_cleanup_free_ void *text = NULL;
	const char *slash = strrchr(path, '/');
	size_t size;
	int r;

	r = read_file(path, TOPOLOGY_XML_MAX, &text, &size);
	if (r == -EFBIG)
		return popcorn_error_set(error, POPCORN_ERROR_TOPOLOGY,
					 "%s: has more than %u MiB; no machine needs that many",
					 path, TOPOLOGY_XML_MAX >> 20);
	if (r == -ENODEV)
		return popcorn_error_set(error, POPCORN_ERROR_TOPOLOGY,
					 "%s: is not a regular file; give a file that 'lstopo "
					 "FILE.xml' made",
					 path);
	if (r < 0)
		return popcorn_error_set(error, POPCORN_ERROR_TOPOLOGY,
					 "%s: can't be read: %s; give a file that 'lstopo "
					 "FILE.xml' made",
					 path, strerror(-r));
	r = topology_parse_xml(path, text, size, ret, error);
	if (r < 0)
		return r;
	if (slash) {
		char *name = strdup(slash + 1);

		if (!name) {
			*ret = topology_free(*ret);
			return no_memory(error);
		}
		free((*ret)->name);
		(*ret)->name = name;
	}
	return 0;
}

/*
 * How many objects @s would make, at most: hwloc would make them all, and only memory ends that.
 * A level is "TYPE:N" or "N", with attributes in brackets; those in [] hang below one.
 */
static bool synthetic_is_small(const char *s)
{
	unsigned long long product = 1;
	int depth = 0;

	if (strlen(s) > SYNTHETIC_LENGTH_MAX)
		return false;
	for (const char *p = s; *p; p++) {
		bool start = p == s || isspace((unsigned char)p[-1]) || p[-1] == ':';

		depth += (*p == '(') - (*p == ')');
		if (depth == 0 && start && isdigit((unsigned char)*p)) {
			unsigned long long n = strtoull(p, (char **)&p, 0);

			p--;
			if (n > SYNTHETIC_CPUS_MAX)
				return false;
			product *= n ? n : 1;
			if (product > SYNTHETIC_CPUS_MAX)
				return false;
		}
	}
	return true;
}

int topology_load_synthetic(const char *description, struct topology **ret,
			    struct popcorn_error *error)
{
	int r;

	if (!synthetic_is_small(description))
		return popcorn_error_set(error, POPCORN_ERROR_TOPOLOGY,
					 "'%.200s' describes a machine of more than %d CPUs; give "
					 "smaller numbers",
					 description, SYNTHETIC_CPUS_MAX);
	r = try_in_child(description, NULL, 0, error);
	return r < 0 ? r : synthetic_here(description, ret, error);
}

int topology_export_xml(const struct topology *topology, char **ret, struct popcorn_error *error)
{
	char *text, *copy;
	int size;

	if (hwloc_topology_export_xmlbuffer(topology->hwloc, &text, &size, 0) < 0)
		return popcorn_error_set_errno(error, errno,
					       "hwloc can't write the machine's description");
	copy = strndup(text, (size_t)size);
	hwloc_free_xmlbuffer(topology->hwloc, text);
	if (!copy)
		return no_memory(error);
	*ret = copy;
	return 0;
}

/* Written aside and renamed: what is there is always whole. Two threads may do it at once. */
static int save(const struct topology *topology, const char *path, struct popcorn_error *error)
{
	_cleanup_free_ char *aside = NULL, *text = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	int fd, r;

	if (asprintf(&aside, "%s.XXXXXX", path) < 0) {
		aside = NULL;
		return no_memory(error);
	}
	r = topology_export_xml(topology, &text, error);
	if (r < 0)
		return r;
	fd = mkostemp(aside, O_CLOEXEC);
	if (fd < 0)
		return popcorn_error_set_errno(error, errno, "can't write %s", path);
	f = fdopen(fd, "w");
	if (!f)
		close(fd);
	if (!f || fputs(text, f) < 0 || fflush(f) != 0 || rename(aside, path) < 0) {
		r = -errno;
		unlink(aside);
		return popcorn_error_set_errno(error, r, "can't write %s", path);
	}
	return 0;
}

static hwloc_const_cpuset_t cpus_of(const struct topology *topology)
{
	return hwloc_topology_get_topology_cpuset(topology->hwloc);
}

/* One that can't be read is as good as none: it is written anew. */
static int load_saved(const char *path, struct topology **ret)
{
	_cleanup_free_ void *text = NULL;
	size_t size;
	int r;

	r = read_file(path, TOPOLOGY_XML_MAX, &text, &size);
	if (r == 0)
		r = xml_here("this machine", text, size, ret, NULL);
	if (r == 0)
		(*ret)->live = true;
	return r;
}

int topology_load_live(const char *root, const char *run, struct topology **ret,
		       struct popcorn_error *error)
{
	_cleanup_(topology_freep) struct topology *fresh = NULL, *saved = NULL;
	_cleanup_free_ char *path = NULL;
	int r;

	if (asprintf(&path, "%s/topology.xml", run) < 0) {
		path = NULL;
		return no_memory(error);
	}
	r = load_bare(root, &fresh);
	if (r < 0)
		return popcorn_error_set_errno(error, r, "the machine's topology can't be read");
	r = load_saved(path, &saved);
	if (r == -ENOMEM)
		return no_memory(error);
	r = 0;
	if (saved && hwloc_bitmap_isincluded(cpus_of(fresh), cpus_of(saved)) &&
	    !hwloc_bitmap_isequal(cpus_of(fresh), cpus_of(saved))) {
		saved->now = steal_ptr(fresh);
		r = add_drivers(saved->now, root);
		fresh = steal_ptr(saved);
	} else if (saved && !hwloc_bitmap_isincluded(cpus_of(saved), cpus_of(fresh))) {
		/* The file stays: it is the only one that knows where the CPUs are that are away. */
		fresh->older = steal_ptr(saved);
	} else if (!saved || !hwloc_bitmap_isequal(cpus_of(fresh), cpus_of(saved))) {
		struct popcorn_error inner = { 0 };

		/* All goes on without; only a restart while CPUs are lent would not know them. */
		if (save(fresh, path, &inner) < 0 && add_warning(fresh, "%s", inner.text) < 0)
			return no_memory(error);
	}
	if (r == 0)
		r = add_drivers(fresh, root);
	if (r < 0)
		return popcorn_error_set_errno(error, r, "the machine's devices can't be read");
	*ret = steal_ptr(fresh);
	return 0;
}

struct topology *topology_free(struct topology *topology)
{
	if (!topology)
		return NULL;
	if (topology->distances)
		hwloc_distances_release(topology->hwloc, topology->distances);
	if (topology->hwloc)
		hwloc_topology_destroy(topology->hwloc);
	for (size_t i = 0; i < topology->n_warnings; i++)
		free(topology->warnings[i]);
	free(topology->warnings);
	free(topology->name);
	topology_free(topology->older);
	topology_free(topology->now);
	free(topology);
	return NULL;
}

hwloc_topology_t topology_hwloc(const struct topology *topology)
{
	return topology->hwloc;
}

const struct topology *topology_now(const struct topology *topology)
{
	return topology->now ? topology->now : topology;
}

const char *topology_name(const struct topology *topology)
{
	return topology->name;
}

bool topology_is_live(const struct topology *topology)
{
	return topology->live;
}

const char *const *topology_warnings(const struct topology *topology, size_t *ret_n)
{
	if (topology->now)
		return topology_warnings(topology->now, ret_n);
	*ret_n = topology->n_warnings;
	return (const char *const *)topology->warnings;
}

bool topology_covers(const struct topology *topology, hwloc_const_bitmap_t cpus)
{
	return hwloc_bitmap_isincluded(cpus, cpus_of(topology));
}

unsigned topology_node(const struct topology *topology, unsigned cpu)
{
	hwloc_obj_t node = NULL;

	while ((node = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE, node)))
		if (hwloc_bitmap_isset(node->cpuset, cpu))
			return node->os_index;
	return topology->older ? topology_node(topology->older, cpu) : 0;
}

uint8_t topology_distance(const struct topology *topology, unsigned from, unsigned to)
{
	struct hwloc_distances_s *d = topology->distances;
	unsigned row, column;
	hwloc_uint64_t value;

	if (from == to)
		return DISTANCE_LOCAL;
	if (!d)
		return DISTANCE_REMOTE;
	for (row = 0; row < d->nbobjs && d->objs[row]->os_index != from; row++)
		;
	for (column = 0; column < d->nbobjs && d->objs[column]->os_index != to; column++)
		;
	if (row == d->nbobjs || column == d->nbobjs)
		return DISTANCE_REMOTE;
	value = d->values[row * d->nbobjs + column];
	/* A SLIT that says that another node is as near as the own one is refused by Linux. */
	if (value <= DISTANCE_LOCAL || value > DISTANCE_MAX)
		return DISTANCE_REMOTE;
	return (uint8_t)value;
}

/* A possible choice, and what is good about it. */
struct choice {
	hwloc_bitmap_t cpus;
	unsigned shared; /* cores of which a part stays with somebody else */
	unsigned left;	 /* free CPUs that stay in the domain */
};

/* Adds CPUs of @from to @choice until it has @n. */
static int add_some(hwloc_bitmap_t choice, hwloc_const_bitmap_t from, unsigned n)
{
	int missing = (int)n - hwloc_bitmap_weight(choice);

	for (int cpu = hwloc_bitmap_first(from); cpu >= 0 && missing > 0;
	     cpu = hwloc_bitmap_next(from, cpu)) {
		if (hwloc_bitmap_isset(choice, (unsigned)cpu))
			continue;
		if (hwloc_bitmap_set(choice, (unsigned)cpu) < 0)
			return -ENOMEM;
		missing--;
	}
	return 0;
}

static void bitmap_freep(hwloc_bitmap_t *set)
{
	hwloc_bitmap_free(*set);
}

/*
 * @n of @free, in one domain. Three rounds over its cores, from the highest down, because the
 * primary's own work tends to be on the lowest: whole cores as long as they fit; the rest of cores
 * that are divided already; last a piece of a whole core, which is then divided.
 */
static int choose_in(hwloc_topology_t hwloc, hwloc_const_bitmap_t free, unsigned n,
		     struct choice *ret)
{
	_cleanup_(bitmap_freep) hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
	_cleanup_(bitmap_freep) hwloc_bitmap_t part = hwloc_bitmap_alloc();
	/* Without cores in the topology each CPU counts as one. */
	hwloc_obj_type_t type =
		hwloc_get_nbobjs_by_type(hwloc, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
	unsigned shared = 0;

	if (!cpus || !part)
		return -ENOMEM;
	for (int round = 0; round < 3; round++) {
		for (int i = hwloc_get_nbobjs_by_type(hwloc, type) - 1; i >= 0; i--) {
			hwloc_obj_t core = hwloc_get_obj_by_type(hwloc, type, (unsigned)i);
			int missing = (int)n - hwloc_bitmap_weight(cpus);
			bool whole;

			if (missing == 0)
				break;
			if (!hwloc_bitmap_intersects(core->cpuset, free) ||
			    hwloc_bitmap_intersects(core->cpuset, cpus))
				continue;
			whole = hwloc_bitmap_isincluded(core->cpuset, free);
			if (whole != (round != 1) ||
			    (round == 0 && hwloc_bitmap_weight(core->cpuset) > missing))
				continue;
			if (hwloc_bitmap_and(part, core->cpuset, free) < 0 ||
			    add_some(cpus, part, n) < 0)
				return -ENOMEM;
			shared += round > 0;
		}
	}
	/* The other part of a divided core may be in no core that hwloc knows. */
	if (add_some(cpus, free, n) < 0)
		return -ENOMEM;
	ret->left = (unsigned)hwloc_bitmap_weight(free) - n;
	ret->shared = shared;
	ret->cpus = steal_ptr(cpus);
	return 0;
}

static bool has_memory(hwloc_const_nodeset_t nodes, const uint64_t *node_memory, size_t n_nodes,
		       uint64_t memory)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n_nodes; i++)
		if (hwloc_bitmap_isset(nodes, (unsigned)i))
			sum += node_memory[i];
	return sum >= memory;
}

int topology_choose(const struct topology *topology, hwloc_const_bitmap_t free, unsigned n,
		    const uint64_t *node_memory, size_t n_nodes, uint64_t memory,
		    hwloc_bitmap_t *ret)
{
	static const hwloc_obj_type_t levels[] = { HWLOC_OBJ_L3CACHE, HWLOC_OBJ_NUMANODE,
						   HWLOC_OBJ_PACKAGE, HWLOC_OBJ_MACHINE };
	_cleanup_(bitmap_freep) hwloc_bitmap_t here = hwloc_bitmap_alloc();
	_cleanup_(bitmap_freep) hwloc_bitmap_t best = NULL;
	unsigned best_shared = 0, best_left = 0;
	hwloc_topology_t hwloc = topology->hwloc;

	if (!here)
		return -ENOMEM;
	if (hwloc_bitmap_weight(free) < (int)n)
		return -ENOSPC;
	/*
	 * Whole cores matter most, then how near the CPUs are to each other and to enough memory;
	 * of equals the domain is taken that has the least left over, so that the large ones stay
	 * whole for whoever needs them. Levels go from near to far: a farther one replaces a nearer
	 * one only for the sake of whole cores.
	 */
	for (size_t level = 0; level < ARRAY_SIZE(levels); level++) {
		bool from_this_level = false;
		hwloc_obj_t domain = NULL;

		while ((domain = hwloc_get_next_obj_by_type(hwloc, levels[level], domain))) {
			struct choice choice;
			int r;

			if (levels[level] != HWLOC_OBJ_MACHINE &&
			    !has_memory(domain->nodeset, node_memory, n_nodes, memory))
				continue;
			if (hwloc_bitmap_and(here, domain->cpuset, free) < 0)
				return -ENOMEM;
			if (hwloc_bitmap_weight(here) < (int)n)
				continue;
			r = choose_in(hwloc, here, n, &choice);
			if (r < 0)
				return r;
			if (!best || choice.shared < best_shared ||
			    (from_this_level && choice.shared == best_shared &&
			     choice.left <= best_left)) {
				hwloc_bitmap_free(best);
				best = choice.cpus;
				best_shared = choice.shared;
				best_left = choice.left;
				from_this_level = true;
			} else {
				hwloc_bitmap_free(choice.cpus);
			}
		}
	}
	if (!best)
		return -ENOSPC;
	*ret = steal_ptr(best);
	return 0;
}
