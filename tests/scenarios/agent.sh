#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# popcornd and the agents talk: each kernel shows that its agent has said hello, also to a popcornd that was started
# again; a stop shows that it was asked for and answered; an agent that never answers is waited for as long as was
# said and no longer, and its kernel is ended all the same.
#
# machine: --cpus 3 --memory 3G
# apic: xapic
# timeout: 400

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

# An init of its own, so that the agent is a process that can be stopped; its path.
own_init() {
	local tree=/run/own

	mkdir -p "$tree/bin"
	cp /bin/busybox "$tree/bin/"
	pack_initrd "$tree" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc
mount -t proc proc /proc
while :; do sleep 1000; done
INIT
}

# talks KERNEL ANSWER: for wait_until.
talks() {
	[ "$(prop "$1" Messages)" = "$2" ]
}

# journal_has KERNEL TEXT: popcornd has said so of it.
journal_has() {
	journalctl -b --no-pager -o cat "POPCORN_KERNEL=$1" | grep -q "$2"
}

# agent_of KERNEL SIGNAL
signal_agent() {
	# shellcheck disable=SC2016 # it is for the other shell
	popcornctl exec "$1" sh -c 'for p in /proc/[0-9]*; do
		read -r name <$p/comm && [ "$name" = popcorn-agent ] && kill -'"$2"' ${p#/proc/} && echo sent
	done'
}

version=$(popcornctl --version | head -n 1)
version=${version##* }
whole_mark
ok 'boot t1, the agent is its init' popcornctl boot t1 --cpus 1 --memory 256M
ok 'boot t2, with an init of its own' popcornctl boot t2 --cpus 1 --memory 256M --initrd "$(own_init)"

say '-- hello'
for kernel in t1 t2; do
	wait_until 10 talks $kernel yes
	is "the agent of $kernel is of" "$(prop $kernel AgentVersion)" "$version"
done
is 'as JSON' "$(popcornctl list --json=short | jq -c 'map([.name, .messages, .agent_version])')" \
	"[[\"t1\",\"yes\",\"$version\"],[\"t2\",\"yes\",\"$version\"]]"
is 'in its status' "$(popcornctl status t1 | sed -n 's/^ *Agent: //p')" "Popcorn $version, takes messages"

say '-- popcornd is started again'
ok 'killed' systemctl kill --signal=KILL popcornd
wait_until 30 popcornctl list
for kernel in t1 t2; do
	wait_until 10 talks $kernel yes
	is "state of $kernel" "$(prop $kernel State)" running
done

say '-- ask, wait'
# What does not end at once gives the agent time to be asked.
popcornctl exec t1 sh -c 'trap "" HUP TERM; sleep 4321 & wait; wait' &
caller=$!
wait_until 10 runs t1 'sleep 4321'
popcornctl stop t1 >/run/steps 2>&1 || fail "stop t1: $(cat /run/steps)"
wait $caller || true
cat /run/steps
ok 'and has answered' grep 'Stopping t1: answered' /run/steps
ok 'which is in the journal' journal_has t1 'its agent has answered'
is 'reason' "$(prop t1 Reason)" requested
is 'messages of one that has ended' "$(prop t1 Messages)$(prop t1 AgentVersion)" ''

say '-- then insist'
is 'the agent is stopped' "$(signal_agent t2 STOP)" sent
ok 'popcornd is killed' systemctl kill --signal=KILL popcornd
wait_until 30 popcornctl list
wait_until 20 talks t2 no
ok 'that it does not answer is in the journal' journal_has t2 'does not answer messages'
is 'state' "$(prop t2 State)" running
begin=$EPOCHSECONDS
popcornctl stop t2 --timeout 5s >/run/steps 2>&1 || fail "stop t2: $(cat /run/steps)"
took=$((EPOCHSECONDS - begin))
cat /run/steps
ok 'it was asked' grep 'Stopping t2: asked' /run/steps
is 'and has answered' "$(grep -c answered /run/steps)" 0
[ $took -ge 4 ] && [ $took -le 30 ] || fail "the stop took $took s"
say "ok: the stop took $took s"
is 'state' "$(prop t2 State)" stopped
is 'reason' "$(prop t2 Reason)" requested
ok 'release both' popcornctl release t1 t2
whole_check
