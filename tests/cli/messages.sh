#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ping, stats, exec, top: against the agent's own code, with messages that only pretend. POPCORNCTL has those, too.
# lib.sh sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

bus_start
daemon_start --demo

# Without the device: there is none where this is built, or it is not ours to touch.
run popcornctl ping
is 'no device: exit code' $code 1
is 'no device: said' "$err" 'popcornctl: ping: this kernel has no /dev/popcorn-msg: modprobe popcorn_msg (NoDriver)'
run popcornctl exec db0 true
is 'no device: exec: exit code' $code 125
like 'no device: exec: said' "$err" '^popcornctl: exec db0: .*\(NoDriver\)$'
for verb in stats top; do
	run popcornctl $verb
	is "no device: $verb" $code 1
done

messages_start
run popcornctl exec db0 true
is 'no agent: exit code' $code 125
is 'no agent: said' "$err" 'popcornctl: exec db0: no popcorn-agent answers there (Failed)'
run popcornctl exec nobody true
is 'no kernel: exit code' $code 125
like 'no kernel: said' "$err" '\(NoSuchKernel\)$'
run popcornctl exec old true
is 'a kernel that has ended: exit code' $code 125
is 'a kernel that has ended: said' "$err" \
	'popcornctl: exec old: the kernel is crashed, and only one that is running answers (WrongState)'

agent_start

# ping, stats
run popcornctl ping db0 -c 3 -i 1ms
is 'ping: exit code' $code 0
is 'ping: table' "$(tr -s ' ' <<<"$out")" 'NAME ID SENT LOST MIN AVG P50 P99 MAX
db0 1 3 0% 10.1 us 10.2 us 10.2 us 10.2 us 10.3 us'
run popcornctl ping db0 -c 100 -i 0 --json=short
is 'ping --json' "$(jq -c '.[] | [.name, .id, .size, .sent, .received, .lost, .p50_ns, .p99_ns]' <<<"$out")" \
	'["db0",1,64,100,100,0,15000,19900]'
run popcornctl ping -c 1
is 'ping of all: one does not answer: exit code' $code 1
like 'ping of all: said' "$err" '^popcornctl: ping web\.1: it takes no part in messages; '
is 'ping of all: those that run' "$(awk 'NR > 1 { print $1, $4 }' "$work/out")" $'db0 0%\nweb.1 100%'
popcornctl ping db0 -c 0 -i 1ms >"$work/out" &
ping_pid=$!
# The shell has it ignore the signal until it asks for it, which takes its time on a busy machine.
for ((i = 0; i < 200; i++)); do
	sleep 0.1
	kill -INT $ping_pid 2>/dev/null || break
done
wait $ping_pid
is 'ping: interrupted: exit code' $? 0
ok 'ping: interrupted: says what was so far' grep -q '^db0 ' "$work/out"
run popcornctl stats db0
is 'stats: exit code' $code 0
like 'stats: a line for each priority' "$out" $'db0  reply .*\ndb0  control .*\ndb0  bulk '
like 'stats: interrupts and looks' "$out" 'by 5 interrupts and, without one, 6 times by looking'
like 'stats: latencies are drawn' "$out" 'Calls to db0 \(control\).*8\.1 us +980 +▇{40}.*1\.0 ms +5 +▇'
run popcornctl stats --json=short
is 'stats --json' "$(jq -c '.[1] | [.name, .priority, .sent, .credits, .p50_below_ns, .p99_below_ns, (.latency | length)]' <<<"$out")" \
	'["db0","control",1001,250,16384,32768,3]'
popcornctl stats db0 --watch=10ms --json | head -n 2 >"$work/out"
is 'stats --watch --json: a line each time' "$(jq -c length "$work/out" | tr '\n' ' ')" '3 3 '

# exec: what goes in, what comes out
run popcornctl exec db0 echo hello
is 'exec: output' "$code$err$out" 0hello
run popcornctl exec db0 -- echo -n --json
is 'exec: behind -- it is all the command' "$out" --json
run popcornctl exec db0 echo -- x
is 'exec: dashes of the command are its own' "$out" '-- x'
run popcornctl exec db0 sh -c 'echo out; echo err >&2; exit 42'
is 'exec: status' $code 42
is 'exec: standard output' "$out" out
is 'exec: standard error' "$err" err
run popcornctl exec db0 sh -c 'kill -KILL $$'
is 'exec: ended by a signal' $code 137
run popcornctl exec db0 no-such-command
is 'exec: no such command: exit code' $code 127
is 'exec: no such command: said' "$err" "popcornctl: exec db0: db0 has no command 'no-such-command'"
run popcornctl exec db0 /etc/passwd
is 'exec: not to be run: exit code' $code 126
is 'exec: not to be run: said' "$err" "popcornctl: exec db0: db0 can't run '/etc/passwd': Permission denied"
SECRET=1 TERM=vt100 run popcornctl exec db0 env
is 'exec: environment' "$(sed 's/=.*//' <<<"$out" | sort | paste -sd' ')" \
	"$(printf '%s\n' HOME LC_ALL LOGNAME PATH SHELL TERM TZ USER ${COLORTERM+COLORTERM} ${LANG+LANG} ${LC_CTYPE+LC_CTYPE} | sort | paste -sd' ')"
head -c 3000000 /dev/urandom >"$work/large"
popcornctl exec db0 cat <"$work/large" >"$work/copy"
ok 'exec: 3 MB there and back' cmp "$work/large" "$work/copy"
popcornctl exec db0 sh -c 'cat >&2' <"$work/large" 2>"$work/copy"
ok 'exec: 3 MB by standard error' cmp "$work/large" "$work/copy"
popcornctl exec db0 cat <"$work/large" | { sleep 0.5; cat; } >"$work/copy"
ok 'exec: a reader that is slow' cmp "$work/large" "$work/copy"
popcornctl exec db0 sh -c 'sleep 0.5; cat' <"$work/large" >"$work/copy"
ok 'exec: a command that reads late' cmp "$work/large" "$work/copy"
is 'exec: single bytes' "$(popcornctl exec db0 dd if=/dev/zero bs=1 count=20000 2>/dev/null | { sleep 0.5; wc -c; })" 20000
is 'exec: single bytes there' "$(dd if=/dev/zero bs=1 count=20000 2>/dev/null | popcornctl exec db0 sh -c 'sleep 0.5; wc -c')" 20000
popcornctl exec db0 true <"$work/large"
is 'exec: a command that reads nothing' $? 0
popcornctl exec db0 sh -c 'exec <&-; sleep 0.2; echo end' <"$work/large" >"$work/out"
is 'exec: a command that closes its input' "$(cat "$work/out")" end
popcornctl exec db0 yes 2>/dev/null | head -n 1 >/dev/null
is 'exec: nobody reads any more' "${PIPESTATUS[0]}" 141
popcornctl exec db0 sh -c 'sleep 0.2; echo x' 2>/dev/null | true
is 'exec: nobody ever read' "${PIPESTATUS[0]}" 141
popcornctl exec db0 sh -c 'echo x; sleep 0.1; echo y' >/dev/full 2>"$work/err"
like 'exec: a full disk' "$(cat "$work/err")" 'writing the output: No space left'
run popcornctl exec db0 sh -c 'echo $0 $#' "$(head -c 130000 /dev/zero | tr '\0' x)" b
is 'exec: a long command' "${#out}" 130002
word=$(head -c 70000 /dev/zero | tr '\0' x)
run popcornctl exec db0 echo "$word" "$word"
is 'exec: too long: exit code' $code 125
like 'exec: too long: said' "$err" 'the command is too long; 128 KiB'
run popcornctl exec --json=short db0 sh -c 'echo out; echo err >&2; exit 3'
is 'exec --json: exit code' $code 3
is 'exec --json' "$(jq -c '[.name, .command[0], .status, .signal, .stdout, .stderr, .truncated]' <<<"$out")" \
	'["db0","sh",3,null,"out\n","err\n",false]'
run popcornctl exec --json db0 yes
is 'exec --json: no more than it collects' "$(jq -c '[.signal, .truncated, (.stdout | length) > 16000000]' "$work/out")" '[13,true,true]'

# exec: signals and ends
for signal in INT TERM HUP USR1; do
	: >"$work/out"
	popcornctl exec db0 sh -c "trap 'echo got $signal; exit 5' $signal; echo ready; while :; do sleep 0.05; done" >"$work/out" &
	exec_pid=$!
	for ((i = 0; i < 100; i++)); do
		! grep -q ready "$work/out" || break
		sleep 0.05
	done
	kill -$signal $exec_pid
	wait $exec_pid
	is "exec: SIG$signal: exit code" $? 5
	is "exec: SIG$signal: arrived" "$(tail -n 1 "$work/out")" "got $signal"
done
popcornctl exec db0 sh -c "trap '' INT; exec sleep $n" 2>"$work/err" &
exec_pid=$!
begun "^sleep $n"
for _ in 1 2 3; do
	kill -INT $exec_pid
	sleep 0.1
done
wait $exec_pid
is 'exec: Ctrl-C three times leaves: exit code' $? 130
ok 'exec: Ctrl-C three times leaves: the command is ended' left "^sleep $n"
popcornctl exec db0 sh -c "trap '' HUP TERM; sleep $n & exec sleep $n" &
exec_pid=$!
popcornctl exec db0 sh -c "exec sleep $n" &
other_pid=$!
begun "^sleep $n"
kill -KILL $exec_pid $other_pid
wait $exec_pid $other_pid 2>/dev/null
ok 'exec: killed caller: nothing is left' left "^sleep $n"
ok 'exec: killed caller: no session is left' no_sessions
run popcornctl exec db0 sh -c "sleep $n & echo done"
is 'exec: does not wait for what was left' "$code$out" 0done
ok 'exec: what was left in its group is ended' left "^sleep $n"
run popcornctl exec db0 sh -c "setsid sleep $n >/dev/null 2>&1 </dev/null & sleep 0.2"
ok 'exec: a daemon stays' begun "^sleep $n"
pkill -f "^sleep $n"
pids=()
for ((i = 0; i < 16; i++)); do
	popcornctl exec db0 sleep $n &
	pids+=($!)
done
for ((i = 0; i < 100 && $(pgrep -fc "^sleep $n") < 16; i++)); do
	sleep 0.1
done
run popcornctl exec db0 true
is 'exec: as many as may: exit code' $code 125
like 'exec: as many as may: said' "$err" 'as many commands as it may \(16\)'
kill -TERM "${pids[@]}"
wait "${pids[@]}"
ok 'exec: all of them end' left "^sleep $n"
run popcornctl exec db0 echo again
is 'exec: and then there is room' "$out" again
POPCORN_FAKE_UID=1000 run popcornctl exec db0 true
is 'exec: not root: exit code' $code 125
is 'exec: not root: said' "$err" 'popcornctl: exec db0: it takes orders only from root of the primary (NotAuthorized)'
POPCORN_FAKE_KERNEL=2 run popcornctl exec db0 true
like 'exec: from another kernel' "$err" '\(NotAuthorized\)$'

kill -STOP $agent_pid
run popcornctl exec db0 true
is 'exec: an agent that hangs: exit code' $code 125
is 'exec: an agent that hangs: said' "$err" 'popcornctl: exec db0: no answer within 1000 ms (Failed)'
kill -CONT $agent_pid

# top
run popcornctl top --once
is 'top: one does not answer: exit code' $code 1
is 'top: who' "$(awk '{ print $1, $3 }' "$work/out" | sort)" $'NAME STATE\ndb0 running\nold crashed\nprimary running\nweb.1 running'
like 'top: why not' "$out" 'web\.1 .*\(it takes no part in messages'
run popcornctl top --once --json=short
is 'top --json' "$(jq -c '.[1] | [.name, .state, .cpus > 0, .memory_used > 0, .processes > 0, (.load | length), (.busiest | length) <= 10]' <<<"$out")" \
	'["db0","running",true,true,true,3,true]'
popcornctl top --json -i 10ms | head -n 2 >"$work/out"
is 'top --json: a line each time' "$(jq -c length "$work/out" | tr '\n' ' ')" '4 4 '

# The agent ends before its command does: as when the kernel does.
popcornctl exec db0 sleep $n 2>"$work/err" &
exec_pid=$!
begun "^sleep $n"
pkill -KILL -P $agent_pid
wait $exec_pid
is 'exec: the session was killed: exit code' $? 125
like 'exec: the session was killed: said' "$(cat "$work/err")" 'the session ended before the command did; db0 is running'
ok 'exec: the session was killed: so is the command' left "^sleep $n"
is 'the agent had nothing to say' "$(cat "$work/agent.err")" ''
