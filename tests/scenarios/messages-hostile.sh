#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel overwrites a ring that is another one's, what it tells others of its own ring, its mailbox,
# and its entry in the directory, during traffic; sends messages that make no sense, each in another way; and
# speaks another protocol: it is found out and named, nobody else notices, and the primary stays whole.
#
# machine: --cpus 4 --memory 3G
# timeout: 1200

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

expect_failed_unit 'popcorn@*.service'
whole_mark
popcornctl list
ok 'load the test module' insmod "$(dirname "$0")/modules/popcorn_msgtest.ko"
up good 1
start primary 'traffic 0 40000'
start good 'traffic 0 40000'

says() {
	dmesg | tail -n 40 | grep -q "$1"
}

LAYER='it sends messages of the layer that make no sense'
CHUNK='it sends large messages that make no sense'

# bad HOW VICTIM WHAT: what the victim, or the primary, says of it.
bad() {
	local id

	say "-- $1, of kernel $2"
	up bad 1
	for kernel in primary good bad; do
		wait_until 30 reaches "$kernel" 2
	done
	# What is forged is the next message only if no other one is under way.
	[[ $1 = forge-* ]] || start bad 'traffic 0 40000'
	id=$(sed -n 's/^peer \([0-9]*\.[0-9]*\) up.*/\1/p' $PEERS | tail -n 1)
	on bad "insmod /popcorn_misbehave.ko how=$1 victim=$2" || true
	wait_until 30 says "kernel $id has failed: $3"
	say "ok: $(dmesg | grep "kernel $id has failed" | tail -n 1)"
	away
}

away() {
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
bad mailbox 0 'its mailbox is damaged'
bad version 0 'its mailbox has another version'
bad entry 0 'its entry in the directory is damaged'
for kernel in primary good; do
	start "$kernel" stop
	wait_until 120 idle "$kernel"
done

while read -r how what; do
	bad "forge-$how" 0 "$what"
done <<FORGED
flags it sends messages that make no sense
layer $LAYER
hello $LAYER
room it sends requests that make no sense
chunk-offset $CHUNK
chunk-total $CHUNK
chunk-short $CHUNK
chunk-stream $CHUNK
group-name it sends to groups that make no sense
group-slot $LAYER
group-text $LAYER
FORGED

say '-- a kernel that plays its processes'
up bad 1
for kernel in primary good bad; do
	wait_until 30 reaches "$kernel" 2
	serve "$kernel" test
done
is 'packets that make no sense are answered as they should be' \
	"$(on bad 'insmod /popcorn_imposter.ko && echo good; dmesg | grep popcorn_imposter')" good
id=$(sed -n 's/^peer \([0-9]*\)\..*/\1/p' $PEERS | tail -n 1)
msguser imposter "$id" >/run/imposter || true
tested /run/imposter
is 'it was not believed' "$(dmesg | grep -c 'offers a window that is not in its memory')" 3
# Not the imposter's services, but those that it has talked to.
msguser trip 0 100 >/dev/null
msguser trip 1 100 >/dev/null
say 'ok: others answer'
# What it has begun and not ended goes, also while the server is there.
wait_until 30 grep -q ' messages 0 bytes 0 requests 0 ' $PROCESSES
for kernel in primary good; do
	stop_servers "$kernel"
done
say 'ok: nothing is left'
away

say '-- another protocol'
echo 7 >/sys/module/popcorn_msg/parameters/protocol
up bad 1
wait_until 30 reaches good 2
id=$(sed -n 's/^peer \([0-9]*\.[0-9]*\) .*/\1/p' $PEERS | tail -n 1)
wait_until 30 says "kernel ${id%.*} speaks protocols 2 to 2, this one 7 to 7"
wait_until 30 says "kernel $id has failed: it speaks no protocol that this kernel knows"
say "ok: $(dmesg | grep "kernel $id has failed" | tail -n 1)"
is 'what the other one says' \
	"$(on bad 'dmesg | sed -n "s/.*kernel 0 \(speaks protocols.*\)/\1/p"')" \
	'speaks protocols 7 to 7, this one 2 to 2'
is 'whom the primary can reach' "$(sed -n 's/^peer \([0-9]*\)\..* up$/\1/p' $PEERS)" 1
echo 0 >/sys/module/popcorn_msg/parameters/protocol
away

sound good
systemctl reset-failed
ok 'stop' popcornctl stop good
ok 'release' popcornctl release good
ok 'unload the test module' rmmod popcorn_msgtest
whole_check
