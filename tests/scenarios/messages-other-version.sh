#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel that finds the primary's directory, another kernel's mailbox or another kernel's rings to be of a version
# that it does not know says so, and runs: without messages where it is the directory, without that one kernel where
# it is a mailbox or a ring. All others notice nothing, and it is asked to shut down as ever.
#
# machine: --cpus 3 --memory 3G
# timeout: 500

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

# number NAME: ID.GENERATION of a kernel that the primary can reach, by its place among them.
number() {
	echo "$(prop "$1" Id).$(sed -n "s/^peer $(prop "$1" Id)\.\([0-9]*\) .*/\1/p" $PEERS)"
}

# said NAME WHAT: what a kernel's layer has logged. Counted there: lines of a log are no answer on a console.
said() {
	is "$1 says: $2" "$(on "$1" "dmesg | grep 'popcorn_msg: ' | grep -c \"$2\"")" 1
}

# shows NAME MESSAGES: for wait_until.
shows() {
	[ "$(prop "$1" Messages)" = "$2" ]
}

# misbehave NAME PARAMETERS…
misbehave() {
	is "$1: ${*:2}" "$(on "$1" "insmod /popcorn_misbehave.ko ${*:2} && echo done")" 'done'
}

# gone NAME…: killed, because a shell as init does not shut down, and forgotten.
gone() {
	ok "kill $*" popcornctl kill "$@"
	ok "release $*" popcornctl release "$@"
}

whole_mark
popcornctl list
ok 'load the test module' insmod "$(dirname "$0")/modules/popcorn_msgtest.ko"
up bad 1
wait_until 30 reaches primary 1
wait_until 10 shows bad yes

say '-- the directory'
misbehave bad how=directory version=2
ok 'boot late, the agent is its init' popcornctl boot late --cpus 1 --memory 256M
is 'state of the one that came later' "$(prop late State)" running
said late "no messages with other kernels: the primary's directory has another version"
is 'whom it can reach' "$(on late "dmesg | grep -c 'popcorn_msg: .*can be reached'")" 0
is 'whom the primary can reach' "$(grep -c '^peer.* up' $PEERS)" 1
is 'its messages, as popcornd shows it' "$(prop late Messages)" no
fails_with 'late' popcornctl exec late true
fails_with 'late' popcornctl ping late -c 1
ok 'the one that was there before answers' popcornctl ping bad -c 3 -i 0
ok 'it is asked to shut down all the same' popcornctl stop late
is 'reason' "$(prop late Reason)" requested
journalctl -b --no-pager -o cat POPCORN_KERNEL=late | grep -q 'by the doorbell; no answer by message' ||
	fail 'the journal does not say how it was asked'
ok 'release late' popcornctl release late
is 'rmmod' "$(on bad 'rmmod popcorn_misbehave && echo done')" 'done'
misbehave bad how=directory version=1
up late 1
wait_until 30 reaches primary 2
ok 'the next one takes part again' popcornctl ping late -c 3 -i 0
gone late
wait_until 30 reaches primary 1

say '-- rings'
is 'rmmod' "$(on bad 'rmmod popcorn_misbehave && echo done')" 'done'
misbehave bad how=ring-version version=2
id=$(number bad)
up late 1
wait_until 30 reaches late 1
said late "kernel $id has failed: its ring has another version"
wait_until 30 sh -c "dmesg | grep -q 'says that kernel $id has failed: its ring has another version'"
say "ok: $(dmesg | grep "says that kernel $id has failed" | tail -n 1)"
is 'whom the primary can reach' "$(grep -c '^peer.* up' $PEERS)" 2
for kernel in bad late; do
	ok "$kernel answers" popcornctl ping "$kernel" -c 3 -i 0
done
gone late
wait_until 30 reaches primary 1

say '-- the mailbox'
is 'rmmod' "$(on bad 'rmmod popcorn_misbehave && echo done')" 'done'
misbehave bad how=version version=2
wait_until 30 reaches primary 0
wait_until 10 shows bad no
ok 'the primary says so' sh -c "dmesg | grep 'kernel $id has failed: its mailbox has another version'"
up late 1
wait_until 30 reaches late 1
said late "kernel $id has failed: its mailbox has another version"
ok 'late answers' popcornctl ping late -c 3 -i 0
gone late bad
ok 'unload the test module' rmmod popcorn_msgtest
whole_check
