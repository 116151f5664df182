// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: DMA addresses of peer memory.
 *
 * The DMA API calls pci_p2pdma_map_segment() for each segment of a scatterlist
 * that lies in pages of a region.  Bus addresses are filled in here; memory that
 * is reached through the host bridge is mapped by the caller, by CPU address or
 * through the client's IOMMU.  Drivers map any part of a BAR by its CPU
 * address, with or without struct pages.
 *
 * Memory may be refused even if the verdict allows the route: if the BAR has
 * moved, or if the client can't address the memory.
 */

#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/range.h>
#include <linux/scatterlist.h>

#include <trace/events/p2pdma.h>
#include <kunit/visibility.h>

#include "p2pdma.h"

/* A child device without a DMA mask uses the DMA of its parent. */
static struct device *p2pdma_dma_device(struct device *client)
{
	while (client && !client->dma_mask)
		client = client->parent;
	return client;
}

/*
 * Reasons why @client can't access @bar's memory up to @end, on a route of
 * @map_type, a bit each; 0 if there is none
 */
static inline u32
p2pdma_bar_refusals(const struct p2pdma_bar *bar, phys_addr_t end,
		    struct device *client, enum pci_p2pdma_map_type map_type)
{
	struct device *dev = p2pdma_dma_device(client);
	u32 refusals = 0;

	if (!p2pdma_bar_in_place(bar))
		refusals = BIT(P2PDMA_REASON_BAR_MOVED);
	if (!dev || p2pdma_beyond_mask(dev, end, bar->provider.bus_offset,
				       map_type))
		refusals |= BIT(P2PDMA_REASON_DMA_MASK);
	return refusals;
}

/**
 * p2pdma_memory_refusals - why a client can't access one of a device's regions
 * @p2pdma: the owner of the memory
 * @client: device that would access the memory
 * @map_type: of the route between the two, which is allowed
 *
 * Context: any, under RCU; never sleeps.
 * Return: all reasons, a bit each, or 0 if @client can access all regions.
 */
u32 p2pdma_memory_refusals(struct pci_p2pdma *p2pdma, struct device *client,
			   enum pci_p2pdma_map_type map_type)
{
	struct p2pdma_region *region;
	u32 refusals = 0;

	list_for_each_entry_rcu(region, &p2pdma->regions, node)
		refusals |= p2pdma_bar_refusals(region->bar,
						region->pgmap.range.end,
						client, map_type);
	return refusals;
}

/* Tell the reasons against the route or, if it allows @needs, against the memory. */
static void p2pdma_explain(const struct p2pdma_bar *bar, phys_addr_t end,
			   struct device *client, unsigned int tlp,
			   unsigned int needs)
{
	struct p2pdma_verdict verdict = p2pdma_cached_verdict(bar->p2pdma,
							      client, tlp,
							      false);
	u32 refusals = 0;

	if (verdict.directions && !(needs & ~verdict.directions))
		refusals = p2pdma_bar_refusals(bar, end, client,
					       verdict.map_type);
	trace_p2pdma_refuse(bar, client, tlp, needs,
			    refusals ? p2pdma_first_reason(refusals) :
				       verdict.reason);
	if (refusals)
		p2pdma_explain_refusal(bar->p2pdma, client, tlp, refusals);
	else
		p2pdma_cached_verdict(bar->p2pdma, client, tlp, true);
}

/*
 * How to map @bar's memory up to @end for @client and packets of class @tlp.  The
 * route must allow all of @needs, or any direction if @needs is 0.  The reason of a
 * refusal is logged.
 */
static __always_inline enum pci_p2pdma_map_type
p2pdma_map_type(struct p2pdma_bar *bar, phys_addr_t end, struct device *client,
		unsigned int tlp, unsigned int needs)
{
	struct p2pdma_verdict verdict = p2pdma_cached_verdict(bar->p2pdma,
							      client, tlp,
							      false);

	if (likely(verdict.directions && !(needs & ~verdict.directions)) &&
	    likely(!p2pdma_bar_refusals(bar, end, client, verdict.map_type)))
		return verdict.map_type;
	p2pdma_explain(bar, end, client, tlp, needs);
	return PCI_P2PDMA_MAP_NOT_SUPPORTED;
}

/**
 * pci_p2pdma_map_type_tlp - how DMA addresses for a BAR and a class of packets are
 *	made
 * @provider: the BAR
 * @dev: device that would access the BAR: a PCI device, or a child of one
 * @flags: class of the packets that @dev's transfers consist of,
 *	PCI_P2PDMA_TLP_*; see pci_p2pdma_set_tlp_choice() if @dev's ATS is enabled
 *
 * The answer is for the whole BAR and both directions; dma_map_p2p() may be
 * able to map a part, or for one direction.  The answer is valid until the PCI
 * fabric or @dev's DMA mask changes.
 *
 * Context: any; never sleeps.  The caller holds both devices.
 * Return:
 * * %PCI_P2PDMA_MAP_BUS_ADDR - by pci_p2pdma_bus_addr_map(); to be sent as a
 *   translated address if @flags say so
 * * %PCI_P2PDMA_MAP_THRU_HOST_BRIDGE - by the DMA API, as for system memory
 * * %PCI_P2PDMA_MAP_NOT_SUPPORTED - @dev can't access the BAR, and the log has the
 *   reasons; or @flags are none that this kernel knows
 */
enum pci_p2pdma_map_type pci_p2pdma_map_type_tlp(struct p2pdma_provider *provider,
						 struct device *dev,
						 unsigned int flags)
{
	struct p2pdma_bar *bar = p2pdma_bar(provider);

	if (flags >= PCI_P2PDMA_TLP_CLASSES) {
		dev_err_ratelimited(dev, "p2pdma: unknown PCI_P2PDMA_TLP_ flags %#x\n",
				    flags);
		return PCI_P2PDMA_MAP_NOT_SUPPORTED;
	}
	return p2pdma_map_type(bar, bar->range.end, dev, flags, P2PDMA_BOTH);
}
EXPORT_SYMBOL_GPL(pci_p2pdma_map_type_tlp);

/**
 * p2pdma_bar_has - does a BAR contain a range?
 * @bar: the BAR
 * @phys: CPU address of the range
 * @size: bytes; the sum with @phys may wrap
 *
 * Context: any; never sleeps.
 * Return: true if the range lies in @bar; false if @size is 0.
 */
bool p2pdma_bar_has(const struct p2pdma_bar *bar, phys_addr_t phys,
		    size_t size)
{
	return size && phys >= bar->range.start && phys <= bar->range.end &&
	       size - 1 <= bar->range.end - phys;
}

/**
 * p2pdma_reachable - can a device read or write a part of a BAR?
 * @dev: device that would access the part
 * @provider: the BAR
 * @phys: CPU address of the part
 * @size: its size in bytes
 *
 * Context: any; never sleeps.  The caller holds both devices.
 * Return: 0 if @dev can read, write or both; -EINVAL the part isn't in the BAR,
 * or @dev can't do DMA; -EREMOTEIO @dev can do neither, and the log has the
 * reason.
 */
int p2pdma_reachable(struct device *dev, struct p2pdma_provider *provider,
		     phys_addr_t phys, size_t size)
{
	struct p2pdma_bar *bar = p2pdma_bar(provider);

	if (!dev->dma_mask || !p2pdma_bar_has(bar, phys, size))
		return -EINVAL;
	return p2pdma_map_type(bar, phys + size - 1, dev, 0, 0) ==
	       PCI_P2PDMA_MAP_NOT_SUPPORTED ? -EREMOTEIO : 0;
}

/* Accesses by the device, by DMA direction */
static const u8 p2pdma_needs[] = {
	[DMA_BIDIRECTIONAL]	= P2PDMA_BOTH,
	[DMA_TO_DEVICE]		= P2PDMA_READ,
	[DMA_FROM_DEVICE]	= P2PDMA_WRITE,
};

/* Inlined, as calls would cost 8 and 20 instructions of 159 for each mapping */
static __always_inline int
p2pdma_map_how(struct device *dev, struct p2pdma_bar *bar, phys_addr_t phys,
	       size_t size, enum dma_data_direction dir,
	       enum pci_p2pdma_map_type *map_type)
{
	if (dir >= ARRAY_SIZE(p2pdma_needs) || !dev->dma_mask ||
	    !p2pdma_bar_has(bar, phys, size))
		return -EINVAL;
	*map_type = p2pdma_map_type(bar, phys + size - 1, dev, 0,
				    p2pdma_needs[dir]);
	if (unlikely(*map_type == PCI_P2PDMA_MAP_NOT_SUPPORTED))
		return -EREMOTEIO;
	trace_p2pdma_map(bar, dev, phys, size, *map_type);
	return 0;
}

/**
 * p2pdma_map_check - how would p2pdma_map() map a part of a BAR?
 * @dev: device that would access the part
 * @provider: the BAR
 * @phys: CPU address of the part
 * @size: its size in bytes
 * @dir: direction of the DMA
 * @map_type: where to store the answer
 *
 * On success @map_type is never %PCI_P2PDMA_MAP_NOT_SUPPORTED.
 *
 * Context: any; never sleeps.
 * Return: 0; -EINVAL the part isn't in the BAR, @dir is no direction, or @dev
 * can't do DMA; -EREMOTEIO @dev can't access the part, and the log has the
 * reason.
 */
int p2pdma_map_check(struct device *dev, struct p2pdma_provider *provider,
		     phys_addr_t phys, size_t size,
		     enum dma_data_direction dir,
		     enum pci_p2pdma_map_type *map_type)
{
	return p2pdma_map_how(dev, p2pdma_bar(provider), phys, size, dir,
			      map_type);
}

/* Inlined into p2pdma_map() and dma_map_p2p(); arguments as of the former */
static __always_inline int
p2pdma_map_addr(struct device *dev, struct p2pdma_provider *provider,
		phys_addr_t phys, size_t size, enum dma_data_direction dir,
		unsigned long attrs, dma_addr_t *addr)
{
	enum pci_p2pdma_map_type map_type;
	int ret;

	ret = p2pdma_map_how(dev, p2pdma_bar(provider), phys, size, dir,
			     &map_type);
	if (unlikely(ret))
		return ret;

	if (map_type == PCI_P2PDMA_MAP_BUS_ADDR) {
		*addr = pci_p2pdma_bus_addr_map(provider, phys);
	} else if (!p2pdma_dma_translated(dev)) {
		*addr = phys;
	} else {
		/* Not cached, so mappings may overlap: for dma-debug */
		*addr = dma_map_resource(dev, phys, size, dir,
					 attrs | DMA_ATTR_SKIP_CPU_SYNC);
		if (dma_mapping_error(dev, *addr))
			return -ENOMEM;
	}
	return 0;
}

/**
 * p2pdma_map - dma_map_p2p() with an errno
 * @dev: device that will access the part
 * @provider: the BAR
 * @phys: CPU address of the part
 * @size: its size in bytes
 * @dir: direction of the DMA
 * @attrs: DMA_ATTR_*
 * @addr: where to store the DMA address
 *
 * Context: any; never sleeps.
 * Return:
 * * 0 - mapped
 * * -EINVAL - the part isn't in the BAR, @dir is no direction, or @dev can't do
 *   DMA
 * * -EREMOTEIO - @dev can't access the part, and the log has the reason
 * * -ENOMEM - no IOVA space, or the IOMMU driver can't map device memory
 */
int p2pdma_map(struct device *dev, struct p2pdma_provider *provider,
	       phys_addr_t phys, size_t size, enum dma_data_direction dir,
	       unsigned long attrs, dma_addr_t *addr)
{
	return p2pdma_map_addr(dev, provider, phys, size, dir, attrs, addr);
}

/**
 * dma_map_p2p - map a part of a BAR for a peer device
 * @dev: device that will access the part
 * @provider: the BAR, from pcim_p2pdma_provider()
 * @phys: CPU address of the part
 * @size: its size in bytes
 * @dir: %DMA_TO_DEVICE if @dev reads the BAR, %DMA_FROM_DEVICE if it writes to
 *	the BAR; the route needn't allow the other direction
 * @attrs: DMA_ATTR_*, used if an IOMMU maps the part
 *
 * The memory needs no struct pages.  Without an IOMMU, the cost doesn't depend
 * on @size.  The owner's driver must not leave while anything is mapped.
 *
 * Context: any; never sleeps.  The caller holds both devices.
 * Return: the DMA address, valid for @dev only; an error for
 * dma_mapping_error() if the part isn't in the BAR, if @dev can't access it in
 * this direction (the log has the reason), or if there is no IOVA space.
 */
dma_addr_t dma_map_p2p(struct device *dev, struct p2pdma_provider *provider,
		       phys_addr_t phys, size_t size,
		       enum dma_data_direction dir, unsigned long attrs)
{
	dma_addr_t addr;

	return p2pdma_map_addr(dev, provider, phys, size, dir, attrs, &addr) ?
	       DMA_MAPPING_ERROR : addr;
}
EXPORT_SYMBOL_GPL(dma_map_p2p);

/**
 * p2pdma_is_bus_addr - is a DMA address a bus address?
 * @dev: device that uses the address, whose other DMA addresses are IOVAs
 * @addr: DMA address of peer memory
 *
 * The IOMMU layer reserves the windows of a device's own host bridge in its
 * IOVA space, and routes by bus address stay within these windows.  A device
 * behind a VMD shares the IOVA space of the VMD, where other windows may be
 * reserved, so inside of a window the IOMMU is asked.  (There, an IOVA may also be
 * equal to a bus address that is in use, and packets then go to the wrong one, so
 * that it makes no difference which one is unmapped.)  The BAR's address can't be
 * used: behind another host bridge the BAR's bus address may also be an IOVA of
 * @dev, and the BAR may have moved, or be gone.
 *
 * Context: any; never sleeps.
 * Return: true if @addr is a bus address.
 */
VISIBLE_IF_KUNIT bool p2pdma_is_bus_addr(struct device *dev, dma_addr_t addr)
{
	struct pci_host_bridge *host;
	struct resource_entry *window;
	struct pci_dev *pdev = p2pdma_pci_client(dev);
	struct iommu_domain *domain;

	if (!pdev)
		return false;

	host = pci_find_host_bridge(pdev->bus);
	resource_list_for_each_entry(window, &host->windows) {
		if (resource_type(window->res) != IORESOURCE_MEM ||
		    addr < window->res->start - window->offset ||
		    addr > window->res->end - window->offset)
			continue;
		domain = iommu_get_domain_for_dev(&pdev->dev);
		return !domain || !iommu_iova_to_phys(domain, addr);
	}
	return false;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_is_bus_addr);

/**
 * dma_unmap_p2p - undo dma_map_p2p()
 * @dev: device that the memory is mapped for
 * @provider: the BAR; not dereferenced, so may be freed
 * @addr: DMA address from dma_map_p2p()
 * @size: bytes, as given to dma_map_p2p()
 * @dir: as given to dma_map_p2p()
 * @attrs: as given to dma_map_p2p()
 *
 * The route may have changed since dma_map_p2p().
 *
 * Context: any; never sleeps.
 */
void dma_unmap_p2p(struct device *dev, struct p2pdma_provider *provider,
		   dma_addr_t addr, size_t size, enum dma_data_direction dir,
		   unsigned long attrs)
{
	if (p2pdma_dma_translated(dev) && !p2pdma_is_bus_addr(dev, addr))
		dma_unmap_resource(dev, addr, size, dir, attrs);
}
EXPORT_SYMBOL_GPL(dma_unmap_p2p);

/*
 * The first segment of a region.  Out of line, so that later segments don't save
 * registers for it: 12 of 59 instructions each.
 */
static noinline void p2pdma_map_region(struct pci_p2pdma_map_state *state,
				       struct device *dev,
				       struct dev_pagemap *pgmap)
{
	struct p2pdma_bar *bar = p2pdma_region(pgmap)->bar;

	/* The list's direction isn't known here. */
	state->map = p2pdma_map_type(bar, pgmap->range.end, dev, 0, P2PDMA_BOTH);
	if (trace_p2pdma_map_enabled() &&
	    state->map != PCI_P2PDMA_MAP_NOT_SUPPORTED)
		trace_p2pdma_map(bar, dev, pgmap->range.start,
				 range_len(&pgmap->range), state->map);
	state->bus_off = bar->provider.bus_offset;
	state->pgmap = pgmap;
}

/**
 * pci_p2pdma_map_segment - map one scatterlist segment of provider memory
 * @state: zeroed before the first segment of a list, kept up to the last;
 *	caches the verdict while segments are from the same region
 * @dev: device that will access the memory
 * @segment: segment for which is_pci_p2pdma_page(sg_page(@segment)) holds
 *
 * For implementations of dma_map_sg().  With %PCI_P2PDMA_MAP_BUS_ADDR the
 * segment's DMA address and length are set, and marked as a bus address that
 * needs no unmapping; otherwise @segment is unchanged.
 *
 * Context: any; never sleeps.  The caller holds the segment's pages.
 * Return:
 * * %PCI_P2PDMA_MAP_BUS_ADDR - mapped
 * * %PCI_P2PDMA_MAP_THRU_HOST_BRIDGE - to be mapped like system memory
 * * %PCI_P2PDMA_MAP_NOT_SUPPORTED - @dev can't access the segment, or in one
 *   direction only; the caller fails with -EREMOTEIO
 */
enum pci_p2pdma_map_type pci_p2pdma_map_segment(struct pci_p2pdma_map_state *state,
						struct device *dev,
						struct scatterlist *segment)
{
	struct dev_pagemap *pgmap = sg_page(segment)->pgmap;

	if (pgmap != state->pgmap)
		p2pdma_map_region(state, dev, pgmap);
	if (state->map != PCI_P2PDMA_MAP_BUS_ADDR)
		return state->map;

	sg_dma_address(segment) = state->bus_off + sg_phys(segment);
	sg_dma_len(segment) = segment->length;
	sg_dma_mark_bus_address(segment);
	return PCI_P2PDMA_MAP_BUS_ADDR;
}

/**
 * pci_p2pdma_page_reachable - can a device access the region that a page is in?
 * @page: page for which is_pci_p2pdma_page() holds
 * @client: device that would access it: a PCI device, or a child of one
 *
 * What a mapping would find, before there is one: for the block layer, which sends
 * one request to several disks.
 *
 * Context: any; never sleeps.  The caller holds @page and @client.
 * Return: true if @client can access all of the region, in both directions.
 */
bool pci_p2pdma_page_reachable(const struct page *page, struct device *client)
{
	return p2pdma_map_type(p2pdma_region(page->pgmap)->bar,
			       page->pgmap->range.end, client, 0, P2PDMA_BOTH) !=
		PCI_P2PDMA_MAP_NOT_SUPPORTED;
}
