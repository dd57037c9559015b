# shellcheck shell=sh
# Shared by the guests' scripts; sourced.
PATH=/usr/bin:/usr/sbin:/usr/lib/xen/bin
# DOMU_LOG: the console of the domU, and of those before it
export PATH HOME=/root DOMU_LOG=/var/log/xen/console/guest-domu.log

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

# create_domu: creates the one that /etc/xen/domu.cfg describes, waits until its
# init is ready, and sets id to its domid
create_domu() {
	ready=$(grep -c READY "$DOMU_LOG")
	xl create /etc/xen/domu.cfg >>/run/toolstack.log 2>&1 || {
		cat /run/toolstack.log /var/log/xen/*.log >/dev/console
		return 1
	}
	id=$(xl domid domu)
	n=0
	until [ "$(grep -c READY "$DOMU_LOG")" -gt "$ready" ]; do
		n=$((n + 1))
		there "$id" && [ $n -lt 1000 ] || return 1
		sleep 0.3
	done
}

# reports: those of the lines that no healthy kernel prints
reports() { grep -E -f /harness/reports; }

# grants: what Xen says of all domains' grants that are mapped, a line each
# that starts with "(XEN) [0x"
grants() {
	xl dmesg -c >/dev/null
	xl debug-keys g
	xl dmesg
}

# test_ NAME CMD...: says whether it succeeds, and what it said if not, or if VERBOSE
# is set; a status of 4 is a selftest's that was skipped
test_() {
	name=$1
	shift
	status=0
	"$@" >/tmp/log 2>&1 || status=$?
	case $status in
	0) echo "ok $name" ;;
	4) echo "skip $name" ;;
	*) echo "not ok $name: status $status" ;;
	esac
	[ $status = 0 ] && [ -z "${VERBOSE:-}" ] || sed 's/^/# /' /tmp/log
}

# Lines that start with this mark, and only these, are for the harness.
say() { printf '\036%s\n' "$*"; }

# share_with DOMID: pages for the selftests of that domain to map; prints
# what they take as XEN_PEER, or nothing where none can be shared.
share_with() {
	gntshare=/usr/libexec/kselftests/xen/gntshare
	[ -x $gntshare ] && modprobe -q xen-gntalloc || return 0
	rm -f /run/peer # of a domain before
	$gntshare --to "$1" --count 1000 >/run/peer 2>/run/peer.err </dev/null &
	n=0
	until [ -s /run/peer ] || [ $n -ge 600 ]; do
		n=$((n + 1))
		sleep 0.1
	done
	[ -s /run/peer ] || { cat /run/peer.err >&2; return 1; }
	head -n 1 /run/peer
}
