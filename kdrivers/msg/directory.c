// SPDX-License-Identifier: GPL-2.0-only
/*
 * The primary's part: the directory lies in its memory, and it alone says who lives, what memory
 * and CPUs each has, and when a life is over. popcorn_kexec.ko tells it.
 *
 * A kernel that is gone may still be written to: by kernels that have a message for it and have not
 * heard. So its memory goes back to this kernel only when everybody has acknowledged its end.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>

#include "msg.h"

/*
 * One that does not acknowledge does not take interrupts, or has no CPU for a workqueue. The watch
 * of its heart ends it after 10 s by default; this is longer, so that its end is waited for.
 */
#define ACKNOWLEDGE_MS 30000

static DEFINE_MUTEX(primary_lock);
static struct popcorn_directory *directory;
static DECLARE_WAIT_QUEUE_HEAD(acknowledged);
/* Resources of each id; freed when everybody has acknowledged. */
static struct {
	void *memory;
	size_t bytes;
	u64 end; /* sequence at which its end was announced */
} lives[POPCORN_MEMBERS_MAX];

static bool ready(void)
{
	return READ_ONCE(directory) != NULL;
}

/* Context: primary_lock. Everything that it announces has been written. */
static void announce(void)
{
	virt_store_release(&directory->sequence, directory->sequence + 1);
	/* Pairs with a kernel that joins: it says so, then looks. */
	virt_mb();
}

/**
 * popcorn_msg_start - a kernel is about to be started
 * @life: its id, generation, memory and CPUs; copied
 * @ret_directory: physical address for its head
 *
 * Context: process. The id had no other life, or its last one was released.
 * Return: 0; -ENOMEM; -ENOSPC: an id that has no place in the directory; -ENODEV: this kernel has no
 * directory.
 */
int popcorn_msg_start(const struct popcorn_msg_life *life, u64 *ret_directory)
{
	const size_t ranges = life->nr_ranges * sizeof(*life->ranges);
	const size_t apicids = life->nr_apicids * sizeof(*life->apicids);
	struct popcorn_directory_entry *entry;
	void *memory;

	if (!ready())
		return -ENODEV;
	if (!life->id || life->id >= POPCORN_MEMBERS_MAX)
		return -ENOSPC;
	memory = alloc_pages_exact(ranges + apicids, GFP_KERNEL | __GFP_NOWARN);
	if (!memory)
		return -ENOMEM;
	memcpy(memory, life->ranges, ranges);
	memcpy(memory + ranges, life->apicids, apicids);

	mutex_lock(&primary_lock);
	if (lives[life->id].memory)
		free_pages_exact(lives[life->id].memory, lives[life->id].bytes);
	lives[life->id].memory = memory;
	lives[life->id].bytes = ranges + apicids;
	entry = &directory->entry[life->id];
	/* Everybody has forgotten the last life of this id. */
	memset(entry, 0, sizeof(*entry));
	WRITE_ONCE(entry->resources, virt_to_phys(memory));
	WRITE_ONCE(entry->nr_ranges, life->nr_ranges);
	WRITE_ONCE(entry->nr_apicids, life->nr_apicids);
	virt_store_release(&entry->life, POPCORN_LIFE(life->generation, POPCORN_LIFE_ALIVE));
	if (directory->used <= life->id)
		WRITE_ONCE(directory->used, life->id + 1);
	announce();
	mutex_unlock(&primary_lock);
	*ret_directory = virt_to_phys(directory);
	return 0;
}
EXPORT_SYMBOL_GPL(popcorn_msg_start);

/**
 * popcorn_msg_end - a kernel has ended
 * @id: of popcorn_msg_start(); one that is unknown is ignored
 * @generation: of that life
 * @stopped: every CPU of it was seen stopped. false: nobody waits for it any more, but what it may
 *           still write to is kept
 *
 * Everybody is told, and lets go of it: see popcorn_msg_release(). May be called again, also with
 * @stopped after without. From its return on nobody begins to ring for it.
 *
 * Context: process. Does not wait for anybody.
 */
void popcorn_msg_end(u32 id, u32 generation, bool stopped)
{
	u32 phase = stopped ? POPCORN_LIFE_GONE : POPCORN_LIFE_ENDED;
	u64 life;

	if (!ready() || !id || id >= POPCORN_MEMBERS_MAX)
		return;
	mutex_lock(&primary_lock);
	life = directory->entry[id].life;
	if (POPCORN_LIFE_GENERATION(life) == generation && POPCORN_LIFE_PHASE(life) < phase) {
		virt_store_release(&directory->entry[id].life, POPCORN_LIFE(generation, phase));
		/* The owner's, but for this: whoever has a message for it does not ring any more. */
		WRITE_ONCE(directory->entry[id].bell, 0);
		announce();
		lives[id].end = directory->sequence;
		news_to_all();
		member_look();
	}
	mutex_unlock(&primary_lock);
}
EXPORT_SYMBOL_GPL(popcorn_msg_end);

/* Another kernel that may still write to the memory of those that ended at @sequence, or 0 = us. */
static bool waits_for(u64 sequence, u32 *ret_id)
{
	u64 seen;
	u32 id;

	for (id = 0; id < directory->used; id++) {
		const struct popcorn_directory_entry *entry = &directory->entry[id];

		if (POPCORN_LIFE_PHASE(READ_ONCE(entry->life)) != POPCORN_LIFE_ALIVE &&
		    POPCORN_LIFE_PHASE(READ_ONCE(entry->life)) != POPCORN_LIFE_ENDED)
			continue;
		/* It says that it joins, and only then looks: so it has not seen the dead alive. */
		if (virt_load_acquire(&entry->state) == POPCORN_MEMBER_NONE)
			continue;
		seen = virt_load_acquire(&entry->acknowledged);
		/* More than there was: it makes things up, and member.c declares it failed. */
		if (seen < sequence || seen > directory->sequence) {
			*ret_id = id;
			return true;
		}
	}
	return false;
}

/* From member_work: this kernel, or another one, has acknowledged. */
void directory_acknowledged(void)
{
	if (ready())
		wake_up_all(&acknowledged);
}

/**
 * popcorn_msg_release - the memory of a kernel that is gone is about to be given back
 * @id: of popcorn_msg_start(); one that is unknown is let go at once
 * @generation: of that life
 *
 * Waits until no other kernel can write to it any more.
 *
 * Context: process; member_work, and what listens to POPCORN_MSG_GONE, must not need a lock that the
 * caller holds.
 * Return: 0; -EBUSY: a living kernel has not let go for half a minute; its name is in the log;
 * -EINTR: the caller is being killed.
 */
int popcorn_msg_release(u32 id, u32 generation)
{
	u32 other = 0;
	u64 life, end;
	long left;

	if (!ready() || !id || id >= POPCORN_MEMBERS_MAX)
		return 0;
	mutex_lock(&primary_lock);
	life = directory->entry[id].life;
	end = lives[id].end;
	mutex_unlock(&primary_lock);
	if (POPCORN_LIFE_GENERATION(life) != generation)
		return 0;
	if (WARN_ON_ONCE(POPCORN_LIFE_PHASE(life) != POPCORN_LIFE_GONE))
		return -EBUSY;

	left = wait_event_killable_timeout(acknowledged, !waits_for(end, &other),
					   msecs_to_jiffies(ACKNOWLEDGE_MS));
	if (left < 0)
		return -EINTR;
	if (!left) {
		pr_err("kernel %u does not let go of the memory of kernel %u, which is kept\n",
		       other, id);
		return -EBUSY;
	}
	mutex_lock(&primary_lock);
	if (directory->entry[id].life == life && lives[id].memory) {
		WRITE_ONCE(directory->entry[id].nr_ranges, 0);
		WRITE_ONCE(directory->entry[id].nr_apicids, 0);
		free_pages_exact(lives[id].memory, lives[id].bytes);
		lives[id].memory = NULL;
	}
	mutex_unlock(&primary_lock);
	return 0;
}
EXPORT_SYMBOL_GPL(popcorn_msg_release);

/**
 * popcorn_msg_primary_init - this kernel is the primary
 *
 * Makes the directory, and joins it.
 *
 * Context: process, once, before anything else of this part.
 * Return: 0; -ENOMEM; -EBUSY: this kernel is a secondary; what popcorn_doorbell_request() says.
 */
int popcorn_msg_primary_init(void)
{
	struct popcorn_directory *new;
	int err;

	/* 50 pages in a row: worth the core's trouble, once. */
	new = alloc_pages_exact(sizeof(*new),
				GFP_KERNEL | __GFP_ZERO | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	if (!new)
		return -ENOMEM;
	new->version = POPCORN_DIRECTORY_VERSION;
	new->size = sizeof(*new);
	new->entry_size = sizeof(new->entry[0]);
	new->nr_entries = POPCORN_MEMBERS_MAX;
	new->used = 1;
	new->entry[0].life = POPCORN_LIFE(POPCORN_PRIMARY_GENERATION, POPCORN_LIFE_ALIVE);
	virt_store_release(&new->magic, POPCORN_DIRECTORY_MAGIC);
	err = member_join_primary(new);
	if (err) {
		free_pages_exact(new, sizeof(*new));
		return err;
	}
	WRITE_ONCE(directory, new);
	return 0;
}
EXPORT_SYMBOL_GPL(popcorn_msg_primary_init);

/**
 * popcorn_msg_primary_exit - no kernel is left
 *
 * Context: process; every life was released. Harmless if popcorn_msg_primary_init() has failed.
 */
void popcorn_msg_primary_exit(void)
{
	struct popcorn_directory *old = directory;
	u32 id;

	if (!old)
		return;
	member_exit_primary();
	WRITE_ONCE(directory, NULL);
	for (id = 0; id < POPCORN_MEMBERS_MAX; id++) {
		if (lives[id].memory)
			free_pages_exact(lives[id].memory, lives[id].bytes);
		lives[id].memory = NULL;
	}
	free_pages_exact(old, sizeof(*old));
}
EXPORT_SYMBOL_GPL(popcorn_msg_primary_exit);
