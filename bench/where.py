# SPDX-License-Identifier: GPL-2.0
"""Shows where the instructions of one figure go, function by function.

The guest repeats the operation of the figure forever, and QEMU logs the address
of each instruction. Functions are those of the kernel, modules are counted as one;
an inlined function counts for its caller.
"""
import bisect
import collections
import contextlib
import itertools
import os
import re
import socket
import subprocess
import time

import boot

CALLS = 9                       # to count; odd, for the median
READ = "__x64_sys_io_submit"    # where a request of bench/io_path.c begins
EXECUTED = re.compile(r"Trace (\d+): \S+ \[\w+/(\w+)/")


class Symbols:
    """The functions of a kernel, sorted by address."""

    def __init__(self, kernel):
        found = []
        for line in (boot.BUILD / kernel / "System.map").read_text().splitlines():
            address, kind, name = line.split()
            if kind in "tTwW":
                found.append((int(address, 16), name))
        found.sort()
        self.starts = [address for address, _ in found]
        self.names = [name for _, name in found]

    def name(self, address):
        """Name of the function at an address."""
        if address < self.starts[0] or address > self.starts[-1]:
            return "(benchmark, modules)"
        return self.names[bisect.bisect(self.starts, address) - 1]

    def start(self, name):
        """Address of a function."""
        return self.starts[self.names.index(name)]


def wait_for(condition, qemu, what):
    """Waits until condition() returns a true value; returns that."""
    end = time.monotonic() + boot.TIMEOUT
    while time.monotonic() < end and qemu.poll() is None:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise boot.Error(f"there is no {what}; see build/logs/bench-*-where.log")


def executed(kernel, figure, command, options):
    """Boots a guest; yields (CPU, address) of each instruction, after the address where a call begins (0: a read)."""
    console, folder = boot.console(kernel, "where"), boot.BUILD / "bench"
    log, monitor = folder / f"{kernel}.instructions", folder / f"{kernel}.monitor"
    for path in (console, log, monitor):
        path.unlink(missing_ok=True)
    os.mkfifo(log)
    begin = re.compile(rf"p2pdma_bench: {re.escape(figure)} (?:at 0x(\w+)|for ever)$", re.MULTILINE)

    command = [*boot.qemu_command(kernel, "where", command, **options), "-monitor", f"unix:{monitor},server=on,wait=off"]
    with contextlib.ExitStack() as stack:
        qemu = stack.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        stack.callback(qemu.kill)
        call = wait_for(lambda: console.exists() and begin.search(console.read_text(errors="replace")), qemu,
                        f"figure '{figure}'")
        yield 0, int(call[1] or "0", 16)
        human = stack.enter_context(socket.socket(socket.AF_UNIX))
        human.connect(str(monitor))
        human.sendall(f"logfile {log}\nsinglestep on\nlog exec,nochain\n".encode())
        for line in stack.enter_context(open(log, errors="replace")):
            if match := EXECUTED.match(line):
                yield int(match[1]), int(match[2], 16)


def one_call(instructions, begin):
    """Yields the instructions of one whole call, on all CPUs."""
    begun = 0
    for instruction in instructions:
        begun += instruction[1] == begin
        if begun > 1:
            return
        if begun:
            yield instruction


def calls(instructions, begin, name):
    """Yields {function: instructions} of each whole call."""
    call = None
    for _, address in instructions:
        if address == begin:
            if call:
                yield call
            call = collections.Counter()
        if call is not None:
            call[name(address)] += 1


def show(kernel, figure, command, **options):
    """Prints the instructions of one call by function, in a guest that runs a command. See boot.qemu_command()."""
    symbols = Symbols(kernel)
    with contextlib.closing(executed(kernel, figure, command, options)) as instructions:
        begin = next(instructions)[1] or symbols.start(READ)
        found = sorted(itertools.islice(calls(instructions, begin, symbols.name), CALLS), key=lambda call: call.total())
    if len(found) < CALLS:
        raise boot.Error(f"{figure}: QEMU ended too soon")
    call = found[CALLS // 2]
    print(f"{figure} of kernel '{kernel}', the median of {CALLS} calls:")
    for function, count in call.most_common():
        print(f"  {function:40} {count:8,}")
    print(f"  {'':40} {call.total():8,}")
