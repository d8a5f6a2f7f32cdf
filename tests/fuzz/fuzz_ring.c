// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A hostile peer on either side of a ring: between the steps of an honest reader and an honest writer it writes what the
 * input says into the shared memory. Neither may read or write out of bounds, hand out a message longer than a
 * message can be, or find in its own count more than was there.
 *
 * Input: steps of 4 bytes: what, where (2), value.
 */
#include <errno.h>
#include <string.h>

#include <popcorn/ring.h>

#include "fuzz.h"

#define SLOTS POPCORN_RING_SLOTS_MIN
#define BYTES POPCORN_RING_BYTES(SLOTS)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* On the heap, and no larger than it must be: the sanitizer sees a byte too much. */
	uint8_t *memory = aligned_alloc(POPCORN_SLOT_SIZE, BYTES);
	uint8_t *copy = malloc(POPCORN_MESSAGE_MAX);
	static const uint8_t payload[POPCORN_MESSAGE_MAX];
	struct popcorn_reader reader;
	struct popcorn_writer writer;
	uint64_t sent = 0, seen = 0;
	bool honest = true;

	CHECK(memory && copy);
	CHECK(popcorn_ring_format(memory, SLOTS, 1, &reader) == 0);
	CHECK(popcorn_writer_init(&writer, memory, BYTES, 1) == 0);
	for (; size >= 4; data += 4, size -= 4) {
		struct popcorn_message message = { 0 };
		uint32_t where = data[1] | (uint32_t)data[2] << 8;
		int r;

		switch (data[0] % 8) {
		case 0: /* one byte anywhere */
			memory[(where * 7 + data[3] / 128) % BYTES] = data[3];
			honest = false;
			break;
		case 1: /* a word of a slot: where tickets are */
			((struct popcorn_ring *)memory)->slot[where % SLOTS].seq =
				reader.next + data[3] - 64 + ((uint64_t)(where >> 15) << 63);
			honest = false;
			break;
		case 2: /* a header */
			((struct popcorn_message *)((struct popcorn_ring *)memory)
				 ->slot[reader.next & (SLOTS - 1)]
				 .bytes)
				->length = where * (data[3] % 3);
			honest = false;
			break;
		case 3: /* the tail */
			((struct popcorn_ring *)memory)->tail += data[3] - 128;
			honest = false;
			break;
		case 4:
		case 5:
			message.length = where % (POPCORN_MESSAGE_MAX + 2);
			r = popcorn_ring_send(&writer, &message, payload);
			CHECK(r == 0 || r == -EAGAIN || r == -EMSGSIZE ||
			      (r == -EBADMSG && !honest));
			CHECK(r != -EMSGSIZE || message.length > POPCORN_MESSAGE_MAX);
			if (r == -EAGAIN)
				popcorn_ring_want_credit(&writer, message.length);
			sent += r == 0;
			break;
		case 6:
			r = popcorn_ring_peek(&reader, &message);
			CHECK(r == 0 || r == -EAGAIN || (r == -EBADMSG && !honest));
			CHECK(!honest || (r == 0) == (seen < sent));
			if (r < 0)
				break;
			CHECK(message.length <= POPCORN_MESSAGE_MAX);
			popcorn_ring_copy(&reader, &message, copy);
			popcorn_ring_next(&reader, &message);
			seen++;
			break;
		case 7:
			popcorn_ring_publish(&reader);
			break;
		}
	}
	free(copy);
	free(memory);
	return 0;
}
