#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel that hangs with interrupts off on one CPU or on all, panics in an interrupt, overwrites
# what it shares with the primary, or rings without end: it is called crashed for the right reason
# (or goes on), the primary stays whole, and all that it had comes back.
#
# machine: --cpus 4 --memory 3G
# timeout: 400

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

expect_failed_unit 'popcorn@*.service'
ok 'the daemon is there' popcornctl list
whole_mark

# An initrd with the module and a shell, which popcorn-agent hands over to.
tree=/run/misbehaves
mkdir -p $tree/bin
cp /bin/busybox $tree/bin/
cp "$(dirname "$0")/modules/popcorn_misbehave.ko" $tree/
pack_initrd $tree >/dev/null <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
exec /bin/busybox sh </dev/hvc0 >/dev/hvc0 2>&1
INIT

# crashes NAME REASON PARAMETERS…
crashes() {
	say "-- $1"
	ok 'boot' popcornctl boot "$1" --cpus 2 --memory 256M --initrd /run/misbehaves.cpio
	type_in "$1" "/bin/busybox insmod /popcorn_misbehave.ko ${*:3}"
	reach "$1" crashed 60
	is 'reason' "$(prop "$1" Reason)" "$2"
	ok 'release' popcornctl release "$1"
}

crashes hangs heartbeat how=hang cpu=1
crashes hangs-boot-cpu heartbeat how=hang cpu=0
crashes hangs-all heartbeat how=hang-all
crashes panics panic how=panic cpu=1
crashes writes-garbage hostile how=garbage

say '-- rings without end'
ok 'boot' popcornctl boot storms --cpus 1 --memory 256M --initrd /run/misbehaves.cpio
type_in storms '/bin/busybox insmod /popcorn_misbehave.ko how=storm seconds=5'
ok 'the primary works meanwhile' popcornctl list
is 'it still runs' "$(prop storms State)" running
ok 'stop' popcornctl stop storms
ok 'release' popcornctl release storms

say '-- publishes a doorbell that would deafen a CPU, if its own'
ok 'boot' popcornctl boot deaf --cpus 1 --memory 256M --initrd /run/misbehaves.cpio
type_in deaf '/bin/busybox insmod /popcorn_misbehave.ko how=bad-vector'
ok 'kill' popcornctl kill deaf
ok 'release' popcornctl release deaf
whole_check
