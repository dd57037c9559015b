#!/bin/sh
# domu-io.sh: run by bench/run in dom0, with a domU. Block and network I/O of the domU,
# a line each: case, requests, nanoseconds (with vm/run --icount instructions of both
# domains and Xen), 0.
. /harness/lib.sh
nc -ll -p 5000 -e dd of=/dev/null bs=64k 2>/dev/null &

# measure CASE N CMD: three times. in-domu takes one line.
# shellcheck disable=SC2016 # the domU expands it
measure() {
	in-domu sh -c "$(printf %s 'us() { set -- $(adjtimex | sed -n "s/.*time.tv_u*sec: *//p");
		echo $(($1 * 1000000 + $2)); };
		for i in 1 2 3; do from=$(us); eval "$2" 2>/dev/null || exit 1;
		echo "$0 $1 $((($(us) - from) * 1000)) 0"; done' | tr '\n' ' ')" "$@" || exit 1
}

measure warm-up 64 "dd if=/dev/zero of=/dev/xvda bs=1M count=64" >/dev/null
for size in 4 64; do
	n=$((16384 / size))
	measure "read-${size}k" $n "dd if=/dev/xvda of=/dev/null bs=${size}k count=$n iflag=direct"
	measure "write-${size}k" $n "dd if=/dev/zero of=/dev/xvda bs=${size}k count=$n oflag=direct"
done
measure send-64k 256 "dd if=/dev/zero bs=64k count=256 | nc 10.77.0.1 5000"
