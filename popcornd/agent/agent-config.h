/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * /popcorn/config: what popcornd tells the agent. Lines "KEY VALUE…", described in docs/guest.md. popcornd writes it;
 * whoever gives an initrd could have written another one, and so it is looked at as closely as a message.
 */

#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_CONFIG_FILE "/popcorn/config"
/* Larger than all of its lines at their longest. */
#define AGENT_CONFIG_MAX (64U << 10)
#define AGENT_HOSTS_MAX 64U
#define AGENT_NAMESERVERS_MAX 3U /* a resolver takes no more */
#define AGENT_NAME_MAX 64U	 /* HOST_NAME_MAX of Linux, without its NUL */

/* The share that the root is on. */
#define AGENT_ROOT_TAG "popcorn-root"

enum agent_root {
	AGENT_ROOT_INITRAMFS,
	AGENT_ROOT_PRIMARY,	     /* the primary's files, memory above them */
	AGENT_ROOT_FOLDER,	     /* a folder of the primary, written to */
	AGENT_ROOT_FOLDER_READ_ONLY, /* a folder of the primary, memory above it */
	AGENT_ROOTS
};

extern const char *const agent_root_names[AGENT_ROOTS];

/**
 * struct agent_network - the one interface
 * @wanted:  there was such a line
 * @mac:     by which it is found
 * @prefix:  1..32
 * @gateway: 0: none
 * @mtu:     68..65535
 */
struct agent_network {
	bool wanted;
	uint8_t mac[6];
	struct in_addr address;
	unsigned prefix;
	struct in_addr gateway;
	unsigned mtu;
};

struct agent_host {
	char address[INET6_ADDRSTRLEN];
	char name[AGENT_NAME_MAX + 1];
};

struct agent_config {
	enum agent_root root;
	char init[PATH_MAX];		   /* "/sbin/init" */
	char hostname[AGENT_NAME_MAX + 1]; /* or "" */
	char machine_id[33];		   /* or "" */
	struct agent_network network;
	struct agent_host hosts[AGENT_HOSTS_MAX];
	size_t n_hosts;
	char nameservers[AGENT_NAMESERVERS_MAX][INET6_ADDRSTRLEN];
	size_t n_nameservers;
};

void agent_config_init(struct agent_config *config);
/*
 * -EBADMSG: line *@ret_line (from 1) is not as described; -E2BIG: more than AGENT_CONFIG_MAX. Nothing is ignored: a line that this
 * agent does not know may be one that the kernel can't do without.
 */
int agent_config_parse(const char *text, size_t size, struct agent_config *config,
		       unsigned *ret_line);
