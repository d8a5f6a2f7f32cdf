// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libnss_popcorn.so.2: names of kernels for every program ("hosts: files popcorn dns" in
 * /etc/nsswitch.conf), from the file that popcornd writes. It has no state: each look-up reads the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <nss.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hosts.h"

/* A test has its own. */
#ifndef POPCORN_HOSTS
#define POPCORN_HOSTS "/run/popcorn/hosts"
#endif

#define PUBLIC __attribute__((visibility("default")))

PUBLIC enum nss_status _nss_popcorn_gethostbyname4_r(const char *name, struct gaih_addrtuple **pat,
						     char *buffer, size_t size, int *errnop,
						     int *h_errnop, int32_t *ttlp);
PUBLIC enum nss_status _nss_popcorn_gethostbyname3_r(const char *name, int family,
						     struct hostent *result, char *buffer,
						     size_t size, int *errnop, int *h_errnop,
						     int32_t *ttlp, char **canonp);
PUBLIC enum nss_status _nss_popcorn_gethostbyname2_r(const char *name, int family,
						     struct hostent *result, char *buffer,
						     size_t size, int *errnop, int *h_errnop);
PUBLIC enum nss_status _nss_popcorn_gethostbyname_r(const char *name, struct hostent *result,
						    char *buffer, size_t size, int *errnop,
						    int *h_errnop);
PUBLIC enum nss_status _nss_popcorn_gethostbyaddr_r(const void *address, socklen_t length,
						    int family, struct hostent *result,
						    char *buffer, size_t size, int *errnop,
						    int *h_errnop);

static enum nss_status fail(enum nss_status status, int errno_, int h_errno_, int *errnop,
			    int *h_errnop)
{
	*errnop = errno_;
	*h_errnop = h_errno_;
	return status;
}

/* Malloc'ed; NULL with errno. Without popcornd there is no file, and no kernel has a name. */
static char *read_hosts(size_t *ret_size)
{
	int fd = open(POPCORN_HOSTS, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), saved;
	char *text = NULL;
	struct stat st;
	size_t size = 0;
	ssize_t n = -1;

	if (fd < 0)
		return NULL;
	errno = EINVAL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		text = malloc(HOSTS_SIZE_MAX);
	while (text && size < HOSTS_SIZE_MAX) {
		n = read(fd, text + size, HOSTS_SIZE_MAX - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		size += (size_t)n;
	}
	saved = errno;
	close(fd);
	errno = saved;
	/* One that is larger is not popcornd's: the end of it is not looked at. */
	if (n < 0) {
		free(text);
		return NULL;
	}
	*ret_size = size;
	return text;
}

static enum nss_status find(const char *name, const struct in_addr *address, struct host *ret,
			    int *errnop, int *h_errnop)
{
	size_t size;
	char *text = read_hosts(&size);
	bool found;

	if (!text && errno == ENOMEM)
		return fail(NSS_STATUS_TRYAGAIN, ENOMEM, NETDB_INTERNAL, errnop, h_errnop);
	if (!text)
		return fail(NSS_STATUS_UNAVAIL, errno, NO_RECOVERY, errnop, h_errnop);
	found = name ? hosts_find_name(text, size, name, ret)
		     : hosts_find_address(text, size, *address, ret);
	free(text);
	if (!found)
		return fail(NSS_STATUS_NOTFOUND, ENOENT, HOST_NOT_FOUND, errnop, h_errnop);
	return NSS_STATUS_SUCCESS;
}

/* A piece of the caller's buffer, or NULL. */
static void *take(char **buffer, size_t *left, size_t align, size_t size)
{
	size_t skip = (align - (uintptr_t)*buffer % align) % align;
	char *piece = *buffer + skip;

	if (*left < skip || *left - skip < size)
		return NULL;
	*buffer += skip + size;
	*left -= skip + size;
	return piece;
}

static enum nss_status too_small(int *errnop, int *h_errnop)
{
	return fail(NSS_STATUS_TRYAGAIN, ERANGE, NETDB_INTERNAL, errnop, h_errnop);
}

static enum nss_status fill(const struct host *host, struct hostent *result, char *buffer,
			    size_t size, int *errnop, int *h_errnop)
{
	/* One address and its end, no aliases. */
	char **list = take(&buffer, &size, _Alignof(char *), 3 * sizeof(*list));
	struct in_addr *address = take(&buffer, &size, _Alignof(struct in_addr), sizeof(*address));
	char *name = take(&buffer, &size, 1, strlen(host->name) + 1);

	if (!list || !address || !name)
		return too_small(errnop, h_errnop);
	*address = host->address;
	strcpy(name, host->name);
	list[0] = (char *)address;
	list[1] = NULL;
	list[2] = NULL;
	*result = (struct hostent){
		.h_name = name,
		.h_aliases = &list[2],
		.h_addrtype = AF_INET,
		.h_length = sizeof(*address),
		.h_addr_list = list,
	};
	*h_errnop = NETDB_SUCCESS;
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_popcorn_gethostbyname4_r(const char *name, struct gaih_addrtuple **pat,
					      char *buffer, size_t size, int *errnop, int *h_errnop,
					      int32_t *ttlp)
{
	struct gaih_addrtuple *tuple;
	enum nss_status status;
	struct host host;
	char *canonical;

	status = find(name, NULL, &host, errnop, h_errnop);
	if (status != NSS_STATUS_SUCCESS)
		return status;
	/* The caller may have given the first one. */
	tuple = *pat ? *pat : take(&buffer, &size, _Alignof(struct gaih_addrtuple), sizeof(*tuple));
	canonical = take(&buffer, &size, 1, strlen(host.name) + 1);
	if (!tuple || !canonical)
		return too_small(errnop, h_errnop);
	strcpy(canonical, host.name);
	*tuple = (struct gaih_addrtuple){ .name = canonical, .family = AF_INET };
	memcpy(tuple->addr, &host.address, sizeof(host.address));
	*pat = tuple;
	if (ttlp)
		*ttlp = 0;
	*h_errnop = NETDB_SUCCESS;
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_popcorn_gethostbyname3_r(const char *name, int family, struct hostent *result,
					      char *buffer, size_t size, int *errnop, int *h_errnop,
					      int32_t *ttlp, char **canonp)
{
	enum nss_status status;
	struct host host;

	if (family != AF_INET && family != AF_UNSPEC)
		return fail(NSS_STATUS_NOTFOUND, ENOENT, NO_DATA, errnop, h_errnop);
	status = find(name, NULL, &host, errnop, h_errnop);
	if (status == NSS_STATUS_SUCCESS)
		status = fill(&host, result, buffer, size, errnop, h_errnop);
	if (status != NSS_STATUS_SUCCESS)
		return status;
	if (ttlp)
		*ttlp = 0;
	if (canonp)
		*canonp = result->h_name;
	return status;
}

enum nss_status _nss_popcorn_gethostbyname2_r(const char *name, int family, struct hostent *result,
					      char *buffer, size_t size, int *errnop, int *h_errnop)
{
	return _nss_popcorn_gethostbyname3_r(name, family, result, buffer, size, errnop, h_errnop,
					     NULL, NULL);
}

enum nss_status _nss_popcorn_gethostbyname_r(const char *name, struct hostent *result, char *buffer,
					     size_t size, int *errnop, int *h_errnop)
{
	return _nss_popcorn_gethostbyname3_r(name, AF_INET, result, buffer, size, errnop, h_errnop,
					     NULL, NULL);
}

enum nss_status _nss_popcorn_gethostbyaddr_r(const void *address, socklen_t length, int family,
					     struct hostent *result, char *buffer, size_t size,
					     int *errnop, int *h_errnop)
{
	enum nss_status status;
	struct in_addr in;
	struct host host;

	if (family != AF_INET || length != sizeof(in))
		return fail(NSS_STATUS_NOTFOUND, ENOENT, HOST_NOT_FOUND, errnop, h_errnop);
	memcpy(&in, address, sizeof(in));
	status = find(NULL, &in, &host, errnop, h_errnop);
	return status == NSS_STATUS_SUCCESS ? fill(&host, result, buffer, size, errnop, h_errnop)
					    : status;
}
