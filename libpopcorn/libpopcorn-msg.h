/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef _LIBPOPCORN_MSG_H
#define _LIBPOPCORN_MSG_H
/*
 * libpopcorn: messages between processes of different kernels, by /dev/popcorn-msg. See
 * libpopcorn-msg(3). Works without popcornd, and in every kernel; only the C library is needed.
 *
 * Conventions are those of libpopcorn.h, but: there are no named errors, each errno says what it
 * says in <popcorn-msg.h>; and one endpoint may be used by several threads at once.
 *
 * Times are in milliseconds: 0 = do not wait (-EAGAIN), POPCORN_MSG_FOREVER.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <popcorn-msg.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef _popcorn_public_
#ifndef __GNUC__
#define _popcorn_public_
#else
#define _popcorn_public_ __attribute__((visibility("default")))
#endif
#endif

struct popcorn_endpoint;

/**
 * popcorn_endpoint_open - a new endpoint of this kernel
 *
 * -ENOENT: popcorn_msg.ko is not loaded. -EACCES: no right (group popcorn). -EPROTONOSUPPORT: the driver has
 * another ABI version.
 */
_popcorn_public_ int popcorn_endpoint_open(struct popcorn_endpoint **ret);
/**
 * popcorn_endpoint_from_fd - an endpoint of a descriptor of the device, for who can't open it by its name
 *
 * @fd belongs to the endpoint then; after a failure, as before. -EPROTONOSUPPORT; -ENOTTY: not of the device.
 */
_popcorn_public_ int popcorn_endpoint_from_fd(int fd, struct popcorn_endpoint **ret);
/** popcorn_endpoint_close - and everything that it holds. */
_popcorn_public_ struct popcorn_endpoint *popcorn_endpoint_close(struct popcorn_endpoint *endpoint);
/** popcorn_endpoint_get_fd - for poll(2), see <popcorn-msg.h>; belongs to the endpoint. */
_popcorn_public_ int popcorn_endpoint_get_fd(const struct popcorn_endpoint *endpoint);
/** popcorn_endpoint_get_addr - its own address, to be told to others. -ESHUTDOWN: this kernel has not joined. */
_popcorn_public_ int popcorn_endpoint_get_addr(struct popcorn_endpoint *endpoint,
					       struct popcorn_msg_addr *ret);

/** popcorn_endpoint_bind - be found by a service name in this kernel. -EEXIST, -EBUSY, -EPERM. */
_popcorn_public_ int popcorn_endpoint_bind(struct popcorn_endpoint *endpoint, const char *service);
/**
 * popcorn_endpoint_lookup - who has a service name in a kernel
 * @kernel: id; 0 is the primary
 *
 * -ENOENT: nobody. -ENOTCONN: that kernel can't be reached.
 */
_popcorn_public_ int popcorn_endpoint_lookup(struct popcorn_endpoint *endpoint, uint32_t kernel,
					     const char *service, uint32_t timeout_ms,
					     struct popcorn_msg_addr *ret);

/** popcorn_endpoint_send - 0: it is in the queue of @to. @flags: POPCORN_MSG_SEND_BULK. */
_popcorn_public_ int popcorn_endpoint_send(struct popcorn_endpoint *endpoint,
					   const struct popcorn_msg_addr *to, const void *data,
					   size_t length, unsigned flags, uint32_t timeout_ms);

/* What came with a message. */
struct popcorn_received {
	struct popcorn_msg_addr from;
	uint32_t uid;
	uint32_t flags;	    /* POPCORN_MSG_IS_* */
	uint64_t call;	    /* of a request, for popcorn_endpoint_reply() */
	uint32_t reply_max; /* bytes */
	uint32_t lost;	    /* messages of groups, before this one */
	char group[POPCORN_MSG_NAME_MAX];
};

/** popcorn_endpoint_receive - bytes of the next message. -EMSGSIZE: it stays; @length of -EMSGSIZE is in *@ret_length (may be NULL). */
_popcorn_public_ ssize_t popcorn_endpoint_receive(struct popcorn_endpoint *endpoint, void *buf,
						  size_t room, uint32_t timeout_ms,
						  struct popcorn_received *ret, size_t *ret_length);

/** popcorn_endpoint_call - bytes of the reply; *@ret_status (may be NULL): what the replier says. */
_popcorn_public_ ssize_t popcorn_endpoint_call(struct popcorn_endpoint *endpoint,
					       const struct popcorn_msg_addr *to,
					       const void *request, size_t length, void *reply,
					       size_t room, uint32_t timeout_ms, int *ret_status);
/** popcorn_endpoint_reply - once for each request. */
_popcorn_public_ int popcorn_endpoint_reply(struct popcorn_endpoint *endpoint, uint64_t call,
					    int status, const void *data, size_t length);

/** popcorn_endpoint_join, _leave - receive, or not any more, what is sent to a group. */
_popcorn_public_ int popcorn_endpoint_join(struct popcorn_endpoint *endpoint, const char *group);
_popcorn_public_ int popcorn_endpoint_leave(struct popcorn_endpoint *endpoint, const char *group);
/** popcorn_endpoint_send_group - to how many kernels it was sent. The sender's own endpoint does not get it. */
_popcorn_public_ int popcorn_endpoint_send_group(struct popcorn_endpoint *endpoint,
						 const char *group, const void *data, size_t length,
						 uint32_t timeout_ms);

/* A window, mapped. */
struct popcorn_window {
	struct popcorn_msg_addr peer;
	uint32_t number; /* for the other side */
	void *memory;
	size_t bytes;
	uint64_t offset;
};

/** popcorn_window_create - memory that @peer's kernel may open, mapped here. */
_popcorn_public_ int popcorn_window_create(struct popcorn_endpoint *endpoint,
					   const struct popcorn_msg_addr *peer, size_t bytes,
					   struct popcorn_window *ret);
/** popcorn_window_open - a window that @peer has made, mapped here. */
_popcorn_public_ int popcorn_window_open(struct popcorn_endpoint *endpoint,
					 const struct popcorn_msg_addr *peer, uint32_t number,
					 struct popcorn_window *ret);
/** popcorn_window_close - unmap and close. */
_popcorn_public_ int popcorn_window_close(struct popcorn_endpoint *endpoint,
					  struct popcorn_window *window);

/** popcorn_endpoint_members - how many kernels can be reached; the first @room of them are written. */
_popcorn_public_ ssize_t popcorn_endpoint_members(struct popcorn_endpoint *endpoint,
						  struct popcorn_msg_addr *ret, size_t room);
/** popcorn_endpoint_ping - the layer of another kernel, without its user space: ns there and back. */
_popcorn_public_ int popcorn_endpoint_ping(struct popcorn_endpoint *endpoint, uint32_t kernel,
					   size_t length, uint32_t timeout_ms, uint64_t *ret_ns);
/** popcorn_endpoint_counters - of one peer and priority (0 replies, 1 control, 2 bulk). -ENOENT: never seen. */
_popcorn_public_ int popcorn_endpoint_counters(struct popcorn_endpoint *endpoint, uint32_t kernel,
					       uint32_t priority, struct popcorn_msg_counters *ret);

#ifdef __cplusplus
}
#endif

#endif /* _LIBPOPCORN_MSG_H */
