#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# plan, apply: what is shown, asked and sent.
# lib.sh sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

mkdir "$work/policies"
export POPCORN_POLICY_PATH=$work/policies
cat >"$work/policies/pair.conf" <<'POLICY'
default = { memory = "1G"; };
groups = (
	{ name = "db"; cpus = "4-5"; },
	{ name = "web"; cpus = "6"; smt = "apart"; after = "db"; }
);
POLICY
cat >"$work/too-much.conf" <<'POLICY'
groups = (
	{ name = "x"; cpus = "99"; }
);
POLICY
machine='node:2(memory=4GiB) core:4 pu:1'

# Without popcornd.
run popcornctl plan pair --synthetic "$machine"
is 'described: exit code' $code 0
is 'described: the table' "$(sed 's/ *$//' <<<"$out" | head -n 4)" "\
KERNEL    CPUS  MEMORY@NODE DISTANCE SHARES START
db        4-5   1G@1        10       -          0
web       6     1G@1        10       -          1
(primary) 0-3,7 4G@0 2G@1   -        -          -"
run popcornctl plan "$work/policies/pair.conf" --synthetic "$machine" --json=short
is 'described: a file, as JSON' "$(jq -c '[.policy, [.kernels[]|[.name,.cpus,.start]]]' "$work/out")" \
	'["pair",[["db",[4,5],0],["web",[6],1]]]'
run popcornctl plan pair --synthetic "$machine" --explain
like 'described: --explain says more' "$out" 'db: .*CPU'
run popcornctl plan pair --synthetic "$machine" --boot-args
like 'described: --boot-args' "$out" '^(kernelcore|movablecore)='
run popcornctl plan "$work/too-much.conf" --synthetic "$machine"
is 'described: a wish that can not be met: exit code' $code 1
like 'described: the same: file, line, what is so' "$err" "too-much\.conf:2: x: .*99.*\(CpuUnknown\)"
is 'described: the same: no table' "$out" ''
run popcornctl plan "$work/too-much.conf" --synthetic "$machine" --json=short
is 'described: the same, as JSON' "$code $(jq -c '.problems[0].id' "$work/out")" '1 "CpuUnknown"'
run popcornctl plan nothing --synthetic "$machine"
is 'no such policy: exit code' $code 3
like 'no such policy: said' "$err" '\(NoSuchPolicy\)$'
run popcornctl plan ./nothing --synthetic "$machine"
is 'no such file: exit code' $code 3
run popcornctl plan /etc --synthetic "$machine"
is 'a folder: exit code' $code 1
like 'a folder: said' "$err" '\(ConfigInvalid\)$'
printf 'groups = (\n\t{ nmae = "x"; } );\n' >"$work/typo.conf"
run popcornctl plan "$work/typo.conf" --synthetic "$machine"
like 'a mistake in the file' "$code $err" '^1 .*typo\.conf:2: groups\.nmae: .*\(ConfigInvalid\)$'
cp "$work/typo.conf" "$work/.hidden"
run popcornctl plan "$work/.hidden" --synthetic "$machine"
is 'a name that no policy can have' $code 2
run popcornctl plan pair --synthetic 'rubbish'
like 'no machine' "$code $err" '^1 .*\(TopologyInvalid\)$'
run popcornctl plan pair --xml "$work/typo.conf"
like 'no XML' "$code $err" '^1 .*\(TopologyInvalid\)$'
run popcornctl plan pair --xml a --synthetic b
is 'two machines' $code 2
run popcornctl plan pair --synthetic "$machine" --diff
is '--diff of a described machine' $code 2
run popcornctl plan pair --synthetic "$machine" --draw a.gif
is '--draw: unknown format' $code 2
if command -v lstopo >/dev/null; then
	run popcornctl plan pair --synthetic "$machine" --draw "$work/plan.txt"
	is '--draw: exit code' "$code$out$err" 0
	like '--draw: the kernels are in it' "$(tr -d '\n' <"$work/plan.txt")" 'db.*web|web.*db'
fi
run popcornctl plan
is 'no policy: exit code' $code 2
like 'no policy: said' "$err" 'plan: the name or the file of a policy is missing'
run popcornctl plan pair
is 'no popcornd: exit code' $code 1
like 'no popcornd: said' "$err" '\(NoDaemon\)$'

bus_start
daemon_start
run popcornctl plan two --diff
is 'plan: exit code' $code 0
is 'plan: the table' "$(sed 's/ *$//' <<<"$out")" "\
KERNEL    CPUS MEMORY@NODE   DISTANCE     SHARES       START CHANGE
two0      2-3  512M@0 256M@1 13.7 (to 21) 1 L3             0 start
two1      4-5  512M@0 256M@1 13.7 (to 21) 1 core, 1 L3     1 start
(primary) 0-1  2G@0          -            -                - -

Warning: the firmware lies"
run popcornctl plan two --explain
like 'plan --explain' "$out" $'\ntwo0: it was there'
run popcornctl plan two --no-legend -q
is 'plan -q: only the table' "$(wc -l <<<"$out")" 3
run popcornctl plan two --boot-args
is 'plan --boot-args' "$code $out" '0 kernelcore=2G'
like 'plan --boot-args: how sure' "$err" 'not surely'
run popcornctl plan two --json=short
is 'plan --json: what popcornd says' "$(jq -c '[.policy,(.kernels|length),.changes]' "$work/out")" '["two",2,null]'
run popcornctl plan "$work/typo.conf"
like 'plan: the text of a file goes along' "$out" 'Warning: groups = \('
run popcornctl plan impossible
is 'plan: problems: exit code' $code 1
is 'plan: problems' "$err" "\
popcornctl: plan impossible: impossible.conf:3: db: CPU 3 is asked for; kernel web0 has it; take CPU 4 (CpuTaken)
popcornctl: plan impossible: impossible.conf: all is asked for (NoMemory)"
run popcornctl plan e-NoSuchPolicy
is 'plan: refused: exit code' $code 3

run popcornctl apply two
is 'apply: exit code' $code 0
like 'apply: what it does is shown' "$out" 'two1 +4-5 .* start'
like 'apply: the end' "$out" 'two is applied; it took [0-9.]+ m?s\.'
like 'apply: the kernels, as they come' "$err" $'two0 runs\n'
like 'apply: the steps' "$err" 'Applying two: start 1 of 2'
is 'apply: whose they are' "$(popcornctl show two0 -p Policy)" Policy=two
run popcornctl list --json=short
is 'apply: whose they are, as JSON' "$(jq -c '[.[].policy]' "$work/out")" '["two","two"]'
run popcornctl status two0
like 'apply: whose they are, in words' "$out" 'Policy: +two'
run popcornctl apply two --json=short
is 'apply --json' "$(jq -c '[.type,.name,.result,[.changes[].change]]' "$work/out")" \
	'["apply","two","done",["keep","keep"]]'
is 'apply --json: nothing else' "$err" ''
run popcornctl apply atomic
is 'apply without --atomic is not atomic' $code 2
run popcornctl apply atomic --atomic -q
is 'apply --atomic' "$code$out$err" 0
run popcornctl apply "$work/policies/pair.conf" -q
is 'apply: a file' "$code$err$(popcornctl show pair0 -p Policy)" 0Policy=pair
run popcornctl apply impossible
is 'apply: problems: exit code' $code 1
like 'apply: problems' "$err" 'impossible.conf:3: db: CPU 3 is asked for'
run popcornctl apply e-ConfigInvalid
like 'apply: a policy with a mistake' "$code $err" '^1 .*\(ConfigInvalid\)$'
run popcornctl apply devices
like 'apply: devices' "$code $err" '^1 .*\(NotSupported\)$'
run popcornctl apply j-CpuBusy
like 'apply: the job fails' "$code $err" '^1 .*popcornctl: apply j-CpuBusy: .*\(CpuBusy\)$'
run popcornctl apply j-CpuBusy --json=short
is 'apply: the job fails, as JSON' "$(jq -c '[.result,.error]' "$work/out")" '["failed","CpuBusy"]'
run popcornctl apply three --no-wait
like 'apply --no-wait' "$out" 'Job [0-9]+: apply three\.$'

run popcornctl apply stops
is 'something would end, and nobody can be asked: exit code' $code 1
like 'something would end: said' "$err" 'kernels that run would have to end: stop old; give --yes.*\(WouldStop\)$'
is 'something would end: nothing was done' "$(popcornctl list --no-legend | grep -c stops)" 0
run popcornctl apply stops --yes -q
is 'something ends, with --yes' "$code$err" 0
# On a terminal there is a question.
env TERM=xterm script -qec 'popcornctl apply stops2' "$work/typescript" <<<n >/dev/null
like 'asked, and no' "$(<"$work/typescript")" 'Kernels that run will end: stop old\. Go on\? \[y/N\].*Nothing was done'
env TERM=xterm script -qec 'popcornctl apply stops2' "$work/typescript" <<<y >/dev/null
like 'asked, and yes' "$(<"$work/typescript")" 'stops2 is applied'

# Ctrl-C.
coproc apply { exec popcornctl apply slow 2>&1 </dev/null; }
pid=$apply_PID
exec {apply_out}<&"${apply[0]}"
said=''
while IFS= read -r line <&"$apply_out"; do
	said+=$line$'\n'
	[[ $line != *'start 1 of 2' ]] || kill -INT "$pid"
done
wait "$pid"
is 'Ctrl-C: exit code' $? 1
like 'Ctrl-C: said' "$said" '\(Cancelled\)'
is 'Ctrl-C: nothing is left' "$(popcornctl list --no-legend | grep -c '^slow')" 0
