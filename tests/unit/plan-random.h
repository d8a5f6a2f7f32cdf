/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Machines and policies out of a stream of numbers: of a generator for tests, of a fuzzer's bytes.
 * They are odder than any that hwloc and the parser make, but keep what machine.h and policy.h
 * promise.
 */

#include <hwloc.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner.h"
#include "util.h"

struct stream {
	const uint8_t *data; /* NULL: a generator */
	size_t size, at;
	uint64_t state;
};

/* A number below @n. */
static inline uint32_t pick(struct stream *stream, uint32_t n)
{
	uint32_t value = 0;

	if (n < 2)
		return 0;
	if (!stream->data) {
		/* xorshift64* */
		stream->state ^= stream->state >> 12;
		stream->state ^= stream->state << 25;
		stream->state ^= stream->state >> 27;
		return (uint32_t)((stream->state * UINT64_C(2685821657736338717)) >> 33) % n;
	}
	for (unsigned i = 0; i < 4 && (i == 0 || n > 1U << 8 * i) && stream->at < stream->size; i++)
		value = value << 8 | stream->data[stream->at++];
	return value % n;
}

static inline bool chance(struct stream *stream, uint32_t one_of)
{
	return pick(stream, one_of) == one_of - 1;
}

static inline char *print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline char *print(const char *format, ...)
{
	char *text;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		abort();
	va_end(ap);
	return text;
}

static inline void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		abort();
	return p;
}

static inline void put_domain(struct machine *machine, enum machine_level level, uint32_t os,
			      uint32_t first, uint32_t n)
{
	size_t index = machine->n_domains[level]++;

	machine->domains[level][index] = (struct machine_domain){ os, first, n };
	for (uint32_t i = first; i < first + n; i++)
		machine->cpus[i].in[level] = (uint32_t)index;
}

static inline void finish_machine(struct machine *machine)
{
	machine->by_os = zeroed(machine->n_cpus, sizeof(*machine->by_os));
	for (uint32_t i = 0; i < machine->n_cpus; i++) {
		uint32_t j = i;

		for (; j > 0 && machine->cpus[machine->by_os[j - 1]].os > machine->cpus[i].os; j--)
			machine->by_os[j] = machine->by_os[j - 1];
		machine->by_os[j] = i;
	}
}

static inline struct machine *random_machine(struct stream *stream)
{
	static const uint64_t blocks[] = { 128 * MIB, 128 * MIB, 2048 * MIB, 2 * MIB, 64 * MIB };
	static const char *const devices[][2] = {
		{ "ethernet", "network" }, { "nvmexp", "storage" },   { "vga", "display" },
		{ "host", "other" },	   { "ethernet", "network" },
	};
	struct machine *machine = zeroed(1, sizeof(*machine));
	uint32_t n_cores = 1 + pick(stream, chance(stream, 4) ? 64 : 16), n_nodes;
	uint32_t threads = 1 + pick(stream, 3), hidden = chance(stream, 6) ? pick(stream, 3) : 0;
	uint32_t n = 0, room = n_cores * 4 + hidden, sparse = chance(stream, 4) ? 3 : 1;
	uint32_t order = pick(stream, 3), at;

	machine->name = print("random");
	machine->block_size = blocks[pick(stream, ARRAY_SIZE(blocks))];
	machine->max_kernels = chance(stream, 8) ? 1 + pick(stream, 8) : PLAN_KERNELS_MAX;
	machine->cpus = zeroed(room, sizeof(*machine->cpus));
	for (int level = 0; level < N_LEVELS; level++)
		machine->domains[level] = zeroed(room + 8, sizeof(**machine->domains));
	machine->n_kinds = pick(stream, 4);
	machine->kinds = zeroed(machine->n_kinds, sizeof(*machine->kinds));
	for (size_t i = 0; i < machine->n_kinds; i++) {
		machine->kinds[i].rank = (int)i;
		snprintf(machine->kinds[i].name, sizeof(machine->kinds[i].name), "%s",
			 machine->n_kinds == 1	     ? "kind0"
			 : i == 0		     ? "efficiency"
			 : i == machine->n_kinds - 1 ? "performance"
						     : "kind1");
	}
	for (uint32_t core = 0; core < n_cores; core++) {
		uint32_t here = chance(stream, 8) ? 1 + pick(stream, 4) : threads;
		uint32_t kind = machine->n_kinds && !chance(stream, 16)
					? pick(stream, (uint32_t)machine->n_kinds)
					: UNKNOWN;

		for (uint32_t i = 0; i < here; i++)
			machine->cpus[n + i] = (struct machine_cpu){
				.kind = kind,
				.apicid = n + i,
				.in = { UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN },
				.state = chance(stream, 24)   ? CPU_OFFLINE
					 : chance(stream, 24) ? CPU_NOT_ALLOWED
							      : CPU_USABLE,
			};
		put_domain(machine, LEVEL_CORE, chance(stream, 4) ? UNKNOWN : core % 8, n, here);
		n += here;
	}
	/* Runs of cores, each level with borders of its own, some CPUs in none. */
	for (int level = LEVEL_L3; level <= LEVEL_PACKAGE; level++) {
		uint32_t core = 0, size = 1 + pick(stream, n_cores), number = 0;

		if (level == LEVEL_L3 && chance(stream, 5))
			continue;
		while (core < n_cores) {
			uint32_t first = machine->domains[LEVEL_CORE][core].first_cpu, n_here = 0;
			uint32_t last = core + (chance(stream, 4) ? 1 + pick(stream, 4) : size);

			for (; core < last && core < n_cores; core++)
				n_here += machine->domains[LEVEL_CORE][core].n_cpus;
			if (chance(stream, 12) && (level != LEVEL_NODE || number))
				continue;
			put_domain(machine, (enum machine_level)level,
				   level == LEVEL_L3 ? UNKNOWN : number * sparse, first, n_here);
			number++;
			if (level == LEVEL_NODE && chance(stream, 10))
				put_domain(machine, LEVEL_NODE, number++ * sparse, 0, 0);
		}
	}
	n_nodes = (uint32_t)machine->n_domains[LEVEL_NODE];
	for (uint32_t i = 0; i < hidden; i++)
		machine->cpus[n++] = (struct machine_cpu){
			.kind = UNKNOWN,
			.apicid = UNKNOWN,
			.in = { UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN },
			.state = chance(stream, 3) ? CPU_USABLE : CPU_OFFLINE,
		};
	machine->n_cpus = n;
	put_domain(machine, LEVEL_MACHINE, UNKNOWN, 0, n);
	/* Linux's numbers: in order, first threads first, or from the end; not all used. */
	at = 0;
	for (uint32_t pass = 0; pass < (order == 1 ? 5U : 1U); pass++)
		for (uint32_t i = 0; i < n; i++) {
			uint32_t core = machine->cpus[i].in[LEVEL_CORE];
			uint32_t thread =
				core == UNKNOWN ? 4
						: i - machine->domains[LEVEL_CORE][core].first_cpu;

			if (order != 1 || thread == pass)
				machine->cpus[order == 2 ? n - 1 - i : i].os = at++ * sparse;
		}
	machine->nodes = zeroed(n_nodes, sizeof(*machine->nodes));
	for (uint32_t i = 0; i < n_nodes; i++) {
		uint64_t memory = chance(stream, 6) ? 0 : (uint64_t)pick(stream, 400) * 128 * MIB;

		if (chance(stream, 3))
			memory *= 16;
		machine->nodes[i].memory =
			memory + (chance(stream, 3) ? pick(stream, 4096) * 4096 : 0);
		if (chance(stream, 3) && memory > 512 * MIB)
			memory -= 512 * MIB;
		machine->nodes[i].takeable = memory / machine->block_size * machine->block_size;
	}
	if (!chance(stream, 3)) {
		machine->distances = zeroed(n_nodes * n_nodes, sizeof(*machine->distances));
		for (uint32_t i = 0; i < n_nodes; i++)
			for (uint32_t j = 0; j < n_nodes; j++)
				machine->distances[i * n_nodes + j] =
					i == j ? 10 : (uint16_t)(11 + pick(stream, 30));
	}
	machine->n_devices = pick(stream, 6);
	machine->devices = zeroed(machine->n_devices, sizeof(*machine->devices));
	for (uint32_t i = 0; i < machine->n_devices; i++) {
		struct machine_device *device = &machine->devices[i];
		uint32_t what = pick(stream, ARRAY_SIZE(devices));

		device->address = print("0000:%02x:00.0", i);
		device->class = print("%s", devices[what][0]);
		device->group = print("%s", devices[what][1]);
		device->driver = chance(stream, 2) ? print("driver%u", pick(stream, 2)) : NULL;
		device->names = print("%s", "");
		device->model = print("%s", "");
		device->first_cpu = pick(stream, n);
		device->n_cpus = pick(stream, n - device->first_cpu + 1);
		if (chance(stream, 3)) {
			device->first_cpu = 0;
			device->n_cpus = n;
		}
	}
	if (chance(stream, 10)) {
		machine->warnings = zeroed(1, sizeof(*machine->warnings));
		machine->warnings[machine->n_warnings++] = print("the firmware lies");
	}
	finish_machine(machine);
	return machine;
}

/* Numbers of CPUs: mostly those that there are. */
static inline hwloc_bitmap_t random_cpus(struct stream *stream, const struct machine *machine)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	uint32_t n = 1 + pick(stream, 3);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t cpu = pick(stream, (uint32_t)machine->n_cpus);
		uint32_t core = machine->cpus[cpu].in[LEVEL_CORE];

		if (core != UNKNOWN && !chance(stream, 4))
			for (uint32_t j = 0; j < machine->domains[LEVEL_CORE][core].n_cpus; j++)
				hwloc_bitmap_set(
					set,
					machine->cpus[machine->domains[LEVEL_CORE][core].first_cpu +
						      j]
						.os);
		else
			hwloc_bitmap_set(set, machine->cpus[cpu].os);
	}
	if (chance(stream, 40))
		hwloc_bitmap_set(set, pick(stream, 400));
	return set;
}

static inline hwloc_bitmap_t random_half(struct stream *stream, const struct machine *machine)
{
	hwloc_bitmap_t set = random_cpus(stream, machine);
	uint32_t first = pick(stream, (uint32_t)machine->n_domains[LEVEL_CORE]);

	for (uint32_t core = first; core < machine->n_domains[LEVEL_CORE] && core < first + 8;
	     core++)
		for (uint32_t i = 0; i < machine->domains[LEVEL_CORE][core].n_cpus; i++)
			hwloc_bitmap_set(
				set,
				machine->cpus[machine->domains[LEVEL_CORE][core].first_cpu + i].os);
	return set;
}

static inline hwloc_bitmap_t random_domains(struct stream *stream, const struct machine *machine,
					    enum machine_level level)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	uint32_t n = 1 + pick(stream, 3);

	for (uint32_t i = 0; i < n && machine->n_domains[level]; i++)
		hwloc_bitmap_set(
			set,
			machine->domains[level][pick(stream, (uint32_t)machine->n_domains[level])]
				.os);
	if (chance(stream, 24) || !machine->n_domains[level])
		hwloc_bitmap_set(set, 77);
	return set;
}

static inline void random_selectors(struct stream *stream, bool near, struct policy_selector **ret,
				    size_t *ret_n)
{
	static const char *const values[] = { "network", "storage", "ethernet",
					      "display", "nvmexp",  "accelerator" };
	size_t n = 1 + pick(stream, 2);

	*ret = zeroed(n, sizeof(**ret));
	*ret_n = n;
	for (size_t i = 0; i < n; i++) {
		struct policy_selector *selector = &(*ret)[i];

		selector->kind = (enum policy_select)pick(stream, near ? 4 : 3);
		selector->line = 1;
		switch (selector->kind) {
		case SELECT_ADDRESS:
			selector->value = print("0000:%02x:00.0", pick(stream, 7));
			break;
		case SELECT_CLASS:
			selector->value = print("%s", values[pick(stream, ARRAY_SIZE(values))]);
			break;
		case SELECT_DRIVER:
			selector->value = print("driver%u", pick(stream, 3));
			break;
		case SELECT_NEAR:
			break;
		}
	}
}

static inline void random_group(struct stream *stream, const struct machine *machine,
				struct policy *policy, size_t index)
{
	static const char *const names[] = {
		"g%zu-{n}",	 "g%zu-{n}", "g%zu-{n}",    "g%zu-{n}",	 "g%zu-{n}",
		"g%zu-{cpu}",	 "g%zu",     "g%zu-{node}", "g%zu-{l3}", "g%zu-{core}-{package}",
		"g%zu-{kind}{n}"
	};
	static const uint64_t sizes[] = { 64 * MIB,  512 * MIB,	 1024 * MIB,
					  130 * MIB, 6144 * MIB, 2 * MIB };
	static const uint64_t aligns[] = { 2 * MIB, 128 * MIB, 6 * MIB, 256 * MIB, 1024 * MIB };
	struct policy_group *group = &policy->groups[index];

	*group = (struct policy_group){
		.line = (unsigned)index + 10,
		.inside = LEVEL_MACHINE,
		.kernel.restart = -1,
		.smt = chance(stream, 5) ? SMT_APART : SMT_TOGETHER,
	};
	_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wformat-nonliteral\"")
		group->name = print(names[pick(stream, ARRAY_SIZE(names))], index);
	_Pragma("GCC diagnostic pop") if (chance(stream, 5))
	{
		group->n_cpus = 1 + pick(stream, 3);
		group->cpus = zeroed(group->n_cpus, sizeof(*group->cpus));
		for (size_t i = 0; i < group->n_cpus; i++)
			group->cpus[i] = random_cpus(stream, machine);
	}
	else
	{
		group->leftover = chance(stream, 4) ? LEFTOVER_ERROR
						    : (enum policy_leftover)(1 + pick(stream, 2));
		switch (pick(stream, 3)) {
		case 0:
			group->per = (enum policy_per)(1 + pick(stream, 6));
			if (group->per == PER_THREAD)
				group->smt = SMT_APART;
			if (group->per == PER_CORE)
				group->smt = SMT_TOGETHER;
			group->count = chance(stream, 3) ? 1 + pick(stream, 4) : 0;
			break;
		case 1:
			group->cores = 1 + pick(stream, 4);
			group->count = chance(stream, 3) ? 1 + pick(stream, 4) : 0;
			break;
		case 2:
			group->count = 1 + pick(stream, 5);
			if (group->leftover == LEFTOVER_KERNEL)
				group->leftover = LEFTOVER_SPREAD;
			break;
		}
		if (group->per == PER_NOTHING && chance(stream, 3))
			group->inside = LEVEL_L3 + pick(stream, 4);
		if (chance(stream, 10))
			group->within_cpus = random_half(stream, machine);
		if (chance(stream, 10))
			group->within_nodes = random_domains(stream, machine, LEVEL_NODE);
		if (chance(stream, 8))
			group->within_packages = random_domains(stream, machine, LEVEL_PACKAGE);
		if (chance(stream, 8))
			group->within_kind =
				print("%s", chance(stream, 2) ? "efficiency" : "performance");
	}
	group->memory = (enum policy_memory)pick(stream, 3);
	if (group->memory == MEMORY_FIXED)
		group->memory_bytes = sizes[pick(stream, ARRAY_SIZE(sizes))];
	group->memory_from =
		chance(stream, 2) ? (enum policy_memory_from)pick(stream, 3) : FROM_LOCAL;
	if (group->memory_from == FROM_INTERLEAVE && chance(stream, 2))
		group->memory_nodes = random_domains(stream, machine, LEVEL_NODE);
	if (chance(stream, 3))
		group->align = aligns[pick(stream, ARRAY_SIZE(aligns))];
	if (chance(stream, 10))
		random_selectors(stream, true, &group->devices, &group->n_devices);
	if (index && chance(stream, 4)) {
		group->n_after = 1 + pick(stream, 2);
		group->after = zeroed(group->n_after, sizeof(*group->after));
		/* Of those before it: no cycle. */
		for (size_t i = 0; i < group->n_after; i++)
			group->after[i] =
				print("%s", policy->groups[pick(stream, (uint32_t)index)].name);
	}
	if (chance(stream, 20)) {
		group->n_overrides = 1;
		group->overrides = zeroed(1, sizeof(*group->overrides));
		group->overrides[0].name = print("g%zu-%u", index, pick(stream, 3));
		group->overrides[0].kernel.cmdline = print("debug");
		group->overrides[0].kernel.restart = -1;
		group->overrides[0].line = group->line + 1;
	}
}

static inline struct policy *random_policy(struct stream *stream, const struct machine *machine)
{
	struct policy *policy = zeroed(1, sizeof(*policy));

	policy->path = print("/random.conf");
	policy->name = print("random");
	policy->primary.line = 3;
	if (chance(stream, 5))
		policy->primary.cpus = random_cpus(stream, machine);
	if (chance(stream, 3))
		policy->primary.keep = pick(stream, LEVEL_MACHINE);
	if (chance(stream, 5))
		policy->primary.cores = 1 + pick(stream, 4);
	if (chance(stream, 8))
		policy->primary.memory = (uint64_t)(1 + pick(stream, 40)) * 256 * MIB;
	if (chance(stream, 16))
		random_selectors(stream, false, &policy->primary.near, &policy->primary.n_near);
	policy->n_groups = 1 + (chance(stream, 2) ? pick(stream, 4) : 0);
	policy->groups = zeroed(policy->n_groups, sizeof(*policy->groups));
	for (size_t i = 0; i < policy->n_groups; i++)
		random_group(stream, machine, policy, i);
	return policy;
}

/* What is in use: at most two kernels. */
struct random_used {
	struct plan_used used[2];
	struct plan_memory memory[2];
	size_t n;
};

static inline void random_use(struct stream *stream, const struct machine *machine,
			      struct random_used *ret)
{
	static const char *const names[] = { "other", "g0-1" };

	*ret = (struct random_used){ .n = chance(stream, 4) ? 1 + pick(stream, 2) : 0 };
	for (size_t i = 0; i < ret->n; i++) {
		ret->memory[i].node = pick(stream, (uint32_t)machine->n_domains[LEVEL_NODE]);
		ret->memory[i].bytes = (uint64_t)pick(stream, 32) * 128 * MIB;
		ret->used[i] = (struct plan_used){ names[i], random_cpus(stream, machine),
						   &ret->memory[i], 1 };
	}
}

static inline void random_use_done(struct random_used *used)
{
	for (size_t i = 0; i < used->n; i++)
		hwloc_bitmap_free((hwloc_bitmap_t)used->used[i].cpus);
}
