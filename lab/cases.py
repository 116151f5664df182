# SPDX-License-Identifier: GPL-2.0
"""Selects the selftests' cases for a machine, runs them there, and judges the results.

A case is named "program: case". A pattern is such a name with wildcards, or a
program alone; a "!" before it excludes its cases. Every selected case must run:
a skip is a failure, unless the machine's file declares it.
"""
import fnmatch
import functools
import os
import pathlib
import re
import shutil
import subprocess
import threading

import guest
import machine as machines
import report

NEEDS = pathlib.Path(__file__).resolve().parent / "needs"
OURS = "p2pdma"         # the collection whose cases are selected one by one

# Features of kernels that cases may need; "naive": arrays that believe a flag, and don't ask for routes
KERNEL_HAS = {"plain": {"ours", "ext4"}, "debug": {"ours", "faults", "leaks", "vfio", "traces"}, "gcov": {"ours", "faults", "vfio"},
              "stock": {"ext4", "naive"}, "stock-debug": {"faults", "leaks", "vfio"}}

# Programs that do what drivers in the field do, with the same results on the stock core
IN_FIELD = ("gpu_module", "pfn_io")

# lsp2p tells in advance what the stock core answers
PREDICTION = ("lsp2p_agree.sh",)

# Programs that must pass on the stock core as a whole
ON_STOCK = IN_FIELD + PREDICTION

# Seconds: for one test program, and for one guest as a whole
TEST_TIMEOUT = {"plain": 600, "stock": 600, "gcov": 900, "debug": 900, "stock-debug": 900}
GUEST_TIMEOUT = {"plain": 1200, "stock": 1200, "gcov": 1800, "debug": 1800, "stock-debug": 1800}

# QEMU 7.2 has crashed where a guest moved BARs while another CPU ran; a race in
# its TCG that upstream fixed (0d58c660689f) would explain it. After the first
# crash of a run the machine runs again, and this stays locked: only one crash is forgiven.
ONE_CRASH = threading.Lock()

# Seconds. A guest's clock is the host's TSC, which may jump if the host itself is
# a guest that is paused or migrated. All timeouts in the guest then expire at once.
MOST_AHEAD = 10

# A line of a program's -l: fixture, variant, test, in columns
LISTED = re.compile(r"(\S{20,}|.{20}) (\S{25,}|.{25}) (\S*)$")


def is_like(name, pattern):
    """Does the case name match the pattern?"""
    program, _, case = pattern.partition(":")
    return fnmatch.fnmatchcase(name, f"{program}: {case.strip() or '*'}")


@functools.cache
def needs():
    """[(pattern, words)]"""
    found = []
    for line in NEEDS.read_text().splitlines():
        if line and not line.startswith("#"):
            pattern, *words = re.split(r"\t+", line)
            found.append((pattern, set(" ".join(words).split())))
    return found


def wanted_by(name):
    """All words that a case needs."""
    lines = [words for pattern, words in needs() if is_like(name, pattern)]
    if not lines:
        raise machines.Error(f"lab/needs says nothing of '{name}'")
    return set().union(*lines)


class Programs:
    """The selftests that are built for one kernel."""

    def __init__(self, kernel):
        self.folder = guest.BUILD / "selftests" / kernel
        try:
            there = (self.folder / "kselftest-list.txt").read_text().split()
        except FileNotFoundError:
            raise machines.Error(f"no selftests for kernel '{kernel}'; run: make selftests KERNEL={kernel}") from None
        self.collection = {name.split(":")[1]: name.split(":")[0] for name in there}

    @functools.cache
    def cases(self, program):
        """Names of a program's cases; one without a case for a program of another collection, which has no -l."""
        if self.collection[program] != OURS:
            return [f"{program}: "]
        listed = subprocess.run([self.folder / OURS / program, "-l"], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True)
        rows = [[column.strip() for column in match.groups()] for match in map(LISTED.match, listed.stderr.splitlines())
                if match and not match[1].startswith("#")]
        # Variants and tests of a fixture are separate columns: there are as many rows as in the longer one
        fixtures, last = {}, ""
        for fixture, variant, test in rows:
            last = fixture or last
            variants, tests = fixtures.setdefault(last, ([], []))
            variants += [variant] if variant else []
            tests += [test] if test else []
        found = [f"{program}: " + ".".join(filter(None, (fixture, variant, test)))
                 for fixture, (variants, tests) in fixtures.items() for variant in variants or [""] for test in tests]
        if not found:
            raise machines.Error(f"{program} -l lists no cases")
        return found

    def all(self):
        """Every case of ours."""
        return [name for program, collection in self.collection.items() if collection == OURS
                for name in self.cases(program)]

    def command(self, names, timeout):
        """The shell command that runs these cases."""
        settings, chosen = [], []
        for program, collection in self.collection.items():
            mine = [name for name in names if name.startswith(f"{program}: ")]
            if not mine:
                continue
            chosen.append(f"-t {collection}:{program}")
            if len(mine) < len(self.cases(program)):
                arguments = " ".join(f"-r {name.partition(': ')[2]}" for name in mine)
                variable = re.sub(r"\W", "_", program).upper()
                settings.append(f"export KSELFTEST_{variable}_ARGS='{arguments}';")
        return " ".join([*settings, f"{self.folder}/run_kselftest.sh -o {timeout}", *chosen])


def select(machine, kernel, programs, wanted=()):
    """Names of the cases to run: of the wanted ones, or else of the machine's, those that the machine can run."""
    there = programs.all() + [f"{program}: " for program in machine.also]
    unwanted = [pattern[1:] for pattern in wanted if pattern.startswith("!")]
    wanted = [pattern for pattern in wanted if not pattern.startswith("!")]
    patterns = [*machine.tests, *machine.without, *machine.skip, *wanted, *unwanted]
    for pattern in patterns:
        if not any(is_like(name, pattern) for name in there):
            raise machines.Error(f"no test is like '{pattern}'; programs are: {' '.join(programs.collection)}")
    has = machine.has | KERNEL_HAS[kernel]

    def chosen(name):
        if any(is_like(name, pattern) for pattern in unwanted):
            return False
        if wanted:
            return any(is_like(name, pattern) for pattern in wanted)
        return name in there[len(there) - len(machine.also):] or \
            (not machine.tests or any(is_like(name, pattern) for pattern in machine.tests)) and \
            not any(is_like(name, pattern) for pattern in machine.without)

    found = [name for name in there if chosen(name) and (name.endswith(": ") or wanted_by(name) <= has)]
    if not found:
        lacks = {name: wanted_by(name) - has for name in there if chosen(name)}
        raise machines.Error(f"machine {machine.name} with kernel '{kernel}' can't run any of that; "
                             f"it lacks {' '.join(sorted(set().union(*lacks.values())))}")
    return found


def judge(machine, selected, found):
    """Adds failures for selected cases that didn't run, undeclared skips, and programs with no result but skips."""
    names = {case.name for case in found}
    found += [report.Case(name, report.FAIL, ["was to run, but didn't"]) for name in selected
              if not name.endswith(": ") and name not in names]
    report.judge_skips(found, {pattern: why for pattern, why in machine.skip.items()
                               if any(is_like(name, pattern) for name in selected)}, is_like)
    for program in sorted({name.partition(": ")[0] for name in selected}):
        if not any(case.result != report.SKIP and is_like(case.name, program) for case in found):
            found.append(report.Case(f"{program}: none", report.FAIL, ["a program that passes nothing fails"]))
    return found


def boot(machine, kernel, program, times, folder):
    """Runs a shell command in a guest; returns the Guest."""
    box = guest.Guest(machine, kernel, program, GUEST_TIMEOUT[kernel] * times, name=folder, P2PDMA_TIMES=str(times))
    box.prepare()
    box.run()
    return box


def run(name, kernel, wanted=(), times=1, folder=None):
    """Runs the selftests on one machine; returns what Report.group() wants.

    times: factor for the repetitions in programs; folder: of the logs, instead of <machine>-<kernel>
    """
    times = int(os.environ.get("P2PDMA_TIMES") or times)
    machine = machines.load(name)
    programs = Programs(kernel)
    selected = select(machine, kernel, programs, wanted)
    program = programs.command(selected, TEST_TIMEOUT[kernel] * times)
    box = boot(machine, kernel, program, times, folder)
    note = ""
    # Not if the kernel has complained: that may be the cause.
    if not report.splats(box.console, machine.allow) and \
            (box.ahead > MOST_AHEAD or box.crashed and ONE_CRASH.acquire(blocking=False)):
        kept = box.log_dir.with_name(f"{box.log_dir.name}-before")
        shutil.rmtree(kept, ignore_errors=True)
        box.log_dir.rename(kept)
        why = f"its clock jumped {box.ahead:.0f} s ahead" if box.ahead > MOST_AHEAD else box.problem
        note = f", run again: {why}, see {kept.relative_to(guest.REPO)}"
        box.lock.close()
        box = boot(machine, kernel, program, times, folder)
    (box.log_dir / "verdict.tap").write_text("\n".join(box.verdict) + "\n")
    found = report.cases(box.verdict, box.stamps)
    # The stock core lacks features that other tests need: lab/stock.py judges their results
    if "ours" in KERNEL_HAS[kernel] or wanted and all(pattern.partition(":")[0] in ON_STOCK for pattern in wanted):
        found = judge(machine, selected, found)
    if box.problem:
        last = box.console.read_text(errors="replace").splitlines()[-5:] if box.console.exists() else []
        found.append(report.Case("verdict", report.FAIL, [box.problem, *last]))
    found += report.console_cases(box.console, "leaks" in KERNEL_HAS[kernel], machine.allow)
    return machine.description, found, f"logs in {box.log_dir.relative_to(guest.REPO)}{note}"


def all_run(runs):
    """Is every case run by one of (machine's name, kernel, wanted)? Returns what Report.group() wants.

    Cases that need what only other kernels have don't count.
    """
    there, missing = {}, set()
    kernels = sorted({kernel for _, kernel, _ in runs})
    elsewhere = set().union(*KERNEL_HAS.values()).difference(*(KERNEL_HAS[kernel] for kernel in kernels))
    for kernel in kernels:
        there[kernel] = Programs(kernel)
        missing.update(name for name in there[kernel].all() if not wanted_by(name) & elsewhere)
    for name, kernel, wanted in runs:
        missing.difference_update(select(machines.load(name), kernel, there[kernel], wanted))
    return ("each case of the selftests has a machine",
            [report.Case(name, report.FAIL, ["no machine runs it"]) for name in sorted(missing)]
            or [report.Case("all", report.PASS, [])], "lab/needs and lab/machines say what runs where")
