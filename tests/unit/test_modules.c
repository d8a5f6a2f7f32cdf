// SPDX-License-Identifier: GPL-2.0-or-later
/* Drivers and what they depend on, from a folder like those in /lib/modules. */
#include <check.h>
#include <errno.h>
#include <lzma.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include "modules.h"
#include "run.h"
#include "util.h"

#define RELEASE "6.1.0-9-test"

static char top[64];
static struct modules modules;
static struct popcorn_error error;

static void put(const char *path, const void *data, size_t size)
{
	char full[PATH_MAX], *slash;
	FILE *f;

	snprintf(full, sizeof(full), "%s/" RELEASE "/%s", top, path);
	slash = strrchr(full, '/');
	*slash = '\0';
	ck_assert_int_eq(make_folders(full, 0755), 0);
	*slash = '/';
	f = fopen(full, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

static void put_text(const char *path, const char *text)
{
	put(path, text, strlen(text));
}

static int driver(const char *name)
{
	error = (struct popcorn_error){ 0 };
	return modules_add_driver(&modules, top, RELEASE, name, "a test", true, &error);
}

/* "a b c": the names, in order, without ".ko" */
static const char *names(void)
{
	static char text[256];

	*text = '\0';
	for (size_t i = 0; i < modules.n; i++)
		text_add(text, sizeof(text), "%s%.*s", i ? " " : "",
			 (int)strlen(modules.list[i].name) - 3, modules.list[i].name);
	return text;
}

static void check_refused(const char *name, const char *text)
{
	size_t before = modules.n;

	ck_assert_int_lt(driver(name), 0);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NO_MODULES);
	ck_assert_msg(strstr(error.text, text) != NULL, "'%s' is not in '%s'", text, error.text);
	ck_assert_uint_ge(modules.n, before);
}

static void setup(void)
{
	strcpy(top, "/tmp/test-modules-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	put_text("modules.dep", "kernel/lib/crc.ko:\n"
				"kernel/net/vsock.ko:\n"
				"kernel/net/vsock_common.ko: kernel/net/vsock.ko\n"
				"kernel/net/vsock-transport.ko: kernel/net/vsock_common.ko "
				"kernel/net/vsock.ko\n"
				"kernel/drivers/net/virtio_net.ko: kernel/net/failover.ko\n"
				"kernel/net/failover.ko:\n"
				"kernel/fs/broken.ko: kernel/fs/absent.ko\n"
				"kernel/fs/absent.ko:\n");
	put_text("modules.builtin", "kernel/fs/fuse/fuse.ko\nkernel/fs/fuse/virtiofs.ko\n");
	put_text("kernel/net/vsock.ko", "vsock");
	put_text("kernel/net/vsock_common.ko", "common");
	put_text("kernel/net/vsock-transport.ko", "transport");
	put_text("kernel/net/failover.ko", "failover");
	put_text("kernel/drivers/net/virtio_net.ko", "net");
	put_text("kernel/fs/broken.ko", "broken");
}

static void teardown(void)
{
	char command[128];

	modules_done(&modules);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(test_order)
{
	ck_assert_msg(driver("vsock_transport") == 0, "%s", error.text);
	ck_assert_str_eq(names(), "vsock vsock_common vsock-transport");
	ck_assert_uint_eq(modules.list[1].size, 6);
	ck_assert_mem_eq(modules.list[1].data, "common", 6);
	/* What is there is not added again. */
	ck_assert_int_eq(driver("vsock-transport"), 0);
	ck_assert_int_eq(driver("vsock_common"), 0);
	ck_assert_int_eq(driver("virtio_net"), 0);
	ck_assert_str_eq(names(), "vsock vsock_common vsock-transport failover virtio_net");
	/* Neither a part of a name nor a dependency is a module. */
	check_refused("net", "its driver net");
	check_refused("virtio", "its driver virtio");
}
END_TEST

START_TEST(test_builtin)
{
	ck_assert_int_eq(driver("virtiofs"), 0);
	ck_assert_uint_eq(modules.n, 0);
}
END_TEST

START_TEST(test_missing)
{
	char path[PATH_MAX];

	check_refused("overlay", "its driver overlay for a test");
	check_refused("overlay", RELEASE "/modules.dep");
	ck_assert_int_eq(
		modules_add_driver(&modules, top, RELEASE, "overlay", "a test", false, NULL), 1);
	check_refused("broken", "kernel/fs/absent.ko");
	ck_assert_uint_eq(modules.n, 0);

	/* No lists at all, and odd ones. */
	put_text("modules.dep", "");
	check_refused("vsock", "its driver vsock");
	put_text("modules.dep", ":\n\n.ko:\nkernel/a.ko.xz\nx/vsock.ko");
	check_refused("vsock", "x/vsock.ko");
	put_text("modules.dep", "kernel/net/vsock.ko:   kernel/net/failover.ko  \n");
	ck_assert_int_eq(driver("vsock"), 0);
	ck_assert_str_eq(names(), "failover vsock");
	snprintf(path, sizeof(path), "%s/" RELEASE "/modules.dep", top);
	ck_assert_int_eq(unlink(path), 0);
	check_refused("virtio_net", "its driver virtio_net");
	ck_assert_int_eq(mkdir(path, 0755), 0);
	check_refused("virtio_net", "can't be read");
}
END_TEST

/* More than fits into the first guess at its size. */
static uint8_t plain[3 << 20], packed[4 << 20];

static size_t pack_xz(void)
{
	size_t size = 0;

	ck_assert_int_eq(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, plain, sizeof(plain),
						 packed, &size, sizeof(packed)),
			 LZMA_OK);
	return size;
}

static size_t pack_zstd(void)
{
	size_t size = ZSTD_compress(packed, sizeof(packed), plain, sizeof(plain), 1);

	ck_assert(!ZSTD_isError(size));
	return size;
}

static size_t pack_gzip(void)
{
	z_stream stream = { .next_in = plain, .avail_in = sizeof(plain) };

	ck_assert_int_eq(deflateInit2(&stream, 1, Z_DEFLATED, MAX_WBITS + 16, 8, 0), Z_OK);
	stream.next_out = packed;
	stream.avail_out = sizeof(packed);
	ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	return sizeof(packed) - stream.avail_out;
}

START_TEST(test_packed)
{
	static const struct {
		const char *suffix;
		size_t (*pack)(void);
	} formats[] = { { "xz", pack_xz }, { "zst", pack_zstd }, { "gz", pack_gzip } };
	char path[64], line[128];
	size_t size;

	for (size_t i = 0; i < sizeof(plain); i += 512)
		plain[i] = (uint8_t)(i >> 9);
	snprintf(path, sizeof(path), "kernel/net/vsock.ko.%s", formats[_i].suffix);
	snprintf(line, sizeof(line), "%s:\n", path);
	put_text("modules.dep", line);
	size = formats[_i].pack();

	put(path, packed, size);
	ck_assert_msg(driver("vsock") == 0, "%s", error.text);
	ck_assert_str_eq(modules.list[0].name, "vsock.ko");
	ck_assert_uint_eq(modules.list[0].size, sizeof(plain));
	ck_assert_mem_eq(modules.list[0].data, plain, sizeof(plain));
	modules_done(&modules);

	/* Cut off, anything else, nothing. */
	put(path, packed, size - size / 3);
	check_refused("vsock", path);
	put(path, plain, 1000);
	check_refused("vsock", path);
	put(path, "", 0);
	check_refused("vsock", path);
	ck_assert_uint_eq(modules.n, 0);
}
END_TEST

START_TEST(test_ours)
{
	ck_assert_int_eq(modules_add_ours(&modules, top, RELEASE, "popcorn_msg", true, &error),
			 -ENOENT);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NO_MODULES);
	ck_assert_int_eq(modules_add_ours(&modules, top, RELEASE, "popcorn_msg", false, &error), 1);
	put_text("extra/popcorn_msg.ko", "extra");
	put_text("updates/dkms/popcorn_msg.ko", "dkms");
	ck_assert_int_eq(modules_add_ours(&modules, top, RELEASE, "popcorn_msg", true, &error), 0);
	ck_assert_uint_eq(modules.list[0].size, 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("modules");
	TCase *tc = tcase_create("modules");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_order);
	tcase_add_test(tc, test_builtin);
	tcase_add_test(tc, test_missing);
	tcase_add_loop_test(tc, test_packed, 0, 3);
	tcase_add_test(tc, test_ours);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
