#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# SIGKILL of the leader at each step of a boot and of a stop. It is followed by another, whether or not
# it had launched the kernel, and the boot goes on; what was told to stop stays stopped. The primary
# is whole each time.
#
# machine: --cpus 3 --memory 2G
# timeout: 600

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
# at STEP: popcornctl's output in /run/said names it; "queued" and "running" are ours.
at() {
	case $1 in
	queued) [ "$(leader half)" != 0 ] ;;
	running) has_state half running ;;
	stopping) has_state half stopping ;;
	*) grep -qw "$1" /run/said ;;
	esac
}
# at_or_over STEP PID: it is there, or popcornctl has ended.
at_or_over() {
	at "$1" || ! kill -0 "$2" 2>/dev/null
}
has_leader() {
	[ "$(leader half)" != 0 ]
}
# Its unit has come to rest: no leader, and none to come.
at_rest() {
	local state

	state=$(systemctl show popcorn@half -p ActiveState --value)
	[ "$state" = inactive ] || [ "$state" = failed ]
}
forget() {
	ok '  release' popcornctl release half
	is '  CPUs of the primary' "$(cat /sys/devices/system/cpu/online)" 0-2
	is '  nothing is left of it' "$(find /run/popcorn /run/popcorn-leader -type f ! -name topology.xml | wc -l)" 0
}

for step in queued reserve load start kernel agent running; do
	say "-- the leader is killed during a boot, at \"$step\""
	since=$(date +%s.%N)
	popcornctl boot half --cpus 1 --memory 256M >/run/said 2>&1 &
	boot=$!
	wait_until 60 at_or_over "$step" $boot
	wait_until 30 has_leader
	old=$(leader half)
	kill -KILL "$old" 2>/dev/null || true
	code=0
	wait $boot || code=$?
	[ "$code" = 0 ] || fail "boot ended with $code: $(cat /run/said)"
	is '  state' "$(prop half State)" running
	wait_until 30 new_leader_is_ready half "$old"
	is '  it answers' "$(ask half 'echo alive')" alive
	is '  its first line was printed once' \
		"$(journalctl -u popcorn@half -o cat --since=@"$since" | grep -c 'Linux version')" 1
	ok '  stop' popcornctl stop half
	is '  state' "$(prop half State)" stopped
	wait_until 30 at_rest
	# Nothing starts it again by itself.
	sleep 1
	is '  its unit has no process' "$(leader half)" 0
	forget
	systemctl reset-failed popcorn@half 2>/dev/null || true
done

# step, and the verb that comes by it.
for what in 'stopping stop' 'release stop' 'kill kill' 'release kill'; do
	read -r step verb <<<"$what"
	say "-- the leader is killed during a $verb, at \"$step\""
	ok '  boot' popcornctl boot half --cpus 1 --memory 256M
	old=$(leader half)
	popcornctl "$verb" half >/run/said 2>&1 &
	stop=$!
	wait_until 60 at_or_over "$step" $stop
	kill -KILL "$old" 2>/dev/null || true
	wait $stop || fail "$verb: $(cat /run/said)"
	is '  state' "$(prop half State)" stopped
	case $verb in
	stop) is '  reason' "$(prop half Reason)" requested ;;
	kill) is '  reason' "$(prop half Reason)" killed ;;
	esac
	wait_until 30 at_rest
	sleep 1
	is '  its unit has no process' "$(leader half)" 0
	is '  it stays stopped' "$(prop half State)" stopped
	forget
	systemctl reset-failed popcorn@half 2>/dev/null || true
done
say '-- there is no leader to come, while memory and CPUs are being taken already'
ok 'the unit is masked' systemctl mask --runtime popcorn@half
fails_with UnitFailed popcornctl boot half --cpus 1 --memory 256M
is 'state' "$(prop half State)" failed
forget
ok 'it is not any more' systemctl unmask --runtime popcorn@half
mkdir -p /run/systemd/system/popcorn@half.service.d
printf '[Service]\nExecStart=\nExecStart=/bin/false\nRestart=no\n' \
	>/run/systemd/system/popcorn@half.service.d/false.conf
systemctl daemon-reload
fails_with UnitFailed popcornctl boot half --cpus 1 --memory 256M
is 'state' "$(prop half State)" failed
say "ok: $(prop half ReasonText)"
wait_until 30 at_rest
rm -r /run/systemd/system/popcorn@half.service.d
systemctl daemon-reload
forget
systemctl reset-failed popcorn@half 2>/dev/null || true
whole_check
