// SPDX-License-Identifier: GPL-2.0
/*
 * PCI fabrics made in software, for tests.
 *
 * Each function of a fabric has a config space in memory, set up as by firmware
 * (bus numbers, BARs, bridge windows), which the PCI core enumerates through
 * the config operations in this file. There are no drivers, interrupts, links
 * or packets, and nothing answers at a BAR.
 *
 * Config space has what the PCI core reads: the header, the PCI Express,
 * ACS and SR-IOV capabilities (PCIe Base Specification 6.0, sections 7.5.3,
 * 7.7.11 and 9.3.3). The rest of it reads as zero. For each byte there is a
 * mask of the bits that software can write.
 *
 * Lifetime: a function lives from creation or plug to unplug or destruction.
 * A host bridge's structure may live longer, as long as there is a
 * reference to one of the pci_devs that were behind it; its config operations
 * then find no functions.
 *
 * Locks, in the order they are taken:
 *   pci_fabric::lock	one caller at a time per fabric
 *   console_lock	see hush()
 *   pci_rescan_remove_lock	the PCI core's, around every change
 *   fabric_host::lock	config spaces and which functions are there; config
 *			operations run in any context, so it is a raw spinlock
 */

#define pr_fmt(fmt) "pci_fabric: " fmt

#include <kunit/test.h>
#include <linux/bitfield.h>
#include <linux/console.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/printk.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include "pci_fabric.h"

#define DEFAULT_VENDOR	PCI_VENDOR_ID_REDHAT
#define DEFAULT_DEVICE	0xfab0

/* Layout of config space */
#define PCIE_POS	0x40
#define CONFIG_SIZE	0x180	/* above this, all reads as zero */
#define HEADER_SIZE	64	/* every function has that much */
#define VECTOR_BITS	256	/* of an Egress Control Vector, at most */

/*
 * Limit of nested bridges. The PCI core looks for a bus recursively, and a
 * device's path has to fit into a uevent.
 */
#define MAX_DEPTH	100

#define DEFAULT_MPSS	512
#define DEFAULT_MPS	128

/* Bus addresses that 32-bit BARs can have; those of I/O ports */
#define LOW_START	SZ_1G
#define LOW_END		0xfebfffffULL
#define IO_START	0x1000
#define IO_END		0xffff

/* Windows of a port with nothing below, for devices that are plugged in */
#define EMPTY_PORT_MEM	SZ_1M
#define EMPTY_PORT_PREF	SZ_64M

/* The three address spaces that bridges have windows for, in that order */
enum fabric_space {
	SPACE_IO,
	SPACE_MEM,
	SPACE_PREF,
	SPACES
};

static const struct {
	unsigned long flags;	/* IORESOURCE_* of a window */
	u64 align;		/* of a bridge's window */
} fabric_spaces[SPACES] = {
	[SPACE_IO] = { IORESOURCE_IO, SZ_4K },
	[SPACE_MEM] = { IORESOURCE_MEM, SZ_1M },
	[SPACE_PREF] = {
		IORESOURCE_MEM | IORESOURCE_PREFETCH | IORESOURCE_MEM_64, SZ_1M
	},
};

/*
 * struct fabric_window - the addresses that a bus has in one space
 * @start: bus address
 * @size: of everything on the bus and below it, later with room to move
 * @largest: greatest BAR on the bus itself
 * @aligns: the alignments that occur, or-ed; each is a power of two
 */
struct fabric_window {
	u64 start;
	u64 size;
	u64 largest;
	u64 aligns;
};

/*
 * struct fabric_item - something that takes addresses of the bus it is on: a
 * BAR, the VFs' BAR, or a bridge's window
 */
struct fabric_item {
	u64 start;
	u64 size;
	u64 align;
	enum fabric_space space;
};

#define ITEM_VF_BAR	PCI_STD_NUM_BARS
#define ITEM_WINDOW	(ITEM_VF_BAR + 1)
#define ITEMS		(ITEM_WINDOW + SPACES)

/*
 * struct fabric_bus - what is below a host bridge or a bridge
 * @host: host bridge that this bus is behind
 * @bridge: bridge that it is right below, NULL for a root bus
 * @functions: functions on it, by fabric_function::on_bus
 * @depth: number of bridges above
 * @hidden: config operations do not reach it yet
 * @window: its addresses
 * @number: bus number, 0 below a bridge that the PCI core switched off
 * @buses: bus numbers that it needs, with all buses below it
 * @next: number for the next bridge on it, while numbers are given
 */
struct fabric_bus {
	struct fabric_host *host;
	struct fabric_function *bridge;
	struct list_head functions;
	unsigned int depth;
	bool hidden;
	struct fabric_window window[SPACES];
	unsigned int number;
	unsigned int buses;
	unsigned int next;
};

/*
 * struct fabric_function - one function with a config space
 * @list: in pci_fabric::functions; what is above comes before what is below
 * @on_bus: in fabric_bus::functions
 * @node: what the test asked for, with a name of our own
 * @on: bus it is on
 * @bus: bus below it, if it is a bridge
 * @physfn: physical function, if it is a virtual one
 * @pdev: the PCI core's device, with a reference
 * @devfn: device and function number
 * @fail: reads fail
 * @going: is being unplugged
 * @acs: position of the ACS capability, or 0
 * @sriov: position of the SR-IOV capability, or 0
 * @vfs: number of virtual functions at present
 * @item: BARs and windows that it needs addresses for
 * @value: config space
 * @writable: the bits of it that software can write
 */
struct fabric_function {
	struct list_head list;
	struct list_head on_bus;
	struct pci_fabric_node node;
	struct fabric_bus *on;
	struct fabric_bus *bus;
	struct fabric_function *physfn;
	struct pci_dev *pdev;
	u8 devfn;
	bool fail;
	bool going;
	u16 acs;
	u16 sriov;
	unsigned int vfs;
	struct fabric_item item[ITEMS];
	u8 value[CONFIG_SIZE];
	u8 writable[CONFIG_SIZE];
};

/*
 * struct fabric_host - one host bridge
 * @sysdata: must be first: x86 takes each bus's sysdata for this
 * @list: in pci_fabric::hosts
 * @node: what the test asked for, with a name of our own
 * @bridge: the PCI core's side of it
 * @root: the PCI core's root bus, once it was scanned
 * @bus: root bus
 * @lock: protects what config operations see: @bus_at, the lists of
 *	functions of all buses, and the functions' config spaces
 * @bus_at: bus with that number, as bridges are programmed now
 * @busn: bus numbers
 * @window: CPU addresses; those of memory are reserved in iomem_resource
 */
struct fabric_host {
	struct pci_sysdata sysdata;
	struct list_head list;
	struct pci_fabric_node node;
	struct pci_host_bridge *bridge;
	struct pci_bus *root;
	struct fabric_bus bus;
	raw_spinlock_t lock;
	struct fabric_bus *bus_at[256];
	struct resource busn;
	struct resource io;
	struct resource *window[SPACES];
};

static_assert(offsetof(struct fabric_host, sysdata) == 0);

/*
 * struct pci_fabric - all that a test made at once
 * @lock: held by every caller
 * @parent: device that the host bridges are children of
 * @hosts: host bridges
 * @functions: all functions, what is above before what is below
 */
struct pci_fabric {
	struct mutex lock;	/* one caller at a time */
	struct platform_device *parent;
	struct list_head hosts;
	struct list_head functions;
};

/* What each kind is, and the kinds that it can be directly below */
static const struct {
	const char *name;
	int pcie_type;		/* -1: conventional */
	bool bridge;
	unsigned int below;
} fabric_kinds[] = {
	[PCI_FABRIC_HOST] = { "a host bridge", -1, true, 0 },
	[PCI_FABRIC_ROOT_PORT] = {
		"a root port", PCI_EXP_TYPE_ROOT_PORT, true,
		BIT(PCI_FABRIC_HOST)
	},
	[PCI_FABRIC_DMI_PORT] = {
		"a root port to a chipset", PCI_EXP_TYPE_ROOT_PORT, false,
		BIT(PCI_FABRIC_HOST)
	},
	[PCI_FABRIC_RC_ENDPOINT] = {
		"a root complex endpoint", PCI_EXP_TYPE_RC_END, false,
		BIT(PCI_FABRIC_HOST)
	},
	[PCI_FABRIC_UPSTREAM] = {
		"an upstream port", PCI_EXP_TYPE_UPSTREAM, true,
		BIT(PCI_FABRIC_ROOT_PORT) | BIT(PCI_FABRIC_DOWNSTREAM)
	},
	[PCI_FABRIC_DOWNSTREAM] = {
		"a downstream port", PCI_EXP_TYPE_DOWNSTREAM, true,
		BIT(PCI_FABRIC_UPSTREAM)
	},
	[PCI_FABRIC_ENDPOINT] = {
		/* On a root bus: seen in virtual machines */
		"an endpoint", PCI_EXP_TYPE_ENDPOINT, false,
		BIT(PCI_FABRIC_ROOT_PORT) | BIT(PCI_FABRIC_DOWNSTREAM) |
		BIT(PCI_FABRIC_HOST)
	},
	[PCI_FABRIC_PCI_BRIDGE] = {
		"a PCIe to PCI bridge", PCI_EXP_TYPE_PCI_BRIDGE, true,
		BIT(PCI_FABRIC_ROOT_PORT) | BIT(PCI_FABRIC_DOWNSTREAM) |
		BIT(PCI_FABRIC_HOST)
	},
	[PCI_FABRIC_PCI_PCI_BRIDGE] = {
		"a PCI bridge", -1, true,
		BIT(PCI_FABRIC_PCI_BRIDGE) | BIT(PCI_FABRIC_PCI_PCI_BRIDGE) |
		BIT(PCI_FABRIC_HOST)
	},
	[PCI_FABRIC_PCI_DEVICE] = {
		"a PCI device", -1, false,
		BIT(PCI_FABRIC_PCI_BRIDGE) | BIT(PCI_FABRIC_PCI_PCI_BRIDGE) |
		BIT(PCI_FABRIC_HOST)
	},
};

static bool is_pcie(const struct fabric_function *function)
{
	return fabric_kinds[function->node.kind].pcie_type >= 0;
}

/* Has a link below it that ends at one device, number 0 */
static bool is_port(enum pci_fabric_kind kind)
{
	return kind == PCI_FABRIC_ROOT_PORT || kind == PCI_FABRIC_DOWNSTREAM;
}

/*
 * The console, while the PCI core works on a fabric
 */

static DEFINE_MUTEX(hush_lock);
static unsigned int hush_depth;
static int hush_saved;

/*
 * The PCI core logs a dozen lines about each device. On a serial console they
 * take longer than everything else, so they only go to the log. The level
 * can't stay lowered, as the results of KUnit have no higher priority.
 */
static void hush(void)
{
	guard(mutex)(&hush_lock);

	if (hush_depth++)
		return;
	/* Flush the console first, including its last line */
	_printk(KERN_DEBUG pr_fmt("only warnings go to the console now\n"));
	console_lock();
	console_unlock();
	hush_saved = console_loglevel;
	console_loglevel = min(console_loglevel, LOGLEVEL_NOTICE);
}

static void unhush(void)
{
	guard(mutex)(&hush_lock);

	if (!--hush_depth)
		console_loglevel = hush_saved;
}

/*
 * Config space
 */

static u32 config_get(const struct fabric_function *function, int where,
		      int size)
{
	u32 value = 0;
	int i;

	for (i = 0; i < size && where + i < CONFIG_SIZE; i++)
		value |= function->value[where + i] << (8 * i);
	return value;
}

/* Bus numbers decide what config operations reach */
static void config_renumber(struct fabric_function *function)
{
	unsigned int number = function->value[PCI_SECONDARY_BUS];
	struct fabric_bus *bus = function->bus;
	struct fabric_host *host = bus->host;

	lockdep_assert_held(&host->lock);

	if (host->bus_at[bus->number] == bus)
		host->bus_at[bus->number] = NULL;
	bus->number = number;
	if (number)
		host->bus_at[number] = bus;
}

/* @forced: writes read-only bits too */
static void config_put(struct fabric_function *function, int where, int size,
		       u32 value, bool forced)
{
	int i;

	for (i = 0; i < size && where + i < CONFIG_SIZE; i++) {
		u8 mask = forced ? 0xff : function->writable[where + i];
		u8 *byte = &function->value[where + i];

		*byte = (*byte & ~mask) | ((value >> (8 * i)) & mask);
	}
	if (function->bus && where <= PCI_SECONDARY_BUS &&
	    where + size > PCI_SECONDARY_BUS)
		config_renumber(function);
}

static struct fabric_function *find_devfn(struct fabric_bus *bus, u8 devfn)
{
	struct fabric_function *function;

	list_for_each_entry(function, &bus->functions, on_bus)
		if (function->devfn == devfn)
			return function;
	return NULL;
}

static struct fabric_function *config_target(struct fabric_host *host,
					     struct pci_bus *bus, u8 devfn)
{
	struct fabric_bus *at = host->bus_at[bus->number];

	lockdep_assert_held(&host->lock);

	return at && !at->hidden ? find_devfn(at, devfn) : NULL;
}

/* Do config operations reach these registers? */
static bool config_reaches(const struct fabric_function *function, int where,
			   int size)
{
	unsigned int end = function->node.config_size;

	return !end || where + size <= end;
}

static int fabric_config_read(struct pci_bus *bus, unsigned int devfn,
			      int where, int size, u32 *value)
{
	struct fabric_host *host = bus->sysdata;
	struct fabric_function *function;
	int rc = PCIBIOS_DEVICE_NOT_FOUND;
	unsigned long flags;

	raw_spin_lock_irqsave(&host->lock, flags);
	function = config_target(host, bus, devfn);
	if (function && !config_reaches(function, where, size)) {
		PCI_SET_ERROR_RESPONSE(value);
		rc = PCIBIOS_BAD_REGISTER_NUMBER;
	} else if (function && !READ_ONCE(function->fail)) {
		*value = config_get(function, where, size);
		rc = PCIBIOS_SUCCESSFUL;
	} else {
		PCI_SET_ERROR_RESPONSE(value);
	}
	raw_spin_unlock_irqrestore(&host->lock, flags);
	return rc;
}

static int fabric_config_write(struct pci_bus *bus, unsigned int devfn,
			       int where, int size, u32 value)
{
	struct fabric_host *host = bus->sysdata;
	struct fabric_function *function;
	int rc = PCIBIOS_DEVICE_NOT_FOUND;
	unsigned long flags;

	raw_spin_lock_irqsave(&host->lock, flags);
	function = config_target(host, bus, devfn);
	if (function && !config_reaches(function, where, size)) {
		rc = PCIBIOS_BAD_REGISTER_NUMBER;
	} else if (function) {
		config_put(function, where, size, value, false);
		rc = PCIBIOS_SUCCESSFUL;
	}
	raw_spin_unlock_irqrestore(&host->lock, flags);
	return rc;
}

/* Sets the bits of @mask to @value's; not for use in config operations */
static void config_set(struct fabric_function *function, int where, int size,
		       u32 mask, u32 value)
{
	struct fabric_host *host = function->on->host;
	unsigned long flags;

	raw_spin_lock_irqsave(&host->lock, flags);
	value = (config_get(function, where, size) & ~mask) | (value & mask);
	config_put(function, where, size, value, true);
	raw_spin_unlock_irqrestore(&host->lock, flags);
}

static struct pci_ops fabric_ops = {
	.read = fabric_config_read,
	.write = fabric_config_write,
};

/*
 * What config space has at first. None of these take a lock: the function
 * cannot be reached yet.
 */

static void set8(struct fabric_function *function, int where, u8 value,
		 u8 writable)
{
	function->value[where] = value;
	function->writable[where] = writable;
}

static void set16(struct fabric_function *function, int where, u16 value,
		  u16 writable)
{
	put_unaligned_le16(value, &function->value[where]);
	put_unaligned_le16(writable, &function->writable[where]);
}

static void set32(struct fabric_function *function, int where, u32 value,
		  u32 writable)
{
	put_unaligned_le32(value, &function->value[where]);
	put_unaligned_le32(writable, &function->writable[where]);
}

/* Max_Payload_Size is encoded as powers of two from 128 bytes up */
static u16 payload_code(unsigned int bytes)
{
	return ilog2(bytes) - 7;
}

static void set_mem64(struct fabric_function *function, int where, u64 start,
		      u64 size)
{
	u64 mask = ~(size - 1);

	set32(function, where, lower_32_bits(start) |
	      PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
	      lower_32_bits(mask) & PCI_BASE_ADDRESS_MEM_MASK);
	set32(function, where + 4, upper_32_bits(start), upper_32_bits(mask));
}

static void set_bars(struct fabric_function *function)
{
	int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		const struct pci_fabric_bar *bar = &function->node.bar[i];
		int where = PCI_BASE_ADDRESS_0 + 4 * i;
		u64 start = function->item[i].start;
		u32 mask = ~(bar->size - 1);

		if (!bar->size)
			continue;
		if (bar->flags & PCI_FABRIC_BAR_IO)
			set32(function, where,
			      start | PCI_BASE_ADDRESS_SPACE_IO,
			      mask & PCI_BASE_ADDRESS_IO_MASK);
		else if (bar->flags & PCI_FABRIC_BAR_32)
			set32(function, where, start,
			      mask & PCI_BASE_ADDRESS_MEM_MASK);
		else
			set_mem64(function, where, start, bar->size);
	}
}

static void set_windows(struct fabric_function *function)
{
	const struct fabric_item *io = &function->item[ITEM_WINDOW + SPACE_IO];
	const struct fabric_item *mem = &function->item[ITEM_WINDOW + SPACE_MEM];
	const struct fabric_item *pref =
		&function->item[ITEM_WINDOW + SPACE_PREF];
	/* A window whose end is below its start is closed */
	u64 start, end;

	start = io->size ? io->start : 0xf000;
	end = io->size ? io->start + io->size - 1 : 0;
	set8(function, PCI_IO_BASE, (start >> 8) & PCI_IO_RANGE_MASK, 0xf0);
	set8(function, PCI_IO_LIMIT, (end >> 8) & PCI_IO_RANGE_MASK, 0xf0);

	start = mem->size ? mem->start : 0xfff00000;
	end = mem->size ? mem->start + mem->size - 1 : 0;
	set16(function, PCI_MEMORY_BASE, (start >> 16) & 0xfff0, 0xfff0);
	set16(function, PCI_MEMORY_LIMIT, (end >> 16) & 0xfff0, 0xfff0);

	start = pref->size ? pref->start : 0xfff00000;
	end = pref->size ? pref->start + pref->size - 1 : 0;
	set16(function, PCI_PREF_MEMORY_BASE,
	      ((start >> 16) & 0xfff0) | PCI_PREF_RANGE_TYPE_64, 0xfff0);
	set16(function, PCI_PREF_MEMORY_LIMIT,
	      ((end >> 16) & 0xfff0) | PCI_PREF_RANGE_TYPE_64, 0xfff0);
	set32(function, PCI_PREF_BASE_UPPER32, upper_32_bits(start), ~0);
	set32(function, PCI_PREF_LIMIT_UPPER32, upper_32_bits(end), ~0);
}

static void set_header(struct fabric_function *function)
{
	const struct pci_fabric_node *node = &function->node;
	bool vf = function->physfn;
	u16 class = node->class ?: function->bus ? PCI_CLASS_BRIDGE_PCI :
						   PCI_CLASS_MEMORY_OTHER;

	set16(function, PCI_VENDOR_ID, vf ? 0xffff : node->vendor, 0);
	set16(function, PCI_DEVICE_ID, vf ? 0xffff : node->device_id, 0);
	set16(function, PCI_COMMAND, 0,
	      vf ? PCI_COMMAND_MASTER :
	      PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
	      PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	set16(function, PCI_CLASS_DEVICE, class, 0);
	if (!vf)
		set8(function, PCI_CACHE_LINE_SIZE, 0, 0xff);
	if (!is_pcie(function))
		set8(function, PCI_LATENCY_TIMER, 0, 0xf8);
	set8(function, PCI_HEADER_TYPE, function->bus ?
	     PCI_HEADER_TYPE_BRIDGE : PCI_HEADER_TYPE_NORMAL, 0);
	set8(function, PCI_INTERRUPT_LINE, 0, vf ? 0 : 0xff);
	if (is_pcie(function)) {
		set16(function, PCI_STATUS, PCI_STATUS_CAP_LIST, 0);
		set8(function, PCI_CAPABILITY_LIST, PCIE_POS, 0);
	}

	if (!function->bus) {
		set16(function, PCI_SUBSYSTEM_VENDOR_ID, node->vendor, 0);
		set16(function, PCI_SUBSYSTEM_ID, node->device_id, 0);
	} else {
		set8(function, PCI_PRIMARY_BUS, 0, 0xff);
		set8(function, PCI_SECONDARY_BUS, 0, 0xff);
		set8(function, PCI_SUBORDINATE_BUS, 0, 0xff);
		set16(function, PCI_BRIDGE_CONTROL, 0,
		      PCI_BRIDGE_CTL_PARITY | PCI_BRIDGE_CTL_SERR |
		      PCI_BRIDGE_CTL_ISA | PCI_BRIDGE_CTL_VGA |
		      PCI_BRIDGE_CTL_MASTER_ABORT | PCI_BRIDGE_CTL_BUS_RESET);
	}
}

static void set_pcie(struct fabric_function *function)
{
	const struct pci_fabric_node *node = &function->node;
	int type = fabric_kinds[node->kind].pcie_type;
	u16 speed = PCI_EXP_LNKSTA_CLS_8_0GB | PCI_EXP_LNKSTA_NLW_X8;

	set8(function, PCIE_POS, PCI_CAP_ID_EXP, 0);
	set16(function, PCIE_POS + PCI_EXP_FLAGS,
	      FIELD_PREP(PCI_EXP_FLAGS_VERS, 2) |
	      FIELD_PREP(PCI_EXP_FLAGS_TYPE, type), 0);
	set32(function, PCIE_POS + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER |
	      FIELD_PREP(PCI_EXP_DEVCAP_PAYLOAD, payload_code(node->mpss)), 0);
	/* A virtual function uses its PF's value; its own reads as zero */
	if (!function->physfn)
		set16(function, PCIE_POS + PCI_EXP_DEVCTL,
		      PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN |
		      PCI_EXP_DEVCTL_READRQ_512B,
		      PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE |
		      PCI_EXP_DEVCTL_FERE | PCI_EXP_DEVCTL_URRE |
		      PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_PAYLOAD |
		      PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ);
	if (type == PCI_EXP_TYPE_RC_END)
		return;

	set32(function, PCIE_POS + PCI_EXP_LNKCAP, PCI_EXP_LNKCAP_SLS_8_0GB |
	      FIELD_PREP(PCI_EXP_LNKCAP_MLW, 8) |
	      FIELD_PREP(PCI_EXP_LNKCAP_PN, node->port), 0);
	set16(function, PCIE_POS + PCI_EXP_LNKCTL, 0,
	      PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_LD |
	      PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES);
	set16(function, PCIE_POS + PCI_EXP_LNKSTA, speed, 0);
	if (type == PCI_EXP_TYPE_ROOT_PORT)
		set16(function, PCIE_POS + PCI_EXP_RTCTL, 0,
		      PCI_EXP_RTCTL_SECEE | PCI_EXP_RTCTL_SENFEE |
		      PCI_EXP_RTCTL_SEFEE | PCI_EXP_RTCTL_PMEIE);
	set32(function, PCIE_POS + PCI_EXP_LNKCAP2, PCI_EXP_LNKCAP2_SLS_2_5GB |
	      PCI_EXP_LNKCAP2_SLS_5_0GB | PCI_EXP_LNKCAP2_SLS_8_0GB, 0);
	set16(function, PCIE_POS + PCI_EXP_LNKCTL2, PCI_EXP_LNKCTL2_TLS_8_0GT,
	      PCI_EXP_LNKCTL2_TLS);
}

/* Lays extended capabilities one after the other; returns where this one is */
static int add_ext_cap(struct fabric_function *function, int *next, u16 id,
		       int size)
{
	int pos = *next, last = PCI_CFG_SPACE_SIZE;

	if (pos > PCI_CFG_SPACE_SIZE) {
		u32 header;

		while (PCI_EXT_CAP_NEXT(config_get(function, last, 4)))
			last = PCI_EXT_CAP_NEXT(config_get(function, last, 4));
		header = config_get(function, last, 4) | pos << 20;
		set32(function, last, header, 0);
	}
	set32(function, pos, id | 1 << 16, 0);
	*next = pos + size;
	return pos;
}

static void set_acs(struct fabric_function *function, int *next, u16 cap,
		    u8 vector_bits)
{
	int i, pos = add_ext_cap(function, next, PCI_EXT_CAP_ID_ACS,
				 PCI_ACS_EGRESS_CTL_V + VECTOR_BITS / 8);

	cap &= ~PCI_FABRIC_ACS_EMPTY;
	function->acs = pos;
	if (cap & PCI_ACS_EC) {
		int bits = vector_bits ?: VECTOR_BITS;

		for (i = 0; i < bits; i++)
			function->writable[pos + PCI_ACS_EGRESS_CTL_V + i / 8] |=
				BIT(i % 8);
		set16(function, pos + PCI_ACS_CAP, cap | vector_bits << 8, 0);
	} else {
		set16(function, pos + PCI_ACS_CAP, cap, 0);
	}
	set16(function, pos + PCI_ACS_CTRL, 0, cap);
}

static void set_sriov(struct fabric_function *function, int *next, int offset)
{
	const struct pci_fabric_node *node = &function->node;
	int pos = add_ext_cap(function, next, PCI_EXT_CAP_ID_SRIOV,
			      PCI_EXT_CAP_SRIOV_SIZEOF);

	function->sriov = pos;
	set16(function, pos + PCI_SRIOV_CTRL, 0,
	      PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE);
	set16(function, pos + PCI_SRIOV_INITIAL_VF, node->total_vfs, 0);
	set16(function, pos + PCI_SRIOV_TOTAL_VF, node->total_vfs, 0);
	set16(function, pos + PCI_SRIOV_NUM_VF, 0, 0xffff);
	set8(function, pos + PCI_SRIOV_FUNC_LINK, node->function, 0);
	set16(function, pos + PCI_SRIOV_VF_OFFSET, offset, 0);
	set16(function, pos + PCI_SRIOV_VF_STRIDE, 1, 0);
	set16(function, pos + PCI_SRIOV_VF_DID, node->device_id, 0);
	set32(function, pos + PCI_SRIOV_SUP_PGSIZE, 1, 0);
	set32(function, pos + PCI_SRIOV_SYS_PGSIZE, 1, 1);
	if (node->vf_bar0)
		set_mem64(function, pos + PCI_SRIOV_BAR,
			  function->item[ITEM_VF_BAR].start, node->vf_bar0);
}

/* @vf_offset: from this function's number to that of its first VF */
static void set_config(struct fabric_function *function, int vf_offset)
{
	const struct pci_fabric_node *node = &function->node;
	int next = PCI_CFG_SPACE_SIZE;

	set_header(function);
	if (!function->physfn)
		set_bars(function);
	if (function->bus)
		set_windows(function);
	if (is_pcie(function))
		set_pcie(function);
	if (node->acs_cap)
		set_acs(function, &next, node->acs_cap, node->acs_vector);
	if (node->total_vfs)
		set_sriov(function, &next, vf_offset);
}

/* Function 0 of a device says whether there are others */
static void set_multi_function(struct fabric_bus *bus, u8 devfn)
{
	struct fabric_function *zero = find_devfn(bus, devfn & ~7);
	struct fabric_function *other;
	bool several = false;

	if (!zero)
		return;
	list_for_each_entry(other, &bus->functions, on_bus)
		if (other != zero && !other->physfn &&
		    PCI_SLOT(other->devfn) == PCI_SLOT(devfn))
			several = true;
	config_set(zero, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_MFD,
		   several ? PCI_HEADER_TYPE_MFD : 0);
	if (zero->pdev)
		zero->pdev->multifunction = several;
}

/*
 * From the test's table to functions
 */

static struct fabric_function *find_function(struct pci_fabric *fabric,
					     const char *name)
{
	struct fabric_function *function;

	list_for_each_entry(function, &fabric->functions, list)
		if (!strcmp(function->node.name, name))
			return function;
	return NULL;
}

static struct fabric_host *find_host(struct pci_fabric *fabric,
				     const char *name)
{
	struct fabric_host *host;

	list_for_each_entry(host, &fabric->hosts, list)
		if (!strcmp(host->node.name, name))
			return host;
	return NULL;
}

#define refuse(node, error, fmt, ...) ({				\
	pr_err("%s: " fmt "\n", (node)->name ?: "(no name)",		\
	       ##__VA_ARGS__);						\
	error;								\
})

static int check_bars(const struct pci_fabric_node *node)
{
	int count = fabric_kinds[node->kind].bridge ? 2 : PCI_STD_NUM_BARS;
	int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		const struct pci_fabric_bar *bar = &node->bar[i];
		bool io = bar->flags & PCI_FABRIC_BAR_IO;
		bool wide = !(bar->flags & (PCI_FABRIC_BAR_IO |
					    PCI_FABRIC_BAR_32));

		if (!bar->size)
			continue;
		if (i + wide >= count)
			return refuse(node, -EINVAL,
				      "there is no place for BAR %d", i);
		if (wide && node->bar[i + 1].size)
			return refuse(node, -EINVAL,
				      "BAR %d is the upper half of BAR %d",
				      i + 1, i);
		if (!is_power_of_2(bar->size))
			return refuse(node, -EINVAL,
				      "size of BAR %d is no power of two", i);
		if (bar->size < (io ? 4 : 16) ||
		    bar->size > (io ? SZ_256 : wide ? SZ_1T : SZ_1G))
			return refuse(node, -EINVAL,
				      "BAR %d is too small or too large", i);
	}
	return 0;
}

static bool bad_payload(unsigned int bytes)
{
	return !is_power_of_2(bytes) || bytes < 128 || bytes > 4096;
}

/* @node has its defaults filled in */
static int check_node(const struct pci_fabric_node *node)
{
	bool pcie = fabric_kinds[node->kind].pcie_type >= 0;
	u16 acs = PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_RR | PCI_ACS_CR |
		  PCI_ACS_UF | PCI_ACS_EC | PCI_ACS_DT | PCI_FABRIC_ACS_EMPTY;

	if (node->device > 31 || node->function > 7)
		return refuse(node, -EINVAL, "no such device or function: %u.%u",
			      node->device, node->function);
	if (node->config_size && (node->config_size < HEADER_SIZE ||
				  node->config_size % 4))
		return refuse(node, -EINVAL,
			      "config space can't end after %u bytes",
			      node->config_size);
	if ((node->acs_cap | node->vf_acs_cap) & ~acs)
		return refuse(node, -EINVAL, "no such ACS bits");
	if (node->acs_ctrl & ~node->acs_cap)
		return refuse(node, -EINVAL,
			      "ACS control %#x has more than the capability, %#x",
			      node->acs_ctrl, node->acs_cap);
	if (!pcie && (node->acs_cap || node->port || node->total_vfs))
		return refuse(node, -EINVAL,
			      "%s has no ACS, port number or VFs",
			      fabric_kinds[node->kind].name);
	if (bad_payload(node->mpss) || bad_payload(node->mps) ||
	    node->mps > node->mpss)
		return refuse(node, -EINVAL,
			      "payload %u of at most %u bytes is not possible",
			      node->mps, node->mpss);
	if (node->total_vfs && node->kind != PCI_FABRIC_ENDPOINT &&
	    node->kind != PCI_FABRIC_RC_ENDPOINT)
		return refuse(node, -EINVAL, "%s has no VFs",
			      fabric_kinds[node->kind].name);
	if (!node->total_vfs && (node->vf_bar0 || node->vf_acs_cap))
		return refuse(node, -EINVAL, "it says what VFs are, but has none");
	if (node->vf_bar0 && (!is_power_of_2(node->vf_bar0) ||
			      node->vf_bar0 < PAGE_SIZE ||
			      node->vf_bar0 > SZ_1T))
		return refuse(node, -EINVAL,
			      "VFs' BAR 0 is no power of two, or too small or too large");
	return check_bars(node);
}

/* Config operations reach a function after this, until it is hidden */
static void show_function(struct fabric_function *function)
{
	struct fabric_host *host = function->on->host;
	unsigned long flags;

	raw_spin_lock_irqsave(&host->lock, flags);
	list_add_tail(&function->on_bus, &function->on->functions);
	raw_spin_unlock_irqrestore(&host->lock, flags);
}

static void hide_function(struct fabric_function *function)
{
	struct fabric_host *host = function->on->host;
	struct fabric_bus *bus = function->bus;
	unsigned long flags;

	raw_spin_lock_irqsave(&host->lock, flags);
	list_del(&function->on_bus);
	if (bus && host->bus_at[bus->number] == bus)
		host->bus_at[bus->number] = NULL;
	raw_spin_unlock_irqrestore(&host->lock, flags);
}

static void free_function(struct fabric_function *function)
{
	pci_dev_put(function->pdev);
	kfree(function->bus);
	kfree(function->node.name);
	kfree(function);
}

/* Takes ownership of @name, even if it fails */
static struct fabric_function *new_function(const struct pci_fabric_node *node,
					    const char *name, bool bridge)
{
	struct fabric_function *function;

	function = kzalloc(sizeof(*function), GFP_KERNEL);
	if (!name || !function)
		goto no_memory;
	if (bridge) {
		function->bus = kzalloc(sizeof(*function->bus), GFP_KERNEL);
		if (!function->bus)
			goto no_memory;
		INIT_LIST_HEAD(&function->bus->functions);
		function->bus->bridge = function;
		function->bus->hidden = true;
	}
	function->node = *node;
	function->node.name = name;
	function->devfn = PCI_DEVFN(node->device, node->function);
	return function;

no_memory:
	kfree(name);
	kfree(function);
	return NULL;
}

static int add_host(struct pci_fabric *fabric,
		    const struct pci_fabric_node *node)
{
	struct fabric_host *host;

	if (node->below)
		return refuse(node, -EINVAL, "a host bridge is below nothing");
	if (node->domain < 0)
		return refuse(node, -EINVAL, "no such domain: %d", node->domain);
	if (node->node < 0 || (node->node && !node_online(node->node - 1)))
		return refuse(node, -EINVAL, "NUMA node %d is not online",
			      node->node - 1);

	host = kzalloc(sizeof(*host), GFP_KERNEL);
	if (!host)
		return -ENOMEM;
	host->node = *node;
	host->node.name = kstrdup(node->name, GFP_KERNEL);
	if (!host->node.name) {
		kfree(host);
		return -ENOMEM;
	}
	host->sysdata.domain = node->domain;
	host->sysdata.node = node->node ? node->node - 1 : NUMA_NO_NODE;
	raw_spin_lock_init(&host->lock);
	INIT_LIST_HEAD(&host->bus.functions);
	host->bus.host = host;
	host->bus.hidden = true;
	host->bus.number = node->bus;
	host->bus_at[node->bus] = &host->bus;
	list_add_tail(&host->list, &fabric->hosts);
	return 0;
}

/* Adds @node to the fabric, but not yet to the PCI core */
static struct fabric_function *
add_function(struct pci_fabric *fabric, const struct pci_fabric_node *from)
{
	struct pci_fabric_node node = *from;
	struct fabric_function *function, *parent = NULL;
	enum pci_fabric_kind parent_kind;
	struct fabric_host *host = NULL;
	struct fabric_bus *on;
	int rc;

	node.vendor = node.vendor ?: DEFAULT_VENDOR;
	node.device_id = node.device_id ?: DEFAULT_DEVICE;
	node.mpss = node.mpss ?: max(node.mps, DEFAULT_MPSS);
	node.mps = node.mps ?: DEFAULT_MPS;
	rc = check_node(&node);
	if (rc)
		return ERR_PTR(rc);

	if (node.below) {
		host = find_host(fabric, node.below);
		parent = find_function(fabric, node.below);
	}
	if (!host && (!parent || !parent->bus))
		return ERR_PTR(refuse(&node, -EINVAL,
				      "there is no bridge %s to be below",
				      node.below ?: "(no name)"));
	on = host ? &host->bus : parent->bus;
	parent_kind = host ? PCI_FABRIC_HOST : parent->node.kind;
	if (!(fabric_kinds[node.kind].below & BIT(parent_kind)))
		return ERR_PTR(refuse(&node, -EINVAL, "%s cannot be below %s",
				      fabric_kinds[node.kind].name,
				      fabric_kinds[parent_kind].name));
	if (is_port(parent_kind) && node.device)
		return ERR_PTR(refuse(&node, -EINVAL,
				      "only device 0 can be below a port"));
	if (fabric_kinds[node.kind].bridge && on->depth == MAX_DEPTH)
		return ERR_PTR(refuse(&node, -EINVAL,
				      "there are %d bridges above already",
				      MAX_DEPTH));
	if (find_devfn(on, PCI_DEVFN(node.device, node.function)))
		return ERR_PTR(refuse(&node, -EEXIST,
				      "%u.%u is taken on that bus",
				      node.device, node.function));

	function = new_function(&node, kstrdup(node.name, GFP_KERNEL),
				fabric_kinds[node.kind].bridge);
	if (!function)
		return ERR_PTR(-ENOMEM);
	function->on = on;
	if (function->bus) {
		function->bus->host = on->host;
		function->bus->depth = on->depth + 1;
	}
	list_add_tail(&function->list, &fabric->functions);
	show_function(function);
	return function;
}

/* Removes a function from the PCI core, if it is there, and from the fabric */
static void remove_function(struct fabric_function *function)
{
	if (function->pdev && !function->physfn)
		pci_stop_and_remove_bus_device_locked(function->pdev);
	hide_function(function);
	list_del(&function->list);
	free_function(function);
}

static int check_name(struct pci_fabric *fabric,
		      const struct pci_fabric_node *node)
{
	/* "name/index" is a virtual function */
	if (!node->name || !*node->name || strchr(node->name, '/'))
		return refuse(node, -EINVAL, "this is no name");
	if (find_function(fabric, node->name) || find_host(fabric, node->name))
		return refuse(node, -EEXIST, "the name is there twice");
	if (node->kind >= ARRAY_SIZE(fabric_kinds))
		return refuse(node, -EINVAL, "no such kind: %d", node->kind);
	return 0;
}

static int add_nodes(struct pci_fabric *fabric,
		     const struct pci_fabric_node *nodes, size_t count)
{
	struct fabric_function *function;
	size_t i;
	int rc;

	for (i = 0; i < count; i++) {
		rc = check_name(fabric, &nodes[i]);
		if (rc)
			return rc;
		if (nodes[i].kind == PCI_FABRIC_HOST) {
			rc = add_host(fabric, &nodes[i]);
			if (rc)
				return rc;
		} else {
			function = add_function(fabric, &nodes[i]);
			if (IS_ERR(function))
				return PTR_ERR(function);
		}
	}
	list_for_each_entry(function, &fabric->functions, list)
		if (!find_devfn(function->on, function->devfn & ~7))
			return refuse(&function->node, -EINVAL,
				      "the device has no function 0");
	return 0;
}

/*
 * What firmware does: addresses and bus numbers
 */

/* Addresses that a function itself needs, without devices below it */
static void size_bars(struct fabric_function *function)
{
	const struct pci_fabric_node *node = &function->node;
	int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		function->item[i] = (struct fabric_item) {
			.size = node->bar[i].size,
			.align = node->bar[i].size,
			.space = node->bar[i].flags & PCI_FABRIC_BAR_IO ?
					SPACE_IO :
				 node->bar[i].flags & PCI_FABRIC_BAR_32 ?
					SPACE_MEM : SPACE_PREF,
		};
	function->item[ITEM_VF_BAR] = (struct fabric_item) {
		.size = node->vf_bar0 * node->total_vfs,
		.align = node->vf_bar0,
		.space = SPACE_PREF,
	};
}

/*
 * The windows of a bridge, from the sizes of everything below. Each has room
 * for one more of the largest BAR, so that it can be moved; that of a port with
 * nothing below has room for devices that may be plugged in.
 */
static void size_windows(struct fabric_function *function)
{
	struct fabric_bus *bus = function->bus;
	int i;

	if (is_port(function->node.kind) && list_empty(&bus->functions)) {
		bus->window[SPACE_MEM].size = EMPTY_PORT_MEM;
		bus->window[SPACE_PREF].size = EMPTY_PORT_PREF;
		bus->window[SPACE_PREF].aligns = EMPTY_PORT_PREF;
	}
	for (i = 0; i < SPACES; i++) {
		struct fabric_window *window = &bus->window[i];
		u64 align;

		if (!window->size)
			continue;
		window->aligns |= fabric_spaces[i].align;
		align = 1ULL << __fls(window->aligns);
		window->size = ALIGN(window->size + window->largest, align);
		function->item[ITEM_WINDOW + i] = (struct fabric_item) {
			.size = window->size,
			.align = align,
			.space = i,
		};
	}
}

static void size_all(struct pci_fabric *fabric)
{
	struct fabric_function *function;
	int i;

	/* From below to above */
	list_for_each_entry_reverse(function, &fabric->functions, list) {
		size_bars(function);
		if (function->bus) {
			size_windows(function);
			function->bus->buses++;
			function->on->buses += function->bus->buses;
		}
		for (i = 0; i < ITEMS; i++) {
			const struct fabric_item *item = &function->item[i];
			struct fabric_window *window;

			if (!item->size)
				continue;
			window = &function->on->window[item->space];
			window->size += item->size;
			window->aligns |= item->align;
			if (i < ITEM_WINDOW)
				window->largest = max(window->largest,
						      item->size);
		}
	}
}

/*
 * Every size is a multiple of its alignment, so there are no gaps if the items
 * with the greatest alignment come first.
 */
static void place_items(struct fabric_bus *bus, enum fabric_space space)
{
	struct fabric_window *window = &bus->window[space];
	u64 at = window->start, aligns, align;
	struct fabric_function *function;
	int i;

	for (aligns = window->aligns; aligns; aligns &= ~align) {
		align = 1ULL << __fls(aligns);
		list_for_each_entry(function, &bus->functions, on_bus) {
			for (i = 0; i < ITEMS; i++) {
				struct fabric_item *item = &function->item[i];

				if (item->space != space || !item->size ||
				    item->align != align)
					continue;
				item->start = at;
				at += item->size;
				if (i >= ITEM_WINDOW)
					function->bus->window[space].start =
						item->start;
			}
		}
	}
}

/* Distance from @function to its first VF: behind all else on the bus */
static int vf_offset(const struct fabric_function *function)
{
	const struct fabric_function *other;
	unsigned int first = 0, end;

	list_for_each_entry(other, &function->on->functions, on_bus) {
		end = other->devfn | 7;
		if (other->sriov)
			end = max(end, other->devfn +
				  config_get(other, other->sriov +
					     PCI_SRIOV_VF_OFFSET, 2) +
				  other->node.total_vfs - 1);
		first = max(first, end + 1);
	}
	if (first + function->node.total_vfs > 256)
		return refuse(&function->node, -ENOSPC,
			      "there are no numbers for %u VFs on the bus",
			      function->node.total_vfs);
	return first - function->devfn;
}

static int configure(struct fabric_function *function)
{
	int offset = 0;

	if (function->node.total_vfs) {
		offset = vf_offset(function);
		if (offset < 0)
			return offset;
	}
	set_config(function, offset);
	set_multi_function(function->on, function->devfn);
	return 0;
}

/* Called when all sizes and the root buses' addresses are known */
static int place_all(struct pci_fabric *fabric)
{
	struct fabric_function *function;
	struct fabric_host *host;
	int i, rc;

	list_for_each_entry(host, &fabric->hosts, list) {
		host->bus.next = host->bus.number + 1;
		for (i = 0; i < SPACES; i++)
			place_items(&host->bus, i);
	}
	/* From above to below */
	list_for_each_entry(function, &fabric->functions, list) {
		struct fabric_bus *bus = function->bus;
		unsigned int number;

		if (bus)
			for (i = 0; i < SPACES; i++)
				place_items(bus, i);
		rc = configure(function);
		if (rc)
			return rc;
		if (!bus)
			continue;

		number = function->on->next;
		function->on->next += bus->buses;
		bus->next = number + 1;
		config_set(function, PCI_PRIMARY_BUS, 4, 0xffffff,
			   function->on->number | number << 8 |
			   (number + bus->buses - 1) << 16);
	}
	return 0;
}

/*
 * Host bridges
 */

static void release_memory(struct fabric_host *host)
{
	int i;

	for (i = SPACE_MEM; i < SPACES; i++)
		if (host->window[i] && host->window[i]->parent)
			release_resource(host->window[i]);
}

static void free_host(struct fabric_host *host)
{
	kfree(host->window[SPACE_MEM]);
	kfree(host->window[SPACE_PREF]);
	kfree(host->node.name);
	kfree(host);
}

/* Reserves unused CPU addresses, where pages can be made */
static int reserve_memory(struct fabric_host *host, enum fabric_space space,
			  u64 size)
{
	struct resource *res;

	res = request_free_mem_region(&iomem_resource, size, "pci_fabric");
	if (IS_ERR(res))
		return refuse(&host->node, PTR_ERR(res),
			      "there are no %llu bytes of addresses free", size);
	/* The PCI core and the test request resources inside of it */
	res->name = host->node.name;
	res->desc = IORES_DESC_NONE;
	res->flags = fabric_spaces[space].flags;
	host->window[space] = res;
	return 0;
}

static int set_host_windows(struct fabric_host *host)
{
	struct fabric_window *low = &host->bus.window[SPACE_MEM];
	struct fabric_window *high = &host->bus.window[SPACE_PREF];
	struct fabric_window *io = &host->bus.window[SPACE_IO];
	u64 offset = host->node.offset;
	u64 align, need;
	int rc;

	io->start = IO_START;
	if (io->size > IO_END + 1 - IO_START)
		return refuse(&host->node, -ENOSPC, "too many I/O ports");
	/* Not in ioport_resource, all of which the machine's host bridge has */
	host->io = (struct resource) {
		.name = host->node.name,
		.start = IO_START,
		.end = IO_END,
		.flags = IORESOURCE_IO,
	};
	host->window[SPACE_IO] = &host->io;

	low->start = LOW_START;
	need = max(low->size + low->largest, SZ_1M);
	if (need > LOW_END + 1 - LOW_START)
		return refuse(&host->node, -ENOSPC, "too much in 32-bit BARs");
	rc = reserve_memory(host, SPACE_MEM, need);
	if (rc)
		return rc;
	if (resource_size(host->window[SPACE_MEM]) > LOW_END + 1 - LOW_START)
		host->window[SPACE_MEM]->end =
			host->window[SPACE_MEM]->start + LOW_END - LOW_START;

	align = 1ULL << __fls(high->aligns | SZ_1M);
	if (offset & (align - 1))
		return refuse(&host->node, -EINVAL,
			      "offset %#llx is not aligned to %#llx",
			      offset, align);
	need = host->node.window ?:
	       ALIGN(high->size + high->largest, align) + align;
	if (need < high->size || need & (SZ_1M - 1))
		return refuse(&host->node, -ENOSPC,
			      "the window has %#llx bytes: less than %#llx, or no multiple of 1 MiB",
			      need, high->size);
	rc = reserve_memory(host, SPACE_PREF, need);
	if (rc)
		return rc;
	if (host->node.window)
		host->window[SPACE_PREF]->end =
			host->window[SPACE_PREF]->start + need - 1;
	/* As signed numbers, since the offset may be below zero */
	if ((s64)offset > (s64)host->window[SPACE_PREF]->start ||
	    (s64)(host->window[SPACE_PREF]->end - offset) < 0)
		return refuse(&host->node, -EINVAL, "offset %#llx is too large",
			      offset);
	high->start = ALIGN(host->window[SPACE_PREF]->start - offset, align);
	if (high->start + high->size - 1 >
	    host->window[SPACE_PREF]->end - offset)
		return refuse(&host->node, -ENOSPC,
			      "the window is too small for BARs so large");
	return 0;
}

static int check_buses(struct fabric_host *host)
{
	struct pci_bus *bus = NULL;

	host->busn = (struct resource) {
		.name = host->node.name,
		.start = host->bus.number,
		.end = host->bus.number + host->bus.buses,
		.flags = IORESOURCE_BUS,
	};
	if (host->busn.end > 255)
		return refuse(&host->node, -ENOSPC, "it needs too many buses");
	while ((bus = pci_find_next_bus(bus)))
		if (pci_domain_nr(bus) == host->node.domain &&
		    resource_overlaps(&bus->busn_res, &host->busn))
			return refuse(&host->node, -EBUSY,
				      "%pR of domain %#x is taken: there is %pR",
				      &host->busn, host->node.domain,
				      &bus->busn_res);
	return 0;
}

static void host_release(struct pci_host_bridge *bridge)
{
	free_host(bridge->release_data);
}

static void show_bus(struct fabric_bus *bus)
{
	struct fabric_host *host = bus->host;
	unsigned long flags;

	raw_spin_lock_irqsave(&host->lock, flags);
	bus->hidden = false;
	raw_spin_unlock_irqrestore(&host->lock, flags);
}

/* Registers the host bridge and its root bus; its functions come later */
static int scan_host(struct pci_fabric *fabric, struct fabric_host *host)
{
	struct pci_host_bridge *bridge;
	int rc, i;

	rc = check_buses(host);
	if (rc)
		return rc;

	bridge = pci_alloc_host_bridge(0);
	if (!bridge)
		return -ENOMEM;
	bridge->dev.parent = &fabric->parent->dev;
	set_dev_node(&bridge->dev, host->sysdata.node);
	bridge->sysdata = host;
	bridge->ops = &fabric_ops;
	bridge->busnr = host->node.bus;
	pci_add_resource(&bridge->windows, &host->busn);
	for (i = 0; i < SPACES; i++)
		pci_add_resource_offset(&bridge->windows, host->window[i],
					i == SPACE_IO ? 0 :
					i == SPACE_PREF ? host->node.offset :
					host->window[i]->start - LOW_START);
	/* From now on it is freed with the bridge's last reference */
	pci_set_host_bridge_release(bridge, host_release, host);
	host->bridge = bridge;

	pci_lock_rescan_remove();
	rc = pci_scan_root_bus_bridge(bridge);
	pci_unlock_rescan_remove();
	if (rc)
		return refuse(&host->node, rc, "the PCI core refuses it: %d", rc);
	host->root = bridge->bus;
	show_bus(&host->bus);
	return 0;
}

/*
 * Functions
 */

/*
 * Lets the PCI core find one function, and the bus below it if it is a bridge.
 * It finds nothing on that bus yet, for otherwise it would go on from there,
 * a call inside a call, which takes 16 KiB of stack for 32 nested switches.
 * And pci_scan_slot() is not used, because with it comes ASPM: when function 0
 * of a device goes away before another one that is an upstream port, the state
 * of ASPM is used after it was freed.
 *
 * @placed: the BARs have addresses already
 */
static void scan_function(struct fabric_function *function, bool placed)
{
	struct fabric_function *above = function->on->bridge;
	struct pci_bus *bus = above ? above->pdev->subordinate :
				      function->on->host->root;
	struct pci_dev *pdev;
	struct resource *res;
	int i;

	if (!bus)
		return;
	pdev = pci_dev_get(pci_scan_single_device(bus, function->devfn));
	if (!pdev)
		return;
	function->pdev = pdev;
	if (function->node.function)
		pdev->multifunction = 1;
	if (function->bus) {
		pci_scan_bridge(bus, pdev, 0, 0);
		show_bus(function->bus);
	}
	pci_dev_for_each_resource(pdev, res, i) {
		int rc;

		if (!res->flags || res->parent)
			continue;
		rc = placed ? pci_claim_resource(pdev, i) :
			      pci_assign_resource(pdev, i);
		/* check_function() reports a missing resource */
		if (rc)
			break;
	}
}

/* Did the PCI core find what was asked for? */
static int check_function(struct fabric_function *function)
{
	const struct pci_fabric_node *node = &function->node;
	struct resource *res;
	int i;

	if (!function->pdev)
		return refuse(node, -ENODEV, "the PCI core did not find it");
	if (function->bus && !function->pdev->subordinate)
		return refuse(node, -ENODEV,
			      "the PCI core made no bus below it");
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		res = &function->pdev->resource[i];
		if (node->bar[i].size &&
		    (!res->parent || resource_size(res) != node->bar[i].size))
			return refuse(node, -ENOSPC,
				      "there are no addresses for BAR %d", i);
	}
	res = &function->pdev->resource[PCI_IOV_RESOURCES];
	if (node->vf_bar0 && !res->parent)
		return refuse(node, -ENOSPC, "there are no addresses for VFs");
	return 0;
}

static void put_acs(struct fabric_function *function, u16 control)
{
	config_set(function, function->acs + PCI_ACS_CTRL, 2, ~0, control);
}

static void put_mps(struct fabric_function *function, unsigned int mps)
{
	config_set(function, PCIE_POS + PCI_EXP_DEVCTL, 2,
		   PCI_EXP_DEVCTL_PAYLOAD,
		   FIELD_PREP(PCI_EXP_DEVCTL_PAYLOAD, payload_code(mps)));
}

/* Called after enumeration, in which the PCI core writes these registers */
static void set_controls(struct fabric_function *function)
{
	if (function->acs)
		put_acs(function, function->node.acs_ctrl);
	if (is_pcie(function) && !function->physfn)
		put_mps(function, function->node.mps);
}

static void disable_vfs(struct pci_fabric *fabric,
			struct fabric_function *physfn)
{
	struct fabric_function *function, *next;
	unsigned int i;

	if (!physfn->vfs)
		return;
	pci_lock_rescan_remove();
	for (i = physfn->vfs; i--; )
		pci_iov_remove_virtfn(physfn->pdev, i);
	pci_unlock_rescan_remove();

	list_for_each_entry_safe(function, next, &fabric->functions, list)
		if (function->physfn == physfn)
			remove_function(function);
	physfn->vfs = 0;
	config_set(physfn, physfn->sriov + PCI_SRIOV_CTRL, 2,
		   PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE, 0);
	config_set(physfn, physfn->sriov + PCI_SRIOV_NUM_VF, 2, ~0, 0);
}

/* The config space of a virtual function, before the PCI core looks for it */
static int add_vf(struct fabric_function *physfn, unsigned int index)
{
	struct pci_fabric_node node = {
		.kind = physfn->node.kind,
		.vendor = physfn->node.vendor,
		.device_id = physfn->node.device_id,
		.class = physfn->node.class,
		.port = physfn->node.port,
		.mpss = physfn->node.mpss,
		.mps = physfn->node.mps,
		.acs_cap = physfn->node.vf_acs_cap,
		.acs_vector = physfn->node.acs_vector,
	};
	struct fabric_function *function;

	function = new_function(&node, kasprintf(GFP_KERNEL, "%s/%u",
						 physfn->node.name, index),
				false);
	if (!function)
		return -ENOMEM;
	function->physfn = physfn;
	function->on = physfn->on;
	function->devfn = physfn->devfn + index +
			  config_get(physfn, physfn->sriov +
				     PCI_SRIOV_VF_OFFSET, 2);
	set_config(function, 0);
	list_add(&function->list, &physfn->list);
	show_function(function);
	return 0;
}

/*
 * As pci_enable_sriov(), but without waiting for hardware: that function sleeps
 * for 100 ms, and pci_disable_sriov() for a second, each time.
 */
static int enable_vfs(struct pci_fabric *fabric,
		      struct fabric_function *physfn, unsigned int count)
{
	struct fabric_function *function;
	unsigned int i;
	int rc = 0;

	for (i = 0; i < count && !rc; i++)
		rc = add_vf(physfn, i);
	if (rc)
		goto undo;

	config_set(physfn, physfn->sriov + PCI_SRIOV_NUM_VF, 2, ~0, count);
	config_set(physfn, physfn->sriov + PCI_SRIOV_CTRL, 2,
		   PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE, ~0);
	pci_lock_rescan_remove();
	for (i = 0; i < count && !rc; i++) {
		rc = pci_iov_add_virtfn(physfn->pdev, i);
		if (!rc)
			physfn->vfs++;
	}
	pci_unlock_rescan_remove();
	if (rc)
		goto undo;

	list_for_each_entry(function, &fabric->functions, list) {
		if (function->physfn != physfn)
			continue;
		function->pdev = pci_get_slot(physfn->pdev->bus,
					      function->devfn);
		set_controls(function);
	}
	return 0;

undo:
	disable_vfs(fabric, physfn);
	return rc;
}

/*
 * Whole fabrics
 */

static void remove_host(struct fabric_host *host)
{
	list_del(&host->list);
	if (host->root) {
		pci_lock_rescan_remove();
		pci_stop_root_bus(host->root);
		pci_remove_root_bus(host->root);
		pci_unlock_rescan_remove();
	}
	release_memory(host);
	if (host->bridge)
		pci_free_host_bridge(host->bridge);
	else
		free_host(host);
}

static void destroy(struct pci_fabric *fabric)
{
	struct fabric_function *function, *next_function;
	struct fabric_host *host, *next_host;

	list_for_each_entry(function, &fabric->functions, list)
		if (function->vfs)
			disable_vfs(fabric, function);

	/* What is below goes first, or the PCI core needs stack for each level */
	list_for_each_entry_safe_reverse(function, next_function,
					 &fabric->functions, list)
		remove_function(function);
	list_for_each_entry_safe(host, next_host, &fabric->hosts, list)
		remove_host(host);
	platform_device_unregister(fabric->parent);
	kfree(fabric);
}

static int create(struct pci_fabric *fabric,
		  const struct pci_fabric_node *nodes, size_t count)
{
	struct fabric_function *function;
	struct fabric_host *host;
	int rc;

	rc = add_nodes(fabric, nodes, count);
	if (rc)
		return rc;
	size_all(fabric);
	list_for_each_entry(host, &fabric->hosts, list) {
		rc = set_host_windows(host);
		if (rc)
			return rc;
	}
	rc = place_all(fabric);
	if (rc)
		return rc;
	list_for_each_entry(host, &fabric->hosts, list) {
		rc = scan_host(fabric, host);
		if (rc)
			return rc;
	}
	list_for_each_entry(function, &fabric->functions, list) {
		pci_lock_rescan_remove();
		scan_function(function, true);
		pci_unlock_rescan_remove();
		rc = check_function(function);
		if (rc)
			return rc;
	}
	/* Not earlier: during enumeration, a value depends on those above */
	list_for_each_entry(function, &fabric->functions, list)
		set_controls(function);
	return 0;
}

/**
 * pci_fabric_create - make a fabric and let the PCI core enumerate it
 * @nodes: what there is; a host bridge comes first, and everything comes after
 *	what it is below. Needed during the call only.
 * @count: how many nodes there are
 *
 * Where a fabric is not possible, a line in the log names the node and says
 * why.
 *
 * Context: may sleep; takes the PCI core's rescan lock.
 * Return: the fabric, or an ERR_PTR: -EINVAL where a node makes no sense,
 * -EEXIST where a name or an address is there twice, -EBUSY where the machine
 * has such buses already, -ENOSPC where there are not enough bus numbers or
 * addresses, -ENOMEM.
 */
struct pci_fabric *pci_fabric_create(const struct pci_fabric_node *nodes,
				     size_t count)
{
	struct pci_fabric *fabric;
	int rc;

	fabric = kzalloc(sizeof(*fabric), GFP_KERNEL);
	if (!fabric)
		return ERR_PTR(-ENOMEM);
	mutex_init(&fabric->lock);
	INIT_LIST_HEAD(&fabric->hosts);
	INIT_LIST_HEAD(&fabric->functions);
	fabric->parent = platform_device_register_simple("pci_fabric",
							 PLATFORM_DEVID_AUTO,
							 NULL, 0);
	if (IS_ERR(fabric->parent)) {
		rc = PTR_ERR(fabric->parent);
		kfree(fabric);
		return ERR_PTR(rc);
	}

	hush();
	rc = create(fabric, nodes, count);
	if (rc)
		destroy(fabric);
	unhush();
	return rc ? ERR_PTR(rc) : fabric;
}
EXPORT_SYMBOL_GPL(pci_fabric_create);

/**
 * pci_fabric_destroy - remove a fabric
 * @fabric: the fabric, or NULL
 *
 * Its devices are removed as in a hot-unplug. Their devm_*() resources are
 * released, which may wait for memory that is in use. Afterwards domain, bus
 * numbers and addresses are free. Config accesses to a device that is still
 * referenced fail.
 *
 * Context: may sleep; takes the PCI core's rescan lock.
 */
void pci_fabric_destroy(struct pci_fabric *fabric)
{
	if (!fabric)
		return;
	hush();
	destroy(fabric);
	unhush();
}
EXPORT_SYMBOL_GPL(pci_fabric_destroy);

static void kunit_destroy(void *fabric)
{
	pci_fabric_destroy(fabric);
}

/**
 * pci_fabric_kunit - make a fabric that is destroyed at the end of a test
 * @test: the test; it fails and ends where the fabric cannot be made
 * @nodes: see pci_fabric_create()
 * @count: see pci_fabric_create()
 *
 * Context: may sleep; takes the PCI core's rescan lock.
 * Return: the fabric.
 */
struct pci_fabric *pci_fabric_kunit(struct kunit *test,
				    const struct pci_fabric_node *nodes,
				    size_t count)
{
	struct pci_fabric *fabric = pci_fabric_create(nodes, count);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fabric);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kunit_destroy,
							   fabric));
	return fabric;
}
EXPORT_SYMBOL_GPL(pci_fabric_kunit);

/*
 * One function of a fabric
 */

/* An unknown name is an error of the test */
static struct fabric_function *named(struct pci_fabric *fabric,
				     const char *name)
{
	struct fabric_function *function;

	lockdep_assert_held(&fabric->lock);

	function = find_function(fabric, name);
	WARN(!function, "pci_fabric: there is no %s\n", name);
	return function;
}

/**
 * pci_fabric_dev - find a device by its name
 * @fabric: the fabric
 * @name: its name; that of a virtual function is "name/index"
 *
 * Context: may sleep.
 * Return: the device, without a reference of the caller's: it stays until it
 * is unplugged or the fabric destroyed. NULL if there is no such device.
 */
struct pci_dev *pci_fabric_dev(struct pci_fabric *fabric, const char *name)
{
	struct fabric_function *function;

	guard(mutex)(&fabric->lock);

	function = find_function(fabric, name);
	return function ? function->pdev : NULL;
}
EXPORT_SYMBOL_GPL(pci_fabric_dev);

/**
 * pci_fabric_vf - find a virtual function
 * @fabric: the fabric
 * @pf: name of the physical function
 * @index: which one, from 0
 *
 * Context: may sleep.
 * Return: see pci_fabric_dev().
 */
struct pci_dev *pci_fabric_vf(struct pci_fabric *fabric, const char *pf,
			      unsigned int index)
{
	const char *name __free(kfree) = kasprintf(GFP_KERNEL, "%s/%u", pf,
						   index);

	return name ? pci_fabric_dev(fabric, name) : NULL;
}
EXPORT_SYMBOL_GPL(pci_fabric_vf);

/**
 * pci_fabric_enable_vfs - make virtual functions appear
 * @fabric: the fabric
 * @pf: name of the physical function
 * @count: how many; 0 makes those that are there disappear
 *
 * Context: may sleep; takes the PCI core's rescan lock.
 * Return: 0, -EINVAL where the function has not so many, -EBUSY where there
 * are some already, or what the PCI core returned.
 */
int pci_fabric_enable_vfs(struct pci_fabric *fabric, const char *pf,
			  unsigned int count)
{
	struct fabric_function *function;
	int rc = 0;

	guard(mutex)(&fabric->lock);

	function = named(fabric, pf);
	if (!function || count > function->node.total_vfs)
		return -EINVAL;
	if (count && function->vfs)
		return -EBUSY;
	hush();
	if (count)
		rc = enable_vfs(fabric, function, count);
	else if (function->vfs)
		disable_vfs(fabric, function);
	unhush();
	return rc;
}
EXPORT_SYMBOL_GPL(pci_fabric_enable_vfs);

/**
 * pci_fabric_set_acs - set ACS control
 * @fabric: the fabric
 * @name: a function with an ACS capability
 * @ctrl: PCI_ACS_* that are on, all others are off
 *
 * Context: may sleep.
 */
void pci_fabric_set_acs(struct pci_fabric *fabric, const char *name, u16 ctrl)
{
	struct fabric_function *function;

	guard(mutex)(&fabric->lock);

	function = named(fabric, name);
	if (!function || WARN_ON(!function->acs ||
				 ctrl & ~function->node.acs_cap))
		return;
	put_acs(function, ctrl);
}
EXPORT_SYMBOL_GPL(pci_fabric_set_acs);

/**
 * pci_fabric_set_egress - set a bit of an ACS Egress Control Vector
 * @fabric: the fabric
 * @name: a function whose ACS capability has PCI_ACS_EC
 * @port: which bit
 * @on: what it is set to
 *
 * Context: may sleep.
 */
void pci_fabric_set_egress(struct pci_fabric *fabric, const char *name,
			   unsigned int port, bool on)
{
	struct fabric_function *function;
	int where;

	guard(mutex)(&fabric->lock);

	function = named(fabric, name);
	if (!function || WARN_ON(!(function->node.acs_cap & PCI_ACS_EC)) ||
	    WARN_ON(port >= (function->node.acs_vector ?: VECTOR_BITS)))
		return;
	where = function->acs + PCI_ACS_EGRESS_CTL_V + port / 8;
	config_set(function, where, 1, BIT(port % 8), on ? ~0 : 0);
}
EXPORT_SYMBOL_GPL(pci_fabric_set_egress);

/**
 * pci_fabric_set_mps - set Max_Payload_Size in Device Control
 * @fabric: the fabric
 * @name: a PCIe function
 * @mps: bytes, a power of two from 128 to what the function can do
 *
 * Context: may sleep.
 */
void pci_fabric_set_mps(struct pci_fabric *fabric, const char *name,
			unsigned int mps)
{
	struct fabric_function *function;

	guard(mutex)(&fabric->lock);

	function = named(fabric, name);
	if (!function || WARN_ON(!is_pcie(function) || function->physfn ||
				 bad_payload(mps) ||
				 mps > function->node.mpss))
		return;
	put_mps(function, mps);
}
EXPORT_SYMBOL_GPL(pci_fabric_set_mps);

/**
 * pci_fabric_write - write config space, read-only registers too
 * @fabric: the fabric
 * @name: a function
 * @where: register
 * @size: bytes: 1, 2 or 4
 * @value: what is written
 *
 * Context: may sleep.
 */
void pci_fabric_write(struct pci_fabric *fabric, const char *name, int where,
		      int size, u32 value)
{
	struct fabric_function *function;

	guard(mutex)(&fabric->lock);

	function = named(fabric, name);
	if (!function || WARN_ON(where < 0 || where + size > CONFIG_SIZE))
		return;
	config_set(function, where, size, ~0, value);
}
EXPORT_SYMBOL_GPL(pci_fabric_write);

/**
 * pci_fabric_read - read config space, also where reads fail
 * @fabric: the fabric
 * @name: a function
 * @where: register
 * @size: bytes: 1, 2 or 4
 *
 * Context: may sleep.
 * Return: what is there.
 */
u32 pci_fabric_read(struct pci_fabric *fabric, const char *name, int where,
		    int size)
{
	struct fabric_function *function;

	guard(mutex)(&fabric->lock);

	function = named(fabric, name);
	if (!function || WARN_ON(where < 0))
		return ~0;
	return config_get(function, where, size);
}
EXPORT_SYMBOL_GPL(pci_fabric_read);

/**
 * pci_fabric_host_window - find a memory window of a host bridge
 * @fabric: the fabric
 * @name: the host bridge
 * @index: which window
 * @window: filled in; all zero if there is no such host bridge
 *
 * Context: may sleep.
 */
void pci_fabric_host_window(struct pci_fabric *fabric, const char *name,
			    enum pci_fabric_window_index index,
			    struct pci_fabric_window *window)
{
	const struct resource *res;
	struct fabric_host *host;

	guard(mutex)(&fabric->lock);

	*window = (struct pci_fabric_window) { };
	host = find_host(fabric, name);
	if (WARN(!host, "pci_fabric: there is no host bridge %s\n", name))
		return;
	res = host->window[index == PCI_FABRIC_WINDOW_32 ? SPACE_MEM :
							   SPACE_PREF];
	window->cpu = res->start;
	window->size = resource_size(res);
	window->bus = index == PCI_FABRIC_WINDOW_32 ?
		      LOW_START : res->start - host->node.offset;
}
EXPORT_SYMBOL_GPL(pci_fabric_host_window);

/**
 * pci_fabric_fail_reads - make reads of a function's config space fail, or not
 * @fabric: the fabric
 * @name: the function
 * @fail: whether they fail from now on
 *
 * pci_read_config_word() and its like then return PCIBIOS_DEVICE_NOT_FOUND and
 * give all ones, as host bridges' drivers do when a device doesn't answer.
 * Writes still get through.
 *
 * Context: may sleep.
 */
void pci_fabric_fail_reads(struct pci_fabric *fabric, const char *name,
			   bool fail)
{
	struct fabric_function *function;

	guard(mutex)(&fabric->lock);

	function = named(fabric, name);
	if (!function)
		return;
	WRITE_ONCE(function->fail, fail);
}
EXPORT_SYMBOL_GPL(pci_fabric_fail_reads);

/*
 * Hot-plug
 */

/**
 * pci_fabric_unplug - remove a function and all that is below it
 * @fabric: the fabric
 * @name: the function; not a virtual one
 *
 * The devices' devm_*() resources are released, which may wait for memory that
 * is in use. Names and addresses are free afterwards.
 *
 * Context: may sleep; takes the PCI core's rescan lock.
 */
void pci_fabric_unplug(struct pci_fabric *fabric, const char *name)
{
	struct fabric_function *top, *function, *next;
	struct fabric_bus *on;
	u8 devfn;

	guard(mutex)(&fabric->lock);

	top = named(fabric, name);
	if (!top || WARN_ON(top->physfn))
		return;
	on = top->on;
	devfn = top->devfn;

	list_for_each_entry(function, &fabric->functions, list)
		function->going = function == top ||
			(function->on->bridge && function->on->bridge->going);
	hush();
	list_for_each_entry(function, &fabric->functions, list)
		if (function->going && function->vfs)
			disable_vfs(fabric, function);
	/* What is below goes first, or the PCI core needs stack for each level */
	list_for_each_entry_safe_reverse(function, next, &fabric->functions,
					 list)
		if (function->going)
			remove_function(function);
	set_multi_function(on, devfn);
	unhush();
}
EXPORT_SYMBOL_GPL(pci_fabric_unplug);

/**
 * pci_fabric_plug - add a function to an existing fabric
 * @fabric: the fabric
 * @node: the function; no bridge, as bus numbers are given once
 *
 * A bus has room for one more of the largest BAR that was on it when the
 * fabric was made, and for what was unplugged; a port that had nothing below
 * has room for 64 MiB of 64-bit BARs and 1 MiB of 32-bit ones.
 *
 * Context: may sleep; takes the PCI core's rescan lock.
 * Return: see pci_fabric_create(); -EOPNOTSUPP for a bridge.
 */
int pci_fabric_plug(struct pci_fabric *fabric,
		    const struct pci_fabric_node *node)
{
	struct fabric_function *function;
	struct fabric_bus *on;
	u8 devfn;
	int rc;

	guard(mutex)(&fabric->lock);

	rc = check_name(fabric, node);
	if (rc)
		return rc;
	if (fabric_kinds[node->kind].bridge)
		return refuse(node, -EOPNOTSUPP, "%s cannot be plugged in",
			      fabric_kinds[node->kind].name);
	function = add_function(fabric, node);
	if (IS_ERR(function))
		return PTR_ERR(function);
	on = function->on;
	devfn = function->devfn;

	hush();
	if (find_devfn(on, devfn & ~7)) {
		size_bars(function);
		rc = configure(function);
	} else {
		rc = refuse(node, -EINVAL, "the device has no function 0");
	}
	if (!rc) {
		pci_lock_rescan_remove();
		scan_function(function, false);
		pci_unlock_rescan_remove();
		rc = check_function(function);
	}
	if (!rc)
		set_controls(function);
	else
		remove_function(function);
	set_multi_function(on, devfn);
	unhush();
	return rc;
}
EXPORT_SYMBOL_GPL(pci_fabric_plug);

/**
 * pci_fabric_move_bar - give a BAR another address in the same window
 * @fabric: the fabric
 * @name: function that has it
 * @bar: which one
 *
 * The PCI core takes the first address that is free, other than the one the
 * BAR has now. So a second call takes it back, where nothing else changed.
 *
 * Context: may sleep; takes the PCI core's rescan lock.
 * Return: 0, -EINVAL where there is no such BAR, -EBUSY where a part of it is
 * requested, -ENOSPC where nothing else is free.
 */
int pci_fabric_move_bar(struct pci_fabric *fabric, const char *name, int bar)
{
	struct fabric_function *function;
	struct resource *res, *window;
	struct resource hole = {
		.name = "pci_fabric",
	};
	int rc;

	guard(mutex)(&fabric->lock);

	function = named(fabric, name);
	if (!function || bar < 0 || bar >= PCI_STD_NUM_BARS ||
	    !function->node.bar[bar].size)
		return -EINVAL;
	res = &function->pdev->resource[bar];
	window = res->parent;
	if (res->child)
		return -EBUSY;

	hush();
	pci_lock_rescan_remove();
	hole.start = res->start;
	hole.end = res->end;
	hole.flags = res->flags;
	pci_release_resource(function->pdev, bar);
	rc = request_resource(window, &hole);
	if (!rc) {
		rc = pci_assign_resource(function->pdev, bar);
		release_resource(&hole);
	}
	/* Then the old address is the first that is free */
	if (rc && !pci_assign_resource(function->pdev, bar))
		rc = -ENOSPC;
	pci_unlock_rescan_remove();
	unhush();
	return rc;
}
EXPORT_SYMBOL_GPL(pci_fabric_move_bar);
