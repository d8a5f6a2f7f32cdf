/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * /run/popcorn/hosts: lines "ADDRESS NAME", IPv4. Whatever is not such a line is passed over. Nothing
 * is allocated: this runs in every program that looks up a name.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

/* 512 kernels with the longest names and addresses have 40 KiB. */
#define HOSTS_SIZE_MAX 65536
/* With the NUL; as POPCORN_NAME_MAX. */
#define HOST_NAME_SIZE 64
/* What may stand behind a name that is asked for. */
#define HOST_DOMAIN ".popcorn"

struct host {
	struct in_addr address;
	char name[HOST_NAME_SIZE];
};

/* The next host at *@position of @text, which is moved behind it; false: there is none. */
bool hosts_next(const char *text, size_t size, size_t *position, struct host *ret);
/* The first one of this name, in small letters or large, with or without HOST_DOMAIN. */
bool hosts_find_name(const char *text, size_t size, const char *name, struct host *ret);
bool hosts_find_address(const char *text, size_t size, struct in_addr address, struct host *ret);
