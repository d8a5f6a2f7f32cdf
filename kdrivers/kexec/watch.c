// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a running kernel says (the doorbell's work), and what it does not say (the watch): silence
 * and the registers that ACPI writes before any module of ours can speak.
 */
#include <linux/ctype.h>
#include <linux/ktime.h>
#include <linux/timer.h>
#include <popcorn/msg.h>

#include "kexec.h"

/* As often as hearts beat. */
#define WATCH_MS 1000
/* While a kernel boots, until its emergency restart is ours: see popcorn_close_reset(). */
#define WATCH_EARLY_MS 10

/* Copies a text that the other kernel wrote, and may be writing: one line, printable, ended. */
static void copy_text(char *to, const char *from, size_t size)
{
	size_t i;
	char c;

	for (i = 0; i < size - 1; i++) {
		c = READ_ONCE(from[i]);
		if (!c)
			break;
		to[i] = isascii(c) && isprint(c) ? c : c == '\n' && from[i + 1] ? ' ' : '?';
	}
	/* A newline at the end of a message says nothing. */
	if (i && from[i - 1] == '\n')
		i--;
	memset(to + i, 0, size - i);
}

static void ended(struct popcorn_kernel *kernel)
{
	u32 reason = READ_ONCE(kernel->head->guest_reason);
	u32 state;

	switch (reason) {
	case POPCORN_REASON_POWEROFF:
	case POPCORN_REASON_REBOOT:
	case POPCORN_REASON_HALT:
		state = POPCORN_STATE_STOPPED;
		break;
	case POPCORN_REASON_PANIC:
	case POPCORN_REASON_RESET:
		state = POPCORN_STATE_CRASHED;
		break;
	default:
		state = POPCORN_STATE_CRASHED;
		reason = POPCORN_REASON_HOSTILE;
	}
	copy_text(kernel->text, kernel->head->text, sizeof(kernel->text));
	popcorn_end(kernel, state, reason);
}

/* Context: kernel->lock is held, the kernel is alive. */
static void look_at_state(struct popcorn_kernel *kernel)
{
	struct popcorn_head *head = kernel->head;
	/* Pairs with the store by which it announces what is read below. */
	u32 state = smp_load_acquire(&head->guest_state), old = kernel->guest_state;
	u64 now = ktime_get_boottime_ns();
	u32 i;

	if (state == old)
		return;
	if (state < old || state > POPCORN_GUEST_ENDED) {
		scnprintf(kernel->text, sizeof(kernel->text), "guest_state went from %u to %u", old,
			  state);
		popcorn_end(kernel, POPCORN_STATE_CRASHED, POPCORN_REASON_HOSTILE);
		return;
	}
	kernel->guest_state = state;

	if (old < POPCORN_GUEST_CHECKIN) {
		u32 version = READ_ONCE(head->guest_version);

		if (version != POPCORN_HEAD_VERSION) {
			scnprintf(kernel->text, sizeof(kernel->text),
				  "its module speaks version %u, this kernel's version %u", version,
				  POPCORN_HEAD_VERSION);
			popcorn_end(kernel, POPCORN_STATE_CRASHED, POPCORN_REASON_ABI);
			return;
		}
		copy_text(kernel->release, head->release, sizeof(kernel->release));
		kernel->times[POPCORN_TIME_CHECKIN] = now;
		kernel->times[POPCORN_TIME_BEAT] = now;
		/* Hearts have to beat from now on; at least the boot CPU's. */
		for (i = 0; i < kernel->nr_cpus; i++)
			kernel->cpus[i].beat_time = now;
	}
	if (state == POPCORN_GUEST_ENDED) {
		ended(kernel);
		return;
	}
	/* One that was asked to stop meanwhile stays "stopping". */
	if (state == POPCORN_GUEST_READY && kernel->state == POPCORN_STATE_BOOTING)
		popcorn_set_state(kernel, POPCORN_STATE_RUNNING, POPCORN_REASON_CHECKED_IN);
}

/* Context: kernel->lock is held, the kernel is alive. */
static void look_at_registers(struct popcorn_kernel *kernel)
{
	if (READ_ONCE(kernel->head->sleep) & POPCORN_SLEEP_ENABLE)
		popcorn_end(kernel, POPCORN_STATE_STOPPED, POPCORN_REASON_POWEROFF);
	else if (popcorn_reset_tried(kernel))
		popcorn_end(kernel, POPCORN_STATE_CRASHED, POPCORN_REASON_RESET);
}

/*
 * Context: kernel->lock is held, the kernel is alive. @late: how much later than it should be this
 * is: a machine that stood still (a debugger, a host that paused it) says nothing about hearts.
 */
static void look_at_beats(struct popcorn_kernel *kernel, u64 now, u64 late)
{
	const u64 *beats = (const u64 *)((u8 *)kernel->head + POPCORN_HEAD_BEATS);
	u64 limit = (u64)kernel->heartbeat_ms * NSEC_PER_MSEC;
	struct popcorn_cpu *cpu;
	bool expected = false;
	u64 beat;
	u32 i;

	/* One CPU at least is online, whatever a kernel says: then it is the boot CPU. */
	for (i = 0; i < kernel->nr_cpus; i++)
		expected |= READ_ONCE(beats[i]) != POPCORN_BEAT_OFF;
	for (i = 0; i < kernel->nr_cpus; i++) {
		cpu = &kernel->cpus[i];
		beat = READ_ONCE(beats[i]);
		if (beat != cpu->beat) {
			cpu->beat = beat;
			cpu->beat_time = now;
			kernel->times[POPCORN_TIME_BEAT] = now;
			continue;
		}
		cpu->beat_time += late;
		/* Another CPU may never have been started, or have been taken offline. */
		if (i ? !beat || beat == POPCORN_BEAT_OFF : beat == POPCORN_BEAT_OFF && expected)
			continue;
		if (now < cpu->beat_time || now - cpu->beat_time < limit)
			continue;
		scnprintf(kernel->text, sizeof(kernel->text),
			  "CPU %u of the kernel gave no sign of life for %llu ms", i,
			  (now - cpu->beat_time) / NSEC_PER_MSEC);
		popcorn_end(kernel, POPCORN_STATE_CRASHED, POPCORN_REASON_HEARTBEAT);
		return;
	}
}

/* The kernel has said something. */
void popcorn_work(struct work_struct *work)
{
	struct popcorn_kernel *kernel = container_of(work, struct popcorn_kernel, work);

	mutex_lock(&kernel->lock);
	if (popcorn_alive(kernel))
		look_at_state(kernel);
	if (popcorn_alive(kernel))
		popcorn_devices_look(kernel);
	mutex_unlock(&kernel->lock);
	popcorn_put(kernel);
}

static void watch_again(struct popcorn_kernel *kernel)
{
	bool early = kernel->guest_state < POPCORN_GUEST_CHECKIN && !kernel->parked_reset;

	/* The reference is the watch's own; it is one at a time. */
	kernel->watch_time = ktime_get_boottime_ns();
	/* Rounded to full seconds: a primary with many kernels wakes up once for all of them. */
	queue_delayed_work(popcorn_wq, &kernel->watch,
			   early ? msecs_to_jiffies(WATCH_EARLY_MS)
				 : round_jiffies_relative(msecs_to_jiffies(WATCH_MS)));
}

void popcorn_watch(struct work_struct *work)
{
	struct popcorn_kernel *kernel =
		container_of(to_delayed_work(work), struct popcorn_kernel, watch);
	u64 now = ktime_get_boottime_ns(), gap, late;

	popcorn_msg_beat();
	mutex_lock(&kernel->lock);
	/* A bell that was lost because the interrupt was just moving is made good here. */
	if (popcorn_alive(kernel))
		look_at_state(kernel);
	if (popcorn_alive(kernel))
		look_at_registers(kernel);
	if (popcorn_alive(kernel)) {
		popcorn_reasons_take(kernel);
		if (READ_ONCE(kernel->head->to_guest))
			popcorn_ring(kernel, 0);
		popcorn_close_reset(kernel);
		gap = now - kernel->watch_time;
		late = gap > 2 * WATCH_MS * NSEC_PER_MSEC ? gap - WATCH_MS * NSEC_PER_MSEC : 0;
		if (kernel->guest_state >= POPCORN_GUEST_CHECKIN)
			look_at_beats(kernel, now, late);
	}
	if (popcorn_alive(kernel)) {
		watch_again(kernel);
		mutex_unlock(&kernel->lock);
		return;
	}
	mutex_unlock(&kernel->lock);
	popcorn_put(kernel);
}

/* Context: kernel->lock is held; the kernel has just been started, for the only time. */
void popcorn_watch_start(struct popcorn_kernel *kernel)
{
	popcorn_get(kernel);
	watch_again(kernel);
}
