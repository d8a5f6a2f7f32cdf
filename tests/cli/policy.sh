#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# policy: without popcornd, without root, without a bus.
# lib.sh sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

mkdir "$work/own" "$work/shipped"
export POPCORN_POLICY_PATH=$work/own:$work/nowhere:$work/shipped
good='description = "D"; groups = ( { name = "a"; count = 1; } );'

run popcornctl policy list
is 'list: nothing there' "$code $out" '0 No policies.'
run popcornctl policy list --json=short
is 'list: nothing there: --json' "$out" '[]'
run popcornctl policy verify
is 'verify: nothing there' "$code $out$err" '0 '

echo "$good" >"$work/shipped/one.conf"
run popcornctl policy
is 'list: one' "$(tail -n 1 <<<"$out")" '1 policy.'
echo "$good" >"$work/own/two.conf"
printf '%s' "$good" >"$work/own/one.conf"
printf 'groups = (\n  { name = "x"; coers = 2; } );\n' >"$work/shipped/three.conf"
run popcornctl policy list
is 'list: exit code' $code 0
is 'list: table' "$out" "\
NAME  KIND    DESCRIPTION
one   changed D
three broken  $work/shipped/three.conf:2: groups.coers: unknown key; did you mean 'cores'?
two   -       D

3 policies."
table=$out
run popcornctl policy
is 'no command: list' "$out" "$table"
run popcornctl policy list --no-legend
is '--no-legend: only policies' "$out" "$(sed -n 2,4p <<<"$table")"
run popcornctl policy list -q
is '--quiet: no totals' "$out" "$(head -n 4 <<<"$table")"
run popcornctl policy list --json
ok 'list --json: valid' jq -e . "$work/out"
is 'list --json: of a good one' "$(jq -c '.[0]' "$work/out")" \
	"{\"name\":\"one\",\"path\":\"$work/own/one.conf\",\"valid\":true,\"description\":\"D\",\"overrides\":true}"
is 'list --json: of a broken one' "$(jq -c '.[1] | keys' "$work/out")" '["error","name","overrides","path","valid"]'

run popcornctl policy show two
is 'show: the file, and where it is' "$out" "# $work/own/two.conf"$'\n'"$good"
is 'show: exit code' $code 0
popcornctl policy show two --no-legend >"$work/copy"
ok 'show --no-legend: the file' cmp "$work/copy" "$work/own/two.conf"
run popcornctl policy show one
is 'show: the one that goes before; ended by a new line' "$(wc -l <"$work/out") $(head -n 1 <<<"$out")" \
	"2 # $work/own/one.conf"
run popcornctl policy show "$work/shipped/one.conf"
is 'show: a file' "$(head -n 1 <<<"$out")" "# $work/shipped/one.conf"
run popcornctl policy show three
is 'show: a broken one too' "$code $(tail -n 1 <<<"$out")" '0   { name = "x"; coers = 2; } );'
run popcornctl policy show two --json
ok 'show --json: valid' jq -e . "$work/out"
is 'show --json: text' "$(jq -r .text "$work/out")" "$good"
is 'show --json: keys' "$(jq -c 'keys_unsorted' "$work/out")" '["name","path","valid","description","text"]'
run popcornctl policy show three --json
is 'show --json: a mistake' "$(jq -r '.valid, .error' "$work/out")" \
	$'false\n'"$work/shipped/three.conf:2: groups.coers: unknown key; did you mean 'cores'?"
run popcornctl policy show four
is 'show: not there: exit code' $code 3
like 'show: not there: said' "$err" "^popcornctl: policy show four: there is no policy 'four'.*\(NoSuchPolicy\)$"
run popcornctl policy show ../own/two
is 'show: a file that is not there: exit code' $code 3
like 'show: a file that is not there: said' "$err" '\(NoSuchPolicy\)$'
run popcornctl policy show ..
is 'show: no name: exit code' $code 3
# With no folder in front of it, it is a name; in front of it, a file.
run popcornctl policy show two.conf
like 'show: forgot the folder: said' "$err" '\./two.conf'

run popcornctl policy verify one two
is 'verify: exit code' $code 0
is 'verify: said' "$out" "$work/own/one.conf: no mistakes."$'\n'"$work/own/two.conf: no mistakes."
run popcornctl policy verify -q one
is 'verify --quiet' "$code $out$err" '0 '
run popcornctl policy verify one three four two
is 'verify: the first failure counts' $code 1
is 'verify: the others are done' "$(wc -l <<<"$out")" 2
is 'verify: each is said' "$err" "\
popcornctl: policy verify three: $work/shipped/three.conf:2: groups.coers: unknown key; did you mean 'cores'? (ConfigInvalid)
popcornctl: policy verify four: there is no policy 'four'; 'popcornctl policy list' shows all, and a file is named with a / in it (./four) (NoSuchPolicy)"
run popcornctl policy verify four three
is 'verify: not found first' $code 3
run popcornctl policy verify
is 'verify: all' "$code $(wc -l <<<"$out")" '1 2'
run popcornctl policy verify one three --json
is 'verify --json: exit code' $code 1
is 'verify --json' "$(jq -c '[.[] | .valid]' "$work/out")" '[true,false]'
is 'verify --json: keys' "$(jq -c '.[1] | keys_unsorted' "$work/out")" '["name","path","valid","error"]'

# What is no policy.
mkdir "$work/own/dir.conf"
mkfifo "$work/own/fifo.conf"
truncate -s 10M "$work/own/large.conf"
printf 'groups\0' >"$work/own/nul.conf"
for name in dir fifo large nul /dev/zero /; do
	run timeout 10 popcornctl policy verify "$name"
	is "verify $name: exit code" $code 1
	like "verify $name: said" "$err" "^popcornctl: policy verify $name: .*\(ConfigInvalid\)$"
done
printf 'description = "\xff\x1b[31m";' >"$work/own/esc.conf"
run popcornctl policy verify esc
is 'verify: no escape sequences come out' "$(tr -dc '\001-\011\013-\037\177-\377' <"$work/err" | wc -c)" 0

# Mistakes on the command line.
for words in 'frob' 'show' 'show a b' 'list a'; do
	# shellcheck disable=SC2086 # words
	run popcornctl policy $words
	is "usage: $words: exit code" $code 2
	like "usage: $words: said" "$err" "^popcornctl: policy.*see 'popcornctl policy --help'$"
	is "usage: $words: no output" "$out" ''
done
run popcornctl policy --help
is 'help: all commands' "$(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' <<<"$out" | paste -sd' ')" 'list show verify'

# Those of another machine come from its popcornd; nothing of this one is looked at.
ln -s "$source_root/tests/cli/fake-ssh" "$work/bin/ssh"
bus_start
run popcornctl -H me@there policy list
is '-H: no popcornd there' "$code $out$err" \
	"1 popcornctl: policy list: popcornd can't be reached: systemctl status popcornd (NoDaemon)"
run popcornctl -H me@there policy frob
is '-H: mistakes come first' "$code $(grep -c "no command 'frob'" <<<"$err")" '2 1'
mkdir "$work/there"
echo "$good" >"$work/there/remote.conf"
echo 'groups = ();' >"$work/there/wrong.conf"
export FAKE_POLICIES=$work/there
daemon_start
run popcornctl -H me@there policy list
is '-H: list' "$code $out" "0 \
NAME   KIND   DESCRIPTION
remote -      D
wrong  broken $work/there/wrong.conf:1: groups: is empty; write groups = ( { name = \"…\"; … } );

2 policies."
run popcornctl -H me@there policy show remote --no-legend
is '-H: show' "$code $out" "0 $good"
run popcornctl -H me@there policy show one
is '-H: show: not there' "$code $(grep -c '(NoSuchPolicy)$' <<<"$err")" '3 1'
run popcornctl -H me@there policy show "$work/own/one.conf"
is '-H: show: no file of this machine, nor of that' "$code $out" '3 '
run popcornctl -H me@there policy verify remote
is '-H: verify' "$code $out" "0 $work/there/remote.conf: no mistakes."
run popcornctl -H me@there policy verify
is '-H: verify all' "$code $(wc -l <<<"$out") $(grep -c 'wrong.conf:1: groups: is empty' <<<"$err")" '1 1 1'
daemon_stop

# The folders that are installed, where nothing else is said, without what only root can read.
unset POPCORN_POLICY_PATH
run popcornctl policy show no-such-policy
is 'installed folders: exit code' $code 3

export POPCORN_POLICY_PATH=$source_root/policies
run popcornctl policy verify
is 'the shipped ones' "$code $(wc -l <<<"$out") $err" "0 $(find "$source_root/policies" -name '*.conf' | wc -l) "
