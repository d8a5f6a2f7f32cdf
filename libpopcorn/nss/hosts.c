// SPDX-License-Identifier: LGPL-2.1-or-later
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "hosts.h"

/* As kernel_name_check() of popcornd, whose file it is. */
static bool is_name(const char *s, size_t size)
{
	if (size == 0 || size >= HOST_NAME_SIZE)
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = s[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (i > 0 && (c == '_' || c == '.' || c == '-'))))
			return false;
	}
	return true;
}

static bool read_line(const char *line, size_t size, struct host *ret)
{
	const char *blank = memchr(line, ' ', size);
	char address[INET_ADDRSTRLEN];
	size_t length = blank ? (size_t)(blank - line) : 0;

	if (!blank || length >= sizeof(address) || !is_name(blank + 1, size - length - 1))
		return false;
	memcpy(address, line, length);
	address[length] = '\0';
	if (strlen(address) != length || inet_pton(AF_INET, address, &ret->address) != 1)
		return false;
	memcpy(ret->name, blank + 1, size - length - 1);
	ret->name[size - length - 1] = '\0';
	return true;
}

bool hosts_next(const char *text, size_t size, size_t *position, struct host *ret)
{
	while (*position < size) {
		const char *line = text + *position;
		const char *end = memchr(line, '\n', size - *position);

		/* What was not written to its end is not there. */
		if (!end)
			break;
		*position += (size_t)(end - line) + 1;
		if (read_line(line, (size_t)(end - line), ret))
			return true;
	}
	return false;
}

bool hosts_find_name(const char *text, size_t size, const char *name, struct host *ret)
{
	size_t length = strnlen(name, HOST_NAME_SIZE + sizeof(HOST_DOMAIN)), position = 0, short_of;
	struct host host;

	short_of = length < sizeof(HOST_DOMAIN) ? length : length - (sizeof(HOST_DOMAIN) - 1);
	if (strcasecmp(name + short_of, HOST_DOMAIN) != 0)
		short_of = length;
	while (hosts_next(text, size, &position, &host)) {
		size_t n = strlen(host.name);

		if ((n == length || n == short_of) && strncasecmp(host.name, name, n) == 0) {
			*ret = host;
			return true;
		}
	}
	return false;
}

bool hosts_find_address(const char *text, size_t size, struct in_addr address, struct host *ret)
{
	struct host host;
	size_t position = 0;

	while (hosts_next(text, size, &position, &host))
		if (host.address.s_addr == address.s_addr) {
			*ret = host;
			return true;
		}
	return false;
}
