// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changes what this kernel tells others of its windows: the first range of each lies at address=, unless
 * that is 0.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/types.h>

static unsigned long address;
module_param(address, ulong, 0);

/* window_take_open(): its third argument is what it fills. */
struct answer {
	u64 bytes;
	u32 nr_ranges, count;
	u64 start;
};

static int on_entry(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(struct answer **)instance->data = (struct answer *)regs->dx;
	return 0;
}

static int on_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct answer *answer = *(struct answer **)instance->data;

	if (address && (int)regs->ax > 0)
		answer->start = address;
	return 0;
}

static struct kretprobe probe = {
	.kp.symbol_name = "popcorn_msg:window_take_open",
	.entry_handler = on_entry,
	.handler = on_return,
	.data_size = sizeof(struct answer *),
};

static int __init liar_init(void)
{
	return register_kretprobe(&probe);
}
module_init(liar_init);

static void __exit liar_exit(void)
{
	unregister_kretprobe(&probe);
}
module_exit(liar_exit);

MODULE_DESCRIPTION("Popcorn test: a kernel that lies about its windows");
MODULE_LICENSE("GPL");
