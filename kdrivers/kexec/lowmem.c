// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory below 640 KiB. This kernel reserves all of it at boot and uses only its real-mode blob in
 * there, which is not exported, but can be recognized. The rest is dealt out: one page to start CPUs
 * in, and a piece for each secondary, which puts its own blob there.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <asm/segment.h>

#include "kexec.h"
#include "trampoline.h"

#define LOW_END 0x9f000 /* above are the EBDA and the video memory */
#define LOW_PAGES (LOW_END >> PAGE_SHIFT)
/* What a stock kernel's real-mode blob needs (28 KiB), and a page that it does not use. */
#define PIECE_PAGES 8
#define PIECE_SIZE (PIECE_PAGES * PAGE_SIZE)
#define PIECES_MAX (LOW_PAGES / PIECE_PAGES)

/* Linux leaves the first 64 KiB alone, because some firmware writes there (X86_RESERVE_LOW). */
#define PIECES_START 0x10000

/* The last word of every real-mode blob. */
#define BLOB_END_SIGNATURE 0x65a22c82
/* In its header for waking up from ACPI sleep, the last word but for a few. */
#define WAKEUP_SIGNATURE 0x51ee1111
#define WAKEUP_HEADER_MAX 128

static DEFINE_MUTEX(low_lock);
static u64 pieces[PIECES_MAX];
static DECLARE_BITMAP(pieces_used, PIECES_MAX);
static u32 nr_pieces;
static u32 tramp_page;

struct blob {
	u32 start, end;
	u32 text, text_end;
	u32 tables;  /* top level */
	u32 restart; /* where an emergency restart goes in 32-bit mode */
};

static u32 next_word(const u32 **word)
{
	return READ_ONCE(*(*word)++);
}

/*
 * The blob begins with the addresses of its parts. Which ones there are depends on what the kernel
 * was built with (SEV-ES, ACPI sleep), and a secondary may be built otherwise than this one; the
 * last one is a known constant. Words are in this order:
 *
 *	text, end of text, 16-bit start, header of the start, [SEV-ES start], 64-bit start,
 *	page tables, [wake-up, header of the wake-up], restart, selector for the restart
 */
static bool blob_parse(const u8 *low, u32 base, u32 limit, u32 page, bool sev, bool sleep,
		       struct blob *ret)
{
	const u8 *mem = low - base;
	const u32 *word = (const u32 *)(mem + page);
	u32 at;
	u32 text = next_word(&word);
	u32 text_end = next_word(&word);
	u32 start = next_word(&word);
	u32 header = next_word(&word);
	u32 sev_start = sev ? next_word(&word) : start;
	u32 start64 = next_word(&word);
	u32 tables = next_word(&word);
	u32 wakeup = sleep ? next_word(&word) : start;
	u32 wakeup_header = sleep ? next_word(&word) : header;
	u32 restart = next_word(&word);

	if (next_word(&word) != __KERNEL32_CS)
		return false;
	if (text <= page || !IS_ALIGNED(text, PAGE_SIZE) || text_end <= text || text_end >= limit)
		return false;
#define IN_TEXT(a) ((a) >= text && (a) < text_end)
#define IN_DATA(a) ((a) >= text_end && (a) <= limit - PAGE_SIZE)
	if (!IN_TEXT(start) || !IS_ALIGNED(start, PAGE_SIZE) || !IN_TEXT(sev_start) ||
	    !IN_TEXT(start64) || !IN_TEXT(wakeup) || !IN_TEXT(restart))
		return false;
	if (!IN_DATA(header) || !IN_DATA(wakeup_header) || !IN_DATA(tables) ||
	    !IS_ALIGNED(tables, PAGE_SIZE))
		return false;
#undef IN_TEXT
#undef IN_DATA
	if (sleep) {
		for (at = wakeup_header & ~3; at < wakeup_header + WAKEUP_HEADER_MAX; at += 4)
			if (READ_ONCE(*(const u32 *)(mem + at)) == WAKEUP_SIGNATURE)
				break;
		if (at >= wakeup_header + WAKEUP_HEADER_MAX)
			return false;
	}
	/* The page tables are among the last things in it. */
	for (at = tables + PAGE_SIZE; at <= limit - 4 && at < tables + 3 * PAGE_SIZE; at += 4)
		if (READ_ONCE(*(const u32 *)(mem + at)) == BLOB_END_SIGNATURE)
			break;
	if (at > limit - 4 || at >= tables + 3 * PAGE_SIZE)
		return false;
	*ret = (struct blob){
		.start = page,
		.end = at + 4,
		.text = text,
		.text_end = text_end,
		.tables = tables,
		.restart = restart,
	};
	return true;
}

/* Where a table of the top level says that the kernel's text is mapped. */
static u64 text_mapping(const void *top)
{
	return READ_ONCE(((const u64 *)top)[pgd_index(__START_KERNEL_map)]) & PTE_PFN_MASK;
}

/*
 * Looks for real-mode blobs in [base, limit), which is mapped at @low; those of one kernel if
 * @mapping, its text_mapping(), is not 0. Returns how many; the last one is written to @ret. What is
 * there may be written by another kernel meanwhile: every word is read once, and no address
 * leaves the piece.
 */
static int blob_find(const u8 *low, u32 base, u32 limit, u64 mapping, struct blob *ret)
{
	struct blob blob;
	u32 page;
	int i, n = 0;

	for (page = base; page + 2 * PAGE_SIZE <= limit; page += PAGE_SIZE)
		for (i = 0; i < 4; i++) {
			if (!blob_parse(low, base, limit, page, i & 1, i & 2, &blob))
				continue;
			if (mapping && text_mapping(low - base + blob.tables) != mapping)
				continue;
			*ret = blob;
			n++;
			break;
		}
	return n;
}

/* Emergency restart of a secondary */

/* The byte is the first one of the piece; blobs are put at the end. */
static u8 *reset_byte(const struct popcorn_kernel *kernel)
{
	return kernel->low;
}

/*
 * An emergency restart (sysrq-b, panic=N) asks no module: with reboot=bios on the command line it
 * jumps in 32-bit mode to code in the blob that goes back to real mode and calls the BIOS: with
 * that the whole machine would restart. As the blob lies in memory that we have given, the code
 * there is replaced: it tells us, and halts.
 *
 * Done when the same blob was found twice, some time apart: while a kernel sets its blob up it
 * copies it, and then adds its address in many places, also in the code that is replaced here.
 *
 * Context: kernel->lock is held. The other kernel may be running.
 */
void popcorn_close_reset(struct popcorn_kernel *kernel)
{
	/* In the order of execution; the address of the byte is filled in. */
	/* clang-format off */
	u8 code[] = {
		0xb8, __KERNEL_DS, 0, 0, 0,	/* mov $__KERNEL_DS, %eax */
		0x8e, 0xd8,			/* mov %eax, %ds: it is 0 in 64-bit mode */
		0xc6, 0x05, 0, 0, 0, 0,		/* movb …, the byte */
		POPCORN_RESET_VALUE,
		0xfa,				/* cli */
		0xf4,				/* hlt */
		0xeb, 0xfd,			/* jmp to the hlt */
	};
	/* clang-format on */
	u32 base = kernel->low_start, limit = base + kernel->low_length;
	struct blob blob;

	if (kernel->parked_reset)
		return;
	if (blob_find(kernel->low, base, limit, 0, &blob) != 1 || blob.start < base + PAGE_SIZE ||
	    blob.restart > blob.text_end - sizeof(code)) {
		kernel->restart_asm = 0;
		return;
	}
	if (kernel->restart_asm != blob.restart) {
		kernel->restart_asm = blob.restart;
		return;
	}
	memcpy(code + 9, &base, sizeof(base));
	/* From the end: the first bytes, by which it is entered, come when the rest is there. */
	memcpy(kernel->low + (blob.restart - base) + 8, code + 8, sizeof(code) - 8);
	wmb();
	memcpy(kernel->low + (blob.restart - base), code, 8);
	kernel->parked_reset = true;
}

bool popcorn_reset_tried(const struct popcorn_kernel *kernel)
{
	return READ_ONCE(*reset_byte(kernel)) || READ_ONCE(kernel->head->reset);
}

/* The pool */

u8 *popcorn_tramp(u32 *ret_phys)
{
	*ret_phys = tramp_page;
	return phys_to_virt(tramp_page);
}

u32 popcorn_low_size(void)
{
	return PIECE_SIZE;
}

u32 popcorn_low_free(void)
{
	guard(mutex)(&low_lock);
	return nr_pieces - bitmap_weight(pieces_used, PIECES_MAX);
}

/* Zeroed, so that no earlier kernel's blob is found in it. */
int popcorn_low_get(u64 *ret_start, u32 *ret_length, u8 **ret_low)
{
	u32 i;

	guard(mutex)(&low_lock);
	i = find_first_zero_bit(pieces_used, PIECES_MAX);
	if (i >= nr_pieces || popcorn_fault())
		return -ENOSPC;
	__set_bit(i, pieces_used);
	*ret_start = pieces[i];
	*ret_length = PIECE_SIZE;
	*ret_low = phys_to_virt(pieces[i]);
	memset(*ret_low, 0, PIECE_SIZE);
	return 0;
}

void popcorn_low_put(u64 start)
{
	u32 i;

	guard(mutex)(&low_lock);
	for (i = 0; i < nr_pieces; i++)
		if (pieces[i] == start) {
			memset(phys_to_virt(start), 0, PIECE_SIZE);
			__clear_bit(i, pieces_used);
		}
}

static int mark_ram(struct resource *res, void *data)
{
	unsigned long *usable = data;
	u32 page;

	for (page = PFN_UP(res->start); page < LOW_PAGES && PFN_PHYS(page + 1) <= res->end + 1;
	     page++)
		__set_bit(page, usable);
	return 0;
}

/*
 * Only read until it is known where this kernel's blob is: overwriting it would show when the next
 * CPU comes online, or never wakes up.
 */
int popcorn_low_init(void)
{
	DECLARE_BITMAP(usable, LOW_PAGES) = {};
	struct blob blob;
	u32 page, run = 0;
	int n;

	/* Others may lie there from before a warm reset or kexec: this kernel's maps its text. */
	n = blob_find(phys_to_virt(PAGE_SIZE), PAGE_SIZE, LOW_END,
		      text_mapping(phys_to_virt(read_cr3_pa())), &blob);
	if (n != 1) {
		pr_err("found %d real-mode blobs below 640 KiB instead of 1: can't tell which "
		       "memory there is free\n",
		       n);
		return -ENODEV;
	}

	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0,
			    LOW_END - 1, usable, mark_ram);
	/* The BIOS keeps its data in the first page, whatever it says. */
	__clear_bit(0, usable);
	for (page = 0; page < LOW_PAGES; page++)
		if ((page >= PFN_DOWN(blob.start) && page < PFN_UP(blob.end)) || !pfn_valid(page) ||
		    !PageReserved(pfn_to_page(page)))
			__clear_bit(page, usable);

	page = find_first_bit(usable, LOW_PAGES);
	if (page == LOW_PAGES) {
		pr_err("no free memory below 640 KiB\n");
		return -ENODEV;
	}
	tramp_page = page << PAGE_SHIFT;
	for (page = max(page + 1, PHYS_PFN(PIECES_START)); page < LOW_PAGES; page++) {
		run = test_bit(page, usable) ? run + 1 : 0;
		if (run == PIECE_PAGES) {
			pieces[nr_pieces++] = PFN_PHYS(page + 1) - PIECE_SIZE;
			run = 0;
		}
	}
	return 0;
}
