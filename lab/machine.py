# SPDX-License-Identifier: GPL-2.0
"""Reads machine files and turns a machine into QEMU's arguments.

A machine is a virtual PC as QEMU emulates it: CPUs, memory, PCI fabric and
devices, and which tests run on it. Tests run on lab/machines/*.toml.

A machine file has (only the description is required):

  description  one line for people
  cpu          QEMU's -cpu; pinned, so that every host gives the same guest
  smp          QEMU's -smp
  machine      more options for -machine q35
  accel        QEMU's -accel
  icount       QEMU's -icount
  memory       guest RAM
  numa         -numa strings
  hmat         latency (ns) and bandwidth (MB/s) between NUMA nodes, which
               firmware tells the guest: for each client's node a list of values,
               by the provider's node; 0 says nothing
  objects      -object strings, such as the memory behind an ivshmem-plain; a
               file named by mem-path is created, filled with ones
  devices      -device strings in order; an nvme or virtio-blk-pci with id=X gets
               its own disk image and the serial number X. An nvme with subsys=S is
               one of several controllers of the nvme-subsys S, and gets the serial
               number S; the subsystem's nvme-ns get the disk images
  disk_mb      size of those images
  slow         ids of the nvme devices whose disks do no more than 100 requests
               in a second, and so have requests in flight
  cmdline      more kernel parameters
  provider     ids of the nvme devices whose published memory tests use
  scratch      ids of the nvme devices that tests may overwrite, and of nvme-subsys
  far          likewise, but the first provider and these devices don't reach each
               other
  nearest      client = provider, as ids of nvme devices: the provider that is
               to be chosen for the client
  route        between each provider and each scratch device: bus-address,
               host-bridge, iova or refused
  engine_route between each provider and the first DMA engine, if not the same
  tests        run only these selftests: "program" or "program: case", with
               wildcards; default: all that the machine can run (lab/needs)
  without      patterns of selftests not to run
  skip         cases that must be skipped, as patterns, each with the reason
  also         run these of the kernel's own selftests, too
  check        kernels that `make check` boots the machine with: approximate
               seconds, and optionally tests, as patterns: only these, or with
               "!" all that the machine runs except these:
               check.debug = { seconds = 60, tests = ["copy: *.modules"] }
  soak         factors for the repetitions in `make soak`, by kernel, if not the
               usual ones
  allow        patterns of console lines that aren't splats on this machine

Doesn't run guests.
"""
import dataclasses
import functools
import json
import pathlib
import re
import tomllib

import hmat

MACHINES = pathlib.Path(__file__).resolve().parent / "machines"
ROUTES = ("bus-address", "host-bridge", "iova", "refused")

# Which BAR of a device model is the memory peers may reach.
MEMORY_BARS = {"nvme": (2,), "ivshmem-plain": (2,), "bochs-display": (0,), "pci-testdev": (0, 2), "qxl": (0, 1)}

# Device models with a disk image
DISKS = ("nvme", "nvme-ns", "virtio-blk-pci")


class Error(Exception):
    """Something the caller should tell the user, without a traceback."""


@dataclasses.dataclass
class Check:
    seconds: int
    tests: list = dataclasses.field(default_factory=list)

    def is_all(self):
        """Are these all tests of the machine, except those that a "!" excludes?"""
        return all(pattern.startswith("!") for pattern in self.tests)


@dataclasses.dataclass
class Machine:
    name: str
    description: str
    devices: list = dataclasses.field(default_factory=list)
    cpu: str = "qemu64,+rdrand"
    smp: str = "2"
    machine: str = ""
    accel: str = "tcg,thread=multi"
    icount: str = ""
    memory: str = "1G"
    numa: list = dataclasses.field(default_factory=list)
    hmat: dict = dataclasses.field(default_factory=dict)
    objects: list = dataclasses.field(default_factory=list)
    disk_mb: int = 64
    slow: list = dataclasses.field(default_factory=list)
    cmdline: str = ""
    provider: list = dataclasses.field(default_factory=list)
    scratch: list = dataclasses.field(default_factory=list)
    far: list = dataclasses.field(default_factory=list)
    nearest: dict = dataclasses.field(default_factory=dict)
    route: str = ""
    engine_route: str = ""
    tests: list = dataclasses.field(default_factory=list)
    without: list = dataclasses.field(default_factory=list)
    also: list = dataclasses.field(default_factory=list)
    skip: dict = dataclasses.field(default_factory=dict)
    check: dict = dataclasses.field(default_factory=dict)
    soak: dict = dataclasses.field(default_factory=dict)
    allow: list = dataclasses.field(default_factory=list)

    def device(self, ident):
        """The -device string of one id."""
        for text in self.devices:
            if f"id={ident}" in text.split(","):
                return text
        raise Error(f"machine {self.name} has no device with id={ident}")

    @functools.cached_property
    def has(self):
        """The machine's features that cases may need, in the words of lab/needs."""
        models = {model(text) for text in self.devices}
        sizes = [size(properties(text)["size"]) for text in self.objects]
        memory = bool(models & {"ivshmem-plain", "pci-testdev", "qxl"})
        routes = {self.route, self.engine_route}
        words = {
            "provider": self.provider,
            "disk": self.scratch,
            "disks": len(self.scratch) > 1,
            # For arrays: four disks, one out of reach, one that isn't NVMe
            "stacks": len(self.scratch) > 3 and self.far and self.others(),
            # What the test module may register, and how much
            "memory": memory,
            "ivshmem": "ivshmem-plain" in models,
            "bars": "qxl" in models,
            "large": any(bytes_ >= 4 << 30 for bytes_ in sizes),
            "small": all(bytes_ < 4 << 30 for bytes_ in sizes),
            # Published memory, with a heap: of a controller, or else of the test module
            "published": self.provider or memory,
            "withdrawn": memory and not self.provider,
            "choice": len(self.nearest) > 1,
            # Memory that ignores writes
            "silent": any("readonly=on" in text for text in self.objects),
            # Clients
            "client": self.scratch or "edu" in models,
            "edu": "edu" in models,
            "ats": any("ats=on" in text.split(",") for text in self.devices),
            "engine": self.engines(),
            "engines": len(self.engines()) > 1,
            # The engine and every disk reach the provider, or only the disks do
            "rdma": self.engines() and self.provider and self.scratch and "refused" not in routes,
            "rdma-refused": self.route != "refused" and self.engine_route == "refused",
            "display": "bochs-display" in models,
            # Devices may be unplugged, and BARs may move or stop decoding: see machines/hotplug.toml
            "unplug": "thread=single" in self.accel or self.smp.split(",")[0] == "1",
            # One disk, several controllers
            "paths": any(model(self.device(ident)) == "nvme-subsys" for ident in self.scratch),
            # Routes
            self.route: self.route,
            "route": self.route in ("bus-address", "host-bridge", "iova"),
            "traced": self.route in ("bus-address", "host-bridge"),
            "no-iommu": not self.translates(),
            "writes": "intel-iommu" in models and re.search(r"host_bridge=\S*:w\b", self.cmdline),
        }
        return {word for word, holds in words.items() if holds}

    def translates(self):
        """Is there an IOMMU that gives devices addresses of its own?"""
        return any(model(text) == "intel-iommu" for text in self.devices) and "iommu.passthrough=1" not in self.cmdline

    def files(self):
        """{name: content} of the files behind memory objects, and of ACPI tables."""
        found = map(properties, self.objects)
        files = {text["mem-path"]: b"\xff" * size(text["size"]) for text in found if "mem-path" in text}
        return files | ({"hmat": hmat.table(self.hmat)} if self.hmat else {})

    def serials(self):
        """Serial numbers of the NVMe controllers, one for each."""
        return [serial(text) for text in self.devices if model(text) == "nvme"]

    def others(self):
        """Serial numbers of the disks that aren't NVMe."""
        return [serial(text) for text in self.devices if model(text) == "virtio-blk-pci"]

    def images(self):
        """ids of the devices that have a disk image."""
        return [properties(text)["id"] for text in self.devices
                if model(text) in DISKS and "subsys" not in properties(text)]

    def engines(self):
        return [properties(text)["id"] for text in self.devices if model(text) == "lsi53c895a"]

    def full_device(self, text):
        """A -device string for QEMU, with a disk's drive and serial number."""
        if properties(text).get("id") in self.images():
            text += f",drive=disk-{properties(text)['id']}"
        if model(text) in DISKS and model(text) != "nvme-ns":
            text += f",serial={serial(text)}"
        return text

    def memory_bars(self):
        """{device id: BAR numbers} of everything that can be a provider."""
        bars = {}
        for text in self.devices:
            if model(text) == "nvme" and "cmb_size_mb" not in properties(text):
                continue
            if model(text) in MEMORY_BARS:
                bars[properties(text)["id"]] = MEMORY_BARS[model(text)]
        return bars

    def qemu_arguments(self, run):
        """Everything that makes the machine; run is where its files lie."""
        arguments = ["-machine", "q35" + ("," + self.machine if self.machine else ""),
                     "-accel", self.accel, "-cpu", self.cpu, "-smp", self.smp, "-m", self.memory]
        if self.icount:
            arguments += ["-icount", self.icount]
        for text in self.objects:
            arguments += ["-object", text.replace("mem-path=", f"mem-path={run}/")]
        for text in self.numa:
            arguments += ["-numa", text]
        if self.hmat:
            arguments += ["-acpitable", f"sig=HMAT,rev={hmat.REVISION},data={run}/hmat"]
        for ident in self.images():
            disk = {"driver": "file", "filename": str(run / f"{ident}.img"), "cache": {"no-flush": True}}
            if ident in self.slow:
                arguments += ["-object", f"throttle-group,id=slow-{ident},x-iops-total=100"]
                disk = {"driver": "throttle", "throttle-group": f"slow-{ident}", "file": disk}
            arguments += ["-blockdev", json.dumps({"node-name": f"disk-{ident}", **disk})]
        for text in self.devices:
            arguments += ["-device", self.full_device(text)]
        return arguments


def size(text):
    """Bytes of a size in QEMU's notation."""
    return int(text[:-1]) << {"M": 20, "G": 30}[text[-1]]


def model(text):
    return text.split(",")[0]


def properties(text):
    return dict(part.split("=", 1) for part in text.split(",")[1:] if "=" in part)


def serial(text):
    """The serial number of an nvme or virtio-blk-pci."""
    return properties(text).get("subsys") or properties(text)["id"]


def names():
    return sorted(path.stem for path in MACHINES.glob("*.toml"))


def load(name):
    """A machine of lab/machines, by its name."""
    if name not in names():
        raise Error(f"there is no machine '{name}'; there are: {' '.join(names())}")
    return read(MACHINES / f"{name}.toml")


def read(path):
    try:
        machine = Machine(name=path.stem, **tomllib.loads(path.read_text()))
        machine.check = {kernel: Check(**run) for kernel, run in machine.check.items()}
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise Error(f"{path}: {error}") from None
    for ident in (*machine.provider, *machine.scratch, *machine.far, *machine.slow, *machine.nearest, *machine.nearest.values()):
        machine.device(ident)
    shape = [len(machine.numa)] * len(machine.numa)
    for kind, rows in machine.hmat.items():
        if kind not in hmat.KINDS or [len(row) for row in rows] != shape:
            raise Error(f"{path}: hmat.{kind} isn't {' or '.join(hmat.KINDS)} for each pair of the nodes in numa")
    for route in (machine.route, machine.engine_route):
        if route and route not in ROUTES:
            raise Error(f"{path}: route '{route}' is none of {', '.join(ROUTES)}")
    return machine
