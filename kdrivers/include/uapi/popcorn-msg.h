/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * User-space ABI of popcorn_msg.ko: /dev/popcorn-msg, in every kernel.
 *
 * An open descriptor is an *endpoint*: it has a number, may have a service name, and receives what
 * is sent to either from this kernel or another one. What it holds (messages, requests that were not
 * replied to, groups, windows) goes when the last reference to it is closed, also by a process that
 * is killed: callers who wait for its reply then get -EPIPE.
 *
 * Conventions are those of popcorn.h: @size first, reserved fields and unknown flags zero (-EINVAL),
 * outputs only on success unless a structure says otherwise. errno means what it means there, and:
 *
 *  -ENOTCONN  no kernel of that id can be reached (it never joined, or not yet)
 *  -EPIPE     that life of the kernel, or that endpoint, is gone, or went while we waited
 *  -EAGAIN    would have to wait, and may not (@timeout_ms 0; SEND and RECEIVE: O_NONBLOCK)
 *  -ETIMEDOUT waited @timeout_ms in vain; of a call: it may be answered for nobody yet. Or the other
 *	       kernel itself has not answered for ten seconds, whatever @timeout_ms
 *  -EINTR     a signal, before anything was done; of a call: as -ETIMEDOUT
 *  -EMSGSIZE  longer than the limit; RECEIVE: than @room, and @length says how long it is
 *  -ENOENT    nobody has that service name there; no such request, group or window
 *  -EEXIST    an endpoint of this kernel has that service name
 *  -ENOBUFS   all endpoints of that kernel together hold as much as they may
 *  -EPROTO    the other kernel has answered what makes no sense
 *  -ESHUTDOWN this kernel has not joined, or is ending
 *
 * poll: POLLIN: RECEIVE would not wait. POLLOUT: always. POLLPRI: MEMBERS has changed since it was last called
 * on this descriptor.
 *
 * Rights: who may open the device may do everything here but what says CAP_SYS_ADMIN. Receivers are told who sent
 * (@uid), as its kernel says.
 */
#ifndef _UAPI_POPCORN_MSG_H
#define _UAPI_POPCORN_MSG_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define POPCORN_MSG_DEVICE "/dev/popcorn-msg"
#define POPCORN_MSG_ABI_VERSION 1

/* Bytes of one message; of a request, and of its reply. */
#define POPCORN_MSG_SEND_MAX (1U << 20)
#define POPCORN_MSG_CALL_MAX 3072
/*
 * Bytes that wait in one endpoint; each message counts some more. A sender or caller whose message does
 * not fit waits until the receiver has made room: other endpoints of that kernel notice nothing.
 */
#define POPCORN_MSG_QUEUE_MAX (2U << 20)
/* Requests that wait in an endpoint, or were received and not replied to. */
#define POPCORN_MSG_REQUESTS_MAX 256
/* Of a service or a group, with the NUL: [A-Za-z0-9][A-Za-z0-9_.-]*. "popcorn.*" needs CAP_SYS_ADMIN. */
#define POPCORN_MSG_NAME_MAX 32
/* Groups that an endpoint is in; windows that it has made or opened. */
#define POPCORN_MSG_GROUPS_MAX 16
#define POPCORN_MSG_WINDOWS_MAX 16
/* Bytes of one window. */
#define POPCORN_MSG_WINDOW_MAX (64U << 20)

#define POPCORN_MSG_FOREVER 0xffffffffU /* as @timeout_ms */

/*
 * One endpoint of one life of one kernel. @generation 0, to send to: whoever has that id now.
 * @endpoint numbers are given out once in a life of a kernel. The primary is kernel 0.
 */
struct popcorn_msg_addr {
	__u32 kernel;
	__u32 generation;
	__u64 endpoint;
};

/**
 * struct popcorn_msg_info - what this is (POPCORN_MSG_IOC_INFO)
 * @size:	 sizeof() of the caller
 * @abi_version: out: POPCORN_MSG_ABI_VERSION of the driver; never changes place
 * @self:	 out: this endpoint; generation 0: this kernel has not joined
 */
struct popcorn_msg_info {
	__u32 size;
	__u32 abi_version;
	struct popcorn_msg_addr self;
};

/**
 * struct popcorn_msg_name - a service or a group
 * @size:     sizeof() of the caller
 * @reserved: zero
 * @name:     NUL-terminated, zero behind it
 *
 * POPCORN_MSG_IOC_BIND: gives this endpoint a service name; once. -EBUSY: it has one. -EEXIST. -EPERM.
 *
 * POPCORN_MSG_IOC_JOIN, POPCORN_MSG_IOC_LEAVE: this endpoint receives what is sent to that group, by
 * whatever endpoint of whatever kernel. A group is there as long as anybody is in it. -EEXIST: is in
 * it; -ENOENT: is not; -ENOSPC: POPCORN_MSG_GROUPS_MAX. -EPERM.
 */
struct popcorn_msg_name {
	__u32 size;
	__u32 reserved;
	char name[POPCORN_MSG_NAME_MAX];
};

/**
 * struct popcorn_msg_lookup - who has a service name (POPCORN_MSG_IOC_LOOKUP)
 * @size:	sizeof() of the caller
 * @timeout_ms: for the answer of that kernel
 * @addr:	in: kernel, generation; out: all of it
 * @name:	as in struct popcorn_msg_name
 */
struct popcorn_msg_lookup {
	__u32 size;
	__u32 timeout_ms;
	struct popcorn_msg_addr addr;
	char name[POPCORN_MSG_NAME_MAX];
};

#define POPCORN_MSG_SEND_BULK (1U << 0)	 /* behind everything else; for much data */
#define POPCORN_MSG_SEND_GROUP (1U << 1) /* to @group, not to @to */

/**
 * struct popcorn_msg_send_args - send a message (POPCORN_MSG_IOC_SEND)
 * @size:	sizeof() of the caller
 * @flags:	POPCORN_MSG_SEND_*
 * @to:		whom
 * @buf:	user pointer to @length bytes
 * @length:	0..POPCORN_MSG_SEND_MAX; to a group: 0..POPCORN_MSG_CALL_MAX
 * @timeout_ms:	for room at the receiver; 0 = do not wait
 * @group:	to whom with POPCORN_MSG_SEND_GROUP; else zero
 * @receivers:	zero; out: to a group: how many other kernels it was sent to
 *
 * 0 means that it is in the queue of that endpoint. What one endpoint sends to another one with
 * the same POPCORN_MSG_SEND_BULK arrives in that order. To a group: a receiver without room loses it, and counts it
 * (struct popcorn_msg_receive @lost).
 */
struct popcorn_msg_send_args {
	__u32 size;
	__u32 flags;
	struct popcorn_msg_addr to;
	__u64 buf;
	__u32 length;
	__u32 timeout_ms;
	char group[POPCORN_MSG_NAME_MAX];
	__u32 receivers;
	__u32 reserved;
};

#define POPCORN_MSG_IS_REQUEST (1U << 0) /* @call is to be replied to */
#define POPCORN_MSG_IS_GROUP (1U << 1)	 /* came by @group */

/**
 * struct popcorn_msg_receive - the next message (POPCORN_MSG_IOC_RECEIVE)
 * @size:	sizeof() of the caller
 * @timeout_ms:	how long to wait; 0 = do not
 * @buf:	user pointer to @room bytes
 * @room:	bytes there
 * @length:	out, also with -EMSGSIZE: bytes of the message
 * @from:	out: by whom
 * @uid:	out: of the sending process, as its kernel says
 * @flags:	out: POPCORN_MSG_IS_*
 * @call:	out: for REPLY
 * @reply_max:	out: bytes that the reply may have
 * @lost:	out: messages of groups that were lost here since the last one was received
 * @group:	out
 */
struct popcorn_msg_receive {
	__u32 size;
	__u32 timeout_ms;
	__u64 buf;
	__u32 room;
	__u32 length;
	struct popcorn_msg_addr from;
	__u32 uid;
	__u32 flags;
	__u64 call;
	__u32 reply_max;
	__u32 lost;
	char group[POPCORN_MSG_NAME_MAX];
};

/**
 * struct popcorn_msg_call_args - send a request, wait for its reply (POPCORN_MSG_IOC_CALL)
 * @size:	sizeof() of the caller
 * @timeout_ms:	for all of it
 * @to:		whom
 * @buf:	user pointer to the request
 * @length:	0..POPCORN_MSG_CALL_MAX
 * @room:	bytes at @reply, 0..POPCORN_MSG_CALL_MAX
 * @reply:	user pointer; may be @buf
 * @reply_length: out: bytes of the reply
 * @status:	out: what the replier says: 0, or a number of its own
 *
 * Any number at a time, also on one descriptor.
 */
struct popcorn_msg_call_args {
	__u32 size;
	__u32 timeout_ms;
	struct popcorn_msg_addr to;
	__u64 buf;
	__u32 length;
	__u32 room;
	__u64 reply;
	__u32 reply_length;
	__s32 status;
};

/**
 * struct popcorn_msg_reply_args - reply to a request (POPCORN_MSG_IOC_REPLY)
 * @size:     sizeof() of the caller
 * @status:   for the caller
 * @call:     of RECEIVE, on the same endpoint; once. -ENOENT otherwise
 * @buf:      user pointer
 * @length:   at most @reply_max of RECEIVE
 * @reserved: zero
 *
 * 0: it was sent; the caller may have given up. After -EMSGSIZE, -EINTR and -ETIMEDOUT it can be replied to again.
 */
struct popcorn_msg_reply_args {
	__u32 size;
	__s32 status;
	__u64 call;
	__u64 buf;
	__u32 length;
	__u32 reserved;
};

/**
 * struct popcorn_msg_members - the kernels that can be reached (POPCORN_MSG_IOC_MEMBERS)
 * @size:    sizeof() of the caller
 * @count:   in: places at @members; out: kernels, may be more than places
 * @members: user pointer to an array of struct popcorn_msg_addr; endpoint is 0; this kernel is not among
 *	     them
 */
struct popcorn_msg_members {
	__u32 size;
	__u32 count;
	__u64 members;
};

/**
 * struct popcorn_msg_ping - ask the layer itself of another kernel (POPCORN_MSG_IOC_PING)
 * @size:	sizeof() of the caller
 * @timeout_ms:	for the answer
 * @to:		whom; endpoint 0
 * @length:	bytes each way, 0..POPCORN_MSG_CALL_MAX
 * @reserved:	zero
 * @ns:		out: there and back, as the layer sees it, without system calls
 */
struct popcorn_msg_ping {
	__u32 size;
	__u32 timeout_ms;
	struct popcorn_msg_addr to;
	__u32 length;
	__u32 reserved;
	__u64 ns;
};

/* Latency of calls: class i has those of [2^i, 2^(i+1)) ns; the last one all that are longer. */
#define POPCORN_MSG_LATENCIES 32

/**
 * struct popcorn_msg_counters - of one peer and priority (POPCORN_MSG_IOC_STATS)
 * @size:	    sizeof() of the caller
 * @kernel:	    in: id of the peer
 * @priority:	    in: 0 replies, 1 control, 2 bulk
 * @generation:	    out: its life; 0: it can't be reached now. Counters go on over its lives
 * @sent:	    out: messages, and their payload; all of it since this kernel's start
 * @received:	    out: the same
 * @interrupts:	    out: that were sent to it, because it slept
 * @credit_waits:   out: how often a sender had to wait for room
 * @unknown:	    out: messages that nobody here handles
 * @late:	    out: replies that nobody waited for any more
 * @stalls:	    out: how often a handler was too far behind
 * @queue_max:	    out: most messages that were found waiting at once
 * @slots:	    out: of the ring that they wait in
 * @credits:	    out: slots that can be sent now without waiting
 * @reader_interrupts: out: of this kernel as a whole: interrupts that found messages,
 * @reader_polls:   out: and times that looking paid, without one
 * @latency:	    out: calls to it by how long they took
 */
struct popcorn_msg_counters {
	__u32 size;
	__u32 kernel;
	__u32 priority;
	__u32 generation;
	__u64 sent, sent_bytes;
	__u64 received, received_bytes;
	__u64 interrupts;
	__u64 credit_waits;
	__u64 unknown;
	__u64 late;
	__u64 stalls;
	__u32 queue_max;
	__u32 slots;
	__u32 credits;
	__u32 reserved;
	__u64 reader_interrupts;
	__u64 reader_polls;
	__u64 latency[POPCORN_MSG_LATENCIES];
};

/**
 * struct popcorn_msg_window - memory that two kernels share
 * @size:   sizeof() of the caller
 * @flags:  zero
 * @peer:   CREATE: the kernel that may open it. OPEN: the kernel that has made it. @endpoint: of the
 *	    other side; CREATE: 0 = any endpoint there
 * @window: CREATE: out: its number, to be told to the other side. OPEN: in
 * @bytes:  CREATE: in: whole pages, at most POPCORN_MSG_WINDOW_MAX. OPEN: out
 * @offset: out: for mmap of this descriptor, MAP_SHARED, the whole window or parts of it; CLOSE: in
 *
 * POPCORN_MSG_IOC_WINDOW_CREATE: zeroed pages of this kernel, granted to one other. POPCORN_MSG_IOC_WINDOW_OPEN:
 * -ENOENT, -EPIPE, -EACCES: it was granted to somebody else; -EPROTO: the other kernel offers memory that is not
 * its own. POPCORN_MSG_IOC_WINDOW_CLOSE: only @offset, of the call that gave it (numbers of windows made here
 * and there may be the same); closing the descriptor does the same for all. -ENOSPC: POPCORN_MSG_WINDOWS_MAX.
 * Both sides must be different kernels (-EINVAL).
 *
 * When the side that has made it closes it, or its kernel ends, the other side's mapping is taken away
 * first: access gets SIGBUS. Its memory is used for something else only after that.
 */
struct popcorn_msg_window {
	__u32 size;
	__u32 flags;
	struct popcorn_msg_addr peer;
	__u32 window;
	__u32 reserved;
	__u64 bytes;
	__u64 offset;
};

#define POPCORN_MSG_IOC_TYPE 0xA6
#define POPCORN_MSG_IOC_INFO _IOWR(POPCORN_MSG_IOC_TYPE, 0, struct popcorn_msg_info)
#define POPCORN_MSG_IOC_BIND _IOW(POPCORN_MSG_IOC_TYPE, 1, struct popcorn_msg_name)
#define POPCORN_MSG_IOC_JOIN _IOW(POPCORN_MSG_IOC_TYPE, 2, struct popcorn_msg_name)
#define POPCORN_MSG_IOC_LEAVE _IOW(POPCORN_MSG_IOC_TYPE, 3, struct popcorn_msg_name)
#define POPCORN_MSG_IOC_LOOKUP _IOWR(POPCORN_MSG_IOC_TYPE, 4, struct popcorn_msg_lookup)
#define POPCORN_MSG_IOC_SEND _IOWR(POPCORN_MSG_IOC_TYPE, 5, struct popcorn_msg_send_args)
#define POPCORN_MSG_IOC_RECEIVE _IOWR(POPCORN_MSG_IOC_TYPE, 6, struct popcorn_msg_receive)
#define POPCORN_MSG_IOC_CALL _IOWR(POPCORN_MSG_IOC_TYPE, 7, struct popcorn_msg_call_args)
#define POPCORN_MSG_IOC_REPLY _IOW(POPCORN_MSG_IOC_TYPE, 8, struct popcorn_msg_reply_args)
#define POPCORN_MSG_IOC_MEMBERS _IOWR(POPCORN_MSG_IOC_TYPE, 9, struct popcorn_msg_members)
#define POPCORN_MSG_IOC_PING _IOWR(POPCORN_MSG_IOC_TYPE, 10, struct popcorn_msg_ping)
#define POPCORN_MSG_IOC_STATS _IOWR(POPCORN_MSG_IOC_TYPE, 11, struct popcorn_msg_counters)
#define POPCORN_MSG_IOC_WINDOW_CREATE _IOWR(POPCORN_MSG_IOC_TYPE, 12, struct popcorn_msg_window)
#define POPCORN_MSG_IOC_WINDOW_OPEN _IOWR(POPCORN_MSG_IOC_TYPE, 13, struct popcorn_msg_window)
#define POPCORN_MSG_IOC_WINDOW_CLOSE _IOW(POPCORN_MSG_IOC_TYPE, 14, struct popcorn_msg_window)

#endif /* _UAPI_POPCORN_MSG_H */
