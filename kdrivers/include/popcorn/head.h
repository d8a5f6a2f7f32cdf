/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The head of a kernel's memory: the first POPCORN_HEAD_SIZE bytes of its first range, which its
 * e820 calls reserved. What the primary (popcorn_kexec.ko, and popcornd's image library for the
 * table area) and the secondary (popcorn_guest.ko) say to each other before and beside the message
 * layer.
 *
 * Whoever reads a field that the other side writes treats it as hostile: reads it once, bounds it,
 * and never uses it as an address. Multi-byte fields are little endian and naturally aligned.
 * Each side's fields have cache lines of their own, so that neither makes the other's lines bounce.
 */
#ifndef _POPCORN_HEAD_H
#define _POPCORN_HEAD_H

#include <linux/types.h>

#define POPCORN_HEAD_MAGIC 0x444145484e524350ULL /* "PCRNHEAD" */
/*
 * Another version = refuse by name (POPCORN_REASON_ABI) before "running". So that the two sides can
 * find that out, magic, version, size, primary_bell, to_primary, guest_version and guest_state keep
 * their places in all versions: a guest that finds another version writes its own to guest_version,
 * sets guest_state to POPCORN_GUEST_CHECKIN, rings, and does no more.
 */
#define POPCORN_HEAD_VERSION 1

/*
 *	0x000000  struct popcorn_head
 *	0x001000  heartbeats, __u64 per CPU of the kernel (POPCORN_CPUS_MAX)
 *	0x009000  devices: struct popcorn_virtio_table (popcorn/virtio.h), written by popcorn_kexec
 *	0x010000  tables: ACPI tables, written by the image library	(LOAD may write here)
 *	0x060000  page tables of the trampoline, written by popcorn_kexec
 *	0x0e0000  console input ring
 *	0x100000  console output ring
 *	0x200000  end: what follows is the kernel's RAM
 */
#define POPCORN_HEAD_BEATS 0x001000
#define POPCORN_HEAD_DEVICES 0x009000
#define POPCORN_HEAD_TABLES 0x010000
#define POPCORN_HEAD_TABLES_END 0x060000
#define POPCORN_HEAD_PGTABLES 0x060000
#define POPCORN_HEAD_PGTABLES_END 0x0e0000
#define POPCORN_HEAD_CONSOLE_IN 0x0e0000
#define POPCORN_CONSOLE_IN_SIZE 0x010000 /* power of two */
#define POPCORN_HEAD_CONSOLE_OUT 0x100000
#define POPCORN_CONSOLE_OUT_SIZE 0x100000 /* power of two */
/*
 * The output ring is a flight recorder: the writer never waits and overwrites the oldest bytes. It
 * stores up to so many bytes before it publishes them in out_head, so the oldest CHUNK bytes of the
 * ring may be changing: a reader takes bytes from [out_head - SIZE + CHUNK, out_head), and after it
 * has copied them reads out_head again to see which of them were overwritten meanwhile.
 */
#define POPCORN_CONSOLE_CHUNK 0x400
#define POPCORN_HEAD_SIZE 0x200000

/* Heartbeat period of the secondary, in milliseconds. */
#define POPCORN_BEAT_MS 1000
/* A heartbeat word that is not expected to change: the CPU is offline in the secondary. */
#define POPCORN_BEAT_OFF (~0ULL)

/* Progress of the secondary, popcorn_head.guest_state. It only ever grows. */
#define POPCORN_GUEST_NONE 0	/* nothing has been heard */
#define POPCORN_GUEST_CHECKIN 1 /* popcorn_guest.ko is loaded; version and release are valid */
#define POPCORN_GUEST_READY 2	/* popcorn-agent says that user space is up */
#define POPCORN_GUEST_ENDED 3	/* guest_reason and text are valid; its CPUs do no more work */

/*
 * Reasons for a doorbell. They are set by an OR with a *literal* lock prefix (sync_cmpxchg(),
 * sync_set_bit()) and taken by xchg. Not atomic_or(), set_bit() or cmpxchg(): a kernel that booted
 * on one CPU patches the lock prefixes of those out, in modules too, and would then lose bits
 * to the other kernel. The same holds for every word that two kernels write.
 */

/* To the primary, bits of popcorn_head.to_primary. */
#define POPCORN_BELL_STATE (1U << 0)  /* guest_state changed */
#define POPCORN_BELL_OUTPUT (1U << 1) /* console output, and out_wanted was set */
#define POPCORN_BELL_SPACE (1U << 2)  /* console input was taken, and in_wanted was set */
#define POPCORN_BELL_KICK (1U << 3)   /* a queue of a device has work: popcorn_virtio_slot.kicked */
#define POPCORN_BELL_REQUEST (1U << 4) /* a device is to be started or stopped */

/* To the secondary, bits of popcorn_head.to_guest. */
#define POPCORN_BELL_INPUT (1U << 0)	/* console input */
#define POPCORN_BELL_SHUTDOWN (1U << 1) /* please shut down */
#define POPCORN_BELL_CALL (1U << 2)	/* a device has used buffers: popcorn_virtio_slot.called */
#define POPCORN_BELL_DEVICES (1U << 3)	/* the primary's part of the table of devices changed */

/*
 * A doorbell is a fixed interrupt with physical destination. Where to send it is published by the
 * receiver as one 64-bit word, so that vector and APIC id are never seen apart:
 * bits 63..32 APIC id, bits 7..0 vector; 0 = not ready, ring later. A sender checks both: the vector
 * is one that a kernel gives to devices (below are exceptions; 0x80 is the system call; above are a
 * kernel's own, of which one stops the CPU, and 0xff, which has no EOI and would deafen it); the APIC
 * id is one of the peer's. Constants, because 6.12 gives away one vector less than 6.1.
 */
#define POPCORN_VECTOR_MIN 0x20
#define POPCORN_VECTOR_SYSCALL 0x80
#define POPCORN_VECTOR_MAX 0xeb
#define POPCORN_BELL(apicid, vector) (((__u64)(apicid) << 32) | (vector))
#define POPCORN_BELL_APICID(bell) ((__u32)((bell) >> 32))
#define POPCORN_BELL_VECTOR(bell) ((__u32)((bell)&0xff))

struct popcorn_head {
	/* Line 0-3: written by the primary before START, constant afterwards. */
	__u64 magic;	  /* POPCORN_HEAD_MAGIC */
	__u32 version;	  /* POPCORN_HEAD_VERSION */
	__u32 size;	  /* sizeof(struct popcorn_head) */
	__u32 id;	  /* of this kernel, 1..POPCORN_KERNELS_MAX */
	__u32 generation; /* as in struct popcorn_status */
	__u32 nr_cpus;	  /* CPUs of this kernel = heartbeats in use */
	__u32 beat_ms;	  /* POPCORN_BEAT_MS */
	__u64 head;	  /* physical address of this structure */
	__u64 low_start;  /* its memory below 640 KiB */
	__u64 low_length;
	__u32 boot_apicid; /* the machine's boot CPU: never to be sent INIT */
	__u32 reserved0;
	char name[64];
	/*
	 * Physical address of struct popcorn_directory; 0: no message layer. It came later than the
	 * rest, and changes nothing for a reader that does not know it.
	 */
	__u64 directory;
	__u8 reserved1[120];

	/* Line 4: "registers" of the ACPI fixed hardware, written by the secondary's kernel. */
	__u8 sleep; /* FADT sleep_control and sleep_status: SLP_EN is bit 5 */
	__u8 reset; /* FADT reset register; POPCORN_RESET_VALUE = a reset was tried */
	__u8 reserved2[62];

	/* Line 5: written by the primary at any time. */
	__u64 primary_bell; /* POPCORN_BELL() of the primary, for this kernel */
	__u32 out_wanted;   /* 1: a reader sleeps; the secondary clears it (xchg) and rings */
	__u32 in_wanted;    /* 1: a writer waits for room; the secondary clears it and rings */
	__u64 in_head;	    /* input ring: bytes ever written; index = in_head & (size - 1) */
	__u8 reserved4[40];

	/* Line 6: doorbell reasons, set by the primary, taken (xchg 0) by the secondary. */
	__u32 to_guest;
	__u8 reserved5[60];

	/* Line 7: doorbell reasons, set by the secondary, taken (xchg 0) by the primary. */
	__u32 to_primary;
	__u8 reserved6[60];

	/* Line 8: written by the secondary. */
	__u64 guest_bell;    /* POPCORN_BELL() of the secondary */
	__u32 guest_version; /* POPCORN_HEAD_VERSION of its module, before CHECKIN */
	__u32 guest_state;   /* POPCORN_GUEST_*, stored with release after what it announces */
	__u32 guest_reason;  /* POPCORN_REASON_ POWEROFF, REBOOT, HALT, PANIC or RESET */
	__u32 reserved3;
	__u64 in_tail; /* input ring: bytes ever read */
	__u8 reserved7[32];

	/* Line 9: written by the secondary, often. */
	__u64 out_head; /* output ring: bytes ever written, stored with release */
	__u8 reserved8[56];

	/* Line 10-: written by the secondary before CHECKIN and ENDED. */
	char release[64]; /* uname -r, NUL-terminated */
	char text[256];	  /* last words, NUL-terminated */
};

#define POPCORN_RESET_VALUE 0x01
#define POPCORN_SLEEP_ENABLE 0x20 /* SLP_EN, ACPI 6.4, 4.8.3.7 */

/*
 * The ACPI table by which a module in the secondary finds the head: signature "PCRN", after the
 * standard 36-byte header. Written by popcornd's image library.
 */
#define POPCORN_ACPI_SIGNATURE "PCRN"
struct popcorn_acpi_table {
	__u8 header[36]; /* struct acpi_table_header */
	__u32 version;	 /* POPCORN_HEAD_VERSION */
	__u64 head;	 /* physical address of struct popcorn_head */
	__u32 id;
	__u32 generation;
} __attribute__((packed));

#define POPCORN_HEAD_ASSERT(cond) _Static_assert(cond, #cond)
POPCORN_HEAD_ASSERT(__builtin_offsetof(struct popcorn_head, sleep) == 256);
POPCORN_HEAD_ASSERT(__builtin_offsetof(struct popcorn_head, primary_bell) == 320);
POPCORN_HEAD_ASSERT(__builtin_offsetof(struct popcorn_head, to_guest) == 384);
POPCORN_HEAD_ASSERT(__builtin_offsetof(struct popcorn_head, to_primary) == 448);
POPCORN_HEAD_ASSERT(__builtin_offsetof(struct popcorn_head, guest_bell) == 512);
POPCORN_HEAD_ASSERT(__builtin_offsetof(struct popcorn_head, out_head) == 576);
POPCORN_HEAD_ASSERT(__builtin_offsetof(struct popcorn_head, release) == 640);
POPCORN_HEAD_ASSERT(sizeof(struct popcorn_head) == 960);
POPCORN_HEAD_ASSERT(sizeof(struct popcorn_acpi_table) == 56);

#endif /* _POPCORN_HEAD_H */
