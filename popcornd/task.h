/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * A blocking function in a thread of its own, which reports to the event loop.
 *
 *	loop: task_start(run, notified, done) ──▶ thread: run(userdata) ── task_notify() ─┐
 *	loop: notified(userdata) ◀────────────────────────────────────────────────────────┤
 *	loop: done(userdata)     ◀── run returned; the thread is joined, the task is gone ─┘
 *
 * What run() and the loop share is the owner's to lock; what run() wrote is the loop's in done().
 */

#include <systemd/sd-event.h>

struct task;

typedef void (*task_function)(void *userdata);

/* @notified may be NULL. @userdata must live until @done, which is called exactly once. */
int task_start(sd_event *event, task_function run, task_function notified, task_function done,
	       void *userdata, struct task **ret);
/* From the thread. */
void task_notify(struct task *task);
