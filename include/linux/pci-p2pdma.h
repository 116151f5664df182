/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: what drivers call.
 *
 * A provider offers part of a BAR as memory that other PCI devices can use as
 * a DMA source or target; a client is a device that does so; an orchestrator
 * picks a provider for clients and takes memory from it.  How they work
 * together is in Documentation/driver-api/pci/p2pdma.rst; what the functions
 * do stands in front of each definition in drivers/pci/p2pdma*.c.
 *
 * Without CONFIG_PCI_P2PDMA there are no providers: registration says
 * -EOPNOTSUPP, every search finds nothing, and callers need no #ifdef.
 */

#ifndef _LINUX_PCI_P2PDMA_H
#define _LINUX_PCI_P2PDMA_H

#include <linux/bits.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/errno.h>
#include <linux/pci.h>
#include <linux/sysfs.h>

struct scatterlist;

/**
 * struct p2pdma_provider - a BAR whose memory other devices can reach
 * @owner: the device with the BAR
 * @bus_offset: bus address less CPU address, in bytes
 *
 * From pcim_p2pdma_provider(); valid until the owner's driver leaves.  It needs
 * no struct pages.
 */
struct p2pdma_provider {
	struct device *owner;
	u64 bus_offset;
};

/**
 * enum p2pdma_reason - why a route is what it is
 * @P2PDMA_REASON_SAME_DEVICE: the client is the provider
 * @P2PDMA_REASON_SWITCH: packets turn around below a bridge that both share
 * @P2PDMA_REASON_CPU_ALLOWED: the processor forwards between its root ports
 * @P2PDMA_REASON_HOST_BRIDGE_LISTED: the host bridges are known to forward
 * @P2PDMA_REASON_ADMIN_ALLOWED: the command line says that a host bridge does
 * @P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED: nobody says that the root complex,
 *	which alone connects the two, forwards
 * @P2PDMA_REASON_ACS_REDIRECT: ACS, or for lack of a way inside of it the
 *	device itself, sends packets up to a root complex that doesn't forward
 *	them, or that they don't reach
 * @P2PDMA_REASON_ACS_EGRESS: ACS Egress Control drops the client's requests
 * @P2PDMA_REASON_MPS_MISMATCH: packets may be larger than a receiver accepts
 * @P2PDMA_REASON_DMA_MASK: the client can't send to such high addresses
 * @P2PDMA_REASON_BAR_MOVED: the BAR isn't where it was when it was registered
 * @P2PDMA_REASON_UNREADABLE: config space could not be read; ask again
 * @P2PDMA_REASON_NOT_PCI: the client is on no PCI bus
 * @P2PDMA_REASON_BOUNCED: the client isn't trusted, or for another reason all
 *	its DMA goes through bounce buffers
 * @P2PDMA_REASON_MEMORY_ENCRYPTED: the way is through the root complex, and
 *	system memory is encrypted, for which the DMA API would take the BAR
 * @P2PDMA_REASON_DMA_RANGES: the way is through the root complex without an
 *	IOMMU, and the client's DMA addresses aren't CPU addresses
 * @P2PDMA_REASON_MAX: the number of reasons
 *
 * p2pdma_reason_name() gives each a name for people, the same everywhere.
 */
enum p2pdma_reason {
	P2PDMA_REASON_SAME_DEVICE,
	P2PDMA_REASON_SWITCH,
	P2PDMA_REASON_CPU_ALLOWED,
	P2PDMA_REASON_HOST_BRIDGE_LISTED,
	P2PDMA_REASON_ADMIN_ALLOWED,
	P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED,
	P2PDMA_REASON_ACS_REDIRECT,
	P2PDMA_REASON_ACS_EGRESS,
	P2PDMA_REASON_MPS_MISMATCH,
	P2PDMA_REASON_DMA_MASK,
	P2PDMA_REASON_BAR_MOVED,
	P2PDMA_REASON_UNREADABLE,
	P2PDMA_REASON_NOT_PCI,
	P2PDMA_REASON_BOUNCED,
	P2PDMA_REASON_MEMORY_ENCRYPTED,
	P2PDMA_REASON_DMA_RANGES,
	P2PDMA_REASON_MAX,
};

/* Directions, as the client sees them */
#define P2PDMA_READ	BIT(0)
#define P2PDMA_WRITE	BIT(1)

/**
 * struct p2pdma_route - the verdict on a provider and a client
 * @map_type: how the client's DMA addresses are made; never UNKNOWN
 * @reason: what allows the route, or what limits it or refuses it.  (Host
 *	bridges that forward nothing but writes are told by @directions alone.)
 * @distance: cost, less is better, 0 for the provider itself; comparable
 *	between providers of one client.  Meaningless where refused.
 * @directions: what the client may do, %P2PDMA_READ and %P2PDMA_WRITE; 0
 *	where refused
 * @blocking: ports or functions whose ACS keeps requests (first) or
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

#ifdef CONFIG_PCI_P2PDMA

/* Providers: register a BAR, show it to others */
int pci_p2pdma_add_resource(struct pci_dev *pdev, int bar, size_t size,
			    u64 offset);
void pci_p2pmem_publish(struct pci_dev *pdev, bool publish);
bool pci_has_p2pmem(struct pci_dev *pdev);

/* Providers without struct pages, and memory of any provider by its address */
int pcim_p2pdma_init(struct pci_dev *pdev);
struct p2pdma_provider *pcim_p2pdma_provider(struct pci_dev *pdev, int bar);
enum pci_p2pdma_map_type pci_p2pdma_map_type(struct p2pdma_provider *provider,
					     struct device *dev);
dma_addr_t dma_map_p2p(struct device *dev, struct p2pdma_provider *provider,
		       phys_addr_t phys, size_t size,
		       enum dma_data_direction dir, unsigned long attrs);
void dma_unmap_p2p(struct device *dev, struct p2pdma_provider *provider,
		   dma_addr_t addr, size_t size, enum dma_data_direction dir,
		   unsigned long attrs);

/* Orchestrators: who reaches whom, and which provider suits */
int pci_p2pdma_distance_many(struct pci_dev *provider,
			     struct device **clients, int num_clients,
			     bool verbose);
struct pci_dev *pci_p2pmem_find_many(struct device **clients, int num_clients);
int pci_p2pdma_route(struct pci_dev *provider, struct device *client,
		     struct p2pdma_route *route);
const char *p2pdma_reason_name(enum p2pdma_reason reason);

/* Memory of one provider */
void *pci_alloc_p2pmem(struct pci_dev *pdev, size_t size);
void pci_free_p2pmem(struct pci_dev *pdev, void *addr, size_t size);
pci_bus_addr_t pci_p2pmem_virt_to_bus(struct pci_dev *pdev, void *addr);
struct scatterlist *pci_p2pmem_alloc_sgl(struct pci_dev *pdev,
					 unsigned int *nents, u32 length);
void pci_p2pmem_free_sgl(struct pci_dev *pdev, struct scatterlist *sgl);

/* An attribute in configfs or sysfs that turns peer memory on */
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
pci_p2pdma_map_type(struct p2pdma_provider *provider, struct device *dev)
{
	return PCI_P2PDMA_MAP_NOT_SUPPORTED;
}

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

static inline int pci_p2pdma_distance_many(struct pci_dev *provider,
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

static inline int pci_p2pdma_route(struct pci_dev *provider,
				   struct device *client,
				   struct p2pdma_route *route)
{
	return -EOPNOTSUPP;
}

static inline const char *p2pdma_reason_name(enum p2pdma_reason reason)
{
	return "unknown";
}

static inline void *pci_alloc_p2pmem(struct pci_dev *pdev, size_t size)
{
	return NULL;
}

static inline void pci_free_p2pmem(struct pci_dev *pdev, void *addr,
				   size_t size) { }

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
 * pci_p2pdma_bus_addr_map - bus address of memory of a provider
 * @provider: the provider
 * @paddr: CPU address inside its BAR
 *
 * For clients whose pci_p2pdma_map_type() is %PCI_P2PDMA_MAP_BUS_ADDR.
 *
 * Context: any; never sleeps.
 * Return: the address that such a client sends to.
 */
static inline dma_addr_t
pci_p2pdma_bus_addr_map(struct p2pdma_provider *provider, phys_addr_t paddr)
{
	return paddr + provider->bus_offset;
}

/**
 * pci_p2pdma_distance - how far one client is from a provider
 * @provider: PCI device that offers memory
 * @client: device that would access it
 * @verbose: say in the kernel log why not, if so
 *
 * Context: as pci_p2pdma_distance_many().
 * Return: as pci_p2pdma_distance_many() for this one client.
 */
static inline int pci_p2pdma_distance(struct pci_dev *provider,
				      struct device *client, bool verbose)
{
	return pci_p2pdma_distance_many(provider, &client, 1, verbose);
}

/**
 * pci_p2pmem_find - find the best published provider for one client
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
