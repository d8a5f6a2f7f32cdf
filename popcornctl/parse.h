/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Values of options. 0, or -EINVAL (-ERANGE: too large) and nothing written. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "1048576", "0x100000", "512M", "1.5G": K, M, G, T are powers of 1024; "MiB" and "MB" mean M. */
int parse_size(const char *s, uint64_t *ret);
/*
 * A plain number is how many: *@ret_count, and *@ret_list NULL. Anything else is which ones:
 * "2-3", "2,5-7", "2-2" or "2,": a list in ascending order with ranges joined, malloc'ed.
 */
int parse_cpu_wish(const char *s, uint32_t *ret_count, char **ret_list);
/* "0:512M,1:1G": @add is called for each node, and what it returns below 0 is returned. */
int parse_node_wish(const char *s, int (*add)(void *userdata, uint32_t node, uint64_t bytes),
		    void *userdata);
/* "TAG:FOLDER", "TAG:FOLDER:ro", with an absolute path; what @add returns is returned. */
int parse_share(const char *s,
		int (*add)(void *userdata, const char *tag, const char *path, bool read_only),
		void *userdata);
/* Seconds, or a number with ms, s, min or h behind it. */
int parse_timespan(const char *s, uint64_t *ret_usec);
int parse_u32(const char *s, uint32_t *ret);
/* An absolute name for @path, malloc'ed. Nothing is looked up: popcornd says what is missing. */
int make_absolute(const char *path, char **ret);
