#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The test machine itself: it is what a user's machine is, with systemd, D-Bus and nothing
# reserved, and its CPUs and memory can be taken offline and brought back.
#
# machine: --cpus 4 --memory 3G
# apic: both
# timeout: 120

. "$(dirname "$0")/lib.sh"

whole_mark

is 'state of systemd' "$(systemctl is-system-running --wait)" running
ok 'D-Bus answers' busctl call org.freedesktop.DBus / org.freedesktop.DBus GetId
is 'CPUs online' "$(cat /sys/devices/system/cpu/online)" 0-3
ok 'the share is readable' test -r /mnt/share/lib.sh
if touch /mnt/share/written 2>/dev/null; then
	fail 'the share is writable'
fi

for word in movablecore kernelcore mem= memmap= maxcpus nr_cpus isolcpus crashkernel; do
	if grep -q "$word" /proc/cmdline; then
		fail "something is reserved on the kernel's command line: $word"
	fi
done
say "ok: nothing is reserved: $(cat /proc/cmdline)"

set_online() {
	echo "$2" >"/sys/devices/system/cpu/cpu$1/online"
}
ok 'CPU 1 goes offline' set_online 1 0
is 'CPUs online' "$(cat /sys/devices/system/cpu/online)" 0,2-3
ok 'CPU 1 comes back' set_online 1 1

# The highest block that lets itself be taken: one with pages of the kernel in it does not.
set_block() {
	echo "$2" >"$1/state"
}
taken=''
for block in $(printf '%s\n' /sys/devices/system/memory/memory* | sort -rV); do
	if set_block "$block" offline 2>/dev/null; then
		taken=$block
		break
	fi
done
[ -n "$taken" ] || fail 'no memory block can be taken offline'
is "state of ${taken##*/}" "$(cat "$taken/state")" offline
ok "${taken##*/} comes back" set_block "$taken" online

whole_check
