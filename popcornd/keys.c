// SPDX-License-Identifier: GPL-2.0-or-later
/* One walk for all files of keys, which refuses whatever is not in the table. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <popcorn.h>
#include <stdarg.h>
#include <string.h>

#include "keys.h"
#include "network-plan.h"
#include "text.h"
#include "util.h"

/* More than any file here has a use for; libconfig's own limit is thousands. */
#define DEPTH_MAX 8
/*
 * libconfig compares each name with all others of its group: a million bytes of names took 69 s.
 * No table has as many keys.
 */
#define NAMES_MAX 64

/* Far more than any kernel's NR_CPUS: a typing error must not make a bitmap of gigabytes. */
#define CPU_INDEX_MAX 65535
/* A day: more is a typing error. */
#define TIME_MAX_SEC 86400

/* What a file has in it may be anything; an error is shown on terminals and sent by D-Bus. */
static int make_safe(struct popcorn_error *error, int r)
{
	if (error)
		text_make_safe(error->text);
	return r;
}

int key_bad(const struct key_value *value, const char *format, ...)
{
	char text[768];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return make_safe(value->error,
			 popcorn_error_set(value->error, POPCORN_ERROR_CONFIG, "%s:%u: %s: %s",
					   value->path, config_setting_source_line(value->setting),
					   value->name, text));
}

/* Where a text stands that libconfig is to read. */
struct scanner {
	const char *path;
	const char *p, *end;
	unsigned line;
	struct popcorn_error *error;
};

__attribute__((format(printf, 3, 4))) static int bad_text(const struct scanner *scanner,
							  unsigned line, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return make_safe(scanner->error, popcorn_error_set(scanner->error, POPCORN_ERROR_CONFIG,
							   "%s:%u: %s", scanner->path, line, text));
}

static bool is_digit(char c, bool hex)
{
	return (c >= '0' && c <= '9') ||
	       (hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '*';
}

/* libconfig cuts off what does not fit: 4294967298 would be 2. */
static int scan_number(struct scanner *scanner)
{
	const char *start = scanner->p, *p = start;
	bool hex = false, negative = false;
	uint64_t value = 0, limit;

	if (*p == '+' || *p == '-')
		negative = *p++ == '-';
	if (p == start && p[0] == '0' && (p[1] == 'x' || p[1] == 'X') && is_digit(p[2], true)) {
		hex = true;
		p += 2;
	}
	for (; is_digit(*p, hex); p++) {
		unsigned digit = (unsigned)(*p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10);
		unsigned base = hex ? 16 : 10;

		value = value > (UINT64_MAX - digit) / base ? UINT64_MAX : value * base + digit;
	}
	if (!hex && (*p == '.' || *p == 'e' || *p == 'E')) {
		while (is_digit(*p, false) || *p == '.' || *p == 'e' || *p == 'E' || *p == '+' ||
		       *p == '-')
			p++;
		scanner->p = p;
		return 0;
	}
	limit = *p == 'L' ? INT64_MAX : INT32_MAX + (negative ? UINT64_C(1) : 0);
	if (value > limit)
		return bad_text(scanner, scanner->line,
				"%.*s is too large for a number; write it with L behind it, or as "
				"a text in quotes",
				(int)(p - start > 24 ? 24 : p - start), start);
	scanner->p = p > start ? p : p + 1;
	return 0;
}

static int scan_string(struct scanner *scanner)
{
	unsigned line = scanner->line;

	for (scanner->p++; scanner->p < scanner->end && *scanner->p != '"'; scanner->p++) {
		if (*scanner->p == '\n')
			scanner->line++;
		if (*scanner->p != '\\')
			continue;
		/* It would end the text there in silence. */
		if ((scanner->p[1] == 'x' || scanner->p[1] == 'X') && scanner->p[2] == '0' &&
		    scanner->p[3] == '0')
			return bad_text(scanner, scanner->line, "a text can't have \\x00 in it");
		if (scanner->p[1] == '\n')
			scanner->line++;
		if (++scanner->p >= scanner->end)
			break;
	}
	if (scanner->p >= scanner->end)
		return bad_text(scanner, line,
				"a text begins here that does not end; close it "
				"with \"");
	scanner->p++;
	return 0;
}

static int scan_comment(struct scanner *scanner)
{
	unsigned line = scanner->line;

	if (scanner->p[0] == '#' || scanner->p[1] == '/') {
		while (scanner->p < scanner->end && *scanner->p != '\n')
			scanner->p++;
		return 0;
	}
	for (scanner->p += 2; scanner->p < scanner->end; scanner->p++) {
		if (scanner->p[0] == '*' && scanner->p[1] == '/') {
			scanner->p += 2;
			return 0;
		}
		if (*scanner->p == '\n')
			scanner->line++;
	}
	return bad_text(scanner, line, "a comment begins here that does not end; close it with */");
}

/*
 * Whether a text may stand behind @last, the token before it, inside of @open. libconfig leaks one that
 * stands elsewhere. If already what is before it is wrong, libconfig does not come that far.
 */
static bool text_may_follow(char last, char open)
{
	return last == '"' || last == '=' || last == '(' || last == '[' ||
	       (last == ',' && (open == '(' || open == '['));
}

/*
 * Refuses what libconfig would read otherwise than it is written, or would take very long for, or leaks
 * memory over, or would do: @include reads other files, and ends the process if one is a folder.
 */
static int scan(struct scanner *scanner)
{
	unsigned names[DEPTH_MAX + 1] = { 0 }, depth = 0;
	/* What is open at each depth; the token before, where all that are no punctuation are alike. */
	char open[DEPTH_MAX + 1] = { '{' }, last = ';';
	int r = 0;

	while (scanner->p < scanner->end && r == 0) {
		char c = *scanner->p;

		if (c == '"') {
			if (!text_may_follow(last, open[depth]))
				return bad_text(scanner, scanner->line,
						"syntax error: no text can stand here; write key = "
						"\"…\"; and in lists a comma between texts");
			r = scan_string(scanner);
			last = c;
			continue;
		}
		if (c == '#' || (c == '/' && (scanner->p[1] == '/' || scanner->p[1] == '*'))) {
			r = scan_comment(scanner);
			continue;
		}
		if (is_letter(c)) {
			while (is_letter(*scanner->p) || is_digit(*scanner->p, false) ||
			       *scanner->p == '_' || *scanner->p == '-')
				scanner->p++;
			last = 'a';
			continue;
		}
		if (is_digit(c, false) || c == '+' || c == '-') {
			r = scan_number(scanner);
			last = 'a';
			continue;
		}
		scanner->p++;
		switch (c) {
		case '\n':
			scanner->line++;
			continue;
		case ' ':
		case '\t':
		case '\r':
		case '\f':
			continue;
		case '@':
			return bad_text(scanner, scanner->line,
					"@include is not for this file; write here what it is to "
					"include");
		case '{':
		case '(':
		case '[':
			if (++depth > DEPTH_MAX)
				return bad_text(scanner, scanner->line,
						"nested deeper than any key; close %c or leave it "
						"out",
						c);
			names[depth] = 0;
			open[depth] = c;
			break;
		case '}':
		case ')':
		case ']':
			/* One too many is a syntax error, which libconfig finds. */
			depth -= depth > 0;
			break;
		case ':':
		case '=':
			if (++names[depth] > NAMES_MAX)
				return bad_text(scanner, scanner->line,
						"more keys in one group than there are keys");
			c = '=';
			break;
		}
		last = c;
	}
	return r;
}

int keys_load(const char *path, char **ret_text, size_t *ret_size, struct popcorn_error *error)
{
	void *data;
	int r;

	/* Not config_read_file(): it would end the process when @path is a folder. */
	r = read_file(path, KEYS_SIZE_MAX, &data, ret_size);
	if (r == -ENOENT)
		return r;
	if (r == -ENOMEM)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	if (r < 0)
		return popcorn_error_set(error, POPCORN_ERROR_CONFIG, "%s: can't be read: %s", path,
					 strerror(-r));
	*ret_text = data;
	return 0;
}

int keys_parse(const char *path, const char *text, size_t size, config_t *ret,
	       struct popcorn_error *error)
{
	struct scanner scanner = { path, text, text + size, 1, error };
	int r;

	config_init(ret);
	if (size > KEYS_SIZE_MAX)
		return popcorn_error_set(error, POPCORN_ERROR_CONFIG,
					 "%s: has %zu bytes; more than %u are not read", path, size,
					 KEYS_SIZE_MAX);
	if (memchr(text, '\0', size))
		return popcorn_error_set(error, POPCORN_ERROR_CONFIG, "%s: is not a text file",
					 path);
	r = scan(&scanner);
	if (r < 0)
		return r;
	/* Should it see an @include that was not seen above: no file is below this folder. */
	config_set_include_dir(ret, "/dev/null");
	if (config_read_string(ret, text) != CONFIG_TRUE)
		return popcorn_error_set(error, POPCORN_ERROR_CONFIG, "%s:%d: %s", path,
					 config_error_line(ret), config_error_text(ret));
	return 0;
}

/* How many letters are to be put in, taken out, changed or swapped with the next; SIZE_MAX: many. */
static size_t word_distance(const char *a, const char *b)
{
	enum { MAX = 32 };
	size_t rows[3][MAX + 1], n = strlen(a), m = strlen(b);

	if (n > MAX || m > MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t *row = rows[i % 3];
		const size_t *last = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[n % 3][m];
}

const char *nearest_word(const char *word, const void *known, size_t n, size_t stride)
{
	const char *nearest = NULL;
	size_t best = strlen(word) / 3 + 1;

	/* Of "cpu", "per" is as near as "cpus" if a third may differ: the first letter has to fit. */
	for (size_t i = 0; i < n; i++) {
		const char *other = *(const char *const *)((const char *)known + i * stride);
		size_t distance = word_distance(word, other);

		if (distance < best ||
		    (distance == best && !nearest && distance <= 2 && word[0] == other[0])) {
			best = distance;
			nearest = other;
		}
	}
	return nearest;
}

/* How @name is known: as a key, or as the group that keys are in. */
static const struct key *find_key(const struct key *keys, size_t n_keys, const char *name,
				  bool *ret_group)
{
	size_t len = strlen(name);

	*ret_group = false;
	for (size_t i = 0; i < n_keys; i++) {
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
		if (strncmp(keys[i].name, name, len) == 0 && keys[i].name[len] == '.')
			*ret_group = true;
	}
	return NULL;
}

static int unknown_key(const struct key_value *value, const struct key *keys, size_t n_keys,
		       const char *name)
{
	const char *nearest = nearest_word(name, &keys[0].name, n_keys, sizeof(keys[0]));

	if (nearest)
		return key_bad(value, "unknown key; did you mean '%s'?", nearest);
	return key_bad(value, "unknown key; the manual page names all");
}

/* @prefix: the part of the keys' names that @group is. */
static int walk(const struct key_value *group, const char *prefix, const struct key *keys,
		size_t n_keys, void *target, uint64_t *seen)
{
	for (int i = 0; i < config_setting_length(group->setting); i++) {
		const config_setting_t *setting =
			config_setting_get_elem(group->setting, (unsigned)i);
		const char *own = config_setting_name(setting);
		struct key_value value = { group->path, own, setting, group->error };
		char name[128], shown[128];
		const struct key *key;
		bool is_group;
		int r;

		if (!own ||
		    (size_t)snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "",
				     own) >= sizeof(name) ||
		    (size_t)snprintf(shown, sizeof(shown), "%s%s%s", group->name,
				     *group->name ? "." : "", own) >= sizeof(shown)) {
			value.name = own ? own : group->name;
			return key_bad(&value, "unknown key");
		}
		value.name = shown;
		key = find_key(keys, n_keys, name, &is_group);
		if (key)
			r = key->read(&value, (char *)target + key->offset);
		else if (!is_group)
			r = unknown_key(&value, keys, n_keys, name);
		else if (!config_setting_is_group(setting))
			r = key_bad(&value, "is a group: write %s = { … };", own);
		else
			r = walk(&value, name, keys, n_keys, target, seen);
		if (r < 0)
			return r;
		if (key && seen)
			*seen |= UINT64_C(1) << (key - keys);
	}
	return 0;
}

int keys_read(const struct key_value *group, const struct key *keys, size_t n_keys, void *target,
	      uint64_t *seen)
{
	return walk(group, "", keys, n_keys, target, seen);
}

int key_set_string(const struct key_value *value, char **target, const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		return no_memory(value->error);
	free(*target);
	*target = copy;
	return 0;
}

int key_cpus(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);
	struct popcorn_error inner = { 0 };
	hwloc_bitmap_t set;

	if (!s)
		return key_bad(value, "give a list of CPUs, for example \"2-3,7\"");
	if (parse_cpus(s, &set, &inner) < 0)
		return key_bad(value, "%s", inner.text);
	hwloc_bitmap_free(*(hwloc_bitmap_t *)target);
	*(hwloc_bitmap_t *)target = set;
	return 0;
}

int key_memory(const struct key_value *value, void *target)
{
	struct popcorn_error inner = { 0 };
	char number[32];
	const char *s = number;

	switch (config_setting_type(value->setting)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		snprintf(number, sizeof(number), "%lld", config_setting_get_int64(value->setting));
		break;
	case CONFIG_TYPE_STRING:
		s = config_setting_get_string(value->setting);
		break;
	default:
		return key_bad(value, "give a size, for example \"512M\"");
	}
	if (parse_memory(s, target, &inner) < 0)
		return key_bad(value, "%s", inner.text);
	return 0;
}

int key_time(const struct key_value *value, void *target)
{
	double seconds;

	switch (config_setting_type(value->setting)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		seconds = (double)config_setting_get_int64(value->setting);
		break;
	case CONFIG_TYPE_FLOAT:
		seconds = config_setting_get_float(value->setting);
		break;
	default:
		return key_bad(value, "give a number of seconds");
	}
	/* The negation also catches what is not a number at all. */
	if (!(seconds >= 0.1 && seconds <= TIME_MAX_SEC))
		return key_bad(value, "give a number of seconds from 0.1 to %d", TIME_MAX_SEC);
	*(uint64_t *)target = (uint64_t)(seconds * (double)USEC_PER_SEC);
	return 0;
}

int key_string(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);

	if (!s)
		return key_bad(value, "give a text in quotes");
	return key_set_string(value, target, s);
}

int key_path(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);

	if (!s || s[0] != '/' || strlen(s) >= PATH_MAX)
		return key_bad(value, "give an absolute path in quotes");
	return key_set_string(value, target, s);
}

/* Names only, so that a path says where it leads, in a line of text too. */
static bool is_plain_path(const char *s)
{
	if (*s != '/' || strlen(s) >= PATH_MAX)
		return false;
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	for (const char *p = s; (p = strstr(p, "/..")); p++)
		if (p[3] == '\0' || p[3] == '/' || strcmp(p + 3, ROOT_READ_ONLY) == 0)
			return false;
	return true;
}

int root_check(const char *s, struct popcorn_error *error)
{
	size_t slashes = strspn(s, "/");

	if (strcmp(s, ROOT_INITRAMFS) == 0 || strcmp(s, ROOT_PRIMARY) == 0)
		return 0;
	if (!is_plain_path(s))
		return popcorn_error_set(
			error, POPCORN_ERROR_INVALID_ARGUMENT,
			"'%.128s' is no root; give \"primary\", \"initramfs\", or the "
			"absolute path of a folder",
			s);
	/* Written to by two kernels at once, none of which would know what it is that the other has changed. */
	if (!s[slashes] || strcmp(s + slashes, ROOT_READ_ONLY) == 0)
		return popcorn_error_set(
			error, POPCORN_ERROR_INVALID_ARGUMENT,
			"the root '%.128s' is the primary's own; \"primary\" gives it with "
			"memory above it for what is written",
			s);
	return 0;
}

int key_root(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);
	struct popcorn_error inner = { 0 };

	if (!s)
		return key_bad(value,
			       "give \"primary\", \"initramfs\", or the absolute path of a folder, "
			       "in quotes");
	if (root_check(s, &inner) < 0)
		return key_bad(value, "%s", inner.text);
	return key_set_string(value, target, s);
}

int key_bool(const struct key_value *value, void *target)
{
	if (config_setting_type(value->setting) != CONFIG_TYPE_BOOL)
		return key_bad(value, "give true or false");
	*(bool *)target = config_setting_get_bool(value->setting);
	return 0;
}

int key_network(const struct key_value *value, void *target)
{
	const char *s = config_setting_get_string(value->setting);
	struct popcorn_error inner = { 0 };

	if (config_setting_type(value->setting) == CONFIG_TYPE_BOOL) {
		*(unsigned *)target =
			config_setting_get_bool(value->setting) ? NETWORK_DEFAULT : NETWORK_NONE;
		return 0;
	}
	if (!s)
		return key_bad(value, "give true, false, or with whom it may speak: "
				      "\"primary,kernels\"");
	return network_parse_peers(s, target, &inner) < 0 ? key_bad(value, "%s", inner.text) : 0;
}

int key_choice(const struct key_value *value, const char *const *texts, size_t n, unsigned *ret)
{
	const char *s = config_setting_get_string(value->setting);
	char list[256] = "";
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		if (s && strcmp(s, texts[i]) == 0) {
			*ret = (unsigned)i;
			return 0;
		}
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s\"%s\"",
					i == 0	     ? ""
					: i == n - 1 ? " or "
						     : ", ",
					texts[i]);
	}
	if (s)
		return key_bad(value, "give %s, not '%.64s'", list, s);
	return key_bad(value, "give %s", list);
}

int key_number(const struct key_value *value, const char *what, unsigned min, unsigned max,
	       unsigned *ret)
{
	int type = config_setting_type(value->setting);
	long long number;

	if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
		return key_bad(value, "give a number: %s %u to %u", what, min, max);
	number = config_setting_get_int64(value->setting);
	if (number < (long long)min || number > (long long)max)
		return key_bad(value, "%s %u to %u, not %lld", what, min, max, number);
	*ret = (unsigned)number;
	return 0;
}

bool name_char(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (!first && (c == '_' || c == '.' || c == '-'));
}

int kernel_name_check(const char *name, struct popcorn_error *error)
{
	size_t len = strlen(name);
	bool ok = len > 0 && len < POPCORN_NAME_MAX;

	for (size_t i = 0; ok && i < len; i++)
		ok = name_char(name[i], i == 0);
	if (ok)
		return 0;
	/* Shown only as far as it is printable: it may be anything. */
	return popcorn_error_set(
		error, POPCORN_ERROR_INVALID_NAME,
		"a name of %zu characters was given that is not one for a kernel: 1 to %d of "
		"A-Z a-z 0-9 _ . -, beginning with a letter or digit",
		len, POPCORN_NAME_MAX - 1);
}

int parse_memory(const char *s, uint64_t *ret, struct popcorn_error *error)
{
	static const char units[] = "KMGT";
	unsigned long long value;
	const char *unit;
	unsigned shift = 0;
	char *end;

	errno = 0;
	value = strtoull(s, &end, 0);
	if (s[0] < '0' || s[0] > '9' || end == s || errno)
		goto malformed;
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
		if (strcmp(end, "iB") == 0)
			end += 2;
	}
	if (*end)
		goto malformed;
	if (value > MEMORY_MAX >> shift)
		return popcorn_error_set(
			error, POPCORN_ERROR_MEMORY_INVALID,
			"'%.64s' is more memory than any machine of this kind can have", s);
	value <<= shift;
	if (!memory_is_valid(value))
		return popcorn_error_set(
			error, POPCORN_ERROR_MEMORY_INVALID,
			"'%.64s' is not a multiple of 2 MiB, or is zero; give for example 512M", s);
	*ret = value;
	return 0;

malformed:
	return popcorn_error_set(
		error, POPCORN_ERROR_MEMORY_INVALID,
		"'%.64s' is not a size of memory; give a number with K, M, G or T behind it, for "
		"example 512M",
		s);
}

static bool parse_cpu(const char **s, unsigned *ret)
{
	const char *p = *s;
	unsigned value = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		value = value * 10 + (unsigned)(*p - '0');
		if (value > CPU_INDEX_MAX)
			return false;
	}
	*s = p;
	*ret = value;
	return true;
}

static void bitmap_freep(hwloc_bitmap_t *set)
{
	hwloc_bitmap_free(*set);
}

int parse_cpus(const char *s, hwloc_bitmap_t *ret, struct popcorn_error *error)
{
	_cleanup_(bitmap_freep) hwloc_bitmap_t set = hwloc_bitmap_alloc();
	const char *p = s;

	if (!set)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	for (;;) {
		unsigned first, last;

		if (!parse_cpu(&p, &first))
			goto malformed;
		last = first;
		if (*p == '-') {
			p++;
			if (!parse_cpu(&p, &last) || last < first)
				goto malformed;
		}
		if (hwloc_bitmap_set_range(set, first, (int)last) < 0)
			return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
		if (!*p)
			break;
		if (*p++ != ',')
			goto malformed;
	}
	*ret = steal_ptr(set);
	return 0;

malformed:
	return popcorn_error_set(
		error, POPCORN_ERROR_INVALID_ARGUMENT,
		"'%.64s' is not a list of CPUs; give numbers and ranges, for example 2-3,7", s);
}
