// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: registration, publishing, teardown, finding a provider.
 *
 * A driver registers its device's BARs, as addresses that other drivers can
 * map, and parts of them with struct pages, which form one pool for each
 * device.  This file creates and frees the core's state of a device, and
 * chooses among devices.  It is the top layer: no other file of the core calls
 * it.
 */

#include <linux/bits.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kstrtox.h>
#include <linux/memory_hotplug.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/random.h>
#include <linux/range.h>
#include <linux/rculist.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include <trace/events/p2pdma.h>
#include <kunit/visibility.h>

#include "pci.h"
#include "p2pdma.h"

/**
 * DOC: When the driver leaves
 *
 * The first registration of a device creates its struct pci_p2pdma.  When the
 * driver leaves, after its remove() has returned, devres undoes all
 * registrations in three steps, in this order for any order of registrations:
 *
 * 1. The core unpublishes the memory, removes ``p2pmem/``, stops allocations,
 *    revokes user mappings and dma-bufs, and removes pages that drivers allocate
 *    themselves.
 * 2. The page map of each region waits until its memory is free.
 * 3. The pool and the struct pci_p2pdma are freed.
 *
 * Allocated memory keeps its region, its pool and its struct pci_p2pdma alive,
 * also once pci_dev::p2pdma is NULL.
 *
 * The driver has no registration to undo, but
 *
 * - remove() must free the memory that the driver itself has allocated,
 * - the device, unless it was pulled out, must still respond while other
 *   devices finish their DMA, and
 * - the driver must make sure that it registers nothing concurrently with its
 *   unbinding.
 */

/* See p2pdma.h for what it protects. */
static DEFINE_MUTEX(p2pdma_lock);

/* All devices with memory, published or not; written under p2pdma_lock, read by RCU */
static LIST_HEAD(p2pdma_all);

/* ---- Teardown ---- */

/*
 * Free a struct pci_p2pdma that isn't in pci_dev::p2pdma and has no page map
 * left.  @res is the oldest devres entry of P2PDMA.
 */
static void p2pdma_release(struct device *dev, void *res)
{
	struct pci_p2pdma *p2pdma = res;

	p2pdma_mem_destroy(p2pdma);
	p2pdma_cache_destroy(&p2pdma->cache);
}

/*
 * The driver leaves.  Each step relies on the previous ones.  The devres entry
 * @res is newer than those of all regions, and so is released first.
 */
static void p2pdma_teardown(struct device *dev, void *res)
{
	struct pci_p2pdma *p2pdma = *(struct pci_p2pdma **)res;
	struct pci_dev *pdev = p2pdma->pdev;

	/* 1. Searches no longer find the device. */
	WRITE_ONCE(p2pdma->published, false);

	/* 2. No new mmap() starts. */
	if (!list_empty(&p2pdma->regions))
		sysfs_remove_group(&pdev->dev.kobj, &p2pdma_group);

	/* 3. No new allocation starts; wait for those in progress. */
	scoped_guard(mutex, &p2pdma_lock) {
		list_del_rcu(&p2pdma->node);
		RCU_INIT_POINTER(pdev->p2pdma, NULL);
	}
	synchronize_rcu();
	WRITE_ONCE(p2pdma->published, false);	/* after a concurrent publish */
	p2pdma_heap_remove(p2pdma);

	/*
	 * 4. Revoke what users have.  The page maps of the pool wait for the
	 * rest; those of drivers' pages are removed.
	 */
	p2pdma_dmabuf_revoke(p2pdma);
	p2pdma_mem_revoke_user(p2pdma);
	p2pdma_pages_remove_all(pdev);

	/* 5. Tell everybody. */
	p2pdma_tell_end(p2pdma);
	trace_p2pdma_owner(pdev, false);
}

/* ---- Registration ---- */

/* Does a BAR have addresses that a CPU or a device can use? */
static bool p2pdma_bar_usable(struct pci_dev *pdev, int bar)
{
	return (pci_resource_flags(pdev, bar) & IORESOURCE_MEM) &&
	       !(pci_resource_flags(pdev, bar) & IORESOURCE_UNSET) &&
	       pci_resource_start(pdev, bar) && pci_resource_len(pdev, bar);
}

/* Record the address of a BAR, if it has one */
static void p2pdma_bar_note(struct p2pdma_bar *bar)
{
	struct pci_dev *pdev = bar->p2pdma->pdev;
	int number = bar - bar->p2pdma->bars;

	if (!p2pdma_bar_usable(pdev, number))
		return;
	bar->range.end = pci_resource_end(pdev, number);
	bar->provider.bus_offset = pci_bus_address(pdev, number) -
				   pci_resource_start(pdev, number);
	/* Last: a reader that sees the start sees the other members. */
	smp_store_release(&bar->range.start, pci_resource_start(pdev, number));
}

/* Create a struct pci_p2pdma; p2pdma_announce() lets readers find it. */
static struct pci_p2pdma *p2pdma_create(struct pci_dev *pdev)
{
	struct pci_p2pdma *p2pdma;
	int i;

	p2pdma = devres_alloc(p2pdma_release, sizeof(*p2pdma), GFP_KERNEL);
	if (!p2pdma)
		return NULL;

	p2pdma->pdev = pdev;
	if (p2pdma_mem_init(p2pdma))
		goto err_free;
	p2pdma->teardown = devres_alloc(p2pdma_teardown, sizeof(p2pdma),
					GFP_KERNEL);
	if (!p2pdma->teardown)
		goto err_mem;

	*p2pdma->teardown = p2pdma;
	INIT_LIST_HEAD(&p2pdma->buffers);
	p2pdma_heap_init(p2pdma);
	p2pdma_tell_init(p2pdma);
	p2pdma_cache_init(&p2pdma->cache);
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		p2pdma->bars[i].provider.owner = &pdev->dev;
		p2pdma->bars[i].p2pdma = p2pdma;
		p2pdma->bars[i].resource = pci_resource_n(pdev, i);
		p2pdma_bar_note(&p2pdma->bars[i]);
	}
	devres_add(&pdev->dev, p2pdma);
	return p2pdma;

err_mem:
	p2pdma_mem_destroy(p2pdma);
err_free:
	devres_free(p2pdma);
	return NULL;
}

static void p2pdma_announce(struct pci_p2pdma *p2pdma)
{
	lockdep_assert_held(&p2pdma_lock);
	devres_add(&p2pdma->pdev->dev, p2pdma->teardown);
	list_add_tail_rcu(&p2pdma->node, &p2pdma_all);
	rcu_assign_pointer(p2pdma->pdev->p2pdma, p2pdma);
	trace_p2pdma_owner(p2pdma->pdev, true);
}

/* Something was registered. */
static void p2pdma_count_registration(struct pci_p2pdma *p2pdma)
{
	lockdep_assert_held(&p2pdma_lock);
	WRITE_ONCE(p2pdma->registered, p2pdma->registered + 1);
	p2pdma_tell(p2pdma);
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
 * Other drivers can then map memory of all memory BARs that have an address, by
 * dma_map_p2p() and the functions based on it, for as long as the driver is
 * bound: see pcim_p2pdma_provider().  The cost in time and memory doesn't
 * depend on the size of the BARs.  Neither user space nor
 * pci_p2pmem_find_many() sees the memory.  Repeated calls have no effect;
 * pci_p2pdma_add_resource() includes this one.
 *
 * Context: may sleep.  Calls are serialised; the driver makes sure that none
 * runs while it leaves.
 * Return: 0; -ENOMEM no memory, and nothing has changed; -EOPNOTSUPP the
 * kernel has no P2PDMA.
 */
int pcim_p2pdma_init(struct pci_dev *pdev)
{
	struct pci_p2pdma *p2pdma;

	guard(mutex)(&p2pdma_lock);
	if (p2pdma_registered(pdev))
		return 0;

	p2pdma = p2pdma_create(pdev);
	if (!p2pdma)
		return -ENOMEM;
	p2pdma_announce(p2pdma);
	p2pdma_count_registration(p2pdma);
	return 0;
}
EXPORT_SYMBOL_GPL(pcim_p2pdma_init);

/**
 * pcim_p2pdma_provider - get the provider of a device's BAR
 * @pdev: device, after pcim_p2pdma_init() or pci_p2pdma_add_resource()
 * @bar: number of the BAR, 0 to 5
 *
 * Context: any; never sleeps.
 * Return: the provider, valid until the driver of @pdev leaves; NULL if there
 * is no such BAR, it is an I/O BAR, it had no address when it was registered,
 * or @pdev isn't registered.
 */
struct p2pdma_provider *pcim_p2pdma_provider(struct pci_dev *pdev, int bar)
{
	struct pci_p2pdma *p2pdma;

	if (bar < 0 || bar >= PCI_STD_NUM_BARS)
		return NULL;

	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	/* Pairs with p2pdma_bar_note(). */
	return p2pdma && smp_load_acquire(&p2pdma->bars[bar].range.start) ?
	       &p2pdma->bars[bar].provider : NULL;
}
EXPORT_SYMBOL_GPL(pcim_p2pdma_provider);

/* Check a driver's arguments; @range is valid for memremap_pages() */
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

	/* Checked in this order, the sum can't wrap. */
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

/* Has @bar the address that was registered, or none until now? */
static int p2pdma_check_bar(struct p2pdma_bar *bar)
{
	/* The BAR may have got its address since the device was registered. */
	if (!bar->range.start)
		p2pdma_bar_note(bar);
	if (p2pdma_bar_in_place(bar))
		return 0;

	pci_err(bar->p2pdma->pdev, "p2pdma: BAR %td has moved since the device was registered; let the driver bind again\n",
		bar - bar->p2pdma->bars);
	return -EBUSY;
}

/* Add a region to the pool, and p2pmem/ with the first one. */
static int p2pdma_add_region(struct p2pdma_bar *bar, const struct range *range)
{
	struct pci_p2pdma *p2pdma = bar->p2pdma;
	struct kobject *kobj = &p2pdma->pdev->dev.kobj;
	bool first = list_empty(&p2pdma->regions);
	int ret = p2pdma_check_bar(bar);

	if (!ret && first)
		ret = sysfs_create_group(kobj, &p2pdma_group);
	if (ret)
		return ret;

	ret = p2pdma_mem_add(bar, range);
	if (ret && first)
		sysfs_remove_group(kobj, &p2pdma_group);
	return ret;
}

/*
 * The state of @pdev, created if there is none, to register memory in it.  Until
 * p2pdma_register_end() the teardown isn't among the devres entries, so that
 * entries added meanwhile are released after it.
 */
static struct pci_p2pdma *p2pdma_register_begin(struct pci_dev *pdev)
{
	struct pci_p2pdma *p2pdma = p2pdma_registered(pdev);

	if (!p2pdma)
		return p2pdma_create(pdev) ?: ERR_PTR(-ENOMEM);
	/* Released already if the driver is leaving. */
	if (!devres_remove(&pdev->dev, p2pdma_teardown, NULL, NULL))
		return ERR_PTR(-ENODEV);
	return p2pdma;
}

/* @ret: of the registration; on an error a state just created is freed */
static void p2pdma_register_end(struct pci_p2pdma *p2pdma, int ret)
{
	struct pci_dev *pdev = p2pdma->pdev;

	if (p2pdma_registered(pdev)) {
		devres_add(&pdev->dev, p2pdma->teardown);
	} else if (!ret) {
		p2pdma_announce(p2pdma);
	} else {
		devres_free(p2pdma->teardown);
		devres_release(&pdev->dev, p2pdma_release, NULL, NULL);
	}
}

/*
 * Register @range of a BAR: in the pool, or with @ops as pages that a driver
 * allocates itself.  On an error nothing has changed.
 */
static int p2pdma_register(struct pci_dev *pdev, int bar,
			   const struct range *range,
			   enum p2pdma_memory_type type,
			   const struct p2pdma_pages_ops *ops)
{
	struct pci_p2pdma *p2pdma;
	int ret;

	guard(mutex)(&p2pdma_lock);
	if (p2pdma_mem_taken(range) || p2pdma_pages_have(range)) {
		pci_err(pdev, "p2pdma: BAR %d %#llx-%#llx is registered already, in part at least\n",
			bar, range->start, range->end);
		return -EBUSY;
	}

	p2pdma = p2pdma_register_begin(pdev);
	if (IS_ERR(p2pdma)) {
		ret = PTR_ERR(p2pdma);
	} else {
		if (ops)
			ret = p2pdma_check_bar(&p2pdma->bars[bar]) ?:
			      p2pdma_pages_add(&p2pdma->bars[bar], range, type,
					       ops);
		else
			ret = p2pdma_add_region(&p2pdma->bars[bar], range);
		p2pdma_register_end(p2pdma, ret);
	}
	if (ret) {
		pci_err(pdev, "p2pdma: can't register BAR %d %#llx-%#llx: %pe\n",
			bar, range->start, range->end, ERR_PTR(ret));
		return ret;
	}

	p2pdma_count_registration(p2pdma);
	pci_info(pdev, "p2pdma: registered BAR %d %#llx-%#llx%s\n",
		 bar, range->start, range->end,
		 ops ? ", pages of a driver" : "");
	return 0;
}

/**
 * pci_p2pdma_add_resource - register a part of a BAR as peer-to-peer memory
 * @pdev: device with the BAR, bound to a driver, usually the calling one
 * @bar: number of the BAR, 0 to 5
 * @size: bytes, 0 for the rest of the BAR from @offset on
 * @offset: start of the range in the BAR, in bytes
 *
 * The range gets struct pages and is added to the device's pool.  It must be
 * aligned to memremap_compat_align() (2 MiB on most machines).  Several BARs of
 * a device, and several parts of one BAR, can be registered.  Only the driver
 * uses the memory until pci_p2pmem_publish().  When the driver leaves, after
 * its remove() has returned, the core revokes user mappings, waits until the
 * memory is no longer in use, and unregisters it.
 *
 * A module other than the driver that @pdev is bound to may call this as well.
 * It removes the range by devm_memunmap_pages(), which waits until none of its
 * memory is in use; then the same range can be registered again.
 *
 * Context: may sleep.  Calls are serialised; the driver makes sure that none
 * runs while it leaves.
 * Return:
 * * 0 - registered
 * * -EINVAL - no such BAR, no memory BAR, range out of its bounds or not
 *   aligned
 * * -ENODEV - the BAR has no address, or the driver is leaving
 * * -EBUSY - a part of the range has struct pages already, or had them as part
 *   of another range, or the BAR has moved since the device's first
 *   registration
 * * -EOPNOTSUPP - the kernel can't map memory at that address
 * * -ENOMEM - no memory for struct pages or for the pool
 *
 * or the errno of memremap_pages(), such as -EINVAL if the range has
 * conflicting cache attributes.  On an error nothing has changed, and the log
 * has the cause.
 */
int pci_p2pdma_add_resource(struct pci_dev *pdev, int bar, size_t size,
			    u64 offset)
{
	struct range range;
	int ret;

	ret = p2pdma_check_range(pdev, bar, size, offset, &range);
	return ret ?: p2pdma_register(pdev, bar, &range, P2PDMA_UNCACHED, NULL);
}
EXPORT_SYMBOL_GPL(pci_p2pdma_add_resource);

/**
 * p2pdma_add_pages - register a part of a BAR as pages that a driver allocates itself
 * @owner: device with the BAR, bound to a driver, not necessarily the calling one
 * @bar: number of the BAR, 0 to 5
 * @size: bytes, 0 for the rest of the BAR from @offset on
 * @offset: start of the range in the BAR, in bytes
 * @type: how CPUs access the memory
 * @ops: operations, valid until the pages are removed
 *
 * For drivers that have an allocator of their own: nothing is added to the
 * device's pool, its ``p2pmem/`` or heap, and no search for a provider finds the
 * pages.  The range gets struct pages, all of them free.  The driver takes pages by
 * p2pdma_take_page() and passes them on, for example by vm_insert_page() with the
 * protection of p2pdma_page_prot(), or in scatterlists.  The last put_page() of a
 * taken page calls p2pdma_pages_ops::page_free().
 *
 * The range must be aligned to memremap_compat_align() (2 MiB on most machines).
 * Several ranges can be registered, also beside ranges of the pool.  CPU mappings
 * of it that exist (ioremap() and the like) must have the same memory type.
 *
 * p2pdma_remove_pages() removes the pages.  When the driver that @owner is bound to
 * leaves, they are removed, too.
 *
 * Context: may sleep.  Calls are serialised; the caller makes sure that @owner's
 * driver doesn't leave meanwhile.
 * Return:
 * * 0 - registered
 * * -EINVAL - no such BAR, no memory BAR, range out of its bounds or not
 *   aligned; unknown @type; an operation is missing
 * * -ENODEV - the BAR has no address, or the driver is leaving
 * * -EBUSY - a part of the range has struct pages already, or is mapped with
 *   another memory type, or the BAR has moved since the device's first
 *   registration
 * * -EOPNOTSUPP - the kernel can't map memory at that address, or not with that
 *   type, or has no P2PDMA
 * * -ENOMEM - no memory for struct pages
 *
 * or the errno of memremap_pages().  On an error nothing has changed, and the log
 * has the cause.
 */
int p2pdma_add_pages(struct pci_dev *owner, int bar, size_t size, u64 offset,
		     enum p2pdma_memory_type type,
		     const struct p2pdma_pages_ops *ops)
{
	struct range range;
	int ret;

	if (!ops || !ops->page_free || !ops->reclaim) {
		pci_err(owner, "p2pdma: pages need both operations, page_free and reclaim\n");
		return -EINVAL;
	}
	ret = p2pdma_check_range(owner, bar, size, offset, &range) ?:
	      p2pdma_pages_check_type(owner, type);
	return ret ?: p2pdma_register(owner, bar, &range, type, ops);
}
EXPORT_SYMBOL_GPL(p2pdma_add_pages);

/**
 * pci_p2pmem_publish - publish or unpublish a device's memory
 * @pdev: the owner; no effect if it has registered no memory with struct pages
 * @publish: true to publish, false to leave free memory to the driver alone
 *
 * Published memory is found by pci_p2pmem_find_many() and can be mapped by user
 * space.  Unpublishing doesn't affect memory that is allocated or mapped.
 *
 * Context: any; never sleeps.
 */
void pci_p2pmem_publish(struct pci_dev *pdev, bool publish)
{
	struct pci_p2pdma *p2pdma;

	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	if (p2pdma && !list_empty(&p2pdma->regions)) {
		WRITE_ONCE(p2pdma->published, publish);
		p2pdma_heap_update(p2pdma);
		p2pdma_tell(p2pdma);
	}
}
EXPORT_SYMBOL_GPL(pci_p2pmem_publish);

/**
 * pci_has_p2pmem - does a device offer memory to others?
 * @pdev: any PCI device
 *
 * Context: any; never sleeps.
 * Return: true if @pdev has registered and published memory.
 */
bool pci_has_p2pmem(struct pci_dev *pdev)
{
	struct pci_p2pdma *p2pdma;

	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	return p2pdma && READ_ONCE(p2pdma->published);
}
EXPORT_SYMBOL_GPL(pci_has_p2pmem);

/* ---- Choice ---- */

/* Distance of a client to a registered device; -1 without both directions */
static int p2pdma_distance_of(struct pci_p2pdma *p2pdma,
			      struct device *client, bool verbose)
{
	struct p2pdma_verdict verdict = p2pdma_cached_verdict(p2pdma, client, 0,
							      verbose);
	u32 refusals;

	if (!p2pdma_allows_both(&verdict))
		return -1;

	refusals = p2pdma_memory_refusals(p2pdma, client, verdict.map_type);
	if (likely(!refusals))
		return verdict.distance;
	if (verbose)
		p2pdma_explain_refusal(p2pdma, client, 0, refusals);
	return -1;
}

/* Distance to a device that isn't registered, and so has no cache */
static int p2pdma_distance_uncached(struct pci_dev *owner,
				    struct device *client, bool verbose)
{
	struct p2pdma_verdict verdict;
	struct p2pdma_facts facts;
	u32 against;

	against = p2pdma_find_route(owner, client, 0, false, &facts, &verdict);
	if (p2pdma_allows_both(&verdict))
		return verdict.distance;
	if (verbose && p2pdma_log_allowed())
		p2pdma_log_route(owner, client, &facts, &verdict, against,
				 p2pdma_find_fix(&facts, &verdict));
	return -1;
}

/**
 * pci_p2pdma_distance_many - distance of clients from a device's memory
 * @owner: PCI device with the memory; needn't be registered yet
 * @clients: devices that would access the memory: PCI devices, or their
 *	children
 * @num_clients: number of clients
 * @verbose: log the reason for each client that can't reach the memory; if
 *	@owner is registered, only once until the verdict changes
 *
 * A client counts as unable to reach the memory if it can only read or only
 * write, since the direction isn't known here.
 *
 * The distance depends on the kind of the route first (through a switch,
 * through one host bridge, through two), then on the rank of the path between
 * the NUMA nodes (by ACPI's HMAT; without information there, a path that
 * crosses nodes is worse than one that doesn't), then on the number of hops.
 *
 * Context: any; never sleeps.  The caller holds all devices.
 * Return: sum of the distances of all clients, 0 if @owner is the only client;
 * -1 if a client can't reach the memory, or @num_clients is 0.
 */
int pci_p2pdma_distance_many(struct pci_dev *owner,
			     struct device **clients, int num_clients,
			     bool verbose)
{
	bool refused = num_clients <= 0;
	struct pci_p2pdma *p2pdma;
	int i, distance;
	s64 total = 0;

	guard(rcu)();
	p2pdma = p2pdma_of(owner);

	for (i = 0; i < num_clients; i++) {
		distance = p2pdma ?
			p2pdma_distance_of(p2pdma, clients[i], verbose) :
			p2pdma_distance_uncached(owner, clients[i], verbose);
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

/* Devices that keep packets from going straight, see struct p2pdma_route */
static void p2pdma_find_blocking(struct pci_dev *owner, struct device *client,
				 const struct p2pdma_facts *facts,
				 const struct p2pdma_verdict *verdict,
				 struct p2pdma_route *route)
{
	struct pci_dev *pci_client = p2pdma_pci_client(client);

	if (route->reasons & BIT(P2PDMA_REASON_ACS_TRANSLATION_BLOCKING))
		route->blocking[0] = p2pdma_translation_blocker(pci_client);
	else if (verdict->blocking & P2PDMA_REQUESTS)
		route->blocking[0] = p2pdma_turn_of(pci_client,
						    &facts->legs[P2PDMA_CLIENT]);
	if (verdict->blocking & P2PDMA_COMPLETIONS)
		route->blocking[1] = p2pdma_turn_of(owner,
						    &facts->legs[P2PDMA_OWNER]);
}

/**
 * pci_p2pdma_route_tlp - get the verdict on a client and a device's memory, for a
 *	class of packets
 * @owner: PCI device with the memory; needn't be registered yet
 * @client: device that would access the memory: a PCI device, or a child of one
 * @flags: class of packets, PCI_P2PDMA_TLP_*, as in pci_p2pdma_map_type_tlp()
 * @route: where to store the verdict, also if there is no route
 *
 * The verdict isn't cached: each call reads config space.  It is valid until
 * the PCI fabric or the client's DMA mask changes.  If @owner has registered
 * memory with struct pages, the verdict is on all regions: it is a refusal if
 * @client can't reach one of them.
 *
 * Context: any; never sleeps.  The caller holds both devices.
 * Return:
 * * 0 - @client can read, write or both, see @route
 * * -EREMOTEIO - @client can do neither; @route has the reasons
 * * -EINVAL - an argument is NULL, or @flags are unknown; @route is unchanged
 * * -EOPNOTSUPP - the kernel has no P2PDMA; @route is unchanged
 */
int pci_p2pdma_route_tlp(struct pci_dev *owner, struct device *client,
			 unsigned int flags, struct p2pdma_route *route)
{
	struct p2pdma_verdict verdict;
	struct p2pdma_facts facts;
	struct pci_p2pdma *p2pdma;
	u32 against, refusals = 0;

	if (!owner || !client || !route || flags >= PCI_P2PDMA_TLP_CLASSES)
		return -EINVAL;

	against = p2pdma_find_route(owner, client, flags, true, &facts, &verdict);
	*route = (struct p2pdma_route) {
		.classes = p2pdma_classes(&facts, &verdict),
	};
	scoped_guard(rcu) {
		p2pdma = p2pdma_of(owner);
		if (p2pdma && verdict.directions)
			refusals = p2pdma_memory_refusals(p2pdma, client,
							  verdict.map_type);
	}
	if (refusals) {
		against |= refusals;
		p2pdma_refuse(&verdict, p2pdma_first_reason(refusals));
	}

	route->map_type = verdict.map_type;
	route->reason = verdict.reason;
	route->distance = verdict.distance;
	route->directions = verdict.directions;
	route->reasons = against;
	p2pdma_find_blocking(owner, client, &facts, &verdict, route);
	return route->directions ? 0 : -EREMOTEIO;
}
EXPORT_SYMBOL_GPL(pci_p2pdma_route_tlp);

/**
 * pci_p2pdma_set_tlp_choice - declare that a driver chooses how requests are sent
 * @client: device whose driver this is
 * @choice: true if the driver decides for each mapping whether @client sends
 *	untranslated requests or Translated Requests
 *
 * A device with ATS enabled asks the IOMMU to translate the addresses that it gets,
 * so bus addresses are useless to it, and it is sent through the IOMMU.  This isn't
 * so for a device that can be told, by mapping, to use an address as it is.  Its
 * driver says so here, once, and by PCI_P2PDMA_TLP_TRANSLATED for the mappings with
 * Translated Requests; all other mappings, also by dma_map_sg(), are untranslated.
 * The next driver to be bound starts without a choice.
 *
 * Context: probe() or remove() of @client's driver; never sleeps.
 */
void pci_p2pdma_set_tlp_choice(struct pci_dev *client, bool choice)
{
	client->p2pdma_tlp_choice = choice;
	pci_p2pdma_fabric_changed();
}
EXPORT_SYMBOL_GPL(pci_p2pdma_set_tlp_choice);

/**
 * pci_p2pmem_find_many - find the device whose memory suits clients best
 * @clients: devices that would access the memory
 * @num_clients: number of clients
 *
 * Chooses among the devices with published memory that all clients can reach:
 * by the smallest distance, then by the most free memory, then at random.
 * HMAT so ranks providers whose routes are of the same kind, whatever their hops
 * and their memory.  If there is no such device, the reasons are logged: once for
 * each device with published memory, until the verdict changes.
 *
 * Context: any; never sleeps.  The caller holds the clients.
 * Return: the device, with a reference that the caller drops with
 * pci_dev_put(); NULL if there is no such device.
 */
struct pci_dev *pci_p2pmem_find_many(struct device **clients, int num_clients)
{
	size_t free, most_free = 0;
	struct pci_dev *best = NULL;
	struct pci_p2pdma *p2pdma;
	int distance, least = INT_MAX;
	unsigned int equals = 0;
	u32 random = get_random_u32();

	guard(rcu)();
	list_for_each_entry_rcu(p2pdma, &p2pdma_all, node) {
		if (!READ_ONCE(p2pdma->published))
			continue;

		distance = pci_p2pdma_distance_many(p2pdma->pdev, clients,
						    num_clients, false);
		if (distance < 0 || distance > least)
			continue;

		free = p2pdma_pool_available(p2pdma->pool);
		if (distance == least && free < most_free)
			continue;
		if (distance < least || free > most_free)
			equals = 0;

		least = distance;
		most_free = free;
		/* The n-th equal device is chosen with a probability of 1/n. */
		random = next_pseudo_random32(random);
		if (!reciprocal_scale(random, ++equals))
			best = p2pdma->pdev;
	}
	if (best)
		return pci_dev_get(best);

	list_for_each_entry_rcu(p2pdma, &p2pdma_all, node)
		if (READ_ONCE(p2pdma->published))
			pci_p2pdma_distance_many(p2pdma->pdev, clients,
						 num_clients, true);
	return NULL;
}
EXPORT_SYMBOL_GPL(pci_p2pmem_find_many);

/* ---- Attributes of orchestrators ---- */

/**
 * pci_p2pdma_enable_store - parse an attribute that turns on peer memory
 * @page: text that was written: the name of a device, such as 0000:03:00.0, or
 *	a boolean in the form of kstrtobool(); a newline may follow
 * @p2p_dev: where to store the device, with a reference for the caller; only
 *	written if a device was named
 * @use_p2pdma: where to store whether peer memory is wanted.  True without a
 *	device leaves the choice to the caller.
 *
 * Context: may sleep.
 * Return:
 * * 0 - parsed
 * * -ENODEV - neither a boolean nor the name of a device with published memory;
 *   nothing is written, and the log has the cause
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
	 * an absent device, such as 0000:03:00.0 or nvme0, for a boolean.
	 */
	if ((len == 1 || !strpbrk(page, "0123456789:")) &&
	    !kstrtobool(page, use_p2pdma))
		return 0;

	pr_err("p2pdma: neither a PCI device nor a boolean: %.*s\n",
	       (int)len, page);
	return -ENODEV;
}
EXPORT_SYMBOL_GPL(pci_p2pdma_enable_store);

/**
 * pci_p2pdma_enable_show - show an attribute that turns on peer memory
 * @page: buffer of PAGE_SIZE, page aligned
 * @p2p_dev: device that was named, or NULL
 * @use_p2pdma: whether peer memory is wanted
 *
 * Context: any.
 * Return: bytes written: "0", "1" or the device's name, and a newline.
 */
ssize_t pci_p2pdma_enable_show(char *page, struct pci_dev *p2p_dev,
			       bool use_p2pdma)
{
	if (use_p2pdma && p2p_dev)
		return sysfs_emit(page, "%s\n", pci_name(p2p_dev));
	return sysfs_emit(page, "%d\n", use_p2pdma);
}
EXPORT_SYMBOL_GPL(pci_p2pdma_enable_show);

/* ---- The administrator's host bridges ---- */

/* The name documented in Documentation/driver-api/pci/p2pdma.rst */
#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "pci_p2pdma."

static char *host_bridge;
module_param_unsafe(host_bridge, charp, 0444);
MODULE_PARM_DESC(host_bridge,
		 "Host bridges to take for forwarding peer-to-peer DMA, VVVV:DDDD[:w][,...]. A wrong entry corrupts data in silence.");

/**
 * p2pdma_admit_host_bridges - replace the administrator's host bridges
 * @text: VVVV:DDDD[:w][,...]; "" for none
 *
 * The log has the outcome for each entry.
 *
 * Context: may sleep.
 * Return: number of accepted entries; -ENOMEM no memory, and nothing changes.
 */
VISIBLE_IF_KUNIT int p2pdma_admit_host_bridges(const char *text)
{
	int ret = p2pdma_host_admit(text, p2pdma_log_admission);

	if (ret >= 0)
		pci_p2pdma_fabric_changed();
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_admit_host_bridges);

static int __init p2pdma_start(void)
{
	int ret = host_bridge ? p2pdma_admit_host_bridges(host_bridge) : 0;

	return min(ret, 0);
}
postcore_initcall_sync(p2pdma_start);
