// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For tests only: does to the kernel it is loaded in what a broken kernel would do to itself, and
 * to the memory it shares with the primary. Loading it succeeds when the kernel survives that.
 *
 *	how=hang	CPU cpu= loops with interrupts off
 *	how=hang-all	all CPUs do
 *	how=triple-fault
 *	how=panic	in interrupt context, on CPU cpu=
 *	how=garbage	overwrites what the secondary writes in the head, and its rings
 *	how=bad-vector	publishes a doorbell at the vector that would deafen a CPU
 *	how=storm	rings at the primary for seconds= without a break
 *	how=ring	overwrites the rings in kernel victim= that are for this one
 *	how=tail	tells kernel victim= that its messages were read before they were sent
 *	how=mailbox	overwrites this kernel's mailbox
 *	how=version	says that this kernel's mailbox has the version version=
 *	how=directory	says that the primary's directory has it
 *	how=ring-version  gives it to all rings that this kernel makes from now on, until it is unloaded
 *	how=entry	overwrites this kernel's part of its entry in the directory
 *	how=forge-…	sends kernel victim= a control message that makes no sense: see forged[]. There must be
 *			no other one under way
 */
#include <linux/acpi.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/jiffies.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <asm/desc.h>
#include <popcorn/compat.h>
#include <popcorn/directory.h>
#include <popcorn/head.h>

static char *how = "";
module_param(how, charp, 0444);
static unsigned int cpu;
module_param(cpu, uint, 0444);
static unsigned int seconds = 5;
module_param(seconds, uint, 0444);

static unsigned int victim;
module_param(victim, uint, 0444);

static unsigned int version = 99;
module_param(version, uint, 0444);

static struct popcorn_head *find_head(void)
{
	const struct popcorn_acpi_table *table;
	struct acpi_table_header *header;
	struct popcorn_head *head;

	if (ACPI_FAILURE(acpi_get_table(POPCORN_ACPI_SIGNATURE, 1, &header)))
		return NULL;
	table = (const void *)header;
	head = memremap(table->head, POPCORN_HEAD_SIZE, MEMREMAP_WB);
	acpi_put_table(header);
	return head;
}

static void hang(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static void panic_here(void *unused)
{
	panic("popcorn_misbehave was asked to");
}

static void triple_fault(void)
{
	static const struct desc_ptr none;

	local_irq_disable();
	/* The exception finds no handler, nor does the one for that. */
	asm volatile("lidt %0; int3" : : "m"(none));
}

static void fill(struct popcorn_head *head, size_t start, size_t end)
{
	memset((u8 *)head + start, 0xa5, end - start);
}

/* But for the sleep and reset registers: with them it would be a power-off. */
static void garbage(struct popcorn_head *head)
{
	fill(head, POPCORN_HEAD_BEATS, POPCORN_HEAD_TABLES);
	fill(head, POPCORN_HEAD_CONSOLE_OUT, POPCORN_HEAD_SIZE);
	fill(head, offsetof(struct popcorn_head, guest_bell), sizeof(*head));
	WRITE_ONCE(head->to_primary, ~0U);
}

static void storm(struct popcorn_head *head)
{
	unsigned long end = jiffies + seconds * HZ;
	u64 bell;

	while (time_before(jiffies, end)) {
		bell = READ_ONCE(head->primary_bell);
		WRITE_ONCE(head->to_primary, ~0U);
		if (POPCORN_BELL_VECTOR(bell) >= 0x20 && POPCORN_BELL_VECTOR(bell) < 0xff)
			popcorn_send_ipi(POPCORN_BELL_APICID(bell), POPCORN_BELL_VECTOR(bell));
		cond_resched();
	}
}

static void *map(u64 address, size_t bytes)
{
	return address ? memremap(address, bytes, MEMREMAP_WB) : NULL;
}

/* The other kernel looks at us: by the mark of each lane, and at the directory. */
static void disturb(const struct popcorn_directory *directory, struct popcorn_mailbox *theirs,
		    u32 me)
{
	u64 bell = READ_ONCE(directory->entry[victim].bell);
	u32 lane;

	for (lane = 0; lane < POPCORN_LANES; lane++)
		WRITE_ONCE(theirs->bell[lane].pending[me], 1);
	WRITE_ONCE(theirs->news, 1);
	mb();
	if (POPCORN_BELL_VECTOR(bell) >= POPCORN_VECTOR_MIN &&
	    POPCORN_BELL_VECTOR(bell) <= POPCORN_VECTOR_MAX)
		popcorn_send_ipi(POPCORN_BELL_APICID(bell), POPCORN_BELL_VECTOR(bell));
}

/* Flags: 1 a request, 2 a reply, 4 a chunk (id: stream, cookie: total and offset), 8 to a group. */
#define CHUNK 3816
#define TOTAL(n) ((u64)(n) << 32)
static const struct forged {
	const char *how;
	struct popcorn_message message;
	u64 payload[3];
} forged[] = {
	{ "forge-flags", { .type = 16, .flags = 3, .id = 1 }, {} },
	{ "forge-layer", { .type = 15 }, {} },
	{ "forge-hello", { .type = 0, .length = 24 }, {} },
	{ "forge-room", { .type = 16, .flags = 1, .id = 1, .cookie = CHUNK + 1 }, {} },
	{ "forge-chunk-offset", { CHUNK, 17, 4, 0, TOTAL(2 * CHUNK) + CHUNK }, {} },
	{ "forge-chunk-total", { CHUNK, 17, 4, 0, TOTAL((1 << 20) + 1) }, {} },
	{ "forge-chunk-short", { CHUNK - 1, 17, 4, 0, TOTAL(2 * CHUNK) }, {} },
	{ "forge-chunk-stream", { CHUNK, 17, 4, 16, TOTAL(2 * CHUNK) }, {} },
	{ "forge-group-name", { .type = 16, .flags = 8, .id = ~0ULL, .cookie = ~0ULL }, {} },
	{ "forge-group-slot", { .type = 2, .length = 24 }, { 64, 'x', 0 } },
	{ "forge-group-text", { .type = 2, .length = 24 }, { 0, '\n', 0 } },
};

static int format_begins(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(struct popcorn_ring **)instance->data = (void *)regs_get_kernel_argument(regs, 0);
	return 0;
}

static int format_ends(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	(*(struct popcorn_ring **)instance->data)->version = version;
	return 0;
}

/* Before anybody can see the ring: nothing but the version is wrong, however fast its sender is. */
static struct kretprobe format_probe = {
	.kp.symbol_name = "popcorn_msg:popcorn_ring_format",
	.entry_handler = format_begins,
	.handler = format_ends,
	.data_size = sizeof(struct popcorn_ring *),
};
static bool probed;

/* As the next message: what was sent before has been taken. */
static int forge(struct popcorn_ring *ring)
{
	const struct forged *f;
	struct popcorn_slot *slot;
	u64 ticket = ring->tail;
	u32 i;

	for (f = forged; f < forged + ARRAY_SIZE(forged); f++)
		if (!strcmp(how, f->how))
			break;
	if (f == forged + ARRAY_SIZE(forged))
		return -EINVAL;
	for (i = popcorn_message_slots(f->message.length); i-- > 1;)
		ring->slot[(ticket + i) & (ring->slots - 1)].seq =
			(ticket + i + 1) | POPCORN_SEQ_MORE;
	slot = &ring->slot[ticket & (ring->slots - 1)];
	memcpy(slot->bytes, &f->message, sizeof(f->message));
	memcpy(slot->bytes + sizeof(f->message), f->payload, sizeof(f->payload));
	smp_store_release(&slot->seq, ticket + 1);
	return 0;
}

static int messages(const struct popcorn_head *head)
{
	struct popcorn_directory *directory = map(head->directory, sizeof(*directory));
	struct popcorn_mailbox *ours, *theirs;
	struct popcorn_mailbox_ring *where;
	struct popcorn_ring *ring;
	u32 me = head->id, lane;
	int err;

	if (!directory || victim >= POPCORN_MEMBERS_MAX)
		return -ENODEV;
	ours = map(directory->entry[me].mailbox, sizeof(*ours));
	theirs = map(directory->entry[victim].mailbox, sizeof(*theirs));
	if (!ours || !theirs)
		return -ENODEV;
	for (lane = 0; lane < POPCORN_LANES; lane++) {
		where = !strcmp(how, "tail") ? &ours->ring[victim][lane] : &theirs->ring[me][lane];
		ring = map(where->address, where->bytes);
		if (!ring)
			return -ENODEV;
		if (!strcmp(how, "ring"))
			memset(ring, 0xa5, where->bytes);
		if (!strcmp(how, "tail"))
			WRITE_ONCE(ring->tail, ~0ULL);
		if (!strncmp(how, "forge-", 6) && lane == POPCORN_LANE_CONTROL) {
			err = forge(ring);
			if (err)
				return err;
		}
	}
	if (!strcmp(how, "mailbox"))
		memset(ours, 0xa5, sizeof(*ours));
	if (!strcmp(how, "version"))
		WRITE_ONCE(ours->version, version);
	/* Constant for those who have joined: they do not look again. */
	if (!strcmp(how, "directory"))
		WRITE_ONCE(directory->version, version);
	if (!strcmp(how, "entry"))
		memset((u8 *)&directory->entry[me] +
			       offsetof(struct popcorn_directory_entry, mailbox),
		       0xa5,
		       sizeof(directory->entry[me]) -
			       offsetof(struct popcorn_directory_entry, mailbox));
	disturb(directory, theirs, me);
	return 0;
}

static int __init misbehave_init(void)
{
	struct popcorn_head *head = find_head();
	int err;

	/* On any other machine it would do harm that nobody contains. */
	if (!head)
		return -ENODEV;

	pr_info("popcorn_misbehave: %s\n", how);
	if (!strcmp(how, "hang")) {
		if (cpu == raw_smp_processor_id())
			hang(NULL);
		return smp_call_function_single(cpu, hang, NULL, 0);
	}
	if (!strcmp(how, "hang-all")) {
		preempt_disable();
		smp_call_function(hang, NULL, 0);
		hang(NULL);
	}
	if (!strcmp(how, "panic"))
		return smp_call_function_single(cpu, panic_here, NULL, 0);
	if (!strcmp(how, "triple-fault"))
		triple_fault();
	else if (!strcmp(how, "garbage"))
		garbage(head);
	else if (!strcmp(how, "bad-vector"))
		WRITE_ONCE(head->guest_bell,
			   POPCORN_BELL(POPCORN_BELL_APICID(head->guest_bell), 0xffU));
	else if (!strcmp(how, "storm"))
		storm(head);
	else if (!strcmp(how, "ring-version")) {
		err = register_kretprobe(&format_probe);
		probed = !err;
		return err;
	} else if (!strcmp(how, "ring") || !strcmp(how, "tail") || !strcmp(how, "mailbox") ||
		   !strcmp(how, "entry") || !strcmp(how, "version") || !strcmp(how, "directory") ||
		   !strncmp(how, "forge-", 6))
		return messages(head);
	else
		return -EINVAL;
	return 0;
}
module_init(misbehave_init);

/* What was written stays; who unloads it wants to misbehave in another way. */
static void __exit misbehave_exit(void)
{
	if (probed)
		unregister_kretprobe(&format_probe);
}
module_exit(misbehave_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Makes a secondary misbehave, for tests");
