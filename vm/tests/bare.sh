#!/bin/sh
# bare.sh: run by test_run.py on a machine without Xen. Each selftest program must
# say skip, and leave fault injection, loop and dm devices and modules alone, also
# while it runs.
. /harness/lib.sh
cd /usr/libexec/kselftests/xen || exit 1

state() {
	(cd /sys/kernel/debug && grep -s '' failslab/* fail_page_alloc/* fail_function/*)
	ls /sys/block /dev/mapper 2>/dev/null
	cat /sys/block/loop*/loop/backing_file 2>/dev/null
	cut -d ' ' -f 1,3 /proc/modules
	grep -s '' /sys/module/xen_gntalloc/parameters/*
}

# quiet NAME ARG...: runs a program; its status must be 4, the state the same
quiet() {
	program=$1
	shift
	"./$program" "$@" >/tmp/said 2>&1 &
	while kill -0 $! 2>/dev/null; do
		state | cmp -s - /tmp/before || touch /tmp/changed
	done
	wait $!
	ended=$?
	state | cmp /tmp/before - || return 1
	[ ! -e /tmp/changed ] && [ $ended = 4 ] || {
		echo "status $ended, state changed for a while: $(ls /tmp/changed 2>&1)"
		cat /tmp/said
		return 1
	}
}

skips() {
	quiet "$1" && printf '%s\n' 'TAP version 13' '1..0 # SKIP not running under Xen' |
		cmp - /tmp/said && quiet "$1" -l && grep -q FIXTURE /tmp/said
}

state >/tmp/before
[ "$(wc -l </tmp/before)" -ge 10 ] || echo "not ok state"
# shellcheck disable=SC2013 # names without spaces
for name in $(sed -n 's/^xen://p' ../kselftest-list.txt); do
	rm -f /tmp/changed
	test_ "$name" skips "$name"
done
reported() { ! dmesg | reports; }
test_ reported reported
