// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows: memory of one kernel that a process here and one in another kernel map.
 *
 * The kernel that makes a window allocates its pages, and tells the one that it is granted to where
 * they are. That one believes it only as far as the pages lie in the maker's memory, as the primary's
 * directory says, and maps them page by page, by faults, so that a mapping can be taken away at any
 * time: from then on a fault is a SIGBUS.
 *
 * The pages are used for something else only when the other side can't reach them: it has answered
 * REVOKE, or the primary has seen its CPUs stopped. If the maker dies, its memory goes back when
 * every kernel has acknowledged, which this one does after windows_peer_gone().
 */
#include <linux/hashtable.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <popcorn/compat.h>

#include "msg.h"
#include "user.h"
#include "window.h"

/* Pieces of 2 MiB, if there are any. */
#define ORDER_MAX 9
#define ANSWER_TIMEOUT (10 * HZ)
#define REVOKE_RETRY HZ
/* REVOKEs of other kernels that wait here. */
#define REVOKES_MAX 1024

struct window_range {
	unsigned long pfn;
	u32 first; /* page of the window */
	u32 pages;
	void *map; /* of memory that is not ours */
};

struct window {
	struct list_head list;	 /* of windows, or of stopping */
	struct list_head mine;	 /* endpoint->windows */
	struct hlist_node owned; /* owned_lock */
	refcount_t users;	 /* the lists; mappings; the work */
	bool is_owned;
	bool opened; /* owned_lock: the other side may have mapped it */
	u32 number;
	u64 endpoint; /* ours */
	struct popcorn_msg_addr peer;
	u64 bytes;
	u64 offset; /* of no other window of this kernel, ever */
	struct address_space *mapping;

	struct mutex lock; /* what follows: also of page faults */
	bool ready, revoked;
	u32 nr_ranges;
	struct window_range *ranges;

	struct delayed_work revoke;
};

static DEFINE_MUTEX(windows_lock);
static LIST_HEAD(windows);
/* Closed, but the other side may still have them mapped, and can't be asked. */
static LIST_HEAD(stopping);
/* Those that were made here; looked up in interrupts. */
static DEFINE_SPINLOCK(owned_lock);
static DEFINE_HASHTABLE(owned, 6);
static u32 window_number;
static u64 window_offset;
static struct workqueue_struct *window_wq;
static atomic_t revokes;

static void put_window(struct window *window)
{
	if (refcount_dec_and_test(&window->users)) {
		kvfree(window->ranges);
		kfree(window);
	}
}

static void free_ranges(struct window_range *ranges, u32 nr_ranges)
{
	u32 i;

	for (i = 0; i < nr_ranges; i++)
		__free_pages(pfn_to_page(ranges[i].pfn), ilog2(ranges[i].pages));
}

/* Zeroed pages, in pieces as large as there are. */
static struct window_range *alloc_ranges(u32 pages, u32 *ret_nr_ranges)
{
	struct window_range *ranges = kvcalloc(pages, sizeof(*ranges), GFP_KERNEL_ACCOUNT);
	u32 order = ORDER_MAX, have = 0, n = 0;
	struct page *page;

	while (ranges && have < pages) {
		order = min_t(u32, order, ilog2(pages - have));
		page = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN |
					   (order ? __GFP_NORETRY : 0),
				   order);
		if (page) {
			ranges[n++] = (struct window_range){ page_to_pfn(page), have, 1U << order };
			have += 1U << order;
		}
		if ((!page && !order) || fatal_signal_pending(current)) {
			free_ranges(ranges, n);
			kvfree(ranges);
			return NULL;
		}
		if (!page)
			order--;
	}
	*ret_nr_ranges = n;
	return ranges;
}

/* Nobody here reaches it any more. Context: windows_lock. */
static void take_away(struct window *window)
{
	bool was;
	u32 i;

	mutex_lock(&window->lock);
	was = window->ready && !window->revoked;
	window->revoked = true;
	mutex_unlock(&window->lock);
	if (!was)
		return;
	unmap_mapping_range(window->mapping, window->offset, window->bytes, 1);
	for (i = 0; i < window->nr_ranges; i++)
		if (window->ranges[i].map)
			memunmap(window->ranges[i].map);
}

/* Pages of a window that the other side can't reach any more. */
static void window_over(struct window *window)
{
	free_ranges(window->ranges, window->nr_ranges);
	atomic_long_sub(window->bytes, &user_count.window_bytes);
	put_window(window);
	if (atomic_dec_and_test(&user_count.revoking))
		wake_up_var(&user_count.revoking);
}

/* Whether that life of the peer may still write. Context: windows_lock; see windows_peer_stopped(). */
static bool may_write(const struct window *window)
{
	const int index = user_enter();
	struct peer *peer;
	bool may = false;

	if (index >= 0) {
		peer = peer_of(window->peer.kernel);
		may = peer && READ_ONCE(peer->generation) == window->peer.generation;
		user_leave(index);
	}
	return may;
}

/* Asks the other side to let go of a window that is closed. */
static void revoke_work(struct work_struct *work)
{
	struct window *window = container_of(to_delayed_work(work), struct window, revoke);
	const struct packet packet = {
		.kind = PACKET_REVOKE,
		.from = window->endpoint,
		.number = window->number,
	};
	int err = hand_over(&window->peer, POPCORN_MSG_CONTROL, &packet, sizeof(packet), NULL, 0,
			    ANSWER_TIMEOUT);

	if (err && err != -EPIPE && err != -ENOTCONN && err != -ESHUTDOWN) {
		queue_delayed_work(user_wq, &window->revoke, REVOKE_RETRY);
		return;
	}
	if (err) {
		mutex_lock(&windows_lock);
		if (may_write(window)) {
			list_add(&window->list, &stopping);
			window = NULL;
		}
		mutex_unlock(&windows_lock);
	}
	if (window)
		window_over(window);
}

/* The primary has seen all CPUs of kernel @id stopped. Context: member_work. */
void windows_peer_stopped(u32 id)
{
	struct window *window, *next;

	mutex_lock(&windows_lock);
	list_for_each_entry_safe(window, next, &stopping, list)
		if (window->peer.kernel == id) {
			list_del(&window->list);
			window_over(window);
		}
	mutex_unlock(&windows_lock);
}

/* Context: windows_lock. */
static struct window *new_window(struct endpoint *endpoint, struct file *file,
				 const struct popcorn_msg_addr *peer, bool is_owned)
{
	struct window *window;

	if (endpoint->nr_windows >= POPCORN_MSG_WINDOWS_MAX)
		return ERR_PTR(-ENOSPC);
	window = kzalloc(sizeof(*window), GFP_KERNEL_ACCOUNT);
	if (!window)
		return ERR_PTR(-ENOMEM);
	refcount_set(&window->users, 1);
	mutex_init(&window->lock);
	INIT_DELAYED_WORK(&window->revoke, revoke_work);
	window->is_owned = is_owned;
	window->endpoint = endpoint->number;
	window->peer = *peer;
	window->mapping = file->f_mapping;
	window->offset = window_offset;
	window_offset += POPCORN_MSG_WINDOW_MAX;
	list_add(&window->list, &windows);
	list_add(&window->mine, &endpoint->windows);
	endpoint->nr_windows++;
	atomic_inc(is_owned ? &user_count.windows : &user_count.openings);
	return window;
}

/* Context: windows_lock. */
static void end_window(struct endpoint *endpoint, struct window *window)
{
	bool opened;

	list_del(&window->list);
	list_del(&window->mine);
	endpoint->nr_windows--;
	atomic_dec(window->is_owned ? &user_count.windows : &user_count.openings);
	take_away(window);
	if (!window->is_owned || !window->ready) {
		put_window(window);
		return;
	}
	spin_lock_irq(&owned_lock);
	hash_del(&window->owned);
	opened = window->opened;
	spin_unlock_irq(&owned_lock);
	atomic_inc(&user_count.revoking);
	if (opened)
		queue_delayed_work(user_wq, &window->revoke, 0);
	else
		window_over(window);
}

static bool valid_bytes(u64 bytes)
{
	return bytes && bytes <= POPCORN_MSG_WINDOW_MAX && PAGE_ALIGNED(bytes);
}

static int check_args(struct popcorn_msg_window *args)
{
	if (args->flags || args->reserved || args->offset || args->peer.kernel == self.id)
		return -EINVAL;
	return user_resolve(&args->peer);
}

/* All windows together take no more than a quarter of this kernel's memory. */
static int reserve(u64 bytes)
{
	if (atomic_long_add_return(bytes, &user_count.window_bytes) <=
	    (totalram_pages() << PAGE_SHIFT) / 4)
		return 0;
	atomic_long_sub(bytes, &user_count.window_bytes);
	return -ENOMEM;
}

/* Enters a window whose pages are there. Context: windows_lock. */
static int add_window(struct endpoint *endpoint, struct file *file, struct popcorn_msg_window *args,
		      struct window_range *ranges, u32 nr_ranges)
{
	struct window *window;

	if (window_number == U32_MAX)
		return -ENOSPC;
	window = new_window(endpoint, file, &args->peer, true);
	if (IS_ERR(window))
		return PTR_ERR(window);
	window->bytes = args->bytes;
	window->ranges = ranges;
	window->nr_ranges = nr_ranges;
	window->number = ++window_number;
	window->ready = true;
	spin_lock_irq(&owned_lock);
	hash_add(owned, &window->owned, window->number);
	spin_unlock_irq(&owned_lock);
	args->window = window->number;
	args->offset = window->offset;
	return 0;
}

int window_create(struct endpoint *endpoint, struct file *file, struct popcorn_msg_window *args)
{
	struct window_range *ranges;
	u32 nr_ranges;
	int err;

	if (!valid_bytes(args->bytes) || args->window)
		return -EINVAL;
	err = check_args(args) ?: reserve(args->bytes);
	if (err)
		return err;
	ranges = alloc_ranges(args->bytes >> PAGE_SHIFT, &nr_ranges);
	if (!ranges) {
		atomic_long_sub(args->bytes, &user_count.window_bytes);
		return fatal_signal_pending(current) ? -EINTR : -ENOMEM;
	}
	mutex_lock(&windows_lock);
	err = add_window(endpoint, file, args, ranges, nr_ranges);
	mutex_unlock(&windows_lock);
	if (err) {
		free_ranges(ranges, nr_ranges);
		kvfree(ranges);
		atomic_long_sub(args->bytes, &user_count.window_bytes);
	}
	return err;
}

/* Another kernel wants to know where a window is. Context: an interrupt. */
int window_take_open(const struct popcorn_msg *msg, const struct packet *packet, void *reply)
{
	struct window_ranges *answer = reply;
	struct window *window, *found = NULL;
	unsigned long flags;
	int ret;
	u32 i;

	if (msg->room < REPLY_MAX || packet->number > U32_MAX)
		return -EPROTO;
	spin_lock_irqsave(&owned_lock, flags);
	hash_for_each_possible(owned, window, owned, (u32)packet->number)
		if (window->number == packet->number)
			found = window;
	if (!found || (packet->to && packet->to != found->endpoint)) {
		ret = -ENOENT;
	} else if (found->peer.kernel != msg->from.id ||
		   found->peer.generation != msg->from.generation ||
		   (found->peer.endpoint && found->peer.endpoint != packet->from)) {
		ret = -EACCES;
	} else if (packet->offset >= found->nr_ranges) {
		ret = -EPROTO;
	} else {
		found->opened = true;
		answer->bytes = found->bytes;
		answer->nr_ranges = found->nr_ranges;
		answer->count = min_t(u32, found->nr_ranges - packet->offset, RANGES_MAX);
		for (i = 0; i < answer->count; i++) {
			const struct window_range *range = &found->ranges[packet->offset + i];

			answer->range[i].start = PFN_PHYS(range->pfn);
			answer->range[i].length = (u64)range->pages << PAGE_SHIFT;
		}
		ret = struct_size(answer, range, answer->count);
	}
	spin_unlock_irqrestore(&owned_lock, flags);
	return ret;
}

/* What the maker says of its window; not believed yet. */
struct claim {
	u64 bytes;
	u32 nr_ranges, have;
	struct window_range *ranges;
};

/* Some more ranges. */
static int take_claim(struct claim *claim, const struct window_ranges *answer, int length)
{
	u32 i, pages;

	if (length < (int)sizeof(*answer) || answer->count > RANGES_MAX || !answer->count ||
	    length != struct_size(answer, range, answer->count))
		return -EPROTO;
	if (!claim->ranges) {
		if (!valid_bytes(answer->bytes) || !answer->nr_ranges ||
		    answer->nr_ranges > answer->bytes >> PAGE_SHIFT)
			return -EPROTO;
		claim->ranges =
			kvcalloc(answer->nr_ranges, sizeof(*claim->ranges), GFP_KERNEL_ACCOUNT);
		if (!claim->ranges)
			return -ENOMEM;
		claim->bytes = answer->bytes;
		claim->nr_ranges = answer->nr_ranges;
	}
	if (answer->count > claim->nr_ranges - claim->have)
		return -EPROTO;
	pages = claim->have ? claim->ranges[claim->have - 1].first +
				      claim->ranges[claim->have - 1].pages
			    : 0;
	for (i = 0; i < answer->count; i++) {
		const u64 start = answer->range[i].start, bytes = answer->range[i].length;

		if (!PAGE_ALIGNED(start) || !valid_bytes(bytes) ||
		    bytes > claim->bytes - ((u64)pages << PAGE_SHIFT))
			return -EPROTO;
		claim->ranges[claim->have++] =
			(struct window_range){ PHYS_PFN(start), pages, bytes >> PAGE_SHIFT, NULL };
		pages += bytes >> PAGE_SHIFT;
	}
	if (claim->have == claim->nr_ranges && (u64)pages << PAGE_SHIFT != claim->bytes)
		return -EPROTO;
	return 0;
}

static int ask_for_ranges(struct endpoint *endpoint, const struct popcorn_msg_addr *to, u32 number,
			  struct claim *claim)
{
	struct packet *packet = packet_new(PACKET_WINDOW, endpoint, to->endpoint, 0);
	struct window_ranges *answer = kmalloc(REPLY_MAX, GFP_KERNEL_ACCOUNT);
	int ret = packet && answer ? 0 : -ENOMEM;

	while (!ret && (!claim->ranges || claim->have < claim->nr_ranges)) {
		packet->number = number;
		packet->offset = claim->have;
		ret = hand_over(to, POPCORN_MSG_CONTROL, packet, sizeof(*packet), answer, REPLY_MAX,
				ANSWER_TIMEOUT);
		if (ret >= 0)
			ret = take_claim(claim, answer, ret);
	}
	kfree(answer);
	kfree(packet);
	return ret;
}

/* All of it lies in memory that the primary says is the maker's, and that life is not over. */
static bool is_credible(const struct popcorn_msg_addr *maker, const struct claim *claim)
{
	const int index = user_enter();
	bool good = index >= 0;
	u32 i;

	for (i = 0; good && i < claim->nr_ranges; i++)
		good = peer_owns(maker->kernel, maker->generation, PFN_PHYS(claim->ranges[i].pfn),
				 (u64)claim->ranges[i].pages << PAGE_SHIFT);
	if (index >= 0)
		user_leave(index);
	return good;
}

/*
 * Page faults give a page the memory type that its range has been claimed with: write-back, as
 * everywhere else, and not uncached, which is the default for what is not this kernel's own.
 */
static int map_ranges(struct claim *claim)
{
	struct window_range *range;
	u32 i;

	for (i = 0; i < claim->nr_ranges; i++) {
		range = &claim->ranges[i];
		range->map = memremap(PFN_PHYS(range->pfn), (u64)range->pages << PAGE_SHIFT,
				      MEMREMAP_WB);
		if (!range->map)
			break;
	}
	if (i == claim->nr_ranges)
		return 0;
	while (i--)
		memunmap(claim->ranges[i].map);
	return -ENOMEM;
}

/* From here on a process may map it, unless it was revoked meanwhile. Context: windows_lock. */
static int open_claim(struct window *window, struct claim *claim)
{
	int err;

	if (window->revoked)
		return -EPIPE;
	if (!is_credible(&window->peer, claim)) {
		pr_err_ratelimited("kernel %u.%u offers a window that is not in its memory\n",
				   window->peer.kernel, window->peer.generation);
		return -EPROTO;
	}
	err = map_ranges(claim);
	if (err)
		return err;
	mutex_lock(&window->lock);
	window->bytes = claim->bytes;
	window->nr_ranges = claim->nr_ranges;
	window->ranges = claim->ranges;
	window->ready = true;
	mutex_unlock(&window->lock);
	claim->ranges = NULL;
	return 0;
}

int window_open(struct endpoint *endpoint, struct file *file, struct popcorn_msg_window *args)
{
	struct claim claim = {};
	struct window *window;
	int err;

	if (args->bytes)
		return -EINVAL;
	err = check_args(args);
	if (err)
		return err;
	/* First entered, then asked for: it is found by a REVOKE that comes while we ask. */
	mutex_lock(&windows_lock);
	window = new_window(endpoint, file, &args->peer, false);
	if (!IS_ERR(window))
		window->number = args->window;
	mutex_unlock(&windows_lock);
	if (IS_ERR(window))
		return PTR_ERR(window);

	err = ask_for_ranges(endpoint, &args->peer, args->window, &claim);
	mutex_lock(&windows_lock);
	if (!err)
		err = open_claim(window, &claim);
	if (err) {
		end_window(endpoint, window);
	} else {
		args->bytes = window->bytes;
		args->offset = window->offset;
	}
	mutex_unlock(&windows_lock);
	kvfree(claim.ranges);
	return err;
}

int window_close(struct endpoint *endpoint, const struct popcorn_msg_window *args)
{
	struct window *window;
	int err = -ENOENT;

	if (args->flags || args->reserved)
		return -EINVAL;
	mutex_lock(&windows_lock);
	list_for_each_entry(window, &endpoint->windows, mine)
		if (window->offset == args->offset && window->ready) {
			end_window(endpoint, window);
			err = 0;
			break;
		}
	mutex_unlock(&windows_lock);
	return err;
}

/* No system call is in the endpoint, and nobody maps anything of it. */
void windows_close(struct endpoint *endpoint)
{
	struct window *window, *next;

	mutex_lock(&windows_lock);
	list_for_each_entry_safe(window, next, &endpoint->windows, mine)
		end_window(endpoint, window);
	mutex_unlock(&windows_lock);
}

/* What this kernel has opened of @peer's. Context: windows_lock. @number 0: all of them. */
static void take_away_all(const struct popcorn_msg_peer *peer, u64 number)
{
	struct window *window;

	list_for_each_entry(window, &windows, list)
		if (!window->is_owned && window->peer.kernel == peer->id &&
		    window->peer.generation == peer->generation &&
		    (!number || window->number == number))
			take_away(window);
}

/* Before this kernel acknowledges that the life is over. Context: member_work. */
void windows_peer_gone(const struct popcorn_msg_peer *peer)
{
	mutex_lock(&windows_lock);
	take_away_all(peer, 0);
	mutex_unlock(&windows_lock);
}

struct revoke {
	struct work_struct work;
	struct popcorn_msg msg;
	u64 number;
};

static void answer_revoke(struct work_struct *work)
{
	struct revoke *revoke = container_of(work, struct revoke, work);
	int index;

	mutex_lock(&windows_lock);
	take_away_all(&revoke->msg.from, revoke->number);
	mutex_unlock(&windows_lock);
	index = user_enter();
	if (index >= 0) {
		popcorn_msg_reply(&revoke->msg, NULL, 0);
		user_leave(index);
	}
	kfree(revoke);
	atomic_dec(&revokes);
}

/* The maker wants its window back. Context: an interrupt. */
int window_take_revoke(const struct popcorn_msg *msg, const struct packet *packet)
{
	struct revoke *revoke;

	if (!msg->call || !packet->number)
		return -EPROTO;
	if (atomic_inc_return(&revokes) > REVOKES_MAX)
		goto full;
	revoke = kmalloc(sizeof(*revoke), GFP_ATOMIC | __GFP_NOWARN);
	if (!revoke)
		goto full;
	INIT_WORK(&revoke->work, answer_revoke);
	revoke->msg = *msg;
	revoke->number = packet->number;
	queue_work(window_wq, &revoke->work);
	return WINDOW_LATER;

full:
	/* The maker tries again. */
	atomic_dec(&revokes);
	return -EAGAIN;
}

/* Mapping */

static unsigned long page_of(const struct window *window, u32 page)
{
	u32 low = 0, high = window->nr_ranges - 1, middle;

	while (low < high) {
		middle = low + (high - low + 1) / 2;
		if (window->ranges[middle].first <= page)
			low = middle;
		else
			high = middle - 1;
	}
	return window->ranges[low].pfn + (page - window->ranges[low].first);
}

static vm_fault_t window_fault(struct vm_fault *fault)
{
	struct window *window = fault->vma->vm_private_data;
	const u64 page = fault->pgoff - (window->offset >> PAGE_SHIFT);
	vm_fault_t ret = VM_FAULT_SIGBUS;

	mutex_lock(&window->lock);
	if (!window->revoked && page < window->bytes >> PAGE_SHIFT)
		ret = vmf_insert_pfn(fault->vma, fault->address, page_of(window, page));
	mutex_unlock(&window->lock);
	return ret;
}

static void window_vm_open(struct vm_area_struct *vma)
{
	struct window *window = vma->vm_private_data;

	refcount_inc(&window->users);
}

static void window_vm_close(struct vm_area_struct *vma)
{
	put_window(vma->vm_private_data);
}

static const struct vm_operations_struct window_vm_ops = {
	.open = window_vm_open,
	.close = window_vm_close,
	.fault = window_fault,
};

int window_mmap(struct endpoint *endpoint, struct vm_area_struct *vma)
{
	const u64 start = (u64)vma->vm_pgoff << PAGE_SHIFT, bytes = vma->vm_end - vma->vm_start;
	struct window *window;
	int err = -EINVAL;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	mutex_lock(&windows_lock);
	list_for_each_entry(window, &endpoint->windows, mine) {
		if (!window->ready || start < window->offset || bytes > window->bytes ||
		    start - window->offset > window->bytes - bytes)
			continue;
		refcount_inc(&window->users);
		vma->vm_private_data = window;
		vma->vm_ops = &window_vm_ops;
		popcorn_vm_flags(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP, 0);
		err = 0;
		break;
	}
	mutex_unlock(&windows_lock);
	return err;
}

int windows_init(void)
{
	window_wq = alloc_workqueue("popcorn_msg_window", WQ_UNBOUND, 0);
	return window_wq ? 0 : -ENOMEM;
}

/* No descriptor is open; what can't be asked of others any more ends by itself. */
void windows_exit(void)
{
	wait_var_event(&user_count.revoking, !atomic_read(&user_count.revoking));
	destroy_workqueue(window_wq);
}
