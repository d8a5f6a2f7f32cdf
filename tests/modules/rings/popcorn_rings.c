// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For tests only: a hostile driver of one device of the secondary that it is loaded in, by the table itself. The stock
 * driver has to be unbound before. Loading it does the harm and leaves it there; unloading it resets the device, after
 * which the stock driver can be bound again.
 *
 *	slot=		the device
 *	queue=		the queue that the harm is done to
 *	seconds=	how long, for what takes time
 *	how=		see rings[], harm_request() and loops[]
 */
#include <linux/acpi.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <popcorn/compat.h>
#include <popcorn/doorbell.h>
#include <popcorn/head.h>
#include <popcorn/virtio.h>

#define SIZE 64
#define ANSWER_US (40 * USEC_PER_SEC)
#define FEATURES (BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC))

static char *how = "";
module_param(how, charp, 0444);
static unsigned int slot;
module_param(slot, uint, 0444);
static unsigned int queue = 1;
module_param(queue, uint, 0444);
static unsigned int seconds = 3;
module_param(seconds, uint, 0444);

static struct popcorn_head *head;
static struct popcorn_virtio_slot *device;
/* Of each queue: a page of descriptors, one of avail, one of used, and one of what they lead to. */
static struct queue_pages {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	void *data;
} pages[POPCORN_VIRTIO_QUEUES];

static int find_table(void)
{
	const struct popcorn_acpi_table *table;
	struct acpi_table_header *header;

	/* On any other machine it would do harm that nobody contains. */
	if (ACPI_FAILURE(acpi_get_table(POPCORN_ACPI_SIGNATURE, 1, &header)))
		return -ENODEV;
	table = (const void *)header;
	head = memremap(table->head, POPCORN_HEAD_SIZE, MEMREMAP_WB);
	acpi_put_table(header);
	if (!head)
		return -ENOMEM;
	device = &((struct popcorn_virtio_table *)((u8 *)head + POPCORN_HEAD_DEVICES))->slot[slot];
	return 0;
}

static void ring(u32 reasons)
{
	u64 bell;

	popcorn_bits_set(&head->to_primary, reasons);
	bell = READ_ONCE(head->primary_bell);
	if (POPCORN_BELL_VECTOR(bell) >= POPCORN_VECTOR_MIN &&
	    POPCORN_BELL_VECTOR(bell) <= POPCORN_VECTOR_MAX)
		popcorn_send_ipi(POPCORN_BELL_APICID(bell), POPCORN_BELL_VECTOR(bell));
}

static void kick(u32 queues)
{
	popcorn_bits_set(&device->kicked, queues);
	ring(POPCORN_BELL_KICK);
}

static u32 request(u32 command)
{
	u32 number = READ_ONCE(device->request) + 1;

	WRITE_ONCE(device->of, READ_ONCE(device->instance));
	WRITE_ONCE(device->command, command);
	virt_store_release(&device->request, number);
	ring(POPCORN_BELL_REQUEST);
	return number;
}

static int answered(u32 number)
{
	u32 done;

	return read_poll_timeout(READ_ONCE, done, done == number, 1000, ANSWER_US, false,
				 device->done);
}

/* What an honest driver would say. */
static void describe(void)
{
	u32 i, n = min_t(u32, READ_ONCE(device->nr_queues), POPCORN_VIRTIO_QUEUES);

	for (i = 0; i < POPCORN_VIRTIO_QUEUES; i++) {
		device->queue[i].size = i < n ? SIZE : 0;
		device->queue[i].desc = i < n ? virt_to_phys(pages[i].desc) : 0;
		device->queue[i].avail = i < n ? virt_to_phys(pages[i].avail) : 0;
		device->queue[i].used = i < n ? virt_to_phys(pages[i].used) : 0;
	}
	device->accepted = READ_ONCE(device->features) & FEATURES;
}

/* Harm to a queue of a device that was started as it should be. */

static void put(u16 index, u64 address, u32 length, u16 flags, u16 next)
{
	pages[queue].desc[index] = (struct vring_desc){ address, length, flags, next };
}

static void offer(u16 first, u16 count)
{
	struct vring_avail *avail = pages[queue].avail;
	u16 i;

	for (i = 0; i < count; i++)
		avail->ring[(avail->idx + i) % SIZE] = first;
	virt_store_release(&avail->idx, (u16)(avail->idx + count));
	kick(BIT(queue));
}

/* One descriptor; @address: if not of our own. */
static const struct ring_harm {
	const char *how;
	bool ours; /* @address is from the queue's own data on */
	u64 address;
	u32 length;
	u16 flags, next;
	u16 first, count; /* what is made available, and how often */
} rings[] = {
	{ "address-zero", false, 0, 256, 0, 0, 0, 1 },
	{ "address-primary", false, 0x1000000, 256, 0, 0, 0, 1 },
	{ "address-primary-written", false, 0x1000000, 4096, VRING_DESC_F_WRITE, 0, 0, 1 },
	{ "address-top", false, ~0ULL - 15, 256, 0, 0, 0, 1 },
	{ "address-high", false, 1ULL << 51, 256, VRING_DESC_F_WRITE, 0, 0, 1 },
	{ "length", true, 0, ~0U, 0, 0, 0, 1 },
	{ "length-none", true, 0, 0, 0, 0, 0, 1 },
	{ "loop", true, 0, 16, VRING_DESC_F_NEXT, 0, 0, 1 },
	{ "next", true, 0, 16, VRING_DESC_F_NEXT, 0xffff, 0, 1 },
	{ "indirect-long", true, 0, 0xfffffff0, VRING_DESC_F_INDIRECT, 0, 0, 1 },
	{ "indirect-odd", true, 0, 7, VRING_DESC_F_INDIRECT, 0, 0, 1 },
	{ "indirect-outside", false, 0x1000000, 64, VRING_DESC_F_INDIRECT, 0, 0, 1 },
	{ "avail-entry", true, 0, 64, 0, 0, 0xffff, 1 },
	{ "avail-jump", true, 0, 64, 0, 0, 0, 30000 },
};

static void harm_ring(const struct ring_harm *harm)
{
	put(0, harm->address + (harm->ours ? virt_to_phys(pages[queue].data) : 0), harm->length,
	    harm->flags, harm->next);
	offer(harm->first, harm->count);
}

/* A START that should not be carried out, or a word that nobody should say. */

static void queue_at(u64 address)
{
	device->queue[queue].desc = address;
}

static int harm_request(void)
{
	u32 number = 0;

	describe();
	if (!strcmp(how, "features-more"))
		device->accepted |= ~READ_ONCE(device->features);
	else if (!strcmp(how, "features-none"))
		device->accepted = 0;
	else if (!strcmp(how, "queue-zero"))
		queue_at(0);
	else if (!strcmp(how, "queue-head"))
		queue_at(head->head);
	else if (!strcmp(how, "queue-top"))
		queue_at(~0ULL - 15);
	else if (!strcmp(how, "queue-primary"))
		queue_at(0x1000000);
	else if (!strcmp(how, "queue-odd"))
		device->queue[queue].desc++;
	else if (!strcmp(how, "queue-size"))
		device->queue[queue].size = 3;
	else if (!strcmp(how, "queue-many"))
		device->queue[POPCORN_VIRTIO_QUEUES - 1] = device->queue[0];
	else if (!strcmp(how, "command")) {
		request(99);
		return 0;
	} else if (!strcmp(how, "start-twice")) {
		number = request(POPCORN_VIRTIO_START);
		if (answered(number))
			return -ETIMEDOUT;
	} else if (!strcmp(how, "give-up")) {
		/* Without a START, and again and again. */
		for (number = 0; number < 1000; number++)
			request(POPCORN_VIRTIO_GIVE_UP);
		return 0;
	} else {
		return -EINVAL;
	}
	request(POPCORN_VIRTIO_START);
	return 0;
}

/* For seconds, over and over. */

static void loop(void (*once)(void))
{
	unsigned long end = jiffies + seconds * HZ;

	while (time_before(jiffies, end)) {
		once();
		cond_resched();
	}
}

/* All that is ours to write, while the primary reads it. */
static void rewrite_table(void)
{
	u8 *ours = (u8 *)device + offsetof(struct popcorn_virtio_slot, request);
	size_t i, n = sizeof(*device) - offsetof(struct popcorn_virtio_slot, request);
	u32 number = READ_ONCE(device->request) + 1;

	if (get_random_u32() % 4 == 0)
		describe();
	for (i = 0; i < 8; i++)
		ours[get_random_u32() % n] = get_random_u32();
	WRITE_ONCE(device->command, get_random_u32() % 4);
	WRITE_ONCE(device->of, READ_ONCE(device->instance));
	virt_store_release(&device->request, number);
	ring(POPCORN_BELL_REQUEST | POPCORN_BELL_KICK);
}

static void storm(void)
{
	kick(~0U);
	ring(POPCORN_BELL_REQUEST | POPCORN_BELL_KICK);
}

/* The parts of a ring that the server writes, and those that it reads. */
static void rewrite_ring(void)
{
	struct queue_pages *p = &pages[queue];

	WRITE_ONCE(p->used->idx, (u16)get_random_u32());
	WRITE_ONCE(p->used->flags, (u16)get_random_u32());
	WRITE_ONCE(p->avail->flags, (u16)get_random_u32());
	put(get_random_u32() % SIZE, virt_to_phys(p->data), get_random_u32() % 8192,
	    get_random_u32() % 4, get_random_u32() % SIZE);
	offer(get_random_u32() % SIZE, 1);
}

/* What was described is changed when it was started already: nobody looks at it again. */
static void change_queues(void)
{
	u32 i;

	for (i = 0; i < POPCORN_VIRTIO_QUEUES; i++)
		device->queue[i] = (struct popcorn_virtio_queue){
			.desc = 0x1000000, .avail = 0x1000000, .used = 0x1000000, .size = SIZE
		};
	kick(~0U);
}

static const struct {
	const char *how;
	bool started; /* the device is, before */
	void (*once)(void);
} loops[] = {
	{ "table", false, rewrite_table },
	{ "storm", true, storm },
	{ "ring", true, rewrite_ring },
	{ "queues", true, change_queues },
};

static int start(void)
{
	describe();
	return answered(request(POPCORN_VIRTIO_START)) ? -ETIMEDOUT : 0;
}

static int harm(void)
{
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(rings); i++) {
		if (strcmp(how, rings[i].how))
			continue;
		err = start();
		if (!err)
			harm_ring(&rings[i]);
		return err;
	}
	for (i = 0; i < ARRAY_SIZE(loops); i++) {
		if (strcmp(how, loops[i].how))
			continue;
		err = loops[i].started ? start() : 0;
		if (!err)
			loop(loops[i].once);
		return err;
	}
	return harm_request();
}

static void *page(void)
{
	return (void *)get_zeroed_page(GFP_KERNEL);
}

static void free_pages_of_queues(void)
{
	u32 i;

	for (i = 0; i < POPCORN_VIRTIO_QUEUES; i++) {
		free_page((unsigned long)pages[i].desc);
		free_page((unsigned long)pages[i].avail);
		free_page((unsigned long)pages[i].used);
		free_page((unsigned long)pages[i].data);
	}
}

static void rings_exit(void)
{
	/* Pages that a server may still write to are better lost. */
	if (!answered(request(POPCORN_VIRTIO_STOP)))
		free_pages_of_queues();
	else
		pr_err("popcorn_rings: the device was not reset\n");
	memunmap(head);
}

static int __init rings_init(void)
{
	bool all = true;
	u32 i;
	int err;

	if (slot >= POPCORN_VIRTIO_SLOTS || queue >= POPCORN_VIRTIO_QUEUES)
		return -EINVAL;
	err = find_table();
	if (err)
		return err;
	for (i = 0; i < POPCORN_VIRTIO_QUEUES; i++) {
		pages[i] = (struct queue_pages){ page(), page(), page(), page() };
		all = all && pages[i].desc && pages[i].avail && pages[i].used && pages[i].data;
	}
	if (!all || !READ_ONCE(device->instance)) {
		free_pages_of_queues();
		memunmap(head);
		return all ? -ENODEV : -ENOMEM;
	}
	pr_info("popcorn_rings: %s, slot %u, queue %u\n", how, slot, queue);
	err = harm();
	if (err)
		rings_exit();
	return err;
}
module_init(rings_init);
module_exit(rings_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A hostile virtio driver, for tests");
