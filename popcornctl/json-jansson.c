// SPDX-License-Identifier: GPL-2.0-or-later
#include "json-jansson.h"

struct json *json_from_jansson(const json_t *value)
{
	struct json *json;
	const char *key;
	json_t *item;
	size_t i;

	switch (json_typeof(value)) {
	case JSON_OBJECT:
		json = json_new_object();
		/* It wants to write to the object for its own iterator's sake. */
		json_object_foreach((json_t *)(uintptr_t)value, key, item)
			json_set(json, key, json_from_jansson(item));
		return json;
	case JSON_ARRAY:
		json = json_new_array();
		json_array_foreach(value, i, item) json_append(json, json_from_jansson(item));
		return json;
	case JSON_STRING:
		return json_new_bytes(json_string_value(value), json_string_length(value));
	case JSON_INTEGER:
		return json_new_i64(json_integer_value(value));
	case JSON_REAL:
		return json_new_double(json_real_value(value));
	case JSON_TRUE:
		return json_new_bool(true);
	case JSON_FALSE:
		return json_new_bool(false);
	case JSON_NULL:
		break;
	}
	return json_new_null();
}
