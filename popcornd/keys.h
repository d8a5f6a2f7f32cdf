/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * Files of keys (libconfig), read strictly: a table says which keys there are and who reads their
 * values, and whatever is not in the table is refused. Errors are POPCORN_ERROR_CONFIG and say
 * "file:line: key: what is wrong and what to write". For config.c and plan/policy.c.
 */

#include <hwloc.h>
#include <libconfig.h>
#include <popcorn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* Larger files are refused before they are parsed. */
#define KEYS_SIZE_MAX (1U << 20)

/* A value, or a group of them, and where it stands. */
struct key_value {
	const char *path; /* of the file */
	const char *name; /* as people know it, "primary.cpus"; "" the whole file */
	const config_setting_t *setting;
	struct popcorn_error *error;
};

struct key {
	const char *name; /* "primary.cpus": cpus in the group primary */
	/* Writes only what is right; what was there before is let go of. */
	int (*read)(const struct key_value *value, void *target);
	size_t offset; /* of the target in what keys_read() is given */
};

/*
 * Reads all keys of @group into @target. Bit n of *@seen (may be NULL) is set where keys[n] is in the
 * file; then there are no more than 64 keys.
 */
int keys_read(const struct key_value *group, const struct key *keys, size_t n_keys, void *target,
	      uint64_t *seen);

/* Sets the error and returns its errno. */
int key_bad(const struct key_value *value, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* -ENOENT without an error: there is no such file. A NUL follows the text. */
int keys_load(const char *path, char **ret_text, size_t *ret_size, struct popcorn_error *error);
/*
 * @ret is to be given to config_destroy(), of an error too. @text is ended by a NUL at @size.
 */
int keys_parse(const char *path, const char *text, size_t size, config_t *ret,
	       struct popcorn_error *error);

/* Readers of values; the comment says what their target is. */
int key_cpus(const struct key_value *value, void *target);   /* hwloc_bitmap_t */
int key_memory(const struct key_value *value, void *target); /* uint64_t, bytes */
int key_time(const struct key_value *value, void *target);   /* uint64_t, microseconds */
int key_string(const struct key_value *value, void *target); /* char * */
int key_path(const struct key_value *value, void *target);   /* char *, absolute */
int key_bool(const struct key_value *value, void *target);   /* bool */
int key_root(const struct key_value *value, void *target);   /* char *, as root_check() */
/* unsigned, NETWORK_*: a list as for network_parse_peers(), true or false */
int key_network(const struct key_value *value, void *target);
/* The index of one of @n texts. */
int key_choice(const struct key_value *value, const char *const *texts, size_t n, unsigned *ret);
/* A number from @min to @max; @what: "a kernel has", before them. */
int key_number(const struct key_value *value, const char *what, unsigned min, unsigned max,
	       unsigned *ret);
int key_set_string(const struct key_value *value, char **target, const char *s);

/* The one of @known (@n pointers, @stride bytes apart) that may have been meant, or NULL. */
const char *nearest_word(const char *word, const void *known, size_t n, size_t stride);

/* A name is 1..63 of [A-Za-z0-9_.-], the first one a letter or digit. POPCORN_ERROR_INVALID_NAME. */
int kernel_name_check(const char *name, struct popcorn_error *error);
bool name_char(char c, bool first);

/* Where the root of a kernel is; or an absolute folder, with ":ro" if nothing is to be written there. */
#define ROOT_INITRAMFS "initramfs"
#define ROOT_PRIMARY "primary"
#define ROOT_READ_ONLY ":ro"

/* INVALID_ARGUMENT: none of these. */
int root_check(const char *s, struct popcorn_error *error);

/* Physical addresses have 52 bits. */
#define MEMORY_MAX (UINT64_C(1) << 52)

/* What a kernel's memory has to be: not zero, and a multiple of what the driver takes. */
static inline bool memory_is_valid(uint64_t bytes)
{
	return bytes != 0 && bytes % POPCORN_MEMORY_ALIGN == 0;
}

/* "512M", "1G", "0x40000000", "1048576"; MEMORY_INVALID if malformed, zero or not n x 2 MiB. */
int parse_memory(const char *s, uint64_t *ret, struct popcorn_error *error);
/* "2", "2-3,7" (never empty): list of CPUs as in sysfs; INVALID_ARGUMENT. */
int parse_cpus(const char *s, hwloc_bitmap_t *ret, struct popcorn_error *error);
