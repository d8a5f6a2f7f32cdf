#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# 20 times a kernel is booted, and stopped or killed in turns, while its network, a share and streams both ways are under
# load. Nothing of it is left: no interface, rule, unit, process or mount, and the primary's memory is as it was.
#
# machine: --cpus 2 --memory 2G
# suite: long
# timeout: 1800

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

CYCLES=20
# The first ones fill caches that stay: slabs, areas of CPUs.
FIRST=5
# What may be gone between them: pages that wait for RCU, slabs that are half full, the journal's own.
TOLERANCE_KIB=8192

# What is there of networks, servers and shares.
leftovers() {
	ip -o link | awk -F': ' '{ print $2 }'
	nft list ruleset
	cat /proc/sys/net/ipv4/ip_forward
	systemctl list-units --all --plain --no-legend 'popcorn@*' 'popcorn-files-*' | awk '{ print $1 }'
	ps -eo comm | grep -E '^(virtiofsd|popcorn-leader|popcorn-files|vhost-)' || true
	grep -E 'virtiofs|popcorn/files' /proc/mounts || true
	find /run/popcorn /run/popcorn-leader ! -name topology.xml -type f 2>/dev/null
	find /sys/class/net/popcorn0/brif -mindepth 1 2>/dev/null || true
}
# as_before: for wait_until: what systemd and the kernel do of themselves may take a moment.
as_before() {
	[ "$(leftovers)" = "$before" ]
}
# What the kernel has, however it is used: free, caches, and memory of files, which are the journal's here.
memory() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	cat /proc/sys/vm/stat_refresh
	awk '/^(MemFree|Buffers|Cached|SReclaimable|SUnreclaim|AnonPages|KernelStack|PageTables|Percpu|VmallocUsed):/ {
		sub(":", "", $1); print $1, $2 }' /proc/meminfo
	# Free as well, but kept by the CPUs.
	awk '$1 == "count:" { n += $2 } END { print "CpuLists", n * 4 }' /proc/zoneinfo
}
# of FILE NAME…: the sum.
of() {
	local file=$1

	shift
	awk -v names=" $* " 'index(names, " " $1 " ") { n += $2 } END { print n + 0 }' "$file"
}
cycle() {
	local address load

	popcornctl boot -q c --cpus 1 --memory 256M --root initramfs --network primary,kernels --share data:/run/data
	address=$(prop c Address)
	busybox ping -i 0.01 "$address" >/run/ping 2>&1 &
	load=$!
	# A stream out of it, one into it, and files.
	ask c 'mkdir -p /d; mount -t virtiofs data /d
		(while :; do nc 10.77.0.1 5001 </dev/zero; sleep 1; done) >/dev/null 2>&1 &
		(while :; do nc 10.77.0.1 5002 </dev/null >/dev/null; sleep 1; done) >/dev/null 2>&1 &
		(while :; do cat /d/file >/dev/null || sleep 1; done) >/dev/null 2>&1 &
		echo' >/dev/null
	wait_until 30 grep -q 'bytes from' /run/ping
	wait_until 30 streams 2
	# In turns: as it should end, and as it should not.
	if [ $(($1 % 2)) = 0 ]; then
		popcornctl stop -q c
	else
		popcornctl kill -q c
	fi
	popcornctl release -q c
	# It may have ended: with the bridge there is no way to the address.
	kill $load 2>/dev/null || true
	wait $load 2>/dev/null || true
	wait_until 30 as_before
	wait_until 30 streams_end
}
streams() {
	[ "$(ss -Htn state established state close-wait '( sport = :5001 or sport = :5002 )' | wc -l)" -ge "$1" ]
}
streams_end() {
	! streams 1
}

mkdir -p /run/data
head -c 1M /dev/urandom >/run/data/file
# Both live as long as we do; a stream ends with its kernel, whose end nobody says: so by a time without an answer.
python3 - <<'PYTHON' &
import socket, threading

def serve(port, work):
    listening = socket.create_server(("", port))
    while True:
        connection, _ = listening.accept()
        connection.settimeout(2)
        threading.Thread(target=run, args=(connection, work), daemon=True).start()

def run(connection, work):
    try:
        with connection:
            while work(connection):
                pass
    except OSError:
        pass

zeros = bytes(65536)
threading.Thread(target=serve, args=(5001, lambda c: c.recv(65536))).start()
serve(5002, lambda c: c.send(zeros))
PYTHON
server=$!
listening() {
	[ "$(ss -Hltn '( sport = :5001 or sport = :5002 )' | wc -l)" = 2 ]
}
wait_until 30 listening
ok 'popcornd' popcornctl list
whole_mark
before=$(leftovers)

for ((i = 1; i <= CYCLES; i++)); do
	cycle $i
	[ $i -ne $FIRST ] || memory >/run/first
	say "cycle $i: $(grep -c 'bytes from' /run/ping) answers"
done
memory >/run/last
paste -d' ' /run/first /run/last | awk '{ printf "%-14s %8d -> %8d KiB (%+d)\n", $1, $2, $4, $4 - $2 }'
for what in 'SReclaimable SUnreclaim' 'Percpu VmallocUsed KernelStack PageTables'; do
	# shellcheck disable=SC2086 # words
	grown=$(($(of /run/last $what) - $(of /run/first $what)))
	say "$what: $grown KiB more"
	[ $grown -le $TOLERANCE_KIB ] || fail "memory of the kernel has grown: $what"
done
all='MemFree CpuLists Buffers Cached AnonPages SReclaimable SUnreclaim PageTables Percpu VmallocUsed'
# shellcheck disable=SC2086 # words
lost=$(($(of /run/first $all) - $(of /run/last $all)))
say "neither free nor accounted for: $lost KiB"
[ $lost -le $TOLERANCE_KIB ] || fail "$lost KiB are lost"
kill $server
wait $server 2>/dev/null || true
systemctl reset-failed 2>/dev/null || true
whole_check
