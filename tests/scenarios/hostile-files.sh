#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel whose driver of a share is hostile: rings of virtiofsd with nonsense in them, table and rings rewritten while they
# are read, kicks without end. Its server takes no notice, or ends; nobody else notices; and the share works again.
#
# machine: --cpus 3 --memory 2G
# suite: long
# timeout: 1200

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/hostile.bash"

whole_mark
begin
take fs0
for how in storm address-primary address-top loop next indirect-long avail-entry avail-jump ring table; do
	# It may take no notice, or end again and again, until there is none.
	hurt fs0 $how '*'
done
# Servers that died too often are not started again until the minute is over: then a reset is enough.
on bad 'mkdir -p /d'
give_back fs0
wait_until 120 share_works
say 'ok: its share works'
end
finish
