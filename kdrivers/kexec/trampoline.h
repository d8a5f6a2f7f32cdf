/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The start-up page: one page below 640 KiB where every CPU begins that popcorn_kexec sends a
 * start-up interrupt. Code first, then what the driver writes and reads, at these offsets.
 */
#ifndef _POPCORN_TRAMPOLINE_H
#define _POPCORN_TRAMPOLINE_H

#define TRAMP_CODE_MAX 0x300 /* the code ends before */

/* Written by the driver. */
#define TRAMP_START_ID 0x300	/* u32: the APIC id that may go on; all others park */
#define TRAMP_CR3 0x304		/* u32: page tables below 4 GiB that map this page */
#define TRAMP_GDTR 0x308	/* u16 limit, u32 base */
#define TRAMP_JUMP32 0x310	/* u32 offset, u16 selector */
#define TRAMP_JUMP64 0x318	/* u32 offset, u16 selector */
#define TRAMP_KERNEL_CR3 0x320	/* u64: page tables of the kernel to be started */
#define TRAMP_ENTRY 0x328	/* u64: its 64-bit entry point */
#define TRAMP_BOOT_PARAMS 0x330 /* u64 */
#define TRAMP_MTRR_COUNT 0x338	/* u32: entries at TRAMP_MTRRS */

/* Written by the CPUs. */
#define TRAMP_ENTERED 0x340   /* u32: 1 = the CPU is in 64-bit mode and leaves this page */
#define TRAMP_SEEN_NEXT 0x344 /* u32: next slot; CPUs add 1 atomically */

#define TRAMP_GDT 0x380 /* 4 descriptors */
#define TRAMP_GDT_SIZE 0x20
#define TRAMP_MTRRS 0x400 /* {u32 msr, u32 zero, u64 value} each */
#define TRAMP_MTRRS_MAX 128
#define TRAMP_SEEN 0xc00     /* u32 each: APIC ids of CPUs that parked here */
#define TRAMP_SEEN_SLOTS 256 /* a power of two */
#define TRAMP_SIZE 0x1000

/* Selectors; 64-bit code and data are where Documentation/x86/boot.rst wants them. */
#define TRAMP_CS32 0x08
#define TRAMP_CS64 0x10
#define TRAMP_DS 0x18

#endif /* _POPCORN_TRAMPOLINE_H */
