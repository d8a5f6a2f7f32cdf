#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# On a machine with four NUMA nodes, per-node makes three kernels, each with the CPUs and the memory
# of its own node, beside a primary that keeps the first; a kernel with memory of three nodes sees them.
#
# machine: --cpus 8 --memory 5G --numa 4:24
# timeout: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/plans.bash"

whole_mark
popcornctl topology
apply_and_look per-node
is 'kernels of per-node' "$(planned per-node)" 'node1 node2 node3'
is 'CPUs left to the primary' "$(cat /sys/devices/system/cpu/online)" 0-1
ok 'again' popcornctl apply per-node
ok 'one ends' popcornctl stop node2
is 'what would change' \
	"$(popcornctl plan per-node --diff --json=short | jq -r '[.changes[] | "\(.change) \(.name)"] | join(", ")')" \
	'start node2, keep node1, keep node3'
ok 'it is started again' popcornctl apply per-node --atomic
is 'what runs' "$(running)" 'node1 node2 node3'
ok 'stop' popcornctl stop node1 node2 node3
ok 'release' popcornctl release node1 node2 node3

cat >/tmp/wide.conf <<'POLICY'
groups = (
	{
		name = "wide";
		cpus = "4-5";
		memory = "768M";
		memory_from = "interleave";
		memory_nodes = "1-3";
	}
);
POLICY
apply_and_look /tmp/wide.conf
ok 'stop' popcornctl stop wide
ok 'release' popcornctl release wide
whole_check
