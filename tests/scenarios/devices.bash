# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What scenarios about devices share, after kernels.bash: secondaries with a shell and the modules of a device that
# tests/devices/device.c serves, a source of random numbers which all say "popcorn ".

server='' id=''

# devices_initrd VERSION: its path.
devices_initrd() {
	local tree=/run/devices.$1 module file
	if [ ! -e "$tree.cpio" ]; then
		mkdir -p "$tree/bin"
		cp /bin/busybox "$tree/bin/"
		for module in virtio virtio_ring virtio-rng popcorn_virtio; do
			file=$(modinfo -k "$1" -n "$module" 2>/dev/null || true)
			case $file in
			*.xz) busybox unxz -c "$file" >"$tree/${module//-/_}.ko" ;;
			/*) cp "$file" "$tree/${module//-/_}.ko" ;;
			esac
		done
		pack_initrd "$tree" >/dev/null <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /run
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in virtio_ring virtio virtio_rng; do
	[ ! -e /$module.ko ] || insmod /$module.ko
done
dmesg -n 1
exec sh </dev/hvc0 >/dev/hvc0 2>&1
INIT
	fi
	echo "$tree.cpio"
}

# up NAME CPUS [IMAGE]: boots a kernel that has the driver, but no device yet.
up() {
	boot_up "$1" "$2" "${3:-}" devices_initrd --network none --no-vsock
}

# serve ID SLOT [HOW]: a server in the background, in $server; what it says is in /run/serve.
serve() {
	: >/run/serve
	popcorn-device serve "$@" >/run/serve 2>&1 &
	server=$!
	wait_until 30 said serves
}

# said TEXT: the server has.
said() {
	grep -q "^$1" /run/serve
}

# flows NAME: data comes out of the device, in slot 0 of kernel $id.
flows() {
	local text
	text=$(ask "$1" 'timeout 20 dd if=/dev/hwrng bs=24 count=1 2>/dev/null; echo')
	[ "${text%%$'\n'*}" = 'popcorn popcorn popcorn ' ] || fail "$1: from /dev/hwrng: \"$text\""
	say "ok: data flows: $(popcorn-device info "$id" 0)"
}

# device_state SLOT WORD: what DEVICE_INFO says of a device of kernel $id: "state 1".
device_state() {
	popcorn-device info "$id" "$1" | grep -q "$2"
}

# on_read NAME BYTES: as many were read in the background.
on_read() {
	[ "$(ask "$1" 'wc -c </run/read')" = "$2" ]
}

# no_device NAME: the driver has none.
no_device() {
	[ "$(ask "$1" 'ls /sys/bus/virtio/devices | wc -l')" = 0 ]
}

# busy SLOT: it has much to do.
busy() {
	[ "$(popcorn-device info "$id" "$1" | sed 's/.* kicks \([0-9]*\).*/\1/')" -gt 200 ]
}

# unserve: ends the server.
unserve() {
	kill "${1:--TERM}" "$server"
	wait "$server" || true
	wait_until 10 device_state 0 'served 0'
}

# gave_up NAME: a driver could not have its device stopped.
gave_up() {
	[ "$(ask "$1" "dmesg | grep -c 'did not stop the device within 30 s: the memory of its queues is kept'")" = 1 ]
}

# unbound NAME: no device has a driver.
unbound() {
	[ "$(ask "$1" 'ls -d /sys/bus/virtio/drivers/virtio_rng/virtio[0-9]* 2>/dev/null | wc -l')" = 0 ]
}
