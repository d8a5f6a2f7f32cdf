// SPDX-License-Identifier: GPL-2.0-or-later
/*
 *	the driver's wish        vhost-net, vhost-vsock           virtiofsd
 *	START                    told to start                    asked for (OpenServer), told to start
 *	STOP                     told to stop                     its connection is shut, its end waited for
 *	its death                can't be                         another one, where it was: it answers what was
 *	                                                          begun with an error, because it knows no files yet;
 *	                                                          if there is none, we do
 *	our death                ours: queues go on where         theirs is not; systemd keeps the connection
 *	                         they were
 *
 * A wish is answered when it was carried out, and not before: the driver then uses the memory for something else.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>
#include <popcorn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bus.h"
#include "devices.h"
#include "server.h"
#include "store.h"

/* How long a server of files may take until it answers, and then for all that it is told. */
#define GREETING_USEC (60ULL * 1000 * 1000)
#define VHOST_USER_TIMEOUT_MS 10000

/* The queue by which a vsock device tells of events: no server of the kernel's has it. */
#define VSOCK_EVENT_QUEUE 2

enum type {
	TYPE_NET,
	TYPE_VSOCK,
	TYPE_FILES,
};

static const struct {
	const char *name;
	unsigned n_fds; /* that come with it: the device's, then the server's */
} types[] = {
	[TYPE_NET] = { "net", 3 },
	[TYPE_VSOCK] = { "vsock", 2 },
	[TYPE_FILES] = { "fs", 1 },
};
#define TYPES (sizeof(types) / sizeof(types[0]))

struct device {
	LIST_ENTRY(device) entry;
	struct devices *devices;
	enum type type;
	char name[POPCORN_DEVICE_NAME_MAX];
	uint32_t cid;
	int fd;
	int vhost_fd; /* not of files */
	int tap_fd;   /* only of a network */
	sd_event_source *source;

	/* The wish that is being carried out, or was last. */
	uint32_t wish;
	uint64_t features;
	uint32_t nr_queues;
	struct server_queue queues[POPCORN_QUEUES_MAX];
	sd_event_source *errors[POPCORN_QUEUES_MAX]; /* of the server about a queue */
	sd_event_source *kicks[POPCORN_QUEUES_MAX];  /* while we refuse what is asked */
	bool started;				     /* as far as the driver was told */
	bool is_first;				     /* the first wish that we see */

	/* Files: the connection, from when there is a server until it is known to be gone. */
	int socket;
	sd_event_source *socket_source;
	sd_bus_slot *asked; /* for a server */
	unsigned tries;
	sd_event_source
		*greeting; /* until it has answered for the first time: the end of our patience */
	bool stopping;	   /* it was told to, and has not ended yet */
};

struct devices {
	const char *name;
	sd_event *event;
	sd_bus *bus;
	uint32_t generation;
	struct guest_memory memory;
	bool asked, opened, closed;
	struct store store;
	LIST_HEAD(, device) list;
};

/*
 * Descriptors of one device.
 */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Those of a queue, and how the store names them. */
#define QUEUE_FDS 3
static const char *const queue_fd_names[QUEUE_FDS] = { "kick", "call", "error" };

static int *queue_fd(struct server_queue *queue, size_t i)
{
	int *const fds[QUEUE_FDS] = { &queue->kick, &queue->call, &queue->error };

	return fds[i];
}

static const char *stored_name(const struct device *device, const char *what, uint32_t index,
			       char buf[STORE_NAME_MAX])
{
	return store_name(buf, device->name, device->devices->generation, device->wish, what,
			  index);
}

static void each_stored(struct device *device, void (*function)(const char *name, int fd))
{
	char name[STORE_NAME_MAX];

	for (uint32_t i = 0; i < device->nr_queues; i++) {
		struct server_queue *queue = &device->queues[i];

		for (size_t j = 0; j < QUEUE_FDS && queue->kick >= 0; j++)
			function(stored_name(device, queue_fd_names[j], i, name),
				 *queue_fd(queue, j));
	}
	function(stored_name(device, "socket", 0, name), device->socket);
}

static void remove_stored(const char *name, int fd)
{
	store_remove(name);
}

static void forget_stored(struct device *device)
{
	each_stored(device, remove_stored);
}

static void close_queues(struct device *device)
{
	for (uint32_t i = 0; i < POPCORN_QUEUES_MAX; i++) {
		device->errors[i] = sd_event_source_disable_unref(device->errors[i]);
		device->kicks[i] = sd_event_source_disable_unref(device->kicks[i]);
		for (size_t j = 0; j < QUEUE_FDS; j++)
			close_fd(queue_fd(&device->queues[i], j));
	}
}

static void close_socket(struct device *device)
{
	device->asked = sd_bus_slot_unref(device->asked);
	device->socket_source = sd_event_source_disable_unref(device->socket_source);
	device->greeting = sd_event_source_disable_unref(device->greeting);
	close_fd(&device->socket);
	device->stopping = false;
}

static void device_free(struct device *device)
{
	LIST_REMOVE(device, entry);
	device->source = sd_event_source_disable_unref(device->source);
	if (device->type == TYPE_FILES && device->started)
		forget_stored(device);
	close_socket(device);
	close_queues(device);
	close_fd(&device->tap_fd);
	close_fd(&device->vhost_fd);
	close_fd(&device->fd);
	free(device);
}

/* Without it the wish that is being carried out would wake us all the time; an end is told anyway. */
static void listen_to_driver(struct device *device, bool listen)
{
	sd_event_source_set_io_events(device->source, listen ? EPOLLIN : 0);
}

/*
 * Answers.
 */

__attribute__((format(printf, 2, 3))) static void say(const struct device *device,
						      const char *format, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	fprintf(stderr, "device %s: %s\n", device->name, text);
}

/* A wish that has been replaced meanwhile is seen by the next look. */
static void answer(struct device *device, uint32_t state, const char *why)
{
	struct popcorn_device_done done = {
		.size = sizeof(done),
		.number = device->wish,
		.state = state,
	};

	if (why) {
		snprintf(done.text, sizeof(done.text), "%s", why);
		/* Some of it may be another program's words. */
		for (char *p = done.text; *p; p++)
			if (*p < ' ' || *p > '~')
				*p = '?';
	}
	device->started = state == POPCORN_DEVICE_STARTED;
	listen_to_driver(device, true);
	if (ioctl(device->fd, POPCORN_IOC_DEVICE_DONE, &done) < 0 && errno != ESTALE &&
	    errno != ENODEV)
		say(device, "the driver does not take an answer: %s", strerror(errno));
}

/* The server touches its queues no more. */
static void stop_server(struct device *device)
{
	switch (device->type) {
	case TYPE_NET:
		vhost_net_stop(device->vhost_fd);
		break;
	case TYPE_VSOCK:
		vhost_vsock_stop(device->vhost_fd);
		break;
	case TYPE_FILES:
		break; /* it has ended */
	}
}

static void fail(struct device *device, const char *why)
{
	say(device, "failed: %s", why);
	stop_server(device);
	close_queues(device);
	answer(device, POPCORN_DEVICE_FAILED, why);
}

/* The server is out of the queues, as it was told to. */
static void stopped(struct device *device)
{
	device->stopping = false;
	close_queues(device);
	answer(device, POPCORN_DEVICE_STOPPED, NULL);
}

/*
 * Queues.
 */

static int on_queue_error(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct device *device = userdata;
	char why[SERVER_WHY_MAX];
	uint32_t queue = 0;

	while (queue < device->nr_queues && device->queues[queue].error != fd)
		queue++;
	snprintf(why, sizeof(why), "the server found nonsense in queue %" PRIu32, queue);
	if (device->type == TYPE_FILES) {
		/* Its answer is in how it ends. */
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		say(device, "%s", why);
		return 0;
	}
	fail(device, why);
	return 0;
}

/* Kicks and calls pass us by from now on. */
static int connect_queue(struct device *device, uint32_t index)
{
	struct server_queue *queue = &device->queues[index];
	struct popcorn_device_queue arg = {
		.size = sizeof(arg),
		.queue = index,
		.kick = queue->kick,
		.call = queue->call,
	};

	if (ioctl(device->fd, POPCORN_IOC_DEVICE_QUEUE, &arg) < 0)
		return -errno;
	return sd_event_add_io(device->devices->event, &device->errors[index], queue->error,
			       EPOLLIN, on_queue_error, device);
}

static int make_queues(struct device *device)
{
	int r = 0;

	for (uint32_t i = 0; i < device->nr_queues && r >= 0; i++) {
		struct server_queue *queue = &device->queues[i];

		if (!queue->ring.size)
			continue;
		queue->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		queue->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		queue->error = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (queue->kick < 0 || queue->call < 0 || queue->error < 0)
			return -errno;
		r = connect_queue(device, i);
	}
	return r;
}

static struct server_setup setup_of(struct device *device)
{
	return (struct server_setup){
		.memory = &device->devices->memory,
		.features = device->features,
		.queues = device->queues,
		.nr_queues = device->nr_queues,
	};
}

/* The first device that is started needs it. */
static int need_memory(struct device *device)
{
	struct devices *devices = device->devices;

	return devices->memory.n ? 0 : guest_memory_open(device->fd, &devices->memory);
}

/*
 * vhost.
 */

/*
 * A server before this one has been at its queues: what it knew of connections is lost, and the kernel is told that
 * they are gone, or they would hang for ever.
 */
static void tell_of_reset(struct device *device)
{
	const struct virtio_vsock_event event = { .id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET };
	const struct server_queue *queue = &device->queues[VSOCK_EVENT_QUEUE];
	const uint64_t one = 1;
	uint16_t used = 0;
	bool is_new = true;
	int r;

	for (uint32_t i = 0; i < VSOCK_EVENT_QUEUE; i++)
		if (queue_used_index(&device->devices->memory, &device->queues[i].ring, &used) >=
			    0 &&
		    used != 0)
			is_new = false;
	if (is_new || !queue->ring.size)
		return;
	r = queue_push(&device->devices->memory, &queue->ring, &event, sizeof(event));
	if (r < 0)
		say(device, "the kernel can't be told that connections are gone: %s", strerror(-r));
	else if (r > 0 && write(queue->call, &one, sizeof(one)) < 0)
		say(device, "the kernel can't be called: %s", strerror(errno));
}

static void start_vhost(struct device *device)
{
	struct server_setup setup = setup_of(device);
	char why[SERVER_WHY_MAX] = "";
	int r = make_queues(device);

	if (r < 0)
		snprintf(why, sizeof(why), "its queues can't be connected: %s", strerror(-r));
	else if (device->type == TYPE_NET)
		r = vhost_net_start(device->vhost_fd, device->tap_fd, &setup, why);
	else
		r = vhost_vsock_start(device->vhost_fd, device->cid, &setup, why);
	if (r < 0) {
		fail(device, why);
		return;
	}
	if (device->type == TYPE_VSOCK && device->is_first && device->nr_queues > VSOCK_EVENT_QUEUE)
		tell_of_reset(device);
	answer(device, POPCORN_DEVICE_STARTED, NULL);
}

/*
 * Files.
 */

static int ask_server(struct device *device);

static int on_refused_kick(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct device *device = userdata;
	const uint64_t one = 1;
	uint32_t i = 0;
	uint64_t count;
	int n;

	while (i < device->nr_queues && device->queues[i].kick != fd)
		i++;
	if (i == device->nr_queues || read(fd, &count, sizeof(count)) < 0)
		return 0;
	n = queue_refuse(&device->devices->memory, &device->queues[i].ring,
			 device->features & BIT(VIRTIO_RING_F_EVENT_IDX));
	if (n < 0) {
		fail(device, "there is no server of files, and nonsense in a queue");
		return 0;
	}
	if (n > 0 && write(device->queues[i].call, &one, sizeof(one)) < 0)
		say(device, "the kernel can't be called: %s", strerror(errno));
	/* It may have stopped in between, to let others go on. */
	if (n == POPCORN_QUEUE_SIZE_MAX && write(fd, &one, sizeof(one)) < 0)
		say(device, "more requests may be waiting: %s", strerror(errno));
	return 0;
}

/*
 * There is no server, and will be none until the driver resets the device. Requests would be waited for all the
 * same, and not even a shutdown would get by: so each is answered with an error, by us.
 */
static void refuse(struct device *device, const char *why)
{
	const uint64_t one = 1;

	say(device, "%s; all that is asked of it fails from now on", why);
	for (uint32_t i = 0; i < device->nr_queues; i++) {
		int kick = device->queues[i].kick;

		if (kick < 0)
			continue;
		if (sd_event_add_io(device->devices->event, &device->kicks[i], kick, EPOLLIN,
				    on_refused_kick, device) < 0 ||
		    write(kick, &one, sizeof(one)) < 0) {
			fail(device, why);
			return;
		}
	}
	if (!device->started)
		answer(device, POPCORN_DEVICE_STARTED, NULL);
}

/*
 * What was stored of it is gone by itself: systemd lets go of a connection whose other end is closed, and the
 * rest is taken away here.
 */
static void on_server_gone(struct device *device)
{
	bool was_stopping = device->stopping;
	int r;

	if (device->started)
		forget_stored(device);
	close_socket(device);
	if (was_stopping) {
		stopped(device);
		return;
	}
	say(device, "its server of files died; what is open in it is lost, another one is started");
	r = ask_server(device);
	if (r < 0)
		refuse(device, "popcornd can't be asked for another server");
}

static void set_up_files(struct device *device)
{
	struct server_setup setup = setup_of(device);
	char why[SERVER_WHY_MAX] = "";

	device->greeting = sd_event_source_disable_unref(device->greeting);
	if (vhost_user_start(device->socket, &setup, VHOST_USER_TIMEOUT_MS, why) < 0) {
		/* It may have begun with some queue: it is out of it when it has ended. */
		say(device, "%s", why);
		shutdown(device->socket, SHUT_WR);
		return;
	}
	/* From here on another leader goes on with it. */
	each_stored(device, store_put);
	if (!device->started)
		answer(device, POPCORN_DEVICE_STARTED, NULL);
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct device *device = userdata;
	char bytes[256];

	if (revents & (EPOLLHUP | EPOLLERR))
		on_server_gone(device);
	else if (device->greeting && !device->stopping)
		set_up_files(device);
	else if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) == 0)
		/* It was asked nothing, and whatever it says does not matter. Its end is told by HUP. */
		sd_event_source_set_io_events(source, 0);
	return 0;
}

static int watch_socket(struct device *device)
{
	return sd_event_add_io(device->devices->event, &device->socket_source, device->socket,
			       EPOLLIN, on_socket, device);
}

static int on_no_greeting(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct device *device = userdata;

	say(device, "its server of files does not answer");
	shutdown(device->socket, SHUT_WR);
	return 0;
}

static void start_files(struct device *device, int fd)
{
	int r = vhost_user_greet(fd);

	device->socket = fd;
	if (r >= 0)
		r = watch_socket(device);
	if (r >= 0)
		r = sd_event_add_time_relative(device->devices->event, &device->greeting,
					       CLOCK_MONOTONIC, GREETING_USEC, 0, on_no_greeting,
					       device);
	if (r < 0) {
		/* Nothing was told to it. */
		close_socket(device);
		refuse(device, "its server of files can't be talked to");
	}
}

static int on_server(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	struct device *device = userdata;
	int fd = -1;

	device->asked = sd_bus_slot_unref(device->asked);
	if (!error && sd_bus_message_read(reply, "h", &fd) >= 0)
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (device->stopping) {
		/* It was told nothing yet, and ends when its connection is closed. */
		close_fd(&fd);
		stopped(device);
		return 0;
	}
	if (error && leader_is_unanswered(error) && ++device->tries < TRIES_MAX &&
	    ask_server(device) >= 0)
		return 0;
	device->tries = 0;
	if (fd < 0)
		refuse(device, error ? error->message : "popcornd gave no server of files");
	else
		start_files(device, fd);
	return 0;
}

static int ask_server(struct device *device)
{
	return leader_call(device->devices->bus, &device->asked, "OpenServer", on_server, device,
			   "ss", device->devices->name, device->name);
}

/* What the leader before us has left of this very wish: all of it, or nothing. */
static bool take_over_files(struct device *device)
{
	struct devices *devices = device->devices;
	char name[STORE_NAME_MAX];
	bool complete;

	device->socket = store_take(&devices->store, stored_name(device, "socket", 0, name));
	complete = device->socket >= 0;
	for (uint32_t i = 0; i < device->nr_queues; i++) {
		struct server_queue *queue = &device->queues[i];

		for (size_t j = 0; j < QUEUE_FDS && queue->ring.size; j++) {
			int *fd = queue_fd(queue, j);

			*fd = store_take(&devices->store,
					 stored_name(device, queue_fd_names[j], i, name));
			complete = complete && *fd >= 0;
		}
	}
	for (uint32_t i = 0; i < device->nr_queues && complete; i++)
		complete = !device->queues[i].ring.size || connect_queue(device, i) >= 0;
	if (complete && watch_socket(device) >= 0) {
		/* Both sides look at their queues then, so that nothing of the time between is lost. */
		answer(device, POPCORN_DEVICE_STARTED, NULL);
		return true;
	}
	/* Only a server that is not there any more leaves it like this. */
	forget_stored(device);
	close_socket(device);
	close_queues(device);
	return false;
}

static void start_or_ask(struct device *device)
{
	int r;

	if (device->is_first && take_over_files(device))
		return;
	r = make_queues(device);
	if (r >= 0)
		r = ask_server(device);
	if (r < 0) {
		char why[SERVER_WHY_MAX];

		snprintf(why, sizeof(why), "no server of files: %s", strerror(-r));
		fail(device, why);
	}
}

/*
 * Wishes.
 */

static void start(struct device *device)
{
	int r = need_memory(device);

	if (r < 0) {
		char why[SERVER_WHY_MAX];

		snprintf(why, sizeof(why), "the kernel's memory can't be mapped: %s", strerror(-r));
		fail(device, why);
	} else if (device->type == TYPE_FILES) {
		start_or_ask(device);
	} else {
		start_vhost(device);
	}
}

static void stop(struct device *device, uint32_t wish)
{
	if (device->started && device->type == TYPE_FILES)
		forget_stored(device);
	device->started = false;
	device->wish = wish;
	if (device->socket >= 0 || device->asked) {
		/* Answered when it has ended, or when it would be there. */
		device->stopping = true;
		listen_to_driver(device, false);
		if (device->socket >= 0)
			shutdown(device->socket, SHUT_WR);
		return;
	}
	stop_server(device);
	stopped(device);
}

/* One that a leader before us started, for a driver that wants none by now. */
static void find_stale_server(struct device *device)
{
	struct devices *devices = device->devices;

	device->socket =
		store_take_last(&devices->store, device->name, devices->generation, "socket");
	/* It ends when it is closed, in any case. */
	if (device->socket >= 0 && watch_socket(device) < 0)
		close_socket(device);
}

static void look(struct device *device)
{
	struct popcorn_queue rings[POPCORN_QUEUES_MAX] = {};
	struct popcorn_device_want want = {
		.size = sizeof(want),
		.nr_queues = POPCORN_QUEUES_MAX,
		.queues = (uintptr_t)rings,
	};

	if (ioctl(device->fd, POPCORN_IOC_DEVICE_WANT, &want) < 0) {
		if (errno != ENODEV)
			say(device, "the driver does not say what is wanted: %s", strerror(errno));
		return;
	}
	if (want.nr_queues > POPCORN_QUEUES_MAX)
		return;
	if (want.state == POPCORN_DEVICE_STARTED) {
		device->wish = want.number;
		device->features = want.features;
		device->nr_queues = want.nr_queues;
		for (uint32_t i = 0; i < POPCORN_QUEUES_MAX; i++)
			device->queues[i] = (struct server_queue){ rings[i], -1, -1, -1 };
		listen_to_driver(device, false);
		start(device);
	} else {
		if (device->is_first && device->type == TYPE_FILES)
			find_stale_server(device);
		stop(device, want.number);
	}
	if (device->is_first)
		store_drop(&device->devices->store, device->name);
	device->is_first = false;
}

static int on_device(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct device *device = userdata;

	if (revents & (EPOLLHUP | EPOLLERR)) {
		/* The kernel has ended, or somebody took the device away. */
		device_free(device);
		return 0;
	}
	look(device);
	return 0;
}

/*
 * All of them.
 */

static int add_device(struct devices *devices, enum type type, const char *name, uint32_t cid,
		      const int *fds)
{
	struct device *device = calloc(1, sizeof(*device));
	int *const places[] = { &device->fd, &device->vhost_fd, &device->tap_fd };

	if (!device)
		return -ENOMEM;
	LIST_INSERT_HEAD(&devices->list, device, entry);
	device->devices = devices;
	device->type = type;
	device->cid = cid;
	device->is_first = true;
	snprintf(device->name, sizeof(device->name), "%s", name);
	device->fd = device->vhost_fd = device->tap_fd = device->socket = -1;
	for (size_t i = 0; i < POPCORN_QUEUES_MAX; i++)
		device->queues[i].kick = device->queues[i].call = device->queues[i].error = -1;
	for (unsigned i = 0; i < types[type].n_fds; i++) {
		*places[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (*places[i] < 0) {
			int r = -errno;

			device_free(device);
			return r;
		}
	}
	if (sd_event_add_io(devices->event, &device->source, device->fd, EPOLLIN, on_device,
			    device) < 0) {
		device_free(device);
		return -ENOMEM;
	}
	return 0;
}

/* One of the reply: it is left out if there is anything about it that we do not know. */
static int read_device(struct devices *devices, sd_bus_message *reply)
{
	const char *type, *name;
	uint32_t slot, cid;
	unsigned n = 0;
	int fds[3], r, fd;

	r = sd_bus_message_read(reply, "ussu", &slot, &type, &name, &cid);
	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', "h");
	while (r >= 0 && (r = sd_bus_message_read(reply, "h", &fd)) > 0) {
		if (n < 3)
			fds[n] = fd;
		n++;
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(reply);
	for (unsigned i = 0; i < TYPES && r >= 0; i++)
		if (strcmp(type, types[i].name) == 0 && n == types[i].n_fds)
			r = add_device(devices, i, name, cid, fds);
	return r;
}

static int on_opened(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	struct devices *devices = userdata;
	int r;

	devices->asked = false;
	if (devices->closed)
		return 0;
	if (error) {
		/* The next change of state, or the next popcornd, is asked again. */
		fprintf(stderr, "devices can't be served now: %s\n", error->message);
		return 0;
	}
	r = sd_bus_message_read(reply, "u", &devices->generation);
	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', "(ussuah)");
	while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'r', "ussuah")) > 0) {
		r = read_device(devices, reply);
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
	}
	if (r < 0)
		fprintf(stderr, "popcornd's answer about devices is not understood: %s\n",
			strerror(-r));
	devices->opened = true;
	return 0;
}

int devices_new(const char *name, sd_event *event, sd_bus *bus, struct devices **ret)
{
	struct devices *devices = calloc(1, sizeof(*devices));
	int r;

	if (!devices)
		return -ENOMEM;
	devices->name = name;
	devices->event = event;
	devices->bus = bus;
	LIST_INIT(&devices->list);
	r = store_open(&devices->store);
	if (r < 0) {
		free(devices);
		return r;
	}
	*ret = devices;
	return 0;
}

void devices_open(struct devices *devices)
{
	if (devices->asked || devices->opened || devices->closed)
		return;
	devices->asked = leader_call(devices->bus, NULL, "OpenDevices", on_opened, devices, "s",
				     devices->name) >= 0;
}

void devices_close(struct devices *devices)
{
	struct device *device;

	devices->closed = true;
	while ((device = LIST_FIRST(&devices->list)))
		device_free(device);
	store_clear(&devices->store);
	guest_memory_close(&devices->memory);
}
