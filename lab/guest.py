# SPDX-License-Identifier: GPL-2.0
"""Boots one machine with one kernel and serves it until it is off.

The guest's root is the host's, read-only by 9p; its init is lab/guest/init. The
guest writes to two virtio-serial ports: the verdict of its program, which is
missing if the guest dies; and requests that only the host can fulfil (see
Guest.answer). Doesn't interpret test results.
"""
import fcntl
import json
import random
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

import machine as machines
import qemu
import trace

REPO, BUILD = qemu.REPO, qemu.BUILD
KERNELS = ("plain", "debug", "gcov", "stock", "stock-debug")   # that have the drivers of a guest's root and ports
DONE = "verdict done"
OFF_SECONDS = 180   # for the kernel to power off; on debug, ACPI took up to 30 s for each port of a pxb-pcie
RUNNING = set()         # QEMU processes
STAMP = re.compile(r"^\[ *(\d+\.\d+)\] ", re.MULTILINE)


def kill_all():
    for process in list(RUNNING):
        process.kill()


class Qmp:
    """QEMU's control protocol, one command at a time."""

    def __init__(self, sock):
        self.stream = sock.makefile("rw")
        self.sock = sock
        self.read()                         # the greeting
        self.command("qmp_capabilities")

    def read(self):
        line = self.stream.readline()
        if not line:
            raise ConnectionError("QEMU is gone")
        return json.loads(line)

    def command(self, name, /, **arguments):
        self.stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            reply = self.read()
            if "event" in reply:
                continue
            if "error" in reply:
                raise machines.Error(reply["error"]["desc"])
            return reply["return"]

    def wait_deleted(self, ident, timeout):
        """Until the device is gone. DEVICE_DELETED comes later: when the last thread of QEMU is done with it."""
        end = time.monotonic() + timeout
        while any(item["name"] == ident for item in self.command("qom-list", path="/machine/peripheral")):
            if time.monotonic() > end:
                raise machines.Error(f"the guest did not let go of {ident} within {timeout} s")
            time.sleep(0.05)


class Guest:
    def __init__(self, machine, kernel, program, timeout, interactive=False, name=None, **settings):
        """program: what lab/guest/init runs, as a shell command; settings: its environment.

        name: of the folders, if not the machine's and the kernel's
        """
        if kernel not in KERNELS:
            raise machines.Error(f"no machine boots a kernel '{kernel}'; there are: {' '.join(KERNELS)}")
        if not shutil.which("qemu-system-x86_64"):
            raise machines.Error("qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)")
        if not (BUILD / kernel / "vmlinux").exists():
            raise machines.Error(f"kernel '{kernel}' is not built; run: make kernel KERNEL={kernel}")
        if len(str(REPO).split()) != 1:
            raise machines.Error(f"the kernel command line cannot name a path with a space: {REPO}")
        self.machine, self.kernel, self.interactive = machine, kernel, interactive
        self.timeout, self.settings = timeout, settings
        name = name or f"{machine.name}-{kernel}"
        self.run_dir = BUILD / "run" / name
        self.log_dir = BUILD / "logs" / name
        self.program = program
        self.counters = self.log_dir / "counters.tar"
        self.console = self.log_dir / "console.log"
        self.trace = trace.DmaTrace(self.log_dir / "dma.trace", machine.translates())
        self.dma_start, self.bars, self.moves = 0, [], []
        self.verdict = []           # lines
        self.stamps = []            # arrival time of each line
        self.done = False           # the last line came
        self.crashed = False        # QEMU, not the guest
        self.ahead = 0              # seconds that the guest's clock was ahead of the host's at the end
        self.problem = ""           # why there was no verdict

    def prepare(self, fill=None):
        """Empties the guest's folders; fill(id, path) may put data on a disk image."""
        # One guest of this name at a time, as it owns the disk images
        self.run_dir.parent.mkdir(parents=True, exist_ok=True)
        self.lock = open(f"{self.run_dir}.lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"# waiting for another {self.run_dir.name} to end", file=sys.stderr, flush=True)
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        for folder in (self.run_dir, self.log_dir):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for ident in self.machine.images():
            path = self.run_dir / f"{ident}.img"
            with open(path, "wb") as image:
                # Random data that is the same in every run
                image.write(random.Random(ident).randbytes(1 << 20))
                image.truncate(self.machine.disk_mb << 20)
            if fill:
                fill(ident, path)
        for name, content in self.machine.files().items():
            (self.run_dir / name).write_bytes(content)
        settings = {
            "LAB_PROGRAM": self.program,
            "LAB_PROVIDER": " ".join(self.machine.provider),
            "LAB_SCRATCH": " ".join(self.machine.scratch),
            "LAB_FAR": " ".join(self.machine.far),
            "LAB_OTHER": " ".join(self.machine.others()),
            "LAB_NEAREST": " ".join(map("=".join, self.machine.nearest.items())),
            "LAB_SERIALS": " ".join(self.machine.serials()),
            "LAB_INTERACTIVE": "1" if self.interactive else "",
            "LAB_PATIENCE": str(max(int(self.timeout) - 30, 10)),
            "LAB_NAME": f"{self.machine.name}-{self.kernel}",
            "P2PDMA_ROUTE": self.machine.route,
            "P2PDMA_ENGINE_ROUTE": self.machine.engine_route or self.machine.route,
            **self.settings,
            "P2PDMA_MODULES": str(BUILD / "selftests" / self.kernel / "modules"),
        }
        if self.interactive:
            size = shutil.get_terminal_size()
            settings["LAB_TERMINAL"] = f"rows {size.lines} cols {size.columns}"
        with open(self.run_dir / "settings", "w") as file:
            for name, value in settings.items():
                if value:
                    file.write(f"{name}={shlex.quote(value)}\n")

    def arguments(self, control, verdict, qmp):
        """QEMU's command line. control, verdict, qmp: file descriptors that QEMU inherits"""
        # No KUnit suites at boot: a selftest loads its suite as a module, and sets the filter for it
        words = qemu.parameters("run", f"LAB_SETTINGS={self.run_dir / 'settings'}", "nvme_core.multipath=0",
                                self.machine.cmdline,
                                "kunit.enable=1", "kunit.filter_glob=none",
                                "loglevel=4" if self.interactive else "")
        arguments = qemu.command(self.machine, self.run_dir, self.kernel, words) + [
            "-device", "virtio-serial-pci,bus=pcie.0",
            "-chardev", f"socket,id=control,fd={control}",
            "-device", "virtserialport,chardev=control,name=org.p2pdma.control",
            "-chardev", f"socket,id=verdict,fd={verdict}",
            "-device", "virtserialport,chardev=verdict,name=org.p2pdma.verdict",
            *(qemu.counters_port(self.counters) if qemu.has(self.kernel, "GCOV_KERNEL") else []),
            "-chardev", f"socket,id=qmp,fd={qmp}", "-mon", "chardev=qmp,mode=control",
            # Native hot-plug of the ports, as on real machines
            "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
            "-D", str(self.trace.path)]
        for event in trace.EVENTS:
            arguments += ["-trace", f"enable={event}"]
        if self.interactive:
            arguments += ["-chardev", f"stdio,id=tty,signal=off,logfile={self.console}", "-serial", "chardev:tty"]
        else:
            arguments += ["-serial", f"file:{self.console}"]
        return arguments

    def run(self, on_line=lambda line: None):
        """Boots, serves the guest, returns when it is off or time is up."""
        start = time.monotonic()
        ours, theirs = zip(*(socket.socketpair() for _ in range(3)))
        arguments = self.arguments(*(sock.fileno() for sock in theirs))
        (self.log_dir / "qemu.sh").write_text("#!/bin/sh\n" + shlex.join(arguments) + "\n")
        with open(self.log_dir / "qemu.log", "w") as log:
            self.process = subprocess.Popen(arguments, pass_fds=[sock.fileno() for sock in theirs],
                                            stdin=None if self.interactive else subprocess.DEVNULL,
                                            stdout=None if self.interactive else log, stderr=log)
        RUNNING.add(self.process)
        for sock in theirs:
            sock.close()
        self.control, self.verdict_port, qmp = ours
        try:
            self.qmp = Qmp(qmp)
            # Behind an IOMMU the trace grows fast: it is enabled only from dma-begin to dma-end
            if not self.interactive:
                self.trace_events(False)
            self.serve(start + self.timeout if self.timeout else None, on_line)
        except (ConnectionError, json.JSONDecodeError):
            self.problem = self.problem or "QEMU went away"
        except BaseException:           # interrupted: nobody is left to wait for
            self.process.kill()
            raise
        finally:
            try:
                self.process.wait(10 if self.process.poll() is None and not self.problem else 0)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()
            RUNNING.discard(self.process)
            for sock in ours:
                sock.close()
        self.crashed = -self.process.returncode in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)
        if self.crashed:
            self.problem = f"QEMU crashed with signal {-self.process.returncode}"
        elif self.process.returncode > 0:
            said = (self.log_dir / "qemu.log").read_text().splitlines()
            self.problem = "; ".join(line for line in said if "warning:" not in line) or "QEMU failed"
        elif not self.done and not self.problem:
            self.problem = "the guest went down without a verdict"
        self.seconds = time.monotonic() - start
        self.ahead = self.last_stamp() - self.seconds

    def last_stamp(self):
        """Seconds since the kernel booted, by the last line of its own on the console."""
        said = self.console.read_text(errors="replace") if self.console.exists() else ""
        return float((STAMP.findall(said) or [0])[-1])

    def serve(self, end, on_line):
        select = selectors.DefaultSelector()
        select.register(self.control, selectors.EVENT_READ, b"")
        select.register(self.verdict_port, selectors.EVENT_READ, b"")
        while select.get_map():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                self.problem = "does not go down after its verdict; killed" if self.done \
                    else f"no end after {self.timeout} s; killed"
                return
            for key, _ in select.select(left if left is None else min(left, 1)):
                try:
                    chunk = key.fileobj.recv(65536)
                except ConnectionResetError:
                    chunk = b""
                if not chunk:
                    select.unregister(key.fileobj)
                    continue
                *lines, rest = (key.data + chunk).split(b"\n")
                select.modify(key.fileobj, selectors.EVENT_READ, rest)
                for line in (raw.decode(errors="replace").rstrip("\r") for raw in lines):
                    if key.fileobj is self.control:
                        self.control.sendall((self.answer(line) + "\n").encode())
                    elif line == DONE:
                        self.done = True
                        end = end and min(end, time.monotonic() + OFF_SECONDS)
                    else:
                        self.verdict.append(line)
                        self.stamps.append(time.monotonic())
                        on_line(line)

    def answer(self, line):
        """One request of the guest, one line back."""
        word, _, ident = line.strip().partition(" ")
        try:
            if word == "dma-begin":
                self.trace_events(True)
                self.dma_start, self.bars = self.trace.position(), self.memory_bars()
                # A bridge to conventional PCI passes requests on as its secondary bus's device 0
                self.trace.engine_buses = {device["bus"] for device in self.pci_devices()
                                           if device["qdev_id"] in self.machine.engines()}
                return "ok"
            if word == "dma-end":
                self.trace_events(False)
                # Also BARs of devices that have gone meanwhile
                self.bars = list({*self.bars, *self.memory_bars()})
                ranges, asked = self.trace.data(self.dma_start)
                found = trace.places(ranges, self.bars)
                if found.total() != asked:
                    return f"error commands asked for {asked} bytes, addresses cover {found.total()}"
                outside, unknown = found.pop("other", 0), found.pop("iova", 0)
                text = f"ok peer={found.total()} other={outside}"
                if unknown:
                    text += f" iova={unknown}"
                self.moves = self.trace.moves(self.dma_start)
                for side, what in enumerate(("read", "written")):
                    ranges = [part for move in self.moves for part in move[side]]
                    for place, length in trace.places(ranges, self.bars).items():
                        text += f" {what}:{place}={length}"
                return text
            if word == "dma-moves":
                found = trace.pairs(self.moves, self.bars, int(ident))
                return " ".join(["ok", *(f"{pair}={found[pair]}" for pair in sorted(found))])
            if word == "slow":
                disk, rate = ident.split()      # 0: no limit
                self.machine.device(disk)
                limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
                self.qmp.command("block_set_io_throttle", id=disk, bps=int(rate), **limits)
                return "ok"
            if word == "unplug":
                self.machine.device(ident)
                self.qmp.command("device_del", id=ident)
                self.qmp.wait_deleted(ident, 60)
                return "ok"
            if word == "plug":
                text = self.machine.full_device(self.machine.device(ident))
                for _ in range(100):        # the disk may be in use until QEMU has freed the unplugged device
                    said = self.qmp.command("human-monitor-command", **{"command-line": f"device_add {text}"}).strip()
                    if not said:
                        return "ok"
                    time.sleep(0.1)
                return f"error {said}"
        except machines.Error as error:
            return f"error {error}"
        return f"error unknown request '{word}' (there are: dma-begin, dma-end, dma-moves SMALL, " \
               "slow ID BYTES-PER-SECOND, unplug ID, plug ID)"

    def trace_events(self, enable):
        for event in trace.EVENTS:
            self.qmp.command("trace-event-set-state", name=event, enable=enable)

    def memory_bars(self):
        """[(PCI device, first address, end)] of all memory that peers may reach, at its present address."""
        wanted = self.machine.memory_bars()
        return [(f"0000:{device['bus']:02x}:{device['slot']:02x}.{device['function']}",
                 region["address"], region["address"] + region["size"])
                for device in self.pci_devices()
                for region in device["regions"]
                if region["bar"] in wanted.get(device["qdev_id"], ()) and region["type"] == "memory"
                and region["address"] >= 0]

    def pci_devices(self):
        def walk(devices):
            for device in devices:
                yield device
                yield from walk(device.get("pci_bridge", {}).get("devices", []))
        for bus in self.qmp.command("query-pci"):
            yield from walk(bus["devices"])
