// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: registers, publishes, tears down, finds a provider.
 *
 * A driver registers its device's BARs, as addresses that others can map, and
 * parts of them with struct pages, which form one pool for each device.  This
 * file makes and ends what the core knows of a device, and chooses among
 * devices; the files below it do the rest, and none of them calls it.
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

#include <kunit/visibility.h>

#include "pci.h"
#include "p2pdma.h"

/**
 * DOC: When the driver leaves
 *
 * The first registration of a device makes its struct pci_p2pdma.  When the
 * driver leaves, after its remove() has returned, devres takes everything apart
 * in three steps, which are in this order whatever is registered when:
 *
 * 1. The core unpublishes, removes ``p2pmem/``, stops allocations and revokes
 *    what users have of the memory.
 * 2. The page map of each region waits for allocations in use.
 * 3. The pool and the rest are freed.
 *
 * Allocated memory keeps its region, its pool and its struct pci_p2pdma alive,
 * also when pci_dev::p2pdma is NULL by then.
 *
 * There is nothing for the driver to undo, but
 *
 * - remove() must free what the driver itself has allocated,
 * - the device must still answer while others finish their DMA, as far as it is
 *   still there, and
 * - the driver makes sure that no work of its own registers anything while it
 *   leaves.
 */

/* See p2pdma.h for what it covers. */
static DEFINE_MUTEX(p2pdma_lock);

/* All devices with memory, published or not; written under p2pdma_lock, read by RCU */
static LIST_HEAD(p2pdma_all);

/* ---- Teardown ---- */

/*
 * Free a struct pci_p2pdma that is not, or no longer, in pci_dev::p2pdma, and has
 * no page map left.  @res is the oldest devres entry of P2PDMA.
 */
static void p2pdma_release(struct device *dev, void *res)
{
	struct pci_p2pdma *p2pdma = res;

	p2pdma_mem_destroy(p2pdma);
	p2pdma_cache_destroy(&p2pdma->cache);
}

/*
 * The driver leaves.  Each step relies on the ones before.  The devres entry
 * @res is newer than those of all regions, so that it is released first.
 */
static void p2pdma_teardown(struct device *dev, void *res)
{
	struct pci_p2pdma *p2pdma = *(struct pci_p2pdma **)res;
	struct pci_dev *pdev = p2pdma->pdev;

	/* 1. Searches don't find it any more. */
	WRITE_ONCE(p2pdma->published, false);

	/* 2. No mmap() begins any more. */
	if (!list_empty(&p2pdma->regions))
		sysfs_remove_group(&pdev->dev.kobj, &p2pdma_group);

	/* 3. No allocation starts, and those that had started are done. */
	scoped_guard(mutex, &p2pdma_lock) {
		list_del_rcu(&p2pdma->node);
		RCU_INIT_POINTER(pdev->p2pdma, NULL);
	}
	synchronize_rcu();
	WRITE_ONCE(p2pdma->published, false);	/* after a concurrent publish */
	p2pdma_heap_remove(p2pdma);

	/* 4. Users lose what they have.  The page maps wait for the rest. */
	p2pdma_dmabuf_revoke(p2pdma);
	p2pdma_mem_revoke_user(p2pdma);
}

/* ---- Registration ---- */

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
	struct pci_dev *pdev = bar->p2pdma->pdev;
	int number = bar - bar->p2pdma->bars;

	if (!p2pdma_bar_usable(pdev, number))
		return;
	bar->range.end = pci_resource_end(pdev, number);
	bar->provider.bus_offset = pci_bus_address(pdev, number) -
				   pci_resource_start(pdev, number);
	/* Last: a reader that sees it sees the rest. */
	smp_store_release(&bar->range.start, pci_resource_start(pdev, number));
}

/* Make a struct pci_p2pdma; p2pdma_announce() lets readers find it. */
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
	struct pci_p2pdma *p2pdma;

	guard(mutex)(&p2pdma_lock);
	if (p2pdma_registered(pdev))
		return 0;

	p2pdma = p2pdma_create(pdev);
	if (!p2pdma)
		return -ENOMEM;
	p2pdma_announce(p2pdma);
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
	struct pci_p2pdma *p2pdma = bar->p2pdma;
	struct kobject *kobj = &p2pdma->pdev->dev.kobj;
	bool first = list_empty(&p2pdma->regions);
	int ret = 0;

	/* It may have been given an address only now, but never another one. */
	if (!bar->range.start)
		p2pdma_bar_note(bar);
	if (!p2pdma_bar_in_place(bar)) {
		pci_err(p2pdma->pdev, "p2pdma: BAR %td has moved since the device was registered; let the driver bind again\n",
			bar - p2pdma->bars);
		return -EBUSY;
	}

	if (first)
		ret = sysfs_create_group(kobj, &p2pdma_group);
	if (ret)
		return ret;

	ret = p2pdma_mem_add(bar, range);
	if (ret && first)
		sysfs_remove_group(kobj, &p2pdma_group);
	return ret;
}

/* Register @range, and @pdev if it is the first one, or leave no trace */
static int p2pdma_register(struct pci_dev *pdev, int bar,
			   const struct range *range)
{
	struct pci_p2pdma *p2pdma = p2pdma_registered(pdev);
	int ret;

	if (p2pdma) {
		/* Gone already where the driver leaves at this moment. */
		if (!devres_remove(&pdev->dev, p2pdma_teardown, NULL, NULL))
			return -ENODEV;
		ret = p2pdma_add_pages(&p2pdma->bars[bar], range);
		devres_add(&pdev->dev, p2pdma->teardown);
		return ret;
	}

	p2pdma = p2pdma_create(pdev);
	if (!p2pdma)
		return -ENOMEM;

	ret = p2pdma_add_pages(&p2pdma->bars[bar], range);
	if (ret) {
		devres_free(p2pdma->teardown);
		devres_release(&pdev->dev, p2pdma_release, NULL, NULL);
		return ret;
	}
	p2pdma_announce(p2pdma);
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
	if (p2pdma_mem_taken(&range)) {
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
 * pci_p2pmem_publish - let others use a device's memory, or no longer
 * @pdev: the owner; nothing happens where it has registered no struct pages
 * @publish: true to let them, false to keep what is free for the driver
 *
 * Published memory is found by pci_p2pmem_find_many() and can be mapped by
 * user space.  What is allocated or mapped stays so.
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
	struct pci_p2pdma *p2pdma;

	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	return p2pdma && READ_ONCE(p2pdma->published);
}
EXPORT_SYMBOL_GPL(pci_has_p2pmem);

/* ---- Choice ---- */

/* Of a client to a registered device; -1 where it can't do both directions */
static int p2pdma_distance_of(struct pci_p2pdma *p2pdma,
			      struct device *client, bool verbose)
{
	struct p2pdma_verdict verdict = p2pdma_cached_verdict(p2pdma, client,
							      verbose);
	enum p2pdma_reason reason;

	if (!p2pdma_allows_both(&verdict))
		return -1;

	reason = p2pdma_memory_refusal(p2pdma, client, verdict.map_type);
	if (likely(reason == P2PDMA_REASON_MAX))
		return verdict.distance;
	if (verbose)
		p2pdma_explain_refusal(p2pdma, client, reason);
	return -1;
}

/* The same where nothing is registered, and so there is no cache */
static int p2pdma_distance_uncached(struct pci_dev *owner,
				    struct device *client, bool verbose)
{
	struct p2pdma_verdict verdict;
	struct p2pdma_facts facts;

	p2pdma_find_route(owner, client, &facts, &verdict);
	if (p2pdma_allows_both(&verdict))
		return verdict.distance;
	if (verbose && p2pdma_log_allowed())
		p2pdma_log_route(owner, client, &facts, &verdict,
				 p2pdma_find_fix(&facts, &verdict));
	return -1;
}

/**
 * pci_p2pdma_distance_many - can clients reach a device's memory, at what cost
 * @owner: PCI device with the memory; it needn't be registered yet
 * @clients: devices that would access it: PCI devices, or children of such
 * @num_clients: how many
 * @verbose: say in the log, for each client that can't, why not; only once
 *	where @owner is registered, until the answer changes
 *
 * A client that can only read or only write can't: the direction isn't asked.
 *
 * The cost grows with the class of the route first (through a switch, through
 * one host bridge, through two), then where it leaves the NUMA node, then with
 * the number of hops.
 *
 * Context: any; never sleeps.  The caller holds all devices.
 * Return: sum of the costs of all clients, 0 where @owner is the only one;
 * -1 where one can't reach it, or @num_clients is 0.
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

/**
 * pci_p2pdma_route - which way a client reaches a device's memory, or why not
 * @owner: PCI device with the memory; it needn't be registered yet
 * @client: device that would access it: a PCI device, or a child of one
 * @route: where to put the answer, also where there is no route
 *
 * The answer is always fresh, and takes a while.  It holds until something
 * about the PCI fabric changes, or the client's DMA mask.  Where @owner has
 * registered memory with struct pages, it is for all of that: one region out of
 * @client's reach is a refusal.
 *
 * Context: any; never sleeps.  The caller holds both devices.
 * Return:
 * * 0 - @client can read, write or both; @route tells
 * * -EREMOTEIO - it can do neither; @route tells why
 * * -EINVAL - an argument is NULL
 * * -EOPNOTSUPP - the kernel has no P2PDMA; @route isn't touched
 */
int pci_p2pdma_route(struct pci_dev *owner, struct device *client,
		     struct p2pdma_route *route)
{
	enum p2pdma_reason reason = P2PDMA_REASON_MAX;
	struct p2pdma_verdict verdict;
	struct p2pdma_facts facts;
	struct pci_p2pdma *p2pdma;

	if (!owner || !client || !route)
		return -EINVAL;

	p2pdma_find_route(owner, client, &facts, &verdict);
	scoped_guard(rcu) {
		p2pdma = p2pdma_of(owner);
		if (p2pdma && verdict.directions)
			reason = p2pdma_memory_refusal(p2pdma, client,
						       verdict.map_type);
	}
	if (reason != P2PDMA_REASON_MAX)
		p2pdma_refuse(&verdict, reason);

	*route = (struct p2pdma_route) {
		.map_type = verdict.map_type,
		.reason = verdict.reason,
		.distance = verdict.distance,
		.directions = verdict.directions,
	};
	if (verdict.blocking & BIT(P2PDMA_REQUEST))
		route->blocking[0] = p2pdma_turn_of(p2pdma_pci_client(client),
						    &facts.legs[P2PDMA_CLIENT]);
	if (verdict.blocking & BIT(P2PDMA_COMPLETION))
		route->blocking[1] = p2pdma_turn_of(owner,
						    &facts.legs[P2PDMA_OWNER]);
	return route->directions ? 0 : -EREMOTEIO;
}
EXPORT_SYMBOL_GPL(pci_p2pdma_route);

/**
 * pci_p2pmem_find_many - find the device whose memory suits clients best
 * @clients: devices that would access the memory
 * @num_clients: how many
 *
 * Of the devices with published memory that all clients can reach, the least
 * distant one; among equals the one with most memory free; among those, one at
 * random.
 *
 * Context: any; never sleeps.  The caller holds the clients.
 * Return: the device, with a reference that the caller drops with
 * pci_dev_put(); NULL where there is none.
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
		/* The n-th equal replaces the choice with a chance of 1/n. */
		random = next_pseudo_random32(random);
		if (!reciprocal_scale(random, ++equals))
			best = p2pdma->pdev;
	}
	return pci_dev_get(best);
}
EXPORT_SYMBOL_GPL(pci_p2pmem_find_many);

/* ---- Attributes of orchestrators ---- */

/**
 * pci_p2pdma_enable_store - parse an attribute that turns peer memory on
 * @page: what was written: the name of a device, as in 0000:03:00.0, or a
 *	boolean as kstrtobool() takes it; a newline may follow
 * @p2p_dev: where to put the device, with a reference for the caller; only
 *	written where one was named
 * @use_p2pdma: where to put whether peer memory is wanted.  True without a
 *	device leaves the choice to the caller.
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

/* ---- Host bridges that the administrator names ---- */

/* Known by the name that Documentation/driver-api/pci/p2pdma.rst gives it */
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
 * The log says what has become of each entry.
 *
 * Context: may sleep.
 * Return: how many are accepted; -ENOMEM no memory, and nothing changes.
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
