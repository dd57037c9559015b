# shellcheck shell=sh disable=SC2034 # those that source it use its variables
# Shared by the shell scripts of scripts/ and vm/; sourced, with top set.
root=${BUILD_ROOT:-$top/build}
self=${0#"$top/"}
. "$top/vm/facts/common"

die() { echo "$self: $*" >&2; exit "${code:-1}"; }
usage() { code=2 die "$* (see $self --help)"; }

# help ARG…: prints the comment at the head of the script if --help is asked for
help() {
	case ${1:-} in
	-h | --help) ;;
	*) return 0 ;;
	esac
	sed -n '1d; /^#/!q; s/^# \{0,1\}//; p' "$0"
	exit 0
}

# arch NAME: reads an architecture's facts (KARCH, CROSS, IMAGE…)
arch() {
	[ "$1" != common ] && [ -f "$top/vm/facts/$1" ] ||
		usage "'$1' is no architecture ($(cd "$top/vm/facts" && echo [!c]*))"
	# shellcheck source=../vm/facts/x86_64
	. "$top/vm/facts/$1"
}

# compiler CROSS: the compiler, behind ccache where there is one
compiler() {
	command -v "${1}gcc" >/dev/null || die "${1}gcc is missing: see scripts/setup --help"
	echo "$(! command -v ccache >/dev/null || echo 'ccache ')${1}gcc"
}
