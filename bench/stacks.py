# SPDX-License-Identifier: GPL-2.0
"""Counts a read into peer memory and into system memory from what stands on disks: md, device mapper, NVMe multipath.

The whole path of 128 KiB, as in bench/io_path.py. Has bench/io_path.c do it. Each
device has the bytes of io_path's disk.
"""
import boot
import io_path

STACKS = ("raid0", "linear", "multipath")
FIGURES = tuple(f"{stack}_{memory}" for stack in STACKS for memory in ("peer", "system"))
CHUNK = 64 << 10    # of the raid0, as in stacks.sh


def build():
    """Builds what io_path needs, and images of the other disks."""
    io_path.build()
    data = io_path.IMAGE.read_bytes()
    folder = io_path.IMAGE.parent
    (folder / "shared.img").write_bytes(data)
    for leg in range(2):
        chunks = (data[at:at + CHUNK] for at in range(leg * CHUNK, len(data), 2 * CHUNK))
        (folder / f"leg{leg + 1}.img").write_bytes(b"".join(chunks))


def command(kernel, *words):
    """The command line in the guest. words: figures; after "-f", one to repeat forever"""
    return [str(boot.HERE / "stacks.sh"), str(boot.modules(kernel)), str(io_path.PROGRAM), str(io_path.IMAGE), *words]


def run(kernel):
    """Returns {figure: instructions of a read}."""
    build()
    boot.install_modules(kernel)
    # On stock these devices don't take peer memory.
    wanted = [name for name in FIGURES if kernel != "stock" or not name.endswith("_peer")]
    return boot.guest(kernel, "stacks", command(kernel, *wanted), wanted, machine="stacks")
