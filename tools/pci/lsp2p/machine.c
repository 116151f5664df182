// SPDX-License-Identifier: GPL-2.0
/*
 * A machine from its parts: devices and host bridges are added by a source, and
 * machine_complete() then finds out what follows from config space: which bridge
 * is above which device, capabilities, BARs, virtual functions.
 *
 * Nothing is read here, and nothing that a source has set is changed.  Config
 * space may hold anything: each list is bounded, and what doesn't make sense is
 * left unknown.
 */
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "judge.h"
#include "machine.h"

/* More functions than any machine has, so that a broken file can't eat memory */
#define MAX_DEVICES	16384
#define MAX_HOSTS	4096
#define MAX_DEPTH	256	/* as many buses as a domain has */

#define NOT_PRESENT	0xffff
#define EXTENDED	0x100	/* where extended config space begins */

struct machine *machine_new(void)
{
	return calloc(1, sizeof(struct machine));
}

static void device_free(struct device *device)
{
	size_t i;

	for (i = 0; device->nodes && device->nodes[i]; i++)
		free(device->nodes[i]);
	free(device->nodes);
	free(device->driver);
	free(device->name);
	free(device);
}

void machine_free(struct machine *machine)
{
	size_t i;

	if (!machine)
		return;
	for (i = 0; i < machine->device_count; i++)
		device_free(machine->devices[i]);
	for (i = 0; i < machine->host_count; i++) {
		free(machine->hosts[i]->windows);
		free(machine->hosts[i]);
	}
	free(machine->devices);
	free(machine->hosts);
	fabric_free(machine->fabric);
	free(machine->source);
	free(machine->kernel);
	free(machine->cmdline);
	free(machine->admitted);
	free(machine);
}

/* ---- Devices and host bridges, sorted by address ---- */

static uint64_t address_key(uint32_t domain, uint8_t bus, uint8_t devfn)
{
	return (uint64_t)domain << 16 | bus << 8 | devfn;
}

static uint64_t device_key(const struct device *device)
{
	return address_key(device->domain, device->bus, device->devfn);
}

/* Where the device is, or where it would have to be */
static size_t device_index(const struct machine *machine, uint64_t key)
{
	size_t low = 0, high = machine->device_count, middle;

	/* Most sources go up in order. */
	if (high && device_key(machine->devices[high - 1]) < key)
		return high;
	while (low < high) {
		middle = low + (high - low) / 2;
		if (device_key(machine->devices[middle]) < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct device *machine_find(const struct machine *machine, uint32_t domain,
			    uint8_t bus, uint8_t devfn)
{
	uint64_t key = address_key(domain, bus, devfn);
	size_t i = device_index(machine, key);

	if (i < machine->device_count && device_key(machine->devices[i]) == key)
		return machine->devices[i];
	return NULL;
}

/* Makes room for one more pointer in an array whose room is a power of two. */
static void *grow(void *array, size_t count)
{
	if (count & (count - 1))
		return array;
	return realloc(array, (count ? 2 * count : 1) * sizeof(void *));
}

struct device *machine_add(struct machine *machine, uint32_t domain,
			   uint8_t bus, uint8_t devfn)
{
	size_t i = device_index(machine, address_key(domain, bus, devfn));
	struct device *device = machine_find(machine, domain, bus, devfn);
	struct device **devices;

	if (device)
		return device;
	if (machine->device_count >= MAX_DEVICES)
		return NULL;
	devices = grow(machine->devices, machine->device_count);
	if (!devices)
		return NULL;
	machine->devices = devices;
	device = calloc(1, sizeof(*device));
	if (!device)
		return NULL;
	device->domain = domain;
	device->bus = bus;
	device->devfn = devfn;
	device->iommu_group = -1;
	device->numa_node = -1;

	memmove(&devices[i + 1], &devices[i],
		(machine->device_count - i) * sizeof(*devices));
	devices[i] = device;
	machine->device_count++;
	return device;
}

struct host_bridge *machine_host(struct machine *machine, uint32_t domain,
				 uint8_t bus)
{
	struct host_bridge **hosts = machine->hosts, *host;
	size_t i = machine->host_count;

	while (i && address_key(hosts[i - 1]->domain, hosts[i - 1]->bus, 0) >
		    address_key(domain, bus, 0))
		i--;
	if (i && hosts[i - 1]->domain == domain && hosts[i - 1]->bus == bus)
		return hosts[i - 1];
	if (machine->host_count >= MAX_HOSTS)
		return NULL;
	hosts = grow(hosts, machine->host_count);
	if (!hosts)
		return NULL;
	machine->hosts = hosts;
	host = calloc(1, sizeof(*host));
	if (!host)
		return NULL;
	host->domain = domain;
	host->bus = bus;
	memmove(&hosts[i + 1], &hosts[i],
		(machine->host_count - i) * sizeof(*hosts));
	hosts[i] = host;
	machine->host_count++;
	return host;
}

/* ---- Config space ---- */

void config_set(struct device *device, unsigned int at, const void *bytes,
		unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count && at + i < CONFIG_SIZE; i++) {
		device->config[at + i] = ((const uint8_t *)bytes)[i];
		device->known[(at + i) / 8] |= 1 << (at + i) % 8;
	}
}

static bool config_known(const struct device *device, unsigned int at,
			 unsigned int count)
{
	if (at > CONFIG_SIZE - count)
		return false;
	for (; count; count--, at++) {
		if (!(device->known[at / 8] & 1 << at % 8))
			return false;
	}
	return true;
}

bool config_get8(const struct device *device, unsigned int at, uint8_t *value)
{
	if (!config_known(device, at, 1))
		return false;
	*value = device->config[at];
	return true;
}

bool config_get16(const struct device *device, unsigned int at, uint16_t *value)
{
	if (!config_known(device, at, 2))
		return false;
	*value = device->config[at] | device->config[at + 1] << 8;
	return true;
}

bool config_get32(const struct device *device, unsigned int at, uint32_t *value)
{
	uint16_t low, high;

	if (!config_get16(device, at, &low) ||
	    !config_get16(device, at + 2, &high))
		return false;
	*value = low | (uint32_t)high << 16;
	return true;
}

uint16_t device_vendor(const struct device *device)
{
	uint16_t value;

	return config_get16(device, PCI_VENDOR_ID, &value) ? value : 0xffff;
}

uint16_t device_id(const struct device *device)
{
	uint16_t value;

	return config_get16(device, PCI_DEVICE_ID, &value) ? value : 0xffff;
}

uint32_t device_class(const struct device *device)
{
	uint8_t interface = 0;	/* which text may leave out */
	uint16_t class;

	if (!config_get16(device, PCI_CLASS_DEVICE, &class))
		return 0xffffff;
	config_get8(device, PCI_CLASS_PROG, &interface);
	return (uint32_t)class << 8 | interface;
}

int device_pcie_type(const struct device *device)
{
	uint16_t flags;

	if (!device->pcie_cap ||
	    !config_get16(device, device->pcie_cap + PCI_EXP_FLAGS, &flags))
		return -1;
	return (flags & PCI_EXP_FLAGS_TYPE) >> 4;
}

unsigned int machine_release(const struct machine *machine)
{
	unsigned int major, minor;

	if (!machine->kernel ||
	    sscanf(machine->kernel, "%4u.%4u", &major, &minor) != 2)
		return 0;
	return RELEASE(major, minor);
}

static unsigned int header_type(const struct device *device)
{
	uint8_t type;

	if (config_get8(device, PCI_HEADER_TYPE, &type))
		return type & PCI_HEADER_TYPE_MASK;
	return device->is_bridge ? PCI_HEADER_TYPE_BRIDGE :
				   PCI_HEADER_TYPE_NORMAL;
}

/* ---- Capabilities ---- */

/*
 * Walks the list below 256.  Returns whether all of it is known and makes sense,
 * so that what wasn't found isn't there.
 */
static bool walk_capabilities(struct device *device)
{
	uint8_t at, id, seen[PCI_CFG_SPACE_SIZE] = { };
	uint16_t status;

	if (!config_get16(device, PCI_STATUS, &status) ||
	    status == NOT_PRESENT)
		return false;
	if (!(status & PCI_STATUS_CAP_LIST))
		return true;
	if (!config_get8(device, header_type(device) == PCI_HEADER_TYPE_CARDBUS ?
			 PCI_CB_CAPABILITY_LIST : PCI_CAPABILITY_LIST, &at))
		return false;
	for (at &= ~3; at; at &= ~3) {
		if (at < PCI_STD_HEADER_SIZEOF || seen[at] ||
		    !config_get8(device, at + PCI_CAP_LIST_ID, &id) ||
		    id == 0xff)
			return false;
		seen[at] = 1;
		if (id == PCI_CAP_ID_EXP && !device->pcie_cap)
			device->pcie_cap = at;
		if (!config_get8(device, at + PCI_CAP_LIST_NEXT, &at))
			return false;
	}
	return true;
}

static void note_extended(struct device *device, uint32_t header, uint16_t at)
{
	uint16_t *cap;

	switch (PCI_EXT_CAP_ID(header)) {
	case PCI_EXT_CAP_ID_ACS:
		cap = &device->acs_cap;
		break;
	case PCI_EXT_CAP_ID_ATS:
		cap = &device->ats_cap;
		break;
	case PCI_EXT_CAP_ID_SRIOV:
		cap = &device->sriov_cap;
		break;
	case PCI_EXT_CAP_ID_REBAR:
		cap = &device->rebar_cap;
		break;
	default:
		return;
	}
	if (!*cap)
		*cap = at;
}

/* The same for the list from 256 on */
static bool walk_extended(struct device *device)
{
	uint8_t seen[CONFIG_SIZE / 4] = { };
	uint16_t at = EXTENDED;
	uint32_t header;

	if (!config_get32(device, at, &header))
		return false;
	if (!header)
		return true;
	for (;;) {
		note_extended(device, header, at);
		seen[at / 4] = 1;
		at = PCI_EXT_CAP_NEXT(header);
		if (!at)
			return true;
		if (at < EXTENDED || seen[at / 4] ||
		    !config_get32(device, at, &header) || !header ||
		    header == 0xffffffff)
			return false;
	}
}

static void find_capabilities(struct device *device)
{
	uint32_t first;

	if (device->caps_known == UNKNOWN)
		device->caps_known = walk_capabilities(device) ? YES : NO;
	if (device->caps_known == YES && !device->pcie_cap) {
		/* Conventional PCI: what there is, is known. */
		device->has_extended = NO;
		device->extended_known = YES;
		return;
	}
	if (device->has_extended == UNKNOWN &&
	    config_get32(device, EXTENDED, &first))
		device->has_extended = first == 0xffffffff ? NO : YES;
	if (device->extended_known == UNKNOWN)
		device->extended_known = device->has_extended != NO &&
					 walk_extended(device) ? YES : NO;
}

/* ---- BARs ---- */

static void find_rebar(struct device *device)
{
	unsigned int count = 1, i, at = device->rebar_cap;
	uint32_t cap, ctrl;
	struct bar *bar;

	for (i = 0; at && i < count && i < BARS; i++, at += 8) {
		if (!config_get32(device, at + PCI_REBAR_CAP, &cap) ||
		    !config_get32(device, at + PCI_REBAR_CTRL, &ctrl))
			return;
		if (!i)
			count = (ctrl & PCI_REBAR_CTRL_NBAR_MASK) >>
				PCI_REBAR_CTRL_NBAR_SHIFT;
		if (!count || (ctrl & PCI_REBAR_CTRL_BAR_IDX) >= BARS)
			return;
		bar = &device->bars[ctrl & PCI_REBAR_CTRL_BAR_IDX];
		if (bar->sizes)
			continue;
		bar->sizes = cap >> 4 | (uint64_t)(ctrl >> 16) << 28;
	}
}

/* What Resizable BAR is set to, or 0 */
static uint64_t rebar_size(const struct device *device, unsigned int index)
{
	unsigned int count = 1, i, bits, at = device->rebar_cap;
	uint32_t ctrl;

	for (i = 0; at && i < count && i < BARS; i++, at += 8) {
		if (!config_get32(device, at + PCI_REBAR_CTRL, &ctrl))
			return 0;
		if (!i)
			count = (ctrl & PCI_REBAR_CTRL_NBAR_MASK) >>
				PCI_REBAR_CTRL_NBAR_SHIFT;
		bits = (ctrl & PCI_REBAR_CTRL_BAR_SIZE) >> 8;
		if ((ctrl & PCI_REBAR_CTRL_BAR_IDX) == index && bits < 44)
			return 1ULL << (20 + bits);
	}
	return 0;
}

/* The CPU's address of a bus address, as far as windows say that it differs */
static uint64_t cpu_address(const struct host_bridge *host, uint64_t bus)
{
	const struct window *window;
	unsigned int i;

	for (i = 0; host && i < host->window_count; i++) {
		window = &host->windows[i];
		if (bus >= window->start - window->offset &&
		    bus <= window->end - window->offset)
			return bus + window->offset;
	}
	return bus;
}

static void find_bar(struct device *device, unsigned int i, uint32_t low,
		     uint32_t high)
{
	struct bar *bar = &device->bars[i];
	uint64_t address, size = rebar_size(device, i);

	bar->known = true;
	bar->memory = !(low & PCI_BASE_ADDRESS_SPACE_IO);
	if (!bar->memory)
		return;
	bar->prefetchable = low & PCI_BASE_ADDRESS_MEM_PREFETCH;
	bar->is64 = (low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) ==
		    PCI_BASE_ADDRESS_MEM_TYPE_64;
	address = (uint64_t)high << 32 | (low & PCI_BASE_ADDRESS_MEM_MASK);
	if (!address)
		return;
	bar->start = cpu_address(device->host, address);
	bar->end = bar->start + (size ? size - 1 : 0);
	if (bar->end < bar->start)
		bar->end = bar->start;
}

static void find_bars(struct device *device)
{
	unsigned int i, count, at = PCI_BASE_ADDRESS_0;
	uint32_t low, high;

	find_rebar(device);
	switch (header_type(device)) {
	case PCI_HEADER_TYPE_NORMAL:
		count = BARS;
		break;
	case PCI_HEADER_TYPE_BRIDGE:
		count = 2;
		break;
	default:
		return;
	}
	for (i = 0; i < count; i++, at += 4) {
		if (!config_get32(device, at, &low))
			continue;
		high = 0;
		if ((low & (PCI_BASE_ADDRESS_SPACE |
			    PCI_BASE_ADDRESS_MEM_TYPE_MASK)) ==
		    PCI_BASE_ADDRESS_MEM_TYPE_64) {
			if (i + 1 == count ||
			    !config_get32(device, at + 4, &high))
				continue;
		}
		if (!device->bars[i].known)
			find_bar(device, i, low, high);
		if (device->bars[i].is64) {
			i++;
			at += 4;
		}
	}
}

/* ---- Which bridge is above a device ---- */

static bool bridge_buses(const struct device *device, uint8_t *secondary,
			 uint8_t *subordinate)
{
	if (!device->is_bridge ||
	    !config_get8(device, PCI_SECONDARY_BUS, secondary) || !*secondary)
		return false;
	if (!config_get8(device, PCI_SUBORDINATE_BUS, subordinate))
		*subordinate = *secondary;
	return true;
}

/* By SR-IOV's numbers; a source may know more. */
static void find_virtual(struct machine *machine, struct device *device)
{
	uint16_t count, offset, stride, at = device->sriov_cap;
	struct device *virtual;
	unsigned int i, to;

	if (!at || !config_get16(device, at + PCI_SRIOV_NUM_VF, &count) ||
	    !config_get16(device, at + PCI_SRIOV_VF_OFFSET, &offset) ||
	    !config_get16(device, at + PCI_SRIOV_VF_STRIDE, &stride) ||
	    !offset)
		return;
	for (i = 0; i < count; i++) {
		to = (device->bus << 8 | device->devfn) + offset + i * stride;
		if (to > 0xffff)
			return;
		virtual = machine_find(machine, device->domain, to >> 8,
				       to & 0xff);
		if (virtual && virtual != device && !virtual->physfn)
			virtual->physfn = device;
		if (!stride)
			return;
	}
}

/* The bridges of one domain, by the bus that they lead to */
struct buses {
	struct device *above[256];
	bool inside[256];	/* somewhere below a bridge */
	bool alone[256];	/* has nothing but functions of device 0 that are no bridges */
	bool unknown;		/* of a bridge it isn't known which bus it leads to */
};

static bool is_orphan(const struct device *device, const struct buses *buses)
{
	if (buses->inside[device->bus])
		return true;
	switch (device_pcie_type(device)) {
	case PCI_EXP_TYPE_UPSTREAM:
	case PCI_EXP_TYPE_DOWNSTREAM:
		return true;
	case PCI_EXP_TYPE_ROOT_PORT:
	case PCI_EXP_TYPE_RC_END:
	case PCI_EXP_TYPE_RC_EC:
		return false;
	default:
		break;
	}
	/* Endpoints on a root bus: on bus 0 in a virtual machine, and seldom else */
	return device->bus && (buses->alone[device->bus] || buses->unknown);
}

static bool link_by_bus(struct device **devices, size_t count, char *error,
			size_t size)
{
	struct buses buses = { };
	uint8_t secondary, subordinate;
	struct device *device;
	unsigned int bus;
	size_t i;

	memset(buses.alone, true, sizeof(buses.alone));
	for (i = 0; i < count; i++) {
		device = devices[i];
		if (device->is_bridge || device->devfn >> 3)
			buses.alone[device->bus] = false;
		if (device->is_bridge &&
		    !config_get8(device, PCI_SECONDARY_BUS, &secondary))
			buses.unknown = true;
		if (!bridge_buses(device, &secondary, &subordinate))
			continue;
		if (buses.above[secondary]) {
			snprintf(error, size,
				 "two bridges lead to bus %04x:%02x, %02x:%02x.%x and %02x:%02x.%x; take the dump again, of one machine",
				 device->domain, secondary,
				 buses.above[secondary]->bus,
				 buses.above[secondary]->devfn >> 3,
				 buses.above[secondary]->devfn & 7, device->bus,
				 device->devfn >> 3, device->devfn & 7);
			return false;
		}
		buses.above[secondary] = device;
		for (bus = secondary; bus <= subordinate; bus++)
			buses.inside[bus] = true;
	}
	for (i = 0; i < count; i++) {
		device = devices[i];
		if (device->parent || device->physfn)
			continue;
		device->parent = buses.above[device->bus];
		if (!device->parent)
			device->orphan = is_orphan(device, &buses);
	}
	return true;
}

static bool link_all(struct machine *machine, char *error, size_t size)
{
	struct device *device, *physfn;
	size_t i, end;

	/* A source that knows host bridges knows parents as well. */
	for (i = 0; i < machine->device_count; i++) {
		device = machine->devices[i];
		if (device->host || device->parent)
			break;
	}
	for (end = 0; i == machine->device_count && end < i;) {
		size_t start = end;

		while (end < i && machine->devices[end]->domain ==
				  machine->devices[start]->domain)
			end++;
		if (!link_by_bus(machine->devices + start, end - start, error,
				 size))
			return false;
	}
	for (i = 0; i < machine->device_count; i++) {
		device = machine->devices[i];
		physfn = device->physfn;
		if (physfn && (physfn == device || physfn->physfn))
			device->physfn = NULL;
		else if (physfn && !device->parent)
			device->parent = physfn->parent;
	}
	return true;
}

/* As the kernel's pci_upstream_bridge(): a virtual function has its PF's */
static struct device *bridge_above(const struct device *device)
{
	return (device->physfn ?: device)->parent;
}

static bool is_misplaced(const struct device *device,
			 const struct device *before, char *error, size_t size)
{
	const char *wrong;

	if (before->domain != device->domain || before->bus != device->bus)
		return false;
	if (bridge_above(before) != bridge_above(device))
		wrong = "bridge";
	else if (before->host != device->host)
		wrong = "host bridge";
	else
		return false;
	snprintf(error, size,
		 "%04x:%02x:%02x.%x is below another %s than %02x.%x on the same bus; take the dump again",
		 device->domain, device->bus, device->devfn >> 3,
		 device->devfn & 7, wrong, before->devfn >> 3,
		 before->devfn & 7);
	return true;
}

static bool find_hosts(struct machine *machine, char *error, size_t size)
{
	struct device *device, *top;
	unsigned int depth;
	size_t i;

	for (i = 0; i < machine->device_count; i++) {
		device = machine->devices[i];
		top = device;
		for (depth = 0; bridge_above(top) && depth < MAX_DEPTH; depth++)
			top = bridge_above(top);
		if (bridge_above(top)) {
			snprintf(error, size,
				 "%04x:%02x:%02x.%x is below itself, by its bus numbers; take the dump again",
				 device->domain, device->bus,
				 device->devfn >> 3, device->devfn & 7);
			return false;
		}
		/* A virtual function may be on a bus of its own. */
		if (top->physfn)
			top = top->physfn;
		if (!top->host)
			top->host = machine_host(machine, top->domain, top->bus);
		if (!top->host) {
			snprintf(error, size,
				 "more than %d host bridges, or no memory; is this one machine?",
				 MAX_HOSTS);
			return false;
		}
		device->host = top->host;
		if (i && is_misplaced(device, machine->devices[i - 1], error,
				      size))
			return false;
	}
	return true;
}

/* ---- The processor, where no source knows it ---- */

/* Root complexes of AMD's family 17h and later, by their host bridges */
static const uint16_t amd_hosts[] = {
	0x1122, 0x13e0, 0x1450, 0x1480, 0x14a4, 0x14b5, 0x14d8, 0x14e8, 0x1507,
	0x153a, 0x15d0, 0x1630, 0x1645,
};

/*
 * Ports and host bridges that hypervisors emulate, which say nothing about the
 * processor, though most of them have Intel's vendor ID
 */
static bool is_emulated(uint16_t vendor, uint16_t id)
{
	switch (vendor) {
	case 0x15ad:	/* VMware */
	case 0x1b36:	/* QEMU */
	case 0x1d0f:	/* Amazon */
		return true;
	case 0x8086:	/* 440FX, 440BX, its AGP port, Q35, Firecracker, ICH, 5520 */
		return id == 0x1237 || id == 0x7190 || id == 0x7191 ||
		       id == 0x29c0 || id == 0x0d57 || id == 0x244e ||
		       id == 0x3420;
	default:
		return false;
	}
}

/*
 * Does the processor forward between its root ports, as AMD's do?  NO if a root
 * port or a host bridge is some other maker's, of whom it is known that it makes
 * them for processors of its own.
 */
static enum answer processor_forwards(const struct device *device)
{
	uint16_t vendor = device_vendor(device), id = device_id(device);
	size_t i;

	switch (vendor) {
	case 0x1022:
		for (i = 0; i < sizeof(amd_hosts) / sizeof(*amd_hosts); i++) {
			if (amd_hosts[i] == id)
				return YES;
		}
		return UNKNOWN;
	case 0x8086:
		return is_emulated(vendor, id) ? UNKNOWN : NO;
	case 0x1014:	/* IBM */
	case 0x10de:	/* NVIDIA */
	case 0x13b5:	/* Arm */
	case 0x177d:	/* Cavium, Marvell */
	case 0x1957:	/* Freescale, NXP */
	case 0x19e5:	/* Huawei */
	case 0x1d17:	/* Zhaoxin */
	case 0x1d94:	/* Hygon */
	case 0x1def:	/* Ampere */
	case 0x1ded:	/* Alibaba */
		return NO;
	default:
		return UNKNOWN;
	}
}

static void find_processor(struct machine *machine)
{
	const struct device *device;
	enum answer answer;
	uint32_t class;
	size_t i;

	for (i = 0; i < machine->device_count; i++) {
		device = machine->devices[i];
		class = device_class(device) >> 8;
		if (device->parent || device->physfn || device->orphan ||
		    (class != CLASS_HOST_BRIDGE && class != CLASS_PCI_BRIDGE))
			continue;
		if (machine->guest == UNKNOWN &&
		    is_emulated(device_vendor(device), device_id(device)) &&
		    device_vendor(device) != 0x8086)
			machine->guest = YES;
		answer = processor_forwards(device);
		if (machine->cpu_forwards == UNKNOWN)
			machine->cpu_forwards = answer;
	}
}

/* .../pci0000:00/0000:00:01.0/0000:01:00.0 */
bool machine_place(struct machine *machine, struct device *device,
		   const char *path)
{
	unsigned int domain, bus, slot, function;
	const char *end = strrchr(path, '/'), *at = end;

	while (at && at > path && at[-1] != '/')
		at--;
	if (at && sscanf(at, "%8x:%2x:%2x.%1x/", &domain, &bus, &slot,
			 &function) == 4)
		device->parent = machine_find(machine, domain, bus,
					      (slot & 31) << 3 | (function & 7));
	if (device->parent == device)
		device->parent = NULL;
	if (device->parent)
		return true;
	if (!at || sscanf(at, "pci%8x:%2x/", &domain, &bus) != 2) {
		device->orphan = true;
		domain = device->domain;
		bus = device->bus;
	}
	device->host = machine_host(machine, domain, bus);
	return device->host;
}

bool machine_complete(struct machine *machine, char *error, size_t size)
{
	struct device *device;
	unsigned int type;
	size_t i;

	for (i = 0; i < machine->device_count; i++) {
		device = machine->devices[i];
		type = header_type(device);
		device->is_bridge = type == PCI_HEADER_TYPE_BRIDGE ||
				    type == PCI_HEADER_TYPE_CARDBUS;
		find_capabilities(device);
	}
	for (i = 0; i < machine->device_count; i++)
		find_virtual(machine, machine->devices[i]);
	if (!link_all(machine, error, size) ||
	    !find_hosts(machine, error, size))
		return false;
	for (i = 0; i < machine->device_count; i++)
		find_bars(machine->devices[i]);
	find_processor(machine);
	return true;
}
