# SPDX-License-Identifier: GPL-2.0
"""The main use case: a copy from SSD to SSD that never touches system memory.

Boots the machine "switch" (three NVMe controllers below one PCIe switch, the
first with a controller memory buffer, CMB), copies from the second to the third
through the CMB of the first, and once more through system memory.
"""
import hashlib
import os

import demo_run
import guest
from demo_run import MIB

SIZE = 32 * MIB
WHAT = f"copying {SIZE // MIB} MiB from SSD 2 to SSD 3 through SSD 1's memory"
PACKAGES = ("lsp2p",)
COPIER = guest.BUILD / "p2pcopy"
LSP2P = guest.BUILD / "lsp2p" / "lsp2p"


def stages(kernel):
    """(title, command) of each build step after the kernel, in order."""
    return [("copying program", ["gcc", "-O2", "-Wall", "-o", str(COPIER), "lab/guest/p2pcopy.c"]),
            ("lsp2p", ["make", "-s", "lsp2p"])]


def run(kernel):
    """Boots and copies; returns (demo_run.Run, SHA-256 of the data on the source)."""
    content = os.urandom(SIZE)

    def fill(ident, path):
        if ident == "ssd2":
            with open(path, "r+b") as image:
                image.write(content)

    seen = demo_run.Run("switch", kernel, f"demo-{kernel}", f"demo-copy {COPIER} {SIZE} {LSP2P}",
                        {"ssd1": "holds the CMB", "ssd2": "source", "ssd3": "destination"})
    seen.run(fill)
    return seen, hashlib.sha256(content).hexdigest()


def judge(seen, original):
    """Prints the report; adds every failed check to seen.failures."""
    source, peer, memory = (demo_run.sha256(seen.image(ident), start, SIZE)
                            for ident, start in (("ssd2", 0), ("ssd3", 0), ("ssd3", SIZE)))

    seen.show_fabric()
    seen.judge_guest()
    for name, title in (("peer", "through the CMB"), ("memory", "through system memory")):
        said = seen.facts.get(f"{name}-copy", "nothing")
        seen.check(said == "ok", f"the copy {title} failed; it said: {said}")

    meet = seen.meeting_point()
    if seen.check(meet, "the three controllers are not in the machine"):
        print(f"\nRoute: the three meet in the {meet[1]}" +
              ("; data turns around there and goes no higher." if "switch" in meet[1] else "."))

    print(f"\nContent, SHA-256 of {SIZE // MIB} MiB of random data")
    print(f"  source, before           {original}")
    print(f"  source, after            {source}")
    print(f"  copy through the CMB     {peer}")
    print(f"  copy through memory      {memory}")
    seen.check(source == original, "the source was changed")
    seen.check(peer == original, "the copy through the CMB differs from the source")
    seen.check(memory == original, "the copy through system memory differs from the source")
    for name, image in (("source", source), ("peer", peer), ("memory", memory)):
        seen.check(seen.facts.get(f"{name}-sum") == image, f"{name}: the guest reads other data than its disk image holds")

    print("\nWhere the SSDs were told to put and fetch the data (QEMU's trace, outside the guest)")
    print("                            in the CMB      in system memory")
    rows = {}
    for name, title in (("peer", "copy through the CMB   "), ("memory", "copy through memory    ")):
        dma = seen.dma(name)
        rows[name] = dma and (dma["peer"], dma["other"])
        if dma:
            print(f"  {title} {rows[name][0]:12,} bytes {rows[name][1]:15,} bytes")
    if rows["peer"]:
        inside, outside = rows["peer"]
        share = 100 * inside / (inside + outside) if inside + outside else 0
        print(f"\n  {share:.0f} % of the data addresses lay in the CMB's BAR; "
              f"{outside // MIB} MiB went through system memory"
              + (f", beside {rows['memory'][1] // MIB} MiB for the ordinary copy." if rows["memory"] else "."))
        seen.check(inside == 2 * SIZE, f"{inside} bytes were addressed in the CMB, not {2 * SIZE}")
        seen.check(outside == 0, f"{outside} bytes of data went through system memory")
    if rows["memory"]:
        seen.check(rows["memory"] == (0, 2 * SIZE),
                   "the ordinary copy is no comparison: it did not go through system memory alone")

    print("\nWhat the kernel says of the route (lsp2p why, in the guest)\n")
    for line in seen.box.verdict:
        if line.startswith("why "):
            print(f"  {line.removeprefix('why ')}".rstrip())
    seen.check(seen.facts.get("why-status") == "0", "lsp2p doesn't say that SSD 2 reaches SSD 1's memory")
