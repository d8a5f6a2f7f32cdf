// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Somebody may throw away all tables of nftables, as 'nft flush ruleset' does, with which Debian's
 * nftables.service begins: then our rules are made again at once.
 */
#include <errno.h>
#include <netinet/in.h>
/* After that, for which the kernel's header has its own. */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>
#include <sys/epoll.h>

#include "log.h"
#include "manager.h"
#include "util.h"

struct network_watch {
	struct network *network;
	struct nl_sock *socket;
	sd_event_source *source;
	/* The tables that were deleted and not made since. */
	unsigned lost;
};

#define LOST_BRIDGE 1U
#define LOST_INET 2U

static unsigned table_of_family(uint8_t family)
{
	return family == NFPROTO_BRIDGE ? LOST_BRIDGE : family == NFPROTO_INET ? LOST_INET : 0;
}

static int on_message(struct nl_msg *message, void *userdata)
{
	static struct nla_policy policy[NFTA_TABLE_MAX + 1] = {
		[NFTA_TABLE_NAME] = { .type = NLA_STRING },
	};
	struct network_watch *watch = userdata;
	struct nlmsghdr *header = nlmsg_hdr(message);
	struct nlattr *attrs[NFTA_TABLE_MAX + 1];
	bool deleted = header->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE);
	unsigned table;

	if ((!deleted && header->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE)) ||
	    nlmsg_parse(header, sizeof(struct nfgenmsg), attrs, NFTA_TABLE_MAX, policy) < 0 ||
	    !attrs[NFTA_TABLE_NAME] || nla_strcmp(attrs[NFTA_TABLE_NAME], NETWORK_TABLE) != 0)
		return NL_OK;
	table = table_of_family(((const struct nfgenmsg *)nlmsg_data(header))->nfgen_family);
	/* A change of our own replaces a table: it is deleted, and made again at once. */
	watch->lost = deleted ? watch->lost | table : watch->lost & ~table;
	return NL_OK;
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct network_watch *watch = userdata;
	struct popcorn_error error = {};
	int r;

	do {
		r = nl_recvmsgs_default(watch->socket);
		/* ENOBUFS: what was lost may have been this. */
		if (r == -NLE_NOMEM)
			watch->lost = LOST_BRIDGE | LOST_INET;
	} while (r >= 0 || r == -NLE_NOMEM || r == -NLE_INTR);
	if (!watch->lost)
		return 0;
	watch->lost = 0;
	r = network_restore_rules(watch->network, &error);
	if (r < 0)
		log_error(
			"the rules that keep kernels apart were thrown away, and could not be made "
			"again: %s",
			error.text);
	else if (r > 0)
		log_warning("somebody threw away the rules that keep kernels apart; they were made "
			    "again");
	return 0;
}

int network_watch_new(sd_event *event, struct network *network, struct network_watch **ret)
{
	struct network_watch *watch = calloc(1, sizeof(*watch));
	int r = -EIO;

	if (!watch)
		return -ENOMEM;
	watch->network = network;
	watch->socket = nl_socket_alloc();
	if (!watch->socket) {
		r = -ENOMEM;
		goto fail;
	}
	nl_socket_disable_seq_check(watch->socket);
	if (nl_connect(watch->socket, NETLINK_NETFILTER) < 0 ||
	    nl_socket_add_membership(watch->socket, NFNLGRP_NFTABLES) < 0 ||
	    nl_socket_set_nonblocking(watch->socket) < 0 ||
	    nl_socket_modify_cb(watch->socket, NL_CB_VALID, NL_CB_CUSTOM, on_message, watch) < 0)
		goto fail;
	r = sd_event_add_io(event, &watch->source, nl_socket_get_fd(watch->socket), EPOLLIN,
			    on_readable, watch);
	if (r < 0)
		goto fail;
	*ret = watch;
	return 0;
fail:
	network_watch_free(watch);
	return r;
}

struct network_watch *network_watch_free(struct network_watch *watch)
{
	if (!watch)
		return NULL;
	sd_event_source_disable_unref(watch->source);
	if (watch->socket)
		nl_socket_free(watch->socket);
	free(watch);
	return NULL;
}
