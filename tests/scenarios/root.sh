#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Kernels with a root: the primary's files with memory above them, with its systemd up to multi-user.target and
# a login on the console; other versions of the kernel on the same files; folders, written to or not.
#
# machine: --cpus 4 --memory 4G
# timeout: 1500

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

# since TIME: seconds since $EPOCHREALTIME was this.
since() {
	local ms=$(((${EPOCHREALTIME/./} - ${1/./}) / 1000))

	printf '%d.%03d s' $((ms / 1000)) $((ms % 1000))
}

# console_login KERNEL PASSWORD: logs in on the console, and asks who that is.
console_login() {
	local kernel=$1 password=$2 pid in out line='' c code=1

	coproc login_console { exec popcornctl console "$kernel" 2>/dev/null; }
	# Copies, because bash forgets them when the process ends.
	# shellcheck disable=SC2154 # coproc sets it
	in=${login_console[1]} out=${login_console[0]} pid=$login_console_PID
	while IFS= read -r -t 60 -N 1 c <&"$out"; do
		line+=$c
		[ "$c" != $'\n' ] || line=''
		case $line in
		*"$kernel login: ") printf 'root\n' >&"$in"; line='' ;;
		*'Password: ') printf '%s\n' "$password" >&"$in"; line='' ;;
		*"root@$kernel:~# ") echo "echo is-\$(whoami)" >&"$in"; line='' ;;
		*is-root) code=0; printf 'exit\n' >&"$in"; break ;;
		*'Login incorrect') break ;;
		esac
	done
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	[ $code -eq 0 ] || printf '%s\n' "$line"
	return $code
}

# is_system_whole KERNEL: it is up, and nothing failed.
is_system_whole() {
	is_system_up "$1"
	is "$1: units that failed" "$(popcornctl exec "$1" -- systemctl --failed --no-legend --plain)" ''
	is "$1: multi-user.target" "$(popcornctl exec "$1" -- systemctl is-active multi-user.target)" active
}

# A folder with a system in it: busybox is all of it.
make_folder() {
	mkdir -p "$1/bin" "$1/sbin" "$1/etc/init.d"
	cp /bin/busybox "$1/bin/"
	ln -s busybox "$1/bin/sh"
	ln -s ../bin/busybox "$1/sbin/init"
	printf '#!/bin/sh\n/bin/busybox date >/written\n' >"$1/etc/init.d/rcS"
	chmod 755 "$1/etc/init.d/rcS"
}

echo root:popcorn | chpasswd
# The default, which other scenarios do without.
sed -i '/^default = { root = "initramfs"; };$/d' /etc/popcorn/popcornd.conf
mkdir -p /srv/shared
echo primary >/srv/shared/mark
echo secret >/tmp/only-here
id=$(cat /etc/machine-id)

whole_mark
started=$EPOCHREALTIME
ok 'boot r1 on the primary'\''s root' popcornctl boot r1 --memory 512M
is 'its root, as listed' "$(prop r1 Root)" primary
is_system_whole r1
say "r1: from boot to its system being up: $(since "$started")"
say "r1: $(popcornctl exec r1 -- systemd-analyze | tr '\n' ' ')"
say "primary: $(systemd-analyze | tr '\n' ' ')"
say "r1: $(in_kernel r1 'free -m | grep Mem; df -m / | tail -n 1; df -m /run | tail -n 1' | tr -s ' ' | tr '\n' ';')"

is 'its init is the primary'\''s program' "$(popcornctl exec r1 -- readlink /proc/1/exe)" "$(readlink /proc/1/exe)"
is 'its programs are the primary'\''s' "$(popcornctl exec r1 -- sha256sum /usr/bin/bash)" "$(sha256sum /usr/bin/bash)"
is 'its host name' "$(popcornctl exec r1 -- hostname)" r1
is 'its host name, on disk' "$(popcornctl exec r1 -- cat /etc/hostname)" r1
is 'its machine id has 32 digits' "$(popcornctl exec r1 -- grep -cxE '[0-9a-f]{32}' /etc/machine-id)" 1
own=$(popcornctl exec r1 -- cat /etc/machine-id)
[ "$own" != "$id" ] || fail 'its machine id is the primary'\''s'
is 'its interface has its address' "$(in_kernel r1 "ip -4 -o address show dev eth0 | grep -o 'inet [0-9.]*'")" "inet $(prop r1 Address)"
ok 'it finds the primary by name, and reaches it' popcornctl exec r1 -- ping -c 1 -W 5 primary
ok 'the primary reaches it' ping -c 1 -W 5 "$(prop r1 Address)"
is 'its processes are its own' "$(popcornctl exec r1 -- pgrep -c popcornd || true)" 0
is 'popcornd is not for it' "$(popcornctl exec r1 -- systemctl is-enabled popcornd.service || true)" masked
is 'there is nothing of the primary'\''s /tmp' "$(in_kernel r1 'ls /tmp/only-here 2>&1 | grep -c "No such"')" 1
is 'nor of its /run' "$(in_kernel r1 'ls -d /run/popcorn 2>&1 | grep -c "No such"')" 1
is 'nothing is mounted below the root' "$(in_kernel r1 'grep -c " /popcorn" /proc/mounts || true')" 0
is 'it reads what is there' "$(popcornctl exec r1 -- cat /srv/shared/mark)" primary
in_kernel r1 'echo r1 >/srv/shared/mark; mv /srv/shared /srv/moved; rm /etc/passwd-'
is 'it has what it wrote, in a folder with another name' "$(popcornctl exec r1 -- cat /srv/moved/mark)" r1
is 'the primary has what it had' "$(cat /srv/shared/mark)" primary
ok 'and all of its files' test -e /etc/passwd-
ok 'root logs in on its console' console_login r1 popcorn

started=$EPOCHREALTIME
ok 'it stops when asked' popcornctl stop r1
say "r1: stopped after $(since "$started")"
is 'it stopped by itself' "$(prop r1 Reason)" requested
ok 'it shut down in order' sh -c 'popcornctl log r1 | grep -q "reboot: Power down"'

ok 'boot it again' popcornctl boot r1 --root primary --memory 512M
is_system_whole r1
is 'what it wrote is gone' "$(popcornctl exec r1 -- cat /srv/shared/mark)" primary
is 'its machine id is the same' "$(popcornctl exec r1 -- cat /etc/machine-id)" "$own"
first=$(popcornctl exec r1 -- cat /proc/sys/kernel/random/boot_id)
in_kernel r1 'systemctl --no-block reboot'
# shellcheck disable=SC2317 # called by wait_until
has_rebooted() {
	local now
	now=$(popcornctl exec r1 -- cat /proc/sys/kernel/random/boot_id) && [ "$now" != "$first" ]
}
wait_until 120 has_rebooted
is_system_whole r1
ok 'it stops' popcornctl stop r1

for kernel in '6.12*-amd64' '6.1.*-rt-amd64'; do
	file=$(image "$kernel")
	[ -n "$file" ] || fail 'the test image lacks a kernel'
	ok "boot $file on the primary's root" popcornctl boot r2 --root primary --memory 512M --kernel "$file"
	is_system_whole r2
	is 'its version' "$(popcornctl exec r2 -- uname -r)" "${file#/boot/vmlinuz-}"
	[ "$(popcornctl exec r2 -- cat /etc/machine-id)" != "$own" ] || fail 'two kernels have one machine id'
	ok 'it stops' popcornctl stop r2
done

make_folder /srv/db0
ok 'boot on a folder that stays as it is' popcornctl boot f --root /srv/db0:ro --memory 256M
wait_until 30 popcornctl exec f -- /bin/busybox test -e /written
is 'its host name' "$(popcornctl exec f -- /bin/busybox cat /etc/hostname)" f
ok 'it stops' popcornctl stop f
ok 'nothing was written' sh -c '! ls /srv/db0/written /srv/db0/etc/hostname /srv/db0/proc 2>/dev/null'
ok 'boot on the folder' popcornctl boot f --root /srv/db0 --memory 256M
wait_until 30 test -s /srv/db0/written
ok 'it stops' popcornctl stop f
is 'nothing else was written' "$(cd /srv/db0 && echo *)" 'bin dev etc proc run sbin sys written'
is 'nor in its configuration' "$(cd /srv/db0/etc && echo *)" init.d

refused InvalidArgument popcornctl boot f --root /srv/nowhere
refused InvalidArgument popcornctl boot f --root /
ok 'all are forgotten' popcornctl release r1 r2 f
whole_check
