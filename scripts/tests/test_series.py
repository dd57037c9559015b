#!/usr/bin/env python3
"""Tests of scripts/series, on a kernel of a dozen files: python3 scripts/tests/test_series.py"""
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SERIES = Path(__file__).resolve().parents[1] / "series"
ENV = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
ENV.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull, LC_ALL="C.UTF-8",
           GIT_AUTHOR_NAME="A Author", GIT_AUTHOR_EMAIL="a@example.org",
           GIT_COMMITTER_NAME="C Committer", GIT_COMMITTER_EMAIL="c@example.org")
LONG = ("mm, xen: a subject that is longer than what fits on one line of a mail header – and has "
        "a dash and “quotes” in it")
SUBJECTS = ["xen: add foo", "xen: build foo, double it", "tools: add a runner", "mm: drop old code",
            "tools: make things executable", LONG]
SECONDS = itertools.count(1764580000, 60)
MAINTAINERS = """#!/usr/bin/perl
# in place of the kernel's: --no-tree ... FILE
-f "MAINTAINERS" or die; open(F, $ARGV[-1]) or die; $_ = join("", <F>);
print "\\"J\\xc3\\xb6rg X.\\" <j\\@example.org> (maintainer:XEN)\\n" if m{^diff.* b/drivers/}m;
print "M. M. <m\\@example.org> (supporter:MM (CORE))\\n" if m{^diff.* b/mm/}m;
print "J X <m\\@example.net> (reviewer:MM)\\nlist\\@example.org (open list)\\n";
"""
FOO = "#include <linux/xen.h>\n\n" + "".join(f"int foo_{n}(void);\n" for n in range(40))


def sh(where, *args, stdin=None, **env):
    return subprocess.run(args, cwd=where, env={**ENV, **env}, check=True, input=stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout.decode()


def git(where, *args, **kw):
    return sh(where, "git", *args, **kw).rstrip("\n")


def put(tree, files):
    for path, body in files.items():
        file = Path(tree, path)
        if body is None:
            file.unlink()
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body.encode() if isinstance(body, str) else body)


def commit(tree, message, files=(), **env):
    """files: path -> body, or None to delete it"""
    put(tree, dict(files))
    git(tree, "add", "-A", "-f")
    git(tree, "commit", "-q", "--allow-empty", "--cleanup=verbatim", "-F", "-",
        stdin=f"{message}\n".encode() if message[-1] != "\n" else message.encode(),
        GIT_AUTHOR_DATE=f"{next(SECONDS)} +0130", **env)


def make_base(tree):
    tree.mkdir(parents=True)
    git(tree, "init", "-q", "-b", "master", "--template=")
    lines = "".join(f"line {n}\n" for n in range(30))
    commit(tree, "base", {
        ".gitattributes": "*.[ch] diff=cpp\n", ".gitignore": "*.o\n", "Makefile": lines,
        "arch/x86/xen.c": lines, "include/linux/xen.h": lines, "drivers/xen/Makefile": lines,
        "drivers/xen/old.c": lines,
        "mm/memory.c": "int fault(void)\n{\nout:\n" + lines.replace("line", "\tline") + "}\n",
        "mm/nonl": "one\ntwo\nthree", "tools/run-me": lines, "scripts/link": lines,
        "MAINTAINERS": lines, "scripts/get_maintainer.pl": MAINTAINERS,
        "Documentation/index.rst": lines, "lib/lib.c": lines})
    git(tree, "tag", "base")


def make_series(tree):
    git(tree, "switch", "-q", "-c", "work")
    commit(tree, SUBJECTS[0] + "\n\nThe messäge.\n\n  --- indented\n", {
        "drivers/xen/foo.c": FOO, "include/xen/empty.h": "",
        "Documentation/xen/nonl.rst": "no end"},
        GIT_AUTHOR_NAME="Jürgen Größe", GIT_AUTHOR_EMAIL="j@example.org")
    commit(tree, SUBJECTS[1], {
        "drivers/xen/foo.c": FOO.replace("int foo_20", "long foo_20"),
        "drivers/xen/Makefile": (tree / "drivers/xen/Makefile").read_text() + "obj-y += foo.o\n"})
    put(tree, {"tools/xen/run.sh": "#!/bin/sh\n"})
    (tree / "tools/xen/run.sh").chmod(0o755)
    commit(tree, SUBJECTS[2], {"mm/temporary.c": "int t;\n", "mm/empty-temporary": "",
                               "scripts/new": "a kernel script\n", "TOPLEVEL": "no folder\n"})
    commit(tree, SUBJECTS[3], {"drivers/xen/old.c": None, "mm/temporary.c": None,
                               "mm/empty-temporary": None})
    for path in "tools/run-me", "include/xen/empty.h", "drivers/xen/foo.c":
        (tree / path).chmod(0o755)
    (tree / "drivers/xen/foo.c").chmod(0o755)
    commit(tree, SUBJECTS[4], {"tools/xen/run.sh": "#!/bin/sh\nexec true\n"})
    (tree / "drivers/xen/foo.c").chmod(0o644)
    (tree / "drivers/xen/foo.c").write_text(
        (tree / "drivers/xen/foo.c").read_text().replace("foo_39(void)", "foo_39(int)"))
    memory = (tree / "mm/memory.c").read_text().replace("line 20", "line twenty")
    commit(tree, LONG + "\n\nBody\n\nReviewed-by: R <r@example.org>\n", {
        "mm/nonl": "one\n2\nthree", "mm/memory.c": memory,
        "Documentation/xen/nonl.rst": "no end\nbut longer"})


def state(top):
    """Every file below top, .git included: what it is, down to the time stamp (less the one of
    git's objects, which is when git last had use for them)."""
    return {str(f.relative_to(top)): (f.stat().st_mode, "/objects/" in str(f)
                                      or f.stat().st_mtime_ns, f.read_bytes())
            for f in top.rglob("*") if f.is_file() and not f.is_symlink()}


def setUpModule():
    global TMP, SYNCED
    TMP = tempfile.TemporaryDirectory()
    SYNCED = Path(TMP.name, "synced")
    make_base(SYNCED / "build/linux")
    make_series(SYNCED / "build/linux")
    git(SYNCED / "build/linux", "gc", "-q")     # less files to copy for each test
    (SYNCED / "scripts").mkdir()
    shutil.copy(SERIES, SYNCED / "scripts")
    put(SYNCED, {"scripts/mine": "ours\n", "vm/mine": "ours\n", "README.md": "ours\n"})
    subprocess.run([SYNCED / "scripts/series", "patches"], check=True, env=ENV,
                   stdout=subprocess.DEVNULL)


def tearDownModule():
    TMP.cleanup()


class Case(unittest.TestCase):
    """self.top is a project whose repo and tree are in sync, on a branch `work`."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.tmp = Path(tmp.name)
        self.top = self.tmp / "top"
        shutil.copytree(SYNCED, self.top, symlinks=True)
        self.tree = self.top / "build/linux"

    def series(self, *args, code=0, **env):
        # -IS: nothing but the standard library
        done = subprocess.run([sys.executable, "-IS", "scripts/series", *args], cwd=self.top,
                              env={**ENV, **env}, capture_output=True)
        out, err = done.stdout.decode(), done.stderr.decode()
        self.assertNotIn("Traceback", err)
        self.assertEqual(done.returncode, code, err)
        if code == 1:
            self.assertRegex(err, r"\Aseries: .*\n(  .*\n)*\Z")
        return err if code else out

    def refused(self, command, *patterns):
        """Exit 1, everything as it was, and all of the patterns in the message."""
        before = state(self.top)
        err = self.series(command, code=1)
        after = state(self.top)
        self.assertEqual({p for p in {**before, **after} if before.get(p) != after.get(p)}, set())
        for pattern in patterns:
            self.assertRegex(err, pattern)

    def patch(self, n):
        return next((self.top / "patches").glob(f"{n:04}-*.patch"))

    def edit(self, file, old, new):
        file = self.top / file
        self.assertIn(old, file.read_text())
        file.write_text(file.read_text().replace(old, new))

    def repo(self):
        """The repo's files, less the tree and the tool: path -> (mode, bytes)"""
        return {path: (mode & 0o111, body) for path, (mode, _, body) in state(self.top).items()
                if not path.startswith(("build/", "scripts/series"))}

    def trees(self, tree=None, tip="HEAD"):
        return git(tree or self.tree, "log", "--format=%T %an <%ae> %ad %B", f"base..{tip}")

    def fresh_tree(self):
        """The tree as after a new fetch: just the base"""
        git(self.tree, "-c", "core.hooksPath=/nowhere", "switch", "-q", "-c", "fresh", "base")
        git(self.tree, "branch", "-q", "-D", "work")
        git(self.tree, "update-ref", "-d", "refs/series/synced")
        (self.tree / ".git/series-manifest").unlink()


class Format(Case):
    def test_layout(self):
        self.assertEqual(sorted(set(self.repo()) - {self.patch(n).relative_to(self.top).as_posix()
                                                    for n in range(1, 7)}),
                         ["Documentation/xen/nonl.rst", "README.md", "drivers/xen/foo.c",
                          "include/xen/empty.h", "scripts/mine", "tools/xen/run.sh", "vm/mine"])
        self.assertEqual(len(self.patch(6).name), 63)
        self.assertTrue(os.access(self.top / "tools/xen/run.sh", os.X_OK))
        self.assertFalse(os.access(self.top / "drivers/xen/foo.c", os.X_OK))
        self.assertEqual((self.top / "Documentation/xen/nonl.rst").read_text(),
                         "no end\nbut longer")

    def test_creating_patch(self):
        date = git(self.tree, "log", "-1", "--format=%aD", "HEAD~5")
        self.assertTrue(date.endswith(" +0130"))
        self.assertEqual(self.patch(1).read_text(), f"""\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: =?UTF-8?q?J=C3=BCrgen=20Gr=C3=B6=C3=9Fe?= <j@example.org>
Date: {date}
Subject: [PATCH] xen: add foo
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit

The messäge.

  --- indented
---
 Documentation/xen/nonl.rst |  1 +
 drivers/xen/foo.c          | 42 ++++++++++++++++++++++++++++++++++++++
 include/xen/empty.h        |  0
 3 files changed, 43 insertions(+)
 create mode 100644 Documentation/xen/nonl.rst
 create mode 100644 drivers/xen/foo.c
 create mode 100644 include/xen/empty.h
""")

    def test_bodies_that_stay_in_the_patch(self):
        self.assertEqual(re.findall("diff --git a/(.*) b/", self.patch(3).read_text()),
                         ["TOPLEVEL", "mm/empty-temporary", "mm/temporary.c", "scripts/new"])
        self.assertIn(" create mode 100755 tools/xen/run.sh\n", self.patch(3).read_text())

    def test_later_edits_and_no_unstable_bytes(self):
        self.assertIn("-int foo_20(void);\n+long foo_20(void);\n", self.patch(2).read_text())
        for n in range(1, 7):
            body = self.patch(n).read_text()
            self.assertNotRegex(body, r"(?m)^index |^-- $|\d\.\d+\.\d+|PATCH \d")
            self.assertTrue(body.startswith("From " + 40 * "0"))

    def test_hunk_headers_follow_the_attributes_of_base(self):
        self.assertIn("int fault(void)\n", self.patch(6).read_text())
        self.assertNotRegex(self.patch(6).read_text(), "@@ out:")

    def test_created_again(self):
        commit(self.tree, "mm: it is back", {"drivers/xen/old.c": "new\n", "mm/temporary.c": "2\n"})
        commit(self.tree, "mm: and changed", {"mm/temporary.c": "3\n"})
        self.series("patches")
        self.assertEqual((self.top / "mm/temporary.c").read_text(), "3\n")
        self.assertEqual((self.top / "drivers/xen/old.c").read_text(), "new\n")
        self.series("check")

    def test_no_renames(self):
        git(self.tree, "mv", "mm/memory.c", "mm/moved.c")
        git(self.tree, "mv", "drivers/xen/foo.c", "drivers/xen/bar.c")
        commit(self.tree, "mm, xen: move files")
        self.series("patches")
        self.assertRegex(self.patch(7).read_text(), "\n delete mode 100644 drivers/xen/foo.c\n"
                         "(.*\n)* create mode 100644 mm/moved.c\n")
        self.assertFalse((self.top / "drivers/xen/foo.c").exists())
        self.series("check")

    def test_file_becomes_directory(self):
        commit(self.tree, "lib: split", {"lib/lib.c": None})
        commit(self.tree, "lib: x", {"lib/lib.c/a.c": "a\n"})
        commit(self.tree, "lib: y", {"lib/lib.c/a.c": None, "lib/lib.c/b.c": "b\n"})
        self.series("patches")
        self.series("check")


class RoundTrip(Case):
    def test_repo_to_tree_to_repo(self):
        before, trees = self.repo(), self.trees()
        self.fresh_tree()
        self.series("tree")
        self.assertEqual(self.trees(), trees)
        self.assertEqual(git(self.tree, "symbolic-ref", "HEAD"), "refs/heads/series")
        self.assertEqual(git(self.tree, "status", "--porcelain"), "")
        self.assertIn(" 0 files written, 0 deleted", self.series("patches"))
        self.assertEqual(self.repo(), before)
        self.series("check")

    def test_from_empty_repo(self):
        before = self.repo()
        for path in before.keys() - {"README.md", "scripts/mine", "vm/mine"}:
            (self.top / path).unlink()
        (self.tree / ".git/series-manifest").unlink()
        self.series("patches")
        self.assertEqual(self.repo(), before)

    def test_empty_series(self):
        git(self.tree, "reset", "-q", "--hard", "base")
        self.assertIn("0 patches", self.series("patches"))
        self.assertEqual(set(self.repo()), {"README.md", "scripts/mine", "vm/mine"})
        self.assertFalse((self.top / "drivers").exists())
        self.series("tree")
        self.series("check")
        self.assertEqual(self.series("list") + self.series("touched"), "")
        self.refused("mbox", "no patch")

    def test_ids_are_the_same_everywhere(self):
        self.series("tree")
        first = git(self.tree, "rev-parse", "HEAD")
        self.fresh_tree()
        self.series("tree", TZ="Asia/Tokyo", EMAIL="other@example.org")
        self.assertEqual(git(self.tree, "rev-parse", "HEAD"), first)
        self.assertEqual(git(self.tree, "log", "-1", "--format=%cn%ce%ct"),
                         git(self.tree, "log", "-1", "--format=%an%ae%at"))

    def test_only_changed_files_are_written(self):
        self.fresh_tree()
        self.series("tree")
        before = {path: mtime for path, (_, mtime, _) in state(self.tree).items()
                  if not path.startswith(".git/")}
        self.edit("drivers/xen/foo.c", "foo_5(void)", "foo_5(char)")
        self.series("tree")
        after = {path: mtime for path, (_, mtime, _) in state(self.tree).items()
                 if not path.startswith(".git/")}
        self.assertEqual([p for p in after if after[p] != before.get(p)], ["drivers/xen/foo.c"])
        self.assertIn("foo_5(char)", git(self.tree, "show", "HEAD~5:drivers/xen/foo.c"))

        before = state(self.top)
        self.edit("build/linux/drivers/xen/foo.c", "foo_6(void)", "foo_6(char)")
        commit(self.tree, "xen: foo six")
        self.series("patches")
        after = state(self.top)
        self.assertEqual({p for p in after if after[p] != before.get(p)
                          and not p.startswith("build/")},
                         {"drivers/xen/foo.c", "patches/0007-xen-foo-six.patch"})

    def test_stale_files_go_and_others_stay(self):
        put(self.top, {"drivers/xen/notes": "not the series'\n"})
        before = self.repo()
        commit(self.tree, "lib: x", {"lib/x/y.c": "x\n", "drivers/xen/x.c": "x\n"})
        self.series("patches")
        git(self.tree, "reset", "-q", "--hard", "HEAD~1")
        self.series("patches")
        self.assertEqual(self.repo(), before)
        self.assertFalse((self.top / "lib").exists())
        git(self.tree, "reset", "-q", "--hard", "base")
        self.series("patches")
        self.assertEqual(set(self.repo()),
                         {"README.md", "scripts/mine", "vm/mine", "drivers/xen/notes"})

    def test_a_commit_dropped_in_the_tree(self):
        git(self.tree, "reset", "-q", "--hard", "HEAD~1")
        self.series("tree")
        self.assertIn("line twenty", (self.tree / "mm/memory.c").read_text())
        git(self.tree, "reset", "-q", "--hard", "HEAD~1")
        self.series("patches")
        self.assertEqual(len(list((self.top / "patches").iterdir())), 5)
        self.assertEqual((self.top / "Documentation/xen/nonl.rst").read_text(), "no end")

    def test_an_interrupted_move(self):
        self.edit("drivers/xen/foo.c", "foo_5(void)", "foo_5(char)")
        self.series("tree")
        target = git(self.tree, "rev-parse", "HEAD")
        shutil.rmtree(self.tree)
        shutil.copytree(SYNCED / "build/linux", self.tree)
        git(self.tree, "reset", "-q", "--hard", "base")
        put(self.tree, {"drivers/xen/old.c": None, "drivers/xen/foo.c":
                        (self.top / "drivers/xen/foo.c").read_bytes()})
        self.series("tree")
        self.assertEqual(git(self.tree, "rev-parse", "HEAD"), target)
        self.assertEqual(git(self.tree, "status", "--porcelain"), "")

    def test_an_interrupted_write(self):
        before = self.repo()
        commit(self.tree, "mm: drop the rest", {"drivers/xen/foo.c": None, "lib/new.c": "x\n"})
        self.series("patches")
        after = self.repo()
        for path in list(self.repo()):
            if not path.startswith("patches/0001"):
                (self.top / path).unlink()
        for path, (mode, body) in before.items():
            if not path.startswith("patches/0001"):
                put(self.top, {path: body})
                (self.top / path).chmod(0o755 if mode else 0o644)
        shutil.copy(SYNCED / "build/linux/.git/series-manifest", self.tree / ".git")
        self.series("patches")
        self.assertEqual(self.repo(), after)

    def test_independent_of_configuration(self):
        home = self.tmp / "home"
        config = ("[diff]\nnoprefix = true\nalgorithm = histogram\nmnemonicPrefix = true\n"
                  "context = 1\nstatGraphWidth = 5\nexternal = false\nrenames = copies\n"
                  "[format]\nsignature = mine\nnumbered = true\nattach = true\ncoverLetter = true\n"
                  "subjectPrefix = RFC\nto = x@example.org\nsignOff = true\nfrom = true\n"
                  "[commit]\ngpgsign = true\n[gpg]\nprogram = false\n[core]\nquotePath = false\n"
                  "abbrev = 40\nhooksPath = /nowhere\nautocrlf = true\n"
                  "[log]\nshowSignature = true\n"
                  "[user]\nuseConfigOnly = true\n[i18n]\ncommitEncoding = latin1\n"
                  "[am]\nthreeWay = maybe\n[apply]\nwhitespace = error-all\n[color]\nui = always\n"
                  "[trailer]\nwhere = start\n[status]\nshowUntrackedFiles = all\n")
        put(home, {".gitconfig": config, ".config/git/attributes": "* -diff\n"})
        env = {"HOME": str(home), "GIT_DIR": "/nowhere", "GIT_DIFF_OPTS": "-u0"}
        for name in "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM":
            self.addCleanup(ENV.__setitem__, name, ENV.pop(name))
        before, trees = self.repo(), self.trees()
        self.series("mbox", "--sob", "S <s@example.org>")
        mails = state(self.top / "build/mbox")
        git(self.tree, "config", "diff.noprefix", "true")
        git(self.tree, "config", "diff.external", "false")
        put(self.tree, {".git/info/attributes": "* -diff\n",
                        ".git/hooks/post-checkout": "#!/bin/sh\nexit 1\n"})
        (self.tree / ".git/hooks/post-checkout").chmod(0o755)
        self.assertIn(" 0 files written, 0 deleted", self.series("patches", **env))
        self.series("check", **env)
        self.fresh_tree()
        self.series("tree", **env)
        self.series("patches", **env)
        self.series("mbox", "--sob", "S <s@example.org>", **env)
        self.assertEqual(self.repo(), before)
        self.assertEqual(self.trees(), trees)
        self.assertEqual({k: v[2] for k, v in state(self.top / "build/mbox").items()},
                         {k: v[2] for k, v in mails.items()})

    def test_shallow_tree_and_linked_work_tree(self):
        commit(self.tree, "more", {"lib/lib.c": "x\n"})
        self.series("patches")
        shallow = self.tmp / "shallow"
        git(self.tmp, "clone", "-q", "--depth=2", "--no-tags", f"file://{self.tree}", shallow)
        git(shallow, "tag", "base", "HEAD~1")
        git(self.top, "--git-dir=build/linux/.git", "worktree", "add", "-q", self.tmp / "linked",
            "base")
        before = self.repo()
        self.series("--tree", str(self.tmp / "linked"), "tree")
        self.series("--tree", str(self.tmp / "linked"), "patches")
        self.assertEqual(self.repo(), before)
        self.assertEqual(self.trees(self.tmp / "linked"), self.trees())
        for path in before.keys() - {"README.md", "scripts/mine", "vm/mine"}:
            (self.top / path).unlink()
        self.series("--tree", str(shallow), "patches")
        self.series("--tree", str(shallow), "tree")
        self.series("--tree", str(shallow), "check")


class TreeRefuses(Case):
    def test_uncommitted_changes(self):
        put(self.tree, {"mm/memory.c": "edited\n", "lib/lib.c": None})
        self.refused("tree", "uncommitted", r"(?m)^  mm/memory.c$", r"(?m)^  lib/lib.c$")
        self.refused("patches", "uncommitted", r"(?m)^  mm/memory.c$", r"(?m)^  lib/lib.c$")

    def test_untracked_files_stay_or_are_named(self):
        put(self.tree, {"untracked": "x\n", "drivers/xen/foo.o": "x\n"})
        self.series("tree")
        self.assertEqual((self.tree / "untracked").read_text(), "x\n")
        self.fresh_tree()
        put(self.tree, {"drivers/xen/foo.c": "mine\n"})
        for ignored in "", "foo.c\n":
            put(self.tree, {".git/info/exclude": ignored})
            self.refused("tree", "overwritten", r"(?m)^  \tdrivers/xen/foo.c$")

    def test_commits_that_the_repo_lacks(self):
        commit(self.tree, "lib: not yet in the repo", {"lib/lib.c": "x\n"})
        self.refused("tree", "make patches", "reset --keep refs/series/synced",
                     r"(?m)\A.*\n  lib: not yet in the repo\n\Z")
        git(self.tree, "branch", "series")
        git(self.tree, "switch", "-q", "-C", "work", "base")
        self.refused("tree", r"(?m)\A.*\n  lib: not yet in the repo\n\Z")

    def test_rewritten_commits_that_are_equal_are_fine(self):
        self.series("tree")
        git(self.tree, "update-ref", "-d", "refs/series/synced")
        git(self.tree, "rebase", "-q", "-f", "base")
        self.series("tree")
        git(self.tree, "commit", "-q", "--amend", "-m", "another message")
        self.refused("tree", r"\n  another message\n\Z")

    def test_unfinished_rebase(self):
        git(self.tree, "-c", "sequence.editor=sed -i 1s/pick/edit/", "rebase", "-q", "-i", "base")
        for command in "tree", "patches":
            self.refused(command, "rebase")

    def test_stray_and_missing_files(self):
        put(self.top, {"lib/xen/stray": "x\n", "mm/stray.c": "x\n"})
        self.refused("tree", "no patch creates", r"\n  lib/xen/stray\n  mm/stray.c\n\Z")
        put(self.top, {"lib/xen/stray": None, "mm/stray.c": None})
        put(self.top, {"drivers/xen/foo.c": None})
        self.refused("tree", "missing", r"(?m)^  drivers/xen/foo.c$")

    def test_ignored_files_are_not_stray(self):
        git(self.top, "init", "-q")
        put(self.top, {".gitignore": "*.swp\n", "mm/.memory.c.swp": "x\n"})
        self.series("tree")

    def test_broken_patches(self):
        good = self.patch(4).read_text()
        bad = good.replace("-line 17\n", "-line 71\n")
        self.patch(4).write_text(bad)
        self.refused("tree", r"patches/0004-mm-.* apply", "patch failed: drivers/xen/old.c")
        self.patch(4).write_text(good.replace("-line 17\n", "line 17\n"))
        number = good.splitlines().index("-line 17") + 1
        self.refused("tree", rf"patches/0004-mm-.* apply.*\n  error: .* at line {number}\b")
        self.patch(4).write_text("just text\n")
        for command in "tree", "patches", "list":
            self.refused(command, "patches/0004-mm-.*From:")
        self.patch(4).write_text(good)
        self.edit(self.patch(2), "+long foo_20", "+long foo_02")
        self.refused("tree", "patches/0002-xen-")

    def test_wrong_numbers(self):
        self.patch(2).rename(self.top / "patches/0007-xen-build-foo-double-it.patch")
        self.refused("tree", r"patches/0003-.*expected 0002-")

    def test_edit_that_a_later_patch_does_not_fit(self):
        self.edit("drivers/xen/foo.c", "long foo_20", "char foo_20")
        self.refused("tree", r"patches/0002-.*edit", "drivers/xen/foo.c")

    def test_edit_that_moves_the_hunk_of_a_later_patch(self):
        commit(self.tree, "lib: add same", {"lib/same.c": "c\n" * 40})
        commit(self.tree, "lib: edit same", {"lib/same.c": "c\n" * 20 + "x\n" + "c\n" * 20})
        self.series("patches")
        put(self.top, {"lib/same.c": "c\n" * 30 + "x\n" + "c\n" * 20})
        self.refused("tree", "lib/same.c: .*elsewhere.*in the tree")

    def test_created_twice(self):
        self.edit(self.patch(2), "obj-y", "obj-m")
        self.edit(self.patch(2), " deletion(-)\n",
                  " deletion(-)\n create mode 100644 drivers/xen/foo.c\n")
        body = self.patch(2).read_text()
        self.patch(2).write_text(body[:body.index("diff --git a/drivers/xen/foo.c")])
        self.refused("tree", "both create drivers/xen/foo.c")

    def test_unusual_paths_and_modes(self):
        for mode, path in ("120000", "mm/x"), ("100644", "../x"), ("100644", "mm/a b"):
            with self.subTest(path=path):
                self.edit(self.patch(1), " create mode 100644 drivers",
                          f" create mode {mode} {path}\n create mode 100644 drivers")
                self.refused("tree", "0001-xen", re.escape(path))
                shutil.copy(next(SYNCED.glob("patches/0001*")), self.top / "patches")

    def test_no_tree(self):
        shutil.rmtree(self.tree / ".git")
        git(self.top, "init", "-q")
        self.refused("tree", "build/linux is not a git work tree")
        git(self.tree, "init", "-q")
        self.refused("tree", "no tag `base`")
        shutil.rmtree(self.tree)
        self.refused("tree", "build/linux is not a git work tree")


class PatchesRefuses(Case):
    def test_what_a_mail_cannot_carry(self):
        for message, line in (("mm: x\n\nfoo\n---\nbar\n", "---"),
                              ("mm: x\n\ndiff --git a/lib/lib.c b/lib/lib.c\n", "diff --git"),
                              ("mm: x\n\nIndex: foo\n", "Index: foo"),
                              ("mm: x\n\nFrom: Other <o@example.org>\n\nfoo\n", "From: Other"),
                              ("[v2] mm: x\n", r"\[v2\] mm: x"), ("Re: mm: x\n", "Re: mm: x"),
                              ("mm: two\nlines\n", "mm: two"),
                              ("mm: x\n\none\n\n\ntwo\n", "white space")):
            with self.subTest(line=line):
                commit(self.tree, message, {"lib/lib.c": message})
                self.refused("patches", "mm: ", "reword", "\n  " + line)
                git(self.tree, "reset", "-q", "--hard", "HEAD~1")

    def test_what_the_format_cannot_carry(self):
        def link():
            (self.tree / "mm/link").symlink_to("memory.c")

        for what, files, make in (
                ("mm/binary", {"mm/binary": b"a\0b"}, None), ("mm/a b", {"mm/a b": "x\n"}, None),
                ("mm/ä", {"mm/ä": "x\n"}, None), ("mm/link", {}, link)):
            with self.subTest(what=what):
                if make:
                    make()
                commit(self.tree, "mm: x", files)
                self.refused("patches", "mm: x", what if what.isascii() else "mm/")
                git(self.tree, "reset", "-q", "--hard", "HEAD~1")
        commit(self.tree, "mm: empty")
        self.refused("patches", "mm: empty.*no file")

    def test_history(self):
        commit(self.tree, "fixup! xen: add foo", {"lib/lib.c": "x\n"})
        commit(self.tree, "squash! xen: add foo", {"lib/lib.c": "y\n"})
        self.refused("patches", "rebase -i --autosquash base",
                     r"\n  fixup! xen: add foo\n  squash! xen: add foo\n\Z")
        git(self.tree, "reset", "-q", "--hard", "HEAD~2")
        git(self.tree, "switch", "-q", "-c", "side", "HEAD~1")
        commit(self.tree, "side", {"lib/lib.c": "x\n"})
        git(self.tree, "merge", "-q", "-m", "a merge", "work")
        self.refused("patches", r"merge.*\n  a merge\n\Z")
        git(self.tree, "switch", "-q", "--detach", "work")
        self.refused("patches", "no branch")
        git(self.tree, "switch", "-q", "--orphan", "unrelated")
        commit(self.tree, "unrelated", {"x": "x\n"})
        self.refused("patches", "base")

    def test_edits_in_the_repo(self):
        commit(self.tree, "lib: x", {"lib/lib.c": "x\n"})
        self.edit("drivers/xen/foo.c", "foo_5(void)", "foo_5(char)")
        self.edit(self.patch(1), "messäge", "message")
        put(self.top, {"include/xen/empty.h": None, "mm/mine.c": "x\n"})
        self.refused("patches", "make tree", r"\n  drivers/xen/foo.c\n  include/xen/empty.h\n"
                     r"  patches/0001-xen-add-foo.patch\n\Z")

    def test_file_of_the_repo_in_the_way(self):
        commit(self.tree, "lib: x", {"lib/new.c": "x\n"})
        put(self.top, {"lib/new.c": "mine\n"})
        self.refused("patches", r"\n  lib/new.c\n\Z")

    def test_tree_that_never_was_in_sync(self):
        self.fresh_tree()
        self.refused("patches", "make tree", r"\n  drivers/xen/foo.c\n")

    def test_the_same_edit_on_both_sides(self):
        self.edit("build/linux/drivers/xen/foo.c", "foo_5(void)", "foo_5(char)")
        git(self.tree, "commit", "-q", "-a", "--fixup", "HEAD~5")
        git(self.tree, "-c", "sequence.editor=:", "rebase", "-q", "-i", "--autosquash", "base")
        self.edit("drivers/xen/foo.c", "foo_5(void)", "foo_5(char)")
        self.series("patches")
        self.series("check")

    def test_both_sides_changed(self):
        """The way out that --help shows"""
        commit(self.tree, "lib: x", {"lib/lib.c": "x\n"})
        self.edit("drivers/xen/foo.c", "foo_5(void)", "foo_5(char)")
        self.refused("patches")
        self.refused("tree")
        git(self.tree, "branch", "mine")
        git(self.tree, "tag", "old", "refs/series/synced")
        git(self.tree, "reset", "-q", "--keep", "old")
        self.series("tree")
        git(self.tree, "cherry-pick", "old..mine")
        self.series("patches")
        self.assertTrue((self.top / "patches/0007-lib-x.patch").exists())
        self.assertIn("foo_5(char)", (self.top / "drivers/xen/foo.c").read_text())
        self.series("check")


class Mails(Case):
    COVER = "Subject: xen: a séries of patches\nChange-Id: 2026-xen-1\n\nWhat it is för.\n\nAnd more.\n"

    def mails(self):
        return sorted(p.name for p in (self.top / "build/mbox").iterdir())

    def test_git_am_gives_the_tree(self):
        put(self.top, {"patches/0000-cover-letter": self.COVER})
        before = state(self.top)
        self.series("mbox")
        after = state(self.top)
        self.assertEqual({p: s for p, s in after.items() if not p.startswith("build/mbox")}, before)
        self.assertEqual(self.mails(), ["0000-cover-letter.patch"] + sorted(
            p.name for p in (self.top / "patches").glob("*.patch")) + ["series.mbox"])
        git(self.tree, "switch", "-q", "-c", "am", "base")
        git(self.tree, "am", "-q", self.top / "build/mbox/series.mbox")
        self.assertEqual(self.trees(), self.trees(tip="work"))
        mail = (self.top / "build/mbox" / self.patch(1).name).read_text()
        self.assertIn("Subject: [PATCH 1/6] xen: add foo\n", mail)
        self.assertIn("+int foo_20(void);\n", mail)
        self.assertNotRegex(mail, r"(?m)^-- $")

    def test_cover_letter(self):
        put(self.top, {"patches/0000-cover-letter": self.COVER})
        self.series("mbox")
        cover = (self.top / "build/mbox/0000-cover-letter.patch").read_text()
        head, _, body = cover.partition("\n\n")
        last = (self.top / "build/mbox" / self.patch(6).name).read_text()
        for header in "From", "Date":
            line = re.search(f"^{header}: .*\n", last, re.M)[0]
            self.assertIn(line, head + "\n")
        self.assertIn("\nSubject: [PATCH 0/6] =?UTF-8?q?xen:=20a=20s=C3=A9ries=20of=20patches?=\n",
                      head)
        self.assertIn("\nContent-Type: text/plain; charset=UTF-8\n", head)
        self.assertRegex(body, r"\AWhat it is för.\n\nAnd more.\n\nA Author \(5\):\n"
                         r"  xen: build foo, double it\n(.*\n)+\nJürgen Größe \(1\):\n"
                         r"  xen: add foo\n\n (.*\n)+ 11 files changed, .*\n (.*\n)+")
        self.assertIn(" create mode 100755 tools/xen/run.sh\n", body)
        self.assertTrue(body.endswith(
            f"\n\n---\nbase-commit: {git(self.tree, 'rev-parse', 'base')}\nchange-id: 2026-xen-1\n"))
        put(self.top, {"patches/0000-cover-letter": self.COVER.replace("Change-Id", "X")})
        self.refused("mbox", "0000-cover-letter")
        put(self.top, {"patches/0000-cover-letter": "no subject\n"})
        self.refused("mbox", "0000-cover-letter")
        self.refused("check", "0000-cover-letter")

    def test_recipients(self):
        put(self.top, {"patches/0000-cover-letter": self.COVER})
        self.series("mbox")
        joerg, m = "To: =?utf-8?b?SsO2cmcgWC4=?= <j@example.org>", '"M. M." <m@example.org>'
        cc = "\nCc: J X <m@example.net>,\n list@example.org\n"
        for name, to in (self.patch(1).name, joerg), (self.patch(4).name, f"{joerg},\n {m}"), (
                "0000-cover-letter.patch", f"{joerg},\n {m}"):
            mail = (self.top / "build/mbox" / name).read_text()
            self.assertIn(f"\n{to}{cc}", mail.partition("\n\n")[0] + "\n")
        self.series("mbox", "--no-recipients")
        self.assertNotIn("\nCc: ", (self.top / "build/mbox" / self.patch(1).name).read_text())
        git(self.tree, "switch", "-q", "-C", "master", "base")
        commit(self.tree, "none", {"MAINTAINERS": None})
        git(self.tree, "tag", "-f", "base")
        self.refused("mbox", "get_maintainer.pl")

    def test_version(self):
        put(self.top, {"patches/0000-cover-letter": self.COVER})
        self.series("mbox", "--version", "2")
        for name, n in ("0000-cover-letter.patch", 0), (self.patch(1).name, 1):
            self.assertIn(f"Subject: [PATCH v2 {n}/6] ",
                          (self.top / "build/mbox" / name).read_text())
        self.assertIn("counts from 1", self.series("mbox", "--version", "0", code=2))

    def test_sign_off(self):
        self.series("mbox", "--sob", "Sämple Name <s@example.org>")
        sob = "Signed-off-by: Sämple Name <s@example.org>\n"
        for n in range(1, 7):
            mail = (self.top / "build/mbox" / self.patch(n).name).read_text()
            self.assertEqual(mail.count(sob), 1)
            self.assertIn(sob + "---\n", mail)
        self.assertIn("Reviewed-by: R <r@example.org>\n" + sob, mail)
        self.assertNotIn(sob, self.patch(1).read_text())
        git(self.tree, "switch", "-q", "-c", "am", "base")
        git(self.tree, "am", "-q", self.top / "build/mbox/series.mbox")
        self.series("--tree", str(self.tree), "mbox", "--output", str(self.tmp / "out"))
        self.assertEqual(git(self.tree, "rev-parse", "HEAD^{tree}"),
                         git(self.tree, "rev-parse", "work^{tree}"))
        git(self.tree, "switch", "-q", "-C", "work", "am")
        self.series("patches")
        self.series("mbox", "--sob", "Sämple Name <s@example.org>")
        mail = (self.top / "build/mbox" / self.patch(6).name).read_text()
        self.assertEqual(mail.count(sob), 1)

    def test_output_directory(self):
        self.series("mbox")
        git(self.tree, "reset", "-q", "--hard", "HEAD~2")
        self.series("patches")
        self.series("mbox")
        self.assertEqual(len(self.mails()), 5)
        put(self.tmp, {"other/0001-x.patch": "mine\n"})
        self.series("mbox", "--output", str(self.tmp / "other"), code=1)
        self.assertEqual(os.listdir(self.tmp / "other"), ["0001-x.patch"])

    def test_mails_are_built_from_the_repo(self):
        self.edit("drivers/xen/foo.c", "foo_5(void)", "foo_5(char)")
        self.series("mbox")
        self.assertIn("foo_5(char)", (self.top / "build/mbox/0001-xen-add-foo.patch").read_text())


class Check(Case):
    def test_changes_nothing(self):
        before = state(self.top)
        self.assertIn("6 patches", self.series("check"))
        self.assertEqual(state(self.top), before)

    def test_names_what_differs(self):
        self.edit(self.patch(2), "2 files changed, 2 insertions", "2 files changed, 9 insertions")
        self.refused("check", r"patches/0002-xen-build-foo-double-it.patch is not",
                     r"\n  - 2 files changed, 9 ins.*\n  \+ 2 files changed, 2 ins")
        shutil.copy(next(SYNCED.glob("patches/0002*")), self.top / "patches")
        (self.top / "drivers/xen/foo.c").chmod(0o755)
        self.refused("check", "drivers/xen/foo.c is not",
                     r"\n  -mode 100755\n  \+mode 100644\n")
        (self.top / "drivers/xen/foo.c").chmod(0o644)
        self.patch(1).rename(self.top / "patches/0001-another-name.patch")
        self.refused("check", r"patches/0001-another-name.patch is not")

    def test_what_git_am_does_not_give_back(self):
        commit(self.tree, "lib: carriage returns", {"lib/dos.txt": "a\r\nb\r\n"})
        self.series("patches")
        self.assertEqual((self.top / "lib/dos.txt").read_bytes(), b"a\r\nb\r\n")
        self.refused("check", "git am")


class Lists(Case):
    def test_list(self):
        self.assertEqual(self.series("list"),
                         "".join(f"{n:04} {s}\n" for n, s in enumerate(SUBJECTS, 1)))

    def test_touched(self):
        shutil.rmtree(self.tree)        # needs no tree
        paths = git(SYNCED / "build/linux", "log", "--format=", "--name-only", "base..HEAD")
        self.assertEqual(self.series("touched").splitlines(), sorted(set(paths.splitlines())))
        self.assertEqual(self.series("touched", "--c"), "drivers/xen/foo.c\nmm/memory.c\n")

    def test_usage(self):
        for args in (), ("frobnicate",), ("mbox", "--sob", "nobody"), ("tree", "--frob"):
            self.assertIn("usage: series", self.series(*args, code=2))
        self.assertIn("create mode", self.series("--help"))


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main()
