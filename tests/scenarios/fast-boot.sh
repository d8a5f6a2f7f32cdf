#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Kernels are entered without their decompressor: every version, at another address each time unless
# nokaslr is asked for; unpacked once; unpacked again if what is kept is damaged. The decompressor still
# does its work if that is wanted, and an image that can't be unpacked is refused.
#
# machine: --cpus 4 --memory 3G
# apic: both
# timeout: 600

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kernels.bash"

cache=/var/cache/popcorn

# levels KERNEL: of page tables. Only the decompressor switches to five, which this machine has.
levels() {
	case $(ask "$1" 'dmesg | grep -o -m 1 "max_arch_pfn = .*"') in
	*0x400000000) echo 4 ;;
	*0x10000000000) echo 5 ;;
	*) echo '?' ;;
	esac
}

# where KERNEL: the virtual and the physical address of its text.
where() {
	# shellcheck disable=SC2016 # expanded over there
	ask "$1" 'echo $(grep " _text$" /proc/kallsyms; grep "Kernel code" /proc/iomem)'
}

again() {
	popcornctl stop -q k
	popcornctl release -q k
}

whole_mark
rm -rf "${cache:?}"/*
new=$(find /boot -name 'vmlinuz-6.12*-amd64' | sort -V | tail -n 1)
rt=$(find /boot -name 'vmlinuz-6.1.*-rt-amd64' | sort -V | tail -n 1)

for image in "/boot/vmlinuz-$(uname -r)" "$rt" "$new"; do
	seen=''
	for cpus in 1 2 1; do
		ok "boot ${image#/boot/} with $cpus CPUs" \
			popcornctl boot k --cpus "$cpus" --memory 512M --kernel "$image"
		is 'its version' "$(ask k 'uname -r')" "${image#/boot/vmlinuz-}"
		is 'its CPUs' "$(ask k 'grep -c ^processor /proc/cpuinfo')" "$cpus"
		is 'levels of page tables' "$(levels k)" 4
		at=$(where k)
		say "$at"
		seen+="$at"$'\n'
		again
	done
	# One address in 480 is the same by chance; three times the same is no chance.
	[ "$(cut -c 1-16 <<<"$seen" | sort -u | sed '/^$/d' | wc -l)" -gt 1 ] ||
		fail "${image#/boot/} runs at the same address each time"
	ok 'boot it with nokaslr' popcornctl boot k --cpus 1 --memory 512M --kernel "$image" \
		--append nokaslr
	is 'where it was linked to' "$(where k | cut -c 1-16)" ffffffff81000000
	again
done
is 'kernels that are kept' "$(find "$cache" -type f | wc -l)" 3

image=/boot/vmlinuz-$(uname -r)
popcornctl boot -q k --cpus 1 --memory 512M
again
file=$(find "$cache" -type f -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
inode=$(stat -c %i "$file")
printf damage | dd of="$file" bs=1 seek=9000000 conv=notrunc status=none
ok 'boot with a damaged file in the cache' popcornctl boot k --cpus 1 --memory 512M
is 'levels of page tables' "$(levels k)" 4
[ "$(stat -c %i "$file")" != "$inode" ] || fail 'the damaged file is still there'
again

cp "$image" /tmp/damaged
dd if=/dev/zero of=/tmp/damaged bs=4096 seek=1000 count=100 conv=notrunc status=none
fails_with ImageInvalid popcornctl boot k --cpus 1 --memory 512M --kernel /tmp/damaged
popcornctl release -q k

mkdir -p /etc/popcorn
echo 'fast_boot = false;' >>/etc/popcorn/popcornd.conf
systemctl restart popcornd
rm -rf "${cache:?}"/*
ok 'boot by the decompressor' popcornctl boot k --cpus 2 --memory 512M
is 'levels of page tables' "$(levels k)" 5
is 'kernels that are kept' "$(find "$cache" -type f | wc -l)" 0
again
whole_check
