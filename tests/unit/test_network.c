// SPDX-License-Identifier: GPL-2.0-or-later
/* The network between kernels, on a system that is not there: each of its calls fails in turn. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent-config.h"
#include "network.h"
#include "run.h"
#include "util.h"

#define LINKS 16

struct link {
	char name[INTERFACE_NAME_MAX], kind[16], master[INTERFACE_NAME_MAX];
	bool up;
	uint32_t address;
	int fd; /* of a tap: it goes with the last descriptor */
};

struct fake {
	struct link links[LINKS];
	char rules[16384];
	char route[64]; /* one that overlaps, or "" */
	bool forward;
	unsigned calls, fail_at; /* the fail_at-th call fails; 0: none */
	bool out_of_order;	 /* a tap was a port before its rules were there */
};

static char run[] = "/tmp/popcorn-network-XXXXXX", path[64];
static struct network_config config;
static struct popcorn_error error;
static struct fake fake;
static struct network *network;

/* How all was when a call failed: what a popcornd leaves that dies there. */
static struct fake moment;
static char moment_file[4096];

static bool fails(void)
{
	FILE *f;

	if (++fake.calls != fake.fail_at)
		return false;
	moment = fake;
	memset(moment_file, 0, sizeof(moment_file));
	f = fopen(path, "re");
	if (f) {
		ck_assert_uint_gt(fread(moment_file, 1, sizeof(moment_file) - 1, f), 0);
		fclose(f);
	}
	return true;
}

/* Who has closed its descriptors has no tap. */
static void collect(void)
{
	for (size_t i = 0; i < LINKS; i++) {
		struct link *link = &fake.links[i];
		char byte;

		if (*link->name && link->fd >= 0 && read(link->fd, &byte, 1) == 0) {
			close(link->fd);
			*link = (struct link){ .fd = -1 };
		}
	}
}

static struct link *find(const char *name)
{
	collect();
	for (size_t i = 0; i < LINKS; i++)
		if (strcmp(fake.links[i].name, name) == 0)
			return &fake.links[i];
	return NULL;
}

static struct link *add(const char *name, const char *kind)
{
	struct link *link = find("");

	ck_assert_ptr_nonnull(link);
	*link = (struct link){ .fd = -1 };
	snprintf(link->name, sizeof(link->name), "%s", name);
	snprintf(link->kind, sizeof(link->kind), "%s", kind);
	return link;
}

static int fake_find_link(void *system, const char *name, struct network_link *ret)
{
	const struct link *link = find(name);

	if (fails())
		return -EIO;
	if (!link)
		return -ENODEV;
	strcpy(ret->kind, link->kind);
	strcpy(ret->master, link->master);
	return 0;
}

static int fake_add_bridge(void *system, const char *name, const uint8_t mac[MAC_SIZE],
			   unsigned mtu)
{
	if (fails())
		return -EIO;
	ck_assert_ptr_null(find(name));
	ck_assert_int_eq(access(path, F_OK), 0); /* it is in the file before */
	add(name, "bridge");
	return 0;
}

static int fake_delete_link(void *system, const char *name)
{
	struct link *link = find(name);

	if (!link)
		return -ENODEV;
	if (link->fd >= 0)
		close(link->fd);
	*link = (struct link){ .fd = -1 };
	return 0;
}

static int fake_set_up(void *system, const char *name)
{
	struct link *link = find(name);

	if (fails())
		return -EIO;
	if (link)
		link->up = true;
	return link ? 0 : -ENODEV;
}

static int fake_set_master(void *system, const char *name, const char *master)
{
	struct link *link = find(name);

	if (master && fails())
		return -EIO;
	if (!link || (master && !find(master)))
		return -ENODEV;
	snprintf(link->master, sizeof(link->master), "%s", master ?: "");
	if (network_tap_id(name) && !strstr(fake.rules, name))
		fake.out_of_order = true;
	return 0;
}

static int fake_find_address(void *system, const char *name, uint32_t address)
{
	const struct link *link = find(name);

	if (fails())
		return -EIO;
	if (!link)
		return -ENODEV;
	return address ? link->address == address : link->address != 0;
}

static int fake_add_address(void *system, const char *name, uint32_t address, unsigned prefix)
{
	struct link *link = find(name);

	if (fails())
		return -EIO;
	ck_assert_ptr_nonnull(link);
	link->address = address;
	return 0;
}

static int fake_delete_address(void *system, const char *name, uint32_t address, unsigned prefix)
{
	struct link *link = find(name);

	if (!link)
		return -ENODEV;
	if (link->address != address)
		return -EADDRNOTAVAIL;
	link->address = 0;
	return 0;
}

static int fake_find_route(void *system, uint32_t address, unsigned prefix,
			   const char *const except[2], char ret[64])
{
	if (fails())
		return -EIO;
	strcpy(ret, fake.route);
	return *fake.route != '\0';
}

static int fake_list_ports(void *system, const char *bridge,
			   int (*each)(void *userdata, const char *name, const char *kind),
			   void *userdata)
{
	struct link links[LINKS];
	int r = 0;

	if (fails())
		return -EIO;
	if (!find(bridge))
		return -ENODEV;
	memcpy(links, fake.links, sizeof(links));
	for (size_t i = 0; i < LINKS && r >= 0; i++)
		if (strcmp(links[i].master, bridge) == 0)
			r = each(userdata, links[i].name, links[i].kind);
	return r;
}

static int fake_open_tap(void *system, const char *name, const char *alias, unsigned mtu,
			 int *ret_fd)
{
	int fds[2];

	if (fails())
		return -EIO;
	if (find(name))
		return -EBUSY;
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	add(name, "tun")->fd = fds[0];
	*ret_fd = fds[1];
	return 0;
}

static int fake_set_rules(void *system, const char *text, char ret_why[128])
{
	if (strcmp(text, NETWORK_RULES_TEST("bridge")) == 0 ||
	    strcmp(text, NETWORK_RULES_TEST("inet")) == 0)
		return *fake.rules ? 0 : -EIO;
	/* To take them away works. */
	if (strstr(text, "chain") && fails()) {
		strcpy(ret_why, "no such thing");
		return -EIO;
	}
	snprintf(fake.rules, sizeof(fake.rules), "%s", strstr(text, "chain") ? text : "");
	return 0;
}

static int fake_get_forward(void *system)
{
	return fails() ? -EIO : fake.forward;
}

static int fake_set_forward(void *system, bool on)
{
	if (on && fails())
		return -EIO;
	fake.forward = on;
	return 0;
}

static const struct network_ops ops = {
	.find_link = fake_find_link,
	.add_bridge = fake_add_bridge,
	.delete_link = fake_delete_link,
	.set_up = fake_set_up,
	.set_master = fake_set_master,
	.find_address = fake_find_address,
	.add_address = fake_add_address,
	.delete_address = fake_delete_address,
	.find_route = fake_find_route,
	.list_ports = fake_list_ports,
	.open_tap = fake_open_tap,
	.set_rules = fake_set_rules,
	.get_forward = fake_get_forward,
	.set_forward = fake_set_forward,
};

static void setup(void)
{
	fake = (struct fake){ 0 };
	for (size_t i = 0; i < LINKS; i++)
		fake.links[i].fd = -1;
	error = (struct popcorn_error){ 0 };
	strcpy(run + strlen(run) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(run));
	snprintf(path, sizeof(path), "%s/network", run);
	ck_assert_int_eq(network_config_init(&config), 0);
}

static void teardown(void)
{
	network = network_free(network);
	network_config_done(&config);
	/* Nothing is left there. */
	ck_assert_msg(rmdir(run) == 0, "%s is not empty", run);
}

static void make(void)
{
	ck_assert_msg(network_new(&config, run, &ops, NULL, &network, &error) == 0, "%s",
		      error.text);
}

static int attach(const char *kernel, uint32_t id, unsigned peers)
{
	int fd = -1;

	ck_assert_msg(network_attach(network, kernel, id, peers, &fd, &error) == 0, "%s",
		      error.text);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void refused(const char *kernel, uint32_t id, unsigned peers, const char *what)
{
	int fd = -1;

	error = (struct popcorn_error){ 0 };
	ck_assert_int_lt(network_attach(network, kernel, id, peers, &fd, &error), 0);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NETWORK);
	ck_assert_int_eq(fd, -1);
	ck_assert_msg(strstr(error.text, what) != NULL, "'%s' is not in '%s'", what, error.text);
	error = (struct popcorn_error){ 0 };
}

static void detach(const char *kernel)
{
	ck_assert_msg(network_detach(network, kernel, &error) == 0, "%s", error.text);
}

static char *file(const char *name)
{
	char text[64];
	size_t size;
	void *data;

	snprintf(text, sizeof(text), "%s/%s", run, name);
	ck_assert_int_eq(read_file(text, 4096, &data, &size), 0);
	return data;
}

static void file_is(const char *name, const char *expected)
{
	_cleanup_free_ char *text = file(name);

	ck_assert_str_eq(text, expected);
}

/* All is as if we had never been there, but for @n links. */
static void is_untouched(unsigned n)
{
	unsigned found = 0;

	collect();
	for (size_t i = 0; i < LINKS; i++)
		if (*fake.links[i].name) {
			found++;
			ck_assert_str_eq(fake.links[i].master, "");
		}
	ck_assert_uint_eq(found, n);
	ck_assert_str_eq(fake.rules, "");
	ck_assert(!fake.forward);
	ck_assert(!fake.out_of_order);
	ck_assert_int_ne(access(path, F_OK), 0);
}

START_TEST(test_life)
{
	int a, b, again;

	make();
	a = attach("a", 1, NETWORK_DEFAULT);
	b = attach("b", 2, NETWORK_KERNELS);
	file_is("hosts", "10.77.0.1 primary\n10.77.0.2 a\n10.77.0.3 b\n");
	ck_assert(find("popcorn0")->up && find("popcorn1")->up && find("popcorn2")->up);
	ck_assert_str_eq(find("popcorn2")->master, "popcorn0");
	ck_assert_uint_eq(find("popcorn0")->address, 0x0a4d0001);
	ck_assert(!fake.forward);

	/* Its leader dies, and another one comes: the tap has been there all the time. */
	close(a);
	ck_assert_ptr_nonnull(find("popcorn1"));
	again = attach("a", 1, NETWORK_DEFAULT);
	ck_assert_ptr_nonnull(find("popcorn1"));
	/* Somebody removes it under its leader. */
	close(again);
	ck_assert_int_eq(fake_delete_link(NULL, "popcorn1"), 0);
	again = attach("a", 1, NETWORK_DEFAULT);
	ck_assert_str_eq(find("popcorn1")->master, "popcorn0");
	detach("a");
	ck_assert_ptr_null(find("popcorn1"));
	ck_assert_ptr_null(strstr(fake.rules, "popcorn1"));
	ck_assert_ptr_nonnull(strstr(fake.rules, "popcorn2"));
	file_is("hosts", "10.77.0.1 primary\n10.77.0.3 b\n");
	detach("a");
	detach("b");
	is_untouched(0);
	close(again);
	close(b);
}
END_TEST

START_TEST(test_lost_rules)
{
	_cleanup_free_ char *rules = NULL;
	int fd;

	make();
	ck_assert_int_eq(network_restore_rules(network, &error), 0);
	ck_assert_str_eq(fake.rules, "");
	fd = attach("a", 1, NETWORK_DEFAULT);
	close(fd);
	ck_assert_int_eq(network_restore_rules(network, &error), 0);
	rules = strdup(fake.rules);
	*fake.rules = '\0';
	ck_assert_int_eq(network_restore_rules(network, &error), 1);
	ck_assert_str_eq(fake.rules, rules);
	detach("a");
	is_untouched(0);
}
END_TEST

START_TEST(test_every_failure)
{
	unsigned n;

	config.nat = true;
	free(config.uplink);
	config.uplink = strdup("eth1");
	add("eth1", "");
	make();
	for (n = 1;; n++) {
		int fd = -1, r;

		fake.calls = 0;
		fake.fail_at = n;
		error = (struct popcorn_error){ 0 };
		r = network_attach(network, "a", 1, NETWORK_DEFAULT, &fd, &error);
		fake.fail_at = 0;
		if (r == 0) {
			ck_assert_uint_lt(fake.calls, n);
			close(fd);
			break;
		}
		ck_assert_int_eq(error.id, POPCORN_ERROR_NETWORK);
		ck_assert(*error.text);
		is_untouched(1);
	}
	ck_assert_uint_gt(n, 12);
	ck_assert(fake.forward);
	ck_assert_str_eq(find("eth1")->master, "popcorn0");

	/* A second one that fails leaves the first as it was. */
	_cleanup_free_ char *rules = strdup(fake.rules);

	for (n = 1;; n++) {
		int fd = -1, r;

		fake.calls = 0;
		fake.fail_at = n;
		r = network_attach(network, "b", 2, NETWORK_KERNELS, &fd, &error);
		fake.fail_at = 0;
		if (r == 0) {
			close(fd);
			break;
		}
		ck_assert_str_eq(fake.rules, rules);
		ck_assert_ptr_nonnull(find("popcorn1"));
		ck_assert_ptr_null(find("popcorn2"));
		ck_assert(fake.forward);
		file_is("hosts", "10.77.0.1 primary\n10.77.0.2 a\n");
	}
	detach("a");
	/* Nobody needs it any more. */
	ck_assert(!fake.forward);
	detach("b");
	is_untouched(1);
}
END_TEST

START_TEST(test_crash)
{
	int a, b;

	config.nat = true;
	make();
	a = attach("a", 1, NETWORK_DEFAULT);
	b = attach("b", 2, NETWORK_DEFAULT);
	network = network_free(network);

	/* Another configuration, which has to wait. "b" has ended meanwhile, and its leader lives. */
	config.nat = false;
	config.address = 0x0a4e0001;
	make();
	ck_assert_int_eq(network_adopt(network, "a", 1, NETWORK_DEFAULT), 0);
	ck_assert_msg(network_settle(network, &error) == 0, "%s", error.text);
	ck_assert_ptr_nonnull(find("popcorn1"));
	ck_assert_ptr_null(find("popcorn2"));
	ck_assert_ptr_null(strstr(fake.rules, "popcorn2"));
	ck_assert(fake.forward);
	file_is("hosts", "10.77.0.1 primary\n10.77.0.2 a\n");

	/* A leader died while popcornd was not there: a new tap. */
	network = network_free(network);
	close(a);
	make();
	ck_assert_int_eq(network_adopt(network, "a", 1, NETWORK_DEFAULT), 0);
	ck_assert_int_eq(network_settle(network, &error), 0);
	is_untouched(0);
	a = attach("a", 1, NETWORK_DEFAULT);
	file_is("hosts", "10.78.0.1 primary\n10.78.0.2 a\n");
	ck_assert(!fake.forward);
	network = network_free(network);

	/* All kernels have gone without popcornd. */
	close(a);
	close(b);
	make();
	ck_assert_int_eq(network_settle(network, &error), 0);
	is_untouched(0);
}
END_TEST

START_TEST(test_crash_anywhere)
{
	/* A popcornd that dies after its n-th call: the next one removes all that it made. */
	config.nat = true;
	for (unsigned n = 1;; n++) {
		int fd = -1, r;

		make();
		fake.calls = 0;
		fake.fail_at = n;
		r = network_attach(network, "a", 1, NETWORK_DEFAULT, &fd, &error);
		if (r == 0) {
			ck_assert_uint_gt(n, 10);
			fake.fail_at = 0;
			close(fd);
			detach("a");
			break;
		}
		network = network_free(network);
		collect();
		fake = moment;
		fake.fail_at = 0;
		/* It had the only descriptor. */
		for (size_t i = 0; i < LINKS; i++)
			if (fake.links[i].fd >= 0)
				fake.links[i] = (struct link){ .fd = -1 };
		if (*moment_file)
			ck_assert_int_eq(replace_file(path, 0600, moment_file, strlen(moment_file)),
					 0);
		make();
		ck_assert_int_eq(network_settle(network, &error), 0);
		is_untouched(0);
		network = network_free(network);
	}
}
END_TEST

START_TEST(test_not_ours)
{
	struct link *bridge = add("popcorn0", "bridge");
	int fd;

	/* Somebody's bridge stays, and gets our address for as long as we use it. */
	make();
	fd = attach("a", 1, NETWORK_DEFAULT);
	ck_assert_uint_eq(bridge->address, config.address);
	close(fd);
	detach("a");
	ck_assert_uint_eq(bridge->address, 0);
	is_untouched(1);

	/* One that has the address keeps it. */
	bridge->address = config.address;
	fd = attach("a", 1, NETWORK_DEFAULT);
	close(fd);
	detach("a");
	ck_assert_uint_eq(bridge->address, config.address);
	is_untouched(1);

	strcpy(bridge->kind, "vlan");
	refused("a", 1, NETWORK_DEFAULT, "is not a bridge");
	fake_delete_link(NULL, "popcorn0");
	strcpy(fake.route, "10.0.0.0/8 of tun0");
	refused("a", 1, NETWORK_DEFAULT, "overlaps the route 10.0.0.0/8 of tun0");
	is_untouched(0);
	*fake.route = '\0';
	add("popcorn1", "veth");
	refused("a", 1, NETWORK_DEFAULT, "popcorn1");
	ck_assert_ptr_nonnull(find("popcorn1"));
	is_untouched(1);
	fake_delete_link(NULL, "popcorn1");
}
END_TEST

START_TEST(test_uplink)
{
	int fd;

	free(config.uplink);
	config.uplink = strdup("eth1");
	make();
	refused("a", 1, NETWORK_DEFAULT, "eth1");
	is_untouched(0);
	add("eth1", "")->address = 0x01020304;
	refused("a", 1, NETWORK_DEFAULT, "has an address of the primary");
	find("eth1")->address = 0;
	strcpy(find("eth1")->master, "bond0");
	refused("a", 1, NETWORK_DEFAULT, "is part of another interface");
	*find("eth1")->master = '\0';
	fd = attach("a", 1, NETWORK_DEFAULT);
	ck_assert_str_eq(find("eth1")->master, "popcorn0");
	ck_assert(!fake.forward);
	ck_assert_ptr_nonnull(strstr(fake.rules, "iifname @outside oifname \"eth1\" accept"));
	close(fd);
	detach("a");
	is_untouched(1);
}
END_TEST

START_TEST(test_ids)
{
	int fd;

	/* An id is used again by another kernel, and a kernel comes back with another id. */
	make();
	fd = attach("a", 1, NETWORK_DEFAULT);
	close(fd);
	fd = attach("b", 1, NETWORK_KERNELS);
	close(fd);
	file_is("hosts", "10.77.0.1 primary\n10.77.0.2 b\n");
	fd = attach("b", 7, NETWORK_KERNELS);
	close(fd);
	file_is("hosts", "10.77.0.1 primary\n10.77.0.8 b\n");

	char address[ADDRESS_TEXT_MAX];

	network_get_address(network, "b", address);
	ck_assert_str_eq(address, "10.77.0.8");
	network_get_address(network, "a", address);
	ck_assert_str_eq(address, "");
	detach("b");
	is_untouched(0);
}
END_TEST

START_TEST(test_refused)
{
	make();
	refused("a", 1, NETWORK_NONE, "without a network");
	refused("a", 1, NETWORK_OUTSIDE, "network.nat");
	config.enabled = false;
	ck_assert_int_eq(network_reload(network, &config), 0);
	refused("a", 1, NETWORK_DEFAULT, "without a network");
	refused("a", 1, NETWORK_PRIMARY, "network.enabled");
	is_untouched(0);

	/* A file that is none of ours is not guessed at. */
	network = network_free(network);
	ck_assert_int_eq(replace_file(path, 0600, "BRIDGE=a b\n", 11), 0);
	ck_assert_int_lt(network_new(&config, run, &ops, NULL, &network, &error), 0);
	ck_assert_int_eq(replace_file(path, 0600, "nonsense\n", 9), 0);
	ck_assert_int_lt(network_new(&config, run, &ops, NULL, &network, &error), 0);
	unlink(path);
}
END_TEST

START_TEST(test_reload)
{
	int fd;

	make();
	fd = attach("a", 1, NETWORK_DEFAULT);
	close(fd);
	config.enabled = false;
	config.address = 0x0a4e0001;
	ck_assert_int_eq(network_reload(network, &config), 0);
	fd = attach("b", 2, NETWORK_DEFAULT);
	close(fd);
	file_is("hosts", "10.77.0.1 primary\n10.77.0.2 a\n10.77.0.3 b\n");
	detach("a");
	detach("b");
	refused("a", 1, NETWORK_DEFAULT, "without a network");
	is_untouched(0);
}
END_TEST

/*
 * Arithmetic and text.
 */

START_TEST(test_addresses)
{
	static const char *const wrong[] = { "",
					     "10.77.0.1",
					     "10.77.0.1/",
					     "10.77.0.1/33",
					     "10.77.0/22",
					     "10.77.0.1/-1",
					     "10.77.0.1/2x",
					     "::1/64",
					     " 10.77.0.1/22",
					     "10.77.0.1/022",
					     "10.77.0.256/22" };
	uint32_t address;
	unsigned prefix;
	uint8_t mac[MAC_SIZE];

	ck_assert_int_eq(network_parse_address("10.77.0.1/22", &address, &prefix), 0);
	ck_assert_uint_eq(address, 0x0a4d0001);
	ck_assert_uint_eq(prefix, 22);
	ck_assert_int_eq(network_parse_address("255.255.255.255", &address, NULL), 0);
	ck_assert_str_eq(ADDRESS_TEXT(address), "255.255.255.255");
	ck_assert_int_eq(network_parse_address("10.77.0.1/22", &address, NULL), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		ck_assert_msg(network_parse_address(wrong[i], &address, &prefix) == -EINVAL, "'%s'",
			      wrong[i]);

	ck_assert(network_overlaps(0x0a000000, 8, 0x0a4d0001, 22));
	ck_assert(network_overlaps(0x0a4d0001, 22, 0x0a4d0300, 24));
	ck_assert(!network_overlaps(0x0a4d0001, 22, 0x0a4d0400, 24));
	ck_assert(!network_overlaps(0x0a4d0001, 22, 0x0b000000, 8));
	ck_assert(network_overlaps(0x0a4d0001, 22, 0, 0));
	ck_assert(network_overlaps(0x0a4d0001, 32, 0x0a4d0001, 32));

	network_mac(0x1ff, mac);
	ck_assert_int_eq(memcmp(mac, "\x02\x70\x63\x00\x01\xff", 6), 0);
	ck_assert_str_eq(TAP_NAME(511), "popcorn511");
	ck_assert_uint_eq(network_tap_id("popcorn511"), 511);
	ck_assert_uint_eq(network_tap_id("popcorn0"), 0);
	ck_assert_uint_eq(network_tap_id("popcorn01"), 0);
	ck_assert_uint_eq(network_tap_id("popcorn1x"), 0);
	ck_assert_uint_eq(network_tap_id("popcorn"), 0);
	ck_assert_uint_eq(network_tap_id("eth0"), 0);
	ck_assert_uint_eq(network_tap_id("popcorn99999999"), 0);
	ck_assert_uint_eq(network_id_to_address(&config, 511), 0x0a4d0200);
}
END_TEST

static void is_fault(const char *address, const char *what)
{
	const char *fault;

	if (address)
		ck_assert_int_eq(network_parse_address(address, &config.address, &config.prefix),
				 0);
	fault = network_config_fault(&config);
	ck_assert_msg(what ? fault && strstr(fault, what) : !fault, "%s: %s", address ?: "",
		      fault ?: "no fault");
}

START_TEST(test_faults)
{
	is_fault(NULL, NULL);
	is_fault("10.77.0.1/16", NULL);
	is_fault("192.168.100.1/23", "511 addresses");
	is_fault("192.168.100.1/22", NULL);
	is_fault("10.77.1.255/22", NULL);
	is_fault("10.77.2.0/22", "511 addresses"); /* the last one would be for all */
	is_fault("10.77.0.0/22", "511 addresses"); /* the network itself */
	is_fault("255.255.255.1/8", "511 addresses");
	is_fault("10.77.0.1/0", NULL);
	is_fault("224.0.0.1/8", "not one that an interface");
	is_fault("127.0.0.1/8", "not one that an interface");
	is_fault("0.0.0.1/8", "not one that an interface");

	ck_assert_int_eq(network_parse_address("10.77.0.1/22", &config.address, &config.prefix), 0);
	config.gateway = 0x0a4d03fe;
	is_fault(NULL, NULL);
	config.gateway = 0x0a4d0001;
	is_fault(NULL, NULL);
	config.gateway = 0x0a4d0002;
	is_fault(NULL, "address of a kernel");
	config.gateway = 0x0a4e0001;
	is_fault(NULL, "not in the range");
	config.gateway = 0;

	static const char *const names[] = { "",     "a b", "a/b",	"..",
					     "a\"b", "-x",  "popcorn3", "sixteen-letters-",
					     "a;b" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		free(config.bridge);
		config.bridge = strdup(names[i]);
		ck_assert_msg(network_config_fault(&config) != NULL, "'%s'", names[i]);
	}
	free(config.bridge);
	config.bridge = strdup("br-kernels.1");
	is_fault(NULL, NULL);
	free(config.uplink);
	config.uplink = strdup("br-kernels.1");
	is_fault(NULL, "two interfaces");
}
END_TEST

START_TEST(test_peers)
{
	static const char *const good[] = { "default",
					    "none",
					    "primary",
					    "kernels",
					    "outside",
					    "primary,kernels",
					    "primary,kernels,outside" };
	static const char *const wrong[] = { "",
					     ",",
					     "primary,",
					     ",primary",
					     "primary,primary",
					     "all",
					     "none,primary",
					     "Primary",
					     "primary kernels" };
	unsigned peers;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		ck_assert_int_eq(network_parse_peers(good[i], &peers, &error), 0);
		ck_assert_str_eq(PEERS_TEXT(peers), good[i]);
	}
	ck_assert_int_eq(network_parse_peers("outside,primary", &peers, &error), 0);
	ck_assert_str_eq(PEERS_TEXT(peers), "primary,outside");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		error = (struct popcorn_error){ 0 };
		ck_assert_int_eq(network_parse_peers(wrong[i], &peers, &error), -EINVAL);
		ck_assert_int_eq(error.id, POPCORN_ERROR_INVALID_ARGUMENT);
	}
	ck_assert_uint_eq(network_resolve(&config, NETWORK_DEFAULT),
			  NETWORK_PRIMARY | NETWORK_KERNELS);
	config.nat = true;
	ck_assert_uint_eq(network_resolve(&config, NETWORK_DEFAULT),
			  NETWORK_PRIMARY | NETWORK_KERNELS | NETWORK_OUTSIDE);
	ck_assert_uint_eq(network_resolve(&config, NETWORK_KERNELS), NETWORK_KERNELS);
	ck_assert_uint_eq(network_resolve(&config, NETWORK_NONE), 0);
	config.enabled = false;
	ck_assert_uint_eq(network_resolve(&config, NETWORK_KERNELS), 0);
	ck_assert_int_eq(network_check(&config, NETWORK_DEFAULT, &error), 0);
	ck_assert_int_eq(network_check(&config, NETWORK_NONE, &error), 0);
}
END_TEST

static void lines_are(unsigned peers, const char *expected)
{
	_cleanup_free_ char *text = NULL;

	ck_assert_int_eq(network_agent_lines(&config, NULL, 0, 3, peers, &text), 0);
	ck_assert_str_eq(text, expected);
}

START_TEST(test_agent_lines)
{
	lines_are(NETWORK_NONE, "");
	lines_are(NETWORK_DEFAULT, "network 02:70:63:00:00:03 10.77.0.4/22 - 1500\n"
				   "host 10.77.0.1 primary\n");
	config.nat = true;
	config.mtu = 9000;
	lines_are(NETWORK_DEFAULT, "network 02:70:63:00:00:03 10.77.0.4/22 10.77.0.1 9000\n"
				   "host 10.77.0.1 primary\n");
	/* One that may not go there needs no way to it. */
	lines_are(NETWORK_KERNELS, "network 02:70:63:00:00:03 10.77.0.4/22 - 9000\n"
				   "host 10.77.0.1 primary\n");
	config.gateway = 0x0a4d03fe;
	lines_are(NETWORK_OUTSIDE, "network 02:70:63:00:00:03 10.77.0.4/22 10.77.3.254 9000\n"
				   "host 10.77.0.1 primary\n");
}
END_TEST

/* The names of those that it may speak with, and not more than it takes. */
START_TEST(test_agent_names)
{
	struct network_port ports[AGENT_HOSTS_MAX + 10] = {
		{ .name = "db0", .id = 1, .peers = NETWORK_PRIMARY | NETWORK_KERNELS },
		{ .name = "alone", .id = 2, .peers = NETWORK_PRIMARY },
		{ .name = "self", .id = 3, .peers = NETWORK_KERNELS },
	};
	_cleanup_free_ char *text = NULL, *none = NULL, *many = NULL;
	size_t lines = 0;

	ck_assert_int_eq(network_agent_lines(&config, ports, 3, 3, NETWORK_DEFAULT, &text), 0);
	ck_assert_str_eq(text, "network 02:70:63:00:00:03 10.77.0.4/22 - 1500\n"
			       "host 10.77.0.1 primary\nhost 10.77.0.2 db0\n");
	ck_assert_int_eq(network_agent_lines(&config, ports, 3, 3, NETWORK_PRIMARY, &none), 0);
	ck_assert_ptr_null(strstr(none, "db0"));
	for (uint32_t i = 3; i < AGENT_HOSTS_MAX + 10; i++) {
		ports[i] = (struct network_port){ .id = i + 1, .peers = NETWORK_KERNELS };
		snprintf(ports[i].name, sizeof(ports[i].name), "k%u", i);
	}
	ck_assert_int_eq(network_agent_lines(&config, ports, AGENT_HOSTS_MAX + 10, 3,
					     NETWORK_DEFAULT, &many),
			 0);
	for (const char *p = many; (p = strstr(p, "host ")); p++)
		lines++;
	ck_assert_uint_eq(lines, AGENT_HOSTS_MAX);
}
END_TEST

/* The elements of a set in a table, as they stand there; "" if none. */
static void set_is(const char *rules, const char *table, const char *set, const char *expected)
{
	const char *p = strstr(rules, table), *end;
	char start[64];

	snprintf(start, sizeof(start), "\tset %s {", set);
	p = p ? strstr(p, start) : NULL;
	ck_assert_msg(p != NULL, "no set %s in %s", set, table);
	end = strstr(p, "\n\t}");
	p = strstr(p, "elements = { ");
	if (!p || p > end)
		p = end;
	else
		p += strlen("elements = { ");
	ck_assert_msg(strncmp(p, expected, strlen(expected)) == 0 &&
			      (!*expected || p[strlen(expected)] == ' '),
		      "%s of %s: %.40s", set, table, p);
}

START_TEST(test_rules)
{
	const struct network_port ports[] = {
		{ "a", 1, NETWORK_PRIMARY | NETWORK_KERNELS, -1 },
		{ "b", 2, NETWORK_KERNELS, -1 },
		{ "c", 300, NETWORK_OUTSIDE, -1 },
	};
	_cleanup_free_ char *none = NULL, *plain = NULL, *nat = NULL, *uplink = NULL;

	ck_assert_int_eq(network_rules(&config, NULL, 0, &none), 0);
	ck_assert_str_eq(none, "table bridge popcorn\ndelete table bridge popcorn\n"
			       "table inet popcorn\ndelete table inet popcorn\n");
	ck_assert_int_eq(network_rules(&config, ports, 3, &plain), 0);
	ck_assert_int_eq(strncmp(plain, none, strlen(none)), 0);
	set_is(plain, "table bridge", "taps", "\"popcorn1\", \"popcorn2\", \"popcorn300\"");
	set_is(plain, "table bridge", "primary", "\"popcorn1\"");
	set_is(plain, "table bridge", "kernels", "\"popcorn1\", \"popcorn2\"");
	set_is(plain, "table bridge", "outside", "\"popcorn300\"");
	set_is(plain, "table bridge", "senders",
	       "\"popcorn1\" . 02:70:63:00:00:01 . 10.77.0.2, "
	       "\"popcorn2\" . 02:70:63:00:00:02 . 10.77.0.3, "
	       "\"popcorn300\" . 02:70:63:00:01:2c . 10.77.1.45");
	set_is(plain, "table inet popcorn {", "known", "10.77.0.2, 10.77.0.3, 10.77.1.45");
	set_is(plain, "table inet popcorn {", "kernels", "10.77.0.2, 10.77.0.3");
	ck_assert_ptr_null(strstr(plain, "masquerade"));
	ck_assert_ptr_null(strstr(plain, "ct state"));
	config.nat = true;
	ck_assert_int_eq(network_rules(&config, ports, 3, &nat), 0);
	ck_assert_ptr_nonnull(
		strstr(nat, "ip saddr @outside oifname != \"popcorn0\" masquerade\n"));
	config.nat = false;
	free(config.uplink);
	config.uplink = strdup("eth1");
	ck_assert_int_eq(network_rules(&config, ports, 3, &uplink), 0);
	ck_assert_ptr_nonnull(strstr(uplink, "iifname \"eth1\" oifname @outside"));
	ck_assert_ptr_null(strstr(uplink, "masquerade"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("network");
	TCase *whole = tcase_create("whole"), *texts = tcase_create("texts");

	tcase_add_checked_fixture(whole, setup, teardown);
	tcase_add_test(whole, test_life);
	tcase_add_test(whole, test_lost_rules);
	tcase_add_test(whole, test_every_failure);
	tcase_add_test(whole, test_crash);
	tcase_add_test(whole, test_crash_anywhere);
	tcase_add_test(whole, test_not_ours);
	tcase_add_test(whole, test_uplink);
	tcase_add_test(whole, test_ids);
	tcase_add_test(whole, test_refused);
	tcase_add_test(whole, test_reload);
	suite_add_tcase(suite, whole);
	tcase_add_checked_fixture(texts, setup, teardown);
	tcase_add_test(texts, test_addresses);
	tcase_add_test(texts, test_faults);
	tcase_add_test(texts, test_peers);
	tcase_add_test(texts, test_agent_lines);
	tcase_add_test(texts, test_agent_names);
	tcase_add_test(texts, test_rules);
	suite_add_tcase(suite, texts);
	return run_suite(suite);
}
