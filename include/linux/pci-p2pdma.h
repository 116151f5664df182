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

#include <linux/errno.h>
#include <linux/pci.h>
#include <linux/sysfs.h>

struct scatterlist;

#ifdef CONFIG_PCI_P2PDMA

/* Providers: register a BAR, show it to others */
int pci_p2pdma_add_resource(struct pci_dev *pdev, int bar, size_t size,
			    u64 offset);
void pci_p2pmem_publish(struct pci_dev *pdev, bool publish);
bool pci_has_p2pmem(struct pci_dev *pdev);

/* Orchestrators: who reaches whom, and which provider suits */
int pci_p2pdma_distance_many(struct pci_dev *provider,
			     struct device **clients, int num_clients,
			     bool verbose);
struct pci_dev *pci_p2pmem_find_many(struct device **clients, int num_clients);

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
