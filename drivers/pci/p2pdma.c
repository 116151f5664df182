// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: providers and their memory.
 *
 * A driver registers its device's BARs, as addresses that others can map, and
 * parts of them with struct pages, which form one pool for each device.  Kernel
 * users take memory from it, find the provider that suits their devices, and
 * hear how far it is.  Which way two devices reach each other is
 * p2pdma_route.c's business, DMA addresses are p2pdma_map.c's, user space is
 * p2pdma_sysfs.c's and p2pdma_dmabuf.c's.
 *
 * Lifetime: the first registration of a device makes its struct pci_p2pdma.
 * When the driver leaves, devres takes everything apart in three steps, which
 * are in this order whatever is registered when: p2pdma_teardown() hides the
 * provider and revokes what users have of it; the page map of each region waits
 * for its memory in flight; p2pdma_release() frees pool and provider.  Memory in
 * use keeps its region, its pool and its provider alive, whatever
 * pci_dev::p2pdma says by then: so memory is always freed by way of its page,
 * never by way of the device.
 *
 * The page maps are devres entries of their own, since drivers other than the
 * bound one register a device's BAR, too, and take its struct pages away by
 * devm_memunmap_pages() when they are unloaded.  The region then has no page
 * map, and no memory can be had of it, until the same range is registered again.
 */

#include <linux/anon_inodes.h>
#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kstrtox.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmdebug.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/percpu-refcount.h>
#include <linux/random.h>
#include <linux/range.h>
#include <linux/rculist.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/wait_bit.h>

#include "p2pdma.h"

/* See p2pdma.h for what it covers. */
static DEFINE_MUTEX(p2pdma_lock);

/* All providers, published or not; written under p2pdma_lock, read by RCU */
static LIST_HEAD(p2pdma_providers);

/*
 * All user mappings of all providers, whichever sysfs mount and open file they
 * come from, each provider's at an offset of its own: see p2pdma_revoke_user().
 */
static struct file *p2pdma_user_file;
static atomic_long_t p2pdma_user_offsets = ATOMIC_LONG_INIT(0);

/* ---- Memory ---- */

/* Give back what has no reference, in pieces of @each, as allocated */
static noinline void *p2pdma_undo(struct p2pdma_region *region, void *addr,
				  size_t size, size_t each)
{
	void *end = addr + size;

	for (; addr < end; addr += each)
		p2pdma_pool_free(region->chunk, addr, each);
	return NULL;
}

static noinline void *p2pdma_undo_put(struct p2pdma_region *region, void *addr,
				      size_t size, size_t each)
{
	p2pdma_undo(region, addr, size, each);
	percpu_ref_put(&region->pgmap.ref);
	return NULL;
}

/*
 * Take contiguous memory: for the kernel, with one reference on its region, or
 * for a user (@each is PAGE_SIZE) with one for each page.
 */
static __always_inline void *p2pdma_alloc(struct pci_p2pdma *provider,
					  size_t size, size_t each,
					  struct p2pdma_region **region)
{
	void *owner, *addr;

	addr = each < size ?
	       p2pdma_pool_alloc_pages(provider->pool, size, &owner) :
	       p2pdma_pool_alloc(provider->pool, size, &owner);
	if (!addr)
		return NULL;

	*region = owner;
	if (unlikely(!percpu_ref_tryget_live_rcu(&(*region)->pgmap.ref)))
		return p2pdma_undo(*region, addr, size, each);
	/* Nobody else's memory must be taken for it. */
	if (unlikely(!p2pdma_bar_in_place((*region)->bar)))
		return p2pdma_undo_put(*region, addr, size, each);
	if (each < size)
		percpu_ref_get_many(&(*region)->pgmap.ref, size / each - 1);
	return addr;
}

/* With the last reference @region, and its provider, may vanish at once. */
static void p2pdma_free(struct p2pdma_region *region, void *addr, size_t size)
{
	/* What is refused has no reference. */
	if (likely(p2pdma_pool_free(region->chunk, addr, size)))
		percpu_ref_put(&region->pgmap.ref);
}

/**
 * p2pdma_alloc_user - take memory of a provider for a user mapping
 * @pdev: the provider
 * @size: bytes, a multiple of PAGE_SIZE
 * @region: where to put the region that it lies in
 *
 * Each page holds a reference on @region and is freed by itself, by
 * p2pdma_free_user() or with the last reference on the page.
 *
 * Context: any but NMI; never sleeps.
 * Return: kernel address of contiguous pages; NULL where @pdev is no provider
 * (any more) or has no such piece left.
 */
void *p2pdma_alloc_user(struct pci_dev *pdev, size_t size,
			struct p2pdma_region **region)
{
	struct pci_p2pdma *provider;
	void *addr;

	/* Teardown waits for readers before the pool goes. */
	guard(rcu)();
	provider = p2pdma_of(pdev);
	if (!provider)
		return NULL;

	addr = p2pdma_alloc(provider, size, PAGE_SIZE, region);
	if (addr)
		atomic_long_add(size >> PAGE_SHIFT, &provider->user_pages);
	return addr;
}

/**
 * p2pdma_free_user - give pages of p2pdma_alloc_user() back
 * @region: where they lie; may vanish with this call
 * @addr: kernel address of the first one
 * @size: bytes, a multiple of PAGE_SIZE
 *
 * Context: any but NMI; never sleeps.
 */
void p2pdma_free_user(struct p2pdma_region *region, void *addr, size_t size)
{
	atomic_long_t *out = &region->bar->device->user_pages;
	void *end = addr + size;

	if (!atomic_long_sub_return(size >> PAGE_SHIFT, out))
		wake_up_var(out);
	for (; addr < end; addr += PAGE_SIZE)
		p2pdma_free(region, addr, PAGE_SIZE);
}

/* The last mapping of a user's page is gone, and so is all DMA to it. */
static void p2pdma_page_free(struct page *page)
{
	/* In the pool it is anybody's: the last owner's count must be over. */
	VM_WARN_ON_ONCE_PAGE(!page_count(page), page);

	p2pdma_free_user(p2pdma_region(page->pgmap), page_to_virt(page),
			 PAGE_SIZE);
}

/* Tools outside the kernel look for this symbol to see that P2PDMA is there. */
static const struct dev_pagemap_ops p2pdma_pgmap_ops = {
	.page_free = p2pdma_page_free,
};

/* The region of @pdev that @addr lies in, or NULL for any other address */
static noinline struct p2pdma_region *p2pdma_region_of(struct pci_dev *pdev,
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
	return region->bar->device->pdev == pdev ? region : NULL;
}

/* The same, at once where @pdev is bound and @addr in its first region */
static __always_inline struct p2pdma_region *
p2pdma_region_of_bound(struct pci_dev *pdev, void *addr)
{
	struct pci_p2pdma *provider;
	struct p2pdma_region *region;

	guard(rcu)();
	provider = p2pdma_of(pdev);
	region = provider ? READ_ONCE(provider->first_region) : NULL;
	if (likely(region && (size_t)(addr - region->start) < region->size))
		return region;
	return p2pdma_region_of(pdev, addr);
}

/* Take memory for the kernel */
static __always_inline void *p2pdma_alloc_kernel(struct pci_dev *pdev,
						 size_t size)
{
	struct p2pdma_region *region;
	struct pci_p2pdma *provider;

	/* Teardown waits for readers before the pool goes. */
	guard(rcu)();
	provider = p2pdma_of(pdev);
	return provider ? p2pdma_alloc(provider, size, size, &region) : NULL;
}

/**
 * pci_alloc_p2pmem - allocate memory of a provider
 * @pdev: the provider; its memory needn't be published
 * @size: bytes, rounded up to whole pages
 *
 * The memory is contiguous, page aligned and not cleared.  It lies in a BAR:
 * the CPU may only touch it through accessors such as memcpy_toio().  The
 * driver core waits for it to be freed, after the driver's remove().
 *
 * Context: any but NMI; never sleeps.
 * Return: kernel address; NULL where @pdev is no provider, or has no piece of
 * @size left, or its BAR has moved since, or @size is 0.
 */
void *pci_alloc_p2pmem(struct pci_dev *pdev, size_t size)
{
	return p2pdma_alloc_kernel(pdev, size);
}
EXPORT_SYMBOL_GPL(pci_alloc_p2pmem);

/**
 * pci_free_p2pmem - free memory of a provider
 * @pdev: the provider it came from
 * @addr: as pci_alloc_p2pmem() returned it
 * @size: as pci_alloc_p2pmem() was given it, in bytes
 *
 * May be called after @pdev has lost its driver, as long as memory is out.
 * What isn't @pdev's, isn't allocated, or was with another address or size, is
 * refused with a warning, and nothing changes.
 *
 * Context: any but NMI; never sleeps.
 */
void pci_free_p2pmem(struct pci_dev *pdev, void *addr, size_t size)
{
	struct p2pdma_region *region = p2pdma_region_of_bound(pdev, addr);

	if (likely(region))
		p2pdma_free(region, addr, size);
	else
		p2pdma_pool_warn("not memory of this device", addr, size);
}
EXPORT_SYMBOL_GPL(pci_free_p2pmem);

/**
 * pci_p2pmem_virt_to_bus - bus address of memory of a provider
 * @pdev: the provider
 * @addr: address inside memory that pci_alloc_p2pmem() returned
 *
 * The address is for @pdev itself and for devices whose requests reach it
 * without passing the root complex; see pci_p2pdma_distance_many().
 *
 * Context: any; never sleeps.
 * Return: bus address; 0 where @addr is no memory of @pdev, or its BAR has
 * moved since.
 */
pci_bus_addr_t pci_p2pmem_virt_to_bus(struct pci_dev *pdev, void *addr)
{
	struct p2pdma_region *region = p2pdma_region_of(pdev, addr);

	if (!region || !p2pdma_bar_in_place(region->bar))
		return 0;
	return pci_p2pdma_bus_addr_map(&region->bar->provider,
				       virt_to_phys(addr));
}
EXPORT_SYMBOL_GPL(pci_p2pmem_virt_to_bus);

/**
 * pci_p2pmem_alloc_sgl - allocate memory of a provider as a scatterlist
 * @pdev: the provider
 * @nents: where to put the number of entries
 * @length: bytes, for which the pool is asked for whole pages
 *
 * Context: may sleep.
 * Return: the list, of one contiguous entry; NULL as pci_alloc_p2pmem(), or
 * where there is no memory for the list, and @nents is as before.
 */
struct scatterlist *pci_p2pmem_alloc_sgl(struct pci_dev *pdev,
					 unsigned int *nents, u32 length)
{
	struct scatterlist *sgl = kmalloc(sizeof(*sgl), GFP_KERNEL);
	void *addr = sgl ? p2pdma_alloc_kernel(pdev, length) : NULL;

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
 * @pdev: the provider
 * @sgl: the list, unmapped
 *
 * Context: any; never sleeps.
 */
void pci_p2pmem_free_sgl(struct pci_dev *pdev, struct scatterlist *sgl)
{
	struct scatterlist *sg;

	for (sg = sgl; sg; sg = sg_next(sg))
		pci_free_p2pmem(pdev, sg_virt(sg), sg->length);
	kfree(sgl);
}
EXPORT_SYMBOL_GPL(pci_p2pmem_free_sgl);

/* ---- Registration ---- */

/*
 * The region that lay in @range, of which no page map has any part now; NULL for
 * none.  The pool can't be told two ways to divide the same memory.
 */
static struct p2pdma_region *p2pdma_region_left(struct pci_p2pdma *provider,
						const struct range *range)
{
	const struct range *left;
	struct p2pdma_region *region;

	list_for_each_entry(region, &provider->regions, node) {
		left = &region->pgmap.range;
		if (left->start > range->end || left->end < range->start)
			continue;
		if (left->start == range->start && left->end == range->end)
			return region;
		pci_err(provider->pdev, "p2pdma: %#llx-%#llx was registered as %#llx-%#llx before; register that, or let the driver bind again\n",
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
	struct pci_p2pdma *provider = region->bar->device;

	region->chunk = old->chunk;
	p2pdma_pool_set_owner(region->chunk, region);
	if (provider->first_region == old)
		/* Frees that go by way of it see the rest. */
		smp_store_release(&provider->first_region, region);
	list_replace_rcu(&old->node, &region->node);

	/* A concurrent allocation may look at it, and is refused. */
	synchronize_rcu();
	devm_kfree(region->bar->provider.owner, old);
}

/* Give @range, which has none, struct pages and put it into the pool */
static int p2pdma_region_add(struct p2pdma_bar *bar, const struct range *range)
{
	struct pci_p2pdma *provider = bar->device;
	struct device *owner = bar->provider.owner;
	struct p2pdma_region *region, *old;
	void *addr;
	int ret;

	old = p2pdma_region_left(provider, range);
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

	ret = p2pdma_pool_add(provider->pool, addr, range_len(range), region,
			      &region->chunk);
	if (ret) {
		devm_memunmap_pages(owner, &region->pgmap);
		devm_kfree(owner, region);
		return ret;
	}

	if (!provider->first_region)
		/* Last: whoever frees by way of it sees the rest. */
		smp_store_release(&provider->first_region, region);
	list_add_tail_rcu(&region->node, &provider->regions);
	return 0;
}

/*
 * Free a provider that nobody can find (any more) and whose page maps are gone:
 * the oldest devres entry, which @res is.
 */
static void p2pdma_release(struct device *dev, void *res)
{
	struct pci_p2pdma *provider = res;

	/* Who had some of that memory may have had it mapped. */
	p2pdma_debug_gone(provider);
	p2pdma_pool_destroy(provider->pool);
	p2pdma_route_cache_destroy(&provider->routes);
}

/**
 * p2pdma_user_mapping - where all user mappings of all providers belong
 *
 * Context: any.
 * Return: the address space, which is there as long as there are providers.
 */
struct address_space *p2pdma_user_mapping(void)
{
	return p2pdma_user_file->f_mapping;
}

static const struct file_operations p2pdma_user_fops = { };

static int __init p2pdma_user_init(void)
{
	struct file *file;

	file = anon_inode_create_getfile("[p2pmem]", &p2pdma_user_fops, NULL,
					 O_RDWR, NULL);
	if (IS_ERR(file))
		return PTR_ERR(file);
	p2pdma_user_file = file;
	return 0;
}
fs_initcall_sync(p2pdma_user_init);	/* before drivers, after the inodes */

/*
 * Take all user mappings away, and wait for I/O to their pages.
 *
 * Once is not enough: an mmap() may have filled its mapping and not yet made
 * it known to the address space.  Nobody tells when it has.
 */
static void p2pdma_revoke_user(struct pci_p2pdma *provider)
{
	do {
		unmap_mapping_pages(p2pdma_user_mapping(),
				    provider->user_offset,
				    P2PDMA_USER_SIZE >> PAGE_SHIFT, true);
	} while (!wait_var_event_timeout(&provider->user_pages,
					 !atomic_long_read(&provider->user_pages),
					 HZ / 10));
}

/*
 * The driver leaves.  Each step relies on the ones before.  The devres entry
 * @res is newer than those of all regions, so that it is released first.
 */
static void p2pdma_teardown(struct device *dev, void *res)
{
	struct pci_p2pdma *provider = *(struct pci_p2pdma **)res;
	struct pci_dev *pdev = provider->pdev;

	/* 1. Nobody new is sent here. */
	WRITE_ONCE(provider->published, false);

	/* 2. No user mapping is begun any more. */
	if (!list_empty(&provider->regions))
		sysfs_remove_group(&pdev->dev.kobj, &p2pdma_group);

	/* 3. No allocation starts, and those that had started are done. */
	scoped_guard(mutex, &p2pdma_lock) {
		list_del_rcu(&provider->node);
		RCU_INIT_POINTER(pdev->p2pdma, NULL);
	}
	synchronize_rcu();
	WRITE_ONCE(provider->published, false);	/* whoever came too late */
	p2pdma_heap_remove(provider);

	/* 4. Users lose theirs.  The page maps wait for the rest. */
	p2pdma_dmabuf_revoke(provider);
	p2pdma_revoke_user(provider);
}

/* Does a BAR have addresses that a CPU or a device can use? */
static bool p2pdma_bar_usable(struct pci_dev *pdev, int bar)
{
	return (pci_resource_flags(pdev, bar) & IORESOURCE_MEM) &&
	       !(pci_resource_flags(pdev, bar) & IORESOURCE_UNSET) &&
	       pci_resource_start(pdev, bar) && pci_resource_len(pdev, bar);
}

/* Note where a BAR is, for as long as its memory is in use */
static void p2pdma_bar_note(struct p2pdma_bar *bar)
{
	struct pci_dev *pdev = bar->device->pdev;
	int number = bar - bar->device->bars;

	if (!p2pdma_bar_usable(pdev, number))
		return;
	bar->range.end = pci_resource_end(pdev, number);
	bar->provider.bus_offset = pci_bus_address(pdev, number) -
				   pci_resource_start(pdev, number);
	/* Last: whoever sees it sees the rest. */
	smp_store_release(&bar->range.start, pci_resource_start(pdev, number));
}

/* Make a provider that nobody can find yet */
static struct pci_p2pdma *p2pdma_create(struct pci_dev *pdev)
{
	struct pci_p2pdma *provider;
	int i;

	if (!p2pdma_user_file)
		return NULL;

	provider = devres_alloc(p2pdma_release, sizeof(*provider), GFP_KERNEL);
	if (!provider)
		return NULL;

	provider->pool = p2pdma_pool_create(dev_to_node(&pdev->dev));
	if (!provider->pool)
		goto err_free;
	provider->teardown = devres_alloc(p2pdma_teardown, sizeof(provider),
					  GFP_KERNEL);
	if (!provider->teardown)
		goto err_pool;

	*provider->teardown = provider;
	provider->pdev = pdev;
	provider->user_offset =
		atomic_long_fetch_add(P2PDMA_USER_SIZE >> PAGE_SHIFT,
				      &p2pdma_user_offsets);
	INIT_LIST_HEAD(&provider->regions);
	INIT_LIST_HEAD(&provider->buffers);
	p2pdma_heap_init(provider);
	p2pdma_route_cache_init(&provider->routes);
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		provider->bars[i].provider.owner = &pdev->dev;
		provider->bars[i].device = provider;
		provider->bars[i].resource = pci_resource_n(pdev, i);
		p2pdma_bar_note(&provider->bars[i]);
	}
	devres_add(&pdev->dev, provider);
	return provider;

err_pool:
	p2pdma_pool_destroy(provider->pool);
err_free:
	devres_free(provider);
	return NULL;
}

static void p2pdma_announce(struct pci_p2pdma *provider)
{
	lockdep_assert_held(&p2pdma_lock);
	devres_add(&provider->pdev->dev, provider->teardown);
	list_add_tail_rcu(&provider->node, &p2pdma_providers);
	rcu_assign_pointer(provider->pdev->p2pdma, provider);
}

static struct pci_p2pdma *p2pdma_registered(struct pci_dev *pdev)
{
	return rcu_dereference_protected(pdev->p2pdma,
					 lockdep_is_held(&p2pdma_lock));
}

/**
 * pcim_p2pdma_init - register a device's BARs as memory without struct pages
 * @pdev: device, bound to the calling driver
 *
 * Other drivers can then map memory of all memory BARs that have an address,
 * by dma_map_p2p() and what rests on it, for as long as the driver is bound:
 * see pcim_p2pdma_provider().  It costs no memory and no time that grows with
 * the BARs, and offers nothing to user space or to pci_p2pmem_find_many().
 * Calling it again changes nothing; pci_p2pdma_add_resource() includes it.
 *
 * Context: may sleep.  Calls are serialised; the driver makes sure that none
 * runs while it leaves.
 * Return: 0; -ENOMEM no memory, and nothing has changed; -EOPNOTSUPP the
 * kernel has no P2PDMA.
 */
int pcim_p2pdma_init(struct pci_dev *pdev)
{
	struct pci_p2pdma *provider;

	guard(mutex)(&p2pdma_lock);
	if (p2pdma_registered(pdev))
		return 0;

	provider = p2pdma_create(pdev);
	if (!provider)
		return -ENOMEM;
	p2pdma_announce(provider);
	return 0;
}
EXPORT_SYMBOL_GPL(pcim_p2pdma_init);

/**
 * pcim_p2pdma_provider - one BAR of a device as memory for others
 * @pdev: device, after pcim_p2pdma_init() or pci_p2pdma_add_resource()
 * @bar: number of the BAR, 0 to 5
 *
 * Context: any; never sleeps.
 * Return: the provider, valid until the driver of @pdev leaves; NULL where
 * there is no such BAR, it is an I/O BAR, it had no address, or @pdev isn't
 * registered.
 */
struct p2pdma_provider *pcim_p2pdma_provider(struct pci_dev *pdev, int bar)
{
	struct pci_p2pdma *provider;

	if (bar < 0 || bar >= PCI_STD_NUM_BARS)
		return NULL;

	guard(rcu)();
	provider = p2pdma_of(pdev);
	/* Pairs with p2pdma_bar_note(). */
	return provider && smp_load_acquire(&provider->bars[bar].range.start) ?
	       &provider->bars[bar].provider : NULL;
}
EXPORT_SYMBOL_GPL(pcim_p2pdma_provider);

/*
 * Does something own struct pages in @range already?  memremap_pages() would
 * warn, or not even notice, where it should refuse.
 */
static bool p2pdma_range_taken(const struct range *range)
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

/* From a driver's arguments to a range that memremap_pages() can take */
static int p2pdma_check_range(struct pci_dev *pdev, int bar, size_t size,
			      u64 offset, struct range *range)
{
	const struct range limit = mhp_get_pluggable_range(true);
	const unsigned long align = memremap_compat_align();
	resource_size_t len;

	if (bar < 0 || bar >= PCI_STD_NUM_BARS) {
		pci_err(pdev, "p2pdma: there is no BAR %d\n", bar);
		return -EINVAL;
	}

	len = pci_resource_len(pdev, bar);
	if (!len || !(pci_resource_flags(pdev, bar) & IORESOURCE_MEM)) {
		pci_err(pdev, "p2pdma: BAR %d isn't memory\n", bar);
		return -EINVAL;
	}
	if (pci_resource_flags(pdev, bar) & IORESOURCE_UNSET) {
		pci_err(pdev, "p2pdma: BAR %d has no address\n", bar);
		return -ENODEV;
	}

	/* In this order nothing wraps. */
	if (offset >= len || size > len - offset) {
		pci_err(pdev, "p2pdma: %#zx bytes at %#llx don't lie in BAR %d %pR\n",
			size, offset, bar, pci_resource_n(pdev, bar));
		return -EINVAL;
	}
	if (!size)
		size = len - offset;

	range->start = pci_resource_start(pdev, bar) + offset;
	range->end = range->start + size - 1;
	if (!IS_ALIGNED(range->start, align) || !IS_ALIGNED(size, align)) {
		pci_err(pdev, "p2pdma: struct pages need multiples of %#lx: BAR %d %#llx-%#llx isn't\n",
			align, bar, range->start, range->end);
		return -EINVAL;
	}
	if (range->start < limit.start || range->end > limit.end) {
		pci_err(pdev, "p2pdma: BAR %d %#llx-%#llx lies beyond what this kernel maps (%#llx-%#llx)\n",
			bar, range->start, range->end, limit.start, limit.end);
		return -EOPNOTSUPP;
	}
	return 0;
}

/* With the first region p2pmem/ appears. */
static int p2pdma_add_pages(struct p2pdma_bar *bar, const struct range *range)
{
	struct pci_p2pdma *provider = bar->device;
	struct kobject *kobj = &provider->pdev->dev.kobj;
	bool first = list_empty(&provider->regions);
	int ret = 0;

	/* It may have been given an address only now, but never another one. */
	if (!bar->range.start)
		p2pdma_bar_note(bar);
	if (!p2pdma_bar_in_place(bar)) {
		pci_err(provider->pdev, "p2pdma: BAR %td has moved since the device was registered; let the driver bind again\n",
			bar - provider->bars);
		return -EBUSY;
	}

	if (first)
		ret = sysfs_create_group(kobj, &p2pdma_group);
	if (ret)
		return ret;

	ret = p2pdma_region_add(bar, range);
	if (ret && first)
		sysfs_remove_group(kobj, &p2pdma_group);
	return ret;
}

/* Register @range, and @pdev if it is the first one, or leave no trace */
static int p2pdma_register(struct pci_dev *pdev, int bar,
			   const struct range *range)
{
	struct pci_p2pdma *provider = p2pdma_registered(pdev);
	int ret;

	if (provider) {
		/* Gone already where the driver leaves at this moment. */
		if (!devres_remove(&pdev->dev, p2pdma_teardown, NULL, NULL))
			return -ENODEV;
		ret = p2pdma_add_pages(&provider->bars[bar], range);
		devres_add(&pdev->dev, provider->teardown);
		return ret;
	}

	provider = p2pdma_create(pdev);
	if (!provider)
		return -ENOMEM;

	ret = p2pdma_add_pages(&provider->bars[bar], range);
	if (ret) {
		devres_free(provider->teardown);
		devres_release(&pdev->dev, p2pdma_release, NULL, NULL);
		return ret;
	}
	p2pdma_announce(provider);
	return 0;
}

/**
 * pci_p2pdma_add_resource - register a part of a BAR as peer-to-peer memory
 * @pdev: device with the BAR, bound to a driver, mostly the calling one
 * @bar: number of the BAR, 0 to 5
 * @size: bytes, 0 for all from @offset on
 * @offset: where in the BAR to start, in bytes
 *
 * The range gets struct pages and goes into the device's pool.  It must be
 * aligned to memremap_compat_align() (2 MiB on most machines).  A device may
 * register several BARs, and several parts of one.  The memory is for the
 * driver alone until pci_p2pmem_publish().  It is unregistered when the driver
 * leaves: after its remove() has returned, user mappings are taken away and
 * what is still in use is waited for.
 *
 * A module other than the driver that @pdev is bound to may call this as well.
 * It takes the range away by devm_memunmap_pages(), which waits until none of it
 * is in use; then the same range can be registered again.
 *
 * Context: may sleep.  Calls are serialised; the driver makes sure that none
 * runs while it leaves.
 * Return:
 * * 0 - registered
 * * -EINVAL - no such BAR, not memory, out of its bounds, or not aligned
 * * -ENODEV - the BAR has no address, or the driver is leaving
 * * -EBUSY - something of the range has struct pages already, or had them as
 *   part of another range, or the BAR has moved since the device was registered
 *   first
 * * -EOPNOTSUPP - the kernel can't map memory at that address
 * * -ENOMEM - no memory for struct pages or for the pool
 *
 * or what memremap_pages() returned, such as -EINVAL where the CPU's cache
 * attributes of the range conflict.  On any error nothing has changed, and the
 * log says what was wrong.
 */
int pci_p2pdma_add_resource(struct pci_dev *pdev, int bar, size_t size,
			    u64 offset)
{
	struct range range;
	int ret;

	ret = p2pdma_check_range(pdev, bar, size, offset, &range);
	if (ret)
		return ret;

	guard(mutex)(&p2pdma_lock);
	if (p2pdma_range_taken(&range)) {
		pci_err(pdev, "p2pdma: BAR %d %#llx-%#llx is registered already, in part at least\n",
			bar, range.start, range.end);
		return -EBUSY;
	}

	ret = p2pdma_register(pdev, bar, &range);
	if (ret) {
		pci_err(pdev, "p2pdma: can't register BAR %d %#llx-%#llx: %pe\n",
			bar, range.start, range.end, ERR_PTR(ret));
		return ret;
	}

	pci_info(pdev, "p2pdma: registered BAR %d %#llx-%#llx\n",
		 bar, range.start, range.end);
	return 0;
}
EXPORT_SYMBOL_GPL(pci_p2pdma_add_resource);

/**
 * pci_p2pmem_publish - let others use a provider's memory, or no longer
 * @pdev: the provider; nothing happens where it has registered nothing
 * @publish: true to let them, false to keep what is free for the driver
 *
 * Published memory is found by pci_p2pmem_find_many() and can be mapped by
 * user space.  What is allocated or mapped stays so.
 *
 * Context: any; never sleeps.
 */
void pci_p2pmem_publish(struct pci_dev *pdev, bool publish)
{
	struct pci_p2pdma *provider;

	guard(rcu)();
	provider = p2pdma_of(pdev);
	if (provider && !list_empty(&provider->regions)) {
		WRITE_ONCE(provider->published, publish);
		p2pdma_heap_update(provider);
	}
}
EXPORT_SYMBOL_GPL(pci_p2pmem_publish);

/**
 * pci_has_p2pmem - does a device offer memory to others?
 * @pdev: any PCI device
 *
 * Context: any; never sleeps.
 * Return: true where @pdev has registered and published memory.
 */
bool pci_has_p2pmem(struct pci_dev *pdev)
{
	struct pci_p2pdma *provider;

	guard(rcu)();
	provider = p2pdma_of(pdev);
	return provider && READ_ONCE(provider->published);
}
EXPORT_SYMBOL_GPL(pci_has_p2pmem);

/* ---- Choice ---- */

/* Of a client to a registered provider; -1 where it can't do both directions */
static int p2pdma_distance_of(struct pci_p2pdma *provider,
			      struct device *client, bool verbose)
{
	u64 verdict = p2pdma_verdict(&provider->routes, provider->pdev, client,
				     verbose);
	enum p2pdma_reason reason;

	if (!p2pdma_verdict_both(verdict))
		return -1;

	reason = p2pdma_limit(provider, client,
			      p2pdma_verdict_map_type(verdict));
	if (likely(reason == P2PDMA_REASON_MAX))
		return p2pdma_verdict_distance(verdict);
	if (verbose)
		p2pdma_verdict_refused(&provider->routes, provider->pdev,
				       client, reason);
	return -1;
}

/* The same where there is no memory, and so no cache, yet */
static noinline int p2pdma_distance_of_pci(struct pci_dev *provider,
					   struct device *client, bool verbose)
{
	struct p2pdma_route route;

	p2pdma_route_find(provider, client, verbose, &route);
	return route.directions == P2PDMA_BOTH ? route.distance : -1;
}

/**
 * pci_p2pdma_distance_many - can clients reach a provider, and at what cost
 * @provider: PCI device with the memory; it needn't be registered yet
 * @clients: devices that would access it: PCI devices, or children of such
 * @num_clients: how many
 * @verbose: say in the log, for each client that can't, why not; only once
 *	where @provider is registered, until the answer changes
 *
 * A client that can only read or only write can't: the direction isn't asked.
 *
 * The cost grows with the class of the route first (through a switch, through
 * one host bridge, through two), then where it leaves the NUMA node, then with
 * the number of hops.
 *
 * Context: any; never sleeps.  The caller holds all devices.
 * Return: sum of the costs of all clients, 0 where @provider is the only one;
 * -1 where one can't reach it, or @num_clients is 0.
 */
int pci_p2pdma_distance_many(struct pci_dev *provider,
			     struct device **clients, int num_clients,
			     bool verbose)
{
	bool refused = num_clients <= 0;
	struct pci_p2pdma *registered;
	int i, distance;
	s64 total = 0;

	guard(rcu)();
	registered = p2pdma_of(provider);

	for (i = 0; i < num_clients; i++) {
		distance = registered ?
			p2pdma_distance_of(registered, clients[i], verbose) :
			p2pdma_distance_of_pci(provider, clients[i], verbose);
		if (distance < 0) {
			refused = true;
			if (!verbose)
				break;
		}
		total += distance;
	}
	return refused ? -1 : min(total, INT_MAX);
}
EXPORT_SYMBOL_GPL(pci_p2pdma_distance_many);

/**
 * pci_p2pdma_route - which way a client reaches a provider, or why not
 * @provider: PCI device with the memory; it needn't be registered yet
 * @client: device that would access it: a PCI device, or a child of one
 * @route: where to put the answer, also where there is no route
 *
 * The answer is always fresh, and takes a while.  It holds until something
 * about the PCI fabric changes, or the client's DMA mask.  Where @provider has
 * registered memory, it is for all of that: one region out of @client's reach
 * is a refusal.
 *
 * Context: any; never sleeps.  The caller holds both devices.
 * Return:
 * * 0 - @client can read, write or both; @route tells
 * * -EREMOTEIO - it can do neither; @route tells why
 * * -EINVAL - an argument is NULL
 * * -EOPNOTSUPP - the kernel has no P2PDMA; @route isn't touched
 */
int pci_p2pdma_route(struct pci_dev *provider, struct device *client,
		     struct p2pdma_route *route)
{
	struct pci_p2pdma *registered;
	enum p2pdma_reason reason;

	if (!provider || !client || !route)
		return -EINVAL;

	p2pdma_route_find(provider, client, false, route);
	if (!route->directions)
		return -EREMOTEIO;

	guard(rcu)();
	registered = p2pdma_of(provider);
	reason = registered ? p2pdma_limit(registered, client, route->map_type) :
			      P2PDMA_REASON_MAX;
	if (reason == P2PDMA_REASON_MAX)
		return 0;
	p2pdma_route_refuse(route, reason);
	return -EREMOTEIO;
}
EXPORT_SYMBOL_GPL(pci_p2pdma_route);

/**
 * pci_p2pmem_find_many - find the provider that suits clients best
 * @clients: devices that would access the memory
 * @num_clients: how many
 *
 * Of the published providers that all clients can reach, the least distant
 * one; among equals the one with most memory free; among those, any.
 *
 * Context: any; never sleeps.  The caller holds the clients.
 * Return: the provider, with a reference that the caller drops with
 * pci_dev_put(); NULL where there is none.
 */
struct pci_dev *pci_p2pmem_find_many(struct device **clients, int num_clients)
{
	size_t free, most_free = 0;
	struct pci_dev *best = NULL;
	struct pci_p2pdma *provider;
	int distance, least = INT_MAX;
	unsigned int equals = 0;
	u32 random = get_random_u32();

	guard(rcu)();
	list_for_each_entry_rcu(provider, &p2pdma_providers, node) {
		if (!READ_ONCE(provider->published))
			continue;

		distance = pci_p2pdma_distance_many(provider->pdev, clients,
						    num_clients, false);
		if (distance < 0 || distance > least)
			continue;

		free = p2pdma_pool_available(provider->pool);
		if (distance == least && free < most_free)
			continue;
		if (distance < least || free > most_free)
			equals = 0;

		least = distance;
		most_free = free;
		/* The n-th equal replaces the choice with a chance of 1/n. */
		random = next_pseudo_random32(random);
		if (!reciprocal_scale(random, ++equals))
			best = provider->pdev;
	}
	return pci_dev_get(best);
}
EXPORT_SYMBOL_GPL(pci_p2pmem_find_many);

/* ---- Attributes of orchestrators ---- */

/**
 * pci_p2pdma_enable_store - parse an attribute that turns peer memory on
 * @page: what was written: the name of a provider, as in 0000:03:00.0, or a
 *	boolean as kstrtobool() takes it; a newline may follow
 * @p2p_dev: where to put the provider, with a reference for the caller; only
 *	written where one was named
 * @use_p2pdma: where to put whether peer memory is wanted.  True without a
 *	provider leaves the choice to the caller.
 *
 * Context: may sleep.
 * Return:
 * * 0 - parsed
 * * -ENODEV - neither a boolean nor the name of a device that has published
 *   memory; nothing is written, and the log says which
 */
int pci_p2pdma_enable_store(const char *page, struct pci_dev **p2p_dev,
			    bool *use_p2pdma)
{
	size_t len = strcspn(page, "\n");
	struct device *named;

	named = bus_find_device_by_name(&pci_bus_type, NULL, page);
	if (named && pci_has_p2pmem(to_pci_dev(named))) {
		*p2p_dev = to_pci_dev(named);
		*use_p2pdma = true;
		return 0;
	}
	if (named) {
		dev_err(named, "p2pdma: has no published peer-to-peer memory\n");
		put_device(named);
		return -ENODEV;
	}

	/*
	 * kstrtobool() only looks at the start, and so would take the name of
	 * an absent device, as in 0000:03:00.0 or nvme0, for a boolean.
	 */
	if ((len == 1 || !strpbrk(page, "0123456789:")) &&
	    !kstrtobool(page, use_p2pdma))
		return 0;

	pr_err("p2pdma: no PCI device and no boolean: %.*s\n", (int)len, page);
	return -ENODEV;
}
EXPORT_SYMBOL_GPL(pci_p2pdma_enable_store);

/**
 * pci_p2pdma_enable_show - show what pci_p2pdma_enable_store() parsed
 * @page: buffer of PAGE_SIZE, page aligned
 * @p2p_dev: provider that was named, or NULL
 * @use_p2pdma: whether peer memory is wanted
 *
 * Context: any.
 * Return: bytes written: "0", "1" or the provider's name, and a newline.
 */
ssize_t pci_p2pdma_enable_show(char *page, struct pci_dev *p2p_dev,
			       bool use_p2pdma)
{
	if (use_p2pdma && p2p_dev)
		return sysfs_emit(page, "%s\n", pci_name(p2p_dev));
	return sysfs_emit(page, "%d\n", use_p2pdma);
}
EXPORT_SYMBOL_GPL(pci_p2pdma_enable_show);
