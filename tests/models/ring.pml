/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kdrivers/msg/ring.c: a ring of SIZE slots, WRITERS CPUs of the sending kernel that send EACH messages each,
 * one reader that sleeps when it finds nothing. On x86-TSO: each CPU has a store buffer, from which stores reach
 * memory in order and whenever they like; a full barrier waits until it is empty (Owens, Sarkar, Sewell: A better
 * x86 memory model, 2009). Loads see memory; no CPU here loads what may still be in its own buffer.
 *
 * That nobody sleeps for ever is that there is no end state but the end of all processes. Each -DNO_… takes one thing
 * out of ring.c, and must be found out: tests/models/run.
 */
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef EACH
#define EACH 2
#endif
#define SIZE 2
#define TOTAL (WRITERS * EACH)
#define READER WRITERS

/* Memory. Slots first. */
#define PENDING 2
#define ARMED 3
#define TAIL 4
#define WANT 5
byte mem[6];

/* What is not memory of two kernels: interrupts, and the sending kernel's own words. */
bool irq;		/* to the receiver; merges */
bool woken[WRITERS];	/* of a writer on the wait queue for credit */
byte head;		/* tickets; by cmpxchg */
byte done;

chan buffer[WRITERS + 1] = [4] of { byte, byte };

inline store(me, what, value)
{
	buffer[me]!what, value
}

inline barrier(me)
{
	len(buffer[me]) == 0
}

/* Memory takes the oldest store of any CPU at any time. */
active proctype memory()
{
	byte what, value, i;

end:
	do
	:: atomic { buffer[0]?what, value -> mem[what] = value }
#if WRITERS > 1
	:: atomic { buffer[1]?what, value -> mem[what] = value }
#endif
	:: atomic { buffer[READER]?what, value -> mem[what] = value }
	od
}

proctype writer(byte me)
{
	byte sent, ticket, tail;

	do
	:: sent == EACH -> break
	:: else ->
		/* popcorn_ring_send(), and popcorn_ring_want_credit() when there is none. */
		do
		:: atomic {
			head - mem[TAIL] < SIZE ->
			ticket = head;
			head++
		   };
		   break
		:: atomic { head - mem[TAIL] >= SIZE -> woken[me] = false };
		   store(me, WANT, 1);
#ifndef NO_BARRIER_WANT
		   barrier(me);
#endif
#ifndef NO_LOOK_WANT
		   tail = mem[TAIL];
		   if
		   :: head - tail >= SIZE -> woken[me]
		   :: else
		   fi
#else
		   woken[me]
#endif
		od;
		store(me, ticket % SIZE, ticket + 1);
		/* popcorn_bell_mark() */
#ifndef NO_BARRIER_SEEN
		barrier(me);
#endif
		if
		:: mem[PENDING]
		:: else ->
			store(me, PENDING, 1);
#ifndef NO_BARRIER_MARK
			barrier(me);
#endif
			if
			:: mem[ARMED] -> irq = true
			:: else
			fi
		fi;
		sent++
	od;
	done++
}

proctype reader()
{
	byte next, published, seq, i;

	do
	:: next == TOTAL && published == next -> break
	:: else ->
		if
		:: mem[PENDING] ->
			/* popcorn_bell_take() */
			store(READER, PENDING, 0);
#ifndef NO_BARRIER_TAKE
			barrier(READER);
#endif
			do
			:: seq = mem[next % SIZE];
			   if
			   :: seq == next + 1 -> next++
			   :: else ->
				/* Empty: of the lap before, or it is nonsense. */
				assert(next < SIZE && seq == 0 ||
				       next >= SIZE && seq == next - SIZE + 1);
				break
			   fi
			od;
			/* popcorn_ring_publish() */
			if
			:: published != next ->
				published = next;
				store(READER, TAIL, next);
#ifndef NO_BARRIER_PUBLISH
				barrier(READER);
#endif
				if
				:: mem[WANT] ->
					store(READER, WANT, 0);
#ifndef NO_BARRIER_RING
					barrier(READER); /* an interrupt is never ahead of stores */
#endif
					d_step {
						i = 0;
						do
						:: i < WRITERS -> woken[i] = true; i++
						:: else -> break
						od
					}
				:: else
				fi
			:: else
			fi
		:: else ->
			/* popcorn_bell_arm() */
			store(READER, ARMED, 1);
#ifndef NO_BARRIER_ARM
			barrier(READER);
#endif
#ifndef NO_LOOK_ARM
			if
			:: mem[PENDING]
			:: else -> irq
			fi;
#else
			irq;
#endif
			irq = false;
			/* popcorn_bell_disarm() */
			store(READER, ARMED, 0)
		fi
	od;
	done++
}

init {
	atomic {
		run writer(0);
#if WRITERS > 1
		run writer(1);
#endif
		run reader()
	};
	done == WRITERS + 1;
	/* Each once, in the order of the tickets: the reader counted to TOTAL and asserted the rest. */
	assert(head == TOTAL)
}
