/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What programs share that measure round trips. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* CLOCK_MONOTONIC. */
static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline int compare_times(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* "min p50 p99" of @n times, which are sorted. */
static inline void print_times(uint64_t *times, size_t n)
{
	qsort(times, n, sizeof(*times), compare_times);
	printf("%ju %ju %ju\n", (uintmax_t)times[0], (uintmax_t)times[n / 2],
	       (uintmax_t)times[n - 1 - n / 100]);
}
