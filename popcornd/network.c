// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is made is in <run>/network before it is made, one KEY=value per line, with the
 * configuration that it is made by: so a later popcornd, also one with another configuration, finds and
 * removes it. The file is not there when nothing is.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "network.h"
#include "util.h"

#define STATE_MAX 4096
#define WHY_MAX 128

/* What we have made, and therefore remove. In the order in which it is made. */
enum {
	MADE_BRIDGE = 1,
	MADE_ADDRESS = 2, /* on a bridge that was there */
	MADE_UPLINK = 4,  /* a port of the bridge */
	MADE_RULES = 8,
	MADE_FORWARD = 16, /* ip_forward was 0 */
};

static const struct {
	const char *name;
	unsigned bit;
} made_names[] = {
	{ "bridge", MADE_BRIDGE }, { "address", MADE_ADDRESS }, { "uplink", MADE_UPLINK },
	{ "rules", MADE_RULES },   { "forward", MADE_FORWARD },
};

struct network {
	const struct network_ops *ops;
	void *system, *own_system;
	char *state_path, *hosts_path;

	pthread_mutex_t lock; /* for all that follows */
	/* By @active is made what there is; @wanted comes when that is nothing. */
	struct network_config active, wanted;
	unsigned made;
	struct network_port *ports;
	size_t n_ports;
};

static int failed(struct popcorn_error *error, int r, const char *what, const char *name)
{
	return popcorn_error_set(error, POPCORN_ERROR_NETWORK, "%s%s: %s", what, name,
				 strerror(-r));
}

/*
 * The file.
 */

static int save_state(struct network *network)
{
	const struct network_config *config = &network->active;
	char text[STATE_MAX];
	int n;

	if (!network->made)
		return unlink(network->state_path) < 0 && errno != ENOENT ? -errno : 0;
	n = snprintf(text, sizeof(text),
		     "BRIDGE=%s\nADDRESS=%s/%u\nGATEWAY=%s\nNAT=%d\nUPLINK=%s\nMTU=%u\n",
		     config->bridge, ADDRESS_TEXT(config->address), config->prefix,
		     ADDRESS_TEXT(config->gateway), config->nat, config->uplink, config->mtu);
	for (size_t i = 0; i < ARRAY_SIZE(made_names); i++)
		if (network->made & made_names[i].bit)
			n += snprintf(text + n, sizeof(text) - (size_t)n, "MADE=%s\n",
				      made_names[i].name);
	return replace_file(network->state_path, 0600, text, (size_t)n);
}

static int load_line(struct network_config *config, unsigned *made, const char *key,
		     const char *value)
{
	char **text = strcmp(key, "BRIDGE") == 0   ? &config->bridge
		      : strcmp(key, "UPLINK") == 0 ? &config->uplink
						   : NULL;

	if (text) {
		free(*text);
		*text = strdup(value);
		return *text ? 0 : -ENOMEM;
	}
	if (strcmp(key, "ADDRESS") == 0)
		return network_parse_address(value, &config->address, &config->prefix);
	if (strcmp(key, "GATEWAY") == 0)
		return network_parse_address(value, &config->gateway, NULL);
	if (strcmp(key, "NAT") == 0)
		config->nat = strcmp(value, "1") == 0;
	else if (strcmp(key, "MTU") == 0)
		config->mtu = (unsigned)strtoul(value, NULL, 10);
	else if (strcmp(key, "MADE") == 0)
		for (size_t i = 0; i < ARRAY_SIZE(made_names); i++)
			if (strcmp(value, made_names[i].name) == 0)
				*made |= made_names[i].bit;
	return 0;
}

/* -ENOENT: nothing is made. */
static int load_state(struct network *network)
{
	struct network_config config;
	_cleanup_free_ void *text = NULL;
	unsigned made = 0;
	char *save = NULL;
	size_t size;
	int r;

	r = read_file(network->state_path, STATE_MAX, &text, &size);
	if (r < 0)
		return r;
	r = network_config_init(&config);
	for (char *line = strtok_r(text, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, '=');

		if (!value) {
			r = -EBADMSG;
			break;
		}
		*value++ = '\0';
		r = load_line(&config, &made, line, value);
	}
	if (r == 0 && network_config_fault(&config))
		r = -EBADMSG;
	if (r < 0) {
		network_config_done(&config);
		return r;
	}
	network_config_done(&network->active);
	network->active = config;
	network->made = made;
	return 0;
}

static int save_hosts(struct network *network)
{
	_cleanup_free_ char *text = NULL;
	int r;

	if (!network->n_ports)
		return unlink(network->hosts_path) < 0 && errno != ENOENT ? -errno : 0;
	r = network_hosts(&network->active, network->ports, network->n_ports, &text);
	return r < 0 ? r : replace_file(network->hosts_path, 0644, text, strlen(text));
}

/*
 * What all kernels share.
 */

/* Recorded first: what is recorded and was not made is found not to be there. */
static int will_make(struct network *network, unsigned bit, struct popcorn_error *error)
{
	int r;

	if (network->made & bit)
		return 0;
	network->made |= bit;
	r = save_state(network);
	if (r == 0)
		return 0;
	network->made &= ~bit;
	return failed(error, r, "can't write ", network->state_path);
}

static int unmake(struct network *network, unsigned bit)
{
	const struct network_config *config = &network->active;
	const struct network_ops *ops = network->ops;
	_cleanup_free_ char *text = NULL;
	char why[WHY_MAX];
	int r = 0;

	switch (bit) {
	case MADE_FORWARD:
		r = ops->set_forward(network->system, false);
		break;
	case MADE_RULES:
		r = network_rules(config, NULL, 0, &text);
		if (r == 0)
			r = ops->set_rules(network->system, text, why);
		break;
	case MADE_UPLINK:
		r = ops->set_master(network->system, config->uplink, NULL);
		break;
	case MADE_ADDRESS:
		r = ops->delete_address(network->system, config->bridge, config->address,
					config->prefix);
		break;
	case MADE_BRIDGE:
		r = ops->delete_link(network->system, config->bridge);
		break;
	}
	return r == -ENODEV || r == -ENOENT || r == -EADDRNOTAVAIL ? 0 : r;
}

/* In reverse; goes on after a failure, and what failed stays in the file. The first errno. */
static int take_down(struct network *network, unsigned bits)
{
	int first = 0, r;

	for (size_t i = ARRAY_SIZE(made_names); i-- > 0;) {
		unsigned bit = made_names[i].bit;

		if (!(network->made & bits & bit))
			continue;
		r = unmake(network, bit);
		if (r == 0)
			network->made &= ~bit;
		else if (first == 0)
			first = r;
	}
	r = save_state(network);
	return first ?: r;
}

static int check_routes(struct network *network, struct popcorn_error *error)
{
	const struct network_config *config = &network->active;
	const char *const except[2] = { config->bridge, config->uplink };
	char route[64];
	int r;

	r = network->ops->find_route(network->system, config->address, config->prefix, except,
				     route);
	if (r < 0)
		return failed(error, r, "the routes can't be read", "");
	if (r == 0)
		return 0;
	return popcorn_error_set(error, POPCORN_ERROR_NETWORK,
				 "the range of the kernels' addresses, %s/%u, overlaps the route "
				 "%s of this machine; choose another one as network.address in "
				 "popcornd.conf, or boot without a network (none)",
				 ADDRESS_TEXT(config->address), config->prefix, route);
}

static int make_bridge(struct network *network, struct popcorn_error *error)
{
	const struct network_config *config = &network->active;
	const struct network_ops *ops = network->ops;
	struct network_link link;
	uint8_t mac[MAC_SIZE];
	int r;

	r = ops->find_link(network->system, config->bridge, &link);
	if (r == -ENODEV) {
		r = check_routes(network, error);
		if (r == 0)
			r = will_make(network, MADE_BRIDGE, error);
		if (r < 0)
			return r;
		network_mac(0, mac);
		r = ops->add_bridge(network->system, config->bridge, mac, config->mtu);
	} else if (r == 0 && strcmp(link.kind, "bridge") != 0) {
		return popcorn_error_set(error, POPCORN_ERROR_NETWORK,
					 "the interface %s is not a bridge; name another one as "
					 "network.bridge in popcornd.conf",
					 config->bridge);
	}
	if (r < 0)
		return failed(error, r, "can't make the bridge ", config->bridge);
	r = ops->find_address(network->system, config->bridge, config->address);
	if (r == 0) {
		r = check_routes(network, error);
		if (r == 0)
			r = will_make(network, MADE_ADDRESS, error);
		if (r < 0)
			return r;
		r = ops->add_address(network->system, config->bridge, config->address,
				     config->prefix);
	}
	if (r < 0)
		return failed(error, r, "can't give its address to the bridge ", config->bridge);
	r = ops->set_up(network->system, config->bridge);
	return r < 0 ? failed(error, r, "can't set up the bridge ", config->bridge) : 0;
}

static int make_uplink(struct network *network, struct popcorn_error *error)
{
	const struct network_config *config = &network->active;
	const struct network_ops *ops = network->ops;
	struct network_link link;
	int r;

	r = ops->find_link(network->system, config->uplink, &link);
	if (r < 0)
		return failed(error, r, "can't find network.uplink, ", config->uplink);
	if (strcmp(link.master, config->bridge) != 0) {
		/* A port of a bridge can't be reached by an address of its own. */
		r = ops->find_address(network->system, config->uplink, 0);
		if (r > 0 || *link.master)
			return popcorn_error_set(
				error, POPCORN_ERROR_NETWORK,
				"network.uplink, %s, %s; give an interface that is used for "
				"nothing else, or use network.nat",
				config->uplink,
				r > 0 ? "has an address of the primary"
				      : "is part of another interface");
		if (r == 0)
			r = will_make(network, MADE_UPLINK, error);
		if (r == 0)
			r = ops->set_master(network->system, config->uplink, config->bridge);
	}
	if (r == 0)
		r = ops->set_up(network->system, config->uplink);
	if (r == 0 || (error && error->id != POPCORN_ERROR_NONE))
		return r;
	return failed(error, r, "can't make a port of the bridge of ", config->uplink);
}

static bool needs_forward(const struct network *network)
{
	for (size_t i = 0; i < network->n_ports && network->active.nat; i++)
		if (network->ports[i].peers & NETWORK_OUTSIDE)
			return true;
	return false;
}

/* Its rules before a tap is there, so that nothing is ever open that should not be. */
static int make_rules(struct network *network, struct popcorn_error *error)
{
	_cleanup_free_ char *text = NULL;
	char why[WHY_MAX] = "";
	int r;

	r = will_make(network, MADE_RULES, error);
	if (r < 0)
		return r;
	if (network_rules(&network->active, network->ports, network->n_ports, &text) < 0)
		return no_memory(error);
	r = network->ops->set_rules(network->system, text, why);
	if (r < 0)
		return popcorn_error_set(error, POPCORN_ERROR_NETWORK,
					 "nftables does not take the rules that keep kernels "
					 "apart, so there is no network: %s%s%s",
					 strerror(-r), *why ? ": " : "", why);
	return 0;
}

static int make_forward(struct network *network, struct popcorn_error *error)
{
	int r = network->ops->get_forward(network->system);

	if (r == 0) {
		r = will_make(network, MADE_FORWARD, error);
		if (r < 0)
			return r;
		r = network->ops->set_forward(network->system, true);
	}
	return r < 0 ? failed(error, r, "can't set net.ipv4.ip_forward", "") : 0;
}

/* Whatever of it is not there. On failure what was not made before is unmade. */
static int bring_up(struct network *network, struct popcorn_error *error)
{
	struct popcorn_error cause = { 0 };
	unsigned before = network->made;
	int r;

	r = make_bridge(network, &cause);
	if (r == 0 && *network->active.uplink)
		r = make_uplink(network, &cause);
	if (r == 0)
		r = make_rules(network, &cause);
	if (r == 0 && needs_forward(network))
		r = make_forward(network, &cause);
	if (r == 0)
		return 0;
	take_down(network, ~before);
	if (error)
		*error = cause;
	return r;
}

/*
 * Kernels.
 */

static struct network_port *find_port(struct network *network, const char *kernel)
{
	for (size_t i = 0; i < network->n_ports; i++)
		if (strcmp(network->ports[i].name, kernel) == 0)
			return &network->ports[i];
	return NULL;
}

static int add_port(struct network *network, const char *kernel, uint32_t id, unsigned peers)
{
	struct network_port *ports =
		realloc(network->ports, (network->n_ports + 1) * sizeof(*ports));

	if (!ports)
		return -ENOMEM;
	network->ports = ports;
	ports += network->n_ports++;
	*ports = (struct network_port){ .id = id, .peers = peers, .fd = -1 };
	snprintf(ports->name, sizeof(ports->name), "%s", kernel);
	return 0;
}

static void drop_port(struct network *network, struct network_port *port)
{
	size_t i = (size_t)(port - network->ports);

	closep(&port->fd);
	network->n_ports--;
	memmove(port, port + 1, (network->n_ports - i) * sizeof(*port));
}

/* Also when somebody else has the descriptor still. */
static int delete_tap(struct network *network, uint32_t id)
{
	struct network_link link;
	int r;

	r = network->ops->find_link(network->system, TAP_NAME(id), &link);
	if (r == 0 && strcmp(link.kind, "tun") == 0)
		r = network->ops->delete_link(network->system, TAP_NAME(id));
	return r == -ENODEV ? 0 : r;
}

/* The kernel has no network any more: what nobody else needs goes, too. */
static int end_port(struct network *network, struct network_port *port, struct popcorn_error *error)
{
	struct popcorn_error rules = { 0 };
	uint32_t id = port->id;
	int first, r;

	drop_port(network, port);
	first = delete_tap(network, id);
	if (first < 0)
		failed(error, first, "can't remove ", TAP_NAME(id));
	if (network->n_ports == 0)
		r = take_down(network, ~0U);
	else if (!needs_forward(network) && network->made & MADE_FORWARD)
		r = take_down(network, MADE_FORWARD);
	else
		r = 0;
	if (r < 0 && first == 0)
		first = failed(error, r, "can't remove all of the bridge ", network->active.bridge);
	if (network->n_ports && make_rules(network, &rules) < 0 && first == 0) {
		if (error)
			*error = rules;
		first = -popcorn_error_errno(rules.id);
	}
	r = save_hosts(network);
	if (r < 0 && first == 0)
		first = failed(error, r, "can't write ", network->hosts_path);
	return first;
}

/* When nothing is there by the old one. */
static int use_wanted(struct network *network)
{
	struct network_config copy;

	if (network->n_ports || network->made)
		return 0;
	if (network_config_copy(&network->wanted, &copy) < 0)
		return -ENOMEM;
	network_config_done(&network->active);
	network->active = copy;
	return 0;
}

static int open_port(struct network *network, const char *kernel, uint32_t id, int *ret_fd,
		     struct popcorn_error *error)
{
	const struct network_ops *ops = network->ops;
	const char *tap = TAP_NAME(id);
	_cleanup_close_ int fd = -1, copy = -1;
	int r;

	r = ops->open_tap(network->system, tap, kernel, network->active.mtu, &fd);
	if (r < 0)
		return failed(error, r, "can't make the interface ", tap);
	r = ops->set_master(network->system, tap, network->active.bridge);
	if (r == 0)
		r = ops->set_up(network->system, tap);
	if (r < 0)
		return failed(error, r, "can't connect to the bridge the interface ", tap);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return failed(error, -errno, "can't pass on the interface ", tap);
	r = save_hosts(network);
	if (r < 0)
		return failed(error, r, "can't write ", network->hosts_path);
	*ret_fd = steal_fd(&copy);
	/* Its place may have moved. */
	find_port(network, kernel)->fd = steal_fd(&fd);
	return 0;
}

int network_attach(struct network *network, const char *kernel, uint32_t id, unsigned peers,
		   int *ret_fd, struct popcorn_error *error)
{
	struct network_port *port;
	unsigned resolved;
	bool is_new;
	int fd, r;

	LOCK(network);
	/* Of a kernel that has ended unnoticed: a tap is nobody's if its kernel is not there. */
	for (size_t i = network->n_ports; i-- > 0;) {
		port = &network->ports[i];
		if ((port->id == id) != (strcmp(port->name, kernel) == 0)) {
			r = end_port(network, port, error);
			if (r < 0)
				return r;
		}
	}
	port = find_port(network, kernel);
	if (port && port->fd >= 0) {
		struct network_link link;

		r = network->ops->find_link(network->system, TAP_NAME(id), &link);
		if (r < 0 && r != -ENODEV)
			return failed(error, r, "can't look for the interface ", TAP_NAME(id));
		/* Somebody may have removed it: what is open then is of no use any more. */
		if (r < 0)
			close(steal_fd(&port->fd));
	}
	if (port && port->fd >= 0) {
		fd = fcntl(port->fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return failed(error, -errno, "can't pass on the interface ", TAP_NAME(id));
		*ret_fd = fd;
		return 0;
	}
	if (use_wanted(network) < 0)
		return no_memory(error);
	r = network_check(&network->active, peers, error);
	if (r < 0)
		return r;
	resolved = network_resolve(&network->active, peers);
	if (!resolved)
		return popcorn_error_set(error, POPCORN_ERROR_NETWORK,
					 "kernel %s was booted without a network", kernel);
	is_new = !port;
	if (is_new && add_port(network, kernel, id, resolved) < 0)
		return no_memory(error);
	r = bring_up(network, error);
	if (r == 0)
		r = open_port(network, kernel, id, ret_fd, error);
	if (r < 0 && is_new)
		/* Why it failed is known; that it can't be undone, the file remembers. */
		end_port(network, find_port(network, kernel), NULL);
	return r;
}

int network_detach(struct network *network, const char *kernel, struct popcorn_error *error)
{
	struct network_port *port;

	LOCK(network);
	port = find_port(network, kernel);
	return port ? end_port(network, port, error) : 0;
}

int network_adopt(struct network *network, const char *kernel, uint32_t id, unsigned peers)
{
	unsigned resolved;

	LOCK(network);
	resolved = network_resolve(&network->active, peers);
	return !resolved || find_port(network, kernel) ? 0
						       : add_port(network, kernel, id, resolved);
}

static int forget_stray(void *userdata, const char *name, const char *kind)
{
	struct network *network = userdata;
	uint32_t id = network_tap_id(name);

	if (!id || strcmp(kind, "tun") != 0)
		return 0;
	for (size_t i = 0; i < network->n_ports; i++)
		if (network->ports[i].id == id)
			return 0;
	return delete_tap(network, id);
}

int network_settle(struct network *network, struct popcorn_error *error)
{
	struct network_link link;
	int r;

	LOCK(network);
	/* A kernel without a tap has no leader, and gets one with its next. */
	for (size_t i = network->n_ports; i-- > 0;) {
		r = network->ops->find_link(network->system, TAP_NAME(network->ports[i].id), &link);
		if (r == -ENODEV)
			drop_port(network, &network->ports[i]);
		else if (r < 0)
			return failed(error, r, "can't look for the interface ",
				      TAP_NAME(network->ports[i].id));
	}
	if (network->made) {
		r = network->ops->list_ports(network->system, network->active.bridge, forget_stray,
					     network);
		if (r < 0 && r != -ENODEV)
			return failed(error, r, "can't look at the ports of ",
				      network->active.bridge);
	}
	r = save_hosts(network);
	if (r < 0)
		return failed(error, r, "can't write ", network->hosts_path);
	if (!network->n_ports) {
		r = take_down(network, ~0U);
		return r < 0 ? failed(error, r, "can't remove all of the bridge ",
				      network->active.bridge)
			     : 0;
	}
	r = bring_up(network, error);
	for (size_t i = 0; i < network->n_ports && r == 0; i++) {
		const char *tap = TAP_NAME(network->ports[i].id);

		r = network->ops->set_master(network->system, tap, network->active.bridge);
		if (r < 0)
			return failed(error, r, "can't connect to the bridge the interface ", tap);
	}
	return r;
}

int network_restore_rules(struct network *network, struct popcorn_error *error)
{
	char why[WHY_MAX];
	int r;

	LOCK(network);
	if (!network->n_ports)
		return 0;
	if (network->ops->set_rules(network->system, NETWORK_RULES_TEST("bridge"), why) == 0 &&
	    network->ops->set_rules(network->system, NETWORK_RULES_TEST("inet"), why) == 0)
		return 0;
	r = make_rules(network, error);
	return r < 0 ? r : 1;
}

void network_get_address(struct network *network, const char *kernel, char ret[ADDRESS_TEXT_MAX])
{
	const struct network_port *port;

	LOCK(network);
	port = find_port(network, kernel);
	*ret = '\0';
	if (port)
		network_address_to_text(network_id_to_address(&network->active, port->id), ret);
}

int network_get_agent_lines(struct network *network, uint32_t id, unsigned peers, unsigned *ret_mtu,
			    char **ret)
{
	LOCK(network);
	if (use_wanted(network) < 0)
		return -ENOMEM;
	*ret_mtu = network->active.mtu;
	return network_agent_lines(&network->active, network->ports, network->n_ports, id, peers,
				   ret);
}

int network_reload(struct network *network, const struct network_config *config)
{
	struct network_config copy;

	if (network_config_copy(config, &copy) < 0)
		return -ENOMEM;
	LOCK(network);
	network_config_done(&network->wanted);
	network->wanted = copy;
	return use_wanted(network);
}

static void network_freep(struct network **network)
{
	network_free(*network);
}

int network_new(const struct network_config *config, const char *run, const struct network_ops *ops,
		void *system, struct network **ret, struct popcorn_error *error)
{
	_cleanup_(network_freep) struct network *network = calloc(1, sizeof(*network));
	int r;

	if (!network)
		return no_memory(error);
	pthread_mutex_init(&network->lock, NULL);
	network->ops = ops ?: &network_link_ops;
	network->system = system;
	if (asprintf(&network->state_path, "%s/network", run) < 0)
		network->state_path = NULL;
	if (asprintf(&network->hosts_path, "%s/hosts", run) < 0)
		network->hosts_path = NULL;
	if (!network->state_path || !network->hosts_path ||
	    network_config_copy(config, &network->wanted) < 0 ||
	    network_config_copy(config, &network->active) < 0 ||
	    (!ops && network_system_new(&network->own_system) < 0))
		return no_memory(error);
	if (!ops)
		network->system = network->own_system;
	r = load_state(network);
	if (r < 0 && r != -ENOENT)
		return failed(error, r, "can't read ", network->state_path);
	*ret = steal_ptr(network);
	return 0;
}

struct network *network_free(struct network *network)
{
	if (!network)
		return NULL;
	while (network->n_ports)
		drop_port(network, &network->ports[network->n_ports - 1]);
	free(network->ports);
	network_system_free(network->own_system);
	network_config_done(&network->active);
	network_config_done(&network->wanted);
	free(network->state_path);
	free(network->hosts_path);
	pthread_mutex_destroy(&network->lock);
	free(network);
	return NULL;
}
