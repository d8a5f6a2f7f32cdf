/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * What it takes to have a server serve the queues of a device: vhost.c the kernel's own servers, vhost-user.c
 * one in another process. Nothing here knows popcornd or systemd.
 */

#include "guest-memory.h"

/* Of features. */
#define BIT(n) (UINT64_C(1) << (n))

struct server_queue {
	struct popcorn_queue ring; /* size 0: not in use */
	int kick, call, error;	   /* eventfds, or -1 */
};

struct server_setup {
	const struct guest_memory *memory;
	uint64_t features; /* accepted by the driver */
	const struct server_queue *queues;
	uint32_t nr_queues;
};

/* Why a device can't be served, for people. */
#define SERVER_WHY_MAX 64

/*
 * vhost.c. Each queue goes on where its used index says that the last server was. On failure, of which @why says
 * more, the server is stopped.
 */
int vhost_net_start(int vhost_fd, int tap_fd, const struct server_setup *setup,
		    char why[SERVER_WHY_MAX]);
void vhost_net_stop(int vhost_fd);
int vhost_vsock_start(int vhost_fd, uint64_t cid, const struct server_setup *setup,
		      char why[SERVER_WHY_MAX]);
void vhost_vsock_stop(int vhost_fd);

/*
 * vhost-user.c. @fd is a connection to a server that has not been told anything yet. It is greeted, and when it
 * has answered, which it does when it has been started, it is told all else. All that it answers is taken for
 * hostile; it has @timeout_ms for all of it together. On failure it is in no known state: the connection is to be closed.
 */
int vhost_user_greet(int fd);
int vhost_user_start(int fd, const struct server_setup *setup, int timeout_ms,
		     char why[SERVER_WHY_MAX]);
