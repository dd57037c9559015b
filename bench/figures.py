"""What bench/run has measured of a part, and whether a target is met: for bench/report."""

import json
import math
import os

# metric: what it is called, its unit, and whether it has a figure per one of n
METRICS = {
    "instructions": ("instructions", "", True),
    "callbacks": ("callbacks", "", True),
    "hypercalls": ("hypercalls", "", True),
    "mmu_updates": ("mmu_update hypercalls", "", True),
    "memory_ops": ("memory_op hypercalls", "", True),
    "us": ("time", "µs", True),
    "pages": ("pages still mapped", "", False),
    "p50_ms": ("time, median", "ms", False),
    "p99_ms": ("time, 99th percentile", "ms", False),
    "cpu_percent": ("part of a cpu", "%", False),
}


def number(x):
    if x == int(x) or abs(x) >= 100:
        return f"{x:,.0f}" if x == int(x) else f"{x:,.1f}"
    return f"{x:.2f}" if abs(x) >= 0.1 else f"{x:.2g}"


def ratio(a, b):
    """None: there is none."""
    return round(a / b, 3) if b else math.inf if a else None


class Part:
    """What is known of one part; rows is {(variant, case, n, metric): row}."""

    def __init__(self, out, name, about):
        self.out, self.name, self.about = out, name, about
        self.rows, self.meta, self.state = {}, {}, "not measured"
        try:
            self.meta = self.read(".meta.json") or {}
            self.rows = {(r["variant"], r["case"], r["n"], r["metric"]): r
                         for r in self.read(".json") or []}
            # what fails here is not to fail below
            assert all(math.isfinite(r["value"] + r["spread"]) and k[2] > 0
                       and k[3] in METRICS for k, r in self.rows.items())
            if self.rows:
                self.state = "measured"
            elif "failed" in self.meta:
                self.state = "failed: " + self.meta["failed"]
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as e:
            self.rows, self.state = {}, f"its files can't be read ({type(e).__name__} {e})"
        self.variants = sorted({k[0] for k in self.rows},
                               key=lambda v: (v == "series", v != "base", v))
        self.cases, self.metrics = [list(dict.fromkeys(k[i] for k in self.rows)) for i in (1, 3)]

    def read(self, suffix):
        try:
            with open(os.path.join(self.out, self.name + suffix)) as f:
                return json.load(f)
        except FileNotFoundError:
            return None

    def n_of(self, case):
        return self.about.get("n of", {}).get(case, self.about["n"])

    def per_one(self, metric):
        """Says if the metric is shown per one of n."""
        return METRICS[metric][2]

    def one(self, case):
        return self.n_of(case).rstrip("s")

    def many(self, case, n):
        return f"{n:,} {self.one(case) if n == 1 else self.n_of(case)}"

    def value(self, variant, case, n, metric):
        """That of the sum, if case is "a+b"; None if one is not measured."""
        found = [self.rows.get((variant, c, n, metric)) for c in case.split("+")]
        return None if None in found else sum(r["value"] for r in found)

    def shown(self, variant, case, n, metric):
        value = self.value(variant, case, n, metric)
        if value is None:
            return "not measured"
        unit = METRICS[metric][1]
        spread = "+" not in case and self.rows[variant, case, n, metric]["spread"] / 2
        text = number(value) + (f" ± {number(spread)}" if spread else "") + (unit and " " + unit)
        if self.per_one(metric) and n > 1:
            text += f"<small>{number(value / n)} per {self.one(case)}</small>"
        return text

    def ns(self, case, metric):
        return sorted({k[2] for k in self.rows if (k[1], k[3]) == (case, metric)})


def judge(t, part, n):
    """(measured, wanted, verdict) of a target; the verdict's first word is its class."""
    value = part.value("series", t["case"], n, t["metric"])
    unit, to = METRICS[t["metric"]][1], t.get("to")
    bound = f"at most {number(t['most'])}{unit and ' ' + unit}"
    got = "–" if value is None else number(value) + (unit and " " + unit)
    if to:
        variant, _, case = to.partition(" ")
        other = part.value(variant, case or t["case"], n, t["metric"])
        bound = f"at most {t['most']:.2f} of {to}"
        if None not in (value, other):
            value = ratio(value, other)
            got = f"{value:.3f}" if value is not None and value < math.inf else f"{to} is 0"
            if value is None:
                return got, bound, "not comparable"
        else:
            value, got = None, "–"
    if value is None:
        return got, bound, "not measured"
    if value <= t["most"]:
        return got, bound, "met"
    return got, bound, "MISSED" + (", as known: " + t["known"] if "known" in t else "")
