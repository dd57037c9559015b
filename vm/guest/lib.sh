# shellcheck shell=sh
# Shared by the guests' scripts; sourced.
PATH=/usr/bin:/usr/sbin:/usr/lib/xen-4.20/bin
export PATH HOME=/root

mount_all() {
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t devtmpfs dev /dev 2>/dev/null
	mkdir -p /dev/pts /dev/shm
	mount -t devpts devpts /dev/pts
	mount -t tmpfs tmpfs /dev/shm
	mount -t tmpfs tmpfs /tmp
	mount -t debugfs debugfs /sys/kernel/debug
	mount -t xenfs xenfs /proc/xen
	ip link set lo up
	# shellcheck disable=SC3045 # busybox has it
	ulimit -n 4096
}

# there ID: whether that domU is; its disk (xvda) is for as long
there() { [ -e /sys/bus/xen-backend/devices/vbd-"$1"-51712 ]; }

# Lines that start with this mark, and only these, are for the harness.
say() { printf '\036%s\n' "$*"; }

# share_with DOMID: pages for the selftests of that domain to map; prints
# what they take as XEN_PEER, or nothing where none can be shared.
share_with() {
	gntshare=/usr/libexec/kselftests/xen/gntshare
	[ -x $gntshare ] && modprobe -q xen-gntalloc || return 0
	$gntshare --to "$1" --count 1000 >/run/peer 2>/run/peer.err </dev/null &
	n=0
	until [ -s /run/peer ] || [ $n -ge 600 ]; do
		n=$((n + 1))
		sleep 0.1
	done
	[ -s /run/peer ] || { cat /run/peer.err >&2; return 1; }
	head -n 1 /run/peer
}
