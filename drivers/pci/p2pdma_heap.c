// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: published memory for programs, as dma-bufs.
 *
 * Each device with published memory has a heap in /dev/dma_heap, named after it,
 * as in p2pmem-0000:03:00.0.  Buffers are contiguous, cleared, and allocated from
 * the device's pool.  p2pdma_dmabuf.c does the rest.
 *
 * Memory is published and unpublished in any context, but making and removing a
 * heap may sleep: a work item does it a little later.  Allocation looks at
 * pci_p2pdma::published itself, and doesn't rely on the work having been done.
 */

#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/p2pdma-dmabuf.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "p2pdma.h"

/* What a buffer's memory needs to be freed */
struct p2pdma_heap_memory {
	struct pci_dev *pdev;
	void *addr;
	size_t size;			/* in bytes */
};

/* release() of the dma-buf */
static void p2pdma_heap_free(void *data)
{
	struct p2pdma_heap_memory *memory = data;

	pci_free_p2pmem(memory->pdev, memory->addr, memory->size);
	kfree(memory);
}

static struct dma_buf *p2pdma_heap_allocate(struct dma_heap *heap,
					    unsigned long len, u32 fd_flags,
					    u64 heap_flags)
{
	struct pci_p2pdma *p2pdma = dma_heap_get_drvdata(heap);
	struct p2pdma_heap_memory *memory;
	struct p2pdma_region *region;
	struct dma_buf *dmabuf;
	int ret;

	if (!READ_ONCE(p2pdma->published))
		return ERR_PTR(-ENODEV);

	memory = kmalloc(sizeof(*memory), GFP_KERNEL);
	if (!memory)
		return ERR_PTR(-ENOMEM);
	memory->pdev = p2pdma->pdev;
	memory->size = len;
	memory->addr = pci_alloc_p2pmem(p2pdma->pdev, len);
	if (!memory->addr) {
		/* Where the driver leaves, it is unpublished first. */
		ret = READ_ONCE(p2pdma->published) ? -ENOMEM : -ENODEV;
		goto err_free;
	}

	ret = p2pdma_mem_clear(p2pdma, memory->addr, len);
	if (ret)
		goto err_memory;

	region = p2pdma_region(virt_to_page(memory->addr)->pgmap);
	dmabuf = p2pdma_export(&region->bar->provider,
			       virt_to_phys(memory->addr), len, fd_flags,
			       p2pdma_heap_free, memory);
	if (!IS_ERR(dmabuf))
		return dmabuf;
	ret = PTR_ERR(dmabuf);

err_memory:
	pci_free_p2pmem(p2pdma->pdev, memory->addr, len);
err_free:
	kfree(memory);
	return ERR_PTR(ret);
}

static const struct dma_heap_ops p2pdma_heap_ops = {
	.allocate = p2pdma_heap_allocate,
};

static void p2pdma_heap_add(struct pci_p2pdma *p2pdma)
{
	struct dma_heap_export_info info = {
		.name = p2pdma->heap_name,
		.ops = &p2pdma_heap_ops,
		.priv = p2pdma,
	};
	struct dma_heap *heap = dma_heap_add(&info);

	if (IS_ERR(heap))
		pci_warn(p2pdma->pdev, "p2pdma: programs get no heap %s: %pe\n",
			 p2pdma->heap_name, heap);
	else
		p2pdma->heap = heap;
}

static void p2pdma_heap_drop(struct pci_p2pdma *p2pdma)
{
	if (p2pdma->heap)
		dma_heap_remove(p2pdma->heap);
	p2pdma->heap = NULL;
}

/* Make or remove the heap, as the memory is published now */
static void p2pdma_heap_work(struct work_struct *work)
{
	struct pci_p2pdma *p2pdma = container_of(work, struct pci_p2pdma,
						 heap_work);

	if (!READ_ONCE(p2pdma->published))
		p2pdma_heap_drop(p2pdma);
	else if (!p2pdma->heap)
		p2pdma_heap_add(p2pdma);
}

/**
 * p2pdma_heap_init - prepare a device for having a heap
 * @p2pdma: new, not yet in pci_dev::p2pdma
 *
 * Context: any; never sleeps.
 */
void p2pdma_heap_init(struct pci_p2pdma *p2pdma)
{
	INIT_WORK(&p2pdma->heap_work, p2pdma_heap_work);
	snprintf(p2pdma->heap_name, sizeof(p2pdma->heap_name), "p2pmem-%s",
		 pci_name(p2pdma->pdev));
}

/**
 * p2pdma_heap_update - make or remove the heap, as the memory is published
 * @p2pdma: whose memory it is
 *
 * It happens a little later.
 *
 * Context: any; never sleeps.
 */
void p2pdma_heap_update(struct pci_p2pdma *p2pdma)
{
	schedule_work(&p2pdma->heap_work);
}

/**
 * p2pdma_heap_remove - remove a device's heap, if there is one, for good
 * @p2pdma: unpublished, and not in pci_dev::p2pdma any more
 *
 * When it returns, no allocation is in progress.  Buffers aren't affected.
 *
 * Context: may sleep.
 */
void p2pdma_heap_remove(struct pci_p2pdma *p2pdma)
{
	disable_work_sync(&p2pdma->heap_work);
	p2pdma_heap_drop(p2pdma);
}
