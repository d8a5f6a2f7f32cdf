// SPDX-License-Identifier: GPL-2.0-or-later
#include "description.h"
#include "draw.h"
#include "json-jansson.h"
#include "util.h"

bool is_described(const struct arguments *arguments)
{
	return arguments->xml || arguments->synthetic;
}

int check_description(const struct arguments *arguments, const char *verb)
{
	if (arguments->draw && !drawing_format(arguments->draw)) {
		complain(verb,
			 "--draw: '%s' does not end with .svg, .png, .pdf or .txt, by which the "
			 "format is chosen (InvalidArgument)",
			 arguments->draw);
		return EXIT_USAGE;
	}
	if (arguments->xml && arguments->synthetic) {
		complain(verb, "--xml and --synthetic are two machines; give one of them "
			       "(InvalidArgument)");
		return EXIT_USAGE;
	}
	return EXIT_DONE;
}

int load_description(const struct arguments *arguments, struct topology **ret_topology,
		     struct machine **ret, struct popcorn_error *error)
{
	int r = arguments->xml ? topology_load_xml(arguments->xml, ret_topology, error)
			       : topology_load_synthetic(arguments->synthetic, ret_topology, error);

	return r < 0 ? r : machine_new(*ret_topology, NULL, ret, error);
}

struct json *parse_answer(const char *what, const char *text)
{
	json_t *value = json_loads(text, 0, NULL);
	struct json *json = json_is_object(value) ? json_from_jansson(value) : NULL;

	json_decref(value);
	if (!json)
		complain(what, "popcornd's answer was not understood; install matching versions");
	return json;
}
