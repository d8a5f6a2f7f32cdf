#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# On a machine with two NUMA nodes, a policy becomes running kernels that have the CPUs, memory and
# nodes of the plan; applied again it changes nothing; changed, it replaces, but not without being
# allowed to; all or nothing when one does not boot; a kernel with memory of two nodes sees both.
#
# machine: --cpus 4 --memory 4G --numa 2:21
# apic: both
# timeout: 600

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/plans.bash"

mkdir -p /etc/popcorn/policies
policy=/etc/popcorn/policies/mine.conf

whole_mark
ok 'the plan of per-node' popcornctl plan per-node --explain
apply_and_look per-node
is 'kernels of per-node' "$(planned per-node)" node1
is 'whose it is' "$(prop node1 Policy)" per-node
is 'it has the other node' "$(popcornctl show node1 -p Cpus)" 'Cpus=2 3'

say '--- again'
before=$(prop node1 BootTime)
ok 'again' popcornctl apply per-node
is 'nothing was booted' "$(prop node1 BootTime)" "$before"
is 'what would change' "$(popcornctl plan per-node --diff --json=short | jq -r '.changes[].change')" keep
ok 'stop' popcornctl stop node1
ok 'release' popcornctl release node1

say '--- two nodes in one kernel'
cat >$policy <<'POLICY'
groups = (
	{
		name = "wide";
		cpus = "1,2";
		memory = "512M";
		memory_from = "interleave";
	}
);
POLICY
apply_and_look mine
is 'it has CPUs and memory of both nodes' "$(ask wide 'cat /sys/devices/system/node/online')" 0-1
is 'the distances that it sees' "$(ask wide 'cat /sys/devices/system/node/node*/distance' | tr -s ' \n' ' ')" \
	'10 21 21 10 '
is 'each of its nodes has a CPU' "$(ask wide 'cat /sys/devices/system/node/node*/cpulist' | tr '\n' ' ')" '0 1 '

say '--- changed'
cat >$policy <<'POLICY'
default = { memory = "384M"; };
groups = (
	{ name = "a"; cpus = "2"; },
	{ name = "b"; cpus = "3"; cmdline = "popcorn.test=1"; after = "a"; }
);
POLICY
fails_with WouldStop popcornctl apply mine
is 'nothing was done' "$(popcornctl list --no-legend | awk '{ print $1, $3 }')" 'wide running'
ok 'with leave to stop' popcornctl apply mine --yes
is 'what runs now' "$(running)" 'a b'
is 'its command line' "$(ask b 'grep -o popcorn.test=. /proc/cmdline')" popcorn.test=1
boot_a=$(prop a BootTime)
sed -i 's/popcorn.test=1/popcorn.test=2/' $policy
ok 'another command line' popcornctl apply mine --yes
is 'b was replaced' "$(ask b 'grep -o popcorn.test=. /proc/cmdline')" popcorn.test=2
is 'a was not' "$(prop a BootTime)" "$boot_a"

say '--- all or nothing'
# The unit of a kernel that does not boot.
expect_failed_unit popcorn@b.service
# No kernel boots as fast as this. Those that ran have to come back as they were.
sed -i 's/popcorn.test=2/popcorn.test=3/' $policy
sed -i 's/ after = "a";/ boot_timeout = 0.2;/' $policy
fails_with BootTimeout popcornctl apply mine --atomic --yes
is 'what runs now' "$(running)" 'a b'
is 'b is as it was' "$(ask b 'grep -o popcorn.test=. /proc/cmdline')" popcorn.test=2
is 'a runs on' "$(prop a BootTime)" "$boot_a"
ok 'stop' popcornctl stop a b
ok 'release' popcornctl release a b wide
sed -i 's/cpus = "2"/cpus = "1"/' $policy
fails_with BootTimeout popcornctl apply mine --atomic
is 'nothing runs' "$(running)" ''
# That of the one that failed says why.
is 'what is remembered' "$(popcornctl list --no-legend | awk '{ print $1, $3 }')" 'b failed'
ok 'release' popcornctl release b

say '--- bad wishes'
fails_with NoSuchPolicy popcornctl apply nothing
cat >/tmp/bad.conf <<'POLICY'
groups = (
	{ name = "x"; cpus = "17"; }
);
POLICY
fails_with 'bad.conf:2: x:' popcornctl apply /tmp/bad.conf
address=$(popcornctl topology --json=short | jq -r '.devices[0].address')
sed -i "s/cpus = \"17\";/cpus = \"1\"; devices = \"$address\";/" /tmp/bad.conf
ok 'a device can be planned' popcornctl plan /tmp/bad.conf
fails_with NotSupported popcornctl apply /tmp/bad.conf
is 'nothing was started' "$(popcornctl list --no-legend | wc -l)" 0

rm $policy
whole_check
