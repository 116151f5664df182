/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: directions, classes of packets, and reasons of verdicts on
 * routes.
 *
 * Plain numbers, so that user space can use this header.
 */

#ifndef _LINUX_P2PDMA_REASON_H
#define _LINUX_P2PDMA_REASON_H

#include <linux/bits.h>

/* Directions, from the client's point of view */
#define P2PDMA_READ	BIT(0)
#define P2PDMA_WRITE	BIT(1)

/**
 * enum pci_p2pdma_tlp_flags - packets of a transfer that ACS routes differently
 * @PCI_P2PDMA_TLP_TRANSLATED: the client sends its requests as Translated
 *	Requests (Address Type 10b, PCIe Base Specification 6.0, section 10.2.1),
 *	for which its ATS must be enabled.  Otherwise they are untranslated.
 * @PCI_P2PDMA_TLP_RELAXED_CPL: the client sets the Relaxed Ordering attribute in
 *	all of its read requests, and so all completions have it.  Otherwise some
 *	may have it.
 * @PCI_P2PDMA_TLP_CLASSES: the number of combinations of these flags
 */
enum pci_p2pdma_tlp_flags {
	PCI_P2PDMA_TLP_TRANSLATED = BIT(0),
	PCI_P2PDMA_TLP_RELAXED_CPL = BIT(1),
	PCI_P2PDMA_TLP_CLASSES = BIT(2),
};

/**
 * enum p2pdma_reason - why a route is allowed, limited or refused
 * @P2PDMA_REASON_SAME_DEVICE: the client is the owner of the memory
 * @P2PDMA_REASON_SWITCH: packets turn around below a bridge that client and
 *	owner share
 * @P2PDMA_REASON_CPU_ALLOWED: the processor forwards between its root ports
 * @P2PDMA_REASON_HOST_BRIDGE_LISTED: the host bridges are known to forward
 * @P2PDMA_REASON_ADMIN_ALLOWED: the command line says that a host bridge
 *	forwards
 * @P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED: the way is through the root complex, which
 *	isn't known to forward, in this direction at least
 * @P2PDMA_REASON_ACS_REDIRECT: ACS redirects packets, or a device has no path
 *	between its functions, and the root complex isn't known to forward such
 *	packets, or they don't reach it
 * @P2PDMA_REASON_ACS_EGRESS: ACS Egress Control drops the client's requests
 * @P2PDMA_REASON_ACS_FORWARDING: a port above both devices isn't set to pass on
 *	what ACS redirects (Upstream Forwarding)
 * @P2PDMA_REASON_ACS_TRANSLATION_BLOCKING: a port drops the client's Translated
 *	Requests and its requests for translation
 * @P2PDMA_REASON_ATS: the client translates all addresses by ATS, so bus addresses
 *	are useless to it, and the way through the IOMMU isn't open
 * @P2PDMA_REASON_ATS_OFF: Translated Requests were asked for, and the client's ATS
 *	is off
 * @P2PDMA_REASON_MPS_MISMATCH: packets may be larger than a receiver accepts
 * @P2PDMA_REASON_DMA_MASK: the client can't address the BAR
 * @P2PDMA_REASON_BAR_MOVED: the BAR's address has changed since registration
 * @P2PDMA_REASON_UNREADABLE: config space could not be read; ask again
 * @P2PDMA_REASON_NOT_PCI: neither the client nor a parent is a PCI device
 * @P2PDMA_REASON_BOUNCED: all DMA of the client goes through bounce buffers, since
 *	it isn't trusted, or the kernel forces it (swiotlb=force, confidential guests)
 * @P2PDMA_REASON_MEMORY_ENCRYPTED: the path is through the root complex, and
 *	the DMA API would take the BAR for encrypted system memory
 * @P2PDMA_REASON_DMA_RANGES: the path is through the root complex without an
 *	IOMMU, and the client's DMA addresses aren't CPU addresses
 * @P2PDMA_REASON_ADDRESS_TAKEN: the path is through the root complex, requests
 *	carry the BAR's CPU address, without an IOMMU or translated by ATS, and it is
 *	also a bus address below the client's host bridge
 * @P2PDMA_REASON_UNKNOWN: a fact isn't known: extended config space isn't
 *	accessible, or the specification leaves the case open
 * @P2PDMA_REASON_MAX: the number of reasons
 *
 * p2pdma_reason_name() returns the name of a reason, the same in all
 * interfaces.
 */
enum p2pdma_reason {
	P2PDMA_REASON_SAME_DEVICE,
	P2PDMA_REASON_SWITCH,
	P2PDMA_REASON_CPU_ALLOWED,
	P2PDMA_REASON_HOST_BRIDGE_LISTED,
	P2PDMA_REASON_ADMIN_ALLOWED,
	P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED,
	P2PDMA_REASON_ACS_REDIRECT,
	P2PDMA_REASON_ACS_EGRESS,
	P2PDMA_REASON_MPS_MISMATCH,
	P2PDMA_REASON_DMA_MASK,
	P2PDMA_REASON_BAR_MOVED,
	P2PDMA_REASON_UNREADABLE,
	P2PDMA_REASON_NOT_PCI,
	P2PDMA_REASON_BOUNCED,
	P2PDMA_REASON_MEMORY_ENCRYPTED,
	P2PDMA_REASON_DMA_RANGES,
	P2PDMA_REASON_ADDRESS_TAKEN,
	P2PDMA_REASON_ACS_FORWARDING,
	P2PDMA_REASON_ACS_TRANSLATION_BLOCKING,
	P2PDMA_REASON_ATS,
	P2PDMA_REASON_ATS_OFF,
	P2PDMA_REASON_UNKNOWN,
	P2PDMA_REASON_MAX,
};

#endif /* _LINUX_P2PDMA_REASON_H */
