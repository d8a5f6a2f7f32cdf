// SPDX-License-Identifier: GPL-2.0-or-later
/* /popcorn/config as anybody may have written it: what is taken lies within its limits. */
#include <errno.h>
#include <string.h>

#include "agent-config.h"
#include "fuzz.h"

static void check(const struct agent_config *config)
{
	CHECK(config->root < AGENT_ROOTS);
	CHECK(config->init[0] == '/' &&
	      strnlen(config->init, sizeof(config->init)) < sizeof(config->init));
	CHECK(strnlen(config->hostname, sizeof(config->hostname)) < sizeof(config->hostname));
	CHECK(!strchr(config->hostname, '/') && !strchr(config->hostname, '\n'));
	CHECK(!*config->machine_id || strnlen(config->machine_id, 33) == 32);
	CHECK(config->n_hosts <= AGENT_HOSTS_MAX);
	for (size_t i = 0; i < config->n_hosts; i++) {
		CHECK(strnlen(config->hosts[i].name, AGENT_NAME_MAX + 1) <= AGENT_NAME_MAX);
		CHECK(strnlen(config->hosts[i].address, INET6_ADDRSTRLEN) < INET6_ADDRSTRLEN);
	}
	CHECK(config->n_nameservers <= AGENT_NAMESERVERS_MAX);
	if (config->network.wanted)
		CHECK(config->network.prefix >= 1 && config->network.prefix <= 32 &&
		      config->network.mtu >= 68 && config->network.mtu <= 65535 &&
		      !(config->network.mac[0] & 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* On the heap, and no larger than it is: the sanitizer sees a byte too much. */
	char *copy = malloc(size ? size : 1);
	struct agent_config config;
	unsigned line = 0;
	int r;

	CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	r = agent_config_parse(copy, size, &config, &line);
	CHECK(r == 0 || r == -EBADMSG || r == -E2BIG);
	if (r == 0)
		check(&config);
	if (r == -EBADMSG)
		CHECK(line >= 1 && line <= size);
	free(copy);
	return 0;
}
