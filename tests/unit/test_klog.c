// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "klog-sample.h"
#include "run.h"

static uint8_t memory[KLOG_SIZE];
static struct klog_range range = { KLOG_PHYS, KLOG_SIZE, memory };
static struct klog_sample sample;

static char out[1 << 20];
static size_t out_size, out_lines;

static int collect(void *userdata, const char *line, size_t length)
{
	ck_assert_ptr_null(userdata);
	ck_assert_uint_lt(out_size + length + 1, sizeof(out));
	memcpy(out + out_size, line, length);
	out[out_size + length] = '\n';
	out_size += length + 1;
	out[out_size] = '\0';
	out_lines++;
	return 0;
}

static int read_log(uint32_t generation)
{
	out_size = out_lines = 0;
	out[0] = '\0';
	return klog_read(&range, 1, generation, collect, NULL);
}

static void log_is(int records, const char *expected)
{
	ck_assert_int_eq(read_log(0), records);
	ck_assert_str_eq(out, expected);
}

static void setup(void)
{
	klog_sample_init(&sample, memory, 8, 14, KLOG_IMAGE);
}

START_TEST(test_lines)
{
	klog_add_string(&sample, 0, "Linux version 6.1.0");
	klog_add_string(&sample, 1234567890, "one");
	klog_add_string(&sample, 123456000000000ull, "later");
	log_is(3, "[    0.000000] Linux version 6.1.0\n"
		  "[    1.234567] one\n"
		  "[123456.000000] later\n");
}
END_TEST

START_TEST(test_multi_line)
{
	klog_add_string(&sample, 0, "a\nb\n\nc\n");
	klog_add_string(&sample, 0, "\n");
	klog_add_string(&sample, 0, "");
	log_is(3, "[    0.000000] a\n[    0.000000] b\n[    0.000000] \n[    0.000000] c\n"
		  "[    0.000000] \n"
		  "[    0.000000] \n");
}
END_TEST

START_TEST(test_unprintable)
{
	klog_add(&sample, 0, "a\x1b[31m\0\xff\r\tz\x7f", 12);
	log_is(1, "[    0.000000] a\\x1b[31m\\x00\\xff\\x0d\tz\\x7f\n");
}
END_TEST

/* Each record in turn is written over by later ones; what is left is in order and whole. */
START_TEST(test_wrap)
{
	char text[300], expected[400], *p;
	size_t lengths[] = { 1, 7, 8, 9, 50, 299, 120, 23 };
	uint64_t first;

	klog_sample_init(&sample, memory, 6, 11, KLOG_IMAGE);
	for (unsigned n = 0; n < 1000; n++) {
		size_t length = lengths[n % 8];

		memset(text, 'a' + n % 26, sizeof(text));
		klog_add(&sample, n * 1000ull, text, length);
		ck_assert_int_eq(read_log(0), (int)(sample.id - sample.tail + 1));

		first = sample.tail - (sample.id - n);
		p = out;
		for (uint64_t i = first; i <= n; i++) {
			int used = snprintf(expected, sizeof(expected), "[    0.%06llu] ",
					    (unsigned long long)i);

			memset(expected + used, 'a' + (int)(i % 26), lengths[i % 8]);
			strcpy(expected + used + lengths[i % 8], "\n");
			ck_assert_mem_eq(p, expected, strlen(expected));
			p += strlen(expected);
		}
		ck_assert_uint_eq(*p, '\0');
	}
}
END_TEST

START_TEST(test_states)
{
	uint64_t reserved, committed, reusable, stale;

	klog_add_string(&sample, 0, "first");
	reserved = klog_add_string(&sample, 0, "being written");
	committed = klog_add_string(&sample, 0, "committed");
	reusable = klog_add_string(&sample, 0, "gone");
	stale = klog_add_string(&sample, 0, "of another round");
	klog_add_string(&sample, 0, "last");
	klog_set_state(&sample, reserved, 0);
	klog_set_state(&sample, committed, 1);
	klog_set_state(&sample, reusable, 3);
	klog_put(klog_desc(&sample, stale), (stale - 256) | 2ull << 62, 8);
	log_is(3, "[    0.000000] first\n[    0.000000] committed\n[    0.000000] last\n");
}
END_TEST

/* A kernel with a larger buffer keeps it behind its page tables. */
START_TEST(test_page_tables)
{
	static const struct {
		uint64_t va;
		unsigned levels, leaf;
	} table[] = {
		{ KLOG_DIRECT, 5, 12 },	  { KLOG_DIRECT, 5, 21 },   { KLOG_DIRECT, 5, 30 },
		{ KLOG_DIRECT_4, 4, 12 }, { KLOG_DIRECT_4, 4, 21 }, { KLOG_DIRECT_4, 4, 30 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char *levels;

		klog_sample_init(&sample, memory, 8, 14, table[i].va);
		klog_map(&sample, table[i].va, table[i].levels, table[i].leaf);
		if (table[i].levels == 4) {
			levels = strstr((char *)memory + KLOG_VMCORE, "l5_enabled)=");
			levels[strlen("l5_enabled)=")] = '0';
		}
		klog_add_string(&sample, 0, "behind tables");
		log_is(1, "[    0.000000] behind tables\n");
		/* A table that refers to itself, one that leads away, one that is not there. */
		klog_put(memory + KLOG_PGTABLES, KLOG_PHYS | KLOG_PGTABLES | 3, 8);
		for (size_t at = 0; at < 4096; at += 8)
			klog_put(memory + KLOG_PGTABLES + at, (KLOG_PHYS + KLOG_PGTABLES) | 3, 8);
		read_log(0);
		for (size_t at = 0; at < 4096; at += 8)
			klog_put(memory + KLOG_PGTABLES + at, 0xffffffffff003, 8);
		ck_assert_int_eq(read_log(0), -ENODATA);
		memset(memory + KLOG_PGTABLES, 0, 4096);
		ck_assert_int_eq(read_log(0), -ENODATA);
	}
}
END_TEST

START_TEST(test_split_ranges)
{
	struct klog_range parts[4];
	const size_t part = KLOG_SIZE / 4;

	klog_add_string(&sample, 0, "in pieces");
	/* Out of order, as they were added to the kernel. */
	for (size_t i = 0; i < 4; i++)
		parts[i ^ 2] = (struct klog_range){ KLOG_PHYS + i * part, part, memory + i * part };
	out_size = 0;
	ck_assert_int_eq(klog_read(parts, 4, 0, collect, NULL), 1);
	ck_assert_str_eq(out, "[    0.000000] in pieces\n");
	/* The part with the texts is missing. */
	parts[1 ^ 2].start = 0x100000;
	ck_assert_int_eq(klog_read(parts, 4, 0, collect, NULL), -ENODATA);
	ck_assert_int_eq(klog_read(NULL, 0, 0, collect, NULL), -ENODATA);
}
END_TEST

/* The log of an earlier kernel in the same memory is not ours. */
START_TEST(test_generation)
{
	static uint8_t other[KLOG_SIZE];
	struct klog_sample old;
	struct klog_range both[2] = { { KLOG_PHYS, KLOG_SIZE, memory },
				      { KLOG_PHYS + KLOG_SIZE, KLOG_SIZE, other } };
	char *base;

	klog_sample_init(&old, other, 8, 14, KLOG_IMAGE);
	base = strstr((char *)other + KLOG_VMCORE, "phys_base)=");
	memcpy(base, "phys_base)=1074790400", 21);
	klog_add_string(&old, 0, "Command line: popcorn.generation=7 x");
	klog_add_string(&sample, 0, "Command line: popcorn.generation=77 x");

	out_size = 0;
	ck_assert_int_eq(klog_read(both, 2, 7, collect, NULL), 1);
	ck_assert_ptr_nonnull(strstr(out, "=7 x"));
	out_size = 0;
	ck_assert_int_eq(klog_read(both, 2, 77, collect, NULL), 1);
	ck_assert_ptr_nonnull(strstr(out, "=77 x"));
	ck_assert_int_eq(klog_read(both, 2, 8, collect, NULL), -ENODATA);
	ck_assert_int_eq(klog_read(both, 2, 0, collect, NULL), 1);

	/* One that does not say is taken before one that says otherwise. */
	setup();
	klog_add_string(&sample, 0, "no command line any more");
	out_size = 0;
	ck_assert_int_eq(klog_read(both, 2, 8, collect, NULL), 1);
	ck_assert_ptr_nonnull(strstr(out, "any more"));
	/* Only the kernel's own line counts, and the first one. */
	klog_add_string(&sample, 0, "popcorn.generation=8");
	klog_add_string(&sample, 0, "Kernel command line: popcorn.generation=99999999999999999999");
	klog_add_string(&sample, 0, "Kernel command line: popcorn.generation=8");
	ck_assert_int_eq(klog_read(both, 2, 8, collect, NULL), -ENODATA);
}
END_TEST

static void spoil(const char *key, const char *value)
{
	char *p;

	setup();
	klog_add_string(&sample, 0, "text");
	p = strstr((char *)memory + KLOG_VMCORE, key);
	ck_assert_ptr_nonnull(p);
	p += strlen(key);
	memcpy(p, value, strlen(value));
	ck_assert_int_eq(read_log(0), -ENODATA);
}

START_TEST(test_bad_vmcoreinfo)
{
	/* Too large, no number, nothing, missing. */
	spoil("SIZE(prb_desc)=", "9999999\n");
	spoil("SIZE(prb_desc)=", "-1");
	spoil("SIZE(printk_info)=", "0x");
	spoil("OFFSET(prb_desc_ring.descs)=", "\n");
	spoil("OFFSET(prb_desc_ring.descs)", "X");
	spoil("SYMBOL(prb)=", "g");
	spoil("SYMBOL(prb)=", "1");
	spoil("SYMBOL(prb)=", "ffffffffffffffff");
	spoil("SYMBOL(init_top_pgt)=", "0");
	spoil("NUMBER(phys_base)", "X");
	spoil("NUMBER(phys_base)=", "9999999999999999999999");
	spoil("NUMBER(pgtable_l5_enabled)=", "x");
}
END_TEST

/* A page without an end, and one that ends in the middle of a line. */
START_TEST(test_full_vmcoreinfo)
{
	klog_add_string(&sample, 0, "text");
	memset(memory + KLOG_VMCORE + strlen((char *)memory + KLOG_VMCORE), 'x',
	       4096 - strlen((char *)memory + KLOG_VMCORE));
	log_is(1, "[    0.000000] text\n");
}
END_TEST

START_TEST(test_bad_ring)
{
	static const struct {
		size_t at, bytes;
		uint64_t value;
	} table[] = {
		{ KLOG_PRB, 4, 0 },  /* descriptors: none */
		{ KLOG_PRB, 4, 22 }, /* too many */
		{ KLOG_PRB, 4, 0xffffffff },
		{ KLOG_PRB + 48, 4, 2 }, /* text: too small, too large */
		{ KLOG_PRB + 48, 4, 27 },
		{ KLOG_PRB + 48, 4, 0xffffffff },
		{ KLOG_PRB + 8, 8, 0 }, /* arrays elsewhere */
		{ KLOG_PRB + 8, 8, ~0ull },
		{ KLOG_PRB + 16, 8, KLOG_DIRECT },
		{ KLOG_PRB + 56, 8, KLOG_IMAGE + KLOG_SIZE },
		{ KLOG_PRB + 56, 8, 0x8000000000000000 },
		{ KLOG_PRB_PTR, 8, 0 },
		{ KLOG_PRB_PTR, 8, ~0ull },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		setup();
		klog_add_string(&sample, 0, "text");
		klog_put(memory + table[i].at, table[i].value, table[i].bytes);
		ck_assert_int_eq(read_log(0), -ENODATA);
	}
}
END_TEST

START_TEST(test_bad_records)
{
	uint64_t id;

	klog_add_string(&sample, 0, "before");
	id = klog_add_string(&sample, 0, "longer than it is");
	klog_add_string(&sample, 0, "after");
	/* The length is bounded by the block's. */
	klog_put(klog_info(&sample, id) + 16, 0xffff, 2);
	ck_assert_int_eq(read_log(0), 3);
	ck_assert_ptr_nonnull(strstr(out, "longer than it is"));
	ck_assert_uint_lt(out_size, 200);
	/* An unaligned beginning; an end before the beginning; a block of nothing. */
	klog_put(klog_desc(&sample, id) + 8, 28, 8);
	klog_put(klog_desc(&sample, id) + 16, 56, 8);
	log_is(2, "[    0.000000] before\n[    0.000000] after\n");
	klog_put(klog_desc(&sample, id) + 8, 64, 8);
	klog_put(klog_desc(&sample, id) + 16, 32, 8);
	ck_assert_int_eq(read_log(0), 2);
	klog_put(klog_desc(&sample, id) + 16, 64, 8);
	ck_assert_int_eq(read_log(0), 2);
}
END_TEST

/* All descriptors name the whole ring: no more text than the ring holds is believed. */
START_TEST(test_no_flood)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t id = klog_add_string(&sample, 0, "x");

		klog_put(klog_desc(&sample, id) + 8, 0, 8);
		klog_put(klog_desc(&sample, id) + 16, 1 << 14, 8);
		klog_put(klog_info(&sample, id) + 16, 0xffff, 2);
	}
	memset(memory + KLOG_TEXT, 'y', 1 << 14);
	ck_assert_int_eq(read_log(0), 1);
	ck_assert_uint_le(out_size, (1 << 14) + 32);
	/* An end that is never reached: every descriptor is looked at once. */
	klog_put(memory + KLOG_PRB + 24, 12345, 8);
	ck_assert_int_eq(read_log(0), 1);
}
END_TEST

static int refuse_line(void *userdata, const char *line, size_t length)
{
	unsigned *count = userdata;

	return ++*count == 2 ? -EPIPE : 0;
}

START_TEST(test_callback_ends_it)
{
	unsigned count = 0;

	klog_add_string(&sample, 0, "one");
	klog_add_string(&sample, 0, "two");
	klog_add_string(&sample, 0, "three");
	ck_assert_int_eq(klog_read(&range, 1, 0, refuse_line, &count), -EPIPE);
	ck_assert_uint_eq(count, 2);
}
END_TEST

START_TEST(test_nothing)
{
	memset(memory, 0, sizeof(memory));
	ck_assert_int_eq(read_log(0), -ENODATA);
	memset(memory, 0xff, sizeof(memory));
	ck_assert_int_eq(read_log(0), -ENODATA);
	ck_assert_uint_eq(out_lines, 0);
	/* A ring that nothing was written to. */
	setup();
	ck_assert_int_eq(read_log(0), -ENODATA);
}
END_TEST

/* Dead before VMCOREINFO was written: the static ring. */
static void setup_static(void)
{
	klog_sample_init(&sample, memory, 12, 17, KLOG_IMAGE);
	/* Leave the first entry where the search could take a run of zeros for it. */
	klog_add_string(&sample, 0, "Linux version 6.1.0 (x@y)");
	klog_add_string(&sample, 0, "Command line: popcorn.generation=77");
	klog_add_string(&sample, 1000000, "third");
	klog_add_string(&sample, 2000000, "fourth\nline");
	klog_add_string(&sample, 3000000, "Kernel panic - not syncing: too early");
	memset(memory + KLOG_VMCORE, 0, 4096);
}

START_TEST(test_static)
{
	setup_static();
	log_is(5, "[    0.000000] Linux version 6.1.0 (x@y)\n"
		  "[    0.000000] Command line: popcorn.generation=77\n"
		  "[    0.001000] third\n"
		  "[    0.002000] fourth\n"
		  "[    0.002000] line\n"
		  "[    0.003000] Kernel panic - not syncing: too early\n");
	ck_assert_int_eq(read_log(77), 5);
	ck_assert_int_eq(read_log(78), -ENODATA);
	/* The lengths are not to be found: text up to NUL or newline, no times. */
	klog_put(memory + KLOG_INFOS + 2 * KLOG_INFO_SIZE, 99, 8);
	log_is(5, "Linux version 6.1.0 (x@y)\nCommand line: popcorn.generation=77\nthird\nfourth\n"
		  "Kernel panic - not syncing: too early\n");
}
END_TEST

START_TEST(test_static_end)
{
	setup_static();
	/* The last text runs into the end of the memory. */
	range.length = KLOG_TEXT + 8 + 30;
	ck_assert_int_eq(read_log(0), 1);
	ck_assert_str_eq(out, "Linux version 6.1.0 (x@y)\n");
	range.length = KLOG_TEXT + 8 + 20;
	read_log(0);
	range.length = KLOG_SIZE;
	/* No number of a first descriptor: only the words, as they stand in the kernel's image. */
	klog_put(memory + KLOG_TEXT, 0xfffff001, 8);
	ck_assert_int_eq(read_log(0), -ENODATA);
	klog_put(memory + KLOG_TEXT, 0, 8);
	ck_assert_int_eq(read_log(0), -ENODATA);
}
END_TEST

/* Bits and words at random: it ends, in bounds (sanitizers), and with a bounded output. */
START_TEST(test_random_damage)
{
	static const size_t places[] = { KLOG_VMCORE, KLOG_PRB,	  KLOG_PRB_PTR, KLOG_PGTABLES,
					 KLOG_DESCS,  KLOG_INFOS, KLOG_TEXT };
	static const uint64_t values[] = { 0,	       1,
					   ~0ull,      0x7fffffffffffffff,
					   KLOG_IMAGE, KLOG_DIRECT,
					   KLOG_PHYS,  KLOG_IMAGE + KLOG_SIZE - 1 };

	srand(2);
	for (unsigned round = 0; round < 3000; round++) {
		if (round % 3 == 0) {
			setup_static();
		} else if (round % 3 == 1) {
			setup();
		} else {
			klog_sample_init(&sample, memory, 8, 12, KLOG_DIRECT);
			klog_map(&sample, KLOG_DIRECT, 5, 12 + 9 * (round % 2));
		}
		for (unsigned i = 0; i < 40 && round % 3; i++)
			klog_add_string(&sample, i * 1000000, "some text in the ring\nsecond line");
		for (unsigned i = 0; i < 1 + round % 10; i++) {
			uint8_t *p =
				memory + places[rand() % 7] + rand() % (rand() % 2 ? 64 : 2048);

			if (rand() % 2)
				*p ^= (uint8_t)(1 << rand() % 8);
			else
				memcpy(p, &values[rand() % 8], 8);
		}
		read_log(round % 2 ? 77 : 0);
		ck_assert_uint_le(out_size, 1 << 19);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("klog");
	TCase *tc = tcase_create("klog");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_lines);
	tcase_add_test(tc, test_multi_line);
	tcase_add_test(tc, test_unprintable);
	tcase_add_test(tc, test_wrap);
	tcase_add_test(tc, test_states);
	tcase_add_test(tc, test_page_tables);
	tcase_add_test(tc, test_split_ranges);
	tcase_add_test(tc, test_generation);
	tcase_add_test(tc, test_bad_vmcoreinfo);
	tcase_add_test(tc, test_full_vmcoreinfo);
	tcase_add_test(tc, test_bad_ring);
	tcase_add_test(tc, test_bad_records);
	tcase_add_test(tc, test_no_flood);
	tcase_add_test(tc, test_callback_ends_it);
	tcase_add_test(tc, test_nothing);
	tcase_add_test(tc, test_static);
	tcase_add_test(tc, test_static_end);
	tcase_add_test(tc, test_random_damage);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
