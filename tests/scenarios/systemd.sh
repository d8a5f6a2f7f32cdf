#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel as a unit: systemctl start and stop, its file in /etc/popcorn/kernels, its console in the
# journal, restart after a panic, machinectl, and the hardening of the daemon's unit.
#
# machine: --cpus 4 --memory 2G
# timeout: 500

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
mkdir -p /etc/popcorn/kernels
cat >/etc/popcorn/kernels/db0.conf <<'CONF'
cpus = 2;
memory = "256M";
restart = "on-failure";
cmdline = "popcorn.test=1";
CONF
ok 'start the unit' systemctl start popcorn@db0
is 'state' "$(prop db0 State)" running
is 'the same in list' "$(popcornctl list --no-legend | wc -l)" 1
ok 'its command line is from the file' sh -c 'popcornctl show db0 -p CommandLine | grep popcorn.test=1'
is 'CPUs from the file' "$(ask db0 'grep -c ^processor /proc/cpuinfo')" 2
ok 'its console is in the journal' sh -c 'journalctl -u popcorn@db0 | grep "Linux version"'
ok 'machinectl lists it' sh -c 'machinectl list --no-legend | grep -w db0'
# systemd 252 opens shells in containers alone: it must say so, and never open one of the primary.
fails_with 'Operation not supported' machinectl shell db0 /bin/true
fails_with 'Operation not supported' machinectl login db0
is 'its unit is in the slice' "$(systemctl show popcorn@db0 -p Slice --value)" popcorn.slice
score=$(systemd-analyze security popcornd.service --no-pager | grep -o 'Overall exposure.*: [0-9.]*' | grep -o '[0-9.]*$')
say "exposure of popcornd.service: $score"
awk -v s="$score" 'BEGIN { exit !(s > 0 && s <= 4.0) }' || fail "exposure is $score, more than 4.0"

say '-- Restart=on-failure'
first=$(prop db0 BootTime)
type_in db0 'echo c >/proc/sysrq-trigger'
restarted() {
	[ "$(prop db0 State)" = running ] && [ "$(prop db0 BootTime)" != "$first" ]
}
wait_until 60 restarted
say 'ok: after a panic it runs again'
ok 'the unit is active' systemctl is-active popcorn@db0
ok 'its history tells of the panic' sh -c 'popcornctl status db0 --no-pager | grep -i panic'

say '-- machinectl terminate, then systemctl stop'
ok 'terminate' machinectl terminate db0
reach db0 stopped 60
ok 'start again' systemctl start popcorn@db0
ok 'stop' systemctl stop popcorn@db0
is 'state' "$(prop db0 State)" stopped
ok 'release' popcornctl release db0

say '-- a unit that cannot start'
expect_failed_unit popcorn@none.service popcorn@bad.service
fails_with popcorn@none systemctl start popcorn@none
echo 'cpus = 1; colour = "red";' >/etc/popcorn/kernels/bad.conf
fails_with popcorn@bad systemctl start popcorn@bad
ok 'the journal names file, line and key' sh -c 'journalctl -b | grep -E "bad.conf:1.*colour"'
whole_check
