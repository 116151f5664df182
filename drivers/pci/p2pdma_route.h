/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: what is found out about two devices, below the cache.
 *
 * p2pdma_route.c, p2pdma_answer.c and p2pdma_host_table.c need only this header,
 * and so build in user space as well, on another struct pci_dev.  There the
 * program has its own p2pdma_host.c and p2pdma_hmat.c.
 */

#ifndef _DRIVERS_PCI_P2PDMA_ROUTE_H
#define _DRIVERS_PCI_P2PDMA_ROUTE_H

#include <linux/dma-map-ops.h>
#include <linux/iommu-dma.h>
#include <linux/minmax.h>
#include <linux/p2pdma.h>
#include <linux/pci.h>
#include <linux/types.h>

#include "p2pdma_decide.h"

/* ---- p2pdma_host_table.c: the table of host bridges, entries of such lists ---- */

/* A host bridge that forwards, and what it doesn't forward */
struct p2pdma_host_bridge {
	u16 vendor;
	u16 device;
	bool same_only;		/* not from one host bridge to another */
	bool write_only;	/* posted requests, not reads */
};

/* Outcome for an entry in the administrator's list of host bridges */
enum p2pdma_admission {
	P2PDMA_ADMITTED,
	P2PDMA_MALFORMED,
	P2PDMA_ADMITTED_BEFORE,
	P2PDMA_LISTED,		/* the table allows both directions already */
};

unsigned int p2pdma_host_look_up(u32 id, bool same,
				 const struct p2pdma_host_bridge *list,
				 unsigned int count, bool *admitted);
enum p2pdma_admission p2pdma_host_list_add(struct p2pdma_host_bridge *list,
					   unsigned int *count,
					   const char *text);

/* ---- p2pdma_host.c: which root complexes forward between devices ---- */

bool p2pdma_cpu_allows(void);
bool p2pdma_memory_encrypted(void);
u32 p2pdma_host_id(struct pci_dev *top);
unsigned int p2pdma_host_directions(struct pci_dev *top, bool same,
				    bool *admitted);

/* ---- p2pdma_hmat.c: ranks of the paths between NUMA nodes ---- */

unsigned int p2pdma_hmat_rank(int client_node, int owner_node);

/* ---- p2pdma_route.c: gathers facts ---- */

/* The PCI device that does @client's DMA: itself or its nearest PCI ancestor */
static inline struct pci_dev *p2pdma_pci_client(struct device *client)
{
	for (; client; client = client->parent) {
		if (dev_is_pci(client))
			return to_pci_dev(client);
	}
	return NULL;
}

/* Are @dev's DMA addresses translated, rather than CPU addresses? */
static inline bool p2pdma_dma_translated(struct device *dev)
{
	return use_dma_iommu(dev) || get_dma_ops(dev);
}

/*
 * Is memory that ends at CPU address @end beyond the DMA mask of @dev, on a route
 * of @map_type?  @bus_offset is the bus address minus the CPU address.
 */
static inline bool p2pdma_beyond_mask(struct device *dev, u64 end, u64 bus_offset,
				      enum pci_p2pdma_map_type map_type)
{
	u64 mask = *dev->dma_mask;

	if (map_type == PCI_P2PDMA_MAP_BUS_ADDR)
		return end + bus_offset > mask;
	if (p2pdma_dma_translated(dev))
		return false;
	return end > min_not_zero(mask, dev->bus_dma_limit);
}

/* What is known of a device's ACS */
struct p2pdma_acs {
	enum p2pdma_answer known;	/* NO: no ACS, and none of the bits is on */
	u16 cap;
	u16 ctrl;
};

struct p2pdma_acs p2pdma_read_acs(struct p2pdma_facts *facts,
				  struct pci_dev *pdev);
u32 p2pdma_read_mps(struct p2pdma_facts *facts, struct pci_dev *pdev);
enum p2pdma_answer p2pdma_turns_by_acs(struct p2pdma_facts *facts,
				       struct pci_dev *turn,
				       struct pci_dev *other);
enum p2pdma_answer p2pdma_drops_by_acs(struct p2pdma_facts *facts,
				       struct pci_dev *from, struct pci_dev *to);
enum p2pdma_answer p2pdma_is_port(struct p2pdma_facts *facts,
				  struct pci_dev *pdev);
struct pci_dev *p2pdma_top(struct pci_dev *pdev);
struct pci_dev *p2pdma_turn_of(struct pci_dev *end,
			       const struct p2pdma_leg *leg);
struct pci_dev *p2pdma_translation_blocker(struct pci_dev *client);
bool p2pdma_translated(struct device *dev);
u32 p2pdma_find_route(struct pci_dev *owner, struct device *client,
		      unsigned int tlp, bool all, struct p2pdma_facts *facts,
		      struct p2pdma_verdict *verdict);

/* ---- p2pdma_answer.c: all about a route ---- */

void p2pdma_answer(struct pci_dev *owner, struct pci_dev *client,
		   unsigned int tlp, struct p2pdma_query_route *answer,
		   struct p2pdma_query_port *ports, unsigned int room);

#endif /* _DRIVERS_PCI_P2PDMA_ROUTE_H */
