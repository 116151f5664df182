# SPDX-License-Identifier: GPL-2.0
"""Builds the benchmark module and boots guests that count instructions.

In a machine with icount, one guest nanosecond is one guest instruction.
Doesn't interpret the figures.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent / "build"
sys.path.insert(0, str(HERE.parent / "lab"))
import machine as machines      # noqa: E402  pylint: disable=wrong-import-position
import qemu         # noqa: E402  pylint: disable=wrong-import-position
import report       # noqa: E402  pylint: disable=wrong-import-position

TIMEOUT = 1800

FIGURE = re.compile(r"p2pdma_bench: (\w+) (?:(-?\d+) (\d+)|none)$")


class Error(Exception):
    """Something to tell the user, without a traceback."""


def make_environment():
    """The environment without the options of our make."""
    return {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}


def build(kernel):
    """Builds the module for one kernel; returns its path."""
    if not (BUILD / kernel / "Module.symvers").exists():
        raise Error(f"kernel '{kernel}' is not built; run: make kernel KERNEL={kernel}")
    folder = BUILD / "bench" / kernel
    folder.mkdir(parents=True, exist_ok=True)
    for path in (HERE / "Makefile", *HERE.glob("*.[ch]")):
        shutil.copy(path, folder)
    log = BUILD / "logs" / f"bench-{kernel}.build.log"
    with open(log, "w") as out:
        if subprocess.run(["nice", "make", "-C", str(BUILD / kernel), f"M={folder}", "modules"],
                          env=make_environment(), stdout=out, stderr=out).returncode:
            raise Error(f"the module does not build for kernel '{kernel}'; see {log.relative_to(HERE.parent)}")
    return folder / "p2pdma_bench.ko"


def modules(kernel):
    """The folder of the kernel's own modules, for modprobe -d."""
    return BUILD / "bench" / f"modules-{kernel}"


def install_modules(kernel):
    """Installs them there."""
    shutil.rmtree(modules(kernel), ignore_errors=True)
    made = subprocess.run(["make", "-s", "-C", str(BUILD / kernel), f"INSTALL_MOD_PATH={modules(kernel)}",
                           "modules_install"],
                          env=make_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if made.returncode:
        raise Error(f"the modules of kernel '{kernel}' can't be installed:\n{made.stderr}")


def address(kernel, symbol):
    """Address of a function that is not exported: as linked, since the kernel has no KASLR."""
    for line in (BUILD / kernel / "System.map").read_text().splitlines():
        where, _, name = line.split()
        if name == symbol:
            return f"0x{where}"
    raise Error(f"kernel '{kernel}' has no {symbol}()")


def console(kernel, name):
    """The console log of a guest."""
    return BUILD / "logs" / f"bench-{kernel}-{name}.log"


def qemu_command(kernel, name, command, machine="count"):
    """QEMU's command line for a kernel that runs a command.

    name: of the log; machine: a machine file in this folder
    """
    box = machines.read(HERE / f"{machine}.toml")
    words = qemu.parameters("count", "printk.devkmsg=on", "nvme_core.multipath=0", box.cmdline, "--", *command)
    return [*qemu.command(box, BUILD / "bench", kernel, words),
            "-serial", f"file:{console(kernel, name)}"]


def guest(kernel, name, command, wanted=(), **options):
    """Boots a kernel that runs a command; returns {figure: value per call, or None for "none"}.

    wanted: figures that must be among them; options: of qemu_command()
    """
    log = console(kernel, name)
    try:
        subprocess.run(qemu_command(kernel, name, command, **options), stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=True)
    except FileNotFoundError:
        raise Error("qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)") from None
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise Error(f"kernel '{kernel}': {error}; see {log.relative_to(HERE.parent)}") from None

    lines = log.read_text(errors="replace").splitlines()
    bad = report.splats(log)
    if bad or not any(line.endswith("bench: done") for line in lines):
        ours = [line for line in lines if line.startswith("stopped ") or
                any(name in line for name in ("p2pdma_bench: ", "insmod: ", "io_path: "))]
        raise Error("\n  ".join([f"kernel '{kernel}' did not come to the end; see {log.relative_to(HERE.parent)}",
                                 *(bad or ours[-5:] or lines[-5:])]))
    matches = filter(None, map(FIGURE.search, lines))
    figures = {match[1]: int(match[2]) / int(match[3]) if match[2] else None for match in matches}
    missing = [figure for figure in wanted if figure not in figures]
    if missing:
        raise Error(f"kernel '{kernel}' has not counted {', '.join(missing)}")
    return figures


def insmod(kernel, part, *parameters):
    """The command that loads the module, which runs one part."""
    return ["insmod", str(BUILD / "bench" / kernel / "p2pdma_bench.ko"), f"run={part}", *parameters]
