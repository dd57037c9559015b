"""Finds or makes what QEMU boots: images, initramfs, command. Used by vm/run."""

import gzip
import os
import re
import shlex
import shutil
import subprocess
import sys

from common import BUILD, ROOT, TOP, facts, fail as fail_, selftests_of

FREE_MB = 400       # for an initramfs with modules, twice
DOM0_CPU = "qemu64,+svm,+npt,-rdtscp,+rdrand"   # rdrand: or libxl waits for random numbers
DRIVERS = ("XEN_DOM0", "XEN_GNTDEV", "XEN_GRANT_DEV_ALLOC", "XEN_DEV_EVTCHN", "XEN_PRIVCMD",
           "XENFS", "HVC_XEN")


HVM = """
xen_platform_pci = 1
vga = "none"
nographic = 1
device_model_override = "/usr/libexec/xen-qemu-system-i386"
bios = "seabios"
bios_path_override = "/usr/share/seabios/bios-256k.bin"
"""


def fail(message):
    fail_("vm/run", message)


def head(path, how=open):
    """The first bytes of a file; how: gzip.open for those of a compressed one."""
    try:
        with how(path, "rb") as f:
            return f.read(16384)
    except (OSError, EOFError) as e:
        return fail(f"{path} cannot be read: {getattr(e, 'strerror', None) or e}")


def kernel_tree(o, tmp):
    """Image, modules and selftests of a built tree, --kernel DIR."""
    tree, image = o.kernel, o.facts["IMAGE"]
    o.kernel = os.path.join(tree, image)
    if not os.path.exists(o.kernel):
        fail(f"{tree} holds no {image}: build the kernel there, for --arch {o.arch}")
    with open(os.path.join(tree, ".config"), errors="replace") as f:
        config = f.read()
    lacks = [s for s in DRIVERS if not re.search(f"^CONFIG_{s}=[ym]$", config, re.M)]
    if lacks and not o.bare:
        fail(f"{tree}/.config lacks CONFIG_{', CONFIG_'.join(lacks)}: merge what "
             "`vm/run --print-config` prints, with scripts/kconfig/merge_config.sh")
    if not o.modules and "CONFIG_MODULES=y" in config:
        o.modules = os.path.join(tmp, "modules")
        r = subprocess.run(["make", "-s", "-C", tree, f"ARCH={o.facts['KARCH']}",
                            f"CROSS_COMPILE={o.facts['CROSS']}", f"INSTALL_MOD_PATH={o.modules}",
                            "INSTALL_MOD_STRIP=1", "modules_install"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if r.returncode:
            fail(f"make modules_install failed in {tree}: {(r.stdout.splitlines() or ['?'])[-1]}")
    o.selftests = o.selftests or selftests_of(tree)


def find_xen(o, tmp):
    """--xen FILE, uncompressed, or the one that vm/rootfs has fetched."""
    if o.xen is None:
        o.xen = f"{BUILD}/xen/xen-{o.facts['KARCH']}"
        if not os.path.exists(o.xen):
            fail(f"Xen is missing: {o.xen} (make rootfs)")
    if not os.path.isfile(o.xen):
        fail(f"--xen {o.xen}: no such file")
    packed = head(o.xen)[:2] == b"\x1f\x8b"
    start = head(o.xen, gzip.open if packed else open)
    if o.arm and start[0x38:0x3c] != b"ARM\x64" or not o.arm and (
            start[:4] != b"\x7fELF" or b"\x02\xb0\xad\x1b" not in start):
        fail(f"{o.xen} is no Xen for {o.facts['KARCH']}: " + (
            "its Image is wanted" if o.arm else "an ELF file with a multiboot header is wanted"))
    if packed:
        with gzip.open(o.xen) as src, open(f"{tmp}/xen", "wb") as dest:
            shutil.copyfileobj(src, dest)
        o.xen = f"{tmp}/xen"


def prepare(o, tmp):
    """Fills in the images and checks that all is there."""
    if shutil.disk_usage(tmp).free < FREE_MB << 20:
        fail(f"{tmp} has less than {FREE_MB} MB free: remove files, e.g. of {BUILD}/logs")
    objdir = os.path.join(ROOT, o.arch)
    if o.kernel is None:
        o.kernel = os.path.join(objdir, o.tree, o.facts["IMAGE"])
        o.modules = o.modules or os.path.join(objdir, o.tree, "modules")
    elif os.path.isdir(o.kernel):
        kernel_tree(o, tmp)
    if o.selftests is None and os.path.isdir(f"{objdir}/series/kselftest"):
        o.selftests = f"{objdir}/series/kselftest"
    if not os.path.exists(o.kernel):
        fail(f"the kernel is missing: {o.kernel} (make kernel)")
    start = head(o.kernel)
    if o.arm and start[0x38:0x3c] != b"ARM\x64":
        fail(f"{o.kernel} is not an arm64 kernel image (Image)")
    if not o.arm and start[0x202:0x206] != b"HdrS" and start[:4] != b"\x7fELF":
        fail(f"{o.kernel} is not an x86 kernel image (bzImage or vmlinux)")
    o.rootfs = f"{BUILD}/rootfs/arm64" if o.arm else f"{BUILD}/rootfs"
    for path, what, how in ((o.modules and f"{o.modules}/lib/modules", "the modules' folder",
                             "make kernel, or --modules DIR"),
                            (o.disk or f"{o.rootfs}/dom0.cpio", "the root file system",
                             "make rootfs"),
                            (o.domu == "hvm" and f"{o.rootfs}/hvm.cpio", "the device model",
                             "vm/rootfs --hvm"),
                            (o.initrd, "the initramfs", "--initrd FILE"),
                            (o.selftests, "the selftests' folder", "make kernel")):
        if path and not os.path.exists(path):
            fail(f"{what} is missing: {path} ({how})")
    if not o.bare:
        find_xen(o, tmp)
    if not shutil.which(o.facts["QEMU"]):
        fail(f"{o.facts['QEMU']} is missing: run `make setup`")


def megabytes(o):
    return int(o.memory[:-1]) * (1024 if o.memory[-1] == "G" else 1)


def copy(src, dest):
    os.makedirs(os.path.dirname(dest), exist_ok=True)
    r = subprocess.run(["cp", "-aL" if os.path.isfile(src) else "-a", "-T", src, dest],
                       stderr=subprocess.PIPE, text=True)
    if r.returncode:
        fail(r.stderr.strip().splitlines()[-1])


def pack(stage, image, *bases):
    """Writes to image what the bases hold and what is staged."""
    with open(image, "wb") as f:
        for base in bases:
            with open(base, "rb") as b:
                shutil.copyfileobj(b, f)
        f.flush()
        r = subprocess.run(["bsdtar", "-C", stage, "-cf", "-", "--format=newc",
                            "--uid", "0", "--gid", "0", "."], stdout=f,
                           stderr=subprocess.PIPE, text=True)
    if r.returncode:
        fail(f"{image} cannot be written: {r.stderr.strip()}")


def settings(o):
    """What dom0's init sources."""
    memory = o.domu_memory or (min(1024, megabytes(o) // 2) if o.arch == "arm64-64k" else 256)
    found = {
        "XEN": "none" if o.bare else facts("common")["XEN_VERSION"],
        "DOMU": o.domu, "IN": o.where, "DOMU_MEMORY": memory, "DOMU_CPUS": o.domu_cpus,
        "DOMU_ARGS": o.append_domu + (" harness=shell" if o.shell and o.where == "domu" else ""),
        "DOMU_CONFIG": HVM * (o.domu == "hvm") + "\n".join(o.domu_config), "SHARE": "/share" if o.share else "",
        # the guest's end of Run.channel; a shell has the console alone
        "CHANNEL": "" if o.shell else "/dev/vport0p1" if o.arm else "/dev/ttyS1",
        "CONSOLE": "/dev/hvc0" if not o.bare else "/dev/ttyAMA0" if o.arm else "/dev/ttyS0",
    }
    return "".join(f"{key}={shlex.quote(str(value))}\n" for key, value in found.items())


def make_initramfs(o, tmp):
    """dom0's initramfs, with the domU's inside; returns its path."""
    stages = {"dom0": f"{tmp}/dom0", "domu": f"{tmp}/domu"}
    for stage in stages.values():
        os.makedirs(f"{stage}/harness")
        if o.modules:
            copy(f"{o.modules}/lib/modules", f"{stage}/usr/lib/modules")
        if o.selftests:
            copy(o.selftests, f"{stage}/usr/libexec/kselftests")
    here = stages[o.where]
    for src, dest in o.pairs:
        copy(src, here + dest)
    with open(f"{here}/harness/command", "w") as f:
        f.write("#!/bin/sh\n. /harness/lib.sh\nexec " + shlex.join(o.command) + "\n")
    os.chmod(f"{here}/harness/command", 0o755)
    with open(f"{stages['dom0']}/harness/settings", "w") as f:
        f.write(settings(o))
    if o.domu != "none":
        copy(o.kernel, f"{stages['dom0']}/harness/vmlinuz")
        pack(stages["domu"], f"{stages['dom0']}/harness/domu.cpio", f"{o.rootfs}/domu.cpio")
    if o.disk:
        # what its Debian unpacks and starts (see vm/deb)
        for name in ("lib.sh", "reports", "run-selftests", "start.disk"):
            copy(f"{TOP}/vm/guest/{name}", f"{stages['dom0']}/harness/{name}")
        subprocess.run(["tar", "-C", f"{tmp}/dom0", "-cf", f"{tmp}/harness.tar",
                        "--owner=0", "--group=0", *os.listdir(f"{tmp}/dom0")], check=True)
        return o.initrd
    bases = [f"{o.rootfs}/dom0.cpio"] + [f"{o.rootfs}/hvm.cpio"] * (o.domu == "hvm")
    pack(stages["dom0"], f"{tmp}/initramfs", *bases)
    return f"{tmp}/initramfs"


def machine(o, tmp):
    """QEMU's options for the cpu and the devices."""
    cmd = [o.facts["QEMU"], "-accel", "tcg", "-m", o.memory,
           "-smp", str(1 if o.icount else o.cpus), "-display", "none", "-nodefaults", "-no-reboot"]
    if o.icount:
        cmd += ["-icount", "shift=0,sleep=off"]
    if o.gdb:
        cmd += ["-gdb", f"tcp:localhost:{o.gdb}", "-S"]
    if o.arm:
        cmd += ["-machine", "virt,gic-version=3" + ("" if o.bare else ",virtualization=true"),
                "-cpu", "cortex-a57", "-device", "virtio-serial-device",
                "-device", "virtserialport,chardev=com2"]
    else:
        # pci-testdev: a device with memory of its own, for the tests to look at
        cmd += ["-cpu", DOM0_CPU, "-device", "pci-testdev"]
    if o.dom0 == "pvh" and not (o.arm or o.bare):
        cmd += ["-machine", "q35", "-device", "amd-iommu"]
    if o.share:
        iommu = ",iommu_platform=on,disable-legacy=on" if o.dom0 == "pvh" and not o.bare else ""
        cmd += ["-fsdev", f"local,id=share,security_model=none,path={o.share.replace(',', ',,')}",
                "-device", "virtio-9p-" + ("device" if o.arm else "pci")
                + f",fsdev=share,mount_tag=share{'' if o.arm else iommu}"]
    if o.disk:
        cmd += ["-device", "ahci,id=ahci"]
        for name, image in (("root", o.disk), ("harness", f"{tmp}/harness.tar")):
            cmd += ["-drive", f"if=none,id={name},format=raw,snapshot=on,file={image}",
                    "-device", f"ide-hd,bus=ahci.{name == 'harness':d},drive={name},serial={name}"]
    return cmd


def qemu_command(o, initramfs, tmp):
    """QEMU's command, but for its serial lines."""
    # Pages for other domains' frames come in sections, of 512 MB if a page has
    # 64 KB: there is to be a hole in dom0's memory for one.
    dom0_mem = megabytes(o) // (4 if o.arm else 2)
    xen = f"dom0_mem={dom0_mem}M loglvl=warning bootscrub=0 "
    xen += (f"console=dtuart dtuart=/pl011@9000000 dom0_max_vcpus={o.cpus}" if o.arm
            else "console=com1 com1=115200,8n1")
    if o.dom0 == "pvh" and not o.arm:
        xen += " dom0=pvh iommu=debug,verbose"
    if o.bare:
        console = "console=ttyAMA0" if o.arm else "earlyprintk=serial,ttyS0,115200 console=ttyS0"
    else:
        console = "console=hvc0" if o.arm else "earlyprintk=xen console=hvc0"
    linux = f"{console}{'' if o.disk else ' rdinit=/init'} oops=panic panic=1 {o.append}"
    cmd = machine(o, tmp) + o.qemu_arg
    if o.bare:
        return cmd + ["-kernel", o.kernel, "-append", linux, "-initrd", initramfs]
    cmd += ["-kernel", o.xen, "-append", f"{xen} {o.append_xen}"]
    linux = linux.replace(",", ",,")
    if not o.arm:
        return cmd + ["-initrd", f"{o.kernel.replace(',', ',,')} {linux},{initramfs}"]
    # Where QEMU puts the device tree, 0x48000000, nothing else may be.
    return cmd + ["-device", f"guest-loader,addr=0x49000000,kernel={o.kernel},bootargs={linux}",
                  "-device", f"guest-loader,addr=0x50000000,initrd={initramfs}"]


def print_config(arch):
    """The kernel configuration that a guest needs, for merge_config.sh."""
    for name in facts(arch)["FRAGMENTS"].split():
        with open(f"{TOP}/vm/config/{name}.config") as f:
            sys.stdout.write(f.read())
