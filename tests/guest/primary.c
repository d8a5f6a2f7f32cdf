// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Plays the primary for popcorn_guest.ko, without one: a virtual machine whose memory is a file has
 * a head in it, and this program writes and reads that head as popcorn_kexec.ko would. It can't
 * ring; the guest finds the reasons for a doorbell with its next heartbeat.
 *
 *	primary FILE OFFSET new TABLE [VERSION]	writes a fresh head, and the body of the ACPI table
 *	primary FILE OFFSET wait STATE SECONDS	waits for guest_state; prints reason and text
 *	primary FILE OFFSET expect TEXT SECONDS	waits for a text in the console's output
 *	primary FILE OFFSET type TEXT		puts a line into the input ring
 *	primary FILE OFFSET shutdown		asks for a shutdown
 *	primary FILE OFFSET show		prints the guest's fields
 *	primary FILE OFFSET console		prints the output ring
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "popcorn.h"
#include "popcorn/head.h"

#define NR_CPUS 2

static struct popcorn_head *head;

static const char *const reasons[] = {
#define X(sym, nr, name, text) [nr] = name,
	POPCORN_REASONS(X)
#undef X
};

static int usage(void)
{
	fprintf(stderr,
		"usage: primary FILE OFFSET new|wait|expect|type|shutdown|show|console …\n");
	return 2;
}

static int new_head(uint64_t offset, const char *table_file, uint32_t version)
{
	struct popcorn_acpi_table table = {
		.version = POPCORN_HEAD_VERSION, .head = offset, .id = 3, .generation = 7
	};
	FILE *file;
	size_t n;

	memset(head, 0, POPCORN_HEAD_SIZE);
	head->magic = POPCORN_HEAD_MAGIC;
	head->version = version;
	head->size = sizeof(*head);
	head->id = table.id;
	head->generation = table.generation;
	head->nr_cpus = NR_CPUS;
	head->beat_ms = 200;
	head->head = offset;
	head->out_wanted = 1;
	strcpy(head->name, "db0");

	file = fopen(table_file, "w");
	if (!file)
		return 1;
	/* The emulator writes the header. */
	n = fwrite((char *)&table + sizeof(table.header), sizeof(table) - sizeof(table.header), 1,
		   file);
	return fclose(file) || n != 1;
}

static bool output_has(const char *text)
{
	uint64_t end = __atomic_load_n(&head->out_head, __ATOMIC_ACQUIRE);
	const char *ring = (const char *)head + POPCORN_HEAD_CONSOLE_OUT;

	return end <= POPCORN_CONSOLE_OUT_SIZE && memmem(ring, end, text, strlen(text));
}

static bool has_state(const char *state)
{
	return __atomic_load_n(&head->guest_state, __ATOMIC_ACQUIRE) >= (unsigned)atoi(state);
}

/* There is no event to wait for: nobody rings at a program. */
static int wait_for(bool (*condition)(const char *), const char *argument, int seconds)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	for (int i = 0; i < seconds * 50; i++) {
		if (condition(argument))
			return 0;
		nanosleep(&pause, NULL);
	}
	return 1;
}

static int type(const char *text)
{
	char *ring = (char *)head + POPCORN_HEAD_CONSOLE_IN;
	uint64_t at = head->in_head;

	for (; *text; text++)
		ring[at++ & (POPCORN_CONSOLE_IN_SIZE - 1)] = *text;
	ring[at++ & (POPCORN_CONSOLE_IN_SIZE - 1)] = '\n';
	__atomic_store_n(&head->in_head, at, __ATOMIC_RELEASE);
	__atomic_store_n(&head->in_wanted, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&head->to_guest, POPCORN_BELL_INPUT, __ATOMIC_SEQ_CST);
	return 0;
}

static void show(void)
{
	const uint64_t *beats = (const uint64_t *)((const char *)head + POPCORN_HEAD_BEATS);
	uint32_t reason = head->guest_reason;

	printf("version=%u state=%u reason=%s\n", head->guest_version, head->guest_state,
	       reason < sizeof(reasons) / sizeof(reasons[0]) ? reasons[reason] : "?");
	printf("release=%.64s\ntext=%.256s\n", head->release, head->text);
	printf("vector=%#x apicid=%u\n", POPCORN_BELL_VECTOR(head->guest_bell),
	       POPCORN_BELL_APICID(head->guest_bell));
	printf("to_primary=%#x to_guest=%#x out_wanted=%u in_wanted=%u unread=%" PRIu64 "\n",
	       head->to_primary, head->to_guest, head->out_wanted, head->in_wanted,
	       (uint64_t)(head->in_head - head->in_tail));
	for (int i = 0; i < NR_CPUS; i++)
		printf("beat%d=%" PRId64 "\n", i, (int64_t)beats[i]);
}

int main(int argc, char *argv[])
{
	const char *command;
	uint64_t offset;
	int fd;

	if (argc < 4)
		return usage();
	offset = strtoull(argv[2], NULL, 0);
	command = argv[3];
	fd = open(argv[1], O_RDWR);
	if (fd >= 0)
		head = mmap(NULL, POPCORN_HEAD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			    (off_t)offset);
	if (fd < 0 || head == MAP_FAILED) {
		fprintf(stderr, "primary: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}

	if (!strcmp(command, "new") && (argc == 5 || argc == 6))
		return new_head(offset, argv[4],
				argc == 6 ? (uint32_t)atoi(argv[5]) : POPCORN_HEAD_VERSION);
	if (!strcmp(command, "wait") && argc == 6)
		return wait_for(has_state, argv[4], atoi(argv[5]));
	if (!strcmp(command, "expect") && argc == 6)
		return wait_for(output_has, argv[4], atoi(argv[5]));
	if (!strcmp(command, "type") && argc == 5)
		return type(argv[4]);
	if (!strcmp(command, "shutdown") && argc == 4) {
		__atomic_fetch_or(&head->to_guest, POPCORN_BELL_SHUTDOWN, __ATOMIC_SEQ_CST);
		return 0;
	}
	if (!strcmp(command, "show") && argc == 4) {
		show();
		return 0;
	}
	if (!strcmp(command, "console") && argc == 4) {
		size_t length = head->out_head < POPCORN_CONSOLE_OUT_SIZE
					? head->out_head
					: POPCORN_CONSOLE_OUT_SIZE;

		return fwrite((char *)head + POPCORN_HEAD_CONSOLE_OUT, 1, length, stdout) != length;
	}
	return usage();
}
