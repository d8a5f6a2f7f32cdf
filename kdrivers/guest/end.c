// SPDX-License-Identifier: GPL-2.0-only
/*
 * How this kernel ends. None of the ways in which a kernel usually ends is harmless here: a reboot
 * resets the whole machine (the keyboard controller, if nothing before it does), a halt tells
 * nobody. So each of them stops in this file: the reason goes to the head, the doorbell rings, and
 * the CPU waits with interrupts off for the INIT by which the primary parks it.
 *
 *	reboot, power-off, halt, kexec: the reboot notifier notes which it is; the stop is in
 *		kmsg_dump(KMSG_DUMP_SHUTDOWN), the last thing the kernel does before it touches the
 *		machine. By then its devices are shut down: a PCI function that it was given no
 *		longer writes to memory.
 *	emergency restart (sysrq-b): calls no notifier, but kmsg_dump(KMSG_DUMP_EMERG).
 *	panic: the panic notifier. The other CPUs have been stopped by panic().
 *
 * The other CPUs of an SMP kernel that ends without a panic go on running, idle, until their INIT.
 */
#include <linux/atomic.h>
#include <linux/irqflags.h>
#include <linux/kmsg_dump.h>
#include <linux/limits.h>
#include <linux/notifier.h>
#include <linux/panic_notifier.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include <popcorn/compat.h>

#include "guest.h"

/* What the reboot notifier was told. */
static u32 end_reason = POPCORN_REASON_REBOOT;

static void __noreturn end(u32 reason, const char *text)
{
	static atomic_t ended = ATOMIC_INIT(0);

	local_irq_disable();
	/* Two CPUs can get here, by a panic during a shutdown; the first one's reason is the cause.
	 */
	if (!atomic_xchg(&ended, 1)) {
		strscpy(guest_head->text, text, sizeof(guest_head->text));
		WRITE_ONCE(guest_head->guest_reason, reason);
		guest_state_set(POPCORN_GUEST_ENDED);
	}
	/* An NMI ends a halt, so again and again; an INIT does not come back. */
	for (;;)
		native_halt();
}

static int reboot_notify(struct notifier_block *block, unsigned long how, void *command)
{
	switch (how) {
	case SYS_POWER_OFF:
		end_reason = POPCORN_REASON_POWEROFF;
		break;
	case SYS_HALT:
		end_reason = POPCORN_REASON_HALT;
		break;
	default: /* SYS_RESTART, and kexec, which says the same */
		end_reason = POPCORN_REASON_REBOOT;
		break;
	}
	return NOTIFY_DONE;
}

static void kmsg_notify(struct kmsg_dumper *dumper, popcorn_kmsg_detail_t detail)
{
	switch (popcorn_kmsg_reason(detail)) {
	case KMSG_DUMP_SHUTDOWN:
		end(end_reason, "");
	case KMSG_DUMP_EMERG:
		end(POPCORN_REASON_RESET, "emergency restart");
	default: /* an oops, from which the kernel goes on; a panic, which has been here */
		break;
	}
}

/* Room for the last lines of the log. Static, because a panic can't allocate. */
static char log_tail[SZ_16K];

/*
 * Normally the console has printed the panic message by now: printk() in panic() prints before it
 * returns, and this notifier is called after that. Not so when another CPU was printing and was
 * stopped in the middle of it, or when printing is left to a thread (PREEMPT_RT): then panic()
 * would flush the console after the notifiers, to which it does not come. So the end of the log is
 * written to the ring here, if the message is not in it.
 */
static void write_log_tail(const char *message)
{
	struct kmsg_dump_iter iter;
	size_t length = 0;

	if (console_holds(message))
		return;
	kmsg_dump_rewind(&iter);
	if (!kmsg_dump_get_buffer(&iter, false, log_tail, sizeof(log_tail), &length) || !length)
		return;
	console_write("\r\n[popcorn: the end of the kernel log]\r\n", 40);
	console_write(log_tail, min(length, sizeof(log_tail)));
	if (!console_holds(message)) {
		console_write(message, strlen(message));
		console_write("\r\n", 2);
	}
}

static int panic_notify(struct notifier_block *block, unsigned long unused, void *buf)
{
	char message[POPCORN_TEXT_MAX];

	strscpy(message, buf, sizeof(message));
	message[strcspn(message, "\n")] = '\0';
	write_log_tail(message);
	end(POPCORN_REASON_PANIC, message);
}

/* After all other notifiers: what they do still has an effect. */
static struct notifier_block reboot_block = {
	.notifier_call = reboot_notify,
	.priority = INT_MIN,
};

static struct notifier_block panic_block = {
	.notifier_call = panic_notify,
	.priority = INT_MIN,
};

static struct kmsg_dumper kmsg_block = {
	.dump = kmsg_notify,
	.max_reason = KMSG_DUMP_SHUTDOWN,
};

int end_init(void)
{
	int err;

	err = register_reboot_notifier(&reboot_block);
	if (err)
		return err;
	err = kmsg_dump_register(&kmsg_block);
	if (err)
		goto no_reboot;
	err = atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
	if (err)
		goto no_kmsg;
	return 0;

no_kmsg:
	kmsg_dump_unregister(&kmsg_block);
no_reboot:
	unregister_reboot_notifier(&reboot_block);
	return err;
}

void end_exit(void)
{
	atomic_notifier_chain_unregister(&panic_notifier_list, &panic_block);
	kmsg_dump_unregister(&kmsg_block);
	unregister_reboot_notifier(&reboot_block);
}
