/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The interface of drivers/tty/hvc/hvc_console.c. Its functions are exported, its header is not
 * among a kernel's headers; console.c verifies at run time that struct hvc_struct is as declared
 * here before it relies on that.
 */
#ifndef _POPCORN_GUEST_HVC_H
#define _POPCORN_GUEST_HVC_H

#include <linux/spinlock.h>
#include <linux/tty.h>
#include <popcorn/compat.h>

struct hv_ops;

struct hvc_struct {
	struct tty_port port;
	spinlock_t lock;
	int index;
	int do_wakeup;
#ifdef POPCORN_HVC_OUTBUF_POINTER
	char *outbuf;
#endif
	int outbuf_size;
	int n_outbuf;
	u32 vtermno;
	const struct hv_ops *ops;
	int irq_requested; /* not 0: khvcd need not poll for input */
	int data;
	/* and more that we don't use */
};

struct hv_ops {
	popcorn_hvc_ret_t (*get_chars)(u32 vtermno, popcorn_hvc_char_t *buf,
				       popcorn_hvc_count_t count);
	popcorn_hvc_ret_t (*put_chars)(u32 vtermno, const popcorn_hvc_char_t *buf,
				       popcorn_hvc_count_t count);
	int (*flush)(u32 vtermno, bool wait);
	int (*notifier_add)(struct hvc_struct *hvc, int data);
	void (*notifier_del)(struct hvc_struct *hvc, int data);
	void (*notifier_hangup)(struct hvc_struct *hvc, int data);
	int (*tiocmget)(struct hvc_struct *hvc);
	int (*tiocmset)(struct hvc_struct *hvc, unsigned int set, unsigned int clear);
	void *dtr_rts;
};

struct hvc_struct *hvc_alloc(u32 vtermno, int data, const struct hv_ops *ops, int outbuf_size);
int hvc_poll(struct hvc_struct *hvc);
void hvc_kick(void);

#endif /* _POPCORN_GUEST_HVC_H */
