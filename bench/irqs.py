# SPDX-License-Identifier: GPL-2.0
"""Counts the most instructions for which interrupts stay off while memory is allocated and freed.

Traces requests of up to 64 GiB to a pool that 64 CPUs use (bench/irqs.c), and counts each instruction that a CPU
executes from taking a lock in one of the core's functions to leaving the function that releases it.
"""
import contextlib
import subprocess

import boot
import where

OBJECTS = ("drivers/pci/p2pdma*.o", "lib/genalloc.o")
LOCK, UNLOCK = "_raw_spin_lock_irqsave", "_raw_spin_unlock_irqrestore"


def functions(kernel):
    """Names of the core's functions."""
    objects = [str(path) for pattern in OBJECTS for path in (boot.BUILD / kernel).glob(pattern)]
    lines = subprocess.run(["nm", *objects], check=True, capture_output=True, text=True).stdout.splitlines()
    return {words[2] for words in map(str.split, lines) if len(words) == 3 and words[1] in "tT"}


def stretches(instructions, name, core):
    """Yields the instructions of each stretch. instructions: (CPU, address); name(): the function at an address"""
    last, counts = {}, {}
    for cpu, address in instructions:
        function = name(address)
        if function == LOCK and last.get(cpu) in core:
            counts[cpu] = 0
        elif last.get(cpu) == UNLOCK != function and cpu in counts:
            yield counts.pop(cpu)
        if cpu in counts:
            counts[cpu] += 1
        last[cpu] = function


def run(kernel):
    """Returns the figure; 0 if the core takes no lock."""
    with contextlib.closing(where.executed(kernel, "irqs", boot.insmod(kernel, "irqs", "where=irqs"),
                                           {"machine": "irqs"})) as instructions:
        _, begin = next(instructions)
        found = stretches(where.one_call(instructions, begin), where.Symbols(kernel).name, functions(kernel))
        return {"irqs_off": max(found, default=0)}
