// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "draw.h"
#include "output.h"
#include "topology.h"
#include "util.h"

/* More would be a page of text below the picture, in which all have their names anyway. */
#define LEGEND_MAX 256
/* Up to so many have a line of their own; more share lines of this length. */
#define LEGEND_LINES 16
#define LEGEND_LENGTH 120

/*
 * Okabe and Ito, "Color Universal Design" (2008): told apart by all kinds of eyes. Without black
 * and grey; the lighter ones are the same mixed with white, for the kernels after the seventh.
 */
static const struct {
	const char *background, *text;
} palette[] = {
	{ "#56b4e9", "#000000" }, { "#e69f00", "#000000" }, { "#009e73", "#ffffff" },
	{ "#f0e442", "#000000" }, { "#cc79a7", "#000000" }, { "#0072b2", "#ffffff" },
	{ "#d55e00", "#ffffff" }, { "#bbe1f6", "#000000" }, { "#f5d999", "#000000" },
	{ "#99d8c7", "#000000" }, { "#f9f4b3", "#000000" }, { "#ebc9dc", "#000000" },
	{ "#99c7e0", "#000000" }, { "#eebf99", "#000000" },
};
#define NR_COLORS (sizeof(palette) / sizeof(palette[0]))

static const struct format {
	const char *suffix, *lstopo;
} formats[] = {
	{ "svg", "svg" },
	{ "png", "png" },
	{ "pdf", "pdf" },
	{ "txt", "ascii" },
};

struct drawing {
	hwloc_topology_t hwloc;
	const struct drawing_kernel *kernels;
	size_t n;
	/* By number of the CPU: index in kernels, or -1. */
	int *owners;
	int n_owners;
};

static const struct format *find_format(const char *file)
{
	const char *dot = strrchr(file, '.');

	for (size_t i = 0; dot && i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcasecmp(dot + 1, formats[i].suffix) == 0)
			return &formats[i];
	return NULL;
}

const char *drawing_format(const char *file)
{
	const struct format *format = find_format(file);

	return format ? format->suffix : NULL;
}

/* hwloc.h, "Modifying a loaded topology": a string that hwloc frees. */
static void set_name(hwloc_obj_t object, char *name)
{
	free(object->subtype);
	object->subtype = name;
}

static int set_color(hwloc_obj_t object, size_t kernel)
{
	char style[64];

	snprintf(style, sizeof(style), "Background=%s;Text=%s",
		 palette[kernel % NR_COLORS].background, palette[kernel % NR_COLORS].text);
	return hwloc_obj_add_info(object, "lstopoStyle", style) < 0 ? -ENOMEM : 0;
}

/* Whose all CPUs of @object are; -1: the primary's, or several's. */
static int sole_owner(const struct drawing *drawing, hwloc_obj_t object)
{
	int owner = -1;

	for (int cpu = hwloc_bitmap_first(object->cpuset); cpu >= 0;
	     cpu = hwloc_bitmap_next(object->cpuset, cpu)) {
		int its = cpu < drawing->n_owners ? drawing->owners[cpu] : -1;

		if (its < 0 || (owner >= 0 && its != owner))
			return -1;
		owner = its;
	}
	return owner;
}

static int mark_cpus(const struct drawing *drawing)
{
	static const hwloc_obj_type_t types[] = { HWLOC_OBJ_PU, HWLOC_OBJ_CORE, HWLOC_OBJ_L3CACHE };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		hwloc_obj_t object = NULL;

		while ((object = hwloc_get_next_obj_by_type(drawing->hwloc, types[i], object))) {
			int owner = sole_owner(drawing, object);

			if (types[i] == HWLOC_OBJ_PU)
				set_name(object, xstrdup(owner < 0 ? "primary"
								   : drawing->kernels[owner].name));
			if (owner >= 0 && set_color(object, (size_t)owner) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static uint64_t memory_on(const struct drawing_kernel *kernel, uint32_t node)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < kernel->n_memory; i++)
		if (kernel->memory[i].node == node)
			bytes += kernel->memory[i].bytes;
	return bytes;
}

/* A node has the colour of a kernel if no other one has memory of it. */
static int mark_nodes(const struct drawing *drawing)
{
	hwloc_obj_t node = NULL;

	while ((node = hwloc_get_next_obj_by_type(drawing->hwloc, HWLOC_OBJ_NUMANODE, node))) {
		size_t n = 0, last = 0;

		for (size_t i = 0; i < drawing->n; i++)
			if (memory_on(&drawing->kernels[i], node->os_index)) {
				last = i;
				n++;
			}
		/* lstopo shows 31 characters; the legend has the sizes. */
		if (n == 0)
			set_name(node, xstrdup("Memory of primary; node"));
		else if (n == 1)
			set_name(node,
				 xasprintf("Memory of %.12s; node", drawing->kernels[last].name));
		else
			set_name(node, xasprintf("Memory of %zu kernels; node", n));
		if (n == 1 && set_color(node, last) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int mark_device(const struct drawing *drawing, size_t kernel, hwloc_obj_t object)
{
	if (set_color(object, kernel) < 0)
		return -ENOMEM;
	if (object->type == HWLOC_OBJ_PCI_DEVICE)
		set_name(object, xasprintf("%s: PCI", drawing->kernels[kernel].name));
	for (hwloc_obj_t child = object->io_first_child; child; child = child->next_sibling)
		if (child->type == HWLOC_OBJ_OS_DEVICE && mark_device(drawing, kernel, child) < 0)
			return -ENOMEM;
	return 0;
}

static int mark_devices(const struct drawing *drawing)
{
	for (size_t i = 0; i < drawing->n; i++)
		for (size_t j = 0; j < drawing->kernels[i].n_devices; j++) {
			hwloc_obj_t object = hwloc_get_pcidev_by_busidstring(
				drawing->hwloc, drawing->kernels[i].devices[j]);

			if (object && mark_device(drawing, i, object) < 0)
				return -ENOMEM;
		}
	return 0;
}

static int find_owners(struct drawing *drawing)
{
	for (size_t i = 0; i < drawing->n; i++)
		if (hwloc_bitmap_last(drawing->kernels[i].cpus) >= drawing->n_owners)
			drawing->n_owners = hwloc_bitmap_last(drawing->kernels[i].cpus) + 1;
	drawing->owners = xrealloc(NULL, (size_t)drawing->n_owners + 1, sizeof(*drawing->owners));
	for (int i = 0; i < drawing->n_owners; i++)
		drawing->owners[i] = -1;
	for (size_t i = 0; i < drawing->n; i++) {
		hwloc_const_bitmap_t cpus = drawing->kernels[i].cpus;

		if (hwloc_bitmap_weight(cpus) < 0)
			return -EINVAL;
		for (int cpu = hwloc_bitmap_first(cpus); cpu >= 0;
		     cpu = hwloc_bitmap_next(cpus, cpu))
			drawing->owners[cpu] = (int)i;
	}
	return 0;
}

/* A copy to paint on, without what would hide the partitions: small caches, all kinds of bridges. */
static int load_copy(const char *xml, hwloc_topology_t *ret)
{
	static const hwloc_obj_type_t ignored[] = { HWLOC_OBJ_L1CACHE,	HWLOC_OBJ_L2CACHE,
						    HWLOC_OBJ_L1ICACHE, HWLOC_OBJ_L2ICACHE,
						    HWLOC_OBJ_L3ICACHE, HWLOC_OBJ_MEMCACHE,
						    HWLOC_OBJ_MISC };
	hwloc_topology_t hwloc;
	int r = 0;

	if (hwloc_topology_init(&hwloc) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		if (hwloc_topology_set_type_filter(hwloc, ignored[i], HWLOC_TYPE_FILTER_KEEP_NONE) <
		    0)
			r = -EIO;
	if (r < 0 ||
	    hwloc_topology_set_io_types_filter(hwloc, HWLOC_TYPE_FILTER_KEEP_IMPORTANT) < 0 ||
	    hwloc_topology_set_flags(hwloc, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) < 0 ||
	    hwloc_topology_set_xmlbuffer(hwloc, xml, (int)strlen(xml) + 1) < 0 ||
	    hwloc_topology_load(hwloc) < 0) {
		hwloc_topology_destroy(hwloc);
		return -EIO;
	}
	*ret = hwloc;
	return 0;
}

int drawing_xml(const struct topology *topology, const struct drawing_kernel *kernels,
		size_t n_kernels, char **ret, struct popcorn_error *error)
{
	struct drawing drawing = { .kernels = kernels, .n = n_kernels };
	_cleanup_free_ char *xml = NULL;
	char *text;
	int size, r;

	r = topology_export_xml(topology, &xml, error);
	if (r < 0)
		return r;
	r = load_copy(xml, &drawing.hwloc);
	if (r < 0)
		return popcorn_error_set_errno(error, r, "the machine can't be prepared to draw");
	if (n_kernels) {
		r = find_owners(&drawing);
		if (r == 0)
			r = mark_cpus(&drawing);
		if (r == 0)
			r = mark_nodes(&drawing);
		if (r == 0)
			r = mark_devices(&drawing);
	}
	if (r == 0 && hwloc_topology_export_xmlbuffer(drawing.hwloc, &text, &size, 0) < 0)
		r = -EIO;
	if (r == 0) {
		*ret = xstrdup(text);
		hwloc_free_xmlbuffer(drawing.hwloc, text);
	}
	hwloc_topology_destroy(drawing.hwloc);
	free(drawing.owners);
	return r < 0 ? popcorn_error_set_errno(error, r, "the machine can't be prepared to draw")
		     : 0;
}

/* "db0: CPUs 2-3, 512M of node 0, 0000:02:00.0" */
static char *legend_line(const struct drawing_kernel *kernel)
{
	char *text = NULL, *cpus;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f || hwloc_bitmap_list_asprintf(&cpus, kernel->cpus) < 0) {
		if (f)
			fclose(f);
		free(text);
		return xstrdup(kernel->name);
	}
	fprintf(f, "%s: CPU%s %s", kernel->name, hwloc_bitmap_weight(kernel->cpus) == 1 ? "" : "s",
		cpus);
	free(cpus);
	for (size_t i = 0; i < kernel->n_memory; i++) {
		_cleanup_free_ char *bytes = format_size(kernel->memory[i].bytes);

		fprintf(f, ", %s of node %" PRIu32, bytes, kernel->memory[i].node);
	}
	for (size_t i = 0; i < kernel->n_devices; i++)
		fprintf(f, ", %s", kernel->devices[i]);
	return fclose(f) ? xstrdup(kernel->name) : text;
}

struct command {
	char **argv;
	size_t n;
};

static void add(struct command *command, char *word)
{
	command->argv = xrealloc(command->argv, command->n + 2, sizeof(*command->argv));
	command->argv[command->n++] = word;
	command->argv[command->n] = NULL;
}

static void command_done(struct command *command)
{
	for (size_t i = 0; i < command->n; i++)
		free(command->argv[i]);
	free(command->argv);
}

static void add_legend(struct command *command, char *line)
{
	add(command, xstrdup("--append-legend"));
	add(command, line);
}

static void add_kernels(struct command *command, const struct drawing_kernel *kernels, size_t n)
{
	char *line = NULL;

	for (size_t i = 0; i < n && i < LEGEND_MAX; i++) {
		char *text = legend_line(&kernels[i]), *both;

		if (line && (n <= LEGEND_LINES || strlen(line) + strlen(text) > LEGEND_LENGTH)) {
			add_legend(command, line);
			line = NULL;
		}
		if (!line) {
			line = text;
			continue;
		}
		both = xasprintf("%s;   %s", line, text);
		free(line);
		free(text);
		line = both;
	}
	if (line)
		add_legend(command, line);
	if (n > LEGEND_MAX)
		add_legend(command, xasprintf("and %zu kernels more", n - LEGEND_MAX));
}

static void make_command(struct command *command, const struct topology *topology,
			 const struct drawing_kernel *kernels, size_t n, const char *format,
			 int input, const char *output)
{
	static const char *const fixed[] = {
		/* Linux's numbers; every core, also those that are like the one beside; colours
		 * only for kernels; no date, so that the same machine is the same picture. */
		"lstopo",	 "--physical", "--no-factorize",
		"--palette",	 "white",      "--no-default-legend",
		"--no-cpukinds", "--if",       "xml",
		"--force",
	};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		add(command, xstrdup(fixed[i]));
	add_legend(command, xstrdup(topology_name(topology)));
	add_kernels(command, kernels, n);
	add(command, xstrdup("--of"));
	add(command, xstrdup(format));
	add(command, xstrdup("-i"));
	add(command, xasprintf("/proc/self/fd/%d", input));
	add(command, xstrdup(output));
}

/* An anonymous file with @text in it; negative errno. */
static int make_file(const char *name, const char *text, unsigned flags)
{
	int fd = memfd_create(name, flags);
	size_t n = strlen(text);

	if (fd < 0)
		return -errno;
	while (n) {
		ssize_t written = write(fd, text, n);

		if (written < 0) {
			int r = -errno;

			close(fd);
			return r;
		}
		text += written;
		n -= (size_t)written;
	}
	return fd;
}

extern char **environ;

static int run(char **argv, int errors, int *ret_status)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, errors, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
	r = -posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r < 0)
		return r;
	while (waitpid(pid, ret_status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* The first line of what lstopo said, for a message. */
static void first_line(int fd, char ret[256])
{
	ssize_t n = pread(fd, ret, 255, 0);

	ret[n > 0 ? n : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	for (char *p = ret; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

static int run_lstopo(char **argv, const char *file, const char *part, const char *suffix,
		      struct popcorn_error *error)
{
	_cleanup_close_ int errors = make_file("lstopo-errors", "", MFD_CLOEXEC);
	char line[256];
	struct stat st;
	int status, r;

	if (errors < 0)
		return popcorn_error_set_errno(error, errors, "lstopo can't be started");
	r = run(argv, errors, &status);
	if (r == -ENOENT)
		return popcorn_error_set(error, POPCORN_ERROR_NOT_SUPPORTED,
					 "lstopo draws, and it is not installed; install the "
					 "package hwloc");
	if (r < 0)
		return popcorn_error_set_errno(error, r, "lstopo can't be started");
	first_line(errors, line);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && stat(part, &st) == 0 && st.st_size)
		return 0;
	if (strstr(line, "not supported"))
		return popcorn_error_set(error, POPCORN_ERROR_NOT_SUPPORTED,
					 "the lstopo that is installed can't write .%s; install "
					 "the package hwloc instead of hwloc-nox, or give a name "
					 "that ends with .svg or .txt",
					 suffix);
	return popcorn_error_set(error, POPCORN_ERROR_FAILED, "lstopo did not draw %s: %s", file,
				 *line ? line : "it gave no reason");
}

int draw_topology(const struct topology *topology, const struct drawing_kernel *kernels,
		  size_t n_kernels, const char *file, struct popcorn_error *error)
{
	_cleanup_(command_done) struct command command = { 0 };
	const struct format *format = find_format(file);
	_cleanup_free_ char *xml = NULL, *part = NULL;
	_cleanup_close_ int input = -1, output = -1;
	int r;

	if (!format)
		return popcorn_error_set(
			error, POPCORN_ERROR_INVALID_ARGUMENT,
			"'%s' does not end with .svg, .png, .pdf or .txt, by which "
			"the format of the picture is chosen",
			file);
	r = drawing_xml(topology, kernels, n_kernels, &xml, error);
	if (r < 0)
		return r;
	/* lstopo inherits it; the name below /proc is its own then. */
	input = make_file("popcorn-topology", xml, 0);
	if (input < 0)
		return popcorn_error_set_errno(error, input, "the picture can't be prepared");
	/* Beside it, so that it is never there in part. */
	part = xasprintf("%s.XXXXXX", file);
	output = mkstemp(part);
	if (output < 0)
		return popcorn_error_set_errno(error, errno, "can't write %s", file);
	make_command(&command, topology, kernels, n_kernels, format->lstopo, input, part);
	r = run_lstopo(command.argv, file, part, format->suffix, error);
	if (r == 0) {
		mode_t mask = umask(0);

		/* mkstemp() lets nobody else read it. */
		umask(mask);
		if (chmod(part, 0666 & ~mask) < 0 || rename(part, file) < 0)
			r = popcorn_error_set_errno(error, errno, "can't write %s", file);
	}
	if (r < 0)
		unlink(part);
	return r;
}
