// SPDX-License-Identifier: GPL-2.0-or-later
/* resources_take(): memory blocks, pieces of memory, CPUs. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "claim.h"

/*
 * How long one block may take to go offline. The first time short, because another block is
 * likely to go at once; a block full of used pages needs some time to be copied elsewhere.
 */
static const uint64_t offline_limits[] = { 5 * USEC_PER_SEC, 15 * USEC_PER_SEC };
/* All of resources_take() gives up after this, whatever it was doing. */
#define TAKE_LIMIT (120 * USEC_PER_SEC)
/* A block of 128 MiB with fewer pages of unknown use than this is likely to go offline. */
#define UNKNOWN_PAGES_FEW 64
/* Places tried for memory that is not whole blocks; each try takes some 0.2 s. */
#define CONTIG_TRIES 64
/* Pieces smaller than this are not worth a range, unless no more was asked for. */
#define CONTIG_PIECE_MIN (16 * MIB)
/* Blocks that may be taken beyond what was asked for, to find a longer piece among them. */
#define SPARE_BLOCKS_MAX 8

/* Of memory that may come from every node. */
#define ANY_NODE (-1)

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
	unsigned *nodes; /* nearest first */
	size_t n_nodes;
	hwloc_bitmap_t refused; /* blocks that would not go */
	hwloc_bitmap_t never;	/* blocks that never will */
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
					 "%s of memory were asked for; after %u seconds the "
					 "primary had let go of %s; "
					 "ask for less, or stop programs",
					 SIZE_TEXT(take->claim->memory),
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

static uint64_t offlined_of(const struct take *take, int node)
{
	const struct claim *claim = take->claim;

	return node == ANY_NODE ? claim->offlined : claim->by_node[node].offlined;
}

/* What was asked for: of the node, or all of it. */
static uint64_t wanted_of(const struct take *take, int node)
{
	const struct claim *claim = take->claim;

	return node == ANY_NODE ? claim->memory : claim->by_node[node].want;
}

static uint64_t missing_of(const struct take *take, int node)
{
	const struct claim *claim = take->claim;
	uint64_t contig = node == ANY_NODE ? claim->contig : claim->by_node[node].contig;

	return wanted_of(take, node) - offlined_of(take, node) - contig;
}

/* "512 MiB of memory", "512 MiB of the memory of node 1" */
#define ASKED_TEXT_MAX 64
static const char *asked_text(const struct take *take, int node, char buf[ASKED_TEXT_MAX])
{
	if (node == ANY_NODE)
		snprintf(buf, ASKED_TEXT_MAX, "%s of memory", SIZE_TEXT(wanted_of(take, node)));
	else
		snprintf(buf, ASKED_TEXT_MAX, "%s of the memory of node %d",
			 SIZE_TEXT(wanted_of(take, node)), node);
	return buf;
}
#define ASKED_TEXT(take, node) asked_text((take), (node), (char[ASKED_TEXT_MAX]){ 0 })

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
		order[node].distance =
			topology_distance(take->resources->topology, claim->cpu_nodes[0], node);
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
	k = claim_write_lease(claim);
	if (k < 0)
		popcorn_error_set_errno(take->error, k, "can't write the lease of '%s' in %s",
					claim->name, r->leases);
	return k;
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
			claim_forget_block(claim, claim->n_blocks - 1);
		return k;
	}
	k = block_offline(r->root, block->index,
			  deadline < take->deadline ? deadline : take->deadline,
			  take->operation->cancel_fd);
	if (k == 0) {
		LOCK(r);

		claim_count(claim, block->node, (int64_t)r->block_size, 0);
		return 0;
	}
	/* The lease still names the block until it is written next; that does no harm, it is online. */
	claim_forget_block(claim, claim->n_blocks - 1);
	if (k == -ECANCELED)
		return popcorn_error_set(take->error, POPCORN_ERROR_CANCELLED, NULL);
	if (hwloc_bitmap_set(take->refused, (unsigned)block->index) < 0 ||
	    (k == -EINVAL && hwloc_bitmap_set(take->never, (unsigned)block->index) < 0))
		return no_memory(take->error);
	return 1;
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

/*
 * The claim's blocks on @node as pieces, longest first. Sorts the blocks, which have no order of
 * their own.
 */
static int find_runs(struct take *take, int node, struct run **ret, size_t *ret_n)
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

		if (node != ANY_NODE && block->node != (unsigned)node)
			continue;
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

static int longest_run(struct take *take, int node, uint64_t *ret)
{
	_cleanup_free_ struct run *runs = NULL;
	size_t n;
	int k = find_runs(take, node, &runs, &n);

	if (k < 0)
		return k;
	*ret = n ? runs[0].length : 0;
	return 0;
}

/*
 * Takes blocks of @node, best first, until the claim has @want bytes of them there, and a few
 * blocks more until a piece of @first bytes is among them (0 = it need not be).
 */
static int gather(struct take *take, int node, uint64_t want, uint64_t first, size_t pass)
{
	unsigned spare = 0;

	for (size_t i = 0; i < take->n_candidates; i++) {
		const struct block *block = &take->candidates[i];
		int k;

		if (offlined_of(take, node) >= want) {
			uint64_t longest;

			k = longest_run(take, node, &longest);
			if (k < 0)
				return k;
			if (longest >= first || spare++ >= SPARE_BLOCKS_MAX)
				return 0;
		}
		if (node != ANY_NODE && block->node != (unsigned)node)
			continue;
		if (is_block_busy(take->resources, block->index)) /* ours, or another's */
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

/* Brings blocks of @node back that are more than @want, from the shortest pieces first. */
static int trim(struct take *take, int node, uint64_t want)
{
	struct resources *r = take->resources;
	struct claim *claim = take->claim;

	while (offlined_of(take, node) > want) {
		_cleanup_free_ struct run *runs = NULL;
		unsigned on;
		size_t n, i;
		int k = find_runs(take, node, &runs, &n);

		if (k < 0)
			return k;
		for (i = 0; i < claim->n_blocks; i++)
			if (claim->blocks[i].index * r->block_size == runs[n - 1].start)
				break;
		assert(i < claim->n_blocks);
		k = block_online(r->root, &claim->blocks[i]);
		if (k < 0)
			return popcorn_error_set_errno(take->error, k,
						       "memory block %" PRIu64
						       " can't be brought online again",
						       claim->blocks[i].index);
		on = claim->blocks[i].node;
		claim_forget_block(claim, i);
		LOCK(r);
		claim_count(claim, on, -(int64_t)r->block_size, 0);
	}
	return 0;
}

/* A node that is to give all, or nearly all, of its memory: processes' pages leave it first. */
static void leave_full_node(const struct take *take, unsigned node, uint64_t missing)
{
	uint64_t sum = 0;

	if (*take->resources->root || take->n_nodes < 2)
		return;
	for (size_t i = 0; i < take->n_candidates; i++)
		if (take->candidates[i].node == node)
			sum += take->resources->block_size;
	if (missing * 10 >= sum * 9)
		memory_leave_node(node);
}

/* Each node that has CPUs of the kernel gives its share, as far as it can. */
static int gather_shares(struct take *take, uint64_t want, size_t pass)
{
	struct claim *claim = take->claim;
	uint64_t size = take->resources->block_size, share_end = 0;

	for (size_t i = 0; i < take->n_nodes; i++) {
		uint64_t cpus = 0;
		int k;

		for (size_t c = 0; c < claim->n_cpus; c++)
			cpus += claim->cpu_nodes[c] == take->nodes[i];
		if (cpus == 0)
			break;
		share_end += want / size * cpus / claim->n_cpus * size;
		if (claim->offlined >= share_end || take->nodes[i] >= claim->n_by_node)
			continue;
		k = gather(take, (int)take->nodes[i],
			   offlined_of(take, (int)take->nodes[i]) + share_end - claim->offlined, 0,
			   pass);
		if (k < 0)
			return k;
	}
	return 0;
}

/*
 * Blocks of @node as far as there are such; what is missing then is left to add_contig(). @first:
 * so much is to be in one piece if possible, 0 = whatever pieces there are.
 */
static int take_blocks(struct take *take, int node, uint64_t first)
{
	struct resources *r = take->resources;
	uint64_t want = wanted_of(take, node) / r->block_size * r->block_size;
	uint64_t longest = 0;
	int k;

	if (want == 0)
		return 0;
	if (first > want)
		first = want;
	for (size_t pass = 0; pass < ARRAY_SIZE(offline_limits); pass++) {
		if (pass > 0) {
			leave_full_node(take, node == ANY_NODE ? take->nodes[0] : (unsigned)node,
					want - offlined_of(take, node));
			memory_prepare(r->root, take->drop_caches);
		}
		k = pass > 0 ? find_candidates(take) : 0;
		if (k == 0 && pass == 0 && node == ANY_NODE)
			k = gather_shares(take, want, pass);
		if (k == 0)
			k = gather(take, node, want, first, pass);
		if (k == 0)
			k = longest_run(take, node, &longest);
		if (k < 0)
			return k;
		if (offlined_of(take, node) >= want && longest >= first)
			break;
	}
	return trim(take, node, want);
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
		return popcorn_error_set(
			take->error, POPCORN_ERROR_MEMORY_BUSY,
			"the driver refuses the %s of memory at %#" PRIx64
			": some of it is online, "
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
					 "the memory would be in more than %d pieces; ask for less",
					 POPCORN_RANGES_MAX);
	case -EPERM:
		return popcorn_error_set(
			take->error, POPCORN_ERROR_NOT_AUTHORIZED,
			"the driver refuses memory to popcornd: it lacks CAP_SYS_BOOT");
	}
	return popcorn_error_set_errno(take->error, k,
				       "the driver refuses the %s of memory at %#" PRIx64,
				       SIZE_TEXT(length), start);
}

/*
 * One piece of @length bytes inside [@start, @end), which is online. Windows from the top down;
 * one that holds a page that can't move is not tried, the next window ends below that page.
 */
static int add_contig_in(struct take *take, uint64_t start, uint64_t end, uint64_t length,
			 bool sure)
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

/* One piece of @node. 1 = there is none. */
static int add_contig_piece(struct take *take, int node, uint64_t length)
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
			if (node != ANY_NODE && top->node != (unsigned)node)
				continue;
			k = add_contig_in(take, start, end, length, sure);
			if (k == 0) {
				LOCK(r);

				claim_count(take->claim, top->node, 0, (int64_t)length);
			}
			if (k <= 0)
				return k;
		}
	}
	return 1;
}

static void refused_text(const struct take *take, char *buf, size_t size)
{
	*buf = '\0';
	if (!hwloc_bitmap_iszero(take->refused))
		snprintf(buf, size, "; memory blocks %s would not go offline",
			 LIST_TEXT(take->refused));
}

static int no_pieces(struct take *take, int node, uint64_t piece)
{
	uint64_t got = wanted_of(take, node) - missing_of(take, node);
	char refused[LIST_TEXT_MAX + 64];

	refused_text(take, refused, sizeof(refused));
	return popcorn_error_set(take->error, POPCORN_ERROR_MEMORY_BUSY,
				 "%s were asked for; %s were found, and no free piece of "
				 "%s any more%s; ask "
				 "for at most %s, or stop programs or kernels and try again",
				 ASKED_TEXT(take, node), SIZE_TEXT(got), SIZE_TEXT(piece), refused,
				 SIZE_TEXT(got));
}

/* What is missing of @node, in as few pieces as can be found. */
static int add_contig(struct take *take, int node)
{
	uint64_t length = missing_of(take, node), piece = length;
	uint64_t smallest = length < CONTIG_PIECE_MIN ? length : CONTIG_PIECE_MIN;
	int k = length ? find_candidates(take) : 0;

	while (length && k >= 0) {
		if (piece > length)
			piece = length;
		k = add_contig_piece(take, node, piece);
		if (k < 0)
			return k;
		if (k == 0) {
			length -= piece;
			report(take);
			continue;
		}
		if (piece <= smallest || take->contig_tries >= CONTIG_TRIES)
			return no_pieces(take, node, piece);
		piece = piece / 2 / POPCORN_MEMORY_ALIGN * POPCORN_MEMORY_ALIGN;
		if (piece < smallest)
			piece = smallest;
	}
	return k < 0 ? k : 0;
}

/* @node: where the longest piece of @longest bytes is. */
static int no_first_piece(struct take *take, int node, uint64_t first, uint64_t longest)
{
	char refused[LIST_TEXT_MAX + 64];

	refused_text(take, refused, sizeof(refused));
	if (take->n_candidates == 0 && take->claim->offlined == 0)
		return popcorn_error_set(
			take->error, POPCORN_ERROR_NO_FREE_MEMORY,
			"%s were asked for; the primary has no memory block of which any "
			"could be taken",
			ASKED_TEXT(take, node));
	return popcorn_error_set(take->error, POPCORN_ERROR_MEMORY_BUSY,
				 "%s were asked for, of which the kernel needs %s in one "
				 "piece; the longest "
				 "piece that the primary lets go of has %s%s; stop programs or "
				 "kernels and try again",
				 ASKED_TEXT(take, node), SIZE_TEXT(first), SIZE_TEXT(longest),
				 refused);
}

/* What the lease says is what is going to be taken. */
static int lease_now(struct take *take)
{
	int k = claim_write_lease(take->claim);

	if (k < 0)
		return popcorn_error_set_errno(take->error, k,
					       "can't write the lease of '%s' in %s",
					       take->claim->name, take->resources->leases);
	return 0;
}

/*
 * The first range added carries the kernel and, if it can be, its initrd. If no piece of blocks is
 * long enough for that, one across blocks of @node may be: it is added here. 1 = none is; then
 * *@ret_longest is how long the longest one is.
 */
static int add_first(struct take *take, int node, uint64_t first, uint64_t *ret_longest)
{
	struct resources *r = take->resources;
	const struct claim *claim = take->claim;
	uint64_t want = wanted_of(take, node), longest, rest;
	int k;

	if (want < first) {
		*ret_longest = want;
		return 1;
	}
	k = longest_run(take, node, &longest);
	if (k < 0)
		return k;
	if (longest >= first)
		return 0;
	if (longest && want - offlined_of(take, node) < first) {
		k = trim(take, node, (want - first) / r->block_size * r->block_size);
		if (k == 0)
			k = lease_now(take);
		if (k == 0)
			k = longest_run(take, node, &longest);
		if (k < 0)
			return k;
	}
	/* Only what is online, which the gathered blocks are not any more. */
	k = find_candidates(take);
	if (k < 0)
		return k;
	/*
	 * Without blocks at best all of it; else, and if that is not to be had, what the kernel
	 * likes, then what it needs.
	 */
	rest = want - offlined_of(take, node);

	const uint64_t pieces[] = { longest == 0 ? rest : 0, claim->wish < rest ? claim->wish : 0,
				    first };

	k = 1;
	for (size_t i = 0; i < ARRAY_SIZE(pieces) && k == 1; i++)
		if (pieces[i] >= first)
			k = add_contig_piece(take, node, pieces[i]);
	*ret_longest = longest;
	return k;
}

/* The pieces of @node that blocks make. */
static int add_runs(struct take *take, int node)
{
	_cleanup_free_ struct run *runs = NULL;
	size_t n;
	int k = find_runs(take, node, &runs, &n);

	for (size_t i = 0; i < n && k == 0; i++) {
		k = may_go_on(take);
		if (k == 0)
			k = add_memory(take, POPCORN_MEMORY_OFFLINE, runs[i].start, runs[i].length);
	}
	return k;
}

/* The nodes that memory is wanted of, those of the CPUs first; ANY_NODE for all of it. */
static int find_parts(struct take *take, int **ret, size_t *ret_n)
{
	const struct claim *claim = take->claim;
	int *parts = calloc(claim->n_by_node + 1, sizeof(*parts));
	size_t n = 0;

	if (!parts)
		return no_memory(take->error);
	if (!claim->is_by_node)
		parts[n++] = ANY_NODE;
	for (size_t i = 0; claim->is_by_node && i < take->n_nodes; i++)
		if (take->nodes[i] < claim->n_by_node && claim->by_node[take->nodes[i]].want)
			parts[n++] = (int)take->nodes[i];
	*ret_n = n;
	*ret = parts;
	return 0;
}

static int take_memory(struct take *take)
{
	struct claim *claim = take->claim;
	uint64_t need = claim->need ? claim->need : POPCORN_MEMORY_ALIGN, longest = 0;
	_cleanup_free_ int *parts = NULL;
	size_t n = 0, first;
	int longest_on = ANY_NODE, k;

	k = find_candidates(take);
	if (k == 0)
		k = find_parts(take, &parts, &n);
	if (k < 0)
		return k;
	/* The kernel is to lie near its CPUs, if its memory there is enough for it. */
	for (first = 0; first < n && wanted_of(take, parts[first]) < need; first++)
		;
	for (size_t i = 0; i < n; i++) {
		k = take_blocks(take, parts[i], i != first ? 0 : claim->wish ? claim->wish : need);
		if (k < 0)
			return k;
	}
	/* What is going to be taken is complete: let the lease say exactly that. */
	k = lease_now(take);
	if (k < 0)
		return k;

	for (k = 1, first = 0; first < n; first++) {
		uint64_t here;

		k = add_first(take, parts[first], need, &here);
		if (k <= 0)
			break;
		if (first == 0 || here > longest) {
			longest = here;
			longest_on = parts[first];
		}
	}
	if (k < 0)
		return k;
	if (k == 1)
		return no_first_piece(take, longest_on, need, longest);
	/* Before those of the other nodes. */
	k = add_runs(take, parts[first]);
	for (size_t i = 0; i < n && k == 0; i++)
		if (i != first)
			k = add_runs(take, parts[i]);
	for (size_t i = 0; i < n && k == 0; i++)
		k = add_contig(take, parts[i]);
	return k;
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
		return popcorn_error_set(
			take->error, POPCORN_ERROR_CPU_BUSY,
			"%s was chosen for '%s', but the primary would not let go of it: something "
			"is "
			"bound to it, or it is offline by now; see 'dmesg', and ask for other CPUs",
			which, claim->name);
	case -ENOENT:
		return popcorn_error_set(take->error, POPCORN_ERROR_CPU_UNKNOWN,
					 "%s was chosen for '%s', but is gone from the machine",
					 which, claim->name);
	case -EPERM:
		return popcorn_error_set(
			take->error, POPCORN_ERROR_NOT_AUTHORIZED,
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
