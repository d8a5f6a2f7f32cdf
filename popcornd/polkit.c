// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "manager.h"
#include "util.h"

int sender_is_root(sd_bus_message *message, uid_t *ret_uid)
{
	_cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
	uid_t uid;
	int r;

	r = sd_bus_query_sender_creds(message, SD_BUS_CREDS_EUID, &creds);
	if (r < 0)
		return r;
	r = sd_bus_creds_get_euid(creds, &uid);
	if (r < 0)
		return r;
	*ret_uid = uid;
	return uid == 0 || uid == geteuid();
}

static unsigned requests_of(const struct manager *manager, uid_t uid)
{
	const struct request *request;
	unsigned n = 0;

	LIST_FOREACH(request, &manager->requests, entry)
		if (request->uid == uid)
			n++;
	return n;
}

int request_new(struct manager *manager, sd_bus_message *message, uid_t uid, struct request **ret,
		struct popcorn_error *error)
{
	struct request *request;

	if (manager->n_requests >= REQUESTS_MAX ||
	    (uid != 0 && requests_of(manager, uid) >= REQUESTS_PER_USER_MAX))
		return popcorn_error_set(
			error, POPCORN_ERROR_LIMIT,
			"too many requests wait for an answer (%u, and %u of one user, are "
			"the limits); try again when some have been answered",
			REQUESTS_MAX, REQUESTS_PER_USER_MAX);
	request = calloc(1, sizeof(*request));
	if (!request)
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	request->manager = manager;
	request->message = sd_bus_message_ref(message);
	request->uid = uid;
	LIST_INSERT_HEAD(&manager->requests, request, entry);
	manager->n_requests++;
	*ret = request;
	return 0;
}

struct request *request_free(struct request *request)
{
	LIST_REMOVE(request, entry);
	request->manager->n_requests--;
	sd_bus_slot_unref(request->slot);
	sd_bus_message_unref(request->message);
	free(request);
	return NULL;
}

static int refuse(struct popcorn_error *error, const char *action, const char *why)
{
	return popcorn_error_set(error, POPCORN_ERROR_NOT_AUTHORIZED,
				 "the caller may not do this (action %s): %s", action, why);
}

static int on_polkit_reply(sd_bus_message *reply, void *userdata, sd_bus_error *unused)
{
	struct request *request = userdata;
	struct manager *manager = request->manager;
	sd_bus_message *message = sd_bus_message_ref(request->message);
	authorized_function then = request->then;
	struct popcorn_error error = {};
	uid_t uid = request->uid;
	int authorized, challenge, r;

	if (sd_bus_message_is_method_error(reply, NULL))
		r = refuse(&error, request->action,
			   "polkit does not answer, so only root may; is polkitd installed and "
			   "running?");
	else {
		r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
		if (r >= 0)
			r = sd_bus_message_read(reply, "bb", &authorized, &challenge);
		if (r < 0)
			r = refuse(&error, request->action, "polkit's answer is not understood");
		else if (!authorized)
			r = popcorn_error_set(
				&error, POPCORN_ERROR_NOT_AUTHORIZED,
				challenge
					? "the caller would have to authenticate for this, and did "
					  "not; ask with an authentication agent, or as root"
					: "polkit says that the caller may not do this; ask as "
					  "root");
	}
	/* Out of the count before @then, which may need a request of its own. */
	request->slot = sd_bus_slot_unref(request->slot);
	request_free(request);
	if (r >= 0) {
		sd_bus_message_rewind(message, true);
		r = then(manager, message, uid, &error);
	}
	if (r < 0)
		bus_reply_error(message, &error, r);
	sd_bus_message_unref(message);
	return 1;
}

int authorize(struct manager *manager, sd_bus_message *message, const char *action,
	      const char *name, authorized_function then)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
	struct popcorn_error error = {};
	struct request *request;
	uid_t uid = (uid_t)-1;
	int r;

	r = sender_is_root(message, &uid);
	if (r < 0) {
		/* The caller has left the bus already. */
		r = refuse(&error, action, "the bus does not say who it is");
		return bus_reply_error(message, &error, r);
	}
	if (r > 0) {
		sd_bus_message_rewind(message, true);
		r = then(manager, message, uid, &error);
		return r < 0 ? bus_reply_error(message, &error, r) : 1;
	}

	r = request_new(manager, message, uid, &request, &error);
	if (r < 0)
		return bus_reply_error(message, &error, r);
	request->action = action;
	request->then = then;
	r = sd_bus_message_new_method_call(manager->bus, &call, "org.freedesktop.PolicyKit1",
					   "/org/freedesktop/PolicyKit1/Authority",
					   "org.freedesktop.PolicyKit1.Authority",
					   "CheckAuthorization");
	if (r >= 0)
		r = sd_bus_message_append(
			call, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
			sd_bus_message_get_sender(message), action, 1,
			strcmp(action, ACTION_APPLY) == 0 ? "policy" : "kernel", name,
			sd_bus_message_get_allow_interactive_authorization(message) > 0 ? 1U : 0U,
			"");
	/* As long as a person needs to type a password; polkit ends it when the caller leaves. */
	if (r >= 0)
		r = sd_bus_call_async(manager->bus, &request->slot, call, on_polkit_reply, request,
				      10 * 60 * USEC_PER_SEC);
	if (r < 0) {
		request_free(request);
		r = refuse(&error, action, "polkit can't be asked");
		return bus_reply_error(message, &error, r);
	}
	return 1;
}
