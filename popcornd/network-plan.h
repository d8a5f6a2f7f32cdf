/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The network between kernels, as far as it is arithmetic and text: who has which address, who may
 * speak with whom, and what nftables is told of it. Pure. docs/network.md.
 */

#include <popcorn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* What Linux has for the name of an interface, with the NUL (IFNAMSIZ). */
#define INTERFACE_NAME_MAX 16
/* IPv4 asks for 576 of everybody; a tap takes 65535 with its Ethernet header. */
#define NETWORK_MTU_MIN 576
#define NETWORK_MTU_MAX 65521
/* "255.255.255.255/32" and the NUL */
#define ADDRESS_TEXT_MAX 20
#define MAC_SIZE 6
/* Our tables of nftables, in the families bridge and inet. */
#define NETWORK_TABLE "popcorn"

/* With whom a kernel may speak, both ways. */
enum {
	NETWORK_DEFAULT = 0, /* nothing was said: all that the configuration offers */
	NETWORK_PRIMARY = 1,
	NETWORK_KERNELS = 2,
	NETWORK_OUTSIDE = 4,
	NETWORK_NONE = 8, /* with nobody: it has no network */
};

/* popcornd.conf's group network. Addresses are in the order of the host. */
struct network_config {
	bool enabled;
	char *bridge;
	uint32_t address; /* of the primary */
	unsigned prefix;
	uint32_t gateway; /* 0 = none but the primary with nat */
	bool nat;
	char *uplink; /* or "" */
	unsigned mtu;
};

/* A kernel that has a network. */
struct network_port {
	char name[POPCORN_NAME_MAX];
	uint32_t id;
	unsigned peers; /* NETWORK_*, resolved: never DEFAULT nor NONE */
	int fd;		/* of the tap, or -1: only the leader has one */
};

int network_config_init(struct network_config *config); /* the defaults; -ENOMEM */
void network_config_done(struct network_config *config);
int network_config_copy(const struct network_config *config, struct network_config *ret);

/* "10.77.0.1/22" (@ret_prefix) or "10.77.0.1" (NULL). -EINVAL */
int network_parse_address(const char *s, uint32_t *ret, unsigned *ret_prefix);
const char *network_address_to_text(uint32_t address, char buf[ADDRESS_TEXT_MAX]);
#define ADDRESS_TEXT(address) network_address_to_text((address), (char[ADDRESS_TEXT_MAX]){ 0 })
/*
 * What is wrong with @config, or NULL: not all kernels have room behind the primary's address, the
 * gateway is elsewhere, a name is none for an interface.
 */
const char *network_config_fault(const struct network_config *config);
/* Do two ranges have an address in common? */
bool network_overlaps(uint32_t a, unsigned a_prefix, uint32_t b, unsigned b_prefix);

/* "primary,kernels", "none", "default"; INVALID_ARGUMENT. */
int network_parse_peers(const char *s, unsigned *ret, struct popcorn_error *error);
#define PEERS_TEXT_MAX 32
const char *network_peers_to_text(unsigned peers, char buf[PEERS_TEXT_MAX]);
#define PEERS_TEXT(peers) network_peers_to_text((peers), (char[PEERS_TEXT_MAX]){ 0 })
/* 0 = no network, else what of NETWORK_PRIMARY, _KERNELS and _OUTSIDE. */
unsigned network_resolve(const struct network_config *config, unsigned peers);
/* NETWORK: what was asked for by name is not offered. */
int network_check(const struct network_config *config, unsigned peers, struct popcorn_error *error);

/* Of kernel @id; 0 = the primary. */
uint32_t network_id_to_address(const struct network_config *config, uint32_t id);
void network_mac(uint32_t id, uint8_t ret[MAC_SIZE]);
const char *network_tap_name(uint32_t id, char buf[INTERFACE_NAME_MAX]);
#define TAP_NAME(id) network_tap_name((id), (char[INTERFACE_NAME_MAX]){ 0 })
/* Is @name that of a tap of ours? The kernel's id then, else 0. */
uint32_t network_tap_id(const char *name);

/* All of these are malloc'ed; -ENOMEM. */

/* One transaction for nftables: our tables as they are to be. Without ports: no tables. */
int network_rules(const struct network_config *config, const struct network_port *ports, size_t n,
		  char **ret);
/* What nftables takes if the table of this family is there, and changes nothing. */
#define NETWORK_RULES_TEST(family) "list table " family " " NETWORK_TABLE "\n"
/* /run/popcorn/hosts */
int network_hosts(const struct network_config *config, const struct network_port *ports, size_t n,
		  char **ret);
/*
 * For the agent of kernel @id, as docs/guest.md says; "" if it has no network. @peers as asked for. @ports: the kernels
 * of which it is told the names.
 */
int network_agent_lines(const struct network_config *config, const struct network_port *ports,
			size_t n, uint32_t id, unsigned peers, char **ret);
