#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel whose driver of net0 is hostile: requests to the primary and rings of vhost-net with nonsense in them, table and
# rings rewritten while they are read, kicks without end. The device fails and says why, or does no work; another kernel's
# network and share, the primary, popcornd and the leaders do not notice; and reset, or booted again, it works.
#
# machine: --cpus 3 --memory 2G
# suite: long
# timeout: 1200

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/hostile.bash"

whole_mark
begin

say '-- requests'
take net0
for how in features-more:'features that were not offered' features-none:'a driver of before virtio 1.0' \
	queue-zero:'not in the kernel' queue-head:'not in the kernel' queue-top:'not in the kernel' \
	queue-primary:'not in the kernel' queue-odd:'not aligned' queue-size:'bad size' queue-many:'does not exist' \
	command:'command 99 does not exist' start-twice:'was started twice'; do
	hurt net0 "${how%%:*}" "failed *${how#*:}*"
done
hurt net0 give-up 'stopped '
hurt net0 table '*'
hurt net0 queues 'started '

say '-- rings'
# What is sent: the server reads.
for how in address-zero address-primary address-top address-high length length-none loop next indirect-long \
	indirect-odd indirect-outside avail-entry avail-jump; do
	hurt net0 $how 'failed the server found nonsense in queue 1'
done
# What is received: the server writes, as soon as there is something for the kernel.
address=$(prop bad Address)
(while :; do busybox arping -c 1 -w 1 -I popcorn0 "$address" || true; done) >/dev/null 2>&1 &
asking=$!
for how in address-primary-written address-high; do
	hurt net0 $how 'failed the server found nonsense in queue 0' queue=0
done
kill $asking
hurt net0 ring '*'
hurt net0 storm 'started '
give_back net0
on bad "ip link set eth0 up; ip address replace $address/22 dev eth0"
ok 'its network works' busybox ping -c 1 -W 20 "$address"

end
ok 'the journal has the reasons' grep -q 'device net0: failed: the server found nonsense in queue 1' \
	<(journalctl -u popcorn@bad -o cat)

say '-- hurt, and booted again'
take net0
harm net0 avail-jump
wait_until 20 device_is net0 'failed*'
ok 'kill' popcornctl kill bad
ok 'release' popcornctl release bad
boot_bad
ok 'its network works' busybox ping -c 1 -W 20 "$(prop bad Address)"
finish
