#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# SIGKILL of popcornd and of the leader while kernels run, and of popcornd at many moments of a boot
# and of a stop: nothing is lost, nothing stays half done, list says the same as before.
#
# machine: --cpus 4 --memory 3G
# timeout: 500

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
daemon() {
	systemctl show popcornd -p MainPID --value
}
daemon_back() {
	popcornctl list >/dev/null
}
kill_daemon() {
	kill -KILL "$(daemon)"
	wait_until 30 daemon_back
}

say '-- while kernels run'
ok 'boot db0' popcornctl boot db0 --cpus 1 --memory 256M
ok 'boot db1' popcornctl boot db1 --cpus 2 --memory 256M
before=$(listed)
kill_daemon
is 'list after popcornd was killed' "$(listed)" "$before"
old=$(leader db0)
kill -KILL "$old"
wait_until 30 new_leader_is_ready db0 "$old"
is 'state after the leader was killed' "$(prop db0 State)" running
is 'it still answers' "$(ask db0 'echo alive')" alive
kill -KILL "$(daemon)" "$(leader db1)"
wait_until 30 daemon_back
wait_until 30 systemctl is-active --quiet popcorn@db1
is 'list after both were killed' "$(listed)" "$before"
ok 'stop both' popcornctl stop db0 db1
ok 'release both' popcornctl release db0 db1

settled() {
	local state

	state=$(popcornctl list --no-legend 2>/dev/null) || return 1
	! grep -qE 'reserved|loading|booting|stopping' <<<"$state"
}
for step in reserve load start kernel agent; do
	say "-- popcornd is killed during a boot, at \"$step\""
	popcornctl boot half --cpus 1 --memory 256M >/run/boot.log 2>&1 &
	boot=$!
	at_step() {
		grep -qw "$step" /run/boot.log || ! kill -0 $boot 2>/dev/null
	}
	wait_until 60 at_step
	kill -KILL "$(daemon)" || true
	wait $boot || true
	wait_until 30 daemon_back
	wait_until 60 settled
	popcornctl list
	state=$(popcornctl list --no-legend | awk '$1 == "half" { print $3 }')
	say "it is now: ${state:-gone}"
	systemctl stop popcorn@half || true
	popcornctl kill half >/dev/null 2>&1 || true
	popcornctl release half >/dev/null 2>&1 || true
	wait_until 30 sh -c 'test "$(popcornctl list --no-legend | wc -l)" = 0'
	is 'CPUs' "$(cat /sys/devices/system/cpu/online)" 0-3
done

for delay in 0 0.05 0.2 0.5 1; do
	say "-- popcornd is killed $delay s into a stop"
	ok 'boot' popcornctl boot half --cpus 1 --memory 256M
	popcornctl stop half >/run/stop.log 2>&1 &
	stop=$!
	sleep "$delay"
	kill -KILL "$(daemon)" || true
	code=0
	wait $stop || code=$?
	wait_until 30 daemon_back
	wait_until 60 settled
	# Killed before it had heard of the stop: then popcornctl says so, and nothing has happened.
	if [ $code -ne 0 ] && [ "$(prop half State)" = running ]; then
		say "nobody had heard of it: $(tail -n 1 /run/stop.log)"
		ok 'stop' popcornctl stop half
	fi
	reach half stopped 60
	ok 'release' popcornctl release half
	is 'CPUs' "$(cat /sys/devices/system/cpu/online)" 0-3
done
systemctl reset-failed
whole_check
