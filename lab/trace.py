# SPDX-License-Identifier: GPL-2.0
"""Reads from QEMU's trace which data addresses devices were given.

NVMe: QEMU logs each command when a controller starts it, then every address
range that the command maps. Only ranges of read and write commands count: not
those of admin commands, nor queues or PRP lists, which QEMU reads without
mapping them. LSI 53C895A: QEMU logs each memory move, with source and
destination; other devices' translations don't count for them, as IOVAs of
different devices may be the same.

Behind a virtual IOMMU the ranges are IOVAs; the physical pages are in the
IOMMU's log of the translations that follow.
"""
import collections
import re

EVENTS = ("pci_nvme_io_cmd", "pci_nvme_admin_cmd", "pci_nvme_read", "pci_nvme_write",
          "pci_nvme_map_addr", "lsi_memcpy", "vtd_dmar_translate")

PAGE = 4096
LINE = re.compile(r"\b(" + "|".join(EVENTS) + r") (.*)")
COUNT = re.compile(r"\bcount (\d+)")
RANGE = re.compile(r"addr 0x([0-9a-f]+) len (\d+)")
MOVE = re.compile(r"dest 0x([0-9a-f]+) src 0x([0-9a-f]+) count (\d+)")
MOVE_PART = 4096        # bytes that QEMU reads and then writes at a time
TRANSLATED = re.compile(r"dev ([0-9a-f]+):\S+ iova 0x([0-9a-f]+) -> gpa 0x([0-9a-f]+) mask 0x([0-9a-f]+)")


class DmaTrace:
    def __init__(self, path, iommu=False):
        self.path = path
        self.iommu = iommu
        self.engine_buses = set()       # of the LSIs' requester IDs

    def position(self):
        return self.path.stat().st_size if self.path.exists() else 0

    def events(self, start):
        """Yields (event, rest of its line) since start."""
        with open(self.path, errors="replace") as trace:
            trace.seek(start)
            for match in filter(None, map(LINE.search, trace)):
                yield match.groups()

    def translation(self, text):
        """(is it an LSI's?, IOVA, physical address, mask)"""
        bus, *numbers = (int(x, 16) for x in TRANSLATED.search(text).groups())
        return bus in self.engine_buses, *numbers

    def data(self, start):
        """([(physical address, bytes)], bytes that commands requested) since start, of NVMe.

        A range whose IOVA was never translated has address None.
        """
        ranges, asked = [], 0
        waiting = {}        # IOVA page -> [index into ranges], oldest first
        counting = False
        for event, text in self.events(start):
            if event in ("pci_nvme_read", "pci_nvme_write"):
                counting = True
                asked += int(COUNT.search(text)[1])
            elif event.endswith("_cmd"):
                counting = False
            elif event == "pci_nvme_map_addr" and counting:
                address, length = RANGE.search(text).groups()
                address, length = int(address, 16), int(length)
                if not self.iommu:
                    ranges.append((address, length))
                    continue
                while length:
                    part = min(length, PAGE - address % PAGE)
                    waiting.setdefault(address // PAGE, []).append(len(ranges))
                    ranges.append((None, part))
                    address, length = address + part, length - part
            elif event == "vtd_dmar_translate":
                by_engine, iova, physical, mask = self.translation(text)
                queue = waiting.get(iova // PAGE)
                if queue and not by_engine:
                    index = queue.pop(0)
                    offset = iova & mask & ~(PAGE - 1)
                    ranges[index] = ((physical & ~mask) + offset, ranges[index][1])
        return ranges, asked

    def moves(self, start):
        """[([(physical address, bytes)] read, [likewise] written)] since start, for each memory move.

        A range whose IOVA was never translated has address None.
        """
        moves = []
        # [read or written, IOVA, bytes] of the last move. QEMU translates all of
        # its accesses right after it, in order.
        waiting = collections.deque()
        for event, text in self.events(start):
            if event == "lsi_memcpy":
                while waiting:
                    to, _, length = waiting.popleft()
                    to.append((None, length))
                destination, source, count = MOVE.search(text).groups()
                destination, source, count = int(destination, 16), int(source, 16), int(count)
                read, written = [], []
                moves.append((read, written))
                if not self.iommu:
                    read.append((source, count))
                    written.append((destination, count))
                    continue
                for at in range(0, count, MOVE_PART):
                    part = min(MOVE_PART, count - at)
                    waiting.append([read, source + at, part])
                    waiting.append([written, destination + at, part])
            elif event == "vtd_dmar_translate" and waiting:
                by_engine, iova, physical, mask = self.translation(text)
                to, address, length = waiting[0]
                if not by_engine or not iova <= address <= iova | mask:
                    continue
                part = min(length, (iova | mask) + 1 - address)
                to.append((physical + address - iova, part))
                if part < length:
                    waiting[0][1:] = address + part, length - part
                else:
                    waiting.popleft()
        for to, _, length in waiting:
            to.append((None, length))
        return moves


def places(ranges, bars):
    """{device: bytes} of ranges; "other" counts bytes outside of bars, "iova" untranslated ones.

    bars: [(device, first address, end)]
    """
    found = collections.Counter()
    for address, length in ranges:
        names = ["iova"] if address is None else \
            [name for name, start, end in bars if start <= address and address + length <= end]
        found[names[0] if names else "other"] += length
    return found


def pairs(moves, bars, small):
    """{"SOURCE>DESTINATION": bytes} of moves; "SOURCE>DESTINATION:BYTES" counts those of up to `small` bytes, by size.

    A move across several places has all of their names, joined by "+".
    """
    found = collections.Counter()
    for move in moves:
        source, destination = ("+".join(sorted(places(ranges, bars))) for ranges in move)
        count = sum(length for _, length in move[0])
        if count <= small:
            found[f"{source}>{destination}:{count}"] += 1
        else:
            found[f"{source}>{destination}"] += count
    return found
