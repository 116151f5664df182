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
 * @P2PDMA_REASON_SAME_DEVICE: the client is the provider
 * @P2PDMA_REASON_SWITCH: packets turn around below a bridge that both share
 * @P2PDMA_REASON_CPU_ALLOWED: the processor forwards between its root ports
 * @P2PDMA_REASON_HOST_BRIDGE_LISTED: the host bridges are known to forward
 * @P2PDMA_REASON_ADMIN_ALLOWED: the command line says that a host bridge does
 * @P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED: nobody says that the root complex,
 *	which alone connects the two, forwards
 * @P2PDMA_REASON_ACS_REDIRECT: ACS, or for lack of a way inside of it the
 *	device itself, sends packets up to a root complex that doesn't forward
 *	them, or that they don't reach
 * @P2PDMA_REASON_ACS_EGRESS: ACS Egress Control drops the client's requests
 * @P2PDMA_REASON_MPS_MISMATCH: packets may be larger than a receiver accepts
 * @P2PDMA_REASON_DMA_MASK: the client can't send to such high addresses
 * @P2PDMA_REASON_BAR_MOVED: the BAR isn't where it was when it was registered
 * @P2PDMA_REASON_UNREADABLE: config space could not be read; ask again
 * @P2PDMA_REASON_NOT_PCI: the client is on no PCI bus
 * @P2PDMA_REASON_BOUNCED: the client isn't trusted, or for another reason all
 *	its DMA goes through bounce buffers
 * @P2PDMA_REASON_MEMORY_ENCRYPTED: the way is through the root complex, and
 *	system memory is encrypted, for which the DMA API would take the BAR
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
