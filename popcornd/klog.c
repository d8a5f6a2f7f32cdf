// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How the log is found:
 *
 *  1. The kernel keeps a page of text for crash tools, VMCOREINFO, which says where the printk ring
 *     is, how its structures are laid out, and how addresses translate. Pages are searched for its
 *     first word.
 *  2. A kernel that died before it wrote that page (a quarter of a second into its boot) still has
 *     its log in a static array. Its first record is known: "Linux version …", under the number of
 *     the first descriptor. Records are then told apart by their numbers.
 *
 * The ring (Linux 5.10 and later, kernel/printk/printk_ringbuffer.c): an array of descriptors, each
 * with state, number and the two positions of its text in the text ring; a parallel array with time
 * and length. A block in the text ring begins with the number of its descriptor.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klog.h"

#define PAGE 4096u
#define VMCORE_MAGIC "OSRELEASE="
#define TOKEN "popcorn.generation="

/* Where x86-64 maps the kernel's image; it ends at the last address. */
#define IMAGE_BASE 0xffffffff80000000ull
#define PTE_PRESENT (1ull << 0)
#define PTE_LARGE (1ull << 7)
#define PTE_ADDRESS 0x000ffffffffff000ull

/* The two top bits of a descriptor's state word are its state, the rest its number. */
#define STATE_SHIFT 62
#define STATE_COMMITTED 1u
#define STATE_FINALIZED 2u
#define ID_MASK ((1ull << STATE_SHIFT) - 1)
/* A position with the lowest bit set: the record has no text. */
#define NO_TEXT 1u

/*
 * Bounds for what a hostile kernel may make us do. The largest log_buf_len that makes sense,
 * 64 MiB, has 2^21 descriptors (32 bytes of text for each).
 */
#define COUNT_BITS_MAX 21
#define TEXT_BITS_MAX 26
#define STRUCT_MAX 4096 /* any offset or size of a structure */
#define CANDIDATES_MAX 32
#define WORK_MAX (1u << 22) /* descriptors looked at, over all candidates */
#define FAILURES_MAX 1024   /* records that can't be read before we give up on a ring */

/* The static ring, for which nobody tells us the layout. */
#define STATIC_COUNT_BITS_MIN 5
#define STATIC_COUNT_BITS_MAX 20
#define STATIC_RECORD_MAX 4096 /* text of one record: 1 or 2 KiB */
#define STATIC_TEXT_MAX (2u << 20)
#define STATIC_INFO_SIZE 88
#define STATIC_INFO_TS 8
#define STATIC_INFO_LEN 16
#define STATIC_INFO_SEEN 4 /* so many entries in sequence are no coincidence */
/* The arrays are parts of one kernel image: so far apart at most. */
#define STATIC_NEAR (64u << 20)

struct memory {
	struct klog_range *ranges; /* sorted by address */
	size_t n_ranges;
	uint64_t size; /* of all of them */
	unsigned work; /* how much of WORK_MAX is left */
	/* Translation of the candidate that is looked at. */
	uint64_t phys_base, top, encryption;
	bool five_levels;
	/* The last page that was looked up. */
	uint64_t cached_va, cached_pa;
	bool cached;
};

/* Who reads the lines: the caller, or we when we want to know whose log it is. */
struct sink {
	klog_line_fn line;
	void *userdata;
	char *buf;
	size_t size;
};

/* How sure it is that a log is the one that was asked for. */
enum whose { WHOSE_OTHER, WHOSE_UNKNOWN, WHOSE_OURS };

struct verdict {
	uint32_t generation;
	enum whose whose;
};

static int compare_ranges(const void *a, const void *b)
{
	const struct klog_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static const struct klog_range *find_range(const struct memory *memory, uint64_t pa)
{
	size_t low = 0, high = memory->n_ranges;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct klog_range *range = &memory->ranges[mid];

		if (pa < range->start)
			high = mid;
		else if (pa - range->start >= range->length)
			low = mid + 1;
		else
			return range;
	}
	return NULL;
}

/*
 * Every access to the memory is such a copy: the kernel may change it while we look. Returns how
 * many bytes there were, up to @size.
 */
static size_t read_some(const struct memory *memory, uint64_t pa, void *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		const struct klog_range *range = find_range(memory, pa + done);
		uint64_t offset, there;

		if (!range)
			break;
		offset = pa + done - range->start;
		there = range->length - offset;
		if (there > size - done)
			there = size - done;
		memcpy((uint8_t *)buf + done, (const uint8_t *)range->data + offset, there);
		done += there;
	}
	return done;
}

static int read_phys(const struct memory *memory, uint64_t pa, void *buf, size_t size)
{
	return read_some(memory, pa, buf, size) == size ? 0 : -EFAULT;
}

static int translate(struct memory *memory, uint64_t va, uint64_t *ret)
{
	uint64_t page = va & ~(uint64_t)(PAGE - 1), entry, table = memory->top;

	if (va >= IMAGE_BASE) {
		*ret = va - IMAGE_BASE + memory->phys_base;
		return 0;
	}
	if (memory->cached && memory->cached_va == page) {
		*ret = memory->cached_pa + (va - page);
		return 0;
	}
	for (unsigned shift = memory->five_levels ? 48 : 39;; shift -= 9) {
		uint64_t index = (va >> shift) & 511;

		if (read_phys(memory, table + index * 8, &entry, sizeof(entry)) < 0 ||
		    !(entry & PTE_PRESENT))
			return -EFAULT;
		table = entry & PTE_ADDRESS & ~memory->encryption;
		if (shift == 12)
			break;
		if ((entry & PTE_LARGE) && shift <= 30) {
			uint64_t mask = (1ull << shift) - 1;

			table = (table & ~mask) | (page & mask);
			break;
		}
	}
	memory->cached = true;
	memory->cached_va = page;
	memory->cached_pa = table;
	*ret = table + (va - page);
	return 0;
}

static int read_virt(struct memory *memory, uint64_t va, void *buf, size_t size)
{
	while (size) {
		uint64_t pa, there = PAGE - (va & (PAGE - 1));
		int r;

		if (there > size)
			there = size;
		r = translate(memory, va, &pa);
		if (r == 0)
			r = read_phys(memory, pa, buf, there);
		if (r < 0)
			return r;
		buf = (uint8_t *)buf + there;
		va += there;
		size -= there;
	}
	return 0;
}

static int read_u64(struct memory *memory, uint64_t va, uint64_t *ret)
{
	return read_virt(memory, va, ret, sizeof(*ret));
}

/* Control characters and bytes beyond ASCII become \xNN, as /dev/kmsg has them. */
static int put_line(struct sink *sink, const char *prefix, const char *text, size_t length)
{
	size_t used = strlen(prefix), need = used + length * 4;

	if (need > sink->size) {
		char *buf = realloc(sink->buf, need);

		if (!buf)
			return -ENOMEM;
		sink->buf = buf;
		sink->size = need;
	}
	memcpy(sink->buf, prefix, used);
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if ((c >= ' ' && c < 0x7f) || c == '\t') {
			sink->buf[used++] = (char)c;
		} else {
			static const char digits[] = "0123456789abcdef";

			sink->buf[used++] = '\\';
			sink->buf[used++] = 'x';
			sink->buf[used++] = digits[c >> 4];
			sink->buf[used++] = digits[c & 15];
		}
	}
	return sink->line(sink->userdata, sink->buf, used);
}

static int put_record(struct sink *sink, const uint64_t *ts_nsec, const char *text, size_t length)
{
	char prefix[40] = "";

	if (ts_nsec)
		snprintf(prefix, sizeof(prefix), "[%5" PRIu64 ".%06" PRIu64 "] ",
			 *ts_nsec / 1000000000, *ts_nsec / 1000 % 1000000);
	for (;;) {
		const char *end = memchr(text, '\n', length);
		size_t part = end ? (size_t)(end - text) : length;
		int r = put_line(sink, prefix, text, part);

		if (r < 0)
			return r;
		if (!end || part + 1 == length)
			return 0;
		text += part + 1;
		length -= part + 1;
	}
}

/*
 * VMCOREINFO: one "KEY=value" to a line. Symbols are hexadecimal without prefix, numbers what
 * strtoull() makes of them.
 */
static int vmcore_get(const char *text, const char *key, int base, uint64_t *ret)
{
	size_t length = strlen(key);

	for (const char *p = text; p; p = strchr(p, '\n')) {
		char *end;

		if (*p == '\n')
			p++;
		if (strncmp(p, key, length) != 0 || p[length] != '=')
			continue;
		p += length + 1;
		/* strtoull() would skip white space, into the next line. */
		if (*p <= ' ')
			return -EINVAL;
		errno = 0;
		*ret = strtoull(p, &end, base);
		return errno || end == p || (*end && *end != '\n') ? -EINVAL : 0;
	}
	return -ENOENT;
}

struct layout {
	uint64_t rb_desc_ring, rb_text_ring;
	uint64_t count_bits, descs, infos, head_id, tail_id;
	uint64_t desc_size, desc_state, desc_lpos;
	uint64_t lpos_begin, lpos_next;
	uint64_t info_size, info_ts, info_len;
	uint64_t text_bits, text_data;
};

static int vmcore_layout(const char *text, struct layout *ret)
{
	struct layout l;
	const struct {
		const char *key;
		uint64_t *value;
	} table[] = {
		{ "OFFSET(printk_ringbuffer.desc_ring)", &l.rb_desc_ring },
		{ "OFFSET(printk_ringbuffer.text_data_ring)", &l.rb_text_ring },
		{ "OFFSET(prb_desc_ring.count_bits)", &l.count_bits },
		{ "OFFSET(prb_desc_ring.descs)", &l.descs },
		{ "OFFSET(prb_desc_ring.infos)", &l.infos },
		{ "OFFSET(prb_desc_ring.head_id)", &l.head_id },
		{ "OFFSET(prb_desc_ring.tail_id)", &l.tail_id },
		{ "SIZE(prb_desc)", &l.desc_size },
		{ "OFFSET(prb_desc.state_var)", &l.desc_state },
		{ "OFFSET(prb_desc.text_blk_lpos)", &l.desc_lpos },
		{ "OFFSET(prb_data_blk_lpos.begin)", &l.lpos_begin },
		{ "OFFSET(prb_data_blk_lpos.next)", &l.lpos_next },
		{ "SIZE(printk_info)", &l.info_size },
		{ "OFFSET(printk_info.ts_nsec)", &l.info_ts },
		{ "OFFSET(printk_info.text_len)", &l.info_len },
		{ "OFFSET(prb_data_ring.size_bits)", &l.text_bits },
		{ "OFFSET(prb_data_ring.data)", &l.text_data },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int r = vmcore_get(text, table[i].key, 10, table[i].value);

		if (r < 0)
			return r;
		if (*table[i].value > STRUCT_MAX)
			return -EINVAL;
	}
	*ret = l;
	return 0;
}

static int vmcore_translation(const char *text, struct memory *memory)
{
	uint64_t top, levels = 0;
	int r;

	memory->cached = false;
	memory->encryption = 0;
	r = vmcore_get(text, "NUMBER(phys_base)", 0, &memory->phys_base);
	if (r < 0)
		return r;
	r = vmcore_get(text, "SYMBOL(init_top_pgt)", 16, &top);
	if (r == -ENOENT)
		r = vmcore_get(text, "SYMBOL(swapper_pg_dir)", 16, &top);
	if (r < 0)
		return r;
	if (top < IMAGE_BASE)
		return -EINVAL;
	memory->top = top - IMAGE_BASE + memory->phys_base;
	if (vmcore_get(text, "NUMBER(pgtable_l5_enabled)", 0, &levels) == -EINVAL ||
	    vmcore_get(text, "NUMBER(sme_mask)", 0, &memory->encryption) == -EINVAL)
		return -EINVAL;
	memory->five_levels = levels == 1;
	return 0;
}

struct ring {
	unsigned count_bits, text_bits;
	uint64_t descs, infos, head, tail, data;
};

static int read_ring(struct memory *memory, const char *text, const struct layout *l,
		     struct ring *ret)
{
	uint64_t prb, desc_ring, text_ring;
	uint32_t count_bits, text_bits;
	struct ring ring;
	int r;

	r = vmcore_get(text, "SYMBOL(prb)", 16, &prb);
	if (r < 0)
		return r;
	/* The symbol is a pointer: a kernel with a larger buffer moves from the static ring. */
	r = read_u64(memory, prb, &prb);
	if (r < 0)
		return r;
	desc_ring = prb + l->rb_desc_ring;
	text_ring = prb + l->rb_text_ring;
	if (read_virt(memory, desc_ring + l->count_bits, &count_bits, sizeof(count_bits)) < 0 ||
	    read_virt(memory, text_ring + l->text_bits, &text_bits, sizeof(text_bits)) < 0 ||
	    read_u64(memory, desc_ring + l->descs, &ring.descs) < 0 ||
	    read_u64(memory, desc_ring + l->infos, &ring.infos) < 0 ||
	    read_u64(memory, desc_ring + l->head_id, &ring.head) < 0 ||
	    read_u64(memory, desc_ring + l->tail_id, &ring.tail) < 0 ||
	    read_u64(memory, text_ring + l->text_data, &ring.data) < 0)
		return -EFAULT;
	if (count_bits == 0 || count_bits > COUNT_BITS_MAX || text_bits < 3 ||
	    text_bits > TEXT_BITS_MAX)
		return -EINVAL;
	ring.count_bits = count_bits;
	ring.text_bits = text_bits;
	*ret = ring;
	return 0;
}

/* Where in the text ring the text of a block lies; false if the positions make no sense. */
static bool text_block(const struct ring *ring, uint64_t begin, uint64_t next, uint64_t *ret_offset,
		       uint64_t *ret_size)
{
	uint64_t size = 1ull << ring->text_bits, mask = size - 1, end;

	end = next & mask;
	/* A block does not go round the end: it starts again at 0, and its first place is empty. */
	if (end && (begin >> ring->text_bits) != (next >> ring->text_bits))
		begin = 0;
	if (!end)
		end = size;
	begin &= mask;
	/* The number of the descriptor comes first. */
	if (begin % sizeof(uint64_t) || end < begin + sizeof(uint64_t))
		return false;
	*ret_offset = begin + sizeof(uint64_t);
	*ret_size = end - *ret_offset;
	return true;
}

/* Returns the number of records, or what the sink returned. */
static int walk_ring(struct memory *memory, const struct ring *ring, const struct layout *l,
		     struct sink *sink)
{
	uint64_t count = 1ull << ring->count_bits, budget = 1ull << ring->text_bits;
	unsigned failures = 0;
	char text[UINT16_MAX];
	int records = 0, r;

	if (budget > memory->size)
		budget = memory->size;
	for (uint64_t id = ring->tail & ID_MASK, n = 0; n < count && memory->work;
	     n++, memory->work--, id = (id + 1) & ID_MASK) {
		uint64_t index = id & (count - 1), state, begin, next, ts, offset, size;
		uint64_t desc = ring->descs + index * l->desc_size;
		uint64_t info = ring->infos + index * l->info_size;
		uint16_t length;

		if (read_u64(memory, desc + l->desc_state, &state) < 0 ||
		    read_u64(memory, desc + l->desc_lpos + l->lpos_begin, &begin) < 0 ||
		    read_u64(memory, desc + l->desc_lpos + l->lpos_next, &next) < 0 ||
		    read_u64(memory, info + l->info_ts, &ts) < 0 ||
		    read_virt(memory, info + l->info_len, &length, sizeof(length)) < 0) {
			if (++failures > FAILURES_MAX)
				break;
			goto next_record;
		}
		/* Being written, or already taken for something else. */
		if ((state & ID_MASK) != id || ((state >> STATE_SHIFT) != STATE_COMMITTED &&
						(state >> STATE_SHIFT) != STATE_FINALIZED))
			goto next_record;
		if ((begin & NO_TEXT) && (next & NO_TEXT)) {
			length = 0;
		} else {
			if (!text_block(ring, begin, next, &offset, &size))
				goto next_record;
			if (length > size)
				length = (uint16_t)size;
			if (read_virt(memory, ring->data + offset, text, length) < 0) {
				if (++failures > FAILURES_MAX)
					break;
				goto next_record;
			}
		}
		/* All texts lie in the ring, without overlap: more than that is made up. */
		if (length > budget)
			break;
		budget -= length;
		r = put_record(sink, &ts, text, length);
		if (r < 0)
			return r;
		records++;
next_record:
		if (id == (ring->head & ID_MASK))
			break;
	}
	return records;
}

static int read_described(struct memory *memory, uint64_t pa, struct sink *sink)
{
	char text[PAGE + 1];
	struct layout layout;
	struct ring ring;
	int r;

	r = read_phys(memory, pa, text, PAGE);
	if (r < 0)
		return r;
	text[PAGE] = '\0';
	r = vmcore_layout(text, &layout);
	if (r < 0)
		return r;
	r = vmcore_translation(text, memory);
	if (r < 0)
		return r;
	r = read_ring(memory, text, &layout, &ring);
	if (r < 0)
		return r;
	return walk_ring(memory, &ring, &layout, sink);
}

/*
 * The static array of times and lengths: entry n has sequence number n, as long as the ring has not
 * come round. Returns its address, or 0.
 */
static uint64_t find_static_infos(const struct memory *memory, uint64_t near, size_t records)
{
	const struct klog_range *range = find_range(memory, near);
	size_t seen = records < STATIC_INFO_SEEN ? records : STATIC_INFO_SEEN;
	uint64_t start, end, seq;

	/* With a single record, any zero would do. */
	if (!range || seen < 2)
		return 0;
	start = near - range->start > STATIC_NEAR ? near - STATIC_NEAR : range->start;
	end = range->length - (near - range->start) > STATIC_NEAR ? near + STATIC_NEAR
								  : range->start + range->length;
	/* The first word of entry 1 is what is searched for: ones are rarer than zeros. */
	for (uint64_t pa = start; pa + 8 <= end; pa += 8) {
		size_t n;

		memcpy(&seq, (const uint8_t *)range->data + (pa - range->start), sizeof(seq));
		if (seq != 1 || pa - range->start < STATIC_INFO_SIZE)
			continue;
		for (n = 0; n < seen; n++)
			if (read_phys(memory, pa + n * STATIC_INFO_SIZE - STATIC_INFO_SIZE, &seq,
				      sizeof(seq)) < 0 ||
			    seq != n)
				break;
		if (n == seen)
			return pa - STATIC_INFO_SIZE;
	}
	return 0;
}

/*
 * Is it the number of a first descriptor? It counts up from -(number of descriptors), which the
 * kernel computes in 32 bits.
 */
static bool first_id(uint64_t id)
{
	uint64_t count = (1ull << 32) - id;

	return id <= UINT32_MAX && (count & (count - 1)) == 0 &&
	       count >= 1u << STATIC_COUNT_BITS_MIN && count <= 1u << STATIC_COUNT_BITS_MAX;
}

/* The block with number @id that lies next behind @pa, or 0. */
static uint64_t find_block(const struct memory *memory, uint64_t pa, uint64_t id)
{
	uint64_t word;

	for (uint64_t end = pa + STATIC_RECORD_MAX; pa < end; pa += sizeof(word)) {
		if (read_phys(memory, pa, &word, sizeof(word)) < 0)
			return 0;
		if (word == id)
			return pa;
	}
	return 0;
}

static size_t raw_length(const char *text, size_t size)
{
	size_t length = 0;

	while (length < size && text[length] && text[length] != '\n')
		length++;
	return length;
}

/*
 * Reads the static ring whose first block is at @pa. Times and lengths are taken from their array
 * if it can be found; else a record ends at its first NUL or newline.
 */
static int read_static(const struct memory *memory, uint64_t pa, struct sink *sink)
{
	char text[STATIC_RECORD_MAX];
	uint64_t id, infos, next;
	size_t blocks = 1;
	int records = 0, r;

	if (read_phys(memory, pa, &id, sizeof(id)) < 0)
		return -EFAULT;
	for (next = pa; blocks < STATIC_INFO_SEEN; blocks++) {
		next = find_block(memory, next + sizeof(id), id + blocks);
		if (!next)
			break;
	}
	infos = find_static_infos(memory, pa, blocks);

	for (uint64_t block = pa; block && block - pa < STATIC_TEXT_MAX; block = next, records++) {
		uint64_t size, ts = 0, info = infos + (uint64_t)records * STATIC_INFO_SIZE;
		uint16_t length = 0;
		bool known;

		next = find_block(memory, block + sizeof(id), id + (uint64_t)records + 1);
		size = read_some(memory, block + sizeof(id), text,
				 (next ? next - block : STATIC_RECORD_MAX) - sizeof(id));
		known = infos && read_phys(memory, info + STATIC_INFO_TS, &ts, sizeof(ts)) == 0 &&
			read_phys(memory, info + STATIC_INFO_LEN, &length, sizeof(length)) == 0 &&
			length <= size;
		/* No length yet: the last one, which was perhaps being written. */
		if (known && (length || next))
			size = length;
		else
			size = raw_length(text, size);
		r = put_record(sink, known ? &ts : NULL, text, size);
		if (r < 0)
			return r;
	}
	return records;
}

/* One place where a log may be. */
struct candidate {
	uint64_t pa;
	bool described; /* a VMCOREINFO page, else a static ring */
};

static int read_candidate(struct memory *memory, const struct candidate *candidate,
			  struct sink *sink)
{
	if (candidate->described)
		return read_described(memory, candidate->pa, sink);
	return read_static(memory, candidate->pa, sink);
}

/* A klog_line_fn: whose log is it? */
static int judge_line(void *userdata, const char *line, size_t length)
{
	static const char command_line[] =
		"ommand line: "; /* "Command line", "Kernel command line" */
	struct verdict *verdict = userdata;
	const char *token;
	uint64_t value = 0;

	if (!memmem(line, length, command_line, strlen(command_line)))
		return 0;
	token = memmem(line, length, TOKEN, strlen(TOKEN));
	if (!token)
		return 0;
	for (const char *p = token + strlen(TOKEN); p < line + length && *p >= '0' && *p <= '9';
	     p++)
		if (value <= UINT32_MAX)
			value = value * 10 + (uint64_t)(*p - '0');
	verdict->whose = value == verdict->generation ? WHOSE_OURS : WHOSE_OTHER;
	/* The first command line counts: what comes later may have been written by anybody. */
	return -ECANCELED;
}

/* Reads it without telling anybody. */
static enum whose judge(struct memory *memory, const struct candidate *candidate,
			uint32_t generation)
{
	struct verdict verdict = { .generation = generation, .whose = WHOSE_UNKNOWN };
	struct sink sink = { .line = judge_line, .userdata = &verdict };
	int r;

	r = read_candidate(memory, candidate, &sink);
	free(sink.buf);
	if (r <= 0 && r != -ECANCELED)
		return WHOSE_OTHER;
	return generation ? verdict.whose : WHOSE_OURS;
}

static bool next_candidate(const struct memory *memory, bool described, size_t *range,
			   uint64_t *offset, struct candidate *ret)
{
	for (; *range < memory->n_ranges; (*range)++, *offset = 0) {
		const struct klog_range *r = &memory->ranges[*range];
		const uint8_t *data = r->data;

		if (described) {
			for (; *offset + PAGE <= r->length; *offset += PAGE)
				if (memcmp(data + *offset, VMCORE_MAGIC, strlen(VMCORE_MAGIC)) == 0)
					goto found;
		} else {
			static const char first[] = "Linux version ";

			for (; *offset + 8 + sizeof(first) <= r->length; *offset += 8) {
				uint64_t id;

				if (memcmp(data + *offset + 8, first, strlen(first)) != 0)
					continue;
				memcpy(&id, data + *offset, sizeof(id));
				if (first_id(id))
					goto found;
			}
		}
		continue;
found:
		*ret = (struct candidate){ .pa = r->start + *offset, .described = described };
		*offset += described ? PAGE : 8;
		return true;
	}
	return false;
}

/*
 * The best one: surely ours, or else the first that may be. A log that a VMCOREINFO page describes
 * is whole and has the right order, so the static ring is for those who have no such page.
 */
static bool find_candidate(struct memory *memory, uint32_t generation, struct candidate *ret)
{
	for (int described = 1; described >= 0; described--) {
		struct candidate candidate, best;
		enum whose whose = WHOSE_OTHER;
		uint64_t offset = 0;
		size_t range = 0;

		for (unsigned n = 0; n < CANDIDATES_MAX && whose != WHOSE_OURS &&
				     next_candidate(memory, described, &range, &offset, &candidate);
		     n++) {
			enum whose this = judge(memory, &candidate, generation);

			if (this > whose) {
				whose = this;
				best = candidate;
			}
		}
		if (whose != WHOSE_OTHER) {
			*ret = best;
			return true;
		}
	}
	return false;
}

int klog_read(const struct klog_range *ranges, size_t n_ranges, uint32_t generation,
	      klog_line_fn line, void *userdata)
{
	struct sink sink = { .line = line, .userdata = userdata };
	struct memory memory = { .n_ranges = n_ranges };
	struct candidate candidate;
	int r = -ENODATA;

	if (n_ranges == 0)
		return -ENODATA;
	memory.ranges = malloc(n_ranges * sizeof(*ranges));
	if (!memory.ranges)
		return -ENOMEM;
	memcpy(memory.ranges, ranges, n_ranges * sizeof(*ranges));
	qsort(memory.ranges, n_ranges, sizeof(*ranges), compare_ranges);
	for (size_t i = 0; i < n_ranges; i++)
		memory.size += ranges[i].length;
	memory.work = WORK_MAX;

	if (find_candidate(&memory, generation, &candidate)) {
		memory.work = WORK_MAX;
		r = read_candidate(&memory, &candidate, &sink);
	}
	free(sink.buf);
	free(memory.ranges);
	/* It was there a moment ago: a kernel that plays tricks has no log. */
	return r == 0 || r == -EFAULT || r == -EINVAL || r == -ENOENT ? -ENODATA : r;
}
