# SPDX-License-Identifier: GPL-2.0
"""Shows where the instructions of one figure go, function by function.

The guest repeats what the figure counts for ever, and QEMU logs the address of
each instruction meanwhile. Functions are the kernel's; what is inlined belongs
to the caller.
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

CALLS = 9                       # that are looked at; odd
READ = "__x64_sys_io_submit"    # where a read of bench/io_path.c begins
EXECUTED = re.compile(r"Trace \d+: \S+ \[\w+/(\w+)/")


def symbols(kernel):
    """(addresses, names) of the kernel's code, sorted."""
    found = []
    for line in (boot.BUILD / kernel / "System.map").read_text().splitlines():
        address, kind, name = line.split()
        if kind in "tTwW":
            found.append((int(address, 16), name))
    found.sort()
    return [address for address, _ in found], [name for _, name in found]


def wait_for(condition, qemu, what):
    """Waits until there is what the condition returns; returns it."""
    end = time.monotonic() + boot.TIMEOUT
    while time.monotonic() < end and qemu.poll() is None:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise boot.Error(f"there is no {what}; see build/logs/bench-*-where.log")


def executed(kernel, figure, command, options):
    """Boots a guest; yields where a call begins (0 for where a read does), then the address of each instruction."""
    console, folder = boot.console(kernel, "where"), boot.BUILD / "bench"
    log, monitor = folder / "instructions", folder / "monitor"
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
        yield int(call[1] or "0", 16)
        human = stack.enter_context(socket.socket(socket.AF_UNIX))
        human.connect(str(monitor))
        human.sendall(f"logfile {log}\nsinglestep on\nlog exec,nochain\n".encode())
        for line in stack.enter_context(open(log, errors="replace")):
            if match := EXECUTED.match(line):
                yield int(match[1], 16)


def calls(addresses, begin, name):
    """Yields {function: instructions} of each whole call."""
    call = None
    for address in addresses:
        if address == begin:
            if call:
                yield call
            call = collections.Counter()
        if call is not None:
            call[name(address)] += 1


def show(kernel, figure, command, **options):
    """Prints where one call's instructions go, in a guest that runs a command. As boot.qemu_command()."""
    starts, names = symbols(kernel)

    def name(address):
        if address < starts[0] or address > starts[-1]:
            return "(benchmark)"
        return names[bisect.bisect(starts, address) - 1]

    with contextlib.closing(executed(kernel, figure, command, options)) as addresses:
        begin = next(addresses) or starts[names.index(READ)]
        found = sorted(itertools.islice(calls(addresses, begin, name), CALLS), key=lambda call: call.total())
    if len(found) < CALLS:
        raise boot.Error(f"{figure}: QEMU ended too soon")
    call = found[CALLS // 2]
    print(f"{figure} of kernel '{kernel}', the median of {CALLS} calls:")
    for function, count in call.most_common():
        print(f"  {function:40} {count:8,}")
    print(f"  {'':40} {call.total():8,}")
