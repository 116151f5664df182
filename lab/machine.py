# SPDX-License-Identifier: GPL-2.0
"""Reads lab/machines/*.toml and turns a machine into QEMU's arguments.

A machine file has (all but description and devices may be left out):

  description  one line for people
  cpu          QEMU's -cpu; pinned, so that every host gives the same guest
  machine      more options for -machine q35
  memory       guest RAM
  objects      -object strings, such as the memory behind an ivshmem-plain
  devices      -device strings in order; one with id=X of type nvme gets a
               disk image of its own and the serial number X
  disk_mb      size of those images
  cmdline      more kernel parameters
  provider     ids of the nvme devices whose published memory tests use
  scratch      ids of the nvme devices tests may overwrite
  route        between each provider and each scratch device: bus-address,
               host-bridge, iova or refused
  tests        run only these of the selftests
  without      run all but these
  also         run these of the kernel's own selftests, too
  debug        false: `make check` leaves this machine out with the debug kernel
  allow        console lines, as patterns, that are no splat on this machine

Knows nothing of running guests.
"""
import dataclasses
import json
import pathlib
import tomllib

MACHINES = pathlib.Path(__file__).resolve().parent / "machines"
ROUTES = ("bus-address", "host-bridge", "iova", "refused")

# Which BAR of a device model is the memory peers may reach.
MEMORY_BARS = {"nvme": (2,), "ivshmem-plain": (2,), "bochs-display": (0,), "pci-testdev": (0, 2), "qxl": (0, 1)}


class Error(Exception):
    """Something the caller should tell the user, without a traceback."""


@dataclasses.dataclass
class Machine:
    name: str
    description: str
    devices: list
    cpu: str = "qemu64,+rdrand"
    machine: str = ""
    memory: str = "1G"
    objects: list = dataclasses.field(default_factory=list)
    disk_mb: int = 64
    cmdline: str = ""
    provider: list = dataclasses.field(default_factory=list)
    scratch: list = dataclasses.field(default_factory=list)
    route: str = ""
    tests: list = dataclasses.field(default_factory=list)
    without: list = dataclasses.field(default_factory=list)
    also: list = dataclasses.field(default_factory=list)
    debug: bool = True
    allow: list = dataclasses.field(default_factory=list)

    def device(self, ident):
        """The -device string of one id."""
        for text in self.devices:
            if f"id={ident}" in text.split(","):
                return text
        raise Error(f"machine {self.name} has no device with id={ident}")

    def disks(self):
        return [properties(text)["id"] for text in self.devices if model(text) == "nvme"]

    def full_device(self, text):
        """A -device string as QEMU gets it: with the drive and the serial number."""
        if model(text) != "nvme":
            return text
        ident = properties(text)["id"]
        return f"{text},drive=disk-{ident},serial={ident}"

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
        """Everything that makes the machine; run is where its disk images lie."""
        arguments = ["-machine", "q35" + ("," + self.machine if self.machine else ""),
                     "-cpu", self.cpu, "-m", self.memory]
        for text in self.objects:
            arguments += ["-object", text]
        for ident in self.disks():
            arguments += ["-blockdev", json.dumps({
                "driver": "file", "node-name": f"disk-{ident}", "filename": str(run / f"{ident}.img"),
                "cache": {"no-flush": True}})]
        for text in self.devices:
            arguments += ["-device", self.full_device(text)]
        return arguments


def model(text):
    return text.split(",")[0]


def properties(text):
    return dict(part.split("=", 1) for part in text.split(",")[1:] if "=" in part)


def names():
    return sorted(path.stem for path in MACHINES.glob("*.toml"))


def load(name):
    if name not in names():
        raise Error(f"there is no machine '{name}'; there are: {' '.join(names())}")
    path = MACHINES / f"{name}.toml"
    try:
        machine = Machine(name=name, **tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise Error(f"{path}: {error}") from None
    for ident in machine.provider + machine.scratch:
        machine.device(ident)
    if machine.route and machine.route not in ROUTES:
        raise Error(f"{path}: route '{machine.route}' is none of {', '.join(ROUTES)}")
    return machine
