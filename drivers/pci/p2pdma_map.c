// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: from provider memory to DMA addresses.
 *
 * The DMA API asks here for each segment of a scatterlist that lies in a
 * provider's pages.  Bus addresses are filled in here; what goes through the
 * host bridge is mapped by the caller, as CPU address or through its IOMMU.
 *
 * A route is between devices; here it meets memory, which may limit it further:
 * by where the BAR is now, and by what addresses the client can send.
 */

#include <linux/dma-map-ops.h>
#include <linux/scatterlist.h>

#include "p2pdma.h"

/**
 * p2pdma_region_in_place - are a region's pages still what is in the BAR?
 * @region: the region
 *
 * The PCI core may move a BAR while its memory is registered.  The pages then
 * belong to addresses where nothing answers, or something else does.
 *
 * Context: any; never sleeps.
 * Return: true where they are.
 */
bool p2pdma_region_in_place(struct p2pdma_region *region)
{
	struct resource *bar = pci_resource_n(region->provider->pdev,
					      region->bar);

	return READ_ONCE(bar->start) + region->bar_offset ==
	       region->pgmap.range.start &&
	       READ_ONCE(bar->end) >= region->pgmap.range.end &&
	       !(READ_ONCE(bar->flags) & IORESOURCE_UNSET);
}

/* What a device may be sent to, which for a child is what its parent may be */
static u64 p2pdma_dma_mask(struct device *client)
{
	while (client && !client->dma_mask)
		client = client->parent;
	return client ? dma_get_mask(client) : 0;
}

/* What keeps @client from @region on a route of @map_type; _MAX for nothing */
static enum p2pdma_reason p2pdma_limit_region(struct p2pdma_region *region,
					      struct device *client,
					      enum pci_p2pdma_map_type map_type)
{
	if (!p2pdma_region_in_place(region))
		return P2PDMA_REASON_BAR_MOVED;
	if (map_type == PCI_P2PDMA_MAP_BUS_ADDR &&
	    region->pgmap.range.end + region->bus_offset >
	    p2pdma_dma_mask(client))
		return P2PDMA_REASON_DMA_MASK;
	return P2PDMA_REASON_MAX;
}

/**
 * p2pdma_limit - what keeps a client from a part of a provider's memory
 * @provider: the provider
 * @client: device that would access it
 * @map_type: of the route between the two, which allows it
 *
 * Context: any, under RCU; never sleeps.
 * Return: the reason, or %P2PDMA_REASON_MAX where nothing does.
 */
enum p2pdma_reason p2pdma_limit(struct pci_p2pdma *provider,
				struct device *client,
				enum pci_p2pdma_map_type map_type)
{
	enum p2pdma_reason reason = P2PDMA_REASON_MAX;
	struct p2pdma_region *region;

	list_for_each_entry_rcu(region, &provider->regions, node) {
		reason = p2pdma_limit_region(region, client, map_type);
		if (reason != P2PDMA_REASON_MAX)
			break;
	}
	return reason;
}

/*
 * How to map @region's pages for @client.  A scatterlist is mapped before
 * anyone says which direction it is for, so the route must allow both.
 */
static enum pci_p2pdma_map_type p2pdma_map_type(struct p2pdma_region *region,
						struct device *client)
{
	struct pci_p2pdma *provider = region->provider;
	u64 verdict = p2pdma_verdict(&provider->routes, provider->pdev, client,
				     true);
	enum pci_p2pdma_map_type map_type = p2pdma_verdict_map_type(verdict);
	enum p2pdma_reason reason;

	if (!p2pdma_verdict_both(verdict))
		return PCI_P2PDMA_MAP_NOT_SUPPORTED;

	reason = p2pdma_limit_region(region, client, map_type);
	if (likely(reason == P2PDMA_REASON_MAX))
		return map_type;
	p2pdma_verdict_refused(&provider->routes, provider->pdev, client,
			       reason);
	return PCI_P2PDMA_MAP_NOT_SUPPORTED;
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
 * * %PCI_P2PDMA_MAP_NOT_SUPPORTED - @dev can't reach it, or in one direction
 *   only; the caller's errno is -EREMOTEIO
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
