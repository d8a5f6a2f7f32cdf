// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <libconfig.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "lease.h"
#include "util.h"

#define LEASE_VERSION 1
/* A line per block; a machine has some ten thousand blocks at most. */
#define LEASE_SIZE_MAX (16U << 20)

int lease_write(const char *folder, const char *name, const struct lease *lease, const char *cpus,
		const char *memory_nodes)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[PATH_MAX], aside[PATH_MAX];

	/* No name begins with a dot. */
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path) ||
	    (size_t)snprintf(aside, sizeof(aside), "%s/.%s", folder, name) >= sizeof(aside))
		return -ENAMETOOLONG;
	f = fopen(aside, "we");
	if (!f)
		return -errno;
	fprintf(f,
		"# What popcornd took from the primary for the kernel of this file's name.\n"
		"# Blocks that stay offline when the kernel is gone: popcornd onlines them when "
		"it\n"
		"# starts, or write online to /sys/devices/system/memory/memoryINDEX/state.\n"
		"version = %d;\nmemory = %" PRIu64 "L;\ncpus = \"%s\";\n",
		LEASE_VERSION, lease->memory, cpus);
	if (memory_nodes)
		fprintf(f, "memory_nodes = \"%s\";\n", memory_nodes);
	fprintf(f, "blocks = (");
	for (size_t i = 0; i < lease->n_blocks; i++)
		fprintf(f, "%s\n\t{ index = %" PRIu64 "L; node = %u; zone = \"%s\"; }",
			i ? "," : "", lease->blocks[i].index, lease->blocks[i].node,
			lease->blocks[i].zone);
	fprintf(f, "\n);\n");
	/* /run is memory: what close() and rename() order is enough for a process that dies. */
	if (fflush(f) != 0 || ferror(f))
		return -errno ? -errno : -EIO;
	if (rename(aside, path) < 0)
		return -errno;
	return 0;
}

static int read_block_entry(const config_setting_t *entry, struct block *ret)
{
	const char *zone;
	struct block block = { 0 };
	long long index;
	int node;

	if (!config_setting_lookup_int64(entry, "index", &index) || index < 0 ||
	    !config_setting_lookup_int(entry, "node", &node) || node < 0 ||
	    !config_setting_lookup_string(entry, "zone", &zone) ||
	    strlen(zone) >= sizeof(block.zone))
		return -EINVAL;
	block.index = (uint64_t)index;
	block.node = (unsigned)node;
	strcpy(block.zone, zone);
	*ret = block;
	return 0;
}

static int read_lease(const config_t *parsed, struct lease *ret)
{
	const config_setting_t *list = config_lookup(parsed, "blocks");
	_cleanup_free_ struct block *blocks = NULL;
	long long memory;
	int version, n;

	if (!config_lookup_int(parsed, "version", &version) || version != LEASE_VERSION ||
	    !config_lookup_int64(parsed, "memory", &memory) || memory < 0 || !list ||
	    !config_setting_is_list(list))
		return -EINVAL;
	n = config_setting_length(list);
	blocks = calloc((size_t)n + 1, sizeof(*blocks));
	if (!blocks)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		int r = read_block_entry(config_setting_get_elem(list, (unsigned)i), &blocks[i]);

		if (r < 0)
			return r;
	}
	ret->memory = (uint64_t)memory;
	ret->n_blocks = (size_t)n;
	ret->blocks = steal_ptr(blocks);
	return 0;
}

int lease_read(const char *folder, const char *name, struct lease *ret, struct popcorn_error *error)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	config_t parsed;
	size_t size;
	void *data;
	int r;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
		return -ENAMETOOLONG;
	r = read_file(path, LEASE_SIZE_MAX, &data, &size);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return popcorn_error_set_errno(error, r, "can't read the lease %s", path);
	text = data;
	config_init(&parsed);
	r = config_read_string(&parsed, text) == CONFIG_TRUE ? read_lease(&parsed, ret) : -EINVAL;
	config_destroy(&parsed);
	if (r < 0)
		return popcorn_error_set_errno(
			error, r,
			"the lease %s can't be understood; see which blocks in "
			"/sys/devices/system/memory are offline, then remove it",
			path);
	return 0;
}

void lease_done(struct lease *lease)
{
	free(lease->blocks);
	memset(lease, 0, sizeof(*lease));
}

int lease_remove(const char *folder, const char *name)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
		return -ENAMETOOLONG;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
