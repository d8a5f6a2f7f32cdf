# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What scenarios with policies share: a plan is what the kernels are compared with.

# planned POLICY: names of the kernels, in one line.
planned() {
	popcornctl plan "$1" --json=short | jq -r '[.kernels[].name] | join(" ")'
}

# running: names of the kernels that run, sorted, in one line.
running() {
	popcornctl list --json=short |
		jq -r '[.[] | select(.state == "running") | .name] | sort | join(" ")'
}

# look PLAN NAME: the kernel sees what the plan (JSON) gives it: CPUs, memory, nodes, distances.
look() {
	local kernel distances memory bytes nodes n from to row

	kernel=$(jq -c --arg name "$2" '.kernels[] | select(.name == $name)' <<<"$1")
	is "$2: CPUs" "$(ask "$2" 'grep -c ^processor /proc/cpuinfo')" "$(jq '.cpus | length' <<<"$kernel")"
	is "$2: CPUs that the primary lent" "$(popcornctl show "$2" -p Cpus)" \
		"Cpus=$(jq -r '.cpus | join(" ")' <<<"$kernel")"
	is "$2: memory of each node" \
		"$(popcornctl show "$2" -p MemoryRanges |
			awk '{ sub(".*=", "", $1); sum[$3] += $2 } END { for (n in sum) print n, sum[n] }' | sort -n)" \
		"$(jq -r '.memory_nodes[] | "\(.node) \(.bytes)"' <<<"$kernel" | sort -n)"
	bytes=$(jq .memory <<<"$kernel")
	memory=$(ask "$2" 'grep MemTotal /proc/meminfo' | tr -dc 0-9)
	# Its kernel and the structures for its pages come off.
	[ "$memory" -le $((bytes / 1024)) ] && [ "$memory" -gt $((bytes / 1024 * 7 / 10)) ] ||
		fail "$2 sees $memory KiB of $((bytes / 1024))"
	say "ok: $2 sees $memory KiB of $((bytes / 1024))"
	# The nodes of its CPUs and of its memory, by the primary's numbers; its own count from 0.
	nodes=$({
		jq -r '.memory_nodes[].node' <<<"$kernel"
		for n in $(jq -r '.cpus[]' <<<"$kernel"); do
			cpu_node "$n"
		done
	} | sort -nu)
	distances=
	for from in $nodes; do
		read -r -a row <"/sys/devices/system/node/node$from/distance"
		for to in $nodes; do
			distances+="${row[to]} "
		done
	done
	is "$2: distances" "$(ask "$2" 'cat /sys/devices/system/node/node*/distance' | tr -s ' \n' ' ')" "$distances"
}

# cpu_node CPU: of the machine, whether it is lent or not.
cpu_node() {
	jq -r --argjson cpu "$1" '.nodes[] | select(.cpus | index($cpu)) | .node' <<<"$TOPOLOGY"
}

# apply_and_look POLICY: and nothing but its kernels runs afterwards.
apply_and_look() {
	local plan name

	TOPOLOGY=$(popcornctl topology --json=short)
	plan=$(popcornctl plan "$1" --json=short)
	ok "apply $1" popcornctl apply "$1"
	is "$1: what runs" "$(running)" "$(jq -r '[.kernels[].name] | sort | join(" ")' <<<"$plan")"
	for name in $(jq -r '.kernels[].name' <<<"$plan"); do
		look "$plan" "$name"
	done
}
