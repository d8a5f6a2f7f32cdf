// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lzma.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include "modules.h"
#include "util.h"

/* For an unpacked module; also how much a decompressor may use itself. */
#define MODULE_SIZE_MAX (64 * MIB)
#define LZMA_MEMORY_MAX (128 * MIB)
/* A driver with all that it depends on is below ten. */
#define MODULES_MAX 256
/* Those of Debian have 0.7 MB. */
#define LIST_SIZE_MAX (64 * MIB)

/* Where modules that do not come with the kernel are put: by us, by dkms, by other distributions. */
static const char *const our_folders[] = {
	"updates/popcorn", "updates/dkms", "updates", "extra/popcorn", "extra", "weak-updates",
};

void modules_done(struct modules *modules)
{
	for (size_t i = 0; i < modules->n; i++) {
		free(modules->list[i].name);
		free(modules->list[i].data);
	}
	free(modules->list);
	*modules = (struct modules){ 0 };
}

/* Unpacking. How much it will be is not known before. */

struct packed {
	const uint8_t *in;
	size_t in_size;
	uint8_t *out;
	size_t size, room;
};

/* Room for more output; what is behind @size is free. -EBADMSG: it is no module that large. */
static int make_room(struct packed *packed)
{
	size_t room = packed->room ? packed->room * 2 : packed->in_size * 4 + 65536;
	uint8_t *more;

	if (packed->room >= MODULE_SIZE_MAX)
		return -EBADMSG;
	more = realloc(packed->out, room);
	if (!more)
		return -ENOMEM;
	packed->out = more;
	packed->room = room;
	return 0;
}

static int unpack_xz(struct packed *packed)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret code = LZMA_OK;
	int r = 0;

	if (lzma_stream_decoder(&stream, LZMA_MEMORY_MAX, LZMA_CONCATENATED) != LZMA_OK)
		return -ENOMEM;
	stream.next_in = packed->in;
	stream.avail_in = packed->in_size;
	while (code == LZMA_OK && (r = make_room(packed)) == 0) {
		stream.next_out = packed->out + packed->size;
		stream.avail_out = packed->room - packed->size;
		code = lzma_code(&stream, LZMA_FINISH);
		/* Input that ends too early: it would say OK for ever. */
		if (code == LZMA_OK && stream.avail_out > 0)
			code = LZMA_DATA_ERROR;
		packed->size = packed->room - stream.avail_out;
	}
	lzma_end(&stream);
	if (r < 0)
		return r;
	return code == LZMA_STREAM_END ? 0 : code == LZMA_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static int unpack_gzip(struct packed *packed)
{
	z_stream stream = { .next_in = (uint8_t *)packed->in, .avail_in = (uInt)packed->in_size };
	int code = Z_OK, r = 0;

	/* 16: with the header of gzip. */
	if (inflateInit2(&stream, MAX_WBITS + 16) != Z_OK)
		return -ENOMEM;
	while (code == Z_OK && (r = make_room(packed)) == 0) {
		stream.next_out = packed->out + packed->size;
		stream.avail_out = (uInt)(packed->room - packed->size);
		code = inflate(&stream, Z_NO_FLUSH);
		if (code == Z_OK && stream.avail_out > 0)
			code = Z_DATA_ERROR;
		packed->size = packed->room - stream.avail_out;
	}
	inflateEnd(&stream);
	if (r < 0)
		return r;
	return code == Z_STREAM_END ? 0 : code == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static int unpack_zstd(struct packed *packed)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	ZSTD_inBuffer in = { packed->in, packed->in_size, 0 };
	size_t left = 1;
	int r = 0;

	if (!context)
		return -ENOMEM;
	while (left && (r = make_room(packed)) == 0) {
		ZSTD_outBuffer out = { packed->out, packed->room, packed->size };

		left = ZSTD_decompressStream(context, &out, &in);
		packed->size = out.pos;
		if (ZSTD_isError(left) || (left && out.pos < out.size)) {
			r = -EBADMSG;
			break;
		}
	}
	ZSTD_freeDCtx(context);
	return r;
}

static const struct {
	const char *suffix;
	int (*unpack)(struct packed *packed);
} formats[] = {
	{ ".ko", NULL },
	{ ".ko.xz", unpack_xz },
	{ ".ko.zst", unpack_zstd },
	{ ".ko.gz", unpack_gzip },
};

static int read_module(const char *path, size_t format, void **ret, size_t *ret_size)
{
	_cleanup_free_ void *data = NULL;
	struct packed packed = { 0 };
	size_t size;
	int r;

	r = read_file(path, MODULE_SIZE_MAX, &data, &size);
	if (r < 0)
		return r;
	if (!formats[format].unpack) {
		*ret = steal_ptr(data);
		*ret_size = size;
		return 0;
	}
	packed.in = data;
	packed.in_size = size;
	r = formats[format].unpack(&packed);
	if (r < 0) {
		free(packed.out);
		return r;
	}
	*ret = packed.out;
	*ret_size = packed.size;
	return 0;
}

/* Takes @data, also if it fails. */
static int add(struct modules *modules, const char *name, size_t length, void *data, size_t size)
{
	_cleanup_free_ void *owned = data;
	struct module *more;
	char *file;

	if (modules->n == MODULES_MAX)
		return -E2BIG;
	more = realloc(modules->list, (modules->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	modules->list = more;
	if (asprintf(&file, "%.*s.ko", (int)length, name) < 0)
		return -ENOMEM;
	modules->list[modules->n++] = (struct module){ file, steal_ptr(owned), size };
	return 0;
}

int modules_add_ours(struct modules *modules, const char *folder, const char *release,
		     const char *name, bool needed, struct popcorn_error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(our_folders) * ARRAY_SIZE(formats); i++) {
		size_t format = i % ARRAY_SIZE(formats), size;
		char path[PATH_MAX];
		void *data;
		int r;

		if ((size_t)snprintf(path, sizeof(path), "%s/%s/%s/%s%s", folder, release,
				     our_folders[i / ARRAY_SIZE(formats)], name,
				     formats[format].suffix) >= sizeof(path))
			continue;
		r = read_module(path, format, &data, &size);
		if (r == -ENOENT || r == -ENOTDIR)
			continue;
		if (r == 0)
			r = add(modules, name, strlen(name), data, size);
		if (r == -ENOMEM)
			return no_memory(error);
		if (r < 0)
			return popcorn_error_set(error, POPCORN_ERROR_NO_MODULES,
						 "%s can't be read: %s; build popcorn's modules "
						 "for kernel %s again",
						 path, strerror(-r), release);
		return 0;
	}
	if (!needed)
		return 1;
	return popcorn_error_set(
		error, POPCORN_ERROR_NO_MODULES,
		"kernel %s needs popcorn's module %s.ko, which is not in %s/%s/updates or extra; "
		"install linux-headers-%s, then 'dkms autoinstall -k %s'",
		release, name, folder, release, release, release);
}

/* modules.dep, modules.builtin: lines that begin with the path of a module. Mapped: most of it is never looked at. */
struct list {
	const char *text;
	size_t size;
};

static void list_done(struct list *list)
{
	if (list->size)
		munmap((void *)list->text, list->size);
}

static int list_open(const char *folder, const char *release, const char *name, struct list *ret)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	struct stat st;
	void *text;

	*ret = (struct list){ "", 0 };
	if ((size_t)snprintf(path, sizeof(path), "%s/%s/%s", folder, release, name) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENODEV;
	if ((uint64_t)st.st_size > LIST_SIZE_MAX)
		return -EFBIG;
	if (st.st_size == 0)
		return 0;
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		return -errno;
	*ret = (struct list){ text, (size_t)st.st_size };
	return 0;
}

/* A part of a list: not terminated. */
struct part {
	const char *s;
	size_t length;
};

/* "kernel/drivers/net/virtio_net.ko.xz": how much of it is the name, and how the file is packed. -EINVAL */
static int name_of(struct part path, struct part *ret, size_t *ret_format)
{
	const char *slash = memrchr(path.s, '/', path.length);
	struct part file = path;

	if (slash) {
		file.s = slash + 1;
		file.length = path.length - (size_t)(file.s - path.s);
	}
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		size_t length = strlen(formats[i].suffix);

		if (file.length <= length ||
		    memcmp(file.s + file.length - length, formats[i].suffix, length) != 0)
			continue;
		file.length -= length;
		*ret = file;
		*ret_format = i;
		return 0;
	}
	return -EINVAL;
}

/* Files may have '-' where the module's name has '_'. */
static bool is_name(struct part a, const char *b, size_t length)
{
	if (a.length != length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (a.s[i] != b[i] && !(strchr("-_", a.s[i]) && strchr("-_", b[i])))
			return false;
	return true;
}

/* The line of module @name: its path, and what is behind the colon. */
static bool list_find(const struct list *list, const char *name, struct part *ret_path,
		      struct part *ret_rest)
{
	const char *p = list->text, *all = list->text + list->size;

	while (p < all) {
		const char *end = memchr(p, '\n', (size_t)(all - p)) ?: all;
		const char *colon = memchr(p, ':', (size_t)(end - p)) ?: end;
		struct part path = { p, (size_t)(colon - p) }, found;
		size_t format;

		p = end + 1;
		if (name_of(path, &found, &format) < 0 || !is_name(found, name, strlen(name)))
			continue;
		*ret_path = path;
		if (ret_rest)
			*ret_rest = (struct part){ colon, (size_t)(end - colon) };
		return true;
	}
	return false;
}

static bool has(const struct modules *modules, struct part name)
{
	for (size_t i = 0; i < modules->n; i++)
		if (is_name(name, modules->list[i].name, strlen(modules->list[i].name) - 3))
			return true;
	return false;
}

static int add_file(struct modules *modules, const char *folder, const char *release,
		    struct part file, struct popcorn_error *error)
{
	size_t format = 0, size;
	char path[PATH_MAX];
	struct part name;
	void *data;
	int r;

	r = name_of(file, &name, &format);
	if (r == 0 && has(modules, name))
		return 0;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s/%.*s", folder, release,
			     (int)(file.length < PATH_MAX ? file.length : PATH_MAX),
			     file.s) >= sizeof(path))
		r = -ENAMETOOLONG;
	if (r == 0)
		r = read_module(path, format, &data, &size);
	if (r == 0)
		r = add(modules, name.s, name.length, data, size);
	if (r == -ENOMEM)
		return no_memory(error);
	if (r < 0)
		return popcorn_error_set(
			error, POPCORN_ERROR_NO_MODULES,
			"%s, a driver of kernel %s, can't be read: %s; install the "
			"package of the kernel again, or run 'depmod %s'",
			path, release, strerror(-r), release);
	return 0;
}

int modules_add_driver(struct modules *modules, const char *folder, const char *release,
		       const char *name, const char *what_for, bool needed,
		       struct popcorn_error *error)
{
	_cleanup_(list_done) struct list deps = { 0 }, builtin = { 0 };
	struct part path, rest;
	int r;

	/* A kernel without modules has none of these files. */
	r = list_open(folder, release, "modules.dep", &deps);
	if (r < 0 && r != -ENOENT)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MODULES,
					 "%s/%s/modules.dep can't be read: %s; run 'depmod %s'",
					 folder, release, strerror(-r), release);
	if (!list_find(&deps, name, &path, &rest)) {
		(void)list_open(folder, release, "modules.builtin", &builtin);
		if (list_find(&builtin, name, &path, NULL))
			return 0;
		if (!needed)
			return 1;
		return popcorn_error_set(error, POPCORN_ERROR_NO_MODULES,
					 "kernel %s needs its driver %s for %s, which is neither "
					 "in %s/%s/modules.dep "
					 "nor modules.builtin; install all modules of that kernel "
					 "there, run 'depmod %s', or "
					 "do without",
					 release, name, what_for, folder, release, release);
	}
	/* What is needed first stands last. */
	while (rest.length) {
		const char *blank = memrchr(rest.s, ' ', rest.length);
		const char *begin = blank ? blank + 1 : rest.s + 1;
		struct part file = { begin, (size_t)(rest.s + rest.length - begin) };

		rest.length = blank ? (size_t)(blank - rest.s) : 0;
		if (!file.length || *file.s == ':')
			continue;
		r = add_file(modules, folder, release, file, error);
		if (r < 0)
			return r;
	}
	return add_file(modules, folder, release, path, error);
}
