// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "lease.h"
#include "memory.h"
#include "resources.h"
#include "sysfs.h"
#include "topology.h"
#include "util.h"

#define CPU_DIR "/sys/devices/system/cpu"

/*
 * How long one block may take to go offline. The first time short, because another block is
 * likely to go at once; a block full of used pages needs some time to be copied elsewhere.
 */
static const uint64_t offline_limits[] = { 3 * USEC_PER_SEC, 10 * USEC_PER_SEC };
/* All of resources_take() gives up after this, whatever it was doing. */
#define TAKE_LIMIT	   (120 * USEC_PER_SEC)
/* A block of 128 MiB with fewer pages of unknown use than this is likely to go offline. */
#define UNKNOWN_PAGES_FEW  64
/* Places tried for memory that is not whole blocks; each try takes some 0.2 s. */
#define CONTIG_TRIES	   64
/* Pieces smaller than this are not worth a range, unless no more was asked for. */
#define CONTIG_PIECE_MIN   (16 * MIB)
/* Blocks that may be taken beyond what was asked for, to find a longer piece among them. */
#define SPARE_BLOCKS_MAX   8

struct resources {
	const struct config *config;
	struct driver *driver;
	char *root;		/* of /sys and /proc: "" but for tests */
	char *leases;
	uint64_t block_size;

	pthread_mutex_t lock;	/* for all that follows */
	struct topology *topology;
	struct claim *claims;
	hwloc_bitmap_t busy_cpus;
	hwloc_bitmap_t busy_blocks;
};

struct claim {
	struct resources *resources;
	struct claim *next;	/* resources->lock */
	char name[POPCORN_NAME_MAX];
	uint64_t memory;
	uint64_t need, wish;	/* how long the first range must and should be */
	uint32_t *cpus;
	unsigned *cpu_nodes;
	size_t n_cpus;
	uint64_t offlined, contig; /* bytes that are taken; written under resources->lock */
	struct block *blocks;	/* as in the lease */
	size_t n_blocks, blocks_room;
	bool leased;		/* there may be a lease file */
	bool given;		/* the driver has got something */

	/* What claim_partition() hands out. */
	struct image_cpu *image_cpus;
	struct image_range *image_ranges;
	unsigned *nodes;
	uint8_t *distances;
};

static void unlockp(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

#define LOCK(r)                                                                 \
	_cleanup_(unlockp) pthread_mutex_t *locked_ = (pthread_mutex_lock(&(r)->lock), &(r)->lock); \
	(void)locked_

static void bitmap_freep(hwloc_bitmap_t *set)
{
	hwloc_bitmap_free(*set);
}

#define _cleanup_bitmap_ _cleanup_(bitmap_freep)

static int no_memory(struct popcorn_error *error)
{
	return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
}

/* "2-3,7" or "2-3,7 …", for texts. */
#define LIST_TEXT_MAX 160
static const char *list_text(hwloc_const_bitmap_t set, char buf[LIST_TEXT_MAX])
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

#define LIST_TEXT(set) list_text((set), (char[LIST_TEXT_MAX]){ 0 })

/* Making and freeing. */

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
	if (asprintf(&r->leases, "%s/leases", run) < 0)
		r->leases = NULL;
	r->busy_cpus = hwloc_bitmap_alloc();
	r->busy_blocks = hwloc_bitmap_alloc();
	if (!r->root || !r->leases || !r->busy_cpus || !r->busy_blocks)
		return no_memory(error);

	k = make_folders(r->leases, 0755);
	if (k < 0)
		return popcorn_error_set_errno(error, k, "can't make the folder %s", r->leases);
	k = block_size_read(r->root, &r->block_size);
	if (k < 0)
		return popcorn_error_set_errno(error, k,
			"%s/sys/devices/system/memory does not tell the size of memory blocks; a "
			"primary needs a kernel with memory hot-remove, which the distributions' have",
			r->root);
	k = topology_load(r->root, &r->topology);
	if (k < 0)
		return popcorn_error_set_errno(error, k, "the machine's topology can't be read");
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
	uint64_t rounded = (bytes + POPCORN_MEMORY_ALIGN - 1) / POPCORN_MEMORY_ALIGN *
			   POPCORN_MEMORY_ALIGN;

	return rounded < claim->memory ? rounded : claim->memory;
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
			"CPU %u was asked for; the machine has CPUs %s", cpu, LIST_TEXT(present));
	if (cpu == 0)
		return popcorn_error_set(error, POPCORN_ERROR_CPU_BOOT,
			"CPU 0 was asked for; it booted the machine and stays with the primary; ask "
			"for another one");
	if (hwloc_bitmap_isset(r->busy_cpus, cpu))
		return popcorn_error_set(error, POPCORN_ERROR_CPU_LENT,
			"CPU %u was asked for; kernel '%s' has it; ask for another one, or stop that "
			"kernel", cpu, cpu_owner(r, cpu));
	if (hwloc_bitmap_isset(r->config->primary_cpus, cpu))
		return popcorn_error_set(error, POPCORN_ERROR_CPU_KEPT,
			"CPU %u was asked for; popcornd.conf keeps CPUs %s for the primary "
			"(primary.cpus)", cpu, LIST_TEXT(r->config->primary_cpus));
	if (!hwloc_bitmap_isset(online, cpu))
		return popcorn_error_set(error, POPCORN_ERROR_CPU_OFFLINE,
			"CPU %u was asked for; it is offline; 'echo 1 > " CPU_DIR "/cpu%u/online' "
			"brings it online", cpu, cpu);
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

static int choose_cpus(struct resources *r, const struct kernel_def *def, const struct block *blocks,
		       size_t n_blocks, hwloc_bitmap_t *ret, struct popcorn_error *error)
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

		k = topology_load(r->root, &fresh);
		if (k < 0)
			return popcorn_error_set_errno(error, k, "the machine's topology can't be read");
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
			"a kernel has 1 to %d CPUs, not %u", POPCORN_CPUS_MAX, def->cpu_count);
	if (free_cpus(r, online, &free) < 0 ||
	    sum_nodes(r, blocks, n_blocks, &node_memory, &n_nodes) < 0)
		return no_memory(error);
	k = topology_choose(r->topology, free, def->cpu_count, node_memory, n_nodes, def->memory, ret);
	if (k == -ENOSPC)
		return popcorn_error_set(error, POPCORN_ERROR_NO_FREE_CPUS,
			"%u CPUs were asked for; of the machine's %d, %d are online, %d lent, and CPUs "
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

static int check_memory(struct resources *r, const struct kernel_def *def, const struct block *blocks,
			size_t n_blocks, struct popcorn_error *error)
{
	uint64_t online, limit;

	if (def->memory == 0 || def->memory % POPCORN_MEMORY_ALIGN)
		return popcorn_error_set(error, POPCORN_ERROR_MEMORY_INVALID,
			"%" PRIu64 " bytes of memory were asked for, which is not a multiple of 2 MiB, "
			"or is zero; give for example 512M", def->memory);
	limit = free_memory(r, blocks, n_blocks, &online);
	if (def->memory > limit)
		return popcorn_error_set(error, POPCORN_ERROR_NO_FREE_MEMORY,
			"%s of memory were asked for; the primary has %s online, keeps at least %s "
			"(primary.memory) and could give up to %s of what it does not use; ask for "
			"less, or stop a kernel or programs", SIZE_TEXT(def->memory),
			SIZE_TEXT(online), SIZE_TEXT(r->config->primary_memory), SIZE_TEXT(limit));
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
				"a kernel named '%s' exists; choose another name, or stop and release "
				"it", name);
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
	if (!claim->cpus || !claim->cpu_nodes || hwloc_bitmap_or(resources->busy_cpus,
								 resources->busy_cpus, cpus) < 0)
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

static int write_lease(struct claim *claim)
{
	const struct lease lease = {
		.memory = claim->memory,
		.blocks = claim->blocks,
		.n_blocks = claim->n_blocks,
	};
	_cleanup_bitmap_ hwloc_bitmap_t set = hwloc_bitmap_alloc();
	_cleanup_free_ char *text = NULL;

	if (!set)
		return -ENOMEM;
	for (size_t i = 0; i < claim->n_cpus; i++)
		if (hwloc_bitmap_set(set, claim->cpus[i]) < 0)
			return -ENOMEM;
	if (hwloc_bitmap_list_asprintf(&text, set) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	claim->leased = true;
	return lease_write(claim->resources->leases, claim->name, &lease, text);
}

/* Taking. */

/* A piece of memory that lies together. */
struct run {
	uint64_t start, length;
	unsigned node;
};

struct take {
	struct resources *resources;
	struct claim *claim;
	int fd;
	const struct operation *operation;
	struct popcorn_error *error;
	uint64_t deadline;
	int page_map;
	struct block *candidates; /* best first */
	size_t n_candidates;
	unsigned *nodes;	  /* nearest first */
	size_t n_nodes;
	hwloc_bitmap_t refused;	  /* blocks that would not go */
	hwloc_bitmap_t never;	  /* blocks that never will */
	unsigned contig_tries;
	bool drop_caches;
};

static void take_done(struct take *take)
{
	if (take->page_map >= 0)
		close(take->page_map);
	free(take->candidates);
	free(take->nodes);
	hwloc_bitmap_free(take->refused);
	hwloc_bitmap_free(take->never);
}

static bool is_cancelled(const struct operation *operation)
{
	struct pollfd fd = { operation->cancel_fd, POLLIN, 0 };

	return poll(&fd, 1, 0) > 0;
}

/* Between any two steps. */
static int may_go_on(const struct take *take)
{
	if (is_cancelled(take->operation))
		return popcorn_error_set(take->error, POPCORN_ERROR_CANCELLED, NULL);
	if (now_usec() >= take->deadline)
		return popcorn_error_set(take->error, POPCORN_ERROR_MEMORY_BUSY,
			"%s of memory were asked for; after %u seconds the primary had let go of %s; "
			"ask for less, or stop programs", SIZE_TEXT(take->claim->memory),
			(unsigned)(TAKE_LIMIT / USEC_PER_SEC),
			SIZE_TEXT(take->claim->offlined + take->claim->contig));
	return 0;
}

static void report(const struct take *take)
{
	const struct claim *claim = take->claim;
	double part = (double)(claim->offlined + claim->contig) / (double)claim->memory;

	if (take->operation->progress)
		take->operation->progress(take->operation->userdata, "reserve",
					  PROGRESS_RESERVE * (part < 1 ? part : 1));
}

static size_t node_place(const struct take *take, unsigned node)
{
	for (size_t i = 0; i < take->n_nodes; i++)
		if (take->nodes[i] == node)
			return i;
	return take->n_nodes;
}

static int compare_candidates(const void *a, const void *b, void *userdata)
{
	const struct block *x = a, *y = b;
	const struct take *take = userdata;
	size_t place_x = node_place(take, x->node), place_y = node_place(take, y->node);
	enum zone_rank rank_x = block_rank(x), rank_y = block_rank(y);

	if (place_x != place_y)
		return place_x < place_y ? -1 : 1;
	if (rank_x != rank_y)
		return rank_x < rank_y ? -1 : 1;
	/* High addresses first: what the primary allocated early lies low. */
	return x->index > y->index ? -1 : x->index < y->index;
}

/* Nodes of the CPUs first, those with most CPUs at the front; then the others by distance. */
struct node_order {
	unsigned node, cpus;
	uint8_t distance;
};

static int compare_nodes(const void *a, const void *b)
{
	const struct node_order *x = a, *y = b;

	if (x->cpus != y->cpus)
		return x->cpus > y->cpus ? -1 : 1;
	if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

static int order_nodes(struct take *take, const struct block *blocks, size_t n)
{
	const struct claim *claim = take->claim;
	_cleanup_free_ struct node_order *order = NULL;
	unsigned max = 0;

	for (size_t i = 0; i < n; i++)
		if (blocks[i].node > max)
			max = blocks[i].node;
	for (size_t i = 0; i < claim->n_cpus; i++)
		if (claim->cpu_nodes[i] > max)
			max = claim->cpu_nodes[i];
	order = calloc(max + 1, sizeof(*order));
	take->nodes = calloc(max + 1, sizeof(*take->nodes));
	if (!order || !take->nodes)
		return -ENOMEM;
	for (unsigned node = 0; node <= max; node++) {
		order[node].node = node;
		order[node].distance = topology_distance(take->resources->topology,
							 claim->cpu_nodes[0], node);
	}
	for (size_t i = 0; i < claim->n_cpus; i++)
		order[claim->cpu_nodes[i]].cpus++;
	qsort(order, max + 1, sizeof(*order), compare_nodes);
	for (unsigned i = 0; i <= max; i++)
		take->nodes[i] = order[i].node;
	take->n_nodes = max + 1;
	return 0;
}

/* The blocks that may be tried, best first. Done again where others may have changed them. */
static int find_candidates(struct take *take)
{
	struct resources *r = take->resources;
	_cleanup_free_ struct block *blocks = NULL;
	size_t n, kept = 0;
	int k;

	k = blocks_read(r->root, &blocks, &n);
	if (k < 0)
		return popcorn_error_set_errno(take->error, k, "can't read which memory there is");
	LOCK(r);
	if (!take->nodes && order_nodes(take, blocks, n) < 0)
		return no_memory(take->error);
	for (size_t i = 0; i < n; i++)
		if (block_rank(&blocks[i]) != ZONE_RANK_NONE &&
		    !hwloc_bitmap_isset(r->busy_blocks, (unsigned)blocks[i].index))
			blocks[kept++] = blocks[i];
	if (kept)
		qsort_r(blocks, kept, sizeof(*blocks), compare_candidates, take);
	free(take->candidates);
	take->candidates = steal_ptr(blocks);
	take->n_candidates = kept;
	return 0;
}

/* Puts @block into the claim and the lease: before it goes offline. */
static int note_block(struct take *take, const struct block *block)
{
	struct resources *r = take->resources;
	struct claim *claim = take->claim;
	int k;

	if (claim->n_blocks == claim->blocks_room) {
		size_t room = claim->blocks_room ? 2 * claim->blocks_room : 16;
		struct block *more = realloc(claim->blocks, room * sizeof(*more));

		if (!more)
			return no_memory(take->error);
		claim->blocks = more;
		claim->blocks_room = room;
	}
	{
		LOCK(r);

		if (hwloc_bitmap_isset(r->busy_blocks, (unsigned)block->index))
			return -EBUSY; /* another boot was faster */
		if (hwloc_bitmap_set(r->busy_blocks, (unsigned)block->index) < 0)
			return no_memory(take->error);
	}
	claim->blocks[claim->n_blocks++] = *block;
	k = write_lease(claim);
	if (k < 0)
		popcorn_error_set_errno(take->error, k, "can't write the lease of '%s' in %s",
					claim->name, r->leases);
	return k;
}

static void forget_block(struct claim *claim, size_t i)
{
	struct resources *r = claim->resources;
	LOCK(r);

	hwloc_bitmap_clr(r->busy_blocks, (unsigned)claim->blocks[i].index);
	claim->n_blocks--;
	memmove(&claim->blocks[i], &claim->blocks[i + 1],
		(claim->n_blocks - i) * sizeof(*claim->blocks));
}

/* 0 = taken, 1 = it would not go, negative = give up. */
static int take_block(struct take *take, const struct block *block, uint64_t limit_usec)
{
	struct resources *r = take->resources;
	struct claim *claim = take->claim;
	uint64_t deadline = now_usec() + limit_usec;
	int k;

	k = note_block(take, block);
	if (k == -EBUSY)
		return 1;
	if (k < 0) {
		if (claim->n_blocks && claim->blocks[claim->n_blocks - 1].index == block->index)
			forget_block(claim, claim->n_blocks - 1);
		return k;
	}
	k = block_offline(r->root, block->index, deadline < take->deadline ? deadline : take->deadline,
			  take->operation->cancel_fd);
	if (k == 0) {
		LOCK(r);

		claim->offlined += r->block_size;
		return 0;
	}
	/* The lease still names the block until it is written next; that does no harm, it is online. */
	forget_block(claim, claim->n_blocks - 1);
	if (k == -ECANCELED)
		return popcorn_error_set(take->error, POPCORN_ERROR_CANCELLED, NULL);
	if (hwloc_bitmap_set(take->refused, (unsigned)block->index) < 0 ||
	    (k == -EINVAL && hwloc_bitmap_set(take->never, (unsigned)block->index) < 0))
		return no_memory(take->error);
	return 1;
}

static bool is_busy(struct resources *r, uint64_t block)
{
	LOCK(r);

	return hwloc_bitmap_isset(r->busy_blocks, (unsigned)block);
}

/* Whether it is worth trying: pass 0 only what will go, pass 1 what might. */
static bool is_promising(const struct take *take, const struct block *block, size_t pass)
{
	struct page_counts counts;

	if (hwloc_bitmap_isset(take->never, (unsigned)block->index))
		return false;
	if (take->page_map < 0 ||
	    page_map_count(take->page_map, block->index * take->resources->block_size,
			   take->resources->block_size, &counts) < 0)
		return true;
	return counts.fixed == 0 && (pass > 0 || counts.unknown <= UNKNOWN_PAGES_FEW);
}

static int compare_index(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return x->index < y->index ? -1 : x->index > y->index;
}

static int compare_runs(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	if (x->length != y->length)
		return x->length > y->length ? -1 : 1;
	return x->start > y->start ? -1 : x->start < y->start;
}

/* The claim's blocks as pieces, longest first. Sorts the blocks, which have no order of their own. */
static int find_runs(struct take *take, struct run **ret, size_t *ret_n)
{
	struct claim *claim = take->claim;
	uint64_t size = take->resources->block_size;
	struct run *runs = calloc(claim->n_blocks + 1, sizeof(*runs));
	size_t n = 0;

	if (!runs)
		return no_memory(take->error);
	if (claim->n_blocks)
		qsort(claim->blocks, claim->n_blocks, sizeof(*claim->blocks), compare_index);
	for (size_t i = 0; i < claim->n_blocks; i++) {
		const struct block *block = &claim->blocks[i];

		if (n && runs[n - 1].start + runs[n - 1].length == block->index * size &&
		    runs[n - 1].node == block->node)
			runs[n - 1].length += size;
		else
			runs[n++] = (struct run){ block->index * size, size, block->node };
	}
	if (n)
		qsort(runs, n, sizeof(*runs), compare_runs);
	*ret_n = n;
	*ret = runs;
	return 0;
}

static int longest_run(struct take *take, uint64_t *ret)
{
	_cleanup_free_ struct run *runs = NULL;
	size_t n;
	int k = find_runs(take, &runs, &n);

	if (k < 0)
		return k;
	*ret = n ? runs[0].length : 0;
	return 0;
}

/*
 * Takes blocks, best first, until the claim has @want bytes of them. @node < 0 = anywhere; then it
 * goes on for a few blocks more until a piece of @first bytes is among them.
 */
static int gather(struct take *take, int node, uint64_t want, uint64_t first, size_t pass)
{
	struct claim *claim = take->claim;
	unsigned spare = 0;

	for (size_t i = 0; i < take->n_candidates; i++) {
		const struct block *block = &take->candidates[i];
		int k;

		if (claim->offlined >= want) {
			uint64_t longest;

			k = longest_run(take, &longest);
			if (k < 0)
				return k;
			if (longest >= first || spare++ >= SPARE_BLOCKS_MAX)
				return 0;
		}
		if (node >= 0 && block->node != (unsigned)node)
			continue;
		if (is_busy(take->resources, block->index)) /* ours, or another's */
			continue;
		if (!is_promising(take, block, pass))
			continue;
		k = may_go_on(take);
		if (k < 0)
			return k;
		k = take_block(take, block, offline_limits[pass]);
		if (k < 0)
			return k;
		report(take);
	}
	return 0;
}

/* Brings blocks back that are more than @want, from the shortest pieces first. */
static int trim(struct take *take, uint64_t want)
{
	struct resources *r = take->resources;
	struct claim *claim = take->claim;

	while (claim->offlined > want) {
		_cleanup_free_ struct run *runs = NULL;
		size_t n, i;
		int k = find_runs(take, &runs, &n);

		if (k < 0)
			return k;
		for (i = 0; i < claim->n_blocks; i++)
			if (claim->blocks[i].index * r->block_size == runs[n - 1].start)
				break;
		assert(i < claim->n_blocks);
		k = block_online(r->root, &claim->blocks[i]);
		if (k < 0)
			return popcorn_error_set_errno(take->error, k,
				"memory block %" PRIu64 " can't be brought online again",
				claim->blocks[i].index);
		forget_block(claim, i);
		LOCK(r);
		claim->offlined -= r->block_size;
	}
	return 0;
}

/* A node that is to give all, or nearly all, of its memory: processes' pages leave it first. */
static void leave_full_nodes(const struct take *take, uint64_t want)
{
	uint64_t missing = want - take->claim->offlined;
	unsigned node = take->nodes[0];
	uint64_t sum = 0;

	if (*take->resources->root || take->n_nodes < 2)
		return;
	for (size_t i = 0; i < take->n_candidates; i++)
		if (take->candidates[i].node == node)
			sum += take->resources->block_size;
	if (missing * 10 >= sum * 9)
		memory_leave_node(node);
}

/* Blocks as far as there are such; what is missing then is left to add_contig(). */
static int take_blocks(struct take *take, uint64_t first)
{
	struct resources *r = take->resources;
	struct claim *claim = take->claim;
	uint64_t want = claim->memory / r->block_size * r->block_size;
	uint64_t longest = 0;
	int k;

	if (want == 0)
		return 0;
	for (size_t pass = 0; pass < ARRAY_SIZE(offline_limits); pass++) {
		uint64_t share_end = 0;

		if (pass > 0) {
			leave_full_nodes(take, want);
			memory_prepare(r->root, take->drop_caches);
		}
		k = find_candidates(take);
		if (k < 0)
			return k;
		/* Each node that has CPUs of the kernel gives its share, as far as it can. */
		for (size_t i = 0; pass == 0 && i < take->n_nodes; i++) {
			uint64_t cpus = 0;

			for (size_t c = 0; c < claim->n_cpus; c++)
				cpus += claim->cpu_nodes[c] == take->nodes[i];
			if (cpus == 0)
				break;
			share_end += want / r->block_size * cpus / claim->n_cpus * r->block_size;
			k = gather(take, (int)take->nodes[i], share_end, 0, pass);
			if (k < 0)
				return k;
		}
		k = gather(take, -1, want, first < want ? first : want, pass);
		if (k < 0)
			return k;
		k = longest_run(take, &longest);
		if (k < 0)
			return k;
		if (claim->offlined >= want && longest >= (first < want ? first : want))
			break;
	}
	return trim(take, want);
}

/* The driver's answer to one range. 1 = could not be evacuated. */
static int add_memory(struct take *take, uint32_t kind, uint64_t start, uint64_t length)
{
	struct resources *r = take->resources;
	int k = r->driver->ops->add_memory(r->driver, take->fd, kind, start, length);

	switch (k) {
	case 0:
		take->claim->given = true;
		return 0;
	case -EBUSY:
		if (kind == POPCORN_MEMORY_CONTIG)
			return 1;
		return popcorn_error_set(take->error, POPCORN_ERROR_MEMORY_BUSY,
			"the driver refuses the %s of memory at %#" PRIx64 ": some of it is online, "
			"though its blocks went offline; was it brought online by hand?",
			SIZE_TEXT(length), start);
	case -EINVAL:
		if (kind == POPCORN_MEMORY_CONTIG)
			return 1; /* a hole in it */
		break;
	case -ENOMEM:
		if (kind == POPCORN_MEMORY_CONTIG)
			return 1;
		break;
	case -ENOSPC:
		return popcorn_error_set(take->error, POPCORN_ERROR_LIMIT,
			"the memory would be in more than %d pieces; ask for less", POPCORN_RANGES_MAX);
	case -EPERM:
		return popcorn_error_set(take->error, POPCORN_ERROR_NOT_AUTHORIZED,
			"the driver refuses memory to popcornd: it lacks CAP_SYS_BOOT");
	}
	return popcorn_error_set_errno(take->error, k, "the driver refuses the %s of memory at %#" PRIx64,
				       SIZE_TEXT(length), start);
}

/*
 * One piece of @length bytes inside [@start, @end), which is online. Windows from the top down;
 * one that holds a page that can't move is not tried, the next window ends below that page.
 */
static int add_contig_in(struct take *take, uint64_t start, uint64_t end, uint64_t length, bool sure)
{
	const unsigned unknown_max = sure ? 0 : UINT_MAX;

	while (end - start >= length) {
		uint64_t window = end - length, bad = 0;
		int k;

		for (uint64_t unit = end; take->page_map >= 0 && unit > window && !bad;) {
			struct page_counts counts;

			unit -= UNIT_SIZE;
			if (page_map_count(take->page_map, unit, UNIT_SIZE, &counts) < 0)
				break;
			if (counts.fixed || counts.unknown > unknown_max)
				bad = unit;
		}
		if (bad) {
			if (bad <= start)
				return 1;
			end = bad;
			continue;
		}
		if (take->contig_tries >= CONTIG_TRIES)
			return 1;
		take->contig_tries++;
		k = may_go_on(take);
		if (k < 0)
			return k;
		k = add_memory(take, POPCORN_MEMORY_CONTIG, window, length);
		if (k <= 0)
			return k;
		end = window;
	}
	return 1;
}

/* One piece anywhere. 1 = there is none. */
static int add_contig_piece(struct take *take, uint64_t length)
{
	struct resources *r = take->resources;
	uint64_t size = r->block_size;

	for (int sure = take->page_map >= 0; sure >= 0; sure--) {
		for (size_t i = 0; i < take->n_candidates;) {
			const struct block *top = &take->candidates[i];
			uint64_t start = top->index * size, end = start + size;
			int k;

			/* Candidates descend: blocks that lie together are one area. */
			for (i++; i < take->n_candidates; i++) {
				const struct block *next = &take->candidates[i];

				if (next->node != top->node || strcmp(next->zone, top->zone) != 0 ||
				    (next->index + 1) * size != start)
					break;
				start -= size;
			}
			k = add_contig_in(take, start, end, length, sure);
			if (k == 0) {
				LOCK(r);

				take->claim->contig += length;
			}
			if (k <= 0)
				return k;
		}
	}
	return 1;
}

static int no_pieces(struct take *take, uint64_t piece)
{
	const struct claim *claim = take->claim;
	uint64_t got = claim->offlined + claim->contig;
	char refused[LIST_TEXT_MAX + 64] = "";

	if (!hwloc_bitmap_iszero(take->refused))
		snprintf(refused, sizeof(refused), "; memory blocks %s would not go offline",
			 LIST_TEXT(take->refused));
	return popcorn_error_set(take->error, POPCORN_ERROR_MEMORY_BUSY,
		"%s of memory were asked for; %s were found, and no free piece of %s any more%s; ask "
		"for at most %s, or stop programs or kernels and try again", SIZE_TEXT(claim->memory),
		SIZE_TEXT(got), SIZE_TEXT(piece), refused, SIZE_TEXT(got));
}

/* @length bytes in as few pieces as can be found. */
static int add_contig(struct take *take, uint64_t length)
{
	uint64_t smallest = length < CONTIG_PIECE_MIN ? length : CONTIG_PIECE_MIN;
	uint64_t piece = length;

	while (length) {
		int k;

		if (piece > length)
			piece = length;
		k = add_contig_piece(take, piece);
		if (k < 0)
			return k;
		if (k == 0) {
			length -= piece;
			report(take);
			continue;
		}
		if (piece <= smallest || take->contig_tries >= CONTIG_TRIES)
			return no_pieces(take, piece);
		piece = piece / 2 / POPCORN_MEMORY_ALIGN * POPCORN_MEMORY_ALIGN;
		if (piece < smallest)
			piece = smallest;
	}
	return 0;
}

static int no_first_piece(struct take *take, uint64_t first, uint64_t longest)
{
	char refused[LIST_TEXT_MAX + 64] = "";

	if (!hwloc_bitmap_iszero(take->refused))
		snprintf(refused, sizeof(refused), "; memory blocks %s would not go offline",
			 LIST_TEXT(take->refused));
	if (take->n_candidates == 0 && take->claim->offlined == 0)
		return popcorn_error_set(take->error, POPCORN_ERROR_NO_FREE_MEMORY,
			"%s of memory were asked for; the primary has no memory block of which any "
			"could be taken", SIZE_TEXT(take->claim->memory));
	return popcorn_error_set(take->error, POPCORN_ERROR_MEMORY_BUSY,
		"%s of memory were asked for, of which the kernel needs %s in one piece; the longest "
		"piece that the primary lets go of has %s%s; stop programs or kernels and try again",
		SIZE_TEXT(take->claim->memory), SIZE_TEXT(first), SIZE_TEXT(longest), refused);
}

static int take_memory(struct take *take)
{
	struct resources *r = take->resources;
	struct claim *claim = take->claim;
	_cleanup_free_ struct run *runs = NULL;
	uint64_t first = claim->need ? claim->need : POPCORN_MEMORY_ALIGN;
	size_t n;
	int k;

	k = take_blocks(take, claim->wish ? claim->wish : first);
	if (k < 0)
		return k;
	/* What is going to be taken is complete: let the lease say exactly that. */
	k = write_lease(claim);
	if (k < 0)
		return popcorn_error_set_errno(take->error, k, "can't write the lease of '%s' in %s",
					       claim->name, r->leases);
	k = find_runs(take, &runs, &n);
	if (k < 0)
		return k;

	/* For CONTIG: only what is online, which the gathered blocks are not any more. */
	k = find_candidates(take);
	if (k < 0)
		return k;
	/*
	 * The first range added carries the kernel and its initrd. If no piece of blocks is long
	 * enough for them, one across blocks may be.
	 */
	if ((n == 0 || runs[0].length < first) && claim->memory - claim->offlined < first && n) {
		k = trim(take, (claim->memory - first) / r->block_size * r->block_size);
		if (k == 0)
			k = write_lease(claim);
		if (k < 0)
			return popcorn_error_set_errno(take->error, k, "memory can't be given back");
		free(runs);
		runs = NULL;
		k = find_runs(take, &runs, &n);
		if (k == 0)
			k = find_candidates(take);
		if (k < 0)
			return k;
	}
	if (n == 0 || runs[0].length < first) {
		/*
		 * Added before all others. Without blocks at best all of it; else, and if that is
		 * not to be had, what the kernel likes, then what it needs.
		 */
		uint64_t rest = claim->memory - claim->offlined;
		const uint64_t pieces[] = { n == 0 ? rest : 0, claim->wish < rest ? claim->wish : 0,
					    first };

		k = 1;
		for (size_t i = 0; i < ARRAY_SIZE(pieces) && k == 1; i++)
			if (pieces[i] >= first)
				k = add_contig_piece(take, pieces[i]);
		if (k < 0)
			return k;
		if (k == 1)
			return no_first_piece(take, first, n ? runs[0].length : 0);
	}
	for (size_t i = 0; i < n; i++) {
		k = may_go_on(take);
		if (k < 0)
			return k;
		k = add_memory(take, POPCORN_MEMORY_OFFLINE, runs[i].start, runs[i].length);
		if (k < 0)
			return k;
	}
	return add_contig(take, claim->memory - claim->offlined - claim->contig);
}

static int take_cpus(struct take *take)
{
	struct resources *r = take->resources;
	const struct claim *claim = take->claim;
	uint32_t bad = UINT32_MAX;
	char which[32] = "one of the CPUs";
	int k;

	k = may_go_on(take);
	if (k < 0)
		return k;
	/* Before the call: on doubt whether it did anything, the claim counts as holding. */
	take->claim->given = true;
	k = r->driver->ops->add_cpus(r->driver, take->fd, claim->cpus, claim->n_cpus, &bad);
	if (k == 0)
		return 0;
	if (bad != UINT32_MAX)
		snprintf(which, sizeof(which), "CPU %" PRIu32, bad);
	switch (k) {
	case -EBUSY:
		return popcorn_error_set(take->error, POPCORN_ERROR_CPU_BUSY,
			"%s was chosen for '%s', but the primary would not let go of it: something is "
			"bound to it, or it is offline by now; see 'dmesg', and ask for other CPUs",
			which, claim->name);
	case -ENOENT:
		return popcorn_error_set(take->error, POPCORN_ERROR_CPU_UNKNOWN,
			"%s was chosen for '%s', but is gone from the machine", which, claim->name);
	case -EPERM:
		return popcorn_error_set(take->error, POPCORN_ERROR_NOT_AUTHORIZED,
			"the driver refuses CPUs to popcornd: it lacks CAP_SYS_BOOT");
	}
	return popcorn_error_set_errno(take->error, k, "%s could not be taken for '%s'", which,
				       claim->name);
}

int resources_take(struct resources *resources, struct claim *claim, int kernel_fd,
		   const struct operation *operation, struct popcorn_error *error)
{
	_cleanup_(take_done) struct take take = {
		.resources = resources,
		.claim = claim,
		.fd = kernel_fd,
		.operation = operation,
		.error = error,
		.deadline = now_usec() + TAKE_LIMIT,
		.page_map = page_map_open(resources->root),
		.refused = hwloc_bitmap_alloc(),
		.never = hwloc_bitmap_alloc(),
	};
	int k;

	if (!take.refused || !take.never)
		return no_memory(error);
	{
		LOCK(resources);

		take.drop_caches = resources->config->drop_caches;
	}
	k = may_go_on(&take);
	if (k < 0)
		return k;
	report(&take);
	k = take_memory(&take);
	if (k < 0)
		return k;
	k = take_cpus(&take);
	if (k < 0)
		return k;
	report(&take);
	return 0;
}

/* Giving back. */

int resources_give_back(struct resources *resources, struct claim *claim, struct popcorn_error *error)
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
	}
	for (size_t i = claim->n_blocks; i-- > 0;) {
		k = block_online(resources->root, &claim->blocks[i]);
		if (k < 0 && k != -ENOENT) { /* a block that was unplugged needs nothing */
			hwloc_bitmap_set(failed, (unsigned)claim->blocks[i].index);
			first = first ? first : k;
			continue;
		}
		forget_block(claim, i);
		LOCK(resources);
		claim->offlined -= claim->offlined < resources->block_size ? claim->offlined :
									     resources->block_size;
	}
	if (first) {
		/* What is left is what a later try has to do. */
		k = write_lease(claim);
		if (k < 0)
			return popcorn_error_set_errno(error, k, "can't write the lease of '%s'",
						       claim->name);
		return popcorn_error_set_errno(error, first,
			"memory blocks %s of '%s' did not come back online; they stay in its lease, "
			"and 'popcornctl release' tries again", LIST_TEXT(failed), claim->name);
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
	}
	return 0;
}

/* Recovery. */

/* A kernel's blocks, if nobody wrote down which: those that its ranges are made of. */
static int guess_blocks(struct resources *r, struct claim *claim, const struct popcorn_range *ranges,
			size_t n)
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
	for (uint32_t i = 0; i < status->nr_ranges; i++) {
		claim->memory += ranges[i].length;
		if (ranges[i].kind == POPCORN_MEMORY_CONTIG)
			claim->contig += ranges[i].length;
		else
			claim->offlined += ranges[i].length;
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
		if (is_busy(r, lease.blocks[i].index)) /* by now it belongs to a kernel that lives */
			continue;
		k = block_online(r->root, &lease.blocks[i]);
		if (k < 0 && k != -ENOENT) {
			hwloc_bitmap_set(failed, (unsigned)lease.blocks[i].index);
			first = first ? first : k;
		}
	}
	if (first)
		return popcorn_error_set_errno(error, first,
			"memory blocks %s, which '%s' had, did not come back online; its lease stays",
			LIST_TEXT(failed), name);
	k = lease_remove(r->leases, name);
	if (k < 0)
		return popcorn_error_set_errno(error, k, "can't remove the lease of '%s' in %s", name,
					       r->leases);
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
		return popcorn_error_set_errno(error, errno, "can't read the leases in %s", r->leases);
	while ((errno = 0, entry = readdir(dir))) {
		bool known = false;
		int k = 0;

		if (kernel_name_check(entry->d_name, NULL) < 0) {
			/* One that was being written when popcornd died. */
			if (entry->d_name[0] == '.' && kernel_name_check(entry->d_name + 1, NULL) == 0)
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
		      void (*found)(void *userdata, const char *name, uint32_t id, struct claim *claim),
		      void *userdata, struct popcorn_error *error)
{
	struct driver *driver = resources->driver;
	_cleanup_free_ uint32_t *ids = NULL;
	size_t n;
	int k;

	k = driver->ops->list(driver, &ids, &n);
	if (k < 0)
		return popcorn_error_set_errno(error, k, "the driver does not say which kernels it has");
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
			return popcorn_error_set_errno(error, k,
				"the driver does not say how kernel %" PRIu32 " is", ids[i]);
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
			"the driver does not have for '%s' what was given to it", claim->name);

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
		image_ranges[i] = (struct image_range){ ranges[i].start, ranges[i].length,
							ranges[i].node };
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
		.distances = claim->distances,
		.nodes = claim->nodes,
		.n_nodes = n_nodes,
	};
	return 0;
}
