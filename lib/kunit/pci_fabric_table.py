#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Turns descriptions of machines into tables of PCI fabrics, for KUnit tests.

    pci_fabric_table.py DUMP...                 print the tables
    pci_fabric_table.py -o FILE DUMP...         write them into a file
    pci_fabric_table.py --check FILE DUMP...    does the file hold just that?
    pci_fabric_table.py --trim DUMP             print what matters of lspci's output

A DUMP is a file NAME.txt, one machine, whose table is called NAME. Lines that
begin with # are comments. The rest is what one of these printed:

    lspci -vvxxxx       As root. Fewer v and x give less: registers are taken
                        from the hex as far as it reaches, and from the text
                        otherwise. Rows of zeros may be left out; the last row
                        says whether 64, 256 or 4096 bytes were read. --trim
                        drops all that isn't needed, serial numbers too.
    a tree of sysfs     A device in a line, below its bridge by two more spaces:
                        ADDRESS VENDOR:DEVICE class CLASS [bridge ...]
                        Only 64 bytes of config space were read.
    a tree of hwloc     The same below lines "host bridge ...", one for each, or
                        ADDRESS bridge VENDOR:DEVICE. No registers are known.
    a tree of RCCL      The same below lines "numa N ...". Bridges are upstream
                        ports; root ports and downstream ports are not there.

What was not read can't be read in the fabric either (pci_fabric_node::
config_size), so that no port seems to lack ACS whose ACS is unknown. Ports that
a dump leaves out are added, and named in the table's comment. BARs are 64 KiB
if their size is unknown, at most 2 MiB, and never I/O ports; a device in a tree
has one. NUMA nodes are left out: all devices are on node 0.
"""
import argparse
import dataclasses
import difflib
import os
import pathlib
import re
import sys
import tempfile
import textwrap

WIDTH = 80

ADDRESS = r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])"
IDS = r"([0-9a-f]{4}):([0-9a-f]{4})"

# Kinds by the type in the PCI Express capability, for a bridge and for others
TYPES = {
    0: ("Endpoint", None, "ENDPOINT"),
    1: ("Legacy Endpoint", None, "ENDPOINT"),
    4: ("Root Port", "ROOT_PORT", "DMI_PORT"),
    5: ("Upstream Port", "UPSTREAM", None),
    6: ("Downstream Port", "DOWNSTREAM", None),
    7: ("PCI-Express to PCI/PCI-X Bridge", "PCI_BRIDGE", None),
    9: ("Root Complex Integrated Endpoint", None, "RC_ENDPOINT"),
    10: ("Root Complex Event Collector", None, "RC_ENDPOINT"),
}

PORTS = ("ROOT_PORT", "DOWNSTREAM")
PCIE = ("ROOT_PORT", "DMI_PORT", "RC_ENDPOINT", "UPSTREAM", "DOWNSTREAM", "ENDPOINT", "PCI_BRIDGE")
CONVENTIONAL_BUS = ("PCI_BRIDGE", "PCI_PCI_BRIDGE")

# What can be below what, as in pci_fabric.c; None is a host bridge
BELOW = {
    "ROOT_PORT": (None,),
    "DMI_PORT": (None,),
    "RC_ENDPOINT": (None,),
    "UPSTREAM": PORTS,
    "DOWNSTREAM": ("UPSTREAM",),
    "ENDPOINT": (*PORTS, None),
    "PCI_BRIDGE": (*PORTS, None),
    "PCI_PCI_BRIDGE": (*CONVENTIONAL_BUS, None),
    "PCI_DEVICE": (*CONVENTIONAL_BUS, None),
}

# Bits of ACS in the order of the register, as lspci calls them
ACS_BITS = ("SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans")
ACS_EGRESS = 1 << 5
ACS_KNOWN = 0x7f

HEAD, CONVENTIONAL, ALL = 64, 256, 4096
MAX_BAR, ANY_BAR = 2 << 20, 64 << 10
FIRST_DOMAIN = 0x10000          # so that the test machine's own is never taken


class Bad(Exception):
    """What is wrong with a dump, at which line, and what to do."""

    def __init__(self, line, text):
        super().__init__(text)
        self.line = line


@dataclasses.dataclass
class Node:
    """A host bridge, port or function.

    at: (domain, bus, device, function), None for what was added; fields: those
    of struct pci_fabric_node besides name, below and kind
    """
    name: str
    line: int = 0
    kind: str = None
    bridge: bool = False
    at: tuple = None
    secondary: int = 0
    fields: dict = dataclasses.field(default_factory=dict)
    below: "Node" = None
    children: list = dataclasses.field(default_factory=list)

    def add(self, child):
        child.below = self
        self.children.append(child)
        return child

    def all(self):
        """Itself and all below, what is above first."""
        yield self
        for child in self.children:
            yield from child.all()


@dataclasses.dataclass
class Machine:
    hosts: list = dataclasses.field(default_factory=list)
    added: list = dataclasses.field(default_factory=list)
    left_out: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)

    def add_host(self, domain, bus):
        host = Node(f"pci{domain:04x}:{bus:02x}", kind="HOST", bridge=True, at=(domain, bus, 0, 0))
        host.fields = {"domain": hex(FIRST_DOMAIN + domain), "bus": hex(bus), "node": 1}
        self.hosts.append(host)
        return host

    def add_port(self, parent, kind, name, device=0, function=0):
        """A port of which nothing is known."""
        port = parent.add(Node(name, kind=kind, bridge=True))
        port.fields = {"device": device, "function": function, "config_size": CONVENTIONAL}
        self.added.append(name)
        return port


def address_of(match):
    domain, bus, device, function = (int(part or "0", 16) for part in match.groups()[:4])
    return domain, bus, device, function


def name_of(at):
    domain, bus, device, function = at
    return (f"{domain:04x}:" if domain else "") + f"{bus:02x}:{device:02x}.{function}"


def free_device(host):
    """A device number of a root bus that nothing has; not 0, which would give the host bridge an ID."""
    taken = {child.fields.get("device", 0) for child in host.children}
    return min(set(range(1, 32)) - taken)


# ---- lspci ----

class Config:
    """Config space in hex."""

    def __init__(self):
        self.rows = {}
        self.line = 0
        self.wanted = set()     # bytes that get() was asked for

    def __len__(self):
        if not self.rows:
            return 0
        return next(size for size in (HEAD, CONVENTIONAL, ALL) if max(self.rows) < size)

    def get(self, where, size=1):
        """A register; what is not there, though other rows are, is zero."""
        self.wanted.update(range(where, where + size))
        data = bytes(self.rows.get(at & ~15, bytes(16))[at & 15] for at in range(where, where + size))
        return int.from_bytes(data, "little")

    def find(self, name):
        """Position of the PCI Express capability; 0 if there is none, None if it can't be known."""
        if not self.get(6, 2) & 0x10:
            return 0
        where, seen = self.get(0x34) & 0xfc, set()
        while where >= HEAD and where not in seen:
            if where + 2 > len(self):
                return None
            if self.get(where) == 0x10:
                return where
            seen.add(where)
            where = self.get(where + 1) & 0xfc
        if where in seen:
            raise Bad(self.line, f"{name}: the capabilities in the hex form a ring; take the dump again")
        return 0

    def find_acs(self):
        """Position of the ACS capability; 0 if there is none, None if it can't be known."""
        if len(self) < ALL:
            return None
        where, seen = CONVENTIONAL, set()
        while where >= CONVENTIONAL and where not in seen:
            header = self.get(where, 4)
            if header & 0xffff == 0x0d:
                return where
            seen.add(where)
            where = header >> 20 & 0xffc
        return 0

    def trimmed(self):
        """Rows of hex with the wanted bytes; zeros for all others."""
        for where in sorted({at & ~15 for at in self.wanted if at < len(self)}):
            row = bytes(byte if where + i in self.wanted else 0
                        for i, byte in enumerate(self.rows.get(where, bytes(16))))
            # The row at 100 says that there is extended config space
            if any(row) or where == CONVENTIONAL:
                yield f"{where:02x}: {row.hex(' ')}"

    def facts(self, name):
        """What the hex says: {fact: value}"""
        if not self.rows:
            return {}
        facts = {"vendor": self.get(0, 2), "device_id": self.get(2, 2), "class": self.get(10, 2),
                 "bridge": self.get(14) & 0x7f == 1}
        if facts["bridge"]:
            facts["secondary"] = self.get(0x19)
        where = self.find(name)
        if where == 0:
            facts["type"] = -1
        elif where:
            facts["type"] = self.get(where + 2, 2) >> 4 & 15
            facts["mpss"] = 128 << (self.get(where + 4) & 7)
            facts["mps"] = 128 << (self.get(where + 8) >> 5 & 7)
            facts["port"] = self.get(where + 15)
        where = self.find_acs()
        if where == 0:
            facts["acs_cap"] = None
        elif where:
            facts["acs_cap"] = self.get(where + 4) & ACS_KNOWN
            facts["acs_ctrl"] = self.get(where + 6) & ACS_KNOWN
            facts["acs_more"] = self.get(where + 6, 2) & ~ACS_KNOWN
            if facts["acs_cap"] & ACS_EGRESS:
                facts["acs_vector"] = self.get(where + 5)
                facts["egress"] = self.get(where + 8, ((facts["acs_vector"] or 256) + 31) // 32 * 4)
        return facts

    def bars(self, sizes):
        """{number: (size, is it 32-bit)}; sizes: what the text says"""
        found, upper = {}, False
        for i in range(6):
            value = self.get(0x10 + 4 * i, 4)
            if upper:
                upper = False
            elif value & 1 == 0 and (value or i in sizes):
                upper = value & 6 == 4 if value else not sizes[i][1]
                found[i] = (sizes.get(i, (ANY_BAR,))[0], not upper)
        return found


def acs_bits(text):
    return sum(1 << i for i, name in enumerate(ACS_BITS) if f"{name}+" in text)


class Text:
    """What lspci says of one function in words."""

    def __init__(self, rest):
        self.lines = []         # those that say something
        self.facts = {}
        self.sizes = {}         # of BARs: as Config.bars() returns
        self.capabilities = None    # None if it says nothing, else whether they can be read
        self.extended = False       # some are in extended config space
        match = re.match(rf"(?:Class )?(.*?)(?: ?\[?([0-9a-f]{{4}})\]?)?: (.*)", rest)
        if not match:
            return
        if match[2]:
            self.facts["class"] = int(match[2], 16)
        ids = re.findall(rf"\[{IDS}\]", match[3])[-1:] or re.findall(rf"^(?:Device )?{IDS}\b", match[3])
        if ids:
            self.facts["vendor"], self.facts["device_id"] = (int(part, 16) for part in ids[0])

    def read(self, line):
        """Takes a line, with its indentation."""
        if self.says(line):
            self.lines.append(re.sub("(Device Serial Number).*", r"\1", line))

    def says(self, line):
        """Is the line of use?"""
        outer = re.match(r" {1,8}(\S.*)", line)
        inner = line.strip()
        if outer:
            return self.read_outer(outer[1])
        if match := re.match(r"DevCap:\s+MaxPayload (\d+) bytes", inner):
            self.facts["mpss"] = int(match[1])
        elif match := re.match(r"MaxPayload (\d+) bytes, MaxReadReq", inner):
            self.facts["mps"] = int(match[1])
        elif match := re.match(r"LnkCap:\s+Port #(\d+)", inner):
            self.facts["port"] = int(match[1])
        elif match := re.match(r"ACSCap:\s+(.*)", inner):
            self.facts["acs_cap"] = acs_bits(match[1])
        elif match := re.match(r"ACSCtl:\s+(.*)", inner):
            self.facts["acs_ctrl"] = acs_bits(match[1])
        return bool(match)

    def read_outer(self, text):
        if match := re.match(r"Capabilities: \[([0-9a-f]+)(?: v\d+)?\] (.*)", text):
            extended = int(match[1], 16) >= CONVENTIONAL
            # One is enough to show that they can be read
            useful = not self.capabilities or extended and not self.extended or match[2] == "Access Control Services"
            self.capabilities = True
            self.extended |= extended
            if express := re.match(r"Express (?:\(v\d+\) )?([^(,]*)", match[2]):
                self.facts["type"] = next((number for number, names in TYPES.items()
                                           if names[0] == express[1].strip()), None)
            return useful or bool(express)
        if text.startswith("Capabilities: <"):
            self.capabilities = False
        elif text.startswith("Status: Cap-"):
            self.capabilities = True
        elif match := re.match(r"Bus: primary=[0-9a-f]+, secondary=([0-9a-f]+)", text):
            self.facts["secondary"] = int(match[1], 16)
        elif match := re.match(r"Region (\d): Memory at .* \((32|64)-bit, .*?(?:\[size=(\d+)([KMGT]?)\])?$", text):
            size = int(match[3]) << 10 * "KMGT".index(match[4] or "K") + 10 * bool(match[4]) if match[3] else ANY_BAR
            self.sizes[int(match[1])] = (size, match[2] == "32")
        else:
            return False
        return True

    def settle(self):
        """To be called at the end: what follows from a thing that isn't mentioned"""
        self.facts["bridge"] = "secondary" in self.facts
        if self.capabilities and "type" not in self.facts:
            self.facts["type"] = -1


class Function:
    """One function in lspci's output."""

    def __init__(self, line, at, head, rest):
        self.node = Node(name_of(at), line, at=at)
        self.head = head
        self.config = Config()
        self.text = Text(rest)
        self.words = False      # there is more text than the first line

    def read(self, number, line):
        node = self.node
        if match := re.fullmatch(r"([0-9a-f]{2,3}): ((?:[0-9a-f]{2} ){15}[0-9a-f]{2})\s*", line):
            where = int(match[1], 16)
            if where & 15 or where in self.config.rows:
                raise Bad(number, f"{node.name}: hex row {match[1]} is there twice, or begins in the middle of one")
            self.config.rows[where] = bytes.fromhex(match[2])
            self.config.line = self.config.line or number
        elif line[0] == " ":
            self.words = True
            self.text.read(line)
        else:
            raise Bad(number, f"below {node.name}: neither text of lspci nor a whole row of hex: '{line[:40]}'; "
                      "take the line out, or the dump again")

    def merge(self):
        """One set of facts from hex and text, which must agree."""
        said = self.config.facts(self.node.name)
        if self.words or not self.config.rows:
            self.text.settle()
        text = self.text.facts
        if not self.words:
            text.pop("bridge", None)
        for fact in said.keys() & text.keys():
            if said[fact] != text[fact]:
                raise Bad(self.config.line, f"{self.node.name}: {fact} is {said[fact]:#x} in the hex and "
                          f"{text[fact]:#x} in the text (from line {self.node.line}); take both at once, by "
                          "lspci -vvxxxx")
        return {**text, **said}

    def config_size(self, facts):
        """As pci_fabric_node::config_size"""
        if facts.get("type", -1) == -1:
            return 0 if "type" in facts else HEAD
        if len(self.config) == ALL or self.text.extended or "acs_cap" in facts:
            return 0
        return CONVENTIONAL

    def fill(self, machine):
        """Sets the node's fields, from what hex and text say."""
        if self.config.rows and self.config.get(0, 2) == 0xffff:
            return False        # a virtual function's config space has no ID
        node, facts = self.node, self.merge()
        if "vendor" not in facts:
            raise Bad(node.line, f"{node.name}: there are neither IDs nor hex; take the dump by lspci -vvxxxx, "
                      "or by lspci -nnvv")
        if facts.get("type", -1) is None or facts.get("type", 0) not in (-1, *TYPES):
            raise Bad(node.line, f"{node.name}: a fabric has no PCI Express function of this type; take it out, and "
                      "what is below it")

        node.bridge = facts["bridge"]
        node.secondary = facts.get("secondary", 0)
        if facts.get("type", -1) >= 0:
            name, bridge, other = TYPES[facts["type"]]
            node.kind = bridge if node.bridge else other
            if not node.kind:
                raise Bad(node.line, f"{node.name}: the type is {name}, but this is {'a' if node.bridge else 'no'} "
                          "bridge by its header; take the dump again")
        elif "type" in facts:
            node.kind = "PCI_PCI_BRIDGE" if node.bridge else "PCI_DEVICE"

        fields = node.fields
        fields["device"], fields["function"] = node.at[2:]
        fields["vendor"], fields["device_id"] = facts["vendor"], facts["device_id"]
        if facts.get("class", 0) >> 8 == 6 and facts["class"] != 0x604:
            fields["class"] = facts["class"]
        fields["config_size"] = self.config_size(facts)
        if node.bridge:
            fields["port"] = facts.get("port", 0)
        fields["mpss"] = facts.get("mpss", 0)
        fields["mps"] = facts.get("mps", 0) if facts.get("mps") != 128 else 0
        self.fill_acs(machine, facts)
        if not node.bridge:
            bars = self.config.bars(self.text.sizes) if self.config.rows else self.text.sizes
            fields["bar"] = {i: (min(size, MAX_BAR), narrow) for i, (size, narrow) in bars.items()}
        return True

    def fill_acs(self, machine, facts):
        node, cap, ctrl = self.node, facts.get("acs_cap"), facts.get("acs_ctrl", 0)
        if cap is None:
            return
        if ctrl & ~cap:
            raise Bad(node.line, f"{node.name}: ACSCtl {ctrl:04x} has bits that ACSCap {cap:04x} lacks; take the dump "
                      "again")
        if ctrl & ACS_EGRESS and "egress" not in facts:
            machine.notes.append(f"{node.name}: EgressCtrl+, but its vector is unknown, and so its ACS")
            node.fields["config_size"] = CONVENTIONAL
            return
        if facts.get("egress"):
            raise Bad(self.config.line, f"{node.name}: bits of the Egress Control Vector are set, for which a table "
                      "has no place; clear them in the hex, and set them in the test: pci_fabric_set_egress()")
        if facts.get("acs_more"):
            machine.notes.append(f"{node.name}: ACSCtl has bits of which a fabric knows nothing: "
                                 f"{facts['acs_more']:#06x}")
        node.fields["acs_cap"] = cap or "PCI_FABRIC_ACS_EMPTY"
        node.fields["acs_ctrl"] = ctrl
        node.fields["acs_vector"] = facts.get("acs_vector", 0)


def read_lspci(lines):
    functions = []
    for number, line in lines:
        if match := re.match(rf"{ADDRESS} (.*)", line):
            at = address_of(match)
            if any(function.node.at == at for function in functions):
                raise Bad(number, f"{name_of(at)} is there twice; one file is one machine")
            functions.append(Function(number, at, line, match[5]))
        elif line.startswith("pcilib:"):
            continue
        elif not functions:
            raise Bad(number, f"this is neither lspci's output nor a tree: '{line[:40]}'; see --help")
        else:
            functions[-1].read(number, line)
    return functions


def fill_all(machine, functions):
    """Returns their nodes, not yet one below the other."""
    nodes = []
    for function in functions:
        if function.fill(machine):
            nodes.append(function.node)
        else:
            machine.left_out.append(f"{function.node.name} (virtual)")
    return nodes


def add_above(machine, host, bus, nodes):
    """Adds the ports that lead from a host bridge to nodes, which can't be on a root bus."""
    kinds = {node.kind for node in nodes}
    where = f"{bus[0]:04x}:{bus[1]:02x}" if bus[0] else f"{bus[1]:02x}"
    above = machine.add_port(host, "ROOT_PORT", f"root port of {where}", free_device(host))
    if "DOWNSTREAM" in kinds:
        above = machine.add_port(above, "UPSTREAM", f"upstream of {where}")
    return above


def is_left_out(bus, nodes):
    """Is this the bus of a port that the dump leaves out?"""
    if any(node.kind in ("UPSTREAM", "DOWNSTREAM") for node in nodes):
        return True
    # Endpoints on a root bus are on bus 0, in a virtual machine
    return bus[1] > 0 and all(node.kind == "ENDPOINT" and node.at[2] == 0 for node in nodes)


def link(machine, nodes):
    """Puts functions below each other, by bus numbers."""
    bridges, buses = {}, {}
    for node in nodes:
        bus = (node.at[0], node.secondary)
        if node.secondary and bridges.setdefault(bus, node) is not node:
            raise Bad(node.line, f"{node.name}: bus {node.secondary:02x} is below {bridges[bus].name} already; "
                      "one file is one machine")
        buses.setdefault(node.at[:2], []).append(node)

    roots = {bus for bus in buses if bus not in bridges}
    hosts = {bus: machine.add_host(*bus) for bus in sorted(roots) if not is_left_out(bus, buses[bus])}
    for bus, there in sorted(buses.items()):
        above = bridges.get(bus) or hosts.get(bus)
        for node in there if above else ():
            above.add(node)
    for bus in sorted(roots - hosts.keys()):
        host = next((host for host in machine.hosts if host.at[0] == bus[0]), None)
        above = add_above(machine, host or machine.add_host(bus[0], 0), bus, buses[bus])
        for node in buses[bus]:
            above.add(node)

    reached = {id(node) for host in machine.hosts for node in host.all()}
    for node in nodes:
        if id(node) not in reached:
            raise Bad(node.line, f"{node.name} is below itself, by its bus numbers; take the dump again")


# ---- Trees ----

TREE = re.compile(rf"( *){ADDRESS} (bridge )?{IDS}(?: class ([0-9a-f]{{4}})[0-9a-f]{{0,2}})?\b(.*)")
HEADING = re.compile(r"host bridge\b|numa (\d+)\b")


def is_tree(lines):
    return bool(HEADING.match(lines[0][1]) or TREE.fullmatch(lines[0][1]))


def read_tree(machine, lines):
    """Returns whether ports are left out."""
    headings = [line for _, line in lines if HEADING.match(line)]
    rccl = any(line.startswith("numa") for line in headings)
    size = CONVENTIONAL if headings else HEAD
    above, names, host = [], set(), None        # above: [(indentation, node)]
    for number, line in lines:
        if heading := HEADING.match(line):
            if bool(heading[1]) != rccl:
                raise Bad(number, "lines 'numa' and lines 'host bridge' don't go together; make two files")
            # RCCL doesn't know host bridges: one for each NUMA node, as far apart as can be
            host = machine.add_host(0, len(machine.hosts) * (256 // len(headings))) if rccl else None
            above = []
            continue
        match = TREE.fullmatch(line)
        if not match:
            raise Bad(number, f"this is no line of a tree: '{line.strip()[:40]}'; see --help")
        indent, at = len(match[1]), tuple(int(part or "0", 16) for part in match.groups()[1:5])
        node = Node(name_of(at), number, at=at)
        if node.name in names:
            raise Bad(number, f"{node.name} is there twice; one file is one machine")
        names.add(node.name)
        node.bridge = bool(match[6]) or (match[9] or "") == "0604"
        node.fields = {"device": at[2], "function": at[3], "vendor": int(match[7], 16),
                       "device_id": int(match[8], 16), "config_size": size}
        if not node.bridge:
            node.fields["bar"] = {0: (ANY_BAR, False)}

        while above and above[-1][0] >= indent:
            above.pop()
        if above:
            parent = above[-1][1]
        elif rccl:
            if not host:
                raise Bad(number, f"{node.name} is above the first line 'numa'")
            parent = host
        else:
            parent = next((host for host in machine.hosts if host.at[:2] == at[:2]), None) or \
                machine.add_host(*at[:2])
        if not parent.bridge:
            raise Bad(number, f"{node.name} is below {parent.name}, which is no bridge; correct the indentation")
        if rccl:
            if parent is host:
                parent = machine.add_port(host, "ROOT_PORT", f"root port of {node.name}", free_device(host))
            else:
                parent = machine.add_port(parent, "DOWNSTREAM", f"port of {node.name}", len(parent.children))
            node.fields["device"] = 0
        parent.add(node)
        above.append((indent, node))


# ---- What both have in common ----

def guess_kinds(host):
    """Kinds of functions whose capabilities weren't read, from where they are."""
    for node in host.all():
        if node.kind:
            continue
        above = node.below.kind
        if above == "HOST":
            node.kind = "ROOT_PORT" if node.bridge else "RC_ENDPOINT"
        elif above == "UPSTREAM":
            node.kind = "DOWNSTREAM"
        elif above in PORTS:
            node.kind = "UPSTREAM" if node.bridge else "ENDPOINT"
        else:
            node.kind = "PCI_PCI_BRIDGE" if node.bridge else "PCI_DEVICE"


def check_places(machine, host):
    """Can a fabric have each of them where it is? Leaves out what is no function of its own."""
    for node in list(host.all())[1:]:
        above = node.below
        if above.kind in PORTS and node.at and node.fields["device"]:
            # By ARI, a virtual function's number may be beyond 7
            above.children.remove(node)
            machine.left_out.append(node.name)
            continue
        kind = None if above.kind == "HOST" else above.kind
        if kind not in BELOW[node.kind] or node.kind == "DOWNSTREAM" and not node.bridge:
            what = node.kind.lower().replace("_", " ")
            raise Bad(node.line, f"{node.name}, {what}, can't be below {above.name} in a fabric, "
                      f"{above.kind.lower().replace('_', ' ')}; take it out, and what is below it")


def add_first_functions(machine, host):
    """A device without function 0 isn't found."""
    for parent in list(host.all()):
        there = {}
        for node in parent.children:
            there.setdefault(node.fields.get("device", 0), []).append(node)
        for device, nodes in there.items():
            if all(node.fields.get("function", 0) for node in nodes):
                first = nodes[0]
                zero = Node(name_of((*first.at[:3], 0)), kind=first.kind, bridge=first.bridge)
                zero.fields = {"device": device, "config_size": CONVENTIONAL if first.kind in PCIE else 0}
                zero.below = parent
                parent.children.insert(parent.children.index(first), zero)
                machine.added.append(zero.name)


def read_lines(path):
    """The lines that aren't empty, with their numbers, and the comment at the head."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Bad(0, f"can't be read: {error}") from None
    lines, comment = [], []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.expandtabs().rstrip()
        if line.startswith("#"):
            comment += [] if lines else [line]
        elif line:
            lines.append((number, line))
    if not lines:
        raise Bad(0, "there is nothing but comments in it")
    return lines, comment


def read_machine(path):
    machine = Machine()
    lines, _ = read_lines(path)
    if is_tree(lines):
        read_tree(machine, lines)
    else:
        link(machine, fill_all(machine, read_lspci(lines)))
    for host in machine.hosts:
        guess_kinds(host)
        check_places(machine, host)
        add_first_functions(machine, host)
    return machine


def trim(path):
    """The dump, with nothing but what read_machine() needs."""
    lines, comment = read_lines(path)
    if is_tree(lines):
        raise Bad(0, "only lspci's output can be trimmed")
    functions = read_lspci(lines)
    fill_all(Machine(), functions)
    parts = ["\n".join(comment)] if comment else []
    for function in functions:
        text = [re.sub("^ +", lambda spaces: "\t" * (len(spaces[0]) // 8), line) for line in function.text.lines]
        parts.append("\n".join([function.head, *text, *function.config.trimmed()]))
    return "\n\n".join(parts) + "\n"


# ---- Tables ----

def size_text(size):
    for unit, letter in ((1 << 20, "M"), (1 << 10, "K")):
        if size >= unit:
            return f"SZ_{size // unit}{letter}"
    return str(size)


def field_texts(node):
    """Its fields in C, those that aren't 0."""
    hexadecimal = ("vendor", "device_id", "class", "acs_cap", "acs_ctrl")
    for name, value in node.fields.items():
        if name == "bar":
            for i, (size, narrow) in sorted(value.items()):
                yield f".bar[{i}] = {{ {size_text(size)}{', PCI_FABRIC_BAR_32' if narrow else ''} }}"
        elif value and name in hexadecimal and isinstance(value, int):
            yield f".{name} = {value:#0{6 if name in ('vendor', 'device_id', 'class') else 4}x}"
        elif value and value != "0x0":
            yield f".{name} = {value}"


def node_text(node):
    """Lines of a node's initialiser."""
    if node.below:
        parts = [f'NODE("{node.name}"', f'"{node.below.name}"', node.kind]
    else:
        parts = [f'HOST("{node.name}"']
    parts += field_texts(node)
    lines, line = [], "\t"
    for i, part in enumerate(parts):
        part += ")," if i == len(parts) - 1 else ","
        if len((line + part).expandtabs()) > WIDTH:
            lines.append(line.rstrip())
            line = "\t     "
        line += part + " "
    return [*lines, line.rstrip()]


def comment_text(paragraphs):
    lines = [line for text in paragraphs for line in
             textwrap.wrap(text, WIDTH - 3, break_long_words=False, break_on_hyphens=False)]
    if len(lines) == 1:
        return [f"/* {lines[0]} */"]
    return ["/*", *(f" * {line}" for line in lines), " */"]


def table_text(name, file, machine):
    """Lines of a machine's table."""
    said = [f"machines/{file}"]
    for what, names in (("Added", machine.added), ("Left out", machine.left_out)):
        if names:
            said.append(f"{what}: {', '.join(names)}.")
    lines = comment_text(said + machine.notes)
    lines.append(f"static const struct pci_fabric_node {name}[] = {{")
    for host in machine.hosts:
        for node in host.all():
            lines += node_text(node)
    return [*lines, "};"]


PREAMBLE = """\
/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Real machines as PCI fabrics.  Generated by pci_fabric_table.py; do not edit.
 */

#include <linux/sizes.h>

#include "pci_fabric.h"

#define HOST(_name, ...)						\\
	{ .name = _name, .kind = PCI_FABRIC_HOST, __VA_ARGS__ }
#define NODE(_name, _below, _kind, ...)					\\
	{ .name = _name, .below = _below, .kind = PCI_FABRIC_##_kind,	\\
	  __VA_ARGS__ }
"""


def table(path):
    name = path.stem.replace("-", "_")
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise Bad(0, "its name is to be the table's: begin with a letter, and use a-z, 0-9 and - alone")
    return "\n" + "\n".join(table_text(name, path.name, read_machine(path))) + "\n"


def each(paths, work):
    """What work() makes of the files; or exits with all that is wrong."""
    text, errors = "", []
    for path in paths:
        try:
            text += work(path)
        except Bad as bad:
            errors.append(f"{path}:{bad.line or ''}{':' if bad.line else ''} {bad}")
    if errors:
        sys.exit("\n".join(errors))
    return text


def main(args=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", nargs="+", metavar="DUMP", type=pathlib.Path)
    parser.add_argument("-o", dest="out", metavar="FILE", type=pathlib.Path, help="write this file")
    parser.add_argument("--check", metavar="FILE", type=pathlib.Path, help="compare with this file")
    parser.add_argument("--trim", action="store_true", help="print one DUMP without what isn't needed")
    args = parser.parse_args(args)
    if args.trim and len(args.dumps) > 1:
        parser.error("--trim takes one DUMP")
    text = each(args.dumps, trim) if args.trim else PREAMBLE + each(args.dumps, table)
    if args.check:
        there = args.check.read_text()
        differences = difflib.unified_diff(there.splitlines(), text.splitlines(), str(args.check), "from the dumps",
                                           lineterm="")
        if there != text:
            sys.exit("\n".join(differences))
    elif args.out:
        # A temporary file first, so that nothing is left half written
        with tempfile.NamedTemporaryFile("w", dir=args.out.parent, delete=False) as file:
            file.write(text)
        os.chmod(file.name, 0o644)
        os.replace(file.name, args.out)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
