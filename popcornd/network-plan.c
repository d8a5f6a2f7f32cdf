// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "agent/agent-config.h"
#include "keys.h"
#include "network-plan.h"
#include "util.h"

/*
 * Seldom used by anybody else: not the first or last of 10.0.0.0/8, nor what container engines take.
 * 1022 addresses: twice as many as there can be kernels.
 */
#define DEFAULT_ADDRESS 0x0a4d0001U /* 10.77.0.1 */
#define DEFAULT_PREFIX 22
#define DEFAULT_MTU 1500

#define TAP_PREFIX "popcorn"
/* Administered locally, and "pc". */
#define MAC_PREFIX 0x02, 0x70, 0x63

int network_config_init(struct network_config *config)
{
	*config = (struct network_config){
		.enabled = true,
		.bridge = strdup("popcorn0"),
		.address = DEFAULT_ADDRESS,
		.prefix = DEFAULT_PREFIX,
		.uplink = strdup(""),
		.mtu = DEFAULT_MTU,
	};
	return config->bridge && config->uplink ? 0 : -ENOMEM;
}

void network_config_done(struct network_config *config)
{
	free(config->bridge);
	free(config->uplink);
	config->bridge = config->uplink = NULL;
}

int network_config_copy(const struct network_config *config, struct network_config *ret)
{
	struct network_config copy = *config;

	copy.bridge = strdup(config->bridge);
	copy.uplink = strdup(config->uplink);
	if (!copy.bridge || !copy.uplink) {
		network_config_done(&copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

/*
 * Addresses.
 */

static uint32_t mask_of(unsigned prefix)
{
	return prefix ? UINT32_MAX << (32 - prefix) : 0;
}

int network_parse_address(const char *s, uint32_t *ret, unsigned *ret_prefix)
{
	const char *slash = strchr(s, '/');
	size_t length = slash ? (size_t)(slash - s) : strlen(s);
	char address[ADDRESS_TEXT_MAX];
	unsigned prefix = 0;
	struct in_addr in;

	if (length >= sizeof(address) || !slash != !ret_prefix)
		return -EINVAL;
	memcpy(address, s, length);
	address[length] = '\0';
	if (inet_pton(AF_INET, address, &in) != 1)
		return -EINVAL;
	if (slash) {
		const char *p = slash + 1;

		if (!*p || strlen(p) > 2)
			return -EINVAL;
		for (; *p; p++) {
			if (*p < '0' || *p > '9')
				return -EINVAL;
			prefix = prefix * 10 + (unsigned)(*p - '0');
		}
		if (prefix > 32)
			return -EINVAL;
		*ret_prefix = prefix;
	}
	*ret = ntohl(in.s_addr);
	return 0;
}

const char *network_address_to_text(uint32_t address, char buf[ADDRESS_TEXT_MAX])
{
	snprintf(buf, ADDRESS_TEXT_MAX, "%u.%u.%u.%u", address >> 24, address >> 16 & 0xff,
		 address >> 8 & 0xff, address & 0xff);
	return buf;
}

bool network_overlaps(uint32_t a, unsigned a_prefix, uint32_t b, unsigned b_prefix)
{
	uint32_t mask = mask_of(a_prefix < b_prefix ? a_prefix : b_prefix);

	return (a & mask) == (b & mask);
}

/* Nothing that nftables' language or a path in /proc/sys could take for something else. */
static bool is_interface_name(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n >= INTERFACE_NAME_MAX || *s == '.' || *s == '-')
		return false;
	for (; *s; s++)
		if (!name_char(*s, false))
			return false;
	return true;
}

const char *network_config_fault(const struct network_config *config)
{
	uint32_t mask = mask_of(config->prefix);
	uint64_t last = (uint64_t)config->address + POPCORN_KERNELS_MAX;

	if (!is_interface_name(config->bridge) ||
	    (*config->uplink && !is_interface_name(config->uplink)))
		return "bridge and uplink are names of interfaces: 1 to 15 of A-Z a-z 0-9 _ . -, "
		       "beginning with none of . and -";
	if (network_tap_id(config->bridge) || network_tap_id(config->uplink) ||
	    strcmp(config->bridge, config->uplink) == 0)
		return "bridge and uplink are two interfaces, and neither has the name of a "
		       "kernel's (popcorn1, popcorn2, …)";
	if ((config->address & ~mask) == 0 || last > UINT32_MAX ||
	    (last & mask) != (config->address & mask) || (last & ~mask) == ~mask)
		return "the 511 addresses behind that of the primary belong to kernels and must be "
		       "in its range; give for example \"10.77.0.1/22\"";
	if (config->address >> 28 >= 14 || config->address >> 24 == 127 ||
	    config->address >> 24 == 0)
		return "the address is not one that an interface of a network has";
	if (config->gateway && (config->gateway & mask) != (config->address & mask))
		return "the gateway is not in the range of the address";
	if (config->gateway > config->address && config->gateway <= last)
		return "the gateway has the address of a kernel: the 511 behind that of the "
		       "primary are theirs";
	return NULL;
}

uint32_t network_id_to_address(const struct network_config *config, uint32_t id)
{
	return config->address + id;
}

void network_mac(uint32_t id, uint8_t ret[MAC_SIZE])
{
	const uint8_t mac[MAC_SIZE] = { MAC_PREFIX, (uint8_t)(id >> 16), (uint8_t)(id >> 8),
					(uint8_t)id };

	memcpy(ret, mac, sizeof(mac));
}

#define MAC_TEXT_MAX 18

static const char *mac_to_text(uint32_t id, char buf[MAC_TEXT_MAX])
{
	uint8_t mac[MAC_SIZE];

	network_mac(id, mac);
	snprintf(buf, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
	return buf;
}

#define MAC_TEXT(id) mac_to_text((id), (char[MAC_TEXT_MAX]){ 0 })

const char *network_tap_name(uint32_t id, char buf[INTERFACE_NAME_MAX])
{
	snprintf(buf, INTERFACE_NAME_MAX, TAP_PREFIX "%u", id & 0xffffff);
	return buf;
}

uint32_t network_tap_id(const char *name)
{
	const char *p = name + strlen(TAP_PREFIX);
	uint32_t id = 0;

	if (strncmp(name, TAP_PREFIX, strlen(TAP_PREFIX)) != 0 || *p < '1' || *p > '9' ||
	    strlen(p) > 7)
		return 0;
	for (; *p; p++) {
		if (*p < '0' || *p > '9')
			return 0;
		id = id * 10 + (uint32_t)(*p - '0');
	}
	return id;
}

/*
 * Who speaks with whom.
 */

static const struct {
	const char *name;
	unsigned bit;
} peer_names[] = {
	{ "primary", NETWORK_PRIMARY },
	{ "kernels", NETWORK_KERNELS },
	{ "outside", NETWORK_OUTSIDE },
};

int network_parse_peers(const char *s, unsigned *ret, struct popcorn_error *error)
{
	const char *p = s;
	unsigned peers = 0;

	if (strcmp(s, "none") == 0 || strcmp(s, "default") == 0) {
		*ret = *s == 'n' ? NETWORK_NONE : NETWORK_DEFAULT;
		return 0;
	}
	for (;;) {
		size_t length = strcspn(p, ","), i;

		for (i = 0; i < ARRAY_SIZE(peer_names); i++)
			if (strlen(peer_names[i].name) == length &&
			    strncmp(peer_names[i].name, p, length) == 0)
				break;
		if (i == ARRAY_SIZE(peer_names) || peers & peer_names[i].bit)
			return popcorn_error_set(
				error, POPCORN_ERROR_INVALID_ARGUMENT,
				"'%.64s' does not say with whom a kernel may speak; give some of "
				"primary,kernels,outside, or none, or default",
				s);
		peers |= peer_names[i].bit;
		p += length;
		if (!*p)
			break;
		p++;
	}
	*ret = peers;
	return 0;
}

const char *network_peers_to_text(unsigned peers, char buf[PEERS_TEXT_MAX])
{
	int n = snprintf(buf, PEERS_TEXT_MAX, "%s",
			 peers & NETWORK_NONE	    ? "none"
			 : peers == NETWORK_DEFAULT ? "default"
						    : "");

	for (size_t i = 0; i < ARRAY_SIZE(peer_names) && !(peers & NETWORK_NONE); i++)
		if (peers & peer_names[i].bit)
			n += snprintf(buf + n, (size_t)(PEERS_TEXT_MAX - n), "%s%s", n ? "," : "",
				      peer_names[i].name);
	return buf;
}

static bool has_outside(const struct network_config *config)
{
	return config->nat || *config->uplink;
}

unsigned network_resolve(const struct network_config *config, unsigned peers)
{
	if (!config->enabled || peers & NETWORK_NONE)
		return 0;
	if (peers != NETWORK_DEFAULT)
		return peers;
	return NETWORK_PRIMARY | NETWORK_KERNELS | (has_outside(config) ? NETWORK_OUTSIDE : 0);
}

int network_check(const struct network_config *config, unsigned peers, struct popcorn_error *error)
{
	if (peers == NETWORK_DEFAULT || peers & NETWORK_NONE)
		return 0;
	if (!config->enabled)
		return popcorn_error_set(error, POPCORN_ERROR_NETWORK,
					 "a network (%s) was asked for, and popcornd.conf says "
					 "network.enabled = false; change that, or ask for none",
					 PEERS_TEXT(peers));
	if (peers & NETWORK_OUTSIDE && !has_outside(config))
		return popcorn_error_set(
			error, POPCORN_ERROR_NETWORK,
			"a kernel that may speak with the outside was asked for, and there is no "
			"way to it: set network.nat or network.uplink in popcornd.conf, or leave "
			"outside out");
	return 0;
}

/*
 * Texts.
 */

/* What open_memstream() gives, whole or not at all. */
static int finish(FILE *f, char **text, char **ret)
{
	bool failed = ferror(f);

	if (fclose(f) != 0 || failed) {
		free(*text);
		return -ENOMEM;
	}
	*ret = *text;
	return 0;
}

/* nftables does not take an empty list of elements. */
struct elements {
	FILE *f;
	unsigned n;
};

static void begin_set(struct elements *set, const char *name, const char *type)
{
	set->n = 0;
	fprintf(set->f, "\tset %s {\n\t\ttype %s\n", name, type);
}

static void next_element(struct elements *set)
{
	fputs(set->n++ ? ", " : "\t\telements = { ", set->f);
}

static void end_set(struct elements *set)
{
	fputs(set->n ? " }\n\t}\n" : "\t}\n", set->f);
}

/* The interfaces (or else the addresses) of those that may speak with one of @peers; 0: all. */
static void put_set(FILE *f, const struct network_config *config, const char *name, bool interfaces,
		    const struct network_port *ports, size_t n, unsigned peers)
{
	struct elements set = { f, 0 };

	begin_set(&set, name, interfaces ? "ifname" : "ipv4_addr");
	for (size_t i = 0; i < n; i++) {
		if (peers && !(ports[i].peers & peers))
			continue;
		next_element(&set);
		if (interfaces)
			fprintf(f, "\"%s\"", TAP_NAME(ports[i].id));
		else
			fputs(ADDRESS_TEXT(network_id_to_address(config, ports[i].id)), f);
	}
	end_set(&set);
}

static void put_bridge_rules(FILE *f, const struct network_config *config,
			     const struct network_port *ports, size_t n)
{
	struct elements set = { f, 0 };

	fputs("table bridge " NETWORK_TABLE " {\n", f);
	put_set(f, config, "taps", true, ports, n, 0);
	put_set(f, config, "primary", true, ports, n, NETWORK_PRIMARY);
	put_set(f, config, "kernels", true, ports, n, NETWORK_KERNELS);
	put_set(f, config, "outside", true, ports, n, NETWORK_OUTSIDE);
	begin_set(&set, "senders", "ifname . ether_addr . ipv4_addr");
	for (size_t i = 0; i < n; i++) {
		next_element(&set);
		fprintf(f, "\"%s\" . %s . %s", TAP_NAME(ports[i].id), MAC_TEXT(ports[i].id),
			ADDRESS_TEXT(network_id_to_address(config, ports[i].id)));
	}
	end_set(&set);

	/* Before anything of others that may look at a frame. */
	fputs("\tchain arrives {\n"
	      "\t\ttype filter hook prerouting priority -300; policy accept;\n"
	      "\t\tiifname != @taps accept\n"
	      "\t\tether type ip iifname . ether saddr . ip saddr @senders accept\n"
	      "\t\tether type arp iifname . ether saddr . arp saddr ip @senders"
	      " iifname . arp saddr ether . arp saddr ip @senders accept\n"
	      "\t\tdrop\n"
	      "\t}\n"
	      "\tchain passes {\n"
	      "\t\ttype filter hook forward priority 0; policy accept;\n"
	      "\t\tiifname @kernels oifname @kernels accept\n",
	      f);
	if (*config->uplink)
		fprintf(f,
			"\t\tiifname @outside oifname \"%s\" accept\n"
			"\t\tiifname \"%s\" oifname @outside ether type { ip, arp } accept\n",
			config->uplink, config->uplink);
	fputs("\t\tiifname @taps drop\n"
	      "\t\toifname @taps drop\n"
	      "\t}\n"
	      "\tchain enters {\n"
	      "\t\ttype filter hook input priority 0; policy accept;\n"
	      "\t\tiifname != @taps accept\n"
	      "\t\tiifname @primary accept\n",
	      f);
	/* What it may send there is for the other table to say, which sees what is routed. */
	if (config->nat)
		fputs("\t\tiifname @outside accept\n", f);
	fputs("\t\tdrop\n"
	      "\t}\n"
	      "\tchain leaves {\n"
	      "\t\ttype filter hook output priority 0; policy accept;\n"
	      "\t\toifname != @taps accept\n"
	      "\t\tether type != { ip, arp } drop\n"
	      "\t\toifname @primary accept\n",
	      f);
	if (config->nat)
		fputs("\t\toifname @outside ether type arp accept\n"
		      "\t\toifname @outside ether daddr & 01:00:00:00:00:00 == "
		      "00:00:00:00:00:00 accept\n",
		      f);
	fputs("\t\tdrop\n"
	      "\t}\n"
	      "}\n",
	      f);
}

static void put_routed_rules(FILE *f, const struct network_config *config,
			     const struct network_port *ports, size_t n)
{
	const char *bridge = config->bridge;

	fputs("table inet " NETWORK_TABLE " {\n", f);
	put_set(f, config, "known", false, ports, n, 0);
	put_set(f, config, "primary", false, ports, n, NETWORK_PRIMARY);
	put_set(f, config, "kernels", false, ports, n, NETWORK_KERNELS);
	put_set(f, config, "outside", false, ports, n, NETWORK_OUTSIDE);
	fprintf(f,
		"\tchain enters {\n"
		"\t\ttype filter hook input priority 0; policy accept;\n"
		"\t\tiifname \"%s\" ip saddr @known ip saddr != @primary drop\n"
		"\t}\n"
		"\tchain leaves {\n"
		"\t\ttype filter hook output priority 0; policy accept;\n"
		"\t\toifname != \"%s\" accept\n"
		"\t\tip daddr @primary accept\n",
		bridge, bridge);
	/* The primary as a router has something to say: that a packet was too big, say. */
	if (config->nat)
		fputs("\t\tip daddr @outside icmp type { destination-unreachable, time-exceeded, "
		      "parameter-problem } accept\n",
		      f);
	/*
	 * From the bridge to the bridge goes what was sent to the primary to get around the rules of
	 * the bridge, and with br_netfilter what is bridged.
	 */
	fprintf(f,
		"\t\tip daddr @known drop\n"
		"\t}\n"
		"\tchain passes {\n"
		"\t\ttype filter hook forward priority 0; policy accept;\n"
		"\t\tiifname \"%s\" oifname \"%s\" ip saddr @kernels ip daddr @kernels accept\n"
		"\t\tiifname \"%s\" oifname \"%s\" ip saddr @known ip daddr @known drop\n",
		bridge, bridge, bridge, bridge);
	if (*config->uplink)
		fprintf(f,
			"\t\tiifname \"%s\" oifname \"%s\" ip saddr @outside accept\n"
			"\t\tiifname \"%s\" oifname \"%s\" ip daddr @outside accept\n",
			bridge, bridge, bridge, bridge);
	if (config->nat)
		fprintf(f,
			"\t\tiifname \"%s\" ip saddr @outside accept\n"
			"\t\toifname \"%s\" ip daddr @outside ct state established,related "
			"accept\n",
			bridge, bridge);
	fprintf(f,
		"\t\tiifname \"%s\" ip saddr @known drop\n"
		"\t\toifname \"%s\" ip daddr @known drop\n"
		"\t}\n",
		bridge, bridge);
	if (config->nat)
		fprintf(f,
			"\tchain translates {\n"
			"\t\ttype nat hook postrouting priority 100; policy accept;\n"
			"\t\tip saddr @outside oifname != \"%s\" masquerade\n"
			"\t}\n",
			bridge);
	fputs("}\n", f);
}

int network_rules(const struct network_config *config, const struct network_port *ports, size_t n,
		  char **ret)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return -ENOMEM;
	/* To delete one that is not there would fail: so each is made first. */
	fputs("table bridge " NETWORK_TABLE "\n"
	      "delete table bridge " NETWORK_TABLE "\n"
	      "table inet " NETWORK_TABLE "\n"
	      "delete table inet " NETWORK_TABLE "\n",
	      f);
	if (n) {
		put_bridge_rules(f, config, ports, n);
		put_routed_rules(f, config, ports, n);
	}
	return finish(f, &text, ret);
}

int network_hosts(const struct network_config *config, const struct network_port *ports, size_t n,
		  char **ret)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return -ENOMEM;
	fprintf(f, "%s primary\n", ADDRESS_TEXT(config->address));
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s %s\n", ADDRESS_TEXT(network_id_to_address(config, ports[i].id)),
			ports[i].name);
	return finish(f, &text, ret);
}

int network_agent_lines(const struct network_config *config, const struct network_port *ports,
			size_t n, uint32_t id, unsigned peers, char **ret)
{
	unsigned resolved = network_resolve(config, peers);
	size_t hosts = 0;
	uint32_t gateway = 0;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return -ENOMEM;
	if (resolved & NETWORK_OUTSIDE)
		gateway = config->gateway ?: config->nat ? config->address : 0;
	if (resolved) {
		fprintf(f, "network %s %s/%u %s %u\n", MAC_TEXT(id),
			ADDRESS_TEXT(network_id_to_address(config, id)), config->prefix,
			gateway ? ADDRESS_TEXT(gateway) : "-", config->mtu);
		fprintf(f, "host %s primary\n", ADDRESS_TEXT(config->address));
		hosts++;
	}
	/* More than the agent takes would end the boot: the names are left out. */
	for (size_t i = 0; resolved & NETWORK_KERNELS && i < n && hosts < AGENT_HOSTS_MAX; i++)
		if (ports[i].id != id && ports[i].peers & NETWORK_KERNELS) {
			fprintf(f, "host %s %s\n",
				ADDRESS_TEXT(network_id_to_address(config, ports[i].id)),
				ports[i].name);
			hosts++;
		}
	return finish(f, &text, ret);
}
