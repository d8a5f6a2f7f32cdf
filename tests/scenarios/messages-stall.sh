#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel whose handler does not go on stalls only who sends to that handler's queue: the same
# sender's control messages and everything from others go on. Who waits meanwhile gives up by its timeout, by a
# signal, or in the middle of a large message; afterwards nothing that was sent is missing. A process whose call is
# refused while there is no room to say so hears it when there is.
#
# machine: --cpus 4 --memory 3G
# apic: both
# timeout: 600

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

CONTROL=1 BULK=2 ETIMEDOUT=110 EINTR=4
expect_failed_unit 'popcorn@*.service'
whole_mark
popcornctl list
ok 'load the test module' insmod "$(dirname "$0")/modules/popcorn_msgtest.ko"
up s1 1
up s2 1
for kernel in primary s1 s2; do
	wait_until 30 reaches "$kernel" 2
done

flooded() {
	sed -n 's/^flood 1 sent \([0-9]*\) error \(-*[0-9]*\) .*/\1 \2/p' $TEST/report
}
# counter KERNEL ID LANE WORD: of its statistics.
counter() {
	on "$1" "cat $PEERS" | sed -n "/^peer $2\\./,/^peer/p" | sed -n "s/^  $3 .*\\b$4 \\([0-9]*\\).*/\\1/p"
}

slots=$(counter s1 0 bulk of)

say '-- the gate of kernel 1 is closed'
start s1 "gate $BULK 0"
fails_with "Connection timed out" bash -c "echo flood 1 $BULK 100000 500 64 >$TEST/run"
read -r sent error < <(flooded)
is 'the error of who had a timeout' "$error" -$ETIMEDOUT
# In the queue of the handler and in the ring; and at the gate, if the one there left the queue before it was full,
# for a queue that was full is filled again when half of it is gone.
if ((sent != 256 + slots && sent != 1 + 256 + slots)); then
	fail "messages that were taken: $sent, expected 256 + $slots, or one more"
fi
say "ok: messages that were taken: $sent"
is 'credits at that priority' "$(counter primary 1 bulk credits)" 0
[ "$(counter s1 0 bulk stalls)" -ge 1 ] || fail 'the receiver has not counted that it is stalled'

say '-- a signal'
sh -c "exec echo flood 1 $BULK 100000 600000 64 >$TEST/run" &
pid=$!
is_waiting() {
	grep -q ' [SD] ' <(cut -d ' ' -f 2- "/proc/$pid/stat") &&
		[ "$(counter primary 1 bulk waits)" -gt "$1" ]
}
wait_until 10 is_waiting 1
kill "$pid"
wait "$pid" && fail 'who got a signal has sent'
read -r more error < <(flooded)
is 'the error of who got a signal' "$error" -$EINTR
is 'messages of it that were taken' "$more" 0

say '-- all else goes on'
ok 'control from the same sender' sh -c "echo ping 1 500 64 >$TEST/run"
start s2 'traffic 1000'
wait_until 60 idle s2
sound s2
is 'streams of another sender that ended early' "$(word ended "$(report s2)")" 0
is 'received through the gate' "$(word bulk "$(report s1 | grep ^gate)")" 0
is 'who is at the gate' "$(word waiting "$(report s1)")" 1

say '-- it goes on'
start s1 "gate $BULK 1"
through() {
	[ "$(word bulk "$(report s1 | grep ^gate)")" = "$1" ]
}
wait_until 30 through "$sent"
sound s1

say '-- large messages: the second one is given up in the middle'
start s1 "gate $BULK 0"
fails_with "Connection timed out" bash -c "echo flood 1 $BULK 100 1000 1048576 >$TEST/run"
read -r large error < <(flooded)
is 'the error of who had a timeout' "$error" -$ETIMEDOUT
# 275 chunks each; one at the gate, the queue full of the next.
is 'large messages that were taken' "$large" 1
start s1 "gate $BULK 1"
wait_until 30 through $((sent + large))
ok 'more of them' sh -c "echo flood 1 $BULK 20 60000 1048576 >$TEST/run"
wait_until 30 through $((sent + large + 20))
for kernel in primary s1 s2; do
	sound "$kernel"
done
is 'credits at that priority' "$(counter primary 1 bulk credits)" "$slots"

say '-- a call is refused while there is no room to say so'
serve s1 test
mkfifo /run/go
msguser late 1 </run/go >/run/late &
exec {go}>/run/go
wait_until 30 grep -q found /run/late
signal s1 KILL
wait_until 30 nothing_left s1
start primary "gate $CONTROL 0"
on s1 "echo flood 0 $CONTROL 100000 500 64 >$TEST/run; echo" >/dev/null
answers=$(counter primary 1 reply received)
echo >&"$go"
asked_twice() {
	[ "$(counter primary 1 reply received)" -ge $((answers + 2)) ]
}
wait_until 30 asked_twice
is 'what the caller knows' "$(tail -n 1 /run/late)" found
start primary "gate $CONTROL 1"
wait_until 30 grep -q 'called: EPIPE' /run/late
say 'ok: it is told'
sound primary

ok 'kill all' popcornctl kill s1 s2
ok 'release all' popcornctl release s1 s2
ok 'unload the test module' rmmod popcorn_msgtest
whole_check
