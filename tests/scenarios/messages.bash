# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What scenarios about messages share, after kernels.bash.

TEST=/sys/kernel/debug/popcorn_msgtest
PEERS=/sys/kernel/debug/popcorn_msg/peers
PROCESSES=/sys/kernel/debug/popcorn_msg/processes
NOTHING='endpoints 0 messages 0 bytes 0 requests 0 calls 0 windows 0 bytes 0 openings 0 revoking 0'

# messages_initrd VERSION: an initrd with a shell, the test modules and msguser; its path.
messages_initrd() {
	local tree=/run/messages.$1
	if [ ! -e "$tree.cpio" ]; then
		mkdir -p "$tree/bin"
		cp /bin/busybox "$(dirname "$0")/bin/msguser" "$tree/bin/"
		cp "$(dirname "$0")/modules/$1"/*.ko "$tree/"
		pack_initrd "$tree" >/dev/null <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /run
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t debugfs debugfs /sys/kernel/debug
insmod /popcorn_msgtest.ko
dmesg -n 1
exec sh </dev/hvc0 >/dev/hvc0 2>&1
INIT
	fi
	echo "$tree.cpio"
}

# up NAME CPUS [IMAGE]: boots a kernel that takes part.
up() {
	boot_up "$1" "$2" "${3:-}" messages_initrd
}

# on NAME COMMAND: in a secondary, or here for "primary".
on() {
	if [ "$1" = primary ]; then
		bash -c "$2"
	else
		ask "$1" "$2"
	fi
}

# start NAME WHAT…: to the test module.
start() {
	on "$1" "echo ${*:2} >$TEST/run && echo started" | grep -q started || fail "$1: ${*:2} did not start"
}

report() {
	on "$1" "cat $TEST/report"
}

# reaches NAME N: N others can be reached.
reaches() {
	[ "$(on "$1" "grep -c '^peer.* up' $PEERS")" = "$2" ]
}

# word NAME REPORT: the number after a word in it.
word() {
	sed -n "s/.*\\b$1 \\([0-9]*\\).*/\\1/p" <<<"$2" | head -n 1
}

# idle NAME: all that it had to send was sent.
idle() {
	[ "$(word running "$(report "$1")")" = 0 ]
}

# sound NAME: nothing was lost, doubled, damaged or out of order.
sound() {
	local text

	text=$(report "$1")
	say "$1: $(head -n 1 <<<"$text")"
	[ "$(word errors "$text")" = 0 ] || fail "$1: $(sed -n 's/^first error: //p' <<<"$text")"
}

# nothing_left KERNEL: no process of it has anything of the device.
nothing_left() {
	# The agent of a secondary has an endpoint of its own, and popcornd while a kernel runs.
	[ "$(on "$1" "cat $PROCESSES")" = "${NOTHING/endpoints 0/endpoints 1}" ]
}

# serve KERNEL NAME: a server in the background.
serve() {
	on "$1" "msguser serve $2 >/run/serve.$2 2>&1 & echo started" | grep -q started
}

# tested OUTPUT-FILE: says how a test program's run went.
tested() {
	grep '^not ok' "$1" && fail "see above: $(tail -n 1 "$1")"
	say "ok: $(tail -n 1 "$1")"
}

# signal KERNEL SIGNAL: to all of these programs there.
signal() {
	on "$1" "{ pkill -$2 -x msguser || killall -$2 msguser; } 2>/dev/null; echo" >/dev/null
}

# stop_servers KERNEL
stop_servers() {
	signal "$1" KILL
	wait_until 30 nothing_left "$1"
}
