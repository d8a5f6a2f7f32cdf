#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel whose drivers are hostile: requests and rings of net0 (vhost-net), vsock (vhost-vsock) and a share (virtiofsd) with
# nonsense in them, table and rings rewritten while they are read, kicks without end. Its device fails and says why, or does
# no work; another kernel's network and share, the primary, popcornd and the leader do not notice; and reset, or booted again,
# it works.
#
# machine: --cpus 3 --memory 2G
# suite: long
# timeout: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
mkdir -p /run/data /run/other
head -c 1M /dev/urandom >/run/other/file
echo data >/run/data/file
on() {
	popcornctl exec "$1" -- busybox sh -c "$2"
}
# device NAME: state and text of a device of bad.
device() {
	popcornctl show bad --json=short -p Devices | jq -r ".Devices[] | select(.[0] == \"$1\") | .[2] + \" \" + .[3]"
}
device_is() {
	# shellcheck disable=SC2053 # a pattern is wanted
	[[ $(device "$1") == $2 ]]
}
boot_bad() {
	ok 'boot bad' popcornctl boot bad --cpus 1 --memory 256M --root initramfs --network primary,kernels \
		--share data:/run/data
	popcornctl exec bad -- busybox sh -c 'cat >/rings.ko' <"$(dirname "$0")/modules/popcorn_rings.ko"
	for name in net0 vsock; do
		wait_until 20 device_is $name 'started '
	done
}
driver_of() {
	case $1 in
	net0) echo virtio_net ;;
	vsock) echo vmw_vsock_virtio_transport ;;
	fs0) echo virtiofs ;;
	esac
}
slot_of() {
	popcornctl show bad --json=short -p Devices | jq ".Devices | map(.[0]) | index(\"$1\")"
}
# The harm is done to one device after the other, its stock driver unbound.
declare -A slot bus
take() {
	slot[$1]=$(slot_of "$1")
	bus[$1]=$(on bad "cd /sys/bus/virtio/drivers/$(driver_of "$1"); for d in virtio*; do echo \$d; done")
	on bad "echo ${bus[$1]} >/sys/bus/virtio/drivers/$(driver_of "$1")/unbind"
	wait_until 20 device_is "$1" 'stopped '
}
give_back() {
	on bad "echo ${bus[$1]} >/sys/bus/virtio/drivers/$(driver_of "$1")/bind"
	wait_until 20 device_is "$1" 'started '
}
# hurt DEVICE HOW PATTERN [PARAMETERS]: afterwards its state and text are like PATTERN; a reset makes it good.
hurt() {
	on bad "insmod /rings.ko slot=${slot[$1]} how=$2 ${4:-}" || fail "$1: $2: the module was not loaded"
	wait_until 60 device_is "$1" "$3"
	say "ok: $1: $2: $(device "$1")"
	on bad 'rmmod rings 2>/dev/null || rmmod popcorn_rings'
	wait_until 60 device_is "$1" 'stopped '
}
leader() {
	systemctl show "popcorn@$1" -p MainPID --value
}

ok 'boot good' popcornctl boot good --cpus 1 --memory 256M --root initramfs --share other:/run/other
boot_bad
leaders="$(leader good) $(leader bad) $(systemctl show popcornd -p MainPID --value)"
sum=$(sha256sum </run/other/file)
on good 'mkdir /o; mount -t virtiofs other /o'
is 'the share of the other' "$(on good 'sha256sum </o/file')" "$sum"
busybox ping -i 0.2 "$(prop good Address)" >/run/ping 2>&1 &
ping=$!
# In the shell on its console: what exec starts ends with it.
# shellcheck disable=SC2016 # expanded in the kernel
ask good '(n=0; while sync; echo 3 >/proc/sys/vm/drop_caches; s=$(sha256sum </o/file) && [ "${s%% *}" = '"${sum%% *}"' ]; do n=$((n + 1)); echo $n >/o/count; sleep 0.2; done; echo broken >/o/broken) >/dev/null 2>&1 & echo' >/dev/null

say '-- requests'
take net0
for how in features-more:'features that were not offered' features-none:'a driver of before virtio 1.0' \
	queue-zero:'not in the kernel' queue-head:'not in the kernel' queue-top:'not in the kernel' \
	queue-primary:'not in the kernel' queue-odd:'not aligned' queue-size:'bad size' queue-many:'does not exist' \
	command:'command 99 does not exist' start-twice:'was started twice'; do
	hurt net0 "${how%%:*}" "failed *${how#*:}*"
done
hurt net0 give-up 'stopped '
hurt net0 table '*'
hurt net0 queues 'started '

say '-- rings of vhost-net'
# What is sent: the server reads. What is received is looked at when there is something for the kernel.
for how in address-zero address-primary address-top address-high length length-none loop next indirect-long \
	indirect-odd indirect-outside avail-entry avail-jump; do
	hurt net0 $how 'failed the server found nonsense in queue 1'
done
hurt net0 ring '*'
hurt net0 storm 'started '
give_back net0
on bad "ip link set eth0 up; ip address replace $(prop bad Address)/22 dev eth0"
ok 'its network works' busybox ping -c 1 -W 20 "$(prop bad Address)"

say '-- rings of vhost-vsock'
take vsock
for how in address-primary address-top length loop next indirect-long avail-entry avail-jump; do
	hurt vsock $how 'failed the server found nonsense in queue 1'
done
hurt vsock ring '*'
hurt vsock storm 'started '
hurt vsock table '*'
give_back vsock

say '-- rings of virtiofsd'
take fs0
for how in storm address-primary address-top loop next indirect-long avail-entry avail-jump; do
	# It may take no notice, or end again and again, until there is none.
	hurt fs0 $how '*'
done
hurt fs0 ring '*'
hurt fs0 table '*'
# Servers that died too often are not started again until the minute is over: then a reset is enough.
share_works() {
	on bad "cd /sys/bus/virtio/drivers/virtiofs; umount -l /d; echo ${bus[fs0]} >unbind; echo ${bus[fs0]} >bind
		mount -t virtiofs data /d; cat /d/file" | grep -qx data
}
on bad 'mkdir -p /d'
give_back fs0
wait_until 120 share_works
say 'ok: its share works'

say '-- nobody else has noticed'
kill -INT $ping
wait $ping || true
say "ok: $(grep 'packet loss' /run/ping)"
[[ $(grep 'packet loss' /run/ping) == *' 0% packet loss'* ]] || fail 'pings of the other kernel were lost'
[ ! -e /run/other/broken ] || fail 'the other kernel could not read its share'
count=$(cat /run/other/count)
goes_on() {
	[ "$(cat /run/other/count)" -gt "$count" ]
}
wait_until 20 goes_on
is 'popcornd and the leaders are those of before' \
	"$(leader good) $(leader bad) $(systemctl show popcornd -p MainPID --value)" "$leaders"
ok 'the journal has the reasons' grep -q 'device net0: failed: the server found nonsense in queue 1' \
	<(journalctl -u popcorn@bad -o cat)

say '-- hurt, and booted again'
take net0
on bad "insmod /rings.ko slot=${slot[net0]} how=avail-jump"
wait_until 20 device_is net0 'failed*'
ok 'kill' popcornctl kill bad
ok 'release' popcornctl release bad
boot_bad
ok 'its network works' busybox ping -c 1 -W 20 "$(prop bad Address)"
ok 'stop' popcornctl stop bad good
ok 'release' popcornctl release bad good
systemctl reset-failed 2>/dev/null || true
whole_check
