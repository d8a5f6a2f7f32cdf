/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/*
 * hwloc's view of a machine: of this one, of one that an XML file describes, or of an invented one.
 * The only place that asks hwloc to look, and that finds out which CPU has which APIC id.
 *
 * Linux hides where a CPU is that is offline, and CPUs that are lent are offline on the primary. So
 * popcornd keeps the view of a time when they were online: topology_load_live().
 *
 * What others wrote is hostile: it is limited in size and tried in a child process first, because
 * hwloc's parsers crash on some inputs. popcornd itself reads no XML but its own.
 *
 * A load clears all HWLOC_… variables of the environment: they could make hwloc see another machine
 * than the one that is there. The first one should happen before there are threads.
 */

#include <hwloc.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

/* A file of 4096 CPUs has some 5 MiB. */
#define TOPOLOGY_XML_MAX (64U << 20)
/* More than Linux can have on any machine of this kind: a typing error must not cost gigabytes. */
#define TOPOLOGY_CPUS_MAX 65536

/* Info attributes that we add to hwloc's: of a PU, in decimal; of a PCI device. */
#define TOPOLOGY_INFO_APICID "APICID"
#define TOPOLOGY_INFO_DRIVER "Driver"

struct topology;

/* As it is now, without what is offline. @root "" = this machine. -ENOMEM, -EIO. */
int topology_load(const char *root, struct topology **ret);
/*
 * The same, with what was seen since boot: <@run>/topology.xml, if that covers all that is online
 * now and more, else it is written anew. If neither covers the other: what is online now, and
 * topology_node() still knows the others.
 */
int topology_load_live(const char *root, const char *run, struct topology **ret,
		       struct popcorn_error *error);
/* TOPOLOGY. */
int topology_load_xml(const char *path, struct topology **ret, struct popcorn_error *error);
/* Of a text, which need not be ended by NUL; @name is for messages. */
int topology_parse_xml(const char *name, const char *text, size_t size, struct topology **ret,
		       struct popcorn_error *error);
/* "node:2 core:4 pu:2", "node:4(memory=16GiB) l3:2 core:8 pu:1"; see hwloc's synthetic backend. */
int topology_load_synthetic(const char *description, struct topology **ret,
			    struct popcorn_error *error);
struct topology *topology_free(struct topology *topology);

/* malloc'ed, ended by NUL. hwloc 2's format. */
int topology_export_xml(const struct topology *topology, char **ret, struct popcorn_error *error);

/* For those that walk the tree themselves; unchanged until topology_free(). */
hwloc_topology_t topology_hwloc(const struct topology *topology);
/*
 * The view of the last load, which has fewer CPUs if some are away, but the devices that are there now;
 * else @topology itself.
 */
const struct topology *topology_now(const struct topology *topology);
/* "this machine", the XML file's name, or the synthetic description. */
const char *topology_name(const struct topology *topology);
bool topology_is_live(const struct topology *topology);
/* What hwloc did not say aloud; whole sentences. */
const char *const *topology_warnings(const struct topology *topology, size_t *ret_n);

bool topology_covers(const struct topology *topology, hwloc_const_bitmap_t cpus);

/*
 * Chooses @n of @free, which topology covers: whole cores first, as near each other as can be, on
 * nodes with @memory bytes of @node_memory[node] (@n_nodes entries) if there are such.
 * -ENOSPC: there are not so many.
 */
int topology_choose(const struct topology *topology, hwloc_const_bitmap_t free, unsigned n,
		    const uint64_t *node_memory, size_t n_nodes, uint64_t memory,
		    hwloc_bitmap_t *ret);

/* 0 if it is not known. */
unsigned topology_node(const struct topology *topology, unsigned cpu);
/* As in a SLIT: 10 = the same node. */
uint8_t topology_distance(const struct topology *topology, unsigned from, unsigned to);
