#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel overwrites a ring that is another one's, what it tells others of its own ring, its mailbox,
# and its entry in the directory, during traffic: it is found out and named, nobody else notices, and
# the primary stays whole.
#
# machine: --cpus 4 --memory 3G
# timeout: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

expect_failed_unit 'popcorn@*.service'
whole_mark
popcornctl list
ok 'load the test module' insmod "$(dirname "$0")/modules/popcorn_msgtest.ko"
up good 1
start primary 'traffic 0 10000'
start good 'traffic 0 10000'

says() {
	dmesg | tail -n 40 | grep -q "$1"
}

# bad HOW VICTIM WHAT: what the victim, or the primary, says of it.
bad() {
	local id

	say "-- $1, of kernel $2"
	up bad 1
	for kernel in primary good bad; do
		wait_until 30 reaches "$kernel" 2
	done
	start bad 'traffic 0 10000'
	id=$(sed -n 's/^peer \([0-9]*\.[0-9]*\) up.*/\1/p' $PEERS | tail -n 1)
	on bad "insmod /popcorn_misbehave.ko how=$1 victim=$2" || true
	if [ -n "$3" ]; then
		wait_until 30 says "kernel $id has failed: $3"
		say "ok: $(dmesg | grep "kernel $id has failed" | tail -n 1)"
	fi
	ok 'kill' popcornctl kill bad
	ok 'release' popcornctl release bad
	for kernel in primary good; do
		wait_until 30 reaches "$kernel" 1
	done
	ok 'the other one answers' sh -c "echo ping 1 100 64 >$TEST/run"
}

bad ring 0 'there is garbage in its ring'
bad ring 1 'there is garbage in its ring'
bad tail 0 'it says that it has read what was not sent'
bad mailbox 0 ''
bad entry 0 'its entry in the directory is damaged'

for kernel in primary good; do
	start "$kernel" stop
	wait_until 120 idle "$kernel"
done
sound good
systemctl reset-failed
ok 'stop' popcornctl stop good
ok 'release' popcornctl release good
ok 'unload the test module' rmmod popcorn_msgtest
whole_check
