/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: directions, and reasons of what a route is.
 *
 * Plain numbers, which also mean something to programs.
 */

#ifndef _LINUX_P2PDMA_REASON_H
#define _LINUX_P2PDMA_REASON_H

#include <linux/bits.h>

/* Directions, as the client sees them */
#define P2PDMA_READ	BIT(0)
#define P2PDMA_WRITE	BIT(1)

/**
 * enum p2pdma_reason - why a route is what it is
 * @P2PDMA_REASON_SAME_DEVICE: the client is the owner of the memory
 * @P2PDMA_REASON_SWITCH: packets turn around below a bridge that both share
 * @P2PDMA_REASON_CPU_ALLOWED: the processor forwards between its root ports
 * @P2PDMA_REASON_HOST_BRIDGE_LISTED: the host bridges are known to forward
 * @P2PDMA_REASON_ADMIN_ALLOWED: the command line says that a host bridge does
 * @P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED: only the root complex connects the two,
 *	and it isn't known to forward
 * @P2PDMA_REASON_ACS_REDIRECT: ACS redirects packets, or a device has no way
 *	between its functions, and the root complex isn't known to forward them,
 *	or they don't reach it
 * @P2PDMA_REASON_ACS_EGRESS: ACS Egress Control drops the client's requests
 * @P2PDMA_REASON_MPS_MISMATCH: packets may be larger than a receiver accepts
 * @P2PDMA_REASON_DMA_MASK: the client can't send to such high addresses
 * @P2PDMA_REASON_BAR_MOVED: the BAR isn't where it was when it was registered
 * @P2PDMA_REASON_UNREADABLE: config space could not be read; ask again
 * @P2PDMA_REASON_NOT_PCI: the client is on no PCI bus
 * @P2PDMA_REASON_BOUNCED: all DMA of the client goes through bounce buffers, since
 *	it isn't trusted or swiotlb=force is on
 * @P2PDMA_REASON_MEMORY_ENCRYPTED: the way is through the root complex, and the
 *	DMA API would take the BAR for encrypted system memory
 * @P2PDMA_REASON_DMA_RANGES: the way is through the root complex without an
 *	IOMMU, and the client's DMA addresses aren't CPU addresses
 * @P2PDMA_REASON_MAX: the number of reasons
 *
 * p2pdma_reason_name() gives each a name for people, the same everywhere.
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
