// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: dma-buf heaps of published memory.
 *
 * Each device with published memory has a heap in /dev/dma_heap, named after
 * the device, such as p2pmem-0000:03:00.0.  Buffers are cleared pages of the
 * device's pool, contiguous if there is such a range.  p2pdma_dmabuf.c exports
 * them.
 *
 * Memory is published and unpublished in any context, but adding and removing a
 * heap may sleep, so a work item does that.  Allocations check
 * pci_p2pdma::published, and don't depend on the work item having run.
 */

#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/err.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/p2pdma-dmabuf.h>
#include <linux/p2pdma-phys-list.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/pfn.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "p2pdma.h"

/* Free all memory of a list: the dma-buf's release() */
static void p2pdma_heap_free(void *data)
{
	struct p2pdma_phys_iter iter = { };
	struct page *page;
	size_t at;

	/* A range may span adjacent regions, so look at each page. */
	while (p2pdma_phys_list_next(data, &iter)) {
		for (at = 0; at < iter.size; at += PAGE_SIZE) {
			page = pfn_to_page(PHYS_PFN(iter.start + at));
			p2pdma_free_user(p2pdma_region(page->pgmap),
					 page_to_virt(page), PAGE_SIZE);
		}
		cond_resched();
	}
}

/* Allocate @size bytes and add them to @list; contiguous if possible */
static int p2pdma_heap_fill(struct pci_p2pdma *p2pdma,
			    struct p2pdma_phys_list *list, size_t size)
{
	struct p2pdma_region *region;
	size_t piece = size;
	void *addr;
	int ret;

	if (!p2pdma_user_fits(p2pdma, size))
		return READ_ONCE(p2pdma->published) ? -ENOMEM : -ENODEV;

	for (; size; size -= piece) {
		/* Don't retry a larger size that was refused. */
		piece = min(piece, size);
		addr = p2pdma_alloc_cleared(p2pdma, &piece, &region);
		if (IS_ERR(addr))
			return PTR_ERR(addr);
		ret = p2pdma_phys_list_add(list, &region->bar->provider,
					   virt_to_phys(addr), piece,
					   GFP_KERNEL);
		if (ret) {
			p2pdma_free_user(region, addr, piece);
			return ret;
		}
	}
	return 0;
}

static struct dma_buf *p2pdma_heap_allocate(struct dma_heap *heap,
					    unsigned long len, u32 fd_flags,
					    u64 heap_flags)
{
	struct pci_p2pdma *p2pdma = dma_heap_get_drvdata(heap);
	struct p2pdma_phys_list *list = p2pdma_phys_list_create(GFP_KERNEL);
	struct dma_buf *dmabuf;
	int ret;

	if (!list)
		return ERR_PTR(-ENOMEM);
	ret = p2pdma_heap_fill(p2pdma, list, len);
	dmabuf = ret ? ERR_PTR(ret) : p2pdma_export_list(list, fd_flags,
							 p2pdma_heap_free, list);
	if (IS_ERR(dmabuf)) {
		p2pdma_heap_free(list);
		p2pdma_phys_list_free(list);
	}
	return dmabuf;
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
		pci_warn(p2pdma->pdev, "p2pdma: can't add heap %s: %pe\n",
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

/* Add or remove the heap, depending on whether the memory is published */
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
 * p2pdma_heap_init - initialise the heap members of a device
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
 * p2pdma_heap_update - add or remove the heap after a change of publication
 * @p2pdma: the owner of the memory
 *
 * Only schedules the work item.
 *
 * Context: any; never sleeps.
 */
void p2pdma_heap_update(struct pci_p2pdma *p2pdma)
{
	schedule_work(&p2pdma->heap_work);
}

/**
 * p2pdma_heap_remove - remove a device's heap, if there is one, permanently
 * @p2pdma: unpublished, and no longer in pci_dev::p2pdma
 *
 * On return no allocation is in progress.  Buffers aren't affected.
 *
 * Context: may sleep.
 */
void p2pdma_heap_remove(struct pci_p2pdma *p2pdma)
{
	disable_work_sync(&p2pdma->heap_work);
	p2pdma_heap_drop(p2pdma);
}
