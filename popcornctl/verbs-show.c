// SPDX-License-Identifier: GPL-2.0-or-later
/* show: the properties as they are on the bus, for scripts. */
#include <errno.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "output.h"
#include "popcornctl.h"
#include "util.h"

#define BUS_NAME "org.popcornlinux.Popcorn1"

/* The value that comes next in a message, whatever its type; NULL: not understood. */
static struct json *read_value(sd_bus_message *m)
{
	const char *contents, *s;
	union {
		uint8_t y;
		int b, fd;
		int16_t n;
		uint16_t q;
		int32_t i;
		uint32_t u;
		int64_t x;
		uint64_t t;
		double d;
	} v;
	char type;

	if (sd_bus_message_peek_type(m, &type, &contents) <= 0)
		return NULL;
	switch (type) {
	case SD_BUS_TYPE_STRING:
	case SD_BUS_TYPE_OBJECT_PATH:
	case SD_BUS_TYPE_SIGNATURE:
		return sd_bus_message_read_basic(m, type, &s) < 0 ? NULL : json_new_string(s);
	case SD_BUS_TYPE_BYTE:
		return sd_bus_message_read_basic(m, type, &v.y) < 0 ? NULL : json_new_u64(v.y);
	case SD_BUS_TYPE_BOOLEAN:
		return sd_bus_message_read_basic(m, type, &v.b) < 0 ? NULL : json_new_bool(v.b);
	case SD_BUS_TYPE_INT16:
		return sd_bus_message_read_basic(m, type, &v.n) < 0 ? NULL : json_new_i64(v.n);
	case SD_BUS_TYPE_UINT16:
		return sd_bus_message_read_basic(m, type, &v.q) < 0 ? NULL : json_new_u64(v.q);
	case SD_BUS_TYPE_INT32:
		return sd_bus_message_read_basic(m, type, &v.i) < 0 ? NULL : json_new_i64(v.i);
	case SD_BUS_TYPE_UINT32:
		return sd_bus_message_read_basic(m, type, &v.u) < 0 ? NULL : json_new_u64(v.u);
	case SD_BUS_TYPE_INT64:
		return sd_bus_message_read_basic(m, type, &v.x) < 0 ? NULL : json_new_i64(v.x);
	case SD_BUS_TYPE_UINT64:
		return sd_bus_message_read_basic(m, type, &v.t) < 0 ? NULL : json_new_u64(v.t);
	case SD_BUS_TYPE_DOUBLE:
		return sd_bus_message_read_basic(m, type, &v.d) < 0 ? NULL : json_new_double(v.d);
	case SD_BUS_TYPE_ARRAY:
	case SD_BUS_TYPE_STRUCT:
	case SD_BUS_TYPE_VARIANT: {
		struct json *array = json_new_array(), *value;
		int r;

		if (sd_bus_message_enter_container(m, type, contents) < 0)
			return json_free(array);
		while ((r = sd_bus_message_at_end(m, false)) == 0) {
			value = read_value(m);
			if (!value)
				return json_free(array);
			json_append(array, value);
		}
		if (r < 0 || sd_bus_message_exit_container(m) < 0)
			return json_free(array);
		if (type != SD_BUS_TYPE_VARIANT)
			return array;
		value = array->items[0];
		array->n = 0;
		json_free(array);
		return value;
	}
	}
	return NULL;
}

static int read_properties(sd_bus_message *m, struct json *object)
{
	int r;

	r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		struct json *value;
		const char *name;

		r = sd_bus_message_read(m, "s", &name);
		if (r < 0)
			break;
		value = read_value(m);
		if (!value)
			return -EBADMSG;
		json_set(object, name, value);
		r = sd_bus_message_exit_container(m);
	}
	return r;
}

/* One line, with what would end the line or hide in it escaped as in C. */
static void print_plain(const struct json *value)
{
	switch (value->kind) {
	case JSON_KIND_NULL:
		break;
	case JSON_KIND_BOOL:
		fputs(value->boolean ? "yes" : "no", stdout);
		break;
	case JSON_KIND_NUMBER:
		fputs(value->text, stdout);
		break;
	case JSON_KIND_STRING:
		for (const unsigned char *p = (const unsigned char *)value->text; *p; p++) {
			if (*p == '\n')
				fputs("\\n", stdout);
			else if (*p == '\\')
				fputs("\\\\", stdout);
			else if (*p < 0x20 || *p == 0x7f)
				printf("\\%03o", *p);
			else
				putchar(*p);
		}
		break;
	case JSON_KIND_ARRAY:
	case JSON_KIND_OBJECT:
		for (size_t i = 0; i < value->n; i++) {
			if (i)
				putchar(' ');
			print_plain(value->items[i]);
		}
		break;
	}
}

static void print_property(const char *name, const struct json *value)
{
	bool structs = value->kind == JSON_KIND_ARRAY && value->n &&
		       value->items[0]->kind == JSON_KIND_ARRAY;

	/* A list of structures is one line for each. */
	for (size_t i = 0; i < (structs ? value->n : 1); i++) {
		printf("%s=", name);
		print_plain(structs ? value->items[i] : value);
		putchar('\n');
	}
}

static int show(struct popcorn *popcorn, const struct arguments *arguments, const char *what)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_(kernel_freep) struct popcorn_kernel *kernel = NULL;
	_cleanup_(json_freep) struct json *all = json_new_object(), *chosen = json_new_object();
	const char *path = "/org/popcornlinux/Popcorn1", *interface = BUS_NAME ".Manager";
	uint64_t memory;
	uint32_t cpus;

	if (arguments->n_names) {
		if (popcorn_get_kernel(popcorn, arguments->names[0], &kernel) < 0)
			return complain_last(popcorn, what);
		path = popcorn_kernel_get_path(kernel);
		interface = BUS_NAME ".Kernel";
	} else if (popcorn_get_free(popcorn, &cpus, &memory) < 0) {
		/* Asked for its errors: the library has the words for a popcornd that is not there.
		 */
		return complain_last(popcorn, what);
	}
	if (sd_bus_call_method(popcorn_get_bus(popcorn), BUS_NAME, path,
			       "org.freedesktop.DBus.Properties", "GetAll", &error, &reply, "s",
			       interface) < 0) {
		complain(what, "%s", error.message ? error.message : "popcornd did not answer");
		return EXIT_FAILED;
	}
	if (read_properties(reply, all) < 0) {
		complain(what, "popcornd's answer was not understood; install matching versions");
		return EXIT_FAILED;
	}
	for (size_t i = 0; i < arguments->n_properties; i++) {
		const char *name = arguments->properties[i];
		bool found = false;

		for (size_t j = 0; j < all->n && !found; j++) {
			if (strcmp(all->keys[j], name))
				continue;
			found = true;
			if (all->items[j]->kind == JSON_KIND_NULL)
				break;
			json_set(chosen, name, all->items[j]);
			/* It has gone over to the chosen ones. */
			all->items[j] = json_new_null();
		}
		if (!found) {
			complain(what,
				 "there is no property '%s'; 'popcornctl show%s%s' shows all "
				 "(InvalidArgument)",
				 name, arguments->n_names ? " " : "",
				 arguments->n_names ? arguments->names[0] : "");
			return EXIT_USAGE;
		}
	}
	if (arguments->json) {
		json_print(arguments->n_properties ? chosen : all, arguments->json, stdout);
		return EXIT_DONE;
	}
	for (size_t i = 0; i < (arguments->n_properties ? chosen : all)->n; i++) {
		const struct json *object = arguments->n_properties ? chosen : all;

		print_property(object->keys[i], object->items[i]);
	}
	return EXIT_DONE;
}

int verb_show(struct popcorn *popcorn, const struct arguments *arguments)
{
	_cleanup_free_ char *what =
		arguments->n_names ? xasprintf("show %s", arguments->names[0]) : xstrdup("show");

	return show(popcorn, arguments, what);
}
