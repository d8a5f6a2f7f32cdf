#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two kernels, one with one CPU and one with two, boot beside the primary, say of themselves what
# they are, are listed alike by every tool, shut down when asked, and give everything back.
#
# machine: --cpus 4 --memory 3G
# apic: both
# timeout: 240

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
ok 'boot db0 with one CPU' popcornctl boot db0 --cpus 1 --memory 256M
ok 'boot db1 with two CPUs' popcornctl boot db1 --cpus 2 --memory 512M
is 'CPUs left to the primary' "$(cat /sys/devices/system/cpu/online)" 0
popcornctl list

is 'state of db0' "$(prop db0 State)" running
is 'state of db1' "$(prop db1 State)" running
is 'db0 says its version' "$(ask db0 'uname -r')" "$(uname -r)"
is 'db1 says its version' "$(ask db1 'uname -r')" "$(uname -r)"
is 'the daemon knows it' "$(prop db1 Version)" "$(uname -r)"
is 'db0 says how many CPUs it has' "$(ask db0 'grep -c ^processor /proc/cpuinfo')" 1
is 'db1 says how many CPUs it has' "$(ask db1 'grep -c ^processor /proc/cpuinfo')" 2
memory=$(ask db1 'grep MemTotal /proc/meminfo' | tr -dc 0-9)
[ "$memory" -gt $((400 * 1024)) ] && [ "$memory" -le $((512 * 1024)) ] ||
	fail "db1 has $memory KiB, expected a little less than 512 MiB"
say "ok: db1 sees $memory KiB of its 512 MiB"
is 'its host name is its name' "$(ask db1 hostname)" db1
is 'its uptime is its own' "$(ask db1 'cut -d. -f1 /proc/uptime | grep -Ec "^[0-9]{1,2}$"')" 1

is 'list as JSON' "$(popcornctl list --json=short | jq -r 'map(.name) | sort | join(" ")')" 'db0 db1'
is 'units of the kernels' "$(systemctl is-active popcorn@db0 popcorn@db1 | sort -u)" active
ok 'machinectl lists db1' sh -c 'machinectl list --no-legend | grep -w db1'
ok 'the console starts with the first line of the kernel' sh -c 'popcornctl log db0 | grep "Linux version"'
ok 'the console is in the journal' sh -c 'journalctl -u popcorn@db0 | grep "Linux version"'
ok 'the kernel log is read from memory' sh -c 'popcornctl log --kernel db1 | grep "Linux version"'

is 'its PM timer is that of the primary' "$(popcornctl log --kernel db1 | grep -o 'PM-Timer IO Port: .*')" \
	"$(dmesg | grep -o 'PM-Timer IO Port: .*')"

ok 'both are asked to stop' popcornctl stop db0 db1
is 'state of db0' "$(prop db0 State)" stopped
is 'units of the kernels' "$(systemctl is-active popcorn@db0 popcorn@db1 | sort -u)" inactive
ok 'both are forgotten' popcornctl release db0 db1
is 'nothing is listed' "$(popcornctl list --no-legend | wc -l)" 0
whole_check
