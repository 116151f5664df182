#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The lab: boots QEMU machines with our kernels and runs things in them.

    lab.py machines
    lab.py known [--kernel K]... [--machine M]... [--demo D] [--boots]
    lab.py test  [--kernel K]... [--machine M]... [--test T]...
    lab.py kunit [--kernel K]... [--suite GLOB] [--parameters "P..."]
    lab.py check | soak | coverage
    lab.py shell [--kernel K] [--machine M]
    lab.py demo  [--kernel K] [--demo D]

test, kunit, check, soak and coverage run tests and print KTAP; the last line
counts cases. A machine's logs are in build/logs/<machine>-<kernel>/, results and
the list of failures in build/logs/{test-*,kunit-*,check,soak,coverage}.{json,failed}.
Builds nothing but what `check`, `soak`, `coverage` and `demo` need, by the
programs in base/.
"""
import argparse
import os
import signal
import subprocess
import sys

import cases
import check
import demo
import guest
import jobs
import kunit
import machine as machines
import report


def command_test(args):
    kernels = args.kernel or ["plain"]
    chosen = args.machine or machines.names()
    to_do = []
    for kernel in kernels:          # complain before anything is booted
        programs = cases.Programs(kernel)
        for name in chosen:
            machine = machines.load(name)
            guest.Guest(machine, kernel, "", 0)
            try:
                cases.select(machine, kernel, programs, args.test)
            except machines.Error:
                if args.machine:
                    raise
                continue            # other machines can
            to_do.append(jobs.Job(f"{name}-{kernel}", (cases.run, name, kernel, args.test)))
    if not to_do:
        raise machines.Error("no machine can run that")
    to = report.Report(len(to_do))
    jobs.run(to, to_do)
    to.save(guest.BUILD / "logs", f"test-{'-'.join(kernels)}")
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
    demo.find(args.demo)
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
            ("known", command_known, "fail unless the named kernels, machines and demo exist"),
            ("test", command_test, "run the selftests"),
            ("kunit", kunit.command, "run the KUnit suites"),
            ("check", check.command_check, "lint, build and test everything"),
            ("soak", check.command_soak, "all tests on all machines, long ones too"),
            ("coverage", check.command_coverage, "which lines of ours no test runs"),
            ("shell", command_shell, "a prompt in a guest"),
            ("demo", demo.command, "show where the bytes of a transfer go")):
        command = commands.add_parser(name, help=text)
        command.set_defaults(function=function)
        command.add_argument("--kernel", action="append", help="plain, debug, gcov, stock, stock-debug or, for kunit, kcsan")
        command.add_argument("--boots", action="store_true", help="kernels that machines boot")
        command.add_argument("--demo", default="copy", help=" or ".join(demo.DEMOS))
        command.add_argument("--machine", action="append", help="a file of lab/machines")
        command.add_argument("--test", action="append", default=[], help="a test program, or a pattern program:case")
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
