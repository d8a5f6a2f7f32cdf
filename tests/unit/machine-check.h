/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What must hold for every struct machine, whatever it was made from. */

#include <string.h>

#include "machine.h"

/* NULL, or what does not hold. */
static inline const char *machine_check_domains(const struct machine *machine,
						enum machine_level level)
{
	size_t seen = 0;

	for (size_t i = 0; i < machine->n_domains[level]; i++) {
		const struct machine_domain *domain = &machine->domains[level][i];

		if (domain->n_cpus == 0 && level != LEVEL_NODE)
			return "an empty domain";
		if (domain->first_cpu > machine->n_cpus ||
		    domain->n_cpus > machine->n_cpus - domain->first_cpu)
			return "a domain outside of the machine";
		for (uint32_t j = 0; j < domain->n_cpus; j++)
			if (machine->cpus[domain->first_cpu + j].in[level] != i)
				return "a CPU of a domain that is in another one";
		seen += domain->n_cpus;
	}
	for (size_t i = 0; i < machine->n_cpus; i++)
		if (machine->cpus[i].in[level] != UNKNOWN)
			seen--;
	return seen ? "a domain that is not one run" : NULL;
}

static inline const char *machine_check(const struct machine *machine)
{
	size_t n_nodes = machine->n_domains[LEVEL_NODE];
	bool placed = true;
	uint64_t memory = 0;

	if (machine->n_cpus == 0 || n_nodes == 0)
		return "nothing in it";
	for (int level = 0; level < N_LEVELS; level++) {
		const char *what = machine_check_domains(machine, (enum machine_level)level);

		if (what)
			return what;
	}
	if (machine->n_domains[LEVEL_MACHINE] != 1 ||
	    machine->domains[LEVEL_MACHINE][0].n_cpus != machine->n_cpus)
		return "not all CPUs in the machine";
	for (size_t i = 0; i < machine->n_cpus; i++) {
		const struct machine_cpu *cpu = &machine->cpus[i];

		if (cpu->in[LEVEL_CORE] != UNKNOWN && !placed)
			return "a CPU with a place behind one without";
		placed = cpu->in[LEVEL_CORE] != UNKNOWN;
		if (cpu->kind != UNKNOWN && cpu->kind >= machine->n_kinds)
			return "an unknown kind";
		if (machine_find_cpu(machine, cpu->os) != i)
			return "a CPU that is not found";
		if (i &&
		    machine->cpus[machine->by_os[i - 1]].os >= machine->cpus[machine->by_os[i]].os)
			return "by_os is not sorted";
	}
	if (machine->block_size == 0 || (machine->block_size & (machine->block_size - 1)))
		return "an impossible block size";
	for (size_t i = 0; i < n_nodes; i++) {
		const struct machine_node *node = &machine->nodes[i];

		if (machine_find_node(machine, machine->domains[LEVEL_NODE][i].os) != i)
			return "a node that is not found";
		if (node->takeable > node->memory || node->takeable % machine->block_size)
			return "memory that can't be taken";
		memory += node->memory;
		for (size_t j = 0; j < n_nodes; j++) {
			unsigned d = machine_distance(machine, (uint32_t)i, (uint32_t)j);

			if (i == j ? d != 10 : d <= 10 || d > 254)
				return "an impossible distance";
		}
	}
	if (memory == 0)
		return "no memory";
	for (size_t i = 0; i < machine->n_devices; i++) {
		const struct machine_device *device = &machine->devices[i];

		if (!device->address || !device->class || !device->group || !device->names ||
		    !device->model)
			return "a device without its texts";
		if (i && strcmp(machine->devices[i - 1].address, device->address) >= 0)
			return "devices are not sorted";
		if (device->first_cpu + device->n_cpus > machine->n_cpus)
			return "a device near CPUs that are not there";
	}
	return NULL;
}
