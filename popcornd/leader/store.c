// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "store.h"

int store_open(struct store *ret)
{
	struct store store = { 0 };
	int n = sd_listen_fds_with_names(true, &store.names);

	if (n <= 0)
		return n;
	store.fds = calloc((size_t)n, sizeof(*store.fds));
	if (!store.fds) {
		for (int i = 0; i < n; i++)
			free(store.names[i]);
		free(store.names);
		return -ENOMEM;
	}
	store.n = (size_t)n;
	for (int i = 0; i < n; i++)
		store.fds[i] = SD_LISTEN_FDS_START + i;
	*ret = store;
	return 0;
}

int store_take(struct store *store, const char *name)
{
	for (size_t i = 0; i < store->n; i++) {
		int fd = store->fds[i];

		if (fd < 0 || strcmp(store->names[i], name) != 0)
			continue;
		store->fds[i] = -1;
		return fd;
	}
	return -1;
}

int store_take_last(struct store *store, const char *device, uint32_t generation, const char *what)
{
	char prefix[STORE_NAME_MAX];
	size_t length;

	snprintf(prefix, sizeof(prefix), "%.32s.%" PRIu32 ".", device, generation);
	length = strlen(prefix);
	for (size_t i = 0; i < store->n; i++) {
		const char *end = strrchr(store->names[i], '.');
		int fd = store->fds[i];

		if (fd < 0 || !end || strncmp(store->names[i], prefix, length) != 0 ||
		    strncmp(end + 1, what, strlen(what)) != 0)
			continue;
		store_remove(store->names[i]);
		store->fds[i] = -1;
		return fd;
	}
	return -1;
}

void store_drop(struct store *store, const char *device)
{
	size_t length = strlen(device);

	for (size_t i = 0; i < store->n; i++) {
		if (store->fds[i] < 0 ||
		    (length && (strncmp(store->names[i], device, length) != 0 ||
				store->names[i][length] != '.')))
			continue;
		store_remove(store->names[i]);
		close(store->fds[i]);
		store->fds[i] = -1;
	}
}

void store_clear(struct store *store)
{
	store_drop(store, "");
	for (size_t i = 0; i < store->n; i++)
		free(store->names[i]);
	free(store->names);
	free(store->fds);
	*store = (struct store){ 0 };
}

const char *store_name(char buf[STORE_NAME_MAX], const char *device, uint32_t generation,
		       uint32_t wish, const char *what, uint32_t index)
{
	snprintf(buf, STORE_NAME_MAX, "%.32s.%" PRIu32 ".%" PRIu32 ".%.16s%" PRIu32, device,
		 generation, wish, what, index);
	return buf;
}

void store_put(const char *name, int fd)
{
	char text[STORE_NAME_MAX + 32];

	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
	sd_pid_notify_with_fds(0, false, text, &fd, 1);
}

void store_remove(const char *name)
{
	sd_notifyf(false, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}
