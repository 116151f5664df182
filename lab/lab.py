#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The lab: boots QEMU machines with our kernels and runs things in them.

    lab.py machines
    lab.py known [--kernel K]... [--machine M]... [--boots]
    lab.py test  [--kernel K]... [--machine M]... [--test T]...
    lab.py kunit [--kernel K]... [--suite GLOB] [--parameters "P..."]
    lab.py check
    lab.py shell [--kernel K] [--machine M]
    lab.py demo  [--kernel K]

test, kunit and check run tests and print KTAP; the last line counts cases. A
machine's logs are in build/logs/<machine>-<kernel>/, results and the list of
failures in build/logs/{test-*,kunit-*,check}.{json,failed}. Builds nothing but
what `check` and `demo` need, by the programs in base/.
"""
import argparse
import concurrent.futures
import os
import signal
import subprocess
import sys
import time

import demo
import guest
import kunit
import machine as machines
import report

LOGS = guest.BUILD / "logs"

# Seconds: for one test program, and for one guest as a whole
TEST_TIMEOUT = {"plain": 300, "stock": 300, "debug": 900}
GUEST_TIMEOUT = {"plain": 600, "stock": 600, "debug": 1800}


def selftests(machine, kernel, wanted):
    """The shell command that runs the selftests in the guest: the wanted ones, or the machine's."""
    folder = guest.BUILD / "selftests" / kernel
    try:
        there = (folder / "kselftest-list.txt").read_text().split()
    except FileNotFoundError:
        raise machines.Error(f"no selftests for kernel '{kernel}'; run: make selftests KERNEL={kernel}") from None
    tests = {name.split(":")[1]: name for name in there}
    for name in (*wanted, *machine.tests, *machine.without, *machine.also):
        if name not in tests:
            raise machines.Error(f"there is no test '{name}'; there are: {' '.join(tests)}")
    ours = [title for title, name in tests.items() if name.startswith("p2pdma:")]
    run = wanted or [name for name in machine.tests or ours if name not in machine.without] + machine.also
    chosen = "".join(f" -t {name}" for title, name in tests.items() if title in run)
    return f"{folder}/run_kselftest.sh -o {TEST_TIMEOUT[kernel]}{chosen}"


def test_machine(name, kernel, wanted):
    """Runs the selftests on one machine; returns what Report.group() wants."""
    machine = machines.load(name)
    program = selftests(machine, kernel, wanted)
    retried = []
    for _ in range(2):
        box = guest.Guest(machine, kernel, program, GUEST_TIMEOUT[kernel])
        box.prepare()
        box.run()
        # QEMU 7.2 now and then dies of a BAR that moves while a CPU uses it.
        # No guest may do that to it, so the guest isn't to blame; but only once,
        # and not if the kernel had complained.
        if not box.crashed or report.splats(box.console, machine.allow)[0]:
            break
        retried = [report.Case("qemu", report.SKIP, ["QEMU itself crashed; the machine was run once more"])]
    (box.log_dir / "verdict.tap").write_text("\n".join(box.verdict) + "\n")
    found = retried + report.cases(box.verdict)
    if box.problem:
        last = box.console.read_text(errors="replace").splitlines()[-5:] if box.console.exists() else []
        found.append(report.Case("verdict", report.FAIL, [box.problem, *last]))
    bad, base = report.splats(box.console, machine.allow)
    if base:
        found.append(report.Case("console, base tree", report.SKIP, [f"known splat: {base[0]}"]))
    if bad:
        found.append(report.Case("console", report.FAIL, bad[:10]))
    return machine.description, found, f"{box.seconds:.0f} s, logs in {box.log_dir.relative_to(guest.REPO)}"


def run_all(to, jobs):
    """Runs (name, function, arguments...), some at a time, and reports them in order."""
    # A guest waits as often as it computes: one for each CPU keeps them busy
    pool = concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS") or min(os.cpu_count(), 4)))
    try:
        runs = [(name, pool.submit(*work)) for name, *work in jobs]
        for name, run in runs:
            try:
                to.group(name, *run.result())
            except machines.Error as error:
                to.single(name, True, str(error))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        guest.kill_all()
        raise
    pool.shutdown()


def on_machines(kernel, chosen, wanted):
    """The jobs of testing a kernel on machines."""
    return [(f"{name}-{kernel}", test_machine, name, kernel, wanted) for name in chosen]


def command_test(args):
    kernels = args.kernel or ["plain"]
    chosen = args.machine or machines.names()
    for name in chosen:             # complain before anything is booted
        for kernel in kernels:
            machine = machines.load(name)
            guest.Guest(machine, kernel, "", 0)
            selftests(machine, kernel, args.test)
    to = report.Report(len(kernels) * len(chosen))
    for kernel in kernels:
        run_all(to, on_machines(kernel, chosen, args.test))
    to.save(LOGS, f"test-{'-'.join(kernels)}")
    return to.end()


def part(to, name, command):
    """Runs one part of `check` with its output in a log; True if all went well.

    Result lines that the command prints count one by one.
    """
    start = time.monotonic()
    log = LOGS / f"check-{name}.log"
    LOGS.mkdir(parents=True, exist_ok=True)
    print(f"# {' '.join(command)}", flush=True)
    try:
        with open(log, "w") as out:
            failed = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode != 0
    except OSError as error:
        log.write_text(f"{command[0]}: {error}\n")
        failed = True
    lines = log.read_text(errors="replace").splitlines()
    found = [case for case in map(report.result_of, lines) if case]
    if failed and all(case.result != report.FAIL for case in found):
        found.append(report.Case("exit", report.FAIL, lines[-20:]))
    to.group(name, " ".join(command), found or [report.Case("exit", report.PASS, [])],
             f"{time.monotonic() - start:.0f} s, log in {log.relative_to(guest.REPO)}")
    return not failed


def command_check(args):
    # What runs where: KUnit suites, and machines. KCSAN is for those suites
    # in which there are races to find; the others would only take longer.
    suites = {"plain": "", "debug": "", "kcsan": "p2pdma_pool*"}
    on = {"plain": machines.names(),
          "debug": [name for name in machines.names() if machines.load(name).debug],
          "kcsan": []}
    to = report.Report(4 + sum(2 + bool(names) + len(names) for names in on.values()))
    tree = part(to, "tree", ["make", "-s", "tree"])
    part(to, "lint", ["base/lint"])
    part(to, "docs", ["base/docs"])
    for kernel, names in on.items():
        built = tree and part(to, f"kernel-{kernel}", ["base/6.12/kernel", kernel]) \
            and (not names or part(to, f"selftests-{kernel}", ["lab/selftests", kernel]))
        jobs = [(f"kunit-{kernel}", kunit.run, kernel, suites[kernel]), *on_machines(kernel, names, [])]
        if built:
            run_all(to, jobs)
        else:
            for name, *_ in jobs:
                to.single(name, True, "not run: there is nothing to run")
    part(to, "demo", ["lab/lab.py", "demo"])
    to.save(LOGS, "check")
    return to.end()


def command_shell(args):
    kernel, name = (args.kernel or ["plain"])[0], (args.machine or ["switch"])[0]
    if not sys.stdin.isatty():
        raise machines.Error("a shell needs a terminal")
    machine = machines.load(name)
    box = guest.Guest(machine, kernel, "bash --rcfile /run/bashrc -i", 0, interactive=True)
    box.prepare()
    print(f"Booting '{name}' ({machine.description}) with kernel '{kernel}' ...", flush=True)
    saved = subprocess.run(["stty", "-g"], capture_output=True, text=True).stdout.strip()
    try:
        subprocess.run(["stty", "raw", "-echo"])
        box.run()
    finally:
        subprocess.run(["stty", saved])
    if box.process.returncode:
        raise machines.Error(box.problem)
    print(f"The guest is off. Its console log and DMA trace are in {box.log_dir.relative_to(guest.REPO)}/")
    return 0


def command_known(args):
    """Complains about names before anything is built for them."""
    for name in args.machine or []:
        machines.load(name)
    kernels = guest.KERNELS if args.boots else kunit.TREE
    for kernel in args.kernel or []:
        if kernel not in kernels:
            what = "no machine boots a" if args.boots else "there is no"
            raise machines.Error(f"{what} kernel '{kernel}'; there are: {' '.join(kernels)}")
    return 0


def command_machines(args):
    for name in machines.names():
        print(f"{name:22} {machines.load(name).description}")
    return 0


def main():
    parser = argparse.ArgumentParser(description="Boots QEMU machines with our kernels and runs things in them.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, function, text in (
            ("machines", command_machines, "list them"),
            ("known", command_known, "fail unless the named kernels and machines exist"),
            ("test", command_test, "run the selftests"),
            ("kunit", kunit.command, "run the KUnit suites"),
            ("check", command_check, "lint, build and test everything"),
            ("shell", command_shell, "a prompt in a guest"),
            ("demo", demo.command, "the SSD-to-SSD copy")):
        command = commands.add_parser(name, help=text)
        command.set_defaults(function=function)
        command.add_argument("--kernel", action="append", help="plain, debug, stock or, for kunit, kcsan")
        command.add_argument("--boots", action="store_true", help="kernels that machines boot")
        command.add_argument("--machine", action="append", help="a file of lab/machines")
        command.add_argument("--test", action="append", default=[], help="one test program")
        command.add_argument("--suite", default="", help="KUnit suites, or suite.test, as a glob")
        command.add_argument("--parameters", default="", help="kernel parameters for KUnit")
    args = parser.parse_args()
    os.chdir(guest.REPO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)   # take QEMU along
    try:
        return args.function(args)
    except machines.Error as error:
        print(f"lab: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
