// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Input: one byte of flags, then for each file a byte of type, a byte of path length, a byte of
 * data length, path, data; the rest is the user's initrd. What is built is taken apart again.
 */
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "image.h"

#define FILES_MAX 16

static size_t hex(const uint8_t *p)
{
	size_t value = 0;

	for (int i = 0; i < 8; i++) {
		CHECK((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'A' && p[i] <= 'F'));
		value = value << 4 | (size_t)(p[i] <= '9' ? p[i] - '0' : p[i] - 'A' + 10);
	}
	return value;
}

/* Every file is in the archive, in order, with its contents; directories come before their files. */
static void check(const uint8_t *archive, size_t size, const struct initramfs_file *files, size_t n)
{
	size_t at = 0, next = 0;

	for (;;) {
		size_t name_size, data_size, mode, data;
		const char *name;

		CHECK(at % 4 == 0 && at + 110 <= size);
		CHECK(memcmp(archive + at, "070701", 6) == 0);
		mode = hex(archive + at + 14);
		data_size = hex(archive + at + 54);
		name_size = hex(archive + at + 94);
		name = (const char *)archive + at + 110;
		CHECK(name_size >= 1 && name_size <= size - at - 110);
		CHECK(name[name_size - 1] == '\0' && strlen(name) == name_size - 1);
		data = (at + 110 + name_size + 3) & ~(size_t)3;
		CHECK(data <= size && data_size <= size - data);
		at = (data + data_size + 3) & ~(size_t)3;
		if (strcmp(name, "TRAILER!!!") == 0)
			break;
		CHECK(name[0] && name[0] != '/' && !strstr(name, "//"));
		if (next < n && strcmp(name, files[next].path) == 0 && mode == files[next].mode) {
			CHECK(data_size == files[next].size);
			CHECK(memcmp(archive + data, files[next].data, data_size) == 0);
			next++;
		} else {
			CHECK(mode == (S_IFDIR | 0755));
		}
	}
	CHECK(at == size && next == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t modes[] = { S_IFREG | 0644,
					  S_IFDIR | 0700,
					  S_IFLNK | 0777,
					  S_IFCHR | 0600,
					  S_IFREG | 0755,
					  S_IFSOCK | 0600,
					  0644 };
	struct initramfs_file files[FILES_MAX];
	char paths[FILES_MAX][256];
	struct popcorn_error error = { 0 };
	size_t n = 0, archive_size, wanted;
	uint8_t *archive;
	int r;

	if (size == 0)
		return 0;
	wanted = data[0] % (FILES_MAX + 1);
	for (data++, size--; n < wanted && size >= 3; n++) {
		size_t path = data[1], contents = data[2];

		if (path + contents > size - 3)
			break;
		memcpy(paths[n], data + 3, path);
		paths[n][path] = '\0';
		files[n] = (struct initramfs_file){
			.path = paths[n],
			.mode = modes[data[0] % (sizeof(modes) / sizeof(modes[0]))],
			.data = data + 3 + path,
			.size = contents,
			.major = data[0],
			.minor = data[1],
		};
		data += 3 + path + contents;
		size -= 3 + path + contents;
	}

	r = initramfs_build(data, size, files, n, (void **)&archive, &archive_size, &error);
	CHECK((r < 0) == (error.id != POPCORN_ERROR_NONE));
	if (r < 0)
		return 0;
	CHECK(memcmp(archive, data, size) == 0);
	for (; size % 4; size++)
		CHECK(archive[size] == 0);
	check(archive + size, archive_size - size, files, n);
	free(archive);
	return 0;
}
