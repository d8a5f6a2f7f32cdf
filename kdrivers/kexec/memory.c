// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory ranges: taken from this kernel, and given back. Writing into memory that this kernel still
 * uses destroys it, so nothing here believes what it is told.
 */
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/slab.h>
#include <asm/page.h>

#include "kexec.h"

/* The head, and as much for a kernel to stand on: what is less can't be meant. */
#define FIRST_RANGE_MIN (POPCORN_HEAD_SIZE + POPCORN_MEMORY_ALIGN)

static DEFINE_MUTEX(lent_lock);
static LIST_HEAD(lent_ranges);
/* Memory that is just going online; the core does one at a time. */
static unsigned long onlining_start, onlining_end; /* page frames */

static bool overlaps(u64 a, u64 a_end, u64 b, u64 b_end)
{
	return a < b_end && b < a_end;
}

/* Context: lent_lock is held. */
static bool is_lent(u64 start, u64 end)
{
	struct popcorn_mem *mem;

	list_for_each_entry(mem, &lent_ranges, lent)
		if (overlaps(start, end, mem->start, mem->start + mem->length))
			return true;
	return false;
}

/*
 * The core asks before it puts memory online, and says how it ended. It marks the memory as online
 * only after it asked, so a range that is taken in between would be seen offline: it must be known
 * that the question has been answered.
 */
static int popcorn_memory_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	struct memory_notify *change = data;
	unsigned long end = change->start_pfn + change->nr_pages;

	guard(mutex)(&lent_lock);
	switch (action) {
	case MEM_GOING_ONLINE:
		if (is_lent(PFN_PHYS(change->start_pfn), PFN_PHYS(end)))
			return NOTIFY_BAD;
		onlining_start = change->start_pfn;
		onlining_end = end;
		break;
	case MEM_ONLINE:
	case MEM_CANCEL_ONLINE:
		if (onlining_start == change->start_pfn)
			onlining_start = onlining_end = 0;
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block popcorn_memory_nb = {
	.notifier_call = popcorn_memory_notify,
};

/* The kernel's range that has all of [start, start + length), or NULL. */
struct popcorn_mem *popcorn_find_range(struct popcorn_kernel *kernel, u64 start, u64 length)
{
	struct popcorn_mem *mem;

	list_for_each_entry(mem, &kernel->ranges, list)
		if (start >= mem->start && start - mem->start < mem->length &&
		    length <= mem->length - (start - mem->start))
			return mem;
	return NULL;
}

static int add_size(struct resource *res, void *data)
{
	*(u64 *)data += resource_size(res);
	return 0;
}

/* Whether the firmware called all of it memory. Pieces come clipped to what was asked for. */
static bool is_system_ram(u64 start, u64 length)
{
	u64 size = 0;

	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, start,
			    start + length - 1, &size, add_size);
	return size == length;
}

/* Memory goes on- and offline by sections; the alignment of ranges is not coarser than one. */
static int check_offline(unsigned long pfn, unsigned long end)
{
	for (; pfn < end; pfn += PHYS_PFN(POPCORN_MEMORY_ALIGN)) {
		if (pfn_to_online_page(pfn))
			return -EBUSY;
		cond_resched();
	}
	return 0;
}

/* What alloc_contig_range() takes for granted: online pages of one zone, none of them a hole. */
static int check_evacuable(unsigned long pfn, unsigned long end)
{
	struct zone *zone = NULL;
	struct page *page;

	for (; pfn < end; pfn++) {
		page = pfn_to_online_page(pfn);
		if (!page || PageReserved(page) || is_zone_device_page(page))
			return -EBUSY;
		if (zone && page_zone(page) != zone)
			return -EBUSY;
		zone = page_zone(page);
		if (!(pfn % PAGES_PER_SECTION))
			cond_resched();
	}
	return 0;
}

/* Nobody but the owner may use the range from here on; not yet checked that nobody does. */
static int range_lend(struct popcorn_mem *mem)
{
	guard(mutex)(&lent_lock);
	if (is_lent(mem->start, mem->start + mem->length) ||
	    overlaps(mem->start, mem->start + mem->length, PFN_PHYS(onlining_start),
		     PFN_PHYS(onlining_end)))
		return -EBUSY;
	list_add_tail(&mem->lent, &lent_ranges);
	return 0;
}

static void range_unlend(struct popcorn_mem *mem)
{
	guard(mutex)(&lent_lock);
	list_del(&mem->lent);
}

static int range_take(struct popcorn_mem *mem)
{
	unsigned long pfn = PHYS_PFN(mem->start), end = pfn + PHYS_PFN(mem->length);
	int err;

	if (popcorn_fault())
		return -EBUSY;
	if (mem->kind == POPCORN_MEMORY_OFFLINE)
		return check_offline(pfn, end);
	err = check_evacuable(pfn, end);
	if (err)
		return err;
	err = alloc_contig_range(pfn, end, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_NOWARN);
	return err == -EINTR || err == -ENOMEM ? err : err ? -EBUSY : 0;
}

static void range_free(struct popcorn_mem *mem)
{
	if (mem->kind == POPCORN_MEMORY_CONTIG)
		free_contig_range(PHYS_PFN(mem->start), PHYS_PFN(mem->length));
}

/* Context: kernel->lock is held. */
static int range_add(struct popcorn_kernel *kernel, struct popcorn_mem *mem)
{
	bool first = list_empty(&kernel->ranges);
	int err;

	if (first && mem->length < FIRST_RANGE_MIN)
		return -EINVAL;
	if (kernel->nr_ranges == POPCORN_RANGES_MAX)
		return -ENOSPC;
	if (!is_system_ram(mem->start, mem->length))
		return -EINVAL;
	mem->node = max(0, phys_to_target_node(mem->start));
	/* First lent, then checked: what is found offline then stays so. */
	err = range_lend(mem);
	if (err)
		return err;
	err = range_take(mem);
	if (err)
		goto unlend;
	/* It is RAM: this gives the direct map and takes nothing. */
	mem->virt = popcorn_fault() ? NULL : memremap(mem->start, mem->length, MEMREMAP_WB);
	if (!mem->virt) {
		err = -ENOMEM;
		goto free;
	}
	if (first)
		memset(mem->virt, 0, POPCORN_HEAD_SIZE);
	down_write(&kernel->mem_lock);
	list_add_tail(&mem->list, &kernel->ranges);
	if (first) {
		kernel->head = mem->virt;
		kernel->head_phys = mem->start;
	}
	up_write(&kernel->mem_lock);
	kernel->nr_ranges++;
	return 0;
free:
	range_free(mem);
unlend:
	range_unlend(mem);
	return err;
}

int popcorn_add_memory(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_memory *args = arg;
	struct popcorn_mem *mem;
	int err;

	if (args->reserved || !args->length ||
	    (args->kind != POPCORN_MEMORY_OFFLINE && args->kind != POPCORN_MEMORY_CONTIG) ||
	    !IS_ALIGNED(args->start | args->length, POPCORN_MEMORY_ALIGN) ||
	    args->start >> boot_cpu_data.x86_phys_bits ||
	    args->length > (1ULL << boot_cpu_data.x86_phys_bits) - args->start)
		return -EINVAL;

	mem = popcorn_fault() ? NULL : kzalloc(sizeof(*mem), GFP_KERNEL);
	if (!mem)
		return -ENOMEM;
	mem->start = args->start;
	mem->length = args->length;
	mem->kind = args->kind;

	err = popcorn_lock(kernel);
	if (!err) {
		err = kernel->state == POPCORN_STATE_RESERVED ? range_add(kernel, mem) : -EBUSY;
		mutex_unlock(&kernel->lock);
	}
	if (err) {
		kfree(mem);
		return err;
	}
	args->node = mem->node;
	return 0;
}

/*
 * Context: kernel->lock is held; all CPUs were seen stopped, and kernel->gone keeps everybody else
 * from the memory.
 */
void popcorn_ranges_return(struct popcorn_kernel *kernel)
{
	struct popcorn_mem *mem, *next;
	LIST_HEAD(ranges);

	down_write(&kernel->mem_lock);
	list_splice_init(&kernel->ranges, &ranges);
	up_write(&kernel->mem_lock);
	kernel->nr_ranges = 0;
	kernel->nr_segments = 0;
	kernel->loaded = false;
	kernel->head_phys = 0;
	/* In reverse, as everything is undone. */
	list_for_each_entry_safe_reverse(mem, next, &ranges, list) {
		memunmap(mem->virt);
		range_free(mem);
		range_unlend(mem);
		kfree(mem);
	}
}

int popcorn_memory_init(void)
{
	return register_memory_notifier(&popcorn_memory_nb);
}

void popcorn_memory_exit(void)
{
	unregister_memory_notifier(&popcorn_memory_nb);
}
