#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A process of one kernel and one of another share memory: both see what the other one writes; when
# it is taken back, or the kernel that has made it dies, the other side gets SIGBUS and nobody
# anything that is not his; who it was not granted to is refused, and so is memory of others.
#
# machine: --cpus 4 --memory 3G
# timeout: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

expect_failed_unit 'popcorn@*.service'
whole_mark
popcornctl list
other=$(find /boot -name 'vmlinuz-6.12*-amd64' | sort -V | tail -n 1)
up w1 1
up w2 1 "$other"
for kernel in primary w1 w2; do
	wait_until 30 reaches "$kernel" 2
	serve "$kernel" test
done

say '-- all sizes, made in the primary and in another kernel'
msguser windows 1 >/run/windows.1 || true
tested /run/windows.1
for peer in 0 2; do
	on w1 "msguser windows $peer >/run/windows; grep '^not ok' /run/windows; tail -n 1 /run/windows" \
		>/run/windows.w1
	tested /run/windows.w1
done
for kernel in primary w1 w2; do
	stop_servers "$kernel"
done
say 'ok: nothing is left'

# counts KERNEL: the other side, in the background.
counts() {
	on "$1" 'msguser count >/run/count 2>&1 & echo started' | grep -q started
}

# counted KERNEL TEXT: what it has said last.
counted() {
	[ "$(on "$1" 'tail -n 1 /run/count')" = "$2" ]
}

say '-- taken back by closing it, by exit, and by a kill'
counts w1
for how in close again exit; do
	msguser own 1 $how >/run/own || true
	cat /run/own
	grep -q '^own: counted' /run/own || fail "own $how: see above"
	grep -q '^not ok' /run/own && fail "own $how: see above"
	wait_until 30 counted w1 'count: ended by BUS'
	say "ok: $how: the other side got SIGBUS"
	wait_until 30 nothing_left primary
done
msguser own 1 stay >/run/own &
owner=$!
wait_until 60 grep -q counted /run/own
on w2 'msguser steal 0 1 60' >/run/steal
grep -q 'EACCES' /run/steal || fail "$(cat /run/steal)"
! grep -q 'opened' /run/steal || fail "$(cat /run/steal)"
say "ok: for w2 it is: $(grep EACCES /run/steal)"
kill -9 $owner
wait $owner || true
wait_until 30 counted w1 'count: ended by BUS'
wait_until 30 nothing_left primary
say 'ok: a kill: the other side got SIGBUS, and nothing is left'
stop_servers w1

say '-- the side that has opened it dies'
counts w2
msguser own 2 stay >/run/own &
owner=$!
wait_until 60 grep -q counted /run/own
ok 'kill w2' popcornctl kill w2
kill $owner
wait $owner || true
wait_until 30 nothing_left primary
ok 'release w2' popcornctl release w2
say 'ok: nothing is left'

say '-- the side that has made it dies'
up w2 1
for kernel in primary w1 w2; do
	wait_until 30 reaches "$kernel" 2
done
msguser count >/run/count 2>&1 &
counter=$!
id=$(sed -n 's/^peer \([0-9]*\)\.[0-9]* up.*/\1/p' $PEERS | tail -n 1)
on w2 'msguser own 0 stay >/run/own 2>&1 & echo'
wait_until 60 grep -q begins /run/count
wait_until 60 on w2 'grep -q counted /run/own'
counts w1
on w2 'msguser own 1 stay >/run/own1 2>&1 & echo'
wait_until 60 on w2 'grep -q counted /run/own1'
ok "kill w2, kernel $id" popcornctl kill w2
wait_until 30 counted primary 'count: ended by BUS'
wait_until 30 counted w1 'count: ended by BUS'
ok 'release it' popcornctl release w2
kill $counter
wait $counter || true
wait_until 30 nothing_left primary
stop_servers w1

say '-- a kernel offers memory that is not its own'
up w2 1
for kernel in primary w1 w2; do
	wait_until 30 reaches "$kernel" 2
done
msguser count >/run/count 2>&1 &
counter=$!
# Where the primary's own memory is, and w1's; and nowhere.
for address in 0x1000000 "$(on w1 "sed -n 's/^ *\\([0-9a-f]*\\)-.*System RAM/0x\\1/p' /proc/iomem | tail -n 1")" \
	0xfffffffff000; do
	on w2 "insmod /popcorn_liar.ko address=$address; msguser own 0 stay; rmmod popcorn_liar" >/run/liar
	cat /run/liar
	wait_until 10 counted primary 'count: EPROTO'
	say "ok: $address is refused"
done
dmesg | grep -q 'offers a window that is not in its memory' || fail 'it is not in the log'
on w2 "insmod /popcorn_liar.ko address=0; msguser own 0 stay >/run/own 2>&1 & echo"
wait_until 60 grep -q begins /run/count
say 'ok: and what it says truly is taken'
kill $counter
wait $counter || true
wait_until 30 nothing_left primary

systemctl reset-failed
ok 'stop' popcornctl stop w1 w2
ok 'release' popcornctl release w1 w2
whole_check
