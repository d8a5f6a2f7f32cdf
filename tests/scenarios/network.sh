#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The network between kernels on the stock kernel, within the limits of popcornd's unit: bridge, taps
# and rules let through what they should and nothing else, beside the tables of somebody else, and
# leave nothing. Names are found by every program.
#
# machine: --cpus 2 --memory 1G
# timeout: 240

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
nft -f - <<'RULES'
table inet others {
	chain input {
		type filter hook input priority 0; policy accept;
		tcp dport 1 drop
	}
}
table bridge others {
	chain forward {
		type filter hook forward priority 0; policy accept;
	}
}
RULES
before=$(network_state)

# The same unit, but for what it runs: capabilities, devices, system calls and folders as popcornd has them.
# The sockets by which the program plays the primary are what it may have beyond that.
program=$(type -P test_network_link)
sed -e '/^\(Type\|BusName\|ExecStart\|ExecReload\|Restart\|WatchdogSec\|RuntimeDirectory\|RuntimeDirectoryPreserve\|CacheDirectory\|IPAddressDeny\)=/d' \
	-e 's/^CapabilityBoundingSet=.*/& CAP_NET_RAW/; s/^RestrictAddressFamilies=.*/& AF_INET AF_PACKET/' \
	-e "s|^\[Service\]|&\nType=oneshot\nExecStart=$program /run/network-test\nRuntimeDirectory=network-test\nEnvironment=TEMP=/run/network-test CK_DEFAULT_TIMEOUT=60|" \
	/usr/lib/systemd/system/popcornd.service >/run/systemd/system/network-test.service
systemctl daemon-reload
for modules in without with; do
	[ $modules = without ] || modprobe br_netfilter
	systemctl start network-test || {
		journalctl -u network-test -o cat --no-pager
		fail "the network does not do what it should ($modules br_netfilter)"
	}
	line=$(journalctl -u network-test -o cat --no-pager | grep Checks: | tail -n 1)
	[[ $line == '100%:'* ]] || fail "the network was not tested: $line"
	say "ok: $modules br_netfilter: $line"
	is 'the rest is as it was' "$(network_state)" "$before"
done

# popcornd itself.
fails_with NetworkFailed popcornctl boot db0 --network outside
fails_with InvalidArgument popcornctl boot db0 --network everybody
mkdir -p /etc/popcorn
echo 'network = { enabled = false; };' >/etc/popcorn/popcornd.conf
ok 'popcornd reads its configuration again' systemctl reload popcornd
fails_with network.enabled popcornctl boot db0 --network primary
rm /etc/popcorn/popcornd.conf
ok 'popcornd reads its configuration again' systemctl reload popcornd

# Names.
[ ! -e /run/popcorn/hosts ] || fail 'there are names, and no kernel has a network'
fails_with '' getent hosts db0
sed -i 's/^hosts:.*/hosts: files popcorn/' /etc/nsswitch.conf
printf '10.77.0.1 primary\n10.77.0.2 db0\n' >/run/popcorn/hosts
is 'a name' "$(getent hosts db0)" '10.77.0.2       db0'
is 'a name, for a program' "$(python3 -c 'import socket; print(socket.getaddrinfo("db0", 22)[0][4][0])')" 10.77.0.2
is 'a name with our domain' "$(getent hosts db0.popcorn)" '10.77.0.2       db0'
is 'an address' "$(getent hosts 10.77.0.1)" '10.77.0.1       primary'
fails_with '' getent hosts db1
ok 'popcornd is ended' systemctl stop popcornd
ok 'popcornd is started' systemctl start popcornd
[ ! -e /run/popcorn/hosts ] || fail 'names of kernels that are gone are still there'
is 'the rest is as it was' "$(network_state)" "$before"
whole_check
