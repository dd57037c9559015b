"""The tests that there are, and their results: from KTAP to JSON and JUnit XML. Used by vm/test."""

import fnmatch
import io
import json
import os
import re
import subprocess
import sys
from typing import NamedTuple
from xml.etree import ElementTree as ET

from common import ROOT, fail

sys.path.insert(0, os.path.join(ROOT, "linux/tools/testing/kunit"))

RUN = re.compile(r"#  RUN +(\S+)")
ENDED = re.compile(r"\s*(?:not )?ok \d+ (?:- )?(\S+)")
SAID = re.compile(r"\s*#\s+(\S+\.[ch]:\d+:.*|.* terminated by .*)")
STATES = ("passed", "failed", "skipped")


class Result(NamedTuple):
    suite: str
    case: str
    status: str
    reason: str = ""
    seconds: float = 0


def durations(lines, stamps):
    """{case: seconds}, from when each line came."""
    found, last = {}, stamps[0] if stamps else 0
    for line, stamp in zip(lines, stamps):
        ended = ENDED.match(line)
        if ended:
            found[ended[1]] = round(stamp - last, 2)
        if ended or RUN.match(line):
            last = stamp
    return found


class Guest:
    """The results of one guest."""

    def __init__(self, name):
        self.name = name
        self.results = []

    def add(self, suite, case, status, reason="", seconds=0):
        self.results.append(Result(suite, case, status, reason, seconds))

    def parse(self, suite, lines, stamps=()):
        """Adds the cases of one KTAP output; returns their number."""
        import kunit_parser
        from kunit_printer import Printer
        test = kunit_parser.parse_run_tests(lines, Printer(print=False, output=io.StringIO()))
        count = len(self.results)
        self.leaves(suite, test, durations(lines, stamps))
        return len(self.results) - count

    def leaves(self, suite, test, took):
        from kunit_parser import TestStatus
        names = {TestStatus.SUCCESS: "passed", TestStatus.SKIPPED: "skipped"}
        for t in test.subtests:
            if t.subtests:
                self.leaves(t.name or suite, t, took)
                continue
            status = names.get(t.status, "failed")
            said = [m[1] for m in map(SAID.match, t.log) if m]
            reason = "; ".join(dict.fromkeys(said)) if status == "failed" else t.skip_reason
            self.add(suite, t.name, status, reason, took.get(t.name, 0))

    def count(self, status):
        return sum(r.status == status for r in self.results)

    def summary(self):
        return ", ".join(f"{self.count(s)} {s}" for s in STATES)

    def write(self, folder):
        path = os.path.join(folder, self.name)
        with open(path + ".json", "w") as f:
            json.dump([r._asdict() for r in self.results], f, indent=1)
        root = ET.Element("testsuite", name=self.name, tests=str(len(self.results)),
                          failures=str(self.count("failed")), skipped=str(self.count("skipped")),
                          time=f"{sum(r.seconds for r in self.results):.2f}")
        for r in self.results:
            e = ET.SubElement(root, "testcase", classname=r.suite, name=r.case,
                              time=f"{r.seconds:.2f}")
            if r.status != "passed":
                ET.SubElement(e, "failure" if r.status == "failed" else "skipped",
                              message=re.sub(r"[^\t\n -~]", "?", r.reason))
        ET.ElementTree(root).write(path + ".xml", encoding="utf-8", xml_declaration=True)


def installed(selftests):
    """The installed test programs, as FOLDER/NAME."""
    try:
        with open(os.path.join(selftests, "kselftest-list.txt")) as f:
            return [line.strip().replace(":", "/", 1) for line in f if line.strip()]
    except OSError:
        return fail("vm/test", f"{selftests} holds no selftests (make kernel)")


def cases_of(selftests, program):
    """All the cases of a test program, as its -r option takes them: -l prints
    blocks with a column each of fixture, variants and tests."""
    out = subprocess.run([os.path.join(selftests, program), "-l"], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    header, _, table = out.partition("\n")
    starts = [header.find("VARIANT"), header.find("TEST")]
    cases = []
    for block in re.split(r"^-+\n", table, flags=re.M):
        rows = block.splitlines()
        fixture, variants, tests = (
            [c for c in (row[i:j].strip() for row in rows) if c]
            for i, j in ((0, starts[0]), starts, (starts[1], None)))
        cases += [".".join(filter(None, (fixture[0], v, t)))
                  for v in variants or [""] for t in tests]
    return cases


def matching(pattern, names):
    """Those of the names, FOLDER/NAME or FIXTURE.VARIANT.TEST, that a glob means."""
    return [n for n in names if fnmatch.fnmatchcase(n, pattern)
            or fnmatch.fnmatchcase(re.split("[/.]", n)[-1], pattern)]


def selected(o):
    """{program: cases, () for all} that the command line names."""
    names, found = installed(o.selftests), {}
    for pattern in o.tests or ["*"]:
        program, colon, case = pattern.partition(":")
        hits = matching(program, names)
        for name in hits if colon else ():
            cases = found.get(name, ())
            more = matching(case, cases_of(o.selftests, name))
            if more and not (name in found and not cases):
                found[name] = tuple(dict.fromkeys([*cases, *more]))
        if not hits or colon and not any(name in found for name in hits):
            fail("vm/test", f"no test matches {pattern} (see vm/test --list)")
        found.update(dict.fromkeys(hits, ()) if not colon else {})
    for pattern in filter(None, o.without.split(",")):
        out = matching(pattern, names)
        if not out:
            fail("vm/test", f"--without {pattern}: no such test program (see vm/test --list)")
        found = {name: cases for name, cases in found.items() if name not in out}
    return {name: found[name] for name in names if name in found}
