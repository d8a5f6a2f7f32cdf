// SPDX-License-Identifier: GPL-2.0-or-later
/* The ring between kernels, one step at a time. Threads: stress_ring.c; order: tests/models. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <popcorn/ring.h>

#include "run.h"

#define SLOTS POPCORN_RING_SLOTS_MIN
#define GENERATION 7

static struct popcorn_ring *ring;
static struct popcorn_reader reader;
static struct popcorn_writer writer;
static uint8_t payload[POPCORN_MESSAGE_MAX + 1], copy[POPCORN_MESSAGE_MAX + 1];

static void setup(void)
{
	ring = aligned_alloc(POPCORN_SLOT_SIZE, POPCORN_RING_BYTES(SLOTS));
	memset(ring, 0xa5, POPCORN_RING_BYTES(SLOTS));
	ck_assert_int_eq(popcorn_ring_format(ring, SLOTS, GENERATION, &reader), 0);
	ck_assert_int_eq(popcorn_writer_init(&writer, ring, POPCORN_RING_BYTES(SLOTS), GENERATION),
			 0);
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 131 + i / 251);
}

static void teardown(void)
{
	free(ring);
}

static int send(uint32_t length, uint64_t id)
{
	const struct popcorn_message message = { .length = length, .type = 3, .id = id };

	return popcorn_ring_send(&writer, &message, payload);
}

static void expect(uint32_t length, uint64_t id)
{
	struct popcorn_message message;

	ck_assert_int_eq(popcorn_ring_peek(&reader, &message), 0);
	ck_assert_uint_eq(message.length, length);
	ck_assert_uint_eq(message.type, 3);
	ck_assert_uint_eq(message.id, id);
	memset(copy, 0xee, sizeof(copy));
	popcorn_ring_copy(&reader, &message, copy);
	ck_assert_mem_eq(copy, payload, length);
	ck_assert_uint_eq(copy[length], 0xee);
	popcorn_ring_next(&reader, &message);
}

static uint32_t credits(void)
{
	uint32_t n = 0;

	while (send(0, 1) == 0)
		n++;
	return n;
}

START_TEST(every_length)
{
	for (uint32_t length = 0; length <= POPCORN_MESSAGE_MAX; length++) {
		ck_assert_int_eq(send(length, length), 0);
		expect(length, length);
		popcorn_ring_publish(&reader);
	}
	ck_assert_int_eq(send(POPCORN_MESSAGE_MAX + 1, 0), -EMSGSIZE);
	ck_assert_uint_eq(popcorn_message_slots(96), 1);
	ck_assert_uint_eq(popcorn_message_slots(97), 2);
	ck_assert_uint_eq(popcorn_message_slots(POPCORN_MESSAGE_MAX), POPCORN_MESSAGE_SLOTS_MAX);
}
END_TEST

START_TEST(in_order)
{
	struct popcorn_message message;
	uint64_t sent = 0, seen = 0;

	ck_assert_int_eq(popcorn_ring_peek(&reader, &message), -EAGAIN);
	for (int round = 0; round < 1000; round++) {
		while (send((uint32_t)(sent * 37 % 500), sent) == 0)
			sent++;
		for (int i = 0; i < 1 + round % 7 && seen < sent; i++, seen++)
			expect((uint32_t)(seen * 37 % 500), seen);
		popcorn_ring_publish(&reader);
	}
	for (; seen < sent; seen++)
		expect((uint32_t)(seen * 37 % 500), seen);
	ck_assert_int_eq(popcorn_ring_peek(&reader, &message), -EAGAIN);
	ck_assert_uint_gt(sent, 1000);
}
END_TEST

START_TEST(credit)
{
	struct popcorn_message message;

	ck_assert_uint_eq(credits(), SLOTS);
	ck_assert_int_eq(send(0, 0), -EAGAIN);
	ck_assert(popcorn_ring_want_credit(&writer, 0));
	ck_assert_uint_eq(ring->want_credit, 1);
	/* One at a time is not told: only what is published can be used again. */
	ck_assert_int_eq(popcorn_ring_peek(&reader, &message), 0);
	ck_assert(!popcorn_ring_next(&reader, &message));
	ck_assert_int_eq(send(0, 0), -EAGAIN);
	/* At the end of a round it is, and the sender is rung once. */
	ck_assert(popcorn_ring_publish(&reader));
	ck_assert(!popcorn_ring_publish(&reader));
	ck_assert_uint_eq(ring->want_credit, 0);
	ck_assert(!popcorn_ring_want_credit(&writer, 0));
	/* A long message needs more. */
	ck_assert(popcorn_ring_want_credit(&writer, POPCORN_MESSAGE_MAX));
	ck_assert_int_eq(send(POPCORN_MESSAGE_MAX, 0), -EAGAIN);
	ck_assert_uint_eq(credits(), 1);
	/* A busy reader gives back in the middle of a round, too. */
	for (int i = 1; i < SLOTS / 2; i++) {
		ck_assert_int_eq(popcorn_ring_peek(&reader, &message), 0);
		popcorn_ring_next(&reader, &message);
	}
	ck_assert_uint_ge(credits(), SLOTS / 4);
}
END_TEST

START_TEST(other_lives)
{
	struct popcorn_writer other;
	size_t bytes = POPCORN_RING_BYTES(SLOTS);

	ck_assert_int_eq(popcorn_writer_init(&other, ring, bytes, GENERATION + 1), -ESTALE);
	ck_assert_int_eq(popcorn_writer_init(&other, ring, bytes - 1, GENERATION), -EBADMSG);
	ck_assert_int_eq(popcorn_writer_init(&other, ring, 64, GENERATION), -EBADMSG);
	ck_assert_int_eq(popcorn_writer_init(&other, (char *)ring + 8, bytes - 8, GENERATION),
			 -EBADMSG);
	ring->version++;
	ck_assert_int_eq(popcorn_writer_init(&other, ring, bytes, GENERATION), -EPROTONOSUPPORT);
	ring->version--;
	for (unsigned slots = 0; slots < 4; slots++) {
		static const uint32_t bad[] = { 0, SLOTS / 2, SLOTS + 1, 0x80000000 };

		ring->slots = bad[slots];
		ck_assert_int_eq(popcorn_writer_init(&other, ring, bytes, GENERATION), -EBADMSG);
		ck_assert_int_eq(popcorn_ring_format(ring, bad[slots], 1, &reader), -EINVAL);
	}
	ring->magic = 0;
	ck_assert_int_eq(popcorn_writer_init(&other, ring, bytes, GENERATION), -EBADMSG);
}
END_TEST

/* What a hostile sender writes into the reader's memory. */
START_TEST(garbage_in_slots)
{
	struct popcorn_message message;
	struct popcorn_slot *slot = &ring->slot[0];

	switch (_i) {
	case 0:
		slot->seq = 2; /* a later ticket */
		break;
	case 1:
		slot->seq = ~0ull;
		break;
	case 2:
		slot->seq = 1 | POPCORN_SEQ_MORE; /* begins in the middle */
		break;
	case 3:
		ck_assert_int_eq(send(0, 0), 0);
		((struct popcorn_message *)slot->bytes)->length = POPCORN_MESSAGE_MAX + 1;
		break;
	case 4:
		ck_assert_int_eq(send(0, 0), 0);
		((struct popcorn_message *)slot->bytes)->length = UINT32_MAX;
		break;
	case 5: /* longer than what was sent: the next slots are not of this message */
		ck_assert_int_eq(send(0, 0), 0);
		((struct popcorn_message *)slot->bytes)->length = 500;
		break;
	case 6:
		ck_assert_int_eq(send(500, 0), 0);
		ring->slot[2].seq = 3;
		break;
	case 7: /* a lap too early */
		ck_assert_uint_eq(credits(), SLOTS);
		for (int i = 0; i < SLOTS; i++)
			expect(0, 1);
		slot->seq = 2 * SLOTS + 1;
		break;
	}
	ck_assert_int_eq(popcorn_ring_peek(&reader, &message), -EBADMSG);
	/* For good, even if it is put right. */
	slot->seq = 0;
	ck_assert_int_eq(popcorn_ring_peek(&reader, &message), -EBADMSG);
	ck_assert_int_eq(popcorn_ring_format(ring, SLOTS, GENERATION + 1, &reader), 0);
	ck_assert_int_eq(popcorn_ring_peek(&reader, &message), -EAGAIN);
}
END_TEST

/* What a hostile receiver tells the writer. */
START_TEST(garbage_in_tail)
{
	static const uint64_t tails[] = { SLOTS + 1, UINT64_MAX, 1ull << 63, 3 };

	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(send(0, 1), 0);
	for (int i = 0; i < 5; i++)
		expect(0, 1);
	popcorn_ring_publish(&reader);
	while (send(0, 1) == 0)
		;
	/* 5 was believed; 3 goes back. */
	ring->tail = tails[_i];
	if (tails[_i] == SLOTS + 1)
		ring->tail = SLOTS + 5 + 1;
	ck_assert_int_eq(send(0, 1), -EBADMSG);
	ring->tail = 5;
	ck_assert_int_eq(send(0, 1), -EBADMSG);
	/* Nobody may sleep for a receiver that will never ring. */
	ck_assert(!popcorn_ring_want_credit(&writer, 0));
}
END_TEST

START_TEST(bell)
{
	static struct popcorn_bell b;

	ck_assert(!popcorn_bell_take(&b, 3));
	ck_assert(!popcorn_bell_mark(&b, 3)); /* awake: no interrupt */
	ck_assert(!popcorn_bell_arm(&b, 8));  /* something is there */
	ck_assert_uint_eq(b.armed, 0);
	ck_assert(popcorn_bell_arm(&b, 3)); /* id 3 is not in use */
	popcorn_bell_disarm(&b);
	ck_assert(popcorn_bell_take(&b, 3));
	ck_assert(!popcorn_bell_take(&b, 3));
	ck_assert(popcorn_bell_arm(&b, 8));
	ck_assert(popcorn_bell_mark(&b, 511));
	ck_assert(popcorn_bell_mark(&b, 3));
	/* Once for all that it has until it is heard. */
	ck_assert(!popcorn_bell_mark(&b, 3));
	popcorn_bell_disarm(&b);
	ck_assert(!popcorn_bell_mark(&b, 3));
	ck_assert(popcorn_bell_take(&b, 511));
	ck_assert(popcorn_bell_take(&b, 3));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring");
	TCase *tcase = tcase_create("ring");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, every_length);
	tcase_add_test(tcase, in_order);
	tcase_add_test(tcase, credit);
	tcase_add_test(tcase, other_lives);
	tcase_add_loop_test(tcase, garbage_in_slots, 0, 8);
	tcase_add_loop_test(tcase, garbage_in_tail, 0, 4);
	tcase_add_test(tcase, bell);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
