// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the answers that user space gets about routes.
 *
 * p2pdma_test_answer() compares an answer with pci_p2pdma_route_tlp() and with the
 * fabric; all suites that ask for routes call it.  The tests here are of what is
 * only in an answer: the part that each port plays, and which BARs count.
 */

#include <linux/array_size.h>
#include <linux/bits.h>
#include <linux/cleanup.h>
#include <linux/device/driver.h>
#include <linux/dma-mapping.h>
#include <linux/pci.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "p2pdma_test.h"

#define PORTS	16

/* ---- An answer and the fabric ---- */

static bool is_at(const struct p2pdma_pci_address *at, struct pci_dev *pdev)
{
	return at->domain == pci_domain_nr(pdev->bus) &&
	       at->bus == pdev->bus->number && at->devfn == pdev->devfn &&
	       !at->reserved;
}

static bool is_above(struct pci_dev *bridge, struct pci_dev *pdev)
{
	while (pdev && pdev != bridge)
		pdev = pci_upstream_bridge(pdev);
	return pdev;
}

/* The port of @pdev, or NULL */
static const struct p2pdma_query_port *
port_of(const struct p2pdma_query_port *ports, unsigned int count,
	struct pci_dev *pdev)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (is_at(&ports[i].at, pdev))
			return &ports[i];
	}
	return NULL;
}

static const char *wrong_registers(const struct p2pdma_query_port *port,
				   struct pci_dev *pdev)
{
	u16 cap = 0, ctrl = 0;

	if (port->flags & P2PDMA_PORT_UNREADABLE)
		return "";
	if (!!(port->flags & P2PDMA_PORT_PCIE) != pci_is_pcie(pdev) ||
	    (pci_is_pcie(pdev) && port->type != pci_pcie_type(pdev)))
		return "type of a port";
	if (pci_is_pcie(pdev) && port->payload != pcie_get_mps(pci_physfn(pdev)))
		return "payload of a port";
	if (!!(port->flags & P2PDMA_PORT_ACS) != !!pdev->acs_cap)
		return "ACS of a port";
	if (pdev->acs_cap) {
		pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CAP, &cap);
		pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CTRL, &ctrl);
	}
	return port->acs_cap == cap && port->acs_ctrl == ctrl ? "" :
	       "ACS registers of a port";
}

/* All devices from @at to the root that aren't above @other are on @leg. */
static const char *wrong_leg(const struct p2pdma_query_port *ports,
			     unsigned int leg, struct pci_dev *at,
			     struct pci_dev *other, unsigned int *nr)
{
	const char *wrong = "";

	for (; at && !*wrong && (!other || !is_above(at, other));
	     at = pci_upstream_bridge(at)) {
		const struct p2pdma_query_port *port = &ports[(*nr)++];
		struct pci_dev *up = pci_upstream_bridge(at);
		bool turn = leg != P2PDMA_LEG_SHARED &&
			    (!up || is_above(up, other));

		if (!is_at(&port->at, at) || port->leg != leg)
			return "list of ports";
		if (!!(port->flags & P2PDMA_PORT_TURN) != turn)
			return "turn";
		if (port->flags & P2PDMA_PORT_BLOCKING &&
		    !(port->flags & P2PDMA_PORT_DECIDES))
			return "a port blocks and doesn't decide";
		wrong = wrong_registers(port, at);
	}
	return wrong;
}

static const char *wrong_ports(struct pci_dev *owner, struct pci_dev *client,
			       const struct p2pdma_query_port *ports,
			       unsigned int count)
{
	struct pci_dev *shared = owner;
	unsigned int nr = 0;
	const char *wrong;

	while (shared && !is_above(shared, client))
		shared = pci_upstream_bridge(shared);
	wrong = wrong_leg(ports, P2PDMA_LEG_OWNER, owner, client, &nr);
	if (!*wrong)
		wrong = wrong_leg(ports, P2PDMA_LEG_CLIENT, client, owner, &nr);
	if (!*wrong)
		wrong = wrong_leg(ports, P2PDMA_LEG_SHARED, shared, NULL, &nr);
	return *wrong || nr == count ? wrong : "number of ports";
}

static const char *wrong_blocking(const struct p2pdma_route *route,
				  const struct p2pdma_query_port *ports,
				  unsigned int count)
{
	const struct p2pdma_query_port *port;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(route->blocking); i++) {
		if (!route->blocking[i])
			continue;
		port = port_of(ports, count, route->blocking[i]);
		if (!port || !(port->flags & P2PDMA_PORT_BLOCKING))
			return "a port that blocks isn't said to";
	}
	if (route->blocking[0] || route->blocking[1])
		return "";
	/* Ports above both may not forward, which pci_p2pdma_route_tlp() omits. */
	for (i = 0; i < count; i++) {
		if (ports[i].flags & P2PDMA_PORT_BLOCKING &&
		    ports[i].leg != P2PDMA_LEG_SHARED)
			return "a port that doesn't block is said to";
	}
	return "";
}

/* BARs with struct pages */
static unsigned int registered(struct pci_dev *owner)
{
	struct p2pdma_region *region;
	struct pci_p2pdma *p2pdma;
	unsigned int bars = 0;

	guard(rcu)();
	p2pdma = rcu_dereference(owner->p2pdma);
	if (p2pdma)
		list_for_each_entry_rcu(region, &p2pdma->regions, node)
			bars |= BIT(region->bar - p2pdma->bars);
	return bars;
}

/**
 * p2pdma_test_answer - compare what user space is told with what drivers are
 * @owner: the device with the memory
 * @client: the device that would access it
 * @tlp: class of packets
 * @route: what pci_p2pdma_route_tlp() has said, the DMA mask left aside
 *
 * Context: as p2pdma_answer().
 * Return: what differs; "" if nothing does.
 */
const char *p2pdma_test_answer(struct pci_dev *owner, struct pci_dev *client,
			       unsigned int tlp,
			       const struct p2pdma_route *route)
{
	static const enum pci_p2pdma_map_type types[] = {
		[P2PDMA_ROUTE_NONE]		= PCI_P2PDMA_MAP_NOT_SUPPORTED,
		[P2PDMA_ROUTE_BUS_ADDRESS]	= PCI_P2PDMA_MAP_BUS_ADDR,
		[P2PDMA_ROUTE_HOST_BRIDGE]	= PCI_P2PDMA_MAP_THRU_HOST_BRIDGE,
	};
	struct p2pdma_query_route answer = { .bars = registered(owner) };
	struct p2pdma_query_port *ports __free(kfree) = NULL;
	const char *wrong;

	p2pdma_answer(owner, client, tlp, &answer, NULL, 0);
	ports = kcalloc(answer.port_count, sizeof(*ports), GFP_KERNEL);
	if (!ports)
		return "no memory for ports";
	p2pdma_answer(owner, client, tlp, &answer, ports, answer.port_count);
	if (!is_at(&answer.owner, owner) || !is_at(&answer.client, client) ||
	    answer.tlp != tlp)
		return "addresses or class";
	if (answer.map_type >= ARRAY_SIZE(types) ||
	    types[answer.map_type] != route->map_type)
		return "map type";
	if (answer.directions != route->directions)
		return "directions";
	if (answer.reason != route->reason)
		return "reason in front";
	if (answer.reasons != route->reasons)
		return "reasons";
	if (answer.classes != route->classes)
		return "classes";
	if (answer.distance != route->distance)
		return "distance";
	wrong = wrong_ports(owner, client, ports, answer.port_count);
	return *wrong ? wrong : wrong_blocking(route, ports, answer.port_count);
}

/* ---- What plays no part ---- */

static struct p2pdma_query_route ask(struct pci_dev *owner, struct pci_dev *client,
				     struct p2pdma_query_port *ports)
{
	struct p2pdma_query_route answer = { };

	p2pdma_answer(owner, client, 0, &answer, ports, PORTS);
	return answer;
}

static void expect_same(struct kunit *test, struct pci_dev *owner,
			struct pci_dev *client, struct pci_dev *port,
			const struct p2pdma_query_route *before)
{
	struct p2pdma_query_port ports[PORTS];
	struct p2pdma_query_route after = ask(owner, client, ports);

	KUNIT_EXPECT_TRUE_MSG(test, after.map_type == before->map_type &&
			      after.directions == before->directions &&
			      after.reasons == before->reasons,
			      "%s plays a part from %s to %s", pci_name(port),
			      pci_name(client), pci_name(owner));
}

/* Change what plays no part on the way from @client to @owner; return how much. */
static unsigned int change_others(struct kunit *test, struct pci_dev *owner,
				  struct pci_dev *client)
{
	struct p2pdma_query_port ports[PORTS];
	const struct p2pdma_query_route before = ask(owner, client, ports);
	unsigned int changed = 0;
	struct pci_dev *port;
	unsigned int i;
	int mps;

	for (i = 0; i < before.port_count; i++) {
		port = pci_get_domain_bus_and_slot(ports[i].at.domain,
						   ports[i].at.bus,
						   ports[i].at.devfn);
		KUNIT_ASSERT_NOT_NULL(test, port);
		if (ports[i].flags & P2PDMA_PORT_ACS &&
		    !(ports[i].flags & P2PDMA_PORT_DECIDES)) {
			changed++;
			pci_write_config_word(port, port->acs_cap + PCI_ACS_CTRL,
					      ~ports[i].acs_ctrl & 0x7f);
			expect_same(test, owner, client, port, &before);
			pci_write_config_word(port, port->acs_cap + PCI_ACS_CTRL,
					      ports[i].acs_ctrl);
		}
		if (pci_is_pcie(port) && !port->is_virtfn &&
		    !(ports[i].flags & P2PDMA_PORT_PAYLOAD)) {
			changed++;
			mps = pcie_get_mps(port);
			pcie_set_mps(port, mps == 128 ? 256 : 128);
			expect_same(test, owner, client, port, &before);
			pcie_set_mps(port, mps);
		}
		pci_dev_put(port);
	}
	return changed;
}

/* A fabric, and changes to it that make different ports decide */
struct part_case {
	const char *name;
	const struct p2pdma_test_fabric *fabric;
	struct p2pdma_test_change change[3];
	bool cpu_allows;
};

static const struct part_case part_cases[] = {
	{ "tree", &p2pdma_test_tree },
	{ "tree_forwards", &p2pdma_test_tree, .cpu_allows = true },
	{ "tree_redirects", &p2pdma_test_tree,
	  { { "d1", P2PDMA_TEST_ACS, PCI_ACS_RR | PCI_ACS_CR },
	    { "d31", P2PDMA_TEST_ACS, PCI_ACS_RR } }, .cpu_allows = true },
	{ "chipset", &p2pdma_test_chipset, .cpu_allows = true },
	{ "functions", &p2pdma_test_functions },
	{ "conventional", &p2pdma_test_conventional },
};

KUNIT_ARRAY_PARAM_DESC(part, part_cases, name);

/* Ports that are said to play no part in a verdict don't change it. */
static void no_part(struct kunit *test)
{
	const struct part_case *param = test->param_value;
	const struct p2pdma_test_fabric *nodes = param->fabric;
	struct pci_dev *owner, *client;
	struct pci_fabric *fabric;
	unsigned int i, j, changed = 0;

	p2pdma_test_root(test, param->cpu_allows, NULL);
	fabric = p2pdma_test_create(test, nodes, param->change);
	for (i = 0; i < nodes->count; i++) {
		if (nodes->nodes[i].kind == PCI_FABRIC_HOST)
			continue;
		owner = p2pdma_test_dev(test, fabric, nodes->nodes[i].name);
		for (j = 0; j < nodes->count; j++) {
			if (nodes->nodes[j].kind == PCI_FABRIC_HOST)
				continue;
			client = p2pdma_test_dev(test, fabric,
						 nodes->nodes[j].name);
			changed += change_others(test, owner, client);
		}
	}
	KUNIT_EXPECT_GT(test, changed, 20);
}

/* ---- The part that ports play ---- */

#define TURN	P2PDMA_PORT_TURN
#define DECIDES	P2PDMA_PORT_DECIDES
#define BLOCKS	(P2PDMA_PORT_DECIDES | P2PDMA_PORT_BLOCKING)
#define WIRED	(BLOCKS | P2PDMA_PORT_HARD_WIRED)
#define SIZE	P2PDMA_PORT_PAYLOAD

struct port_case {
	const char *name;
	struct p2pdma_test_change change[3];
	const char *owner, *client;
	bool cpu_allows;
	bool ats;
	struct {
		const char *node;
		u32 part;
	} ports[12];
};

static const struct port_case port_cases[] = {
	{
		"switch", { }, "b", "a",
		.ports = { { "b", SIZE }, { "d2", TURN | DECIDES | SIZE },
			   { "a", SIZE }, { "d1", TURN | DECIDES | SIZE },
			   { "up", 0 }, { "rp1", 0 } },
	}, {
		"client_redirects",
		{ { "d1", P2PDMA_TEST_ACS, PCI_ACS_RR } }, "b", "a",
		.ports = { { "b", SIZE }, { "d2", TURN | DECIDES | SIZE },
			   { "a", SIZE }, { "d1", TURN | BLOCKS | SIZE },
			   { "up", SIZE }, { "rp1", DECIDES | SIZE } },
	}, {
		"above_does_not_forward",
		{ { "d31", P2PDMA_TEST_ACS, PCI_ACS_RR } }, "d", "c",
		.cpu_allows = true,
		.ports = { { "d", SIZE }, { "d32", TURN | DECIDES | SIZE },
			   { "c", SIZE }, { "d31", TURN | BLOCKS | SIZE },
			   { "up3", SIZE }, { "d3", BLOCKS | SIZE },
			   { "up", SIZE }, { "rp1", DECIDES | SIZE } },
	}, {
		"translation_blocked",
		{ { "d1", P2PDMA_TEST_ACS_CAP, 0x5f | PCI_ACS_TB },
		  { "d1", P2PDMA_TEST_ACS, PCI_ACS_TB } }, "b", "a",
		.ats = true,
		.ports = { { "b", SIZE }, { "d2", TURN | DECIDES | SIZE },
			   { "a", SIZE }, { "d1", TURN | BLOCKS | SIZE },
			   { "up", SIZE }, { "rp1", DECIDES | SIZE } },
	}, {
		"root_ports", { }, "f", "e", .cpu_allows = true,
		.ports = { { "f", SIZE }, { "rp3", TURN | SIZE },
			   { "e", SIZE }, { "rp2", TURN | DECIDES | SIZE } },
	}, {
		"hard_wired", { { "d1", P2PDMA_TEST_ID, 0x1d170710 } }, "b", "a",
		.ports = { { "b", SIZE }, { "d2", TURN | DECIDES | SIZE },
			   { "a", SIZE }, { "d1", TURN | WIRED | SIZE },
			   { "up", SIZE }, { "rp1", DECIDES | SIZE } },
	}, {
		"same_device", { }, "a", "a",
		.ports = { { "a", 0 }, { "d1", 0 }, { "up", 0 }, { "rp1", 0 } },
	},
};

KUNIT_ARRAY_PARAM_DESC(port, port_cases, name);

static void part_of_ports(struct kunit *test)
{
	const u32 parts = TURN | WIRED | SIZE;
	const struct port_case *param = test->param_value;
	struct p2pdma_query_port ports[PORTS];
	struct p2pdma_query_route answer;
	struct pci_dev *owner, *client;
	struct pci_fabric *fabric;
	unsigned int i;

	p2pdma_test_root(test, param->cpu_allows, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, param->change);
	owner = p2pdma_test_dev(test, fabric, param->owner);
	client = p2pdma_test_dev(test, fabric, param->client);
	client->ats_enabled = param->ats;
	answer = ask(owner, client, ports);

	for (i = 0; i < ARRAY_SIZE(param->ports) && param->ports[i].node; i++) {
		const char *node = param->ports[i].node;

		KUNIT_ASSERT_LT(test, i, answer.port_count);
		KUNIT_EXPECT_TRUE_MSG(test, is_at(&ports[i].at,
						  p2pdma_test_dev(test, fabric,
								  node)),
				      "%s", node);
		KUNIT_EXPECT_EQ_MSG(test, ports[i].flags & parts,
				    param->ports[i].part, "%s", node);
	}
	KUNIT_EXPECT_EQ(test, i, answer.port_count);
	client->ats_enabled = 0;
}

/* Ports beyond the room are counted, and not written. */
static void room(struct kunit *test)
{
	struct p2pdma_query_port ports[PORTS], all[PORTS];
	struct p2pdma_query_route answer = { };
	struct pci_fabric *fabric;
	struct pci_dev *a, *c;
	unsigned int i;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	c = p2pdma_test_dev(test, fabric, "c");
	KUNIT_EXPECT_EQ(test, ask(a, c, all).port_count, 8);
	for (i = 0; i <= 8; i++) {
		memset(ports, 0xff, sizeof(ports));
		p2pdma_answer(a, c, 0, &answer, ports, i);
		KUNIT_EXPECT_EQ(test, answer.port_count, 8);
		KUNIT_EXPECT_MEMEQ(test, ports, all, i * sizeof(*ports));
		KUNIT_EXPECT_NULL(test, memchr_inv(&ports[i], 0xff,
						   (PORTS - i) * sizeof(*ports)));
	}
}

/* ---- Config space of 64 bytes ---- */

static const struct pci_fabric_node hidden_nodes[] = {
	{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1, .node = 1 },
	{ .name = "rp1", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 1 },
	{ .name = "up", .below = "rp1", .kind = PCI_FABRIC_UPSTREAM },
	{ .name = "d1", .below = "up", .kind = PCI_FABRIC_DOWNSTREAM,
	  .config_size = 64 },
	{ .name = "a", .below = "d1", .kind = PCI_FABRIC_ENDPOINT },
	{ .name = "rp2", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 2, .config_size = 64 },
	{ .name = "b", .below = "rp2", .kind = PCI_FABRIC_ENDPOINT },
	{ .name = "rp3", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 3 },
	{ .name = "c", .below = "rp3", .kind = PCI_FABRIC_ENDPOINT },
};

static const struct p2pdma_test_fabric hidden_fabric = {
	hidden_nodes, ARRAY_SIZE(hidden_nodes)
};

/* Ports whose capabilities can't be read are unknown, not conventional. */
static void hidden_capabilities(struct kunit *test)
{
	/* Up to the shared bridge itself, and through a root port */
	static const struct {
		const char *owner, *client, *hidden;
		bool unknown;
	} pairs[] = {
		{ "up", "a", "d1", true },
		{ "a", "up", "d1", true },
		{ "b", "c", "rp2", true },
		{ "c", "b", "rp2", true },
		{ "c", "rp1" },
	};
	struct p2pdma_query_port ports[PORTS];
	const struct p2pdma_query_port *port;
	struct p2pdma_query_route answer;
	struct pci_fabric *fabric;
	unsigned int i;

	p2pdma_test_root(test, true, NULL);
	fabric = p2pdma_test_create(test, &hidden_fabric, NULL);
	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		answer = ask(p2pdma_test_dev(test, fabric, pairs[i].owner),
			     p2pdma_test_dev(test, fabric, pairs[i].client),
			     ports);
		KUNIT_EXPECT_EQ_MSG(test, answer.reasons,
				    pairs[i].unknown ?
				    BIT(P2PDMA_REASON_UNKNOWN) : 0, "%s to %s",
				    pairs[i].client, pairs[i].owner);
		KUNIT_EXPECT_EQ(test, !answer.directions, pairs[i].unknown);
		if (!pairs[i].unknown)
			continue;
		port = port_of(ports, answer.port_count,
			       p2pdma_test_dev(test, fabric, pairs[i].hidden));
		KUNIT_ASSERT_NOT_NULL(test, port);
		KUNIT_EXPECT_EQ(test, port->flags & (P2PDMA_PORT_PCIE |
						     P2PDMA_PORT_ACS), 0);
		KUNIT_EXPECT_TRUE(test, port->flags & P2PDMA_PORT_ACS_UNKNOWN);
		KUNIT_EXPECT_EQ(test, port->payload, 0);
		KUNIT_EXPECT_EQ(test, port->payload_max, 0);
	}
}

/* ---- Memory ---- */

/* Bus addresses are CPU addresses, above 4 GiB. */
static const struct pci_fabric_node bar_nodes[] = {
	{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1, .node = 1 },
	{ .name = "rp1", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 1 },
	{ .name = "up", .below = "rp1", .kind = PCI_FABRIC_UPSTREAM },
	{ .name = "d1", .below = "up", .kind = PCI_FABRIC_DOWNSTREAM },
	{ .name = "owner", .below = "d1", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { [0] = { SZ_4M }, [2] = { SZ_2M },
		   [4] = { SZ_256, PCI_FABRIC_BAR_IO } } },
	{ .name = "d2", .below = "up", .kind = PCI_FABRIC_DOWNSTREAM,
	  .device = 1 },
	{ .name = "client", .below = "d2", .kind = PCI_FABRIC_ENDPOINT },
};

static const struct p2pdma_test_fabric bar_fabric = {
	bar_nodes, ARRAY_SIZE(bar_nodes)
};

/* What an answer about owner and client of bar_fabric says of memory */
struct bar_case {
	unsigned int bars, moved;	/* as given; BARs are 0 and 2 */
	unsigned int reach;		/* BARs within the DMA mask */
	unsigned int judged, beyond;	/* as in the answer */
	u32 reasons;
};

static void bars(struct kunit *test)
{
	const u32 mask = BIT(P2PDMA_REASON_DMA_MASK);
	const u32 moved = BIT(P2PDMA_REASON_BAR_MOVED);
	const struct bar_case wants[] = {
		{ 0, 0, 5,	5, 0, 0 },
		{ 1, 0, 5,	1, 0, 0 },
		{ 0, 0, 0,	5, 5, mask },
		{ 5, 0, 0,	5, 5, mask },
		{ 4, 0, 0,	4, 4, mask },
		{ 5, 5, 5,	5, 0, moved },
		{ 5, 1, 5,	5, 0, 0 },
		{ 1, 1, 5,	1, 0, moved },
		{ 5, 5, 0,	5, 5, mask | moved },
	};
	struct device_driver driver = { .name = "p2pdma_answer" };
	struct p2pdma_query_route answer;
	struct pci_dev *owner, *client;
	struct pci_fabric *fabric;
	unsigned int i, low, high;
	u64 end[3], all;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	owner = p2pdma_test_dev(test, fabric, "owner");
	client = p2pdma_test_dev(test, fabric, "client");
	for (i = 0; i < 3; i += 2)
		end[i] = pci_bus_address(owner, i) + pci_resource_len(owner, i) - 1;
	low = end[0] < end[2] ? 0 : 2;
	high = 2 - low;
	all = end[high];

	/* Without a driver, there is no mask. */
	client->dma_mask = DMA_BIT_MASK(32);
	answer = (struct p2pdma_query_route) { };
	p2pdma_answer(owner, client, 0, &answer, NULL, 0);
	KUNIT_EXPECT_EQ(test, answer.dma_mask, 0);
	KUNIT_EXPECT_EQ(test, answer.bars_beyond_mask, 0);
	KUNIT_EXPECT_EQ(test, answer.directions, P2PDMA_BOTH);

	client->dev.driver = &driver;
	for (i = 0; i < ARRAY_SIZE(wants); i++) {
		client->dma_mask = wants[i].reach ? all : DMA_BIT_MASK(32);
		answer = (struct p2pdma_query_route) {
			.bars = wants[i].bars,
			.bars_moved = wants[i].moved,
		};
		p2pdma_answer(owner, client, 0, &answer, NULL, 0);
		KUNIT_EXPECT_EQ_MSG(test, answer.bars, wants[i].judged, "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, answer.bars_beyond_mask, wants[i].beyond,
				    "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, answer.bars_moved, wants[i].moved,
				    "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, answer.reasons, wants[i].reasons,
				    "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, answer.directions,
				    wants[i].reasons ? 0 : P2PDMA_BOTH,
				    "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, !!(answer.facts & P2PDMA_FACT_REGISTERED),
				    !!wants[i].bars, "case %u", i);
	}

	/* One of two BARs is beyond the mask: the verdict is on the other one. */
	client->dma_mask = end[low];
	answer = (struct p2pdma_query_route) { };
	p2pdma_answer(owner, client, 0, &answer, NULL, 0);
	KUNIT_EXPECT_EQ(test, answer.dma_mask, end[low]);
	KUNIT_EXPECT_EQ(test, answer.bars_beyond_mask, BIT(high));
	KUNIT_EXPECT_EQ(test, answer.directions, P2PDMA_BOTH);
	KUNIT_EXPECT_EQ(test, answer.reasons, 0);
	answer = (struct p2pdma_query_route) { .bars = BIT(high) };
	p2pdma_answer(owner, client, 0, &answer, NULL, 0);
	KUNIT_EXPECT_EQ(test, answer.reasons, mask);
	KUNIT_EXPECT_EQ(test, answer.reason, P2PDMA_REASON_DMA_MASK);
	KUNIT_EXPECT_EQ(test, answer.fix, P2PDMA_FIX_NONE);
	client->dev.driver = NULL;
}

static struct kunit_case answer_test_cases[] = {
	KUNIT_CASE_PARAM(part_of_ports, port_gen_params),
	KUNIT_CASE_PARAM(no_part, part_gen_params),
	KUNIT_CASE(room),
	KUNIT_CASE(hidden_capabilities),
	KUNIT_CASE(bars),
	{ }
};

static struct kunit_suite answer_test_suite = {
	.name = "p2pdma_answer",
	.test_cases = answer_test_cases,
};

kunit_test_suite(answer_test_suite);
