#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# 1 GiB goes to a secondary and back, by scp and through a share, and what comes is what was sent. sshd is the primary's
# own, run in the secondary, which has the primary's files as root. Nothing is left of it.
#
# machine: --cpus 4 --memory 8G
# suite: long
# timeout: 1800

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

# timed DESCRIPTION COMMAND…: it succeeds; how fast it moved $size.
timed() {
	local description=$1 begin=$EPOCHREALTIME output us

	shift
	output=$("$@" 2>&1) || { printf '%s\n' "$output"; fail "$description: \"$*\" ended with status $?"; }
	us=$((${EPOCHREALTIME/./} - ${begin/./}))
	say "ok: $description: $((us / 1000)) ms, $((size * 1000000 / us / 1048576)) MiB/s"
}

# Names of kernels. Programs of the primary are masked in the test machine.
sed -i 's/^hosts:.*/hosts: files popcorn/' /etc/nsswitch.conf
let_in store
mkdir -p /srv/share
mount -t tmpfs -o size=3G share /srv/share

whole_mark
before=$(network_state)
# Half of a kernel's memory is for what it writes.
ok 'boot store' popcornctl boot store --root primary --cpus 1 --memory 2560M --share data:/srv/share
is_system_up store
ok 'unmask sshd' popcornctl exec store -- systemctl unmask ssh
ok 'start sshd' popcornctl exec store -- systemctl start ssh
size=$((1 << 30))
head -c $size /dev/urandom >/srv/share/there
sum=$(sha256sum </srv/share/there)
is 'a shell by ssh' "$(ssh store hostname)" store
timed 'scp to store' scp /srv/share/there store:/srv/copy
is 'what came' "$(in_kernel store 'sha256sum </srv/copy')" "$sum"
timed 'scp from store' scp store:/srv/copy /srv/share/back
is 'what came back' "$(sha256sum </srv/share/back)" "$sum"
rm /srv/share/back
in_kernel store 'rm /srv/copy; mkdir -p /mnt/data; mount -t virtiofs data /mnt/data'
timed 'from the share' popcornctl exec store -- cp /mnt/data/there /srv/copy
is 'what came' "$(in_kernel store 'sha256sum </srv/copy')" "$sum"
rm /srv/share/there
timed 'to the share' popcornctl exec store -- cp /srv/copy /mnt/data/back
is 'what came back' "$(sha256sum </srv/share/back)" "$sum"
rm /srv/share/back

say '-- the end'
is 'units that failed' "$(popcornctl exec store -- systemctl --failed --no-legend --plain)" ''
ok 'stop' popcornctl stop store
is 'it stopped by itself' "$(prop store Reason)" requested
ok 'release' popcornctl release store
wait_until 30 is_as_before
is 'nothing is left of it' "$(network_state)" "$before"
umount /srv/share
whole_check
