// SPDX-License-Identifier: GPL-2.0-or-later
/* /popcorn/config: what popcornd writes, the agent reads; and what it refuses. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <string.h>

#include "agent/agent-config.h"
#include "guest.h"
#include "run.h"
#include "util.h"

static struct agent_config config;
static unsigned line;

static int parse(const char *text)
{
	line = 0;
	return agent_config_parse(text, strlen(text), &config, &line);
}

START_TEST(test_written_is_read)
{
	static const struct {
		const char *root;
		enum agent_root is;
	} roots[] = {
		{ NULL, AGENT_ROOT_INITRAMFS },
		{ "initramfs", AGENT_ROOT_INITRAMFS },
		{ "primary", AGENT_ROOT_PRIMARY },
		{ "/srv/db0", AGENT_ROOT_FOLDER },
		{ "/srv/db0:ro", AGENT_ROOT_FOLDER_READ_ONLY },
		{ "/srv/ro", AGENT_ROOT_FOLDER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		struct kernel_def def = { .root = (char *)roots[i].root };
		char *text;

		ck_assert_int_eq(guest_config("db0", &def, NULL, &text), 0);
		ck_assert_msg(parse(text) == 0, "line %u of '%s'", line, text);
		ck_assert_int_eq(config.root, roots[i].is);
		ck_assert_str_eq(config.hostname, "db0");
		ck_assert_str_eq(config.init, "/sbin/init");
		ck_assert(!config.network.wanted);
		ck_assert_uint_eq(config.n_hosts, 0);
		free(text);
	}
}
END_TEST

/* init= as in a command line: whole words, the last one. */
START_TEST(test_init)
{
	static const struct {
		const char *cmdline, *init;
	} cases[] = {
		{ "init=/bin/sh", "/bin/sh" },
		{ "quiet init=/bin/a init=/bin/b x", "/bin/b" },
		{ "rdinit=/bin/sh quiet", "/sbin/init" },
		{ "init=sh", "/sbin/init" },
		{ "init=", "/sbin/init" },
		{ "", "/sbin/init" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kernel_def def = { .root = "primary", .cmdline = (char *)cases[i].cmdline };
		char *text;

		ck_assert_int_eq(guest_config("a", &def, "host 10.0.0.1 primary\n", &text), 0);
		ck_assert_msg(parse(text) == 0, "line %u of '%s'", line, text);
		ck_assert_str_eq(config.init, cases[i].init);
		ck_assert_uint_eq(config.n_hosts, 1);
		free(text);
	}
}
END_TEST

/* Each kernel has its own, and always the same. */
START_TEST(test_machine_id)
{
	struct kernel_def def = { 0 };
	char ids[3][33], *text;
	static const char *const names[] = { "db0", "db1", "db0" };

	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(guest_config(names[i], &def, NULL, &text), 0);
		ck_assert_int_eq(parse(text), 0);
		strcpy(ids[i], config.machine_id);
		free(text);
	}
	ck_assert_str_eq(ids[0], ids[2]);
	/* Where this runs there may be none. */
	if (*ids[0])
		ck_assert_str_ne(ids[0], ids[1]);
}
END_TEST

START_TEST(test_every_line)
{
	static const uint8_t mac[6] = { 0x02, 0x70, 0x63, 0, 0, 0x1f };
	char text[128];

	ck_assert_int_eq(parse("root folder-ro\ninit /usr/bin/init\nhostname a-b.c_d\n"
			       "machine-id 0123456789abcdef0123456789abcdef\n"
			       "network 02:70:63:00:00:1f 10.77.0.32/22 10.77.0.1 1500\n"
			       "host 10.77.0.1 primary\nhost fd00::1 six\n"
			       "nameserver 10.77.0.1\nnameserver fd00::1\n"),
			 0);
	ck_assert_int_eq(config.root, AGENT_ROOT_FOLDER_READ_ONLY);
	ck_assert_str_eq(config.init, "/usr/bin/init");
	ck_assert_str_eq(config.hostname, "a-b.c_d");
	ck_assert_str_eq(config.machine_id, "0123456789abcdef0123456789abcdef");
	ck_assert(config.network.wanted);
	ck_assert_mem_eq(config.network.mac, mac, sizeof(mac));
	ck_assert_str_eq(inet_ntop(AF_INET, &config.network.address, text, sizeof(text)),
			 "10.77.0.32");
	ck_assert_uint_eq(config.network.prefix, 22);
	ck_assert_str_eq(inet_ntop(AF_INET, &config.network.gateway, text, sizeof(text)),
			 "10.77.0.1");
	ck_assert_uint_eq(config.network.mtu, 1500);
	ck_assert_uint_eq(config.n_nameservers, 2);
	ck_assert_str_eq(config.nameservers[1], "fd00::1");
	ck_assert_uint_eq(config.n_hosts, 2);
	ck_assert_str_eq(config.hosts[1].address, "fd00::1");
	ck_assert_str_eq(config.hosts[1].name, "six");

	ck_assert_int_eq(parse("network 02:70:63:00:00:1f 10.77.0.32/32 - 576\n"), 0);
	ck_assert_uint_eq(config.network.gateway.s_addr, 0);
	ck_assert_int_eq(config.root, AGENT_ROOT_INITRAMFS);
	ck_assert_int_eq(parse(""), 0);
}
END_TEST

START_TEST(test_refused)
{
	static const char *const wrong[] = {
		"root\n",
		"root primary ro\n",
		"root /srv\n",
		"root  primary\n",
		"root primary \n",
		" root primary\n",
		"root primary",
		"root primary\r\n",
		"\n",
		"# words\n",
		"mount /dev/sda\n",
		"init sbin/init\n",
		"hostname ../x\n",
		"hostname -x\n",
		"hostname a12345678901234567890123456789012345678901234567890123456789012345\n",
		"machine-id 0123456789ABCDEF0123456789abcdef\n",
		"machine-id 0123\n",
		"network 02:70:63:00:00:1f 10.77.0.32 - 1500\n",
		"network 02:70:63:00:00:1f 10.77.0.32/0 - 1500\n",
		"network 02:70:63:00:00:1f 10.77.0.32/33 - 1500\n",
		"network 02:70:63:00:00:1f 10.77.0.32/22 0.0.0.0 1500\n",
		"network 02:70:63:00:00:1f 10.77.0.32/22 10.77.0.1 67\n",
		"network 02:70:63:00:00:1f 10.77.0.32/22 10.77.0.1 65536\n",
		"network 02:70:63:00:00:1f 10.77.0.32/22 10.77.0.1 +150\n",
		"network 02:70:63:00:00 10.77.0.32/22 10.77.0.1 1500\n",
		"network 01:70:63:00:00:1f 10.77.0.32/22 10.77.0.1 1500\n",
		"network 00:00:00:00:00:00 10.77.0.32/22 10.77.0.1 1500\n",
		"network 02:70:63:00:00:1f 10.77.0/22 10.77.0.1 1500\n",
		"network 02:70:63:00:00:1f 10.77.0.32/22 - 1500 x\n",
		"host 10.0.0.1\n",
		"host 10.0.0.256 a\n",
		"host 10.0.0.1 a/b\n",
		"nameserver fe80::1%eth0\n",
		"nameserver localhost\n",
	};
	static char large[AGENT_CONFIG_MAX + 1];
	char text[4096] = "";

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(text, sizeof(text), "hostname a\n%s", wrong[i]);
		config.n_hosts = 77;
		ck_assert_msg(parse(text) == -EBADMSG, "'%s' was taken", wrong[i]);
		ck_assert_uint_eq(line, 2);
		/* What was there before stays. */
		ck_assert_uint_eq(config.n_hosts, 77);
	}
	ck_assert_int_eq(parse("network 02:70:63:00:00:1f 10.0.0.2/8 - 1500\n"
			       "network 02:70:63:00:00:1e 10.0.0.3/8 - 1500\n"),
			 -EBADMSG);
	*text = '\0';
	for (unsigned i = 0; i <= AGENT_HOSTS_MAX; i++)
		strcat(text, "host 10.0.0.1 a\n");
	ck_assert_int_eq(parse(text), -EBADMSG);
	ck_assert_uint_eq(line, AGENT_HOSTS_MAX + 1);
	ck_assert_int_eq(agent_config_parse("root\0primary\n", 13, &config, &line), -EBADMSG);
	ck_assert_int_eq(agent_config_parse(large, sizeof(large), &config, &line), -E2BIG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guest");
	TCase *tc = tcase_create("guest");

	tcase_add_test(tc, test_written_is_read);
	tcase_add_test(tc, test_init);
	tcase_add_test(tc, test_machine_id);
	tcase_add_test(tc, test_every_line);
	tcase_add_test(tc, test_refused);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
