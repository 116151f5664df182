// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: which root complexes forward packets between devices.
 *
 * PCIe leaves forwarding to the implementation (Base Specification 6.0, section
 * 1.3.1).  The kernel knows about it from the processor, from the host bridge's
 * ID, or from the administrator, by the command line.  This file answers for
 * one host bridge at a time, or for the machine; p2pdma_decide.c applies the
 * answer to a route.  The table of IDs is in p2pdma_host_table.c.
 */

#include <linux/cc_platform.h>
#include <linux/cleanup.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include <kunit/static_stub.h>
#include <kunit/visibility.h>

#ifdef CONFIG_X86
#include <asm/processor.h>
#endif

#include "pci.h"
#include "p2pdma.h"

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

/**
 * p2pdma_host_id - the ID by which a host bridge is known
 * @top: the device on its root bus that the packets pass
 *
 * Context: any; never sleeps.
 * Return: vendor ID in the low half, device ID in the high half, of the device at
 * 00.0 or of the root port @top; 0 if there is neither.
 */
u32 p2pdma_host_id(struct pci_dev *top)
{
	void *entry = xa_load(&p2pdma_host_ids, p2pdma_root_index(top->bus));

	if (entry)
		return xa_to_value(entry);
	return pci_pcie_type(top) == PCI_EXP_TYPE_ROOT_PORT ? p2pdma_id(top) : 0;
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
	const struct p2pdma_host_list *list;

	guard(rcu)();
	list = rcu_dereference(p2pdma_admitted);
	return p2pdma_host_look_up(p2pdma_host_id(top), same,
				   list ? list->entries : NULL,
				   list ? list->count : 0, admitted);
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
			tell(at, p2pdma_host_list_add(list->entries,
						      &list->count, at));
	}

	most = list->count;
	scoped_guard(mutex, &p2pdma_admit_lock)
		old = rcu_replace_pointer(p2pdma_admitted, list,
					  lockdep_is_held(&p2pdma_admit_lock));
	kfree_rcu(old, rcu);
	return most;
}
