#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Without the driver, and with a driver of another ABI version, popcornd runs, says so by name, and
# works as soon as the right one is there.
#
# machine: --cpus 3 --memory 2G
# timeout: 180

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
ok 'with the driver list works' popcornctl list
say '-- not loaded'
echo 'install popcorn_kexec /bin/false' >/run/modprobe.d/no.conf 2>/dev/null ||
	{ mkdir -p /run/modprobe.d; echo 'install popcorn_kexec /bin/false' >/run/modprobe.d/no.conf; }
systemctl stop popcornd
ok 'the driver can be unloaded when nothing runs' rmmod popcorn_kexec
systemctl start popcornd
fails_with NoDriver popcornctl boot a --cpus 1 --memory 256M
say '-- of another version'
ok 'load another' insmod "$(dirname "$0")/modules/popcorn_other_abi.ko"
fails_with DriverAbi popcornctl boot a --cpus 1 --memory 256M
ok 'unload it' rmmod popcorn_other_abi
rm /run/modprobe.d/no.conf
say '-- the right one'
ok 'load it' modprobe popcorn_kexec
ok 'now it boots' popcornctl boot a --cpus 1 --memory 256M
fails_with 'in use' rmmod popcorn_kexec
is 'still running' "$(prop a State)" running
ok 'kill' popcornctl kill a
ok 'release' popcornctl release a
whole_check
