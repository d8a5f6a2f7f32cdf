// SPDX-License-Identifier: GPL-2.0-or-later
/* The driver's state changes: generic netlink, family POPCORN_GENL_NAME, group POPCORN_GENL_GROUP. */
#include <errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <string.h>
#include <sys/epoll.h>

#include "log.h"
#include "manager.h"
#include "util.h"

struct events {
	struct manager *manager;
	struct nl_sock *socket;
	sd_event_source *source;
	int family;
};

static int on_message(struct nl_msg *message, void *userdata)
{
	static struct nla_policy policy[POPCORN_ATTR_MAX + 1] = {
		[POPCORN_ATTR_ID] = { .type = NLA_U32 },
		[POPCORN_ATTR_GENERATION] = { .type = NLA_U32 },
		[POPCORN_ATTR_NAME] = { .type = NLA_STRING, .maxlen = POPCORN_NAME_MAX },
		[POPCORN_ATTR_OLD_STATE] = { .type = NLA_U32 },
		[POPCORN_ATTR_STATE] = { .type = NLA_U32 },
		[POPCORN_ATTR_REASON] = { .type = NLA_U32 },
		[POPCORN_ATTR_TIME] = { .type = NLA_U64 },
	};
	struct events *events = userdata;
	struct nlmsghdr *header = nlmsg_hdr(message);
	struct nlattr *attrs[POPCORN_ATTR_MAX + 1];
	struct driver_event event = {};
	char name[POPCORN_NAME_MAX] = "";

	if (header->nlmsg_type != events->family || !genlmsg_valid_hdr(header, 0) ||
	    genlmsg_hdr(nlmsg_hdr(message))->cmd != POPCORN_CMD_EVENT ||
	    genlmsg_parse(header, 0, attrs, POPCORN_ATTR_MAX, policy) < 0 ||
	    !attrs[POPCORN_ATTR_ID] || !attrs[POPCORN_ATTR_STATE])
		return NL_SKIP;
	event.id = nla_get_u32(attrs[POPCORN_ATTR_ID]);
	event.state = nla_get_u32(attrs[POPCORN_ATTR_STATE]);
	if (attrs[POPCORN_ATTR_GENERATION])
		event.generation = nla_get_u32(attrs[POPCORN_ATTR_GENERATION]);
	if (attrs[POPCORN_ATTR_REASON])
		event.reason = nla_get_u32(attrs[POPCORN_ATTR_REASON]);
	if (attrs[POPCORN_ATTR_NAME])
		nla_strlcpy(name, attrs[POPCORN_ATTR_NAME], sizeof(name));
	event.name = name;
	manager_event(events->manager, &event);
	return NL_OK;
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	events_drain(userdata);
	return 0;
}

void events_drain(struct events *events)
{
	int r;

	if (!events)
		return;
	do {
		r = nl_recvmsgs_default(events->socket);
		if (r == -NLE_NOMEM) {
			/* ENOBUFS: some were lost, so ask about everything; later ones still come. */
			log_info("events of the driver were lost; asking it about every kernel");
			manager_resync(events->manager);
		}
	} while (r >= 0 || r == -NLE_NOMEM || r == -NLE_INTR);
}

int events_new(struct manager *manager, struct events **ret)
{
	struct events *events;
	int group, r;

	events = calloc(1, sizeof(*events));
	if (!events)
		return -ENOMEM;
	events->manager = manager;
	events->socket = nl_socket_alloc();
	if (!events->socket) {
		r = -ENOMEM;
		goto fail;
	}
	/* Events are not answers to anything that was asked. */
	nl_socket_disable_seq_check(events->socket);
	r = genl_connect(events->socket) < 0 ? -EIO : 0;
	if (r < 0)
		goto fail;
	events->family = genl_ctrl_resolve(events->socket, POPCORN_GENL_NAME);
	group = genl_ctrl_resolve_grp(events->socket, POPCORN_GENL_NAME, POPCORN_GENL_GROUP);
	if (events->family < 0 || group < 0) {
		r = -ENODEV;
		goto fail;
	}
	r = nl_socket_add_membership(events->socket, group) < 0 ||
			    nl_socket_set_nonblocking(events->socket) < 0 ||
			    nl_socket_modify_cb(events->socket, NL_CB_VALID, NL_CB_CUSTOM,
						on_message, events) < 0
		    ? -EIO
		    : 0;
	if (r < 0)
		goto fail;
	r = sd_event_add_io(manager->event, &events->source, nl_socket_get_fd(events->socket),
			    EPOLLIN, on_readable, events);
	if (r < 0)
		goto fail;
	*ret = events;
	return 0;
fail:
	events_free(events);
	return r;
}

struct events *events_free(struct events *events)
{
	if (!events)
		return NULL;
	sd_event_source_disable_unref(events->source);
	if (events->socket)
		nl_socket_free(events->socket);
	free(events);
	return NULL;
}
