// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: from facts to a verdict.
 *
 * A write is one posted request from the client to the owner.  A read is a
 * non-posted request, and a completion that is routed back by the client's ID.
 * Each packet turns around below the bridge that both devices share, is
 * redirected up to the root complex, or is dropped; which of these depends on
 * its class (PCIe Base Specification 6.0, section 6.12.3).  There are two ways:
 *
 *   direct	the client gets bus addresses, and all packets turn around
 *   mapped	the client gets addresses from the DMA API, and packets arrive
 *		through the root complex or otherwise
 *
 * The packets of each way are followed for each direction, and the way with more
 * directions is taken.  What isn't known about one of them makes the answer
 * unknown, unless something else that is known decides.
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
	[P2PDMA_REASON_ADDRESS_TAKEN]		= "address-taken",
	[P2PDMA_REASON_ACS_FORWARDING]		= "acs-forwarding",
	[P2PDMA_REASON_ACS_TRANSLATION_BLOCKING] = "acs-translation-blocking",
	[P2PDMA_REASON_ATS]			= "ats",
	[P2PDMA_REASON_ATS_OFF]			= "ats-off",
	[P2PDMA_REASON_UNKNOWN]			= "unknown",
};

/* Each reason has a name, and a bit in a u32. */
static_assert(ARRAY_SIZE(p2pdma_slugs) == P2PDMA_REASON_MAX);
static_assert(P2PDMA_REASON_MAX <= 32);
static_assert(sizeof(struct p2pdma_verdict) == sizeof(u64));

/*
 * Reasons against a route, from the first to mend to the last: first those that
 * make others uncertain, last those whose mend is a risk, or other hardware.
 */
static const u8 p2pdma_order[] = {
	P2PDMA_REASON_NOT_PCI,
	P2PDMA_REASON_UNREADABLE,
	P2PDMA_REASON_UNKNOWN,
	P2PDMA_REASON_BAR_MOVED,
	P2PDMA_REASON_BOUNCED,
	P2PDMA_REASON_ATS_OFF,
	P2PDMA_REASON_MEMORY_ENCRYPTED,
	P2PDMA_REASON_DMA_RANGES,
	P2PDMA_REASON_ADDRESS_TAKEN,
	P2PDMA_REASON_ACS_EGRESS,
	P2PDMA_REASON_ACS_TRANSLATION_BLOCKING,
	P2PDMA_REASON_ATS,
	P2PDMA_REASON_ACS_REDIRECT,
	P2PDMA_REASON_ACS_FORWARDING,
	P2PDMA_REASON_MPS_MISMATCH,
	P2PDMA_REASON_DMA_MASK,
	P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED,
};

/*
 * Distance: the kind of a route counts most, then the rank of the path between
 * the NUMA nodes, then its hops; more than 127 count as 127.  The fields have
 * room for the sums of up to 63 clients, so that this order also holds for them.
 */
#define P2PDMA_DISTANCE_HOPS	GENMASK(6, 0)
#define P2PDMA_DISTANCE_RANK	GENMASK(16, 13)
#define P2PDMA_DISTANCE_KIND	GENMASK(24, 23)
#define P2PDMA_DISTANCE_SUM(distance)	((distance) * 63UL)

enum { P2PDMA_KIND_SWITCH, P2PDMA_KIND_HOST_BRIDGE, P2PDMA_KIND_HOST_BRIDGES };

static_assert(P2PDMA_RANK_MAX << 13 == P2PDMA_DISTANCE_RANK);
static_assert(P2PDMA_DISTANCE_SUM(P2PDMA_DISTANCE_HOPS) < BIT(13));
static_assert(P2PDMA_DISTANCE_SUM(P2PDMA_DISTANCE_HOPS |
				  P2PDMA_DISTANCE_RANK) < BIT(23));
static_assert(P2PDMA_DISTANCE_SUM(P2PDMA_DISTANCE_HOPS | P2PDMA_DISTANCE_RANK |
				  P2PDMA_KIND_HOST_BRIDGES << 23) < BIT(31));

/**
 * p2pdma_reason_name - name of a reason
 * @reason: as in struct p2pdma_route
 *
 * Context: any.
 * Return: a short constant string, such as "acs-redirect", the same in the
 * kernel log and in all interfaces; "none" if there is no such reason.
 */
const char *p2pdma_reason_name(enum p2pdma_reason reason)
{
	return reason < P2PDMA_REASON_MAX ? p2pdma_slugs[reason] : "none";
}
EXPORT_SYMBOL_GPL(p2pdma_reason_name);

/**
 * p2pdma_first_reason - the one of several reasons to mend first
 * @reasons: reasons against a route, a bit each
 *
 * Context: any.
 * Return: the reason; %P2PDMA_REASON_MAX if @reasons is 0.
 */
enum p2pdma_reason p2pdma_first_reason(u32 reasons)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(p2pdma_order); i++) {
		if (reasons & BIT(p2pdma_order[i]))
			return p2pdma_order[i];
	}
	return P2PDMA_REASON_MAX;
}

static unsigned int p2pdma_count(unsigned int directions)
{
	return !!(directions & P2PDMA_READ) + !!(directions & P2PDMA_WRITE);
}

/* ---- Facts in other words ---- */

/*
 * Does the client translate by itself, whatever address it gets?  Then a bus
 * address is useless: the IOMMU wouldn't know it.
 */
static bool p2pdma_always_translates(const struct p2pdma_facts *facts)
{
	return facts->ats && !facts->tlp_choice &&
	       !(facts->tlp & PCI_P2PDMA_TLP_TRANSLATED);
}

/* Does the client send Translated Requests? */
static bool p2pdma_translates(const struct p2pdma_facts *facts)
{
	return p2pdma_always_translates(facts) ||
	       facts->tlp & PCI_P2PDMA_TLP_TRANSLATED;
}

/* Packets that are sent if the client gets a bus address, a bit each */
static u8 p2pdma_packets(const struct p2pdma_facts *facts)
{
	return (p2pdma_translates(facts) ? BIT(P2PDMA_TRANSLATED) :
					   BIT(P2PDMA_REQUEST)) |
	       (facts->tlp & PCI_P2PDMA_TLP_RELAXED_CPL ? BIT(P2PDMA_RELAXED) :
							  P2PDMA_COMPLETIONS);
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
	u32 kind = !through_root ? P2PDMA_KIND_SWITCH :
		    facts->same_host_bridge ? P2PDMA_KIND_HOST_BRIDGE :
					      P2PDMA_KIND_HOST_BRIDGES;
	u32 hops = min_t(u32, from->hops + to->hops,
			 FIELD_MAX(P2PDMA_DISTANCE_HOPS));

	return FIELD_PREP(P2PDMA_DISTANCE_KIND, kind) |
	       FIELD_PREP(P2PDMA_DISTANCE_RANK, facts->rank) |
	       FIELD_PREP(P2PDMA_DISTANCE_HOPS, hops);
}

/* ---- The packets of one direction ---- */

/*
 * One direction by one way: does it work, and if not, why.  Starts with YES; each
 * condition can only make it worse.
 */
struct p2pdma_outcome {
	enum p2pdma_answer answer;
	u32 against;		/* reasons, a bit each */
};

static void p2pdma_require(struct p2pdma_outcome *outcome,
			   enum p2pdma_answer answer, enum p2pdma_reason reason)
{
	if (answer == P2PDMA_YES)
		return;
	if (answer == P2PDMA_UNKNOWN)
		reason = P2PDMA_REASON_UNKNOWN;
	outcome->against |= BIT(reason);
	if (outcome->answer != P2PDMA_NO)
		outcome->answer = answer;
}

static enum p2pdma_answer p2pdma_yes_if(bool yes)
{
	return yes ? P2PDMA_YES : P2PDMA_NO;
}

static enum p2pdma_answer p2pdma_not(enum p2pdma_answer answer)
{
	return answer == P2PDMA_UNKNOWN ? P2PDMA_UNKNOWN :
	       p2pdma_yes_if(answer == P2PDMA_NO);
}

/*
 * A receiver treats a packet with more than its Max_Payload_Size as malformed
 * (section 2.2.2).  @from sends, and all devices on both legs receive.
 */
static void p2pdma_require_fit(struct p2pdma_outcome *outcome,
			       const struct p2pdma_facts *facts,
			       unsigned int from)
{
	p2pdma_require(outcome, !facts->accepts ? P2PDMA_UNKNOWN :
		       p2pdma_yes_if(facts->legs[from].payload <= facts->accepts),
		       P2PDMA_REASON_MPS_MISMATCH);
}

/*
 * The packet comes down from the root complex to the other end.  The root port
 * sends no more than its own Max_Payload_Size.  That may be more than a device
 * below it accepts (pci=pcie_bus_perf), since the kernel then only limits what
 * such a device reads from memory.
 */
static void p2pdma_require_root_fit(struct p2pdma_outcome *outcome,
				    const struct p2pdma_facts *facts,
				    unsigned int from)
{
	const struct p2pdma_leg *to = &facts->legs[!from];
	u32 payload = facts->legs[from].payload;
	enum p2pdma_answer fits = P2PDMA_UNKNOWN;

	if (to->root_payload && to->root_accepts) {
		payload = payload ?: P2PDMA_NO_LIMIT;
		if (min(payload, to->root_payload) <= to->root_accepts)
			fits = P2PDMA_YES;
		else if (facts->legs[from].payload != P2PDMA_NO_LIMIT)
			fits = P2PDMA_NO;
	}
	p2pdma_require(outcome, fits, P2PDMA_REASON_MPS_MISMATCH);
}

/* The root complex forwards packets of @direction. */
static void p2pdma_require_root(struct p2pdma_outcome *outcome,
				const struct p2pdma_facts *facts,
				unsigned int direction)
{
	enum p2pdma_reason reason;
	unsigned int root = p2pdma_root_directions(facts, &reason);

	p2pdma_require(outcome, p2pdma_yes_if(root & direction),
		       P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED);
	/* It leaves by the root port that it came from. */
	if (facts->shared_bridge)
		p2pdma_require(outcome, facts->root_forwards,
			       P2PDMA_REASON_ACS_FORWARDING);
}

/* The packet isn't dropped at the turn, and turns around there if @direct. */
static void p2pdma_require_turn(struct p2pdma_outcome *outcome,
				const struct p2pdma_facts *facts,
				enum p2pdma_packet packet, bool direct)
{
	switch (facts->turns[packet].fate) {
	case P2PDMA_FATE_UNKNOWN:
		p2pdma_require(outcome, P2PDMA_UNKNOWN, P2PDMA_REASON_UNKNOWN);
		break;
	case P2PDMA_BLOCKED:
		p2pdma_require(outcome, P2PDMA_NO, P2PDMA_REASON_ACS_EGRESS);
		break;
	case P2PDMA_REDIRECTED:
		p2pdma_require(outcome, p2pdma_yes_if(!direct),
			       P2PDMA_REASON_ACS_REDIRECT);
		break;
	case P2PDMA_DIRECT:
		break;
	}
}

/* Translation Blocking, section 6.12.1.1, at all ports up to the root or the turn */
static void p2pdma_require_translation(struct p2pdma_outcome *outcome,
				       const struct p2pdma_facts *facts,
				       bool root)
{
	p2pdma_require(outcome, p2pdma_not(facts->blocks_below),
		       P2PDMA_REASON_ACS_TRANSLATION_BLOCKING);
	if (root)
		p2pdma_require(outcome, p2pdma_not(facts->blocks_above),
			       P2PDMA_REASON_ACS_TRANSLATION_BLOCKING);
}

/*
 * A client asks for the translation of an address by a request with that address.
 * If it is the owner's bus address, only a redirection brings it to the IOMMU; for
 * the rest of the way it is like an untranslated request.
 */
static void p2pdma_require_asking(struct p2pdma_outcome *outcome,
				  const struct p2pdma_facts *facts)
{
	p2pdma_require_translation(outcome, facts, true);
	if (facts->shared_bridge &&
	    facts->mapped & BIT(P2PDMA_SAME_ADDRESS) &&
	    facts->turns[P2PDMA_REQUEST].fate == P2PDMA_DIRECT)
		p2pdma_require(outcome, P2PDMA_NO, P2PDMA_REASON_ATS);
}

/* A packet that is routed by a bus address or an ID, and goes up if redirected */
static void p2pdma_require_arrival(struct p2pdma_outcome *outcome,
				   const struct p2pdma_facts *facts,
				   enum p2pdma_packet packet,
				   unsigned int direction, bool payload)
{
	unsigned int from = p2pdma_leg_of(packet);

	p2pdma_require_turn(outcome, facts, packet, false);
	if (facts->shared_bridge &&
	    facts->turns[packet].fate != P2PDMA_REDIRECTED) {
		if (payload && facts->turns[packet].fate == P2PDMA_DIRECT)
			p2pdma_require_fit(outcome, facts, from);
		return;
	}

	p2pdma_require_root(outcome, facts, direction);
	/* A shared switch port gets it from its link, and for its link. */
	if (facts->shared_bridge)
		p2pdma_require(outcome, facts->ports_forward,
			       P2PDMA_REASON_ACS_FORWARDING);
	if (payload)
		p2pdma_require_root_fit(outcome, facts, from);
}

/* A request to an address from the DMA API, or to its translation */
static void p2pdma_require_mapped(struct p2pdma_outcome *outcome,
				  const struct p2pdma_facts *facts,
				  enum p2pdma_packet packet, u8 addresses,
				  unsigned int direction)
{
	bool payload = direction == P2PDMA_WRITE;

	if (!addresses)
		p2pdma_require(outcome, P2PDMA_UNKNOWN, P2PDMA_REASON_UNKNOWN);
	if (addresses & BIT(P2PDMA_UNKNOWN_ADDRESS))
		p2pdma_require(outcome, P2PDMA_NO, P2PDMA_REASON_DMA_RANGES);
	if (addresses & BIT(P2PDMA_TAKEN_ADDRESS))
		p2pdma_require(outcome, P2PDMA_NO, P2PDMA_REASON_ADDRESS_TAKEN);
	if (addresses & BIT(P2PDMA_SAME_ADDRESS))
		p2pdma_require_arrival(outcome, facts, packet, direction,
				       payload);
	/* No port takes it for peer traffic, except a root port. */
	if (addresses & (BIT(P2PDMA_IOVA) | BIT(P2PDMA_CPU_ADDRESS))) {
		if (!facts->shared_bridge)
			p2pdma_require_turn(outcome, facts, packet, false);
		p2pdma_require_root(outcome, facts, direction);
		if (payload)
			p2pdma_require_root_fit(outcome, facts, P2PDMA_CLIENT);
	}
}

/* ---- The two ways ---- */

static struct p2pdma_outcome p2pdma_direct(const struct p2pdma_facts *facts,
					   unsigned int direction)
{
	struct p2pdma_outcome outcome = { P2PDMA_YES };
	u8 packets = p2pdma_packets(facts);
	enum p2pdma_packet packet;

	if (!facts->shared_bridge) {
		outcome.answer = P2PDMA_NO;	/* what stops the other way counts */
		return outcome;
	}
	p2pdma_require(&outcome, p2pdma_yes_if(!p2pdma_always_translates(facts)),
		       P2PDMA_REASON_ATS);
	if (p2pdma_translates(facts))
		p2pdma_require_translation(&outcome, facts, false);

	if (direction == P2PDMA_WRITE)
		packets &= P2PDMA_REQUESTS;
	for (packet = 0; packet < P2PDMA_PACKETS; packet++) {
		if (packets & BIT(packet))
			p2pdma_require_turn(&outcome, facts, packet, true);
	}
	p2pdma_require_fit(&outcome, facts, direction == P2PDMA_WRITE ?
			   P2PDMA_CLIENT : P2PDMA_OWNER);
	return outcome;
}

static struct p2pdma_outcome p2pdma_mapped(const struct p2pdma_facts *facts,
					   unsigned int direction)
{
	struct p2pdma_outcome outcome = { P2PDMA_YES };
	u8 packets = p2pdma_packets(facts);

	/*
	 * The DMA API or the IOMMU's entries take the BAR for encrypted memory,
	 * so that packets go to another address.
	 */
	p2pdma_require(&outcome, p2pdma_yes_if(!facts->encrypted),
		       P2PDMA_REASON_MEMORY_ENCRYPTED);

	/* Even with ATS, a client may send requests that aren't translated. */
	p2pdma_require_mapped(&outcome, facts, P2PDMA_REQUEST, facts->mapped,
			      direction);
	if (p2pdma_translates(facts)) {
		p2pdma_require_asking(&outcome, facts);
		p2pdma_require_mapped(&outcome, facts, P2PDMA_TRANSLATED,
				      facts->translations, direction);
	}

	if (direction == P2PDMA_WRITE)
		return outcome;
	if (packets & BIT(P2PDMA_COMPLETION))
		p2pdma_require_arrival(&outcome, facts, P2PDMA_COMPLETION,
				       direction, true);
	p2pdma_require_arrival(&outcome, facts, P2PDMA_RELAXED, direction, true);
	return outcome;
}

/* Directions by both ways, and what stands against the others */
struct p2pdma_ways {
	u8 direct[P2PDMA_YES + 1];	/* directions, by answer */
	u8 mapped[P2PDMA_YES + 1];
	u32 against[P2PDMA_BOTH + 1];	/* reasons of both ways, by direction */
};

static void p2pdma_try(const struct p2pdma_facts *facts, unsigned int direction,
		       struct p2pdma_ways *ways)
{
	struct p2pdma_outcome direct = p2pdma_direct(facts, direction);
	struct p2pdma_outcome mapped = p2pdma_mapped(facts, direction);

	ways->direct[direct.answer] |= direction;
	ways->mapped[mapped.answer] |= direction;
	ways->against[direction] = direct.against | mapped.against;
}

/**
 * p2pdma_needs_root - does a verdict depend on the way to the root complex?
 * @facts: all facts but those about the root complex and the way to it
 *
 * Context: any.
 * Return: false if both directions work without the root complex.
 */
bool p2pdma_needs_root(const struct p2pdma_facts *facts)
{
	return p2pdma_direct(facts, P2PDMA_READ).answer != P2PDMA_YES ||
	       p2pdma_direct(facts, P2PDMA_WRITE).answer != P2PDMA_YES;
}

static void p2pdma_try_both(const struct p2pdma_facts *facts,
			    struct p2pdma_ways *ways)
{
	*ways = (struct p2pdma_ways) { };
	if (!p2pdma_needs_root(facts)) {
		ways->direct[P2PDMA_YES] = P2PDMA_BOTH;
		return;
	}
	p2pdma_try(facts, P2PDMA_READ, ways);
	p2pdma_try(facts, P2PDMA_WRITE, ways);
}

/* The directions of the better way; @mapped says which, direct if both allow as much */
static unsigned int p2pdma_best(const struct p2pdma_ways *ways, bool *mapped)
{
	*mapped = p2pdma_count(ways->mapped[P2PDMA_YES]) >
		  p2pdma_count(ways->direct[P2PDMA_YES]);
	return *mapped ? ways->mapped[P2PDMA_YES] : ways->direct[P2PDMA_YES];
}

/* Could what isn't known change the better way or its directions? */
static bool p2pdma_unknown(const struct p2pdma_ways *ways)
{
	u8 direct = ways->direct[P2PDMA_UNKNOWN];
	u8 mapped = ways->mapped[P2PDMA_UNKNOWN];

	return (direct && p2pdma_count(direct | ways->direct[P2PDMA_YES]) >=
			  p2pdma_count(ways->mapped[P2PDMA_YES])) ||
	       (mapped && p2pdma_count(mapped | ways->mapped[P2PDMA_YES]) >
			  p2pdma_count(ways->direct[P2PDMA_YES]));
}

/* ---- What would help ---- */

/* The facts after @reason was mended */
static void p2pdma_mend(struct p2pdma_facts *facts, enum p2pdma_reason reason)
{
	enum p2pdma_packet packet;
	unsigned int i;

	switch (reason) {
	case P2PDMA_REASON_ACS_REDIRECT:
	case P2PDMA_REASON_ACS_EGRESS:
		for (packet = 0; packet < P2PDMA_PACKETS; packet++) {
			if (!facts->turns[packet].hard_wired &&
			    facts->turns[packet].fate != P2PDMA_FATE_UNKNOWN)
				facts->turns[packet].fate = P2PDMA_DIRECT;
		}
		break;
	case P2PDMA_REASON_ACS_FORWARDING:
		facts->ports_forward = P2PDMA_YES;
		facts->root_forwards = P2PDMA_YES;
		break;
	case P2PDMA_REASON_ACS_TRANSLATION_BLOCKING:
		facts->blocks_below = P2PDMA_NO;
		facts->blocks_above = P2PDMA_NO;
		break;
	case P2PDMA_REASON_ATS:
		facts->ats = false;
		break;
	case P2PDMA_REASON_MPS_MISMATCH:
		facts->accepts = P2PDMA_NO_LIMIT;
		for (i = 0; i < P2PDMA_LEGS; i++)
			facts->legs[i].root_accepts = P2PDMA_NO_LIMIT;
		break;
	case P2PDMA_REASON_MEMORY_ENCRYPTED:
		facts->encrypted = false;
		break;
	case P2PDMA_REASON_DMA_RANGES:
	case P2PDMA_REASON_ADDRESS_TAKEN:
		facts->mapped = BIT(P2PDMA_IOVA);
		facts->translations = BIT(P2PDMA_CPU_ADDRESS);
		break;
	default:
		/* Vouching for a host bridge isn't a mend, but a last resort. */
		break;
	}
}

/* Would mending @reason alone allow more than @directions? */
static bool p2pdma_mend_helps(const struct p2pdma_facts *facts,
			      enum p2pdma_reason reason, unsigned int directions)
{
	struct p2pdma_facts mended = *facts;
	struct p2pdma_ways ways;
	bool mapped;

	p2pdma_mend(&mended, reason);
	p2pdma_try_both(&mended, &ways);
	return p2pdma_count(p2pdma_best(&ways, &mapped)) >
	       p2pdma_count(directions);
}

/* The reason in front: the first one whose mend helps by itself */
static enum p2pdma_reason p2pdma_front(const struct p2pdma_facts *facts,
				       u32 against, unsigned int directions)
{
	unsigned int i;
	u32 known;

	for (i = 0; i < ARRAY_SIZE(p2pdma_order); i++) {
		if (against & BIT(p2pdma_order[i]) &&
		    p2pdma_mend_helps(facts, p2pdma_order[i], directions))
			return p2pdma_order[i];
	}
	/* Here it is sure that the route is refused, whatever isn't known. */
	known = against & ~(BIT(P2PDMA_REASON_UNKNOWN) |
			    BIT(P2PDMA_REASON_UNREADABLE));
	return p2pdma_first_reason(known ?: against);
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
	static const struct {
		enum p2pdma_reason reason;
		enum p2pdma_fix fix;
	} fixes[] = {
		{ P2PDMA_REASON_ACS_REDIRECT, P2PDMA_FIX_ACS },
		{ P2PDMA_REASON_MPS_MISMATCH, P2PDMA_FIX_MPS },
		{ P2PDMA_REASON_ATS, P2PDMA_FIX_ATS },
	};
	unsigned int i;

	if (verdict->reason == P2PDMA_REASON_NOT_PCI ||
	    verdict->reason == P2PDMA_REASON_UNREADABLE ||
	    verdict->reason == P2PDMA_REASON_UNKNOWN ||
	    verdict->reason == P2PDMA_REASON_BOUNCED)
		return P2PDMA_FIX_NONE;

	for (i = 0; i < ARRAY_SIZE(fixes); i++) {
		if (p2pdma_mend_helps(facts, fixes[i].reason,
				      verdict->directions))
			return fixes[i].fix;
	}
	return P2PDMA_FIX_NONE;
}

/* ---- The verdict ---- */

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

/* Packets that their turn redirects or drops, a bit each */
static u8 p2pdma_blocking(const struct p2pdma_facts *facts)
{
	u8 blocking = p2pdma_packets(facts);
	enum p2pdma_packet packet;

	for (packet = 0; packet < P2PDMA_PACKETS; packet++) {
		if (facts->turns[packet].fate != P2PDMA_BLOCKED &&
		    !(facts->turns[packet].fate == P2PDMA_REDIRECTED &&
		      facts->shared_bridge))
			blocking &= ~BIT(packet);
	}
	return blocking;
}

/* Allow what one of the ways allows, or refuse; return all reasons against more */
static u32 p2pdma_choose(const struct p2pdma_facts *facts,
			 struct p2pdma_verdict *verdict)
{
	unsigned int root, missing, directions;
	enum p2pdma_reason reason;
	struct p2pdma_ways ways;
	bool mapped, unknown;
	u32 against = 0;

	p2pdma_try_both(facts, &ways);
	directions = p2pdma_best(&ways, &mapped);
	unknown = p2pdma_unknown(&ways);
	missing = unknown ? P2PDMA_BOTH : P2PDMA_BOTH & ~directions;

	if (missing & P2PDMA_READ)
		against |= ways.against[P2PDMA_READ];
	if (missing & P2PDMA_WRITE)
		against |= ways.against[P2PDMA_WRITE];
	if (facts->unreadable && against & BIT(P2PDMA_REASON_UNKNOWN))
		against ^= BIT(P2PDMA_REASON_UNKNOWN) |
			   BIT(P2PDMA_REASON_UNREADABLE);

	if (unknown || !directions) {
		p2pdma_refuse(verdict, unknown ? p2pdma_first_reason(against) :
					p2pdma_front(facts, against, 0));
		return against;
	}

	root = p2pdma_root_directions(facts, &reason);
	if (!mapped || directions != root)
		reason = missing ? p2pdma_front(facts, against, directions) :
				   P2PDMA_REASON_SWITCH;
	p2pdma_allow(verdict, reason, mapped ? PCI_P2PDMA_MAP_THRU_HOST_BRIDGE :
					       PCI_P2PDMA_MAP_BUS_ADDR, directions);
	return against;
}

/**
 * p2pdma_decide - may a client reach an owner's memory, and how?
 * @facts: facts about client and owner
 * @verdict: where to store the verdict
 *
 * Context: any.
 * Return: all reasons why a direction doesn't work, a bit each, of which
 * @verdict has the one to mend first; 0 if both directions work.  If a host bridge
 * forwards nothing but writes, @verdict has the reason why it is used.
 */
u32 p2pdma_decide(const struct p2pdma_facts *facts,
		  struct p2pdma_verdict *verdict)
{
	u32 against = 0;

	*verdict = (struct p2pdma_verdict) { };
	if (!facts->client_is_pci) {
		against = BIT(P2PDMA_REASON_NOT_PCI);
		p2pdma_refuse(verdict, P2PDMA_REASON_NOT_PCI);
	} else if (facts->same_function) {
		p2pdma_allow(verdict, P2PDMA_REASON_SAME_DEVICE,
			     PCI_P2PDMA_MAP_BUS_ADDR, P2PDMA_BOTH);
	} else if (facts->tlp & PCI_P2PDMA_TLP_TRANSLATED && !facts->ats) {
		against = BIT(P2PDMA_REASON_ATS_OFF);
		p2pdma_refuse(verdict, P2PDMA_REASON_ATS_OFF);
	} else {
		verdict->blocking = p2pdma_blocking(facts);
		against = p2pdma_choose(facts, verdict);
	}

	verdict->distance = p2pdma_distance(facts, verdict->map_type ==
					    PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	/* Peer memory can't be in bounce buffers, on any route. */
	if (facts->bounced) {
		against |= BIT(P2PDMA_REASON_BOUNCED);
		p2pdma_refuse(verdict, P2PDMA_REASON_BOUNCED);
	}
	return against;
}

/**
 * p2pdma_classes - classes of packets that a verdict holds for
 * @facts: all facts about client and owner
 * @verdict: the verdict of p2pdma_decide() on @facts
 *
 * Context: any.
 * Return: the classes for which the same addresses allow as much as @verdict: bit N
 * for flags N of enum pci_p2pdma_tlp_flags.
 */
unsigned int p2pdma_classes(const struct p2pdma_facts *facts,
			    const struct p2pdma_verdict *verdict)
{
	struct p2pdma_facts other = *facts;
	struct p2pdma_verdict judged;
	unsigned int classes = 0;

	for (other.tlp = 0; other.tlp < PCI_P2PDMA_TLP_CLASSES; other.tlp++) {
		p2pdma_decide(&other, &judged);
		if (judged.map_type == verdict->map_type &&
		    !(verdict->directions & ~judged.directions))
			classes |= BIT(other.tlp);
	}
	return classes;
}
