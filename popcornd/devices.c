// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/agent-config.h"
#include "devices.h"
#include "util.h"
#include "vhost.h"

#define BIT(n) (UINT64_C(1) << (n))

/* Of the rings: what each server that we know of can, and no more than the transport knows. */
#define RING_FEATURES \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC))
/* Of a network device: what vhost-net has to know of, … */
#define NET_VHOST_FEATURES (RING_FEATURES | BIT(VIRTIO_NET_F_MRG_RXBUF))
/* … and what is between the driver and the tap, which can all of it (TUNSETOFFLOAD). */
#define NET_TAP_FEATURES                                                                           \
	(BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MTU) |                \
	 BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |     \
	 BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))

/* Entries of queues: as other virtual machines have them. Files: a request is one entry. */
#define NET_QUEUE_MAX 256
#define FILES_QUEUE_MAX 1024
#define VSOCK_QUEUE_MAX 128

static void root_share(const struct kernel_def *def, struct device_share *ret)
{
	size_t length = strlen(def->root);

	ret->tag = AGENT_ROOT_TAG;
	/* What is written stays above it then, in the kernel's memory. */
	ret->read_only = kernel_def_keeps_root(def);
	if (strcmp(def->root, ROOT_PRIMARY) == 0) {
		strcpy(ret->path, "/");
		return;
	}
	if (ret->read_only)
		length -= strlen(ROOT_READ_ONLY);
	snprintf(ret->path, sizeof(ret->path), "%.*s", (int)length, def->root);
}

int devices_share(const struct kernel_def *def, size_t index, struct device_share *ret)
{
	bool has_root = kernel_def_has_root(def);
	const struct kernel_share *share;

	if (has_root && index == 0) {
		root_share(def, ret);
		return 0;
	}
	index -= has_root;
	if (index >= def->n_shares)
		return -ENOENT;
	share = &def->shares[index];
	ret->tag = share->tag;
	ret->read_only = share->read_only;
	snprintf(ret->path, sizeof(ret->path), "%s", share->path);
	return 0;
}

static void files_name(size_t index, char ret[POPCORN_DEVICE_NAME_MAX])
{
	snprintf(ret, POPCORN_DEVICE_NAME_MAX, "fs%zu", index);
}

int devices_find_share(const struct kernel_def *def, const char *device, struct device_share *ret)
{
	struct device_share share;

	for (size_t i = 0; devices_share(def, i, &share) >= 0; i++) {
		char name[POPCORN_DEVICE_NAME_MAX];

		files_name(i, name);
		if (strcmp(device, name) == 0) {
			*ret = share;
			return 0;
		}
	}
	return -ENOENT;
}

/* A server of the kernel's for a moment: what it can. */
static int ask_features(const char *path, const char *module, const char *what, uint64_t *ret,
			struct popcorn_error *error)
{
	int fd = vhost_open(path, ret);

	if (fd < 0)
		return popcorn_error_set(error, POPCORN_ERROR_NOT_SUPPORTED,
					 "%s was asked for, and %s can't be opened: %s; 'modprobe "
					 "%s' says why, or do without",
					 what, path, strerror(-fd), module);
	close(fd);
	if ((*ret & BIT(VIRTIO_F_VERSION_1)) == 0)
		return popcorn_error_set(error, POPCORN_ERROR_NOT_SUPPORTED,
					 "%s was asked for, and %s of this kernel is older than "
					 "virtio 1; do without",
					 what, path);
	return 0;
}

static int net_features(uint64_t *ret, struct popcorn_error *error)
{
	return ask_features(VHOST_NET_PATH, "vhost_net", "a network", ret, error);
}

/* 1: there is to be such a device. */
static int vsock_features(const struct kernel_def *def, uint64_t *ret, struct popcorn_error *error)
{
	int r;

	if (def->vsock == WISH_NO)
		return 0;
	r = ask_features(VHOST_VSOCK_PATH, "vhost_vsock", "vsock", ret,
			 def->vsock == WISH_YES ? error : NULL);
	if (r < 0)
		return def->vsock == WISH_YES ? r : 0;
	return 1;
}

bool devices_has_network(const struct config *config, const struct kernel_def *def)
{
	uint64_t features;

	return network_resolve(&config->network, def->network) != 0 &&
	       (def->network != NETWORK_DEFAULT || net_features(&features, NULL) == 0);
}

int devices_check(const struct config *config, const struct kernel_def *def,
		  struct popcorn_error *error)
{
	struct device_share share;
	uint64_t features;
	size_t n = 0;
	int r;

	for (; devices_share(def, n, &share) >= 0; n++) {
		struct stat st;

		if (stat(share.path, &st) < 0)
			return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
						 "the folder %s of share %s can't be used: %s; "
						 "make it, or name another one",
						 share.path, share.tag, strerror(errno));
		if (!S_ISDIR(st.st_mode))
			return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
						 "%s of share %s is not a folder; name one",
						 share.path, share.tag);
	}
	if (n > 0 && access(config->virtiofsd, F_OK) < 0)
		return popcorn_error_set(error, POPCORN_ERROR_NOT_SUPPORTED,
					 "files are to be shared, and %s is not there; install "
					 "qemu-system-common, or say in popcornd.conf where "
					 "virtiofsd is",
					 config->virtiofsd);
	/* A network that nobody asked for is one that may not be there. */
	if (def->network != NETWORK_DEFAULT && network_resolve(&config->network, def->network)) {
		r = net_features(&features, error);
		if (r < 0)
			return r;
	}
	r = vsock_features(def, &features, error);
	return r < 0 ? r : 0;
}

/* What is to be added, in the order of slots. */
struct plan {
	struct popcorn_add_device devices[POPCORN_DEVICES_MAX];
	size_t n;
};

/* The definition has no more of them than there are slots: SHARES_MAX. */
static struct popcorn_add_device *add(struct plan *plan, uint32_t device, uint32_t nr_queues,
				      uint32_t queue_max, uint64_t features, const void *config,
				      size_t config_length)
{
	struct popcorn_add_device *added = &plan->devices[plan->n++];

	*added = (struct popcorn_add_device){
		.device = device,
		.nr_queues = nr_queues,
		.queue_max = queue_max,
		.features = features,
		.config_length = (uint32_t)config_length,
	};
	memcpy(added->config, config, config_length);
	return added;
}

static int add_net(struct plan *plan, const struct device_net *net, struct popcorn_error *error)
{
	struct virtio_net_config config = {
		.status = VIRTIO_NET_S_LINK_UP,
		.mtu = net->mtu,
	};
	uint64_t features;
	int r;

	r = net_features(&features, error);
	if (r < 0)
		return r;
	memcpy(config.mac, net->mac, sizeof(config.mac));
	/* No further field is there with the features that are offered. */
	strcpy(add(plan, VIRTIO_ID_NET, 2, NET_QUEUE_MAX,
		   (features & NET_VHOST_FEATURES) | NET_TAP_FEATURES, &config,
		   offsetof(struct virtio_net_config, mtu) + sizeof(config.mtu))
		       ->name,
	       NET_DEVICE);
	return 0;
}

static void add_files(struct plan *plan, size_t index, const struct device_share *share)
{
	struct virtio_fs_config config = { .num_request_queues = 1 };

	/* No NUL at the end of the longest one: so it is specified. */
	_Static_assert(sizeof(config.tag) == SHARE_TAG_MAX, "room for a tag");
	memcpy(config.tag, share->tag, strlen(share->tag));
	files_name(index, add(plan, VIRTIO_ID_FS, 2, FILES_QUEUE_MAX, RING_FEATURES, &config,
			      sizeof(config))
				  ->name);
}

static int add_vsock(struct plan *plan, const struct kernel_def *def, uint32_t id,
		     struct popcorn_error *error)
{
	struct virtio_vsock_config config = { .guest_cid = POPCORN_CID_BASE + id };
	uint64_t features;
	int r;

	r = vsock_features(def, &features, error);
	if (r <= 0)
		return r;
	strcpy(add(plan, VIRTIO_ID_VSOCK, 3, VSOCK_QUEUE_MAX, features & RING_FEATURES, &config,
		   sizeof(config))
		       ->name,
	       VSOCK_DEVICE);
	return 0;
}

int devices_add(const struct kernel_def *def, const struct device_net *net, struct driver *driver,
		int fd, uint32_t id, struct popcorn_error *error)
{
	struct plan plan = { .n = 0 };
	uint32_t slots[POPCORN_DEVICES_MAX];
	struct device_share share;
	int r = 0;

	if (net)
		r = add_net(&plan, net, error);
	for (size_t i = 0; r >= 0 && devices_share(def, i, &share) >= 0; i++)
		add_files(&plan, i, &share);
	if (r >= 0)
		r = add_vsock(&plan, def, id, error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < plan.n; i++) {
		r = driver->ops->add_device(driver, fd, &plan.devices[i], &slots[i]);
		if (r >= 0)
			continue;
		popcorn_error_set_errno(error, r, "the driver refuses device %s",
					plan.devices[i].name);
		while (i-- > 0)
			driver->ops->remove_device(driver, fd, slots[i]);
		return r;
	}
	return 0;
}
