#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A caller without rights may look but not touch; the device node is root's alone.
#
# machine: --cpus 3 --memory 2G
# timeout: 180

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
ok 'boot one' popcornctl boot one --cpus 1 --memory 256M
ok 'anyone may list' as_nobody popcornctl list
for verb in stop kill release; do
	refused NotAuthorized as_nobody popcornctl "$verb" one
done
refused NotAuthorized as_nobody popcornctl boot two --cpus 1 --memory 256M
refused NotAuthorized as_nobody popcornctl console one
printf 'groups = ( { name = "two"; cpus = "1"; memory = "256M"; } );\n' >/tmp/two.conf
chmod 644 /tmp/two.conf
ok 'anyone may plan' as_nobody popcornctl plan /tmp/two.conf
refused NotAuthorized as_nobody popcornctl apply /tmp/two.conf
fails_with 'ermission denied' as_nobody cat /dev/popcorn
is 'still running' "$(prop one State)" running
say '-- a user whom polkit lets'
mkdir -p /etc/polkit-1/rules.d
cat >/etc/polkit-1/rules.d/10-test.rules <<'RULE'
polkit.addRule(function(action, subject) {
	if (action.id.indexOf("org.popcornlinux.popcorn1.") == 0 && subject.user == "nobody")
		return polkit.Result.YES;
});
RULE
systemctl restart polkit
ok 'nobody, whom polkit lets now, stops it' as_nobody popcornctl stop one
ok 'and forgets it' as_nobody popcornctl release one
ok 'and applies a policy' as_nobody popcornctl apply /tmp/two.conf
ok 'and stops that' as_nobody popcornctl stop two
ok 'and forgets that' as_nobody popcornctl release two
whole_check
