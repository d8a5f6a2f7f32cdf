#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel that panics, powers off, reboots or halts: the primary stays whole, states and reasons
# are right, its last words are kept, and what it had comes back.
#
# machine: --cpus 4 --memory 3G
# apic: both
# timeout: 500

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
up() {
	ok "boot $1" popcornctl boot "$@" --memory 256M
}

say '-- panic'
expect_failed_unit popcorn@panics.service
up panics --cpus 2
type_in panics 'echo c >/proc/sysrq-trigger'
reach panics crashed 30
is 'reason' "$(prop panics Reason)" panic
ok 'its last words are told' sh -c 'popcornctl show panics -p ReasonText | grep -i "sysrq triggered crash"'
ok 'the console has the panic' sh -c 'popcornctl log panics | grep "Kernel panic"'
ok 'the kernel log has the panic' sh -c 'popcornctl log --kernel panics | grep "Kernel panic"'
ok 'the journal has the panic' sh -c 'journalctl -u popcorn@panics | grep "Kernel panic"'
is 'its CPUs are kept until release' "$(cat /sys/devices/system/cpu/online | tr -d '\n' | wc -c)" 3
ok 'release' popcornctl release panics
systemctl reset-failed

say '-- power off'
up off --cpus 2
type_in off 'poweroff -f'
reach off stopped 30
is 'reason' "$(prop off Reason)" poweroff
ok 'release' popcornctl release off

say '-- orderly power off'
up orderly --cpus 1
type_in orderly 'poweroff'
reach orderly stopped 30
is 'reason' "$(prop orderly Reason)" poweroff
ok 'release' popcornctl release orderly

say '-- halt'
up halts --cpus 1
type_in halts 'halt -f'
reach halts stopped 30
is 'reason' "$(prop halts Reason)" halt
ok 'release' popcornctl release halts

say '-- reboot: the machine is not reset, the kernel starts again'
up again --cpus 1
first=$(prop again BootTime)
type_in again 'reboot -f'
rebooted() {
	[ "$(prop again State)" = running ] && [ "$(prop again BootTime)" != "$first" ]
}
wait_until 60 rebooted
say 'ok: it runs again'
ok 'stop' popcornctl stop again
ok 'release' popcornctl release again
whole_check
