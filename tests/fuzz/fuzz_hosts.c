// SPDX-License-Identifier: GPL-2.0-or-later
/* A hostile /run/popcorn/hosts, as every program of a kernel that shares it reads it. */
#include <string.h>

#include "fuzz.h"
#include "hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct host host, found;
	size_t position = 0, last = 0;
	char name[HOST_NAME_SIZE + sizeof(HOST_DOMAIN)];

	while (hosts_next(text, size, &position, &host)) {
		/* It gets on, and what it gives is a name. */
		CHECK(position > last && position <= size);
		last = position;
		CHECK(memchr(host.name, '\0', sizeof(host.name)) && *host.name);
		for (const char *p = host.name; *p; p++)
			CHECK(*p > ' ' && *p < 0x7f);
		CHECK(hosts_find_name(text, size, host.name, &found));
		CHECK(strcasecmp(found.name, host.name) == 0 ||
		      strncasecmp(found.name, host.name, strlen(found.name)) == 0);
		CHECK(hosts_find_address(text, size, host.address, &found));
		CHECK(found.address.s_addr == host.address.s_addr);
		snprintf(name, sizeof(name), "%s" HOST_DOMAIN, host.name);
		CHECK(hosts_find_name(text, size, name, &found));
	}
	CHECK(position <= size);
	/* What is asked for is anything, too. */
	size = size < sizeof(name) ? size : sizeof(name) - 1;
	memcpy(name, data, size);
	name[size] = '\0';
	(void)hosts_find_name(text, size, name, &found);
	return 0;
}
