/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lists of physical memory: of the CPU, and of PCI devices.
 *
 * What a scatterlist says of memory with struct pages, a list says of any:
 * physical ranges in order, and for a device's the provider that they belong
 * to.  Drivers build one where the memory is known, pass it along, and the one
 * at the end maps it whole for its device.  For CONFIG_PCI_P2PDMA; what the
 * functions do stands in front of each in drivers/pci/p2pdma_phys_list.c.
 */

#ifndef _LINUX_P2PDMA_PHYS_LIST_H
#define _LINUX_P2PDMA_PHYS_LIST_H

#include <linux/compiler_attributes.h>
#include <linux/dma-direction.h>
#include <linux/gfp_types.h>
#include <linux/types.h>

struct device;
struct p2pdma_phys_list;
struct p2pdma_phys_undo;
struct p2pdma_provider;

/**
 * struct p2pdma_phys_iter - one range of a list, on a walk
 * @provider: whose memory it is, see pcim_p2pdma_provider(); NULL for system memory
 * @start: CPU address
 * @size: bytes, never 0
 */
struct p2pdma_phys_iter {
	struct p2pdma_provider *provider;
	phys_addr_t start;
	size_t size;

	/* private: where the walk is */
	unsigned int next;
};

/**
 * struct p2pdma_dma_range - what a device is told of mapped memory
 * @addr: DMA address
 * @size: bytes
 */
struct p2pdma_dma_range {
	dma_addr_t addr;
	size_t size;
};

/**
 * struct p2pdma_phys_mapping - a list, mapped for a device
 * @count: how many ranges there are
 * @ranges: all of the list's bytes, in its order.  What is contiguous for the
 *	device is one range, however long: limits of single transfers, such as
 *	dma_get_max_seg_size(), are for the driver to keep.
 */
struct p2pdma_phys_mapping {
	/* private: what unmapping needs */
	struct p2pdma_phys_undo *undo;

	/* public: */
	unsigned int count;
	struct p2pdma_dma_range ranges[] __counted_by(count);
};

struct p2pdma_phys_list *p2pdma_phys_list_create(gfp_t gfp);
void p2pdma_phys_list_free(struct p2pdma_phys_list *list);
int p2pdma_phys_list_add(struct p2pdma_phys_list *list,
			 struct p2pdma_provider *provider, phys_addr_t start,
			 size_t size, gfp_t gfp);
struct p2pdma_phys_list *p2pdma_phys_list_split(struct p2pdma_phys_list *list,
						size_t at, gfp_t gfp);

size_t p2pdma_phys_list_size(const struct p2pdma_phys_list *list);
bool p2pdma_phys_list_next(const struct p2pdma_phys_list *list,
			   struct p2pdma_phys_iter *iter);

struct p2pdma_phys_mapping *
p2pdma_phys_list_map(struct device *dev, const struct p2pdma_phys_list *list,
		     enum dma_data_direction dir, unsigned long attrs,
		     gfp_t gfp);
void p2pdma_phys_list_unmap(struct p2pdma_phys_mapping *mapping);

#endif /* _LINUX_P2PDMA_PHYS_LIST_H */
