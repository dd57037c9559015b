#!/bin/sh
# Run by vm/deb in dom0, on Debian, with the release of the kernel's package: is this
# the host that someone gets who installs it?
. /harness/lib.sh
release=$1
export VERBOSE=1

kernel() {
	uname -a
	[ "$(uname -r)" = "$release" ] && dpkg -S "/boot/vmlinuz-$release"
}

dom0() {
	cat /sys/hypervisor/type /sys/hypervisor/guest_type /proc/xen/capabilities
	[ "$(cat /sys/hypervisor/type)" = xen ] && grep -q control_d /proc/xen/capabilities
}

root_by_uuid() {
	cat /proc/cmdline
	findmnt -n -o SOURCE,FSTYPE,UUID /
	grep -q "root=UUID=$(findmnt -n -o UUID /)" /proc/cmdline
}

# the services that Debian starts, Xen's among them
services() {
	systemctl --failed --no-legend
	systemctl is-active xen.service && [ -z "$(systemctl --failed --no-legend)" ]
}

toolstack() { xl info | grep -E '^(host|release|xen_version|free_memory|xen_caps)' && xl list; }

# the package's, signed by the key that is in the kernel: else it would be tainted
modules() {
	modprobe -a xen-gntdev xen-gntalloc xen-evtchn xen-privcmd xen-blkback xen-netback || return
	modinfo -F filename xen-gntdev && modinfo -F signer xen-gntdev
	ls /dev/xen
	echo "tainted: $(cat /proc/sys/kernel/tainted)"
	[ "$(cat /proc/sys/kernel/tainted)" = 0 ]
}

features() {
	ls /sys/kernel/debug/xen
	cat /sys/kernel/debug/xen/grant_unmap
}

# update-grub has an entry that boots Xen with this kernel and its initramfs
grub_entry() {
	update-grub || return
	awk '/^[ \t]*menuentry .*Xen/ { on = 1 } on && /(multiboot|module)2?[ \t]/ { print }
		/^[ \t]*}/ { on = 0 }' /boot/grub/grub.cfg >/tmp/entry
	cat /tmp/entry
	grep -q "multiboot2*[ 	]*/boot/xen-" /tmp/entry &&
		grep -q "/boot/vmlinuz-$release" /tmp/entry &&
		grep -q "/boot/initrd.img-$release" /tmp/entry
}

# selftest NAME: of what it says, all but which tests pass
selftest() {
	cd /usr/libexec/kselftests/xen || return
	./"$1" >/tmp/ktap 2>&1
	status=$?
	grep -v '^# \|^ok ' /tmp/ktap
	tail -n 1 /tmp/ktap
	[ $status != 0 ] || grep '^ok ' /tmp/ktap | grep -qv SKIP || return 4
	return $status
}

log() { ! dmesg | reports; }

test_ kernel kernel
test_ dom0 dom0
test_ root_by_uuid root_by_uuid
test_ services services
test_ toolstack toolstack
test_ modules modules
test_ features features
test_ grub_entry grub_entry
for name in gnt_basic gnt_process; do
	test_ $name selftest $name
done
test_ log log
systemd-analyze 2>/dev/null | sed 's/^/# /'
echo END
