#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# topology: machines from files, invented ones, and that of popcornd; pictures of them.
# lib.sh sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

machines=$source_root/tests/topologies
hybrid='20em64t-hybrid-1p6c2t+2ca4co1t'

# Without popcornd and without a bus.
run popcornctl topology --xml "$machines/48amd64-4pa2n6c-sparse.xml"
is '--xml: exit code' $code 0
is '--xml: nothing on standard error' "$err" ''
like '--xml: the machine' "$out" '48amd64-4pa2n6c-sparse.xml 0-47 +95.9G +92G'
is '--xml: packages, nodes, caches, cores' \
	"$(grep -oE '(Package|Node|L3|Core) ' <<<"$out" | sort | uniq -c | tr -s ' ' | paste -sd';')" \
	' 48 Core ; 8 L3 ; 8 Node ; 4 Package '
like '--xml: a node' "$out" '─Node 33 +18-23 +16G +16G distances 22 16 16 10 16 16 22 22'
like '--xml: totals' "$out" $'\n48 CPUs, 48 cores, 8 NUMA nodes, 4 packages\\.$'
is '--xml: no kernels there' "$(grep -c KERNEL <<<"$out")" 0
run popcornctl topology --xml "$machines/48amd64-4pa2n6c-sparse.xml" --no-legend
is '--no-legend: only the tree' "$(head -n 1 "$work/out" | cut -d' ' -f1) $(tail -n 1 "$work/out" | grep -c Core)" \
	'48amd64-4pa2n6c-sparse.xml 1'

run popcornctl topology --xml "$machines/$hybrid.xml"
like 'threads of a core' "$out" 'Core 4 +2-3 +performance .*CPU 2 +2 +performance .*CPU 3'
is 'kinds of cores' "$(grep -oE 'Core.*(performance|efficiency)' <<<"$out" | awk '{ print $NF }' | sort | uniq -c |
	tr -s ' ' | paste -sd';')" ' 8 efficiency; 6 performance'
run popcornctl topology --xml "$machines/16em64t-4s2c2t-offlines.xml"
is 'offline CPUs' "$(grep -oE 'CPU [0-9]+ .*offline' <<<"$out" | tr -s ' ' | paste -sd';')" \
	'CPU 2 2 offline;CPU 5 5 offline;CPU 13 13 offline;CPU 14 14 offline'
like 'what is odd' "$out" 'Warning: CPUs 2,5,13-14 were offline when this was seen'
run popcornctl topology --xml "$machines/8em64t-2s2ca2c-buggynuma.xml"
like 'firmware that lies' "$out" 'Warning: all 2 packages are in one NUMA node'
run popcornctl topology --quiet --xml "$machines/8em64t-2s2ca2c-buggynuma.xml"
is '--quiet: only the tree' "$(grep -c 'Warning\|^$' <<<"$out")" 0
run popcornctl topology --xml "$machines/32em64t-2n8c+dax+nvme+mic+dimms.xml"
like 'devices' "$out" 'PCI 0000:02:00.0 +ethernet eth0'
like 'devices: where they are near to' "$out" 'Package 1.*PCI 0000:82:00.0 +network ib0,mlx4_0'
like 'devices: the others are counted' "$out" '18 other devices'
sed 's/allowed_cpuset="0x0000ffff"/allowed_cpuset="0x00000fff"/' "$machines/16amd64-8n2c.xml" >"$work/jail.xml"
run popcornctl topology --xml "$work/jail.xml"
is 'not allowed' "$(grep -c 'not allowed' <<<"$out")" 8

run popcornctl topology --xml "$machines/$hybrid.xml" --json
ok '--json: valid' jq -e . "$work/out"
is '--json: keys' "$(jq -c keys_unsorted "$work/out")" \
	'["name","live","block_size","max_kernels","packages","nodes","l3s","cores","cpus","kinds","devices","warnings"]'
is '--json: keys: docs' "$(sed -n '/gives* the machine/,/^## /s/^| \(`.*\) | .*/\1/p' "$source_root/docs/policies.md" |
	grep -o '`[a-z_0-9]*`' | tr -d '`' | sort | paste -sd' ')" "$(jq -r 'keys[]' "$work/out" | sort | paste -sd' ')"
is '--json: a CPU' "$(jq -c '.cpus[12]' "$work/out")" \
	'{"cpu":12,"apicid":null,"core":6,"l3":0,"node":0,"package":0,"kind":"efficiency","state":"usable"}'
is '--json=short: one line' "$(popcornctl topology --synthetic pu:2 --json=short | wc -l)" 1

run popcornctl topology --synthetic 'package:2 node:2(memory=4GiB) core:2 pu:2'
is '--synthetic: exit code' $code 0
like '--synthetic: memory' "$out" 'Node 0 +0-3 +4G +3.8G'
like '--synthetic: totals' "$out" '16 CPUs, 8 cores, 4 NUMA nodes, 2 packages\.$'
run env HWLOC_XMLFILE=/nowhere HWLOC_SYNTHETIC=pu:7 HWLOC_COMPONENTS=stop HWLOC_XML_VERBOSE=1 HWLOC_SYNTHETIC_VERBOSE=1 \
	popcornctl topology --synthetic pu:2
like 'the environment does not matter' "$code $err$out" $'^0 OBJECT.*\n2 CPUs'

search=$PATH
# bad DESCRIPTION EXIT-CODE PATTERN ARGUMENT…
bad() {
	local what=$1 want=$2 pattern=$3

	shift 3
	run timeout 60 env PATH="$search" popcornctl topology "$@"
	is "$what: exit code" "$code" "$want"
	like "$what: said" "$err" "^popcornctl: topology: .*$pattern"
	is "$what: in one line" "$(wc -l <"$work/err")" 1
	is "$what: nothing shown" "$out" ''
}
bad 'no such file' 1 'none.xml: can.t be read.*\(TopologyInvalid\)$' --xml "$work/none.xml"
bad 'a folder' 1 "$work: can.t be read: Is a directory.*TopologyInvalid" --xml "$work"
mkfifo "$work/fifo"
bad 'a FIFO' 1 'fifo: is not a regular file' --xml "$work/fifo"
head -c 10000000 /dev/urandom >"$work/garbage"
bad '10 MB of garbage' 1 'garbage: is not a description of a machine' --xml "$work/garbage"
truncate -s 65M "$work/huge"
bad 'more than 64 MiB' 1 'huge: has more than 64 MiB' --xml "$work/huge"
head -c 5000 "$machines/$hybrid.xml" >"$work/cut.xml"
bad 'cut off' 1 'cut.xml: hwloc can.t read it: .*lstopo FILE.xml' --xml "$work/cut.xml"
sed 's/version="2.0"/version="3.0"/' "$machines/$hybrid.xml" >"$work/new.xml"
bad 'a newer version' 1 'new.xml: is in version 3\.0 .*--export-xml-flags v2' --xml "$work/new.xml"
bad 'hwloc crashes' 1 'without-cpuset: can.t be used: hwloc crashed' --xml "$source_root/tests/fuzz/seeds/fuzz_topology/without-cpuset"
bad 'not synthetic' 1 "'node:two' is not a description of a machine" --synthetic node:two
bad 'a huge one' 1 'more than 8192 CPUs' --synthetic 'node:1000000 core:1000000'
bad 'two machines' 2 'InvalidArgument' --synthetic pu:1 --xml x
bad 'not a picture' 2 "'x.jpg' does not end with" --synthetic pu:1 --draw x.jpg
bad 'nowhere to draw' 1 "can.t write $work/none/x.svg" --synthetic pu:1 --draw "$work/none/x.svg"
run popcornctl topology db0
is 'a name: exit code' $code 2
bad 'no popcornd' 1 '--xml FILE, --synthetic DESCRIPTION \(NoDaemon\)$'
bus_start
bad 'a bus without popcornd' 1 '--xml FILE, --synthetic DESCRIPTION \(NoDaemon\)$'

# This machine, as popcornd tells of it: CPUs 2-3 are db0's, 5 web.1's, 7 that of one that crashed.
cp "$machines/8em64t-2s2ca2c-buggynuma.xml" "$work/here.xml"
popcornctl topology --xml "$work/here.xml" --json |
	jq '.live = true | .name = "this machine" | .cpus[0].apicid = 16' >"$work/here.json"
export FAKE_TOPOLOGY=$work/here
daemon_start --demo
run popcornctl topology
is 'live: exit code' $code 0
like 'live: the machine' "$out" 'this machine +0-7'
like 'live: who has it' "$out" 'Core 1 +2 +db0'
like 'live: what nobody has' "$out" 'Core 0 +0 +primary'
like 'live: several have it' "$out" 'Package 0 +0,2,4,6 +primary, db0'
run popcornctl topology --json
is 'live: --json: kernels' "$(jq -r '.cpus | sort_by(.cpu) | map(.kernel) | join(" ")' "$work/out")" \
	'primary primary db0 db0 primary web.1 primary old'
is 'live: --json: APIC ids' "$(jq -c '[.cpus[0, 1].apicid]' "$work/out")" '[16,null]'
daemon_stop
echo '[' >"$work/here.json"
daemon_start
bad 'what popcornd says is no JSON' 1 "popcornd's answer was not understood"
daemon_stop

# Pictures. No lstopo: this is said.
mkdir "$work/empty" "$work/nox"
ln -s "$POPCORNCTL" "$work/empty/popcornctl"
search=$work/empty
bad 'no lstopo' 1 'install the package hwloc \(NotSupported\)$' --synthetic pu:1 --draw "$work/x.svg"
is 'no lstopo: nothing is left' "$(find "$work" -name 'x.svg*')" ''
# One without cairo, as in hwloc-nox.
printf '#!/bin/sh\necho "file format png not supported" >&2\nexit 1\n' >"$work/nox/lstopo"
chmod +x "$work/nox/lstopo"
search=$work/nox:$PATH
bad 'no cairo' 1 "can.t write \.png; .*hwloc-nox.*\(NotSupported\)$" --synthetic pu:1 --draw "$work/x.png"
printf '#!/bin/sh\necho "something is wrong"; exit 1\n' >"$work/nox/lstopo"
bad 'lstopo fails' 1 "lstopo did not draw $work/x.svg: something is wrong \(Failed\)$" --synthetic pu:1 --draw "$work/x.svg"
if ! command -v lstopo >/dev/null; then
	echo "# no lstopo: no pictures"
	exit
fi
for format in svg txt pdf png; do
	run popcornctl topology --synthetic 'node:2 core:2 pu:2' --draw "$work/machine.$format"
	is "--draw: $format: done" "$code$out$err" 0
	ok "--draw: $format: there" test -s "$work/machine.$format"
done
is '--draw: what they are' "$(head -qc 4 "$work/machine.pdf" | cut -c1-4) $(head -c 4 "$work/machine.png" | tail -c 3)" \
	'%PDF PNG'
ok '--draw: svg is XML' python3 -c 'import sys, xml.etree.ElementTree as t; t.parse(sys.argv[1])' "$work/machine.svg"
is '--draw: readable for all that umask lets' "$(stat -c %a "$work/machine.txt")" "$(printf '%o' $((0666 & ~$(umask))))"
like '--draw: txt' "$(cat "$work/machine.txt")" 'PU P#7'
is '--draw: nothing is left' "$(find "$work" -name 'machine.*.*')" ''
cp "$work/machine.txt" "$work/before"
run popcornctl topology --synthetic 'node:2 core:2 pu:2' --draw "$work/machine.txt"
ok '--draw: the same machine, the same picture' cmp "$work/before" "$work/machine.txt"

daemon_start --demo
run popcornctl topology --draw "$work/live.txt"
is '--draw: live: exit code' "$code$out$err" 0
picture=$(cat "$work/live.txt")
for word in 'primary P#0' 'db0 P#2' 'db0 P#3' 'web.1 P#5' 'old P#7' 'db0: CPUs 2-3, 512M of node 0' \
	'web.1: CPU 5, 1.5G of node 0' 'this machine' 'Memory of 3 kernels; node P#0'; do
	like "--draw: live: $word" "$picture" "$word"
done
run popcornctl topology --draw "$work/live.svg"
# cairo writes parts of a hundred, lstopo's own svg parts of 255.
colors=$(grep -oE 'rgb\([^)]*\)' "$work/live.svg" | sort -u | tr -d 'rgb()' |
	awk -F, '{ f = /%/ ? 2.55 : 1; printf "#%02x%02x%02x\n", $1 * f + 0.5, $2 * f + 0.5, $3 * f + 0.5 }')
for color in '#56b4e9' '#e69f00' '#009e73'; do
	like "--draw: live: $color is there" "$colors" "$color"
done
