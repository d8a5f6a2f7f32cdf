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

/* What a round trip costs with interrupt and wake-up on both sides: then looking has paid. */
unsigned int poll_us = 50;
module_param(poll_us, uint, 0644);
MODULE_PARM_DESC(poll_us,
		 "microseconds to look for messages at most before sleeping; 0: never (50)");

/* More is not faster: a sender that waits is woken when a quarter of it is free. */
#define BULK_SLOTS_MAX 1024
/* Room for the longest reply, twice over what is not counted: see send.c. */
#define REPLY_SLOTS_MIN 128

/*
 * Slots of a ring: so many that with all possible peers all rings take an eighth of this kernel's
 * memory, bulk half of that.
 */
u32 lane_slots(u32 lane)
{
	const u64 peer = (u64)totalram_pages() * PAGE_SIZE / 8 / POPCORN_MEMBERS_MAX;
	u32 bulk = rounddown_pow_of_two(
		clamp_t(u64, peer / 2 / POPCORN_SLOT_SIZE, 2 * REPLY_SLOTS_MIN, BULK_SLOTS_MAX));

	return lane == POPCORN_LANE_BULK ? bulk : bulk / 2;
}

static int __init msg_init(void)
{
	int err = member_init();

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
