// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "task.h"

/* Enough for the image library and stdio; a default stack would be 8 MiB of address space each. */
#define TASK_STACK_SIZE (256 * 1024)

struct task {
	task_function run, notified, done;
	void *userdata;
	pthread_t thread;
	int fd; /* eventfd */
	sd_event_source *source;
	atomic_bool ended;
};

static void task_wake(struct task *task)
{
	uint64_t one = 1;

	/* Can't fail: the counter of an eventfd does not overflow from ones. */
	if (write(task->fd, &one, sizeof(one)) < 0)
		abort();
}

void task_notify(struct task *task)
{
	task_wake(task);
}

static void *task_thread(void *userdata)
{
	struct task *task = userdata;

	task->run(task->userdata);
	atomic_store(&task->ended, true);
	task_wake(task);
	return NULL;
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct task *task = userdata;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return -errno;
	if (!atomic_load(&task->ended)) {
		if (task->notified)
			task->notified(task->userdata);
		return 0;
	}
	/* Joined before done(): what the thread wrote is visible then, and its last wake is over. */
	pthread_join(task->thread, NULL);
	task_function done = task->done;
	void *data = task->userdata;

	sd_event_source_disable_unref(task->source);
	close(task->fd);
	free(task);
	done(data);
	return 0;
}

int task_start(sd_event *event, task_function run, task_function notified, task_function done,
	       void *userdata, struct task **ret)
{
	struct task *task;
	pthread_attr_t attr;
	int r;

	task = calloc(1, sizeof(*task));
	if (!task)
		return -ENOMEM;
	task->run = run;
	task->notified = notified;
	task->done = done;
	task->userdata = userdata;
	task->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (task->fd < 0) {
		r = -errno;
		goto free_task;
	}
	r = sd_event_add_io(event, &task->source, task->fd, EPOLLIN, on_wake, task);
	if (r < 0)
		goto close_fd;
	r = -pthread_attr_init(&attr);
	if (r < 0)
		goto unref_source;
	pthread_attr_setstacksize(&attr, TASK_STACK_SIZE);
	/* The thread may look at *ret at once. */
	*ret = task;
	r = -pthread_create(&task->thread, &attr, task_thread, task);
	pthread_attr_destroy(&attr);
	if (r < 0)
		goto unset;
	return 0;
unset:
	*ret = NULL;
unref_source:
	sd_event_source_disable_unref(task->source);
close_fd:
	close(task->fd);
free_task:
	free(task);
	return r;
}
