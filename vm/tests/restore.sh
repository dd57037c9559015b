#!/bin/sh
# restore.sh: run in dom0 by vm/restore, with a domU.
# shellcheck disable=SC2016 # what the domU is to expand
. /harness/lib.sh

# domu SCRIPT: what a line of its console holds
domu() { in-domu sh -c "$(echo "$1" | tr '\n' ' ')"; }

# A process with grants and a port, and memory to compare afterwards.
users() {
	domu '/usr/libexec/kselftests/xen/gntshare --to 0 --count 16 >/tmp/share &
		echo $! >/tmp/pid;
		dd if=/dev/urandom of=/tmp/data bs=1M count=32; md5sum </tmp/data >/tmp/sum;
		sleep 1; cat /tmp/share; [ -s /tmp/share ] && [ -s /tmp/data ] &&
		[ $(grep -c evtchn:gntshare /proc/interrupts) = 2 ]'
}

# The grants that Xen did not unmap, whose pages the domU can't use again.
counter=/sys/module/grant_table/parameters/unmap_refused
leaked() { in-domu cat $counter; }
lost_before=$(leaked)

# map_grants WHO [OPTION...]: a process WHO of the domU maps 64 of dom0's grants and
# the directory
map_grants() {
	who=$1
	shift
	domu "cp /usr/libexec/kselftests/xen/gntmap /tmp/$who;
		/tmp/$who --count 64 --write 1 --hold 86400 $* \$XEN_PEER >/tmp/$who.said 2>&1 &
		echo \$! >/tmp/$who.pid; for i in \$(seq 40); do
		[ \$(grep -c xen/gntdev /proc/\$(cat /tmp/$who.pid)/maps) = 2 ] && break;
		sleep 0.5; done; sleep 1; cat /tmp/$who.said; [ ! -s /tmp/$who.said ]"
}

# each_page WHO FILE PAGE SIZE: so much of FILE of /proc/PID for each page with a
# grant, in hex, a line each
each_page() {
	domu "pid=\$(cat /tmp/$1.pid); grep xen/gntdev /proc/\$pid/maps | tr - ' ' |
		while read from to rest; do
		dd if=/proc/\$pid/$2 bs=$3 skip=\$((0x\$from / 4096))
		count=\$(((0x\$to - 0x\$from) / 4096)) 2>/dev/null | od -v -An -tx8 -w$3; done"
}
frames() { each_page "$1" pagemap 8; }

# The process sees what it has written.
works() {
	each_page "$1" mem 4096 | grep -c '^ *0000000000000001 ' >/tmp/works
	echo "$1: $(cat /tmp/works) of 64 pages are right"
	[ "$(cat /tmp/works)" = 64 ]
}

maps() {
	map_grants old --dma && works old && frames old | sort -u >/tmp/frames.old &&
		[ "$(grep -c . /tmp/frames.old)" = 65 ]
}

# What was mapped before is gone, and Xen gives the handles to others.
maps_beside() { map_grants new && works new; }

# end WHO: the process ends within ten seconds
end() {
	domu "pid=\$(cat /tmp/$1.pid); kill \$pid; for i in \$(seq 20); do
		[ ! -e /proc/\$pid ] && break; sleep 0.5; done; [ ! -e /proc/\$pid ]"
}
old_ends() { end old && works new; }

nothing_lost() {
	echo "leaked: $lost_before before, now $(leaked)"
	[ "$(leaked)" = "$lost_before" ] && ! in-domu sh -c 'dmesg | grep "lost\|did not unmap"'
}

used_again() {
	map_grants again && frames again | sort -u >/tmp/frames.again
	n=$(grep -c -F -f /tmp/frames.old /tmp/frames.again)
	end again
	echo "$n of 65 are used again"
	[ "$n" -gt 32 ]
}

restored() {
	xl save domu /tmp/saved >/tmp/toolstack 2>&1 &&
		xl restore /tmp/saved >>/tmp/toolstack 2>&1 || {
		cat /tmp/toolstack
		return 1
	}
	rm /tmp/saved
	# it has another domid, and what was shared with the one before fills gntalloc
	id=$(xl domid domu)
	killall gntshare
	while pidof gntshare >/dev/null; do sleep 0.1; done
	peer=$(share_with "$id") && [ -n "$peer" ] || return 1
	xenstore-write "/local/domain/$id/data/peer" "$peer"
	in-domu true
}

memory_same() { domu 'md5sum </tmp/data | cmp - /tmp/sum'; }
# elsewhere each time
disk_works() {
	domu "at=$(($1 * 32 - 32));
		dd if=/tmp/data of=/dev/xvda bs=1M seek=\$at oflag=direct conv=notrunc &&
		dd if=/dev/xvda of=/tmp/back bs=1M count=32 skip=\$at iflag=direct &&
		cmp /tmp/data /tmp/back && rm /tmp/back"
}
# and gives its interrupt back
process_ends() {
	domu 'pid=$(cat /tmp/pid); irqs() { ls /sys/kernel/irq | wc -l; }; n=$(irqs);
		ls -l /proc/$pid/fd && kill $pid && for i in $(seq 20); do
		[ $(irqs) = $n ] && sleep 0.5; done; irqs;
		! grep -q gntshare /proc/$pid/cmdline && [ $(irqs) = $((n - 1)) ]'
}

selftests() {
	domu 'XEN_ROUNDS=1 /harness/run-selftests xen/gnt_basic xen/gnt_errors
		xen/gnt_queue xen/p2m' >/tmp/said
	cat /tmp/said
	# p2m is skipped where there is none, no test for want of a peer
	[ "$(grep -c 'DONE xen/\([a-z0-9_]* 0\|p2m 4\)$' /tmp/said)" = 4 ] &&
		! grep -q '^not ok\|SPLAT\|GRANTS\|LEAKS [1-9]\|XEN_PEER' /tmp/said
}

reported() { in-domu dmesg >/tmp/dmesg && [ -s /tmp/dmesg ] && ! reports </tmp/dmesg; }

test_ "a domU with grants and a port" users
# xl leaves out page tables of a PV domain that have a PTE of another domain's frame
[ "$(in-domu cat /sys/hypervisor/guest_type)" = PV ] && maps=${PV_MAPS:-0} || maps=1
[ "$maps" = 0 ] || test_ "a process of the domU maps grants" maps
for n in 1 2; do
	test_ "saved and restored, time $n" restored
	test_ "its memory is the same, time $n" memory_same
	test_ "its disk works, time $n" disk_works "$n"
done
if [ "$maps" = 1 ]; then
	test_ "grants are mapped beside those from before" maps_beside
	test_ "the process ends that had mapped grants" old_ends
	# before others are freed, which come first
	test_ "the pages are used again" used_again
	test_ "the other process ends" end new
	test_ "no page is lost" nothing_lost
fi
test_ "the process with grants and a port ends" process_ends
test_ "selftests in the domU that was restored" selftests
test_ "the domU's kernel reported nothing" reported
echo END
