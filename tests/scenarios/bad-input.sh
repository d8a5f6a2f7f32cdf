#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every wish that can't be granted is refused by a named error that says what was asked and what is
# so, and changes nothing: CPUs, memory, images, initrds, command lines, names.
#
# machine: --cpus 5 --memory 3G
# timeout: 500

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

whole_mark
boot() {
	popcornctl boot "$@"
}
small=(--memory 256M)

say '-- CPUs'
refused CpuIsBootCpu boot a --cpus 0-0 "${small[@]}"
refused CpuUnknown boot a --cpus 99-99 "${small[@]}"
echo 0 >/sys/devices/system/cpu/cpu4/online
refused CpuOffline boot a --cpus 4-4 "${small[@]}"
echo 1 >/sys/devices/system/cpu/cpu4/online
refused NoFreeCpus boot a --cpus 64 "${small[@]}"
refused NoFreeCpus boot a --cpus 5 "${small[@]}"
refused InvalidArgument boot a --cpus 3-1 "${small[@]}"
refused InvalidArgument boot a --cpus zwei "${small[@]}"

say '-- memory'
refused NoFreeMemory boot a --cpus 1 --memory 64G
refused MemoryInvalid boot a --cpus 1 --memory 0
refused MemoryInvalid boot a --cpus 1 --memory 268435457
refused MemoryInvalid boot a --cpus 1 --memory 1X
refused MemoryTooSmall boot a --cpus 1 --memory 4M

say '-- images'
cd /run || exit
head -c 1000000 "/boot/vmlinuz-$(uname -r)" >truncated
head -c 1000000 /dev/urandom >random
: >empty
cp "/boot/vmlinuz-$(uname -r)" only32
# xloadflags, bit 0: there is a 64-bit entry point (Documentation/x86/boot.rst).
printf '\0' | dd of=only32 bs=1 seek=$((0x236)) conv=notrunc status=none
mkfifo fifo
refused ImageNotFound boot a "${small[@]}" --kernel /run/missing
refused ImageNotFound boot a "${small[@]}" --kernel /run
refused ImageNotFound boot a "${small[@]}" --kernel /run/fifo
refused ImageInvalid boot a "${small[@]}" --kernel /run/truncated
refused ImageInvalid boot a "${small[@]}" --kernel /run/random
refused ImageInvalid boot a "${small[@]}" --kernel /run/empty
refused ImageInvalid boot a "${small[@]}" --kernel /bin/bash
refused ImageNot64Bit boot a "${small[@]}" --kernel /run/only32
refused InitrdNotFound boot a "${small[@]}" --initrd /run/missing
refused InitrdNotFound boot a "${small[@]}" --initrd /run
truncate -s 300M big
refused InitrdTooLarge boot a "${small[@]}" --initrd /run/big
rm big

say '-- command lines'
refused CmdlineTooLong boot a "${small[@]}" --append "$(head -c 3000 /dev/zero | tr '\0' x)"
refused InvalidArgument boot a "${small[@]}" --append $'two\nlines'

say '-- names'
refused InvalidName boot a/b "${small[@]}"
refused InvalidName boot '' "${small[@]}"
refused InvalidName boot .. "${small[@]}"
refused InvalidName boot "$(head -c 300 /dev/zero | tr '\0' x)" "${small[@]}"
refused InvalidName boot $'new\nline' "${small[@]}"

say '-- kernels that are there or not'
for verb in stop kill release log console status; do
	fails_with NoSuchKernel popcornctl "$verb" nobody
done
ok 'boot one' popcornctl boot one --cpus 2-2 "${small[@]}"
refused NameTaken boot one "${small[@]}"
refused CpuLent boot a --cpus 2-3 "${small[@]}"
refused WrongState popcornctl release one
ok 'kill one' popcornctl kill one
ok 'release one' popcornctl release one
whole_check
