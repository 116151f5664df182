// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: which way two devices reach each other, or why not.
 *
 * The work has two steps.  p2pdma_gather() reads facts from the PCI core and
 * from config space; p2pdma_decide() turns facts into a verdict and looks at
 * nothing else.  Verdicts are cached for each provider.
 *
 * A write is one posted request from the client to the provider.  A read is
 * such a request, and a completion that goes back by the client's ID.  Each
 * packet has its fate: it turns around below the bridge that both devices
 * share, or it is redirected up to the root complex, or it is dropped.  What
 * both directions come to follows from the fates of the two packets.
 *
 * ACS is judged at the turns alone (PCIe Base Specification 6.0, section
 * 6.12): a port further down sees no peer-to-peer traffic, since both the
 * request and the completion pass it on their way up.  A port further up sees
 * only what was redirected.
 *
 * This file knows nothing of memory.  It takes no references: whoever asks
 * holds both devices, and a device holds its bridges.
 */

#include <linux/atomic.h>
#include <linux/bitfield.h>
#include <linux/bitops.h>
#include <linux/build_bug.h>
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/hashtable.h>
#include <linux/init.h>
#include <linux/minmax.h>
#include <linux/notifier.h>
#include <linux/numa.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include <kunit/visibility.h>

#include "pci.h"
#include "p2pdma.h"

enum { P2PDMA_CLASS_SWITCH, P2PDMA_CLASS_HOST_BRIDGE, P2PDMA_CLASS_HOST_BRIDGES };

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

static_assert(ARRAY_SIZE(p2pdma_slugs) == P2PDMA_REASON_MAX);

/* Counts changes of the fabric; a verdict of another count is stale. */
static atomic_t p2pdma_generation = ATOMIC_INIT(0);

/* All caches, for what has to leave them when a device does */
static LIST_HEAD(p2pdma_caches);
static DEFINE_SPINLOCK(p2pdma_cache_lock);

/**
 * p2pdma_reason_name - what a reason is called
 * @reason: as in struct p2pdma_route
 *
 * Context: any.
 * Return: a short constant text, as in "acs-redirect", the same in the kernel
 * log and in all interfaces; "unknown" where there is no such reason.
 */
const char *p2pdma_reason_name(enum p2pdma_reason reason)
{
	return reason < P2PDMA_REASON_MAX ? p2pdma_slugs[reason] : "unknown";
}
EXPORT_SYMBOL_GPL(p2pdma_reason_name);

/* ---- Gather ---- */

/* The PCI device by which @dev does DMA: itself or the nearest one above it. */
static struct pci_dev *p2pdma_pci_client(struct device *dev)
{
	for (; dev; dev = dev->parent) {
		if (dev_is_pci(dev))
			return to_pci_dev(dev);
	}
	return NULL;
}

static unsigned int p2pdma_depth(struct pci_dev *pdev)
{
	unsigned int depth = 0;

	for (; pdev; pdev = pci_upstream_bridge(pdev))
		depth++;
	return depth;
}

/* Does a packet go up to the root complex, or try to? */
static bool p2pdma_to_root(const struct p2pdma_facts *facts)
{
	return !facts->shared_bridge ||
	       facts->legs[P2PDMA_CLIENT].fate == P2PDMA_REDIRECTED ||
	       facts->legs[P2PDMA_PROVIDER].fate == P2PDMA_REDIRECTED;
}

/* Walk both legs up to the bridge they share; NULL where there is none. */
static struct pci_dev *p2pdma_walk(struct p2pdma_leg *legs)
{
	struct pci_dev *at[P2PDMA_LEGS];
	unsigned int depth[P2PDMA_LEGS];
	int i;

	for (i = 0; i < P2PDMA_LEGS; i++) {
		at[i] = legs[i].end;
		depth[i] = p2pdma_depth(at[i]);
	}

	/* The deeper end goes up one step, until the ends meet. */
	while (at[P2PDMA_PROVIDER] != at[P2PDMA_CLIENT]) {
		i = depth[P2PDMA_CLIENT] > depth[P2PDMA_PROVIDER];

		legs[i].turn = at[i];
		legs[i].hops++;
		at[i] = pci_upstream_bridge(at[i]);
		depth[i]--;
	}
	return at[P2PDMA_PROVIDER];
}

/* False where @pdev's ACS control can't be read; without ACS it is all off. */
static bool p2pdma_read_acs(struct pci_dev *pdev, u16 *ctrl)
{
	*ctrl = 0;
	if (!pdev->acs_cap)
		return true;
	return !pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CTRL, ctrl) &&
	       !PCI_POSSIBLE_ERROR(*ctrl);
}

/*
 * Does @pdev redirect, whatever its ACS control says, since it lacks @bits?
 * False where that can't be read.
 *
 * Section 6.12.1.2: a function has Request Redirect if it supports peer-to-peer
 * traffic with other functions of its device, and then Completion Redirect too.
 * A capability without them says that there is no way inside of the device, so
 * that all packets go up the link.  Without a capability nothing is said.
 *
 * Some devices are like that and have no capability; quirks of the PCI core
 * know them.  The only one that sleeps is for devices on root buses, which
 * nobody asks for here.
 */
static bool p2pdma_read_hard_wired(struct pci_dev *pdev, u16 bits,
				   bool *hard_wired)
{
	u16 cap;

	*hard_wired = pci_dev_specific_acs_enabled(pdev, bits) > 0;
	if (*hard_wired || !pdev->acs_cap ||
	    pci_pcie_type(pdev) == PCI_EXP_TYPE_DOWNSTREAM)
		return true;
	if (pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CAP, &cap) ||
	    PCI_POSSIBLE_ERROR(cap))
		return false;
	*hard_wired = bits & ~cap;
	return true;
}

/*
 * The bit for @to in @from's Egress Control Vector: by port number where
 * switch ports are told apart, by function number otherwise.  False where it
 * can't be read.
 */
static bool p2pdma_read_egress(struct pci_dev *from, struct pci_dev *to,
			       bool *set)
{
	u32 link, vector;
	unsigned int bit, bits;
	u16 cap;

	bit = to->devfn;
	if (pci_pcie_type(to) == PCI_EXP_TYPE_DOWNSTREAM) {
		if (pcie_capability_read_dword(to, PCI_EXP_LNKCAP, &link) ||
		    PCI_POSSIBLE_ERROR(link))
			return false;
		bit = FIELD_GET(PCI_EXP_LNKCAP_PN, link);
	}

	if (pci_read_config_word(from, from->acs_cap + PCI_ACS_CAP, &cap) ||
	    PCI_POSSIBLE_ERROR(cap))
		return false;
	bits = cap >> 8 ?: 256;
	*set = false;
	if (bit >= bits)
		return true;

	if (pci_read_config_dword(from, from->acs_cap + PCI_ACS_EGRESS_CTL_V +
				  bit / 32 * 4, &vector))
		return false;
	*set = vector & BIT(bit % 32);
	return true;
}

/*
 * What ACS does to a leg's packets at its turn.  It acts at a switch's
 * downstream port, and at a function whose sibling in the same device is on the
 * other leg; PCIe puts nothing else side by side below one bridge, and devices
 * on conventional buses have no ACS.
 */
static void p2pdma_read_turn(struct p2pdma_facts *facts, int side)
{
	struct p2pdma_leg *leg = &facts->legs[side];
	struct pci_dev *turn = leg->turn;
	struct pci_dev *other = facts->legs[!side].turn;
	u16 ctrl, bits = PCI_ACS_RR;
	bool egress = false;

	if (!turn || (pci_pcie_type(turn) != PCI_EXP_TYPE_DOWNSTREAM && !other))
		return;

	if (side == P2PDMA_PROVIDER)
		bits |= PCI_ACS_CR;
	if (!p2pdma_read_acs(turn, &ctrl) ||
	    !p2pdma_read_hard_wired(turn, bits, &leg->hard_wired)) {
		facts->unreadable = true;
		return;
	}
	if (leg->hard_wired)
		leg->fate = P2PDMA_REDIRECTED;

	/* Completions know Completion Redirect and nothing else. */
	if (side == P2PDMA_PROVIDER) {
		if (ctrl & PCI_ACS_CR)
			leg->fate = P2PDMA_REDIRECTED;
		return;
	}

	/* Section 6.12.3: with Egress Control, the vector says for whom. */
	if (other && (ctrl & PCI_ACS_EC)) {
		if (!p2pdma_read_egress(turn, other, &egress))
			facts->unreadable = true;
		else if (egress)
			leg->fate = ctrl & PCI_ACS_RR ? P2PDMA_REDIRECTED :
							P2PDMA_BLOCKED;
	} else if (ctrl & PCI_ACS_RR) {
		leg->fate = P2PDMA_REDIRECTED;
	}
}

/*
 * What is redirected comes to the ports that both legs share.  A switch's
 * downstream port gets it from below and would have to send it below again; it
 * passes it on with Upstream Forwarding only.  Quirks aren't asked: they stand
 * for isolation, not for packets that arrive.
 */
static void p2pdma_read_forwarding(struct p2pdma_facts *facts,
				   struct pci_dev *shared)
{
	u16 ctrl;

	facts->forwarded = true;
	for (; shared; shared = pci_upstream_bridge(shared)) {
		if (pci_pcie_type(shared) != PCI_EXP_TYPE_DOWNSTREAM)
			continue;
		if (!p2pdma_read_acs(shared, &ctrl))
			facts->unreadable = true;
		else if (!(ctrl & PCI_ACS_UF))
			facts->forwarded = false;
	}
}

/*
 * Max_Payload_Size limits what a function sends, and it takes a packet that is
 * larger for malformed (section 2.2.2).  A virtual function has its physical
 * function's.  What is behind a PCIe to PCI bridge is sent by that.
 */
static void p2pdma_read_payload(struct p2pdma_facts *facts,
				struct p2pdma_leg *leg)
{
	unsigned int i, mps;
	struct pci_dev *at = leg->end;
	u16 ctrl;

	/* Also the bridge itself, where it is one of the two devices */
	for (i = 0; i < max(leg->hops, 1U); i++, at = pci_upstream_bridge(at)) {
		if (!pci_is_pcie(at))
			continue;
		if (pcie_capability_read_word(pci_physfn(at), PCI_EXP_DEVCTL,
					      &ctrl) ||
		    PCI_POSSIBLE_ERROR(ctrl)) {
			facts->unreadable = true;
			continue;
		}
		mps = 128 << FIELD_GET(PCI_EXP_DEVCTL_PAYLOAD, ctrl);
		leg->payload = leg->payload ?: mps;
		facts->accepts = min(facts->accepts, mps);
	}
}

static void p2pdma_gather(struct pci_dev *provider, struct pci_dev *client,
			  struct p2pdma_facts *facts)
{
	struct pci_dev *shared, *top[P2PDMA_LEGS], *up;
	struct p2pdma_leg *legs = facts->legs;
	int i;

	*facts = (struct p2pdma_facts) {
		.same_function = provider == client,
		.accepts = UINT_MAX,
		.legs[P2PDMA_PROVIDER].end = provider,
		.legs[P2PDMA_CLIENT].end = client,
	};
	shared = p2pdma_walk(legs);
	facts->shared_bridge = shared;

	for (i = 0; i < P2PDMA_LEGS; i++) {
		legs[i].node = dev_to_node(&legs[i].end->dev);
		for (top[i] = legs[i].end; (up = pci_upstream_bridge(top[i])); )
			top[i] = up;
		/* A virtual function's bus needn't be the one its PF is on. */
		top[i] = pci_physfn(top[i]);
		if (shared && !facts->same_function) {
			p2pdma_read_turn(facts, i);
			p2pdma_read_payload(facts, &legs[i]);
		}
	}
	facts->same_host_bridge = top[P2PDMA_PROVIDER]->bus ==
				  top[P2PDMA_CLIENT]->bus;

	/* Config space is slow: nothing is read that can't matter. */
	if (!p2pdma_to_root(facts))
		return;
	p2pdma_read_forwarding(facts, shared);
	facts->cpu_allows = p2pdma_cpu_allows();
	facts->encrypted = p2pdma_memory_encrypted();
	for (i = 0; i < P2PDMA_LEGS; i++)
		legs[i].host_directions =
			p2pdma_host_directions(top[i], facts->same_host_bridge,
					       &legs[i].host_admitted);
}

/* ---- Decide ---- */

/**
 * p2pdma_route_refuse - turn a verdict into a refusal
 * @route: the verdict; its distance and blocking devices stay
 * @reason: why
 *
 * Context: any.
 */
void p2pdma_route_refuse(struct p2pdma_route *route, enum p2pdma_reason reason)
{
	route->map_type = PCI_P2PDMA_MAP_NOT_SUPPORTED;
	route->reason = reason;
	route->directions = 0;
}

static void p2pdma_allow(struct p2pdma_route *route, enum p2pdma_reason reason,
			 enum pci_p2pdma_map_type map_type,
			 unsigned int directions)
{
	route->map_type = map_type;
	route->reason = reason;
	route->directions = directions;
}

/* What the root complex does with packets of this pair that come to it */
static unsigned int p2pdma_root_directions(const struct p2pdma_facts *facts,
					   enum p2pdma_reason *reason)
{
	const struct p2pdma_leg *from = &facts->legs[P2PDMA_CLIENT];
	const struct p2pdma_leg *to = &facts->legs[P2PDMA_PROVIDER];

	if (facts->cpu_allows) {
		*reason = P2PDMA_REASON_CPU_ALLOWED;
		return P2PDMA_BOTH;
	}
	*reason = from->host_admitted || to->host_admitted ?
			P2PDMA_REASON_ADMIN_ALLOWED :
			P2PDMA_REASON_HOST_BRIDGE_LISTED;
	return from->host_directions & to->host_directions;
}

static int p2pdma_distance(const struct p2pdma_facts *facts, bool through_root)
{
	const struct p2pdma_leg *from = &facts->legs[P2PDMA_CLIENT];
	const struct p2pdma_leg *to = &facts->legs[P2PDMA_PROVIDER];
	int class = !through_root ? P2PDMA_CLASS_SWITCH :
		    facts->same_host_bridge ? P2PDMA_CLASS_HOST_BRIDGE :
					      P2PDMA_CLASS_HOST_BRIDGES;
	bool other_node = from->node != to->node &&
			  from->node != NUMA_NO_NODE && to->node != NUMA_NO_NODE;

	return FIELD_PREP(P2PDMA_DISTANCE_CLASS, class) |
	       FIELD_PREP(P2PDMA_DISTANCE_NODE, other_node) |
	       FIELD_PREP(P2PDMA_DISTANCE_HOPS, from->hops + to->hops);
}

/* Payload goes with a write's request, and with a read's completion. */
static bool p2pdma_fits(const struct p2pdma_facts *facts, int sender)
{
	return facts->legs[sender].payload <= facts->accepts;
}

/* What works with no packet passing the root complex */
static unsigned int p2pdma_direct(const struct p2pdma_facts *facts)
{
	unsigned int directions = 0;

	if (!facts->shared_bridge ||
	    facts->legs[P2PDMA_CLIENT].fate != P2PDMA_DIRECT)
		return 0;

	if (p2pdma_fits(facts, P2PDMA_CLIENT))
		directions |= P2PDMA_WRITE;
	if (facts->legs[P2PDMA_PROVIDER].fate == P2PDMA_DIRECT &&
	    p2pdma_fits(facts, P2PDMA_PROVIDER))
		directions |= P2PDMA_READ;
	return directions;
}

/* What works with a packet passing it, when it forwards @root */
static unsigned int p2pdma_through(const struct p2pdma_facts *facts,
				   unsigned int root)
{
	const enum p2pdma_fate request = facts->legs[P2PDMA_CLIENT].fate;
	const enum p2pdma_fate completion = facts->legs[P2PDMA_PROVIDER].fate;
	unsigned int directions = 0;

	if (!facts->shared_bridge)
		return root;
	if (!p2pdma_to_root(facts) || !facts->forwarded)
		return 0;

	/* One packet may pass it and the other one not. */
	if (request == P2PDMA_REDIRECTED)
		directions |= root & P2PDMA_WRITE;
	else if (request == P2PDMA_DIRECT && p2pdma_fits(facts, P2PDMA_CLIENT))
		directions |= P2PDMA_WRITE;
	if (request != P2PDMA_BLOCKED &&
	    (completion == P2PDMA_REDIRECTED ||
	     p2pdma_fits(facts, P2PDMA_PROVIDER)))
		directions |= root & P2PDMA_READ;
	return directions;
}

static enum p2pdma_reason p2pdma_limit_reason(const struct p2pdma_facts *facts)
{
	if (!facts->shared_bridge)
		return P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED;
	if (facts->legs[P2PDMA_CLIENT].fate == P2PDMA_BLOCKED)
		return P2PDMA_REASON_ACS_EGRESS;
	return p2pdma_to_root(facts) ? P2PDMA_REASON_ACS_REDIRECT :
				       P2PDMA_REASON_MPS_MISMATCH;
}

static void p2pdma_decide(const struct p2pdma_facts *facts,
			  struct p2pdma_route *route)
{
	const struct p2pdma_leg *from = &facts->legs[P2PDMA_CLIENT];
	const struct p2pdma_leg *to = &facts->legs[P2PDMA_PROVIDER];
	enum p2pdma_reason root_reason;
	unsigned int root = p2pdma_root_directions(facts, &root_reason);
	unsigned int direct = p2pdma_direct(facts);
	unsigned int through = p2pdma_through(facts, root);
	enum p2pdma_reason limit = p2pdma_limit_reason(facts);

	/*
	 * Through the root complex goes what the DMA API takes for the CPU
	 * address, or the IOMMU makes of it; across a switch, what the BAR has.
	 */
	if (facts->encrypted && hweight32(through) > hweight32(direct)) {
		through = 0;
		limit = P2PDMA_REASON_MEMORY_ENCRYPTED;
	}

	memset(route, 0, sizeof(*route));
	if (from->fate != P2PDMA_DIRECT)
		route->blocking[0] = from->turn;
	if (to->fate != P2PDMA_DIRECT)
		route->blocking[1] = to->turn;

	if (facts->same_function) {
		p2pdma_allow(route, P2PDMA_REASON_SAME_DEVICE,
			     PCI_P2PDMA_MAP_BUS_ADDR, P2PDMA_BOTH);
	} else if (facts->unreadable) {
		p2pdma_route_refuse(route, P2PDMA_REASON_UNREADABLE);
	} else if (hweight32(through) > hweight32(direct)) {
		/* Straight on wherever that is as good, so this is better. */
		p2pdma_allow(route, through == root ? root_reason :
			     P2PDMA_REASON_MPS_MISMATCH,
			     PCI_P2PDMA_MAP_THRU_HOST_BRIDGE, through);
	} else if (direct) {
		p2pdma_allow(route, direct == P2PDMA_BOTH ?
			     P2PDMA_REASON_SWITCH : limit,
			     PCI_P2PDMA_MAP_BUS_ADDR, direct);
	} else {
		p2pdma_route_refuse(route, limit);
	}
	route->distance = p2pdma_distance(facts, route->map_type ==
					  PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
}

/* Which one option of the command line would allow more than @route does */
static enum p2pdma_fix p2pdma_fix(const struct p2pdma_facts *facts,
				  const struct p2pdma_route *route)
{
	struct p2pdma_facts changed = *facts;
	struct p2pdma_route other;
	int i;

	if (!facts->legs[P2PDMA_CLIENT].end)
		return P2PDMA_FIX_NONE;

	for (i = 0; i < P2PDMA_LEGS; i++) {
		if (!facts->legs[i].hard_wired)
			changed.legs[i].fate = P2PDMA_DIRECT;
	}
	p2pdma_decide(&changed, &other);
	if (hweight32(other.directions) > hweight32(route->directions))
		return P2PDMA_FIX_ACS;

	changed = *facts;
	changed.accepts = UINT_MAX;
	p2pdma_decide(&changed, &other);
	if (hweight32(other.directions) > hweight32(route->directions))
		return P2PDMA_FIX_MPS;
	return P2PDMA_FIX_NONE;
}

/* Facts and verdict; @client is NULL where there is no PCI device */
static void p2pdma_judge(struct pci_dev *provider, struct pci_dev *client,
			 struct p2pdma_facts *facts, struct p2pdma_route *route)
{
	if (client) {
		p2pdma_gather(provider, client, facts);
		p2pdma_decide(facts, route);
		return;
	}
	memset(facts, 0, sizeof(*facts));
	facts->legs[P2PDMA_PROVIDER].end = provider;
	memset(route, 0, sizeof(*route));
	p2pdma_route_refuse(route, P2PDMA_REASON_NOT_PCI);
}

/**
 * p2pdma_route_find - work out a route
 * @provider: device with the memory
 * @client: device that would access it, or a child of that device
 * @explain: say in the log what limits the route, if anything does
 * @route: where to put the verdict
 *
 * Context: any; never sleeps.  The caller holds both devices.
 */
void p2pdma_route_find(struct pci_dev *provider, struct device *client,
		       bool explain, struct p2pdma_route *route)
{
	struct p2pdma_facts facts;

	p2pdma_judge(provider, p2pdma_pci_client(client), &facts, route);
	if (explain && route->directions != P2PDMA_BOTH && p2pdma_log_limit())
		p2pdma_log_route(client, &facts, route,
				 p2pdma_fix(&facts, route));
}

/* ---- Remember ---- */

static_assert(P2PDMA_REASON_MAX <= 16);

/*
 * One client's entry in a provider's cache; there until the client is removed.
 * A device that comes to the same address in memory afterwards is a change of
 * the fabric, so no verdict is taken for that of another device.
 */
struct p2pdma_known_route {
	struct hlist_node node;
	struct pci_dev *client;		/* may be gone */
	u64 verdict;
	struct rcu_head rcu;
};

/* Under RCU, or the cache's lock */
static __always_inline struct p2pdma_known_route *
p2pdma_recall(struct p2pdma_route_cache *cache, struct pci_dev *client)
{
	struct p2pdma_known_route *known;

	hash_for_each_possible_rcu(cache->routes, known, node,
				   (unsigned long)client,
				   lockdep_is_held(&cache->lock)) {
		if (known->client == client)
			return known;
	}
	return NULL;
}

/* 0 where there is none, which no verdict is: MAP_TYPE isn't */
static __always_inline u64
p2pdma_recall_verdict(struct p2pdma_route_cache *cache, struct pci_dev *client)
{
	struct p2pdma_known_route *known;

	guard(rcu)();
	known = p2pdma_recall(cache, client);
	return known ? READ_ONCE(known->verdict) : 0;
}

static u64 p2pdma_verdict_pack(const struct p2pdma_route *route, u32 generation)
{
	int distance = route->distance;

	return FIELD_PREP(P2PDMA_VERDICT_MAP_TYPE, route->map_type) |
	       FIELD_PREP(P2PDMA_VERDICT_REASON, route->reason) |
	       FIELD_PREP(P2PDMA_VERDICT_DIRECTIONS, route->directions) |
	       FIELD_PREP(P2PDMA_VERDICT_HOPS,
			  FIELD_GET(P2PDMA_DISTANCE_HOPS, distance)) |
	       FIELD_PREP(P2PDMA_VERDICT_NODE,
			  FIELD_GET(P2PDMA_DISTANCE_NODE, distance)) |
	       FIELD_PREP(P2PDMA_VERDICT_CLASS,
			  FIELD_GET(P2PDMA_DISTANCE_CLASS, distance)) |
	       FIELD_PREP(P2PDMA_VERDICT_GENERATION, generation);
}

/*
 * Put a verdict into the cache.  @say is the one bit of SAID that the log is to
 * hear of, or 0: true where it has not yet.  Once the verdict has changed,
 * everything is news again.
 */
static bool p2pdma_remember(struct p2pdma_route_cache *cache,
			    struct pci_dev *client, u64 verdict, u64 say)
{
	struct p2pdma_known_route *known;
	u64 said = 0;

	guard(spinlock_irqsave)(&cache->lock);
	known = p2pdma_recall(cache, client);
	if (!known) {
		/* Failing costs time at the next call, and says it again. */
		known = kzalloc(sizeof(*known), GFP_ATOMIC | __GFP_NOWARN);
		if (!known)
			return say && p2pdma_log_limit();
		known->client = client;
		known->verdict = verdict;
		hash_add_rcu(cache->routes, &known->node,
			     (unsigned long)client);
	} else if (!((known->verdict ^ verdict) & P2PDMA_VERDICT_JUDGED)) {
		said = known->verdict & P2PDMA_VERDICT_SAID;
	}
	/* What the log has no room for now is said at the next call. */
	if ((say & said) || (say && !p2pdma_log_limit()))
		say = 0;
	WRITE_ONCE(known->verdict, verdict | said | say);
	return say;
}

/* Apart from p2pdma_verdict(), which is called for each I/O */
static noinline u64 p2pdma_verdict_new(struct p2pdma_route_cache *cache,
				       struct pci_dev *provider,
				       struct device *client, bool explain)
{
	struct pci_dev *pci_client = p2pdma_pci_client(client);
	/* Before the facts: what changes while they are read makes it stale. */
	u32 generation = atomic_read_acquire(&p2pdma_generation);
	struct p2pdma_facts facts;
	struct p2pdma_route route;
	u64 verdict;

	p2pdma_judge(provider, pci_client, &facts, &route);
	verdict = p2pdma_verdict_pack(&route, generation);
	explain &= route.directions != P2PDMA_BOTH;
	if (pci_client)
		explain = p2pdma_remember(cache, pci_client, verdict,
					  explain ? P2PDMA_SAID_VERDICT : 0);
	else
		explain = explain && !xchg(&cache->said_not_pci, true);
	if (explain)
		p2pdma_log_route(client, &facts, &route,
				 p2pdma_fix(&facts, &route));
	return verdict;
}

/**
 * p2pdma_verdict - the verdict on a route, from the cache where that has it
 * @cache: cache of @provider
 * @provider: device with the memory
 * @client: device that would access it, or a child of that device
 * @explain: say in the log what limits the route, if anything does and the log
 *	hasn't said so before
 *
 * A verdict that rests on a failed read isn't remembered.
 *
 * Context: any; never sleeps.  The caller holds both devices.
 * Return: P2PDMA_VERDICT_*
 */
u64 p2pdma_verdict(struct p2pdma_route_cache *cache, struct pci_dev *provider,
		   struct device *client, bool explain)
{
	struct pci_dev *pci_client = p2pdma_pci_client(client);
	u32 generation = atomic_read_acquire(&p2pdma_generation);
	u64 verdict;

	verdict = pci_client ? p2pdma_recall_verdict(cache, pci_client) : 0;
	if (!verdict ||
	    FIELD_GET(P2PDMA_VERDICT_GENERATION, verdict) != generation)
		return p2pdma_verdict_new(cache, provider, client, explain);
	if (p2pdma_verdict_both(verdict))
		return verdict;

	if (FIELD_GET(P2PDMA_VERDICT_REASON, verdict) ==
	    P2PDMA_REASON_UNREADABLE ||
	    (explain && !(verdict & P2PDMA_SAID_VERDICT)))
		return p2pdma_verdict_new(cache, provider, client, explain);
	return verdict;
}

/**
 * p2pdma_verdict_refused - say in the log what else there is against a route
 * @cache: cache of @provider
 * @provider: device with the memory
 * @client: PCI device that would access it, or a child of one
 * @reason: what p2pdma_verdict() doesn't know: %P2PDMA_REASON_BAR_MOVED,
 *	%P2PDMA_REASON_BOUNCED, %P2PDMA_REASON_DMA_MASK or
 *	%P2PDMA_REASON_DMA_RANGES
 *
 * Says nothing where the log has it already.
 *
 * Context: any; never sleeps.  The caller holds both devices.
 */
void p2pdma_verdict_refused(struct p2pdma_route_cache *cache,
			    struct pci_dev *provider, struct device *client,
			    enum p2pdma_reason reason)
{
	static const u64 said[P2PDMA_REASON_MAX] = {
		[P2PDMA_REASON_BAR_MOVED]	= P2PDMA_SAID_BAR_MOVED,
		[P2PDMA_REASON_BOUNCED]		= P2PDMA_SAID_BOUNCED,
		[P2PDMA_REASON_DMA_MASK]	= P2PDMA_SAID_DMA_MASK,
		[P2PDMA_REASON_DMA_RANGES]	= P2PDMA_SAID_DMA_RANGES,
	};
	struct pci_dev *pci_client = p2pdma_pci_client(client);
	u32 generation = atomic_read_acquire(&p2pdma_generation);
	u64 say = said[reason];
	struct p2pdma_facts facts;
	struct p2pdma_route route;
	u64 verdict;

	if (p2pdma_recall_verdict(cache, pci_client) & say)
		return;

	p2pdma_judge(provider, pci_client, &facts, &route);
	verdict = p2pdma_verdict_pack(&route, generation);
	if (!p2pdma_remember(cache, pci_client, verdict, say))
		return;
	p2pdma_route_refuse(&route, reason);
	p2pdma_log_route(client, &facts, &route, P2PDMA_FIX_NONE);
}

/**
 * p2pdma_route_cache_init - make a cache with nothing in it
 * @cache: the cache
 *
 * Context: any.
 */
void p2pdma_route_cache_init(struct p2pdma_route_cache *cache)
{
	hash_init(cache->routes);
	spin_lock_init(&cache->lock);
	cache->said_not_pci = false;
	guard(spinlock_irqsave)(&p2pdma_cache_lock);
	list_add_tail(&cache->node, &p2pdma_caches);
}

/**
 * p2pdma_route_cache_destroy - free what a cache holds
 * @cache: the cache; nobody else may use it any more
 *
 * Context: any.
 */
void p2pdma_route_cache_destroy(struct p2pdma_route_cache *cache)
{
	struct p2pdma_known_route *known;
	struct hlist_node *next;
	int bucket;

	scoped_guard(spinlock_irqsave, &p2pdma_cache_lock)
		list_del(&cache->node);
	hash_for_each_safe(cache->routes, bucket, next, known, node)
		kfree(known);
}

/* ---- Forget ---- */

/**
 * pci_p2pdma_fabric_changed - forget all verdicts
 *
 * For whatever changes what a verdict rests on: ports and devices, ACS
 * control, payload sizes, addresses.
 *
 * Context: any; never sleeps.
 */
void pci_p2pdma_fabric_changed(void)
{
	atomic_inc_return_release(&p2pdma_generation);
}
EXPORT_SYMBOL_IF_KUNIT(pci_p2pdma_fabric_changed);

/**
 * pci_p2pdma_config_written - look at what user space wrote to config space
 * @pdev: the device
 * @where: offset of what was written
 *
 * Context: any; never sleeps.
 */
void pci_p2pdma_config_written(struct pci_dev *pdev, int where)
{
	int acs = pdev->acs_cap, devctl = pdev->pcie_cap + PCI_EXP_DEVCTL;

	/* A write is of up to four bytes; a vector, of up to 256 bits. */
	if ((acs && where >= acs && where < acs + PCI_ACS_EGRESS_CTL_V + 32) ||
	    (pdev->pcie_cap && where > devctl - 4 && where < devctl + 2))
		pci_p2pdma_fabric_changed();
}

/* Whoever comes to this address next is somebody else. */
static void p2pdma_forget(struct pci_dev *client)
{
	struct p2pdma_known_route *known;
	struct p2pdma_route_cache *cache;

	guard(spinlock_irqsave)(&p2pdma_cache_lock);
	list_for_each_entry(cache, &p2pdma_caches, node) {
		guard(spinlock)(&cache->lock);
		known = p2pdma_recall(cache, client);
		if (known) {
			hash_del_rcu(&known->node);
			kfree_rcu(known, rcu);
		}
	}
}

static int p2pdma_fabric_event(struct notifier_block *nb, unsigned long event,
			       void *data)
{
	struct pci_dev *pdev = to_pci_dev(data);

	switch (event) {
	case BUS_NOTIFY_ADD_DEVICE:
		p2pdma_host_added(pdev);
		pci_p2pdma_fabric_changed();
		break;
	case BUS_NOTIFY_REMOVED_DEVICE:
		p2pdma_host_removed(pdev);
		pci_p2pdma_fabric_changed();
		p2pdma_forget(pdev);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block p2pdma_fabric_notifier = {
	.notifier_call = p2pdma_fabric_event,
};

static int __init p2pdma_route_init(void)
{
	return bus_register_notifier(&pci_bus_type, &p2pdma_fabric_notifier);
}
postcore_initcall_sync(p2pdma_route_init);
