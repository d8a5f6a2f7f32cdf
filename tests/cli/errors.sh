#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every error of errors.def as a user meets it; mistakes on the command line; popcornd not there.
# lib.sh sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

# Mistakes are found before anything is connected to: there is no bus here.
usage() {
	local text=$1

	shift
	run popcornctl "$@"
	is "usage: $*: exit code" $code 2
	like "usage: $*: said" "$err" "^popcornctl: .*$text"
	is "usage: $*: one line" "$(wc -l <"$work/err")" 1
	is "usage: $*: no output" "$out" ''
}
usage "there is no verb 'frob'" frob
usage "there is no option '--frob'" --frob
usage "there is no option '--cpus' for list" list --cpus 2
usage "there is no option '-z' for stop" stop -z
usage "'--memory' needs a value" boot db0 --memory
usage 'the name of a kernel is missing' boot
usage 'the name of a kernel is missing' stop
usage 'the number of a job is missing' cancel
usage "'x' is not the number of a job" cancel x
usage "'b' is too much" boot a b
usage "'db0' is too much" list db0
for cpus in 0 -1 3-1 2-3- 2,,3 a 1-b 99999999999999999999 0-65536 '' ' 2' +2; do
	usage "'.*' is not a number of CPUs.*\(InvalidArgument\)" boot db0 "--cpus=$cpus"
done
for size in '' M 1X 512MM -1 1.5 1.G 99999999999999999999 17179869184G 0x 0xg 1e3; do
	usage "'.*' is not a size.*\(MemoryInvalid\)" boot db0 "--memory=$size"
done
for nodes in 512M 0: :512M 0:x x:512M "0:512M,," "," -1:2M; do
	usage "'.*' is not memory by node.*\(MemoryInvalid\)" boot db0 "--memory-nodes=$nodes"
done
for share in '' data data: :/srv /srv data:srv data::ro ' :ro'; do
	usage "'.*' is no share.*\(InvalidArgument\)" boot db0 "--share=$share"
done
for time in '' 0 -1 1y 1e30 nan inf 0x10; do
	usage "'.*' is not a time" boot db0 "--timeout=$time"
done
usage "'' says nothing" boot db0 --network ''
usage "'sometimes' is not no or on-failure" boot db0 --restart sometimes
usage "'xml' is not pretty or short" list --json=xml
usage "'' is not the name of a file" boot db0 --kernel ''
usage 'is a file on the other machine' -H other boot db0 --kernel vmlinuz
usage 'is not the name of a machine' -H -oProxyCommand=x list
usage "'many' is not a number of lines" log db0 -n many
usage "can't be followed" log db0 --kernel -f
usage 'the name of a kernel is missing' exec
usage 'the command is missing' exec db0
usage 'the command is missing' exec db0 --
usage "'-x' is not a command; options stand before the name" exec db0 -x
usage "there is no option '-x' for exec" exec -x db0 true
usage "'many' is not a number of messages" ping --count many
usage "'3073' is not a size of a message" ping --size 3073
usage "'-1' is not a time" ping --interval -1
usage "'b' is too much" ping a b
usage "'0' is not a time" stats --watch=0
usage 'it has to wait between two looks' top --interval 0
for verb in 'exec db0 true' ping 'ping db0' stats top; do
	# shellcheck disable=SC2086 # words
	usage "messages can't be sent from another machine; .* ssh -t me@there popcornctl ${verb%% *} .*\(NotSupported\)" \
		-H me@there $verb
done

# Nobody at home.
run popcornctl list
is 'no bus: exit code' $code 1
like 'no bus: said' "$err" "^popcornctl: list: the system bus can't be reached: .*\(NoDaemon\)$"
bus_start
for verb in list status 'boot db0' 'stop db0' 'show' 'show db0' 'console db0' 'log db0' 'cancel 1' ping 'ping db0'; do
	# shellcheck disable=SC2086 # words
	run popcornctl $verb
	is "no popcornd: $verb: exit code" $code 1
	is "no popcornd: $verb: said" "$err" \
		"popcornctl: $verb: popcornd can't be reached: systemctl status popcornd (NoDaemon)"
done

# The whole table, as the answer to a call and as the end of a job.
daemon_start
while IFS=$'\t' read -r name exit_code text; do
	run popcornctl boot "e-$name"
	is "$name: exit code" $code "$exit_code"
	is "$name: said" "$err" "popcornctl: boot e-$name: $text ($name)"
	run popcornctl boot "j-$name" -q
	is "$name of a job: exit code" $code "$exit_code"
	is "$name of a job: said" "$err" "popcornctl: boot j-$name: $text ($name)"
done < <(sed -n 's/^POPCORN_ERROR([A-Z0-9_]*,[[:space:]]*"\([^"]*\)",[[:space:]]*[A-Z0-9]*,[[:space:]]*\([0-9]*\), "\(.*\)")$/\1\t\2\t\3/p' \
	"$source_root/libpopcorn/errors.def")
ok 'errors.def was read' [ $tap_n -gt 300 ]
for verb in stop kill release status show console log; do
	run popcornctl "$verb" nobody
	is "$verb nobody: exit code" $code 3
	is "$verb nobody: said" "$err" \
		"popcornctl: $verb nobody: no kernel has this name; 'popcornctl list' shows all (NoSuchKernel)"
done
run popcornctl boot $'\xff'
is 'a name that is not UTF-8: exit code' $code 2
like 'a name that is not UTF-8: said' "$err" '\(InvalidName\)$'
run popcornctl show $'\xff'
like 'a name that is not UTF-8: show: said' "$err" '\(InvalidName\)$'
run popcornctl boot ''
like 'an empty name: said' "$err" '\(InvalidName\)$'

# A full disk is an error as well.
popcornctl list --json >/dev/full 2>"$work/err"
is 'output lost: exit code' $? 1
like 'output lost: said' "$(cat "$work/err")" 'popcornctl: writing the output: '
