#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Processes of the primary and of two kernels send each other messages, call and reply, by service
# names and groups: all sizes, full queues, bad input; who is killed in the middle leaves nothing,
# and a kernel that dies in the middle is told to those who wait for it. Who is not in the group can't.
#
# machine: --cpus 4 --memory 3G
# timeout: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

expect_failed_unit 'popcorn@*.service'
whole_mark
popcornctl list
up u1 1
# With PREEMPT_RT, where handlers are threads.
up u2 1 "$(find /boot -name 'vmlinuz-6.1.*-rt-amd64' | sort -V | tail -n 1)"
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

say '-- who is killed in the middle'
seed=${SEED:-$RANDOM} RANDOM=$seed
say "seed $seed"
# Senders of long and short messages, and callers, here and there; the server now and then.
for round in 1 2 3 4 5 6 7 8; do
	serve u1 test
	pids=()
	for what in 1048576 1048576 3000 0 call never; do
		msguser flood 1 $what >/run/flood.$what 2>&1 &
		pids+=($!)
	done
	wait_until 30 grep -q begins /run/flood.1048576 /run/flood.never
	sleep 0.$((RANDOM % 1000))
	case $((round % 4)) in
	0) signal u1 KILL ;; # the receiver and replier
	1) signal u1 STOP; sleep 0.5 ;; # full: they wait for room
	*) ;;
	esac
	if [ $((round % 4)) -eq 0 ]; then
		# All of them are told.
		wait "${pids[@]}" || true
		for what in 1048576 3000 0 call never; do
			is "what $what is told" "$(tail -n 1 /run/flood.$what)" "$what: EPIPE"
		done
	else
		kill -9 "${pids[@]}"
		wait "${pids[@]}" 2>/dev/null || true
	fi
	# What was sent to the server may still be there, but nothing of the killed.
	wait_until 30 nothing_left primary
	stop_servers u1
	say "ok: round $round: nothing is left"
done

say '-- a kernel dies in the middle'
serve u2 test
for what in 1048576 0 never; do
	msguser flood 2 $what >/run/flood.$what 2>&1 &
done
wait_until 30 grep -q begins /run/flood.1048576 /run/flood.0
on u1 'msguser flood 2 never >/run/flood 2>&1 & echo'
wait_until 30 on u1 'grep -q begins /run/flood'
on u2 'msguser flood 0 1048576 >/dev/null 2>&1 & echo'
serve primary test
sleep 1
ok 'kill it' popcornctl kill u2
wait_until 30 grep -q : /run/flood.1048576 /run/flood.0 /run/flood.never
for what in 1048576 0 never; do
	is "what $what is told" "$(tail -n 1 /run/flood.$what)" "$what: EPIPE"
done
told() {
	[ "$(on u1 'tail -n 1 /run/flood')" = 'never: EPIPE' ]
}
wait_until 30 told
say 'ok: a caller in u1 is told, too'
ok 'release it' popcornctl release u2
signal primary KILL
wait_until 30 nothing_left primary

say '-- rights'
serve u1 test
is 'the device is' "$(stat -c '%U %G %a' /dev/popcorn-msg)" 'root popcorn 660'
is 'a stranger may' "$(setpriv --reuid=65534 --regid=65534 --clear-groups msguser rights 1)" EACCES
as_member() {
	setpriv --reuid=65534 --regid=65534 --groups="$(getent group popcorn | cut -d: -f3)" "$@"
}
as_member msguser rights 1 >/run/rights || true
cat /run/rights
grep -q '^ok.*the uid that the server sees: 65534' /run/rights || fail 'see above'
tested /run/rights
msguser rights 1 >/run/rights || true
tested /run/rights
stop_servers u1

systemctl reset-failed
ok 'stop' popcornctl stop u1
ok 'release' popcornctl release u1
systemctl stop popcornd
# With a descriptor open, its module stays, but the others can go.
msguser serve test >/dev/null &
ok 'unload' rmmod popcorn_kexec popcorn_vty
fails_with 'in use' rmmod popcorn_msg
kill $!
wait $! || true
ok 'unload' rmmod popcorn_msg
ok 'load again' modprobe popcorn_kexec
systemctl start popcornd
whole_check
