#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is said in several places is the same in all: --help, manual, completion, header, version
# script, library, XML.
# lib.sh sets these.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

man=$source_root/docs/man
bash_completion=$source_root/popcornctl/completion/popcornctl.bash
zsh_completion=$source_root/popcornctl/completion/_popcornctl

words() {
	sort -u | paste -sd' '
}

# The items of a definition list in a section of a manual page: lines at the margin before indented ones.
items() {
	awk -v section="$2" '
		/^[A-Z][A-Z -]+$/ { title = $0 }
		title == section && /^[^ ]/ { item = $0 }
		title == section && /^ / && item != "" { print item; item = "" }' "$1"
}

popcornctl --help >"$work/help"
verbs=$(sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\) .*/\1/p' "$work/help" | words)
like 'verbs: read' "$verbs" 'boot.*list.*stop'
is 'verbs: manual' "$(items "$man/popcornctl.1.rst" VERBS | sed 's/ .*//' | words)" "$verbs"
is 'verbs: bash' "$(sed -n "s/^\tlocal verbs='\(.*\)'/\1/p" "$bash_completion" | tr ' ' '\n' | words)" "$verbs"
is 'verbs: zsh' "$(sed -n "/verbs=(/,/^\t)/s/^\t\t'\([a-z]*\):.*/\1/p" "$zsh_completion" | words)" "$verbs"
is 'verbs: zsh has the same words of help' \
	"$(sed -n "/verbs=(/,/^\t)/s/^\t\t'\([a-z]*:.*\)'/\1/p" "$zsh_completion")" \
	"$(sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\) \(\[\?[A-Z]\+\(\.\.\.\)\?\]\? \+\)* *\(.*\)/\1:\4/p' "$work/help" |
		sed 's/ (when no verb is given)//')"

# The options of each verb, as its help has them.
for verb in $verbs; do
	own=$(popcornctl "$verb" --help | sed -n '/^Options:/,/^$/s/.*--\([a-z-]*\).*/--\1/p' | words)
	is "options of $verb: bash" \
		"$(sed -n '/case \$verb in/,/esac/p' "$bash_completion" |
			grep -oP "^\t(\w+ \| )*\b$verb\b( \| \w+)*\) options='\K[^']*" | head -n 1 | tr ' ' '\n' | words)" "$own"
	is "options of $verb: zsh" \
		"$(sed -n "/^\t$verb)/,/;;/p" "$zsh_completion" | grep -oP -- '--[a-z-]+(?=[\[,}=])' | words)" "$own"
	is "options of $verb: manual" \
		"$(awk -v verb="$verb" '/^[a-z]+( |$)/ { on = $1 == verb } /^OPTIONS/ { on = 0 } on' "$man/popcornctl.1.rst" |
			grep -oP '^    (-\w,? ?\w*,? )?(-\w, )?\K--[a-z-]+' | words)" "$own"
done
global=$(sed -n '/^Options of every verb/,/^$/s/.*--\([a-z-]*\).*/--\1/p' "$work/help" | words)
like 'global options: read' "$global" '--json'
is 'global options: manual' "$(items "$man/popcornctl.1.rst" OPTIONS | grep -o -- '--[a-z-]*' | words)" "$global"
is 'global options: bash' \
	"$(sed -n "s/^\tlocal global='\(.*\)'/\1/p" "$bash_completion" | tr ' ' '\n' | sed 's/=.*//' | words)" "$global"
is 'global options: zsh' \
	"$(sed -n '/global=(/,/^\t)/p' "$zsh_completion" | grep -oP -- '--[a-z-]+(?=[\[}=])' | words)" "$global"

# The completion at work.
bus_start
daemon_start --demo
# complete WORD…: what bash offers for the last one.
complete_line() {
	(
		# shellcheck source=/dev/null
		. "$bash_completion"
		# shellcheck disable=SC2034
		COMP_WORDS=(popcornctl "$@") COMP_CWORD=$#
		_popcornctl
		printf '%s\n' "${COMPREPLY[@]}"
	) | words
}
is 'completion: verbs' "$(complete_line s)" 'shell show stats status stop'
is 'completion: after an option' "$(complete_line -H host k)" 'kill'
is 'completion: kernels' "$(complete_line status '')" 'db0 old web.1'
is 'completion: stop: those that run' "$(complete_line stop '')" 'db0 web.1'
is 'completion: exec: those that run' "$(complete_line exec '')" 'db0 web.1'
is 'completion: exec: after options' "$(complete_line exec --quiet d)" 'db0'
is 'completion: exec: the command is not ours' "$(complete_line exec db0 --)" ''
is 'completion: shell: options' "$(complete_line shell --t)" '--tty'
is 'completion: shell: those that run' "$(complete_line shell -t '')" 'db0 web.1'
is 'completion: ping: options' "$(complete_line ping --s)" '--size'
is 'completion: release: those that ended' "$(complete_line release '')" 'old'
is 'completion: options' "$(complete_line boot --re)" '--restart'
is 'completion: values' "$(complete_line boot db0 --restart '')" 'no on-failure'
is 'completion: networks' "$(complete_line boot db0 --network primary,)" 'primary,kernels primary,kernels,outside'
is 'completion: JSON' "$(complete_line list --json = sh)" 'short'
is 'completion: after --json=' "$(complete_line --json = short stat)" 'stats status'
mkdir "$work/policies"
touch "$work/policies/there.conf"
daemon_stop
FAKE_POLICIES=$work/policies daemon_start --demo
ln -s "$source_root/tests/cli/fake-ssh" "$work/bin/ssh"
is 'completion: policies of another machine' "$(complete_line -H me@there policy show '')" 'there'
is 'completion: properties' "$(complete_line show db0 -p Cp)" 'Cpus'
export POPCORN_POLICY_PATH=$source_root/policies
is 'completion: policy' "$(complete_line policy '')" 'list show verify'
is 'completion: policy show' "$(complete_line policy show per-)" 'per-core per-l3 per-node per-package'
is 'completion: policy show: one' "$(complete_line policy show per-l3 '')" ''
is 'completion: policy verify: several' "$(complete_line policy verify per-l3 i)" 'isolate-rt'
is 'completion: policy verify: files' "$(complete_line policy verify "$source_root/policies/iso")" \
	"$source_root/policies/isolate-rt.conf"
is 'completion: policy list' "$(complete_line policy list '')" ''
unset POPCORN_POLICY_PATH

# The daemon that the tests use has the interface that is described.
interface() {
	python3 -c '
import sys, xml.etree.ElementTree as tree
for i in sorted(tree.parse(sys.argv[1]).iter("interface"), key=lambda i: i.get("name")):
    if not i.get("name").startswith("org.popcornlinux."):
        continue
    for m in sorted(i, key=lambda m: (m.tag, m.get("name"))):
        if m.tag == "annotation":
            continue
        print(i.get("name"), m.tag, m.get("name"), m.get("type", ""), m.get("access", ""),
              *[(a.get("direction", "out"), a.get("type"), a.get("name")) for a in m.iter("arg")])
' "$1"
}
job=$(popcornctl boot slow --no-wait --json=short | jq .job)
for path in '' /kernel/db0 "/job/$job"; do
	busctl --address="$DBUS_SYSTEM_BUS_ADDRESS" --xml-interface introspect org.popcornlinux.Popcorn1 \
		"/org/popcornlinux/Popcorn1$path" >"$work/xml" 2>"$work/err"
	interface "$work/xml"
done >"$work/is"
interface "$source_root/popcornd/org.popcornlinux.Popcorn1.xml" >"$work/should"
ok 'the pretended popcornd is like the XML' diff <(sort "$work/should") <(sort "$work/is")

# The library.
header=$source_root/libpopcorn/libpopcorn.h msg_header=$source_root/libpopcorn/libpopcorn-msg.h
symbols=$(sed -n 's/^\t\(popcorn_[a-z_]*\);$/\1/p' "$source_root/libpopcorn/libpopcorn.map" | words)
is 'symbols: exported by the library' \
	"$(nm -D --defined-only "$LIBPOPCORN_SO" | sed -n 's/.* T \([a-z_]*\)@@LIBPOPCORN_[0-9]*$/\1/p' | words)" "$symbols"
is 'symbols: nothing else is exported' \
	"$(nm -D --defined-only "$LIBPOPCORN_SO" | grep -vc ' T popcorn_\| A LIBPOPCORN_')" 0
is 'symbols: header' \
	"$(cat "$header" "$msg_header" | tr '\n' ' ' | grep -oP '_popcorn_public_(?! __attr| *#)[^;]*?\b\Kpopcorn_[a-z_]+(?=\()' | words)" "$symbols"
is 'symbols: manual' "$(grep -oP '^    [a-z].*?\bpopcorn_[a-z_]+(?=\([^()]*[,)])' "$man/libpopcorn.3.rst" "$man/libpopcorn-msg.3.rst" |
	sed 's/^[^:]*://' | grep -v '^      ' | grep -o 'popcorn_[a-z_]*$' | words)" "$symbols"
for standard in c99 c11; do
	ok "header: alone as $standard" gcc -std=$standard -pedantic -Wall -Wextra -Werror -fsyntax-only -x c "$header"
	ok "header of messages: alone as $standard" gcc -std=$standard -pedantic -Wall -Wextra -Werror \
		-D_DEFAULT_SOURCE -I"$source_root/kdrivers/include/uapi" -fsyntax-only -x c "$msg_header"
done
for standard in c++11 c++17; do
	ok "header: alone as $standard" g++ -std=$standard -pedantic -Wall -Wextra -Werror -fsyntax-only -x c++ \
		-include "$header" /dev/null
	ok "header of messages: alone as $standard" g++ -std=$standard -pedantic -Wall -Wextra -Werror -fsyntax-only \
		-I"$source_root/kdrivers/include/uapi" -x c++ -include "$msg_header" /dev/null
done
sed -n '/#include <libpopcorn.h>/,/^    }$/s/^    //p' "$man/libpopcorn.3.rst" | sed -n '/^#include <stdio/,$p' >"$work/example.c"
ok 'the example in the manual compiles' gcc -Wall -Wextra -Werror -include "$header" -fsyntax-only "$work/example.c"
sed -n '/^    #include <libpopcorn-msg.h>/,/^    }$/s/^    //p' "$man/libpopcorn-msg.3.rst" >"$work/example-msg.c"
ok 'the example for messages compiles' gcc -Wall -Wextra -Werror -I"$source_root/libpopcorn" \
	-I"$source_root/kdrivers/include/uapi" -fsyntax-only "$work/example-msg.c"

# The rest of the manual.
sed -n 's/^POPCORN_ERROR([A-Z0-9_]*,[[:space:]]*"\([^"]*\)",[[:space:]]*[A-Z0-9]*,[[:space:]]*\([0-9]*\), .*/\1 (\2)/p' \
	"$source_root/libpopcorn/errors.def" >"$work/errors"
is 'errors: manual' "$(items "$man/popcornd.8.rst" ERRORS | grep '^[A-Z][A-Za-z0-9]* ([0-9])$')" "$(cat "$work/errors")"
keys() {
	sed -n "/$1\[\]/,/^};/s/^\t{ \"\([^\"]*\)\".*/\1/p" "$source_root/popcornd/config.c" | words
}
is 'keys of popcornd.conf: manual' "$(items "$man/popcornd.conf.5.rst" KEYS | words)" "$(keys config_keys)"
is 'keys of a kernel: manual' "$(items "$man/popcorn-kernel.conf.5.rst" KEYS | words)" "$(keys kernel_keys)"
# policy_keys TABLE: those of a table in policy.c; within.cpus and its like are described below `within`.
policy_keys() {
	sed -n "/^static const struct key $1\[/,/^};/s/^\t\(\[[A-Z_]*\] = \)\?{ \"\([^\"]*\)\".*/\2/p" \
		"$source_root/popcornd/plan/policy.c" | words
}
for section in 'THE FILE:policy_keys' 'PRIMARY:primary_keys' 'A GROUP:group_keys'; do
	keys=$(policy_keys "${section#*:}")
	like "keys of a policy: ${section%:*}: read" "$keys" ' .* '
	is "keys of a policy: ${section%:*}: manual" \
		"$(items "$man/popcorn-policy.5.rst" "KEYS OF ${section%:*}" | grep -vx within | words)" "$keys"
done
# Each key in an example: of a group and within, as they are written there.
for key in $(policy_keys policy_keys) $(policy_keys primary_keys) $(policy_keys group_keys | tr ' ' '\n' | sed 's/.*\.//'); do
	ok "policy: $key: has an example" grep -qE "^    .*\b$key = " "$man/popcorn-policy.5.rst"
done
is 'shipped policies: manual' \
	"$(items "$man/popcorn-policy.5.rst" 'POLICIES THAT COME WITH POPCORN' | words)" \
	"$(cd "$source_root/policies" && printf '%s\n' *.conf | sed 's/\.conf$//' | words)"
is 'options of popcornd: manual' "$(items "$man/popcornd.8.rst" OPTIONS | grep -o -- '--[a-z-]*' | words)" \
	"$(sed -n 's/^\t       "  \(--[a-z-]*\).*/\1/p' "$source_root/popcornd/daemon.c" | words)"
