/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: directions, and reasons of verdicts on routes.
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
 * enum p2pdma_reason - why a route is allowed, limited or refused
 * @P2PDMA_REASON_SAME_DEVICE: the client is the owner of the memory
 * @P2PDMA_REASON_SWITCH: packets turn around below a bridge that client and
 *	owner share
 * @P2PDMA_REASON_CPU_ALLOWED: the processor forwards between its root ports
 * @P2PDMA_REASON_HOST_BRIDGE_LISTED: the host bridges are known to forward
 * @P2PDMA_REASON_ADMIN_ALLOWED: the command line says that a host bridge
 *	forwards
 * @P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED: only the root complex connects client
 *	and owner, and it isn't known to forward
 * @P2PDMA_REASON_ACS_REDIRECT: ACS redirects packets, or a device has no path
 *	between its functions, and the root complex isn't known to forward such
 *	packets, or they don't reach it
 * @P2PDMA_REASON_ACS_EGRESS: ACS Egress Control drops the client's requests
 * @P2PDMA_REASON_MPS_MISMATCH: packets may be larger than a receiver accepts
 * @P2PDMA_REASON_DMA_MASK: the client can't address the BAR
 * @P2PDMA_REASON_BAR_MOVED: the BAR's address has changed since registration
 * @P2PDMA_REASON_UNREADABLE: config space could not be read; ask again
 * @P2PDMA_REASON_NOT_PCI: neither the client nor a parent is a PCI device
 * @P2PDMA_REASON_BOUNCED: all DMA of the client goes through bounce buffers, since
 *	it isn't trusted or swiotlb=force is on
 * @P2PDMA_REASON_MEMORY_ENCRYPTED: the path is through the root complex, and
 *	the DMA API would take the BAR for encrypted system memory
 * @P2PDMA_REASON_DMA_RANGES: the path is through the root complex without an
 *	IOMMU, and the client's DMA addresses aren't CPU addresses
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
	P2PDMA_REASON_MAX,
};

#endif /* _LINUX_P2PDMA_REASON_H */
