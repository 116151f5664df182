// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: the cache of verdicts.
 *
 * Each owner has a cache of verdicts, by client and class of packets.  A verdict
 * is valid as long as the fabric doesn't change: each change starts a new
 * generation, and a look-up of a verdict of an older generation judges the route
 * anew.
 *
 * An entry also records the reasons that were logged for it, so that I/O
 * that is refused repeatedly doesn't log them again.  A rate limit alone would
 * let the same lines through for as long as the I/O goes on, at the expense of
 * lines about other pairs.  Once the verdict has changed, reasons are logged
 * again.
 */

#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/hashtable.h>
#include <linux/init.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include <trace/events/p2pdma.h>
#include <kunit/visibility.h>

#include "pci.h"
#include "p2pdma.h"

/*
 * The key of an entry: the address of the client's struct pci_dev, and in the bits
 * that are 0 there the class of packets.
 */
static unsigned long p2pdma_key(struct pci_dev *client, unsigned int tlp)
{
	static_assert(__alignof__(struct pci_dev) >= PCI_P2PDMA_TLP_CLASSES);
	return (unsigned long)client | tlp;
}

/*
 * One client's entry in an owner's cache, kept until the client is removed.  If
 * another struct pci_dev then gets the same address, adding that device has
 * changed the fabric, so a stale entry is never valid for it.
 */
struct p2pdma_known {
	struct hlist_node node;
	unsigned long key;		/* the client may be freed */
	struct p2pdma_verdict verdict;	/* constant: replaced with the entry */
	u32 generation;			/* in which the verdict is valid */
	u32 said;			/* logged reasons, a bit each */
	struct rcu_head rcu;
};

/* Counts changes of the fabric */
static atomic_t p2pdma_generation = ATOMIC_INIT(0);

/* All caches: a removed client must be removed from each of them. */
static LIST_HEAD(p2pdma_caches);
static DEFINE_SPINLOCK(p2pdma_caches_lock);

/* Under RCU, or the cache's lock */
static struct p2pdma_known *p2pdma_recall(struct p2pdma_cache *cache,
					  unsigned long key)
{
	struct p2pdma_known *known;

	hash_for_each_possible_rcu(cache->known, known, node, key,
				   lockdep_is_held(&cache->lock)) {
		if (known->key == key)
			return known;
	}
	return NULL;
}

static bool p2pdma_same_verdict(const struct p2pdma_verdict *a,
				const struct p2pdma_verdict *b)
{
	return a->map_type == b->map_type && a->directions == b->directions &&
	       a->reason == b->reason;
}

/*
 * Put a verdict into the cache.  @say is the bit of the reason to log, or 0.
 * Return true if the caller is to log it now.
 */
static bool p2pdma_remember(struct p2pdma_cache *cache, unsigned long key,
			    const struct p2pdma_verdict *verdict,
			    u32 generation, u32 say)
{
	struct p2pdma_known *known, *new;

	guard(spinlock_irqsave)(&cache->lock);
	known = p2pdma_recall(cache, key);
	if (known && !memcmp(&known->verdict, verdict, sizeof(*verdict))) {
		WRITE_ONCE(known->generation, generation);
	} else {
		new = kzalloc(sizeof(*new), GFP_ATOMIC | __GFP_NOWARN);
		/* Without an entry, the next call judges and logs again. */
		if (!new)
			return say && p2pdma_log_allowed();
		new->key = key;
		new->verdict = *verdict;
		new->generation = generation;
		if (known && p2pdma_same_verdict(&known->verdict, verdict))
			new->said = known->said;
		if (known) {
			hlist_replace_rcu(&known->node, &new->node);
			kfree_rcu(known, rcu);
		} else {
			hash_add_rcu(cache->known, &new->node, key);
		}
		known = new;
	}

	/* A reason that exceeds the rate limit is logged at a later call. */
	if (!say || (known->said & say) || !p2pdma_log_allowed())
		return false;
	WRITE_ONCE(known->said, known->said | say);
	return true;
}

/*
 * Judge a route anew, and log the reasons if @explain.  @refusals are reasons
 * against the memory, a bit each, on a route that the verdict allows.
 */
static struct p2pdma_verdict p2pdma_judge(struct pci_p2pdma *p2pdma,
					  struct device *client,
					  unsigned int tlp, bool explain,
					  u32 refusals)
{
	struct p2pdma_cache *cache = &p2pdma->cache;
	struct pci_dev *pci_client = p2pdma_pci_client(client);
	/* Before the facts: a change while they are read makes it stale. */
	u32 generation = atomic_read_acquire(&p2pdma_generation);
	enum p2pdma_fix fix = P2PDMA_FIX_NONE;
	struct p2pdma_verdict verdict, told;
	struct p2pdma_facts facts;
	u32 against;

	against = p2pdma_find_route(p2pdma->pdev, client, tlp, false, &facts,
				    &verdict);
	trace_p2pdma_verdict(p2pdma->pdev, client, tlp, &verdict, against);
	told = verdict;
	if (refusals) {
		p2pdma_refuse(&told, p2pdma_first_reason(refusals));
		against |= refusals;
	}
	explain = explain && !p2pdma_allows_both(&told);

	/* A verdict on a failed read is stale at once. */
	if (verdict.reason == P2PDMA_REASON_UNREADABLE)
		generation--;
	if (pci_client)
		explain = p2pdma_remember(cache, p2pdma_key(pci_client, tlp),
					  &verdict, generation,
					  explain ? BIT(told.reason) : 0);
	else
		explain = explain && !xchg(&cache->said_not_pci, true);
	if (!explain)
		return verdict;

	if (!refusals)
		fix = p2pdma_find_fix(&facts, &verdict);
	p2pdma_log_route(p2pdma->pdev, client, &facts, &told, against, fix);
	return verdict;
}

/**
 * p2pdma_cached_verdict - the verdict on a route, from the cache if it is valid
 * @p2pdma: the owner of the memory
 * @client: device that would access the memory, or a child of that device
 * @tlp: class of packets, PCI_P2PDMA_TLP_*
 * @explain: log the reason if the route is limited or refused and the reason
 *	wasn't logged before
 *
 * Context: any; never sleeps.  The caller holds both devices.
 * Return: the verdict.
 */
struct p2pdma_verdict p2pdma_cached_verdict(struct pci_p2pdma *p2pdma,
					    struct device *client,
					    unsigned int tlp, bool explain)
{
	u32 generation = atomic_read_acquire(&p2pdma_generation);
	struct p2pdma_known *known;

	scoped_guard(rcu) {
		known = p2pdma_recall(&p2pdma->cache,
				      p2pdma_key(p2pdma_pci_client(client), tlp));
		if (!known || READ_ONCE(known->generation) != generation)
			break;
		if (!explain || p2pdma_allows_both(&known->verdict) ||
		    READ_ONCE(known->said) & BIT(known->verdict.reason))
			return known->verdict;
	}
	return p2pdma_judge(p2pdma, client, tlp, explain, 0);
}

/**
 * p2pdma_explain_refusal - log why memory is refused on a route that is allowed
 * @p2pdma: the owner of the memory
 * @client: PCI device that would access the memory, or a child of one
 * @tlp: class of packets, PCI_P2PDMA_TLP_*
 * @refusals: reasons against the memory, a bit each, such as
 *	%P2PDMA_REASON_DMA_MASK
 *
 * If the one in front was logged before, nothing is logged.
 *
 * Context: any; never sleeps.  The caller holds both devices.
 */
void p2pdma_explain_refusal(struct pci_p2pdma *p2pdma, struct device *client,
			    unsigned int tlp, u32 refusals)
{
	enum p2pdma_reason reason = p2pdma_first_reason(refusals);
	struct p2pdma_known *known;

	scoped_guard(rcu) {
		known = p2pdma_recall(&p2pdma->cache,
				      p2pdma_key(p2pdma_pci_client(client), tlp));
		if (known && READ_ONCE(known->said) & BIT(reason))
			return;
	}
	p2pdma_judge(p2pdma, client, tlp, true, refusals);
}

/**
 * p2pdma_cache_init - initialise an empty cache
 * @cache: the cache
 *
 * Context: any.
 */
void p2pdma_cache_init(struct p2pdma_cache *cache)
{
	hash_init(cache->known);
	spin_lock_init(&cache->lock);
	cache->said_not_pci = false;
	guard(spinlock_irqsave)(&p2pdma_caches_lock);
	list_add_tail(&cache->node, &p2pdma_caches);
}

/**
 * p2pdma_cache_destroy - free all entries of a cache
 * @cache: the cache, without concurrent users
 *
 * Context: any.
 */
void p2pdma_cache_destroy(struct p2pdma_cache *cache)
{
	struct p2pdma_known *known;
	struct hlist_node *next;
	int bucket;

	scoped_guard(spinlock_irqsave, &p2pdma_caches_lock)
		list_del(&cache->node);
	hash_for_each_safe(cache->known, bucket, next, known, node)
		kfree(known);
}

/* ---- Invalidation ---- */

/**
 * pci_p2pdma_fabric_changed - invalidate all verdicts
 *
 * To be called after a change of anything that verdicts depend on: ports and
 * devices, ACS control, ATS, payload sizes, addresses, the administrator's host
 * bridges.
 *
 * Context: any; never sleeps.
 */
void pci_p2pdma_fabric_changed(void)
{
	atomic_inc_return_release(&p2pdma_generation);
}
EXPORT_SYMBOL_IF_KUNIT(pci_p2pdma_fabric_changed);

/**
 * pci_p2pdma_config_written - check a write to config space by user space
 * @pdev: the device
 * @where: offset of the write
 *
 * Context: any; never sleeps.
 */
void pci_p2pdma_config_written(struct pci_dev *pdev, int where)
{
	int acs = pdev->acs_cap, devctl = pdev->pcie_cap + PCI_EXP_DEVCTL;

	/* A write has up to four bytes, the egress vector up to 256 bits. */
	if ((acs && where >= acs && where < acs + PCI_ACS_EGRESS_CTL_V + 32) ||
	    (pdev->pcie_cap && where > devctl - 4 && where < devctl + 2))
		pci_p2pdma_fabric_changed();
}

/* A new device may get the address of the struct pci_dev of @client. */
static void p2pdma_forget(struct pci_dev *client)
{
	struct p2pdma_known *known;
	struct p2pdma_cache *cache;
	unsigned int tlp;

	guard(spinlock_irqsave)(&p2pdma_caches_lock);
	list_for_each_entry(cache, &p2pdma_caches, node) {
		guard(spinlock)(&cache->lock);
		for (tlp = 0; tlp < PCI_P2PDMA_TLP_CLASSES; tlp++) {
			known = p2pdma_recall(cache, p2pdma_key(client, tlp));
			if (known) {
				hash_del_rcu(&known->node);
				kfree_rcu(known, rcu);
			}
		}
	}
}

static int p2pdma_fabric_event(struct notifier_block *nb, unsigned long event,
			       void *data)
{
	struct pci_dev *pdev = to_pci_dev(data);

	switch (event) {
	case BUS_NOTIFY_ADD_DEVICE:
		p2pdma_host_added(pdev);
		pci_p2pdma_fabric_changed();
		break;
	case BUS_NOTIFY_BIND_DRIVER:
		/* Its DMA addresses may be translated now, or no longer. */
		pdev->p2pdma_tlp_choice = false;
		pci_p2pdma_fabric_changed();
		break;
	case BUS_NOTIFY_REMOVED_DEVICE:
		p2pdma_host_removed(pdev);
		pci_p2pdma_fabric_changed();
		p2pdma_forget(pdev);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block p2pdma_fabric_notifier = {
	.notifier_call = p2pdma_fabric_event,
};

static int __init p2pdma_cache_start(void)
{
	return bus_register_notifier(&pci_bus_type, &p2pdma_fabric_notifier);
}
postcore_initcall_sync(p2pdma_cache_start);	/* before PCI finds devices */
