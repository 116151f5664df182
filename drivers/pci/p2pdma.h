/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: what the files drivers/pci/p2pdma*.c share.
 *
 * Who calls whom, from the top to the bottom and never back:
 *
 *   p2pdma.c
 *   sysfs, heap
 *   dmabuf, phys_list
 *   map
 *   mem
 *   pool
 *   route, host, log, debug
 *
 * Locks, outermost first:
 *
 *   device_lock()    held by the driver core around probe and teardown
 *   p2pdma_lock      mutex: registration, pci_dev::p2pdma, the list of
 *                    devices with memory, a device's list of regions
 *   p2pdma_cache_lock           irq-safe: the list of caches of routes
 *   p2pdma_route_cache::lock    irq-safe: the cached routes of one provider
 *
 * With dma-bufs, p2pdma_lock being none of them:
 *
 *   device_lock()
 *   dma_heap::lock   read by allocations, written when the heap is removed
 *   mmap_lock        where a program touches a buffer
 *   dma_buf::resv    what becomes of one buffer; held while teardown takes it
 *                    away, and so while importers are told and fences waited for
 *   p2pdma_cache_lock, p2pdma_route_cache::lock
 *
 * In the pool, from any context, one at a time: p2pdma_pool::lock, and
 * p2pdma_pool_cpu::lock.
 *
 * Taken alone, or innermost: p2pdma_admit_lock for the administrator's host
 * bridges, p2pdma_buffers_lock for a provider's list of dma-bufs, and
 * p2pdma_holders_lock (irq-safe) for what clients have mapped.
 *
 * Readers of pci_dev::p2pdma, of the list of providers and of cached routes need
 * only RCU.
 */

#ifndef _DRIVERS_PCI_P2PDMA_H
#define _DRIVERS_PCI_P2PDMA_H

#include <linux/atomic.h>
#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/dma-map-ops.h>
#include <linux/hashtable.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/range.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "p2pdma_pool.h"

struct address_space;
struct attribute_group;
struct dma_heap;
struct vm_area_struct;

/* ---- p2pdma_host.c: which root complexes forward between devices ---- */

#define P2PDMA_BOTH	(P2PDMA_READ | P2PDMA_WRITE)

bool p2pdma_cpu_allows(void);
bool p2pdma_memory_encrypted(void);
unsigned int p2pdma_host_directions(struct pci_dev *top, bool same,
				    bool *admitted);
void p2pdma_host_added(struct pci_dev *pdev);
void p2pdma_host_removed(struct pci_dev *pdev);
#if IS_ENABLED(CONFIG_KUNIT)
int p2pdma_admit_host_bridges(const char *text);
#endif

/* ---- p2pdma_route.c: which way two devices reach each other ---- */

/* What becomes of a packet where it would turn around toward the other leg */
enum p2pdma_fate {
	P2PDMA_DIRECT,		/* goes across */
	P2PDMA_REDIRECTED,	/* goes on, up to the root complex */
	P2PDMA_BLOCKED,		/* is dropped */
};

enum { P2PDMA_PROVIDER, P2PDMA_CLIENT, P2PDMA_LEGS };

/*
 * A leg: the way from one device up to the bridge below which the other device
 * lies as well, or to the root bus where there is no such bridge.  Its last
 * element is where packets of the two devices turn around.
 */
struct p2pdma_leg {
	struct pci_dev *end;	/* the provider or the client */
	struct pci_dev *turn;	/* NULL: @end is the shared bridge itself */
	unsigned int hops;	/* links and bridges up to the shared bridge */
	enum p2pdma_fate fate;	/* of a client's request, a provider's completion */
	bool hard_wired;	/* never P2PDMA_DIRECT, whatever ACS control says */
	unsigned int payload;	/* most that @end sends in one packet, in bytes */
	unsigned int host_directions;	/* that its host bridge forwards */
	bool host_admitted;		/* because the administrator says so */
	int node;
};

/* All that a verdict rests on */
struct p2pdma_facts {
	bool same_function;
	bool shared_bridge;
	bool same_host_bridge;
	bool cpu_allows;
	bool encrypted;		/* system memory, and CPU addresses may say so */
	bool unreadable;	/* something of what is below couldn't be read */
	bool forwarded;		/* what is redirected does reach the root complex */
	unsigned int accepts;	/* payload that all on the way accept, in bytes */
	struct p2pdma_leg legs[P2PDMA_LEGS];
};

/*
 * Verdicts of one provider, by client; valid until the fabric changes.  Few
 * devices are clients of one provider, so few buckets do.
 */
struct p2pdma_route_cache {
	DECLARE_HASHTABLE(routes, 6);	/* of struct p2pdma_known_route, by RCU */
	spinlock_t lock;		/* of who writes to it */
	bool said_not_pci;		/* of any client: there is no entry for it */
	struct list_head node;		/* in the list of caches */
};

void p2pdma_route_cache_init(struct p2pdma_route_cache *cache);
void p2pdma_route_cache_destroy(struct p2pdma_route_cache *cache);
void p2pdma_route_find(struct pci_dev *provider, struct device *client,
		       bool explain, struct p2pdma_route *route);
void p2pdma_route_refuse(struct p2pdma_route *route, enum p2pdma_reason reason);

/*
 * Distance: the class of a route counts most, then whether it leaves the NUMA
 * node, then hops, of which a path has at most 512.  The steps are so wide that
 * this also holds for the sums of up to 63 clients.
 */
#define P2PDMA_DISTANCE_HOPS	GENMASK(9, 0)
#define P2PDMA_DISTANCE_NODE	BIT(16)
#define P2PDMA_DISTANCE_CLASS	GENMASK(23, 22)

/*
 * A verdict as the cache has it, in one word.  SAID is what the log has said
 * about the pair, so that it needn't again; it outlives generations, as long
 * as the verdict is the same.
 */
#define P2PDMA_VERDICT_MAP_TYPE		GENMASK_ULL(1, 0)
#define P2PDMA_VERDICT_REASON		GENMASK_ULL(5, 2)
#define P2PDMA_VERDICT_DIRECTIONS	GENMASK_ULL(7, 6)
#define P2PDMA_VERDICT_JUDGED		GENMASK_ULL(7, 0)	/* all of the above */
#define P2PDMA_VERDICT_HOPS		GENMASK_ULL(17, 8)
#define P2PDMA_VERDICT_NODE		GENMASK_ULL(18, 18)
#define P2PDMA_VERDICT_CLASS		GENMASK_ULL(20, 19)
#define P2PDMA_VERDICT_SAID		GENMASK_ULL(25, 21)
#define P2PDMA_SAID_VERDICT		BIT_ULL(21)
#define P2PDMA_SAID_BAR_MOVED		BIT_ULL(22)
#define P2PDMA_SAID_DMA_MASK		BIT_ULL(23)
#define P2PDMA_SAID_BOUNCED		BIT_ULL(24)
#define P2PDMA_SAID_DMA_RANGES		BIT_ULL(25)
#define P2PDMA_VERDICT_GENERATION	GENMASK_ULL(59, 28)

u64 p2pdma_verdict(struct p2pdma_route_cache *cache, struct pci_dev *provider,
		   struct device *client, bool explain);
void p2pdma_verdict_refused(struct p2pdma_route_cache *cache,
			    struct pci_dev *provider, struct device *client,
			    enum p2pdma_reason reason);

/* Scatterlists, and whoever asks before the direction is known, need both. */
static inline bool p2pdma_verdict_both(u64 verdict)
{
	return FIELD_GET(P2PDMA_VERDICT_DIRECTIONS, verdict) == P2PDMA_BOTH;
}

static inline enum pci_p2pdma_map_type p2pdma_verdict_map_type(u64 verdict)
{
	return FIELD_GET(P2PDMA_VERDICT_MAP_TYPE, verdict);
}

static inline int p2pdma_verdict_distance(u64 verdict)
{
	return FIELD_PREP(P2PDMA_DISTANCE_HOPS,
			  FIELD_GET(P2PDMA_VERDICT_HOPS, verdict)) |
	       FIELD_PREP(P2PDMA_DISTANCE_NODE,
			  FIELD_GET(P2PDMA_VERDICT_NODE, verdict)) |
	       FIELD_PREP(P2PDMA_DISTANCE_CLASS,
			  FIELD_GET(P2PDMA_VERDICT_CLASS, verdict));
}

/* ---- p2pdma_log.c: what the kernel log says about routes ---- */

enum p2pdma_fix {
	P2PDMA_FIX_NONE,
	P2PDMA_FIX_ACS,		/* no redirection at the route's blocking ports */
	P2PDMA_FIX_MPS,		/* the same MPS everywhere */
};

bool p2pdma_log_limit(void);
void p2pdma_log(struct device *client, const char *line);
void p2pdma_log_route(struct device *client, const struct p2pdma_facts *facts,
		      const struct p2pdma_route *route, enum p2pdma_fix fix);

/* ---- p2pdma_map.c: from provider memory to DMA addresses ---- */

struct pci_p2pdma;
struct p2pdma_bar;

enum p2pdma_reason p2pdma_limit(struct pci_p2pdma *p2pdma,
				struct device *client,
				enum pci_p2pdma_map_type map_type);
bool p2pdma_bar_has(const struct p2pdma_bar *bar, phys_addr_t phys,
		    size_t size);
int p2pdma_reachable(struct device *dev, struct p2pdma_provider *provider,
		     phys_addr_t phys, size_t size);
int p2pdma_map_check(struct device *dev, struct p2pdma_provider *provider,
		     phys_addr_t phys, size_t size,
		     enum dma_data_direction dir,
		     enum pci_p2pdma_map_type *map_type);
int p2pdma_map(struct device *dev, struct p2pdma_provider *provider,
	       phys_addr_t phys, size_t size, enum dma_data_direction dir,
	       unsigned long attrs, dma_addr_t *addr);
#if IS_ENABLED(CONFIG_KUNIT)
bool p2pdma_is_bus_addr(struct device *dev, dma_addr_t addr);
#endif

/* ---- p2pdma_debug.c: who has memory mapped that its provider takes away ---- */

#ifdef CONFIG_PCI_P2PDMA_DEBUG
void p2pdma_debug_mapped(struct p2pdma_provider *provider, struct device *dev);
void p2pdma_debug_unmapped(struct p2pdma_provider *provider,
			   struct device *dev);
void p2pdma_debug_gone(struct pci_p2pdma *p2pdma);
void p2pdma_debug_warn(struct device *provider, struct device *client,
		       const char *what);
#else
static inline void p2pdma_debug_mapped(struct p2pdma_provider *provider,
				       struct device *dev) { }

static inline void p2pdma_debug_unmapped(struct p2pdma_provider *provider,
					 struct device *dev) { }

static inline void p2pdma_debug_gone(struct pci_p2pdma *p2pdma) { }
#endif

/* ---- What the core knows of a device ---- */

/*
 * One BAR as memory that has an address; it needs no struct pages.  Drivers see
 * @provider of it.
 */
struct p2pdma_bar {
	struct p2pdma_provider provider;
	struct pci_p2pdma *p2pdma;	/* that it is in */
	struct resource *resource;	/* where it is now */
	struct range range;	/* CPU addresses; start 0: no memory, or none yet */
};

/*
 * What is known of a device with memory: a devres entry, made by the first
 * registration and gone when the driver leaves.  pci_dev::p2pdma points to it in
 * between.
 */
struct pci_p2pdma {
	struct pci_dev *pdev;		/* the owner */
	struct pci_p2pdma **teardown;	/* the newest devres entry of P2PDMA */
	struct p2pdma_bar bars[PCI_STD_NUM_BARS];
	struct p2pdma_route_cache routes;
	struct list_head node;		/* in the list of all devices with memory */

	/* Memory with struct pages */
	struct p2pdma_pool *pool;
	struct list_head regions;	/* of struct p2pdma_region */
	struct p2pdma_region *first_region;	/* of these; for RCU readers */
	bool published;
	atomic_long_t user_pages;	/* taken for user mappings, not yet free */
	pgoff_t user_offset;		/* of all its mappings in p2pdma_user_mapping() */

	/* Memory as dma-bufs */
	struct list_head buffers;	/* of p2pdma_dmabuf.c */
	struct dma_heap *heap;		/* for programs, or NULL */
	struct work_struct heap_work;	/* makes and removes it */
	char heap_name[32];
};

/*
 * A part of a BAR with struct pages.  Each allocation holds a reference on
 * pgmap.ref (one for kernel memory, one a page for user memory), and
 * memunmap_pages() waits for them: the owner of an allocation may use the region,
 * and its struct pci_p2pdma, without a lock.  The module that registered the
 * region may have taken the page map away; then pgmap.ref is dead for good, and
 * so nobody gets memory.
 */
struct p2pdma_region {
	struct p2pdma_bar *bar;
	struct p2pdma_chunk *chunk;	/* of the pool */
	void *start;
	size_t size;			/* in bytes */
	struct list_head node;		/* in pci_p2pdma::regions */
	struct dev_pagemap pgmap;
};

/*
 * Is a BAR still where it was when it was registered?  The PCI core may move it
 * while its memory is in use.  What is known about it, and its struct pages,
 * then belong to addresses where nothing answers, or something else does.
 */
static inline bool p2pdma_bar_in_place(const struct p2pdma_bar *bar)
{
	return READ_ONCE(bar->resource->start) == bar->range.start &&
	       READ_ONCE(bar->resource->end) >= bar->range.end &&
	       !(READ_ONCE(bar->resource->flags) & IORESOURCE_UNSET);
}

static inline struct p2pdma_bar *p2pdma_bar(struct p2pdma_provider *provider)
{
	return container_of(provider, struct p2pdma_bar, provider);
}

/* What is known of @pdev, if it has registered anything; for RCU readers */
static inline struct pci_p2pdma *p2pdma_of(struct pci_dev *pdev)
{
	return rcu_dereference(pdev->p2pdma);
}

static inline struct p2pdma_region *p2pdma_region(struct dev_pagemap *pgmap)
{
	return container_of(pgmap, struct p2pdma_region, pgmap);
}

/* ---- p2pdma_mem.c: memory with struct pages ---- */

/* No user mapping is longer; each device has as much room for its own. */
#define P2PDMA_USER_SIZE	SZ_1T

int p2pdma_mem_init(struct pci_p2pdma *p2pdma);
void p2pdma_mem_destroy(struct pci_p2pdma *p2pdma);
bool p2pdma_mem_taken(const struct range *range);
int p2pdma_mem_add(struct p2pdma_bar *bar, const struct range *range);
int p2pdma_mem_clear(struct pci_p2pdma *p2pdma, void *addr, size_t size);
int p2pdma_zero(void *addr, size_t size);	/* the benchmark calls it, too */
int p2pdma_mem_mmap(struct pci_dev *pdev, struct vm_area_struct *vma);
void p2pdma_mem_revoke_user(struct pci_p2pdma *p2pdma);
struct address_space *p2pdma_user_mapping(void);
void *p2pdma_alloc_user(struct pci_dev *pdev, size_t size,
			struct p2pdma_region **region);
void p2pdma_free_user(struct p2pdma_region *region, void *addr, size_t size);

/* ---- p2pdma_sysfs.c: p2pmem/ ---- */

extern const struct attribute_group p2pdma_group;

/* ---- p2pdma_dmabuf.c: memory as dma-bufs ---- */

#ifdef CONFIG_PCI_P2PDMA_DMABUF
void p2pdma_dmabuf_revoke(struct pci_p2pdma *p2pdma);
#else
static inline void p2pdma_dmabuf_revoke(struct pci_p2pdma *p2pdma) { }
#endif

/* ---- p2pdma_heap.c: published memory for programs, as dma-bufs ---- */

#ifdef CONFIG_PCI_P2PDMA_HEAP
void p2pdma_heap_init(struct pci_p2pdma *p2pdma);
void p2pdma_heap_update(struct pci_p2pdma *p2pdma);
void p2pdma_heap_remove(struct pci_p2pdma *p2pdma);
#else
static inline void p2pdma_heap_init(struct pci_p2pdma *p2pdma) { }
static inline void p2pdma_heap_update(struct pci_p2pdma *p2pdma) { }
static inline void p2pdma_heap_remove(struct pci_p2pdma *p2pdma) { }
#endif

#endif /* _DRIVERS_PCI_P2PDMA_H */
