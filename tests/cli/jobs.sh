#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# boot, stop, kill, release, cancel: what is sent, how it goes, what is said.
# lib.sh sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

bus_start
daemon_start

run popcornctl boot db0 --cpus 2 --memory 512M
is 'boot: exit code' $code 0
like 'boot: said' "$out" '^db0 runs 6\.1\.0-56-amd64 on CPUs 1-2 with 512M; it took [0-9.]+ m?s\.$'
is 'boot: one line for each step' "$err" "\
Booting db0: reserve
Booting db0: load
Booting db0: start
Booting db0: kernel
Booting db0: agent"
run popcornctl boot quiet -q --cpus 3-3
is 'boot -q: nothing is said' "$code$out$err" 0
is 'boot --cpus 3-3: this CPU' "$(popcornctl show quiet -p Cpus)" Cpus=3
run popcornctl boot one --cpus 7, --json=short
is 'boot --json: no progress' "$err" ''
is 'boot --json: one object' "$(jq -c '[.type,.name,.result,.kernel.state,.kernel.cpus]' "$work/out")" \
	'["boot","one","done","running",[7]]'
cd "$work" || exit
run popcornctl boot all -q --cpus 9,2-3,4 --memory 1.5G --kernel img --initrd /tmp/i --append a=1 \
	--append 'b="x y"' --restart on-failure --root /srv/all:ro --network primary,kernels --timeout 2min
is 'boot: CPUs' "$(popcornctl show all -p Cpus)" 'Cpus=2 3 4 9'
is 'boot: memory' "$(popcornctl show all -p Memory)" Memory=1610612736
is 'boot: kernel, made absolute' "$(popcornctl show all -p Image)" "Image=$work/img"
is 'boot: initrd' "$(popcornctl show all -p Initrd)" Initrd=/tmp/i
is 'boot: root' "$(popcornctl show all -p Root)" Root=/srv/all:ro
is 'boot: appended text is joined' "$(popcornctl show all -p CommandLine)" 'CommandLine=a=1 b="x y"'
is 'boot: restart' "$(popcornctl show all -p Restart)" Restart=on-failure
is 'boot: network' "$(popcornctl show all -p Network)" Network=primary,kernels
run popcornctl boot nodes -q --memory-nodes 1:512M,3:0x200000
is 'boot: memory by node' "$code $(popcornctl show nodes -p MemoryRanges)" "\
0 MemoryRanges=4294967296 536870912 1
MemoryRanges=4831838208 2097152 3"
run popcornctl boot shares -q --share data:/srv/a --share b:/srv/b:ro --share c:/c:ro/ --no-vsock
is 'boot: shares' "$code $(popcornctl show shares -p CommandLine)" \
	'0 CommandLine= <data /srv/a rw> <b /srv/b ro> <c /c:ro/ rw> <no vsock>'
run popcornctl boot db0
is 'boot: name taken: exit code' $code 1
like 'boot: name taken: said' "$err" '^popcornctl: boot db0: a kernel of this name exists.*\(NameTaken\)$'
run popcornctl boot db0 --json=short
is 'boot: name taken: JSON' "$(jq -c '[.result,.error]' "$work/out")" '["failed","NameTaken"]'

run popcornctl boot later --no-wait
like 'boot --no-wait: the job is named' "$out" '^Job [0-9]+: boot later\.$'
run popcornctl boot j-BootTimeout
is 'a job that fails: exit code' $code 1
like 'a job that fails: said' "$err" 'popcornctl: boot j-BootTimeout: the kernel did not report in time.*\(BootTimeout\)$'
run popcornctl boot j-MemoryBusy --json=short
is 'a job that fails: JSON' "$(jq -c '[.result,.error]' "$work/out")" '["failed","MemoryBusy"]'

run popcornctl stop one quiet nobody
is 'stop: the first failure makes the exit code' $code 3
is 'stop: the others are stopped' "$(sed 's/;.*//' <<<"$out")" $'one stopped\nquiet stopped'
run popcornctl stop one
is 'stop: stopped already: exit code' $code 1
like 'stop: stopped already: said' "$err" '\(WrongState\)$'
run popcornctl release one quiet
is 'release' "$(sed 's/;.*//' <<<"$out")" $'one was released\nquiet was released'
run popcornctl kill all
like 'kill' "$out" '^all was killed; it took'
run popcornctl stop db0 nobody --json=short
is 'stop --json: all of them' "$(jq -c 'map([.name,.result,.error])|sort' "$work/out")" \
	'[["db0","done",null],["nobody","failed","NoSuchKernel"]]'
run popcornctl boot deaf -q
run popcornctl stop deaf --timeout 1ms
like 'stop: one that had to be killed' "$out" '^deaf did not shut down in time and was killed; it took'
run popcornctl release db0 --no-wait
like 'release --no-wait' "$out" '^Job [0-9]+: release db0\.$'

# interrupt NAME…: boots, and presses Ctrl-C when the step "kernel" is reached.
interrupt() {
	local line pid

	coproc boot { exec popcornctl boot "$@" 2>&1 </dev/null; }
	pid=$boot_PID
	exec {boot_out}<&"${boot[0]}"
	said=''
	while IFS= read -r line <&"$boot_out"; do
		said+=$line$'\n'
		[[ $line != *': kernel' ]] || kill -INT "$pid"
	done
	wait "$pid"
	code=$?
	exec {boot_out}<&-
}
interrupt slow1
is 'Ctrl-C: exit code' $code 1
like 'Ctrl-C: said' "$said" 'Cancelled; waiting until everything is put back'
like 'Ctrl-C: the end is said' "$said" 'popcornctl: boot slow1: the operation was cancelled; everything was put back \(Cancelled\)'
is 'Ctrl-C: nothing is left' "$(popcornctl list --no-legend | grep -c slow1)" 0
interrupt late1
is 'Ctrl-C too late: exit code' $code 0
like 'Ctrl-C too late: said' "$said" "It can't be cancelled any more; waiting for its end."
like 'Ctrl-C too late: it runs' "$said" 'late1 runs'

job=$(popcornctl boot slow2 --no-wait --json=short | jq .job)
run popcornctl cancel "$job"
is 'cancel: exit code' $code 0
is 'cancel: said' "$out" "Job $job (boot slow2) is cancelled."
run popcornctl cancel "$job"
is 'cancel: no such job: exit code' $code 3
like 'cancel: no such job: said' "$err" "^popcornctl: cancel $job: no such job.*\(NoSuchJob\)$"

run popcornctl boot gone1
is 'popcornd dies: exit code' $code 1
like 'popcornd dies: said' "$err" "popcornctl: boot gone1: popcornd went away while the job was under way; 'popcornctl status gone1' shows what became of it \(NoDaemon\)$"

daemon_stop
daemon_start
# On a terminal: one line, drawn over, gone at the end.
run env TERM=xterm script -qec 'popcornctl boot tty' "$work/typescript"
like 'terminal: the step and the time' "$(cat "$work/typescript")" $'\rBooting tty: kernel, 0\.[0-9] s\033\[K'
like 'terminal: the line is taken away' "$(cat "$work/typescript")" $'\r\033\[Ktty runs'
run env TERM=dumb script -qec 'popcornctl boot tty2' "$work/typescript"
like 'simple terminal: lines' "$(cat "$work/typescript")" $'Booting tty2: reserve\r?\nBooting tty2: load'
