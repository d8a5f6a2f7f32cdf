/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernel versions that the modules are built for: 6.1 (also rt) and 6.12.
 * Nothing outside this header asks for a version.
 */
#ifndef _POPCORN_COMPAT_H
#define _POPCORN_COMPAT_H

#include <linux/eventfd.h>
#include <linux/irqflags.h>
#include <linux/kmsg_dump.h>
#include <linux/mm.h>
#include <linux/version.h>
#include <asm/apic.h>
#include <asm/processor.h>
#include <asm/smp.h>

/*
 * Sends one interrupt by the local APIC: fixed, NMI, INIT or start-up, with physical destination.
 *
 * From 6.5 on the accessors are static calls whose keys are not exported; the function pointers
 * they were made from still are. x2APIC has no "idle" to wait for and no waiting function there.
 * Interrupts are off because an xAPIC takes two writes, the destination first: a handler that
 * sends in between would change the destination. The bounded variant of the wait is used, since
 * no reason exists to hang this kernel for an interrupt to another one.
 *
 * The fence, because an interrupt must not overtake the stores that it announces: a write to an
 * x2APIC's MSR, unlike one to an xAPIC's uncached page, waits for none before it (Intel SDM 3A,
 * "MSR Access in x2APIC Mode"). tests/models/ring.pml shows what is lost otherwise.
 */
static inline void popcorn_apic_send(u32 low, u32 apicid)
{
	unsigned long flags;

	local_irq_save(flags);
	weak_wrmsr_fence();
	if (apic->safe_wait_icr_idle)
		apic->safe_wait_icr_idle();
	apic->icr_write(low, apicid);
	local_irq_restore(flags);
}

/* A doorbell. Any context. The caller has checked both: see POPCORN_BELL(). */
static inline void popcorn_send_ipi(u32 apicid, u32 vector)
{
	popcorn_apic_send(APIC_DM_FIXED | APIC_DEST_PHYSICAL | vector, apicid);
}

/* The APIC id that a CPU's own CPUID gives. 6.7 moved it. */
static inline u32 popcorn_initial_apicid(unsigned int cpu)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	return cpu_data(cpu).topo.initial_apicid;
#else
	return cpu_data(cpu).initial_apicid;
#endif
}

/* 6.3 made vm_flags read-only and gave it accessors. */
static inline void popcorn_vm_flags(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/* 6.12 put the reason that a kmsg dumper is called for into a structure. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
typedef struct kmsg_dump_detail *popcorn_kmsg_detail_t;
#define popcorn_kmsg_reason(detail) ((detail)->reason)
#else
typedef enum kmsg_dump_reason popcorn_kmsg_detail_t;
#define popcorn_kmsg_reason(detail) (detail)
#endif

/* 6.8 changed types in drivers/tty/hvc/hvc_console.h, which is not among a kernel's headers. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
typedef ssize_t popcorn_hvc_ret_t;
typedef size_t popcorn_hvc_count_t;
typedef u8 popcorn_hvc_char_t;
#else
typedef int popcorn_hvc_ret_t;
typedef int popcorn_hvc_count_t;
typedef char popcorn_hvc_char_t;
#define POPCORN_HVC_OUTBUF_POINTER
#endif

/* 6.8 took away the count, which everybody gave as 1. */
static inline void popcorn_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

/* 6.11 put what find_vqs() is told of each queue into a structure. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define POPCORN_VQS_TOLD struct virtqueue_info told[]
#define popcorn_vq_name(i) (told[i].name)
#define popcorn_vq_callback(i) (told[i].callback)
#define popcorn_vq_ctx(i) (told[i].ctx)
#else
#define POPCORN_VQS_TOLD vq_callback_t *callbacks[], const char *const names[], const bool *ctx
#define popcorn_vq_name(i) (names[i])
#define popcorn_vq_callback(i) (callbacks[i])
#define popcorn_vq_ctx(i) (ctx && ctx[i])
#endif

/* 6.3 and 6.6 changed types of terminals: tty_port_operations, tty_operations. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
typedef bool popcorn_tty_flag_t;
#else
typedef int popcorn_tty_flag_t;
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
typedef ssize_t popcorn_tty_ret_t;
typedef size_t popcorn_tty_count_t;
#else
typedef int popcorn_tty_ret_t;
typedef int popcorn_tty_count_t;
#endif

#endif /* _POPCORN_COMPAT_H */
