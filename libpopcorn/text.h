/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Text from outside; linked statically like error.h, not part of libpopcorn's ABI. */

#include <stddef.h>

/* Length of the valid UTF-8 sequence at @bytes, or 0. RFC 3629: no surrogates, nothing too long. */
size_t utf8_length(const char *bytes, size_t n);
/*
 * Length of the longest beginning of @s that is UTF-8 without control characters: all of it, if it
 * may be shown and sent by D-Bus as it is.
 */
size_t text_safe_length(const char *s);
/* Each byte that is none of that becomes '?'. */
void text_make_safe(char *s);
