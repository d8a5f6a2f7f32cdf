// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring of popcorn/ring.h. Compiled into popcorn_msg.ko, and into tests in user space.
 *
 * Memory ordering. Words of the ring are shared with a kernel that may have been built and booted in any way, so the
 * virt_ variants are used: they are there, in full, whatever this kernel believes about its own CPUs.
 *
 *	writer						reader
 *	W1 payload					R1 load-acquire slot.seq
 *	W2 store-release slot.seq			R2 payload		(after R1: sees W1)
 *	W3 store pending[me]				R3 store pending[me] = 0
 *	W4 full barrier					R4 full barrier
 *	W5 load armed					R5 = R1 of the next slot
 *							R6 store armed, full barrier, load pending[]
 *
 * A reader that clears a mark (R3) which stood for W2 must see W2: W3 is before R3 in the order of that word, W2 before
 * W3 (TSO; a release store elsewhere), and R4 keeps R5 from being early. A reader that sleeps has stored `armed` before it
 * looked at the marks, a writer has stored its mark before it looks at `armed`: one of them sees the other.
 * tests/models/ring.pml checks both.
 */
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/string.h>
#include <asm/barrier.h>

#define load_acquire(p) virt_load_acquire(p)
#define store_release(p, v) virt_store_release(p, v)
#define load_once(p) READ_ONCE(*(p))
#define store_once(p, v) WRITE_ONCE(*(p), v)
#define full_barrier() virt_mb()
#define counter_set(c, v) atomic64_set(c, v)
#define counter_read(c) ((__u64)atomic64_read_acquire(c))
#define counter_try_advance(c, old, new) atomic64_try_cmpxchg(c, (s64 *)(old), new)
#else
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define load_once(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define store_once(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define full_barrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define counter_set(c, v) atomic_store_explicit(c, v, memory_order_relaxed)
#define counter_read(c) atomic_load_explicit(c, memory_order_acquire)
#define counter_try_advance(c, old, new) atomic_compare_exchange_weak(c, old, new)
#endif

#include <popcorn/ring.h>

#define is_aligned(p) (((unsigned long)(p) & (POPCORN_SLOT_SIZE - 1)) == 0)

static bool slots_are_valid(__u32 slots)
{
	return slots >= POPCORN_RING_SLOTS_MIN && slots <= POPCORN_RING_SLOTS_MAX &&
	       (slots & (slots - 1)) == 0;
}

int popcorn_ring_format(void *memory, __u32 slots, __u32 generation, struct popcorn_reader *reader)
{
	struct popcorn_ring *ring = memory;

	if (!slots_are_valid(slots) || !is_aligned(memory))
		return -EINVAL;
	memset(ring, 0, POPCORN_RING_BYTES(slots));
	ring->version = POPCORN_RING_VERSION;
	ring->slots = slots;
	ring->generation = generation;
	/* Last: a sender that looks too early finds no ring. */
	store_release(&ring->magic, POPCORN_RING_MAGIC);
	*reader = (struct popcorn_reader){ .ring = ring, .mask = slots - 1 };
	return 0;
}

int popcorn_writer_init(struct popcorn_writer *writer, void *memory, size_t bytes, __u32 generation)
{
	struct popcorn_ring *ring = memory;
	__u32 slots;

	if (bytes < sizeof(*ring) || !is_aligned(memory) ||
	    load_acquire(&ring->magic) != POPCORN_RING_MAGIC)
		return -EBADMSG;
	if (load_once(&ring->version) != POPCORN_RING_VERSION)
		return -EPROTONOSUPPORT;
	slots = load_once(&ring->slots);
	if (!slots_are_valid(slots) || POPCORN_RING_BYTES(slots) > bytes)
		return -EBADMSG;
	if (load_once(&ring->generation) != generation)
		return -ESTALE;
	writer->ring = ring;
	writer->mask = slots - 1;
	writer->dead = false;
	counter_set(&writer->head, 0);
	counter_set(&writer->tail, 0);
	return 0;
}

/*
 * The receiver's tail, believed only if it lies between what was believed before and what was sent.
 * Of an honest receiver it does: `old` was its tail when another CPU, or this one, looked; and it takes out only what was
 * complete, of which the head that is read afterwards counts every slot.
 */
static int refresh_tail(struct popcorn_writer *writer, __u64 *ret)
{
	__u64 old = counter_read(&writer->tail);
	/* Acquire: slots are written anew only after the reader has copied what was in them. */
	__u64 tail = load_acquire(&writer->ring->tail);

	if (tail < old || tail > counter_read(&writer->head)) {
		store_once(&writer->dead, true);
		return -EBADMSG;
	}
	/* Forwards only. A failed exchange has brought `old` up to date. */
	while (old < tail && !counter_try_advance(&writer->tail, &old, tail))
		;
	*ret = old < tail ? tail : old;
	return 0;
}

/* The counters never wrap: 2^64 slots. */
static bool has_credit(const struct popcorn_writer *writer, __u64 head, __u64 tail, __u32 slots)
{
	/* A head that was read before the tail may be behind it; then it is not the head any more. */
	return head < tail || head + slots - tail <= (__u64)writer->mask + 1;
}

static int take_ticket(struct popcorn_writer *writer, __u32 slots, __u64 *ret)
{
	__u64 head = counter_read(&writer->head), tail;
	int r;

	for (;;) {
		if (!has_credit(writer, head, counter_read(&writer->tail), slots)) {
			r = refresh_tail(writer, &tail);
			if (r < 0)
				return r;
			/* Of now: it may have moved with the tail. */
			head = counter_read(&writer->head);
			if (!has_credit(writer, head, tail, slots))
				return -EAGAIN;
		}
		if (counter_try_advance(&writer->head, &head, head + slots))
			break;
	}
	*ret = head;
	return 0;
}

/* Bytes of the payload that lie in slot @i of a message, and where they begin. */
static __u32 part_of(__u32 length, __u32 i, __u32 *ret_offset)
{
	const __u32 first = POPCORN_SLOT_BYTES - sizeof(struct popcorn_message);
	__u32 offset = i == 0 ? 0 : first + (i - 1) * POPCORN_SLOT_BYTES;
	__u32 room = i == 0 ? first : POPCORN_SLOT_BYTES;

	*ret_offset = offset;
	return length - offset < room ? length - offset : room;
}

int popcorn_ring_send(struct popcorn_writer *writer, const struct popcorn_message *message,
		      const void *payload)
{
	const __u32 slots = popcorn_message_slots(message->length);
	struct popcorn_slot *slot;
	__u32 offset, n;
	__u64 ticket;
	int r;

	if (message->length > POPCORN_MESSAGE_MAX)
		return -EMSGSIZE;
	if (load_once(&writer->dead))
		return -EBADMSG;
	r = take_ticket(writer, slots, &ticket);
	if (r < 0)
		return r;
	for (__u32 i = 1; i < slots; i++) {
		slot = &writer->ring->slot[(ticket + i) & writer->mask];
		n = part_of(message->length, i, &offset);
		memcpy(slot->bytes, (const char *)payload + offset, n);
		store_once(&slot->seq, (ticket + i + 1) | POPCORN_SEQ_MORE);
	}
	slot = &writer->ring->slot[ticket & writer->mask];
	memcpy(slot->bytes, message, sizeof(*message));
	n = part_of(message->length, 0, &offset);
	if (n)
		memcpy(slot->bytes + sizeof(*message), payload, n);
	/* The first one last: it says that all of the message is there. */
	store_release(&slot->seq, ticket + 1);
	return 0;
}

bool popcorn_ring_want_credit(struct popcorn_writer *writer, __u32 length)
{
	__u64 tail;

	if (load_once(&writer->dead))
		return false;
	store_once(&writer->ring->want_credit, 1);
	/* Between the wish and the last look: see popcorn_ring_publish(). */
	full_barrier();
	if (refresh_tail(writer, &tail) < 0)
		return false;
	return !has_credit(writer, counter_read(&writer->head), tail,
			   popcorn_message_slots(length));
}

__u32 popcorn_ring_credit(struct popcorn_writer *writer)
{
	__u64 tail, used;

	if (load_once(&writer->dead) || refresh_tail(writer, &tail) < 0)
		return 0;
	/* The head is read later than the tail: not behind it, but maybe a lap ahead. */
	used = counter_read(&writer->head) - tail;
	return used > writer->mask ? 0 : (__u32)(writer->mask + 1 - used);
}

static int is_dead(struct popcorn_reader *reader)
{
	reader->dead = true;
	return -EBADMSG;
}

int popcorn_ring_peek(struct popcorn_reader *reader, struct popcorn_message *message)
{
	const __u64 next = reader->next, size = (__u64)reader->mask + 1;
	struct popcorn_slot *slot = &reader->ring->slot[next & reader->mask];
	union {
		__u64 words[sizeof(struct popcorn_message) / sizeof(__u64)];
		struct popcorn_message message;
	} copy;
	__u32 slots;
	__u64 seq;

	if (reader->dead)
		return -EBADMSG;
	seq = load_acquire(&slot->seq);
	if (seq != next + 1) {
		/* What the lap before left there, and nothing else, means that nothing has come. */
		if (next < size ? seq == 0 : (seq & ~POPCORN_SEQ_MORE) == next - size + 1)
			return -EAGAIN;
		return is_dead(reader);
	}
	/* Each word once: what is checked must be what is used. */
	for (size_t i = 0; i < sizeof(copy.words) / sizeof(copy.words[0]); i++)
		copy.words[i] = load_once((__u64 *)slot->bytes + i);
	if (copy.message.length > POPCORN_MESSAGE_MAX)
		return is_dead(reader);
	slots = popcorn_message_slots(copy.message.length);
	for (__u32 i = 1; i < slots; i++) {
		slot = &reader->ring->slot[(next + i) & reader->mask];
		if (load_once(&slot->seq) != ((next + i + 1) | POPCORN_SEQ_MORE))
			return is_dead(reader);
	}
	*message = copy.message;
	return 0;
}

void popcorn_ring_copy(const struct popcorn_reader *reader, const struct popcorn_message *message,
		       void *to)
{
	const __u32 slots = popcorn_message_slots(message->length);

	for (__u32 i = 0; i < slots; i++) {
		const struct popcorn_slot *slot =
			&reader->ring->slot[(reader->next + i) & reader->mask];
		__u32 offset, n = part_of(message->length, i, &offset);

		if (n)
			memcpy((char *)to + offset,
			       slot->bytes + (i == 0 ? sizeof(struct popcorn_message) : 0), n);
	}
}

bool popcorn_ring_publish(struct popcorn_reader *reader)
{
	struct popcorn_ring *ring = reader->ring;

	if (reader->published == reader->next)
		return false;
	reader->published = reader->next;
	store_release(&ring->tail, reader->next);
	/* A sender has stored its wish before it looked at tail: it has seen this one, or we see the wish. */
	full_barrier();
	if (!load_once(&ring->want_credit))
		return false;
	/*
	 * Cleared before the bell is rung, and the bell wakes all who wait for credit: a wish that this
	 * overwrites is woken by it, looks again, and wishes again.
	 */
	store_once(&ring->want_credit, 0);
	return true;
}

bool popcorn_ring_next(struct popcorn_reader *reader, const struct popcorn_message *message)
{
	reader->next += popcorn_message_slots(message->length);
	/* Often enough that a sender need not stop, seldom enough that its line is not always away. */
	if (reader->next - reader->published > reader->mask / 4)
		return popcorn_ring_publish(reader);
	return false;
}

bool popcorn_bell_mark(struct popcorn_bell *bell, __u32 sender)
{
	/*
	 * A mark that is there has not been taken yet: whoever set it has rung, or rings now, and what we
	 * have to say was stored before we looked, so it is seen when the mark is taken. Without this each
	 * message would send an interrupt of its own until the first one is heard.
	 */
	full_barrier();
	if (load_once(&bell->pending[sender]))
		return false;
	store_once(&bell->pending[sender], 1);
	full_barrier();
	return load_once(&bell->armed) != 0;
}

bool popcorn_bell_take(struct popcorn_bell *bell, __u32 sender)
{
	if (!load_acquire(&bell->pending[sender]))
		return false;
	store_once(&bell->pending[sender], 0);
	/* Before the slots are looked at, or a message whose mark was just cleared could be missed. */
	full_barrier();
	return true;
}

bool popcorn_bell_arm(struct popcorn_bell *bell, __u32 senders)
{
	store_once(&bell->armed, 1);
	full_barrier();
	for (__u32 i = 0; i < senders; i++) {
		if (load_once(&bell->pending[i])) {
			store_once(&bell->armed, 0);
			return false;
		}
	}
	return true;
}

void popcorn_bell_disarm(struct popcorn_bell *bell)
{
	store_once(&bell->armed, 0);
}
