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
#define PF_KTHREAD 0x00200000U

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

/*
 * The next @n numbers of @s, which whatever is no digit separates; how many there were. Not scanf(), which
 * would be a tenth of the agent.
 */
static unsigned read_numbers(const char *s, uint64_t *ret, unsigned n)
{
	unsigned i = 0;

	while (i < n && *s) {
		char *end;

		if (!isdigit((unsigned char)*s)) {
			s++;
			continue;
		}
		ret[i++] = strtoull(s, &end, 10);
		s = end;
	}
	return i;
}

/* Whether @line begins with this; then *@ret is what comes after it. */
static bool begins(const char *line, const char *with, const char **ret)
{
	size_t n = strlen(with);

	if (strncmp(line, with, n) != 0)
		return false;
	*ret = line + n;
	return true;
}

static int read_stat(int proc, struct agent_top *top)
{
	enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, NR };
	FILE *file = open_file(proc, "stat");
	char line[1024];

	if (!file)
		return -errno;
	/* Lines may be longer (intr): their rest is no line that begins with what we look for. */
	while (fgets(line, sizeof(line), file)) {
		uint64_t t[NR], running;
		const char *rest;

		if (begins(line, "cpu ", &rest) && read_numbers(rest, t, NR) == NR) {
			top->busy_usec =
				ticks_to_usec(t[USER] + t[NICE] + t[SYSTEM] + t[IRQ] + t[SOFTIRQ]);
			top->idle_usec = ticks_to_usec(t[IDLE] + t[IOWAIT]);
		} else if (begins(line, "cpu", &rest) && isdigit((unsigned char)*rest)) {
			top->cpus++;
		} else if (begins(line, "procs_running ", &rest) &&
			   read_numbers(rest, &running, 1) == 1) {
			top->running = (uint32_t)running;
		}
	}
	fclose(file);
	return 0;
}

static int read_memory(int proc, struct agent_top *top)
{
	FILE *file = open_file(proc, "meminfo");
	const char *rest;
	char line[256];
	uint64_t kib;

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (begins(line, "MemTotal:", &rest) && read_numbers(rest, &kib, 1) == 1)
			top->memory_total = kib << 10;
		else if (begins(line, "MemAvailable:", &rest) && read_numbers(rest, &kib, 1) == 1)
			top->memory_available = kib << 10;
	}
	fclose(file);
	return 0;
}

/* Of a file with one line. */
static int read_line(int proc, const char *name, char *line, size_t size)
{
	int fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, line, size - 1);
	int r = length < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	line[length < 0 ? 0 : length] = '\0';
	return r;
}

/* Both files have their numbers with two digits behind the point. */
static int read_load_and_uptime(int proc, struct agent_top *top)
{
	uint64_t numbers[6];
	char line[256];
	int r;

	r = read_line(proc, "loadavg", line, sizeof(line));
	if (r < 0)
		return r;
	if (read_numbers(line, numbers, 6) != 6)
		return -EBADMSG;
	for (int i = 0; i < 3; i++)
		top->load[i] = (uint32_t)(numbers[2 * i] * 100 + numbers[2 * i + 1]);
	r = read_line(proc, "uptime", line, sizeof(line));
	if (r < 0)
		return r;
	if (read_numbers(line, numbers, 2) != 2)
		return -EBADMSG;
	top->uptime_usec = numbers[0] * 1000000 + numbers[1] * 10000;
	return 0;
}

/* Where a field of /proc/PID/stat is, counted from the state, which proc(5) calls (3). */
enum { FLAGS = 9 - 3, UTIME = 14 - 3, STIME = 15 - 3, RSS = 24 - 3 };

/* Its name may have blanks and brackets in it; the last bracket ends it. */
static int parse_process(char *line, struct agent_process *ret, uint64_t *flags)
{
	char *name = strchr(line, '('), *end = strrchr(line, ')'), *field, *rest;
	uint64_t values[RSS + 1] = { 0 };
	unsigned n = 0;

	if (!name || !end || end < name)
		return -EBADMSG;
	*end = '\0';
	*ret = (struct agent_process){ .pid = (uint32_t)strtoul(line, NULL, 10) };
	strncpy(ret->name, name + 1, sizeof(ret->name) - 1);
	rest = end + 1;
	while (n <= RSS && (field = strsep(&rest, " "))) {
		if (!*field)
			continue;
		if (!n)
			ret->state = (unsigned char)*field;
		/* Those that may be negative are not among ours. */
		values[n++] = strtoull(field, NULL, 10);
	}
	if (n <= RSS)
		return -EBADMSG;
	ret->usec = ticks_to_usec(values[UTIME] + values[STIME]);
	ret->resident = values[RSS] * (uint64_t)sysconf(_SC_PAGESIZE);
	*flags = values[FLAGS];
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
		char line[1024], path[32];
		uint64_t flags;

		if (!isdigit((unsigned char)entry->d_name[0]) || strlen(entry->d_name) > 16)
			continue;
		snprintf(path, sizeof(path), "%.16s/stat", entry->d_name);
		if (read_line(proc, path, line, sizeof(line)) < 0)
			continue;
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
		r = read_load_and_uptime(proc, ret);
	return r < 0 ? r : read_processes(proc, ret, processes);
}
