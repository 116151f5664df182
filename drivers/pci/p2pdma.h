/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: definitions shared by drivers/pci/p2pdma*.c.
 *
 * Layers, top to bottom; each calls only those below it:
 *
 *   p2pdma.c             registration, publishing, teardown, finding a provider
 *   sysfs, heap, query   interfaces to user space
 *   dmabuf, phys_list    memory that is passed to other drivers
 *   map                  DMA addresses
 *   mem, pages           memory with struct pages: of the pool, of a driver
 *   pool                 the allocator
 *   cache                cached verdicts, and what was logged about them
 *   log                  log messages
 *   answer               all about a route, for user space
 *   route                gathers facts
 *   decide, host, hmat   verdicts from facts; tables of host bridges; ranks of
 *                        the paths between NUMA nodes
 *
 * Terms: a provider is one BAR; the owner is the device with the BAR; p2pdma is
 * the core's state of an owner; a client does DMA; a region is memory with
 * struct pages.
 *
 * Locks, outermost first:
 *
 *   device_lock()    held by the driver core around probe and teardown, and of a
 *                    client by /dev/p2pdma while it answers
 *   p2pdma_lock      mutex: registration, pci_dev::p2pdma, the list of
 *                    devices with memory, a device's list of regions
 *   p2pdma_caches_lock          irq-safe: the list of caches
 *   p2pdma_cache::lock          irq-safe: the verdicts on one owner's memory
 *
 * With dma-bufs, where p2pdma_lock isn't taken:
 *
 *   device_lock()
 *   dma_heap::lock   read by allocations, written when the heap is removed
 *   mmap_lock        page faults of a program on a buffer
 *   dma_buf::resv    state of one buffer; held while a revocation notifies
 *                    importers, but not while it waits for their fences
 *   p2pdma_buffer::cpu_lock     held by page faults and CPU access, so that the
 *                    buffer isn't revoked meanwhile
 *   p2pdma_caches_lock, p2pdma_cache::lock
 *
 * In the pool, from any context, never nested: p2pdma_pool::lock and
 * p2pdma_pool_cpu::lock.
 *
 * Never held around another lock: p2pdma_admit_lock for the administrator's
 * host bridges, p2pdma_buffers_lock for an owner's list of dma-bufs, and
 * p2pdma_pages_lock for the list of ranges with drivers' pages.
 *
 * Readers of pci_dev::p2pdma, of the list of devices with memory and of cached
 * verdicts need only RCU.
 */

#ifndef _DRIVERS_PCI_P2PDMA_H
#define _DRIVERS_PCI_P2PDMA_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/dma-map-ops.h>
#include <linux/hashtable.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/pgtable.h>
#include <linux/range.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "p2pdma_decide.h"
#include "p2pdma_pool.h"
#include "p2pdma_route.h"

struct acpi_table_header;
struct address_space;
struct attribute_group;
struct dma_heap;
struct p2pdma_phys_list;
struct vm_area_struct;

/* ---- The core's state of a device ---- */

/*
 * Verdicts on one owner's memory, by client and class of packets.  An owner has few
 * clients, so few buckets are enough.
 */
struct p2pdma_cache {
	DECLARE_HASHTABLE(known, 6);	/* of struct p2pdma_known, by RCU */
	spinlock_t lock;		/* serialises writers */
	bool said_not_pci;		/* logged; such clients have no entry */
	struct list_head node;		/* in the list of caches */
};

/*
 * One BAR as memory with a CPU address; it needs no struct pages.  Drivers see
 * only @provider.
 */
struct p2pdma_bar {
	struct p2pdma_provider provider;
	struct pci_p2pdma *p2pdma;	/* of the owner */
	struct resource *resource;	/* current address */
	struct range range;	/* CPU addresses; start 0: no address (yet) */
};

/* What user space was told of an owner by uevents, see p2pdma_query.c */
struct p2pdma_told {
	struct work_struct work;
	unsigned int registered;	/* as of pci_p2pdma */
	bool published;			/* likewise */
};

/*
 * State of a device with memory: a devres entry, created by the first
 * registration and freed when the driver is unbound.  pci_dev::p2pdma points to
 * it in between.
 */
struct pci_p2pdma {
	struct pci_dev *pdev;		/* the owner */
	struct pci_p2pdma **teardown;	/* the newest devres entry of P2PDMA */
	struct p2pdma_bar bars[PCI_STD_NUM_BARS];
	struct p2pdma_cache cache;
	struct list_head node;		/* in the list of all devices with memory */
	unsigned int registered;	/* counts registrations */
	struct p2pdma_told told;

	/* Memory with struct pages */
	struct p2pdma_pool *pool;
	struct list_head regions;	/* of struct p2pdma_region */
	struct p2pdma_region *first_region;	/* for RCU readers */
	bool published;
	atomic_long_t user_pages;	/* in use that are counted one by one */
	long user_limit;		/* of user_pages; LONG_MAX: none */
	pgoff_t user_offset;		/* in p2pdma_user_mapping() */

	/* Memory as dma-bufs */
	struct list_head buffers;	/* of p2pdma_dmabuf.c */
	struct dma_heap *heap;		/* for user space, or NULL */
	struct work_struct heap_work;	/* adds and removes the heap */
	char heap_name[32];
};

/*
 * A part of a BAR with struct pages.  Allocated memory holds references on
 * pgmap.ref (one per kernel allocation, one per page that is counted by itself:
 * for user space, or from pci_p2pmem_alloc_page()), and memunmap_pages() waits
 * for them: while memory is allocated, its region and struct pci_p2pdma stay.
 * If the module that registered the region has removed the page map, pgmap.ref
 * is dead, and every allocation fails.
 *
 * Of a region in struct p2pdma_pages only @bar, @type and @pgmap are used.
 */
struct p2pdma_region {
	struct p2pdma_bar *bar;
	struct p2pdma_chunk *chunk;	/* of the pool */
	void *start;
	size_t size;			/* in bytes */
	enum p2pdma_memory_type type;
	struct list_head node;		/* in pci_p2pdma::regions */
	struct dev_pagemap pgmap;
};

/*
 * A part of a BAR whose pages a driver allocates.  A page is free or taken; a
 * taken one holds a reference on region.pgmap.ref.
 */
struct p2pdma_pages {
	struct p2pdma_region region;
	const struct p2pdma_pages_ops *ops;
	unsigned long *taken;		/* a bit for each page */
	unsigned long count;		/* pages */
	bool going;			/* no page can be taken */
	struct completion gone;		/* the struct pages are gone */
	struct kref refs;		/* of the registration, and of waiters */
	struct list_head node;		/* in the list of all */
};

/*
 * Does a BAR still have the address that was registered?  The PCI core may move
 * the BAR while its memory is in use.  The recorded range, and its struct
 * pages, then belong to addresses where no device, or another one, responds.
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

/* State of @pdev, NULL if nothing is registered; for RCU readers */
static inline struct pci_p2pdma *p2pdma_of(struct pci_dev *pdev)
{
	return rcu_dereference(pdev->p2pdma);
}

static inline struct p2pdma_region *p2pdma_region(struct dev_pagemap *pgmap)
{
	return container_of(pgmap, struct p2pdma_region, pgmap);
}

/* ---- p2pdma_host.c: which root complexes forward between devices ---- */

void p2pdma_host_added(struct pci_dev *pdev);
void p2pdma_host_removed(struct pci_dev *pdev);
int p2pdma_host_admit(const char *text,
		      void (*tell)(const char *entry,
				   enum p2pdma_admission admission));

/* ---- p2pdma_hmat.c: ranks of the paths between NUMA nodes ---- */

/*
 * Ranks by client_node * @nodes + owner_node.  Parsed once, at boot, and not changed.
 */
#define P2PDMA_RANK_NONE	0xff	/* in place of a rank: not in the table */

struct p2pdma_hmat {
	unsigned int nodes;
	const u8 *ranks;
};

#if IS_ENABLED(CONFIG_KUNIT)
int p2pdma_hmat_node(u32 domain);
const char *p2pdma_hmat_check(const struct acpi_table_header *table, u32 *at);
int p2pdma_hmat_parse(const struct acpi_table_header *table,
		      unsigned int nodes, struct p2pdma_hmat *hmat);
unsigned int p2pdma_hmat_find(const struct p2pdma_hmat *hmat, int client_node,
			      int owner_node);
#endif

/* ---- p2pdma_log.c: log messages ---- */

bool p2pdma_log_allowed(void);
void p2pdma_log(struct device *client, const char *line);
void p2pdma_log_admission(const char *entry, enum p2pdma_admission admission);
void p2pdma_log_route(struct pci_dev *owner, struct device *client,
		      const struct p2pdma_facts *facts,
		      const struct p2pdma_verdict *verdict, u32 against,
		      enum p2pdma_fix fix);

/* ---- p2pdma_cache.c: cached verdicts ---- */

void p2pdma_cache_init(struct p2pdma_cache *cache);
void p2pdma_cache_destroy(struct p2pdma_cache *cache);
struct p2pdma_verdict p2pdma_cached_verdict(struct pci_p2pdma *p2pdma,
					    struct device *client,
					    unsigned int tlp, bool explain);
void p2pdma_explain_refusal(struct pci_p2pdma *p2pdma, struct device *client,
			    unsigned int tlp, u32 refusals);

/* ---- p2pdma_mem.c: memory with struct pages ---- */

/* Limit of a user mapping; each device has an offset range of this size. */
#define P2PDMA_USER_SIZE	SZ_1T

/*
 * Protection of user mappings: of the same memory type as the kernel's own mapping
 * and not encrypted, since aliases must agree.  On arm64 the kernel's mapping of
 * uncached memory is Device memory, where unaligned accesses and the dc zva of
 * memset() fault; user space gets Normal Non-cacheable memory, also uncached.
 */
static inline pgprot_t p2pdma_user_pgprot(pgprot_t prot,
					  enum p2pdma_memory_type type)
{
	if (type == P2PDMA_WRITE_COMBINED || IS_ENABLED(CONFIG_ARM64))
		prot = pgprot_writecombine(prot);
	else
		prot = pgprot_noncached(prot);
	return pgprot_decrypted(prot);
}

int p2pdma_mem_init(struct pci_p2pdma *p2pdma);
void p2pdma_mem_destroy(struct pci_p2pdma *p2pdma);
bool p2pdma_mem_taken(const struct range *range);
int p2pdma_mem_add(struct p2pdma_bar *bar, const struct range *range);
void *p2pdma_alloc_cleared(struct pci_p2pdma *p2pdma, size_t *size,
			   struct p2pdma_region **region);
int p2pdma_zero(void *addr, size_t size);	/* also used by the benchmark */
size_t p2pdma_user_limit(const struct pci_p2pdma *p2pdma);
void p2pdma_set_user_limit(struct pci_p2pdma *p2pdma, u64 limit);
bool p2pdma_user_fits(struct pci_p2pdma *p2pdma, size_t size);
int p2pdma_mem_mmap(struct pci_dev *pdev, struct vm_area_struct *vma);
void p2pdma_mem_revoke_user(struct pci_p2pdma *p2pdma);
struct address_space *p2pdma_user_mapping(void);
void *p2pdma_alloc_user(struct pci_dev *pdev, size_t size,
			struct p2pdma_region **region);
void p2pdma_free_user(struct p2pdma_region *region, void *addr, size_t size);

/* ---- p2pdma_pages.c: memory with struct pages that a driver allocates ---- */

int p2pdma_pages_check_type(struct pci_dev *owner, enum p2pdma_memory_type type);
int p2pdma_pages_add(struct p2pdma_bar *bar, const struct range *range,
		     enum p2pdma_memory_type type,
		     const struct p2pdma_pages_ops *ops);
bool p2pdma_pages_have(const struct range *range);
void p2pdma_pages_remove_all(struct pci_dev *owner);

/* ---- p2pdma_map.c: DMA addresses of provider memory ---- */

u32 p2pdma_memory_refusals(struct pci_p2pdma *p2pdma, struct device *client,
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

/* ---- p2pdma_phys_list.c: lists of memory ---- */

phys_addr_t p2pdma_phys_list_find(const struct p2pdma_phys_list *list, size_t at);

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

/* ---- p2pdma_query.c: /dev/p2pdma, and uevents ---- */

#ifdef CONFIG_PCI_P2PDMA_QUERY
void p2pdma_tell_init(struct pci_p2pdma *p2pdma);
void p2pdma_tell(struct pci_p2pdma *p2pdma);
void p2pdma_tell_end(struct pci_p2pdma *p2pdma);
#else
static inline void p2pdma_tell_init(struct pci_p2pdma *p2pdma) { }
static inline void p2pdma_tell(struct pci_p2pdma *p2pdma) { }
static inline void p2pdma_tell_end(struct pci_p2pdma *p2pdma) { }
#endif

/* ---- p2pdma.c: the top ---- */

#if IS_ENABLED(CONFIG_KUNIT)
int p2pdma_admit_host_bridges(const char *text);
#endif

#endif /* _DRIVERS_PCI_P2PDMA_H */
