/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: facts about two devices, and the verdict on them.
 *
 * Plain data without pointers, so that p2pdma_decide() also runs in user space:
 * this header and p2pdma_decide.c build there with the headers in tools/include
 * and an enum pci_p2pdma_map_type.
 *
 * A device is identified by its leg and by the number of links and bridges
 * between it and the end of the leg.
 */

#ifndef _DRIVERS_PCI_P2PDMA_DECIDE_H
#define _DRIVERS_PCI_P2PDMA_DECIDE_H

#include <linux/bits.h>
#include <linux/dma-map-ops.h>
#include <linux/p2pdma.h>
#include <linux/types.h>

#define P2PDMA_BOTH	(P2PDMA_READ | P2PDMA_WRITE)

/*
 * A leg: the path from one device, its end, up to the bridge that both devices
 * are below, or to the root bus if they share no bridge.  The last device of
 * the leg, the turn, is where packets of the two devices turn around.
 */
enum { P2PDMA_OWNER, P2PDMA_CLIENT, P2PDMA_LEGS };

/* Packets of a transfer, by class; each is judged at the turn of its sender's leg */
enum p2pdma_packet {
	P2PDMA_COMPLETION,	/* from the owner, for a read */
	P2PDMA_RELAXED,		/* the same, with Relaxed Ordering */
	P2PDMA_REQUEST,		/* from the client, untranslated */
	P2PDMA_TRANSLATED,	/* the same, translated by ATS */
	P2PDMA_PACKETS
};

#define P2PDMA_COMPLETIONS	(BIT(P2PDMA_COMPLETION) | BIT(P2PDMA_RELAXED))
#define P2PDMA_REQUESTS		(BIT(P2PDMA_REQUEST) | BIT(P2PDMA_TRANSLATED))

static inline unsigned int p2pdma_leg_of(enum p2pdma_packet packet)
{
	return BIT(packet) & P2PDMA_REQUESTS ? P2PDMA_CLIENT : P2PDMA_OWNER;
}

/* What happens to a packet at the turn, on its way to the other leg */
enum p2pdma_fate {
	P2PDMA_FATE_UNKNOWN,
	P2PDMA_DIRECT,		/* turns around */
	P2PDMA_REDIRECTED,	/* is sent up to the root complex */
	P2PDMA_BLOCKED,		/* is dropped */
};

enum p2pdma_answer { P2PDMA_UNKNOWN, P2PDMA_NO, P2PDMA_YES };

/**
 * struct p2pdma_turn - what the turn of its leg does to a packet
 * @fate: what happens to the packet
 * @hard_wired: no setting of ACS control makes @fate %P2PDMA_DIRECT
 */
struct p2pdma_turn {
	enum p2pdma_fate fate;
	bool hard_wired;
};

/**
 * struct p2pdma_leg - one of the two legs
 * @hops: number of devices on the leg; 0 if its end is the shared bridge itself
 * @payload: largest payload that its end sends in one packet, in bytes; 0
 *	without a limit, on a conventional bus
 * @root_payload: largest payload that its root port sends down, in bytes;
 *	%P2PDMA_NO_LIMIT if there is no root port; 0 if unknown
 * @root_accepts: payload that all devices from below the root port to the end
 *	accept, in bytes; %P2PDMA_NO_LIMIT if there are none; 0 if unknown
 * @host_directions: what its host bridge is known to forward, %P2PDMA_READ and
 *	%P2PDMA_WRITE
 * @host_admitted: @host_directions come from the administrator's list
 */
struct p2pdma_leg {
	unsigned int hops;
	u32 payload;
	u32 root_payload;
	u32 root_accepts;
	unsigned int host_directions;
	bool host_admitted;
};

/* Worst rank of a path between NUMA nodes */
#define P2PDMA_RANK_MAX	15

/**
 * struct p2pdma_facts - all facts that a verdict depends on
 * @client_is_pci: the client is a PCI device, or a child of one.  If not, no
 *	other fact is known.
 * @same_function: the client is the owner
 * @shared_bridge: client and owner are below a common bridge
 * @same_host_bridge: client and owner are below the same host bridge
 * @cpu_allows: the processor forwards between all its root ports
 * @encrypted: memory encryption is active, see p2pdma_memory_encrypted()
 * @bounced: the client's DMA goes through bounce buffers
 * @unreadable: a fact is unknown because config space couldn't be read
 * @ats: the client's ATS is enabled
 * @tlp_choice: the client's driver chooses the class of requests by itself
 * @tlp: the class that is asked about, PCI_P2PDMA_TLP_*
 * @mapped: addresses that the client's requests carry if the DMA API maps the
 *	owner's BARs, a bit of enum p2pdma_address each
 * @translations: addresses that ATS translates these to, likewise
 * @blocks_below: a port on the client's leg has Translation Blocking on
 * @blocks_above: the same, of ports above both devices
 * @ports_forward: all switch ports above both devices have Upstream Forwarding
 * @root_forwards: the root port above both devices accepts packets for its own
 *	link
 * @rank: rank of the path between the NUMA nodes of client and owner: 0, the
 *	best, to %P2PDMA_RANK_MAX; see p2pdma_hmat_rank()
 * @accepts: payload that all devices on both legs accept, in bytes; 0 if
 *	unknown
 * @turns: what the turns do, by packet.  Without a shared bridge the turn is the
 *	device on the root bus, and it makes no difference whether a packet turns
 *	around there or is redirected.
 * @legs: the legs, by device
 *
 * If both directions work without the root complex, facts about the root complex
 * and the way to it needn't be gathered.
 */
struct p2pdma_facts {
	bool client_is_pci;
	bool same_function;
	bool shared_bridge;
	bool same_host_bridge;
	bool cpu_allows;
	bool encrypted;
	bool bounced;
	bool unreadable;
	bool ats;
	bool tlp_choice;
	u8 tlp;
	u8 mapped;
	u8 translations;
	enum p2pdma_answer blocks_below;
	enum p2pdma_answer blocks_above;
	enum p2pdma_answer ports_forward;
	enum p2pdma_answer root_forwards;
	u8 rank;
	u32 accepts;
	struct p2pdma_turn turns[P2PDMA_PACKETS];
	struct p2pdma_leg legs[P2PDMA_LEGS];
};

/**
 * struct p2pdma_verdict - the verdict on a route
 * @map_type: enum pci_p2pdma_map_type; never UNKNOWN
 * @directions: what the client may do, %P2PDMA_READ and %P2PDMA_WRITE
 * @reason: enum p2pdma_reason: why the route is allowed, limited or refused
 * @blocking: packets, a bit each, that their turn redirects or drops
 * @distance: cost, less is better; meaningless if the route is refused
 *
 * Fits into a register, since it is looked up for each I/O.
 */
struct p2pdma_verdict {
	u8 map_type;
	u8 directions;
	u8 reason;
	u8 blocking;
	u32 distance;
};

/* Needed by scatterlists, and by callers that don't know the direction */
static inline bool p2pdma_allows_both(const struct p2pdma_verdict *verdict)
{
	return verdict->directions == P2PDMA_BOTH;
}

bool p2pdma_needs_root(const struct p2pdma_facts *facts);
u32 p2pdma_decide(const struct p2pdma_facts *facts,
		  struct p2pdma_verdict *verdict);
void p2pdma_refuse(struct p2pdma_verdict *verdict, enum p2pdma_reason reason);
enum p2pdma_reason p2pdma_first_reason(u32 reasons);
enum p2pdma_fix p2pdma_find_fix(const struct p2pdma_facts *facts,
				const struct p2pdma_verdict *verdict);
unsigned int p2pdma_classes(const struct p2pdma_facts *facts,
			    const struct p2pdma_verdict *verdict);
const char *p2pdma_reason_name(enum p2pdma_reason reason);

#endif /* _DRIVERS_PCI_P2PDMA_DECIDE_H */
