#!/usr/bin/env python3
"""Tests of vm/run: each fault is injected and must be reported."""

import gzip
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOT = os.environ.get("BUILD_ROOT", os.path.join(TOP, "build"))
IMAGE = os.path.join(ROOT, "x86_64/series/arch/x86/boot/bzImage")


def run(*args, timeout=900):
    return subprocess.run([os.path.join(TOP, "vm/run"), *args], capture_output=True,
                          text=True, timeout=timeout)


class Usage(unittest.TestCase):
    """Bad input: one line that says what is wrong, status 2, no boot."""

    def refused(self, *args, says):
        r = run(*args, timeout=20)
        self.assertEqual(r.returncode, 2, r.stderr)
        self.assertEqual(len(r.stderr.strip().splitlines()), 1, r.stderr)
        self.assertIn(says, r.stderr)

    def test_unknown_option(self):
        self.refused("--no-such", "--", "true", says="--no-such")

    def test_help(self):
        """Every tool says how it is called, and needs nothing for that."""
        for folder in ("vm", "scripts", "bench"):
            for name in sorted(os.listdir(os.path.join(TOP, folder))):
                path = os.path.join(TOP, folder, name)
                if name.endswith(".sh") or os.path.isdir(path) or not os.access(path, os.X_OK):
                    continue
                for option in ("--help", "-h"):
                    r = subprocess.run([path, option], capture_output=True, text=True, timeout=30,
                                       env={**os.environ, "BUILD_ROOT": "/nonexistent"})
                    self.assertEqual((r.returncode, r.stderr), (0, ""), path)
                    self.assertRegex(r.stdout, rf"(?i)\b{folder}/{name}\b|usage: {name}")

    def test_other_tools(self):
        """Wrong options of the others: one line, no boot."""
        for args, says in ((("vm/backends", "--rounds", "x"), "--rounds x"),
                           (("vm/backends", "pvh", "xp"), "xp: neither"),
                           (("vm/restore", "--tree"), "--tree needs a value"),
                           (("vm/restore", "--tree", "no"), "no kernel of no"),
                           (("vm/rootfs", "arm"), "'arm' is no architecture"),
                           (("scripts/build", "linux"), "linux: no such tree"),
                           (("scripts/bisect", "--arch", "arm"), "'arm' is no architecture"),
                           (("scripts/kunit", "x"), "KUNITCONFIG"),
                           (("scripts/check", "--al"), "--al: unknown")):
            r = subprocess.run([os.path.join(TOP, args[0]), *args[1:]], capture_output=True,
                               text=True, timeout=20)
            self.assertIn(r.returncode, (1, 2), args)
            self.assertEqual((r.stdout, len(r.stderr.splitlines())), ("", 1), r.stderr)
            self.assertIn(says, r.stderr)

    def test_no_command(self):
        self.refused(says="no command")

    def test_add_missing_file(self):
        self.refused("--add", "/no/such/file", "--", "true", says="/no/such/file")

    def test_kernel_missing(self):
        self.refused("--kernel", "/no/such/image", "--", "true", says="/no/such/image")

    def test_kernel_is_no_image(self):
        self.refused("--kernel", __file__, "--", "true", says="not an x86 kernel image")

    def test_arm_has_no_pv(self):
        self.refused("--arch", "arm64", "--dom0", "pv", "--", "true", says="no PV domains")

    def test_kernel_of_another_architecture(self):
        self.refused("--arch", "arm64-64k", "--kernel", IMAGE, "--modules", "/", "--", "true",
                     says="not an arm64 kernel image")

    def test_unknown_tree(self):
        self.refused("--tree", "mainline", "--", "true", says="the kernel is missing")

    def test_in_domu_without_domu(self):
        self.refused("--in", "domu", "--domu", "none", "--", "true", says="--domu")

    def test_disk_without_initramfs(self):
        self.refused("--disk", IMAGE, "--", "true", says="--initrd")

    def test_bad_memory(self):
        self.refused("--memory", "lots", "--", "true", says="--memory")

    def test_xen(self):
        with tempfile.TemporaryDirectory() as d:
            self.refused("--xen", "/no/such/xen", "--", "true", says="--xen /no/such/xen")
            self.refused("--xen", IMAGE, "--", "true", says="is no Xen for x86_64")
            with gzip.open(f"{d}/xen.gz", "w") as f:
                f.write(b"no hypervisor")
            self.refused("--xen", f"{d}/xen.gz", "--", "true", says="is no Xen for x86_64")
            with open(f"{d}/xen.gz", "r+b") as f:
                f.truncate(20)
            self.refused("--xen", f"{d}/xen.gz", "--", "true", says="cannot be read")
        self.refused("--xen", "none", "--domu", "pv", "--", "true", says="there is no domU")
        self.refused("--xen", "none", "--in", "domu", "--", "true", says="there is no domU")

    def test_kernel_tree(self):
        with tempfile.TemporaryDirectory() as d:
            self.refused("--kernel", d, "--", "true", says="holds no arch/x86/boot/bzImage")
            os.makedirs(f"{d}/arch/x86/boot")
            os.symlink(IMAGE, f"{d}/arch/x86/boot/bzImage")
            with open(f"{d}/.config", "w") as f:
                f.write("CONFIG_XEN_DOM0=y\nCONFIG_MODULES=y\n")
            self.refused("--kernel", d, "--", "true", says="lacks CONFIG_XEN_GNTDEV, ")
            with open(f"{ROOT}/x86_64/series/.config") as f, open(f"{d}/.config", "w") as to:
                to.write(f.read())
            self.refused("--kernel", d, "--", "true", says="make modules_install failed in")

    def test_options_that_are_refused(self):
        for args, says in ((("--share", "/no/such"), "--share /no/such"),
                           (("--domu-memory", "-1"), "--domu-memory"),
                           (("--domu-cpus", "0"), "--domu-cpus"), (("--gdb", "x"), "--gdb"),
                           (("--log", "/no/such/log"), "--log /no/such/log"),
                           (("--modules", "/no/such"), "/no/such/lib/modules"),
                           (("--selftests", "/no/such"), "the selftests' folder is missing"),
                           (("--arch", "arm64", "--domu", "hvm"), "no HVM domains"),
                           (("--memory", "0G"), "--memory"), (("--retry", "x"), "--retry")):
            self.refused(*args, "--", "true", says=says)

    def test_full_disk(self):
        """A full disk: one line, and nothing half-written is left."""
        if os.getuid():
            self.skipTest("mounting a small file system takes root")
        os.makedirs(f"{TOP}/build/tmp", exist_ok=True)
        r = subprocess.run(["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=5m none "$1" && '
                            '"$0" -- true; s=$?; ls "$1" >&2; exit $s',
                            os.path.join(TOP, "vm/run"), f"{TOP}/build/tmp"],
                           capture_output=True, text=True)
        self.assertEqual(r.returncode, 2, r.stderr)
        self.assertRegex(r.stderr, "^vm/run: .* less than .* MB free.*\n$")

    def test_dry_run(self):
        """It prints a command that can be run: what it names is there."""
        r = run("--dry-run", "--qemu-arg=-name", "--qemu-arg=a b", "--gdb=1235", "--share", TOP)
        self.assertEqual(r.returncode, 0, r.stderr)
        words = shlex.split(r.stdout)
        self.assertEqual(words[words.index("-name") + 1], "a b")
        self.assertEqual(words[words.index("-gdb") + 1], "tcp:localhost:1235")
        self.assertTrue(os.path.exists(words[words.index("-initrd") + 1].rpartition(",")[2]))
        self.assertRegex(r.stderr, "gdb .*/vmlinux -ex 'target remote localhost:1235'")

    def test_print_config(self):
        for arch, symbol in (("x86_64", "XEN_PV=y"), ("arm64-64k", "ARM64_64K_PAGES=y")):
            said = run("--print-config", "--arch", arch).stdout.splitlines()
            self.assertIn("CONFIG_XEN_GNTDEV=m", said)
            self.assertIn(f"CONFIG_{symbol}", said)

    def test_setup_warns_of_other_qemus(self):
        with tempfile.TemporaryDirectory() as d:
            for version, warned in (("7.2.22", False), ("10.0.2", True)):
                with open(f"{d}/qemu-system-x86_64", "w") as f:
                    f.write(f"#!/bin/sh\necho 'QEMU emulator version {version} (Debian 1:1)'\n")
                os.chmod(f"{d}/qemu-system-x86_64", 0o755)
                r = subprocess.run([os.path.join(TOP, "scripts/setup"), "x86_64"],
                                   capture_output=True, text=True,
                                   env={**os.environ, "PATH": f"{d}:{os.environ['PATH']}"})
                self.assertEqual(f"note: QEMU is {version}" in r.stdout, warned, r.stderr)

    def test_no_qemu(self):
        r = subprocess.run([sys.executable, os.path.join(TOP, "vm/run"), "--", "true"],
                           capture_output=True, text=True,
                           env={"PATH": "/nonexistent", "BUILD_ROOT": ROOT})
        self.assertEqual(r.returncode, 2, r.stderr)
        self.assertIn("make setup", r.stderr)


class Fault(unittest.TestCase):
    """A triple fault of a vcpu, which a false QEMU reports."""

    def boots(self, *args):
        """How often QEMU ran, and vm/run's result."""
        with tempfile.TemporaryDirectory() as d:
            with open(f"{d}/qemu-system-x86_64", "w") as f:
                f.write(f"#!/bin/sh\necho >>{d}/ran\necho '(XEN) d0v0 Triple fault'\n")
            os.chmod(f"{d}/qemu-system-x86_64", 0o755)
            r = subprocess.run([os.path.join(TOP, "vm/run"), *args, "--log", f"{d}/log", "--",
                                "true"], capture_output=True, text=True, timeout=60,
                               env={**os.environ, "PATH": f"{d}:{os.environ['PATH']}"})
            with open(f"{d}/ran") as f:
                count = len(f.readlines())
            self.assertEqual(os.path.exists(f"{d}/log.fault1"), count > 1)
        return count, r

    def test_retried(self):
        """Twice, each time said so; then it is a failure like any other."""
        count, r = self.boots("--dom0", "pvh")
        self.assertEqual((count, r.returncode, r.stdout), (3, 125, ""))
        self.assertEqual(r.stderr.count("note: triple fault"), 2)
        self.assertIn("vm/run: the kernel reported: (XEN) d0v0 Triple fault", r.stderr)

    def test_retry_number(self):
        count, r = self.boots("--retry", "1")
        self.assertEqual((count, r.returncode), (2, 125))
        self.assertRegex(r.stdout, "^\n\036AGAIN .*log.fault1\n$")
        self.assertEqual(self.boots("--retry", "0")[0], 1)


class Status(unittest.TestCase):
    def test_output_and_status(self):
        """The command's bytes and its status come through unchanged."""
        r = subprocess.run([os.path.join(TOP, "vm/run"), "--", "sh", "-c",
                            r"printf 'a\001\377b\r\n\036mine\nno newline'; exit 3"],
                           capture_output=True, timeout=200)
        self.assertEqual(r.stdout, b"a\001\xffb\r\n\036mine\nno newline")
        self.assertEqual(r.returncode, 3)

    def test_add_and_arguments(self):
        """--add puts files and folders in place; arguments need no quoting."""
        with tempfile.TemporaryDirectory() as d:
            os.mkdir(f"{d}/folder")
            with open(f"{d}/folder/prog", "w") as f:
                f.write('#!/bin/sh\necho "$1|$2"; exit $3\n')
            os.chmod(f"{d}/folder/prog", 0o755)
            r = run("--add", f"{d}/folder:/opt/x", "--add", f"{d}/folder/prog",
                    "--append", "a=1,2", "--", "sh", "-c",
                    "grep -o a=1,2 /proc/cmdline; /prog 'a b' \"it's\" 0 && /opt/x/prog '' '$x' 7")
        self.assertEqual(r.stdout, "a=1,2\na b|it's\n|$x\n")
        self.assertEqual(r.returncode, 7)

    def test_command_not_found(self):
        self.assertEqual(run("--", "/no/such/program").returncode, 127)

    def test_time_out(self):
        """A command that hangs: 124, with the log's tail, what it had said, and in the
        log what Xen says of it."""
        r = run("--timeout", "90", "--", "sh", "-c", "echo begun; sleep 1000")
        self.assertEqual(r.returncode, 124)
        self.assertEqual(r.stdout, "begun\n")
        self.assertIn("last lines", r.stderr)
        with open(re.search(r"all of it: (.*)\)", r.stderr)[1]) as f:
            log = f.read()
        for said in ("dumping domain info", "dumping event-channel info", "dumping registers",
                     "Dumping timer queues"):
            self.assertIn(said, log)

    def test_interrupt_leaves_nothing(self):
        """^C ends QEMU and removes the temporary files."""
        before = set(os.listdir(f"{TOP}/build/tmp"))
        p = subprocess.Popen([os.path.join(TOP, "vm/run"), "--", "sleep", "1000"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             # a shell's background jobs ignore it
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.addCleanup(p.kill)
        time.sleep(5)
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(20), 130)
        self.assertLessEqual(set(os.listdir(f"{TOP}/build/tmp")), before)


class Bare(unittest.TestCase):
    """--xen none: plain QEMU."""

    def test_selftests_skip(self):
        """Each selftest program says skip and changes nothing."""
        r = run("--xen", "none", "--add", f"{TOP}/vm/tests/bare.sh", "--", "sh", "/bare.sh")
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(f"{ROOT}/x86_64/series/kselftest/kselftest-list.txt") as f:
            names = [line.strip().removeprefix("xen:") for line in f]
        self.assertEqual(r.stdout.splitlines(), [f"ok {n}" for n in [*names, "reported"]])


class Kernel(unittest.TestCase):
    """What happens to the kernel: status 125, the reason, the log's tail."""

    def reported(self, *args, says):
        r = run(*args)
        self.assertEqual(r.returncode, 125, r.stdout + r.stderr)
        self.assertRegex(r.stderr, says)
        self.assertIn("last lines", r.stderr)
        return r

    def test_panic(self):
        start = time.monotonic()
        self.reported("--", "sh", "-c", "echo c >/proc/sysrq-trigger; sleep 300",
                      says="Kernel panic|sysrq|BUG")
        self.assertLess(time.monotonic() - start, 300)

    def test_warning(self):
        """A WARN is a failure though the command succeeds."""
        self.reported("--", "sh", "-c", "modprobe lkdtm && "
                      "echo WARNING >/sys/kernel/debug/provoke-crash/DIRECT; exit 0",
                      says="WARNING: ")

    def test_not_a_xen_kernel(self):
        with open(IMAGE, "rb") as f:
            image = bytearray(f.read())
        image[0x4000:] = bytes(len(image) - 0x4000)     # a header and nothing in it
        with tempfile.NamedTemporaryFile() as f:
            f.write(image)
            f.flush()
            self.reported("--kernel", f.name, "--", "true", says="Xen support")

    def test_domu_does_not_come_up(self):
        self.reported("--domu", "pv", "--append-domu", "rdinit=/no/such init=/no/such",
                      "--", "true", says="domU did not come up|Kernel panic")

    def test_domu_panics(self):
        self.reported("--in", "domu", "--", "sh", "-c",
                      "echo c >/proc/sysrq-trigger; sleep 300", says="BUG|Kernel panic|domU")

    def test_domu_warning(self):
        self.reported("--in", "domu", "--", "sh", "-c", "modprobe lkdtm && "
                      "echo WARNING >/sys/kernel/debug/provoke-crash/DIRECT; exit 0",
                      says=r"\(domU\).*WARNING: ")

    def test_domu_may_crash(self):
        """--domu-may-crash: what it reports then is in the output, and no failure."""
        r = run("--domu", "pv", "--domu-may-crash", "--", "sh", "-c",
                "in-domu sh -c 'echo c >/proc/sysrq-trigger; sleep 300'; exit $((100 + $?))")
        self.assertIn("Kernel panic", r.stdout)
        self.assertEqual(r.returncode, 225, r.stderr)

    def test_domu_may_crash_and_dom0_may_not(self):
        """What dom0 reports counts, be it in the midst of a line of the domU's."""
        r = self.reported("--domu-may-crash", "--", "sh", "-c",
                          "{ echo '(domU) [    1.000000] Kernel panic'; echo "
                          "'(domU) [    1.000000] in its [    2.000000] WARNING: midst'; }"
                          " >/dev/console", says=r"reported: \(domU\).*in its .*midst")
        self.assertNotIn("panic", r.stderr.splitlines()[0])


class Own(unittest.TestCase):
    """A kernel tree, a hypervisor, a folder and a domU of the user's."""

    def test_own(self):
        with tempfile.TemporaryDirectory() as d:
            with open(f"{TOP}/build/xen/xen-x86_64", "rb") as f, gzip.open(f"{d}/x.gz", "w") as to:
                to.write(f.read())
            uuid = "78656e6d-656d-4000-8000-00000000000a"
            r = run("--kernel", f"{ROOT}/x86_64/series", "--xen", f"{d}/x.gz", "--share", d,
                    "--domu", "pv", "--domu-memory", "300", "--domu-cpus", "2",
                    "--domu-config", f'uuid = "{uuid}"', "--", "sh", "-c",
                    "cd /share && ls && echo hello >from-dom0 && modprobe xen-netback && "
                    "xenstore-read /local/domain/$(xl domid domu)/vm && "
                    "in-domu sh -c 'nproc; free -m' | awk 'NR == 1 || /Mem/ { print $1, ($2 > 200) }'")
            self.assertEqual((r.returncode, r.stdout.splitlines()),
                             (0, ["x.gz", f"/vm/{uuid}", "2 0", "Mem: 1"]), r.stderr)
            with open(f"{d}/from-dom0") as f:
                self.assertEqual(f.read(), "hello\n")

    def test_kernel_without_modules(self):
        r = run("--kernel", IMAGE, "--", "true")
        self.assertEqual(r.returncode, 125)
        self.assertIn("vm/run: the kernel has no /dev/xen/gntdev: give its modules", r.stderr)

    def test_xen_of_another_version(self):
        code = ("import common, runpy, sys; real = common.facts; common.facts = lambda name: "
                "{**real(name), 'XEN_VERSION': '4.1'}; sys.argv = ['vm/run', '--', 'true']; "
                f"runpy.run_path('{TOP}/vm/run', run_name='__main__')")
        r = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True,
                           env={**os.environ, "PYTHONPATH": f"{TOP}/vm"}, timeout=400)
        self.assertEqual(r.returncode, 125)
        self.assertRegex(r.stderr, r"Xen is version 4\.\d+, the tools in the root .* are 4\.1:")

    def shell(self, *args):
        """What a shell on the console says."""
        p = subprocess.Popen([os.path.join(TOP, "vm/run"), "--shell", *args],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(p.kill)
        said, end = b"", time.monotonic() + 600
        while not re.search(rb"[/~] # ", said) and time.monotonic() < end:
            if select.select([p.stdout], [], [], 10)[0]:
                data = os.read(p.stdout.fileno(), 4096)
                self.assertTrue(data, said[-2000:])
                said += data
            else:
                p.stdin.write(b"\n")       # for another prompt
                p.stdin.flush()
        out, _ = p.communicate(b"echo /proc/xen/*; echo $((40 + 2)); exit\n", 100)
        self.assertEqual(p.returncode, 0)
        return out.decode(errors="replace")

    def test_shell(self):
        self.assertRegex(self.shell("--in", "domu"), r"/proc/xen/xenbus[^$]*\n42\r*\n")

    def test_shell_without_xen(self):
        self.assertRegex(self.shell("--xen", "none"), r"/proc/xen/\*\r*\n42\r*\n")


class Domu(unittest.TestCase):
    def test_disk_and_network(self):
        """The domU has a disk and a network that dom0 serves."""
        r = run("--in", "domu", "--", "sh", "-c",
                "cat /sys/hypervisor/type && ping -c 1 10.77.0.1 >/dev/null && "
                "echo hello >/dev/xvda && sync && head -c 5 /dev/xvda && exit 6")
        self.assertEqual(r.stdout, "xen\nhello")
        self.assertEqual(r.returncode, 6)

    def test_silent_domu(self):
        """A domU that hangs is destroyed, with its kernel's last words in the log."""
        r = run("--domu", "pv", "--", "sh", "-c", "SILENT=10 in-domu sleep 1000 || echo $?")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(r.stdout.splitlines()[-1], "125")
        self.assertIn("the domU has said nothing for 10 seconds", r.stdout)
        self.assertIn("sysrq: Show Blocked State", r.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
