// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parse.h"
#include "util.h"

/* More than any Linux is built for (NR_CPUS 8192); keeps a mistyped range from eating memory. */
#define CPUS_MAX 65536U

/* Digits only: no sign, no blank, nothing behind. */
static int parse_u64(const char *s, const char **end, uint64_t *ret)
{
	unsigned long long value;
	char *stop;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	value = strtoull(s, &stop, 10);
	if (errno)
		return -ERANGE;
	*end = stop;
	*ret = value;
	return 0;
}

int parse_u32(const char *s, uint32_t *ret)
{
	uint64_t value;
	int r;

	r = parse_u64(s, &s, &value);
	if (r < 0)
		return r;
	if (*s)
		return -EINVAL;
	if (value > UINT32_MAX)
		return -ERANGE;
	*ret = value;
	return 0;
}

int parse_size(const char *s, uint64_t *ret)
{
	static const char units[] = "KMGT";
	uint64_t value, fraction = 0, scale = 1;
	unsigned shift = 0;
	const char *unit;
	int r;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		char *end;

		if (!isxdigit((unsigned char)s[2]))
			return -EINVAL;
		errno = 0;
		value = strtoull(s, &end, 16);
		if (errno)
			return -ERANGE;
		if (*end)
			return -EINVAL;
		*ret = value;
		return 0;
	}
	r = parse_u64(s, &s, &value);
	if (r < 0)
		return r;
	if (*s == '.') {
		if (!isdigit((unsigned char)*++s))
			return -EINVAL;
		for (; isdigit((unsigned char)*s); s++) {
			if (scale == 1000000)
				return -EINVAL;
			fraction = fraction * 10 + (*s - '0');
			scale *= 10;
		}
	}
	if (*s) {
		unit = strchr(units, toupper((unsigned char)*s));
		if (!unit)
			return -EINVAL;
		shift = 10 * (unit - units + 1);
		s++;
		if (strcmp(s, "iB") == 0 || strcmp(s, "B") == 0)
			s = "";
	}
	if (*s || (scale > 1 && !shift))
		return -EINVAL;
	if (value > UINT64_MAX >> shift)
		return -ERANGE;
	value <<= shift;
	/* fraction < 10^6 and shift <= 40: fits 64 bits. */
	fraction = (fraction << shift) / scale;
	if (value > UINT64_MAX - fraction)
		return -ERANGE;
	*ret = value + fraction;
	return 0;
}

int parse_cpu_wish(const char *s, uint32_t *ret_count, char **ret_list)
{
	_cleanup_free_ bool *set = NULL;
	_cleanup_free_ char *list = NULL;
	size_t size;
	uint32_t count;
	FILE *f;

	if (parse_u32(s, &count) == 0) {
		if (!count)
			return -EINVAL;
		*ret_count = count;
		*ret_list = NULL;
		return 0;
	}
	set = xrealloc(NULL, CPUS_MAX, sizeof(*set));
	memset(set, 0, CPUS_MAX * sizeof(*set));
	do {
		uint64_t first, last;
		int r;

		r = parse_u64(s, &s, &first);
		if (r < 0)
			return r;
		last = first;
		if (*s == '-') {
			r = parse_u64(s + 1, &s, &last);
			if (r < 0)
				return r;
		}
		if (last < first || (*s && *s != ','))
			return -EINVAL;
		if (last >= CPUS_MAX)
			return -ERANGE;
		for (; first <= last; first++)
			set[first] = true;
		if (*s == ',')
			s++;
	} while (*s);

	f = open_memstream(&list, &size);
	if (!f)
		return -ENOMEM;
	for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++) {
		uint32_t last = cpu;

		if (!set[cpu])
			continue;
		while (last + 1 < CPUS_MAX && set[last + 1])
			last++;
		fprintf(f, ftell(f) ? ",%" PRIu32 : "%" PRIu32, cpu);
		if (last > cpu)
			fprintf(f, "-%" PRIu32, last);
		cpu = last;
	}
	if (fclose(f))
		return -ENOMEM;
	*ret_count = 0;
	*ret_list = list;
	list = NULL;
	return 0;
}

int parse_node_wish(const char *s, int (*add)(void *userdata, uint32_t node, uint64_t bytes),
		    void *userdata)
{
	_cleanup_free_ char *copy = xstrdup(s);
	char *rest = copy, *part;

	while ((part = strsep(&rest, ","))) {
		char *size = strchr(part, ':');
		uint64_t bytes;
		uint32_t node;
		int r;

		if (!size)
			return -EINVAL;
		*size++ = '\0';
		r = parse_u32(part, &node);
		if (r == 0)
			r = parse_size(size, &bytes);
		if (r == 0)
			r = add(userdata, node, bytes);
		if (r < 0)
			return r;
	}
	return 0;
}

int parse_share(const char *s,
		int (*add)(void *userdata, const char *tag, const char *path, bool read_only),
		void *userdata)
{
	_cleanup_free_ char *copy = xstrdup(s);
	char *path = strchr(copy, ':'), *end;

	if (!path || path == copy || path[1] != '/')
		return -EINVAL;
	*path++ = '\0';
	/* A folder whose own name ends like that is to be given with a slash behind it. */
	end = path + strlen(path);
	if (end - path > 3 && strcmp(end - 3, ":ro") == 0) {
		end[-3] = '\0';
		return add(userdata, copy, path, true);
	}
	return add(userdata, copy, path, false);
}

int parse_timespan(const char *s, uint64_t *ret_usec)
{
	static const struct {
		const char *name;
		double usec;
	} units[] = {
		{ "", 1e6 },	 { "s", 1e6 },	{ "sec", 1e6 },	 { "ms", 1e3 },
		{ "min", 60e6 }, { "m", 60e6 }, { "h", 3600e6 },
	};
	double value;
	char *end;

	if (!isdigit((unsigned char)*s) || (s[0] == '0' && (s[1] | 0x20) == 'x'))
		return -EINVAL;
	errno = 0;
	value = strtod(s, &end);
	if (errno)
		return -ERANGE;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].name))
			continue;
		value *= units[i].usec;
		/* A year: whatever waits longer was not meant. */
		if (!isfinite(value) || value > 366 * 86400e6)
			return -ERANGE;
		if (value < 1)
			return -EINVAL;
		*ret_usec = value;
		return 0;
	}
	return -EINVAL;
}

int make_absolute(const char *path, char **ret)
{
	_cleanup_free_ char *directory = NULL;

	if (!*path)
		return -EINVAL;
	if (*path == '/') {
		*ret = xstrdup(path);
		return 0;
	}
	directory = getcwd(NULL, 0);
	if (!directory)
		return -errno;
	*ret = xasprintf("%s/%s", strcmp(directory, "/") ? directory : "", path);
	return 0;
}
