#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel whose memory is all above 4 GiB boots, sees its memory, and gives it back.
#
# machine: --cpus 3 --memory 6G
# apic: both
# timeout: 500

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
ok 'boot high' popcornctl boot high --cpus 2 --memory 1G
ranges=$(busctl get-property org.popcornlinux.Popcorn1 /org/popcornlinux/Popcorn1/kernel/high \
	org.popcornlinux.Popcorn1.Kernel MemoryRanges)
say "ranges: $ranges"
# a(ttu) N start length node …
read -r -a words <<<"$ranges"
for ((i = 2; i < ${#words[@]}; i += 3)); do
	[ "${words[i]}" -ge $((1 << 32)) ] || fail "a range begins at ${words[i]}, below 4 GiB"
done
say 'ok: all of its memory is above 4 GiB'
memory=$(ask high 'grep MemTotal /proc/meminfo' | tr -dc 0-9)
[ "$memory" -gt $((900 * 1024)) ] || fail "it sees only $memory KiB"
say "ok: it sees $memory KiB"
ok 'stop' popcornctl stop high
ok 'release' popcornctl release high
whole_check
