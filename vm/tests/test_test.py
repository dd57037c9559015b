#!/usr/bin/env python3
"""Tests of vm/test: most with a false vm/run, one with faulty programs in a guest."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from unittest import mock
from xml.etree import ElementTree as ET

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOT = os.environ.get("BUILD_ROOT", os.path.join(TOP, "build"))
sys.path.insert(0, os.path.join(TOP, "vm"))
loader = importlib.machinery.SourceFileLoader("vm_test", os.path.join(TOP, "vm/test"))
VM = importlib.util.module_from_spec(importlib.util.spec_from_loader("vm_test", loader))
loader.exec_module(VM)

FIRST = """printf '\\036PLACE dom0\\n'; printf '\\036TEST xen/a\\n'; echo 'TAP version 13'; echo 1..2
echo '#  RUN           a.one ...'; sleep 1; echo 'ok 1 a.one'
echo '#  RUN           a.two ...'; echo '# a.c:7:two:Expected 1 == 2'; echo 'not ok 2 a.two'
printf '\\036DONE xen/a 1\\n'; """
SECOND = """printf '\\036TEST xen/b\\n'; echo 'TAP version 13'; echo '1..0 # SKIP why not'
printf '\\036DONE xen/b 4\\n'; """
GOOD = "printf '\\036PLACE dom0\\n'; printf '\\036TEST xen/a\\n'; echo 'TAP version 13'; " \
    "echo 1..1; echo 'ok 1 a.one'; printf '\\036DONE xen/a 0\\n'; "
# as kselftest_harness.h prints with -l
LISTED = """if [ "$1" = -l ]; then printf '# FIXTURE  VARIANT TEST\\na                  one\\n'
printf '                   two\\n-----\\n'; fi >&2"""


class Fake(unittest.TestCase):
    """vm/test with a script in place of vm/run."""

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        os.makedirs(f"{self.dir}/t/xen")
        with open(f"{self.dir}/t/kselftest-list.txt", "w") as f:
            f.write("xen:a\nxen:b\n")
        for name in "ab":
            with open(f"{self.dir}/t/xen/{name}", "w") as f:
                f.write("#!/bin/sh\n" + LISTED)
            os.chmod(f"{self.dir}/t/xen/{name}", 0o755)
        VM.Config.faults = []

    def said(self, script, *args, status=0):
        """What vm/test prints; the commands it runs are in self.commands."""
        out = io.StringIO()
        self.commands = []
        real = VM.Config.command

        def command(config, log):
            self.commands.append(real(config, log))
            with open(log, "w"):
                pass
            return ["sh", "-c", script]

        with mock.patch.object(VM.Config, "command", command), \
                mock.patch.object(VM, "ROOT", self.dir), contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(out), \
                mock.patch.object(sys, "argv", ["vm/test", "--selftests", f"{self.dir}/t",
                                                "--results", self.dir, *args]):
            try:
                got = VM.main()
            except SystemExit as e:
                got = e.code
        self.assertEqual(int(got), status, out.getvalue())
        return out.getvalue()

    def junit(self, guest="pv-dom0"):
        return {(e.get("classname"), e.get("name")): e
                for e in ET.parse(f"{self.dir}/{guest}.xml").getroot()}

    def test_results(self):
        said = self.said(FIRST + SECOND, "a", "b", status=1)
        self.assertEqual(said.splitlines()[-1], "1 passed, 1 failed, 1 skipped")
        self.assertIn("failed: pv-dom0 xen/a a.two: a.c:7:two:Expected 1 == 2", said)
        self.assertIn("skipped: pv-dom0 xen/b: 1 × why not", said)
        self.assertNotIn("\033", said)
        with open(f"{self.dir}/pv-dom0.json") as f:
            got = {r["case"]: r for r in json.load(f)}
        self.assertTrue(0.8 < got["a.one"]["seconds"] < 5, got)
        e = self.junit()
        self.assertEqual(e["xen/a", "a.two"].find("failure").get("message"),
                         got["a.two"]["reason"])
        self.assertGreater(float(e["xen/a", "a.one"].get("time")), 0.8)

    def test_colour(self):
        with mock.patch.object(VM.Screen, "colour", True):
            self.assertIn("\033[31m  failed: ", self.said(FIRST + SECOND, "a", "b", status=1))

    def test_verbose_does_not_dead_lock(self):
        """More on standard error than a pipe holds, before all of the output."""
        said = self.said("yes console | head -n 30000 >&2; " + GOOD, "--verbose", "a")
        self.assertEqual(said.count("pv: console"), 30000)

    def test_triple_faults(self):
        """Two are reported and void what came before them; a third one fails the run."""
        fault = "echo 'vm/run: note: triple fault of a vcpu' >&2; printf '\\036AGAIN log\\n'; "
        said = self.said(FIRST + fault + fault + GOOD, "a")
        self.assertEqual(said.splitlines()[-1],
                         "1 passed, 0 failed, 2 skipped (2 triple faults retried)")
        self.assertIsNotNone(self.junit()["boot", "triple-fault-2"].find("skipped"))
        self.assertEqual(self.commands[0][self.commands[0].index("--") - 1], "--retry=2")
        said = self.said(fault + GOOD, "a", status=1)
        self.assertTrue(said.endswith("1 passed, 1 failed, 0 skipped (3 triple faults retried)\n"))
        self.assertIsNotNone(self.junit()["boot", "triple-fault-3"].find("failure"))

    def test_failed(self):
        """--failed runs the cases that failed, by name."""
        self.assertIn("has no earlier run", self.said("", "--failed", status=2))
        self.said(FIRST + SECOND, "a", "b", status=1)
        self.said(GOOD, "--failed")
        self.assertIn("run-selftests xen/a:a.two |", self.commands[0][-1])
        self.assertEqual(self.said("exit 1", "--failed"), "nothing failed in the last run\n")

    def test_repeat(self):
        self.said(GOOD + GOOD, "--repeat", "2", "a:*one", "--without", "b")
        self.assertIn("run-selftests xen/a:a.one xen/a:a.one |", self.commands[0][-1])

    def test_options_of_vm_run(self):
        """They reach vm/run, each as it was given."""
        self.said(GOOD, "--memory=4G", "--qemu-arg=-s", "--qemu-arg=-S", "--append", "x y", "--xen",
                  "/some/xen", "a")
        for arg in ("--memory=4G", "--qemu-arg=-s", "--qemu-arg=-S", "--xen=/some/xen",
                    "--append=x y"):
            self.assertIn(arg, self.commands[0])
        self.assertNotIn("--kunit", self.commands[0])
        self.said("exit 1", "--configs", "pv", status=1)
        self.assertIn("--kunit", self.commands[0])

    def test_logs_are_kept(self):
        """Each boot has a log of its own, with the run's id in its name."""
        self.said(GOOD, "a")
        log = self.commands[0][self.commands[0].index("--log") + 1]
        self.assertRegex(log, r"/logs/test-\d{8}-\d{6}-\d+-pv-1\.log$")

    def test_list(self):
        self.assertEqual(self.said("", "--list"), "a:a.one\na:a.two\nb:a.one\nb:a.two\n")
        self.assertEqual(self.said("", "--list", "?:*two", "--without", "a"), "b:a.two\n")

    def test_no_domu(self):
        """Cases that need no peer boot without a domU."""
        with mock.patch.object(VM, "selected", lambda o: {"xen/a": ("a.local.one",)}):
            for args, without in (((), True), (("--places", "dom0,domu"), False)):
                self.said("exit 1", "a:x", *args, status=1)
                self.assertEqual("none" in self.commands[0], without)
        self.said("exit 1", "a:*one", status=1)
        self.assertNotIn("none", self.commands[0])

    def test_long(self):
        """The long programs run by name or with --long."""
        with mock.patch.object(VM, "LONG", {"a"}):
            for args, runs in (((), "xen/b"), (("--long",), "xen/a xen/b"), (("a",), "xen/a")):
                self.said("exit 1", "--configs", "pv", "--places", "dom0", *args, status=1)
                self.assertIn(f"run-selftests {runs} |", self.commands[0][-1])

    def test_kunit(self):
        """The kernel's KTAP, with times of its log."""
        config = VM.Config("pv", mock.Mock(tests=[]), [])
        with open(f"{self.dir}/log", "w") as f:
            f.writelines(f"[   9.00] {line}\n" for line in (
                "(XEN) Xen version", "[    1.000000] KTAP version 1", "[    1.000001] 1..1",
                "[    1.000100]     KTAP version 1", "[    1.000200]     # Subtest: s",
                "[    1.000300]     1..2", "[    1.100000]     ok 1 a",
                "(domU) [    1.000000] ok 7 x", "[    1.600000]     ok 2 b",
                "[    1.600001] # s: pass:2 fail:0 skip:0 total:2", "[    1.600002] ok 1 s"))
        config.kunit(f"{self.dir}/log")
        self.assertEqual([tuple(r) for r in config.guests["dom0"].results],
                         [("s", "a", "passed", "", 0.1), ("s", "b", "passed", "", 0.5)])

    def test_usage(self):
        for args, says in ((("c",), "no test matches c"), (("a:c",), "no test matches a:c"),
                           (("--without", "c"), "--without c"), (("--configs", "x"), "--configs"),
                           (("--places", "x"), "--places"), (("--no-such",), "--no-such"),
                           (("--repeat", "0"), "--repeat"), (("--failed", "a"), "--failed"),
                           (("--selftests", "/no/such"), "/no/such holds no selftests")):
            said = self.said("exit 1", *args, status=2)
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertIn(says, said)


class Guest(unittest.TestCase):
    """Faulty test programs: each is a failure, and the next one runs."""

    PROGRAMS = {
        "good": "echo 'TAP version 13'; echo 1..1; echo 'ok 1 good.case'",
        "dies": "echo 'TAP version 13'; kill -SEGV $$",
        "fails": "echo 'TAP version 13'; echo 1..1; echo '# f.c:7:case:Expected 1 == 2'; "
                 "echo 'not ok 1 bad.case'; exit 1",
        # what stays mapped behind its back
        "keeps": "./gntshare --to 0 --count 3 </dev/null >/tmp/p 2>&1 & "
                 "until [ -s /tmp/p ]; do sleep 0.1; done; "
                 "./gntmap --read --hold 99 $(cat /tmp/p) >/tmp/m 2>&1 & "
                 "until [ -s /tmp/m ]; do sleep 0.1; done; "
                 "echo 'TAP version 13'; echo 1..1; echo 'ok 1 keeps.case'",
        "short": "echo 'TAP version 13'; echo 1..2; echo 'ok 1 short.case'; exit 0",
        # -l prints what kselftest_harness.h does; two of the four cases panic
        "panics": "if [ \"$1\" = -l ]; then printf '# FIXTURE  VARIANT TEST\\np                  one\\n"
                  "                   two\\n                   three\\n                   four\\n-----\\n' "
                  ">&2; exit; fi; panic() { echo \"#  RUN           p.$1 ...\"; sleep 1; "
                  "echo c >/proc/sysrq-trigger; sleep 99; }; echo 'TAP version 13'; echo 1..4; "
                  "case \"$*\" in *three*) panic three;; *four*) ;; *) "
                  "echo '#  RUN           p.one ...'; echo 'ok 1 p.one'; panic two;; "
                  "esac; echo 'ok 1 p.four'",
        "warns": "echo 'TAP version 13'; echo 1..1; modprobe lkdtm; "
                 "echo WARNING >/sys/kernel/debug/provoke-crash/DIRECT; echo 'ok 1 w.case'",
        "last": "echo 'TAP version 13'; echo 1..1; echo 'ok 1 last.case # SKIP because'",
    }

    def test_faults(self):
        with tempfile.TemporaryDirectory() as d:
            os.makedirs(f"{d}/t/xen")
            with open(f"{d}/t/kselftest-list.txt", "w") as f:
                f.writelines(f"xen:{name}\n" for name in self.PROGRAMS)
            for name, body in self.PROGRAMS.items():
                with open(f"{d}/t/xen/{name}", "w") as f:
                    f.write("#!/bin/sh\n" + body + "\n")
                os.chmod(f"{d}/t/xen/{name}", 0o755)
            for name in ("gntshare", "gntmap"):
                shutil.copy(f"{ROOT}/x86_64/series/kselftest/xen/{name}", f"{d}/t/xen")
            r = subprocess.run([os.path.join(TOP, "vm/test"), "--configs", "pv", "--results", d,
                                "--places", "dom0", "--no-domu", "--selftests", f"{d}/t"],
                               capture_output=True, text=True, timeout=600)
            with open(f"{d}/pv-dom0.json") as f:
                said = {(e["suite"].removeprefix("xen/"), e["case"]): e
                        for e in json.load(f) if e["suite"].startswith("xen/")}
            got = {case: e["status"] for case, e in said.items()}
        self.assertEqual(r.returncode, 1, r.stdout + r.stderr)
        self.assertEqual(got.get(("good", "good.case")), "passed", r.stdout)
        self.assertEqual(got.get(("dies", "exit")), "failed", r.stdout)
        self.assertEqual(got.get(("fails", "bad.case")), "failed", r.stdout)
        self.assertEqual(said["fails", "bad.case"]["reason"], "f.c:7:case:Expected 1 == 2")
        self.assertEqual(got.get(("keeps", "keeps.case")), "passed", r.stdout)
        self.assertEqual(got.get(("keeps", "grants-left")), "failed", r.stdout)
        self.assertNotIn(("good", "grants-left"), got)
        self.assertIn("failed", [s for (p, _), s in got.items() if p == "short"])
        self.assertEqual(got.get(("panics", "p.one")), "passed", r.stdout)
        self.assertEqual(got.get(("panics", "p.two")), "failed", r.stdout)
        # with the console's last lines, where scripts/check finds them
        self.assertRegex(said["panics", "p.two"]["reason"], r"\n    \| .*Kernel panic")
        self.assertRegex(r.stdout, r"\n    \| .*Kernel panic")
        self.assertEqual(got.get(("panics", "p.three")), "failed", r.stdout)
        self.assertEqual(got.get(("panics", "p.four")), "passed", r.stdout)
        self.assertEqual(got.get(("warns", "kernel-report")), "failed", r.stdout)
        self.assertEqual(got.get(("last", "last.case")), "skipped", r.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
