# SPDX-License-Identifier: GPL-2.0
"""What demos share: a guest that is observed from outside, and parts of a report.

Evidence doesn't come from the guest: QEMU's list of PCI devices, its trace of the
addresses that devices were given, and the disk images. Decides nothing about
what a demo does; see lab/demo_*.py.
"""
import hashlib
import re

import guest
import machine as machines
import report

MIB = 1 << 20
WORDS = {"pcie-root-port": "root port", "x3130-upstream": "switch, upstream port",
         "xio3130-downstream": "switch, downstream port", "pcie-pci-bridge": "bridge to conventional PCI",
         "lsi53c895a": "LSI 53C895A"}


def sha256(path, start, size):
    """SHA-256 of a part of a file."""
    with open(path, "rb") as image:
        image.seek(start)
        return hashlib.sha256(image.read(size)).hexdigest()


class Run:
    """One boot of a machine, which runs a program of lab/guest."""

    def __init__(self, machine, kernel, name, program, roles):
        """name: of the folders; program: with its arguments; roles: {device id: its part in the demo}"""
        self.box = guest.Guest(machines.load(machine), kernel, f"{guest.REPO}/lab/guest/{program}", 300, name=name)
        self.roles = roles
        self.failures = []
        self.facts = {}         # what the guest has printed: {first word of a line: the rest}
        self.fabric = []        # lines
        self.paths = {}         # {device id: [(id, words) of each device on the way to it]}

    def run(self, fill):
        """fill(id, path) puts data on a disk image."""
        self.box.prepare(fill)
        self.box.run(self.on_line)
        (self.box.log_dir / "verdict.txt").write_text("\n".join(self.box.verdict) + "\n")

    def on_line(self, line):
        name, _, value = line.partition(" ")
        self.facts[name] = value
        if not self.fabric:
            self.fabric = list(self.tree_lines())

    def tree_lines(self):
        """The ways to devices that have a role, as text, from QEMU; stores these ways in self.paths."""
        machine = self.box.machine

        def walk(devices, indent, above):
            for device in devices:
                ident = device["qdev_id"]
                bdf = f"{device['bus']:02x}:{device['slot']:02x}.{device['function']}"
                model = machines.model(machine.device(ident)) if ident else ""
                text = f"NVMe {ident}" if model == "nvme" else WORDS.get(model, model)
                line = f"{indent}{bdf}  {text}"
                path = [*above, (ident, text)]
                if ident in self.roles:
                    line += f"  ({self.roles[ident]})"
                    self.paths[ident] = path
                below = list(walk(device.get("pci_bridge", {}).get("devices", []), indent + "   ", path))
                if not (below or ident in self.roles):
                    continue
                for region in device["regions"]:
                    if region["bar"] in machine.memory_bars().get(ident, ()):
                        line += f"  CMB at 0x{region['address']:x}-0x{region['address'] + region['size'] - 1:x}"
                yield line
                yield from below

        yield "CPU and system memory"
        for bus in self.box.qmp.command("query-pci"):
            yield from walk(bus["devices"], "   ", [])

    def meeting_point(self):
        """The lowest port that is above all devices with a role, or None."""
        common = None
        if len(self.paths) == len(self.roles):
            for level in zip(*self.paths.values()):
                if len(set(level)) == 1:
                    common = level[0]
        return common

    def check(self, good, text):
        if not good:
            self.failures.append(text)
        return good

    def image(self, ident):
        return self.box.run_dir / f"{ident}.img"

    def dma(self, name):
        """{what: bytes} of the guest's fact <name>-dma (see guest.Guest.answer), or None."""
        said = self.facts.get(f"{name}-dma", "no answer")
        good = re.fullmatch(r"ok peer=\d+ other=\d+( (read|written):\S+=\d+)*", said)
        if not self.check(good, f"{name}: no DMA figures: {said}"):
            return None
        return {what: int(number) for what, number in (word.rsplit("=", 1) for word in said.split()[1:])}

    def show_fabric(self):
        print("\nThe machine (as QEMU sees it)\n")
        for line in self.fabric:
            print(f"  {line}")

    def judge_guest(self):
        self.check(self.box.done, f"the guest gave no verdict: {self.box.problem}")
        for line in report.splats(self.box.console):
            self.check(False, f"the kernel complained: {line}")
