# SPDX-License-Identifier: GPL-2.0
"""Counts a read from an NVMe disk into memory of another controller, behind the same switch, and into system memory.

The whole path of 128 KiB: system call, block layer, driver, mapping, interrupt
and unmapping; but not the time that the disk takes. Has bench/io_path.c do it
in a guest.
"""
import random
import subprocess

import boot

IMAGE = boot.BUILD / "bench" / "disk.img"
MIB = 1 << 20
IMAGE_SIZE = 64 * MIB
PROGRAM = boot.BUILD / "bench" / "io_path"
FIGURES = ("io_peer", "io_system", "io_system_adjacent")


def build():
    """Builds the program, and a disk image of random data."""
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    IMAGE.write_bytes(random.Random(0).randbytes(IMAGE_SIZE))
    (IMAGE.parent / "memory.img").write_bytes(bytes(MIB))       # not used
    made = subprocess.run(["gcc", "-O2", "-Wall", "-static", "-o", str(PROGRAM), str(boot.HERE / "io_path.c")],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if made.returncode:
        raise boot.Error(f"io_path.c does not build:\n{made.stderr}")


def command(figure=None):
    """The command line in the guest; with a figure, to repeat that forever."""
    return [str(PROGRAM), *(["-f"] if figure else []), str(IMAGE), *([figure] if figure else FIGURES)]


def run(kernel):
    """Returns {figure: instructions of a read}."""
    build()
    return boot.guest(kernel, "io_path", command(), FIGURES, machine="io_path")
