/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The memory of a kernel with a printk ring in it, as Linux 6.1 lays it out, made by hand. Its image
 * is mapped at IMAGE_BASE; the same memory is also mapped by page tables at DIRECT, as a kernel
 * does that has moved its log to a larger buffer.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "klog.h"

#define KLOG_PHYS 0x40000000ull
#define KLOG_IMAGE 0xffffffff80000000ull
#define KLOG_DIRECT 0xff11000000000000ull /* needs the fifth level */
#define KLOG_DIRECT_4 0xffff888000000000ull

/* Where things lie in the memory; a fuzzer wants it smaller. */
#ifdef KLOG_SMALL
#define KLOG_SIZE 0x8000u
#define KLOG_VMCORE 0x0000u
#define KLOG_PRB_PTR 0x0f00u
#define KLOG_PRB 0x0f10u
#define KLOG_DESCS 0x1000u
#define KLOG_INFOS 0x1200u
#define KLOG_TEXT 0x1800u
#define KLOG_PGTABLES 0x2000u
#else
#define KLOG_SIZE 0x100000u
#define KLOG_VMCORE 0x1000u
#define KLOG_PRB_PTR 0x2000u
#define KLOG_PRB 0x2100u
#define KLOG_PGTABLES 0x3000u /* up to six pages */
#define KLOG_DESCS 0x10000u
#define KLOG_INFOS 0x20000u
#define KLOG_TEXT 0x40000u
#endif

#define KLOG_DESC_SIZE 24u
#define KLOG_INFO_SIZE 88u

struct klog_sample {
	uint8_t *memory; /* KLOG_SIZE bytes */
	unsigned count_bits, text_bits;
	uint64_t id, tail, lpos;
	uint64_t seq;
};

static inline void klog_put(uint8_t *p, uint64_t value, size_t bytes)
{
	memcpy(p, &value, bytes);
}

/* Addresses in the ring's structures begin at @va. */
static inline void klog_sample_init(struct klog_sample *s, uint8_t *memory, unsigned count_bits,
				    unsigned text_bits, uint64_t va)
{
	uint8_t *prb = memory + KLOG_PRB;

	memset(memory, 0, KLOG_SIZE);
	*s = (struct klog_sample){ .memory = memory,
				   .count_bits = count_bits,
				   .text_bits = text_bits };
	/* The kernel computes both with 32 bits of count. */
	s->id = (1ull << 32) - (1ull << count_bits) - 1;
	s->tail = s->id + 1;
	s->lpos = -(1ull << text_bits);

	snprintf((char *)memory + KLOG_VMCORE, 4096,
		 "OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(prb)=%llx\n"
		 "OFFSET(printk_ringbuffer.desc_ring)=0\n"
		 "OFFSET(printk_ringbuffer.text_data_ring)=48\nSIZE(prb_desc_ring)=48\n"
		 "OFFSET(prb_desc_ring.count_bits)=0\nOFFSET(prb_desc_ring.descs)=8\n"
		 "OFFSET(prb_desc_ring.infos)=16\nOFFSET(prb_desc_ring.head_id)=24\n"
		 "OFFSET(prb_desc_ring.tail_id)=32\nSIZE(prb_desc)=24\n"
		 "OFFSET(prb_desc.state_var)=0\nOFFSET(prb_desc.text_blk_lpos)=8\n"
		 "OFFSET(prb_data_blk_lpos.begin)=0\nOFFSET(prb_data_blk_lpos.next)=8\n"
		 "SIZE(printk_info)=88\nOFFSET(printk_info.ts_nsec)=8\n"
		 "OFFSET(printk_info.text_len)=16\nOFFSET(prb_data_ring.size_bits)=0\n"
		 "OFFSET(prb_data_ring.data)=8\nNUMBER(phys_base)=%lld\n"
		 "SYMBOL(init_top_pgt)=%llx\nNUMBER(pgtable_l5_enabled)=1\nKERNELOFFSET=0\n",
		 KLOG_IMAGE + KLOG_PRB_PTR, (long long)KLOG_PHYS, KLOG_IMAGE + KLOG_PGTABLES);
	klog_put(memory + KLOG_PRB_PTR, va + KLOG_PRB, 8);
	klog_put(prb, count_bits, 4);
	klog_put(prb + 8, va + KLOG_DESCS, 8);
	klog_put(prb + 16, va + KLOG_INFOS, 8);
	klog_put(prb + 48, text_bits, 4);
	klog_put(prb + 56, va + KLOG_TEXT, 8);
}

static inline uint8_t *klog_desc(struct klog_sample *s, uint64_t id)
{
	return s->memory + KLOG_DESCS + (id & ((1ull << s->count_bits) - 1)) * KLOG_DESC_SIZE;
}

static inline uint8_t *klog_info(struct klog_sample *s, uint64_t id)
{
	return s->memory + KLOG_INFOS + (id & ((1ull << s->count_bits) - 1)) * KLOG_INFO_SIZE;
}

static inline void klog_set_state(struct klog_sample *s, uint64_t id, unsigned state)
{
	klog_put(klog_desc(s, id), id | (uint64_t)state << 62, 8);
}

/* What the kernel's writer does. Returns the record's number. */
static inline uint64_t klog_add(struct klog_sample *s, uint64_t ts, const char *text, size_t length)
{
	uint64_t ring = 1ull << s->text_bits, size = (8 + length + 1 + 7) & ~7ull;
	uint64_t begin = s->lpos, next = begin + size, data = begin & (ring - 1), id = ++s->id;
	uint8_t *block, *prb = s->memory + KLOG_PRB;

	if (length == 0) {
		begin = next = 1;
	} else {
		if ((begin & ~(ring - 1)) != ((next - 1) & ~(ring - 1))) {
			next = (next & ~(ring - 1)) + size;
			data = 0;
		}
		s->lpos = next;
	}
	/* Older records make room: one with our descriptor, and those whose text goes. */
	while (id - s->tail >= 1ull << s->count_bits)
		s->tail++;
	for (uint64_t old = s->tail; old != id && length; old++) {
		uint64_t old_begin;

		memcpy(&old_begin, klog_desc(s, old) + 8, 8);
		if (!(old_begin & 1) && (int64_t)(old_begin - (next - ring)) < 0) {
			klog_set_state(s, old, 3);
			s->tail = old + 1;
		}
	}
	if (length) {
		block = s->memory + KLOG_TEXT + data;
		klog_put(block, id, 8);
		memcpy(block + 8, text, length);
	}
	klog_set_state(s, id, 2);
	klog_put(klog_desc(s, id) + 8, begin, 8);
	klog_put(klog_desc(s, id) + 16, next, 8);
	klog_put(klog_info(s, id), s->seq++, 8);
	klog_put(klog_info(s, id) + 8, ts, 8);
	klog_put(klog_info(s, id) + 16, length, 2);
	klog_put(prb + 24, id, 8);
	klog_put(prb + 32, s->tail, 8);
	return id;
}

static inline uint64_t klog_add_string(struct klog_sample *s, uint64_t ts, const char *text)
{
	return klog_add(s, ts, text, strlen(text));
}

/*
 * Page tables that map KLOG_SIZE at @va, with pages of 1 << @leaf bytes (12, 21, 30), from @levels.
 * Memory begins on a multiple of 1 GiB, so large pages are fine, if larger than what is there.
 */
static inline void klog_map(struct klog_sample *s, uint64_t va, unsigned levels, unsigned leaf)
{
	uint64_t table = KLOG_PGTABLES, next = table + 4096;

	memset(s->memory + table, 0, 6 * 4096);
	for (unsigned shift = 12 + 9 * (levels - 1); shift > leaf;
	     shift -= 9, table = next, next += 4096)
		klog_put(s->memory + table + (va >> shift & 511) * 8, (KLOG_PHYS + next) | 0x63, 8);
	for (uint64_t at = 0; at < KLOG_SIZE; at += 1ull << leaf)
		klog_put(s->memory + table + ((va + at) >> leaf & 511) * 8,
			 (KLOG_PHYS + at) | (leaf == 12 ? 0x63 : 0xe3), 8);
}
