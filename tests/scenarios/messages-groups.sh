#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Groups: what is sent to one comes once to each kernel that is in it, also to one that joined before the
# sender was there, and not to those that left, ended, or came back and have joined nothing. Messages that nobody
# handles are counted, and requests refused.
#
# machine: --cpus 4 --memory 3G
# apic: both
# timeout: 600

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

CONTROL=1 BULK=2
expect_failed_unit 'popcorn@*.service'
whole_mark
popcornctl list
ok 'load the test module' insmod "$(dirname "$0")/modules/popcorn_msgtest.ko"
start primary 'join early'
up g1 1
up g2 1
for kernel in primary g1 g2; do
	wait_until 30 reaches "$kernel" 2
done

# cast KERNEL GROUP PRIORITY COUNT BYTES
cast() {
	start "$1" "cast $2 $3 $4 $5"
	word 'cast sent' "$(report "$1")"
}
# reaches_members KERNEL GROUP N: it knows of N others that are in it.
reaches_members() {
	[ "$(cast "$1" "$2" $CONTROL 1 64)" = "$3" ]
}
got() {
	word "group $2" "$(report "$1")"
}
received() {
	[ "$(got "$1" "$2")" = "$3" ]
}

say '-- who was in a group before the sender came'
wait_until 10 reaches_members g1 early 1
wait_until 10 reaches_members g2 early 1

say '-- two members'
start g1 'join red'
start g2 'join red'
wait_until 10 reaches_members primary red 2
before1=$(got g1 red) before2=$(got g2 red)
is 'sent' "$(cast primary red $CONTROL 1000 64)" 2000
is 'sent, bulk' "$(cast primary red $BULK 1000 3816)" 2000
wait_until 10 received g1 red $((before1 + 2000))
wait_until 10 received g2 red $((before2 + 2000))
say 'ok: each of both has got all'
is 'a member sends to the others' "$(cast g1 red $CONTROL 100 64)" 100
wait_until 10 received g2 red $((before2 + 2100))
is 'what it got of its own' "$(got g1 red)" $((before1 + 2000))

say '-- one leaves'
start g1 'leave red'
wait_until 10 reaches_members primary red 1
is 'sent' "$(cast primary red $CONTROL 100 64)" 100
is 'what it got since' "$(($(got g1 red) - before1 >= 2000 && $(got g1 red) - before1 < 2010))" 1
gone=$(got g1 red)
is 'sent' "$(cast primary red $CONTROL 100 64)" 100
is 'what it got since' "$(got g1 red)" "$gone"

say '-- one ends, and comes back'
ok 'kill' popcornctl kill g2
is 'sent to nobody' "$(cast primary red $CONTROL 10 64)" 0
ok 'release' popcornctl release g2
up g2 1
wait_until 30 reaches primary 2
is 'sent to nobody' "$(cast primary red $CONTROL 10 64)" 0
start g2 'join red'
wait_until 10 reaches_members primary red 1

say '-- as many groups as there may be'
start primary groups
is 'groups' "$(word groups "$(report primary)")" 62
start g1 groups
is 'groups' "$(word groups "$(report g1)")" 62
wait_until 10 reaches_members g1 red 1

say '-- what nobody handles'
# unknown KERNEL ID: messages that it has counted so.
unknown() {
	on "$1" "cat $PEERS" | sed -n "/^peer $2\\./,/^peer/p" |
		sed -n 's/^  control .*unknown \([0-9]*\).*/\1/p'
}
before=$(unknown g1 0)
start primary 'unknown 1'
is 'messages that were counted' $(($(unknown g1 0) - before)) 3
sed -n 's/^  \(calls by log2 ns .*\)/\1/p' $PEERS
for kernel in primary g1 g2; do
	sound "$kernel"
done

start primary 'leave early'
ok 'kill all' popcornctl kill g1 g2
ok 'release all' popcornctl release g1 g2
ok 'unload the test module' rmmod popcorn_msgtest
whole_check
