/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kdrivers/msg/receive.c: who is the one reader. RX_BUSY goes from the doorbell's handler to the thread, and is
 * taken by a caller that waits for its reply; who lets go of it arms the bells, and looks once more. Another kernel
 * sends EACH messages on two lanes, in any order; of the second one the handler takes none. A work of this
 * kernel, which had left some in the ring, marks them again (rx_kick()).
 *
 * Memory as in ring.pml: each CPU has a store buffer. All actors have a CPU of their own, which is the worst.
 *
 * That nothing is lost is that all is taken in the end; that there is one reader is asserted. Each -D below takes one
 * thing out of receive.c, or changes the order of two, and must be found out: tests/models/run.
 */
#ifndef EACH
#define EACH 2
#endif
#ifndef CALLS
#define CALLS 1
#endif
#ifndef WORKS
#define WORKS 0
#endif

#define SENDER 0
#define HANDLER 1
#define THREAD 2
#define CALLER 3
#define WORK 4
#define CPUS 5

/* Memory; each pair for two lanes. */
#define SLOT 0
#define PENDING 2
#define ARMED 4
#define BUSY 6
byte mem[7];

bool irq;	 /* to the receiver; merges */
bool wake;	 /* RX_WAKE */
bool asleep;	 /* the thread, as the scheduler sees it */
byte taken[2];	 /* the reader's */
byte readers;
#define LEFT WORKS /* in the ring, unmarked, until the work says so */

chan buffer[CPUS] = [4] of { byte, byte };

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
	byte what, value;

end:
	do
	:: atomic { buffer[SENDER]?what, value -> mem[what] = value }
	:: atomic { buffer[HANDLER]?what, value -> mem[what] = value }
	:: atomic { buffer[THREAD]?what, value -> mem[what] = value }
	:: atomic { buffer[CALLER]?what, value -> mem[what] = value }
	:: atomic { buffer[WORK]?what, value -> mem[what] = value }
	od
}

/* test_and_set_bit(RX_BUSY): a full barrier. */
inline take_busy(me, ret)
{
	atomic {
		len(buffer[me]) == 0 ->
#ifndef NO_TEST
		ret = !mem[BUSY];
#else
		ret = true;
#endif
		mem[BUSY] = 1;
		if
		:: ret -> readers++; assert(readers == 1)
		:: else
		fi
	}
}

inline disarm(me)
{
	store(me, ARMED, 0);
	store(me, ARMED + 1, 0)
}

inline become_reader(me, ret)
{
	take_busy(me, ret);
	if
	:: ret -> disarm(me)
	:: else
	fi
}

/* Of one lane: all that is there, or as much as the quota allows; then it is marked again. */
inline visit(me, lane, more)
{
	if
	:: mem[PENDING + lane] ->
		store(me, PENDING + lane, 0);
		barrier(me);
		if
		:: taken[lane] = mem[SLOT + lane]
		:: mem[SLOT + lane] - taken[lane] > 1 ->
			taken[lane]++;
#ifndef NO_MARK_MORE
			store(me, PENDING + lane, 1);
#endif
			more = true
		fi
	:: else
	fi
}

/* RX_WAKE, then wake_up_process(); both are full barriers. The reader is the thread from here on. */
inline hand_over(me)
{
	barrier(me);
#ifndef NO_HAND_OVER
	wake = true;
	asleep = false
#endif
}

/* again: the caller is the reader, as before. */
inline sleep_or_go_on(me, again)
{
	again = false;
#ifdef ARM_FIRST
	store(me, ARMED, 1);
	store(me, ARMED + 1, 1);
	barrier(me);
	if
	:: mem[PENDING] || mem[PENDING + 1] -> again = true; disarm(me)
	:: else -> readers--; store(me, BUSY, 0)
	fi
#else
	readers--;
	store(me, BUSY, 0);
	/* popcorn_bell_arm(), of each lane */
	store(me, ARMED, 1);
#ifndef NO_BARRIER_ARM
	barrier(me);
#endif
	if
#ifndef NO_LOOK_ARM
	:: mem[PENDING] -> again = true
#endif
	:: else ->
		store(me, ARMED + 1, 1);
#ifndef NO_BARRIER_ARM
		barrier(me);
#endif
		if
		:: mem[PENDING + 1] -> again = true
		:: else
		fi
	fi;
	if
	:: again ->
#ifdef DISARM_LATE
		take_busy(me, again);
		disarm(me)
#else
		disarm(me);
#ifndef NO_TAKE_AGAIN
		take_busy(me, again)
#else
		again = false
#endif
#endif
	:: else
	fi
#endif
}

proctype sender()
{
	byte sent[2], lane;

	sent[1] = LEFT;
	do
	:: sent[0] + sent[1] == EACH + LEFT -> break
	:: sent[0] + sent[1] < EACH + LEFT ->
		if
		:: lane = 0
		:: lane = 1
		fi;
		sent[lane]++;
		store(SENDER, SLOT + lane, sent[lane]);
		barrier(SENDER);
		if
		:: mem[PENDING + lane]
		:: else ->
			store(SENDER, PENDING + lane, 1);
			barrier(SENDER);
			if
			:: mem[ARMED + lane] -> irq = true
			:: else
			fi
		fi
	od
}

/* rx_interrupt() */
proctype handler()
{
	bool reader, more;

end:
	do
	:: atomic { irq -> irq = false };
	   become_reader(HANDLER, reader);
	   if
	   :: reader ->
		more = false;
		visit(HANDLER, 0, more);
		if
		:: more || mem[PENDING + 1] -> hand_over(HANDLER)
		/* worth_polling() */
		:: hand_over(HANDLER)
		:: !more && !mem[PENDING + 1] ->
			sleep_or_go_on(HANDLER, more);
			if
			:: more -> hand_over(HANDLER)
			:: else
			fi
		fi
	   :: else
	   fi
	od
}

proctype thread()
{
	bool more;

	do
	:: 	/* What set_current_state() is a barrier for. */
#ifndef NO_LOOK_WAKE
		asleep = true;
		if
		:: wake
		:: else ->
end:			!asleep
		fi;
#else
		if
		:: wake
		:: else ->
			asleep = true;
end:			!asleep
		fi;
#endif
		asleep = false;
		if
		:: atomic { wake -> wake = false };
			do
			:: 	more = false;
				visit(THREAD, 0, more);
				visit(THREAD, 1, more);
				if
				/* It sees its own mark, also before memory does. */
				:: more -> barrier(THREAD)
				:: else ->
					sleep_or_go_on(THREAD, more);
					if
					:: more
					:: else -> break
					fi
				fi
			od
		:: else
		fi
	od
}

/* rx_busy_wait() */
proctype caller()
{
	bool reader, more;
	byte n;

	do
	:: n == CALLS -> break
	:: n < CALLS ->
		n++;
		become_reader(CALLER, reader);
		if
		:: reader ->
			more = false;
			if
			:: visit(CALLER, 0, more); visit(CALLER, 1, more)
			:: true
			fi;
			sleep_or_go_on(CALLER, more);
			if
			:: more -> hand_over(CALLER)
			:: else
			fi
		:: else
		fi
	od
}

/* rx_work(): the queue is shorter again. */
proctype work()
{
	bool reader;

	store(WORK, PENDING + 1, 1);
	become_reader(WORK, reader);
	if
	:: reader -> hand_over(WORK)
	:: else
	fi
}

init {
	atomic {
		/* Left there by a reader that found the queue full. */
		mem[SLOT + 1] = LEFT;
		mem[ARMED] = 1;
		mem[ARMED + 1] = 1;
		run handler();
		run thread();
#if CALLS
		run caller();
#endif
#if WORKS
		run work();
#endif
		run sender()
	};
	taken[0] + taken[1] == EACH + LEFT
}
