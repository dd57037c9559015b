#!/bin/sh
# domu-io.sh: run by bench/run in dom0, with a domU. Block and network I/O of the domU,
# a line each: case, requests, nanoseconds (with vm/run --icount instructions of both
# domains and Xen), 0.
. /harness/lib.sh
nc -ll -p 5000 -e dd of=/dev/null bs=64k 2>/dev/null &

# shellcheck disable=SC2016 # the domU expands it
in-domu sh -c '
now() { cut -d " " -f 1 /proc/uptime | tr -d .; }
measure() {
	case=$1 n=$2
	shift 2
	for i in 1 2 3; do
		from=$(now)
		"$@" 2>/dev/null || exit 1
		echo "$case $n $((($(now) - from) * 10000000)) 0"
	done
}
send() { dd if=/dev/zero bs=64k count="$1" | nc 10.77.0.1 5000; }
dd if=/dev/zero of=/dev/xvda bs=1M count=64
for size in 4 64; do
	count=$((16384 / size))
	measure "read-${size}k" $count dd if=/dev/xvda of=/dev/null bs=${size}k \
		count=$count iflag=direct
	measure "write-${size}k" $count dd if=/dev/zero of=/dev/xvda bs=${size}k \
		count=$count oflag=direct
done
measure send-64k 256 send 256' 2>/dev/null
