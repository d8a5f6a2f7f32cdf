# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What scenarios about kernels share, after lib.sh.

# prop KERNEL PROPERTY: a property of a kernel, bare.
prop() {
	popcornctl show "$1" -p "$2" | sed 's/^[^=]*=//'
}

# has_state KERNEL STATE: for wait_until.
has_state() {
	[ "$(prop "$1" State)" = "$2" ]
}

# reach KERNEL STATE SECONDS: waits until the kernel is in the state.
reach() {
	wait_until "$3" has_state "$1" "$2"
	say "ok: $1 is $2: $(prop "$1" ReasonText)"
}

# ask KERNEL COMMAND: runs a command in the shell on a kernel's console; its output.
ask() {
	local kernel=$1 command=$2 line pid in out begun='' code=1 mark=$EPOCHREALTIME

	coproc ask_console { exec popcornctl console "$kernel" 2>/dev/null; }
	# Copies, because bash forgets them when the process ends.
	# shellcheck disable=SC2154 # coproc sets it
	in=${ask_console[1]} out=${ask_console[0]} pid=$ask_console_PID
	# The console begins with all that was said before, so each command has marks of its own, each
	# written in two halves so that the echo of the typed line does not match it.
	printf 'echo be""gin-%s; %s; echo e""nd-%s\n' "$mark" "$command" "$mark" >&"$in"
	while IFS= read -r -t 30 line <&"$out"; do
		line=${line%$'\r'}
		case $line in
		"begin-$mark") begun=yes ;;
		*"end-$mark") code=0; line=${line%"end-$mark"}; [ -z "$line" ] || printf '%s\n' "$line"; break ;;
		# What the kernel says meanwhile is no answer.
		'['[\ 0-9]*.[0-9]*'] '*) ;;
		*) [ -z "$begun" ] || printf '%s\n' "$line" ;;
		esac
	done
	# It ends by our signal, which is no failure for a caller with set -e.
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	return $code
}

# type_in KERNEL COMMAND: types a command that nothing comes back from.
type_in() {
	printf '%s\n' "$2" | timeout 3 popcornctl console "$1" >/dev/null 2>&1 || true
}

# listed: all that is known of every kernel, but for what grows by itself.
listed() {
	popcornctl list --json=short | jq -c 'map(del(.uptime_usec, .devices[].state, .devices[].text))'
}

# refused ERROR COMMAND…: the command fails with the error's D-Bus name, and nothing has changed.
refused() {
	local before

	before=$(whole_state; listed)
	fails_with "$@"
	is '  nothing has changed' "$(whole_state; listed)" "$before"
}

# image PATTERN: the newest kernel image in /boot whose version is like this.
image() {
	find /boot -name "vmlinuz-$1" | sort -V | tail -n 1
}

# pack_initrd FOLDER: an initrd of what is in it, with the init that comes from standard input; its path.
pack_initrd() {
	cat >"$1/init"
	chmod 755 "$1/init"
	(cd "$1" && find . | busybox cpio -o -H newc) >"$1.cpio" 2>/dev/null
	echo "$1.cpio"
}

# boot_up NAME CPUS IMAGE INITRD [OPTION…]: boots a kernel of this image, or ("") of that of the primary, with what the
# command INITRD makes for its version.
boot_up() {
	local name=$1 cpus=$2 image=$3 initrd=$4 version=${3:-/boot/vmlinuz-$(uname -r)}

	shift 4
	ok "boot $name" popcornctl boot "$name" --cpus "$cpus" --memory 256M "$@" ${image:+--kernel "$image"} \
		--initrd "$("$initrd" "${version#/boot/vmlinuz-}")"
}

# processes KERNEL PATTERN: how many there have this in their command line.
processes() {
	popcornctl exec "$1" sh -c "ps | grep -c '[${2:0:1}]${2:1}'" || true
}

# runs KERNEL PATTERN: for wait_until, as none_runs.
runs() {
	[ "$(processes "$1" "$2")" -gt 0 ]
}

none_runs() {
	[ "$(processes "$1" "$2")" = 0 ]
}

# leader KERNEL: the process of its unit, or 0.
leader() {
	systemctl show "popcorn@$1" -p MainPID --value
}

# has_new_leader KERNEL PID: it has one, and not this one; new_leader_is_ready: and its unit is up with it.
has_new_leader() {
	local pid

	pid=$(leader "$1")
	[ "$pid" != 0 ] && [ "$pid" != "$2" ]
}

new_leader_is_ready() {
	has_new_leader "$@" && systemctl is-active --quiet "popcorn@$1"
}

# rooted_initrd: its init goes to another root, as that of a distribution does; its path.
rooted_initrd() {
	local tree=/run/rooted

	mkdir -p "$tree/bin"
	cp /bin/busybox "$tree/bin/"
	cat >"$tree/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /new
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t tmpfs tmpfs /new
/bin/busybox mkdir -p /new/bin /new/proc /new/dev /new/root
/bin/busybox cp /bin/busybox /new/bin/
/bin/busybox --install -s /new/bin
echo 'the other root' >/new/marker
/bin/busybox mount -t proc proc /new/proc
/bin/busybox mount -t devtmpfs devtmpfs /new/dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /new /bin/sh -c 'while :; do sleep 1000; done'
INIT
	chmod 755 "$tree/init"
	(cd "$tree" && find . | busybox cpio -o -H newc) >"$tree.cpio" 2>/dev/null
	echo "$tree.cpio"
}

# in_kernel KERNEL COMMAND: what a shell in the kernel says to it.
in_kernel() {
	popcornctl exec "$1" -- sh -c "$2"
}

# is_system_up KERNEL: its systemd has started all that it is to start.
is_system_up() {
	# It can't be asked before it listens.
	wait_until 120 popcornctl exec "$1" -- test -S /run/systemd/private
	is "$1: state of its system" "$(popcornctl exec "$1" -- systemctl is-system-running --wait || true)" running
}

# Addresses and lists of devices, and what is there of ours.
network_state() {
	ip -o link | awk -F': ' '{ print $2 }'
	nft list ruleset
	cat /proc/sys/net/ipv4/ip_forward
	systemctl list-units --all --plain --no-legend 'popcorn-files-*' | wc -l
	pgrep -xc virtiofsd || true
}
is_as_before() {
	[ "$(network_state)" = "$before" ]
}

# let_in NAME…: root of the primary may log in there by ssh.
let_in() {
	local name

	mkdir -p /root/.ssh
	chmod 700 /root/.ssh
	ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
	cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
	for name in "$@"; do
		echo "$name $(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)"
	done >/root/.ssh/known_hosts
	printf '%s\n' 'LogLevel ERROR' 'BatchMode yes' 'StrictHostKeyChecking yes' 'Ciphers aes128-ctr' >/root/.ssh/config
}
