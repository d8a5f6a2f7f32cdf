#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A stock virtio driver in a secondary, served by a process of the primary: data flows; the driver, its module and the
# device go and come back; a server that is killed is replaced; a kernel that is killed under load takes nothing
# with it.
#
# machine: --cpus 4 --memory 3G
# apic: xapic
# timeout: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/devices.bash"

expect_failed_unit 'popcorn@*.service'
ok 'the daemon is there' popcornctl list
whole_mark
up d1 1
id=$(prop d1 Id)

say '-- a device that was there before the module'
is 'slot' "$(popcorn-device add "$id" rng)" 0
ask d1 'insmod /popcorn_virtio.ko; ls /sys/bus/virtio/devices' >/run/out
is 'it is registered' "$(tail -n 1 /run/out)" virtio0
serve "$id" 0
wait_until 10 said started
flows d1
fails_with EBUSY popcorn-device serve "$id" 0

say '-- the driver is unbound and bound'
ask d1 'echo virtio0 >/sys/bus/virtio/drivers/virtio_rng/unbind; echo' >/dev/null
wait_until 10 device_state 0 'state 0'
said stopped || fail 'the server has not been told to stop'
ask d1 'echo virtio0 >/sys/bus/virtio/drivers/virtio_rng/bind; echo' >/dev/null
wait_until 10 device_state 0 'state 1'
flows d1

say '-- the module is unloaded and loaded'
ask d1 'rmmod popcorn_virtio; ls /sys/bus/virtio/devices | wc -l' >/run/out
is 'no device is left' "$(tail -n 1 /run/out)" 0
wait_until 10 device_state 0 'state 0'
ask d1 'insmod /popcorn_virtio.ko; echo' >/dev/null
wait_until 10 device_state 0 'state 1'
flows d1

say '-- the server is killed, while the driver waits, and replaced'
unserve -KILL
ask d1 'dd if=/dev/hwrng bs=24 count=40 2>/dev/null >/run/read & echo' >/dev/null
serve "$id" 0
wait_until 10 said started
wait_until 20 on_read d1 960
flows d1

say '-- the device is taken away and another one given, while it works'
ask d1 'while :; do dd if=/dev/hwrng of=/dev/null bs=4k 2>/dev/null || sleep 1; done & echo' >/dev/null
popcorn-device remove "$id" 0
wait_until 10 said 'hung up'
wait $server
wait_until 10 no_device d1
is 'slot' "$(popcorn-device add "$id" rng)" 0
serve "$id" 0
wait_until 10 said started
flows d1

say '-- a server fails the device; the driver is bound again'
unserve
serve "$id" 0 fail
wait_until 20 said failed
device_state 0 'state 2.*it was told to' || fail "$(popcorn-device info "$id" 0)"
ask d1 'cat /sys/bus/virtio/devices/*/status' >/run/out
is 'the driver sees it: NEEDS_RESET' "$(tail -n 1 /run/out)" 0x0000004f
unserve
serve "$id" 0
ask d1 'cd /sys/bus/virtio/drivers/virtio_rng; for d in virtio*; do echo $d >unbind; echo $d >bind; done; cd /' >/dev/null
wait_until 20 device_state 0 'state 1'
flows d1

say '-- the configuration changes'
unserve
ok 'CONFIG' popcorn-device config "$id" 0
serve "$id" 0
flows d1

say '-- a server that never stops: the driver gives up, keeps the memory, and is served by the next one'
unserve
serve "$id" 0 slow
wait_until 10 said started
ask d1 'cd /sys/bus/virtio/drivers/virtio_rng; for d in virtio*; do echo $d >unbind & done; cd /; echo' >/dev/null
wait_until 60 gave_up d1
say 'ok: it says so'
wait_until 10 unbound d1
ask d1 'for d in /sys/bus/virtio/devices/*; do echo ${d##*/} >/sys/bus/virtio/drivers/virtio_rng/bind & done; echo' >/dev/null
unserve -KILL
serve "$id" 0
wait_until 20 said started
flows d1

say '-- two CPUs; the kernel is killed under load'
up d2 2
id=$(prop d2 Id)
popcorn-device add "$id" rng >/dev/null
first=$server
serve "$id" 0
ask d2 'insmod /popcorn_virtio.ko; echo' >/dev/null
wait_until 20 said started
flows d2
ask d2 'for i in 1 2 3; do dd if=/dev/hwrng of=/dev/null bs=4k 2>/dev/null & done; echo' >/dev/null
wait_until 20 busy 0
popcorn-device info "$id" 0
ok 'kill' popcornctl kill d2
wait_until 10 said 'hung up'
wait $server
ok 'release' popcornctl release d2
server=$first

for version in 6.1.*-rt 6.12; do
	image=$(find /boot -name "vmlinuz-$version*-amd64" | sort -V | tail -n 1)
	say "-- ${image##*/}"
	up d3 1 "$image"
	id=$(prop d3 Id)
	popcorn-device add "$id" rng >/dev/null
	server_of_d1=$server
	ask d3 'insmod /popcorn_virtio.ko; echo' >/dev/null
	serve "$id" 0
	wait_until 20 said started
	flows d3
	ask d3 'rmmod popcorn_virtio; insmod /popcorn_virtio.ko; echo' >/dev/null
	flows d3
	ok 'kill' popcornctl kill d3
	wait $server
	ok 'release' popcornctl release d3
	server=$server_of_d1
done

say '-- a kernel is released while a server has it mapped'
ok 'kill' popcornctl kill d1
ok 'release' popcornctl release d1
wait $server || true
systemctl reset-failed
whole_check
