# SPDX-License-Identifier: GPL-2.0
"""Counts what a host reads and writes by the NVMe target over RDMA, with the target's buffers in peer memory or not.

The whole path of 128 KiB, on the host and in the target, which are one guest, and
in the sample adapter that connects them; but not the time that the disk takes.
Has bench/io_path.c do it.
"""
import boot
import io_path

FIGURES = ("nvmet_read_on", "nvmet_write_on", "nvmet_read_off", "nvmet_write_off")


def command(kernel, *figure):
    """The command line in the guest; with a figure, to repeat that forever."""
    return [str(boot.HERE / "nvmet.sh"), str(boot.modules(kernel)), str(io_path.PROGRAM), str(io_path.IMAGE), *figure]


def run(kernel):
    """Returns {figure: instructions}."""
    io_path.build()
    boot.install_modules(kernel)
    return boot.guest(kernel, "nvmet", command(kernel), FIGURES, machine="nvmet")
