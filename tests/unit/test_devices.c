// SPDX-License-Identifier: GPL-2.0-or-later
/* Which devices a kernel gets, and what its drivers see of them. */
#include <check.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent-config.h"
#include "devices.h"
#include "fake.h"
#include "run.h"
#include "util.h"

#define BIT(n) (1ULL << (n))
#define ID 7

static struct fake *fake;
static struct driver *driver;
static struct fake_kernel *kernel;
static struct kernel_def def;
static struct config config;
static struct popcorn_error error;
static int fd;

static const struct device_net net = { { 2, 0x70, 0x63, 0, 0, ID }, 9000 };

static void make(void)
{
	uint32_t id;

	fake = fake_new(2, 1, 4, 1);
	fake->vhost_features = ~0ULL;
	driver = fake_driver(fake);
	ck_assert_int_eq(driver->ops->create(driver, "db0", &id, &fd), 0);
	kernel = fake_kernel(fake, "db0");
	def = (struct kernel_def){ .vsock = WISH_NO };
	config = (struct config){ .virtiofsd = (char *)"/dev/null" };
	ck_assert_int_eq(network_config_init(&config.network), 0);
	config.network.enabled = false;
	error = (struct popcorn_error){ 0 };
}

static void unmake(void)
{
	kernel_def_clear_shares(&def);
	network_config_done(&config.network);
	close(fd);
	driver_free(driver);
	fake_free(fake);
}

static void share(const char *tag, const char *path, bool read_only)
{
	ck_assert_int_eq(kernel_def_add_share(&def, tag, path, read_only, &error), 0);
}

static void adds(const struct device_net *network)
{
	ck_assert_msg(devices_add(&def, network, driver, fd, ID, &error) == 0, "%s", error.text);
}

/* All that it has, in the order of slots. */
static void has(const char *names)
{
	char all[256] = "";

	for (unsigned i = 0; i < POPCORN_DEVICES_MAX; i++)
		if (kernel->devices[i].size)
			strcat(strcat(all, *all ? " " : ""), kernel->devices[i].name);
	ck_assert_str_eq(all, names);
}

START_TEST(test_none)
{
	adds(NULL);
	has("");
	ck_assert_int_eq(devices_check(&config, &def, &error), 0);
}
END_TEST

START_TEST(test_net)
{
	const struct popcorn_add_device *device = &kernel->devices[0];
	struct virtio_net_config seen;

	adds(&net);
	has("net0");
	ck_assert_uint_eq(device->device, VIRTIO_ID_NET);
	ck_assert_uint_eq(device->nr_queues, 2);
	memcpy(&seen, device->config, sizeof(seen));
	ck_assert_mem_eq(seen.mac, net.mac, 6);
	ck_assert_uint_eq(seen.status, VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(seen.mtu, 9000);
	ck_assert_uint_eq(device->config_length, 12);
	for (unsigned bit = 0; bit < 64; bit++) {
		static const unsigned offered[] = {
			VIRTIO_F_VERSION_1,
			VIRTIO_RING_F_EVENT_IDX,
			VIRTIO_RING_F_INDIRECT_DESC,
			VIRTIO_NET_F_MRG_RXBUF,
			VIRTIO_NET_F_MAC,
			VIRTIO_NET_F_STATUS,
			VIRTIO_NET_F_MTU,
			VIRTIO_NET_F_CSUM,
			VIRTIO_NET_F_GUEST_CSUM,
			VIRTIO_NET_F_HOST_TSO4,
			VIRTIO_NET_F_HOST_TSO6,
			VIRTIO_NET_F_HOST_ECN,
			VIRTIO_NET_F_GUEST_TSO4,
			VIRTIO_NET_F_GUEST_TSO6,
			VIRTIO_NET_F_GUEST_ECN,
		};
		bool is_offered = false;

		for (size_t i = 0; i < ARRAY_SIZE(offered); i++)
			is_offered |= offered[i] == bit;
		ck_assert_msg(!(device->features & BIT(bit)) == !is_offered, "feature %u", bit);
	}
}
END_TEST

/* What the machine's server can't is not offered; what only the tap does is. */
START_TEST(test_old_server)
{
	fake->vhost_features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC);
	def.vsock = WISH_YES;
	adds(&net);
	has("net0 vsock");
	ck_assert(kernel->devices[0].features & BIT(VIRTIO_NET_F_CSUM));
	ck_assert(!(kernel->devices[0].features & BIT(VIRTIO_NET_F_MRG_RXBUF)));
	ck_assert(!(kernel->devices[0].features & BIT(VIRTIO_RING_F_EVENT_IDX)));
	ck_assert_uint_eq(kernel->devices[1].features, fake->vhost_features);
}
END_TEST

START_TEST(test_files)
{
	const char *const longest = "012345678901234567890123456789012345";
	struct device_share found;
	struct virtio_fs_config seen;

	share("data", "/srv", true);
	share(longest, "/usr", false);
	adds(NULL);
	has("fs0 fs1");
	for (unsigned i = 0; i < 2; i++) {
		const struct popcorn_add_device *device = &kernel->devices[i];

		ck_assert_uint_eq(device->device, VIRTIO_ID_FS);
		ck_assert_uint_eq(device->nr_queues, 2);
		ck_assert_uint_eq(device->config_length, sizeof(seen));
		memcpy(&seen, device->config, sizeof(seen));
		ck_assert_int_eq(strncmp((char *)seen.tag, i ? longest : "data", 36), 0);
		ck_assert_uint_eq(seen.num_request_queues, 1);
		ck_assert_uint_eq(device->features, BIT(VIRTIO_F_VERSION_1) |
							    BIT(VIRTIO_RING_F_EVENT_IDX) |
							    BIT(VIRTIO_RING_F_INDIRECT_DESC));
	}
	ck_assert_int_eq(devices_find_share(&def, "fs1", &found), 0);
	ck_assert_str_eq(found.path, "/usr");
	ck_assert_int_eq(devices_find_share(&def, "fs2", &found), -ENOENT);
	ck_assert_int_eq(devices_find_share(&def, "fs", &found), -ENOENT);
	ck_assert_int_eq(devices_find_share(&def, "fs00", &found), -ENOENT);
}
END_TEST

START_TEST(test_root)
{
	static const struct {
		const char *root, *path;
		bool read_only;
	} roots[] = {
		{ "primary", "/", true },
		{ "/srv/db0", "/srv/db0", false },
		{ "/srv/db0:ro", "/srv/db0", true },
		{ "/:ro", "/", true },
	};
	struct device_share found;

	share("data", "/srv", false);
	def.root = (char *)"initramfs";
	ck_assert_int_eq(devices_share(&def, 0, &found), 0);
	ck_assert_str_eq(found.tag, "data");
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		def.root = (char *)roots[i].root;
		ck_assert_int_eq(devices_share(&def, 0, &found), 0);
		ck_assert_str_eq(found.tag, AGENT_ROOT_TAG);
		ck_assert_str_eq(found.path, roots[i].path);
		ck_assert_int_eq(found.read_only, roots[i].read_only);
		ck_assert_int_eq(devices_share(&def, 1, &found), 0);
		ck_assert_str_eq(found.tag, "data");
		ck_assert_int_eq(devices_share(&def, 2, &found), -ENOENT);
	}
}
END_TEST

START_TEST(test_vsock)
{
	struct virtio_vsock_config seen;

	def.vsock = WISH_NOT_SAID;
	adds(NULL);
	has("vsock");
	ck_assert_uint_eq(kernel->devices[0].device, VIRTIO_ID_VSOCK);
	ck_assert_uint_eq(kernel->devices[0].nr_queues, 3);
	memcpy(&seen, kernel->devices[0].config, sizeof(seen));
	ck_assert_uint_eq(seen.guest_cid, 1000000 + ID);

	/* Where there is none: only whoever wants it misses it. */
	kernel->devices[0].size = 0;
	fake->vhost_features = 0;
	adds(NULL);
	has("");
	def.vsock = WISH_YES;
	ck_assert_int_eq(devices_add(&def, NULL, driver, fd, ID, &error), -EOPNOTSUPP);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NOT_SUPPORTED);
	ck_assert_ptr_nonnull(strstr(error.text, "vhost_vsock"));
}
END_TEST

START_TEST(test_all_or_nothing)
{
	def.vsock = WISH_YES;
	def.root = (char *)"/";
	for (int i = 0; i < SHARES_MAX; i++) {
		char tag[8];

		snprintf(tag, sizeof(tag), "t%d", i);
		share(tag, "/", false);
	}
	for (unsigned i = 1; i <= POPCORN_DEVICES_MAX; i++) {
		fake->refuse_device = i;
		error = (struct popcorn_error){ 0 };
		ck_assert_int_eq(devices_add(&def, &net, driver, fd, ID, &error), -ENOSPC);
		ck_assert_int_eq(error.id, POPCORN_ERROR_FAILED);
		has("");
	}
	/* As many as there can be have room. */
	fake->refuse_device = 0;
	adds(&net);
	has("net0 fs0 fs1 fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 fs12 fs13 vsock");
}
END_TEST

static void refused(enum popcorn_error_id id, const char *text)
{
	error = (struct popcorn_error){ 0 };
	ck_assert_int_lt(devices_check(&config, &def, &error), 0);
	ck_assert_int_eq(error.id, id);
	ck_assert_msg(strstr(error.text, text) != NULL, "'%s' is not in '%s'", text, error.text);
}

START_TEST(test_check)
{
	ck_assert_int_eq(devices_check(&config, &def, &error), 0);
	share("data", "/", false);
	ck_assert_int_eq(devices_check(&config, &def, &error), 0);
	config.virtiofsd = (char *)"/nonexistent";
	refused(POPCORN_ERROR_NOT_SUPPORTED, "qemu-system-common");
	config.virtiofsd = (char *)"/dev/null";
	share("file", "/dev/null", false);
	refused(POPCORN_ERROR_INVALID_ARGUMENT, "/dev/null of share file is not a folder");
	kernel_def_clear_shares(&def);
	def.root = (char *)"/nonexistent:ro";
	refused(POPCORN_ERROR_INVALID_ARGUMENT, "/nonexistent of share popcorn-root");
	def.root = NULL;

	/* A network that was asked for; one that nobody said anything about; none. */
	ck_assert(!devices_has_network(&config, &def));
	config.network.enabled = true;
	ck_assert(devices_has_network(&config, &def));
	fake->vhost_features = 0;
	def.network = NETWORK_PRIMARY;
	refused(POPCORN_ERROR_NOT_SUPPORTED, "vhost_net");
	def.network = NETWORK_DEFAULT;
	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(devices_check(&config, &def, &error), 0);
	ck_assert(!devices_has_network(&config, &def));
	def.vsock = WISH_YES;
	refused(POPCORN_ERROR_NOT_SUPPORTED, "vhost_vsock");
	/* One from before virtio 1. */
	fake->vhost_features = BIT(VIRTIO_RING_F_INDIRECT_DESC);
	refused(POPCORN_ERROR_NOT_SUPPORTED, "older");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("devices");
	TCase *tc = tcase_create("devices");

	tcase_add_checked_fixture(tc, make, unmake);
	tcase_add_test(tc, test_none);
	tcase_add_test(tc, test_net);
	tcase_add_test(tc, test_old_server);
	tcase_add_test(tc, test_files);
	tcase_add_test(tc, test_root);
	tcase_add_test(tc, test_vsock);
	tcase_add_test(tc, test_all_or_nothing);
	tcase_add_test(tc, test_check);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
