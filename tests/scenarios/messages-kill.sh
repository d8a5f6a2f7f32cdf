#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Kernels are killed, panic and restart at random moments of traffic between all: the others go on
# among themselves, what waited for the dead is told, and who restarts takes part again and gets nothing
# that was meant for its former life.
#
# machine: --cpus 5 --memory 3G
# timeout: 1200

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

expect_failed_unit 'popcorn@*.service'
whole_mark
popcornctl list
ok 'load the test module' insmod "$(dirname "$0")/modules/popcorn_msgtest.ko"
up k1 1
up k2 2
up k3 1
kernels=(primary k1 k2 k3)
for kernel in "${kernels[@]}"; do
	wait_until 30 reaches "$kernel" 3
done
for kernel in "${kernels[@]}"; do
	start "$kernel" 'traffic 0 40000'
done

seed=${SEED:-$RANDOM} RANDOM=$seed
say "seed $seed"
cpus=(x 1 2 1)
for round in 1 2 3 4 5; do
	n=$((RANDOM % 3 + 1)) delay=0.$((RANDOM % 1000))
	say "-- round $round: k$n, after $delay s"
	sleep "$delay"
	before=$(word received "$(report primary)")
	if [ $((round % 3)) -eq 0 ]; then
		type_in k$n 'echo c >/proc/sysrq-trigger'
		reach k$n crashed 30
	else
		ok 'kill' popcornctl kill k$n
	fi
	ok 'release' popcornctl release k$n
	for kernel in "${kernels[@]}"; do
		[ "$kernel" = k$n ] || wait_until 30 reaches "$kernel" 2
	done
	[ "$(word received "$(report primary)")" -gt "$before" ] || fail 'no messages come any more'
	up k$n "${cpus[$n]}"
	start k$n 'traffic 0 40000'
	for kernel in "${kernels[@]}"; do
		wait_until 30 reaches "$kernel" 3
		sound "$kernel"
	done
done

for kernel in "${kernels[@]}"; do
	start "$kernel" stop
done
for kernel in "${kernels[@]}"; do
	wait_until 120 idle "$kernel"
	sound "$kernel"
done
systemctl reset-failed
ok 'kill all' popcornctl kill k1 k2 k3
ok 'release all' popcornctl release k1 k2 k3
ok 'unload the test module' rmmod popcorn_msgtest
whole_check
