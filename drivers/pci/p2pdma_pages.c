// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: memory with struct pages that a driver allocates itself.
 *
 * For drivers that have an allocator of their own, such as those of GPUs.  Their
 * pages can be used as those of the pool in p2pdma_mem.c: they are mapped into
 * programs, in scatterlists, and are buffers of O_DIRECT.  But they aren't in the
 * pool, so user space sees neither p2pmem/ nor a heap, and no search finds them.
 *
 * This file doesn't allocate: it records which pages the driver has taken, returns
 * each with its last reference, and removes the struct pages when none is taken.
 * Whoever ends a range first, the driver by p2pdma_remove_pages() or the teardown
 * of the owner, removes it, and the other one waits.
 */

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/export.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/percpu-refcount.h>
#include <linux/pfn_t.h>
#include <linux/range.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait_bit.h>

#include "p2pdma.h"

/* While waiting for a page: interval of warnings, in jiffies */
#define P2PDMA_PAGES_WARN	(10 * HZ)

/* All ranges of all owners; p2pdma_pages_lock protects the list and ::going */
static LIST_HEAD(p2pdma_pages_all);
static DEFINE_SPINLOCK(p2pdma_pages_lock);

static void p2pdma_pages_page_free(struct page *page);

static const struct dev_pagemap_ops p2pdma_pages_pgmap_ops = {
	.page_free = p2pdma_pages_page_free,
};

static struct p2pdma_pages *p2pdma_pages_of(const struct page *page)
{
	return container_of(p2pdma_region(page->pgmap), struct p2pdma_pages,
			    region);
}

static unsigned long p2pdma_pages_index(const struct p2pdma_pages *pages,
					const struct page *page)
{
	return page_to_pfn(page) - PHYS_PFN(pages->region.pgmap.range.start);
}

/* ---- Pages ---- */

/**
 * p2pdma_take_page - take a free page of p2pdma_add_pages()
 * @page: the page
 * @data: for page->zone_device_data
 *
 * The page then has one reference, which is the caller's, and can be passed on.
 * With its last reference it is free again, see p2pdma_pages_ops::page_free().
 * The memory isn't cleared.
 *
 * Context: any but NMI; never sleeps.  Reclaiming hasn't ended, see
 * p2pdma_pages_ops::reclaim().
 * Return: 0; -EINVAL @page isn't of p2pdma_add_pages(); -EBUSY the page is taken;
 * -ENODEV the pages are being removed, or the BAR has moved.  On an error nothing
 * has changed.
 */
int p2pdma_take_page(struct page *page, void *data)
{
	struct p2pdma_pages *pages;

	if (!is_pci_p2pdma_page(page) ||
	    page->pgmap->ops != &p2pdma_pages_pgmap_ops)
		return -EINVAL;

	pages = p2pdma_pages_of(page);
	/* Removal waits for RCU readers before it looks for taken pages. */
	guard(rcu)();
	if (READ_ONCE(pages->going) || !p2pdma_bar_in_place(pages->region.bar))
		return -ENODEV;
	if (test_and_set_bit(p2pdma_pages_index(pages, page), pages->taken))
		return -EBUSY;

	percpu_ref_get(&pages->region.pgmap.ref);
	/* The page count of a free page is 1. */
	page->zone_device_data = data;
	return 0;
}
EXPORT_SYMBOL_GPL(p2pdma_take_page);

/* The last reference on a page is gone, and its count has been reset to 1. */
static void p2pdma_pages_page_free(struct page *page)
{
	struct p2pdma_pages *pages = p2pdma_pages_of(page);
	unsigned long index = p2pdma_pages_index(pages, page);

	/* Too many puts: a reference of the page map must not go with it. */
	if (!test_bit(index, pages->taken)) {
		p2pdma_pool_warn("it is free, and was put once more",
				 page_to_virt(page), PAGE_SIZE);
		return;
	}

	/* First, as page_free() may take the page again. */
	clear_and_wake_up_bit(index, pages->taken);
	pages->ops->page_free(page);
	/* Last: then the range, and the driver's module, may go. */
	percpu_ref_put(&pages->region.pgmap.ref);
}

/**
 * p2pdma_page_prot - protection for a mapping of a page in a BAR
 * @page: peer-to-peer page, of p2pdma_add_pages() or of a pool
 * @prot: protection without a memory type, such as vma->vm_page_prot
 *
 * All mappings of a page must have the same memory type, that of the kernel's.
 *
 * Context: any; never sleeps.
 * Return: @prot with the memory type of @page's registration, and not encrypted;
 * @prot itself if @page is no peer-to-peer page.
 */
pgprot_t p2pdma_page_prot(const struct page *page, pgprot_t prot)
{
	if (!is_pci_p2pdma_page(page))
		return prot;
	return p2pdma_user_pgprot(prot, p2pdma_region(page->pgmap)->type);
}
EXPORT_SYMBOL_GPL(p2pdma_page_prot);

/* ---- Registration ---- */

static pgprot_t p2pdma_pages_kernel_prot(enum p2pdma_memory_type type)
{
	return type == P2PDMA_WRITE_COMBINED ? pgprot_writecombine(PAGE_KERNEL) :
					       pgprot_noncached(PAGE_KERNEL);
}

/**
 * p2pdma_pages_check_type - does this machine have a memory type?
 * @owner: device, for the log
 * @type: the type, from a driver
 *
 * Context: any.
 * Return: 0; -EINVAL it is none of enum p2pdma_memory_type; -EOPNOTSUPP the kernel
 * can't map memory with it (x86 without PAT).  The log has the cause.
 */
int p2pdma_pages_check_type(struct pci_dev *owner, enum p2pdma_memory_type type)
{
	switch (type) {
	case P2PDMA_UNCACHED:
		return 0;
	case P2PDMA_WRITE_COMBINED:
		if (pgprot_val(p2pdma_pages_kernel_prot(type)) !=
		    pgprot_val(p2pdma_pages_kernel_prot(P2PDMA_UNCACHED)))
			return 0;
		pci_err(owner, "p2pdma: this machine has no write-combined memory\n");
		return -EOPNOTSUPP;
	default:
		pci_err(owner, "p2pdma: unknown memory type %d\n", type);
		return -EINVAL;
	}
}

/*
 * On x86 all mappings of an address get the memory type of the first one,
 * whatever was asked for.  Without PAT there is but one type.
 */
static bool p2pdma_pages_have_type(const struct p2pdma_pages *pages)
{
	pgprot_t wanted = p2pdma_pages_kernel_prot(pages->region.type);
	pgprot_t prot = wanted;

	track_pfn_insert(NULL, &prot,
			 phys_to_pfn_t(pages->region.pgmap.range.start, PFN_DEV));
	return pgprot_val(prot) == pgprot_val(wanted);
}

static void p2pdma_pages_free(struct kref *refs)
{
	struct p2pdma_pages *pages = container_of(refs, struct p2pdma_pages,
						  refs);

	bitmap_free(pages->taken);
	kfree(pages);
}

/**
 * p2pdma_pages_add - create struct pages for a range that a driver allocates from
 * @bar: the BAR
 * @range: CPU addresses in @bar that have no struct pages, aligned to
 *	memremap_compat_align()
 * @type: checked memory type
 * @ops: both operations
 *
 * Context: may sleep.
 * Return: 0; -EBUSY the range is mapped with another memory type; -EOPNOTSUPP it has
 * 2^31 pages or more; -ENOMEM no memory; or the errno of memremap_pages().  On an
 * error nothing has changed.
 */
int p2pdma_pages_add(struct p2pdma_bar *bar, const struct range *range,
		     enum p2pdma_memory_type type,
		     const struct p2pdma_pages_ops *ops)
{
	struct pci_dev *owner = bar->p2pdma->pdev;
	struct p2pdma_pages *pages;
	void *addr;
	int ret;

	/* wait_on_bit() counts bits by an int. */
	if (range_len(range) >> PAGE_SHIFT > INT_MAX)
		return -EOPNOTSUPP;

	pages = kzalloc(sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	kref_init(&pages->refs);
	init_completion(&pages->gone);
	pages->ops = ops;
	pages->count = range_len(range) >> PAGE_SHIFT;
	pages->region.bar = bar;
	pages->region.type = type;
	pages->region.pgmap.type = MEMORY_DEVICE_PCI_P2PDMA;
	pages->region.pgmap.ops = &p2pdma_pages_pgmap_ops;
	pages->region.pgmap.range = *range;
	pages->region.pgmap.nr_range = 1;
	if (type == P2PDMA_WRITE_COMBINED)
		pages->region.pgmap.flags = PGMAP_WRITE_COMBINED;

	pages->taken = bitmap_zalloc(pages->count, GFP_KERNEL);
	if (!pages->taken) {
		ret = -ENOMEM;
		goto err_free;
	}
	addr = memremap_pages(&pages->region.pgmap, dev_to_node(&owner->dev));
	if (IS_ERR(addr)) {
		ret = PTR_ERR(addr);
		goto err_free;
	}
	if (!p2pdma_pages_have_type(pages)) {
		pci_err(owner, "p2pdma: %#llx-%#llx is mapped with another memory type; unmap it first, or map it with the same type\n",
			range->start, range->end);
		ret = -EBUSY;
		goto err_unmap;
	}

	scoped_guard(spinlock, &p2pdma_pages_lock)
		list_add_tail(&pages->node, &p2pdma_pages_all);
	return 0;

err_unmap:
	memunmap_pages(&pages->region.pgmap);
err_free:
	kref_put(&pages->refs, p2pdma_pages_free);
	return ret;
}

/**
 * p2pdma_pages_have - does a part of a range belong to pages of a driver?
 * @range: CPU addresses
 *
 * Unlike p2pdma_mem_taken(), this is true until the last struct page is removed.
 *
 * Context: any; never sleeps.
 * Return: true if it does, also if they are being removed.
 */
bool p2pdma_pages_have(const struct range *range)
{
	const struct range *other;
	struct p2pdma_pages *pages;

	guard(spinlock)(&p2pdma_pages_lock);
	list_for_each_entry(pages, &p2pdma_pages_all, node) {
		other = &pages->region.pgmap.range;
		if (other->start <= range->end && range->start <= other->end)
			return true;
	}
	return false;
}

/* ---- Removal ---- */

/* Wait until no page is taken; none can be taken any more. */
static void p2pdma_pages_wait(struct p2pdma_pages *pages)
{
	const struct p2pdma_bar *bar = pages->region.bar;
	struct page *page;
	unsigned long at;

	for_each_set_bit(at, pages->taken, pages->count) {
		page = pfn_to_page(PHYS_PFN(pages->region.pgmap.range.start) + at);
		while (wait_on_bit_timeout(pages->taken, at,
					   TASK_UNINTERRUPTIBLE,
					   P2PDMA_PAGES_WARN))
			pci_warn(bar->p2pdma->pdev,
				 "p2pdma: still waiting for pages of BAR %td: %u are taken; the one at %#llx is mapped %d times, and has %d references\n",
				 bar - bar->p2pdma->bars,
				 bitmap_weight(pages->taken, pages->count),
				 (u64)page_to_phys(page),
				 atomic_read(&page->_mapcount) + 1,
				 page_count(page));
	}
}

/* Called once, by the task that has set ::going */
static void p2pdma_pages_end(struct p2pdma_pages *pages)
{
	synchronize_rcu();	/* wait for p2pdma_take_page() */
	pages->ops->reclaim(pages->region.bar->p2pdma->pdev);
	p2pdma_pages_wait(pages);
	memunmap_pages(&pages->region.pgmap);

	scoped_guard(spinlock, &p2pdma_pages_lock)
		list_del(&pages->node);
	complete_all(&pages->gone);
	kref_put(&pages->refs, p2pdma_pages_free);
}

/*
 * A range of @owner, claimed for removal, with a reference for the caller: the one
 * at @offset in @bar, or any one if @bar is negative; NULL if there is none.  @going
 * tells whether it was claimed before.
 */
static struct p2pdma_pages *p2pdma_pages_claim(const struct pci_dev *owner,
					       int bar, u64 offset, bool *going)
{
	const struct p2pdma_bar *has;
	struct p2pdma_pages *pages;

	guard(spinlock)(&p2pdma_pages_lock);
	list_for_each_entry(pages, &p2pdma_pages_all, node) {
		has = pages->region.bar;
		if (has->p2pdma->pdev != owner)
			continue;
		if (bar >= 0 &&
		    (has - has->p2pdma->bars != bar ||
		     pages->region.pgmap.range.start - has->range.start != offset))
			continue;
		*going = pages->going;
		WRITE_ONCE(pages->going, true);
		kref_get(&pages->refs);
		return pages;
	}
	return NULL;
}

/* Remove such a range, or wait until it is removed; false if there is none */
static bool p2pdma_pages_remove_one(const struct pci_dev *owner, int bar,
				    u64 offset)
{
	struct p2pdma_pages *pages;
	bool going;

	pages = p2pdma_pages_claim(owner, bar, offset, &going);
	if (!pages)
		return false;
	if (going)
		wait_for_completion(&pages->gone);
	else
		p2pdma_pages_end(pages);
	kref_put(&pages->refs, p2pdma_pages_free);
	return true;
}

/**
 * p2pdma_remove_pages - remove the pages of p2pdma_add_pages()
 * @owner: the device
 * @bar: number of the BAR
 * @offset: start of the range in the BAR, as it was registered
 *
 * No page can be taken any more; p2pdma_pages_ops::reclaim() is called, unless the
 * pages are being removed already; then this waits until no page is taken, and the
 * struct pages are gone.  While it waits, the log says every 10 seconds for which
 * page.  Has no effect if there are no such pages (any more).
 *
 * Context: may sleep.  Not within reclaim(); no locks are held that page_free() or
 * reclaim() takes.
 */
void p2pdma_remove_pages(struct pci_dev *owner, int bar, u64 offset)
{
	if (bar >= 0)
		p2pdma_pages_remove_one(owner, bar, offset);
}
EXPORT_SYMBOL_GPL(p2pdma_remove_pages);

/**
 * p2pdma_pages_remove_all - remove all ranges of pages of an owner
 * @owner: the device; no range is added any more
 *
 * Context: may sleep.
 */
void p2pdma_pages_remove_all(struct pci_dev *owner)
{
	while (p2pdma_pages_remove_one(owner, -1, 0))
		;
}
