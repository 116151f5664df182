#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of lsp2p on saved machines; prints TAP.

    run.py [--program FILE] [--update] [GLOB...]

Each machine has the output of several commands in golden/; --update writes it
anew, to be read before it is committed. What the machines are known to answer
stands below, apart from that. GLOBs choose tests by name.
"""
import argparse
import difflib
import fcntl
import fnmatch
import json
import os
import pathlib
import pty
import random
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import traceback

HERE = pathlib.Path(__file__).resolve().parent
MACHINES = HERE.parents[3] / "lib/kunit/machines"
IDS = HERE / "pci.ids"
SCHEMA = json.loads((HERE.parent / "lsp2p.schema.json").read_text())
MANUAL = (HERE.parent / "lsp2p.8").read_text()
COMMANDS = sorted(set(re.findall(r"^\.It Cm ([a-z]+)", MANUAL, re.M)))

# How many dumps are damaged
DAMAGED = int(os.environ.get("DAMAGED", "50"))

# Pairs, memory first, whose routes are in the golden output
PAIRS = {
    "acs-empty": ["e1:00.0 e1:00.0"],
    "dgx2": ["34:00.0 36:00.0", "34:00.0 39:00.0", "34:00.0 57:00.0"],
    "hsw-ep": ["03:00.0 00:02.0"],
    "n1sdp": ["06:00.0 08:00.0", "08:00.0 07:00.0", "01:00.1 06:00.0"],
    "p2020": [],
    "pch-tb3": [],
    "pex8796": [],
    "pex9716": ["05:01.0 05:01.0"],
    "rccl-16p1h": [],
    "rccl-3p-pcie": ["23:00.0 83:00.0"],
    "rccl-8p-940": ["0c:00.0 07:00.0", "0c:00.0 15:00.0"],
    "sx-aurora": ["1b:00.0 1a:00.0", "1b:00.0 3e:00.0"],
    "x58-nf200": ["06:00.0 04:00.0"],
}

tests = []
program = None
update = False


class Failure(Exception):
    pass


def test(function):
    tests.append((function.__name__, function))
    return function


def check(condition, *what):
    if not condition:
        raise Failure(" ".join(map(str, what)))


def run(*arguments, env=None, program_=None):
    """(exit status, standard output, standard error); these must not be a crash."""
    clean = {"PATH": os.environ["PATH"], "LC_ALL": "C", **(env or {})}
    done = subprocess.run([program_ or program, *map(str, arguments)], capture_output=True, text=True, env=clean,
                          timeout=60, check=False)
    check(done.returncode in (0, 1, 2), arguments, "gave", done.returncode, done.stderr)
    return done.returncode, done.stdout, done.stderr


def answer(*arguments):
    status, out, err = run("--ids", IDS, *arguments)
    check(not err, arguments, "said", err)
    return status, out


def ask(*arguments):
    """(exit status, what --json gives); that must be as the schema has it."""
    status, out = answer("--json", *arguments)
    value = json.loads(out)
    validate(value, SCHEMA, "")
    return status, value


def route(machine, pair):
    return ask("--from", path(machine), "why", *pair.split())[1]["route"]


def path(machine):
    return MACHINES / f"{machine}.txt"


# ---- JSON Schema, as far as lsp2p.schema.json uses it

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def is_a(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def matches(value, schema):
    try:
        validate(value, schema, "")
        return True
    except Failure:
        return False


def validate(value, schema, where):
    unknown = set(schema) - {"$ref", "$schema", "title", "description", "definitions", "type", "const", "enum",
                             "pattern", "required", "properties", "items", "allOf", "oneOf"}
    check(not unknown, "the schema uses", unknown)
    if "$ref" in schema:
        validate(value, SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]], where)
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        check(any(is_a(value, name) for name in names), where, "isn't", names, repr(value))
    if "const" in schema:
        check(value == schema["const"], where, "is", repr(value))
    if "enum" in schema:
        check(value in schema["enum"], where, "is", repr(value))
    if "pattern" in schema:
        check(re.search(schema["pattern"], value), where, "is", repr(value))
    for key in schema.get("required", []):
        check(key in value, where, "lacks", key)
    for key, part in schema.get("properties", {}).items():
        if key in value:
            validate(value[key], part, f"{where}/{key}")
    if "items" in schema:
        for i, item in enumerate(value):
            validate(item, schema["items"], f"{where}[{i}]")
    for part in schema.get("allOf", []):
        validate(value, part, where)
    if "oneOf" in schema:
        fit = [part for part in schema["oneOf"] if matches(value, part)]
        check(len(fit) == 1, where, "fits", len(fit), "of oneOf")


# ---- Golden output

def compact(value):
    """JSON with a line for each key, and for each item of a list"""
    def lines(value, indent):
        if isinstance(value, dict) and any(isinstance(part, (dict, list)) and part for part in value.values()):
            return "{\n" + ",\n".join(f"{indent} {json.dumps(key)}: {lines(part, indent + ' ')}"
                                     for key, part in value.items()) + "}"
        if isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
            return "[\n" + ",\n".join(indent + " " + json.dumps(part) for part in value) + "]"
        return json.dumps(value)
    return lines(value, "") + "\n"


def golden_of(machine):
    """What all commands print for a machine"""
    commands = [["list"], ["-m"], ["--dot"], ["--json", "list"], ["--json", "-m"]]
    for pair in PAIRS[machine]:
        commands += [["why", *pair.split()], ["--json", "why", *pair.split()], ["--dot", "why", *pair.split()]]
    parts = []
    for command in commands:
        status, out = answer("--from", path(machine).name, *command)
        if "--json" in command:
            out = compact(json.loads(out))
        parts.append(f"$ lsp2p --from {path(machine).name} {' '.join(command)}\n{out}[{status}]\n")
    return "\n".join(parts)


def golden(machine):
    os.chdir(MACHINES)
    compare(machine, golden_of(machine))


def compare(name, now):
    """What was printed now, and the golden output of this name"""
    file = HERE / "golden" / f"{name}.txt"
    if update:
        file.write_text(now)
        return
    check(file.exists(), file, "is missing; run.py --update makes it")
    was = file.read_text()
    check(now == was, "not as in", file.name + ":\n" + "\n".join(difflib.unified_diff(
        was.splitlines(), now.splitlines(), "golden", "now", lineterm="")))


for name_ in sorted(PAIRS):
    tests.append((f"golden.{name_}", lambda machine=name_: golden(machine)))


@test
def all_machines_are_tested():
    check(sorted(PAIRS) == sorted(file.stem for file in MACHINES.glob("*.txt")))


# ---- What the machines are known to answer

def ports(found, **what):
    return [port["address"] for port in found["ports"] if all(port[key] == value for key, value in what.items())]


@test
def n1sdp_both_ports_redirect():
    for pair, blocking in (("06:00.0 08:00.0", ["0000:02:12.0", "0000:02:14.0"]),
                           ("07:00.0 08:00.0", ["0000:02:13.0", "0000:02:14.0"])):
        found = route("n1sdp", pair)
        check(found["read"] == found["write"] == "no", found)
        check(found["reasons"] == ["acs-redirect", "host-bridge-not-listed"], found["reasons"])
        check(ports(found, blocking=True) == blocking, ports(found, blocking=True))
        check(found["fix"] == "pci=disable_acs_redir=" + ";".join(reversed(blocking)), found["fix"])


@test
def n1sdp_fixed():
    """The fix gives the switch route: the same dump with the redirect bits off."""
    with without_redirection() as file:
        status, found = ask("--from", file.name, "why", "06:00.0", "08:00.0")
    check(status == 0 and found["route"]["reasons"] == ["switch"], status, found["route"]["reasons"])
    check(found["route"]["route"] == "bus-address" and found["route"]["fix"] is None)


@test
def what_allows_is_not_against():
    """The client's ATS isn't known, so that the route below the switch isn't sure."""
    with without_redirection() as file:
        # Nothing tells that lspci would have listed it.
        shorter = pathlib.Path(file.name).read_text().replace("Capabilities: [70] Express (v2) Legacy Endpoint, MSI 00", "")
        pathlib.Path(file.name).write_text(shorter)
        status, text = answer("--from", file.name, "why", "08:00.0", "06:00.0")
    check(status == 2 and "stands against it" not in text and "switch:" not in text, text)


@test
def x58_crosses_root_ports():
    found = route("x58-nf200", "06:00.0 04:00.0")
    check(found["reasons"][0] == "host-bridge-not-listed" and found["fix"] is None, found)
    check(not ports(found, blocking=True), "ACS is off or absent everywhere")


@test
def p2020_domains():
    text = path("p2020").read_text()
    ends = [line.split()[0] for line in text.splitlines() if re.match(r"[0-9a-f:.]+ ", line)
            and ":" in line.split()[0] and "bridge" not in line.lower()]
    ends = [end for end in ends if re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}[.][0-7]", end)]
    check(len({end[:4] for end in ends}) == 3, ends)
    for memory in ends:
        for client in ends:
            if memory[:4] == client[:4]:
                continue
            found = route("p2020", f"{memory} {client}")
            check(found["read"] == found["write"] == "no" and found["fix"] is None, found)
            check(found["reasons"] == ["host-bridge-not-listed"], found["reasons"])
            check(not ports(found, leg="shared") and not ports(found, blocking=True), found["ports"])


@test
def dgx2_without_registers():
    """Where they meet is known from the tree, ACS isn't."""
    for pair, meet in (("34:00.0 36:00.0", "0000:32:00.0"), ("34:00.0 39:00.0", "0000:2c:00.0"),
                       ("34:00.0 57:00.0", None)):
        found = route("dgx2", pair)
        check(found["read"] == found["write"] == "unknown", found)
        check((ports(found, leg="shared") or [None])[0] == meet, ports(found, leg="shared"))
        check(found["missing"], "nothing is missing")
        check(all("unknown" in port["acs"] for port in found["ports"]), [port["acs"] for port in found["ports"]])
    check(ports(found, leg="memory")[-1] == "0000:2b:00.0" and ports(found, leg="client")[-1] == "0000:4e:00.0")


@test
def aurora_heads_alone():
    status, found = ask("--from", path("sx-aurora"), "why", "1b:00.0", "1a:00.0")
    check(status == 2 and found["route"]["read"] == "unknown", status)
    devices = {missing["device"] for missing in found["route"]["missing"]}
    check({"0000:19:04.0", "0000:19:08.0"} <= devices, devices)
    status, text = answer("--from", path("sx-aurora"), "why", "1b:00.0", "1a:00.0")
    check("no ACS" not in text and "lspci -vvv -xxxx" in text, text)


@test
def haswell_registers():
    for acs in (port["acs_ctrl"] for port in route("hsw-ep", "03:00.0 00:02.0")["ports"]
                if port["kind"] == "root port"):
        check(acs == 0x1f, acs)
        break
    else:
        raise Failure("no root port")


@test
def same_device():
    status, found = ask("--from", path("pex9716"), "why", "05:01.0", "05:01.0")
    check(status == 0 and found["route"]["reasons"] == ["same-device"], found)


@test
def own_dump_agrees():
    """What lsp2p dump saves gives the same answers for all pairs."""
    for machine in PAIRS:
        devices = sorted({port for pair in PAIRS[machine] for port in pair.split()})
        if not devices:
            continue
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(answer("--from", path(machine), "dump")[1])
            file.flush()
            for memory in devices:
                for client in devices:
                    was = ask("--from", path(machine), "why", memory, client)[1]["route"]
                    now = ask("--from", file.name, "why", memory, client)[1]["route"]
                    for key in ("read", "write", "route", "reasons", "fix", "ports", "missing"):
                        check(was[key] == now[key], machine, memory, client, key, was[key], "not", now[key])


def without_redirection():
    """A file: n1sdp with the redirect bits off, as the fix would have it"""
    text = path("n1sdp").read_text()
    fixed = re.sub(r"(ACSCtl:.*)ReqRedir\+ CmpltRedir\+", r"\1ReqRedir- CmpltRedir-", text)
    check(fixed != text)
    file = tempfile.NamedTemporaryFile("w", suffix=".txt")
    file.write(fixed)
    file.flush()
    return file


def changed(machine, change, *command):
    """What is said of a machine's own dump after change() of it: (exit status, text, JSON)"""
    dump = json.loads(answer("--from", machine if "/" in machine else path(machine), "dump")[1])
    change(dump, {device["at"]: device for device in dump["devices"]})
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(dump, file)
        file.flush()
        status, text = answer("--from", file.name, *command)
        # Joined lines, so that it makes no difference where they are broken
        return status, re.sub(r"\s+", " ", text), ask("--from", file.name, *command)[1]


def why_n1sdp(pair="06:00.0 08:00.0", **facts):
    return changed("n1sdp", lambda dump, _: dump.update(facts), "why", *pair.split())


@test
def guests():
    note = "the host decides whether devices passed through reach each other"
    check(note in why_n1sdp(guest=True)[1])
    check(note not in why_n1sdp(guest=False)[1])


@test
def fix_suits_the_kernel():
    fix = "pci=disable_acs_redir=0000:02:14.0;0000:02:12.0"
    for kernel in ("4.20.0", "6.1.0-9-amd64", "6.12.117"):
        check(f'"{fix}"' in why_n1sdp(kernel=kernel)[1], kernel)
    _, text, value = why_n1sdp(kernel="4.19.0-6-amd64")
    check("disable_acs_redir" not in text and value["route"]["fix"] is None, text)
    check("Some kernels from 6.11 to 6.14" in why_n1sdp(kernel="6.12.1", core="stock")[1])
    check("Some kernels from 6.11 to 6.14" not in why_n1sdp(kernel="6.12.1", core="ours")[1])
    check("Some kernels from 6.11 to 6.14" not in why_n1sdp(kernel="6.15.0", core="stock")[1])
    # What is there already must stay: of two such options the last counts.
    text = why_n1sdp(cmdline="pci=noaer,disable_acs_redir=0000:02:13.0 iommu=pt")[1]
    check('"pci=disable_acs_redir=0000:02:13.0;0000:02:14.0;0000:02:12.0"' in text, text)
    fix = why_n1sdp(cmdline="pci=disable_acs_redir=0000:02:13.0 pci=disable_acs_redir=02:14.0,noaer")[2]["route"]["fix"]
    check(fix == "pci=disable_acs_redir=02:14.0;0000:02:12.0", fix)
    # However many there are
    many = ";".join(f"0000:{bus:02x}:00.0" for bus in range(64, 128))
    _, text, value = why_n1sdp(cmdline=f"pci=disable_acs_redir={many}")
    check(value["route"]["fix"] == f"pci=disable_acs_redir={many};0000:02:14.0;0000:02:12.0", value["route"]["fix"])
    check("No setting of ACS helps" not in text, text)
    check("No setting of ACS helps" not in why_n1sdp(kernel="4.19.0")[1])


@test
def cores():
    check("This kernel has no P2PDMA core" in why_n1sdp(core="none")[1])
    check("this kernel has no P2PDMA core" in why_n1sdp(core="none")[1].split("Why")[0])
    text = why_n1sdp(core="stock", kernel="6.12.1")[1]
    check("this kernel has another core" in text and "This kernel's own P2PDMA core refuses" in text, text)
    for kernel in ("6.6.1", "6.18.0"):
        text = why_n1sdp(core="stock", kernel=kernel)[1]
        check("The P2PDMA core of Linux 6.12 (this kernel's may differ) refuses" in text, text)
    check("says the kernel's code" in why_n1sdp(core="ours")[1])
    check("own P2PDMA core" not in why_n1sdp(core="ours")[1])


@test
def vouching_for_a_host_bridge():
    """Only our core has a parameter for it; the kernel then takes it as said."""
    pair = "06:00.0 04:00.0"
    status, text, _ = changed("x58-nf200", lambda dump, _: dump.update(core="ours"), "why", *pair.split())
    bridge = re.search(r"pci_p2pdma.host_bridge=([0-9a-f:,]+)", text)
    check(status == 1 and bridge, text)
    status, text, value = changed("x58-nf200", lambda dump, _: dump.update(core="ours", admitted=bridge[1]),
                                  "why", *pair.split())
    check(status == 0 and value["route"]["reasons"] == ["admin-allowed"], status, value["route"]["reasons"])
    text = changed("x58-nf200", lambda dump, _: dump.update(core="stock"), "why", *pair.split())[1]
    check("this kernel has no parameter to say so" in text, text)
    text = changed("x58-nf200", lambda dump, _: None, "why", *pair.split())[1]
    check(f"pci_p2pdma.host_bridge={bridge[1]}, if that kernel has it" in text, text)


@test
def writes_alone():
    """A host bridge that is said to forward nothing but writes"""
    def admit(dump, _):
        dump.update(core="ours", admitted="8086:3405:w")

    status, text, value = changed("x58-nf200", admit, "why", "06:00.0", "04:00.0")
    check(status == 1 and value["route"]["read"] == "no" and value["route"]["write"] == "yes", value)
    check(text.startswith("In part: 0000:04:00.0 writes, but can't read, memory of 0000:06:00.0"), text)
    text = changed("x58-nf200", admit, "-m", "06:00.0", "04:00.0")[1]
    check("w writes alone" in text and re.search(r"0000:06:00.0 - wa", text), text)


@test
def hard_wired():
    """Functions without a path between them: no parameter changes that, so none is named."""
    def no_path(_, devices):
        for name in "0000:01:00.0", "0000:01:00.1":
            devices[name].update(extended_known=True, has_extended=True)
        devices["0000:01:00.1"]["config"]["100"] = "0d000100" + "00000000"
        devices["0000:01:00.1"]["acs"] = 0x100

    status, text, value = changed("n1sdp", no_path, "why", "01:00.1", "06:00.0")
    check(ports(value["route"], hard_wired=True) == ["0000:01:00.1"], value["route"]["ports"])
    check(status == 1 and value["route"]["reasons"][0] == "acs-redirect", value["route"]["reasons"])
    check("packets can't turn around here, at any setting" in text, text)
    check(value["route"]["fix"] is None and "disable_acs_redir" not in text, text)

    def no_path_back(dump, devices):
        """For reads there is no fix, for writes the client's port is one."""
        no_path(dump, devices)
        devices["0000:01:00.0"]["config"]["100"] = "0d000100" + "1f000c00"
        devices["0000:01:00.0"]["acs"] = 0x100

    value = changed("n1sdp", no_path_back, "why", "01:00.1", "06:00.0")[2]["route"]
    check(sorted(ports(value, blocking=True)) == ["0000:01:00.0", "0000:01:00.1"], value["ports"])
    check(value["fix"] == "pci=disable_acs_redir=0000:01:00.0", value["fix"])


@test
def ports_above_stay_as_they_are():
    """A port above both that doesn't pass on what ACS sends up isn't in the fix."""
    def forward(dump, devices):
        dump.update(core="ours", admitted="13b5:0100")
        devices["0000:00:00.0"].update(extended_known=True, has_extended=True, acs=0x100)
        devices["0000:00:00.0"]["config"]["100"] = "0d000100" + "1f00" + "0000"

    status, _, value = changed("n1sdp", forward, "why", "06:00.0", "08:00.0")
    check(status == 1 and "acs-forwarding" in value["route"]["reasons"], value["route"]["reasons"])
    check(ports(value["route"], blocking=True, leg="shared") == ["0000:00:00.0"], value["route"]["ports"])
    check(value["route"]["fix"] == "pci=disable_acs_redir=0000:02:14.0;0000:02:12.0", value["route"]["fix"])


@test
def who_could_have_memory():
    """Large and prefetchable"""
    for size, prefetchable, could in ((4 << 20, True, True), (4 << 20, False, False), (64 << 10, True, False)):
        def bar(_, devices, size=size, prefetchable=prefetchable):
            devices["0000:01:00.1"]["bars"] = [{"index": 0, "known": True, "memory": True, "is64": True,
                                                "prefetchable": prefetchable, "start": "0x71b40000",
                                                "end": hex(0x71b40000 + size - 1)}]

        _, text, value = changed("n1sdp", bar, "list")
        check([one["address"] for one in value["devices"]] == ["0000:01:00.1"] * could, size, value["devices"])
        check(("0:4M" in text) == could, text)


@test
def bar_after_resizing():
    """What Resizable BAR offers, and the window above it"""
    def bar(_, devices):
        devices["0000:01:00.1"].update(extended_known=True, bars=[
            {"index": 2, "known": True, "memory": True, "is64": True, "prefetchable": True, "start": "0x900000000",
             "end": "0x90fffffff", "sizes": hex(1 << 8 | 1 << 15)}])
        # Prefetchable window of the port above: 0x900000000 to 0x93fffffff
        config = bytearray.fromhex(devices["0000:00:00.0"]["config"]["0"])
        config[0x24:0x30] = bytes.fromhex("0100f13f" "09000000" "09000000")
        devices["0000:00:00.0"]["config"]["0"] = config.hex()

    _, text, value = changed("n1sdp", bar, "list")
    check(re.search(r"0000:01:00.1 (\? )?2:256M 32G 1G ", text), text)
    one = value["devices"][0]
    check(one["bars"] == [{"bar": 2, "start": 0x900000000, "size": 256 << 20, "prefetchable": True,
                           "resizable_to": 32 << 30}] and one["window"] == 1 << 30, one)


@test
def numbers_of_64_bits():
    """They are neither negative, nor is a size that doesn't fit shifted out."""
    def bar(_, devices):
        devices["0000:01:00.1"].update(extended_known=True, bars=[
            {"index": 2, "known": True, "memory": True, "is64": True, "prefetchable": True,
             "start": "0xfffffff000000000", "end": "0xfffffff00fffffff", "sizes": hex(1 << 43 | 1 << 8)}])

    one = changed("n1sdp", bar, "list")[2]["devices"][0]["bars"][0]
    check(one["start"] == 0xfffffff000000000 and one["resizable_to"] == 1 << 63, one)


@test
def quotes_in_pictures():
    def name(_, devices):
        devices["0000:06:00.0"]["nodes"] = ['a"b\\c']

    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        dump = json.loads(answer("--from", path("n1sdp"), "dump")[1])
        name(dump, {device["at"]: device for device in dump["devices"]})
        json.dump(dump, file)
        file.flush()
        out = answer("--from", file.name, "--dot")[1]
    done = subprocess.run(["dot", "-Tplain"], input=out, capture_output=True, text=True, check=False)
    check(done.returncode == 0 and not done.stderr, done.stderr, out)
    check('a\\"b\\\\c' in out, out)


@test
def several_domains():
    """An address without a domain is in domain 0, or else in the only domain that has it."""
    function = "{}:05:00.0 Class 0108: Device 144d:a80a\n00: 4d 14 0a a8 06 00 10 00 00 02 08 01 00 00 00 00\n\n"
    for domains, pattern in ((("0001",), ""), (("0000", "0001"), ""),
                             (("0001", "0002"), r"05:00.0: is in several PCI domains; write .* 0001:05:00.0")):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("".join(map(function.format, domains)))
            file.flush()
            if pattern:
                refused(pattern, "--from", file.name, "why", "05:00.0", "05:00.0")
            else:
                found = ask("--from", file.name, "why", "05:00.0", "05:00.0")[1]["route"]
                check(found["memory"] == f"{domains[0]}:05:00.0", found)


@test
def iommu_groups():
    def groups(_, devices):
        devices["0000:06:00.0"]["iommu_group"] = 11
        devices["0000:08:00.0"]["iommu_group"] = 7

    text = changed("n1sdp", groups, "why", "06:00.0", "08:00.0")[1]
    check("IOMMU groups 7 and 11 are then no longer isolated" in text, text)


@test
def blocked_by_the_iommu():
    """Below one switch, but no packet leaves the device"""
    def block(_, devices):
        devices["0000:08:00.0"].update(iommu="blocked")

    with without_redirection() as file:
        status, text, value = changed(file.name, block, "why", "06:00.0", "08:00.0")
        check(status == 1 and value["route"]["read"] == value["route"]["write"] == "no", text)
        check(text.startswith("No") and "blocks all DMA of 0000:08:00.0 until a driver attaches" in text, text)
        check("Packets turn around below a bridge" not in text, text)
        _, text, value = changed(file.name, block, "-m", "06:00.0", "08:00.0")
        check("blocks all DMA until a driver attaches" in text, text)
        check(value["routes"][1]["read"] == "no", value["routes"])


@test
def assumptions():
    """What isn't known and is taken for granted is said."""
    external, ranges = "0000:08:00.0 isn't behind an external port", "firmware gives no dma-ranges"
    text = changed("n1sdp", lambda _, devices: None, "why", "06:00.0", "08:00.0")[1]
    check(external in text and ranges in text, text)
    text = changed("n1sdp", lambda _, devices: devices["0000:08:00.0"].update(untrusted=False),
                   "why", "06:00.0", "08:00.0")[1]
    check(external not in text, text)


@test
def switch_as_host_bridge():
    """The topmost device that a file has isn't a host bridge if the bridge above it is missing."""
    def lose_root_port(dump, devices):
        dump["devices"].remove(devices["0000:00:00.0"])
        dump["host_bridges"] = [{"at": "0000:01"}]
        for device in dump["devices"]:
            device["host_bridge"] = "0000:01"
            if device.get("parent") == "0000:00:00.0":
                del device["parent"]
                device["orphan"] = True

    text = changed("n1sdp", lose_root_port, "why", "06:00.0", "08:00.0")[1]
    check("root complex: its host bridge isn't known" in text and "host bridge 10b5" not in text, text)


@test
def dma_mask():
    """A BAR above 4 GiB, and a client that reaches no more than that"""
    for bits, beyond in ((32, 1 << 4), (64, 0)):
        def mask(_, devices, bits=bits):
            devices["0000:08:00.0"].update(dma_mask_bits=bits, driver="xhci_hcd")

        with without_redirection() as file:
            status, text, value = changed(file.name, mask, "why", "07:00.0", "08:00.0")
        check(value["route"]["dma_mask_bits"] == bits, value)
        check(value["route"]["bars_beyond_mask"] == beyond, bits, value["route"])
        check(("BEYOND the client's DMA mask" in text) == bool(beyond), text)


@test
def registered_memory():
    def register(_, devices):
        devices["0000:06:00.0"].update(registered=True, published=False, p2pmem_size="0x4000000",
                                       p2pmem_available="0x3000000")
        devices["0000:06:00.0"]["nodes"] = ["nvme3"]

    _, text, value = changed("n1sdp", register, "list")
    check(re.search(r"0000:06:00.0 nvme3 private 64M 48M ", text) and text.count("0000:06:00.0") == 1, text)
    check(value["devices"][0]["size"] == 64 << 20 and value["devices"][0]["available"] == 48 << 20)


@test
def control_characters():
    """Names in a file can't write to the terminal as they like."""
    def name(dump, devices):
        dump.update(cmdline="pci=disable_acs_redir=\x1b[2J")
        devices["0000:06:00.0"].update(nodes=["evil\x1b[2J\nname"], name="very\x1b]0;evil\x07", registered=True,
                                       driver="evil\x1b[2J\x9b2J")

    for command in (["why", "06:00.0", "08:00.0"], ["-m", "06:00.0", "08:00.0"], ["list"]):
        text = changed("n1sdp", name, *command)[1]
        check(not re.search(r"[\x00-\x1f\x7f-\x9f]", text.replace("\n", "")), repr(text))
        check("evil" in text, text)


@test
def pictures():
    """Graphviz reads what --dot gives, and finds all devices and the route's colour."""
    for machine, pairs in PAIRS.items():
        for command in ([], *(["why", *pair.split()] for pair in pairs)):
            out = answer("--from", path(machine), "--dot", *command)[1]
            done = subprocess.run(["dot", "-Tplain"], input=out, capture_output=True, text=True, check=False)
            check(done.returncode == 0 and not done.stderr, machine, command, done.stderr)
            for name in command[1:]:
                check(re.search(rf'^node "0000:{name}"', done.stdout, re.M), machine, name, "isn't drawn")
    out = answer("--from", path("n1sdp"), "--dot", "why", "06:00.0", "08:00.0")[1]
    colors = {(a[5:], b[5:]): color for a, b, color in
              re.findall(r'"([0-9a-f:.]+)" -> "([0-9a-f:.]+)" \[.*?color="(#\w+)"', out)}
    route_ = {("02:12.0", "06:00.0"), ("01:00.0", "02:12.0"), ("01:00.0", "02:14.0"), ("02:14.0", "08:00.0"),
              ("08:00.0", "06:00.0")}
    check(answer("--from", path("n1sdp"), "--dot", "why", "06:00.0", "08:00.0")[0] == 1)
    check(set(colors) == route_ and set(colors.values()) == {"#cf222e"}, colors)


@test
def matrix_agrees_with_why():
    status, found = ask("--from", path("n1sdp"), "-m", "06:00.0", "07:00.0", "08:00.0")
    check(status == 0 and len(found["routes"]) == 9, len(found["routes"]))
    for one in found["routes"]:
        two = route("n1sdp", f"{one['memory']} {one['client']}")
        check({key: two[key] for key in one} == one, one)


@test
def big_machine():
    """16 GPUs, 16 SSDs and 16 NICs; in every second group ports redirect."""
    text = subprocess.run([HERE / "synthetic.py"], capture_output=True, text=True, check=True).stdout
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        status, found = ask("--from", file.name, "-m")
        check(status == 0 and len(found["routes"]) == 16 * 48, len(found["routes"]))
        kinds = {(one["memory"][5:7], one["client"][5:7]): one["route"] for one in found["routes"]}
        check(kinds["03", "05"] == "bus-address", "without ACS, below one switch")
        check(kinds["0b", "0d"] == "host-bridge", "with ACS, below one switch")
        check(kinds["03", "0d"] == "host-bridge", "in two groups")
        status, out = answer("--from", file.name, "-m")
        check(status == 0 and max(map(len, out.splitlines())) <= 80, "wider than 80 columns")
        check(re.search(r"^ 1 0000:03:00.0  -  S  S ", out, re.M), out[:400])


@test
def translation_blocking():
    """A port that stops nothing but what the client's ATS sends, at the turn and above it"""
    made = subprocess.run([HERE / "synthetic.py", "--groups", "2"], capture_output=True, text=True, check=True).stdout
    for blocking, root, port in (("00:01.0", 0x1f, 0), ("02:02.0", 0x1d, 0x02)):
        text = made
        for at, register in (("05:00.0", "0f 00 01 00 00 00 00 80"), ("00:01.0", f"0d 00 01 00 1f 00 {root:02x} 00"),
                             ("02:02.0", f"0d 00 01 00 1f 00 {port:02x} 00")):
            text = re.sub(rf"(?ms)^({at} .*?^100:)(?: ..){{8}}", rf"\1 {register}", text, count=1)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(text)
            file.flush()
            out = answer("--from", file.name, "why", "03:00.0", "05:00.0")[1]
        out = re.sub(r"\s+", " ", out)
        check(re.search(rf"0000:{blocking} (?:(?!0000:).)*; DECIDES: drops what the device's ATS sends", out), out)


# ---- Text

@test
def lines_fit():
    """Text is no wider than asked for, but for words that are longer."""
    for width in (60, 80, 132):
        for machine, pairs in PAIRS.items():
            for command in (["-m"], ["list"], *(["why", *pair.split()] for pair in pairs)):
                out = run("--ids", IDS, "--from", path(machine), *command, env={"COLUMNS": str(width)})[1]
                for line in out.splitlines():
                    check(len(line) <= width or " " not in line.strip() or len(line.split()[0]) > width - 10
                          or "disable_acs_redir" in line, width, machine, command, line)


@test
def colors():
    plain = run("--from", path("n1sdp"), "why", "06:00.0", "08:00.0")[1]
    check("\033" not in plain, "colours in a pipe")
    always = run("--color", "always", "--from", path("n1sdp"), "why", "06:00.0", "08:00.0")[1]
    check("\033[31mNo\033[0m" in always, always[:80])
    check(re.sub(r"\033\[\d*m", "", always) == plain, "more than colours differs")
    never = run("--color", "never", "--from", path("n1sdp"), "why", "06:00.0", "08:00.0")[1]
    check(never == plain)


def on_terminal(env, *arguments):
    """Output on a terminal of 100 columns"""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    process = subprocess.Popen([program, *map(str, arguments)], stdout=other, stdin=other, stderr=other,
                               env={"PATH": os.environ["PATH"], "TERM": "xterm", **env})
    os.close(other)
    out = b""
    try:
        while True:
            out += os.read(main, 65536)
    except OSError:
        pass
    process.wait()
    os.close(main)
    return out.decode()


@test
def colors_on_terminals():
    command = "--from", path("n1sdp"), "why", "06:00.0", "08:00.0"
    check("\033[31m" in on_terminal({}, *command), "no colours on a terminal")
    check("\033" not in on_terminal({"NO_COLOR": "1"}, *command), "NO_COLOR is ignored")
    check("\033" not in on_terminal({"TERM": "dumb"}, *command), "colours on a dumb terminal")
    lines = on_terminal({"NO_COLOR": "1"}, *command).splitlines()
    check(80 < max(map(len, lines)) <= 100, "the terminal's width isn't used")


@test
def devices_by_name():
    """All ways to write an address"""
    for name in ("06:00.0", "0000:06:00.0", "00000000:06:00.0"):
        check(ask("--from", path("n1sdp"), "why", name, "08:00.0")[1]["route"]["memory"] == "0000:06:00.0", name)
    nodes = "rccl-8p-940"
    for name in ("mlx5_0", "/dev/infiniband/mlx5_0"):
        check(ask("--from", path(nodes), "why", "0c:00.0", name)[1]["route"]["client"] == "0000:07:00.0", name)


@test
def partitions_with_several_paths():
    """A partition is of the controller that has its disk, and of its namesake if no device has it."""
    for disks, expected in ((["nvme1", "nvme0n1"], "0000:08:00.0"), (["nvme1"], "0000:06:00.0")):
        def nodes(_, devices, disks=disks):
            devices["0000:06:00.0"]["nodes"] = ["nvme0"]
            devices["0000:08:00.0"]["nodes"] = disks

        found = changed("n1sdp", nodes, "why", "nvme0n1p1", "01:00.0")[2]["route"]
        check(found["memory"] == expected, disks, found["memory"])


@test
def help_and_manual():
    status, out, _ = run("--help")
    check(status == 0 and max(map(len, out.splitlines())) <= 80, out)
    for command in COMMANDS:
        check(re.search(rf"^  {command}\b", out, re.M), command, "isn't in --help")
    for option in set(re.findall(r"--([a-z]+)", out)):
        check(f"Fl -{option}" in MANUAL, option, "isn't in the manual")
    status, out, _ = run("--version")
    check(status == 0 and re.fullmatch(r"lsp2p \d+\.\d+\n", out), out)


@test
def completion():
    script = HERE.parent / "completion/lsp2p"

    def complete(*words):
        code = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lsp2p; '
                'printf "%s\\n" "${COMPREPLY[@]}"')
        env = {"PATH": f"{pathlib.Path(program).parent}:{os.environ['PATH']}"}
        _, out, err = run("-c", code, "bash", script, "lsp2p", *words, env=env, program_="bash")
        check(not err, words, "said", err)
        return out.split()

    check(sorted(complete("")) == COMMANDS, complete(""))
    check(complete("wh") == ["why"])
    check("--json" in complete("--"), complete("--"))
    check(complete("--color", "n") == ["never"])
    found = complete("--from", str(path("rccl-3p-pcie")), "why", "")
    check("0000:23:00.0" in found, found)
    # A class without devices has nothing to offer, not even its pattern, and no error.
    for words in (["why", ""], ["--destructive", ""]):
        check(not any("*" in word for word in complete(*words)), complete(*words))


# ---- This machine

class Skip(Exception):
    pass


def names_here():
    """[(a name or a file in /dev, its PCI address)], a few of each class"""
    found = []
    for link in sorted(pathlib.Path("/sys/class").glob("*/*")):
        parts = [part for part in link.resolve().parts if re.fullmatch(r"[0-9a-f]{4,8}(:[0-9a-f]{2}){2}[.][0-7]", part)]
        if parts and link.parent.name in ("block", "drm", "infiniband", "net", "nvme"):
            found.append((link.name, parts[-1]))
            node = pathlib.Path("/dev", link.name)
            if node.exists():
                found.append((str(node), parts[-1]))
    return found


@test
def this_machine():
    """Names of devices lead to the addresses that /sys has."""
    devices = sorted(path.name for path in pathlib.Path("/sys/bus/pci/devices").glob("*"))
    if not devices:
        raise Skip("this machine has no PCI devices")
    for name, address in [(devices[0], devices[0]), *names_here()]:
        found = ask("why", name, devices[-1])[1]["route"]
        check(found["memory"] == address, name, "isn't", found["memory"])
        check(found["client"] == devices[-1], found["client"])
    for command in (["list"], ["-m"]):
        check(ask(*command)[0] == 0)
        check(answer(*command)[0] == 0)
    status, out, _ = run("--json", "file", HERE / "run.py")
    if status != 2:
        validate(json.loads(out), SCHEMA, "")
    refused(r"/dev/null: no PCI device is behind it", "why", "/dev/null", devices[0])
    refused(r"run.py: is no device; for a file there is lsp2p file", "why", HERE / "run.py", devices[0])
    refused(r"/dev/nonexistent: No such file", "why", "/dev/nonexistent", devices[0])


@test
def monitor():
    """The first line, which tells what is watched"""
    with subprocess.Popen([program, "--json", "monitor"], stdout=subprocess.PIPE, text=True) as process:
        try:
            check(select.select([process.stdout], [], [], 20)[0], "no line in 20 s")
            validate(json.loads(process.stdout.readline()), SCHEMA, "")
        finally:
            process.terminate()


# ---- Storage stacks, on roots that are made up

# Kernels, from left to right in DISKS: the release, files that tell which core it has, and where
# it shows which queues take peer memory
OURS = {"dev/p2pdma": ""}
KERNELS = {
    "ours": ("6.12.117", OURS, "sysfs"),
    "ours, without stacks": ("6.12.90", OURS, None),
    "stock": ("6.12.117", {"boot/config-6.12.117": "CONFIG_PCI_P2PDMA=y\n"}, None),
    "no core": ("6.12.117", {"boot/config-6.12.117": "CONFIG_PCI=y\n"}, None),
    "patched 6.10": ("6.10.14", {"boot/config-6.10.14": "CONFIG_PCI_P2PDMA=y\n"}, "debugfs"),
    "7.1": ("7.1.3", {"boot/config-7.1.3": "CONFIG_PCI_P2PDMA=y\n"}, None),
    "7.2": ("7.2.0", {"boot/config-7.2.0": "CONFIG_PCI_P2PDMA=y\n"}, None),
    "7.9": ("7.9.0", {"boot/config-7.9.0": "CONFIG_PCI_P2PDMA=y\n"}, None),
}

# Disks: the answers on these kernels (yes, no, ? unknown), whether the kernel shows that the queue
# takes peer memory, and what the disk is: files of its folder, with contents, and what is below it
DISKS = {
    "nvme0n1":   ("yyynyyyy", 1, {}, []),
    "nvme0n1p1": ("yyynyyyy", 1, {"partition": "1"}, []),
    "nvme1n1":   ("yyynyyyy", 1, {}, []),
    "nvme2n1":   ("nyynnyyy", 0, {}, []),
    # By TCP and by RDMA
    "nvme7n1":   ("nnnnn???", 0, {}, []),
    "nvme8n1":   ("y?nny???", 1, {}, []),
    "nvme9n1":   ("n?nnn???", 0, {}, []),
    "sda":       ("nnnnn???", 0, {}, []),
    "zram0":     ("nnnnn???", 0, {}, []),
    "loop0":     ("nnnnn???", 0, {"loop/backing_file": "/nonexistent"}, []),
    # A disk with a driver of its own that takes peer memory
    "other0":    ("ynnny???", 1, {}, []),
    "dm-0":      ("ynnnynn?", 1, {"dm/uuid": "LVM-a"}, ["nvme0n1p1"]),
    "dm-1":      ("nnnnnnn?", 0, {"dm/uuid": "CRYPT-LUKS2-b"}, ["dm-0"]),
    "dm-2":      ("nnnnnnn?", 0, {"dm/uuid": "LVM-c"}, ["nvme0n1", "sda"]),
    "dm-3":      ("nnnnnnn?", 0, {"dm/uuid": "LVM-d"}, ["nvme0n1"]),
    "dm-4":      ("ynnnynn?", 1, {"dm/uuid": "LVM-e"}, ["md1"]),
    "dm-5":      ("nnnnnnn?", 0, {"dm/uuid": "mpath-f"}, ["nvme0n1", "nvme1n1"]),
    "md0":       ("nnnnnn??", 0, {"md/level": "raid1"}, ["nvme0n1p1", "sda"]),
    "md1":       ("ynnnyny?", 1, {"md/level": "raid1"}, ["nvme0n1", "nvme1n1"]),
    "md2":       ("ynnnyny?", 1, {"md/level": "raid0"}, ["nvme0n1", "nvme1n1"]),
    "md3":       ("ynnnyny?", 1, {"md/level": "raid10"}, ["nvme0n1", "nvme1n1"]),
    "md4":       ("ynnnynn?", 1, {"md/level": "linear"}, ["nvme0n1", "nvme1n1"]),
    "md5":       ("nnnnnnn?", 0, {"md/level": "raid5"}, ["nvme0n1", "nvme1n1"]),
    "md8":       ("ynnnynn?", 1, {"md/level": "linear"}, ["nvme0n1", "nvme8n1"]),
    "md9":       ("ynnnyn??", 1, {"md/level": "raid1"}, ["nvme0n1", "nvme10n1"]),
    "md10":      ("ynnnyn??", 1, {"md/level": "raid0"}, ["nvme0n1", "other0"]),
    # Not assembled
    "md7":       ("nnnnnnn?", 0, {"md/level": ""}, []),
    # The array was assembled while a disk below it took none
    "md6":       ("nnnnnnn?", 0, {"md/level": "raid0"}, ["dm-0", "nvme1n1"]),
    # Heads of NVMe multipath: with two paths on PCI, and with one of them by TCP, or by RDMA
    "nvme3n1":   ("ynnnyny?", 1, {}, ["nvme3c4n1", "nvme3c5n1"]),
    "nvme6n1":   ("nnnnnn??", 0, {}, ["nvme6c4n1", "nvme6c7n1"]),
    "nvme10n1":  ("ynnnyn??", 1, {}, ["nvme10c5n1", "nvme10c8n1"]),
}

# Controllers and the PCI functions they are on, or their transport
CONTROLLERS = {0: "0000:01:00.0", 1: "0000:02:00.0", 2: "0000:03:00.0", 4: "0000:04:00.0", 5: "0000:05:00.0",
               7: "tcp", 8: "rdma", 9: "rdma"}


class Root:
    """The folder with sys, dev and boot of a machine with DISKS, for LSP2P_ROOT"""

    def __init__(self, folder, kernel):
        self.root = pathlib.Path(folder)
        release, files, self.shown = KERNELS[kernel]
        self.write("proc/sys/kernel/osrelease", release)
        for file, text in files.items():
            self.write(file, text)
        for number, place in CONTROLLERS.items():
            self.write(f"{self.controller(number)}/transport", "pcie" if ":" in place else place)
            if ":" in place:
                # Vendor, device, and the class of NVMe
                config = struct.pack("<HH4xI", 0x1b36, 0x10, 0x01080200).ljust(64, b"\0")
                (self.root / f"sys/devices/pci0000:00/{place}/config").write_bytes(config)
                self.link(f"sys/bus/pci/devices/{place}", f"sys/devices/pci0000:00/{place}")
        for name, (_, takes, files, below) in DISKS.items():
            self.add_disk(name, takes, files, below)

    def write(self, name, text):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text + "\n")

    def link(self, name, target):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / target).mkdir(parents=True, exist_ok=True)
        (self.root / name).symlink_to(self.root / target)

    @staticmethod
    def controller(number):
        place = CONTROLLERS[number]
        above = f"pci0000:00/{place}/nvme" if ":" in place else "virtual/nvme-fabrics/ctl"
        return f"sys/devices/{above}/nvme{number}"

    def add_disk(self, name, takes, files, below):
        nvme = re.fullmatch(r"nvme(\d+)(?:c(\d+))?n1(p1)?", name)
        if nvme and below:
            folder = f"sys/devices/virtual/nvme-subsystem/nvme-subsys{nvme[1]}/{name}"
            self.link(f"{folder}/device", folder.rpartition("/")[0])
            for path in below:
                controller = int(re.search(r"c(\d+)", path)[1])
                self.link(f"{folder}/device/nvme{controller}", self.controller(controller))
                self.add_disk(path, int(CONTROLLERS[controller] != "tcp"), {}, [])
        elif nvme:
            controller = self.controller(int(nvme[2] or nvme[1]))
            folder = f"{controller}/{name.removesuffix('p1')}" + (f"/{name}" if nvme[3] else "")
            if not nvme[3]:
                self.link(f"{folder}/device", controller)
        elif name == "sda":
            folder = "sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda"
            self.link("sys/bus/pci/devices/0000:00:1f.2/driver", "sys/bus/pci/drivers/ahci")
            (self.root / "sys/bus/pci/devices/0000:00:1f.2/config").write_bytes(
                struct.pack("<HH4xI", 0x8086, 0x2922, 0x01060100).ljust(64, b"\0"))
        else:
            folder = f"sys/devices/virtual/block/{name}"
        self.link(f"sys/class/block/{name}", folder)
        for file, text in files.items():
            self.write(f"{folder}/{file}", text)
        if not nvme:
            for disk in below:
                self.write(f"{folder}/slaves/{disk}", "")
        if self.shown == "sysfs" and "partition" not in files:
            self.write(f"{folder}/queue/pci_p2pdma", str(takes))
        if self.shown == "debugfs":
            flags = ["SAME_COMP", *(["PCI_P2PDMA"] if takes else []), "STATS"]
            self.write(f"sys/kernel/debug/block/{name}/state", "|".join(flags))


def blocker_is(kernel, disk, blocker):
    with tempfile.TemporaryDirectory() as folder:
        Root(folder, kernel)
        out = run("file", disk, env={"LSP2P_ROOT": folder})[1]
        check(f"\nno: {blocker}: " in out, kernel, disk, "said", out)


@test
def stacks():
    """What lsp2p file says of each of DISKS on each of KERNELS"""
    parts = []
    for index, kernel in enumerate(KERNELS):
        with tempfile.TemporaryDirectory() as folder:
            Root(folder, kernel)
            for disk, (expected, *_) in DISKS.items():
                status, out, err = run("file", disk, env={"LSP2P_ROOT": folder})
                check(not err and status == "yn?".index(expected[index]), kernel, disk, "gave", status, out, err)
                status_, json_, _ = run("--json", "file", disk, env={"LSP2P_ROOT": folder})
                value = json.loads(json_)
                validate(value, SCHEMA, "")
                check(status_ == status and value["passes"] == ("yes", "no", "unknown")[status], json_)
                # Of one kernel all words, of the others those on this layer and the end
                if kernel != "ours":
                    out = re.search(rf"^{disk}: .*\n", out, re.M)[0] + out.rpartition("\n\n")[2]
                parts.append(f"{kernel}$ lsp2p file {disk}\n{out}[{status}]\n")
    compare("stacks", "\n".join(parts))


@test
def stacks_shown_by_a_later_kernel():
    """What a kernel shows holds for any release."""
    with tempfile.TemporaryDirectory() as folder:
        root = Root(folder, "ours")
        for disk in DISKS:
            now = run("file", disk, env={"LSP2P_ROOT": folder})
            root.write("proc/sys/kernel/osrelease", "7.9.0")
            later = run("file", disk, env={"LSP2P_ROOT": folder})
            root.write("proc/sys/kernel/osrelease", KERNELS["ours"][0])
            check(now == later, disk, now, later)


@test
def stacks_name_the_layer_to_mend():
    for disk, blocker in (("md0", "sda"), ("dm-2", "sda"), ("nvme6n1", "nvme6c7n1"), ("dm-1", "dm-1"), ("md5", "md5"),
                          ("md6", "md6"), ("dm-3", "dm-3"), ("nvme2n1", "nvme2n1")):
        blocker_is("ours", disk, blocker)
    for disk in "md0", "md1", "dm-0", "nvme3n1":
        blocker_is("stock", disk, disk)


# ---- What is wrong is said in one line

def refused(pattern, *arguments, env=None):
    status, out, err = run(*arguments, env=env)
    check(status == 2, arguments, "gave", status)
    check(not out, arguments, "printed", out)
    check(re.fullmatch(r"lsp2p: [^\n]+\n", err), arguments, "said", repr(err))
    check(re.search(pattern, err), arguments, "said", err)


@test
def errors_in_names():
    machine = "--from", path("rccl-8p-940")
    refused(r"mlx5_00: no such device; did you mean mlx5_0\?", *machine, "why", "mlx5_00", "0c:00.0")
    refused(r"0c:00.1: no such device; did you mean 0c:00.0\?", *machine, "why", "0c:00.1", "0c:00.0")
    refused(r"elephant: no such device; ", *machine, "why", "0c:00.0", "elephant")
    refused(r"no such device", *machine, "-m", "0c:00.0", "99:1f.7")
    refused(r"no such device", *machine, "--dot", "why", "0c:00.0", "99:1f.7")
    refused(r"name of a device is empty", *machine, "why", "", "0c:00.0")
    refused(r"no such device", *machine, "why", "0c:20.0", "0c:00.0")
    refused(r"no such device", *machine, "why", "0c:00.8", "0c:00.0")
    refused(r"no such device", *machine, "why", "x" * 5000, "0c:00.0")
    refused(r"no such device", *machine, "why", "/dev/nvme9n1", "0c:00.0")


@test
def errors_in_names_of_disks():
    devices = sorted(path.name for path in pathlib.Path("/sys/bus/pci/devices").glob("*"))
    if not devices:
        raise Skip("this machine has no PCI devices")
    refused(r"the name of the file is empty", "file", "")
    refused(r"elephant: no such block device", "file", "elephant")
    refused(r"name of a device is empty", "verify", devices[0], "")
    for name in (".", "..", "../block", "../../devices"):
        refused(r"no such device|is no device", "verify", devices[0], name)


@test
def multipath_of_two_functions():
    """Which of them data takes isn't known, so verify asks for another disk."""
    with tempfile.TemporaryDirectory() as folder:
        Root(folder, "stock")
        refused(r"any of 2 PCI functions, 0000:04:00.0 0000:05:00.0; name a disk", "verify", "01:00.0", "nvme3n1",
                env={"LSP2P_ROOT": folder})


@test
def errors_in_options():
    refused(r"paint: no such command; see lsp2p --help", "paint")
    refused(r"--paint: no such option", "--paint")
    refused(r" -x: no such option", "list", "-xm")
    refused(r" -x: no such option", "list", "-mx")
    refused(r" --json: takes no argument", "--json=1")
    refused(r" --matrix: takes no argument", "--mat=1")
    refused(r" --d: may be one of several options", "--d")
    refused(r"dump: has no --json; what it prints is JSON", "--json", "--from", path("n1sdp"), "dump")
    refused(r"--from: needs an argument", "--from")
    refused(r"--color red: must be always, never or auto", "--color", "red")
    refused(r"why: something is missing; usage: lsp2p why A B", "why")
    refused(r"why: something is missing", "why", "00:00.0")
    refused(r"why: that is too much", "why", "00:00.0", "00:00.0", "00:00.0")
    refused(r"list: that is too much", "list", "00:00.0")
    refused(r"verify: works on this machine alone", "--from", path("n1sdp"), "verify", "06:00.0", "08:00.0")
    refused(r"monitor: works on this machine alone", "--from", path("n1sdp"), "monitor")
    refused(r"--dot: not together with --json", "--dot", "--json", "--from", path("n1sdp"))
    refused(r"matrix: has no --dot", "--dot", "-m", "--from", path("n1sdp"))
    refused(r"--destructive: is for verify alone", "--destructive", "sda", "--from", path("n1sdp"))
    refused(r"/nonexistent/ids: No such file", "--ids", "/nonexistent/ids", "--from", path("n1sdp"))


@test
def errors_in_files():
    refused(r"/nonexistent: No such file", "--from", "/nonexistent")
    refused(r"--from: the name of the file is empty", "--from", "")
    refused(r"", "--from", "/")
    refused(r"", "--from", "/dev/null")
    refused(r"", "--from", HERE / "run.py")


def damaged(text, random):
    """Some letters or lines of a dump changed, lost or moved"""
    for _ in range(random.randrange(1, 6)):
        at, to = sorted(random.randrange(len(text)) for _ in range(2))
        kind = random.randrange(4)
        if kind == 0:
            text = text[:at] + random.choice("0123456789abcdef:.+-\n\t ") + text[at + 1:]
        elif kind == 1:
            text = text[:at] + text[min(to, at + 200):]
        elif kind == 2:
            text = text[:to] + text[at:min(to, at + 200)] + text[to:]
        else:
            hexadecimal = [match.start() for match in re.finditer(r"(?<= )[0-9a-f]{2}(?=[ \n])", text)]
            if hexadecimal:
                at = random.choice(hexadecimal)
                text = text[:at] + f"{random.randrange(256):02x}" + text[at + 2:]
    return text


@test
def damaged_dumps():
    """All commands have an answer, or an error of one line; tests/fuzz.c tests the reading with many more."""
    names = sorted(PAIRS)
    for seed in range(DAMAGED):
        random_ = random.Random(seed)
        machine = names[seed % len(names)]
        text = damaged(path(machine).read_text(), random_)
        pair = (random_.choice(PAIRS[machine]) if PAIRS[machine] else "00:00.0 00:01.0").split()
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(text)
            file.flush()
            for command in (["list"], ["-m"], ["-m", *pair], ["why", *pair], ["--json", "why", *pair],
                            ["--json", "-m"], ["--dot", "why", *pair]):
                status, out, err = run("--ids", IDS, "--from", file.name, *command)
                check(re.fullmatch(r"lsp2p: [^\n]+\n", err) if err else out, seed, command, status, err)
                check(not err or status == 2, seed, command, status, err)
                if "--json" in command and not err:
                    validate(json.loads(out), SCHEMA, "")


@test
def errors_on_output():
    for arguments in (["--from", path("n1sdp"), "why", "06:00.0", "08:00.0"], ["--help"], ["--version"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([program, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        check(done.returncode == 2 and "No space left" in done.stderr, done)


def main():
    global program, update
    parser = argparse.ArgumentParser(description="tests lsp2p on saved machines")
    parser.add_argument("--program", default=HERE.parent / "lsp2p", type=pathlib.Path)
    parser.add_argument("--update", action="store_true", help="write golden output anew")
    parser.add_argument("tests", nargs="*", default=["*"], metavar="GLOB")
    arguments = parser.parse_args()
    program, update = str(arguments.program.resolve()), arguments.update
    if not os.access(program, os.X_OK):
        sys.exit(f"run.py: {program}: isn't there; make -C {HERE.parent} makes it")
    chosen = [(name, function) for name, function in tests
              if any(fnmatch.fnmatch(name, glob) for glob in arguments.tests)]
    if not chosen:
        sys.exit(f"run.py: no test is called {' '.join(arguments.tests)}")
    print(f"TAP version 13\n1..{len(chosen)}")
    failed = 0
    for number, (name, function) in enumerate(chosen, 1):
        try:
            function()
            print(f"ok {number} {name}")
        except Skip as why:
            print(f"ok {number} {name} # SKIP {why}")
        except Failure as failure:
            failed += 1
            print("\n".join(f"# {line}" for line in str(failure).splitlines()))
            print(f"not ok {number} {name}")
        except Exception:       # a test that breaks is a failure of its own
            failed += 1
            print("\n".join(f"# {line}" for line in traceback.format_exc().splitlines()))
            print(f"not ok {number} {name}")
    print(f"# {len(chosen) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
