// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A hostile XML file: what is accepted is a machine that makes sense. hwloc 2.9 itself crashes on
 * many inputs (an object without a cpuset is enough), in the child process that tries them first. The
 * crash files that libFuzzer writes in such children are hwloc's; ours end the fuzzing.
 */
#include <jansson.h>
#include <string.h>

#include "../unit/machine-check.h"
#include "fuzz.h"
#include "machine.h"
#include "topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct popcorn_error error = { 0 };
	struct topology *topology;
	struct machine *machine;
	json_t *json;
	int r;

	r = topology_parse_xml("fuzz.xml", (const char *)data, size, &topology, &error);
	CHECK((r < 0) == (error.id != POPCORN_ERROR_NONE));
	if (r < 0) {
		CHECK(strstr(error.text, "fuzz.xml"));
		return 0;
	}
	r = machine_new(topology, NULL, &machine, &error);
	topology_free(topology);
	CHECK((r < 0) == (error.id != POPCORN_ERROR_NONE));
	if (r < 0) {
		CHECK(strstr(error.text, "fuzz.xml: "));
		return 0;
	}
	CHECK(!machine_check(machine));
	json = machine_to_json(machine);
	CHECK(json);
	/* Nothing was left out: NULL for a text that is not UTF-8, for example. */
	CHECK(json_array_size(json_object_get(json, "cpus")) == machine->n_cpus);
	CHECK(json_array_size(json_object_get(json, "devices")) == machine->n_devices);
	CHECK(json_array_size(json_object_get(json, "warnings")) == machine->n_warnings);
	CHECK(json_is_string(json_object_get(json, "name")));
	json_decref(json);
	machine_free(machine);
	return 0;
}
