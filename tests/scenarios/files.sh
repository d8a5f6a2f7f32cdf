#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Folders of the primary in a secondary: read and written whole, nothing outside of them reached, for reading
# only where that was said; with the server killed, the leader killed and the kernel killed under load. Nothing
# is left of it.
#
# machine: --cpus 3 --memory 2G
# timeout: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
units() {
	systemctl list-units --all --plain --no-legend 'popcorn-files-*' | wc -l
}
servers() {
	[ "$(units)" = "$1" ] && [ "$(pgrep -xc virtiofsd)" -ge "$1" ]
}
# Of a unit of virtiofsd there are two: the one that systemd knows waits for the other.
server_of() {
	systemctl list-units --plain --no-legend "popcorn-files-half:$1:*" | cut -d' ' -f1
}
none_left() {
	[ "$(units)" = 0 ] && ! pgrep -x virtiofsd
}
another_server() {
	local now

	now=$(server_of "$1")
	[ -n "$now" ] && [ "$now" != "$2" ]
}
# last COMMAND…: the last line that it prints in the secondary.
last() {
	ask half "$*" | tail -n 1
}

data=/run/data ro=/run/ro
mkdir -p $data/below $ro /run/elsewhere
mount -t tmpfs -o size=64M data $data
mkdir $data/below
mount -t tmpfs hidden $data/below
touch $data/below/not-seen
echo 'for reading' >$ro/file
echo 'secret' >/run/elsewhere/secret
ln -s /run/elsewhere/secret $data/link
ln -s ../elsewhere $data/up
head -c 8M /dev/urandom >$data/random
sum=$(sha256sum <$data/random)

say '-- what is refused'
refused InvalidArgument popcornctl boot half --cpus 1 --memory 256M --root initramfs --share data:/nonexistent
refused InvalidArgument popcornctl boot half --cpus 1 --memory 256M --root initramfs --share data:$ro/file
refused InvalidArgument popcornctl boot half --cpus 1 --memory 256M --root initramfs --share popcorn-root:$ro
refused InvalidArgument popcornctl boot half --cpus 1 --memory 256M --root initramfs --share a:$ro --share a:$ro
is 'no unit' "$(units)" 0

say '-- two shares'
ok 'boot' popcornctl boot half --cpus 1 --memory 256M --root initramfs --network none \
	--share data:$data --share ro:$ro:ro
wait_until 60 servers 2
is 'mount' "$(last 'mkdir /d /r; mount -t virtiofs data /d && mount -t virtiofs ro /r; echo $?')" 0
is 'what the primary wrote' "$(last 'sha256sum </d/random')" "$sum"
is 'what the secondary wrote' \
	"$(last 'dd if=/dev/urandom of=/d/back bs=64k count=64 2>/dev/null; sha256sum </d/back')" "$(sha256sum <$data/back)"
is '200 files' "$(last 'mkdir /d/many; for i in $(seq 200); do echo $i >/d/many/$i; done; ls /d/many | wc -l')" 200
is 'the primary sees them' "$(cat $data/many/* | sort -n | tail -n 1; find $data/many -type f | wc -l)" $'200\n200'
is 'for reading only: read' "$(last 'cat /r/file')" 'for reading'
is 'for reading only: written' "$(last 'echo x >/r/x 2>/dev/null; rm /r/file 2>/dev/null; chmod 0 /r/file 2>/dev/null; ls /r')" file
is 'and there is nothing new' "$(ls -l $ro | tail -n +2 | cut -c1-10)" -rw-r--r--

say '-- what is outside'
is 'by a link' "$(last 'cat /d/link 2>/dev/null || echo no')" no
is 'by a link upwards' "$(last 'cat /d/up/secret 2>/dev/null || echo no')" no
is 'what is no real file system, mounted in it' "$(last 'ls /d/below | wc -l')" 0
# Folders that are moved around while they are walked: nothing but what is in the share comes of it.
mkdir -p $data/a/b $data/c
is 'while folders move' "$(last 'for i in $(seq 100); do mv /d/a/b /d/c/b; cat /d/c/b/../../../elsewhere/secret 2>/dev/null; mv /d/c/b /d/a/b; done; echo moved')" moved
# Of the share that is for reading; of its two processes the second one serves.
pid=''
for server in $(pgrep -x virtiofsd); do
	[ ! -e "/proc/$server/root/file" ] || pid=$server
done
is 'root of a server' "$(ls /proc/"$pid"/root/)" file
is 'rights of a server' "$(sed -n 's/^CapEff:\t//p' /proc/"$pid"/status)" 00000000880000db

say '-- the server is killed under load'
old=$(server_of data)
is 'load' "$(last '(while :; do cat /d/random >/dev/null 2>&1 || sleep 1; done) & echo $?')" 0
ok 'kill' systemctl kill -s KILL "$old"
wait_until 60 another_server data "$old"
# What was open is lost, and says so instead of hanging; the other share goes on.
is 'the other one' "$(last 'cat /r/file')" 'for reading'
is 'what was mounted' "$(last 'cat /d/random >/dev/null 2>&1 && echo works || echo fails')" fails
ask half 'kill %1; sleep 1; umount -l /d; echo' >/dev/null
is 'mounted again' "$(last 'for i in 1 2 3 4 5 6 7 8 9 10; do mount -t virtiofs data /d && break; sleep 1; done; sha256sum </d/random')" "$sum"

say '-- the leader is killed under load'
old=$(server_of data) pid=$(leader half)
ask half '(i=0; while cat /d/random >/dev/null; do i=$((i + 1)); echo $i >/d/count; done; echo broken >/d/broken) & echo' >/dev/null
kill -KILL "$pid"
wait_until 60 has_new_leader half "$pid"
is 'what is open goes on' "$(last 'sha256sum </d/random')" "$sum"
count=$(cat $data/count)
goes_on() {
	[ "$(cat $data/count)" -gt "$count" ]
}
wait_until 60 goes_on
is 'nothing broke' "$(test -e $data/broken && echo yes)" ''
is 'the same server' "$(server_of data)" "$old"

say '-- the kernel is killed under load'
ok 'kill' popcornctl kill half
wait_until 60 none_left
is 'no mount is left' "$(grep -c popcorn/files /proc/mounts)" 0
ok 'release' popcornctl release half

say '-- a server that can not be started: all fails, nothing hangs'
printf 'virtiofsd = "/bin/false";\n' >/etc/popcorn/popcornd.conf
ok 'reload' systemctl reload popcornd
ok 'boot' popcornctl boot half --cpus 1 --memory 256M --root initramfs --network none --share ro:$ro
# A mount of virtio-fs does not wait for its first answer.
is 'what is mounted' "$(last 'mkdir /r; mount -t virtiofs ro /r 2>/dev/null; cat /r/file 2>/dev/null && echo works || echo fails')" fails
ok 'stop' popcornctl stop half
ok 'release' popcornctl release half
wait_until 60 none_left
systemctl reset-failed 2>/dev/null || true
umount $data/below $data
whole_check
