// SPDX-License-Identifier: GPL-2.0-or-later
/* By rtnetlink(7), with one socket: it is told of new interfaces before it asks for those there are. */
#include <errno.h>
#include <net/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "agent.h"
#include "interface.h"

/* Its driver was loaded before; it is there when the driver has looked at the device. */
#define INTERFACE_MS 5000

struct request {
	struct nlmsghdr header;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg address;
		struct rtmsg route;
	};
	uint8_t attributes[64];
};

static struct request make_request(uint16_t type, uint16_t flags, size_t size)
{
	static uint32_t sequence;

	return (struct request){
		.header = {
			.nlmsg_len = (uint32_t)NLMSG_LENGTH(size),
			.nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST | flags,
			.nlmsg_seq = ++sequence,
		},
	};
}

/* Numbers and addresses of ours only: there is room for all of a request. */
static void add_attribute(struct request *request, uint16_t type, const void *data, size_t size)
{
	struct rtattr *attribute =
		(void *)((uint8_t *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(size);
	memcpy(RTA_DATA(attribute), data, size);
	request->header.nlmsg_len =
		(uint32_t)(NLMSG_ALIGN(request->header.nlmsg_len) + RTA_LENGTH(size));
}

static int send_request(int fd, const struct request *request)
{
	return send(fd, request, request->header.nlmsg_len, 0) < 0 ? -errno : 0;
}

/* An interface with this MAC: its index, and its name. */
static int is_ours(const struct nlmsghdr *header, const uint8_t mac[6], char ret_name[IF_NAMESIZE])
{
	const struct ifinfomsg *link = NLMSG_DATA(header);
	int rest = (int)header->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*link));
	bool same = false, named = false;

	if (rest < 0 || link->ifi_type != ARPHRD_ETHER)
		return 0;
	for (struct rtattr *a = IFLA_RTA(link); RTA_OK(a, rest); a = RTA_NEXT(a, rest)) {
		size_t size = RTA_PAYLOAD(a);

		if (a->rta_type == IFLA_ADDRESS)
			same = size == 6 && memcmp(RTA_DATA(a), mac, 6) == 0;
		if (a->rta_type == IFLA_IFNAME && size && size <= IF_NAMESIZE) {
			memcpy(ret_name, RTA_DATA(a), size);
			ret_name[size - 1] = '\0';
			named = true;
		}
	}
	if (same && named)
		return link->ifi_index;
	ret_name[0] = '\0';
	return 0;
}

/*
 * What has been received until @end: the index of the interface with @mac, or the answer to request @sequence if @mac
 * is NULL. -ETIMEDOUT, or the error in the answer.
 */
static int receive(int fd, uint32_t sequence, const uint8_t *mac, char ret_name[IF_NAMESIZE],
		   int64_t end)
{
	_Alignas(struct nlmsghdr) static uint8_t buffer[32768];

	for (;;) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		const struct nlmsghdr *header = (void *)buffer;
		ssize_t size;
		int r;

		r = poll(&wait, 1, remaining_ms(end));
		if (r == 0)
			return -ETIMEDOUT;
		size = r < 0 ? -1 : recv(fd, buffer, sizeof(buffer), 0);
		/* ENOBUFS: there was more than it has room for; the next thing that is new comes. */
		if (size < 0 && errno != EINTR && errno != ENOBUFS)
			return -errno;
		for (int left = (int)size; NLMSG_OK(header, left);
		     header = NLMSG_NEXT(header, left)) {
			if (mac && header->nlmsg_type == RTM_NEWLINK) {
				r = is_ours(header, mac, ret_name);
				if (r > 0)
					return r;
			}
			if (!mac && header->nlmsg_type == NLMSG_ERROR &&
			    header->nlmsg_seq == sequence &&
			    header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)))
				return ((const struct nlmsgerr *)NLMSG_DATA(header))->error;
		}
	}
}

static int carry_out(int fd, const struct request *request)
{
	int r = send_request(fd, request);

	return r < 0 ? r
		     : receive(fd, request->header.nlmsg_seq, NULL, NULL, now_ms() + INTERFACE_MS);
}

static int find_interface(int fd, const uint8_t mac[6], char ret_name[IF_NAMESIZE])
{
	struct request request = make_request(RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
	int r = send_request(fd, &request);

	return r < 0 ? r : receive(fd, 0, mac, ret_name, now_ms() + INTERFACE_MS);
}

static int set_up(int fd, int index, unsigned mtu)
{
	struct request request = make_request(RTM_NEWLINK, NLM_F_ACK, sizeof(request.link));
	uint32_t value = mtu;

	request.link =
		(struct ifinfomsg){ .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	add_attribute(&request, IFLA_MTU, &value, sizeof(value));
	return carry_out(fd, &request);
}

static int add_address(int fd, int index, const struct agent_network *network)
{
	struct request request = make_request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
					      sizeof(request.address));
	uint32_t mask = htonl(UINT32_MAX << (32 - network->prefix));
	uint32_t broadcast = network->address.s_addr | ~mask;

	request.address = (struct ifaddrmsg){
		.ifa_family = AF_INET,
		.ifa_prefixlen = (uint8_t)network->prefix,
		.ifa_index = (uint32_t)index,
	};
	add_attribute(&request, IFA_LOCAL, &network->address, sizeof(network->address));
	add_attribute(&request, IFA_ADDRESS, &network->address, sizeof(network->address));
	/* A network of one or two has none (RFC 3021). */
	if (network->prefix < 31)
		add_attribute(&request, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	return carry_out(fd, &request);
}

static int add_route(int fd, int index, const struct in_addr *gateway)
{
	struct request request = make_request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
					      sizeof(request.route));
	uint32_t out = (uint32_t)index;

	request.route = (struct rtmsg){
		.rtm_family = AF_INET,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	add_attribute(&request, RTA_GATEWAY, gateway, sizeof(*gateway));
	add_attribute(&request, RTA_OIF, &out, sizeof(out));
	return carry_out(fd, &request);
}

int interface_start(const struct agent_network *network, char ret_name[IF_NAMESIZE])
{
	const struct sockaddr_nl own = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int index, r;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&own, sizeof(own)) < 0)
		return -errno;
	index = find_interface(fd, network->mac, ret_name);
	if (index < 0)
		return index;
	r = set_up(fd, index, network->mtu);
	if (r == 0)
		r = add_address(fd, index, network);
	if (r == 0 && network->gateway.s_addr)
		r = add_route(fd, index, &network->gateway);
	return r;
}
