// SPDX-License-Identifier: LGPL-2.1-or-later
#include <string.h>

#include "text.h"

size_t utf8_length(const char *bytes, size_t n)
{
	const unsigned char *s = (const unsigned char *)bytes;
	size_t length;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (length > n)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return length;
}

size_t text_safe_length(const char *s)
{
	size_t size = strlen(s), at = 0;

	while (at < size) {
		size_t n = utf8_length(s + at, size - at);
		unsigned char c = (unsigned char)s[at], next = (unsigned char)s[at + 1];

		/* U+0080 to U+009F: the control characters of Latin-1, which some terminals obey. */
		if (n == 0 || c < ' ' || c == 0x7f || (c == 0xc2 && next < 0xa0))
			break;
		at += n;
	}
	return at;
}

void text_make_safe(char *s)
{
	for (s += text_safe_length(s); *s; s += text_safe_length(s))
		*s = '?';
}
