#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Kernels of other versions than the primary's boot beside it, each with its own modules: 6.12 and
# 6.1 with PREEMPT_RT, with two CPUs each.
#
# machine: --cpus 5 --memory 3G
# apic: both
# timeout: 500

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
new=$(image '6.12*-amd64') rt=$(image '6.1.*-rt-amd64')
[ -n "$new" ] && [ -n "$rt" ] || fail 'the test image lacks a kernel'
ok "boot $new" popcornctl boot new --cpus 2 --memory 512M --kernel "$new"
ok "boot $rt" popcornctl boot rt --cpus 2 --memory 512M --kernel "$rt"
is 'version of new' "$(ask new 'uname -r')" "${new#/boot/vmlinuz-}"
is 'version of rt' "$(ask rt 'uname -r')" "${rt#/boot/vmlinuz-}"
is 'rt is preemptible' "$(ask rt 'uname -v | grep -o PREEMPT_RT')" PREEMPT_RT
is 'CPUs of new' "$(ask new 'grep -c ^processor /proc/cpuinfo')" 2
is 'CPUs of rt' "$(ask rt 'grep -c ^processor /proc/cpuinfo')" 2
popcornctl list
ok 'both stop when asked' popcornctl stop new rt
is 'reason of new' "$(prop new Reason)" requested
ok 'both are forgotten' popcornctl release new rt
whole_check
