/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * popcornd as a whole, on the fake machine, in a process of its own and on a bus of its own; and
 * what clients do. Everything that goes wrong here fails the test.
 */

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "fake.h"

#define BUS_NAME "org.popcornlinux.Popcorn1"
#define BUS_PATH "/org/popcornlinux/Popcorn1"
#define MANAGER BUS_NAME ".Manager"
#define KERNEL BUS_NAME ".Kernel"
#define JOB BUS_NAME ".Job"
#define ERROR(e) BUS_NAME ".Error." e

extern struct fake *fake;
extern pid_t daemon_pid;
extern sd_bus *bus; /* the client's */
/* What the last signal of each kind said; of an Apply not what those of its children did. */
extern char ended_job[64], ended_result[32], ended_error[64], ended_text[1024], states[512];

/* The machine, with all that a boot needs, the bus, popcornd. Boots take two looks. */
void house_make(unsigned cpus, unsigned blocks, unsigned nodes);
void house_unmake(void);
void write_config(const char *more);
void start_daemon(void);
void end_daemon(int signal);
/* Does it answer? A process that has died may not have been noticed by anybody yet. */
bool is_alive(void);
/* After a death in the middle of a step. */
void bury_daemon(void);

/* Handles what comes from the bus until @until says so. */
void process(bool (*until)(const void *), const void *arg);
/* A call of the Manager that makes a job; NULL and its error's name into ended_error if refused. */
const char *call(const char *method, const char *types, ...);
void ends(const char *job, const char *result, const char *error);
void refused(const char *job, const char *error);
char *property(const char *name, const char *property);
void is(const char *name, const char *key, const char *expected);
bool has_state(const void *name_and_state);
void reaches(const char *name, const char *state);
/* All of List, as text. */
char *list(void);
void boot(const char *name);
/* A file of the fake machine has this text in it. */
void has_line(const char *file, const char *line);
