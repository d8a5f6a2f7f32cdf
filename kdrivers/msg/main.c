// SPDX-License-Identifier: GPL-2.0-only
/*
 * popcorn_msg.ko: messages between the kernels of a machine. Loading it does nothing:
 * popcorn_kexec.ko says that this kernel is the primary, popcorn_guest.ko that it is a secondary.
 */
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>

#include "msg.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* What a round trip costs with interrupt and wake-up on both sides: then looking has paid. */
unsigned int poll_us = 50;
module_param(poll_us, uint, 0644);
MODULE_PARM_DESC(poll_us,
		 "microseconds to look for messages at most before sleeping; 0: never (50)");

unsigned int protocol;
module_param(protocol, uint, 0644);
MODULE_PARM_DESC(protocol,
		 "speak this protocol only with kernels that come; 0: all that are known (0)");

/* More is not faster: a sender that waits is woken when a quarter of it is free. */
#define BULK_SLOTS_MAX 1024
/* Room for the longest reply, twice over what is not counted: see send.c. */
#define REPLY_SLOTS_MIN 128

/* When the module was loaded: what is made of it must not change when memory is lent or given back. */
static u64 memory;

/*
 * Slots of a ring: so many that with all possible peers all rings take an eighth of this kernel's
 * memory, bulk half of that.
 */
u32 lane_slots(u32 lane)
{
	const u64 peer = memory / 8 / POPCORN_MEMBERS_MAX;
	u32 bulk = rounddown_pow_of_two(
		clamp_t(u64, peer / 2 / POPCORN_SLOT_SIZE, 2 * REPLY_SLOTS_MIN, BULK_SLOTS_MAX));

	return lane == POPCORN_LANE_BULK ? bulk : bulk / 2;
}

/*
 * Large messages that a peer may have under way to us on one lane: so many that eight peers that never
 * finish theirs, on both, hold an eighth of this kernel's memory.
 */
u32 large_streams(void)
{
	const u64 peer = memory / 8 / 8;

	return clamp_t(u64, peer / 2 / POPCORN_MSG_LARGE_MAX, 1, STREAMS_MAX);
}

static int __init msg_init(void)
{
	int err;

	memory = (u64)totalram_pages() * PAGE_SIZE;
	err = member_init();
	if (err)
		return err;
	err = user_init();
	if (err) {
		member_exit();
		return err;
	}
	stats_init();
	return 0;
}
module_init(msg_init);

/* Who has joined is held by popcorn_guest.ko, or has left with popcorn_kexec.ko. */
static void __exit msg_exit(void)
{
	stats_exit();
	user_exit();
	member_exit();
}
module_exit(msg_exit);

MODULE_DESCRIPTION("Popcorn: messages between kernels");
MODULE_LICENSE("GPL");
