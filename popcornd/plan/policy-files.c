// SPDX-License-Identifier: GPL-2.0-or-later
/* Where policies lie, and what they name on the disk. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "config-build.h"
#include "keys.h"
#include "policy.h"
#include "text.h"
#include "util.h"

static const char *const default_folders[] = {
	POPCORN_CONFDIR "/policies",
	POPCORN_DATADIR "/policies",
	NULL,
};

/* A policy's name is like that of a kernel; so it never leads out of a folder. */
int policy_name_check(const char *name, struct popcorn_error *error)
{
	if (kernel_name_check(name, NULL) == 0)
		return 0;
	return popcorn_error_set(
		error, POPCORN_ERROR_NO_SUCH_POLICY,
		"no policy has a name like this: it has 1 to 63 of A-Z a-z 0-9 _ . -, "
		"beginning with a letter or digit; 'popcornctl policy list' shows all");
}

/* Takes the path that it reads from. */
static int read_policy(char *path, char **ret_path, char **ret_text, size_t *ret_size,
		       struct popcorn_error *error)
{
	_cleanup_free_ char *own = path, *text = NULL;
	size_t size;
	int r;

	r = keys_load(path, &text, &size, error);
	if (r == -ENOENT) {
		r = popcorn_error_set(error, POPCORN_ERROR_NO_SUCH_POLICY,
				      "there is no file %s; give a file with a policy, or the name "
				      "of one that 'popcornctl policy list' shows",
				      path);
		if (error)
			text_make_safe(error->text);
	}
	if (r < 0)
		return r;
	*ret_path = steal_ptr(own);
	if (ret_text) {
		*ret_text = steal_ptr(text);
		*ret_size = size;
	}
	return 0;
}

int policy_find(const char *const *folders, const char *name, char **ret_path, char **ret_text,
		size_t *ret_size, struct popcorn_error *error)
{
	struct stat st;
	char *path;
	int r;

	if (strchr(name, '/')) {
		path = strdup(name);
		if (!path)
			return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
		return read_policy(path, ret_path, ret_text, ret_size, error);
	}
	r = policy_name_check(name, error);
	if (r < 0)
		return r;
	if (!folders)
		folders = default_folders;
	for (; *folders; folders++) {
		if (asprintf(&path, "%s/%s.conf", *folders, name) < 0)
			return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
		/* One that is there and can't be read is an error, and hides the others. */
		if (lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR))
			return read_policy(path, ret_path, ret_text, ret_size, error);
		free(path);
	}
	return popcorn_error_set(
		error, POPCORN_ERROR_NO_SUCH_POLICY,
		"there is no policy '%s'; 'popcornctl policy list' shows all, and a "
		"file is named with a / in it (./%s)",
		name, name);
}

int policy_load(const char *const *folders, const char *name, struct policy **ret,
		struct popcorn_error *error)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	size_t size;
	int r;

	r = policy_find(folders, name, &path, &text, &size, error);
	return r < 0 ? r : policy_parse(path, text, size, ret, error);
}

void policy_entries_free(struct policy_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(entries[i].name);
		free(entries[i].path);
		free(entries[i].description);
	}
	free(entries);
}

/* A growing list. */
struct entries {
	struct policy_entry *entries;
	size_t n;
};

static void entries_done(struct entries *list)
{
	policy_entries_free(list->entries, list->n);
}

static int add_entry(struct entries *list, const char *folder, const char *file)
{
	_cleanup_free_ char *name = strndup(file, strlen(file) - strlen(".conf"));
	_cleanup_free_ char *found = NULL, *text = NULL;
	struct popcorn_error error = { 0 };
	struct policy *policy = NULL;
	struct policy_entry *entry;
	size_t size;
	int r;

	if (!name)
		return -ENOMEM;
	if (policy_name_check(name, NULL) < 0)
		return 0;
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->entries[i].name, name) == 0) {
			list->entries[i].overrides = true;
			return 0;
		}
	entry = reallocarray(list->entries, list->n + 1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	list->entries = entry;
	entry += list->n++;
	*entry = (struct policy_entry){ .name = steal_ptr(name) };
	if (asprintf(&entry->path, "%s/%s", folder, file) < 0) {
		entry->path = NULL;
		return -ENOMEM;
	}
	r = policy_find(NULL, entry->path, &found, &text, &size, &error);
	if (r == 0)
		r = policy_parse(entry->path, text, size, &policy, &error);
	if (r == -ENOMEM)
		return r;
	entry->valid = r == 0;
	entry->description = strdup(r < 0		  ? error.text
				    : policy->description ? policy->description
							  : "");
	policy_free(policy);
	return entry->description ? 0 : -ENOMEM;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct policy_entry *)a)->name,
		      ((const struct policy_entry *)b)->name);
}

int policy_list(const char *const *folders, struct policy_entry **ret, size_t *ret_n,
		struct popcorn_error *error)
{
	_cleanup_(entries_done) struct entries list = { 0 };

	if (!folders)
		folders = default_folders;
	for (; *folders; folders++) {
		_cleanup_(closedirp) DIR *dir = opendir(*folders);
		struct dirent *file;

		if (!dir && errno == ENOENT)
			continue;
		if (!dir)
			return popcorn_error_set(error, POPCORN_ERROR_CONFIG,
						 "%s: can't be read: %s", *folders,
						 strerror(errno));
		while ((file = readdir(dir))) {
			size_t length = strlen(file->d_name);

			if (length <= strlen(".conf") ||
			    strcmp(file->d_name + length - strlen(".conf"), ".conf") != 0)
				continue;
			if (add_entry(&list, *folders, file->d_name) < 0)
				return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
		}
	}
	if (list.n)
		qsort(list.entries, list.n, sizeof(*list.entries), compare_entries);
	*ret = steal_ptr(list.entries);
	*ret_n = list.n;
	list.n = 0;
	return 0;
}

/* As dpkg compares versions: "6.9" < "6.12", "6.12~rc1" < "6.12". */
static int compare_versions(const char *a, const char *b)
{
	while (*a || *b) {
		int first = 0;

		for (; (*a && !(*a >= '0' && *a <= '9')) || (*b && !(*b >= '0' && *b <= '9'));
		     a += *a != '\0', b += *b != '\0') {
			int order[2];

			for (int i = 0; i < 2; i++) {
				unsigned char c = (unsigned char)(i ? *b : *a);
				bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';

				order[i] = c == '~'				 ? -1
					   : c == '\0' || (c >= '0' && c <= '9') ? 0
					   : letter				 ? c
										 : c + 256;
			}
			if (order[0] != order[1])
				return order[0] - order[1];
		}
		while (*a == '0')
			a++;
		while (*b == '0')
			b++;
		while (*a >= '0' && *a <= '9' && *b >= '0' && *b <= '9') {
			if (!first)
				first = *a - *b;
			a++;
			b++;
		}
		if (*a >= '0' && *a <= '9')
			return 1;
		if (*b >= '0' && *b <= '9')
			return -1;
		if (first)
			return first;
	}
	return 0;
}

/* "DIR/a*b" with @middle in place of '*'. */
static char *fill_in(const char *pattern, const char *middle)
{
	const char *star = strchr(pattern, '*');
	char *path;

	if (!star)
		return strdup(pattern);
	if (asprintf(&path, "%.*s%s%s", (int)(star - pattern), pattern, middle, star + 1) < 0)
		return NULL;
	return path;
}

/* The newest of what can stand for the '*' in @image; NULL without an error: there is none. */
static int find_newest(const char *image, char **ret)
{
	const char *star = strchr(image, '*'), *base = strrchr(image, '/') + 1;
	size_t before = (size_t)(star - base), after = strlen(star + 1);
	_cleanup_free_ char *folder = strndup(image, (size_t)(base - image));
	_cleanup_(closedirp) DIR *dir = NULL;
	_cleanup_free_ char *best = NULL;
	struct dirent *file;

	if (!folder)
		return -ENOMEM;
	dir = opendir(folder);
	if (!dir)
		return -errno;
	while ((file = readdir(dir))) {
		const char *name = file->d_name;
		size_t length = strlen(name);
		struct stat st;
		char *middle;

		if (*name == '.' || length <= before + after || strncmp(name, base, before) != 0 ||
		    strcmp(name + length - after, star + 1) != 0)
			continue;
		/* What a package manager is just writing, and what an editor leaves. */
		if (strstr(name, ".dpkg-") || name[length - 1] == '~')
			continue;
		if (fstatat(dirfd(dir), name, &st, 0) < 0 || !S_ISREG(st.st_mode))
			continue;
		middle = strndup(name + before, length - before - after);
		if (!middle)
			return -ENOMEM;
		if (best && compare_versions(middle, best) <= 0) {
			free(middle);
			continue;
		}
		free(best);
		best = middle;
	}
	*ret = steal_ptr(best);
	return 0;
}

int policy_image_find(const char *image, const char *initrd, char **ret_image, char **ret_initrd,
		      struct popcorn_error *error)
{
	_cleanup_free_ char *middle = NULL, *found_image = NULL, *found_initrd = NULL;
	int r;

	if (strchr(image, '*')) {
		r = find_newest(image, &middle);
		if (r == -ENOMEM)
			return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
		if (r < 0)
			return popcorn_error_set(error, POPCORN_ERROR_IMAGE_NOT_FOUND,
						 "the folder of %s can't be read: %s", image,
						 strerror(-r));
		if (!middle)
			return popcorn_error_set(
				error, POPCORN_ERROR_IMAGE_NOT_FOUND,
				"there is no file %s; install such a kernel, or name "
				"another image",
				image);
	}
	found_image = fill_in(image, middle);
	found_initrd = initrd ? fill_in(initrd, middle ? middle : "*") : NULL;
	if (!found_image || (initrd && !found_initrd))
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	*ret_image = steal_ptr(found_image);
	*ret_initrd = steal_ptr(found_initrd);
	return 0;
}
