// SPDX-License-Identifier: GPL-2.0-or-later
/* Choosing what a kernel gets, giving it back, and finding it again. Taking it is in take.c. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "claim.h"
#include "sysfs.h"

#define CPU_DIR "/sys/devices/system/cpu"
#define FADT_FILE "/sys/firmware/acpi/tables/FACP"

const char *list_text(hwloc_const_bitmap_t set, char buf[LIST_TEXT_MAX])
{
	int n = hwloc_bitmap_list_snprintf(buf, LIST_TEXT_MAX, set);

	if (n >= LIST_TEXT_MAX) {
		char *comma;

		buf[LIST_TEXT_MAX - 8] = '\0';
		comma = strrchr(buf, ',');
		strcpy(comma ? comma : buf, ", …");
	}
	return buf;
}

/* Making and freeing. */

/* A machine without such a table has no such timer. */
static uint16_t read_pm_timer(const char *root)
{
	uint8_t fadt[512];
	ssize_t n = sysfs_read_bytes(root, fadt, sizeof(fadt), FADT_FILE);

	return n < 0 ? 0 : acpi_pm_timer(fadt, (size_t)n);
}

static void resources_freep(struct resources **resources)
{
	resources_free(*resources);
}

int resources_new(const struct config *config, struct driver *driver, const char *sysfs,
		  const char *run, struct resources **ret, struct popcorn_error *error)
{
	_cleanup_(resources_freep) struct resources *r = calloc(1, sizeof(*r));
	int k;

	if (!r)
		return no_memory(error);
	pthread_mutex_init(&r->lock, NULL);
	r->config = config;
	r->driver = driver;
	r->root = strdup(sysfs);
	r->run = strdup(run);
	if (asprintf(&r->leases, "%s/leases", run) < 0)
		r->leases = NULL;
	r->busy_cpus = hwloc_bitmap_alloc();
	r->busy_blocks = hwloc_bitmap_alloc();
	if (!r->root || !r->run || !r->leases || !r->busy_cpus || !r->busy_blocks)
		return no_memory(error);

	k = make_folders(r->leases, 0755);
	if (k < 0)
		return popcorn_error_set_errno(error, k, "can't make the folder %s", r->leases);
	k = block_size_read(r->root, &r->block_size);
	if (k < 0)
		return popcorn_error_set_errno(
			error, k,
			"%s/sys/devices/system/memory does not tell the size of memory blocks; a "
			"primary needs a kernel with memory hot-remove, which the distributions' "
			"have",
			r->root);
	r->pm_timer = read_pm_timer(r->root);
	k = topology_load_live(r->root, r->run, &r->topology, error);
	if (k < 0)
		return k;
	*ret = steal_ptr(r);
	return 0;
}

struct resources *resources_free(struct resources *resources)
{
	if (!resources)
		return NULL;
	for (struct claim *c = resources->claims; c; c = c->next)
		c->resources = NULL;
	topology_free(resources->topology);
	hwloc_bitmap_free(resources->busy_cpus);
	hwloc_bitmap_free(resources->busy_blocks);
	free(resources->root);
	free(resources->run);
	free(resources->leases);
	pthread_mutex_destroy(&resources->lock);
	free(resources);
	return NULL;
}

void resources_set_config(struct resources *resources, const struct config *config)
{
	pthread_mutex_lock(&resources->lock);
	resources->config = config;
	pthread_mutex_unlock(&resources->lock);
}

struct claim *claim_free(struct claim *claim)
{
	struct resources *r;

	if (!claim)
		return NULL;
	r = claim->resources;
	if (r) {
		LOCK(r);

		for (struct claim **p = &r->claims; *p; p = &(*p)->next) {
			if (*p == claim) {
				*p = claim->next;
				break;
			}
		}
		/*
		 * What it still holds stays busy as it is: its CPUs and blocks are offline, which
		 * is never chosen.
		 */
		for (size_t i = 0; i < claim->n_cpus; i++)
			hwloc_bitmap_clr(r->busy_cpus, claim->cpus[i]);
		for (size_t i = 0; i < claim->n_blocks; i++)
			hwloc_bitmap_clr(r->busy_blocks, (unsigned)claim->blocks[i].index);
	}
	free(claim->cpus);
	free(claim->cpu_nodes);
	free(claim->by_node);
	free(claim->blocks);
	free(claim->image_cpus);
	free(claim->image_ranges);
	free(claim->nodes);
	free(claim->distances);
	free(claim);
	return NULL;
}

static void claim_freep(struct claim **claim)
{
	claim_free(*claim);
}

bool claim_holds(const struct claim *claim)
{
	return claim->given || claim->n_blocks > 0;
}

/* If all of it is not enough, image_build() has the right words for that. */
static uint64_t piece_of(const struct claim *claim, uint64_t bytes)
{
	uint64_t rounded =
		(bytes + POPCORN_MEMORY_ALIGN - 1) / POPCORN_MEMORY_ALIGN * POPCORN_MEMORY_ALIGN;
	uint64_t most = claim->is_by_node ? 0 : claim->memory;

	for (size_t i = 0; claim->is_by_node && i < claim->n_by_node; i++)
		if (claim->by_node[i].want > most)
			most = claim->by_node[i].want;
	return rounded < most ? rounded : most;
}

void claim_need_first(struct claim *claim, uint64_t need, uint64_t wish)
{
	claim->need = piece_of(claim, need);
	claim->wish = piece_of(claim, wish > need ? wish : need);
}

const uint32_t *claim_cpus(const struct claim *claim, size_t *ret_n)
{
	*ret_n = claim->n_cpus;
	return claim->cpus;
}

uint64_t claim_memory(const struct claim *claim)
{
	return claim->memory;
}

void claim_count(struct claim *claim, unsigned node, int64_t offlined, int64_t contig)
{
	claim->offlined += (uint64_t)offlined;
	claim->contig += (uint64_t)contig;
	/* Memory of a node that was plugged in since is nobody's wish. */
	if (node >= claim->n_by_node)
		return;
	claim->by_node[node].offlined += (uint64_t)offlined;
	claim->by_node[node].contig += (uint64_t)contig;
}

static void add_claim(struct resources *r, struct claim *claim)
{
	claim->resources = r;
	claim->next = r->claims;
	r->claims = claim;
}

/* Choosing CPUs. With the lock. */

static const char *cpu_owner(const struct resources *r, unsigned cpu)
{
	for (const struct claim *c = r->claims; c; c = c->next)
		for (size_t i = 0; i < c->n_cpus; i++)
			if (c->cpus[i] == cpu)
				return c->name;
	return "?";
}

static int check_wanted_cpu(const struct resources *r, unsigned cpu, hwloc_const_bitmap_t present,
			    hwloc_const_bitmap_t online, struct popcorn_error *error)
{
	if (!hwloc_bitmap_isset(present, cpu))
		return popcorn_error_set(error, POPCORN_ERROR_CPU_UNKNOWN,
					 "CPU %u was asked for; the machine has CPUs %s", cpu,
					 LIST_TEXT(present));
	if (cpu == 0)
		return popcorn_error_set(error, POPCORN_ERROR_CPU_BOOT,
					 "CPU 0 was asked for; it booted the machine and stays "
					 "with the primary; ask "
					 "for another one");
	if (hwloc_bitmap_isset(r->busy_cpus, cpu))
		return popcorn_error_set(error, POPCORN_ERROR_CPU_LENT,
					 "CPU %u was asked for; kernel '%s' has it; ask for "
					 "another one, or stop that "
					 "kernel",
					 cpu, cpu_owner(r, cpu));
	if (hwloc_bitmap_isset(r->config->primary_cpus, cpu))
		return popcorn_error_set(
			error, POPCORN_ERROR_CPU_KEPT,
			"CPU %u was asked for; popcornd.conf keeps CPUs %s for the primary "
			"(primary.cpus)",
			cpu, LIST_TEXT(r->config->primary_cpus));
	if (!hwloc_bitmap_isset(online, cpu))
		return popcorn_error_set(error, POPCORN_ERROR_CPU_OFFLINE,
					 "CPU %u was asked for; it is offline; 'echo 1 > " CPU_DIR
					 "/cpu%u/online' "
					 "brings it online",
					 cpu, cpu);
	return 0;
}

static int read_cpus(const struct resources *r, hwloc_bitmap_t *ret_present,
		     hwloc_bitmap_t *ret_online, struct popcorn_error *error)
{
	_cleanup_bitmap_ hwloc_bitmap_t present = NULL;
	hwloc_bitmap_t online;
	int k;

	k = sysfs_read_list(r->root, &present, CPU_DIR "/present");
	if (k == 0)
		k = sysfs_read_list(r->root, &online, CPU_DIR "/online");
	if (k < 0)
		return popcorn_error_set_errno(error, k, "can't read which CPUs there are");
	*ret_present = steal_ptr(present);
	*ret_online = online;
	return 0;
}

/* Online, not kept, not claimed. */
static int free_cpus(const struct resources *r, hwloc_const_bitmap_t online, hwloc_bitmap_t *ret)
{
	hwloc_bitmap_t set = hwloc_bitmap_dup(online);

	if (!set)
		return -ENOMEM;
	hwloc_bitmap_clr(set, 0);
	if (hwloc_bitmap_andnot(set, set, r->config->primary_cpus) < 0 ||
	    hwloc_bitmap_andnot(set, set, r->busy_cpus) < 0) {
		hwloc_bitmap_free(set);
		return -ENOMEM;
	}
	*ret = set;
	return 0;
}

/* What of each node could be taken at best, for choosing CPUs near it. */
static int sum_nodes(const struct resources *r, const struct block *blocks, size_t n_blocks,
		     uint64_t **ret, size_t *ret_n)
{
	uint64_t *sums;
	size_t n = 0;

	for (size_t i = 0; i < n_blocks; i++)
		if (blocks[i].node >= n)
			n = blocks[i].node + 1;
	sums = calloc(n + 1, sizeof(*sums));
	if (!sums)
		return -ENOMEM;
	for (size_t i = 0; i < n_blocks; i++)
		if (block_rank(&blocks[i]) != ZONE_RANK_NONE)
			sums[blocks[i].node] += r->block_size;
	*ret_n = n;
	*ret = sums;
	return 0;
}

static int choose_cpus(struct resources *r, const struct kernel_def *def,
		       const struct block *blocks, size_t n_blocks, hwloc_bitmap_t *ret,
		       struct popcorn_error *error)
{
	_cleanup_bitmap_ hwloc_bitmap_t present = NULL, online = NULL, free = NULL;
	_cleanup_free_ uint64_t *node_memory = NULL;
	size_t n_nodes;
	int k;

	k = read_cpus(r, &present, &online, error);
	if (k < 0)
		return k;
	/* CPUs that were away when the topology was loaded: only now can be seen where they are. */
	if (!topology_covers(r->topology, online)) {
		struct topology *fresh;

		k = topology_load_live(r->root, r->run, &fresh, error);
		if (k < 0)
			return k;
		topology_free(r->topology);
		r->topology = fresh;
	}

	if (def->cpus) {
		hwloc_bitmap_t wanted;

		if (hwloc_bitmap_iszero(def->cpus) ||
		    hwloc_bitmap_weight(def->cpus) > POPCORN_CPUS_MAX)
			return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
						 "a kernel has 1 to %d CPUs", POPCORN_CPUS_MAX);
		for (int cpu = hwloc_bitmap_first(def->cpus); cpu >= 0;
		     cpu = hwloc_bitmap_next(def->cpus, cpu)) {
			k = check_wanted_cpu(r, (unsigned)cpu, present, online, error);
			if (k < 0)
				return k;
		}
		wanted = hwloc_bitmap_dup(def->cpus);
		if (!wanted)
			return no_memory(error);
		*ret = wanted;
		return 0;
	}

	if (def->cpu_count < 1 || def->cpu_count > POPCORN_CPUS_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
					 "a kernel has 1 to %d CPUs, not %u", POPCORN_CPUS_MAX,
					 def->cpu_count);
	if (free_cpus(r, online, &free) < 0 ||
	    sum_nodes(r, blocks, n_blocks, &node_memory, &n_nodes) < 0)
		return no_memory(error);
	/* Where the memory is to be is what the CPUs are to be near to. */
	for (size_t i = 0; def->memory_nodes && i < n_nodes; i++)
		node_memory[i] = 0;
	for (size_t i = 0; i < def->n_memory_nodes; i++)
		if (def->memory_nodes[i].node < n_nodes)
			node_memory[def->memory_nodes[i].node] = def->memory_nodes[i].bytes;
	k = topology_choose(r->topology, free, def->cpu_count, node_memory, n_nodes, def->memory,
			    ret);
	if (k == -ENOSPC)
		return popcorn_error_set(
			error, POPCORN_ERROR_NO_FREE_CPUS,
			"%u CPUs were asked for; of the machine's %d, %d are online, %d lent, and "
			"CPUs "
			"%s stay with the primary: %d are free; ask for fewer, or stop a kernel",
			def->cpu_count, hwloc_bitmap_weight(present), hwloc_bitmap_weight(online),
			hwloc_bitmap_weight(r->busy_cpus), LIST_TEXT(r->config->primary_cpus),
			hwloc_bitmap_weight(free));
	if (k < 0)
		return popcorn_error_set_errno(error, k, "CPUs could not be chosen");
	return 0;
}

/* Memory that could be had: an upper bound. With the lock. */
static uint64_t free_memory(const struct resources *r, const struct block *blocks, size_t n_blocks,
			    uint64_t *ret_online)
{
	uint64_t online = 0, promised = 0, available = memory_available(r->root), limit;

	for (size_t i = 0; i < n_blocks; i++)
		if (blocks[i].online)
			online += r->block_size;
	for (const struct claim *c = r->claims; c; c = c->next) {
		uint64_t taken = c->offlined + c->contig;

		/* Pieces of online blocks are gone as well. */
		online -= c->contig < online ? c->contig : online;
		promised += c->memory > taken ? c->memory - taken : 0;
	}
	*ret_online = online;
	limit = online > r->config->primary_memory ? online - r->config->primary_memory : 0;
	if (available < limit)
		limit = available;
	limit = limit > promised ? limit - promised : 0;
	return limit / POPCORN_MEMORY_ALIGN * POPCORN_MEMORY_ALIGN;
}

/*
 * How much of @node could be had at best: blocks that nobody has and that may go, less what other
 * claims took, or may yet take, of them. With the lock.
 */
static uint64_t free_of_node(const struct resources *r, unsigned node, const struct block *blocks,
			     size_t n_blocks)
{
	uint64_t free = 0, gone = 0;

	for (size_t i = 0; i < n_blocks; i++)
		if (blocks[i].node == node && block_rank(&blocks[i]) != ZONE_RANK_NONE)
			free += r->block_size;
	for (const struct claim *c = r->claims; c; c = c->next) {
		const struct claim_node *part;

		if (node >= c->n_by_node)
			continue;
		part = &c->by_node[node];
		/* What is offline is not counted as free any more. */
		gone += part->want > part->offlined ? part->want - part->offlined : part->contig;
	}
	return free > gone ? free - gone : 0;
}

static int check_node_memory(struct resources *r, const struct kernel_def *def,
			     const struct block *blocks, size_t n_blocks,
			     struct popcorn_error *error)
{
	_cleanup_bitmap_ hwloc_bitmap_t nodes = hwloc_bitmap_alloc();

	if (!nodes)
		return no_memory(error);
	for (size_t i = 0; i < n_blocks; i++)
		if (hwloc_bitmap_set(nodes, blocks[i].node) < 0)
			return no_memory(error);
	for (size_t i = 0; i < def->n_memory_nodes; i++) {
		unsigned node = def->memory_nodes[i].node;
		uint64_t limit, bytes = def->memory_nodes[i].bytes;

		if (!hwloc_bitmap_isset(nodes, node))
			return popcorn_error_set(
				error, POPCORN_ERROR_NO_FREE_MEMORY,
				"%s of the memory of node %u were asked for; nodes %s have memory",
				SIZE_TEXT(bytes), node, LIST_TEXT(nodes));
		limit = free_of_node(r, node, blocks, n_blocks);
		if (bytes > limit)
			return popcorn_error_set(
				error, POPCORN_ERROR_NO_FREE_MEMORY,
				"%s of the memory of node %u were asked for; the node can give %s "
				"at best, in memory blocks of %s that are online and nobody "
				"else's; ask for less of it, or stop a kernel",
				SIZE_TEXT(bytes), node, SIZE_TEXT(limit), SIZE_TEXT(r->block_size));
	}
	return 0;
}

static int check_memory(struct resources *r, const struct kernel_def *def,
			const struct block *blocks, size_t n_blocks, struct popcorn_error *error)
{
	uint64_t online, limit;

	if (!memory_is_valid(def->memory))
		return popcorn_error_set(
			error, POPCORN_ERROR_MEMORY_INVALID,
			"%" PRIu64
			" bytes of memory were asked for, which is not a multiple of 2 MiB, "
			"or is zero; give for example 512M",
			def->memory);
	limit = free_memory(r, blocks, n_blocks, &online);
	if (def->memory > limit)
		return popcorn_error_set(
			error, POPCORN_ERROR_NO_FREE_MEMORY,
			"%s of memory were asked for; the primary has %s online, keeps at least %s "
			"(primary.memory) and could give up to %s of what it does not use; ask for "
			"less, or stop a kernel or programs",
			SIZE_TEXT(def->memory), SIZE_TEXT(online),
			SIZE_TEXT(r->config->primary_memory), SIZE_TEXT(limit));
	return check_node_memory(r, def, blocks, n_blocks, error);
}

/* Room to count in, and the wishes. Only of nodes that there are: check_node_memory(). */
static int make_by_node(struct claim *claim, const struct kernel_def *def,
			const struct block *blocks, size_t n_blocks)
{
	unsigned max = 0;

	for (size_t i = 0; i < n_blocks; i++)
		if (blocks[i].node > max)
			max = blocks[i].node;
	claim->by_node = calloc(max + 1, sizeof(*claim->by_node));
	if (!claim->by_node)
		return -ENOMEM;
	claim->n_by_node = max + 1;
	claim->is_by_node = def->memory_nodes;
	for (size_t i = 0; i < def->n_memory_nodes; i++)
		claim->by_node[def->memory_nodes[i].node].want = def->memory_nodes[i].bytes;
	return 0;
}

int resources_claim(struct resources *resources, const char *name, const struct kernel_def *def,
		    struct claim **ret, struct popcorn_error *error)
{
	_cleanup_(claim_freep) struct claim *claim = NULL;
	_cleanup_bitmap_ hwloc_bitmap_t cpus = NULL;
	_cleanup_free_ struct block *blocks = NULL;
	size_t n_blocks, n = 0;
	int k;

	k = kernel_name_check(name, error);
	if (k < 0)
		return k;
	claim = calloc(1, sizeof(*claim));
	if (!claim)
		return no_memory(error);
	strcpy(claim->name, name);
	claim->memory = def->memory;

	LOCK(resources);
	for (const struct claim *c = resources->claims; c; c = c->next)
		if (strcmp(c->name, name) == 0)
			return popcorn_error_set(error, POPCORN_ERROR_NAME_TAKEN,
						 "a kernel named '%s' exists; choose another name, "
						 "or stop and release "
						 "it",
						 name);
	k = blocks_read(resources->root, &blocks, &n_blocks);
	if (k < 0)
		return popcorn_error_set_errno(error, k, "can't read which memory there is");
	k = choose_cpus(resources, def, blocks, n_blocks, &cpus, error);
	if (k < 0)
		return k;
	k = check_memory(resources, def, blocks, n_blocks, error);
	if (k < 0)
		return k;

	claim->n_cpus = (size_t)hwloc_bitmap_weight(cpus);
	claim->cpus = calloc(claim->n_cpus, sizeof(*claim->cpus));
	claim->cpu_nodes = calloc(claim->n_cpus, sizeof(*claim->cpu_nodes));
	if (!claim->cpus || !claim->cpu_nodes || make_by_node(claim, def, blocks, n_blocks) < 0 ||
	    hwloc_bitmap_or(resources->busy_cpus, resources->busy_cpus, cpus) < 0)
		return no_memory(error);
	for (int cpu = hwloc_bitmap_first(cpus); cpu >= 0; cpu = hwloc_bitmap_next(cpus, cpu)) {
		claim->cpus[n] = (uint32_t)cpu;
		claim->cpu_nodes[n++] = topology_node(resources->topology, (unsigned)cpu);
	}
	add_claim(resources, claim);
	*ret = steal_ptr(claim);
	return 0;
}

unsigned resources_free_cpus(struct resources *resources)
{
	_cleanup_bitmap_ hwloc_bitmap_t present = NULL, online = NULL, free = NULL;
	LOCK(resources);

	if (read_cpus(resources, &present, &online, NULL) < 0 ||
	    free_cpus(resources, online, &free) < 0)
		return 0;
	return (unsigned)hwloc_bitmap_weight(free);
}

uint64_t resources_free_memory(struct resources *resources)
{
	_cleanup_free_ struct block *blocks = NULL;
	size_t n_blocks;
	uint64_t online;
	LOCK(resources);

	if (blocks_read(resources->root, &blocks, &n_blocks) < 0)
		return 0;
	return free_memory(resources, blocks, n_blocks, &online);
}

/* Leases. */

int claim_write_lease(struct claim *claim)
{
	const struct lease lease = {
		.memory = claim->memory,
		.blocks = claim->blocks,
		.n_blocks = claim->n_blocks,
	};
	_cleanup_bitmap_ hwloc_bitmap_t set = hwloc_bitmap_alloc();
	_cleanup_free_ char *text = NULL, *nodes_text = NULL;
	_cleanup_free_ struct node_memory *nodes = NULL;
	size_t n_nodes = 0;

	if (!set)
		return -ENOMEM;
	if (claim->is_by_node) {
		nodes = calloc(claim->n_by_node, sizeof(*nodes));
		if (!nodes)
			return -ENOMEM;
		for (size_t i = 0; i < claim->n_by_node; i++)
			if (claim->by_node[i].want)
				nodes[n_nodes++] =
					(struct node_memory){ (unsigned)i, claim->by_node[i].want };
		if (memory_nodes_to_text(nodes, n_nodes, &nodes_text) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < claim->n_cpus; i++)
		if (hwloc_bitmap_set(set, claim->cpus[i]) < 0)
			return -ENOMEM;
	if (hwloc_bitmap_list_asprintf(&text, set) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	claim->leased = true;
	return lease_write(claim->resources->leases, claim->name, &lease, text, nodes_text);
}

void claim_forget_block(struct claim *claim, size_t i)
{
	struct resources *r = claim->resources;
	LOCK(r);

	hwloc_bitmap_clr(r->busy_blocks, (unsigned)claim->blocks[i].index);
	claim->n_blocks--;
	memmove(&claim->blocks[i], &claim->blocks[i + 1],
		(claim->n_blocks - i) * sizeof(*claim->blocks));
}

bool is_block_busy(struct resources *r, uint64_t block)
{
	LOCK(r);

	return hwloc_bitmap_isset(r->busy_blocks, (unsigned)block);
}

/* Giving back. */

int resources_give_back(struct resources *resources, struct claim *claim,
			struct popcorn_error *error)
{
	_cleanup_bitmap_ hwloc_bitmap_t failed = hwloc_bitmap_alloc();
	int k, first = 0;

	if (!failed)
		return no_memory(error);
	/* The driver has released the kernel: CPUs and CONTIG memory are back. */
	claim->given = false;
	{
		LOCK(resources);

		claim->contig = 0;
		for (size_t i = 0; i < claim->n_by_node; i++)
			claim->by_node[i].contig = 0;
	}
	for (size_t i = claim->n_blocks; i-- > 0;) {
		const unsigned node = claim->blocks[i].node;

		k = block_online(resources->root, &claim->blocks[i]);
		if (k < 0 && k != -ENOENT) { /* a block that was unplugged needs nothing */
			hwloc_bitmap_set(failed, (unsigned)claim->blocks[i].index);
			first = first ? first : k;
			continue;
		}
		claim_forget_block(claim, i);
		LOCK(resources);
		/* One that was only about to be taken was not counted. */
		if (claim->offlined >= resources->block_size)
			claim_count(claim, node, -(int64_t)resources->block_size, 0);
	}
	if (first) {
		/* What is left is what a later try has to do. */
		k = claim_write_lease(claim);
		if (k < 0)
			return popcorn_error_set_errno(error, k, "can't write the lease of '%s'",
						       claim->name);
		return popcorn_error_set_errno(error, first,
					       "memory blocks %s of '%s' did not come back online; "
					       "they stay in its lease, "
					       "and 'popcornctl release' tries again",
					       LIST_TEXT(failed), claim->name);
	}
	k = lease_remove(resources->leases, claim->name);
	if (k < 0)
		return popcorn_error_set_errno(error, k, "can't remove the lease of '%s' in %s",
					       claim->name, resources->leases);
	claim->leased = false;
	{
		LOCK(resources);

		/* It wants nothing any more: it must not count as promised. */
		claim->memory = 0;
		for (size_t i = 0; i < claim->n_by_node; i++)
			claim->by_node[i] = (struct claim_node){ 0 };
	}
	return 0;
}

/* Recovery. */

/* A kernel's blocks, if nobody wrote down which: those that its ranges are made of. */
static int guess_blocks(struct resources *r, struct claim *claim,
			const struct popcorn_range *ranges, size_t n)
{
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		if (ranges[i].kind == POPCORN_MEMORY_OFFLINE)
			total += ranges[i].length / r->block_size;
	claim->blocks = calloc(total + 1, sizeof(*claim->blocks));
	if (!claim->blocks)
		return -ENOMEM;
	claim->blocks_room = total + 1;
	for (size_t i = 0; i < n; i++) {
		if (ranges[i].kind != POPCORN_MEMORY_OFFLINE)
			continue;
		for (uint64_t at = 0; at + r->block_size <= ranges[i].length; at += r->block_size)
			claim->blocks[claim->n_blocks++] = (struct block){
				.index = (ranges[i].start + at) / r->block_size,
				.node = ranges[i].node,
			};
	}
	return 0;
}

static void statusp(struct popcorn_status *status)
{
	driver_status_done(status);
}

static int recover_kernel(struct resources *r, const struct popcorn_status *status,
			  struct claim **ret, struct popcorn_error *error)
{
	const struct popcorn_range *ranges = (const void *)(uintptr_t)status->ranges;
	const uint32_t *cpus = (const void *)(uintptr_t)status->cpus;
	_cleanup_(claim_freep) struct claim *claim = calloc(1, sizeof(*claim));
	struct lease lease;
	uint32_t max = 0;
	int k;

	if (!claim)
		return no_memory(error);
	memcpy(claim->name, status->name, sizeof(claim->name));
	claim->given = true;
	claim->n_cpus = status->nr_cpus;
	claim->cpus = calloc(status->nr_cpus + 1, sizeof(*claim->cpus));
	claim->cpu_nodes = calloc(status->nr_cpus + 1, sizeof(*claim->cpu_nodes));
	if (!claim->cpus || !claim->cpu_nodes)
		return no_memory(error);
	if (status->nr_cpus)
		memcpy(claim->cpus, cpus, status->nr_cpus * sizeof(*cpus));
	for (uint32_t i = 0; i < status->nr_ranges; i++)
		if (ranges[i].node > max && ranges[i].node < NODES_MAX)
			max = ranges[i].node;
	claim->by_node = calloc((size_t)max + 1, sizeof(*claim->by_node));
	if (!claim->by_node)
		return no_memory(error);
	claim->n_by_node = (size_t)max + 1;
	for (uint32_t i = 0; i < status->nr_ranges; i++) {
		const int64_t length = (int64_t)ranges[i].length;
		const bool contig = ranges[i].kind == POPCORN_MEMORY_CONTIG;

		claim->memory += ranges[i].length;
		claim_count(claim, ranges[i].node, contig ? 0 : length, contig ? length : 0);
	}

	k = lease_read(r->leases, claim->name, &lease, NULL);
	if (k == 0) {
		claim->blocks = lease.blocks;
		claim->n_blocks = claim->blocks_room = lease.n_blocks;
		claim->leased = true;
	} else {
		/* Nothing better is known; the zones are then left to the kernel. */
		k = guess_blocks(r, claim, ranges, status->nr_ranges);
	}
	if (k < 0)
		return no_memory(error);
	{
		LOCK(r);

		for (size_t i = 0; i < claim->n_cpus; i++)
			if (hwloc_bitmap_set(r->busy_cpus, claim->cpus[i]) < 0)
				return no_memory(error);
		for (size_t i = 0; i < claim->n_cpus; i++)
			claim->cpu_nodes[i] = topology_node(r->topology, claim->cpus[i]);
		for (size_t i = 0; i < claim->n_blocks; i++)
			if (hwloc_bitmap_set(r->busy_blocks, (unsigned)claim->blocks[i].index) < 0)
				return no_memory(error);
		add_claim(r, claim);
	}
	*ret = steal_ptr(claim);
	return 0;
}

/* A lease whose kernel the driver does not have (any more). */
static int recover_lease(struct resources *r, const char *name, struct popcorn_error *error)
{
	_cleanup_(lease_done) struct lease lease = { 0 };
	_cleanup_bitmap_ hwloc_bitmap_t failed = hwloc_bitmap_alloc();
	int k, first = 0;

	if (!failed)
		return no_memory(error);
	k = lease_read(r->leases, name, &lease, error);
	if (k < 0)
		return k == -ENOENT ? 0 : k;
	for (size_t i = 0; i < lease.n_blocks; i++) {
		if (is_block_busy(
			    r,
			    lease.blocks[i].index)) /* by now it belongs to a kernel that lives */
			continue;
		k = block_online(r->root, &lease.blocks[i]);
		if (k < 0 && k != -ENOENT) {
			hwloc_bitmap_set(failed, (unsigned)lease.blocks[i].index);
			first = first ? first : k;
		}
	}
	if (first)
		return popcorn_error_set_errno(error, first,
					       "memory blocks %s, which '%s' had, did not come "
					       "back online; its lease stays",
					       LIST_TEXT(failed), name);
	k = lease_remove(r->leases, name);
	if (k < 0)
		return popcorn_error_set_errno(error, k, "can't remove the lease of '%s' in %s",
					       name, r->leases);
	return 0;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int recover_leases(struct resources *r, struct popcorn_error *error)
{
	_cleanup_(closedirp) DIR *dir = opendir(r->leases);
	struct dirent *entry;
	int first = 0;

	if (!dir)
		return popcorn_error_set_errno(error, errno, "can't read the leases in %s",
					       r->leases);
	while ((errno = 0, entry = readdir(dir))) {
		bool known = false;
		int k = 0;

		if (kernel_name_check(entry->d_name, NULL) < 0) {
			/* One that was being written when popcornd died. */
			if (entry->d_name[0] == '.' &&
			    kernel_name_check(entry->d_name + 1, NULL) == 0)
				k = lease_remove(r->leases, entry->d_name);
		} else {
			{
				LOCK(r);

				for (const struct claim *c = r->claims; c && !known; c = c->next)
					known = strcmp(c->name, entry->d_name) == 0;
			}
			if (!known)
				k = recover_lease(r, entry->d_name, error);
		}
		first = first ? first : k;
	}
	return first;
}

int resources_recover(struct resources *resources,
		      void (*found)(void *userdata, const char *name, uint32_t id,
				    struct claim *claim),
		      void *userdata, struct popcorn_error *error)
{
	struct driver *driver = resources->driver;
	_cleanup_free_ uint32_t *ids = NULL;
	size_t n;
	int k;

	k = driver->ops->list(driver, &ids, &n);
	if (k < 0)
		return popcorn_error_set_errno(error, k,
					       "the driver does not say which kernels it has");
	for (size_t i = 0; i < n; i++) {
		_cleanup_(statusp) struct popcorn_status status = { 0 };
		_cleanup_close_ int fd = -1;
		struct claim *claim = NULL;

		k = driver->ops->open(driver, ids[i], &fd);
		if (k == 0)
			k = driver->ops->status(driver, fd, &status);
		if (k == -ENOENT || k == -ENODEV) /* released just now */
			continue;
		if (k < 0)
			return popcorn_error_set_errno(
				error, k, "the driver does not say how kernel %" PRIu32 " is",
				ids[i]);
		k = recover_kernel(resources, &status, &claim, error);
		if (k < 0)
			return k;
		found(userdata, status.name, status.id, claim);
	}
	return recover_leases(resources, error);
}

/* For the image. */

static int compare_unsigned(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return x < y ? -1 : x > y;
}

int claim_partition(struct claim *claim, int kernel_fd, struct image_partition *ret,
		    struct popcorn_error *error)
{
	struct resources *r = claim->resources;
	_cleanup_(statusp) struct popcorn_status status = { 0 };
	_cleanup_free_ struct image_cpu *image_cpus = NULL;
	_cleanup_free_ struct image_range *image_ranges = NULL;
	_cleanup_free_ unsigned *nodes = NULL;
	_cleanup_free_ uint8_t *distances = NULL;
	const struct popcorn_range *ranges;
	const uint32_t *cpus, *apicids;
	struct popcorn_info info;
	size_t n_nodes = 0, kept = 0;
	int k;

	k = r->driver->ops->info(r->driver, &info);
	if (k == 0)
		k = r->driver->ops->status(r->driver, kernel_fd, &status);
	if (k < 0)
		return popcorn_error_set_errno(error, k, "the driver does not say what '%s' has",
					       claim->name);
	cpus = (const void *)(uintptr_t)status.cpus;
	apicids = (const void *)(uintptr_t)status.apicids;
	ranges = (const void *)(uintptr_t)status.ranges;
	if (status.nr_cpus != claim->n_cpus || status.nr_ranges == 0 ||
	    memcmp(cpus, claim->cpus, claim->n_cpus * sizeof(*cpus)) != 0)
		return popcorn_error_set(error, POPCORN_ERROR_FAILED,
					 "the driver does not have for '%s' what was given to it",
					 claim->name);

	image_cpus = calloc(claim->n_cpus, sizeof(*image_cpus));
	image_ranges = calloc(status.nr_ranges, sizeof(*image_ranges));
	nodes = calloc(claim->n_cpus + status.nr_ranges, sizeof(*nodes));
	if (!image_cpus || !image_ranges || !nodes)
		return no_memory(error);
	for (size_t i = 0; i < claim->n_cpus; i++) {
		image_cpus[i] = (struct image_cpu){ apicids[i], claim->cpu_nodes[i] };
		nodes[n_nodes++] = claim->cpu_nodes[i];
	}
	for (uint32_t i = 0; i < status.nr_ranges; i++) {
		image_ranges[i] =
			(struct image_range){ ranges[i].start, ranges[i].length, ranges[i].node };
		nodes[n_nodes++] = ranges[i].node;
	}
	qsort(nodes, n_nodes, sizeof(*nodes), compare_unsigned);
	for (size_t i = 0; i < n_nodes; i++)
		if (i == 0 || nodes[i] != nodes[kept - 1])
			nodes[kept++] = nodes[i];
	n_nodes = kept;
	distances = calloc(n_nodes, n_nodes);
	if (!distances)
		return no_memory(error);
	{
		LOCK(r);

		for (size_t i = 0; i < n_nodes; i++)
			for (size_t j = 0; j < n_nodes; j++)
				distances[i * n_nodes + j] =
					topology_distance(r->topology, nodes[i], nodes[j]);
	}

	free(claim->image_cpus);
	free(claim->image_ranges);
	free(claim->nodes);
	free(claim->distances);
	claim->image_cpus = steal_ptr(image_cpus);
	claim->image_ranges = steal_ptr(image_ranges);
	claim->nodes = steal_ptr(nodes);
	claim->distances = steal_ptr(distances);
	*ret = (struct image_partition){
		.id = status.id,
		.generation = status.generation,
		.cpus = claim->image_cpus,
		.n_cpus = claim->n_cpus,
		.ranges = claim->image_ranges,
		.n_ranges = status.nr_ranges,
		.low_start = status.low_start,
		.low_length = status.low_length,
		.primary_boot_apicid = info.boot_apicid,
		.tsc_khz = info.tsc_khz,
		.pm_timer = r->pm_timer,
		.distances = claim->distances,
		.nodes = claim->nodes,
		.n_nodes = n_nodes,
	};
	return 0;
}
