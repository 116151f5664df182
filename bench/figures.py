# SPDX-License-Identifier: GPL-2.0
"""The rows of the results: figures, those they are compared with, and targets.

A figure is a named number: the cost of an operation with one core. Doesn't
measure figures.
"""
import dataclasses

POOLS = {"64m": "64 MiB", "1g": "1 GiB", "8g": "8 GiB", "64g": "64 GiB"}
PERCENTS = (50, 90, 99)
STATES = {("front", 0): "empty",
          **{("front", percent): f"{percent} % full at the front" for percent in PERCENTS},
          **{("board", percent): f"{percent} % full, checkerboard" for percent in PERCENTS}}


@dataclasses.dataclass
class Row:
    """One line of the table: a figure of our core beside another, by default the stock core's of the same name.

    less, calls: a figure of the same core to subtract, and a number to divide the rest by
    over:        several figures instead of one; figure is "most" (maximum) or "spread" (maximum above minimum, %)
    beside, of:  the figure to compare with, and its core
    most, least: limits of the ratio of the two; below (exclusive), limit and floor (inclusive): limits of our
                 figure; each a target, or None
    none:        meaning of a missing figure
    main:        title in the short table, if the row is in it
    """
    title: str
    figure: str
    less: str = None
    calls: int = 1
    over: tuple = ()
    beside: str = None
    of: str = "stock"
    most: float = None
    least: float = None
    below: float = None
    limit: float = None
    floor: float = None
    unit: str = "instructions"
    none: str = "no room"
    main: str = ""

    def value(self, core, name):
        """The row's value for one core."""
        if self.over:
            values = [core[each] for each in self.over if core[each] is not None]
            return max(values) if name == "most" else 100 * (max(values) / min(values) - 1)
        if core[name] is None:
            return None
        return (core[name] - (core[self.less] if self.less else 0)) / self.calls

    def targets(self, ours, other):
        """Yields each target as text, and whether it is met."""
        if self.most is not None:
            yield f"at most {self.most:g} times", ours <= self.most * other
        if self.least is not None:
            yield f"at least {self.least:g} times", ours >= self.least * other
        if self.below is not None:
            yield f"below {self.below:,}", ours < self.below
        if self.limit is not None:
            yield f"at most {self.limit:,}{' %' if self.unit == '%' else ''}", ours <= self.limit
        if self.floor is not None:
            yield f"at least {self.floor:,}", ours >= self.floor

    def fill(self, cores):
        """The row's data, for printing and for the results file."""
        row = {"title": self.title.strip(), "unit": self.unit, "figure": self.figure, "less": self.less,
               "over": list(self.over), "beside_figure": self.beside or self.figure, "of": self.of,
               "ours": None, "beside": None, "ratio": None, "targets": [], "met": None, "none": self.none,
               "wanted": any(each is not None for each in (self.most, self.least, self.below, self.limit, self.floor))}
        ours, other = self.value(cores["ours"], self.figure), self.value(cores[self.of], row["beside_figure"])
        if ours is not None and other is not None:
            targets = list(self.targets(ours, other))
            row.update(ours=round(ours, 2), beside=round(other, 2),
                       ratio=float(f"{ours / other:.4g}") if other else None,
                       targets=[text for text, _ in targets],
                       met=all(good for _, good in targets) if targets else None)
        return row


def pool(operation, **targets):
    """Yields a row for each state of each pool."""
    for size, title in POOLS.items():
        for (fill, percent), state in STATES.items():
            yield Row(f"  {title}, {state}", f"{operation}_{size}_{fill}_{percent}", **targets)


def over(operation):
    """The names of all figures of an operation."""
    return tuple(f"{operation}_{size}_{fill}_{percent}" for size in POOLS for fill, percent in STATES)


STACKS = {"raid0": "md raid0, half from each of two disks", "linear": "dm-linear", "multipath": "NVMe multipath"}

BUSY = "not judged, the host has no two free CPUs"

# A string is a heading
ROWS = [
    "pci_alloc_p2pmem() + pci_free_p2pmem(), 4 KiB, beside stock",
    *pool("alloc_4k", limit=150),
    Row("  the most of these", "most", over=over("alloc_4k"), limit=150,
        main="allocate and free 4 KiB, pools of 64 MiB to 64 GiB, up to 99 % full: the most"),
    Row("  by how much the most is above the least", "spread", over=over("alloc_4k"), unit="%"),
    "pci_alloc_p2pmem() + pci_free_p2pmem(), 128 KiB, beside stock",
    *pool("alloc_128k", limit=150),
    Row("  the most of these", "most", over=over("alloc_128k"), limit=150),
    "pci_alloc_p2pmem() + pci_free_p2pmem(), 64 KiB, beside stock",
    *pool("alloc_64k", limit=150),
    "pci_alloc_p2pmem() + pci_free_p2pmem(), 2 MiB, beside stock",
    *pool("alloc_2m"),
    "pci_alloc_p2pmem() + pci_free_p2pmem(), 512 B, beside stock",
    *pool("alloc_512", limit=150),
    "pci_alloc_p2pmem() + pci_free_p2pmem(), 4 KiB to 64 KiB by turns, beside stock",
    *pool("mixed", limit=150),
    "pci_alloc_p2pmem() 32 times, then pci_free_p2pmem() 32 times, 4 KiB, each pair beside stock",
    *pool("batch_4k", most=1.0),
    "pci_alloc_p2pmem() 32 times, then pci_free_p2pmem() 32 times, 128 KiB, each pair beside stock",
    *pool("batch_128k", most=1.0),
    "pci_p2pmem_alloc_sgl() + pci_p2pmem_free_sgl(), 512 B, of which stock makes whole pages, beside stock",
    *pool("sgl_512", most=1.0),
    "pci_p2pmem_alloc_sgl() + pci_p2pmem_free_sgl(), 4 KiB, beside stock",
    *pool("sgl_4k", most=1.0),
    "pci_p2pmem_alloc_sgl() + pci_p2pmem_free_sgl(), 128 KiB, beside stock",
    *pool("sgl_128k", most=1.0),
    "pci_p2pmem_alloc_sgl() + pci_p2pmem_free_sgl(), 2 MiB, beside stock",
    *pool("sgl_2m", most=1.0),
    "Refusals, of a pool of 64 MiB that all CPUs have used, beside stock",
    *(Row(f"  {cpus} CPU{'s' if cpus > 1 else ''}, {title}", f"{figure}_{cpus}", limit=90,
           main="be refused, nothing is free, 64 CPUs have used the pool" if figure == "refused_full" and cpus == 64 else "")
      for figure, title in (("refused_full", "4 KiB, nothing is free"), ("refused_two", "128 KiB, two pages are free"))
      for cpus in (1, 8, 64)),
    "Being refused 128 KiB of a checkerboard of 4 KiB that is 99 % full, beside stock",
    *(Row(f"  {title}", f"refused_128k_{size}_board_99", limit=500) for size, title in POOLS.items()),
    "Interrupts are off at one stretch, any request up to 64 GiB, 64 CPUs use the pool, beside stock",
    Row("at most", "irqs_off", limit=5000),
    "Pieces of 2 MiB left of 32, beside stock",
    Row("64 CPUs have one page each", "left_2m_64", unit="pieces", floor=30),
    Row("8 CPUs have one page each", "left_2m_8", unit="pieces"),
    "Memory for programs, empty pool, beside stock",
    Row("mmap() + munmap() of 2 MiB", "mmap_2m"),
    Row("  clearing it, which stock does not", "zero_2m"),
    Row("mmap() + munmap() of 2 MiB, clearing apart", "mmap_2m", "zero_2m", most=1.0,
        main="map and unmap 2 MiB for a program, clearing apart"),
    "Reading 128 KiB from an NVMe disk, O_DIRECT, the whole path, beside stock",
    Row("into memory of another one behind the same switch", "io_peer",
        main="read 128 KiB from an SSD into memory of another one, the whole path"),
    Row("into system memory", "io_system"),
    Row("into system memory that happens to be contiguous", "io_system_adjacent"),
    "The same, of this core alone",
    Row("into memory of another one, beside system memory", "io_peer", beside="io_system", of="ours", most=1.0),
    Row("into memory of another one, beside contiguous system memory", "io_peer", beside="io_system_adjacent",
        of="ours"),
    "Reading 128 KiB from what stands on such disks, O_DIRECT, with this core alone, beside system memory",
    *(Row(f"{title}, into memory of another disk", f"{stack}_peer", beside=f"{stack}_system", of="ours",
          most=1.0)
      for stack, title in STACKS.items()),
    "The same, into system memory, beside stock",
    *(Row(title, f"{stack}_system") for stack, title in STACKS.items()),
    "128 KiB by the NVMe target over RDMA, whose host is the same machine, the whole path, beside stock",
    Row("write, the target's buffer in another SSD's memory", "nvmet_write_on"),
    Row("write, the target's buffer in system memory", "nvmet_write_off"),
    Row("read, the target's buffer in another SSD's memory", "nvmet_read_on"),
    Row("read, the target's buffer in system memory", "nvmet_read_off"),
    "The same, of this core alone, beside system memory",
    Row("write, the target's buffer in another SSD's memory", "nvmet_write_on", beside="nvmet_write_off", of="ours",
        most=1.0),
    Row("read, the target's buffer in another SSD's memory", "nvmet_read_on", beside="nvmet_read_off", of="ours",
        most=1.0),
    "Two CPUs on one provider: what they do, of what one does, beside stock",
    Row("4 KiB", "scaling_4k", unit="times", none=BUSY),
    Row("128 KiB", "scaling_128k", unit="times", none=BUSY),
    Row("4 KiB, one CPU allocates and the other one frees", "scaling_hand_over", unit="times", none=BUSY, floor=0.7),
    Row("work in which they share nothing", "scaling_apart", unit="times", none=BUSY),
    "The same, beside work in which they share nothing",
    Row("4 KiB", "scaling_4k", beside="scaling_apart", of="ours", least=0.95, unit="times", none=BUSY),
    "Mapping scatterlists of pages by switch, beside stock",
    Row("pci_p2pdma_map_segment(), first segment", "map_segment_first", most=1.0),
    Row("pci_p2pdma_map_segment(), later segment", "map_segment_later"),
    Row("dma_map_sg() + dma_unmap_sg(), 1 segment of 128 KiB", "map_sg_1"),
    Row("  1 segment of 2 MiB", "map_sg_2m"),
    Row("  16 segments", "map_sg_16"),
    Row("  256 segments", "map_sg_256", most=1.0),
    Row("  each segment after the first", "map_sg_256", "map_sg_1", 255),
    Row("  16 segments in two providers by turns", "map_sg_16_by_turns"),
    Row("  256 segments in two providers by turns", "map_sg_256_by_turns",
        main="map and unmap a scatterlist of 256 segments in two providers by turns"),
    Row("  each segment after the first, by turns", "map_sg_256_by_turns", "map_sg_1", 255),
    Row("  1 segment of 128 KiB, through a host bridge", "map_sg_far"),
    "Mapping without pages, beside dma_map_sg() + dma_unmap_sg() of 1 segment of stock",
    Row("dma_map_p2p() + dma_unmap_p2p(), 128 KiB", "map_p2p_128k", beside="map_sg_1", most=0.5),
    Row("  2 MiB", "map_p2p_2m", beside="map_sg_2m", most=0.5),
    Row("  128 KiB, through a host bridge", "map_p2p_far_128k", beside="map_sg_far"),
    "The same, beside 128 KiB",
    Row("dma_map_p2p() + dma_unmap_p2p(), 1 GiB", "map_p2p_1g", beside="map_p2p_128k", of="ours",
        most=1.02, least=0.98),
    Row("  through a host bridge", "map_p2p_far_1g", beside="map_p2p_far_128k", of="ours", most=1.02, least=0.98),
    "Lists of physical memory, with memory for the result, beside dma_map_sg() + dma_unmap_sg() of as many of stock",
    Row("p2pdma_phys_list_map() + _unmap(), 1 run of 1 GiB", "map_phys_list_1g", beside="map_sg_1"),
    Row("  32 runs in two providers by turns", "map_phys_list_32", beside="map_sg_32_by_turns",
        most=1.0),
    "Routes, beside stock",
    Row("pci_p2pdma_distance(), 4 hops", "distance", main="ask how far a client is, 4 hops"),
    Row("pci_p2pmem_find_many(), 256 equal providers", "find_many_256", most=0.2, below=60000),
    "Registration with pages, beside stock",
    Row("pci_p2pdma_add_resource(), 64 MiB", "register_pages_64m"),
    Row("  8 GiB", "register_pages_8g"),
    "Registration without pages, beside ours with pages",
    Row("pcim_p2pdma_init(), BAR of 64 MiB", "register_bars_64m", beside="register_pages_64m", of="ours", below=20000),
    Row("  8 GiB", "register_bars_8g", beside="register_pages_8g", of="ours", below=20000),
    "The same, beside 64 MiB",
    Row("pcim_p2pdma_init(), BAR of 8 GiB", "register_bars_8g", beside="register_bars_64m", of="ours",
        most=1.02, least=0.98),
    "Memory it takes, for each GiB, beside stock with pages",
    Row("with pages, BAR of 8 GiB", "pages_ram", unit="bytes"),
    Row("without pages, 256 devices each with a BAR of 1 GiB", "bars_ram", beside="pages_ram", below=4096,
        unit="bytes"),
]
