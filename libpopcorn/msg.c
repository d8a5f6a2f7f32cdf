// SPDX-License-Identifier: LGPL-2.1-or-later
/* Messages between processes of different kernels: the ioctls of /dev/popcorn-msg, checked and named. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libpopcorn-msg.h"

struct popcorn_endpoint {
	int fd;
};

static int call_driver(const struct popcorn_endpoint *endpoint, unsigned long request, void *args)
{
	return ioctl(endpoint->fd, request, args) < 0 ? -errno : 0;
}

/* A name with zeros behind it. */
static int copy_name(char to[POPCORN_MSG_NAME_MAX], const char *from)
{
	size_t length = strlen(from);

	if (length >= POPCORN_MSG_NAME_MAX)
		return -EINVAL;
	memset(to, 0, POPCORN_MSG_NAME_MAX);
	memcpy(to, from, length);
	return 0;
}

int popcorn_endpoint_from_fd(int fd, struct popcorn_endpoint **ret)
{
	struct popcorn_msg_info info = { .size = sizeof(info) };
	struct popcorn_endpoint *endpoint = malloc(sizeof(*endpoint));
	int r;

	if (!endpoint)
		return -ENOMEM;
	endpoint->fd = fd;
	r = call_driver(endpoint, POPCORN_MSG_IOC_INFO, &info);
	if (r == 0 && info.abi_version != POPCORN_MSG_ABI_VERSION)
		r = -EPROTONOSUPPORT;
	if (r < 0) {
		free(endpoint);
		return r;
	}
	*ret = endpoint;
	return 0;
}

int popcorn_endpoint_open(struct popcorn_endpoint **ret)
{
	int fd = open(POPCORN_MSG_DEVICE, O_RDWR | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = popcorn_endpoint_from_fd(fd, ret);
	if (r < 0)
		close(fd);
	return r;
}

struct popcorn_endpoint *popcorn_endpoint_close(struct popcorn_endpoint *endpoint)
{
	if (endpoint) {
		close(endpoint->fd);
		free(endpoint);
	}
	return NULL;
}

int popcorn_endpoint_get_fd(const struct popcorn_endpoint *endpoint)
{
	return endpoint->fd;
}

int popcorn_endpoint_get_addr(struct popcorn_endpoint *endpoint, struct popcorn_msg_addr *ret)
{
	struct popcorn_msg_info info = { .size = sizeof(info) };
	int r = call_driver(endpoint, POPCORN_MSG_IOC_INFO, &info);

	if (r < 0)
		return r;
	if (!info.self.generation)
		return -ESHUTDOWN;
	*ret = info.self;
	return 0;
}

static int with_name(struct popcorn_endpoint *endpoint, unsigned long request, const char *text)
{
	struct popcorn_msg_name name = { .size = sizeof(name) };
	int r = copy_name(name.name, text);

	return r < 0 ? r : call_driver(endpoint, request, &name);
}

int popcorn_endpoint_bind(struct popcorn_endpoint *endpoint, const char *service)
{
	return with_name(endpoint, POPCORN_MSG_IOC_BIND, service);
}

int popcorn_endpoint_join(struct popcorn_endpoint *endpoint, const char *group)
{
	return with_name(endpoint, POPCORN_MSG_IOC_JOIN, group);
}

int popcorn_endpoint_leave(struct popcorn_endpoint *endpoint, const char *group)
{
	return with_name(endpoint, POPCORN_MSG_IOC_LEAVE, group);
}

int popcorn_endpoint_lookup(struct popcorn_endpoint *endpoint, uint32_t kernel, const char *service,
			    uint32_t timeout_ms, struct popcorn_msg_addr *ret)
{
	struct popcorn_msg_lookup lookup = {
		.size = sizeof(lookup),
		.timeout_ms = timeout_ms,
		.addr = { .kernel = kernel },
	};
	int r = copy_name(lookup.name, service);

	if (r == 0)
		r = call_driver(endpoint, POPCORN_MSG_IOC_LOOKUP, &lookup);
	if (r < 0)
		return r;
	*ret = lookup.addr;
	return 0;
}

int popcorn_endpoint_send(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *to,
			  const void *data, size_t length, unsigned flags, uint32_t timeout_ms)
{
	struct popcorn_msg_send_args args = {
		.size = sizeof(args),
		.flags = flags,
		.to = *to,
		.buf = (uintptr_t)data,
		.length = (uint32_t)length,
		.timeout_ms = timeout_ms,
	};

	if (length > POPCORN_MSG_SEND_MAX)
		return -EMSGSIZE;
	if (flags & ~POPCORN_MSG_SEND_BULK)
		return -EINVAL;
	return call_driver(endpoint, POPCORN_MSG_IOC_SEND, &args);
}

int popcorn_endpoint_send_group(struct popcorn_endpoint *endpoint, const char *group,
				const void *data, size_t length, uint32_t timeout_ms)
{
	struct popcorn_msg_send_args args = {
		.size = sizeof(args),
		.flags = POPCORN_MSG_SEND_GROUP,
		.buf = (uintptr_t)data,
		.length = (uint32_t)length,
		.timeout_ms = timeout_ms,
	};
	int r = copy_name(args.group, group);

	if (length > POPCORN_MSG_CALL_MAX)
		return -EMSGSIZE;
	if (r == 0)
		r = call_driver(endpoint, POPCORN_MSG_IOC_SEND, &args);
	return r < 0 ? r : (int)args.receivers;
}

ssize_t popcorn_endpoint_receive(struct popcorn_endpoint *endpoint, void *buf, size_t room,
				 uint32_t timeout_ms, struct popcorn_received *ret,
				 size_t *ret_length)
{
	struct popcorn_msg_receive args = {
		.size = sizeof(args),
		.timeout_ms = timeout_ms,
		.buf = (uintptr_t)buf,
		.room = room > POPCORN_MSG_SEND_MAX ? POPCORN_MSG_SEND_MAX : (uint32_t)room,
	};
	int r = call_driver(endpoint, POPCORN_MSG_IOC_RECEIVE, &args);

	if (ret_length && (r == 0 || r == -EMSGSIZE))
		*ret_length = args.length;
	if (r < 0)
		return r;
	if (ret) {
		*ret = (struct popcorn_received){
			.from = args.from,
			.uid = args.uid,
			.flags = args.flags,
			.call = args.call,
			.reply_max = args.reply_max,
			.lost = args.lost,
		};
		memcpy(ret->group, args.group, sizeof(ret->group));
	}
	return (ssize_t)args.length;
}

ssize_t popcorn_endpoint_call(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *to,
			      const void *request, size_t length, void *reply, size_t room,
			      uint32_t timeout_ms, int *ret_status)
{
	struct popcorn_msg_call_args args = {
		.size = sizeof(args),
		.timeout_ms = timeout_ms,
		.to = *to,
		.buf = (uintptr_t)request,
		.length = (uint32_t)length,
		.room = room > POPCORN_MSG_CALL_MAX ? POPCORN_MSG_CALL_MAX : (uint32_t)room,
		.reply = (uintptr_t)reply,
	};
	int r;

	if (length > POPCORN_MSG_CALL_MAX)
		return -EMSGSIZE;
	r = call_driver(endpoint, POPCORN_MSG_IOC_CALL, &args);
	if (r < 0)
		return r;
	if (ret_status)
		*ret_status = args.status;
	return (ssize_t)args.reply_length;
}

int popcorn_endpoint_reply(struct popcorn_endpoint *endpoint, uint64_t call, int status,
			   const void *data, size_t length)
{
	struct popcorn_msg_reply_args args = {
		.size = sizeof(args),
		.status = status,
		.call = call,
		.buf = (uintptr_t)data,
		.length = (uint32_t)length,
	};

	if (length > POPCORN_MSG_CALL_MAX)
		return -EMSGSIZE;
	return call_driver(endpoint, POPCORN_MSG_IOC_REPLY, &args);
}

static int map_window(struct popcorn_endpoint *endpoint, const struct popcorn_msg_window *args,
		      struct popcorn_window *ret)
{
	void *memory = mmap(NULL, args->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, endpoint->fd,
			    (off_t)args->offset);
	int r;

	if (memory == MAP_FAILED) {
		struct popcorn_msg_window close_args = {
			.size = sizeof(close_args),
			.offset = args->offset,
		};

		r = -errno;
		call_driver(endpoint, POPCORN_MSG_IOC_WINDOW_CLOSE, &close_args);
		return r;
	}
	*ret = (struct popcorn_window){
		.peer = args->peer,
		.number = args->window,
		.memory = memory,
		.bytes = args->bytes,
		.offset = args->offset,
	};
	return 0;
}

int popcorn_window_create(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *peer,
			  size_t bytes, struct popcorn_window *ret)
{
	struct popcorn_msg_window args = {
		.size = sizeof(args),
		.peer = *peer,
		.bytes = bytes,
	};
	int r = call_driver(endpoint, POPCORN_MSG_IOC_WINDOW_CREATE, &args);

	return r < 0 ? r : map_window(endpoint, &args, ret);
}

int popcorn_window_open(struct popcorn_endpoint *endpoint, const struct popcorn_msg_addr *peer,
			uint32_t number, struct popcorn_window *ret)
{
	struct popcorn_msg_window args = {
		.size = sizeof(args),
		.peer = *peer,
		.window = number,
	};
	int r = call_driver(endpoint, POPCORN_MSG_IOC_WINDOW_OPEN, &args);

	return r < 0 ? r : map_window(endpoint, &args, ret);
}

int popcorn_window_close(struct popcorn_endpoint *endpoint, struct popcorn_window *window)
{
	struct popcorn_msg_window args = { .size = sizeof(args), .offset = window->offset };

	if (!window->memory)
		return -EINVAL;
	munmap(window->memory, window->bytes);
	window->memory = NULL;
	return call_driver(endpoint, POPCORN_MSG_IOC_WINDOW_CLOSE, &args);
}

ssize_t popcorn_endpoint_members(struct popcorn_endpoint *endpoint, struct popcorn_msg_addr *ret,
				 size_t room)
{
	struct popcorn_msg_members args = {
		.size = sizeof(args),
		.count = room > UINT32_MAX ? UINT32_MAX : (uint32_t)room,
		.members = (uintptr_t)ret,
	};
	int r = call_driver(endpoint, POPCORN_MSG_IOC_MEMBERS, &args);

	return r < 0 ? r : (ssize_t)args.count;
}

int popcorn_endpoint_ping(struct popcorn_endpoint *endpoint, uint32_t kernel, size_t length,
			  uint32_t timeout_ms, uint64_t *ret_ns)
{
	struct popcorn_msg_ping args = {
		.size = sizeof(args),
		.timeout_ms = timeout_ms,
		.to = { .kernel = kernel },
		.length = (uint32_t)length,
	};
	int r;

	if (length > POPCORN_MSG_CALL_MAX)
		return -EMSGSIZE;
	r = call_driver(endpoint, POPCORN_MSG_IOC_PING, &args);
	if (r < 0)
		return r;
	*ret_ns = args.ns;
	return 0;
}

int popcorn_endpoint_counters(struct popcorn_endpoint *endpoint, uint32_t kernel, uint32_t priority,
			      struct popcorn_msg_counters *ret)
{
	struct popcorn_msg_counters counters = {
		.size = sizeof(counters),
		.kernel = kernel,
		.priority = priority,
	};
	int r = call_driver(endpoint, POPCORN_MSG_IOC_STATS, &counters);

	if (r < 0)
		return r;
	*ret = counters;
	return 0;
}
