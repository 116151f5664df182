/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: facts about two devices, and what they come to.
 *
 * Plain data without pointers, so that the same p2pdma_decide() answers in the
 * kernel and in a program: this header and p2pdma_decide.c build in user space,
 * on the headers in tools/include and an enum pci_p2pdma_map_type.
 *
 * A device is named by its leg and by how many links and bridges are between it
 * and the end of the leg.
 */

#ifndef _DRIVERS_PCI_P2PDMA_DECIDE_H
#define _DRIVERS_PCI_P2PDMA_DECIDE_H

#include <linux/bits.h>
#include <linux/dma-map-ops.h>
#include <linux/p2pdma-reason.h>
#include <linux/types.h>

#define P2PDMA_BOTH	(P2PDMA_READ | P2PDMA_WRITE)

/*
 * A leg: the way from one device up to the bridge below which the other device
 * lies as well, or to the root bus where there is no such bridge.  Its last
 * device, the turn, is where packets of the two devices turn around.
 */
enum { P2PDMA_OWNER, P2PDMA_CLIENT, P2PDMA_LEGS };

/* Packets of a transfer; each is judged at the turn of the leg it is sent on */
enum p2pdma_packet {
	P2PDMA_COMPLETION,	/* the owner's, of a read */
	P2PDMA_REQUEST,		/* the client's, untranslated */
	P2PDMA_PACKETS
};

static inline unsigned int p2pdma_leg_of(enum p2pdma_packet packet)
{
	return packet == P2PDMA_REQUEST ? P2PDMA_CLIENT : P2PDMA_OWNER;
}

/* What becomes of a packet where it would turn around toward the other leg */
enum p2pdma_fate {
	P2PDMA_FATE_UNKNOWN,
	P2PDMA_DIRECT,		/* goes across */
	P2PDMA_REDIRECTED,	/* goes on, up to the root complex */
	P2PDMA_BLOCKED,		/* is dropped */
};

enum p2pdma_answer { P2PDMA_UNKNOWN, P2PDMA_NO, P2PDMA_YES };

/**
 * struct p2pdma_turn - what a packet meets at the turn of its leg
 * @fate: of the packet
 * @hard_wired: @fate isn't %P2PDMA_DIRECT whatever ACS control says
 */
struct p2pdma_turn {
	enum p2pdma_fate fate;
	bool hard_wired;
};

/**
 * struct p2pdma_leg - one of the two legs
 * @hops: links and bridges up to the shared bridge, and so the number of devices
 *	on the leg; 0 where its end is the shared bridge itself
 * @payload: most that its end sends in one packet, in bytes; 0 where nothing
 *	limits it, on a conventional bus
 * @host_directions: what its host bridge is known to forward, %P2PDMA_READ and
 *	%P2PDMA_WRITE
 * @host_admitted: known because the administrator says so
 * @node: NUMA node of its end; negative: none or unknown
 */
struct p2pdma_leg {
	unsigned int hops;
	unsigned int payload;
	unsigned int host_directions;
	bool host_admitted;
	int node;
};

/**
 * struct p2pdma_facts - all that a verdict rests on
 * @client_is_pci: the client is a PCI device, or a child of one.  If not,
 *	nothing else is known.
 * @same_function: it is the owner itself
 * @shared_bridge: there is a bridge that both are below
 * @same_host_bridge: both are below one host bridge
 * @cpu_allows: the processor forwards between all its root ports
 * @encrypted: system memory is encrypted, and CPU addresses may say so
 * @forwarded: packets that are redirected do reach the root complex
 * @accepts: payload that all devices on both legs accept, in bytes; 0: unknown
 * @turns: by packet
 * @legs: by device
 *
 * What can't matter for the others needn't be known: with no packet redirected,
 * neither @forwarded nor what the root complex does.
 */
struct p2pdma_facts {
	bool client_is_pci;
	bool same_function;
	bool shared_bridge;
	bool same_host_bridge;
	bool cpu_allows;
	bool encrypted;
	enum p2pdma_answer forwarded;
	unsigned int accepts;
	struct p2pdma_turn turns[P2PDMA_PACKETS];
	struct p2pdma_leg legs[P2PDMA_LEGS];
};

/**
 * struct p2pdma_verdict - what facts come to
 * @map_type: enum pci_p2pdma_map_type; never UNKNOWN
 * @directions: what the client may do, %P2PDMA_READ and %P2PDMA_WRITE
 * @reason: enum p2pdma_reason: what allows the route, or what limits it or
 *	refuses it
 * @blocking: packets, a bit each, that their turn keeps from going across
 * @distance: cost, less is better; meaningless where refused
 *
 * As large as a register: it is looked up for each I/O.
 */
struct p2pdma_verdict {
	u8 map_type;
	u8 directions;
	u8 reason;
	u8 blocking;
	u32 distance;
};

/* An option of the command line that would allow more than a verdict does */
enum p2pdma_fix {
	P2PDMA_FIX_NONE,
	P2PDMA_FIX_ACS,		/* no redirection at the turns */
	P2PDMA_FIX_MPS,		/* the same Max_Payload_Size everywhere */
};

/* Scatterlists, and callers that don't know the direction, need both. */
static inline bool p2pdma_allows_both(const struct p2pdma_verdict *verdict)
{
	return verdict->directions == P2PDMA_BOTH;
}

bool p2pdma_needs_root(const struct p2pdma_facts *facts);
u32 p2pdma_decide(const struct p2pdma_facts *facts,
		  struct p2pdma_verdict *verdict);
void p2pdma_refuse(struct p2pdma_verdict *verdict, enum p2pdma_reason reason);
enum p2pdma_fix p2pdma_find_fix(const struct p2pdma_facts *facts,
				const struct p2pdma_verdict *verdict);
const char *p2pdma_reason_name(enum p2pdma_reason reason);

#endif /* _DRIVERS_PCI_P2PDMA_DECIDE_H */
