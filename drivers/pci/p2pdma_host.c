// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: which root complexes forward packets between devices.
 *
 * PCIe leaves forwarding to the implementation (Base Specification 6.0, section
 * 1.3.1).  The kernel knows about it from the processor, from the host bridge's
 * ID, or from the administrator, by the command line.  This file answers for
 * one host bridge at a time, or for the machine; p2pdma_decide.c applies the
 * answer to a route.
 */

#include <linux/cc_platform.h>
#include <linux/cleanup.h>
#include <linux/hex.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/unaligned.h>
#include <linux/xarray.h>

#include <kunit/static_stub.h>
#include <kunit/visibility.h>

#ifdef CONFIG_X86
#include <asm/processor.h>
#endif

#include "pci.h"
#include "p2pdma.h"

/* Wildcard device ID: all devices of the vendor */
#define P2PDMA_ANY_DEVICE	0xffff

struct p2pdma_host_bridge {
	u16 vendor;
	u16 device;
	bool same_only;		/* not from one host bridge to another */
	bool write_only;	/* posted requests, not reads */
};

/*
 * To add a host bridge, add a line with the IDs of the device at 00.0 of its
 * root bus or, without such a device, a line for each of its root ports.
 * Describe in the commit what was tested.
 */
static const struct p2pdma_host_bridge p2pdma_known[] = {
	/* Sandy Bridge-E, Haswell, Haswell-E, Broadwell-E */
	{ PCI_VENDOR_ID_INTEL, 0x3c00, .same_only = true },
	{ PCI_VENDOR_ID_INTEL, 0x3c01, .same_only = true },
	{ PCI_VENDOR_ID_INTEL, 0x0c08, .same_only = true },
	{ PCI_VENDOR_ID_INTEL, 0x2f00, .same_only = true },
	{ PCI_VENDOR_ID_INTEL, 0x2f01, .same_only = true },
	{ PCI_VENDOR_ID_INTEL, 0x6f00, .same_only = true },
	/* Skylake-E: DMI, then root ports A to D */
	{ PCI_VENDOR_ID_INTEL, 0x2020 },
	{ PCI_VENDOR_ID_INTEL, 0x2030 },
	{ PCI_VENDOR_ID_INTEL, 0x2031 },
	{ PCI_VENDOR_ID_INTEL, 0x2032 },
	{ PCI_VENDOR_ID_INTEL, 0x2033 },
	/* Ice Lake-SP and later: memory map and VT-d */
	{ PCI_VENDOR_ID_INTEL, 0x09a2 },
	/* Root buses of accelerators: DSA and IAA of Sapphire Rapids ... */
	{ PCI_VENDOR_ID_INTEL, 0x0b25 },
	{ PCI_VENDOR_ID_INTEL, 0x0cfe },
	/* ... DSA of Granite Rapids-D, DSA and IAA of Diamond Rapids ... */
	{ PCI_VENDOR_ID_INTEL, 0x11fb },
	{ PCI_VENDOR_ID_INTEL, 0x1212 },
	{ PCI_VENDOR_ID_INTEL, 0x1216 },
	/* ... QAT 4xxx, 401xx, 402xx, 420xx, 6xxx */
	{ PCI_VENDOR_ID_INTEL, 0x4940 },
	{ PCI_VENDOR_ID_INTEL, 0x4942 },
	{ PCI_VENDOR_ID_INTEL, 0x4944 },
	{ PCI_VENDOR_ID_INTEL, 0x4946 },
	{ PCI_VENDOR_ID_INTEL, 0x4948 },
	/* Google's SoCs */
	{ 0x1ae0, P2PDMA_ANY_DEVICE },
	/* NVIDIA's CPUs */
	{ PCI_VENDOR_ID_NVIDIA, 0x2f95 },
	{ PCI_VENDOR_ID_NVIDIA, 0x2f96 },
	{ PCI_VENDOR_ID_NVIDIA, 0x2f97 },
	{ PCI_VENDOR_ID_NVIDIA, 0x2f98 },
	/* Zhaoxin KX-6000, KH-40000, KX-6000G, KX-7000; KH-50000 */
	{ PCI_VENDOR_ID_ZHAOXIN, 0x1003, .same_only = true },
	{ PCI_VENDOR_ID_ZHAOXIN, 0x1005, .same_only = true },
	{ PCI_VENDOR_ID_ZHAOXIN, 0x1006, .same_only = true },
	{ PCI_VENDOR_ID_ZHAOXIN, 0x1007, .same_only = true },
	{ PCI_VENDOR_ID_ZHAOXIN, 0x1008 },
	/* Alibaba T-Head Yitian 710 */
	{ PCI_VENDOR_ID_ALIBABA, 0x8000 },
};

/* The administrator's host bridges; replaced as a whole, read under RCU */
struct p2pdma_host_list {
	struct rcu_head rcu;
	unsigned int count;
	struct p2pdma_host_bridge entries[] __counted_by(count);
};

static struct p2pdma_host_list __rcu *p2pdma_admitted;
static DEFINE_MUTEX(p2pdma_admit_lock);

/**
 * p2pdma_cpu_allows - does this processor forward between all its root ports?
 *
 * Context: any.
 * Return: true on AMD processors of family 17h (Zen) and later.
 */
bool p2pdma_cpu_allows(void)
{
	KUNIT_STATIC_STUB_REDIRECT(p2pdma_cpu_allows);
#ifdef CONFIG_X86
	return boot_cpu_data.x86_vendor == X86_VENDOR_AMD &&
	       boot_cpu_data.x86 >= 0x17;
#else
	return false;
#endif
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_cpu_allows);

/**
 * p2pdma_memory_encrypted - does memory encryption change DMA addresses?
 *
 * On a host with AMD's SME the DMA API sets the encryption bit in the addresses
 * of all memory that has struct pages, and in the IOMMU's entries for that
 * memory, even for a BAR, which is never encrypted.  Without struct pages it
 * doesn't.  In an encrypted guest (SEV, TDX) the DMA API needs to know which
 * memory is shared with devices, and doesn't know that a BAR is.
 *
 * Context: any.
 * Return: true if memory encryption is active, in a host or a guest.
 */
bool p2pdma_memory_encrypted(void)
{
	KUNIT_STATIC_STUB_REDIRECT(p2pdma_memory_encrypted);
	return cc_platform_has(CC_ATTR_MEM_ENCRYPT);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_memory_encrypted);

/*
 * IDs of the devices at 00.0 of each root bus, by domain and bus number.
 * Stored when the PCI core adds the devices: a look-up in a bus's list of
 * devices would sleep, and a read of config space may fail.
 */
static DEFINE_XARRAY(p2pdma_host_ids);

static unsigned long p2pdma_root_index(struct pci_bus *root)
{
	unsigned long domain = pci_domain_nr(root);

	return domain << 8 | root->number;
}

static bool p2pdma_is_host_bridge(struct pci_dev *pdev)
{
	return pci_is_root_bus(pdev->bus) && !pdev->devfn;
}

static u32 p2pdma_id(struct pci_dev *pdev)
{
	return (u32)pdev->device << 16 | pdev->vendor;
}

/**
 * p2pdma_host_added - store the ID of a new host bridge
 * @pdev: any PCI device
 *
 * Context: may sleep.
 */
void p2pdma_host_added(struct pci_dev *pdev)
{
	void *entry = xa_mk_value(p2pdma_id(pdev));

	if (p2pdma_is_host_bridge(pdev) &&
	    xa_is_err(xa_store(&p2pdma_host_ids, p2pdma_root_index(pdev->bus),
			       entry, GFP_KERNEL)))
		pci_warn(pdev, "p2pdma: no memory to remember this host bridge; devices behind it can't reach each other through it\n");
}

/**
 * p2pdma_host_removed - forget the ID of a removed host bridge
 * @pdev: any PCI device
 *
 * Context: may sleep.
 */
void p2pdma_host_removed(struct pci_dev *pdev)
{
	if (p2pdma_is_host_bridge(pdev))
		xa_erase(&p2pdma_host_ids, p2pdma_root_index(pdev->bus));
}

/* 0 if there is neither a device at 00.0 nor a root port */
static u32 p2pdma_host_id(struct pci_dev *top)
{
	void *entry = xa_load(&p2pdma_host_ids, p2pdma_root_index(top->bus));

	if (entry)
		return xa_to_value(entry);
	return pci_pcie_type(top) == PCI_EXP_TYPE_ROOT_PORT ? p2pdma_id(top) : 0;
}

static const struct p2pdma_host_bridge *
p2pdma_host_search(const struct p2pdma_host_bridge *entries, unsigned int count,
		   u16 vendor, u16 device)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (entries[i].vendor == vendor &&
		    (entries[i].device == device ||
		     entries[i].device == P2PDMA_ANY_DEVICE))
			return &entries[i];
	}
	return NULL;
}

/**
 * p2pdma_host_directions - directions that a host bridge is known to forward
 * @top: the device on its root bus that the packets pass
 * @same: whether both devices are below this host bridge
 * @admitted: where to store whether the answer is from the administrator's list
 *
 * Context: any; never sleeps.
 * Return: %P2PDMA_READ and %P2PDMA_WRITE, or 0.
 */
unsigned int p2pdma_host_directions(struct pci_dev *top, bool same,
				    bool *admitted)
{
	const u32 id = p2pdma_host_id(top);
	const struct p2pdma_host_bridge *found;
	const struct p2pdma_host_list *list;
	const u16 vendor = id, device = id >> 16;

	*admitted = false;
	found = p2pdma_host_search(p2pdma_known, ARRAY_SIZE(p2pdma_known),
				   vendor, device);
	if (found && (same || !found->same_only))
		return found->write_only ? P2PDMA_WRITE : P2PDMA_BOTH;

	guard(rcu)();
	list = rcu_dereference(p2pdma_admitted);
	found = list ? p2pdma_host_search(list->entries, list->count, vendor,
					  device) : NULL;
	if (!found)
		return 0;
	*admitted = true;
	return found->write_only ? P2PDMA_WRITE : P2PDMA_BOTH;
}

/* Parse one entry, exactly VVVV:DDDD or VVVV:DDDD:w */
static bool p2pdma_parse_host_bridge(const char *text,
				     struct p2pdma_host_bridge *entry)
{
	u8 vendor[2], device[2];
	size_t len = strlen(text);

	if (len < 9 || text[4] != ':' || hex2bin(vendor, text, 2) ||
	    hex2bin(device, text + 5, 2))
		return false;
	if (len != 9 && strcmp(text + 9, ":w"))
		return false;

	*entry = (struct p2pdma_host_bridge) {
		.vendor = get_unaligned_be16(vendor),
		.device = get_unaligned_be16(device),
		.write_only = len != 9,
	};
	/* Refuse IDs that are read from an absent device. */
	return entry->vendor && entry->vendor != 0xffff &&
	       entry->device != 0xffff;
}

/* Does the table allow both directions, also between host bridges? */
static bool p2pdma_host_known_any(const struct p2pdma_host_bridge *entry)
{
	const struct p2pdma_host_bridge *found =
		p2pdma_host_search(p2pdma_known, ARRAY_SIZE(p2pdma_known),
				   entry->vendor, entry->device);

	return found && !found->same_only && !found->write_only;
}

static enum p2pdma_admission p2pdma_admit(struct p2pdma_host_list *list,
					  const char *text)
{
	struct p2pdma_host_bridge entry;

	if (!p2pdma_parse_host_bridge(text, &entry))
		return P2PDMA_MALFORMED;
	if (p2pdma_host_search(list->entries, list->count, entry.vendor,
			       entry.device))
		return P2PDMA_ADMITTED_BEFORE;
	if (p2pdma_host_known_any(&entry))
		return P2PDMA_LISTED;
	list->count++;
	list->entries[list->count - 1] = entry;
	return P2PDMA_ADMITTED;
}

/**
 * p2pdma_host_admit - replace the administrator's host bridges
 * @text: VVVV:DDDD[:w][,...]; "" for none
 * @tell: called with the outcome for each entry
 *
 * A malformed or redundant entry is refused; the others are accepted.  The
 * caller invalidates verdicts that depend on the old list.
 *
 * Context: may sleep.
 * Return: number of accepted entries; -ENOMEM no memory, and nothing changes.
 */
int p2pdma_host_admit(const char *text,
		      void (*tell)(const char *entry,
				   enum p2pdma_admission admission))
{
	char *copy __free(kfree) = kstrdup(text, GFP_KERNEL);
	struct p2pdma_host_list *list, *old;
	unsigned int most = 1;
	char *rest = copy;
	const char *at;

	for (at = text; (at = strchr(at, ',')); at++)
		most++;
	list = kzalloc(struct_size(list, entries, most), GFP_KERNEL);
	if (!copy || !list) {
		kfree(list);
		return -ENOMEM;
	}

	if (*text) {
		while ((at = strsep(&rest, ",")))
			tell(at, p2pdma_admit(list, at));
	}

	most = list->count;
	scoped_guard(mutex, &p2pdma_admit_lock)
		old = rcu_replace_pointer(p2pdma_admitted, list,
					  lockdep_is_held(&p2pdma_admit_lock));
	kfree_rcu(old, rcu);
	return most;
}
