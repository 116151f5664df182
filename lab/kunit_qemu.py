# SPDX-License-Identifier: GPL-2.0
"""Tells kunit.py (--qemu_config) to boot vmlinux by its PVH entry, as all of our guests do.

Its own configuration boots a bzImage, which takes longer to build, and to
unpack in the guest.
"""
from qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(linux_arch="x86_64", kconfig="", qemu_arch="x86_64", kernel_path="vmlinux",
                           kernel_command_line="console=ttyS0", extra_qemu_params=["-bios", "qboot.rom"])
