// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: mappings that outlive their memory.
 *
 * Counts the mappings by dma_map_p2p() for each BAR and client, and warns once of
 * an owner whose driver leaves while there are some, or of a mapping that is
 * undone twice.  It is for debug kernels, and nothing depends on it.
 * Scatterlists hold their pages, and so need no such check.
 */

#include <linux/array_size.h>
#include <linux/bug.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <kunit/static_stub.h>
#include <kunit/visibility.h>

#include "p2pdma.h"

/*
 * What one client has mapped of one BAR.  It outlives a provider that is removed
 * too early, so that unmapping afterwards isn't reported as a second mistake.
 */
struct p2pdma_holder {
	struct list_head node;
	struct p2pdma_provider *provider;	/* to compare with */
	struct device *client;	/* with a reference, until the provider is gone */
	unsigned long mappings;
	bool gone;		/* the provider is */
};

static LIST_HEAD(p2pdma_holders);
static DEFINE_SPINLOCK(p2pdma_holders_lock);	/* irq-safe, taken alone */
static bool p2pdma_holders_missing;	/* there was no memory for one */

/**
 * p2pdma_debug_warn - warn of a rule that a driver has broken
 * @provider: owner of the memory; NULL where it may be gone
 * @client: device that has, or had, it mapped
 * @what: what is wrong
 *
 * Context: any; never sleeps.
 */
void p2pdma_debug_warn(struct device *provider, struct device *client,
		       const char *what)
{
	KUNIT_STATIC_STUB_REDIRECT(p2pdma_debug_warn, provider, client, what);
	WARN(1, "p2pdma: provider %s, client %s: %s\n",
	     provider ? dev_name(provider) : "unknown", dev_name(client), what);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_debug_warn);

/* A new provider may lie where one was that is gone. */
static struct p2pdma_holder *p2pdma_holder(struct p2pdma_provider *provider,
					   struct device *client, bool gone)
{
	struct p2pdma_holder *holder;

	lockdep_assert_held(&p2pdma_holders_lock);
	list_for_each_entry(holder, &p2pdma_holders, node) {
		if (holder->provider == provider && holder->client == client &&
		    holder->gone == gone)
			return holder;
	}
	return NULL;
}

/**
 * p2pdma_debug_mapped - note a mapping
 * @provider: the BAR
 * @dev: device that it is for
 *
 * Context: any; never sleeps.
 */
void p2pdma_debug_mapped(struct p2pdma_provider *provider, struct device *dev)
{
	struct p2pdma_holder *holder;

	guard(spinlock_irqsave)(&p2pdma_holders_lock);
	holder = p2pdma_holder(provider, dev, false);
	if (!holder) {
		holder = kzalloc(sizeof(*holder), GFP_ATOMIC | __GFP_NOWARN);
		if (!holder) {
			WRITE_ONCE(p2pdma_holders_missing, true);
			return;
		}
		holder->provider = provider;
		holder->client = get_device(dev);
		list_add(&holder->node, &p2pdma_holders);
	}
	holder->mappings++;
}

/**
 * p2pdma_debug_unmapped - note the end of a mapping
 * @provider: the BAR; may be gone, and isn't looked at
 * @dev: device that the mapping was for
 *
 * Context: any; never sleeps.  The caller holds @dev.
 */
void p2pdma_debug_unmapped(struct p2pdma_provider *provider,
			   struct device *dev)
{
	struct p2pdma_holder *holder, *last = NULL;

	scoped_guard(spinlock_irqsave, &p2pdma_holders_lock) {
		holder = p2pdma_holder(provider, dev, false) ?:
			 p2pdma_holder(provider, dev, true);
		if (holder && !--holder->mappings) {
			list_del(&holder->node);
			last = holder;
		}
	}
	if (!holder && !READ_ONCE(p2pdma_holders_missing))
		p2pdma_debug_warn(NULL, dev, "unmaps what it hasn't mapped");

	/* The caller holds @dev: this reference isn't the last one. */
	if (last && !last->gone)
		put_device(dev);
	kfree(last);
}

/*
 * Mark one client that has memory of @provider mapped.  The caller gets its
 * reference, to put without the lock, since that may free it.  NULL where all are
 * marked.
 */
static struct device *p2pdma_debug_mark(struct p2pdma_provider *provider)
{
	struct p2pdma_holder *holder;

	guard(spinlock_irqsave)(&p2pdma_holders_lock);
	list_for_each_entry(holder, &p2pdma_holders, node) {
		if (!holder->gone && holder->provider == provider) {
			holder->gone = true;
			return holder->client;
		}
	}
	return NULL;
}

/**
 * p2pdma_debug_gone - warn of mappings of an owner's memory
 * @p2pdma: whose memory it is; the owner's driver leaves
 *
 * Context: may sleep.
 */
void p2pdma_debug_gone(struct pci_p2pdma *p2pdma)
{
	struct device *client, *first = NULL;
	int i;

	for (i = 0; i < ARRAY_SIZE(p2pdma->bars); i++) {
		while ((client = p2pdma_debug_mark(&p2pdma->bars[i].provider))) {
			/* The first one is named below, the others may go. */
			if (!first)
				first = client;
			else
				put_device(client);
		}
	}
	if (!first)
		return;
	p2pdma_debug_warn(&p2pdma->pdev->dev, first,
			  "memory is still mapped, and the provider leaves");
	put_device(first);
}
