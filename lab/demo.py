# SPDX-License-Identifier: GPL-2.0
"""Demos: each builds what is missing, boots a machine, and shows where data went.

Each is a module: WHAT it does, in words; the PACKAGES it needs besides those of
kernels and guests (see base/packages); stages(), run() and judge().
"""
import subprocess
import sys
import time

import demo_copy
import demo_nvmet
import guest
import machine as machines

DEMOS = {"copy": demo_copy, "nvmet": demo_nvmet}


def find(name):
    if name not in DEMOS:
        raise machines.Error(f"there is no demo '{name}'; there are: {' '.join(DEMOS)}")
    return DEMOS[name]


def stages(demo, kernel):
    """(title, command) of each build step, in order."""
    return [
        ("packages", ["base/need", "kernel", "lab", *demo.PACKAGES]),
        ("kernel source", ["base/6.12/fetch"]),
        ("tree", ["make", "-s", "tree", f"KERNEL={kernel}"]),
        (f"kernel '{kernel}'", ["base/6.12/kernel", kernel]),
        *demo.stages(kernel),
    ]


def command(args):
    demo = find(args.demo)
    kernel = (args.kernel or ["plain"])[0]
    if kernel not in guest.KERNELS:
        raise machines.Error(f"there is no kernel '{kernel}'; there are: {' '.join(guest.KERNELS)}")
    took = []
    for title, words in stages(demo, kernel):
        start = time.monotonic()
        if subprocess.run(words).returncode:
            raise machines.Error(f"demo stopped: {title} failed ({' '.join(words)})")
        took.append((title, time.monotonic() - start))
    start = time.monotonic()
    print(f"Booting, and {demo.WHAT} ...", flush=True)
    seen, original = demo.run(kernel)
    took.append(("boot and copies", time.monotonic() - start))

    demo.judge(seen, original)
    print("\nTime: " + ", ".join(f"{title} {seconds:.0f} s" for title, seconds in took))
    print(f"Logs: {seen.box.log_dir.relative_to(guest.REPO)}/")
    for text in seen.failures:
        print(f"  {text}", file=sys.stderr)
    print("\nFAIL" if seen.failures else "\nPASS")
    return 1 if seen.failures else 0
