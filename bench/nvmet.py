# SPDX-License-Identifier: GPL-2.0
"""Counts what a host reads and writes by the NVMe target over RDMA, with the target's buffers in peer memory or not.

The whole path of 128 KiB, on the host and in the target, which are one guest, and
in the sample adapter that connects them; but not the time that the disk takes.
Has bench/io_path.c do it.
"""
import os
import shutil
import subprocess

import boot
import io_path

FIGURES = ("nvmet_read_on", "nvmet_write_on", "nvmet_read_off", "nvmet_write_off")


def modules(kernel):
    """The folder of the kernel's modules."""
    return boot.BUILD / "bench" / f"modules-{kernel}"


def build(kernel):
    """Installs the kernel's modules; builds what io_path needs."""
    io_path.build()
    shutil.rmtree(modules(kernel), ignore_errors=True)
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    made = subprocess.run(["make", "-s", "-C", str(boot.BUILD / kernel), f"INSTALL_MOD_PATH={modules(kernel)}",
                           "modules_install"],
                          env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if made.returncode:
        raise boot.Error(f"the modules of kernel '{kernel}' can't be installed:\n{made.stderr}")


def command(kernel, *figure):
    """The command line in the guest; with a figure, to repeat that forever."""
    return [str(boot.HERE / "nvmet.sh"), str(modules(kernel)), str(io_path.PROGRAM), str(io_path.IMAGE), *figure]


def run(kernel):
    """Returns {figure: instructions}."""
    build(kernel)
    figures = boot.guest(kernel, "nvmet", command(kernel), machine="nvmet")
    missing = [name for name in FIGURES if name not in figures]
    if missing:
        raise boot.Error(f"kernel '{kernel}' has not counted {', '.join(missing)}")
    return figures
