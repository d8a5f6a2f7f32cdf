// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "agent-config.h"

/* The longest value that there is, and its key. */
#define CONFIG_LINE_MAX (PATH_MAX + 64)
#define WORDS_MAX 4

const char *const agent_root_names[AGENT_ROOTS] = {
	[AGENT_ROOT_INITRAMFS] = "initramfs",
	[AGENT_ROOT_PRIMARY] = "primary",
	[AGENT_ROOT_FOLDER] = "folder",
	[AGENT_ROOT_FOLDER_READ_ONLY] = "folder-ro",
};

void agent_config_init(struct agent_config *config)
{
	*config = (struct agent_config){ .root = AGENT_ROOT_INITRAMFS, .init = "/sbin/init" };
}

static bool is_letter_or_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Of a host, or of a kernel. It becomes part of other files. */
static bool is_name(const char *s)
{
	size_t length = strlen(s);

	if (length > AGENT_NAME_MAX || !is_letter_or_digit(*s))
		return false;
	for (; *s; s++)
		if (!is_letter_or_digit(*s) && !strchr("-_.", *s))
			return false;
	return true;
}

/* Decimal, and nothing else. */
static bool read_number(const char *s, unsigned min, unsigned max, unsigned *ret)
{
	unsigned n = 0;

	if (!*s || strlen(s) > 6)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		n = n * 10 + (unsigned)(*s - '0');
	}
	if (n < min || n > max)
		return false;
	*ret = n;
	return true;
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

/* "02:70:63:00:00:01", of one device: not a group's, not none. */
static bool read_mac(const char *s, uint8_t ret[6])
{
	uint8_t any = 0;

	if (strlen(s) != 17)
		return false;
	for (int i = 0; i < 6; i++, s += 3) {
		int high = hex_digit(s[0]), low = hex_digit(s[1]);

		if (high < 0 || low < 0 || s[2] != (i < 5 ? ':' : '\0'))
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
		any |= ret[i];
	}
	return any && !(ret[0] & 1);
}

static bool parse_root(char *words[], struct agent_config *config)
{
	for (unsigned i = 0; i < AGENT_ROOTS; i++)
		if (strcmp(words[0], agent_root_names[i]) == 0) {
			config->root = i;
			return true;
		}
	return false;
}

static bool parse_init(char *words[], struct agent_config *config)
{
	if (*words[0] != '/' || strlen(words[0]) >= sizeof(config->init))
		return false;
	strcpy(config->init, words[0]);
	return true;
}

static bool parse_hostname(char *words[], struct agent_config *config)
{
	if (!is_name(words[0]))
		return false;
	strcpy(config->hostname, words[0]);
	return true;
}

static bool parse_machine_id(char *words[], struct agent_config *config)
{
	if (strlen(words[0]) != sizeof(config->machine_id) - 1)
		return false;
	for (const char *p = words[0]; *p; p++)
		if (hex_digit(*p) < 0)
			return false;
	strcpy(config->machine_id, words[0]);
	return true;
}

static bool parse_network(char *words[], struct agent_config *config)
{
	struct agent_network network = { .wanted = true };
	char *slash = strchr(words[1], '/');

	if (config->network.wanted || !slash)
		return false;
	*slash = '\0';
	if (!read_mac(words[0], network.mac) ||
	    inet_pton(AF_INET, words[1], &network.address) != 1 ||
	    !read_number(slash + 1, 1, 32, &network.prefix) ||
	    (strcmp(words[2], "-") != 0 &&
	     (inet_pton(AF_INET, words[2], &network.gateway) != 1 || !network.gateway.s_addr)) ||
	    !read_number(words[3], 68, 65535, &network.mtu))
		return false;
	config->network = network;
	return true;
}

static bool is_address(const char *s)
{
	struct in6_addr address;

	return strlen(s) < INET6_ADDRSTRLEN &&
	       (inet_pton(AF_INET, s, &address) == 1 || inet_pton(AF_INET6, s, &address) == 1);
}

static bool parse_host(char *words[], struct agent_config *config)
{
	struct agent_host *host = &config->hosts[config->n_hosts];

	if (config->n_hosts == AGENT_HOSTS_MAX || !is_address(words[0]) || !is_name(words[1]))
		return false;
	strcpy(host->address, words[0]);
	strcpy(host->name, words[1]);
	config->n_hosts++;
	return true;
}

static bool parse_nameserver(char *words[], struct agent_config *config)
{
	if (config->n_nameservers == AGENT_NAMESERVERS_MAX || !is_address(words[0]))
		return false;
	strcpy(config->nameservers[config->n_nameservers++], words[0]);
	return true;
}

static const struct {
	const char *key;
	size_t words; /* of the value */
	bool (*parse)(char *words[], struct agent_config *config);
} keys[] = {
	{ "root", 1, parse_root },
	{ "init", 1, parse_init },
	{ "hostname", 1, parse_hostname },
	{ "machine-id", 1, parse_machine_id },
	{ "network", 4, parse_network },
	{ "host", 2, parse_host },
	{ "nameserver", 1, parse_nameserver },
};

/* Words have one blank between them, and nothing before or behind. */
static bool parse_line(char *line, struct agent_config *config)
{
	char *words[WORDS_MAX] = { 0 }, *key = strsep(&line, " ");
	size_t n = 0;

	while (line) {
		if (n == WORDS_MAX)
			return false;
		words[n++] = strsep(&line, " ");
		if (!*words[n - 1])
			return false;
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i].key, key) == 0)
			return n == keys[i].words && keys[i].parse(words, config);
	return false;
}

int agent_config_parse(const char *text, size_t size, struct agent_config *config,
		       unsigned *ret_line)
{
	struct agent_config read;
	unsigned number = 0;

	if (size > AGENT_CONFIG_MAX)
		return -E2BIG;
	agent_config_init(&read);
	while (size) {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;
		char line[CONFIG_LINE_MAX];

		number++;
		if (!end || length >= sizeof(line))
			goto bad;
		for (size_t i = 0; i < length; i++)
			if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
				goto bad;
		memcpy(line, text, length);
		line[length] = '\0';
		if (!parse_line(line, &read))
			goto bad;
		text += length + 1;
		size -= length + 1;
	}
	*config = read;
	return 0;
bad:
	*ret_line = number;
	return -EBADMSG;
}
