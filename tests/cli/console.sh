#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# console, log, events: with a terminal and without.
# lib.sh sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

bus_start
daemon_start --demo
first='[    0.000000] Linux version 6.1.0-56-amd64'

run popcornctl log db0
is 'log: exit code' $code 0
is 'log: into a pipe it is as it was written' "$(sed -n 2p "$work/out")" \
	$'[    0.500000] \033]0;mine\a\033[31mred\033[0m\r'
run popcornctl log db0 -n 2
is 'log -n 2' "$(head -c 21 "$work/out")/$(tail -n 1 "$work/out")" '[    0.900000] bytes:/login: '
run popcornctl log db0 -n all
is 'log -n all' "$(wc -l <"$work/out")" 4
run popcornctl log db0 -n 0
is 'log -n 0: nothing' "$code$out" 0
run popcornctl log db0 --json
is 'log --json: lines' "$(jq -r '.lines | length' "$work/out")" 4
is 'log --json: no line ends in it' "$(jq -r '.lines[0]' "$work/out")" "$first"
is 'log --json: what is not UTF-8' "$(jq -r '.lines[2]' "$work/out")" $'[    0.900000] bytes: \ufffd\ufffd'
run popcornctl log old
is 'log: of a dead kernel' "$(head -n 1 <<<"$out")" "$first"$'\r'
run popcornctl log db0 --kernel
is 'log --kernel' "$(tail -n 1 <<<"$out")" '[    1.000000] Kernel panic - not syncing: sysrq'
run popcornctl log db0 --kernel -n 1 --json=short
is 'log --kernel -n --json' "$out" \
	'{"name":"db0","lines":["[    1.000000] Kernel panic - not syncing: sysrq"]}'
run script -qec 'popcornctl log db0' "$work/typescript"
ok 'log: on a terminal no escape sequence gets through' \
	sh -c "! sed '1d;\$d' '$work/typescript' | grep -q '$(printf '\033\\|\007')'"
run popcornctl log old -f
is 'log -f: ends with the kernel' $code 0
run popcornctl log old -f --json
is 'log -f --json: an object for each line' "$(jq -r .line "$work/out" | tail -n 1)" 'login: '

# Standard input is not a terminal: a script talks to the kernel until it ends.
popcornctl boot script -q
printf 'hello\npoweroff\n' | popcornctl console script >"$work/out" 2>"$work/err"
is 'console: ends with the kernel' $? 0
is 'console: what was typed arrived' "$(tail -n 2 "$work/out")" $'login: HELLO\nPOWEROFF'
is 'console: nothing else is said' "$(cat "$work/err")" ''
is 'console: the kernel is off' "$(popcornctl show script -p State,Reason)" $'State=stopped\nReason=poweroff'
# No escape sequence there: three of these bytes may well be in a file.
popcornctl boot bytes -q
printf 'a\035\035\035b\npoweroff\n' | popcornctl console bytes >"$work/out" 2>/dev/null
like 'console: a script can send every byte' "$(cat "$work/out")" $'A\035\035\035B'
head -c 300000 /dev/zero | tr '\0' x | { cat; echo; echo poweroff; } >"$work/large"
popcornctl boot large -q
popcornctl console large <"$work/large" >"$work/out" 2>/dev/null
is 'console: much input arrives whole' "$(tr -dc X <"$work/out" | wc -c)" 300000

# Whoever reads our output and is slow, or goes away.
mkfifo "$work/fifo"
popcornctl boot full -q
popcornctl console full <"$work/large" >"$work/fifo" 2>/dev/null &
console_pid=$!
exec {fifo}<"$work/fifo"
IFS= read -r line <&"$fifo"
# It has more to say than the pipe takes, and still hears.
kill -TERM $console_pid
wait $console_pid
is 'console: ends on a signal though nobody reads' $? 130
exec {fifo}<&-
popcornctl boot left -q
mkfifo "$work/never"
exec {never}<>"$work/never"
popcornctl console left <&"$never" 2>/dev/null | head -n 1 >/dev/null
is 'console: ends when its reader does' "${PIPESTATUS[0]}" 0
exec {never}>&-
popcornctl log left -f 2>/dev/null | head -n 1 >/dev/null
is 'log -f: ends when its reader does' "${PIPESTATUS[0]}" 0
popcornctl events | true
is 'events: ends when its reader does' "${PIPESTATUS[0]}" 0

seen=''
terminal popcornctl console db0
expect 'login: '
like 'terminal: how to leave is said first' "$seen" '^Connected to db0\. Press Ctrl-\] three times within 1s to leave\.'
printf 'abc' >&"$to"
expect ABC
ok 'terminal: keys go through one by one, without echo of ours' test "${seen#*abc}" = "$seen"
printf '\003' >&"$to"
expect $'ABC\003'
like 'terminal: Ctrl-C goes to the kernel' "$seen" $'ABC\003'
printf '\035\035x' >&"$to"
expect $'\035\035X'
printf '\035\035\035' >&"$to"
expect_end
like 'terminal: left' "$seen" 'Left the console; db0 goes on\.'
like 'terminal: exit code' "$seen" 'status 0'
like 'terminal: it is as before' "$seen" ' icanon.* echo'
is 'terminal: the kernel goes on' "$(popcornctl show db0 -p State)" State=running

for signal in TERM HUP SEGV; do
	seen=''
	terminal popcornctl console web.1
	expect 'login: '
	pkill -"$signal" -P "$(pgrep -P "$terminal_pid" | head -n 1)" -x popcornctl ||
		pkill -"$signal" -P "$terminal_pid" -x popcornctl
	expect_end
	like "terminal: SIG$signal: it is as before" "$seen" ' icanon.* echo'
done

seen=''
terminal popcornctl console web.1
expect 'login: '
printf 'panic\r' >&"$to"
expect_end
like 'terminal: the kernel ends: said' "$seen" 'web\.1: crashed\. The console is closed\.'
like 'terminal: the kernel ends: it is as before' "$seen" ' icanon.* echo'

# events: wait for the first line, so that nothing is missed.
exec {events}< <(exec popcornctl events)
events_pid=$!
exec {json_events}< <(exec popcornctl events --json)
json_pid=$!
# Both have subscribed when they tell of something: kernels are booted until they do.
i=0
until read -r -t 0.2 line <&"$events"; do
	i=$((i + 1))
	popcornctl boot "try$i" -q
	popcornctl stop "try$i" -q
	popcornctl release "try$i" -q
	[ $i -lt 50 ] || break
done
until read -r -t 0.2 json <&"$json_events"; do
	i=$((i + 1))
	popcornctl boot "try$i" -q
	popcornctl stop "try$i" -q
	popcornctl release "try$i" -q
	[ $i -lt 100 ] || break
done
popcornctl boot ev -q
popcornctl boot j-CpuBusy -q 2>/dev/null
daemon_stop
while read -r -t 5 line <&"$events"; do
	lines+=$line$'\n'
	[[ $line != *'popcornd went away'* ]] || break
done
while read -r -t 5 json <&"$json_events"; do
	jsons+=$json$'\n'
	[[ $json != *daemon-disappeared* ]] || break
done
kill $events_pid $json_pid
like 'events: state' "$lines" '[0-9:.]{12} ev: booting → running \(checked-in\): the kernel reported that it runs'
like 'events: job begins' "$lines" 'ev: job [0-9]+ begins: boot'
like 'events: job ends' "$lines" 'ev: job [0-9]+ ended: done'
like 'events: job fails' "$lines" 'j-CpuBusy: job [0-9]+ ended: failed: the primary would not let go of the CPU'
like 'events: popcornd' "$lines" 'popcornd went away; the kernels go on'
is 'events --json: every line is an object' "$(jq -c 'type' <<<"$jsons" | sort -u)" '"object"'
is 'events --json: state' "$(jq -c 'select(.event=="state-changed" and .name=="ev" and .new=="running")|[.old,.reason]' <<<"$jsons")" \
	'["booting","checked-in"]'
is 'events --json: error' "$(jq -r 'select(.event=="job-removed" and .result=="failed")|.error' <<<"$jsons")" CpuBusy
