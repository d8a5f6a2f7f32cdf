/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * User-space ABI of popcorn_kexec.ko: /dev/popcorn, the descriptor of one kernel, and the
 * generic netlink events.
 *
 * Conventions, the same for every ioctl:
 *
 *  - The first field of each argument is @size, set by the caller to sizeof() of the structure it
 *    was compiled with. A larger structure than the driver's is accepted if the part the driver
 *    does not know is zero (-E2BIG otherwise); a smaller one than the first published version is
 *    refused (-EINVAL). See copy_struct_from_user() in the kernel.
 *  - Reserved fields and unknown flag bits must be zero (-EINVAL).
 *  - Outputs are written only on success, except where a structure says otherwise.
 *  - Addresses and lengths of memory are physical, in bytes. Times are CLOCK_BOOTTIME, in
 *    nanoseconds, 0 = has not happened. CPUs are the primary's Linux CPU indices.
 *  - Every changing ioctl needs CAP_SYS_BOOT (-EPERM); LOAD also obeys kernel lockdown (-EPERM).
 *
 * errno meanings, fixed for the whole ABI:
 *
 *  -EINVAL   malformed argument          -EFAULT   bad user pointer
 *  -EPERM    no right, or locked down    -ENOTTY   unknown ioctl
 *  -E2BIG    newer structure in use      -ENODEV   this kernel, or device, is gone
 *  -ENOENT   no such kernel or CPU       -EEXIST   name taken
 *  -EBUSY    wrong state, or in use      -ENOSPC   a documented limit is reached
 *  -ERANGE   address outside partition   -ETIME    the other side did not answer in time
 *  -EIO      a CPU may still write to what is therefore kept
 *  -EINTR    a signal; nothing was done  -ENOMEM   as usual
 *  -ESTALE   what was answered is no longer asked
 */
#ifndef _UAPI_POPCORN_H
#define _UAPI_POPCORN_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Raised when anything below changes incompatibly; popcornd refuses a driver of another version. */
#define POPCORN_ABI_VERSION 1

#define POPCORN_DEVICE "/dev/popcorn"

/* Bytes of a kernel's name, with the terminating NUL. [A-Za-z0-9][A-Za-z0-9_.-]* */
#define POPCORN_NAME_MAX 64
/*
 * Secondaries at one time: with the primary, which is id 0, 512 kernels. Ids are
 * 1..POPCORN_KERNELS_MAX and are reused.
 */
#define POPCORN_KERNELS_MAX 511
/* CPUs of one kernel, and memory ranges of one kernel. */
#define POPCORN_CPUS_MAX 4096
#define POPCORN_RANGES_MAX 4096
#define POPCORN_SEGMENTS_MAX 16
/* Memory ranges start and end on this boundary (one large page of x86-64). */
#define POPCORN_MEMORY_ALIGN 0x200000ULL
/* Bytes of the text that a crashed kernel leaves as its last words, with the NUL. */
#define POPCORN_TEXT_MAX 256

/*
 * The states of a kernel: the one table. X(symbol, number, name).
 *
 *	reserved -> loading -> booting -> running -> stopping -> stopped
 *	any of them -> crashed | failed
 *
 * crashed: the kernel itself ended (panic, hang, reset); its CPUs are parked, its memory is kept
 * as it was until RELEASE. failed: it never ran, or a CPU could not be seen stopped.
 */
#define POPCORN_STATES(X)          \
	X(RESERVED, 1, "reserved") \
	X(LOADING, 2, "loading")   \
	X(BOOTING, 3, "booting")   \
	X(RUNNING, 4, "running")   \
	X(STOPPING, 5, "stopping") \
	X(STOPPED, 6, "stopped")   \
	X(CRASHED, 7, "crashed")   \
	X(FAILED, 8, "failed")

enum popcorn_state {
#define X(sym, nr, name) POPCORN_STATE_##sym = nr,
	POPCORN_STATES(X)
#undef X
};

/* Why a kernel is in its state: the one table. X(symbol, number, name, text). */
#define POPCORN_REASONS(X)                                                                \
	X(NONE, 0, "none", "no particular reason")                                        \
	X(REQUESTED, 1, "requested", "asked for by an administrator")                     \
	X(CHECKED_IN, 2, "checked-in", "the kernel reported that it runs")                \
	X(KILLED, 3, "killed", "killed by an administrator")                              \
	X(POWEROFF, 4, "poweroff", "the kernel powered itself off")                       \
	X(REBOOT, 5, "reboot", "the kernel asked to be rebooted")                         \
	X(HALT, 6, "halt", "the kernel halted itself")                                    \
	X(PANIC, 7, "panic", "the kernel panicked")                                       \
	X(RESET, 8, "reset", "the kernel tried to reset the machine and was parked")      \
	X(HEARTBEAT, 9, "heartbeat", "a CPU of the kernel stopped giving a sign of life") \
	X(NO_START, 10, "no-start", "the boot CPU did not reach the start-up code")       \
	X(ABI, 11, "abi", "the kernel's popcorn module speaks another version")           \
	X(CPU_STUCK, 12, "cpu-stuck", "a CPU was not seen stopped; its memory is kept")   \
	X(PRIMARY_DOWN, 13, "primary-down", "the primary is shutting down")               \
	X(HOSTILE, 14, "hostile", "the kernel wrote nonsense into shared memory")         \
	X(BOOT_TIMEOUT, 15, "boot-timeout", "the kernel did not report in time")          \
	X(CANCELLED, 16, "cancelled", "the operation was cancelled")                      \
	X(RESOURCES, 17, "resources", "CPUs or memory could not be taken")                \
	X(IMAGE, 18, "image", "the image could not be loaded")

enum popcorn_reason {
#define X(sym, nr, name, text) POPCORN_REASON_##sym = nr,
	POPCORN_REASONS(X)
#undef X
};

/**
 * struct popcorn_info - what the driver is and what it sees (POPCORN_IOC_INFO, on /dev/popcorn)
 * @size:		sizeof(struct popcorn_info) of the caller
 * @abi_version:	out: POPCORN_ABI_VERSION of the driver. Never changes place: a caller of any
 *			version can read it
 * @flags:		out: POPCORN_INFO_*
 * @nr_kernels:		out: kernels that exist now
 * @tsc_khz:		out: the primary's TSC frequency, for tsc_early_khz=
 * @boot_apicid:	out: APIC id of the machine's boot CPU (6.9 and later want it in the MADT)
 * @low_size:		out: bytes of memory below 640 KiB that one kernel gets
 * @low_free:		out: how many more kernels such memory is left for
 * @phys_bits:		out: width of a physical address
 * @reserved:		zero
 */
struct popcorn_info {
	__u32 size;
	__u32 abi_version;
	__u32 flags;
	__u32 nr_kernels;
	__u32 tsc_khz;
	__u32 boot_apicid;
	__u32 low_size;
	__u32 low_free;
	__u32 phys_bits;
	__u32 reserved;
};

#define POPCORN_INFO_X2APIC (1U << 0)	/* the primary runs in x2APIC mode */
#define POPCORN_INFO_LOCKDOWN (1U << 1) /* kernel lockdown forbids loading */

/**
 * struct popcorn_create - make an empty kernel (POPCORN_IOC_CREATE, on /dev/popcorn)
 * @size:	sizeof(struct popcorn_create) of the caller
 * @flags:	zero
 * @name:	NUL-terminated, unused; see POPCORN_NAME_MAX
 * @id:		out: id of the kernel
 * @fd:		out: descriptor of the kernel, close-on-exec. Closing it ends nothing
 *
 * The kernel starts in "reserved", owning one piece of low memory and nothing else.
 * -EINVAL bad name; -EEXIST name taken; -ENOSPC no id or no low memory is left.
 */
struct popcorn_create {
	__u32 size;
	__u32 flags;
	char name[POPCORN_NAME_MAX];
	__u32 id;
	__s32 fd;
};

/**
 * struct popcorn_open - get a descriptor of an existing kernel (POPCORN_IOC_OPEN, on /dev/popcorn)
 * @size:	sizeof(struct popcorn_open) of the caller
 * @id:		which kernel
 * @fd:		out: descriptor, close-on-exec
 * @reserved:	zero
 *
 * -ENOENT no kernel has this id.
 */
struct popcorn_open {
	__u32 size;
	__u32 id;
	__s32 fd;
	__u32 reserved;
};

/**
 * struct popcorn_list - ids of all kernels (POPCORN_IOC_LIST, on /dev/popcorn)
 * @size:	sizeof(struct popcorn_list) of the caller
 * @count:	in: room at @ids, in entries; out: how many kernels there are. If that is more than
 *		the room, only the first ones were written
 * @ids:	user pointer to __u32[], ascending
 */
struct popcorn_list {
	__u32 size;
	__u32 count;
	__u64 ids;
};

/**
 * struct popcorn_cpus - take CPUs from the primary (POPCORN_IOC_ADD_CPUS, on a kernel)
 * @size:	sizeof(struct popcorn_cpus) of the caller
 * @count:	entries at @cpus, 1..POPCORN_CPUS_MAX
 * @cpus:	user pointer to __u32[]; the first one ever added becomes the kernel's boot CPU
 * @bad_cpu:	out, also on failure: the CPU that was refused, or ~0
 * @reserved:	zero
 *
 * Takes each CPU offline and forbids its onlining until RELEASE. All or nothing.
 * -EBUSY not in "reserved", CPU lent or offline already, or the primary can't do without it;
 * -EINVAL CPU 0 or listed twice; -ENOENT no such CPU.
 */
struct popcorn_cpus {
	__u32 size;
	__u32 count;
	__u64 cpus;
	__u32 bad_cpu;
	__u32 reserved;
};

/* How a memory range is taken. */
#define POPCORN_MEMORY_OFFLINE 1 /* whole memory blocks that the caller has taken offline */
#define POPCORN_MEMORY_CONTIG 2	 /* online memory: the driver evacuates it (alloc_contig_range) */

/**
 * struct popcorn_memory - take one memory range (POPCORN_IOC_ADD_MEMORY, on a kernel)
 * @size:	sizeof(struct popcorn_memory) of the caller
 * @kind:	POPCORN_MEMORY_*
 * @start:	first byte, on POPCORN_MEMORY_ALIGN
 * @length:	bytes, a multiple of POPCORN_MEMORY_ALIGN, not 0
 * @node:	out: NUMA node of the range
 * @reserved:	zero
 *
 * The first range ever added carries the kernel's head (see popcorn/head.h) in its first bytes, and
 * is at least 4 MiB.
 * OFFLINE: -EBUSY if any page of it is online; onlining it is forbidden until RELEASE.
 * CONTIG: -EBUSY if it could not be evacuated, worth trying elsewhere.
 * Both: -EBUSY not in "reserved" or range taken; -EINVAL unaligned, zero, not RAM or too small;
 * -ENOSPC POPCORN_RANGES_MAX reached.
 */
struct popcorn_memory {
	__u32 size;
	__u32 kind;
	__u64 start;
	__u64 length;
	__u32 node;
	__u32 reserved;
};

/**
 * struct popcorn_segment - a piece of the boot image
 * @buf:	user pointer to the bytes
 * @bufsz:	how many
 * @mem:	physical address they go to, page aligned
 * @memsz:	bytes to occupy there, a multiple of the page size, >= @bufsz; the rest is zeroed
 */
struct popcorn_segment {
	__u64 buf;
	__u64 bufsz;
	__u64 mem;
	__u64 memsz;
};

/**
 * struct popcorn_load - copy segments into the kernel's memory (POPCORN_IOC_LOAD, on a kernel)
 * @size:	sizeof(struct popcorn_load) of the caller
 * @nr_segments: 1..POPCORN_SEGMENTS_MAX
 * @segments:	user pointer to struct popcorn_segment[]
 *
 * Each segment lies inside one memory range, in the head's table area or behind the head, and
 * overlaps no other; -ERANGE otherwise. "reserved" or "loading" -> "loading"; -EBUSY in any other
 * state. On failure the kernel stays "loading" with undefined contents and may be loaded again.
 */
struct popcorn_load {
	__u32 size;
	__u32 nr_segments;
	__u64 segments;
};

/**
 * struct popcorn_start - start the boot CPU (POPCORN_IOC_START, on a kernel)
 * @size:	sizeof(struct popcorn_start) of the caller
 * @heartbeat_ms: a running kernel of which a CPU is silent for so long has crashed; 0 = 10,000,
 *		else at least 2,000: two beats
 * @entry:	64-bit entry point, in a loaded segment (Documentation/x86/boot.rst, 64-bit protocol)
 * @boot_params: address of struct boot_params, in a loaded segment
 *
 * Returns when the boot CPU was seen in 64-bit mode: "loading" -> "booting". -EBUSY wrong state
 * or no CPU; -ERANGE; -ETIME the CPU never came: the kernel is "failed" and its CPUs are parked.
 */
struct popcorn_start {
	__u32 size;
	__u32 heartbeat_ms;
	__u64 entry;
	__u64 boot_params;
};

#define POPCORN_STOP_ASK 1  /* ask the kernel to shut down; the state change tells when it did */
#define POPCORN_STOP_KILL 2 /* park its CPUs now; returns when each was seen stopped */

/**
 * struct popcorn_stop - end a kernel (POPCORN_IOC_STOP, on a kernel)
 * @size:	sizeof(struct popcorn_stop) of the caller
 * @mode:	POPCORN_STOP_*
 * @reason:	enum popcorn_reason to record: REQUESTED, KILLED, BOOT_TIMEOUT or CANCELLED
 * @reserved:	zero
 *
 * ASK: "running" -> "stopping"; -EBUSY in any other state. KILL: "booting", "running", "stopping"
 * -> "stopped" ("failed" for BOOT_TIMEOUT); 0 and nothing done in stopped, crashed, failed; -EBUSY
 * in reserved and loading; -EIO: "failed", a CPU was not seen stopped.
 */
struct popcorn_stop {
	__u32 size;
	__u32 mode;
	__u32 reason;
	__u32 reserved;
};

/**
 * struct popcorn_release - give everything back, end the object (POPCORN_IOC_RELEASE, on a kernel)
 * @size:	sizeof(struct popcorn_release) of the caller
 * @kept_cpus:	out, also with -EIO: CPUs that could not be brought back
 * @kept_ranges: out, also with -EIO: memory ranges that stay lost
 * @reserved:	zero
 *
 * Allowed in reserved, loading, stopped, crashed, failed; -EBUSY otherwise. Brings the CPUs online,
 * frees CONTIG memory, lets go of OFFLINE memory (its owner onlines it). After success every other
 * call on the kernel's descriptors gives -ENODEV. -EIO: something is kept, and RELEASE may be tried
 * again: a CPU of the kernel was not seen stopped or did not come back ("failed"), or another kernel
 * has not acknowledged within 30 s that it writes no more messages into its memory.
 */
struct popcorn_release {
	__u32 size;
	__u32 kept_cpus;
	__u32 kept_ranges;
	__u32 reserved;
};

/**
 * struct popcorn_range - one memory range in a status
 */
struct popcorn_range {
	__u64 start;
	__u64 length;
	__u32 kind;
	__u32 node;
};

/* Entry times of the milestones of a boot, in struct popcorn_status. */
enum popcorn_time {
	POPCORN_TIME_CREATED,
	POPCORN_TIME_LOADED,  /* the last LOAD returned */
	POPCORN_TIME_START,   /* START was called */
	POPCORN_TIME_ENTERED, /* the boot CPU reached 64-bit mode */
	POPCORN_TIME_CHECKIN, /* popcorn_guest.ko reported */
	POPCORN_TIME_RUNNING, /* popcorn-agent reported */
	POPCORN_TIME_ENDED,   /* stopped, crashed or failed */
	POPCORN_TIME_BEAT,    /* the last sign of life */
	POPCORN_TIME_NR = 12  /* room for more */
};

/**
 * struct popcorn_status - all that is known of a kernel (POPCORN_IOC_STATUS, on a kernel)
 * @size:	sizeof(struct popcorn_status) of the caller
 * @id:		out
 * @generation:	out: a number that no earlier kernel of this boot had
 * @state:	out: enum popcorn_state
 * @reason:	out: enum popcorn_reason
 * @nr_cpus:	in: room at @cpus, in entries; out: how many CPUs the kernel has
 * @nr_ranges:	in: room at @ranges; out: how many ranges it has
 * @low_length:	out: bytes of low memory
 * @low_start:	out: its address
 * @head:	out: address of the kernel's head (0 before memory was added)
 * @cpus:	user pointer to __u32[], or 0: CPU indices, boot CPU first
 * @apicids:	user pointer to __u32[], or 0: their APIC ids, same room and order as @cpus
 * @ranges:	user pointer to struct popcorn_range[], or 0, in the order added
 * @times:	out: see enum popcorn_time
 * @name:	out
 * @release:	out: `uname -r` as the kernel itself said it, or empty. Untrusted, but printable
 * @text:	out: its last words (panic message), or empty. Untrusted, but printable
 */
struct popcorn_status {
	__u32 size;
	__u32 id;
	__u32 generation;
	__u32 state;
	__u32 reason;
	__u32 nr_cpus;
	__u32 nr_ranges;
	__u32 low_length;
	__u64 low_start;
	__u64 head;
	__u64 cpus;
	__u64 apicids;
	__u64 ranges;
	__u64 times[POPCORN_TIME_NR];
	char name[POPCORN_NAME_MAX];
	char release[64];
	char text[POPCORN_TEXT_MAX];
};

/**
 * struct popcorn_console - open a kernel's console (POPCORN_IOC_CONSOLE, on a kernel)
 * @size:	sizeof(struct popcorn_console) of the caller
 * @flags:	O_NONBLOCK, POPCORN_CONSOLE_READ_ONLY, both or 0
 * @fd:		out: descriptor, close-on-exec
 * @reserved:	zero
 *
 * read() gives what the kernel wrote, from the oldest byte that the ring still has; each
 * descriptor has its own position, and one that fell behind goes on at the oldest byte kept.
 * 0 = end: the kernel ended and all was read. write() is input for the kernel, short when the
 * ring is full (-EAGAIN, or waits). poll() works. The descriptor works until RELEASE, then reads 0.
 */
struct popcorn_console {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 reserved;
};

#define POPCORN_CONSOLE_READ_ONLY 1 /* write() on the descriptor gives -EBADF */

/* Devices of one kernel, queues of one device, bytes of a device's configuration and of its name. */
#define POPCORN_DEVICES_MAX 16
#define POPCORN_QUEUES_MAX 16
#define POPCORN_CONFIG_MAX 128
#define POPCORN_DEVICE_NAME_MAX 32
/* Entries of one queue. */
#define POPCORN_QUEUE_SIZE_MAX 1024

/**
 * struct popcorn_add_device - give a kernel a virtio device (POPCORN_IOC_ADD_DEVICE, on a kernel)
 * @size:	sizeof(struct popcorn_add_device) of the caller
 * @slot:	out: where it is, 0..POPCORN_DEVICES_MAX - 1
 * @device:	virtio device id, 1..63
 * @nr_queues:	1..POPCORN_QUEUES_MAX
 * @queue_max:	entries of each queue at most, a power of two, 2..POPCORN_QUEUE_SIZE_MAX
 * @config_length: bytes of @config, 0..POPCORN_CONFIG_MAX
 * @features:	offered; VIRTIO_F_VERSION_1 is one of them, and VIRTIO_F_ACCESS_PLATFORM and
 *		VIRTIO_F_RING_PACKED are not
 * @name:	of this kernel's devices; printable, unused, NUL-terminated
 * @config:	the device's configuration
 *
 * In reserved, loading, booting and running; a kernel that runs already is told. The device does nothing until
 * somebody serves it: OPEN_DEVICE. -EBUSY any other state; -EEXIST name taken; -ENOSPC no slot is free; -EPERM also
 * if kernel lockdown forbids LOAD.
 */
struct popcorn_add_device {
	__u32 size;
	__u32 slot;
	__u32 device;
	__u32 nr_queues;
	__u32 queue_max;
	__u32 config_length;
	__u64 features;
	char name[POPCORN_DEVICE_NAME_MAX];
	__u8 config[POPCORN_CONFIG_MAX];
};

/**
 * struct popcorn_device_slot - take a device away, or serve it (POPCORN_IOC_REMOVE_DEVICE and
 *	POPCORN_IOC_OPEN_DEVICE, on a kernel)
 * @size:	sizeof(struct popcorn_device_slot) of the caller
 * @slot:	which one
 * @fd:		OPEN_DEVICE: out: descriptor of the device, close-on-exec. Else zero
 * @reserved:	zero
 *
 * OPEN_DEVICE: a device is served by one open descriptor at a time (-EBUSY). When it is closed, by
 * whomever and however, the device goes on to exist, and the next server takes it over as it is. -EBUSY also when the
 * kernel has ended; -EPERM also if kernel lockdown forbids LOAD, because the server can write to the kernel's memory.
 * REMOVE_DEVICE: its server's descriptor gives POLLHUP and every call on it -ENODEV, the other kernel is told. Its
 * name is free at once, but its slot only when that descriptor is closed, which says that nobody touches a queue any
 * more: until then the driver keeps the memory of the queues (for 30 s). A device without a server is taken to be at
 * rest: whoever removes it has ended what served it.
 * -ENOENT there is no device.
 */
struct popcorn_device_slot {
	__u32 size;
	__u32 slot;
	__s32 fd;
	__u32 reserved;
};

/* What a device is to do, or does. */
#define POPCORN_DEVICE_STOPPED 0 /* touches no queue */
#define POPCORN_DEVICE_STARTED 1
#define POPCORN_DEVICE_FAILED 2 /* stopped until the other kernel resets it */

/**
 * struct popcorn_device_info - a device as the primary sees it (POPCORN_IOC_DEVICE_INFO, on a kernel)
 * @size:	sizeof(struct popcorn_device_info) of the caller
 * @slot:	in: which one
 * @device:	out: virtio device id
 * @state:	out: POPCORN_DEVICE_*: what the server has last said that it does
 * @served:	out: 1 if somebody has its descriptor open
 * @reserved:	zero
 * @kicks:	out: how often its server was woken
 * @calls:	out: how often its driver was
 * @name:	out
 * @text:	out: why it failed, or empty
 *
 * -ENOENT there is no device.
 */
struct popcorn_device_info {
	__u32 size;
	__u32 slot;
	__u32 device;
	__u32 state;
	__u32 served;
	__u32 reserved;
	__u64 kicks;
	__u64 calls;
	char name[POPCORN_DEVICE_NAME_MAX];
	char text[64];
};

/**
 * struct popcorn_queue - one queue of a started device
 * @desc:	physical address of the descriptors, in the kernel's memory
 * @avail:	of the ring of available buffers
 * @used:	of the ring of used buffers
 * @size:	entries; 0: this queue is not in use
 * @reserved:	zero
 */
struct popcorn_queue {
	__u64 desc;
	__u64 avail;
	__u64 used;
	__u32 size;
	__u32 reserved;
};

/**
 * struct popcorn_device_want - what the device shall do (POPCORN_IOC_DEVICE_WANT, on a device)
 * @size:	sizeof(struct popcorn_device_want) of the caller
 * @number:	out: of this wish, for DEVICE_DONE
 * @state:	out: POPCORN_DEVICE_STOPPED or _STARTED
 * @nr_queues:	in: room at @queues, in entries; out: how many queues the device has
 * @features:	out: accepted by the driver
 * @queues:	user pointer to struct popcorn_queue[]: out, if started. Each lies in the kernel's memory, and is aligned,
 *		all of it: that was checked
 *
 * poll() gives POLLIN as long as the latest wish has not been answered by DEVICE_DONE through this
 * descriptor, POLLHUP when the device was removed or its kernel has ended. A wish that is
 * replaced by a newer one before it was asked for is never seen, except that between two different STARTs there
 * is always a STOP to be answered: the other kernel waits for it.
 */
struct popcorn_device_want {
	__u32 size;
	__u32 number;
	__u32 state;
	__u32 nr_queues;
	__u64 features;
	__u64 queues;
};

/**
 * struct popcorn_device_done - a wish was carried out (POPCORN_IOC_DEVICE_DONE, on a device)
 * @size:	sizeof(struct popcorn_device_done) of the caller
 * @number:	of the wish; -ESTALE if there is a newer one, which is to be carried out then
 * @state:	what the device does now: what was wanted, or POPCORN_DEVICE_FAILED (also later, unasked, with the
 *		number of the last wish)
 * @reserved:	zero
 * @text:	for FAILED: why, printable, NUL-terminated
 *
 * With STOPPED and FAILED the server no longer touches any queue.
 */
struct popcorn_device_done {
	__u32 size;
	__u32 number;
	__u32 state;
	__u32 reserved;
	char text[64];
};

/**
 * struct popcorn_device_queue - eventfds of a queue (POPCORN_IOC_DEVICE_QUEUE, on a device)
 * @size:	sizeof(struct popcorn_device_queue) of the caller
 * @queue:	0..nr_queues - 1
 * @kick:	eventfd that is signalled when the driver kicks the queue, or -1
 * @call:	eventfd by which the server tells that buffers were used, or -1
 *
 * As KVM's ioeventfd and irqfd: no process is in the way of either. They stay until replaced, or until the device's
 * descriptor is closed; closing the eventfd itself changes nothing. @call is read here: whoever signals it need not.
 * A new @kick is signalled at once, as are all of them by DEVICE_DONE (STARTED), which also calls the driver: what
 * happened while nobody looked is found so. -EBADF, -EINVAL not an eventfd; nothing was replaced then.
 */
struct popcorn_device_queue {
	__u32 size;
	__u32 queue;
	__s32 kick;
	__s32 call;
};

/**
 * struct popcorn_device_config - change the configuration (POPCORN_IOC_DEVICE_CONFIG, on a device)
 * @size:	sizeof(struct popcorn_device_config) of the caller
 * @length:	bytes of @config: as many as it had from the start
 * @config:	all of it; the driver is told
 */
struct popcorn_device_config {
	__u32 size;
	__u32 length;
	__u8 config[POPCORN_CONFIG_MAX];
};

/**
 * struct popcorn_device_memory - the kernel's memory, and nothing else of it (POPCORN_IOC_DEVICE_MEMORY,
 *	on a device)
 * @size:	sizeof(struct popcorn_device_memory) of the caller
 * @index:	which range of it, from 0 on; -ENOENT: there are no more
 * @fd:		out: descriptor, close-on-exec
 * @reserved:	zero
 * @start:	out: physical address of the range, without the kernel's head
 * @length:	out: bytes
 *
 * The descriptor can be mmapped, shared, also for writing and by a process without rights: offset 0 is @start, and a
 * mapping ends at @length (-ERANGE). So it fits a region of vhost and of vhost-user: guest address @start, offset 0.
 * Pages are gone (SIGBUS, EFAULT) when the kernel is released. Nothing else can be done with it: a server in another
 * process gets this.
 */
struct popcorn_device_memory {
	__u32 size;
	__u32 index;
	__s32 fd;
	__u32 reserved;
	__u64 start;
	__u64 length;
};

#define POPCORN_IOC_MAGIC 0xb7

/* On /dev/popcorn */
#define POPCORN_IOC_INFO _IOWR(POPCORN_IOC_MAGIC, 0x00, struct popcorn_info)
#define POPCORN_IOC_CREATE _IOWR(POPCORN_IOC_MAGIC, 0x01, struct popcorn_create)
#define POPCORN_IOC_OPEN _IOWR(POPCORN_IOC_MAGIC, 0x02, struct popcorn_open)
#define POPCORN_IOC_LIST _IOWR(POPCORN_IOC_MAGIC, 0x03, struct popcorn_list)

/*
 * On a kernel's descriptor. It can also be mmapped, shared: the offset is a physical address in the
 * kernel's memory. poll() gives POLLPRI once after each state change (per descriptor; STATUS
 * clears it) and POLLHUP after RELEASE.
 */
#define POPCORN_IOC_ADD_CPUS _IOWR(POPCORN_IOC_MAGIC, 0x20, struct popcorn_cpus)
#define POPCORN_IOC_ADD_MEMORY _IOWR(POPCORN_IOC_MAGIC, 0x21, struct popcorn_memory)
#define POPCORN_IOC_LOAD _IOWR(POPCORN_IOC_MAGIC, 0x22, struct popcorn_load)
#define POPCORN_IOC_START _IOWR(POPCORN_IOC_MAGIC, 0x23, struct popcorn_start)
#define POPCORN_IOC_STOP _IOWR(POPCORN_IOC_MAGIC, 0x24, struct popcorn_stop)
#define POPCORN_IOC_RELEASE _IOWR(POPCORN_IOC_MAGIC, 0x25, struct popcorn_release)
#define POPCORN_IOC_STATUS _IOWR(POPCORN_IOC_MAGIC, 0x26, struct popcorn_status)
#define POPCORN_IOC_CONSOLE _IOWR(POPCORN_IOC_MAGIC, 0x27, struct popcorn_console)
#define POPCORN_IOC_ADD_DEVICE _IOWR(POPCORN_IOC_MAGIC, 0x28, struct popcorn_add_device)
#define POPCORN_IOC_REMOVE_DEVICE _IOWR(POPCORN_IOC_MAGIC, 0x29, struct popcorn_device_slot)
#define POPCORN_IOC_OPEN_DEVICE _IOWR(POPCORN_IOC_MAGIC, 0x2a, struct popcorn_device_slot)
#define POPCORN_IOC_DEVICE_INFO _IOWR(POPCORN_IOC_MAGIC, 0x2b, struct popcorn_device_info)

/* On a device's descriptor, by whoever has it: rights were asked for when it was opened. */
#define POPCORN_IOC_DEVICE_WANT _IOWR(POPCORN_IOC_MAGIC, 0x40, struct popcorn_device_want)
#define POPCORN_IOC_DEVICE_DONE _IOWR(POPCORN_IOC_MAGIC, 0x41, struct popcorn_device_done)
#define POPCORN_IOC_DEVICE_QUEUE _IOWR(POPCORN_IOC_MAGIC, 0x42, struct popcorn_device_queue)
#define POPCORN_IOC_DEVICE_CONFIG _IOWR(POPCORN_IOC_MAGIC, 0x43, struct popcorn_device_config)
#define POPCORN_IOC_DEVICE_MEMORY _IOWR(POPCORN_IOC_MAGIC, 0x44, struct popcorn_device_memory)

/*
 * Generic netlink: family "popcorn", multicast group "events", one POPCORN_CMD_EVENT per state
 * change. Events may be lost (ENOBUFS): they say where to look, STATUS is the truth. A kernel that
 * RELEASE ended is reported with STATE 0.
 */
#define POPCORN_GENL_NAME "popcorn"
#define POPCORN_GENL_VERSION 1
#define POPCORN_GENL_GROUP "events"

enum popcorn_genl_cmd {
	POPCORN_CMD_UNSPEC,
	POPCORN_CMD_EVENT,
};

enum popcorn_genl_attr {
	POPCORN_ATTR_UNSPEC,
	POPCORN_ATTR_PAD,
	POPCORN_ATTR_ID,	 /* u32 */
	POPCORN_ATTR_GENERATION, /* u32 */
	POPCORN_ATTR_NAME,	 /* string */
	POPCORN_ATTR_OLD_STATE,	 /* u32 */
	POPCORN_ATTR_STATE,	 /* u32 */
	POPCORN_ATTR_REASON,	 /* u32 */
	POPCORN_ATTR_TIME,	 /* u64, CLOCK_BOOTTIME ns */
	__POPCORN_ATTR_MAX
};
#define POPCORN_ATTR_MAX (__POPCORN_ATTR_MAX - 1)

#endif /* _UAPI_POPCORN_H */
