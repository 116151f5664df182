#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of pci_fabric_table.py, and that p2pdma_machines.h is what it makes of machines/.

    pci_fabric_table_test.py
"""
import contextlib
import io
import pathlib
import re
import tempfile
import types
import unittest

import pci_fabric_table

HERE = pathlib.Path(__file__).resolve().parent
TABLES = HERE / "p2pdma_machines.h"
DUMPS = sorted((HERE / "machines").glob("*.txt"))

ACS_NAMES = ("SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans")


def run(*args):
    """Runs the program in this process; returns what subprocess.run() would."""
    out, code = io.StringIO(), None
    with contextlib.redirect_stdout(out):
        try:
            pci_fabric_table.main([str(arg) for arg in args])
        except SystemExit as end:
            code = end.code
    return types.SimpleNamespace(returncode=1 if code else 0, stdout=out.getvalue(), stderr=code or "")


def acs_text(bits):
    return " ".join(name + "-+"[bits >> i & 1] for i, name in enumerate(ACS_NAMES))


def dump(name):
    return (HERE / "machines" / f"{name}.txt").read_text()


# One function with everything in hex: root port with ACS, 4 KiB
ROOT_PORT = """\
00:01.0 PCI bridge: Some root port
00: 86 80 30 20 07 00 10 00 00 00 04 06 10 00 01 00
10: 00 00 00 00 00 00 00 00 00 01 03 00 00 00 00 00
30: 00 00 00 00 40 00 00 00 00 00 00 00 00 00 00 00
40: 10 00 42 01 01 80 00 00 20 00 00 00 83 38 7a 03
100: 0d 00 01 00 1f 00 1d 00 00 00 00 00 00 00 00 00
"""

# The same in words
ROOT_PORT_TEXT = f"""\
00:01.0 PCI bridge [0604]: Some root port [8086:2030] (rev 02)
	Status: Cap+ 66MHz-
	Bus: primary=00, secondary=01, subordinate=03, sec-latency=0
	Capabilities: [40] Express (v2) Root Port (Slot-), IntMsgNum 0
		DevCap:	MaxPayload 256 bytes, PhantFunc 0
			ExtTag- RBE+
		DevCtl:	CorrErr- NonFatalErr- FatalErr- UnsupReq-
			MaxPayload 256 bytes, MaxReadReq 128 bytes
		LnkCap:	Port #3, Speed 8GT/s, Width x8, ASPM L1
	Capabilities: [100 v1] Access Control Services
		ACSCap:	{acs_text(0x1f)}
		ACSCtl:	{acs_text(0x1d)}
"""

ENDPOINT = """\
01:00.0 Ethernet controller [0200]: Some adapter [15b3:1013]
	Region 0: Memory at c0100000 (32-bit, non-prefetchable) [size=512]
	Region 1: I/O ports at 3000 [size=32]
	Region 2: Memory at 38000000000 (64-bit, prefetchable) [size=32M]
	Capabilities: [60] Express (v2) Endpoint, MSI 00
		DevCap:	MaxPayload 512 bytes, PhantFunc 0
	Capabilities: [100 v1] Advanced Error Reporting
"""

ROOT_PORT_NODE = (
    'HOST("pci0000:00", .domain = 0x10000, .node = 1), NODE("00:01.0", "pci0000:00", ROOT_PORT, .device = 1, '
    '.vendor = 0x8086, .device_id = 0x2030, .port = 3, .mpss = 256, .mps = 256, .acs_cap = 0x1f, .acs_ctrl = 0x1d),')


class Test(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dump = pathlib.Path(folder.name) / "machine.txt"
        self.out = pathlib.Path(folder.name) / "out.h"

    def table(self, text):
        """The table's nodes, and its comment; spaces for all white space."""
        self.dump.write_text(text)
        done = run(self.dump)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        comment, nodes = re.search(r"(/\*[^/]* machines/.*) static const struct pci_fabric_node machine\[\] = { (.*) };",
                                   " ".join(done.stdout.split())).groups()
        return nodes, comment

    def nodes(self, text):
        return self.table(text)[0]

    def refused(self, text, *parts, line=None):
        """The program names these parts and the line, and writes nothing."""
        self.dump.write_text(text)
        self.out.write_text("old")
        done = run("-o", self.out, self.dump)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual((done.stdout, self.out.read_text()), ("", "old"))
        self.assertTrue(done.stderr.startswith(f"{self.dump}:" + (f"{line}: " if line else "")), done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_tables_are_up_to_date(self):
        done = run("--check", TABLES, *DUMPS)
        self.assertEqual(done.returncode, 0, "make it again: see README.md, 'A machine becomes a test'\n" + done.stderr)

    def test_check_sees_a_difference(self):
        self.out.write_text(TABLES.read_text().replace(".acs_ctrl = 0x1d", ".acs_ctrl = 0x1c", 1))
        done = run("--check", self.out, *DUMPS)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("-	     .acs_ctrl = 0x1c),", done.stderr)

    def test_written(self):
        self.dump.write_text(ROOT_PORT)
        self.assertEqual(run("-o", self.out, self.dump).returncode, 0)
        self.assertIn(ROOT_PORT_NODE, " ".join(self.out.read_text().split()))

    def test_trim(self):
        """The tables stay the same, and a second time changes nothing."""
        serial = "	Capabilities: [140 v1] Device Serial Number 00-0c-29-ff\n		Foo: bar\n"
        for name, text in [("text", ROOT_PORT_TEXT + ENDPOINT.replace("\tCapabilities: [100", serial + "\tCapabilities: [100")),
                           *((path.name, path.read_text()) for path in DUMPS)]:
            with self.subTest(name):
                self.dump.write_text(text)
                done = run("--trim", self.dump)
                if re.search(r"^(numa|host bridge|.* class 0604 bridge to)", text, re.M):
                    self.assertIn("only lspci's output can be trimmed", done.stderr)
                    continue
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertNotIn("29-ff", done.stdout)
                self.assertEqual(self.table(text), self.table(done.stdout))
                self.dump.write_text(done.stdout)
                self.assertEqual(done.stdout, run("--trim", self.dump).stdout)

    def test_trim_drops_other_bytes(self):
        self.dump.write_text(ROOT_PORT.replace("86 80 30 20 07 00", "86 80 30 20 07 04") + "140: " + 15 * "11 " + "11\n")
        self.assertIn("00: 86 80 30 20 00 00 10 00 00 00 04 06", run("--trim", self.dump).stdout)
        self.assertNotIn("11 11", run("--trim", self.dump).stdout)

    # What hex and text say

    def test_hex(self):
        self.assertEqual(self.nodes(ROOT_PORT), ROOT_PORT_NODE)

    def test_text(self):
        self.assertEqual(self.nodes(ROOT_PORT_TEXT), ROOT_PORT_NODE)

    def test_text_with_spaces(self):
        self.assertEqual(self.nodes(ROOT_PORT_TEXT.expandtabs()), ROOT_PORT_NODE)

    def test_both(self):
        self.assertEqual(self.nodes(ROOT_PORT_TEXT + ROOT_PORT.partition("\n")[2]), ROOT_PORT_NODE)

    def test_text_where_the_hex_ends(self):
        rows = ROOT_PORT.partition("\n")[2]
        self.assertEqual(self.nodes(ROOT_PORT_TEXT + rows[:rows.index("100:")]), ROOT_PORT_NODE)
        self.assertEqual(self.nodes(ROOT_PORT_TEXT + rows[:rows.index("40:")]), ROOT_PORT_NODE)

    def test_disagreement(self):
        rows = ROOT_PORT.partition("\n")[2]
        for fact, old, new in (("acs_ctrl", "1f 00 1d", "1f 00 1c"), ("acs_cap", "1f 00 1d", "5f 00 1d"),
                               ("mps", "20 00 00 00 83", "40 00 00 00 83"), ("mpss", "42 01 01", "42 01 02"),
                               ("port", "7a 03", "7a 04"), ("type", "10 00 42", "10 00 62"),
                               ("secondary", "00 01 03", "00 02 03"), ("device_id", "86 80 30", "86 80 31"),
                               ("class", "00 04 06", "00 00 06"), ("bridge", "00 01 00\n10", "00 00 00\n10")):
            with self.subTest(fact):
                self.assertIn(old, rows)
                self.refused(ROOT_PORT_TEXT + rows.replace(old, new), f"00:01.0: {fact} is", line=13)

    def test_bars(self):
        self.assertIn("ENDPOINT, .vendor = 0x15b3, .device_id = 0x1013, .mpss = 512, "
                      ".bar[0] = { 512, PCI_FABRIC_BAR_32 }, .bar[2] = { SZ_2M }),",
                      self.nodes(ROOT_PORT_TEXT + ENDPOINT))

    def test_empty_acs(self):
        self.assertIn(".acs_cap = PCI_FABRIC_ACS_EMPTY)", self.nodes(ROOT_PORT.replace("1f 00 1d", "00 00 00")))

    def test_class(self):
        self.assertIn("ROOT_PORT, .device = 1, .vendor = 0x8086, .device_id = 0x2030, .class = 0x0600",
                      self.nodes(ROOT_PORT.replace("00 04 06", "00 00 06")))
        self.assertIn("DMI_PORT, .device = 1, .vendor = 0x8086, .device_id = 0x2030, .class = 0x0600",
                      self.nodes(ROOT_PORT.replace("00 04 06 10 00 01", "00 00 06 10 00 00")))

    def test_egress(self):
        vector = ROOT_PORT.replace("1f 00 1d 00 00", "3f 08 3d 00 %s")
        self.assertIn(".acs_cap = 0x3f, .acs_ctrl = 0x3d, .acs_vector = 8)", self.nodes(vector % "00"))
        self.refused(vector % "04", "00:01.0", "Egress Control Vector")
        nodes, comment = self.table(ROOT_PORT_TEXT.replace("EgressCtrl-", "EgressCtrl+"))
        self.assertIn(".config_size = 256", nodes)
        self.assertNotIn("acs", nodes)
        self.assertIn("00:01.0: EgressCtrl+", comment)

    def test_bits_that_a_fabric_lacks(self):
        nodes, comment = self.table(ROOT_PORT.replace("1f 00 1d 00", "9f 00 9d 01"))
        self.assertEqual(nodes, ROOT_PORT_NODE)
        self.assertIn("00:01.0: ACSCtl has bits of which a fabric knows nothing: 0x0180", comment)

    def test_control_beyond_capability(self):
        self.refused(ROOT_PORT.replace("1f 00 1d", "0f 00 1d"), "00:01.0: ACSCtl 001d", "000f", line=1)

    # What can't be read stays unknown

    def test_only_256_bytes(self):
        nodes = self.nodes(ROOT_PORT[:ROOT_PORT.index("100:")])
        self.assertIn(".config_size = 256", nodes)
        self.assertIn(".mps = 256", nodes)

    def test_only_64_bytes(self):
        nodes = self.nodes(ROOT_PORT[:ROOT_PORT.index("40:")])
        self.assertIn("ROOT_PORT, .device = 1, .vendor = 0x8086, .device_id = 0x2030, .config_size = 64)", nodes)

    def test_access_denied(self):
        text = re.sub(r"\tCapabilities.*", "\tCapabilities: <access denied>\n", ROOT_PORT_TEXT, flags=re.S)
        self.assertIn(".config_size = 64", self.nodes(text))

    def test_text_without_capabilities(self):
        text = ROOT_PORT_TEXT[:ROOT_PORT_TEXT.index("\tCapabilities")]
        self.assertIn(".config_size = 64", self.nodes(text))

    def test_text_without_extended_capabilities(self):
        text = ROOT_PORT_TEXT[:ROOT_PORT_TEXT.index("\tCapabilities: [100")]
        self.assertIn(".config_size = 256", self.nodes(text))

    def test_without_acs(self):
        nodes = self.nodes(ROOT_PORT.replace("100: 0d 00", "100: 01 00"))
        self.assertNotIn("acs", nodes)
        self.assertNotIn("config_size", nodes)

    def test_conventional(self):
        nodes = self.nodes("00:1f.0 ISA bridge [0601]: Something [8086:1234]\n	Status: Cap- 66MHz-\n")
        self.assertIn('PCI_DEVICE, .device = 31, .vendor = 0x8086, .device_id = 0x1234, .class = 0x0601)', nodes)

    # What the dump leaves out

    def test_added(self):
        port = ROOT_PORT.replace("00:01.0", "05:01.0").replace("42 01 01", "62 01 01")
        nodes, comment = self.table(port)
        self.assertIn("Added: root port of 05, upstream of 05.", comment)
        self.assertIn('NODE("05:01.0", "upstream of 05", DOWNSTREAM', nodes)
        nodes, comment = self.table(ROOT_PORT.replace("00:01.0", "00:01.3"))
        self.assertIn("Added: 00:01.0.", comment)
        self.assertIn('NODE("00:01.0", "pci0000:00", ROOT_PORT, .device = 1, .config_size = 256),', nodes)

    def test_endpoint_on_root_bus(self):
        """In a virtual machine; but elsewhere than on bus 0 its port is left out."""
        self.assertIn('"pci0000:00", ENDPOINT', self.nodes(ENDPOINT.replace("01:00.0", "00:03.0")))
        self.assertIn('"pci0000:00", ENDPOINT', self.nodes(ENDPOINT.replace("01:00.0", "00:00.0")))
        self.assertIn('"root port of 01", ENDPOINT', self.nodes(ENDPOINT))

    def test_virtual_functions(self):
        virtual = "01:00.1 Ethernet controller [0200]: A virtual function [15b3:1014]\n00:" + 16 * " ff" + "\n"
        ari = "01:01.0 Ethernet controller [0200]: Another [15b3:1014]\n	Status: Cap+\n"
        nodes, comment = self.table(ROOT_PORT + ENDPOINT + virtual + ari)
        self.assertEqual(nodes.count("NODE("), 2)
        self.assertIn("Left out: 01:00.1 (virtual), 01:01.0.", comment)

    def test_domains(self):
        nodes = self.nodes(ROOT_PORT + ROOT_PORT.replace("00:01.0", "0002:00:01.0"))
        self.assertIn('HOST("pci0002:00", .domain = 0x10002', nodes)
        self.assertIn('NODE("0002:00:01.0", "pci0002:00", ROOT_PORT', nodes)

    def test_trees(self):
        self.assertIn(".config_size = 64", self.nodes(dump("sx-aurora")))
        self.assertNotIn(".config_size = 64", self.nodes(dump("dgx2")))
        nodes, comment = self.table(dump("rccl-3p-pcie"))
        self.assertIn('NODE("23:00.0", "port of 23:00.0", ENDPOINT', nodes)
        self.assertIn("root port of 41:00.0", comment)

    # Bad input

    def test_refused(self):
        tree = "0000:17:00.0 8086:2030 class 0604 bridge to buses 18-1e\n"
        for what, text, parts, line in (
                ("nothing", "# comment\n\n", ["nothing but comments"], None),
                ("something else", "hello\n", ["neither lspci's output nor a tree", "hello"], 1),
                ("half a row", ROOT_PORT + "110: 00 00\n", ["00:01.0", "110: 00 00"], 7),
                ("a row twice", ROOT_PORT + ROOT_PORT.splitlines()[1] + "\n", ["00:01.0", "row 00"], 7),
                ("function twice", ROOT_PORT + ROOT_PORT, ["00:01.0 is there twice"], 7),
                ("no IDs", "# lspci\n00:01.0 PCI bridge: Some\n	Bus: primary=00, secondary=01,\n",
                 ["00:01.0", "lspci -vvxxxx"], 2),
                ("unknown type", ROOT_PORT.replace("42 01 01", "82 01 01"), ["00:01.0", "type"], 1),
                ("type without a bridge", ROOT_PORT.replace("42 01 01", "62 01 01").replace("00 01 00\n10", "00 00 00\n10"),
                 ["00:01.0", "Downstream Port"], 1),
                ("ring", ROOT_PORT.replace("40: 10 00", "40: 11 40"), ["00:01.0", "ring"], 2),
                ("one bus twice", ROOT_PORT + ROOT_PORT.replace("00:01.0", "00:02.0"), ["00:02.0", "00:01.0"], 7),
                ("below itself", ROOT_PORT.replace("00:01.0", "01:00.0"), ["01:00.0 is below itself"], 1),
                ("a wrong place", ROOT_PORT + ENDPOINT.replace("Express (v2) Endpoint", "Express (v2) Upstream Port"),
                 ["01:00.0", "Upstream Port"], 7),
                ("conventional below a port", ROOT_PORT + "01:00.0 Something [00ff]: X [1234:5678]\n	Status: Cap-\n",
                 ["01:00.0, pci device, can't be below 00:01.0"], 7),
                ("no tree", tree + "  hello\n", ["no line of a tree", "hello"], 2),
                ("tree below a leaf", tree + "  18:00.0 1:2 class 0200\n", ["no line of a tree"], 2),
                ("below no bridge", "17:00.0 8086:2030 class 0200\n  18:00.0 8086:2030 class 0200\n",
                 ["18:00.0 is below 17:00.0, which is no bridge"], 2),
                ("two sorts of trees", "numa 0\n" + "  " + tree + "host bridge\n", ["make two files"], 3)):
            with self.subTest(what):
                self.refused(text, *parts, line=line)

    def test_name(self):
        done = run("/dev/null")
        self.assertIn("nothing but comments", done.stderr)
        bad = self.dump.with_name("1.txt")
        bad.write_text(ROOT_PORT)
        done = run(bad)
        self.assertIn("its name is to be the table's", done.stderr)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("can't be read", run(bad.with_name("absent.txt")).stderr)


if __name__ == "__main__":
    unittest.main()
