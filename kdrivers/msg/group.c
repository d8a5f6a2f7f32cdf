// SPDX-License-Identifier: GPL-2.0-only
/*
 * Multicast groups. A group is a name, and has no other home: each kernel tells each other one which
 * groups it is in, and who sends looks that up in what it has been told, and sends once to each.
 *
 * What is told is the contents of a slot of this kernel's table, whenever it differs from what that peer
 * was told last: so it does not matter how often it changed while a peer had no room, and a peer that comes
 * up is told in the same way. It goes with other control messages, in their order; nobody waits for it.
 *
 *	group_mutex	this kernel's own part: users, joins, versions, told. Nothing waits for another
 *			kernel under it
 *	group_lock	what the reader reads and writes: names, members. Leaf
 */
#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "msg.h"

struct popcorn_msg_group {
	struct group_name name; /* none: free */
	u32 users, joins;
	u32 version; /* grows when we join or leave */
	DECLARE_BITMAP(members, POPCORN_MEMBERS_MAX);
};

static struct popcorn_msg_group groups[POPCORN_MSG_GROUPS];
static DEFINE_MUTEX(group_mutex);
static DEFINE_SPINLOCK(group_lock);

static void retell(struct work_struct *work);
static DECLARE_WORK(retell_work, retell);

static bool is_none(const struct group_name *name)
{
	return !name->words[0] && !name->words[1];
}

static bool is_same(const struct group_name *a, const struct group_name *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1];
}

/* Printable, ended by a NUL, and nothing behind it: of each group there is one spelling. */
static bool is_name(const struct group_name *name)
{
	const char *text = name->text;
	size_t n = strnlen(text, sizeof(name->text)), i;

	for (i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return n && n < sizeof(name->text) && !memchr_inv(text + n, 0, sizeof(name->text) - n);
}

/* Context: group_lock or group_mutex. */
static struct popcorn_msg_group *find_group(const struct group_name *name)
{
	struct popcorn_msg_group *group;

	for (group = groups; group < groups + POPCORN_MSG_GROUPS; group++)
		if (is_same(&group->name, name))
			return group;
	return NULL;
}

/* What the peer says about a group is entered in ours, if we have it open. Context: group_lock. */
static void enter(const struct peer *peer, struct popcorn_msg_group *group)
{
	u32 i;

	for (i = 0; i < POPCORN_MSG_GROUPS; i++)
		if (is_same(&peer->groups[i], &group->name))
			break;
	if (i < POPCORN_MSG_GROUPS)
		set_bit(peer->id, group->members);
	else
		clear_bit(peer->id, group->members);
}

/* Context: the reader. false: nonsense. */
bool group_told(struct peer *peer, const struct group_slot *said, u32 length)
{
	struct popcorn_msg_group *group;
	struct group_name names[2];
	unsigned long flags;
	u32 i;

	if (length != sizeof(*said) || said->slot >= POPCORN_MSG_GROUPS ||
	    (!is_none(&said->name) && !is_name(&said->name)))
		return false;
	spin_lock_irqsave(&group_lock, flags);
	names[0] = peer->groups[said->slot];
	names[1] = said->name;
	peer->groups[said->slot] = said->name;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		group = is_none(&names[i]) ? NULL : find_group(&names[i]);
		if (group)
			enter(peer, group);
	}
	spin_unlock_irqrestore(&group_lock, flags);
	return true;
}

/*
 * A message to a group. *ret_in: this kernel is in it; it may have left before the sender heard of that.
 * Context: the reader. false: nonsense.
 */
bool group_take(const struct popcorn_message *message, char *ret_name, bool *ret_in)
{
	const struct group_name name = { .words = { message->id, message->cookie } };
	const struct popcorn_msg_group *group;
	unsigned long flags;

	if (!is_name(&name))
		return false;
	memcpy(ret_name, name.text, sizeof(name.text));
	spin_lock_irqsave(&group_lock, flags);
	group = find_group(&name);
	*ret_in = group && READ_ONCE(group->joins);
	spin_unlock_irqrestore(&group_lock, flags);
	return true;
}

/* Says what the peer has not been told, or later, when there is room. Context: group_mutex. */
static void tell(struct peer *peer)
{
	const struct popcorn_message message = { .length = sizeof(struct group_slot),
						 .type = TYPE_GROUP };
	const struct popcorn_msg_peer to = { peer->id, READ_ONCE(peer->generation) };
	struct group_slot say;
	u32 i;
	int err;

	if (!to.generation)
		return;
	for (i = 0; i < POPCORN_MSG_GROUPS; i++) {
		if (peer->told[i] == groups[i].version)
			continue;
		say = (struct group_slot){ .slot = i };
		if (groups[i].joins)
			say.name = groups[i].name;
		/* First the flag, then the wish for credit: see group_credit(). */
		WRITE_ONCE(peer->untold, true);
		do
			err = tx_try(to, POPCORN_LANE_CONTROL, &message, &say);
		while (err == -EAGAIN &&
		       !tx_wants_credit(peer, to.generation, POPCORN_LANE_CONTROL, sizeof(say)));
		/* If not for want of room, it is down, and is told all when it comes up. */
		if (err)
			return;
		peer->told[i] = groups[i].version;
	}
	WRITE_ONCE(peer->untold, false);
}

static void tell_all(void)
{
	struct peer *peer;
	u32 id;

	for (id = 0; id < READ_ONCE(self.used); id++) {
		peer = peer_of(id);
		if (peer && smp_load_acquire(&peer->state) == PEER_UP)
			tell(peer);
	}
}

static void retell(struct work_struct *work)
{
	struct peer *peer;
	u32 id;

	mutex_lock(&group_mutex);
	for (id = 0; id < READ_ONCE(self.used); id++) {
		peer = peer_of(id);
		if (peer && READ_ONCE(peer->untold) && smp_load_acquire(&peer->state) == PEER_UP)
			tell(peer);
	}
	mutex_unlock(&group_mutex);
}

/* The peer has taken messages: there may be room for what it has not been told. Context: the reader. */
void group_credit(const struct peer *peer)
{
	if (READ_ONCE(peer->untold))
		queue_work(member_wq, &retell_work);
}

/* Context: member_work; messages can be sent to it. */
void group_peer_up(struct peer *peer)
{
	mutex_lock(&group_mutex);
	/* A new life knows nothing; who is in nothing need not say so. */
	memset(peer->told, 0, sizeof(peer->told));
	tell(peer);
	mutex_unlock(&group_mutex);
}

/* Context: member_work; no reader looks at it, and nothing is sent to it. */
void group_peer_down(struct peer *peer)
{
	u32 i;

	spin_lock_irq(&group_lock);
	memset(peer->groups, 0, sizeof(peer->groups));
	for (i = 0; i < POPCORN_MSG_GROUPS; i++)
		clear_bit(peer->id, groups[i].members);
	spin_unlock_irq(&group_lock);
	WRITE_ONCE(peer->untold, false);
}

/* Context: group_mutex. */
static struct popcorn_msg_group *new_group(const struct group_name *name)
{
	const struct group_name none = {};
	struct popcorn_msg_group *group = find_group(&none);
	struct peer *peer;
	u32 id;

	if (!group)
		return NULL;
	spin_lock_irq(&group_lock);
	group->name = *name;
	bitmap_zero(group->members, POPCORN_MEMBERS_MAX);
	spin_unlock_irq(&group_lock);
	/* What is told from here on is entered by the reader; what was told before, here. */
	for (id = 0; id < READ_ONCE(self.used); id++) {
		peer = peer_of(id);
		if (!peer)
			continue;
		spin_lock_irq(&group_lock);
		enter(peer, group);
		spin_unlock_irq(&group_lock);
	}
	return group;
}

/**
 * popcorn_msg_group_open - a group to send to, or to join
 * @name: 1 to POPCORN_MSG_GROUP_NAME - 1 printable characters, no blanks. A group need not be made: whoever
 *        uses a name means the same one
 *
 * Context: process.
 * Return: the group, for popcorn_msg_group_close(); -EINVAL: a name that is none; -ENOSPC: this
 * kernel has POPCORN_MSG_GROUPS others open.
 */
struct popcorn_msg_group *popcorn_msg_group_open(const char *name)
{
	struct popcorn_msg_group *group;
	struct group_name key = {};

	if (strscpy(key.text, name, sizeof(key.text)) < 0 || !is_name(&key))
		return ERR_PTR(-EINVAL);
	mutex_lock(&group_mutex);
	group = find_group(&key) ?: new_group(&key);
	if (group)
		group->users++;
	mutex_unlock(&group_mutex);
	return group ?: ERR_PTR(-ENOSPC);
}
EXPORT_SYMBOL_GPL(popcorn_msg_group_open);

/* Context: group_mutex. */
static void set_joins(struct popcorn_msg_group *group, u32 joins)
{
	const bool changed = !joins != !group->joins;

	WRITE_ONCE(group->joins, joins);
	if (!changed)
		return;
	group->version++;
	tell_all();
}

/**
 * popcorn_msg_group_join - this kernel receives what others send to a group
 * @group: of popcorn_msg_group_open()
 *
 * By the handlers of the types that are sent to it; struct popcorn_msg has the group's name. Others send
 * as soon as they have heard of it, which this does not wait for: a control message to one of
 * them, sent afterwards by the same thread, as a rule comes after. Counted: as many have to leave as
 * have joined.
 *
 * Context: process.
 */
void popcorn_msg_group_join(struct popcorn_msg_group *group)
{
	mutex_lock(&group_mutex);
	set_joins(group, group->joins + 1);
	mutex_unlock(&group_mutex);
}
EXPORT_SYMBOL_GPL(popcorn_msg_group_join);

/**
 * popcorn_msg_group_leave - undo one popcorn_msg_group_join()
 * @group: that was joined
 *
 * After the last one nothing more is taken for this group; what others still send to it is counted as
 * unknown.
 *
 * Context: process.
 */
void popcorn_msg_group_leave(struct popcorn_msg_group *group)
{
	mutex_lock(&group_mutex);
	if (!WARN_ON_ONCE(!group->joins))
		set_joins(group, group->joins - 1);
	mutex_unlock(&group_mutex);
}
EXPORT_SYMBOL_GPL(popcorn_msg_group_leave);

/**
 * popcorn_msg_group_close - undo one popcorn_msg_group_open()
 * @group: is not used any more by this caller, who has left it as often as it has joined it
 *
 * Context: process.
 */
void popcorn_msg_group_close(struct popcorn_msg_group *group)
{
	const struct group_name none = {};

	mutex_lock(&group_mutex);
	if (!--group->users) {
		if (WARN_ON_ONCE(group->joins))
			set_joins(group, 0);
		spin_lock_irq(&group_lock);
		group->name = none;
		spin_unlock_irq(&group_lock);
	}
	mutex_unlock(&group_mutex);
}
EXPORT_SYMBOL_GPL(popcorn_msg_group_close);

/*
 * The life is read before the membership, which ends with it: so it is of this life, or of a later one, to
 * which nothing is sent then.
 */
static bool is_member(const struct popcorn_msg_group *group, u32 id, struct popcorn_msg_peer *ret)
{
	const struct peer *peer = peer_of(id);

	if (!peer)
		return false;
	*ret = (struct popcorn_msg_peer){ id, READ_ONCE(peer->generation) };
	smp_rmb();
	return ret->generation && test_bit(id, group->members);
}

/**
 * popcorn_msg_group_send - send a message once to each other kernel that is in a group
 * @group: of popcorn_msg_group_open(); this kernel need not be in it
 * @priority: POPCORN_MSG_CONTROL or POPCORN_MSG_BULK
 * @type: who handles it there
 * @payload: @length bytes of kernel memory that can't fault
 * @length: at most POPCORN_MSG_MAX
 * @timeout: jiffies to wait for room, all in all; MAX_SCHEDULE_TIMEOUT for ever
 *
 * Those that have room get it first: one that has none keeps nobody else waiting. In order with what the
 * caller sends to each of them otherwise.
 *
 * Context: process.
 * Return: how many it was sent to, which may be none; -EINVAL; -EMSGSIZE; -ESHUTDOWN: this kernel is
 * ending; -ETIMEDOUT, -EINTR: some that had no room have not got it, the others have.
 */
int popcorn_msg_group_send(struct popcorn_msg_group *group, u32 priority, u16 type,
			   const void *payload, u32 length, long timeout)
{
	const struct popcorn_message message = {
		.length = length,
		.type = type,
		.flags = FLAG_GROUP,
		.id = group->name.words[0],
		.cookie = group->name.words[1],
	};
	int err = tx_check(priority, type, length, POPCORN_MSG_MAX), n = 0, failed = 0;
	DECLARE_BITMAP(full, POPCORN_MEMBERS_MAX) = {};
	struct popcorn_msg_peer to;
	u32 id;

	might_sleep();
	if (err)
		return err;
	for_each_set_bit(id, group->members, POPCORN_MEMBERS_MAX) {
		if (!is_member(group, id, &to))
			continue;
		err = tx_try(to, priority, &message, payload);
		if (!err)
			n++;
		else if (err == -EAGAIN)
			__set_bit(id, full);
		else if (err == -ESHUTDOWN)
			return err;
	}
	for_each_set_bit(id, full, POPCORN_MEMBERS_MAX) {
		if (!is_member(group, id, &to))
			continue;
		err = tx_wait(to, priority, &message, payload, &timeout);
		if (!err)
			n++;
		else if (err == -ETIMEDOUT || err == -EINTR)
			failed = err;
	}
	return failed ?: n;
}
EXPORT_SYMBOL_GPL(popcorn_msg_group_send);
