/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lists of physical memory: system memory and memory of PCI devices.
 *
 * A list describes memory with or without struct pages: physical ranges in
 * order, each with its provider if it is device memory.  The driver that knows
 * the memory builds the list and passes it on, and the driver of the device
 * that does the DMA maps it as a whole.  Needs CONFIG_PCI_P2PDMA; the functions
 * are described in drivers/pci/p2pdma_phys_list.c.
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
 * struct p2pdma_phys_iter - current range of a walk over a list
 * @provider: provider of the memory, see pcim_p2pdma_provider(); NULL for
 *	system memory
 * @start: CPU address
 * @size: bytes, never 0
 */
struct p2pdma_phys_iter {
	struct p2pdma_provider *provider;
	phys_addr_t start;
	size_t size;

	/* private: index of the next range */
	unsigned int next;
};

/**
 * struct p2pdma_dma_range - DMA addresses of mapped memory, for the device
 * @addr: DMA address
 * @size: bytes
 */
struct p2pdma_dma_range {
	dma_addr_t addr;
	size_t size;
};

/**
 * struct p2pdma_phys_mapping - a list, mapped for a device
 * @count: number of ranges
 * @ranges: all bytes of the list, in its order.  A range may be of any length:
 *	the driver applies limits of single transfers, such as
 *	dma_get_max_seg_size().
 */
struct p2pdma_phys_mapping {
	/* private: state for unmapping */
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
