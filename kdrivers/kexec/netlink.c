// SPDX-License-Identifier: GPL-2.0-only
/* Generic netlink: one event per change of a kernel's state. */
#include <linux/module.h>
#include <net/genetlink.h>

#include "kexec.h"

static const struct genl_multicast_group popcorn_groups[] = {
	{ .name = POPCORN_GENL_GROUP },
};

static struct genl_family popcorn_family = {
	.name = POPCORN_GENL_NAME,
	.version = POPCORN_GENL_VERSION,
	.maxattr = POPCORN_ATTR_MAX,
	.module = THIS_MODULE,
	.mcgrps = popcorn_groups,
	.n_mcgrps = ARRAY_SIZE(popcorn_groups),
};

/* Best effort: poll() and STATUS tell the same to whoever missed it. */
void popcorn_event(const struct popcorn_kernel *kernel, u32 old, u32 state, u32 reason, u64 time)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	void *message;

	if (!skb)
		return;
	message = genlmsg_put(skb, 0, 0, &popcorn_family, 0, POPCORN_CMD_EVENT);
	if (!message || nla_put_u32(skb, POPCORN_ATTR_ID, kernel->id) ||
	    nla_put_u32(skb, POPCORN_ATTR_GENERATION, kernel->generation) ||
	    nla_put_string(skb, POPCORN_ATTR_NAME, kernel->name) ||
	    nla_put_u32(skb, POPCORN_ATTR_OLD_STATE, old) ||
	    nla_put_u32(skb, POPCORN_ATTR_STATE, state) ||
	    nla_put_u32(skb, POPCORN_ATTR_REASON, reason) ||
	    nla_put_u64_64bit(skb, POPCORN_ATTR_TIME, time, POPCORN_ATTR_PAD)) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, message);
	genlmsg_multicast(&popcorn_family, skb, 0, 0, GFP_KERNEL);
}

int popcorn_netlink_init(void)
{
	return genl_register_family(&popcorn_family);
}

void popcorn_netlink_exit(void)
{
	genl_unregister_family(&popcorn_family);
}
