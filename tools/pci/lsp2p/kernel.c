// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's code about routes, compiled into this program.
 *
 * The kernel's files are included as they are.  Below them stands what they call:
 * config space, ACS quirks, host bridges and the processor, out of a struct
 * machine and of what the question assumes.
 */

/* The kernel has a struct device of its own. */
#define device machine_device
#include "judge.h"
#include "machine.h"
#undef device
#include "kernel/kernel.h"

/* The header of this name in a kernel tree, of which nothing is needed */
#define DRIVERS_PCI_H

#include "../../../drivers/pci/p2pdma_decide.c"
#include "../../../drivers/pci/p2pdma_host_table.c"
#include "../../../drivers/pci/p2pdma_route.c"
#include "../../../drivers/pci/p2pdma_answer.c"

struct fabric {
	const struct machine *machine;
	struct pci_dev *devices;		/* as in machine::devices */
	struct pci_bus *buses;
	size_t bus_count;
	struct pci_host_bridge *hosts;		/* as in machine::hosts */
	struct resource *windows;
	struct p2pdma_host_bridge *admitted;
	unsigned int admitted_count;
};

/* The question that is being answered */
static struct {
	const struct fabric *fabric;
	const struct assumptions *assumptions;
} now;

int hex2bin(u8 *to, const char *digits, size_t count)
{
	static const char all[] = "00112233445566778899aAbBcCdDeEfF";
	const char *high, *low;

	while (count--) {
		high = *digits ? strchr(all, *digits++) : NULL;
		low = *digits ? strchr(all, *digits++) : NULL;
		if (!high || !low)
			return -1;
		*to++ = (high - all) / 2 << 4 | (low - all) / 2;
	}
	return 0;
}

/* ---- The machine ---- */

bool is_swiotlb_force_bounce(struct device *dev __maybe_unused)
{
	return now.assumptions->bounce;
}

/* A part of the distance, but not of the verdict */
unsigned int p2pdma_hmat_rank(int client_node __maybe_unused,
			      int owner_node __maybe_unused)
{
	return 0;
}

bool p2pdma_cpu_allows(void)
{
	return now.assumptions->cpu_forwards;
}

bool p2pdma_memory_encrypted(void)
{
	return now.assumptions->encrypted;
}

/* ---- Config space ---- */

int lsp2p_read(const struct pci_dev *pdev, int where, unsigned int size,
	       u32 *value)
{
	uint16_t word;
	uint8_t byte;

	switch (size) {
	case 1:
		if (!config_get8(pdev->source, where, &byte))
			return -EIO;
		*value = byte;
		return 0;
	case 2:
		if (!config_get16(pdev->source, where, &word))
			return -EIO;
		*value = word;
		return 0;
	default:
		return config_get32(pdev->source, where, value) ? 0 : -EIO;
	}
}

void pcibios_resource_to_bus(struct pci_bus *bus __maybe_unused,
			     struct pci_bus_region *region, struct resource *res)
{
	region->start = res->start - res->offset;
	region->end = res->end - res->offset;
}

/*
 * Functions without an ACS capability of which their vendors say that there is no
 * way between them.  Those on root buses aren't asked about.
 */
static const struct isolated {
	u16 vendor, first, last;
	u8 type;		/* 0xff: any */
} isolated[] = {
	{ 0x1924, 0x0903, 0x0903, 0xff },	/* Solarflare */
	{ 0x1924, 0x0923, 0x0923, 0xff },
	{ 0x1924, 0x0a03, 0x0a03, 0xff },
	{ 0x8086, 0x10c6, 0x10c6, 0xff },	/* Intel 8259x, X540 */
	{ 0x8086, 0x10db, 0x10db, 0xff },
	{ 0x8086, 0x10dd, 0x10dd, 0xff },
	{ 0x8086, 0x10e1, 0x10e1, 0xff },
	{ 0x8086, 0x10f1, 0x10f1, 0xff },
	{ 0x8086, 0x10f7, 0x10fc, 0xff },
	{ 0x8086, 0x1507, 0x1507, 0xff },
	{ 0x8086, 0x1514, 0x1514, 0xff },
	{ 0x8086, 0x151c, 0x151c, 0xff },
	{ 0x8086, 0x1529, 0x152a, 0xff },
	{ 0x8086, 0x154d, 0x154d, 0xff },
	{ 0x8086, 0x154f, 0x154f, 0xff },
	{ 0x8086, 0x1551, 0x1551, 0xff },
	{ 0x8086, 0x1558, 0x1558, 0xff },
	{ 0x8086, 0x1509, 0x1509, 0xff },	/* 82580 */
	{ 0x8086, 0x150e, 0x1511, 0xff },
	{ 0x8086, 0x1516, 0x1516, 0xff },
	{ 0x8086, 0x1527, 0x1527, 0xff },
	{ 0x8086, 0x10c9, 0x10c9, 0xff },	/* 82576 */
	{ 0x8086, 0x10e6, 0x10e8, 0xff },
	{ 0x8086, 0x150a, 0x150a, 0xff },
	{ 0x8086, 0x150d, 0x150d, 0xff },
	{ 0x8086, 0x1518, 0x1518, 0xff },
	{ 0x8086, 0x1526, 0x1526, 0xff },
	{ 0x8086, 0x10a7, 0x10a7, 0xff },	/* 82575 */
	{ 0x8086, 0x10a9, 0x10a9, 0xff },
	{ 0x8086, 0x10d6, 0x10d6, 0xff },
	{ 0x8086, 0x1521, 0x1524, 0xff },	/* I350 */
	{ 0x8086, 0x105e, 0x1060, 0xff },	/* 82571 */
	{ 0x8086, 0x10d9, 0x10d9, 0xff },
	{ 0x8086, 0x15b7, 0x15b8, 0xff },	/* I219 */
	{ 0x19a2, 0x0710, 0x0710, 0xff },	/* Emulex BE3-R, Skyhawk-R */
	{ 0x10df, 0x0720, 0x0720, 0xff },
	{ 0x177d, 0xa026, 0xa026, 0xff },	/* Cavium */
	{ 0x177d, 0xa059, 0xa059, 0xff },
	{ 0x177d, 0xa060, 0xa060, 0xff },
	{ 0x14e4, 0x16d7, 0x16d7, 0xff },	/* Broadcom */
	{ 0x14e4, 0x1750, 0x1752, 0xff },
	{ 0x14e4, 0x1760, 0x1763, 0xff },
	{ 0x1d17, 0x3038, 0x3038, 0xff },	/* Zhaoxin */
	{ 0x1d17, 0x3104, 0x3104, 0xff },
	{ 0x1d17, 0x9083, 0x9083, 0xff },
	{ 0x1d17, 0x0710, 0x071e, PCI_EXP_TYPE_DOWNSTREAM },
	{ 0x1d17, 0x0721, 0x0721, PCI_EXP_TYPE_DOWNSTREAM },
	{ 0x1d17, 0x0723, 0x0752, PCI_EXP_TYPE_DOWNSTREAM },
	{ 0x8088, 0x0100, 0x010f, 0xff },	/* Wangxun */
	{ 0x8088, 0x1001, 0x1001, 0xff },
	{ 0x8088, 0x2001, 0x2001, 0xff },
	{ 0x8088, 0x5010, 0x5010, 0xff },
	{ 0x8088, 0x5025, 0x5025, 0xff },
	{ 0x8088, 0x5040, 0x5040, 0xff },
	{ 0x8088, 0x5110, 0x5110, 0xff },
	{ 0x8088, 0x5125, 0x5125, 0xff },
	{ 0x8088, 0x5140, 0x5140, 0xff },
};

int pci_dev_specific_acs_enabled(struct pci_dev *pdev,
				 u16 acs_flags __maybe_unused)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(isolated); i++) {
		if (pdev->vendor == isolated[i].vendor &&
		    pdev->device >= isolated[i].first &&
		    pdev->device <= isolated[i].last &&
		    (isolated[i].type == 0xff ||
		     isolated[i].type == pdev->pcie_type))
			return 1;
	}
	return -ENOTTY;
}

/* ---- Host bridges ---- */

/* Of the device at 00.0 of the root bus or, without one, of the root port */
u32 p2pdma_host_id(struct pci_dev *top)
{
	struct pci_dev *first = top->bus->host->first;

	if (first && !first->devfn)
		top = first;
	else if (top->pcie_type != PCI_EXP_TYPE_ROOT_PORT)
		return 0;
	return (u32)top->device << 16 | top->vendor;
}

unsigned int p2pdma_host_directions(struct pci_dev *top, bool same,
				    bool *admitted)
{
	return p2pdma_host_look_up(p2pdma_host_id(top), same,
				   now.fabric->admitted,
				   now.fabric->admitted_count, admitted);
}

static bool read_admitted(struct fabric *fabric)
{
	const char *list = fabric->machine->admitted ?: "";
	char *copy = strdup(list), *rest = copy, *entry;

	fabric->admitted = calloc(strlen(list) + 1, sizeof(*fabric->admitted));
	if (!copy || !fabric->admitted) {
		free(copy);
		return false;
	}
	while (*list && (entry = strsep(&rest, ",")))
		p2pdma_host_list_add(fabric->admitted, &fabric->admitted_count,
				     entry);
	free(copy);
	return true;
}

/* ---- The fabric ---- */

static size_t count_windows(const struct machine *machine)
{
	size_t i, count = 0;

	for (i = 0; i < machine->host_count; i++)
		count += machine->hosts[i]->window_count;
	return count;
}

static int compare_places(const void *a, const void *b)
{
	const struct machine_device *x = *(void **)a, *y = *(void **)b;

	if (x->domain != y->domain)
		return x->domain < y->domain ? -1 : 1;
	if (x->bus != y->bus)
		return x->bus < y->bus ? -1 : 1;
	return (int)x->devfn - (int)y->devfn;
}

static struct pci_dev *twin(struct fabric *fabric,
			    const struct machine_device *source)
{
	const struct machine *machine = fabric->machine;
	struct machine_device **found;

	if (!source)
		return NULL;
	found = bsearch(&source, machine->devices, machine->device_count,
			sizeof(*machine->devices), compare_places);
	return found ? &fabric->devices[found - machine->devices] : NULL;
}

static void copy_host(struct fabric *fabric, size_t i, struct resource **window,
		      struct resource_entry **entry)
{
	const struct host_bridge *source = fabric->machine->hosts[i];
	struct pci_host_bridge *host = &fabric->hosts[i];
	unsigned int w;

	host->windows.entries = *entry;
	host->windows.count = source->window_count;
	for (w = 0; w < source->window_count; w++) {
		(*window)->start = source->windows[w].start;
		(*window)->end = source->windows[w].end;
		(*window)->flags = IORESOURCE_MEM;
		(*entry)->res = (*window)++;
		(*entry)++->offset = source->windows[w].offset;
	}
}

/* Devices are sorted by bus number, so that a new one is the last. */
static struct pci_bus *find_bus(struct fabric *fabric,
				const struct machine_device *source)
{
	struct pci_bus *bus;
	size_t i;

	if (fabric->bus_count) {
		bus = &fabric->buses[fabric->bus_count - 1];
		if (bus->domain == source->domain &&
		    bus->number == source->bus)
			return bus;
	}
	bus = &fabric->buses[fabric->bus_count++];
	bus->domain = source->domain;
	bus->number = source->bus;
	for (i = 0; i < fabric->machine->host_count; i++) {
		if (fabric->machine->hosts[i] == source->host)
			bus->host = &fabric->hosts[i];
	}
	return bus;
}

static u64 low_bits(unsigned int bits)
{
	return bits >= 64 ? ~0ULL : (1ULL << bits) - 1;
}

static void copy_bar(struct pci_dev *pdev, const struct machine_device *source,
		     unsigned int i)
{
	const struct bar *bar = &source->bars[i];
	struct resource *res = &pdev->resource[i];
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * i;
	u32 low, high = 0;

	if (!bar->memory || !bar->start)
		return;
	res->start = bar->start;
	res->end = bar->end;
	res->flags = IORESOURCE_MEM;
	/* The register has the bus address. */
	if (config_get32(source, at, &low) && low & PCI_BASE_ADDRESS_MEM_MASK &&
	    (!bar->is64 || config_get32(source, at + 4, &high)))
		res->offset = bar->start -
			      ((u64)high << 32 |
			       (low & (u32)PCI_BASE_ADDRESS_MEM_MASK));
}

static void copy_device(struct fabric *fabric, size_t i)
{
	const struct machine_device *source = fabric->machine->devices[i];
	struct pci_dev *pdev = &fabric->devices[i];
	uint16_t word;
	unsigned int bar;

	pdev->source = source;
	pdev->bus = find_bus(fabric, source);
	pdev->devfn = source->devfn;
	pdev->vendor = device_vendor(source);
	pdev->device = device_id(source);
	pdev->pcie_cap = source->pcie_cap;
	pdev->acs_cap = source->acs_cap;
	pdev->cfg_size = source->extended_known == YES ? CONFIG_SIZE :
							 PCI_CFG_SPACE_SIZE;
	pdev->is_virtfn = source->physfn;
	pdev->physfn = twin(fabric, source->physfn);
	pdev->untrusted = source->untrusted == YES;
	pdev->dma_mask = low_bits(source->dma_mask_bits ?: 64);
	pdev->dev.dma_mask = &pdev->dma_mask;
	pdev->dev.driver = source->driver;
	if (source->pcie_cap && config_get16(source, source->pcie_cap +
					     PCI_EXP_FLAGS, &word))
		pdev->pcie_type = FIELD_GET(PCI_EXP_FLAGS_TYPE, word);
	if (source->pcie_cap && config_get16(source, source->pcie_cap +
					     PCI_EXP_DEVCTL2, &word))
		pdev->ari_forwarding = word & PCI_EXP_DEVCTL2_ARI;
	if (source->is_bridge)
		return;
	for (bar = 0; bar < BARS; bar++)
		copy_bar(pdev, source, bar);
}

/* Once all devices have their bus */
static void link_device(struct fabric *fabric, size_t i)
{
	const struct machine_device *source = fabric->machine->devices[i];
	struct pci_dev *pdev = &fabric->devices[i];
	struct pci_dev *up = twin(fabric, source->parent);

	if (up) {
		pdev->bus->self = up;
		pdev->bus->parent = up->bus;
	} else if (pdev->bus->host && !pdev->bus->host->first && !source->physfn) {
		pdev->bus->host->first = pdev;
	}
}

struct fabric *fabric_new(const struct machine *machine)
{
	struct fabric *fabric = calloc(1, sizeof(*fabric));
	struct resource_entry *entry;
	struct resource *window;
	size_t i, windows = count_windows(machine);

	if (!fabric)
		return NULL;
	fabric->machine = machine;
	fabric->devices = calloc(machine->device_count + 1,
				 sizeof(*fabric->devices));
	fabric->buses = calloc(machine->device_count + 1,
			       sizeof(*fabric->buses));
	fabric->hosts = calloc(machine->host_count + 1, sizeof(*fabric->hosts));
	fabric->windows = calloc(windows + 1, sizeof(*window) + sizeof(*entry));
	if (!fabric->devices || !fabric->buses || !fabric->hosts ||
	    !fabric->windows || !read_admitted(fabric)) {
		fabric_free(fabric);
		return NULL;
	}

	window = fabric->windows;
	entry = (struct resource_entry *)(window + windows);
	for (i = 0; i < machine->host_count; i++)
		copy_host(fabric, i, &window, &entry);
	for (i = 0; i < machine->device_count; i++)
		copy_device(fabric, i);
	for (i = 0; i < machine->device_count; i++)
		link_device(fabric, i);
	return fabric;
}

void fabric_free(struct fabric *fabric)
{
	if (!fabric)
		return;
	free(fabric->devices);
	free(fabric->buses);
	free(fabric->hosts);
	free(fabric->windows);
	free(fabric->admitted);
	free(fabric);
}

void fabric_ask(struct fabric *fabric, const struct machine_device *owner,
		const struct machine_device *client,
		const struct assumptions *assumptions,
		struct p2pdma_query_route *answer,
		struct p2pdma_query_port *ports)
{
	struct pci_dev *to = twin(fabric, client);

	to->translated = assumptions->translated;
	to->ats_enabled = assumptions->ats;
	now.fabric = fabric;
	now.assumptions = assumptions;
	p2pdma_answer(twin(fabric, owner), to, answer->tlp, answer, ports,
		      answer->port_count);
}

const char *reason_slug(unsigned int reason)
{
	return p2pdma_reason_name(reason);
}
