#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The primary reboots while a secondary runs, without asking anybody (reboot -ff passes systemd): the
# driver parks the secondary's CPUs first, so that the next kernel finds them as firmware leaves them.
#
# machine: --cpus 3 --memory 2G
# timeout: 180
# console: popcorn_kexec: kernel a is parked

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
ok 'boot' popcornctl boot a --cpus 1 --memory 256M
ok 'stopping the slice stops the kernel' systemctl stop popcorn.slice
reach a stopped 60
ok 'release' popcornctl release a
ok 'boot again' popcornctl boot a --cpus 2 --memory 256M
ends_machine reboot -ff
