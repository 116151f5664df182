# SPDX-License-Identifier: GPL-2.0
"""The main use case: a copy from SSD to SSD that never touches system memory.

Builds what is missing, boots the machine "switch" (three NVMe controllers
below one PCIe switch, the first with a controller memory buffer, CMB), copies
from the second to the third through the CMB of the first, and reports evidence
from outside the guest: the data addresses that the controllers were given, by
QEMU's trace, and the content of the disk images.
"""
import hashlib
import re
import os
import subprocess
import sys
import time

import guest
import machine as machines
import report

MIB = 1 << 20
SIZE = 32 * MIB


def stages(kernel):
    """(title, command) of each build step, in order."""
    copier = guest.BUILD / "p2pcopy"
    return [
        ("packages", ["base/need", "kernel", "lab"]),
        ("kernel source", ["base/6.12/fetch"]),
        ("tree", ["make", "-s", "tree", f"KERNEL={kernel}"]),
        (f"kernel '{kernel}'", ["base/6.12/kernel", kernel]),
        ("copying program", ["gcc", "-O2", "-Wall", "-o", str(copier), "lab/guest/p2pcopy.c"]),
    ]


def sha256(path, start):
    with open(path, "rb") as image:
        image.seek(start)
        return hashlib.sha256(image.read(SIZE)).hexdigest()


def tree_lines(box, found):
    """The fabric as text, from QEMU; stores the path to each SSD in found."""
    roles = {"ssd1": "holds the CMB", "ssd2": "source", "ssd3": "destination"}

    def walk(devices, indent, above):
        for device in devices:
            ident = device["qdev_id"]
            below = device.get("pci_bridge", {}).get("devices", [])
            if not (below or ident in roles):
                continue
            bdf = f"{device['bus']:02x}:{device['slot']:02x}.{device['function']}"
            text = machines.model(box.machine.device(ident)) if ident else ""
            words = {"pcie-root-port": "root port", "x3130-upstream": "switch, upstream port",
                     "xio3130-downstream": "switch, downstream port", "nvme": f"NVMe {ident}"}
            line = f"{indent}{bdf}  {words.get(text, text)}"
            path = [*above, (ident, words.get(text, text))]
            if ident in roles:
                line += f"  ({roles[ident]})"
                found[ident] = path
            for region in device["regions"]:
                if region["bar"] in box.machine.memory_bars().get(ident, ()):
                    line += f"  CMB at 0x{region['address']:x}-0x{region['address'] + region['size'] - 1:x}"
            yield line
            yield from walk(below, indent + "   ", path)

    yield "CPU and system memory"
    for bus in box.qmp.command("query-pci"):
        yield from walk(bus["devices"], "   ", [])


def meeting_point(paths):
    """The lowest port that is above all of the devices."""
    common = None
    for level in zip(*paths.values()):
        if len(set(level)) == 1:
            common = level[0]
    return common


class Demo:
    def __init__(self):
        self.failures = []
        self.facts = {}
        self.fabric = []
        self.paths = {}

    def check(self, good, text):
        if not good:
            self.failures.append(text)
        return good

    def dma(self, name):
        """(bytes in a provider's BAR, bytes elsewhere), or None when the lab could not tell."""
        match = re.fullmatch(r"ok peer=(\d+) other=(\d+)", self.facts.get(f"{name}-dma", ""))
        if not self.check(match, f"{name}: no DMA figures: {self.facts.get(f'{name}-dma', 'no answer')}"):
            return None
        return int(match[1]), int(match[2])


def run(kernel):
    """Boots and copies; returns (Demo, Guest, SHA-256 of the data on the source)."""
    machine = machines.load("switch")
    program = f"{guest.REPO}/lab/guest/demo {guest.BUILD}/p2pcopy {SIZE}"
    box = guest.Guest(machine, kernel, program, 300, name=f"demo-{kernel}")
    content = os.urandom(SIZE)

    def fill(ident, path):
        if ident == "ssd2":
            with open(path, "r+b") as image:
                image.write(content)

    seen = Demo()

    def on_line(line):
        name, _, value = line.partition(" ")
        seen.facts[name] = value
        if not seen.fabric:
            seen.fabric = list(tree_lines(box, seen.paths))

    box.prepare(fill)
    box.run(on_line)
    (box.log_dir / "verdict.txt").write_text("\n".join(box.verdict) + "\n")
    return seen, box, hashlib.sha256(content).hexdigest()


def judge(seen, box, original):
    """Prints the report; adds every failed check to seen.failures."""
    images = {ident: box.run_dir / f"{ident}.img" for ident in ("ssd2", "ssd3")}
    source, peer, memory = sha256(images["ssd2"], 0), sha256(images["ssd3"], 0), sha256(images["ssd3"], SIZE)

    print("\nThe machine (as QEMU sees it)\n")
    for line in seen.fabric:
        print(f"  {line}")

    seen.check(box.done, f"the guest gave no verdict: {box.problem}")
    for line in report.splats(box.console):
        seen.check(False, f"the kernel complained: {line}")
    for name, title in (("peer", "through the CMB"), ("memory", "through system memory")):
        said = seen.facts.get(f"{name}-copy", "nothing")
        seen.check(said == "ok", f"the copy {title} failed; it said: {said}")

    meet = meeting_point(seen.paths)
    if seen.check(meet, "the three controllers are not in the machine"):
        print(f"\nRoute: the three meet in the {meet[1]}" +
              ("; data turns around there and goes no higher." if "switch" in meet[1] else "."))

    print(f"\nContent, SHA-256 of {SIZE // MIB} MiB of random data")
    print(f"  source, before           {original}")
    print(f"  source, after            {source}")
    print(f"  copy through the CMB     {peer}")
    print(f"  copy through memory      {memory}")
    seen.check(source == original, "the source was changed")
    seen.check(peer == original, "the copy through the CMB differs from the source")
    seen.check(memory == original, "the copy through system memory differs from the source")
    for name, image in (("source", source), ("peer", peer), ("memory", memory)):
        seen.check(seen.facts.get(f"{name}-sum") == image, f"{name}: the guest reads other data than its disk image holds")

    print("\nWhere the SSDs were told to put and fetch the data (QEMU's trace, outside the guest)")
    print("                            in the CMB      in system memory")
    rows = {}
    for name, title in (("peer", "copy through the CMB   "), ("memory", "copy through memory    ")):
        rows[name] = seen.dma(name)
        if rows[name]:
            print(f"  {title} {rows[name][0]:12,} bytes {rows[name][1]:15,} bytes")
    if rows["peer"]:
        inside, outside = rows["peer"]
        share = 100 * inside / (inside + outside) if inside + outside else 0
        print(f"\n  {share:.0f} % of the data addresses lay in the CMB's BAR; "
              f"{outside // MIB} MiB went through system memory"
              + (f", beside {rows['memory'][1] // MIB} MiB for the ordinary copy." if rows["memory"] else "."))
        seen.check(inside == 2 * SIZE, f"{inside} bytes were addressed in the CMB, not {2 * SIZE}")
        seen.check(outside == 0, f"{outside} bytes of data went through system memory")
    if rows["memory"]:
        seen.check(rows["memory"] == (0, 2 * SIZE),
                   "the ordinary copy is no comparison: it did not go through system memory alone")


def command(args):
    kernel = (args.kernel or ["plain"])[0]
    if kernel not in guest.KERNELS:
        raise machines.Error(f"there is no kernel '{kernel}'; there are: {' '.join(guest.KERNELS)}")
    took = []
    for title, words in stages(kernel):
        start = time.monotonic()
        if subprocess.run(words).returncode:
            raise machines.Error(f"demo stopped: {title} failed ({' '.join(words)})")
        took.append((title, time.monotonic() - start))
    start = time.monotonic()
    print(f"Booting, and copying {SIZE // MIB} MiB from SSD 2 to SSD 3 through SSD 1's memory ...", flush=True)
    seen, box, original = run(kernel)
    took.append(("boot and copies", time.monotonic() - start))

    judge(seen, box, original)
    print("\nTime: " + ", ".join(f"{title} {seconds:.0f} s" for title, seconds in took))
    print(f"Logs: {box.log_dir.relative_to(guest.REPO)}/")
    for text in seen.failures:
        print(f"  {text}", file=sys.stderr)
    print("\nFAIL" if seen.failures else "\nPASS")
    return 1 if seen.failures else 0
