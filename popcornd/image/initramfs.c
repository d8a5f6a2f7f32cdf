// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * newc cpio archives (Documentation/driver-api/early-userspace/buffer-format.rst). The same files
 * give the same bytes: no times, no host's inode numbers.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "image.h"
#include "internal.h"

#define NEWC_MAGIC "070701"
#define NEWC_HEADER 110 /* magic and 13 numbers of 8 hexadecimal digits */
#define NEWC_ALIGN 4
#define NEWC_END "TRAILER!!!"
#define NEWC_SIZE_MAX UINT32_MAX

struct buffer {
	uint8_t *data;
	size_t size, room;
};

/* Room for @size more bytes, zeroed: padding needs no writing. */
static uint8_t *buffer_add(struct buffer *buffer, size_t size)
{
	uint8_t *p;

	if (size > SIZE_MAX / 2 - buffer->size)
		return NULL;
	if (buffer->size + size > buffer->room) {
		size_t room = buffer->room ? buffer->room : PAGE;

		while (room < buffer->size + size)
			room *= 2;
		p = realloc(buffer->data, room);
		if (!p)
			return NULL;
		buffer->data = p;
		buffer->room = room;
	}
	p = buffer->data + buffer->size;
	memset(p, 0, size);
	buffer->size += size;
	return p;
}

static int buffer_align(struct buffer *buffer)
{
	return buffer_add(buffer, -buffer->size & (NEWC_ALIGN - 1)) ? 0 : -ENOMEM;
}

struct entry {
	const char *path;
	size_t path_length;
	uint32_t mode;
	const void *data;
	size_t size;
	unsigned major, minor;
};

static int add_entry(struct buffer *buffer, const struct entry *entry, uint32_t inode)
{
	char header[NEWC_HEADER + 1];
	uint8_t *p;

	/* A directory has itself and "." ; hard links are not made. */
	snprintf(header, sizeof(header),
		 NEWC_MAGIC "%08" PRIX32 "%08" PRIX32 "%08X%08X%08X%08X%08" PRIX32
			    "%08X%08X%08X%08X"
			    "%08" PRIX32 "%08X",
		 inode, entry->mode, 0, 0, S_ISDIR(entry->mode) ? 2 : 1, 0, (uint32_t)entry->size,
		 0, 0, entry->major, entry->minor, (uint32_t)entry->path_length + 1, 0);
	p = buffer_add(buffer, NEWC_HEADER + entry->path_length + 1);
	if (!p)
		return -ENOMEM;
	memcpy(p, header, NEWC_HEADER);
	memcpy(p + NEWC_HEADER, entry->path, entry->path_length);
	if (buffer_align(buffer) < 0)
		return -ENOMEM;
	if (entry->size) {
		p = buffer_add(buffer, entry->size);
		if (!p)
			return -ENOMEM;
		memcpy(p, entry->data, entry->size);
	}
	return buffer_align(buffer);
}

/*
 * Each component is a name; the whole fits into the kernel's PATH_MAX with its NUL. A file, or a
 * parent, with the name of the trailer would end the archive.
 */
static bool path_valid(const char *path)
{
	size_t length = strlen(NEWC_END);

	if (strncmp(path, NEWC_END, length) == 0 && (!path[length] || path[length] == '/'))
		return false;
	if (!*path || strlen(path) >= PATH_MAX)
		return false;
	for (;;) {
		length = strcspn(path, "/");
		if (length == 0 || length > NAME_MAX || (length == 1 && path[0] == '.') ||
		    (length == 2 && memcmp(path, "..", 2) == 0))
			return false;
		if (!path[length])
			return true;
		path += length + 1;
	}
}

static int check_file(const struct initramfs_file *file, struct popcorn_error *error)
{
	if (!file->path || !path_valid(file->path))
		return popcorn_error_set(
			error, POPCORN_ERROR_INVALID_ARGUMENT,
			"'%s' is no path for a file in the initramfs: names separated by single "
			"slashes, without a leading one",
			file->path ? file->path : "");

	switch (file->mode & S_IFMT) {
	case S_IFREG:
		if (file->size > NEWC_SIZE_MAX)
			return popcorn_error_set(
				error, POPCORN_ERROR_LIMIT,
				"'%s' has %zu bytes, an initramfs takes files up to 4 GiB",
				file->path, file->size);
		return 0;
	case S_IFLNK:
		if (file->size > 0 && file->size < PATH_MAX)
			return 0;
		break;
	case S_IFDIR:
	case S_IFCHR:
		if (file->size == 0)
			return 0;
		break;
	}
	return popcorn_error_set(
		error, POPCORN_ERROR_INVALID_ARGUMENT,
		"'%s' has mode %#o and %zu bytes, which is not what an initramfs can carry",
		file->path, file->mode, file->size);
}

/* Directories that are in the archive: slices of the caller's paths. */
struct directories {
	struct entry *list;
	size_t count, room;
};

static bool has_directory(const struct directories *directories, const char *path, size_t length)
{
	for (size_t i = 0; i < directories->count; i++)
		if (directories->list[i].path_length == length &&
		    memcmp(directories->list[i].path, path, length) == 0)
			return true;
	return false;
}

static int remember_directory(struct directories *directories, const char *path, size_t length)
{
	if (directories->count == directories->room) {
		size_t room = directories->room ? directories->room * 2 : 16;
		struct entry *list = realloc(directories->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		directories->list = list;
		directories->room = room;
	}
	directories->list[directories->count++] =
		(struct entry){ .path = path, .path_length = length, .mode = S_IFDIR | 0755 };
	return 0;
}

/* A kernel creates a file only in a directory that it has created before. */
static int add_parents(struct buffer *buffer, struct directories *directories, const char *path,
		       uint32_t *inode)
{
	for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
		size_t length = (size_t)(slash - path);

		if (has_directory(directories, path, length))
			continue;
		if (remember_directory(directories, path, length) < 0 ||
		    add_entry(buffer, &directories->list[directories->count - 1], ++*inode) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_file(struct buffer *buffer, struct directories *directories,
		    const struct initramfs_file *file, uint32_t *inode)
{
	struct entry entry = {
		.path = file->path,
		.path_length = strlen(file->path),
		.mode = file->mode,
		.data = file->data,
		.size = file->size,
	};

	if (S_ISCHR(file->mode)) {
		entry.major = file->major;
		entry.minor = file->minor;
	}
	if (add_parents(buffer, directories, file->path, inode) < 0)
		return -ENOMEM;
	if (S_ISDIR(file->mode) &&
	    remember_directory(directories, entry.path, entry.path_length) < 0)
		return -ENOMEM;
	return add_entry(buffer, &entry, ++*inode);
}

int initramfs_build(const void *initrd, size_t initrd_size, const struct initramfs_file *files,
		    size_t n_files, void **ret, size_t *ret_size, struct popcorn_error *error)
{
	const struct entry end = { .path = NEWC_END, .path_length = strlen(NEWC_END) };
	struct directories directories = { NULL, 0, 0 };
	struct buffer buffer = { NULL, 0, 0 };
	uint32_t inode = 0;
	uint8_t *p;
	int r;

	for (size_t i = 0; i < n_files; i++) {
		r = check_file(&files[i], error);
		if (r < 0)
			return r;
	}

	/*
	 * The kernel skips zeros between archives, whatever compression the first one has, and
	 * wants the next one on a multiple of 4.
	 */
	if (initrd && initrd_size) {
		p = buffer_add(&buffer, initrd_size);
		if (!p)
			goto no_memory;
		memcpy(p, initrd, initrd_size);
		if (buffer_align(&buffer) < 0)
			goto no_memory;
	}
	for (size_t i = 0; i < n_files; i++)
		if (add_file(&buffer, &directories, &files[i], &inode) < 0)
			goto no_memory;
	if (add_entry(&buffer, &end, 0) < 0)
		goto no_memory;

	free(directories.list);
	*ret = buffer.data;
	*ret_size = buffer.size;
	return 0;

no_memory:
	free(directories.list);
	free(buffer.data);
	return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
}
