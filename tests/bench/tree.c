// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench-tree FOLDER COUNT: files of 4 KiB in the folder, a second each time without what the kernel that runs it has
 * cached: "create stat read" in files a second, and "write read" of one file of 64 MiB in MiB/s.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_BYTES 4096
#define STREAM_MIB 64

static char data[1 << 20];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	sync();
	if (fd < 0 || write(fd, "3", 1) != 1) {
		perror("drop_caches");
		exit(EXIT_FAILURE);
	}
	close(fd);
}

static void need(int ok, const char *name)
{
	if (!ok) {
		perror(name);
		exit(EXIT_FAILURE);
	}
}

static void write_file(const char *name, size_t bytes, size_t times)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	need(fd >= 0, name);
	for (size_t i = 0; i < times; i++)
		need(write(fd, data, bytes) == (ssize_t)bytes, name);
	need(close(fd) == 0, name);
}

static void read_file(const char *name, size_t bytes, size_t times)
{
	int fd = open(name, O_RDONLY);

	need(fd >= 0, name);
	for (size_t i = 0; i < times; i++)
		need(read(fd, data, bytes) == (ssize_t)bytes, name);
	close(fd);
}

int main(int argc, char **argv)
{
	unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	struct stat st;
	char name[32];
	double begin;

	if (!count || count > 100000 || chdir(argv[1]) < 0)
		return EXIT_FAILURE;
#define EACH_FILE(what)                                      \
	begin = now();                                       \
	for (unsigned long i = 0; i < count; i++) {          \
		snprintf(name, sizeof(name), "file-%lu", i); \
		what;                                        \
	}                                                    \
	printf("%.0f ", (double)count / (now() - begin))
	EACH_FILE(write_file(name, FILE_BYTES, 1));
	drop_caches();
	EACH_FILE(need(stat(name, &st) == 0, name));
	drop_caches();
	EACH_FILE(read_file(name, FILE_BYTES, 1));
	begin = now();
	write_file("stream", sizeof(data), STREAM_MIB);
	printf("%.1f ", STREAM_MIB / (now() - begin));
	drop_caches();
	begin = now();
	read_file("stream", sizeof(data), STREAM_MIB);
	printf("%.1f\n", STREAM_MIB / (now() - begin));
	for (unsigned long i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "file-%lu", i);
		need(unlink(name) == 0, name);
	}
	need(unlink("stream") == 0, "stream");
	return EXIT_SUCCESS;
}
