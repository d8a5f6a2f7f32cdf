// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libnss_popcorn: its functions, on a file of the test's, with every size of the caller's buffer;
 * and through glibc, which finds the module by LD_LIBRARY_PATH.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <nss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hosts.h"
#include "run.h"

#define GOOD "10.77.0.1 primary\n10.77.0.2 db0\n10.77.1.44 Web.1\n"

static void put(const char *text)
{
	FILE *f;

	unlink(POPCORN_HOSTS);
	if (!text)
		return;
	f = fopen(POPCORN_HOSTS, "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

static void is(const char *text, const char *name, const char *address)
{
	struct host host;
	size_t size = strlen(text);

	if (!address) {
		ck_assert_msg(!hosts_find_name(text, size, name, &host), "'%s'", name);
		return;
	}
	ck_assert_msg(hosts_find_name(text, size, name, &host), "'%s'", name);
	ck_assert_str_eq(inet_ntoa(host.address), address);
}

START_TEST(test_parser)
{
	char longest[HOST_NAME_SIZE], line[256];

	is(GOOD, "db0", "10.77.0.2");
	is(GOOD, "DB0", "10.77.0.2");
	is(GOOD, "db0.popcorn", "10.77.0.2");
	is(GOOD, "web.1.POPCORN", "10.77.1.44");
	is(GOOD, "web.1", "10.77.1.44");
	is(GOOD, "db", NULL);
	is(GOOD, "db00", NULL);
	is(GOOD, "", NULL);
	is(GOOD, ".popcorn", NULL);
	is(GOOD, "popcorn", NULL);
	is(GOOD, "db0.popcorn.popcorn", NULL);
	is("", "db0", NULL);
	/* The last line was not written to its end. */
	is("10.77.0.1 primary\n10.77.0.2 db0", "db0", NULL);
	/* Of two the first one. */
	is("10.77.0.1 a\n10.77.0.2 a\n", "a", "10.77.0.1");
	/* Other lines do no harm. */
	is("\n \n# x\n10.77.0.2\n10.77.0.256 a\n10.77.0.3  a\n10.77.0.4 a b\n10.77.0.5 a\n", "a",
	   "10.77.0.5");
	is("fe80::1 a\n10.77.0.5\ta\n10.77.0.5 -a\n", "a", NULL);

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	snprintf(line, sizeof(line), "1.2.3.4 %sx\n1.2.3.5 %s\n", longest, longest);
	is(line, longest, "1.2.3.5");
	snprintf(line, sizeof(line), "1.2.3.4 %sx\n", longest);
	is(line, line + strlen("1.2.3.4 "), NULL);

	struct host host;
	struct in_addr address;

	inet_pton(AF_INET, "10.77.1.44", &address);
	ck_assert(hosts_find_address(GOOD, strlen(GOOD), address, &host));
	ck_assert_str_eq(host.name, "Web.1");
	inet_pton(AF_INET, "10.77.1.45", &address);
	ck_assert(!hosts_find_address(GOOD, strlen(GOOD), address, &host));
}
END_TEST

typedef enum nss_status by_name2(const char *name, int family, struct hostent *result, char *buffer,
				 size_t size, int *errnop, int *h_errnop);
typedef enum nss_status by_name4(const char *name, struct gaih_addrtuple **pat, char *buffer,
				 size_t size, int *errnop, int *h_errnop, int32_t *ttlp);
typedef enum nss_status by_address(const void *address, socklen_t length, int family,
				   struct hostent *result, char *buffer, size_t size, int *errnop,
				   int *h_errnop);

static void *module;

static void *function(const char *name)
{
	void *f = dlsym(module, name);

	ck_assert_msg(f != NULL, "%s", dlerror());
	return f;
}

static void load(void)
{
	module = dlopen("libnss_popcorn.so.2", RTLD_NOW);
	ck_assert_msg(module != NULL, "%s", dlerror());
}

static void unload(void)
{
	unlink(POPCORN_HOSTS);
	dlclose(module);
}

START_TEST(test_buffers)
{
	by_name2 *name2 = function("_nss_popcorn_gethostbyname2_r");
	by_name4 *name4 = function("_nss_popcorn_gethostbyname4_r");
	struct gaih_addrtuple *tuple, given;
	struct hostent result;
	int e, h, fits2 = 0, fits4 = 0;
	int32_t ttl = -1;

	put(GOOD);
	/* Each in memory of just its size, at a bad place: a sanitizer or the heap sees more than that. */
	for (size_t size = 0; size < 128; size++) {
		char *memory = malloc(size + 1), *buffer = memory + 1;
		enum nss_status status;

		status = name2("db0", AF_INET, &result, buffer, size, &e, &h);
		if (status == NSS_STATUS_SUCCESS) {
			fits2++;
			ck_assert_str_eq(result.h_name, "db0");
			ck_assert_int_eq(result.h_addrtype, AF_INET);
			ck_assert_int_eq(result.h_length, 4);
			ck_assert_ptr_null(result.h_aliases[0]);
			ck_assert_ptr_null(result.h_addr_list[1]);
			ck_assert_int_eq(memcmp(result.h_addr_list[0], "\x0a\x4d\x00\x02", 4), 0);
		} else {
			ck_assert_int_eq(fits2, 0);
			ck_assert_int_eq(status, NSS_STATUS_TRYAGAIN);
			ck_assert_int_eq(e, ERANGE);
			ck_assert_int_eq(h, NETDB_INTERNAL);
		}
		tuple = NULL;
		status = name4("db0", &tuple, buffer, size, &e, &h, &ttl);
		if (status == NSS_STATUS_SUCCESS) {
			fits4++;
			ck_assert_str_eq(tuple->name, "db0");
			ck_assert_ptr_null(tuple->next);
			ck_assert_int_eq(tuple->family, AF_INET);
			ck_assert_int_eq(memcmp(tuple->addr, "\x0a\x4d\x00\x02", 4), 0);
		} else {
			ck_assert_int_eq(fits4, 0);
			ck_assert_int_eq(e, ERANGE);
		}
		free(memory);
	}
	ck_assert_int_gt(fits2, 0);
	ck_assert_int_gt(fits4, 0);

	/* glibc gives the first tuple itself. */
	char buffer[8];

	tuple = &given;
	ck_assert_int_eq(name4("db0", &tuple, buffer, sizeof(buffer), &e, &h, NULL),
			 NSS_STATUS_SUCCESS);
	ck_assert_ptr_eq(tuple, &given);
	ck_assert_str_eq(given.name, "db0");
}
END_TEST

START_TEST(test_answers)
{
	by_name2 *name2 = function("_nss_popcorn_gethostbyname2_r");
	by_address *by = function("_nss_popcorn_gethostbyaddr_r");
	struct hostent result;
	char buffer[256];
	int e, h;

	put(GOOD);
	ck_assert_int_eq(
		by("\x0a\x4d\x01\x2c", 4, AF_INET, &result, buffer, sizeof(buffer), &e, &h),
		NSS_STATUS_SUCCESS);
	ck_assert_str_eq(result.h_name, "Web.1");
	ck_assert_int_eq(
		by("\x0a\x4d\x01\x2d", 4, AF_INET, &result, buffer, sizeof(buffer), &e, &h),
		NSS_STATUS_NOTFOUND);
	ck_assert_int_eq(h, HOST_NOT_FOUND);
	ck_assert_int_eq(by(buffer, 16, AF_INET6, &result, buffer, sizeof(buffer), &e, &h),
			 NSS_STATUS_NOTFOUND);
	ck_assert_int_eq(name2("db0", AF_INET6, &result, buffer, sizeof(buffer), &e, &h),
			 NSS_STATUS_NOTFOUND);
	ck_assert_int_eq(h, NO_DATA);
	ck_assert_int_eq(name2("nobody", AF_INET, &result, buffer, sizeof(buffer), &e, &h),
			 NSS_STATUS_NOTFOUND);

	/* No file, none of ours, one that would never end. */
	put(NULL);
	ck_assert_int_eq(name2("db0", AF_INET, &result, buffer, sizeof(buffer), &e, &h),
			 NSS_STATUS_UNAVAIL);
	ck_assert_int_eq(mkfifo(POPCORN_HOSTS, 0600), 0);
	ck_assert_int_eq(name2("db0", AF_INET, &result, buffer, sizeof(buffer), &e, &h),
			 NSS_STATUS_UNAVAIL);
	put(NULL);
	ck_assert_int_eq(mkdir(POPCORN_HOSTS, 0700), 0);
	ck_assert_int_eq(name2("db0", AF_INET, &result, buffer, sizeof(buffer), &e, &h),
			 NSS_STATUS_UNAVAIL);
	ck_assert_int_eq(rmdir(POPCORN_HOSTS), 0);

	/* One that is too long: what is beyond is not there. */
	put(GOOD);
	ck_assert_int_eq(truncate(POPCORN_HOSTS, 1 << 20), 0);
	ck_assert_int_eq(name2("db0", AF_INET, &result, buffer, sizeof(buffer), &e, &h),
			 NSS_STATUS_SUCCESS);
	ck_assert_int_eq(name2("nobody", AF_INET, &result, buffer, sizeof(buffer), &e, &h),
			 NSS_STATUS_NOTFOUND);
}
END_TEST

START_TEST(test_glibc)
{
	extern int __nss_configure_lookup(const char *database, const char *services);
	struct addrinfo *info = NULL,
			hints = { .ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM };
	struct sockaddr_in address = { .sin_family = AF_INET };
	static const int families[] = { AF_UNSPEC, AF_INET };
	const struct hostent *host;
	char name[128];

	put(GOOD);
	ck_assert_int_eq(__nss_configure_lookup("hosts", "popcorn"), 0);
	for (size_t i = 0; i < 2; i++) {
		hints.ai_family = families[i];
		ck_assert_int_eq(getaddrinfo("web.1.popcorn", NULL, &hints, &info), 0);
		ck_assert_int_eq(info->ai_family, AF_INET);
		ck_assert_str_eq(inet_ntoa(((struct sockaddr_in *)info->ai_addr)->sin_addr),
				 "10.77.1.44");
		ck_assert_str_eq(info->ai_canonname, "Web.1");
		ck_assert_ptr_null(info->ai_next);
		freeaddrinfo(info);
	}
	ck_assert_int_eq(getaddrinfo("nobody", NULL, &hints, &info), EAI_NONAME);
	host = gethostbyname("db0");
	ck_assert_ptr_nonnull(host);
	ck_assert_int_eq(memcmp(host->h_addr_list[0], "\x0a\x4d\x00\x02", 4), 0);
	inet_pton(AF_INET, "10.77.0.2", &address.sin_addr);
	ck_assert_int_eq(getnameinfo((struct sockaddr *)&address, sizeof(address), name,
				     sizeof(name), NULL, 0, NI_NAMEREQD),
			 0);
	ck_assert_str_eq(name, "db0");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("nss");
	TCase *parser = tcase_create("parser"), *whole = tcase_create("module");

	tcase_add_test(parser, test_parser);
	suite_add_tcase(suite, parser);
	tcase_add_checked_fixture(whole, load, unload);
	tcase_add_test(whole, test_buffers);
	tcase_add_test(whole, test_answers);
	tcase_add_test(whole, test_glibc);
	suite_add_tcase(suite, whole);
	return run_suite(suite);
}
