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
for n in 1 2; do
	test_ "saved and restored, time $n" restored
	test_ "its memory is the same, time $n" memory_same
	test_ "its disk works, time $n" disk_works "$n"
done
test_ "the process with grants and a port ends" process_ends
test_ "selftests in the domU that was restored" selftests
test_ "the domU's kernel reported nothing" reported
echo END
