# SPDX-License-Identifier: GPL-2.0
"""Builds the QEMU command lines that boot our kernels.

A guest's root is the host's, read-only by 9p; its init is lab/guest/init, which
documents the modes.
"""
import pathlib

REPO = pathlib.Path(__file__).resolve().parent.parent
BUILD = REPO / "build"

# On pcie.0 explicitly: by default QEMU may choose another bus of the machine
ROOT = ["-fsdev", "local,id=hostroot,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,bus=pcie.0,fsdev=hostroot,mount_tag=hostroot"]


# On a busy host, a guest's timer may be late when the kernel checks for its first
# ticks, and the kernel panics: IO-APIC + timer doesn't work!
ALWAYS = ["panic=-1", "no_timer_check"]


def parameters(mode, *more):
    """Kernel parameters that boot to lab/guest/init, and more."""
    return ["console=ttyS0", *ALWAYS, "root=hostroot", "rootfstype=9p", "ro",
            "rootflags=trans=virtio,version=9p2000.L,msize=262144,cache=loose",
            f"init={REPO / 'lab/guest/init'}", f"LAB_MODE={mode}", *more]


def command(machine, folder, kernel, words):
    """QEMU's command line without the console. folder: of the disk images; words: kernel parameters"""
    return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            *machine.qemu_arguments(folder), *ROOT,
            "-kernel", str(BUILD / kernel / "vmlinux"), "-append", " ".join(filter(None, words))]


def has(kernel, symbol):
    """Is CONFIG_<symbol> set in a kernel that is built?"""
    return f"CONFIG_{symbol}=y" in (BUILD / kernel / ".config").read_text().splitlines()


def counters_port(path):
    """QEMU's arguments for the port of gcov's counters; the machine needs virtio-serial."""
    return ["-chardev", f"file,id=coverage,path={path}",
            "-device", "virtserialport,chardev=coverage,name=org.p2pdma.coverage"]
