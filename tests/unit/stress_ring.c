// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two sending kernels of two CPUs each, two priorities, one receiver that sleeps: every message has a
 * sequence number and a checksum, rings are as small as they may be, and everybody waits for everybody.
 * None lost, doubled, damaged, or out of order within a CPU and priority; a lost wake-up hangs, and is
 * ended by the test's time. Built with ThreadSanitizer as well.
 *
 * stress_ring [MESSAGES]: for each CPU and priority.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <popcorn/ring.h>

#define KERNELS 2
#define CPUS 2
#define PRIORITIES 2
#define SLOTS POPCORN_RING_SLOTS_MIN
#define BUDGET 16

static struct channel {
	struct popcorn_ring *ring;
	struct popcorn_writer writer;
	struct popcorn_reader reader;
	uint64_t expected[CPUS];
	/* Who waits for credit of this ring: the sending kernel's wait queue. */
	pthread_mutex_t lock;
	pthread_cond_t credit;
	uint64_t rung;
} channels[PRIORITIES][KERNELS];
static _Alignas(128) struct popcorn_bell bells[PRIORITIES];
static sem_t interrupt;
static uint64_t messages = 100000;
static uint64_t sleeps, waits;

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static uint64_t checksum(const uint8_t *data, uint32_t length, uint64_t seed)
{
	uint64_t sum = seed + length;

	for (uint32_t i = 0; i < length; i++)
		sum = (sum ^ data[i]) * 0x100000001b3ull;
	return sum;
}

static void wait_for_credit(struct channel *channel, uint32_t length)
{
	pthread_mutex_lock(&channel->lock);
	/* On the wait queue before the wish is known. */
	uint64_t rung = channel->rung;

	while (popcorn_ring_want_credit(&channel->writer, length) && channel->rung == rung) {
		__atomic_fetch_add(&waits, 1, __ATOMIC_RELAXED);
		pthread_cond_wait(&channel->credit, &channel->lock);
	}
	pthread_mutex_unlock(&channel->lock);
}

static void *cpu_main(void *argument)
{
	unsigned kernel = (unsigned)(uintptr_t)argument / CPUS, cpu = (uintptr_t)argument % CPUS;
	uint32_t state = 12345 + (uint32_t)(uintptr_t)argument;
	uint64_t sent[PRIORITIES] = { 0 };
	uint8_t payload[POPCORN_MESSAGE_MAX];

	while (sent[0] < messages || sent[1] < messages) {
		unsigned priority = sent[0] == messages	  ? 1
				    : sent[1] == messages ? 0
							  : next_random(&state) % PRIORITIES;
		struct channel *channel = &channels[priority][kernel];
		struct popcorn_message message = {
			.type = (uint16_t)cpu,
			.id = sent[priority],
		};
		int r;

		/* Mostly short ones. */
		message.length = next_random(&state) %
				 (next_random(&state) % 8 ? 128 : POPCORN_MESSAGE_MAX + 1);
		for (uint32_t i = 0; i < message.length; i++)
			payload[i] = (uint8_t)(state + i);
		message.cookie = checksum(payload, message.length, message.id);
		while ((r = popcorn_ring_send(&channel->writer, &message, payload)) == -EAGAIN)
			wait_for_credit(channel, message.length);
		assert(r == 0);
		sent[priority]++;
		if (popcorn_bell_mark(&bells[priority], kernel))
			sem_post(&interrupt);
	}
	return NULL;
}

static void ring_sender(struct channel *channel)
{
	pthread_mutex_lock(&channel->lock);
	channel->rung++;
	pthread_cond_broadcast(&channel->credit);
	pthread_mutex_unlock(&channel->lock);
}

/* At most BUDGET messages of one ring. Returns how many. */
static unsigned drain(unsigned priority, unsigned kernel)
{
	struct channel *channel = &channels[priority][kernel];
	static uint8_t copy[POPCORN_MESSAGE_MAX];
	struct popcorn_message message;
	unsigned n = 0;
	bool ring = false;
	int r = -EAGAIN;

	if (!popcorn_bell_take(&bells[priority], kernel))
		return 0;
	while (n < BUDGET && (r = popcorn_ring_peek(&channel->reader, &message)) == 0) {
		popcorn_ring_copy(&channel->reader, &message, copy);
		assert(message.type < CPUS);
		assert(message.id == channel->expected[message.type]);
		assert(message.cookie == checksum(copy, message.length, message.id));
		channel->expected[message.type]++;
		ring |= popcorn_ring_next(&channel->reader, &message);
		n++;
	}
	assert(r == 0 || r == -EAGAIN);
	/* Not empty: the mark was taken, so it is put back. */
	if (n == BUDGET)
		popcorn_bell_mark(&bells[priority], kernel);
	ring |= popcorn_ring_publish(&channel->reader);
	if (ring)
		ring_sender(channel);
	return n;
}

int main(int argc, char **argv)
{
	pthread_t threads[KERNELS * CPUS];
	uint64_t left;

	if (argc > 1)
		messages = strtoull(argv[1], NULL, 0);
	left = messages * KERNELS * CPUS * PRIORITIES;
	sem_init(&interrupt, 0, 0);
	for (unsigned p = 0; p < PRIORITIES; p++) {
		for (unsigned k = 0; k < KERNELS; k++) {
			struct channel *channel = &channels[p][k];
			size_t bytes = POPCORN_RING_BYTES(SLOTS);

			channel->ring = aligned_alloc(POPCORN_SLOT_SIZE, bytes);
			pthread_mutex_init(&channel->lock, NULL);
			pthread_cond_init(&channel->credit, NULL);
			if (popcorn_ring_format(channel->ring, SLOTS, 1, &channel->reader) ||
			    popcorn_writer_init(&channel->writer, channel->ring, bytes, 1))
				return 1;
		}
	}
	for (uintptr_t i = 0; i < KERNELS * CPUS; i++)
		pthread_create(&threads[i], NULL, cpu_main, (void *)i);
	while (left > 0) {
		unsigned n = 0;

		for (unsigned p = 0; p < PRIORITIES && n == 0; p++)
			for (unsigned k = 0; k < KERNELS; k++)
				n += drain(p, k);
		left -= n;
		if (n > 0 || left == 0)
			continue;
		/* Both must be armed, or a sender of the one would not ring. */
		if (popcorn_bell_arm(&bells[0], KERNELS) && popcorn_bell_arm(&bells[1], KERNELS)) {
			sleeps++;
			sem_wait(&interrupt);
		}
		popcorn_bell_disarm(&bells[0]);
		popcorn_bell_disarm(&bells[1]);
	}
	for (size_t i = 0; i < KERNELS * CPUS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned p = 0; p < PRIORITIES; p++)
		for (unsigned k = 0; k < KERNELS; k++) {
			struct popcorn_message message;

			assert(popcorn_ring_peek(&channels[p][k].reader, &message) == -EAGAIN);
			for (unsigned c = 0; c < CPUS; c++)
				assert(channels[p][k].expected[c] == messages);
			free(channels[p][k].ring);
		}
	printf("%llu messages, the reader slept %llu times, senders waited %llu times\n",
	       (unsigned long long)(messages * KERNELS * CPUS * PRIORITIES),
	       (unsigned long long)sleeps, (unsigned long long)waits);
	return 0;
}
