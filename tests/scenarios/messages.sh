#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The primary and three kernels send each other ten million messages, of both priorities, from nothing to a
# mebibyte, for handlers that sleep and that don't: none is lost, doubled, damaged or out of order, also
# while the CPU that takes the doorbell goes offline.
#
# machine: --cpus 5 --memory 3G
# apic: both
# timeout: 1200

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

# On one kind of machine; a million on the other.
! grep -qw x2apic /proc/cpuinfo || : "${MESSAGES:=21000}"
count=${MESSAGES:-208400} # of each of 4 streams from each of 4 kernels to each of 3: 10,003,200
whole_mark
popcornctl list
ok 'load the test module' insmod "$(dirname "$0")/modules/popcorn_msgtest.ko"
up m1 1
up m2 2
up m3 1
kernels=(primary m1 m2 m3)
for kernel in "${kernels[@]}"; do
	wait_until 30 reaches "$kernel" 3
done
say 'ok: everybody can reach everybody'

say '-- traffic'
begin=$(date +%s%N)
for kernel in "${kernels[@]}"; do
	start "$kernel" "traffic $count"
done

for kernel in "${kernels[@]}"; do
	wait_until 800 idle "$kernel"
done
end=$(date +%s%N)
total=0
for kernel in "${kernels[@]}"; do
	sound "$kernel"
	text=$(report "$kernel")
	is "$kernel sent all" "$(word sent "$text")" $((count * 12))
	is "$kernel received all" "$(word received "$text")" $((count * 12))
	total=$((total + $(word sent "$text")))
done
say "$total messages in $(((end - begin) / 1000000)) ms"
cat $PEERS
say '-- the CPU that has the doorbell goes offline during traffic'
for kernel in "${kernels[@]}"; do
	start "$kernel" 'traffic 0 10000'
done
irq=$(on m2 "sed -n 's/^ *\\([0-9]*\\):.*popcorn_msg.*/\\1/p' /proc/interrupts")
place=/proc/irq/$irq/effective_affinity_list online=/sys/devices/system/cpu/cpu1/online
is_at() {
	[ "$(on m2 "cat $place")" = "$1" ]
}
for _ in 1 2 3; do
	on m2 "echo 1 >/proc/irq/$irq/smp_affinity_list"
	# With the next interrupt.
	wait_until 30 is_at 1
	is 'where it is after CPU 1 went offline' "$(on m2 "echo 0 >$online; cat $place; echo 1 >$online")" 0
done
for kernel in "${kernels[@]}"; do
	start "$kernel" stop
done
# Each stream ends by asking whether all that it sent has been received.
for kernel in "${kernels[@]}"; do
	wait_until 120 idle "$kernel"
	sound "$kernel"
	is "$kernel: streams that ended early" "$(word ended "$(report "$kernel")")" 0
done

expect_failed_unit "popcorn@*.service"
ok "kill all" popcornctl kill m1 m2 m3
ok 'release all' popcornctl release m1 m2 m3
is 'who can be reached now' "$(grep -c '^peer.* up' $PEERS || true)" 0
ok 'unload the test module' rmmod popcorn_msgtest
whole_check
