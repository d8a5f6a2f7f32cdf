#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The leader is only a messenger: killed at any time it goes on where it was, without repeating a
# line of the console and without booting what somebody stopped. A boot right after a crash does
# not trip over the leader that is just ending. A reload with an error in it changes nothing.
#
# machine: --cpus 3 --memory 2G
# timeout: 300

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
times_in_journal() {
	journalctl -u "popcorn@$1" -o cat | grep -c -- "$2" || true
}

say '-- killed while the kernel runs'
ok 'boot' popcornctl boot a --cpus 1 --memory 256M
for _ in 1 2 3; do
	old=$(leader a)
	kill -KILL "$old"
	wait_until 30 new_leader_is_ready a "$old"
	is 'it still runs' "$(prop a State)" running
done
is 'it answers' "$(ask a 'echo still-$((40 + 2))')" still-42
in_journal() {
	[ "$(times_in_journal a still-42)" -ge 1 ]
}
wait_until 10 in_journal
is 'its first line was printed once' "$(times_in_journal a 'Linux version')" 1
is 'its last line was printed once' "$(times_in_journal a '^still-42')" 1

say '-- killed while the kernel stops'
popcornctl stop a >/run/stop.log 2>&1 &
stop=$!
kill -KILL "$(leader a)"
wait $stop || fail "stop: $(cat /run/stop.log)"
is 'state' "$(prop a State)" stopped
inactive() {
	[ "$(systemctl show popcorn@a -p ActiveState --value)" = inactive ]
}
wait_until 30 inactive
is 'it stays stopped' "$(prop a State)" stopped
ok 'release' popcornctl release a

say '-- killed while the kernel boots'
popcornctl boot a --cpus 1 --memory 256M >/run/boot.log 2>&1 &
boot=$!
wait_until 30 has_state a booting
old=$(leader a)
kill -KILL "$old"
wait $boot || fail "boot: $(cat /run/boot.log)"
is 'state' "$(prop a State)" running
wait_until 30 new_leader_is_ready a "$old"

say '-- booted again right after a crash, while its leader is still ending'
for _ in 1 2 3; do
	type_in a 'echo c >/proc/sysrq-trigger' &
	wait_until 30 has_state a crashed
	ok 'boot again' popcornctl boot a --cpus 1 --memory 256M
	is 'state' "$(prop a State)" running
	wait
done
ok 'the unit is active' systemctl is-active popcorn@a
systemctl reset-failed 2>/dev/null || true

say '-- reload'
ok 'reload' systemctl reload popcornd
echo 'colour = "red";' >>/etc/popcorn/popcornd.conf
systemctl reload popcornd
refused_reload() {
	journalctl -u popcornd | grep -E 'popcornd.conf:[0-9]+.*colour' >/dev/null
}
wait_until 10 refused_reload
is 'popcornd goes on' "$(systemctl is-active popcornd)" active
sed -i '/colour/d' /etc/popcorn/popcornd.conf
is 'memory of popcornd is at most 10 MB' \
	"$(awk '/VmRSS/ { print ($2 <= 10240) ? "yes" : $2 }' "/proc/$(pidof popcornd)/status")" yes
say "it is $(awk '/VmRSS/ { print $2 }' "/proc/$(pidof popcornd)/status") KiB"

ok 'kill' popcornctl kill a
ok 'release' popcornctl release a
is 'nothing is left of it' "$(find /run/popcorn /run/popcorn-leader -type f ! -name topology.xml 2>/dev/null | wc -l)" 0
whole_check
