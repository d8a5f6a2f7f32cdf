/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints, in /sys/kernel/tracing/events/popcorn_msg. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM popcorn_msg

#if !defined(_POPCORN_MSG_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _POPCORN_MSG_TRACE_H

#include <linux/tracepoint.h>
#include <popcorn/directory.h>

/* clang-format off: it takes these for code */

DECLARE_EVENT_CLASS(
	popcorn_msg_message,
	TP_PROTO(u32 id, u32 generation, u32 lane, const struct popcorn_message *message),
	TP_ARGS(id, generation, lane, message),
	TP_STRUCT__entry(__field(u32, id) __field(u32, generation) __field(u32, lane)
				 __field(u32, length) __field(u16, type) __field(u16, flags)
					 __field(u64, message) __field(u64, cookie)),
	TP_fast_assign(__entry->id = id; __entry->generation = generation; __entry->lane = lane;
		       __entry->length = message->length; __entry->type = message->type;
		       __entry->flags = message->flags; __entry->message = message->id;
		       __entry->cookie = message->cookie;),
	TP_printk("kernel=%u.%u lane=%s type=%u flags=%s length=%u id=%#llx cookie=%#llx",
		  __entry->id, __entry->generation,
		  __print_symbolic(__entry->lane, { POPCORN_LANE_REPLY, "reply" },
				   { POPCORN_LANE_CONTROL, "control" },
				   { POPCORN_LANE_BULK, "bulk" }),
		  __entry->type,
		  __print_flags(__entry->flags, "|", { 1, "request" }, { 2, "reply" },
				{ 4, "chunk" }, { 8, "group" }),
		  __entry->length, __entry->message, __entry->cookie));

/* It is in the receiver's ring. */
DEFINE_EVENT(popcorn_msg_message, popcorn_msg_send,
	     TP_PROTO(u32 id, u32 generation, u32 lane, const struct popcorn_message *message),
	     TP_ARGS(id, generation, lane, message));

/* The reader is about to take it; of one that has to wait for a handler that sleeps, more than once. */
DEFINE_EVENT(popcorn_msg_message, popcorn_msg_receive,
	     TP_PROTO(u32 id, u32 generation, u32 lane, const struct popcorn_message *message),
	     TP_ARGS(id, generation, lane, message));

/* The doorbell was rung, and its handler was the reader; thread: which goes on from here. */
TRACE_EVENT(popcorn_msg_interrupt, TP_PROTO(bool thread), TP_ARGS(thread),
	    TP_STRUCT__entry(__field(bool, thread)), TP_fast_assign(__entry->thread = thread;),
	    TP_printk("thread=%d", __entry->thread));

/* A kernel can be reached from here on, or not any more. */
TRACE_EVENT(popcorn_msg_peer, TP_PROTO(u32 id, u32 generation, bool up),
	    TP_ARGS(id, generation, up),
	    TP_STRUCT__entry(__field(u32, id) __field(u32, generation) __field(bool, up)),
	    TP_fast_assign(__entry->id = id; __entry->generation = generation; __entry->up = up;),
	    TP_printk("kernel=%u.%u %s", __entry->id, __entry->generation,
		      __entry->up ? "up" : "down"));

/* clang-format on */

#endif /* _POPCORN_MSG_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
