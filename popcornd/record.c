// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What popcornd knows of a kernel and the driver does not, in <run>/kernels/NAME: one KEY=value per
 * line, bytes other than printable ASCII and '\' as \xNN. Written aside and renamed, so that a
 * reader finds the old one or the new one. Unknown keys are left alone, so that an older popcornd
 * reads what a newer one wrote.
 *
 * What a kernel said before its memory was given back is beside it, in <run>/console/NAME and
 * <run>/log/NAME. (Folders, because a name may end in ".log".)
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel.h"
#include "log.h"
#include "util.h"

/* 64 lines of history with 256 bytes of text, escaped, two command lines' worth, and shares. */
#define RECORD_MAX (512U * 1024)

static const char *const saved_folders[] = {
	[SAVED_CONSOLE] = "console",
	[SAVED_LOG] = "log",
};

static const char *const wish_names[] = {
	[WISH_NOT_SAID] = "default",
	[WISH_NO] = "no",
	[WISH_YES] = "yes",
};

static int reason_from_string(const char *s)
{
#define X(sym, nr, name, text)    \
	if (strcmp(s, name) == 0) \
		return nr;
	POPCORN_REASONS(X)
#undef X
	return -EINVAL;
}

/* All of @data into <run>/<folder>/<name>. */
static int save(const char *run, const char *folder, const char *name, const void *data,
		size_t size)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/%s/%s", run, folder, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return replace_file(path, 0600, data, size);
}

static void put_text(FILE *f, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c >= 0x7f || c == '\\')
			fprintf(f, "\\x%02x", c);
		else
			fputc(c, f);
	}
}

static void put(FILE *f, const char *key, const char *value)
{
	if (!value)
		return;
	fprintf(f, "%s=", key);
	put_text(f, value);
	fputc('\n', f);
}

int record_write(const struct kernel *kernel)
{
	_cleanup_free_ char *buf = NULL;
	size_t size;
	FILE *f;

	f = open_memstream(&buf, &size);
	if (!f)
		return -errno;
	put(f, "STATE", state_to_string(kernel->state));
	put(f, "REASON", reason_to_string(kernel->reason));
	put(f, "TEXT", kernel->text);
	fprintf(f, "CREATED=%" PRIu64 "\n", kernel->created);
	fprintf(f, "GENERATION=%" PRIu32 "\n", kernel->generation);
	fprintf(f, "BOOT_TIME=%" PRIu64 "\n", kernel->boot_time);
	put(f, "RELEASE", kernel->release);
	if (*kernel->policy) {
		put(f, "POLICY", kernel->policy);
		fprintf(f, "POLICY_DIGEST=%" PRIu64 "\n", kernel->policy_digest);
	}
	if (kernel->def) {
		const struct kernel_def *def = kernel->def;

		put(f, "DEFINITION", kernel->def_from_file ? "file" : "options");
		put(f, "IMAGE", def->image);
		put(f, "INITRD", def->initrd);
		put(f, "CMDLINE", def->cmdline);
		put(f, "ROOT", def->root);
		if (def->cpus) {
			_cleanup_free_ char *list = NULL;

			if (hwloc_bitmap_list_asprintf(&list, def->cpus) >= 0)
				put(f, "CPUS", list);
		}
		fprintf(f, "CPU_COUNT=%u\n", def->cpu_count);
		fprintf(f, "MEMORY=%" PRIu64 "\n", def->memory);
		if (def->memory_nodes) {
			_cleanup_free_ char *nodes = NULL;

			if (memory_nodes_to_text(def->memory_nodes, def->n_memory_nodes, &nodes) >=
			    0)
				put(f, "MEMORY_NODES", nodes);
		}
		put(f, "RESTART", def->restart ? "on-failure" : "no");
		put(f, "VSOCK", wish_names[def->vsock]);
		for (size_t i = 0; i < def->n_shares; i++) {
			const struct kernel_share *share = &def->shares[i];

			fprintf(f, "SHARE=%s:%s:", share->tag, share->read_only ? "ro" : "rw");
			put_text(f, share->path);
			fputc('\n', f);
		}
		put(f, "NETWORK", PEERS_TEXT(def->network));
		fprintf(f, "BOOT_TIMEOUT=%" PRIu64 "\n", def->boot_timeout_usec);
	}
	for (size_t i = 0; i < kernel->n_steps; i++)
		fprintf(f, "STEP=%s %" PRIu64 "\n", kernel->steps[i].name, kernel->steps[i].usec);
	for (size_t i = 0; i < kernel->n_history; i++) {
		const struct history_entry *entry = &kernel->history[i];

		fprintf(f, "HISTORY=%" PRIu64 " %s %s ", entry->time, state_to_string(entry->state),
			reason_to_string(entry->reason));
		put_text(f, entry->text ?: "");
		fputc('\n', f);
	}
	if (fclose(f) != 0)
		return -ENOMEM;
	return save(kernel->manager->options->run, "kernels", kernel->name, buf, size);
}

static void remove_file(const char *run, const char *folder, const char *name)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/%s/%s", run, folder, name) >= 0)
		unlink(path);
}

void record_remove(const struct kernel *kernel)
{
	const char *run = kernel->manager->options->run;

	for (size_t i = 0; i < ARRAY_SIZE(saved_folders); i++)
		remove_file(run, saved_folders[i], kernel->name);
	remove_file(run, "kernels", kernel->name);
}

void saved_remove(const char *run, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(saved_folders); i++)
		remove_file(run, saved_folders[i], name);
}

int saved_write(const char *run, const char *name, enum saved what, const void *data, size_t size)
{
	return save(run, saved_folders[what], name, data, size);
}

int saved_open(const char *run, const char *name, enum saved what)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/%s/%s", run, saved_folders[what], name) < 0)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* In place. */
static int get_text(char *s)
{
	char *out = s;

	for (; *s; s++) {
		int high, low;

		if (*s != '\\') {
			*out++ = *s;
			continue;
		}
		if (s[1] != 'x' || (high = hex(s[2])) < 0 || (low = hex(s[3])) < 0 ||
		    (high == 0 && low == 0))
			return -EBADMSG;
		*out++ = (char)(high << 4 | low);
		s += 3;
	}
	*out = '\0';
	return 0;
}

static int get_number(const char *s, uint64_t max, uint64_t *ret)
{
	char *end;

	if (*s < '0' || *s > '9')
		return -EBADMSG;
	errno = 0;
	*ret = strtoull(s, &end, 10);
	return errno != 0 || *end || *ret > max ? -EBADMSG : 0;
}

static int set_text(char **p, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*p);
	*p = copy;
	return 0;
}

static int load_history(struct kernel *kernel, char *value)
{
	struct history_entry entry = {};
	char *state, *reason, *text, *save;
	uint64_t time;
	int s, r;

	if (kernel->n_history >= HISTORY_MAX)
		return -EBADMSG;
	value = strtok_r(value, " ", &save);
	state = strtok_r(NULL, " ", &save);
	reason = strtok_r(NULL, " ", &save);
	text = save;
	if (!value || !state || !reason || !text || get_number(value, UINT64_MAX, &time) < 0)
		return -EBADMSG;
	s = state_from_string(state);
	r = reason_from_string(reason);
	if (s < 0 || r < 0)
		return -EBADMSG;
	entry.time = time;
	entry.state = s;
	entry.reason = r;
	entry.text = strdup(text);
	if (!entry.text)
		return -ENOMEM;
	kernel->history[kernel->n_history++] = entry;
	return 0;
}

static int load_step(struct kernel *kernel, char *value)
{
	struct boot_step *step = &kernel->steps[kernel->n_steps];
	char *usec = strchr(value, ' ');

	if (!usec || kernel->n_steps >= STEPS_MAX || (size_t)(usec - value) >= sizeof(step->name) ||
	    get_number(usec + 1, UINT64_MAX, &step->usec) < 0)
		return -EBADMSG;
	*usec = '\0';
	strcpy(step->name, value);
	kernel->n_steps++;
	return 0;
}

/* TAG:ro|rw:PATH */
static int load_share(struct kernel_def *def, char *value)
{
	char *mode = strchr(value, ':');

	if (!mode || (strncmp(mode, ":ro:", 4) != 0 && strncmp(mode, ":rw:", 4) != 0))
		return -EBADMSG;
	*mode = '\0';
	return kernel_def_add_share(def, value, mode + 4, mode[2] == 'o', NULL);
}

static int load_line(struct kernel *kernel, struct kernel_def *def, const char *key, char *value)
{
	uint64_t n;
	int r;

	if (strcmp(key, "STATE") == 0) {
		r = state_from_string(value);
		if (r >= 0)
			kernel->state = r;
		return r;
	}
	if (strcmp(key, "REASON") == 0) {
		r = reason_from_string(value);
		if (r >= 0)
			kernel->reason = r;
		return r;
	}
	if (strcmp(key, "HISTORY") == 0)
		return load_history(kernel, value);
	if (strcmp(key, "STEP") == 0)
		return load_step(kernel, value);
	if (strcmp(key, "TEXT") == 0)
		return set_text(&kernel->text, value);
	if (strcmp(key, "RELEASE") == 0) {
		snprintf(kernel->release, sizeof(kernel->release), "%s", value);
		return 0;
	}
	if (strcmp(key, "POLICY") == 0) {
		/* As that of a kernel. */
		r = kernel_name_check(value, NULL);
		if (r >= 0)
			strcpy(kernel->policy, value);
		return r;
	}
	if (strcmp(key, "IMAGE") == 0)
		return set_text(&def->image, value);
	if (strcmp(key, "INITRD") == 0)
		return set_text(&def->initrd, value);
	if (strcmp(key, "ROOT") == 0)
		return root_check(value, NULL) < 0 ? -EINVAL : set_text(&def->root, value);
	if (strcmp(key, "CMDLINE") == 0)
		return set_text(&def->cmdline, value);
	if (strcmp(key, "CPUS") == 0) {
		hwloc_bitmap_free(def->cpus);
		def->cpus = NULL;
		return parse_cpus(value, &def->cpus, NULL);
	}
	if (strcmp(key, "MEMORY_NODES") == 0) {
		_cleanup_free_ struct node_memory *nodes = NULL;
		size_t n_nodes;

		r = parse_memory_nodes(value, &nodes, &n_nodes, NULL);
		return r < 0 ? r : kernel_def_set_memory_nodes(def, nodes, n_nodes, NULL);
	}
	if (strcmp(key, "RESTART") == 0) {
		def->restart = strcmp(value, "on-failure") == 0;
		return 0;
	}
	if (strcmp(key, "VSOCK") == 0) {
		for (unsigned i = 0; i < ARRAY_SIZE(wish_names); i++)
			if (strcmp(value, wish_names[i]) == 0)
				def->vsock = i;
		return 0;
	}
	if (strcmp(key, "SHARE") == 0)
		return load_share(def, value);
	if (strcmp(key, "NETWORK") == 0)
		return network_parse_peers(value, &def->network, NULL);
	if (strcmp(key, "DEFINITION") == 0) {
		kernel->def_from_file = strcmp(value, "file") == 0;
		return 1;
	}

	r = get_number(value, UINT64_MAX, &n);
	if (strcmp(key, "GENERATION") == 0 && r >= 0 && n <= UINT32_MAX)
		kernel->generation = (uint32_t)n;
	else if (strcmp(key, "POLICY_DIGEST") == 0 && r >= 0)
		kernel->policy_digest = n;
	else if (strcmp(key, "CREATED") == 0 && r >= 0)
		kernel->created = n;
	else if (strcmp(key, "BOOT_TIME") == 0 && r >= 0)
		kernel->boot_time = n;
	else if (strcmp(key, "CPU_COUNT") == 0 && r >= 0 && n <= POPCORN_CPUS_MAX)
		def->cpu_count = (unsigned)n;
	else if (strcmp(key, "MEMORY") == 0 && r >= 0)
		def->memory = n;
	else if (strcmp(key, "BOOT_TIMEOUT") == 0 && r >= 0)
		def->boot_timeout_usec = n;
	else if (r < 0)
		return r;
	return 0;
}

/* A folder has no order; List has the one in which kernels were made. */
static void sort_in(struct kernel *kernel)
{
	struct kernel_list *kernels = &kernel->manager->kernels;
	struct kernel *other;

	TAILQ_REMOVE(kernels, kernel, entry);
	TAILQ_FOREACH(other, kernels, entry)
		if (other->created > kernel->created)
			break;
	if (other)
		TAILQ_INSERT_BEFORE(other, kernel, entry);
	else
		TAILQ_INSERT_TAIL(kernels, kernel, entry);
}

static int load(struct manager *manager, int folder, const char *name)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	struct kernel_def *def = NULL;
	struct kernel *kernel = NULL;
	bool have_def = false;
	struct stat st;
	size_t room = 0;
	int fd, r;

	fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	f = fdopen(fd, "re");
	if (!f) {
		r = -errno;
		close(fd);
		return r;
	}
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > RECORD_MAX)
		return -EBADMSG;

	r = kernel_def_new(manager->config, &def);
	if (r < 0)
		return r;
	r = kernel_new(manager, name, &kernel);
	if (r < 0)
		goto end;
	kernel->state = 0;
	for (;;) {
		char *value;
		ssize_t n;

		n = getline(&line, &room, f);
		if (n < 0)
			break;
		value = strchr(line, '=');
		if (!value || line[n - 1] != '\n' || strlen(line) != (size_t)n) {
			r = -EBADMSG;
			goto end;
		}
		line[n - 1] = '\0';
		*value++ = '\0';
		r = get_text(value);
		if (r >= 0)
			r = load_line(kernel, def, line, value);
		if (r < 0)
			goto end;
		have_def |= r > 0;
	}
	/* The one line without which there is nothing to show. */
	r = ferror(f) || kernel->state == 0 ? -EBADMSG : 0;
end:
	if (r >= 0 && have_def)
		kernel->def = steal_ptr(def);
	if (r >= 0) {
		kernel->announced = true;
		sort_in(kernel);
	} else if (kernel) {
		kernel_free(kernel);
	}
	kernel_def_free(def);
	return r;
}

int record_load_all(struct manager *manager)
{
	static const char *const folders[] = { "kernels", "console", "log" };
	_cleanup_free_ char *path = NULL;
	struct dirent *entry;
	DIR *dir;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		_cleanup_free_ char *folder = NULL;

		if (asprintf(&folder, "%s/%s", manager->options->run, folders[i]) < 0)
			return -ENOMEM;
		r = make_folders(folder, 0755);
		if (r < 0)
			return r;
	}
	if (asprintf(&path, "%s/kernels", manager->options->run) < 0)
		return -ENOMEM;
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.') {
			/* Left by a popcornd that ended between writing aside and renaming. */
			if (entry->d_type == DT_REG)
				unlinkat(dirfd(dir), entry->d_name, 0);
			continue;
		}
		if (kernel_name_check(entry->d_name, NULL) < 0)
			continue;
		r = load(manager, dirfd(dir), entry->d_name);
		if (r < 0) {
			log_warning("the record of kernel %s is damaged (%s); what the driver "
				    "knows of it "
				    "is used instead",
				    entry->d_name, strerror(-r));
			unlinkat(dirfd(dir), entry->d_name, 0);
		}
	}
	closedir(dir);
	return 0;
}
