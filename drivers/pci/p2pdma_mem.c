// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: memory with struct pages.
 *
 * A region is a part of a BAR with struct pages.  All regions of a device form
 * one pool, from which kernel users allocate contiguous memory, and programs any
 * pages: by mapping p2pmem/allocate, or as a dma-buf.
 *
 * Memory that is allocated keeps its region alive by references on the region's
 * page map: one for a kernel allocation, one for each page of a user mapping.
 * memunmap_pages() waits for them.  So memory is always freed by way of its
 * page, never by way of pci_dev::p2pdma, which is NULL by then if the driver has
 * left.
 *
 * The page maps are devres entries of the owner, since drivers other than the
 * bound one register a device's BAR, too, and take its struct pages away by
 * devm_memunmap_pages() when they are unloaded.  The region then has no live
 * page map, and nothing can be allocated from it, until the same range is
 * registered again.
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

#include "p2pdma.h"

/* Clearing so much doesn't take long. */
#define P2PDMA_CLEAR_SIZE	SZ_2M

/*
 * All user mappings of all devices belong to this file, whichever sysfs mount
 * and open file they come from, each device's at an offset of its own: see
 * p2pdma_mem_revoke_user().
 */
static struct file *p2pdma_user_file;
static atomic_long_t p2pdma_user_offsets = ATOMIC_LONG_INIT(0);

/* ---- Allocations ---- */

/*
 * A reference on @region for memory that was just taken from the pool.  False
 * where the region's page map is gone, or its BAR has moved, so that the
 * addresses may be another device's: the memory must go back to the pool.
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

/* With the last reference @region, and what it belongs to, may vanish at once. */
static void p2pdma_region_free(struct p2pdma_region *region, void *addr,
			       size_t size)
{
	/* A free that the pool refuses has no reference. */
	if (likely(p2pdma_pool_free(region->chunk, addr, size)))
		percpu_ref_put(&region->pgmap.ref);
}

/* The region of @pdev that @addr lies in, or NULL for any other address */
static struct p2pdma_region *p2pdma_region_search(struct pci_dev *pdev,
						  void *addr)
{
	struct p2pdma_region *region;
	struct page *page;

	/* Not virt_addr_valid(), which knows only system memory on arm64. */
	if (!addr || !pfn_valid(PHYS_PFN(__pa(addr))))
		return NULL;

	page = virt_to_page(addr);
	if (!is_pci_p2pdma_page(page))
		return NULL;

	region = p2pdma_region(page->pgmap);
	return region->bar->p2pdma->pdev == pdev ? region : NULL;
}

/* The same; quicker where @pdev is bound and @addr lies in its first region */
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
 * the CPU may only touch it through accessors such as memcpy_toio().  The
 * driver core waits for it to be freed, after the driver's remove().
 *
 * Context: any but NMI; never sleeps.
 * Return: kernel address; NULL where @pdev has registered no memory, has no
 * contiguous @size bytes free, @size is 0, or the BAR has moved since it was
 * registered.
 */
void *pci_alloc_p2pmem(struct pci_dev *pdev, size_t size)
{
	struct p2pdma_region *region;
	struct pci_p2pdma *p2pdma;
	void *addr, *priv;

	/* Teardown waits for readers before the pool goes. */
	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	addr = p2pdma ? p2pdma_pool_alloc(p2pdma->pool, size, &priv) : NULL;
	if (!addr)
		return NULL;

	region = priv;
	if (likely(p2pdma_region_get(region)))
		return addr;
	p2pdma_pool_free(region->chunk, addr, size);
	return NULL;
}
EXPORT_SYMBOL_GPL(pci_alloc_p2pmem);

/**
 * pci_free_p2pmem - free peer-to-peer memory of a device
 * @pdev: the owner that it came from
 * @addr: as pci_alloc_p2pmem() returned it
 * @size: as pci_alloc_p2pmem() was given it, in bytes
 *
 * May be called after @pdev has lost its driver, as long as memory is allocated.
 * Memory that isn't @pdev's, isn't allocated, or was allocated with another
 * address or size, is refused with a warning, and nothing changes.
 *
 * Context: any but NMI; never sleeps.
 */
void pci_free_p2pmem(struct pci_dev *pdev, void *addr, size_t size)
{
	struct p2pdma_region *region = p2pdma_region_of(pdev, addr);

	if (likely(region))
		p2pdma_region_free(region, addr, size);
	else
		p2pdma_pool_warn("not memory of this device", addr, size);
}
EXPORT_SYMBOL_GPL(pci_free_p2pmem);

/**
 * pci_p2pmem_virt_to_bus - bus address of peer-to-peer memory
 * @pdev: the owner
 * @addr: address inside memory that pci_alloc_p2pmem() returned
 *
 * The address is for @pdev itself and for devices whose requests reach it
 * without passing the root complex; see pci_p2pdma_distance_many().
 *
 * Context: any; never sleeps.
 * Return: bus address; 0 where @addr is no memory of @pdev, or its BAR has
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
 * @nents: where to put the number of entries
 * @length: bytes; the pool is asked for whole pages
 *
 * Context: may sleep.
 * Return: the list, of one contiguous entry; NULL as pci_alloc_p2pmem(), or
 * where there is no memory for the list, and @nents is as before.
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
 * pci_p2pmem_free_sgl - free what pci_p2pmem_alloc_sgl() returned
 * @pdev: the owner
 * @sgl: the list, unmapped
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

/* ---- Pages for user space ---- */

/**
 * p2pdma_alloc_user - allocate pages for a user mapping
 * @pdev: the owner
 * @size: bytes, a multiple of PAGE_SIZE
 * @region: where to put the region that they lie in
 *
 * Each page holds a reference on @region and is freed by itself, by
 * p2pdma_free_user() or with the last reference on the page.
 *
 * Context: any but NMI; never sleeps.
 * Return: kernel address of contiguous pages; NULL where @pdev has registered
 * no memory, or no longer, or has no contiguous @size bytes free.
 */
void *p2pdma_alloc_user(struct pci_dev *pdev, size_t size,
			struct p2pdma_region **region)
{
	size_t pages = size >> PAGE_SHIFT;
	struct pci_p2pdma *p2pdma;
	void *addr, *priv, *at;

	/* Teardown waits for readers before the pool goes. */
	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	addr = p2pdma ? p2pdma_pool_alloc_pages(p2pdma->pool, size, &priv) :
			NULL;
	if (!addr)
		return NULL;

	*region = priv;
	if (p2pdma_region_get(*region)) {
		percpu_ref_get_many(&(*region)->pgmap.ref, pages - 1);
		atomic_long_add(pages, &p2pdma->user_pages);
		return addr;
	}
	for (at = addr; at < addr + size; at += PAGE_SIZE)
		p2pdma_pool_free((*region)->chunk, at, PAGE_SIZE);
	return NULL;
}

/* Pages of a user are about to be free; teardown waits for the last one. */
static void p2pdma_user_pages_sub(struct p2pdma_region *region, size_t pages)
{
	atomic_long_t *user_pages = &region->bar->p2pdma->user_pages;

	if (!atomic_long_sub_return(pages, user_pages))
		wake_up_var(user_pages);
}

/**
 * p2pdma_free_user - free pages of p2pdma_alloc_user()
 * @region: the region that they lie in; may vanish with this call
 * @addr: kernel address of the first one
 * @size: bytes, a multiple of PAGE_SIZE
 *
 * Context: any but NMI; never sleeps.
 */
void p2pdma_free_user(struct p2pdma_region *region, void *addr, size_t size)
{
	void *end = addr + size;

	p2pdma_user_pages_sub(region, size >> PAGE_SHIFT);
	for (; addr < end; addr += PAGE_SIZE)
		p2pdma_region_free(region, addr, PAGE_SIZE);
}

/* The last mapping of a user's page is gone, and so is all DMA to it. */
static void p2pdma_page_free(struct page *page)
{
	struct p2pdma_region *region = p2pdma_region(page->pgmap);

	/* Once it is in the pool, it may have another user, who counts it. */
	VM_WARN_ON_ONCE_PAGE(!page_count(page), page);

	p2pdma_user_pages_sub(region, 1);
	p2pdma_region_free(region, page_to_virt(page), PAGE_SIZE);
}

/* Tools outside the kernel look for this symbol to see that P2PDMA is there. */
static const struct dev_pagemap_ops p2pdma_pgmap_ops = {
	.page_free = p2pdma_page_free,
};

/**
 * p2pdma_zero - clear peer-to-peer memory
 * @addr: kernel address, a multiple of 8
 * @size: bytes, a multiple of 8 and not 0
 *
 * By whole words: memset() may write uncached memory byte by byte.  The read
 * waits for the writes to arrive: another device's data may come by another
 * path, and must not be overtaken by zeros (PCIe Base Specification 6.0, section
 * 2.4.1: a completion pushes posted writes ahead of it, but only on its own
 * path).  It also tells whether the device answers: if not, the memory still has
 * its last user's data.
 *
 * Context: any; takes as long as @size.
 * Return: 0; -EIO the device doesn't answer.
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
 * Clear memory for a program.  Teardown may wait for this, and so it ends with
 * -ENODEV when the memory is unpublished; with -EINTR when the process is being
 * killed; and with -EIO where the device doesn't answer.
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
			pci_err(p2pdma->pdev, "p2pdma: the memory doesn't answer, it can't be cleared\n");
			return ret;
		}
		cond_resched();
	}
	return 0;
}

/*
 * Map pages of p2pdma_alloc_user(), each of which has its own reference on the
 * region.  A page in the pool counts one; once it is mapped, the mapping's
 * count is the only one, so that the last unmap frees it.
 * On failure the pages that aren't mapped are back in the pool.
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
	/* The only fault there can be: no memory for page tables */
	return ret == -EFAULT ? -ENOMEM : ret;
}

/**
 * p2pdma_alloc_cleared - allocate cleared pages for a program
 * @p2pdma: whose memory it is; teardown waits for the caller before it goes
 * @size: how many bytes at most, a multiple of PAGE_SIZE; becomes what there is
 * @region: where to put the region that they lie in
 *
 * A fragmented pool serves programs as well: the caller asks for the rest.
 *
 * Context: may sleep.
 * Return: kernel address of contiguous pages, for p2pdma_free_user();
 * ERR_PTR(-ENODEV) the memory isn't published, or no longer; ERR_PTR(-ENOMEM)
 * nothing is free; ERR_PTR(-EIO) the device doesn't answer, and the log says so;
 * ERR_PTR(-EINTR) the process is being killed.
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
		/* Where the driver leaves, it is unpublished first. */
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
 * The published memory of @pdev, for a mapping that its pool has room for.
 * sysfs holds the file active until mmap() returns, and teardown removes the
 * file before anything else: so the memory outlives RCU's guard.
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
	/* Don't take what there is from others only to give it back. */
	if (p2pdma_pool_available(p2pdma->pool) < size ||
	    size > P2PDMA_USER_SIZE)
		return ERR_PTR(-ENOMEM);

	/* From here on teardown can find the mapping. */
	vma->vm_pgoff = p2pdma->user_offset;
	return p2pdma;
}

/*
 * sysfs has a page_mkwrite for all its mappings, so that a write to a clean
 * page asks here first.  There is no file to be prepared; a page without one
 * must be returned locked, or the fault is tried again for ever.
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
 * @vma: the mapping, of p2pmem/allocate
 *
 * Context: may sleep.  The caller keeps p2pmem/allocate active.
 * Return: 0; -EINVAL the mapping is private, or its offset isn't 0; -ENODEV
 * the memory isn't published, or no longer; -ENOMEM not that much is free, or
 * there is no memory for page tables; -EIO the device doesn't answer; -EINTR
 * the process is being killed.
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

	vma->vm_page_prot = p2pdma_user_pgprot(vma->vm_page_prot);
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &p2pdma_vm_ops;

	/* On failure the caller unmaps, and so frees, what is mapped by then. */
	for (at = vma->vm_start; at < vma->vm_end; at += size) {
		/* A size that was refused once would be so again. */
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
 * Return: the address space, which is there as long as any memory is.
 */
struct address_space *p2pdma_user_mapping(void)
{
	return p2pdma_user_file->f_mapping;
}

/**
 * p2pdma_mem_revoke_user - take all user mappings away, and wait for I/O to them
 * @p2pdma: whose memory it is; no mmap() of it begins any more
 *
 * Unmapping once is not enough: an mmap() may have filled its mapping and not
 * yet made it known to the address space, and there is no event when it has.
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
 * p2pdma_mem_taken - has any part of a range struct pages already?
 * @range: CPU addresses
 *
 * memremap_pages() would warn, or not even notice, where it should refuse.
 *
 * Context: may sleep.
 * Return: true where there are some.
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
 * The region that lay in @range, of which no page map has any part now; NULL for
 * none.  The pool can't divide the same memory in two ways.
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
 * Let @region take the place of @old, whose page map is gone.  All memory of
 * @old is free: the page map has waited for it.
 */
static void p2pdma_region_replace(struct p2pdma_region *old,
				  struct p2pdma_region *region)
{
	struct pci_p2pdma *p2pdma = region->bar->p2pdma;

	region->chunk = old->chunk;
	p2pdma_pool_set_owner(region->chunk, region);
	if (p2pdma->first_region == old)
		/* A concurrent free that reads it sees the rest. */
		smp_store_release(&p2pdma->first_region, region);
	list_replace_rcu(&old->node, &region->node);

	/* A concurrent allocation may look at @old, and is refused. */
	synchronize_rcu();
	devm_kfree(region->bar->provider.owner, old);
}

/**
 * p2pdma_mem_add - give a range of a BAR struct pages, and put it into the pool
 * @bar: the BAR
 * @range: CPU addresses in it that have no struct pages, aligned to
 *	memremap_compat_align()
 *
 * Context: may sleep.  The caller holds p2pdma_lock, and adds the teardown action
 * to the owner's devres entries after this, so that it runs first.
 * Return: 0; -EBUSY the range had struct pages as part of another one; -ENOMEM
 * no memory; or what memremap_pages() returned.  Nothing has changed then.
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
		/* Last: a free that reads it sees the rest. */
		smp_store_release(&p2pdma->first_region, region);
	list_add_tail_rcu(&region->node, &p2pdma->regions);
	return 0;
}

/**
 * p2pdma_mem_init - prepare for regions
 * @p2pdma: new, all zeros but for the device
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM no memory for a pool.
 */
int p2pdma_mem_init(struct pci_p2pdma *p2pdma)
{
	INIT_LIST_HEAD(&p2pdma->regions);
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
 * @p2pdma: not, or no longer, in pci_dev::p2pdma, and no region has a page map
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
fs_initcall_sync(p2pdma_mem_start);	/* before drivers, after the inodes */
