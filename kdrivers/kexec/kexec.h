/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * popcorn_kexec.ko: what its parts share.
 *
 *	main.c		the module, /dev/popcorn, ioctl tables
 *	kernel.c	the kernel object, its states, its descriptor
 *	cpu.c		taking CPUs, INIT and start-up interrupts, parking
 *	memory.c	taking memory ranges
 *	lowmem.c	memory below 640 KiB; finding a kernel's real-mode blob there
 *	load.c		segments into memory, start
 *	pgtable.c	page tables that a kernel is entered with
 *	mmap.c		a kernel's memory in user space
 *	doorbell.c	doorbells, both ways
 *	console.c	console descriptors
 *	device.c	virtio devices, and descriptors of those who serve them
 *	request.c	what a driver asks of a device: read once, checked
 *	netlink.c	events
 *	watch.c		what a running kernel says, and its silence
 *	trampoline.S	where its CPUs arrive
 *
 * Locks, outermost first:
 *
 *	start_gate	 read: a START is under way; write: no START will ever be (shutdown)
 *	kernel->lock	 state, resources and all of the object that is not named below. Held over
 *			 CPU hotplug, memory evacuation and parking. No user memory is touched under it
 *			 while the kernel may have running CPUs: a page fault may last for ever
 *	kernel->devices_lock @devices and all of them, and their part of the table. No user memory under it
 *	tramp_lock	 the start-up page
 *	kernel->mem_lock @gone, @head, @ranges against those who come without kernel->lock: page
 *			 faults (under mmap_lock) and console readers. No user memory under it.
 *			 Writers hold kernel->lock too
 *	kernels_lock, lent_lock, low_lock, bell_lock	leaves
 *
 * popcorn_msg.ko is called under kernel->lock, also to wait for other kernels (RELEASE); it never
 * calls back.
 *
 * What the CPU hotplug and memory hotplug cores call back takes leaves only: they hold their own
 * locks, inside of which we are, when we call them.
 */
#ifndef _POPCORN_KEXEC_H
#define _POPCORN_KEXEC_H

#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <popcorn/head.h>
#include <uapi/popcorn.h>

struct genl_info;
struct popcorn_device;

struct popcorn_cpu {
	u32 cpu;	    /* the primary's index */
	u32 apicid;	    /* destination of interrupts */
	u32 initial_apicid; /* what the CPU's CPUID says: how it proves that it parked */
	bool started;	    /* may execute something of the kernel; false: seen stopped */
	bool seen;	    /* parked, while all of them are being stopped */
	u64 beat;	    /* last heartbeat seen; 0 = none yet */
	u64 beat_time;	    /* when it changed; CLOCK_BOOTTIME ns */
};

struct popcorn_mem {
	struct list_head list; /* kernel->ranges, in the order added */
	struct list_head lent; /* lent_ranges */
	u64 start, length;
	u32 kind, node;
	void *virt;
};

struct popcorn_kernel {
	struct kref ref; /* a descriptor, queued work, the table of kernels */
	u32 id, generation;
	char name[POPCORN_NAME_MAX];

	struct mutex lock;
	u32 state, reason; /* written by popcorn_set_state() only */
	bool released;
	u32 releasing;	   /* RELEASEs that wait for other kernels: no LOAD, no START */
	bool loaded;	   /* segments are complete */
	bool parked_reset; /* its emergency restart ends in our code */
	u32 guest_state;   /* last one believed */
	u32 heartbeat_ms;
	u32 nr_cpus, nr_ranges, nr_segments;
	struct popcorn_cpu *cpus;
	struct popcorn_segment segments[POPCORN_SEGMENTS_MAX]; /* without the user's pointers */
	u64 restart_asm; /* candidate for parked_reset, seen once; 0 = none */
	u64 watch_time;	 /* when the watch ran last */
	u64 times[POPCORN_TIME_NR];
	char release[64];
	char text[POPCORN_TEXT_MAX];

	u64 low_start;
	u32 low_length;
	u8 *low;

	struct rw_semaphore mem_lock;
	bool gone; /* no access to memory any more */
	struct popcorn_head *head;
	u64 head_phys;
	struct list_head ranges;
	struct inode *inode; /* its i_mapping has all mappings of this kernel's memory */

	atomic_t seq;		/* of state changes */
	wait_queue_head_t wait; /* seq */
	wait_queue_head_t console_wait;
	struct mutex input_lock; /* writers to the input ring; outside mem_lock */

	struct mutex devices_lock;
	bool has_table; /* the table of devices in the head is there: from START to the end */
	u32 last_instance;
	struct popcorn_device __rcu *devices[POPCORN_DEVICES_MAX];

	bool rings; /* it may be rung at: from START to the end. Written under lock, read under RCU */
	u64 own_bell;	       /* the last bell of it that was seen to be one of its own */
	struct list_head bell; /* RCU list of those that the doorbell handler looks at */
	struct work_struct work;
	struct delayed_work watch;
};

DEFINE_FREE(popcorn_kvfree, void *, if (!IS_ERR_OR_NULL(_T)) kvfree(_T))

/* A call in the making: what has to happen after the answer has reached the caller. */
struct popcorn_call {
	struct popcorn_kernel *kernel; /* NULL on /dev/popcorn */
	struct popcorn_device *device; /* of that kernel, on a device's descriptor */
	atomic_t *seen;		       /* of the kernel's descriptor */
	struct file *new_file;	       /* installed at new_fd when the answer was delivered */
	int new_fd;
	struct popcorn_kernel *created; /* discarded when it was not */
};

/* main.c */
extern struct workqueue_struct *popcorn_wq;
extern struct rw_semaphore start_gate;
extern bool shutting_down;
bool popcorn_fault(void);
long popcorn_ioctl(struct popcorn_call *call, unsigned int cmd, unsigned long arg);

/* kernel.c */
int popcorn_create(struct popcorn_call *call, void *arg);
int popcorn_open(struct popcorn_call *call, void *arg);
int popcorn_list(struct popcorn_call *call, void *arg);
int popcorn_release(struct popcorn_call *call, void *arg);
int popcorn_stop(struct popcorn_call *call, void *arg);
int popcorn_status(struct popcorn_call *call, void *arg);
int popcorn_lock(struct popcorn_kernel *kernel);
void popcorn_get(struct popcorn_kernel *kernel);
void popcorn_put(struct popcorn_kernel *kernel);
struct popcorn_kernel *popcorn_next(u32 *id);
u32 popcorn_nr_kernels(void);
void popcorn_discard(struct popcorn_kernel *kernel);
bool popcorn_alive(const struct popcorn_kernel *kernel);
void popcorn_set_state(struct popcorn_kernel *kernel, u32 state, u32 reason);
int popcorn_end(struct popcorn_kernel *kernel, u32 state, u32 reason);
int popcorn_new_fd(struct popcorn_call *call, struct file *file);

/* cpu.c */
int popcorn_add_cpus(struct popcorn_call *call, void *arg);
int popcorn_cpu_start(struct popcorn_kernel *kernel, u64 cr3, u64 entry, u64 boot_params);
int popcorn_cpus_park(struct popcorn_kernel *kernel);
u32 popcorn_cpus_return(struct popcorn_kernel *kernel);
bool popcorn_owns_apicid(const struct popcorn_kernel *kernel, u32 apicid);
int popcorn_cpu_init(void);
void popcorn_cpu_exit(void);

/* memory.c */
int popcorn_add_memory(struct popcorn_call *call, void *arg);
void popcorn_ranges_return(struct popcorn_kernel *kernel);
struct popcorn_mem *popcorn_find_range(struct popcorn_kernel *kernel, u64 start, u64 length);
int popcorn_memory_init(void);
void popcorn_memory_exit(void);

/* lowmem.c */
u8 *popcorn_tramp(u32 *ret_phys);
int popcorn_low_get(u64 *ret_start, u32 *ret_length, u8 **ret_low);
void popcorn_low_put(u64 start);
u32 popcorn_low_free(void);
u32 popcorn_low_size(void);
void popcorn_close_reset(struct popcorn_kernel *kernel);
bool popcorn_reset_tried(const struct popcorn_kernel *kernel);
int popcorn_low_init(void);

/* load.c */
int popcorn_load(struct popcorn_call *call, void *arg);
int popcorn_start(struct popcorn_call *call, void *arg);

/* pgtable.c */
int popcorn_pgtable(struct popcorn_kernel *kernel, u64 *ret_cr3);

/* mmap.c */
int popcorn_mmap(struct popcorn_kernel *kernel, struct vm_area_struct *vma);
int popcorn_memory_fd(struct popcorn_call *call, u32 index, u64 *ret_start, u64 *ret_length);
struct inode *popcorn_inode_new(void);
void popcorn_inode_free(struct inode *inode);

/* doorbell.c */
int popcorn_doorbell_init(void);
void popcorn_doorbell_exit(void);
void popcorn_bell_add(struct popcorn_kernel *kernel);
void popcorn_bell_remove(struct popcorn_kernel *kernel);
void popcorn_reasons_take(struct popcorn_kernel *kernel);
void popcorn_ring(struct popcorn_kernel *kernel, u32 reasons);
void popcorn_bell_quiet(struct popcorn_kernel *kernel);

/* console.c */
int popcorn_console(struct popcorn_call *call, void *arg);

/* device.c */
int popcorn_add_device(struct popcorn_call *call, void *arg);
int popcorn_remove_device(struct popcorn_call *call, void *arg);
int popcorn_open_device(struct popcorn_call *call, void *arg);
int popcorn_device_info(struct popcorn_call *call, void *arg);
int popcorn_device_want(struct popcorn_call *call, void *arg);
int popcorn_device_done(struct popcorn_call *call, void *arg);
int popcorn_device_queue(struct popcorn_call *call, void *arg);
int popcorn_device_config(struct popcorn_call *call, void *arg);
int popcorn_device_memory(struct popcorn_call *call, void *arg);
void popcorn_devices_start(struct popcorn_kernel *kernel);
void popcorn_devices_end(struct popcorn_kernel *kernel);
void popcorn_devices_release(struct popcorn_kernel *kernel);
void popcorn_devices_kick(struct popcorn_kernel *kernel);
void popcorn_devices_look(struct popcorn_kernel *kernel);

/* netlink.c */
int popcorn_netlink_init(void);
void popcorn_netlink_exit(void);
void popcorn_event(const struct popcorn_kernel *kernel, u32 old, u32 state, u32 reason, u64 time);

/* watch.c */
void popcorn_work(struct work_struct *work);
void popcorn_watch(struct work_struct *work);
void popcorn_watch_start(struct popcorn_kernel *kernel);

#endif /* _POPCORN_KEXEC_H */
