// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: the table of host bridges that forward packets between
 * devices, and lists of others in the same form.
 *
 * Pure functions: p2pdma_host.c knows the IDs of this machine, and holds the
 * administrator's list.
 */

#include <linux/array_size.h>
#include <linux/hex.h>
#include <linux/pci_ids.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/unaligned.h>

#include "p2pdma_route.h"

/* Wildcard device ID: all devices of the vendor */
#define P2PDMA_ANY_DEVICE	0xffff

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

static const struct p2pdma_host_bridge *p2pdma_host_known(u16 vendor, u16 device)
{
	return p2pdma_host_search(p2pdma_known, ARRAY_SIZE(p2pdma_known),
				  vendor, device);
}

/**
 * p2pdma_host_look_up - directions that a host bridge is known to forward
 * @id: vendor ID in the low half, device ID in the high half; 0 if it has none
 * @same: whether both devices are below this host bridge
 * @list: the administrator's host bridges
 * @count: number of entries in @list
 * @admitted: where to store whether the answer is from @list
 *
 * Context: any.
 * Return: %P2PDMA_READ and %P2PDMA_WRITE, or 0.
 */
unsigned int p2pdma_host_look_up(u32 id, bool same,
				 const struct p2pdma_host_bridge *list,
				 unsigned int count, bool *admitted)
{
	const u16 vendor = id, device = id >> 16;
	const struct p2pdma_host_bridge *found;

	*admitted = false;
	found = p2pdma_host_known(vendor, device);
	if (!found || (found->same_only && !same)) {
		found = p2pdma_host_search(list, count, vendor, device);
		*admitted = found;
	}
	if (!found)
		return 0;
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

/**
 * p2pdma_host_list_add - add an entry of pci_p2pdma.host_bridge to a list
 * @list: the list, with room for one more
 * @count: number of its entries, updated
 * @text: the entry, VVVV:DDDD or VVVV:DDDD:w
 *
 * Context: any.
 * Return: %P2PDMA_ADMITTED if the entry was added; otherwise why it is malformed
 * or redundant.
 */
enum p2pdma_admission p2pdma_host_list_add(struct p2pdma_host_bridge *list,
					   unsigned int *count,
					   const char *text)
{
	const struct p2pdma_host_bridge *known;
	struct p2pdma_host_bridge entry;

	if (!p2pdma_parse_host_bridge(text, &entry))
		return P2PDMA_MALFORMED;
	if (p2pdma_host_search(list, *count, entry.vendor, entry.device))
		return P2PDMA_ADMITTED_BEFORE;
	known = p2pdma_host_known(entry.vendor, entry.device);
	if (known && !known->same_only && !known->write_only)
		return P2PDMA_LISTED;
	list[(*count)++] = entry;
	return P2PDMA_ADMITTED;
}
