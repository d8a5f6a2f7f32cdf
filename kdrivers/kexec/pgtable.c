// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page tables a kernel is entered with (Documentation/x86/boot.rst, 64-bit protocol): identity,
 * four levels, in a part of the head that its owner knows to be taken. They may lie above 4 GiB:
 * they are loaded in 64-bit mode.
 */
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <asm/cpufeature.h>

#include "kexec.h"

#define TABLE_FLAGS (_PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED)
#define LEAF_FLAGS (TABLE_FLAGS | _PAGE_DIRTY | _PAGE_PSE)
#define TABLES_MAX ((POPCORN_HEAD_PGTABLES_END - POPCORN_HEAD_PGTABLES) / PAGE_SIZE)

struct tables {
	u64 *virt; /* TABLES_MAX pages */
	u64 phys;
	u32 used;
};

/* The table that @entry refers to, made if there is none. NULL: no room. */
static u64 *table_below(struct tables *tables, u64 *entry)
{
	if (!*entry) {
		if (tables->used == TABLES_MAX)
			return NULL;
		*entry = (tables->phys + tables->used++ * PAGE_SIZE) | TABLE_FLAGS;
	}
	return tables->virt + ((*entry & PAGE_MASK & __PHYSICAL_MASK) - tables->phys) / sizeof(u64);
}

/*
 * Large pages of 1 GiB only where all of it is asked for: more could reach over memory that
 * must not even be read ahead from.
 */
static int map_identity(struct tables *tables, u64 start, u64 end)
{
	u64 at, *table, *entry;

	start = round_down(start, SZ_2M);
	end = round_up(end, SZ_2M);
	for (at = start; at < end;) {
		table = table_below(tables, &tables->virt[(at >> P4D_SHIFT) & 511]);
		if (!table)
			return -ENOSPC;
		entry = &table[(at >> PUD_SHIFT) & 511];
		if (!*entry && IS_ALIGNED(at, SZ_1G) && end - at >= SZ_1G &&
		    boot_cpu_has(X86_FEATURE_GBPAGES)) {
			*entry = at | LEAF_FLAGS;
			at += SZ_1G;
			continue;
		}
		if (*entry & _PAGE_PSE) {
			at += SZ_2M;
			continue;
		}
		table = table_below(tables, entry);
		if (!table)
			return -ENOSPC;
		table[(at >> PMD_SHIFT) & 511] = at | LEAF_FLAGS;
		at += SZ_2M;
	}
	return 0;
}

/*
 * Maps the first 2 MiB (start-up page, low memory), the head and the segments, and of the memory
 * beside them as much as there are tables for: a kernel unpacks itself behind its segment before
 * it maps what it wants by itself. -ENOSPC: the segments alone need too many tables.
 *
 * Context: kernel->lock is held.
 */
int popcorn_pgtable(struct popcorn_kernel *kernel, u64 *ret_cr3)
{
	struct tables tables = {
		.virt = (u64 *)((u8 *)kernel->head + POPCORN_HEAD_PGTABLES),
		.phys = kernel->head_phys + POPCORN_HEAD_PGTABLES,
		.used = 1,
	};
	struct popcorn_mem *mem;
	u32 i;
	int err;

	memset(tables.virt, 0, TABLES_MAX * PAGE_SIZE);
	err = map_identity(&tables, 0, SZ_2M);
	if (!err)
		err = map_identity(&tables, kernel->head_phys,
				   kernel->head_phys + POPCORN_HEAD_SIZE);
	for (i = 0; !err && i < kernel->nr_segments; i++)
		err = map_identity(&tables, kernel->segments[i].mem,
				   kernel->segments[i].mem + kernel->segments[i].memsz);
	if (err)
		return err;
	list_for_each_entry(mem, &kernel->ranges, list)
		if (map_identity(&tables, mem->start, mem->start + mem->length))
			break;
	*ret_cr3 = tables.phys;
	return 0;
}
