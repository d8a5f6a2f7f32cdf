#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The emergency restart of a kernel (sysrq-b), which passes every notifier, parks that kernel
# instead of resetting the machine. Five times, with one CPU and with two.
#
# machine: --cpus 4 --memory 2G
# apic: both
# timeout: 500

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
expect_failed_unit 'popcorn@b*.service'
for i in 1 2 3 4 5; do
	ok "boot b$i" popcornctl boot "b$i" --cpus $((1 + i % 2)) --memory 256M
	type_in "b$i" 'echo b >/proc/sysrq-trigger'
	reach "b$i" crashed 60
	is 'reason' "$(prop "b$i" Reason)" reset
	ok 'release' popcornctl release "b$i"
done
whole_check
