// SPDX-License-Identifier: GPL-2.0-or-later
/* What network.c asks of the system: rtnetlink, /dev/net/tun, nftables, one sysctl. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <nftables/libnftables.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "network.h"
#include "util.h"

/* What virtio 1 has in front of each frame. */
#define VNET_HEADER_SIZE 12
/* Routes that are half of all addresses stand for the default route, as VPNs make them. */
#define DEFAULT_ROUTE_PREFIX_MAX 1
/* A dump that others write to meanwhile is begun again. */
#define DUMP_TRIES 10

#define FORWARD_PATH "/proc/sys/net/ipv4/ip_forward"

struct system {
	struct nl_sock *socket;
};

static void linkp(struct rtnl_link **link)
{
	rtnl_link_put(*link);
}

static void addrp(struct nl_addr **addr)
{
	nl_addr_put(*addr);
}

static void rtnl_addrp(struct rtnl_addr **addr)
{
	rtnl_addr_put(*addr);
}

static void cachep(struct nl_cache **cache)
{
	nl_cache_free(*cache);
}

static int to_errno(int r)
{
	static const struct {
		int nle, errno_;
	} table[] = {
		{ NLE_NODEV, ENODEV },	       { NLE_OBJ_NOTFOUND, ENODEV },
		{ NLE_EXIST, EEXIST },	       { NLE_PERM, EPERM },
		{ NLE_NOACCESS, EACCES },      { NLE_NOMEM, ENOMEM },
		{ NLE_INVAL, EINVAL },	       { NLE_BUSY, EBUSY },
		{ NLE_NOADDR, EADDRNOTAVAIL }, { NLE_OPNOTSUPP, EOPNOTSUPP },
		{ NLE_RANGE, ERANGE },
	};

	if (r >= 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].nle == -r)
			return -table[i].errno_;
	return -EIO;
}

static int get_link(struct system *system, const char *name, struct rtnl_link **ret)
{
	return to_errno(rtnl_link_get_kernel(system->socket, 0, name, ret));
}

/*
 * Interfaces.
 */

static int find_link(void *userdata, const char *name, struct network_link *ret)
{
	_cleanup_(linkp) struct rtnl_link *link = NULL, *master = NULL;
	struct system *system = userdata;
	int r = get_link(system, name, &link);

	if (r < 0)
		return r;
	*ret = (struct network_link){ 0 };
	snprintf(ret->kind, sizeof(ret->kind), "%s", rtnl_link_get_type(link) ?: "");
	if (rtnl_link_get_master(link) == 0)
		return 0;
	r = to_errno(
		rtnl_link_get_kernel(system->socket, rtnl_link_get_master(link), NULL, &master));
	if (r == 0)
		snprintf(ret->master, sizeof(ret->master), "%s", rtnl_link_get_name(master));
	return r;
}

static int add_bridge(void *userdata, const char *name, const uint8_t mac[MAC_SIZE], unsigned mtu)
{
	_cleanup_(linkp) struct rtnl_link *link = rtnl_link_bridge_alloc();
	_cleanup_(addrp) struct nl_addr *addr = nl_addr_build(AF_LLC, mac, MAC_SIZE);
	struct system *system = userdata;

	if (!link || !addr)
		return -ENOMEM;
	rtnl_link_set_name(link, name);
	rtnl_link_set_addr(link, addr);
	rtnl_link_set_mtu(link, mtu);
	return to_errno(rtnl_link_add(system->socket, link, NLM_F_CREATE | NLM_F_EXCL));
}

static int delete_link(void *userdata, const char *name)
{
	_cleanup_(linkp) struct rtnl_link *link = NULL;
	struct system *system = userdata;
	int r = get_link(system, name, &link);

	return r < 0 ? r : to_errno(rtnl_link_delete(system->socket, link));
}

static int change_link(struct system *system, const char *name, struct rtnl_link *changes)
{
	_cleanup_(linkp) struct rtnl_link *link = NULL;
	int r = get_link(system, name, &link);

	return r < 0 ? r : to_errno(rtnl_link_change(system->socket, link, changes, 0));
}

static int set_up(void *userdata, const char *name)
{
	_cleanup_(linkp) struct rtnl_link *changes = rtnl_link_alloc();

	if (!changes)
		return -ENOMEM;
	rtnl_link_set_flags(changes, IFF_UP);
	return change_link(userdata, name, changes);
}

static int set_master(void *userdata, const char *name, const char *master)
{
	_cleanup_(linkp) struct rtnl_link *link = NULL, *bridge = NULL;
	struct system *system = userdata;
	int r = get_link(system, name, &link);

	if (r == 0 && master)
		r = get_link(system, master, &bridge);
	if (r < 0)
		return r;
	return to_errno(rtnl_link_enslave_ifindex(system->socket,
						  bridge ? rtnl_link_get_ifindex(bridge) : 0,
						  rtnl_link_get_ifindex(link)));
}

static int list_ports(void *userdata, const char *bridge,
		      int (*each)(void *userdata, const char *name, const char *kind), void *whom)
{
	_cleanup_(linkp) struct rtnl_link *master = NULL;
	_cleanup_(cachep) struct nl_cache *cache = NULL;
	struct system *system = userdata;
	int r = get_link(system, bridge, &master);

	for (int i = 0; i < DUMP_TRIES && r == 0 && !cache; i++) {
		r = rtnl_link_alloc_cache(system->socket, AF_UNSPEC, &cache);
		r = r == -NLE_DUMP_INTR && i + 1 < DUMP_TRIES ? 0 : to_errno(r);
	}
	if (r < 0)
		return r;
	for (struct nl_object *object = nl_cache_get_first(cache); object && r >= 0;
	     object = nl_cache_get_next(object)) {
		struct rtnl_link *link = (struct rtnl_link *)object;

		if (rtnl_link_get_master(link) == rtnl_link_get_ifindex(master))
			r = each(whom, rtnl_link_get_name(link), rtnl_link_get_type(link) ?: "");
	}
	return r;
}

/*
 * Addresses and routes. There may be a million of them, so they are looked at as they come.
 */

struct look {
	int (*look)(struct look *look, struct nlmsghdr *header);
	int index; /* of an interface */
	uint32_t address;
	unsigned prefix;
	int except[2];
	bool found;
	struct {
		uint32_t address;
		unsigned prefix;
		int index;
	} route;
};

static int on_message(struct nl_msg *message, void *userdata)
{
	struct look *look = userdata;

	if (!look->found)
		look->look(look, nlmsg_hdr(message));
	return NL_OK;
}

static int look_at(struct system *system, int type, const void *header, size_t size,
		   struct look *look)
{
	int r = -NLE_DUMP_INTR;

	for (int i = 0; i < DUMP_TRIES && r == -NLE_DUMP_INTR; i++) {
		struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);

		if (!cb)
			return -ENOMEM;
		look->found = false;
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, look);
		r = nl_send_simple(system->socket, type, NLM_F_DUMP, (void *)(uintptr_t)header,
				   size);
		if (r >= 0)
			r = nl_recvmsgs(system->socket, cb);
		nl_cb_put(cb);
	}
	return r < 0 ? to_errno(r) : look->found;
}

static uint32_t get_address(const struct nlattr *attr)
{
	uint32_t address = 0;

	if (attr && nla_len(attr) == sizeof(address))
		memcpy(&address, nla_data(attr), sizeof(address));
	return ntohl(address);
}

static int look_at_address(struct look *look, struct nlmsghdr *header)
{
	struct nlattr *attrs[IFA_MAX + 1];
	struct ifaddrmsg *message = nlmsg_data(header);

	if (header->nlmsg_type != RTM_NEWADDR ||
	    nlmsg_parse(header, sizeof(*message), attrs, IFA_MAX, NULL) < 0 ||
	    message->ifa_family != AF_INET || (int)message->ifa_index != look->index)
		return 0;
	look->found = !look->address || get_address(attrs[IFA_LOCAL]) == look->address;
	return 0;
}

static int find_address(void *userdata, const char *name, uint32_t address)
{
	const struct ifaddrmsg message = { .ifa_family = AF_INET };
	_cleanup_(linkp) struct rtnl_link *link = NULL;
	struct look look = { .look = look_at_address, .address = address };
	struct system *system = userdata;
	int r = get_link(system, name, &link);

	if (r < 0)
		return r;
	look.index = rtnl_link_get_ifindex(link);
	return look_at(system, RTM_GETADDR, &message, sizeof(message), &look);
}

static int make_address(struct system *system, const char *name, uint32_t address, unsigned prefix,
			struct rtnl_addr **ret)
{
	_cleanup_(rtnl_addrp) struct rtnl_addr *result = rtnl_addr_alloc();
	_cleanup_(addrp) struct nl_addr *local = NULL, *broadcast = NULL;
	_cleanup_(linkp) struct rtnl_link *link = NULL;
	uint32_t raw = htonl(address), last = htonl(address | UINT32_MAX >> prefix);
	int r = get_link(system, name, &link);

	if (r < 0)
		return r;
	local = nl_addr_build(AF_INET, &raw, sizeof(raw));
	broadcast = nl_addr_build(AF_INET, &last, sizeof(last));
	if (!result || !local || !broadcast)
		return -ENOMEM;
	nl_addr_set_prefixlen(local, (int)prefix);
	rtnl_addr_set_ifindex(result, rtnl_link_get_ifindex(link));
	r = to_errno(rtnl_addr_set_local(result, local));
	if (r == 0)
		r = to_errno(rtnl_addr_set_broadcast(result, broadcast));
	if (r == 0)
		*ret = steal_ptr(result);
	return r;
}

static int add_address(void *userdata, const char *name, uint32_t address, unsigned prefix)
{
	_cleanup_(rtnl_addrp) struct rtnl_addr *addr = NULL;
	struct system *system = userdata;
	int r = make_address(system, name, address, prefix, &addr);

	return r < 0 ? r : to_errno(rtnl_addr_add(system->socket, addr, 0));
}

static int delete_address(void *userdata, const char *name, uint32_t address, unsigned prefix)
{
	_cleanup_(rtnl_addrp) struct rtnl_addr *addr = NULL;
	struct system *system = userdata;
	int r = make_address(system, name, address, prefix, &addr);

	return r < 0 ? r : to_errno(rtnl_addr_delete(system->socket, addr, 0));
}

static int look_at_route(struct look *look, struct nlmsghdr *header)
{
	struct rtmsg *message = nlmsg_data(header);
	struct nlattr *attrs[RTA_MAX + 1];
	uint32_t address;
	int index;

	if (header->nlmsg_type != RTM_NEWROUTE ||
	    nlmsg_parse(header, sizeof(*message), attrs, RTA_MAX, NULL) < 0 ||
	    message->rtm_family != AF_INET || message->rtm_dst_len <= DEFAULT_ROUTE_PREFIX_MAX ||
	    message->rtm_dst_len > 32)
		return 0;
	address = get_address(attrs[RTA_DST]);
	index = attrs[RTA_OIF] ? (int)nla_get_u32(attrs[RTA_OIF]) : 0;
	if (index && (index == look->except[0] || index == look->except[1]))
		return 0;
	if (!network_overlaps(look->address, look->prefix, address, message->rtm_dst_len))
		return 0;
	look->found = true;
	look->route.address = address;
	look->route.prefix = message->rtm_dst_len;
	look->route.index = index;
	return 0;
}

static int find_route(void *userdata, uint32_t address, unsigned prefix,
		      const char *const except[2], char ret[64])
{
	const struct rtmsg message = { .rtm_family = AF_INET };
	struct look look = { .look = look_at_route, .address = address, .prefix = prefix };
	struct system *system = userdata;
	char name[IF_NAMESIZE] = "";
	int r;

	for (int i = 0; i < 2; i++) {
		_cleanup_(linkp) struct rtnl_link *link = NULL;

		r = *except[i] ? get_link(system, except[i], &link) : -ENODEV;
		if (r < 0 && r != -ENODEV)
			return r;
		look.except[i] = r == 0 ? rtnl_link_get_ifindex(link) : 0;
	}
	r = look_at(system, RTM_GETROUTE, &message, sizeof(message), &look);
	if (r > 0) {
		_cleanup_(linkp) struct rtnl_link *link = NULL;

		if (look.route.index &&
		    rtnl_link_get_kernel(system->socket, look.route.index, NULL, &link) == 0)
			snprintf(name, sizeof(name), "%s", rtnl_link_get_name(link));
		snprintf(ret, 64, "%s/%u%s%s", ADDRESS_TEXT(look.route.address), look.route.prefix,
			 *name ? " of " : "", name);
	}
	return r;
}

/*
 * The tap.
 */

static int dress_tap(struct system *system, const char *name, const char *alias, unsigned mtu)
{
	_cleanup_(linkp) struct rtnl_link *changes = rtnl_link_alloc();

	if (!changes)
		return -ENOMEM;
	rtnl_link_set_ifalias(changes, alias);
	rtnl_link_set_mtu(changes, mtu);
	return change_link(system, name, changes);
}

/* The interface is a port and nothing else: what the primary itself would say on it passes no bridge. */
static int silence_tap(const char *name)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	/* A primary may be without IPv6. */
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return write(fd, "1", 1) < 0 ? -errno : 0;
}

static int open_tap(void *userdata, const char *name, const char *alias, unsigned mtu, int *ret_fd)
{
	/* Exclusively: not one that somebody else has made to stay. */
	struct ifreq request = { .ifr_flags =
					 IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (short)IFF_TUN_EXCL };
	_cleanup_close_ int fd = -1;
	int size = VNET_HEADER_SIZE, r;

	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	/* What a server's kernel has not agreed on it takes back itself, with TUNSETOFFLOAD. */
	if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0)
		return -errno;
	r = dress_tap(userdata, name, alias, mtu);
	if (r == 0)
		r = silence_tap(name);
	if (r == 0)
		*ret_fd = steal_fd(&fd);
	return r;
}

/*
 * Rules.
 */

/* libnftables ends the process if it can't have its socket. */
static int try_nftables(void)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	return fd < 0 ? -errno : 0;
}

static int set_rules(void *userdata, const char *text, char ret_why[128])
{
	struct nft_ctx *nft;
	int r = try_nftables();

	if (r < 0)
		return r;
	nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		return -ENOMEM;
	if (nft_ctx_buffer_output(nft) == 0 && nft_ctx_buffer_error(nft) == 0) {
		r = nft_run_cmd_from_buffer(nft, text) == 0 ? 0 : -EIO;
		if (r < 0) {
			const char *why = nft_ctx_get_error_buffer(nft);

			snprintf(ret_why, 128, "%.*s", (int)strcspn(why ?: "", "\n"), why ?: "");
		}
	} else {
		r = -ENOMEM;
	}
	nft_ctx_free(nft);
	return r;
}

static int get_forward(void *userdata)
{
	_cleanup_close_ int fd = open(FORWARD_PATH, O_RDONLY | O_CLOEXEC);
	char value;

	if (fd < 0 || read(fd, &value, 1) != 1)
		return fd < 0 ? -errno : -EIO;
	return value != '0';
}

static int set_forward(void *userdata, bool on)
{
	_cleanup_close_ int fd = open(FORWARD_PATH, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, on ? "1" : "0", 1) < 0 ? -errno : 0;
}

const struct network_ops network_link_ops = {
	.find_link = find_link,
	.add_bridge = add_bridge,
	.delete_link = delete_link,
	.set_up = set_up,
	.set_master = set_master,
	.find_address = find_address,
	.add_address = add_address,
	.delete_address = delete_address,
	.find_route = find_route,
	.list_ports = list_ports,
	.open_tap = open_tap,
	.set_rules = set_rules,
	.get_forward = get_forward,
	.set_forward = set_forward,
};

int network_system_new(void **ret)
{
	struct system *system = calloc(1, sizeof(*system));

	if (!system)
		return -ENOMEM;
	system->socket = nl_socket_alloc();
	if (!system->socket || nl_connect(system->socket, NETLINK_ROUTE) < 0) {
		network_system_free(system);
		return -ENOMEM;
	}
	*ret = system;
	return 0;
}

void network_system_free(void *userdata)
{
	struct system *system = userdata;

	if (!system)
		return;
	nl_socket_free(system->socket);
	free(system);
}
