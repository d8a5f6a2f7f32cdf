#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Processes of the primary and of two kernels send each other messages, call and reply, by service
# names and groups: all sizes, full queues, bad input; who is killed in the middle leaves nothing,
# and a kernel that dies in the middle is told to those who wait for it. Who is not in the group can't.
#
# machine: --cpus 4 --memory 3G
# timeout: 600

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

PROCESSES=/sys/kernel/debug/popcorn_msg/processes
NOTHING='endpoints 0 messages 0 bytes 0 requests 0 calls 0 windows 0 bytes 0 openings 0 revoking 0'

# nothing_left KERNEL: no process of it has anything of the device.
nothing_left() {
	[ "$(on "$1" "cat $PROCESSES")" = "$NOTHING" ]
}

# serve KERNEL NAME: a server in the background.
serve() {
	on "$1" "msguser serve $2 >/run/serve.$2 2>&1 & echo started" | grep -q started
}

# tested OUTPUT-FILE: says how a test program's run went.
tested() {
	grep '^not ok' "$1" && fail "see above: $(tail -n 1 "$1")"
	say "ok: $(tail -n 1 "$1")"
}

# stop_servers KERNEL
stop_servers() {
	on "$1" 'killall -q -9 msguser; echo' >/dev/null || true
	wait_until 30 nothing_left "$1"
}

expect_failed_unit 'popcorn@*.service'
whole_mark
popcornctl list
up u1 1
up u2 1
for kernel in primary u1 u2; do
	wait_until 30 reaches "$kernel" 2
	is "$kernel: the device" "$(on "$kernel" 'test -c /dev/popcorn-msg && echo there')" there
	serve "$kernel" test
	serve "$kernel" test.other
done

say '-- everything, with a process of another kernel'
msguser test 1 >/run/test.1 || true
tested /run/test.1
say '-- with one of this kernel'
msguser test 0 >/run/test.0 || true
tested /run/test.0
say '-- from one secondary to another, and to the primary'
serve u2 test.other
serve primary test.other
for peer in 2 0; do
	on u1 "msguser test $peer >/run/test; grep '^not ok' /run/test; tail -n 1 /run/test" >/run/test.u1
	tested /run/test.u1
done
for kernel in primary u1 u2; do
	stop_servers "$kernel"
done
say 'ok: nothing is left'

whole_check
