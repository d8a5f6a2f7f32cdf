// SPDX-License-Identifier: GPL-2.0-only
/*
 * popcorn_vty.ko: /dev/vtyN, a line to each other kernel. The devices come and go with the kernels that can
 * be reached.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/printk.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <popcorn/directory.h>

#include "vty.h"

struct workqueue_struct *vty_wq;
static struct line *lines[POPCORN_MEMBERS_MAX];
/*
 * Who hears of kernels: the notifier, and the module that is loaded when some are there already. One at a time, so
 * that nobody takes the last life of a kernel for its present one.
 */
static DEFINE_MUTEX(lines_lock);

/* Any context. NULL: no such kernel was ever seen. */
struct line *line_of(u32 id)
{
	return id < POPCORN_MEMBERS_MAX ? smp_load_acquire(&lines[id]) : NULL;
}

/*
 * Makes the device be there for the kernel that is there now, if any. Apart from the notifier, which must not wait
 * for the file system of devices.
 */
static void device_work(struct work_struct *work)
{
	struct line *line = container_of(work, struct line, device_work);
	u32 generation;
	int err;

	spin_lock_irq(&line->lock);
	generation = line->peer.generation;
	spin_unlock_irq(&line->lock);
	if (line->device && line->device != generation) {
		vty_device_remove(line);
		line->device = 0;
	}
	if (!generation || line->device)
		return;
	err = vty_device_add(line);
	if (err)
		pr_err("no device vty%u: error %d\n", line->id, err);
	else
		line->device = generation;
}

static struct line *make_line(u32 id)
{
	struct line *line = line_of(id);

	if (line || id >= POPCORN_MEMBERS_MAX)
		return line;
	line = kvzalloc(sizeof(*line), GFP_KERNEL);
	if (!line)
		return NULL;
	line->id = id;
	/* Not those that a module before this one has used. */
	line->openings = get_random_u32();
	spin_lock_init(&line->lock);
	INIT_WORK(&line->send_work, line_send);
	INIT_WORK(&line->receive_work, line_receive);
	INIT_WORK(&line->device_work, device_work);
	tty_port_init(&line->port);
	line->port.ops = &vty_port_ops;
	/* Nothing has to settle before the next one opens it. */
	line->port.close_delay = 0;
	smp_store_release(&lines[id], line);
	return line;
}

/* Under lines_lock. */
static void joined(struct popcorn_msg_peer peer)
{
	struct line *line = make_line(peer.id);

	if (!line) {
		pr_err("no device vty%u: no memory\n", peer.id);
		return;
	}
	line_up(line, peer);
	queue_work(vty_wq, &line->device_work);
}

static int notice(struct notifier_block *block, unsigned long what, void *data)
{
	const struct popcorn_msg_peer *peer = data;
	struct line *line;

	mutex_lock(&lines_lock);
	line = line_of(peer->id);
	if (what == POPCORN_MSG_JOINED)
		joined(*peer);
	else if (what == POPCORN_MSG_GONE && line)
		line_down(line, peer->generation);
	mutex_unlock(&lines_lock);
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = notice };

static const struct popcorn_msg_type message_type = {
	.type = POPCORN_MSG_TYPE_VTY,
	.handler = line_handle,
};

static void end_lines(void)
{
	struct line *line;
	u32 id;

	for (id = 0; id < POPCORN_MEMBERS_MAX; id++) {
		line = lines[id];
		if (!line)
			continue;
		/* The last close is said, unless the other kernel takes nothing. */
		flush_work(&line->send_work);
		line_down(line, 0);
		cancel_work_sync(&line->receive_work);
		cancel_work_sync(&line->send_work);
		/* Last, for line_down() and the other works ask for it. */
		flush_work(&line->device_work);
	}
}

/* When there is no driver any more that could find them. */
static void free_lines(void)
{
	u32 id;

	for (id = 0; id < POPCORN_MEMBERS_MAX; id++) {
		if (!lines[id])
			continue;
		tty_port_destroy(&lines[id]->port);
		kvfree(lines[id]);
	}
}

static int __init vty_module_init(void)
{
	struct popcorn_msg_peer peer = {};
	int err;

	/* Unbound: a line to a kernel that takes nothing waits alone. */
	vty_wq = alloc_workqueue("popcorn_vty", WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!vty_wq)
		return -ENOMEM;
	err = vty_init();
	if (err)
		goto free_wq;
	err = popcorn_msg_register(&message_type);
	if (err)
		goto exit_tty;
	err = popcorn_msg_notifier_register(&notifier);
	if (err)
		goto unregister;
	mutex_lock(&lines_lock);
	while (popcorn_msg_next(&peer))
		joined(peer);
	mutex_unlock(&lines_lock);
	return 0;

unregister:
	popcorn_msg_unregister(&message_type);
exit_tty:
	vty_exit();
free_wq:
	destroy_workqueue(vty_wq);
	return err;
}
module_init(vty_module_init);

static void __exit vty_module_exit(void)
{
	popcorn_msg_notifier_unregister(&notifier);
	popcorn_msg_unregister(&message_type);
	end_lines();
	vty_exit();
	free_lines();
	destroy_workqueue(vty_wq);
}
module_exit(vty_module_exit);

MODULE_DESCRIPTION("Popcorn: terminals between kernels");
MODULE_LICENSE("GPL");
