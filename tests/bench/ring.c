// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The message layer's ring alone, between two threads on two CPUs: a round trip beside that of a bare cache line,
 * and a stream of 64-byte messages beside a socketpair. Everything in turns, so that other work on the machine hits all.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <popcorn/ring.h>

#define ROUNDS 15
#define TRIPS 20000
#define STREAM 1000000
#define SLOTS 1024
#define MESSAGE 64

static struct side {
	struct popcorn_writer out;
	struct popcorn_reader in;
} sides[2];
static _Alignas(128) uint32_t line;
static int sockets[2];
static pthread_barrier_t barrier;
static double trips[2][ROUNDS * TRIPS]; /* ns: bare line, ring */
static double rates[2][ROUNDS];		/* messages/s: socketpair, ring */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void put(struct side *side, const void *payload)
{
	const struct popcorn_message message = { .length = MESSAGE };

	while (popcorn_ring_send(&side->out, &message, payload) == -EAGAIN)
		__builtin_ia32_pause();
}

/* A round ends for the reader when it finds nothing: then it gives credits back. */
static void get(struct side *side, void *payload)
{
	struct popcorn_message message;

	while (popcorn_ring_peek(&side->in, &message) == -EAGAIN) {
		popcorn_ring_publish(&side->in);
		__builtin_ia32_pause();
	}
	popcorn_ring_copy(&side->in, &message, payload);
	popcorn_ring_next(&side->in, &message);
}

static void line_trips(unsigned me, double *ns)
{
	for (uint32_t i = 0; i < TRIPS; i++) {
		double begin = me == 0 && ns ? now() : 0;

		if (me == 0)
			__atomic_store_n(&line, 2 * i + 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&line, __ATOMIC_ACQUIRE) != 2 * i + 1 + (me == 0))
			__builtin_ia32_pause();
		if (me == 1)
			__atomic_store_n(&line, 2 * i + 2, __ATOMIC_RELEASE);
		if (me == 0 && ns)
			ns[i] = now() - begin;
	}
}

static void ring_trips(unsigned me, double *ns)
{
	char payload[MESSAGE] = { 0 };

	for (uint32_t i = 0; i < TRIPS; i++) {
		double begin = me == 0 ? now() : 0;

		if (me == 0)
			put(&sides[0], payload);
		get(&sides[me], payload);
		if (me == 1)
			put(&sides[1], payload);
		if (me == 0)
			ns[i] = now() - begin;
	}
}

static void *run(void *argument)
{
	unsigned me = (unsigned)(uintptr_t)argument;
	char payload[MESSAGE] = { 0 };
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(me, &cpu);
	pthread_setaffinity_np(pthread_self(), sizeof(cpu), &cpu);
	for (int round = 0; round < ROUNDS; round++) {
		double begin;

		if (me == 0)
			line = 0;
		pthread_barrier_wait(&barrier);
		line_trips(me, &trips[0][round * TRIPS]);
		pthread_barrier_wait(&barrier);
		ring_trips(me, &trips[1][round * TRIPS]);

		pthread_barrier_wait(&barrier);
		begin = now();
		for (int i = 0; i < STREAM / 4; i++)
			if (me == 0 ? write(sockets[0], payload, MESSAGE) != MESSAGE
				    : read(sockets[1], payload, MESSAGE) != MESSAGE)
				abort();
		if (me == 1)
			rates[0][round] = STREAM / 4 / (now() - begin) * 1e9;
		pthread_barrier_wait(&barrier);
		begin = now();
		for (int i = 0; i < STREAM; i++) {
			if (me == 0)
				put(&sides[0], payload);
			else
				get(&sides[1], payload);
		}
		if (me == 1)
			rates[1][round] = STREAM / (now() - begin) * 1e9;
		popcorn_ring_publish(&sides[me].in);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double percentile(double *values, size_t n, double p)
{
	qsort(values, n, sizeof(*values), compare);
	return values[(size_t)((double)(n - 1) * p / 100)];
}

int main(void)
{
	const size_t bytes = POPCORN_RING_BYTES(SLOTS), n = ROUNDS * TRIPS;
	double p50[2], p99[2], rate[2];
	pthread_t other;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		fprintf(stderr, "ring: needs two CPUs\n");
		return 77;
	}
	for (unsigned i = 0; i < 2; i++) {
		void *memory = aligned_alloc(POPCORN_SLOT_SIZE, bytes);

		if (!memory || popcorn_ring_format(memory, SLOTS, 1, &sides[!i].in) ||
		    popcorn_writer_init(&sides[i].out, memory, bytes, 1))
			return 1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) < 0)
		return 1;
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&other, NULL, run, (void *)1);
	run((void *)0);
	pthread_join(other, NULL);

	for (int i = 0; i < 2; i++) {
		p50[i] = percentile(trips[i], n, 50);
		p99[i] = percentile(trips[i], n, 99);
		rate[i] = percentile(rates[i], ROUNDS, 50);
	}
	printf("%-26s %10s %10s %8s\n", "round trip", "p50/ns", "p99/ns", "ratio");
	printf("%-26s %10.0f %10.0f %8.2f\n", "bare cache line", p50[0], p99[0], 1.0);
	printf("%-26s %10.0f %10.0f %8.2f   (aim: <= 3)\n", "ring, 64 bytes", p50[1], p99[1],
	       p50[1] / p50[0]);
	printf("%-26s %10s %10s %8s\n", "one way, 64 bytes", "million/s", "", "ratio");
	printf("%-26s %10.2f %10s %8.2f\n", "socketpair (seqpacket)", rate[0] / 1e6, "", 1.0);
	printf("%-26s %10.2f %10s %8.2f   (aim: >= 5 million/s, >= 3)\n", "ring", rate[1] / 1e6, "",
	       rate[1] / rate[0]);
	printf("JSON {\"line_p50_ns\": %.0f, \"line_p99_ns\": %.0f, \"ring_p50_ns\": %.0f, "
	       "\"ring_p99_ns\": %.0f, \"socketpair_per_s\": %.0f, \"ring_per_s\": %.0f}\n",
	       p50[0], p99[0], p50[1], p99[1], rate[0], rate[1]);
	return 0;
}
