# SPDX-License-Identifier: GPL-2.0
"""The NVMe target over RDMA with its buffers in an SSD's memory.

Boots the machine "rdma-switch" (an SSD with a CMB, another SSD and the DMA engine
of the sample RDMA adapter, behind one switch). The guest is target and host: the
adapter connects its queue pairs to each other. The host writes and reads the
second SSD by the fabric with the target's `p2pmem` on, and once more with it off.
"""
import hashlib
import os

import demo_run
import guest
from demo_run import MIB

SIZE = 16 * MIB
BLOCK = 128 << 10       # of each request
CAPSULES = 64 + 16      # bytes of a command and of its completion
WHAT = f"writing and reading {SIZE // MIB} MiB by the NVMe target over RDMA, its buffers in SSD 1's memory"
PACKAGES = ("selftests",)
ROLES = {"engine1": "the RDMA adapter's DMA engine", "ssd1": "holds the CMB", "ssd2": "the target's disk"}
RUNS = {"peer": "p2pmem = 1", "memory": "p2pmem = 0"}


def stages(kernel):
    """(title, command) of each build step after the kernel, in order."""
    return [("modules", ["lab/selftests", kernel])]


def run(kernel):
    """Boots, writes and reads; returns (demo_run.Run, {what: SHA-256 of its data})."""
    name = f"demo-nvmet-{kernel}"
    written = guest.BUILD / "run" / name / "written"
    seen = demo_run.Run("rdma-switch", kernel, name, f"demo-nvmet {written} {SIZE}", ROLES)
    data = {what: os.urandom(SIZE) for what in ("written", *RUNS)}

    def fill(ident, path):
        if ident != "ssd2":
            return
        written.write_bytes(data["written"])
        with open(path, "r+b") as image:
            image.seek(2 * SIZE)
            image.write(data["peer"] + data["memory"])

    seen.run(fill)
    return seen, {what: hashlib.sha256(content).hexdigest() for what, content in data.items()}


def judge_content(seen, original):
    """Compares the data at both ends."""
    print(f"\nContent, SHA-256 of {SIZE // MIB} MiB of random data")
    print(f"  the host's data                           {original['written']}")
    for place, (name, title) in enumerate(RUNS.items()):
        image = demo_run.sha256(seen.image("ssd2"), place * SIZE, SIZE)
        said = seen.facts.get(f"{name}-write", "nothing")
        print(f"    on the disk, written with {title}      {image}")
        seen.check(said == "ok", f"{title}: the write failed; it said: {said}")
        seen.check(image == original["written"], f"{title}: the disk holds other data than the host has written")
    for name, title in RUNS.items():
        read = seen.facts.get(f"{name}-read", "nothing")
        print(f"  the disk's data, read with {title}       {original[name]}")
        print(f"    as the host got it                      {read}")
        seen.check(read == original[name], f"{title}: the host has read other data than the disk holds")


def by_device(dma):
    """{(who, what it did): (bytes in the CMB, bytes in system memory)}."""
    found = {("disk", "moved"): (dma["peer"], dma["other"])}
    for what in ("read", "written"):
        inside = sum(number for name, number in dma.items()
                     if name.startswith(f"{what}:") and name != f"{what}:other")
        found["adapter", what] = inside, dma.get(f"{what}:other", 0)
    return found


# What each request does, in order: (who, what it does, whose memory, words)
STEPS = {
    "write": ("Host writes",
              (("adapter", "read", "host", "adapter reads, host's memory"),
               ("adapter", "written", "target", "adapter writes, target's buffer"),
               ("disk", "moved", "target", "disk reads, target's buffer"))),
    "read": ("Host reads",
             (("disk", "moved", "target", "disk writes, target's buffer"),
              ("adapter", "read", "target", "adapter reads, target's buffer"),
              ("adapter", "written", "host", "adapter writes, host's memory"))),
}


def judge_places(seen):
    """Shows where each byte went; judges that of the target's buffers."""
    runs = {(name, way): seen.dma(f"{name}-{way}") for name in RUNS for way in STEPS}
    if None in runs.values():
        return
    runs = {key: by_device(dma) for key, dma in runs.items()}
    print("\nWhere the adapter and the disk put and fetched data (QEMU's trace, outside the guest), in bytes")
    print(f"  {'':36}" + "".join(f"{title:^31}" for title in RUNS.values()).rstrip())
    print(f"  {'':36}" + " ".join(f"{'in the CMB':>14} {'system memory':>15}" for _ in RUNS))
    outside = dict.fromkeys(RUNS, 0)
    for way, (title, steps) in STEPS.items():
        print(f"  {title}")
        for who, what, whose, words in steps:
            line = f"    {words:33}"
            for name in RUNS:
                inside, other = runs[name, way][who, what]
                line += f" {inside:14,} {other:15,}"
                capsules = runs[name, way]["adapter", "written"][1] % BLOCK if who == "adapter" else 0
                seen.check(capsules <= 2 * CAPSULES * SIZE // BLOCK,
                           f"{RUNS[name]}, {words}: {capsules:,} bytes are more than commands and completions")
                wanted = (SIZE, capsules) if whose == "target" and name == "peer" else (0, SIZE + capsules)
                seen.check((inside, other) == wanted,
                           f"{RUNS[name]}, {words}: {inside:,} bytes in the CMB and {other:,} in system memory, "
                           f"not {wanted[0]:,} and {wanted[1]:,}")
                if whose == "target":
                    outside[name] += other - capsules
            print(line)
    print("\n  The adapter's small numbers are commands and completions, 80 bytes for each request.")
    print(f"  Data in system memory on the target's side: {outside['peer']:,} bytes with p2pmem = 1, "
          f"{outside['memory']:,} bytes with p2pmem = 0.")


def judge(seen, original):
    """Prints the report; adds every failed check to seen.failures."""
    seen.show_fabric()
    seen.judge_guest()
    seen.check("stopped" not in seen.facts, f"the guest stopped: {seen.facts.get('stopped')}")

    print("\nThis guest is the target, and its host as well, whose memory is system memory. The adapter connects")
    print("the two; it has no wire.")
    meet = seen.meeting_point()
    if seen.check(meet, "the SSDs and the engine are not in the machine"):
        print(f"Route: adapter, CMB and disk meet in the {meet[1]}.")
    chosen = seen.facts.get("chosen", "nothing")
    provider = [bdf for bdf, _, _ in seen.box.bars]
    print(f"With p2pmem = 1 the target has chosen the memory of {chosen}.")
    seen.check([chosen] == provider, f"the target has chosen {chosen}, not {provider}")
    before, after = (seen.facts.get(name, "nothing") for name in ("before", "after"))
    seen.check(before == after, f"the CMB had {before} free bytes before, and {after} afterwards")

    judge_content(seen, original)
    judge_places(seen)
