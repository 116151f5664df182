// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: from facts to a verdict.
 *
 * A write is one posted request from the client to the owner.  A read is a
 * non-posted request, and a completion that is routed back by the client's ID.
 * Each packet turns around below the bridge that both devices share, is
 * redirected up to the root complex, or is dropped.  The fates of the two
 * packets determine which directions work.
 *
 * The code depends on nothing but the facts, and has no state.
 */

#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/types.h>

#include "p2pdma_decide.h"

static const char * const p2pdma_slugs[] = {
	[P2PDMA_REASON_SAME_DEVICE]		= "same-device",
	[P2PDMA_REASON_SWITCH]			= "switch",
	[P2PDMA_REASON_CPU_ALLOWED]		= "cpu-allowed",
	[P2PDMA_REASON_HOST_BRIDGE_LISTED]	= "host-bridge-listed",
	[P2PDMA_REASON_ADMIN_ALLOWED]		= "admin-allowed",
	[P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED]	= "host-bridge-not-listed",
	[P2PDMA_REASON_ACS_REDIRECT]		= "acs-redirect",
	[P2PDMA_REASON_ACS_EGRESS]		= "acs-egress",
	[P2PDMA_REASON_MPS_MISMATCH]		= "mps-mismatch",
	[P2PDMA_REASON_DMA_MASK]		= "dma-mask",
	[P2PDMA_REASON_BAR_MOVED]		= "bar-moved",
	[P2PDMA_REASON_UNREADABLE]		= "unreadable",
	[P2PDMA_REASON_NOT_PCI]			= "not-pci",
	[P2PDMA_REASON_BOUNCED]			= "bounced",
	[P2PDMA_REASON_MEMORY_ENCRYPTED]	= "memory-encrypted",
	[P2PDMA_REASON_DMA_RANGES]		= "dma-ranges",
};

/* Each reason has a name, and a bit in a u32. */
static_assert(ARRAY_SIZE(p2pdma_slugs) == P2PDMA_REASON_MAX);
static_assert(P2PDMA_REASON_MAX <= 32);
static_assert(sizeof(struct p2pdma_verdict) == sizeof(u64));

/*
 * Distance: the class of a route counts most, then whether the route crosses
 * NUMA nodes, then its hops, at most 512.  The fields have room for the sums of
 * up to 63 clients, so that this order also holds for them.
 */
#define P2PDMA_DISTANCE_HOPS	GENMASK(9, 0)
#define P2PDMA_DISTANCE_NODE	BIT(16)
#define P2PDMA_DISTANCE_CLASS	GENMASK(23, 22)

enum { P2PDMA_CLASS_SWITCH, P2PDMA_CLASS_HOST_BRIDGE, P2PDMA_CLASS_HOST_BRIDGES };

/**
 * p2pdma_reason_name - name of a reason
 * @reason: as in struct p2pdma_route
 *
 * Context: any.
 * Return: a short constant string, such as "acs-redirect", the same in the
 * kernel log and in all interfaces; "unknown" if there is no such reason.
 */
const char *p2pdma_reason_name(enum p2pdma_reason reason)
{
	return reason < P2PDMA_REASON_MAX ? p2pdma_slugs[reason] : "unknown";
}
EXPORT_SYMBOL_GPL(p2pdma_reason_name);

static unsigned int p2pdma_count(unsigned int directions)
{
	return !!(directions & P2PDMA_READ) + !!(directions & P2PDMA_WRITE);
}

static bool p2pdma_any_fate(const struct p2pdma_facts *facts,
			    enum p2pdma_fate fate)
{
	return facts->turns[P2PDMA_REQUEST].fate == fate ||
	       facts->turns[P2PDMA_COMPLETION].fate == fate;
}

/**
 * p2pdma_needs_root - is a packet sent up to the root complex?
 * @facts: facts, with the turns filled in
 *
 * Context: any.
 * Return: true if a packet is sent up, even if it doesn't arrive.
 */
bool p2pdma_needs_root(const struct p2pdma_facts *facts)
{
	return !facts->shared_bridge ||
	       p2pdma_any_fate(facts, P2PDMA_REDIRECTED);
}

static bool p2pdma_unknown(const struct p2pdma_facts *facts)
{
	return p2pdma_any_fate(facts, P2PDMA_FATE_UNKNOWN) || !facts->accepts ||
	       (p2pdma_needs_root(facts) &&
		facts->forwarded == P2PDMA_UNKNOWN);
}

/*
 * A write's request and a read's completion carry payload.  A receiver treats a
 * packet with more than its Max_Payload_Size as malformed.
 */
static bool p2pdma_fits(const struct p2pdma_facts *facts,
			enum p2pdma_packet packet)
{
	return facts->legs[p2pdma_leg_of(packet)].payload <= facts->accepts;
}

/* Directions that the root complex forwards between these devices */
static unsigned int p2pdma_root_directions(const struct p2pdma_facts *facts,
					   enum p2pdma_reason *reason)
{
	const struct p2pdma_leg *from = &facts->legs[P2PDMA_CLIENT];
	const struct p2pdma_leg *to = &facts->legs[P2PDMA_OWNER];

	if (facts->cpu_allows) {
		*reason = P2PDMA_REASON_CPU_ALLOWED;
		return P2PDMA_BOTH;
	}
	*reason = from->host_admitted || to->host_admitted ?
			P2PDMA_REASON_ADMIN_ALLOWED :
			P2PDMA_REASON_HOST_BRIDGE_LISTED;
	return from->host_directions & to->host_directions;
}

static u32 p2pdma_distance(const struct p2pdma_facts *facts, bool through_root)
{
	const struct p2pdma_leg *from = &facts->legs[P2PDMA_CLIENT];
	const struct p2pdma_leg *to = &facts->legs[P2PDMA_OWNER];
	u32 class = !through_root ? P2PDMA_CLASS_SWITCH :
		    facts->same_host_bridge ? P2PDMA_CLASS_HOST_BRIDGE :
					      P2PDMA_CLASS_HOST_BRIDGES;
	bool other_node = from->node != to->node && from->node >= 0 &&
			  to->node >= 0;

	return FIELD_PREP(P2PDMA_DISTANCE_CLASS, class) |
	       FIELD_PREP(P2PDMA_DISTANCE_NODE, other_node) |
	       FIELD_PREP(P2PDMA_DISTANCE_HOPS, from->hops + to->hops);
}

/* Directions that work without the root complex */
static unsigned int p2pdma_direct(const struct p2pdma_facts *facts)
{
	unsigned int directions = 0;

	if (!facts->shared_bridge ||
	    facts->turns[P2PDMA_REQUEST].fate != P2PDMA_DIRECT)
		return 0;

	if (p2pdma_fits(facts, P2PDMA_REQUEST))
		directions |= P2PDMA_WRITE;
	if (facts->turns[P2PDMA_COMPLETION].fate == P2PDMA_DIRECT &&
	    p2pdma_fits(facts, P2PDMA_COMPLETION))
		directions |= P2PDMA_READ;
	return directions;
}

/* Directions that work through a root complex that forwards @root */
static unsigned int p2pdma_through(const struct p2pdma_facts *facts,
				   unsigned int root)
{
	const enum p2pdma_fate request = facts->turns[P2PDMA_REQUEST].fate;
	const enum p2pdma_fate completion = facts->turns[P2PDMA_COMPLETION].fate;
	unsigned int directions = 0;

	if (!facts->shared_bridge)
		return root;
	if (!p2pdma_needs_root(facts) || facts->forwarded != P2PDMA_YES)
		return 0;

	/* Request and completion may take different paths. */
	if (request == P2PDMA_REDIRECTED)
		directions |= root & P2PDMA_WRITE;
	else if (request == P2PDMA_DIRECT && p2pdma_fits(facts, P2PDMA_REQUEST))
		directions |= P2PDMA_WRITE;
	if (request != P2PDMA_BLOCKED &&
	    (completion == P2PDMA_REDIRECTED ||
	     p2pdma_fits(facts, P2PDMA_COMPLETION)))
		directions |= root & P2PDMA_READ;
	return directions;
}

/* All reasons why a direction doesn't work, a bit each */
static u32 p2pdma_against(const struct p2pdma_facts *facts, unsigned int root)
{
	bool root_refuses = root != P2PDMA_BOTH;
	enum p2pdma_packet packet;
	u32 against = 0;

	if (!facts->client_is_pci)
		return BIT(P2PDMA_REASON_NOT_PCI);

	if (p2pdma_unknown(facts))
		against |= BIT(P2PDMA_REASON_UNREADABLE);
	if (p2pdma_needs_root(facts) && facts->encrypted)
		against |= BIT(P2PDMA_REASON_MEMORY_ENCRYPTED);
	if (!facts->shared_bridge)
		return against |
		       (root_refuses ? BIT(P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED) :
				       0);

	for (packet = 0; packet < P2PDMA_PACKETS; packet++) {
		if (facts->turns[packet].fate == P2PDMA_BLOCKED)
			against |= BIT(P2PDMA_REASON_ACS_EGRESS);
		else if (facts->turns[packet].fate == P2PDMA_REDIRECTED &&
			 (root_refuses || facts->forwarded == P2PDMA_NO))
			against |= BIT(P2PDMA_REASON_ACS_REDIRECT);
		else if (facts->turns[packet].fate == P2PDMA_DIRECT &&
			 !p2pdma_fits(facts, packet))
			against |= BIT(P2PDMA_REASON_MPS_MISMATCH);
	}
	return against;
}

/* The reason to report for a route that is limited or refused by its path */
static enum p2pdma_reason p2pdma_obstacle(const struct p2pdma_facts *facts)
{
	if (!facts->shared_bridge)
		return P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED;
	if (facts->turns[P2PDMA_REQUEST].fate == P2PDMA_BLOCKED)
		return P2PDMA_REASON_ACS_EGRESS;
	return p2pdma_needs_root(facts) ? P2PDMA_REASON_ACS_REDIRECT :
					  P2PDMA_REASON_MPS_MISMATCH;
}

/**
 * p2pdma_refuse - turn a verdict into a refusal
 * @verdict: the verdict; its distance and blocked packets are unchanged
 * @reason: reason of the refusal
 *
 * Context: any.
 */
void p2pdma_refuse(struct p2pdma_verdict *verdict, enum p2pdma_reason reason)
{
	verdict->map_type = PCI_P2PDMA_MAP_NOT_SUPPORTED;
	verdict->directions = 0;
	verdict->reason = reason;
}

static void p2pdma_allow(struct p2pdma_verdict *verdict,
			 enum p2pdma_reason reason,
			 enum pci_p2pdma_map_type map_type,
			 unsigned int directions)
{
	verdict->map_type = map_type;
	verdict->directions = directions;
	verdict->reason = reason;
}

/**
 * p2pdma_decide - may a client reach an owner's memory, and how?
 * @facts: facts about client and owner
 * @verdict: where to store the verdict
 *
 * Context: any.
 * Return: all reasons why a direction doesn't work, a bit each, of which
 * @verdict has one; 0 if both directions work.
 */
u32 p2pdma_decide(const struct p2pdma_facts *facts,
		  struct p2pdma_verdict *verdict)
{
	enum p2pdma_reason root_reason, obstacle = p2pdma_obstacle(facts);
	unsigned int root = p2pdma_root_directions(facts, &root_reason);
	unsigned int direct = p2pdma_direct(facts);
	unsigned int through = p2pdma_through(facts, root);
	enum p2pdma_packet packet;

	*verdict = (struct p2pdma_verdict) { };
	for (packet = 0; packet < P2PDMA_PACKETS; packet++) {
		if (facts->turns[packet].fate == P2PDMA_REDIRECTED ||
		    facts->turns[packet].fate == P2PDMA_BLOCKED)
			verdict->blocking |= BIT(packet);
	}

	/*
	 * For packets through the root complex, the DMA API or the IOMMU's
	 * entries take the BAR for encrypted memory.  Packets that turn around
	 * below it carry the BAR's bus address.
	 */
	if (facts->encrypted && p2pdma_count(through) > p2pdma_count(direct)) {
		through = 0;
		obstacle = P2PDMA_REASON_MEMORY_ENCRYPTED;
	}

	if (!facts->client_is_pci)
		p2pdma_refuse(verdict, P2PDMA_REASON_NOT_PCI);
	else if (facts->same_function)
		p2pdma_allow(verdict, P2PDMA_REASON_SAME_DEVICE,
			     PCI_P2PDMA_MAP_BUS_ADDR, P2PDMA_BOTH);
	else if (p2pdma_unknown(facts))
		p2pdma_refuse(verdict, P2PDMA_REASON_UNREADABLE);
	else if (p2pdma_count(through) > p2pdma_count(direct))
		/* The direct path is preferred if it allows as much. */
		p2pdma_allow(verdict, through == root ? root_reason :
			     P2PDMA_REASON_MPS_MISMATCH,
			     PCI_P2PDMA_MAP_THRU_HOST_BRIDGE, through);
	else if (direct)
		p2pdma_allow(verdict, direct == P2PDMA_BOTH ?
			     P2PDMA_REASON_SWITCH : obstacle,
			     PCI_P2PDMA_MAP_BUS_ADDR, direct);
	else
		p2pdma_refuse(verdict, obstacle);

	verdict->distance = p2pdma_distance(facts, verdict->map_type ==
					    PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	return p2pdma_allows_both(verdict) ? 0 : p2pdma_against(facts, root);
}

/**
 * p2pdma_find_fix - find a command line option that would allow more directions
 * @facts: facts about client and owner
 * @verdict: the verdict of p2pdma_decide() on @facts
 *
 * Context: any.
 * Return: the option, or %P2PDMA_FIX_NONE if none helps.
 */
enum p2pdma_fix p2pdma_find_fix(const struct p2pdma_facts *facts,
				const struct p2pdma_verdict *verdict)
{
	struct p2pdma_facts changed = *facts;
	enum p2pdma_packet packet;
	struct p2pdma_verdict other;

	if (!facts->client_is_pci || p2pdma_unknown(facts))
		return P2PDMA_FIX_NONE;

	for (packet = 0; packet < P2PDMA_PACKETS; packet++) {
		if (!facts->turns[packet].hard_wired)
			changed.turns[packet].fate = P2PDMA_DIRECT;
	}
	p2pdma_decide(&changed, &other);
	if (p2pdma_count(other.directions) > p2pdma_count(verdict->directions))
		return P2PDMA_FIX_ACS;

	changed = *facts;
	changed.accepts = ~0U;
	p2pdma_decide(&changed, &other);
	if (p2pdma_count(other.directions) > p2pdma_count(verdict->directions))
		return P2PDMA_FIX_MPS;
	return P2PDMA_FIX_NONE;
}
