// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "agent/agent-config.h"
#include "guest.h"
#include "util.h"

#define RESOLV_CONF_MAX (64U << 10)

/* FNV-1a with 128 bits: names may be longer than an id. */
static sd_id128_t name_to_id(const char *name)
{
	const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;
	unsigned __int128 hash = (unsigned __int128)0x6c62272e07bb0142 << 64 | 0x62b821756295c58d;
	sd_id128_t id;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * prime;
	memcpy(id.bytes, &hash, sizeof(id.bytes));
	return id;
}

/*
 * The same one at each boot of this name on this machine, another one for each name, and none from which
 * the primary's could be told.
 */
static void write_machine_id(FILE *f, const char *name)
{
	sd_id128_t id;

	/* A primary without one: the kernel's init makes one of its own. */
	if (sd_id128_get_machine_app_specific(name_to_id(name), &id) < 0)
		return;
	fprintf(f, "machine-id " SD_ID128_FORMAT_STR "\n", SD_ID128_FORMAT_VAL(id));
}

/*
 * The kernel itself runs rdinit= and forgets init=; whoever mounts the root has to look at it, as
 * initrds do. For a repeated option the last one counts.
 */
static void write_init(FILE *f, const char *cmdline)
{
	static const char option[] = "init=";
	const char *path = NULL;

	for (const char *p = cmdline; (p = strstr(p, option)); p += strlen(option))
		if ((p == cmdline || p[-1] == ' ') && p[strlen(option)] == '/')
			path = p + strlen(option);
	if (path)
		fprintf(f, "init %.*s\n", (int)strcspn(path, " "), path);
}

/*
 * Whom the primary asks for names, if another kernel can ask them, too: not those in a loopback network. Without: a kernel's
 * own configuration has to say it.
 */
static size_t write_nameservers(FILE *f, const char *path)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	size_t size, n = 0;

	if (read_file(path, RESOLV_CONF_MAX, (void **)&text, &size) < 0)
		return 0;
	rest = text;
	while (n < AGENT_NAMESERVERS_MAX && (line = strsep(&rest, "\n"))) {
		char address[INET6_ADDRSTRLEN];
		struct in6_addr binary;

		/* A scope (%eth0) is one of the primary's: no address, then. */
		if (sscanf(line, "nameserver %45s", address) != 1 ||
		    strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 ||
		    (inet_pton(AF_INET, address, &binary) != 1 &&
		     inet_pton(AF_INET6, address, &binary) != 1))
			continue;
		fprintf(f, "nameserver %s\n", address);
		n++;
	}
	return n;
}

static enum agent_root root_of(const struct kernel_def *def)
{
	if (!kernel_def_has_root(def))
		return AGENT_ROOT_INITRAMFS;
	if (strcmp(def->root, ROOT_PRIMARY) == 0)
		return AGENT_ROOT_PRIMARY;
	return kernel_def_keeps_root(def) ? AGENT_ROOT_FOLDER_READ_ONLY : AGENT_ROOT_FOLDER;
}

int guest_config(const char *name, const struct kernel_def *def, const char *more, char **ret)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return -ENOMEM;
	fprintf(f, "root %s\nhostname %s\n", agent_root_names[root_of(def)], name);
	write_machine_id(f, name);
	write_init(f, def->cmdline ? def->cmdline : "");
	/* The second is whom systemd-resolved asks, where the first says only that there is one. */
	if (kernel_def_keeps_root(def) && !write_nameservers(f, "/etc/resolv.conf"))
		write_nameservers(f, "/run/systemd/resolve/resolv.conf");
	fputs(more ? more : "", f);
	if (fclose(f) != 0) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}
