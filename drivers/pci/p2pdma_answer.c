// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: all about a route, in the form that user space gets.
 *
 * Gathers the facts and the verdict as they are, without the cache, and describes
 * each device between the two ends and the root: its registers, and which part
 * they play in the verdict.  Knows neither ioctls nor their callers; nothing is logged.
 */

#include <linux/array_size.h>
#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/ioport.h>
#include <linux/p2pdma.h>
#include <linux/pci.h>
#include <linux/types.h>

#include "pci.h"
#include "p2pdma_route.h"

/* No holes: what user space gets has no other contents than those described. */
static_assert(sizeof(struct p2pdma_pci_address) == 8);
static_assert(sizeof(struct p2pdma_query_port) == 32);
static_assert(sizeof(struct p2pdma_query_leg) == 24);
static_assert(sizeof(struct p2pdma_query_route) == 160);
static_assert(sizeof(struct p2pdma_query_owner) == 32);
static_assert(sizeof(struct p2pdma_query_owners) == 24);

/* User space has the same numbers of the legs. */
static_assert(P2PDMA_LEG_OWNER == (int)P2PDMA_OWNER &&
	      P2PDMA_LEG_CLIENT == (int)P2PDMA_CLIENT);

/**
 * struct p2pdma_inquiry - a route that is being described
 * @facts: all facts
 * @verdict: the verdict on them
 * @reasons: all reasons against a direction, a bit each
 * @ends: owner and client
 * @turns: the turns of the legs; NULL for a leg without hops
 * @shared: the shared bridge, or NULL
 * @judged: the verdict rests on the facts, rather than on the question alone
 * @root: the verdict rests on the way to the root complex, too
 * @translates: the client sends Translated Requests
 */
struct p2pdma_inquiry {
	struct p2pdma_facts facts;
	struct p2pdma_verdict verdict;
	u32 reasons;
	struct pci_dev *ends[P2PDMA_LEGS];
	struct pci_dev *turns[P2PDMA_LEGS];
	struct pci_dev *shared;
	bool judged;
	bool root;
	bool translates;
};

/* ---- Ports ---- */

/* Does a turn redirect a packet? */
static bool p2pdma_redirected(const struct p2pdma_facts *facts)
{
	enum p2pdma_packet packet;

	for (packet = 0; packet < P2PDMA_PACKETS; packet++) {
		if (facts->turns[packet].fate == P2PDMA_REDIRECTED)
			return true;
	}
	return false;
}

/* Translation Blocking: is @pdev asked whether it drops what the client sends? */
static bool p2pdma_asks_blocking(const struct p2pdma_inquiry *inquiry,
				 struct p2pdma_facts *facts,
				 struct pci_dev *pdev, unsigned int leg)
{
	if (!inquiry->translates || pdev == inquiry->ends[P2PDMA_CLIENT] ||
	    leg == P2PDMA_LEG_OWNER ||
	    (leg == P2PDMA_LEG_SHARED && !inquiry->root))
		return false;
	return p2pdma_is_port(facts, pdev) != P2PDMA_NO;
}

/* Upstream Forwarding: is @pdev asked whether it passes on what is redirected? */
static bool p2pdma_asks_forwarding(const struct p2pdma_inquiry *inquiry,
				   struct p2pdma_facts *facts,
				   struct pci_dev *pdev, unsigned int leg)
{
	if (leg != P2PDMA_LEG_SHARED || !inquiry->root ||
	    p2pdma_is_port(facts, pdev) == P2PDMA_NO)
		return false;
	return pci_pcie_type(pdev) == PCI_EXP_TYPE_ROOT_PORT ||
	       p2pdma_redirected(&inquiry->facts);
}

/* Redirection and Egress Control: is @pdev asked what it does to packets? */
static bool p2pdma_asks_turn(const struct p2pdma_inquiry *inquiry,
			     struct p2pdma_facts *facts, struct pci_dev *pdev,
			     unsigned int leg)
{
	if (leg == P2PDMA_LEG_SHARED || pdev != inquiry->turns[leg])
		return false;
	if (inquiry->shared)
		return p2pdma_turns_by_acs(facts, pdev, inquiry->turns[!leg]) !=
		       P2PDMA_NO;
	return leg == P2PDMA_LEG_CLIENT &&
	       p2pdma_drops_by_acs(facts, pci_physfn(pdev),
				   pci_physfn(inquiry->turns[!leg])) != P2PDMA_NO;
}

/* Is @pdev's Max_Payload_Size compared with others? */
static bool p2pdma_asks_payload(const struct p2pdma_inquiry *inquiry,
				struct p2pdma_facts *facts,
				struct pci_dev *pdev, unsigned int leg)
{
	if (leg != P2PDMA_LEG_SHARED || pdev == inquiry->ends[P2PDMA_OWNER] ||
	    pdev == inquiry->ends[P2PDMA_CLIENT])
		return true;
	return inquiry->root && (pci_upstream_bridge(pdev) ||
				 p2pdma_is_port(facts, pdev) != P2PDMA_NO);
}

/* Does the turn of @leg redirect or drop a packet, and at any setting? */
static u32 p2pdma_turn_flags(const struct p2pdma_inquiry *inquiry,
			     unsigned int leg)
{
	enum p2pdma_packet packet;
	u32 flags = 0;

	for (packet = 0; packet < P2PDMA_PACKETS; packet++) {
		if (p2pdma_leg_of(packet) != leg ||
		    !(inquiry->verdict.blocking & BIT(packet)))
			continue;
		flags |= P2PDMA_PORT_BLOCKING;
		if (inquiry->facts.turns[packet].hard_wired)
			flags |= P2PDMA_PORT_HARD_WIRED;
	}
	return flags;
}

/* The part that @pdev plays in the verdict: P2PDMA_PORT_* */
static u32 p2pdma_port_part(const struct p2pdma_inquiry *inquiry,
			    struct p2pdma_facts *facts, struct pci_dev *pdev,
			    unsigned int leg, const struct p2pdma_acs *acs)
{
	bool no_uf = !(acs->ctrl & PCI_ACS_UF);
	u32 flags = 0;

	if (leg != P2PDMA_LEG_SHARED && pdev == inquiry->turns[leg])
		flags |= P2PDMA_PORT_TURN;
	if (!inquiry->judged)
		return flags;

	if (p2pdma_asks_payload(inquiry, facts, pdev, leg))
		flags |= P2PDMA_PORT_PAYLOAD;
	if (p2pdma_asks_turn(inquiry, facts, pdev, leg))
		flags |= P2PDMA_PORT_DECIDES | p2pdma_turn_flags(inquiry, leg);
	if (p2pdma_asks_blocking(inquiry, facts, pdev, leg)) {
		flags |= P2PDMA_PORT_DECIDES;
		if (acs->ctrl & PCI_ACS_TB)
			flags |= P2PDMA_PORT_BLOCKING;
	}
	if (p2pdma_asks_forwarding(inquiry, facts, pdev, leg)) {
		flags |= P2PDMA_PORT_DECIDES;
		if (pci_pcie_type(pdev) == PCI_EXP_TYPE_ROOT_PORT)
			no_uf = no_uf && acs->cap & PCI_ACS_UF;
		if (no_uf && acs->known != P2PDMA_UNKNOWN)
			flags |= P2PDMA_PORT_BLOCKING;
	}
	return flags;
}

/* A register of the PCIe capability, of the PF for a virtual function */
static bool p2pdma_read_pcie(struct p2pdma_facts *facts, struct pci_dev *pdev,
			     int where, u32 *value)
{
	if (!pcie_capability_read_dword(pci_physfn(pdev), where, value) &&
	    !PCI_POSSIBLE_ERROR(*value))
		return true;
	facts->unreadable = true;
	return false;
}

static struct p2pdma_pci_address p2pdma_address_of(struct pci_dev *pdev)
{
	return (struct p2pdma_pci_address) {
		.domain = pci_domain_nr(pdev->bus),
		.bus = pdev->bus->number,
		.devfn = pdev->devfn,
	};
}

static struct p2pdma_query_port
p2pdma_describe_port(const struct p2pdma_inquiry *inquiry, struct pci_dev *pdev,
		     unsigned int leg)
{
	struct p2pdma_facts facts = { };	/* notes what can't be read */
	struct p2pdma_acs acs = p2pdma_read_acs(&facts, pdev);
	struct p2pdma_query_port port = {
		.at = p2pdma_address_of(pdev),
		.leg = leg,
		.acs_cap = acs.cap,
		.acs_ctrl = acs.ctrl,
		.payload = p2pdma_read_mps(&facts, pdev),
	};
	u32 value;

	port.flags = p2pdma_port_part(inquiry, &facts, pdev, leg, &acs);
	if (acs.known == P2PDMA_YES)
		port.flags |= P2PDMA_PORT_ACS;
	else if (acs.known == P2PDMA_UNKNOWN)
		port.flags |= P2PDMA_PORT_ACS_UNKNOWN;

	if (pci_is_pcie(pdev)) {
		port.flags |= P2PDMA_PORT_PCIE;
		port.type = pci_pcie_type(pdev);
		if (p2pdma_read_pcie(&facts, pdev, PCI_EXP_DEVCAP, &value))
			port.payload_max = 128 << FIELD_GET(PCI_EXP_DEVCAP_PAYLOAD,
							    value);
		if (p2pdma_read_pcie(&facts, pdev, PCI_EXP_LNKCAP, &value))
			port.link_cap = value;
		/* The upper half of this word is the Link Status register. */
		if (p2pdma_read_pcie(&facts, pdev, PCI_EXP_LNKCTL, &value))
			port.link_status = value >> 16;
	} else {
		port.payload_max = port.payload;
	}
	if (facts.unreadable)
		port.flags |= P2PDMA_PORT_UNREADABLE;
	return port;
}

/* Describe all devices from @at up to @end, which isn't one of them */
static unsigned int p2pdma_describe_leg(const struct p2pdma_inquiry *inquiry,
					unsigned int leg, struct pci_dev *at,
					struct pci_dev *end,
					struct p2pdma_query_port *ports,
					unsigned int room, unsigned int count)
{
	for (; at != end; at = pci_upstream_bridge(at)) {
		if (count < room)
			ports[count] = p2pdma_describe_port(inquiry, at, leg);
		count++;
	}
	return count;
}

/* ---- Memory ---- */

/* Memory BARs with an address, a bit each */
static unsigned int p2pdma_memory_bars(struct pci_dev *owner)
{
	unsigned int i, bars = 0;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		const struct resource *bar = pci_resource_n(owner, i);

		if (resource_type(bar) == IORESOURCE_MEM && bar->start &&
		    !(bar->flags & IORESOURCE_UNSET))
			bars |= BIT(i);
	}
	return bars;
}

/* Those of @bars that the DMA mask of @client doesn't reach */
static unsigned int p2pdma_beyond(struct pci_dev *owner, struct pci_dev *client,
				  unsigned int bars,
				  enum pci_p2pdma_map_type map_type)
{
	unsigned int i, beyond = 0;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		if (bars & BIT(i) &&
		    p2pdma_beyond_mask(&client->dev, pci_resource_end(owner, i),
				       pci_bus_address(owner, i) -
				       pci_resource_start(owner, i), map_type))
			beyond |= BIT(i);
	}
	return beyond;
}

/* The verdict on the route becomes one on the memory: refused if no BAR is left. */
static void p2pdma_judge_bars(struct p2pdma_inquiry *inquiry,
			      struct p2pdma_query_route *answer)
{
	struct pci_dev *owner = inquiry->ends[P2PDMA_OWNER];
	u32 refusals = 0;

	answer->bars_beyond_mask = 0;
	if (!answer->bars)
		answer->bars = p2pdma_memory_bars(owner);
	if (!inquiry->verdict.directions)
		return;

	if (answer->dma_mask)
		answer->bars_beyond_mask =
			p2pdma_beyond(owner, inquiry->ends[P2PDMA_CLIENT],
				      answer->bars, inquiry->verdict.map_type);
	if (!answer->bars || answer->bars & ~(answer->bars_beyond_mask |
					      answer->bars_moved))
		return;

	if (answer->bars_beyond_mask)
		refusals |= BIT(P2PDMA_REASON_DMA_MASK);
	if (answer->bars_moved)
		refusals |= BIT(P2PDMA_REASON_BAR_MOVED);
	inquiry->reasons |= refusals;
	answer->fix = P2PDMA_FIX_NONE;
	p2pdma_refuse(&inquiry->verdict, p2pdma_first_reason(refusals));
}

/* ---- The answer ---- */

static void p2pdma_inquire(struct p2pdma_inquiry *inquiry, unsigned int tlp)
{
	const struct p2pdma_facts *facts = &inquiry->facts;
	struct pci_dev *client = inquiry->ends[P2PDMA_CLIENT];
	bool translated = tlp & PCI_P2PDMA_TLP_TRANSLATED;
	struct pci_dev *turn;
	unsigned int leg;

	inquiry->reasons = p2pdma_find_route(inquiry->ends[P2PDMA_OWNER],
					     &client->dev, tlp, true,
					     &inquiry->facts, &inquiry->verdict);
	for (leg = 0; leg < P2PDMA_LEGS; leg++)
		inquiry->turns[leg] = p2pdma_turn_of(inquiry->ends[leg],
						     &facts->legs[leg]);
	turn = inquiry->turns[P2PDMA_CLIENT];
	inquiry->shared = turn ? pci_upstream_bridge(turn) : client;

	/* See p2pdma_decide(). */
	inquiry->judged = !facts->same_function && (facts->ats || !translated);
	inquiry->root = inquiry->judged && p2pdma_needs_root(facts);
	inquiry->translates = translated || (facts->ats && !facts->tlp_choice);
}

static u32 p2pdma_fact_flags(const struct p2pdma_inquiry *inquiry)
{
	const struct p2pdma_facts *facts = &inquiry->facts;
	const struct {
		bool fact;
		u32 flag;
	} flags[] = {
		{ facts->same_function, P2PDMA_FACT_SAME_FUNCTION },
		{ facts->shared_bridge, P2PDMA_FACT_SHARED_BRIDGE },
		{ facts->same_host_bridge, P2PDMA_FACT_SAME_HOST_BRIDGE },
		{ facts->cpu_allows, P2PDMA_FACT_CPU_ALLOWS },
		{ facts->encrypted, P2PDMA_FACT_ENCRYPTED },
		{ facts->bounced, P2PDMA_FACT_BOUNCED },
		{ facts->unreadable, P2PDMA_FACT_UNREADABLE },
		{ facts->ats, P2PDMA_FACT_ATS },
		{ facts->tlp_choice, P2PDMA_FACT_TLP_CHOICE },
		{ p2pdma_translated(&inquiry->ends[P2PDMA_CLIENT]->dev),
		  P2PDMA_FACT_TRANSLATED },
		{ inquiry->root, P2PDMA_FACT_ROOT },
	};
	unsigned int i;
	u32 all = 0;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		if (flags[i].fact)
			all |= flags[i].flag;
	}
	return all;
}

static struct p2pdma_query_leg p2pdma_describe(const struct p2pdma_leg *leg,
					       struct pci_dev *top)
{
	u32 id = p2pdma_host_id(top);

	return (struct p2pdma_query_leg) {
		.hops = leg->hops,
		.payload = leg->payload,
		.root_payload = leg->root_payload,
		.root_accepts = leg->root_accepts,
		.host_vendor = id,
		.host_device = id >> 16,
		.host_directions = leg->host_directions,
		.host_admitted = leg->host_admitted,
	};
}

static u32 p2pdma_route_type(const struct p2pdma_verdict *verdict)
{
	switch (verdict->map_type) {
	case PCI_P2PDMA_MAP_BUS_ADDR:
		return P2PDMA_ROUTE_BUS_ADDRESS;
	case PCI_P2PDMA_MAP_THRU_HOST_BRIDGE:
		return P2PDMA_ROUTE_HOST_BRIDGE;
	default:
		return P2PDMA_ROUTE_NONE;
	}
}

/**
 * p2pdma_answer - answer whether a client reaches an owner's memory, and why
 * @owner: the device with the memory; needn't have registered any
 * @client: the device that would access it
 * @tlp: class of packets, PCI_P2PDMA_TLP_*, less than %PCI_P2PDMA_TLP_CLASSES
 * @answer: p2pdma_query_route::bars has the BARs that @owner has registered, a bit
 *	each, or 0, and p2pdma_query_route::bars_moved those of them whose address
 *	has changed since; all that is "out" is filled in, and both addresses and
 *	the class
 * @ports: where to store the ports
 * @room: room in @ports; further ports are only counted
 *
 * The verdict is that of pci_p2pdma_route_tlp(), but for the memory.  There, any
 * region with struct pages that the client can't address, or whose BAR has moved,
 * refuses the route.  Here BARs are judged: the registered ones or, without any, all
 * that have an address.  If each of them is beyond the client's DMA mask or has
 * moved, the route is refused, as pci_p2pdma_map_type() would refuse each of them.
 * If only some are, the verdict is on the others, and no reason is added:
 * p2pdma_query_route::bars_beyond_mask and bars_moved say which can't be used.  BARs
 * are compared with the mask only if the route is allowed, since its kind says which
 * addresses the client gets, and only if the client has a driver: the mask that the
 * PCI core has set is none that counts.
 *
 * Context: any; never sleeps.  The caller holds both devices, and @client's driver
 * doesn't leave meanwhile, which would free its dma-ranges.
 */
void p2pdma_answer(struct pci_dev *owner, struct pci_dev *client,
		   unsigned int tlp, struct p2pdma_query_route *answer,
		   struct p2pdma_query_port *ports, unsigned int room)
{
	struct p2pdma_inquiry inquiry = {
		.ends = { [P2PDMA_OWNER] = owner, [P2PDMA_CLIENT] = client },
	};
	const struct p2pdma_facts *facts = &inquiry.facts;
	unsigned int leg, count = 0;

	p2pdma_inquire(&inquiry, tlp);
	answer->owner = p2pdma_address_of(owner);
	answer->client = p2pdma_address_of(client);
	answer->tlp = tlp;
	answer->facts = p2pdma_fact_flags(&inquiry);
	if (answer->bars)
		answer->facts |= P2PDMA_FACT_REGISTERED;
	answer->classes = p2pdma_classes(facts, &inquiry.verdict);
	answer->fix = p2pdma_find_fix(facts, &inquiry.verdict);
	answer->mapped = facts->mapped;
	answer->translations = facts->translations;
	answer->accepts = facts->accepts;
	answer->dma_mask = client->dev.driver ? *client->dev.dma_mask : 0;
	p2pdma_judge_bars(&inquiry, answer);

	answer->map_type = p2pdma_route_type(&inquiry.verdict);
	answer->directions = inquiry.verdict.directions;
	answer->reason = inquiry.verdict.reason;
	answer->reasons = inquiry.reasons;
	answer->distance = inquiry.verdict.distance;

	for (leg = 0; leg < P2PDMA_LEGS; leg++) {
		answer->legs[leg] = p2pdma_describe(&facts->legs[leg],
						    p2pdma_top(inquiry.ends[leg]));
		count = p2pdma_describe_leg(&inquiry, leg, inquiry.ends[leg],
					    inquiry.shared, ports, room, count);
	}
	answer->port_count = p2pdma_describe_leg(&inquiry, P2PDMA_LEG_SHARED,
						 inquiry.shared, NULL, ports,
						 room, count);
}
