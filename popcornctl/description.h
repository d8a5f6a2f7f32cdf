/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Machines that are only described, by --xml or --synthetic, and popcornd's JSON of the other one. */

#include "json.h"
#include "machine.h"
#include "popcornctl.h"
#include "topology.h"

static inline void topology_freep(struct topology **topology)
{
	topology_free(*topology);
}

static inline void machine_freep(struct machine **machine)
{
	if (*machine)
		machine_free(*machine);
}

bool is_described(const struct arguments *arguments);
/* --draw, --xml and --synthetic. EXIT_DONE, or it has said what is wrong. */
int check_description(const struct arguments *arguments, const char *verb);
/* Of is_described(). *@ret_topology is the caller's on failure, too. */
int load_description(const struct arguments *arguments, struct topology **ret_topology,
		     struct machine **ret, struct popcorn_error *error);
/* An object that popcornd sent as text; NULL: it is none, which has been said. */
struct json *parse_answer(const char *what, const char *text);
