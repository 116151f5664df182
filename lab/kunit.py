# SPDX-License-Identifier: GPL-2.0
"""Runs the KUnit suites that are built into a kernel, by the kernel's own kunit.py.

The kernel is that of build/<kernel>; nothing is configured or built. kunit.py
boots it in QEMU and reads its results. Beyond these, a splat on the console
(lab/splats) is a failure, and so is a memory leak of a suite, if the kernel has
kmemleak. Logs are in build/logs/kunit-<kernel>/: console.log of the guest, and
kunit.log with the output of kunit.py.
"""
import fcntl
import fnmatch
import json
import re
import shlex
import shutil
import signal
import subprocess

import guest
import jobs
import machine as machines
import qemu
import report

TIMEOUT = {"plain": 600, "stock": 600, "gcov": 1800, "debug": 1800, "kcsan": 1800, "stock-debug": 1800}
TREE = {"plain": "src", "debug": "src", "kcsan": "src", "gcov": "src", "stock": "src-stock-tests",
        "stock-debug": "src-stock-tests"}

MACHINE = guest.REPO / "lab/kunit.toml"
QEMU_CONFIG = guest.REPO / "lab/kunit_qemu.py"

STAMP = re.compile(r"^\[ *\d+\.\d+\] ")
RESULT = re.compile(r"\s*(not )?ok \d+ (.*?)(?: # SKIP ?(.*))?")


class Tool(subprocess.Popen):
    """A kunit.py process, which ends QEMU when it is interrupted, but not when it is killed."""

    def kill(self):
        self.send_signal(signal.SIGINT)


def messages(console):
    """{test: [its messages before a failure, or the reason of a skip]}; of equal names the last one counts."""
    said, lines = {}, []
    for line in console.read_text(errors="replace").splitlines():
        line = STAMP.sub("", line)
        result = RESULT.fullmatch(line)
        if result:
            if result[3]:
                said[result[2]] = [result[3]]
            elif result[1] and lines:
                said[result[2]] = lines[:20]
            lines = []
        elif line.startswith("    ") and not line.lstrip().startswith(("KTAP", "1..")):
            lines.append(line.strip().removeprefix("# "))
    return said


def cases(group, said, above=""):
    """kunit.py's results as report's cases, named suite.test or suite.test.parameter."""
    result = {"PASS": report.PASS, "SKIP": report.SKIP}
    for inner in group["sub_groups"]:
        yield from cases(inner, said, f"{above}{inner['name']}.")
    for case in group["test_cases"]:
        found = report.Case(above + case["name"], result.get(case["status"], report.FAIL), [])
        if found.result == report.SKIP:
            found.why = said.get(case["name"], ["no reason given"])
        elif found.result == report.FAIL:
            found.why = said.get(case["name"], [case["status"].lower()])
        yield found


def seeds(console):
    """The first seed that each random test has printed, as kernel parameters."""
    found = dict(re.findall(r"\b(p2pdma_\w+\.seed)=(\d+)", console.read_text(errors="replace"))[::-1])
    return "".join(f", {name}={found[name]}" for name in sorted(found))


def run(kernel, suites="", parameters="", folder="", timeout=None):
    """Boots the kernel once; returns what report.Report.group() wants.

    suites: a glob for kunit.filter_glob; parameters: of the kernel; folder: of
    the logs, instead of kunit-<kernel>; timeout: in seconds, instead of TIMEOUT
    """
    build = guest.BUILD / kernel
    if not (build / "vmlinux").exists():
        raise machines.Error(f"kernel '{kernel}' is not built; run: make kernel KERNEL={kernel}")
    leaks, counters = qemu.has(kernel, "DEBUG_KMEMLEAK"), qemu.has(kernel, "GCOV_KERNEL")

    logs = guest.BUILD / "logs" / (folder or f"kunit-{kernel}")
    (guest.BUILD / "run").mkdir(parents=True, exist_ok=True)
    lock = open(guest.BUILD / "run" / f"kunit-{kernel}.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)            # kunit.py writes into the kernel's folder
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    console, results = logs / "console.log", logs / "results.json"

    arguments = [*qemu.ALWAYS, *parameters.split()]
    machine = machines.read(MACHINE)
    to_qemu = machine.qemu_arguments(None)
    if counters:
        to_qemu += ["-device", "virtio-serial-pci", *qemu.counters_port(logs / "counters.tar")]
    if leaks or counters:
        # kmemleak and gcov are read from user space, but kunit.py makes the kernel halt before init.
        # So all kernel parameters come from here, and those that kunit.py appends come after "--",
        # where they are arguments of init.
        arguments += [f"kunit.filter_glob={suites}"] if suites else []
        # In one word, as argparse would drop a separate "--"
        arguments.append(" ".join(["kunit.enable=1", *qemu.parameters("last"), "--"]))
        to_qemu += qemu.ROOT
    command = ["tools/testing/kunit/kunit.py", "exec", f"--qemu_config={QEMU_CONFIG}", f"--build_dir={build}",
               f"--timeout={timeout or TIMEOUT[kernel]}", f"--json={results}", f"--qemu_args={shlex.join(to_qemu)}",
               *(f"--kernel_args={word}" for word in arguments), *([suites] if suites else [])]
    with open(logs / "kunit.log", "w") as log:
        tool = Tool(command, cwd=guest.BUILD / TREE[kernel], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        guest.RUNNING.add(tool)
        try:
            status = tool.wait()
        except BaseException:
            tool.kill()
            tool.wait()
            raise
        finally:
            guest.RUNNING.discard(tool)
    if (build / "test.log").exists():
        shutil.move(build / "test.log", console)

    found = []
    if console.exists() and results.exists():
        found = list(cases(json.loads(results.read_text()), messages(console)))
    if status and all(case.result != report.FAIL for case in found) or not found:
        last = (logs / "kunit.log").read_text().splitlines()[-10:]
        found.append(report.Case("kunit.py", report.FAIL, [f"exit status {status}", *last]))
    # The stock core lacks features that some tests need: lab/stock.py judges its results
    if not kernel.startswith("stock"):
        report.judge_skips(found, {pattern: why for pattern, why in machine.skip.get(kernel, {}).items()
                                   if any(fnmatch.fnmatchcase(case.name, pattern) for case in found)},
                           fnmatch.fnmatchcase)
    found += report.console_cases(console, leaks)
    description = "KUnit suites" + (f" {suites}" if suites else "") + (", leaks" if leaks else "")
    return description, found, f"logs in {logs.relative_to(guest.REPO)}{seeds(console) if console.exists() else ''}"


def defects(failed):
    """The numbers of defects in the tests' names, such as 7 of d7_acs_rewritten."""
    return sorted({int(number) for case in failed for number in re.findall(r"\bd(\d+)_", case.name)})


def command(args):
    kernels = args.kernel or ["plain"]
    to = report.Report(len(kernels))
    jobs.run(to, [jobs.Job(f"kunit-{kernel}", (run, kernel, args.suite, args.parameters)) for kernel in kernels])
    shown = defects(case for _, case in to.cases if case.result == report.FAIL)
    if shown:
        print(f"# Defects seen: {' '.join(f'D{number}' for number in shown)}")
    to.save(guest.BUILD / "logs", f"kunit-{'-'.join(kernels)}")
    return to.end()
