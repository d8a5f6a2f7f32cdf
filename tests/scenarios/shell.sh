#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A shell in another kernel, on a terminal: its size, its keys, its end and that of everybody it needs. Also where an
# init has a root of its own, without /dev/pts.
#
# machine: --cpus 3 --memory 3G
# apic: xapic
# timeout: 600

# terminal.bash sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/terminal.bash"

sessions() {
	popcornctl exec e1 sh -c 'cat /proc/[0-9]*/comm | grep -c popcorn-session'
}

# The one that counts is one.
no_sessions() {
	[ "$(sessions)" = 1 ]
}

# as_before STATUS: all has ended, with this status, and the terminal is as it was.
as_before() {
	expect_end
	has status $'\nstatus '"$1"$'\r?\n'
	has 'the terminal is as before' ' icanon.* echo'
}

# has DESCRIPTION PATTERN: in what came.
has() {
	[[ $seen =~ $2 ]] || fail "$1: \"$2\" is not in: $seen"
	say "ok: $1"
}

whole_mark
ok 'boot e1, the agent is its init' popcornctl boot e1 --cpus 1 --memory 256M
ok 'boot e2, with an init and a root of its own' popcornctl boot e2 --cpus 1 --memory 256M --initrd "$(rooted_initrd)"

say '-- without a terminal'
code=0
# shellcheck disable=SC2016 # it is said there
out=$(popcornctl shell e1 <<<'echo $0 $HOME; hostname; exit 7') || code=$?
is 'a script' "$code $out" $'7 -sh /root\ne1'
is 'a line' "$(popcornctl shell e1 'cd /tmp; pwd; tty' || true)" $'/tmp\nnot a tty'
is 'a terminal all the same' "$(popcornctl exec -t e1 tty | tr -d '\r')" /dev/pts/0

say '-- a login'
COLORTERM=some-colours TERM=xterm-256color login_here popcornctl shell e1
expects 'how to leave is said first' 'Connected to e1. Press Ctrl-] three times within 1s to leave.'
# shellcheck disable=SC2016 # it is said there
type_keys 'echo "be"gin $COLORTERM $TERM $0\r'
expects 'colours, login' 'begin some-colours xterm-256color -sh'
type_keys 'stty size; echo "si"ze\r'
expects 'its size is asked' $'size\r'
has 'its size is ours' $'33 101\r'
stty -F "$here" rows 44 cols 55
# shellcheck disable=SC2016 # it is said there
type_keys 'until [ "$(stty size)" = "44 55" ]; do sleep 0.1; done; echo "re"sized\r'
expects 'it follows ours' $'resized\r'
type_keys 'sleep 4321\r'
wait_until 20 runs e1 'sleep 4321'
type_keys '\0003'
wait_until 20 none_runs e1 'sleep 4'
type_keys 'echo "st"atus=$?\r'
expects 'Ctrl-C' status=130
type_keys 'sleep 4321\r'
wait_until 20 runs e1 'sleep 4321'
type_keys '\0034'
wait_until 20 none_runs e1 'sleep 4'
type_keys 'echo "st"atus=$?\r'
expects 'Ctrl-\' status=131
type_keys 'sleep 4321\r'
wait_until 20 runs e1 'sleep 4321'
type_keys '\0032'
type_keys 'jobs; echo "jo"bs\r'
expects 'Ctrl-Z' $'jobs\r'
has 'it is stopped' '[Ss]topped.* sleep 4321'
type_keys 'kill -9 %1; wait; exit 7\r'
as_before 7
wait_until 20 no_sessions
is 'a terminal that was used is free again' "$(popcornctl exec -t e1 tty | tr -d '\r')" /dev/pts/0

say '-- other ways out'
for way in escape TERM SEGV KILL; do
	login_here popcornctl shell e1
	expect Connected
	type_keys "echo 'be'gun; sleep 4321\r"
	expect begun
	wait_until 20 runs e1 'sleep 4321'
	case $way in
	escape)
		type_keys '\0035\0035\0035'
		as_before 130
		has 'left' 'Left the shell; it is ended\.'
		;;
	TERM)
		kill -TERM "$(client)"
		as_before 130
		;;
	SEGV)
		kill -SEGV "$(client)"
		as_before 139
		;;
	KILL)
		kill -KILL "$(client)"
		expect_end
		has 'killed' $'\nstatus 137\r?\n'
		;;
	esac
	wait_until 20 none_runs e1 'sleep 4'
	wait_until 20 no_sessions
	say "ok: $way: nothing is left"
done
is 'shells in e1 but that of its console' "$(popcornctl exec e1 sh -c 'ps | grep -c "[-]sh$"')" 1

say '-- a root of its own, without /dev/pts'
login_here popcornctl shell e2
expect Connected
type_keys 'cat /marker; tty; stty size; echo "en"d\r'
expects 'asked' $'end\r'
has 'its root' 'the other root'
has 'the terminal has no name' 'not a tty'
has 'but a size' $'33 101\r'
type_keys 'sleep 4321\r'
sleep 0.5
type_keys '\0003'
type_keys 'echo "st"atus=$?\r'
expects 'Ctrl-C' status=130
type_keys 'mount -t tmpfs tmpfs /root && : >/root/mine && exit 3\r'
as_before 3
is 'what is mounted in a shell all see' "$(popcornctl exec e2 ls /root)" mine

say '-- the end of the kernel is the end of its shells'
login_here popcornctl shell e1
expect Connected
type_keys "echo 'be'gun\r"
expect begun
ok 'kill e1' popcornctl kill e1
as_before 125
has 'what was said' $'\npopcornctl: shell e1: the session ended before the command did; e1 is [a-z]+\r'
fails_with WrongState popcornctl shell e1
ok 'stop e2' popcornctl stop e2
ok 'release both' popcornctl release e1 e2
whole_check
