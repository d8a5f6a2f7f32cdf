// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "leader.h"

size_t clean(struct cleaner *cleaner, const char *in, size_t n, char *out)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)in[i];

		switch (cleaner->state) {
		case TEXT:
			if (c == 0x1b)
				cleaner->state = ESCAPE;
			else if ((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t')
				out[used++] = (char)c;
			break;
		case ESCAPE:
			if (c == '[')
				cleaner->state = CONTROL_SEQUENCE;
			else if (c == ']' || c == 'P' || c == '_' || c == '^' || c == 'X')
				cleaner->state = STRING;
			else if (c < 0x20 || c > 0x2f) /* else intermediate bytes: "ESC ( B" */
				cleaner->state = TEXT;
			break;
		case CONTROL_SEQUENCE:
			if (c >= 0x40 && c <= 0x7e)
				cleaner->state = TEXT;
			break;
		case STRING:
			if (c == 0x1b)
				cleaner->state = STRING_ESCAPE;
			else if (c == 0x07)
				cleaner->state = TEXT;
			break;
		case STRING_ESCAPE:
			cleaner->state = c == '\\' ? TEXT : STRING;
			break;
		}
		/* Half a sequence must not swallow what comes after a crash or a reboot. */
		if (c == '\n' && cleaner->state != TEXT) {
			cleaner->state = TEXT;
			out[used++] = '\n';
		}
	}
	return used;
}

void printed_add(struct printed *printed, const char *bytes, size_t n)
{
	uint32_t from = printed->current & 1, to = !from;
	uint32_t kept = printed->slots[from].size;

	if (kept > PRINTED_MAX)
		kept = 0;
	if (n > PRINTED_MAX) {
		bytes += n - PRINTED_MAX;
		n = PRINTED_MAX;
	}
	if (kept + n > PRINTED_MAX)
		kept = PRINTED_MAX - (uint32_t)n;
	memcpy(printed->slots[to].bytes,
	       printed->slots[from].bytes + printed->slots[from].size - kept, kept);
	memcpy(printed->slots[to].bytes + kept, bytes, n);
	printed->slots[to].size = kept + (uint32_t)n;
	/* Last: whoever is killed before it leaves the other slot, which is whole. */
	__atomic_store_n(&printed->current, to, __ATOMIC_RELEASE);
}

size_t printed_find(const struct printed *printed, const char *bytes, size_t n)
{
	uint32_t size = printed->slots[printed->current & 1].size;
	const char *end = printed->slots[printed->current & 1].bytes;

	if (size == 0 || size > PRINTED_MAX || n < size)
		return 0;
	/* All that was ever printed: it can only be the beginning. */
	if (size < PRINTED_MAX)
		return memcmp(bytes, end, size) == 0 ? size : 0;
	/* The last place: of two equal ends, printing too little is worse only if it repeats. */
	for (size_t at = n - size + 1; at-- > 0;)
		if (bytes[at] == end[0] && memcmp(bytes + at, end, size) == 0)
			return at + size;
	return 0;
}
