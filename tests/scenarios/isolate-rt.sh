#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The policy isolate-rt as it is installed: the newest real-time kernel that the machine has, on four
# cores of its own, with three of them kept free of whatever can be kept away.
#
# machine: --cpus 6 --memory 3G
# timeout: 400

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/plans.bash"

whole_mark
newest=$(find /boot -name 'vmlinuz-*-rt-amd64' | sort -V | tail -n 1)
[ -n "$newest" ] || fail 'the test image lacks a real-time kernel'
ok 'the plan' popcornctl plan isolate-rt --explain
apply_and_look isolate-rt
is 'its version' "$(ask rt 'uname -r')" "${newest#/boot/vmlinuz-}"
is 'it is preemptible' "$(ask rt 'uname -v | grep -o PREEMPT_RT')" PREEMPT_RT
is 'CPUs without balancing' "$(ask rt 'cat /sys/devices/system/cpu/isolated')" 1-3
is 'CPUs without ticks' "$(ask rt 'cat /sys/devices/system/cpu/nohz_full')" 1-3
is 'again changes nothing' "$(popcornctl plan isolate-rt --diff --json=short | jq -r '.changes[].change')" keep
ok 'stop' popcornctl stop rt
ok 'release' popcornctl release rt
whole_check
