// SPDX-License-Identifier: GPL-2.0-only
/*
 * The heartbeat: each CPU counts up its word in the head, from a timer that runs in hard interrupt
 * context also under PREEMPT_RT. So a CPU that beats takes interrupts, and one that hangs with them
 * off does not beat. It is the only thing here that wakes an idle CPU.
 *
 * A kernel that sleeps would neither beat nor have anything to wake it: sleep is refused.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/notifier.h>
#include <linux/percpu.h>
#include <linux/suspend.h>
#include <popcorn/msg.h>

#include "guest.h"

struct beat {
	struct hrtimer timer;
	u64 count;
};

static DEFINE_PER_CPU(struct beat, beats);
static enum cpuhp_state beat_state;
static ktime_t beat_period;

static u64 *beat_word(unsigned int cpu)
{
	return (u64 *)((u8 *)guest_head + POPCORN_HEAD_BEATS) + cpu;
}

static enum hrtimer_restart beat(struct hrtimer *timer)
{
	struct beat *beat = container_of(timer, struct beat, timer);
	unsigned int cpu = smp_processor_id();

	WRITE_ONCE(*beat_word(cpu), ++beat->count);
	if (!cpu) {
		bell_repeat();
		popcorn_msg_beat();
	}
	hrtimer_forward_now(timer, beat_period);
	return HRTIMER_RESTART;
}

/* Runs on the CPU itself, like beat_offline(). */
static int beat_online(unsigned int cpu)
{
	struct beat *this = per_cpu_ptr(&beats, cpu);

	/* More CPUs than the primary gave us are not possible; if so they have no word. */
	if (cpu >= guest_head->nr_cpus || cpu >= POPCORN_CPUS_MAX)
		return 0;
	hrtimer_init(&this->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	this->timer.function = beat;
	WRITE_ONCE(*beat_word(cpu), ++this->count);
	hrtimer_start(&this->timer, beat_period, HRTIMER_MODE_REL_PINNED_HARD);
	return 0;
}

static int beat_offline(unsigned int cpu)
{
	if (cpu >= guest_head->nr_cpus || cpu >= POPCORN_CPUS_MAX)
		return 0;
	/* In this order, or a last beat would make the CPU look alive and then dead. */
	hrtimer_cancel(&per_cpu_ptr(&beats, cpu)->timer);
	WRITE_ONCE(*beat_word(cpu), POPCORN_BEAT_OFF);
	return 0;
}

static int sleep_notify(struct notifier_block *block, unsigned long what, void *unused)
{
	switch (what) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		return NOTIFY_BAD;
	default:
		return NOTIFY_DONE;
	}
}

static struct notifier_block sleep_block = { .notifier_call = sleep_notify };

int beat_init(void)
{
	u32 period = guest_head->beat_ms, cpu;
	int ret;

	ret = register_pm_notifier(&sleep_block);
	if (ret)
		return ret;
	beat_period = ms_to_ktime(period >= 10 && period <= 60000 ? period : POPCORN_BEAT_MS);
	/* Before the online ones overwrite it: a CPU that never comes up is not a dead one. */
	for (cpu = 0; cpu < guest_head->nr_cpus; cpu++)
		WRITE_ONCE(*beat_word(cpu), POPCORN_BEAT_OFF);
	ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "popcorn/guest:beat", beat_online,
				beat_offline);
	if (ret < 0) {
		unregister_pm_notifier(&sleep_block);
		return ret;
	}
	beat_state = ret;
	return 0;
}

void beat_exit(void)
{
	cpuhp_remove_state(beat_state);
	unregister_pm_notifier(&sleep_block);
}
