#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# shell, exec --tty: terminals there and here, against the agent's own code, with messages that only pretend.
# lib.sh sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

bus_start
daemon_start --demo
messages_start
run popcornctl shell db0
is 'no agent: exit code' $code 125
is 'no agent: said' "$err" 'popcornctl: shell db0: no popcorn-agent answers there (Failed)'
agent_start

run popcornctl shell
is 'no name: exit code' $code 2
like 'no name: said' "$err" '^popcornctl: shell: the name of a kernel is missing'
run popcornctl -H other shell db0
like 'not from another machine' "$err" 'ssh -t other popcornctl shell'
for verb in 'shell db0' 'exec -t db0 true'; do
	# shellcheck disable=SC2086
	run popcornctl --json $verb
	is "$verb --json: exit code" $code 2
	like "$verb --json: said" "$err" '^popcornctl: (shell|exec): --json: '
done

# Without a terminal.
passwd=$(awk -F: '$3 == 0 { print $1, $6, $7; exit }' /etc/passwd)
read -r user home shell <<<"$passwd"
script='echo $0; echo $USER $LOGNAME $HOME $SHELL ${MAIL-none} $PWD; exit 7'
code=0
out=$(popcornctl shell db0 <<<"$script" 2>"$work/err") || code=$?
is 'a script: exit code' $code 7
is 'a script: by a login shell' "$out" "-${shell##*/}
$user $user $home $shell none $home"
run popcornctl shell db0 'echo "$0"; tty; echo err >&2; exit 5'
is 'a line: exit code' $code 5
is 'a line: not as at a login, no terminal' "$out" "${shell##*/}"$'\nnot a tty'
is 'a line: standard error is apart' "$err" err
run popcornctl shell db0 -- echo 'a   b' '&&' echo c
is 'words are joined' "$out" $'a b\nc'
run popcornctl shell db0 'kill -TERM $$'
is 'ended by a signal' $code 143

# A terminal there, whatever is here.
run popcornctl exec -t db0 sh -c 'tty; tty <&2; ps -o tty= -p $$; stty size'
like 'exec -t: one terminal for all, and the controlling one' "$(tr -d '\r' <<<"$out")" \
	$'^(/dev/(pts/[0-9]+))\n\\1\n\\2 *\n0 0$'
is 'exec -t: exit code' $code 0
run popcornctl exec -t db0 sh -c 'echo err >&2; exit 9'
is 'exec -t: one output' "$code$err$out" $'9err\r'
printf 'a\nb' | popcornctl exec -t db0 dd of="$work/copy" >/dev/null
is 'exec -t: input ends' "$(cat "$work/copy")" $'a\nb'
is 'exec -t: 1 MB' "$(popcornctl exec -t db0 head -c 1000000 /dev/zero | wc -c)" 1000000
popcornctl exec -t db0 yes 2>/dev/null | head -n 1 >/dev/null
is 'exec -t: nobody reads any more' "${PIPESTATUS[0]}" 129
run popcornctl shell -t db0 tty
like 'shell -t' "$out" '^/dev/pts/'
run popcornctl exec -t db0 no-such-command
is 'exec -t: no such command' "$code$err" "127popcornctl: exec db0: db0 has no command 'no-such-command'"

modes() {
	stty -a -F "$here" | grep -o ' -*icanon\| -*echo '
}
has_modes() {
	local i

	for ((i = 0; i < 100; i++)); do
		[ "$(modes | tr -d ' \n')" != "$1" ] || return 0
		sleep 0.05
	done
	modes
	return 1
}

COLORTERM=some-colours TERM=xterm-256color login_here popcornctl shell db0
expects 'login: begins' 'Connected to db0. Press Ctrl-] three times within 1s to leave.'
type_keys 'echo "be"gin $COLORTERM $TERM\r'
expects 'login: colours' 'begin some-colours xterm-256color'
ok 'login: our terminal is raw' has_modes -icanon-echo
type_keys 'stty size; echo "si"ze\r'
expects 'login: size' size$'\r'
like 'login: size is ours' "$seen" $'33 101\r'
stty -F "$here" rows 44 cols 55
# It is told by a signal, which is not there before the next key for sure.
type_keys 'until [ "$(stty size)" = "44 55" ]; do sleep 0.1; done; echo "re"sized\r'
expects 'login: resized' resized$'\r'
type_keys "sleep $n\r"
begun "^sleep $n"
type_keys '\0003'
ok 'login: Ctrl-C ends the command' left "^sleep $n"
type_keys 'echo "st"atus=$?\r'
expects 'login: Ctrl-C: status' status=130
type_keys "sleep $n\r"
begun "^sleep $n"
type_keys '\0034'
ok 'login: Ctrl-\ ends the command' left "^sleep $n"
type_keys 'echo "st"atus=$?\r'
expects 'login: Ctrl-\: status' status=131
type_keys "sleep $n\r"
begun "^sleep $n"
type_keys '\0032'
type_keys 'jobs; echo "jo"bs\r'
expects 'login: Ctrl-Z' jobs$'\r'
like 'login: Ctrl-Z stops the command' "$seen" "[Ss]topped.* sleep $n"
# Our own job control: whoever has the terminal meanwhile has it as it was.
pid=$(client)
kill -TSTP "$pid"
ok 'stopped here: the terminal is as before' has_modes icanonecho
kill -CONT "$pid"
ok 'continued here: the terminal is raw' has_modes -icanon-echo
type_keys 'kill %%1; wait; echo "ki"lled\r'
expects 'login: it goes on' killed$'\r'
type_keys 'exit 7\r'
expect_end
like 'login: exit code' "$seen" $'\nstatus 7\r'
like 'login: the terminal is as before' "$seen" ' icanon.* echo'
ok 'login: nothing is left' no_sessions

# Other ways out.
for way in escape TERM HUP INT QUIT SEGV ALRM USR1 KILL session; do
	login_here popcornctl shell db0
	expect Connected
	type_keys "echo 'be'gun; sleep $n\r"
	expect begun
	begun "^sleep $n"
	wanted=130
	case $way in
	escape) type_keys '\0035\0035\0035' ;;
	session)
		wanted=125
		pkill -KILL -P $agent_pid
		;;
	*) kill -$way "$(client)" ;;
	esac
	case $way in
	SEGV) wanted=139 ;;
	ALRM) wanted=142 ;;
	KILL) wanted=137 ;;
	esac
	expect_end
	like "$way: exit code" "$seen" $'\n'"status $wanted"$'\r?\n'
	[ $way = KILL ] || like "$way: the terminal is as before" "$seen" ' icanon.* echo'
	ok "$way: nothing is left" left "^sleep $n"
	ok "$way: no session is left" no_sessions
	case $way in
	escape) like 'escape: said' "$seen" 'Left the shell; it is ended\.' ;;
	session) like 'session: said' "$seen" \
		$'\npopcornctl: shell db0: the session ended before the command did; db0 is running, its agent was ended there\r' ;;
	esac
done
login_here "popcornctl shell db0 'tty; exit 3'"
expect_end
like 'a line on a terminal' "$seen" '/dev/pts/[0-9]+.*/dev/pts/[0-9]+.*status 3'
login_here "popcornctl shell db0 tty | cat"
expect_end
like 'a line whose output goes elsewhere' "$seen" 'not a tty'
login_here popcornctl exec -t db0 sleep 0
expect_end
ok 'exec -t says nothing of its own' test "${seen#*Connected}" = "$seen"
is 'the agent had nothing to say' "$(cat "$work/agent.err")" ''
