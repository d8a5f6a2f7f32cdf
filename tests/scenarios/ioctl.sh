#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The driver's ioctls, called directly: malformed, in every wrong order, from several threads, by
# kernels that are hostile or die, and with the nth step failing for every n. No such call leaves a
# trace in the kernel's log or in what the machine has.
#
# machine: --cpus 4 --memory 2G
# apic: both
# timeout: 400

. "$(dirname "$0")/lib.sh"

systemctl stop popcornd.service 2>/dev/null || true
modprobe popcorn_kexec
whole_mark
code=0
popcorn-ioctl-test 2 3 >"$MARK/ioctl" || code=$?
grep -E '^(not ok|# )|fault|threads' "$MARK/ioctl" || true
[ $code -eq 0 ] || fail "popcorn-ioctl-test ended with status $code: $(tail -n 1 "$MARK/ioctl")"
say "ok: $(grep -c '^ok' "$MARK/ioctl") checks"
ok 'the driver can be unloaded' rmmod popcorn_kexec
ok 'and loaded again' modprobe popcorn_kexec
whole_check
