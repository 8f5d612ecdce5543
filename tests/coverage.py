#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Tell which lines of lib/ were run, of what gcovr has counted, and which not.

usage: coverage.py REPORT EXPECTED SRCDIR

REPORT is gcovr's, with --json.  EXPECTED is tests/uncovered.txt: how many lines
of which function are not run, and why.  A function with more of them than that
makes this fail: there is something new that no test runs.
"""

import collections
import json
import os
import sys

# By what a file's name begins with.
GROUPS = (
    ("lib/service/", "service core"),
    ("lib/format1", "format 1"),
    ("lib/format2", "format 2"),
    ("lib/journal", "journal"),
    ("lib/nbd", "NBD client"), ("lib/device-nbd", "NBD client"),
    ("lib/device", "devices"), ("lib/blank", "devices"),
    ("lib/", "producer, consumer, rings"),
)


def group_of(name):
    return next(group for start, group in GROUPS if name.startswith(start))


def read_expected(name):
    """(file, function) -> [number of lines, reason]"""
    expected = {}
    with open(name) as f:
        for line in f:
            if not line.strip() or line.startswith("#"):
                continue
            file, function, number, reason = line.split(None, 3)
            expected[file, function] = [int(number), reason.strip()]
    return expected


def function_of(functions, number):
    """The one that begins last before this line."""
    before = [f for f in functions if f["lineno"] <= number]
    return max(before, key=lambda f: f["lineno"])["name"] if before else "-"


def read_report(name, srcdir):
    """Lines and lines that were run, by file; and those that were not, by
    function."""
    counts, missed = {}, collections.OrderedDict()
    with open(name) as f:
        files = json.load(f)["files"]
    for f in sorted(files, key=lambda f: f["file"]):
        lines = [l for l in f["lines"] if not l.get("gcovr/noncode")]
        if not lines:
            continue
        counts[f["file"]] = (len(lines), sum(l["count"] > 0 for l in lines))
        with open(os.path.join(srcdir, f["file"])) as source:
            text = source.read().split("\n")
        for l in lines:
            if l["count"] == 0:
                key = f["file"], function_of(f["functions"], l["line_number"])
                missed.setdefault(key, []).append(
                    (l["line_number"], text[l["line_number"] - 1].strip()))
    return counts, missed


def print_table(counts):
    print("%-28s %7s %7s %7s" % ("", "lines", "run", ""))
    for name, (lines, run) in counts:
        print("%-28s %7d %7d %6.1f%%" % (name, lines, run, 100 * run / lines))
    print()


def by_group(counts):
    sums = {}
    for name, (lines, run) in counts.items():
        for key in group_of(name), "all":
            a, b = sums.get(key, (0, 0))
            sums[key] = a + lines, b + run
    return sorted(sums.items(), key=lambda g: (g[0] == "all", g[0]))


def main():
    report, expected_name, srcdir = sys.argv[1:]
    expected = read_expected(expected_name)
    counts, missed = read_report(report, srcdir)
    if not counts:
        sys.exit("coverage: nothing was counted")
    new = []
    for (file, function), lines in missed.items():
        number, reason = expected.get((file, function), (0, "no reason known"))
        if len(lines) > number:
            new.append("%s %s: %d lines, and not %d" %
                       (file, function, len(lines), number))
        print("%s, %s: %s" % (file, function, reason))
        for at, text in lines:
            print("  %4d  %s" % (at, text))
    print()
    print_table(sorted(counts.items()))
    print_table(by_group(counts))
    for key in sorted(expected.keys() - missed.keys()):
        print("run, for all that %s says: %s %s" %
              ((os.path.basename(expected_name),) + key))
    for text in new:
        print("not run: " + text)
    if new:
        sys.exit(1)


main()
