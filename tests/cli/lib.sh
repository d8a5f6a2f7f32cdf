# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the tests of popcornctl share: a private bus with a popcornd that pretends, and TAP.
# From meson: POPCORNCTL, FAKE_POPCORND, LIBPOPCORN_SO; the source folder is found from here.
# shellcheck disable=SC2034
set -uo pipefail

source_root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
work=$(mktemp -d)
tap_n=0
bus_pid='' daemon_pid=''
unset NO_COLOR POPCORN_HOST
export LC_ALL=C.UTF-8 TZ=UTC
# shellcheck source=tests/scenarios/terminal.bash
. "$source_root/tests/scenarios/terminal.bash"
# The command as a user calls it; completion calls it by this name too.
mkdir "$work/bin"
ln -s "$POPCORNCTL" "$work/bin/popcornctl"
PATH=$work/bin:$PATH
# No bus until bus_start: nothing may ever talk to the bus of the machine that builds.
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$work/none

finish() {
	local code=$?

	daemon_stop
	[ -z "$bus_pid" ] || kill "$bus_pid"
	rm -rf "$work"
	[ $tap_n -eq 0 ] || echo "1..$tap_n"
	exit $code
}
trap finish EXIT

# ok DESCRIPTION COMMAND…: the command succeeds; else its output is shown.
ok() {
	local what=$1 output

	shift
	tap_n=$((tap_n + 1))
	if output=$("$@" 2>&1); then
		echo "ok $tap_n - $what"
	else
		echo "not ok $tap_n - $what"
		printf '%s\n' "\$ $*" "$output" | sed 's/^/# /'
	fi
}

# is DESCRIPTION GOT WANTED
is() {
	tap_n=$((tap_n + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $tap_n - $1"
	else
		echo "not ok $tap_n - $1"
		diff <(printf '%s\n' "$3") <(printf '%s\n' "$2") | sed 's/^/# /'
	fi
}

# like DESCRIPTION GOT PATTERN: a regular expression is found in it.
like() {
	tap_n=$((tap_n + 1))
	if [[ $2 =~ $3 ]]; then
		echo "ok $tap_n - $1"
	else
		echo "not ok $tap_n - $1"
		printf '%s\n' "wanted: $3" "got: $2" | sed 's/^/# /'
	fi
}

# run COMMAND…: sets out, err and code.
run() {
	code=0
	"$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
	out=$(tr -d '\0' <"$work/out")
	err=$(tr -d '\0' <"$work/err")
}

bus_start() {
	local address

	{
		read -r address
		read -r bus_pid
	} < <(dbus-daemon --config-file="$source_root/tests/cli/bus.conf" --fork --print-address=1 \
		--print-pid=1)
	[ -n "$bus_pid" ] || { echo "Bail out! no dbus-daemon"; exit 1; }
	export DBUS_SYSTEM_BUS_ADDRESS=$address
}

# daemon_start [--demo]
daemon_start() {
	local line

	exec {daemon_out}< <(exec "$FAKE_POPCORND" "$@")
	daemon_pid=$!
	read -r line <&"$daemon_out"
	[ "$line" = ready ] || { echo "Bail out! no popcornd"; exit 1; }
}

daemon_stop() {
	[ -n "$daemon_pid" ] || return 0
	kill "$daemon_pid" 2>/dev/null
	# Its end of the pipe closes when it is gone, and the bus knows of that before.
	cat <&"$daemon_out" >/dev/null
	exec {daemon_out}<&-
	daemon_pid=''
}

# Messages that only pretend; kernels have nobody yet who answers.
messages_start() {
	mkdir "$work/msg" "$work/agent"
	export POPCORN_FAKE_MSG=$work/msg
}
# The agent of kernel 1, which is db0: what it runs it runs here.
agent_start() {
	local line

	exec {agent_out}< <(POPCORN_FAKE_KERNEL=1 exec "$FAKE_AGENT" "$work/agent" 2>"$work/agent.err")
	agent_pid=$!
	read -r line <&"$agent_out"
	is 'the agent is there' "$line" ready
	# Whatever happens, it is not left.
	trap 'kill $agent_pid 2>/dev/null; finish' EXIT
}
# left PATTERN: nothing like that is left; it may need a moment.
left() {
	local i

	for ((i = 0; i < 100; i++)); do
		pgrep -f "$1" >/dev/null || return 0
		sleep 0.1
	done
	pgrep -af "$1"
	return 1
}
# The agent has no session; it may need a moment.
no_sessions() {
	local i

	for ((i = 0; i < 100; i++)); do
		pgrep -P "$agent_pid" >/dev/null || return 0
		sleep 0.1
	done
	pgrep -P "$agent_pid" -a
	return 1
}
# begun PATTERN
begun() {
	local i

	for ((i = 0; i < 100; i++)); do
		! pgrep -f "$1" >/dev/null || return 0
		sleep 0.05
	done
	return 1
}
# Unlike whatever else runs here.
n=$((1000000 + $$))
