#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Messages between kernels of different versions: the primary's, 6.12, and 6.1 with PREEMPT_RT, the
# latter with two CPUs; and commands, pings and statistics of them.
#
# machine: --cpus 5 --memory 3G
# apic: both
# timeout: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

whole_mark
popcornctl list
ok 'load the test module' insmod "$(dirname "$0")/modules/popcorn_msgtest.ko"
up new 1 "$(image '6.12*-amd64')"
up rt 2 "$(image '6.1.*-rt-amd64')"
for kernel in primary new rt; do
	wait_until 30 reaches "$kernel" 2
done
head -c 65536 /dev/urandom >/run/in
for kernel in new rt; do
	is "a command in $kernel" "$(popcornctl exec $kernel uname -r)" "$(prop $kernel Version)"
	popcornctl exec $kernel cat </run/in >/run/out
	ok "64 KiB to $kernel and back" cmp /run/in /run/out
	is "status of a command in $kernel" "$(popcornctl exec $kernel sh -c 'exit 7' || echo $?)" 7
	is "pings to $kernel, sent and lost" \
		"$(popcornctl ping $kernel -c 50 -i 0 --json=short | jq -c 'map([.sent, .lost])')" '[[50,0]]'
	is "statistics of $kernel: sent, received, credits, how long calls took" \
		"$(popcornctl stats $kernel --json=short | jq -c '[(map(.sent) | add > 50),
			(map(.received) | add > 50), any(.[]; .credits > 0), any(.[]; .latency | length > 0)]')" \
		'[true,true,true,true]'
	is "messages of $kernel, as popcornd shows it" "$(prop $kernel Messages)" yes
done
for kernel in primary new rt; do
	start "$kernel" 'traffic 5000'
done
for kernel in primary new rt; do
	wait_until 400 idle "$kernel"
done
for kernel in primary new rt; do
	sound "$kernel"
	text=$(report "$kernel")
	is "$kernel sent all" "$(word sent "$text")" 40000
	is "$kernel received all" "$(word received "$text")" 40000
done
expect_failed_unit 'popcorn@*.service'
ok 'kill all' popcornctl kill new rt
ok 'release all' popcornctl release new rt
ok 'unload the test module' rmmod popcorn_msgtest
whole_check
