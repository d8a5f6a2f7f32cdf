/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A "kernel" for tests: entered as the 64-bit boot protocol says, it works through a list of
 * operations at boot_params. Position independent; no stack, no data.
 *
 *	struct op { uint64_t what, address, value; }
 */
	.section .rodata
	.balign	16
	.globl	payload, payload_end
payload:
	movq	%rsi, %rbx
next:
	movq	(%rbx), %rax
	movq	8(%rbx), %rdi
	movq	16(%rbx), %rsi
	addq	$24, %rbx
	cmpq	$1, %rax
	je	write8
	cmpq	$2, %rax
	je	write32
	cmpq	$3, %rax
	je	write64
	cmpq	$4, %rax
	je	wait_ticks
	cmpq	$5, %rax
	je	wait_nonzero
	cmpq	$6, %rax
	je	beat
halt:
	cli
	hlt
	jmp	halt
write8:
	movb	%sil, (%rdi)
	jmp	next
write32:
	movl	%esi, (%rdi)
	jmp	next
write64:
	movq	%rsi, (%rdi)
	jmp	next
wait_ticks:
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	addq	%rax, %rsi
1:	pause
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	cmpq	%rsi, %rax
	jb	1b
	jmp	next
wait_nonzero:
	pause
	cmpl	$0, (%rdi)
	je	wait_nonzero
	jmp	next
	/* For ever. */
beat:
	incq	(%rdi)
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	leaq	(%rax, %rsi), %rcx
1:	pause
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	cmpq	%rcx, %rax
	jb	1b
	jmp	beat
payload_end:
	.section .note.GNU-stack, "", @progbits
