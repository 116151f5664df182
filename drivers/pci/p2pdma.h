/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: what the files drivers/pci/p2pdma*.c share.
 *
 * Who calls whom: sysfs -> p2pdma.c -> pool and map -> route, never back (the
 * one thing p2pdma.c takes from sysfs is the address of its attribute group).
 *
 * Locks, outermost first:
 *
 *   device_lock()    held by the driver core around probe and teardown
 *   p2pdma_lock      mutex: registration, pci_dev::p2pdma, the list of
 *                    providers, a provider's list of regions
 *   xa_lock          irq-safe: the cached routes of one provider
 *
 * Readers of pci_dev::p2pdma and of the list of providers need only RCU.
 */

#ifndef _DRIVERS_PCI_P2PDMA_H
#define _DRIVERS_PCI_P2PDMA_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/dma-map-ops.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct attribute_group;
struct p2pdma_pool;

/* ---- p2pdma_pool.c: memory by address and size; knows nothing of PCI ---- */

struct p2pdma_pool *p2pdma_pool_create(int nid);
void p2pdma_pool_destroy(struct p2pdma_pool *pool);
int p2pdma_pool_add(struct p2pdma_pool *pool, void *addr, size_t size,
		    void *owner);
void *p2pdma_pool_alloc(struct p2pdma_pool *pool, size_t size, void **owner);
void p2pdma_pool_free(struct p2pdma_pool *pool, void *addr, size_t size);
size_t p2pdma_pool_size(struct p2pdma_pool *pool);
size_t p2pdma_pool_available(struct p2pdma_pool *pool);

/* ---- p2pdma_route.c: which way two devices reach each other ---- */

/* Why a route is what it is; p2pdma_slugs[] names it to people. */
enum p2pdma_reason {
	P2PDMA_REASON_SAME_DEVICE,
	P2PDMA_REASON_SWITCH,
	P2PDMA_REASON_CPU_ALLOWED,
	P2PDMA_REASON_HOST_BRIDGE_LISTED,
	P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED,
	P2PDMA_REASON_ACS_REDIRECT,
	P2PDMA_REASON_ACS_EGRESS,
	P2PDMA_REASON_UNREADABLE,
	P2PDMA_REASON_NOT_PCI,
	P2PDMA_REASON_MAX,
};

/* Directions, as the client sees them */
#define P2PDMA_READ	BIT(0)
#define P2PDMA_WRITE	BIT(1)

/**
 * struct p2pdma_route - the verdict on a provider and a client
 * @map_type: how the client's DMA addresses are made; never UNKNOWN
 * @reason: what decided it
 * @distance: cost, less is better, 0 for the provider itself; comparable
 *	between providers of one client.  Meaningless where refused.
 * @directions: what the client may do, %P2PDMA_READ and %P2PDMA_WRITE
 * @blocking: ports or functions whose ACS control keeps requests (first) or
 *	completions (second) from going straight; NULL where none does.
 *	Valid as long as the caller holds provider and client.
 */
struct p2pdma_route {
	enum pci_p2pdma_map_type map_type;
	enum p2pdma_reason reason;
	int distance;
	unsigned int directions;
	struct pci_dev *blocking[2];
};

/* Verdicts of one provider, by client; valid until the fabric changes. */
struct p2pdma_route_cache {
	struct xarray verdicts;
};

void p2pdma_route_cache_init(struct p2pdma_route_cache *cache);
void p2pdma_route_cache_destroy(struct p2pdma_route_cache *cache);
void p2pdma_route_find(struct pci_dev *provider, struct device *client,
		       struct p2pdma_route *route);
bool p2pdma_route_lookup(struct p2pdma_route_cache *cache,
			 struct pci_dev *provider, struct device *client,
			 struct p2pdma_route *route);
void p2pdma_route_explain(struct pci_dev *provider, struct device *client,
			  const struct p2pdma_route *route);

static inline bool p2pdma_route_refused(const struct p2pdma_route *route)
{
	return route->map_type == PCI_P2PDMA_MAP_NOT_SUPPORTED;
}

/* ---- p2pdma.c: providers and their memory ---- */

/*
 * A provider: one for each device with registered memory.  Made by the first
 * registration, taken apart by one devres action when the driver leaves.
 * pci_dev::p2pdma points to it in between.
 */
struct pci_p2pdma {
	struct pci_dev *pdev;
	struct p2pdma_pool *pool;
	struct list_head regions;	/* of struct p2pdma_region */
	struct list_head node;		/* in the list of providers */
	struct p2pdma_route_cache routes;
	bool published;
	atomic_long_t user_pages;	/* taken for user mappings, not yet free */
	pgoff_t user_offset;		/* of all its mappings in p2pdma_user_mapping() */
};

/*
 * A part of a BAR with struct pages.  Each allocation holds a reference on
 * pgmap.ref (one for kernel memory, one a page for user memory), and
 * memunmap_pages() waits for them: whoever holds memory may use the region,
 * and its provider, without a lock.
 */
struct p2pdma_region {
	struct pci_p2pdma *provider;
	struct list_head node;		/* in pci_p2pdma::regions */
	struct dev_pagemap pgmap;
	u64 bus_offset;			/* bus address less CPU address */
};

/* What @pdev provides, if anything; for RCU readers */
static inline struct pci_p2pdma *p2pdma_of(struct pci_dev *pdev)
{
	return rcu_dereference(pdev->p2pdma);
}

static inline struct p2pdma_region *p2pdma_region(struct dev_pagemap *pgmap)
{
	return container_of(pgmap, struct p2pdma_region, pgmap);
}

/* No mapping is longer; each provider has as much room for its own. */
#define P2PDMA_USER_SIZE	SZ_1T

struct address_space *p2pdma_user_mapping(void);
void *p2pdma_alloc_user(struct pci_dev *pdev, size_t size,
			struct p2pdma_region **region);
void p2pdma_free_user(struct p2pdma_region *region, void *addr, size_t size);

/* ---- p2pdma_sysfs.c: p2pmem/ and user mappings ---- */

extern const struct attribute_group p2pdma_group;

#endif /* _DRIVERS_PCI_P2PDMA_H */
