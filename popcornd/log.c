// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "log.h"

#define FIELDS_MAX 9

void log_send(int priority, const struct log_fields *fields, const char *format, ...)
{
	static const struct log_fields none;
	char message[1536], level[16], buf[FIELDS_MAX][128];
	struct iovec iov[FIELDS_MAX];
	va_list ap;
	int n = 0, len;

	if (!fields)
		fields = &none;
	len = snprintf(message, sizeof(message), "MESSAGE=");
	va_start(ap, format);
	vsnprintf(message + len, sizeof(message) - len, format, ap);
	va_end(ap);

	/* Started by hand or by a test: who reads stderr wants to see it too. */
	if (!getenv("JOURNAL_STREAM"))
		fprintf(stderr, "%s\n", message + len);

	iov[n++] = (struct iovec){ message, strlen(message) };
	snprintf(level, sizeof(level), "PRIORITY=%i", priority);
	iov[n++] = (struct iovec){ level, strlen(level) };

	const struct {
		const char *key, *value;
	} table[] = {
		{ "MESSAGE_ID", fields->id },	    { "POPCORN_KERNEL", fields->kernel },
		{ "POPCORN_STATE", fields->state }, { "POPCORN_REASON", fields->reason },
		{ "POPCORN_ERROR", fields->error }, { "POPCORN_AGENT", fields->agent },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (!table[i].value)
			continue;
		snprintf(buf[n], sizeof(buf[n]), "%s=%s", table[i].key, table[i].value);
		iov[n].iov_base = buf[n];
		iov[n].iov_len = strlen(buf[n]);
		n++;
	}
	if (fields->job != 0) {
		snprintf(buf[n], sizeof(buf[n]), "POPCORN_JOB=%u", fields->job);
		iov[n].iov_base = buf[n];
		iov[n].iov_len = strlen(buf[n]);
		n++;
	}
	sd_journal_sendv(iov, n);
}
