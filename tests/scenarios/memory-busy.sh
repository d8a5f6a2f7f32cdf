#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Memory that will not go: every 2 MiB of the primary's free memory has a page that can't move. The
# boot fails by name, and each CPU and block that was tried is as it was; once the pages are let
# go, the same boot works.
#
# machine: --cpus 3 --memory 1G
# timeout: 240

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

expect_failed_unit 'popcorn@*.service'
ok 'the daemon is there' popcornctl list
whole_mark
ok 'pin memory everywhere' insmod "$(dirname "$0")/modules/popcorn_pin.ko"
fails_with 'emory' popcornctl boot a --cpus 1 --memory 256M
is 'CPUs' "$(cat /sys/devices/system/cpu/online)" 0-2
is 'memory blocks that are not online' "$(grep -Lx online /sys/devices/system/memory/memory*/state | wc -l)" 0
popcornctl release a >/dev/null 2>&1 || true
ok 'let the pages go' rmmod popcorn_pin
ok 'now it boots' popcornctl boot a --cpus 1 --memory 256M
ok 'stop' popcornctl stop a
ok 'release' popcornctl release a
whole_check
