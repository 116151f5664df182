# SPDX-License-Identifier: GPL-2.0
"""Reads the output of run_kselftest.sh and the kernel's console; prints KTAP.

A case is a line "ok"/"not ok" of a test program, or the program itself when
it has none. A crash of a program, cases missing from its plan, a missing
verdict of the guest, and splats on its console count as failed cases. Doesn't
use QEMU.
"""
import dataclasses
import json
import pathlib
import re

PASS, FAIL, SKIP = "passed", "failed", "skipped"

RESULT = re.compile(r"(not )?ok\b(?: \d+)?(?: -)? ?(.*)")
PLAN = re.compile(r"1\.\.(\d+)")


def patterns(name):
    lines = (pathlib.Path(__file__).resolve().parent / name).read_text().splitlines()
    return re.compile("|".join(line for line in lines if line and not line.startswith("#")))


# Printed by lab/guest/init
LEAKS = "lab: looked for leaks"

SPLATS = patterns("splats")


@dataclasses.dataclass
class Case:
    name: str
    result: str
    why: list       # lines for people: the reason of a skip, the messages of a failure
    seconds: float = 0      # 0: not known


def result_of(line):
    """Case of a result line, without its messages; None for any other line."""
    match = RESULT.fullmatch(line)
    if not match:
        return None
    name, _, directive = match[2].partition("#")
    directive = directive.strip()
    if match[1]:
        return Case(name.strip(), FAIL, [directive] if directive else [])
    if directive.upper().startswith("SKIP"):
        return Case(name.strip(), SKIP, [directive[4:].strip() or "no reason given"])
    return Case(name.strip(), PASS, [])


def cases(lines, stamps):
    """Cases of a whole run of run_kselftest.sh. stamps: arrival times of the lines"""
    found, program, messages, plan = [], [], [], None
    promised, programs = None, 0
    last = stamps[0] if stamps else 0
    for line, stamp in zip(lines, stamps):
        if line.startswith("Bail out!"):
            found.append(Case("run", FAIL, [line]))
        elif line.startswith("# "):
            inner = line[2:]
            if PLAN.match(inner):
                plan = int(PLAN.match(inner)[1])
            case = result_of(inner)
            if case is None:
                messages.append(inner)
                continue
            if case.result == FAIL:
                case.why += [m.lstrip("# ") for m in messages if not m.startswith(("#  RUN", "TAP version"))]
            case.seconds, last = round(stamp - last, 1), stamp
            program.append(case)
            messages = []
        elif PLAN.fullmatch(line):
            promised = (promised or 0) + int(PLAN.fullmatch(line)[1])
        elif whole := result_of(line):
            programs += 1
            seconds, last = round(stamp - last, 1), stamp
            title = whole.name.split(": ")[-1]
            for case in program:
                case.name = f"{title}: {case.name}"
            if not program:
                whole.name, whole.seconds = title, seconds
                if whole.result == FAIL:
                    whole.why += messages
                elif whole.result == SKIP and messages:
                    whole.why = [messages[-1].lstrip("# ")]
                program = [whole]
            elif whole.result == FAIL and all(case.result != FAIL for case in program):
                program.append(Case(f"{title}: exit", FAIL, whole.why + messages[-5:]))
            elif whole.result != SKIP and plan is not None and plan != len(program):
                program.append(Case(f"{title}: plan", FAIL, [f"{plan} cases planned, {len(program)} reported"]))
            found += program
            program, messages, plan = [], [], None
    if program:
        found += program
    if promised is None or programs < promised:
        found.append(Case("run", FAIL, [f"{programs} of {promised or 'no'} test programs came to an end",
                                        *lines[-5:]]))
    return found


def splats(console, allowed=()):
    """Lines of the console that report an error of the kernel"""
    if not console.exists():
        return ["there is no console log"]
    good = re.compile("|".join(allowed)) if allowed else None
    return [line for line in console.read_text(errors="replace").splitlines()
            if SPLATS.search(line) and not (good and good.search(line))]


def judge_skips(cases, declared, is_like):
    """Makes failures of skips that aren't declared, and of declared ones that didn't happen.

    declared: {pattern: reason}; is_like(name, pattern) compares
    """
    for case in cases:
        if case.result == SKIP and not any(is_like(case.name, pattern) for pattern in declared):
            case.result, case.why = FAIL, [f"was to run, but was skipped: {case.why[0]}"]
    for pattern, why in declared.items():
        if not any(case.result == SKIP and is_like(case.name, pattern) for case in cases):
            cases.append(Case(pattern, FAIL, [f"a skip is declared ({why}), but nothing was skipped"]))


def console_cases(console, leaks, allowed=()):
    """Failed cases for the kernel's console; none without splats. leaks: the kernel has kmemleak."""
    bad = splats(console, allowed)
    found = [Case("console", FAIL, bad[:10])] if bad else []
    if leaks and (not console.exists() or LEAKS not in console.read_text(errors="replace")):
        found.append(Case("leaks", FAIL, ["nobody has looked for leaks: kmemleak is off, or the guest came to no end"]))
    return found


class Report:
    """Prints results as they arrive, and totals at the end."""

    SLOWEST = 12        # parts to name

    def __init__(self, planned):
        self.number = 0
        self.cases = []     # (group, Case)
        self.parts = []     # (seconds, group)
        print(f"KTAP version 1\n1..{planned}", flush=True)

    def group(self, name, description, cases, note="", seconds=0):
        """One result line, its cases indented above it. True if none failed."""
        print(f"  KTAP version 1\n  1..{len(cases)}\n  # {description}")
        for number, case in enumerate(cases, 1):
            directive = f" # SKIP {case.why[0]}" if case.result == SKIP else ""
            print(f"  {'not ok' if case.result == FAIL else 'ok'} {number} {case.name}{directive}")
            if case.result == FAIL:
                for line in case.why:
                    print(f"    # {line}")
            self.cases.append((name, case))
        failed = any(case.result == FAIL for case in cases)
        self.line(name, failed, f"{seconds:.0f} s, {note}", seconds)
        return not failed

    def single(self, name, failed, note="", seconds=0):
        self.cases.append((name, Case("", FAIL if failed else PASS, [note])))
        self.line(name, failed, note, seconds)

    def line(self, name, failed, note, seconds):
        self.number += 1
        self.parts.append((seconds, name))
        print(f"{'not ok' if failed else 'ok'} {self.number} {name}{f' # {note}' if note else ''}", flush=True)

    def count(self, result):
        return sum(case.result == result for _, case in self.cases)

    def save(self, folder, name):
        """All results as JSON; the failed ones as text, one a line."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(
            [{"group": group, **dataclasses.asdict(case)} for group, case in self.cases], indent=1) + "\n")
        (folder / f"{name}.failed").write_text("".join(
            f"{group}: {case.name or 'all of it'}: {'; '.join(case.why[:3])}\n"
            for group, case in self.cases if case.result == FAIL))

    def end(self):
        """Prints what took longest and the last line; returns the exit status."""
        parts = sorted(self.parts, reverse=True)[:self.SLOWEST]
        if len(self.parts) > 1:
            print("# slowest parts, in seconds: " + ", ".join(f"{name} {seconds:.0f}" for seconds, name in parts))
        # A case that runs on several machines and kernels counts once
        print(f"# distinct cases: {len({case.name or name for name, case in self.cases if case.result != SKIP})}")
        print(f"{self.count(PASS)} passed, {self.count(FAIL)} failed, {self.count(SKIP)} skipped")
        return 1 if self.count(FAIL) or not self.count(PASS) else 0
