// SPDX-License-Identifier: LGPL-2.1-or-later
/* The connection, its last error, and its event loop. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "internal.h"

/* A person types a password into a polkit agent: popcornd's answer comes after that. */
#define INTERACTIVE_TIMEOUT_USEC (5 * 60 * 1000000ULL)

int string_set(char **where, const char *value)
{
	char *copy = strdup(string_or_empty(value));

	if (!copy)
		return -ENOMEM;
	free(*where);
	*where = copy;
	return 0;
}

static void error_clear(struct popcorn *popcorn)
{
	popcorn->error.id = POPCORN_ERROR_NONE;
	popcorn->error.text[0] = '\0';
	popcorn->error_name[0] = '\0';
}

static void error_use_table_name(struct popcorn *popcorn)
{
	snprintf(popcorn->error_name, sizeof(popcorn->error_name), "%s",
		 popcorn_error_name(popcorn->error.id));
}

int popcorn_fail(struct popcorn *popcorn, enum popcorn_error_id id, const char *format, ...)
{
	char text[sizeof(popcorn->error.text)] = "";

	if (format) {
		va_list ap;

		va_start(ap, format);
		vsnprintf(text, sizeof(text), format, ap);
		va_end(ap);
	}
	error_clear(popcorn);
	popcorn_error_set(&popcorn->error, id, text[0] ? "%s" : NULL, text);
	error_use_table_name(popcorn);
	return -popcorn_error_errno(id);
}

int popcorn_fail_errno(struct popcorn *popcorn, int r, const char *what)
{
	if (r == -ENOMEM)
		return popcorn_fail(popcorn, POPCORN_ERROR_NO_MEMORY, NULL);
	error_clear(popcorn);
	popcorn_error_set_errno(&popcorn->error, r, "%s", what);
	error_use_table_name(popcorn);
	return r < 0 ? r : -r;
}

int popcorn_fail_named(struct popcorn *popcorn, const char *name, const char *text)
{
	enum popcorn_error_id id = popcorn_error_from_name(name);

	popcorn_fail(popcorn, id, "%s", string_or_empty(text));
	/* A newer popcornd may have names that this table does not: they are told as they are. */
	if (*name)
		snprintf(popcorn->error_name, sizeof(popcorn->error_name), "%s", name);
	return -popcorn_error_errno(id);
}

static int fail_no_daemon(struct popcorn *popcorn)
{
	if (popcorn->host)
		return popcorn_fail(
			popcorn, POPCORN_ERROR_NO_DAEMON,
			"popcornd on %s can't be reached: systemctl -H %s status popcornd",
			popcorn->host, popcorn->host);
	return popcorn_fail(popcorn, POPCORN_ERROR_NO_DAEMON, NULL);
}

int popcorn_fail_bus(struct popcorn *popcorn, const sd_bus_error *error, int r)
{
	static const char *const no_daemon[] = {
		SD_BUS_ERROR_SERVICE_UNKNOWN,
		SD_BUS_ERROR_NAME_HAS_NO_OWNER,
		SD_BUS_ERROR_NO_SERVER,
		SD_BUS_ERROR_DISCONNECTED,
		"org.freedesktop.systemd1.NoSuchUnit",
		"org.freedesktop.systemd1.UnitMasked",
		"org.freedesktop.systemd1.ShuttingDown",
	};
	const char *name = error ? error->name : NULL;
	const char *text = error && error->message ? error->message : "";

	/* What sd-bus calls an errno of its own, such as that of a connection that broke. */
	if (name && strncmp(name, "System.Error.", 13) == 0)
		name = NULL;

	if (name && strncmp(name, POPCORN_ERROR_PREFIX, strlen(POPCORN_ERROR_PREFIX)) == 0)
		return popcorn_fail_named(popcorn, name, text);
	if (name) {
		for (size_t i = 0; i < sizeof(no_daemon) / sizeof(no_daemon[0]); i++)
			if (strcmp(name, no_daemon[i]) == 0)
				return fail_no_daemon(popcorn);
		/* Activation was tried and failed. */
		if (strncmp(name, "org.freedesktop.DBus.Error.Spawn.", 33) == 0)
			return fail_no_daemon(popcorn);
		if (strcmp(name, SD_BUS_ERROR_ACCESS_DENIED) == 0 ||
		    strcmp(name, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED) == 0)
			return popcorn_fail(popcorn, POPCORN_ERROR_NOT_AUTHORIZED, NULL);
		if (strcmp(name, SD_BUS_ERROR_UNKNOWN_OBJECT) == 0) {
			popcorn_fail(popcorn, POPCORN_ERROR_FAILED, "%s", text);
			return -ENXIO;
		}
		if (strcmp(name, SD_BUS_ERROR_NO_REPLY) == 0 ||
		    strcmp(name, SD_BUS_ERROR_TIMEOUT) == 0)
			return popcorn_fail(popcorn, POPCORN_ERROR_NO_DAEMON,
					    "popcornd did not answer: systemctl status popcornd");
		return popcorn_fail(popcorn, POPCORN_ERROR_FAILED, "%s (%s)",
				    *text ? text : "popcornd refused", name);
	}
	switch (-r) {
	case ECONNRESET:
	case ENOTCONN:
	case EPIPE:
	case ESHUTDOWN:
		return fail_no_daemon(popcorn);
	case ETIMEDOUT:
		return popcorn_fail(popcorn, POPCORN_ERROR_NO_DAEMON,
				    "popcornd did not answer: systemctl status popcornd");
	}
	return popcorn_fail_errno(popcorn, r, "the call to popcornd failed");
}

int popcorn_parse_failed(struct popcorn *popcorn, int r)
{
	if (r == -ENOMEM)
		return popcorn_fail(popcorn, POPCORN_ERROR_NO_MEMORY, NULL);
	return popcorn_fail(popcorn, POPCORN_ERROR_FAILED,
			    "popcornd's answer was not understood; install matching versions");
}

struct popcorn *popcorn_new(void)
{
	struct popcorn *popcorn = calloc(1, sizeof(*popcorn));

	if (popcorn)
		popcorn->refs = 1;
	return popcorn;
}

struct popcorn *popcorn_ref(struct popcorn *popcorn)
{
	if (popcorn)
		popcorn->refs++;
	return popcorn;
}

struct popcorn *popcorn_unref(struct popcorn *popcorn)
{
	if (!popcorn || --popcorn->refs > 0)
		return NULL;
	for (size_t i = 0; i < sizeof(popcorn->event_slots) / sizeof(popcorn->event_slots[0]); i++)
		sd_bus_slot_unref(popcorn->event_slots[i]);
	sd_bus_flush_close_unref(popcorn->bus);
	free(popcorn->host);
	free(popcorn);
	return NULL;
}

int popcorn_connect(struct popcorn *popcorn, const char *host, unsigned flags)
{
	sd_bus *bus = NULL;
	int r;

	if (popcorn->bus)
		return popcorn_fail_errno(popcorn, -EISCONN, "connecting");
	if (flags & ~POPCORN_CONNECT_INTERACTIVE)
		return popcorn_fail(popcorn, POPCORN_ERROR_INVALID_ARGUMENT,
				    "unknown flags for the connection: %#x", flags);
	if (host) {
		popcorn->host = strdup(host);
		if (!popcorn->host)
			return popcorn_fail_errno(popcorn, -ENOMEM, "");
		r = sd_bus_open_system_remote(&bus, host);
	} else {
		r = sd_bus_open_system(&bus);
	}
	if (r == -ENOMEM)
		return popcorn_fail_errno(popcorn, r, "");
	if (r < 0) {
		popcorn_fail(popcorn, POPCORN_ERROR_NO_DAEMON,
			     "the system bus%s%s can't be reached: %s", host ? " of " : "",
			     string_or_empty(host), strerror(-r));
		free(popcorn->host);
		popcorn->host = NULL;
		return -ECONNREFUSED;
	}
	popcorn->interactive = flags & POPCORN_CONNECT_INTERACTIVE;
	if (popcorn->interactive)
		sd_bus_set_allow_interactive_authorization(bus, true);
	popcorn->bus = bus;
	return 0;
}

const char *popcorn_last_error_name(const struct popcorn *popcorn)
{
	return popcorn->error_name;
}

const char *popcorn_last_error_text(const struct popcorn *popcorn)
{
	return popcorn->error.text;
}

const char *popcorn_strerror(const char *error_name)
{
	enum popcorn_error_id id;

	if (!error_name)
		return NULL;
	id = popcorn_error_from_name(error_name);
	/* popcorn_error_from_name() says FAILED for what it does not know. */
	return strcmp(popcorn_error_name(id), error_name) == 0 ? popcorn_error_text(id) : NULL;
}

struct sd_bus *popcorn_get_bus(struct popcorn *popcorn)
{
	return popcorn->bus;
}

int popcorn_check_connected(struct popcorn *popcorn)
{
	if (!popcorn->bus) {
		popcorn_fail(popcorn, POPCORN_ERROR_NO_DAEMON, "not connected");
		return -ENOTCONN;
	}
	return 0;
}

int popcorn_get_fd(struct popcorn *popcorn)
{
	int r = popcorn_check_connected(popcorn);

	return r < 0 ? r : sd_bus_get_fd(popcorn->bus);
}

int popcorn_get_events(struct popcorn *popcorn)
{
	int r = popcorn_check_connected(popcorn);

	return r < 0 ? r : sd_bus_get_events(popcorn->bus);
}

int popcorn_get_timeout(struct popcorn *popcorn, uint64_t *ret_usec)
{
	int r = popcorn_check_connected(popcorn);

	return r < 0 ? r : sd_bus_get_timeout(popcorn->bus, ret_usec);
}

int popcorn_process(struct popcorn *popcorn)
{
	int r = popcorn_check_connected(popcorn);

	if (r < 0)
		return r;
	r = sd_bus_process(popcorn->bus, NULL);
	if (r < 0)
		popcorn_fail_bus(popcorn, NULL, r);
	return r;
}

int popcorn_wait(struct popcorn *popcorn, uint64_t timeout_usec)
{
	int r = popcorn_check_connected(popcorn);

	if (r < 0)
		return r;
	r = sd_bus_wait(popcorn->bus, timeout_usec);
	if (r < 0 && r != -EINTR)
		popcorn_fail_bus(popcorn, NULL, r);
	return r;
}

int popcorn_call_message(struct popcorn *popcorn, sd_bus_message *message, sd_bus_message **ret)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	int r;

	r = sd_bus_call(popcorn->bus, message, popcorn->interactive ? INTERACTIVE_TIMEOUT_USEC : 0,
			&error, ret);
	return r < 0 ? popcorn_fail_bus(popcorn, &error, r) : 0;
}

int popcorn_call(struct popcorn *popcorn, const char *path, const char *interface,
		 const char *member, sd_bus_message **ret, const char *types, ...)
{
	_cleanup_message_ sd_bus_message *message = NULL;
	int r;

	r = popcorn_check_connected(popcorn);
	if (r < 0)
		return r;
	r = sd_bus_message_new_method_call(popcorn->bus, &message, BUS_NAME, path, interface,
					   member);
	if (r >= 0 && types) {
		va_list ap;

		va_start(ap, types);
		r = sd_bus_message_appendv(message, types, ap);
		va_end(ap);
	}
	if (r == -EINVAL) /* the only words that callers choose are names */
		return popcorn_fail(popcorn, POPCORN_ERROR_INVALID_NAME, NULL);
	if (r < 0)
		return popcorn_fail_bus(popcorn, NULL, r);
	return popcorn_call_message(popcorn, message, ret);
}

int popcorn_get_free(struct popcorn *popcorn, uint32_t *ret_cpus, uint64_t *ret_memory)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	uint64_t memory = 0;
	uint32_t cpus = 0;
	int r;

	r = popcorn_call(popcorn, BUS_PATH, "org.freedesktop.DBus.Properties", "GetAll", &reply,
			 "s", INTERFACE_MANAGER);
	if (r < 0)
		return r;
	r = sd_bus_message_enter_container(reply, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
		const char *property;

		r = sd_bus_message_read(reply, "s", &property);
		if (r < 0)
			break;
		if (strcmp(property, "FreeCpus") == 0)
			r = sd_bus_message_read(reply, "v", "u", &cpus);
		else if (strcmp(property, "FreeMemory") == 0)
			r = sd_bus_message_read(reply, "v", "t", &memory);
		else
			r = sd_bus_message_skip(reply, "v");
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
	}
	if (r < 0)
		return popcorn_parse_failed(popcorn, r);
	*ret_cpus = cpus;
	*ret_memory = memory;
	return 0;
}
