// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <popcorn.h>
#include <stdarg.h>
#include <string.h>

#include "machine.h"
#include "topology.h"
#include "util.h"

/* ACPI 6.4, 5.2.17: 10 is the node itself, 255 cannot be reached. */
#define DISTANCE_LOCAL 10
#define DISTANCE_REMOTE 20
#define DISTANCE_MAX 254

/* Linux: MAX_NUMNODES of the largest configuration (include/linux/numa.h, NODES_SHIFT 10). */
#define NODES_MAX 1024
/* No plan needs so many, and a description with more is not of a machine. */
#define DEVICES_MAX 65536
/* Physical addresses have 52 bits. */
#define MEMORY_MAX (UINT64_C(1) << 52)

/* arch/x86/mm/init_64.c, probe_memory_block_size(). */
#define BLOCK_SIZE_MIN (128 * MIB)
#define BLOCK_SIZE_MAX (2048 * MIB)
#define MEMORY_FOR_LARGE_BLOCKS (UINT64_C(64) << 30)
/* PCI devices' addresses below 4 GiB push as much memory above it; firmwares leave 1 GiB at least. */
#define LOW_MEMORY (UINT64_C(3) << 30)
#define PCI_HOLE (UINT64_C(1) << 30)

/* PCI Code and ID Assignment Specification 1.15. */
#define PCI_BASE_STORAGE 0x01
#define PCI_BASE_NETWORK 0x02
#define PCI_BASE_DISPLAY 0x03
#define PCI_BASE_ACCELERATOR 0x12
#define PCI_CLASS_COPROCESSOR 0x0b40
#define PCI_CLASS_INFINIBAND 0x0c06

struct maker {
	struct machine *machine;
	const struct topology *topology;
	hwloc_topology_t hwloc;
	const struct machine_facts *facts; /* or NULL */
	size_t n_placed; /* CPUs that hwloc knows the place of: the first of machine->cpus */
	struct popcorn_error *error;
};

const char *level_to_string(enum machine_level level)
{
	switch (level) {
	case LEVEL_CORE:
		return "core";
	case LEVEL_L3:
		return "l3";
	case LEVEL_NODE:
		return "node";
	case LEVEL_PACKAGE:
		return "package";
	case LEVEL_MACHINE:
		return "machine";
	}
	return NULL;
}

/* Names and models come from outside and end on terminals and in JSON: ASCII is enough for them. */
static char *clean_copy(const char *s)
{
	char *copy = strdup(s ? s : "");

	for (char *p = copy; p && *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return copy;
}

__attribute__((format(printf, 2, 3))) static int warn(struct maker *maker, const char *format, ...)
{
	struct machine *machine = maker->machine;
	char **warnings =
		realloc(machine->warnings, (machine->n_warnings + 1) * sizeof(*machine->warnings));
	char *text;
	va_list ap;
	int r;

	if (!warnings)
		return no_memory(maker->error);
	machine->warnings = warnings;
	va_start(ap, format);
	r = vasprintf(&text, format, ap);
	va_end(ap);
	if (r < 0)
		return no_memory(maker->error);
	machine->warnings[machine->n_warnings++] = text;
	return 0;
}

__attribute__((format(printf, 2, 3))) static int contradiction(struct maker *maker,
							       const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return popcorn_error_set(maker->error, POPCORN_ERROR_TOPOLOGY,
				 "%s: contradicts itself: %s; a plan for it would be wrong",
				 maker->machine->name, text);
}

/* The CPUs below an object of hwloc's tree, which numbers them from left to right. */
static void run_of(hwloc_obj_t object, uint32_t *ret_first, uint32_t *ret_n)
{
	hwloc_obj_t left = object, right = object;

	while (left->type != HWLOC_OBJ_PU && left->first_child)
		left = left->first_child;
	while (right->type != HWLOC_OBJ_PU && right->last_child)
		right = right->last_child;
	*ret_first = 0;
	*ret_n = 0;
	if (left->type == HWLOC_OBJ_PU && right->type == HWLOC_OBJ_PU) {
		*ret_first = left->logical_index;
		*ret_n = right->logical_index - left->logical_index + 1;
	}
}

static int compare_os(const void *a, const void *b, void *userdata)
{
	const struct machine *machine = userdata;
	uint32_t x = machine->cpus[*(const uint32_t *)a].os;
	uint32_t y = machine->cpus[*(const uint32_t *)b].os;

	return x < y ? -1 : x > y;
}

static uint32_t info_number(hwloc_obj_t object, const char *name)
{
	const char *value = hwloc_obj_get_info_by_name(object, name);
	unsigned long long number;
	char *end;

	if (!value || !isdigit((unsigned char)*value))
		return UNKNOWN;
	errno = 0;
	number = strtoull(value, &end, 10);
	return errno || *end || number >= UNKNOWN ? UNKNOWN : (uint32_t)number;
}

static enum cpu_state cpu_state(const struct maker *maker, uint32_t os)
{
	if (maker->facts && maker->facts->usable)
		return hwloc_bitmap_isset(maker->facts->usable, os) ? CPU_USABLE : CPU_OFFLINE;
	if (!hwloc_bitmap_isset(hwloc_topology_get_topology_cpuset(maker->hwloc), os))
		return CPU_OFFLINE;
	if (!hwloc_bitmap_isset(hwloc_topology_get_allowed_cpuset(maker->hwloc), os))
		return CPU_NOT_ALLOWED;
	return CPU_USABLE;
}

static void add_cpu(struct maker *maker, uint32_t os, uint32_t apicid)
{
	struct machine_cpu *cpu = &maker->machine->cpus[maker->machine->n_cpus++];

	*cpu = (struct machine_cpu){
		.os = os,
		.apicid = apicid,
		.kind = UNKNOWN,
		.state = cpu_state(maker, os),
	};
	for (int level = 0; level < N_LEVELS; level++)
		cpu->in[level] = UNKNOWN;
}

static int add_cpus(struct maker *maker)
{
	struct machine *machine = maker->machine;
	hwloc_const_bitmap_t complete = hwloc_topology_get_complete_cpuset(maker->hwloc);
	hwloc_const_bitmap_t known = hwloc_topology_get_topology_cpuset(maker->hwloc);
	int n = hwloc_get_nbobjs_by_type(maker->hwloc, HWLOC_OBJ_PU);
	int all = hwloc_bitmap_weight(complete);
	hwloc_obj_t pu = NULL;

	if (n <= 0 || n > TOPOLOGY_CPUS_MAX || all < 0 || all > TOPOLOGY_CPUS_MAX)
		return popcorn_error_set(maker->error, POPCORN_ERROR_TOPOLOGY,
					 "%s: describes %d CPUs; a machine has 1 to %d",
					 machine->name, n > 0 ? n : 0, TOPOLOGY_CPUS_MAX);
	machine->cpus = calloc((size_t)n + (size_t)all, sizeof(*machine->cpus));
	machine->by_os = calloc((size_t)n + (size_t)all, sizeof(*machine->by_os));
	if (!machine->cpus || !machine->by_os)
		return no_memory(maker->error);
	while ((pu = hwloc_get_next_obj_by_type(maker->hwloc, HWLOC_OBJ_PU, pu))) {
		if (pu->logical_index != machine->n_cpus ||
		    !hwloc_bitmap_isset(known, pu->os_index))
			return contradiction(maker, "CPU %u is not where it should be",
					     pu->os_index);
		add_cpu(maker, pu->os_index, info_number(pu, TOPOLOGY_INFO_APICID));
	}
	maker->n_placed = machine->n_cpus;
	for (int os = hwloc_bitmap_first(complete); os >= 0; os = hwloc_bitmap_next(complete, os))
		if (!hwloc_bitmap_isset(known, (unsigned)os))
			add_cpu(maker, (uint32_t)os, UNKNOWN);

	for (size_t i = 0; i < machine->n_cpus; i++)
		machine->by_os[i] = (uint32_t)i;
	qsort_r(machine->by_os, machine->n_cpus, sizeof(*machine->by_os), compare_os, machine);
	for (size_t i = 1; i < machine->n_cpus; i++)
		if (machine->cpus[machine->by_os[i]].os == machine->cpus[machine->by_os[i - 1]].os)
			return contradiction(maker, "CPU %" PRIu32 " is in two places",
					     machine->cpus[machine->by_os[i]].os);
	return 0;
}

/* As many as there can be; the caller fills them in. */
static int make_domains(struct maker *maker, enum machine_level level, size_t room)
{
	maker->machine->domains[level] = calloc(room + 1, sizeof(struct machine_domain));
	return maker->machine->domains[level] ? 0 : no_memory(maker->error);
}

static void add_domain(struct machine *machine, enum machine_level level, uint32_t os,
		       uint32_t first, uint32_t n)
{
	size_t index = machine->n_domains[level]++;

	machine->domains[level][index] = (struct machine_domain){ os, first, n };
	for (uint32_t i = first; i < first + n; i++)
		machine->cpus[i].in[level] = (uint32_t)index;
}

static uint32_t os_of(hwloc_obj_t object)
{
	return object->os_index == HWLOC_UNKNOWN_INDEX ? UNKNOWN : object->os_index;
}

static int add_objects(struct maker *maker, enum machine_level level, hwloc_obj_type_t type)
{
	struct machine *machine = maker->machine;
	hwloc_obj_t object = NULL;
	uint32_t end = 0;
	int n = hwloc_get_nbobjs_by_type(maker->hwloc, type);
	int r;

	r = make_domains(maker, level, (n > 0 ? (size_t)n : 0) + maker->n_placed);
	if (r < 0)
		return r;
	while ((object = hwloc_get_next_obj_by_type(maker->hwloc, type, object))) {
		uint32_t first, n_cpus;

		run_of(object, &first, &n_cpus);
		if (n_cpus == 0)
			continue;
		/* One L3 cache inside another, and the like. */
		if (first < end || first + n_cpus > maker->n_placed)
			return contradiction(maker, "%s %u has CPUs that another one has too",
					     hwloc_obj_type_string(type), object->logical_index);
		/* Without a core in the description each CPU counts as one. */
		for (; level == LEVEL_CORE && end < first; end++)
			add_domain(machine, level, UNKNOWN, end, 1);
		end = first + n_cpus;
		add_domain(machine, level, os_of(object), first, n_cpus);
	}
	for (; level == LEVEL_CORE && end < maker->n_placed; end++)
		add_domain(machine, level, UNKNOWN, end, 1);
	return 0;
}

/* A node and the CPUs of the object that it hangs below. */
struct place {
	uint32_t first, n;
	uint32_t node; /* hwloc's logical index */
};

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->n != y->n)
		return x->n < y->n ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

static int find_place(struct maker *maker, hwloc_obj_t node, struct place *ret)
{
	hwloc_obj_t parent = node->parent;

	while (parent && hwloc_obj_type_is_memory(parent->type))
		parent = parent->parent;
	if (!parent)
		return contradiction(maker, "NUMA node %u is nowhere", node->os_index);
	*ret = (struct place){ .node = node->logical_index };
	/* Without CPUs it has memory only. */
	if (hwloc_bitmap_iszero(node->cpuset))
		return 0;
	if (!hwloc_bitmap_isequal(node->cpuset, parent->cpuset))
		return contradiction(maker,
				     "NUMA node %u says that it has other CPUs than those that it "
				     "stands beside",
				     node->os_index);
	run_of(parent, &ret->first, &ret->n);
	return 0;
}

/*
 * Linux counts a CPU to one node. Of several that are local to it that is the one with the fewest
 * CPUs, of equals the first (memory of other kinds stands behind ordinary memory); what is left
 * without any CPU has memory only. Takes from @place what is somebody's already.
 */
static int take_cpus(struct maker *maker, uint32_t os, struct place *place)
{
	const struct machine_cpu *cpus = maker->machine->cpus;
	uint32_t first = place->first, end = place->first + place->n;

	while (first < end && cpus[first].in[LEVEL_NODE] != UNKNOWN)
		first++;
	while (first < end && cpus[end - 1].in[LEVEL_NODE] != UNKNOWN)
		end--;
	for (uint32_t i = first; i < end; i++)
		if (cpus[i].in[LEVEL_NODE] != UNKNOWN)
			return contradiction(maker,
					     "CPUs of NUMA node %" PRIu32 " belong to another node "
					     "too, and those that do not are not side by side",
					     os);
	if (first < end && end - first < place->n) {
		int r = warn(maker,
			     "NUMA node %" PRIu32 " has CPUs that another node has too; only its "
			     "other %" PRIu32 " CPUs are counted to it",
			     os, end - first);
		if (r < 0)
			return r;
	}
	place->first = first;
	place->n = end - first;
	return 0;
}

static int place_nodes(struct maker *maker, struct place *places, size_t n)
{
	struct machine *machine = maker->machine;
	hwloc_obj_t node = NULL;
	int r;

	for (size_t i = 0; i < n; i++) {
		node = hwloc_get_next_obj_by_type(maker->hwloc, HWLOC_OBJ_NUMANODE, node);
		if (!node || node->logical_index != i)
			return contradiction(maker, "NUMA nodes are missing");
		for (size_t j = 0; j < i; j++)
			if (machine->domains[LEVEL_NODE][j].os == os_of(node))
				return contradiction(maker, "NUMA node %u is there twice",
						     node->os_index);
		machine->domains[LEVEL_NODE][i].os = os_of(node);
		machine->nodes[i].memory = node->attr->numanode.local_memory;
		r = find_place(maker, node, &places[i]);
		if (r < 0)
			return r;
	}
	qsort(places, n, sizeof(*places), compare_places);
	for (size_t i = 0; i < n; i++) {
		struct machine_domain *domain = &machine->domains[LEVEL_NODE][places[i].node];

		r = take_cpus(maker, domain->os, &places[i]);
		if (r < 0)
			return r;
		domain->first_cpu = places[i].n ? places[i].first : 0;
		domain->n_cpus = places[i].n;
		for (uint32_t j = 0; j < places[i].n; j++)
			machine->cpus[places[i].first + j].in[LEVEL_NODE] = places[i].node;
	}
	machine->n_domains[LEVEL_NODE] = n;
	return 0;
}

static int add_nodes(struct maker *maker)
{
	struct machine *machine = maker->machine;
	const struct machine_facts *facts = maker->facts;
	int n = hwloc_get_nbobjs_by_type(maker->hwloc, HWLOC_OBJ_NUMANODE);
	_cleanup_free_ struct place *places = NULL;
	uint64_t total = 0;
	int r;

	if (n < 1 || n > NODES_MAX)
		return popcorn_error_set(maker->error, POPCORN_ERROR_TOPOLOGY,
					 "%s: describes %d NUMA nodes; a machine has 1 to %d",
					 machine->name, n, NODES_MAX);
	r = make_domains(maker, LEVEL_NODE, (size_t)n);
	if (r < 0)
		return r;
	places = calloc((size_t)n, sizeof(*places));
	machine->nodes = calloc((size_t)n, sizeof(*machine->nodes));
	if (!places || !machine->nodes)
		return no_memory(maker->error);
	r = place_nodes(maker, places, (size_t)n);
	if (r < 0)
		return r;
	for (int i = 0; i < n; i++) {
		uint32_t os = machine->domains[LEVEL_NODE][i].os;

		if (facts)
			machine->nodes[i].memory = os < facts->n_nodes ? facts->memory[os] : 0;
		if (machine->nodes[i].memory > MEMORY_MAX ||
		    total + machine->nodes[i].memory > MEMORY_MAX)
			return contradiction(maker,
					     "it has more memory than a physical address can name");
		total += machine->nodes[i].memory;
	}
	if (total == 0)
		return popcorn_error_set(
			maker->error, POPCORN_ERROR_TOPOLOGY,
			"%s: has no memory that could be divided; in a synthetic description write "
			"for example 'node:2(memory=16GiB)'",
			machine->name);
	return 0;
}

/*
 * As Linux chooses it without a hypervisor (arch/x86/mm/init_64.c, probe_memory_block_size()):
 * 2 GiB where the memory's end lies at 64 GiB or above, else 128 MiB. The end itself is in no
 * description: the memory and what firmwares leave out below 4 GiB.
 */
static uint64_t guess_block_size(const struct machine *machine)
{
	uint64_t end = 0;

	for (size_t i = 0; i < machine->n_domains[LEVEL_NODE]; i++)
		end += machine->nodes[i].memory;
	if (end > LOW_MEMORY)
		end += PCI_HOLE;
	return end < MEMORY_FOR_LARGE_BLOCKS ? BLOCK_SIZE_MIN : BLOCK_SIZE_MAX;
}

static void add_takeable(struct maker *maker)
{
	struct machine *machine = maker->machine;
	const struct machine_facts *facts = maker->facts;
	const struct machine_cpu *boot = &machine->cpus[machine->by_os[0]];

	machine->block_size = facts ? facts->block_size : guess_block_size(machine);
	for (size_t i = 0; i < machine->n_domains[LEVEL_NODE]; i++) {
		struct machine_node *node = &machine->nodes[i];
		uint32_t os = machine->domains[LEVEL_NODE][i].os;
		uint64_t blocks = node->memory / machine->block_size;

		if (!facts) {
			/* The primary's own things lie on its node. */
			if (boot->in[LEVEL_NODE] == i && blocks)
				blocks--;
		} else {
			blocks =
				os < facts->n_nodes ? facts->takeable[os] / machine->block_size : 0;
		}
		node->takeable = blocks * machine->block_size;
	}
}

static int warn_about_distances(struct maker *maker, unsigned odd_local, unsigned odd_remote,
				unsigned asymmetric, const uint32_t pair[2])
{
	int r = 0;

	if (odd_local)
		return warn(maker,
			    "the distance of %u NUMA nodes to themselves is not 10, as ACPI wants "
			    "it; no distance between nodes is believed",
			    odd_local);
	if (odd_remote)
		r = warn(maker,
			 "for %u pairs of NUMA nodes the firmware says that the other node is as "
			 "near as the own one, or not how far it is; %d is assumed for these",
			 odd_remote, DISTANCE_REMOTE);
	if (r == 0 && asymmetric)
		r = warn(maker,
			 "the distances of NUMA nodes are not symmetric: from node %" PRIu32
			 " to node %" PRIu32 " it is another one than back (%u pairs in all); "
			 "the firmware's table (SLIT) is not to be trusted",
			 pair[0], pair[1], asymmetric);
	return r;
}

static int fill_distances(struct maker *maker, const struct hwloc_distances_s *d)
{
	struct machine *machine = maker->machine;
	size_t n = machine->n_domains[LEVEL_NODE];
	unsigned odd_local = 0, odd_remote = 0, asymmetric = 0;
	uint32_t pair[2] = { 0 };

	/* Some nodes in it only, as after a node was left out: nothing to compare with. */
	for (unsigned i = 0; i < d->nbobjs; i++)
		if (!d->objs[i] || d->objs[i]->type != HWLOC_OBJ_NUMANODE ||
		    d->objs[i]->logical_index >= n)
			return 0;
	if (d->nbobjs < 2)
		return 0;
	machine->distances = calloc(n * n, sizeof(*machine->distances));
	if (!machine->distances)
		return no_memory(maker->error);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			machine->distances[i * n + j] = i == j ? DISTANCE_LOCAL : DISTANCE_REMOTE;
	for (unsigned i = 0; i < d->nbobjs; i++) {
		for (unsigned j = 0; j < d->nbobjs; j++) {
			size_t from = d->objs[i]->logical_index, to = d->objs[j]->logical_index;
			uint64_t value = d->values[i * d->nbobjs + j];
			uint64_t back = d->values[j * d->nbobjs + i];

			if (i == j) {
				odd_local += value != DISTANCE_LOCAL;
				continue;
			}
			if (value <= DISTANCE_LOCAL)
				odd_remote++;
			else
				machine->distances[from * n + to] =
					value > DISTANCE_MAX ? DISTANCE_MAX : (uint16_t)value;
			if (i < j && value != back) {
				if (asymmetric == 0) {
					pair[0] = d->objs[i]->os_index;
					pair[1] = d->objs[j]->os_index;
				}
				asymmetric++;
			}
		}
	}
	if (odd_local) {
		free(machine->distances);
		machine->distances = NULL;
	}
	return warn_about_distances(maker, odd_local, odd_remote, asymmetric, pair);
}

static int add_distances(struct maker *maker)
{
	struct hwloc_distances_s *d;
	unsigned n = 1;
	int r;

	if (hwloc_distances_get_by_name(maker->hwloc, "NUMALatency", &n, &d, 0) < 0 || n == 0)
		return 0;
	r = fill_distances(maker, d);
	hwloc_distances_release(maker->hwloc, d);
	return r;
}

static int add_kinds(struct maker *maker)
{
	struct machine *machine = maker->machine;
	hwloc_bitmap_t set;
	int n = hwloc_cpukinds_get_nr(maker->hwloc, 0);

	if (n <= 0)
		return 0;
	if ((size_t)n > machine->n_cpus)
		return contradiction(maker, "it has more kinds of CPUs than CPUs");
	machine->kinds = calloc((size_t)n, sizeof(*machine->kinds));
	set = hwloc_bitmap_alloc();
	if (!machine->kinds || !set) {
		hwloc_bitmap_free(set);
		return no_memory(maker->error);
	}
	machine->n_kinds = (size_t)n;
	for (int i = 0; i < n; i++) {
		struct machine_kind *kind = &machine->kinds[i];

		if (hwloc_cpukinds_get_info(maker->hwloc, (unsigned)i, set, &kind->rank, NULL, NULL,
					    0) < 0)
			kind->rank = -1;
		if (n > 1 && kind->rank == 0)
			strcpy(kind->name, "efficiency");
		else if (n > 1 && kind->rank == n - 1)
			strcpy(kind->name, "performance");
		else
			snprintf(kind->name, sizeof(kind->name), "kind%d", i);
		for (int os = hwloc_bitmap_first(set); os >= 0; os = hwloc_bitmap_next(set, os)) {
			uint32_t cpu = machine_find_cpu(machine, (uint32_t)os);

			if (os >= TOPOLOGY_CPUS_MAX)
				break;
			if (cpu != UNKNOWN)
				machine->cpus[cpu].kind = (uint32_t)i;
		}
	}
	hwloc_bitmap_free(set);
	return 0;
}

/* hwloc writes "class=0200(Ethernet)" and has no public function for the name alone. */
static char *class_name(hwloc_obj_t device)
{
	char text[256], *start, *end;

	hwloc_obj_attr_snprintf(text, sizeof(text), device, "\n", 1);
	start = strstr(text, "class=");
	start = start ? strchr(start, '(') : NULL;
	end = start ? strchr(start, ')') : NULL;
	if (!end)
		return strdup("other");
	*end = '\0';
	for (char *p = ++start; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return clean_copy(start);
}

static const char *group_name(unsigned class)
{
	/* Two that a user would miss in their base class, "processor" and "serial bus". */
	if (class == PCI_CLASS_COPROCESSOR)
		return "accelerator";
	if (class == PCI_CLASS_INFINIBAND)
		return "network";
	switch (class >> 8) {
	case PCI_BASE_STORAGE:
		return "storage";
	case PCI_BASE_NETWORK:
		return "network";
	case PCI_BASE_DISPLAY:
		return "display";
	case PCI_BASE_ACCELERATOR:
		return "accelerator";
	default:
		return "other";
	}
}

/* The names of Linux's devices that hang below a PCI device, as "nvme0n1,nvme0n2". */
static int add_names(hwloc_obj_t object, char **names)
{
	for (hwloc_obj_t child = object->io_first_child; child; child = child->next_sibling) {
		char *more;
		int r;

		if (child->type != HWLOC_OBJ_OS_DEVICE)
			continue;
		if (child->name && *child->name) {
			if (asprintf(&more, "%s%s%s", *names ? *names : "", *names ? "," : "",
				     child->name) < 0)
				return -ENOMEM;
			free(*names);
			*names = more;
		}
		r = add_names(child, names);
		if (r < 0)
			return r;
	}
	return 0;
}

static int fill_device(hwloc_obj_t object, struct machine_device *device)
{
	const struct hwloc_pcidev_attr_s *pci = &object->attr->pcidev;
	const char *driver = hwloc_obj_get_info_by_name(object, TOPOLOGY_INFO_DRIVER);
	const char *vendor = hwloc_obj_get_info_by_name(object, "PCIVendor");
	const char *model = hwloc_obj_get_info_by_name(object, "PCIDevice");
	_cleanup_free_ char *names = NULL, *words = NULL;

	if (asprintf(&device->address, "%04x:%02x:%02x.%01x", (unsigned)pci->domain, pci->bus,
		     pci->dev, pci->func) < 0)
		device->address = NULL;
	if (asprintf(&words, "%s%s%s", vendor ? vendor : "", vendor && model ? " " : "",
		     model ? model : "") < 0)
		words = NULL;
	if (!words || add_names(object, &names) < 0)
		return -ENOMEM;
	device->class = class_name(object);
	device->group = strdup(group_name(pci->class_id));
	device->driver = driver ? clean_copy(driver) : NULL;
	device->names = clean_copy(names);
	device->model = clean_copy(words);
	if (!device->address || !device->class || !device->group || !device->names ||
	    !device->model || (driver && !device->driver))
		return -ENOMEM;
	return 0;
}

/* The smallest domain of those that matter to a device which has all of these CPUs. */
static void find_domain(const struct machine *machine, hwloc_const_bitmap_t cpus,
			uint32_t *ret_first, uint32_t *ret_n)
{
	uint32_t first = UNKNOWN, last = 0;

	for (int os = hwloc_bitmap_first(cpus); os >= 0; os = hwloc_bitmap_next(cpus, os)) {
		uint32_t cpu = machine_find_cpu(machine, (uint32_t)os);

		if (cpu == UNKNOWN)
			continue;
		first = cpu < first ? cpu : first;
		last = cpu > last ? cpu : last;
	}
	for (int level = LEVEL_L3; level < N_LEVELS && first != UNKNOWN; level++) {
		const struct machine_domain *domain = machine->domains[level];
		uint32_t index = machine->cpus[first].in[level];

		if (index == UNKNOWN || machine->cpus[last].in[level] != index)
			continue;
		*ret_first = domain[index].first_cpu;
		*ret_n = domain[index].n_cpus;
		return;
	}
	*ret_first = 0;
	*ret_n = (uint32_t)machine->n_cpus;
}

/*
 * A device that has come while CPUs were away is not in the view that has them all, and what it is
 * near to is known of the other CPUs only.
 */
static void place_device(const struct maker *maker, hwloc_obj_t object,
			 struct machine_device *device)
{
	const struct hwloc_pcidev_attr_s *pci = &object->attr->pcidev;
	hwloc_obj_t known = object;

	if (topology_now(maker->topology) != maker->topology)
		known = hwloc_get_pcidev_by_busid(maker->hwloc, (unsigned)pci->domain, pci->bus,
						  pci->dev, pci->func);
	if (known)
		run_of(hwloc_get_non_io_ancestor_obj(maker->hwloc, known), &device->first_cpu,
		       &device->n_cpus);
	else
		find_domain(maker->machine,
			    hwloc_get_non_io_ancestor_obj(maker->hwloc, object)->cpuset,
			    &device->first_cpu, &device->n_cpus);
}

static int compare_devices(const void *a, const void *b)
{
	const struct machine_device *x = a, *y = b;

	return strcmp(x->address, y->address);
}

static int add_devices(struct maker *maker)
{
	struct machine *machine = maker->machine;
	hwloc_topology_t hwloc = topology_hwloc(topology_now(maker->topology));
	int n = hwloc_get_nbobjs_by_type(hwloc, HWLOC_OBJ_PCI_DEVICE);
	hwloc_obj_t object = NULL;

	if (n <= 0)
		return 0;
	if (n > DEVICES_MAX)
		return popcorn_error_set(maker->error, POPCORN_ERROR_TOPOLOGY,
					 "%s: describes %d PCI devices; %d are believed",
					 machine->name, n, DEVICES_MAX);
	machine->devices = calloc((size_t)n, sizeof(*machine->devices));
	if (!machine->devices)
		return no_memory(maker->error);
	while ((object = hwloc_get_next_pcidev(hwloc, object))) {
		struct machine_device *device = &machine->devices[machine->n_devices++];

		if (fill_device(object, device) < 0)
			return no_memory(maker->error);
		place_device(maker, object, device);
	}
	qsort(machine->devices, machine->n_devices, sizeof(*machine->devices), compare_devices);
	for (size_t i = 1; i < machine->n_devices; i++)
		if (compare_devices(&machine->devices[i - 1], &machine->devices[i]) == 0)
			return contradiction(maker, "device %s is there twice",
					     machine->devices[i].address);
	return 0;
}

/* Linux's numbers of those CPUs, as "0-3,7"; NULL: there is none, or no memory (*@ret_r). */
static char *list_cpus(const struct machine *machine, bool (*select)(const struct machine_cpu *cpu),
		       int *ret_n)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	char *text = NULL;

	*ret_n = 0;
	for (size_t i = 0; set && i < machine->n_cpus; i++)
		if (select(&machine->cpus[i])) {
			hwloc_bitmap_set(set, machine->cpus[i].os);
			++*ret_n;
		}
	if (!set || hwloc_bitmap_list_asprintf(&text, set) < 0)
		*ret_n = -ENOMEM;
	hwloc_bitmap_free(set);
	return text;
}

static bool without_node(const struct machine_cpu *cpu)
{
	return cpu->in[LEVEL_NODE] == UNKNOWN && cpu->in[LEVEL_CORE] != UNKNOWN;
}

static bool without_place(const struct machine_cpu *cpu)
{
	return cpu->in[LEVEL_CORE] == UNKNOWN;
}

static int look_for_oddities(struct maker *maker)
{
	struct machine *machine = maker->machine;
	_cleanup_free_ char *nowhere = NULL, *hidden = NULL;
	size_t n_nodes = machine->n_domains[LEVEL_NODE];
	size_t n_packages = machine->n_domains[LEVEL_PACKAGE];
	const char *const *warnings;
	int r = 0, n_nowhere, n_hidden;
	size_t n;

	warnings = topology_warnings(maker->topology, &n);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = warn(maker, "%s", warnings[i]);
	if (r == 0 && n_packages > 1 && n_nodes == 1)
		r = warn(maker,
			 "all %zu packages are in one NUMA node: either all memory is equally near "
			 "to them, or the firmware (or numa=off) hides which is near to which, and "
			 "then memory that counts as local is not",
			 n_packages);
	for (size_t i = 0; r == 0 && i < n_nodes; i++)
		if (machine->nodes[i].memory == 0)
			r = warn(maker, "NUMA node %" PRIu32 " has no memory",
				 machine->domains[LEVEL_NODE][i].os);
	nowhere = list_cpus(machine, without_node, &n_nowhere);
	hidden = list_cpus(machine, without_place, &n_hidden);
	if (n_nowhere < 0 || n_hidden < 0)
		return no_memory(maker->error);
	if (r == 0 && n_nowhere)
		r = warn(maker, "CPUs %s are in no NUMA node: no memory is local to them", nowhere);
	if (r == 0 && n_hidden)
		r = warn(maker,
			 "CPUs %s were offline when this was seen: nobody knows where in the "
			 "machine they are",
			 hidden);
	return r;
}

static void machine_freep(struct machine **machine)
{
	machine_free(*machine);
}

int machine_new(const struct topology *topology, const struct machine_facts *facts,
		struct machine **ret, struct popcorn_error *error)
{
	_cleanup_(machine_freep) struct machine *machine = calloc(1, sizeof(*machine));
	struct maker maker = {
		.machine = machine,
		.topology = topology,
		.hwloc = topology_hwloc(topology),
		.facts = facts,
		.error = error,
	};
	int r;

	if (!machine)
		return no_memory(error);
	machine->live = topology_is_live(topology);
	machine->max_kernels = facts ? facts->max_kernels : POPCORN_KERNELS_MAX;
	machine->name = clean_copy(topology_name(topology));
	if (!machine->name)
		return no_memory(error);
	r = add_cpus(&maker);
	if (r == 0)
		r = add_objects(&maker, LEVEL_CORE, HWLOC_OBJ_CORE);
	if (r == 0)
		r = add_objects(&maker, LEVEL_L3, HWLOC_OBJ_L3CACHE);
	if (r == 0)
		r = add_objects(&maker, LEVEL_PACKAGE, HWLOC_OBJ_PACKAGE);
	if (r == 0)
		r = add_nodes(&maker);
	if (r == 0)
		r = make_domains(&maker, LEVEL_MACHINE, 1);
	if (r < 0)
		return r;
	add_domain(machine, LEVEL_MACHINE, UNKNOWN, 0, (uint32_t)machine->n_cpus);
	add_takeable(&maker);
	r = add_distances(&maker);
	if (r == 0)
		r = add_kinds(&maker);
	if (r == 0)
		r = add_devices(&maker);
	if (r == 0)
		r = look_for_oddities(&maker);
	if (r < 0)
		return r;
	*ret = steal_ptr(machine);
	return 0;
}

struct machine *machine_free(struct machine *machine)
{
	if (!machine)
		return NULL;
	for (size_t i = 0; i < machine->n_devices; i++) {
		struct machine_device *device = &machine->devices[i];

		free(device->address);
		free(device->class);
		free(device->group);
		free(device->driver);
		free(device->names);
		free(device->model);
	}
	for (size_t i = 0; i < machine->n_warnings; i++)
		free(machine->warnings[i]);
	for (int level = 0; level < N_LEVELS; level++)
		free(machine->domains[level]);
	free(machine->name);
	free(machine->cpus);
	free(machine->nodes);
	free(machine->distances);
	free(machine->kinds);
	free(machine->devices);
	free(machine->warnings);
	free(machine->by_os);
	free(machine);
	return NULL;
}

uint32_t machine_find_cpu(const struct machine *machine, uint32_t os)
{
	size_t low = 0, high = machine->n_cpus;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (machine->cpus[machine->by_os[middle]].os < os)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == machine->n_cpus || machine->cpus[machine->by_os[low]].os != os)
		return UNKNOWN;
	return machine->by_os[low];
}

uint32_t machine_find_node(const struct machine *machine, uint32_t os)
{
	for (size_t i = 0; i < machine->n_domains[LEVEL_NODE]; i++)
		if (machine->domains[LEVEL_NODE][i].os == os)
			return (uint32_t)i;
	return UNKNOWN;
}

unsigned machine_distance(const struct machine *machine, uint32_t from, uint32_t to)
{
	if (from == to)
		return DISTANCE_LOCAL;
	if (!machine->distances)
		return DISTANCE_REMOTE;
	return machine->distances[from * machine->n_domains[LEVEL_NODE] + to];
}

/* JSON. */

static json_t *number_or_null(uint32_t number)
{
	return number == UNKNOWN ? json_null() : json_integer(number);
}

static const char *state_to_string(enum cpu_state state)
{
	switch (state) {
	case CPU_USABLE:
		return "usable";
	case CPU_OFFLINE:
		return "offline";
	case CPU_NOT_ALLOWED:
		return "not-allowed";
	}
	return NULL;
}

/* What a domain is called: by Linux's number where that is unique, else by its index. */
static json_t *domain_to_json(const struct machine *machine, enum machine_level level,
			      uint32_t index)
{
	if (index == UNKNOWN)
		return json_null();
	if (level == LEVEL_NODE)
		return number_or_null(machine->domains[level][index].os);
	return json_integer(index);
}

static json_t *cpus_to_json(const struct machine *machine)
{
	json_t *array = json_array();

	for (size_t i = 0; i < machine->n_cpus; i++) {
		const struct machine_cpu *cpu = &machine->cpus[i];
		json_t *object = json_object();

		json_object_set_new(object, "cpu", json_integer(cpu->os));
		json_object_set_new(object, "apicid", number_or_null(cpu->apicid));
		for (int level = 0; level < LEVEL_MACHINE; level++)
			json_object_set_new(
				object, level_to_string((enum machine_level)level),
				domain_to_json(machine, (enum machine_level)level, cpu->in[level]));
		json_object_set_new(object, "kind",
				    cpu->kind == UNKNOWN
					    ? json_null()
					    : json_string(machine->kinds[cpu->kind].name));
		json_object_set_new(object, "state", json_string(state_to_string(cpu->state)));
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *run_to_json(const struct machine *machine, uint32_t first, uint32_t n)
{
	json_t *array = json_array();

	for (uint32_t i = first; i < first + n; i++)
		json_array_append_new(array, json_integer(machine->cpus[i].os));
	return array;
}

static json_t *level_to_json(const struct machine *machine, enum machine_level level)
{
	size_t n = machine->n_domains[level];
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct machine_domain *domain = &machine->domains[level][i];
		json_t *object = json_object();

		json_object_set_new(object, level_to_string(level),
				    domain_to_json(machine, level, (uint32_t)i));
		if (level != LEVEL_NODE)
			json_object_set_new(object, "os", number_or_null(domain->os));
		json_object_set_new(object, "cpus",
				    run_to_json(machine, domain->first_cpu, domain->n_cpus));
		if (level == LEVEL_NODE) {
			json_t *distances = json_array();

			json_object_set_new(object, "memory",
					    json_integer((json_int_t)machine->nodes[i].memory));
			json_object_set_new(object, "takeable",
					    json_integer((json_int_t)machine->nodes[i].takeable));
			for (size_t j = 0; j < n; j++)
				json_array_append_new(distances,
						      json_integer(machine_distance(
							      machine, (uint32_t)i, (uint32_t)j)));
			json_object_set_new(object, "distances", distances);
		}
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *kinds_to_json(const struct machine *machine)
{
	json_t *array = json_array();

	for (size_t i = 0; i < machine->n_kinds; i++) {
		json_t *object = json_object(), *cpus = json_array();

		for (size_t j = 0; j < machine->n_cpus; j++)
			if (machine->cpus[j].kind == i)
				json_array_append_new(cpus, json_integer(machine->cpus[j].os));
		json_object_set_new(object, "kind", json_string(machine->kinds[i].name));
		json_object_set_new(object, "rank",
				    machine->kinds[i].rank < 0
					    ? json_null()
					    : json_integer(machine->kinds[i].rank));
		json_object_set_new(object, "cpus", cpus);
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *devices_to_json(const struct machine *machine)
{
	json_t *array = json_array();

	for (size_t i = 0; i < machine->n_devices; i++) {
		const struct machine_device *device = &machine->devices[i];
		json_t *object = json_object();

		json_object_set_new(object, "address", json_string(device->address));
		json_object_set_new(object, "class", json_string(device->class));
		json_object_set_new(object, "group", json_string(device->group));
		json_object_set_new(object, "driver",
				    device->driver ? json_string(device->driver) : json_null());
		json_object_set_new(object, "names", json_string(device->names));
		json_object_set_new(object, "model", json_string(device->model));
		json_object_set_new(object, "cpus",
				    run_to_json(machine, device->first_cpu, device->n_cpus));
		json_array_append_new(array, object);
	}
	return array;
}

json_t *machine_to_json(const struct machine *machine)
{
	json_t *object = json_object(), *warnings = json_array();

	json_object_set_new(object, "name", json_string(machine->name));
	json_object_set_new(object, "live", json_boolean(machine->live));
	json_object_set_new(object, "block_size", json_integer((json_int_t)machine->block_size));
	json_object_set_new(object, "max_kernels", json_integer(machine->max_kernels));
	json_object_set_new(object, "packages", level_to_json(machine, LEVEL_PACKAGE));
	json_object_set_new(object, "nodes", level_to_json(machine, LEVEL_NODE));
	json_object_set_new(object, "l3s", level_to_json(machine, LEVEL_L3));
	json_object_set_new(object, "cores", level_to_json(machine, LEVEL_CORE));
	json_object_set_new(object, "cpus", cpus_to_json(machine));
	json_object_set_new(object, "kinds", kinds_to_json(machine));
	json_object_set_new(object, "devices", devices_to_json(machine));
	for (size_t i = 0; i < machine->n_warnings; i++)
		json_array_append_new(warnings, json_string(machine->warnings[i]));
	json_object_set_new(object, "warnings", warnings);
	return object;
}
