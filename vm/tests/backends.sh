#!/bin/sh
# backends.sh ROUNDS: run in dom0 by vm/backends, with a domU.
# shellcheck disable=SC2016 # what the domU is to expand
. /harness/lib.sh
queue=/sys/kernel/debug/xen/grant_unmap
disk=/sys/module/busydisk/parameters

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

# What the domU does: four writers of $mb MB each, which read back what they have
# written; and four times as much each way through the network meanwhile.
load='cd /tmp; n=$((mb * 16)); one() { dd if=/dev/urandom of=w$1 bs=64k count=$n;
dd if=w$1 of=/dev/xvdb bs=64k seek=$(($1 * n)) oflag=direct conv=notrunc;
dd if=/dev/xvdb of=r$1 bs=64k count=$n skip=$(($1 * n)) iflag=direct;
cmp w$1 r$1 && echo same; };
nc -l -p 5000 -e md5sum &
dd if=/dev/urandom of=mine bs=1M count=$((mb * 4));
(sleep 3; nc 10.77.0.1 5001 <mine >there) &
for i in 0 1 2 3; do one $i & done; wait;
[ "$(md5sum <mine)" = "$(cat there)" ] && echo sent'

# under_load MB
under_load() {
	echo 50 >$disk/hold_ms
	dd if=/dev/urandom of=/tmp/net bs=1M count=$(($1 * 4)) 2>/dev/null
	nc -l -p 5001 -e md5sum &
	in-domu sh -c "mb=$1; $(echo "$load" | tr '\n' ' ')" >/tmp/said 2>&1 &
	# when the domU listens
	n=0
	until nc 10.77.0.2 5000 </tmp/net >/tmp/there; do
		n=$((n + 1))
		[ $n -lt 60 ] || return 1
		sleep 0.5
	done
	wait $!
	cat /tmp/said
	[ "$(grep -c '^same' /tmp/said)" = 4 ] && grep -q '^sent' /tmp/said &&
		[ "$(md5sum </tmp/net)" = "$(cat /tmp/there)" ]
}

queue_was_used() { cat $queue; [ "$(sed -n 's/^requests_waited //p' $queue)" -gt 100 ]; }

nothing_changed() {
	echo "$(cat $disk/held) held, $(cat $disk/changed) changed"
	[ "$(cat $disk/held)" -gt 1000 ] && [ "$(cat $disk/changed)" = 0 ]
}

# What the domU does without an end: it writes and reads a disk, and sends.
endless='until ! dd if=/dev/zero of=$disk bs=64k count=256 oflag=direct; do :; done &
until ! dd if=$disk of=/dev/null bs=64k count=256 iflag=direct; do :; done &
nc 10.77.0.1 5002 </dev/zero &'

received() { cat "/sys/class/net/vif$id.0/statistics/rx_bytes"; }

# busy DISK: waits until the domU does that, and pages are in use
busy() {
	until_idle 10 || return
	echo 3000 >$disk/hold_ms
	before=$(received)
	kill "$server" 2>/dev/null # which waits for the domU before
	nc -l -p 5002 -e dd of=/dev/null bs=64k >/dev/null 2>&1 &
	server=$!
	in-domu sh -c "disk=/dev/$1; { $(echo "$endless" | tr '\n' ' ') } >/dev/null 2>&1"
	n=0
	until [ "$(waiting)" -gt 0 ] && [ "$(received)" -gt $((before + 1000000)) ]; do
		n=$((n + 1))
		[ $n -lt 300 ] || { cat $queue; return 1; }
		sleep 0.1
	done
}

unbind() {
	busy xvdc || return
	echo "vbd-$id-51744" >/sys/bus/xen-backend/drivers/vbd/unbind
	until_idle 20
}

# alone: no other domain is left, not even a dying one, and no device of one; Xen
# and xenconsoled let go of it in their own time
alone() {
	n=0
	until [ "$(xl list | wc -l)" = 2 ] && [ -z "$(ls /sys/bus/xen-backend/devices)" ]; do
		n=$((n + 1))
		[ $n -lt 60 ] || { xl list; ls /sys/bus/xen-backend/devices; return 1; }
		sleep 0.5
	done
}

destroyed() {
	busy xvdb || return
	timeout 60 xl destroy domu
	until_idle 20 && alone
}

crashed() {
	busy xvdb || return
	in-domu sh -c 'echo c >/proc/sysrq-trigger'
	until_idle 20 && alone && grep 'reason code 3' /var/log/xen/xl-domu.log
}

created() {
	create_domu && attach xvdb
}

no_grant_mapped() {
	grants >/tmp/grants
	head -n 30 /tmp/grants
	grep -q 'gnttab_usage_print_all ] done' /tmp/grants && ! grep -q '^(XEN) \[0x' /tmp/grants
}

# but for the crashes that were asked for
no_kernel_reported() {
	{ dmesg; cat "$DOMU_LOG"; } | reports | grep -v 'sysrq triggered crash' >/tmp/reports
	cat /tmp/reports
	[ ! -s /tmp/reports ]
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
server=
insmod /busydisk.ko
echo N >/sys/module/xen_blkback/parameters/feature_persistent
test_ attach attach xvdb
test_ under_load under_load 3
test_ queue_was_used queue_was_used
test_ until_idle until_idle 5
test_ nothing_changed nothing_changed
test_ attach_another attach xvdc
test_ unbind unbind
test_ destroyed destroyed
for round in $(seq "$1"); do
	how=crashed
	[ $((round % 2)) = 1 ] || how=destroyed
	test_ "round_${round}_created" created
	test_ "round_${round}_under_load" under_load 1
	test_ "round_${round}_$how" $how
done
test_ idle_at_last until_idle 5
test_ alone_at_last alone
test_ no_grant_mapped no_grant_mapped
test_ nothing_changed_at_last nothing_changed
test_ no_kernel_reported no_kernel_reported
echo END
