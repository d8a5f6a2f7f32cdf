/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * The journal of popcornd. Each kind of message has an id with a text in systemd/popcorn.catalog,
 * and fields to search by: POPCORN_KERNEL=, POPCORN_STATE=, POPCORN_REASON=, POPCORN_JOB=,
 * POPCORN_ERROR=, POPCORN_AGENT=.
 */

#include <stdint.h>
#include <syslog.h>

#define LOG_ID_STATE "1a9c7a1e2f3c4f4c8d5be7a5a2c0d101"	    /* a kernel changed its state */
#define LOG_ID_CRASHED "1a9c7a1e2f3c4f4c8d5be7a5a2c0d102"   /* a kernel crashed */
#define LOG_ID_KEPT "1a9c7a1e2f3c4f4c8d5be7a5a2c0d103"	    /* CPUs or memory did not come back */
#define LOG_ID_JOB "1a9c7a1e2f3c4f4c8d5be7a5a2c0d104"	    /* a job failed */
#define LOG_ID_CONFIG "1a9c7a1e2f3c4f4c8d5be7a5a2c0d105"    /* the configuration was not taken */
#define LOG_ID_RECOVERED "1a9c7a1e2f3c4f4c8d5be7a5a2c0d106" /* found at start */
#define LOG_ID_DRIVER "1a9c7a1e2f3c4f4c8d5be7a5a2c0d107"    /* no driver, or a wrong one */
#define LOG_ID_AGENT "1a9c7a1e2f3c4f4c8d5be7a5a2c0d108" /* an agent of another version, or none */

struct log_fields {
	const char *id; /* LOG_ID_*, or NULL */
	const char *kernel, *state, *reason, *error, *agent;
	uint32_t job; /* or 0 */
};

/* @fields may be NULL. One line; bytes of other kernels in it are made printable by the caller. */
void log_send(int priority, const struct log_fields *fields, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_info(...) log_send(LOG_INFO, NULL, __VA_ARGS__)
#define log_warning(...) log_send(LOG_WARNING, NULL, __VA_ARGS__)
#define log_error(...) log_send(LOG_ERR, NULL, __VA_ARGS__)
