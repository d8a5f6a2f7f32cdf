// SPDX-License-Identifier: GPL-2.0-or-later
/* The parts of popcornctl that need no popcornd. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console.h"
#include "json.h"
#include "output.h"
#include "parse.h"
#include "run.h"
#include "util.h"

START_TEST(test_size)
{
	static const struct {
		const char *text;
		int r;
		uint64_t value;
	} cases[] = {
		{ "0", 0, 0 },
		{ "1048576", 0, 1048576 },
		{ "0x100000", 0, 1048576 },
		{ "512M", 0, 512ULL << 20 },
		{ "512m", 0, 512ULL << 20 },
		{ "512MiB", 0, 512ULL << 20 },
		{ "512MB", 0, 512ULL << 20 },
		{ "1.5G", 0, 1536ULL << 20 },
		{ "0.25K", 0, 256 },
		{ "2T", 0, 2ULL << 40 },
		{ "16777215T", 0, 16777215ULL << 40 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "16777216T", -ERANGE, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "0xfffffffffffffffff", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ " 1M", -EINVAL, 0 },
		{ "-1M", -EINVAL, 0 },
		{ "1X", -EINVAL, 0 },
		{ "1Mi", -EINVAL, 0 },
		{ "1.5", -EINVAL, 0 },
		{ "1.M", -EINVAL, 0 },
		{ "1.1234567G", -EINVAL, 0 },
		{ "0x", -EINVAL, 0 },
		{ "0x1M", -EINVAL, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t value = 77;

		ck_assert_msg(parse_size(cases[i].text, &value) == cases[i].r, "%s", cases[i].text);
		ck_assert_msg(value == (cases[i].r ? 77 : cases[i].value), "%s", cases[i].text);
	}
}
END_TEST

START_TEST(test_cpus)
{
	static const struct {
		const char *text;
		int r;
		uint32_t count;
		const char *list;
	} cases[] = {
		{ "1", 0, 1, NULL },
		{ "4096", 0, 4096, NULL },
		{ "2,", 0, 0, "2" },
		{ "2-2", 0, 0, "2" },
		{ "2-3", 0, 0, "2-3" },
		{ "7,2-3,3-5", 0, 0, "2-5,7" },
		{ "0-65535", 0, 0, "0-65535" },
		{ "0-65536", -ERANGE, 0, NULL },
		{ "0", -EINVAL, 0, NULL },
		{ "", -EINVAL, 0, NULL },
		{ ",", -EINVAL, 0, NULL },
		{ ",2", -EINVAL, 0, NULL },
		{ "2,,3", -EINVAL, 0, NULL },
		{ "2-", -EINVAL, 0, NULL },
		{ "3-2", -EINVAL, 0, NULL },
		{ "-3", -EINVAL, 0, NULL },
		{ "2-3-4", -EINVAL, 0, NULL },
		{ "=2", -EINVAL, 0, NULL },
		{ "2 3", -EINVAL, 0, NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t count = 77;
		char *list = NULL;

		ck_assert_msg(parse_cpu_wish(cases[i].text, &count, &list) == cases[i].r, "%s",
			      cases[i].text);
		ck_assert_uint_eq(count, cases[i].r ? 77 : cases[i].count);
		ck_assert_pstr_eq(list, cases[i].list);
		free(list);
	}
}
END_TEST

START_TEST(test_timespan)
{
	static const struct {
		const char *text;
		int r;
		uint64_t usec;
	} cases[] = {
		{ "1", 0, 1000000 },	     { "0.5", 0, 500000 },    { "500ms", 0, 500000 },
		{ "2min", 0, 120000000 },    { "2m", 0, 120000000 },  { "1h", 0, 3600000000 },
		{ "3s", 0, 3000000 },	     { "0", -EINVAL, 0 },     { "", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },	     { "nan", -EINVAL, 0 },   { "0x10", -EINVAL, 0 },
		{ "5y", -EINVAL, 0 },	     { "1e400", -ERANGE, 0 }, { "9999999h", -ERANGE, 0 },
		{ "0.0000001", -EINVAL, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t usec = 77;

		ck_assert_msg(parse_timespan(cases[i].text, &usec) == cases[i].r, "%s",
			      cases[i].text);
		ck_assert_uint_eq(usec, cases[i].r ? 77 : cases[i].usec);
	}
}
END_TEST

START_TEST(test_absolute)
{
	char *path = NULL, wanted[4096];

	ck_assert_int_eq(make_absolute("", &path), -EINVAL);
	ck_assert_int_eq(make_absolute("/a/b", &path), 0);
	ck_assert_str_eq(path, "/a/b");
	free(path);
	ck_assert_ptr_nonnull(getcwd(wanted, sizeof(wanted) - 8));
	strcat(wanted, "/x/y");
	ck_assert_int_eq(make_absolute("x/y", &path), 0);
	ck_assert_str_eq(path, wanted);
	free(path);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(make_absolute("x", &path), 0);
	ck_assert_str_eq(path, "/x");
	free(path);
}
END_TEST

static char *print_to_string(const struct json *json, enum json_style style)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	json_print(json, style, f);
	fclose(f);
	return text;
}

START_TEST(test_json)
{
	struct json *json = json_new_object(), *list = json_new_array(), *deep = json_new_array();
	char *text;

	json_append(list, json_new_u64(UINT64_MAX));
	json_append(list, json_new_i64(INT64_MIN));
	json_append(list, json_new_double(NAN));
	json_append(list, json_new_bool(true));
	json_set(json, "list", list);
	json_append(deep, json_new_object());
	json_append(deep, json_new_array());
	json_set(json, "deep", deep);
	json_set(json, "a\"\\", json_new_string("tab\t nl\n cr\r esc\033 del\177 ü"));
	/* Cut, too long, surrogate, above Unicode; a NUL. */
	json_set(json, "bytes",
		 json_new_bytes("a\xc3|\xc0\x80|\xed\xa0\x80|\xf4\x90\x80\x80|\0z", 17));
	text = print_to_string(json, JSON_SHORT);
	ck_assert_str_eq(text, "{\"list\":[18446744073709551615,-9223372036854775808,null,true],"
			       "\"deep\":[{},[]],"
			       "\"a\\\"\\\\\":\"tab\\t nl\\n cr\\r esc\\u001b del\\u007f ü\","
			       "\"bytes\":\"a\ufffd|\ufffd\ufffd|\ufffd\ufffd\ufffd|"
			       "\ufffd\ufffd\ufffd\ufffd|z\"}\n");
	free(text);
	json_free(json);

	json = json_append(
		json_new_array(),
		json_set(json_new_object(), "n", json_append(json_new_array(), json_new_null())));
	text = print_to_string(json, JSON_PRETTY);
	ck_assert_str_eq(text, "[\n  {\n    \"n\": [null]\n  }\n]\n");
	free(text);
	json_free(json);
	json = json_new_array();
	text = print_to_string(json, JSON_PRETTY);
	ck_assert_str_eq(text, "[]\n");
	free(text);
	json_free(json);
}
END_TEST

START_TEST(test_format)
{
	static const struct {
		uint64_t value;
		const char *size, *span;
	} cases[] = {
		{ 0, "0B", "0 us" },
		{ 1023, "1023B", "1 ms" },
		{ 1024, "1K", "1 ms" },
		{ 1536ULL << 20, "1.5G", "26min 50s" },
		{ 384ULL << 20, "384M", "6min 42s" },
		{ 2047, "1.9K", "2 ms" },
		{ UINT64_MAX, "15.9E", "213503982d 8h" },
		{ 59999999, "57.2M", "59 s" },
		{ 3725000000, "3.4G", "1h 2min" },
		{ 1500000, "1.4M", "1.5 s" },
	};
	struct json *cpus = json_new_array();
	char *text;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		text = format_size(cases[i].value);
		ck_assert_str_eq(text, cases[i].size);
		free(text);
		text = format_span(cases[i].value);
		ck_assert_str_eq(text, cases[i].span);
		free(text);
	}
	text = format_cpus(cpus);
	ck_assert_str_eq(text, "");
	free(text);
	for (uint64_t i = 0; i < 6; i++)
		json_append(cpus, json_new_u64((const uint64_t[]){ 5, 2, 3, 4, 9, 8 }[i]));
	text = format_cpus(cpus);
	ck_assert_str_eq(text, "5,2-4,9,8");
	free(text);
	json_free(cpus);
}
END_TEST

static char *safe(const char *s, size_t n)
{
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	print_safe(s, n, f);
	fclose(f);
	return text;
}

START_TEST(test_safe)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "plain\ttext\n", "plain\ttext\n" },
		{ "a\033[1;31mb\033[0mc", "abc" },
		{ "a\033]0;title\ab", "ab" },
		{ "a\033]0;title\033\\b", "ab" },
		{ "a\033", "a?" },
		{ "a\033[", "a" },
		{ "a\033[1;2", "a" },
		{ "a\033]0;never ended", "a" },
		{ "a\033cb", "a?cb" },
		{ "a\r\nb\rc\r", "a\nb\nc" },
		{ "a\b\177\001", "a???" },
		{ "\xc2\x9b"
		  "31m",
		  "?31m" },
		{ "\x9b"
		  "31m",
		  "\ufffd31m" },
		{ "gr\xc3\xbc\xc3\x9f", "grüß" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = safe(cases[i].in, strlen(cases[i].in));

		ck_assert_str_eq(text, cases[i].out);
		free(text);
	}
}
END_TEST

/* Fed in pieces of every size the result is the same. */
START_TEST(test_tail)
{
	static const char text[] = "one\ntwo\n\nfour\nfive";
	static const struct {
		size_t max;
		const char *wanted;
	} cases[] = {
		{ 0, "" },   { 1, "five" },	 { 2, "four\nfive" }, { 3, "\nfour\nfive" },
		{ 5, text }, { SIZE_MAX, text },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t piece = 1; piece <= sizeof(text) - 1; piece++) {
			struct tail tail = { .max = cases[i].max };

			for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
				size_t rest = sizeof(text) - 1 - at;

				tail_feed(&tail, text + at, rest < piece ? rest : piece);
			}
			ck_assert_uint_eq(tail.n, strlen(cases[i].wanted));
			ck_assert_int_eq(
				memcmp(tail.text ? tail.text : "", cases[i].wanted, tail.n), 0);
			tail_done(&tail);
		}
	}
}
END_TEST

START_TEST(test_read_available)
{
	struct tail tail = { .max = 2 };
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(read_available(fds[0], &tail), 0);
	ck_assert_int_eq(write(fds[1], "a\nb\nc\n", 6), 6);
	ck_assert_int_eq(read_available(fds[0], &tail), 0);
	ck_assert_int_eq(tail.n, 4);
	ck_assert_int_eq(memcmp(tail.text, "b\nc\n", 4), 0);
	close(fds[1]);
	ck_assert_int_eq(read_available(fds[0], &tail), 1);
	close(fds[0]);
	ck_assert_int_eq(read_available(fds[0], &tail), -EBADF);
	tail_done(&tail);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("popcornctl");
	TCase *tests = tcase_create("all");

	setlocale(LC_CTYPE, "C.UTF-8");
	tcase_add_test(tests, test_size);
	tcase_add_test(tests, test_cpus);
	tcase_add_test(tests, test_timespan);
	tcase_add_test(tests, test_absolute);
	tcase_add_test(tests, test_json);
	tcase_add_test(tests, test_format);
	tcase_add_test(tests, test_safe);
	tcase_add_test(tests, test_tail);
	tcase_add_test(tests, test_read_available);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
