#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# list, status, show: tables and JSON.
# lib.sh sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

bus_start
daemon_start --demo

run popcornctl list
is 'list: exit code' $code 0
is 'list: table' "$out" "\
NAME  ID STATE           CPUS MEMORY VERSION              ADDRESS   UPTIME
db0    1 running         2-3    512M 6.1.0-56-amd64       10.77.0.2 1h 2min
web.1  2 running         5      1.5G 6.12.117+deb12-amd64 10.77.0.3 2h 5min
old    3 crashed (panic) 7      384M 6.1.0-56-rt-amd64    -         -

3 kernels; 3 CPUs and 1.5G of memory free to lend."
table=$out
run popcornctl
is 'no verb: list' "$out" "$table"
run popcornctl --no-legend
is '--no-legend: only kernels' "$out" "$(sed -n 2,4p <<<"$table")"
run popcornctl list --quiet --no-pager
is '--quiet: no totals' "$out" "$(head -n 4 <<<"$table")"
run env TERM=xterm popcornctl list
is 'not a terminal: no colours' "$out" "$table"

run popcornctl list --json
ok 'list --json: valid' jq -e . "$work/out"
is 'list --json: names' "$(jq -r '.[].name' "$work/out" | paste -sd' ')" 'db0 web.1 old'
is 'list --json: keys' "$(jq -c '.[0] | keys_unsorted' "$work/out")" \
	'["name","id","state","reason","reason_text","cpus","memory","memory_ranges","image","initrd","root","command_line","version","uptime_usec","boot_time","restart","network","address","devices","policy","messages","agent_version","unit","job","boot_steps","history"]'
is 'list --json: CPUs are numbers' "$(jq -c '.[0].cpus' "$work/out")" '[2,3]'
is 'list --json: devices' "$(jq -c '.[0].devices[1], .[2].devices' "$work/out")" \
	$'{"name":"fs0","type":"fs","state":"failed","text":"queue 1: bad size"}\n[]'
is 'list --json: sizes are bytes' "$(jq -c '.[1].memory' "$work/out")" 1610612736
ok 'list --json=pretty: the same' diff <(jq -S 'map(del(.uptime_usec))' "$work/out") \
	<(popcornctl --json=pretty list | jq -S 'map(del(.uptime_usec))')
run popcornctl --json=short list
is 'list --json=short: one line' "$(wc -l <"$work/out")" 1
ok 'list --json=short: valid' jq -e . "$work/out"

run popcornctl status db0
is 'status: exit code' $code 0
like 'status: head' "$out" '^● db0: running \(checked-in\) since .* ago'
like 'status: CPUs' "$out" '        CPUs: 2-3'
like 'status: memory' "$out" '      Memory: 512M at 0x100000000 \(node 0\)'
like 'status: steps of the boot' "$out" 'reserve 100 ms, load 200 ms, .*agent 500 ms; together 1\.5 s'
like 'status: devices' "$out" '     Devices: net0 \(net\) started
              fs0 \(fs\) failed: queue 1: bad size'
like 'status: history' "$out" 'History: [-0-9]+ [:0-9]+  reserved \(requested\)'
like 'status: console' "$out" 'Linux version 6.1.0-56-amd64'
is 'status: the console can not write escape sequences' "$(tr -d '\n' <<<"$out" | tr -dc '\000-\037')" ''
run env LC_ALL=C popcornctl status db0
like 'status: plain in a plain locale' "$out" '^\* db0: running'
run popcornctl status db0 -n 1
is 'status -n 1: one line of console' "$(tail -n 2 <<<"$out")" $'\nlogin: '
run popcornctl status -n 0 db0
is 'status -n 0: none' "$(grep -c 'Linux version' <<<"$out")" 0
run popcornctl status old
like 'status: of a crashed kernel why' "$out" 'Why: Kernel panic - not syncing: sysrq'
run popcornctl status
is 'status without names: all' "$(grep -c '^●' <<<"$out")" 3
run popcornctl status db0 web.1 --json
ok 'status --json: valid' jq -e . "$work/out"
is 'status --json: names' "$(jq -r '.[].name' "$work/out" | paste -sd' ')" 'db0 web.1'
is 'status --json: the console as lines' "$(jq -r '.[0].console[-1]' "$work/out")" 'login: '
run popcornctl status nobody db0
is 'status: one is missing: exit code' $code 3
like 'status: one is missing: said' "$err" '^popcornctl: status nobody: no kernel has this name.*\(NoSuchKernel\)$'
like 'status: one is missing: the other is shown' "$out" '^● db0'

run popcornctl show db0
is 'show: exit code' $code 0
is 'show: state' "$(grep ^State= <<<"$out")" State=running
is 'show: list' "$(grep ^Cpus= <<<"$out")" 'Cpus=2 3'
is 'show: a line for each structure' "$(grep -c ^BootSteps= <<<"$out")" 5
is 'show: structure' "$(grep ^MemoryRanges= <<<"$out")" 'MemoryRanges=4294967296 536870912 0'
run popcornctl show db0 -p State,Id -p Cpus
is 'show -p: these, in this order' "$out" $'State=running\nId=1\nCpus=2 3'
run popcornctl show db0 -p State --json=short
is 'show -p --json' "$out" '{"State":"running"}'
run popcornctl show db0 --json
is 'show --json: all properties of the XML' "$(jq -r 'keys[]' "$work/out")" \
	"$(sed -n '/Popcorn1.Kernel"/,/<\/interface>/s/.*<property name="\([^"]*\)".*/\1/p' \
		"$source_root/popcornd/org.popcornlinux.Popcorn1.xml" | LC_ALL=C sort)"
run popcornctl show -p FreeCpus
is 'show without name: popcornd' "$out" FreeCpus=3
run popcornctl show db0 -p Colour
is 'show: no such property: exit code' $code 2
like 'show: no such property: said' "$err" "there is no property 'Colour'"

# Another machine.
ln -s "$source_root/tests/cli/fake-ssh" "$work/bin/ssh"
run popcornctl -H me@there list
is '-H: the same' "$out" "$table"
run popcornctl --host me@there status db0
is '-H: status' $code 0
for verb in console log; do
	run popcornctl -H me@there $verb db0
	is "-H: $verb: exit code" $code 1
	like "-H: $verb: said" "$err" "^popcornctl: $verb db0: .*run popcornctl there: ssh -t me@there popcornctl"
done
run popcornctl -H nowhere list
is '-H: no way there: exit code' $code 1
like '-H: no way there: said' "$err" 'popcornctl: list: popcornd on nowhere can.t be reached.*\(NoDaemon\)$'

daemon_stop
daemon_start
run popcornctl list
is 'nothing there: said' "$out" 'No kernels; 3 CPUs and 1.5G of memory free to lend.'
run popcornctl list --no-legend
is 'nothing there: --no-legend: nothing' "$out" ''
run popcornctl list --json=short
is 'nothing there: --json' "$out" '[]'
run popcornctl status
is 'nothing there: status' "$code $out" '0 No kernels.'
