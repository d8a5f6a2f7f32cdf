#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# /dev/vtyN, lines between kernels: bytes both ways, between the primary and a kernel, two kernels, and kernels of other
# versions; a slow reader; a login; carrier and hang-ups; a kernel that ends and comes back; one that talks nonsense.
#
# machine: --cpus 4 --memory 3G
# apic: xapic
# timeout: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/messages.bash"

BYTES=1048576

# there NAME COMMAND: in a kernel, or here for "primary".
there() {
	if [ "$1" = primary ]; then
		timeout 100 sh -c "$2"
	else
		timeout 100 popcornctl exec "$1" sh -c "mkdir -p /tmp; $2"
	fi
}

has_line() {
	[ "$(there "$1" "test -c /dev/vty$2 && echo yes")" = yes ]
}

has_no_line() {
	! has_line "$1" "$2"
}

# both_ways A ID-OF-A B ID-OF-B: each sends the other a mebibyte at once, and says the sum of what it sent and got.
# Without carrier detection once both are there: the first one to close hangs nobody up who still reads.
both_ways() {
	local program="head -c $BYTES /dev/urandom >/tmp/sent; exec 3<>/dev/vtyID; stty raw -echo clocal <&3
		cat /tmp/sent >&3 & head -c $BYTES <&3 >/tmp/got; wait
		echo \$(sha256sum </tmp/sent | head -c 64) \$(sha256sum </tmp/got | head -c 64)"
	local one two begun=$EPOCHREALTIME ended

	there "$1" "${program/ID/$4}" >/run/one &
	there "$3" "${program/ID/$2}" >/run/two
	wait $!
	ended=$EPOCHREALTIME
	read -r -a one </run/one
	read -r -a two </run/two
	is "$1 got what $3 sent" "${one[1]}" "${two[0]}"
	is "$3 got what $1 sent" "${two[1]}" "${one[0]}"
	say "2 MiB in $(((${ended/./} - ${begun/./}) / 1000)) ms"
}

# reads TEXT: it comes on descriptor 3 of ours within 20 s.
reads() {
	local seen='' c

	while [[ $seen != *"$1"* ]] && IFS= read -r -d '' -n 1 -t 20 c <&3; do
		seen+=$c
	done
	[[ $seen == *"$1"* ]] || fail "did not read \"$1\": $seen"
	say "ok: read \"$1\""
}

whole_mark
popcornctl list
up e1 1
up e2 1
for line in primary:1 primary:2 e1:0 e1:2 e2:0 e2:1; do
	wait_until 20 has_line ${line/:/ }
done
say 'ok: each has a line to each other'
ok 'none to itself' has_no_line primary 0
is 'it is root alone who may' "$(stat -c '%U %a' /dev/vty1)" 'root 600'
ok 'it begins raw' sh -c 'stty -F /dev/vty1 -a | grep -- "-icanon.* -echo "'

say '-- bytes'
both_ways primary 0 e1 1
both_ways e1 1 e2 2
head -c 300000 /dev/urandom >/run/in
there e1 'exec 3<>/dev/vty0; stty clocal <&3; for i in 1 2 3 4 5 6 7 8 9 10; do
	dd bs=3000 count=10 iflag=fullblock <&3 2>/dev/null; sleep 0.2; done | sha256sum | head -c 64' >/run/slow &
reader=$!
cat /run/in >/dev/vty1
wait $reader
is 'a reader that is slow gets all' "$(cat /run/slow)" "$(sha256sum </run/in | head -c 64)"

say '-- carrier'
code=0
timeout 1 sh -c 'echo lost >/dev/vty1' || code=$?
is 'an open waits for the other end' $code 124
timeout 60 sh -c 'exec 3<>/dev/vty1; read -r line <&3; echo "$line"; read -r line <&3; echo "end $?"' >/run/said &
reader=$!
there e1 'exec 3<>/dev/vty0; echo hello >&3; sleep 0.5'
wait $reader || true
is 'what the other end said, and its end' "$(cat /run/said)" $'hello\nend 1'
timeout 60 sh -c 'exec 3<>/dev/vty1; while read -r line <&3; do echo "$line"; done' >/run/said &
reader=$!
there e1 'exec 3<>/dev/vty0; stty -hupcl <&3; echo one >&3; exec 3<&-; exec 3<>/dev/vty0
	echo two >&3; sleep 0.5'
wait $reader || true
is 'a close that keeps DTR is no end' "$(cat /run/said)" $'one\ntwo'
# Who has nobody at the other end.
ok 'bytes into the air' timeout 20 dd if=/dev/zero of=/dev/vty1 oflag=nonblock bs=1000 count=1000

say '-- a login'
# sleeps N: of that program there are N.
sleeps() {
	[ "$(there e1 'ps | grep -c "[s]leep 4321"')" = "$1" ]
}
there e1 'setsid getty -n -l /bin/sh 38400 vty0 vt220 </dev/null >/dev/null 2>&1; true' &
exec 3<>/dev/vty1
# What is typed before is flushed by it.
reads '# '
printf 'echo "he""llo from $(cat /proc/sys/kernel/hostname) on $(tty)"\r' >&3
reads 'hello from e1 on /dev/vty0'
printf 'sleep 4321\r' >&3
reads 'sleep 4321'
wait_until 20 sleeps 1
# What is typed before it is read by the shell as it is, and what is typed behind it may be flushed.
printf '\003' >&3
reads '# '
printf 'echo "st""atus=$?"\r' >&3
reads 'status=130'
printf 'sleep 4321\r' >&3
wait_until 20 sleeps 1
exec 3>&-
wait_until 20 sleeps 0
say 'ok: the login ends with the carrier'

say '-- nonsense'
# raw WORDS…: a message of a line, type 254, of kernel e1, to the primary.
raw() {
	start e1 raw 0 254 "$@"
}
# of_line WORD: of the primary's line to e1.
of_line() {
	sed -n "s/^1\..*\\b$1 \\([0-9]*\\).*/\\1/p" /proc/tty/driver/popcorn_vty
}
of_line_is() {
	[ "$(of_line "$1")" = "$2" ]
}
there e1 'exec 3<>/dev/vty0; sleep 60' &
opened=$!
exec 3<>/dev/vty1
opening=$(of_line opening)
raw 9 "$opening" 0 0 0
raw 2 $((opening - 1)) 0 0 3000
raw 2 0 0 0 3000
raw 3 1 4294967295 0 0
is 'bytes for nobody' "$(of_line in) $(of_line overrun)" '0 0'
# Credit that nobody owes, and more bytes than there is room for: of 40 messages, nobody reads one.
raw 3 "$(of_line theirs)" 4294967295 0 0
is 'credit that nobody owes' "$(of_line unacked)" 0
on e1 "for i in \$(seq 40); do echo raw 0 254 2 $opening 0 0 3800 >$TEST/run; done; echo" >/dev/null
overrun() {
	[ "$(of_line overrun)" -gt 80000 ] && [ "$(of_line in)" = 32768 ]
}
wait_until 20 overrun
say "ok: what is too much is dropped: $(of_line overrun) bytes"
# An end that was never opened, with room for all; none; one that asks for ever.
raw 1 77 4294967295 3 0
wait_until 20 of_line_is room 1048576
say 'ok: its room is bounded'
raw 1 0 0 0 0
wait_until 20 of_line_is opening 0
say 'ok: it hangs up'
raw 1 78 0 4294967295 0
on e1 "for i in \$(seq 200); do echo raw 0 254 1 \$i 5 7 0 >$TEST/run; done; echo" >/dev/null
start e1 raw 0 254 0 0 0 0 0
kill $opened 2>/dev/null || true
wait $opened || true
exec 3>&-
wait_until 20 has_line primary 1
both_ways primary 0 e2 2

say '-- a kernel that ends'
there e1 'exec 3<>/dev/vty0; sleep 60' &
opened=$!
sh -c 'stty clocal <&3; cat <&3' 3<>/dev/vty1 >/dev/null &
reader=$!
wait_until 20 sh -c 'pgrep -x cat'
ok 'kill e1' popcornctl kill e1
code=0
wait $reader || code=$?
is 'hangs up, whatever CLOCAL says' $code 0
wait $opened || true
wait_until 20 has_no_line primary 1
wait_until 20 has_no_line e2 1
ok 'release it' popcornctl release e1
up e1 1
wait_until 20 has_line primary 1
both_ways primary 0 e1 1

say '-- the module'
exec 3<>/dev/null
ok 'unload' rmmod popcorn_vty
ok 'no line any more' test ! -e /dev/vty2
ok 'load' modprobe popcorn_vty
wait_until 20 has_line primary 1
both_ways primary 0 e1 1
there e1 'exec 3<>/dev/vty0; sleep 60' &
opened=$!
sh -c 'stty clocal <&3; cat <&3' 3<>/dev/vty1 >/dev/null &
reader=$!
wait_until 20 sh -c 'pgrep -x cat'
there e1 'poweroff -f' || true
reach e1 stopped 30
wait $reader
wait $opened || true
wait_until 20 has_no_line primary 1
wait_until 20 has_no_line e2 1
ok 'kill the other' popcornctl kill e2
ok 'release both' popcornctl release e1 e2

say '-- kernels of other versions'
up new 1 "$(image '6.12*-amd64')"
up rt 2 "$(image '6.1.*-rt-amd64')"
for line in primary:1 primary:2 new:2 rt:1; do
	wait_until 30 has_line ${line/:/ }
done
both_ways primary 0 new 1
both_ways primary 0 rt 2
both_ways new 1 rt 2
expect_failed_unit 'popcorn@*.service'
ok 'kill all' popcornctl kill new rt
ok 'release all' popcornctl release new rt
whole_check
