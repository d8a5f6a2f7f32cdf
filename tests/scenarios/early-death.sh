#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel that dies before popcorn's module is loaded still says why: its log is read out of its
# memory. And one that is killed while it boots gives everything back.
#
# machine: --cpus 3 --memory 2G
# timeout: 500

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
expect_failed_unit 'popcorn@*.service'
say '-- no init: panics before user space'
fails_with BootTimeout popcornctl boot early --cpus 1 --memory 256M --timeout 10 \
	--append 'rdinit=/nothing init=/nothing root=/dev/nothing popcorn.wrong=1 trace_clock=local maxcpus=0 mem=16M'
ok 'its kernel log was kept' sh -c 'popcornctl log --kernel early | grep "Linux version"'
popcornctl log --kernel early | tail -n 3 | sed 's/^/            /'
ok 'release' popcornctl release early

say '-- killed while booting'
popcornctl boot slow --cpus 2 --memory 256M --no-wait
wait_until 30 has_state slow booting
ok 'kill' popcornctl kill slow
ok 'release' popcornctl release slow
whole_check
