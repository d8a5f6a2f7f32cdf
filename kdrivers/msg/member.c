// SPDX-License-Identifier: GPL-2.0-only
/*
 * Membership: this kernel joins; pairs with others come up and go down.
 *
 * Everything happens in one work, member_work, which looks at the whole directory whenever somebody
 * may have changed something: so a change is never missed because it came while another one was
 * dealt with, and it does not matter in which order kernels appear, die, and say hello.
 *
 *	we					the other
 *	rings for it, in our mailbox; news  ──▶	maps them, writes its hello into one
 *	maps its rings for us		    ◀──	rings for us, in its mailbox; news
 *	our hello  ──────────────────────────▶	up, when it has said its own
 *	up, when its hello has come
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitops.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <uapi/popcorn.h>

#include "msg.h"
#include "trace.h"

struct self self;
struct peer *peers[POPCORN_MEMBERS_MAX];
struct workqueue_struct *member_wq;
static BLOCKING_NOTIFIER_HEAD(listeners);

/* What popcorn_msg_join() was given; taken by the first run of the work. */
static u64 join_address;

static void member_run(struct work_struct *work);
static DECLARE_WORK(member_work, member_run);

/* Something may have changed. Any context. */
void member_look(void)
{
	queue_work(member_wq, &member_work);
}

/* Bells */

static int compare_u32(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? -1 : x > y;
}

static bool owns_apicid(const struct peer *peer, u32 apicid)
{
	u32 low = 0, high = peer->nr_apicids, middle;

	/* The primary has what no other has; it can reset the machine anyhow. */
	if (!peer->id)
		return true;
	while (low < high) {
		middle = low + (high - low) / 2;
		if (peer->apicids[middle] == apicid)
			return true;
		if (peer->apicids[middle] < apicid)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/*
 * Rings at a peer. One whose bell is not ready, or is moving just now, looks once per heartbeat.
 *
 * Context: RCU read section in which peer->mailbox was seen, or member_work.
 */
void peer_ring(struct peer *peer)
{
	u64 bell = READ_ONCE(self.directory->entry[peer->id].bell);

	/* Checked when it moves, not for each message. */
	if (bell != READ_ONCE(peer->bell)) {
		if (!bell || !owns_apicid(peer, POPCORN_BELL_APICID(bell)))
			return;
		WRITE_ONCE(peer->bell, bell);
	}
	popcorn_doorbell_ring(bell);
}

/* Asks a peer to look at the directory and at our mailbox. Context: as peer_ring(). */
void peer_news(struct peer *peer)
{
	const enum peer_state state = smp_load_acquire(&peer->state);
	struct popcorn_mailbox *mailbox;

	/* Only so is the mailbox there until the grace period of take_down(). */
	if (state != PEER_JOINING && state != PEER_UP)
		return;
	mailbox = READ_ONCE(peer->mailbox);
	if (!mailbox)
		return;
	virt_store_release(&mailbox->news, 1);
	peer_ring(peer);
}

/* Context: any. */
void news_to_all(void)
{
	struct peer *peer;
	u32 id;

	rcu_read_lock();
	for (id = 0; id < READ_ONCE(self.used); id++) {
		peer = peer_of(id);
		if (peer)
			peer_news(peer);
	}
	rcu_read_unlock();
}

static void publish_bell(struct popcorn_doorbell *doorbell, u64 bell)
{
	WRITE_ONCE(self.entry->bell, bell);
	/*
	 * Who rang at the old place, where nobody hears it any more, does not ring again before its mark is
	 * taken. It stored the mark before it looked where the bell is.
	 */
	virt_mb();
	if (bell)
		popcorn_msg_beat();
}

/*
 * A peer has written nonsense. The pair goes down and stays so for this life of the peer; @why is a
 * constant. Context: any.
 */
void peer_fail(struct peer *peer, const char *why)
{
	if (!cmpxchg(&peer->failed, NULL, why))
		member_look();
}

/* Memory */

/* How much a ring takes: all of them together no more than an eighth of this kernel's memory. */
static void *ring_alloc(u32 lane, u32 *ret_slots)
{
	u32 slots;
	void *memory;

	for (slots = lane_slots(lane); slots >= POPCORN_RING_SLOTS_MIN; slots /= 2) {
		memory = alloc_pages_exact(POPCORN_RING_BYTES(slots), GFP_KERNEL | __GFP_NOWARN);
		if (memory) {
			*ret_slots = slots;
			return memory;
		}
		/* Reply rooms were counted for the full size. */
		if (lane == POPCORN_LANE_REPLY)
			break;
	}
	return NULL;
}

static bool is_foreign(u64 start, u64 bytes)
{
	const u64 limit = 1ULL << boot_cpu_data.x86_phys_bits;

	return start && bytes && IS_ALIGNED(start, PAGE_SIZE) && start < limit &&
	       bytes <= limit - start &&
	       (!self.id || region_intersects(start, bytes, IORESOURCE_SYSTEM_RAM,
					      IORES_DESC_NONE) == REGION_DISJOINT);
}

/* Memory of the peer, as the primary says; the primary has what nobody else has. */
static bool is_peers(const struct peer *peer, u64 start, u64 bytes)
{
	u32 i;

	if (!is_foreign(start, bytes))
		return false;
	for (i = 0; i < peer->nr_ranges; i++)
		if (start >= peer->ranges[i].start &&
		    start - peer->ranges[i].start < peer->ranges[i].length &&
		    bytes <= peer->ranges[i].length - (start - peer->ranges[i].start))
			return true;
	return !peer->id;
}

/* As is_peers(), of one life that can be reached. Context: any. */
bool peer_owns(u32 id, u32 generation, u64 start, u64 bytes)
{
	struct peer *peer = peer_of(id);
	bool owns;

	/* What the primary says stays until a grace period after the state has changed. */
	rcu_read_lock();
	owns = peer && smp_load_acquire(&peer->state) == PEER_UP &&
	       READ_ONCE(peer->generation) == generation && is_peers(peer, start, bytes);
	rcu_read_unlock();
	return owns;
}

/* Takes a copy of what the primary says about a kernel. */
static int copy_resources(struct peer *peer, const struct popcorn_directory_entry *entry)
{
	u32 nr_ranges = READ_ONCE(entry->nr_ranges), nr_apicids = READ_ONCE(entry->nr_apicids);
	u64 address = READ_ONCE(entry->resources);
	size_t ranges = nr_ranges * sizeof(*peer->ranges);
	size_t apicids = nr_apicids * sizeof(*peer->apicids);
	void *map;

	peer->nr_ranges = 0;
	peer->nr_apicids = 0;
	if (!peer->id)
		return 0;
	if (nr_ranges > POPCORN_RANGES_MAX + 1 || nr_apicids > POPCORN_CPUS_MAX || !nr_ranges ||
	    !nr_apicids || !is_foreign(address, ranges + apicids))
		return -EBADMSG;
	peer->ranges = kvmalloc(ranges, GFP_KERNEL);
	peer->apicids = kvmalloc(apicids, GFP_KERNEL);
	if (!peer->ranges || !peer->apicids)
		return -ENOMEM;
	map = memremap(address, ranges + apicids, MEMREMAP_WB);
	if (!map)
		return -ENOMEM;
	memcpy(peer->ranges, map, ranges);
	memcpy(peer->apicids, map + ranges, apicids);
	memunmap(map);
	sort(peer->apicids, nr_apicids, sizeof(*peer->apicids), compare_u32, NULL);
	peer->nr_ranges = nr_ranges;
	peer->nr_apicids = nr_apicids;
	return 0;
}

/* Pairs: all of this runs in member_work. */

/* What its owner does not change while it lives. NULL: it is as it should be. */
static const char *check_mailbox(const struct peer *peer, const struct popcorn_mailbox *mailbox)
{
	if (READ_ONCE(mailbox->magic) != POPCORN_MAILBOX_MAGIC ||
	    READ_ONCE(mailbox->size) != sizeof(*mailbox) || READ_ONCE(mailbox->id) != peer->id ||
	    READ_ONCE(mailbox->generation) != peer->generation)
		return "its mailbox is damaged";
	if (READ_ONCE(mailbox->version) != POPCORN_DIRECTORY_VERSION)
		return "its mailbox has another version";
	return NULL;
}

static const char *map_mailbox(struct peer *peer, const struct popcorn_directory_entry *entry)
{
	u64 address = READ_ONCE(entry->mailbox);
	struct popcorn_mailbox *mailbox;
	const char *why;

	if (!is_peers(peer, address, sizeof(*mailbox)))
		return "its mailbox is not in its memory";
	mailbox = memremap(address, sizeof(*mailbox), MEMREMAP_WB);
	if (!mailbox)
		return "its mailbox can't be mapped";
	why = check_mailbox(peer, mailbox);
	if (why) {
		memunmap(mailbox);
		return why;
	}
	WRITE_ONCE(peer->mailbox, mailbox);
	return NULL;
}

static int make_rings(struct peer *peer)
{
	struct popcorn_mailbox_ring *published;
	struct rx *rx;
	u32 lane, slots = 0;

	for (lane = 0; lane < POPCORN_LANES; lane++) {
		rx = &peer->rx[lane];
		rx->memory = ring_alloc(lane, &slots);
		if (!rx->memory)
			return -ENOMEM;
		rx->bytes = POPCORN_RING_BYTES(slots);
		popcorn_ring_format(rx->memory, slots, peer->generation, &rx->reader);
		rx->stalled = false;
		rx_streams_init(rx);
	}
	smp_store_release(&peer->rx_ready, true);
	for (lane = 0; lane < POPCORN_LANES; lane++) {
		published = &self.mailbox->ring[peer->id][lane];
		WRITE_ONCE(published->address, virt_to_phys(peer->rx[lane].memory));
		WRITE_ONCE(published->bytes, peer->rx[lane].bytes);
		virt_store_release(&published->generation, peer->generation);
	}
	return 0;
}

/*
 * Takes away what was shared, before the memory can be given to anybody else. The caller has waited
 * for a grace period since rx_ready, tx_ready and state say that it is not used.
 */
static void unmap_peer(struct peer *peer)
{
	u32 lane;

	for (lane = 0; lane < POPCORN_LANES; lane++) {
		WRITE_ONCE(self.mailbox->ring[peer->id][lane].generation, 0);
		if (peer->tx[lane].map)
			memunmap(peer->tx[lane].map);
		peer->tx[lane].map = NULL;
	}
	if (peer->mailbox)
		memunmap(peer->mailbox);
	peer->mailbox = NULL;
}

/* The peer can't write any more: what it has written to is ours again. */
static void forget_peer(struct peer *peer)
{
	u32 lane;

	for (lane = 0; lane < POPCORN_LANES; lane++) {
		if (peer->rx[lane].memory)
			free_pages_exact(peer->rx[lane].memory, peer->rx[lane].bytes);
		peer->rx[lane].memory = NULL;
	}
	kvfree(peer->ranges);
	kvfree(peer->apicids);
	peer->ranges = NULL;
	peer->apicids = NULL;
	peer->nr_ranges = 0;
	peer->nr_apicids = 0;
	peer->failed = NULL;
	peer->generation = 0;
	peer->state = PEER_NONE;
	windows_peer_stopped(peer->id);
}

/* Not heard if the primary can't be reached yet: then all_failed_to_primary() says it again. */
static void failed_to_primary(const struct peer *peer)
{
	struct failed failed = { .id = peer->id, .generation = peer->generation };

	if (!self.id || !peer->id)
		return;
	strscpy(failed.why, peer->failed, sizeof(failed.why));
	tx_primary(TYPE_FAILED, &failed, sizeof(failed));
}

static void all_failed_to_primary(void)
{
	const struct peer *peer;
	u32 id;

	for (id = 1; id < self.used; id++) {
		peer = peers[id];
		if (peer && peer->state == PEER_DOWN && peer->failed)
			failed_to_primary(peer);
	}
}

static struct peer *new_peer(u32 id)
{
	struct peer *peer = kzalloc(sizeof(*peer), GFP_KERNEL);
	u32 lane;

	if (!peer)
		return NULL;
	peer->id = id;
	for (lane = 0; lane < POPCORN_LANES; lane++) {
		init_waitqueue_head(&peer->tx[lane].credit);
		init_waitqueue_head(&peer->tx[lane].stream_wait);
		peer->tx[lane].count = alloc_percpu(struct tx_count);
		if (!peer->tx[lane].count)
			goto free;
		rx_lane_init(peer, lane);
	}
	if (peer_calls_init(peer))
		goto free;
	if (self.used <= id)
		WRITE_ONCE(self.used, id + 1);
	smp_store_release(&peers[id], peer);
	return peer;

free:
	for (lane = 0; lane < POPCORN_LANES; lane++)
		free_percpu(peer->tx[lane].count);
	kfree(peer);
	return NULL;
}

/* The other one is there, and this life of it is new to us. */
static void begin_peer(u32 id, u32 generation, const struct popcorn_directory_entry *entry)
{
	struct peer *peer = peers[id] ?: new_peer(id);
	const char *why = NULL;

	if (!peer) {
		pr_err("no memory for messages of kernel %u\n", id);
		return;
	}
	peer->generation = generation;
	peer->hello = false;
	peer->refused = false;
	peer->tx_ready = false;
	peer->bell = 0;
	if (copy_resources(peer, entry))
		why = "what the primary says about it can't be read";
	if (!why)
		why = map_mailbox(peer, entry);
	if (!why && make_rings(peer))
		why = "there is no memory for its messages";
	smp_store_release(&peer->state, PEER_JOINING);
	if (why) {
		peer_fail(peer, why);
		return;
	}
	/* Between our rings and its look: see member_run(). */
	virt_mb();
	peer_news(peer);
}

static void say_hello(struct peer *peer)
{
	const struct hello hello = {
		.protocol_min = protocol_min(),
		.protocol_max = protocol_max(),
		.id = self.id,
		.generation = self.generation,
		.streams = large_streams(),
	};
	struct popcorn_mailbox_ring *theirs = peer->mailbox->ring[self.id];
	struct tx *tx;
	u64 address;
	u32 lane, bytes;
	int err;

	for (lane = 0; lane < POPCORN_LANES; lane++)
		if (virt_load_acquire(&theirs[lane].generation) != self.generation)
			return;
	for (lane = 0; lane < POPCORN_LANES; lane++) {
		tx = &peer->tx[lane];
		address = READ_ONCE(theirs[lane].address);
		bytes = READ_ONCE(theirs[lane].bytes);
		if (!is_peers(peer, address, bytes)) {
			peer_fail(peer, "its ring is not in its memory");
			return;
		}
		tx->map = memremap(address, bytes, MEMREMAP_WB);
		if (!tx->map) {
			peer_fail(peer, "its ring can't be mapped");
			return;
		}
		err = popcorn_writer_init(&tx->writer, tx->map, bytes, self.generation);
		if (err) {
			peer_fail(peer, err == -EPROTONOSUPPORT ? "its ring has another version"
								: "its ring is damaged");
			return;
		}
	}
	peer->tx_ready = true;
	tx_hello(peer, &hello);
}

static void tell(struct peer *peer, unsigned long what)
{
	struct popcorn_msg_peer who = { peer->id, peer->generation };

	blocking_notifier_call_chain(&listeners, what, &who);
}

static void bring_up(struct peer *peer)
{
	if (!peer->tx_ready)
		say_hello(peer);
	/* Pairs with the reader, which has checked the hello and stored what it says. */
	if (!peer->tx_ready || !smp_load_acquire(&peer->hello) || READ_ONCE(peer->failed))
		return;
	smp_store_release(&peer->state, PEER_UP);
	pr_info("kernel %u.%u can be reached, protocol %u\n", peer->id, peer->generation,
		peer->protocol);
	trace_popcorn_msg_peer(peer->id, peer->generation, true);
	/* First of all, so that it knows when what the listeners send comes. */
	group_peer_up(peer);
	if (!peer->id)
		all_failed_to_primary();
	tell(peer, POPCORN_MSG_JOINED);
	rx_open(peer);
}

/* Whether this life of the peer is over for us. */
static bool is_over(const struct peer *peer, u64 life, u32 state)
{
	return POPCORN_LIFE_GENERATION(life) != peer->generation ||
	       POPCORN_LIFE_PHASE(life) != POPCORN_LIFE_ALIVE || state == POPCORN_MEMBER_LEFT ||
	       READ_ONCE(peer->failed) || self.left;
}

/* The owner's part is believed if it is of the present life and makes sense. */
static u32 member_state(const struct popcorn_directory_entry *entry, u32 generation)
{
	u32 state = virt_load_acquire(&entry->state);

	return READ_ONCE(entry->generation) == generation ? state : POPCORN_MEMBER_NONE;
}

static void look_at(u32 id, bool *ret_over)
{
	struct popcorn_directory_entry *entry = &self.directory->entry[id];
	u64 life = virt_load_acquire(&entry->life);
	u32 generation = POPCORN_LIFE_GENERATION(life), state = member_state(entry, generation);
	bool alive = POPCORN_LIFE_PHASE(life) == POPCORN_LIFE_ALIVE;
	struct peer *peer = peers[id];
	/* Before the sequence is, which grows. */
	u64 acknowledged = virt_load_acquire(&entry->acknowledged);
	const char *why;

	if (peer && (peer->state == PEER_JOINING || peer->state == PEER_UP)) {
		if (alive && generation == peer->generation &&
		    (state < POPCORN_MEMBER_JOINED || state > POPCORN_MEMBER_LEFT ||
		     acknowledged > READ_ONCE(self.directory->sequence)))
			peer_fail(peer, "its entry in the directory is damaged");
		/* Its memory is its own until we have acknowledged its end, also if that comes now. */
		why = peer->mailbox ? check_mailbox(peer, peer->mailbox) : NULL;
		if (why)
			peer_fail(peer, why);
		if (is_over(peer, life, state)) {
			if (READ_ONCE(peer->refused) && alive && !peer->tx_ready)
				say_hello(peer);
			*ret_over = true;
			return;
		}
	}
	if (peer && peer->state == PEER_DOWN &&
	    (generation != peer->generation || POPCORN_LIFE_PHASE(life) == POPCORN_LIFE_GONE))
		forget_peer(peer);
	if (self.left)
		return;
	if ((!peer || peer->state == PEER_NONE) && alive && state == POPCORN_MEMBER_JOINED)
		begin_peer(id, generation, entry);
	peer = peers[id];
	if (peer && peer->state == PEER_JOINING && !READ_ONCE(peer->failed))
		bring_up(peer);
}

/* Those that @over has a bit for: one grace period for all of them. */
static void take_down(const unsigned long *over)
{
	struct peer *peer;
	u32 id;

	for_each_set_bit(id, over, POPCORN_MEMBERS_MAX) {
		peer = peers[id];
		/* Remembered for the listeners: state is what senders go by. */
		peer->tx_ready = peer->state == PEER_UP;
		if (peer->failed) {
			pr_err("kernel %u.%u has failed: %s; nothing more is sent to it or taken "
			       "from it\n",
			       peer->id, peer->generation, peer->failed);
			failed_to_primary(peer);
		}
		WRITE_ONCE(peer->rx_open, false);
		WRITE_ONCE(peer->rx_ready, false);
		smp_store_release(&peer->state, PEER_DOWN);
	}
	synchronize_rcu();
	for_each_set_bit(id, over, POPCORN_MEMBERS_MAX) {
		peer = peers[id];
		unmap_peer(peer);
		rx_drop(peer);
		group_peer_down(peer);
		peer_calls_fail(peer);
		if (peer->tx_ready) {
			pr_info("kernel %u.%u can't be reached any more\n", peer->id,
				peer->generation);
			trace_popcorn_msg_peer(peer->id, peer->generation, false);
			tell(peer, POPCORN_MSG_GONE);
		}
		peer->tx_ready = false;
	}
}

static void acknowledge(u64 sequence)
{
	struct peer *primary = peers[0];

	if (READ_ONCE(self.entry->acknowledged) == sequence)
		return;
	/* What was mapped of the dead is not used from here on. */
	virt_store_release(&self.entry->acknowledged, sequence);
	virt_mb();
	if (self.id && primary)
		peer_news(primary);
}

static void look_at_all(void)
{
	/* No more than 64 bytes for 512 kernels; one work at a time. */
	static DECLARE_BITMAP(over, POPCORN_MEMBERS_MAX);
	u64 sequence = virt_load_acquire(&self.directory->sequence);
	u32 used = min_t(u32, READ_ONCE(self.directory->used), POPCORN_MEMBERS_MAX), id;
	bool again = false, is;

	bitmap_zero(over, POPCORN_MEMBERS_MAX);
	for (id = 0; id < used; id++) {
		if (id == self.id)
			continue;
		is = false;
		look_at(id, &is);
		if (is)
			__set_bit(id, over);
		again |= is;
	}
	if (again) {
		take_down(over);
		for_each_set_bit(id, over, POPCORN_MEMBERS_MAX)
			look_at(id, &is); /* what is gone is forgotten, what is new begins */
	}
	acknowledge(sequence);
	directory_acknowledged();
}

/* Joining */

static int make_mailbox(void)
{
	struct popcorn_mailbox *mailbox =
		alloc_pages_exact(sizeof(*mailbox), GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
	u32 lane;

	if (!mailbox)
		return -ENOMEM;
	mailbox->version = POPCORN_DIRECTORY_VERSION;
	mailbox->size = sizeof(*mailbox);
	mailbox->id = self.id;
	mailbox->generation = self.generation;
	for (lane = 0; lane < POPCORN_LANES; lane++)
		popcorn_bell_arm(&mailbox->bell[lane], 0);
	mailbox->magic = POPCORN_MAILBOX_MAGIC;
	self.mailbox = mailbox;
	return 0;
}

/* self.id, generation and directory are set. */
static int join(void)
{
	struct popcorn_directory_entry *entry = &self.directory->entry[self.id];
	int err;

	self.entry = entry;
	err = make_mailbox();
	if (err)
		return err;
	err = rx_init();
	if (err)
		goto no_reader;
	err = popcorn_doorbell_request(&self.doorbell, "popcorn_msg", rx_interrupt, &self);
	if (err)
		goto no_bell;
	WRITE_ONCE(entry->mailbox, virt_to_phys(self.mailbox));
	WRITE_ONCE(entry->features, 0);
	WRITE_ONCE(entry->protocol_min, POPCORN_PROTOCOL_MIN);
	WRITE_ONCE(entry->protocol_max, POPCORN_PROTOCOL_MAX);
	WRITE_ONCE(entry->generation, self.generation);
	virt_store_release(&entry->state, POPCORN_MEMBER_JOINED);
	/* First said, then looked: of two that join at once, one sees the other; and the primary. */
	virt_mb();
	smp_store_release(&self.joined, true);
	return 0;

no_bell:
	rx_exit();
no_reader:
	free_pages_exact(self.mailbox, sizeof(*self.mailbox));
	self.mailbox = NULL;
	return err;
}

static const char *map_directory(void)
{
	struct popcorn_directory *directory;
	u64 life;

	if (!is_foreign(join_address, sizeof(*directory)))
		return "the primary's directory is not in its memory";
	directory = memremap(join_address, sizeof(*directory), MEMREMAP_WB);
	if (!directory)
		return "the primary's directory can't be mapped";
	self.directory = directory;
	if (virt_load_acquire(&directory->magic) != POPCORN_DIRECTORY_MAGIC)
		return "there is no directory where the primary says";
	if (directory->version != POPCORN_DIRECTORY_VERSION ||
	    directory->size != sizeof(*directory) ||
	    directory->entry_size != sizeof(directory->entry[0]) ||
	    directory->nr_entries != POPCORN_MEMBERS_MAX)
		return "the primary's directory has another version";
	life = READ_ONCE(directory->entry[self.id].life);
	if (life != POPCORN_LIFE(self.generation, POPCORN_LIFE_ALIVE))
		return "the primary's directory does not know this kernel";
	return NULL;
}

static void join_secondary(void)
{
	const char *why = map_directory();
	int err;

	join_address = 0;
	if (!why) {
		/* From here on nothing that ended before is believed, and the primary waits for us. */
		WRITE_ONCE(self.directory->entry[self.id].state, POPCORN_MEMBER_JOINING);
		virt_mb();
		err = join();
		if (!err)
			return;
		WRITE_ONCE(self.directory->entry[self.id].state, POPCORN_MEMBER_NONE);
		pr_err("no messages with other kernels: error %d\n", err);
	} else {
		pr_err("no messages with other kernels: %s\n", why);
	}
	if (self.directory)
		memunmap(self.directory);
	self.directory = NULL;
}

static void member_run(struct work_struct *work)
{
	if (join_address)
		join_secondary();
	if (!smp_load_acquire(&self.joined))
		return;
	/* Forgotten before we look: who has news after the look stores it again. */
	WRITE_ONCE(self.mailbox->news, 0);
	virt_mb();
	look_at_all();
}

/**
 * popcorn_msg_join - this kernel is a secondary, and is to be heard
 * @directory: physical address, from the head; 0: the primary has no messages
 * @id: of this kernel
 * @generation: of this kernel
 *
 * Begins, and returns. What goes wrong is in the log, and does no harm to anything else.
 *
 * Context: process, once.
 */
void popcorn_msg_join(u64 directory, u32 id, u32 generation)
{
	if (!directory) {
		pr_info("no messages with other kernels: the primary has none\n");
		return;
	}
	if (!id || id >= POPCORN_MEMBERS_MAX || self.directory || join_address) {
		pr_err("no messages with other kernels: id %u has no place there\n", id);
		return;
	}
	self.id = id;
	self.generation = generation;
	join_address = directory;
	member_look();
}
EXPORT_SYMBOL_GPL(popcorn_msg_join);

int member_join_primary(struct popcorn_directory *directory)
{
	int err;

	if (self.directory || join_address)
		return -EBUSY;
	self.id = 0;
	self.generation = POPCORN_PRIMARY_GENERATION;
	self.directory = directory;
	err = join();
	if (err)
		self.directory = NULL;
	return err;
}

static void free_peers(void)
{
	struct peer *peer;
	u32 id, lane;

	for (id = 0; id < POPCORN_MEMBERS_MAX; id++) {
		peer = peers[id];
		if (!peer)
			continue;
		for (lane = 0; lane < POPCORN_LANES; lane++) {
			cancel_work_sync(&peer->rx[lane].work);
			kfree(peer->rx[lane].spare);
			free_percpu(peer->tx[lane].count);
		}
		peer_calls_free(peer);
		peers[id] = NULL;
		kfree(peer);
	}
}

/* No other kernel is there. */
void member_exit_primary(void)
{
	popcorn_doorbell_free(&self.doorbell);
	/* The last ones that ended are taken down, and forgotten. */
	member_look();
	flush_workqueue(member_wq);
	WRITE_ONCE(self.joined, false);
	user_quiesce();
	rx_exit();
	free_peers();
	self.used = 0;
	free_pages_exact(self.mailbox, sizeof(*self.mailbox));
	self.mailbox = NULL;
	self.directory = NULL;
	self.entry = NULL;
}

/**
 * popcorn_msg_beat - look for what nobody has rung for
 *
 * A ring that came while the doorbell moved is made good. Two reads when there is nothing.
 *
 * Context: any but NMI.
 */
void popcorn_msg_beat(void)
{
	if (!smp_load_acquire(&self.joined))
		return;
	if (READ_ONCE(self.mailbox->news))
		member_look();
	rx_beat();
}
EXPORT_SYMBOL_GPL(popcorn_msg_beat);

/* Members, for others */

/**
 * popcorn_msg_self - this kernel
 *
 * Context: any.
 * Return: its id and generation; generation 0: it has not joined (yet).
 */
struct popcorn_msg_peer popcorn_msg_self(void)
{
	struct popcorn_msg_peer none = {}, me = { self.id, self.generation };

	return smp_load_acquire(&self.joined) ? me : none;
}
EXPORT_SYMBOL_GPL(popcorn_msg_self);

/**
 * popcorn_msg_next - those that can be reached
 * @peer: in: where to go on, beginning with { 0, 0 }; out: the next one, in the order of ids
 *
 * Context: any. They may come and go meanwhile.
 * Return: false: there is none any more.
 */
bool popcorn_msg_next(struct popcorn_msg_peer *peer)
{
	u32 id = peer->generation ? peer->id + 1 : peer->id;
	struct peer *other;

	for (; id < READ_ONCE(self.used); id++) {
		other = peer_of(id);
		if (other && smp_load_acquire(&other->state) == PEER_UP) {
			peer->id = id;
			peer->generation = READ_ONCE(other->generation);
			return true;
		}
	}
	return false;
}
EXPORT_SYMBOL_GPL(popcorn_msg_next);

/**
 * popcorn_msg_notifier_register - hear of kernels that come and go
 * @block: is called with POPCORN_MSG_JOINED or POPCORN_MSG_GONE and a struct popcorn_msg_peer. May sleep,
 *         but no peer comes up or is let go of meanwhile: it must not wait for another kernel for
 *         long. Those that are there already can be iterated
 *
 * Context: process.
 * Return: 0; -EEXIST it is registered.
 */
int popcorn_msg_notifier_register(struct notifier_block *block)
{
	return blocking_notifier_chain_register(&listeners, block);
}
EXPORT_SYMBOL_GPL(popcorn_msg_notifier_register);

/**
 * popcorn_msg_notifier_unregister - after it @block is not called
 *
 * Context: process; not from @block itself.
 * Return: 0; -ENOENT it is not registered.
 */
int popcorn_msg_notifier_unregister(struct notifier_block *block)
{
	return blocking_notifier_chain_unregister(&listeners, block);
}
EXPORT_SYMBOL_GPL(popcorn_msg_notifier_unregister);

/*
 * This kernel is about to end: nobody has to wait until it is seen to. Nothing here waits, so that
 * nothing delays the end; what the work does not get done is done when the primary says that we are
 * gone.
 */
static int leave(struct notifier_block *block, unsigned long what, void *unused)
{
	if (!smp_load_acquire(&self.joined) || !self.id)
		return NOTIFY_DONE;
	WRITE_ONCE(self.left, true);
	virt_store_release(&self.entry->state, POPCORN_MEMBER_LEFT);
	virt_mb();
	news_to_all();
	member_look();
	return NOTIFY_DONE;
}

/* After those that may still want to say something; before popcorn_guest.ko, which does not return. */
static struct notifier_block leave_block = {
	.notifier_call = leave,
	.priority = INT_MIN + 1,
};

int member_init(void)
{
	int err;

	self.doorbell.publish = publish_bell;
	member_wq = alloc_ordered_workqueue("popcorn_msg", 0);
	if (!member_wq)
		return -ENOMEM;
	err = register_reboot_notifier(&leave_block);
	if (err)
		destroy_workqueue(member_wq);
	return err;
}

void member_exit(void)
{
	unregister_reboot_notifier(&leave_block);
	destroy_workqueue(member_wq);
}
