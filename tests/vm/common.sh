# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034,SC2016
# What the scripts of the test machine share. Sourced, never run.

VM_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VM_REPO=$(cd "$VM_SOURCE/../.." && pwd)
VM_BUILD=${POPCORN_BUILD:-$VM_REPO/build}
# What depends on the build, and what does not and may be shared by several build folders.
VM_STATE=$VM_BUILD/vm
VM_CACHE=${POPCORN_VM_CACHE:-$VM_STATE}

note() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
	note "$*"
	exit 1
}

# debian_sources prints one line per Debian archive that this machine's own apt is
# set up for: "URI SUITE COMPONENT". No host name is written down in the project, so that a
# mirror, a cache or an offline copy that the user has chosen is used here too.
debian_sources() {
	apt-get indextargets --format '$(CREATED_BY) $(ORIGIN) $(REPO_URI) $(CODENAME) $(COMPONENT)' |
		awk '$1 == "Packages" && $2 == "Debian" && $5 == "main" { print $3, $4, $5 }' | sort -u
}

# kernel_versions prints the versions whose headers are installed here, the primary's first:
# the drivers are built against these headers, so the machine gets exactly these kernels.
kernel_versions() {
	local all pattern
	all=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'linux-headers-*' 2>/dev/null |
		awk '$1 == "ii" { sub(/^linux-headers-/, "", $2); print $2 }' | sort -V)
	for pattern in '^6\.1\.0-[0-9]+-amd64$' '^6\.1\.0-[0-9]+-rt-amd64$' \
			'^6\.12\.[0-9.]+\+deb12-amd64$'; do
		grep -E "$pattern" <<<"$all" | tail -n 1 || true
	done
}

# locked FILE: holds a lock until the script ends, so that several runs make a thing once.
locked() {
	mkdir -p "$(dirname "$1")"
	exec {VM_LOCK}>"$1"
	flock "$VM_LOCK"
}

unlocked() {
	exec {VM_LOCK}>&-
}

# panicked_before_init CONSOLE: such a machine is booted once more. Emulation with several threads now and then runs an
# instruction that the kernel has just patched, and the kernel panics in "int3"; nothing of a test has run by then.
panicked_before_init() {
	grep -qa 'Kernel panic' "$1" && ! grep -qa 'as init process' "$1"
}
