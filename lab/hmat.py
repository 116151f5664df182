# SPDX-License-Identifier: GPL-2.0
"""Makes an HMAT, ACPI's table of what firmware knows about the paths between NUMA nodes.

It has a System Locality Latency and Bandwidth Information Structure (ACPI
Specification 6.5, section 5.2.28.4) for latencies, and one for bandwidths.
QEMU's -acpitable puts the table's header in front.
"""
import struct

REVISION = 2
LOCALITY = 1    # the type of the structure
# Data type, and base unit: nanoseconds in picoseconds, MB/s
KINDS = {"latency": (0, 1000), "bandwidth": (3, 1)}


def structure(kind, rows):
    """rows: for each initiator's node, the values of all targets' nodes"""
    data_type, unit = KINDS[kind]
    nodes = range(len(rows))
    lists = struct.pack(f"<{2 * len(nodes)}I", *nodes, *nodes)
    entries = struct.pack(f"<{len(nodes) ** 2}H", *(value for row in rows for value in row))
    fields = struct.pack("<BBBxIIIQ", 0, data_type, 0, len(nodes), len(nodes), 0, unit)
    return struct.pack("<HHI", LOCALITY, 0, 8 + len(fields + lists + entries)) + fields + lists + entries


def table(values):
    """values: {"latency" or "bandwidth": rows}; a value of 0 says nothing"""
    return bytes(4) + b"".join(structure(kind, rows) for kind, rows in values.items())
