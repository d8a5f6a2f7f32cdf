// SPDX-License-Identifier: GPL-2.0-only
/*
 * popcorn_guest.ko: makes a stock kernel a well-behaved secondary. It finds the head of the
 * kernel's memory through the ACPI table PCRN, and through it gives the kernel a console, a
 * doorbell, a heartbeat and an orderly end. On a machine without that table it does nothing.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/acpi.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/utsname.h>
#include <popcorn/msg.h>

#include "guest.h"

struct popcorn_head *guest_head;

static int find_head(u64 *ret_head, u32 *ret_id, u32 *ret_generation)
{
	const struct popcorn_acpi_table *table;
	struct acpi_table_header *header;
	acpi_status status;
	int err = 0;

	status = acpi_get_table(POPCORN_ACPI_SIGNATURE, 1, &header);
	if (ACPI_FAILURE(status))
		return -ENODEV;

	table = (const void *)header;
	if (header->length < sizeof(*table)) {
		pr_err("ACPI table %s has %u bytes instead of %zu\n", POPCORN_ACPI_SIGNATURE,
		       header->length, sizeof(*table));
		err = -EINVAL;
	} else if (table->version != POPCORN_HEAD_VERSION) {
		pr_err("ACPI table %s is version %u, this module knows version %u\n",
		       POPCORN_ACPI_SIGNATURE, table->version, POPCORN_HEAD_VERSION);
		err = -EPROTO;
	} else if (!table->head || !IS_ALIGNED(table->head, PAGE_SIZE)) {
		pr_err("ACPI table %s gives a head at %#llx\n", POPCORN_ACPI_SIGNATURE,
		       table->head);
		err = -EINVAL;
	} else {
		*ret_head = table->head;
		*ret_id = table->id;
		*ret_generation = table->generation;
	}
	acpi_put_table(header);
	return err;
}

static int check_head(const struct popcorn_head *head, u64 address, u32 id, u32 generation)
{
	if (head->magic != POPCORN_HEAD_MAGIC) {
		pr_err("no head at %#llx: magic is %#llx\n", address, head->magic);
		return -EINVAL;
	}
	if (head->version != POPCORN_HEAD_VERSION || head->size != sizeof(*head)) {
		pr_err("the primary's popcorn speaks version %u (%u bytes), this module version %u "
		       "(%zu bytes)\n",
		       head->version, head->size, POPCORN_HEAD_VERSION, sizeof(*head));
		return -EPROTO;
	}
	if (head->head != address || head->id != id || head->generation != generation) {
		pr_err("head at %#llx is of kernel %u.%u at %#llx, the ACPI table is of kernel "
		       "%u.%u\n",
		       address, head->id, head->generation, head->head, id, generation);
		return -EINVAL;
	}
	if (!head->nr_cpus || head->nr_cpus > POPCORN_CPUS_MAX ||
	    strnlen(head->name, sizeof(head->name)) == sizeof(head->name)) {
		pr_err("head at %#llx is damaged\n", address);
		return -EINVAL;
	}
	return 0;
}

/*
 * Release, because the primary takes what a state announces (release, reason, text) for complete
 * when it sees the state; then the bell, because ringing first would let it look too early.
 */
void guest_state_set(u32 state)
{
	virt_store_release(&guest_head->guest_state, state);
	bell_ring(POPCORN_BELL_STATE);
}

static int __init guest_init(void)
{
	u32 id, generation;
	u64 address;
	int err;

	err = find_head(&address, &id, &generation);
	if (err)
		return err;

	guest_head = memremap(address, POPCORN_HEAD_SIZE, MEMREMAP_WB);
	if (!guest_head) {
		pr_err("can't map the head at %#llx\n", address);
		return -ENOMEM;
	}

	err = check_head(guest_head, address, id, generation);
	if (err == -EPROTO) {
		/* These fields have the same place in all versions, so the primary can say why. */
		WRITE_ONCE(guest_head->guest_version, POPCORN_HEAD_VERSION);
		guest_state_set(POPCORN_GUEST_CHECKIN);
	}
	if (err)
		goto unmap;
	/* A second module, or one loaded by a crash kernel: the first one's users still run. */
	if (READ_ONCE(guest_head->guest_state) != POPCORN_GUEST_NONE) {
		pr_err("kernel %u has checked in before\n", id);
		err = -EBUSY;
		goto unmap;
	}

	err = bell_init();
	if (err) {
		pr_err("can't set up the doorbell: %d\n", err);
		goto unmap;
	}
	err = beat_init();
	if (err) {
		pr_err("can't start the heartbeat: %d\n", err);
		goto no_bell;
	}
	err = end_init();
	if (err) {
		pr_err("can't register for reboot and panic: %d\n", err);
		goto no_beat;
	}
	err = device_init();
	if (err) {
		pr_err("can't make the device node: %d\n", err);
		goto no_end;
	}
	/* The last step that can fail: a console that has been in use can't be taken back. */
	err = console_init();
	if (err) {
		pr_err("can't make the console: %d\n", err);
		goto no_device;
	}

	pr_info("kernel \"%s\", id %u.%u, %u CPUs, head at %#llx\n", guest_head->name, id,
		generation, guest_head->nr_cpus, address);
	strscpy(guest_head->release, init_utsname()->release, sizeof(guest_head->release));
	WRITE_ONCE(guest_head->guest_version, POPCORN_HEAD_VERSION);
	guest_state_set(POPCORN_GUEST_CHECKIN);
	/* Goes on by itself; a kernel without messages is still a kernel. */
	popcorn_msg_join(guest_head->directory, id, generation);
	return 0;

no_device:
	device_exit();
no_end:
	end_exit();
no_beat:
	beat_exit();
no_bell:
	bell_exit();
unmap:
	memunmap(guest_head);
	return err;
}
module_init(guest_init);
/*
 * No module_exit(): the primary takes a kernel without a heartbeat for dead, and one whose end is
 * not announced can reset the machine.
 */

MODULE_DESCRIPTION("Popcorn: console, doorbell, heartbeat and orderly end of a secondary kernel");
MODULE_LICENSE("GPL");
