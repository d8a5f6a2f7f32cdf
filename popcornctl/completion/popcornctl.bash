# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Completion of popcornctl(1) for bash.

# What this shows of the machine that the line is about.
__popcornctl_ask() {
	local host=() i

	for ((i = 1; i + 1 < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-H | --host) host=(-H "${COMP_WORDS[i + 1]}") ;;
		esac
	done
	popcornctl "${host[@]}" "$@" --no-legend 2>/dev/null </dev/null
}

# Names of kernels. $1: states that are wanted, "" for all.
__popcornctl_kernels() {
	local name state _

	__popcornctl_ask list |
		while read -r name _ state _; do
			[[ -n $1 && " $1 " != *" $state "* ]] || printf '%s\n' "$name"
		done
}

# Names of kernels that have a definition.
__popcornctl_definitions() {
	local file

	for file in /etc/popcorn/kernels/*.conf; do
		[[ -e $file ]] || continue
		file=${file##*/}
		printf '%s\n' "${file%.conf}"
	done
}

__popcornctl_policies() {
	local name _

	__popcornctl_ask policy list |
		while read -r name _; do
			printf '%s\n' "$name"
		done
}

# How many words that are no options stand behind word $1 and before the one that is completed.
__popcornctl_words() {
	local n=0 i

	for ((i = $1 + 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} == -* ]] || n=$((n + 1))
	done
	echo $n
}

_popcornctl() {
	local verbs='list status show boot stop kill release cancel console log events ping stats exec shell top topology plan apply policy'
	local global='--json --json=pretty --json=short --host --no-legend --no-pager --quiet --help --version'
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verb='' words='' options='' i

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-H | --host) i=$((i + 1)) ;;
		# bash splits --json=short at the equals sign.
		--json) [[ ${COMP_WORDS[i + 1]} != = ]] || i=$((i + 2)) ;;
		-*) ;;
		*)
			verb=${COMP_WORDS[i]}
			break
			;;
		esac
	done

	case $verb in
	boot) options='--cpus --memory --memory-nodes --kernel --initrd --root --share --no-vsock --append --restart --network --timeout --no-wait' ;;
	stop) options='--timeout --no-wait' ;;
	kill | release | cancel) options='--no-wait' ;;
	log) options='--follow --kernel --lines' ;;
	ping) options='--count --interval --size' ;;
	stats) options='--watch' ;;
	exec | shell) options='--tty' ;;
	top) options='--interval --once' ;;
	status) options='--lines' ;;
	show) options='--property' ;;
	topology) options='--xml --synthetic --draw' ;;
	plan) options='--xml --synthetic --draw --explain --diff --boot-args' ;;
	apply) options='--atomic --yes --no-wait' ;;
	esac

	# The value of an option.
	case $verb:$prev in
	*:= | *:--json)
		if [[ ${COMP_WORDS[COMP_CWORD - 2]} == --json || $cur == = ]]; then
			mapfile -t COMPREPLY < <(compgen -W 'pretty short' -- "${cur#=}")
			return
		fi
		;;
	*:-H | *:--host)
		mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
		return
		;;
	topology:--xml | topology:--draw | plan:--xml | plan:--draw)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	topology:--synthetic | plan:--synthetic) return ;;
	boot:--kernel | boot:--initrd)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "${cur:-/boot/}")
		return
		;;
	boot:--root)
		if [[ $cur == /* ]]; then
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -W 'primary initramfs /' -- "$cur")
		fi
		return
		;;
	boot:--restart)
		mapfile -t COMPREPLY < <(compgen -W 'no on-failure' -- "$cur")
		return
		;;
	boot:--network)
		mapfile -t COMPREPLY < <(compgen -W 'primary,kernels primary,kernels,outside primary kernels none default' -- "$cur")
		return
		;;
	boot:--memory)
		mapfile -t COMPREPLY < <(compgen -W '256M 512M 1G 2G 4G' -- "$cur")
		return
		;;
	boot:--cpus | boot:--memory-nodes | boot:--append | boot:--share | boot:--timeout | stop:--timeout) return ;;
	log:-n | log:--lines | status:-n | status:--lines) return ;;
	ping:-c | ping:--count | ping:-i | ping:--interval | ping:-s | ping:--size | top:-i | top:--interval) return ;;
	show:-p | show:--property)
		words=$(popcornctl show ${COMP_WORDS[i + 1]:+"${COMP_WORDS[i + 1]}"} 2>/dev/null |
			sed 's/=.*//' | sort -u)
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return
		;;
	esac

	# Behind the name of the kernel stands what only that kernel knows.
	[[ ! $verb =~ ^(exec|shell)$ || $(__popcornctl_words "$i") -eq 0 ]] || return

	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options $global" -- "$cur")
		return
	fi
	case $verb in
	'') words=$verbs ;;
	boot) words=$(__popcornctl_definitions) ;;
	stop | kill) words=$(__popcornctl_kernels 'reserved loading booting running stopping') ;;
	release) words=$(__popcornctl_kernels 'stopped crashed failed') ;;
	status | show | console | log) words=$(__popcornctl_kernels '') ;;
	ping | exec | shell) words=$(__popcornctl_kernels running) ;;
	stats) words=$(__popcornctl_kernels '') ;;
	plan | apply)
		if [[ $cur == */* ]]; then
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
		fi
		words=$(__popcornctl_policies)
		;;
	policy)
		if ((i + 1 == COMP_CWORD)); then
			words='list show verify'
		elif [[ $cur == */* && ${COMP_WORDS[i + 1]} =~ ^(show|verify)$ ]]; then
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
		elif [[ ${COMP_WORDS[i + 1]} == verify ]] || ((i + 2 == COMP_CWORD)); then
			[[ ${COMP_WORDS[i + 1]} == list ]] || words=$(__popcornctl_policies)
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _popcornctl popcornctl
