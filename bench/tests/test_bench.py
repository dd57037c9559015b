#!/usr/bin/env python3
"""Tests of bench/run and bench/report, without a guest: python3 bench/tests/test_bench.py"""
import base64
import importlib.machinery
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stderr, redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

BENCH = Path(__file__).resolve().parents[1]
KNOWN = json.loads((BENCH / "targets.json").read_text())
TMP = tempfile.TemporaryDirectory()
NO_GNUPLOT = Path(TMP.name, "empty")
NO_GNUPLOT.mkdir()


def load(name):
    """A script of bench/ as a module."""
    loader = importlib.machinery.SourceFileLoader("bench_" + name, str(BENCH / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


sys.dont_write_bytecode = True
sys.path.insert(0, str(BENCH))
RUN, REPORT = load("run"), load("report")


def row(variant, case, n, metric, value, spread=0):
    return {"case": case, "n": n, "variant": variant, "metric": metric, "unit": "1",
            "value": value, "spread": spread}


def p2m(ram=12, identity=560):
    return [row(*r) for r in (
        ("base", "ram", 64, "instructions", 12 * 64),
        ("series", "ram", 64, "instructions", ram * 64),
        ("base", "identity", 64, "instructions", 582 * 64),
        ("series", "identity", 64, "instructions", identity * 64, 8))]


UNMAP = [row(*r) for r in (
    ("series", "held-back", 512, "pages", 0), ("base", "held-back", 512, "pages", 511),
    ("base", "release-to-unmap", 10, "p99_ms", 23.7),
    ("series", "release-to-unmap", 10, "p99_ms", 20.5, 3.2),
    ("base", "release-to-unmap", 100, "p99_ms", 45.4),
    ("series", "release-to-unmap", 100, "p99_ms", 12.25))]


class Page(HTMLParser):
    """Checks that elements nest; gathers the text of each table row, and the images."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.images, self.ids, self.links = [], [], [], set(), set()
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get("id"))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "img":
            self.images.append(attrs)
        if tag == "a":
            self.links.add(attrs["href"])
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


class Case(unittest.TestCase):
    def setUp(self):
        self.root = Path(tempfile.mkdtemp(dir=TMP.name))
        self.out = self.root / "bench"
        self.out.mkdir()

    def put(self, name, rows, **meta):
        (self.out / f"{name}.json").write_text(json.dumps(rows))
        if meta:
            (self.out / f"{name}.meta.json").write_text(json.dumps(meta))

    def report(self, gnuplot=False, status=None):
        """What is printed, and the page."""
        path = os.environ["PATH"] if gnuplot else str(NO_GNUPLOT)
        said = io.StringIO()
        with mock.patch.object(REPORT, "ROOT", str(self.root)), \
                mock.patch.object(sys, "argv", ["bench/report"]), \
                mock.patch.dict(os.environ, PATH=path), \
                redirect_stdout(said), redirect_stderr(said):
            got = REPORT.main()
        self.assertIn(got, (0, 1) if status is None else (status,))
        self.text = (self.out / "report.html").read_text()
        return said.getvalue(), Page(self.text)

    def found(self, page, *words):
        """The one row of the page that has all these words, as cells."""
        rows = [r for r in page.rows if all(any(w in cell for cell in r) for w in words)]
        self.assertEqual(len(rows), 1, rows)
        return rows[0]


class Report(Case):
    def test_nothing_measured(self):
        said, page = self.report(status=0)
        count = sum(len(t["n"]) for t in KNOWN["targets"])
        self.assertIn(f"targets: {count} not measured\n", said)
        for name in KNOWN["parts"]:
            self.assertIn([name, "not measured", "–", "–", "–"], page.rows)
            self.assertRegex(self.text, rf"make bench (ARCH=\S+ )?PART={name}<")
        self.assertNotIn("met</td>", self.text)

    def test_targets_met_and_missed(self):
        self.put("p2m", p2m())
        self.put("async-unmap", UNMAP)
        said, page = self.report(status=1)
        self.assertIn("| p2m | ram: instructions | 64 frames | 768 | 768 | 1.000 | "
                      "at most 1.00 of base | met |\n", said)
        self.assertRegex(said, r"targets: 4 met, 1 MISSED, \d+ not measured\n")
        self.assertEqual(self.found(page, "20 ms of its last use", "10 ms in use")[2:7],
                         ["23.70 ms", "20.50 ± 1.60 ms", "20.50 ms", "at most 20 ms", "MISSED"])
        self.assertIn("met", self.found(page, "20 ms of its last use", "100 ms in use"))
        self.assertIn("not measured", self.found(page, "20 ms of its last use", "1,000 ms in use"))
        self.assertEqual(self.found(page, "holds back none")[2:7],
                         ["511", "0", "0", "at most 0", "met"])
        self.assertEqual(self.found(page, "memory in 12")[2:5], ["76812 per frame"] * 2 + ["1.000"])
        self.assertIn("MISSED (at most 20 ms)", self.found(page, "MISSED (", "23.70"))
        # words, not only colours
        cells = re.findall('<td class="missed">(.*?)</td>', self.text)
        self.assertEqual(["MISSED" in cell for cell in cells], [True] * 2)

    def test_script(self):
        self.assertTrue(os.access(BENCH / "report", os.X_OK))
        self.put("p2m", p2m(ram=13))
        for args, status in ((), 1), (("--help",), 0), (("p2m",), 2):
            r = subprocess.run([sys.executable, "-B", BENCH / "report", *args], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env=dict(os.environ, BUILD_ROOT=self.root))
            self.assertEqual(r.returncode, status)
            self.assertIn("report.html", r.stdout)

    def test_bounds_of_ratios(self):
        for ram, verdict in ((12.005, "met"), (12.02, "MISSED")):
            self.put("p2m", p2m(ram=ram))
            self.assertIn(verdict, self.found(self.report()[1], "memory in 12"))

    def test_base_is_zero(self):
        rows = p2m()
        for r in rows:
            if r["variant"] == "base":
                r["value"] = 0
        rows[1]["value"] = 0
        self.put("p2m", rows)
        said, page = self.report()
        self.assertEqual(self.found(page, "memory in 12")[4:7],
                         ["base is 0", "at most 1.00 of base", "not comparable"])
        self.assertEqual(self.found(page, "shared identity in")[4:7],
                         ["base is 0", "at most 1.00 of base", "MISSED"])

    def test_sum_of_cases_needs_all(self):
        rows = [row(v, c, 512, "instructions", x, 4) for v, x in (("base", 1000), ("series", 900))
                for c in ("map", "munmap", "close")]
        self.put("grant-unmap", rows)
        line = self.found(self.report()[1], "map+munmap+close", "512 pages")
        self.assertEqual(line[2:7], ["3,0005.86 per page", "2,7005.27 per page", "0.900",
                                     "at most 1.00 of base", "met"])
        self.put("grant-unmap", rows[:-1])
        line = self.found(self.report()[1], "map+munmap+close", "512 pages")
        self.assertIn("not measured", line[6])

    def test_other_variants_stand_between(self):
        rows = [row(v, "map", 512, "memory_ops", x)
                for v, x in (("series", 1), ("batch16", 32), ("base", 512))]
        self.put("foreign-map-pvh", rows)
        page = self.report()[1]
        self.assertEqual(self.found(page, "batch16", "series/base")[1:],
                         ["base", "batch16", "series", "series/base", "target"])
        self.assertEqual(self.found(page, "0.062 per frame")[1:],
                         ["5121 per frame", "320.062 per frame", "10.002 per frame", "0.002",
                          "met (at most 4)"])

    def test_metadata_is_of_the_measurement(self):
        self.put("p2m", p2m(), when="2026-01-02 03:04:05 UTC", seconds=7, command="make <p2m>",
                 boots=["vm/run a && b"], facts={"QEMU": "7", "cores": 2})
        self.put("async-unmap", UNMAP, facts={"QEMU": "10", "cores": 2})
        self.put("walker", [], failed="vm/run ended <badly>", when="x", facts={"QEMU": "none"})
        page = self.report()[1]
        self.assertEqual(self.found(page, "2026-01-02 03:04:05"),
                         ["p2m", "measured", "2026-01-02 03:04:05 UTC", "7 s", "make <p2m>"])
        self.assertEqual(self.found(page, "QEMU"), ["QEMU", "7 (p2m)10 (async-unmap)"])
        self.assertEqual(self.found(page, "cores"), ["cores", "2"])
        self.found(page, "walker", "failed: vm/run ended <badly>")
        self.assertIn("vm/run a &amp;&amp; b", self.text)
        self.assertNotIn("<badly>", self.text)

    def test_files_that_cannot_be_read(self):
        self.put("p2m", p2m())
        for text in ("[", "{}", "7", '[{"case": "map"}]', "[1]",
                     json.dumps([row("base", "map", 0, "instructions", 1)]),
                     json.dumps([row("base", "map", 1, "unheard_of", 1)]),
                     json.dumps([row("base", "map", "1", "instructions", 1)]),
                     json.dumps([row("base", "map", 1, "instructions", float("nan"))])):
            with self.subTest(text=text):
                (self.out / "walker.json").write_text(text)
                page = self.report()[1]
                self.found(page, "p2m", "measured", "not recorded")
                self.found(page, "walker", "not measured" if text == "{}" else "can't be read")

    def test_page(self):
        self.put("p2m", p2m())
        page = self.report()[1]
        self.assertNotRegex(self.text, r"(?i)<script|https?://|<link|src=\"(?!data:)")
        self.assertLessEqual({link[1:] for link in page.links}, page.ids)
        self.assertIn('<html lang="en">', self.text)
        self.assertEqual(self.text.count("<table"), self.text.count("<caption"))

    def test_no_gnuplot(self):
        self.put("p2m", p2m())
        (self.out / "p2m.png").write_text("of another time")
        said, page = self.report()
        self.assertIn("bench/report: p2m: no plot: gnuplot is missing", said)
        self.assertIn("No plot: gnuplot is missing", self.text)
        self.assertEqual(page.images, [])
        self.assertFalse((self.out / "p2m.png").exists())

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is missing")
    def test_plots(self):
        walk = [row(v, "walk", n, m, x * n) for v, x in (("base", 9), ("series-per-pte", 9),
                                                         ("series", 3)) for n in (1, 16, 512)
                for m in ("instructions", "callbacks")]
        self.put("walker", walk)
        self.put("async-unmap", UNMAP + [row("series", "crowd", 100000, "cpu_percent", 0)])
        zero = [row(v, c, n, "mmu_updates", 0) for v in ("base", "series") for n in (1, 16)
                for c in ("map", "unmap")]
        self.put("foreign-map", zero)
        said, page = self.report(gnuplot=True)
        self.assertNotIn("no plot", said)
        self.assertEqual([image["alt"].split(":")[0] for image in page.images],
                         ["Plots of foreign-map", "Plots of walker", "Plots of async-unmap"])
        for image, name in zip(page.images, ("foreign-map", "walker", "async-unmap")):
            png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
            self.assertEqual(png[:8], b"\x89PNG\r\n\x1a\n")
            self.assertEqual(png, (self.out / f"{name}.png").read_bytes())

    def test_gnuplot_that_fails(self):
        tools = self.root / "tools"
        tools.mkdir()
        (tools / "gnuplot").write_text("#!/bin/sh\necho no such terminal\nexit 1\n")
        (tools / "gnuplot").chmod(0o755)
        self.put("p2m", p2m())
        with mock.patch.dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}"):
            said, _ = self.report(gnuplot=True, status=1)
        self.assertIn("p2m: no plot: gnuplot: no such terminal", said)

    def test_targets_name_what_is_measured(self):
        self.assertEqual(list(KNOWN["parts"]), list(RUN.PARTS))
        for name, about in KNOWN["parts"].items():
            self.assertEqual(about.get("arch", "x86_64"), RUN.arch_of(name))
        for t in KNOWN["targets"] + KNOWN["elsewhere"]:
            self.assertTrue(t["source"])
            for words in t["source"]:
                if words not in ("cover letter", "required"):
                    self.assertTrue(REPORT.source(words).startswith("patch "), words)
            self.assertIn(t.get("part", "p2m"), KNOWN["parts"])


class Run(Case):
    def bench(self, *args, **samples):
        """bench/run with what vm/run would print; (status, what it said)."""
        def vm_run(tree, files, command, *options):
            for word, lines in samples.items():
                if word in command:
                    if isinstance(lines, BaseException):
                        raise lines
                    return [line.split() for line in lines[tree].splitlines()]
            raise RUN.Failed("vm/run ended with status 125")

        said = io.StringIO()
        calls = []
        real = subprocess.run
        with mock.patch.multiple(RUN, ROOT=str(self.root), run=vm_run,
                                 facts=lambda arch: {"a": arch}, build=lambda *a: "program",
                                 build_module=lambda *a: "module"), \
                mock.patch.object(sys, "argv", ["bench/run", *args]), \
                mock.patch.object(subprocess, "run",
                                  lambda cmd, **kw: calls.append(cmd) or real(["true"])), \
                redirect_stdout(said), redirect_stderr(said):
            try:
                status = RUN.main()
            except SystemExit as e:
                status = e.code
        self.reports = [os.path.basename(cmd[0]) for cmd in calls].count("report")
        return status, said.getvalue()

    def test_a_part_that_fails_loses_no_other(self):
        (self.out / "walker.json").write_text("[]")
        good = "ram 64 800 0\nram 64 802 0\nram 64 804 0"
        status, said = self.bench("walker", "p2m", walker={"base": "each 1 x 1"},
                                  p2m={"base": good, "series": good.replace("80", "70")})
        self.assertEqual((status, self.reports), (1, 1))
        rows = json.loads((self.out / "p2m.json").read_text())
        self.assertEqual(rows[1], row("series", "ram", 64, "instructions", 702, 4))
        self.assertEqual(json.loads((self.out / "p2m.meta.json").read_text())["facts"],
                         {"a": "x86_64"})
        self.assertFalse((self.out / "walker.json").exists())
        meta = json.loads((self.out / "walker.meta.json").read_text())
        self.assertIn("ValueError", meta["failed"])
        self.assertTrue(said.endswith("bench/run: failed: walker\n"), said)
        self.assertIn("== part 2 of 2: p2m\n", said)

    def test_what_fails(self):
        for why, samples in (("no samples of base", {"base": ""}),
                             ("no samples of series", {"base": "ram 64 800 0", "series": ""}),
                             ("it broke", RUN.Failed("it broke"))):
            status, said = self.bench("p2m", p2m=samples)
            self.assertEqual((status, self.reports), (1, 1))
            self.assertIn(f"== p2m: failed: {why} (", said)

    def test_all_goes_well(self):
        lines = "fast-path 1 9 0\nheld-back 512 0 0\ncpu 0 500 0\ncpu 100 2500 0\n" + "".join(
            f"release-to-unmap 10 {ms}000000 0\n" for ms in range(1, 101))
        status, said = self.bench("async-unmap", async_unmap={"base": lines, "series": lines})
        self.assertEqual(status, 0, said)
        rows = {(r["case"], r["metric"]): r for r in json.loads(
            (self.out / "async-unmap.json").read_text()) if r["variant"] == "series"}
        # it ran twice, with count and with time
        self.assertEqual(rows["crowd", "cpu_percent"]["value"], 2)
        self.assertEqual(rows["release-to-unmap", "p99_ms"]["value"], 99)
        self.assertEqual(rows["release-to-unmap", "p50_ms"]["value"], 50.5)
        self.assertGreater(rows["release-to-unmap", "p50_ms"]["spread"], 45)
        self.assertEqual(self.report()[1].rows[0][0], "part")

    def test_what_vm_run_prints(self):
        (self.root / "vm").mkdir()
        script = self.root / "vm/run"
        script.write_text("#!/bin/sh\necho a 1 2 0\n[ $2 = series ]\n")
        script.chmod(0o755)
        with mock.patch.multiple(RUN, TOP=str(self.root), BOOTS=[]):
            self.assertEqual(RUN.run("series", ["f"], "a b", "--icount"), [["a", "1", "2", "0"]])
            self.assertEqual(RUN.BOOTS,
                             ["vm/run --tree series --icount --add f -- sh -c 'a b'"])
            with self.assertRaisesRegex(RUN.Failed, "vm/run on base ended with status 1"):
                RUN.run("base", [], "a b")

    def test_facts(self):
        facts = RUN.facts("x86_64")
        self.assertIn(str(os.cpu_count()), str(facts["host's cores"]))
        self.assertRegex(facts["host's memory"], r"^\d+\.\d GiB$")
        with mock.patch.multiple(RUN, TOP=str(self.root), ROOT=str(self.root)):
            (self.root / "build/xen").mkdir(parents=True)
            (self.root / "build/xen/xen-arm64").write_bytes(b"x\0004.20.3+127-gc4+deb13u1\0y")
            facts = RUN.facts("arm64-64k")
        self.assertEqual(facts["Xen"], "4.20.3+127-gc4+deb13u1")
        self.assertIn("unknown", facts["base kernel"])

    def test_arguments(self):
        for args, said in ((("nothing",), "no part nothing (there is: foreign-map, "),
                           (("--help", "p2m"), "no part --help"),
                           (("--check",), "needs an architecture"),
                           (("--check", "arm64", "p2m"), "p2m is for ARCH=x86_64, not arm64")):
            status, output = self.bench(*args)
            self.assertEqual((status, self.reports), (2, 0))
            self.assertIn(said, output)
        self.assertEqual(self.bench("--check", "x86_64", "p2m"), (0, ""))
        self.assertEqual(self.bench("--help")[0], 0)


if __name__ == "__main__":
    unittest.main()
