/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * One secondary kernel as popcornd sees it: the object on the bus, the record in
 * /run/popcorn/kernels, and, while the driver has it, a descriptor and a claim.
 *
 * "stopped" is shown when everything was given back, not when the CPUs stopped: until then a kernel
 * that ended by itself is "stopping". So whoever waits for "stopped" finds the resources free.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "manager.h"
#include "talk.h"

#define HISTORY_MAX 64
#define STEPS_MAX 8

struct history_entry {
	uint64_t time; /* CLOCK_REALTIME, µs */
	enum popcorn_state state;
	enum popcorn_reason reason;
	char *text;
};

struct boot_step {
	char name[16];
	uint64_t usec;
};

/* When the server of a share was started, the oldest first: see servers.h. */
struct server_starts {
	char device[POPCORN_DEVICE_NAME_MAX];
	uint64_t times[5];
	size_t n;
};

struct kernel {
	TAILQ_ENTRY(kernel) entry;
	struct manager *manager;
	char *name, *path, *unit;
	uint64_t created; /* CLOCK_REALTIME, µs; the order of kernels */

	enum popcorn_state state;
	enum popcorn_reason reason;
	char *text;
	struct history_entry history[HISTORY_MAX]; /* oldest first */
	size_t n_history;
	bool announced; /* on the bus */

	/* The policy that started it, or "", and a digest of that policy's text. */
	char policy[POPCORN_NAME_MAX];
	uint64_t policy_digest;

	/* How it was asked for; NULL if only the driver knew it. */
	struct kernel_def *def;
	bool def_from_file;

	/* While the driver has it. Only the loop closes @fd and frees @claim, and only without a job. */
	uint32_t id, generation; /* 0 = the driver does not have it */
	int fd;			 /* -1 */
	sd_event_source *source; /* of @fd, only where there is no netlink */
	struct claim *claim;
	uint32_t *cpus;
	size_t n_cpus;
	struct popcorn_range *ranges;
	size_t n_ranges;
	uint64_t memory;

	char release[64];
	uint64_t boot_time;    /* CLOCK_REALTIME, µs, 0 = never */
	uint64_t entered_usec; /* CLOCK_BOOTTIME */
	struct talk_state talk;
	struct boot_step steps[STEPS_MAX];
	size_t n_steps;

	struct server_starts server_starts[POPCORN_DEVICES_MAX];

	/* The last end that the driver told of while a boot job worked on it. */
	enum popcorn_reason end_reason;

	struct job *job;      /* works on it, or is queued */
	struct job *next_job; /* starts when @job has ended */
};

/* Unknown to the bus until kernel_announce(). */
int kernel_new(struct manager *manager, const char *name, struct kernel **ret);
/* Forgets it, its record and its logs. It has no job, no descriptor, no claim. */
void kernel_forget(struct kernel *kernel);
/* At exit: frees the memory, leaves record and driver as they are. */
struct kernel *kernel_free(struct kernel *kernel);
void kernel_announce(struct kernel *kernel);

bool state_is_active(enum popcorn_state state);		  /* reserved .. stopping */
bool kernel_holds_resources(const struct kernel *kernel); /* in the driver, or claimed */

/* Record, journal, signals. @text NULL = the reason's text. Nothing if nothing changed. */
void kernel_set_state(struct kernel *kernel, enum popcorn_state state, enum popcorn_reason reason,
		      const char *text);
/* Writes the record, or says that it can't. */
void kernel_save(const struct kernel *kernel);
void kernel_changed(struct kernel *kernel, const char *property);

/* Takes a definition (owned by the kernel afterwards). */
void kernel_set_def(struct kernel *kernel, struct kernel_def *def, bool from_file);
/* Shows what was claimed before the driver knows it. */
void kernel_show_claim(struct kernel *kernel, const struct claim *claim);

/* Takes @fd (or -1) instead of the one before, which is closed. */
void kernel_set_fd(struct kernel *kernel, int fd);
/* Opens the kernel of this name (or @id) in the driver, if it is there. -ENOENT. */
int kernel_attach(struct kernel *kernel, uint32_t id);
/* Reads the driver's truth into everything but state and reason. -ENODEV: released. */
int kernel_read(struct kernel *kernel, enum popcorn_state *ret_state,
		enum popcorn_reason *ret_reason, char **ret_text);
/* Nothing of it is in the driver any more. */
void kernel_detach(struct kernel *kernel);
/* No job works on it: does what the driver's truth calls for. */
void kernel_settle(struct kernel *kernel);
/* A boot job works on it: shows how far it got. */
void kernel_follow(struct kernel *kernel);
/* At start: what was left half done. */
void kernel_recover(struct kernel *kernel);

/* kernel-dbus.c */
int kernel_bus_init(struct manager *manager);
int kernel_emit_changed(struct kernel *kernel, const char *const *properties);

/* record.c */
int record_write(const struct kernel *kernel);
void record_remove(const struct kernel *kernel);
/* Makes a kernel of each record; damaged ones are told of and left out. */
int record_load_all(struct manager *manager);

enum saved { SAVED_CONSOLE, SAVED_LOG };
/* Any thread. @name's last @max bytes of @data. */
int saved_write(const char *run, const char *name, enum saved what, const void *data, size_t size);
void saved_remove(const char *run, const char *name);
/* For reading. -ENOENT. */
int saved_open(const char *run, const char *name, enum saved what);
