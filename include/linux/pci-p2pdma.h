/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: interface for drivers.
 *
 * A provider is a BAR with memory that other PCI devices can use as a DMA source
 * or target; its owner is the device with the BAR; a client is a device that
 * accesses the memory; an orchestrator picks an owner for its clients and
 * allocates the owner's memory.  See Documentation/driver-api/pci/p2pdma.rst
 * for how they work together; the functions are described in
 * drivers/pci/p2pdma*.c.
 *
 * Without CONFIG_PCI_P2PDMA there are no providers: registration returns
 * -EOPNOTSUPP, searches find nothing, and callers need no #ifdef.
 */

#ifndef _LINUX_PCI_P2PDMA_H
#define _LINUX_PCI_P2PDMA_H

#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/errno.h>
#include <linux/p2pdma.h>
#include <linux/pci.h>
#include <linux/pgtable.h>
#include <linux/sysfs.h>

struct page;
struct scatterlist;

/**
 * struct p2pdma_provider - a BAR whose memory other devices can access
 * @owner: the device with the BAR
 * @bus_offset: bus address minus CPU address, in bytes
 *
 * From pcim_p2pdma_provider(); valid until the owner's driver is unbound.  The
 * memory needs no struct pages.
 */
struct p2pdma_provider {
	struct device *owner;
	u64 bus_offset;
};

/**
 * struct p2pdma_route - the verdict on an owner and a client
 * @map_type: how the client's DMA addresses are made; never UNKNOWN
 * @reason: why the route is allowed, limited or refused: of several reasons the
 *	one to mend first.  (If a host bridge forwards nothing but writes, it is
 *	why writes are allowed, and @reasons has
 *	%P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED.)
 * @distance: cost, less is better, 0 for the owner itself; comparable between
 *	owners for one client.  Meaningless if the route is refused.
 * @directions: what the client may do, %P2PDMA_READ and %P2PDMA_WRITE; 0 if the
 *	route is refused
 * @reasons: all that stands against a direction, a bit of enum p2pdma_reason each;
 *	0 if both directions work
 * @classes: classes of packets that this verdict holds for: bit N is set if the
 *	same addresses and at least the same directions are possible with flags N of
 *	enum pci_p2pdma_tlp_flags
 * @blocking: ports or functions whose ACS redirects or blocks requests (first)
 *	or completions (second); NULL if none does.  Valid as long as the caller
 *	holds owner and client.
 */
struct p2pdma_route {
	enum pci_p2pdma_map_type map_type;
	enum p2pdma_reason reason;
	int distance;
	unsigned int directions;
	u32 reasons;
	unsigned int classes;
	struct pci_dev *blocking[2];
};

/**
 * enum p2pdma_memory_type - how CPUs access memory in a BAR
 * @P2PDMA_UNCACHED: one access after the other, as with ioremap()
 * @P2PDMA_WRITE_COMBINED: writes may be combined and delayed, as with ioremap_wc()
 */
enum p2pdma_memory_type {
	P2PDMA_UNCACHED,
	P2PDMA_WRITE_COMBINED,
};

/**
 * struct p2pdma_pages_ops - operations on pages that a driver allocates itself
 * @page_free: The last reference on a page of p2pdma_take_page() was put, so that it
 *	is neither mapped nor the target of DMA: it is the driver's again, which may
 *	take it at once.  page->zone_device_data is as it was set.  Called in any
 *	context but NMI; must not sleep.
 * @reclaim: The pages of @owner are about to be removed, by p2pdma_remove_pages()
 *	or since the driver that @owner is bound to has left.  Zaps mappings, revokes
 *	what was exported and puts all references that the driver itself holds; the
 *	core then waits for the rest.  Pages can no longer be taken, and when
 *	reclaim() has returned, only holders of a reference may access a struct
 *	page.  Called once for each range; may sleep; device_lock() of @owner may
 *	be held.
 */
struct p2pdma_pages_ops {
	void (*page_free)(struct page *page);
	void (*reclaim)(struct pci_dev *owner);
};

#ifdef CONFIG_PCI_P2PDMA

/* Providers: register a BAR and publish its memory */
int pci_p2pdma_add_resource(struct pci_dev *pdev, int bar, size_t size,
			    u64 offset);
void pci_p2pmem_publish(struct pci_dev *pdev, bool publish);
bool pci_has_p2pmem(struct pci_dev *pdev);

/* Providers with an allocator of their own */
int p2pdma_add_pages(struct pci_dev *owner, int bar, size_t size, u64 offset,
		     enum p2pdma_memory_type type,
		     const struct p2pdma_pages_ops *ops);
void p2pdma_remove_pages(struct pci_dev *owner, int bar, u64 offset);
int p2pdma_take_page(struct page *page, void *data);
pgprot_t p2pdma_page_prot(const struct page *page, pgprot_t prot);

/* Providers without struct pages, and mapping of provider memory by address */
int pcim_p2pdma_init(struct pci_dev *pdev);
struct p2pdma_provider *pcim_p2pdma_provider(struct pci_dev *pdev, int bar);
enum pci_p2pdma_map_type pci_p2pdma_map_type_tlp(struct p2pdma_provider *provider,
						 struct device *dev,
						 unsigned int flags);
void pci_p2pdma_set_tlp_choice(struct pci_dev *client, bool choice);
bool pci_p2pdma_page_reachable(const struct page *page, struct device *client);
dma_addr_t dma_map_p2p(struct device *dev, struct p2pdma_provider *provider,
		       phys_addr_t phys, size_t size,
		       enum dma_data_direction dir, unsigned long attrs);
void dma_unmap_p2p(struct device *dev, struct p2pdma_provider *provider,
		   dma_addr_t addr, size_t size, enum dma_data_direction dir,
		   unsigned long attrs);

/* Orchestrators: routes, distances and choice of a provider */
int pci_p2pdma_distance_many(struct pci_dev *owner,
			     struct device **clients, int num_clients,
			     bool verbose);
struct pci_dev *pci_p2pmem_find_many(struct device **clients, int num_clients);
int pci_p2pdma_route_tlp(struct pci_dev *owner, struct device *client,
			 unsigned int flags, struct p2pdma_route *route);
const char *p2pdma_reason_name(enum p2pdma_reason reason);

/* Memory of one device */
void *pci_alloc_p2pmem(struct pci_dev *pdev, size_t size);
void pci_free_p2pmem(struct pci_dev *pdev, void *addr, size_t size);
struct page *pci_p2pmem_alloc_page(struct pci_dev *pdev);
pci_bus_addr_t pci_p2pmem_virt_to_bus(struct pci_dev *pdev, void *addr);
struct scatterlist *pci_p2pmem_alloc_sgl(struct pci_dev *pdev,
					 unsigned int *nents, u32 length);
void pci_p2pmem_free_sgl(struct pci_dev *pdev, struct scatterlist *sgl);

/* Attributes in configfs or sysfs that turn on peer memory */
int pci_p2pdma_enable_store(const char *page, struct pci_dev **p2p_dev,
			    bool *use_p2pdma);
ssize_t pci_p2pdma_enable_show(char *page, struct pci_dev *p2p_dev,
			       bool use_p2pdma);

#else /* !CONFIG_PCI_P2PDMA */

static inline int pci_p2pdma_add_resource(struct pci_dev *pdev, int bar,
					  size_t size, u64 offset)
{
	return -EOPNOTSUPP;
}

static inline void pci_p2pmem_publish(struct pci_dev *pdev, bool publish) { }

static inline bool pci_has_p2pmem(struct pci_dev *pdev)
{
	return false;
}

static inline int p2pdma_add_pages(struct pci_dev *owner, int bar, size_t size,
				   u64 offset, enum p2pdma_memory_type type,
				   const struct p2pdma_pages_ops *ops)
{
	return -EOPNOTSUPP;
}

static inline void p2pdma_remove_pages(struct pci_dev *owner, int bar,
				       u64 offset) { }

static inline int p2pdma_take_page(struct page *page, void *data)
{
	return -ENODEV;
}

static inline pgprot_t p2pdma_page_prot(const struct page *page, pgprot_t prot)
{
	return prot;
}

static inline int pcim_p2pdma_init(struct pci_dev *pdev)
{
	return -EOPNOTSUPP;
}

static inline struct p2pdma_provider *pcim_p2pdma_provider(struct pci_dev *pdev,
							   int bar)
{
	return NULL;
}

static inline enum pci_p2pdma_map_type
pci_p2pdma_map_type_tlp(struct p2pdma_provider *provider, struct device *dev,
			unsigned int flags)
{
	return PCI_P2PDMA_MAP_NOT_SUPPORTED;
}

static inline void pci_p2pdma_set_tlp_choice(struct pci_dev *client,
					     bool choice) { }

static inline dma_addr_t dma_map_p2p(struct device *dev,
				     struct p2pdma_provider *provider,
				     phys_addr_t phys, size_t size,
				     enum dma_data_direction dir,
				     unsigned long attrs)
{
	return DMA_MAPPING_ERROR;
}

static inline void dma_unmap_p2p(struct device *dev,
				 struct p2pdma_provider *provider,
				 dma_addr_t addr, size_t size,
				 enum dma_data_direction dir,
				 unsigned long attrs) { }

static inline int pci_p2pdma_distance_many(struct pci_dev *owner,
					   struct device **clients,
					   int num_clients, bool verbose)
{
	return -1;
}

static inline struct pci_dev *pci_p2pmem_find_many(struct device **clients,
						   int num_clients)
{
	return NULL;
}

static inline int pci_p2pdma_route_tlp(struct pci_dev *owner,
				       struct device *client,
				       unsigned int flags,
				       struct p2pdma_route *route)
{
	return -EOPNOTSUPP;
}

static inline const char *p2pdma_reason_name(enum p2pdma_reason reason)
{
	return "none";
}

static inline void *pci_alloc_p2pmem(struct pci_dev *pdev, size_t size)
{
	return NULL;
}

static inline void pci_free_p2pmem(struct pci_dev *pdev, void *addr,
				   size_t size) { }

static inline struct page *pci_p2pmem_alloc_page(struct pci_dev *pdev)
{
	return NULL;
}

static inline pci_bus_addr_t pci_p2pmem_virt_to_bus(struct pci_dev *pdev,
						    void *addr)
{
	return 0;
}

static inline struct scatterlist *pci_p2pmem_alloc_sgl(struct pci_dev *pdev,
						       unsigned int *nents,
						       u32 length)
{
	return NULL;
}

static inline void pci_p2pmem_free_sgl(struct pci_dev *pdev,
				       struct scatterlist *sgl) { }

static inline int pci_p2pdma_enable_store(const char *page,
					  struct pci_dev **p2p_dev,
					  bool *use_p2pdma)
{
	*use_p2pdma = false;
	return 0;
}

static inline ssize_t pci_p2pdma_enable_show(char *page,
					     struct pci_dev *p2p_dev,
					     bool use_p2pdma)
{
	return sysfs_emit(page, "none\n");
}

#endif /* CONFIG_PCI_P2PDMA */

/**
 * pci_p2pdma_map_type - how a client's DMA addresses for a BAR are made
 * @provider: the BAR
 * @dev: device that would access the BAR: a PCI device, or a child of one
 *
 * Context: as pci_p2pdma_map_type_tlp().
 * Return: as pci_p2pdma_map_type_tlp() without flags.
 */
static inline enum pci_p2pdma_map_type
pci_p2pdma_map_type(struct p2pdma_provider *provider, struct device *dev)
{
	return pci_p2pdma_map_type_tlp(provider, dev, 0);
}

/**
 * pci_p2pdma_route - get the verdict on a client and a device's memory
 * @owner: PCI device with the memory; needn't be registered yet
 * @client: device that would access the memory: a PCI device, or a child of one
 * @route: where to store the verdict, also if there is no route
 *
 * Context: as pci_p2pdma_route_tlp().
 * Return: as pci_p2pdma_route_tlp() without flags.
 */
static inline int pci_p2pdma_route(struct pci_dev *owner, struct device *client,
				   struct p2pdma_route *route)
{
	return pci_p2pdma_route_tlp(owner, client, 0, route);
}

/**
 * pci_p2pdma_bus_addr_map - bus address of memory of a provider
 * @provider: the provider
 * @paddr: CPU address inside the provider's BAR
 *
 * For clients whose pci_p2pdma_map_type() is %PCI_P2PDMA_MAP_BUS_ADDR.
 *
 * Context: any; never sleeps.
 * Return: the DMA address for such a client.
 */
static inline dma_addr_t
pci_p2pdma_bus_addr_map(struct p2pdma_provider *provider, phys_addr_t paddr)
{
	return paddr + provider->bus_offset;
}

/**
 * pci_p2pdma_distance - how far one client is from a device's memory
 * @owner: PCI device with the memory
 * @client: device that would access the memory
 * @verbose: log the reason if @client can't access the memory
 *
 * Context: as pci_p2pdma_distance_many().
 * Return: as pci_p2pdma_distance_many() for this one client.
 */
static inline int pci_p2pdma_distance(struct pci_dev *owner,
				      struct device *client, bool verbose)
{
	return pci_p2pdma_distance_many(owner, &client, 1, verbose);
}

/**
 * pci_p2pmem_find - find the device whose memory suits one client best
 * @client: device that would access the memory
 *
 * Context: as pci_p2pmem_find_many().
 * Return: as pci_p2pmem_find_many().
 */
static inline struct pci_dev *pci_p2pmem_find(struct device *client)
{
	return pci_p2pmem_find_many(&client, 1);
}

#endif /* _LINUX_PCI_P2PDMA_H */
