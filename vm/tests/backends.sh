#!/bin/sh
# Run in dom0 by vm/backends, with a domU.
# shellcheck disable=SC2016 # what the domU is to expand
. /harness/lib.sh
queue=/sys/kernel/debug/xen/grant_unmap
disk=/sys/module/busydisk/parameters

# test NAME CMD…: says whether it succeeds
test_() {
	name=$1
	shift
	if "$@" >/tmp/log 2>&1; then
		echo "ok $name"
	else
		echo "not ok $name"
		sed 's/^/# /' /tmp/log
	fi
}

waiting() { sed -n 's/^waiting_requests //p' $queue; }

# until_idle SECONDS: nothing waits any more
until_idle() {
	n=0
	while [ "$(waiting)" -gt 0 ]; do
		n=$((n + 1))
		[ $n -lt $(($1 * 10)) ] || { cat $queue; return 1; }
		sleep 0.1
	done
}

# What the domU does, in one line: four writers, which read back what they have
# written; and 16 MB each way through the network meanwhile.
load='cd /tmp; one() { dd if=/dev/urandom of=w$1 bs=64k count=48;
dd if=w$1 of=/dev/xvdb bs=64k seek=$(($1 * 48)) oflag=direct conv=notrunc;
dd if=/dev/xvdb of=r$1 bs=64k count=48 skip=$(($1 * 48)) iflag=direct;
cmp w$1 r$1 && echo same; };
nc -l -p 5000 -e md5sum &
dd if=/dev/urandom of=mine bs=1M count=16;
(sleep 3; nc 10.77.0.1 5001 <mine >there) &
for i in 0 1 2 3; do one $i & done; wait;
[ "$(md5sum <mine)" = "$(cat there)" ] && echo sent'

under_load() {
	dd if=/dev/urandom of=/tmp/net bs=1M count=16 2>/dev/null
	nc -l -p 5001 -e md5sum &
	in-domu sh -c "$(echo "$load" | tr '\n' ' ')" >/tmp/said 2>&1 &
	# when the domU listens
	n=0
	until nc 10.77.0.2 5000 </tmp/net >/tmp/there; do
		n=$((n + 1))
		[ $n -lt 60 ] || return 1
		sleep 0.5
	done
	wait
	cat /tmp/said
	[ "$(grep -c '^same' /tmp/said)" = 4 ] && grep -q '^sent' /tmp/said &&
		[ "$(md5sum </tmp/net)" = "$(cat /tmp/there)" ]
}

queue_was_used() { cat $queue; [ "$(sed -n 's/^requests_waited //p' $queue)" -gt 100 ]; }

nothing_changed() {
	echo "$(cat $disk/held) held, $(cat $disk/changed) changed"
	[ "$(cat $disk/held)" -gt 1000 ] && [ "$(cat $disk/changed)" = 0 ]
}

# busy_disk DISK: the domU writes without an end; waits until pages are in use
busy_disk() {
	until_idle 10 || return
	echo 3000 >$disk/hold_ms
	in-domu sh -c "dd if=/dev/zero of=/dev/$1 bs=64k count=256 oflag=direct >/dev/null 2>&1 &"
	n=0
	until [ "$(waiting)" -gt 0 ]; do
		n=$((n + 1))
		[ $n -lt 100 ] || return 1
		sleep 0.1
	done
}

unbind() {
	busy_disk xvdc || return
	echo "vbd-$id-51744" >/sys/bus/xen-backend/drivers/vbd/unbind
	until_idle 20
}

destroyed() {
	busy_disk xvdb || return
	timeout 60 xl destroy domu
	until_idle 20 || return
	# Xen and xenconsoled let go of it in their own time
	n=0
	while xl list | grep -q -e domu -e null; do
		n=$((n + 1))
		[ $n -lt 60 ] || { xl list; return 1; }
		sleep 0.5
	done
}

# attach DISK: a second or third one of the domU
attach() {
	timeout 60 xl block-attach domu "phy:/dev/busydisk,$1,w"
	n=0
	until in-domu test -b "/dev/$1"; do
		n=$((n + 1))
		[ $n -lt 20 ] || return 1
		sleep 0.5
	done
}

id=$(xl domid domu)
insmod /busydisk.ko
echo N >/sys/module/xen_blkback/parameters/feature_persistent
test_ attach attach xvdb
test_ under_load under_load
test_ queue_was_used queue_was_used
test_ until_idle until_idle 5
test_ nothing_changed nothing_changed
test_ attach_another attach xvdc
test_ unbind unbind
test_ destroyed destroyed
test_ nothing_changed_at_last nothing_changed
echo END
