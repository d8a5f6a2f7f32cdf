// SPDX-License-Identifier: GPL-2.0-or-later
/* Rules that somebody throws away come back. On the real nftables, in a namespace; else it ends with 77. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "manager.h"
#include "run.h"
#include "util.h"

#define SKIPPED 77
#define WAIT_USEC (30 * USEC_PER_SEC)

static char run[] = "/tmp/popcorn-network-XXXXXX";
static struct popcorn_error error;
static void *links;

static bool has_rules(void)
{
	char why[128];

	return network_link_ops.set_rules(links, NETWORK_RULES_TEST("bridge"), why) == 0 &&
	       network_link_ops.set_rules(links, NETWORK_RULES_TEST("inet"), why) == 0;
}

START_TEST(test_flush)
{
	struct network_watch *watch;
	struct network_config config;
	struct network *network;
	uint64_t deadline;
	sd_event *event;
	char why[128];
	int fd;

	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	ck_assert_ptr_nonnull(mkdtemp(run));
	ck_assert_int_eq(network_config_init(&config), 0);
	ck_assert_int_eq(network_system_new(&links), 0);
	ck_assert_int_eq(network_new(&config, run, NULL, NULL, &network, &error), 0);
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_eq(network_watch_new(event, network, &watch), 0);

	/* What we do ourselves is seen, and found to be well. */
	ck_assert_msg(network_attach(network, "a", 1, NETWORK_DEFAULT, &fd, &error) == 0, "%s",
		      error.text);
	close(fd);
	while (sd_event_run(event, 0) > 0)
		;
	ck_assert(has_rules());

	ck_assert_int_eq(network_link_ops.set_rules(links, "flush ruleset\n", why), 0);
	ck_assert(!has_rules());
	deadline = now_usec() + WAIT_USEC;
	while (!has_rules()) {
		ck_assert_uint_lt(now_usec(), deadline);
		ck_assert_int_ge(sd_event_run(event, WAIT_USEC), 0);
	}

	/* Nobody needs them any more: they stay away. */
	ck_assert_int_eq(network_detach(network, "a", &error), 0);
	while (sd_event_run(event, 0) > 0)
		;
	ck_assert(!has_rules());
	network_watch_free(watch);
	sd_event_unref(event);
	network_free(network);
	network_system_free(links);
	network_config_done(&config);
	ck_assert_int_eq(rmdir(run), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("network-watch");
	TCase *whole = tcase_create("namespace");

	if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
		printf("skipped: no network namespace, or no taps: %s\n", strerror(errno));
		return SKIPPED;
	}
	tcase_add_test(whole, test_flush);
	suite_add_tcase(suite, whole);
	return run_suite(suite);
}
