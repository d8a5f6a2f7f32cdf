// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "messages.h"
#include "util.h"

int complain_named(const char *what, enum popcorn_error_id id, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	complain(what, "%s (%s)", text ? text : "out of memory",
		 short_error(popcorn_error_name(id)));
	return popcorn_error_exit_code(id);
}

int open_endpoint(const char *what, struct popcorn_endpoint **ret)
{
	int r = popcorn_endpoint_open(ret);

	switch (r) {
	case 0:
		return EXIT_DONE;
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return complain_named(what, POPCORN_ERROR_NO_DRIVER,
				      "this kernel has no " POPCORN_MSG_DEVICE
				      ": modprobe popcorn_msg");
	case -EACCES:
	case -EPERM:
		return complain_named(
			what, POPCORN_ERROR_NOT_AUTHORIZED,
			"only root and the group popcorn may use " POPCORN_MSG_DEVICE);
	case -EPROTONOSUPPORT:
		return complain_named(what, POPCORN_ERROR_DRIVER_ABI,
				      "the loaded popcorn_msg is of another version; install "
				      "matching versions");
	}
	return complain_named(what, POPCORN_ERROR_FAILED, "opening " POPCORN_MSG_DEVICE ": %s",
			      strerror(-r));
}

static void add_peer(struct peers *peers, const struct popcorn_kernel *kernel)
{
	peers->items = xrealloc(peers->items, peers->n + 1, sizeof(*peers->items));
	peers->items[peers->n++] = (struct peer){
		.name = xstrdup(popcorn_kernel_get_name(kernel)),
		.id = popcorn_kernel_get_id(kernel),
	};
}

static bool is_running(const struct popcorn_kernel *kernel)
{
	return strcmp(popcorn_kernel_get_state(kernel), "running") == 0;
}

int find_peers(struct popcorn *popcorn, const char *what, const char *name, bool running,
	       struct peers *ret)
{
	_cleanup_(kernels_freep) struct popcorn_kernel **kernels = NULL;
	_cleanup_(kernel_freep) struct popcorn_kernel *kernel = NULL;
	size_t n;

	*ret = (struct peers){ 0 };
	if (!name) {
		if (popcorn_list_kernels(popcorn, &kernels, &n) < 0)
			return complain_last(popcorn, what);
		/* One that has ended and was not booted again has no id. */
		for (size_t i = 0; i < n; i++)
			if (popcorn_kernel_get_id(kernels[i]) &&
			    (!running || is_running(kernels[i])))
				add_peer(ret, kernels[i]);
		return EXIT_DONE;
	}
	if (popcorn_get_kernel(popcorn, name, &kernel) < 0)
		return complain_last(popcorn, what);
	if (running && !is_running(kernel))
		return complain_named(what, POPCORN_ERROR_WRONG_STATE,
				      "the kernel is %s, and only one that is running answers",
				      popcorn_kernel_get_state(kernel));
	if (popcorn_kernel_get_id(kernel))
		add_peer(ret, kernel);
	return EXIT_DONE;
}

void peers_done(struct peers *peers)
{
	for (size_t i = 0; i < peers->n; i++)
		free(peers->items[i].name);
	free(peers->items);
	*peers = (struct peers){ 0 };
}

const char *describe_silence(int err, const char *name, char *buf, size_t size)
{
	switch (err) {
	case -ENOTCONN:
		snprintf(buf, size,
			 "it takes no part in messages; 'popcornctl log %s --kernel' shows why",
			 name);
		return buf;
	case -EPIPE:
		return "it ended meanwhile";
	case -ENOENT:
		return "no popcorn-agent answers there";
	case -ESHUTDOWN:
		return "the primary takes no part in messages; its log (dmesg) shows why";
	case -ETIMEDOUT:
	case -EAGAIN:
		snprintf(buf, size, "no answer within %d ms", ANSWER_MS);
		return buf;
	case -EACCES:
	case -EPERM:
		return "it takes orders only from root of the primary";
	case -EPROTO:
		return "its popcorn-agent is of another version than this popcornctl";
	case -EBADMSG:
		return "its answer makes no sense";
	}
	snprintf(buf, size, "%s", strerror(-err));
	return buf;
}

int open_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	return signalfd(-1, &signals, SFD_CLOEXEC);
}

int wait_or_signal(int signal_fd, uint64_t usec)
{
	struct pollfd fds[] = { { .fd = signal_fd, .events = POLLIN }, { .fd = STDOUT_FILENO } };
	struct timespec timeout = { .tv_sec = usec / 1000000, .tv_nsec = usec % 1000000 * 1000 };

	if (ppoll(fds, 2, &timeout, NULL) < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[0].revents)
		return -EINTR;
	return fds[1].revents ? -EPIPE : 0;
}
