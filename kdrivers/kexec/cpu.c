// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs: taken from this kernel by hotplug, started by INIT and a start-up interrupt, parked the
 * same way, and given back.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitops.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>
#include <asm/apic.h>
#include <asm/msr.h>
#include <asm/mtrr.h>
#include <asm/processor.h>
#include <asm/smp.h>
#include <popcorn/compat.h>

#include "kexec.h"
#include "trampoline.h"

/* MultiProcessor Specification 1.4, B.4: 10 ms between INIT and the first start-up interrupt. */
#define INIT_US 10000
/* The same: 200 us to the second start-up interrupt, for a CPU that missed the first. */
#define SIPI_US 200
/*
 * A CPU answers within microseconds. An emulated one waits until the host runs it: as long as a
 * busy host may take, times ten.
 */
#define ANSWER_MS 2000
/* INIT, prove, INIT: tried again because a CPU of the same kernel may start another one between. */
#define PARK_ROUNDS 4
/* Bringing a CPU back fails when hotplug is disabled for a moment. */
#define RETURN_TRIES 10
#define RETURN_RETRY_MS 20

extern const u8 popcorn_trampoline[], popcorn_trampoline_32[], popcorn_trampoline_64[],
	popcorn_trampoline_end[];

/* The start-up page, and tables by which it is identity mapped. */
static DEFINE_MUTEX(tramp_lock);
static u8 *tramp;
static u32 tramp_phys;
static u64 *tramp_tables[3];

/* CPUs that this kernel must not bring online. Bits are atomic. */
static DECLARE_BITMAP(lent_cpus, NR_CPUS);
static int cpuhp_state;

#define TRAMP32(offset) ((u32 *)(tramp + (offset)))
#define TRAMP64(offset) ((u64 *)(tramp + (offset)))

/* Nobody's: parks every CPU that arrives. An APIC id of all ones is the broadcast. */
#define NO_ID (~0U)

static int popcorn_cpu_veto(unsigned int cpu)
{
	/* Bringing it online would begin with an INIT to a CPU that another kernel works on. */
	return test_bit(cpu, lent_cpus) ? -EBUSY : 0;
}

bool popcorn_owns_apicid(const struct popcorn_kernel *kernel, u32 apicid)
{
	u32 i;

	for (i = 0; i < kernel->nr_cpus; i++)
		if (kernel->cpus[i].apicid == apicid)
			return true;
	return false;
}

/* Brings one CPU back. 0 or negative errno. */
static int cpu_return(u32 cpu)
{
	int tries, err = 0;

	clear_bit(cpu, lent_cpus);
	for (tries = 0; tries < RETURN_TRIES; tries++) {
		if (tries)
			msleep(RETURN_RETRY_MS);
		err = popcorn_fault() ? -EBUSY : add_cpu(cpu);
		if (err >= 0 || cpu_online(cpu)) /* 1: somebody else did it */
			return 0;
	}
	set_bit(cpu, lent_cpus);
	return err;
}

static int compare_u32(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? -1 : x > y;
}

/* All that can be said before anything is done. */
static int cpus_check(const u32 *cpus, u32 count, u32 *ret_bad)
{
	u32 *sorted __free(popcorn_kvfree) = NULL;
	u32 i;

	for (i = 0; i < count; i++) {
		*ret_bad = cpus[i];
		if (cpus[i] >= nr_cpu_ids || !cpu_present(cpus[i]))
			return -ENOENT;
		if (!cpus[i])
			return -EINVAL;
		if (test_bit(cpus[i], lent_cpus) || !cpu_online(cpus[i]))
			return -EBUSY;
	}
	*ret_bad = ~0U;

	sorted = kvmalloc_array(count, sizeof(*sorted), GFP_KERNEL);
	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, cpus, count * sizeof(*sorted));
	sort(sorted, count, sizeof(*sorted), compare_u32, NULL);
	for (i = 1; i < count; i++)
		if (sorted[i] == sorted[i - 1]) {
			*ret_bad = sorted[i];
			return -EINVAL;
		}
	return 0;
}

static int cpu_take(u32 cpu, struct popcorn_cpu *ret)
{
	int err;

	/* First forbidden, then taken: between the two somebody could bring it online again. */
	if (test_and_set_bit(cpu, lent_cpus))
		return -EBUSY;
	err = popcorn_fault() ? -EBUSY : remove_cpu(cpu);
	if (err) {
		clear_bit(cpu, lent_cpus);
		/* 1: it was offline already, and is not ours to bring back. */
		return -EBUSY;
	}
	*ret = (struct popcorn_cpu){
		.cpu = cpu,
		.apicid = per_cpu(x86_cpu_to_apicid, cpu),
		.initial_apicid = popcorn_initial_apicid(cpu),
	};
	return 0;
}

int popcorn_add_cpus(struct popcorn_call *call, void *arg)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct popcorn_cpu *all __free(popcorn_kvfree) = NULL;
	u32 *cpus __free(popcorn_kvfree) = NULL;
	struct popcorn_cpus *args = arg;
	u32 i, old;
	int err;

	args->bad_cpu = ~0U;
	if (args->reserved || !args->count || args->count > POPCORN_CPUS_MAX)
		return -EINVAL;
	cpus = popcorn_fault() ? NULL : kvmalloc_array(args->count, sizeof(*cpus), GFP_KERNEL);
	if (!cpus)
		return -ENOMEM;
	if (copy_from_user(cpus, u64_to_user_ptr(args->cpus), args->count * sizeof(*cpus)))
		return -EFAULT;

	err = popcorn_lock(kernel);
	if (err)
		return err;
	old = kernel->nr_cpus;
	err = -EBUSY;
	if (kernel->state != POPCORN_STATE_RESERVED)
		goto unlock;
	err = -ENOSPC;
	if (args->count > POPCORN_CPUS_MAX - old)
		goto unlock;
	err = cpus_check(cpus, args->count, &args->bad_cpu);
	if (err)
		goto unlock;
	/* Room for the record comes before what must be recorded. */
	err = -ENOMEM;
	if (!popcorn_fault())
		all = kvcalloc(old + args->count, sizeof(*all), GFP_KERNEL);
	if (!all)
		goto unlock;
	if (old)
		memcpy(all, kernel->cpus, old * sizeof(*all));

	for (i = 0; i < args->count; i++) {
		err = signal_pending(current) ? -EINTR : cpu_take(cpus[i], &all[old + i]);
		if (!err)
			continue;
		args->bad_cpu = err == -EINTR ? ~0U : cpus[i];
		while (i--)
			if (cpu_return(cpus[i]))
				pr_err("CPU %u did not come back online\n", cpus[i]);
		goto unlock;
	}
	args->bad_cpu = ~0U;
	swap(kernel->cpus, all);
	kernel->nr_cpus = old + args->count;
unlock:
	mutex_unlock(&kernel->lock);
	return err;
}

/*
 * Brings all CPUs back that can be, and forgets them. Returns how many are left.
 *
 * Context: kernel->lock is held; every CPU was seen stopped, or never started.
 */
u32 popcorn_cpus_return(struct popcorn_kernel *kernel)
{
	u32 i, left = 0;

	for (i = 0; i < kernel->nr_cpus; i++)
		if (cpu_return(kernel->cpus[i].cpu))
			kernel->cpus[left++] = kernel->cpus[i];
	kernel->nr_cpus = left;
	return left;
}

/* Interrupts to a CPU that has no kernel, or is to have none. */

static void init_assert(u32 apicid)
{
	popcorn_apic_send(APIC_INT_LEVELTRIG | APIC_INT_ASSERT | APIC_DM_INIT, apicid);
}

/* Only processors before the Pentium 4 care; the specification wants it. */
static void init_deassert(u32 apicid)
{
	popcorn_apic_send(APIC_INT_LEVELTRIG | APIC_DM_INIT, apicid);
}

static void sipi(u32 apicid)
{
	popcorn_apic_send(APIC_DM_STARTUP | (tramp_phys >> PAGE_SHIFT), apicid);
}

/* INIT to those that may run something: the ones that were seen parked, or the others. */
static void init_cpus(struct popcorn_kernel *kernel, bool seen)
{
	struct popcorn_cpu *cpu, *end = kernel->cpus + kernel->nr_cpus;

	for (cpu = kernel->cpus; cpu < end; cpu++)
		if (cpu->started && cpu->seen == seen)
			init_assert(cpu->apicid);
	usleep_range(INIT_US, INIT_US + 500);
	for (cpu = kernel->cpus; cpu < end; cpu++)
		if (cpu->started && cpu->seen == seen)
			init_deassert(cpu->apicid);
}

static void sipi_unseen(const struct popcorn_cpu *from, const struct popcorn_cpu *to)
{
	for (; from < to; from++)
		if (from->started && !from->seen)
			sipi(from->apicid);
}

/* Takes note of those who have written their id to the start-up page. True: all have. */
static bool collect_parked(struct popcorn_cpu *from, struct popcorn_cpu *to)
{
	struct popcorn_cpu *cpu;
	bool all = true;
	u32 slot, id;

	for (slot = 0; slot < TRAMP_SEEN_SLOTS; slot++) {
		id = READ_ONCE(TRAMP32(TRAMP_SEEN)[slot]);
		for (cpu = from; id != NO_ID && cpu < to; cpu++)
			if (cpu->initial_apicid == id)
				cpu->seen = true;
	}
	for (cpu = from; cpu < to; cpu++)
		all &= !cpu->started || cpu->seen;
	return all;
}

/* Not more CPUs than there are slots: they wait for a start-up interrupt, and get it here. */
static bool park_some(struct popcorn_cpu *from, struct popcorn_cpu *to)
{
	ktime_t again, limit;
	bool all;

	guard(mutex)(&tramp_lock);
	memset(tramp + TRAMP_SEEN, 0xff, TRAMP_SEEN_SLOTS * sizeof(u32));
	WRITE_ONCE(*TRAMP32(TRAMP_SEEN_NEXT), 0);
	wmb(); /* before any CPU arrives there */
	sipi_unseen(from, to);
	again = ktime_add_us(ktime_get(), SIPI_US);
	limit = ktime_add_ms(ktime_get(), ANSWER_MS);
	while (!(all = collect_parked(from, to)) && ktime_before(ktime_get(), limit)) {
		if (again && ktime_after(ktime_get(), again)) {
			sipi_unseen(from, to);
			again = 0;
		}
		usleep_range(20, 50);
	}
	return all;
}

/*
 * Stops every CPU that may execute something of the kernel, and sees each of them stopped: a CPU
 * is stopped when it was seen to execute our code instead of its kernel's. That INIT was sent says
 * nothing: it may not have arrived, or have been followed by a start-up interrupt from another CPU
 * of the same kernel. Afterwards they wait for a start-up interrupt: nothing else wakes them, NMIs
 * are blocked. -EIO: some were not seen; those stay marked as started.
 *
 * Context: kernel->lock is held. May sleep. Needs no memory: stopping must always be possible.
 */
int popcorn_cpus_park(struct popcorn_kernel *kernel)
{
	struct popcorn_cpu *cpu, *end = kernel->cpus + kernel->nr_cpus;
	bool some = false, all = false;
	int round, err = 0;

	for (cpu = kernel->cpus; cpu < end; cpu++) {
		some |= cpu->started;
		cpu->seen = false;
	}
	if (!some)
		return 0;

	for (round = 0; round < PARK_ROUNDS && !all; round++) {
		/* All of them before the first is looked for, so that none can start another. */
		init_cpus(kernel, false);
		all = true;
		for (cpu = kernel->cpus; cpu < end; cpu += TRAMP_SEEN_SLOTS)
			all &= park_some(cpu, min(cpu + TRAMP_SEEN_SLOTS, end));
	}
	if (popcorn_fault())
		end[-1].seen = false;
	/*
	 * Those that were seen lie halted in our page. INIT again, so that no NMI can lead them
	 * out of it through an interrupt table that is not there.
	 */
	init_cpus(kernel, true);
	for (cpu = kernel->cpus; cpu < end; cpu++) {
		if (cpu->started && !cpu->seen) {
			pr_err("kernel %s: CPU %u was not seen stopped\n", kernel->name, cpu->cpu);
			err = -EIO;
		} else {
			cpu->started = false;
		}
	}
	return err;
}

/* The primary's memory types, as the CPU that runs this has them: all of its CPUs agree. */
static void tramp_mtrrs(void)
{
	static const u32 fixed[] = {
		MSR_MTRRfix64K_00000, MSR_MTRRfix16K_80000, MSR_MTRRfix16K_A0000,
		MSR_MTRRfix4K_C0000,  MSR_MTRRfix4K_C8000,  MSR_MTRRfix4K_D0000,
		MSR_MTRRfix4K_D8000,  MSR_MTRRfix4K_E0000,  MSR_MTRRfix4K_E8000,
		MSR_MTRRfix4K_F0000,  MSR_MTRRfix4K_F8000,
	};
	struct {
		u32 msr, zero;
		u64 value;
	} *entry = (void *)(tramp + TRAMP_MTRRS);
	u32 i, n = 0, variable;
	u64 cap;

#define ADD(_msr)                                                          \
	do {                                                               \
		u64 value;                                                 \
                                                                           \
		if (n < TRAMP_MTRRS_MAX && !rdmsrl_safe((_msr), &value)) { \
			entry[n].msr = (_msr);                             \
			entry[n].zero = 0;                                 \
			entry[n++].value = value;                          \
		}                                                          \
	} while (0)

	*TRAMP32(TRAMP_MTRR_COUNT) = 0;
	if (!boot_cpu_has(X86_FEATURE_MTRR) || rdmsrl_safe(MSR_MTRRcap, &cap))
		return;
	if (cap & BIT(8))
		for (i = 0; i < ARRAY_SIZE(fixed); i++)
			ADD(fixed[i]);
	variable = min_t(u32, cap & 0xff, (TRAMP_MTRRS_MAX - ARRAY_SIZE(fixed) - 1) / 2);
	for (i = 0; i < variable; i++) {
		ADD(MTRRphysBase_MSR(i));
		ADD(MTRRphysMask_MSR(i));
	}
	/* Last: it switches the others on. */
	ADD(MSR_MTRRdefType);
#undef ADD
	*TRAMP32(TRAMP_MTRR_COUNT) = n;
}

/*
 * Sends the kernel's boot CPU to @entry in 64-bit mode. -ETIME: it was not seen there, and may
 * arrive yet: park it.
 *
 * Context: kernel->lock is held. May sleep.
 */
int popcorn_cpu_start(struct popcorn_kernel *kernel, u64 cr3, u64 entry, u64 boot_params)
{
	struct popcorn_cpu *cpu = &kernel->cpus[0];
	ktime_t limit, again;
	bool entered;

	/* Outside of the lock: the start-up page is not needed for this, and 10 ms are long. */
	init_assert(cpu->apicid);
	usleep_range(INIT_US, INIT_US + 500);
	init_deassert(cpu->apicid);

	guard(mutex)(&tramp_lock);
	tramp_mtrrs();
	*TRAMP64(TRAMP_KERNEL_CR3) = cr3;
	*TRAMP64(TRAMP_ENTRY) = entry;
	*TRAMP64(TRAMP_BOOT_PARAMS) = boot_params;
	WRITE_ONCE(*TRAMP32(TRAMP_ENTERED), 0);
	WRITE_ONCE(*TRAMP32(TRAMP_START_ID), cpu->initial_apicid);
	wmb(); /* before the CPU arrives there */
	if (!popcorn_fault())
		sipi(cpu->apicid);
	again = ktime_add_us(ktime_get(), SIPI_US);
	limit = ktime_add_ms(ktime_get(), ANSWER_MS);
	while (!(entered = READ_ONCE(*TRAMP32(TRAMP_ENTERED)))) {
		if (ktime_after(ktime_get(), limit))
			break;
		/* The second one of the specification; ignored by a CPU that is on its way. */
		if (again && ktime_after(ktime_get(), again)) {
			if (!popcorn_fault())
				sipi(cpu->apicid);
			again = 0;
		}
		usleep_range(20, 50);
	}
	/* A late CPU parks. */
	WRITE_ONCE(*TRAMP32(TRAMP_START_ID), NO_ID);
	return entered ? 0 : -ETIME;
}

static void tramp_write(void)
{
	static const u64 gdt[TRAMP_GDT_SIZE / 8] = {
		[TRAMP_CS32 / 8] = 0x00cf9b000000ffff, /* flat, 32-bit code */
		[TRAMP_CS64 / 8] = 0x00af9b000000ffff, /* 64-bit code */
		[TRAMP_DS / 8] = 0x00cf93000000ffff,   /* flat data */
	};

	memset(tramp, 0, TRAMP_SIZE);
	memcpy(tramp, popcorn_trampoline, popcorn_trampoline_end - popcorn_trampoline);
	memcpy(tramp + TRAMP_GDT, gdt, sizeof(gdt));
	*TRAMP32(TRAMP_START_ID) = NO_ID;
	*TRAMP32(TRAMP_CR3) = virt_to_phys(tramp_tables[0]);
	*(u16 *)(tramp + TRAMP_GDTR) = sizeof(gdt) - 1;
	/* The base follows a 16-bit limit. x86 can. */
	*(u32 *)(tramp + TRAMP_GDTR + 2) = tramp_phys + TRAMP_GDT;
	*TRAMP32(TRAMP_JUMP32) = tramp_phys + (popcorn_trampoline_32 - popcorn_trampoline);
	*(u16 *)(tramp + TRAMP_JUMP32 + 4) = TRAMP_CS32;
	*TRAMP32(TRAMP_JUMP64) = tramp_phys + (popcorn_trampoline_64 - popcorn_trampoline);
	*(u16 *)(tramp + TRAMP_JUMP64 + 4) = TRAMP_CS64;
}

int popcorn_cpu_init(void)
{
	const u64 flags = _PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED;
	int i, err;

	if (popcorn_trampoline_end - popcorn_trampoline > TRAMP_CODE_MAX)
		return -E2BIG;
	/* Below 4 GiB, for a CR3 that is written in 32-bit mode. */
	for (i = 0; i < ARRAY_SIZE(tramp_tables); i++) {
		tramp_tables[i] = (u64 *)get_zeroed_page(GFP_KERNEL | GFP_DMA32);
		if (!tramp_tables[i]) {
			err = -ENOMEM;
			goto free;
		}
	}
	tramp_tables[0][0] = virt_to_phys(tramp_tables[1]) | flags;
	tramp_tables[1][0] = virt_to_phys(tramp_tables[2]) | flags;
	tramp_tables[2][0] = flags | _PAGE_DIRTY | _PAGE_PSE;

	tramp = popcorn_tramp(&tramp_phys);
	tramp_write();
	err = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "popcorn:lent", popcorn_cpu_veto,
					NULL);
	if (err < 0)
		goto free;
	cpuhp_state = err;
	return 0;
free:
	while (i--)
		free_page((unsigned long)tramp_tables[i]);
	return err;
}

void popcorn_cpu_exit(void)
{
	int i;

	cpuhp_remove_state_nocalls(cpuhp_state);
	/* Parked CPUs wait for a start-up interrupt and use neither page nor tables. */
	memset(tramp, 0, TRAMP_SIZE);
	for (i = 0; i < ARRAY_SIZE(tramp_tables); i++)
		free_page((unsigned long)tramp_tables[i]);
}
