// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: lists of physical memory.
 *
 * A list is an array of ranges, each of system memory or of one provider's.
 * Neighbouring ranges of the same memory never touch, or they would be one.  A
 * list owns no memory but itself: the driver that builds it keeps the pages,
 * and the providers, for as long as there are lists and mappings.
 *
 * Mapping is all or nothing.  Memory that a device reaches by bus addresses gets
 * those; the rest is mapped in one contiguous piece of IOVA space where there is
 * an IOMMU and the ranges fit together without a gap, and one by one elsewhere.
 *
 * Callers serialise changes of a list.
 */

#include <linux/array_size.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/p2pdma-phys-list.h>
#include <linux/slab.h>

#include "p2pdma.h"

struct p2pdma_phys_range {
	struct p2pdma_provider *provider;	/* NULL: system memory */
	phys_addr_t start;
	size_t end;		/* bytes of the list up to the end of this range */
};

struct p2pdma_phys_list {
	unsigned int count;	/* of ranges */
	unsigned int room;	/* for ranges */
	struct p2pdma_phys_range *ranges;
};

/* Most lists are short. */
#define P2PDMA_PHYS_ROOM	4

/* ---- Building ---- */

/**
 * p2pdma_phys_list_create - make an empty list
 * @gfp: how to allocate memory
 *
 * Context: as @gfp says.
 * Return: the list, for p2pdma_phys_list_free(); NULL without memory.
 */
struct p2pdma_phys_list *p2pdma_phys_list_create(gfp_t gfp)
{
	return kzalloc(sizeof(struct p2pdma_phys_list), gfp);
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_create);

/**
 * p2pdma_phys_list_free - free a list
 * @list: the list, or NULL; the memory that it names, and mappings of it, stay
 *
 * Context: where the list was built with memory that allows to sleep, this may
 * sleep too; any otherwise.
 */
void p2pdma_phys_list_free(struct p2pdma_phys_list *list)
{
	if (list)
		kvfree(list->ranges);
	kfree(list);
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_free);

/* Bytes of the list before range @index */
static size_t p2pdma_phys_before(const struct p2pdma_phys_list *list,
				 unsigned int index)
{
	return index ? list->ranges[index - 1].end : 0;
}

static size_t p2pdma_phys_size(const struct p2pdma_phys_list *list,
			       unsigned int index)
{
	return list->ranges[index].end - p2pdma_phys_before(list, index);
}

/*
 * Is it memory that dma_map_page() can map?  Only the first page and the last are
 * checked; for a scatterlist dma_map_sg() checks none.
 */
static bool p2pdma_is_system_memory(phys_addr_t start, phys_addr_t last)
{
	unsigned long pfns[] = { PHYS_PFN(start), PHYS_PFN(last) };
	int i;

	for (i = 0; i < ARRAY_SIZE(pfns); i++) {
		if (!pfn_valid(pfns[i]) ||
		    is_pci_p2pdma_page(pfn_to_page(pfns[i])))
			return false;
	}
	return true;
}

/* Room for one more range */
static int p2pdma_phys_grow(struct p2pdma_phys_list *list, gfp_t gfp)
{
	unsigned int room = max(2 * list->room, P2PDMA_PHYS_ROOM);
	struct p2pdma_phys_range *ranges;

	if (list->count < list->room)
		return 0;
	/* vmalloc() may sleep. */
	if (is_vmalloc_addr(list->ranges) && !gfpflags_allow_blocking(gfp))
		return -ENOMEM;
	ranges = kvrealloc(list->ranges, array_size(room, sizeof(*ranges)),
			   gfp | __GFP_NOWARN);
	if (!ranges)
		return -ENOMEM;
	list->ranges = ranges;
	list->room = room;
	return 0;
}

/* Does memory of @provider from @start on continue the last range of @list? */
static bool p2pdma_phys_continues(const struct p2pdma_phys_list *list,
				  struct p2pdma_provider *provider,
				  phys_addr_t start)
{
	const struct p2pdma_phys_range *last;

	if (!list->count)
		return false;
	last = &list->ranges[list->count - 1];
	return last->provider == provider &&
	       last->start + p2pdma_phys_size(list, list->count - 1) == start;
}

/**
 * p2pdma_phys_list_add - append memory to a list
 * @list: the list
 * @provider: the BAR that it lies in, which p2pdma_phys_list_map() checks; NULL
 *	for system memory
 * @start: CPU address
 * @size: bytes; neither needs any alignment
 * @gfp: how to allocate memory
 *
 * A range that begins where the last one of the same memory ends is merged.
 *
 * Context: as @gfp says.
 * Return: 0; -EINVAL @size is 0, or the range or the size of the list overflows,
 * or the range is no system memory though there is no @provider; -ENOMEM no
 * memory, or the list is too long to grow without sleeping.  After an error the list is as before.
 */
int p2pdma_phys_list_add(struct p2pdma_phys_list *list,
			 struct p2pdma_provider *provider, phys_addr_t start,
			 size_t size, gfp_t gfp)
{
	phys_addr_t last;
	size_t end;
	int ret;

	if (!size || check_add_overflow(start, size - 1, &last) ||
	    check_add_overflow(p2pdma_phys_before(list, list->count), size,
			       &end) ||
	    (!provider && !p2pdma_is_system_memory(start, last)))
		return -EINVAL;

	if (p2pdma_phys_continues(list, provider, start)) {
		list->ranges[list->count - 1].end = end;
		return 0;
	}
	ret = p2pdma_phys_grow(list, gfp);
	if (ret)
		return ret;
	list->ranges[list->count++] = (struct p2pdma_phys_range) {
		provider, start, end
	};
	return 0;
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_add);

/* The number of the range with byte @at of @list, which has as many */
static unsigned int p2pdma_phys_index(const struct p2pdma_phys_list *list,
				      size_t at)
{
	unsigned int low = 0, high = list->count - 1, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (list->ranges[middle].end <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/**
 * p2pdma_phys_list_split - cut a list in two
 * @list: the list, which keeps its first @at bytes
 * @at: in bytes
 * @gfp: how to allocate memory
 *
 * Context: as @gfp says.
 * Return: a new list of the rest; ERR_PTR(-EINVAL) where one of the two would be
 * empty; ERR_PTR(-ENOMEM) no memory.  After an error @list is as before.
 */
struct p2pdma_phys_list *p2pdma_phys_list_split(struct p2pdma_phys_list *list,
						size_t at, gfp_t gfp)
{
	struct p2pdma_phys_list *rest;
	unsigned int index, i;
	size_t before;

	if (!at || at >= p2pdma_phys_list_size(list))
		return ERR_PTR(-EINVAL);

	index = p2pdma_phys_index(list, at);
	before = p2pdma_phys_before(list, index);
	rest = p2pdma_phys_list_create(gfp);
	if (!rest)
		return ERR_PTR(-ENOMEM);
	rest->count = list->count - index;
	rest->room = rest->count;
	rest->ranges = kvmalloc_array(rest->room, sizeof(*rest->ranges),
				      gfp | __GFP_NOWARN);
	if (!rest->ranges) {
		p2pdma_phys_list_free(rest);
		return ERR_PTR(-ENOMEM);
	}

	for (i = 0; i < rest->count; i++) {
		rest->ranges[i] = list->ranges[index + i];
		rest->ranges[i].end -= at;
	}
	rest->ranges[0].start += at - before;
	if (at == before) {
		list->count = index;
	} else {
		list->count = index + 1;
		list->ranges[index].end = at;
	}
	return rest;
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_split);

/* ---- Reading ---- */

/**
 * p2pdma_phys_list_size - how much memory a list names
 * @list: the list
 *
 * Context: any; never sleeps.
 * Return: bytes.
 */
size_t p2pdma_phys_list_size(const struct p2pdma_phys_list *list)
{
	return p2pdma_phys_before(list, list->count);
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_size);

/**
 * p2pdma_phys_list_next - walk a list, range by range
 * @list: the list, which doesn't change meanwhile
 * @iter: where the walk is; zeroed before the first range
 *
 *	struct p2pdma_phys_iter iter = { };
 *
 *	while (p2pdma_phys_list_next(list, &iter))
 *		...
 *
 * Context: any; never sleeps.
 * Return: true with @iter filled in, or false after the last range, and @iter
 * is zeroed.
 */
bool p2pdma_phys_list_next(const struct p2pdma_phys_list *list,
			   struct p2pdma_phys_iter *iter)
{
	unsigned int index = iter->next;

	if (index == list->count) {
		*iter = (struct p2pdma_phys_iter) { };
		return false;
	}
	*iter = (struct p2pdma_phys_iter) {
		.provider = list->ranges[index].provider,
		.start = list->ranges[index].start,
		.size = p2pdma_phys_size(list, index),
		.next = index + 1,
	};
	return true;
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_next);

/**
 * p2pdma_phys_list_find - where a byte of a list lies
 * @list: the list
 * @at: which byte of it
 *
 * Context: any; never sleeps.
 * Return: its CPU address; the list has more than @at bytes.
 */
phys_addr_t p2pdma_phys_list_find(const struct p2pdma_phys_list *list, size_t at)
{
	unsigned int index = p2pdma_phys_index(list, at);

	return list->ranges[index].start + at - p2pdma_phys_before(list, index);
}

/* ---- Mapping ---- */

/* One range of the list */
struct p2pdma_phys_part {
	struct p2pdma_provider *provider;	/* NULL: system memory */
	phys_addr_t phys;
	dma_addr_t addr;			/* once it is mapped */
	size_t size;
	bool by_bus;				/* has a bus address */
	bool in_iova;				/* in the contiguous piece */
};

/* What unmapping needs; parts are mapped and unmapped in their order */
struct p2pdma_phys_undo {
	struct device *dev;
	enum dma_data_direction dir;
	unsigned long attrs;
	struct dma_iova_state iova;
	size_t linked;			/* bytes, from the start of @iova */
	unsigned int mapped;		/* parts */
	unsigned int count;
	struct p2pdma_phys_part parts[] __counted_by(count);
};

/* Note all parts, and which of them the IOMMU would translate if there is one */
static int p2pdma_phys_plan(struct p2pdma_phys_undo *undo,
			    const struct p2pdma_phys_list *list)
{
	struct p2pdma_phys_part *part = undo->parts;
	enum pci_p2pdma_map_type map_type;
	struct p2pdma_phys_iter iter = { };
	int ret;

	while (p2pdma_phys_list_next(list, &iter)) {
		*part = (struct p2pdma_phys_part) {
			.provider = iter.provider,
			.phys = iter.start,
			.size = iter.size,
			.in_iova = true,
		};
		if (iter.provider) {
			ret = p2pdma_map_check(undo->dev, iter.provider,
					       iter.start, iter.size,
					       undo->dir, &map_type);
			if (ret)
				return ret;
			part->by_bus = map_type == PCI_P2PDMA_MAP_BUS_ADDR;
			part->in_iova = !part->by_bus;
		}
		part++;
	}
	return 0;
}

/* Can @next follow @part in IOVA space, without a gap? */
static bool p2pdma_phys_fits(struct device *dev,
			     const struct p2pdma_phys_part *part,
			     const struct p2pdma_phys_part *next)
{
	unsigned long mask = dma_get_merge_boundary(dev);

	/* Unmapping maintains the CPU's caches for all of it, or for nothing. */
	if (!dev_is_dma_coherent(dev) && !part->provider != !next->provider)
		return false;
	return !((part->phys + part->size) & mask) && !(next->phys & mask);
}

/* One piece of IOVA space for all parts with in_iova set, or for none */
static void p2pdma_phys_alloc_iova(struct p2pdma_phys_undo *undo)
{
	struct p2pdma_phys_part *part, *first = NULL, *last = NULL;
	struct p2pdma_phys_part *end = undo->parts + undo->count;
	size_t size = 0;

	for (part = undo->parts; part < end; part++) {
		if (!part->in_iova)
			continue;
		if (last && !p2pdma_phys_fits(undo->dev, last, part))
			goto none;
		if (!first)
			first = part;
		last = part;
		size += part->size;
	}
	if (!first || dma_iova_try_alloc(undo->dev, &undo->iova, first->phys,
					 size))
		return;
none:
	for (part = undo->parts; part < end; part++)
		part->in_iova = false;
}

/* What the IOMMU is told of a part in its space */
static unsigned long p2pdma_phys_attrs(const struct p2pdma_phys_undo *undo,
				       const struct p2pdma_phys_part *part)
{
	return undo->attrs | (part->provider ? DMA_ATTR_MMIO : 0);
}

static int p2pdma_phys_map_part(struct p2pdma_phys_undo *undo,
				struct p2pdma_phys_part *part)
{
	int ret;

	if (part->by_bus) {
		part->addr = pci_p2pdma_bus_addr_map(part->provider,
						     part->phys);
		return 0;
	}

	if (part->in_iova) {
		ret = dma_iova_link(undo->dev, &undo->iova, part->phys,
				    undo->linked, part->size, undo->dir,
				    p2pdma_phys_attrs(undo, part));
		if (ret)
			return ret;
		part->addr = undo->iova.addr + undo->linked;
		undo->linked += part->size;
		return 0;
	}

	if (part->provider)
		return p2pdma_map(undo->dev, part->provider, part->phys,
				  part->size, undo->dir, undo->attrs,
				  &part->addr);

	part->addr = dma_map_page_attrs(undo->dev,
					pfn_to_page(PHYS_PFN(part->phys)),
					offset_in_page(part->phys), part->size,
					undo->dir, undo->attrs);
	return dma_mapping_error(undo->dev, part->addr) ? -ENOMEM : 0;
}

static void p2pdma_phys_unmap_part(struct p2pdma_phys_undo *undo,
				   struct p2pdma_phys_part *part)
{
	if (part->in_iova)
		return;
	if (part->provider) {
		dma_unmap_p2p(undo->dev, part->provider, part->addr,
			      part->size, undo->dir, undo->attrs);
	} else {
		dma_unmap_page_attrs(undo->dev, part->addr, part->size,
				     undo->dir, undo->attrs);
	}
}

static void p2pdma_phys_unmap_all(struct p2pdma_phys_undo *undo)
{
	struct p2pdma_phys_part *part, *linked = NULL;
	unsigned int i;

	for (i = 0; i < undo->mapped; i++) {
		part = &undo->parts[i];
		p2pdma_phys_unmap_part(undo, part);
		if (part->in_iova)
			linked = part;
	}
	/* Of several kinds only where p2pdma_phys_fits() says that it doesn't matter */
	if (dma_use_iova(&undo->iova))
		dma_iova_destroy(undo->dev, &undo->iova, undo->linked,
				 undo->dir,
				 linked ? p2pdma_phys_attrs(undo, linked) : 0);
}

static int p2pdma_phys_map_all(struct p2pdma_phys_mapping *mapping)
{
	struct p2pdma_phys_undo *undo = mapping->undo;
	struct p2pdma_phys_part *part;
	unsigned int ranges = 0;
	int ret;

	while (undo->mapped < undo->count) {
		part = &undo->parts[undo->mapped];
		ret = p2pdma_phys_map_part(undo, part);
		if (ret)
			return ret;

		/* Elsewhere, ranges that touch are one, or are of two devices. */
		if (undo->mapped && part[-1].in_iova && part->in_iova)
			mapping->ranges[ranges - 1].size += part->size;
		else
			mapping->ranges[ranges++] = (struct p2pdma_dma_range) {
				part->addr, part->size
			};
		undo->mapped++;
	}
	mapping->count = ranges;
	return undo->linked ? dma_iova_sync(undo->dev, &undo->iova, 0,
					    undo->linked) : 0;
}

static void p2pdma_phys_mapping_free(struct p2pdma_phys_mapping *mapping)
{
	if (mapping)
		kvfree(mapping->undo);
	kvfree(mapping);
}

static struct p2pdma_phys_mapping *p2pdma_phys_mapping_create(unsigned int count,
							      gfp_t gfp)
{
	struct p2pdma_phys_mapping *mapping;

	mapping = kvzalloc(struct_size(mapping, ranges, count), gfp);
	if (!mapping)
		return NULL;
	mapping->undo = kvzalloc(struct_size(mapping->undo, parts, count), gfp);
	if (!mapping->undo) {
		p2pdma_phys_mapping_free(mapping);
		return NULL;
	}
	mapping->count = count;
	mapping->undo->count = count;
	return mapping;
}

/**
 * p2pdma_phys_list_map - map all memory of a list for a device
 * @dev: device that will access it
 * @list: the list; the mapping doesn't need it any more
 * @dir: what @dev does: %DMA_TO_DEVICE reads the memory, %DMA_FROM_DEVICE
 *	writes to it
 * @attrs: DMA_ATTR_*
 * @gfp: how to allocate memory for the mapping
 *
 * Memory of a peer that @dev reaches below the root complex gets bus addresses.
 * All else gets one contiguous range of addresses where @dev is behind an IOMMU
 * that the DMA API drives, it needs no bounce buffers, and everything but the
 * start of the first range and the end of the last one is aligned to the IOMMU's
 * granule.  Where not, each range is mapped by itself: as by dma_map_page() or
 * dma_map_p2p().
 *
 * The work grows with the number of ranges in the list, and with their size
 * only where system memory is bounced or has caches to maintain, and where an
 * IOMMU is on the way.
 *
 * Providers and pages stay where they are until p2pdma_phys_list_unmap(); the
 * rules of dma_map_p2p() and of dma_map_page() hold.
 *
 * Context: as @gfp says.  The caller holds @dev and the providers' devices.
 * Return:
 * * the mapping - mapped
 * * ERR_PTR(-EINVAL) - @list is empty, names what isn't in a provider's BAR,
 *   @dir is no direction, or @dev can't do DMA; nothing is mapped, as below
 * * ERR_PTR(-EREMOTEIO) - @dev can't reach a provider that way, and the log
 *   says why
 * * ERR_PTR(-ENOMEM) - no memory, no room in the IOMMU, or no bounce buffers
 */
struct p2pdma_phys_mapping *
p2pdma_phys_list_map(struct device *dev, const struct p2pdma_phys_list *list,
		     enum dma_data_direction dir, unsigned long attrs,
		     gfp_t gfp)
{
	struct p2pdma_phys_mapping *mapping;
	int ret;

	if (!list->count || !valid_dma_direction(dir) ||
	    !dev->dma_mask)
		return ERR_PTR(-EINVAL);

	mapping = p2pdma_phys_mapping_create(list->count, gfp);
	if (!mapping)
		return ERR_PTR(-ENOMEM);
	mapping->undo->dev = dev;
	mapping->undo->dir = dir;
	/* Set for each part by what it is */
	mapping->undo->attrs = attrs & ~DMA_ATTR_MMIO;

	ret = p2pdma_phys_plan(mapping->undo, list);
	if (ret)
		goto err_free;
	p2pdma_phys_alloc_iova(mapping->undo);
	ret = p2pdma_phys_map_all(mapping);
	if (ret)
		goto err_unmap;
	return mapping;

err_unmap:
	/* The device has written nothing: no data is copied back. */
	mapping->undo->attrs |= DMA_ATTR_SKIP_CPU_SYNC;
	p2pdma_phys_unmap_all(mapping->undo);
err_free:
	p2pdma_phys_mapping_free(mapping);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_map);

/**
 * p2pdma_phys_list_unmap - undo p2pdma_phys_list_map()
 * @mapping: the mapping, which is freed, or NULL
 *
 * Context: where p2pdma_phys_list_map() had memory that allows to sleep, this
 * may sleep too; any otherwise.
 */
void p2pdma_phys_list_unmap(struct p2pdma_phys_mapping *mapping)
{
	if (!mapping)
		return;
	p2pdma_phys_unmap_all(mapping->undo);
	p2pdma_phys_mapping_free(mapping);
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_unmap);
