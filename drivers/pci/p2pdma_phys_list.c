// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: lists of physical memory.
 *
 * A list is an array of ranges, each of system memory or of one provider.
 * Successive ranges of the same memory are never adjacent, since they are
 * merged.  A list doesn't hold the memory: the driver that builds it keeps the
 * pages and the providers for as long as there are lists and mappings of them.
 *
 * Mapping is all or nothing.  Memory that a device reaches by bus addresses gets
 * these; the rest is mapped to one contiguous range of IOVA space if there is
 * an IOMMU and the ranges fit together without a gap, and one by one otherwise.
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
	size_t end;		/* offset in the list of this range's end */
};

struct p2pdma_phys_list {
	unsigned int count;	/* ranges in use */
	unsigned int room;	/* ranges allocated */
	struct p2pdma_phys_range *ranges;
};

/* Initial room: most lists are short. */
#define P2PDMA_PHYS_ROOM	4

/* ---- Building ---- */

/**
 * p2pdma_phys_list_create - make an empty list
 * @gfp: how to allocate memory
 *
 * Context: as @gfp allows.
 * Return: the list, for p2pdma_phys_list_free(); NULL without memory.
 */
struct p2pdma_phys_list *p2pdma_phys_list_create(gfp_t gfp)
{
	return kzalloc(sizeof(struct p2pdma_phys_list), gfp);
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_create);

/**
 * p2pdma_phys_list_free - free a list
 * @list: the list, or NULL; its memory, and mappings of the list, stay
 *
 * Context: may sleep if the list was built with a gfp that allows sleeping; any
 * otherwise.
 */
void p2pdma_phys_list_free(struct p2pdma_phys_list *list)
{
	if (list)
		kvfree(list->ranges);
	kfree(list);
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_free);

/* Offset in the list of range @index */
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
 * Can dma_map_page() map the memory?  Only the first and the last page are
 * checked; dma_map_sg() checks no page of a scatterlist.
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

/* Make room for one more range */
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

/* Is @start in @provider's memory adjacent to the end of @list's last range? */
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
 * @provider: the BAR of the memory, checked by p2pdma_phys_list_map(); NULL for
 *	system memory
 * @start: CPU address
 * @size: bytes; neither @start nor @size needs alignment
 * @gfp: how to allocate memory
 *
 * A range is merged with the last range of the list if it is of the same memory
 * and adjacent to its end.
 *
 * Context: as @gfp allows.
 * Return: 0; -EINVAL @size is 0, or the range or the size of the list
 * overflows, or @provider is NULL and the range isn't system memory; -ENOMEM no
 * memory, or the list is too long to grow without sleeping.  On an error the
 * list is unchanged.
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

/* Index of the range with byte @at, which must be in @list */
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
 * @at: offset in bytes
 * @gfp: how to allocate memory
 *
 * Context: as @gfp allows.
 * Return: a new list with the rest; ERR_PTR(-EINVAL) if one of the lists would
 * be empty; ERR_PTR(-ENOMEM) no memory.  On an error @list is unchanged.
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
 * p2pdma_phys_list_size - size of the memory in a list
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
 * @list: the list, which must not change during the walk
 * @iter: state of the walk; zeroed before the first range
 *
 *	struct p2pdma_phys_iter iter = { };
 *
 *	while (p2pdma_phys_list_next(list, &iter))
 *		...
 *
 * Context: any; never sleeps.
 * Return: true with @iter filled in; false after the last range, with @iter
 * zeroed.
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
 * p2pdma_phys_list_find - get the CPU address of a byte of a list
 * @list: the list, which must have more than @at bytes
 * @at: offset of the byte
 *
 * Context: any; never sleeps.
 * Return: the CPU address.
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
	dma_addr_t addr;			/* set by mapping */
	size_t size;
	bool by_bus;				/* has a bus address */
	bool in_iova;				/* in the IOVA range */
};

/* State for unmapping; parts are mapped and unmapped in their order */
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

/* Set up all parts; in_iova is set for those that an IOMMU would translate */
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

	/* Unmapping syncs CPU caches for all of the range, or for none. */
	if (!dev_is_dma_coherent(dev) && !part->provider != !next->provider)
		return false;
	return !((part->phys + part->size) & mask) && !(next->phys & mask);
}

/* Allocate one IOVA range for all parts with in_iova, or clear all in_iova */
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

/* DMA_ATTR_* for linking a part into the IOVA range */
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
	if (part->in_iova || part->by_bus)
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
	/* Kinds are mixed only where p2pdma_phys_fits() allows it. */
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

		/* Other adjacent parts are of different providers. */
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
 * @dev: device that will access the memory
 * @list: the list; may be freed once it is mapped
 * @dir: %DMA_TO_DEVICE if @dev reads the memory, %DMA_FROM_DEVICE if it writes
 *	to the memory
 * @attrs: DMA_ATTR_*
 * @gfp: how to allocate memory for the mapping
 *
 * Memory of a peer that @dev reaches below the root complex gets bus addresses.
 * All other memory gets one contiguous range of DMA addresses if @dev is behind
 * an IOMMU that the DMA API uses and needs no bounce buffers, and if all
 * boundaries between ranges are aligned to the IOMMU's granule.  Otherwise each
 * range is mapped separately, as by dma_map_page() or dma_map_p2p().
 *
 * The cost grows with the number of ranges; with their size only if system
 * memory is bounced or needs cache maintenance, or if an IOMMU translates.
 *
 * Providers and pages must stay until p2pdma_phys_list_unmap(); the rules of
 * dma_map_p2p() and dma_map_page() apply.  On an error nothing is mapped.
 *
 * Context: as @gfp allows.  The caller holds @dev and the providers' devices.
 * Return:
 * * the mapping - mapped
 * * ERR_PTR(-EINVAL) - @list is empty or has memory outside of its provider's
 *   BAR, @dir is no direction, or @dev can't do DMA
 * * ERR_PTR(-EREMOTEIO) - @dev can't access a provider in this direction, and
 *   the log has the reason
 * * ERR_PTR(-ENOMEM) - no memory, no IOVA space, or no bounce buffers
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
	/* Set for each part, depending on its memory */
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
	/* The device has written nothing, so don't copy data back. */
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
 * Context: may sleep if the gfp of p2pdma_phys_list_map() allows sleeping; any
 * otherwise.
 */
void p2pdma_phys_list_unmap(struct p2pdma_phys_mapping *mapping)
{
	if (!mapping)
		return;
	p2pdma_phys_unmap_all(mapping->undo);
	p2pdma_phys_mapping_free(mapping);
}
EXPORT_SYMBOL_GPL(p2pdma_phys_list_unmap);
