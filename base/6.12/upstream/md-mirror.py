#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes to an md mirror from memory of a PCI device that one leg can't reach, and compares the legs.

    md-mirror.py [--level 1|10] PROVIDER DISK DISK

PROVIDER is the PCI address of a device with /sys/bus/pci/devices/PROVIDER/p2pmem,
such as an NVMe SSD with a CMB. The DISKs are NVMe namespaces or partitions; an
array is made of them, and ALL THEIR DATA IS LOST. Put one first that doesn't reach
PROVIDER: an idle mirror reads from its first leg. Needs root, mdadm, and nothing
but Python's standard library. md-mirror.txt has a QEMU machine for it.

Exits with 0 if a write either reached both legs or was refused and changed none,
and no disk was failed; with 1 if not; with 2 if it can't run.
"""
import argparse
import errno
import mmap
import os
import pathlib
import subprocess
import sys

SIZE = 64 << 10
AT = 1 << 20        # where the partition scan hasn't read: md prefers the leg where a read goes on
ARRAY = pathlib.Path("/dev/md/p2p-mirror")
OLD, NEW = b"old " * (SIZE // 4), b"new " * (SIZE // 4)


class CannotRun(Exception):
    """Something is missing, or doesn't work with system memory either."""


def mdadm(*words):
    """Runs mdadm."""
    try:
        done = subprocess.run(["mdadm", *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)
    except FileNotFoundError:
        raise CannotRun("mdadm is not installed") from None
    if done.returncode:
        raise CannotRun(f"mdadm {words[0]}: {done.stderr.strip()}")


def transfer(path, memory, write):
    """O_DIRECT at AT of a block device; returns the error's name, or "" if all of it was transferred."""
    try:
        disk = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_DIRECT)
    except OSError as problem:
        raise CannotRun(f"{path}: {problem.strerror}") from None
    try:
        done = os.pwritev(disk, [memory], AT) if write else os.preadv(disk, [memory], AT)
    except OSError as problem:
        return errno.errorcode[problem.errno]
    finally:
        os.close(disk)
    return "" if done == SIZE else f"only {done} bytes"


def system_memory(content=bytes(SIZE)):
    """Page-aligned memory."""
    memory = mmap.mmap(-1, SIZE)
    memory[:] = content
    return memory


def peer_memory(provider):
    """Memory of the PCI device."""
    path = f"/sys/bus/pci/devices/{provider}/p2pmem/allocate"
    try:
        allocate = os.open(path, os.O_RDWR)
        memory = mmap.mmap(allocate, SIZE)
    except OSError as problem:
        raise CannotRun(f"{path}: {problem.strerror}") from None
    os.close(allocate)
    return memory


def content(disk):
    """What a leg has: "old", "new" or "neither"."""
    memory = system_memory()
    if problem := transfer(disk, memory, False):
        raise CannotRun(f"{disk}: {problem}")
    return {OLD: "old", NEW: "new"}.get(memory[:], "neither")


def members():
    """{member: its state in the array, with what md recorded of it}"""
    found = {}
    for folder in sorted(pathlib.Path("/sys/block", ARRAY.resolve().name, "md").glob("dev-*")):
        state = (folder / "state").read_text().strip()
        bad = (folder / "bad_blocks").read_text().split()
        found[folder.name.removeprefix("dev-")] = state + (" with bad blocks" if bad else "")
    return found


def judge(error, legs):
    """Whether the write did what it said, and why."""
    if not error and set(legs) == {"new"}:
        return True, "written to both legs"
    if error and set(legs) == {"old"}:
        return True, f"refused ({error}), mirror unchanged"
    said = f"the write failed with {error}" if error else "the write succeeded"
    return False, f"{said}, but the legs have {' and '.join(legs)} data"


def reproduce(options):
    """Returns whether all is well."""
    array, disks = str(ARRAY), options.disk
    if problem := transfer(array, system_memory(OLD), True):
        raise CannotRun(f"{array}: {problem}")
    if [content(disk) for disk in disks] != ["old", "old"]:
        raise CannotRun("the legs don't begin with the array's data")
    memory = peer_memory(options.provider)

    memory[:] = NEW
    error = transfer(array, memory, True)
    good, text = judge(error, [content(disk) for disk in disks])
    print(f"raid{options.level}, write: {text}")

    memory[:] = bytes(SIZE)
    expected = OLD if error else NEW
    error = transfer(array, memory, False)
    if not error and memory[:] != expected:
        good, error = False, "wrong data"
    print(f"raid{options.level}, read: {error or 'right data'}")

    states = members()
    for name, state in states.items():
        print(f"raid{options.level}, {name}: {state}")
    return good and all(state == "in_sync" for state in states.values())


def main():
    parser = argparse.ArgumentParser(description="Writes to an md mirror from peer memory, and compares its legs.")
    parser.add_argument("--level", default="1", choices=("1", "10"), help="of the array (default 1)")
    parser.add_argument("provider", metavar="PROVIDER", help="PCI address of the device with memory, as in /sys")
    parser.add_argument("disk", metavar="DISK", nargs=2, help="the legs; all data is lost")
    options = parser.parse_args()
    # Version 1.0 has the superblock at the end: data begins where the disk does.
    mdadm("--create", ARRAY, "--run", f"--level={options.level}", "--raid-devices=2", "--metadata=1.0", "--bitmap=none",
          "--assume-clean", *options.disk)
    try:
        good = reproduce(options)
    finally:
        mdadm("--stop", ARRAY)
        mdadm("--zero-superblock", *options.disk)
    print("as it should be" if good else "BUG")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CannotRun as problem:
        print(f"md-mirror: {problem}", file=sys.stderr)
        sys.exit(2)
