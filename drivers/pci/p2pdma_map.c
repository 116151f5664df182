// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: from provider memory to DMA addresses.
 *
 * The DMA API asks here for each segment of a scatterlist that lies in a
 * provider's pages.  Bus addresses are filled in here; what goes through the
 * host bridge is mapped by the caller, as CPU address or through its IOMMU.
 */

#include <linux/dma-map-ops.h>
#include <linux/scatterlist.h>

#include "p2pdma.h"

static enum pci_p2pdma_map_type p2pdma_map_type(struct p2pdma_region *region,
						struct device *dev)
{
	struct pci_p2pdma *provider = region->provider;
	struct p2pdma_route route;

	/* The cache remembers a refusal, so that it is logged only once. */
	if (!p2pdma_route_lookup(&provider->routes, provider->pdev, dev, &route) &&
	    p2pdma_route_refused(&route))
		p2pdma_route_explain(provider->pdev, dev, &route);

	/*
	 * A scatterlist is mapped before anyone says whether the route's
	 * directions suffice, so it must allow both.
	 */
	if (route.directions != (P2PDMA_READ | P2PDMA_WRITE))
		return PCI_P2PDMA_MAP_NOT_SUPPORTED;
	return route.map_type;
}

/**
 * pci_p2pdma_map_segment - map one scatterlist segment of provider memory
 * @state: zeroed before the first segment of a list, kept to the last; it
 *	saves the look-up while segments come from one region
 * @dev: device that will access the memory
 * @segment: one for which is_pci_p2pdma_page(sg_page(@segment)) holds
 *
 * For implementations of dma_map_sg().  With %PCI_P2PDMA_MAP_BUS_ADDR the
 * segment's dma_address and length are set, and marked as a bus address that
 * needs no unmapping; otherwise @segment is left alone.
 *
 * Context: any; never sleeps.  The caller holds the segment's pages.
 * Return:
 * * %PCI_P2PDMA_MAP_BUS_ADDR - mapped
 * * %PCI_P2PDMA_MAP_THRU_HOST_BRIDGE - to be mapped like system memory
 * * %PCI_P2PDMA_MAP_NOT_SUPPORTED - @dev can't reach it; the caller's errno is
 *   -EREMOTEIO
 */
enum pci_p2pdma_map_type pci_p2pdma_map_segment(struct pci_p2pdma_map_state *state,
						struct device *dev,
						struct scatterlist *segment)
{
	struct dev_pagemap *pgmap = sg_page(segment)->pgmap;

	if (pgmap != state->pgmap) {
		struct p2pdma_region *region = p2pdma_region(pgmap);

		state->map = p2pdma_map_type(region, dev);
		state->bus_off = region->bus_offset;
		state->pgmap = pgmap;
	}
	if (state->map != PCI_P2PDMA_MAP_BUS_ADDR)
		return state->map;

	sg_dma_address(segment) = state->bus_off + sg_phys(segment);
	sg_dma_len(segment) = segment->length;
	sg_dma_mark_bus_address(segment);
	return PCI_P2PDMA_MAP_BUS_ADDR;
}
