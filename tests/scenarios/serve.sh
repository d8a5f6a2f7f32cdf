#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Secondaries serve: Debian's nginx and sshd, with the primary's files as root, answer the primary and another
# secondary, without one request that fails; 256 MiB go both ways by scp and through a share (in emulation on
# a busy host 1 GiB takes too long); apt installs what only that kernel then has. Nothing is left of it.
#
# machine: --cpus 4 --memory 4G
# suite: long
# timeout: 1800

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

# ab_of FROM URL CONCURRENCY: 10,000 requests, all answered with what was asked for.
ab_of() {
	local from=$1 url=$2 concurrency=$3 text
	local command="ulimit -n 8192 && ab -q -n 10000 -c $concurrency $url"

	if [ "$from" = primary ]; then
		text=$(sh -c "$command" 2>&1) || { printf '%s\n' "$text"; fail "ab from the primary, $concurrency at once"; }
	else
		text=$(in_kernel "$from" "$command" 2>&1) || { printf '%s\n' "$text"; fail "ab from $from, $concurrency at once"; }
	fi
	if ! grep -qE '^Complete requests: +10000$' <<<"$text" || ! grep -qE '^Failed requests: +0$' <<<"$text" ||
		! grep -qE "^Document Length: +$page_size bytes$" <<<"$text" || grep -q '^Non-2xx' <<<"$text"; then
		printf '%s\n' "$text"
		fail "ab from $from, $concurrency at once"
	fi
	say "ok: $from: 10000 requests to $url, $concurrency at once, none failed:" \
		"$(sed -n 's/^Requests per second: *\([0-9.]*\).*/\1/p' <<<"$text") per second;" \
		"$(awk '$1 == "50%" || $1 == "99%" || $1 == "100%" { printf "%s %s ms ", $1, $2 }' <<<"$text")"
}

# timed DESCRIPTION COMMAND…: it succeeds; how fast it moved $size.
timed() {
	local description=$1 begin=$EPOCHREALTIME output us

	shift
	output=$("$@" 2>&1) || { printf '%s\n' "$output"; fail "$description: \"$*\" ended with status $?"; }
	us=$((${EPOCHREALTIME/./} - ${begin/./}))
	say "ok: $description: $((us / 1000)) ms, $((size * 1000000 / us / 1048576)) MiB/s"
}

# Programs of the primary, which the secondaries find there. They are masked in the test machine.
sed -i 's/^hosts:.*/hosts: files popcorn/' /etc/nsswitch.conf
page='<p>A page of another kernel.</p>'
page_size=$((${#page} + 1))
mkdir -p /srv/www /srv/share
echo "$page" >/srv/www/index.html
sed -i -e 's/worker_connections .*/worker_connections 4096;/' -e '1i worker_rlimit_nofile 16384;' /etc/nginx/nginx.conf
cat >/etc/nginx/sites-enabled/default <<'NGINX'
server {
	listen 80 backlog=4096;
	root /srv/www;
	access_log off;
	# Each open of a file below the overlay is two requests to the primary's virtiofsd.
	open_file_cache max=16;
}
NGINX
mkdir -p /root/.ssh
chmod 700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
for name in web client store; do
	echo "$name $(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)"
done >/root/.ssh/known_hosts

whole_mark
before=$(network_state)
say '-- two kernels'
for name in web client; do
	ok "boot $name on the primary's root" popcornctl boot "$name" --root primary --cpus 1 --memory 512M
	is_system_up "$name"
done
web=$(prop web Address)
is 'web by name, from the primary' "$(getent hosts web | tr -s ' ')" "$web web"
is 'web by name, from client' "$(popcornctl exec client -- getent hosts web | tr -s ' ')" "$web web"
is 'the primary by name, from client' "$(popcornctl exec client -- getent hosts primary | tr -s ' ')" '10.77.0.1 primary'

say '-- nginx'
# By default a kernel with 512 MiB keeps 2048 connections that it has closed, and 128 that are being opened;
# 10,000 in less than a minute are more.
ok 'room for connections' popcornctl exec web -- sysctl -q -w net.ipv4.tcp_max_tw_buckets=65536 \
	net.ipv4.tcp_max_syn_backlog=4096
ok 'unmask nginx in web' popcornctl exec web -- systemctl unmask nginx
ok 'start nginx in web' popcornctl exec web -- systemctl start nginx
is 'it is active' "$(popcornctl exec web -- systemctl is-active nginx)" active
is 'none runs on the primary' "$(pgrep -c nginx || true)" 0
for from in primary client; do
	for concurrency in 100 1000; do
		ab_of "$from" http://web/ "$concurrency"
	done
done
is 'nginx says of errors' "$(in_kernel web 'cat /var/log/nginx/error.log')" ''

say '-- apt'
mkdir -p /srv/repository/package/DEBIAN /srv/repository/package/usr/bin
cat >/srv/repository/package/DEBIAN/control <<'CONTROL'
Package: hello-popcorn
Version: 1
Architecture: all
Maintainer: Popcorn <root@localhost>
Description: says hello
CONTROL
printf '#!/bin/sh\necho hello from\nhostname\n' >/srv/repository/package/usr/bin/hello-popcorn
chmod 755 /srv/repository/package/usr/bin/hello-popcorn
dpkg-deb --root-owner-group -b /srv/repository/package /srv/repository/hello-popcorn.deb >/dev/null
{
	dpkg-deb -f /srv/repository/hello-popcorn.deb
	printf 'Filename: ./hello-popcorn.deb\nSize: %s\nSHA256: %s\n\n' "$(stat -c %s /srv/repository/hello-popcorn.deb)" \
		"$(sha256sum /srv/repository/hello-popcorn.deb | cut -d' ' -f1)"
} >/srv/repository/Packages
cat >/run/repository.conf <<'NGINX'
user www-data;
pid /run/repository.pid;
error_log /run/repository.log;
events { }
http {
	access_log off;
	server {
		listen 10.77.0.1:8080;
		root /srv/repository;
	}
}
NGINX
ok 'a repository on the primary' nginx -c /run/repository.conf
in_kernel client 'rm -rf /etc/apt/sources.list.d/*; echo "deb [trusted=yes] http://primary:8080/ ./" >/etc/apt/sources.list'
ok 'apt-get update' popcornctl exec client -- apt-get update
ok 'apt-get install' popcornctl exec client -- env DEBIAN_FRONTEND=noninteractive apt-get install -y hello-popcorn
is 'the program' "$(popcornctl exec client -- hello-popcorn)" $'hello from\nclient'
# shellcheck disable=SC2016 # dpkg's
is 'it is installed' "$(popcornctl exec client -- dpkg-query -W -f '${Status}' hello-popcorn)" 'install ok installed'
fails_with '' hello-popcorn
fails_with '' dpkg-query -W hello-popcorn
fails_with '' popcornctl exec web -- hello-popcorn
ok 'the repository is ended' nginx -c /run/repository.conf -s quit
wait_until 10 sh -c '! pgrep -x nginx'
ok 'stop client' popcornctl stop client

say '-- copies'
# The copy needs room: half of a kernel's memory is for what it writes.
ok 'boot store' popcornctl boot store --root primary --cpus 1 --memory 1G --share data:/srv/share
is_system_up store
ok 'unmask sshd' popcornctl exec store -- systemctl unmask ssh
ok 'start sshd' popcornctl exec store -- systemctl start ssh
size=$((1 << 28))
head -c $size /dev/urandom >/srv/share/there
sum=$(sha256sum </srv/share/there)
ssh=(-q -o BatchMode=yes -o StrictHostKeyChecking=yes -c aes128-ctr)
is 'a shell by ssh' "$(ssh "${ssh[@]}" store hostname)" store
timed 'scp to store' scp "${ssh[@]}" /srv/share/there store:/srv/copy
is 'what came' "$(in_kernel store 'sha256sum </srv/copy')" "$sum"
timed 'scp from store' scp "${ssh[@]}" store:/srv/copy /srv/back
is 'what came back' "$(sha256sum </srv/back)" "$sum"
rm /srv/back
in_kernel store 'rm /srv/copy; mkdir -p /mnt/data; mount -t virtiofs data /mnt/data'
timed 'from the share' popcornctl exec store -- cp /mnt/data/there /srv/copy
is 'what came' "$(in_kernel store 'sha256sum </srv/copy')" "$sum"
rm /srv/share/there
timed 'to the share' popcornctl exec store -- cp /srv/copy /mnt/data/back
is 'what came back' "$(sha256sum </srv/share/back)" "$sum"
rm /srv/share/back

say '-- the end'
for name in store web; do
	is "$name: units that failed" "$(popcornctl exec "$name" -- systemctl --failed --no-legend --plain)" ''
	ok "stop $name" popcornctl stop "$name"
	is 'it stopped by itself' "$(prop "$name" Reason)" requested
	ok 'it shut down in order' sh -c "popcornctl log $name | grep -q 'reboot: Power down'"
done
ok 'all are forgotten' popcornctl release web client store
wait_until 30 is_as_before
is 'nothing is left of it' "$(network_state)" "$before"
[ ! -e /sys/class/net/popcorn0 ] || fail 'the bridge is still there'
whole_check
