# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What every scenario begins with: . "$(dirname "$0")/lib.sh"
#
# A scenario runs as root in a fresh machine. It begins with whole_mark and ends with whole_check;
# one that ends in any other way has failed, also when nothing else went wrong.

set -Eeuo pipefail

SCENARIO=$(basename "$0" .sh)
PATH=$(dirname "$0")/bin:$PATH
MARK=/run/scenario
mkdir -p "$MARK"

scenario_why='' scenario_whole='' scenario_at=''
expected_failed=()

# shellcheck disable=SC2317 # called by the trap
scenario_end() {
	local code=$?
	trap - EXIT ERR
	if [ $code -eq 77 ]; then
		echo "SKIP $SCENARIO: $scenario_why"
		exit 77
	fi
	if [ -z "$scenario_why" ] && [ $code -ne 0 ]; then
		scenario_why="ended with status $code${scenario_at:+ at $scenario_at}"
	fi
	if [ -z "$scenario_why" ] && [ -z "$scenario_whole" ]; then
		scenario_why='ended without whole_check'
	fi
	if [ -n "$scenario_why" ]; then
		scenario_evidence || true
		echo "FAIL $SCENARIO: $scenario_why"
		exit 1
	fi
	echo "PASS $SCENARIO"
}
trap scenario_end EXIT
trap 'scenario_at="line $LINENO: $BASH_COMMAND"' ERR

# shellcheck disable=SC2317 # called by the trap
scenario_evidence() {
	echo "--- kernel log since the mark"
	dmesg_since_mark | tail -n 60
	echo "--- journal of popcorn and failed units"
	journalctl -b --no-pager -n 60 -o short-monotonic -u 'popcorn*' 2>/dev/null | tail -n 60
	systemctl --failed --no-legend --plain | cat
	echo "---"
}

# say TEXT…: what is done and seen, for the reader of the log.
say() {
	local uptime
	# Without processes, here and below: one costs 20 ms and more under software emulation.
	read -r uptime _ </proc/uptime
	printf '%8.2f  %s\n' "$uptime" "$*"
}

# fail WHY…: ends the scenario.
fail() {
	scenario_why=$*
	exit 1
}

# skip WHY…: ends the scenario where it cannot be run, which is not a pass.
skip() {
	scenario_why=$*
	exit 77
}

# ok DESCRIPTION COMMAND…: the command succeeds.
ok() {
	local description=$1 output code=0
	shift
	output=$("$@" 2>&1) || code=$?
	if [ $code -ne 0 ]; then
		printf '%s\n' "$output" | sed 's/^/            /'
		fail "$description: \"$*\" ended with status $code"
	fi
	say "ok: $description${output:+: $(tail -n 1 <<<"$output")}"
}

# is DESCRIPTION ACTUAL EXPECTED
is() {
	if [ "$2" != "$3" ]; then
		fail "$1: is \"$2\", expected \"$3\""
	fi
	say "ok: $1: $2"
}

# fails_with TEXT COMMAND…: the command fails, and says TEXT (the name of an error) on stderr.
fails_with() {
	local text=$1 errors code=0
	shift
	errors=$("$@" 2>&1 >/dev/null) || code=$?
	if [ $code -eq 0 ]; then
		fail "\"$*\" succeeded, expected $text"
	fi
	if [ $code -ge 126 ]; then
		fail "\"$*\" ended with status $code, expected $text: $errors"
	fi
	if [[ $errors != *"$text"* ]]; then
		fail "\"$*\" failed, but did not say $text: $errors"
	fi
	say "ok: $text from \"$*\" (status $code)"
}

# wait_until SECONDS COMMAND…: the command succeeds within that time. Events are better where
# there are any.
wait_until() {
	local seconds=$1 end
	shift
	end=$(($(date +%s%N) + seconds * 1000000000))
	until "$@" >/dev/null 2>&1; do
		if [ "$(date +%s%N)" -ge "$end" ]; then
			fail "after $seconds s still not so: $*"
		fi
		sleep 0.05
	done
}

# expect_failed_unit UNIT…: units whose failure is what the scenario is about.
expect_failed_unit() {
	expected_failed+=("$@")
}

dmesg_since_mark() {
	# All of it, if the mark has been pushed out of the buffer.
	dmesg | awk -v mark="scenario mark $SCENARIO" '
		{ lines[n++] = $0 }
		index($0, mark) { n = 0 }
		END { for (i = 0; i < n; i++) print lines[i] }'
}

# whole_state: what must be the same at the end as at the beginning.
whole_state() {
	local block state name
	read -r state </sys/devices/system/cpu/online
	echo "CPUs online: $state"
	for block in /sys/devices/system/memory/memory*; do
		read -r state <"$block/state"
		echo "${block##*/}: $state"
	done
	while read -r name state; do
		[ "$name" != MemTotal: ] || echo "MemTotal: $state"
	done </proc/meminfo
}

# whole_leftovers: what must not be there at the end.
whole_leftovers() {
	local unit known
	pgrep -a popcorn-leader | sed 's/^/a leader process is left: /' || true
	find /run/popcorn/kernels -mindepth 1 -maxdepth 1 -printf 'a kernel is left in %p\n' \
		2>/dev/null || true
	while read -r unit _; do
		for known in "${expected_failed[@]}"; do
			# shellcheck disable=SC2053 # a pattern is wanted
			if [[ $unit == $known ]]; then
				continue 2
			fi
		done
		echo "a unit has failed: $unit"
	done < <(systemctl --failed --no-legend --plain)
	dmesg_since_mark | grep -E -i "$DMESG_TROUBLE" | sed 's/^/in dmesg: /' || true
}

DMESG_TROUBLE='WARNING:|BUG:|Oops|Call Trace:|nobody cared|blocked for more than|soft lockup'
DMESG_TROUBLE+='|hard LOCKUP|rcu.*(stall|starved)|general protection|unable to handle|Kernel panic'
DMESG_TROUBLE+='|bad page|page allocation failure|No irq handler|refcount_t|list_(add|del) corruption'
DMESG_TROUBLE+='|invalid opcode|stack guard|Unpatched return thunk|scheduling while atomic|APIC error'

# whole_mark: remembers the primary as it is now.
whole_mark() {
	whole_state >"$MARK/before"
	echo "scenario mark $SCENARIO" >/dev/kmsg
	say "marked: $(head -n 1 "$MARK/before"), $(grep -c ': online' "$MARK/before") memory blocks," \
		"$(tail -n 1 "$MARK/before")"
}

# ends_machine COMMAND…: ends the scenario and the machine by a reboot, say. Nothing in the machine
# can check what comes of that: tests/scenarios/run sees that it really ends, that no trouble is on
# its console, and that what the scenario's "# console:" line demands is there.
ends_machine() {
	say "the machine is to end now: $*"
	trap - EXIT ERR
	echo "ENDS $SCENARIO"
	"$@"
	sleep 120
	echo "FAIL $SCENARIO: the machine did not end"
	exit 1
}

# whole_check: the primary is whole. Ends every scenario.
whole_check() {
	local leftovers
	[ -e "$MARK/before" ] || fail 'whole_check without whole_mark'
	whole_state >"$MARK/after"
	if ! diff -U0 "$MARK/before" "$MARK/after"; then
		fail 'the primary is not whole: CPUs or memory are not as they were'
	fi
	leftovers=$(whole_leftovers)
	if [ -n "$leftovers" ]; then
		printf '%s\n' "$leftovers"
		fail "the primary is not whole: $(head -n 1 <<<"$leftovers")"
	fi
	scenario_whole=yes
	say 'the primary is whole'
}
