// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs a fuzz target on the files of the folders named, without libFuzzer. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static int replay(const char *path)
{
	struct stat st;
	uint8_t *data;
	FILE *f;
	int r = -1;

	f = fopen(path, "re");
	if (!f || fstat(fileno(f), &st) < 0) {
		perror(path);
		if (f)
			fclose(f);
		return -1;
	}
	/* Not a byte more than the file has, for a sanitizer to see. */
	data = malloc(st.st_size ? (size_t)st.st_size : 1);
	if (data && fread(data, 1, (size_t)st.st_size, f) == (size_t)st.st_size) {
		LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
		r = 0;
	}
	free(data);
	fclose(f);
	return r;
}

int main(int argc, char *argv[])
{
	unsigned count = 0;

	for (int i = 1; i < argc; i++) {
		struct dirent *entry;
		char path[4096];
		DIR *dir;

		dir = opendir(argv[i]);
		if (!dir) {
			perror(argv[i]);
			return 1;
		}
		while ((entry = readdir(dir))) {
			if (entry->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
			if (replay(path) < 0)
				return 1;
			count++;
		}
		closedir(dir);
	}
	printf("%u inputs\n", count);
	/* A test that found nothing to do has not passed. */
	return count == 0;
}
