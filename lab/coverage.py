# SPDX-License-Identifier: GPL-2.0
"""Reports which lines of this project no test has run, by the counters of guests with the kernel gcov.

A guest leaves its counters in its log folder (lab/guest/init), and lcov sums
them up. In files of the base tree, only lines that our patches add count.
Writes to build/coverage: index.html, table.txt, never-run.txt.
"""
import dataclasses
import json
import pathlib
import shutil
import subprocess

import guest
import report

KERNEL = "gcov"
TREE, BASE = guest.BUILD / "src", guest.BUILD / "src-stock"
FOLDER = guest.BUILD / "coverage"
LOG = guest.BUILD / "logs" / "coverage.log"

# Folders of tests and documents, which don't count
WITHOUT = ("lib/kunit/", "tools/", "Documentation/")

# Part, pattern of its files (the first match counts), percentage of lines that must run
TARGETS = (("the core", "drivers/pci/p2pdma*.c", 95), ("the rest", "*", 90))


@dataclasses.dataclass
class File:
    name: str
    lines: dict     # {number: executions}
    branches: dict  # {(line, block, branch): times taken}

    def counts(self):
        return sum(map(bool, self.lines.values())), len(self.lines), \
            sum(map(bool, self.branches.values())), len(self.branches)


def lcov(*words):
    """Runs a program of lcov. Version 2 has renamed the option, and still accepts this name."""
    with open(LOG, "a") as log:
        run = subprocess.run([*words, "--quiet", "--rc", "lcov_branch_coverage=1"], stdout=log, stderr=log)
    if run.returncode:
        return [f"{words[0]} failed; see {LOG.relative_to(guest.REPO)}"]
    return []


def lines_of_ours(name):
    """Numbers of a file's lines that the base tree doesn't have; None for all of them."""
    if not (BASE / name).exists():
        return None
    diff = subprocess.run(["diff", "--old-line-format=", "--unchanged-line-format=", "--new-line-format=%dn\n",
                           BASE / name, TREE / name], capture_output=True, text=True)
    return set(map(int, diff.stdout.split()))


def select(all_, ours):
    """Copies the records of our lines from trace file all_ to trace file ours; returns them as Files."""
    names = {name for name in json.loads((guest.BUILD / "src.p2pdma").read_text()) if not name.startswith(WITHOUT)}
    found = []
    with open(ours, "w") as out:
        for record in all_.read_text().split("end_of_record\n"):
            lines = record.splitlines()
            source = next((line[3:] for line in lines if line.startswith("SF:")), "")
            path = pathlib.Path(source)
            if not path.is_relative_to(TREE) or str(path.relative_to(TREE)) not in names:
                continue
            name = str(path.relative_to(TREE))
            mine = lines_of_ours(name)
            file = File(name, {}, {})
            kept, functions = [f"SF:{source}"], set()
            for kind, _, text in (line.partition(":") for line in lines):
                fields = text.split(",")
                if kind in ("FN", "DA", "BRDA") and mine is not None and int(fields[0]) not in mine:
                    continue
                if kind == "FN":
                    functions.add(fields[-1])
                elif kind == "DA":
                    file.lines[int(fields[0])] = int(fields[1])
                elif kind == "BRDA":
                    file.branches[tuple(fields[:3])] = 0 if fields[3] == "-" else int(fields[3])
                elif kind != "FNDA" or fields[-1] not in functions:
                    continue
                kept.append(f"{kind}:{text}")
            if file.lines:
                found.append(file)
                out.write("\n".join([*kept, "end_of_record\n"]))
    return sorted(found, key=lambda file: file.name)


def part_of(name):
    return next(what for what, pattern, _ in TARGETS if pathlib.PurePath(name).match(pattern))


def table(files):
    """Lines of text: lines and branches of each file, and of each part."""
    def row(name, rows):
        lines, of_lines, branches, of_branches = map(sum, zip(*rows))
        return (f"{name:40} {100 * lines / of_lines:6.1f} % {lines:5} of {of_lines:5}"
                f" {100 * branches / max(of_branches, 1):6.1f} % {branches:5} of {of_branches:5}")

    yield f"{'':40} {'lines':>8} {'run':>5}    {'all':>5} {'branches':>8} {'run':>5}    {'all':>5}"
    for what, _, _ in TARGETS:
        mine = [file for file in files if part_of(file.name) == what]
        for file in mine:
            yield row(file.name, [file.counts()])
        if mine:
            yield row(what, [file.counts() for file in mine])


def never_run(files):
    for file in files:
        text = (TREE / file.name).read_text().splitlines()
        yield from (f"{file.name}:{number}: {text[number - 1].strip()}"
                    for number, times in sorted(file.lines.items()) if not times)


def text():
    """The table as KTAP comments; empty if there is no table."""
    file = FOLDER / "table.txt"
    return "".join(f"# {line}\n" for line in file.read_text().splitlines()) if file.exists() else ""


def judge(names):
    """Sums up the guests' counters; returns what Report.group() wants. names: the guests' log folders"""
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "counters").mkdir(parents=True)
    LOG.write_text("")
    # Zero counters of all objects: a module that no guest has loaded leaves no counters.
    nothing = FOLDER / "counters/nothing.info"
    wrong = lcov("geninfo", "--initial", guest.BUILD / KERNEL, "--output-filename", nothing)
    traces = ["--add-tracefile", nothing] if not wrong else []
    for name in names:
        into, trace = FOLDER / "counters" / name, FOLDER / "counters" / f"{name}.info"
        into.mkdir()
        tar = subprocess.run(["tar", "-C", into, "-xf", guest.BUILD / "logs" / name / "counters.tar"],
                             capture_output=True, text=True)
        if tar.returncode:
            wrong.append(f"{name} has left no counters: {tar.stderr.strip()}")
            continue
        wrong += lcov("geninfo", into, "--output-filename", trace)
        traces += ["--add-tracefile", trace] if trace.exists() else []
    all_, ours = FOLDER / "counters/all.info", FOLDER / "ours.info"
    if traces:
        wrong += lcov("lcov", *traces, "--output-file", all_)
    if not all_.exists():
        return "lines that tests run", [report.Case("counters", report.FAIL, wrong[:10])], "no report"

    files = select(all_, ours)
    wrong += lcov("genhtml", ours, "--branch-coverage", "--output-directory", FOLDER, "--prefix", TREE)
    (FOLDER / "never-run.txt").write_text("".join(f"{line}\n" for line in never_run(files)))
    (FOLDER / "table.txt").write_text("".join(f"{line}\n" for line in table(files)))
    found = [report.Case("counters", report.FAIL, wrong[:10])] if wrong else []
    for what, _, percent in TARGETS:
        run, of = map(sum, zip((0, 0), *(file.counts()[:2] for file in files if part_of(file.name) == what)))
        enough = of and run * 100 >= percent * of
        found.append(report.Case(f"{percent} % of the lines of {what}", report.PASS if enough else report.FAIL,
                                 [f"{run} of {of} ran; the others are in build/coverage/never-run.txt"]))
    return "lines that tests run", found, "see build/coverage/index.html and never-run.txt"
