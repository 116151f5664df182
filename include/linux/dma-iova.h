/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DMA mapping in two steps: IOVA space first, memory into it afterwards.
 *
 * For drivers that have their memory as physical ranges and would otherwise
 * build a scatterlist only to map it.  The names, arguments and meaning are
 * those of mainline's API of Linux 6.16; <linux/dma-mapping.h> includes this.
 * Without an IOMMU that the DMA API drives there is no IOVA space:
 * dma_iova_try_alloc() says so, and the driver maps each range by itself.
 * What the functions do stands in front of each in drivers/iommu/dma-iommu.c.
 */

#ifndef _LINUX_DMA_IOVA_H
#define _LINUX_DMA_IOVA_H

#ifndef _LINUX_DMA_MAPPING_H
#error "include <linux/dma-mapping.h> instead"
#endif

#include <linux/bits.h>
#include <linux/dma-direction.h>
#include <linux/errno.h>
#include <linux/types.h>

struct device;

/*
 * DMA_ATTR_MMIO: the memory is a device's, not system memory: no cache is
 * maintained, nothing is bounced, and the IOMMU maps it as such.
 */
#define DMA_ATTR_MMIO	BIT(10)

/**
 * struct dma_iova_state - IOVA space of one mapping
 * @addr: where it starts
 * @__size: its bytes; private, read by dma_iova_size()
 */
struct dma_iova_state {
	dma_addr_t addr;
	u64 __size;
};

/**
 * dma_use_iova - has IOVA space been allocated?
 * @state: zeroed, or filled in by dma_iova_try_alloc()
 *
 * Context: any.
 * Return: true after dma_iova_try_alloc() has succeeded.
 */
static inline bool dma_use_iova(struct dma_iova_state *state)
{
	return state->__size;
}

/**
 * dma_iova_size - how much IOVA space there is
 * @state: zeroed, or filled in by dma_iova_try_alloc()
 *
 * Context: any.
 * Return: bytes.
 */
static inline size_t dma_iova_size(struct dma_iova_state *state)
{
	return state->__size;
}

#ifdef CONFIG_IOMMU_DMA

bool dma_iova_try_alloc(struct device *dev, struct dma_iova_state *state,
			phys_addr_t phys, size_t size);
void dma_iova_free(struct device *dev, struct dma_iova_state *state);
int dma_iova_link(struct device *dev, struct dma_iova_state *state,
		  phys_addr_t phys, size_t offset, size_t size,
		  enum dma_data_direction dir, unsigned long attrs);
int dma_iova_sync(struct device *dev, struct dma_iova_state *state,
		  size_t offset, size_t size);
void dma_iova_unlink(struct device *dev, struct dma_iova_state *state,
		     size_t offset, size_t size, enum dma_data_direction dir,
		     unsigned long attrs);
void dma_iova_destroy(struct device *dev, struct dma_iova_state *state,
		      size_t mapped_len, enum dma_data_direction dir,
		      unsigned long attrs);

#else /* !CONFIG_IOMMU_DMA */

static inline bool dma_iova_try_alloc(struct device *dev,
				      struct dma_iova_state *state,
				      phys_addr_t phys, size_t size)
{
	*state = (struct dma_iova_state) {};
	return false;
}

static inline void dma_iova_free(struct device *dev,
				 struct dma_iova_state *state) { }

static inline int dma_iova_link(struct device *dev,
				struct dma_iova_state *state, phys_addr_t phys,
				size_t offset, size_t size,
				enum dma_data_direction dir,
				unsigned long attrs)
{
	return -EOPNOTSUPP;
}

static inline int dma_iova_sync(struct device *dev,
				struct dma_iova_state *state, size_t offset,
				size_t size)
{
	return -EOPNOTSUPP;
}

static inline void dma_iova_unlink(struct device *dev,
				   struct dma_iova_state *state, size_t offset,
				   size_t size, enum dma_data_direction dir,
				   unsigned long attrs) { }

static inline void dma_iova_destroy(struct device *dev,
				    struct dma_iova_state *state,
				    size_t mapped_len,
				    enum dma_data_direction dir,
				    unsigned long attrs) { }

#endif /* CONFIG_IOMMU_DMA */

#endif /* _LINUX_DMA_IOVA_H */
