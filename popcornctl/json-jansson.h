/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* From the planner's JSON (jansson) to popcornctl's, so that all is printed by the same functions. */

#include <jansson.h>

#include "json.h"

struct json *json_from_jansson(const json_t *value);
