#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Commands run in other kernels as if they were here: status, input and output byte by byte, signals; nothing is
# left of them when their caller is killed; only root of the primary may. Kernels answer pings, are counted and are
# looked at, also one with an init and a root of its own.
#
# machine: --cpus 3 --memory 3G
# apic: both
# timeout: 600

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

# status_is STATUS COMMAND…
status_is() {
	local code=0

	"${@:2}" >/dev/null 2>/run/errors || code=$?
	[ $code = "$1" ] || cat /run/errors
	is "status of \"${*:2}\"" $code "$1"
}

whole_mark
ok 'boot e1, the agent is its init' popcornctl boot e1 --cpus 1 --memory 256M
ok 'boot e2, with an init and a root of its own' popcornctl boot e2 --cpus 1 --memory 256M --initrd "$(rooted_initrd)"

say '-- ping and stats'
ok 'both answer' popcornctl ping
popcornctl ping --count 100 --interval 0 --size 1024
is 'ping as JSON' "$(popcornctl ping e1 -c 3 -i 10ms --json=short | jq -c 'map([.name, .sent, .lost, .p99_ns > 0])')" \
	'[["e1",3,0,true]]'
fails_with NoSuchKernel popcornctl ping nobody
popcornctl stats
is 'stats as JSON' "$(popcornctl stats e1 --json=short | jq 'map(.sent) | add > 0')" true
is 'stats: credits, and how long calls took' "$(popcornctl stats e1 --json=short |
	jq -c '[any(.[]; .credits > 0), any(.[]; .latency | length > 0)]')" '[true,true]'

say '-- commands'
is 'its version' "$(popcornctl exec e1 uname -r)" "$(uname -r)"
is 'its host name' "$(popcornctl exec e1 hostname)" e1
is 'where it runs' "$(popcornctl exec e1 -- sh -c 'echo $PWD $HOME $USER')" '/root /root root'
is 'options are those of the command' "$(popcornctl exec e1 echo --json -H x)" '--json -H x'
status_is 0 popcornctl exec e1 true
status_is 1 popcornctl exec e1 false
status_is 42 popcornctl exec e1 sh -c 'exit 42'
status_is 143 popcornctl exec e1 sh -c 'kill -TERM $$'
status_is 127 popcornctl exec e1 no-such-command
status_is 126 popcornctl exec e1 /proc/version
is 'standard output alone' "$(popcornctl exec e1 sh -c 'echo out; echo err >&2' 2>/dev/null)" out
is 'standard error alone' "$(popcornctl exec e1 sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" err
is 'as JSON' "$(popcornctl exec --json=short e1 sh -c 'echo out; echo err >&2; exit 3' | jq -c '[.stdout, .stderr, .status]' || true)" \
	'["out\n","err\n",3]'
head -c 1048576 /dev/urandom >/run/in
popcornctl exec e1 cat </run/in >/run/out
ok '1 MiB there and back' cmp /run/in /run/out
is '1 MiB has its sum there' "$(popcornctl exec e1 sha256sum </run/in)" "$(sha256sum </run/in)"
is 'the end of what nobody reads' "$(popcornctl exec e1 yes | head -n 1)" y
is 'single bytes' "$(popcornctl exec e1 dd if=/dev/zero bs=1 count=5000 2>/dev/null | wc -c)" 5000
callers=()
for i in 1 2 3 4; do
	popcornctl exec "e$((i % 2 + 1))" cat </run/in >"/run/out.$i" &
	callers+=($!)
done
for i in 1 2 3 4; do
	wait "${callers[i - 1]}" || fail "one of four at a time: status $?"
	ok 'four at a time: 1 MiB there and back' cmp /run/in "/run/out.$i"
done
is 'without input' "$(popcornctl exec e1 sh -c 'cat; echo end' </dev/null)" end

say '-- signals'
popcornctl exec e1 sh -c 'trap "echo got it; exit 7" INT; echo ready; while :; do sleep 0.1; done' >/run/trap &
caller=$!
wait_until 10 grep -q ready /run/trap
kill -INT $caller
code=0
wait $caller || code=$?
is 'status after SIGINT' $code 7
is 'what the trap said' "$(tail -n 1 /run/trap)" 'got it'
popcornctl exec e1 sleep 4321 &
caller=$!
wait_until 10 runs e1 'sleep 4321'
kill -TERM $caller
code=0
wait $caller || code=$?
is 'status after SIGTERM' $code 143

say '-- callers that are killed'
popcornctl exec e1 sleep 4321 &
one=$!
popcornctl exec e1 sh -c 'trap "" HUP TERM; sleep 4322 & sleep 4323' &
two=$!
popcornctl exec e1 yes >/dev/null &
three=$!
wait_until 10 runs e1 'sleep 4321'
wait_until 10 runs e1 'sleep 4323'
wait_until 10 runs e1 'yes'
kill -KILL $one $two $three
wait $one $two $three 2>/dev/null || true
wait_until 10 none_runs e1 'sleep 4'
is 'processes left in e1' "$(processes e1 'yes')" 0
is 'sessions in e1 but the one that counts' "$(popcornctl exec e1 sh -c 'cat /proc/[0-9]*/comm | grep -c popcorn-session')" 1
ok 'what a command leaves in its group is ended' popcornctl exec e1 sh -c 'sleep 4324 & exit 0'
wait_until 10 none_runs e1 'sleep 4'

say '-- another root'
is 'the root of its init' "$(popcornctl exec e2 cat /marker)" 'the other root'
is 'a pipe there' "$(echo hello | popcornctl exec e2 cat)" hello
status_is 127 popcornctl exec e2 no-such-command

say '-- who may'
chmod 711 /run
fails_with NotAuthorized setpriv --reuid=65534 --regid=65534 --clear-groups popcornctl exec e1 true
fails_with NotAuthorized setpriv --reuid=65534 --regid="$(getent group popcorn | cut -d: -f3)" --clear-groups \
	popcornctl exec e1 true
ok 'but the group may ping' setpriv --reuid=65534 --regid="$(getent group popcorn | cut -d: -f3)" --clear-groups \
	popcornctl ping -c 1

say '-- top'
popcornctl top --once
is 'top as JSON' "$(popcornctl top --once --json=short | jq -c 'map([.name, .state, .cpus, .memory_used > 0, .processes > 0])')" \
	'[["primary","running",1,true,true],["e1","running",1,true,true],["e2","running",1,true,true]]'
popcornctl exec e1 sh -c 'while :; do :; done' &
caller=$!
wait_until 10 runs e1 'while'
is 'who is busy' "$(popcornctl top --once --json=short | jq -c 'map(select(.name == "e1") | .cpu_percent > 50, .busiest[0].name)')" \
	'[true,"sh"]'
kill -KILL $caller
wait $caller 2>/dev/null || true

say '-- the end of the kernel is the end of its commands'
popcornctl exec e1 sleep 4321 2>/run/errors &
caller=$!
wait_until 10 runs e1 'sleep 4321'
ok 'kill e1' popcornctl kill e1
code=0
wait $caller || code=$?
is 'status' $code 125
ok 'what was said' grep 'the session ended before the command did' /run/errors
fails_with WrongState popcornctl exec e1 true
ok 'stop e2' popcornctl stop e2
ok 'release both' popcornctl release e1 e2
whole_check
