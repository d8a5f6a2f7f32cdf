#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel whose driver of vsock is hostile: rings of vhost-vsock with nonsense in them, table and rings rewritten while they
# are read, kicks without end. The device fails and says why; nobody else notices; and reset it works.
#
# machine: --cpus 3 --memory 2G
# suite: long
# timeout: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"
. "$(dirname "$0")/hostile.bash"

whole_mark
begin
take vsock
for how in address-primary address-top length loop next indirect-long avail-entry avail-jump; do
	hurt vsock $how 'failed the server found nonsense in queue 1'
done
hurt vsock ring '*'
hurt vsock storm 'started '
hurt vsock table '*'
give_back vsock
end
finish
