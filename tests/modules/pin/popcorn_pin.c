// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For tests only: pins one page in every 2 MiB of the memory that is free now, so that no memory
 * block goes offline and no range can be evacuated. Gives all back when it is unloaded.
 */
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>

static unsigned int leave = 192;
module_param(leave, uint, 0444);
MODULE_PARM_DESC(leave, "MiB of memory to leave alone");

static LIST_HEAD(kept);

static void free_list(struct list_head *list)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
}

static int __init pin_init(void)
{
	unsigned long last = ~0UL, count = 0;
	struct page *page;
	LIST_HEAD(spare);

	/* All is taken first, so that the pages come from everywhere, and then most of it let go. */
	while (si_mem_available() > (long)leave << (20 - PAGE_SHIFT)) {
		page = alloc_page(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
		if (!page)
			break;
		if (page_to_pfn(page) >> 9 != last) {
			last = page_to_pfn(page) >> 9;
			list_add(&page->lru, &kept);
			count++;
		} else {
			list_add(&page->lru, &spare);
		}
		cond_resched();
	}
	free_list(&spare);
	pr_info("popcorn_pin: %lu pages are pinned\n", count);
	return 0;
}

static void __exit pin_exit(void)
{
	free_list(&kept);
}

module_init(pin_init);
module_exit(pin_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Pins memory all over the machine, for tests");
