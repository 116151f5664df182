// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: memory with struct pages.
 *
 * A region is a part of a BAR with struct pages.  All regions of a device form
 * one pool.  Kernel users allocate contiguous memory from it, or single pages;
 * user space gets any free pages, by mapping p2pmem/allocate or as a dma-buf.
 *
 * Allocated memory keeps its region alive by references on the region's page
 * map: one per kernel allocation, one per page for user space and per single
 * page.  memunmap_pages() waits for them.  So a free finds the region by the
 * struct page, and doesn't depend on pci_dev::p2pdma, which is NULL once the
 * driver has left.
 *
 * The page maps are devres entries of the owner, since modules other than the
 * bound driver may also register a device's BAR, and remove its struct pages by
 * devm_memunmap_pages() when they are unloaded.  The region then has no live
 * page map, and allocations from it fail until the same range is registered
 * again.
 */

#include <linux/anon_inodes.h>
#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmdebug.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/percpu-refcount.h>
#include <linux/range.h>
#include <linux/rculist.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include <trace/events/p2pdma.h>

#include "p2pdma.h"

/* Bytes to clear between checks for an abort */
#define P2PDMA_CLEAR_SIZE	SZ_2M

/*
 * All user mappings of all devices belong to the address space of this file,
 * independent of the sysfs mount and the open file.  Each device has a range of
 * offsets in it, for p2pdma_mem_revoke_user().
 */
static struct file *p2pdma_user_file;
static atomic_long_t p2pdma_user_offsets = ATOMIC_LONG_INIT(0);

/* ---- Allocations ---- */

/*
 * Take a reference on @region for memory just allocated from the pool.  False
 * if the page map is gone, or if the BAR has moved, so that the addresses may
 * belong to another device: the caller must then return the memory to the pool.
 */
static inline bool p2pdma_region_get(struct p2pdma_region *region)
{
	if (unlikely(!percpu_ref_tryget_live_rcu(&region->pgmap.ref)))
		return false;
	if (likely(p2pdma_bar_in_place(region->bar)))
		return true;
	percpu_ref_put(&region->pgmap.ref);
	return false;
}

/* With the last reference, @region and its struct pci_p2pdma may be freed. */
static void p2pdma_region_free(struct p2pdma_region *region, void *addr,
			       size_t size)
{
	/* Memory of a refused free holds no reference. */
	if (likely(p2pdma_pool_free(region->chunk, addr, size)))
		percpu_ref_put(&region->pgmap.ref);
}

/*
 * Traced before it can be allocated again; a free that is refused warns.  Out of
 * line, so that others don't save registers for it: 10 of 54 instructions.
 */
static noinline void p2pdma_region_free_traced(struct p2pdma_region *region,
					       void *addr, size_t size)
{
	trace_p2pdma_free(region, addr, size);
	p2pdma_region_free(region, addr, size);
}

/* The region of @pdev that @addr lies in, or NULL for any other address */
static struct p2pdma_region *p2pdma_region_search(struct pci_dev *pdev,
						  void *addr)
{
	struct p2pdma_region *region;
	struct page *page;

	/* Not virt_addr_valid(): on arm64 it is false for device memory. */
	if (!addr || !pfn_valid(PHYS_PFN(__pa(addr))))
		return NULL;

	page = virt_to_page(addr);
	if (!is_pci_p2pdma_page(page))
		return NULL;

	region = p2pdma_region(page->pgmap);
	/* Not pages that a driver allocates: they belong to no chunk. */
	return region->chunk && region->bar->p2pdma->pdev == pdev ? region :
								    NULL;
}

/* Like p2pdma_region_search(), faster for the first region of a bound @pdev */
static inline struct p2pdma_region *p2pdma_region_of(struct pci_dev *pdev,
						     void *addr)
{
	struct pci_p2pdma *p2pdma;
	struct p2pdma_region *region;

	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	region = p2pdma ? READ_ONCE(p2pdma->first_region) : NULL;
	if (likely(region && (size_t)(addr - region->start) < region->size))
		return region;
	return p2pdma_region_search(pdev, addr);
}

/**
 * pci_alloc_p2pmem - allocate peer-to-peer memory of a device
 * @pdev: the owner; its memory needn't be published
 * @size: bytes, rounded up to whole pages
 *
 * The memory is contiguous, page aligned and not cleared.  It lies in a BAR:
 * the CPU may only access it by functions such as memcpy_toio().  After the
 * driver's remove(), unbinding waits until the memory is freed.
 *
 * Context: any but NMI; never sleeps.
 * Return: kernel address; NULL if @pdev has registered no memory or has no
 * contiguous @size bytes free, if @size is 0, or if the BAR has moved, or its
 * page map was removed, since it was registered.
 */
void *pci_alloc_p2pmem(struct pci_dev *pdev, size_t size)
{
	struct p2pdma_region *region;
	struct pci_p2pdma *p2pdma;
	void *addr, *priv;

	/* Teardown waits for RCU readers before it frees the pool. */
	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	addr = p2pdma ? p2pdma_pool_alloc(p2pdma->pool, size, &priv) : NULL;
	if (!addr)
		return NULL;

	region = priv;
	if (likely(p2pdma_region_get(region))) {
		trace_p2pdma_allocate(region, addr, size);
		return addr;
	}
	p2pdma_pool_free(region->chunk, addr, size);
	return NULL;
}
EXPORT_SYMBOL_GPL(pci_alloc_p2pmem);

/**
 * pci_free_p2pmem - free peer-to-peer memory of a device
 * @pdev: the owner of the memory
 * @addr: address from pci_alloc_p2pmem()
 * @size: bytes, as given to pci_alloc_p2pmem()
 *
 * May be called after the driver of @pdev has left, as long as memory is
 * allocated.  Memory that isn't @pdev's, isn't allocated, or was allocated with
 * another address or size, is refused with a warning, and nothing changes.
 *
 * Context: any but NMI; never sleeps.
 */
void pci_free_p2pmem(struct pci_dev *pdev, void *addr, size_t size)
{
	struct p2pdma_region *region = p2pdma_region_of(pdev, addr);

	if (unlikely(!region))
		p2pdma_pool_warn("not memory of this device", addr, size);
	else if (trace_p2pdma_free_enabled())
		p2pdma_region_free_traced(region, addr, size);
	else
		p2pdma_region_free(region, addr, size);
}
EXPORT_SYMBOL_GPL(pci_free_p2pmem);

/**
 * pci_p2pmem_virt_to_bus - bus address of peer-to-peer memory
 * @pdev: the owner
 * @addr: address inside memory that pci_alloc_p2pmem() returned
 *
 * The address is for @pdev itself and for clients whose map type is
 * %PCI_P2PDMA_MAP_BUS_ADDR.
 *
 * Context: any; never sleeps.
 * Return: bus address; 0 if @addr isn't memory of @pdev, or if its BAR has
 * moved since it was registered.
 */
pci_bus_addr_t pci_p2pmem_virt_to_bus(struct pci_dev *pdev, void *addr)
{
	struct p2pdma_region *region = p2pdma_region_search(pdev, addr);

	if (!region || !p2pdma_bar_in_place(region->bar))
		return 0;
	return pci_p2pdma_bus_addr_map(&region->bar->provider,
				       virt_to_phys(addr));
}
EXPORT_SYMBOL_GPL(pci_p2pmem_virt_to_bus);

/**
 * pci_p2pmem_alloc_sgl - allocate peer-to-peer memory as a scatterlist
 * @pdev: the owner
 * @nents: where to store the number of entries
 * @length: bytes; the allocation is rounded up to whole pages
 *
 * Context: may sleep.
 * Return: the list, with one contiguous entry; NULL as for pci_alloc_p2pmem(),
 * or without memory for the list.  On failure @nents is unchanged.
 */
struct scatterlist *pci_p2pmem_alloc_sgl(struct pci_dev *pdev,
					 unsigned int *nents, u32 length)
{
	struct scatterlist *sgl = kmalloc(sizeof(*sgl), GFP_KERNEL);
	void *addr = sgl ? pci_alloc_p2pmem(pdev, length) : NULL;

	if (!addr) {
		kfree(sgl);
		return NULL;
	}

	sg_init_table(sgl, 1);
	sg_set_page(sgl, virt_to_page(addr), length, offset_in_page(addr));
	*nents = 1;
	return sgl;
}
EXPORT_SYMBOL_GPL(pci_p2pmem_alloc_sgl);

/**
 * pci_p2pmem_free_sgl - free a scatterlist and its peer-to-peer memory
 * @pdev: the owner
 * @sgl: list from pci_p2pmem_alloc_sgl(), not mapped
 *
 * Context: any but NMI; never sleeps.
 */
void pci_p2pmem_free_sgl(struct pci_dev *pdev, struct scatterlist *sgl)
{
	struct scatterlist *sg;

	for (sg = sgl; sg; sg = sg_next(sg))
		pci_free_p2pmem(pdev, sg_virt(sg), sg->length);
	kfree(sgl);
}
EXPORT_SYMBOL_GPL(pci_p2pmem_free_sgl);

/* ---- Pages that are counted one by one ---- */

/**
 * p2pdma_user_limit - how much user space may have allocated
 * @p2pdma: the owner of the memory
 *
 * Context: any; never sleeps.
 * Return: bytes; the size of the memory if there is no limit.
 */
size_t p2pdma_user_limit(const struct pci_p2pdma *p2pdma)
{
	size_t size = p2pdma_pool_size(p2pdma->pool);
	long limit = READ_ONCE(p2pdma->user_limit);

	return limit < size >> PAGE_SHIFT ? limit << PAGE_SHIFT : size;
}

/**
 * p2pdma_set_user_limit - limit how much user space may have allocated
 * @p2pdma: the owner of the memory
 * @limit: bytes, rounded down to whole pages; the size of the memory or more:
 *	no limit
 *
 * What is allocated stays, but nothing more is allocated until less than @limit
 * is.
 *
 * Context: any; never sleeps.
 */
void p2pdma_set_user_limit(struct pci_p2pdma *p2pdma, u64 limit)
{
	WRITE_ONCE(p2pdma->user_limit,
		   limit < p2pdma_pool_size(p2pdma->pool) ?
		   limit >> PAGE_SHIFT : LONG_MAX);
}

static bool p2pdma_user_allowed(const struct pci_p2pdma *p2pdma, long used,
				size_t pages)
{
	return (long)pages <= READ_ONCE(p2pdma->user_limit) - used;
}

/**
 * p2pdma_user_fits - can user space allocate this much, as far as one can tell?
 * @p2pdma: the owner of the memory
 * @size: bytes, a multiple of PAGE_SIZE
 *
 * Callers that need several allocations ask first, so that they don't take
 * memory that would only be freed again.
 *
 * Context: any; never sleeps.
 * Return: false if that much isn't free, or would exceed the limit.
 */
bool p2pdma_user_fits(struct pci_p2pdma *p2pdma, size_t size)
{
	return p2pdma_pool_available(p2pdma->pool) >= size &&
	       p2pdma_user_allowed(p2pdma,
				   atomic_long_read(&p2pdma->user_pages),
				   size >> PAGE_SHIFT);
}

/* Count pages that are about to be allocated, unless the limit is exceeded */
static bool p2pdma_user_pages_add(struct pci_p2pdma *p2pdma, size_t pages)
{
	long used = atomic_long_read(&p2pdma->user_pages);

	do {
		if (!p2pdma_user_allowed(p2pdma, used, pages))
			return false;
	} while (!atomic_long_try_cmpxchg(&p2pdma->user_pages, &used,
					  used + pages));
	return true;
}

/* Pages are about to be freed; teardown waits until the count is 0. */
static void p2pdma_user_pages_sub(struct pci_p2pdma *p2pdma, size_t pages)
{
	if (!atomic_long_sub_return(pages, &p2pdma->user_pages))
		wake_up_var(&p2pdma->user_pages);
}

/**
 * p2pdma_alloc_user - allocate pages for user space
 * @pdev: the owner
 * @size: bytes, a multiple of PAGE_SIZE
 * @region: where to store the region of the pages
 *
 * Each page holds a reference on @region and is freed separately, by
 * p2pdma_free_user() or with the last reference on the page.
 *
 * Context: any but NMI; never sleeps.
 * Return: kernel address of contiguous pages; NULL as for pci_alloc_p2pmem(),
 * or if p2pdma_user_limit() would be exceeded.
 */
void *p2pdma_alloc_user(struct pci_dev *pdev, size_t size,
			struct p2pdma_region **region)
{
	size_t pages = size >> PAGE_SHIFT;
	struct pci_p2pdma *p2pdma;
	void *addr, *priv, *at;

	/* Teardown waits for RCU readers before it frees the pool. */
	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	if (!p2pdma || !p2pdma_user_pages_add(p2pdma, pages))
		return NULL;

	addr = p2pdma_pool_alloc_pages(p2pdma->pool, size, &priv);
	if (addr) {
		*region = priv;
		if (p2pdma_region_get(*region)) {
			percpu_ref_get_many(&(*region)->pgmap.ref, pages - 1);
			trace_p2pdma_allocate(*region, addr, size);
			return addr;
		}
		for (at = addr; at < addr + size; at += PAGE_SIZE)
			p2pdma_pool_free((*region)->chunk, at, PAGE_SIZE);
	}
	p2pdma_user_pages_sub(p2pdma, pages);
	return NULL;
}

/**
 * p2pdma_free_user - free pages of p2pdma_alloc_user()
 * @region: the region of the pages; may be freed by this call
 * @addr: kernel address of the first page
 * @size: bytes, a multiple of PAGE_SIZE
 *
 * Context: any but NMI; never sleeps.
 */
void p2pdma_free_user(struct p2pdma_region *region, void *addr, size_t size)
{
	void *end = addr + size;

	trace_p2pdma_free(region, addr, size);
	p2pdma_user_pages_sub(region->bar->p2pdma, size >> PAGE_SHIFT);
	for (; addr < end; addr += PAGE_SIZE)
		p2pdma_region_free(region, addr, PAGE_SIZE);
}

/* The last reference on a user page is gone, and so is all DMA to the page. */
static void p2pdma_page_free(struct page *page)
{
	struct p2pdma_region *region = p2pdma_region(page->pgmap);

	/* Reset before this, since the pool may hand the page out again. */
	VM_WARN_ON_ONCE_PAGE(!page_count(page), page);

	trace_p2pdma_free(region, page_to_virt(page), PAGE_SIZE);
	p2pdma_user_pages_sub(region->bar->p2pdma, 1);
	p2pdma_region_free(region, page_to_virt(page), PAGE_SIZE);
}

/**
 * pci_p2pmem_alloc_page - allocate a page of peer-to-peer memory
 * @pdev: the owner; its memory needn't be published
 *
 * The page has one reference, which is the caller's, and is freed by whoever
 * drops the last one, with put_page().  So the caller may pass it to DMA that
 * outlives the use of its own, as get_user_pages() does with pages of
 * &dev_pagemap_ops.p2pdma_page.  It isn't cleared, and the CPU may access it
 * only by functions such as memcpy_toio(), at page_address().  It counts as
 * memory of programs, which p2pmem/user_limit may limit.
 *
 * Context: any but NMI; never sleeps.  After the driver's remove(), unbinding
 * waits for the last put_page(), which may come from any context but NMI.
 * Return: the page; NULL as for pci_alloc_p2pmem(), or if the limit would be
 * exceeded.
 */
struct page *pci_p2pmem_alloc_page(struct pci_dev *pdev)
{
	struct p2pdma_region *region;
	void *addr = p2pdma_alloc_user(pdev, PAGE_SIZE, &region);

	/* The page count of a page in the pool is 1. */
	return addr ? virt_to_page(addr) : NULL;
}
EXPORT_SYMBOL_GPL(pci_p2pmem_alloc_page);

/* Tools outside the kernel check for this symbol to detect P2PDMA. */
static const struct dev_pagemap_ops p2pdma_pgmap_ops = {
	.page_free = p2pdma_page_free,
};

/**
 * p2pdma_zero - clear peer-to-peer memory
 * @addr: kernel address, a multiple of 8
 * @size: bytes, a multiple of 8 and not 0
 *
 * Writes whole words, since memset() may write uncached memory byte by byte.
 * The read at the end waits for the writes to arrive: data from another device
 * may take another path, and the zeros must not overwrite them later (PCIe Base
 * Specification 6.0, section 2.4.1: a completion pushes posted writes ahead of
 * it, but only on its own path).  The read also detects a device that doesn't
 * respond, whose memory may still have the data of its last user.
 *
 * Context: any; the time is proportional to @size.
 * Return: 0; -EIO the device doesn't respond.
 */
int p2pdma_zero(void *addr, size_t size)
{
	u64 __iomem *word = (u64 __iomem __force *)addr;
	u64 __iomem *last = word + size / sizeof(*word) - 1;

	while (word <= last)
		__raw_writeq(0, word++);
	return __raw_readq(last) ? -EIO : 0;
}

/*
 * Clear memory for user space.  Teardown may wait for this, so it is aborted
 * with -ENODEV when the memory is unpublished.  -EINTR: the process is being
 * killed; -EIO: the device doesn't respond.
 */
static int p2pdma_mem_clear(struct pci_p2pdma *p2pdma, void *addr,
			    size_t size)
{
	size_t done, len;
	int ret;

	for (done = 0; done < size; done += len) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!READ_ONCE(p2pdma->published))
			return -ENODEV;

		len = min_t(size_t, size - done, P2PDMA_CLEAR_SIZE);
		ret = p2pdma_zero(addr + done, len);
		if (ret) {
			dev_err_ratelimited(&p2pdma->pdev->dev,
					    "p2pdma: the memory doesn't answer, it can't be cleared\n");
			return ret;
		}
		cond_resched();
	}
	return 0;
}

/*
 * Map pages of p2pdma_alloc_user(), each of which has its own reference on the
 * region.  The page count of a page in the pool is 1.  After vm_insert_pages()
 * that reference is dropped, so that the last unmap frees the page.  On failure
 * the pages that weren't mapped are freed.
 */
static int p2pdma_insert(struct vm_area_struct *vma, unsigned long start,
			 struct p2pdma_region *region, void *addr, size_t size)
{
	struct page *batch[64], *page = virt_to_page(addr);
	unsigned long done, left, i;
	int ret = 0;

	while (size && !ret) {
		left = min(size >> PAGE_SHIFT, ARRAY_SIZE(batch));
		for (i = 0; i < left; i++)
			batch[i] = page++;

		done = left;
		ret = vm_insert_pages(vma, start, batch, &left);
		done -= left;
		for (i = 0; i < done; i++)
			put_page(batch[i]);

		start += done * PAGE_SIZE;
		addr += done * PAGE_SIZE;
		size -= done * PAGE_SIZE;
	}

	if (size)
		p2pdma_free_user(region, addr, size);
	/* -EFAULT has only one cause here: no memory for page tables */
	return ret == -EFAULT ? -ENOMEM : ret;
}

/**
 * p2pdma_alloc_cleared - allocate cleared pages for user space
 * @p2pdma: the owner of the memory, not freed while the caller runs
 * @size: limit in bytes, a multiple of PAGE_SIZE; set to the size allocated
 * @region: where to store the region of the pages
 *
 * If no contiguous @size bytes are free, allocates less, and the caller calls
 * again for the rest.
 *
 * Context: may sleep.
 * Return: kernel address of contiguous pages, for p2pdma_free_user();
 * ERR_PTR(-ENODEV) the memory isn't published; ERR_PTR(-ENOMEM) nothing is
 * free, or p2pdma_user_limit() is reached; ERR_PTR(-EIO) the device doesn't
 * respond, which is logged; ERR_PTR(-EINTR) the process is being killed.
 */
void *p2pdma_alloc_cleared(struct pci_p2pdma *p2pdma, size_t *size,
			   struct p2pdma_region **region)
{
	void *addr = NULL;
	int ret;

	while (*size) {
		addr = p2pdma_alloc_user(p2pdma->pdev, *size, region);
		if (addr)
			break;
		*size = PAGE_ALIGN_DOWN(*size / 2);
	}
	if (!addr)
		/* A driver that leaves unpublishes the memory first. */
		return ERR_PTR(READ_ONCE(p2pdma->published) ? -ENOMEM : -ENODEV);

	ret = p2pdma_mem_clear(p2pdma, addr, *size);
	if (!ret)
		return addr;
	p2pdma_free_user(*region, addr, *size);
	return ERR_PTR(ret);
}

static int p2pdma_mmap_check(struct pci_dev *pdev, struct vm_area_struct *vma)
{
	const char *wrong = NULL;

	if (!(vma->vm_flags & VM_MAYSHARE))
		wrong = "memory of a device can't be private, use MAP_SHARED";
	else if (vma->vm_pgoff)
		wrong = "each mapping is new memory, its offset must be 0";
	if (!wrong)
		return 0;

	pci_info_ratelimited(pdev, "p2pmem/allocate: %s[%d]: %s\n",
			     current->comm, task_pid_nr(current), wrong);
	return -EINVAL;
}

/*
 * Check that @pdev has published memory, and enough of it free for the mapping.
 * sysfs keeps the file active until mmap() returns, and teardown removes the
 * file before it frees anything, so the struct pci_p2pdma stays after RCU's
 * guard.
 */
static struct pci_p2pdma *p2pdma_mmap_start(struct pci_dev *pdev,
					    struct vm_area_struct *vma)
{
	size_t size = vma->vm_end - vma->vm_start;
	struct pci_p2pdma *p2pdma;

	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	if (!p2pdma || !READ_ONCE(p2pdma->published))
		return ERR_PTR(-ENODEV);
	if (!p2pdma_user_fits(p2pdma, size) || size > P2PDMA_USER_SIZE)
		return ERR_PTR(-ENOMEM);

	/* By this offset teardown finds the mapping. */
	vma->vm_pgoff = p2pdma->user_offset;
	return p2pdma;
}

/*
 * sysfs has a page_mkwrite for all its mappings, which calls this one on a
 * write to a clean page.  The page has no file to prepare, and must be returned
 * locked, or the fault is retried for ever.
 */
static vm_fault_t p2pdma_page_mkwrite(struct vm_fault *vmf)
{
	folio_lock(page_folio(vmf->page));
	return VM_FAULT_LOCKED;
}

static const struct vm_operations_struct p2pdma_vm_ops = {
	.page_mkwrite = p2pdma_page_mkwrite,
};

/**
 * p2pdma_mem_mmap - fill a user mapping with cleared pages
 * @pdev: the owner
 * @vma: mapping of p2pmem/allocate
 *
 * Context: may sleep.  The caller keeps p2pmem/allocate active.
 * Return: 0; -EINVAL the mapping is private, or its offset isn't 0; -ENODEV the
 * memory isn't published; -ENOMEM not enough memory is free, p2pdma_user_limit()
 * would be exceeded, or there is no memory for page tables; -EIO the device
 * doesn't respond; -EINTR the process is being killed.
 */
int p2pdma_mem_mmap(struct pci_dev *pdev, struct vm_area_struct *vma)
{
	size_t size = P2PDMA_CLEAR_SIZE;
	struct p2pdma_region *region;
	struct pci_p2pdma *p2pdma;
	unsigned long at;
	void *addr;
	int ret;

	ret = p2pdma_mmap_check(pdev, vma);
	if (ret)
		return ret;
	p2pdma = p2pdma_mmap_start(pdev, vma);
	if (IS_ERR(p2pdma))
		return PTR_ERR(p2pdma);

	vma->vm_page_prot = p2pdma_user_pgprot(vma->vm_page_prot,
					       P2PDMA_UNCACHED);
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &p2pdma_vm_ops;

	/* On failure the caller unmaps, and so frees, the mapped pages. */
	for (at = vma->vm_start; at < vma->vm_end; at += size) {
		/* Don't retry a larger size that was refused. */
		size = min(size, vma->vm_end - at);
		addr = p2pdma_alloc_cleared(p2pdma, &size, &region);
		if (IS_ERR(addr))
			return PTR_ERR(addr);
		ret = p2pdma_insert(vma, at, region, addr, size);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * p2pdma_user_mapping - the address space of all user mappings of all devices
 *
 * Context: any.
 * Return: the address space, which is never freed.
 */
struct address_space *p2pdma_user_mapping(void)
{
	return p2pdma_user_file->f_mapping;
}

/**
 * p2pdma_mem_revoke_user - revoke all user mappings, and wait for I/O to them
 * @p2pdma: the owner of the memory; no new mmap() of it starts
 *
 * Unmapping once is not enough: an mmap() may have filled its mapping before
 * the mapping is linked to the address space, which gives no notification.
 *
 * Context: may sleep.
 */
void p2pdma_mem_revoke_user(struct pci_p2pdma *p2pdma)
{
	do {
		unmap_mapping_pages(p2pdma_user_mapping(), p2pdma->user_offset,
				    P2PDMA_USER_SIZE >> PAGE_SHIFT, true);
	} while (!wait_var_event_timeout(&p2pdma->user_pages,
					 !atomic_long_read(&p2pdma->user_pages),
					 HZ / 10));
}

/* ---- Regions ---- */

/**
 * p2pdma_mem_taken - does any part of a range have struct pages already?
 * @range: CPU addresses
 *
 * memremap_pages() would warn, or not notice, instead of failing.
 *
 * Context: may sleep.
 * Return: true if a part of @range has struct pages.
 */
bool p2pdma_mem_taken(const struct range *range)
{
	struct dev_pagemap *pgmap;
	u64 at;

	for (at = range->start; at <= range->end; at += SUBSECTION_SIZE) {
		pgmap = get_dev_pagemap(PHYS_PFN(at), NULL);
		if (pgmap) {
			put_dev_pagemap(pgmap);
			return true;
		}
	}
	return false;
}

/*
 * The region that was registered as @range and has lost its page map; NULL if
 * there is none.  -EBUSY for a different range that overlaps, since the pool's
 * chunks can't be resized.
 */
static struct p2pdma_region *p2pdma_region_left(struct pci_p2pdma *p2pdma,
						const struct range *range)
{
	const struct range *left;
	struct p2pdma_region *region;

	list_for_each_entry(region, &p2pdma->regions, node) {
		left = &region->pgmap.range;
		if (left->start > range->end || left->end < range->start)
			continue;
		if (left->start == range->start && left->end == range->end)
			return region;
		pci_err(p2pdma->pdev, "p2pdma: %#llx-%#llx was registered as %#llx-%#llx before; register that, or let the driver bind again\n",
			range->start, range->end, left->start, left->end);
		return ERR_PTR(-EBUSY);
	}
	return NULL;
}

/*
 * Replace @old, whose page map is gone, by @region.  All memory of @old is
 * free, since the removal of its page map has waited for that.
 */
static void p2pdma_region_replace(struct p2pdma_region *old,
				  struct p2pdma_region *region)
{
	struct pci_p2pdma *p2pdma = region->bar->p2pdma;

	region->chunk = old->chunk;
	p2pdma_pool_set_owner(region->chunk, region);
	if (p2pdma->first_region == old)
		/* A concurrent free that reads it sees its members. */
		smp_store_release(&p2pdma->first_region, region);
	list_replace_rcu(&old->node, &region->node);

	/* A concurrent allocation may still get @old, and fails. */
	synchronize_rcu();
	devm_kfree(region->bar->provider.owner, old);
}

/**
 * p2pdma_mem_add - create struct pages for a range and add it to the pool
 * @bar: the BAR
 * @range: CPU addresses in @bar that have no struct pages, aligned to
 *	memremap_compat_align()
 *
 * Context: may sleep.  The caller holds p2pdma_lock, and adds the teardown action
 * to the owner's devres entries after this call, so that it runs first.
 * Return: 0; -EBUSY the range had struct pages as part of another range;
 * -ENOMEM no memory; or the errno of memremap_pages().  On an error nothing has
 * changed.
 */
int p2pdma_mem_add(struct p2pdma_bar *bar, const struct range *range)
{
	struct pci_p2pdma *p2pdma = bar->p2pdma;
	struct device *owner = bar->provider.owner;
	struct p2pdma_region *region, *old;
	void *addr;
	int ret;

	old = p2pdma_region_left(p2pdma, range);
	if (IS_ERR(old))
		return PTR_ERR(old);

	region = devm_kzalloc(owner, sizeof(*region), GFP_KERNEL);
	if (!region)
		return -ENOMEM;

	region->bar = bar;
	region->pgmap.type = MEMORY_DEVICE_PCI_P2PDMA;
	region->pgmap.ops = &p2pdma_pgmap_ops;
	region->pgmap.range = *range;
	region->pgmap.nr_range = 1;

	addr = devm_memremap_pages(owner, &region->pgmap);
	if (IS_ERR(addr)) {
		devm_kfree(owner, region);
		return PTR_ERR(addr);
	}
	region->start = addr;
	region->size = range_len(range);

	if (old) {
		p2pdma_region_replace(old, region);
		return 0;
	}

	ret = p2pdma_pool_add(p2pdma->pool, addr, region->size, region,
			      &region->chunk);
	if (ret) {
		devm_memunmap_pages(owner, &region->pgmap);
		devm_kfree(owner, region);
		return ret;
	}

	if (!p2pdma->first_region)
		/* Last: a free that reads it sees its members. */
		smp_store_release(&p2pdma->first_region, region);
	list_add_tail_rcu(&region->node, &p2pdma->regions);
	return 0;
}

/**
 * p2pdma_mem_init - initialise the members for memory with struct pages
 * @p2pdma: new, zeroed except for the device
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM no memory for a pool.
 */
int p2pdma_mem_init(struct pci_p2pdma *p2pdma)
{
	INIT_LIST_HEAD(&p2pdma->regions);
	p2pdma->user_limit = LONG_MAX;
	if (!p2pdma_user_file)
		return -ENOMEM;
	p2pdma->pool = p2pdma_pool_create(dev_to_node(&p2pdma->pdev->dev));
	if (!p2pdma->pool)
		return -ENOMEM;
	p2pdma->user_offset =
		atomic_long_fetch_add(P2PDMA_USER_SIZE >> PAGE_SHIFT,
				      &p2pdma_user_offsets);
	return 0;
}

/**
 * p2pdma_mem_destroy - undo p2pdma_mem_init()
 * @p2pdma: not in pci_dev::p2pdma, without regions that have a page map
 *
 * Context: may sleep.
 */
void p2pdma_mem_destroy(struct pci_p2pdma *p2pdma)
{
	p2pdma_pool_destroy(p2pdma->pool);
}

static const struct file_operations p2pdma_user_fops = { };

static int __init p2pdma_mem_start(void)
{
	struct file *file;

	file = anon_inode_create_getfile("[p2pmem]", &p2pdma_user_fops, NULL,
					 O_RDWR, NULL);
	if (IS_ERR(file))
		return PTR_ERR(file);
	p2pdma_user_file = file;
	return 0;
}
fs_initcall_sync(p2pdma_mem_start);	/* before drivers, after anon inodes */
