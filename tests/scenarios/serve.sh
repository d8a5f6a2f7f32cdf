#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Secondaries serve: Debian's nginx, with the primary's files as root, answers the primary and another secondary, without
# one request that fails; apt installs what only that kernel then has; sshd answers by vsock. Nothing is left of it.
#
# machine: --cpus 4 --memory 4G
# suite: long
# timeout: 900

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

# Programs of the primary, which the secondaries find there. They are masked in the test machine.
sed -i 's/^hosts:.*/hosts: files popcorn/' /etc/nsswitch.conf
page='<p>A page of another kernel.</p>'
page_size=$((${#page} + 1))
mkdir -p /srv/www
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
let_in client

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
for command in hello-popcorn 'dpkg-query -W hello-popcorn' 'popcornctl exec web -- hello-popcorn'; do
	ok "elsewhere there is none: $command" sh -c "! $command"
done
ok 'the repository is ended' nginx -c /run/repository.conf -s quit
wait_until 10 sh -c '! pgrep -x nginx'

say '-- ssh by vsock'
popcornctl exec client -- tee /etc/systemd/system/ssh-vsock.socket >/dev/null <<'UNIT'
[Socket]
ListenStream=vsock::22
Accept=yes
UNIT
popcornctl exec client -- tee /etc/systemd/system/ssh-vsock@.service >/dev/null <<'UNIT'
[Service]
RuntimeDirectory=sshd
RuntimeDirectoryPreserve=yes
ExecStart=-/usr/sbin/sshd -i
StandardInput=socket
UNIT
ok 'sshd listens there' popcornctl exec client -- systemctl start ssh-vsock.socket
cat >/run/by-vsock <<'PYTHON'
import os, select, socket, sys

by = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
by.connect((int(sys.argv[1]), 22))
while True:
    for ready in select.select([0, by], [], [])[0]:
        data = os.read(0, 65536) if ready == 0 else by.recv(65536)
        if not data:
            sys.exit()
        if ready == 0:
            by.sendall(data)
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
PYTHON
echo "ProxyCommand python3 /run/by-vsock $((1000000 + $(prop client Id)))" >>/root/.ssh/config
is 'a shell' "$(ssh client hostname)" client
head -c 16M /dev/urandom >/run/sent
sum=$(sha256sum </run/sent)
is '16 MiB there' "$(ssh client 'tee /srv/came | sha256sum' </run/sent)" "$sum"
is '16 MiB back' "$(ssh client 'cat /srv/came' | sha256sum)" "$sum"

say '-- the end'
for name in client web; do
	is "$name: units that failed" "$(popcornctl exec "$name" -- systemctl --failed --no-legend --plain)" ''
	ok "stop $name" popcornctl stop "$name"
	is 'it stopped by itself' "$(prop "$name" Reason)" requested
	ok 'it shut down in order' sh -c "popcornctl log $name | grep -q 'reboot: Power down'"
done
ok 'all are forgotten' popcornctl release web client
wait_until 30 is_as_before
is 'nothing is left of it' "$(network_state)" "$before"
[ ! -e /sys/class/net/popcorn0 ] || fail 'the bridge is still there'
whole_check
