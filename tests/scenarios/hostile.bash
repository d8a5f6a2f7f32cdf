# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What scenarios with hostile drivers of devices share, after kernels.bash: a kernel "bad", whose device does not get
# its stock driver but the module rings, and a kernel "good", which must not notice.

on() {
	popcornctl exec "$1" -- busybox sh -c "$2"
}

# device NAME: state and text of a device of bad.
device() {
	popcornctl show bad --json=short -p Devices | jq -r ".Devices[] | select(.[0] == \"$1\") | .[2] + \" \" + .[3]"
}

# device_is NAME PATTERN: for wait_until.
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

# begin: both kernels boot, and good does something all the time.
begin() {
	mkdir -p /run/data /run/other
	head -c 1M /dev/urandom >/run/other/file
	echo data >/run/data/file
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
}

# take DEVICE: from its stock driver.
take() {
	case $1 in
	net0) driver=virtio_net ;;
	vsock) driver=vmw_vsock_virtio_transport ;;
	fs0) driver=virtiofs ;;
	esac
	driver=/sys/bus/virtio/drivers/$driver
	slot=$(popcornctl show bad --json=short -p Devices | jq ".Devices | map(.[0]) | index(\"$1\")")
	bus=$(on bad "cd $driver; for d in virtio*; do echo \$d; done")
	on bad "echo $bus >$driver/unbind"
	wait_until 20 device_is "$1" 'stopped '
}

give_back() {
	on bad "echo $bus >$driver/bind"
	wait_until 20 device_is "$1" 'started '
}

# harm DEVICE HOW [PARAMETER…]
harm() {
	on bad "insmod /rings.ko slot=$slot how=$2 ${*:3}" || fail "$1: $2: the module was not loaded"
}

# hurt DEVICE HOW PATTERN [PARAMETER…]: afterwards its state and text are like PATTERN; a reset makes it good.
hurt() {
	harm "$1" "$2" "${@:4}"
	wait_until 60 device_is "$1" "$3"
	say "ok: $1: $2: $(device "$1")"
	on bad 'rmmod rings 2>/dev/null || rmmod popcorn_rings'
	wait_until 60 device_is "$1" 'stopped '
}

# reads_after COUNT: good has read its share again since.
reads_after() {
	[ "$(cat /run/other/count)" -gt "$1" ]
}

# share_works: for wait_until; after a reset.
share_works() {
	on bad "cd $driver; umount -l /d; echo $bus >unbind; echo $bus >bind
		mount -t virtiofs data /d; cat /d/file" | grep -qx data
}

# end: good has had no trouble, and has none.
end() {
	say '-- nobody else has noticed'
	kill -INT "$ping"
	wait "$ping" || true
	say "ok: $(grep 'packet loss' /run/ping)"
	[[ $(grep 'packet loss' /run/ping) == *' 0% packet loss'* ]] || fail 'pings of the other kernel were lost'
	[ ! -e /run/other/broken ] || fail 'the other kernel could not read its share'
	wait_until 20 reads_after "$(cat /run/other/count)"
	is 'popcornd and the leaders are those of before' \
		"$(leader good) $(leader bad) $(systemctl show popcornd -p MainPID --value)" "$leaders"
}

# finish: after end, and whatever a scenario looks at besides.
finish() {
	ok 'stop' popcornctl stop bad good
	ok 'release' popcornctl release bad good
	systemctl reset-failed 2>/dev/null || true
	whole_check
}
