/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The network between kernels on this machine: the bridge, a tap for each kernel, rules, names.
 * docs/network.md. Any thread may call; calls take milliseconds and come one after the other.
 */

#include "network-plan.h"

struct network_link {
	char kind[16];			 /* "bridge", "tun", or "" */
	char master[INTERFACE_NAME_MAX]; /* the bridge that it is a port of, or "" */
};

/*
 * What is asked of the system: network-link.c, or a test's. Negative errno. Names are those of
 * interfaces.
 */
struct network_ops {
	int (*find_link)(void *system, const char *name, struct network_link *ret); /* -ENODEV */
	int (*add_bridge)(void *system, const char *name, const uint8_t mac[MAC_SIZE],
			  unsigned mtu);
	int (*delete_link)(void *system, const char *name); /* -ENODEV */
	int (*set_up)(void *system, const char *name);
	/* A port of no bridge: @master NULL. */
	int (*set_master)(void *system, const char *name, const char *master);
	/* 1: it has the IPv4 address; 0 as @address: any. */
	int (*find_address)(void *system, const char *name, uint32_t address);
	int (*add_address)(void *system, const char *name, uint32_t address, unsigned prefix);
	int (*delete_address)(void *system, const char *name, uint32_t address, unsigned prefix);
	/* 1 and the route: one that overlaps and does not lead to one of @except ("" for none). */
	int (*find_route)(void *system, uint32_t address, unsigned prefix,
			  const char *const except[2], char ret[64]);
	/* Names of the ports of a bridge. @each returns negative to end it. */
	int (*list_ports)(void *system, const char *bridge,
			  int (*each)(void *userdata, const char *name, const char *kind),
			  void *userdata);
	/* One queue, frames with a 12-byte virtio header, checksums and segments left to others. */
	int (*open_tap)(void *system, const char *name, const char *alias, unsigned mtu,
			int *ret_fd);
	/* One transaction, all or nothing; what is wrong with it in @ret_why. */
	int (*set_rules)(void *system, const char *text, char ret_why[128]);
	int (*get_forward)(void *system); /* net.ipv4.ip_forward: 0, 1 */
	int (*set_forward)(void *system, bool on);
};

/* The system itself. -ENOMEM */
extern const struct network_ops network_link_ops;
int network_system_new(void **ret);
void network_system_free(void *system);

struct network;

/*
 * @run is /run/popcorn; what an earlier popcornd made is read there, and nothing touched until
 * network_settle(). @config is copied. @ops NULL: the system itself.
 */
int network_new(const struct network_config *config, const char *run, const struct network_ops *ops,
		void *system, struct network **ret, struct popcorn_error *error);
/* Leaves everything as it is: kernels go on without popcornd. */
struct network *network_free(struct network *network);
/* Another configuration; used when no kernel has a network any more. -ENOMEM */
int network_reload(struct network *network, const struct network_config *config);

/*
 * At start, for each kernel that is there, then network_settle(): rules as they must be, and what
 * belongs to nobody is removed. @peers is as it was asked for.
 */
int network_adopt(struct network *network, const char *kernel, uint32_t id, unsigned peers);
int network_settle(struct network *network, struct popcorn_error *error);

/*
 * The tap of a kernel: made, with all that it needs, or one more descriptor of the one that there
 * is, as after a restart of its leader. All or nothing. NETWORK: it has none, or what failed.
 */
int network_attach(struct network *network, const char *kernel, uint32_t id, unsigned peers,
		   int *ret_fd, struct popcorn_error *error);
/* Its end. One that has none is fine. An error says what could not be removed. */
int network_detach(struct network *network, const char *kernel, struct popcorn_error *error);

/* 1: rules that should have been there were not, and are again. 0: all was well. */
int network_restore_rules(struct network *network, struct popcorn_error *error);

/* Its address, or "". */
void network_get_address(struct network *network, const char *kernel, char ret[ADDRESS_TEXT_MAX]);
/* network_agent_lines() with the configuration that is used. */
int network_get_agent_lines(struct network *network, uint32_t id, unsigned peers, unsigned *ret_mtu,
			    char **ret);
