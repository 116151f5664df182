// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: which way two devices reach each other, or why not.
 *
 * The work has two steps.  p2pdma_gather() reads facts from the PCI core and
 * from config space; p2pdma_decide() turns facts into a verdict and looks at
 * nothing else.  Verdicts are cached for each provider.
 *
 * A "leg" is the way from one device up to the bridge below which the other
 * device lies as well.  Its last element below that bridge, where packets of
 * the two devices would turn around, is the leg's "turn".  Where no bridge is
 * shared, the legs end at the root bus, and only the root complex connects
 * them.
 *
 * ACS is judged at the turns alone (PCIe Base Specification 6.0, section
 * 6.12): a port further down sees no peer-to-peer traffic, since both the
 * request and the completion pass it on their way up.
 *
 * This file knows nothing of memory.  It takes no references: whoever asks
 * holds both devices, and a device holds its bridges.
 */

#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/bitfield.h>
#include <linux/init.h>
#include <linux/notifier.h>
#include <linux/numa.h>
#include <linux/pci.h>

#ifdef CONFIG_X86
#include <asm/processor.h>
#endif

#include "p2pdma.h"

enum { P2PDMA_PROVIDER, P2PDMA_CLIENT, P2PDMA_LEGS };

/* One leg, as read */
struct p2pdma_leg {
	struct pci_dev *turn;	/* NULL: the device is the shared bridge */
	unsigned int hops;	/* links and bridges up to the shared bridge */
	bool acs_unreadable;
	bool acs_redirects;	/* at the turn, what this side sends */
	bool acs_blocks;	/* or stops it */
	bool host_unreadable;
	u32 host_id;		/* device << 16 | vendor, 0 where not known */
	int node;
};

/* All that a verdict rests on */
struct p2pdma_facts {
	bool same_function;
	bool shared_bridge;
	bool same_host_bridge;
	bool cpu_allows;
	struct p2pdma_leg legs[P2PDMA_LEGS];
};

/*
 * Distance: the class of a route counts most, then whether it leaves the NUMA
 * node, then hops.  A path has at most 256 buses to either side.
 */
#define P2PDMA_COST_HOST_BRIDGE		4096
#define P2PDMA_COST_OTHER_HOST_BRIDGE	8192
#define P2PDMA_COST_OTHER_NODE		1024

/*
 * Host bridges known to forward peer-to-peer traffic, by the device at 00.0
 * of the root bus or, where there is none, by the root port.
 */
static const struct p2pdma_host_bridge {
	u16 vendor;
	u16 device;
	bool same_only;		/* not from one host bridge to another */
} p2pdma_host_bridges[] = {
	{ PCI_VENDOR_ID_INTEL, 0x2020 },		/* Skylake-E, DMI */
	{ PCI_VENDOR_ID_INTEL, 0x2030 },		/* Skylake-E, root ports */
	{ PCI_VENDOR_ID_INTEL, 0x2031 },
	{ PCI_VENDOR_ID_INTEL, 0x2032 },
	{ PCI_VENDOR_ID_INTEL, 0x2033 },
	{ PCI_VENDOR_ID_INTEL, 0x09a2 },		/* Ice Lake-SP and later */
	{ PCI_VENDOR_ID_INTEL, 0x2f00, .same_only = true },	/* Haswell-E */
	{ PCI_VENDOR_ID_INTEL, 0x2f01, .same_only = true },
	{ PCI_VENDOR_ID_INTEL, 0x3c00, .same_only = true },	/* Sandy Bridge-E */
	{ PCI_VENDOR_ID_INTEL, 0x3c01, .same_only = true },
};

static const char * const p2pdma_slugs[] = {
	[P2PDMA_REASON_SAME_DEVICE]		= "same-device",
	[P2PDMA_REASON_SWITCH]			= "switch",
	[P2PDMA_REASON_CPU_ALLOWED]		= "cpu-allowed",
	[P2PDMA_REASON_HOST_BRIDGE_LISTED]	= "host-bridge-listed",
	[P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED]	= "host-bridge-not-listed",
	[P2PDMA_REASON_ACS_REDIRECT]		= "acs-redirect",
	[P2PDMA_REASON_ACS_EGRESS]		= "acs-egress",
	[P2PDMA_REASON_UNREADABLE]		= "unreadable",
	[P2PDMA_REASON_NOT_PCI]			= "not-pci",
};

static_assert(ARRAY_SIZE(p2pdma_slugs) == P2PDMA_REASON_MAX);

/* Counts changes of the fabric; a verdict of another generation is stale. */
static atomic_t p2pdma_generation = ATOMIC_INIT(0);

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

/* Walk both legs up to the bridge they share; false where there is none. */
static bool p2pdma_walk(struct pci_dev *provider, struct pci_dev *client,
			struct p2pdma_leg *legs)
{
	struct pci_dev *at[P2PDMA_LEGS] = { provider, client };
	unsigned int depth[P2PDMA_LEGS] = {
		p2pdma_depth(provider), p2pdma_depth(client)
	};

	/* The deeper end goes up one step, until the ends meet. */
	while (at[P2PDMA_PROVIDER] != at[P2PDMA_CLIENT]) {
		int i = depth[P2PDMA_CLIENT] > depth[P2PDMA_PROVIDER];

		legs[i].turn = at[i];
		legs[i].hops++;
		at[i] = pci_upstream_bridge(at[i]);
		depth[i]--;
	}
	return at[P2PDMA_PROVIDER];
}

/*
 * ACS acts on what a leg sends to the other one at a switch's downstream port,
 * and at a function that has a sibling in the same device on the other leg.
 * PCIe puts nothing else side by side below one bridge.
 */
static void p2pdma_read_acs(struct p2pdma_leg *leg, bool sibling, bool client)
{
	struct pci_dev *turn = leg->turn;
	u16 ctrl;

	if (!turn || !turn->acs_cap)
		return;
	if (pci_pcie_type(turn) != PCI_EXP_TYPE_DOWNSTREAM && !sibling)
		return;

	if (pci_read_config_word(turn, turn->acs_cap + PCI_ACS_CTRL, &ctrl) ||
	    PCI_POSSIBLE_ERROR(ctrl)) {
		leg->acs_unreadable = true;
		return;
	}

	/*
	 * Requests come from the client, completions answer them.  Egress
	 * Control is for requests; without Request Redirect it may drop them,
	 * by a vector that isn't read here.
	 */
	leg->acs_redirects = ctrl & (client ? PCI_ACS_RR : PCI_ACS_CR);
	leg->acs_blocks = client && (ctrl & PCI_ACS_EC) && !(ctrl & PCI_ACS_RR);
}

/*
 * The identity of a host bridge, and @top the leg's device on its root bus.
 * Config space is read rather than the list of devices, because that list's
 * lock sleeps and this must not.
 */
static void p2pdma_read_host(struct p2pdma_leg *leg,
			     struct pci_host_bridge *host, struct pci_dev *top)
{
	u32 id;

	switch (pci_bus_read_config_dword(host->bus, 0, PCI_VENDOR_ID, &id)) {
	case PCIBIOS_SUCCESSFUL:
		break;
	case PCIBIOS_DEVICE_NOT_FOUND:
		PCI_SET_ERROR_RESPONSE(&id);
		break;
	default:
		leg->host_unreadable = true;
		return;
	}

	if (!PCI_POSSIBLE_ERROR(id))
		leg->host_id = id;
	else if (pci_pcie_type(top) == PCI_EXP_TYPE_ROOT_PORT)
		leg->host_id = top->device << 16 | top->vendor;
}

/* Any AMD processor from family 17h (Zen) on forwards between root ports. */
static bool p2pdma_cpu_allows(void)
{
#ifdef CONFIG_X86
	return boot_cpu_data.x86_vendor == X86_VENDOR_AMD &&
	       boot_cpu_data.x86 >= 0x17;
#else
	return false;
#endif
}

static void p2pdma_gather(struct pci_dev *provider, struct pci_dev *client,
			  struct p2pdma_facts *facts)
{
	struct p2pdma_leg *from = &facts->legs[P2PDMA_CLIENT];
	struct p2pdma_leg *to = &facts->legs[P2PDMA_PROVIDER];
	struct pci_dev *ends[P2PDMA_LEGS] = { provider, client };
	struct pci_host_bridge *hosts[P2PDMA_LEGS];
	int i;

	memset(facts, 0, sizeof(*facts));
	facts->same_function = provider == client;
	facts->cpu_allows = p2pdma_cpu_allows();
	facts->shared_bridge = p2pdma_walk(provider, client, facts->legs);

	if (facts->shared_bridge) {
		bool siblings = from->turn && to->turn;

		p2pdma_read_acs(from, siblings, true);
		p2pdma_read_acs(to, siblings, false);
	}

	for (i = 0; i < P2PDMA_LEGS; i++) {
		struct pci_dev *top = ends[i], *up;

		while ((up = pci_upstream_bridge(top)))
			top = up;
		/* A virtual function's bus needn't be the one its PF is on. */
		top = pci_physfn(top);
		hosts[i] = pci_find_host_bridge(top->bus);
		p2pdma_read_host(&facts->legs[i], hosts[i], top);
		facts->legs[i].node = dev_to_node(&ends[i]->dev);
	}
	facts->same_host_bridge = hosts[P2PDMA_PROVIDER] == hosts[P2PDMA_CLIENT];
}

/* ---- Decide ---- */

static bool p2pdma_host_listed(u32 id, bool same)
{
	const struct p2pdma_host_bridge *entry = p2pdma_host_bridges;
	int i;

	for (i = 0; i < ARRAY_SIZE(p2pdma_host_bridges); i++, entry++) {
		if ((id & 0xffff) == entry->vendor && id >> 16 == entry->device)
			return same || !entry->same_only;
	}
	return false;
}

static void p2pdma_refuse(struct p2pdma_route *route, enum p2pdma_reason reason)
{
	route->map_type = PCI_P2PDMA_MAP_NOT_SUPPORTED;
	route->reason = reason;
	route->directions = 0;
}

static void p2pdma_allow(struct p2pdma_route *route, enum p2pdma_reason reason,
			 enum pci_p2pdma_map_type map_type)
{
	route->map_type = map_type;
	route->reason = reason;
	route->directions = P2PDMA_READ | P2PDMA_WRITE;
}

/* The part of the verdict for traffic that goes up to the root complex */
static void p2pdma_decide_root(const struct p2pdma_facts *facts, bool redirect,
			       struct p2pdma_route *route)
{
	const struct p2pdma_leg *from = &facts->legs[P2PDMA_CLIENT];
	const struct p2pdma_leg *to = &facts->legs[P2PDMA_PROVIDER];

	route->distance += facts->same_host_bridge ?
			P2PDMA_COST_HOST_BRIDGE : P2PDMA_COST_OTHER_HOST_BRIDGE;

	if (facts->cpu_allows)
		p2pdma_allow(route, P2PDMA_REASON_CPU_ALLOWED,
			     PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	else if (from->host_unreadable || to->host_unreadable)
		p2pdma_refuse(route, P2PDMA_REASON_UNREADABLE);
	else if (p2pdma_host_listed(from->host_id, facts->same_host_bridge) &&
		 p2pdma_host_listed(to->host_id, facts->same_host_bridge))
		p2pdma_allow(route, P2PDMA_REASON_HOST_BRIDGE_LISTED,
			     PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	else
		p2pdma_refuse(route, redirect ? P2PDMA_REASON_ACS_REDIRECT :
				P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED);
}

static void p2pdma_decide(const struct p2pdma_facts *facts,
			  struct p2pdma_route *route)
{
	const struct p2pdma_leg *from = &facts->legs[P2PDMA_CLIENT];
	const struct p2pdma_leg *to = &facts->legs[P2PDMA_PROVIDER];

	memset(route, 0, sizeof(*route));
	route->distance = from->hops + to->hops;
	if (from->node != to->node && from->node != NUMA_NO_NODE &&
	    to->node != NUMA_NO_NODE)
		route->distance += P2PDMA_COST_OTHER_NODE;
	if (from->acs_redirects || from->acs_blocks)
		route->blocking[0] = from->turn;
	if (to->acs_redirects)
		route->blocking[1] = to->turn;

	if (facts->same_function)
		p2pdma_allow(route, P2PDMA_REASON_SAME_DEVICE,
			     PCI_P2PDMA_MAP_BUS_ADDR);
	else if (!facts->shared_bridge)
		p2pdma_decide_root(facts, false, route);
	else if (from->acs_unreadable || to->acs_unreadable)
		p2pdma_refuse(route, P2PDMA_REASON_UNREADABLE);
	else if (from->acs_blocks)
		p2pdma_refuse(route, P2PDMA_REASON_ACS_EGRESS);
	else if (from->acs_redirects || to->acs_redirects)
		p2pdma_decide_root(facts, true, route);
	else
		p2pdma_allow(route, P2PDMA_REASON_SWITCH,
			     PCI_P2PDMA_MAP_BUS_ADDR);
}

/**
 * p2pdma_route_find - work out the route from a client to a provider
 * @provider: device with the memory
 * @client: device that would access it, or a child of that device
 * @route: where to put the verdict
 *
 * Context: any; never sleeps.  The caller holds both devices.
 */
void p2pdma_route_find(struct pci_dev *provider, struct device *client,
		       struct p2pdma_route *route)
{
	struct pci_dev *pci_client = p2pdma_pci_client(client);
	struct p2pdma_facts facts;

	if (!pci_client) {
		memset(route, 0, sizeof(*route));
		p2pdma_refuse(route, P2PDMA_REASON_NOT_PCI);
		return;
	}

	p2pdma_gather(provider, pci_client, &facts);
	p2pdma_decide(&facts, route);
}

/* ---- Remember ---- */

/*
 * A verdict in one xarray value.  A PCI domain is an int that may go past 16
 * bits, so the index takes all of it; CONFIG_64BIT makes room.
 */
#define P2PDMA_VERDICT_MAP_TYPE		GENMASK_ULL(1, 0)
#define P2PDMA_VERDICT_REASON		GENMASK_ULL(7, 2)
#define P2PDMA_VERDICT_DIRECTIONS	GENMASK_ULL(9, 8)
#define P2PDMA_VERDICT_DISTANCE		GENMASK_ULL(30, 10)
#define P2PDMA_VERDICT_GENERATION	GENMASK_ULL(62, 31)

static unsigned long p2pdma_verdict_index(struct pci_dev *client)
{
	unsigned long domain = pci_domain_nr(client->bus);

	return domain << 16 | pci_dev_id(client);
}

/**
 * p2pdma_route_lookup - get a route from the cache, or work it out
 * @cache: cache of @provider
 * @provider: device with the memory
 * @client: device that would access it, or a child of that device
 * @route: where to put the verdict; @blocking is only set on a miss
 *
 * A verdict that rests on a failed read isn't remembered.
 *
 * Context: any; never sleeps.  The caller holds both devices.
 * Return: true where the verdict was in the cache.
 */
bool p2pdma_route_lookup(struct p2pdma_route_cache *cache,
			 struct pci_dev *provider, struct device *client,
			 struct p2pdma_route *route)
{
	struct pci_dev *pci_client = p2pdma_pci_client(client);
	unsigned long index, flags;
	u32 generation;
	void *entry;
	u64 verdict;

	if (!pci_client) {
		p2pdma_route_find(provider, client, route);
		return false;
	}

	/* Before the facts: what changes while they are read makes it stale. */
	generation = atomic_read_acquire(&p2pdma_generation);
	index = p2pdma_verdict_index(pci_client);
	entry = xa_load(&cache->verdicts, index);
	if (entry) {
		verdict = xa_to_value(entry);
		if (FIELD_GET(P2PDMA_VERDICT_GENERATION, verdict) == generation) {
			*route = (struct p2pdma_route) {
				.map_type = FIELD_GET(P2PDMA_VERDICT_MAP_TYPE,
						      verdict),
				.reason = FIELD_GET(P2PDMA_VERDICT_REASON,
						    verdict),
				.directions = FIELD_GET(P2PDMA_VERDICT_DIRECTIONS,
							verdict),
				.distance = FIELD_GET(P2PDMA_VERDICT_DISTANCE,
						      verdict),
			};
			return true;
		}
	}

	p2pdma_route_find(provider, client, route);
	if (route->reason == P2PDMA_REASON_UNREADABLE)
		return false;

	verdict = FIELD_PREP(P2PDMA_VERDICT_MAP_TYPE, route->map_type) |
		  FIELD_PREP(P2PDMA_VERDICT_REASON, route->reason) |
		  FIELD_PREP(P2PDMA_VERDICT_DIRECTIONS, route->directions) |
		  FIELD_PREP(P2PDMA_VERDICT_DISTANCE, route->distance) |
		  FIELD_PREP(P2PDMA_VERDICT_GENERATION, generation);
	/* Failing to store costs time at the next call, nothing else. */
	xa_lock_irqsave(&cache->verdicts, flags);
	__xa_store(&cache->verdicts, index, xa_mk_value(verdict),
		   GFP_ATOMIC | __GFP_NOWARN);
	xa_unlock_irqrestore(&cache->verdicts, flags);
	return false;
}

/**
 * p2pdma_route_cache_init - make a cache with nothing in it
 * @cache: the cache
 *
 * Context: any.
 */
void p2pdma_route_cache_init(struct p2pdma_route_cache *cache)
{
	xa_init_flags(&cache->verdicts, XA_FLAGS_LOCK_IRQ);
}

/**
 * p2pdma_route_cache_destroy - free what a cache holds
 * @cache: the cache; nobody else may use it any more
 *
 * Context: any.
 */
void p2pdma_route_cache_destroy(struct p2pdma_route_cache *cache)
{
	xa_destroy(&cache->verdicts);
}

static int p2pdma_fabric_event(struct notifier_block *nb, unsigned long event,
			       void *data)
{
	if (event == BUS_NOTIFY_ADD_DEVICE || event == BUS_NOTIFY_REMOVED_DEVICE)
		atomic_inc_return_release(&p2pdma_generation);
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

/* ---- Explain ---- */

/**
 * p2pdma_route_explain - say in the kernel log why a route is refused
 * @provider: device with the memory
 * @client: device that would access it
 * @route: verdict of p2pdma_route_find() on them
 *
 * Context: any; never sleeps.
 */
void p2pdma_route_explain(struct pci_dev *provider, struct device *client,
			  const struct p2pdma_route *route)
{
	struct pci_dev *first = route->blocking[0] ?: route->blocking[1];
	struct pci_dev *second = first == route->blocking[1] ?
					NULL : route->blocking[1];

	dev_warn_ratelimited(client,
			     "p2pdma: no peer-to-peer DMA with provider %s: %s\n",
			     pci_name(provider), p2pdma_slugs[route->reason]);

	/*
	 * With these reasons a switch is shared, and traffic would stay in it
	 * without ACS.
	 */
	if (route->reason == P2PDMA_REASON_ACS_REDIRECT ||
	    route->reason == P2PDMA_REASON_ACS_EGRESS)
		dev_warn_ratelimited(client,
				     "p2pdma: pci=\"disable_acs_redir=%s%s%s\" on the kernel command line allows it, and gives up the isolation of devices there\n",
				     pci_name(first), second ? ";" : "",
				     second ? pci_name(second) : "");
}
