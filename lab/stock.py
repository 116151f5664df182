# SPDX-License-Identifier: GPL-2.0
"""Runs the tests on the stock core, and compares what fails with README.md's table of defects.

If a row's last column begins with "fails", at least one of the row's tests must
fail on stock; otherwise none may, and if it begins with "passes", one must pass. Programs that must pass on stock as a whole
(cases.ON_STOCK) are left out: `make soak` runs them separately.
"""
import fnmatch
import re

import cases
import guest
import kunit
import report

KERNEL = "stock"
MACHINES = ("switch", "registration", "hotplug", "stacks", "multipath")


def tests_of(text):
    """[(KUnit suite or program, case pattern)] of a cell such as "`a`, `b`: `c`; `d`: `e`"."""
    found, names, fresh = [], [], True
    for name, colon in re.findall(r"`([^`]+)`(:?)", text):
        if colon or name.startswith("p2pdma_") or not names:
            names = [name] if fresh else [*names, name]
            fresh = False
        else:
            found += [(each, name) for each in names]
            fresh = True
    if not found:
        found = [(each, "*") for each in names]
    return found


def rows():
    """[(defect, patterns of its tests, expected result on stock)]"""
    lines = (guest.REPO / "README.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| D\d+ ", line)]
    return [(name, tests_of(tests), stock) for name, _, tests, stock in cells if "`make " not in tests]


def is_like(name, test):
    program, case = test
    where, _, what = name.partition(": ") if ": " in name else name.partition(".")
    return where == program and any(fnmatch.fnmatchcase(what, pattern) for pattern in (case, f"*.{case}", f"{case}.*"))


def compare(found):
    """Yields a case for each row of the table, from the results of its tests."""
    for name, tests, stock in rows():
        mine = [case for case in found if any(is_like(case.name, test) for test in tests)]
        failed = [case.name for case in mine if case.result == report.FAIL]
        if stock.startswith("fails"):
            why = [] if failed else ["README.md says that it fails on stock, but none of its tests did"]
        elif stock.startswith("passes") and not any(case.result == report.PASS for case in mine):
            why = ["README.md says that it passes on stock, but none of its tests did"]
        else:
            why = [f"README.md says '{stock}', but on stock these failed: {' '.join(failed)}"] if failed else []
        yield report.Case(name, report.FAIL if why else report.PASS, why)


def run():
    """Returns what Report.group() wants."""
    found = kunit.run(KERNEL)[1]
    for name in MACHINES:
        found += cases.run(name, KERNEL, [f"!{program}" for program in cases.ON_STOCK])[1]
    return "README.md's column for the stock core", list(compare(found)), "logs in build/logs/*-stock"
