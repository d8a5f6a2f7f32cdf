# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What scenarios and tests of popcornctl do on a terminal, after their lib.sh. None is needed to run them.

# terminal COMMAND…: on a terminal, joined to the descriptors of the coprocess "terminal".
terminal() {
	coproc terminal { exec script -qefc "$*; echo status \$?; stty -a | grep -o ' -*icanon\| -*echo '" \
		/dev/null 2>&1; }
	exec {to}>&"${terminal[1]}" {from}<&"${terminal[0]}"
	# shellcheck disable=SC2154 # coproc sets it
	terminal_pid=$terminal_PID
}

# login_here COMMAND…: on a terminal of ours, with its name in "here".
login_here() {
	# expect() reads on from what is seen.
	seen='' here=''
	terminal "tty; stty rows 33 cols 101; $*"
	expect $'\n'
	here=${seen%%$'\r'*}
}

# client: the process of popcornctl there.
client() {
	pgrep -x popcornctl -t "${here#/dev/}"
}

# expect TEXT: reads until it comes; all that came is in "seen".
expect() {
	local c

	while [[ $seen != *"$1"* ]] && IFS= read -r -d '' -n 1 -t 20 c <&"$from"; do
		seen+=$c
	done
	[[ $seen == *"$1"* ]]
}

# expects DESCRIPTION TEXT
expects() {
	local code=0

	expect "$2" || code=$?
	is "$1" $code 0
}

# The rest, to the end.
expect_end() {
	seen+=$(cat <&"$from")
	exec {to}>&- {from}<&-
	wait "$terminal_pid" 2>/dev/null
}

# type_keys TEXT, with escapes.
type_keys() {
	printf %b "$1" >&"$to"
}
