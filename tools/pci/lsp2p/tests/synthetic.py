#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Prints `lspci -xxxx` of a server that isn't there: 16 GPUs, 16 NVMe SSDs and 16 NICs.

    synthetic.py [--groups N]

Each group has a root port, and below it a switch with two GPUs, two SSDs and two
NICs. In every second group the ports below redirect (ACS). Config space holds what
routes depend on, and nothing else.
"""
import argparse

GPU, NVME, NIC = (0x10de, 0x2330, 0x030200), (0x144d, 0xa80a, 0x010802), (0x15b3, 0x1021, 0x020700)
ENDPOINT, ROOT_PORT, UPSTREAM, DOWNSTREAM = 0, 4, 5, 6
ACS_CAP = 0x1f


class Function:
    def __init__(self, bus, slot, ids, kind, acs=None):
        self.config = bytearray(4096)
        vendor, device, class_code = ids
        self.head = f"{bus:02x}:{slot:02x}.0 Class {class_code >> 8:04x}: Device {vendor:04x}:{device:04x}"
        self.put(0x00, 2, vendor)
        self.put(0x02, 2, device)
        self.put(0x04, 2, 0x0006)               # memory, bus master
        self.put(0x06, 2, 0x0010)               # capabilities
        self.put(0x09, 3, class_code)
        self.put(0x34, 1, 0x40)
        self.put(0x40, 2, 0x0010)               # PCI Express, the last capability
        self.put(0x42, 2, 2 | kind << 4)
        self.put(0x44, 4, 0x1)                  # payloads of 256 bytes supported
        self.put(0x48, 2, 1 << 5)               # and used
        self.put(0x4c, 4, 0x104)                # 16 GT/s x16
        self.put(0x52, 2, 0x104)
        if acs is None:
            self.put(0x100, 4, 0x00010001)      # AER, so that extended space isn't empty
        else:
            self.put(0x100, 4, 0x0001000d)
            self.put(0x104, 2, ACS_CAP)
            self.put(0x106, 2, acs)

    def put(self, at, size, value):
        self.config[at:at + size] = value.to_bytes(size, "little")

    def bridge(self, primary, secondary, subordinate, base, limit):
        self.put(0x0e, 1, 1)
        self.put(0x18, 3, primary | secondary << 8 | subordinate << 16)
        self.put(0x20, 4, 0x0000fff0)           # no window for 32-bit memory
        self.put(0x24, 2, base >> 16 & 0xfff0 | 1)
        self.put(0x26, 2, limit >> 16 & 0xfff0 | 1)
        self.put(0x28, 4, base >> 32)
        self.put(0x2c, 4, limit >> 32)

    def bar(self, address):
        self.put(0x10, 4, address & 0xffffffff | 0xc)
        self.put(0x14, 4, address >> 32)

    def __str__(self):
        rows = [f"{at:02x}: {self.config[at:at + 16].hex(' ')}" for at in range(0, 4096, 16)]
        return "\n".join([self.head, *rows, ""])


def group(number, root_slot, first_bus):
    """One root port and all below it: functions, and the next free bus."""
    acs = 0x1d if number % 2 else 0
    upstream_bus, port_bus = first_bus, first_bus + 1
    base = (number + 1) << 40
    devices = [GPU, GPU, NVME, NVME, NIC, NIC]
    last_bus = port_bus + len(devices)
    root = Function(0, root_slot, (0x8086, 0x352a, 0x060400), ROOT_PORT, 0x1d)
    root.bridge(0, upstream_bus, last_bus, base, base + (1 << 40) - 1)
    upstream = Function(upstream_bus, 0, (0x1000, 0xc030, 0x060400), UPSTREAM)
    upstream.bridge(upstream_bus, port_bus, last_bus, base, base + (1 << 40) - 1)
    functions = [root, upstream]
    for slot, ids in enumerate(devices):
        bus, address = port_bus + 1 + slot, base + (slot << 37)
        port = Function(port_bus, slot, (0x1000, 0xc030, 0x060400), DOWNSTREAM, acs)
        port.bridge(port_bus, bus, bus, address, address + (1 << 37) - 1)
        end = Function(bus, 0, ids, ENDPOINT)
        end.bar(address)
        functions += [port, end]
    return functions, last_bus + 1


def main():
    parser = argparse.ArgumentParser(description="prints lspci -xxxx of a server that isn't there")
    parser.add_argument("--groups", type=int, default=8)
    groups = parser.parse_args().groups
    print(Function(0, 0, (0x8086, 0x09a2, 0x060000), ENDPOINT))
    bus = 1
    for number in range(groups):
        functions, bus = group(number, number + 1, bus)
        for function in functions:
            print(function)


main()
