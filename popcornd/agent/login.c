// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "login.h"

enum { NAME, PASSWORD, UID, GID, GECOS, HOME, SHELL, FIELDS };

static void use(char *place, size_t room, const char *value, bool path)
{
	size_t length = strlen(value);

	if (length && length < room && (!path || *value == '/'))
		memcpy(place, value, length + 1);
}

void login_read(FILE *passwd, struct login *ret)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	*ret = (struct login){ .name = "root", .home = "/root", .shell = "/bin/sh" };
	while (passwd && (length = getline(&line, &room, passwd)) >= 0) {
		char *fields[FIELDS], *rest = line;
		int n = 0;

		if (length && line[length - 1] == '\n')
			line[length - 1] = '\0';
		while (rest && n < FIELDS)
			fields[n++] = strsep(&rest, ":");
		if (n < FIELDS || strcmp(fields[UID], "0") != 0)
			continue;
		use(ret->name, sizeof(ret->name), fields[NAME], false);
		use(ret->home, sizeof(ret->home), fields[HOME], true);
		use(ret->shell, sizeof(ret->shell), fields[SHELL], true);
		break;
	}
	free(line);
}
