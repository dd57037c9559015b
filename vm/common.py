"""Folders, facts and options that the Python scripts of vm/ and bench/ share."""

import argparse
import os
import re
import shlex
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, "build")              # root file systems, Xen, logs
ROOT = os.environ.get("BUILD_ROOT", BUILD)      # kernels: each KERNEL= has a folder
ARCHES = sorted(set(os.listdir(os.path.join(TOP, "vm/facts"))) - {"common"}, reverse=True)


def facts(name):
    """The facts of an architecture, or the common ones."""
    with open(os.path.join(TOP, "vm/facts", name)) as f:
        pairs = [line.rstrip("\n").split("=", 1) for line in f if not line.startswith("#")]
    return {key: " ".join(shlex.split(value)) for key, value in pairs}


# A report of the kernel: the patterns of vm/guest/reports, after a time stamp.
with open(os.path.join(TOP, "vm/guest/reports")) as _f:
    KERNEL_REPORT = re.compile(r"\[ *\d+\.\d{6}\].*?(" + "|".join(_f.read().splitlines()) + ")")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def __init__(self, prog, doc, **kw):
        head, _, rest = doc.partition("\n\n")
        usage, _, rest = rest.partition("\n\n")
        super().__init__(prog=prog, description=head, usage=usage.strip(), epilog=rest,
                         allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter, **kw)

    def error(self, message):
        fail(self.prog, f"{message} (see {self.prog} --help)")


def fail(prog, message, status=2):
    sys.exit(print(f"{prog}: {message}", file=sys.stderr) or status)


def machine_options(parser):
    """Adds the options of vm/run that other tools hand on; see forwarded()."""
    p = parser.add_argument_group("the machine")
    p.add_argument("--tree", default="series", help="kernel and modules below build/ARCH: series "
                   "(default), base, or what VARIANT=… of scripts/build adds (series-debug)")
    p.add_argument("--kernel", metavar="DIR|IMAGE", help="your kernel: a built tree, with its "
                   "modules and selftests, or an image")
    p.add_argument("--modules", metavar="DIR", help="folder that holds lib/modules/VERSION "
                   "(default: the tree's modules; none with an IMAGE)")
    p.add_argument("--xen", metavar="FILE", help="your hypervisor, an ELF or Image file or one "
                   "compressed by gzip; none: boot the kernel without Xen")
    p.add_argument("--selftests", metavar="DIR", help="installed kselftests (default: those of "
                   "the kernel's tree, else of the series)")
    p.add_argument("--add", metavar="SRC[:DEST]", action="append", default=[],
                   help="copy a file or folder into the guest, to /NAME or DEST; repeatable")
    p.add_argument("--share", metavar="DIR", help="mount a folder of the host at /share in dom0, "
                   "by 9p: dom0 reads and writes the host's files")
    p.add_argument("--memory", metavar="SIZE", help="memory of the machine (default: 2G, with "
                   "an HVM domU 4G); dom0 gets half, on Arm a quarter")
    p.add_argument("--cpus", type=int, metavar="N", help="default: 2, or 1 with a PVH or HVM "
                   "guest on x86, since QEMU's nested SVM is unreliable with more")
    p.add_argument("--domu-memory", metavar="MB", type=int, help="default: 256 (arm64-64k: up to 1024)")
    p.add_argument("--domu-cpus", metavar="N", type=int, default=1, help="default: 1")
    p.add_argument("--domu-config", metavar="LINE", action="append", default=[],
                   help="add a line to the domU's xl configuration; repeatable")
    p.add_argument("--timeout", type=float, default=600, metavar="SECONDS",
                   help="for the boot and the command (default: 600)")
    p.add_argument("--append", default="", metavar="ARGS", help="kernel arguments of dom0")
    p.add_argument("--append-domu", default="", metavar="ARGS", help="kernel arguments of the domU")
    p.add_argument("--append-xen", default="", metavar="ARGS", help="arguments of Xen")
    p.add_argument("--domu-may-crash", action="store_true",
                   help="reports of the domU's kernel are no failure")
    p.add_argument("--qemu-arg", metavar="ARG", action="append", default=[],
                   help="add an argument to QEMU's command; repeatable (--qemu-arg=-s)")
    p.add_argument("--verbose", action="store_true", help="show the console on standard error")
    return p


def forwarded(group, options):
    """The options of this group that differ from their defaults, as arguments."""
    args = []
    for action in group._group_actions:
        value = getattr(options, action.dest)
        if value == action.default:
            continue
        if action.nargs == 0:
            args.append(action.option_strings[0])
            continue
        for one in value if isinstance(value, list) else [value]:
            args.append(f"{action.option_strings[0]}={one}")
    return args


def selftests_of(tree):
    """The selftests that are installed in a built kernel tree, or None."""
    for place in ("kselftest", "tools/testing/selftests/kselftest_install"):
        if os.path.exists(os.path.join(tree, place, "kselftest-list.txt")):
            return os.path.join(tree, place)
    return None
