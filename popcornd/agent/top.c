// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "top.h"

/* Of a process in /proc/PID/stat: a thread of the kernel. */
#define PF_KTHREAD 0x00200000UL

static FILE *open_file(int proc, const char *name)
{
	int fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

	if (!file && fd >= 0)
		close(fd);
	return file;
}

static uint64_t ticks_to_usec(uint64_t ticks)
{
	static long hz;

	if (!hz)
		hz = sysconf(_SC_CLK_TCK);
	return ticks * 1000000 / (uint64_t)(hz > 0 ? hz : 100);
}

static int read_stat(int proc, struct agent_top *top)
{
	FILE *file = open_file(proc, "stat");
	char line[1024];

	if (!file)
		return -errno;
	/* Lines may be longer (intr): their rest is no line that begins with what we look for. */
	while (fgets(line, sizeof(line), file)) {
		uint64_t user, nice, system, idle, iowait, irq, softirq;

		/* A blank in a pattern matches none as well: "cpu0" is told apart before. */
		if (!strncmp(line, "cpu ", 4) &&
		    sscanf(line + 4,
			   "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
			   " %" SCNu64,
			   &user, &nice, &system, &idle, &iowait, &irq, &softirq) == 7) {
			top->busy_usec = ticks_to_usec(user + nice + system + irq + softirq);
			top->idle_usec = ticks_to_usec(idle + iowait);
		} else if (!strncmp(line, "cpu", 3) && isdigit((unsigned char)line[3])) {
			top->cpus++;
		} else {
			(void)sscanf(line, "procs_running %" SCNu32, &top->running);
		}
	}
	fclose(file);
	return 0;
}

static int read_memory(int proc, struct agent_top *top)
{
	FILE *file = open_file(proc, "meminfo");
	char line[256];
	uint64_t kib;

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemTotal: %" SCNu64, &kib) == 1)
			top->memory_total = kib << 10;
		else if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			top->memory_available = kib << 10;
	}
	fclose(file);
	return 0;
}

/* Digits of a number with two behind the point, in hundredths: floating point would be a lot of code. */
static int read_hundredths(FILE *file, uint32_t *ret)
{
	uint32_t whole, rest;

	if (fscanf(file, "%" SCNu32 ".%2" SCNu32 "%*[0-9]", &whole, &rest) < 2)
		return -EBADMSG;
	*ret = whole * 100 + rest;
	return 0;
}

static int read_load(int proc, struct agent_top *top)
{
	FILE *file = open_file(proc, "loadavg");
	int r = 0;

	if (!file)
		return -errno;
	for (int i = 0; i < 3 && r == 0; i++)
		r = read_hundredths(file, &top->load[i]);
	fclose(file);
	return r;
}

static int read_uptime(int proc, struct agent_top *top)
{
	FILE *file = open_file(proc, "uptime");
	uint64_t seconds, hundredths;
	int n;

	if (!file)
		return -errno;
	n = fscanf(file, "%" SCNu64 ".%2" SCNu64, &seconds, &hundredths);
	fclose(file);
	if (n != 2)
		return -EBADMSG;
	top->uptime_usec = seconds * 1000000 + hundredths * 10000;
	return 0;
}

/* Its name may have blanks and brackets in it; the last bracket ends it. */
static int parse_process(char *line, struct agent_process *ret, unsigned long *flags)
{
	char *name = strchr(line, '('), *end = strrchr(line, ')');
	uint64_t user, system;
	int64_t pages;
	char state;

	if (!name || !end || end < name)
		return -EBADMSG;
	if (sscanf(end + 1,
		   " %c %*d %*d %*d %*d %*d %lu %*u %*u %*u %*u %" SCNu64 " %" SCNu64
		   " %*d %*d %*d %*d %*d %*d %*u %*u %" SCNd64,
		   &state, flags, &user, &system, &pages) != 5)
		return -EBADMSG;
	*end = '\0';
	*ret = (struct agent_process){
		.usec = ticks_to_usec(user + system),
		.resident = (uint64_t)(pages > 0 ? pages : 0) * (uint64_t)sysconf(_SC_PAGESIZE),
		.pid = (uint32_t)strtoul(line, NULL, 10),
		.state = (unsigned char)state,
	};
	strncpy(ret->name, name + 1, sizeof(ret->name) - 1);
	return 0;
}

static void insert(struct agent_process *list, uint32_t *n, const struct agent_process *process)
{
	uint32_t at = *n;

	while (at && list[at - 1].usec < process->usec)
		at--;
	if (at == AGENT_PROCESSES_MAX)
		return;
	if (*n < AGENT_PROCESSES_MAX)
		++*n;
	memmove(list + at + 1, list + at, (*n - at - 1) * sizeof(*list));
	list[at] = *process;
}

static int read_processes(int proc, struct agent_top *top, struct agent_process *list)
{
	int fd = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r = -errno;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return r;
	}
	while ((entry = readdir(dir))) {
		struct agent_process process;
		unsigned long flags;
		char line[1024], path[32];
		ssize_t length;

		if (!isdigit((unsigned char)entry->d_name[0]) || strlen(entry->d_name) > 16)
			continue;
		snprintf(path, sizeof(path), "%.16s/stat", entry->d_name);
		fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		length = read(fd, line, sizeof(line) - 1);
		close(fd);
		if (length <= 0)
			continue;
		line[length] = '\0';
		if (parse_process(line, &process, &flags) < 0)
			continue;
		if (!(flags & PF_KTHREAD))
			top->processes++;
		insert(list, &top->listed, &process);
	}
	closedir(dir);
	return 0;
}

int top_read(int proc, struct agent_top *ret, struct agent_process processes[AGENT_PROCESSES_MAX])
{
	int r;

	*ret = (struct agent_top){ .header = agent_header(AGENT_TOP, 0) };
	r = read_stat(proc, ret);
	if (r == 0)
		r = read_memory(proc, ret);
	if (r == 0)
		r = read_load(proc, ret);
	if (r == 0)
		r = read_uptime(proc, ret);
	return r < 0 ? r : read_processes(proc, ret, processes);
}
