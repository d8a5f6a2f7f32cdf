/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a CPU arrives by a start-up interrupt: real mode, CS = page >> 4, IP = 0.
 *
 * The CPU asks CPUID who it is. If it is the one that is to be started, it goes from 16 to 32 to
 * 64 bits and jumps to the kernel's entry point. Any other CPU, late ones included, writes its id
 * into a slot and halts: by that the driver knows that it no longer executes its old kernel.
 *
 * The code is copied to a page below 640 KiB, so it is position independent: the data is reached
 * by DS = CS in real mode and by EBP/RBP later, and the far pointers are filled in by the driver.
 * It lies among the read-only data because the kernel never executes it here.
 */
#include <linux/linkage.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "trampoline.h"

#define MTRR_DEFTYPE_ENABLE	0xc00	/* E and FE of IA32_MTRR_DEF_TYPE */

	.section .rodata, "a", @progbits
	.balign	16
	.code16
SYM_DATA_START(popcorn_trampoline)
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds

	/* x2APIC id if leaf 0xb is there (EBX says so), else the 8-bit initial id. */
	xorl	%eax, %eax
	cpuid
	cmpl	$0xb, %eax
	jb	.Lshort_id
	movl	$0xb, %eax
	xorl	%ecx, %ecx
	cpuid
	testl	%ebx, %ebx
	jnz	.Lhave_id
.Lshort_id:
	movl	$1, %eax
	cpuid
	shrl	$24, %ebx
	movl	%ebx, %edx
.Lhave_id:
	cmpl	%edx, TRAMP_START_ID
	je	.Lstart

	/* Park. The driver then sends INIT, which nothing but a start-up interrupt ends. */
	movl	$1, %edi
	lock xaddl %edi, TRAMP_SEEN_NEXT
	andl	$(TRAMP_SEEN_SLOTS - 1), %edi
	movl	%edx, TRAMP_SEEN(, %edi, 4)
.Lparked:
	hlt
	jmp	.Lparked

.Lstart:
	xorl	%ebp, %ebp
	movw	%cs, %bp
	shll	$4, %ebp		/* physical address of this page */
	lgdtl	TRAMP_GDTR
	movl	%cr0, %eax
	orl	$X86_CR0_PE, %eax
	movl	%eax, %cr0
	ljmpl	*TRAMP_JUMP32

	.code32
SYM_INNER_LABEL(popcorn_trampoline_32, SYM_L_GLOBAL)
	movl	$TRAMP_DS, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%eax, %fs
	movl	%eax, %gs

	/*
	 * A CPU with other MTRRs than the rest sees memory uncached, or worse. Real CPUs keep them
	 * over INIT, emulated ones may not. They are compared first: hyperthreads share them, and
	 * a sibling that works for another kernel must not see them switched off for nothing.
	 */
	movl	TRAMP_MTRR_COUNT(%ebp), %edi
	leal	TRAMP_MTRRS(%ebp), %esi
	jmp	.Lcompare_more
.Lcompare:
	movl	(%esi), %ecx
	rdmsr
	cmpl	8(%esi), %eax
	jne	.Lmtrr_write
	cmpl	12(%esi), %edx
	jne	.Lmtrr_write
	addl	$16, %esi
	decl	%edi
.Lcompare_more:
	testl	%edi, %edi
	jnz	.Lcompare
	jmp	.Lmtrr_done

	/*
	 * Intel SDM volume 3, "MTRR considerations in MP systems": no-fill mode, flush, MTRRs off,
	 * write, MTRRs on (the default type is the last entry), flush. Paging is off: no TLB yet.
	 */
.Lmtrr_write:
	movl	%cr0, %eax
	andl	$~X86_CR0_NW, %eax
	orl	$X86_CR0_CD, %eax
	movl	%eax, %cr0
	wbinvd
	movl	$MSR_MTRRdefType, %ecx
	rdmsr
	andl	$~MTRR_DEFTYPE_ENABLE, %eax
	wrmsr
	movl	TRAMP_MTRR_COUNT(%ebp), %edi
	leal	TRAMP_MTRRS(%ebp), %esi
.Lwrite:
	movl	(%esi), %ecx
	movl	8(%esi), %eax
	movl	12(%esi), %edx
	wrmsr
	addl	$16, %esi
	decl	%edi
	jnz	.Lwrite
	wbinvd

.Lmtrr_done:
	/* INIT leaves CD and NW as they were. */
	movl	%cr0, %eax
	andl	$~(X86_CR0_CD | X86_CR0_NW), %eax
	movl	%eax, %cr0

	/* Four levels, whatever the primary has: a kernel that wants five switches by itself. */
	movl	$X86_CR4_PAE, %eax
	movl	%eax, %cr4
	movl	TRAMP_CR3(%ebp), %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$(1 << _EFER_LME), %eax
	wrmsr
	movl	%cr0, %eax
	orl	$(X86_CR0_PG | X86_CR0_WP), %eax
	movl	%eax, %cr0
	ljmpl	*TRAMP_JUMP64(%ebp)

	.code64
SYM_INNER_LABEL(popcorn_trampoline_64, SYM_L_GLOBAL)
	movl	%ebp, %ebp		/* upper half: undefined after the change of mode */
	movl	$TRAMP_DS, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss

	/* The kernel's own tables may lie anywhere; they map this page too. */
	movq	TRAMP_KERNEL_CR3(%rbp), %rax
	movq	%rax, %cr3
	movq	TRAMP_BOOT_PARAMS(%rbp), %rsi
	movq	TRAMP_ENTRY(%rbp), %rax
	/*
	 * From here on the driver may write the data of this page for the next CPU: everything of
	 * ours has been read. The code and the GDT never change.
	 */
	movl	$1, TRAMP_ENTERED(%rbp)
	jmp	*%rax
SYM_DATA_END_LABEL(popcorn_trampoline, SYM_L_GLOBAL, popcorn_trampoline_end)

	.section .note.GNU-stack, "", @progbits
