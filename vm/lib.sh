# shellcheck shell=sh disable=SC2154,SC2034 # its callers set and use variables
# Shared by vm/backends and vm/restore, which run a script of vm/tests in dom0 beside
# a domU; sourced, with top set.
. "$top/scripts/lib.sh"
help "$@"
passed=0 failed=0
tree=series memory='' timeout='' append='' xen='' rounds=1 configs=''
while [ $# -gt 0 ]; do
	case $1 in
	--tree | --memory | --timeout | --append | --xen | --rounds)
		[ $# -gt 1 ] || usage "$1 needs a value"
		eval "${1#--}=\$2"
		shift
		;;
	pv | pvh) configs="$configs $1" ;;
	*) usage "$1: neither an option nor pv or pvh" ;;
	esac
	shift
done
case $rounds in '' | *[!0-9]*) usage "--rounds $rounds: a number is wanted" ;; esac

[ -f "$root/x86_64/$tree/vmlinux" ] || die "no kernel of $tree (make kernel)"

# start NAME: an empty $work
start() {
	work=$root/tmp/$1
	rm -rf "$work"
	mkdir -p "$work"
}

# boot CONFIG SECONDS ARG…: boots dom0 and a domU with these arguments of vm/run.  Shows
# and counts the tests that the script reports.
boot() {
	config=$1 seconds=$2
	shift 2
	status=0
	# What a domU was not asked to report, the script finds.
	"$top/vm/run" --tree "$tree" --dom0 "$config" --domu "$config" --domu-may-crash \
		--append "$append" --append-domu "$append" \
		${memory:+--memory "$memory"} ${xen:+--xen "$xen"} \
		--timeout "${timeout:-$seconds}" --retry 2 "$@" \
		>"$work/all" 2>"$work/err" || status=$?
	cat "$work/err" >&2
	# of boots that a triple fault ended, nothing counts
	awk '/^\036AGAIN/ { n = 0; next } { line[++n] = $0 }
		END { for (i = 1; i <= n; i++) print line[i] }' "$work/all" >"$work/out"
	sed "/^END/d; s/^/$config: /" "$work/out"
	passed=$((passed + $(grep -c '^ok' "$work/out" || true)))
	# nothing there may be skipped
	n=$(grep -c '^not ok\|^skip' "$work/out" || true)
	if [ "$n" = 0 ] && { [ "$status" != 0 ] || ! grep -q '^END' "$work/out"; }; then
		echo "$config: failed: exit status $status"
		n=1
	fi
	failed=$((failed + n))
}

finish() {
	echo "$passed passed, $failed failed, 0 skipped"
	[ "$failed" = 0 ]
}
