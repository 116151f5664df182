/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A model of how packets travel in a PCI fabric, to judge P2PDMA routes by.
 *
 * It knows the table a fabric was made from, the addresses and bus numbers in
 * its config space, and the PCI Express Base Specification, 6.0, sections 2.2,
 * 6.12 and 10.2.  It uses no struct pci_dev and shares no code with the code
 * under test, so that an error is missed only if both have the same one.
 */

#ifndef _LIB_KUNIT_P2PDMA_ROUTER_H
#define _LIB_KUNIT_P2PDMA_ROUTER_H

#include <linux/bits.h>
#include <linux/dma-map-ops.h>
#include <linux/types.h>

#include "pci_fabric.h"

#define P2PDMA_ROUTER_VECTOR	256	/* greatest Egress Control Vector */

/**
 * struct p2pdma_router_function - one node of the fabric, or one virtual function
 * @name: of the node, or as the fabric names virtual functions: pf/0, pf/1, ...
 * @kind: what it is
 * @above: index of the node whose secondary bus it is on, -1 for a host bridge
 * @pf: index of its physical function; its own for all but virtual functions
 * @host: index of its host bridge
 * @vendor: vendor ID
 * @device_id: device ID
 * @id: bus, device and function number
 * @secondary: bridges: first bus number below
 * @subordinate: bridges: last bus number below
 * @bar: address of BAR 0, bus side
 * @bar_size: its size, 0 for none
 * @cpu: CPU address of BAR 0
 * @memory: bridges and host bridges: lowest and highest address of the memory
 *	window, bus side
 * @prefetch: bridges and host bridges: of the prefetchable window; lowest above
 *	highest in either means none
 * @acs_cap: ACS capability, as in the fabric's table: 0 for none
 * @acs_ctrl: ACS control
 * @vector: bits that its Egress Control Vector has
 * @egress: Egress Control Vector
 * @port: port number
 * @mps: Max_Payload_Size in bytes; unused in virtual functions
 * @unreadable: reads of its config space fail
 */
struct p2pdma_router_function {
	char name[24];
	enum pci_fabric_kind kind;
	int above;
	int pf;
	int host;
	u16 vendor;
	u16 device_id;
	u16 id;
	u8 secondary;
	u8 subordinate;
	u64 bar;
	u64 bar_size;
	u64 cpu;
	u64 memory[2];
	u64 prefetch[2];
	/* These may be changed together with the fabric's */
	u16 acs_cap;
	u16 acs_ctrl;
	unsigned int vector;
	DECLARE_BITMAP(egress, P2PDMA_ROUTER_VECTOR);
	u8 port;
	unsigned int mps;
	bool unreadable;
};

/**
 * struct p2pdma_router - the model of one fabric
 * @count: functions
 * @function: all nodes in the order of the table, then virtual functions
 */
struct p2pdma_router {
	unsigned int count;
	struct p2pdma_router_function function[] __counted_by(count);
};

/* Kinds of packets */
enum p2pdma_router_packet {
	P2PDMA_ROUTER_PACKET_WRITE,	/* memory write request, with data */
	P2PDMA_ROUTER_PACKET_READ,	/* memory read request */
	P2PDMA_ROUTER_PACKET_COMPLETION,	/* of a read, with data */
};

/* Address Type of requests */
enum p2pdma_router_type {
	P2PDMA_ROUTER_UNTRANSLATED,
	P2PDMA_ROUTER_TRANSLATION,	/* Translation Request; a read */
	P2PDMA_ROUTER_TRANSLATED,
};

/* Where the address in a request comes from */
enum p2pdma_router_address {
	P2PDMA_ROUTER_BUS_ADDRESS,
	P2PDMA_ROUTER_CPU_ADDRESS,	/* which bridges take for a bus address */
	P2PDMA_ROUTER_IOVA,		/* outside of all windows */
};

/**
 * struct p2pdma_router_tlp - one packet
 * @packet: what it is
 * @type: requests: Address Type
 * @address: requests: what address they have
 * @relaxed: completions: the Relaxed Ordering attribute is set
 */
struct p2pdma_router_tlp {
	enum p2pdma_router_packet packet;
	enum p2pdma_router_type type;
	enum p2pdma_router_address address;
	bool relaxed;
};

/* Where a packet ends */
enum p2pdma_router_fate {
	P2PDMA_ROUTER_DELIVERED,		/* without the root complex */
	P2PDMA_ROUTER_ROOT_COMPLEX,	/* that decides about it */
	P2PDMA_ROUTER_BLOCKED,		/* ACS Violation */
	P2PDMA_ROUTER_MALFORMED,		/* more data than a receiver accepts */
	P2PDMA_ROUTER_LOST,		/* no device takes it */
	P2PDMA_ROUTER_STRAY,		/* a device takes it that it isn't for */
	P2PDMA_ROUTER_UNKNOWN,		/* the specification doesn't say */
	P2PDMA_ROUTER_COUNT
};

extern const char * const p2pdma_router_fate_name[P2PDMA_ROUTER_COUNT];
extern const char * const p2pdma_router_map_name[];

/* What a client can do */
#define P2PDMA_ROUTER_READ	BIT(0)
#define P2PDMA_ROUTER_WRITE	BIT(1)

/**
 * struct p2pdma_router_client - what decides which packets a client sends
 * @ats: Address Translation Services are enabled
 * @chooses: its driver chooses the Address Type for each mapping
 * @iommu: its DMA addresses are IOVAs
 * @ranges: its DMA addresses are CPU addresses plus an offset, unless @iommu
 * @translated: this mapping is for Translated requests
 * @relaxed: all completions for this mapping have Relaxed Ordering; if not,
 *	some may
 */
struct p2pdma_router_client {
	bool ats;
	bool chooses;
	bool iommu;
	bool ranges;
	bool translated;
	bool relaxed;
};

/* Packets that a transfer may consist of */
enum p2pdma_router_sent {
	/* By bus address; Translated if the mapping is for such requests */
	P2PDMA_ROUTER_BUS_WRITE,
	P2PDMA_ROUTER_BUS_READ,
	/* By the DMA API's address; with ATS also the request to translate it */
	P2PDMA_ROUTER_DMA_WRITE,
	P2PDMA_ROUTER_DMA_READ,
	P2PDMA_ROUTER_DMA_TRANSLATION,
	/* By the address that it is translated to */
	P2PDMA_ROUTER_TRANSLATED_WRITE,
	P2PDMA_ROUTER_TRANSLATED_READ,
	/* From the provider, without and with Relaxed Ordering */
	P2PDMA_ROUTER_COMPLETION,
	P2PDMA_ROUTER_RELAXED_COMPLETION,
	P2PDMA_ROUTER_SENT
};

extern const char * const p2pdma_router_sent_name[P2PDMA_ROUTER_SENT];

/**
 * struct p2pdma_router_answer - result of the fates of one pair's packets
 * @map_type: PCI_P2PDMA_MAP_*
 * @directions: P2PDMA_ROUTER_*
 * @unknown: what the specification leaves open decides about the route, so
 *	it must be refused
 * @sent: packets that were sent, a bit each; no bus addresses, for one, where
 *	the client can't send them
 * @fate: of the packets that were sent; that of a completion means something
 *	only where the read request gets to the provider
 */
struct p2pdma_router_answer {
	enum pci_p2pdma_map_type map_type;
	unsigned int directions;
	bool unknown;
	unsigned int sent;
	enum p2pdma_router_fate fate[P2PDMA_ROUTER_SENT];
};

struct p2pdma_router *
p2pdma_router_create(struct pci_fabric *fabric,
		     const struct pci_fabric_node *nodes, size_t count);
u16 p2pdma_router_ext_cap(struct pci_fabric *fabric, const char *name, u16 id);
int p2pdma_router_index(const struct p2pdma_router *router, const char *name);

enum p2pdma_router_fate
p2pdma_router_send(const struct p2pdma_router *router,
		   const struct p2pdma_router_tlp *tlp, int from, int to);
unsigned int p2pdma_router_policy(const struct p2pdma_router *router,
				  int client, int provider, bool cpu_allows);
bool p2pdma_router_address_taken(const struct p2pdma_router *router, int client,
				 int provider);
void p2pdma_router_route(const struct p2pdma_router *router, int client,
			 int provider, const struct p2pdma_router_client *facts,
			 unsigned int policy,
			 struct p2pdma_router_answer *answer);

#endif /* _LIB_KUNIT_P2PDMA_ROUTER_H */
