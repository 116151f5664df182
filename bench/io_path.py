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
IMAGE_SIZE = 64 << 20
PROGRAM = boot.BUILD / "bench" / "io_path"
FIGURES = ("io_peer", "io_system", "io_system_adjacent")

# The disk, and a controller that has no disk but memory
DEVICES = ["-device", "pcie-root-port,id=root,bus=pcie.0,chassis=1,slot=1",
           "-device", "x3130-upstream,id=up,bus=root",
           "-device", "xio3130-downstream,id=down1,bus=up,chassis=2,slot=1",
           "-device", "xio3130-downstream,id=down2,bus=up,chassis=3,slot=2",
           "-device", "nvme,serial=memory,bus=down1,cmb_size_mb=64",
           "-blockdev", f"driver=file,node-name=disk,read-only=on,filename={IMAGE}",
           "-device", "nvme,serial=disk,bus=down2,drive=disk"]


def build():
    """The program, and a disk of which no two places are alike."""
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    IMAGE.write_bytes(random.Random(0).randbytes(IMAGE_SIZE))
    made = subprocess.run(["gcc", "-O2", "-Wall", "-static", "-o", str(PROGRAM), str(boot.HERE / "io_path.c")],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if made.returncode:
        raise boot.Error(f"io_path.c does not build:\n{made.stderr}")


def command(*arguments):
    """The program's, in the guest."""
    return [str(PROGRAM), str(IMAGE), *arguments]


def run(kernel):
    """Returns {figure: instructions of a read}."""
    build()
    figures = boot.guest(kernel, "io_path", command(), devices=DEVICES)
    missing = [name for name in FIGURES if name not in figures]
    if missing:
        raise boot.Error(f"kernel '{kernel}' has not counted {', '.join(missing)}")
    return figures
