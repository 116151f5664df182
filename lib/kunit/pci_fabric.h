/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI fabrics made in software, for tests.
 *
 * A test describes a fabric as a table of nodes, one for each host bridge,
 * port and function.  The PCI core enumerates it through config operations
 * that work on the table, so that the test gets real struct pci_devs, with
 * BARs, capabilities, bridge windows and sysfs directories.  No driver binds to
 * them, nothing answers at their BARs, and no packet is ever sent: only config
 * space is modelled.
 *
 * A fabric is written as one table:
 *
 *	static const struct pci_fabric_node nodes[] = {
 *		{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 0x10000 },
 *		{ .name = "port", .below = "host", .kind = PCI_FABRIC_ROOT_PORT },
 *		{ .name = "disk", .below = "port", .kind = PCI_FABRIC_ENDPOINT,
 *		  .bar = { { SZ_2M } } },
 *	};
 *
 *	fabric = pci_fabric_kunit(test, nodes, ARRAY_SIZE(nodes));
 *	disk = pci_fabric_dev(fabric, "disk");
 *
 * pci_fabric_table.py makes the table of a real machine from lspci's output.
 */

#ifndef _LIB_KUNIT_PCI_FABRIC_H
#define _LIB_KUNIT_PCI_FABRIC_H

#include <linux/bits.h>
#include <linux/pci.h>
#include <linux/types.h>

struct pci_fabric;

enum pci_fabric_kind {
	PCI_FABRIC_HOST,	/* host bridge; has no config space */
	PCI_FABRIC_ROOT_PORT,
	PCI_FABRIC_DMI_PORT,	/* root port to a chipset: no bridge, no bus */
	PCI_FABRIC_RC_ENDPOINT,	/* root complex integrated endpoint */
	PCI_FABRIC_UPSTREAM,	/* switch upstream port */
	PCI_FABRIC_DOWNSTREAM,	/* switch downstream port */
	PCI_FABRIC_ENDPOINT,	/* PCIe endpoint */
	PCI_FABRIC_PCI_BRIDGE,	/* PCIe to PCI bridge; conventional bus below */
	PCI_FABRIC_PCI_PCI_BRIDGE, /* conventional bridge on a conventional bus */
	PCI_FABRIC_PCI_DEVICE,	/* conventional device, no PCIe capability */
};

/* Flags of a BAR; it is 64-bit and prefetchable unless told otherwise. */
#define PCI_FABRIC_BAR_32	BIT(0)	/* 32-bit, not prefetchable */
#define PCI_FABRIC_BAR_IO	BIT(1)	/* I/O ports */

/* In place of PCI_ACS_*: an ACS capability with none of them */
#define PCI_FABRIC_ACS_EMPTY	BIT(15)

/**
 * struct pci_fabric_bar - one BAR of a node
 * @size: bytes, a power of two; 0 where there is no such BAR
 * @flags: PCI_FABRIC_BAR_*; a 64-bit BAR takes the place of the next one too
 */
struct pci_fabric_bar {
	u64 size;
	unsigned int flags;
};

/**
 * struct pci_fabric_node - one host bridge, port or function of a fabric
 * @name: unique in the fabric; without '/', as "name/index" names a virtual
 *	function
 * @below: name of the bridge, port or host bridge that it is below; a node
 *	comes after that one in the table
 * @kind: what it is
 * @device: device number on its bus; must be 0 directly below a PCIe port
 * @function: function number.  Function 0 must be there; it is made known as
 *	multi-function where there are others.
 * @vendor: ID, 0 for the default of the fabric.  The PCI core's quirks go by
 *	it and @device_id.
 * @device_id: ID, 0 for the default of the fabric
 * @class: base class and sub-class, as in PCI_CLASS_BRIDGE_HOST; 0 for a PCI
 *	bridge's or, without a bus below, that of a memory controller.  The PCI
 *	core takes a bridge for one by its header, whatever the class.
 * @config_size: bytes of config space that can be read and written by config
 *	operations, a multiple of 4 from 64; 0 for all.  With 256, as on a
 *	machine without extended config space, the PCI core finds no ACS and no
 *	SR-IOV capability; with 64 none at all, so that it takes the function
 *	for a conventional one, although its Status register says that there is
 *	a list of capabilities.
 * @bar: BARs; bridges have two
 * @acs_cap: PCI_ACS_* that the ACS capability has, or %PCI_FABRIC_ACS_EMPTY;
 *	0 for no capability
 * @acs_ctrl: PCI_ACS_* that are on once the fabric is there (the PCI core
 *	rewrites ACS control when it enumerates, so it is set afterwards)
 * @acs_vector: bits of the Egress Control Vector that PCI_ACS_EC brings with
 *	it, 0 for 256; all clear at first, see pci_fabric_set_egress()
 * @port: port number, as in Link Capabilities and in Egress Control Vectors
 * @mpss: greatest payload the function can do, in bytes, 0 for 512
 * @mps: payload size that it is set to, in bytes, 0 for 128; set after
 *	enumeration, like @acs_ctrl
 * @total_vfs: virtual functions it can have, 0 for no SR-IOV capability;
 *	see pci_fabric_enable_vfs()
 * @vf_bar0: size of BAR 0 of each virtual function, in bytes, 0 for none
 * @vf_acs_cap: as @acs_cap, for its virtual functions
 * @domain: host bridge: PCI domain, any non-negative int that isn't in use.
 *	The PCI core keeps a little memory for each number there ever was, so
 *	it is better to take the same few.
 * @bus: host bridge: number of the root bus
 * @node: host bridge: NUMA node of all devices behind it, plus 1; 0 for none,
 *	which makes the PCI core log a warning if the machine has several
 * @offset: host bridge: CPU address less bus address of the 64-bit window.
 *	(The window for 32-bit BARs always has an offset, since free addresses
 *	are far above 4 GiB.)
 * @window: host bridge: size of the 64-bit window in bytes, 0 for what its
 *	BARs need
 */
struct pci_fabric_node {
	const char *name;
	const char *below;
	enum pci_fabric_kind kind;
	u8 device;
	u8 function;
	u16 vendor;
	u16 device_id;
	u16 class;
	u16 config_size;
	struct pci_fabric_bar bar[PCI_STD_NUM_BARS];
	u16 acs_cap;
	u16 acs_ctrl;
	u8 acs_vector;
	u8 port;
	unsigned int mpss;
	unsigned int mps;
	u16 total_vfs;
	u64 vf_bar0;
	u16 vf_acs_cap;
	int domain;
	u8 bus;
	int node;
	u64 offset;
	u64 window;
};

struct pci_fabric *pci_fabric_create(const struct pci_fabric_node *nodes,
				     size_t count);
void pci_fabric_destroy(struct pci_fabric *fabric);

struct pci_dev *pci_fabric_dev(struct pci_fabric *fabric, const char *name);
struct pci_dev *pci_fabric_vf(struct pci_fabric *fabric, const char *pf,
			      unsigned int index);
int pci_fabric_enable_vfs(struct pci_fabric *fabric, const char *pf,
			  unsigned int count);

/* Config space as the device sees it, behind the PCI core's back */
void pci_fabric_set_acs(struct pci_fabric *fabric, const char *name, u16 ctrl);
void pci_fabric_set_egress(struct pci_fabric *fabric, const char *name,
			   unsigned int port, bool on);
void pci_fabric_set_mps(struct pci_fabric *fabric, const char *name,
			unsigned int mps);
void pci_fabric_write(struct pci_fabric *fabric, const char *name, int where,
		      int size, u32 value);
u32 pci_fabric_read(struct pci_fabric *fabric, const char *name, int where,
		    int size);

/* Memory windows of a host bridge */
enum pci_fabric_window_index {
	PCI_FABRIC_WINDOW_32,	/* of 32-bit BARs */
	PCI_FABRIC_WINDOW_64,	/* of 64-bit BARs, virtual functions' among them */
	PCI_FABRIC_WINDOWS
};

/**
 * struct pci_fabric_window - addresses that a host bridge forwards to devices
 * @bus: first bus address
 * @cpu: CPU address of the same byte
 * @size: bytes
 */
struct pci_fabric_window {
	u64 bus;
	u64 cpu;
	u64 size;
};

void pci_fabric_host_window(struct pci_fabric *fabric, const char *name,
			    enum pci_fabric_window_index index,
			    struct pci_fabric_window *window);

/* Make reads of a node's config space fail, until reset */
void pci_fabric_fail_reads(struct pci_fabric *fabric, const char *name,
			   bool fail);

/* Hot-plug */
void pci_fabric_unplug(struct pci_fabric *fabric, const char *name);
int pci_fabric_plug(struct pci_fabric *fabric,
		    const struct pci_fabric_node *node);
int pci_fabric_move_bar(struct pci_fabric *fabric, const char *name, int bar);

struct kunit;
struct pci_fabric *pci_fabric_kunit(struct kunit *test,
				    const struct pci_fabric_node *nodes,
				    size_t count);

#endif /* _LIB_KUNIT_PCI_FABRIC_H */
